"""A renter's further calls: instances, copies, volumes, templates, keys and such.

Plain rows are in `market.stores`; what else is remembered, and what tests can set, is
in `renting(market)`.

Sections: 1 state, 2 instances, 3 logs and commands, 4 snapshots and copies,
5 schedules, 6 volumes, 7 backups, 8 templates and benchmarks, 9 keys and variables,
10 price increases, 11 the table of calls.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import posixpath
import re
import shlex
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any
from urllib.parse import quote

import market as base
from market import (
    BARE,
    DAY,
    DELETE,
    GET,
    GPUS,
    HOURS_A_MONTH,
    INSTANCES,
    INVALID,
    OPEN,
    POST,
    PUT,
    SEED,
    STRANGER,
    TOKEN,
    USER,
    V0,
    V1,
    Ask,
    Call,
    Machine,
    Market,
    Refusal,
    Refused,
    Rental,
    Reply,
    Row,
    Store,
    check_body,
    column_keys,
    deletes,
    error_reply,
    field_types,
    filtered,
    furnisher,
    is_a,
    json_reply,
    lists,
    made_machines,
    order_keys,
    ordered,
    page,
    parse_json,
    ports_of,
    require,
    volume_offer_id,
)

# ---------------------------------------------------------------- 1 state

NO_INSTANCE: Refusal = (404, "no_such_instance")

# What every container has logged and has on its disk (path, bytes) to begin with.
FIRST_LOG = (
    "\x1b[1;32m[start]\x1b[0m GPU found\x1b]0;root@box\x07",
    "weights:  10%\rweights:  55%\rweights: 100%",
    "",
    "",
    "",
    "Grüße aus 東京 \u202etxt.exe\u202c\x00",
    "listening on 0.0.0.0:8080",
)
FIRST_DAEMON_LOG = ("docker pull: layer 7 of 7", "docker run --gpus all", "started")
FIRST_FILES = {
    "/root/.bashrc": 571,
    "/workspace/train.py": 4096,
    "/workspace/checkpoints/step-100.pt": 734003200,
    "/workspace/\x1b[31mred\x1b[0m.txt": 12,
}


@dataclass
class Result:
    """A file for the caller to fetch: there after `misses` attempts, from `ready` on.

    `before` is what stood under the same address earlier, None for nothing.
    """

    text: str
    signature: str
    misses: int
    ready: float
    before: str | None = None


@dataclass
class Copy:
    """Files on their way; `seconds` is how long that takes."""

    files: dict[str, int]
    start: float
    seconds: float

    def progress(self, now: float) -> str:
        """Return what status_msg says at a time."""
        total = sum(self.files.values())
        share = min((now - self.start) / self.seconds, 1.0) if self.seconds else 1.0
        if share >= 1:
            return f"copy finished: {total:,} bytes"
        return f"copying: {total * share:,.0f} bytes, {share:.0%}"

    def is_done(self, now: float) -> bool:
        """Tell whether all files have arrived."""
        return now - self.start >= self.seconds


@dataclass(eq=False)
class Renting:
    """What the calls here remember; the dictionaries are by instance id.

    Tests may set: after how many attempts (`misses`) and seconds (`wait`) a result file
    is there, and the status until then (`miss_status`); whether its address is the same
    every time (`same_address`); how long a copy takes; whether values of variables are
    masked.
    """

    market: Market
    misses: int = 1
    wait: float = 0.0
    miss_status: int = 404
    same_address: bool = False
    copy_seconds: float = 20.0
    masked: bool = False
    logs: dict[int, list[str]] = field(default_factory=dict)
    daemon_logs: dict[int, list[str]] = field(default_factory=dict)
    files: dict[int, dict[str, int]] = field(default_factory=dict)
    copies: dict[int, Copy] = field(default_factory=dict)
    attached: dict[int, dict[int, str]] = field(default_factory=dict)
    changes: dict[int, Row] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    snapshots: list[Row] = field(default_factory=list)
    cloud_copies: list[Row] = field(default_factory=list)
    count: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def log(self, instance_id: int, *lines: str, daemon: bool = False) -> list[str]:
        """Append lines to an instance's log; return the whole log."""
        logs = self.daemon_logs if daemon else self.logs
        first = list(FIRST_DAEMON_LOG if daemon else FIRST_LOG)
        whole = logs.setdefault(instance_id, first)
        whole += lines
        return whole

    def disk(self, instance_id: int) -> dict[str, int]:
        """Return the files of a container, those that were copied to it included."""
        files = self.files.setdefault(instance_id, dict(FIRST_FILES))
        copy = self.copies.get(instance_id)
        if copy and copy.is_done(self.market.now()):
            files |= self.copies.pop(instance_id).files
        return files

    def publish(self, kind: str, instance_id: int, text: str) -> str:
        """Make a result file of a text; return its address, with its signature."""
        number = 0 if self.same_address else next(self.count)
        told = f"{kind} {instance_id} {number}".encode()
        name = hashlib.md5(told, usedforsecurity=False).hexdigest()
        secret = hashlib.sha256(told).hexdigest()
        old = self.results.get(name)
        ready = self.market.now() + self.wait
        before = old.text if old else None
        self.results[name] = Result(text, secret, self.misses, ready, before)
        query = f"X-Amz-Expires=3600&X-Amz-Signature={secret}"
        return f"{self.market.url}/result/{name}.log?{query}"

    def add_price_increase(self, instance_id: int, **more: Any) -> Row:
        """Have the host of an instance ask for more from its end on; return the row."""
        row = self.market.rentals[instance_id].row
        per_second = row["dph_base"] / row["num_gpus"] / 3600
        storage = row["storage_cost"] / (30 * DAY)
        up, down = row["inet_up_cost"], row["inet_down_cost"]
        increase = {
            "contract_id": instance_id, "host_id": row["host_id"],
            "old_gpu_costpersec": per_second, "new_gpu_costpersec": per_second * 1.25,
            "old_disk_ram_costpersec": storage, "new_disk_ram_costpersec": storage * 2,
            "old_bwu_cost": up, "new_bwu_cost": None,
            "old_bwd_cost": down, "new_bwd_cost": None,
            "old_platform_fee": 0.25, "new_platform_fee": None,
            "contract_end_date": row["end_date"],
            "ask_end_date": row["end_date"] + 90 * DAY,
            "created_at": self.market.now(),
        }  # fmt: skip
        return self.market.stores["price_increases"].add({**increase, **more})


def renting(market: Market) -> Renting:
    """Return what the calls here remember of a market."""
    state = market.state["renting"]
    assert isinstance(state, Renting)
    return state


@furnisher
def furnish(market: Market) -> None:
    """Give a fresh market the stores that the calls here work on."""
    market.state["renting"] = Renting(market)
    market.stores |= {
        "scheduled_jobs": scheduled_jobs(),
        "volumes": Store("volume", {}, missing=(404, "no_such_volume"), next_id=70001),
        "instance_backups": Store("backup", {}, next_id=301),
        "templates": templates(),
        "benchmarks": Store("benchmark", {}, rows=made_benchmarks(market.now())),
        "ssh_keys": ssh_keys(),
        "env_vars": env_vars(),
        "connections": Store("connection", {}, next_id=1001),
        "price_increases": price_increases(),
    }
    rows = {
        "instance_backups": made_backups(market.now()),
        "templates": made_templates(market.now()),
        "ssh_keys": made_ssh_keys(),
        "env_vars": [{"key": "HF_TOKEN", "value": "hf_MadeUpForTheSandbox"}],
        "connections": made_connections(),
    }
    for name, made in rows.items():
        for row in made:
            market.stores[name].add(row)


def own_instance(market: Market, instance_id: int) -> Rental | None:
    """Return the user's instance with this id, None when there is none."""
    rental = market.rentals.get(instance_id)
    mine = rental is not None and rental.owner == market.user["id"]
    return rental if mine else None


def instance_of(
    ask: Ask,
    missing: Refusal = NO_INSTANCE,
    msg: str = "Instance not found.",
    denied: str = "",
) -> Rental:
    """Return the user's instance that the path names; raise Refused if there is none.

    `denied` is what the service says when it belongs to somebody else, if it says so.
    """
    rental = own_instance(ask.market, ask.id)
    if rental is None and denied and ask.id in ask.market.rentals:
        raise Refused(denied, 403, "not_authorized")
    if rental is None:
        raise Refused(msg, *missing)
    return rental


def as_id(text: Any) -> int:
    """Return the id that a text holds, 0 for anything else."""
    sound = is_a(text, str) and re.fullmatch("[0-9]{1,18}", text)
    return int(text) if sound else 0


def give_order(market: Market, rental: Rental, order: str) -> None:
    """Have an instance pass through the phases of an order from now on."""
    rental.order, rental.ordered = order, market.now()


def status_of(market: Market, rental: Rental) -> Any:
    """Return the actual_status of an instance."""
    return market.instance_row(rental)["actual_status"]


# ---------------------------------------------------------------- 2 instances


def reboot(ask: Ask) -> Row:
    """Stop and start a container, which keeps its GPU and its disk."""
    rental = instance_of(ask, INVALID, "invalid instance_id")
    check_body(ask.body, {})
    require(rental.order != "stop", "the instance is stopped")
    give_order(ask.market, rental, "reboot")
    return {"success": True}


def recycle(ask: Ask) -> Row:
    """Make a container anew: its disk is empty, its ports and its image may change."""
    rental = instance_of(ask, (400, "invalid_id"), "Invalid instance id.")
    state = renting(ask.market)
    check_body(ask.body, {})
    for kept in (state.files, state.logs, state.copies, ask.market.messages):
        kept.pop(ask.id, None)
    row = rental.row
    row |= state.changes.pop(ask.id, {})
    row["ssh_port"] += 2
    # Any number gives other ports: it moves with each recycling.
    env = dict(row["extra_env"])
    row["ports"] = ports_of(row["image_runtype"], env, ask.id + row["ssh_port"])
    give_order(ask.market, rental, "recycle")
    return {"success": True}


UPDATE_KEYS: dict[str, type] = {
    "template_id": int, "template_hash_id": str, "image": str, "args": str,
    "env": dict, "onstart": str,
}  # fmt: skip


def update_instance(ask: Ask) -> Row:
    """Give an instance another template; the container has it once it is recycled."""
    rental = instance_of(ask)
    given = check_body(ask.body, UPDATE_KEYS)
    found = find_template(ask.market, given)
    named = "template_id" in given or "template_hash_id" in given
    require(found is not None or not named, "no such template", 404, "not_found")
    complete = "onstart" not in given or found or "image" in given
    require(bool(complete), "onstart needs an image")
    env = given.get("env", {})
    require(all(is_a(text, str) for text in env.values()), "env holds text")
    order = {**(ordered_by(found) if found else {}), **given}
    shown_as = {"image": "image_uuid", "onstart": "onstart"}
    later = {shown_as[name]: order[name] for name in shown_as.keys() & order.keys()}
    if "env" in order:
        later["extra_env"] = [[name, text] for name, text in order["env"].items()]
    if "args" in given:
        later["image_args"] = shlex.split(given["args"])
    state = renting(ask.market)
    state.changes[ask.id] = state.changes.get(ask.id, {}) | later
    if found:
        rental.row |= template_fields(found)
    return {"success": True, "updated_instance": ask.market.instance_row(rental)}


def prepay(ask: Ask) -> Row | Reply:
    """Deposit credit for an instance; the longer it lasts the greater the discount."""
    rental = own_instance(ask.market, ask.id)
    if rental is None:
        return json_reply({"success": False, "msg": "No such instance"}, 400)
    amount = check_body(ask.body, {"amount": float}, ["amount"])["amount"]
    require(amount > 0, "amount must be over 0")
    if amount > ask.market.user["credit"]:
        return json_reply({"success": False, "msg": "Insufficient credit"}, 411)
    row = rental.row
    paid = (row["credit_balance"] or 0.0) + amount
    months = paid / (row["dph_total"] * HOURS_A_MONTH)
    # Half of the most after a month, three quarters of it after three.
    rate = row["credit_discount_max"] * months / (months + 1)
    row |= {"credit_balance": paid, "credit_discount": rate}
    ask.market.charge(rental, "prepayment", 1.0, amount)
    return {"success": True, "timescale": months, "discount_rate": rate}


def create(ask: Ask) -> Any:
    """Rent an offer as market.create does, with the template and volume it names."""
    market, body = ask.market, dict(ask.body)
    template = find_template(market, body)
    if template:
        usual = ordered_by(template)
        if is_a(body.get("env"), dict):
            body["env"] = {**usual.get("env", {}), **body["env"]}
        body = {**usual, **{k: v for k, v in body.items() if v is not None}}
    offer = market.offers.get(ask.id)
    machine = offer.machine if offer else None
    wish = volume_wish(market, machine, body.pop("volume_info", None))
    named = linked_volumes(market, machine, body.get("env"))
    answer = base.create(ask._replace(body=body))
    rental = market.rentals[answer["new_contract"]]
    if machine and wish:
        named.append(granted_volume(market, machine, wish))
    rental.row["volume_info"] = named
    if template:
        rental.row |= template_fields(template)
        template["count_created"] += 1
        template["recent_create_date"] = market.now()
    keys = market.stores["ssh_keys"].all()
    renting(market).attached[rental.id] = {row["id"]: row["key"] for row in keys}
    return answer


# ---------------------------------------------------------------- 3 logs and commands


def request_logs(ask: Ask) -> Row:
    """Leave the log of an instance in a file; it grows by a line each time."""
    denied = "Not authorized to view logs for this instance"
    instance_of(ask, (404, "invalid_id"), "Invalid instance id.", denied)
    texts: dict[str, type] = dict.fromkeys(["tail", "filter", "daemon_logs"], str)
    given = {"tail": "1000", "filter": "", **check_body(ask.body, texts)}
    require(bool(re.fullmatch("[0-9]{1,9}", given["tail"])), "tail must be a number")
    daemon = "daemon_logs" in given
    require(not daemon or given["daemon_logs"] == "true", "daemon_logs must be true")
    state = renting(ask.market)
    lines = state.log(ask.id, next_line(state, ask.id, daemon), daemon=daemon)
    lines = lines[max(len(lines) - int(given["tail"]), 0) :]
    text = "".join(line + "\n" for line in grep(given["filter"], lines))
    address = state.publish("daemon" if daemon else "log", ask.id, text)
    return {"success": True, "result_url": address, "msg": "Log request sent."}


def next_line(state: Renting, instance_id: int, daemon: bool) -> str:
    """Return the line that comes next in a log."""
    step = len(state.log(instance_id, daemon=daemon))
    return f"health check {step}: ok" if daemon else f"step {step}: loss {9 / step:.4f}"


def grep(pattern: str, lines: Iterable[str]) -> list[str]:
    """Return the lines in which a regular expression is found."""
    try:
        wanted = re.compile(pattern)
    except re.error:
        wanted = re.compile(re.escape(pattern))
    return [line for line in lines if wanted.search(line)]


BAD_COMMAND = "Invalid command given."
SHELL_CHARACTERS = set(";&|<>$`\n")


def execute(ask: Ask) -> Row:
    """Do `ls`, `rm` or `du` on the disk of a stopped instance."""
    missing: Refusal = (400, "invalid_container_id")
    rental = instance_of(ask, missing, "Invalid container id.", "Not authorized")
    command = check_body(ask.body, {"command": str}, ["command"])["command"]
    require(len(command) <= 512, BAD_COMMAND)
    require(SHELL_CHARACTERS.isdisjoint(command), BAD_COMMAND)
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise Refused(BAD_COMMAND) from error
    require(bool(words) and words[0] in ("ls", "rm", "du"), BAD_COMMAND)
    require(status_of(ask.market, rental) == "stopped", BAD_COMMAND)
    layer = hashlib.md5(str(ask.id).encode(), usedforsecurity=False).hexdigest()
    root = f"/var/lib/docker/overlay2/{layer}/merged"
    state = renting(ask.market)
    text = output_of(words, state.disk(ask.id), root)
    address = state.publish("command", ask.id, text)
    msg = "Command is executing, wait a few seconds and then view the result_url"
    return {
        "success": True, "result_url": address, "writeable_path": root, "msg": msg,
    }  # fmt: skip


def absolute(path: str) -> str:
    """Return a path in its shortest form; relative ones start at the root."""
    return posixpath.normpath("/" + path.lstrip("/"))


def output_of(words: list[str], files: dict[str, int], root: str) -> str:
    """Do a command on the files; return what it prints, where paths start at `root`."""
    flags = "".join(word[1:] for word in words[1:] if word.startswith("-"))
    paths = [word for word in words[1:] if not word.startswith("-")] or ["/"]
    lines = []
    for path in map(absolute, paths):
        within = path.rstrip("/") + "/"
        hits = {p: n for p, n in files.items() if p == path or p.startswith(within)}
        if not hits and path != "/":
            lines.append(f"{words[0]}: {root}{path}: No such file or directory")
        elif words[0] == "du":
            lines.append(f"{-(-sum(hits.values()) // 1024)}\t{root}{path}")
        elif words[0] == "ls":
            lines += names_in(hits, path, "l" in flags)
        elif "r" in flags or path in files:
            for name in hits:
                del files[name]
        else:
            lines.append(f"rm: {root}{path}: Is a directory")
    return "".join(line + "\n" for line in lines)


def names_in(files: dict[str, int], path: str, long: bool) -> list[str]:
    """Return the lines of a directory, or of one file."""
    if path in files:
        sizes = {path: files[path]}
    else:
        sizes = {}
        for name, size in sorted(files.items()):
            entry = name[len(path.rstrip("/")) + 1 :].split("/")[0]
            sizes[entry] = sizes.get(entry, 0) + size
    if long:
        return [f"-rw-r--r-- 1 root root {size} {name}" for name, size in sizes.items()]
    return list(sizes)


def result_file(ask: Ask) -> Reply:
    """Return the text of a result file, once it is there."""
    state = renting(ask.market)
    result = state.results.get(ask.words[0])
    if result is None:
        return storage_error(404, "NoSuchKey")
    if ask.query.get("X-Amz-Signature") != result.signature:
        return storage_error(403, "SignatureDoesNotMatch")
    if result.misses > 0 or ask.market.now() < result.ready:
        result.misses -= 1
        if result.before is None:
            return storage_error(state.miss_status, "AccessDenied")
        return Reply(200, result.before.encode(), "text/plain")
    return Reply(200, result.text.encode(), "text/plain")


def storage_error(status: int, code: str) -> Reply:
    """Return how the storage service says that there is no file."""
    text = f'<?xml version="1.0"?>\n<Error><Code>{code}</Code></Error>'
    return Reply(status, text.encode(), "application/xml")


# ---------------------------------------------------------------- 4 snapshots, copies

SNAPSHOT_KEYS: dict[str, type] = {
    "container_registry": str, "personal_repo": str, "pause": str,
    "docker_login_user": str, "docker_login_pass": str,
}  # fmt: skip


def take_snapshot(ask: Ask) -> Row:
    """Commit a container and push it to a registry of the user's."""
    instance_of(ask)
    given = check_body(ask.body, SNAPSHOT_KEYS, ["personal_repo"])
    host, _, name = given["personal_repo"].partition("/")
    full = ("." in host or ":" in host) and name != ""
    require(full, "personal_repo must start with the host of its registry")
    require(":" not in name, "personal_repo must have no tag")
    require(given.get("pause", "true") in ("true", "false"), "pause: true or false")
    renting(ask.market).snapshots.append({"instance_id": ask.id, **given})
    tag = f"instance_{ask.id}_at_{int(ask.market.now())}"
    return {"success": True, "msg": f"Snapshot {given['personal_repo']}:{tag} started."}


CLOUDS = ("drive", "s3", "b2", "dropbox", "hf")
SIDE_KEYS = {"src_id": object, "dst_id": object, "src_path": str, "dst_path": str}
LATER = "check instance status bar for progress updates (~30 seconds delayed)."


def side_of(market: Market, given: Any, name: str) -> tuple[str, int]:
    """Return the kind of one side of a copy, and its id.

    The id is 0 for this machine, and for a cloud of which there is one connection only.
    """
    if given is None or given == "local":
        return "local", 0
    text = str(given)
    sound = is_a(given, str) or is_a(given, int)
    found = re.fullmatch(r"(?:(C|V|vast|[a-z0-9]+)\.)?([0-9]+)|([a-z0-9]+)", text)
    if not found or not sound:
        raise Refused(f"Invalid {name}.")
    kind, number = found[1] or found[3] or "C", int(found[2] or 0)
    if kind in CLOUDS:
        rows = market.stores["connections"].all()
        ids = [row["id"] for row in rows if row["cloud_type"] == kind]
        known = number in ids or (found[3] is not None and len(ids) == 1)
        require(known, f"Invalid {name}.")
        return "cloud", number
    holders = {
        "C": {k for k, r in market.rentals.items() if r.owner == market.user["id"]},
        "V": market.stores["volumes"].rows.keys(),
        "vast": market.stores["instance_backups"].rows.keys(),
    }
    require(kind in holders and found[3] is None, f"Invalid {name}.")
    require(number in holders[kind], "No such user.", 404, "no_such_user")
    return kind, number


def copy(ask: Ask) -> Row:
    """Copy between two sides of which at most one is the caller's machine."""
    given = check_body(ask.body, SIDE_KEYS)
    for name in ("src_path", "dst_path"):
        require(bool(given.get(name)), f"Invalid {name}.")
    source = side_of(ask.market, given.get("src_id"), "src_id")
    target = side_of(ask.market, given.get("dst_id"), "dst_id")
    require(target[0] != "vast", "Invalid dst_id.")
    kinds = {source[0], target[0]}
    if "local" not in kinds:
        start_copy(ask.market, source, target, given)
        return {"success": True, "msg": f"Remote to Remote copy initiated - {LATER}"}
    require(kinds == {"local", "C"}, "only an instance is copied from or to here")
    prefix, instance_id = ("dst", target[1]) if target[1] else ("src", source[1])
    row = ask.market.rentals[instance_id].row
    return {
        "success": True,
        f"{prefix}_addr": row["public_ipaddr"].strip(),
        f"{prefix}_port": row["machine_dir_ssh_port"],
    }


def rsync(ask: Ask) -> Row:
    """Return where the caller's rsync finds the host; one side is a bare path."""
    bare = [name for name in ("src_id", "dst_id") if ask.body.get(name) is None]
    require(len(bare) == 1, "one of src_id and dst_id must be null")
    return copy(ask)


def start_copy(
    market: Market, source: tuple[str, int], target: tuple[str, int], given: Row
) -> None:
    """Set a copy between two remote sides going."""
    state = renting(market)
    files = state.disk(source[1]) if source[0] == "C" else {"/backup.tar": 10**9}
    top = given["src_path"].rstrip("/")
    # Like rsync: without a slash at its end the directory itself goes over.
    stem = top if given["src_path"].endswith("/") else posixpath.dirname(top)
    moved = {
        absolute(f"{given['dst_path']}/{path[len(stem) :]}"): size
        for path, size in files.items()
        if path == top or path.startswith(top + "/")
    }
    copied = Copy(moved, market.now(), state.copy_seconds)
    for kind, side_id in (source, target):
        if kind == "C":
            market.messages[side_id] = lambda: copied.progress(market.now())
    if target[0] == "C":
        state.copies[target[1]] = copied


def cancel(market: Market, instance_id: int, missing: Refusal, msg: str) -> None:
    """Stop what is being copied to an instance, if anything is."""
    require(own_instance(market, instance_id) is not None, msg, *missing)
    renting(market).copies.pop(instance_id, None)
    market.messages.pop(instance_id, None)


def cancel_copy(ask: Ask) -> Row:
    """Stop a copy between remote sides; the id may be text."""
    given = check_body(ask.body, {"dst_id": object}, ["dst_id"])["dst_id"]
    instance_id = given if is_a(given, int) else as_id(given)
    require(instance_id > 0, "Invalid dst_id.")
    cancel(ask.market, instance_id, (404, "no_such_user"), "No such user.")
    return {"success": True}


def cancel_sync(ask: Ask) -> Row:
    """Stop a copy from or to a cloud."""
    given = check_body(ask.body, {"dst_id": object}, ["dst_id"])["dst_id"]
    require(is_a(given, int), "Invalid dst_id.")
    cancel(ask.market, given, NO_INSTANCE, "No such instance.")
    return {"success": True, "msg": f"Remote copy canceled - {LATER}"}


CLOUD_KEYS: dict[str, type] = {
    **dict.fromkeys("src dst instance_id selected transfer".split(), str),
    "flags": list,
}
CLOUD_FLAGS = set("dry-run size-only ignore-existing update delete-excluded".split())


def cloud_copy(ask: Ask) -> Row | Reply:
    """Copy between an instance and a cloud."""
    given = check_body(ask.body, CLOUD_KEYS, CLOUD_KEYS.keys() - {"flags"})
    flags = given.get("flags", [])
    require(all(is_a(flag, str) for flag in flags), "flags are text")
    known = {flag.removeprefix("--") for flag in flags} <= CLOUD_FLAGS
    require(known, "there is no such flag")
    ways = ("instance to cloud", "cloud to instance")
    require(given["transfer"].lower() in ways, f"transfer is one of {ways}")
    instance_id, selected = as_id(given["instance_id"]), as_id(given["selected"])
    mine = own_instance(ask.market, instance_id) is not None
    if not mine or selected not in ask.market.stores["connections"].rows:
        msg = "Invalid cloud service." if mine else "Invalid instance."
        return json_reply({"success": False, "msg": msg}, 400)
    state = renting(ask.market)
    state.cloud_copies.append(given)
    copied = Copy({given["dst"]: 10**9}, ask.market.now(), state.copy_seconds)
    ask.market.messages[instance_id] = lambda: copied.progress(ask.market.now())
    address = state.publish("cloud", instance_id, "rclone: done\n")
    msg = f"Cloud Copy Started - {LATER}"
    return {"success": True, "msg": msg, "result_url": address}


def made_connections() -> list[Row]:
    """Return the user's connections to clouds."""
    return [
        {"id": 1001, "name": "drïve of the lab", "cloud_type": "drive"},
        {"id": 1002, "name": "models\x1b[1m", "cloud_type": "s3"},
        {"id": 1003, "name": None, "cloud_type": "s3"},
    ]


# ---------------------------------------------------------------- 5 schedules


def scheduled_jobs() -> Store:
    """Return the store of scheduled jobs."""
    fields: dict[str, type] = {
        "start_time": float, "end_time": float, "api_endpoint": str,
        "request_method": str, "request_body": dict, "day_of_the_week": int,
        "hour_of_the_day": int, "frequency": str, "instance_id": int,
    }  # fmt: skip
    optional = {"day_of_the_week", "hour_of_the_day"}
    required = [name for name in fields if name not in optional]
    return Store(
        "scheduled job", fields, required, {"min_of_the_hour": 0}, check=check_job,
        next_id=8101,
    )  # fmt: skip


def check_job(given: Row) -> None:
    """Refuse a job that can never run."""
    require(given["start_time"] < given["end_time"], "start_time is after end_time")
    path, method = given["api_endpoint"], given["request_method"]
    require(path.startswith(V0 + "/"), "api_endpoint must start with /api/v0")
    require(method in (PUT, POST, DELETE), f"request_method cannot be {method}")
    same = given["request_body"].get("instance_id", given["instance_id"])
    require(same == given["instance_id"], "request_body is about another instance")
    day, hour = given.get("day_of_the_week"), given.get("hour_of_the_day")
    numbers = {"HOURLY": (False, False), "DAILY": (False, True), "WEEKLY": (True, True)}
    wanted = numbers.get(given["frequency"])
    require(wanted is not None, "frequency is HOURLY, DAILY or WEEKLY")
    right = wanted == (day is not None, hour is not None)
    require(right, f"{given['frequency']}: bad day_of_the_week or hour_of_the_day")
    require(day is None or 0 <= day <= 6, "day_of_the_week is from 0 to 6")
    require(hour is None or 0 <= hour <= 23, "hour_of_the_day is from 0 to 23")


def schedule_job(ask: Ask) -> Row | Reply:
    """Add a job; there is at most one for an instance and an endpoint."""
    store = ask.market.stores["scheduled_jobs"]
    given = store.accepted(ask.body, store.required)
    ask.market.own_rental(given["instance_id"])
    same = {name: given[name] for name in ("instance_id", "api_endpoint")}
    twin = store.find(**same)
    if twin:
        msg = "This instance has such a job already."
        told = {"success": False, "error": "job_exists", "msg": msg}
        return json_reply({**told, "scheduled_job_id": twin["id"]}, 422)
    return {"success": True, "scheduled_job_id": store.create(ask.body)["id"]}


def update_job(ask: Ask) -> Row:
    """Replace a job."""
    store = ask.market.stores["scheduled_jobs"]
    store.get(ask.id)
    given = store.accepted(ask.body, store.required)
    ask.market.own_rental(given["instance_id"])
    store.rows[ask.id] |= {**dict.fromkeys(store.fields), **given}
    return {"success": True, "scheduled_job_id": ask.id}


# ---------------------------------------------------------------- 6 volumes

# What the rows of volumes, and of offers of space for them, tell of the machine.
VOLUME_MACHINE = (
    "cpu_ghz cpu_name cuda_max_good disk_bw disk_name driver_vers driver_version"
    " geolocation geolocode host_id hosting_type inet_down inet_up machine_id mobo_name"
    " os_version pci_gen pcie_bw reliability reliability2 reliability_mult static_ip"
    " vericode verification vms_enabled"
).split()


def free_space(market: Market, machine: Machine) -> float:
    """Return how many GB for volumes a machine has left."""
    rows = market.stores["volumes"].all()
    machine_id = machine.hardware["machine_id"]
    taken = sum(row["disk_space"] for row in rows if row["machine_id"] == machine_id)
    return float(machine.terms["volume_total_size"] - taken)


def volume_offer(market: Market, machine: Machine, storage: float) -> Row:
    """Return the row that offers space for volumes, priced for `storage` GB."""
    parts, terms, now = machine.hardware, machine.terms, market.now()
    offer_id, price = volume_offer_id(machine), terms["listed_volume_cost"]
    return {
        **{name: parts[name] for name in VOLUME_MACHINE},
        "id": offer_id, "ask_contract_id": offer_id, "bundle_id": offer_id + 900000000,
        "cpu_arch": "amd64", "gpu_arch": "nvidia", "has_avx": 1, "external": None,
        "cluster_id": None, "disk_space": free_space(market, machine),
        "storage_cost": price, "storage_total_cost": price * storage / HOURS_A_MONTH,
        "total_flops": machine.gpu.tflops * machine.cards,
        "start_date": None, "end_date": terms["end_date"],
        "duration": terms["end_date"] - now,
        "score": parts["reliability"] / max(price, 0.001),
    }  # fmt: skip


def search_volumes(ask: Ask) -> Row:
    """Return the offers of space for volumes that pass the filters."""
    market, filters = ask.market, dict(ask.body)
    storage = filters.pop("allocated_storage", 1.0)
    limit = filters.pop("limit", 64)
    require(is_a(storage, float) and storage > 0, "allocated_storage: bad value")
    require(is_a(limit, int) and limit > 0, "limit must be a number over 0")
    offering = [m for m in market.machines.values() if free_space(market, m) >= 1]
    rows = [volume_offer(market, machine, storage) for machine in offering]
    types = field_types(rows[0])
    keys = order_keys(filters.pop("order", [["score", "desc"]]), types)
    return {"offers": ordered(filtered(rows, filters, types), keys)[:limit]}


def offering_machine(market: Market, offer_id: Any) -> Machine:
    """Return the machine with an offer of space; Refused when there is none."""
    require(is_a(offer_id, int), "the id of a volume offer is needed")
    for machine in market.machines.values():
        if volume_offer_id(machine) == offer_id and free_space(market, machine) >= 1:
            return machine
    raise Refused(f"no_such_ask: volume offer {offer_id}", 404, "no_such_ask")


def check_volume(market: Market, machine: Machine, size: int, name: str | None) -> None:
    """Refuse a volume that the machine cannot hold, or with an odd name."""
    require(size >= 1, "size must be at least 1 GB")
    require(size <= free_space(market, machine), f"there are no {size} GB left")
    sound = name is None or re.fullmatch("[A-Za-z0-9_]{1,64}", name)
    require(bool(sound), "a name has up to 64 letters, digits and underscores")


def add_volume(market: Market, machine: Machine, size: int, name: str | None) -> Row:
    """Add a volume to those of the user; return its row."""
    check_volume(market, machine, size, name)
    offer = volume_offer(market, machine, size)
    kept = [*VOLUME_MACHINE, "cpu_arch", "gpu_arch", "cluster_id", "end_date"]
    return market.stores["volumes"].add(
        {
            **{key: offer[key] for key in kept},
            "label": name, "disk_space": float(size), "type": "local_volume",
            "storage_cost": offer["storage_cost"],
            "storage_total_cost": offer["storage_total_cost"],
            "public_ipaddr": machine.hardware["public_ipaddr"],
            "start_date": market.now(),
        }
    )  # fmt: skip


def volume_answer(row: Row) -> Row:
    """Return the answer to who made a volume."""
    return {"success": True, "volume_name": f"V.{row['id']}", "volume_id": row["id"]}


def create_volume(ask: Ask) -> Row:
    """Rent space for a volume."""
    given = check_body(ask.body, {"id": int, "size": int, "name": str}, ["id"])
    machine = offering_machine(ask.market, given["id"])
    size, name = given.get("size", 15), given.get("name")
    return volume_answer(add_volume(ask.market, machine, size, name))


CLONE_KEYS = {"src_id": int, "dst_id": int, "size": int, "disable_compression": bool}


def clone_volume(ask: Ask) -> Row:
    """Copy a volume to new space, which is at least as large."""
    given = check_body(ask.body, CLONE_KEYS, ["src_id", "dst_id"])
    source = ask.market.stores["volumes"].get(given["src_id"])
    machine = offering_machine(ask.market, given["dst_id"])
    size = given.get("size", int(source["disk_space"]))
    require(size >= source["disk_space"], "size is less than that of the volume")
    return volume_answer(add_volume(ask.market, machine, size, source["label"]))


def users_of(market: Market, volume_id: int) -> list[int]:
    """Return the ids of the instances that use a volume."""
    return [
        rental.id
        for rental in market.rentals.values()
        if any(info["volume_id"] == volume_id for info in rental.row["volume_info"])
    ]


def delete_volume(ask: Ask) -> Row:
    """Give a volume back that no instance uses; its id is in the query."""
    text = ask.query.get("id", "")
    valid = re.fullmatch("[0-9]+", text) is not None and ask.query.keys() == {"id"}
    require(valid, "Please provide a valid volume ID.")
    check_body(ask.body, {})
    store, volume_id = ask.market.stores["volumes"], int(text)
    known = volume_id in store.rows
    require(known, "Volume with that ID does not exist.", *store.missing)
    users = users_of(ask.market, volume_id)
    require(not users, f"volume {volume_id} is used by {users}")
    store.delete(volume_id)
    return {"success": True}


def volume_row(market: Market, row: Row) -> Row:
    """Return a volume as the service shows it now."""
    ready = market.now() - row["start_date"] >= market.boot
    status = "available" if ready else "creating"
    return {**row, "status": status, "instances": users_of(market, row["id"])}


def volumes(ask: Ask) -> Row:
    """Return the user's volumes of a type."""
    kinds = ("all_volume", "local_volume", "network_volume")
    kind = ask.query.get("type", kinds[0])
    require(kind in kinds, f"type is one of {kinds}")
    rows = ask.market.stores["volumes"].all()
    found = [row for row in rows if kind in (kinds[0], row["type"])]
    rows = [volume_row(ask.market, row) for row in found]
    return {"success": True, "volumes": rows}


WISH_KEYS = {
    "mount_path": str, "create_new": bool, "volume_id": int, "size": int, "name": str,
}  # fmt: skip


def volume_wish(market: Market, machine: Machine | None, given: Any) -> Row | None:
    """Return the volume that an order asks for; Refused when it cannot be had."""
    if given is None or machine is None:
        return None
    require(is_a(given, dict), "volume_info must be an object")
    wish = check_body(given, WISH_KEYS, ["mount_path", "create_new", "volume_id"])
    require(wish["mount_path"].startswith("/"), "mount_path must start with /")
    if wish["create_new"]:
        fits = wish["volume_id"] == volume_offer_id(machine)
        require(fits, "that volume offer is on another machine")
        wish.setdefault("size", 15)
        check_volume(market, machine, wish["size"], wish.get("name"))
    else:
        require(not {"size", "name"} & wish.keys(), "a linked volume has its own size")
        check_place(market, machine, wish["volume_id"])
    return wish


def check_place(market: Market, machine: Machine, volume_id: int) -> None:
    """Refuse a volume that is not on the machine."""
    row = market.stores["volumes"].get(volume_id)
    here = row["machine_id"] == machine.hardware["machine_id"]
    require(here, f"volume {volume_id} is on another machine")


def granted_volume(market: Market, machine: Machine, wish: Row) -> Row:
    """Return how the instance's row shows a volume, which is made if need be."""
    volume_id = wish["volume_id"]
    if wish["create_new"]:
        made = add_volume(market, machine, wish["size"], wish.get("name"))
        volume_id = made["id"]
    return {"volume_id": volume_id, "mount_path": wish["mount_path"]}


def linked_volumes(market: Market, machine: Machine | None, env: Any) -> list[Row]:
    """Return the volumes that `-v V.9:/path` in an order's env names."""
    named = []
    for text in env if machine and is_a(env, dict) else ():
        found = re.fullmatch(r"-v V\.([0-9]+):(/\S*)", text)
        if found and machine:
            check_place(market, machine, int(found[1]))
            named.append({"volume_id": int(found[1]), "mount_path": found[2]})
    return named


# ---------------------------------------------------------------- 7 backups


def made_backups(now: float) -> list[Row]:
    """Return the backups of some instances that are long gone."""

    def row(contract: int, status: str, age: float | None, info: Any) -> Row:
        made = None if age is None else now - age * DAY
        about = {"contract_id": contract, "machine_id": 20047, "type": "scheduled"}
        return {**about, "status": status, "created_at": made, "info": info}

    odd = row(3412, "error", 2, "disk \x1b[31mfull\x1b[0m on höst\u202e")
    del odd["type"]
    return [
        row(3077, "success", 12.5, "2 files"),
        odd,
        row(3077, "pending", 0.02, None),
        row(3901, "success", None, "2 files"),
    ]


BACKUP_FILES = {"/workspace/model.safetensors": 4831838208, "/root/notes – ü.txt": 812}


def backups(ask: Ask) -> Row:
    """Return the backups, or those of one instance."""
    wanted = ask.query.get("contract_id")
    require(wanted is None or wanted.isdigit(), "contract_id must be a number")
    require(ask.query.keys() <= {"contract_id"}, "there is no such key")
    rows = ask.market.stores["instance_backups"].all()
    found = [row for row in rows if wanted in (None, str(row["contract_id"]))]
    return {"success": True, "backups": found}


def backup_token(backup_id: int) -> str:
    """Return the secret with which the files of a backup are fetched."""
    return hashlib.sha256(f"backup {backup_id}".encode()).hexdigest()


def backup_files(ask: Ask) -> Row:
    """Return where the files of a backup are, and the token to fetch them with."""
    row = ask.market.stores["instance_backups"].get(ask.id)
    ready = row["status"] == "success"
    require(ready, f"backup {ask.id} is not ready", 400, "backup_not_ready")
    where = f"{ask.market.url}/backup/{ask.id}"
    files = [
        {"name": name, "size": size, "url": f"{where}/{quote(name, safe='')}"}
        for name, size in BACKUP_FILES.items()
    ]
    token = {"authorization_token": backup_token(ask.id), "expires_in_sec": 3600}
    return {"success": True, **token, "truncated": False, "files": files}


def backup_file(ask: Ask) -> Reply:
    """Return a file of a backup to who has the token."""
    if ask.headers.get("authorization") != backup_token(ask.id):
        return error_reply(401, "bad_auth_token", "Invalid authorization token")
    if ask.words[1] not in BACKUP_FILES:
        return error_reply(404, "not_found", "there is no such file")
    return Reply(200, b"made up\n", "application/octet-stream")


# ---------------------------------------------------------------- 8 templates


def templates() -> Store:
    """Return the store of templates."""
    texts = (
        "name image tag href repo env onstart runtype jupyter_dir docker_login_repo"
        " docker_login_user docker_login_pass desc readme args_str"
    )
    flags = "ssh_direct jup_direct use_ssh use_jupyter_lab readme_visible private"
    fields: dict[str, type] = {
        **dict.fromkeys(texts.split(), str),
        **dict.fromkeys(flags.split(), bool),
        "extra_filters": dict, "recommended_disk_space": float, "volume_info": dict,
    }  # fmt: skip
    return Store(
        "template", fields, ["name", "image"], check=check_template, next_id=330001
    )


def check_template(given: Row) -> None:
    """Refuse a template that no instance can be made from."""
    require(given.get("name") != "", "Template name is required")
    require(given.get("image") != "", "Template image is required")
    kind = given.get("runtype", "args")
    require(kind in ("ssh", "jupyter", "args"), f"runtype cannot be {kind}")
    try:
        shlex.split(given.get("env", "") + " " + given.get("args_str", ""))
    except ValueError as error:
        raise Refused(f"env or args_str: {error}") from error


def content_hash(market_fields: Iterable[str], row: Row) -> str:
    """Return the hash of what a template says."""
    told = json.dumps([[name, row.get(name)] for name in market_fields])
    return hashlib.md5(told.encode(), usedforsecurity=False).hexdigest()


def save_template(store: Store, given: Row, **more: Any) -> Row:
    """Save a template with only what is given; return its row."""
    row = {**dict.fromkeys(store.fields), **given}
    return store.add({**row, "hash_id": content_hash(store.fields, row), **more})


def find_template(market: Market, named: Row) -> Row | None:
    """Return the template whose hash or id is named, None when there is none."""
    store = market.stores["templates"]
    for name, column in (("template_id", "id"), ("template_hash_id", "hash_id")):
        if named.get(name) is not None:
            return store.find(**{column: named[name]})
    return None


def template_fields(template: Row) -> Row:
    """Return what the row of an instance says of its template."""
    return {
        "template_id": template["id"],
        "template_hash_id": template["hash_id"],
        "template_name": template["name"],
    }


def env_object(text: str) -> Row:
    """Return docker flags such as `-e A=b -p 80:80` as the env of an order."""
    env, words = {}, iter(shlex.split(text))
    for flag in words:
        value = next(words, "")
        if flag == "-e":
            name, _, env_value = value.partition("=")
            env[name] = env_value
        else:
            env[f"{flag} {value}"] = "1"
    return env


def ordered_by(template: Row) -> Row:
    """Return the order to create an instance that a template stands for."""
    kind = template["runtype"] or "args"
    ways = f"{kind}_proxy ssh_proxy" if kind == "jupyter" else kind
    if kind != "args" and (template["ssh_direct"] or template["jup_direct"]):
        ways = "ssh_direct ssh_proxy"
        ways = f"jupyter_direct {ways}" if kind == "jupyter" else ways
    image, tag = template["image"], template["tag"]
    tagged = ":" in image.rpartition("/")[2]
    order = {
        "image": f"{image}:{tag}" if tag and not tagged else image,
        "disk": template["recommended_disk_space"],
        "env": env_object(template["env"] or ""),
        "onstart": template["onstart"], "runtype": ways,
        "args": shlex.split(template["args_str"] or "") if kind == "args" else None,
    }  # fmt: skip
    return {name: value for name, value in order.items() if value is not None}


def made_templates(now: float) -> list[Row]:
    """Return some public templates, and one of the user's own."""
    store = templates()
    usual = {"runtype": "ssh", "ssh_direct": True, "use_ssh": True, "private": False}
    made: tuple[tuple[int, Row], ...] = (
        (10, {
            **usual, "name": "Notebook (CUDA 12)", "image": "example/notebook",
            "tag": "cuda12", "runtype": "jupyter", "jup_direct": True,
            "use_jupyter_lab": True, "recommended_disk_space": 32.0,
            "desc": "JupyterLab with the usual packages", "readme": "# Notebook\n",
        }),
        (10, {
            **usual, "name": "Language models", "image": "example/serve:2.4",
            "env": "-p 8000:8000 -e 'MODEL=org/a model'", "runtype": "args",
            "args_str": "--port 8000", "recommended_disk_space": 100.0,
            "extra_filters": {"gpu_ram": {"gte": 24000}},
        }),
        (STRANGER, {
            **usual, "name": "\x1b]0;pwn\x07Тест 東京\u202e", "image": "stranger/x",
            "desc": "two\nlines", "href": "javascript:alert(1)",
        }),
        (STRANGER, {"name": "bare", "image": "debian"}),
        (USER["id"], {
            **usual, "name": "my training", "image": "lukasz/train", "tag": "v3",
            "env": "-e WANDB_MODE=offline -p 6006:6006", "onstart": "bash /start.sh\n",
            "private": True, "docker_login_repo": "docker.io",
            "docker_login_user": "lukasz", "docker_login_pass": "dckr_pat_MadeUp",
            "recommended_disk_space": 48.0, "readme": "", "readme_visible": False,
        }),
    )  # fmt: skip
    rows = []
    for index, (creator, given) in enumerate(made):
        about = template_origin(creator, now - (40 - index) * DAY)
        popular = {"count_created": 4100 // (index + 1), "recommended": creator == 10}
        rows.append(save_template(store, given, **{**about, **popular}))
    return rows


def template_origin(creator: int, when: float) -> Row:
    """Return what the service adds to a new template."""
    return {
        "creator_id": creator, "created_at": when, "recent_create_date": when,
        "count_created": 0, "recommended": False, "default_tag": None,
    }  # fmt: skip


# The fields that templates are searched by.
TEMPLATE_FILTERS: dict[str, type] = {
    **dict.fromkeys(["creator_id", "created_at", "count_created", "id"], float),
    **dict.fromkeys(["recent_create_date", "recommended_disk_space"], float),
    **dict.fromkeys(
        "default_tag docker_login_repo image hash_id name tag".split(), str
    ),
    **dict.fromkeys(["jup_direct", "private", "recommended"], bool),
    **dict.fromkeys(["ssh_direct", "use_ssh"], bool),
}


def visible(market: Market, row: Row) -> bool:
    """Tell whether the user sees a template."""
    return row["creator_id"] == market.user["id"] or not row["private"]


def search_templates(ask: Ask) -> Row:
    """Return the public templates and the user's own that pass the filters."""
    query = ask.query
    known = {"select_cols", "select_filters", "order_by"}
    require(query.keys() <= known, f"the query has other keys than {sorted(known)}")
    cols = parse_json(query.get("select_cols", '["*"]'), list, "select_cols")
    filters = parse_json(query.get("select_filters", "{}"), dict, "select_filters")
    keys = column_keys(query.get("order_by", "[]"), TEMPLATE_FILTERS)
    rows = [r for r in ask.market.stores["templates"].all() if visible(ask.market, r)]
    rows = ordered(filtered(rows, filters, TEMPLATE_FILTERS), keys)
    require(all(is_a(name, str) for name in cols), "select_cols holds text")
    if "*" not in cols:
        rows = [{name: row.get(name) for name in cols} for row in rows]
    return {"success": True, "templates_found": len(rows), "templates": rows}


def own_template(market: Market, **named: Any) -> Row:
    """Return the user's template with these values; Refused when there is none."""
    row = market.stores["templates"].find(**named, creator_id=market.user["id"])
    if row is None:
        raise Refused("Template not found", 404, "not_found")
    return row


def create_template(ask: Ask) -> Row:
    """Save a template, unless the user has an equal one."""
    market, store = ask.market, ask.market.stores["templates"]
    given = store.accepted(ask.body, store.required)
    same = content_hash(store.fields, given)
    row = store.find(hash_id=same, creator_id=market.user["id"])
    msg = "Existing template found. Template ID: {}"
    if row is None:
        given.setdefault("private", True)
        origin = template_origin(market.user["id"], market.now())
        row = save_template(store, given, **origin, hash_id=same)
        msg = "Template Created Successfully! New Template ID: {}"
    return {"success": True, "msg": msg.format(row["id"]), "template": row}


def update_template(ask: Ask) -> Row:
    """Replace a template: what is not sent is lost, and the hash is another one."""
    store, body = ask.market.stores["templates"], dict(ask.body)
    named = {"id": body.pop("id", None), "hash_id": body.pop("hash_id", None)}
    sound = is_a(named["id"], int) and is_a(named["hash_id"], str)
    require(sound, "id and hash_id are required")
    row = own_template(ask.market, **named)
    given = store.accepted(body, store.required)
    row |= {**dict.fromkeys(store.fields), **given}
    row["hash_id"] = content_hash(store.fields, row)
    return {"success": True, "template": row}


def delete_template(ask: Ask) -> Row:
    """Remove the user's link to a template, which is named in one of two ways."""
    given = check_body(ask.body, {"template_id": int, "hash_id": str})
    require(len(given) == 1, "template_id or hash_id is needed")
    name = "id" if "template_id" in given else "hash_id"
    row = own_template(ask.market, **{name: next(iter(given.values()))})
    ask.market.stores["templates"].delete(row["id"])
    return {"success": True, "msg": "Template deleted"}


@cache
def measured() -> list[Row]:
    """Return what machines have measured for templates, but for when."""
    dice, machines, rows = Random(SEED), made_machines(), []
    for index in range(230):
        machine = dice.choice(machines)
        speed = machine.gpu.dlperf * dice.uniform(0.8, 1.2) * machine.cards
        rows.append({
            "id": 500001 + index, "machine_id": machine.hardware["machine_id"],
            "gpu_name": machine.gpu.name, "num_gpus": machine.cards,
            "value": None if index == 7 else round(speed, 3),
            "dph_base": machine.terms["listed_gpu_cost"] * machine.cards,
            "type": dice.choice(["tokens/s", "images/s"]), "template_id": 330002,
            "template_hash": hashlib.md5(b"serve", usedforsecurity=False).hexdigest(),
            "contract_id": 3000 + index, "image": "example/serve:2.4",
            "launch_args": None,
        })  # fmt: skip
    return rows


def made_benchmarks(now: float) -> dict[Any, Row]:
    """Return what machines have measured in the last days, by id."""
    rows = enumerate(measured())
    return {row["id"]: {**row, "last_update": now - i * 3600} for i, row in rows}


def benchmarks(ask: Ask) -> Row:
    """Return a page of the benchmarks that pass the filters."""
    known = {"select_cols", "select_filters", "order_by", "limit", "after_token"}
    require(ask.query.keys() <= known, f"the query has other keys than {sorted(known)}")
    rows = ask.market.stores["benchmarks"].all()
    types = {
        name: kind for name, kind in field_types(rows[0]).items() if name in rows[0]
    }
    filters = parse_json(ask.query.get("select_filters", "{}"), dict, "select_filters")
    found, token = page(filtered(rows, filters, types), ask.query, 200)
    return {"success": True, "benchmarks": found, "next_token": token}


# ---------------------------------------------------------------- 9 keys and variables

PUBLIC_KEY = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,3}( [^\r\n]*)?")


def check_public_key(given: Row) -> None:
    """Refuse what is no public key, a private one above all."""
    sound = PUBLIC_KEY.fullmatch(given.get("key", "").strip())
    require(sound is not None, "No ssh key provided", *NO_KEY)


NO_KEY: Refusal = (400, "no_ssh_key")


def ssh_keys() -> Store:
    """Return the store of the account's SSH keys."""
    return Store(
        "SSH key", {"key": str}, ["key"], check=check_public_key, invalid=NO_KEY,
        missing=NO_KEY, next_id=211,
    )  # fmt: skip


def made_ssh_keys() -> list[Row]:
    """Return the keys that the user has to begin with."""
    about = {"user_id": USER["id"], "deleted_at": None}
    rsa = "ssh-rsa " + "AAAAB3NzaC1yc2EAAAADAQABAAABAQ" * 12 + " älter\x1b[1m@lab\u202e"
    return [
        {"key": USER["ssh_key"], "created_at": "2025-11-03T09:12:44.105Z", **about},
        {"key": rsa, "created_at": None, **about},
    ]


def key_answer(row: Row) -> Row:
    """Return the answer to who saved a key, where it has another name."""
    shown = {"public_key" if k == "key" else k: value for k, value in row.items()}
    return {"success": True, "key": shown}


def show_ssh_keys(ask: Ask) -> Any:
    """Return the account's keys; no key is an error."""
    rows = ask.market.stores["ssh_keys"].all()
    require(bool(rows), "No SSH keys found for the user.", 404, "not_found")
    return rows


def sent_key(ask: Ask, *more: str) -> str:
    """Return the key in a body, which may also hold `more`; Refused when it is none."""
    fields: dict[str, type] = {"ssh_key": str, **dict.fromkeys(more, int)}
    given = check_body(ask.body, fields, ["ssh_key"], NO_KEY)
    key = str(given["ssh_key"]).strip()
    check_public_key({"key": key})
    return key


def create_ssh_key(ask: Ask) -> Row:
    """Add a key to the account."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ask.market.now()))
    about = {"user_id": ask.market.user["id"], "created_at": now, "deleted_at": None}
    store = ask.market.stores["ssh_keys"]
    return key_answer(store.create({"key": sent_key(ask)}, **about))


def update_ssh_key(ask: Ask) -> Row:
    """Put another key in place of one; the body repeats the id."""
    key = sent_key(ask, "id")
    require(ask.body.get("id", ask.id) == ask.id, "id is not the one in the path")
    return key_answer(ask.market.stores["ssh_keys"].update(ask.id, {"key": key}))


def attached_to(ask: Ask) -> dict[int, str]:
    """Return the keys of the instance that the path names, by their ids."""
    rental = instance_of(ask)
    return renting(ask.market).attached.setdefault(rental.id, {})


def attach_ssh(ask: Ask) -> Row:
    """Add a key to an instance; it need not be one of the account's."""
    keys, key, store = attached_to(ask), sent_key(ask), ask.market.stores["ssh_keys"]
    if key in keys.values():
        msg = "SSH key already associated with instance."
        return {"success": False, "error": "already_associated", "msg": msg}
    known = store.find(key=key)
    if known is None:
        store.next_id += 1
    keys[known["id"] if known else store.next_id - 1] = key
    return {"success": True, "msg": "SSH key attached successfully"}


def detach_ssh(ask: Ask) -> Row:
    """Take a key from an instance."""
    keys, key_id = attached_to(ask), int(ask.words[1])
    check_body(ask.body, {})
    require(key_id in keys, "SSH key not found.", 404, "no_such_ssh_key")
    del keys[key_id]
    return {"success": True, "msg": "SSH key removed from instance."}


def instance_ssh_keys(ask: Ask) -> Row:
    """Return the keys of an instance, as JSON text."""
    rows = [
        {"id": key_id, "name": " ".join(key.split(" ")[2:]), "public_key": key}
        for key_id, key in attached_to(ask).items()
    ]
    return {"success": True, "ssh_keys": json.dumps(rows)}


def env_vars() -> Store:
    """Return the store of the account's variables, by their names."""
    return Store(
        "variable", {"key": str, "value": str}, ["key", "value"], unique="key",
        check=check_variable, most=64, id_key="key", invalid=(400, "missing_input"),
        missing=(400, "nonexistent_key"), taken=(400, "existing_key"),
        full=(400, "max_secrets"),
    )  # fmt: skip


def check_variable(given: Row) -> None:
    """Refuse a name or a value that no variable has."""
    for name, most in (("key", 255), ("value", 4096)):
        text = given.get(name, "x")
        require(text != "", f"{name} is empty", 400, "empty_input")
        require(len(text) <= most, f"{name} is too long", 400, "input_too_long")
    sound = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", given["key"])
    sound = sound and re.fullmatch("[A-Za-z0-9_.-]+", given.get("value", "x"))
    require(bool(sound), "Invalid characters in input.", 400, "invalid_characters")


def show_env_vars(ask: Ask) -> Row:
    """Return the variables, masked or not."""
    masked, rows = renting(ask.market).masked, ask.market.stores["env_vars"].all()
    secrets = {row["key"]: "*****" if masked else row["value"] for row in rows}
    return {"success": True, "secrets": secrets}


def named_variable(ask: Ask, *required: str) -> Row:
    """Return the body of a call about a variable, with its name in capitals."""
    store = ask.market.stores["env_vars"]
    fields: dict[str, type] = dict.fromkeys(required, str)
    given = check_body(ask.body, fields, required, store.invalid)
    check_variable(given)
    return {**given, "key": given["key"].upper()}


def create_env_var(ask: Ask) -> Row:
    """Add a variable."""
    ask.market.stores["env_vars"].create(named_variable(ask, "key", "value"))
    return {"success": True, "msg": "Environment variable added successfully"}


def update_env_var(ask: Ask) -> Row:
    """Change the value of a variable."""
    given = named_variable(ask, "key", "value")
    ask.market.stores["env_vars"].update(given["key"], given)
    return {"success": True, "msg": "Environment variable updated successfully"}


def delete_env_var(ask: Ask) -> Row:
    """Remove a variable."""
    ask.market.stores["env_vars"].delete(named_variable(ask, "key")["key"])
    return {"success": True, "msg": "Environment variable deleted successfully"}


# ---------------------------------------------------------------- 10 price increases


def price_increases() -> Store:
    """Return the store of the price increases that wait for an answer."""
    missing: Refusal = (404, "no_pending_price_increase")
    key = "pending_price_increase_id"
    return Store("price increase", {}, missing=missing, id_key=key, next_id=9001)


def show_price_increases(ask: Ask) -> Row:
    """Return the price increases for the user's instances."""
    rows = ask.market.stores["price_increases"].all()
    rows = [row for row in rows if row["contract_id"] in ask.market.rentals]
    told = {"success": True, "count": len(rows), "truncated": False}
    return {**told, "pending_price_increases": rows}


def answered_increase(ask: Ask) -> Row:
    """Take a price increase off the list; return its row."""
    given = ask.body.get("pending_price_increase_id")
    exact = ask.body.keys() == {"pending_price_increase_id"} and is_a(given, int)
    require(exact, "the body must hold pending_price_increase_id and nothing else")
    row = ask.market.stores["price_increases"].get(given)
    ask.market.own_rental(row["contract_id"], "no_pending_price_increase")
    return ask.market.stores["price_increases"].delete(given)


def increase_answer(row: Row) -> Row:
    """Return the answer to who accepted or rejected an increase."""
    ids = ("pending_price_increase_id", "contract_id")
    return {"success": True, **{name: row[name] for name in ids}}


def accept_price_increase(ask: Ask) -> Row:
    """Let an instance live on at the new price when its contract ends."""
    row = answered_increase(ask)
    ask.market.rentals[row["contract_id"]].row["end_date"] = row["ask_end_date"]
    return increase_answer(row)


def reject_price_increase(ask: Ask) -> Row:
    """Leave an instance to end with its contract."""
    return increase_answer(answered_increase(ask))


# ---------------------------------------------------------------- 11 the table of calls


def gpu_names(ask: Ask) -> Row:
    """Return the names of all cards, to anybody."""
    return {"gpu_names": sorted(gpu.name for gpu in GPUS)}


COMMANDS = V0 + "/commands"
JOBS, TEMPLATES = COMMANDS + "/schedule_job/", V0 + "/template/"
SSH, SECRETS, BACKUPS = V0 + "/ssh/", V0 + "/secrets/", V0 + "/instance_backups/"
INCREASES = "price-increase/"
CALLS: dict[str, Call] = {
    # In place of the call of the same name in market.py.
    "create": base.CALLS["create"]._replace(work=create),
    "reboot": Call(PUT, INSTANCES + "/reboot/{id}/", reboot, "success", 1.0),
    "recycle": Call(PUT, INSTANCES + "/recycle/{id}/", recycle, "success", 1.0),
    "update_instance": Call(
        PUT, INSTANCES + "/update_template/{id}/", update_instance, "success"
    ),
    "prepay": Call(PUT, INSTANCES + "/prepay/{id}/", prepay, "success", 2.0),
    "request_logs": Call(
        PUT, INSTANCES + "/request_logs/{id}/", request_logs, "result_url"
    ),
    "execute": Call(PUT, INSTANCES + "/command/{id}/", execute, "result_url", 1.5),
    "result_file": Call(GET, "/result/{name}.log", result_file, "", access=BARE),
    "take_snapshot": Call(
        POST, INSTANCES + "/take_snapshot/{id}/", take_snapshot, "success"
    ),
    "copy": Call(PUT, COMMANDS + "/copy_direct/", copy, "success", 3.5),
    "rsync": Call(PUT, COMMANDS + "/rsync/", rsync, "success", 3.5),
    "cancel_copy": Call(
        DELETE, COMMANDS + "/copy_direct/", cancel_copy, "success", 3.5
    ),
    "cloud_copy": Call(POST, COMMANDS + "/rclone/", cloud_copy, "success"),
    "cancel_sync": Call(DELETE, COMMANDS + "/rclone/", cancel_sync, "success"),
    "connections": Call(
        GET, V0 + "/users/cloud_integrations/", lists("connections"), "", 2.9
    ),
    "schedule_job": Call(POST, JOBS, schedule_job, "success"),
    "update_scheduled_job": Call(PUT, JOBS + "{id}/", update_job, "success"),
    "scheduled_jobs": Call(GET, JOBS, lists("scheduled_jobs"), ""),
    "delete_scheduled_job": Call(
        DELETE, JOBS + "{id}/", deletes("scheduled_jobs"), "success"
    ),
    "search_volumes": Call(
        POST, V0 + "/volumes/search/", search_volumes, "offers", 5.5
    ),
    "create_volume": Call(PUT, V0 + "/volumes/", create_volume, "volume_name", 5.5),
    "delete_volume": Call(DELETE, V0 + "/volumes/", delete_volume, "success", 5.5),
    "clone_volume": Call(POST, V0 + "/volumes/copy/", clone_volume, "volume_name"),
    "volumes": Call(GET, V0 + "/volumes", volumes, "volumes", 5.5, owned=True),
    "instance_backups": Call(GET, BACKUPS, backups, "backups"),
    "backup_files": Call(GET, BACKUPS + "{id}/download/", backup_files, "files"),
    "backup_file": Call(GET, "/backup/{id}/{name}", backup_file, "", access=TOKEN),
    "templates": Call(GET, TEMPLATES, search_templates, "templates", 3.0),
    "create_template": Call(POST, TEMPLATES, create_template, "template"),
    "update_template": Call(PUT, V1 + "/template/", update_template, "template"),
    "delete_template": Call(DELETE, TEMPLATES, delete_template, "success"),
    "benchmarks": Call(GET, V0 + "/benchmarks", benchmarks, "benchmarks", 3.0),
    "ssh_keys": Call(GET, SSH, show_ssh_keys, ""),
    "create_ssh_key": Call(POST, SSH, create_ssh_key, "key", 1.0),
    "update_ssh_key": Call(PUT, SSH + "{id}/", update_ssh_key, "key", 1.0),
    "delete_ssh_key": Call(DELETE, SSH + "{id}/", deletes("ssh_keys"), "success"),
    "attach_ssh": Call(POST, INSTANCES + "/{id}/ssh/", attach_ssh, "success"),
    "detach_ssh": Call(
        DELETE, INSTANCES + "/{id}/ssh/{key_id}/", detach_ssh, "success", 2.0
    ),
    "instance_ssh_keys": Call(
        GET, INSTANCES + "/{id}/ssh/", instance_ssh_keys, "ssh_keys"
    ),
    "env_vars": Call(GET, SECRETS, show_env_vars, "secrets", 5.0),
    "create_env_var": Call(POST, SECRETS, create_env_var, "success", 3.0),
    "update_env_var": Call(PUT, SECRETS, update_env_var, "success", 3.0),
    "delete_env_var": Call(DELETE, SECRETS, delete_env_var, "success", 3.0),
    "price_increases": Call(
        GET,
        INSTANCES + "/pending-price-increases/",
        show_price_increases,
        "pending_price_increases",
    ),
    "accept_price_increase": Call(
        PUT, INSTANCES + "/accept-price-increase/", accept_price_increase, "success"
    ),
    "reject_price_increase": Call(
        PUT, INSTANCES + "/reject-price-increase/", reject_price_increase, "success"
    ),
    "gpu_names": Call(
        GET, V0 + "/gpu_names/unique/", gpu_names, "gpu_names", access=OPEN
    ),
}
