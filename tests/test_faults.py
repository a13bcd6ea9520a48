"""The fault matrix: every command that calls the service, under every fault that the
sandbox can play.

A cell is a call that a command makes, and a fault of it. What must come of a cell
follows from the kind of call and the fault alone, but for the exceptions, which are
listed. Every cell is run twice: the fault lasts, with `--raw`, and it comes once.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from soak import soak

import vast
from conftest import Program, Ran
from sandbox import FAULTS, KEY, Market, Sandbox

READ, CHANGE, ONCE = 0, 1, 2  # a read, a change that may be repeated, `create instance`


class Rule(NamedTuple):
    """What a fault that lasts ends as, for each kind of call: the exit status, and how
    many requests are sent."""

    status: tuple[int, int, int]
    sent: tuple[int, int, int] = (1, 1, 1)


BUSY = Rule((5, 5, 5), (4, 4, 4))  # surely not carried out: anything is sent again
BUSY_FOR_LONG = Rule((5, 5, 5))
LOST = Rule((5, 6, 6), (4, 4, 1))  # perhaps carried out: never rent twice
GIVEN_UP = Rule((5, 6, 6))  # the same, where another try is of no use
ODD = Rule((1, 6, 6))  # carried out, if we understand the service
REFUSED = Rule((1, 1, 1))
NO_KEY = Rule((4, 4, 4))

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

# The limits of the client that a fault would take minutes, or much memory, to reach.
LIMITS: dict[str, dict[str, float]] = {
    "slow": {"READ_TIMEOUT": 0.005},
    "drip_headers": {"TOTAL_TIMEOUT": 0.005, "SLOWEST": 10**9},
    "drip_body": {"TOTAL_TIMEOUT": 0.005, "SLOWEST": 10**9},
    "huge": {"LARGEST": 10**6},
}


class Line(NamedTuple):
    """A command line, the call of it that goes wrong, and the calls that follow."""

    words: str
    call: str
    kind: int
    after: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The command and the call."""
        return f"{re.split(' [^a-z]', self.words)[0]}/{self.call}"


LINES = (
    Line("search offers", "search", READ),
    Line("show instances", "instances", READ),
    Line("ssh-url", "instances", READ),
    Line("ssh-url {id}", "instance", READ),
    Line("scp-url {id}", "instance", READ),
    Line("create instance {offer} --image it", "create", ONCE),
    Line("start instance {id}", "manage", CHANGE),
    Line("stop instance {id}", "manage", CHANGE),
    Line("label instance {id} it", "manage", CHANGE),
    Line("change bid {id} --price 1", "bid", CHANGE),
    Line("destroy instance {id}", "destroy", CHANGE),
    Line("show machines", "machines", READ),
    Line("list machine 7101 -g 1", "list_machine", CHANGE),
    Line("unlist machine 7101", "unlist_machine", CHANGE),
    Line("set min-bid 7101 --price 1", "min_bid", CHANGE),
    Line(
        "set defjob 7101 --price_gpu 1 --price_inetu 1 --price_inetd 1 --image it",
        "set_defjob",
        CHANGE,
    ),
    Line("remove defjob 7101", "remove_defjob", CHANGE),
    Line("show user", "user", READ),
    Line("show invoices -q", "invoices", READ),
    Line("generate pdf-invoices -q -o {pdf}", "invoices", READ, after=("user",)),
)
OFFLINE = {"set api-key", "create account", "login", "completion", "help"}

# What ends well all the same, and with which calls.
OLD_LIST = ["instances", "instances_v0"]
OLD_BILLS = ["invoices", "invoices_v1", "charges"]
EXCEPTIONS = {
    # A call that is gone has a successor, or an ancestor.
    **{
        (f"{command}/instances", fault): OLD_LIST
        for command in ("show instances", "ssh-url")
        for fault in ("404", "410")
    },
    ("show invoices/invoices", "404"): OLD_BILLS,
    ("show invoices/invoices", "410"): OLD_BILLS,
    ("generate pdf-invoices/invoices", "404"): [*OLD_BILLS, "user"],
    ("generate pdf-invoices/invoices", "410"): [*OLD_BILLS, "user"],
    # An id of another type is an odd cell in a row, which harms nobody.
    ("show user/user", "bad_list"): ["user"],
    ("show user/user", "bad_rows"): ["user"],
}

CELLS = [(line, fault) for line in LINES for fault in FAULTS]
CELL_NAMES = [f"{line.name}-{fault}" for line, fault in CELLS]


def outcome(line: Line, fault: str, once: bool) -> tuple[int, list[str]]:
    """The exit status of a cell and its calls, when the fault lasts or comes once."""
    if (line.name, fault) in EXCEPTIONS:
        return 0, EXCEPTIONS[line.name, fault]
    status, sent = (of_kinds[line.kind] for of_kinds in RULES[fault])
    if once and sent > 1 and fault not in LIMITS:
        return 0, [line.call, line.call, *line.after]
    return status, [line.call] * sent


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    """A market of few offers and bills, for all cells."""
    market = Market()
    free = [it for it in market.offers.values() if it.rental is None][:9]
    market.offers = {offer.row["id"]: offer for offer in free}
    market.invoices = market.invoices[-9:]
    with Sandbox(market) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def run(box: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Runs command lines in real time, in which only sleeping takes none."""
    program = Program(tmp_path_factory.mktemp("home"), box)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program.clock, "now", time.time)
        yield program


def typed(line: Line, market: Market, program: Program) -> list[str]:
    """The words of a line, about the only instance of the user's and a free offer."""
    user = market.user["id"]
    for rental in [it for it in market.rentals.values() if it.owner == user]:
        rental.offer.rental = None
        del market.rentals[rental.id]
    market.rented.clear()
    offer, another = [it for it in market.offers.values() if it.rental is None][:2]
    order = {"image": "it", "disk": 10.0, "runtype": "ssh"}
    rental = market.rent(offer, order, next(market.ids), user)
    pdf = program.home / "invoice.pdf"
    return line.words.format(id=rental.id, offer=another.row["id"], pdf=pdf).split()


def calls(box: Sandbox, count: int) -> list[str]:
    """The names of the calls that came in. One that the client gave up may be late."""
    end = time.monotonic() + 5
    while len(box.calls) < count and time.monotonic() < end:
        time.sleep(0.001)
    return [seen.name for seen in box.calls]


def check_error(ran: Ran, raw: bool) -> None:
    """One line on stderr, or with `--raw` one JSON object; nothing on stdout."""
    assert ran.out == ""
    assert KEY not in ran.err
    assert ran.err.endswith("\n")
    assert ran.err.count("\n") == 1
    if raw:
        value = json.loads(ran.err)
        assert value.keys() == {"error", "msg", "status"}
        assert value["error"]
        assert value["msg"]
    else:
        assert re.match(r"vast\.py: \S", ran.err)


def test_every_fault_has_a_rule() -> None:
    assert RULES.keys() == FAULTS.keys()


@pytest.mark.parametrize("command", [command.name for command in vast.COMMANDS])
def test_every_command_has_a_line(command: str) -> None:
    has_line = any(line.words.startswith(command) for line in LINES)
    assert has_line is (command not in OFFLINE)


@pytest.mark.parametrize("line", LINES, ids=[line.name for line in LINES])
def test_without_a_fault(line: Line, box: Sandbox, run: Program) -> None:
    """The lines work, so that it is the faults that the cells are about; and the key
    stands in one header of each request, and nowhere else."""
    box.clear()
    ran = run(*typed(line, box.market, run))
    assert ran.status == 0, ran.err
    assert ran.out
    assert calls(box, 0) == [line.call, *line.after]
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
    for once in (False, True):
        box.clear()
        # With limits that low, the answer after the fault would not be in time either.
        box.fault(line.call, fault, times=1 if once and fault not in LIMITS else None)
        ran = run(*typed(line, box.market, run), *["--raw"] * (not once))
        status, expected = outcome(line, fault, once)
        assert (ran.status, calls(box, len(expected))) == (status, expected), ran.err
        if status:
            check_error(ran, raw=not once)
        else:
            assert ran.out
        assert len(box.market.rented) <= 1


@pytest.mark.parametrize("line", LINES, ids=[line.name for line in LINES])
def test_no_connection(line: Line, box: Sandbox, run: Program) -> None:
    """Nothing was sent, so that every call may be tried again, and none is in doubt."""
    run.clock.slept.clear()
    nobody = {"VAST_URL": "http://127.0.0.1:1"}
    ran = run(*typed(line, box.market, run), env=nobody)
    assert (ran.status, len(run.clock.slept)) == (5, 3)
    check_error(ran, raw=False)
    assert "cannot reach http://127.0.0.1:1:" in ran.err


def test_a_short_soak() -> None:
    assert soak(commands=60, seed=1).wrong == []
