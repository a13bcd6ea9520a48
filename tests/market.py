"""The made-up market behind tests/sandbox.py: what the service knows and what it does.

Nothing here is about HTTP connections: a call takes an `Ask` and returns what the
service answers. Plain resources (keys, variables, roles, …) are rows of a `Store`.
Further calls stand in market_renting.py and market_account.py.

Sections: 1 tables, 2 answers, 3 filters and pages, 4 stores, 5 machines and offers,
6 bills, 7 the market, 8 a renter's calls, 9 a host's calls, 10 calls about money,
11 the table of calls.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
import operator
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from random import Random
from typing import Any, NamedTuple
from urllib.parse import unquote

Row = dict[str, Any]

KEY = "5a4d0c7e" * 8
SEED = 2026
HOST_COUNT = 60
DAY = 86400.0
HOURS_A_MONTH = 720  # the service's month when it prices storage

# ---------------------------------------------------------------- 1 tables


class Gpu(NamedTuple):
    """A card; memory in MB, then TFLOPS, GB/s, DLPerf, $/h and W."""

    name: str
    ram: int
    cap: int
    tflops: float
    bandwidth: float
    dlperf: float
    price: float
    watts: int


GPUS = (
    Gpu("RTX 2080 Ti", 11264, 750, 13.4, 531.2, 12.3, 0.075, 250),
    Gpu("RTX 3060", 12288, 860, 12.7, 327.8, 9.6, 0.052, 170),
    Gpu("RTX 3080", 10240, 860, 29.8, 664.0, 20.4, 0.084, 320),
    Gpu("RTX 3090", 24576, 860, 35.6, 823.9, 31.7, 0.132, 350),
    Gpu("RTX 4070 Ti", 12282, 890, 40.1, 459.0, 30.8, 0.112, 285),
    Gpu("RTX 4080", 16376, 890, 48.7, 661.7, 45.5, 0.172, 320),
    Gpu("RTX 5080", 16303, 1200, 56.3, 857.0, 77.6, 0.204, 360),
    Gpu("RTX A4000", 16376, 860, 19.2, 382.7, 17.3, 0.098, 140),
    Gpu("RTX 4090", 24564, 890, 82.6, 918.4, 95.8, 0.338, 450),
    Gpu("RTX 5090", 32607, 1200, 104.8, 1516.3, 148.2, 0.421, 575),
    Gpu("RTX A6000", 49140, 860, 38.7, 662.8, 38.3, 0.415, 300),
    Gpu("RTX PRO 6000 S", 97887, 1200, 120.0, 1498.6, 165.0, 0.948, 600),
    Gpu("Tesla V100", 32768, 700, 15.7, 791.2, 19.2, 0.183, 300),
    Gpu("A40", 46068, 860, 37.4, 603.5, 33.0, 0.362, 300),
    Gpu("L40S", 46068, 890, 91.6, 744.4, 82.7, 0.674, 350),
    Gpu("A100 SXM4", 81920, 800, 19.5, 1702.5, 136.2, 0.803, 400),
    Gpu("H100 SXM", 81559, 900, 66.9, 2903.3, 311.8, 2.05, 700),
    Gpu("H200", 143771, 900, 66.9, 4198.0, 358.1, 2.58, 700),
    Gpu("B200", 183359, 1000, 75.3, 6907.9, 521.4, 3.86, 1000),
)
HOME_GPUS, SERVER_GPUS = GPUS[:10], GPUS[8:]

# Processor, cores, GHz, board, PCI generation.
HOME_CPUS = (
    ("Core™ i9-13900K ", 32, 5.8, "Z790 AORUS ELITE AX", 5.0),
    ("AMD Ryzen 7 5800X 8-Core Processor", 16, 3.8, "TUF GAMING X570-PLUS", 4.0),
    ("Xeon® E5-2680 v4", 56, 3.3, "X99-P4F", 3.0),
)
SERVER_CPUS = (
    ("AMD EPYC 7713 64-Core Processor", 128, 2.0, "ROMED8-2T", 4.0),
    ("AMD EPYC 9354 32-Core Processor", 128, 3.25, "H13DSG-O-CPU-D", 5.0),
    ("Xeon® Platinum 8468", 192, 3.8, "G593-SD0-AAX1", 5.0),
)
DISKS = ("Samsung SSD 990 PRO 4TB ", "WD_BLACK SN850X HS", "MTFDKCC15T3TGP")
PLACES = tuple(
    "Oregon, US|Virginia, US|Utah, US|Texas, US|Quebec, CA|Germany, DE|France, FR"
    "|Sweden, SE|Norway, NO|Finland, FI|Poland, PL|Czechia, CZ|United Kingdom, GB"
    "|Bulgaria, BG|Japan, JP|Taiwan, TW|Vietnam, VN|Guangdong, CN|Brazil, BR".split("|")
)
DRIVERS = (  # a driver, and the newest CUDA that it runs
    ("535.183.06", 12.2),
    ("550.127.08", 12.4),
    ("565.77", 12.7),
    ("570.133.20", 12.8),
    ("580.65.06", 13.0),
)

GONE = object()  # in an overlay: the key is missing from the row

# What a few of the offers show in place of the right values. Hosts write hostnames,
# places and board names, so anything may stand in these.
ODD_OFFERS: tuple[Row, ...] = (
    {"geolocation": None, "duration": None, "end_date": None},
    {"geolocation": "Norway", "rented": GONE, "external": GONE},
    {"geolocation": ", RU", "num_gpus": 1.0, "gpu_ram": 24576.0, "pci_gen": "4.0"},
    {"geolocation": "Baden-Württemberg, DE", "cpu_name": "Xeon® W-2295 "},
    {"geolocation": "東京都, JP", "mobo_name": "華碩 主機板"},
    {"geolocation": "\x1b[31mRed Square\x1b[0m, RU", "hostname": "a\x1b]0;b\x07"},
    {"geolocation": "Nice\u202eylsuoires, FR", "mobo_name": "\u2066B550\u2069"},
    {"geolocation": "Two\nLines\r\x00\x85, US", "disk_name": "\t%s{}../\x7f"},
    {"dph_total": "0.2931", "inet_up": "512.3", "cpu_ram": "64312"},
    {"cuda_max_good": 12, "cpu_ghz": None, "direct_port_count": -1},
    {"reliability2": None, "reliability": None, "driver_version": None},
    {"score": None, "dlperf": None, "dlperf_per_dphtotal": None},
    {"disk_space": "unlimited", "inet_down": GONE, "search": None},
    {"verification": None, "verified": None, "vericode": None},
    {"verification": GONE, "host_id": "100412", "machine_id": None},
    {"external": 1, "webpage": "javascript:alert(1)", "logo": "../../etc/passwd"},
    {"gpu_name": "Tesla® V100™ ", "gpu_arch": GONE, "cpu_arch": GONE},
    {"gpu_name": None, "gpu_ram": None, "gpu_total_ram": None, "num_gpus": None},
)
# One more offer shows hardly anything: these keys keep their values, the rest is null.
HARDLY_ANYTHING = ("id", "gpu_name", "num_gpus", "dph_total", "verification")

# Rows have up to a hundred fields; they stand several a line, hence the `fmt: skip`.

# Keys that have the same value in every offer.
SAME_IN_ALL: Row = {
    "cpu_arch": "amd64", "gpu_arch": "nvidia", "gpu_lanes": 16, "has_avx": 1, "rn": 1,
    "discounted_hourly": 0, "expected_reliability": 0, "resource_type": "gpu",
    "logo": "/static/none.png", "time_remaining": "", "time_remaining_isbid": "",
    **dict.fromkeys(
        "bundled_results cluster_id discount_rate external hostname nw_disk_avg_bw"
        " nw_disk_max_bw nw_disk_min_bw sla_broker_rate sla_r_claim sla_sigma_x"
        " start_date target_reliability webpage".split()
    ),
}  # fmt: skip
# What is the same in every instance.
SAME_IN_INSTANCES: Row = {
    "cpu_util": 0.0, "direct_port_end": -1, "direct_port_start": -1,
    "disk_usage": -1, "disk_util": -1, "machine_dir_ssh_port": 5300,
    "local_ipaddrs": "192.168.1.20 172.17.0.1 \n", "rentable": False, "volume_info": [],
    **dict.fromkeys(
        "client_run_time country_code credit_balance credit_discount host_run_time"
        " mem_limit mem_usage template_id template_name vmem_usage".split()
    ),
}  # fmt: skip

USER: Row = {
    "id": 48213, "key_id": 90417, "username": "lukasz", "sid": "c0ffee" * 6,
    "api_key": KEY, "email": "lukasz@example.org", "user": "lukasz@example.org",
    "fullname": "Łukasz Müller-Dvořák", "balance": -1.92, "credit": 118.75,
    "balance_threshold": 10.0, "balance_threshold_enabled": True,
    "billaddress_line1": "Příčná 17", "billaddress_line2": None,
    "billaddress_city": "Český Krumlov", "billaddress_zip": "38101",
    "billaddress_country": "CZ", "billed_expected": 0.0, "billed_verified": 312,
    "billing_creditonly": 0, "can_pay": True, "email_verified": True,
    "got_signup_credit": 1, "has_billing": True, "has_payout": True,
    "last4": "4242", "paid_expected": 14.2, "paid_verified": "57.10",
    "password_resettable": True, "paypal_email": None,
    "ssh_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMadeUpForTheSandbox me@pc",
}  # fmt: skip
STRANGER = 61077

# The caller's own machines: id, hostname, place, card, number of cards, listed or not.
OWN_MACHINES = (
    (7101, "höhle-01", "Bavaria, DE", "RTX 4090", 4, True),
    (7102, "rig02", "Bavaria, DE", "RTX 3090", 8, True),
    (7103, "rig03", "Bavaria, DE", "RTX 5090", 2, False),
    (7104, "größe\x1b[1m名前", ", RU", "RTX A4000", 1, True),
)

# What list machine may send, and the key under which a machine row shows it.
LISTING = {
    "price_gpu": "listed_gpu_cost", "price_disk": "listed_storage_cost",
    "price_inetu": "listed_inet_up_cost", "price_inetd": "listed_inet_down_cost",
    "price_min_bid": "min_bid_price", "min_chunk": "listed_min_gpu_count",
    "end_date": "end_date", "credit_discount_max": "credit_discount_max",
    "vol_size": "volume_total_size", "vol_price": "listed_volume_cost",
}  # fmt: skip
# What set defjob must send, and the key under which a machine row shows it.
DEFAULT_JOB = {
    "price_gpu": "bid_gpu_cost",
    "price_inetu": "bid_inet_up_cost",
    "price_inetd": "bid_inet_down_cost",
    "image": "bid_image",
    "args": "bid_image_args",
}
SECONDS_IN = {"day": DAY, "week": 7 * DAY, "month": 30 * DAY, "year": 365 * DAY}

# What the caller may send when renting, by type; null is as good as nothing.
CREATE_KEYS: dict[str, type] = {
    **dict.fromkeys("client_id image template_hash_id label onstart".split(), str),
    **dict.fromkeys("runtype user jupyter_dir extra image_login".split(), str),
    **dict.fromkeys("python_utf8 lang_utf8 use_jupyter_lab force".split(), bool),
    "disk": float, "price": float, "create_from": int, "cancel_unavail": bool,
    "args": list, "env": dict,
}  # fmt: skip
RUNTYPES = set(
    "ssh jupyter args ssh_proxy ssh_direct jupyter_proxy jupyter_direct".split()
)
# What every template stands for, whatever its hash.
TEMPLATE: Row = {
    "image": "example/notebook:cuda12",
    "disk": 32.0,
    "runtype": "jupyter_direct ssh_direct ssh_proxy",
}
BROKEN_IMAGE = "broken/image"
IMAGE_GB = 6.4  # what pulling an image adds to the bill

# What actual_status is after each order, until which part of the boot time has passed.
PHASES: dict[str, tuple[tuple[float, str | None], ...]] = {
    "create": ((1 / 3, None), (1.0, "loading"), (math.inf, "running")),
    "start": ((1.0, "loading"), (math.inf, "running")),
    "stop": ((1.0, "running"), (math.inf, "stopped")),
    "reboot": ((1.0, "rebooting"), (math.inf, "running")),
    "recycle": ((1 / 3, "recycling"), (1.0, "loading"), (math.inf, "running")),
}
STATUS_MSG = {
    "loading": "{image}: layer 3 of 7 pulled",
    "running": "success, {image} is up",
    "exited": "pull access denied for {image}",
}

# ---------------------------------------------------------------- 2 answers


class Refused(Exception):
    """What the service answers when it does not do what it was asked to."""

    def __init__(self, msg: str, status: int = 400, error: str = "invalid_args"):
        super().__init__(msg)
        self.reply = error_reply(status, error, msg)


def require(
    sound: bool, msg: str, status: int = 400, error: str = "invalid_args"
) -> None:
    """Refuse the request unless it is sound."""
    if not sound:
        raise Refused(msg, status, error)


class Reply(NamedTuple):
    """An HTTP answer; `delay` is how many seconds it is held back."""

    status: int
    body: bytes
    kind: str = "application/json"
    headers: tuple[str, ...] = ()
    delay: float = 0.0


class Stream(NamedTuple):
    """Raw pieces for the connection, `pause` seconds apart; then it is closed."""

    pieces: Iterable[bytes]
    pause: float = 0.0


Answer = Reply | Stream


def json_reply(value: Any, status: int = 200, *headers: str) -> Reply:
    """Return the answer that carries a JSON value."""
    return Reply(status, json.dumps(value).encode(), headers=headers)


def error_reply(status: int, error: str, msg: str, *headers: str) -> Reply:
    """Return the answer to a call that is refused."""
    return json_reply({"success": False, "error": error, "msg": msg}, status, *headers)


def text_reply(status: int, text: str, *headers: str) -> Reply:
    """Return the answer that carries plain text, or HTML."""
    kind = "text/html" if text.startswith("<") else "text/plain"
    return Reply(status, text.encode(), kind, headers)


def wire(reply: Reply, length: int | None = None) -> bytes:
    """Return the whole answer as sent; `length` is announced, if given."""
    head = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}"]
    head += reply.headers
    if reply.status != HTTPStatus.NO_CONTENT:
        size = len(reply.body) if length is None else length
        head += [f"Content-Type: {reply.kind}", f"Content-Length: {size}"]
    return "\r\n".join([*head, "", ""]).encode() + reply.body


def parse_json(text: str | bytes, kind: type, what: str) -> Any:
    """Return the decoded text; raise Refused unless it is JSON of the kind."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Refused(f"{what} is no JSON: {error}", 400, "invalid_request") from error
    require(isinstance(value, kind), f"{what} must be a JSON {kind.__name__}")
    return value


# ---------------------------------------------------------------- 3 filters and pages


def number(value: Any) -> float | None:
    """Return the value as a number; None for null and for text that is none."""
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def country(row: Row) -> str | None:
    """Return the two letters at the end of the row's location."""
    found = re.search(r"\b([A-Z]{2})$", row.get("geolocation") or "")
    return found[1] if found else None


# Fields whose filter looks at something else than the row's value of that name.
VIEWS: dict[str, Callable[[Row], Any]] = {
    "datacenter": lambda row: row.get("hosting_type") == 1,
    "driver_version": lambda row: row.get("driver_vers"),
    "external": lambda row: bool(row.get("external")),
    "geolocation": country,
    "has_avx": lambda row: bool(row.get("has_avx")),
    "ubuntu_version": lambda row: row.get("os_version"),
    "verified": lambda row: row.get("verification") == "verified",
}
# The types of filter values that the rows' own values do not tell.
WIRE_TYPES: dict[str, type] = {
    **dict.fromkeys(["cluster_id", "driver_version", "os_version"], float),
    **dict.fromkeys(["start_date", "ubuntu_version"], float),
    **dict.fromkeys(["datacenter", "external", "has_avx", "verified"], bool),
}
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq, "neq": operator.ne,
    "gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le,
    "in": lambda value, wanted: value in wanted,
    "notin": lambda value, wanted: value not in wanted,
}  # fmt: skip
ORDERED, LISTED = {"gt", "gte", "lt", "lte"}, {"in", "notin"}


def field_types(row: Row) -> dict[str, type]:
    """Return the filter fields of rows like this, and their types; `object` is any."""
    types: dict[str, type] = {}
    for name, value in row.items():
        if value is None or isinstance(value, (bool, str)):
            types[name] = object if value is None else type(value)
        elif not isinstance(value, (dict, list)):
            types[name] = float
    return types | WIRE_TYPES


def is_a(value: Any, kind: type) -> bool:
    """Tell whether a JSON value is of the kind; a boolean is no number."""
    if kind in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def check_filter(types: Mapping[str, type], name: str, tests: Any) -> None:
    """Refuse a filter with an unknown field or operator or a value of a wrong type."""
    known = name in types and isinstance(tests, dict)
    require(known, f"{name} is not a valid search key")
    for op, wanted in tests.items():
        comparable = op not in ORDERED or types[name] is float
        require(op in OPERATORS and comparable, f"{name} does not take {op}")
        require((op in LISTED) == isinstance(wanted, list), f"{name} {op}: bad value")
        for value in wanted if op in LISTED else [wanted]:
            null = value is None and op not in ORDERED
            require(null or is_a(value, types[name]), f"{name} {op}: bad type")


def passes(row: Row, name: str, tests: Row, kind: type) -> bool:
    """Tell whether a row passes all tests on a field; null is neither more nor less."""
    value = VIEWS[name](row) if name in VIEWS else row.get(name)
    if kind is float:
        value = number(value)
    if value is None and not ORDERED.isdisjoint(tests):
        return False
    return all(OPERATORS[op](value, wanted) for op, wanted in tests.items())


def filtered(rows: list[Row], filters: Row, types: Mapping[str, type]) -> list[Row]:
    """Return the rows that pass all filters; raise Refused for an unsound filter."""
    for name, tests in filters.items():
        check_filter(types, name, tests)
    return [
        row
        for row in rows
        if all(passes(row, name, tests, types[name]) for name, tests in filters.items())
    ]


def sort_key(value: Any) -> tuple[bool, float, str]:
    """Return the place of a value among others: numbers first, then text."""
    size = number(value)
    return (True, 0.0, str(value)) if size is None else (False, size, "")


def ordered(rows: list[Row], keys: Sequence[tuple[str, bool]]) -> list[Row]:
    """Return the rows sorted by (field, descending) pairs; nulls last either way."""
    for name, descending in reversed(keys):
        known = [row for row in rows if row.get(name) is not None]
        known.sort(key=lambda row: sort_key(row[name]), reverse=descending)
        rows = known + [row for row in rows if row.get(name) is None]
    return rows


def order_keys(order: Any, types: Mapping[str, type]) -> list[tuple[str, bool]]:
    """Return a search's `order` as (field, descending) pairs."""
    require(is_a(order, list), "order must be an array")
    for key in order:
        sound = is_a(key, list) and len(key) == 2 and key[1] in ("asc", "desc")
        sound = sound and is_a(key[0], str) and key[0] in types
        require(sound, f"cannot order by {key!r}")
    return [(name, way == "desc") for name, way in order]


def column_keys(text: str, columns: Iterable[str]) -> list[tuple[str, bool]]:
    """Return a query's `order_by` as (column, descending) pairs."""
    order, known = parse_json(text, list, "order_by"), list(columns)
    for key in order:
        require(is_a(key, dict) and key.get("col") in known, f"no column: {key!r}")
    return [(key["col"], key.get("dir") == "desc") for key in order]


def bundled(rows: list[Row]) -> list[Row]:
    """Return one row for the equal offers of a machine; it counts them if several."""
    bundles: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        same = tuple(row.get(name) for name in ("machine_id", "num_gpus", "dph_total"))
        bundles.setdefault(same, []).append(row)
    several = [len(same) if len(same) > 1 else None for same in bundles.values()]
    firsts = [same[0] for same in bundles.values()]
    return [{**row, "bundled_results": n} for row, n in zip(firsts, several)]


def page(rows: list[Row], query: Mapping[str, str], most: int) -> tuple[Any, Any]:
    """Return the rows of the page that a query asks for, and the next page's token."""
    try:
        limit = int(query.get("limit", most))
        token = query.get("after_token") or "MA=="
        start = int(base64.b64decode(token, validate=True))
    except ValueError as error:
        raise Refused("there is no such page", 400, "invalid_token") from error
    end = start + (min(limit, most) if limit > 0 else 5)
    following = base64.b64encode(str(end).encode()).decode()
    return rows[start:end], following if end < len(rows) else None


# ---------------------------------------------------------------- 4 stores

# How the service refuses: the HTTP status and the slug.
Refusal = tuple[int, str]
INVALID: Refusal = (400, "invalid_args")


def check_body(
    body: Mapping[str, Any],
    fields: Mapping[str, type],
    required: Iterable[str] = (),
    refusal: Refusal = INVALID,
) -> Row:
    """Return what the body gives: no nulls, and no `client_id`, which is always "me".

    Raise Refused for a key that is not among the fields, a value of the wrong type
    (float takes integers, object takes all) and a required key that is not given.
    """
    given = {name: value for name, value in body.items() if value is not None}
    require(given.pop("client_id", "me") == "me", "client_id must be me", *refusal)
    for name, value in given.items():
        require(name in fields, f"unknown key {name!r}", *refusal)
        kind = fields[name]
        require(is_a(value, kind), f"{name} must be a {kind.__name__}", *refusal)
    for name in required:
        require(name in given, f"{name} is missing", *refusal)
    return given


@dataclass(eq=False)
class Store:
    """The rows of a plain resource, by id; each row holds its id under `id_key`.

    `fields` are the keys that create and update take; `unique` is one of them that no
    two rows have in common. `check` looks at the given values and may raise Refused.
    What is not given on create is taken from `defaults`.
    """

    noun: str
    fields: Mapping[str, type]
    required: Sequence[str] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    unique: str = ""
    check: Callable[[Row], None] = lambda given: None
    most: int = 1000
    invalid: Refusal = INVALID
    missing: Refusal = (404, "not_found")
    taken: Refusal = (400, "invalid_args")
    full: Refusal = (400, "invalid_args")
    id_key: str = "id"
    next_id: int = 1
    rows: dict[Any, Row] = field(default_factory=dict)

    def all(self) -> list[Row]:
        """Return all rows, the oldest first."""
        return list(self.rows.values())

    def get(self, key: Any) -> Row:
        """Return the row with this id."""
        require(key in self.rows, f"there is no {self.noun} {key}", *self.missing)
        return self.rows[key]

    def find(self, **wanted: Any) -> Row | None:
        """Return the first row with these values, None when there is none."""
        pairs = wanted.items()
        rows = self.rows.values()
        return next((row for row in rows if pairs <= row.items()), None)

    def accepted(self, body: Row, required: Iterable[str] = ()) -> Row:
        """Return what a body gives, when that may be saved."""
        given = check_body(body, self.fields, required, self.invalid)
        self.check(given)
        return given

    def add(self, row: Row) -> Row:
        """Put a row in as it is, under its id or the next free one; return it."""
        key = row.get(self.id_key, self.next_id)
        if isinstance(key, int):
            self.next_id = max(self.next_id, key + 1)
        self.rows[key] = {self.id_key: key, **row}
        return self.rows[key]

    def create(self, body: Row, **more: Any) -> Row:
        """Add what a body gives, and `more` that the service adds; return the row."""
        given = self.accepted(body, self.required)
        name = given.get(self.unique)
        free = name is None or self.find(**{self.unique: name}) is None
        require(free, f"{self.noun} {name} exists", *self.taken)
        short = len(self.rows) < self.most
        require(short, f"there are {self.most} of them: {self.noun}", *self.full)
        empty = dict.fromkeys(self.fields)
        return self.add({**empty, **self.defaults, **given, **more})

    def update(self, key: Any, body: Row, **more: Any) -> Row:
        """Change what a body gives, keep the rest; return the row."""
        row = self.get(key)
        given = self.accepted(body)
        name = given.get(self.unique)
        twin = None if name is None else self.find(**{self.unique: name})
        require(twin in (None, row), f"{self.noun} {name} exists", *self.taken)
        row |= {**given, **more}
        return row

    def delete(self, key: Any) -> Row:
        """Remove a row; return it."""
        self.get(key)
        return self.rows.pop(key)


# ---------------------------------------------------------------- 5 machines and offers


@dataclass(eq=False, slots=True)
class Machine:
    """A machine: what it has, and its owner's terms under the keys of a machine row.

    All markets share `hardware`, which is why nothing is changed in it.
    """

    hardware: Mapping[str, Any]
    terms: Row
    hostname: str
    gpu: Gpu
    cards: int


@dataclass(eq=False, slots=True)
class Offer:
    """Some cards of a machine; `odd` is shown in place of the right values.

    All markets share `row`, which is why nothing is changed in it.
    """

    row: Mapping[str, Any]
    machine: Machine
    cards: Sequence[int]
    odd: Row = field(default_factory=dict)
    rental: Rental | None = None


@dataclass(eq=False)
class Rental:
    """An instance, and the last order that it was given."""

    id: int
    offer: Offer
    owner: int
    row: Row
    created: float
    ordered: float
    order: str = "create"
    odd: Row = field(default_factory=dict)


def overlaid(row: Row, odd: Row) -> Row:
    """Return the row with its odd values; GONE takes a key away."""
    both = {**row, **odd}
    if any(value is GONE for value in odd.values()):
        return {k: v for k, v in both.items() if v is not GONE}
    return both


def make_host(host_id: int, place: str, standing: str, datacenter: bool) -> Row:
    """Return what all machines of a host have in common."""
    verified = standing == "verified"
    return {
        "host_id": host_id, "hosting_type": int(datacenter), "geolocation": place,
        "static_ip": datacenter, "verification": standing, "verified": verified,
        "vericode": int(verified), "is_vm_deverified": standing == "deverified",
    }  # fmt: skip


def computer(dice: Random, server: bool) -> Row:
    """Return the part of the hardware around the cards."""
    cpu, cores, ghz, board, pci_gen = dice.choice(SERVER_CPUS if server else HOME_CPUS)
    driver, cuda = dice.choice(DRIVERS)
    major, minor, patch = [int(part) for part in f"{driver}.0".split(".")[:3]]
    trust = round(dice.uniform(0.985 if server else 0.88, 0.9995), 7)
    mbits = dice.uniform(2000, 9500) if server else dice.uniform(80, 1900)
    return {
        "cpu_cores": cores, "cpu_ghz": ghz, "cpu_name": cpu, "mobo_name": board,
        "pci_gen": pci_gen, "pcie_bw": round(pci_gen**2 * dice.uniform(1.2, 2.1), 1),
        "cpu_ram": dice.choice([4, 8] if server else [1, 2]) * 64307,
        "disk_bw": round(dice.uniform(480, 7200), 1), "disk_name": dice.choice(DISKS),
        "driver_version": driver, "cuda_max_good": cuda,
        "driver_vers": major * 1000000 + minor * 1000 + patch,
        "os_version": dice.choice(["20.04", "22.04", "24.04"]),
        "vms_enabled": server and dice.random() < 0.3,
        "reliability": trust, "reliability2": trust,
        "reliability_mult": round(trust**3, 7),
        "inet_down": round(mbits, 1), "inet_up": round(mbits * dice.random(), 1),
        "direct_port_count": dice.choice([0, 4, 12, 99, 249, 500]),
        "gpu_max_temp": dice.randrange(24, 88), "geolocode": dice.randrange(2**30),
        "gpu_display_active": not server and dice.random() < 0.1,
    }  # fmt: skip


def make_terms(dice: Random, gpu: Gpu, chunk: int, now: float) -> Row:
    """Return what a made-up owner asks for."""
    price = round(gpu.price * dice.uniform(0.85, 1.35), 4)
    traffic = dice.choice([0.001953125, 0.0029296875, 0.0048828125])
    return {
        "listed": True, "listed_gpu_cost": price, "listed_min_gpu_count": chunk,
        "listed_storage_cost": dice.choice([0.1, 0.15, 0.2, 0.3]),
        "listed_inet_up_cost": traffic, "listed_inet_down_cost": traffic,
        "min_bid_price": round(price * dice.uniform(0.4, 0.8), 4),
        "credit_discount_max": dice.choice([0, 0, 0.1, 0.25, 0.4]),
        "volume_total_size": dice.choice([0, 200, 1500]), "listed_volume_cost": 0.15,
        "end_date": float(round(now + dice.uniform(2, 300) * DAY)),
        **dict.fromkeys(DEFAULT_JOB.values()),
    }  # fmt: skip


def make_machine(
    dice: Random, host: Row, machine_id: int, gpu: Gpu, cards: int, now: float
) -> Machine:
    """Return a made-up machine of the host."""
    parts = {
        **host,
        **computer(dice, host["hosting_type"] == 1 or cards > 3),
        "machine_id": machine_id, "public_ipaddr": f"203.0.113.{machine_id % 254 + 1}",
        "disk_space": round(dice.uniform(120, 900) * cards, 1),
        "gpu_name": gpu.name, "gpu_ram": gpu.ram, "gpu_max_power": gpu.watts,
        "gpu_mem_bw": gpu.bandwidth, "compute_cap": gpu.cap,
        "bw_nvlink": 478.1 if "SXM" in gpu.name else 0,
    }  # fmt: skip
    chunk = dice.choice([part for part in (1, 1, 2, 4, cards) if cards % part == 0])
    terms = make_terms(dice, gpu, chunk, now)
    return Machine(parts, terms, f"node{machine_id}", gpu, cards)


def others_machines(dice: Random, now: float) -> Iterator[Machine]:
    """Yield the machines of other people; all those of a datacenter are verified."""
    standings = ["verified"] * 8 + ["unverified"] * 3 + ["deverified"]
    for host_id in range(100000, 100000 + 37 * HOST_COUNT, 37):
        server = dice.random() < 0.35
        standing = "verified" if server else dice.choice(standings)
        host = make_host(host_id, dice.choice(PLACES), standing, server)
        ids = range(host_id - 80000, host_id - 80000 + 37)
        for machine_id in dice.sample(ids, dice.choice([2, 3])):
            gpu = dice.choice(SERVER_GPUS if server else HOME_GPUS)
            cards = dice.choice([1, 2, 4, 8, 8] if server else [1, 1, 2, 4, 6, 8])
            yield make_machine(dice, host, machine_id, gpu, cards, now)


def users_machines(dice: Random, now: float) -> Iterator[Machine]:
    """Yield the caller's own machines, all of them verified."""
    gpus = {gpu.name: gpu for gpu in HOME_GPUS}
    for machine_id, hostname, place, name, cards, listed in OWN_MACHINES:
        host = make_host(USER["id"], place, "verified", False)
        machine = make_machine(dice, host, machine_id, gpus[name], cards, now)
        machine.terms |= {"listed": listed, "listed_min_gpu_count": 1}
        machine.hostname = hostname
        yield machine


@cache
def made_machines() -> tuple[Machine, ...]:
    """Return all machines, made once: markets differ in the owners' terms only."""
    dice, now = Random(SEED), time.time()
    return (*users_machines(dice, now), *others_machines(dice, now))


def volume_offer_id(machine: Machine) -> int:
    """Return the id under which space for volumes on the machine is offered."""
    return 30000000 + int(machine.hardware["machine_id"])


def offer_row(machine: Machine, cards: Sequence[int]) -> Row:
    """Return the offer of some cards of a machine, less what depends on the search."""
    parts, terms, count = machine.hardware, machine.terms, len(cards)
    up, down = terms["listed_inet_up_cost"], terms["listed_inet_down_cost"]
    share = count / machine.cards
    # No two offers of a machine have their first card in common.
    offer_id = 20000000 + parts["machine_id"] * 128 + cards[0] * 16 + count
    return {
        **SAME_IN_ALL,
        **parts,
        "id": offer_id, "ask_contract_id": offer_id,
        "avail_vol_ask_id": volume_offer_id(machine),
        "bundle_id": 900000000 + parts["machine_id"] * 16 + count,
        "gpu_ids": [parts["machine_id"] * 16 + card for card in cards],
        "num_gpus": count, "gpu_frac": share, "gpu_total_ram": parts["gpu_ram"] * count,
        "cpu_cores_effective": parts["cpu_cores"] * share,
        "disk_space": round(parts["disk_space"] * share, 1),
        "dlperf": round(machine.gpu.dlperf * count * 0.98, 4),
        "total_flops": round(machine.gpu.tflops * count, 4),
        "dph_base": terms["listed_gpu_cost"] * count,
        "min_bid": round(terms["min_bid_price"] * count, 6),
        "storage_cost": terms["listed_storage_cost"], "end_date": terms["end_date"],
        "inet_up_cost": up, "internet_up_cost_per_tb": up * 1024,
        "inet_down_cost": down, "internet_down_cost_per_tb": down * 1024,
        "credit_discount_max": terms["credit_discount_max"],
        "avail_vol_size": terms["volume_total_size"],
        "avail_vol_dph": terms["listed_volume_cost"] / HOURS_A_MONTH,
    }  # fmt: skip


def offers_on(machine: Machine, free: Sequence[int]) -> Iterator[Offer]:
    """Yield free cards of a machine in chunks of the size that its owner wants."""
    chunk = machine.terms["listed_min_gpu_count"]
    if machine.terms["listed"]:
        for start in range(0, len(free) - chunk + 1, chunk):
            cards = free[start : start + chunk]
            yield Offer(offer_row(machine, cards), machine, cards)


@cache
def made_offers() -> tuple[Offer, ...]:
    """Return the offers on all machines as these were made."""
    made = made_machines()
    return tuple(offer for m in made for offer in offers_on(m, range(m.cards)))


def hourly(gpu: float, disk: float) -> Row:
    """Return the nested object that says what an hour costs."""
    total = gpu + disk
    price = {"gpuCostPerHour": gpu, "diskHour": disk, "totalHour": total}
    return {**price, "discountTotalHour": 0, "discountedTotalPerHour": total}


def priced(row: Mapping[str, Any], base: float, storage: float, now: float) -> Row:
    """Return an offer at a price in $/h without its disk, with `storage` GB of disk."""
    disk = storage * row["storage_cost"] / HOURS_A_MONTH
    total = base + disk
    # What people look for first: much for the money, in numbers, from a datacenter.
    liked = row["reliability"] ** 2 * (1 + row["hosting_type"])
    return {
        **row,
        "dph_base": base, "dph_total": total, "discounted_dph_total": total,
        "dph_total_adj": total + row["inet_up_cost"] + row["inet_down_cost"],
        "dlperf_per_dphtotal": row["dlperf"] / total,
        "flops_per_dphtotal": row["total_flops"] / total,
        "vram_costperhour": base / (row["gpu_ram"] * row["num_gpus"] / 1024),
        "score": row["dlperf"] / total * liked * math.sqrt(row["num_gpus"]),
        "search": hourly(base, disk), "instance": hourly(0, disk),
        "storage_total_cost": disk, "duration": row["end_date"] - now,
    }  # fmt: skip


# The field that each type of search takes for the price without the disk.
BASE_PRICES = {
    "on-demand": "dph_base",
    "ondemand": "dph_base",
    "bid": "min_bid",
    "reserved": "dph_base",
}


def shown(
    offer: Offer, now: float, kind: str = "on-demand", storage: float = 8.0
) -> Row:
    """Return the offer as a search of a type shows it."""
    row = priced(offer.row, offer.row[BASE_PRICES[kind]], storage, now)
    free = offer.rental is None
    row |= {"rentable": free, "rented": not free, "is_bid": kind == "bid"}
    return overlaid(row, offer.odd) if offer.odd else row


# ---------------------------------------------------------------- 6 bills

# Bills of some months ago, besides the regular ones: how many days ago (None: no
# timestamp), and the row.
ODD_BILLS: tuple[tuple[float | None, Row], ...] = (
    (131, {"type": "payment", "amount": "-50.00", "is_credit": True, "last4": "4242"}),
    (97, {"type": "payment", "amount": 12.5, "is_credit": False, "last4": None}),
    (None, {"type": "payment", "amount": -20, "is_credit": True, "last4": None}),
    (64, {"type": "payment", "amount": 0, "is_credit": False, "last4": "4242"}),
    (63, {"type": "charge", "amount": "0.000", "description": "Instance 3077 nothing"}),
    (61, {"type": "charge", "amount": 0.0004, "quantity": 0.002, "rate": 0.2}),
    (35, {"type": "charge", "amount": 7, "description": "Łódź\x1b[1m東京\u202e%s"}),
    (34, {"type": "charge", "amount": "3.1250", "description": "a long story " * 14}),
    (None, {"type": "charge", "amount": "1.25", "description": "Instance 3077 disk"}),
)
GPU_TIME, STORAGE = "GPU charge: hours * $/hr", "storage charge: hours * $/hr"
UPLOAD, DOWNLOAD = "upload charge: GB * $/GB", "download charge: GB * $/GB"


def charge_row(when: float, instance: int, what: str, much: float, rate: float) -> Row:
    """Return a charge in the shape of the old list, without its id."""
    return {
        "type": "charge", "timestamp": when, "instance_id": instance,
        "description": f"Instance {instance} {what}",
        "quantity": much, "rate": rate, "amount": round(much * rate, 4),
    }  # fmt: skip


def month_of_bills(dice: Random, start: float) -> Iterator[Row]:
    """Yield the charges of two instances, some with text for numbers, and a payment."""
    for instance in (3000 + dice.randrange(900), 4000 - dice.randrange(90)):
        when = float(round(start + dice.uniform(1, 27) * DAY))
        hours, rate = round(dice.uniform(3, 160), 3), round(dice.uniform(0.08, 0.9), 4)
        yield charge_row(when, instance, GPU_TIME, hours, rate)
        yield charge_row(when, instance, STORAGE, hours, 0.0028)
        row = charge_row(when, instance, UPLOAD, round(hours / 7, 3), 0.0049)
        yield row | {key: f"{row[key]:.4f}" for key in ("quantity", "rate", "amount")}
    card = {"is_credit": False, "last4": "4242", "timestamp": start + 27.25 * DAY}
    yield {"type": "payment", "amount": -25.0 * dice.randrange(1, 5), **card}


def billing_history(dice: Random, now: float) -> list[Row]:
    """Return the bills of the last half year, in the shape of the old list."""
    today = float(round(now))
    rows = [
        {"timestamp": None if days is None else today - days * DAY, **odd}
        for days, odd in ODD_BILLS
    ]
    for month in range(6, 0, -1):
        rows += month_of_bills(dice, today - month * 30 * DAY)
    rows = ordered(rows, [("timestamp", False)])
    return [{"id": 880001 + index, **row} for index, row in enumerate(rows)]


# ---------------------------------------------------------------- 7 the market


def ports_of(runtype: str, env: Row, instance_id: int) -> Row | None:
    """Return the open ports: ssh when it is direct, and those of `-p` in env."""
    asked = [re.fullmatch(r"-p \d+:(\d+)(/tcp|/udp)?", name) for name in env]
    wanted = ["22/tcp"] if "direct" in runtype else []
    wanted += [found[1] + (found[2] or "/tcp") for found in asked if found]
    first = 40000 + instance_id % 2000 * 10
    return {
        port: [{"HostIp": ip, "HostPort": str(first + i)} for ip in ("0.0.0.0", "::")]
        for i, port in enumerate(wanted)
    } or None


def rental_fields(offer: Offer, body: Row, instance_id: int) -> Row:
    """Return what the row of an instance adds to the offer: its order and address."""
    runtype, env, price = body["runtype"], body.get("env", {}), body.get("price")
    proxy = instance_id % 9 + 1
    return {
        **SAME_IN_INSTANCES,
        "id": instance_id, "label": body.get("label"), "onstart": body.get("onstart"),
        "image_uuid": body["image"], "image_args": body.get("args", []),
        # Today's service cuts some of the words short.
        "image_runtype": runtype.replace("_direct", "_direc"),
        "extra_env": [[name, text] for name, text in env.items()],
        "template_hash_id": body.get("template_hash_id"),
        "disk_space": float(body["disk"]), "gpu_totalram": offer.row["gpu_total_ram"],
        "is_bid": price is not None, "min_bid": price or offer.row["min_bid"],
        "ports": ports_of(runtype, env, instance_id),
        "public_ipaddr": offer.row["public_ipaddr"] + "\n",
        "ssh_host": f"ssh{proxy}.vast.ai", "ssh_idx": str(proxy),
        "ssh_port": 10000 + instance_id % 5000 * 2,
    }  # fmt: skip


# What gives a fresh market its stores and its state, module by module.
FURNISHERS: list[Callable[[Market], None]] = []


def furnisher(furnish: Callable[[Market], None]) -> Callable[[Market], None]:
    """Have every new market furnished by this function; use no `market.dice` in it."""
    FURNISHERS.append(furnish)
    return furnish


class Market:
    """The offers, machines, instances and bills, and the user that the key belongs to.

    `rented` lists (offer id, instance id) of every rental that the user ever made, and
    `destroyed` the ids of the instances that the user gave back. `retired` holds the
    names of calls that the service has no longer. `messages` tell the status_msg of
    instances that have more to say than their status. `stores` are the plain resources
    by name, and `state` is whatever else the calls of other modules remember. `url` is
    where the sandbox is reached.
    """

    def __init__(self) -> None:
        self.dice = Random(SEED)
        self.run_on(time.monotonic, 0.0)
        self.user: Row = dict(USER)
        self.bad_key_status = 401
        self.retired: set[str] = set()
        self.rented: list[tuple[int, int]] = []
        self.destroyed: list[int] = []
        self.rentals: dict[int, Rental] = {}
        self.offers: dict[int, Offer] = {}
        self.ids = itertools.count(5001)
        self.machines: dict[int, Machine] = {}
        # Most tests have a market of their own: what is made once is only copied.
        for m in made_machines():
            machine = Machine(m.hardware, {**m.terms}, m.hostname, m.gpu, m.cards)
            self.machines[m.hardware["machine_id"]] = machine
        for o in made_offers():
            machine = self.machines[o.row["machine_id"]]
            self.offers[o.row["id"]] = Offer(o.row, machine, o.cards)
        self.add_odd_offers()
        self.add_strangers()
        self.types = field_types(shown(next(iter(self.offers.values())), self.now()))
        self.invoices = billing_history(self.dice, self.now())
        self.url = ""
        self.messages: dict[int, Callable[[], str | None]] = {}
        self.stores: dict[str, Store] = {}
        self.state: dict[str, Any] = {}
        for furnish in FURNISHERS:
            furnish(self)

    def run_on(self, clock: Callable[[], float], boot: float) -> None:
        """Take the time from `clock`; instances need `boot` seconds to come up."""
        self.clock = clock
        self.boot = boot
        self.origin = time.time() - clock()

    def now(self) -> float:
        """Return the time in unix seconds."""
        return self.origin + self.clock()

    def offers_of(self, machine: Machine) -> list[Offer]:
        """Return the offers on a machine, taken or not."""
        return [offer for offer in self.offers.values() if offer.machine is machine]

    def relist(self, machine: Machine) -> None:
        """Make the offers of the machine's free cards anew."""
        taken: set[int] = set()
        for offer in self.offers_of(machine):
            if offer.rental:
                taken.update(offer.cards)
            else:
                del self.offers[offer.row["id"]]
        free = [c for c in range(machine.cards) if c not in taken]
        for offer in offers_on(machine, free):
            self.offers[offer.row["id"]] = offer

    def add_odd_offers(self) -> None:
        """Make a few offers show odd values, none of them among the best."""
        plain = [o.row for o in self.offers.values() if not o.row["hosting_type"]]
        plain = [r for r in plain if r["verified"] and r["num_gpus"] < 4][20::3]
        nulls = {key: None for key in plain[0] if key not in HARDLY_ANYTHING}
        for row, odd in zip(plain, (nulls, *ODD_OFFERS)):
            self.offers[row["id"]].odd = odd

    def add_strangers(self) -> None:
        """Have other people rent two of the user's offers, and every ninth."""
        ids = itertools.count(4001)
        everyday = {"image": "example/stranger:1", "disk": 20.0, "runtype": "ssh"}
        own = self.offers_of(self.machines[OWN_MACHINES[1][0]])
        right = [offer for offer in self.offers.values() if not offer.odd]
        for offer in own[:2] + right[20::9]:
            bid = {"price": offer.row["min_bid"]} if offer is own[1] else {}
            self.rent(offer, {**everyday, **bid}, next(ids), STRANGER)

    def rent(self, offer: Offer, body: Row, instance_id: int, owner: int) -> Rental:
        """Hand an offer over to somebody; `body` as sent to create, and complete."""
        now = self.now()
        base = body.get("price") or offer.row["dph_base"]
        row = priced(offer.row, base, body["disk"], now)
        row |= rental_fields(offer, body, instance_id)
        row |= {"jupyter_token": self.dice.randbytes(32).hex(), "start_date": now}
        rental = Rental(instance_id, offer, owner, row, created=now, ordered=now)
        self.rentals[instance_id] = offer.rental = rental
        return rental

    def instance_row(self, rental: Rental) -> Row:
        """Return the instance as the service shows it now."""
        row, now = rental.row, self.now()
        share = min((now - rental.ordered) / self.boot, 1.0) if self.boot else 1.0
        status = next(name for part, name in PHASES[rental.order] if share < part)
        if status == "running" and row["image_uuid"].startswith(BROKEN_IMAGE):
            status = "exited"
        message = STATUS_MSG.get(status or "", "").format(image=row["image_uuid"])
        tell = self.messages.get(rental.id, str)
        goal = "stopped" if rental.order == "stop" else "running"
        row = {
            **row,
            "actual_status": status, "status_msg": tell() or message or None,
            "intended_status": goal, "cur_state": goal, "next_state": goal,
            "duration": row["end_date"] - now,
            "uptime_mins": (now - rental.ordered) / 60,
            "gpu_util": float(rental.id * 7 % 101), "gpu_temp": 30.0 + rental.id % 50,
        }  # fmt: skip
        if status != "running":
            row |= dict.fromkeys(["ports", "uptime_mins", "gpu_util", "gpu_temp"])
        return overlaid(row, rental.odd)

    def own_rows(self) -> list[Row]:
        """Return the user's instances as the service shows them now."""
        mine = [r for r in self.rentals.values() if r.owner == self.user["id"]]
        return [self.instance_row(rental) for rental in mine]

    def own_rental(self, instance_id: int, error: str = "no_such_instance") -> Rental:
        """Return the user's instance; raise Refused when there is none."""
        rental = self.rentals.get(instance_id)
        if rental is None or rental.owner != self.user["id"]:
            raise Refused(f"you have no instance {instance_id}", 404, error)
        return rental

    def own_machines(self) -> list[Machine]:
        """Return the machines that the user rents out."""
        machines, mine = self.machines.values(), self.user["id"]
        return [machine for machine in machines if machine.hardware["host_id"] == mine]

    def own_machine(self, machine_id: Any) -> Machine:
        """Return the user's machine; raise Refused when there is none."""
        require(is_a(machine_id, int), "machine must be the id of a machine")
        machine = self.machines.get(machine_id)
        if machine is None or machine not in self.own_machines():
            raise Refused(f"machine {machine_id} is not yours", 403, "not_authorized")
        return machine

    def charge(self, rental: Rental, what: str, much: float, rate: float) -> None:
        """Bill something to the user."""
        row = charge_row(self.now(), rental.id, what, much, rate)
        self.invoices.append({"id": 990001 + len(self.invoices), **row})
        self.user["credit"] -= row["amount"]
        self.user["balance"] -= row["amount"]


class Ask(NamedTuple):
    """A request as a call sees it.

    `id` is the first integer in the path, 0 when there is none, and `words` the values
    of all its placeholders as text, percent-decoded.
    """

    market: Market
    id: int
    query: Mapping[str, str]
    body: Row
    words: tuple[str, ...] = ()
    headers: Mapping[str, str] = {}


# What a request must bring: the API key; nothing, but the key may come; a token of the
# call's own in place of the key, which is a leak; no credentials of any kind.
KEYED, OPEN, TOKEN, BARE = "keyed", "open", "token", "bare"


class Call(NamedTuple):
    """A call of the service.

    `path` may have placeholders: `{id}` and `{…_id}` are integers, any other is text.
    `work` returns a Reply, or any other value, which is sent as JSON. `vital` is the
    key that makes an answer one; "" means the whole answer: a bare array, or text.
    At most `burst` calls are taken in burst * threshold seconds (0: any number); one
    too many costs `penalty` seconds. `owned`: the query must say owner=me.
    """

    method: str
    path: str
    work: Work
    vital: str
    threshold: float = 0.0
    burst: int = 1
    penalty: float = 0.0
    owned: bool = False
    access: str = KEYED


Work = Callable[[Ask], Any]
PUT, GET, POST, DELETE = "PUT", "GET", "POST", "DELETE"


@cache
def path_pattern(path: str) -> tuple[re.Pattern[str], tuple[bool, ...]]:
    """Return the pattern of a call's path, and which of its placeholders are ids."""
    names = re.findall(r"{(\w+)}", path)
    ids = tuple(name == "id" or name.endswith("_id") for name in names)
    pieces = [re.escape(piece) for piece in re.split(r"{\w+}", path)]
    values = [r"(\d+)" if is_id else "([^/]+)" for is_id in ids]
    pattern = "".join(itertools.chain(*zip(pieces, [*values, ""])))
    return re.compile(pattern), ids


def match_path(call: Call, path: str) -> tuple[int, tuple[str, ...]] | None:
    """Return `Ask.id` and `Ask.words` of a path; None when it is another call's."""
    pattern, ids = path_pattern(call.path)
    found = pattern.fullmatch(path)
    if found is None:
        return None
    words = tuple(unquote(word) for word in found.groups())
    numbers = [int(word) for word, is_id in zip(words, ids) if is_id]
    return (numbers[0] if numbers else 0), words


def lists(store: str) -> Work:
    """Make the call that lists a store, as a bare array."""
    return lambda ask: ask.market.stores[store].all()


def deletes(store: str) -> Work:
    """Make the call that removes the row whose id is in the path."""

    def work(ask: Ask) -> Row:
        check_body(ask.body, {})
        ask.market.stores[store].delete(ask.id)
        return {"success": True}

    return work


# ---------------------------------------------------------------- 8 a renter's calls


def search(ask: Ask) -> Row:
    """Return the offers that pass the filters; equal ones of a machine are one row."""
    filters, types, now = dict(ask.body), ask.market.types, ask.market.now()
    kind = filters.pop("type", "on-demand")
    storage = filters.pop("allocated_storage", 8.0)
    limit = filters.pop("limit", 64)
    separate = filters.pop("disable_bundling", False)
    require(is_a(kind, str) and kind in BASE_PRICES, f"type cannot be {kind!r}")
    require(is_a(storage, float) and storage >= 0, "allocated_storage: bad value")
    require(is_a(limit, int) and limit > 0, "limit must be a number over 0")
    keys = order_keys(filters.pop("order", [["score", "desc"]]), types)
    rows = [shown(o, now, kind, storage) for o in ask.market.offers.values()]
    rows = filtered(rows, filters, types)
    return {"offers": ordered(rows if separate else bundled(rows), keys)[:limit]}


def instances(ask: Ask) -> Row:
    """Return a page of the user's instances."""
    sample = ask.market.instance_row(next(iter(ask.market.rentals.values())))
    types = field_types(sample)
    del types["dph_total"], types["num_gpus"]  # computed: no filter takes them
    filters = parse_json(ask.query.get("select_filters", "{}"), dict, "select_filters")
    keys = column_keys(ask.query.get("order_by", "[]"), sample)
    rows = filtered(ask.market.own_rows(), filters, types)
    found, token = page(ordered(rows, [*keys, ("id", False)]), ask.query, 25)
    counts = {"instances_found": len(found), "total_instances": len(rows)}
    return {"success": True, **counts, "next_token": token, "instances": found}


def instances_v0(ask: Ask) -> Row:
    """Return all of the user's instances."""
    return {"instances": ask.market.own_rows()}


def instance(ask: Ask) -> Row:
    """Return one of the user's instances, or null, under the plural name."""
    rows = [row for row in ask.market.own_rows() if row["id"] == ask.id]
    return {"instances": rows[0] if rows else None}


def check_price(price: Any, most: float) -> None:
    """Refuse a bid out of bounds."""
    sound = is_a(price, float) and 0.001 <= price <= most
    require(sound, f"the bid must be from 0.001 to {most}", 400, "invalid_price")


def check_order(body: Row) -> None:
    """Refuse a complete order that makes no sense, whatever the offer."""
    args, env = body.get("args", []), body.get("env", {})
    texts = [*args, *env.values()]
    require(all(isinstance(text, str) for text in texts), "args and env hold text")
    require(len(body.get("label", "")) <= 256, "label is over 256 characters")
    script = len(body.get("onstart", "")) + sum(len(arg) for arg in args)
    require(script <= 4096, "args and onstart are over 4096 characters")
    require(set(body["runtype"].split()) <= RUNTYPES, "unknown runtype")
    require(0 < len(body.get("image", "")) <= 1024, "an image is required")
    require(body["disk"] >= 8, "disk is under 8 GB")
    if "price" in body:
        check_price(body["price"], 128)


def create(ask: Ask) -> Row:
    """Rent an offer."""
    market = ask.market
    body = {name: value for name, value in ask.body.items() if value is not None}
    for name, value in body.items():
        require(name in CREATE_KEYS, f"unknown key {name!r}")
        require(is_a(value, CREATE_KEYS[name]), f"{name}: wrong type")
    if "create_from" in body:
        source = market.own_rental(body["create_from"])
        body = {"image": source.row["image_uuid"], **body}
    template = TEMPLATE if "template_hash_id" in body else {}
    body = {"disk": 10.0, "runtype": "ssh", **template, **body}
    check_order(body)
    offer = free_offer(ask, body)
    rental = market.rent(offer, body, next(market.ids), market.user["id"])
    market.rented.append((ask.id, rental.id))
    market.charge(rental, DOWNLOAD, IMAGE_GB, rental.row["inet_down_cost"])
    secret = market.dice.randbytes(32).hex()
    return {"success": True, "new_contract": rental.id, "instance_api_key": secret}


def free_offer(ask: Ask, body: Row) -> Offer:
    """Return the offer; raise Refused unless it can be rented as ordered."""
    offer = ask.market.offers.get(ask.id)
    if offer is None or offer.rental:
        refuse = body.get("cancel_unavail")
        status, error = (410, "no_such_ask") if refuse else (404, "invalid_args")
        msg = f"no_such_ask: offer {ask.id} is not available"
        raise Refused(msg, status, error)
    least = offer.row["min_bid"]
    enough = "price" not in body or body["price"] >= least
    require(enough, f"the least bid is {least}", 400, "invalid_price")
    return offer


def manage(ask: Ask) -> Row:
    """Start, stop or label an instance."""
    market, body = ask.market, ask.body
    stranger = ask.id in market.rentals and market.rentals[ask.id].owner == STRANGER
    require(not stranger, f"instance {ask.id} is not yours", 403, "not_authorized")
    rental = market.own_rental(ask.id)
    require({"state"} == body.keys() or {"label"} == body.keys(), "a state or a label")
    if "label" in body:
        require(is_a(body["label"], str), "label must be text")
        short = len(body["label"]) <= 1024
        require(short, "a label has at most 1024 characters", 400, "label_too_long")
        rental.row["label"] = body["label"]
        return {"success": True}
    require(body["state"] in ("running", "stopped"), "no such state")
    stop = body["state"] == "stopped"
    payable = stop or market.user["has_billing"]
    require(payable, "add a way to pay first", 400, "missing_billing")
    if stop != (rental.order == "stop"):
        rental.order, rental.ordered = "stop" if stop else "start", market.now()
    return {"success": True}


def destroy(ask: Ask) -> Row:
    """Give an instance back."""
    market = ask.market
    rental = market.own_rental(ask.id, "not_found")
    del market.rentals[ask.id]
    market.destroyed.append(ask.id)
    hours = max(market.now() - rental.created, 60) / 3600  # a minute at least
    market.charge(rental, GPU_TIME, round(hours, 3), rental.row["dph_total"])
    rental.offer.rental = None
    if rental.offer.machine in market.own_machines():
        market.relist(rental.offer.machine)  # perhaps on other terms meanwhile, or off
    return {"success": True}


def bid(ask: Ask) -> Row:
    """Change the bid; null takes one a little over the least that wins."""
    rental = ask.market.own_rental(ask.id)
    price = ask.body.get("price", "none")
    if price is None:
        price = round(rental.offer.row["min_bid"] * 1.05, 4)
    check_price(price, 32 * rental.row["num_gpus"])
    row = priced(rental.row, price, rental.row["disk_space"], ask.market.now())
    rental.row = {**row, "is_bid": True, "min_bid": price}
    return {"success": True}


# ---------------------------------------------------------------- 9 a host's calls


def machine_row(market: Market, machine: Machine) -> Row:
    """Return the machine as its owner sees it."""
    rentals = [o.rental for o in market.offers_of(machine) if o.rental]
    letters = ["x"] * machine.cards
    for rental in rentals:
        for card in rental.offer.cards:
            letters[card] = "I" if rental.row["is_bid"] else "D"
    on_demand = sum(not rental.row["is_bid"] for rental in rentals)
    earned = sum(rental.row["dph_total"] for rental in rentals)
    return {
        **machine.hardware,
        **machine.terms,
        "id": machine.hardware["machine_id"], "hostname": machine.hostname,
        "num_gpus": machine.cards, "gpu_occupancy": " ".join(letters),
        "num_reports": 0, "clients": [], "earn_hour": earned, "earn_day": earned * 24,
        "current_rentals_running": len(rentals),
        "current_rentals_resident": len(rentals),
        "current_rentals_running_on_demand": on_demand,
        "current_rentals_on_demand": on_demand,
    }  # fmt: skip


def machines(ask: Ask) -> Row:
    """Return the user's machines."""
    own = ask.market.own_machines()
    return {"machines": [machine_row(ask.market, machine) for machine in own]}


def done(ask: Ask, machine: Machine, **more: Any) -> Row:
    """Return the answer to a host's order."""
    machine_id = machine.hardware["machine_id"]
    ids = {"machine_id": machine_id, "user_id": ask.market.user["id"]}
    return {"success": True, **ids, "you_sent": ask.body, **more}


def end_of(duration: Any, now: float) -> float:
    """Return when a duration such as `30 days`, or a number of seconds, is over."""
    found = re.fullmatch(r"(\d+) *(day|week|month|year)s?", str(duration).strip())
    plain = number(duration) or 0.0
    seconds = int(found[1]) * SECONDS_IN[found[2]] if found else plain
    require(0 < seconds < math.inf, f"no duration: {duration!r}")
    return now + seconds


def new_terms(ask: Ask, machine: Machine) -> Row:
    """Return what list machine changes, under the keys of a machine row."""
    require(ask.body.get("min_chunk", 1) is not None, "min_chunk must not be null")
    given = {name: value for name, value in ask.body.items() if value is not None}
    require(given.keys() <= {*LISTING, "machine", "duration"}, "unknown key")
    for name in given.keys() & LISTING.keys():
        kind = int if name in ("min_chunk", "vol_size") else float
        require(is_a(given[name], kind) and given[name] >= 0, f"{name}: bad value")
    require(1 <= given.get("min_chunk", 1) <= machine.cards, "min_chunk: bad value")
    require(given.get("credit_discount_max", 0) <= 1, "credit_discount_max: over 1")
    require(not {"duration", "end_date"} <= given.keys(), "duration and end_date")
    now = ask.market.now()
    if "duration" in given:
        given["end_date"] = end_of(given["duration"], now)
    require(given.get("end_date", now) >= now, "end_date is in the past")
    return {LISTING[name]: value for name, value in given.items() if name in LISTING}


def list_machine(ask: Ask) -> Row:
    """Offer a machine, or offer it on other terms; what is not given stays."""
    machine = ask.market.own_machine(ask.body.get("machine"))
    machine.terms |= {**new_terms(ask, machine), "listed": True}
    ask.market.relist(machine)
    end = machine.terms["end_date"]
    rows = [o.rental.row for o in ask.market.offers_of(machine) if o.rental]
    shorter = [row for row in rows if row["end_date"] < end]
    for row in shorter:
        row["end_date"] = end
    return done(ask, machine, extended=len(shorter), msg="")


def unlist(ask: Ask) -> Row:
    """Take the free offers of a machine off the market."""
    machine = ask.market.own_machine(ask.id)
    machine.terms["listed"] = False
    ask.market.relist(machine)
    return done(ask, machine)


def min_bid(ask: Ask) -> Row:
    """Set the least bid per GPU."""
    machine = ask.market.own_machine(ask.id)
    price: Any = ask.body.get("price")
    require(is_a(price, float) and price >= 0, "price must be a number", 422)
    machine.terms["min_bid_price"] = price
    ask.market.relist(machine)
    return done(ask, machine)


def set_defjob(ask: Ask) -> Row:
    """Set the job that a machine does while nobody rents it."""
    machine = ask.market.own_machine(ask.body.get("machine"))
    body = {"args": [], **ask.body}
    for name in ("price_gpu", "price_inetu", "price_inetd"):
        require(is_a(body.get(name), float) and body[name] >= 0, f"{name}: bad value")
    sound = is_a(body.get("image"), str) and is_a(body["args"], list)
    require(sound, "image must be text and args an array")
    machine.terms |= {key: body[name] for name, key in DEFAULT_JOB.items()}
    return done(ask, machine)


def no_defjob(ask: Ask) -> Row:
    """Forget the default job."""
    machine = ask.market.own_machine(ask.id)
    machine.terms |= dict.fromkeys(DEFAULT_JOB.values())
    return done(ask, machine)


# ---------------------------------------------------------------- 10 calls about money


def billed(ask: Ask, start: float, end: float) -> list[Row]:
    """Return the bills of a range in unix seconds, and those without a timestamp."""

    def fits(when: float | None) -> bool:
        return when is None or start <= when <= end

    return [row for row in ask.market.invoices if fits(row["timestamp"])]


def invoices(ask: Ask) -> Row:
    """Return the old list; without dates it is about the last 30 days."""
    now, user = ask.market.now(), ask.market.user
    start = number(ask.query.get("sdate", now - 30 * DAY))
    end = number(ask.query.get("edate", now))
    if start is None or end is None:
        raise Refused("sdate and edate are unix seconds")
    rows = billed(ask, start, end)
    if ask.query.get("inc_charges") != "true":
        rows = [row for row in rows if row["type"] != "charge"]
    owed = {"charges": -user["balance"], "total": -user["balance"]}
    current = {**owed, "service_fee": 0.0, "credit": user["credit"]}
    return {"invoices": rows, "current": current}


# ---------------------------------------------------------------- 11 the table of calls

V0, V1 = "/api/v0", "/api/v1"
INSTANCES, MACHINES = V0 + "/instances", V0 + "/machines"
CALLS: dict[str, Call] = {
    "search": Call(POST, V0 + "/bundles/", search, "offers", 6.0, 10),
    "instances": Call(GET, V1 + "/instances/", instances, "instances", 1.0),
    "instances_v0": Call(GET, INSTANCES, instances_v0, "instances", 1.0, owned=True),
    "instance": Call(GET, INSTANCES + "/{id}/", instance, "instances", 2.0, owned=True),
    "create": Call(PUT, V0 + "/asks/{id}/", create, "new_contract", 4.5, 1, 12.0),
    "manage": Call(PUT, INSTANCES + "/{id}/", manage, "success", 1.0),
    "destroy": Call(DELETE, INSTANCES + "/{id}/", destroy, "success", 3.0),
    "bid": Call(PUT, INSTANCES + "/bid_price/{id}/", bid, "success", 5.5),
    "machines": Call(GET, MACHINES, machines, "machines", owned=True),
    "list_machine": Call(PUT, MACHINES + "/create_asks/", list_machine, "success"),
    "unlist_machine": Call(DELETE, MACHINES + "/{id}/asks/", unlist, "success", 1.8),
    "set_defjob": Call(PUT, MACHINES + "/create_bids/", set_defjob, "success", 2.8),
    "remove_defjob": Call(
        DELETE, MACHINES + "/{id}/defjob/", no_defjob, "success", 1.2
    ),
    "min_bid": Call(PUT, MACHINES + "/{id}/minbid/", min_bid, "success", 1.5),
    "user": Call(GET, V0 + "/users/current/", lambda ask: ask.market.user, "id"),
    "invoices": Call(GET, V0 + "/users/me/invoices", invoices, "invoices", owned=True),
}
