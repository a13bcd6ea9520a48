"""What the sandbox promises about hosting, billing, accounts, teams and serverless."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from test_sandbox import FREE, INVOICES, Client

from conftest import Clock
from market import DAY
from market_account import (
    CALLS,
    CODES,
    MEMBER,
    SHAPES,
    STRANGERS_KEY,
    TEAM_OWNER,
    Account,
    account,
    expire_sessions,
    reshape,
)
from sandbox import KEY, Row, Sandbox, find_call

V0 = "/api/v0"
MACHINES, ROLES = V0 + "/machines", V0 + "/team/roles/"
KEYS, TFA, DEPLOYMENTS = V0 + "/auth/apikeys/", V0 + "/tfa/", V0 + "/deployments/"
ENDPOINTS, GROUPS = V0 + "/endptjobs/", V0 + "/autojobs/"
TRANSFER = V0 + "/commands/transfer_credit/"
USER = V0 + "/users/current/"
RIGHTS: Row = {
    "api": {"instance_read": {}, "misc": {"api.search": {"constraints": {}}}}
}
ODD_ROLE = "dev/ops 100% 名前"
ALL_DAYS = {"gte": 0, "lte": 1e11}


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
def state(box: Sandbox) -> Account:
    return account(box.market)


@pytest.fixture(scope="module")
def reader() -> Iterator[Client]:
    """A connection to a market that no test changes."""
    with Sandbox() as box:
        yield Client(box)


def filters(path: str, more: str = "", **tests: Any) -> str:
    """The path of a list with filters."""
    return f"{path}?select_filters={quote(json.dumps(tests))}{more}"


def invoices(more: str = "", **tests: Any) -> str:
    return filters("/api/v1/invoices/", more, **{"when": ALL_DAYS, **tests})


def charges(more: str = "", **tests: Any) -> str:
    return filters(V0 + "/charges/", more, **{"day": ALL_DAYS, **tests})


def rows(client: Client, path: str) -> list[Any]:
    """The rows of a call that answers with a bare array."""
    status, value = client.ask("GET", path)
    assert status == 200
    assert isinstance(value, list)
    return value


def results(client: Client, path: str) -> list[Row]:
    return list(client.good("GET", path)["results"])


def credit(client: Client) -> float:
    return float(client.good("GET", USER)["credit"])


def later(box: Sandbox, days: float) -> int:
    """Unix seconds some days from now."""
    return int(box.market.now() + days * DAY)


# ---------------------------------------------------------------- every call once

ONCE: list[tuple[str, str, Any]] = [
    ("GET", MACHINES + "/7101?owner=me", None),
    ("PUT", MACHINES + "/7101/cleanup/", {}),
    ("PUT", MACHINES + "/defrag_offers/", {"machine_ids": [7101, 7102]}),
    ("POST", MACHINES + "/7103/force_delete/", {}),
    ("GET", MACHINES + "/7101/reports/", None),
    ("PUT", MACHINES + "/7101/dnotify/", {"sdate": "{tomorrow}", "duration": 2}),
    ("PUT", MACHINES + "/7101/cancel_maint/", {"client_id": "me", "machine_id": 7101}),
    ("GET", MACHINES + "/maintenances?owner=me&machine_ids=[7101,7102]", None),
    ("POST", V0 + "/volumes/", {"size": 15, "machine": 7101, "price_disk": 0.1}),
    ("POST", V0 + "/volumes/unlist", {"id": 30007101}),
    ("GET", V0 + "/users/me/machine-earnings?owner=me&sday=1&eday=1e5", None),
    ("GET", V0 + "/metrics/gpu/current/", None),
    ("GET", V0 + "/metrics/gpu/history/", None),
    ("GET", V0 + "/metrics/gpu/locations/", None),
    ("GET", invoices(), None),
    ("GET", charges(), None),
    ("GET", V0 + "/instances/balance/{instance}/?owner=me", None),
    ("GET", V0 + "/subaccounts?owner=me", None),
    ("GET", V0 + "/users/me/ipaddrs?owner=me", None),
    ("PUT", TRANSFER, {"sender": "me", "recipient": "61077", "amount": 1}),
    ("GET", V0 + "/audit_logs/", None),
    ("POST", KEYS, {"name": "x"}),
    ("GET", KEYS, None),
    ("GET", KEYS + "90417/", None),
    ("DELETE", KEYS + "90466/", {}),
    ("GET", TFA + "status/", None),
    ("POST", TFA + "email/", {}),
    ("POST", TFA + "sms/", {}),
    ("POST", TFA + "sms/resend/", {"secret": "{sms}"}),
    ("POST", TFA, {"code": CODES["totp"], "tfa_method": "totp"}),
    ("POST", V0 + "/team/", {"team_name": "x"}),
    ("POST", ROLES, {"name": "x", "permissions": RIGHTS}),
    ("GET", V0 + "/team/roles-full/", None),
    ("GET", ROLES + "manager/", None),
    ("PUT", ROLES + "2/", {"name": "boss", "permissions": RIGHTS}),
    ("DELETE", ROLES + "member/", {}),
    ("POST", V0 + "/team/invite/?email=a@example.org&role=boss", {}),
    ("GET", V0 + "/team/members/", None),
    ("DELETE", V0 + f"/team/members/{MEMBER}/", {}),
    ("DELETE", V0 + "/team/", {}),
    ("POST", ENDPOINTS, {"endpoint_name": "x"}),
    ("GET", ENDPOINTS, None),
    ("PUT", ENDPOINTS + "703/", {"endptjob_id": 703, "min_load": 1}),
    ("POST", GROUPS, {"endpoint_id": 703, "template_hash": "x"}),
    ("GET", GROUPS, None),
    ("PUT", GROUPS + "802/", {"autojob_id": 802, "gpu_ram": 16}),
    ("DELETE", GROUPS + "802/", {"client_id": "me", "autojob_id": 802}),
    ("POST", V0 + "/workergroups/", {"endpoint_name": "x", "search_params": "a=1"}),
    ("GET", V0 + "/workergroups/", None),
    ("PUT", V0 + "/workergroups/803/", {"launch_args": "--disk 8"}),
    ("DELETE", V0 + "/workergroups/803/", {}),
    ("DELETE", ENDPOINTS + "703/", {"client_id": "me", "endptjob_id": 703}),
    ("POST", "/get_endpoint_logs/", {"id": 701}),
    ("POST", "/get_autogroup_logs/", {"id": 801}),
    ("POST", "/get_workergroup_logs/", {"id": 801, "tail": 5}),
    ("POST", "/get_endpoint_workers/", {"id": 701}),
    ("POST", "/update_workers/", {"workergroup_id": 801}),
    ("GET", V0 + "/deployments", None),
    ("GET", DEPLOYMENTS, None),
    ("GET", V0 + "/deployment/644/", None),
    ("GET", V0 + "/deployment/644/versions/", None),
    ("POST", V0 + "/deployment/644/start/", {}),
    ("POST", V0 + "/deployment/644/stop/", {}),
    ("DELETE", V0 + "/deployment/646/", {}),
    ("DELETE", DEPLOYMENTS, {"name": "square"}),
]


def test_every_call_once(box: Sandbox, client: Client, state: Account) -> None:
    instance = client.rent(client.search(**FREE, limit=1)[0]["id"])
    made: set[str] = set()
    for method, path, sent in ONCE:
        path = path.replace("{instance}", str(instance))
        body = dict(sent) if sent is not None else None
        if body and body.get("sdate"):
            body["sdate"] = later(box, 1)
        if body and body.get("secret"):
            body["secret"] = list(state.challenges)[-1]
        status, answer = client.ask(method, path, body)
        assert status == 200, (method, path, answer)
        name = find_call(method, path.partition("?")[0])[0]
        vital = CALLS[name].vital
        assert not vital or vital in answer
        made.add(name)
    assert made == set(CALLS)
    assert box.violations == []


@pytest.mark.parametrize(
    "body",
    [{"client_id": "you"}, {"api_key": KEY}, {"amount": "1"}, {"amuont": 1}, []],
    ids=str,
)
def test_a_body_that_makes_no_sense_is_refused(client: Client, body: Any) -> None:
    sent = {"sender": "me", "recipient": "61077", "amount": 1, **dict(body)}
    status, answer = client.ask("PUT", TRANSFER, sent if body else body)
    assert (status, answer["error"]) == (400, "invalid_args")


def test_a_key_in_a_body_is_recorded(box: Sandbox, client: Client) -> None:
    assert client.ask("POST", "/get_endpoint_logs/", {"api_key": KEY})[0] == 400
    assert box.violations == ["POST /get_endpoint_logs/: the key in the body"]


@pytest.mark.parametrize(
    "path",
    [
        MACHINES + "/7101?owner=me&limit=1",
        V0 + "/users/me/machine-earnings?owner=me&machid=null",
        V0 + "/users/me/machine-earnings?owner=me&sday=x",
        V0 + "/users/me/machine-earnings?owner=me&sday=nan",
        V0 + "/metrics/gpu/current/?verified=true",
        V0 + "/metrics/gpu/current/?num_gpus=3",
        V0 + "/metrics/gpu/history/?step=10",
        V0 + "/metrics/gpu/history/?start=5&end=4",
        V0 + "/metrics/gpu/history/?start=0&step=60",
        MACHINES + "/maintenances?owner=me",
        MACHINES + '/maintenances?owner=me&machine_ids=["7101"]',
        V0 + "/subaccounts",
    ],
)
def test_a_query_that_makes_no_sense_is_refused(reader: Client, path: str) -> None:
    assert reader.ask("GET", path)[0] == 400


def test_a_get_has_no_body(reader: Client) -> None:
    status, answer = reader.ask("GET", ENDPOINTS, {"client_id": "me"})
    assert (status, answer["error"]) == (400, "invalid_args")


# ---------------------------------------------------------------- hosting


def test_one_machine(box: Sandbox, client: Client) -> None:
    path = MACHINES + "/7102?owner=me"
    listed = client.good("GET", MACHINES + "?owner=me")["machines"][1]
    row = rows(client, path)[0]
    assert {**row, "earn_day": 0} == {**listed, "earn_day": 0}
    reshape(box.market, "machine", "machines")
    assert client.good("GET", path)["machines"] == [row]
    reshape(box.market, "machine", "object")
    assert client.good("GET", path) == row
    assert rows(client, MACHINES + "/1?owner=me") == []
    reshape(box.market, "no_machine", "404")
    assert client.ask("GET", MACHINES + "/1?owner=me")[0] == 404


def test_cleaning_up_a_machine(client: Client) -> None:
    path = MACHINES + "/7102/cleanup/"
    counts = [client.good("PUT", path, {})["num_deleted"] for _ in range(2)]
    assert counts == [3, 0]
    assert client.ask("PUT", MACHINES + "/1/cleanup/", {})[0] == 403


def test_deleting_a_machine(client: Client) -> None:
    where = {"machine_id": {"eq": 7101}}
    assert client.search(**where)
    status, answer = client.ask("POST", MACHINES + "/7102/force_delete/", {})
    assert (status, "rentals" in answer["msg"]) == (400, True)
    client.good("POST", MACHINES + "/7101/force_delete/", {})
    assert client.search(**where) == []
    assert client.ask("POST", MACHINES + "/7101/force_delete/", {})[0] == 403


def test_defragmenting_refuses_others_machines(client: Client) -> None:
    path = MACHINES + "/defrag_offers/"
    assert client.ask("PUT", path, {"machine_ids": [7101, 1]})[0] == 403
    assert client.ask("PUT", path, {"machine_ids": []})[0] == 400


def test_reports(client: Client) -> None:
    found = rows(client, MACHINES + "/7102/reports/")
    assert [row.keys() for row in found] == [{"problem", "message", "created_at"}] * 3
    assert "\x1b" in found[1]["message"]
    assert rows(client, MACHINES + "/7101/reports/") == []
    assert client.ask("GET", MACHINES + "/1/reports/")[0] == 404


def test_maintenance(box: Sandbox, client: Client) -> None:
    ids = quote("[7101, 7102, 7104, 1]")
    path = MACHINES + f"/maintenances?owner=me&machine_ids={ids}"

    def machines() -> list[int]:
        return [row["machine_id"] for row in rows(client, path)]

    assert machines() == [7102, 7104]
    start = later(box, 1)
    for hours in (0.5, 3.9):
        body = {"client_id": "me", "sdate": start, "duration": hours}
        sent = client.good("PUT", MACHINES + "/7102/dnotify/", body)
        assert sent["you_sent"] == "2 notifications sent"
    windows = rows(client, path)
    assert [row["duration_hours"] for row in windows] == [4, 1, 3, 2]
    assert windows[1]["end_time"] - windows[1]["start_time"] == 3600
    assert windows[1]["maintenance_category"] == "not provided"
    for number, count in ((7102, 3), (7104, 0)):
        body = {"client_id": "me", "machine_id": number}
        answer = client.good("PUT", MACHINES + f"/{number}/cancel_maint/", body)
        assert answer["msg"].startswith(f"deleted {count} ")
    assert machines() == [7104]


@pytest.mark.parametrize(
    ("machine", "change", "status"),
    [
        (1, {}, 404),
        (7102, {"sdate": "2027-01-01T00:00:00Z"}, 400),
        (7102, {"sdate": None}, 400),
        (7102, {"sdate": 1e9}, 400),
        (7102, {"sdate": 1e10}, 400),
        (7102, {"duration": 0}, 400),
        (7102, {"duration": "2"}, 400),
        (7102, {"maintenance_category": "cpu"}, 400),
        (7102, {"maintenance_reason": "x"}, 400),
    ],
    ids=str,
)
def test_maintenance_that_makes_no_sense(
    box: Sandbox, client: Client, machine: int, change: Row, status: int
) -> None:
    body = {"sdate": later(box, 1), "duration": 2, **change}
    assert client.ask("PUT", MACHINES + f"/{machine}/dnotify/", body)[0] == status
    assert len(account(box.market).windows) == 1


def test_a_window_that_is_not_ones_own_to_cancel(client: Client) -> None:
    body = {"client_id": "me", "machine_id": 7101}
    assert client.ask("PUT", MACHINES + "/7102/cancel_maint/", body)[0] == 400
    body = {"client_id": "me", "machine_id": 1}
    status, answer = client.ask("PUT", MACHINES + "/1/cancel_maint/", body)
    assert (status, answer["msg"]) == (404, "No such machine id")


def test_volume_offers(client: Client, state: Account) -> None:
    path = V0 + "/volumes/"
    body = {"size": 40, "machine": [7101, 7102], "price_disk": 0.2}
    assert client.good("POST", path, body)["offer_ids"] == [30007101, 30007102]
    row = client.search(machine_id={"eq": 7102}, **FREE)[0]
    assert (row["avail_vol_ask_id"], row["avail_vol_size"]) == (30007102, 40)
    state.active_volumes.add(30007101)
    for ident, said in (
        (None, "You must pass in `id` in the body of the request"),
        (1, "Volume listing does not exist"),
        (30007101, "Unable to delete active volume listing"),
    ):
        status, answer = client.ask("POST", path + "unlist", {"id": ident})
        assert (status, answer["msg"]) == (400, said)
    gone = client.good("POST", path + "unlist", {"id": 30007102})
    assert gone["msg"] == "Unlisted Volume 30007102."
    assert client.ask("POST", path + "unlist", {"id": 30007102})[0] == 400


@pytest.mark.parametrize(
    "change",
    [{"size": 0}, {"size": "9"}, {"price_disk": -1}, {"end_date": 1}, {"machine": []}],
    ids=str,
)
def test_volume_offers_that_make_no_sense(client: Client, change: Row) -> None:
    body = {"size": 15, "machine": 7101, "price_disk": 0.1, **change}
    assert client.ask("POST", V0 + "/volumes/", body)[0] == 400


def test_no_least_chunk_is_refused(client: Client) -> None:
    body = {"machine": 7101, "price_gpu": 1, "min_chunk": None}
    status, answer = client.ask("PUT", MACHINES + "/create_asks/", body)
    assert (status, answer["error"]) == (400, "invalid_args")


def test_earnings(box: Sandbox, client: Client) -> None:
    today = int(box.market.now() / DAY)

    def earned(start: float, end: float, more: str = "") -> Row:
        path = V0 + "/users/me/machine-earnings?owner=me"
        return client.good("GET", f"{path}&sday={start}&eday={end}{more}")

    answer = earned(today - 6, today)
    assert [row["day"] for row in answer["per_day"]] == [*range(today - 6, today + 1)]
    assert [row["machine_id"] for row in answer["per_machine"]] == [*range(7101, 7105)]
    for name in ("per_day", "per_machine"):
        gpu = math.fsum(row["gpu_earn"] for row in answer[name])
        assert gpu == pytest.approx(answer["summary"]["total_gpu"])
    one = earned(today - 6.5, today, "&machid=7102")
    assert [row["machine_id"] for row in one["per_machine"]] == [7102]
    assert 0 < one["summary"]["total_gpu"] < answer["summary"]["total_gpu"]
    assert earned(0, 1e9)["per_day"][0]["day"] > 0
    assert earned(today, today - 3)["per_day"] == []


# ---------------------------------------------------------------- metrics


def test_gpu_metrics(reader: Client) -> None:
    path = V0 + "/metrics/gpu/current/?verified="
    whole = {row["gpu_name"]: row for row in reader.good("GET", path + "all")["gpus"]}
    part = {row["gpu_name"]: row for row in reader.good("GET", path + "yes")["gpus"]}
    row = whole["RTX 4090"]
    assert row["total"] == row["available"] + row["unavailable"]
    assert row["total"] > part["RTX 4090"]["total"]
    assert part["RTX 4090"]["avail_unverified"] == 0
    assert row["price_p10"] <= row["price_median"] <= row["price_p90"]
    path += "all&num_gpus=8&hosting_type=secure_cloud"
    assert len(reader.good("GET", path)["gpus"]) < len(whole)


def test_gpu_trends(reader: Client) -> None:
    path = V0 + "/metrics/gpu/history/?verified=all"
    gpus = reader.good("GET", path)["gpus"]
    assert set(gpus) == {"RTX 3090", "RTX 4090", "RTX 5090"}
    series = gpus["RTX 4090"]["supply_demand"]
    assert {len(values) for values in series.values()} == {503}
    path += "&start=1000000&end=1086400&step=3600&gpu_name="
    gpus = reader.good("GET", path + "RTX_4090,%20A40,nothing")["gpus"]
    assert set(gpus) == {"RTX 4090", "A40"}
    assert gpus["A40"]["pricing"]["timestamps"][:2] == [1000000, 1003600]
    gpus = reader.good("GET", path + "all")["gpus"]
    assert any("rented_p10" not in gpu["pricing"] for gpu in gpus.values())
    assert len(gpus) > 10


def test_gpu_locations(reader: Client) -> None:
    found = reader.good("GET", V0 + "/metrics/gpu/locations/")["locations"]
    assert {row.get("state") for row in found} > {"rented", "available", None}
    assert any("\x1b" in (row["city"] or "") for row in found)


def test_metrics_are_for_hosts(box: Sandbox, client: Client) -> None:
    paths = [V0 + f"/metrics/gpu/{name}/" for name in ("current", "history")]
    reshape(box.market, "metrics", "renter")
    assert [client.ask("GET", path)[0] for path in paths] == [401, 401]
    reshape(box.market, "metrics", "needs_machine")
    assert all(client.good("GET", path)["needs_machine"] for path in paths)


# ---------------------------------------------------------------- billing


def test_payments(reader: Client) -> None:
    found = results(reader, invoices())
    assert {row["type"] for row in found} == {
        "credit", "transfer", "payout", "refund", "reserved",
    }  # fmt: skip
    times = [row["start"] for row in found if row["start"] is not None]
    assert times == sorted(times, reverse=True)
    oldest = [r["start"] for r in results(reader, invoices("&latest_first=false"))]
    assert [when for when in oldest if when is not None] == times[::-1]
    assert any(row["end"] is None and row["start"] for row in found)
    some = results(reader, invoices(service={"in": ["transfer", "coinbase"]}))
    assert {row["metadata"]["service"] for row in some} == {"transfer", "coinbase"}
    none = results(reader, invoices(service={"neq": "stripe_payments"}))
    assert 0 < len(none) < len(found)
    order = quote('[{"col":"amount_cents","dir":"asc"}]')
    amounts = [
        float(r["amount"]) for r in results(reader, invoices(f"&order_by={order}"))
    ]
    assert amounts == sorted(amounts)


def test_payments_need_a_range(reader: Client) -> None:
    for path in ("/api/v1/invoices/", invoices(when={}), invoices(when={"gt": "x"})):
        answer = reader.good("GET", path)
        assert (answer["success"], answer["results"]) == (False, [])
        assert answer["error"] == "Invalid date range"


@pytest.mark.parametrize(
    "path",
    [
        invoices("&limit=0"),
        invoices("&limit=x"),
        invoices("&order_by=[1]"),
        invoices("&latest_first=1"),
        invoices("&format=tree"),
        invoices(service={"eq": "stripe"}),
        invoices(service={"lt": "transfer"}),
        invoices(day={"gte": 0}),
        charges(day={"gte": 0}),
        charges(day={"gte": 0, "lte": "9"}),
        charges(day={"gt": 0, "lte": 9}),
        charges(type={"in": ["gpu"]}),
        charges(type={"eq": "instance"}),
        charges("&format=list"),
    ],
)
def test_lists_of_bills_that_make_no_sense(reader: Client, path: str) -> None:
    status, answer = reader.ask("GET", path)
    assert (status, answer["success"]) == (400, False)


@pytest.mark.parametrize("path", [invoices(), charges()])
def test_pages_of_bills(reader: Client, path: str) -> None:
    whole, pages, token = results(reader, path + "&limit=100"), [], ""
    while token is not None:
        answer = reader.good("GET", f"{path}&limit=4&after_token={quote(token)}")
        pages += answer["results"]
        assert answer["count"] == len(answer["results"])
        assert answer["total"] == len(whole)
        token = answer["next_token"]
    assert pages == whole
    token = reader.good("GET", path + "&limit=1")["next_token"]
    assert reader.good("GET", f"{path}&after_token={token}")["count"] > 10
    for more in ("&after_token=%00", f"&latest_first=false&after_token={token}"):
        status, answer = reader.ask("GET", path + more)
        assert (status, answer["error"]) == (400, "invalid_token")


def test_charges(reader: Client) -> None:
    status, answer = reader.ask("GET", V0 + "/charges/")
    assert (status, answer["msg"][:17]) == (400, "Must provide both")
    found = results(reader, charges("&limit=500"))
    labels = Counter(row["metadata"].get("label") for row in found)
    assert labels["train"] == 3
    assert len(labels) > 3
    row = next(row for row in found if row["source"] == "instance-4711")
    assert [item["type"] for item in row["items"]] == ["gpu", "disk", "bwd", "bwu"]
    parts = math.fsum(item["amount"] for item in row["items"])
    assert parts == pytest.approx(row["amount"], abs=0.001)
    old = [item for row in found for item in row["items"]]
    assert {item["type"] for item in old} == {"gpu", "disk", "bwd", "bwu"}
    for kind, source in (("volume", "volume-6611"), ("serverless", "instance-4734")):
        some = results(reader, charges(type={"in": [kind]}))
        assert some[0]["source"] == source
    assert len(results(reader, charges(type={"in": ["instance", "volume"]}))) > 30


def test_charges_of_some_days(box: Sandbox, client: Client) -> None:
    week = {"gte": later(box, -7), "lte": later(box, 0)}
    ends = [row["end"] for row in results(client, charges(day=week))]
    days = [end for end in ends if end is not None]
    assert days
    assert all(week["gte"] <= day <= week["lte"] for day in days)


def test_charges_as_a_tree(box: Sandbox, client: Client) -> None:
    table = results(client, charges("&limit=500", type={"in": ["serverless"]}))
    path = charges("&limit=500&format=tree", type={"in": ["serverless"]})
    tree = results(client, path)
    assert [row["source"] for row in tree] == ["endpoint-702", "endpoint-701"]
    assert {row["type"] for row in tree} == {"serverless"}
    sums = [math.fsum(row["amount"] for row in part) for part in (table, tree)]
    assert sums[0] == pytest.approx(sums[1])
    groups = tree[1]["items"]
    sources = {row["source"]: len(row["items"]) for row in groups}
    assert sources == {"workergroup-801": 2, "workergroup-802": 1}
    assert tree[0]["items"][0]["source"] == "instance-4734"
    whole = results(client, charges("&limit=500&format=tree"))
    assert len(whole) == len(results(client, charges("&limit=500"))) - 2
    reshape(box.market, "tree", "flat")
    assert [row["items"] for row in results(client, path)] == [[], []]


def test_a_rental_is_charged_under_its_label(box: Sandbox, client: Client) -> None:
    client.rent(client.search(**FREE, limit=1)[0]["id"], label="mine")
    row = results(client, charges(day={"gte": later(box, -1), "lte": 1e11}))[0]
    assert (row["source"], row["metadata"]) == ("instance-5001", {"label": "mine"})
    assert row["items"][0]["type"] == "bwd"


def test_deposits(client: Client) -> None:
    path = V0 + "/instances/balance/{}/?owner=me"
    number = client.rent(client.search(**FREE, limit=1)[0]["id"])
    assert client.good("GET", path.format(number))["refundable_deposit"] == 0
    status, answer = client.ask("GET", path.format(4001))
    assert (status, answer["error"]) == (404, "no_such_instance")


def test_subaccounts(box: Sandbox, client: Client, state: Account) -> None:
    path = V0 + "/subaccounts?owner=me"
    plain = client.good("GET", path)["users"]
    assert plain[0].keys() == {"id", "parent_id", "key_id", "created_at", "deleted_at"}
    reshape(box.market, "subaccounts", "users")
    assert client.good("GET", path)["users"][1]["api_key"]
    state.may_have_subaccounts = False
    assert client.ask("GET", path)[0] == 400


def test_addresses(box: Sandbox, client: Client) -> None:
    path = V0 + "/users/me/ipaddrs?owner=me"
    assert results(client, path)[0].keys() == {"ip", "first_seen", "first_location"}
    reshape(box.market, "ipaddrs", "ip_address")
    assert {"ip_address", "timestamp"} < results(client, path)[0].keys()


def test_giving_credit(client: Client, state: Account) -> None:
    before = credit(client)
    for recipient in ("zoe@example.org", 61077):
        body = {"sender": "me", "recipient": recipient, "amount": 2.5}
        client.good("PUT", TRANSFER, body)
    assert credit(client) == pytest.approx(before - 5)
    assert state.transfers == [(MEMBER, 2.5), (61077, 2.5)]
    bills = client.good("GET", INVOICES)["invoices"]
    assert [row["amount"] for row in bills[-2:]] == [2.5, 2.5]
    rows = results(client, invoices(service={"eq": "transfer"}))
    assert [row["type"] for row in rows] == ["transfer"] * 3


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"amount": 0.001}, "invalid_args"),
        ({"amount": -5}, "invalid_args"),
        ({"amount": math.nan}, "invalid_args"),
        ({"amount": None}, "invalid_args"),
        ({"sender": "you"}, "invalid_args"),
        ({"recipient": "zoe"}, "invalid_params"),
        ({"recipient": "nobody@example.org"}, "invalid_recipient"),
        ({"recipient": "lukasz@example.org"}, "invalid_recipient"),
        ({"recipient": "48213"}, "invalid_recipient"),
        ({"amount": 5000}, "insufficient_balance"),
    ],
    ids=str,
)
def test_credit_is_not_given(client: Client, change: Row, error: str) -> None:
    before = credit(client)
    body = {"sender": "me", "recipient": "zoe@example.org", "amount": 1, **change}
    status, answer = client.ask("PUT", TRANSFER, body)
    assert (status, answer["error"]) == (400, error)
    assert credit(client) == before


def test_audit_logs(reader: Client) -> None:
    found = rows(reader, V0 + "/audit_logs/")
    assert {row["args"] is None for row in found} == {True, False}
    assert any("key" in (row["args"] or {}) for row in found)


# ---------------------------------------------------------------- keys


def test_a_key_from_create_to_delete(box: Sandbox, client: Client) -> None:
    body = {"name": "ci", "permissions": RIGHTS, "key_params": None}
    made = client.good("POST", KEYS, body)
    assert made["permissions"] == RIGHTS
    assert Client(box, made["key"]).ask("GET", USER)[0] == 200
    row = client.good("GET", KEYS + f"{made['id']}/")
    assert (row["rights"], row["name"], "key" in row) == (RIGHTS, "ci", False)
    assert row in client.good("GET", KEYS)["apikeys"]
    reshape(box.market, "api_keys", "with_key")
    listed = client.good("GET", KEYS)["apikeys"]
    assert [row["key"] for row in listed if row["id"] == made["id"]] == [made["key"]]
    gone = client.ask("DELETE", KEYS + f"{made['id']}/", {})
    assert gone == (200, '"Successfully Deleted API Key"')
    assert Client(box, made["key"]).ask("GET", USER)[0] == 401
    assert client.ask("GET", KEYS + f"{made['id']}/")[0] == 404


def test_a_key_without_permissions_may_do_everything(client: Client) -> None:
    made = client.good("POST", KEYS, {"name": "x"})
    assert made["permissions"] is False
    assert client.good("GET", KEYS + f"{made['id']}/")["rights"] == "all"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"name": None}, "invalid_args"),
        ({"name": "x" * 256}, "invalid_args"),
        ({"permissions": "x"}, "invalid_args"),
        ({"key_params": "x"}, "invalid_args"),
        ({"permissions": {}}, "missing_permissions"),
        ({"permissions": {"read": True}}, "invalid_permissions"),
        ({"permissions": {"api": {"manage": {}}}}, "invalid_permissions"),
        ({"permissions": {"api": {"misc": True}}}, "invalid_permissions"),
    ],
    ids=str,
)
def test_keys_that_make_no_sense(client: Client, change: Row, error: str) -> None:
    status, answer = client.ask("POST", KEYS, {"name": "x", **change})
    assert (status, answer["error"]) == (400, error)


def test_the_answer_to_deleting_a_key(box: Sandbox, client: Client) -> None:
    assert client.ask("DELETE", KEYS + f"{STRANGERS_KEY}/", {})[0] == 403
    assert client.ask("DELETE", KEYS + "1/", {})[0] == 404
    reshape(box.market, "deleted_api_key", "text")
    text = "Successfully Deleted API Key"
    assert client.ask("DELETE", KEYS + "90466/", {}) == (200, text)
    made = client.good("POST", KEYS, {"name": "x"})
    reshape(box.market, "deleted_api_key", "object")
    assert client.good("DELETE", KEYS + f"{made['id']}/", {})["msg"] == text
    client.good("DELETE", KEYS + "90417/", {})
    assert client.ask("GET", USER)[0] == 401


# ---------------------------------------------------------------- second factor


def login(client: Client, **body: Any) -> tuple[int, Any]:
    return client.ask("POST", TFA, body)


def test_a_session(box: Sandbox, client: Client, state: Account) -> None:
    state.second_factor = {"user"}
    status, answer = client.ask("GET", USER)
    assert (status, "Two Factor Authentication" in answer["msg"]) == (401, True)
    answer = login(client, code=CODES["totp"], tfa_method="totp")[1]
    assert (answer["id"], answer["backup_codes_remaining"]) == (48213, 10)
    session = Client(box, answer["session_key"])
    assert session.ask("GET", USER)[0] == 200
    expire_sessions(box.market)
    assert session.ask("GET", USER) == (
        404,
        {"success": False, "msg": "Session expired. Please log in again."},
    )
    reshape(box.market, "expired_session", "auth_error")
    assert session.ask("GET", USER)[1]["error"] == "auth_error"


def test_a_session_ends_by_itself(box: Sandbox, client: Client, clock: Clock) -> None:
    answer = login(client, backup_code="backup-03")[1]
    assert answer["backup_codes_remaining"] == 9
    session = Client(box, answer["session_key"])
    clock.sleep(DAY - 1)
    assert session.ask("GET", USER)[0] == 200
    clock.sleep(1)
    assert session.ask("GET", USER)[0] == 404
    assert login(client, backup_code="backup-03")[0] == 401


def test_codes_by_mail_and_sms(box: Sandbox, client: Client, clock: Clock) -> None:
    mail = client.good("POST", TFA + "email/", {})["secret"]
    sms = client.good("POST", TFA + "sms/", {"phone_number": "+420777123456"})
    again = client.ask("POST", TFA + "sms/", {})
    assert (again[0], again[1]["error"]) == (400, "tfa_challenge_exists")
    resent = client.good("POST", TFA + "sms/resend/", {"secret": sms["secret"]})
    assert resent["secret"] == sms["secret"]
    reshape(box.market, "resent_sms", "new_secret")
    resent = client.good("POST", TFA + "sms/resend/", {"secret": sms["secret"]})
    old = login(client, code=CODES["sms"], secret=sms["secret"])
    assert (old[0], old[1]["error"]) == (400, "2fa_verification_failed")
    assert login(client, code=CODES["sms"], secret=resent["secret"])[0] == 200
    assert login(client, code=CODES["sms"], secret=resent["secret"])[0] == 400
    clock.sleep(601)
    late = login(client, code=CODES["email"], secret=mail, tfa_method="email")
    assert (late[0], late[1]["error"]) == (400, "2fa_expired")
    mail = client.good("POST", TFA + "email/", {})["secret"]
    good = login(client, code=CODES["email"], secret=mail, tfa_method="email")
    assert good[0] == 200


def test_a_method_is_locked_for_a_while(client: Client, clock: Clock) -> None:
    def wrong() -> tuple[int, Any]:
        return login(client, code="000000", tfa_method_id=301)

    tries = [wrong() for _ in range(6)]
    assert [status for status, _ in tries] == [400] * 4 + [429] * 2
    assert tries[0][1]["error"] == "2fa_verification_failed"
    assert (tries[5][1]["error"], tries[5][1]["fail_count"]) == ("tfa_locked", 5)
    methods = client.good("GET", TFA + "status/")["methods"]
    assert methods[0]["locked_until"] == tries[5][1]["locked_until"]
    assert login(client, code=CODES["totp"], tfa_method="totp")[0] == 429
    clock.sleep(901)
    assert wrong()[0] == 400
    assert login(client, code=CODES["totp"], tfa_method="totp")[0] == 200
    assert client.good("GET", TFA + "status/")["methods"][0]["fail_count"] == 0


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({}, 400, "invalid_args"),
        ({"code": "1", "backup_code": "1"}, 400, "invalid_args"),
        ({"code": 135790, "tfa_method": "totp"}, 400, "invalid_args"),
        ({"code": "1", "tfa_method": "pigeon"}, 400, "invalid_args"),
        ({"code": "1", "tfa_method_id": 1}, 400, "invalid_args"),
        ({"code": "1"}, 400, "invalid_args"),
        ({"code": "1", "secret": "x"}, 400, "2fa_verification_failed"),
        ({"backup_code": "x"}, 401, "invalid_backup_code"),
    ],
    ids=str,
)
def test_logins_that_fail(client: Client, body: Row, status: int, error: str) -> None:
    got, answer = client.ask("POST", TFA, body)
    assert (got, answer["error"]) == (status, error)


def test_codes_that_are_not_sent(box: Sandbox, client: Client, state: Account) -> None:
    status, answer = client.ask("POST", TFA + "sms/", {"phone_number": "777 123"})
    assert (status, answer["error"]) == (400, "invalid_args")
    assert client.ask("POST", TFA + "sms/resend/", {"secret": "x"})[0] == 400
    state.sms_limited = True
    status, answer = client.ask("POST", TFA + "sms/", {})
    assert (status, answer["error"]) == (429, "sms_rate_limited")
    box.market.user["email_verified"] = False
    status, answer = client.ask("POST", TFA + "email/", {})
    assert (status, answer["error"]) == (400, "email_not_verified")
    state.methods.clear()
    assert client.ask("POST", TFA + "sms/", {})[0] == 400
    assert login(client, code="1", tfa_method="totp")[0] == 400
    assert client.good("GET", TFA + "status/")["tfa_enabled"] is False


# ---------------------------------------------------------------- teams


def test_a_team_from_create_to_destroy(box: Sandbox, client: Client) -> None:
    team, before = V0 + "/team/", credit(client)
    client.good("POST", team, {"team_name": "new", "transfer_credit": 5})
    assert credit(client) == before - 5
    again = client.ask("POST", team, {"team_name": "new"})
    assert again == (400, {"success": False, "msg": "Team name already exists"})
    assert (
        client.ask("POST", team, {"team_name": "x", "transfer_credit": 1e6})[0] == 400
    )
    assert client.ask("POST", team, {"team_name": " "})[0] == 400
    client.good("POST", ROLES, {"name": "x", "permissions": RIGHTS})
    assert client.good("DELETE", team, {})["pkey_id"] == 90417
    assert credit(client) == before - 5 + 20
    status, answer = client.ask("DELETE", team, {})
    assert (status, answer["error"]) == (404, "not_found")
    assert client.ask("GET", team + "members/")[0] == 404
    reshape(box.market, "new_team", "team_key")
    client.good("POST", team, {"team_name": "next"})
    assert [row["id"] for row in rows(client, team + "members/")] == [TEAM_OWNER]
    assert rows(client, team + "roles-full/") == []


def test_only_the_owner_destroys_a_team(client: Client, state: Account) -> None:
    state.is_team_owner = False
    status, answer = client.ask("DELETE", V0 + "/team/", {})
    assert (status, answer["error"]) == (403, "not_allowed")


def test_roles(box: Sandbox, client: Client) -> None:
    full = V0 + "/team/roles-full/"
    assert [row["name"] for row in rows(client, full)] == [
        "manager",
        "member",
        ODD_ROLE,
    ]
    path = ROLES + quote(ODD_ROLE, safe="") + "/"
    role = client.good("GET", path)
    assert role["permissions"] == {"api": {"instance_read": {}}}
    assert "%2F" in path
    assert client.ask("GET", ROLES + quote(ODD_ROLE) + "/") == (404, "Not Found")
    new = {"name": "?&#%20", "permissions": RIGHTS}
    assert client.good("POST", ROLES, new) == {"msg": "success"}
    assert client.good("GET", ROLES + "%3F%26%23%2520/")["id"] == 5
    change = {"name": "plain", "permissions": RIGHTS}
    text = '"Successfully Updated Team Role For plain"'
    assert client.ask("PUT", ROLES + "5/", change) == (200, text)
    gone = client.good("DELETE", ROLES + "plain/", {})
    assert gone["status"] == "success"
    assert client.ask("DELETE", ROLES + "plain/", {})[0] == 404
    reshape(box.market, "role_permissions", "array")
    assert client.good("GET", path)["permissions"] == ["instance_read"]


def test_the_owner_role_stays(client: Client) -> None:
    assert client.ask("DELETE", ROLES + "owner/", {})[0] == 403
    body = {"name": "x", "permissions": RIGHTS}
    assert client.ask("PUT", ROLES + "1/", body)[0] == 403


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x"},
        {"name": "x", "permissions": {}},
        {"name": "x", "permissions": ["instance_read"]},
        {"name": "", "permissions": RIGHTS},
        {"name": "manager", "permissions": RIGHTS},
        {"permissions": RIGHTS},
    ],
    ids=str,
)
def test_roles_that_make_no_sense(client: Client, body: Row) -> None:
    assert client.ask("POST", ROLES, body)[0] == 400
    if body.get("name") != "x" or "permissions" not in body:
        assert client.ask("PUT", ROLES + "4/", body)[0] == 400


def test_invitations(client: Client, clock: Clock) -> None:
    def invite(email: str, role: str = "member", body: Any = None) -> tuple[int, Any]:
        query = f"?email={quote(email)}&role={quote(role, safe='')}"
        return client.ask("POST", V0 + "/team/invite/" + query, body or {})

    assert invite("new@example.org", ODD_ROLE)[0] == 200
    clock.sleep(300)
    text = "Error: invitation already sent to new@example.org only 300 seconds ago."
    assert invite("new@example.org") == (429, {"msg": text})
    clock.sleep(300)
    assert invite("new@example.org")[1]["msg"].endswith("sent to new@example.org")
    for email, role in (
        ("null", "member"),
        ("a@example.org", "boss"),
        ("a@example.org", "owner"),
        ("lukasz@example.org", "member"),
        ("zoe@example.org", "member"),
    ):
        assert invite(email, role)[0] == 400
    assert invite("a@example.org", body={"email": "a@example.org"})[0] == 400
    client.good("DELETE", V0 + "/team/", {})
    assert invite("a@example.org")[0] == 404


def test_members(box: Sandbox, client: Client) -> None:
    path = V0 + "/team/members/"
    assert [row["id"] for row in rows(client, path)] == [TEAM_OWNER, MEMBER]
    owner = client.ask("DELETE", f"{path}{TEAM_OWNER}/", {})
    assert owner[0] == 400
    assert client.good("DELETE", f"{path}{MEMBER}/", {})["status"] == "success"
    status, answer = client.ask("DELETE", f"{path}{MEMBER}/", {})
    assert (status, answer["status"]) == (404, "failure")
    reshape(box.market, "team_members", "members")
    assert len(client.good("GET", path)["members"]) == 1


# ---------------------------------------------------------------- serverless


def test_an_endpoint_from_create_to_delete(box: Sandbox, client: Client) -> None:
    body = {
        "client_id": "me", "autoscaler_instance": "prod", "endpoint_name": "ltx-2.3",
        "min_load": 1, "max_workers": 4, "cold_workers": 1, "max_queue_time": None,
    }  # fmt: skip
    assert client.good("POST", ENDPOINTS, body)["result"] == 703
    row = results(client, ENDPOINTS)[-1]
    assert (row["endpoint_name"], row["target_util"]) == ("ltx-2.3", 0.9)
    assert (row["endpoint_state"], row["max_workers"]) == ("active", 4)
    assert row["api_key"]
    change = {"endptjob_id": 703, "min_load": None, "endpoint_state": "suspended"}
    client.good("PUT", ENDPOINTS + "703/", change)
    row = results(client, ENDPOINTS)[-1]
    assert (row["min_load"], row["endpoint_state"]) == (1, "suspended")
    client.good("DELETE", ENDPOINTS + "703/", {"client_id": "me", "endptjob_id": 703})
    assert client.ask("DELETE", ENDPOINTS + "703/", {})[0] == 400
    reshape(box.market, "new_endpoint", "id")
    assert client.good("POST", ENDPOINTS, {"endpoint_name": "x"})["id"] == 704


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint_name": None},
        {"endpoint_name": "with space"},
        {"endpoint_name": "llm-chat"},
        {"endpoint_name": 7},
        {"min_load": -1},
        {"target_util": 1.5},
        {"cold_workers": 1.5},
        {"cold_workers": 5, "max_workers": 4},
        {"endpoint_state": "stopped"},
        {"autoscaler_instance": "test"},
        {"max_worker": 1},
    ],
    ids=str,
)
def test_endpoints_that_make_no_sense(client: Client, change: Row) -> None:
    status, answer = client.ask("POST", ENDPOINTS, {"endpoint_name": "x", **change})
    assert (status, answer["error"]) == (400, "invalid_args")


def test_changes_of_endpoints_that_make_no_sense(client: Client) -> None:
    for ident, body in (
        (1, {"min_load": 1}),
        (701, {"endptjob_id": 702}),
        (701, {"endpoint_state": "asleep"}),
        (701, {"endpoint_name": "img_gen-2.1"}),
        (701, {"cold_workers": 9}),
    ):
        assert client.ask("PUT", f"{ENDPOINTS}{ident}/", body)[0] == 400
    assert results(client, ENDPOINTS)[0]["cold_workers"] == 3


def test_no_endpoints(box: Sandbox, client: Client) -> None:
    box.market.stores["endpoints"].rows.clear()
    status, answer = client.ask("GET", ENDPOINTS)
    assert (status, answer["msg"]) == (400, "No endpoints for user found")
    reshape(box.market, "no_endpoints", "success_false")
    assert client.good("GET", ENDPOINTS)["success"] is False
    reshape(box.market, "no_endpoints", "empty")
    assert results(client, ENDPOINTS) == []


@pytest.mark.parametrize("path", [GROUPS, V0 + "/workergroups/"])
def test_a_workergroup_from_create_to_delete(client: Client, path: str) -> None:
    body = {
        "client_id": "me", "autoscaler_instance": "prod", "endpoint_id": 702,
        "search_params": "gpu_name=RTX_5090 num_gpus>=1 verified=True",
        "template_hash": None, "gpu_ram": 23.5,
    }  # fmt: skip
    assert client.good("POST", path, body)["id"] == 802
    row = results(client, path)[-1]
    assert row["search_query"] == {
        "gpu_name": {"eq": "RTX 5090"},
        "num_gpus": {"gte": 1},
        "verified": {"eq": True},
    }
    assert (row["endpoint_name"], row["gpu_ram"]) == ("img_gen-2.1", 23.5)
    assert row["api_key"]
    client.good("PUT", path + "802/", {"autojob_id": 802, "endpoint_name": "llm-chat"})
    row = results(client, path)[-1]
    assert (row["endpoint_id"], row["search_params"]) == (701, body["search_params"])
    gone = client.good("DELETE", path + "802/", {"client_id": "me", "autojob_id": 802})
    assert gone["deleted_workers"] == [802000, 802001, 802002]
    status, answer = client.ask("DELETE", path + "802/", {})
    assert (status, answer["error"]) == (404, "no_such_workergroup")


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint_id": 1},
        {"endpoint_id": None},
        {"endpoint_id": None, "endpoint_name": "x"},
        {"endpoint_id": 701, "endpoint_name": "img_gen-2.1"},
        {"template_hash": None},
        {"template_hash": 5},
        {"search_params": "gpu"},
        {"gpu_ram": "24"},
        {"min_laod": 1},
    ],
    ids=str,
)
def test_workergroups_that_make_no_sense(client: Client, change: Row) -> None:
    body = {"endpoint_id": 701, "template_hash": "x", **change}
    assert client.ask("POST", GROUPS, body)[0] == 400
    assert client.ask("PUT", GROUPS + "1/", {"gpu_ram": 1})[0] == 400


def test_deleting_an_endpoint_takes_its_workergroups(client: Client) -> None:
    gone = client.good("DELETE", ENDPOINTS + "701/", {})
    assert gone["deleted_workers"] == [801000, 801001, 801002]
    assert gone["msg"] == "Deleted endpoint job and 3 workers"
    assert results(client, GROUPS) == []


def test_workers_come_up_in_their_time(
    box: Sandbox, client: Client, clock: Clock
) -> None:
    def workers() -> list[tuple[str, float]]:
        status, found = client.ask("POST", "/get_endpoint_workers/", {"id": 701})
        assert status == 200
        return [(row["status"], row["measured_perf"]) for row in found]

    assert workers() == [("loading", 0.0)] * 3
    clock.sleep(30)
    assert workers() == [("idle", 287.5), ("idle", 300.0), ("idle", 312.5)]
    client.good("PUT", ENDPOINTS + "701/", {"endpoint_state": "stopped"})
    assert workers() == []
    client.good("PUT", ENDPOINTS + "701/", {"endpoint_state": "active"})
    assert [status for status, _ in workers()] == ["loading"] * 3
    reshape(box.market, "workers", "workers")
    found = client.good("POST", "/get_endpoint_workers/", {"id": 701})["workers"]
    assert len(found) == 3


def test_logs(box: Sandbox, client: Client) -> None:
    for path, body in (
        ("/get_endpoint_logs/", {"id": 701}),
        ("/get_endpoint_logs/", {"endpoint": "llm-chat"}),
        ("/get_autogroup_logs/", {"id": 801}),
        ("/get_workergroup_logs/", {"id": 801}),
    ):
        reshape(box.market, "logs", "levels")
        levels = client.good("POST", path, {**body, "tail": 5})
        assert levels.keys() == {"info0", "info1", "trace", "debug"}
        assert levels["info1"].count("is loading") == 3
        assert levels["debug"].count("\n") == 4
        assert "\x1b" in levels["trace"]
        reshape(box.market, "logs", "logs")
        assert client.good("POST", path, body)["logs"].count("\n") > 40
    assert client.ask("POST", "/get_endpoint_logs/", {})[0] == 400
    assert client.ask("POST", "/get_endpoint_logs/", {"id": "701"})[0] == 400
    assert client.ask("POST", "/get_endpoint_logs/", {"id": 701, "tail": 0})[0] == 400


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/get_endpoint_logs/", "endpoint"),
        ("/get_autogroup_logs/", "workergroup"),
        ("/get_endpoint_workers/", "endpoint"),
    ],
)
def test_errors_with_a_status_of_200(
    box: Sandbox, client: Client, path: str, kind: str
) -> None:
    text = f"authenticate_{kind}_apikey: invalid api_key or {kind} 1 not found"
    assert client.ask("POST", path, {"id": 1}) == (200, text)
    reshape(box.market, "run_error", "json_string")
    assert client.ask("POST", path, {"id": 1}) == (200, json.dumps(text))
    reshape(box.market, "run_error", "error_msg")
    assert client.ask("POST", path, {"id": 1}) == (200, {"error_msg": text})


def test_updating_workers(client: Client) -> None:
    def update(**body: Any) -> Row:
        return client.good("POST", "/update_workers/", {"workergroup_id": 801, **body})

    assert update(cancel_update=True)["success"] is False
    assert update()["workers_to_update"] == [801000, 801001, 801002]
    assert update(cancel_update=True)["cancelled"] is True
    answer = update(workergroup_id=1)
    assert (answer["success"], "not found" in answer["error_msg"]) == (False, True)


def test_deployments(box: Sandbox, client: Client, clock: Clock) -> None:
    listed = client.good("GET", V0 + "/deployments")["deployments"]
    assert client.good("GET", DEPLOYMENTS)["deployments"] == listed
    assert [row["id"] for row in listed] == [644, 645, 646]
    assert "TOKEN" in listed[0]["env"]
    one = V0 + "/deployment/645/"
    assert client.good("GET", one)["deployment"]["endpoint_state"] == "stopped"
    assert client.good("POST", one + "start/", {})["endpoint_state"] == "active"
    row = client.good("GET", V0 + "/deployment/644/")["deployment"]
    assert (row["endpoint_state"], row["worker_count"]) == ("active", 3)
    versions = client.good("GET", V0 + "/deployment/644/versions/")["versions"]
    assert versions[0]["id"] == row["current_version_id"]
    assert client.good("POST", one + "stop/", {})["endpoint_state"] == "stopped"
    assert client.ask("POST", V0 + "/deployment/646/start/", {})[0] == 400
    assert client.ask("GET", V0 + "/deployment/1/")[0] == 404


def test_deleting_deployments(client: Client) -> None:
    def left() -> list[int]:
        found = client.good("GET", V0 + "/deployments")["deployments"]
        return [row["id"] for row in found]

    body = {"name": "square", "tag": "beta"}
    assert client.good("DELETE", DEPLOYMENTS, body)["count"] == 1
    assert client.ask("DELETE", DEPLOYMENTS, body)[0] == 404
    assert client.ask("DELETE", DEPLOYMENTS, {"tag": "default"})[0] == 400
    assert client.ask("DELETE", V0 + "/deployment/645/", {})[0] == 404
    assert left() == [644, 646]
    client.good("DELETE", V0 + "/deployment/646/", {})
    assert client.good("DELETE", DEPLOYMENTS, {"name": "square"})["count"] == 1
    assert left() == []


# ---------------------------------------------------------------- thresholds and shapes


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("cleanup_machine", 8), ("reports", 1.2), ("schedule_maint", 2.5),
        ("unlist_volume", 5), ("earnings", 2), ("gpu_metrics", 3), ("gpu_trends", 3),
        ("gpu_locations", 3), ("invoices_v1", 3), ("charges", 1), ("deposit", 3),
        ("subaccounts", 2.1), ("ipaddrs", 2.9), ("transfer_credit", 2.5),
        ("create_api_key", 2), ("api_keys", 1), ("delete_api_key", 2),
        ("remove_team_role", 3), ("remove_member", 3), ("create_endpoint", 4),
        ("update_endpoint", 2), ("endpoints", 3), ("delete_endpoint", 3),
        ("create_workergroup", 4), ("update_workergroup", 2), ("workergroups", 2),
        ("delete_workergroup", 3), ("deployments", 3), ("deployment", 3),
        ("start_deployment", 2), ("stop_deployment", 2),
    ],
)  # fmt: skip
def test_documented_thresholds(name: str, seconds: float) -> None:
    assert CALLS[name].threshold == seconds


def test_a_threshold_holds(clock: Clock) -> None:
    with Sandbox(limits=True, clock=clock.now) as box:
        client = Client(box)
        assert client.ask("PUT", MACHINES + "/7102/cleanup/", {})[0] == 200
        clock.sleep(7.9)
        text = "API requests too frequent: endpoint threshold=8"
        assert client.ask("PUT", MACHINES + "/7102/cleanup/", {}) == (429, text)


def test_shapes_are_switched_by_name(box: Sandbox, state: Account) -> None:
    assert state.shapes == {name: shapes[0] for name, shapes in SHAPES.items()}
    with pytest.raises(ValueError, match="logs has no shape 'x'"):
        reshape(box.market, "logs", "x")
