"""The commands of a host: what each sends, what it says, and what comes of it."""

from __future__ import annotations

import json
import shlex
import time

import pytest

from conftest import Program, Ran, Sent, one_line, sent, unix
from sandbox import Row, Sandbox

HEADINGS = (
    "ID N Model Disk hostname driver R status IP listed gpu_$/h bid_$/h up_$/GB"
    " down_$/GB occup reports country"
).split()
BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"


@pytest.fixture(autouse=True)
def same_time(box: Sandbox, run: Program) -> None:
    """Make it the same time in the market as for the program."""
    box.market.origin += run.clock.time - box.market.now()


def in_zone(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    """Make a zone in POSIX's notation, which needs no database, the local one."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()


def machine(box: Sandbox, number: int = 7101) -> Row:
    """Return a machine's terms as the market has them now."""
    return box.market.machines[number].terms


# --- show machines

MACHINES: list[Row] = [
    {
        "id": 12345, "num_gpus": 4, "gpu_name": "RTX 4090", "disk_space": 1843.2,
        "hostname": "höhle-01", "driver_version": "550.127.08", "reliability2": 0.9971,
        "verification": "verified", "public_ipaddr": "203.0.113.5", "listed": True,
        "listed_gpu_cost": 0.35, "min_bid_price": 0.2, "listed_inet_up_cost": 0.00293,
        "listed_inet_down_cost": 0.002, "gpu_occupancy": "D D x x", "num_reports": 2,
        "geolocation": "Bavaria, DE",
    },
    {"id": 12346, "num_gpus": 1, "listed": False, "hostname": "\x1b[1m"},
]  # fmt: skip
TABLE = """\
   ID   N  Model     Disk  hostname  driver         R  status    IP           listed  gpu_$/h  bid_$/h  up_$/GB  down_$/GB  occup    reports  country
12345  4x  RTX_4090  1843  höhle-01  550.127.08  99.7  verified  203.0.113.5  true     0.3500   0.2000   0.0029     0.0020  D_D_x_x        2  Bavaria, DE
12346  1x  -            -  \\x1b[1m   -              -  -         -            false         -        -        -          -  -              -  -
"""  # noqa: E501


@pytest.mark.parametrize(
    ("options", "out"),
    [
        pytest.param([], TABLE, id="table"),
        pytest.param(["-q"], "12345\n12346\n", id="quiet"),
        pytest.param(["--quiet", "--raw"], "[12345, 12346]\n", id="quiet and raw"),
    ],
)
def test_machines(run: Program, box: Sandbox, options: list[str], out: str) -> None:
    assert TABLE.split("\n")[0].split() == HEADINGS
    box.fault("machines", "body", body={"machines": MACHINES})
    assert run("show", "machines", *options) == Ran(0, out, "")
    assert sent(box) == [("GET", "/api/v0/machines", None)]
    assert box.calls[-1].query == {"owner": "me"}


def test_raw_machines_stand_one_a_line(run: Program, box: Sandbox) -> None:
    box.fault("machines", "body", body={"machines": MACHINES})
    first, *rows, last = run("show", "machines", "--raw").out.splitlines()
    assert (first, last) == ("[", "]")
    assert [json.loads(row.rstrip(",")) for row in rows] == MACHINES


@pytest.mark.parametrize("rows", [[], None])
def test_no_machines(run: Program, box: Sandbox, rows: object) -> None:
    box.fault("machines", "body", body={"machines": rows})
    assert run("show", "machines") == Ran(0, "  ".join(HEADINGS) + "\n", "")


# --- changes

ASKS = "/api/v0/machines/create_asks/"
DEFJOB = "--price_gpu 0.1 --price_inetu 0.01 --price_inetd 0.02 --image ubuntu:22.04"
DEFJOB_SENT: Row = {
    "machine": 7101, "price_gpu": 0.1, "price_inetu": 0.01, "price_inetd": 0.02,
    "image": "ubuntu:22.04",
}  # fmt: skip
DEFJOB_SET = (
    "machine 7101: default job at $0.1/h per GPU, $0.01/GB uploaded,"
    " $0.02/GB downloaded, image ubuntu:22.04"
)


def listing(told: str, **body: object) -> tuple[Sent, str]:
    """Return the request that lists machine 7101, and what is told of it."""
    return ("PUT", ASKS, {"machine": 7101, **body}), f"machine 7101: listed {told}"


# A command line -> the request, and what is told on stdout.
CHANGES: dict[str, tuple[Sent, str]] = {
    "list machine 7101": listing("at the prices it had"),
    "list machines 7101": listing("at the prices it had"),
    "list machine 7101 -g 0.35": listing("at $0.35/h per GPU", price_gpu=0.35),
    "list machine 7101 -g '$0.35'": listing("at $0.35/h per GPU", price_gpu=0.35),
    "list machine 7101 --price_gpu 0": listing("at $0/h per GPU", price_gpu=0),
    "list machine 7101 --price-gpu=1.5": listing("at $1.5/h per GPU", price_gpu=1.5),
    "list machine 7101 -s 0.15": listing("at $0.15/GB/month of disk", price_disk=0.15),
    "list machine 7101 --price_disk 2": listing("at $2/GB/month of disk", price_disk=2),
    "list machine 7101 -u 0.03999": listing(
        "at $0.03999/GB uploaded", price_inetu=0.03999
    ),
    "list machine 7101 --price_inetu 1": listing("at $1/GB uploaded", price_inetu=1),
    "list machine 7101 -d 0.002": listing("at $0.002/GB downloaded", price_inetd=0.002),
    "list machine 7101 --price_inetd 1": listing("at $1/GB downloaded", price_inetd=1),
    "list machine 7101 -m 2": listing("with at least 2 GPUs per rental", min_chunk=2),
    "list machine 7101 --min_chunk 1": listing(
        "with at least 1 GPU per rental", min_chunk=1
    ),
    "list machine 7101 -b 0.225": listing(
        "with bids from $0.225/h per GPU", price_min_bid=0.225
    ),
    "list machine 7101 -r 0": listing(
        "with a discount of up to 0", credit_discount_max=0
    ),
    "list machine 7101 --discount_rate 40%": listing(
        "with a discount of up to 0.4", credit_discount_max=0.4
    ),
    "list machine 7101 -v 0": listing("with 0 GB for volumes", vol_size=0),
    "list machine 7101 --vol_size 200": listing(
        "with 200 GB for volumes", vol_size=200
    ),
    "list machine 7101 -z 0.1": listing("at $0.1/GB/month of volume", vol_price=0.1),
    "list machine 7101 -l '30 days'": listing("for 30 days", duration="30 days"),
    "list machine 7101 -l '1 month'": listing("for 1 month", duration="1 months"),
    "list machine -g 0.35 7101 -s 0.2 -m 1 -b 0.1 -l '2 weeks'": listing(
        "at $0.35/h per GPU, $0.2/GB/month of disk, with bids from $0.1/h per GPU,"
        " with at least 1 GPU per rental, for 2 weeks",
        price_gpu=0.35,
        price_disk=0.2,
        min_chunk=1,
        price_min_bid=0.1,
        duration="2 weeks",
    ),
    "unlist machine 7101": (
        ("DELETE", "/api/v0/machines/7101/asks/", {}),
        "machine 7101: unlisted",
    ),
    f"set defjob 7101 {DEFJOB}": (
        ("PUT", "/api/v0/machines/create_bids/", DEFJOB_SENT),
        DEFJOB_SET,
    ),
    f"set defjob 7101 {DEFJOB} --args": (
        ("PUT", "/api/v0/machines/create_bids/", {**DEFJOB_SENT, "args": []}),
        f"{DEFJOB_SET}, arguments none",
    ),
    f"set defjob 7101 {DEFJOB} --args sh -c 'sleep 1'": (
        (
            "PUT",
            "/api/v0/machines/create_bids/",
            {**DEFJOB_SENT, "args": ["sh", "-c", "sleep 1"]},
        ),
        f"{DEFJOB_SET}, arguments sh -c sleep 1",
    ),
    "remove defjob 7101": (
        ("DELETE", "/api/v0/machines/7101/defjob/", {}),
        "machine 7101: default job removed",
    ),
    "set min-bid 7101 --price 0.25": (
        ("PUT", "/api/v0/machines/7101/minbid/", {"client_id": "me", "price": 0.25}),
        "machine 7101: bids from $0.25/h per GPU",
    ),
    "set min_bid 7101 --price=0": (
        ("PUT", "/api/v0/machines/7101/minbid/", {"client_id": "me", "price": 0}),
        "machine 7101: bids from $0/h per GPU",
    ),
}


@pytest.mark.parametrize("line", CHANGES)
def test_a_change(run: Program, box: Sandbox, line: str) -> None:
    request, told = CHANGES[line]
    assert run(*shlex.split(line)) == Ran(0, f"{told}\n", "")
    assert sent(box) == [request]


@pytest.mark.parametrize("line", CHANGES)
def test_a_raw_change_is_the_reply(run: Program, box: Sandbox, line: str) -> None:
    ran = run("--raw", *shlex.split(line))
    reply = json.loads(ran.out)
    assert (ran.status, ran.err, ran.out.count("\n")) == (0, "", 1)
    assert reply["success"] is True
    assert reply["machine_id"] == 7101
    assert reply["you_sent"] == box.calls[-1].body


@pytest.mark.parametrize("raw", [False, True], ids=["text", "raw"])
@pytest.mark.parametrize("line", CHANGES)
def test_a_change_of_another_s_machine(
    run: Program, box: Sandbox, line: str, raw: bool
) -> None:
    words = shlex.split(line.replace("7101", "20000"))
    ran = run(*["--raw"] * raw, *words)
    msg = "machine 20000 is not yours"
    error = {"error": "not_authorized", "msg": msg, "status": 403}
    told = json.dumps(error) if raw else f"vast.py: {msg}"
    assert ran == Ran(1, "", f"{told}\n")


@pytest.mark.parametrize("line", CHANGES)
def test_a_refusal_with_success_false(run: Program, box: Sandbox, line: str) -> None:
    box.fault("*", "refused")
    assert run(*shlex.split(line)) == Ran(1, "", "vast.py: the sandbox refuses\n")


# What follows the words of a command -> a word of the message.
WRONG: dict[str, str] = {
    "list machine": "id",
    "list machine x": "'x'",
    "unlist machine": "id",
    "unlist machine 1.5": "'1.5'",
    "set min-bid 7101": "--price",
    "set min-bid 12345 0.50": "example: vast.py set min-bid 12345 --price",
    "set min-bid --price 0.5": "id",
    "remove defjob": "id",
    "remove defjob 1 2": "'2'",
    "set defjob": "id",
    "list machine 7101 -l 'a while'": "'a while'",
    "list machine 7101 -l '0 days'": "'0 days'",
    "list machine 7101 -l '1.5 days'": "'1.5 days'",
    "list machine 7101 -l '30 days' -e 2030-01-01": "--duration",
    "list machine 7101 -e 2021-12-31": "past",
    "list machine 7101 -e 1640995200": "past",
    "list machine 7101 -e 99999999999999999": "99999999999999999",
    "list machine 7101 -e someday": "'someday'",
    "list machine 7101 -e 12:30": "'12:30'",
    "list machine 7101 -e ''": "''",
    "list machine 7101 -e 2026-13-01": "'2026-13-01'",
}
NUMBERS = {
    "list machine": "-g -s -u -d -b -z --price_gpu --price_min_bid --vol_price",
    "set min-bid": "--price",
    "set defjob": "--price_gpu --price_inetu --price_inetd",
}
WRONG |= {
    f"{command} 7101 {option} {value}": f"'{value}'"
    for command, options in NUMBERS.items()
    for option in options.split()
    for value in ("-0.1", "nan", "inf", "-inf", "1e999", "cheap", "''")
}
WRONG |= {
    f"list machine 7101 {option} {value}": f"'{value}'"
    for option, values in {
        "-m": ("0", "-1", "1.5", "nan", "many"),
        "-r": ("-0.01", "1.01", "nan", "inf"),
        "-v": ("-1", "0.5", "nan"),
    }.items()
    for value in values
}


@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_change_sends_nothing(run: Program, box: Sandbox, line: str) -> None:
    ran = run(*shlex.split(line))
    assert ran.status == 2
    assert WRONG[line].replace("''''", "''") in one_line(ran)
    assert not box.calls


# --- dates and durations

# What is typed in a zone -> the last second of it, and the words for that.
DATES: dict[tuple[str, str], tuple[str, str]] = {
    ("UTC", "2026-12-24"): ("2026-12-24T23:59:59+00:00", "2026-12-24 23:59:59 UTC"),
    ("UTC", "12/24/2026"): ("2026-12-24T23:59:59+00:00", "2026-12-24 23:59:59 UTC"),
    ("UTC", "01/02/2027"): ("2027-01-02T23:59:59+00:00", "2027-01-02 23:59:59 UTC"),
    ("UTC", "24 Dec 2026"): ("2026-12-24T23:59:59+00:00", "2026-12-24 23:59:59 UTC"),
    ("UTC", "2027-02"): ("2027-02-28T23:59:59+00:00", "2027-02-28 23:59:59 UTC"),
    ("UTC", "2028-02"): ("2028-02-29T23:59:59+00:00", "2028-02-29 23:59:59 UTC"),
    ("UTC", "2026-12-24 18:00"): (
        "2026-12-24T18:00:59+00:00",
        "2026-12-24 18:00:59 UTC",
    ),
    ("UTC", "1798156800"): ("2026-12-25T00:00:00+00:00", "2026-12-25 00:00:00 UTC"),
    (BERLIN, "2026-12-24"): ("2026-12-24T23:59:59+01:00", "2026-12-24 23:59:59 CET"),
    (BERLIN, "2027-07-01"): ("2027-07-01T23:59:59+02:00", "2027-07-01 23:59:59 CEST"),
    (BERLIN, "2026-12-24T18:00:00Z"): (
        "2026-12-24T19:00:00+01:00",
        "2026-12-24 19:00:00 CET",
    ),
    (BERLIN, "1798156800"): ("2026-12-25T01:00:00+01:00", "2026-12-25 01:00:00 CET"),
    ("IST-5:30", "2027-01-01"): (
        "2027-01-01T23:59:59+05:30",
        "2027-01-01 23:59:59 IST",
    ),
    ("PST8PDT,M3.2.0,M11.1.0", "2027-07-04"): (
        "2027-07-04T23:59:59-07:00",
        "2027-07-04 23:59:59 PDT",
    ),
}


@pytest.mark.parametrize("case", DATES, ids=" ".join)
def test_the_end_of_a_listing(
    run: Program, box: Sandbox, monkeypatch: pytest.MonkeyPatch, case: tuple[str, str]
) -> None:
    zone, text = case
    date, words = DATES[case]
    in_zone(monkeypatch, zone)
    ran = run("list", "machine", "7101", "--end_date", text)
    assert ran == Ran(0, f"machine 7101: listed until {words}\n", "")
    assert box.calls[-1].body == {"machine": 7101, "end_date": unix(date)}
    assert machine(box)["end_date"] == unix(date)


# As it is typed -> as the service takes it, and as it is told.
DURATIONS = {
    "30 days": ("30 days", "30 days"),
    "2years": ("2 years", "2 years"),
    "1 week": ("1 weeks", "1 week"),
    "21 weeks": ("21 weeks", "21 weeks"),
    "6 months": ("6 months", "6 months"),
    "1 years": ("1 years", "1 year"),
    "86400": ("86400", "86400 seconds"),
    "30": ("30", "30 seconds"),
    "1": ("1", "1 second"),
}


@pytest.mark.parametrize("text", DURATIONS)
def test_durations(run: Program, box: Sandbox, text: str) -> None:
    wire, told = DURATIONS[text]
    ran = run("list", "machine", "7101", "-l", text)
    assert ran == Ran(0, f"machine 7101: listed for {told}\n", "")
    assert box.calls[-1].body == {"machine": 7101, "duration": wire}


# --- several machines


def test_several_machines(run: Program, box: Sandbox) -> None:
    ran = run("list", "machine", "7103", "20000", "7101", "7103", "-g", "0.5")
    assert ran == Ran(
        1,
        "machine 7103: listed at $0.5/h per GPU\n"
        "machine 7101: listed at $0.5/h per GPU\n",
        "vast.py: machine 20000 is not yours\n",
    )
    assert [call.body["machine"] for call in box.calls] == [7103, 20000, 7101]


def test_several_machines_raw(run: Program, box: Sandbox) -> None:
    ran = run("unlist", "machine", "7102", "20000", "--raw")
    good, bad = json.loads(ran.out)
    assert (ran.status, good["id"], good["success"]) == (1, 7102, True)
    msg = "machine 20000 is not yours"
    error = {"error": "not_authorized", "msg": msg, "status": 403}
    assert bad == {"id": 20000, **error}
    assert json.loads(ran.err) == error


@pytest.fixture
def many_machines(run: Program, box: Sandbox) -> list[str]:
    """Return the ids of 200 machines, all of which go through."""
    box.fault("list_machine", "body", times=None, body={"success": True})
    return [str(number) for number in range(8001, 8201)]


def test_two_hundred_machines_take_one_connection(
    run: Program, box: Sandbox, many_machines: list[str]
) -> None:
    ran = run("list", "machine", *many_machines, "-g", "0.5")
    assert (ran.status, ran.out.count("\n"), ran.err) == (0, 200, "")
    assert (len(box.calls), box.connections) == (200, 1)


def test_two_hundred_machines_show_progress_on_a_terminal(
    run: Program, many_machines: list[str]
) -> None:
    ran = run("list", "machine", *many_machines, "-g", "0.5", terminal=True)
    assert ran.status == 0
    assert "1 of 200" in ran.err
    assert "200 of 200" in ran.err
    assert "\n" not in ran.err


# --- what comes of it


def found(run: Program, number: int) -> list[Row]:
    """Return the offers that a search finds on a machine."""
    query = f"machine_id={number} rentable=any"
    rows = json.loads(run("search", "offers", query, "--raw").out)
    assert isinstance(rows, list)
    return rows


def test_a_listed_machine_is_found_until_it_is_unlisted(run: Program) -> None:
    assert not found(run, 7103)
    assert run("list", "machine", "7103", "-g", "0.4", "-m", "2").status == 0
    (row,) = found(run, 7103)
    assert (row["num_gpus"], row["dph_base"]) == (2, 0.8)
    assert run("set", "min-bid", "7103", "--price", "0.15").status == 0
    assert found(run, 7103)[0]["min_bid"] == 0.3
    assert run("unlist", "machine", "7103").status == 0
    assert not found(run, 7103)


def test_the_prices_are_shown_afterwards(run: Program) -> None:
    run("list", "machine", "7101", "-g", "0.6", "-u", "0.01", "-d", "0.02", "-b", "0.3")
    ran = run("show", "machines", "--cols", "ID,gpu_$/h,bid_$/h,up_$/GB,down_$/GB")
    assert ran.out.splitlines()[1].split() == "7101 0.6000 0.3000 0.0100 0.0200".split()


def test_a_default_job_is_set_and_removed(run: Program, box: Sandbox) -> None:
    run(*f"set defjob 7101 {DEFJOB} --args sleep 9".split())
    assert machine(box)["bid_image"] == "ubuntu:22.04"
    assert machine(box)["bid_image_args"] == ["sleep", "9"]
    run("remove", "defjob", "7101")
    assert machine(box)["bid_image"] is None
