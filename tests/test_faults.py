"""The fault matrix: what the program calls, under every fault of the sandbox.

A cell is a call that a command makes, and a fault of it. What must come of a cell
follows from the kind of call and the fault alone, but for the exceptions, which are
listed; the table of exit statuses is that of the design. Every kind of command is run
under every fault, twice: the fault lasts, with `--raw`, and it comes once. Every other
command stands in one cell, a lasting fault that its name chooses.
"""

from __future__ import annotations

import json
import re
import shlex
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from soak import soak

import vast
from cases import CHANGE, ONCE, READ, Case, fill, load
from conftest import Clock, Program, Ran, names
from sandbox import CALLS, FAULTS, KEY, Market, Sandbox

# Looking again and again: after renting, after a start, until it is gone.
PAID, POLL, GONE = "paid", "poll", "gone"


class Rule(NamedTuple):
    """What a fault that lasts ends as, for each kind of call: the exit status, and how
    many requests are sent."""

    read: int
    change: int
    once: int
    sent: tuple[int, int, int] = (1, 1, 1)

    def status(self, kind: str) -> int:
        """Return the exit status. Who goes on looking gives up at the deadline."""
        if kind in (PAID, POLL, GONE):
            return 4 if self.read == 4 and kind != PAID else 3
        return {READ: self.read, CHANGE: self.change, ONCE: self.once}[kind]

    def count(self, kind: str) -> int:
        """Return how many requests are sent."""
        return self.sent[[READ, CHANGE, ONCE].index(kind)]


BUSY = Rule(5, 5, 5, (4, 4, 4))  # surely not carried out: anything is sent again
BUSY_FOR_LONG = Rule(5, 5, 5)
LOST = Rule(5, 6, 6, (4, 4, 1))  # perhaps carried out: never rent twice
GIVEN_UP = Rule(5, 6, 6)  # the same, where another try is of no use
ODD = Rule(1, 6, 6)  # carried out, if we understand the service
REFUSED = Rule(1, 1, 1)
NO_KEY = Rule(4, 4, 4)

RULES = {
    fault: rule
    for rule, faults in (
        (BUSY, "429_text 429_detail 429_json 429_retry_after"),
        (BUSY_FOR_LONG, "429_quota"),
        (LOST, "500 502 503 504 502_after drop_before drop_after cut cut_after slow"),
        (GIVEN_UP, "501 drip_headers drip_body"),
        (ODD, "not_json empty array string number null deep nan bad_encoding html"),
        (ODD, "no_list bad_list bad_rows 204 body huge"),
        (REFUSED, "redirect redirect_away 403 404 410 refused"),
        (NO_KEY, "401 401_2fa 404_auth"),
    )
    for fault in faults.split()
}
# What a response must have in it differs from call to call; these need not be wrong
# for one that may be anything.
SHAPES = set(
    "array string number null empty no_list bad_list bad_rows 204 not_json".split()
)

# The limits of the client that a fault would take minutes, or much memory, to reach.
LIMITS: dict[str, dict[str, float]] = {
    "slow": {"READ_TIMEOUT": 0.005},
    "drip_headers": {"TOTAL_TIMEOUT": 0.005, "SLOWEST": 10**9},
    "drip_body": {"TOTAL_TIMEOUT": 0.005, "SLOWEST": 10**9},
    "huge": {"LARGEST": 10**6},
}


class Line(NamedTuple):
    """A command line, the call of it that goes wrong, which is the last of its calls,
    its kind, and the calls before and after it. `several`: how many ids it has."""

    words: str
    call: str
    kind: str = READ
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    several: int = 1

    @property
    def name(self) -> str:
        """Return the command, what is special in it, and the call."""
        words = re.sub(r"\{\w+\}", "N", self.words).split()
        options = [word for word in words if word.startswith("--")]
        verb = [word for word in words if word.isalpha() or word in ("ssh-url", "N")]
        kept = [word for word in verb if word not in ("it", "x")][
            : 3 + self.several - 1
        ]
        return f"{' '.join([*kept, *options[-1:]])}/{self.call}"


RENT = "create instance {offer} --image it"
WAIT = "--wait --timeout 9"
SCHEDULE = "stop instance {id} --schedule DAILY"
PREPAY = "prepay instance {id} 1"
LINES = (
    # Listings: in one piece, by pages, by a search, by ids.
    Line("show machines", "machines"),
    Line("show instances", "instances"),
    Line("show instances label=x -q", "instances"),
    Line("search offers", "search"),
    Line("show instance {id}", "instance"),
    Line("show instance {id} {other_id}", "instance", several=2),
    # Functions that read.
    Line("ssh-url", "instances"),
    Line("ssh-url {id}", "instance"),
    Line("show user", "user"),
    Line("show invoices -q", "invoices"),
    Line("generate pdf-invoices -q -o {pdf}", "invoices", after=("user",)),
    # Changes: with a body, without one, of several ids, by a schedule.
    Line("label instance {id} x", "manage", CHANGE),
    Line("change bid {id} --price 1", "bid", CHANGE),
    Line("destroy instance {id}", "destroy", CHANGE),
    Line("stop instance {id} {other_id}", "manage", CHANGE, several=2),
    Line(SCHEDULE, "schedule_job", CHANGE),
    Line("list machine 7101 -g 1", "list_machine", CHANGE),
    # What is done once.
    Line(RENT, "create", ONCE, after=("instance",)),
    Line(PREPAY, "prepay", ONCE),
    # In two steps.
    Line(f"{RENT} {WAIT}", "instance", PAID, before=("create",)),
    Line(f"start instance {{id}} {WAIT}", "instance", POLL, before=("manage",)),
    Line(f"destroy instance {{id}} {WAIT}", "instance", GONE, before=("destroy",)),
    Line(f"{RENT} --max-price 99", "search", after=("create", "instance")),
    Line(f"{RENT} --max-price 9", "create", ONCE, ("search",), ("instance",)),
    Line("launch instance -g RTX_4090 -n 1 -i it", "search",
         after=("create", "instance")),
    Line("launch instance -g RTX_4090 -n 1 -i it --ssh", "create", ONCE, ("search",),
         ("instance",)),
)  # fmt: skip

# What ends well all the same, and with which calls.
OLD_LIST = ["instances", "instances_v0"]
OLD_BILLS = ["invoices", "invoices_v1", "charges"]
EXCEPTIONS = {
    # A call that is gone has a successor, or an ancestor.
    **{
        (words, "instances", fault): OLD_LIST
        for words in ("show instances", "show instances label=x -q", "ssh-url")
        for fault in ("404", "410")
    },
    **{
        (words, "invoices", fault): [*OLD_BILLS, *more]
        for words, more in (
            ("show invoices -q", []),
            ("generate pdf-invoices -q -o {pdf}", ["user"]),
        )
        for fault in ("404", "410")
    },
    # Another key proves that it was done.
    **{
        (words, call, fault): [call]
        for words, call in ((SCHEDULE, "schedule_job"), (PREPAY, "prepay"))
        for fault in ("no_list", "bad_list", "bad_rows")
    },
    # An id of another type is an odd cell in a row, which harms nobody.
    ("show user", "user", "bad_list"): ["user"],
    ("show user", "user", "bad_rows"): ["user"],
}
# The service's own word for an instance that is gone.
PROOF = (GONE, "404")

CELLS = [(line, fault) for line in LINES for fault in FAULTS]
CELL_NAMES = [f"{line.name}-{fault}" for line, fault in CELLS]


class Outcome(NamedTuple):
    """How a cell ends: the exit status and the calls, None where it takes a while."""

    status: int
    calls: list[str] | None


def outcome(line: Line, fault: str, once: bool) -> Outcome:
    """Return how a cell ends when the fault lasts or comes once."""
    exception = EXCEPTIONS.get((line.words, line.call, fault))
    if exception:
        return Outcome(0, exception)
    rule, well = RULES[fault], [*line.before, line.call, *line.after]
    once = once and fault not in LIMITS
    if line.kind in (PAID, POLL, GONE):
        # A price that can't be read is no failure; the next look may succeed.
        recovers = once and (line.kind == PAID or rule is not NO_KEY)
        proof = (line.kind, fault) == PROOF
        return Outcome(0 if recovers or proof else rule.status(line.kind), None)
    status, sent = rule.status(line.kind), rule.count(line.kind)
    if once and sent > 1:
        well.insert(len(line.before), line.call)
        if line.words == SCHEDULE and fault.endswith("_after") and rule is LOST:
            well.append("update_scheduled_job")  # the job is there: it is replaced
        return Outcome(0, well + [line.call] * (line.several - 1))
    # The next ids are tried unless the key or the service is of no use.
    tried = 1 if status in (4, 5) else line.several
    if once:
        return Outcome(status, [*line.before, *[line.call] * tried])
    return Outcome(status, [*line.before, *[line.call] * sent * tried])


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    """Return a market of few offers and bills, for all cells."""
    market = Market()
    free = [o for o in market.offers.values() if o.rental is None]
    right = [o for o in free if o.row["gpu_name"] == "RTX 4090" and not o.odd]
    single = [o for o in right if o.row["num_gpus"] == 1 and o.row["verified"]]
    market.offers = {offer.row["id"]: offer for offer in [*single[:6], *free[:3]]}
    market.invoices = market.invoices[-9:]
    with Sandbox(market) as sandbox:
        yield sandbox


class PassingClock(Clock):
    """The real time, in which only sleeping takes none."""

    def now(self) -> float:
        return time.time() + sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture(scope="module")
def run(box: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Return what runs command lines in such time."""
    program = Program(tmp_path_factory.mktemp("home"), box)
    program.clock = PassingClock()
    return program


def typed(line: Line, market: Market, program: Program) -> list[str]:
    """Return the words of a line, about two instances of the user's and an offer."""
    user = market.user["id"]
    for rental in [r for r in market.rentals.values() if r.owner == user]:
        rental.offer.rental = None
        del market.rentals[rental.id]
    market.rented.clear()
    market.user["credit"] = 1000.0
    market.stores["scheduled_jobs"].rows.clear()
    free = [o for o in market.offers.values() if o.rental is None]
    order = {"image": "it", "disk": 10.0, "runtype": "ssh"}
    # What is found without an id has to be the only one.
    count = 2 if "{other_id}" in line.words else 1
    ids = [market.rent(o, order, next(market.ids), user).id for o in free[-count:]]
    places = {"id": ids[0], "other_id": ids[-1], "offer": free[0].row["id"]}
    pdf = program.home / "invoice.pdf"
    return line.words.format(**places, pdf=pdf).split()


def calls(box: Sandbox, count: int) -> list[str]:
    """Return the names of the calls. One that the client gave up may be late."""
    end = time.monotonic() + 5
    while len(box.calls) < count and time.monotonic() < end:
        time.sleep(0.001)
    return names(box)


def check_error(ran: Ran, raw: bool, lines: int = 1) -> None:
    """Check that there is a line on stderr for each id, or with `--raw` a JSON object;
    nothing on stdout without it. Notes may stand before them."""
    assert KEY not in ran.err
    assert ran.err.endswith("\n")
    errors = ran.err.splitlines()
    if raw:
        errors = [line for line in errors if line.startswith("{")]
    last = errors[-lines:]
    assert len(last) == lines
    if raw:
        for line in last:
            value = json.loads(line)
            assert value.keys() == {"error", "msg", "status"}
            assert value["error"]
            assert value["msg"]
    else:
        assert all(re.match(r"vast\.py: \S", line) for line in last)


def test_every_fault_has_a_rule() -> None:
    assert RULES.keys() == FAULTS.keys()


@pytest.mark.parametrize("line", LINES, ids=[line.name for line in LINES])
def test_without_a_fault(line: Line, box: Sandbox, run: Program) -> None:
    """The lines work, so that it is the faults that the cells are about; and the key
    stands in one header of each request, and nowhere else."""
    box.clear()
    words = typed(line, box.market, run)
    if line.kind == POLL:
        run("stop", "instance", words[2])
        box.clear()
    ran = run(*words)
    assert ran.status == 0, ran.err
    assert ran.out or "label=x" in words
    looks = names(box).count(line.call) if line.kind in (PAID, POLL, GONE) else 0
    expected = [*line.before, *[line.call] * (looks or line.several), *line.after]
    assert names(box) == expected
    for seen in box.calls:
        headers = dict(seen.headers)
        assert headers.pop("Authorization") == f"Bearer {KEY}"
        assert KEY not in f"{seen.path} {seen.query} {headers} {seen.raw!r}"
    assert KEY not in ran.out + ran.err


@pytest.mark.parametrize(("line", "fault"), CELLS, ids=CELL_NAMES)
def test_cell(
    line: Line,
    fault: str,
    box: Sandbox,
    run: Program,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, limit in LIMITS.get(fault, {}).items():
        monkeypatch.setattr(vast, name, limit)
    if line.before and fault in LIMITS and fault != "huge":
        pytest.skip("the call before it would not be in time either")
    for once in (False, True):
        box.clear()
        run.clock.slept.clear()
        # With limits that low, the answer after the fault would not be in time either.
        box.fault(line.call, fault, times=1 if once and fault not in LIMITS else None)
        ran = run(*typed(line, box.market, run), *["--raw"] * (not once))
        expected = outcome(line, fault, once)
        seen = calls(box, len(expected.calls or ()))
        assert ran.status == expected.status, (once, ran)
        assert expected.calls is None or seen == expected.calls, (once, ran)
        check_cell(line, fault, once, ran, box)


def check_cell(line: Line, fault: str, once: bool, ran: Ran, box: Sandbox) -> None:
    """Check what holds for every cell."""
    if ran.status == 0:
        assert ran.out or "label=x" in line.words
    else:
        tried = names(box).count(line.call) // RULES[fault].count(READ)
        several = line.several > 1 and not once and tried > 1
        check_error(ran, raw=not once, lines=2 if several else 1)
    if ran.status and line.several == 1 and not line.before:
        assert ran.out == ""
    # Nothing is rented twice; what is rented is said; then it is never called safe.
    assert names(box).count("create") <= (4 if RULES[fault] is BUSY else 1)
    assert len(box.market.rented) <= 1
    if line.kind == PAID:
        (rented,) = box.market.rented
        assert str(rented[1]) in ran.out
        assert ran.status == 0 or str(rented[1]) in ran.err.splitlines()[-1]
        assert ran.status in (0, 3)
    if line.kind in (PAID, POLL, GONE):
        before = len(line.before)
        assert tuple(names(box)[:before]) == line.before
        assert set(names(box)[before:]) == {line.call}


@pytest.mark.parametrize("line", LINES, ids=[line.name for line in LINES])
def test_no_connection(line: Line, box: Sandbox, run: Program) -> None:
    """Nothing was sent, so that every call may be tried again, and none is in doubt."""
    run.clock.slept.clear()
    nobody = {"VAST_URL": "http://127.0.0.1:1"}
    ran = run(*typed(line, box.market, run), env=nobody)
    assert (ran.status, len(run.clock.slept)) == (5, 3)
    check_error(ran, raw=False)
    assert "cannot reach http://127.0.0.1:1:" in ran.err


# --- every command

CASES = load()
COMMANDS = [command.name for command in vast.COMMANDS if not command.hidden]
# Those that call the service.
CALLERS = [name for name in CASES if CASES[name].request and CASES[name].call]
IN_FULL = {" ".join(line.words.split()[:2]) for line in LINES}


def possible(case: Case) -> list[str]:
    """Return the faults of a case's call of which one rule holds."""
    anything = CALLS[case.call].vital in ("", "id", "key", "msg", "status", "name")
    return [fault for fault in RULES if not (anything and fault in SHAPES)]


def chosen(name: str) -> str:
    """Return the fault that a command's name chooses."""
    faults = possible(CASES[name])
    return faults[zlib.crc32(name.encode()) % len(faults)]


def start(case: Case, box: Sandbox) -> tuple[list[str], tuple[str, str, Any] | None]:
    """Set the market up for a case; return the words, and the request."""
    places = case.setup(box.market) if case.setup else {}
    words = [fill(word, places) for word in shlex.split(case.words)]
    return list(map(str, words)), fill(case.request, places)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_case(name: str) -> None:
    assert name in CASES
    case = CASES[name]
    assert case.words.startswith(name)
    # Whoever calls the service says which call that is.
    assert bool(case.call) is bool(case.request)
    assert not case.call or case.call in CALLS
    assert set(case.after) <= CALLS.keys()
    assert case.kind in (READ, CHANGE, ONCE)


def test_every_case_is_of_a_command() -> None:
    assert CASES.keys() <= set(COMMANDS)


@pytest.fixture
def fresh() -> Iterator[Sandbox]:
    """Return a market of its own."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def program(fresh: Sandbox, tmp_path: Path) -> Program:
    """Return what runs command lines against it."""
    return Program(tmp_path, fresh)


@pytest.mark.parametrize("name", CALLERS)
def test_what_every_command_sends(
    name: str, fresh: Sandbox, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first request to the letter, the calls that follow, and the key in one
    header only."""
    monkeypatch.chdir(program.home)
    case = CASES[name]
    words, request = start(case, fresh)
    ran = program(*words)
    assert ran.status == 0, ran.err
    assert names(fresh) == [case.call, *case.after]
    first = fresh.calls[0]
    query = "&".join(f"{key}={text}" for key, text in first.query.items())
    assert request
    method, path, body = request
    assert (first.method, first.body) == (method, body)
    assert first.path == path.partition("?")[0]
    assert bool(query) is ("?" in path)
    assert fresh.violations == []
    for seen in fresh.calls:
        assert KEY not in f"{seen.path} {seen.query} {seen.raw!r}"


@pytest.mark.parametrize("name", CALLERS)
def test_every_command_prints_one_document(
    name: str, fresh: Sandbox, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(program.home)
    ran = program(*start(CASES[name], fresh)[0], "--raw")
    assert ran.status == 0, ran.err
    if not program.executed:  # otherwise stdout is the other program's
        json.loads(ran.out)  # one document


@pytest.mark.parametrize("name", CALLERS)
def test_every_command_under_one_fault(
    name: str, fresh: Sandbox, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(program.home)
    case, fault = CASES[name], chosen(name)
    monkeypatch.setattr(program, "clock", PassingClock())
    for limit, value in LIMITS.get(fault, {}).items():
        monkeypatch.setattr(vast, limit, value)
    words, _ = start(case, fresh)
    fresh.clear()
    fresh.fault(case.call, fault, times=None)
    ran = program(*words, "--raw")
    rule = RULES[fault]
    status = rule.status(case.kind)
    gone = case.kind == READ and fault in ("404", "410")
    assert ran.status in ({0, status} if gone else {status}), (fault, ran)
    assert gone or set(calls(fresh, rule.count(case.kind))) == {case.call}
    assert len(fresh.market.rented) <= 1
    if ran.status:
        check_error(ran, raw=True)


@pytest.mark.parametrize("name", CALLERS)
def test_every_command_without_a_key_or_a_service(
    name: str, fresh: Sandbox, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(program.home)
    words, _ = start(CASES[name], fresh)
    ran = program(*words, env={"VAST_API_KEY": None})
    assert (ran.status, ran.out, fresh.connections) == (4, "", 0)
    check_error(ran, raw=False)
    ran = program(*words, "--retry", "0", env={"VAST_URL": "http://127.0.0.1:1"})
    assert (ran.status, ran.out) == (5, "")
    check_error(ran, raw=False)


def test_the_faults_are_all_used() -> None:
    """Not only by the kinds of command in full, but by the others among themselves,
    once there are enough of them."""
    used = {chosen(name) for name in CALLERS}
    assert len(used) > min(len(CALLERS), len(RULES)) // 2
    assert {fault for _, fault in CELLS} == set(FAULTS)


def test_a_short_soak() -> None:
    assert soak(commands=60, seed=1).wrong == []
