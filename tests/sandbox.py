#!/usr/bin/env python3
"""A stand-in for the Vast.ai service: a little market on 127.0.0.1.

    python3 tests/sandbox.py COMMAND [ARGS...]   run a command against a fresh market
    python3 tests/sandbox.py bash                a shell in which vast.py talks to it
    python3 tests/sandbox.py                     stay up, print how to get there

The command finds the service through VAST_URL and VAST_API_KEY and has a HOME of its
own; the exit status is the command's (128 + n after signal n). Hosts, machines, offers
and bills are made up, and the same every time but for their dates, which count from
now. Tests use the class Sandbox, which also switches on faults and rate limits.

The sections: 1 tables, 2 answers, 3 filters and pages, 4 machines and offers,
5 billing, 6 the market, 7 calls, 8 faults, 9 the server, 10 the command line.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import math
import operator
import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from random import Random
from types import FrameType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

Row = dict[str, Any]

KEY = "5a4d0c7e" * 8
SEED = 2026
HOST_COUNT = 60
MACHINE_COUNT = 150
DAY = 86400.0
HOURS_A_MONTH = 720  # the service's month when it prices storage

# ---------------------------------------------------------------- 1 tables


class Gpu(NamedTuple):
    """What one card has and costs: MB, TFLOPS, GB/s, $/h, W."""

    name: str
    ram: int
    cap: int
    tflops: float
    bandwidth: float
    dlperf: float
    price: float
    watts: int


HOME_GPUS = (
    Gpu("GTX 1080 Ti", 11264, 610, 11.3, 421.5, 5.9, 0.055, 250),
    Gpu("GTX 1660 S", 6144, 750, 5.0, 287.4, 4.1, 0.032, 125),
    Gpu("RTX 2080 Ti", 11264, 750, 13.4, 531.2, 12.3, 0.075, 250),
    Gpu("RTX 3060", 12288, 860, 12.7, 327.8, 9.6, 0.052, 170),
    Gpu("RTX 3070", 8192, 860, 20.3, 391.6, 13.2, 0.061, 220),
    Gpu("RTX 3080", 10240, 860, 29.8, 664.0, 20.4, 0.084, 320),
    Gpu("RTX 3090", 24576, 860, 35.6, 823.9, 31.7, 0.132, 350),
    Gpu("RTX 4060 Ti", 16380, 890, 22.1, 262.3, 15.1, 0.088, 165),
    Gpu("RTX 4070 Ti", 12282, 890, 40.1, 459.0, 30.8, 0.112, 285),
    Gpu("RTX 4080", 16376, 890, 48.7, 661.7, 45.5, 0.172, 320),
    Gpu("RTX 4090", 24564, 890, 82.6, 918.4, 95.8, 0.338, 450),
    Gpu("RTX 5070 Ti", 16303, 1200, 43.9, 798.2, 64.9, 0.151, 300),
    Gpu("RTX 5080", 16303, 1200, 56.3, 857.0, 77.6, 0.204, 360),
    Gpu("RTX 5090", 32607, 1200, 104.8, 1516.3, 148.2, 0.421, 575),
    Gpu("RTX A4000", 16376, 860, 19.2, 382.7, 17.3, 0.098, 140),
    Gpu("Q RTX 8000", 49152, 750, 16.3, 598.1, 15.4, 0.219, 260),
)
SERVER_GPUS = (
    Gpu("RTX A5000", 24564, 860, 27.8, 649.5, 26.9, 0.182, 230),
    Gpu("RTX A6000", 49140, 860, 38.7, 662.8, 38.3, 0.415, 300),
    Gpu("RTX 6000Ada", 49140, 890, 91.1, 861.9, 88.4, 0.617, 300),
    Gpu("RTX PRO 6000 S", 97887, 1200, 120.0, 1498.6, 165.0, 0.948, 600),
    Gpu("RTX 4090", 24564, 890, 82.6, 921.0, 97.1, 0.352, 450),
    Gpu("RTX 5090", 32607, 1200, 104.8, 1523.7, 151.4, 0.446, 575),
    Gpu("Tesla T4", 15360, 750, 8.1, 258.8, 6.5, 0.118, 70),
    Gpu("Tesla V100", 32768, 700, 15.7, 791.2, 19.2, 0.183, 300),
    Gpu("A10", 23028, 860, 31.2, 497.3, 24.1, 0.247, 150),
    Gpu("A40", 46068, 860, 37.4, 603.5, 33.0, 0.362, 300),
    Gpu("L4", 23034, 890, 30.3, 251.6, 26.2, 0.276, 72),
    Gpu("L40", 46068, 890, 90.5, 741.1, 75.3, 0.598, 300),
    Gpu("L40S", 46068, 890, 91.6, 744.4, 82.7, 0.674, 350),
    Gpu("A100 PCIE", 40960, 800, 19.5, 1391.0, 104.6, 0.641, 250),
    Gpu("A100 SXM4", 81920, 800, 19.5, 1702.5, 136.2, 0.803, 400),
    Gpu("H100 PCIE", 81559, 900, 51.2, 1897.4, 229.5, 1.74, 350),
    Gpu("H100 SXM", 81559, 900, 66.9, 2903.3, 311.8, 2.05, 700),
    Gpu("H200", 143771, 900, 66.9, 4198.0, 358.1, 2.58, 700),
    Gpu("B200", 183359, 1000, 75.3, 6907.9, 521.4, 3.86, 1000),
)


class Cpu(NamedTuple):
    """A processor and the board it sits on."""

    name: str
    cores: int
    ghz: float
    board: str
    pci_gen: float


HOME_CPUS = (
    Cpu("Core™ i5-12400F", 12, 4.4, "PRO B660M-A DDR4", 4.0),
    Cpu("Core™ i9-13900K ", 32, 5.8, "Z790 AORUS ELITE AX", 5.0),
    Cpu("AMD Ryzen 7 5800X 8-Core Processor", 16, 3.8, "TUF GAMING X570-PLUS", 4.0),
    Cpu("AMD Ryzen 9 7950X 16-Core Processor", 32, 4.5, "ROG STRIX B650E-F", 5.0),
    Cpu("Xeon® E5-2680 v4", 56, 3.3, "X99-P4F", 3.0),
)
SERVER_CPUS = (
    Cpu("AMD EPYC 7443 24-Core Processor", 48, 2.85, "H12DSG-O-CPU", 4.0),
    Cpu("AMD EPYC 7713 64-Core Processor", 128, 2.0, "ROMED8-2T", 4.0),
    Cpu("AMD EPYC 9354 32-Core Processor", 128, 3.25, "H13DSG-O-CPU-D", 5.0),
    Cpu("Xeon® Gold 6348", 112, 3.5, "X12DPG-OA6", 4.0),
    Cpu("Xeon® Platinum 8468", 192, 3.8, "G593-SD0-AAX1", 5.0),
)
DISKS = (
    "KINGSTON SNV2S2000G",
    "Samsung SSD 990 PRO 4TB ",
    "WD_BLACK SN850X HS",
    "MTFDKCC15T3TGP",
    "SAMSUNG MZQL27T6HBLA-00A07",
)
PLACES = (
    *("Oregon, US", "Virginia, US", "Utah, US", "Texas, US", "Quebec, CA"),
    *("Ontario, CA", "Germany, DE", "Bavaria, DE", "France, FR", "Sweden, SE"),
    *("Norway, NO", "Finland, FI", "Poland, PL", "Czechia, CZ", "Spain, ES"),
    *("United Kingdom, GB", "Bulgaria, BG", "Japan, JP", "Taiwan, TW"),
    *("South Korea, KR", "Vietnam, VN", "Guangdong, CN", "Hainan, CN"),
    *("Australia, AU", "Brazil, BR", "India, IN", ", RU"),
)
DRIVERS = {  # driver version: the newest CUDA that it runs
    "535.183.06": 12.2,
    "550.127.08": 12.4,
    "560.35.05": 12.6,
    "565.77": 12.7,
    "570.133.20": 12.8,
    "575.57.08": 12.9,
    "580.65.06": 13.0,
}

GONE = object()  # in an overlay: the key is missing from the row

# What a few of the offers show in place of the right values. Hosts write hostnames,
# places and board names, so anything may stand in these.
ODD_OFFERS: tuple[Row, ...] = (
    {"geolocation": None, "duration": None, "end_date": None},
    {"geolocation": "Norway", "rented": GONE, "external": GONE},
    {"geolocation": ", RU", "num_gpus": 1.0, "gpu_ram": 24576.0, "pci_gen": "4.0"},
    {"geolocation": "Baden-Württemberg, DE", "cpu_name": "Xeon® W-2295 "},
    {"geolocation": "東京都, JP", "mobo_name": "華碩 主機板"},
    {"geolocation": "\x1b[31mRed Square\x1b[0m, RU", "hostname": "rm -rf \x1b]0;x\x07"},
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
# And one shows hardly anything: these keys keep their values, the rest is null.
HARDLY_ANYTHING = ("id", "machine_id", "gpu_name", "num_gpus", "dph_total", "rentable")

# Keys that are the same in every offer.
SAME_IN_ALL: Row = {
    **{"bundled_results": None, "cluster_id": None, "cpu_arch": "amd64"},
    **{"discount_rate": None, "discounted_hourly": 0, "expected_reliability": 0},
    **{"external": None, "gpu_arch": "nvidia", "has_avx": 1, "hostname": None},
    **{"logo": "/static/logos/none.png", "nw_disk_avg_bw": None},
    **{"nw_disk_max_bw": None, "nw_disk_min_bw": None, "resource_type": "gpu"},
    **{"rn": 1, "sla_broker_rate": None, "sla_r_claim": None, "sla_sigma_x": None},
    **{"start_date": None, "target_reliability": None, "time_remaining": ""},
    **{"time_remaining_isbid": "", "webpage": None},
}
# Keys of an offer that an instance row has not.
OFFER_ONLY = (
    *("ask_contract_id", "avail_vol_ask_id", "avail_vol_dph", "avail_vol_size"),
    *("bundled_results", "gpu_ids", "gpu_total_ram", "hostname", "rented", "rn"),
)

USER: Row = {
    **{"id": 48213, "key_id": 90417, "username": "lukasz", "sid": "c0ffee" * 6},
    **{"email": "lukasz@example.org", "fullname": "Łukasz Müller-Dvořák"},
    **{"balance": -1.92, "credit": 118.75, "balance_threshold": 10.0},
    **{"balance_threshold_enabled": True, "billaddress_line1": "Příčná 17"},
    **{"billaddress_line2": None, "billaddress_city": "Český Krumlov"},
    **{"billaddress_zip": "38101", "billaddress_country": "CZ"},
    **{"billed_expected": 0.0, "billed_verified": 312, "billing_creditonly": 0},
    **{"can_pay": True, "email_verified": True, "got_signup_credit": 1},
    **{"has_billing": True, "has_payout": True, "last4": "4242"},
    **{"paid_expected": 14.2, "paid_verified": "57.10", "password_resettable": True},
    **{"paypal_email": None, "user": "lukasz@example.org", "api_key": KEY},
    "ssh_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMadeUpForTheSandbox lukasz@pc",
}
STRANGER = 61077

# The caller's own machines: id, hostname, place, card, cards, and whether listed.
OWN_MACHINES = (
    (7101, "höhle-01", "Bavaria, DE", "RTX 4090", 4, True),
    (7102, "rig02", "Bavaria, DE", "RTX 3090", 8, True),
    (7103, "rig03", "Bavaria, DE", "RTX 5090", 2, False),
    (7104, "größe\x1b[1m名前", ", RU", "RTX A4000", 1, True),
)

# What list machine may send, and the key under which a machine row shows it.
LISTING = {
    "price_gpu": "listed_gpu_cost",
    "price_disk": "listed_storage_cost",
    "price_inetu": "listed_inet_up_cost",
    "price_inetd": "listed_inet_down_cost",
    "price_min_bid": "min_bid_price",
    "min_chunk": "listed_min_gpu_count",
    "end_date": "end_date",
    "credit_discount_max": "credit_discount_max",
    "vol_size": "volume_total_size",
    "vol_price": "listed_volume_cost",
}
SECONDS_IN = {"day": DAY, "week": 7 * DAY, "month": 30 * DAY, "year": 365 * DAY}

# What the caller may send when renting, with its type; null is as good as nothing.
CREATE_KEYS: dict[str, type] = {
    **{"client_id": str, "image": str, "template_hash_id": str, "label": str},
    **{"disk": float, "price": float, "onstart": str, "runtype": str, "user": str},
    **{"python_utf8": bool, "lang_utf8": bool, "use_jupyter_lab": bool},
    **{"jupyter_dir": str, "args": list, "create_from": int, "force": bool},
    **{"extra": str, "env": dict, "image_login": str, "cancel_unavail": bool},
    **{"target_state": str, "vm": bool, "args_str": str, "volume_info": dict},
}
RUNTYPES = frozenset(
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

# How actual_status goes after each order: (part of the boot time, status), then the
# last one for good.
PHASES: dict[str, tuple[tuple[float, str | None], ...]] = {
    "create": ((1 / 3, None), (1.0, "loading"), (math.inf, "running")),
    "start": ((1.0, "loading"), (math.inf, "running")),
    "stop": ((1.0, "running"), (math.inf, "stopped")),
}
STATUS_MSG = {
    "loading": "{image}: layer 3 of 7 pulled",
    "running": "success, {image} is up",
    "exited": "pull access denied for {image}",
}

# ---------------------------------------------------------------- 2 answers


class Refused(Exception):
    """What the service answers when it does not do what it was asked."""

    def __init__(self, status: int, error: str, msg: str, **more: Any) -> None:
        super().__init__(msg)
        self.status = status
        self.body = {"success": False, "error": error, "msg": msg, **more}


class Reply(NamedTuple):
    """An HTTP answer; `delay` is how many seconds it is held back."""

    status: int
    body: bytes
    kind: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0


class Stream(NamedTuple):
    """Raw pieces for the connection, `pause` seconds apart; then it is closed."""

    pieces: Iterable[bytes]
    pause: float = 0.0


def json_reply(value: Any, status: int = 200, **headers: str) -> Reply:
    """The answer that carries a JSON value; `Retry_After` is sent as Retry-After."""
    named = tuple((name.replace("_", "-"), text) for name, text in headers.items())
    return Reply(status, json.dumps(value).encode(), headers=named)


def text_reply(text: str, status: int, kind: str = "text/plain") -> Reply:
    """The answer that carries plain text or HTML."""
    return Reply(status, text.encode(), kind)


def wire(reply: Reply, length: int | None = None) -> bytes:
    """The whole answer as sent; `length` is announced in place of the true one."""
    size = len(reply.body) if length is None else length
    head = [f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}"]
    head += [f"{name}: {text}" for name, text in reply.headers]
    if reply.status != HTTPStatus.NO_CONTENT:
        head += [f"Content-Type: {reply.kind}", f"Content-Length: {size}"]
    return "\r\n".join([*head, "", ""]).encode() + reply.body


def no_constant(name: str) -> Any:
    """NaN and Infinity are not JSON."""
    raise ValueError(f"{name} is not JSON")


def parse_json(text: str | bytes, kind: type, what: str) -> Any:
    """The decoded text, which must be of the kind; Refused otherwise."""
    try:
        value = json.loads(text, parse_constant=no_constant)
    except ValueError as error:
        raise Refused(400, "invalid_request", f"{what} is no JSON: {error}") from error
    if not isinstance(value, kind):
        raise Refused(400, "invalid_request", f"{what} must be a JSON {kind.__name__}")
    return value


# ---------------------------------------------------------------- 3 filters and pages


def number(value: Any) -> float | None:
    """The value as a number; None for null and for text that is none."""
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def country(row: Row) -> str | None:
    """The two letters at the end of the row's location."""
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
    **{"cluster_id": float, "driver_version": float, "os_version": float},
    **{"start_date": float, "ubuntu_version": float},
    **{"datacenter": bool, "external": bool},
    **{"has_avx": bool, "verified": bool},
}
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "in": lambda value, wanted: value in wanted,
    "notin": lambda value, wanted: value not in wanted,
}
ORDERED = frozenset(["gt", "gte", "lt", "lte"])
LISTED = frozenset(["in", "notin"])


def wire_type(value: Any) -> type:
    """The type that a filter on a field with this value takes; `object` is any."""
    if isinstance(value, (bool, str)):
        return type(value)
    return object if value is None else float


def field_types(row: Row) -> dict[str, type]:
    """The filter fields and their types, learnt from a row."""
    plain = {k: v for k, v in row.items() if not isinstance(v, (dict, list))}
    return {**{name: wire_type(value) for name, value in plain.items()}, **WIRE_TYPES}


def is_a(value: Any, kind: type) -> bool:
    """Whether a JSON value is of the kind; a boolean is no number."""
    if kind in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def check_filter(types: Mapping[str, type], name: str, tests: Any) -> None:
    """Refuse a filter with an unknown field or operator or a value of a wrong type."""
    if name not in types or not isinstance(tests, dict):
        raise Refused(400, "invalid_args", f"{name} is not a valid search key")
    for op, wanted in tests.items():
        if op not in OPERATORS or op in ORDERED and types[name] is not float:
            raise Refused(400, "invalid_args", f"{name} does not take {op}")
        if (op in LISTED) != isinstance(wanted, list):
            raise Refused(400, "invalid_args", f"{name} {op} takes no such value")
        for value in wanted if op in LISTED else [wanted]:
            null = value is None and op not in ORDERED
            if not null and not is_a(value, types[name]):
                raise Refused(400, "invalid_args", f"{name} {op} {value!r}: bad type")


def passes(row: Row, name: str, tests: Row, kind: type) -> bool:
    """Whether the row passes every test on a field; null is neither more nor less."""
    value = VIEWS[name](row) if name in VIEWS else row.get(name)
    if kind is float:
        value = number(value)
    if value is None and not ORDERED.isdisjoint(tests):
        return False
    return all(OPERATORS[op](value, wanted) for op, wanted in tests.items())


def filtered(rows: list[Row], filters: Row, types: Mapping[str, type]) -> list[Row]:
    """The rows that pass all filters; Refused for a filter that makes no sense."""
    for name, tests in filters.items():
        check_filter(types, name, tests)
    return [
        row
        for row in rows
        if all(passes(row, name, filters[name], types[name]) for name in filters)
    ]


def rank(value: Any) -> tuple[bool, float, str]:
    """The place of a value among others: numbers first, then text."""
    size = number(value)
    return (True, 0.0, str(value)) if size is None else (False, size, "")


def ordered(rows: list[Row], keys: Iterable[tuple[str, bool]]) -> list[Row]:
    """The rows sorted by (field, descending) pairs; nulls last either way."""
    for name, descending in reversed(list(keys)):
        known = [row for row in rows if row.get(name) is not None]
        known.sort(key=lambda row: rank(row[name]), reverse=descending)
        rows = known + [row for row in rows if row.get(name) is None]
    return rows


def bundled(rows: list[Row]) -> list[Row]:
    """One row for the equal offers of a machine, with their number when several."""
    bundles: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        same = (row.get("machine_id"), row.get("num_gpus"), row.get("dph_total"))
        bundles.setdefault(same, []).append(row)
    return [
        {**same[0], "bundled_results": len(same)} if len(same) > 1 else same[0]
        for same in bundles.values()
    ]


def page(rows: list[Row], query: Mapping[str, str], most: int) -> tuple[Any, Any]:
    """The rows of the page that the query asks for and the token of the next page."""
    try:
        limit = int(query.get("limit", most))
        token = query.get("after_token") or base64.b64encode(b"0").decode()
        start = int(base64.b64decode(token, validate=True))
    except (ValueError, binascii.Error) as error:
        raise Refused(400, "invalid_token", "no such page") from error
    end = start + (min(limit, most) if limit > 0 else 5)
    following = base64.b64encode(str(end).encode()).decode()
    return rows[start:end], following if end < len(rows) else None


# ---------------------------------------------------------------- 4 machines and offers


class Host(NamedTuple):
    """Who rents machines out, and what all machines of the place share."""

    id: int
    place: str
    datacenter: bool
    verification: str
    mbits: float
    net_cost: float


@dataclass
class Machine:
    """A machine: what it has, and what its owner asks for it (as a machine row)."""

    hardware: Row
    terms: Row
    hostname: str
    cards: int
    gpu: Gpu


@dataclass
class Offer:
    """Some cards of a machine; `odd` shows in place of the right values."""

    row: Row
    machine: Machine
    cards: Sequence[int]
    odd: Row = field(default_factory=dict)
    rental: int | None = None


def overlaid(row: Row, odd: Row) -> Row:
    """The row with its odd values; GONE takes the key away."""
    return {k: v for k, v in {**row, **odd}.items() if v is not GONE}


def make_host(dice: Random, index: int) -> Host:
    """A made-up host."""
    datacenter = dice.random() < 0.35
    standing = ["verified"] * 8 + ["unverified"] * 3 + ["deverified"]
    return Host(
        id=100000 + 37 * index + dice.randrange(37),
        place=dice.choice(PLACES),
        datacenter=datacenter,
        verification="verified" if datacenter else dice.choice(standing),
        mbits=dice.uniform(2000, 9500) if datacenter else dice.uniform(80, 1900),
        net_cost=dice.choice([0, 0.001953125, 0.0029296875, 0.0048828125, 0.01]),
    )


def computer_fields(dice: Random, host: Host, server: bool) -> Row:
    """The part of the hardware around the cards."""
    cpu = dice.choice(SERVER_CPUS if server else HOME_CPUS)
    driver = dice.choice(list(DRIVERS))
    parts = [int(part) for part in (driver + ".0").split(".")[:3]]
    return {
        "cpu_cores": cpu.cores,
        "cpu_ghz": cpu.ghz,
        "cpu_name": cpu.name,
        "cpu_ram": dice.choice([4, 8] if server else [1, 2]) * 64307,
        "cuda_max_good": DRIVERS[driver],
        "disk_bw": round(dice.uniform(480, 7200), 1),
        "disk_name": dice.choice(DISKS),
        "driver_vers": parts[0] * 1000000 + parts[1] * 1000 + parts[2],
        "driver_version": driver,
        "inet_down": round(host.mbits * dice.uniform(0.85, 1.1), 1),
        "inet_up": round(host.mbits * dice.uniform(0.4, 1.0), 1),
        "mobo_name": cpu.board,
        "os_version": dice.choice(["20.04", "22.04", "22.04", "24.04"]),
        "pci_gen": cpu.pci_gen,
        "pcie_bw": round(cpu.pci_gen**2 * dice.uniform(1.2, 2.1), 1),
        "vms_enabled": server and dice.random() < 0.3,
    }


def hardware(dice: Random, host: Host, machine_id: int, gpu: Gpu, cards: int) -> Row:
    """The fields that the offers and the row of a machine share."""
    trust = dice.uniform(0.985, 0.9998) if host.datacenter else dice.uniform(0.88, 0.999)
    return {
        **computer_fields(dice, host, host.datacenter or cards > 3),
        "machine_id": machine_id,
        "host_id": host.id,
        "hosting_type": int(host.datacenter),
        "geolocation": host.place,
        "geolocode": dice.randrange(2**30),
        "verification": host.verification,
        "verified": host.verification == "verified",
        "vericode": int(host.verification == "verified"),
        "is_vm_deverified": host.verification == "deverified",
        "static_ip": host.datacenter or dice.random() < 0.5,
        "public_ipaddr": f"203.0.113.{dice.randrange(1, 255)}",
        "reliability": round(trust, 7),
        "reliability2": round(trust, 7),
        "reliability_mult": round(trust**3, 7),
        "gpu_name": gpu.name,
        "gpu_ram": gpu.ram,
        "gpu_lanes": 16,
        "gpu_display_active": not host.datacenter and dice.random() < 0.1,
        "gpu_max_power": gpu.watts,
        "gpu_max_temp": dice.randrange(24, 88),
        "gpu_mem_bw": gpu.bandwidth,
        "compute_cap": gpu.cap,
        "bw_nvlink": 478.1 if "SXM" in gpu.name else 0,
        "direct_port_count": dice.choice([0, 4, 12, 99, 249, 500]),
        "disk_space": round(dice.uniform(120, 900) * cards, 1),
    }


def make_terms(dice: Random, host: Host, gpu: Gpu, chunk: int, now: float) -> Row:
    """What a made-up owner asks for."""
    price = round(gpu.price * dice.uniform(0.85, 1.35), 4)
    return {
        "listed": True,
        "listed_gpu_cost": price,
        "listed_storage_cost": dice.choice([0.1, 0.15, 0.2, 0.3]),
        "listed_inet_up_cost": host.net_cost,
        "listed_inet_down_cost": host.net_cost,
        "min_bid_price": round(price * dice.uniform(0.4, 0.8), 4),
        "listed_min_gpu_count": chunk,
        "credit_discount_max": dice.choice([0, 0, 0.1, 0.25, 0.4]),
        "volume_total_size": dice.choice([0, 200, 1500]),
        "listed_volume_cost": 0.15,
        "end_date": float(round(now + dice.uniform(2, 300) * DAY)),
        **dict.fromkeys(("bid_image", "bid_image_args", "bid_gpu_cost")),
        **dict.fromkeys(("bid_inet_up_cost", "bid_inet_down_cost")),
    }


def make_machine(dice: Random, host: Host, machine_id: int, now: float) -> Machine:
    """A made-up machine of the host."""
    gpu = dice.choice(SERVER_GPUS if host.datacenter else HOME_GPUS)
    cards = dice.choice([1, 2, 4, 8, 8] if host.datacenter else [1, 1, 2, 4, 6, 8])
    chunk = dice.choice([part for part in (1, 2, 4, cards) if cards % part == 0])
    return Machine(
        hardware(dice, host, machine_id, gpu, cards),
        make_terms(dice, host, gpu, chunk, now),
        f"node{machine_id}",
        cards,
        gpu,
    )


def own_machines(dice: Random, now: float) -> list[Machine]:
    """The caller's own machines, all of them verified."""
    cards_by_name = {gpu.name: gpu for gpu in HOME_GPUS}
    machines = []
    for machine_id, hostname, place, name, cards, listed in OWN_MACHINES:
        gpu = cards_by_name[name]
        host = Host(USER["id"], place, False, "verified", 940.0, 0.0048828125)
        terms = make_terms(dice, host, gpu, 1, now)
        terms["listed"] = listed
        parts = hardware(dice, host, machine_id, gpu, cards)
        machines.append(Machine(parts, terms, hostname, cards, gpu))
    return machines


def offer_row(machine: Machine, cards: Sequence[int]) -> Row:
    """The offer of some cards of a machine, without what depends on the search."""
    parts, terms, count = machine.hardware, machine.terms, len(cards)
    share = count / machine.cards
    # No two offers at a time have a first card in common.
    offer_id = 20000000 + parts["machine_id"] * 128 + cards[0] * 16 + count
    return {
        **SAME_IN_ALL,
        **parts,
        "id": offer_id,
        "ask_contract_id": offer_id,
        "bundle_id": 900000000 + parts["machine_id"] * 16 + count,
        "avail_vol_ask_id": offer_id + 1,
        "avail_vol_dph": terms["listed_volume_cost"] / HOURS_A_MONTH,
        "avail_vol_size": terms["volume_total_size"],
        "cpu_cores_effective": parts["cpu_cores"] * share,
        "credit_discount_max": terms["credit_discount_max"],
        "disk_space": round(parts["disk_space"] * share, 1),
        "dlperf": round(machine.gpu.dlperf * count * 0.98, 4),
        "dph_base": terms["listed_gpu_cost"] * count,
        "end_date": terms["end_date"],
        "gpu_frac": share,
        "gpu_ids": [parts["machine_id"] * 16 + card for card in cards],
        "gpu_total_ram": parts["gpu_ram"] * count,
        "inet_down_cost": terms["listed_inet_down_cost"],
        "inet_up_cost": terms["listed_inet_up_cost"],
        "internet_down_cost_per_tb": terms["listed_inet_down_cost"] * 1024,
        "internet_up_cost_per_tb": terms["listed_inet_up_cost"] * 1024,
        "min_bid": round(terms["min_bid_price"] * count, 6),
        "num_gpus": count,
        "storage_cost": terms["listed_storage_cost"],
        "total_flops": round(machine.gpu.tflops * count, 4),
    }


def costs(gpu: float, disk: float) -> Row:
    """The nested object that says what an hour costs."""
    total = gpu + disk
    return {
        "gpuCostPerHour": gpu,
        "diskHour": disk,
        "totalHour": total,
        "discountTotalHour": 0,
        "discountedTotalPerHour": total,
    }


def priced(offer: Row, base: float, storage: float, now: float) -> Row:
    """The offer at a price in $/h without its disk, with `storage` GB of disk."""
    disk = storage * offer["storage_cost"] / HOURS_A_MONTH
    total = base + disk
    per_dollar = offer["dlperf"] / total
    liked = offer["reliability"] ** 2 * (1 + offer["hosting_type"])
    left = None if offer["end_date"] is None else offer["end_date"] - now
    return {
        **offer,
        "dlperf_per_dphtotal": per_dollar,
        "dph_base": base,
        "dph_total": total,
        "dph_total_adj": total + offer["inet_up_cost"] + offer["inet_down_cost"],
        "discounted_dph_total": total,
        "duration": left,
        "flops_per_dphtotal": offer["total_flops"] / total,
        "score": per_dollar * liked * math.sqrt(offer["num_gpus"]),
        "search": costs(base, disk),
        "instance": costs(0, disk),
        "storage_total_cost": disk,
        "vram_costperhour": base / (offer["gpu_ram"] * offer["num_gpus"] / 1024),
    }


# What each type of search takes as the price without the disk.
BASE_PRICES: dict[str, Callable[[Row], float]] = {
    "on-demand": lambda offer: float(offer["dph_base"]),
    "ondemand": lambda offer: float(offer["dph_base"]),
    "bid": lambda offer: float(offer["min_bid"]),
    "reserved": lambda offer: float(
        offer["dph_base"] * (1 - offer["credit_discount_max"])
    ),
}

# ---------------------------------------------------------------- 5 billing

# Bills of some months ago, besides the regular ones: how many days ago (None: no
# timestamp), and the row.
ODD_BILLS: tuple[tuple[float | None, Row], ...] = (
    (131, {"type": "payment", "amount": "-50.00", "is_credit": True, "last4": "4242"}),
    (97, {"type": "payment", "amount": 12.5, "is_credit": False, "last4": None}),
    (None, {"type": "payment", "amount": -20, "is_credit": True, "last4": None}),
    (64, {"type": "payment", "amount": 0, "is_credit": False, "last4": "4242"}),
    (63, {"type": "charge", "amount": "0.000", "description": "Instance 3077 nothing"}),
    (61, {"type": "charge", "amount": 0.0004, "quantity": 0.002, "rate": 0.2}),
    (35, {"type": "charge", "amount": 7, "description": "Łódź \x1b[31m東京 \u202e'%s'"}),
    (34, {"type": "charge", "amount": "3.1250", "description": "a long story " * 14}),
    (None, {"type": "charge", "amount": "1.25", "description": "Instance 3077 disk"}),
)


def charge_row(
    number_of: int, when: float, instance: int, what: str, much: float, rate: float
) -> Row:
    """A charge of the old list; the amount is the product to four places."""
    return {
        "id": number_of,
        "type": "charge",
        "timestamp": when,
        "description": f"Instance {instance} {what}",
        "quantity": much,
        "rate": rate,
        "amount": round(much * rate, 4),
        "instance_id": instance,
    }


def as_text(row: Row) -> Row:
    """The row with its numbers as the older bills have them."""
    return {
        **row,
        "quantity": f"{row['quantity']:.3f}",
        "rate": f"{row['rate']:.4f}",
        "amount": f"{row['amount']:.4f}",
    }


def month_of_bills(dice: Random, start: float, bills: itertools.count[int]) -> list[Row]:
    """The charges of two instances and the payment of a month; `bills` numbers them."""
    rows: list[Row] = []
    for instance in (3000 + dice.randrange(900), 4000 - dice.randrange(90)):
        when = float(round(start + dice.uniform(1, 27) * DAY))
        hours, rate = round(dice.uniform(3, 160), 3), round(dice.uniform(0.08, 0.9), 4)
        for what, much, cost in (
            ("GPU charge: hours * $/hr", hours, rate),
            ("storage charge: hours * $/hr", hours, 0.0028),
            ("upload charge: GB * $/GB", round(hours / 7, 3), 0.0049),
        ):
            row = charge_row(next(bills), when, instance, what, much, cost)
            rows.append(as_text(row) if dice.random() < 0.5 else row)
    paid = {"type": "payment", "amount": -25.0 * dice.randrange(1, 5)}
    paid |= {"id": next(bills), "is_credit": False, "last4": "4242"}
    return [*rows, {**paid, "timestamp": start + 27.25 * DAY}]


def billing_history(dice: Random, now: float) -> list[Row]:
    """The bills of the last half year, in the shape of the old list."""
    bills = itertools.count(880001)
    rows: list[Row] = []
    for month in range(6, 0, -1):
        rows += month_of_bills(dice, round(now) - month * 30 * DAY, bills)
    for days, odd in ODD_BILLS:
        when = None if days is None else round(now) - days * DAY
        rows.append({"id": next(bills), "timestamp": when, **odd})
    return ordered(rows, [("timestamp", False)])


def entry(row: Row, kind: str, source: str, description: str) -> Row:
    """What the two successors of the old list have in common."""
    hours = number(row.get("quantity")) or 0.0
    when = row["timestamp"]
    return {
        "start": None if when is None else when - hours * 3600,
        "end": when,
        "type": kind,
        "source": source,
        "description": description,
        "amount": row["amount"],
        "metadata": {},
        "items": [],
    }


def payment_entry(row: Row) -> Row:
    """A payment as the v1 list of invoices shows it."""
    card = f" by card {row['last4']}" if row["last4"] else ""
    way = "Top-up" if row["is_credit"] else "Automatic payment"
    about = {"invoice_id": row["id"], "service": "stripe_payments"}
    return {**entry(row, "credit", "stripe", way + card), "metadata": about}


def charge_entry(row: Row) -> Row:
    """A charge as the list of charges shows it."""
    instance = row.get("instance_id", 3077)
    text = row.get("description") or f"Instance {instance}"
    whole = entry(row, "instance", f"instance-{instance}", text)
    part = f"{row.get('quantity')} at ${row.get('rate')}"
    return {**whole, "items": [{**whole, "type": "gpu", "description": part}]}


# Of each kind of bill, in its own list: the name of the range, the rows on a page at
# most, and the shape of a row.
NEW_LISTS: dict[str, tuple[str, int, Callable[[Row], Row]]] = {
    "payment": ("when", 60, payment_entry),
    "charge": ("day", 500, charge_entry),
}

# ---------------------------------------------------------------- 6 the market


@dataclass
class Rental:
    """An instance: who has it, of which offer, and the last order it was given."""

    id: int
    offer: Offer
    owner: int
    row: Row
    created: float
    order: str = "create"
    ordered: float = 0.0
    odd: Row = field(default_factory=dict)


def ports_of(runtype: str, env: Row, number_of: int) -> Row | None:
    """The open ports: ssh when it is direct, and those that `-p` in env asks for."""
    wanted = ["22/tcp"] if "direct" in runtype else []
    for name in env:
        mapping = re.fullmatch(r"-p \d+:(\d+)(/tcp|/udp)?", name)
        if mapping:
            wanted.append(mapping[1] + (mapping[2] or "/tcp"))
    first = 40000 + number_of % 2000 * 10
    return {
        port: [{"HostIp": ip, "HostPort": str(first + i)} for ip in ("0.0.0.0", "::")]
        for i, port in enumerate(wanted)
    } or None


def rental_fields(offer: Offer, body: Row, number_of: int) -> Row:
    """What an instance row says beyond the offer: how it was ordered, where it is."""
    runtype = body["runtype"]
    env = body.get("env") or {}
    return {
        "id": number_of,
        "label": body.get("label"),
        "template_id": None,
        "template_hash_id": body.get("template_hash_id"),
        "template_name": None,
        "image_uuid": body["image"],
        "image_args": body.get("args") or [],
        # Today's service cuts some of the words short.
        "image_runtype": runtype.replace("_direct", "_direc"),
        "extra_env": [[name, text] for name, text in env.items()],
        "onstart": body.get("onstart"),
        "ports": ports_of(runtype, env, number_of),
        "ssh_host": f"ssh{number_of % 9 + 1}.vast.ai",
        "ssh_idx": str(number_of % 9 + 1),
        "ssh_port": 10000 + number_of % 5000 * 2,
        "machine_dir_ssh_port": 5300,
        "public_ipaddr": offer.row["public_ipaddr"] + "\n",
        "local_ipaddrs": "192.168.1.20 172.17.0.1 \n",
        "direct_port_start": -1,
        "direct_port_end": -1,
        "disk_space": float(body["disk"]),
        "disk_usage": -1,
        "disk_util": -1,
        "cpu_util": 0.0,
        "gpu_totalram": offer.row["gpu_total_ram"],
        "mem_limit": None,
        "mem_usage": None,
        "vmem_usage": None,
        "is_bid": body.get("price") is not None,
        "min_bid": body.get("price") or offer.row["min_bid"],
        "rentable": False,
        "country_code": None,
        "volume_info": [],
    }


def check_create(body: Row) -> None:
    """Refuse an order that makes no sense, whatever the offer."""
    for name, value in body.items():
        if name not in CREATE_KEYS:
            raise Refused(400, "invalid_args", f"unknown key {name!r}")
        if value is not None and not is_a(value, CREATE_KEYS[name]):
            raise Refused(400, "invalid_args", f"{name} has a value of the wrong type")
    for name, limit in (("image", 1024), ("label", 256)):
        if len(body.get(name) or "") > limit:
            raise Refused(400, "invalid_args", f"{name} is over {limit} characters")
    args = body.get("args") or []
    if not all(isinstance(arg, str) for arg in args):
        raise Refused(400, "invalid_args", "args must be an array of text")
    if len(body.get("onstart") or "") + sum(map(len, args)) > 4096:
        raise Refused(400, "invalid_args", "args and onstart are over 4096 characters")
    env = body.get("env") or {}
    if not all(isinstance(text, str) for text in env.values()):
        raise Refused(400, "invalid_args", "env must be an object of text")
    if not RUNTYPES.issuperset((body.get("runtype") or "ssh").split()):
        raise Refused(400, "invalid_args", "unknown runtype")
    check_price(body.get("price"), 128)


def check_price(price: Any, most: float) -> None:
    """Refuse a bid out of bounds; None is no bid."""
    if price is not None and not (is_a(price, float) and 0.001 <= price <= most):
        raise Refused(400, "invalid_price", f"the bid must be from 0.001 to {most}")


def check_terms(machine: Machine, terms: Row, now: float) -> None:
    """Refuse terms of a listing that make no sense; their keys are those of the row."""
    for name, value in terms.items():
        whole = name in ("listed_min_gpu_count", "volume_total_size")
        if not is_a(value, int if whole else float) or value < 0:
            raise Refused(400, "invalid_args", f"{name} cannot be {value!r}")
    if not 1 <= terms.get("listed_min_gpu_count", 1) <= machine.cards:
        raise Refused(400, "invalid_args", "min_chunk is not from 1 to the GPUs")
    if terms.get("credit_discount_max", 0) > 1:
        raise Refused(400, "invalid_args", "credit_discount_max is over 1")
    if terms.get("end_date", now) < now:
        raise Refused(400, "invalid_args", "end_date is in the past")


def seconds_of(duration: Any) -> float:
    """The seconds that a duration such as `30 days` stands for."""
    found = re.fullmatch(r"(\d+) *(day|week|month|year)s?", str(duration).strip())
    seconds = int(found[1]) * SECONDS_IN[found[2]] if found else number(duration)
    if not seconds or not 0 < seconds < math.inf:
        raise Refused(400, "invalid_args", f"no duration: {duration!r}")
    return seconds


class Market:
    """Offers, machines, instances and bills, and what the service does with them.

    `rented` lists (offer id, instance id) of every rental by the caller and
    `destroyed` the ids of the instances that the caller gave back.
    """

    def __init__(self, seed: int = SEED) -> None:
        self.dice = Random(seed)
        self.run_on(time.monotonic, 0.0)
        self.user: Row = dict(USER)
        self.bad_key_status = 401
        self.retired: set[str] = set()
        self.rented: list[tuple[int, int]] = []
        self.destroyed: list[int] = []
        self.instances: dict[int, Rental] = {}
        self.offers: dict[int, Offer] = {}
        self.ids = itertools.count(5001)
        self.machines = self.made_machines()
        for machine in self.machines.values():
            self.relist(machine)
        sample = next(iter(self.offers.values()))
        self.types = field_types(self.shown(sample, "on-demand", 8.0))
        self.add_odd_offers()
        self.add_strangers()
        self.invoices = billing_history(self.dice, self.now())

    def run_on(self, clock: Callable[[], float], boot: float) -> None:
        """Take the time from `clock`; instances need `boot` seconds to come up."""
        self.clock = clock
        self.boot = boot
        self.origin = time.time() - clock()

    def now(self) -> float:
        """The time in unix seconds."""
        return self.origin + self.clock()

    # ------------------------------------------------ the start

    def made_machines(self) -> dict[int, Machine]:
        """All machines by id, the caller's first."""
        hosts = [make_host(self.dice, index) for index in range(HOST_COUNT)]
        machines = own_machines(self.dice, self.now())
        for index in range(MACHINE_COUNT):
            machine_id = 11000 + 97 * index + self.dice.randrange(97)
            host = hosts[index % HOST_COUNT]
            machines.append(make_machine(self.dice, host, machine_id, self.now()))
        return {machine.hardware["machine_id"]: machine for machine in machines}

    def offers_of(self, machine: Machine) -> list[Offer]:
        """The offers on a machine, taken or not."""
        return [offer for offer in self.offers.values() if offer.machine is machine]

    def relist(self, machine: Machine) -> None:
        """Make the offers of the machine's free cards anew, in parts of its chunk."""
        taken: set[int] = set()
        for offer in self.offers_of(machine):
            if offer.rental is None:
                del self.offers[offer.row["id"]]
            else:
                taken.update(offer.cards)
        free = [card for card in range(machine.cards) if card not in taken]
        chunk = machine.terms["listed_min_gpu_count"]
        if not machine.terms["listed"]:
            return
        for start in range(0, len(free) - chunk + 1, chunk):
            cards = free[start : start + chunk]
            row = offer_row(machine, cards)
            self.offers[row["id"]] = Offer(row, machine, cards)

    def add_odd_offers(self) -> None:
        """Make a few offers show odd values; none of a datacenter's."""
        plain = [o for o in self.offers.values() if not o.row["hosting_type"]]
        nulls = {k: None for k in plain[0].row if k not in HARDLY_ANYTHING}
        for offer, odd in zip(plain[12::9], (*ODD_OFFERS, nulls), strict=False):
            offer.odd = odd

    def add_strangers(self) -> None:
        """Have other people rent every ninth offer, and two cards of the caller's."""
        own = self.offers_of(self.machines[OWN_MACHINES[1][0]])
        ids = itertools.count(4001)
        for offer in own[:2] + [*self.offers.values()][20::9]:
            body = {"image": "example/stranger:1", "disk": 20.0, "runtype": "ssh"}
            self.add_rental(offer, body, next(ids), STRANGER)

    # ------------------------------------------------ offers and instances

    def shown(self, offer: Offer, kind: str, storage: float) -> Row:
        """The offer as a search of a type shows it."""
        row = priced(offer.row, BASE_PRICES[kind](offer.row), storage, self.now())
        free = offer.rental is None
        state = {"rentable": free, "rented": not free, "is_bid": kind == "bid"}
        return overlaid({**row, **state}, offer.odd)

    def search(self, query: Row) -> Row:
        """The offers that pass the query's filters; equal ones bundled into one row."""
        filters = dict(query)
        kind = filters.pop("type", "on-demand")
        storage = number(filters.pop("allocated_storage", 8.0))
        limit = filters.pop("limit", 64)
        order = filters.pop("order", [["score", "desc"]])
        separate = filters.pop("disable_bundling", False)
        if kind not in BASE_PRICES or storage is None or storage < 0:
            raise Refused(400, "invalid_args", "bad type or allocated_storage")
        if not is_a(limit, int) or limit < 1:
            raise Refused(400, "invalid_args", "limit must be a number over 0")
        keys = [self.sort_key(entry) for entry in order]
        rows = [self.shown(offer, kind, storage) for offer in self.offers.values()]
        rows = filtered(rows, filters, self.types)
        rows = rows if separate else bundled(rows)
        return {"offers": ordered(rows, keys)[:limit]}

    def sort_key(self, entry: Any) -> tuple[str, bool]:
        """The field and whether it goes down, from an entry of a search's order."""
        match entry:
            case [str(name), "asc" | "desc" as direction] if name in self.types:
                return name, direction == "desc"
        raise Refused(400, "invalid_args", f"{entry!r} is not a valid order")

    def add_rental(self, offer: Offer, body: Row, number_of: int, owner: int) -> Rental:
        """Hand an offer over to somebody; `body` as for create, complete."""
        base = body.get("price") or offer.row["dph_base"]
        shown = priced(offer.row, base, body["disk"], self.now())
        row = {k: v for k, v in shown.items() if k not in OFFER_ONLY}
        row |= rental_fields(offer, body, number_of)
        row |= {"jupyter_token": self.dice.randbytes(32).hex(), "start_date": self.now()}
        rental = Rental(number_of, offer, owner, row, self.now(), ordered=self.now())
        self.instances[number_of] = rental
        offer.rental = number_of
        return rental

    def status(self, rental: Rental) -> str | None:
        """The status that an instance has come to since its last order."""
        waited = self.now() - rental.ordered
        share = min(waited / self.boot, 1.0) if self.boot else 1.0
        status = next(name for part, name in PHASES[rental.order] if share < part)
        broken = rental.row["image_uuid"].startswith(BROKEN_IMAGE)
        return "exited" if broken and status == "running" else status

    def instance_row(self, rental: Rental) -> Row:
        """The instance as the service shows it now."""
        status, row = self.status(rental), rental.row
        running = status == "running"
        ordered_state = "stopped" if rental.order == "stop" else "running"
        message = STATUS_MSG.get(status or "")
        state = {
            "actual_status": status,
            "intended_status": ordered_state,
            "cur_state": ordered_state,
            "next_state": ordered_state,
            "status_msg": message and message.format(image=row["image_uuid"]),
            "uptime_mins": (self.now() - rental.ordered) / 60 if running else None,
            "gpu_util": rental.id * 7 % 101 if running else None,
            "gpu_temp": 30.0 + rental.id % 50 if running else None,
            "ports": row["ports"] if running else None,
            "duration": row["end_date"] and row["end_date"] - self.now(),
        }
        return overlaid({**row, **state}, rental.odd)

    def rows(self) -> list[Row]:
        """The caller's instances."""
        mine = [r for r in self.instances.values() if r.owner == self.user["id"]]
        return [self.instance_row(rental) for rental in mine]

    def list_v1(self, query: Mapping[str, str]) -> Row:
        """A page of the caller's instances."""
        rows = self.rows()
        computed = ("dph_total", "num_gpus")
        sample = self.instance_row(next(iter(self.instances.values())))
        types = {k: v for k, v in field_types(sample).items() if k not in computed}
        filters = parse_json(query.get("select_filters", "{}"), dict, "select_filters")
        keys = []
        for entry in parse_json(query.get("order_by", "[]"), list, "order_by"):
            if not isinstance(entry, dict) or entry.get("col") not in sample:
                raise Refused(400, "invalid_request", f"cannot order by {entry!r}")
            keys.append((entry["col"], entry.get("dir") == "desc"))
        rows = ordered(filtered(rows, filters, types), [*keys, ("id", False)])
        found, token = page(rows, query, 25)
        counts = {"instances_found": len(found), "total_instances": len(rows)}
        return {"success": True, **counts, "next_token": token, "instances": found}

    def one(self, number_of: int) -> Row:
        """One of the caller's instances, or null, under the plural name."""
        rental = self.instances.get(number_of)
        mine = rental is not None and rental.owner == self.user["id"]
        return {"instances": self.instance_row(rental) if rental and mine else None}

    def own(self, number_of: int, error: str, stranger_status: int = 404) -> Rental:
        """The caller's instance; Refused when there is none or it is not theirs."""
        rental = self.instances.get(number_of)
        if rental is None:
            raise Refused(404, error, f"there is no instance {number_of}")
        if rental.owner != self.user["id"]:
            slug = error if stranger_status == 404 else "not_authorized"
            raise Refused(stranger_status, slug, f"instance {number_of} is not yours")
        return rental

    def create(self, offer_id: int, body: Row) -> Row:
        """Rent an offer."""
        check_create(body)
        given = {name: value for name, value in body.items() if value is not None}
        if "create_from" in given:
            source = self.own(given["create_from"], "no_such_instance")
            given = {"image": source.row["image_uuid"], **given}
        if "template_hash_id" in given:
            given = {**TEMPLATE, **given}
        given = {"disk": 10.0, "runtype": "ssh", **given}
        if not given.get("image"):
            raise Refused(400, "invalid_args", "an image is required", ask_id=offer_id)
        if given["disk"] < 8:
            raise Refused(400, "invalid_args", "disk is under 8", ask_id=offer_id)
        offer = self.free_offer(offer_id, given)
        rental = self.add_rental(offer, given, next(self.ids), self.user["id"])
        self.rented.append((offer_id, rental.id))
        rate = offer.row["inet_down_cost"]
        self.charge(rental, "download charge: GB * $/GB", IMAGE_GB, rate)
        secret = self.dice.randbytes(32).hex()
        more = {"new_contract": rental.id, "instance_api_key": secret}
        return {"success": True, **more}

    def free_offer(self, offer_id: int, body: Row) -> Offer:
        """The offer that can be rented as ordered; Refused otherwise."""
        offer = self.offers.get(offer_id)
        if offer is None or offer.rental is not None:
            gone = bool(body.get("cancel_unavail"))
            status, error = (410, "no_such_ask") if gone else (404, "invalid_args")
            msg = f"no_such_ask: offer {offer_id} is not available"
            raise Refused(status, error, msg, ask_id=offer_id)
        if body.get("price", math.inf) < offer.row["min_bid"]:
            msg = f"the least bid is {offer.row['min_bid']}"
            raise Refused(400, "invalid_price", msg, ask_id=offer_id)
        return offer

    def manage(self, number_of: int, body: Row) -> Row:
        """Start, stop or label an instance."""
        rental = self.own(number_of, "no_such_instance", 403)
        state, label = body.get("state"), body.get("label")
        if not body.keys() <= {"state", "label"} or not body:
            raise Refused(400, "invalid_args", "send a state or a label")
        if "label" in body and not isinstance(label, str):
            raise Refused(400, "invalid_args", "label must be text")
        if label and len(label) > 1024:
            raise Refused(400, "label_too_long", "a label has at most 1024 characters")
        if "state" in body and state not in ("running", "stopped"):
            raise Refused(400, "invalid_args", f"state cannot be {state!r}")
        if state == "running" and not self.user["has_billing"]:
            raise Refused(400, "missing_billing", "add a way to pay first")
        if "label" in body:
            rental.row["label"] = label
        order = {"running": "start", "stopped": "stop"}.get(state)
        if order and (order == "stop") != (rental.order == "stop"):
            rental.order, rental.ordered = order, self.now()
        return {"success": True}

    def destroy(self, number_of: int) -> Row:
        """Give an instance back."""
        rental = self.own(number_of, "not_found")
        del self.instances[number_of]
        self.destroyed.append(number_of)
        hours = max(self.now() - rental.created, 60) / 3600  # a minute at least
        rate = rental.row["dph_total"]
        self.charge(rental, "GPU charge: hours * $/hr", round(hours, 3), rate)
        rental.offer.rental = None
        if not rental.offer.machine.terms["listed"]:
            self.relist(rental.offer.machine)
        return {"success": True}

    def bid(self, number_of: int, body: Row) -> Row:
        """Change the bid; null takes one a little over the least that wins."""
        rental = self.own(number_of, "no_such_instance")
        price = body.get("price", "missing")
        if price is None:
            price = round(rental.offer.row["min_bid"] * 1.05, 4)
        check_price(price, 32 * rental.row["num_gpus"])
        row = priced(rental.row, price, rental.row["disk_space"], self.now())
        rental.row = {**row, "is_bid": True, "min_bid": price}
        return {"success": True}

    # ------------------------------------------------ machines

    def machine_row(self, machine: Machine) -> Row:
        """The machine as its owner sees it."""
        rentals = [
            (offer, self.instances[offer.rental])
            for offer in self.offers_of(machine)
            if offer.rental is not None
        ]
        letters = ["x"] * machine.cards
        for offer, rental in rentals:
            for card in offer.cards:
                letters[card] = "I" if rental.row["is_bid"] else "D"
        on_demand = sum(not rental.row["is_bid"] for _, rental in rentals)
        earned = sum(rental.row["dph_total"] for _, rental in rentals)
        return {
            **machine.hardware,
            **machine.terms,
            "id": machine.hardware["machine_id"],
            "hostname": machine.hostname,
            "num_gpus": machine.cards,
            "num_reports": 0,
            "gpu_occupancy": " ".join(letters),
            "current_rentals_running": len(rentals),
            "current_rentals_resident": len(rentals),
            "current_rentals_running_on_demand": on_demand,
            "current_rentals_on_demand": on_demand,
            "earn_hour": earned,
            "earn_day": earned * 24,
            "clients": [],
        }

    def own_rows(self) -> Row:
        """The caller's machines."""
        mine = self.user["id"]
        machines = self.machines.values()
        rows = [self.machine_row(m) for m in machines if m.hardware["host_id"] == mine]
        return {"machines": rows}

    def own_machine(self, machine_id: Any) -> Machine:
        """The caller's machine; Refused for another's and for one that is not there."""
        if not is_a(machine_id, int):
            raise Refused(400, "invalid_args", "machine must be a machine's id")
        machine = self.machines.get(machine_id)
        if machine is None or machine.hardware["host_id"] != self.user["id"]:
            raise Refused(403, "not_authorized", f"machine {machine_id} is not yours")
        return machine

    def done(self, machine: Machine, **more: Any) -> Row:
        """The answer to a host's order."""
        ids = {"machine_id": machine.hardware["machine_id"], "user_id": self.user["id"]}
        return {"success": True, **ids, **more}

    def list_machine(self, body: Row) -> Row:
        """Offer a machine, or offer it on other terms; what is null stays as it was."""
        machine = self.own_machine(body.get("machine"))
        given = {name: value for name, value in body.items() if value is not None}
        if not given.keys() <= {*LISTING, "machine", "duration"}:
            raise Refused(400, "invalid_args", "unknown key")
        terms = {LISTING[name]: given[name] for name in given if name in LISTING}
        if "duration" in given:
            if "end_date" in given:
                raise Refused(400, "invalid_args", "both duration and end_date")
            terms["end_date"] = self.now() + seconds_of(given["duration"])
        check_terms(machine, terms, self.now())
        machine.terms.update(terms, listed=True)
        self.relist(machine)
        return self.done(machine, extended=self.extend(machine), msg="")

    def extend(self, machine: Machine) -> int:
        """Let the machine's rentals run to its new end; the number of those that do."""
        end = machine.terms["end_date"]
        shorter = [
            self.instances[offer.rental].row
            for offer in self.offers_of(machine)
            if offer.rental is not None
        ]
        shorter = [row for row in shorter if row["end_date"] < end]
        for row in shorter:
            row["end_date"] = end
        return len(shorter)

    def unlist_machine(self, machine_id: int) -> Row:
        """Take the free offers of a machine off the market."""
        machine = self.own_machine(machine_id)
        machine.terms["listed"] = False
        self.relist(machine)
        return self.done(machine)

    def min_bid(self, machine_id: int, body: Row) -> Row:
        """Set the least bid per GPU."""
        machine = self.own_machine(machine_id)
        price = body.get("price")
        if not is_a(price, float) or price < 0:
            raise Refused(422, "invalid_args", "price must be a number, 0 or more")
        machine.terms["min_bid_price"] = price
        self.relist(machine)
        return self.done(machine, you_sent=body)

    def set_defjob(self, body: Row) -> Row:
        """Set the job that a machine does while nobody rents it."""
        machine = self.own_machine(body.get("machine"))
        for name in ("price_gpu", "price_inetu", "price_inetd"):
            if not is_a(body.get(name), float) or body[name] < 0:
                raise Refused(400, "invalid_args", f"{name} must be a number")
        args = body.get("args", [])
        if not isinstance(body.get("image"), str) or not isinstance(args, list):
            raise Refused(400, "invalid_args", "image must be text and args an array")
        machine.terms |= {
            "bid_image": body["image"],
            "bid_image_args": args,
            "bid_gpu_cost": body["price_gpu"],
            "bid_inet_up_cost": body["price_inetu"],
            "bid_inet_down_cost": body["price_inetd"],
        }
        return self.done(machine, you_sent=body)

    def remove_defjob(self, machine_id: int) -> Row:
        """Forget the default job."""
        machine = self.own_machine(machine_id)
        machine.terms |= dict.fromkeys(k for k in machine.terms if k.startswith("bid_"))
        return self.done(machine)

    # ------------------------------------------------ money

    def charge(self, rental: Rental, what: str, much: float, rate: float) -> None:
        """Bill something to the caller."""
        number_of = 990001 + len(self.invoices)
        row = charge_row(number_of, self.now(), rental.id, what, much, rate)
        self.invoices.append(row)
        self.user["credit"] -= row["amount"]
        self.user["balance"] -= row["amount"]

    def billed(self, start: float, end: float) -> list[Row]:
        """The bills of a range in unix seconds, and those without a timestamp."""
        return [
            row
            for row in self.invoices
            if row["timestamp"] is None or start <= row["timestamp"] <= end
        ]

    def old_invoices(self, query: Mapping[str, str]) -> Row:
        """The old list; without dates it is about the last 30 days."""
        end = number(query.get("edate", self.now()))
        start = number(query.get("sdate", self.now() - 30 * DAY))
        if start is None or end is None:
            raise Refused(400, "invalid_args", "sdate and edate are unix seconds")
        rows = self.billed(start, end)
        if query.get("inc_charges") != "true":
            rows = [row for row in rows if row["type"] != "charge"]
        owed = -self.user["balance"]
        current = {"charges": owed, "service_fee": 0.0, "total": owed}
        return {"invoices": rows, "current": {**current, "credit": self.user["credit"]}}

    def new_list(self, query: Mapping[str, str], kind: str) -> Row:
        """A page of payments or of charges, in today's shape, newest first."""
        column, most, shape = NEW_LISTS[kind]
        filters = parse_json(query.get("select_filters", "{}"), dict, "select_filters")
        span = filters.get(column)
        bounds = [number(span.get(op)) for op in ("gte", "lte")] if span else []
        if None in bounds or not bounds:
            empty = {"count": 0, "total": 0, "results": [], "next_token": None}
            return {"success": False, "error": f"no range of {column}", **empty}
        rows = [row for row in self.billed(*bounds) if row["type"] == kind]
        rows = ordered(rows, [("timestamp", True)])
        found, token = page([shape(row) for row in rows], query, most)
        counts = {"count": len(found), "total": len(rows)}
        return {"success": True, **counts, "next_token": token, "results": found}


# ---------------------------------------------------------------- 7 calls


class Ask(NamedTuple):
    """What a call is about: the id in its path (0: none), its query and its body."""

    id: int
    query: Mapping[str, str]
    body: Row


class Call(NamedTuple):
    """A call of the service.

    `vital` is the key that makes an answer one. At most `burst` calls are taken in
    burst * threshold seconds (0: any number); one too many costs `penalty` seconds.
    """

    name: str
    method: str
    path: str
    vital: str
    work: Callable[[Market, Ask], Row]
    threshold: float = 0.0
    burst: int = 1
    penalty: float = 0.0


CALLS = (
    Call(
        *("search", "POST", "/api/v0/bundles/", "offers"),
        lambda market, ask: market.search(ask.body),
        *(6.0, 10),
    ),
    Call(
        *("instances", "GET", "/api/v1/instances/", "instances"),
        lambda market, ask: market.list_v1(ask.query),
        1.0,
    ),
    Call(
        *("instances_v0", "GET", "/api/v0/instances", "instances"),
        lambda market, ask: {"instances": market.rows()},
        1.0,
    ),
    Call(
        *("instance", "GET", "/api/v0/instances/ID/", "instances"),
        lambda market, ask: market.one(ask.id),
        2.0,
    ),
    Call(
        *("create", "PUT", "/api/v0/asks/ID/", "new_contract"),
        lambda market, ask: market.create(ask.id, ask.body),
        *(4.5, 1, 12.0),
    ),
    Call(
        *("manage", "PUT", "/api/v0/instances/ID/", "success"),
        lambda market, ask: market.manage(ask.id, ask.body),
        1.0,
    ),
    Call(
        *("destroy", "DELETE", "/api/v0/instances/ID/", "success"),
        lambda market, ask: market.destroy(ask.id),
        3.0,
    ),
    Call(
        *("bid", "PUT", "/api/v0/instances/bid_price/ID/", "success"),
        lambda market, ask: market.bid(ask.id, ask.body),
        5.5,
    ),
    Call(
        *("machines", "GET", "/api/v0/machines", "machines"),
        lambda market, ask: market.own_rows(),
    ),
    Call(
        *("list_machine", "PUT", "/api/v0/machines/create_asks/", "success"),
        lambda market, ask: market.list_machine(ask.body),
    ),
    Call(
        *("unlist_machine", "DELETE", "/api/v0/machines/ID/asks/", "success"),
        lambda market, ask: market.unlist_machine(ask.id),
        1.8,
    ),
    Call(
        *("set_defjob", "PUT", "/api/v0/machines/create_bids/", "success"),
        lambda market, ask: market.set_defjob(ask.body),
        2.8,
    ),
    Call(
        *("remove_defjob", "DELETE", "/api/v0/machines/ID/defjob/", "success"),
        lambda market, ask: market.remove_defjob(ask.id),
        1.2,
    ),
    Call(
        *("min_bid", "PUT", "/api/v0/machines/ID/minbid/", "success"),
        lambda market, ask: market.min_bid(ask.id, ask.body),
        1.5,
    ),
    Call(
        *("user", "GET", "/api/v0/users/current/", "id"),
        lambda market, ask: dict(market.user),
    ),
    Call(
        *("invoices", "GET", "/api/v0/users/me/invoices", "invoices"),
        lambda market, ask: market.old_invoices(ask.query),
    ),
    Call(
        *("invoices_v1", "GET", "/api/v1/invoices/", "results"),
        lambda market, ask: market.new_list(ask.query, "payment"),
        3.0,
    ),
    Call(
        *("charges", "GET", "/api/v0/charges/", "results"),
        lambda market, ask: market.new_list(ask.query, "charge"),
        1.0,
    ),
)
# Calls whose query must say owner=me.
OWNER_ME = frozenset(["instances_v0", "instance", "machines", "invoices"])
PATTERNS = [(call, re.compile(call.path.replace("ID", r"(\d+)"))) for call in CALLS]


def find_call(method: str, path: str) -> tuple[Call, int] | None:
    """The call and the id in its path; paths count to the last slash."""
    for call, pattern in PATTERNS:
        found = pattern.fullmatch(path) if call.method == method else None
        if found:
            return call, int(found[1]) if pattern.groups else 0
    return None


class Limiter:
    """Counts the calls that were taken, and says when one comes too soon."""

    def __init__(self) -> None:
        self.taken: dict[str, deque[float]] = {}
        self.barred: dict[str, float] = {}

    def too_soon(self, call: Call, now: float) -> bool:
        """Whether the call is refused at the time `now`."""
        if now < self.barred.get(call.name, now):
            return True
        taken = self.taken.setdefault(call.name, deque(maxlen=call.burst))
        full = len(taken) == call.burst
        if full and now - taken[0] < call.burst * call.threshold:
            self.barred[call.name] = now + call.penalty
            return True
        taken.append(now)
        return False


# ---------------------------------------------------------------- 8 faults


class Trouble(NamedTuple):
    """What a fault has to work with: the call, its true answer, and the options."""

    call: Call
    reply: Reply
    seconds: float
    body: Any


class Fault(NamedTuple):
    """How a fault answers; `done` says whether the market's work is done first."""

    done: bool
    play: Callable[[Trouble], Reply | Stream]


def refusal(status: int, error: str, msg: str, **headers: str) -> Reply:
    """The JSON answer of a call that was refused."""
    return json_reply(
        {"success": False, "error": error, "msg": msg}, status, **headers
    )


def fixed(status: int, text: str, kind: str = "text/plain") -> Callable[..., Reply]:
    """Always the same text."""
    return lambda trouble: text_reply(text, status, kind)


def too_often(call: Call) -> str:
    """The text of most 429 answers; a second where no threshold is documented."""
    return f"API requests too frequent: endpoint threshold={call.threshold or 1.0}"


def with_vital(trouble: Trouble, value: Any) -> Reply:
    """The true answer with another value under its vital key; GONE takes it away."""
    body = json.loads(trouble.reply.body)
    return json_reply(overlaid(body, {trouble.call.vital: value}))


def spoiled(trouble: Trouble, tail: bytes) -> Reply:
    """The true answer with one more pair at its end."""
    return trouble.reply._replace(body=trouble.reply.body[:-1] + tail)


def dropped(trouble: Trouble) -> Stream:
    """The connection closed without an answer."""
    return Stream(())


def cut(reply: Reply) -> Stream:
    """An answer that ends before its announced length."""
    half = reply._replace(body=reply.body[: len(reply.body) // 2])
    return Stream([wire(half, length=len(reply.body))])


def bad_gateway(trouble: Trouble) -> Reply:
    """The page of a proxy that got nothing from behind."""
    page_ = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n</html>\r\n"
    return text_reply(page_, 502, "text/html")


BLANKS = b" " * 65536
LOST_KEY = {"error": "auth_error", "msg": "Invalid user key"}

FAULTS: dict[str, Fault] = {
    # The service is too busy, or behind a broken proxy; nothing was done.
    "429_text": Fault(False, lambda t: text_reply(too_often(t.call), 429)),
    "429_detail": Fault(False, lambda t: json_reply({"detail": too_often(t.call)}, 429)),
    "429_json": Fault(
        False, lambda t: refusal(429, "rate_limit_exceeded", too_often(t.call))
    ),
    "429_retry_after": Fault(
        False,
        lambda t: text_reply(too_often(t.call), 429)._replace(
            headers=(("Retry-After", f"{t.seconds:g}"),)
        ),
    ),
    "429_quota": Fault(
        False,
        lambda t: refusal(
            *(429, "search_quota_exceeded", "no searches are left today"),
            X_RateLimit_Reset=str(int(time.time() + t.seconds)),
        ),
    ),
    "500": Fault(False, fixed(500, "Internal Server Error")),
    "501": Fault(False, fixed(501, "Not Implemented")),
    "502": Fault(False, bad_gateway),
    "503": Fault(False, fixed(503, "Service Unavailable")),
    "504": Fault(False, fixed(504, "Gateway Time-out")),
    # The outcome is unknown to the caller.
    "502_after": Fault(True, bad_gateway),
    "drop_after": Fault(True, dropped),
    "cut_after": Fault(True, lambda t: cut(t.reply)),
    "drop_before": Fault(False, dropped),
    "cut": Fault(False, lambda t: cut(t.reply)),
    # Slow, endless.
    "slow": Fault(True, lambda t: t.reply._replace(delay=t.seconds)),
    "drip_headers": Fault(
        True,
        lambda t: Stream(
            itertools.chain([b"HTTP/1.1 200 OK\r\nX-Slow: "], itertools.repeat(b"z")),
            t.seconds,
        ),
    ),
    "drip_body": Fault(
        True,
        lambda t: Stream(
            itertools.chain([wire(t.reply._replace(body=b"{"), 10**6)], itertools.repeat(b" ")),
            t.seconds,
        ),
    ),
    "huge": Fault(
        True,
        lambda t: Stream(
            itertools.chain(
                [wire(t.reply._replace(body=b""), 300 * 10**6)],
                itertools.repeat(BLANKS, 300 * 10**6 // len(BLANKS)),
            )
        ),
    ),
    # Answers of a shape that nobody expects.
    "not_json": Fault(True, fixed(200, "All is well!", "application/json")),
    "html": Fault(True, fixed(200, "<html><body>Log in</body></html>", "text/html")),
    "empty": Fault(True, fixed(200, "", "application/json")),
    "array": Fault(True, lambda t: json_reply([])),
    "string": Fault(True, lambda t: json_reply("x")),
    "number": Fault(True, lambda t: json_reply(7)),
    "null": Fault(True, lambda t: json_reply(None)),
    "no_list": Fault(True, lambda t: with_vital(t, GONE)),
    "bad_list": Fault(True, lambda t: with_vital(t, "some text")),
    "bad_rows": Fault(True, lambda t: with_vital(t, [1, 2, 3])),
    "bad_encoding": Fault(True, lambda t: spoiled(t, b', "odd": "\xff\xfe"}')),
    "nan": Fault(True, lambda t: spoiled(t, b', "odd": NaN}')),
    "deep": Fault(
        True, fixed(200, "[" * 100000 + "]" * 100000, "application/json")
    ),
    "204": Fault(True, fixed(204, "")),
    "body": Fault(
        True,
        lambda t: Reply(200, t.body)
        if isinstance(t.body, bytes)
        else json_reply(t.body),
    ),
    # Refusals and redirections.
    "redirect": Fault(False, lambda t: json_reply({}, 302, Location="/api/v0/moved/")),
    "redirect_away": Fault(
        False, lambda t: json_reply({}, 307, Location="http://127.0.0.2:9/")
    ),
    "401": Fault(False, lambda t: refusal(401, **LOST_KEY)),
    "401_2fa": Fault(
        False, lambda t: refusal(401, "auth_error", "Two Factor Authentication needed")
    ),
    "403": Fault(False, fixed(403, "Forbidden")),
    "404": Fault(False, lambda t: refusal(404, "not_found", "there is no such thing")),
    "404_auth": Fault(False, lambda t: refusal(404, **LOST_KEY)),
    "410": Fault(
        False, lambda t: refusal(410, "deprecated_endpoint", "this call is retired")
    ),
    "refused": Fault(
        False, lambda t: refusal(200, "not_today", "the sandbox refuses this call")
    ),
}


@dataclass
class Armed:
    """A fault that waits for calls: it skips `after` of them, then hits `times`."""

    name: str
    kind: str
    times: float
    after: int
    seconds: float
    body: Any

    def hits(self, name: str) -> bool:
        """Whether the fault hits this call; counts it."""
        if self.name not in (name, "*") or self.times < 1:
            return False
        if self.after:
            self.after -= 1
            return False
        self.times -= 1
        return True


# ---------------------------------------------------------------- 9 the server


class Seen(NamedTuple):
    """A request as it came in; `name` is empty when it is no call of the service."""

    name: str
    method: str
    path: str
    query: dict[str, str]
    headers: Message
    body: Any
    raw: bytes


class Sandbox:
    """The service on a free port of 127.0.0.1, for as long as the context lasts."""

    def __init__(
        self,
        market: Market | None = None,
        *,
        limits: bool = False,
        boot: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.market = market or Market()
        self.market.run_on(clock, boot)
        self.limiter = Limiter() if limits else None
        self.clock = clock
        self.key = KEY
        self.lock = threading.Lock()
        self.clear()
        self.server = Server(self)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Sandbox:
        """Start to answer."""
        self.server.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Close every connection."""
        self.server.stop()

    def clear(self) -> None:
        """Disarm the faults and forget the requests."""
        self.faults: list[Armed] = []
        self.calls: list[Seen] = []
        self.connections = 0

    def fault(
        self,
        name: str,
        kind: str,
        *,
        times: int | None = 1,
        after: int = 0,
        seconds: float = 1.0,
        body: Any = None,
    ) -> None:
        """Have calls of a name ("*": any) go wrong; `times` None means for ever."""
        if kind not in FAULTS or name not in {"*", *(call.name for call in CALLS)}:
            raise ValueError(f"no fault {kind!r} of {name!r}")
        many = math.inf if times is None else times
        self.faults.append(Armed(name, kind, many, after, seconds, body))

    def take(self, method: str, target: str, headers: Message, raw: bytes) -> Reply | Stream:
        """Record a request, do what it asks, and answer; or let a fault do so."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        found = find_call(method, parts.path)
        name = found[0].name if found else ""
        with self.lock:
            self.calls.append(
                Seen(name, method, parts.path, query, headers, decoded(raw), raw)
            )
            if found is None:
                return text_reply("Not Found", 404)
            call, number_of = found
            armed = next((f for f in self.faults if f.hits(name)), None)
            if armed is None:
                return self.answer(call, number_of, self.calls[-1])
            fault = FAULTS[armed.kind]
            reply = json_reply({"success": True})
            if fault.done:
                reply = self.answer(call, number_of, self.calls[-1])
            return fault.play(Trouble(call, reply, armed.seconds, armed.body))

    def answer(self, call: Call, number_of: int, seen: Seen) -> Reply:
        """The answer of the service in good order."""
        try:
            self.check_key(seen)
            if call.name in self.market.retired:
                if call.name == "instances":
                    return text_reply("Not Found", 404)
                raise Refused(410, "deprecated_endpoint", "this call is retired")
            if self.limiter and self.limiter.too_soon(call, self.clock()):
                return text_reply(too_often(call), 429)
            if call.name in OWNER_ME and seen.query.get("owner") != "me":
                raise Refused(400, "invalid_args", "owner=me is missing")
            body = {} if call.method == "GET" else parse_json(seen.raw, dict, "the body")
            return json_reply(call.work(self.market, Ask(number_of, seen.query, body)))
        except Refused as error:
            return json_reply(error.body, error.status)

    def check_key(self, seen: Seen) -> None:
        """Refuse a request without the key, and one with a key in its URL."""
        if "api_key" in seen.query:
            raise Refused(400, "invalid_args", "the key belongs into the header")
        given = seen.headers.get("Authorization")
        if given is None:
            raise Refused(403, "auth_error", "This action requires login.")
        if given != f"Bearer {self.key}":
            raise Refused(self.market.bad_key_status, **LOST_KEY)


def decoded(raw: bytes) -> Any:
    """The JSON value of a body, None when there is none."""
    try:
        return json.loads(raw)
    except ValueError:
        return None


class Handler(BaseHTTPRequestHandler):
    """Reads the requests of one connection and writes the answers."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def exchange(self) -> None:
        """Answer one request."""
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        box = self.server.box
        answer = box.take(self.command, self.path, self.headers, raw)
        if isinstance(answer, Stream):
            self.pour(answer)
        elif not self.server.stopped.wait(answer.delay):
            self.wfile.write(wire(answer))

    do_GET = do_PUT = do_POST = do_DELETE = exchange

    def pour(self, stream: Stream) -> None:
        """Write piece after piece, then close the connection."""
        self.close_connection = True
        for piece in stream.pieces:
            self.wfile.write(piece)
            if self.server.stopped.wait(stream.pause):
                return

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(socketserver.ThreadingTCPServer):
    """Accepts connections and closes them all at the end."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, box: Sandbox) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.box = box
        self.stopped = threading.Event()
        self.open: set[socket.socket] = set()

    def start(self) -> None:
        """Answer in the background."""
        serve = {"poll_interval": 0.01}
        threading.Thread(target=self.serve_forever, kwargs=serve, daemon=True).start()

    def stop(self) -> None:
        """End everything at once, held-back answers too."""
        self.stopped.set()
        self.shutdown()
        for connection in list(self.open):
            self.shutdown_request(connection)
        self.server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection, and count it."""
        connection, address = super().get_request()
        self.box.connections += 1
        self.open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, and forget it."""
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a client goes away; that is its right."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


# ---------------------------------------------------------------- 10 the command line


def environment(box: Sandbox, home: str) -> dict[str, str]:
    """The environment in which a command finds the sandbox and no file of a person."""
    dropped = re.compile("XDG_CONFIG_HOME|(https?|all|no)_proxy", re.IGNORECASE)
    kept = {k: v for k, v in os.environ.items() if not dropped.fullmatch(k)}
    # Not the real path of the interpreter: a virtual environment is a link to it.
    here = os.path.dirname(os.path.abspath(sys.executable))
    path = os.pathsep.join([here, os.environ.get("PATH", os.defpath)])
    return {**kept, "HOME": home, "PATH": path, **exports(box)}


def exports(box: Sandbox) -> dict[str, str]:
    """The variables that point vast.py at the sandbox."""
    return {"VAST_URL": box.url, "VAST_API_KEY": box.key}


def leave_to_child(number_of: int, frame: FrameType | None) -> None:
    """Ctrl-C is for the command; unlike SIG_IGN, a handler is not inherited by it."""


def run(command: Sequence[str], box: Sandbox) -> int:
    """Run a command in a home of its own; its exit status."""
    before = signal.signal(signal.SIGINT, leave_to_child)
    try:
        with tempfile.TemporaryDirectory(prefix="sandbox-") as home:
            status = subprocess.run(command, env=environment(box, home)).returncode
    except OSError as error:
        print(f"sandbox.py: {command[0]}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    finally:
        signal.signal(signal.SIGINT, before)
    return 128 - status if status < 0 else status


def stay_up(box: Sandbox) -> int:
    """Say how to get here, and answer until Ctrl-C."""
    for name, value in exports(box).items():
        print(f"export {name}={value}", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    return 0


def main(argv: Sequence[str]) -> int:
    """Run the command, or stay up when there is none."""
    with Sandbox() as box:
        return run(argv, box) if argv else stay_up(box)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
