#!/bin/sh
""":"
# A shell runs the next command; to Python it is a part of this text. Python keeps the
# bytecode of modules, not of scripts: loaded as one, under whatever name and by way of
# whatever link, this starts in half the time. The bytecode lies in __pycache__ beside
# this file, or in the user's cache where Python may not write there. `python3 vast.py`
# works as well.
exec python3 -c "import os, sys; del sys.argv[0]
__file__ = os.path.realpath(sys.argv[0]); sys.path[0] = os.path.dirname(__file__)
from importlib.machinery import SourceFileLoader
before = sys.dont_write_bytecode, sys.pycache_prefix
place = sys.pycache_prefix or sys.path[0]
if sys.dont_write_bytecode or not os.access(place, os.W_OK):
    cache = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    sys.dont_write_bytecode, sys.pycache_prefix = False, os.path.join(cache, 'vast.py')
code = SourceFileLoader(__name__, __file__).get_code(__name__)
sys.dont_write_bytecode, sys.pycache_prefix = before
exec(code)" "$0" "$@"

vast.py: rent GPUs on Vast.ai, and rent yours out, from the command line.

The file, from top to bottom; a section names only what stands above it:

    1  errors and exit statuses
    2  fields and columns       offer fields and table columns, as data
    3  query grammar            text -> the body of a search
    4  rendering                rows -> table text, values -> JSON text
    5  settings                 typed arguments, dates, the API key and its file
    6  client                   one request -> decoded JSON or an error
    7  invoices                 rows -> lines, sums, pages, PDF
    8  commands                 the table of commands and what they do
    9  command line             words -> a command, results -> the terminal

Exit statuses:

    0    done; an empty list is done
    1    the service refused, or there is no such object, or it is not ready
    2    the command line or the query is wrong; nothing was sent
    3    waited in vain (--wait), or the person said no
    4    no API key, or one that the service does not accept
    5    the service could not be reached: trying again is safe
    6    outcome unknown: a change was sent and no answer came; look first
    130  Ctrl-C
"""

# /// script
# requires-python = ">=3.10"
# dependencies = [
#     "requests>=2.31,<3",
#     "python-dateutil>=2.8.2,<5",
#     "borb>=3.0.9,<4",
# ]
# ///

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from enum import IntEnum
from functools import cache

# What is known to mypy under this name is False at run time: `typing` alone would
# make every start a quarter slower (9 of 40 ms).
TYPE_CHECKING = False
if TYPE_CHECKING:  # pragma: no cover - only mypy reads it
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal
    from typing import Any, NoReturn, TextIO

    from requests import PreparedRequest, Response
    from requests import Session as HttpSession

    Row = dict[str, Any]

__version__ = "1.0.0"

# The archive for bare hosts carries the packages in lib/, beside this file.
LIB = os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib")
sys.path += [LIB] * os.path.isdir(LIB)


# --- 1 -- errors and exit statuses ---------------------------------------------------


class ExitStatus(IntEnum):
    """How a command ended; the docstring at the top says when."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    NOT_DONE = 3
    NO_KEY = 4
    UNREACHABLE = 5
    UNKNOWN = 6
    INTERRUPTED = 130


class VastError(Exception):
    """The service refused; its kinds are whatever else ends a command with one line.

    `slug` names the kind for `--raw`, `http` is the status of the answer if one came.
    """

    status = ExitStatus.REFUSED
    slug = "refused"

    def __init__(self, msg: str, slug: str = "", http: int | None = None) -> None:
        super().__init__(msg)
        self.slug = slug or self.slug
        self.http = http

    def as_json(self) -> Row:
        """What `--raw` says of it: {"error": slug, "msg": text, "status": int|None}."""
        return {"error": self.slug, "msg": str(self), "status": self.http}


class UsageError(VastError):
    """The command line or the query is wrong; nothing was sent."""

    status = ExitStatus.USAGE
    slug = "usage"


class QueryError(UsageError):
    """A query is wrong between two positions of its text; `caret` shows the place."""

    slug = "query"

    def __init__(self, msg: str, query: str, start: int, end: int) -> None:
        super().__init__(msg)
        self.query, self.start, self.end = query, start, end


class NotDone(VastError):
    """Waited in vain, or the person said no."""

    status = ExitStatus.NOT_DONE
    slug = "not_done"


class NoKey(VastError):
    """No API key, or one that the service does not accept."""

    status = ExitStatus.NO_KEY
    slug = "auth_error"


class Unreachable(VastError):
    """No answer to be had; nothing was changed, so trying again is safe."""

    status = ExitStatus.UNREACHABLE
    slug = "unreachable"


class OutcomeUnknown(VastError):
    """A change was sent, and whether it was carried out is not known."""

    status = ExitStatus.UNKNOWN
    slug = "outcome_unknown"


class Interrupted(VastError):
    """Ctrl-C."""

    status = ExitStatus.INTERRUPTED
    slug = "interrupted"


# Of several ids the first of these that occurred counts.
GRAVEST = (
    ExitStatus.INTERRUPTED,
    ExitStatus.UNKNOWN,
    ExitStatus.UNREACHABLE,
    ExitStatus.NO_KEY,
    ExitStatus.NOT_DONE,
    ExitStatus.USAGE,
    ExitStatus.REFUSED,
    ExitStatus.DONE,
)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """ "; did you mean 'x'?" for the nearest of the known words, or nothing."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


# --- 2 -- fields and columns ---------------------------------------------------------


# What offers can be searched by: the name people type (= the service's own where that
# differs), kind, unit (* the factor to the service's unit), meaning.
# Source: the vendor's description of the search and of its rows.
FIELD_TABLE = """\
bw_nvlink                       float   GB/s       bandwidth of NVLink
cluster_id                      int     -          id of the machine's cluster
compute_cap                     int     -          CUDA capability times 100: 750 is 7.5
cpu_arch                        text    -          amd64 or arm64
cpu_cores                       int     -          virtual CPUs of the machine
cpu_cores_effective             float   -          virtual CPUs that you get
cpu_ghz                         float   GHz        clock of the CPU
cpu_ram                         float   GB*1000    main memory
cuda_vers=cuda_max_good         float   -          highest CUDA version
datacenter                      bool    -          stands in a data centre
direct_port_count               int     -          open ports of the machine
disk_bw                         float   MB/s       bandwidth of the disk
disk_space                      float   GB         disk that can be rented
display_active=gpu_display_active bool    -          a display is attached
dlperf                          float   -          score for deep learning
dlperf_usd=dlperf_per_dphtotal  float   per_$/h    that score per price
dph=dph_total                   float   $/h        price of the whole offer
driver_version                  version -          NVIDIA driver, such as 535.86.05
duration                        float   days*86400 how long it can be rented
external                        bool    -          of other markets (default: false)
flops_usd=flops_per_dphtotal    float   TFLOPS/$/h speed per price
geolocation                     text    -          country, two letters
gpu_arch                        text    -          nvidia or amd
gpu_frac                        float   0..1       share of the machine's GPUs
gpu_max_power                   float   W          power limit of a GPU
gpu_max_temp                    float   °C         temperature limit of a GPU
gpu_mem_bw                      float   GB/s       bandwidth of the GPU's memory
gpu_name                        text    -          model, such as RTX_4090 or H100_SXM
gpu_ram                         float   GB*1000    memory of one GPU
gpu_total_ram                   float   GB*1000    of all GPUs
has_avx                         bool    -          the CPU has AVX
host_id                         int     -          id of the host
hosting_type                    int     -          0 a private host, 1 a data centre
id                              int     -          id of the offer
inet_down                       float   Mbit/s     download speed
inet_down_cost                  float   $/GB       price of downloads
inet_up                         float   Mbit/s     upload speed
inet_up_cost                    float   $/GB       price of uploads
machine_id                      int     -          id of the machine
min_bid                         float   $/h        least bid when interruptible
mobo_name                       text    -          model of the mainboard
num_gpus                        int     -          how many GPUs
os_version                      float   -          version of the machine's system
pci_gen                         float   -          generation of PCI Express
pcie_bw                         float   GB/s       bandwidth between CPU and GPU
reliability                     float   0..1       share of time that it was up
rentable                        bool    -          can be rented now (default: true)
rented                          bool    -          you rent on this machine already
static_ip                       bool    -          its address stays the same
storage_cost                    float   $/GB/month price of the disk
total_flops                     float   TFLOPS     speed of all GPUs
ubuntu_version                  float   -          version of Ubuntu
verification                    text    -          verified, unverified or deverified
verified                        bool    -          checked by Vast.ai (default: true)
vms_enabled                     bool    -          offers virtual machines
"""
# The most that a machine can have, in that unit: more of it was meant in MB.
MOST = {"cpu_ram": 16000, "gpu_ram": 1000, "gpu_total_ram": 16000}

# The comparisons that a field can be in, by its kind.
EQUALITY, MEMBERSHIP = ("eq", "neq"), ("in", "notin")
ORDERED = (*EQUALITY, *MEMBERSHIP, "gt", "gte", "lt", "lte")
OPERATORS_OF = {
    "bool": EQUALITY,
    "text": (*EQUALITY, *MEMBERSHIP),
    "int": ORDERED,
    "float": ORDERED,
    "version": ORDERED,
}


class Field:
    """A field of FIELD_TABLE: people type `name` in `unit`; the service gets `wire`,
    the number times `factor`."""

    def __init__(self, line: str) -> None:
        names, self.kind, unit, self.help = line.split(None, 3)
        self.name, _, wire = names.partition("=")
        self.wire = wire or self.name
        unit, _, factor = unit.partition("*")
        self.unit, self.factor = unit.strip("-"), int(factor or 1)


@cache
def fields() -> dict[str, Field]:
    """The fields by each name that people may type, the service's included."""
    table = [Field(line) for line in FIELD_TABLE.splitlines()]
    known = {field.wire: field for field in table}
    known |= {field.name: field for field in table}
    return known | {"reliability2": known["reliability"]}


# Numbers and texts of an offer that can be sorted by, though not searched by.
ROW_FIELDS = """score dph_base dph_total_adj discounted_dph_total discount_rate
    credit_discount_max disk_name cpu_name driver_vers start_date end_date gpu_lanes
    geolocode storage_total_cost vram_costperhour internet_up_cost_per_tb
    internet_down_cost_per_tb avail_vol_size avail_vol_dph reliability_mult""".split()

# What is searched for unless the query speaks of the same field.
DEFAULT_FILTERS: dict[str, dict[str, Any]] = {
    "verified": {"eq": True},
    "external": {"eq": False},
    "rentable": {"eq": True},
}


# The columns of the tables: heading, field (if that is null, the one behind the |; or a
# name in COMPUTED), format of its number or - for text, unit to show it in.
OFFER_COLUMNS = """\
ID         id                       %d
CUDA       cuda_max_good            %.1f
N          num_gpus                 %dx
Model      gpu_name                 -
PCIE       pcie_bw                  %.1f
cpu_ghz    cpu_ghz                  %.1f
vCPUs      cpu_cores_effective      %.1f
RAM        cpu_ram                  %.1f  GB
VRAM       VRAM                     %.1f  GB
Disk       disk_space               %.0f
$/hr       dph_total                %.4f
DLP        dlperf                   %.1f
DLP/$      dlperf_per_dphtotal      %.1f
score      score                    %.1f
NV_Driver  driver_version           -
Net_up     inet_up                  %.1f
Net_down   inet_down                %.1f
R          reliability2|reliability %.1f  percent
Max_Days   duration                 %.1f  days
mach_id    machine_id               %d
status     verification             -
host_id    host_id                  %d
ports      direct_port_count        %d
country    geolocation              -
"""
INSTANCE_COLUMNS = """\
ID         id                       %d
Machine    machine_id               %d
Status     actual_status            -
N          num_gpus                 %dx
Model      gpu_name                 -
Util%      gpu_util                 %.1f
vCPUs      cpu_cores_effective      %.1f
RAM        cpu_ram                  %.1f  GB
Disk       disk_space               %.0f
SSH_Addr   SSH_Addr                 -
SSH_Port   SSH_Port                 %d
$/hr       dph_total                %.4f
Image      image_uuid               -
Net_up     inet_up                  %.1f
Net_down   inet_down                %.1f
R          reliability2|reliability %.1f  percent
Label      label                    -
Age_h      Age_h                    %.1f  hours
Up_min     uptime_mins              %.0f
"""
MACHINE_COLUMNS = """\
ID         id                       %d
N          num_gpus                 %dx
Model      gpu_name                 -
Disk       disk_space               %.0f
hostname   hostname                 -
driver     driver_version           -
R          reliability2|reliability %.1f  percent
status     verification             -
IP         public_ipaddr            -
listed     listed                   -
gpu_$/h    listed_gpu_cost          %.4f
bid_$/h    min_bid_price            %.4f
up_$/GB    listed_inet_up_cost      %.4f
down_$/GB  listed_inet_down_cost    %.4f
occup      gpu_occupancy            -
reports    num_reports              %d
country    geolocation              -
"""


class Column:
    """A column of a table, read from its line: `value * scale` in `format`."""

    def __init__(self, line: str) -> None:
        self.heading, self.source, self.format, *unit = line.split()
        self.format = self.format.strip("-")
        self.scale = SCALES[unit[0]] if unit else 1

    def names(self) -> list[str]:
        """What `--cols` may call it."""
        return [self.heading, self.source.split("|")[0]]

    def values(self, rows: Sequence[Row], now: float) -> list[Any]:
        """The column's value in each of the rows; `now` is what an age counts to."""
        if self.source in COMPUTED:
            return [COMPUTED[self.source](row, now) for row in rows]
        name, *others = self.source.split("|")
        values = [row.get(name) for row in rows]
        for other in others:
            values = [
                row.get(other) if value is None else value
                for row, value in zip(rows, values)
            ]
        return values


def columns(table: str) -> list[Column]:
    """The columns that the lines of a table describe."""
    return [Column(line) for line in table.splitlines()]


def video_memory(row: Row) -> object:
    """MB of all GPUs of an offer."""
    total, one, gpus = (row.get(k) for k in ("gpu_total_ram", "gpu_ram", "num_gpus"))
    if total is None and isinstance(one, (int, float)) and isinstance(gpus, int):
        return one * gpus
    return total


HOST = r"[A-Za-z0-9][A-Za-z0-9.-]*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*"


def as_address(host: object, port: object) -> tuple[str, int] | None:
    """A host and a port that can stand in a URL, or None: both are strangers' words."""
    name, digits = str(host or "").strip(), str(port)
    if re.fullmatch(HOST, name) and re.fullmatch("[0-9]{1,5}", digits):
        return (name, int(digits)) if 0 < int(digits) < 65536 else None
    return None


def direct_address(row: Row) -> tuple[str, int] | None:
    """The machine's own address of an instance's port 22."""
    ports = row.get("ports")
    entries = ports.get("22/tcp") if isinstance(ports, dict) else None
    if not isinstance(entries, list):
        return None
    usable = [entry for entry in entries if isinstance(entry, dict)]
    usable.sort(key=lambda entry: ":" in str(entry.get("HostIp")))  # IPv4 first
    host = row.get("public_ipaddr")
    found = (as_address(host, entry.get("HostPort")) for entry in usable)
    return next((address for address in found if address), None)


def ssh_address(row: Row) -> tuple[str, int, bool] | None:
    """Where ssh reaches an instance: host, port, whether directly; None: nowhere yet.

    Source: the vendor's client, which adds one to the proxy's port for Jupyter.
    """
    direct = direct_address(row)
    if direct:
        return (*direct, True)
    proxy = as_address(row.get("ssh_host"), row.get("ssh_port"))
    if proxy and "jupyter" in str(row.get("image_runtype")):
        proxy = as_address(proxy[0], proxy[1] + 1)
    return (*proxy, False) if proxy else None


def age(row: Row, now: float) -> object:
    """Seconds since an instance started; what else stands there, unchanged."""
    date = row.get("start_date")
    return now - date if isinstance(date, (int, float)) else date


SCALES = {"GB": 1 / 1000, "days": 1 / 86400, "hours": 1 / 3600, "percent": 100.0}
COMPUTED: dict[str, Callable[[Row, float], object]] = {
    "VRAM": lambda row, now: video_memory(row),
    "SSH_Addr": lambda row, now: (ssh_address(row) or [None])[0],
    "SSH_Port": lambda row, now: (ssh_address(row) or [None, None])[1],
    "Age_h": age,
}


# --- 3 -- query grammar --------------------------------------------------------------

WORD_OPERATORS = {
    name: name for name in ("eq", "neq", "gt", "gte", "lt", "lte", "in", "notin")
} | {"nin": "notin"}
OPERATORS = WORD_OPERATORS | {
    "=": "eq", "==": "eq", "!=": "neq",
    ">": "gt", ">=": "gte", "<": "lt", "<=": "lte",
}  # fmt: skip

TOKEN = r"""(?x)(?P<blank> (?: [\s,] | \\+ (?: n? (?=\s|$) ) )+ )
      | (?P<quoted> "[^"]*" | '[^']*' )
      | (?P<list> \[ (?: "[^"]*" | '[^']*' | [^\]"'] )* \] )
      | (?P<operator> [<>=!]+ | not\s+in (?=[\s\[]) )
      | (?P<word> [^\s,<>=!\[\]"'\\]+ )
      | (?P<unclosed> ["'\[] )
      | (?P<stray> . )"""
ELEMENT = r"""\s*("[^"]*"|'[^']*'|(?:[^,]*[^,\s])?)\s*(?:,|$)"""
NUMBER = r"(?ai)[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
SORT_KEY = r"(?P<name>\w+)(?:\s*(?P<sign>[+-])|\s+(?P<word>asc|desc))?"
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class Token:
    """A piece of a query and where it stands in it."""

    __slots__ = ("kind", "text", "start", "end")

    def __init__(self, kind: str, text: str, start: int, end: int) -> None:
        self.kind, self.text, self.start, self.end = kind, text, start, end


class Query:
    """The parse of one query text; `parse_query` is the way in."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self.cut()
        self.filters: dict[str, dict[str, Any]] = {}
        self.cleared: set[str] = set()
        self.notes: list[str] = []

    def error(self, msg: str, first: Token, last: Token | None = None) -> QueryError:
        """A QueryError about the tokens from `first` to `last`."""
        return QueryError(msg, self.text, first.start, (last or first).end)

    def cut(self) -> list[Token]:
        """The text as tokens, without the blanks."""
        tokens = []
        for match in re.finditer(TOKEN, self.text):
            token = Token(match.lastgroup or "", match[0], *match.span())
            if token.kind == "unclosed":
                token.end = len(self.text)
                what = "bracket" if token.text == "[" else "quote"
                raise self.error(f"this {what} is never closed", token)
            if token.kind == "stray":
                raise self.error(f"'{token.text}' does not belong here", token)
            if token.kind != "blank":
                tokens.append(token)
        return tokens

    def operator_at(self, index: int) -> bool:
        """Whether the token at `index` is an operator, as a sign or as a word."""
        if index >= len(self.tokens):
            return False
        token = self.tokens[index]
        return token.kind == "operator" or token.text in WORD_OPERATORS

    def comparison_at(self, index: int) -> bool:
        """Whether a comparison starts at `index`, so that a value ends before it.

        Model names have words such as `GT` in them, so a word counts as an operator
        only behind a known field or before a list.
        """
        token = self.tokens[index]
        if not re.match("[A-Za-z_(]", token.text) or not self.operator_at(index + 1):
            return False
        after = self.tokens[index + 2 : index + 3]
        return (
            self.tokens[index + 1].kind == "operator"
            or token.text in fields()
            or bool(after and after[0].kind == "list")
        )

    def parse(self) -> None:
        """Reads all the comparisons into `filters`, `cleared` and `notes`."""
        index = 0
        while index < len(self.tokens):
            name, end = self.tokens[index], index + 3
            field = self.field(name)
            operator = self.operator(field, index)
            if end > len(self.tokens) or self.comparison_at(index + 2):
                raise self.error(f"'{field.name}' has no value", name, operator)
            first = self.tokens[index + 2]
            if first.kind == "word":
                while (
                    end < len(self.tokens)
                    and self.tokens[end].kind == "word"
                    and self.tokens[end].text not in fields()
                    and not self.comparison_at(end)
                ):
                    end += 1
            self.compare(field, operator, self.tokens[index + 2 : end])
            index = end

    def field(self, token: Token) -> Field:
        """The field that a token names."""
        if token.kind != "word":
            raise self.error("here a comparison such as num_gpus>=4 must start", token)
        field = fields().get(token.text.replace("-", "_"))
        if field:
            return field
        name = re.match(r"\w*", token.text)
        if name and fields().get(name[0]) and name[0] != token.text:
            hint = f"{name[0]}={token.text[name.end() + 1 :] or 'VALUE'}"
            raise self.error(f"'{token.text}' has no operator; write {hint}", token)
        hint = did_you_mean(token.text.lower(), fields())
        raise self.error(f"unknown field '{token.text}'{hint}", token)

    def operator(self, field: Field, index: int) -> Token:
        """The operator behind the field at `index`, if the field's kind takes it."""
        name = self.tokens[index]
        if not self.operator_at(index + 1):
            raise self.error(
                f"'{name.text}' has no operator; if it had < or >, put quotes around"
                " the query: the shell takes them for a redirection",
                name,
            )
        token = self.tokens[index + 1]
        operator = OPERATORS.get(re.sub(r"\s", "", token.text))
        if not operator:
            turned = token.text[::-1]
            hint = f"; did you mean '{turned}'?" if turned in OPERATORS else ""
            raise self.error(f"unknown operator '{token.text}'{hint}", token)
        if operator not in OPERATORS_OF[field.kind]:
            signs = [sign for sign, op in OPERATORS.items() if not sign.isalpha()
                     and op in OPERATORS_OF[field.kind]]  # fmt: skip
            more = " in notin" if "in" in OPERATORS_OF[field.kind] else ""
            raise self.error(
                f"'{field.name}' is a {field.kind} field, which takes "
                f"{' '.join(signs)}{more}",
                token,
            )
        return Token(operator, token.text, token.start, token.end)

    def compare(self, field: Field, operator: Token, values: list[Token]) -> None:
        """Adds one comparison."""
        first, last = values[0], values[-1]
        text = self.text[first.start : last.end]
        words = " ".join(token.text for token in values)
        if first.kind == "word" and words.lower() == "any":
            if operator.kind != "eq":
                raise self.error("'any' goes only with =", operator, last)
            self.filters.pop(field.wire, None)
            self.cleared.add(field.wire)
            return
        if first.kind == "operator":
            raise self.error(f"'{text}' is no value", first)
        if len(values) > 1 and field.kind != "text":
            raise self.error(
                f"'{field.name}' takes one value; here a comparison must start",
                values[1],
                last,
            )
        value = self.value(
            field, operator, Token(first.kind, words, first.start, last.end)
        )
        self.add(field, operator, value, last)

    def add(self, field: Field, operator: Token, value: object, last: Token) -> None:
        """Keeps a comparison, unless another with the same operator says otherwise."""
        said = self.filters.setdefault(field.wire, {})
        if said.get(operator.kind, value) != value:
            hint = {"eq": "; use in [A,B]", "neq": "; use notin [A,B]"}
            raise self.error(
                f"'{field.name} {operator.text}' is said twice"
                + hint.get(operator.kind, ""),
                operator,
                last,
            )
        said[operator.kind] = value

    def value(self, field: Field, operator: Token, token: Token) -> object:
        """The value that a token stands for, as the service takes it."""
        if operator.kind in MEMBERSHIP:
            if token.kind != "list":
                raise self.error(
                    f"'{operator.text}' takes a list, such as [{token.text}]", token
                )
            return self.elements(field, token)
        if token.kind == "list":
            raise self.error("a list goes with in or notin", operator, token)
        if token.kind == "word" and token.text.lower() in ("none", "null"):
            if operator.kind not in EQUALITY:
                raise self.error(f"'{token.text}' goes only with = and !=", token)
            return None
        return self.scalar(field, token)

    def elements(self, field: Field, token: Token) -> list[object]:
        """The elements of a list, converted one by one."""
        start, inner = token.start + 1, token.text[1:-1]
        if not inner.strip():
            raise self.error("the list is empty", token)
        values = []
        for match in re.finditer(ELEMENT, inner):
            if match.start() == len(inner) and not inner.endswith(","):
                break
            kind = "quoted" if re.fullmatch("\"[^\"]*\"|'[^']*'", match[1]) else "word"
            element = Token(kind, match[1], *(start + at for at in match.span(1)))
            if kind == "word" and re.search("[\"'\\[]", match[1]):
                raise self.error("put the whole element in quotes, or none", element)
            values.append(self.scalar(field, element))
        return values

    def scalar(self, field: Field, token: Token) -> object:
        """A single value of the field's kind."""
        text = token.text[1:-1] if token.kind == "quoted" else token.text
        if field.kind == "text" and (token.kind == "word" or field.name == "gpu_name"):
            text = text.replace("_", " ").strip()
        if not text.strip():
            token.end = max(token.end, token.start + 1)
            raise self.error(f"this value of '{field.name}' is empty", token)
        if field.kind == "text":
            return text
        value = CONVERT[field.kind](text.strip())
        if value is None or abs(value * field.factor) == float("inf"):
            raise self.error(
                f"'{field.name}' is compared with {VALUES[field.kind]}, not '{text}'",
                token,
            )
        if field.kind in ("bool", "version"):
            return value
        if value > MOST.get(field.name, value):
            self.notes.append(
                f"{field.name} is in {field.unit}: no machine has {text} {field.unit}"
                f" (did you mean {value / 1000:g}?)"
            )
        return round(value * field.factor) if field.factor > 1 else value


def as_int(text: str) -> int | None:
    """A whole number, or None."""
    return int(text) if re.fullmatch("[+-]?[0-9]{1,18}", text) else None


def as_number(text: str) -> float | None:
    """A finite number, whole where it is, or None."""
    if as_int(text) is not None:
        return as_int(text)
    value = float(text) if re.fullmatch(NUMBER, text) else float("nan")
    return value if abs(value) < float("inf") else None


def as_version(text: str) -> int | None:
    """A driver's version: three digits for each part, 535.86.05 is 535086005."""
    if re.fullmatch("[0-9]{9}", text):
        return int(text)
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}", text):
        return None
    parts = [*text.split("."), "0", "0"][:3]
    return int("".join(part.zfill(3) for part in parts))


CONVERT: dict[str, Callable[[str], float | None]] = {
    "bool": lambda text: BOOLEANS.get(text.lower()),
    "int": as_int,
    "float": as_number,
    "version": as_version,
}
VALUES = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "version": "a version such as 535.86.05",
}

GRAMMAR = """\
query:       comparisons, all of which must hold: num_gpus>=4 dph<2
comparison:  FIELD OPERATOR VALUE
operators:   = != < <= > >= in notin (or: == eq neq lt lte gt gte nin 'not in')
value:       a word, a text in quotes, or a [list] behind in and notin;
             _ stands for a blank: gpu_name=RTX_4090 or gpu_name="RTX 4090"
any:         FIELD=any takes back a default (verified=true external=false
             rentable=true; -n takes back all three)
Put the query in quotes: the shell takes a bare < or > for a redirection."""


def parse_query(
    text: str, defaults: Mapping[str, dict[str, Any]]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The filters of a query as the service takes them, and notes about it.

        query      = { comparison }         blanks, commas and newlines between them
        comparison = field operator value
        value      = quoted | "[" element { "," element } "]" | word { word }

    Units become the service's (GB to MB, days to seconds). A default counts unless
    the query speaks of its field. Raises QueryError, which knows the position.
    """
    query = Query(text)
    query.parse()
    said = query.cleared | query.filters.keys()
    kept = {wire: test for wire, test in defaults.items() if wire not in said}
    return {**kept, **query.filters}, query.notes


def parse_order(text: str) -> list[list[str]]:
    """Sort keys as the service takes them: "dph, num_gpus-" is
    [["dph_total", "asc"], ["num_gpus", "desc"]]. Raises QueryError."""
    order, start = [], 0
    for part in text.split(","):
        key, at = part.strip(), start + len(part) - len(part.lstrip())
        start += len(part) + 1
        end = max(at + len(key), at + 1)
        match = re.fullmatch(SORT_KEY, key)
        if not match:
            msg = f"'{key}' is no sort key: write dph, dph+, dph-, dph asc or dph desc"
            raise QueryError(msg, text, at, end)
        field = fields().get(match["name"])
        if not field and match["name"] not in ROW_FIELDS:
            hint = did_you_mean(match["name"], [*fields(), *ROW_FIELDS])
            msg = f"unknown sort key '{match['name']}'{hint}"
            raise QueryError(msg, text, at, at + match.end("name"))
        down = match["sign"] == "-" or match["word"] == "desc"
        wire = field.wire if field else match["name"]
        order.append([wire, "desc" if down else "asc"])
    return order


# --- 4 -- rendering ------------------------------------------------------------------

# Names under which the service sends what would let others in.
CREDENTIALS = frozenset(
    """api_key instance_api_key jupyter_token token access_token auth_token sid
    session_id password secret client_secret tfa_secret image_login docker_login_pass
    private_key ssh_private_key""".split()
)
NESTED = frozenset((dict, list))
SECRET_VARIABLE = "(?i)KEY|TOKEN|SECRET|PASS|CREDENTIAL|LOGIN"


class Table:
    """Rows to show; `value` is what `--raw` prints instead of the rows themselves."""

    def __init__(
        self, rows: list[Row], columns: list[Column], value: object = None
    ) -> None:
        self.rows, self.columns = rows, columns
        self.value = rows if value is None else value


class Result:
    """What a command did: `text` for people, `value` for `--raw`.

    `of` is the id that it is about when the command was given several.
    """

    def __init__(self, value: Any, text: str = "", of: int | None = None) -> None:
        self.value, self.text, self.of = value, text, of


class Failed:
    """One of several ids did not work out; the others go on.

    `result` is what had been done with that id before, if anything.
    """

    def __init__(self, of: int, error: VastError, result: Result | None = None) -> None:
        self.of, self.error, self.result = of, error, result


def visible(text: str) -> str:
    """Text without control characters: each stands as its escape, such as \\x1b."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


def width(text: str) -> int:
    """How many places a terminal takes for printable text."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(
        0 if category(char) in ("Mn", "Me") else 1 + (east_asian_width(char) in "WF")
        for char in text
    )


def caret(error: QueryError) -> str:
    """The two lines that show where in its query an error is."""
    query = "".join(char if char.isprintable() else " " for char in error.query)
    before = " " * width(query[: error.start])
    under = "^" * (width(query[error.start : error.end]) or 1)
    return f"  {query}\n  {before}{under}"


def cell(value: object, format: str = "", scale: float = 1) -> str:
    """One value of a row as a cell: no blanks, no control characters, never empty."""
    if format and isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return format % (value * scale)
        except (OverflowError, ValueError):  # infinite, or too large for a float
            pass
    if value is None:
        return "-"
    if not isinstance(value, str):
        shown = without_credentials(value)
        value = json.dumps(shown, ensure_ascii=False, sort_keys=True)
    return visible(value.strip(" ")).replace(" ", "_") or "-"


def cells(values: list[Any], format: str = "", scale: float = 1) -> list[str]:
    """A column's values as cells. Numbers are made at one go, which saves 6 % of the
    time of 10,000 offers."""
    if format and set(map(type, values)) <= {float, int, type(None)}:
        try:
            return [
                "-" if value is None else format % (value * scale) for value in values
            ]
        except (OverflowError, ValueError):
            pass
    return [cell(value, format, scale) for value in values]


def table_text(
    rows: Sequence[Row], columns: Sequence[Column], now: float, heading: bool = True
) -> str:
    """Rows as lines of cells, two blanks apart; `now` is what ages count to."""
    texts = []
    for column in columns:
        text = [column.heading] * heading
        text += cells(column.values(rows, now), column.format, column.scale)
        if column.format or column is not columns[-1]:
            widths = list(map(len if "".join(text).isascii() else width, text))
            most = max(widths, default=0)
            pad = str.rjust if column.format else str.ljust
            text = [pad(it, most - wide + len(it)) for it, wide in zip(text, widths)]
        texts.append(text)
    return "".join(line + "\n" for line in map("  ".join, zip(*texts)))


def pick_columns(
    names: str, columns: Sequence[Column], rows: Sequence[Row]
) -> list[Column]:
    """The columns that `--cols` names, by heading or field, in its order."""
    known = {name: column for column in reversed(columns) for name in column.names()}
    for row in rows:
        for name in filter(str.isidentifier, row.keys() - known.keys() - CREDENTIALS):
            known[name] = Column(f"{name} {name} -")
    picked = []
    for name in names.split(","):
        column = known.get(name.strip())
        if not column:
            hint = did_you_mean(name, known)
            raise UsageError(
                f"unknown column '{name}'{hint}; known: {' '.join(sorted(known))}"
            )
        picked.append(column)
    return picked


def without_credentials(value: Any) -> Any:
    """A decoded value without what lets others in; the value given stays as it is."""
    if type(value) is dict:
        if not value.keys().isdisjoint(CREDENTIALS):
            value = {k: held for k, held in value.items() if k not in CREDENTIALS}
        inner = {
            k: without_credentials(held)
            for k, held in value.items()
            if type(held) in NESTED
        }
        return value | inner if inner else value
    if type(value) is list:
        return [without_credentials(item) for item in value if not is_secret(item)]
    return value


def is_secret(item: object) -> bool:
    """Whether an item is a pair such as ["HF_TOKEN", "hf_…"]: an instance's variables
    stand in its row as pairs."""
    return (
        isinstance(item, list)
        and len(item) == 2
        and isinstance(item[0], str)
        and bool(re.search(SECRET_VARIABLE, item[0]))
    )


def encode(value: object, indent: int | None = None) -> str:
    """JSON text without credentials; a number beyond floats, such as 1e400, stays one:
    JSON has no end."""
    shown = without_credentials(value)
    try:  # the encoder sorts, because sorted copies of 10,000 offers took 14 % longer
        return json.dumps(shown, allow_nan=False, sort_keys=True, indent=indent)
    except ValueError:
        text = json.dumps(shown, sort_keys=True, indent=indent)
        strings = r'("(?:[^"\\]|\\.)*")|Infinity'
        return re.sub(strings, lambda match: match[1] or "1e999", text)


def json_text(value: object, indent: bool) -> str:
    """One JSON document, without credentials, keys sorted, ASCII only.

    Indented for people; else each row of an array stands on a line of its own.
    """
    if indent:
        return encode(value, 2)
    if isinstance(value, dict):
        pairs = (
            f"{encode(key)}: {json_text(value[key], indent)}"
            for key in sorted(value.keys() - CREDENTIALS)
        )
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        lines = ",\n".join(map(encode, value))
        return f"[\n{lines}\n]"
    return encode(value)


# --- 5 -- settings -------------------------------------------------------------------

SERVICE = "https://console.vast.ai"
KEYS_PAGE = "https://cloud.vast.ai/manage-keys/"


ENVIRONMENT_HELP = f"""\
  VAST_API_KEY     the API key; --api-key goes before it, the file behind it
  VAST_URL         the address of the service; --url goes before it
                   ({SERVICE})
  HOME             the key file is ~/.vast_api_key
  XDG_CONFIG_HOME  the key file of the vendor's client is read when there is no
                   other: ~/.config/vastai/vast_api_key
  XDG_CACHE_HOME   the program's bytecode lies there when it cannot lie beside
                   the program: ~/.cache/vast.py
  HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE
                   as everywhere"""

ONSTART_MOST = 4096  # characters of a start-up script that the service takes


class Arguments(argparse.Namespace):
    """What the person typed, converted; a command has only those that it declares."""

    __repr__ = object.__repr__  # argparse's shows the API key

    url: str | None
    raw: bool
    api_key: str | None
    retry: int
    dry_run: bool
    quiet: bool
    cols: str | None
    no_header: bool
    id: Any  # int, int | None or list[int], as the command declares it
    query: list[str]
    command: list[str]
    type: str
    no_default: bool
    disable_bundling: bool
    storage: float
    order: str
    limit: int | None
    price: float | None
    disk: float | None
    image: str | None
    label: str | None
    onstart: str | None
    onstart_cmd: str | None
    entrypoint: str | None
    jupyter: bool
    jupyter_dir: str | None
    jupyter_lab: bool
    ssh: bool
    direct: bool
    lang_utf8: bool
    python_utf8: bool
    args: list[str] | None
    create_from: int | None
    force: bool
    extra: str | None
    env: list[str] | None
    login: str | None
    template_hash: str | None
    cancel_unavail: bool
    user: str | None
    wait: bool
    timeout: float
    yes: bool
    new_api_key: str
    shell: str
    price_gpu: float | None
    price_disk: float | None
    price_inetu: float | None
    price_inetd: float | None
    price_min_bid: float | None
    min_chunk: int | None
    discount_rate: float | None
    duration: str | None
    vol_size: int | None
    vol_price: float | None
    start_date: int | None  # unix seconds
    end_date: Any  # the same; for `list machine` text at first
    only_charges: bool
    only_credits: bool
    output: str | None


class World:
    """What a run touches outside itself, handed in so that tests need not wait.

    `now` and `monotonic` give seconds. This one says nothing and asks nobody.
    """

    def __init__(
        self,
        environ: Mapping[str, str] = os.environ,
        stdin: TextIO | None = None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.environ, self.stdin = environ, stdin
        self.now, self.monotonic, self.sleep = now, monotonic, sleep

    def note(self, text: str) -> None:
        """Says a line on stderr."""

    def progress(self, text: str, milestone: bool = False) -> None:
        """Says on a terminal what goes on, in a line that the next one overwrites;
        elsewhere only a milestone is said."""

    def ask(self, question: str) -> bool:
        """Whether the person says yes; where nobody can be asked, that is a yes."""
        return True


def identifier(text: str) -> int:
    """An id of the service's: a whole number from 1 on."""
    if not re.fullmatch("[0-9]{1,18}", text) or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no id, which is a whole number")
    return int(text)


def amount(
    what: str, least: float = 0, most: float = float("inf"), whole: bool = False
) -> Callable[[str], Any]:
    """A type of argument: a finite number from `least` to `most`."""
    limits = f"from {least:g} on" if most == float("inf") else f"{least:g} to {most:g}"

    def convert(text: str) -> float:
        value = as_int(text) if whole else as_number(text)
        if value is None or not least <= value <= most:
            kind = "a whole number" if whole else "a number"
            raise argparse.ArgumentTypeError(f"'{text}' is not {kind} {limits}{what}")
        return value

    return convert


def disk_size(text: str) -> float:
    """GB of disk: a finite number over 0."""
    value = as_number(text)
    if value is None or value <= 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size in GB over 0")
    return value


def one_of(*known: str) -> Callable[[str], str]:
    """A type of argument: one of a few words, each of which stands for the part behind
    its =, or else for itself."""
    values = {word.partition("=")[0]: word.partition("=")[2] or word for word in known}

    def convert(text: str) -> str:
        if text.replace("_", "-") not in values:
            raise argparse.ArgumentTypeError(f"'{text}' is not {', '.join(values)}")
        return values[text.replace("_", "-")]

    return convert


def duration(text: str) -> str:
    """How long a listing lasts, as the service takes it: "30 days", or seconds."""
    match = re.fullmatch(r"(?i)(\d+)\s*(day|week|month|year)s?", text.strip())
    if match and int(match[1]):
        return f"{match[1]} {match[2].lower()}s"
    if not re.fullmatch("[0-9]{1,12}", text) or not int(text):
        known = "write 30 days, 2 weeks, 6 months, 1 year, or seconds"
        raise argparse.ArgumentTypeError(f"'{text}' is no duration: {known}")
    return text


def parse_date(text: str, last: bool) -> int:
    """A date in words as unix seconds, in the local zone unless it names one.

    Parts that are missing are their last where `last` is true, else their first:
    "2022-02" ends with February's last second, or starts with its first. A date
    without a year is refused. Raises UsageError.
    """
    import warnings
    from datetime import datetime

    from dateutil.parser import parse

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a zone that dateutil does not know
            first = parse(text, default=datetime(2000, 1, 1))
            end = parse(text, default=datetime(2004, 12, 31, 23, 59, 59))
            if first.year == end.year:
                return int((end if last else first).timestamp())
    except (ValueError, OverflowError, OSError, Warning):
        raise UsageError(f"'{text}' is no date; write 2022-02-03") from None
    raise UsageError(f"'{text}' lacks a year; write 2022-02-03")


def moment(seconds: float) -> str:
    """A date in the local zone, which it names. Raises UsageError."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(seconds))
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"{seconds} is no date of our time") from None


def base_url(text: str) -> str:
    """The service's address, without a path such as /api/v0. Raises UsageError."""
    from urllib.parse import urlsplit

    try:
        url = urlsplit(re.sub(r"(/api(/v\d+)?)?/*$", "", text.strip()))
        host, more = url.hostname or "", url.path or url.query or url.fragment
        good = re.fullmatch(r"[\w.:-]+", host) and not more and url.port != 0
    except ValueError:  # a port that is no number
        good = False
    if not good or url.scheme not in ("http", "https") or "@" in url.netloc:
        raise UsageError(f"'{text}' is no http or https address such as {SERVICE}")
    loopback = re.fullmatch(r"localhost|127\.\d+\.\d+\.\d+|::1", host)
    if url.scheme == "http" and not loopback:
        raise UsageError(f"'{text}' would send the API key unencrypted; use https")
    return f"{url.scheme}://{url.netloc}"


def key_files(environ: Mapping[str, str]) -> list[str]:
    """Where the API key may be kept: our file, then that of the vendor's client."""
    home = environ.get("HOME") or os.path.expanduser("~")
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    return [
        os.path.join(home, ".vast_api_key"),
        os.path.join(config, "vastai", "vast_api_key"),
    ]


def check_key(key: str) -> str:
    """A key without the blanks around it. Raises UsageError when it cannot be one."""
    key = key.strip()
    if not re.fullmatch("[!-~]+", key):
        raise UsageError("an API key is one word of letters and digits", "bad_key")
    return key


def find_key(given: str | None, world: World) -> str:
    """The API key, from the first place that has one: `--api-key`, VAST_API_KEY, the
    files. Raises NoKey."""
    key = given or world.environ.get("VAST_API_KEY")
    if key:
        return check_key(key)
    for path in key_files(world.environ):
        key = read_key_file(path, world)
        if key:
            return check_key(key)
    raise NoKey(
        f"no API key; get one at {KEYS_PAGE} and keep it with:"
        " vast.py set api-key YOUR_KEY"
    )


def read_key_file(path: str, world: World) -> str:
    """The text of a key file, empty when there is none; says so when others read it."""
    try:
        with open(path, encoding="utf-8") as file:
            info = os.fstat(file.fileno())
            text = file.read(4096).strip()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise NoKey(f"cannot read the API key in {path}: {error}") from None
    if info.st_mode & 0o077 or info.st_uid not in (os.getuid(), 0):
        world.note(f"others can read the API key in {path}; to mend it: chmod 600")
    return text


def write_file(path: str, content: bytes, mode: int = 0o666) -> None:
    """Writes a file under a temporary name beside it, then moves it into place: a full
    disk loses nothing, and a symlink planted there is replaced, not followed.

    `mode` is that of the file, less the umask. Raises UsageError.
    """
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        place = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with open(place, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(place)
            os.replace(temporary, path)
        finally:
            if os.path.lexists(temporary):
                os.unlink(temporary)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", "file") from None


def read_script(path: str) -> str:
    """The text of an onstart script. Raises UsageError."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(ONSTART_MOST + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "file") from None
    except ValueError:
        raise UsageError(f"{path} is no UTF-8 text", "file") from None


# --- 6 -- client ---------------------------------------------------------------------

CONNECT_TIMEOUT = 10.0  # seconds until a connection stands
READ_TIMEOUT = 60.0  # seconds without a byte
TOTAL_TIMEOUT = 120.0  # seconds in all, for answers slower than SLOWEST
SLOWEST = 10_000  # bytes a second
LARGEST = 256 * 1024 * 1024  # bytes of a body
CHUNK = 64 * 1024  # bytes read at a time; by 16 KB, 10,000 offers take 3 % longer
LONGEST_WAIT = 60.0  # seconds that a person is kept waiting for a limit

NEVER = float("inf")  # seconds to wait where another try is of no use

# A read, a change that may be repeated, and one that may not (`create instance`).
READ, CHANGE, ONCE = 0, 1, 2

# Why a call got no answer. After the first two it surely was not carried out, so that
# anything may be sent again; after the next two only what does no harm twice.
NOT_CARRIED_OUT = ("unreachable", "rate_limited")
PASSING = (*NOT_CARRIED_OUT, "no_answer", "server_error")
BAD_REPLY = "bad_reply"
PASSING_STATUSES = (500, 502, 503, 504)


class Call:
    """One call of the service's: method, path, query, body, and whether it may be
    repeated (READ and CHANGE) or not (ONCE). `subject` is what a change is about,
    `said` what a person is told when it is done, `exact` whether sums are at stake."""

    def __init__(
        self,
        method: str,
        path: str,
        body: Row | None = None,
        params: Mapping[str, str] | None = None,
        kind: int | None = None,
        subject: str = "",
        said: str = "",
        exact: bool = False,
    ) -> None:
        self.method, self.path, self.body, self.params = method, path, body, params
        self.kind = (READ if method == "GET" else CHANGE) if kind is None else kind
        self.subject, self.said, self.exact = subject, said, exact


class DryRun(Exception):
    """`--dry-run`: the call that would have been sent, and to which URL."""

    def __init__(self, call: Call, url: str) -> None:
        super().__init__(url)
        self.call, self.url = call, url


class Failure(Exception):
    """Why a call got no answer, one of PASSING or BAD_REPLY, and how many seconds to
    wait at least before the next try."""

    def __init__(
        self, kind: str, msg: str, http: int | None = None, wait: float = 0
    ) -> None:
        super().__init__(msg)
        self.kind, self.http, self.wait = kind, http, wait


class Exact(float):
    """A number of a JSON text that remembers how it was written, for exact sums."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Exact:
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __str__(self) -> str:
        return self.text


class Exchange:
    """One request on its way. A thread of its own carries it, so that an answer that
    drips, in its headers or its body, can be given up and Ctrl-C ends it at once."""

    def __init__(self, http: HttpSession, request: Row) -> None:
        self.http, self.request = http, request
        self.body = bytearray()
        self.answer: Response | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        """Sends the request and collects the answer."""
        from requests import RequestException
        from requests.exceptions import ContentDecodingError
        from urllib3.exceptions import HTTPError

        try:
            timeout = (CONNECT_TIMEOUT, READ_TIMEOUT)
            with self.http.request(
                timeout=timeout, stream=True, allow_redirects=False, **self.request
            ) as answer:
                answer.raw.enforce_content_length = True  # urllib3 1 would not notice
                for chunk in answer.iter_content(CHUNK):
                    self.body += chunk
                    if len(self.body) > LARGEST:
                        msg = f"the answer is over {LARGEST >> 20} MB"
                        raise Failure(BAD_REPLY, msg)
                self.answer = answer
        except ContentDecodingError:
            self.error = Failure(BAD_REPLY, "the answer is not packed as it says")
        except (RequestException, HTTPError, OSError, Failure) as error:
            self.error = error

    def finish(self, monotonic: Callable[[], float]) -> tuple[Response, bytearray]:
        """Waits for the answer, as long as it comes fast enough. Raises Failure."""
        from threading import Thread

        start = monotonic()
        thread = Thread(target=self.run, daemon=True)
        thread.start()
        thread.join(TOTAL_TIMEOUT)
        while thread.is_alive():
            taken = monotonic() - start
            if len(self.body) + CHUNK < taken * SLOWEST:
                msg = f"no answer within {taken:.0f} s"
                raise Failure("no_answer", msg, wait=NEVER)
            thread.join(1)
        if self.answer is None:
            raise as_failure(self.error or OSError("the connection failed"))
        return self.answer, self.body


def as_failure(error: Exception) -> Failure:
    """What a network error means: only where no connection was made, or its other end
    is not who it should be, was nothing sent."""
    if isinstance(error, Failure):
        return error
    from ssl import SSLCertVerificationError

    from requests import ConnectTimeout
    from requests.exceptions import InvalidSchema, InvalidURL
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    chain: list[object] = [error]
    for link in chain:
        inner = [*getattr(link, "args", ()), getattr(link, "reason", None)]
        chain += [each for each in inner if isinstance(each, Exception)]
    unsent = (
        *(ConnectTimeout, ConnectTimeoutError, NewConnectionError),
        *(SSLCertVerificationError, InvalidURL, InvalidSchema),
    )
    msg = str(getattr(chain[-1], "strerror", None) or chain[-1])
    # Not a ProxyError as such: through a proxy, a lost answer is one too.
    no_tunnel = msg.startswith("Tunnel connection failed")
    sent = not no_tunnel and not any(isinstance(link, unsent) for link in chain)
    msg = re.sub(r"^.*?object at 0x\w+>: |^\w*Connection\(host=.*?\): ", "", msg)
    return Failure("no_answer" if sent else "unreachable", msg)


def redirected(answer: Response) -> VastError:
    """A redirect is an error: a write that followed it would turn into a read."""
    place = answer.headers.get("Location", "nowhere")
    msg = f"the service moved to {place}; give its address with --url"
    return VastError(msg, "redirect", answer.status_code)


def waiting_time(answer: Response, text: str, now: float) -> tuple[float, float]:
    """Seconds until a call that met a limit may be sent again, and the endpoint's
    threshold: the least time between two calls, 0 when it is not told."""
    from email.utils import parsedate_to_datetime

    match = re.search(r"threshold\s*[=:]\s*(\d+(?:\.\d+)?)", text)
    threshold = float(match[1]) if match else 0.0
    waits = [threshold]
    after = answer.headers.get("Retry-After", "")
    reset = as_number(answer.headers.get("X-RateLimit-Reset", ""))
    if as_number(after) is not None:
        waits.append(float(after))
    elif after:
        try:
            waits.append(parsedate_to_datetime(after).timestamp() - now)
        except ValueError:
            pass
    if reset is not None:  # a date in unix seconds, or seconds from now
        waits.append(reset - now if reset > 1e9 else reset)
    if "search_quota_exceeded" in text:  # that of a day
        waits.append(NEVER if reset is None else LONGEST_WAIT + 1)
    return max(waits), threshold


def error_parts(body: bytearray) -> tuple[str, str]:
    """The slug and the message of an error's body, whatever it looks like."""
    text = body.decode("utf-8", "replace")
    try:
        reply = json.loads(text)
    except (ValueError, RecursionError):
        reply = None
    if not isinstance(reply, dict):
        return "", " ".join(re.sub("<[^>]*>", " ", text[:2000]).split())[:200]
    said = (reply.get(key) for key in ("msg", "message", "detail", "error"))
    msg = next((str(part) for part in said if part), "no reason given")
    return str(reply.get("error") or ""), msg


def doubt(call: Call) -> str:
    """What to add when a change may have been carried out, or not."""
    if call.kind == READ:
        return ""
    return f"; {call.subject or 'it'} may be changed or not: look before repeating"


class Client:
    """The service: `send` takes a call and gives the decoded answer.

    One connection serves all its calls. The key travels in a header, put there by an
    `auth` function: anything else would let ~/.netrc replace it.
    """

    def __init__(self, args: Arguments, world: World) -> None:
        self.given_url, self.base = args.url or world.environ.get("VAST_URL"), ""
        self.retry, self.dry_run, self.world = args.retry, args.dry_run, world
        self.given_key, self.key = args.api_key, ""
        self.http: HttpSession | None = None
        self.pace: dict[str, float] = {}  # endpoint -> least seconds between calls
        self.last: dict[str, float] = {}  # endpoint -> when it was called last

    def send(self, call: Call) -> Row:
        """The answer to a call: an object, whose success is not false.

        Sends it again, up to `--retry` times, when that can do no harm. Raises
        VastError.
        """
        self.base = self.base or base_url(self.given_url or SERVICE)
        if self.dry_run:
            raise DryRun(call, self.url(call))
        self.key = self.key or find_key(self.given_key, self.world)
        try:
            return self.persist(call)
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted{doubt(call)}") from None
        except VastError as error:  # the service may repeat the key in what it says
            error.args = (str(error).replace(self.key, "(your key)"),)
            error.slug = error.slug.replace(self.key, "(your key)")
            raise

    def persist(self, call: Call) -> Row:
        """Sends a call until it is answered, refused, or not worth another try."""
        from random import uniform

        again = NOT_CARRIED_OUT if call.kind == ONCE else PASSING
        unsure = False  # whether an earlier try may have been carried out
        tries = 0
        while True:
            try:
                return self.attempt(call, unsure)
            except VastError as refusal:
                if not unsure or call.kind == READ:
                    raise
                msg = f"{refusal}{doubt(call)}"  # an earlier try may have been heard
                raise OutcomeUnknown(msg, http=refusal.http) from None
            except Failure as failure:
                wait = max(failure.wait, min(2**tries, 32) * uniform(0.5, 1))
                unsure = unsure or failure.kind not in NOT_CARRIED_OUT
                tries += 1
                hopeless = failure.kind not in again or wait > LONGEST_WAIT
                if hopeless or tries > self.retry:
                    raise self.final(call, failure, unsure, wait) from None
                self.world.progress(f"{failure}; trying again in {wait:.1f} s")
                self.world.sleep(wait)

    def final(
        self, call: Call, failure: Failure, unsure: bool, wait: float
    ) -> VastError:
        """The error that a failure ends as; `unsure`: it may have been carried out."""
        msg = str(failure)
        if failure.kind == "unreachable":
            msg = f"cannot reach {self.base}: {msg}"
        if failure.kind == "rate_limited":
            when = "later" if wait == NEVER else f"in {wait:.0f} s"
            msg = f"too many calls: {msg}; come back {when}"
        if unsure and call.kind != READ:
            return OutcomeUnknown(msg + doubt(call), http=failure.http)
        kind = VastError if failure.kind == BAD_REPLY else Unreachable
        return kind(msg, failure.kind, failure.http)

    def attempt(self, call: Call, unsure: bool) -> Row:
        """Sends a call once. Raises Failure, or the VastError of a refusal."""
        answer, body = self.exchange(call)
        status = answer.status_code
        if status == 429:
            msg = error_parts(body)[1]
            text = body.decode("utf-8", "replace")
            wait, threshold = waiting_time(answer, text, self.world.now())
            self.pace[endpoint(call)] = threshold
            raise Failure("rate_limited", msg, status, wait)
        if status >= 500:
            wait = 0 if status in PASSING_STATUSES else NEVER
            msg = f"the service fails (HTTP {status})"
            raise Failure("server_error", msg, status, wait)
        if 300 <= status < 400:
            raise redirected(answer)
        if status >= 400:
            refusal = self.refusal(body, status)
            if unsure and call.method == "DELETE" and status == 404:
                if not isinstance(refusal, NoKey):  # the earlier try was carried out
                    return {"success": True}
            raise refusal
        return self.accepted(call, status, body)

    def accepted(self, call: Call, status: int, body: bytearray) -> Row:
        """The object that a 2xx answer holds."""
        try:
            reply = decode(body, call.exact)
        except (ValueError, RecursionError):
            raise Failure(BAD_REPLY, "the answer is not JSON", status) from None
        if not isinstance(reply, dict):
            raise Failure(BAD_REPLY, "the answer is not a JSON object", status)
        if reply.get("success") is False:
            raise self.refusal(body, status)
        if call.kind != READ and reply.get("success") is not True:
            raise Failure(BAD_REPLY, "the answer does not say success", status)
        return reply

    def exchange(self, call: Call) -> tuple[Response, bytearray]:
        """Sends a request, at the endpoint's pace once that is known."""
        if self.http is None:
            from requests import Session

            self.http = Session()
            self.http.auth = self.authorize
            # Else requests reads and parses redirects that nobody follows.
            vars(self.http)["get_redirect_target"] = lambda answer: None
            self.http.headers["User-Agent"] = f"vast.py/{__version__}"
            # A proxy must not see what goes unencrypted to this machine itself.
            self.http.trust_env = self.base.startswith("https:")
        place = endpoint(call)
        if place in self.pace:
            early = self.last[place] + self.pace[place] - self.world.monotonic()
            if early > 0:
                self.world.sleep(early)
        self.last[place] = self.world.monotonic()
        request = {
            "method": call.method,
            "url": self.base + call.path,
            "params": call.params,
            "json": call.body,
        }
        return Exchange(self.http, request).finish(self.world.monotonic)

    def authorize(self, request: PreparedRequest) -> PreparedRequest:
        """Puts the key into a request's header."""
        request.headers["Authorization"] = f"Bearer {self.key}"
        return request

    def refusal(self, body: bytearray, status: int) -> VastError:
        """The service's no, in its own words."""
        slug, msg = error_parts(body)
        msg = msg or f"the service refused (HTTP {status})"
        login = re.search("requires login|log in again|invalid user key", msg, re.I)
        if slug == "auth_error" or status == 401 or login:
            hint = f"get a key at {KEYS_PAGE} and keep it with: vast.py set api-key"
            return NoKey(f"{msg} ({hint})", http=status)
        return VastError(msg, slug, status)

    def url(self, call: Call) -> str:
        """A call's whole URL."""
        from urllib.parse import urlencode

        query = "?" + urlencode(call.params) if call.params else ""
        return self.base + call.path + query

    def pages(
        self, path: str, key: str, params: Mapping[str, str], exact: bool = False
    ) -> list[Row]:
        """The rows of a list that comes in pages."""
        rows: list[Row] = []
        tokens = [""]
        while True:
            after = {"after_token": tokens[-1]} if tokens[-1] else {}
            call = Call("GET", path, params={**params, **after}, exact=exact)
            reply = self.send(call)
            rows += rows_of(reply, key)
            token = reply.get("next_token")
            if not token:
                return rows
            if not isinstance(token, str) or token in tokens:
                raise VastError("the pages of the answer do not end", BAD_REPLY)
            tokens.append(token)


def endpoint(call: Call) -> str:
    """What a call's rate limit counts: the method, and the path without its ids."""
    return call.method + re.sub(r"/\d+", "/N", call.path)


def decode(body: bytearray, exact: bool) -> object:
    """JSON decoded; `exact`: its fractions remember their text. Raises ValueError."""
    import gc

    gc.disable()  # rows make no cycles: of 10,000 offers this saves a tenth of the time
    try:
        parse_float = Exact if exact else None
        return json.loads(
            body.decode(), parse_constant=no_number, parse_float=parse_float
        )
    finally:
        if len(body) > 1 << 20:  # else there is little to walk over
            gc.freeze()
        gc.enable()


def no_number(text: str) -> NoReturn:
    """Refuses NaN and Infinity, which are not JSON."""
    raise ValueError(text)


def rows_of(reply: Row, key: str) -> list[Row]:
    """The rows of an answer; null is none. Raises VastError."""
    rows = reply.get(key, "missing")
    if rows is None:
        return []
    if not isinstance(rows, list) or not set(map(type, rows)) <= {dict}:
        raise VastError(f"the answer has no list of {key}", BAD_REPLY)
    return rows


def is_gone(error: VastError) -> bool:
    """Whether a call was answered that there is no such thing, or no such call."""
    return error.http in (404, 410) and not isinstance(error, NoKey)


# --- 7 -- invoices -------------------------------------------------------------------

# A row of any other type is a charge. The number is the sign that such a payment gets,
# whichever it was sent with: money that comes in lowers what is owed. Transfers and
# reservations go both ways, so they keep their own (0).
PAYMENTS = {
    "payment": -1, "credit": -1, "refund": 1, "payout": 1, "transfer": 0, "reserved": 0
}  # fmt: skip
SECTIONS = {"charges": ("Charges", True), "credits": ("Payments", False)}
LONGEST_TEXT = 2000  # characters; more than this would fill pages
LAST_SECOND = 253370764800  # 9999-01-01, near the end of the calendar

# What the standard Helvetica has beyond the encoding cp1252, in the order of the codes
# from 128 on that it gets in a second font; then what looks like one of its letters.
LATIN = (
    "ĀāĂăĄąĆćČčĎďĐđĒēĖėĘęĚěĞğĢģĪīĮįİıĶķĹĺĻļĽľŁłŃńŅņŇňŌōŐőŔŕŖŗŘřŚśŞşŤťŪūŮůŰűŲųŹźŻż"
    "ȘșȚțˇ˘˙˚˛˝Δμ⁄∂∑−√≠≤≥◊ﬁﬂ"
)
LOOKALIKES = str.maketrans("Ţţ∆‐‑", "ȚțΔ--")


def printable(value: object) -> str:
    """Return text as one line in NFC, with single blanks and no control characters."""
    text = "" if value is None else str(value)
    if len(text) > LONGEST_TEXT:
        text = text[:LONGEST_TEXT] + "…"
    if not (text.isascii() and text.isprintable()):
        from unicodedata import category, normalize

        text = "".join(
            char
            for char in normalize("NFC", text)
            if char.isspace() or category(char) not in ("Cc", "Cf", "Cs")
        )
    return " ".join(text.split())


def showable(text: str) -> str:
    """Return text with '?' for each character that Helvetica does not have."""
    if text.isascii():
        return text
    return "".join(
        char if char in LATIN else char.encode("cp1252", "replace").decode("cp1252")
        for char in text.translate(LOOKALIKES)
    )


def number(value: object) -> Decimal | None:
    """Read a number or numeric text; None for anything else, and from 10^12 on."""
    import decimal  # whole: for each row `from decimal` would take five times as long

    try:
        found = decimal.Decimal(str(value))
    except decimal.InvalidOperation:
        return None
    small = found.is_finite() and (not found or found.adjusted() < 12)
    return found if small else None


def figure(value: object, least: int = 2) -> Decimal | None:
    """Read a number with the decimals that were sent, but from least to four."""
    import decimal

    found = number(value)
    if found is None:
        return None
    sent = -int(found.as_tuple().exponent)
    places = min(max(sent, least), 4)
    if places == sent:
        return found
    return found.quantize(decimal.Decimal(1).scaleb(-places), decimal.ROUND_HALF_UP)


def money(value: Decimal | None, unknown: str = "-") -> str:
    """Return a figure as text."""
    return unknown if value is None else f"{value:,f}"


def local_date(when: int | None) -> str:
    """Return unix seconds as a local date like 2022-01-31, None as ''."""
    return "" if when is None else "%d-%02d-%02d" % time.localtime(when)[:3]


def row_time(value: object) -> int | None:
    """Read unix seconds, without their fraction."""
    found = number(value)
    return int(found) if found is not None and 0 <= found < LAST_SECOND else None


def row_id(row: dict[str, object]) -> object:
    """Return the id of a row, which payments of the newer call keep further down."""
    found, more = row.get("id"), row.get("metadata")
    if found is None and isinstance(more, dict):
        found = more.get("invoice_id")
    return found


def row_item(row: dict[str, object], is_charge: bool) -> str:
    """Return the description, or what a row without one stands for."""
    text = printable(row.get("description"))
    if text or is_charge:
        return text or printable(row.get("source")) or "Charge"
    text = "Add Credit" if row.get("is_credit") is True else "Auto-Billing"
    card = printable(row.get("last4"))[-4:]
    return f"{text} (card ...{card})" if card else text


def row_detail(row: dict[str, object]) -> str:
    """Return what a row of the newer charges call is made up of, '' for any other."""
    items = row.get("items")
    parts = [x for x in items if isinstance(x, dict)] if isinstance(items, list) else []
    texts = (f"{part.get('type')} {part.get('description')}" for part in parts)
    return printable("; ".join(texts))


class Line:
    """One row as it is shown: a charge or a payment, in whichever shape it was sent.

    `since` and `when` are unix seconds, the same unless the row covers a period. An
    `amount` that cannot be read is None: it shows as '-' and is no part of any sum.
    """

    __slots__ = (
        "row", "id", "kind", "is_charge", "since", "when", "date", "item", "detail",
        "quantity", "rate", "amount",
    )  # fmt: skip

    def __init__(self, row: dict[str, object]) -> None:
        times = [row_time(row.get(key)) for key in ("timestamp", "start", "end")]
        known = [when for when in times if when is not None]
        amount = figure(row.get("amount"))
        self.row = row
        self.id = row_id(row)
        self.kind = printable(row.get("type")).lower()
        self.is_charge = self.kind not in PAYMENTS
        self.since = min(known, default=0)
        self.when = max(known, default=None)
        self.date = local_date(self.when)
        self.item = row_item(row, self.is_charge)
        self.detail = row_detail(row)
        self.quantity = figure(row.get("quantity"), least=0)
        self.rate = figure(row.get("rate"))
        sign = PAYMENTS.get(self.kind, 0)
        self.amount = abs(amount) * sign if amount and sign else amount

    def within(self, start: int, end: int) -> bool:
        """Tell whether the row touches the range; undated rows do."""
        return self.when is None or (self.since <= end and self.when >= start)


def side(lines: Iterable[Line], is_charge: bool) -> list[Line]:
    """Return the charges, or the payments."""
    return [line for line in lines if line.is_charge is is_charge]


def lines_of(
    rows: Iterable[dict[str, object]], start: int, end: int, only: str = ""
) -> list[Line]:
    """Return what is to be shown of rows, by time, those without a time at the end.

    The range is unix seconds, both ends in it; `only` is 'charges', 'credits' or ''.
    Rows whose amount would show as zero are left out.
    """
    lines = [line for line in map(Line, rows) if line.amount != 0]
    if only:
        lines = side(lines, SECTIONS[only][1])
    lines = [line for line in lines if line.within(start, end)]
    return sorted(lines, key=lambda line: (line.when is None, line.when or 0))


def total(lines: Iterable[Line]) -> Decimal:
    """Return the exact sum of the amounts, as they are shown."""
    from decimal import Decimal

    return sum((x.amount for x in lines if x.amount is not None), Decimal("0.00"))


def current_charges(current: object) -> Decimal | None:
    """Return what is not billed yet, from an object, a number or null."""
    if isinstance(current, dict):
        current = current.get("total", current.get("charges"))
    return figure(current)


def invoice_number(end: int) -> int:
    """Return the number of an invoice, which is that of the month its range ends in."""
    year, month = time.localtime(end)[:2]
    return year * 12 + month - 1


def invoice_file(number: int, start: int | None, end: int | None, only: str) -> str:
    """Return the file's name; None is an end of the range that was not asked for."""
    parts = ("invoice", str(number), local_date(start), local_date(end), only)
    return "_".join(part for part in parts if part) + ".pdf"


def bill_to(user: dict[str, object]) -> list[str]:
    """Return the lines of the customer's address that there are."""
    keys = ("line1", "line2", "city", "zip", "country")
    parts = (printable(user.get("billaddress_" + key)) for key in keys)
    first, second, city, code, country = parts
    name = printable(user.get("fullname") or user.get("username"))
    texts = (name, first, second, f"{city} {code}".strip(), country)
    return [text for text in texts if text]


class Invoice:
    """What an invoice says; period is the range in words, date the day of issue."""

    def __init__(
        self,
        number: int,
        user: dict[str, object],
        period: str,
        date: str,
        lines: list[Line],
        current: object = None,
        only: str = "",
    ) -> None:
        self.number, self.period, self.date = number, printable(period), date
        self.bill_to = bill_to(user)
        self.lines = lines
        self.current = current_charges(current)
        self.sections = [SECTIONS[only]] if only else list(SECTIONS.values())

    def unshowable(self) -> list[str]:
        """Return the texts of which some character shows as '?'."""
        texts = [*self.bill_to, self.period]
        texts += (text for line in self.lines for text in (line.item, line.detail))
        return [
            text
            for text in dict.fromkeys(texts)
            if showable(text) != text.translate(LOOKALIKES)
        ]


# Measures are points, counted on an A4 page from its lower left corner.
WIDTH, HEIGHT, LEFT, RIGHT = 595, 842, 48, 547
TOP, BOTTOM = 786, 58  # of what stands between the margins of a page but the first
BODY, LEADING, PADDING, BLEED = 8.5, 10.2, 2.5, 6  # stripes bleed beyond their text
BAR_LEFT, BAR_ROOM = 100, 240

# Red, green and blue, from 0 to 1, as PDF has them.
INK, GREY, PALE = ".11 .13 .17", ".43 .46 .51", ".955 .965 .98"
RULE, ACCENT = ".8 .83 .87", ".1 .27 .55"

ISSUER = ("Vast.ai Inc.", "100 Van Ness Ave.", "San Francisco CA 94102")
TERMS = "Charged, do not pay"
HELVETICA = ("Helvetica", "Helvetica-Bold")

# Heading; the edge of its texts; their room; whether that is the right edge.
ITEM_COLUMNS = (
    ("Item", LEFT, 256, False), ("Date", 316, 52, False), ("Quantity", 428, 58, True),
    ("Rate", 484, 50, True), ("Amount", RIGHT, 58, True),
)  # fmt: skip
SUMS = (("", LEFT, 256, False), ("", RIGHT, 200, True))

if TYPE_CHECKING:  # pragma: no cover - only mypy reads it
    Place = tuple[str, int, int, bool]
    Box = tuple[float, float, float, float, str]  # x, y, width, height, colour
    Text = tuple[float, float, str, float, bool, str]  # x, y, text, size, bold, colour
    Page = tuple[list[Box], list[Text]]  # the boxes lie below the texts
    Widths = dict[str, int]  # of characters, in thousandths of the font size


class Sheets:
    """The pages of an invoice, filled from the top; y is how far down the last one."""

    def __init__(
        self, widths: tuple[Widths, Widths], on_page: Callable[[int], object]
    ) -> None:
        self.widths = widths  # regular, bold
        self.on_page = on_page
        self.pages: list[Page] = []
        self.turn()

    def turn(self) -> None:
        """Begin a page."""
        self.boxes: list[Box] = []
        self.texts: list[Text] = []
        self.pages.append((self.boxes, self.texts))
        self.y: float = TOP
        self.on_page(len(self.pages))

    def need(self, height: float) -> bool:
        """Begin a page if this one has less left; tell whether."""
        short = self.y - height < BOTTOM
        if short:
            self.turn()
        return short

    def text(
        self,
        x: float,
        text: str,
        room: float,
        right: bool = False,
        size: float = BODY,
        bold: bool = False,
        colour: str = INK,
    ) -> None:
        """Write one line with its left or right edge at x, smaller if too wide."""
        text = showable(text)
        width = sum(map(self.widths[bold].__getitem__, text)) * size / 1000
        if width > room:
            size, width = size * room / width, room
        if text:
            at = x - width if right else x
            self.texts.append((at, self.y, text, size, bold, colour))

    def wrap(self, text: str, room: float, most: int = LONGEST_TEXT) -> list[str]:
        """Break text of body size into most lines at most, at blanks where it can."""
        widths, room = self.widths[0], room * 1000 / BODY
        lines: list[str] = []
        text = showable(text)
        while sum(map(widths.__getitem__, text)) > room:
            fits, left = 0, room - widths[text[0]]
            while left >= 0:
                fits += 1
                left -= widths[text[fits]]
            if len(lines) == most - 1:
                return [*lines, text[: fits - 1] + "…"]
            cut = text.rfind(" ", 0, fits + 1)
            cut = cut if cut > 0 else fits
            lines.append(text[:cut])
            text = text[cut:].lstrip()
        return [*lines, text] if text else lines

    def cells(
        self,
        columns: Iterable[Place],
        texts: Iterable[str],
        size: float = BODY,
        bold: bool = False,
        colour: str = INK,
    ) -> None:
        """Write a row of a table."""
        for (_, x, room, right), text in zip(columns, texts):
            self.text(x, text, room, right, size, bold, colour)

    def paragraphs(
        self, x: float, texts: Iterable[str], room: float, most: int, colour: str = INK
    ) -> None:
        """Write texts below each other, each on most lines at most."""
        for text in texts:
            for line in self.wrap(text, room, most):
                self.text(x, line, room, colour=colour)
                self.y -= LEADING + 1

    def stripe(self, height: float, colour: str) -> None:
        """Fill the height below y, from margin to margin."""
        width = RIGHT - LEFT + 2 * BLEED
        self.boxes.append((LEFT - BLEED, self.y - height, width, height, colour))

    def headings(self, title: str, columns: Sequence[Place]) -> None:
        """Write the title of a table and the headings of its columns."""
        self.y -= 12
        self.text(LEFT, title, RIGHT - LEFT, size=11, bold=True)
        self.y -= 17
        self.cells(columns, [column[0] for column in columns], 7.5, True, GREY)
        self.y -= 5
        self.stripe(0.6, INK)
        self.y -= 1

    def sums(self, columns: Sequence[Place], texts: Iterable[str]) -> None:
        """Write a row of sums below a line."""
        self.stripe(0.6, INK)
        self.y -= 13
        self.cells(columns, texts, 9, True)
        self.y -= 22


def draw_panel(sheets: Sheets, invoice: Invoice) -> None:
    """Draw the range and the sums that the invoice is about."""
    parts = invoice.sections if len(invoice.sections) > 1 else []
    columns = [(title, x, 82, True) for (title, _), x in zip(parts, (320, 415))]
    sums = [money(total(side(invoice.lines, is_charge))) for _, is_charge in parts]
    sheets.stripe(60, PALE)
    sheets.y -= 20
    sheets.text(LEFT + 4, "Range", 182, colour=GREY)
    sheets.cells(columns, [column[0] for column in columns], colour=GREY)
    sheets.text(RIGHT - 4, "Total (USD)", 115, True, colour=GREY)
    sheets.y -= 21
    low = sheets.y - 39
    sheets.cells(columns, sums, 11)
    sheets.text(RIGHT - 4, money(total(invoice.lines)), 115, True, 17, True)
    period = invoice.period.replace(" to ", "\nto ", 1).split("\n")
    sheets.y += (len(period) - 1) * LEADING / 2
    sheets.paragraphs(LEFT + 4, period, 182, 1)
    sheets.y = low


def draw_head(sheets: Sheets, invoice: Invoice) -> None:
    """Draw what stands above the tables."""
    sheets.boxes.append((0, HEIGHT - 6, WIDTH, 6, ACCENT))
    sheets.y = HEIGHT - 72
    sheets.text(LEFT, "Invoice", 120, size=28, bold=True)
    sheets.text(LEFT + 112, str(invoice.number), 120, size=28, colour=GREY)
    sheets.text(RIGHT, ISSUER[0], 120, True, 15, True, ACCENT)
    lows = []
    for x, room, name, texts in (
        (LEFT, 130, "From", ISSUER), (190, 180, "Bill to", invoice.bill_to),
        (390, 60, "Date", [invoice.date]), (462, 85, "Terms", [TERMS]),
    ):  # fmt: skip
        sheets.y = HEIGHT - 108
        sheets.text(x, name, room, colour=GREY)
        sheets.y -= LEADING + 3
        sheets.paragraphs(x, texts, room, 3)
        lows.append(sheets.y)
    sheets.y = min(lows) - 8
    draw_panel(sheets, invoice)


def draw_table(sheets: Sheets, title: str, lines: list[Line]) -> None:
    """Draw a section: its rows in stripes, then its subtotal."""
    sheets.need(90)
    sheets.headings(title, ITEM_COLUMNS)
    room = ITEM_COLUMNS[0][2]
    for index, line in enumerate(lines):
        texts = [(text, INK) for text in sheets.wrap(line.item, room)]
        texts += [(text, GREY) for text in sheets.wrap(line.detail, room)]
        # Only very long rows go over to the next page; the subtotal follows a row.
        tail = 30 if line is lines[-1] else 0
        for place, (text, colour) in enumerate(texts):
            first, last = place == 0, place + 1 == len(texts)
            together = min(len(texts), 12) if first else 1
            if sheets.need(together * LEADING + 2 * PADDING + tail):
                sheets.headings(title + " (continued)", ITEM_COLUMNS)
            if index % 2:
                sheets.stripe(LEADING + PADDING * (first + last), PALE)
            sheets.y -= LEADING - 2.5 + PADDING * first
            sheets.texts.append((LEFT, sheets.y, text, BODY, False, colour))
            if first:
                quantity, rate = money(line.quantity, ""), money(line.rate, "")
                figures = (line.date or "-", quantity, rate, money(line.amount))
                sheets.cells(ITEM_COLUMNS[1:], figures)
            sheets.y -= 2.5 + PADDING * last
    sheets.sums(SUMS, ("Total " + title.lower(), money(total(lines))))


def draw_months(sheets: Sheets, invoice: Invoice) -> None:
    """Draw the sums of each month, with a bar as long as its charges."""

    def sums(lines: list[Line]) -> list[str]:
        return [money(total(side(lines, part))) for _, part in invoice.sections]

    edges = (RIGHT - 97, RIGHT)[-len(invoice.sections) :]
    columns = [("Month", LEFT, 50, False)]
    columns += [(title, x, 92, True) for (title, _), x in zip(invoice.sections, edges)]
    months: dict[str, list[Line]] = {}
    for line in invoice.lines:
        months.setdefault(line.date[:7] or "No date", []).append(line)
    bars = {month: total(side(lines, True)) for month, lines in months.items()}
    longest = max(bars.values())
    sheets.need(min(140 + 17 * len(months), TOP - BOTTOM))
    sheets.headings("Summary by month", columns)
    for month, lines in months.items():
        if sheets.need(60):
            sheets.headings("Summary by month (continued)", columns)
        sheets.y -= 12
        sheets.cells(columns, (month, *sums(lines)))
        if bars[month] > 0:
            length = float(bars[month] / longest) * BAR_ROOM
            sheets.boxes.append((BAR_LEFT, sheets.y - 1.5, length, 8, ACCENT))
        sheets.y -= 5
    sheets.sums(columns, ("Total", *sums(invoice.lines)))


def draw_end(sheets: Sheets, invoice: Invoice) -> None:
    """Draw the grand total and the notes below it."""
    unread = sum(line.amount is None for line in invoice.lines)
    notes = [f"All amounts are in US dollars. {TERMS}."]
    if invoice.current is not None:
        notes.append(f"Charges not billed yet: {money(invoice.current)}.")
    if unread:
        notes.append(f"Rows without a readable amount, in no sum: {unread}.")
    sheets.need(70)
    if not invoice.lines:
        names = " or ".join(title.lower() for title, _ in invoice.sections)
        sheets.y -= 20
        sheets.text(LEFT, f"No {names} in this range.", RIGHT - LEFT, size=11)
        sheets.y -= 30
    grand = money(total(invoice.lines))
    sheets.sums(SUMS, ("Grand total (USD)", grand))
    sheets.paragraphs(LEFT, notes, RIGHT - LEFT, 1, GREY)


def draw_margins(sheets: Sheets, invoice: Invoice) -> None:
    """Write the foot of each page, and the head of each but the first."""
    for index, page in enumerate(sheets.pages, 1):
        sheets.boxes, sheets.texts = page
        if index > 1:
            sheets.y = HEIGHT - 38
            sheets.text(LEFT, f"Invoice {invoice.number}", 200, False, 9, True)
            sheets.text(RIGHT, ISSUER[0], 200, True, 9, True, ACCENT)
            sheets.y -= 8
            sheets.stripe(0.6, RULE)
        sheets.y = 46
        sheets.stripe(0.6, RULE)
        sheets.y = 32
        place = f"Page {index} of {len(sheets.pages)}"
        sheets.text(LEFT, ", ".join(ISSUER), 300, False, 7.5, colour=GREY)
        sheets.text(RIGHT, place, 100, True, 7.5, colour=GREY)


def draw(
    invoice: Invoice,
    widths: tuple[Widths, Widths],
    on_page: Callable[[int], object],
) -> list[Page]:
    """Lay an invoice out on pages; on_page hears how many there are so far."""
    sheets = Sheets(widths, on_page)
    draw_head(sheets, invoice)
    for title, is_charge in invoice.sections:
        lines = side(invoice.lines, is_charge)
        if lines:
            draw_table(sheets, title, lines)
    if invoice.lines:
        draw_months(sheets, invoice)
    draw_end(sheets, invoice)
    draw_margins(sheets, invoice)
    return sheets.pages


def encoded(text: str) -> list[tuple[str, str]]:
    """Split text into pairs of a font and its codes, as characters up to U+00FF."""
    if text.isascii():
        return [("F", text)]
    codes = {ord(char): 128 + index for index, char in enumerate(LATIN)}
    return [
        (
            ("L", run.translate(codes))
            if run[0] in LATIN
            else ("F", run.encode("cp1252").decode("latin-1"))
        )
        for run in re.findall(f"[{LATIN}]+|[^{LATIN}]+", text)
    ]


def operators(page: Page) -> bytes:
    """Return the PDF operators that draw a page."""
    boxes, texts = page
    out = ["%s rg %.2f %.2f %.2f %.2f re f" % (box[4], *box[:4]) for box in boxes]
    out.append("BT")
    state = None
    for x, y, text, size, bold, colour in texts:
        out.append("1 0 0 1 %.2f %.2f Tm" % (x, y))
        for font, codes in encoded(text):
            if state != (font, size, bold, colour):
                state = font, size, bold, colour
                out.append(f"/{font}{bold:d} {size:.2f} Tf {colour} rg")
            codes = codes.replace("\\", "\\\\").replace("(", "\\(")
            out.append("(%s) Tj" % codes.replace(")", "\\)"))
    out.append("ET")
    return "\n".join(out).encode("latin-1")


def font_widths(font: str) -> Widths:
    """Return the widths of all that a font can show."""
    from borb.pdf import Standard14Fonts

    # borb has these under other names; here are others as wide in either weight.
    twins = {"ƒ": "0", "¹": "(", "²": "(", "³": "(", "µ": "μ"}
    chars = bytes(range(32, 256)).decode("cp1252", "ignore") + LATIN
    # At size 1000, because borb rounds up to whole points.
    width = Standard14Fonts.get(font).get_width
    return {char: width(twins.get(char, char), font_size=1000) for char in chars}


def pdf_fonts() -> dict[str, object]:
    """Return the fonts: F0 and F1 (bold) in cp1252, L0 and L1 with LATIN."""
    from borb.pdf import Standard14Fonts
    from borb.pdf.font.adobe_glyph_list import AdobeGlyphList
    from borb.pdf.primitives import name

    names = AdobeGlyphList.ADOBE_CHARACTER_TO_CHARACTER_NAME
    latin = {"Type": name("Encoding"), "BaseEncoding": name("WinAnsiEncoding")}
    latin["Differences"] = [128, *(name(names[char]) for char in LATIN)]
    fonts = {}
    for index, font in enumerate(HELVETICA):
        fonts[f"F{index}"] = Standard14Fonts.get(font)
        fonts[f"L{index}"] = Standard14Fonts.get(font)
        fonts[f"L{index}"]["Encoding"] = latin
    return fonts


def pdf_facts(invoice: Invoice, created: datetime) -> dict[str, str]:
    """Return what the file says of itself; its producer stays borb, by its licence."""
    from borb.pdf.primitives import hexstr

    titles = " and ".join(title for title, _ in invoice.sections)
    facts = {
        "Title": f"Invoice {invoice.number}",
        "Author": ISSUER[0],
        "Subject": f"{titles}, {invoice.period}",
    }
    # In hexadecimal, because borb does not escape text and fails beyond Latin-1.
    for key, text in facts.items():
        facts[key] = hexstr(f"\ufeff{text}".encode("utf-16-be").hex())
    zone = created.astimezone().strftime("%z")
    date = created.astimezone().strftime("D:%Y%m%d%H%M%S") + f"{zone[:3]}'{zone[3:5]}'"
    return {**facts, "CreationDate": date, "ModDate": date}


def load_borb() -> None:
    """Import borb, and keep it to its task. Raises UsageError when it is not there."""
    try:
        from borb.pdf import UsageStatistics
    except ImportError:
        hint = "python3 -m pip install 'borb>=3.0.9,<4'"
        raise UsageError(f"the PDF needs borb, to be had by: {hint}", "borb") from None
    # Else borb reports over the network when Python ends, and takes over Ctrl-C.
    UsageStatistics.opt_out()


def invoice_pdf(
    invoice: Invoice, created: datetime, on_page: Callable[[int], object]
) -> tuple[bytes, int]:
    """Return an invoice as a PDF file, and the number of its pages."""
    load_borb()
    import hashlib
    import io

    from borb.pdf import PDF, Document, Page
    from borb.pdf.primitives import hexstr, name

    regular, bold = map(font_widths, HELVETICA)
    pages = draw(invoice, (regular, bold), on_page)
    document, digest = Document(), hashlib.sha256()
    for drawn in pages:
        page = Page()
        contents = page["Contents"]
        contents["DecodedBytes"] = operators(drawn)
        digest.update(contents["DecodedBytes"])
        # borb's writer takes time by the square of the number of values, so that
        # a page keeps no more than it must and inherits the rest.
        page.clear()
        page.update(Type=name("Page"), Contents=contents)
        document.append_page(page)
    trailer = document["Trailer"]
    trailer["ID"] = [hexstr(digest.hexdigest()[:32])] * 2
    trailer["Info"].update(pdf_facts(invoice, created))
    trailer["Root"]["Pages"].update(
        Resources={"Font": pdf_fonts()}, MediaBox=[0, 0, WIDTH, HEIGHT]
    )
    stream = io.BytesIO()
    PDF.write(what=document, where_to=stream)
    return stream.getvalue(), len(pages)


# --- 8 -- commands -------------------------------------------------------------------


# What an argument of a command can be; each has a converter of its text. Other kinds:
# flag, file, rest (all that follows), append (may be repeated), word (stands for a
# plain word), --name=value (stands for that option).
KINDS: dict[str, Callable[[str], Any]] = {
    "text": str,
    "file": str,
    "word": str,
    "append": str,
    "rest": str,
    "id": identifier,
    "size": amount(" (GiB)"),
    "disk": disk_size,
    "rows": amount("", 1, whole=True),
    "gpus": amount(" (GPUs)", 1, whole=True),
    "times": amount("", whole=True),
    "seconds": amount(" (seconds)"),
    "volume": amount(" (GB)", whole=True),
    "bid": amount(" ($/hour)", 0.001, 128),
    "new_bid": amount(" ($/hour)", 0.001),
    "price": amount(" (dollars)"),
    "fraction": amount("", 0, 1),
    "duration": duration,
    "start": lambda text: parse_date(text, last=False),
    "end": lambda text: parse_date(text, last=True),
}
# Kinds whose values are a fixed set; see one_of.
CHOICES = {
    "rental": ("on-demand", "bid", "interruptible=bid", "reserved"),
    "shell": ("bash", "zsh"),
}
KINDS |= {kind: one_of(*values) for kind, values in CHOICES.items()}


# In front of a word it keeps argparse from taking it for an option or for its own "--";
# no word has one of itself.
TEXT = "\0"


class Argument:
    """An argument of a command, from its line in the table: names and value, kind,
    help, at least two blanks apart.

    A plain word ends with + or * where several are taken, with ? where it may be
    missing. A kind may end with =DEFAULT, or with ! where the option must be given.
    """

    def __init__(self, line: str) -> None:
        names, kind, self.help = re.split(r"\s{2,}", line.strip(), maxsplit=2)
        words = names.replace(",", "").split()
        self.names = [word for word in words if word.startswith("-")]
        self.value = "" if words[-1] in self.names else words[-1]
        self.stands_for = kind if kind.startswith("--") else ""
        self.kind, self.default = (*kind.rstrip("!").split("="), "")[:2]
        self.required = kind.endswith("!")
        self.is_flag = self.kind == "flag" or bool(self.stands_for)

    @property
    def long(self) -> str:
        """An option's first name of two dashes."""
        return next(name for name in self.names if name.startswith("--"))

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        """Tells argparse of it."""
        settings: Row = {"help": self.help.replace("%", "%%")}
        if self.help == "-":
            settings["help"] = argparse.SUPPRESS
        if self.is_flag:
            settings["action"] = "store_true"
        else:
            convert = KINDS[self.kind]
            settings["type"] = lambda text: convert(text.removeprefix(TEXT))
            settings["default"] = self.default or None
        if self.kind == "append":
            settings["action"] = "append"
        if self.names:
            if not self.is_flag:
                settings |= {"metavar": self.value, "required": self.required}
            parser.add_argument(*self.names, **settings)
            return
        if self.value[-1] in "+*?":
            settings["nargs"] = self.value[-1]
        parser.add_argument(self.value.rstrip("+*?"), **settings)


class Session:
    """What a handler works with: the service and the world around."""

    def __init__(self, args: Arguments, world: World) -> None:
        self.world = world
        self.client = Client(args, world)

    def instances(self) -> list[Row]:
        """All the instances of the person; older services have no pages."""
        params = {
            "limit": "25",
            "select_filters": "{}",
            "order_by": '[{"col":"id","dir":"asc"}]',
        }
        try:
            return self.client.pages("/api/v1/instances/", "instances", params)
        except VastError as error:
            if not is_gone(error):
                raise
        call = Call("GET", "/api/v0/instances", params={"owner": "me"})
        return rows_of(self.client.send(call), "instances")

    def instance(self, number: int) -> Row | None:
        """One instance, or None when it is gone."""
        path = f"/api/v0/instances/{number}/"
        try:
            reply = self.client.send(Call("GET", path, params={"owner": "me"}))
        except VastError as error:
            if is_gone(error):
                return None
            raise
        row = reply.get("instances", "missing")
        if row is not None and not isinstance(row, dict):
            raise VastError("the answer has no instance in it", BAD_REPLY)
        return row


class Help:
    """What `help` shows: the main help, or that of a command or of a topic."""

    def __init__(self, words: list[str]) -> None:
        self.words = words


if TYPE_CHECKING:  # pragma: no cover - only mypy reads it
    Shown = Table | Result | Failed | Help | str | bytes
    Handler = Callable[[Session, Arguments], Iterable[Shown]]


class Command:
    """An entry of the table: everything that is particular to one command.

    `run` gets a Session and the arguments and yields what is to be shown: text is a
    line of stdout, bytes are its whole content. `arguments` has a line for each, see
    Argument. `notes` makes more text for the end of its help.
    """

    def __init__(
        self,
        name: str,
        group: str,
        help: str,
        run: Handler,
        arguments: str = "",
        example: str = "",
        aliases: Sequence[str] = (),
        notes: Callable[[], str] = str,
    ) -> None:
        self.name, self.group, self.help, self.run = name, group, help, run
        self.example, self.aliases, self.notes = example or name, aliases, notes
        self.lines = arguments + getattr(run, "arguments", "")

    def arguments(self) -> list[Argument]:
        """Its own arguments, those of its kind included."""
        return [Argument(line) for line in self.lines.splitlines() if line.strip()]


TABLE_OPTIONS = """
    --cols COLS      text     only these columns, by heading or field: a,b,c
    --no-header      flag     leave the heading out
"""


class Listing:
    """A kind of command: fetches rows and shows columns of them."""

    arguments = "-q, --quiet  flag  only the ids, one a line" + TABLE_OPTIONS

    def __init__(
        self, fetch: Callable[[Session, Arguments], list[Row]], table: str
    ) -> None:
        self.fetch, self.table = fetch, table

    def __call__(self, session: Session, args: Arguments) -> Iterator[Shown]:
        yield Table(self.fetch(session, args), columns(self.table))


class Change:
    """A kind of command: sends one request for each id and says what was done."""

    def __init__(self, call: Callable[[int, Arguments], Call]) -> None:
        self.call = call

    def __call__(self, session: Session, args: Arguments) -> Iterator[Shown]:
        several = isinstance(args.id, list) and len(args.id) > 1
        ids = list(dict.fromkeys(args.id)) if isinstance(args.id, list) else [args.id]
        for place, number in enumerate(ids):
            call = self.call(number, args)
            if several:
                session.world.progress(f"{place + 1} of {len(ids)}: {call.subject}")
            try:
                reply = session.client.send(call)
            except VastError as error:
                if not several or isinstance(error, UsageError):
                    raise
                yield Failed(number, error)
                if isinstance(error, (NoKey, Unreachable, Interrupted)):
                    if ids[place + 1 :]:
                        left = " ".join(map(str, ids[place + 1 :]))
                        session.world.note(f"not tried: {left}")
                    return
            else:
                yield Result(reply, call.said, number if several else None)


def change_call(
    thing: str, number: int, path: str, body: Row, said: str, method: str = "PUT"
) -> Call:
    """A change of an instance or a machine; `path` has {} for its id, `said` has {} for
    what it is and its id."""
    path, subject = path.replace("{}", str(number)), f"{thing} {number}"
    said = said.replace("{}", subject, 1)
    return Call(method, f"/api/v0/{path}", body, subject=subject, said=said)


class InstanceChange(Change):
    """A change of instances that can be waited for: until they are `goal`."""

    arguments = """
        --wait               flag         wait until it is so
        --timeout SECONDS    seconds=600  wait no longer than this (600)
    """

    def __init__(self, goal: str, said: str, body: Row, method: str = "PUT") -> None:
        def call(number: int, args: Arguments) -> Call:
            return change_call("instance", number, "instances/{}/", body, said, method)

        super().__init__(call)
        self.goal = goal

    def __call__(self, session: Session, args: Arguments) -> Iterator[Shown]:
        done = []
        for shown in super().__call__(session, args):
            yield shown
            if isinstance(shown, Result):
                done.append(shown)
        deadline = session.world.monotonic() + args.timeout
        for result in done if args.wait else ():
            number = args.id[0] if result.of is None else result.of
            try:
                row = wait_until(session, number, self.goal, deadline)
            except VastError as error:
                if result.of is None or isinstance(error, Interrupted):
                    raise
                yield Failed(number, error, result)
            else:
                result.value["instance"] = row


# What an instance's `actual_status` is when a change has come to its end.
GOALS = {"running": ("running",), "stopped": ("stopped", "exited"), "gone": ()}
BROKEN = ("exited", "offline")
POLL = 2.0  # seconds between two looks at an instance: the service's threshold


def wait_until(session: Session, number: int, goal: str, deadline: float) -> Row | None:
    """The instance as soon as it is running, stopped or gone (then None).

    Raises VastError when it broke, NotDone after the deadline, Interrupted; each says
    that the instance goes on costing money.
    """
    world, start = session.world, session.world.monotonic()
    costs = f"it still costs money; to end that: vast.py destroy instance {number}"
    before = ""
    try:
        while True:
            row = session.instance(number)
            status = "gone" if row is None else row.get("actual_status") or "starting"
            if status == goal or status in GOALS[goal]:
                world.note(f"instance {number} is {goal}")
                return row
            if row is None:
                raise VastError(f"instance {number} is gone", "no_such_instance")
            # What was broken before a start may be seen once more just after it.
            said = f"instance {number}: {status} {row.get('status_msg') or ''}".rstrip()
            if status in BROKEN and before == said:
                msg = row.get("status_msg") or "no reason given"
                raise VastError(f"instance {number} is {status}: {msg}; {costs}")
            taken = world.monotonic() - start
            world.progress(f"{said} ({taken:.0f} s)", milestone=said != before)
            if world.monotonic() + POLL > deadline:
                msg = (
                    f"instance {number} is not {goal} after {taken:.0f} s but {status}"
                )
                raise NotDone(f"{msg}; {costs}", "timeout")
            before = said
            world.sleep(POLL)
    except (KeyboardInterrupt, Interrupted):
        msg = f"interrupted; instance {number} is not known to be {goal}; {costs}"
        raise Interrupted(msg) from None


def find_offers(session: Session, args: Arguments) -> list[Row]:
    """`search offers`: the rows that the query finds, in the order asked for."""
    defaults = {} if args.no_default else DEFAULT_FILTERS
    filters, notes = parse_query(" ".join(args.query), defaults)
    body: Row = {
        **filters,
        "order": parse_order(args.order),
        "type": args.type,
        "allocated_storage": args.storage,
    }
    if args.limit is not None:
        body["limit"] = args.limit
    if args.disable_bundling:
        body["disable_bundling"] = True
    for note in notes:
        session.world.note(note)
    call = Call("POST", "/api/v0/bundles/", body, kind=READ)
    return rows_of(session.client.send(call), "offers")


def fields_help() -> str:
    """The grammar of queries and the list of fields."""
    lines = [
        f"  {field.name:<20}{field.kind:<8}{field.unit:<12}{field.help}".rstrip()
        for field in map(Field, FIELD_TABLE.splitlines())
    ]
    return f"{GRAMMAR}\n\nfields, with type and unit:\n" + "\n".join(lines)


def url_of(scheme: str) -> Handler:
    """`ssh-url` and `scp-url`: the address of an instance, never a made-up one."""

    def run(session: Session, args: Arguments) -> Iterator[Shown]:
        yield address_result(the_instance(session, args.id), scheme)

    return run


def the_instance(session: Session, number: int | None) -> Row:
    """The instance of that id, or the only one there is."""
    if number is not None:
        row = session.instance(number)
        if row is None:
            raise VastError(f"there is no instance {number}", "no_such_instance")
        return {"id": number, **row}
    rows = session.instances()
    if len(rows) == 1:
        return rows[0]
    if not rows:
        raise VastError("there is no instance", "no_such_instance")
    ids = " ".join(str(row.get("id")) for row in rows)
    raise UsageError(f"which instance? give an id: {ids}", "several_instances")


def address_result(row: Row, scheme: str) -> Result:
    """The URL at which an instance is reached."""
    found = ssh_address(row)
    if not found:
        status = row.get("actual_status") or "starting"
        msg = f"instance {row.get('id')} is not ready: it is {status}"
        raise VastError(f"{msg}, without an address yet", "not_ready")
    host, port, direct = found
    url = f"{scheme}://root@{f'[{host}]' if ':' in host else host}:{port}"
    value = {"id": row.get("id"), "host": host, "port": port, "user": "root"}
    return Result({**value, "url": url, "direct": direct}, url)


LABEL_MOST = 1024
DISK_LEAST = 8  # GB
RENTAL_FLAGS = ("python_utf8", "lang_utf8", "force", "cancel_unavail")


def environment(texts: Sequence[str]) -> dict[str, str]:
    """Docker's options in the texts of `--env`, as the service takes them.

    "-e A=b -p 80:80 -h name" is {"A": "b", "-p 80:80": "1", "-h": "name"}. Whatever
    it cannot carry is refused. Raises UsageError.
    """
    import shlex

    try:
        words = shlex.split(" ".join(texts))
    except ValueError as error:
        raise UsageError(f"--env: {error}".lower()) from None
    found: dict[str, str] = {}
    while words:
        flag = ENV_FLAGS.get(words[0])
        if flag:
            del words[0]
        elif words[0][:2] in ENV_FLAGS:  # -p80:80
            flag, words[0] = words[0][:2], words[0][2:]
        elif words[0].startswith("-"):
            raise UsageError(f"--env cannot carry '{words[0]}', only -e -p -v -h")
        if not words:
            raise UsageError(f"--env: a value is missing behind '{flag}'")
        value = words.pop(0)
        name, equals, content = value.partition("=")
        if flag in ("-p", "-v"):
            found[f"{flag} {value}"] = "1"
        elif flag == "-h":
            found["-h"] = value
        elif name and equals:
            found[name] = content
        else:
            raise UsageError(f"--env: '{value}' is not of the form NAME=VALUE")
    return found


ENV_FLAGS = {"--env": "-e", "--publish": "-p", "--volume": "-v", "--hostname": "-h"}
ENV_FLAGS |= {flag: flag for flag in ENV_FLAGS.values()}


def run_type(args: Arguments) -> str | None:
    """How the instance is logged in to; None leaves it to the template."""
    if args.args is not None:
        return "args"
    jupyter = args.jupyter or args.jupyter_lab or args.jupyter_dir is not None
    if args.direct:
        return (
            "jupyter_direct ssh_direct ssh_proxy" if jupyter else "ssh_direct ssh_proxy"
        )
    if jupyter:
        return "jupyter"
    return "ssh" if args.ssh or args.template_hash is None else None


def check_rental(args: Arguments) -> None:
    """Refuses what cannot go together. Raises UsageError."""
    jupyter = args.jupyter or args.jupyter_lab or args.jupyter_dir is not None
    if not args.image and args.create_from is None and not args.template_hash:
        raise UsageError("an image is missing: give --image IMAGE")
    if jupyter and args.args is not None:
        raise UsageError("--jupyter does not go with --args")
    if args.onstart is not None and args.onstart_cmd is not None:
        raise UsageError("--onstart does not go with --onstart-cmd")


def rental(args: Arguments) -> Row:
    """The body of `create instance`: only what was given, and what is always sent."""
    check_rental(args)
    onstart = args.onstart_cmd
    if args.onstart is not None:
        onstart = read_script(args.onstart)
    if onstart is None:
        onstart = args.entrypoint
    if len(onstart or "") + sum(map(len, args.args or ())) > ONSTART_MOST:
        most = f"the service takes {ONSTART_MOST} characters"
        raise UsageError(f"the start-up script and the arguments are too long: {most}")
    disk = 10.0 if args.disk is None and args.template_hash is None else args.disk
    body: Row = {
        "client_id": "me",
        "image": args.image,
        "disk": disk,
        "label": args.label,
        "price": args.price,
        "onstart": onstart,
        "runtype": run_type(args),
        "jupyter_dir": args.jupyter_dir,
        "use_jupyter_lab": args.jupyter_lab or None,
        "args": args.args,
        "create_from": args.create_from,
        "extra": args.extra,
        "env": None if args.env is None else environment(args.env),
        "image_login": args.login,
        "template_hash_id": args.template_hash,
        "user": args.user,
    }
    body.update({flag: getattr(args, flag) or None for flag in RENTAL_FLAGS})
    return {key: value for key, value in body.items() if value is not None}


def create_instance(session: Session, args: Arguments) -> Iterator[Shown]:
    """`create instance`: rents an offer, once; what is paid by the hour starts here."""
    body, world = rental(args), session.world
    if args.disk is not None and args.disk < DISK_LEAST:
        world.note(f"the service's least disk is {DISK_LEAST} GB")
    if args.args is not None and (args.ssh or args.direct):
        world.note("--ssh and --direct do nothing with --args")
    path, subject = f"/api/v0/asks/{args.id}/", f"offer {args.id}"
    called = world.now()
    try:
        reply = session.client.send(Call("PUT", path, body, kind=ONCE, subject=subject))
        number = reply.get("new_contract")
        if type(number) is not int:  # True is an int too
            call = Call("PUT", path, subject=subject)
            raise OutcomeUnknown(f"the answer names no instance{doubt(call)}")
    except OutcomeUnknown as error:
        if args.label is not None:
            found = labelled_since(session, args.label, called)
            raise OutcomeUnknown(f"{error}; {found}", http=error.http) from None
        raise
    kind = "on demand" if args.price is None else f"interruptible, at ${args.price:g}/h"
    world.note(f"rented {subject} {kind}")
    result = Result(reply, f"Started. instance {number}")
    yield result
    if args.wait:
        if args.raw:
            world.note(result.text)
        deadline = world.monotonic() + args.timeout
        row = wait_until(session, number, "running", deadline)
        result.value["instance"] = row
        yield address_result(row or {}, "ssh").text


def labelled_since(session: Session, label: str, called: float) -> str:
    """Which instances with a label started since a call whose answer was lost."""
    try:
        rows = session.instances()
    except VastError as error:
        return f"and looking for the label failed: {error}"
    slack = 60  # seconds that the clocks may differ
    ids = [
        str(row.get("id"))
        for row in rows
        if row.get("label") == label
        and not (as_seconds(row.get("start_date")) or called) < called - slack
    ]
    if not ids:
        return f"no instance with the label '{label}' has started since"
    return f"started since with the label '{label}': {' '.join(ids)}"


def as_seconds(value: object) -> float | None:
    """A date in a row, if it is one."""
    return value if isinstance(value, (int, float)) else None


def label_call(number: int, args: Arguments) -> Call:
    """The call that labels an instance."""
    label = args.label or ""
    if len(label) > LABEL_MOST:
        raise UsageError(f"the label is too long: {LABEL_MOST} characters at most")
    said = "label of {}: " + label
    return change_call("instance", number, "instances/{}/", {"label": label}, said)


def bid_call(number: int, args: Arguments) -> Call:
    """The call that changes a bid; null lets the service find one that wins."""
    bid = "one that wins" if args.price is None else f"${args.price:g}/h"
    body = {"client_id": "me", "price": args.price}
    path, said = "instances/bid_price/{}/", f"bid for {{}}: {bid}"
    return change_call("instance", number, path, body, said)


def stop_instance(session: Session, args: Arguments) -> Iterator[Shown]:
    """`stop instance`, with a word on what goes on costing money."""
    stopping = False
    change = InstanceChange("stopped", "stopping {}.", {"state": "stopped"})
    for shown in change(session, args):
        stopping = stopping or isinstance(shown, Result)
        yield shown
    if stopping:
        session.world.note("the disk of a stopped instance still costs money")


def destroy_instance(session: Session, args: Arguments) -> Iterator[Shown]:
    """`destroy instance`, after asking whoever can be asked."""
    which = f"instance{'s' * (len(args.id) > 1)} {' '.join(map(str, args.id))}"
    if not args.yes and not args.dry_run:
        if not session.world.ask(f"destroy {which} and all data on its disk?"):
            raise NotDone("nothing was destroyed", "declined")
    yield from InstanceChange("gone", "destroying {}.", {}, "DELETE")(session, args)


# What a host can say of a machine, by option: the service's name for it, and the words
# around the value in what is said afterwards.
LISTED = {
    "price_gpu": ("price_gpu", "${:.10g}/h per GPU"),
    "price_disk": ("price_disk", "${:.10g}/GB/month of disk"),
    "price_inetu": ("price_inetu", "${:.10g}/GB uploaded"),
    "price_inetd": ("price_inetd", "${:.10g}/GB downloaded"),
    "price_min_bid": ("price_min_bid", "bids from ${:.10g}/h per GPU"),
    "min_chunk": ("min_chunk", "{} GPUs at least"),
    "discount_rate": ("credit_discount_max", "a discount of up to {}"),
    "vol_size": ("vol_size", "volumes of {} GB"),
    "vol_price": ("vol_price", "${:.10g}/GB/month of volume"),
    "image": ("image", "image {}"),
    "args": ("args", "arguments {}"),
    "duration": ("duration", "for {}"),
    "end_date": ("end_date", "until {}"),
}


def listed(args: Arguments) -> tuple[Row, str]:
    """What was said of a machine, as the service takes it and in words for people."""
    body: Row = {}
    said = []
    show: dict[str, Callable[[Any], str]] = {
        "args": lambda words: " ".join(words) or "none",
        "end_date": moment,
    }
    for name, (wire, words) in LISTED.items():
        value = getattr(args, name, None)
        if value is not None:
            body[wire] = value
            said.append(words.format(show[name](value) if name in show else value))
    return body, ", ".join(said) or "at the prices it had"


def list_machine(session: Session, args: Arguments) -> Iterator[Shown]:
    """`list machine`: offers machines for rent, or changes what they cost."""
    if args.end_date is not None and args.duration is not None:
        raise UsageError("--end_date does not go with --duration")
    if args.end_date is not None:
        args.end_date = end_of_listing(session.world, args.end_date)
    change = Change(priced("machines/create_asks/", "{} is listed: "))
    yield from change(session, args)


def end_of_listing(world: World, text: str) -> int:
    """The date at which a listing ends, in unix seconds. Raises UsageError."""
    seconds = int(text) if text.isdecimal() else parse_date(text, last=True)
    if seconds <= world.now():
        raise UsageError(f"the end date, {moment(seconds)}, is in the past")
    world.note(f"the listing ends on {moment(seconds)}")
    return seconds


def priced(path: str, said: str) -> Callable[[int, Arguments], Call]:
    """The calls that say what a machine costs, on the market or in its default job."""

    def call(number: int, args: Arguments) -> Call:
        body, words = listed(args)
        body = {"machine": number, **body}
        return change_call("machine", number, path, body, f"{said}{words}.")

    return call


def machines(session: Session, args: Arguments) -> list[Row]:
    """The person's machines."""
    call = Call("GET", "/api/v0/machines", params={"owner": "me"})
    return rows_of(session.client.send(call), "machines")


def show_user(session: Session, args: Arguments) -> Iterator[Shown]:
    """`show user`: the fields that have a value, without credentials."""
    user = the_user(session)
    # Whatever has a fraction there is dollars.
    shown = {
        name: money(figure(value)) if isinstance(value, float) else value
        for name, value in sorted(user.items())
    }
    if args.quiet:
        line = [shown.get(name) for name in ("id", "email", "balance", "credit")]
        yield Result(user, " ".join(map(cell, line)))
        return
    rows = [
        {"Field": name, "Value": value}
        for name, value in shown.items()
        if value not in (None, "")
    ]
    yield Table(rows, columns("Field Field -\nValue Value -"), value=user)


def the_user(session: Session) -> Row:
    """The record of the person, without credentials."""
    reply = session.client.send(Call("GET", "/api/v0/users/current/", exact=True))
    if "id" not in reply:
        raise VastError("the answer is no user", BAD_REPLY)
    user: Row = without_credentials(reply)
    return user


class Bills:
    """The lines of invoices in a range, and the charges that are not billed yet."""

    def __init__(self, session: Session, args: Arguments) -> None:
        if args.only_charges and args.only_credits:
            raise UsageError("--only_charges does not go with --only_credits")
        self.start, self.end = args.start_date or 0, args.end_date
        if self.end is None:
            self.end = int(session.world.now())
        if self.end < self.start:
            raise UsageError("the end date is before the start date")
        first = moment(self.start) if args.start_date else "the beginning"
        self.period = f"{first} to {moment(self.end)}"
        if not args.quiet:
            session.world.note(f"from {self.period}")
        self.only = "charges" * args.only_charges + "credits" * args.only_credits
        rows, self.current = billed(session, self.start, self.end)
        self.lines = lines_of(rows, self.start, self.end, self.only)


def billed(session: Session, start: int, end: int) -> tuple[list[Row], object]:
    """The rows of invoices and the current charges; where that call is retired, the
    rows of its two successors."""
    params = {"owner": "me", "sdate": f"{start}", "edate": f"{end}"}
    params["inc_charges"] = "true"
    try:
        call = Call("GET", "/api/v0/users/me/invoices", params=params, exact=True)
        reply = session.client.send(call)
        return rows_of(reply, "invoices"), reply.get("current")
    except VastError as error:
        if not is_gone(error):
            raise
    rows = []
    for path, column in (("/api/v1/invoices/", "when"), ("/api/v0/charges/", "day")):
        filters = json.dumps({column: {"gte": start, "lte": end}})
        params = {"select_filters": filters, "limit": "500"}
        rows += session.client.pages(path, "results", params, exact=True)
    return rows, None


INVOICE_COLUMNS = """\
ID          id        %s
Date        date      -
Type        kind      -
Description item      -
Quantity    quantity  %s
Rate        rate      %s
Amount      amount    %s
"""


def invoice_cells(line: Line) -> Row:
    """What a line of an invoice shows in a table, and the fields of its row."""
    cells = {name: getattr(line, name) for name in ("id", "date", "kind", "item")}
    cells["item"] = line.row.get("description") or line.item  # escapes and all
    for name in ("quantity", "rate", "amount"):
        value = getattr(line, name)
        cells[name] = None if value is None else f"{value:f}"
    return {**line.row, **cells}


def show_invoices(session: Session, args: Arguments) -> Iterator[Shown]:
    """`show invoices`: the rows, then on stderr their sums."""
    bills = Bills(session, args)
    rows = [line.row for line in bills.lines]
    value = {"invoices": rows, "current": bills.current}
    cells_of = [invoice_cells(line) for line in bills.lines]
    yield Table(cells_of, columns(INVOICE_COLUMNS), value)
    if not args.quiet:
        for title, is_charge in SECTIONS.values():
            sum_of = total(side(bills.lines, is_charge))
            session.world.note(f"{title.lower()}: {money(sum_of)} USD")
        session.world.note(
            f"not billed yet: {money(current_charges(bills.current))} USD"
        )


def generate_pdf(session: Session, args: Arguments) -> Iterator[Shown]:
    """`generate pdf-invoices`: draws the invoice and says where it is."""
    from datetime import datetime

    if args.output == "-" and args.raw:
        raise UsageError("--raw does not go with --output -: there is one stdout")
    if not args.dry_run:
        load_borb()
    bills = Bills(session, args)
    world, number = session.world, invoice_number(bills.end)
    created = datetime.fromtimestamp(int(world.now())).astimezone()
    invoice = Invoice(
        number,
        the_user(session),
        bills.period,
        f"{created:%Y-%m-%d}",
        bills.lines,
        bills.current,
        bills.only,
    )
    for text in () if args.quiet else invoice.unshowable():
        world.note(f"letters that the PDF cannot show, '?' there: {text}")
    busy = len(bills.lines) > MANY_ROWS
    content, pages = invoice_pdf(
        invoice, created, lambda page: world.progress(f"page {page}") if busy else None
    )
    ends = args.start_date, args.end_date
    path = args.output or invoice_file(number, *ends, bills.only)
    sum_text = f"{total(bills.lines):f}"
    value = {"path": path, "pages": pages, "rows": len(bills.lines), "total": sum_text}
    if path == "-":
        yield content
    else:
        write_file(path, content)
        yield Result(value, path)


MANY_ROWS = 2000  # from here on a PDF takes long enough to show progress


def nothing_to_call(session: Session, args: Arguments) -> Iterator[Shown]:
    """`create account` and `login`: what to do instead."""
    yield (
        "This is no longer done on the command line. Make an API key at\n"
        f"    {KEYS_PAGE}\n"
        "(once https://vast.ai/console/cli) and keep it with:\n"
        "    vast.py set api-key YOUR_API_KEY"
    )


def set_api_key(session: Session, args: Arguments) -> Iterator[Shown]:
    """`set api-key`: keeps the key in a file of the person's own."""
    world, key = session.world, args.new_api_key
    if key == "-":
        key = world.stdin.readline() if world.stdin else ""
    key, path = check_key(key), key_files(world.environ)[0]
    if not args.dry_run:
        write_file(path, f"{key}\n".encode(), mode=0o600)
    if world.environ.get("VAST_API_KEY"):
        world.note("the environment's VAST_API_KEY overrides the file")
    said = "would be" if args.dry_run else "is"
    yield Result({"path": path}, f"Your API key {said} kept in {path}")


def statuses_help() -> str:
    """The exit statuses, as the docstring at the top has them."""
    return (__doc__ or "").partition("\n\nExit statuses:\n\n")[2].rstrip()


TOPICS: dict[str, Callable[[], str]] = {
    "exit-codes": statuses_help,
    "environment": lambda: ENVIRONMENT_HELP,
    "query": fields_help,
}


def show_help(session: Session, args: Arguments) -> Iterator[Shown]:
    """`help`: the main help, or that of a command or a topic."""
    yield Help(args.command)


# Both shells walk over the words before the cursor, as far as @CASES@ knows them.
COMPLETION = """\
# Completion for @SHELL@; to use it: source <(vast.py completion @SHELL@)
_vast_lines() {
    case $1 in
@CASES@    *) return 1 ;;
    esac
}
_vast_find() {
    local typed=$1 at='' option='' word
    shift
    for word; do
        word=${word//_/-}
        case $word in '=') continue ;; --args) return ;; esac
        if [ "$option" ]; then option=''
        elif _vast_lines "$at $word" >/dev/null; then
            case $word in -*) option=" $word" ;; *) at="$at $word" ;; esac
        fi
    done
    case $option$typed in
    -*) at="$at -*" ;;
    '') [ "$(_vast_lines "$at")" ] || at="$at -*" ;;
    esac
    _vast_lines "$at$option"
}
"""
SHELLS = {
    "bash": """\
_vast() {
    local IFS=$'\\n' typed=${COMP_WORDS[COMP_CWORD]#=} lines
    lines=$(_vast_find "$typed" "${COMP_WORDS[@]:1:COMP_CWORD-1}")
    case $lines in
    /) compopt -o default ;;
    *) COMPREPLY=($(compgen -W "$lines" -- "$typed")) ;;
    esac
}
complete -F _vast vast.py""",
    "zsh": """\
_vast() {
    local -a before=("${(@)words[2,CURRENT-1]}") lines
    [[ $PREFIX == --*=* ]] && before+=("${PREFIX%%=*}") && compset -P '*='
    lines=("${(@f)$(_vast_find "$PREFIX" "${before[@]}")}")
    case "$lines" in
    /:) _files ;;
    ?*) _describe vast.py lines ;;
    esac
}
(( $+functions[compdef] )) || { autoload -U compinit && compinit }
compdef _vast vast.py""",
}


def completions() -> dict[str, dict[str, str]]:
    """The words that can follow, with their help, by the words before them, a blank in
    front of each; options follow "-*". The word "/" stands for the name of a file."""
    tree: dict[str, dict[str, str]] = {}

    def add(path: str, arguments: Iterable[Argument]) -> None:
        words, options = tree.setdefault(path, {}), tree.setdefault(f"{path} -*", {})
        for it in arguments:
            known = ["/"] if it.kind == "file" else CHOICES.get(it.kind, [])
            values = {word.partition("=")[0]: "" for word in known}
            if not it.names:
                words.update(values)
            if it.help != "-":
                options.update(dict.fromkeys(it.names, it.help))
            if not it.is_flag:
                tree.update({f"{path} {plain(name)}": values for name in it.names})

    add("", [*COMMON_OPTIONS, VERSION_FLAG])
    for name, command in COMMAND_BY_NAME.items():
        verb, *thing = name.split()
        add(f" {verb}", COMMON_OPTIONS)
        tree[""][verb] = "" if thing else command.help
        tree[f" {verb}"].update(dict.fromkeys(thing, command.help))
        add(f" {name}", [*command.arguments(), *COMMON_OPTIONS])
    tree[" help"] = {**tree[""], **dict.fromkeys(TOPICS, "")}
    return tree | {f" help {verb}": tree[f" {verb}"] for verb in VERBS}


def completion_script(shell: str) -> str:
    """The script that a shell reads to complete the words behind vast.py."""
    from shlex import quote

    paths_of: dict[str, list[str]] = {}
    for path, words in completions().items():
        lines = words if shell == "bash" else map(":".join, words.items())
        said = "".join(f" {quote(line)}" for line in lines)
        paths_of.setdefault(said and f" printf '%s\\n'{said}", []).append(quote(path))
    cases = [f"    {'|'.join(paths)}){say} ;;\n" for say, paths in paths_of.items()]
    script = COMPLETION + SHELLS[shell]
    return script.replace("@CASES@", "".join(cases)).replace("@SHELL@", shell)


def completion(session: Session, args: Arguments) -> Iterator[Shown]:
    """`completion`: a script for the shell, made from the table."""
    yield completion_script(args.shell)


COMMON = """
    --url URL          text     the service's address; or VAST_URL in the environment
    --raw              flag     print JSON
    --api-key API_KEY  text     the API key; ps shows it, so VAST_API_KEY is better
    --retry RETRY      times=3  how often a failed call is sent again (3)
    --dry-run          flag     print the first request for curl, send nothing
    -h, --help         flag     show this
"""
COMMON_OPTIONS = [Argument(line) for line in COMMON.strip().splitlines()]
VERSION_FLAG = Argument("--version  flag  print the version")


RENTING, HOSTING, BILLS, ACCOUNT = "Renting", "Renting out", "Billing", "Account"

SEVERAL = "id+  id  its id; several are taken too\n"
ONLY_ONE = """
    id?      id    its id; not needed when there is only one
    --id ID  word  the same as an option
"""
BILLS_OPTIONS = """
    -s, --start_date START_DATE  start  from this date on: 2026-02-03, 2026-02, ...
    -e, --end_date END_DATE      end    up to this date, its last second included
    -c, --only_charges           flag   no payments
    -p, --only_credits           flag   only payments
"""

COMMANDS = (
    Command("search offers", RENTING, "find machines to rent",
        Listing(find_offers, OFFER_COLUMNS),
        """
        query*               text    what the offers must have, see below
        -t, --type TYPE      rental=on-demand  on-demand, bid, interruptible or reserved
        -i, --interruptible  --type=interruptible  the same as --type interruptible
        -b, --bid            --type=bid            the same as --type bid
        -d, --on-demand      --type=on-demand      the same as --type on-demand
        -r, --reserved       --type=reserved       the same as --type reserved
        -n, --no-default     flag    without the default filters
        --disable-bundling   flag    show identical offers one by one
        --storage STORAGE    size=5.0     GiB of disk that the price is for (5.0)
        -o, --order ORDER    text=score-  fields to sort by: dph, num_gpus- (score-)
        --limit LIMIT        rows    so many offers at most
        """,
        example="search offers 'num_gpus>=4 dph<2 gpu_name=RTX_4090' -o dph",
        aliases=["search instances"],
        notes=fields_help,
    ),
    Command("show instances", RENTING, "list what you rent",
        Listing(lambda session, args: session.instances(), INSTANCE_COLUMNS),
    ),
    Command("ssh-url", RENTING, "print where ssh reaches an instance",
        url_of("ssh"), ONLY_ONE, example="ssh-url 5001",
    ),
    Command("scp-url", RENTING, "print where scp reaches an instance",
        url_of("scp"), ONLY_ONE, example="scp-url 5001",
    ),
    Command("create instance", RENTING, "rent an offer; it costs money from then on",
        create_instance,
        """
        id                          id      the id of the offer
        --price, --bid_price PRICE  bid     rent interruptible, at this bid in $/hour
        --disk DISK                 disk    GB of disk (10)
        --image IMAGE               text    the image to run
        --label LABEL               text    a name for the instance
        --onstart ONSTART           file    a file whose text is run at every start
        --onstart-cmd ONSTART_CMD   text    commands to run at every start
        --entrypoint ENTRYPOINT     text    what to run at the start if neither is given
        --ssh                       flag    log in by ssh (the default)
        --direct                    flag    connect to the machine, not through a proxy
        --jupyter                   flag    start Jupyter
        --jupyter-dir JUPYTER_DIR   text    the folder that Jupyter opens
        --jupyter-lab               flag    start JupyterLab
        --lang-utf8                 flag    set the locale to C.UTF-8
        --python-utf8               flag    set Python's encoding to UTF-8
        --args ...                  rest    all that follows is for the image's command
        --env ENV                   append  '-e NAME=VALUE -p 80:80 -v a:b -h NAME'
        --login LOGIN               text    a registry's '-u USER -p PASSWORD HOST'
        --user USER                 text    the user to run the image as
        --template_hash TEMPLATE_HASH  text  a template, for what is not given here
        --create-from CREATE_FROM   id      the id of an instance to copy
        --force                     flag    skip the checks of --create-from
        --cancel-unavail            flag    fail rather than wait for the machine
        --extra EXTRA               text    -
        """
        + InstanceChange.arguments,
        example="create instance 1234 --image pytorch/pytorch --disk 40 --label it",
    ),
    Command("start instance", RENTING, "start a stopped instance",
        InstanceChange("running", "starting {}.", {"state": "running"}), SEVERAL,
        example="start instance 5001 --wait",
    ),
    Command("stop instance", RENTING, "stop an instance; its disk stays, and costs",
        stop_instance, SEVERAL + InstanceChange.arguments,
        example="stop instance 5001",
    ),
    Command("label instance", RENTING, "name an instance", Change(label_call),
        """
        id     id    its id
        label  text  its new name; '' for none
        """,
        example="label instance 5001 training",
    ),
    Command("change bid", RENTING, "change the bid for an interruptible instance",
        Change(bid_call),
        """
        id             id       its id
        --price PRICE  new_bid  $/hour; without it the service picks a winning bid
        """,
        example="change bid 5001 --price 0.3",
    ),
    Command("destroy instance", RENTING, "give an instance back; its data are lost",
        destroy_instance,
        SEVERAL + "-y, --yes  flag  do not ask" + InstanceChange.arguments,
        example="destroy instance 5001 -y",
    ),
    Command("show machines", HOSTING, "list the machines that you rent out",
        Listing(machines, MACHINE_COLUMNS),
    ),
    Command("list machine", HOSTING, "offer a machine for rent, or change its prices",
        list_machine,
        SEVERAL
        + """
        -g, --price_gpu PRICE_GPU          price     $/hour per GPU
        -s, --price_disk PRICE_DISK        price     $/GB/month of disk
        -u, --price_inetu PRICE_INETU      price     $/GB uploaded
        -d, --price_inetd PRICE_INETD      price     $/GB downloaded
        -m, --min_chunk MIN_CHUNK          gpus      the least number of GPUs to rent
        -e, --end_date END_DATE            text      until this date, or unix seconds
        -b, --price_min_bid PRICE_MIN_BID  price     $/hour per GPU, the least bid
        -r, --discount_rate DISCOUNT_RATE  fraction  the most that is taken off, 0..1
        -l, --duration DURATION            duration  30 days, 2 weeks, or seconds
        -v, --vol_size VOL_SIZE            volume    GB to rent out as volumes, or 0
        -z, --vol_price VOL_PRICE          price     $/GB/month of volumes
        """,
        example="list machine 12345 --price_gpu 0.5 --end_date 2030-12-31",
    ),
    Command("unlist machine", HOSTING, "take a machine off the market",
        Change(lambda number, args: change_call("machine", number,
            "machines/{}/asks/", {}, "{} is no longer listed.", "DELETE")),
        SEVERAL, example="unlist machine 12345",
    ),
    Command("set min-bid", HOSTING, "set the least bid for a machine",
        Change(lambda number, args: change_call("machine", number,
            "machines/{}/minbid/", {"client_id": "me", "price": args.price},
            f"{{}}: bids from ${args.price:g}/h per GPU.")),
        """
        id             id      its id
        --price PRICE  price!  $/hour per GPU
        """,
        example="set min-bid 12345 --price 0.25",
    ),
    Command("set defjob", HOSTING, "give a machine a job for idle times",
        Change(priced("machines/create_bids/", "default job of {}: ")),
        """
        id                         id     its id
        --price_gpu PRICE_GPU      price  $/hour per GPU
        --price_inetu PRICE_INETU  price  $/GB uploaded
        --price_inetd PRICE_INETD  price  $/GB downloaded
        --image IMAGE              text   the image to run
        --args ...                 rest   all that follows is for the image's command
        """,
        example="set defjob 12345 --price_gpu 0.1 --price_inetu 0.01 \\\n"
        "    --price_inetd 0.01 --image ubuntu --args sleep 1d",
    ),
    Command("remove defjob", HOSTING, "take a machine's default job away",
        Change(lambda number, args: change_call("machine", number,
            "machines/{}/defjob/", {}, "{} has no default job any more.", "DELETE")),
        "id  id  its id", example="remove defjob 12345",
    ),
    Command("show user", BILLS, "show your account", show_user,
        "-q, --quiet  flag  one line: id, e-mail, balance and credit" + TABLE_OPTIONS,
    ),
    Command("show invoices", BILLS, "list charges and payments", show_invoices,
        BILLS_OPTIONS + Listing.arguments,
        example="show invoices -s 2026-01 -e 2026-03",
    ),
    Command("generate pdf-invoices", BILLS, "draw charges and payments as a PDF",
        generate_pdf,
        BILLS_OPTIONS
        + """
        -q, --quiet          flag  no notes on stderr
        -o, --output OUTPUT  file  the file to write; - is stdout
        """,
        example="generate pdf-invoices -s 2026-01 -e 2026-03",
    ),
    Command("set api-key", ACCOUNT, "keep your API key", set_api_key,
        "new_api_key  text  the key; - reads it from stdin",
        example="set api-key -",
    ),
    Command("create account", ACCOUNT, "say how to get an API key", nothing_to_call,
        "ignored*  rest  any words",
    ),
    Command("login", ACCOUNT, "say how to get an API key", nothing_to_call,
        "ignored*  rest  any words",
    ),
    Command("completion", ACCOUNT, "print a script for completion in the shell",
        completion, "shell  shell  bash or zsh", example="completion bash",
    ),
    Command("help", ACCOUNT, "show this, or help on a command or a topic", show_help,
        "command*  text  a command, or a topic", example="help query",
    ),
)  # fmt: skip


def plain(name: str) -> str:
    """A name of an option or a command, however its words are joined."""
    return name.replace("_", "-")


COMMAND_BY_NAME = {
    plain(name): command
    for command in COMMANDS
    for name in (command.name, *command.aliases)
}
VERBS = {name.split()[0] for name in COMMAND_BY_NAME}


# --- 9 -- command line ---------------------------------------------------------------


def option_table(arguments: Iterable[Argument]) -> dict[str, Argument]:
    """The options among arguments, by each of their names."""
    return {plain(name): it for it in arguments for name in it.names}


class Words:
    """The command line taken apart: options in one spelling, the other words, and
    what follows `--args`."""

    def __init__(self, arguments: Iterable[Argument], name: str = "") -> None:
        self.arguments, self.name = tuple(arguments), name
        self.options = option_table(self.arguments)
        self.given: list[str] = []  # --name or --name=value
        self.others: list[str] = []
        self.rest: list[str] | None = None

    def option(self, words: list[str]) -> bool:
        """Takes an option and its value from the front of the words, if it is one."""
        name, equals, value = words[0].partition("=")
        option = self.options.get(plain(name))
        if (
            option is None
            and re.match("-[^-].", name)
            and f"-{name}" not in self.options
        ):
            # One dash: -odph is -o dph, and -qb is -q -b.
            option = self.options.get(words[0][:2])
            name, equals, value = words[0][:2], "=", words[0][2:]
            if option and option.is_flag:
                words.insert(1, f"-{value}")
                equals = ""
        if option is None:
            return False
        del words[0]
        if option.kind == "rest":
            self.rest = [value] * bool(equals) + words
            words.clear()
        elif option.is_flag:
            if equals:
                raise self.error(f"{name} takes no value")
            self.given.append(option.stands_for or option.long)
        else:
            if not equals and (not words or self.names_option(words[0])):
                raise self.error(f"a value is missing behind {name}")
            value = value if equals else words.pop(0)
            if option.kind == "word":
                self.others.append(value)
            else:
                self.given.append(f"{option.long}={TEXT}{value}")
        return True

    def names_option(self, word: str) -> bool:
        """Whether a word is one of the options."""
        return word.startswith("-") and plain(word.partition("=")[0]) in self.options

    def error(self, msg: str) -> UsageError:
        """A UsageError that says which command and where to read on."""
        name = f"{self.name} " if self.name else ""
        return UsageError(f"{name and name[:-1] + ': '}{msg}; see vast.py {name}--help")

    def unknown(self, words: list[str]) -> UsageError:
        """The error for a first word that looks like an option and is none."""
        name, equals, value = words[0].partition("=")
        field = fields().get(name.strip("-").replace("-", "_"))
        if f"-{name}" in self.options:
            hint = f"; did you mean '-{name}'?"
        elif field and self.name == "search offers":
            value = value if equals else (*words, "", "VALUE")[1] or "VALUE"
            hint = f"; write it into the query: '{field.name}={value}'"
        else:
            hint = did_you_mean(plain(name), self.options)
        return self.error(f"unknown option '{words[0]}'{hint}")

    def take(self, words: list[str]) -> None:
        """Takes all the words."""
        anything = any(it.kind == "rest" and not it.names for it in self.arguments)
        while words:
            if words[0] == "--":
                self.others += words[1:]
                return
            if not words[0].startswith("-") or words[0] == "-":
                self.others.append(words.pop(0))
            elif not self.option(words):
                if not anything:
                    raise self.unknown(words)
                self.others.append(words.pop(0))


def find_command(words: list[str]) -> tuple[Command | None, Words]:
    """The command that the words name and the words around its name.

    None when they name none: then the words tell what to show.
    """
    front = Words([*COMMON_OPTIONS, VERSION_FLAG])
    while words:
        if words[0].startswith("-"):
            if not front.option(words):
                raise front.unknown(words)
            continue
        front.others.append(words.pop(0))
        command = COMMAND_BY_NAME.get(plain(" ".join(front.others)))
        if command:
            found = Words([*command.arguments(), *COMMON_OPTIONS], command.name)
            found.given = front.given
            found.take(words)
            return command, found
        if len(front.others) == 2 or plain(front.others[0]) not in VERBS:
            name = " ".join([*front.others, *words[:1]][:2])
            near = did_you_mean(plain(name), COMMAND_BY_NAME)
            if not near:
                near = did_you_mean(plain(front.others[0]), COMMAND_BY_NAME)
            typed = " ".join(front.others)
            raise UsageError(f"unknown command '{typed}'{near or '; see vast.py help'}")
    return None, front


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """argparse's help, 80 columns wide and the same in every Python."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=38, width=80)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """The names once, then the value: argparse repeats it before Python 3.13."""
        if not action.option_strings:
            return super()._format_action_invocation(action)
        value = f" {action.metavar}" if action.nargs != 0 else ""
        return ", ".join(action.option_strings) + value


class Parser(argparse.ArgumentParser):
    """argparse's parser, whose errors are ours."""

    def error(self, message: str) -> NoReturn:
        """Raises a UsageError instead of ending the program."""
        raise UsageError(f"{message.removeprefix('argument ')}; see {self.prog} --help")


def build_parser(command: Command) -> Parser:
    """The parser of one command, from its entry in the table."""
    arguments = command.arguments()
    needed = [f"{it.long} {it.value}" for it in arguments if it.required]
    words = [positional_words(it.value) for it in arguments if not it.names]
    parser = Parser(
        prog=f"vast.py {command.name}",
        usage=" ".join([f"vast.py {command.name}", *needed, "[options]", *words]),
        description=f"{command.help[0].upper()}{command.help[1:]}.",
        epilog=f"example:\n  vast.py {command.example}\n\n{command.notes()}".rstrip(),
        formatter_class=HelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    for argument in arguments:
        argument.add_to(parser)
    common = parser.add_argument_group("options of every command")
    for argument in COMMON_OPTIONS:
        argument.add_to(common)
    return parser


def positional_words(value: str) -> str:
    """A positional argument in a usage line."""
    name = value.rstrip("+*?")
    many = {"+": f"{name} [{name} ...]", "*": f"[{name} ...]", "?": f"[{name}]"}
    return many.get(value[-1], name)


def parse_words(command: Command, words: Words) -> Arguments:
    """The typed arguments of a command. Raises UsageError."""
    places = [it for it in words.arguments if not it.names]
    most = (
        len(words.others) if any(it.value[-1] in "+*" for it in places) else len(places)
    )
    if words.others[most:]:
        extra, typed = words.others[most], " ".join(words.others[:most])
        given = {it.partition("=")[0] for it in words.given}
        needed = [it.long for it in words.arguments if it.required]
        hint = f"for example: vast.py {command.example}"
        if set(needed) - given:
            hint = f"write: vast.py {command.name} {typed} {needed[0]} {extra}"
        raise words.error(f"'{extra}' is one word too many; {hint}")
    args = Arguments()
    others = [TEXT + word for word in words.others]
    build_parser(command).parse_args([*words.given, *others], namespace=args)
    args.args = words.rest
    return args


def command_list() -> str:
    """All commands with what they do, by who one is."""
    lines = []
    for group in dict.fromkeys(command.group for command in COMMANDS):
        lines.append(f"\n{group}:")
        for command in COMMANDS:
            if command.group == group:
                lines.append(f"  {command.name:<22}{command.help}")
    return "\n".join(lines)


def main_help() -> str:
    """The help of the whole program."""
    options = [
        f"  {', '.join(it.names)} {it.value}".ljust(24) + it.help
        for it in (*COMMON_OPTIONS, VERSION_FLAG)
    ]
    return f"""\
usage: vast.py COMMAND [options] [arguments]

Rent GPUs on Vast.ai, and rent yours out.

  vast.py search offers 'num_gpus>=4 dph<2' -o dph
  vast.py create instance 1234 --image pytorch/pytorch --disk 40 --wait
  ssh $(vast.py ssh-url 5001)
{command_list()}

Options of every command:
{chr(10).join(options)}

More: vast.py help COMMAND, {", ".join(f"help {topic}" for topic in TOPICS)}

Exit statuses:
{statuses_help()}
"""


def help_text(words: list[str]) -> str:
    """The text that `help` shows for its words."""
    name = plain(" ".join(words))
    if not words:
        return main_help()
    if name in TOPICS:
        return TOPICS[name]() + "\n"
    if name in VERBS and name not in COMMAND_BY_NAME:
        return verb_help(name)
    command = COMMAND_BY_NAME.get(name)
    if command is None:
        near = did_you_mean(name, [*COMMAND_BY_NAME, *TOPICS])
        raise UsageError(f"there is no help on '{name}'{near}")
    return build_parser(command).format_help()


def verb_help(verb: str) -> str:
    """The commands of a verb."""
    lines = [
        f"  vast.py {name:<22}{command.help}"
        for name, command in COMMAND_BY_NAME.items()
        if name.split()[0] == verb
    ]
    return f"'{verb}' goes with:\n" + "\n".join(lines) + "\n"


class Console(World):
    """The world of a real run: talk goes to stderr, questions to the terminal."""

    def __init__(
        self, stdout: TextIO | None, stderr: TextIO | None, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.stdout, self.stderr = stdout, stderr
        self.rewriting = False  # whether a progress line stands on the terminal

    def say(self, text: str) -> None:
        """Writes on stderr, in place of a progress line."""
        try:
            if self.stderr:
                clear = "\r\x1b[K" if self.rewriting else ""
                print(f"{clear}{text}", end="", file=self.stderr, flush=True)
        except OSError:  # nobody is there to be told
            self.stderr = discard(self.stderr)
        self.rewriting = False

    def note(self, text: str) -> None:
        self.say(f"vast.py: {visible(text)}\n")

    def progress(self, text: str, milestone: bool = False) -> None:
        if self.stderr and self.stderr.isatty():
            self.say(visible(text)[:79])
            self.rewriting = True
        elif milestone:
            self.note(text)

    def ask(self, question: str) -> bool:
        terminal = self.stdin and self.stdin.isatty()
        if not (self.stdin and terminal and self.stderr and self.stderr.isatty()):
            return True
        self.say(f"{question} [y/N] ")
        return self.stdin.readline().strip().lower() in ("y", "yes")


class Output:
    """Shows on stdout what a command yields: as it comes, or with `--raw` as one JSON
    document at its end; and remembers how it went."""

    def __init__(
        self, console: Console, raw: bool, args: Arguments | None = None
    ) -> None:
        self.console, self.raw, self.args = console, raw, args
        self.status = ExitStatus.DONE
        self.documents: list[Result] = []

    def worse(self, status: ExitStatus) -> None:
        """Remembers a status if it is graver than those before."""
        self.status = min(self.status, status, key=GRAVEST.index)

    def show(self, shown: Shown) -> None:
        """Shows one thing."""
        if isinstance(shown, Failed):
            self.fail(shown.error)
            if shown.result:
                shown.result.value.update(shown.error.as_json())
            elif self.raw:
                self.documents.append(Result(shown.error.as_json(), of=shown.of))
        elif isinstance(shown, Help):
            self.write(help_text(shown.words))
        elif isinstance(shown, bytes):
            self.write(shown)
        elif isinstance(shown, Table):
            self.table(shown)
        elif isinstance(shown, Result) and self.raw:
            self.documents.append(shown)
        else:
            text = shown.text if isinstance(shown, Result) else shown
            if not self.raw or not self.documents:
                self.write("".join(visible(line) + "\n" for line in text.split("\n")))

    def table(self, table: Table) -> None:
        """Shows rows: as a table, as JSON, or only their ids."""
        args = self.args
        assert args is not None
        ids = [row["id"] for row in table.rows if row.get("id") is not None]
        if self.raw:
            self.documents.append(Result(ids if args.quiet else table.value))
        elif args.quiet:
            self.write("".join(cell(number) + "\n" for number in ids))
        else:
            columns = table.columns
            if args.cols is not None:
                columns = pick_columns(args.cols, columns, table.rows)
            now, heading = self.console.now(), not args.no_header
            self.write(table_text(table.rows, columns, now, heading))

    def fail(self, error: VastError) -> None:
        """Says an error on stderr."""
        self.worse(error.status)
        if self.raw:
            self.console.say(json.dumps(error.as_json(), sort_keys=True) + "\n")
            return
        self.console.note(str(error))
        if isinstance(error, QueryError):
            self.console.say(f"{caret(error)}\n")

    def finish(self) -> None:
        """Writes the JSON document."""
        documents, self.documents = self.documents, []
        if not documents:
            return
        value = documents[0].value
        if documents[0].of is not None:
            value = [{"id": it.of, **it.value} for it in documents]
        stdout = self.console.stdout
        self.write(json_text(value, bool(stdout and stdout.isatty())) + "\n")

    def write(self, content: str | bytes) -> None:
        """Writes to stdout, where a closed pipe is no error. What does not go there, as
        on a full disk, is said on stderr: no id of a rented instance is lost."""
        if self.console.rewriting:
            self.console.say("")
        stdout = self.console.stdout
        try:
            if stdout is None:
                raise OSError("stdout is closed")
            if isinstance(content, bytes):
                stdout.buffer.write(content)
            else:
                print(content, end="", file=stdout)
            stdout.flush()
        except BrokenPipeError:
            self.console.stdout = discard(stdout)
        except OSError as error:
            self.console.stdout = discard(stdout)
            self.worse(ExitStatus.REFUSED)
            text = content if isinstance(content, str) else ""
            self.console.note(f"cannot write to stdout: {error.strerror or error}")
            self.console.say(text[:2000])


def discard(stream: TextIO | None) -> TextIO:
    """A place for what nobody reads; Python's own flush at the end goes there too."""
    nowhere = open(os.devnull, "w", encoding="utf-8")
    try:
        if stream:
            os.dup2(nowhere.fileno(), stream.fileno())
    except OSError:  # not a file of the system's, as in tests
        pass
    return nowhere


def curl(call: Call, url: str) -> str:
    """The shell command that sends a call, the key left to the environment."""
    from shlex import quote

    parts = ["curl", "-sS", "-X", call.method, quote(url)]
    parts += ["-H", '"Authorization: Bearer $VAST_API_KEY"']
    if call.body is not None:
        parts += ["-H", "'Content-Type: application/json'"]
        parts += ["-d", quote(json.dumps(call.body))]
    return " ".join(parts)


def run(words: list[str], console: Console, output: Output) -> None:
    """Runs the command that the words name and shows what it yields."""
    command, found = find_command(words)
    if "--version" in found.given:
        return output.write(f"vast.py {__version__}\n")
    if command is None:
        verb = plain(" ".join(found.others))
        text = verb_help(verb) if verb else main_help()
        if "--help" in found.given:
            return output.write(text)
        console.say(text)
        return output.worse(ExitStatus.USAGE)
    if "--help" in found.given:
        return output.write(help_text([command.name]))
    args = output.args = parse_words(command, found)
    output.raw = args.raw
    if args.args and (mine := [it for it in args.args if found.names_option(it)]):
        console.note(f"passed on behind --args: {' '.join(mine)}")
    try:
        for shown in command.run(Session(args, console), args):
            output.show(shown)
    except DryRun as dry:
        value = {"method": dry.call.method, "url": dry.url, "body": dry.call.body}
        output.show(Result(value, curl(dry.call, dry.url)))


def main(argv: Sequence[str] | None = None, console: Console | None = None) -> int:
    """Runs one command line; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    console = console or Console(sys.stdout, sys.stderr, stdin=sys.stdin)
    output = Output(console, raw="--raw" in words)
    try:
        try:
            run(words, console, output)
        finally:
            output.finish()
    except VastError as error:
        output.fail(error)
    except RecursionError:
        output.fail(VastError("the answer is nested too deeply", BAD_REPLY))
    except KeyboardInterrupt:
        output.fail(Interrupted("interrupted"))
    return int(output.status)


def program() -> NoReturn:
    """Runs the command line of this process and ends it."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # none: it is closed
        if reconfigure:
            reconfigure(errors="backslashreplace")
    sys.exit(main())


if __name__ == "__main__":  # pragma: no cover - in a process of its own
    program()
