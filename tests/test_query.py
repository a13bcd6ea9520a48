"""The query of `search offers`: what is sent for it, and how one that is wrong is
refused, with its position. Sort orders, and queries about rows that are there, too."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vast
from conftest import Program
from sandbox import Sandbox

Filters = dict[str, dict[str, Any]]

# The fields as the description of the service has them: the name that people type and
# the one that is sent where they differ, type, unit, and what the number is multiplied
# by on its way.
FIELDS = """\
bw_nvlink                           float    GB/s
cluster_id                          int      -
compute_cap                         int      -
cpu_arch                            text     -
cpu_cores                           int      -
cpu_cores_effective                 float    -
cpu_ghz                             float    GHz
cpu_ram                             float    GB           1000
cuda_vers=cuda_max_good             float    -
datacenter                          bool     -
direct_port_count                   int      -
disk_bw                             float    MB/s
disk_space                          float    GB
display_active=gpu_display_active   bool     -
dlperf                              float    -
dlperf_usd=dlperf_per_dphtotal      float    per_$/h
dph=dph_total                       float    $/h
driver_version                      version  -
duration                            float    days         86400
external                            bool     -
flops_usd=flops_per_dphtotal        float    TFLOPS/$/h
geolocation                         country  -
gpu_arch                            text     -
gpu_frac                            float    0..1
gpu_max_power                       float    W
gpu_max_temp                        float    °C
gpu_mem_bw                          float    GB/s
gpu_name                            text     -
gpu_ram                             float    GB           1000
gpu_total_ram                       float    GB           1000
has_avx                             bool     -
host_id                             int      -
hosting_type                        int      -
id                                  int      -
inet_down                           float    Mbit/s
inet_down_cost                      float    $/GB
inet_up                             float    Mbit/s
inet_up_cost                        float    $/GB
machine_id                          int      -
min_bid                             float    $/h
mobo_name                           text     -
num_gpus                            int      -
os_version                          float    -
pci_gen                             float    -
pcie_bw                             float    GB/s
reliability                         float    0..1
rentable                            bool     -
rented                              bool     -
static_ip                           bool     -
storage_cost                        float    $/GB/month
total_flops                         float    TFLOPS
ubuntu_version                      float    -
verification                        text     -
verified                            bool     -
vms_enabled                         bool     -
"""
ROWS = [line.split() for line in FIELDS.splitlines()]
NAMES = [row[0].partition("=")[0] for row in ROWS]
# For each type: a value as it is typed and as it is sent, and one that is refused.
SAMPLES: dict[str, tuple[str, Any, str]] = {
    "bool": ("true", True, "maybe"),
    "int": ("2", 2, "2.5"),
    "float": ("2.5", 2.5, "2.5x"),
    "text": ("two_words", "two words", '""'),
    "country": ("de", "DE", '""'),
    "version": ("535.86.05", 535086005, "535.86.05.01"),
}


def parsed(text: str) -> Filters:
    """Return what is sent for a query, the default filters left out."""
    return vast.parse_query(text, {})[0]


def outcome(parse: Callable[[str], Any], text: str) -> Any:
    """Return what a text is parsed to, or its QueryError."""
    try:
        return parse(text)
    except vast.QueryError as error:
        return error


def marked(text: str) -> tuple[str, int, int]:
    """Return a text without its «» and where they stood."""
    start, end = text.index("«"), text.index("»") - 1
    return text.replace("«", "").replace("»", ""), start, end


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_field(row: list[str]) -> None:
    names, kind, _, *factor = row
    name, _, wire = names.partition("=")
    wire = wire or name
    typed, sent, refused = SAMPLES[kind]
    sent = round(sent * int(factor[0])) if factor else sent
    for spelling in {name, wire, name.replace("_", "-")}:
        assert parsed(f"{spelling}={typed}") == {wire: {"eq": sent}}
        assert parsed(f"{spelling} != none") == {wire: {"neq": None}}
    with pytest.raises(vast.QueryError, match=rf"^(invalid {name} '|.* '{name}'$)"):
        parsed(f"{name}={refused}")


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_field_in_help(offline: Program, row: list[str]) -> None:
    names, kind, unit, *_ = row
    words = [names.partition("=")[0], kind, unit.strip("-").replace("_", " ")]
    line = r" +".join(map(re.escape, filter(None, words)))
    assert re.search(rf"^  {line} +\S", offline("help", "query").out, re.MULTILINE)


def test_no_other_field(offline: Program) -> None:
    listed = offline("help", "query").out.partition("unit:\n")[2]
    assert [line.split()[0] for line in listed.splitlines()] == NAMES


def test_old_name_of_reliability() -> None:
    assert parsed("reliability2>0.9 reliability<1") == {
        "reliability": {"gt": 0.9, "lt": 1}
    }


OPERATORS = {
    "=": "eq",
    "==": "eq",
    "eq": "eq",
    "!=": "neq",
    "neq": "neq",
    "<": "lt",
    "lt": "lt",
    "<=": "lte",
    "lte": "lte",
    ">": "gt",
    "gt": "gt",
    ">=": "gte",
    "gte": "gte",
    "in": "in",
    "notin": "notin",
    "nin": "notin",
    "not in": "notin",
    "not \t in": "notin",
}
TAKES = {
    "bool": {"eq", "neq"},
    "int": set(OPERATORS.values()),
    "float": set(OPERATORS.values()),
    "text": {"eq", "neq", "in", "notin"},
    "country": {"eq", "neq", "in", "notin"},
    "version": set(OPERATORS.values()),
}
TAKEN = {
    "bool": "= == !=",
    "text": "= == != in notin",
    "country": "= == != in notin",
}
A_FIELD = {
    "bool": "static_ip",
    "int": "num_gpus",
    "float": "dlperf",
    "text": "mobo_name",
    "country": "geolocation",
    "version": "driver_version",
}


@pytest.mark.parametrize("sign", OPERATORS)
@pytest.mark.parametrize("kind", TAKES)
def test_operator(kind: str, sign: str) -> None:
    operator, name = OPERATORS[sign], A_FIELD[kind]
    typed, sent, _ = SAMPLES[kind]
    if "in" in operator:
        typed, sent = f"[{typed}]", [sent]
    spaced = [f"{name} {sign} {typed}", f"{name}\n{sign}\t{typed}"]
    if not sign.isalpha() and "in" not in sign:
        spaced += [f"{name}{sign}{typed}", f"{name}{sign} {typed}"]
    for query in spaced:
        if operator in TAKES[kind]:
            assert parsed(query) == {name: {operator: sent}}
            continue
        with pytest.raises(vast.QueryError) as caught:
            parsed(query)
        called = "text" if kind == "country" else kind
        says = f"'{name}' is a {called} field, which takes {TAKEN[kind]}"
        assert str(caught.value) == says
        assert query[caught.value.start : caught.value.end] == sign


MEANT: dict[str, tuple[str, Filters]] = {
    "nothing": ("", {}),
    "only spaces": (" \t\n , ,", {}),
    "one comparison": ("num_gpus>=4", {"num_gpus": {"gte": 4}}),
    "two": ("id=5 num_gpus=1", {"id": {"eq": 5}, "num_gpus": {"eq": 1}}),
    "commas between": ("id=5,num_gpus=1,", {"id": {"eq": 5}, "num_gpus": {"eq": 1}}),
    "a line each": ("id=5\r\n num_gpus=1\n", {"id": {"eq": 5}, "num_gpus": {"eq": 1}}),
    "backslashes at the ends of lines": (
        "id=5 \\\n num_gpus=1 \\\n",
        {"id": {"eq": 5}, "num_gpus": {"eq": 1}},
    ),
    "such backslashes gone through a shell": (
        r"id=5 \n num_gpus=1 \\n dlperf>3 \\",
        {"id": {"eq": 5}, "num_gpus": {"eq": 1}, "dlperf": {"gt": 3}},
    ),
    "several of a field": (
        "num_gpus>=2 id=5 num_gpus<=8 num_gpus!=5 num_gpus notin [3,7]",
        {
            "num_gpus": {"gte": 2, "lte": 8, "neq": 5, "notin": [3, 7]},
            "id": {"eq": 5},
        },
    ),
    "a field by both its names": (
        "cuda_vers>=12.4 cuda_max_good<13",
        {"cuda_max_good": {"gte": 12.4, "lt": 13}},
    ),
    "the same twice": ("num_gpus=2 num_gpus == 2", {"num_gpus": {"eq": 2}}),
    # Text.
    "a word": ("geolocation=DE", {"geolocation": {"eq": "DE"}}),
    "underscores": ("gpu_name=RTX_4090", {"gpu_name": {"eq": "RTX 4090"}}),
    "several words": (
        "gpu_name=RTX 6000 Ada num_gpus=2",
        {"gpu_name": {"eq": "RTX 6000 Ada"}, "num_gpus": {"eq": 2}},
    ),
    "words before a word for an operator": (
        "gpu_name = RTX 4090 num_gpus in [1]",
        {"gpu_name": {"eq": "RTX 4090"}, "num_gpus": {"in": [1]}},
    ),
    "a word that is also an operator": (
        "gpu_name=GeForce GT 1030 gpu_name!=gt",
        {"gpu_name": {"eq": "GeForce GT 1030", "neq": "gt"}},
    ),
    "words like an operator in lower case": (
        "mobo_name=asrock gt 3",
        {"mobo_name": {"eq": "asrock gt 3"}},
    ),
    "words with commas": (
        "gpu_name=A100, SXM4",
        {"gpu_name": {"eq": "A100 SXM4"}},
    ),
    "signs in a word": (
        "gpu_name=Q_RTX_8000/8Q-(™) id=1",
        {"gpu_name": {"eq": "Q RTX 8000/8Q-(™)"}, "id": {"eq": 1}},
    ),
    "letters of every kind": (
        "mobo_name=主板_Straße",
        {"mobo_name": {"eq": "主板 Straße"}},
    ),
    "double quotes": (
        'geolocation="Oregon, US" id=1',
        {"geolocation": {"eq": "Oregon, US"}, "id": {"eq": 1}},
    ),
    "single quotes": ("geolocation='US'", {"geolocation": {"eq": "US"}}),
    "a quote in the other": ("""mobo_name="x's" """, {"mobo_name": {"eq": "x's"}}),
    "a comparison in quotes": (
        'mobo_name="id=1 num_gpus>2"',
        {"mobo_name": {"eq": "id=1 num_gpus>2"}},
    ),
    "quoted underscores": ('mobo_name="X_570"', {"mobo_name": {"eq": "X_570"}}),
    "those of gpu_name": ('gpu_name="RTX_4090"', {"gpu_name": {"eq": "RTX 4090"}}),
    "an operator in quotes": ('gpu_name="gt"', {"gpu_name": {"eq": "gt"}}),
    # Lists.
    "a list": ("geolocation in [DE,AT]", {"geolocation": {"in": ["DE", "AT"]}}),
    "a list with spaces": (
        "geolocation in [ DE , AT ]",
        {"geolocation": {"in": ["DE", "AT"]}},
    ),
    "a list without spaces": ("id in[1,2]", {"id": {"in": [1, 2]}}),
    "not in without spaces": ("id not in[1,2]", {"id": {"notin": [1, 2]}}),
    "a list over lines": ("id in [1,\n 2]", {"id": {"in": [1, 2]}}),
    "quoted elements": (
        """gpu_name in ["RTX 4090", 'L40_S', H100 SXM, H100_NVL]""",
        {"gpu_name": {"in": ["RTX 4090", "L40 S", "H100 SXM", "H100 NVL"]}},
    ),
    "brackets and commas in an element": (
        """mobo_name in ["a]b", 'c,d', "e_f", g_h]""",
        {"mobo_name": {"in": ["a]b", "c,d", "e_f", "g h"]}},
    ),
    "elements in the service's unit": (
        "cpu_ram in [0.5, 64] duration notin [1,2.5]",
        {"cpu_ram": {"in": [500, 64000]}, "duration": {"notin": [86400, 216000]}},
    ),
    "a list of versions": (
        "driver_version in [535.86.05, '560.1']",
        {"driver_version": {"in": [535086005, 560001000]}},
    ),
    # Numbers.
    "a sign": ("id>-1 dlperf<+.5", {"id": {"gt": -1}, "dlperf": {"lt": 0.5}}),
    "a point at the end": ("dph<2.", {"dph_total": {"lt": 2}}),
    "an exponent": ("dph<1e-1", {"dph_total": {"lt": 0.1}}),
    "a number in quotes": ("num_gpus='4'", {"num_gpus": {"eq": 4}}),
    "a part of a GB": ("gpu_ram>=0.5", {"gpu_ram": {"gte": 500}}),
    "GB that floats cannot say exactly": ("gpu_ram=2.3", {"gpu_ram": {"eq": 2300}}),
    "a large id": ("id=999999999999999999", {"id": {"eq": 999999999999999999}}),
    # Booleans.
    "true": ("verified=true", {"verified": {"eq": True}}),
    "True": ("verified = True", {"verified": {"eq": True}}),
    "1": ("verified=1", {"verified": {"eq": True}}),
    "false": ("verified!=false", {"verified": {"neq": False}}),
    "FALSE": ("rented=FALSE", {"rented": {"eq": False}}),
    "0": ("has_avx == 0", {"has_avx": {"eq": False}}),
    # Versions.
    "a version": ("driver_version>=535.86.05", {"driver_version": {"gte": 535086005}}),
    "two parts": ("driver_version<560.35", {"driver_version": {"lt": 560035000}}),
    "one part": ("driver_version>=535", {"driver_version": {"gte": 535000000}}),
    "a version as the service has it": (
        "driver_version=535086005",
        {"driver_version": {"eq": 535086005}},
    ),
    # Nothing and anything.
    "none": ("geolocation=none", {"geolocation": {"eq": None}}),
    "None": ("geolocation != None", {"geolocation": {"neq": None}}),
    "null": ("rented==null", {"rented": {"eq": None}}),
    "null in quotes": ('geolocation="null"', {"geolocation": {"eq": "null"}}),
    "any": ("num_gpus=any gpu_name == any", {}),
    "Any": ("num_gpus=2 num_gpus=Any id=1", {"id": {"eq": 1}}),
    "any, then another": ("num_gpus=any num_gpus=2", {"num_gpus": {"eq": 2}}),
    "any in quotes": ('gpu_name="any"', {"gpu_name": {"eq": "any"}}),
    "any among words": ("gpu_name=any card", {"gpu_name": {"eq": "any card"}}),
}  # fmt: skip


@pytest.mark.parametrize(("query", "filters"), MEANT.values(), ids=MEANT)
def test_meaning(query: str, filters: Filters) -> None:
    assert parsed(query) == filters


@pytest.mark.parametrize(
    ("query", "types"),
    [
        ("num_gpus=1", [int]),
        ("dph<1", [int]),
        ("dph<1.0", [float]),
        ("verified=1", [bool]),
        ("gpu_ram>=24", [int]),
        ("gpu_ram>=23.5", [int]),
        ("driver_version=535", [int]),
    ],
)
def test_type_on_the_wire(query: str, types: list[type]) -> None:
    assert [
        type(value) for test in parsed(query).values() for value in test.values()
    ] == types


LONG = {
    "spaces in an element": "gpu_name in [a{}b]",
    "spaces in a list": "id in [1,{}]",
    "spaces between": "id=1{}num_gpus=1",
    "spaces behind": "id=1 dph{}<1",
}


@pytest.mark.parametrize("query", LONG.values(), ids=LONG)
def test_long_queries_take_no_time(query: str) -> None:
    start = time.process_time()
    outcome(parsed, query.format(" " * 20_000))
    assert time.process_time() - start < 1


VERIFIED, EXTERNAL, RENTABLE = (
    {"verified": {"eq": True}},
    {"external": {"eq": False}},
    {"rentable": {"eq": True}},
)
DEFAULTS: dict[str, tuple[list[str], Filters]] = {
    "alone": ([], VERIFIED | EXTERNAL | RENTABLE),
    "kept": (["id=1"], VERIFIED | EXTERNAL | RENTABLE | {"id": {"eq": 1}}),
    "replaced": (
        ["verified=false external!=true"],
        RENTABLE | {"verified": {"eq": False}, "external": {"neq": True}},
    ),
    "given again": (["rentable=True"], VERIFIED | EXTERNAL | RENTABLE),
    "removed": (["verified=any rentable = any"], EXTERNAL),
    "removed, then replaced": (
        ["verified=any verified=none"],
        EXTERNAL | RENTABLE | {"verified": {"eq": None}},
    ),
    "none of them": (["-n"], {}),
    "none of them but one given": (["verified=true", "--no-default"], VERIFIED),
}


@pytest.mark.parametrize(("words", "filters"), DEFAULTS.values(), ids=DEFAULTS)
def test_defaults(
    run: Program, box: Sandbox, words: list[str], filters: Filters
) -> None:
    assert run("search", "offers", *words).status == 0
    rest = {"order": [["score", "desc"]], "type": "on-demand", "allocated_storage": 5.0}
    assert [call.body for call in box.calls] == [filters | rest]


def test_defaults_stay_as_they_are() -> None:
    before = json.dumps(vast.DEFAULT_FILTERS)
    vast.parse_query("verified!=false rentable=any", vast.DEFAULT_FILTERS)
    assert json.dumps(vast.DEFAULT_FILTERS) == before


NO_OPERATOR = (
    "has no operator; if it had < or >, quote the query:"
    " the shell treats them as redirections"
)
EXPECTED = "expected a comparison such as num_gpus>=4"
ONE_VALUE = "takes one value; expected a comparison"

# «» stand around what the caret shows.
REFUSED = {
    # The field.
    "an unknown field": (
        "num_gpus>=4 «gpu_nme»=RTX_4090",
        "unknown field 'gpu_nme'; did you mean 'gpu_name'?",
    ),
    "an unknown field like no other": ("«zzz»=1", "unknown field 'zzz'"),
    "a field in upper case": (
        "«NUM_GPUS»=4",
        "unknown field 'NUM_GPUS'; did you mean 'num_gpus'?",
    ),
    "a field of the rows only": ("«score»>1", "unknown field 'score'"),
    "a field in quotes": ('«"id"»=1', EXPECTED),
    "a value first": ("«RTX» 4090", "unknown field 'RTX'"),
    "an operator first": ("«>=»4", EXPECTED),
    "a list first": ("«[1,2]»", EXPECTED),
    "not in first": ("id=1, «not in» [1]", EXPECTED),
    "a bracket of another kind": ("«(label» group=a", "unknown field '(label'"),
    # The operator.
    "no operator": ("«num_gpus»", f"'num_gpus' {NO_OPERATOR}"),
    "no operator, but a value": ("«gpu_name» RTX_4090", f"'gpu_name' {NO_OPERATOR}"),
    "no operator, but a quoted value": ("«id» '4'", f"'id' {NO_OPERATOR}"),
    "no operator in the middle": ("id=1 «dph» 2 id=3", f"'dph' {NO_OPERATOR}"),
    "what the shell left of a >": (
        "gpu_name=RTX_4090 «reliability»",
        f"'reliability' {NO_OPERATOR}",
    ),
    "a colon for an operator": (
        "«gpu_name:RTX_4090»",
        "'gpu_name:RTX_4090' has no operator; write gpu_name=RTX_4090",
    ),
    "a colon and no value": (
        "«num_gpus:»",
        "'num_gpus:' has no operator; write num_gpus=VALUE",
    ),
    "an operator turned round": ("num_gpus«=>»4", "unknown operator '=>'"),
    "an unknown operator": ("num_gpus«<>»4", "unknown operator '<>'"),
    "one sign too many": ("num_gpus«===»4", "unknown operator '==='"),
    "an operator for numbers": (
        "gpu_name«>»RTX",
        "'gpu_name' is a text field, which takes = == != in notin",
    ),
    "a list for a boolean": (
        "verified «in» [true]",
        "'verified' is a bool field, which takes = == !=",
    ),
    # A value that is missing.
    "no value": ("«num_gpus>=»", "'num_gpus' needs a value"),
    "no value before another": ("«num_gpus>=» dph<2", "'num_gpus' needs a value"),
    "no value after a word": ("id=1 «num_gpus in»", "'num_gpus' needs a value"),
    "an operator after a value": ("num_gpus>=4 «<»8", EXPECTED),
    "two operators": ("num_gpus == «==» 4", "'==' is not a value"),
    "empty quotes": ('gpu_name=«""»', "empty value for 'gpu_name'"),
    "quotes around spaces": ("id=«' '»", "empty value for 'id'"),
    "an underscore": ("geolocation=«_»", "empty value for 'geolocation'"),
    "a quoted one": ('gpu_name=«"_"»', "empty value for 'gpu_name'"),
    "an empty list": ("id in «[]»", "the list is empty"),
    "a list of spaces": ("id in «[  ]»", "the list is empty"),
    "an empty element": ("id in [1,«,»2]", "empty value for 'id'"),
    "an empty first element": ("id in [«,»2]", "empty value for 'id'"),
    "an empty last element": ("id in [1,«]»", "empty value for 'id'"),
    "an underscore in a list": (
        "gpu_name in [A, «_»]",
        "empty value for 'gpu_name'",
    ),
    # A list.
    "one element": (
        "id in [1, «x», 3]",
        "invalid id 'x': must be a whole number",
    ),
    "two words in an element": (
        "id in [«1 2»]",
        "invalid id '1 2': must be a whole number",
    ),
    "half of an element in quotes": (
        'gpu_name in [A, «"RTX 4090" D»]',
        "quote the whole element, or none of it",
    ),
    "a bracket in an element": (
        "gpu_name in [«[A»]",
        "quote the whole element, or none of it",
    ),
    # Too many words.
    "a decimal comma": ("dph<1,«5»", f"'dph' {ONE_VALUE}"),
    "two values": ("id = 1 «2 3»", f"'id' {ONE_VALUE}"),
    "and": ("id=1 «and» dph<2", f"'id' {ONE_VALUE}"),
    "a value after a quoted one": ('gpu_name="A" «"B"»', EXPECTED),
    "quotes after a word": ('gpu_name=RTX «"4090"»', EXPECTED),
    "two lists": ("id in [1] «[2]»", EXPECTED),
    # Lists, any, none.
    "in without a list": ("id in «4»", "'in' needs a list, such as [4]"),
    "not in without a list": (
        "gpu_name not in «RTX»",
        "'not in' needs a list, such as [RTX]",
    ),
    "a list for one value": ("id«=[4]»", "a list works only with in or notin"),
    "not any": ("gpu_name«!=any»", "'any' works only with ="),
    "more than any": ("num_gpus «>= any»", "'any' works only with ="),
    "in any": ("id «in any»", "'any' works only with ="),
    "more than none": ("num_gpus>«none»", "'none' works only with = and !="),
    "less than Null": ("dph<«Null»", "'Null' works only with = and !="),
    # Given twice.
    "two values of a field": (
        "id=1 id«=2»",
        "'id =' is given twice; use in [A,B]",
    ),
    "two unequal values": (
        "gpu_name!=A gpu_name«!=B»",
        "'gpu_name !=' is given twice; use notin [A,B]",
    ),
    "two limits": ("dph<1 dph_total «lt 2»", "'dph lt' is given twice"),
    # Signs.
    "a double quote": ('geolocation=«"US id=1»', "unclosed quote"),
    "a single quote": ("id in [1] mobo_name=«'a»", "unclosed quote"),
    "a bracket": ("geolocation in «[DE, AT»", "unclosed bracket"),
    "a quote in a list": ("geolocation in «['DE]»", "unclosed bracket"),
    "a closing bracket": ("id=4«]»", "unexpected ']'"),
    "a backslash": (r"gpu_name=a«\»b", r"unexpected '\'"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "says"), REFUSED.values(), ids=REFUSED)
def test_refusal(text: str, says: str) -> None:
    query, start, end = marked(text)
    with pytest.raises(vast.QueryError) as caught:
        parsed(query)
    error = caught.value
    assert (str(error), error.query) == (says, query)
    assert (error.start, error.end) == (start, end)


COMPARED = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "version": "a version such as 535.86.05",
}
WRONG = {
    "bool": ["yes", "2", "truee"],
    "int": ["1.5", "1e3", "x", "OFFER_ID", "4;", "0x10", "４", "9999999999999999999"],
    "float": ["cheap", "$1.5", "1GB", "1_000", "nan", "inf", "-Infinity", "1e999"],
    "version": ["535.1.2.3", "535.1234", "v535", "535-1", ".535"],
}
WRONG_VALUES = [(kind, typed) for kind in WRONG for typed in WRONG[kind]]


@pytest.mark.parametrize(("kind", "typed"), WRONG_VALUES)
def test_value_of_the_wrong_type(kind: str, typed: str) -> None:
    name = A_FIELD[kind]
    for before, after in [(f"{name}=", ""), (f'{name}!="', '"'), (f"{name} in [", "]")]:
        if "in" in before.split() and kind == "bool":
            continue
        with pytest.raises(vast.QueryError) as caught:
            parsed(f"{before}{typed}{after}")
        says = f"invalid {name} '{typed}': must be {COMPARED[kind]}"
        assert str(caught.value) == says
        quotes = len(after.strip("]"))
        assert caught.value.start == len(before) - quotes
        assert caught.value.end == len(before + typed) + quotes


@pytest.mark.parametrize("name", ["cpu_ram", "gpu_ram", "gpu_total_ram", "duration"])
def test_value_beyond_floats_in_the_service_s_unit(name: str) -> None:
    with pytest.raises(vast.QueryError, match="'1e306': must be a number"):
        parsed(f"{name}<1e306")


# Whole command lines that are refused, and all that stderr then holds.
SHOWN = {
    "wide and combining letters": (
        ["mobo_name=主板e\u0301", "num_gpus>«"],
        """\
vast.py: invalid num_gpus '«': must be a whole number
  mobo_name=主板e\u0301 num_gpus>«
                           ^
""",
    ),
    "a wide letter": (
        ["id=主"],
        """\
vast.py: invalid id '主': must be a whole number
  id=主
     ^^
""",
    ),
    "a letter without a width": (
        ["dph<\u0301"],
        """\
vast.py: invalid dph '\u0301': must be a number
  dph<\u0301
      ^
""",
    ),
    "control characters": (
        ["geolocation='\x1b[31m'\n\tid=\u202e1"],
        """\
vast.py: invalid id '\\u202e1': must be a whole number
  geolocation=' [31m'  id= 1
                          ^^
""",
    ),
    "an order": (
        ["num_gpus=4", "-o", "dph, dlpref-"],
        """\
vast.py: unknown sort key 'dlpref'; did you mean 'dlperf'?
  dph, dlpref-
       ^^^^^^
""",
    ),
    "for a program": (
        ["gpu_nme=RTX_4090", "--raw"],
        '{"error": "query", "msg": "unknown field \'gpu_nme\'; did you mean'
        ' \'gpu_name\'?", "status": null}\n',
    ),
}


@pytest.mark.parametrize(("words", "err"), SHOWN.values(), ids=SHOWN)
def test_shown(run: Program, box: Sandbox, words: list[str], err: str) -> None:
    assert run("search", "offers", *words) == (2, "", err)
    assert box.calls == []


ORDERS = {
    "a key": ("dph", [["dph_total", "asc"]]),
    "plus": ("dph+", [["dph_total", "asc"]]),
    "minus": ("dph-", [["dph_total", "desc"]]),
    "minus after a space": ("dph -", [["dph_total", "desc"]]),
    "asc": ("dph asc", [["dph_total", "asc"]]),
    "desc": ("dph  desc", [["dph_total", "desc"]]),
    "several": (
        "dph, num_gpus-,\ndlperf desc",
        [["dph_total", "asc"], ["num_gpus", "desc"], ["dlperf", "desc"]],
    ),
    "the service's name": ("dph_total-", [["dph_total", "desc"]]),
    "the old name": ("reliability2-", [["reliability", "desc"]]),
    "an alias": ("dlperf_usd-", [["dlperf_per_dphtotal", "desc"]]),
    "a field of the rows only": (
        "score-,dph_total_adj,dph_base,start_date",
        [
            ["score", "desc"],
            ["dph_total_adj", "asc"],
            ["dph_base", "asc"],
            ["start_date", "asc"],
        ],
    ),
}


@pytest.mark.parametrize(("text", "order"), ORDERS.values(), ids=ORDERS)
def test_order(text: str, order: list[list[str]]) -> None:
    assert vast.parse_order(text) == order


SORT_KEYS = "use dph, dph+, dph-, dph asc or dph desc"
BAD_ORDERS = {
    "an unknown key": ("dph,«dhp»-", "unknown sort key 'dhp'; did you mean 'dph'?"),
    "a key like no other": ("«zzz» desc", "unknown sort key 'zzz'"),
    "a minus in front": ("«-dph»", f"invalid sort key '-dph'; {SORT_KEYS}"),
    "a dash and a word": ("«dph-asc»", f"invalid sort key 'dph-asc'; {SORT_KEYS}"),
    "another word": ("«dph down», id", f"invalid sort key 'dph down'; {SORT_KEYS}"),
    "two directions": ("id,«dph-+»", f"invalid sort key 'dph-+'; {SORT_KEYS}"),
    "nothing": ("«»", f"invalid sort key ''; {SORT_KEYS}"),
    "nothing after a comma": ("dph,«»", f"invalid sort key ''; {SORT_KEYS}"),
    "nothing between commas": ("dph, «,»id", f"invalid sort key ''; {SORT_KEYS}"),
}


@pytest.mark.parametrize(("text", "says"), BAD_ORDERS.values(), ids=BAD_ORDERS)
def test_bad_order(text: str, says: str) -> None:
    order, start, end = marked(text)
    with pytest.raises(vast.QueryError) as caught:
        vast.parse_order(order)
    error = caught.value
    assert (str(error), error.query, error.start) == (says, order, start)
    assert error.end == max(end, start + 1)


def note(name: str, typed: str, meant: str) -> str:
    """Return the note about a memory size that no machine has."""
    return f"{name} is in GB: no machine has {typed} GB (did you mean {meant}?)"


NOT_PERCENT = "reliability is from 0 to 1: no machine has {} (did you mean {}?)"
COUNTRY = "geolocation takes a two-letter country code such as US or DE"
NOTES = {
    "as much as there can be": ("gpu_ram<=1000 cpu_ram<16000 gpu_total_ram>16000", []),
    "of a GPU": ("gpu_ram>=24576", [note("gpu_ram", "24576", "24.576")]),
    "of all GPUs": (
        "gpu_total_ram>192000",
        [note("gpu_total_ram", "192000", "192")],
    ),
    "main memory": ("cpu_ram<16000.5", [note("cpu_ram", "16000.5", "16.0005")]),
    "in a list": (
        "gpu_ram in [24, 48000, '80000']",
        [note("gpu_ram", "48000", "48"), note("gpu_ram", "80000", "80")],
    ),
    "by its heading": ("VRAM>=16001", [note("VRAM", "16001", "16.001")]),
    "a percentage": (
        "reliability>98 reliability<=99.5",
        [NOT_PERCENT.format("98", "0.98"), NOT_PERCENT.format("99.5", "0.995")],
    ),
    "a share": ("reliability<=1 reliability>98% R>=99", []),
    "a country's name": (
        "geolocation=Germany",
        [f"{COUNTRY}; 'Germany' may match nothing"],
    ),
    "countries": ("geolocation in [de,US,'fr'] geolocation!=none", []),
    "other large numbers": ("disk_space>99999 inet_up>99999 duration>99999", []),
}


@pytest.mark.parametrize(("query", "notes"), NOTES.values(), ids=NOTES)
def test_notes(query: str, notes: list[str]) -> None:
    assert vast.parse_query(query, {})[1] == notes


# Headings of the table, which take a value as the column shows it.
HEADINGS: dict[str, Filters] = {
    "$/hr<2": {"dph_total": {"lt": 2}},
    "R>99": {"reliability": {"gt": 0.99}},
    "R>=98.5%": {"reliability": {"gte": 0.985}},
    "r<99.7": {"reliability": {"lt": 0.997}},
    "Model=RTX_4090": {"gpu_name": {"eq": "RTX 4090"}},
    "model in [A40, L40S]": {"gpu_name": {"in": ["A40", "L40S"]}},
    "N>=4": {"num_gpus": {"gte": 4}},
    "VRAM>=80": {"gpu_total_ram": {"gte": 80000}},
    "VRAM>=80GB": {"gpu_total_ram": {"gte": 80000}},
    "RAM>64": {"cpu_ram": {"gt": 64000}},
    "Disk>=200": {"disk_space": {"gte": 200}},
    "Max_Days>=7": {"duration": {"gte": 604800}},
    "CUDA>=12.4": {"cuda_max_good": {"gte": 12.4}},
    "DLP/$>200": {"dlperf_per_dphtotal": {"gt": 200}},
    "NV_Driver>=550": {"driver_version": {"gte": 550000000}},
    "mach_id=12": {"machine_id": {"eq": 12}},
    "country=de": {"geolocation": {"eq": "DE"}},
    "status=verified": {"verification": {"eq": "verified"}},
    "$/hr<2 dph>1": {"dph_total": {"lt": 2, "gt": 1}},
}


@pytest.mark.parametrize("query", HEADINGS)
def test_heading(query: str) -> None:
    assert parsed(query) == HEADINGS[query]


@pytest.mark.parametrize("column", vast.OFFER_COLUMNS, ids=lambda each: each.heading)
def test_every_heading_is_a_sort_key(column: vast.Column) -> None:
    (by_heading,) = vast.parse_order(column.heading)
    assert [by_heading] == vast.parse_order(column.field)
    assert vast.parse_order(f"{column.heading}-") == [[by_heading[0], "desc"]]


def test_the_heading_is_named_in_what_is_refused() -> None:
    with pytest.raises(vast.QueryError, match="invalid VRAM 'much': must be a number"):
        parsed("VRAM=much")


# Values with the unit that they are meant in.
QUANTITIES: dict[str, Filters] = {
    "reliability>98%": {"reliability": {"gt": 0.98}},
    "gpu_frac=12.5%": {"gpu_frac": {"eq": 0.125}},
    "gpu_ram>=24GB": {"gpu_ram": {"gte": 24000}},
    "gpu_ram>=24gib": {"gpu_ram": {"gte": 24000}},
    "gpu_ram>=24576MB": {"gpu_ram": {"gte": 24576}},
    "disk_space>=1.5TB": {"disk_space": {"gte": 1500}},
    "duration>=30d": {"duration": {"gte": 2592000}},
    "duration>12h": {"duration": {"gt": 43200}},
    "duration>=2w": {"duration": {"gte": 1209600}},
    "dph<$0.5": {"dph_total": {"lt": 0.5}},
    "storage_cost<=$.2 inet_up_cost<$1": {
        "storage_cost": {"lte": 0.2},
        "inet_up_cost": {"lt": 1},
    },
    "gpu_ram in [24GB, '48 GB', 80]": {"gpu_ram": {"in": [24000, 48000, 80000]}},
}


@pytest.mark.parametrize("query", QUANTITIES)
def test_quantity(query: str) -> None:
    assert parsed(query) == QUANTITIES[query]


WRONG_QUANTITIES = """gpu_ram>=24% gpu_ram>=30d dph<98% num_gpus>=4GB duration>30GB
    dlperf>$5 reliability>$1 gpu_ram>=GB gpu_ram>=$24 dph<$ disk_bw>1GB""".split()


@pytest.mark.parametrize("query", WRONG_QUANTITIES)
def test_quantity_in_another_unit(query: str) -> None:
    with pytest.raises(vast.QueryError, match=r"^invalid .* must be a .*number$"):
        parsed(query)


# A query that finds nothing -> the notes, "nothing found; filters in force: " apart.
BY_DEFAULT = "verified=true external=false rentable=true (by default; -n lifts them)"
NOTHING = {
    "num_gpus=99": [f"num_gpus=99 {BY_DEFAULT}"],
    "verified=any num_gpus=99": [
        "verified=any num_gpus=99 external=false rentable=true (by default; -n lifts"
        " them)",
    ],
    "-n num_gpus=99": ["num_gpus=99"],
    "gpu_name=rtx_4090": [
        f"gpu_name=rtx_4090 {BY_DEFAULT}",
        "unknown GPU 'rtx 4090'; did you mean gpu_name=RTX_4090?",
    ],
    "gpu_name=RTX4090": [
        f"gpu_name=RTX4090 {BY_DEFAULT}",
        "unknown GPU 'RTX4090'; did you mean gpu_name=RTX_4090?",
    ],
    "gpu_name=rtx 4090": [
        f"gpu_name=rtx 4090 {BY_DEFAULT}",
        "unknown GPU 'rtx 4090'; did you mean gpu_name=RTX_4090?",
    ],
    "gpu_name=A100": [
        f"gpu_name=A100 {BY_DEFAULT}",
        "unknown GPU 'A100'; did you mean gpu_name=A100_SXM4?",
    ],
    "gpu_name=H100-SXM5-80GB": [
        f"gpu_name=H100-SXM5-80GB {BY_DEFAULT}",
        "unknown GPU 'H100-SXM5-80GB'; did you mean gpu_name=H100_SXM?",
    ],
    "'gpu_name in [rtx_4090, H200, xyz]' num_gpus=99": [
        f"gpu_name in [rtx_4090, H200, xyz] num_gpus=99 {BY_DEFAULT}",
        "unknown GPU 'rtx 4090'; did you mean gpu_name=RTX_4090?",
    ],
    "gpu_name=RTX_4090 num_gpus=99": [f"gpu_name=RTX_4090 num_gpus=99 {BY_DEFAULT}"],
    "'gpu_name!=RTX4090' num_gpus=99": [f"gpu_name!=RTX4090 num_gpus=99 {BY_DEFAULT}"],
}  # fmt: skip


@pytest.mark.parametrize("line", NOTHING)
def test_nothing_found(run: Program, line: str) -> None:
    ran = run("search", "offers", *shlex.split(line), "-q")
    first, *others = NOTHING[line]
    notes = [f"nothing found; filters in force: {first}", *others]
    assert ran == (0, "", "".join(f"vast.py: {each}\n" for each in notes))


def test_nothing_found_among_all_offers(run: Program, box: Sandbox) -> None:
    box.fault("search", "body", body={"offers": []})
    ran = run("search", "offers", "-nq")
    assert ran == (0, "", "vast.py: nothing found; filters in force: none\n")


def test_no_gpu_name_is_looked_up_when_something_was_found(
    run: Program, box: Sandbox
) -> None:
    assert run("search", "offers", "gpu_name=RTX_4090").status == 0
    assert [call.name for call in box.calls] == ["search"]


@pytest.mark.parametrize(
    "fault", ["500", "404", "not_json", {"gpu_names": None}, {}, [], {"gpu_names": 3}]
)
def test_gpu_names_that_cannot_be_read(
    run: Program, box: Sandbox, fault: object
) -> None:
    if isinstance(fault, str):
        box.fault("gpu_names", fault, times=None)
    else:
        box.fault("gpu_names", "body", body=fault)
    ran = run("search", "offers", "gpu_name=RTX4090", "-q")
    filters = f"gpu_name=RTX4090 {BY_DEFAULT}"
    assert ran[:2] == (0, "")
    assert ran.err == f"vast.py: nothing found; filters in force: {filters}\n"


@pytest.mark.parametrize(
    ("typed", "sent"),
    [("de", "DE"), ("De", "DE"), ("DE", "DE"), ("Germany", "Germany")],
)
def test_a_country(run: Program, box: Sandbox, typed: str, sent: str) -> None:
    ran = run("search", "offers", f"geolocation={typed}")
    assert box.calls[0].body["geolocation"] == {"eq": sent}
    assert (f"{COUNTRY}; 'Germany' may match nothing" in ran.err) is (sent != "DE")


# Queries about rows that are there.
INSTANCES: list[dict[str, Any]] = [
    {
        "id": 1, "label": "exp1", "actual_status": "running", "gpu_name": "RTX 4090",
        "num_gpus": 2, "gpu_ram": 24564, "dph_total": 0.5, "reliability2": 0.991,
        "geolocation": "Bavaria, DE", "start_date": 0.0, "is_bid": True, "has_avx": 1,
        "ssh_host": "ssh4.vast.ai", "ssh_port": 10, "duration": 864000.0, "mode": None,
        "ports": {"22/tcp": []},
    },
    {
        "id": 2, "label": "", "actual_status": "exited", "gpu_name": "A40",
        "num_gpus": 1, "gpu_ram": 46068, "dph_total": "0.7", "reliability2": 0.95,
        "geolocation": "Oregon, US", "start_date": None, "is_bid": False, "has_avx": 0,
        "mode": None,
    },
    {"id": 3, "label": None, "gpu_name": None, "num_gpus": 8, "geolocation": None},
]  # fmt: skip
# A query -> the ids of the rows that pass.
PASSING = {
    "label=exp1": [1],
    "label=EXP1": [],
    "label!=exp1": [2, 3],
    "label=none": [2, 3],
    "label!=none": [1],
    "label=exp1 status=running gpu_name=RTX_4090": [1],
    "label=exp1 status=exited": [],
    "status=running": [1],
    "Status=running": [1],
    "state=exited": [2],
    "actual_status in [running, exited]": [1, 2],
    "actual_status notin [running, exited]": [3],
    "Model=A40": [2],
    "model='RTX 4090'": [1],
    "gpu_name=RTX 4090": [1],
    "N>=2": [1, 3],
    "num_gpus=8": [3],
    "num_gpus in [1, 2]": [1, 2],
    "num_gpus<2": [2],
    "num_gpus<=2 id>1": [2],
    "gpu_ram>=24": [1, 2],
    "gpu_ram>=30GB": [2],
    "$/hr<0.6": [1],
    "dph>0.6": [2],
    "dph_total=0.5": [1],
    "dph=$0.5": [1],
    "R>99": [1],
    "reliability2>0.99": [1],
    "reliability>0.99": [1],
    "geolocation=de": [1],
    "geolocation in [DE,US]": [1, 2],
    "geolocation=none": [3],
    "is_bid=true": [1],
    "is_bid=false": [2],
    "is_bid!=true": [2, 3],
    "has_avx=true": [1],
    "Age_h>24": [1],
    "SSH_Addr=ssh4.vast.ai": [1],
    "ssh_port=10": [1],
    "duration=10": [1],
    "mode=none": [1, 2, 3],
    "mode=x": [],
    "id=1 id=any": [1, 2, 3],
}  # fmt: skip


@pytest.mark.parametrize("query", PASSING)
def test_rows_that_pass(run: Program, box: Sandbox, query: str) -> None:
    reply = {"success": True, "next_token": None, "instances": INSTANCES}
    box.fault("instances", "body", body=reply)
    ran = run("show", "instances", query, "-q")
    assert ran == (0, "".join(f"{each}\n" for each in PASSING[query]), "")
    assert len(box.calls) == 1


def test_rows_that_pass_are_raw_too(run: Program, box: Sandbox) -> None:
    reply = {"success": True, "next_token": None, "instances": INSTANCES}
    box.fault("instances", "body", body=reply)
    ran = run("show", "instances", "label=exp1", "status=running", "--raw")
    assert json.loads(ran.out) == INSTANCES[:1]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("labl=exp1", "unknown field 'labl'; did you mean 'label'?"),
        ("label>x", "'label' is a text field, which takes = == != in notin"),
        ("running", "unknown field 'running'"),
        ("num_gpus", f"'num_gpus' {NO_OPERATOR}"),
        ("R>high", "invalid R 'high': must be a number"),
    ],
)
def test_a_wrong_query_about_rows(
    run: Program, box: Sandbox, query: str, says: str
) -> None:
    reply = {"success": True, "next_token": None, "instances": INSTANCES}
    box.fault("instances", "body", body=reply)
    ran = run("show", "instances", query, "-q")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.splitlines()[0] == f"vast.py: {says}"


def test_no_rows_for_any_query(run: Program) -> None:
    assert run("show", "instances", "intended_status=running", "-q") == (0, "", "")


def test_machines_that_pass(run: Program, box: Sandbox) -> None:
    rows = json.loads(run("show", "machines", "--raw").out)
    passing = {
        "listed=true": [row["id"] for row in rows if row["listed"]],
        "N>2": [row["id"] for row in rows if row["num_gpus"] > 2],
        "gpu_$/h>0.3": [row["id"] for row in rows if row["listed_gpu_cost"] > 0.3],
        "country=de": [row["id"] for row in rows if "DE" in row["geolocation"]],
    }
    for query, ids in passing.items():
        found = run("show", "machines", query, "-q").out.split()
        assert found == [str(each) for each in ids]
        assert 0 < len(found) < len(rows)


BY_PRICE, BY_SCORE = [["dph_total", "asc"]], [["score", "desc"]]
# Command lines as they are found in people's scripts and notes, and what is sent, the
# defaults apart.
TYPED: dict[str, tuple[str, dict[str, Any]]] = {
    "a query in quotes": (
        "search offers 'reliability > 0.98 num_gpus=1 gpu_name=RTX_3060' -o dph",
        {
            "reliability": {"gt": 0.98},
            "num_gpus": {"eq": 1},
            "gpu_name": {"eq": "RTX 3060"},
            "order": BY_PRICE,
        },
    ),
    "a word each, options among them": (
        "--raw search offers num_gpus=2 -b 'dph<0.5' --limit 5 rented=False",
        {
            "num_gpus": {"eq": 2},
            "dph_total": {"lt": 0.5},
            "rented": {"eq": False},
            "type": "bid",
            "limit": 5,
        },
    ),
    "a space around every sign": (
        "search instances num_gpus '>=' 4 gpu_name = RTX 3090 -i",
        {"num_gpus": {"gte": 4}, "gpu_name": {"eq": "RTX 3090"}, "type": "bid"},
    ),
    "commas between": (
        "search offers 'gpu_ram>=24, disk_space>=50,cuda_max_good>=12.4'",
        {
            "gpu_ram": {"gte": 24000},
            "disk_space": {"gte": 50},
            "cuda_max_good": {"gte": 12.4},
        },
    ),
    "over lines": (
        "search offers '\n    num_gpus>=1 \\\n    inet_down>=200\n' --order=dlperf-",
        {
            "num_gpus": {"gte": 1},
            "inet_down": {"gte": 200},
            "order": [["dlperf", "desc"]],
        },
    ),
    "quoted countries": (
        """search offers 'geolocation notin ["CN", "RU"] compute_cap >= 750 '""",
        {"geolocation": {"notin": ["CN", "RU"]}, "compute_cap": {"gte": 750}},
    ),
    "quoted countries the other way": (
        """search offers "geolocation in ['US','CA']" --storage=40 -o "dph, dlperf" """,
        {
            "geolocation": {"in": ["US", "CA"]},
            "allocated_storage": 40,
            "order": [["dph_total", "asc"], ["dlperf", "asc"]],
        },
    ),
    "one's own machine": (
        "search offers -r 'machine_id = 4711 verified=any rentable=any'",
        {
            "machine_id": {"eq": 4711},
            "verified": None,
            "rentable": None,
            "type": "reserved",
        },
    ),
    "everything given": (
        "search offers --type on-demand --raw 'verified=true external=false"
        " rentable=true duration>=3 cpu_ram>=32' --disable-bundling",
        {
            "duration": {"gte": 259200},
            "cpu_ram": {"gte": 32000},
            "disable_bundling": True,
        },
    ),
}


@pytest.mark.parametrize(("line", "body"), TYPED.values(), ids=TYPED)
def test_typed(run: Program, box: Sandbox, line: str, body: dict[str, Any]) -> None:
    ran = run(*shlex.split(line))
    assert ran.status == 0
    assert [each for each in ran.err.splitlines() if "nothing found" not in each] == []
    usual = {"order": BY_SCORE, "type": "on-demand", "allocated_storage": 5.0}
    sent = vast.DEFAULT_FILTERS | usual | body
    assert [call.body for call in box.calls] == [
        {key: value for key, value in sent.items() if value is not None}
    ]


# Others of that kind that must be refused, and what helps.
HELPED = {
    "a query that the shell cut at a >": (
        "search offers num_gpus=4 reliability",
        f"'reliability' {NO_OPERATOR}",
    ),
    "a colon": (
        "search offers gpu_name:RTX_4090",
        "'gpu_name:RTX_4090' has no operator; write gpu_name=RTX_4090",
    ),
    "a name after the query": (
        "search offers 'gpu_ram>=24' RTX 4090",
        f"'gpu_ram' {ONE_VALUE}",
    ),
    "a placeholder": (
        "search offers 'machine_id=MACHINE_ID verified=any'",
        "invalid machine_id 'MACHINE_ID': must be a whole number",
    ),
    "an order with a dash": (
        "search offers --order dph-asc",
        f"invalid sort key 'dph-asc'; {SORT_KEYS}",
    ),
}


@pytest.mark.parametrize(("line", "says"), HELPED.values(), ids=HELPED)
def test_helped(run: Program, box: Sandbox, line: str, says: str) -> None:
    ran = run(*shlex.split(line))
    assert (ran.status, ran.out, box.calls) == (2, "", [])
    assert says in ran.err.splitlines()[0]


# Properties.

PATIENT = settings(deadline=None)
TEXTS = st.text("aZ09 -+./()|äβ主", min_size=1).filter(
    lambda text: text == text.strip()
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int": st.integers(-(10**17), 10**17),
    "float": st.floats(-1e12, 1e12),
    "text": TEXTS,
    "country": TEXTS,
    "version": st.integers(0, 999).map(lambda part: f"{part}.86.05"),
}


def sent(kind: str, value: Any, factor: int) -> object:
    """Return a value as the service takes it."""
    if kind == "country" and re.fullmatch("[A-Za-z]{2}", value):
        return value.upper()
    if kind == "version":
        return int(value.partition(".")[0]) * 1_000_000 + 86_005
    return round(value * factor) if factor > 1 else value


@st.composite
def queries(draw: st.DrawFn) -> tuple[str, Filters]:
    """Return a query as a person might type it, and what it means."""
    text, meant = "", Filters()
    for names, kind, _, *more in draw(st.lists(st.sampled_from(ROWS), unique_by=id)):
        sign = draw(st.sampled_from(sorted(OPERATORS)))
        operator = OPERATORS[sign]
        if operator not in TAKES[kind]:
            continue
        name, _, wire = names.partition("=")
        factor, several = int([*more, "1"][0]), operator in ("in", "notin")
        values = draw(st.lists(VALUES[kind], min_size=1, max_size=3 if several else 1))
        quote = draw(st.sampled_from(["", "'", '"']))
        typed = [f"{quote}{value}{quote}" for value in values]
        if not quote:
            typed = [value.replace(" ", "_") for value in typed]
        value = f"[{' , '.join(typed)}]" if several else typed[0]
        gap = draw(st.sampled_from([" ", "\n", "  ", " \t"]))
        text += f"{name}{gap}{sign}{gap}{value}{draw(st.sampled_from([' ', ', ']))}"
        wired = [sent(kind, value, factor) for value in values]
        meant[wire or name] = {operator: wired if several else wired[0]}
    return text, meant


@PATIENT
@given(queries())
def test_what_is_typed_is_what_is_sent(case: tuple[str, Filters]) -> None:
    text, meant = case
    assert parsed(text) == meant


PIECES = st.sampled_from([*NAMES, *OPERATORS, *" ,[]'\"\\\n_=<>!", "none", "any", "1"])
NEARLY = st.lists(PIECES | st.text(max_size=3)).map("".join)
WIRES = {row[0].partition("=")[2] or row[0] for row in ROWS}


@PATIENT
@given(NEARLY | st.text())
def test_any_text_is_a_query_or_a_query_error(text: str) -> None:
    result = outcome(lambda text: vast.parse_query(text, vast.DEFAULT_FILTERS), text)
    if isinstance(result, vast.QueryError):
        assert result.query == text
        assert 0 <= result.start < result.end <= len(text)
        query, carets = vast.caret(result).split("\n")
        assert set(carets.strip(" ")) == {"^"}
        assert vast.width(carets) <= vast.width(query) + 1
        return
    filters, notes = result
    assert filters.keys() <= WIRES
    assert {op for tests in filters.values() for op in tests} <= TAKES["int"]
    json.dumps([filters, notes], allow_nan=False)


KEY_PIECES = st.sampled_from([*NAMES, *"+- ,,", " asc", " desc"])


@PATIENT
@given(st.lists(KEY_PIECES | st.text(max_size=1)).map("".join))
def test_any_text_is_an_order_or_a_query_error(text: str) -> None:
    result = outcome(vast.parse_order, text)
    if isinstance(result, vast.QueryError):
        assert result.query == text
        assert 0 <= result.start < result.end <= max(len(text), result.start + 1)
        return
    assert len(result) == text.count(",") + 1
    assert {direction for _, direction in result} <= {"asc", "desc"}
