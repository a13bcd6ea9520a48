"""What the sandbox promises about a renter's further calls."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from test_sandbox import FREE, Client

from conftest import Clock
from market import match_path
from market_renting import CALLS, Renting, renting
from sandbox import KEY, Row, Sandbox

V0 = "/api/v0"
COMMANDS = V0 + "/commands"
JOBS = COMMANDS + "/schedule_job/"
TEMPLATES, SSH, SECRETS = V0 + "/template/", V0 + "/ssh/", V0 + "/secrets/"
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOtherMadeUpKeyForTests me@там"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def box(clock: Clock) -> Iterator[Sandbox]:
    """A fresh market in which time passes only when a test says so."""
    with Sandbox(boot=30, clock=clock.now) as sandbox:
        yield sandbox


@pytest.fixture
def client(box: Sandbox) -> Client:
    return Client(box)


@pytest.fixture
def state(box: Sandbox) -> Renting:
    return renting(box.market)


@pytest.fixture
def number(client: Client, clock: Clock) -> int:
    """An instance that runs."""
    offer = client.search(**FREE, limit=1)[0]["id"]
    rented = client.rent(offer, runtype="ssh_direct ssh_proxy")
    clock.sleep(30)
    return rented


def stop(client: Client, clock: Clock, number: int) -> None:
    client.good("PUT", f"{V0}/instances/{number}/", {"state": "stopped"})
    clock.sleep(30)


def refused(client: Client, method: str, path: str, body: Any = None) -> Any:
    """The status and the slug of a refusal."""
    status, answer = client.ask(method, path, body)
    assert answer["success"] is False
    return status, answer.get("error")


def fetch(address: str, **headers: str) -> tuple[int, str]:
    """What is at an address, asked for without a key."""
    parts = urlsplit(address)
    line = http.client.HTTPConnection(parts.netloc, timeout=5)
    line.request("GET", f"{parts.path}?{parts.query}", headers=headers)
    answer = line.getresponse()
    text = answer.read().decode()
    line.close()
    return answer.status, text


def text_of(answer: Row) -> str:
    """The text of a result file, which is there at the second attempt."""
    assert fetch(answer["result_url"])[0] == 404
    status, text = fetch(answer["result_url"])
    assert status == 200
    return text


# ---------------------------------------------------------------- instances


def test_reboot(client: Client, clock: Clock, number: int) -> None:
    path = f"{V0}/instances/reboot/{number}/"
    before = client.instance(number)
    client.good("PUT", path, {})
    assert client.instance(number)["actual_status"] == "rebooting"
    clock.sleep(30)
    after = client.instance(number)
    assert (after["actual_status"], after["ports"]) == ("running", before["ports"])
    assert refused(client, "PUT", path, {"id": 1}) == (400, "invalid_args")
    stop(client, clock, number)
    assert refused(client, "PUT", path, {}) == (400, "invalid_args")
    path = V0 + "/instances/reboot/4001/"
    assert refused(client, "PUT", path, {}) == (400, "invalid_args")


def test_recycle(client: Client, clock: Clock, state: Renting, number: int) -> None:
    before, path = client.instance(number), f"{V0}/instances/recycle/{number}/"
    state.disk(number)["/workspace/result"] = 7
    client.good("PUT", path, {})
    seen = []
    for wait in (0, 10, 20):
        clock.sleep(wait)
        seen.append(client.instance(number)["actual_status"])
    assert seen == ["recycling", "loading", "running"]
    after = client.instance(number)
    assert after["ssh_port"] != before["ssh_port"]
    assert after["ports"] != before["ports"]
    assert "/workspace/result" not in state.disk(number)
    path = V0 + "/instances/recycle/1/"
    assert refused(client, "PUT", path, {}) == (400, "invalid_id")


def test_update_an_instance(client: Client, number: int) -> None:
    path = f"{V0}/instances/update_template/{number}/"
    changes = {"image": "x:2", "onstart": "a", "env": {"A": "b"}, "args": "-x 'y z'"}
    answer = client.good("PUT", path, changes)
    assert answer["updated_instance"]["id"] == number
    assert client.instance(number)["image_uuid"] == "example/image"
    client.good("PUT", f"{V0}/instances/recycle/{number}/", {})
    row = client.instance(number)
    assert (row["image_uuid"], row["onstart"]) == ("x:2", "a")
    assert (row["extra_env"], row["image_args"]) == ([["A", "b"]], ["-x", "y z"])
    template = client.good("GET", TEMPLATES)["templates"][0]
    client.good("PUT", path, {"template_hash_id": template["hash_id"]})
    assert client.instance(number)["template_id"] == template["id"]
    client.good("PUT", path, {})
    for body, refusal in (
        ({"id": number, "image": "x"}, (400, "invalid_args")),
        ({"onstart": "x"}, (400, "invalid_args")),
        ({"env": "-e A=b"}, (400, "invalid_args")),
        ({"env": {"A": 1}}, (400, "invalid_args")),
        ({"template_id": 1}, (404, "not_found")),
    ):
        assert refused(client, "PUT", path, body) == refusal


def test_prepay(box: Sandbox, client: Client, number: int) -> None:
    path = f"{V0}/instances/prepay/{number}/"
    row = box.market.rentals[number].row
    row["credit_discount_max"] = 0.4
    month, credit = row["dph_total"] * 720, box.market.user["credit"]
    box.market.user["credit"] = credit = 10 * month
    answer = client.good("PUT", path, {"amount": month})
    assert answer["timescale"] == pytest.approx(1)
    assert answer["discount_rate"] == pytest.approx(0.2)
    answer = client.good("PUT", path, {"amount": 2 * month})
    assert answer["timescale"] == pytest.approx(3)
    assert answer["discount_rate"] == pytest.approx(0.3)
    assert box.market.user["credit"] == pytest.approx(credit - 3 * month, abs=1e-3)
    assert refused(client, "PUT", path, {"amount": 8 * month}) == (411, None)
    assert refused(client, "PUT", path, {"amount": 0}) == (400, "invalid_args")
    assert refused(client, "PUT", path, {"amount": "1"}) == (400, "invalid_args")
    path = V0 + "/instances/prepay/1/"
    assert refused(client, "PUT", path, {"amount": 1}) == (400, None)


# ---------------------------------------------------------------- logs and commands


def test_logs(client: Client, state: Renting, number: int) -> None:
    def logs(**body: str) -> list[str]:
        path = f"{V0}/instances/request_logs/{number}/"
        return text_of(client.good("PUT", path, body)).split("\n")[:-1]

    first = logs()
    assert any("\x1b" in line for line in first)
    assert first[2:5] == ["", "", ""]
    state.log(number, "epoch 1 done", "epoch 2 done")
    second = logs()
    assert second[: len(first)] == first
    assert second[len(first) : -1] == ["epoch 1 done", "epoch 2 done"]
    assert second[-1].startswith("step ")
    assert logs(tail="3", filter="epoch [12]") == ["epoch 2 done"]
    assert logs(tail="0") == []
    assert logs(filter="epoch [") == []
    assert logs(daemon_logs="true")[0] == "docker pull: layer 7 of 7"


@pytest.mark.parametrize(
    ("wanted", "body", "refusal"),
    [
        (5001, {"tail": 10}, (400, "invalid_args")),
        (5001, {"tail": "-1"}, (400, "invalid_args")),
        (5001, {"daemon_logs": True}, (400, "invalid_args")),
        (5001, {"daemon_logs": "false"}, (400, "invalid_args")),
        (5001, {"lines": "1"}, (400, "invalid_args")),
        (1, {}, (404, "invalid_id")),
        (4001, {}, (403, "not_authorized")),
    ],
)
@pytest.mark.usefixtures("number")
def test_logs_are_refused(
    client: Client, wanted: int, body: Row, refusal: tuple[int, str]
) -> None:
    path = f"{V0}/instances/request_logs/{wanted}/"
    assert refused(client, "PUT", path, body) == refusal


def test_a_result_file(
    box: Sandbox, client: Client, clock: Clock, state: Renting, number: int
) -> None:
    state.misses, state.miss_status, state.wait = 2, 403, 5
    path = f"{V0}/instances/request_logs/{number}/"
    address = client.good("PUT", path, {})["result_url"]
    assert address.startswith(box.url + "/result/")
    assert [fetch(address)[0] for _ in range(3)] == [403] * 3
    clock.sleep(5)
    status, text = fetch(address)
    assert (status, text[-1]) == (200, "\n")
    assert fetch(address.partition("?")[0])[0] == 403
    assert fetch(box.url + "/result/0123.log")[0] == 404
    assert box.violations == []
    for leak in (
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": "Basic eDp5"},
        {"cookie": "a=b"},
        {"X-Api-Key": KEY},
    ):
        assert fetch(address, **leak)[0] == 400
    assert fetch(f"{address}&api_key={KEY}")[0] == 400
    assert len(box.violations) == 5


def test_a_result_file_at_the_address_of_an_earlier_one(
    client: Client, state: Renting, number: int
) -> None:
    state.same_address = True
    path = f"{V0}/instances/request_logs/{number}/"
    first = client.good("PUT", path, {})
    old = text_of(first)
    second = client.good("PUT", path, {})
    assert second["result_url"] == first["result_url"]
    assert fetch(second["result_url"]) == (200, old)
    assert fetch(second["result_url"])[1].startswith(old + "step")


def test_execute(client: Client, clock: Clock, number: int) -> None:
    path = f"{V0}/instances/command/{number}/"
    status, body = client.ask("PUT", path, {"command": "ls"})
    assert (status, body["error"]) == (400, "invalid_args")
    assert body["msg"] == "Invalid command given."
    stop(client, clock, number)

    def output(command: str) -> str:
        answer = client.good("PUT", path, {"command": command})
        assert answer["writeable_path"].startswith("/var/lib/docker/")
        return text_of(answer).replace(answer["writeable_path"], "ROOT")

    assert output("ls") == "root\nworkspace\n"
    assert "train.py\n" in output("ls workspace")
    assert output("ls -l /workspace/train.py").split()[4] == "4096"
    assert (
        output("du -s /workspace/checkpoints") == "716800\tROOT/workspace/checkpoints\n"
    )
    assert "directory" in output("rm /workspace/checkpoints")
    assert output("rm -rf /workspace/checkpoints/") == ""
    gone = "ls: ROOT/workspace/checkpoints: No such file or directory\n"
    assert output("ls /workspace/checkpoints") == gone


@pytest.mark.parametrize(
    ("wanted", "command", "refusal"),
    [
        (5001, "cat /etc/passwd", (400, "invalid_args")),
        (5001, "ls; reboot", (400, "invalid_args")),
        (5001, "ls 'a", (400, "invalid_args")),
        (5001, "", (400, "invalid_args")),
        (5001, "ls " + 510 * "x", (400, "invalid_args")),
        (5001, ["ls"], (400, "invalid_args")),
        (1, "ls", (400, "invalid_container_id")),
        (4001, "ls", (403, "not_authorized")),
    ],
)
def test_execute_refuses(
    client: Client,
    clock: Clock,
    number: int,
    wanted: int,
    command: Any,
    refusal: tuple[int, str],
) -> None:
    stop(client, clock, number)
    path = f"{V0}/instances/command/{wanted}/"
    assert refused(client, "PUT", path, {"command": command}) == refusal


# ---------------------------------------------------------------- snapshots, copies


def test_snapshots(client: Client, state: Renting, number: int) -> None:
    path = f"{V0}/instances/take_snapshot/{number}/"
    body = {
        "container_registry": "docker.io", "personal_repo": "docker.io/me/x",
        "docker_login_user": "me", "docker_login_pass": "secret", "pause": "true",
    }  # fmt: skip
    answer = client.good("POST", path, body)
    assert f"docker.io/me/x:instance_{number}_at_" in answer["msg"]
    assert "secret" not in str(answer)
    assert state.snapshots == [{"instance_id": number, **body}]
    for change in (
        {"id": number},
        {"personal_repo": "me/x"},
        {"personal_repo": None},
        {"personal_repo": "docker.io/me/x:latest"},
        {"pause": True},
        {"pause": "no"},
    ):
        refusal = refused(client, "POST", path, {**body, **change})
        assert refusal == (400, "invalid_args")
    path = V0 + "/instances/take_snapshot/1/"
    assert refused(client, "POST", path, body) == (404, "no_such_instance")


def sides(source: Any, target: Any) -> Row:
    paths = {"src_path": "/workspace", "dst_path": "/data"}
    return {"client_id": "me", "src_id": source, "dst_id": target, **paths}


def test_a_copy_between_instances(client: Client, clock: Clock, state: Renting) -> None:
    offers = [row["id"] for row in client.search(**FREE, limit=2)]
    one, two = [client.rent(offer) for offer in offers]
    clock.sleep(30)
    path = COMMANDS + "/copy_direct/"
    answer = client.good("PUT", path, sides(str(one), f"C.{two}"))
    assert answer["msg"].startswith("Remote to Remote copy initiated")
    assert "0%" in client.instance(two)["status_msg"]
    clock.sleep(5)
    assert client.instance(two)["status_msg"].endswith("25%")
    assert "/data/workspace/train.py" not in state.disk(two)
    clock.sleep(15)
    assert client.instance(two)["status_msg"].startswith("copy finished")
    assert state.disk(two)["/data/workspace/train.py"] == 4096

    client.good("PUT", path, {**sides(one, two), "src_path": "/root/"})
    client.good("DELETE", path, {"client_id": "me", "dst_id": str(two)})
    clock.sleep(20)
    assert client.instance(two)["status_msg"].startswith("success")
    assert "/data/.bashrc" not in state.disk(two)
    assert refused(client, "DELETE", path, {"dst_id": f"{two}:/x"})[0] == 400
    assert refused(client, "DELETE", path, {"dst_id": 1}) == (404, "no_such_user")


def test_a_copy_with_this_machine(client: Client, number: int) -> None:
    row, path = client.instance(number), COMMANDS + "/rsync/"
    host = row["public_ipaddr"].strip()
    up = client.good("PUT", path, sides(None, str(number)))
    assert up == {"success": True, "dst_addr": host, "dst_port": 5300}
    down = client.good("PUT", path, sides(f"C.{number}", None))
    assert down == {"success": True, "src_addr": host, "src_port": 5300}
    named = client.good("PUT", COMMANDS + "/copy_direct/", sides("local", str(number)))
    assert named == up
    assert refused(client, "PUT", path, sides(None, None))[0] == 400
    assert refused(client, "PUT", path, sides(str(number), str(number)))[0] == 400


@pytest.mark.parametrize(
    ("source", "target", "status"),
    [
        ("s3.1002", "5001", 200),
        ("drive", "5001", 200),
        ("vast.301", "5001", 200),
        ("5001", "vast.301", 400),
        ("s3.1001", "5001", 400),
        ("ftp.1", "5001", 400),
        ("vast", "5001", 400),
        ("5001:/x", "5001", 400),
        (True, "5001", 400),
        ("local", "local", 400),
        ("s3.1002", "local", 400),
        ("4001", "5001", 404),
        ("V.1", "5001", 404),
        ("vast.1", "5001", 404),
    ],
)
@pytest.mark.usefixtures("number")
def test_the_sides_of_a_copy(
    client: Client, source: Any, target: Any, status: int
) -> None:
    path = COMMANDS + "/copy_direct/"
    assert client.ask("PUT", path, sides(source, target))[0] == status
    pathless = {**sides(source, target), "dst_path": ""}
    assert client.ask("PUT", path, pathless)[0] == 400


def test_cloud_copies(
    client: Client, clock: Clock, state: Renting, number: int
) -> None:
    rows = client.ask("GET", V0 + "/users/cloud_integrations/")[1]
    assert rows[0] == {"id": 1001, "name": "drïve of the lab", "cloud_type": "drive"}
    path = COMMANDS + "/rclone/"
    body = {
        "src": "/a", "dst": "/workspace", "instance_id": str(number),
        "selected": "1001", "transfer": "Cloud To Instance", "flags": ["--dry-run"],
    }  # fmt: skip
    answer = client.good("POST", path, body)
    assert text_of(answer) == "rclone: done\n"
    assert state.cloud_copies == [body]
    clock.sleep(10)
    assert client.instance(number)["status_msg"].endswith("50%")
    client.good("DELETE", path, {"client_id": "me", "dst_id": number})
    assert client.instance(number)["status_msg"].startswith("success")
    for change in (
        {"instance_id": number},
        {"instance_id": "1"},
        {"selected": "7"},
        {"transfer": "both"},
        {"flags": ["--fast"]},
        {"flags": [1]},
        {"api_key": "x"},
    ):
        assert client.ask("POST", path, {**body, **change})[0] == 400
    assert refused(client, "DELETE", path, {"dst_id": str(number)})[0] == 400
    refusal = refused(client, "DELETE", path, {"dst_id": 1})
    assert refusal == (404, "no_such_instance")


# ---------------------------------------------------------------- schedules


def job(number: int, **more: Any) -> Row:
    return {
        "start_time": 1.79e9, "end_time": 1.8e9, "request_method": "PUT",
        "api_endpoint": f"/api/v0/instances/reboot/{number}/",
        "request_body": {"instance_id": number}, "day_of_the_week": None,
        "hour_of_the_day": 4, "frequency": "DAILY", "instance_id": number, **more,
    }  # fmt: skip


def test_schedules(client: Client, number: int) -> None:
    assert client.ask("GET", JOBS) == (200, [])
    first = client.good("POST", JOBS, job(number))["scheduled_job_id"]
    status, answer = client.ask("POST", JOBS, job(number, hour_of_the_day=5))
    assert (status, answer["scheduled_job_id"]) == (422, first)
    path = f"{JOBS}{first}/"
    client.good("PUT", path, job(number, hour_of_the_day=5))
    rows = client.ask("GET", JOBS)[1]
    assert [(row["id"], row["hour_of_the_day"]) for row in rows] == [(first, 5)]
    assert rows[0]["min_of_the_hour"] == 0
    client.good("DELETE", path, {})
    assert client.ask("GET", JOBS) == (200, [])
    assert refused(client, "DELETE", path, {}) == (404, "not_found")
    assert refused(client, "PUT", path, job(number)) == (404, "not_found")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"frequency": "HOURLY"}, 400),
        ({"frequency": "WEEKLY"}, 400),
        ({"frequency": "daily"}, 400),
        ({"hour_of_the_day": 24}, 400),
        ({"hour_of_the_day": "*"}, 400),
        ({"day_of_the_week": 7, "frequency": "WEEKLY"}, 400),
        ({"end_time": 1}, 400),
        ({"start_time": "today"}, 400),
        ({"api_endpoint": "/instances/"}, 400),
        ({"request_method": "GET"}, 400),
        ({"request_body": {"instance_id": 1}}, 400),
        ({"instance_id": None}, 400),
        ({"instance_id": 4001, "request_body": {}}, 404),
        ({"day_of_the_week": 0, "frequency": "WEEKLY"}, 200),
        ({"hour_of_the_day": None, "frequency": "HOURLY"}, 200),
    ],
    ids=str,
)
def test_a_job_that_makes_no_sense_is_refused(
    client: Client, number: int, change: Row, status: int
) -> None:
    assert client.ask("POST", JOBS, job(number, **change))[0] == status


# ---------------------------------------------------------------- volumes


def spaces(client: Client, **query: Any) -> list[Row]:
    return list(client.good("POST", V0 + "/volumes/search/", query)["offers"])


def test_search_volumes(client: Client) -> None:
    rows = spaces(client, verified={"eq": True}, disk_space={"gte": 300})
    assert rows
    assert all(row["disk_space"] >= 300 for row in rows)
    assert len(spaces(client, limit=2)) == 2
    cheap = spaces(client, order=[["storage_cost", "asc"]], allocated_storage=720)
    assert cheap[0]["storage_total_cost"] == pytest.approx(cheap[0]["storage_cost"])
    for query in (
        {"cuda_vers": {"gte": 12}},
        {"disk_space": {"gte": "300"}},
        {"limit": "3"},
        {"order": "score-"},
        {"type": "on-demand"},
    ):
        refusal = refused(client, "POST", V0 + "/volumes/search/", query)
        assert refusal == (400, "invalid_args")


def test_volumes(box: Sandbox, client: Client, clock: Clock) -> None:
    listing, path = V0 + "/volumes?owner=me&type=all_volume", V0 + "/volumes/"
    assert client.good("GET", listing)["volumes"] == []
    offer = spaces(client, machine_id={"in": [o["machine_id"] for o in free(client)]})[
        0
    ]
    order = {"id": offer["id"], "size": 20, "name": "data_1"}
    answer = client.good("PUT", path, order)
    volume = answer["volume_id"]
    assert answer["volume_name"] == f"V.{volume}"
    (row,) = client.good("GET", listing)["volumes"]
    assert (row["status"], row["label"], row["disk_space"]) == (
        "creating",
        "data_1",
        20,
    )
    clock.sleep(30)
    assert client.good("GET", listing)["volumes"][0]["status"] == "available"
    left = spaces(client, id={"eq": offer["id"]})[0]["disk_space"]
    assert left == offer["disk_space"] - 20
    for change, status in (
        ({"size": 20.5}, 400),
        ({"size": 10**6}, 400),
        ({"size": 0}, 400),
        ({"name": "a b"}, 400),
        ({"id": "1"}, 400),
        ({"id": 1}, 404),
        ({"price": 1}, 400),
    ):
        assert client.ask("PUT", path, {**order, **change})[0] == status

    here = next(o for o in free(client) if o["machine_id"] == offer["machine_id"])
    link = {"create_new": False, "volume_id": volume, "mount_path": "/mnt"}
    number = client.rent(here["id"], volume_info=link)
    shown = [{"volume_id": volume, "mount_path": "/mnt"}]
    assert client.instance(number)["volume_info"] == shown
    assert client.good("GET", listing)["volumes"][0]["instances"] == [number]
    refusal = refused(client, "DELETE", f"{path}?id={volume}", {})
    assert refusal == (400, "invalid_args")
    client.good("DELETE", f"{V0}/instances/{number}/", {})
    client.good("DELETE", f"{path}?id={volume}", {})
    assert client.good("GET", listing)["volumes"] == []
    missing = refused(client, "DELETE", f"{path}?id={volume}", {})
    assert missing == (404, "no_such_volume")
    assert refused(client, "DELETE", path, {"id": volume}) == (400, "invalid_args")
    assert client.ask("GET", V0 + "/volumes?owner=me&type=all")[0] == 400
    assert client.ask("GET", V0 + "/volumes")[0] == 400


def free(client: Client) -> list[Row]:
    return client.search(**FREE)


def test_a_new_volume_with_an_instance(box: Sandbox, client: Client) -> None:
    offer = next(o for o in free(client) if o["avail_vol_size"])
    wish = {
        "create_new": True, "volume_id": offer["avail_vol_ask_id"],
        "mount_path": "/mnt", "size": 30, "name": "new",
    }  # fmt: skip
    path = f"{V0}/asks/{offer['id']}/"
    for change, status in (
        ({"volume_id": 1}, 400),
        ({"size": 10**6}, 400),
        ({"mount_path": "mnt"}, 400),
        ({"create_new": False, "volume_id": 7}, 400),
        ({"create_new": False, "volume_id": 7, "size": None, "name": None}, 404),
        ({"create_new": "yes"}, 400),
    ):
        order = {"image": "x", "volume_info": {**wish, **change}}
        assert client.ask("PUT", path, order)[0] == status
    assert box.market.rented == []
    assert client.ask("PUT", path, {"image": "x", "volume_info": []})[0] == 400
    row = client.instance(client.rent(offer["id"], volume_info=wish))
    volume = box.market.stores["volumes"].get(row["volume_info"][0]["volume_id"])
    assert (volume["label"], volume["disk_space"]) == ("new", 30)
    assert volume["machine_id"] == row["machine_id"]
    client.good("DELETE", f"{V0}/instances/{row['id']}/", {})
    again = client.rent(offer["id"], env={f"-v V.{volume['id']}:/data": "1"})
    shown = [{"volume_id": volume["id"], "mount_path": "/data"}]
    assert client.instance(again)["volume_info"] == shown


def test_a_volume_is_of_one_machine(client: Client) -> None:
    one, two = [row["id"] for row in spaces(client, limit=2)]
    order = {"id": one, "size": 20}
    volume = client.good("PUT", V0 + "/volumes/", order)["volume_id"]
    path, body = V0 + "/volumes/copy/", {"src_id": volume, "dst_id": two}
    assert client.good("POST", path, body)["volume_name"] == f"V.{volume + 1}"
    client.good("POST", path, {**body, "size": 25, "disable_compression": True})
    assert client.ask("POST", path, {**body, "size": 19})[0] == 400
    assert client.ask("POST", path, {**body, "src_id": 1})[0] == 404
    assert client.ask("POST", path, {**body, "dst_id": 1})[0] == 404
    elsewhere = next(o for o in free(client) if o["avail_vol_ask_id"] not in (one, two))
    link = {"create_new": False, "volume_id": volume, "mount_path": "/mnt"}
    order = {"image": "x", "volume_info": link}
    assert client.ask("PUT", f"{V0}/asks/{elsewhere['id']}/", order)[0] == 400


# ---------------------------------------------------------------- backups


def test_backups(box: Sandbox, client: Client) -> None:
    path = V0 + "/instance_backups/"
    rows = client.good("GET", path)["backups"]
    assert {row["status"] for row in rows} == {"success", "pending", "error"}
    some = client.good("GET", path + "?contract_id=3077")["backups"]
    assert {row["contract_id"] for row in some} == {3077}
    assert client.ask("GET", path + "?contract_id=x")[0] == 400
    done, pending = [
        next(row["id"] for row in rows if row["status"] == status)
        for status in ("success", "pending")
    ]
    answer = client.good("GET", f"{path}{done}/download/")
    token = answer["authorization_token"]
    assert answer["expires_in_sec"] == 3600
    for file in answer["files"]:
        assert fetch(file["url"], Authorization=token)[0] == 200
    address = answer["files"][1]["url"]
    assert fetch(address)[0] == 401
    assert box.violations == []
    assert fetch(address, Authorization=f"Bearer {KEY}")[0] == 400
    assert len(box.violations) == 1
    lost = f"{box.url}/backup/{done}/x"
    assert fetch(lost, Authorization=token)[0] == 404
    refusal = refused(client, "GET", f"{path}{pending}/download/")
    assert refusal == (400, "backup_not_ready")
    assert refused(client, "GET", path + "1/download/") == (404, "not_found")


# ---------------------------------------------------------------- templates


def found_templates(client: Client, **filters: Any) -> list[Row]:
    query = quote(json.dumps(filters))
    answer = client.good(
        "GET", f"{TEMPLATES}?select_cols=[%22*%22]&select_filters={query}"
    )
    assert answer["templates_found"] == len(answer["templates"])
    return list(answer["templates"])


def test_search_templates(client: Client) -> None:
    everything = found_templates(client)
    assert any("\x1b" in row["name"] for row in everything)
    mine = found_templates(client, private={"eq": True})
    assert [row["name"] for row in mine] == ["my training"]
    popular = found_templates(client, count_created={"gt": 2000}, use_ssh={"eq": True})
    assert len(popular) == 2
    order = quote('[{"col":"name","dir":"desc"}]')
    query = f"{TEMPLATES}?select_cols=[%22name%22]&order_by={order}"
    rows = client.good("GET", query)["templates"]
    assert rows == sorted(rows, key=lambda row: str(row["name"]), reverse=True)
    for query in (
        'select_filters={"readme":{"eq":"x"}}',
        'select_filters={"id":{"eq":"1"}}',
        'order_by=[{"col":"readme"}]',
        "query=mars",
    ):
        assert client.ask("GET", TEMPLATES + "?" + quote(query, "=&"))[0] == 400


def test_templates(client: Client) -> None:
    body = {
        "name": "n", "image": "i", "tag": "t", "env": "-e A=b -p 80:80 -e 'C=d e'",
        "runtype": "jupyter", "jup_direct": True, "onstart": "go",
        "recommended_disk_space": 50, "docker_login_pass": "p",
    }  # fmt: skip
    made = client.good("POST", TEMPLATES, body)["template"]
    again = client.good("POST", TEMPLATES, body)
    assert again["template"]["id"] == made["id"]
    assert "Existing" in again["msg"]

    ours = {"client_id": "me", "template_hash_id": made["hash_id"], "env": {"C": "x"}}
    offers = [row["id"] for row in client.search(**FREE, limit=2)]
    path = f"{V0}/asks/{offers[0]}/"
    number = client.good("PUT", path, ours)["new_contract"]
    row = client.instance(number)
    assert (row["image_uuid"], row["disk_space"], row["onstart"]) == ("i:t", 50, "go")
    assert dict(row["extra_env"]) == {"A": "b", "-p 80:80": "1", "C": "x"}
    assert row["image_runtype"] == "jupyter_direc ssh_direc ssh_proxy"
    assert (row["template_id"], row["template_name"]) == (made["id"], "n")
    number = client.rent(offers[1], template_hash_id=made["hash_id"], image="mine")
    row = client.instance(number)
    assert (row["image_uuid"], row["disk_space"]) == ("mine", 10)

    names = {name: made[name] for name in ("id", "hash_id")}
    change = {**names, "name": "m", "image": "i", "runtype": "ssh"}
    changed = client.good("PUT", "/api/v1/template/", change)["template"]
    assert changed["id"] == made["id"]
    assert changed["hash_id"] != made["hash_id"]
    (row,) = found_templates(client, id={"eq": made["id"]})
    assert (row["name"], row["env"], row["docker_login_pass"]) == ("m", None, None)
    assert refused(client, "PUT", "/api/v1/template/", change) == (404, "not_found")
    client.good("DELETE", TEMPLATES, {"template_id": made["id"]})
    again = client.good("POST", TEMPLATES, body)["template"]
    client.good("DELETE", TEMPLATES, {"hash_id": again["hash_id"]})
    gone = refused(client, "DELETE", TEMPLATES, {"hash_id": again["hash_id"]})
    assert gone == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", TEMPLATES, {"name": "n"}),
        ("POST", TEMPLATES, {"image": "i", "name": ""}),
        ("POST", TEMPLATES, {"image": "i", "name": "n", "env": {"A": "b"}}),
        ("POST", TEMPLATES, {"image": "i", "name": "n", "env": "-e 'A"}),
        ("POST", TEMPLATES, {"image": "i", "name": "n", "runtype": "ssh_direct"}),
        ("POST", TEMPLATES, {"image": "i", "name": "n", "disk": 10}),
        ("PUT", "/api/v1/template/", {"hash_id": "x", "name": "n", "image": "i"}),
        ("DELETE", TEMPLATES, {}),
        ("DELETE", TEMPLATES, {"template_id": "330005"}),
        ("DELETE", TEMPLATES, {"template_id": 330005, "hash_id": "x"}),
    ],
)
def test_a_template_that_makes_no_sense_is_refused(
    client: Client, method: str, path: str, body: Row
) -> None:
    assert refused(client, method, path, body) == (400, "invalid_args")


def test_other_peoples_templates_stay(client: Client) -> None:
    theirs = found_templates(client)[0]
    refusal = refused(client, "DELETE", TEMPLATES, {"template_id": theirs["id"]})
    assert refusal == (404, "not_found")


def test_benchmarks(client: Client) -> None:
    path = V0 + "/benchmarks"
    first = client.good("GET", path + "?limit=500")
    assert len(first["benchmarks"]) == 200
    token = quote(first["next_token"])
    second = client.good("GET", f"{path}?limit=500&after_token={token}")
    assert (len(second["benchmarks"]), second["next_token"]) == (30, None)
    name = first["benchmarks"][0]["gpu_name"]
    filters = quote(json.dumps({"gpu_name": {"eq": name}, "num_gpus": {"lte": 8}}))
    rows = client.good("GET", f"{path}?select_filters={filters}")["benchmarks"]
    assert {row["gpu_name"] for row in rows} == {name}
    assert client.ask("GET", path + "?query=x")[0] == 400
    wrong = quote('{"num_gpus": {"eq": "1"}}')
    assert client.ask("GET", f"{path}?select_filters={wrong}")[0] == 400


# ---------------------------------------------------------------- keys and variables


def test_ssh_keys(client: Client) -> None:
    rows = client.ask("GET", SSH)[1]
    assert [row["id"] for row in rows] == [211, 212]
    made = client.good("POST", SSH, {"ssh_key": ED25519 + "\n"})["key"]
    assert (made["public_key"], made["user_id"]) == (ED25519, 48213)
    path = f"{SSH}{made['id']}/"
    ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlz"
    changed = client.good("PUT", path, {"id": made["id"], "ssh_key": ecdsa})["key"]
    assert changed["public_key"] == ecdsa
    assert client.ask("GET", SSH)[1][-1]["key"] == ecdsa
    for number in (211, 212, made["id"]):
        client.good("DELETE", f"{SSH}{number}/", {})
    assert client.ask("GET", SSH)[0] == 404
    assert refused(client, "DELETE", path, {}) == (400, "no_ssh_key")
    assert refused(client, "PUT", path, {"ssh_key": ecdsa}) == (400, "no_ssh_key")
    private = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA"
    for body in ({}, {"ssh_key": private}, {"ssh_key": "~/.ssh/id.pub"}, {"key": "x"}):
        assert refused(client, "POST", SSH, body) == (400, "no_ssh_key")
    assert client.ask("PUT", f"{SSH}1/", {"id": 2, "ssh_key": ecdsa})[0] == 400


def test_the_keys_of_an_instance(client: Client, number: int) -> None:
    path = f"{V0}/instances/{number}/ssh/"

    def attached() -> list[Row]:
        return list(json.loads(client.good("GET", path)["ssh_keys"]))

    assert [row["id"] for row in attached()] == [211, 212]
    assert client.good("POST", path, {"ssh_key": ED25519})["success"] is True
    assert attached()[-1] == {"id": 213, "name": "me@там", "public_key": ED25519}
    msg = "SSH key already associated with instance."
    status, answer = client.ask("POST", path, {"ssh_key": ED25519})
    assert (status, answer["success"], answer["msg"]) == (200, False, msg)
    client.good("DELETE", f"{path}213/", {})
    assert len(attached()) == 2
    gone = refused(client, "DELETE", f"{path}213/", {})
    assert gone == (404, "no_such_ssh_key")
    lost = f"{V0}/instances/1/ssh/"
    assert refused(client, "GET", lost) == (404, "no_such_instance")
    refusal = refused(client, "POST", lost, {"ssh_key": ED25519})
    assert refusal == (404, "no_such_instance")
    assert refused(client, "POST", path, {"ssh_key": "7"}) == (400, "no_ssh_key")


def test_variables(client: Client, state: Renting) -> None:
    body = {"key": "name", "value": "v-1.0"}
    client.good("POST", SECRETS, body)
    client.good("PUT", SECRETS, {"key": "NAME", "value": "w"})
    secrets = client.good("GET", SECRETS)["secrets"]
    assert secrets == {"HF_TOKEN": "hf_MadeUpForTheSandbox", "NAME": "w"}
    state.masked = True
    assert client.good("GET", SECRETS)["secrets"]["NAME"] == "*****"
    assert refused(client, "POST", SECRETS, body) == (400, "existing_key")
    client.good("DELETE", SECRETS, {"key": "Name"})
    gone = refused(client, "DELETE", SECRETS, {"key": "NAME"})
    assert gone == (400, "nonexistent_key")
    assert refused(client, "PUT", SECRETS, body) == (400, "nonexistent_key")
    for change, error in (
        ({"value": None}, "missing_input"),
        ({"value": 1}, "missing_input"),
        ({"value": ""}, "empty_input"),
        ({"value": "x" * 5000}, "input_too_long"),
        ({"value": "a b"}, "invalid_characters"),
        ({"key": "1A"}, "invalid_characters"),
    ):
        refusal = refused(client, "POST", SECRETS, {**body, **change})
        assert refusal == (400, error)
    for index in range(63):
        client.good("POST", SECRETS, {"key": f"K{index}", "value": "x"})
    assert refused(client, "POST", SECRETS, body) == (400, "max_secrets")


# ---------------------------------------------------------------- price increases


def test_price_increases(
    box: Sandbox, client: Client, state: Renting, number: int
) -> None:
    where = V0 + "/instances/"
    path = where + "pending-price-increases/"
    none = {"success": True, "count": 0, "truncated": False}
    assert client.good("GET", path) == {**none, "pending_price_increases": []}
    ids = [state.add_price_increase(number)["pending_price_increase_id"] for _ in "ab"]
    rows = client.good("GET", path)["pending_price_increases"]
    assert [row["pending_price_increase_id"] for row in rows] == ids
    assert rows[0]["new_gpu_costpersec"] > rows[0]["old_gpu_costpersec"]
    accept, reject = where + "accept-price-increase/", where + "reject-price-increase/"
    for body in (
        {},
        {"pending_price_increase_id": str(ids[0])},
        {"pending_price_increase_id": ids[0], "client_id": "me"},
    ):
        assert refused(client, "PUT", accept, body) == (400, "invalid_args")
    body = {"pending_price_increase_id": ids[0]}
    answer = client.good("PUT", accept, body)
    assert answer == {"success": True, **body, "contract_id": number}
    assert client.instance(number)["end_date"] == rows[0]["ask_end_date"]
    stale = refused(client, "PUT", accept, body)
    assert stale == (404, "no_pending_price_increase")
    client.good("PUT", reject, {"pending_price_increase_id": ids[1]})
    assert client.good("GET", path)["count"] == 0


# ---------------------------------------------------------------- all of them


def test_the_names_of_all_cards_need_no_key(box: Sandbox) -> None:
    names = Client(box, None).good("GET", V0 + "/gpu_names/unique/")["gpu_names"]
    assert "RTX 4090" in names
    assert Client(box).good("GET", V0 + "/gpu_names/unique/")["gpu_names"] == names


def test_a_path_with_several_placeholders() -> None:
    assert match_path(CALLS["detach_ssh"], V0 + "/instances/7/ssh/8/") == (
        7,
        ("7", "8"),
    )
    assert match_path(CALLS["backup_file"], "/backup/3/a%2Fb%20c") == (
        3,
        ("3", "a/b c"),
    )
    assert match_path(CALLS["backup_file"], "/backup/3/a/b") is None


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("no_list", {"success": True}),
        ("bad_list", "some text"),
        ("bad_rows", [1, 2, 3]),
        ("array", []),
    ],
)
def test_faults_of_a_bare_array(
    box: Sandbox, client: Client, kind: str, body: Any
) -> None:
    box.fault("ssh_keys", kind)
    status, raw = client.raw("GET", SSH)
    assert (status, json.loads(raw)) == (200, body)


@pytest.mark.parametrize(
    ("kind", "end"), [("nan", rb", NaN\]$"), ("bad_encoding", rb', "\xff\xfe"\]$')]
)
def test_odd_ends_of_a_bare_array(
    box: Sandbox, client: Client, kind: str, end: bytes
) -> None:
    box.fault("ssh_keys", kind)
    assert re.search(end, client.raw("GET", SSH)[1])


def test_thresholds() -> None:
    clock = Clock()
    with Sandbox(limits=True, clock=clock.now) as box:
        client = Client(box)
        assert client.ask("GET", SECRETS)[0] == 200
        text = "API requests too frequent: endpoint threshold=5.0"
        assert client.ask("GET", SECRETS) == (429, text)
        clock.sleep(5)
        assert client.ask("GET", SECRETS)[0] == 200
