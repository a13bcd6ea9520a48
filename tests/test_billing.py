"""The commands about money: the user, the invoices, and the PDF as a file.

How the PDF looks is for the tests of invoices.
"""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest
from test_hosting import BERLIN, in_zone

import vast
from conftest import Program, Ran, Stream, complaint, script_environment, sent, unix
from sandbox import Row, Sandbox

PACIFIC = "PST8PDT,M3.2.0,M11.1.0"
INDIA = "IST-5:30"
BOTH_COMMANDS = ("show invoices", "generate pdf-invoices")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is empty; not the home."""
    current = tmp_path / "bills"
    current.mkdir()
    monkeypatch.chdir(current)
    return current


# ---------------------------------------------------------------- show user

USER: Row = {
    "id": 48213, "username": "lukasz", "email": "lukasz@example.org", "balance": -1.925,
    "credit": 118.7, "fullname": "Łukasz \x1b[1m", "billaddress_line2": None,
    "user": "", "can_pay": True, "has_payout": False, "billed_verified": 312,
    "last4": "0042", "paid_verified": "57.10", "api_key": "s3cr3t-1", "sid": "s3cr3t-2",
}  # fmt: skip
USER_TABLE = """\
Field            Value
balance          -1.925
billed_verified  312
can_pay          true
credit           118.70
email            lukasz@example.org
fullname         Łukasz \\x1b[1m
has_payout       false
id               48213
last4            0042
paid_verified    57.10
username         lukasz
"""


@pytest.mark.parametrize(
    ("options", "out"),
    [
        pytest.param([], USER_TABLE, id="table"),
        pytest.param(["-q"], "48213 lukasz@example.org -1.925 118.70\n", id="-q"),
        pytest.param(
            ["--quiet"], "48213 lukasz@example.org -1.925 118.70\n", id="--quiet"
        ),
    ],
)
def test_the_user(run: Program, box: Sandbox, options: list[str], out: str) -> None:
    box.fault("user", "body", body=USER)
    assert run("show", "user", *options) == Ran(0, out, "")
    assert sent(box) == [("GET", "/api/v0/users/current/", None)]


def test_the_raw_user_is_without_credentials(run: Program, box: Sandbox) -> None:
    box.fault("user", "body", body=USER)
    ran = run("show", "user", "--raw")
    assert "s3cr3t" not in ran.out
    assert json.loads(ran.out) == {
        key: value for key, value in USER.items() if key not in ("api_key", "sid")
    }
    assert list(json.loads(ran.out)) == sorted(json.loads(ran.out))


def test_a_user_of_few_fields(run: Program, box: Sandbox) -> None:
    box.fault("user", "body", times=2, body={"id": 7})
    assert run("show", "user").out == "Field  Value\nid     7\n"
    assert run("show", "user", "-q").out == "7 - - -\n"


# ---------------------------------------------------------------- show invoices

NOON = unix("2026-02-03T12:00:00+00:00")
CURRENT: Row = {"charges": 1.92, "service_fee": 0.0, "total": 1.92, "credit": 18.75}
ROWS: list[Row] = [
    {
        "id": 3, "type": "charge", "timestamp": NOON + 86400, "amount": "1.2345",
        "description": "GPU of 5001", "quantity": "3.5", "rate": 0.3527,
        "instance_id": 5001,
    },
    {"id": 2, "type": "payment", "timestamp": NOON, "amount": -25, "is_credit": True,
     "last4": "4242"},
    {"id": 1, "type": "charge", "timestamp": NOON, "amount": 0.1, "quantity": 10,
     "description": "Disk\x1b[1m of 5001"},
    {"id": 4, "type": "payment", "timestamp": None, "amount": "7.505",
     "is_credit": False, "last4": None},
    {"id": 5, "type": "charge", "timestamp": None, "amount": 0.12345, "rate": "x"},
    {"id": 6, "type": "charge", "timestamp": NOON, "amount": "0.000"},
    {"id": 7, "type": "payment", "timestamp": NOON, "amount": 0},
]  # fmt: skip
TABLE = """\
ID  Date        Type     Description                Quantity    Rate  Amount
 2  2026-02-03  payment  Add_Credit_(card_...4242)         -       -  -25.00
 1  2026-02-03  charge   Disk\\x1b[1m_of_5001              10       -    0.10
 3  2026-02-04  charge   GPU_of_5001                     3.5  0.3527  1.2345
 4  -           payment  Auto-Billing                      -       -  -7.505
 5  -           charge   Charge                            -       -  0.1235
"""
SUMS = """\
vast.py: from the beginning to 2026-09-21 14:13:20 UTC
vast.py: charges: 1.4580 USD
vast.py: payments: -32.505 USD
vast.py: total: -31.05 USD, rounded
vast.py: charges not billed yet: 1.92 USD
"""


@pytest.fixture
def bills(box: Sandbox) -> Sandbox:
    """A service that has the invoices of ROWS."""
    body = {"invoices": ROWS, "current": CURRENT}
    box.fault("invoices", "body", times=None, body=body)
    return box


def ids_of(text: str) -> list[str]:
    """The first column of a table."""
    return [line.split()[0] for line in text.splitlines()[1:]]


def test_the_table_of_invoices(run: Program, bills: Sandbox) -> None:
    assert run("show", "invoices") == Ran(0, TABLE, SUMS)


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ("-c", ["1", "3", "5"]),
        ("--only_charges", ["1", "3", "5"]),
        ("--only-charges", ["1", "3", "5"]),
        ("-p", ["2", "4"]),
        ("--only_credits", ["2", "4"]),
        ("-s 2026-02-04", ["3"]),
        ("-e 2026-02-03", ["2", "1"]),
        ("-c -s 2026-02-03 -e 2026-02-03", ["1"]),
        ("-s 1970-01-01", ["2", "1", "3"]),
        ("-e 2099", ["2", "1", "3"]),
    ],
)
def test_which_invoices(
    run: Program, bills: Sandbox, options: str, ids: list[str]
) -> None:
    ran = run("show", "invoices", *options.split())
    assert (ran.status, ids_of(ran.out)) == (0, ids)


def test_quiet_invoices_are_their_ids(run: Program, bills: Sandbox) -> None:
    assert run("show", "invoices", "-q") == Ran(0, "2\n1\n3\n4\n5\n", "")
    ran = run("show", "invoices", "-q", "--raw")
    assert ran == Ran(0, "[2, 1, 6, 7, 3, 4, 5]\n", "")


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ("", (2, 1, 6, 7, 3, 4, 5)),
        ("-c", (1, 6, 3, 5)),
        ("-s 2026-02-04", (3,)),
        ("-e 2026-02-03", (2, 1, 6, 7)),
    ],
)
def test_raw_invoices_are_all_rows_as_they_were_sent(
    run: Program, bills: Sandbox, options: str, ids: tuple[int, ...]
) -> None:
    ran = run("show", "invoices", "--raw", *options.split())
    value = json.loads(ran.out)
    assert value["current"] == CURRENT
    by_id = {row["id"]: row for row in ROWS}
    assert value["invoices"] == [by_id[number] for number in ids]
    assert list(value) == ["current", "invoices"]


@pytest.mark.parametrize("amount", ["0.00001", 0.00004, 1e-9, "-0.00004"])
def test_the_smallest_charges_are_there(
    run: Program, box: Sandbox, amount: object
) -> None:
    row = {"id": 1, "type": "charge", "timestamp": NOON, "amount": amount}
    body = {"invoices": [row], "current": None}
    box.fault("invoices", "body", times=2, body=body)
    assert json.loads(run("show", "invoices", "--raw").out)["invoices"] == [row]
    assert run("show", "invoices").out.splitlines()[1].endswith(" 0.0000")


UNDATED = "without a date left out"


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ("", ""),
        ("-c", ""),
        ("-s 2026-02-04", "vast.py: 2 rows without a date left out"),
        ("-e 2026-02-04", "vast.py: 2 rows without a date left out"),
        ("-e 2026-02-04 --raw", "vast.py: 2 rows without a date left out"),
        ("-c -s 2026", "vast.py: 1 row without a date left out"),
        ("-q -s 2026", ""),
    ],
)
@pytest.mark.parametrize("command", BOTH_COMMANDS)
def test_rows_without_a_date_are_in_no_range(
    run: Program, bills: Sandbox, folder: Path, options: str, note: str, command: str
) -> None:
    ran = run(*command.split(), *options.split())
    assert ran.status == 0
    assert [line for line in ran.err.splitlines() if UNDATED in line] == [note][
        : len(note)
    ]


@pytest.mark.parametrize(
    ("options", "notes"),
    [
        ("", ["charges:", "payments:", "total:", "charges not billed yet:"]),
        ("-c", ["charges:", "total:", "charges not billed yet:"]),
        ("-p -e 2026-02-03", ["payments:", "total:"]),
        ("-e 2026-09-20", ["charges:", "payments:", "total:"]),
        ("-e 2026-09-21T14:12", ["charges:", "payments:", "total:"]),
        ("-e 2026-09-21T14:13:20Z", ["charges:", "payments:", "total:", "charges not"]),
        (
            "-e 2026-09-21",
            ["charges:", "payments:", "total:", "charges not billed yet:"],
        ),
    ],
)
def test_which_sums_are_told(
    run: Program, bills: Sandbox, options: str, notes: list[str]
) -> None:
    ran = run("show", "invoices", *options.split())
    lines = [x for x in ran.err.splitlines()[1:] if UNDATED not in x]
    assert len(lines) == len(notes)
    for line, note in zip(lines, notes):
        assert line.startswith(f"vast.py: {note}")


@pytest.mark.parametrize(
    ("amounts", "total"),
    [
        ([1, "2.5"], "total: 3.50 USD"),
        ([1, "2.505"], "total: 3.51 USD, rounded"),
        (["0.0001"], "total: 0.00 USD, rounded"),
        ([], "total: 0.00 USD"),
    ],
)
def test_the_total_is_in_cents(
    run: Program, box: Sandbox, amounts: list[object], total: str
) -> None:
    rows = [{"type": "charge", "timestamp": NOON, "amount": x} for x in amounts]
    box.fault("invoices", "body", body={"invoices": rows, "current": None})
    assert f"vast.py: {total}\n" in run("show", "invoices").err


ODD: list[object] = [
    None, True, False, -1, 0, 1.5, 10**400, 10**4000, -(10**400), "1" * 4000,
    "1" * 5000, "nan", "-sNaN", "Infinity", "-inf", "1e400", "1e999999999",
    "1e-999999999", "1E+99999999999999999999", "", " ", "\x1b[1m\0", [], [[1]], {},
    {"total": {}},
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: str(odd)[:25])
def test_whatever_a_row_holds(
    run: Program, box: Sandbox, folder: Path, odd: object
) -> None:
    names = ["amount", "timestamp", "start", "end", "quantity", "rate", "description"]
    names += ["type", "last4", "is_credit", "source", "id", "metadata", "items"]
    plain = {"type": "payment", "timestamp": NOON, "amount": 1, "id": 7}
    rows = [{**plain, name: odd} for name in names] + [dict.fromkeys(names, odd)]
    body = {"invoices": rows, "current": odd}
    box.fault("invoices", "body", times=None, body=body)
    for options in ("", "--raw", "-q", "-s 2020", "--cols ID,type,amount,id,Rate"):
        ran = run("show", "invoices", *options.split())
        assert (ran.status, "\x1b" in ran.out) == (0, False)
    assert json.loads(run("show", "invoices", "--raw").out)["current"] == odd
    assert run("generate", "pdf-invoices", "-o", "x.pdf").status == 0


@pytest.mark.parametrize(
    ("current", "said"),
    [
        (CURRENT, "1.92 USD"),
        ({"charges": "0.5"}, "0.50 USD"),
        (3, "3.00 USD"),
        (1.2345, "1.2345 USD"),
        (None, "yet: unknown"),
        ("soon", "yet: unknown"),
    ],
    ids=["object", "object without total", "number", "four decimals", "null", "text"],
)
def test_the_current_charges(
    run: Program, box: Sandbox, current: object, said: str
) -> None:
    box.fault("invoices", "body", body={"invoices": None, "current": current})
    ran = run("show", "invoices")
    assert ran.out == "ID  Date  Type  Description  Quantity  Rate  Amount\n"
    assert ran.err.splitlines()[-1].endswith(said)


def test_sums_are_exact(run: Program, box: Sandbox) -> None:
    rows = [
        {"id": number, "type": "charge", "timestamp": NOON, "amount": amount}
        for number, amount in enumerate([0.1, "0.2", 0.3, "0.00005", 1234567.1])
    ]
    box.fault("invoices", "body", body={"invoices": rows, "current": None})
    ran = run("show", "invoices")
    shown = [line.split()[-1] for line in ran.out.splitlines()[1:]]
    assert shown == ["0.10", "0.20", "0.30", "0.0001", "1234567.10"]
    assert f"charges: {sum(map(Decimal, shown)):,f} USD" in ran.err


def test_the_sandbox_adds_up(run: Program, box: Sandbox) -> None:
    run.clock.time = time.time()
    ran = run("show", "invoices", "-c", "--raw")
    rows = json.loads(ran.out)["invoices"]
    total = sum(Decimal(str(row["amount"])) for row in rows)
    assert len(rows) > 30
    assert f"charges: {total:,f} USD" in ran.err


# ---------------------------------------------------------------- ranges

# Zone, start, end -> what is sent as sdate and edate, and the words of the note.
RANGES: dict[tuple[str, str, str], tuple[str, str, str]] = {
    ("UTC", "2022-02", "2022-02"): (
        "2022-02-01T00:00:00+00:00",
        "2022-02-28T23:59:59+00:00",
        "2022-02-01 00:00:00 UTC to 2022-02-28 23:59:59 UTC",
    ),
    ("UTC", "2022-02-03", "2022-02-03"): (
        "2022-02-03T00:00:00+00:00",
        "2022-02-03T23:59:59+00:00",
        "2022-02-03 00:00:00 UTC to 2022-02-03 23:59:59 UTC",
    ),
    ("UTC", "2024", "2024-02"): (
        "2024-01-01T00:00:00+00:00",
        "2024-02-29T23:59:59+00:00",
        "2024-01-01 00:00:00 UTC to 2024-02-29 23:59:59 UTC",
    ),
    ("UTC", "April 2022", "2022-04"): (
        "2022-04-01T00:00:00+00:00",
        "2022-04-30T23:59:59+00:00",
        "2022-04-01 00:00:00 UTC to 2022-04-30 23:59:59 UTC",
    ),
    ("UTC", "08/24/2022", "24 Aug 2022 18:30"): (
        "2022-08-24T00:00:00+00:00",
        "2022-08-24T18:30:59+00:00",
        "2022-08-24 00:00:00 UTC to 2022-08-24 18:30:59 UTC",
    ),
    ("UTC", "20220824T06", "20220824T06"): (
        "2022-08-24T06:00:00+00:00",
        "2022-08-24T06:59:59+00:00",
        "2022-08-24 06:00:00 UTC to 2022-08-24 06:59:59 UTC",
    ),
    (BERLIN, "2022-01", "2022-07"): (
        "2022-01-01T00:00:00+01:00",
        "2022-07-31T23:59:59+02:00",
        "2022-01-01 00:00:00 CET to 2022-07-31 23:59:59 CEST",
    ),
    (BERLIN, "2022-03-27", "2022-03-27"): (
        "2022-03-27T00:00:00+01:00",
        "2022-03-27T23:59:59+02:00",
        "2022-03-27 00:00:00 CET to 2022-03-27 23:59:59 CEST",
    ),
    (BERLIN, "2022-01-01T12:00Z", "2022-01-01 12:30:15-05:00"): (
        "2022-01-01T12:00:00+00:00",
        "2022-01-01T17:30:15+00:00",
        "2022-01-01 13:00:00 CET to 2022-01-01 18:30:15 CET",
    ),
    (PACIFIC, "2021-12-31", "2022-06-30"): (
        "2021-12-31T00:00:00-08:00",
        "2022-06-30T23:59:59-07:00",
        "2021-12-31 00:00:00 PST to 2022-06-30 23:59:59 PDT",
    ),
    (INDIA, "2022-02", "2022-02-28 12:00"): (
        "2022-02-01T00:00:00+05:30",
        "2022-02-28T12:00:59+05:30",
        "2022-02-01 00:00:00 IST to 2022-02-28 12:00:59 IST",
    ),
}


@pytest.mark.parametrize("command", BOTH_COMMANDS)
@pytest.mark.parametrize("case", RANGES, ids=" ".join)
def test_a_range(
    run: Program,
    bills: Sandbox,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[str, str, str],
    command: str,
) -> None:
    zone, start, end = case
    first, last, words = RANGES[case]
    in_zone(monkeypatch, zone)
    ran = run(*command.split(), "--start_date", start, "--end_date", end)
    assert ran.status == 0
    assert ran.err.startswith(f"vast.py: from {words}\n")
    assert bills.calls[0][1:4] == (
        "GET",
        "/api/v0/users/me/invoices",
        {
            "owner": "me",
            "sdate": str(unix(first)),
            "edate": str(unix(last)),
            "inc_charges": "true",
        },
    )


@pytest.mark.parametrize("command", BOTH_COMMANDS)
def test_without_dates_the_range_is_everything_until_now(
    run: Program, bills: Sandbox, folder: Path, command: str
) -> None:
    assert run(*command.split()).status == 0
    query = bills.calls[0].query
    assert (query["sdate"], query["edate"]) == ("0", str(int(run.clock.time)))


@pytest.mark.parametrize("zone", [BERLIN, PACIFIC])
def test_dates_of_rows_are_local(
    run: Program, box: Sandbox, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    in_zone(monkeypatch, zone)
    when = unix("2022-02-28T23:30:00+00:00")
    row = {"id": 1, "type": "charge", "timestamp": when, "amount": 1}
    body = {"invoices": [row], "current": None}
    box.fault("invoices", "body", body=body)
    day = run("show", "invoices").out.splitlines()[1].split()[1]
    assert day == ("2022-03-01" if zone == BERLIN else "2022-02-28")


# Options -> a word of the message.
WRONG = {
    "-s someday": "'someday'",
    "-e 2022-13-01": "'2022-13-01'",
    "-s 2022-02-30": "'2022-02-30'",
    "-s 12:30": "'12:30'",
    "-e 6pm": "'6pm'",
    "-s Monday": "'Monday'",
    "-s": "-s",
    "-e=": "''",
    "-s 2022-02-03 -e 2022-02-02": "before",
    "-s 2022-02-03T12:00Z -e 2022-02-03T12:00+01:00": "before",
    "-s 2099-01-01": "the start date is in the future",
    "-s 2030": "the start date is in the future",
    "-s 2030 -e 2031": "the start date is in the future",
    f"-s 1{'0' * 400}": "invalid date",
    f"-e T24:001{'0' * 400}": "invalid date",
    f"-s 2022-01-01T00:{'1' * 5000}": "invalid date",
    "-s 99999999999-01": "'99999999999-01'",
    "-c -p": "--only_c",
    "--only_credits --only-charges": "--only_c",
    "2022-02": "'2022-02'",
}


@pytest.mark.parametrize("command", BOTH_COMMANDS)
@pytest.mark.parametrize("options", WRONG)
def test_a_wrong_range_sends_nothing(
    run: Program, box: Sandbox, folder: Path, options: str, command: str
) -> None:
    assert WRONG[options] in complaint(run(*command.split(), *options.split()), 2)
    assert not box.calls
    assert not list(folder.iterdir())


# ---------------------------------------------------------------- a retired call


SUCCESSORS_TABLE = """\
ID  Date        Type      Description          Quantity  Rate  Amount
 2  2026-02-03  credit    Top-up_by_card_4242         -     -  -25.00
 -  2026-02-03  instance  Disk\\x1b[1m_of_5001         -     -    0.10
 -  2026-02-04  instance  GPU_of_5001                 -     -  1.2345
"""


@pytest.mark.parametrize("fault", ["410", "404"])
def test_the_successors_of_a_retired_call(
    run: Program, box: Sandbox, fault: str
) -> None:
    box.market.invoices = ROWS[:3]
    box.fault("invoices", fault)
    ran = run("show", "invoices", "-s", "2026-02-03", "-e", "2026-02-04")
    assert ran.out == SUCCESSORS_TABLE
    span = {
        "gte": unix("2026-02-03T00:00:00+00:00"),
        "lte": unix("2026-02-04T23:59:59+00:00"),
    }
    asked = [(call.path, call.query["select_filters"]) for call in box.calls[1:]]
    assert asked == [
        ("/api/v1/invoices/", json.dumps({"when": span})),
        ("/api/v0/charges/", json.dumps({"day": span})),
    ]


def test_all_pages_of_the_successors(run: Program, box: Sandbox) -> None:
    box.market.retired.add("invoices")
    box.market.invoices = [
        {
            "id": number,
            "type": "payment" if number % 2 else "charge",
            "timestamp": NOON,
            "amount": 1,
            "is_credit": True,
            "last4": None,
        }
        for number in range(1300)
    ]
    ran = run("show", "invoices")
    assert ran.out.count("\n") == 1301
    assert "charges: 650.00 USD" in ran.err
    assert "payments: -650.00 USD" in ran.err
    assert box.connections == 1


def test_no_successor_for_a_wrong_key(run: Program, box: Sandbox) -> None:
    box.fault("invoices", "404_auth")
    ran = run("show", "invoices", "-q")
    assert (ran.status, ran.out, len(box.calls)) == (4, "", 1)


# ---------------------------------------------------------------- the PDF as a file

# Options -> the name of the file; today is 2026-09-21.
NAMES = {
    "": "invoice_24320.pdf",
    "-s 2022-01 -e 2022-01": "invoice_24264_2022-01-01_2022-01-31.pdf",
    "-s 2026-03-05": "invoice_24320_2026-03-05.pdf",
    "-e 2022-12-31": "invoice_24275_2022-12-31.pdf",
    "-c": "invoice_24320_charges.pdf",
    "-p -s 2021-12-01 -e 2022-02-03": "invoice_24265_2021-12-01_2022-02-03_credits.pdf",
}


@pytest.mark.parametrize("options", NAMES)
def test_the_name_of_the_file(
    run: Program, bills: Sandbox, folder: Path, options: str
) -> None:
    ran = run("generate", "pdf-invoices", *options.split())
    assert ran[:2] == (0, NAMES[options] + "\n")
    assert [file.name for file in folder.iterdir()] == [NAMES[options]]
    assert (folder / NAMES[options]).read_bytes().startswith(b"%PDF-")


@pytest.mark.parametrize("name", ["pdf-invoices", "pdf_invoices"])
def test_both_names_of_the_command(
    run: Program, bills: Sandbox, folder: Path, name: str
) -> None:
    assert run("generate", name).status == 0
    assert sent(bills) == [
        ("GET", "/api/v0/users/me/invoices", None),
        ("GET", "/api/v0/users/current/", None),
    ]


@pytest.mark.parametrize("option", ["-o", "--output"])
def test_a_file_of_another_name(
    run: Program, bills: Sandbox, folder: Path, option: str
) -> None:
    path = str(folder / "of mine.pdf")
    assert run("generate", "pdf-invoices", option, path)[:2] == (0, path + "\n")
    assert Path(path).read_bytes().startswith(b"%PDF-")


@pytest.mark.parametrize("output", ["-", "/dev/stdout", "/dev/fd/1"])
def test_stdout_gets_the_pdf_and_nothing_else(
    run: Program, bills: Sandbox, folder: Path, output: str
) -> None:
    file, stderr = io.BytesIO(), Stream()
    stdout = io.TextIOWrapper(file)
    console = vast.Environment(stdout, stderr, environ=run.environ, now=run.clock.now)
    assert vast.main(["generate", "pdf-invoices", "-o", output], console) == 0
    assert file.getvalue().startswith(b"%PDF-")
    assert file.getvalue().rstrip().endswith(b"%%EOF")
    assert stderr.text().startswith("vast.py: from the beginning to ")
    assert not list(folder.iterdir())


def test_the_raw_answer_of_a_pdf(run: Program, bills: Sandbox, folder: Path) -> None:
    ran = run("generate", "pdf-invoices", "--raw", "-o", "x.pdf")
    assert (ran.status, ran.out) == (
        0,
        '{"pages": 1, "path": "x.pdf", "rows": 5, "total": "-31.0470"}\n',
    )


def test_raw_and_a_pdf_on_stdout_do_not_go_together(
    run: Program, box: Sandbox, folder: Path
) -> None:
    ran = run("generate", "pdf-invoices", "--raw", "-o", "-")
    assert (ran.status, ran.out, box.calls) == (2, "", [])


def test_a_quiet_pdf(run: Program, bills: Sandbox, folder: Path) -> None:
    assert run("generate", "pdf-invoices", "-q") == Ran(0, "invoice_24320.pdf\n", "")


def test_an_empty_range_makes_a_file(run: Program, box: Sandbox, folder: Path) -> None:
    box.fault("invoices", "body", body={"invoices": [], "current": None})
    ran = run("generate", "pdf-invoices", "-c", "-e", "2020", "--raw")
    path = "invoice_24251_2020-12-31_charges.pdf"
    value = {"pages": 1, "path": path, "rows": 0, "total": "0.00"}
    assert (ran.status, json.loads(ran.out)) == (0, value)
    assert (folder / path).exists()


def test_text_that_the_pdf_cannot_show_is_named(
    run: Program, box: Sandbox, folder: Path
) -> None:
    box.market.user["fullname"] = "Łukasz 東京\x1b"
    ran = run("generate", "pdf-invoices", "-e", "2020")
    msg = "characters the PDF font lacks, shown as '?': 京東"
    assert f"vast.py: {msg}\n" in ran.err


@pytest.mark.parametrize("fault", ["invoices", "user"])
def test_no_file_after_a_failure(
    run: Program, box: Sandbox, folder: Path, fault: str
) -> None:
    box.fault(fault, "not_json")
    assert run("generate", "pdf-invoices").status == 1
    assert not list(folder.iterdir())


def test_the_file_appears_whole(
    run: Program, bills: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "x.pdf"
    path.write_text("the one before")
    replace, seen = os.replace, []

    def watched(source: str, target: str) -> None:
        seen.append((os.path.dirname(os.path.abspath(source)), path.read_text()))
        assert Path(source).read_bytes().rstrip().endswith(b"%%EOF")
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    assert run("generate", "pdf-invoices", "-o", "x.pdf").status == 0
    assert seen == [(str(folder), "the one before")]
    assert [file.name for file in folder.iterdir()] == ["x.pdf"]


def test_a_full_disk_loses_nothing(
    run: Program, bills: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "x.pdf"
    path.write_text("the one before")

    def full(place: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    ran = run("generate", "pdf-invoices", "-q", "-o", "x.pdf")
    assert "No space left" in complaint(ran, 2)
    assert [file.read_text() for file in folder.iterdir()] == ["the one before"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666], ids=oct)
def test_a_file_keeps_its_mode(
    run: Program, bills: Sandbox, folder: Path, mode: int
) -> None:
    path = folder / "x.pdf"
    path.write_text("the one before, which is longer " * 9999)
    path.chmod(mode)
    assert run("generate", "pdf-invoices", "-q", "-o", "x.pdf").status == 0
    assert path.read_bytes().startswith(b"%PDF-")
    assert path.read_bytes().rstrip().endswith(b"%%EOF")
    assert path.stat().st_mode & 0o777 == mode
    assert [file.name for file in folder.iterdir()] == ["x.pdf"]


def test_a_link_to_a_file_stays(run: Program, bills: Sandbox, folder: Path) -> None:
    (folder / "archive").mkdir()
    target, link = folder / "archive" / "real.pdf", folder / "x.pdf"
    target.write_text("the one before")
    target.chmod(0o640)
    link.symlink_to(target)
    assert run("generate", "pdf-invoices", "-q", "-o", "x.pdf").status == 0
    assert link.is_symlink()
    assert target.read_bytes().startswith(b"%PDF-")
    assert target.stat().st_mode & 0o777 == 0o640
    assert len(list(folder.rglob("*"))) == 3


def test_a_link_to_nothing_is_replaced(
    run: Program, bills: Sandbox, folder: Path
) -> None:
    link = folder / "x.pdf"
    link.symlink_to(folder / "nothing")
    assert run("generate", "pdf-invoices", "-q", "-o", "x.pdf").status == 0
    assert (link.is_symlink(), (folder / "nothing").exists()) == (False, False)
    assert link.read_bytes().startswith(b"%PDF-")


def test_a_device_stays_one(run: Program, bills: Sandbox, folder: Path) -> None:
    device = folder / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        device.write_bytes(b"")
    except PermissionError:
        pytest.skip("only root can make a device, and not everywhere")
    ran = run("generate", "pdf-invoices", "-q", "-o", "null")
    assert ran == Ran(0, "null\n", "")
    assert stat.S_ISCHR(device.stat().st_mode)
    assert list(folder.iterdir()) == [device]


def test_a_pipe_is_written_into(run: Program, bills: Sandbox, folder: Path) -> None:
    os.mkfifo("pipe")
    reader = subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE)
    assert run("generate", "pdf-invoices", "-q", "-o", "pipe") == Ran(0, "pipe\n", "")
    content, _ = reader.communicate(timeout=30)
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)


@pytest.mark.parametrize(
    "shell",
    [
        pytest.param("{vast} -o >(cat > x.pdf); wait $!", id=">(cmd)"),
        pytest.param("{vast} -o /dev/stdout > x.pdf", id="stdout is a file"),
        pytest.param("{vast} -o /dev/stdout | cat > x.pdf", id="stdout is a pipe"),
        pytest.param("{vast} -o /dev/fd/3 3> x.pdf", id="another descriptor"),
        pytest.param("{vast} -o /dev/stderr 2> x.pdf", id="stderr"),
    ],
)
def test_where_a_shell_sends_it(
    bills: Sandbox, folder: Path, tmp_path: Path, shell: str
) -> None:
    line = shell.format(vast=f"{vast.__file__} generate pdf-invoices -q")
    subprocess.run(
        ["bash", "-c", line],
        env=script_environment(bills, tmp_path),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    assert (folder / "x.pdf").read_bytes().startswith(b"%PDF-")
    assert (folder / "x.pdf").read_bytes().rstrip().endswith(b"%%EOF")
    assert os.path.islink("/dev/stdout")


def test_a_folder_is_no_file(run: Program, bills: Sandbox, folder: Path) -> None:
    (folder / "x.pdf").mkdir()
    ran = run("generate", "pdf-invoices", "-q", "-o", "x.pdf")
    assert "x.pdf: Is a directory" in complaint(ran, 2)


def test_a_folder_that_is_not_there(run: Program, bills: Sandbox, folder: Path) -> None:
    ran = run("generate", "pdf-invoices", "-q", "-o", "nowhere/x.pdf")
    assert "nowhere/x.pdf" in complaint(ran, 2)


def test_without_borb_only_the_pdf_is_not_to_be_had(
    run: Program, bills: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "borb", None)
    monkeypatch.setitem(sys.modules, "borb.pdf", None)
    said = complaint(run("generate", "pdf-invoices"), 2)
    assert "pip install 'borb>=3.0.9,<4'" in said
    assert not bills.calls
    assert run("show", "invoices").status == 0


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_progress_over_two_thousand_rows(
    run: Program, box: Sandbox, folder: Path, terminal: bool
) -> None:
    row = {"type": "charge", "timestamp": NOON, "amount": 1}
    body = {
        "invoices": [{**row, "id": number} for number in range(2001)],
        "current": None,
    }
    box.fault("invoices", "body", body=body)
    ran = run("generate", "pdf-invoices", "-q", terminal=terminal)
    assert ran.out == "invoice_24320.pdf\n"
    assert ("drawing 2001 rows" in ran.err) is terminal
    assert "\n" not in ran.err


LISTEN = """\
import runpy, sys
def hook(event, args):
    if event == "socket.connect":
        print(args[1][0])
    elif event == "socket.getaddrinfo":
        print(args[0])
sys.addaudithook(hook)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_pdf_opens_no_connection_but_the_one_to_the_service(
    bills: Sandbox, folder: Path, tmp_path: Path
) -> None:
    words = ["generate", "pdf-invoices", "-q", "-o", "x.pdf"]
    ran = subprocess.run(
        [sys.executable, "-c", LISTEN, vast.__file__, *words],
        env=script_environment(bills, tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(ran.stdout.splitlines()) == {"127.0.0.1", "x.pdf"}
    assert bills.connections == 1
