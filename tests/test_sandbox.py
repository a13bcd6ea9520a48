"""What the sandbox promises to those who test against it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import sandbox
from conftest import Clock
from sandbox import CALLS, DAY, FAULTS, KEY, Row, Sandbox

SCRIPT = [sys.executable, sandbox.__file__]
ALL = {"limit": 9999, "disable_bundling": True}
FREE = {"rentable": {"eq": True}}
INVOICES = "/api/v0/users/me/invoices?owner=me&sdate=0&edate=1e11&inc_charges=true"
SPAN = {"gte": 0, "lte": 1e11}


class Client:
    """One connection to a sandbox; answers are (status, decoded body or text)."""

    def __init__(self, box: Sandbox, key: str | None = KEY) -> None:
        where = box.url.removeprefix("http://")
        self.line = http.client.HTTPConnection(where, timeout=5)
        self.headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    def raw(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        sent = b"" if body is None else json.dumps(body).encode()
        self.line.request(method, path, sent, self.headers)
        answer = self.line.getresponse()
        return answer.status, answer.read()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        status, raw = self.raw(method, path, body)
        return status, json.loads(raw) if raw[:1] in (b"{", b"[") else raw.decode()

    def good(self, method: str, path: str, body: Any = None) -> Row:
        status, value = self.ask(method, path, body)
        assert status == 200, value
        assert isinstance(value, dict)
        return value

    def search(self, **query: Any) -> list[Row]:
        return list(self.good("POST", "/api/v0/bundles/", {**ALL, **query})["offers"])

    def rent(self, offer: int, **body: Any) -> int:
        order = {"client_id": "me", "image": "example/image", "disk": 10, **body}
        return int(self.good("PUT", f"/api/v0/asks/{offer}/", order)["new_contract"])

    def instance(self, number: int) -> Row:
        row = self.good("GET", f"/api/v0/instances/{number}/?owner=me")["instances"]
        assert isinstance(row, dict)
        return row


@pytest.fixture(scope="module")
def reader() -> Iterator[Client]:
    """A connection to a market that no test changes."""
    with Sandbox() as box:
        yield Client(box)


@pytest.fixture
def client(box: Sandbox) -> Client:
    return Client(box)


@pytest.fixture
def offer(client: Client) -> int:
    return int(client.search(**FREE, limit=1)[0]["id"])


# ---------------------------------------------------------------- searching


def test_every_market_is_the_same() -> None:
    rows = [[offer.row for offer in sandbox.Market().offers.values()] for _ in "ab"]
    without_dates = [[{**row, "end_date": 0} for row in market] for market in rows]
    assert without_dates[0] == without_dates[1]
    assert 350 < len(rows[0]) < 450


def test_the_market_has_odd_rows(reader: Client) -> None:
    rows = reader.search()
    assert {"verified", "unverified", "deverified", None} == {
        row.get("verification") for row in rows
    }
    assert any("rented" not in row for row in rows)
    assert any(isinstance(row["dph_total"], str) for row in rows)
    assert any("\x1b" in (row["geolocation"] or "") for row in rows)
    assert any(row["geolocation"] == "Norway" for row in rows)
    assert any(row["rented"] and not row["rentable"] for row in rows if "rented" in row)


@pytest.mark.parametrize(
    ("name", "tests", "right"),
    [
        ("num_gpus", {"eq": 4}, lambda row: row["num_gpus"] == 4),
        ("num_gpus", {"gt": 2, "lte": 6}, lambda row: 2 < (row["num_gpus"] or 0) <= 6),
        ("gpu_ram", {"gte": 24000}, lambda row: (row["gpu_ram"] or 0) >= 24000),
        ("dph_total", {"lt": 0.3}, lambda row: float(row["dph_total"]) < 0.3),
        ("gpu_name", {"neq": "RTX 3060"}, lambda row: row["gpu_name"] != "RTX 3060"),
        ("gpu_name", {"in": ["A40", "L4"]}, lambda row: row["gpu_name"] == "A40"),
        ("geolocation", {"in": ["RU"]}, lambda row: row["geolocation"][-2:] == "RU"),
        ("driver_version", {"gte": 570e6}, lambda row: row["driver_vers"] >= 570e6),
        ("os_version", {"gte": 22.04}, lambda row: row["os_version"] >= "22.04"),
        ("verified", {"eq": True}, lambda row: row["verification"] == "verified"),
        ("external", {"eq": False}, lambda row: row.get("external") is None),
        ("datacenter", {"eq": True}, lambda row: row["hosting_type"] == 1),
        ("gpu_name", {"eq": None}, lambda row: row["gpu_name"] is None),
    ],
)
def test_filter(
    reader: Client, name: str, tests: Row, right: Callable[[Row], bool]
) -> None:
    rows = reader.search(**{name: tests})
    assert rows
    assert all(right(row) for row in rows)
    assert len(rows) < len(sandbox.Market().offers)


@pytest.mark.parametrize(
    "query",
    [
        {"gpu_nme": {"eq": "x"}},
        {"num_gpus": {"equal": 1}},
        {"num_gpus": {"eq": "1"}},
        {"num_gpus": {"eq": True}},
        {"num_gpus": {"in": 1}},
        {"num_gpus": {"gt": None}},
        {"num_gpus": 1},
        {"gpu_name": {"gt": "A"}},
        {"verified": {"eq": 1}},
        {"order": "score-"},
        {"order": [["score", "down"]]},
        {"order": [["scores", "desc"]]},
        {"type": "interruptible"},
        {"limit": 0},
        {"allocated_storage": "5"},
    ],
    ids=str,
)
def test_a_search_that_makes_no_sense_is_refused(reader: Client, query: Row) -> None:
    status, body = reader.ask("POST", "/api/v0/bundles/", query)
    assert (status, body["error"]) == (400, "invalid_args")


def test_order_by_two_fields_with_nulls_last(reader: Client) -> None:
    rows = reader.search(order=[["num_gpus", "desc"], ["dph_total", "asc"]])
    known = [(-r["num_gpus"], float(r["dph_total"])) for r in rows if r["num_gpus"]]
    assert known == sorted(known)
    assert rows[-1]["num_gpus"] is None


def test_the_best_offers_are_clean(reader: Client) -> None:
    query = {**FREE, "num_gpus": {"gte": 4}, "verified": {"eq": True}}
    rows = reader.good("POST", "/api/v0/bundles/", query)["offers"]
    best = [row["score"] for row in rows]
    assert best == sorted(best, reverse=True)
    assert len(rows) > 20
    assert all(row["geolocation"].isprintable() for row in rows)


def test_limit_and_bundles(reader: Client) -> None:
    assert len(reader.good("POST", "/api/v0/bundles/", {})["offers"]) == 64
    assert len(reader.search(limit=3)) == 3
    rows = reader.search(disable_bundling=False, machine_id={"eq": 7101})
    assert [(row["num_gpus"], row["bundled_results"]) for row in rows] == [(1, 4)]
    assert len(reader.search(machine_id={"eq": 7101})) == 4


def test_type_and_storage_make_the_price(client: Client, offer: int) -> None:
    def price(**query: Any) -> float:
        return float(client.search(id={"eq": offer}, **query)[0]["dph_total"])

    row = client.search(id={"eq": offer}, type="bid")[0]
    assert row["is_bid"] is True
    assert row["search"]["gpuCostPerHour"] == row["min_bid"] < row["dph_total"]
    assert price(type="bid") < price() == price(type="on-demand")
    hour = 720 * row["storage_cost"] / 720
    assert price(allocated_storage=728) - price() == pytest.approx(hour)


# ---------------------------------------------------------------- renting


def test_a_rental_from_create_to_destroy(
    box: Sandbox, client: Client, offer: int
) -> None:
    order = {"runtype": "ssh_direct ssh_proxy", "label": "ä", "env": {"A": "b"}}
    number = client.rent(offer, **order)
    row = client.instance(number)
    assert (number, box.market.rented) == (5001, [(offer, 5001)])
    assert (row["actual_status"], row["intended_status"]) == ("running", "running")
    assert (row["label"], row["extra_env"]) == ("ä", [["A", "b"]])
    assert [port["HostIp"] for port in row["ports"]["22/tcp"]] == ["0.0.0.0", "::"]
    assert row["public_ipaddr"].endswith("\n")
    assert client.search(id={"eq": offer}, **FREE) == []
    assert client.search(id={"eq": offer})[0]["rented"] is True

    assert client.good("DELETE", f"/api/v0/instances/{number}/", {})["success"]
    assert client.search(id={"eq": offer}, **FREE)
    assert client.good("GET", "/api/v0/instances/5001/?owner=me") == {"instances": None}
    status, body = client.ask("DELETE", f"/api/v0/instances/{number}/", {})
    assert (status, body["error"]) == (404, "not_found")
    assert box.market.destroyed == [5001]


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"image": None}, 400, "invalid_args"),
        ({"disk": 7.9}, 400, "invalid_args"),
        ({"disk": "10"}, 400, "invalid_args"),
        ({"price": 0.0001}, 400, "invalid_price"),
        ({"price": 128.5}, 400, "invalid_price"),
        ({"price": 0.001}, 400, "invalid_price"),
        ({"runtype": "shh"}, 400, "invalid_args"),
        ({"env": "-e A=b"}, 400, "invalid_args"),
        ({"env": {"A": 1}}, 400, "invalid_args"),
        ({"args": "a b"}, 400, "invalid_args"),
        ({"args": [1]}, 400, "invalid_args"),
        ({"label": "x" * 257}, 400, "invalid_args"),
        ({"onstart": "x" * 4097}, 400, "invalid_args"),
        ({"imagee": "x"}, 400, "invalid_args"),
        ({"create_from": 4001}, 404, "no_such_instance"),
    ],
    ids=str,
)
def test_create_refuses(
    box: Sandbox, client: Client, offer: int, change: Row, status: int, error: str
) -> None:
    order = {"image": "x", "disk": 10, **change}
    got, body = client.ask("PUT", f"/api/v0/asks/{offer}/", order)
    assert (got, body["error"], body["success"]) == (status, error, False)
    assert box.market.rented == []


def test_an_offer_is_rented_once(client: Client, offer: int) -> None:
    client.rent(offer)
    path = f"/api/v0/asks/{offer}/"
    status, body = client.ask("PUT", path, {"image": "x"})
    assert (status, body["msg"][:11]) == (404, "no_such_ask")
    status, body = client.ask("PUT", path, {"image": "x", "cancel_unavail": True})
    assert (status, body["error"]) == (410, "no_such_ask")


def test_templates_copies_and_bids(client: Client) -> None:
    offers = [row["id"] for row in client.search(**FREE, limit=3)]
    plain = {"image": None, "disk": None}
    row = client.instance(client.rent(offers[0], **plain, template_hash_id="abc"))
    assert (row["image_uuid"], row["disk_space"]) == (sandbox.TEMPLATE["image"], 32)
    copy = client.rent(offers[1], **plain, create_from=5001, price=100)
    row = client.instance(copy)
    assert row["image_uuid"] == sandbox.TEMPLATE["image"]
    assert (row["is_bid"], row["min_bid"], row["dph_base"]) == (True, 100, 100)
    bid = f"/api/v0/instances/bid_price/{copy}/"
    client.good("PUT", bid, {"client_id": "me", "price": 1.5})
    assert client.instance(copy)["dph_base"] == 1.5
    client.good("PUT", bid, {"client_id": "me", "price": None})
    assert 0 < client.instance(copy)["min_bid"] != 1.5
    assert client.ask("PUT", bid, {"price": 1000})[1]["error"] == "invalid_price"
    missing = client.ask("PUT", "/api/v0/instances/bid_price/1/", {"price": 1})
    assert (missing[0], missing[1]["error"]) == (404, "no_such_instance")


def test_start_stop_and_label(box: Sandbox, client: Client, offer: int) -> None:
    path = f"/api/v0/instances/{client.rent(offer)}/"
    client.good("PUT", path, {"state": "stopped"})
    row = client.instance(5001)
    assert (row["actual_status"], row["ports"]) == ("stopped", None)
    client.good("PUT", path, {"label": "-x"})
    assert client.instance(5001)["label"] == "-x"
    too_long = client.ask("PUT", path, {"label": "x" * 1025})
    assert (too_long[0], too_long[1]["error"]) == (400, "label_too_long")
    box.market.user["has_billing"] = False
    unpaid = client.ask("PUT", path, {"state": "running"})
    assert (unpaid[0], unpaid[1]["error"]) == (400, "missing_billing")


def test_instances_come_up_in_their_time() -> None:
    clock = Clock()
    with Sandbox(boot=30, clock=clock.now) as box:
        client = Client(box)
        offers = [row["id"] for row in client.search(**FREE, limit=2)]
        path = f"/api/v0/instances/{client.rent(offers[0])}/"
        broken = client.rent(offers[1], image="broken/image:1")

        def status(wait: float) -> Any:
            clock.sleep(wait)
            return client.instance(5001)["actual_status"]

        assert [status(1), status(10), status(20)] == [None, "loading", "running"]
        client.good("PUT", path, {"state": "stopped"})
        assert [status(0), status(31)] == ["running", "stopped"]
        client.good("PUT", path, {"state": "running"})
        assert [status(0), status(31)] == ["loading", "running"]
        assert client.instance(broken)["actual_status"] == "exited"
        assert "broken/image:1" in client.instance(broken)["status_msg"]


def test_lists_of_instances(client: Client) -> None:
    for row in client.search(**FREE, limit=30):
        client.rent(row["id"], label=f"nr {row['id']}")
    order = quote('[{"col":"id","dir":"desc"}]')
    first = client.good("GET", f"/api/v1/instances/?limit=25&order_by={order}")
    counts = first["instances_found"], first["total_instances"]
    assert counts == (25, 30)
    assert first["instances"][0]["id"] == 5030
    token = quote(first["next_token"])
    path = f"/api/v1/instances/?limit=25&after_token={token}&order_by={order}"
    second = client.good("GET", path)
    assert [row["id"] for row in second["instances"]] == [5005, 5004, 5003, 5002, 5001]
    assert second["next_token"] is None
    assert len(client.good("GET", "/api/v1/instances/?limit=0")["instances"]) == 5
    assert len(client.good("GET", "/api/v0/instances?owner=me")["instances"]) == 30
    wanted = quote('{"id": {"in": [5007]}}')
    rows = client.good("GET", f"/api/v1/instances/?select_filters={wanted}")
    assert [row["id"] for row in rows["instances"]] == [5007]


@pytest.mark.parametrize(
    "query",
    [
        "after_token=%00",
        "order_by={}",
        'order_by=[{"col":"idd"}]',
        "select_filters=x",
        'select_filters={"dph_total":{"gt":1}}',
    ],
)
def test_a_list_that_makes_no_sense_is_refused(reader: Client, query: str) -> None:
    assert reader.ask("GET", "/api/v1/instances/?" + quote(query, "=&%"))[0] == 400


def test_what_belongs_to_others(reader: Client) -> None:
    assert reader.ask("PUT", "/api/v0/instances/4001/", {"label": "x"})[0] == 403
    assert reader.ask("DELETE", "/api/v0/instances/4001/", {})[0] == 404
    assert reader.good("GET", "/api/v0/instances/4001/?owner=me")["instances"] is None
    other = reader.search(**FREE, limit=1)[0]["machine_id"]
    for method, path, body in (
        ("PUT", "/api/v0/machines/create_asks/", {"machine": other, "price_gpu": 1}),
        ("DELETE", f"/api/v0/machines/{other}/asks/", {}),
        ("DELETE", f"/api/v0/machines/{other}/defjob/", {}),
        ("PUT", f"/api/v0/machines/{other}/minbid/", {"price": 1}),
    ):
        status, answer = reader.ask(method, path, body)
        assert (status, answer["error"]) == (403, "not_authorized")


# ---------------------------------------------------------------- hosting


def machine(client: Client, number: int) -> Row:
    rows = client.good("GET", "/api/v0/machines?owner=me")["machines"]
    return next(row for row in rows if row["id"] == number)


def list_machine(client: Client, **body: Any) -> Row:
    return client.good("PUT", "/api/v0/machines/create_asks/", body)


def test_listing_a_machine(client: Client) -> None:
    where = {"machine_id": {"eq": 7103}}
    assert client.search(**where) == []
    assert not machine(client, 7103)["listed"]
    kept = machine(client, 7103)["listed_storage_cost"]
    list_machine(client, machine=7103, price_gpu=0.4, price_disk=None, min_chunk=2)
    row = client.search(**where, verified={"eq": True}, **FREE)[0]
    assert (row["num_gpus"], row["dph_base"], row["storage_cost"]) == (2, 0.8, kept)
    client.good("PUT", "/api/v0/machines/7103/minbid/", {"price": 0.3})
    assert client.search(**where)[0]["min_bid"] == 0.6
    assert machine(client, 7103)["min_bid_price"] == 0.3
    client.good("DELETE", "/api/v0/machines/7103/asks/", {})
    assert client.search(**where) == []


def test_a_listing_that_is_rented(client: Client) -> None:
    assert machine(client, 7102)["gpu_occupancy"] == "D I x x x x x x"
    late = time.time() + 900 * DAY
    assert list_machine(client, machine=7102, end_date=late)["extended"] == 2
    assert list_machine(client, machine=7102, end_date=late)["extended"] == 0
    number = client.rent(client.search(machine_id={"eq": 7102}, **FREE)[0]["id"])
    client.good("DELETE", "/api/v0/machines/7102/asks/", {})
    assert len(client.search(machine_id={"eq": 7102})) == 3
    client.good("DELETE", f"/api/v0/instances/{number}/", {})
    assert len(client.search(machine_id={"eq": 7102})) == 2


@pytest.mark.parametrize(
    ("duration", "days"), [("30 days", 30), ("2weeks", 14), ("1 years", 365), (DAY, 1)]
)
def test_duration(client: Client, duration: Any, days: float) -> None:
    list_machine(client, machine=7101, duration=duration)
    end = machine(client, 7101)["end_date"]
    assert end - time.time() == pytest.approx(days * DAY, abs=60)


@pytest.mark.parametrize(
    "change",
    [
        {"machine": "7101"},
        {"price_gpu": -1},
        {"price_gpu": "1"},
        {"min_chunk": 0},
        {"min_chunk": 5},
        {"min_chunk": 1.5},
        {"credit_discount_max": 1.1},
        {"end_date": 1000},
        {"duration": "a while"},
        {"duration": "1 day", "end_date": 9e9},
        {"price": 1},
    ],
    ids=str,
)
def test_a_listing_that_makes_no_sense_is_refused(reader: Client, change: Row) -> None:
    body = {"machine": 7101, **change}
    assert reader.ask("PUT", "/api/v0/machines/create_asks/", body)[0] == 400


def test_default_jobs(client: Client) -> None:
    prices = {"price_gpu": 0.1, "price_inetu": 0, "price_inetd": 0}
    job = {"machine": 7104, **prices, "image": "x", "args": ["-a"]}
    path = "/api/v0/machines/create_bids/"
    assert client.good("PUT", path, job)["you_sent"] == job
    row = machine(client, 7104)
    assert (row["bid_image"], row["bid_image_args"]) == ("x", ["-a"])
    assert client.ask("PUT", path, {**job, "image": None})[0] == 400
    client.good("DELETE", "/api/v0/machines/7104/defjob/", {})
    assert machine(client, 7104)["bid_image"] is None


# ---------------------------------------------------------------- billing


def test_renting_is_billed(client: Client, offer: int) -> None:
    before = client.good("GET", INVOICES)
    credit = client.good("GET", "/api/v0/users/current/")["credit"]
    client.rent(offer)
    client.good("DELETE", "/api/v0/instances/5001/", {})
    after = client.good("GET", INVOICES)
    new = after["invoices"][len(before["invoices"]) :]
    assert [(row["type"], row["instance_id"]) for row in new] == [("charge", 5001)] * 2
    cost = sum(row["amount"] for row in new)
    assert cost > 0
    user = client.good("GET", "/api/v0/users/current/")
    assert credit - user["credit"] == pytest.approx(cost)
    assert after["current"]["credit"] == user["credit"]
    owed = after["current"]["total"] - before["current"]["total"]
    assert owed == pytest.approx(cost)


def test_bills_are_odd_and_filtered(reader: Client) -> None:
    rows = reader.good("GET", INVOICES)["invoices"]
    assert {type(row["amount"]) for row in rows} == {int, float, str}
    assert any(row["timestamp"] is None for row in rows)
    paid = [float(row["amount"]) for row in rows if row["type"] == "payment"]
    assert min(paid) < 0 < max(paid)
    end = int(time.time() - 30 * DAY)
    path = f"/api/v0/users/me/invoices?owner=me&sdate={end - 40 * DAY}&edate={end}"
    some = reader.good("GET", path)["invoices"]
    assert {row["type"] for row in some} == {"payment"}
    assert len(reader.good("GET", path + "&inc_charges=true")["invoices"]) > len(some)


def test_the_successors_have_the_same_sums(reader: Client) -> None:
    def rows(path: str, column: str) -> Iterator[Row]:
        query = f"?limit=7&select_filters={quote(json.dumps({column: SPAN}))}"
        token = ""
        while token is not None:
            answer = reader.good("GET", path + query + f"&after_token={quote(token)}")
            yield from answer["results"]
            token = answer["next_token"]

    old = reader.good("GET", INVOICES)["invoices"]
    for kind, path, column in (
        ("payment", "/api/v1/invoices/", "when"),
        ("charge", "/api/v0/charges/", "day"),
    ):
        amounts = [str(row["amount"]) for row in old if row["type"] == kind]
        assert sorted(str(r["amount"]) for r in rows(path, column)) == sorted(amounts)
        assert reader.ask("GET", path)[1]["success"] is False


# ---------------------------------------------------------------- keys, limits, calls


@pytest.mark.parametrize(
    ("key", "bad_key_status", "status"),
    [(None, 401, 403), ("wrong", 401, 401), ("wrong", 404, 404)],
)
def test_keys(box: Sandbox, key: str | None, bad_key_status: int, status: int) -> None:
    box.market.bad_key_status = bad_key_status
    got, body = Client(box, key).ask("GET", "/api/v0/users/current/")
    assert (got, body["error"]) == (status, "auth_error")


def test_a_key_in_the_url_is_refused_and_recorded(box: Sandbox, client: Client) -> None:
    assert client.ask("GET", f"/api/v0/machines?owner=me&api_key={KEY}")[0] == 400
    assert box.calls[0].query["api_key"] == KEY


def test_requests_are_recorded(box: Sandbox, client: Client, offer: int) -> None:
    client.rent(offer)
    seen = box.calls[-1]
    assert [call.name for call in box.calls] == ["search", "create"]
    assert (seen.method, seen.path) == ("PUT", f"/api/v0/asks/{offer}/")
    assert seen.headers["authorization"] == f"Bearer {box.key}"
    assert json.loads(seen.raw) == seen.body
    assert box.connections == 1
    box.clear()
    assert (box.calls, box.connections) == ([], 0)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v0/machines/?owner=me"),
        ("GET", "/api/v1/instances"),
        ("POST", "/api/v0/users/current/"),
        ("GET", "/api/v0/instances/x/"),
    ],
)
def test_another_spelling_is_no_call(
    box: Sandbox, client: Client, method: str, path: str
) -> None:
    assert client.ask(method, path, {}) == (404, "Not Found")
    assert box.calls[0].name == ""


def test_requests_that_lack_something_are_refused(reader: Client) -> None:
    assert reader.ask("GET", "/api/v0/machines")[0] == 400
    assert reader.ask("DELETE", "/api/v0/instances/4001/")[0] == 400
    assert reader.ask("POST", "/api/v0/bundles/", [])[0] == 400


def test_retired_calls(box: Sandbox, client: Client) -> None:
    box.market.retired = {"instances", "instances_v0", "invoices"}
    assert client.ask("GET", "/api/v1/instances/") == (404, "Not Found")
    for path in ("/api/v0/instances?owner=me", INVOICES):
        status, body = client.ask("GET", path)
        assert (status, body["error"]) == (410, "deprecated_endpoint")


def test_limits() -> None:
    clock = Clock()
    with Sandbox(limits=True, clock=clock.now) as box:
        client = Client(box)
        text = "API requests too frequent: endpoint threshold="

        def after(wait: float, method: str, path: str) -> tuple[int, Any]:
            clock.sleep(wait)
            return client.ask(method, path, {})

        create = "PUT", "/api/v0/asks/1/"
        assert after(0, *create)[0] == 400
        assert after(4.4, *create) == (429, text + "4.5")
        assert after(11.9, *create)[0] == 429
        assert after(0.2, *create)[0] == 400
        assert after(0, "DELETE", "/api/v0/instances/1/")[0] == 404
        assert after(2, "DELETE", "/api/v0/instances/2/") == (429, text + "3.0")
        assert after(1, "DELETE", "/api/v0/instances/2/")[0] == 404
        searches = [after(1, "POST", "/api/v0/bundles/")[0] for _ in range(11)]
        assert searches == [200] * 10 + [429]
        assert after(50, "POST", "/api/v0/bundles/")[0] == 200


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize("kind", FAULTS)
def test_fault(box: Sandbox, client: Client, offer: int, kind: str) -> None:
    """A fault hits one call, does the work or not, and the next call is served."""
    box.fault("create", kind, seconds=0.5, body={})
    client.line.sock.settimeout(0.1)
    order = json.dumps({"image": "x"}).encode()
    client.line.request("PUT", f"/api/v0/asks/{offer}/", order, client.headers)
    try:
        client.line.getresponse().read(2**20)
    except (http.client.HTTPException, OSError):
        assert kind.startswith(("drop", "cut", "drip", "slow"))
    client.line.close()
    assert len(box.market.rented) == FAULTS[kind][0]
    assert len(Client(box).search(limit=1)) == 1


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        ("not_json", b"All is well!"),
        ("nan", b', "odd": NaN}'),
        ("bad_encoding", b', "odd": "\xff\xfe"}'),
        ("deep", b"]" * 100000),
        ("html", b"</html>"),
        ("body", b"\x00"),
    ],
)
def test_bodies_that_are_no_json(
    box: Sandbox, client: Client, kind: str, end: bytes
) -> None:
    box.fault("user", kind, body=b"\x00")
    status, body = client.raw("GET", "/api/v0/users/current/")
    assert status == 200
    assert body.endswith(end)


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        ("429_text", 429, "API requests too frequent: endpoint threshold=6.0"),
        ("no_list", 200, {}),
        ("bad_list", 200, {"offers": "some text"}),
        ("bad_rows", 200, {"offers": [1, 2, 3]}),
        ("array", 200, []),
        ("body", 200, {"offers": [{"id": 7}]}),
        ("403", 403, "Forbidden"),
    ],
)
def test_what_a_fault_answers(
    box: Sandbox, client: Client, kind: str, status: int, body: Any
) -> None:
    box.fault("search", kind, body=body)
    assert client.ask("POST", "/api/v0/bundles/", {}) == (status, body)


def test_when_a_fault_hits(box: Sandbox, client: Client) -> None:
    user = "GET", "/api/v0/users/current/"
    box.fault("user", "503", after=1, times=2)
    assert [client.ask(*user)[0] for _ in range(4)] == [200, 503, 503, 200]
    box.fault("*", "500", times=None)
    assert [client.ask(*user)[0] for _ in range(3)] == [500] * 3
    box.clear()
    assert client.ask(*user)[0] == 200
    with pytest.raises(ValueError, match="no fault '500' of 'usr'"):
        box.fault("usr", "500")


def test_headers_of_faults(box: Sandbox, client: Client) -> None:
    def header(kind: str, name: str) -> str:
        box.fault("user", kind, seconds=60)
        client.line.request("GET", "/api/v0/users/current/", headers=client.headers)
        answer = client.line.getresponse()
        answer.read()
        return str(answer.headers[name])

    assert header("429_retry_after", "Retry-After") == "60"
    reset = float(header("429_quota", "X-RateLimit-Reset"))
    assert reset - time.time() == pytest.approx(60, abs=5)
    assert header("redirect_away", "Location") == "http://127.0.0.2:9/"


def test_a_sandbox_stops_at_once_even_when_it_holds_an_answer_back() -> None:
    with Sandbox() as box:
        client = Client(box)
        box.fault("user", "slow", seconds=60)
        client.line.request("GET", "/api/v0/users/current/", headers=client.headers)
        while not box.calls:
            time.sleep(0.001)
        start = time.perf_counter()
    assert time.perf_counter() - start < 0.1
    with pytest.raises((http.client.HTTPException, OSError)):
        client.line.getresponse()


def test_every_call_has_a_name_of_its_own() -> None:
    ways = {(call.method, call.path) for call in CALLS.values()}
    assert len(ways) == len(CALLS)


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["no-such-command"], 127),
        (["/"], 126),
    ],
    ids=str,
)
def test_exit_status(command: list[str], status: int) -> None:
    run = subprocess.run([*SCRIPT, *command], stderr=subprocess.PIPE)
    assert run.returncode == status


def test_the_environment_of_a_command() -> None:
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    given = {**os.environ, "XDG_CONFIG_HOME": "/x", "http_proxy": "http://127.0.0.1:9"}
    run = subprocess.run(
        [*SCRIPT, "python", "-c", show], env=given, stdout=subprocess.PIPE, check=True
    )
    seen = json.loads(run.stdout)
    assert seen["HOME"] != given.get("HOME")
    assert not Path(seen["HOME"]).exists()
    assert seen["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert seen["VAST_URL"].startswith("http://127.0.0.1:")
    assert seen["VAST_API_KEY"] == KEY
    assert not {"XDG_CONFIG_HOME", "http_proxy"} & seen.keys()


def test_ctrl_c_is_for_the_command() -> None:
    child = "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.01; done"
    run = subprocess.Popen(
        [*SCRIPT, "sh", "-c", child],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stdout
    assert run.stdout.readline() == "ready\n"
    os.killpg(run.pid, signal.SIGINT)
    assert run.communicate(timeout=5)[0] == "caught\n"
    assert run.returncode == 5


def test_it_stays_up_without_a_command() -> None:
    run = subprocess.Popen(
        SCRIPT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert run.stdout
    lines = [run.stdout.readline() for _ in "ab"]
    assert lines[0].startswith("export VAST_URL=http://127.0.0.1:")
    assert lines[1] == f"export VAST_API_KEY={KEY}\n"
    run.send_signal(signal.SIGINT)
    assert run.communicate(timeout=5) == ("", "")
    assert run.returncode == 0
