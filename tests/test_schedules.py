"""`--schedule`: the service keeps the time, and nothing is done now."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

import vast
from conftest import Program, complaint, names
from sandbox import FAULTS, Row, Sandbox, json_reply

JOBS = "/api/v0/commands/schedule_job/"
TODAY = 1_789_948_800  # 2026-09-21, 00:00 UTC; a Clock starts at 14:13:20
DAY = 86400

# Each command that takes a schedule, and the request that its job sends; the body of
# the job has the instance's id besides.
COMMANDS: dict[str, tuple[str, str, Row]] = {
    "stop instance 5001": ("PUT", "/api/v0/instances/5001/", {"state": "stopped"}),
    "destroy instance 5001": ("DELETE", "/api/v0/instances/5001/", {}),
    "reboot instance 5001": ("PUT", "/api/v0/instances/reboot/5001/", {}),
    "change bid 5001 --price 0.3": (
        "PUT", "/api/v0/instances/bid_price/5001/", {"client_id": "me", "price": 0.3},
    ),
    "change bid 5001": (
        "PUT", "/api/v0/instances/bid_price/5001/", {"client_id": "me", "price": None},
    ),
}  # fmt: skip


def jobs(box: Sandbox) -> dict[int, Row]:
    """The scheduled jobs as the service has them."""
    rows: dict[int, Row] = box.market.stores["scheduled_jobs"].rows
    return rows


def rent(box: Sandbox, number: int) -> None:
    """Rents an offer behind the program's back."""
    market = box.market
    offer = next(o for o in market.offers.values() if not (o.rental or o.odd))
    order = {"image": "example/image", "disk": 10.0, "runtype": "ssh", "label": "run"}
    order |= {"price": offer.row["min_bid"] + 1}
    market.rent(offer, order, number, market.user["id"])


@pytest.fixture(autouse=True)
def rented(box: Sandbox) -> None:
    """Two instances, 5001 and 5002, which run."""
    box.market.run_on(lambda: 0.0, 0.0)
    rent(box, 5001)
    rent(box, 5002)


def orders(box: Sandbox) -> list[str]:
    """What the instances were last told, and at which price: nothing is done now."""
    found = []
    for number in (5001, 5002):
        rental = box.market.rentals[number]
        found.append(f"{rental.order} {rental.row.get('dph_base')}")
    return found


# --- what is sent


@pytest.mark.parametrize("line", COMMANDS)
def test_a_schedule_and_nothing_else(line: str, box: Sandbox, run: Program) -> None:
    method, path, body = COMMANDS[line]
    before = orders(box)
    ran = run(*line.split(), "--schedule", "DAILY", "--hour", "5")
    assert ran == (
        0,
        "instance 5001: scheduled as job 8101, daily at 05:00 UTC from 2026-09-21"
        " 00:00 until 2026-09-28 00:00 UTC\n",
        "",
    )
    (call,) = box.calls
    assert (call.method, call.path) == ("POST", JOBS)
    assert call.body == {
        "start_time": TODAY, "end_time": TODAY + 7 * DAY, "api_endpoint": path,
        "request_method": method, "request_body": {**body, "instance_id": 5001},
        "day_of_the_week": None, "hour_of_the_day": 5, "frequency": "DAILY",
        "instance_id": 5001,
    }  # fmt: skip
    assert orders(box) == before


WHEN: dict[str, tuple[int | None, int | None, str]] = {
    "HOURLY": (None, None, "hourly at minute 00"),
    "hourly": (None, None, "hourly at minute 00"),
    "HOURLY --day * --hour *": (None, None, "hourly at minute 00"),
    "DAILY": (None, 0, "daily at 00:00 UTC"),
    "DAILY --hour 23": (None, 23, "daily at 23:00 UTC"),
    "Daily --day * --hour 7": (None, 7, "daily at 07:00 UTC"),
    "WEEKLY": (0, 0, "weekly on Sunday at 00:00 UTC"),
    "WEEKLY --day 6": (6, 0, "weekly on Saturday at 00:00 UTC"),
    "WEEKLY --hour 12": (0, 12, "weekly on Sunday at 12:00 UTC"),
    "WEEKLY --day=3 --hour=0": (3, 0, "weekly on Wednesday at 00:00 UTC"),
}


@pytest.mark.parametrize("words", WHEN)
def test_day_and_hour(words: str, box: Sandbox, run: Program) -> None:
    day, hour, text = WHEN[words]
    ran = run("reboot", "instance", "5001", "--schedule", *words.split())
    assert ran.status == 0, ran.err
    assert f"scheduled as job 8101, {text} from " in ran.out
    (job,) = jobs(box).values()
    assert (job["day_of_the_week"], job["hour_of_the_day"]) == (day, hour)
    assert job["frequency"] == words.split()[0].upper()


@pytest.mark.parametrize(
    ("words", "start", "end"),
    [
        ("", TODAY, TODAY + 7 * DAY),
        ("--start_date 2026-10-01", TODAY + 10 * DAY, TODAY + 17 * DAY),
        ("--start-date 2026-09-01", TODAY - 20 * DAY, TODAY + 7 * DAY),
        ("--end_date 2026-09-30", TODAY, TODAY + 10 * DAY - 1),
        ("--start_date 2026-10-01T06:30 --end_date 2026-10-02T18:00",
         TODAY + 10 * DAY + 23400, TODAY + 11 * DAY + 64859),
        ("--start_date 2026-10-01T06:30+02:00", TODAY + 10 * DAY + 16200,
         TODAY + 17 * DAY + 16200),
        ("--start_date 1790000000 --end_date 1791000000.5", 1790000000, 1791000000),
        ("--start_date 2026-10 --end_date 2026-10", TODAY + 10 * DAY,
         TODAY + 41 * DAY - 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_dates_are_utc(
    zone: str, words: str, start: int, end: int,
    box: Sandbox, run: Program, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The zone here is of no account: the service runs jobs by UTC."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    line = "stop instance 5001 --schedule HOURLY"
    ran = run(*line.split(), *words.split())
    assert ran.status == 0, ran.err
    (job,) = jobs(box).values()
    assert (job["start_time"], job["end_time"]) == (start, end)
    dates = [time.strftime("%Y-%m-%d %H:%M", time.gmtime(t)) for t in (start, end)]
    assert ran.out.endswith(f" from {dates[0]} until {dates[1]} UTC\n")


def test_help_says_utc(offline: Program) -> None:
    text = " ".join(offline("stop", "instance", "--help").out.split())
    assert "--start_date START_DATE first day of a schedule, UTC (today)" in text
    assert "--end_date END_DATE end of a schedule, UTC (after 7 days)" in text


# --- what can't be


@pytest.mark.parametrize(
    ("words", "msg"),
    [
        ("--schedule HOURLY --day 0", "--schedule HOURLY takes no --day"),
        ("--schedule HOURLY --hour 0", "--schedule HOURLY takes no --hour"),
        ("--schedule DAILY --day 1", "--schedule DAILY takes no --day"),
        ("--schedule DAILY --hour *",
         "--schedule DAILY needs a number as its --hour"),
        ("--schedule WEEKLY --day *",
         "--schedule WEEKLY needs a number as its --day"),
        ("--schedule WEEKLY --hour *",
         "--schedule WEEKLY needs a number as its --hour"),
        ("--schedule WEEKLY --day 7",
         "invalid day '7': must be from 0 to 6, or *"),
        ("--schedule WEEKLY --day=-1",
         "invalid day '-1': must be from 0 to 6, or *"),
        ("--schedule WEEKLY --day Sunday",
         "invalid day 'Sunday': must be from 0 to 6, or *"),
        ("--schedule DAILY --hour 24",
         "invalid hour '24': must be from 0 to 23, or *"),
        ("--schedule DAILY --hour 5.5",
         "invalid hour '5.5': must be from 0 to 23, or *"),
        ("--schedule HOURLY --day 9",
         "invalid day '9': must be from 0 to 6, or *"),
        ("--day 1", "--day needs --schedule"),
        ("--hour 1", "--hour needs --schedule"),
        ("--start_date 2026-10-01", "--start_date needs --schedule"),
        ("--end_date 2026-10-01", "--end_date needs --schedule"),
        ("--schedule DAILY --wait",
         "--schedule excludes --wait: nothing is done now"),
        ("--schedule DAILY --start_date 2026-10-02 --end_date 2026-10-01",
         "the schedule ends before it starts; change --start_date or --end_date"),
        ("--schedule DAILY --start_date 1790000000 --end_date 1790000000",
         "the schedule ends before it starts; change --start_date or --end_date"),
        ("--schedule DAILY --start_date 2026-09-01 --end_date 2026-09-20",
         "the schedule is over already; change --start_date or --end_date"),
        ("--schedule DAILY --start_date 2020-01-01 --end_date 1790000000",
         "the schedule is over already; change --start_date or --end_date"),
        ("--schedule YEARLY", "invalid schedule 'YEARLY'; choose from HOURLY, DAILY,"
         " WEEKLY; see vast.py reboot instance --help"),
        ("--schedule", "reboot instance: --schedule needs a value; see vast.py reboot"
         " instance --help"),
        ("--schedule DAILY --start_date soon", "invalid date 'soon': use YYYY-MM-DD;"
         " see vast.py reboot instance --help"),
        ("--schedule DAILY --end_date 09-30", "invalid date '09-30': the year is"
         " missing; use YYYY-MM-DD; see vast.py reboot instance --help"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("terminal", [False, True])
def test_bad_schedules(
    terminal: bool, words: str, msg: str, box: Sandbox, run: Program
) -> None:
    """Refused before anything is sent or asked."""
    before = orders(box)
    line = ["reboot", "instance", "5001", "5002", *words.split()]
    assert complaint(run(*line, terminal=terminal), 2) == msg
    assert (box.calls, orders(box)) == ([], before)


@pytest.mark.parametrize("line", ["start instance 5001", "recycle instance 5001"])
def test_other_commands_take_no_schedule(line: str, box: Sandbox, run: Program) -> None:
    msg = complaint(run(*line.split(), "--schedule", "DAILY"), 2)
    assert "unknown option '--schedule'" in msg
    assert box.calls == []


# --- a question before harm


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 3), ("", 3)])
def test_a_scheduled_destroy_asks(
    answer: str, status: int, box: Sandbox, run: Program
) -> None:
    """The question says when; answered or not, nothing is destroyed now."""
    line = "destroy instance 5001 --schedule DAILY --hour 5"
    ran = run(*line.split(), stdin=f"{answer}\n", terminal=True)
    gpu = box.market.rentals[5001].row["gpu_name"]
    assert ran.err.startswith(
        f"daily at 05:00 UTC: destroy instance 5001 (run, {gpu}) and all data on its"
        " disk? [y/N] "
    )
    assert (ran.status, len(jobs(box))) == (status, status == 0)
    assert "destroy" not in names(box)
    assert 5001 in box.market.rentals


def test_yes_skips_the_question(box: Sandbox, run: Program) -> None:
    line = "destroy instance 5001 --schedule DAILY -y"
    ran = run(*line.split(), terminal=True)
    assert (ran.status, ran.err) == (0, "")
    assert names(box) == ["schedule_job"]


def test_a_harmless_schedule_does_not_ask(box: Sandbox, run: Program) -> None:
    ran = run("stop", "instance", "5001", "--schedule", "DAILY", terminal=True)
    assert (ran.status, ran.err) == (0, "")
    assert names(box) == ["schedule_job"]


# --- a job that exists


def test_replace_without_a_terminal(box: Sandbox, run: Program) -> None:
    line = "stop instance 5001 --schedule"
    assert run(*line.split(), "DAILY").status == 0
    ran = run(*line.split(), "WEEKLY", "--day", "2")
    assert (ran.status, ran.err) == (0, "")
    assert "scheduled as job 8101, weekly on Tuesday at 00:00 UTC" in ran.out
    assert names(box) == ["schedule_job"] * 2 + ["update_scheduled_job"]
    post, put = box.calls[1:]
    assert (put.method, put.path, put.body) == ("PUT", f"{JOBS}8101/", post.body)
    (job,) = jobs(box).values()
    assert (job["frequency"], job["day_of_the_week"]) == ("WEEKLY", 2)


@pytest.mark.parametrize(("answer", "status"), [("yes", 0), ("no", 3)])
def test_replace_asks(answer: str, status: int, box: Sandbox, run: Program) -> None:
    line = "stop instance 5001 --schedule"
    run(*line.split(), "DAILY")
    before = dict(jobs(box)[8101])
    ran = run(*line.split(), "HOURLY", stdin=f"{answer}\n", terminal=True)
    assert ran.err.startswith("instance 5001: replace scheduled job 8101? [y/N] ")
    assert ran.status == status
    assert (jobs(box)[8101] == before) is (answer == "no")
    assert names(box).count("update_scheduled_job") == (answer == "yes")


def test_replace_with_yes(box: Sandbox, run: Program) -> None:
    line = "stop instance 5001 -y --schedule"
    run(*line.split(), "DAILY")
    ran = run(*line.split(), "HOURLY", terminal=True)
    assert (ran.status, ran.err) == (0, "")
    assert jobs(box)[8101]["frequency"] == "HOURLY"


def test_an_equal_call_of_another_instance_is_another_job(
    box: Sandbox, run: Program
) -> None:
    for number in ("5001", "5002"):
        assert run("stop", "instance", number, "--schedule", "DAILY").status == 0
    assert [job["instance_id"] for job in jobs(box).values()] == [5001, 5002]


@pytest.mark.parametrize(
    ("http", "reply", "status"),
    [
        (422, {"scheduled_job_id": "8101"}, 0),
        (422, {"scheduled_job_id": 8101, "success": False}, 0),
        (422, {"error": "invalid_args", "msg": "no"}, 1),
        (422, {"scheduled_job_id": None, "msg": "no"}, 1),
        (422, {"scheduled_job_id": "../8101", "msg": "no"}, 1),
        (422, [8101], 1),
        (400, {"scheduled_job_id": 8101, "msg": "no"}, 1),
    ],
)
def test_forms_of_the_conflict(
    http: int, reply: Any, status: int,
    box: Sandbox, run: Program, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Only a 422 with the id of a job is one that stands in the way."""
    run("stop", "instance", "5001", "--schedule", "DAILY")
    fault = (False, lambda trouble: json_reply(reply, http))
    monkeypatch.setitem(FAULTS, "conflict", fault)
    box.fault("schedule_job", "conflict")
    ran = run("stop", "instance", "5001", "--schedule", "HOURLY")
    assert ran.status == status, ran.err
    assert (jobs(box)[8101]["frequency"] == "HOURLY") is (status == 0)


# --- several ids, --raw, --dry-run


def test_several(box: Sandbox, run: Program) -> None:
    ran = run("stop", "instances", "5001", "9", "5002", "5001", "--schedule", "DAILY")
    when = "daily at 00:00 UTC from 2026-09-21 00:00 until 2026-09-28 00:00 UTC"
    assert ran.status == 1
    assert ran.out == (
        f"instance 5001: scheduled as job 8101, {when}\n"
        f"instance 5002: scheduled as job 8102, {when}\n"
    )
    assert ran.err.splitlines()[-1] == "vast.py: you have no instance 9"
    assert names(box) == ["schedule_job"] * 3


def test_several_of_which_one_is_declined(box: Sandbox, run: Program) -> None:
    run("stop", "instance", "5001", "--schedule", "DAILY")
    ran = run(
        "stop", "instances", "5001", "5002", "--schedule", "HOURLY",
        stdin="n\n", terminal=True,
    )  # fmt: skip
    assert ran.status == 3
    assert {row["instance_id"]: row["frequency"] for row in jobs(box).values()} == {
        5001: "DAILY", 5002: "HOURLY",
    }  # fmt: skip


def test_raw(box: Sandbox, run: Program) -> None:
    line = "stop instance 5001 --schedule DAILY --raw"
    assert json.loads(run(*line.split()).out) == {
        "scheduled_job_id": 8101,
        "success": True,
    }
    ran = run("stop", "instances", "5001", "5002", "--schedule", "DAILY", "--raw")
    assert json.loads(ran.out) == [
        {"id": 5001, "scheduled_job_id": 8101, "success": True},
        {"id": 5002, "scheduled_job_id": 8102, "success": True},
    ]


def test_the_id_of_a_replaced_job_is_in_raw(box: Sandbox, run: Program) -> None:
    line = "stop instance 5001 --schedule DAILY --raw"
    run(*line.split())
    box.fault("update_scheduled_job", "body", body={"success": True})
    assert json.loads(run(*line.split()).out) == {
        "scheduled_job_id": 8101,
        "success": True,
    }


@pytest.mark.parametrize("line", COMMANDS)
def test_dry_run(line: str, box: Sandbox, run: Program) -> None:
    method, path, body = COMMANDS[line]
    words = [*line.split(), "--schedule", "WEEKLY", "--dry-run"]
    ran = run(*words, "--raw", terminal=True)
    assert (ran.status, ran.err, box.calls) == (0, "", [])
    shown = json.loads(ran.out)
    assert (shown["method"], shown["url"]) == ("POST", box.url + JOBS)
    assert shown["body"]["request_method"] == method
    assert shown["body"]["api_endpoint"] == path
    assert shown["body"]["request_body"] == {**body, "instance_id": 5001}
    assert run(*words).out.startswith(f"curl -sS -X POST {box.url}{JOBS} ")


# --- a response that is lost


def test_a_lost_response(box: Sandbox, run: Program) -> None:
    """The next try meets the job that the first has made, and replaces it."""
    box.fault("schedule_job", "drop_after")
    ran = run("stop", "instance", "5001", "--schedule", "DAILY")
    assert ran.status == 0, ran.err
    assert ran.out.startswith("instance 5001: scheduled as job 8101, daily at ")
    assert names(box) == ["schedule_job"] * 2 + ["update_scheduled_job"]
    assert len(jobs(box)) == 1


@pytest.mark.parametrize("fault", ["503", "drop_before", "not_json"])
def test_no_response(fault: str, box: Sandbox, run: Program) -> None:
    box.fault("schedule_job", fault, times=None)
    msg = complaint(
        run("stop", "instance", "5001", "--schedule", "DAILY", "--retry", "0"), 6
    )
    assert msg.endswith(
        "; the job may or may not exist; run `vast.py show scheduled-jobs` to see"
    )


@pytest.mark.parametrize("fault", ["503", "drop_after", "not_json"])
def test_a_lost_response_to_a_replacement(
    fault: str, box: Sandbox, run: Program
) -> None:
    line = ["stop", "instance", "5001", "--schedule", "DAILY"]
    run(*line)
    box.fault("update_scheduled_job", fault, times=None)
    assert "show scheduled-jobs" in complaint(run(*line), 6)


def test_a_response_that_does_not_say_success(box: Sandbox, run: Program) -> None:
    """The id of the job is proof enough."""
    box.fault("schedule_job", "body", body={"scheduled_job_id": 7})
    ran = run("stop", "instance", "5001", "--schedule", "DAILY")
    assert ran.out.startswith("instance 5001: scheduled as job 7, daily at ")
    box.fault("schedule_job", "body", body={"msg": "fine"})
    complaint(run("stop", "instance", "5002", "--schedule", "DAILY"), 6)


# --- from the schedule to the list and back


def test_the_life_of_a_scheduled_destroy(box: Sandbox, run: Program) -> None:
    line = "destroy instance 5001 --schedule DAILY --hour 5 --end_date 2026-09-30"
    assert run(*line.split()).status == 0
    assert run("show", "scheduled-jobs").out == (
        "  ID  Instance  When                Start_UTC         End_UTC           Method"
        "  Endpoint\n"
        "8101      5001  daily_at_05:00_UTC  2026-09-21_00:00  2026-09-30_23:59  DELETE"
        "  /api/v0/instances/5001/\n"
    )
    assert run("show", "instances", "-q").out == "5001\n5002\n"
    ran = run("delete", "scheduled-job", "8101")
    assert ran == (0, "scheduled job 8101: deleted\n", "")
    assert json.loads(run("show", "scheduled-jobs", "--raw").out) == []


@pytest.mark.parametrize(
    ("job", "text"),
    [
        ({}, "- at minute 00"),
        ({"frequency": 5, "hour_of_the_day": "7"}, "5 at minute 00"),
        ({"frequency": "WEEKLY", "day_of_the_week": 9, "hour_of_the_day": 7},
         "weekly at 07:00 UTC"),
        ({"frequency": "HOURLY", "min_of_the_hour": 5}, "hourly at minute 05"),
        ({"frequency": "DAILY", "hour_of_the_day": 7, "min_of_the_hour": "x"},
         "daily at 07:00 UTC"),
    ],
)  # fmt: skip
def test_odd_jobs_in_words(job: Row, text: str) -> None:
    assert vast.describe_schedule(job) == text
