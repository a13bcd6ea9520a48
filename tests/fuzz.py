"""Throws what nobody wrote the program for at it, and prints how it went: queries and
sort orders that are right or nearly right, and responses of the service that are odd.

    python tests/fuzz.py [--runs N] [--answers N] [--seed N]

Whatever is typed must be a query that the service can be sent, or be refused with a
message and a position inside the text, and within a second. Whatever the service
answers, to a read or to a change, a command ends with one of its statuses and says why
in a line; nothing is rented twice, and what is rented is never called safe to retry.
The answers have values of wrong types at each level, and bytes that were changed on
the way. This is no part of the normal tests; the same seed makes the same inputs. The
exit status is 1 when an input showed a fault.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple

import conftest  # which says where vast.py is
import vast
from cases import Case, fill, load
from sandbox import KEY, Answer, Market, Reply, Sandbox, Stream, wire

SLOW = 1.0  # seconds that no query may take

# --- queries

FIELDS = vast.named_fields(vast.FIELDS, vast.OFFER_COLUMNS)
KINDS = {field.wire: field.kind for field in FIELDS.values()}
KNOWN_KEYS = {*KINDS, *vast.ROW_FIELDS}

SIGNS = "= == != < <= > >= in notin nin eq neq lt lte gt gte".split() + ["not in"]
TEXTS = ["RTX_4090", "RTX 4090", "US", '"H100 SXM"', "'a]b'", "Köln", "GT 1030"]
VALUES = {
    "bool": ["true", "False", "1", "0"],
    "int": ["4", "-1", "750", "999999999999999999"],
    "float": ["0.5", "24", ".5", "1e3", "1e306", "-7.", "24GB", "98%", "30d", "$0.5"],
    "text": TEXTS,
    "country": [*TEXTS, "de", "Germany"],
    "version": ["535.86.05", "560", "535086005"],
}
# What a person, a shell or an editor leaves in the wrong place.
ODDITIES = [
    *"[]'\"\\,=<>!()_-+:;&|$*#~.%{}4aZ\n\t\0\x1b\x85\u2028\u202e\ud800\u0301é日👍４ ",
    *"none null any not in and nan inf 1e999 '' \"\" [] [, ,] === \\n".split(),
    *[" in ", "  ", "\\\n"],
]


def comparison(dice: random.Random) -> str:
    """Return a comparison, mostly a right one."""
    name, sign = dice.choice(list(FIELDS)), dice.choice(SIGNS)
    values = dice.choices(VALUES[FIELDS[name].kind], k=3)
    value = dice.choice([*values, "none", "any"])
    if sign in ("in", "notin", "nin", "not in"):
        value = f"[{dice.choice([',', ', ', ' ,']).join(values)}]"
    gap = " " if sign.isalpha() or " " in sign else dice.choice(["", " "])
    return f"{name}{gap}{sign}{gap}{value}"


def query(dice: random.Random) -> str:
    """Return a query of up to four comparisons."""
    between: str = dice.choice([" ", ", ", "\n", " \\\n "])
    return between.join(comparison(dice) for _ in range(dice.randrange(5)))


def order(dice: random.Random) -> str:
    """Return a sort order of up to three keys."""
    ways = ["", "+", "-", " asc", " desc", " -"]
    keys = [
        dice.choice([*FIELDS, *vast.ROW_FIELDS]) + dice.choice(ways)
        for _ in range(dice.randrange(1, 4))
    ]
    return ", ".join(keys) if dice.random() < 0.5 else ",".join(keys)


def spoilt(text: str, dice: random.Random) -> str:
    """Return the text with a piece of it left out, doubled, moved or turned round, or
    with something odd put in."""
    start = dice.randrange(len(text) + 1)
    end = min(len(text), start + dice.choice([0, 1, 1, 1, 2, 5, 20]))
    before, piece, after = text[:start], text[start:end], text[end:]
    ways: list[str] = [
        before + after,
        before + piece + piece + after,
        after + piece + before,
        before + piece[::-1] + after,
        before + piece.swapcase() + after,
        before + dice.choice(ODDITIES) + after,
        before + dice.choice(ODDITIES) + piece + after,
    ]
    return dice.choice(ways)


def check_query(text: str) -> None:
    """Parse a query; what comes out can be sent. Raises QueryError."""
    filters, notes = vast.parse_query(text, vast.DEFAULT_FILTERS)
    json.dumps([filters, notes], allow_nan=False)
    for name, tests in filters.items():
        assert tests, f"no test of {name}"
        signs = vast.KIND_SIGNS.get(KINDS[name]) or " ".join(vast.OPERATORS)
        allowed = [vast.OPERATORS[sign] for sign in signs.split()]
        assert tests.keys() <= set(allowed), f"{name} is tested by {list(tests)}"
        for operator, value in tests.items():
            is_list = operator in ("in", "notin")
            assert isinstance(value, list) is is_list, f"{operator} {value}"
            assert value not in ("", []), f"{name} is compared with nothing"


def check_order(text: str) -> None:
    """Parse a sort order; what comes out can be sent. Raises QueryError."""
    keys = vast.parse_order(text)
    assert len(keys) == text.count(",") + 1, "a key is missing"
    for key, way in keys:
        assert key in KNOWN_KEYS, f"unknown key {key}"
        assert way in ("asc", "desc"), way


def check_refusal(error: vast.QueryError, text: str) -> None:
    """Check that a refusal has a message, and a position inside the text or, where the
    text breaks off, just behind it."""
    assert str(error), "no message"
    assert error.query == text, "another query"
    least = len(text) + (error.start == len(text))
    assert 0 <= error.start < error.end <= least, "a position outside the query"
    shown, under = vast.caret(error).split("\n")
    assert shown.isprintable(), "control characters"
    assert set(under.strip(" ")) == {"^"}, "no caret"


def outcome(check: Callable[[str], None], text: str) -> tuple[bool, str]:
    """Return whether a text was refused, and the fault that it shows, if any."""
    try:
        try:
            check(text)
        except vast.QueryError as error:
            check_refusal(error, text)
            return True, ""
    except Exception:  # whatever it is, it is what is looked for
        return False, traceback.format_exc()
    return False, ""


def fuzz_queries(runs: int, dice: random.Random) -> int:
    """Parse that many inputs; print figures and return how many showed a fault."""
    counts = Counter[str]()
    slowest = 0.0, ""
    began = time.perf_counter()
    for _ in range(runs):
        make, check = dice.choice([(query, check_query)] * 9 + [(order, check_order)])
        text = make(dice)
        for _ in range(dice.choice([0, 1, 1, 2, 3, 8])):
            text = spoilt(text, dice)
        start = time.process_time()
        refused, fault = outcome(check, text)
        cost = time.process_time() - start
        slowest = max(slowest, (cost, text))
        if cost > SLOW:
            fault = fault or f"it took {cost:.1f} s"
        if fault and counts["faults"] < 10:
            print(f"{text!r}\n{fault}", file=sys.stderr)
        counts["faults" if fault else "refused" if refused else "taken"] += 1
        counts[make.__name__] += 1
    print(f"{runs:,} inputs in {time.perf_counter() - began:.0f} s:")
    print(f"  {counts['query']:,} queries, {counts['order']:,} sort orders")
    print(f"  {counts['taken']:,} taken, {counts['refused']:,} refused with a position")
    print(f"  {slowest[0] * 1000:.1f} ms for the slowest: {slowest[1][:60]!r}")
    print(f"  {counts['faults']} faults")
    return counts["faults"]


# --- answers

CASES = {name: case for name, case in load().items() if case.call}
RENEWED = 50  # runs after which the market is a new one
# What the client waits for in real time, in seconds, and the bytes that it takes.
LIMITS = {
    "READ_TIMEOUT": 0.3, "TOTAL_TIMEOUT": 0.8, "SLOWEST": 10**9, "LARGEST": 10**6
}  # fmt: skip
ODD_VALUES: list[Any] = [
    None, True, False, 0, -1, 1.5, -0.0, 1e308, 10**18, 10**400, 10**4000, "", " ", "x",
    "-", "5001", "1e999", "nan", "a\x1b[31m\r\nb", "\ud800", "\u202e", "x" * 10_000, [],
    [[]], [None], [1, "a"], {}, {"a": None}, {"": {"": {}}}, [{}], [{"id": 1}],
]  # fmt: skip
# What a response may turn into. A change that was carried out is not answered by a
# refusal: that would be a lie, which no client can see through.
STATUSES = {
    True: [200, 201, 400, 401, 404, 422, 429, 500, 503],
    False: [200, 201, 202, 500, 502, 503, 504],
}
SLUGS = ("error", "msg", "message", "detail", "success", "status", "next_token")


def levels(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths to all values inside a JSON value; the empty one is its own."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from levels(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value[:3]):
            yield from levels(inner, (*path, index))


def replaced(value: Any, path: tuple[Any, ...], other: Any, drop: bool) -> Any:
    """Return a JSON value with another one at a path, or nothing there."""
    if not path:
        return other
    first, *rest = path
    if isinstance(value, dict):
        changed = {k: v for k, v in value.items() if k != first or rest or not drop}
        if first in changed:
            changed[first] = replaced(value[first], tuple(rest), other, drop)
        return changed
    copy = list(value)
    copy[first] = replaced(value[first], tuple(rest), other, drop)
    return copy


def other_types(reply: Reply, dice: random.Random, read: bool) -> tuple[str, Answer]:
    """Return the answer with values of wrong types in up to three of its levels."""
    value = json.loads(reply.body)
    told = []
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        paths = list(levels(value))
        # The outer levels are few, but decide more.
        outer = [path for path in paths if len(path) < 2]
        path = dice.choice(outer if dice.random() < 0.4 else paths)
        other, drop = dice.choice(ODD_VALUES), dice.random() < 0.2
        if isinstance(value, dict) and dice.random() < 0.15:
            path = (dice.choice(SLUGS),)
            value = {**value, path[0]: None}
            drop = False
        value = replaced(value, path, other, drop)
        told.append(f"{'.'.join(map(str, path))}: {'-' if drop else repr(other)[:40]}")
    status = reply.status
    if dice.random() < 0.4:
        status = dice.choice(STATUSES[read])
        told.append(f"status {status}")
    return "; ".join(told), reply._replace(
        body=json.dumps(value).encode(), status=status
    )


def other_bytes(reply: Reply, dice: random.Random, read: bool) -> tuple[str, Answer]:
    """Return the answer with bytes changed, lost, doubled or added on the wire."""
    raw = bytearray(wire(reply))
    told = []
    # As often in the head as in the body, which is longer.
    head = raw.index(b"\r\n\r\n") + 4
    first = 0 if read else len(b"HTTP/1.1 200")
    for _ in range(dice.choice([1, 1, 2, 5])):
        start = dice.randrange(first, max(dice.choice([head, len(raw)]), first + 1))
        end = start + dice.choice([0, 1, 1, 2, 4, 30])
        piece = bytes(raw[start:end])
        ways = [
            b"",
            piece + piece,
            piece[::-1],
            dice.randbytes(len(piece) + 1),
            dice.choice([b"\0", b"\r\n", b"\xff", b'"', b"{", b"]", b"9" * 30, b":"]),
            bytes(byte ^ 1 << dice.randrange(8) for byte in piece),
        ]
        other = dice.choice(ways)
        raw[start:end] = other
        told.append(f"{start}: {piece!r} -> {other[:40]!r}")
    if dice.random() < 0.1:
        del raw[dice.randrange(len(raw) or 1) :]
        told.append("cut")
    return "; ".join(told), Stream([bytes(raw)])


class Mutating(Sandbox):
    """A sandbox whose answers are changed on the way, now and then; `told` says how."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__()
        self.dice = dice
        self.told: list[str] = []
        self.kinds = Counter[str]()

    def take(self, method: str, target: str, headers: Message, raw: bytes) -> Answer:
        answer = super().take(method, target, headers, raw)
        if not isinstance(answer, Reply) or self.dice.random() < 0.3:
            return answer
        is_json = answer.body[:1] in (b"{", b"[")
        mutate = self.dice.choice([other_types, other_types, other_bytes])
        if not is_json:
            mutate = other_bytes
        read = method == "GET" or self.calls[-1].name == "search"
        told, changed = mutate(answer, self.dice, read)
        self.told.append(f"{self.calls[-1].name}: {told}")
        self.kinds[mutate.__name__] += 1
        return changed


class PassingClock(conftest.Clock):
    """The real time, in which sleeping takes none."""

    def now(self) -> float:
        return time.time() + sum(self.slept)


class Run(NamedTuple):
    """A run of a command: what was typed, whether at a terminal, how it ended, and what
    was rented by it."""

    words: list[str]
    terminal: bool
    ran: conftest.Ran
    rented: list[int]


def check_run(run: Run, raw: bool) -> None:
    """Check what holds for every run, whatever the service answers."""
    status, out, err = run.ran
    err = err.replace("\r\x1b[K", "\n")  # between progress lines
    assert status in range(7), "no such status"
    assert status == 0 or err, "silent"
    assert KEY not in out + err, "the key is shown"
    allowed = "\n\t" if run.terminal else "\n"
    shown = (out + err).translate(str.maketrans("", "", allowed))
    assert shown.isprintable(), "control characters"
    lines = [line for line in err.splitlines() if not line.startswith("{")]
    notes = all(line.startswith(("vast.py: ", "  ")) for line in lines)
    assert notes or run.terminal, "other than lines on stderr"
    if raw:
        errors = [json.loads(line) for line in err.splitlines() if line[:1] == "{"]
        assert all(error.keys() == {"error", "msg", "status"} for error in errors)
        assert not out or json.loads(out) is not Ellipsis
        assert status == 0 or errors, "no error in JSON"
    if run.rented:
        # `create instances` sends several, each of which may be carried out.
        assert len(run.rented) <= len(set(run.words)), "rented twice"
        assert status not in (4, 5), "rented, and called safe to retry"
        assert status != 2, "rented, and called a wrong command line"


def one_run(
    case: Case, box: Mutating, program: conftest.Program, dice: random.Random
) -> str:
    """Run a case's command; return the fault that it shows, if any."""
    places = case.setup(box.market) if case.setup else {}
    words = [str(fill(word, places)) for word in shlex.split(case.words)]
    name = words[1] if len(words) > 1 else ""
    if words[0] in ("create", "launch", "start", "destroy") and "instance" in name:
        words += ["--wait", "--timeout", "9"] * dice.randrange(2)
    raw = bool(dice.randrange(2))
    words += ["--raw"] * raw + ["--retry", "0"] * dice.randrange(2)
    rented = len(box.market.rented)
    box.clear()
    box.told.clear()
    program.clock.slept.clear()
    try:
        # Into a pipe, these pass on what a stranger's file has in it.
        passed_on = words[0] == "execute" or any(w.endswith("logs") for w in words[:2])
        ran = program(*words, terminal=passed_on)
        new = [number for _, number in box.market.rented[rented:]]
        check_run(Run(words, passed_on, ran, new), raw)
    except Exception:  # whatever it is, it is what is looked for
        return f"{shlex.join(words)}\n{box.told}\n{traceback.format_exc()}"
    box.kinds[f"status {ran.status}"] += 1
    return ""


def fuzz_answers(runs: int, dice: random.Random) -> int:
    """Run that many commands; print figures and return how many showed a fault."""
    began = time.perf_counter()
    before = {name: getattr(vast, name) for name in LIMITS}
    folder, path = os.getcwd(), os.environ["PATH"]
    vars(vast).update(LIMITS)
    os.environ["PATH"] = ""  # so that no command can start another program
    try:
        with tempfile.TemporaryDirectory() as home:
            os.chdir(home)
            faults, kinds = run_commands(runs, dice, Path(home))
            os.chdir(folder)
    finally:
        os.environ["PATH"] = path
        vars(vast).update(before)
    statuses = ", ".join(
        f"{name.removeprefix('status ')}: {kinds[name]:,}"
        for name in sorted(kinds)
        if name.startswith("status ")
    )
    print(f"{runs:,} runs of {len(CASES)} commands in", end=" ")
    print(f"{time.perf_counter() - began:.0f} s:")
    print(f"  {kinds['other_types']:,} answers of other types", end=", ")
    print(f"{kinds['other_bytes']:,} of other bytes")
    print(f"  exit statuses: {statuses}")
    print(f"  {faults} faults")
    return faults


def run_commands(
    runs: int, dice: random.Random, home: Path
) -> tuple[int, Counter[str]]:
    """Return how many of the runs showed a fault, and what happened in all."""
    faults, commands = 0, sorted(CASES)
    box = Mutating(dice)
    with box:
        program = conftest.Program(home, box)
        program.clock = PassingClock()
        for index in range(runs):
            if index % RENEWED == 0:
                box.market = Market()
                box.market.url = box.url
            fault = one_run(CASES[dice.choice(commands)], box, program, dice)
            faults += bool(fault)
            if fault and faults <= 10:
                print(fault, file=sys.stderr)
    return faults, box.kinds


def main(argv: Sequence[str] | None = None) -> int:
    """Run as many inputs as were asked for; return the exit status."""
    parser = argparse.ArgumentParser(description="Fuzz queries and answers.")
    parser.add_argument("--runs", type=int, default=200_000, help="queries")
    parser.add_argument("--answers", type=int, default=10_000, help="commands")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    args = parser.parse_args(argv)
    print(f"seed {args.seed}")
    faults = fuzz_queries(args.runs, random.Random(args.seed))
    faults += fuzz_answers(args.answers, random.Random(args.seed))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
