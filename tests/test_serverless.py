"""The commands about serverless: what each sends and says, and what it hides."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from cases_serverless import CASES, FILTERS

import vast
from conftest import Program, Ran, Stream, complaint, sent
from market_account import account
from sandbox import Row, Sandbox

ENDPOINT_LOGS, WORKERS = "/get_endpoint_logs/", "/get_endpoint_workers/"
STILL_THERE = (
    "vast.py: instances of workers may live on and cost money; see show instances\n"
)


def reshape(box: Sandbox, what: str, shape: str) -> None:
    """Has the market answer in another of the shapes that are in doubt."""
    account(box.market).shapes[what] = shape


def store(box: Sandbox, name: str) -> dict[Any, Row]:
    """The rows that the market has of a resource, by id."""
    return box.market.stores[name].rows


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize("name", [c.name for c in vast.SERVERLESS_COMMANDS])
def test_what_a_command_sends(run: Program, box: Sandbox, name: str) -> None:
    case = CASES[name]
    ran = run(*shlex.split(case.words))
    assert ran.status == 0
    assert sent(box) == [case.request]
    assert box.calls[0].name == case.call
    assert box.violations == []


def test_every_command_has_a_case() -> None:
    assert list(CASES) == [command.name for command in vast.SERVERLESS_COMMANDS]


@pytest.mark.parametrize("name", CASES)
def test_raw_is_one_document(run: Program, name: str) -> None:
    ran = run(*shlex.split(CASES[name].words), "--raw")
    assert ran.status == 0
    json.loads(ran.out)


@pytest.mark.parametrize("name", CASES)
def test_no_secret_is_shown(run: Program, box: Sandbox, name: str) -> None:
    words = shlex.split(CASES[name].words)
    keys = [row["api_key"] for kind in ("endpoints", "workergroups")
            for row in store(box, kind).values()]  # fmt: skip
    for more in (["--raw"], ["--wide"], ["--cols", "env,launch_args,api_key"]):
        ran = run(*words, *more)
        assert "hidden" not in ran.out
        assert not any(key in ran.out for key in keys)


@pytest.mark.parametrize("name", CASES)
def test_dry_run_sends_nothing(run: Program, box: Sandbox, name: str) -> None:
    case = CASES[name]
    assert case.request
    ran = run(*shlex.split(case.words), "--dry-run", "--raw")
    value = json.loads(ran.out)
    assert (value["method"], value["url"], value["body"] or None) == (
        case.request[0],
        box.url + case.request[1],
        case.request[2] or None,
    )
    assert box.calls == []


RUN = {"get endpt-workers", "get endpt-logs", "get wrkgrp-logs", "update workers"}


@pytest.mark.parametrize("name", CASES)
def test_the_key_only_goes_to_the_two_hosts_or_the_given_one(
    offline: Program, name: str
) -> None:
    words = [*shlex.split(CASES[name].words), "--dry-run"]
    host = "run" if name in RUN else "console"
    for options, env, base in (
        ([], {}, f"https://{host}.vast.ai"),
        (["--url", "https://one.example"], {}, "https://one.example"),
        ([], {"VAST_URL": "https://two.example"}, "https://two.example"),
        (
            ["--url", "https://one.example/api/v0"],
            {"VAST_URL": "https://two.example"},
            "https://one.example",
        ),
    ):
        words_of = shlex.split(offline(*words, *options, env=env).out)
        urls = [word for word in words_of if "://" in word]
        assert [url[: len(base) + 1] for url in urls] == [base + "/"]


@pytest.mark.parametrize("name", sorted(RUN))
def test_the_key_of_the_serverless_host_is_in_the_header_only(
    run: Program, box: Sandbox, name: str
) -> None:
    run(*shlex.split(CASES[name].words))
    assert box.calls[0].headers["Authorization"] == f"Bearer {box.key}"
    assert box.key.encode() not in box.calls[0].raw


@pytest.mark.parametrize("name", sorted(RUN))
def test_the_serverless_host_is_not_followed_elsewhere(
    run: Program, box: Sandbox, name: str
) -> None:
    box.fault(CASES[name].call, "redirect_away")
    text = complaint(run(*shlex.split(CASES[name].words)), 1)
    assert "redirects to http://127.0.0.2:9/" in text
    assert len(box.calls) == 1


@pytest.mark.parametrize("name", [n for n in CASES if CASES[n].kind == "once"])
@pytest.mark.parametrize("fault", ["502", "drop_after", "not_json", "no_list"])
def test_what_costs_money_is_sent_once(
    run: Program, box: Sandbox, name: str, fault: str
) -> None:
    box.fault(CASES[name].call, fault, times=None)
    text = complaint(run(*shlex.split(CASES[name].words)), 6)
    assert "may or may not have been" in text
    assert "before retrying" in text
    assert len(box.calls) == 1


# ---------------------------------------------------------------- the whole of it


def test_an_endpoint_whose_workers_come_up(run: Program, box: Sandbox) -> None:
    box.market.run_on(run.clock.now, boot=30.0)

    def workers() -> list[list[str]]:
        lines = run("get", "endpt-workers", "703", "--no-header").out.splitlines()
        return [line.split()[1:6] for line in lines]

    words = "create endpoint --endpoint-name ltx-2.3 --cold-workers 0 --max-workers 4"
    assert run(*words.split()) == Ran(0, "endpoint 703: created\n", "")
    assert workers() == []
    words = (
        "create workergroup --endpoint-name ltx-2.3 --template-hash abc --gpu-ram 24"
    )
    query = "gpu_name=RTX_5090 num_gpus=1 reliability>0.98"
    ran = run(*words.split(), "--search-params", query)
    assert ran == Ran(0, "workergroup 802: created\n", "")
    assert workers() == [["loading", "RTX_4090", "0.0", "0.0", "0"]]
    run.clock.sleep(30)
    assert workers() == [["idle", "RTX_4090", "287.5", "0.0", "0"]]
    log = run("get", "endpt-logs", "703").out
    assert log == "ltx-2.3: worker 802000 is idle\n"
    assert run("delete", "endpoint", "703") == Ran(
        0, "endpoint 703: deleted\n", STILL_THERE
    )
    assert run("show", "endpoints", "-q").out == "701\n702\n"
    assert run("show", "workergroups", "-q").out == "801\n"
    assert run("get", "endpt-workers", "703").status == 1


# ---------------------------------------------------------------- endpoints

ENDPOINTS = """\
 ID  Name         State    Cold  Max  Load  Util%
701  llm-chat     active      3    8   0.0     90
702  img_gen-2.1  stopped     3    8   0.0     90
"""


def test_the_table_of_endpoints(run: Program) -> None:
    assert run("show", "endpoints") == Ran(0, ENDPOINTS, "")
    assert run("show", "endpoints", "state=active", "-q").out == "701\n"


@pytest.mark.parametrize("shape", ["400", "success_false", "empty"])
def test_no_endpoints(run: Program, box: Sandbox, shape: str) -> None:
    store(box, "endpoints").clear()
    reshape(box, "no_endpoints", shape)
    assert run("show", "endpoints", "--raw") == Ran(0, "[]\n", "")
    assert run("show", "endpoints") == Ran(
        0, "  ".join(ENDPOINTS.split()[:7]) + "\n", ""
    )


@pytest.mark.parametrize("fault", ["refused", "404", "not_json", "no_list", "string"])
def test_a_refusal_is_not_an_empty_list(run: Program, box: Sandbox, fault: str) -> None:
    box.fault("endpoints", fault)
    complaint(run("show", "endpoints"), 1)


@pytest.mark.parametrize("shape", ["result", "id"])
def test_creating_an_endpoint(run: Program, box: Sandbox, shape: str) -> None:
    reshape(box, "new_endpoint", shape)
    ran = run("create", "endpoint", "--endpoint_name", "x")
    assert ran == Ran(0, "endpoint 703: created\n", "")
    assert box.calls[0].body == {
        "client_id": "me", "autoscaler_instance": "prod", "endpoint_name": "x",
        "min_load": 0, "min_cold_load": 0,
    }  # fmt: skip


@pytest.mark.parametrize("number", [None, "703", True, 1.5])
def test_a_creation_without_an_id(run: Program, box: Sandbox, number: object) -> None:
    box.fault("create_endpoint", "body", body={"success": True, "result": number})
    assert complaint(run("create", "endpoint", "--endpoint_name", "x"), 6) == (
        "the response gives no id; the endpoint may or may not have been created;"
        " run `vast.py show endpoints` before retrying"
    )
    assert len(box.calls) == 1


# What is given -> what the body has for it.
SCALING: dict[str, Row] = {
    "--min_load 1.5": {"min_load": 1.5},
    "--min-cold-load 2": {"min_cold_load": 2},
    "--target_util 80%": {"target_util": 0.8},
    "--cold_mult 0": {"cold_mult": 0},
    "--cold-workers 0": {"cold_workers": 0},
    "--max_workers=3": {"max_workers": 3},
    "--max_queue_time 30s": {"max_queue_time": 30},
    "--target_queue_time 1m": {"target_queue_time": 60},
    "--inactivity_timeout -1": {"inactivity_timeout": -1},
    "--inactivity_timeout 0": {"inactivity_timeout": 0},
    "--endpoint_state stopped": {"endpoint_state": "stopped"},
    "--endpoint_name new --min_load 0": {"endpoint_name": "new", "min_load": 0},
}


@pytest.mark.parametrize("line", SCALING)
def test_an_update_sends_what_was_given(run: Program, box: Sandbox, line: str) -> None:
    ran = run("update", "endpoint", "702", *line.split())
    assert ran == Ran(0, "endpoint 702: updated\n", "")
    assert box.calls[0].body == {
        "client_id": "me", "autoscaler_instance": "prod", "endptjob_id": 702,
        **SCALING[line],
    }  # fmt: skip
    assert SCALING[line].items() <= store(box, "endpoints")[702].items()


def test_the_id_as_an_option(run: Program, box: Sandbox) -> None:
    options = "--cold_workers 1 --max_workers 3 --target_util 0.9 --cold_mult 2"
    ran = run("update", "endpoint", "--id", "701", *options.split())
    assert ran == Ran(0, "endpoint 701: updated\n", "")
    ran = run("update", "workergroup", "--id", "801", "--gpu_ram", "16")
    assert ran == Ran(0, "workergroup 801: updated\n", "")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("update endpoint 701", "nothing to update; give an option, see --help"),
        ("update workergroup 801", "nothing to update; give an option, see --help"),
        ("update workergroup 801 -n", "nothing to update; give an option, see --help"),
        ("update endpoint 701 --endpoint_state on", "choose from active, suspended"),
        ("update endpoint 701 --target_util 1.5", "must be a number from 0 to 1"),
        ("update endpoint 701 --cold_workers 1.5", "must be a whole number"),
        ("create endpoint --max_workers -1", "must be a whole number, at least 0"),
        ("create workergroup --template_hash x", "give --endpoint_id or"),
        ("create workergroup --endpoint_id x", "invalid id 'x'"),
        ("get endpt-logs 701 --level 4", "must be a whole number from 0 to 3"),
        ("get endpt-logs 701 --tail 0", "must be a whole number, at least 1"),
        ("delete deployment", "give an id, or --name NAME"),
        ("delete deployment 644 --name square", "give an id, or --name NAME"),
        ("delete deployment 644 --tag beta", "give an id, or --name NAME"),
        ("delete deployment --tag beta", "give an id, or --name NAME"),
        ("delete deployment --name ''", "give an id, or --name NAME"),
        ("delete deployment --name square --tag ''", "give an id, or --name NAME"),
    ],
)
def test_bad_command_lines(run: Program, box: Sandbox, line: str, text: str) -> None:
    assert text in complaint(run(*shlex.split(line)), 2)
    assert box.calls == []


@pytest.mark.parametrize(
    ("line", "question"),
    [
        (
            "delete endpoint 701",
            "delete endpoint 701, workergroups included? [y/N] ",
        ),
        (
            "delete endpoint 701 7",
            "delete endpoints 701 7, workergroups included? [y/N] ",
        ),
        ("delete workergroup 801", "delete workergroup 801? [y/N] "),
        ("delete deployment 644", "delete deployment 644? [y/N] "),
        (
            "delete deployment --name square",
            "delete deployment square, all its tags? [y/N] ",
        ),
        (
            "delete deployment --name square --tag beta",
            "delete deployment square, tag beta? [y/N] ",
        ),
    ],
)
def test_the_question_before_deleting(
    run: Program, box: Sandbox, line: str, question: str
) -> None:
    ran = run(*line.split(), stdin="n\n", terminal=True)
    assert (ran.status, ran.out) == (3, "")
    assert ran.err == f"{question}vast.py: nothing was changed\n"
    assert box.calls == []
    assert run(*line.split(), "-y", terminal=True).out
    assert {call.method for call in box.calls} == {"DELETE"}


def test_ctrl_c_at_the_question_changes_nothing(
    run: Program, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*about: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(vast.Environment, "read_line", interrupt)
    assert run("delete", "endpoint", "701", terminal=True).status == 130
    assert 701 in store(box, "endpoints")


@pytest.mark.parametrize("what", ["endpoint 701", "workergroup 801"])
def test_a_lost_answer_to_deleting(run: Program, box: Sandbox, what: str) -> None:
    box.fault(f"delete_{what.split()[0]}", "drop_after")
    ran = run("delete", *what.split())
    assert ran == Ran(0, f"{what}: deleted\n", STILL_THERE)
    assert len(box.calls) == 2


def test_deleting_says_what_the_service_says(run: Program, box: Sandbox) -> None:
    value = json.loads(run("delete", "endpoint", "701", "--raw").out)
    assert value["deleted_workers"] == [801000, 801001, 801002]


# ---------------------------------------------------------------- workergroups

WORKERGROUPS = """\
 ID  Endpoint  Name      GPU_GB  Template                          Search
801       701  llm-chat    24.0  4e17788f74f075dd9aab7d0d4427968f  verified=true rentable=true gpu_name=RTX_4090
"""  # noqa: E501


def test_the_table_of_workergroups(run: Program, box: Sandbox) -> None:
    assert run("show", "workergroups") == Ran(0, WORKERGROUPS, "")
    assert run("show", "workergroups", "endpoint_name=img", "-q").out == ""
    store(box, "workergroups")[801] |= {"search_params": None, "template_hash": None}
    assert run("show", "workergroups", "--cols", "Template,Search").out.split("\n")[
        1
    ] == (
        '117       {"gpu_name": {"eq": "RTX 4090"}, "rentable": {"eq": true},'
        ' "verified": {"eq": true}}'
    )


def test_scripts_find_their_workergroups(run: Program) -> None:
    rows = json.loads(run("show", "workergroups", "--raw", "--full").out)
    assert [(row["id"], row["endpoint_name"]) for row in rows] == [(801, "llm-chat")]


# --search_params and -n -> what is sent for them on create.
SEARCHES: dict[str, str | None] = {
    "": FILTERS,
    "-n": None,
    "--search_params ''": FILTERS,
    "--search_params gpu_name=RTX_4090": f"{FILTERS} gpu_name=RTX_4090",
    "-n --search_params 'gpu_name=RTX 4090, num_gpus >= 2'":
        "gpu_name=RTX_4090 num_gpus>=2",
    "--search_params rented=any": "verified=true rentable=true",
    "--search_params verified=false": "rentable=true rented=false verified=false",
    "-n --search_params 'gpu_ram>=24GB dph<$2 reliability>98%'":
        "gpu_ram>=24 dph<2 reliability>0.98",
    "-n --search_params 'duration>3.5 cuda_vers>=12.4'": "duration>3.5 cuda_vers>=12.4",
    "-n --search_params 'cuda_max_good>=12 dph_total<0.5'": "cuda_vers>=12 dph<0.5",
    "-n --search_params 'geolocation in [us,DE]'": "geolocation in [US,DE]",
    "-n --search_params 'gpu_ram notin [8,12]'": "gpu_ram notin [8,12]",
    "-n --search_params 'external=null'": "external=null",
    "-n --search_params 'gpu_ram=null'": "gpu_ram=null",
    "-n --search_params 'gpu_ram>0 machine_id!=123456789012345'":
        "gpu_ram>0 machine_id!=123456789012345",
    "-n --search_params 'VRAM>=48'": "gpu_total_ram>=48",
}  # fmt: skip


@pytest.mark.parametrize("line", SEARCHES)
def test_the_search_of_a_new_workergroup(run: Program, box: Sandbox, line: str) -> None:
    words = "create workergroup --endpoint_id 702 --template_id 117"
    ran = run(*words.split(), *shlex.split(line))
    assert ran == Ran(0, "workergroup 802: created\n", "")
    assert box.calls[0].body.get("search_params") == SEARCHES[line]
    assert box.calls[0].body["template_id"] == 117


def test_an_update_leaves_the_saved_search_alone(run: Program, box: Sandbox) -> None:
    before = store(box, "workergroups")[801]["search_params"]
    words = ["--launch_args", "--disk 40", "--endpoint_name", "img_gen-2.1"]
    assert run("update", "workergroup", "801", *words).status == 0
    assert box.calls[0].body == {
        "client_id": "me", "autojob_id": 801, "launch_args": "--disk 40",
        "endpoint_name": "img_gen-2.1",
    }  # fmt: skip
    row = store(box, "workergroups")[801]
    assert (row["search_params"], row["endpoint_id"]) == (before, 702)
    assert run("update", "workergroup", "801", "--search_params", "dph<1").status == 0
    assert row["search_params"] == f"{FILTERS} dph<1"


def test_a_wrong_search_is_shown_and_not_sent(run: Program, box: Sandbox) -> None:
    words = "create workergroup --endpoint_id 701 --search_params gpu_nme=x"
    assert run(*words.split()) == Ran(
        2,
        "",
        "vast.py: unknown field 'gpu_nme'; did you mean 'gpu_name'?\n"
        "  gpu_nme=x\n  ^^^^^^^\n",
    )
    assert box.calls == []


def test_a_suspicious_search_gets_a_note(run: Program) -> None:
    words = "create workergroup --endpoint_id 701 --search_params gpu_ram>=24576"
    ran = run(*words.split())
    assert (ran.status, ran.out) == (0, "workergroup 802: created\n")
    assert "no machine has 24576 GB" in ran.err


def test_the_service_refuses_an_unknown_endpoint(run: Program) -> None:
    words = "create workergroup --endpoint_id 7 --template_hash x"
    text = complaint(run(*words.split()), 1)
    assert text == "Please assign your workergroup to a valid endpoint identifier"


# ---------------------------------------------------------------- what is masked

MASKED = {
    "-p 8000:8000": "-p 8000:8000",
    "-e A=hidden": "-e A=********",
    "-p 1:1 -e A=hidden -e B='hid den' -p 2:2": "-p 1:1 -e A=********",
    '{"A": "hidden"}': "{********",
    "--disk 40 --login '-u me -p hidden host'": "--disk 40 --login********",
    "-e A=one\n-e B=hidden": "-e A=********",
}


@pytest.mark.parametrize("text", MASKED)
def test_values_of_variables_are_masked(run: Program, box: Sandbox, text: str) -> None:
    store(box, "deployments")[644]["env"] = text
    store(box, "workergroups")[801]["launch_args"] = text
    one = json.loads(run("show", "deployment", "644", "--raw").out)
    first = json.loads(run("show", "deployments", "--raw").out)[0]
    group = json.loads(run("show", "workergroups", "--raw").out)[0]
    assert [one["env"], first["env"], group["launch_args"]] == [MASKED[text]] * 3


@pytest.mark.parametrize("value", [None, "", {"A": "hidden"}, [["A", "hidden"]], 7])
def test_variables_in_another_shape(run: Program, box: Sandbox, value: object) -> None:
    store(box, "deployments")[644]["env"] = value
    out = run("show", "deployment", "644", "--raw").out
    assert "hidden" not in out
    if not value:
        assert json.loads(out)["env"] == value


# ---------------------------------------------------------------- logs and workers

LOGS: dict[str, str] = {
    "info0": "one", "info1": "two\nthree\n", "trace": "", "debug": "\tfive \x1b[1m\n",
}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "out"),
    [
        ("--level 0", "one\n"),
        ("", "two\nthree\n"),
        ("--level 1", "two\nthree\n"),
        ("--level 2", ""),
        ("--level 3", "\tfive \x1b[1m\n"),
    ],
)
def test_the_levels_of_a_log(
    run: Program, box: Sandbox, options: str, out: str
) -> None:
    for words, call in (
        ("endpt-logs 701", "endpoint"),
        ("wrkgrp-logs 801", "workergroup"),
    ):
        box.fault(f"{call}_logs", "body", body=LOGS)
        ran = run("get", *words.split(), *options.split())
        assert ran == Ran(0, out, "")


def test_strangers_text_on_a_terminal(run: Program, box: Sandbox) -> None:
    box.fault("endpoint_logs", "body", body=LOGS)
    ran = run("get", "endpt-logs", "701", "--level", "3", terminal=True)
    assert ran.out == "\tfive \\x1b[1m\n"


# What the service may answer -> what is printed.
LOG_SHAPES: dict[str, tuple[Any, str]] = {
    "without levels": ({"logs": "a\nb"}, "a\nb\n"),
    "empty": ({"logs": ""}, ""),
    "null": ({"logs": None}, ""),
    "a level missing": ({"info0": "a"}, ""),
    "a null level": ({"info1": None}, ""),
    "half a character": (b'{"info1": "a\\ud800"}', "a\\ud800\n"),
}


@pytest.mark.parametrize("name", LOG_SHAPES)
def test_shapes_of_logs(run: Program, box: Sandbox, name: str) -> None:
    body, out = LOG_SHAPES[name]
    box.fault("endpoint_logs", "body", body=body, times=2)
    assert run("get", "endpt-logs", "701") == Ran(0, out, "")
    assert isinstance(json.loads(run("get", "endpt-logs", "701", "--raw").out), dict)


@pytest.mark.parametrize("shape", ["text", "json_string", "error_msg"])
@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("get endpt-logs 7", "endpoint"),
        ("get wrkgrp-logs 7", "workergroup"),
        ("get endpt-workers 7", "endpoint"),
    ],
)
def test_errors_of_the_serverless_host(
    run: Program, box: Sandbox, shape: str, line: str, kind: str
) -> None:
    reshape(box, "run_error", shape)
    text = f"invalid api_key or {kind} 7 not found"
    assert complaint(run(*line.split()), 1) == text
    error = json.loads(run(*line.split(), "--raw").err)
    assert error == {"error": "refused", "msg": text, "status": None}


@pytest.mark.parametrize(
    "fault", ["array", "number", "null", "html", "no_list", "empty"]
)
def test_what_is_no_log(run: Program, box: Sandbox, fault: str) -> None:
    box.fault("endpoint_logs", fault, times=None)
    complaint(run("get", "endpt-logs", "701"), 1)


WORKERS_TABLE = """\
    ID  Status  GPU        Perf  Load  Queue  URL
801000  idle    RTX_4090  287.5   0.0      0  https://203.0.113.1:841000
801001  idle    RTX_5090  300.0   0.0      0  https://203.0.113.2:841001
801002  idle    RTX_4090  312.5   0.0      0  https://203.0.113.3:841002
"""


@pytest.mark.parametrize("shape", ["list", "workers"])
def test_the_table_of_workers(run: Program, box: Sandbox, shape: str) -> None:
    reshape(box, "workers", shape)
    assert run("get", "endpt-workers", "701") == Ran(0, WORKERS_TABLE, "")
    rows = json.loads(run("get", "endpt-workers", "701", "--raw").out)
    assert [row["measured_perf"] for row in rows] == [287.5, 300.0, 312.5]
    assert run("get", "endpt-workers", "702", "--raw") == Ran(0, "[]\n", "")


def test_updating_workers(run: Program, box: Sandbox) -> None:
    done = "workergroup 801: updating its workers\n"
    assert run("update", "workers", "801") == Ran(0, done, "")
    done = "workergroup 801: update cancelled\n"
    assert run("update", "workers", "801", "--cancel") == Ran(0, done, "")
    assert box.calls[1].body == {"workergroup_id": 801, "cancel_update": True}
    text = complaint(run("update", "workers", "801", "--cancel"), 1)
    assert text == "there is no update to cancel"


# ---------------------------------------------------------------- --follow


def grow(
    run: Program, box: Sandbox, answers: list[Any], call: str = "endpoint_logs"
) -> Callable[[float], None]:
    """Has the service give one answer after the other; Ctrl-C comes after the last."""
    left = list(answers)
    box.fault(call, "body", body=left.pop(0), times=None)

    def sleep(seconds: float) -> None:
        run.clock.sleep(seconds)
        if not left:
            raise KeyboardInterrupt
        box.faults[-1].body = left.pop(0)

    return sleep


def test_following_a_log(run: Program, box: Sandbox) -> None:
    answers = ["a\nb", "a\nb", "a\nb\nc\nc", "b\nc\nc\nc\nd", "", "d\ne"]
    sleep = grow(run, box, [{"info1": text} for text in answers])
    ran = run("get", "endpt-logs", "701", "--follow", sleep=sleep)
    assert ran == Ran(130, "a\nb\nc\nc\nc\nd\ne\n", "")
    first, *others = [call.body for call in box.calls]
    assert first == {"id": 701}
    assert others == [{"id": 701, "tail": 1000}] * 5


def test_following_the_last_lines(run: Program, box: Sandbox) -> None:
    answers = [{"logs": "b\nc\n"}, {"logs": "a\nb\nc\nd\n"}]
    sleep = grow(run, box, answers, "workergroup_logs")
    ran = run("get", "wrkgrp-logs", "801", "-f", "--tail", "2", sleep=sleep)
    assert ran == Ran(130, "b\nc\nd\n", "")
    assert [call.body["tail"] for call in box.calls] == [2, 1000]


def test_following_a_log_that_has_moved_on(run: Program, box: Sandbox) -> None:
    sleep = grow(run, box, [{"info1": "a\nb"}, {"info1": "x\ny"}])
    ran = run("get", "endpt-logs", "701", "--follow", sleep=sleep)
    assert (ran.status, ran.out) == (130, "a\nb\nx\ny\n")
    text = "the log does not go on where it ended; lines may be missing"
    assert ran.err == f"vast.py: {text}\n"


def test_following_ends_when_nobody_reads(run: Program, box: Sandbox) -> None:
    class Closed(Stream):
        def flush(self) -> None:
            raise BrokenPipeError

    environment = vast.Environment(
        Closed(), Stream(), Stream(), run.environ,
        now=run.clock.now, monotonic=run.clock.now, sleep=run.clock.sleep,
    )  # fmt: skip
    status = vast.main(["get", "endpt-logs", "701", "--follow"], environment)
    assert (status, len(box.calls)) == (0, 1)


def test_following_excludes_raw(run: Program, box: Sandbox) -> None:
    ran = run("get", "wrkgrp-logs", "801", "--follow", "--raw")
    assert (ran.status, ran.out, box.calls) == (2, "", [])
    assert json.loads(ran.err)["msg"] == "--follow excludes --raw"


def test_following_what_does_not_exist(run: Program) -> None:
    text = complaint(run("get", "endpt-logs", "7", "--follow"), 1)
    assert text == "invalid api_key or endpoint 7 not found"


# ---------------------------------------------------------------- deployments

DEPLOYMENTS = """\
 ID  Name          Tag      Endpoint  State  Workers  Image
644  square        default       701  -            -  vastai/base-image:latest
645  square        beta          702  -            -  vastai/base-image:latest
646  größe\\x1b[1m  default         -  -            -  vastai/base-image:latest
"""


def test_the_table_of_deployments(run: Program) -> None:
    assert run("show", "deployments") == Ran(0, DEPLOYMENTS, "")
    assert run("show", "deployments", "-q").out == "644\n645\n646\n"
    ran = run("show", "deployment", "644", "--no-header")
    assert ran.out.split()[4:6] == ["active", "3"]


def test_showing_deployments_by_id(run: Program) -> None:
    assert complaint(run("show", "deployment", "7"), 1) == "there is no deployment 7"
    ran = run("show", "deployment", "644", "7", "--raw")
    assert ran.status == 1
    assert {row["id"]: row.get("error") for row in json.loads(ran.out)} == {
        644: None,
        7: "not_found",
    }
    assert json.loads(run("show", "deployment", "644", "--raw").out)["name"] == "square"


def test_the_versions_of_a_deployment(run: Program, box: Sandbox) -> None:
    versions = store(box, "deployments")[644]["versions"]
    for row in versions:
        row["created_at"] = 1_790_000_000
    ran = run("show", "deployment-versions", "644")
    assert ran.out.splitlines()[:2] == [
        "  ID  Created           Hash",
        f"6442  2026-09-21_14:13  {versions[0]['file_hash']}",
    ]
    assert complaint(run("show", "deployment-versions", "7"), 1)


def test_starting_and_stopping_a_deployment(run: Program, box: Sandbox) -> None:
    done = "deployment 645: active\n"
    assert run("start", "deployment", "645") == Ran(0, done, "")
    assert store(box, "endpoints")[702]["endpoint_state"] == "active"
    done = "deployment 644: stopped\ndeployment 645: stopped\n"
    assert run("stop", "deployment", "644", "645") == Ran(0, done, "")
    text = complaint(run("start", "deployment", "646"), 1)
    assert text == "The deployment has no endpoint."


def test_deleting_deployments(run: Program, box: Sandbox) -> None:
    done = "deployment square, tag beta: deleted\n"
    words = "delete deployment --name square".split()
    assert run(*words, "--tag", "beta") == Ran(0, done, "")
    assert list(store(box, "deployments")) == [644, 646]
    assert run("delete", "deployment", "646") == Ran(0, "deployment 646: deleted\n", "")
    done = "deployment square, all its tags: deleted\n"
    assert run(*words) == Ran(0, done, "")
    assert box.calls[-1].body == {"name": "square"}
    assert complaint(run(*words), 1) == "Deployment not found"


def test_a_lost_answer_to_deleting_deployments(run: Program, box: Sandbox) -> None:
    box.fault("delete_deployments", "502", times=None)
    text = complaint(run("delete", "deployment", "--name", "square", "-y"), 6)
    assert text == (
        "server error (HTTP 502); deployment square, all its tags may or may not have"
        " been deleted; run `vast.py show deployments` before retrying"
    )
