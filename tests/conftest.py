"""What the tests share: a sandbox, a clock that nobody waits for, and a way to run
`vast.main` with everything that it touches handed in."""

from __future__ import annotations

import gc
import io
import itertools
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import vast  # noqa: E402
from sandbox import FAULTS, Answer, Sandbox  # noqa: E402

Plan = Callable[..., None]
Sent = tuple[str, str, Any]  # method, path and body of a request


class Ran(NamedTuple):
    """How a run ended."""

    status: int
    out: str
    err: str


class Stream(io.TextIOWrapper):
    """A text stream in memory that says whether it is a terminal."""

    def __init__(self, text: str = "", terminal: bool = False) -> None:
        super().__init__(io.BytesIO(text.encode()), encoding="utf-8", newline="")
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def text(self) -> str:
        """Return all that was written to it."""
        self.flush()
        return self.buffer.getvalue().decode()  # type: ignore[attr-defined, no-any-return]


class Clock:
    """Time that passes only when somebody sleeps; `slept` is for how long each time."""

    def __init__(self) -> None:
        self.time = 1_790_000_000.0  # 2026-09-21
        self.slept: list[float] = []

    def now(self) -> float:
        """Return unix seconds."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Let that many seconds pass at once."""
        self.slept.append(seconds)
        self.time += seconds


class Program:
    """Run vast.py in this process against a sandbox, with a home of its own.

    `terminal`: stdin, stdout and stderr are one. `env` goes over the environment, which
    holds HOME, VAST_URL and VAST_API_KEY; a value of None takes a variable away.
    `executed` are the programs that would have taken its place.
    """

    def __init__(self, home: Path, box: Sandbox | None = None) -> None:
        self.home, self.box, self.clock = home, box, Clock()
        self.executed: list[list[str]] = []
        self.environ = {"HOME": str(home)}
        if box:
            self.environ |= {"VAST_URL": box.url, "VAST_API_KEY": box.key}

    def __call__(
        self,
        *words: str,
        stdin: str = "",
        terminal: bool = False,
        env: Mapping[str, str | None] | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> Ran:
        merged = {**self.environ, **(env or {})}
        out, err = Stream(terminal=terminal), Stream(terminal=terminal)
        environment = vast.Environment(
            out,
            err,
            Stream(stdin, terminal),
            {name: text for name, text in merged.items() if text is not None},
            now=self.clock.now,
            monotonic=self.clock.now,
            sleep=sleep or self.clock.sleep,
            execute=lambda name, words: self.executed.append(words),
        )
        status = vast.main(list(words), environment)
        return Ran(status, out.text(), err.text())


FOLDERS = itertools.count(1)


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty folder. Pytest's own fixture does the same, only more slowly, and
    most tests have a folder; all go at the end unless a test fails."""
    path = tmp_path_factory.getbasetemp() / f"home{next(FOLDERS)}"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def box() -> Iterator[Sandbox]:
    """Return a fresh market."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def still(box: Sandbox) -> None:
    """Stop the market's time: the days left are the same when asked again."""
    box.market.run_on(lambda: 0.0, 0.0)


@pytest.fixture
def run(box: Sandbox, tmp_path: Path) -> Program:
    """Return what runs a command line against the market of `box`."""
    return Program(tmp_path, box)


@pytest.fixture
def offline(tmp_path: Path) -> Program:
    """Return what runs a command line without a key, a service or a network."""
    return Program(tmp_path)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make UTC the local time unless a test says otherwise, and have argparse look for
    no translation."""
    import time

    monkeypatch.setenv("LANGUAGE", "C")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.fixture
def plan(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """Return what has the next calls of a name answered by faults, by answers of the
    test's own, or by None: as usual. `last`: the last of them goes on for ever."""

    def play(answer: Answer | None) -> tuple[bool, Callable[[Any], Answer]]:
        return answer is None, lambda trouble: answer or trouble.reply

    def arm(call: str, *answers: str | Answer | None, last: bool = False) -> None:
        for index, answer in enumerate(answers):
            kind = answer if isinstance(answer, str) else f"own {len(FAULTS)}"
            if not isinstance(answer, str):
                monkeypatch.setitem(FAULTS, kind, play(answer))
            forever = last and index == len(answers) - 1
            box.fault(call, kind, times=None if forever else 1)

    return arm


def an_offer(box: Sandbox) -> int:
    """Return the id of an offer that is free."""
    offers = box.market.offers.values()
    return int(next(o.row["id"] for o in offers if not (o.rental or o.odd)))


def rent(box: Sandbox, **odd: Any) -> int:
    """Rent an offer behind the program's back; return the id of the instance.

    `odd` is what the instance's row shows in place of the truth.
    """
    market = box.market
    order = {"image": "it", "disk": 10.0, "runtype": "ssh", "label": odd.get("label")}
    offer = market.offers[an_offer(box)]
    rental = market.rent(offer, order, next(market.ids), market.user["id"])
    rental.odd = odd
    return rental.id


def create(box: Sandbox) -> tuple[str, ...]:
    """Return the words that rent an offer."""
    return "create", "instance", str(an_offer(box)), "--image", "it"


def names(box: Sandbox) -> list[str]:
    """Return the names of the calls that came in."""
    return [seen.name for seen in box.calls]


def sent(box: Sandbox) -> list[Sent]:
    """Return the requests that came in: method, path and body."""
    return [(seen.method, seen.path, seen.body) for seen in box.calls]


def one_line(ran: Ran) -> str:
    """Return the only line on stderr of a run that shows nothing."""
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("vast.py: ")
    return ran.err


def complaint(ran: Ran, status: int) -> str:
    """Return the only message of a run that ended so and showed nothing."""
    assert ran.status == status
    return one_line(ran).removeprefix("vast.py: ").rstrip("\n")


def unix(text: str) -> int:
    """Return the unix seconds of an ISO date with an offset."""
    return int(datetime.fromisoformat(text).timestamp())


def needs(*programs: str) -> pytest.MarkDecorator:
    """Return the mark of a test that is skipped where a program is missing."""
    missing = [program for program in programs if not shutil.which(program)]
    return pytest.mark.skipif(bool(missing), reason=f"needs {' '.join(missing)}")


def script_environment(box: Sandbox, home: Path) -> dict[str, str]:
    """Return the environment for running vast.py as a program of its own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {
        "PATH": path,
        "HOME": str(home),
        "VAST_URL": box.url,
        "VAST_API_KEY": box.key,
        "TZ": "UTC",
    }


def pytest_collection_finish() -> None:
    """Keep the tests themselves out of all later garbage collections, and have fewer
    of these: a market alone makes more objects than Python's usual threshold."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much of the fault matrix was run."""
    passed = terminalreporter.getreports("passed")
    cells = sum("test_faults.py::test_cell[" in report.nodeid for report in passed)
    if cells:
        terminalreporter.write_line(f"fault matrix: {cells} cells as they must be")
