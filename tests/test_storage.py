"""The commands about volumes, backups, scheduled jobs and price increases."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest
from cases_storage import SPACE, with_increase, with_job, with_volume

import market_renting
from conftest import Program, complaint, names
from sandbox import Row, Sandbox

VOLUMES = "/api/v0/volumes/"


def volumes(box: Sandbox) -> dict[int, Row]:
    """The user's volumes as the service has them."""
    rows: dict[int, Row] = box.market.stores["volumes"].rows
    return rows


def rent(box: Sandbox, machine: int | None = None, number: int = 5001) -> int:
    """Rents an offer, on a machine if one is named; the id of the instance."""
    market = box.market
    offer = next(
        offer
        for offer in market.offers.values()
        if not (offer.rental or offer.odd)
        and machine in (None, offer.machine.hardware["machine_id"])
    )
    order = {"image": "example/image", "disk": 10.0, "runtype": "ssh", "label": "run"}
    return market.rent(offer, order, number, market.user["id"]).id


# --- search volumes

PLAIN: Row = {
    "verified": {"eq": True}, "external": {"eq": False}, "disk_space": {"gte": 1},
    "order": [["score", "desc"]], "allocated_storage": 1.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("words", "more"),
    [
        ("", {}),
        ("'disk_space > 200'", {"disk_space": {"gt": 200}}),
        ("machine_id=20171", {"machine_id": {"eq": 20171}}),
        ("'cuda_vers>=12.1'", {"cuda_max_good": {"gte": 12.1}}),
        ("'CUDA>=12'", {"cuda_max_good": {"gte": 12}}),
        ("'reliability>98%'", {"reliability": {"gt": 0.98}}),
        ("'duration>=30'", {"duration": {"gte": 2592000}}),
        ("'geolocation in [us,DE]'", {"geolocation": {"in": ["US", "DE"]}}),
        ("'driver_version>=535.86'", {"driver_version": {"gte": 535086000}}),
        ("'inet_up>500 inet_down>500'",
         {"inet_up": {"gt": 500}, "inet_down": {"gt": 500}}),
        ("static_ip=true datacenter=false",
         {"static_ip": {"eq": True}, "datacenter": {"eq": False}}),
        ("'storage_cost<$0.1'", {"storage_cost": {"lt": 0.1}}),
        ("verified=any", {"verified": None}),
        ("external=true", {"external": {"eq": True}}),
        ("-n", {"verified": None, "external": None, "disk_space": None}),
        ("--limit 3", {"limit": 3}),
        ("--storage 200", {"allocated_storage": 200}),
        ("-o storage_cost", {"order": [["storage_cost", "asc"]]}),
        ("-o 'cuda_vers-, inet_up'",
         {"order": [["cuda_max_good", "desc"], ["inet_up", "asc"]]}),
        ("-o disk_bw- -o 'Disk-'", {"order": [["disk_space", "desc"]]}),
        ("-o storage_total_cost", {"order": [["storage_total_cost", "asc"]]}),
        ("-o cpu_ghz-", {"order": [["cpu_ghz", "desc"]]}),
    ],
)  # fmt: skip
def test_search(words: str, more: Row, box: Sandbox, run: Program) -> None:
    """Numbers are numbers, and fields have the service's names."""
    ran = run("search", "volumes", *shlex.split(words))
    assert ran.status == 0, ran.err
    body = {key: value for key, value in {**PLAIN, **more}.items() if value is not None}
    (call,) = box.calls
    assert (call.method, call.path, call.body) == ("POST", f"{VOLUMES}search/", body)


@pytest.mark.parametrize(
    ("words", "msg"),
    [
        ("gpu_name=RTX_4090", "unknown field 'gpu_name'; did you mean 'gpu_arch'?"),
        ("num_gpus=1", "unknown field 'num_gpus'"),
        ("dph<1", "unknown field 'dph'"),
        ("disk_spcae>1", "unknown field 'disk_spcae'; did you mean 'disk_space'?"),
        ("disk_space>big", "invalid disk_space 'big': must be a number"),
        ("-o dph", "unknown sort key 'dph'"),
        ("-o dph_base", "unknown sort key 'dph_base'"),
        ("-o storage_csot", "unknown sort key 'storage_csot'; did you mean"
         " 'storage_cost'?"),
    ],
)  # fmt: skip
def test_bad_search(words: str, msg: str, box: Sandbox, run: Program) -> None:
    ran = run("search", "volumes", *words.split())
    assert (ran.status, ran.out, box.calls) == (2, "", [])
    first, _, caret = ran.err.splitlines()
    assert first == f"vast.py: {msg}"
    assert caret.strip("^ ") == ""


@pytest.mark.usefixtures("still")
def test_search_table(run: Program) -> None:
    assert run("search", "volumes", f"id={SPACE}").out == (
        "      ID  Disk  $/GB/mo  Disk_MB/s  Disk_Name           CUDA  cpu_ghz"
        "  NV_Driver   Net_up  Net_down     R  Max_Days  mach_id  status    host_id"
        "  country\n"
        "30020171  1500   0.1500       4328  WD_BLACK_SN850X_HS  12.2      2.0"
        "  535.183.06  2075.8    2137.6  99.9     236.6    20171  verified   100148"
        "  Vietnam, VN\n"
    )  # fmt: skip


def test_search_on_a_terminal(run: Program) -> None:
    """80 columns show what a volume is and what it costs."""
    ran = run("search", "volumes", "--limit", "2", terminal=True, env={"COLUMNS": "80"})
    heading = ran.out.splitlines()[0].split()
    assert heading[:3] == ["ID", "Disk", "$/GB/mo"]
    assert {"R", "country"} <= set(heading)
    assert max(map(len, ran.out.splitlines())) <= 80
    assert "2 offers\n" in ran.err


def test_nothing_found(run: Program) -> None:
    ran = run("search", "volumes", "id=1", "--raw")
    assert (ran.status, ran.out) == (0, "[]\n")
    assert ran.err == (
        "vast.py: nothing found; filters in force: id=1 verified=true external=false"
        " disk_space>=1 (by default; -n lifts them)\n"
    )


def test_search_help(offline: Program) -> None:
    out = offline("search", "volumes", "--help").out
    assert "  storage_cost        float   $/GB/month  price of disk space\n" in out
    assert "gpu_name" not in out


def test_offers_are_searched_as_before(box: Sandbox, run: Program) -> None:
    ran = run("search", "offers", "num_gpus=99")
    assert (ran.status, len(ran.out.splitlines())) == (0, 1)
    assert ran.err == (
        "vast.py: nothing found; filters in force: num_gpus=99 verified=true"
        " external=false rentable=true (by default; -n lifts them)\n"
    )
    assert run("search", "offers", "-o", "dph_base").status == 0
    assert run("search", "offers", "-o", "storage").status == 2


# --- show volumes


@pytest.mark.usefixtures("still")
def test_show(box: Sandbox, run: Program) -> None:
    with_volume(box.market)
    volumes(box)[70001]["start_date"] = run.clock.now() - 5400
    run.clock.time = volumes(box)[70001]["start_date"] + 5400
    assert run("show", "volumes").out == (
        "   ID  Name    Disk  Status        $/hr  Age_h  Disk_Name           NV_Driver"
        "   Net_up  Net_down     R  mach_id  host_id  country      Instances\n"
        "70001  models    20  available  0.00417    1.5  WD_BLACK_SN850X_HS  535.183.06"
        "  2075.8    2137.6  99.9    20171   100148  Vietnam,_VN  []\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("", "all_volume"),
        ("-t all", "all_volume"),
        ("--type local", "local_volume"),
        ("--type=network", "network_volume"),
    ],
)
def test_show_types(words: str, kind: str, box: Sandbox, run: Program) -> None:
    with_volume(box.market)
    ran = run("show", "volumes", "-q", *words.split())
    assert ran.out == ("" if kind == "network_volume" else "70001\n")
    assert box.calls[0].query == {"owner": "me", "type": kind}


def test_show_other_type(box: Sandbox, run: Program) -> None:
    msg = complaint(run("show", "volumes", "-t", "huge"), 2)
    assert msg.startswith("invalid type 'huge'; choose from all, local, network")


def test_show_query(box: Sandbox, run: Program) -> None:
    with_volume(box.market)
    assert run("show", "volumes", "label=models", "-q").out == "70001\n"
    assert run("show", "volumes", "disk_space>30", "-q").out == ""


def test_show_null(box: Sandbox, run: Program) -> None:
    box.fault("volumes", "body", body={"success": True, "volumes": None})
    assert run("show", "volumes", "--raw") == (0, "[]\n", "")


def test_show_odd_rows(box: Sandbox, run: Program) -> None:
    rows = [{}, {"id": 5, "label": "\x1b[2J", "instances": [{"id": 5001}]}]
    box.fault("volumes", "body", body={"volumes": rows})
    out = run("show", "volumes").out
    assert out.replace("\n", "").isprintable()
    assert out.endswith('[{"id": 5001}]\n')


# --- create volume, clone volume


@pytest.mark.parametrize(
    ("words", "body"),
    [
        ("", {"size": 15}),
        ("-s 50", {"size": 50}),
        ("--size 1TB", {"size": 1000}),
        ("--size=200 --name workday_test", {"size": 200, "name": "workday_test"}),
        ("-n models", {"size": 15, "name": "models"}),
        ("--label models", {"size": 15, "name": "models"}),
    ],
)
def test_create(words: str, body: Row, box: Sandbox, run: Program) -> None:
    ran = run("create", "volume", str(SPACE), *words.split())
    assert (ran.status, ran.out) == (0, "volume 70001: created\n")
    assert box.calls[0].body == {"id": SPACE, **body}
    assert volumes(box)[70001]["label"] == body.get("name")


def test_create_says_what_it_costs(run: Program) -> None:
    ran = run("create", "volume", str(SPACE), "-s", "100", "-n", "models")
    assert ran.err == "vast.py: rented volume 70001 (models, 100 GB, $0.02083/h)\n"


@pytest.mark.parametrize(
    "line",
    [
        "create volume --size 20 --label models",
        "create volume --size 200",
        "create volume 1234 -s 20.9",
        "create volume 1234 -s 0",
        "create volume 1234 --size 200 --name qwen38-models",
        "create volume 1234 --name ''",
        f"create volume 1234 --name {'x' * 65}",
        "create volume --size 200 --geolocation NO",
        "create volume V.9",
        "clone volume 9",
        "clone volume X.9 1234",
        "clone volume 9 1234 -s 1.5",
        "delete volume",
        "delete volume V.",
        "delete volume V.0",
    ],
)
def test_bad_lines(line: str, box: Sandbox, run: Program) -> None:
    complaint(run(*shlex.split(line)), 2)
    assert box.calls == []


def test_help_for_bad_lines(run: Program) -> None:
    missing = complaint(run("create", "volume", "--size", "20"), 2)
    assert missing.startswith("the following arguments are required: offer;")
    name = complaint(run("create", "volume", "1", "-n", "vla-datasets"), 2)
    assert name.startswith(
        "invalid name 'vla-datasets': must be up to 64 letters, digits and _;"
    )
    other = complaint(run("destroy", "volume", "5"), 2)
    assert other == "unknown command 'destroy volume'; did you mean 'delete volume'?"


@pytest.mark.parametrize(
    ("words", "body"),
    [
        ("70001 {}", {}),
        ("V.70001 {} -s 40", {"size": 40}),
        ("v.70001 {} --size=40 -d", {"size": 40, "disable_compression": True}),
        ("70001 {} --disable-compression", {"disable_compression": True}),
    ],
)
def test_clone(words: str, body: Row, box: Sandbox, run: Program) -> None:
    with_volume(box.market)
    ran = run("clone", "volume", *words.format(SPACE).split())
    assert (ran.status, ran.out) == (0, "volume 70002: created\n")
    assert ran.err.startswith("vast.py: rented volume 70002 (models, ")
    first = box.calls[0]
    assert (first.method, first.path) == ("POST", f"{VOLUMES}copy/")
    assert first.body == {"src_id": 70001, "dst_id": SPACE, **body}


BUYING = {
    "create_volume": f"create volume {SPACE}",
    "clone_volume": f"clone volume 70001 {SPACE}",
}


@pytest.mark.parametrize("call", BUYING)
@pytest.mark.parametrize("fault", ["drop_after", "502_after", "cut_after", "503"])
def test_a_lost_response_is_in_doubt(
    call: str, fault: str, box: Sandbox, run: Program
) -> None:
    """It costs money: never sent again."""
    with_volume(box.market)
    box.fault(call, fault, times=None)
    msg = complaint(run(*BUYING[call].split()), 6)
    assert names(box) == [call]
    assert len(volumes(box)) == (1 if fault == "503" else 2)
    assert msg.endswith(
        "; a volume may or may not have been created; run `vast.py show volumes`"
        " before retrying"
    )


@pytest.mark.parametrize("call", BUYING)
def test_a_busy_service_is_asked_again(call: str, box: Sandbox, run: Program) -> None:
    with_volume(box.market)
    box.fault(call, "429_text", times=2)
    assert run(*BUYING[call].split()).status == 0
    assert names(box) == [call] * 3 + ["volumes"]


@pytest.mark.parametrize("call", BUYING)
@pytest.mark.parametrize(
    "reply",
    [
        {"success": True},
        {"success": True, "volume_name": None},
        {"success": True, "volume_name": "V.x"},
        {"success": True, "volume_name": True},
        {"success": True, "volume_name": [70001]},
    ],
)
def test_a_response_without_a_volume(
    call: str, reply: Row, box: Sandbox, run: Program
) -> None:
    box.fault(call, "body", body=reply)
    msg = complaint(run(*BUYING[call].split()), 6)
    assert re.match("the response (gives no id|does not confirm success);", msg)
    assert "run `vast.py show volumes` before retrying" in msg


@pytest.mark.parametrize("fault", ["401", "503", "drop_after", "not_json", "bad_rows"])
def test_a_price_that_cannot_be_read(fault: str, box: Sandbox, run: Program) -> None:
    """The volume is there and its id is said, whatever comes of the rest."""
    box.fault("volumes", fault, times=None)
    ran = run("create", "volume", str(SPACE))
    assert (ran.status, ran.out) == (0, "volume 70001: created\n")
    assert "vast.py: rented volume 70001\n" in ran.err


@pytest.mark.parametrize(
    ("words", "msg"),
    [
        ("create volume 5", "volume offer 5"),
        (f"create volume {SPACE} -s 100000", "there are no 100000 GB left"),
        (f"clone volume 70009 {SPACE}", "there is no volume 70009"),
        (f"clone volume 70001 {SPACE} -s 1", "size is less than that of the volume"),
    ],
)
def test_refusals(words: str, msg: str, box: Sandbox, run: Program) -> None:
    with_volume(box.market)
    assert complaint(run(*words.split()), 1) == msg


# --- delete volume


@pytest.mark.parametrize("word", ["70001", "V.70001", "v.70001"])
def test_delete(word: str, box: Sandbox, run: Program) -> None:
    with_volume(box.market)
    assert run("delete", "volume", word) == (0, "volume 70001: deleted\n", "")
    assert volumes(box) == {}
    (call,) = box.calls
    assert (call.method, call.path, call.query, call.body) == (
        "DELETE", VOLUMES, {"id": "70001"}, {},
    )  # fmt: skip


@pytest.mark.parametrize(("answer", "left"), [("y", 0), ("n", 1)])
def test_delete_asks(answer: str, left: int, box: Sandbox, run: Program) -> None:
    with_volume(box.market)
    ran = run("delete", "volume", "V.70001", stdin=f"{answer}\n", terminal=True)
    assert ran.err.startswith(
        "delete volume 70001 (models, 20 GB, $0.004167/h) with all data? [y/N] "
    )
    assert (ran.status, len(volumes(box))) == (3 * left, left)


def test_delete_asks_without_details(box: Sandbox, run: Program) -> None:
    box.fault("volumes", "503", times=None)
    ran = run("delete", "volume", "5", "6", stdin="n\n", terminal=True)
    assert "delete volume 5, volume 6 with all data? [y/N] " in ran.err
    assert ran.status == 3


def test_a_volume_in_use(box: Sandbox, run: Program) -> None:
    with_volume(box.market)
    number = rent(box, machine=20171)
    box.market.rentals[number].row["volume_info"] = [{"volume_id": 70001}]
    msg = complaint(run("delete", "volume", "70001"), 1)
    assert msg == "volume 70001 is used by [5001]"


def test_delete_several(box: Sandbox, run: Program) -> None:
    with_volume(box.market)
    ran = run("delete", "volume", "5", "V.70001", "70001", "--raw")
    assert ran.status == 1
    assert json.loads(ran.out) == [
        {"id": 5, "error": "no_such_volume", "status": 404,
         "msg": "Volume with that ID does not exist."},
        {"id": 70001, "success": True},
    ]  # fmt: skip


def test_a_repeated_delete_that_finds_nothing_is_done(
    box: Sandbox, run: Program
) -> None:
    with_volume(box.market)
    box.fault("delete_volume", "drop_after")
    assert run("delete", "volume", "70001").out == "volume 70001: deleted\n"
    assert names(box) == ["delete_volume"] * 2


def test_several_deletes_keep_the_pace(run: Program) -> None:
    """One that comes too early tells how much time there must be between two, and the
    id in the query makes no other endpoint of it."""
    clock = run.clock
    with Sandbox(limits=True, clock=clock.now) as box:
        program = Program(run.home, box)
        program.clock = clock
        ran = program("delete", "volume", "1", "2", "3", "4")
        assert ran.status == 1
        assert len(box.calls) == 5
    assert sum(clock.slept) == 16.5


# --- a volume's life


def test_the_life_of_a_volume(box: Sandbox, run: Program) -> None:
    """Bought, linked at rental, refused while it is used, and deleted."""
    ran = run("create", "volume", str(SPACE), "-s", "20", "--name", "models")
    assert ran.out == "volume 70001: created\n"
    offer = next(
        number for number, offer in box.market.offers.items()
        if offer.machine.hardware["machine_id"] == 20171 and not offer.rental
    )  # fmt: skip
    ran = run(
        "create", "instance", str(offer), "--image", "example/image",
        "--link-volume", "V.70001", "--mount-path", "/data",
    )  # fmt: skip
    assert ran.out == "Created instance 5001\n"
    row = json.loads(run("show", "instance", "5001", "--raw").out)
    assert row["volume_info"] == [{"volume_id": 70001, "mount_path": "/data"}]
    assert run("show", "volumes", "--cols", "ID,Instances").out.split()[2:] == [
        "70001", "[5001]",
    ]  # fmt: skip

    assert run("delete", "volume", "70001").status == 1
    assert run("destroy", "instance", "5001").status == 0
    box.market.rentals.pop(5001, None)  # the machine takes its time
    assert run("delete", "volume", "V.70001").out == "volume 70001: deleted\n"
    assert run("show", "volumes", "-q").out == ""


# --- backups


def test_backups(box: Sandbox, run: Program) -> None:
    store = box.market.stores["instance_backups"]
    store.rows[301]["created_at"] = 1790000000
    store.rows[302]["created_at"] = "2026-09-21T14:13:20Z"
    store.rows.pop(303)
    assert run("show", "instance-backups").out == (
        " ID  Instance  Type       Machine  Status   Created               Info\n"
        "301      3077  scheduled    20047  success  2026-09-21_14:13      2 files\n"
        "302      3412  -            20047  error    2026-09-21T14:13:20Z  disk"
        r" \x1b[31mfull\x1b[0m on höst\u202e"
        "\n304      3901  scheduled    20047  success  -                     2 files\n"
    )


@pytest.mark.parametrize(("words", "ids"), [("", 4), ("--contract-id 3077", 2)])
def test_backups_of(words: str, ids: int, box: Sandbox, run: Program) -> None:
    ran = run("show", "instance-backups", "-q", *words.split())
    assert len(ran.out.split()) == ids


def test_backup_files(box: Sandbox, run: Program) -> None:
    """What lets others fetch them is in neither form of the output."""
    token = market_renting.backup_token(301)
    ran = run("show", "instance-backup-files", "301")
    assert ran.out == (
        "    MB  Name                          URL\n"
        f"4831.8  /workspace/model.safetensors  {box.url}/backup/301/"
        "%2Fworkspace%2Fmodel.safetensors\n"
        f"   0.0  /root/notes_–_ü.txt           {box.url}/backup/301/"
        "%2Froot%2Fnotes%20%E2%80%93%20%C3%BC.txt\n"
    )
    raw = run("show", "instance-backup-files", "301", "--raw").out
    assert [row["name"] for row in json.loads(raw)] == list(market_renting.BACKUP_FILES)
    columns = run("show", "instance-backup-files", "301", "--cols", "name,url").out
    for text in (ran.out, ran.err, raw, columns):
        assert token not in text


def test_a_token_in_a_row_is_left_out(box: Sandbox, run: Program) -> None:
    files = [{"name": "a", "authorization_token": "s3cret"}]
    box.fault("backup_files", "body", body={"files": files}, times=None)
    words = ("show", "instance-backup-files", "301")
    assert "s3cret" not in run(*words, "--raw").out
    assert run(*words, "--cols", "authorization_token").status == 2


def test_backup_files_names(run: Program) -> None:
    assert run("show", "instance-backup-files", "301", "-q").out == (
        "/workspace/model.safetensors\n/root/notes_–_ü.txt\n"
    )


def test_backup_files_cut_short(box: Sandbox, run: Program) -> None:
    body = {"files": [{"name": "a", "size": 5}], "truncated": True}
    box.fault("backup_files", "body", body=body)
    ran = run("show", "instance-backup-files", "301")
    assert ran.status == 0
    assert ran.err == "vast.py: the service shows only a part of this list\n"


@pytest.mark.parametrize(
    ("number", "msg"),
    [("303", "backup 303 is not ready"), ("9", "there is no backup 9")],
)
def test_no_backup_files(number: str, msg: str, run: Program) -> None:
    assert complaint(run("show", "instance-backup-files", number), 1) == msg


# --- scheduled jobs


def test_jobs(box: Sandbox, run: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are UTC, whatever the zone here."""
    import time

    with_job(box.market)
    store = box.market.stores["scheduled_jobs"]
    store.add({
        **store.rows[8101], "id": 8102, "frequency": "WEEKLY", "day_of_the_week": 3,
        "hour_of_the_day": 16, "min_of_the_hour": 5, "request_method": "PUT",
    })  # fmt: skip
    hourly = {"frequency": "HOURLY", "hour_of_the_day": None}
    store.add({**store.rows[8101], "id": 8103, **hourly})
    store.add({"id": 8104, "frequency": None, "start_time": "soon", "end_time": None})
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    assert run("show", "scheduled-jobs").out == (
        "  ID  Instance  When                              Start_UTC         End_UTC"
        "           Method  Endpoint\n"
        "8101      5001  daily_at_05:00_UTC                2026-09-21_14:13"
        "  2026-09-28_14:13  DELETE  /api/v0/instances/5001/\n"
        "8102      5001  weekly_on_Wednesday_at_16:05_UTC  2026-09-21_14:13"
        "  2026-09-28_14:13  PUT     /api/v0/instances/5001/\n"
        "8103      5001  hourly_at_minute_00               2026-09-21_14:13"
        "  2026-09-28_14:13  DELETE  /api/v0/instances/5001/\n"
        "8104         -  -_at_minute_00                    soon              -"
        "                 -       -\n"
    )


@pytest.mark.parametrize("wrapped", [False, True])
def test_jobs_in_both_shapes(wrapped: bool, box: Sandbox, run: Program) -> None:
    rows: Any = [{"id": 8101, "instance_id": 5001}]
    body = {"success": True, "results": rows} if wrapped else rows
    box.fault("scheduled_jobs", "body", body=body, times=None)
    assert run("show", "scheduled-jobs", "-q").out == "8101\n"
    assert json.loads(run("show", "scheduled-jobs", "--raw").out) == rows


@pytest.mark.parametrize("body", [{"success": True}, {"results": 5}, {"jobs": []}])
def test_jobs_in_another_shape(body: Row, box: Sandbox, run: Program) -> None:
    box.fault("scheduled_jobs", "body", body=body)
    msg = complaint(run("show", "scheduled-jobs"), 1)
    assert msg == "the response has no list of results"


def test_delete_jobs(box: Sandbox, run: Program) -> None:
    with_job(box.market)
    ran = run("delete", "scheduled-job", "8101", "8102")
    assert ran.out == "scheduled job 8101: deleted\n"
    assert (ran.status, box.market.stores["scheduled_jobs"].rows) == (1, {})


# --- price increases


@pytest.fixture
def number(box: Sandbox) -> int:
    """An instance whose host asks for more."""
    return int(with_increase(box.market)["id"])


def pending(box: Sandbox) -> dict[int, Row]:
    """The price increases that wait for an answer."""
    rows: dict[int, Row] = box.market.stores["price_increases"].rows
    return rows


def test_increases(box: Sandbox, run: Program, number: int) -> None:
    (key,) = pending(box)
    pending(box)[key] |= {
        "old_gpu_costpersec": 0.36 / 3600, "new_gpu_costpersec": 0.45 / 3600,
        "old_disk_ram_costpersec": 0.1 / 2592000, "new_disk_ram_costpersec": None,
        "old_bwu_cost": 0.002, "new_bwu_cost": 0.004,
        "old_bwd_cost": None, "new_bwd_cost": None,
        "old_platform_fee": 0.25, "new_platform_fee": 0.3,
        "contract_end_date": 1790000000, "ask_end_date": 1797776000, "host_id": 100148,
    }  # fmt: skip
    assert run("show", "pending-price-increases").out == (
        "  ID  Instance  $/GPU/hr        $/GB/mo  Up_$/GB         Down_$/GB"
        "  Fee%          End_UTC           New_End_UTC         Host\n"
        f"{key}      5001  0.3600->0.4500  0.1000   0.0020->0.0040  -        "
        "  25.00->30.00  2026-09-21_14:13  2026-12-20_14:13  100148\n"
    )


def test_increases_quiet_is_what_accept_takes(run: Program, number: int) -> None:
    assert run("show", "pending-price-increases", "-q").out == f"{number}\n"


def test_increases_cut_short(box: Sandbox, run: Program) -> None:
    body = {"success": True, "truncated": True, "pending_price_increases": []}
    box.fault("price_increases", "body", body=body)
    ran = run("show", "pending-price-increases")
    assert ran.err == "vast.py: the service shows only a part of this list\n"


@pytest.mark.parametrize("verb", ["accept", "reject"])
def test_answer(verb: str, box: Sandbox, run: Program, number: int) -> None:
    (key,), row = pending(box), box.market.rentals[number].row
    end = row["end_date"]
    ran = run(verb, "price-increase", str(number))
    assert ran == (0, f"instance {number}: price increase {verb}ed\n", "")
    assert pending(box) == {}
    assert (row["end_date"] > end) is (verb == "accept")
    call = box.calls[1]
    assert (call.method, call.path) == (
        "PUT", f"/api/v0/instances/{verb}-price-increase/",
    )  # fmt: skip
    assert call.body == {"pending_price_increase_id": key}


@pytest.mark.parametrize("verb", ["accept", "reject"])
@pytest.mark.parametrize("answer", ["y", "n"])
def test_answer_asks(
    verb: str, answer: str, box: Sandbox, run: Program, number: int
) -> None:
    (row,) = pending(box).values()
    row |= {
        "old_gpu_costpersec": 0.36 / 3600, "new_gpu_costpersec": 0.45 / 3600,
        "old_disk_ram_costpersec": 0.1 / 2592000, "new_disk_ram_costpersec": 5e-8,
    }  # fmt: skip
    ran = run(verb, "price-increase", "5001", stdin=f"{answer}\n", terminal=True)
    assert ran.err.startswith(
        f"{verb} 0.3600->0.4500 $/h per GPU and 0.1000->0.1296 $/GB/month of disk for"
        " instance 5001? [y/N] "
    )
    assert ran.status == (0 if answer == "y" else 3)
    assert len(pending(box)) == (answer == "n")


def test_answer_with_yes(run: Program, number: int) -> None:
    ran = run("accept", "price-increase", str(number), "-y", terminal=True)
    assert ran == (0, f"instance {number}: price increase accepted\n", "")


@pytest.mark.parametrize("verb", ["accept", "reject"])
def test_stale(verb: str, box: Sandbox, run: Program, number: int) -> None:
    """Gone between the two requests, by either status; or never there."""
    for status in ("404", "refused"):
        box.fault(f"{verb}_price_increase", status)
        ran = run(verb, "price-increase", str(number))
        assert (ran.status, ran.out) == (1, "")
    pending(box).clear()
    ran = run(verb, "price-increase", "5001", "--raw")
    assert ran.status == 1
    assert json.loads(ran.err) == {
        "error": "no_pending_price_increase", "status": None,
        "msg": "instance 5001 has no pending price increase",
    }  # fmt: skip


def test_answer_several(box: Sandbox, run: Program, number: int) -> None:
    """What stops one does not stop the others; each id is that of an instance."""
    (key,) = pending(box)
    ran = run("accept", "price-increase", "4", str(number), "--raw")
    assert ran.status == 1
    assert json.loads(ran.out) == [
        {"id": 4, "error": "no_pending_price_increase", "status": None,
         "msg": "instance 4 has no pending price increase"},
        {"id": number, "contract_id": number, "pending_price_increase_id": key,
         "success": True},
    ]  # fmt: skip


def test_nothing_to_answer_is_not_asked_about(run: Program) -> None:
    ran = run("accept", "price-increase", "7", terminal=True, stdin="n\n")
    assert ran.status == 1
    assert ran.err == "vast.py: instance 7 has no pending price increase\n"
