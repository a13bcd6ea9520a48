"""Throws queries and sort orders that are right or nearly right at the grammar, and
prints how it went; the exit status is 1 when one of them showed a fault.

    python tests/fuzz.py [--runs N] [--seed N]

Whatever is typed must be a query that the service can be sent, or be refused with a
message and a place inside the text, and within a second. This is no part of the normal
tests; the same seed makes the same inputs.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import vast

FIELDS = vast.fields()
KINDS = {field.wire: field.kind for field in FIELDS.values()}
KNOWN_KEYS = {*KINDS, *vast.ROW_FIELDS}
SLOW = 1.0  # seconds that no input may take

SIGNS = "= == != < <= > >= in notin nin eq neq lt lte gt gte".split() + ["not in"]
VALUES = {
    "bool": ["true", "False", "1", "0"],
    "int": ["4", "-1", "750", "999999999999999999"],
    "float": ["0.5", "24", ".5", "1e3", "1e306", "-7."],
    "text": ["RTX_4090", "RTX 4090", "US", '"H100 SXM"', "'a]b'", "Köln", "GT 1030"],
    "version": ["535.86.05", "560", "535086005"],
}
# What a person, a shell or an editor leaves in the wrong place.
ODDITIES = [
    *"[]'\"\\,=<>!()_-+:;&|$*#~.%{}4aZ\n\t\0\x1b\x85\u2028\u202e\ud800\u0301é日👍４ ",
    *"none null any not in and nan inf 1e999 '' \"\" [] [, ,] === \\n".split(),
    *[" in ", "  ", "\\\n"],
]


def comparison(dice: random.Random) -> str:
    """A comparison, mostly a right one."""
    name, sign = dice.choice(list(FIELDS)), dice.choice(SIGNS)
    values = dice.choices(VALUES[FIELDS[name].kind], k=3)
    value = dice.choice([*values, "none", "any"])
    if sign in ("in", "notin", "nin", "not in"):
        value = f"[{dice.choice([',', ', ', ' ,']).join(values)}]"
    gap = " " if sign.isalpha() or " " in sign else dice.choice(["", " "])
    return f"{name}{gap}{sign}{gap}{value}"


def query(dice: random.Random) -> str:
    """A query of up to four comparisons."""
    between: str = dice.choice([" ", ", ", "\n", " \\\n "])
    return between.join(comparison(dice) for _ in range(dice.randrange(5)))


def order(dice: random.Random) -> str:
    """A sort order of up to three keys."""
    ways = ["", "+", "-", " asc", " desc", " -"]
    keys = [
        dice.choice([*FIELDS, *vast.ROW_FIELDS]) + dice.choice(ways)
        for _ in range(dice.randrange(1, 4))
    ]
    return ", ".join(keys) if dice.random() < 0.5 else ",".join(keys)


def spoilt(text: str, dice: random.Random) -> str:
    """The text with a piece of it left out, doubled, moved or turned round, or with
    something odd put in."""
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
    """Parses a query; what comes out can be sent. Raises QueryError."""
    filters, notes = vast.parse_query(text, vast.DEFAULT_FILTERS)
    json.dumps([filters, notes], allow_nan=False)
    for wire, tests in filters.items():
        assert tests, f"no test of {wire}"
        allowed = vast.OPERATORS_OF[KINDS[wire]]
        assert tests.keys() <= set(allowed), f"{wire} is tested by {list(tests)}"
        for operator, value in tests.items():
            is_list = operator in ("in", "notin")
            assert isinstance(value, list) is is_list, f"{operator} {value}"
            assert value not in ("", []), f"{wire} is compared with nothing"


def check_order(text: str) -> None:
    """Parses a sort order; what comes out can be sent. Raises QueryError."""
    keys = vast.parse_order(text)
    assert len(keys) == text.count(",") + 1, "a key is missing"
    for key, way in keys:
        assert key in KNOWN_KEYS, f"unknown key {key}"
        assert way in ("asc", "desc"), way


def check_refusal(error: vast.QueryError, text: str) -> None:
    """The refusal of a text has a message, and a place inside the text or, where the
    text breaks off, just behind it."""
    assert str(error), "no message"
    assert error.query == text, "another query"
    least = len(text) + (error.start == len(text))
    assert 0 <= error.start < error.end <= least, "a place outside the query"
    shown, place = vast.caret(error).split("\n")
    assert shown.isprintable(), "control characters"
    assert set(place.strip(" ")) == {"^"}, "no caret"


def outcome(check: Callable[[str], None], text: str) -> tuple[bool, str]:
    """Whether a text was refused, and the fault that it shows, if any."""
    try:
        try:
            check(text)
        except vast.QueryError as error:
            check_refusal(error, text)
            return True, ""
    except Exception:  # whatever it is, it is what is looked for
        return False, traceback.format_exc()
    return False, ""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs as many inputs as were asked for; returns the exit status."""
    parser = argparse.ArgumentParser(description="Fuzz the query grammar.")
    parser.add_argument("--runs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    args = parser.parse_args(argv)
    dice, counts = random.Random(args.seed), Counter[str]()
    slowest = 0.0, ""
    began = time.perf_counter()
    for _ in range(args.runs):
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
    took = time.perf_counter() - began
    print(f"{args.runs} inputs (seed {args.seed}) in {took:.0f} s:")
    print(f"  {counts['query']} queries, {counts['order']} sort orders")
    print(f"  {counts['taken']} taken, {counts['refused']} refused with a place")
    print(f"  {slowest[0] * 1000:.1f} ms for the slowest: {slowest[1][:60]!r}")
    print(f"  {counts['faults']} faults")
    return 1 if counts["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
