"""The commands of a renter, and those of an account: what each sends and prints.

Most tests are tables from a command line to its outcome.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vast
from conftest import Clock, Program, Ran, Sent, Stream, an_offer, complaint, sent
from sandbox import Row, Sandbox

OFFER_HEADINGS = (
    "ID CUDA N Model PCIE cpu_ghz vCPUs RAM VRAM Disk $/hr DLP DLP/$ score NV_Driver"
    " Net_up Net_down R Max_Days mach_id status host_id ports country"
).split()
INSTANCE_HEADINGS = (
    "ID Machine Status N Model Util% vCPUs RAM Disk SSH_Addr SSH_Port $/hr Image Net_up"
    " Net_down R Label Age_h Up_min"
).split()


def rent(box: Sandbox, number: int = 5001, **body: Any) -> int:
    """Rent an offer without the program; return the id of the instance."""
    order = {"image": "example/image", "disk": 10.0, "runtype": "ssh", **body}
    market = box.market
    offer = market.offers[an_offer(box)]
    return market.rent(offer, order, number, market.user["id"]).id


@pytest.fixture
def instance(box: Sandbox) -> int:
    """Return the id of the only instance."""
    return rent(box)


# ---------------------------------------------------------------- search offers

PLAIN_SEARCH: Row = {
    "verified": {"eq": True},
    "external": {"eq": False},
    "rentable": {"eq": True},
    "order": [["score", "desc"]],
    "type": "on-demand",
    "allocated_storage": 5.0,
}
NO_DEFAULTS = {"verified": None, "external": None, "rentable": None}
# What follows `search offers` -> what the body has in addition; None: lacks.
SEARCHES: dict[str, Row] = {
    "": {},
    "'num_gpus>=4 dph<2'": {"num_gpus": {"gte": 4}, "dph_total": {"lt": 2}},
    "'num_gpus>=4' 'dph<2'": {"num_gpus": {"gte": 4}, "dph_total": {"lt": 2}},
    "num_gpus '>=' 4": {"num_gpus": {"gte": 4}},
    "gpu_name=RTX 4090": {"gpu_name": {"eq": "RTX 4090"}},
    "gpu_ram=24 -o dph num_gpus=2": {
        "gpu_ram": {"eq": 24000},
        "num_gpus": {"eq": 2},
        "order": [["dph_total", "asc"]],
    },
    "verified=any": {"verified": None},
    "rentable=false": {"rentable": {"eq": False}},
    "'duration>=3'": {"duration": {"gte": 259200}},
    "-n": NO_DEFAULTS,
    "--no-default has_avx=true": {**NO_DEFAULTS, "has_avx": {"eq": True}},
    "-t bid": {"type": "bid"},
    "--type on-demand": {},
    "--type=interruptible": {"type": "bid"},
    "--type reserved": {"type": "reserved"},
    "-i": {"type": "bid"},
    "--interruptible": {"type": "bid"},
    "-b": {"type": "bid"},
    "--bid": {"type": "bid"},
    "-r": {"type": "reserved"},
    "--reserved": {"type": "reserved"},
    "-d": {},
    "-b --on-demand": {},
    "--disable-bundling": {"disable_bundling": True},
    "--storage 40": {"allocated_storage": 40},
    "--storage=0.5": {"allocated_storage": 0.5},
    "-o 'dph, num_gpus-'": {"order": [["dph_total", "asc"], ["num_gpus", "desc"]]},
    "--order 'dlperf_usd desc'": {"order": [["dlperf_per_dphtotal", "desc"]]},
    "-o score": {"order": [["score", "asc"]]},
    "--limit 5": {"limit": 5},
}


@pytest.mark.parametrize("line", SEARCHES)
def test_what_a_search_sends(run: Program, box: Sandbox, line: str) -> None:
    body = {**PLAIN_SEARCH, **SEARCHES[line]}
    body = {key: value for key, value in body.items() if value is not None}
    assert run("search", "offers", *shlex.split(line)).status == 0
    assert sent(box) == [("POST", "/api/v0/bundles/", body)]


@pytest.mark.usefixtures("still")
def test_search_instances_is_the_same(run: Program, box: Sandbox) -> None:
    assert run("search", "instances", "num_gpus=2") == run(
        "search", "offers", "num_gpus=2"
    )
    assert box.calls[0].raw == box.calls[1].raw


# The right one, all cells filled; one with hardly anything; one with odd values.
OFFERS: list[Row] = [
    {
        "id": 20000123, "cuda_max_good": 12.8, "num_gpus": 4, "gpu_name": "RTX 4090",
        "pcie_bw": 22.36, "cpu_ghz": 3.8, "cpu_cores_effective": 16.0,
        "cpu_ram": 128614, "gpu_ram": 24564, "gpu_total_ram": 98256,
        "disk_space": 812.6, "dph_total": 1.40567, "dlperf": 375.54,
        "dlperf_per_dphtotal": 267.16, "score": 512.333, "driver_version": "550.127.08",
        "inet_up": 801.24, "inet_down": 1200.0, "reliability2": 0.99712,
        "duration": 1339200.0, "machine_id": 20011, "verification": "verified",
        "host_id": 100037, "direct_port_count": 99, "geolocation": "Bavaria, DE",
    },
    {"id": 77, "gpu_name": None},
    {"id": 78, "gpu_ram": 8000, "num_gpus": 2, "dph_total": "0.25", "inet_up": True},
]  # fmt: skip
OFFER_TABLE = """\
      ID  CUDA   N  Model     PCIE  cpu_ghz  vCPUs    RAM  VRAM  Disk    $/hr    DLP  DLP/$  score  NV_Driver   Net_up  Net_down     R  Max_Days  mach_id  status    host_id  ports  country
20000123  12.8  4x  RTX_4090  22.4      3.8   16.0  128.6  98.3   813  1.4057  375.5  267.2  512.3  550.127.08   801.2    1200.0  99.7      15.5    20011  verified   100037     99  Bavaria, DE
      77     -   -  -            -        -      -      -     -     -       -      -      -      -  -                -         -     -         -        -  -               -      -  -
      78     -  2x  -            -        -      -      -  16.0     -  0.2500      -      -      -  -             true         -     -         -        -  -               -      -  -
"""  # noqa: E501


def test_the_table_of_offers(run: Program, box: Sandbox) -> None:
    box.fault("search", "body", body={"offers": OFFERS})
    assert OFFER_TABLE.split("\n")[0].split() == OFFER_HEADINGS
    assert run("search", "offers") == Ran(0, OFFER_TABLE, "")


def test_raw_offers_stand_one_a_line_as_they_were_sent(
    run: Program, box: Sandbox
) -> None:
    box.fault("search", "body", body={"offers": OFFERS})
    lines = run("search", "offers", "--raw").out.splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("[", "]", 5)
    assert [json.loads(line.rstrip(",")) for line in lines[1:-1]] == OFFERS
    assert lines[2] == '{"gpu_name": null, "id": 77},'


@pytest.mark.parametrize(
    ("options", "out"),
    [
        pytest.param([], "  ".join(OFFER_HEADINGS) + "\n", id="heading only"),
        pytest.param(["--raw"], "[]\n", id="raw"),
        pytest.param(["-q"], "", id="quiet"),
        pytest.param(["-q", "--raw"], "[]\n", id="quiet and raw"),
    ],
)
def test_no_offers(run: Program, options: list[str], out: str) -> None:
    filters = "num_gpus=99 verified=true external=false rentable=true"
    note = f"vast.py: nothing found; filters in force: {filters} (by default; -n lifts"
    assert run("search", "offers", "num_gpus=99", *options) == Ran(
        0, out, f"{note} them)\n"
    )


def test_all_the_market_can_be_shown(run: Program, box: Sandbox) -> None:
    ran = run("search", "offers", "-n", "--disable-bundling", "--limit", "9999")
    lines = ran.out.splitlines()
    assert len(lines) == len(box.market.offers) + 1
    cells = {len(line.split(None, len(OFFER_HEADINGS) - 1)) for line in lines}
    assert cells == {len(OFFER_HEADINGS)}
    assert "\x1b" not in ran.out


def test_the_note_on_a_memory_size_that_no_machine_has(
    run: Program, box: Sandbox
) -> None:
    ran = run("search", "offers", "gpu_ram>=24576", "--raw")
    assert (ran.status, ran.out) == (0, "[]\n")
    assert ran.err.startswith("vast.py: ")
    assert "GB" in ran.err
    assert box.calls[-1].body["gpu_ram"] == {"gte": 24576000}


def test_a_wrong_query_is_shown_with_a_caret(run: Program, box: Sandbox) -> None:
    assert run("search", "offers", "num_gpus>=4", "gpu_nme=RTX_4090") == Ran(
        2,
        "",
        "vast.py: unknown field 'gpu_nme'; did you mean 'gpu_name'?\n"
        "  num_gpus>=4 gpu_nme=RTX_4090\n"
        "              ^^^^^^^\n",
    )
    assert not box.calls


# What follows `search offers` -> a word of the message.
WRONG_SEARCHES = {
    "dph2=1": "'dph'",
    "num_gpus=two": "whole number",
    "'gpu_name>A'": "text",
    "num_gpus 4": "redirection",
    "num_gpus=": "value",
    "'num_gpus in []'": "empty",
    "'dph<any'": "any",
    "'gpu_name=\"A'": "quote",
    "'num_gpus in [1'": "bracket",
    "dph=nan": "number",
    "dph=inf": "number",
    "-o dhp": "did you mean 'dph'?",
    "-o ''": "sort key",
    "-o 'dph down'": "sort key",
    "--type spot": "bid",
    "--limit 0": "limit",
    "--limit 1.5": "limit",
    "--limit": "--limit",
    "--storage -1": "disk size '-1': must be a number of GB, at least 0",
    "--storage nan": "disk size 'nan'",
    "--gpu-ram 24": "gpu_ram=VALUE",
    "--raw=yes": "--raw",
}


@pytest.mark.parametrize("line", WRONG_SEARCHES)
def test_a_wrong_search_sends_nothing(run: Program, box: Sandbox, line: str) -> None:
    ran = run("search", "offers", *shlex.split(line))
    assert (ran.status, ran.out, box.calls) == (2, "", [])
    assert ran.err.startswith("vast.py: ")
    assert WRONG_SEARCHES[line] in ran.err.splitlines()[0]


# ---------------------------------------------------------------- show instances

INSTANCES: list[Row] = [
    {
        "id": 5001, "machine_id": 20011, "actual_status": "running", "num_gpus": 1,
        "gpu_name": "RTX 4090", "gpu_util": 42.0, "cpu_cores_effective": 8.0,
        "cpu_ram": 64307, "disk_space": 10.0, "ssh_host": "ssh4.vast.ai",
        "ssh_port": 10032, "ports": None, "image_runtype": "jupyter_direc ssh_proxy",
        "dph_total": 0.3522, "image_uuid": "example/image:1", "inet_up": 801.2,
        "inet_down": 1200.9, "reliability2": 0.98, "label": "my training",
        "start_date": 1789990000.0, "uptime_mins": 17.6, "jupyter_token": "s3cr3t",
        "extra_env": [["HF_TOKEN", "hf_s3cr3t"], ["MODE", "fast"]],
    },
    {"id": 5002, "actual_status": None, "dph_total": "0.5"},
]  # fmt: skip
INSTANCE_TABLE = """\
  ID  Machine  Status    N  Model     Util%  vCPUs   RAM  Disk  SSH_Addr      SSH_Port    $/hr  Image            Net_up  Net_down     R  Label        Age_h  Up_min
5001    20011  running  1x  RTX_4090   42.0    8.0  64.3    10  ssh4.vast.ai     10033  0.3522  example/image:1   801.2    1200.9  98.0  my_training    2.8      18
5002        -  -         -  -             -      -     -     -  -                    -  0.5000  -                     -         -     -  -                -       -
"""  # noqa: E501


def instances_reply(rows: list[Row]) -> Row:
    """Return the answer of the list of instances."""
    return {"success": True, "next_token": None, "instances": rows}


def test_the_table_of_instances(run: Program, box: Sandbox) -> None:
    box.fault("instances", "body", body=instances_reply(INSTANCES))
    assert INSTANCE_TABLE.split("\n")[0].split() == INSTANCE_HEADINGS
    assert run("show", "instances") == Ran(0, INSTANCE_TABLE, "")


@pytest.mark.parametrize(
    ("options", "out"),
    [
        pytest.param(["-q"], "5001\n5002\n", id="quiet"),
        pytest.param(["--quiet", "--raw"], "[5001, 5002]\n", id="quiet and raw"),
    ],
)
def test_ids_of_instances(
    run: Program, box: Sandbox, options: list[str], out: str
) -> None:
    box.fault("instances", "body", body=instances_reply(INSTANCES))
    assert run("show", "instances", *options) == Ran(0, out, "")


def test_raw_instances_are_without_credentials(run: Program, box: Sandbox) -> None:
    box.fault("instances", "body", body=instances_reply(INSTANCES))
    ran = run("show", "instances", "--raw")
    first, second = json.loads(ran.out)
    assert second == INSTANCES[1]
    assert "s3cr3t" not in ran.out + ran.err
    assert first == {
        **{key: text for key, text in INSTANCES[0].items() if key != "jupyter_token"},
        "extra_env": [["HF_TOKEN", "********"], ["MODE", "fast"]],
    }


def test_no_instances(run: Program, box: Sandbox) -> None:
    box.fault("instances", "body", body=instances_reply([]))
    box.fault("instances", "body", body={"instances": None, "next_token": None})
    for _ in "[]", "null":
        assert run("show", "instances") == Ran(
            0, "  ".join(INSTANCE_HEADINGS) + "\n", ""
        )


def test_all_pages_of_instances(run: Program, box: Sandbox) -> None:
    ids = [rent(box, number) for number in range(6060, 6000, -1)]
    assert run("show", "instances", "-q").out.split() == list(map(str, ids[::-1]))
    assert [call.path for call in box.calls] == ["/api/v1/instances/"] * 3
    assert box.calls[0].query == {
        "limit": "25",
        "select_filters": "{}",
        "order_by": '[{"col":"id","dir":"asc"}]',
    }
    tokens = [call.query.get("after_token") for call in box.calls]
    assert tokens[0] is None
    assert len(set(tokens)) == 3


def test_the_older_list_of_instances(run: Program, box: Sandbox, instance: int) -> None:
    box.market.retired.add("instances")
    assert run("show", "instances", "-q") == Ran(0, f"{instance}\n", "")
    assert box.calls[-1].path == "/api/v0/instances"
    assert box.calls[-1].query == {"owner": "me"}


def test_no_older_list_for_a_wrong_key(run: Program, box: Sandbox) -> None:
    box.fault("instances", "404_auth", times=None)
    complaint(run("show", "instances"), 4)
    assert len(box.calls) == 1


# ---------------------------------------------------------------- ssh-url, scp-url


def port(*entries: tuple[str, str]) -> Row:
    """Return a row's `ports` with these pairs of HostIp and HostPort for port 22."""
    return {"22/tcp": [{"HostIp": ip, "HostPort": number} for ip, number in entries]}


PROXY = {"ssh_host": "ssh4.vast.ai", "ssh_port": 10032, "image_runtype": "ssh_proxy"}
JUPYTER_PROXY = {**PROXY, "image_runtype": "jupyter_direc ssh_direc ssh_proxy"}
DIRECT = {
    **PROXY,
    "public_ipaddr": "203.0.113.9\n",
    "ports": port(("0.0.0.0", "41022")),
}
BOTH = port(("::", "41023"), ("0.0.0.0", "41022"))
BY_PROXY = "ssh4.vast.ai", 10032, False
# The row -> host as in a URL, port, whether directly.
ADDRESSES: dict[str, tuple[Row, tuple[str, int, bool]]] = {
    "direct": (DIRECT, ("203.0.113.9", 41022, True)),
    "IPv4 first": ({**DIRECT, "ports": BOTH}, ("203.0.113.9", 41022, True)),
    "IPv6": (
        {**DIRECT, "public_ipaddr": "2001:db8::7"},
        ("[2001:db8::7]", 41022, True),
    ),
    "proxy": ({**PROXY, "ports": None}, BY_PROXY),
    "proxy, another port": ({**PROXY, "ports": {"80/tcp": []}}, BY_PROXY),
    "proxy, ports an array": ({**PROXY, "ports": ["22/tcp"]}, BY_PROXY),
    "proxy, no entry": ({**DIRECT, "ports": port()}, BY_PROXY),
    "proxy, no address": ({**DIRECT, "public_ipaddr": None}, BY_PROXY),
    "proxy for Jupyter": (JUPYTER_PROXY, ("ssh4.vast.ai", 10033, False)),
}


@pytest.mark.parametrize("scheme", ["ssh", "scp"])
@pytest.mark.parametrize("case", ADDRESSES)
def test_the_address_of_an_instance(
    run: Program, box: Sandbox, scheme: str, case: str
) -> None:
    row, (host, number, direct) = ADDRESSES[case]
    url = f"{scheme}://root@{host}:{number}"
    value = {
        "direct": direct, "host": host.strip("[]"), "id": 7, "port": number,
        "url": url, "user": "root",
    }  # fmt: skip
    box.fault("instance", "body", times=2, body={"instances": {"id": 7, **row}})
    assert run(f"{scheme}-url", "7") == Ran(0, f"{url}\n", "")
    assert run(f"{scheme}-url", "7", "--raw") == Ran(0, json.dumps(value) + "\n", "")
    assert box.calls[-1][1:4] == ("GET", "/api/v0/instances/7/", {"owner": "me"})


NOWHERE: dict[str, Row] = {
    "nothing yet": {"actual_status": None},
    "nulls": {"ssh_host": None, "ssh_port": None, "public_ipaddr": None, "ports": None},
    "no port": {"ssh_host": "ssh4.vast.ai"},
    "a host that is a shell's": {**PROXY, "ssh_host": "$(reboot)"},
    "a host that is an option": {**PROXY, "ssh_host": "-oProxyCommand=x"},
    "a port that is none": {**PROXY, "ssh_port": 0},
}


@pytest.mark.parametrize("case", NOWHERE)
def test_no_address_is_made_up(run: Program, box: Sandbox, case: str) -> None:
    box.fault("instance", "body", body={"instances": {"id": 7, **NOWHERE[case]}})
    assert "7 is not ready" in complaint(run("ssh-url", "7"), 1)


@pytest.mark.parametrize("words", [["5001"], ["--id", "5001"], ["--id=5001"], []])
def test_which_instance(
    run: Program, box: Sandbox, instance: int, words: list[str]
) -> None:
    host, number = f"ssh{instance % 9 + 1}.vast.ai", 10000 + instance % 5000 * 2
    assert run("ssh-url", *words) == Ran(0, f"ssh://root@{host}:{number}\n", "")


def test_no_instance_to_reach(run: Program) -> None:
    complaint(run("ssh-url"), 1)
    assert "5001" in complaint(run("ssh-url", "5001"), 1)


def test_several_instances_to_reach(run: Program, box: Sandbox) -> None:
    rent(box, 5001)
    rent(box, 5002)
    assert "5001 5002" in complaint(run("scp-url"), 2)


# ---------------------------------------------------------------- create instance

PLAIN_RENTAL: Row = {
    "client_id": "me",
    "image": "example/image",
    "disk": 10.0,
    "runtype": "ssh",
}
JUPYTER = {"runtype": "jupyter"}
# What follows `create instance ID --image example/image` -> what the body has in
# addition.
RENTALS: dict[str, Row] = {
    "": {},
    "--disk 40.5": {"disk": 40.5},
    "--label 'my training'": {"label": "my training"},
    "--label -x": {"label": "-x"},
    "--label ''": {"label": ""},
    "--price 5": {"price": 5},
    "--bid_price 5": {"price": 5},
    "--bid-price=5": {"price": 5},
    "--onstart-cmd 'echo $HOME; --wait'": {"onstart": "echo $HOME; --wait"},
    "--jupyter": JUPYTER,
    "--jupyter-dir /work": {**JUPYTER, "jupyter_dir": "/work"},
    "--jupyter-lab": {**JUPYTER, "use_jupyter_lab": True},
    "--lang-utf8": {"lang_utf8": True},
    "--python-utf8": {"python_utf8": True},
    "--args": {"runtype": "args", "args": []},
    "--args bash -c 'sleep 1'": {"runtype": "args", "args": ["bash", "-c", "sleep 1"]},
    "--args -- --": {"runtype": "args", "args": ["--"]},
    "--args -- --dry-run": {"runtype": "args", "args": ["--dry-run"]},
    "--create-from 5000": {"create_from": 5000},
    "--force": {"force": True},
    "--extra 'more of this'": {"extra": "more of this"},
}


@pytest.mark.parametrize("line", RENTALS)
def test_what_a_rental_sends(run: Program, box: Sandbox, line: str) -> None:
    rent(box, 5000)
    offer = str(an_offer(box))
    words = ["create", "instance", offer, "--image", "example/image"]
    ran = run(*words, *shlex.split(line))
    assert (ran.status, ran.out) == (0, "Created instance 5001\n")
    assert sent(box) == [
        ("PUT", f"/api/v0/asks/{offer}/", {**PLAIN_RENTAL, **RENTALS[line]}),
        ("GET", "/api/v0/instances/5001/", None),
    ]


def test_a_copy_needs_no_image(run: Program, box: Sandbox, instance: int) -> None:
    box.market.ids = iter([5009])  # type: ignore[assignment]
    offer = str(an_offer(box))
    ran = run("create", "instance", offer, "--create-from", str(instance))
    assert ran[:2] == (0, "Created instance 5009\n")
    assert box.calls[0].body == {
        "client_id": "me",
        "create_from": instance,
        "disk": 10.0,
        "runtype": "ssh",
    }


def test_the_text_of_the_onstart_file_is_sent(
    run: Program, box: Sandbox, tmp_path: Path
) -> None:
    script = tmp_path / "start up.sh"
    script.write_text("#!/bin/sh\necho 'Łódź'\n")
    offer = str(an_offer(box))
    run("create", "instance", offer, "--image", "x", "--onstart", str(script))
    assert box.calls[0].body["onstart"] == "#!/bin/sh\necho 'Łódź'\n"


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        pytest.param([], "on demand", id="on demand"),
        pytest.param(
            ["--price", "7.5"], "interruptible, at $7.5/h", id="interruptible"
        ),
    ],
)
def test_the_notes_about_what_was_rented(
    run: Program, box: Sandbox, options: list[str], kind: str
) -> None:
    offer = str(an_offer(box))
    ran = run("create", "instance", offer, "--image", "x", "--disk", "40", *options)
    assert ran.out == "Created instance 5001\n"
    price = box.market.own_rows()[0]["dph_total"]
    assert ran.err == (
        f"vast.py: rented offer {offer} {kind}\n"
        f"vast.py: instance 5001 costs ${price:.4g}/h (${price * 24:.2f}/day)"
        " with 40 GB of disk\n"
    )


def test_a_raw_rental_is_the_reply_without_its_key(run: Program, box: Sandbox) -> None:
    offer = str(an_offer(box))
    ran = run("create", "instance", offer, "--image", "x", "--raw")
    assert ran.out == '{"new_contract": 5001, "success": true}\n'
    assert "instance_api_key" not in ran.err


def test_a_disk_that_is_too_small(run: Program, box: Sandbox) -> None:
    offer = str(an_offer(box))
    ran = run("create", "instance", offer, "--image", "x", "--disk", "7.5")
    rule = "must be a number of GB, at least 8"
    assert f"invalid disk size '7.5': {rule};" in complaint(ran, 2)
    assert not box.calls


def test_options_after_args_are_noted(run: Program, box: Sandbox) -> None:
    offer = str(an_offer(box))
    words = ["create", "instance", offer, "--image", "x"]
    ran = run(*words, "--args", "sh", "--raw", "--label=x", "-h", "--other")
    assert (ran.status, ran.out) == (0, "Created instance 5001\n")
    args = ["sh", "--raw", "--label=x", "-h", "--other"]
    assert box.calls[0].body["args"] == args
    note = "vast.py: passed on to the command: --raw --label=x -h"
    assert ran.err.splitlines()[0] == note


# What follows `create instance` -> a word of the message.
WRONG_RENTALS = {
    "": "id",
    "7": "--image",
    "7 --image ''": "--image",
    "7 8 --image x": "'8'",
    "seven --image x": "'seven'",
    "0 --image x": "'0'",
    "7 --image x --jupyter --args sh": "--args",
    "7 --image x --jupyter-dir / --args": "--args",
    "7 --image x --jupyter-lab --args": "--args",
    "7 --image x --onstart {file} --onstart-cmd ls": "--onstart-cmd",
    "7 --image x --onstart {file}/none": "none",
    "7 --image x --onstart {file}.latin": "UTF-8",
    "7 --image x --onstart {file}.long": "4096",
    "7 --image x --disk 0": "a number of GB, at least 8",
    "7 --image x --disk -1": "a number of GB, at least 8",
    "7 --image x --disk nan": "a number of GB, at least 8",
    "7 --image x --disk inf": "a number of GB, at least 8",
    "7 --image x --disk ten": "a number of GB, at least 8",
    "7 --image x --price 0": "0.001 to 128",
    "7 --image x --price 0.0009": "0.001 to 128",
    "7 --image x --price 128.01": "0.001 to 128",
    "7 --image x --price nan": "0.001 to 128",
    "7 --image x --price inf": "0.001 to 128",
    "7 --image x --price -1": "0.001 to 128",
    "7 --image x --create-from y": "'y'",
}


@pytest.mark.parametrize("line", WRONG_RENTALS)
def test_a_wrong_rental_sends_nothing(
    run: Program, box: Sandbox, tmp_path: Path, line: str
) -> None:
    file = tmp_path / "script"
    file.write_text("ls\n")
    file.with_suffix(".latin").write_bytes(b"echo \xe9")
    file.with_suffix(".long").write_text("#" * 4097)
    words = shlex.split(line.replace("{file}", str(file)))
    assert WRONG_RENTALS[line] in complaint(run("create", "instance", *words), 2)
    assert not box.calls


@pytest.mark.parametrize("options", [[], ["--raw"]])
def test_a_taken_offer(run: Program, box: Sandbox, options: list[str]) -> None:
    offer = str(an_offer(box))
    rent(box)
    ran = run("create", "instance", offer, "--image", "x", *options)
    assert (ran.status, ran.out, len(box.calls)) == (1, "", 1)
    msg = f"offer {offer} is not available"
    error = {"error": "invalid_args", "msg": msg, "status": 404}
    assert ran.err == (json.dumps(error) if options else f"vast.py: {msg}") + "\n"


# ---------------------------------------------------------------- changes of instances

INSTANCE_PATH = "/api/v0/instances/5001/"
BID_PATH = "/api/v0/instances/bid_price/5001/"
# A command line -> the request, and what is printed.
CHANGES: dict[str, tuple[Sent, str]] = {
    "start instance 5001": (
        ("PUT", INSTANCE_PATH, {"state": "running"}),
        "instance 5001: starting",
    ),
    "stop instance 5001": (
        ("PUT", INSTANCE_PATH, {"state": "stopped"}),
        "instance 5001: stopping",
    ),
    "reboot instance 5001": (
        ("PUT", "/api/v0/instances/reboot/5001/", {}),
        "instance 5001: rebooting",
    ),
    "recycle instance 5001": (
        ("PUT", "/api/v0/instances/recycle/5001/", {}),
        "instance 5001: recycling",
    ),
    "destroy instance 5001": (
        ("DELETE", INSTANCE_PATH, {}),
        "instance 5001: destroying",
    ),
    "destroy instance -y 5001": (
        ("DELETE", INSTANCE_PATH, {}),
        "instance 5001: destroying",
    ),
    "label instance 5001 'my training'": (
        ("PUT", INSTANCE_PATH, {"label": "my training"}),
        "instance 5001: label 'my training'",
    ),
    "label instance 5001 '%s{}../\x1b'": (
        ("PUT", INSTANCE_PATH, {"label": "%s{}../\x1b"}),
        "instance 5001: label '%s{}../\\x1b'",
    ),
    "label instance 5001 -- -x": (
        ("PUT", INSTANCE_PATH, {"label": "-x"}),
        "instance 5001: label '-x'",
    ),
    "label instance 5001 ''": (
        ("PUT", INSTANCE_PATH, {"label": ""}),
        "instance 5001: label ''",
    ),
    "change bid 5001 --price 0.35": (
        ("PUT", BID_PATH, {"client_id": "me", "price": 0.35}),
        "instance 5001: bid $0.35/h",
    ),
    "change bid 5001": (
        ("PUT", BID_PATH, {"client_id": "me", "price": None}),
        "instance 5001: bid chosen by the service",
    ),
}


@pytest.mark.parametrize("line", CHANGES)
def test_a_change(run: Program, box: Sandbox, instance: int, line: str) -> None:
    request, text = CHANGES[line]
    ran = run(*shlex.split(line))
    assert (ran.status, ran.out) == (0, text + "\n")
    assert sent(box) == [request]


@pytest.mark.parametrize("line", CHANGES)
def test_a_raw_change_is_the_reply(run: Program, instance: int, line: str) -> None:
    ran = run("--raw", *shlex.split(line))
    assert (ran.status, ran.out) == (0, '{"success": true}\n')


@pytest.mark.parametrize("line", CHANGES)
def test_a_change_of_no_instance(run: Program, box: Sandbox, line: str) -> None:
    error = complaint(run(*shlex.split(line)), 1)
    assert re.search("no instance 5001|invalid instance.id", error, re.IGNORECASE)
    assert len(box.calls) == 1


def test_changes_change_the_instance(run: Program, box: Sandbox, instance: int) -> None:
    def row(*words: str) -> Row:
        assert run(*words).status == 0
        return box.market.own_rows()[0]

    assert row("label", "instance", "5001", "exp1")["label"] == "exp1"
    assert row("stop", "instance", "5001")["actual_status"] == "stopped"
    assert row("start", "instance", "5001")["actual_status"] == "running"
    assert row("change", "bid", "5001", "--price", "1.25")["min_bid"] == 1.25
    assert run("destroy", "instance", "5001").status == 0
    assert box.market.destroyed == [5001]


def test_a_stopped_instance_goes_on_costing(run: Program, instance: int) -> None:
    assert "disk" in run("stop", "instance", "5001").err
    assert not run("start", "instance", "5001").err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("start instance", "id"),
        ("stop instance x", "'x'"),
        ("destroy instance 1e3", "'1e3'"),
        ("destroy instance -5001", "-5001"),
        ("label instance 5001", "label"),
        ("label instance 5001 a b", "'b'"),
        (f"label instance 5001 {'x' * 1025}", "1024"),
        ("change bid", "id"),
        ("change bid 5001 --price nan", "nan"),
        ("change bid 5001 --price 0", "0.001"),
        ("change bid 5001 0.3", "'0.3'"),
    ],
)
def test_a_wrong_change_sends_nothing(
    run: Program, box: Sandbox, words: str, part: str
) -> None:
    assert part in complaint(run(*words.split()), 2)
    assert not box.calls


# ---------------------------------------------------------------- asking


@pytest.mark.parametrize(
    ("answer", "status"),
    [("y\n", 0), ("Yes\n", 0), ("n\n", 3), ("\n", 3), ("", 3), ("yellow\n", 3)],
)
def test_the_answer_at_a_terminal(
    run: Program, box: Sandbox, instance: int, answer: str, status: int
) -> None:
    ran = run("destroy", "instance", "5001", stdin=answer, terminal=True)
    assert ran.status == status
    assert ran.out == ("" if status else "instance 5001: destroying\n")
    assert "instance 5001" in ran.err
    assert "[y/N]" in ran.err
    assert box.market.destroyed == ([] if status else [5001])


@pytest.mark.parametrize("words", [["-y"], ["--yes"]])
def test_yes_is_not_asked(
    run: Program, box: Sandbox, instance: int, words: list[str]
) -> None:
    ran = run("destroy", "instance", "5001", *words, stdin="n\n", terminal=True)
    assert ran == Ran(0, "instance 5001: destroying\n", "")


def destroyed(run: Program, stdin: bool, stderr: bool) -> Ran:
    """Destroy instance 5001, with "n" on stdin; which streams are a terminal?"""
    out, err, clock = Stream(), Stream(terminal=stderr), Clock()
    environment = vast.Environment(
        out,
        err,
        environ=run.environ,
        stdin=Stream("n\n", stdin),
        now=clock.now,
        monotonic=clock.now,
        sleep=clock.sleep,
    )
    status = vast.main(["destroy", "instance", "5001"], environment)
    return Ran(status, out.text(), err.text())


@pytest.mark.parametrize("stderr", [False, True])
def test_a_script_is_not_asked(
    run: Program, box: Sandbox, instance: int, stderr: bool
) -> None:
    ran = destroyed(run, False, stderr)
    assert ran == Ran(0, "instance 5001: destroying\n", "")
    assert box.market.destroyed == [5001]


@pytest.mark.parametrize("stderr", [False, True])
def test_someone_at_the_terminal_is_asked_wherever_stderr_goes(
    run: Program, box: Sandbox, instance: int, stderr: bool
) -> None:
    ran = destroyed(run, True, stderr)
    assert ran[:2] == (3, "")
    assert ran.err.endswith("vast.py: nothing was changed\n")
    assert box.market.destroyed == []


# ---------------------------------------------------------------- set api-key

NEW_KEY = "0123456789abcdef" * 4
KEYS_PAGE = "https://cloud.vast.ai/manage-keys/"
KEY_HINT = f"get a key at {KEYS_PAGE} and save it with: vast.py set api-key"


def key_file(run: Program) -> Path:
    """Return the file that the key is saved to."""
    return run.home / ".vast_api_key"


def permissions(path: str | Path) -> int:
    """Return the permission bits of a file."""
    return os.stat(path).st_mode & 0o777


@pytest.fixture
def no_umask() -> Iterator[None]:
    """Return a umask that takes no permission away."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        pytest.param(["set", "api-key", NEW_KEY], "", id="argument"),
        pytest.param(["set", "api_key", NEW_KEY], "", id="underscore"),
        pytest.param(["set", "api-key", f" {NEW_KEY}\n"], "", id="spaces around"),
        pytest.param(["set", "api-key", "-"], f"{NEW_KEY}\n", id="stdin"),
        pytest.param(["set", "api-key", "-"], NEW_KEY, id="stdin without newline"),
    ],
)
def test_the_key_is_saved(
    offline: Program, no_umask: None, words: list[str], stdin: str
) -> None:
    file = key_file(offline)
    ran = offline(*words, stdin=stdin)
    assert ran == Ran(0, f"API key saved to {file}\n", "")
    assert file.read_text().strip() == NEW_KEY
    assert permissions(file) == 0o600
    assert [file.name for file in offline.home.iterdir()] == [".vast_api_key"]


def test_the_saved_key_is_used(run: Program, box: Sandbox) -> None:
    run("set", "api-key", box.key)
    assert run("show", "user", env={"VAST_API_KEY": None}).status == 0


def test_nobody_else_ever_reads_the_key(
    offline: Program, no_umask: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, modes = os.replace, []

    def watched(source: str, target: str) -> None:
        modes.append(permissions(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    offline("set", "api-key", NEW_KEY)
    assert modes == [0o600]


def test_a_wider_mode_is_repaired(offline: Program) -> None:
    key_file(offline).write_text("old")
    key_file(offline).chmod(0o644)
    assert offline("set", "api-key", NEW_KEY).status == 0
    assert permissions(key_file(offline)) == 0o600


def test_a_planted_symlink_is_replaced(offline: Program) -> None:
    theirs = offline.home / "theirs"
    theirs.write_text("old")
    key_file(offline).symlink_to(theirs)
    assert offline("set", "api-key", NEW_KEY).status == 0
    assert not key_file(offline).is_symlink()
    assert theirs.read_text() == "old"


def test_a_key_in_the_environment_is_noted(offline: Program) -> None:
    ran = offline("set", "api-key", NEW_KEY, env={"VAST_API_KEY": "another"})
    assert ran.status == 0
    assert "VAST_API_KEY" in ran.err
    assert "another" not in ran.err


def test_the_raw_answer_names_the_file(offline: Program) -> None:
    ran = offline("set", "api-key", NEW_KEY, "--raw")
    assert ran == Ran(0, json.dumps({"path": str(key_file(offline))}) + "\n", "")


def test_a_saved_key_is_checked(run: Program, box: Sandbox) -> None:
    no_environment = {"VAST_API_KEY": None}
    run("set", "api-key", box.key)
    ran = run("set", "api-key", "--check", env=no_environment)
    account = box.market.user["id"]
    assert ran == Ran(0, f"the API key works: account {account}\n", "")
    assert [call.path for call in box.calls] == ["/api/v0/users/current/"]
    run("set", "api-key", "wrong")
    assert KEY_HINT in complaint(
        run("set", "api-key", "--check", env=no_environment), 4
    )


def test_a_new_key_is_checked_before_it_is_saved(run: Program, box: Sandbox) -> None:
    run.environ["VAST_API_KEY"] = ""
    complaint(run("set", "api-key", "--check", "wrong"), 4)
    assert not key_file(run).exists()
    ran = run("set", "api-key", "--check", "-", stdin=box.key)
    assert ran == Ran(0, f"API key saved to {key_file(run)}\n", "")
    assert key_file(run).read_text() == f"{box.key}\n"


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        pytest.param([], "", id="missing"),
        pytest.param(["two", "words"], "", id="two arguments"),
        pytest.param(["two words"], "", id="a space in it"),
        pytest.param(["two\nlines"], "", id="a newline in it"),
        pytest.param(["schlüssel"], "", id="not ASCII"),
        pytest.param([""], "", id="empty"),
        pytest.param(["-"], "", id="empty stdin"),
        pytest.param(["-"], "\n", id="empty line"),
    ],
)
def test_a_wrong_key_is_not_saved(
    offline: Program, words: list[str], stdin: str
) -> None:
    complaint(offline("set", "api-key", *words, stdin=stdin), 2)
    assert not key_file(offline).exists()


def test_a_home_that_cannot_be_written(offline: Program) -> None:
    (offline.home / "file").write_text("")
    home = str(offline.home / "file")
    error = complaint(offline("set", "api-key", NEW_KEY, env={"HOME": home}), 2)
    assert error.startswith(f"cannot write {home}/.vast_api_key: ")
    assert NEW_KEY not in error


# ---------------------------------------------------------------- create account, login


@pytest.mark.parametrize(
    "line",
    [
        "create account",
        "create account me@example.org --password -x secret",
        "create account --ssh_key=k -- --help me",
        "create account --raw",
        "login",
        "login me@example.org -p secret",
        "login -- -x",
    ],
)
def test_where_keys_come_from(offline: Program, line: str) -> None:
    ran = offline(*line.split())
    assert (ran.status, ran.err) == (0, "")
    assert "https://cloud.vast.ai/manage-keys/" in ran.out
    assert "https://vast.ai/console/cli" in ran.out
    assert "vast.py set api-key" in ran.out
    assert "secret" not in ran.out


# ---------------------------------------------------------------- keys and credentials


@pytest.mark.parametrize(
    ("env", "words", "used"),
    [
        pytest.param({"VAST_API_KEY": "env"}, ["--api-key", "opt"], "opt", id="option"),
        pytest.param({"VAST_API_KEY": "env"}, [], "env", id="environment"),
        pytest.param({"VAST_API_KEY": ""}, [], "file", id="file"),
    ],
)
def test_where_the_key_is_found(
    run: Program, box: Sandbox, env: Row, words: list[str], used: str
) -> None:
    key_file(run).write_text("file\n")
    key_file(run).chmod(0o600)
    ran = run("show", "user", *words, env=env)
    assert box.calls[-1].headers["Authorization"] == f"Bearer {used}"
    assert f"'{used}'" not in complaint(ran, 4)


def test_no_key(offline: Program, box: Sandbox) -> None:
    error = complaint(offline("show", "user", "--url", box.url), 4)
    assert error == f"no API key; {KEY_HINT}"
    assert not box.calls


@pytest.mark.parametrize("more", ["", "/", "/api/v0", "/api/v1/", "/api/v0/"])
def test_an_address_with_or_without_its_version(
    run: Program, box: Sandbox, more: str
) -> None:
    ran = run("show", "user", "-q", "--url", box.url + more, env={"VAST_URL": "x"})
    assert ran.status == 0
    assert box.calls[-1].path == "/api/v0/users/current/"


@pytest.mark.parametrize("line", ["login", "create account", "set api-key k", "help"])
def test_without_a_call_the_address_does_not_matter(
    offline: Program, line: str
) -> None:
    assert offline(*line.split(), env={"VAST_URL": "ftp://x"}).status == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://console.vast.ai",
        "ftp://console.vast.ai",
        "console.vast.ai",
        "https://",
        "https://user:secret@console.vast.ai",
        "file:///etc/passwd",
        "https://console.vast.ai:port",
    ],
)
def test_an_address_that_will_not_do(run: Program, box: Sandbox, url: str) -> None:
    complaint(run("show", "user", "--url", url), 2)
    assert not box.calls
