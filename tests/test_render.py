"""Rendering: tables, cells and JSON text; and the other pure parts that meet odd text:
addresses of instances, and `--env`."""

from __future__ import annotations

import gc
import json
import shlex
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vast
from conftest import Program
from sandbox import Sandbox

NOW = 1_790_000_000
PATIENT = settings(deadline=None)

# Kinds of columns: format and scale.
KINDS: dict[str, tuple[str, float]] = {
    "text": ("", 1),
    "whole": ("d", 1),
    "GPUs": ("dx", 1),
    "tenths": (".1f", 1),
    "dollars": (".4f", 1),
    "GB": (".1f", 1 / 1000),
    "days": (".1f", 1 / 86400),
    "hours": (".1f", 1 / 3600),
    "percent": (".1f", 100),
}


def column(heading: str, source: str, kind: str = "text") -> vast.Column:
    """Return a column of one of the kinds."""
    format, scale = KINDS[kind]
    return vast.Column(heading, source, format, scale=scale)


def table(columns: Sequence[vast.Column], *rows: vast.Row, heading: bool = True) -> str:
    """Return the rows in these columns, as in a pipe."""
    text, hidden = vast.table_text(rows, columns, NOW, heading)
    assert hidden == 0
    return text


def shown(value: object, kind: str = "text", last: bool = False) -> str:
    """Return a value in the first or the last cell of a row."""
    columns = [column("Heading", "x", kind), column("Last", "y")]
    if last:
        columns.reverse()
    text = table(columns, {"x": value, "y": "y"}, heading=False)
    return text.removeprefix("y  ").removesuffix("\n" if last else "  y\n")


CELLS: dict[str, tuple[object, str, str]] = {
    "text": ("RTX", "text", "RTX"),
    "a space": ("RTX 4090", "text", "RTX_4090"),
    "several spaces": ("Oregon,  US", "text", "Oregon,__US"),
    "spaces around": ("  RTX 4090 ", "text", "RTX_4090"),
    "no text": ("", "text", "-"),
    "only spaces": ("  ", "text", "-"),
    "nothing": (None, "text", "-"),
    "no number": (None, "tenths", "-"),
    "a boolean": (True, "text", "true"),
    "a boolean for a number": (False, "whole", "false"),
    "a number for a text": (12, "text", "12"),
    "a fraction for a text": (0.25, "text", "0.25"),
    "a number as text": ("12", "tenths", "12.0"),
    "a text for a number": ("12 GB", "tenths", "12_GB"),
    "a list": ([1, "a b"], "text", '[1,_"a_b"]'),
    "an object for a number": ({"a": None}, "whole", '{"a":_null}'),
    "an empty list": ([], "text", "[]"),
    "whole": (4, "whole", "4"),
    "a number of GPUs": (2, "GPUs", "2x"),
    "whole, from a fraction": (4.9, "whole", "4"),
    "rounded": (4.96, "tenths", "5.0"),
    "four digits": (0.12345, "dollars", "0.1235"),
    "MB as GB": (24576, "GB", "24.6"),
    "seconds as days": (129600, "days", "1.5"),
    "seconds as hours": (5400, "hours", "1.5"),
    "a share in percent": (0.98765, "percent", "98.8"),
    "zero": (0, "GB", "0.0"),
    "below zero": (-1.5, "tenths", "-1.5"),
    "an id that floats cannot say": (2**53 + 1, "whole", "9007199254740993"),
    "a huge number": (10**30, "whole", "1" + "0" * 30),
    "a number beyond floats": (float("inf"), "whole", "inf"),
    "a whole one, in another unit": (10**400, "GB", "1" + "0" * 400),
    # Strangers' text.
    "a colour": ("\x1b[31mred", "text", r"\x1b[31mred"),
    "a line break": ("a\nb\r", "text", r"a\nb\r"),
    "a tab": ("a\tb", "text", r"a\tb"),
    "a bell of the second kind": ("\x9b0m\x7f\0", "text", r"\x9b0m\x7f\x00"),
    "text turned round": ("a\u202eb\u2066", "text", r"a\u202eb\u2066"),
    "no width": ("a\u200bb\u200d\ufeff\xad", "text", r"a\u200bb\u200d\ufeff\xad"),
    "other line breaks": ("\x85\u2028\u2029", "text", r"\x85\u2028\u2029"),
    "other spaces": ("a\xa0b\u3000c", "text", r"a\xa0b\u3000c"),
    "tags": ("\U000e0041", "text", r"\U000e0041"),
    "half a letter": ("\ud83d", "text", r"\ud83d"),
    "what is private": ("\ue000", "text", r"\ue000"),
    "in a list": (["\x1b\u202e"], "text", r'["\u001b\u202e"]'),
    "letters": ("Köln™ Ελλάς 日本 👍", "text", "Köln™_Ελλάς_日本_👍"),
    "like an option": ("-rf", "text", "-rf"),
    "like a path": ("../../x", "text", "../../x"),
    "like a format": ("%s{}{0}%d", "text", "%s{}{0}%d"),
    "like an escape": (r"\x1b", "text", r"\x1b"),
}


@pytest.mark.parametrize(("value", "kind", "text"), CELLS.values(), ids=CELLS)
def test_cell(value: object, kind: str, text: str) -> None:
    assert shown(value, kind) == text


COLUMNS = [
    column("ID", "id", "whole"),
    column("Name", "name"),
    column("RAM", "ram", "GB"),
    column("Note", "note"),
]
ROWS = [
    {"id": 7, "name": "a", "ram": 64000, "note": "x"},
    {"id": 12345, "name": "b c", "ram": None, "note": "a longer one"},
    {},
]


def test_table() -> None:
    # Text to the left, numbers to the right, no spaces at the ends of lines.
    assert table(COLUMNS, *ROWS) == (
        "   ID  Name   RAM  Note\n"
        "    7  a     64.0  x\n"
        "12345  b_c      -  a longer one\n"
        "    -  -        -  -\n"
    )


def test_table_without_heading() -> None:
    assert table(COLUMNS, *ROWS[:2], heading=False) == (
        "    7  a    64.0  x\n12345  b_c     -  a longer one\n"
    )


def test_numbers_last() -> None:
    columns = [column("A", "a"), column("B", "b", "whole")]
    assert table(columns, {"a": 1, "b": 100}, {"a": "xy", "b": "z"}) == (
        "A     B\n1   100\nxy    z\n"
    )


def test_no_rows() -> None:
    assert table(COLUMNS) == "ID  Name  RAM  Note\n"
    assert table(COLUMNS, heading=False) == ""


def test_wide_letters_keep_the_columns_straight() -> None:
    names = ["日本", "e\u0301te\u0301", "ﾆｯﾎﾟﾝ", "ＦＵＬＬ", "👍", "plain"]
    rows = [{"name": name, "n": 1} for name in names]
    assert table([column("Name", "name"), column("N", "n", "whole")], *rows) == (
        "Name      N\n"
        "日本      1\n"
        "e\u0301te\u0301       1\n"
        "ﾆｯﾎﾟﾝ     1\n"
        "ＦＵＬＬ  1\n"
        "👍        1\n"
        "plain     1\n"
    )


WIDTHS = {
    "": 0,
    "plain": 5,
    "日本": 4,
    "e\u0301": 1,
    "\u0e01\u0e49": 1,
    "한글": 4,
    "ｆ": 2,
    "ﾆ": 1,
    "…": 1,
    "👍": 2,
}


@pytest.mark.parametrize("text", WIDTHS, ids=ascii)
def test_width(text: str) -> None:
    assert vast.width(text) == WIDTHS[text]


BY_HEADING = {
    each.heading: each for each in (*vast.OFFER_COLUMNS, *vast.INSTANCE_COLUMNS)
}
# Columns that compute their value, or choose it.
COMPUTED: dict[str, tuple[str, vast.Row, str]] = {
    "the memory of all GPUs": ("VRAM", {"gpu_total_ram": 48000}, "48.0"),
    "that of one times how many": (
        "VRAM",
        {"gpu_total_ram": None, "gpu_ram": 24564, "num_gpus": 4},
        "98.3",
    ),
    "that of one, of an unknown number": ("VRAM", {"gpu_ram": 24564}, "-"),
    "that of one, as text": ("VRAM", {"gpu_ram": "24", "num_gpus": 2}, "-"),
    "the first that has a value": (
        "R",
        {"reliability2": 0.995, "reliability": 0.9},
        "99.5",
    ),
    "the next that has": ("R", {"reliability2": None, "reliability": 0.9}, "90.0"),
    "none": ("R", {}, "-"),
    "an age": ("Age_h", {"start_date": NOW - 5400.0}, "1.5"),
    "an age as text": ("Age_h", {"start_date": "soon"}, "soon"),
    "no age": ("Age_h", {"start_date": None}, "-"),
    "no address": ("SSH_Addr", {"ssh_host": "ssh4.vast.ai"}, "-"),
    "an address": ("SSH_Addr", {"ssh_host": "x.vast.ai", "ssh_port": 9}, "x.vast.ai"),
    "its port": ("SSH_Port", {"ssh_host": "x.vast.ai", "ssh_port": 9}, "9"),
}  # fmt: skip


@pytest.mark.parametrize(("heading", "row", "text"), COMPUTED.values(), ids=COMPUTED)
def test_computed(heading: str, row: vast.Row, text: str) -> None:
    assert table([BY_HEADING[heading]], row, heading=False) == f"{text}\n"


# What the last cell of a row shows, where it is not what the others show.
LAST = {
    "RTX 4090": "RTX 4090",
    "Oregon,  US": "Oregon,  US",
    "  a b ": "a b",
    "  ": "-",
    "a\nb \x1b[31m": r"a\nb \x1b[31m",
    "a_b": "a_b",
}


@pytest.mark.parametrize("value", LAST)
def test_the_last_column_keeps_its_spaces(value: str) -> None:
    assert shown(value, last=True) == LAST[value]
    assert shown(value) == LAST[value].replace(" ", "_")


def test_the_last_column_that_was_picked_keeps_its_spaces() -> None:
    columns = vast.pick_columns("Note,Name", COLUMNS, ROWS)
    assert table(columns, ROWS[1]) == "Note          Name\na_longer_one  b c\n"


def test_an_object_in_the_last_column() -> None:
    assert shown([1, "a b", {"c": None}], last=True) == '[1, "a b", {"c": null}]'


# JSON.

JSON_TEXTS: dict[str, tuple[object, str]] = {
    "rows": (
        [{"b": 1, "a": None}, {"a": "x"}],
        '[\n{"a": null, "b": 1},\n{"a": "x"}\n]',
    ),
    "no rows": ([], "[]"),
    "an object": ({"b": 1, "a": [1, 2]}, '{"a": [1, 2], "b": 1}'),
    "rows in an object": (
        {"invoices": [{"b": 1, "a": {"d": 1, "c": 2}}], "current": None},
        '{"current": null, "invoices": [\n{"a": {"c": 2, "d": 1}, "b": 1}\n]}',
    ),
    "rows in a row": (
        [{"a": [{"c": 1}, {"b": 1}]}],
        '[\n{"a": [{"c": 1}, {"b": 1}]}\n]',
    ),
    "ids": ([7, 8], "[7, 8]"),
    "numbers": ([1, 1.0, 0.1, -0.0, 1e22], "[1, 1.0, 0.1, -0.0, 1e+22]"),
    "a long number": (10**30, "1" + "0" * 30),
    "beyond floats": ([{"a": float("inf")}], '[\n{"a": 1e999}\n]'),
    "far below": (
        {"a": float("-inf"), "Infinity": "Infinity"},
        '{"Infinity": "Infinity", "a": -1e999}',
    ),
    "letters": ("ä\x1b\u202e日\n", r'"\u00e4\u001b\u202e\u65e5\n"'),
    "half a letter": ({"\ud83d": 1}, r'{"\ud83d": 1}'),
    "a quote": ({'a"': '"Infinity\\'}, r'{"a\"": "\"Infinity\\"}'),
}  # fmt: skip


@pytest.mark.parametrize(("value", "text"), JSON_TEXTS.values(), ids=JSON_TEXTS)
def test_json_for_programs(value: object, text: str) -> None:
    assert vast.json_text(value, indent=False) == text


@pytest.mark.parametrize(("value", "text"), JSON_TEXTS.values(), ids=JSON_TEXTS)
def test_json_for_people_says_the_same(value: object, text: str) -> None:
    indented = vast.json_text(value, indent=True)
    assert json.loads(indented) == json.loads(text)
    assert indented.isascii()


def test_json_for_people() -> None:
    assert vast.json_text([{"b": [1], "a": float("inf")}], indent=True) == (
        '[\n  {\n    "a": 1e999,\n    "b": [\n      1\n    ]\n  }\n]'
    )


# What lets others in, by the names that the service gives it.
CREDENTIALS = """api_key instance_api_key jupyter_token token access_token sid password
    session_id secret client_secret tfa_secret image_login private_key""".split()
AT_EVERY_DEPTH: dict[str, Any] = {
    "an object": lambda held: held,
    "rows": lambda held: [{"id": 1}, held],
    "an object of rows": lambda held: {"invoices": [held], "current": None},
    "within a row": lambda held: [{"instance": {"more": [[held]]}}],
}


@pytest.mark.parametrize("wrap", AT_EVERY_DEPTH.values(), ids=AT_EVERY_DEPTH)
@pytest.mark.parametrize("name", CREDENTIALS)
def test_credentials_are_left_out(name: str, wrap: Any) -> None:
    for secret in ("hush", None, {"a": "hush"}, ["hush"]):
        value = wrap({"a": 1, name: secret, "z": 2})
        for indent in (True, False):
            shown = vast.json_text(vast.without_credentials(value), indent)
            assert json.loads(shown) == wrap({"a": 1, "z": 2})


# Variables of an instance, which its row has in pairs, and whether they are shown.
PAIRS = {
    "HF_TOKEN": False,
    "aws_secret_access_key": False,
    "OPENAI_API_KEY": False,
    "Password": False,
    "GIT_CREDENTIALS": False,
    "REGISTRY_LOGIN": False,
    "GITHUB_PAT": False,
    "PATH": True,
    "DATA_DIRECTORY": True,
    "KEYBOARD": True,
    "TOKENIZERS_PARALLELISM": True,
    "-p 8080:8080": True,
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("key", ["extra_env", "env"])
@pytest.mark.parametrize("wrap", AT_EVERY_DEPTH.values(), ids=AT_EVERY_DEPTH)
def test_secret_variables_are_masked(name: str, key: str, wrap: Any) -> None:
    value = "hush" if PAIRS[name] else vast.MASK
    for before, after in [
        ([["A", "b"], [name, "hush"], ["C"]], [["A", "b"], [name, value], ["C"]]),
        ({"A": "b", name: "hush"}, {"A": "b", name: value}),
    ]:
        text = vast.json_text(vast.without_credentials(wrap({key: before})), False)
        assert json.loads(text) == wrap({key: after})


def test_a_password_in_an_address_is_masked() -> None:
    url = "postgres://me:hush@db.example.org/x"
    row = vast.without_credentials({"env": {"DB": url, "SITE": "https://x.org/@a:b"}})
    assert row == {"env": {"DB": vast.MASK, "SITE": "https://x.org/@a:b"}}


def test_what_is_public_stays() -> None:
    value = {"api_keys": 3, "id": 1, "ssh_key": "ssh-ed25519 AAAA", "tokens": 5}
    assert vast.without_credentials(value) == value


def test_a_value_is_left_as_it_was() -> None:
    rows = [{"b": {"api_key": "hush"}, "env": [["A_TOKEN", "hush"]]}]
    before = repr(rows)
    assert vast.without_credentials(rows) != rows
    assert repr(rows) == before


def test_no_secret_variable_in_a_table(run: Program, box: Sandbox) -> None:
    row = {"id": 7, "extra_env": [["HF_TOKEN", "hush"], ["A", "b c"]]}
    box.fault("instances", "body", body={"success": True, "instances": [row]})
    ran = run("show", "instances", "--cols", "id,extra_env")
    assert ran == (
        0,
        'ID  extra_env\n 7  [["HF_TOKEN", "********"], ["A", "b c"]]\n',
        "",
    )


@pytest.mark.parametrize("option", ["--raw", "--cols=x"])
@pytest.mark.parametrize("depth", [700, 5000])
def test_nested_deeply(run: Program, box: Sandbox, depth: int, option: str) -> None:
    nested = b"[" * depth + b"]" * depth
    box.fault("instances", "body", body=b'{"instances": [{"x": %b}]}' % nested)
    gc.collect()  # what other tests left has no room to be finalized that deep
    ran = run("show", "instances", option)
    if ran.status == 0:  # as it is in Pythons that go deeper
        assert ran.err == ""
        assert nested.decode() in ran.out
    else:
        assert (ran.status, ran.out, ran.err.count("\n")) == (1, "", 1)


# Addresses of instances.

PROXY = {"ssh_host": "ssh4.vast.ai", "ssh_port": 10022}
IP = "198.51.100.7"


def ports(*entries: object) -> vast.Row:
    """Return a row with a proxy and these entries for its port 22."""
    return {**PROXY, "public_ipaddr": IP, "ports": {"22/tcp": list(entries)}}


def port(number: object, ip: object = "0.0.0.0") -> vast.Row:
    """Return an entry of the ports of an instance."""
    return {"HostIp": ip, "HostPort": number}


BY_PROXY, DIRECTLY = ("ssh4.vast.ai", 10022, False), (IP, 41022, True)
ADDRESSES: dict[str, tuple[vast.Row, tuple[str, int, bool] | None]] = {
    "nothing yet": ({}, None),
    "nulls": (dict.fromkeys(["ssh_host", "ssh_port", "public_ipaddr", "ports"]), None),
    "a host only": ({"ssh_host": "ssh4.vast.ai"}, None),
    "a port only": ({"ssh_port": 10022}, None),
    "the proxy": (PROXY, BY_PROXY),
    "the proxy's port as text": ({**PROXY, "ssh_port": "10022"}, BY_PROXY),
    "directly": (ports(port("41022")), DIRECTLY),
    "a port as a number": (ports(port(41022)), DIRECTLY),
    "without a proxy": ({**ports(port("41022")), "ssh_host": None}, DIRECTLY),
    "spaces around the address": (
        {**ports(port("41022")), "public_ipaddr": f" {IP}\n"},
        DIRECTLY,
    ),
    "no address": ({**ports(port("41022")), "public_ipaddr": None}, BY_PROXY),
    "an IPv6 address": (
        {**ports(port("41022", "::")), "public_ipaddr": "2001:db8::7"},
        ("2001:db8::7", 41022, True),
    ),
    "IPv4 before IPv6": (ports(port("41023", "::"), port("41022")), DIRECTLY),
    "the first of two": (ports(port("41022"), port("41023")), DIRECTLY),
    "the first that is one": (ports(None, {}, port("x"), port("41022")), DIRECTLY),
    "an entry without an address": (ports({"HostPort": "41022"}), DIRECTLY),
    # Ports that are none.
    "no port": (ports(port(None)), BY_PROXY),
    "port 0": (ports(port("0")), BY_PROXY),
    "a port too high": (ports(port("65536")), BY_PROXY),
    "the highest port": (ports(port("65535")), (IP, 65535, True)),
    "a port below zero": (ports(port("-22")), BY_PROXY),
    "a port with a fraction": (ports(port(41022.5)), BY_PROXY),
    "a port with words": (ports(port("22 -oProxyCommand=x")), BY_PROXY),
    "a port with a line break": (ports(port("41022\n")), BY_PROXY),
    "a port in other digits": (ports(port("４１０２２")), BY_PROXY),
    "the proxy's port 0": ({**PROXY, "ssh_port": 0}, None),
    "the proxy's port too high": ({**PROXY, "ssh_port": 65536}, None),
    # Ports in odd forms.
    "no ports": ({**ports(), "ports": {}}, BY_PROXY),
    "a list of ports": ({**ports(), "ports": ["22/tcp"]}, BY_PROXY),
    "text for ports": ({**ports(), "ports": "22/tcp"}, BY_PROXY),
    "no entry": (ports(), BY_PROXY),
    "null for entries": ({**ports(), "ports": {"22/tcp": None}}, BY_PROXY),
    "one for entries": ({**ports(), "ports": {"22/tcp": port("41022")}}, BY_PROXY),
    "another port": ({**ports(), "ports": {"80/tcp": [port("41022")]}}, BY_PROXY),
    "that port of UDP": ({**ports(), "ports": {"22/udp": [port("41022")]}}, BY_PROXY),
    # Jupyter.
    "Jupyter": (
        {**PROXY, "image_runtype": "jupyter"},
        ("ssh4.vast.ai", 10023, False),
    ),
    "Jupyter among others, cut short": (
        {**PROXY, "image_runtype": "jupyter_direc ssh_direc ssh_proxy"},
        ("ssh4.vast.ai", 10023, False),
    ),
    "ssh": ({**PROXY, "image_runtype": "ssh_direct ssh_proxy"}, BY_PROXY),
    "null for Jupyter": ({**PROXY, "image_runtype": None}, BY_PROXY),
    "Jupyter directly": (
        {**ports(port("41022")), "image_runtype": "jupyter"},
        DIRECTLY,
    ),
    "Jupyter beyond the highest port": (
        {"ssh_host": "ssh4.vast.ai", "ssh_port": 65535, "image_runtype": "jupyter"},
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("row", "address"), ADDRESSES.values(), ids=ADDRESSES)
def test_address(row: vast.Row, address: tuple[str, int, bool] | None) -> None:
    assert vast.ssh_address(row) == address


# What a host might say to be reached elsewhere, or to have a shell run something.
SPOOFED = [
    *"""-oProxyCommand=reboot -- a;reboot $(reboot) `reboot` a|b a&b a>b a#b a?b a%20b
    root@evil evil/ evil:22/x 'a' "a" \a * ~ . .. _ {} [::1] ::1%eth0""".split(),
    "", " ", "a b", "a\nb", "fe80::1 x", "a\0", "\x1b[2J", "evil\u202e", "dörf", "１",
]  # fmt: skip


@pytest.mark.parametrize("host", SPOOFED, ids=ascii)
def test_spoofed_host(host: str) -> None:
    assert vast.ssh_address({"ssh_host": host, "ssh_port": 22}) is None
    assert vast.ssh_address({**ports(port("22")), "public_ipaddr": host}) == BY_PROXY
    odd = {"ssh_host": [host], "ssh_port": 22, "public_ipaddr": {"a": host}}
    assert vast.ssh_address({**ports(port("22")), **odd}) is None


# What `--env` may hold.

ENVIRONMENTS: dict[str, tuple[list[str], dict[str, str]]] = {
    "nothing": ([""], {}),
    "a variable": (["-e A=b"], {"A": "b"}),
    "a bare variable": (["A=b"], {"A": "b"}),
    "several": (["-e A=b -e C=d", "E=f G=h"], {"A": "b", "C": "d", "E": "f", "G": "h"}),
    "a value with =": (["-e A=b=c -e D==e"], {"A": "b=c", "D": "=e"}),
    "an empty value": (["-e A= B="], {"A": "", "B": ""}),
    "the last of one name": (["-e A=b", "-e A=c"], {"A": "c"}),
    "quoted spaces": (["-e 'A=b c' D=\"e f\""], {"A": "b c", "D": "e f"}),
    "a backslash": ([r"-e A=b\ c"], {"A": "b c"}),
    "pipes and ampersands": (["-e A='b|c&d;e#f'"], {"A": "b|c&d;e#f"}),
    "a dollar": (["-e A=$HOME"], {"A": "$HOME"}),
    "a hash": (["-e A=b #c=d"], {"A": "b", "#c": "d"}),
    "ports": (
        ["-p 8080:80/udp -p 72299:72299 -p 80:80"],
        {"-p 8080:80/udp": "1", "-p 72299:72299": "1", "-p 80:80": "1"},
    ),
    "a port without a space": (["-p80:80 -eA=b"], {"-p 80:80": "1", "A": "b"}),
    "a volume": (["-v a:b", "-v c:d=e"], {"-v a:b": "1", "-v c:d=e": "1"}),
    "a host name": (["-h gpu", "-h box"], {"-h": "box"}),
    "a value like an option": (["-e A=-p -e B=--x"], {"A": "-p", "B": "--x"}),
    "letters": (["-e NAME=Köln日本"], {"NAME": "Köln日本"}),
}


@pytest.mark.parametrize(("texts", "found"), ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_environment(texts: list[str], found: dict[str, str]) -> None:
    assert vast.parse_environment(texts) == found


NO_ENVIRONMENTS = {
    "--shm-size 1g": "--env takes only -e -p -v -h, not '--shm-size'",
    "-e A=b --gpus=all": "--env takes only -e -p -v -h, not '--gpus=all'",
    "--publish 80:80": "--env takes only -e -p -v -h, not '--publish'",
    "--env=A=b": "--env takes only -e -p -v -h, not '--env=A=b'",
    "-": "--env takes only -e -p -v -h, not '-'",
    "-e": "--env: '-e' needs a value",
    "A=b -p": "--env: '-p' needs a value",
    "NAME": "--env: 'NAME' is not of the form NAME=VALUE",
    "-e =b": "--env: '=b' is not of the form NAME=VALUE",
    "''": "--env: '' is not of the form NAME=VALUE",
    "A='b": "--env: no closing quotation",
    "A=b\\": "--env: no escaped character",
}


@pytest.mark.parametrize("text", NO_ENVIRONMENTS)
def test_no_environment(text: str) -> None:
    with pytest.raises(vast.UsageError) as caught:
        vast.parse_environment([text])
    assert str(caught.value) == NO_ENVIRONMENTS[text]


# Properties.

NUMBERS = st.integers() | st.floats(allow_nan=False) | st.just(-(10**400))
PLAIN = st.none() | st.booleans() | NUMBERS | st.text()
JSON = PLAIN | st.recursive(
    PLAIN,
    lambda held: st.lists(held, max_size=3) | st.dictionaries(st.text(), held),
    max_leaves=3,
)
NAMES = ["a", "b", "gpu_total_ram", "gpu_ram", "num_gpus", "start_date", *PROXY]
ANY_COLUMN = st.builds(
    column,
    st.just("H"),
    st.sampled_from(["a", "b", "b|a"]),
    st.sampled_from(list(KINDS)),
) | st.sampled_from([BY_HEADING[each] for each in ("VRAM", "SSH_Addr", "Age_h")])
ANY_COLUMNS = st.lists(ANY_COLUMN, min_size=1, max_size=4)
ANY_ROWS = st.lists(
    st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4), max_size=3
)
END = vast.Column("End", lambda row, now: "end")


@PATIENT
@given(ANY_COLUMNS, ANY_ROWS)
def test_any_rows_are_a_table(columns: list[vast.Column], rows: list[vast.Row]) -> None:
    text = table([*columns, END], *rows)
    assert text.replace("\n", "").isprintable()
    lines = text.split("\n")
    assert len(lines) == len(rows) + 2
    assert lines.pop() == ""
    assert [len(line.split()) for line in lines] == [len(columns) + 1] * len(lines)
    assert len(set(map(vast.width, lines))) == 1
    # Together they read as each does alone.
    alone = [table([*columns, END], row, heading=False).split() for row in rows]
    assert [line.split() for line in lines[1:]] == alone


@PATIENT
@given(ANY_COLUMNS, ANY_ROWS, st.integers(1, 200))
def test_any_rows_on_a_terminal(
    columns: list[vast.Column], rows: list[vast.Row], room: int
) -> None:
    text, hidden = vast.table_text(rows, columns, NOW, room=room)
    lines = text.splitlines()
    assert len(lines) == len(rows) + 1
    whole = table(columns, *rows).splitlines()
    if max(map(vast.width, whole)) <= room:
        assert (lines, hidden) == (whole, 0)
    kept = [each for each in columns if each.essential] or columns[:1]
    assert hidden <= len(columns) - len(kept)
    if room >= 8 and len(kept) == 1 and not kept[0].format:
        assert max(map(vast.width, lines)) <= room


@PATIENT
@given(JSON, st.booleans())
def test_any_value_is_json(value: object, indent: bool) -> None:
    text = vast.json_text(value, indent)
    assert text.isascii()
    assert text.replace("\n", "").isprintable()
    assert json.loads(text) == value
    assert json.dumps(json.loads(text)) == json.dumps(value, sort_keys=True)


@PATIENT
@given(ANY_ROWS)
def test_any_row_is_a_line_of_json(rows: list[vast.Row]) -> None:
    first, *lines = vast.json_text(rows, indent=False).split("\n")
    if not rows:
        assert (first, lines) == ("[]", [])
        return
    assert (first, lines.pop()) == ("[", "]")
    assert [json.loads(line.removesuffix(",")) for line in lines] == rows


@PATIENT
@given(st.dictionaries(st.text(), JSON), st.sampled_from(CREDENTIALS), st.booleans())
def test_no_credential_among_any_values(row: vast.Row, name: str, indent: bool) -> None:
    held: Any = {**row, name: "hush, hush"}
    value = [{"z": [held, {"env": [["MY_TOKEN", "hush, hush"]]}]}]
    text = vast.json_text(vast.without_credentials(value), indent)
    assert "hush, hush" not in text
    assert json.loads(text)[0]["z"][1] == {"env": [["MY_TOKEN", vast.MASK]]}


VARIABLES = st.text(min_size=1).filter(lambda name: "=" not in name and name[0] != "-")


@PATIENT
@given(st.dictionaries(VARIABLES, st.text()), st.sampled_from(["", "-e ", "-e"]))
def test_quoted_variables_come_back(variables: dict[str, str], flag: str) -> None:
    texts = [flag + shlex.quote(f"{name}={variables[name]}") for name in variables]
    assert vast.parse_environment(texts) == variables
    assert vast.parse_environment([" ".join(texts)]) == variables


ENV_PIECES = st.sampled_from(
    ["-e", "-p", "-v ", "-h", "--env", " ", "A=b", "'", '"', "="]
)


@PATIENT
@given(st.lists(st.lists(ENV_PIECES | st.text(max_size=2)).map("".join)))
def test_any_text_is_an_environment_or_a_usage_error(texts: list[str]) -> None:
    try:
        found = vast.parse_environment(texts)
    except vast.UsageError:
        return
    assert all(isinstance(text, str) for pair in found.items() for text in pair)
    assert "" not in found
