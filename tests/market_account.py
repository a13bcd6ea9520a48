"""The calls about hosting, billing, accounts, keys, teams and serverless endpoints.

What they remember is `account(market)`. Where the documentation leaves the shape of an
answer open, `reshape(market, NAME, SHAPE)` switches it; SHAPES lists what there is.

Sections: 1 state, 2 credentials, 3 machines, 4 earnings and market metrics, 5 bills,
6 accounts, 7 API keys and second factor, 8 teams, 9 endpoints and workergroups,
10 logs and workers, 11 deployments, 12 the table of calls.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from hashlib import sha256
from statistics import median, quantiles
from typing import Any, NamedTuple, NoReturn

from market import (
    DAY,
    DELETE,
    GET,
    MACHINES,
    OPERATORS,
    POST,
    PUT,
    STRANGER,
    V0,
    V1,
    Ask,
    Call,
    Machine,
    Market,
    Refused,
    Reply,
    Row,
    Store,
    billed,
    check_body,
    deletes,
    error_reply,
    furnisher,
    is_a,
    json_reply,
    machine_row,
    number,
    ordered,
    page,
    parse_json,
    require,
    text_reply,
    volume_offer_id,
)

# ---------------------------------------------------------------- 1 state

# The shapes that are in doubt, by what they are about; the first is the default.
SHAPES: dict[str, tuple[str, ...]] = {
    "machine": ("list", "machines", "object"),
    "no_machine": ("empty", "404"),
    "metrics": ("host", "renter", "needs_machine"),
    "tree": ("nested", "flat"),
    "subaccounts": ("keys", "users"),
    "ipaddrs": ("ip", "ip_address"),
    "api_keys": ("without_key", "with_key"),
    "deleted_api_key": ("json_string", "text", "object"),
    "resent_sms": ("same_secret", "new_secret"),
    "expired_session": ("msg", "auth_error"),
    "new_team": ("personal_key", "team_key"),
    "role_permissions": ("object", "array"),
    "team_members": ("list", "members"),
    "new_endpoint": ("result", "id"),
    "no_endpoints": ("400", "success_false", "empty"),
    "logs": ("levels", "logs"),
    "workers": ("list", "workers"),
    "run_error": ("text", "json_string", "error_msg"),
}

# What a payment or charge of the old list is in today's lists, in place of the usual.
Details = dict[int, Row]

TEAM_OWNER, MEMBER = 48213, 51702
STRANGERS_KEY = 70001
FRIENDS = {STRANGER: "stranger@example.net", MEMBER: "zoe@example.org"}
CODES = {"totp": "135790", "sms": "246813", "email": "975310"}
CODE_LIFE, LOCK_TIME = 600.0, 900.0
WRONG_CODES = {"totp": 5, "sms": 3, "email": 3}  # so many lock a method
SESSION_LIFE = DAY
INVITATION_PAUSE = 600.0


def secret_text(*about: object) -> str:
    """Return 64 hexadecimal digits, always the same ones for the same thing."""
    return sha256(repr(about).encode()).hexdigest()


def iso(when: float) -> str:
    """Return unix seconds as text."""
    return datetime.fromtimestamp(when, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(eq=False)
class Account:
    """What the calls of this module remember beyond the stores.

    `api_keys` are the secrets of created keys by id, `deleted_keys` are ids. `sessions`
    are session keys and when they end; the calls named in `second_factor` accept
    nothing else. `challenges` are the secrets of codes that were sent: method and time.
    `expired` counts the expired contracts by machine, `windows` are the maintenance
    windows, those of `vast_windows` cannot be cancelled. `details` say what bills of
    the old list are in today's lists. `active_volumes` are ids of volume offers that
    cannot be unlisted. `transfers` are (recipient id, $). `invited` says when an
    address was invited. `updating` are the workergroups whose workers are being
    updated.
    """

    shapes: dict[str, str]
    expired: dict[int, int]
    reports: dict[int, list[Row]]
    details: Details
    windows: list[Row]
    vast_windows: list[Row]
    team: Row | None
    members: dict[int, Row]
    methods: list[Row]
    subaccounts: list[Row]
    addresses: list[Row]
    audit_log: list[Row]
    is_team_owner: bool = True
    may_have_subaccounts: bool = True
    sms_limited: bool = False
    active_volumes: set[int] = field(default_factory=set)
    transfers: list[tuple[int, float]] = field(default_factory=list)
    api_keys: dict[int, str] = field(default_factory=dict)
    deleted_keys: set[int] = field(default_factory=set)
    sessions: dict[str, float] = field(default_factory=dict)
    second_factor: set[str] = field(default_factory=set)
    challenges: dict[str, tuple[str, float]] = field(default_factory=dict)
    backup_codes: list[str] = field(default_factory=list)
    other_teams: list[Row] = field(default_factory=list)
    invited: dict[str, float] = field(default_factory=dict)
    updating: set[int] = field(default_factory=set)


def account(market: Market) -> Account:
    """Return what these calls remember of a market."""
    found: Account = market.state["account"]
    return found


def reshape(market: Market, name: str, shape: str) -> None:
    """Switch the shape of an answer; see SHAPES."""
    if shape not in SHAPES[name]:
        raise ValueError(f"{name} has no shape {shape!r}")
    account(market).shapes[name] = shape


def expire_sessions(market: Market) -> None:
    """End all sessions."""
    sessions = account(market).sessions
    sessions.update(dict.fromkeys(sessions, -math.inf))


def shaped(ask: Ask, name: str) -> str:
    """Return the shape that an answer has in this market."""
    return account(ask.market).shapes[name]


def refuse(status: int, /, **body: Any) -> NoReturn:
    """Refuse with a body other than the usual one."""
    refused = Refused(str(body.get("msg")), status)
    refused.reply = json_reply(body, status)
    raise refused


def check_query(ask: Ask, *names: str) -> None:
    """Refuse a query with an unknown key."""
    for name in ask.query.keys() - {"owner", *names}:
        require(False, f"unknown parameter {name!r}")


def to_number(ask: Ask, name: str, default: float) -> float:
    """Return a number of the query."""
    value = number(ask.query.get(name, default))
    if value is None or not math.isfinite(value):
        raise Refused(f"{name}: invalid input syntax")
    return value


def one_of(ask: Ask, name: str, choices: Sequence[str]) -> str:
    """Return a word of the query; the first choice is the default."""
    value = ask.query.get(name, choices[0])
    require(value in choices, f"{name} must be one of {', '.join(choices)}")
    return value


def nothing(ask: Ask) -> None:
    """Refuse a body that says anything."""
    check_body(ask.body, {})


# ---------------------------------------------------------------- 2 credentials


def locked_out(market: Market, name: str, given: str, key: str) -> Reply | None:
    """Return the answer to a call whose credentials are not accepted.

    `given` is the Authorization header and `key` the user's own API key. Accepted are
    that one, created keys and session keys, as long as they exist.
    """
    state = account(market)
    token = given.removeprefix("Bearer ") if given.startswith("Bearer ") else ""
    if token in state.sessions:
        if market.now() < state.sessions[token]:
            return None
        msg = "Session expired. Please log in again."
        if state.shapes["expired_session"] == "auth_error":
            return error_reply(404, "auth_error", msg)
        return json_reply({"success": False, "msg": msg}, 404)
    own = token == key and market.user.get("key_id") not in state.deleted_keys
    if not own and token not in state.api_keys.values():
        return error_reply(market.bad_key_status, "auth_error", "Invalid user key")
    if name in state.second_factor:
        text = "Two Factor Authentication is required for this action."
        return error_reply(401, "auth_error", text)
    return None


# ---------------------------------------------------------------- 3 machines

CATEGORIES = ("power", "internet", "disk", "gpu", "software", "other", "not provided")
REPORTS: dict[int, tuple[tuple[float, str, str], ...]] = {
    7102: (
        (1.5, "network", "Download stalls at 3 MB/s,\nupload is fine\t(speedtest)"),
        (9.2, "gpu", "GPU 5 falls off the bus: \x1b[31mXid 79\x1b[0m \u202etxet"),
        (40.0, "other", "対応が遅い。\x07 50 % slower than advertised\u2028bye"),
    ),
    7104: ((3.0, "storage", ""),),
}


def no_such_machine(ask: Ask) -> NoReturn:
    """Refuse because the machine is another's, or is not there."""
    ids = {"machine_id": ask.id, "user_id": ask.market.user["id"]}
    refuse(404, success=False, error="not_found", msg="No such machine id", **ids)


def machine_or_404(ask: Ask) -> Machine:
    """Return the user's machine in the path; calls that answer 404 without one."""
    machine = ask.market.machines.get(ask.id)
    if machine is None or machine not in ask.market.own_machines():
        no_such_machine(ask)
    return machine


def machine(ask: Ask) -> Any:
    """Return one of the user's machines, as a list of one row."""
    check_query(ask)
    own = [m for m in ask.market.own_machines() if m.hardware["machine_id"] == ask.id]
    if not own and shaped(ask, "no_machine") == "404":
        no_such_machine(ask)
    rows = [machine_row(ask.market, machine) for machine in own]
    shape = shaped(ask, "machine")
    if shape == "machines":
        return {"machines": rows}
    return rows[0] if rows and shape == "object" else rows


def cleanup_machine(ask: Ask) -> Row:
    """Remove the expired contracts on a machine."""
    nothing(ask)
    ask.market.own_machine(ask.id)
    count = account(ask.market).expired.pop(ask.id, 0)
    return {
        "success": True, "ctime": ask.market.now(), "machine_id": ask.id,
        "user_id": ask.market.user["id"], "num_deleted": count,
        "msg": f"deleted {count} expired contracts on machine {ask.id}",
    }  # fmt: skip


def defrag_machines(ask: Ask) -> Row:
    """Regroup the free cards of machines."""
    ids = check_body(ask.body, {"machine_ids": list}, ["machine_ids"])["machine_ids"]
    require(bool(ids), "machine_ids is empty")
    machines = [ask.market.own_machine(number) for number in ids]
    for machine in machines:
        ask.market.relist(machine)
    return {"success": True, "msg": f"defragmented {len(machines)} machines"}


def delete_machine(ask: Ask) -> Row:
    """Remove a machine that nobody rents, and its offers."""
    nothing(ask)
    market, machine = ask.market, ask.market.own_machine(ask.id)
    offers = market.offers_of(machine)
    free = not any(offer.rental for offer in offers)
    require(free, f"machine {ask.id} has active rentals")
    for offer in offers:
        del market.offers[offer.row["id"]]
    del market.machines[ask.id]
    return {"success": True, "msg": f"deleted machine {ask.id}"}


def reports(ask: Ask) -> list[Row]:
    """Return what renters say about a machine."""
    check_query(ask)
    machine_or_404(ask)
    return account(ask.market).reports.get(ask.id, [])


def schedule_maint(ask: Ask) -> Row:
    """Announce a maintenance window; it has whole hours, at least one."""
    fields = {"sdate": float, "duration": float, "maintenance_category": str}
    body = check_body(ask.body, fields, ["sdate", "duration"])
    machine, now = machine_or_404(ask), ask.market.now()
    category = body.get("maintenance_category", "not provided")
    require(category in CATEGORIES, f"no such maintenance_category: {category!r}")
    require(0 < body["duration"] < math.inf, "duration must be over 0 hours")
    soon = now < body["sdate"] < now + 365 * DAY
    require(soon, "sdate must be in the future, within a year")
    hours = max(1, int(body["duration"]))
    window = maintenance(ask.id, body["sdate"], hours, category)
    account(ask.market).windows.append(window)
    rentals = [o for o in ask.market.offers_of(machine) if o.rental]
    return {"success": True, "you_sent": f"{len(rentals)} notifications sent"}


def maintenance(machine_id: int, start: float, hours: int, category: str) -> Row:
    """Return a maintenance window."""
    return {
        "machine_id": machine_id, "start_time": start,
        "end_time": start + hours * 3600, "duration_hours": hours,
        "maintenance_category": category,
    }  # fmt: skip


def cancel_maint(ask: Ask) -> Row:
    """Cancel all windows of a machine but those that Vast itself has set."""
    named = check_body(ask.body, {"machine_id": int}, ["machine_id"])["machine_id"]
    require(named == ask.id, "machine_id is not the id in the path")
    machine_or_404(ask)
    windows = account(ask.market).windows
    left = [window for window in windows if window["machine_id"] != ask.id]
    count = len(windows) - len(left)
    windows[:] = left
    msg = f"deleted {count} scheduled maintenance window(s) on machine {ask.id}"
    now = ask.market.now()
    return {"success": True, "ctime": now, "machine_id": ask.id, "msg": msg}


def maintenances(ask: Ask) -> list[Row]:
    """Return the windows of machines that are not over yet."""
    check_query(ask, "machine_ids")
    ids = parse_json(ask.query.get("machine_ids", ""), list, "machine_ids")
    require(all(is_a(number, int) for number in ids), "machine_ids must hold ids")
    own = {machine.hardware["machine_id"] for machine in ask.market.own_machines()}
    state, now = account(ask.market), ask.market.now()
    return [
        window
        for window in [*state.windows, *state.vast_windows]
        if window["machine_id"] in own.intersection(ids) and window["end_time"] > now
    ]


def list_volume(ask: Ask) -> Row:
    """Offer space for volumes on one machine or several."""
    machines = ask.body.get("machine")
    fields = {"size": float, "price_disk": float, "end_date": float, "machine": object}
    body = check_body(ask.body, fields, ["size", "price_disk", "machine"])
    own = [
        ask.market.own_machine(number)
        for number in (machines if isinstance(machines, list) else [machines])
    ]
    require(bool(own), "machine is empty")
    require(body["price_disk"] >= 0, "price_disk must be 0 or more")
    now = ask.market.now()
    require(body.get("end_date", math.inf) > now, "end_date is in the past")
    for machine in own:
        space = machine.hardware["disk_space"]
        require(1 <= body["size"] <= space, f"size must be from 1 to {space:g} GB")
    for machine in own:
        machine.terms["volume_total_size"] = body["size"]
        machine.terms["listed_volume_cost"] = body["price_disk"]
        ask.market.relist(machine)
    ids = [volume_offer_id(machine) for machine in own]
    return {"success": True, "msg": f"Listed {len(ids)} volume(s).", "offer_ids": ids}


def unlist_volume(ask: Ask) -> Row:
    """Take the space for volumes on a machine off the market."""
    wrong = {"success": False}
    if ask.body.get("id") is None:
        msg = "You must pass in `id` in the body of the request"
        refuse(400, **wrong, msg=msg)
    offer_id = check_body(ask.body, {"id": int})["id"]
    for machine in ask.market.own_machines():
        listed = machine.terms["listed"] and machine.terms["volume_total_size"]
        if listed and volume_offer_id(machine) == offer_id:
            if offer_id in account(ask.market).active_volumes:
                refuse(400, **wrong, msg="Unable to delete active volume listing")
            machine.terms["volume_total_size"] = 0
            ask.market.relist(machine)
            return {"success": True, "msg": f"Unlisted Volume {offer_id}."}
    refuse(400, **wrong, msg="Volume listing does not exist")


# ---------------------------------------------------------------- 4 earnings, metrics

EARNED = ("gpu_earn", "sto_earn", "bwu_earn", "bwd_earn")
EARNED_IN_ALL = ("total_gpu", "total_stor", "total_bwu", "total_bwd")
OLDEST_EARNINGS = 400  # days
PERSONAL = {
    "username": "username", "email": "email", "fullname": "fullname",
    "address1": "billaddress_line1", "address2": "billaddress_line2",
    "city": "billaddress_city", "zip": "billaddress_zip",
    "country": "billaddress_country",
}  # fmt: skip


def day_of_earnings(machine: Machine, day: int) -> tuple[float, ...]:
    """Return what a machine earned on a day in $: GPU, storage, upload, download."""
    ident = machine.hardware["machine_id"]
    busy = (ident * 7 + day * 13) % 101 / 100
    full = machine.terms["listed_gpu_cost"] * machine.cards * 24
    gpu = full * busy if machine.terms["listed"] else 0.0
    return round(gpu, 4), round(gpu / 40 + 0.01, 4), round(gpu / 90, 4), 0.0


def sums(rows: Iterable[tuple[float, ...]]) -> list[float]:
    """Return the four sums of days of earnings."""
    return [sum(column) for column in zip(*rows, (0.0, 0.0, 0.0, 0.0))]


def earnings(ask: Ask) -> Row:
    """Return what the user's machines earned from sday to eday, both days included."""
    check_query(ask, "sday", "eday", "machid", "last_days")
    today = ask.market.now() / DAY
    end = to_number(ask, "eday", today)
    start = to_number(ask, "sday", end - to_number(ask, "last_days", 30))
    wanted = ask.query.get("machid")
    require(wanted is None or wanted.isdecimal(), "machid: invalid input syntax")
    first = max(math.floor(start), int(today) - OLDEST_EARNINGS)
    days = range(first, math.floor(min(end, today)) + 1)
    machines = {m.hardware["machine_id"]: m for m in ask.market.own_machines()}
    if wanted is not None:
        machines = {ident: m for ident, m in machines.items() if ident == int(wanted)}
    table = {
        ident: [day_of_earnings(machine, day) for day in days]
        for ident, machine in machines.items()
    }
    per_machine = {ident: sums(rows) for ident, rows in table.items()}
    per_day = {day: sums(rows) for day, *rows in zip(days, *table.values())}
    user = ask.market.user
    current = {"balance": user["balance"], "service_fee": 0.0}
    return {
        "summary": dict(zip(EARNED_IN_ALL, sums(map(tuple, per_machine.values())))),
        **{name: user.get(key) for name, key in PERSONAL.items()},
        "taxinfo": "CZ-made-up",
        "current": {**current, "total": user["balance"], "credit": user["credit"]},
        "per_machine": [
            {"machine_id": ident, **dict(zip(EARNED, row))}
            for ident, row in per_machine.items()
        ],
        "per_day": [
            {"day": day, **dict(zip(EARNED, row))} for day, row in per_day.items()
        ],
    }


class Supply(NamedTuple):
    """The cards of a kind that pass the filters: $/h per card, and who has them."""

    machine: Machine
    cards: int
    rented: bool
    verified: bool
    price: float


def metrics_only_for_hosts(ask: Ask) -> Row | None:
    """Return the answer to a user without machines; refuse a renter's key."""
    shape = shaped(ask, "metrics")
    if shape == "renter":
        raise Refused("This call is for hosts.", 401, "unauthorized")
    if shape == "needs_machine" or not ask.market.own_machines():
        return {"success": True, "needs_machine": True}
    return None


def supplies(ask: Ask) -> dict[str, list[Supply]]:
    """Return the offers that the filters in the query let through, by kind of card."""
    verified = one_of(ask, "verified", ("yes", "no", "all"))
    hosting = one_of(ask, "hosting_type", ("all", "secure_cloud", "community"))
    bucket = one_of(ask, "num_gpus", ("all", "1", "2", "4", "8", "other"))
    found: dict[str, list[Supply]] = {}
    for offer in ask.market.offers.values():
        machine, count = offer.machine, len(offer.cards)
        parts, cards = machine.hardware, str(machine.cards)
        known = parts["verification"] == "verified"
        datacenter = "secure_cloud" if parts["hosting_type"] else "community"
        size = cards if cards in ("1", "2", "4", "8") else "other"
        if (
            verified in ("all", "yes" if known else "no")
            and hosting in ("all", datacenter)
            and bucket in ("all", size)
        ):
            price = offer.row["dph_base"] / count
            supply = Supply(machine, count, offer.rental is not None, known, price)
            found.setdefault(parts["gpu_name"], []).append(supply)
    return dict(sorted(found.items()))


def counts(rows: list[Supply]) -> Row:
    """Return how many cards are rented and available, verified and not."""

    def count(rented: bool, verified: bool) -> int:
        fits = [row for row in rows if (row.rented, row.verified) == (rented, verified)]
        return sum(row.cards for row in fits)

    return {
        "rented_verified": count(True, True), "avail_verified": count(False, True),
        "rented_unverified": count(True, False),
        "avail_unverified": count(False, False),
    }  # fmt: skip


def percentiles(prices: list[float]) -> dict[str, float | None]:
    """Return the percentiles of prices; nulls when there are none."""
    names = ("p10", "p25", "median", "p75", "p90")
    if not prices:
        return dict.fromkeys(names)
    cuts = quantiles(prices * 2, n=20, method="inclusive")
    values = (cuts[1], cuts[4], median(prices), cuts[14], cuts[17])
    return {name: round(value, 4) for name, value in zip(names, values)}


def card_stats(rows: list[Supply]) -> Row:
    """Return how fast a kind of card is, alone and for its price."""
    gpu, price = rows[0].machine.gpu, median(row.price for row in rows)
    return {
        "tflops": gpu.tflops, "dlperf": gpu.dlperf,
        "tflops_per_dollar": round(gpu.tflops / price, 1),
        "dlperf_per_dollar": round(gpu.dlperf / price, 1),
    }  # fmt: skip


def gpu_metrics(ask: Ask) -> Row:
    """Return supply, demand and prices of each kind of card."""
    check_query(ask, "verified", "hosting_type", "num_gpus")
    stopped = metrics_only_for_hosts(ask)
    if stopped:
        return stopped
    gpus = []
    for name, rows in supplies(ask).items():
        parts = counts(rows)
        total, free = sum(parts.values()), [row for row in rows if not row.rented]
        available = sum(row.cards for row in free)
        usage = round(100 * (total - available) / total, 2)
        prices = percentiles([row.price for row in free])
        gpus.append({
            "gpu_name": name, "total": total, "available": available,
            "unavailable": total - available, **parts,
            "usage": usage, "usage_30d": round(usage * 0.9, 2), **card_stats(rows),
            **{f"price_{key}": price for key, price in prices.items()},
        })  # fmt: skip
    return {"success": True, "gpus": gpus}


def gpu_trends(ask: Ask) -> Row:
    """Return how supply, demand and prices went; parallel arrays, some of them gone."""
    names = "gpu_name verified hosting_type num_gpus start end step"
    check_query(ask, *names.split())
    stopped = metrics_only_for_hosts(ask)
    if stopped:
        return stopped
    now = ask.market.now()
    end = to_number(ask, "end", now)
    start = to_number(ask, "start", end - DAY)
    step = to_number(ask, "step", max(60, (end - start) // 500))
    require(start < end and step >= 60, "start, end and step make no sense")
    require((end - start) / step <= 20000, "too many points")
    times = [int(start + i * step) for i in range(int((end - start) / step) + 1)]
    wanted = ask.query.get("gpu_name", "RTX 5090,RTX 4090,RTX 3090")
    chosen = {name.strip().replace("_", " ") for name in wanted.split(",")}
    gpus = {
        name: trend(rows, times, gap=index % 3 == 2)
        for index, (name, rows) in enumerate(supplies(ask).items())
        if chosen & {name, "all"}
    }
    return {"success": True, "gpus": gpus}


def trend(rows: list[Supply], times: list[int], gap: bool) -> Row:
    """Return the series of a kind of card; some are missing where there is a gap."""

    def wave(value: float) -> list[float]:
        return [value * (1 + 0.1 * math.sin(when / 9000)) for when in times]

    demand: Row = {
        name: [round(value) for value in wave(count)]
        for name, count in counts(rows).items()
    }
    demand["total"] = [sum(values) for values in zip(*demand.values())]
    pricing: Row = {}
    for rented, side in ((True, "rented"), (False, "avail")):
        prices = percentiles([row.price for row in rows if row.rented is rented])
        for name in ("p10", "median", "p90"):
            price = prices[name]
            if price is not None and not (gap and rented):
                pricing[f"{side}_{name}"] = [round(value, 4) for value in wave(price)]
    if gap:
        demand["avail_unverified"][0] = None
    return {
        "supply_demand": {"timestamps": times, **demand},
        "pricing": {"timestamps": times, **pricing},
        "stats": card_stats(rows),
    }


# What the first locations show in place of the right values.
ODD_LOCATIONS: tuple[Row, ...] = (
    {"city": None, "state": "unavailable"},
    {"city": "Brno\x1b[1m\u202e", "num_gpus": None},
    {"latitude": None, "longitude": None, "country_code": None},
    {"city": "São Paulo", "state": "available"},
)


def gpu_locations(ask: Ask) -> Row:
    """Return where the machines are."""
    check_query(ask)
    stopped = metrics_only_for_hosts(ask)
    if stopped:
        return stopped
    rows = []
    for index, machine in enumerate(ask.market.machines.values()):
        parts = machine.hardware
        city, _, code = str(parts["geolocation"]).rpartition(", ")
        rented = any(offer.rental for offer in ask.market.offers_of(machine))
        odd = ODD_LOCATIONS[index] if index < len(ODD_LOCATIONS) else {}
        state = {"state": "rented" if rented else "available"} if index % 2 else {}
        rows.append({
            "latitude": parts["geolocode"] % 1800 / 10 - 90,
            "longitude": parts["geolocode"] % 3600 / 10 - 180,
            "city": city, "country_code": code, "gpu_name": parts["gpu_name"],
            "rented": rented, "verified": parts["verification"] == "verified",
            "datacenter": parts["hosting_type"] == 1, "num_gpus": machine.cards,
            **state, **odd,
        })  # fmt: skip
    return {"success": True, "locations": rows}


# ---------------------------------------------------------------- 5 bills

SERVICES = (
    "transfer stripe_payments bitpay coinbase crypto.com instance_prepay paypal_manual"
    " wise_manual"
).split()
CONTRACT_TYPES = ("instance", "volume", "serverless")


class Contract(NamedTuple):
    """What a contract of the last days cost: when it ended, its days and its $/h."""

    type: str
    id: int
    days_ago: float
    days: float
    rate: float
    metadata: Row


WORKER = {"template_id": 117, "endpoint_id": 701, "workergroup_id": 801}
CONTRACTS = (
    Contract("instance", 4711, 9.5, 4.0, 0.389, {"label": "train", "template_id": 101}),
    Contract("instance", 4712, 8.0, 0.5, 0.402, {"label": "train", "template_id": 101}),
    Contract("instance", 4713, 6.3, 2.25, 0.118, {"label": "größe\x1b[1m 名前"}),
    Contract("instance", 4714, 5.0, 1.0, 0.071, {}),
    Contract("instance", 4715, 2.2, 0.04, 2.05, {"label": "train"}),
    Contract("volume", 6611, 4.0, 12.0, 0.0021, {"label": "data"}),
    Contract("instance", 4731, 3.0, 1.5, 0.33, WORKER),
    Contract("instance", 4732, 1.5, 0.75, 0.35, {**WORKER, "label": "worker"}),
    Contract("instance", 4733, 1.0, 0.5, 0.29, {**WORKER, "workergroup_id": 802}),
    Contract("instance", 4734, 0.5, 0.25, 0.61, {"endpoint_id": 702}),
)

# Payments of the last months, how many days ago, and what today's list says of them.
PAYMENTS: tuple[tuple[float, Row], ...] = (
    (75.0, {"type": "transfer", "amount": 15.0, "source": "zoe@example.org",
            "description": "Transfer from zoe@example.org", "service": "transfer"}),
    (52.0, {"type": "payout", "amount": 57.1, "source": "paypal",
            "description": "Payout", "service": "paypal_manual"}),
    (44.0, {"type": "refund", "amount": 3.25, "source": "stripe",
            "description": "Refund \x1b[31mreceipt\x07", "service": "stripe_payments"}),
    (23.0, {"type": "reserved", "amount": 40.0, "source": "instance-4711",
            "description": "Reserved instance 4711", "service": "instance_prepay"}),
    (12.0, {"type": "credit", "amount": -30.0, "source": "coinbase", "end": None,
            "description": None, "service": "coinbase"}),
    (6.0, {"type": "credit", "amount": -25.0, "source": "stripe",
           "description": "Manual Billing from MASTERCARD ...4242",
           "service": "stripe_payments"}),
)  # fmt: skip
ITEM_TYPES = {"GPU": "gpu", "storage": "disk", "upload": "bwu", "download": "bwd"}


def contract_items(contract: Contract, start: float, end: float) -> list[Row]:
    """Return what a contract's charge is made up of."""
    hours = contract.days * 24
    parts = [("disk", hours, 0.0028), ("bwd", 6.4, 0.0049), ("bwu", 0.5, 0.0049)]
    parts = parts[:1] if contract.type == "volume" else parts
    first = "disk" if contract.type == "volume" else "gpu"
    return [
        {
            "start": start, "end": end, "type": kind, "source": None,
            "description": f"{much:.3f} {unit} at ${rate:.4g}/{unit.rstrip('s')}",
            "amount": round(much * rate, 4), "metadata": {}, "items": [],
        }
        for kind, much, rate in [(first, hours, contract.rate), *parts]
        for unit in ["hours" if kind in ("gpu", "disk") else "GB"]
    ]  # fmt: skip


def add_bills(market: Market, details: Details) -> None:
    """Bill the contracts and payments of the last days."""
    now, ids = float(round(market.now())), iter(range(885001, 886000))
    for contract in CONTRACTS:
        end = now - contract.days_ago * DAY
        start = end - contract.days * DAY
        items = contract_items(contract, start, end)
        days = math.ceil(contract.days)
        name = f"{contract.type.title()} {contract.id}"
        bill = {
            "id": next(ids), "type": "charge", "timestamp": end,
            "amount": round(sum(item["amount"] for item in items), 3),
            "description": f"{name} Charges - {days} days",
            "instance_id": contract.id,
        }  # fmt: skip
        details[bill["id"]] = {
            "type": contract.type, "start": start, "items": items,
            "source": f"{contract.type}-{contract.id}", "metadata": contract.metadata,
        }  # fmt: skip
        market.invoices.append(bill)
    for days_ago, row in PAYMENTS:
        about = {"invoice_id": next(ids), "service": row["service"]}
        shown = {key: value for key, value in row.items() if key != "service"}
        add_payment(market, details, now - days_ago * DAY, about, shown)


def add_payment(
    market: Market, details: Details, when: float, about: Row, shown: Row
) -> None:
    """Bill a payment; `about` is its metadata, `shown` the rest of today's row."""
    details[about["invoice_id"]] = {**shown, "metadata": about}
    market.invoices.append({
        "id": about["invoice_id"], "type": "payment", "timestamp": when,
        "amount": shown["amount"], "is_credit": True, "last4": None,
    })  # fmt: skip


def payment_entry(market: Market, bill: Row) -> Row:
    """Return a payment as today's list shows it."""
    text = "Top-up" if bill["is_credit"] else "Automatic payment"
    text += f" by card {bill['last4']}" if bill["last4"] else ""
    when = bill["timestamp"]
    row = {
        "start": when, "end": when, "type": "credit", "source": "stripe",
        "description": text, "amount": bill["amount"], "items": [],
        "metadata": {"invoice_id": bill["id"], "service": "stripe_payments"},
    }  # fmt: skip
    return row | account(market).details.get(bill["id"], {})


def charge_entry(market: Market, bill: Row) -> Row:
    """Return a charge as today's list shows it."""
    instance, end = bill.get("instance_id", 3077), bill["timestamp"]
    hours = number(bill.get("quantity")) or 0.0
    start = None if end is None else end - hours * 3600
    source = f"instance-{instance}"
    text = bill.get("description", source)
    found = re.search("|".join(ITEM_TYPES), text)
    item = {
        "start": start, "end": end, "type": ITEM_TYPES[found[0]] if found else "gpu",
        "source": None, "amount": bill["amount"], "metadata": {}, "items": [],
        "description": f"{bill.get('quantity')} at ${bill.get('rate')}",
    }  # fmt: skip
    rental = market.rentals.get(instance)
    about = {} if rental is None else {"label": rental.row["label"]}
    row = {
        "start": start, "end": end, "type": "instance", "source": source,
        "description": text, "amount": bill["amount"], "items": [item],
        "metadata": {key: value for key, value in about.items() if value is not None},
    }  # fmt: skip
    return row | account(market).details.get(bill["id"], {})


def checked_filters(ask: Ask, allowed: Mapping[str, Iterable[str]]) -> Row:
    """Return `select_filters`; refuse other fields and operators than those allowed."""
    filters = parse_json(ask.query.get("select_filters", "{}"), dict, "select_filters")
    for name, tests in filters.items():
        require(name in allowed and isinstance(tests, dict), f"no filter: {name}")
        require(tests.keys() <= set(allowed[name]), f"{name} does not take that")
    return dict(filters)


def is_range(tests: Row) -> bool:
    """Tell whether tests are about numbers only, and there is one at least."""
    return bool(tests) and all(is_a(value, float) for value in tests.values())


def choice_filter(tests: Row, choices: Sequence[str]) -> Callable[[Any], bool]:
    """Return the filter of a field that is one of several words."""
    for op, wanted in tests.items():
        words = wanted if op in ("in", "notin") else [wanted]
        known = isinstance(words, list) and all(word in choices for word in words)
        require(known, f"{op}: not among {', '.join(choices)}")
    return lambda value: all(OPERATORS[op](value, w) for op, w in tests.items())


def bills_of(ask: Ask, kind: str, tests: Row) -> list[Row]:
    """Return the bills of a kind whose time passes the tests, as asked for by age.

    A bill without a time passes.
    """
    latest = one_of(ask, "latest_first", ("true", "false")) == "true"
    rows = [row for row in billed(ask, -math.inf, math.inf) if row["type"] == kind]

    def fits(when: float | None) -> bool:
        return when is None or all(OPERATORS[op](when, w) for op, w in tests.items())

    rows = [row for row in rows if fits(row["timestamp"])]
    return ordered(rows, [("timestamp", latest)])


def paged(ask: Ask, rows: list[Row], usual: int, most: int) -> Row:
    """Return the answer with the page that the query asks for.

    A token is good for the same filters and order only.
    """
    limit = ask.query.get("limit", str(usual))
    require(limit.isdecimal() and int(limit) > 0, "limit must be a number over 0")
    same = {k: v for k, v in ask.query.items() if k not in ("limit", "after_token")}
    seal = "." + secret_text(sorted(same.items()))[:8]
    given = ask.query.get("after_token", "")
    sound = not given or given.endswith(seal)
    require(sound, "Invalid pagination token", 400, "invalid_token")
    asked = {"limit": limit, "after_token": given.removesuffix(seal)}
    found, token = page(rows, asked, most)
    following = None if token is None else token + seal
    totals = {"count": len(found), "total": len(rows)}
    return {"success": True, **totals, "next_token": following, "results": found}


PAGING = ("select_filters", "latest_first", "limit", "after_token")
INVOICE_COLUMNS = {"paid_on": "end", "amount_cents": "amount", "when": "start"}


def invoices_v1(ask: Ask) -> Row:
    """Return a page of the payments."""
    check_query(ask, *PAGING, "order_by")
    ranged, listed = ("gte", "gt", "lte", "lt"), ("eq", "neq", "in", "notin")
    filters = checked_filters(ask, {"when": ranged, "service": listed})
    if not is_range(filters.get("when", {})):
        empty = {"count": 0, "total": 0, "results": [], "next_token": None}
        return {"success": False, "error": "Invalid date range", **empty}
    fits = choice_filter(filters.get("service", {}), SERVICES)
    bills = bills_of(ask, "payment", filters["when"])
    rows = [payment_entry(ask.market, bill) for bill in bills]
    rows = [row for row in rows if fits(row["metadata"]["service"])]
    keys = []
    for key in parse_json(ask.query.get("order_by", "[]"), list, "order_by"):
        sound = is_a(key, dict) and key.get("col") in INVOICE_COLUMNS
        require(sound and key.get("dir", "desc") in ("asc", "desc"), "bad order_by")
        keys.append((INVOICE_COLUMNS[key["col"]], key.get("dir", "desc") == "desc"))
    return paged(ask, ordered(rows, keys), 60, 100)


def charges(ask: Ask) -> Row:
    """Return a page of the charges, one row for each contract."""
    check_query(ask, *PAGING, "format")
    filters = checked_filters(ask, {"day": ("gte", "lte"), "type": ("in",)})
    days = filters.get("day", {})
    if days.keys() != {"gte", "lte"} or not is_range(days):
        text = "Must provide both 'day' gte and lte filters for instance charges"
        refuse(400, success=False, msg=text)
    fits = choice_filter(filters.get("type", {}), CONTRACT_TYPES)
    rows = [charge_entry(ask.market, bill) for bill in bills_of(ask, "charge", days)]
    rows = [row for row in rows if fits(contract_type(row))]
    if one_of(ask, "format", ("table", "tree")) == "tree":
        rows = folded(rows, "endpoint", shaped(ask, "tree") == "nested")
    return paged(ask, rows, 100, 500)


def contract_type(row: Row) -> str:
    """Return what a charge is for; in tables, serverless workers are instances."""
    serverless = "endpoint_id" in row["metadata"]
    return "serverless" if serverless else str(row["type"])


def folded(rows: list[Row], level: str, nested: bool) -> list[Row]:
    """Return the rows with those of each endpoint in one, and in it each workergroup's.

    A row of serverless work stands where the first of its contracts stood.
    """
    key = f"{level}_id"
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        ident = row["metadata"].get(key)
        groups.setdefault(row["source"] if ident is None else ident, []).append(row)
    result = []
    for ident, group in groups.items():
        if key not in group[0]["metadata"]:
            result += group
            continue
        inner = folded(group, "workergroup", nested) if level == "endpoint" else group
        about = {"endpoint_id": group[0]["metadata"]["endpoint_id"], key: ident}
        result.append({
            "start": min(row["start"] for row in group),
            "end": max(row["end"] for row in group), "type": "serverless",
            "source": f"{level}-{ident}", "description": f"{level.title()} {ident}",
            "amount": round(sum(row["amount"] for row in group), 3),
            "metadata": about, "items": inner if nested else [],
        })  # fmt: skip
    return result


# ---------------------------------------------------------------- 6 accounts


def deposit(ask: Ask) -> Row:
    """Return what would be refunded for an instance that was paid in advance."""
    check_query(ask)
    row = ask.market.own_rental(ask.id).row
    return {
        "success": True, "refundable_deposit": row["credit_balance"] or 0.0,
        "total_discount": row["credit_discount"] or 0.0, "discount_months": 0,
    }  # fmt: skip


def subaccounts(ask: Ask) -> Row:
    """Return the accounts below the user's."""
    check_query(ask)
    state = account(ask.market)
    msg = "Your account is not approved for subaccounts."
    require(state.may_have_subaccounts, msg, 400, "not_approved")
    if shaped(ask, "subaccounts") == "keys":
        return {"users": state.subaccounts}
    names = {row["id"]: f"sub{row['id']}" for row in state.subaccounts}
    return {"users": [
        {**ask.market.user, **row, "username": name, "fullname": None,
         "email": f"{name}@example.org", "balance": 0, "credit": 1.5,
         "api_key": secret_text(name)}
        for row in state.subaccounts for name in [names[row["id"]]]
    ]}  # fmt: skip


def ipaddrs(ask: Ask) -> Row:
    """Return from where the user called."""
    check_query(ask)
    rows = account(ask.market).addresses
    if shaped(ask, "ipaddrs") == "ip_address":
        rows = [
            {"id": index, "user_id": ask.market.user["id"], "ip_address": row["ip"],
             "timestamp": iso(row["first_seen"])}
            for index, row in enumerate(rows, start=1)
        ]  # fmt: skip
    return {"success": True, "results": rows}


def transfer_credit(ask: Ask) -> Row:
    """Give credit to somebody else."""
    fields = {"sender": str, "recipient": object, "amount": float}
    body = check_body(ask.body, fields, ["sender", "recipient", "amount"])
    require(body["sender"] == "me", "sender must be me")
    amount, user = body["amount"], ask.market.user
    require(0.01 <= amount < math.inf, "Invalid amount")
    recipient = str(body["recipient"])
    is_address = re.fullmatch(r"[^@\s]+@[^@\s]+\.\w+", recipient)
    sound = bool(is_address) or recipient.isdecimal()
    require(sound, "Invalid recipient format", 400, "invalid_params")
    found = [
        ident for ident, name in FRIENDS.items() if recipient in (name, str(ident))
    ]
    require(bool(found), "No such recipient", 400, "invalid_recipient")
    enough = amount <= user["credit"]
    require(enough, "Insufficient balance", 400, "insufficient_balance")
    user["credit"] -= amount
    state = account(ask.market)
    state.transfers.append((found[0], amount))
    about = {"invoice_id": 887000 + len(state.transfers), "service": "transfer"}
    shown = {"type": "transfer", "amount": amount, "source": user["email"]}
    shown["description"] = f"Transfer to {recipient}"
    add_payment(ask.market, state.details, ask.market.now(), about, shown)
    return {"success": True}


def audit_logs(ask: Ask) -> list[Row]:
    """Return who did what."""
    check_query(ask)
    return account(ask.market).audit_log


# ---------------------------------------------------------------- 7 keys, second factor

PERMISSIONS = set(
    "instance_read instance_write user_read user_write billing_read billing_write"
    " machine_read machine_write misc team_read team_write".split()
)


def check_permissions(permissions: Any) -> None:
    """Refuse permissions that are not as documented."""
    given = isinstance(permissions, dict) and bool(permissions)
    require(given, "Missing permissions parameter", 400, "missing_permissions")
    api = permissions.get("api")
    sound = permissions.keys() == {"api"} and isinstance(api, dict)
    sound = sound and api.keys() <= PERMISSIONS
    sound = sound and all(isinstance(routes, dict) for routes in api.values())
    require(sound, "Invalid permission format", 400, "invalid_permissions")


def check_api_key(given: Row) -> None:
    """Refuse an API key that makes no sense."""
    require(len(given.get("name", "")) <= 255, "name is over 255 characters")
    if "permissions" in given:
        check_permissions(given["permissions"])


def create_api_key(ask: Ask) -> Row:
    """Create a key; without permissions it may do everything."""
    store, now = ask.market.stores["api_keys"], ask.market.now()
    row = store.create(ask.body, created_at=now, user_id=ask.market.user["id"])
    row["rights"] = row["permissions"] or "all"
    key = account(ask.market).api_keys[row["id"]] = secret_text("key", row["id"], now)
    permissions = row["permissions"] or False
    return {"id": row["id"], "key": key, "permissions": permissions}


def key_row(ask: Ask, row: Row) -> Row:
    """Return an API key as it is listed."""
    hidden = ("permissions", "key_params")
    shown = {key: value for key, value in row.items() if key not in hidden}
    if shaped(ask, "api_keys") == "with_key":
        secrets = account(ask.market).api_keys
        shown["key"] = secrets.get(row["id"], ask.market.user["api_key"])
    return shown


def api_keys(ask: Ask) -> Row:
    """Return the user's keys."""
    check_query(ask)
    rows = ask.market.stores["api_keys"].all()
    return {"apikeys": [key_row(ask, row) for row in rows]}


def own_key(ask: Ask) -> Row:
    """Return the key in the path."""
    if ask.id == STRANGERS_KEY:
        refuse(403, msg="You do not have permission to delete this API Key.")
    if ask.id not in ask.market.stores["api_keys"].rows:
        refuse(404, msg="API Key not found.")
    return ask.market.stores["api_keys"].get(ask.id)


def api_key(ask: Ask) -> Row:
    """Return one key."""
    check_query(ask)
    return key_row(ask, own_key(ask))


def delete_api_key(ask: Ask) -> Any:
    """Delete a key, which is dead at once."""
    nothing(ask)
    own_key(ask)
    ask.market.stores["api_keys"].delete(ask.id)
    state = account(ask.market)
    state.deleted_keys.add(ask.id)
    state.api_keys.pop(ask.id, None)
    msg = "Successfully Deleted API Key"
    shape = shaped(ask, "deleted_api_key")
    if shape == "text":
        return text_reply(200, msg)
    return {"success": True, "msg": msg} if shape == "object" else msg


def tfa_status(ask: Ask) -> Row:
    """Return how the user proves who they are."""
    check_query(ask)
    state = account(ask.market)
    return {
        "tfa_enabled": bool(state.methods), "methods": state.methods,
        "backup_codes_remaining": len(state.backup_codes),
        "new_method_authorized": False,
    }  # fmt: skip


def challenge(ask: Ask, method: str) -> str:
    """Return the secret of a code that was just sent."""
    state, now = account(ask.market), ask.market.now()
    secret = secret_text(method, now, len(state.challenges))
    state.challenges[secret] = method, now
    return secret


def tfa_email(ask: Ask) -> Row:
    """Send a code by e-mail."""
    nothing(ask)
    verified = ask.market.user["email_verified"]
    require(verified, "Verify your e-mail address first.", 400, "email_not_verified")
    return {"success": True, "secret": challenge(ask, "email")}


def check_phone(ask: Ask, body: Row) -> None:
    """Refuse a number that is none, and too many messages."""
    phone = body.get("phone_number")
    known = any(row["method"] == "sms" for row in account(ask.market).methods)
    require(phone is not None or known, "phone_number is missing")
    sound = phone is None or re.fullmatch(r"\+\d{7,15}", phone)
    require(bool(sound), "phone_number is not in E.164 format")
    limited = account(ask.market).sms_limited
    require(not limited, "Too many messages; try later.", 429, "sms_rate_limited")


def tfa_sms(ask: Ask) -> Row:
    """Send a code by SMS, unless one is on its way."""
    check_phone(ask, check_body(ask.body, {"phone_number": str}))
    state, now = account(ask.market), ask.market.now()
    sent = [when for method, when in state.challenges.values() if method == "sms"]
    free = all(now - when >= CODE_LIFE for when in sent)
    require(free, "A code was sent; use resend.", 400, "tfa_challenge_exists")
    return {"success": True, "secret": challenge(ask, "sms")}


def tfa_resend(ask: Ask) -> Row:
    """Send the code by SMS again."""
    body = check_body(ask.body, {"secret": str, "phone_number": str}, ["secret"])
    check_phone(ask, body)
    secret, state = body["secret"], account(ask.market)
    known = state.challenges.get(secret, ("", 0.0))[0] == "sms"
    require(known, "No such challenge.", 400, "2fa_verification_failed")
    if shaped(ask, "resent_sms") == "new_secret":
        secret = challenge(ask, "sms")
        del state.challenges[body["secret"]]
    return {"success": True, "msg": "The code was sent again.", "secret": secret}


def tfa_login(ask: Ask) -> Row:
    """Check a code and open a session."""
    fields = "code backup_code tfa_method secret"
    kinds = {**dict.fromkeys(fields.split(), str), "tfa_method_id": int}
    body = check_body(ask.body, kinds)
    require(("code" in body) != ("backup_code" in body), "a code or a backup_code")
    state, now = account(ask.market), ask.market.now()
    if "backup_code" in body:
        known = body["backup_code"] in state.backup_codes
        require(known, "Invalid backup code.", 401, "invalid_backup_code")
        state.backup_codes.remove(body["backup_code"])
    else:
        check_code(ask, body)
    session = secret_text("session", now, len(state.sessions))
    state.sessions[session] = now + SESSION_LIFE
    left = len(state.backup_codes)
    return {**ask.market.user, "session_key": session, "backup_codes_remaining": left}


def check_code(ask: Ask, body: Row) -> None:
    """Refuse a wrong or stale code, and lock its method after several of them."""
    state, now = account(ask.market), ask.market.now()
    by_id = {row["id"]: row for row in state.methods}
    if "tfa_method_id" in body:
        row = by_id.get(body["tfa_method_id"])
        require(row is not None, "No such method.")
    else:
        name = body.get("tfa_method", "sms")
        require(name in CODES, "tfa_method must be email, sms or totp")
        row = next((r for r in state.methods if r["method"] == name), None)
        require(row is not None or name == "email", f"You have no {name} method.")
    row = row or {"method": "email", "fail_count": 0, "locked_until": None}
    check_lock(row, now)
    if row["method"] != "totp":
        require("secret" in body, "secret is missing")
        method, sent = state.challenges.get(body["secret"], ("", 0.0))
        known = method == row["method"]
        require(known, "No such challenge.", 400, "2fa_verification_failed")
        fresh = now - sent < CODE_LIFE
        require(fresh, "The code has expired.", 400, "2fa_expired")
    if body["code"] != CODES[row["method"]]:
        row["fail_count"] += 1
        if row["fail_count"] >= WRONG_CODES[row["method"]]:
            row["locked_until"] = now + LOCK_TIME
        check_lock(row, now)
        error = "2fa_verification_failed"
        count = {"fail_count": row["fail_count"]}
        refuse(400, success=False, error=error, msg="Invalid code.", **count)
    row |= {"fail_count": 0, "locked_until": None, "last_used": now}
    state.challenges.pop(body.get("secret", ""), None)


def check_lock(row: Row, now: float) -> None:
    """Refuse a method that is locked; open one whose time is over."""
    until = row["locked_until"]
    if until is None:
        return
    if until <= now:
        row |= {"fail_count": 0, "locked_until": None}
        return
    told = {"fail_count": row["fail_count"], "locked_until": until}
    text = "Too many wrong codes; this method is locked."
    refuse(429, success=False, error="tfa_locked", msg=text, **told)


# ---------------------------------------------------------------- 8 teams


def own_team(ask: Ask) -> Row:
    """Return the team of the key."""
    team = account(ask.market).team
    if team is None:
        refuse(404, success=False, msg="Team metadata not found")
    return team


def create_team(ask: Ask) -> Row:
    """Create a team, and move credit to it."""
    fields = {"team_name": str, "transfer_credit": float}
    body = check_body(ask.body, fields, ["team_name"])
    state, user = account(ask.market), ask.market.user
    name, credit = body["team_name"], body.get("transfer_credit", 0)
    require(0 < len(name.strip()) <= 255, "team_name is empty, or too long")
    require(0 <= credit <= user["credit"], "Insufficient credit")
    teams = [*state.other_teams, *filter(None, [state.team])]
    if name in [team["team_name"] for team in teams]:
        refuse(400, success=False, msg="Team name already exists")
    user["credit"] -= credit
    team = {"team_id": 900 + len(teams), "team_name": name, "credit": credit}
    if shaped(ask, "new_team") == "team_key" and state.team is None:
        state.team = team
        state.members = {user["id"]: owner_of(user)}
    else:
        state.other_teams.append(team)
    return {"success": True, "msg": "Team Successfully Created!"}


def owner_of(user: Row) -> Row:
    """Return the user as the owner of a team."""
    shown = {key: user[key] for key in ("id", "username", "email", "fullname")}
    return {**shown, "roles": ["owner"]}


def destroy_team(ask: Ask) -> Row:
    """Remove the key's team; its credit returns to the owner."""
    nothing(ask)
    state = account(ask.market)
    if state.team is None:
        text = "Cannot Delete Team. User is not a team account"
        raise Refused(text, 404, "not_found")
    text = "Only the Team's Owner may delete the team"
    require(state.is_team_owner, text, 403, "not_allowed")
    ask.market.user["credit"] += state.team["credit"]
    state.team = None
    state.members.clear()
    state.invited.clear()
    keep_owner = {1: ask.market.stores["team_roles"].get(1)}
    ask.market.stores["team_roles"].rows = keep_owner
    pkey = ask.market.user["key_id"]
    return {"success": True, "msg": "Team Successfully Deleted!", "pkey_id": pkey}


def check_role(given: Row) -> None:
    """Refuse a role that makes no sense."""
    require(0 < len(given.get("name", "x")) <= 255, "name is empty, or too long")
    if "permissions" in given:
        check_permissions(given["permissions"])


def create_team_role(ask: Ask) -> Row:
    """Create a role."""
    own_team(ask)
    ask.market.stores["team_roles"].create(ask.body)
    return {"msg": "success"}


def role_row(ask: Ask, row: Row) -> Row:
    """Return a role as it is shown, permissions as an object or as an array."""
    if shaped(ask, "role_permissions") == "object":
        return row
    return {**row, "permissions": sorted(row["permissions"]["api"])}


def role_named(ask: Ask) -> Row:
    """Return the role whose name is in the path."""
    own_team(ask)
    row = ask.market.stores["team_roles"].find(name=ask.words[0])
    if row is None:
        raise Refused(f"There is no role {ask.words[0]}", 404, "not_found")
    return row


def team_role(ask: Ask) -> Row:
    """Return a role by its name."""
    check_query(ask)
    return role_row(ask, role_named(ask))


def team_roles(ask: Ask) -> list[Row]:
    """Return all roles but the owner's."""
    check_query(ask)
    own_team(ask)
    rows = [row for row in ask.market.stores["team_roles"].all() if row["id"] != 1]
    return [
        {**role_row(ask, row), "identifier": re.sub(r"\W", "_", row["name"]).lower()}
        for row in rows
    ]


def not_the_owner(ident: int) -> None:
    """Refuse to change what the owner may do."""
    msg = "The owner role cannot be changed or removed."
    require(ident != 1, msg, 403, "not_allowed")


def update_team_role(ask: Ask) -> str:
    """Change a role by its id."""
    own_team(ask)
    not_the_owner(ask.id)
    check_body(ask.body, {"name": str, "permissions": dict}, ["name", "permissions"])
    row = ask.market.stores["team_roles"].update(ask.id, ask.body)
    return f"Successfully Updated Team Role For {row['name']}"


def remove_team_role(ask: Ask) -> Row:
    """Remove a role by its name."""
    nothing(ask)
    row = role_named(ask)
    not_the_owner(row["id"])
    ask.market.stores["team_roles"].delete(row["id"])
    return {"status": "success", "message": "Role removed from team"}


def invite_member(ask: Ask) -> Row:
    """Send an invitation."""
    check_query(ask, "email", "role")
    nothing(ask)
    own_team(ask)
    state, now = account(ask.market), ask.market.now()
    email, role = ask.query.get("email", ""), ask.query.get("role", "")
    require("@" in email, "email is missing, or no address")
    known = ask.market.stores["team_roles"].find(name=role)
    require(known is not None and role != "owner", f"There is no role {role!r}")
    if email == ask.market.user["email"]:
        refuse(400, msg="User cannot be invited to their own team.")
    if email in [row["email"] for row in state.members.values()]:
        refuse(400, msg="User is already a member of this team.")
    passed = now - state.invited.get(email, -math.inf)
    if passed < INVITATION_PAUSE:
        sent = f"invitation already sent to {email} only {int(passed)} seconds ago."
        refuse(429, msg=f"Error: {sent}")
    state.invited[email] = now
    return {"success": True, "msg": f"New invitation sent to {email}"}


def team_members(ask: Ask) -> Any:
    """Return the members of the team."""
    check_query(ask)
    own_team(ask)
    rows = list(account(ask.market).members.values())
    return {"members": rows} if shaped(ask, "team_members") == "members" else rows


def remove_member(ask: Ask) -> Row:
    """Remove somebody from the team."""
    nothing(ask)
    own_team(ask)
    members = account(ask.market).members
    if ask.id not in members:
        refuse(404, status="failure", message="User is not a member of this team.")
    if "owner" in members[ask.id]["roles"]:
        refuse(400, msg="Cannot remove the team owner from the team")
    del members[ask.id]
    return {"status": "success", "message": "User removed from the team."}


# ---------------------------------------------------------------- 9 serverless

SCALING: dict[str, type] = {
    **dict.fromkeys("min_load min_cold_load target_util cold_mult".split(), float),
    **dict.fromkeys("cold_workers max_workers".split(), int),
    **dict.fromkeys("max_queue_time target_queue_time".split(), float),
    "inactivity_timeout": float,
}
SCALING_DEFAULTS: Row = {
    "min_load": 0.0, "min_cold_load": 0.0, "target_util": 0.9, "cold_mult": 2.5,
    "cold_workers": 5, "max_workers": 20, "inactivity_timeout": 0,
}  # fmt: skip
WORKERGROUP: dict[str, type] = {
    **dict.fromkeys("template_hash endpoint_name search_params".split(), str),
    "launch_args": str,
    **dict.fromkeys("template_id endpoint_id cold_workers max_workers".split(), int),
    **dict.fromkeys("min_load target_util cold_mult gpu_ram".split(), float),
    "test_workers": int,
}
STATES = ("active", "suspended", "stopped")
WIRE_OPERATORS = {
    "=": "eq", "==": "eq", "!=": "neq", ">=": "gte", "<=": "lte", ">": "gt", "<": "lt",
}  # fmt: skip
COMPARISON = (
    r"(\w+)(?:\s*(==|!=|>=|<=|=|<|>)\s*(?!\[)|\s+(in|notin)\s+(?=\[))"
    r"(\[[^\]]*\]|\S+)"
)


def check_endpoint(given: Row) -> None:
    """Refuse an endpoint that makes no sense."""
    name = given.get("endpoint_name", "x")
    sound = bool(re.fullmatch(r"[\w.-]{1,255}", name, re.ASCII))
    require(sound, "endpoint_name: letters, digits, '.', '_' and '-'")
    require(given.get("endpoint_state", "active") in STATES, "endpoint_state: no such")
    check_scaling(given)


def check_scaling(given: Row) -> None:
    """Refuse negative numbers where they mean nothing."""
    for key in SCALING.keys() & given.keys() - {"inactivity_timeout"}:
        require((given[key] or 0) >= 0, f"{key} must be 0 or more")
    require(given.get("target_util", 0.9) <= 1, "target_util is over 1")
    few = given.get("cold_workers", 0) <= given.get("max_workers", math.inf)
    require(few, "cold_workers is over max_workers")


def create_endpoint(ask: Ask) -> Row:
    """Create an endpoint."""
    body = {**ask.body}
    require(body.pop("autoscaler_instance", "prod") == "prod", "autoscaler_instance")
    require("endpoint_state" not in body, "unknown key 'endpoint_state'")
    store = ask.market.stores["endpoints"]
    row = store.create(body, **server_side(ask.market, store.next_id))
    key = "id" if shaped(ask, "new_endpoint") == "id" else "result"
    return {"success": True, key: row["id"]}


def server_side(market: Market, ident: int) -> Row:
    """Return what the service itself adds to an endpoint or workergroup."""
    now = market.now()
    added = {"user_id": market.user["id"], "created_at": iso(now), "created": now}
    return {**added, "api_key": secret_text("endpoint", ident)}


def listed_row(row: Row) -> Row:
    """Return an endpoint or workergroup as it is listed."""
    return {key: value for key, value in row.items() if key != "created"}


def endpoints(ask: Ask) -> Any:
    """Return the user's endpoints; none is an error."""
    check_query(ask)
    rows = [listed_row(row) for row in ask.market.stores["endpoints"].all()]
    shape = shaped(ask, "no_endpoints")
    if rows or shape == "empty":
        return {"success": True, "results": rows}
    text = "No endpoints for user found"
    return error_reply(400 if shape == "400" else 200, "invalid_args", text)


def endpoint_or_400(ask: Ask, msg: str) -> Row:
    """Return the endpoint in the path."""
    require(ask.id in ask.market.stores["endpoints"].rows, msg)
    return ask.market.stores["endpoints"].get(ask.id)


def repeated_id(ask: Ask, name: str) -> Row:
    """Return the body without an id that it may repeat from the path."""
    body = {**ask.body}
    require(body.pop(name, ask.id) == ask.id, f"{name} is not the id in the path")
    return body


def update_endpoint(ask: Ask) -> Row:
    """Change an endpoint; its workers come and go with its state."""
    body = repeated_id(ask, "endptjob_id")
    require(body.pop("autoscaler_instance", "prod") == "prod", "autoscaler_instance")
    row = endpoint_or_400(ask, "Endpointgroup not found for user")
    before, store = row["endpoint_state"], ask.market.stores["endpoints"]
    check_scaling({**row, **store.accepted(body)})
    row = store.update(ask.id, body)
    if before != row["endpoint_state"] == "active":
        start_workers(ask.market, ask.id)
    return {"success": True}


def start_workers(market: Market, endpoint_id: int) -> None:
    """Have the workers of an endpoint come up anew."""
    for group in groups_of(market, endpoint_id):
        group["created"] = market.now()


def groups_of(market: Market, endpoint_id: int) -> list[Row]:
    """Return the workergroups of an endpoint."""
    rows = market.stores["workergroups"].all()
    return [row for row in rows if row["endpoint_id"] == endpoint_id]


def delete_endpoint(ask: Ask) -> Row:
    """Delete an endpoint and its workergroups."""
    check_body(repeated_id(ask, "endptjob_id"), {})
    endpoint_or_400(ask, "Routegroup not found for user")
    groups = groups_of(ask.market, ask.id)
    gone = [row["id"] for group in groups for row in workers_of(ask.market, group)]
    for group in groups:
        ask.market.stores["workergroups"].delete(group["id"])
    ask.market.stores["endpoints"].delete(ask.id)
    msg = f"Deleted endpoint job and {len(gone)} workers"
    return {"success": True, "deleted_workers": gone, "failed_workers": [], "msg": msg}


def parsed_search(query: str) -> Row:
    """Return the filters of a search as the service keeps them."""
    require(not re.sub(COMPARISON, "", query).strip(), f"search_params: {query!r}")
    filters: Row = {}
    for name, sign, word, text in re.findall(COMPARISON, query):
        texts = text[1:-1].split(",") if word else [text]
        values = [search_value(one.strip()) for one in texts]
        operator = word or WIRE_OPERATORS[sign]
        filters.setdefault(name, {})[operator] = values if word else values[0]
    return filters


def search_value(text: str) -> Any:
    """Return a value of a search: a boolean, a number, or text."""
    value: Any = {"true": True, "false": False}.get(text.lower(), number(text))
    return text.replace("_", " ") if value is None else value


def with_endpoint(ask: Ask, given: Row) -> Row:
    """Return id and name of the endpoint of which either is given, or both are."""
    keys = {"endpoint_id": "id", "endpoint_name": "endpoint_name"}
    named = {key: given[name] for name, key in keys.items() if name in given}
    row = ask.market.stores["endpoints"].find(**named) if named else None
    text = "Please assign your workergroup to a valid endpoint identifier"
    if row is None:
        raise Refused(text)
    return {"endpoint_id": row["id"], "endpoint_name": row["endpoint_name"]}


def search_query(given: Row) -> Row:
    """Return what a workergroup's row says about its search."""
    query = given.get("search_params")
    return {} if query is None else {"search_query": parsed_search(query)}


def create_workergroup(ask: Ask) -> Row:
    """Create a workergroup; its workers begin to come up."""
    store, body = ask.market.stores["workergroups"], {**ask.body}
    require(body.pop("autoscaler_instance", "prod") == "prod", "autoscaler_instance")
    given = store.accepted(body)
    source = {"template_hash", "template_id", "search_params"} & given.keys()
    require(bool(source), "a template or search_params is missing")
    more = {"search_query": {}, **search_query(given), **with_endpoint(ask, given)}
    row = store.create(body, **more, **server_side(ask.market, store.next_id + 500))
    return {"success": True, "id": row["id"]}


def update_workergroup(ask: Ask) -> Row:
    """Change a workergroup."""
    store, body = ask.market.stores["workergroups"], repeated_id(ask, "autojob_id")
    require(ask.id in store.rows, "Workgroup not found for user")
    given = store.accepted(body)
    named = given.keys() & {"endpoint_id", "endpoint_name"}
    more = with_endpoint(ask, given) if named else {}
    store.update(ask.id, body, **more, **search_query(given))
    return {"success": True}


def workergroups(ask: Ask) -> Row:
    """Return the user's workergroups."""
    check_query(ask)
    rows = ask.market.stores["workergroups"].all()
    return {"success": True, "results": [listed_row(row) for row in rows]}


def delete_workergroup(ask: Ask) -> Row:
    """Delete a workergroup."""
    check_body(repeated_id(ask, "autojob_id"), {})
    store = ask.market.stores["workergroups"]
    if ask.id not in store.rows:
        msg = "No workergroup by that id is available."
        refuse(404, success=False, error="no_such_workergroup", msg=msg, id=ask.id)
    gone = [row["id"] for row in workers_of(ask.market, store.delete(ask.id))]
    msg = f"Deleted workergroup and {len(gone)} workers"
    return {"success": True, "deleted_workers": gone, "failed_workers": [], "msg": msg}


# ---------------------------------------------------------------- 10 logs and workers


def workers_of(market: Market, group: Row) -> list[Row]:
    """Return the workers of a group: they load for the market's boot time, then idle.

    Only an active endpoint has workers: as many as it keeps cold, one at least.
    """
    endpoint = market.stores["endpoints"].rows.get(group["endpoint_id"], {})
    if endpoint.get("endpoint_state") != "active":
        return []
    ready = market.now() - group["created"] >= market.boot
    count = min(max(1, endpoint["cold_workers"]), endpoint["max_workers"])
    return [worker(group, index, ready, market.boot) for index in range(count)]


def worker(group: Row, index: int, ready: bool, boot: float) -> Row:
    """Return a worker; `url` has another port than the last one's."""
    ident, perf = group["id"] * 1000 + index, 287.5 + 12.5 * index
    return {
        "id": ident, "status": "idle" if ready else "loading",
        "gpu_name": "RTX 4090" if index % 2 == 0 else "RTX 5090",
        "measured_perf": perf if ready else 0.0, "perf": perf if ready else None,
        "cur_load": 0.0, "reqs_working": 0, "disk_usage": 14.2 + index,
        "loaded_at": group["created"] + boot if ready else None,
        "url": f"https://203.0.113.{index + 1}:{40000 + ident}" if ready else "",
        "created_at": group["created_at"],
    }  # fmt: skip


def run_error(ask: Ask, text: str) -> Any:
    """Return an error as the serverless host says it: with a status of 200."""
    shape = shaped(ask, "run_error")
    if shape == "error_msg":
        return {"error_msg": text}
    return text if shape == "json_string" else text_reply(200, text)


def log_lines(name: str, rows: list[Row]) -> dict[str, list[str]]:
    """Return what the logs say, by level."""
    states = [f"worker {row['id']} is {row['status']}" for row in rows]
    perfs = [f"worker {row['id']} perf {row['measured_perf']}" for row in rows]
    return {
        "info0": [f"{name}: {len(rows)} workers"],
        "info1": [f"{name}: {text}" for text in states],
        "trace": [f"{name}: {text}" for text in perfs] + ["odd \x1b[31mtext\x07\u202e"],
        "debug": [f"{name}: tick {index}" for index in range(40)],
    }


def log_answer(ask: Ask, name: str, rows: list[Row], tail: int) -> Row:
    """Return the last lines of the logs, level by level or all in one text."""
    levels = log_lines(name, rows)
    if shaped(ask, "logs") == "logs":
        lines = [line for level in levels.values() for line in level]
        return {"logs": "\n".join(lines[-tail:])}
    return {level: "\n".join(lines[-tail:]) for level, lines in levels.items()}


def endpoint_asked(ask: Ask, body: Row) -> Row | None:
    """Return the endpoint that a body names by id or by name."""
    require(("id" in body) != ("endpoint" in body), "an id or an endpoint")
    store = ask.market.stores["endpoints"]
    if "id" in body:
        return store.rows.get(body["id"])
    return store.find(endpoint_name=body["endpoint"])


def log_tail(body: Row) -> int:
    """Return how many lines of the logs are asked for."""
    tail: int = body.get("tail", 10000)
    require(tail > 0, "tail must be over 0")
    return tail


def unknown_to_run(kind: str, body: Row) -> str:
    """Return what the serverless host says when it does not know something."""
    named = body.get("id", body.get("endpoint", body.get("workergroup_id")))
    return f"authenticate_{kind}_apikey: invalid api_key or {kind} {named} not found"


def endpoint_logs(ask: Ask) -> Any:
    """Return the logs of an endpoint."""
    body = check_body(ask.body, {"id": int, "endpoint": str, "tail": int})
    tail, row = log_tail(body), endpoint_asked(ask, body)
    if row is None:
        return run_error(ask, unknown_to_run("endpoint", body))
    groups = groups_of(ask.market, row["id"])
    workers = [row for group in groups for row in workers_of(ask.market, group)]
    return log_answer(ask, row["endpoint_name"], workers, tail)


def workergroup_logs(ask: Ask) -> Any:
    """Return the logs of a workergroup."""
    body = check_body(ask.body, {"id": int, "tail": int}, ["id"])
    tail, group = log_tail(body), ask.market.stores["workergroups"].rows.get(body["id"])
    if group is None:
        return run_error(ask, unknown_to_run("workergroup", body))
    workers = workers_of(ask.market, group)
    return log_answer(ask, f"workergroup {group['id']}", workers, tail)


def endpoint_workers(ask: Ask) -> Any:
    """Return the workers of an endpoint."""
    body = check_body(ask.body, {"id": int}, ["id"])
    if endpoint_asked(ask, body) is None:
        return run_error(ask, unknown_to_run("endpoint", body))
    groups = groups_of(ask.market, body["id"])
    rows = [row for group in groups for row in workers_of(ask.market, group)]
    return {"workers": rows} if shaped(ask, "workers") == "workers" else rows


def update_workers(ask: Ask) -> Any:
    """Replace the workers of a group, one after the other; or stop doing so."""
    fields = {"workergroup_id": int, "cancel_update": bool}
    body = check_body(ask.body, fields, ["workergroup_id"])
    ident, updating = body["workergroup_id"], account(ask.market).updating
    group = ask.market.stores["workergroups"].rows.get(ident)
    none = {"workers_to_update": [], "cancelled": False}
    if group is None:
        text = unknown_to_run("workergroup", body)
        return {"success": False, **none, "error_msg": text}
    if body.get("cancel_update"):
        running = ident in updating
        updating.discard(ident)
        text = "" if running else "there is no update to cancel"
        return {"success": running, **none, "cancelled": running, "error_msg": text}
    updating.add(ident)
    ids = [row["id"] for row in workers_of(ask.market, group)]
    return {"success": True, **none, "workers_to_update": ids, "error_msg": ""}


# ---------------------------------------------------------------- 11 deployments

HIDDEN_IN_LISTS = ("endpoint_state", "worker_count", "versions")


def deployment_row(ask: Ask, row: Row) -> Row:
    """Return a deployment with the state of its endpoint."""
    endpoint = ask.market.stores["endpoints"].rows.get(row["endpoint_id"])
    groups = groups_of(ask.market, row["endpoint_id"]) if endpoint else []
    workers = sum(len(workers_of(ask.market, group)) for group in groups)
    state = endpoint["endpoint_state"] if endpoint else None
    shown = {key: value for key, value in row.items() if key != "versions"}
    return {**shown, "endpoint_state": state, "worker_count": workers}


def deployments(ask: Ask) -> Row:
    """Return the user's deployments."""
    check_query(ask)
    rows = [
        {key: value for key, value in row.items() if key not in HIDDEN_IN_LISTS}
        for row in ask.market.stores["deployments"].all()
    ]
    return {"success": True, "deployments": rows}


def deployment(ask: Ask) -> Row:
    """Return a deployment."""
    check_query(ask)
    row = ask.market.stores["deployments"].get(ask.id)
    return {"success": True, "deployment": deployment_row(ask, row)}


def deployment_versions(ask: Ask) -> Row:
    """Return the versions of a deployment."""
    check_query(ask)
    row = ask.market.stores["deployments"].get(ask.id)
    return {"success": True, "versions": row["versions"]}


def switch(state: str) -> Callable[[Ask], Row]:
    """Make the call that starts or stops the endpoint of a deployment."""

    def work(ask: Ask) -> Row:
        nothing(ask)
        row = ask.market.stores["deployments"].get(ask.id)
        endpoint = ask.market.stores["endpoints"].rows.get(row["endpoint_id"])
        if endpoint is None:
            raise Refused("The deployment has no endpoint.")
        if state == "active" != endpoint["endpoint_state"]:
            start_workers(ask.market, endpoint["id"])
        endpoint["endpoint_state"] = state
        return {"success": True, "endpoint_state": state}

    return work


def delete_deployments(ask: Ask) -> Row:
    """Delete the deployments of a name: those of one tag, or of all of them."""
    body = check_body(ask.body, {"name": str, "tag": str}, ["name"])
    store = ask.market.stores["deployments"]
    ids = [row["id"] for row in store.all() if body.items() <= row.items()]
    require(bool(ids), "Deployment not found", 404, "not_found")
    for ident in ids:
        store.delete(ident)
    return {"success": True, "count": len(ids)}


# ---------------------------------------------------------------- 12 the table of calls


def furnish_stores(market: Market) -> None:
    """Give a market the stores of this module, some rows in each."""
    now, stores = market.now(), market.stores
    stores["api_keys"] = Store(
        "API key",
        {"name": str, "permissions": dict, "key_params": dict},
        required=["name"],
        defaults={"team_id": None, "team_name": None},
        check=check_api_key,
        next_id=90501,
    )
    user = {"user_id": market.user["id"], "permissions": None, "key_params": None}
    no_team = {"team_id": None, "team_name": None}
    stores["api_keys"].add({
        "id": market.user["key_id"], "name": "", **user, **no_team, "rights": "all",
        "created_at": now - 400 * DAY,
    })  # fmt: skip
    stores["api_keys"].add({
        "id": 90466, "name": "ci \x1b[1m名前", **user, "created_at": now - 9 * DAY,
        "team_id": 900, "team_name": "Bären & Söhne",
        "rights": {"api": {"instance_read": {}, "misc": {}}},
    })  # fmt: skip
    stores["team_roles"] = Store(
        "role",
        {"name": str, "permissions": dict},
        required=["name", "permissions"],
        unique="name",
        check=check_role,
    )
    for name, categories in (
        ("owner", sorted(PERMISSIONS)),
        ("manager", sorted(PERMISSIONS - {"billing_write"})),
        ("member", ["instance_read", "instance_write", "misc"]),
        ("dev/ops 100% 名前", ["instance_read"]),
    ):
        api: Row = {category: {} for category in categories}
        stores["team_roles"].add({"name": name, "permissions": {"api": api}})
    furnish_serverless(market)


def furnish_serverless(market: Market) -> None:
    """Give a market endpoints, a workergroup and deployments."""
    now, stores = market.now(), market.stores
    stores["endpoints"] = Store(
        "endpoint",
        {"endpoint_name": str, **SCALING, "endpoint_state": str},
        required=["endpoint_name"],
        defaults={**SCALING_DEFAULTS, "endpoint_state": "active"},
        unique="endpoint_name",
        check=check_endpoint,
        next_id=701,
    )
    usual = {**dict.fromkeys(SCALING), **SCALING_DEFAULTS}
    for name, state in (("llm-chat", "active"), ("img_gen-2.1", "stopped")):
        ident = stores["endpoints"].next_id
        stores["endpoints"].add({
            "endpoint_name": name, **usual, "cold_workers": 3, "max_workers": 8,
            "endpoint_state": state, "auto_delete_in_seconds": None,
            **server_side(market, ident),
        })  # fmt: skip
    stores["workergroups"] = Store(
        "workergroup",
        WORKERGROUP,
        defaults={"gpu_ram": 24.0, "test_workers": 3},
        check=check_scaling,
        next_id=801,
    )
    query = "verified=true rentable=true gpu_name=RTX_4090"
    stores["workergroups"].add({
        **dict.fromkeys(WORKERGROUP), "endpoint_id": 701, "endpoint_name": "llm-chat",
        "template_hash": "4e17788f74f075dd9aab7d0d4427968f", "template_id": 117,
        "search_params": query, "search_query": parsed_search(query),
        "launch_args": "--env TOKEN=hidden", "gpu_ram": 24.0, "test_workers": 3,
        **server_side(market, 801),
    })  # fmt: skip
    stores["deployments"] = Store("deployment", {}, next_id=644)
    for name, tag, endpoint in (
        ("square", "default", 701),
        ("square", "beta", 702),
        ("größe\x1b[1m", "default", None),
    ):
        ident = stores["deployments"].next_id
        versions = [
            {"id": ident * 10 + index, "file_hash": secret_text(name, tag, index),
             "s3_key": f"deployments/{ident}/{index}.tar.gz", "created_at": now - index}
            for index in (2, 1)
        ]  # fmt: skip
        stores["deployments"].add({
            "name": name, "tag": tag, "image": "vastai/base-image:latest",
            "endpoint_id": endpoint, "env": f"-e TOKEN=hidden{ident} -p 8000:8000",
            "file_hash": versions[0]["file_hash"], "s3_key": versions[0]["s3_key"],
            "search_params": None, "current_version_id": versions[0]["id"],
            "last_healthy_version_id": versions[1]["id"], "storage": 16.0,
            "ttl": None, "last_client_heartbeat": None, "created_at": now - 3 * DAY,
            "updated_at": now - DAY, "versions": versions,
        })  # fmt: skip


def audit_rows(now: float) -> list[Row]:
    """Return who did what in the last days."""
    rows: tuple[tuple[float, str, str, Any], ...] = (
        (0.2, "203.0.113.9", "api.instance.create", {"label": "a\x1b[2Jb", "disk": 10}),
        (1.1, "2001:db8::7", "api.commands.transfer_credit", {"amount": 5}),
        (2.0, "203.0.113.9", "api.auth.apikeys", {"key": secret_text("leaked")}),
        (8.5, "198.51.100.4", "api.users.login", None),
    )
    return [
        {"ip_address": ip, "api_key_id": 90417, "created_at": now - days * DAY,
         "api_route": route, "args": args}
        for days, ip, route, args in rows
    ]  # fmt: skip


def tfa_methods(user_id: int, now: float) -> list[Row]:
    """Return the user's ways to prove who they are."""
    rows = (
        (301, "totp", "phone \x1b[1m app", None, True),
        (302, "sms", "", "+4207*****42", False),
    )
    return [
        {"id": ident, "user_id": user_id, "method": method, "label": label,
         "phone_number": phone, "is_primary": primary, "fail_count": 0,
         "locked_until": None, "created_at": now - 90 * DAY, "last_used": None}
        for ident, method, label, phone, primary in rows
    ]  # fmt: skip


def subaccount_rows(parent: int, now: float) -> list[Row]:
    """Return two accounts below the user's, one of them deleted."""
    return [
        {"id": ident, "parent_id": parent, "key_id": ident + 40000,
         "created_at": iso(now - days * DAY), "deleted_at": deleted}
        for ident, days, deleted in ((50001, 90, None), (50002, 30, iso(now - DAY)))
    ]  # fmt: skip


@furnisher
def furnish(market: Market) -> None:
    """Give a market what the calls of this module are about."""
    now, user = market.now(), market.user
    member = {"username": "zoe", "email": "zoe@example.org", "fullname": "Zoë\x1b[0m"}
    state = market.state["account"] = Account(
        shapes={name: shapes[0] for name, shapes in SHAPES.items()},
        expired={7102: 3, 7104: 1},
        reports={
            ident: [
                {"problem": problem, "message": text, "created_at": iso(now - d * DAY)}
                for d, problem, text in rows
            ]
            for ident, rows in REPORTS.items()
        },
        details={},
        windows=[maintenance(7102, math.floor(now + 2 * DAY), 4, "internet")],
        vast_windows=[maintenance(7104, math.floor(now + 5 * DAY), 2, "power")],
        team={"team_id": 900, "team_name": "Bären & Söhne", "credit": 20.0},
        members={
            TEAM_OWNER: owner_of(user),
            MEMBER: {"id": MEMBER, **member, "roles": ["member", "dev/ops 100% 名前"]},
        },
        methods=tfa_methods(user["id"], now),
        subaccounts=subaccount_rows(user["id"], now),
        addresses=[
            {"ip": ip, "first_seen": now - days * DAY, "first_location": place}
            for ip, days, place in (
                ("203.0.113.9", 200, "Český Krumlov, CZ"),
                ("2001:db8::7", 20, "\x1b[31mBrno\x07, CZ"),
                ("198.51.100.4", 8.5, None),
            )
        ],
        audit_log=audit_rows(now),
        backup_codes=[f"backup-{index:02}" for index in range(10)],
    )
    add_bills(market, state.details)
    furnish_stores(market)


MACHINE, KEYS, TEAM = MACHINES + "/{id}", V0 + "/auth/apikeys/", V0 + "/team/"
TFA, METRICS, ME = V0 + "/tfa/", V0 + "/metrics/gpu/", V0 + "/users/me/"
ROLES, ENDPOINTS, GROUPS = TEAM + "roles/", V0 + "/endptjobs/", V0 + "/autojobs/"
SAME_GROUPS, DEPLOYMENT = V0 + "/workergroups/", V0 + "/deployment/{id}/"

CALLS: dict[str, Call] = {
    # Hosting.
    "machine": Call(GET, MACHINE, machine, "", owned=True),
    "cleanup_machine": Call(PUT, MACHINE + "/cleanup/", cleanup_machine, "success", 8),
    "defrag_machines": Call(
        PUT, MACHINES + "/defrag_offers/", defrag_machines, "success"
    ),
    "delete_machine": Call(POST, MACHINE + "/force_delete/", delete_machine, "success"),
    "reports": Call(GET, MACHINE + "/reports/", reports, "", 1.2),
    "schedule_maint": Call(PUT, MACHINE + "/dnotify/", schedule_maint, "success", 2.5),
    "cancel_maint": Call(PUT, MACHINE + "/cancel_maint/", cancel_maint, "success"),
    "maintenances": Call(GET, MACHINES + "/maintenances", maintenances, "", owned=True),
    "list_volume": Call(POST, V0 + "/volumes/", list_volume, "success"),
    "unlist_volume": Call(POST, V0 + "/volumes/unlist", unlist_volume, "success", 5.0),
    "earnings": Call(
        GET, ME + "machine-earnings", earnings, "per_machine", 2.0, owned=True
    ),
    "gpu_metrics": Call(GET, METRICS + "current/", gpu_metrics, "gpus", 3.0),
    "gpu_trends": Call(GET, METRICS + "history/", gpu_trends, "gpus", 3.0),
    "gpu_locations": Call(GET, METRICS + "locations/", gpu_locations, "locations", 3.0),
    # Billing and account.
    "invoices_v1": Call(GET, V1 + "/invoices/", invoices_v1, "results", 3.0),
    "charges": Call(GET, V0 + "/charges/", charges, "results", 1.0),
    "deposit": Call(
        GET,
        V0 + "/instances/balance/{id}/",
        deposit,
        "refundable_deposit",
        3.0,
        owned=True,
    ),
    "subaccounts": Call(
        GET, V0 + "/subaccounts", subaccounts, "users", 2.1, owned=True
    ),
    "ipaddrs": Call(GET, ME + "ipaddrs", ipaddrs, "results", 2.9, owned=True),
    "transfer_credit": Call(
        PUT, V0 + "/commands/transfer_credit/", transfer_credit, "success", 2.5
    ),
    "audit_logs": Call(GET, V0 + "/audit_logs/", audit_logs, ""),
    # API keys and the second factor.
    "create_api_key": Call(POST, KEYS, create_api_key, "key", 2.0),
    "api_keys": Call(GET, KEYS, api_keys, "apikeys", 1.0),
    "api_key": Call(GET, KEYS + "{id}/", api_key, "id", 1.0),
    "delete_api_key": Call(DELETE, KEYS + "{id}/", delete_api_key, "", 2.0),
    "tfa_status": Call(GET, TFA + "status/", tfa_status, "methods"),
    "tfa_email": Call(POST, TFA + "email/", tfa_email, "secret"),
    "tfa_sms": Call(POST, TFA + "sms/", tfa_sms, "secret"),
    "tfa_resend": Call(POST, TFA + "sms/resend/", tfa_resend, "secret"),
    "tfa_login": Call(POST, TFA, tfa_login, "session_key"),
    # Teams.
    "create_team": Call(POST, TEAM, create_team, "success"),
    "destroy_team": Call(DELETE, TEAM, destroy_team, "success"),
    "create_team_role": Call(POST, ROLES, create_team_role, "msg"),
    "team_roles": Call(GET, TEAM + "roles-full/", team_roles, ""),
    "team_role": Call(GET, ROLES + "{name}/", team_role, "name"),
    "update_team_role": Call(PUT, ROLES + "{id}/", update_team_role, ""),
    "remove_team_role": Call(DELETE, ROLES + "{name}/", remove_team_role, "status", 3),
    "invite_member": Call(POST, TEAM + "invite/", invite_member, "success"),
    "team_members": Call(GET, TEAM + "members/", team_members, ""),
    "remove_member": Call(DELETE, TEAM + "members/{id}/", remove_member, "status", 3.0),
    # Endpoints and workergroups.
    "create_endpoint": Call(POST, ENDPOINTS, create_endpoint, "success", 4.0),
    "endpoints": Call(GET, ENDPOINTS, endpoints, "results", 3.0),
    "update_endpoint": Call(PUT, ENDPOINTS + "{id}/", update_endpoint, "success", 2.0),
    "delete_endpoint": Call(
        DELETE, ENDPOINTS + "{id}/", delete_endpoint, "success", 3.0
    ),
    # The workergroups have two paths.
    **{
        name + suffix: call
        for suffix, path in (("", GROUPS), ("_alias", SAME_GROUPS))
        for name, call in {
            "create_workergroup": Call(POST, path, create_workergroup, "id", 4.0),
            "workergroups": Call(GET, path, workergroups, "results", 2.0),
            "update_workergroup": Call(
                PUT, path + "{id}/", update_workergroup, "success", 2.0
            ),
            "delete_workergroup": Call(
                DELETE, path + "{id}/", delete_workergroup, "success", 3.0
            ),
        }.items()
    },
    # These live on a host of their own.
    "endpoint_logs": Call(POST, "/get_endpoint_logs/", endpoint_logs, ""),
    "workergroup_logs": Call(POST, "/get_autogroup_logs/", workergroup_logs, ""),
    "workergroup_logs_alias": Call(
        POST, "/get_workergroup_logs/", workergroup_logs, ""
    ),
    "endpoint_workers": Call(POST, "/get_endpoint_workers/", endpoint_workers, ""),
    "update_workers": Call(POST, "/update_workers/", update_workers, "success"),
    # Deployments.
    "deployments": Call(GET, V0 + "/deployments", deployments, "deployments", 3.0),
    "deployments_alias": Call(
        GET, V0 + "/deployments/", deployments, "deployments", 3.0
    ),
    "deployment": Call(GET, DEPLOYMENT, deployment, "deployment", 3.0),
    "deployment_versions": Call(
        GET, DEPLOYMENT + "versions/", deployment_versions, "versions", 3.0
    ),
    "start_deployment": Call(
        POST, DEPLOYMENT + "start/", switch("active"), "success", 2.0
    ),
    "stop_deployment": Call(
        POST, DEPLOYMENT + "stop/", switch("stopped"), "success", 2.0
    ),
    "delete_deployment": Call(DELETE, DEPLOYMENT, deletes("deployments"), "success"),
    "delete_deployments": Call(
        DELETE, V0 + "/deployments/", delete_deployments, "success"
    ),
}
