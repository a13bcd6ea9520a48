"""A host's further commands: maintenance, earnings, volumes, reports, the market and
the self-test."""

from __future__ import annotations

import json
import shlex
import time
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from cases_hosting import CASES

from cases import Case, fill
from conftest import Program, Ran, names, one_line, unix
from market_account import account, reshape
from sandbox import Row, Sandbox

BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"
MACHINES = "/api/v0/machines"


@pytest.fixture(autouse=True)
def same_time(box: Sandbox, run: Program) -> None:
    """Make it the same time in the market as for the program."""
    box.market.origin += run.clock.time - box.market.now()


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make Berlin's the local time, in POSIX's notation, which needs no database."""
    monkeypatch.setenv("TZ", BERLIN)
    time.tzset()


def bodies(box: Sandbox) -> list[Any]:
    """Return the bodies of the requests that came in."""
    return [call.body for call in box.calls]


def refused(ran: Ran, status: int) -> str:
    """Return the only line of a run that ended so and showed nothing."""
    assert ran.status == status
    return one_line(ran)


# --- what each command sends


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_it_sends(run: Program, box: Sandbox, case: Case) -> None:
    holders = case.setup(box.market) if case.setup else {}
    ran = run(*shlex.split(case.words.format(**holders)))
    assert (ran.status, bool(ran.out)) == (0, True)
    assert names(box) == [case.call, *case.after]
    assert case.request
    method, path, body = case.request
    url, first = urlsplit(path.format(**holders)), box.calls[0]
    assert (first.method, first.path) == (method, url.path)
    assert first.query == dict(parse_qsl(url.query))
    assert first.body == fill(body, holders)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_raw_is_one_document(run: Program, box: Sandbox, case: Case) -> None:
    holders = case.setup(box.market) if case.setup else {}
    ran = run("--raw", *shlex.split(case.words.format(**holders)))
    assert ran.status == 0
    assert isinstance(json.loads(ran.out), (dict, list))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_dry_run_sends_nothing(run: Program, box: Sandbox, case: Case) -> None:
    holders = case.setup(box.market) if case.setup else {}
    ran = run("--dry-run", *shlex.split(case.words.format(**holders)), terminal=True)
    assert case.request
    assert ran.status == 0
    assert ran.out.startswith(f"curl -sS -X {case.request[0]} ")
    assert names(box) == []


# What people typed -> the call that it makes first.
TYPED = {
    "defrag machine 7101": "defrag_machines",
    "defragment machines 7101": "defrag_machines",
    "list volumes 7101 7102 --size 10 --price_disk 0.10": "list_volume",
    "list volume 7101 --size 10 --price_disk 0.10 --end_date 2027-01-01": "list_volume",
    "metrics gpu --raw": "gpu_metrics",
    "metrics gpu-locations": "gpu_locations",
    "metrics gpu-trends 'RTX 4090' --raw": "gpu_trends",
    "reports 7101 --raw": "reports",
    "cleanup machine 7102 --raw": "cleanup_machine",
    "self-test machine --ignore-requirements 7101": "machine",
    "show earnings --raw -s 2026-09-19T14:00:00Z -e 2026-09-21T14:00:00Z": "earnings",
    "show maints --ids 7102 --raw": "maintenances",
    "show maints -i 7102": "maintenances",
    "schedule maint 7101 --sdate 1790086400 --duration 4"
    " --maintenance_category internet": "schedule_maint",
}


@pytest.mark.parametrize("line", TYPED)
def test_what_people_typed(run: Program, box: Sandbox, line: str) -> None:
    assert run(*shlex.split(line)).status == 0
    assert names(box)[0] == TYPED[line]


# What people typed by mistake, or what is wrong -> a part of the message.
WRONG = {
    "list machines": "id",
    "show machine": "id",
    "show machine x": "invalid id 'x': must be a whole number",
    "reports 7101 7102": "unexpected argument '7102'",
    "show maints 7101": "example: vast.py show maints --ids 12345,12346",
    "show maints -i 7101,x": "invalid id 'x'",
    "show maints -i ''": "invalid id ''",
    "self-test machine 7101 --quick": "unknown option '--quick'",
    "schedule maint 7101": "required: --sdate, --duration",
    "schedule maint 7101 --sdate 2026-10-01": "required: --duration",
    "schedule maint 7101 --sdate soon --duration 1": "invalid date 'soon'",
    "schedule maint 7101 --sdate 2026-10-01 --duration 0.5":
        "invalid duration '0.5': must be a whole number of hours, at least 1",
    "schedule maint 7101 --sdate 2026-10-01 --duration 1.9": "'1.9'",
    "schedule maint 7101 --sdate 2026-10-01 --duration nan": "'nan'",
    "schedule maint 7101 --sdate 1784894400 --duration 4":
        "the start, 2026-07-24 12:00:00 UTC, must be in the future, within a year",
    "schedule maint 7101 --sdate 1790000000 --duration 4": "in the future",
    "schedule maint 7101 --sdate 2027-09-22 --duration 4": "within a year",
    "schedule maint 7101 --sdate 2026-10-01 --duration 1 --maintenance_category cpu":
        "invalid category 'cpu'; choose from power, internet, disk, gpu, software,",
    "list volume 7101 --size 0": "invalid size '0': must be a number of GB, at least 1",
    "list volume 7101 --price_disk -1": "'-1'",
    "list volume 7101 --end_date 2026-09-01":
        "the end date, 2026-09-01 23:59:59 UTC, is in the past",
    "show earnings -s 2030": "the start date is after the end date or in the future",
    "show earnings -s 2030 -e 2031": "in the future",
    "show earnings -s 2026-09-02 -e 2026-09-01": "the start date is after the end date",
    "show earnings -m x": "invalid id 'x'",
    "show earnings -s yesterday": "invalid date 'yesterday': use YYYY-MM-DD",
    "show gpu-metrics --verified maybe": "choose from true, false, all",
    "show gpu-metrics --num_gpus 3": "choose from 1, 2, 4, 8, other, all",
    "show gpu-trends --step 10": "invalid step '10': must be a number of seconds",
}  # fmt: skip


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_is_not_sent(run: Program, box: Sandbox, line: str) -> None:
    assert WRONG[line] in refused(run(*shlex.split(line)), 2)
    assert names(box) == []


# --- one machine


@pytest.mark.parametrize("shape", ["list", "machines", "object"])
def test_a_machine_looks_as_in_the_list(run: Program, box: Sandbox, shape: str) -> None:
    reshape(box.market, "machine", shape)
    heading, *_, third, _ = run("show", "machines").out.splitlines()
    one = run("show", "machine", "7103")
    assert [line.split() for line in one.out.splitlines()] == [
        heading.split(),
        third.split(),
    ]
    listed = json.loads(run("show", "machines", "--raw").out)
    assert json.loads(run("show", "machine", "7103", "--raw").out) == listed[2]


def test_a_script_looks_for_a_listed_machine(run: Program) -> None:
    assert '"listed": true' in run("show", "machine", "7101", "--raw").out
    assert '"listed": false' in run("show", "machine", "7103", "--raw").out


@pytest.mark.parametrize("shape", ["empty", "404"])
def test_a_machine_that_is_not_there(run: Program, box: Sandbox, shape: str) -> None:
    reshape(box.market, "no_machine", shape)
    assert refused(run("show", "machine", "9"), 1) == "vast.py: there is no machine 9\n"
    ran = run("show", "machine", "7102", "9", "7101", "7102", "-q")
    assert ran == Ran(1, "7102\n7101\n", "vast.py: there is no machine 9\n")


def test_several_machines_raw(run: Program) -> None:
    ran = run("show", "machine", "9", "7101", "--raw")
    missing, found = json.loads(ran.out)
    assert (ran.status, found["id"], found["hostname"]) == (1, 7101, "höhle-01")
    error = {"error": "not_found", "msg": "there is no machine 9", "status": None}
    assert missing == {"id": 9, **error}


# --- reports

REPORTS: list[Row] = [
    {"created_at": "2026-09-20T01:02:03Z", "problem": "network", "message": "a\nb\t c"},
    {
        "created_at": None,
        "problem": "gpu\x1b[1m fan",
        "message": "\x1b[31mX\u202ey\x07",
    },
]
REPORT_TABLE = """\
Created               Problem         Message
2026-09-20T01:02:03Z  network         a\\nb\\t c
-                     gpu\\x1b[1m_fan  \\x1b[31mX\\u202ey\\x07
"""


def test_renters_text_is_made_visible(run: Program, box: Sandbox) -> None:
    account(box.market).reports[7101] = REPORTS
    assert run("reports", "7101") == Ran(0, REPORT_TABLE, "")
    assert json.loads(run("reports", "7101", "--raw").out) == REPORTS


def test_no_reports(run: Program) -> None:
    assert run("reports", "7101") == Ran(0, "Created  Problem  Message\n", "")
    assert "No such machine id" in refused(run("reports", "20000"), 1)


# --- maintenance

SCHEDULE = ("schedule", "maint", "7102", "--sdate", "2026-10-01 14:00", "--duration")


@pytest.mark.usefixtures("berlin")
def test_maintenance_is_told_with_its_offset(run: Program, box: Sandbox) -> None:
    told = "machine 7102: maintenance from 2026-10-01 14:00 +0200, for 2 hours\n"
    assert run(*SCHEDULE, "2", "--maintenance_category", "gpu") == Ran(0, told, "")
    (body,) = bodies(box)
    assert body == {
        "client_id": "me",
        "sdate": unix("2026-10-01T14:00:00+02:00"),
        "duration": 2,
        "maintenance_category": "gpu",
    }


@pytest.mark.parametrize(
    ("typed", "hours", "told"),
    [
        ("1", 1, "1 hour"),
        ("21", 21, "21 hours"),
        ("4.0", 4, "4 hours"),
        ("1d", 24, "24 hours"),
        ("2h", 2, "2 hours"),
    ],
)
def test_hours_are_whole(
    run: Program, box: Sandbox, typed: str, hours: int, told: str
) -> None:
    out = f"machine 7102: maintenance from 2026-10-01 14:00 +0000, for {told}\n"
    assert run(*SCHEDULE, typed) == Ran(0, out, "")
    assert box.calls[0].body["duration"] == hours
    assert isinstance(box.calls[0].body["duration"], int)
    assert account(box.market).windows[-1]["duration_hours"] == hours


# A change that asks first -> the question, and the name of its call.
QUESTIONS = {
    "schedule maint 7102 --sdate '2026-10-01 14:00' --duration 1": (
        "notify the renters of machine 7102 of maintenance from 2026-10-01 14:00 +0000,"
        " for 1 hour? [y/N] ",
        "schedule_maint",
    ),
    "cancel maint 7102": (
        "cancel all maintenance of machine 7102 and notify its renters? [y/N] ",
        "cancel_maint",
    ),
    "cleanup machine 7102": (
        "delete renters' expired storage, which still earns, on machine 7102? [y/N] ",
        "cleanup_machine",
    ),
}


@pytest.mark.parametrize("line", QUESTIONS)
def test_what_asks_first(run: Program, box: Sandbox, line: str) -> None:
    question, call = QUESTIONS[line]
    words = shlex.split(line)
    for answer in ("", "n\n", "no\n", "nay\n", "7102\n"):
        ran = run(*words, stdin=answer, terminal=True)
        assert ran == Ran(3, "", f"{question}vast.py: nothing was changed\n")
    assert names(box) == []
    ran = run(*words, stdin="y\n", terminal=True)
    assert (ran.status, names(box)) == (0, [call])
    assert ran.err.startswith(question)
    for ran in (run(*words, "-y", terminal=True), run(*words)):
        assert ran.status == 0
        assert question not in ran.err
    assert names(box) == [call] * 3


@pytest.mark.usefixtures("berlin")
def test_announced_maintenance_of_all_machines(run: Program, box: Sandbox) -> None:
    start = unix("2026-10-25T01:30:00+02:00")  # summer time ends that night
    window = {"machine_id": 7101, "start_time": start, "end_time": start + 7200}
    account(box.market).windows[:] = [
        {**window, "duration_hours": 2, "maintenance_category": "power"},
        {**window, "machine_id": 7102, "duration_hours": 2.5, "end_time": 1e300},
    ]
    account(box.market).vast_windows.clear()
    out = """\
Machine  Start                  End                    Hours  Category
   7101  2026-10-25_01:30+0200  2026-10-25_02:30+0100      2  power
   7102  2026-10-25_01:30+0200  1e+300                   2.5  -
"""
    assert run("show", "maints") == Ran(0, out, "")
    assert [call.path for call in box.calls] == [MACHINES, f"{MACHINES}/maintenances"]
    asked = {"owner": "me", "machine_ids": "[7101, 7102, 7103, 7104]"}
    assert box.calls[1].query == asked
    assert run("show", "maints", "-q") == Ran(0, "7101\n7102\n", "")
    assert len(run("show", "maints", "--ids", "7102, 7104").out.splitlines()) == 2
    assert box.calls[-1].query["machine_ids"] == "[7102, 7104]"


def test_no_machines_have_no_maintenance(run: Program, box: Sandbox) -> None:
    box.fault("machines", "body", body={"machines": []})
    heading = "Machine  Start  End  Hours  Category\n"
    assert run("show", "maints") == Ran(0, heading, "")
    assert names(box) == ["machines"]


def test_cancelled_maintenance(run: Program, box: Sandbox) -> None:
    note = "vast.py: maintenance that Vast.ai itself announced stays\n"
    for number in ("7102", "7104"):
        told = f"machine {number}: maintenance cancelled\n"
        assert run("cancel", "maint", number) == Ran(0, told, note)
    assert run("show", "maints", "-q").out == "7104\n"  # Vast.ai's own
    assert "No such machine id" in refused(run("cancel", "maint", "9"), 1)


# --- what is never sent twice

ONCE = {
    "schedule maint 7102 --sdate 2026-10-01 --duration 1": (
        "schedule_maint",
        "machine 7102 may or may not have been changed; run `vast.py show maints`",
    ),
    "list volume 7101 7102": (
        "list_volume",
        "machine 7101 may or may not have been changed; run"
        " `vast.py search volumes machine_id=7101`",
    ),
    "delete machine 7103 -y": (
        "delete_machine",
        "machine 7103 may or may not have been deleted; run `vast.py show machines`",
    ),
}


@pytest.mark.parametrize("fault", ["502", "502_after", "drop_after", "cut_after"])
@pytest.mark.parametrize("line", ONCE)
def test_what_is_in_doubt_is_not_sent_again(
    run: Program, box: Sandbox, line: str, fault: str
) -> None:
    call, doubt = ONCE[line]
    box.fault(call, fault, times=None)
    ran = run(*shlex.split(line))
    assert (ran.status, ran.out, names(box)) == (6, "", [call])
    assert f"{doubt} before retrying" in ran.err


# --- cleaning up, regrouping, deleting


def test_cleaning_up(run: Program) -> None:
    for count in (3, 0):
        told = f"machine 7102: expired contracts deleted: {count}\n"
        assert run("cleanup", "machine", "7102") == Ran(0, told, "")
    ran = run("cleanup", "machine", "20000")
    assert refused(ran, 1) == "vast.py: machine 20000 is not yours\n"


@pytest.mark.parametrize(
    "body", [{"success": True}, {}, "done", [], b"done", {"msg": "ok"}]
)
def test_regrouping_takes_any_answer(run: Program, box: Sandbox, body: Any) -> None:
    """The service's answer is not documented."""
    box.fault("defrag_machines", "body", body=body)
    ran = run("defrag", "machines", "7102", "7101")
    bad = body == []
    assert (ran.status, ran.out) == (
        6 if bad else 0,
        "" if bad else "machines 7102 7101: defragmented\n",
    )
    assert bodies(box) == [{"machine_ids": [7102, 7101]}]


DELETE = "delete machine 7103 (rig03, 2x RTX_5090), its offers and your jobs on it"


def test_deleting_needs_the_id_typed(run: Program, box: Sandbox) -> None:
    words = ("delete", "machine", "7103")
    question = f"{DELETE.replace('_', ' ')}, for good? type 7103 to confirm: "
    for answer in ("", "y\n", "yes\n", "710\n"):
        ran = run(*words, stdin=answer, terminal=True)
        assert ran == Ran(3, "", f"{question}vast.py: nothing was changed\n")
    ran = run(*words, stdin="7103\n", terminal=True)
    assert ran == Ran(0, "machine 7103: deleted\n", question)
    assert names(box) == ["machine"] * 5 + ["delete_machine"]
    assert refused(run("show", "machine", "7103"), 1)


def test_deleting_without_a_terminal_needs_yes(run: Program, box: Sandbox) -> None:
    ran = run("delete", "machine", "7103", stdin="7103\n")
    assert "terminal" in refused(ran, 2)
    assert "-y" in ran.err
    assert names(box) == []
    assert run("delete", "machine", "7103", "-y").out == "machine 7103: deleted\n"


def test_what_cannot_be_deleted(run: Program, box: Sandbox) -> None:
    ran = run("delete", "machine", "7102", "-y")
    assert refused(ran, 1) == "vast.py: machine 7102 has active rentals\n"
    ran = run("delete", "machine", "9", stdin="9\n", terminal=True)
    assert refused(ran, 1) == "vast.py: there is no machine 9\n"
    assert names(box) == ["delete_machine", "machine"]


def test_a_host_name_cannot_move_the_cursor(run: Program) -> None:
    ran = run("delete", "machine", "7104", stdin="\n", terminal=True)
    assert "delete machine 7104 (größe\\x1b[1m名前, 1x RTX A4000), its" in ran.err


# --- volumes


def test_space_for_volumes(run: Program, box: Sandbox) -> None:
    told = "machine {}: listed {} GB for volumes at ${}/GB/month{}\n"
    assert run("list", "volume", "7101").out == told.format(7101, 15, 0.1, "")
    until = ", until 2026-12-31 23:59:59 UTC"
    more = ("-s", "0.5TB", "-p", "$0.25", "-e", "2026-12-31")
    ran = run("list", "volumes", "7101", "9", "7102", *more)
    listed = [told.format(number, 500, 0.25, until) for number in (7101, 7102)]
    error = f"vast.py: machine 9 is not yours; {listed[0]}"
    assert ran == Ran(3, "".join(listed), error)
    assert bodies(box) == [
        {"machine": 7101, "size": 15, "price_disk": 0.1},
        *(
            {"machine": number, "size": 500, "price_disk": 0.25}
            | {"end_date": unix("2026-12-31T23:59:59+00:00")}
            for number in (7101, 9, 7102)
        ),
    ]


def test_space_for_volumes_taken_off(run: Program) -> None:
    run("list", "volume", "7101")
    ran = run("unlist", "volume", "30007101", "30000009")
    told = "volume offer 30007101: unlisted\n"
    assert ran == Ran(1, told, "vast.py: 30000009: Volume listing does not exist\n")


# --- earnings

FOUR = {"gpu_earn": 10, "sto_earn": 1.5, "bwu_earn": 0.25, "bwd_earn": 0}
EARNINGS: Row = {
    "summary": {"total_gpu": 20.0, "total_stor": 3, "total_bwu": 0.5, "total_bwd": 0},
    "username": "me", "email": "me@example.org", "fullname": "Me", "address1": "Here 1",
    "address2": None, "city": "Brno", "zip": "602 00", "country": "CZ", "taxinfo": "7",
    "current": {"balance": 3.0, "service_fee": 1.254, "total": 3.0, "credit": 1.0},
    "per_machine": [{"machine_id": 7101, **FOUR}, {"machine_id": None}],
    "per_day": [
        {"day": 20717, **FOUR},
        {"day": "today", **FOUR, "gpu_earn": "10", "sto_earn": None},
        {"day": 1e300},
    ],
}  # fmt: skip
EARNING_TABLE = """\
Day         Machine    GPU_$  disk_$    up_$  down_$  total_$
2026-09-21  all      10.0000  1.5000  0.2500  0.0000  11.7500
today       all      10.0000       -  0.2500  0.0000  10.2500
1e+300      all            -       -       -       -   0.0000
all         7101     10.0000  1.5000  0.2500  0.0000  11.7500
all         -              -       -       -       -   0.0000
all         all      20.0000  3.0000  0.5000  0.0000  23.5000
"""


def test_earnings(run: Program, box: Sandbox) -> None:
    box.fault("earnings", "body", body=EARNINGS, times=None)
    note = "vast.py: service fee: $1.25\n"
    assert run("show", "earnings") == Ran(0, EARNING_TABLE, note)
    assert run("show", "earnings", "-q") == Ran(0, "7101\n", "")
    assert run("show", "earnings", "-q", "--raw") == Ran(0, "[7101]\n", "")
    raw = run("show", "earnings", "--raw")
    kept = ("summary", "current", "per_day", "per_machine")
    assert json.loads(raw.out) == {name: EARNINGS[name] for name in kept}
    assert raw.err == note
    assert run("show", "earnings", "--cols", "Day,total_$").status == 0


@pytest.mark.parametrize("odd", [None, [], "text", {}, {"service_fee": None}])
def test_earnings_without_sums(run: Program, box: Sandbox, odd: Any) -> None:
    box.fault("earnings", "body", body={**EARNINGS, "summary": odd, "current": odd})
    ran = run("show", "earnings", "--no-header")
    last = "all         all         -       -       -       -   0.0000\n"
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.endswith(last)


@pytest.mark.parametrize("name", ["per_day", "per_machine"])
def test_earnings_that_are_no_list(run: Program, box: Sandbox, name: str) -> None:
    box.fault("earnings", "body", body={**EARNINGS, name: "text"})
    error = f"vast.py: the response has no list of {name}\n"
    assert refused(run("show", "earnings"), 1) == error


# What is typed after `show earnings` -> the first and the last UTC day.
DAYS = {
    "": ("2026-08-23", "2026-09-21"),
    "-s 2026-09-01": ("2026-09-01", "2026-09-21"),
    "-s 2026-09-21": ("2026-09-21", "2026-09-21"),
    "-e 2026-02-28": ("2026-01-30", "2026-02-28"),
    "-s 2026-02 -e 2026-03": ("2026-02-01", "2026-03-31"),
    "-s 2026 -e 2026-09-21": ("2026-01-01", "2026-09-21"),
    "--start-date 02/03/2026 --end_date '4 March 2026'": ("2026-02-03", "2026-03-04"),
    "-s 1788220800 -e 1788307199": ("2026-09-01", "2026-09-01"),
    "-s 2026-09-19T23:30:00-02:00": ("2026-09-20", "2026-09-21"),
    "-s 2026-09-19T14:00:00Z -e 2026-09-21T14:00:00Z": ("2026-09-19", "2026-09-21"),
}


@pytest.mark.parametrize("zone", ["UTC", BERLIN, "PST8PDT,M3.2.0,M11.1.0"])
@pytest.mark.parametrize("line", DAYS)
def test_days_are_whole_ones_of_utc(
    run: Program, box: Sandbox, monkeypatch: pytest.MonkeyPatch, line: str, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    ran = run("show", "earnings", "-m", "7101", "--no-header", *shlex.split(line))
    ends = [unix(f"{day}T00:00:00+00:00") // 86400 for day in DAYS[line]]
    query = {"owner": "me", "machid": "7101"}
    query |= {name: str(day) for name, day in zip(("sday", "eday"), ends)}
    assert box.calls[0].query == query
    days = [row.split()[0] for row in ran.out.splitlines()[:-2]]
    assert (days[0], days[-1]) == DAYS[line]
    assert len(days) == ends[1] - ends[0] + 1


# --- the market

GPUS = [
    {
        "gpu_name": "RTX 4090", "total": 120, "available": 30, "unavailable": 90,
        "rented_verified": 80, "avail_verified": 20, "rented_unverified": 10,
        "avail_unverified": 10, "usage": 75.04, "usage_30d": 70, "dlperf": 97.5,
        "tflops": 82.6, "tflops_per_dollar": 206.5, "dlperf_per_dollar": 243.8,
        "price_p10": 0.25, "price_p25": 0.3, "price_median": 0.4, "price_p75": 0.5,
        "price_p90": 0.61234,
    },
    {"gpu_name": "H100\x1b[1m SXM", "total": 8, "price_p10": None},
]  # fmt: skip
GPU_TABLE = """\
Model            Total  Free  Used%  p10_$/h  median_$/h  p90_$/h   DLP  DLP/$  TFLOPS  TFLOPS/$
RTX_4090           120    30   75.0   0.2500      0.4000   0.6123  97.5  243.8    82.6     206.5
H100\\x1b[1m_SXM      8     -      -        -           -        -     -      -       -         -
"""  # noqa: E501


def test_market_metrics(run: Program, box: Sandbox) -> None:
    box.fault("gpu_metrics", "body", body={"success": True, "gpus": GPUS}, times=None)
    assert run("show", "gpu-metrics") == Ran(0, GPU_TABLE, "")
    assert json.loads(run("metrics", "gpu", "--raw").out) == GPUS
    assert run("show", "gpu-metrics", "total<9", "-q").out == "H100\\x1b[1m_SXM\n"
    ran = run("show", "gpu-metrics", "--cols", "Model,price_p25")
    assert ran.out.split() == "Model price_p25 RTX_4090 0.3 H100\\x1b[1m_SXM -".split()


MARKET = {"verified": "all", "hosting_type": "all", "num_gpus": "all"}


@pytest.mark.parametrize(
    ("options", "query"),
    [
        ("--verified true", {"verified": "yes"}),
        ("--verified=false", {"verified": "no"}),
        ("--verified all", {}),
        ("--datacenter true", {"hosting_type": "secure_cloud"}),
        (
            "--datacenter false --num_gpus 8",
            {"hosting_type": "community"} | {"num_gpus": "8"},
        ),
        ("--num-gpus other", {"num_gpus": "other"}),
    ],
)
@pytest.mark.parametrize("name", ["gpu-metrics", "gpu-trends"])
def test_filters_of_the_market(
    run: Program, box: Sandbox, name: str, options: str, query: Row
) -> None:
    assert run("show", name, *options.split()).status == 0
    assert box.calls[0].query == {**MARKET, **query}


HOSTS = "market metrics are for hosts: use the key of an account with a machine"


@pytest.mark.parametrize("name", ["gpu-metrics", "gpu-trends", "gpu-locations"])
@pytest.mark.parametrize("raw", [[], ["--raw"]], ids=["text", "raw"])
def test_the_market_is_for_hosts(
    run: Program, box: Sandbox, name: str, raw: list[str]
) -> None:
    reshape(box.market, "metrics", "needs_machine")
    ran = run("show", name, *raw)
    error = {"error": "needs_machine", "msg": HOSTS, "status": None}
    told = json.dumps(error) if raw else f"vast.py: {HOSTS}"
    assert ran == Ran(1, "", f"{told}\n")
    reshape(box.market, "metrics", "renter")
    ran = run("show", name, *raw)
    assert (ran.status, ran.out, ran.err.count("\n")) == (4, "", 1)
    assert "This call is for hosts; " in ran.err
    assert HOSTS in ran.err


def test_a_missing_key_is_not_about_hosts(run: Program) -> None:
    ran = run("show", "gpu-metrics", env={"VAST_API_KEY": None})
    assert HOSTS not in refused(ran, 4)


def series(**pricing: Any) -> Row:
    """Return the figures of a GPU model over time, as far as they matter here."""
    return {"supply_demand": {"timestamps": [1, 2]}, "pricing": pricing, "stats": None}


RISING = [round(0.1 + i / 100, 2) for i in range(46)]
TRENDS = {
    "RTX 4090": series(avail_median=[0.4, None, "0.2", 0.6, 0.5], rented_median=[9]),
    "RTX 3090": series(rented_median=[0.25, 0.25], avail_median=None),
    "H100 SXM": series(avail_median=RISING),
    "A\x1b[1m": series(avail_median=[None], rented_median="text"),
    "B": {"pricing": [1]},
    "C": None,
}
TREND_TABLE = """\
Model     of      first_$/h  last_$/h  low_$/h  high_$/h  trend
RTX_4090  free       0.4000    0.5000   0.2000    0.6000  {}
RTX_3090  rented     0.2500    0.2500   0.2500    0.2500  {}
H100_SXM  free       0.1000    0.5500   0.1000    0.5500  {}
A\\x1b[1m  -               -         -        -         -  -
B         -               -         -        -         -  -
C         -               -         -        -         -  -
"""
NUMBERS = ",".join(f"{price:.4g}" for price in RISING[::3])


def test_trends_are_charts_on_a_terminal(run: Program, box: Sandbox) -> None:
    box.fault("gpu_trends", "body", body={"gpus": TRENDS}, times=None)
    out = TREND_TABLE.format("▅▁█▆", "▁▁", "▁▁▂▂▃▃▄▄▅▅▆▆▇▇██")
    assert run("show", "gpu-trends", terminal=True) == Ran(0, out, "")
    piped = TREND_TABLE.format("0.4,0.2,0.6,0.5", "0.25,0.25", NUMBERS)
    assert run("show", "gpu-trends") == Ran(0, piped, "")


def test_raw_trends_are_the_services(run: Program, box: Sandbox) -> None:
    box.fault("gpu_trends", "body", body={"gpus": TRENDS})
    rows = json.loads(run("show", "gpu-trends", "--raw").out)
    first = {"gpu_name": "RTX 4090", **TRENDS["RTX 4090"]}  # type: ignore[dict-item]
    assert (rows[0], rows[-1]) == (first, {"gpu_name": "C"})


@pytest.mark.parametrize("gpus", [None, {}, []])
def test_no_trends(run: Program, box: Sandbox, gpus: Any) -> None:
    box.fault("gpu_trends", "body", body={"gpus": gpus})
    heading = "Model  of  first_$/h  last_$/h  low_$/h  high_$/h  trend\n"
    assert run("show", "gpu-trends", "X") == Ran(0, heading, "")


# What is typed after `show gpu-trends` -> what the query has besides.
ASKED = {
    "": {},
    "RTX_4090": {"gpu_name": "RTX 4090"},
    "'RTX 4090'": {"gpu_name": "RTX 4090"},
    "RTX_4090,RTX_3090": {"gpu_name": "RTX 4090,RTX 3090"},
    "'RTX_4090,RTX 3090'": {"gpu_name": "RTX 4090,RTX 3090"},
    "all -s 2026-09-20 -e '2026-09-20 12:00:00' --step 10m": {
        "gpu_name": "all",
        "start": "1789862400",
        "end": "1789905600",
        "step": "600",
    },
}


@pytest.mark.parametrize("line", ASKED)
def test_which_trends_are_asked_for(run: Program, box: Sandbox, line: str) -> None:
    ran = run("show", "gpu-trends", *shlex.split(line), "-q")
    assert box.calls[0].query == {**MARKET, **ASKED[line]}
    assert (ran.status, "RTX_4090\n" in ran.out) == (0, True)


LOCATIONS = [
    {
        "latitude": 49.2, "longitude": 16.6, "city": "Brno\x1b[1m (CZ)", "num_gpus": 4,
        "country_code": "CZ", "gpu_name": "RTX 4090", "rented": False,
        "verified": True, "datacenter": False, "state": "available",
    },
    {"city": None, "gpu_name": "RTX 3090", "rented": True, "num_gpus": None},
]  # fmt: skip
LOCATION_TABLE = """\
Model      N  rented  verified  datacenter  country  city
RTX_4090  4x  false   true      false       CZ       Brno\\x1b[1m (CZ)
RTX_3090   -  true    -         -           -        -
"""


def test_locations(run: Program, box: Sandbox) -> None:
    box.fault("gpu_locations", "body", body={"locations": LOCATIONS}, times=None)
    assert run("show", "gpu-locations") == Ran(0, LOCATION_TABLE, "")
    assert box.calls[0].query == {}
    assert json.loads(run("metrics", "gpu-locations", "--raw").out) == LOCATIONS
    for query, found in (
        ("gpu_name=RTX_4090 rented=false", [LOCATIONS[0]]),
        ("state=available latitude>40", [LOCATIONS[0]]),
        ("rented=true", [LOCATIONS[1]]),
        ("country=CZ rented=true", []),
    ):
        rows = json.loads(run("show", "gpu-locations", query, "--raw").out)
        assert rows == found


# --- self-test

SOUND: Row = {
    "id": 7, "machine_id": 7101, "num_gpus": 8, "cuda_max_good": 11.8,
    "reliability2": 0.901, "direct_port_count": 24, "pcie_bw": 2.86, "inet_up": 500,
    "inet_down": 500.0, "gpu_ram": 24564, "gpu_total_ram": 196608, "cpu_ram": 186778,
    "cpu_cores": 16, "rentable": True,
}  # fmt: skip
TEST_TABLE = """\
Requirement        Value  Limit       Result
CUDA                11.8  >=11.8      pass
reliability        0.901  >0.9        pass
direct_ports          24  >=24        pass
PCIe_GB/s           2.86  >2.85       pass
upload_Mbit/s        500  >=500       pass
download_Mbit/s      500  >=500       pass
VRAM_MiB_per_GPU   24564  >7168       pass
RAM_MiB           186778  >=186777.6  pass
CPU_cores             16  >=16        pass
"""
FREE = "vast.py: these are the free checks; nothing was rented\n"


def self_test(run: Program, box: Sandbox, *options: str, **odd: Any) -> Ran:
    """Run the self-test of a machine whose only offer is sound but for what is odd."""
    box.clear()
    box.fault("machine", "body", body=[{"id": 7101, "hostname": "it"}])
    box.fault("search", "body", body={"offers": [{**SOUND, **odd}]})
    return run("self-test", "machine", "7101", *options)


def test_a_sound_machine(run: Program, box: Sandbox) -> None:
    assert self_test(run, box) == Ran(0, TEST_TABLE, FREE)
    assert names(box) == ["machine", "search"]  # nothing is rented
    assert box.calls[1].body == {
        "machine_id": {"eq": 7101},
        "order": [["dlperf", "desc"]],
        "type": "on-demand",
    }
    rows = json.loads(self_test(run, box, "--raw").out)
    assert rows[1] == {
        "requirement": "reliability",
        "value": 0.901,
        "limit": ">0.9",
        "result": "pass",
    }


# What is odd about the offer -> what fails.
ODD: dict[str, tuple[Row, str]] = {
    "CUDA": ({"cuda_max_good": 11.79}, "CUDA"),
    "reliability": ({"reliability2": 0.9}, "reliability"),
    "old reliability": ({"reliability2": None, "reliability": 0.95}, ""),
    "ports": ({"direct_port_count": 23}, "direct_ports"),
    "PCIe": ({"pcie_bw": 2.85}, "PCIe_GB/s"),
    "upload": ({"inet_up": 499.9}, "upload_Mbit/s"),
    "download": ({"inet_down": None}, "download_Mbit/s"),
    "VRAM": ({"gpu_ram": 7168}, "VRAM_MiB_per_GPU"),
    "RAM": ({"cpu_ram": 186777}, "RAM_MiB"),
    "cores": ({"cpu_cores": 15}, "CPU_cores"),
    "text": ({"cpu_cores": "16", "inet_up": "fast"}, "upload_Mbit/s"),
    "several": ({"cpu_cores": 1, "pcie_bw": 0}, "PCIe_GB/s, CPU_cores"),
    # 24 GiB in all: 62.5 Mbit/s would do, but the least is 100.
    "small": (
        {"num_gpus": 1, "gpu_total_ram": 24576, "inet_up": 100, "inet_down": 99},
        "download_Mbit/s",
    ),
    # 96 GiB in all: 250 Mbit/s.
    "middle": (
        {"gpu_total_ram": 98304, "inet_up": 250, "inet_down": 249},
        "download_Mbit/s",
    ),
    # 4 TiB in all: at most 500 Mbit/s and 2,000,000 MiB of memory.
    "large": ({"gpu_total_ram": 1 << 22, "cpu_ram": 2_000_000}, ""),
    "too large": ({"gpu_total_ram": 1 << 22, "cpu_ram": 1_999_999}, "RAM_MiB"),
    "total VRAM unknown": ({"gpu_total_ram": None, "gpu_ram": 24576}, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_what_a_machine_lacks(run: Program, box: Sandbox, name: str) -> None:
    odd, lacks = ODD[name]
    ran = self_test(run, box, **odd)
    rows = [line.split() for line in ran.out.splitlines()[1:]]
    assert ", ".join(row[0] for row in rows if row[-1] == "fail") == lacks
    told = f"vast.py: machine 7101 does not meet: {lacks}\n" if lacks else ""
    assert (ran.status, ran.err) == (1 if lacks else 0, FREE + told)
    ignored = self_test(run, box, "--ignore-requirements", **odd)
    assert ignored == Ran(0, ran.out, FREE)


def test_a_failed_self_test_raw(run: Program, box: Sandbox) -> None:
    ran = self_test(run, box, "--raw", cpu_cores=1)
    assert (ran.status, len(json.loads(ran.out))) == (1, 9)
    error = json.loads(ran.err.removeprefix(FREE))
    assert error["error"] == "requirements"


def test_the_largest_offer_is_tested(run: Program, box: Sandbox) -> None:
    """Offers differ in their part of the GPUs; the market sorts them."""
    run("list", "machine", "7102", "--min_chunk", "2")
    ran = run("self-test", "machine", "7102")
    (ports,) = [line for line in ran.out.splitlines() if line.startswith("direct")]
    assert ports.split()[2] == ">=6"


def test_a_machine_without_offers_is_tested_too(run: Program, box: Sandbox) -> None:
    ran = run("self-test", "machine", "7103")
    assert (ran.status, ran.err) == (0, FREE)
    assert "PCIe_GB/s" in ran.out
    box.fault("machine", "body", body={"machines": [{"id": 7103}]})
    ran = run("self-test", "machine", "7103", "--ignore-requirements")
    assert [line.split()[1] for line in ran.out.splitlines()[1:]] == ["-"] * 9


def test_the_self_test_of_nobodys_machine(run: Program, box: Sandbox) -> None:
    assert refused(run("self-test", "machine", "9"), 1) == (
        "vast.py: there is no machine 9\n"
    )
    assert names(box) == ["machine"]


# --- a host's whole day


def offers(run: Program, number: int) -> list[Row]:
    """Return the offers that a renter finds on a machine."""
    query = f"machine_id={number} rentable=any"
    rows = json.loads(run("search", "offers", query, "--raw").out)
    assert isinstance(rows, list)
    return rows


def test_a_hosts_day(run: Program, box: Sandbox) -> None:
    """From listing a machine to deleting it, as the service does it."""

    def told(line: str) -> str:
        ran = run(*shlex.split(line))
        assert ran.status == 0, ran
        return ran.out

    assert (
        told("show machine 7103 --no-header --cols listed,reports").split()[0]
        == "false"
    )
    assert offers(run, 7103) == []
    told("list machine 7103 -g 0.4 -m 2 -e 2027-06-30")
    (offer,) = offers(run, 7103)
    assert (offer["num_gpus"], offer["dph_base"]) == (2, 0.8)
    assert '"listed": true' in told("show machine 7103 --raw")
    assert "fail" not in told("self-test machine 7103 --cols Requirement,Result")

    # Maintenance stops, unlists and blocks nothing.
    assert told("show maints -i 7103 --no-header") == ""
    told("schedule maint 7103 --sdate '2026-10-01 02:00' --duration 3")
    (window,) = json.loads(told("show maints -i 7103 --raw"))
    assert (window["duration_hours"], window["end_time"]) == (3, 1790830800)
    assert offers(run, 7103) != []

    # A rented machine cannot be deleted, whatever else is done with it.
    rented = box.market.offers[offer["id"]]
    order = {"image": "it", "disk": 10.0, "runtype": "ssh"}
    rental = box.market.rent(rented, order, 9001, 61077)
    assert told("show machine 7103 --cols occup --no-header") == "D D\n"
    told("unlist machine 7103")
    assert run("delete", "machine", "7103", "-y").status == 1
    assert told("show machine 7103 -q") == "7103\n"
    rented.rental = None
    del box.market.rentals[rental.id]

    # What expired goes, and then the machine.
    account(box.market).expired[7103] = 2
    assert told("cleanup machine 7103").endswith(": 2\n")
    assert told("cleanup machine 7103").endswith(": 0\n")
    told("cancel maint 7103")
    assert told("show maints -i 7103 --no-header") == ""
    told("delete machine 7103 -y")
    assert run("show", "machine", "7103").status == 1
    assert offers(run, 7103) == []
    assert told("show machines -q").split() == ["7101", "7102", "7104"]
    assert run("delete", "machine", "7103", "-y").status == 1
