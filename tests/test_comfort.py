"""What holds for every command: help, dry runs, options anywhere, mistakes that are
understood, several ids; and waiting, choosing columns, and today's options."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_commands import PLAIN_RENTAL, rent

import vast
from cases import Case, fill, load
from conftest import Clock, Program, Ran, an_offer, complaint, script_environment, sent
from sandbox import BROKEN_IMAGE, Row, Sandbox

CASES = load()
CALLERS = [name for name, case in CASES.items() if case.request]
SHOWN = [command for command in vast.COMMANDS if not command.hidden]
NAMES = [command.name for command in SHOWN]
VERBS = sorted({name.split()[0] for name in NAMES if name not in vast.COMMAND_BY_NAME
                or " " in name} - set(vast.COMMAND_BY_NAME))  # fmt: skip
LOCAL = {command.name for command in vast.GROUPS["Program"]}


def test_every_command_has_a_case() -> None:
    assert sorted(CASES.keys() | LOCAL) == sorted({*NAMES, *LOCAL})


def prepared(box: Sandbox, case: Case) -> tuple[list[str], str, str, Any]:
    """Put the market into the state that a case needs; return its words, and method,
    path and body of its first request."""
    names = case.setup(box.market) if case.setup else {}
    assert case.request
    method, path, body = fill(case.request, names)
    return shlex.split(fill(case.words, names)), method, path, body


def options_of(command: vast.Command) -> set[str]:
    """Return all the names of a command's own options."""
    return {flag for arg in command.args for flag in arg.flags}


# ---------------------------------------------------------------- dry runs


def unmasked(printed: Any, body: Any) -> Any:
    """Return a printed body with what is masked in it taken from the real one."""
    if isinstance(printed, dict) and isinstance(body, dict):
        return {key: unmasked(text, body.get(key)) for key, text in printed.items()}
    return body if printed == vast.MASK else printed


@pytest.mark.parametrize("name", CALLERS)
def test_a_dry_run_prints_the_first_request(
    run: Program, box: Sandbox, name: str
) -> None:
    words, method, path, body = prepared(box, CASES[name])
    ran = run(*words, "--dry-run", "--raw")
    assert (ran.status, ran.out.count("\n")) == (0, 1)
    value = json.loads(ran.out)
    value["body"] = unmasked(value["body"], body)
    assert value == {"body": body, "method": method, "url": box.url + path}
    assert not box.calls


@pytest.mark.parametrize("name", CALLERS)
def test_a_dry_run_prints_a_curl_command(
    offline: Program, box: Sandbox, name: str
) -> None:
    words, method, path, body = prepared(box, CASES[name])
    ran = offline("--dry-run", *words, "--url", box.url, terminal=True)
    printed = shlex.split(ran.out)
    expected = ["curl", "-sS", "-X", method, box.url + path]
    if '"Authorization: Bearer $VAST_API_KEY"' in ran.out:
        expected += ["-H", "Authorization: Bearer $VAST_API_KEY"]
    if body is not None:
        expected += ["-H", "Content-Type: application/json", "-d", printed[-1]]
        assert unmasked(json.loads(printed[-1]), body) == body
    assert (ran.status, printed) == (0, expected)
    assert not box.calls
    assert "[y/N]" not in ran.err


def test_a_dry_run_leaves_the_key_to_the_environment(run: Program) -> None:
    ran = run("show", "user", "--dry-run", "--api-key", "s3cr3t")
    assert '"Authorization: Bearer $VAST_API_KEY"' in ran.out
    assert "s3cr3t" not in ran.out


# Where a key is saved, in which home, and how the printed command reads it.
SAVED = {
    "our file": ("home/.vast_api_key", "~/.vast_api_key"),
    "the vendor's": (
        "home/.config/vastai/vast_api_key",
        "~/.config/vastai/vast_api_key",
    ),
    "a session": ("home/.vast_tfa_key", "~/.vast_tfa_key"),
    "another folder": (
        "it's/vastai/vast_api_key",
        "'{}/it'\"'\"'s/vastai/vast_api_key'",
    ),
}


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
@pytest.mark.parametrize("case", SAVED)
def test_a_dry_run_reads_the_key_from_its_file(
    tmp_path: Path, box: Sandbox, case: str
) -> None:
    path, shown = SAVED[case]
    home = tmp_path / "home"
    for folder in (home, (tmp_path / path).parent):
        folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(f"{box.key}\n")
    program = Program(home, box)
    program.environ["VAST_API_KEY"] = ""
    if not path.startswith("home"):
        program.environ["XDG_CONFIG_HOME"] = str((tmp_path / path).parent.parent)
    ran = program("show", "user", "--dry-run")
    key = f"$(cat {shown.replace('{}', str(tmp_path))})"
    assert f'-H "Authorization: Bearer {key}"' in ran.out
    answer = in_a_shell(box, home, ran.out, VAST_API_KEY="")
    assert isinstance(answer, dict)
    assert answer["id"] == box.market.user["id"]


def test_a_dry_run_prints_no_password(run: Program) -> None:
    for login in ("-u me -p hu5h docker.io", "-u me --password='hu5h x' docker.io"):
        words = ["create", "instance", "7", "--image", "x", "--login", login]
        words += ["--env", "-e HF_TOKEN=hu5h -e MODE=fast"]
        ran = run(*words, "--dry-run")
        assert "hu5h" not in ran.out + ran.err
        body = json.loads(run(*words, "--dry-run", "--raw").out)["body"]
        assert body["image_login"] == vast.MASK
        assert body["env"] == {"HF_TOKEN": vast.MASK, "MODE": "fast"}


def test_a_dry_run_writes_no_file(
    offline: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(offline.home)
    assert offline("set", "api-key", "s3cr3t", "--dry-run").status == 0
    assert offline("generate", "pdf-invoices", "--dry-run", "-o", "x").status == 0
    assert not list(offline.home.iterdir())


def in_a_shell(box: Sandbox, home: Path, command: str, **more: str) -> object:
    """Return the response, decoded, to a command that a dry run printed."""
    ran = subprocess.run(
        ["sh", "-c", command],
        env={**script_environment(box, home), **more},
        capture_output=True,
        check=True,
    )
    return json.loads(ran.stdout)


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_a_printed_read_does_the_same(
    run: Program, box: Sandbox, tmp_path: Path
) -> None:
    line = ["search", "offers", "gpu_name=RTX 4090 num_gpus>=2", "-o", "dph,num_gpus-"]
    answer = in_a_shell(box, tmp_path, run(*line, "--dry-run").out)
    rows = json.loads(run(*line, "--raw").out)
    assert isinstance(answer, dict)
    assert [row["id"] for row in answer["offers"]] == [row["id"] for row in rows]
    assert box.calls[0][1:4] == box.calls[1][1:4]
    assert box.calls[0].body == box.calls[1].body


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_a_printed_change_does_the_same(
    run: Program, box: Sandbox, tmp_path: Path
) -> None:
    rent(box)
    label = 'here\'s "$HOME" `id` \\ ł\n'
    ran = run("label", "instance", "5001", label, "--dry-run")
    assert in_a_shell(box, tmp_path, ran.out) == {"success": True}
    assert box.market.own_rows()[0]["label"] == label


# ---------------------------------------------------------------- help


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["--raw", "-h"]])
def test_the_main_help(offline: Program, words: list[str]) -> None:
    ran = offline(*words)
    assert (ran.status, ran.err) == (0, "")
    positions = [ran.out.find(f"\n  {name} ") for name in NAMES]
    assert -1 not in positions
    assert positions == sorted(positions)
    examples = re.findall(r"^  vast\.py .*", ran.out.partition("\n\n")[2], re.M)[:3]
    assert ran.out.index(examples[-1]) < positions[0]
    for argument in (*vast.GLOBAL_ARGS, vast.VERSION_ARG):
        assert f"{argument.long} " in ran.out
    assert "\n  complete " not in ran.out


def test_the_groups_of_the_main_help(offline: Program) -> None:
    heads = re.findall(r"^(\w[\w ]*):$", offline("help").out, re.MULTILINE)
    assert heads[: len(vast.GROUPS)] == list(vast.GROUPS)


def test_no_command_at_all(offline: Program) -> None:
    assert offline() == Ran(2, "", offline("--help").out)


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_alone_lists_its_objects(offline: Program, verb: str) -> None:
    ran = offline(verb)
    objects = [name for name in NAMES if name.startswith(f"{verb} ")]
    assert (ran.status, ran.out) == (2, "")
    first, *lines = ran.err.splitlines()
    assert first == f"commands starting with '{verb}':"
    assert [line[2:30].rstrip() for line in lines] == objects
    assert offline(verb, "--help") == Ran(0, ran.err, "")
    assert offline("help", verb) == Ran(0, ran.err, "")


@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_a_command(offline: Program, name: str) -> None:
    command = vast.COMMAND_BY_NAME[name]
    ran = offline(*name.split(), "--help")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith(f"usage: vast.py {name} ")
    for words in (["help", *name.split()], [*name.split(), "-h"]):
        assert offline(*words) == ran
    text = " ".join(ran.out.split())
    for argument in (*command.args, *vast.GLOBAL_ARGS):
        shown = ", ".join(argument.flags) or argument.metavar
        line = re.search(rf"^  {re.escape(shown)}(?=[ \n])", ran.out, re.MULTILINE)
        assert bool(line) is bool(argument.help)
        assert " ".join(argument.help.split()) in text
    assert f"example:\n  vast.py {command.example}" in ran.out


@pytest.mark.parametrize("name", NAMES)
def test_the_usage_shows_what_is_required(offline: Program, name: str) -> None:
    usage = offline("help", *name.split()).out.partition("\n\n")[0]
    before, _, after = " ".join(usage.split()).partition(" [options]")
    for argument in vast.COMMAND_BY_NAME[name].args:
        if argument.required:
            assert f" {argument.long} {argument.metavar}" in before
        elif argument.flags:
            assert argument.long not in usage
        else:
            optional = argument.many in ("?", "*", "...")
            assert (f"[{argument.metavar}" in after) is (
                optional or "+" in argument.many
            )
            assert (f" {argument.metavar}" in after) is not optional


def test_a_rental_needs_an_image_or_a_template(offline: Program) -> None:
    help = " ".join(offline("create", "instance", "--help").out.split())
    assert "--image IMAGE image to run; this or a template is required" in help


@pytest.mark.parametrize("alias", ["search instances", "set min_bid", "set api_key"])
def test_the_help_of_another_name(offline: Program, alias: str) -> None:
    ran = offline("help", *alias.split())
    assert ran.status == 0
    assert offline(*alias.split(), "-h") == ran


TOPICS = {
    "exit-codes": ["0", "1", "2", "3", "4", "5", "6", "130"],
    "environment": ["VAST_API_KEY", "VAST_URL", "HOME"],
    "query": [field.name for field in vast.FIELDS],
    "columns": [column.heading for column in vast.INSTANCE_COLUMNS],
}


@pytest.mark.parametrize("topic", TOPICS)
def test_the_help_on_a_topic(offline: Program, topic: str) -> None:
    ran = offline("help", topic)
    assert (ran.status, ran.err) == (0, "")
    first = [line.split()[0] for line in ran.out.splitlines() if line.strip()]
    assert [word for word in TOPICS[topic] if word not in first] == []
    (topics,) = re.findall(r"help TOPIC, one of: (.*)", offline("help").out)
    assert topic in topics.split(", ")


def test_the_fields_in_the_help_of_a_search(offline: Program) -> None:
    assert offline("search", "offers", "-h").out.endswith(offline("help", "query").out)


@pytest.mark.parametrize(
    "words",
    ["", *NAMES, *VERBS, *TOPICS],
    ids=lambda words: words or "main",
)
def test_help_fits_eighty_columns(offline: Program, words: str) -> None:
    lines = offline("help", *words.split()).out.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("change bid", "picks a winning bid"),
        ("create instance", "ps shows it"),
        ("search offers", "redirection"),
        ("set api-key", "stdin"),
    ],
)
def test_what_a_help_must_mention(offline: Program, words: str, part: str) -> None:
    assert part in offline(*words.split(), "--help").out


HEADINGS = {id(column): column for each in SHOWN for column in each.columns}


@pytest.mark.parametrize("column", HEADINGS.values(), ids=lambda each: each.heading)
def test_every_heading_is_explained(offline: Program, column: vast.Column) -> None:
    assert column.help
    assert (
        f"\n  {column.heading:<14}{column.help}\n"
        in f"{offline('help', 'columns').out}"
    )


# A heading that ends with a unit, or whose values have one -> how its help names it.
UNITS = {"$/hr": "$/hour", "$/h": "$/hour", "$/GB": "$/GB", "%": "%", "_h": "hours",
         "_min": "minutes", "_Days": "days", "RAM": "GB", "Disk": "GB",
         "ghz": "GHz"}  # fmt: skip


@pytest.mark.parametrize("column", [*vast.OFFER_COLUMNS, *vast.INSTANCE_COLUMNS],
                         ids=lambda each: each.heading)  # fmt: skip
def test_the_unit_of_a_heading(column: vast.Column) -> None:
    for end, unit in UNITS.items():
        if column.heading.endswith(end):
            assert column.help.endswith(unit)
    for part in ("speed", "bandwidth", "price", "memory"):
        if part in column.help:
            assert ", " in column.help


def test_every_table_has_its_headings_in_the_help(offline: Program) -> None:
    help = offline("help", "columns").out
    for command in SHOWN:
        if {"--cols", "--wide"} <= options_of(command):
            assert re.search(rf"^(.*, )?{re.escape(command.name)}(, .*)?:$", help, re.M)
            assert command.columns


@pytest.fixture
def stage(run: Program, box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Return a market that has the ids of the examples: offers 1234 and 1235, instance
    5001, and the caller's machine 12345; in a folder of its own."""
    market = box.market
    own = market.own_machines()[0]
    hardware = {**own.hardware, "machine_id": 12345}
    market.machines[12345] = replace(own, hardware=hardware, terms=dict(own.terms))
    rent(box)
    for number in (1234, 1235):
        offer = market.offers.pop(an_offer(box))
        market.offers[number] = replace(offer, row={**offer.row, "id": number})
    monkeypatch.chdir(run.home)
    (run.home / ".ssh").mkdir()
    key = f"ssh-ed25519 {'AAAAC3NzaC1lZDI1NTE5' * 3} me@host\n"
    (run.home / ".ssh" / "id_ed25519.pub").write_text(key)
    (run.home / "permissions.json").write_text('{"api": {"misc": {}}}')
    return run


# Examples of commands that need a code that was sent, or a date soon.
NEED_A_STATE = {
    "schedule maint": "must be in the future, within a year",
    "tfa resend-sms": "no code was sent",
    "tfa login": "no code was sent",
}


# Examples that work on this stage, with all that follows the first request.
STAGED = """search_offers show_instances show_instance ssh-url scp-url create_instance
    create_instances launch_instance start_instance stop_instance reboot_instance
    recycle_instance label_instance update_instance change_bid destroy_instance
    show_machines list_machine unlist_machine set_min-bid set_defjob remove_defjob
    show_invoices generate_pdf-invoices show_user set_api-key""".split()


@pytest.mark.parametrize("name", [name.replace("_", " ") for name in STAGED])
def test_the_example_of_a_help_works(stage: Program, box: Sandbox, name: str) -> None:
    line = vast.COMMAND_BY_NAME[name].example.replace("\\\n", "")
    words = [word for word in shlex.split(line) if word != "--wait"]
    ran = stage(*words, stdin=f"{box.key}\n")
    assert ran.status == 0
    assert ran.out


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_help_is_understood(
    stage: Program, box: Sandbox, name: str
) -> None:
    line = vast.COMMAND_BY_NAME[name].example.replace("\\\n", "")
    assert line.startswith(name)
    ran = stage("--dry-run", *shlex.split(line), stdin=f"{box.key}\n")
    if name in NEED_A_STATE:
        assert ran.status == vast.ExitStatus.USAGE
        assert NEED_A_STATE[name] in ran.err
    else:
        assert ran.status == 0
        assert ran.out
    assert not box.calls


@pytest.mark.parametrize("index", [0, 1])
def test_the_examples_of_the_main_help_work(stage: Program, index: int) -> None:
    lines = re.findall(r"^  vast\.py (.*)", stage("help").out, re.MULTILINE)
    assert stage(*shlex.split(lines[index])).status == 0


# ---------------------------------------------------------------- mistakes

# A wrong command line -> what its message must hold.
MISTAKES = {
    "serch offers": "; did you mean 'search offers'?\n",
    "search ofers": "; did you mean 'search offers'?\n",
    "searchoffers": "; did you mean 'search offers'?\n",
    "show instence": "; did you mean 'show instance'?\n",
    "ssh-ulr 5001": "; did you mean 'ssh-url'?\n",
    "set minbid 7 --price 1": "; did you mean 'set min-bid'?\n",
    "destroy instnace 7": "; did you mean 'destroy instance'?\n",
    "halp": "; did you mean 'help'?\n",
    "frobnicate": "unknown command 'frobnicate'; see vast.py help\n",
    "frobnicate instance 5": "command 'frobnicate'; see vast.py help\n",
    "help serch offers": "no help for 'serch offers'; did you mean 'search offers'?\n",
    "help exit-code": "no help for 'exit-code'; did you mean 'exit-codes'?\n",
    "start 5001": "unknown command 'start 5001'; did you mean 'start instance 5001'?\n",
    "stop 5001 5002": "; did you mean 'stop instance 5001'?\n",
    "destroy 5001 -y": "; did you mean 'destroy instance 5001'?\n",
    "label 5001 exp1": "; did you mean 'label instance 5001'?\n",
    "change 5001": "; did you mean 'change bid 5001'?\n",
    "show offers": "; did you mean 'search offers'?\n",
    "create bid --price 0.10": "; did you mean 'change bid'?\n",
    "show instances-v1": "; did you mean 'show instances'?\n",
    "show instances --qiet": "; did you mean '--quiet'?",
    "show instances --quite": "; did you mean '--quiet'?",
    "create instance 7 --imgae x": "; did you mean '--image'?",
    "--ulr x show user": "; did you mean '--url'?",
    "show machines -raw": "; did you mean '--raw'?",
    "-raw show machines": "; did you mean '--raw'?",
    "show instances --json": "unknown option '--json'; did you mean '--raw'?\n",
    "--json show instances": "unknown option '--json'; did you mean '--raw'?",
    "create instance 7 -image x": "; did you mean '--image'?",
    "search offers --gpu-name RTX_4090": "put it in the query: 'gpu_name=VALUE'",
    "search offers --gpu_name=A100": "put it in the query: 'gpu_name=A100'",
    "search offers --num-gpus 4 -o dph": "put it in the query: 'num_gpus=VALUE'",
    "show instances --label exp1": "put it in the query: 'label=VALUE'",
    "search offers --explain": "unknown option '--explain'; see vast.py search offers",
    "create instance 7 --image x --shm-size 1g": "unknown option '--shm-size'",
    "create instance 7 --image x --bid 3": "unknown option '--bid'",
    "search offers --lim 5": "unknown option '--lim'; did you mean '--limit'?\n",
    "show invoices --only_c": "unknown option '--only_c'",
    "show instances --quie": "unknown option '--quie'",
    "show user --ra": "unknown option '--ra'",
    "destroy instance 7 --y": "unknown option '--y'",
    "show user extra": "unexpected argument 'extra'; example: vast.py show user;",
    "set min-bid 7 0.5": "unexpected argument '0.5'; example: vast.py set min-bid",
    "show instances --quiet=yes": "--quiet takes no value",
    "show user --retry -1": "invalid number of retries '-1'",
    "show user --retry x": "invalid number of retries 'x'",
    "show user --url": "--url needs a value",
    "create instance 7 --image x --label --disk 9": "--label needs a value",
    "create instance 7 --image x --args a --dry-run": "put --dry-run before --args",
    "start instance 7 --wait --timeout -1": "invalid time '-1'",
    "start instance 7 --wait --timeout nan": "invalid time 'nan'",
    "search offers -t spot": (
        "invalid type 'spot'; choose from on-demand, bid, interruptible, reserved;"
    ),
    "show instance 5001 abc": "invalid id 'abc': must be a whole number;",
    "completion fish": "invalid shell 'fish'; choose from bash, zsh;",
    "completion": "required: shell;",
    "set min-bid 7": "required: --price;",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_understood(run: Program, box: Sandbox, line: str) -> None:
    assert MISTAKES[line] in complaint(run(*shlex.split(line)), 2) + "\n"
    assert not box.calls


@pytest.mark.parametrize("line", ["reboot", "start", "create", "set", "show"])
def test_a_verb_gets_no_far_fetched_suggestion(offline: Program, line: str) -> None:
    assert offline(line).err.startswith(f"commands starting with '{line}':\n")


OTHER_NAMES = {
    typed: name
    for typed, name in vast.OTHER_NAMES.items()
    if name in vast.COMMAND_BY_NAME and typed not in vast.COMMAND_BY_NAME
}


@pytest.mark.parametrize("typed", OTHER_NAMES)
def test_a_name_that_others_use(offline: Program, typed: str) -> None:
    error = complaint(offline(*typed.split(), "5001"), 2)
    assert error.endswith(f"; did you mean '{OTHER_NAMES[typed]}'?")


def test_a_colon_for_an_operator_is_understood(run: Program, box: Sandbox) -> None:
    ran = run("search", "offers", "gpu_name:RTX_4090")
    assert (ran.status, ran.out, box.calls) == (2, "", [])
    assert "write gpu_name=RTX_4090\n" in ran.err


def test_a_raw_mistake_is_one_json_object(run: Program) -> None:
    ran = run("--raw", "show", "user", "--qiet")
    error = json.loads(ran.err)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert sorted(error) == ["error", "msg", "status"]
    assert (error["error"], error["status"]) == ("usage", None)


# ---------------------------------------------------------------- options anywhere


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize(
    "option", ["--raw", "--retry 0", "--retry=0 --raw", "--api-key {key} --url {url}"]
)
def test_common_options_work_anywhere(
    run: Program, box: Sandbox, option: str, index: int
) -> None:
    words = ["show", "user", "-q"]
    typed = option.format(key=box.key, url=box.url).split()
    ran = run(*words[:index], *typed, *words[index:])
    assert ran == run(*words, *typed)
    assert ran.status == 0


@pytest.mark.parametrize(
    "line",
    [
        "destroy instance 5001 -y 5002",
        "destroy instance -y 5001 5002",
        "destroy instance 5001 5002 --yes",
        "--raw destroy --retry 0 instance 5001 -y 5002",
        "destroy instance -y -- 5001 5002",
    ],
)
def test_options_stand_in_any_order_with_arguments(
    run: Program, box: Sandbox, line: str
) -> None:
    rent(box, 5001)
    rent(box, 5002)
    assert run(*line.split()).status == 0
    assert box.market.destroyed == [5001, 5002]


# Pairs of lines that are the same.
SAME = [
    ("set min_bid 7101 --price 1", "set min-bid 7101 --price 1"),
    ("list machine 7101 --price-gpu 1", "list machine 7101 --price_gpu 1"),
    ("list machine 7101 --min-chunk=1", "list machine 7101 --min_chunk=1"),
    ("search offers --no_default", "search offers --no-default"),
    ("show invoices --start-date 2026", "show invoices --start_date 2026"),
    ("show user --api_key {key}", "show user --api-key {key}"),
    ("show machines --no_header", "show machines --no-header"),
    ("search offers -bn", "search offers -b -n"),
    ("search offers -bnodph", "search offers -b -n -o dph"),
    ("search offers -no dph", "search offers -n -o dph"),
    ("search offers -odph", "search offers --order=dph"),
    ("search offers -tbid", "search offers -t bid"),
    ("show invoices -qp", "show invoices -q -p"),
    ("show invoices -cqs2026", "show invoices --only_charges --quiet -s 2026"),
]


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("pair", SAME, ids=lambda pair: pair[0])
def test_two_spellings(run: Program, box: Sandbox, pair: tuple[str, str]) -> None:
    first, second = (run(*line.format(key=box.key).split()) for line in pair)
    assert first == second
    assert first.status == 0
    assert box.calls[0][1:4] == box.calls[1][1:4]
    assert box.calls[0].body == box.calls[1].body


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["--label", "-x"], "label", "-x"),
        (["--label", "--"], "label", "--"),
        (["--label=--raw"], "label", "--raw"),
        (["--label="], "label", ""),
        (["--label", "a=b"], "label", "a=b"),
        (["--onstart-cmd", "-c 'ls'"], "onstart", "-c 'ls'"),
        (["--login", "-u me -p pass host"], "image_login", "-u me -p pass host"),
        (["--env", "-h NAME"], "env", {"-h": "NAME"}),
        (["--args", "--image", "y"], "args", ["--image", "y"]),
    ],
)  # fmt: skip
def test_values_that_look_like_options(
    run: Program, box: Sandbox, words: list[str], key: str, value: object
) -> None:
    offer = str(an_offer(box))
    assert run("create", "instance", offer, "--image", "x", *words).status == 0
    assert box.calls[0].body[key] == value


def test_the_version(offline: Program) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", vast.__version__)
    assert offline("--version") == Ran(0, f"vast.py {vast.__version__}\n", "")


# ---------------------------------------------------------------- JSON


def test_json_in_a_pipe_and_on_a_terminal(run: Program, box: Sandbox) -> None:
    rows = [{"id": 2, "b": [1, {"c": "ł\x1b"}]}, {"id": 3, "a": None}]
    box.fault("machines", "body", times=2, body={"machines": rows})
    assert run("show", "machines", "--raw").out == (
        '[\n{"b": [1, {"c": "\\u0142\\u001b"}], "id": 2},\n{"a": null, "id": 3}\n]\n'
    )
    assert run("show", "machines", "--raw", terminal=True).out == (
        json.dumps(rows, indent=2, sort_keys=True) + "\n"
    )


def test_a_json_object_in_a_pipe_and_on_a_terminal(run: Program, box: Sandbox) -> None:
    box.fault("user", "body", times=2, body={"id": 2, "credit": 1.5})
    assert run("show", "user", "--raw").out == '{"credit": 1.5, "id": 2}\n'
    assert run("show", "user", "--raw", terminal=True).out == (
        '{\n  "credit": 1.5,\n  "id": 2\n}\n'
    )


# ---------------------------------------------------------------- several ids


@pytest.fixture
def three(box: Sandbox) -> list[str]:
    """Return the ids of three instances, not in order."""
    return [str(rent(box, number)) for number in (5003, 5001, 5002)]


# What becomes of the calls, one after the other -> the status.
OUTCOMES: dict[str, int] = {
    "ok ok ok": 0,
    "404 ok ok": 1,
    "ok 403 refused": 1,
    "ok 500 ok": 6,
    "drop_after 404 ok": 6,
    "404 cut_after ok": 6,
    "ok 401": 4,
    "404 404_auth": 4,
    "401": 4,
    "ok 429_text": 5,
    "404 429_detail": 5,
    "502 429_text": 6,
    "502 401": 6,
}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_gravest_status_counts(
    run: Program, box: Sandbox, three: list[str], outcome: str
) -> None:
    kinds = outcome.split()
    for index, kind in enumerate(kinds):
        if kind != "ok":
            box.fault("manage", kind, after=kinds[:index].count("ok"))
    ran = run("stop", "instance", *three, "--retry", "0")
    done = [id for id, kind in zip(three, kinds) if kind == "ok"]
    assert ran.status == OUTCOMES[outcome]
    assert ran.out == "".join(f"instance {id}: stopping\n" for id in done)
    assert [call.path for call in box.calls] == [
        f"/api/v0/instances/{id}/" for id in three[: len(kinds)]
    ]
    failed = [id for id, kind in zip(three, kinds) if kind != "ok"]
    errors = [line for line in ran.err.splitlines() if "not tried" not in line]
    assert all(any(id in line for line in errors) for id in failed)
    untried = " ".join(three[len(kinds) :])
    assert (f"not tried: {untried}\n" in ran.err) is bool(untried)


@pytest.mark.parametrize("env", [{"VAST_API_KEY": "a b"}, {"VAST_URL": "ftp://x"}])
def test_what_is_wrong_for_all_ids_is_reported_once(
    run: Program, box: Sandbox, three: list[str], env: dict[str, str]
) -> None:
    complaint(run("stop", "instance", *three, env=env), 2)
    assert not box.calls


def test_raw_results_of_several_ids(
    run: Program, box: Sandbox, three: list[str]
) -> None:
    ran = run("start", "instance", "5003", "9", "5001", "--raw")
    msg = "you have no instance 9"
    error = {"error": "no_such_instance", "msg": msg, "status": 404}
    assert ran == Ran(
        1,
        '[\n{"id": 5003, "success": true},\n'
        + json.dumps({**error, "id": 9}, sort_keys=True)
        + ',\n{"id": 5001, "success": true}\n]\n',
        json.dumps(error) + "\n",
    )


def test_the_same_id_twice_is_one(run: Program, box: Sandbox) -> None:
    rent(box)
    assert run("destroy", "instance", "5001", "5001").status == 0
    assert len(box.calls) == 1


def test_raw_of_one_id_is_no_array(run: Program, box: Sandbox) -> None:
    rent(box)
    assert run("stop", "instance", "5001", "--raw").out == '{"success": true}\n'


# ---------------------------------------------------------------- choosing columns


# Options of `show machines` -> what is printed of two machines.
COLUMNS = {
    "--cols ID,hostname": "  ID  hostname\n7102  rig02\n7103  rig03\n",
    "--cols id": "  ID\n7102\n7103\n",
    "--cols=driver,id,N": (
        "driver       ID   N\n565.77     7102  8x\n580.65.06  7103  2x\n"
    ),
    "--cols gpu_name,N": "Model      N\nRTX_3090  8x\nRTX_5090  2x\n",
    "--cols static_ip,num_reports": (
        "static_ip  reports\nfalse            0\nfalse            0\n"
    ),
    "--cols R": "   R\n99.0\n94.0\n",
    "--cols reliability2,gpu_$/h": "   R  gpu_$/h\n99.0   0.1326\n94.0   0.5605\n",
    "--cols ID --no-header": "7102\n7103\n",
    "--cols 'ID, N'": "  ID   N\n7102  8x\n7103  2x\n",
    "-q --cols ID": "7102\n7103\n",
}


@pytest.mark.parametrize("options", COLUMNS)
def test_chosen_columns(run: Program, box: Sandbox, options: str) -> None:
    del box.market.machines[7101], box.market.machines[7104]
    ran = run("show", "machines", *shlex.split(options))
    assert ran == Ran(0, COLUMNS[options], "")


@pytest.mark.parametrize("name", CALLERS)
def test_tables_have_the_options_of_tables(name: str) -> None:
    options = options_of(vast.COMMAND_BY_NAME[name])
    is_table = isinstance(vast.COMMAND_BY_NAME[name].run, vast.Listing)
    assert is_table <= ({"--cols", "--no-header", "--wide", "-q", "--quiet"} <= options)


@pytest.mark.parametrize(
    "command", ["search offers", "show instances", "show machines", "show invoices"]
)
def test_a_heading_can_be_left_out(run: Program, box: Sandbox, command: str) -> None:
    rent(box)
    whole, bare = run(*command.split()), run(*command.split(), "--no-header")
    assert whole.out.count("\n") == bare.out.count("\n") + 1
    assert whole.out.splitlines()[0].split()[0] == "ID"
    assert bare.out.splitlines()[0].split() == whole.out.splitlines()[1].split()


@pytest.mark.parametrize(
    ("cols", "part"),
    [
        ("Modle", "did you mean 'Model'?"),
        ("ID,nothing", "'nothing'"),
        ("ID,,N", "''"),
        ("", "''"),
        ("jupyter_token", "'jupyter_token'"),
    ],
)
def test_an_unknown_column(run: Program, box: Sandbox, cols: str, part: str) -> None:
    rent(box)
    message = complaint(run("show", "instances", "--cols", cols), 2)
    assert part in message
    assert "SSH_Addr" in message
    assert "uptime_mins" in message


# ---------------------------------------------------------------- today's options

DIRECT = {"runtype": "ssh_direct ssh_proxy"}
DIRECT_JUPYTER = {"runtype": "jupyter_direct ssh_direct ssh_proxy"}
# What follows `create instance ID --image example/image` -> what the body has in
# addition.
TODAY: dict[str, Row] = {
    "--ssh": {},
    "--direct": DIRECT,
    "--ssh --direct": DIRECT,
    "--jupyter --direct": DIRECT_JUPYTER,
    "--jupyter --ssh --direct": DIRECT_JUPYTER,
    "--jupyter --ssh": {"runtype": "jupyter"},
    "--jupyter-lab --direct": {**DIRECT_JUPYTER, "use_jupyter_lab": True},
    "--login '-u me -p s3cr3t docker.io'": {"image_login": "-u me -p s3cr3t docker.io"},
    "--user root": {"user": "root"},
    "--cancel-unavail": {"cancel_unavail": True},
    "--entrypoint /start.sh": {"onstart": "/start.sh"},
    "--entrypoint /start.sh --onstart-cmd ls": {"onstart": "ls"},
    "--template_hash abc": {"template_hash_id": "abc", "disk": None, "runtype": None},
    "--template-hash abc --disk 10 --ssh": {"template_hash_id": "abc"},
    "--template_hash abc --direct": {
        "template_hash_id": "abc", "disk": None, **DIRECT,
    },
    "--env '-e A=b'": {"env": {"A": "b"}},
    "--env A=b": {"env": {"A": "b"}},
    "--env 'A=b C=\"d e\"'": {"env": {"A": "b", "C": "d e"}},
    "--env A=b=c --env -eD=": {"env": {"A": "b=c", "D": ""}},
    "--env '-p 8080:80/udp -p 72299:72299'": {
        "env": {"-p 8080:80/udp": "1", "-p 72299:72299": "1"},
    },
    "--env '-v /a:/b -h billybob'": {"env": {"-v /a:/b": "1", "-h": "billybob"}},
    "--env '-p 80:80' --env '-h me'": {
        "env": {"-p 80:80": "1", "-h": "me"},
    },
    "--env ''": {"env": {}},
}  # fmt: skip


@pytest.mark.parametrize("line", TODAY)
def test_the_options_of_today(run: Program, box: Sandbox, line: str) -> None:
    offer = str(an_offer(box))
    ran = run(
        "create", "instance", offer, "--image", "example/image", *shlex.split(line)
    )
    body = {**PLAIN_RENTAL, **TODAY[line]}
    assert (ran.status, ran.out) == (0, "Created instance 5001\n")
    assert "s3cr3t" not in ran.err
    assert sent(box)[0][2] == {k: text for k, text in body.items() if text is not None}


@pytest.mark.parametrize("option", ["--ssh", "--direct"])
def test_no_login_with_args_is_noted(run: Program, box: Sandbox, option: str) -> None:
    words = ["create", "instance", str(an_offer(box)), "--image", "x", option]
    ran = run(*words, "--args")
    assert box.calls[0].body["runtype"] == "args"
    note = "vast.py: --ssh and --direct have no effect with --args"
    assert ran.err.splitlines()[0] == note


def test_a_template_needs_no_image(run: Program, box: Sandbox) -> None:
    offer = str(an_offer(box))
    assert run("create", "instance", offer, "--template_hash", "abc").status == 0
    assert box.calls[0].body == {"client_id": "me", "template_hash_id": "abc"}


@pytest.mark.parametrize(
    ("env", "part"),
    [
        ("--shm-size 1g", "--shm-size"),
        ("-e A=b --gpus=all", "--gpus=all"),
        ("-x", "-x"),
        ("NAME", "'NAME'"),
        ("-e NAME", "'NAME'"),
        ("=b", "'=b'"),
        ("-p", "-p"),
        ("A='b", "quot"),
    ],
)
def test_what_env_does_not_take(
    run: Program, box: Sandbox, env: str, part: str
) -> None:
    ran = run("create", "instance", "7", "--image", "x", "--env", env)
    assert part in complaint(ran, 2)
    assert not box.calls


# ---------------------------------------------------------------- waiting


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Program]:
    """Run commands against a market whose instances take half a minute of the run's
    own clock to come up, and which keeps to its rate limits."""
    clock = Clock()
    with Sandbox(limits=True, boot=30.0, clock=clock.now) as box:
        program = Program(tmp_path, box)
        program.clock = clock
        yield program


def market(program: Program) -> Sandbox:
    """Return the sandbox of a program."""
    assert program.box
    return program.box


def looks(program: Program) -> int:
    """Return how often an instance was looked at."""
    return [call.name for call in market(program).calls].count("instance")


PROXY = "ssh://root@ssh7.vast.ai:10002"
RENT = "create instance {offer} --image x --wait"


def waited(program: Program, line: str, **settings: Any) -> Ran:
    """Run a line with `--wait`; {offer} is a free one."""
    line = line.replace("{offer}", str(an_offer(market(program))))
    return program(*line.split(), **settings)


def test_waiting_for_a_new_instance(slow: Program) -> None:
    ran = waited(slow, RENT)
    assert (ran.status, ran.out) == (0, f"Created instance 5001\n{PROXY}\n")
    rented, costs, *changes = ran.err.splitlines()
    assert "on demand" in rented
    assert "instance 5001 costs $" in costs
    assert len(changes) == 3
    assert "starting" in changes[0]
    assert "loading x: layer 3 of 7 pulled" in changes[1]
    assert "running" in changes[2]
    assert set(slow.clock.slept) == {2.0}
    assert sum(slow.clock.slept) == 30.0


def test_waiting_on_a_terminal_rewrites_one_line(slow: Program) -> None:
    ran = waited(slow, RENT, terminal=True)
    assert ran.status == 0
    assert ran.err.count("\n") == 3
    pieces = ran.err.split("\r\x1b[K")
    assert len(pieces) > 10
    assert max(len(line) for piece in pieces for line in piece.splitlines()) < 80
    assert "28 s" in ran.err


def test_the_id_comes_before_the_waiting(slow: Program) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    ran = waited(slow, RENT, sleep=interrupt)
    assert (ran.status, ran.out) == (130, "Created instance 5001\n")
    assert "instance 5001 may not be running yet; it costs money" in ran.err
    assert "; to check: vast.py show instance 5001" in ran.err


def test_raw_waiting_is_one_document(slow: Program) -> None:
    ran = waited(slow, f"{RENT} --raw")
    value = json.loads(ran.out)
    assert ran.status == 0
    assert (value["new_contract"], value["success"]) == (5001, True)
    assert value["instance"]["actual_status"] == "running"
    assert "jupyter_token" not in value["instance"]
    assert "5001" in ran.err.splitlines()[1]


CHANGES: dict[str, tuple[str, str]] = {
    "start": ("stop", "running"),
    "stop": ("create", "stopped"),
    "destroy": ("create", "gone"),
}


@pytest.mark.parametrize("raw", [False, True], ids=["text", "raw"])
@pytest.mark.parametrize("verb", CHANGES)
def test_waiting_for_a_change(slow: Program, verb: str, raw: bool) -> None:
    before, goal = CHANGES[verb]
    rent(market(slow))
    market(slow).market.rentals[5001].order = before
    slow.clock.time += 100
    ran = slow(verb, "instance", "5001", "--wait", *["--raw"] * raw)
    assert ran.status == 0
    assert f"instance 5001 is {goal}" in ran.err
    assert looks(slow) == (1 if goal == "gone" else 16)
    if raw:
        value = json.loads(ran.out)
        row = value.pop("instance")
        assert value == {"success": True}
        assert goal == ("gone" if row is None else row["actual_status"])
    else:
        assert re.fullmatch(r"instance 5001: \w+ing\n", ran.out)


# A line -> its status, what the last line on stderr holds, and stdout. Once something
# is rented, the status is never 1, 4 or 5.
NOT_REACHED: dict[str, tuple[int, str, str]] = {
    f"{RENT} --timeout 9": (
        3, "5001 is not running after 8 s (status: starting)",
        "Created instance 5001\n",
    ),
    f"{RENT} --timeout 0": (3, "not running", "Created instance 5001\n"),
    f"create instance {{offer}} --image {BROKEN_IMAGE} --wait": (
        3, "pull access denied", "Created instance 5001\n",
    ),
    "stop instance 6001 --wait --timeout=9": (
        3, "6001 is not stopped after 8 s (status: running)",
        "instance 6001: stopping\n",
    ),
    "stop instance 6002 --wait": (1, "is offline", "instance 6002: stopping\n"),
    "start instance 6002 --wait": (1, "is offline", "instance 6002: starting\n"),
}  # fmt: skip


@pytest.fixture
def troubled(slow: Program) -> Program:
    """Return the slow market, where instance 6001 is running, 6002 offline."""
    for number in (6001, 6002):
        rent(market(slow), number)
    market(slow).market.rentals[6002].odd = {"actual_status": "offline"}
    slow.clock.time += 100
    return slow


@pytest.mark.parametrize("line", NOT_REACHED)
def test_waiting_without_success(troubled: Program, line: str) -> None:
    status, part, out = NOT_REACHED[line]
    (number,) = re.findall(r"\d+", out)
    ran = waited(troubled, line)
    assert (ran.status, ran.out) == (status, out)
    last = ran.err.splitlines()[-1]
    assert part in last
    _, costs = vast.GOALS["stopped" if line.startswith("stop") else "running"]
    assert f"; {costs}; to check: vast.py show instance {number}" in last


@pytest.mark.parametrize("line", NOT_REACHED)
def test_waiting_without_success_prints_the_document_all_the_same(
    troubled: Program, line: str
) -> None:
    ran = waited(troubled, f"{line} --raw")
    value, error = json.loads(ran.out), json.loads(ran.err.splitlines()[-1])
    assert ran.status == NOT_REACHED[line][0]
    assert value["success"] is True
    assert "; to check: vast.py show instance " in error["msg"]


@pytest.mark.parametrize("raw", [False, True], ids=["text", "raw"])
def test_an_interrupted_wait(troubled: Program, raw: bool) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    words = ["stop", "instance", "6001", "--wait", *["--raw"] * raw]
    ran = troubled(*words, sleep=interrupt)
    out = '{"success": true}\n' if raw else "instance 6001: stopping\n"
    assert (ran.status, ran.out) == (130, out)
    assert "; to check: vast.py show instance 6001" in ran.err


def test_an_instance_that_vanishes(troubled: Program) -> None:
    def destroy(seconds: float) -> None:
        market(troubled).market.rentals.pop(6001, None)
        troubled.clock.sleep(seconds)

    ran = troubled("stop", "instance", "6001", "--wait", sleep=destroy)
    assert (ran.status, ran.out) == (1, "instance 6001: stopping\n")
    assert ran.err.endswith("vast.py: instance 6001 is gone\n")


def test_not_found_is_gone_as_well(troubled: Program) -> None:
    market(troubled).fault("instance", "404")
    assert troubled("destroy", "instance", "6001", "--wait").status == 0


def test_waiting_for_several(troubled: Program) -> None:
    ran = troubled("stop", "instance", "6001", "6002", "--wait", "--raw")
    first, second = json.loads(ran.out)
    assert ran.status == 1
    assert (first["id"], first["instance"]["actual_status"]) == (6001, "stopped")
    assert (second["id"], second["success"]) == (6002, True)
    assert "offline" in second["msg"]


def test_no_waiting_without_the_option(slow: Program) -> None:
    assert waited(slow, RENT.replace("--wait", "")).status == 0
    assert looks(slow) == 1  # for the price
    assert not slow.clock.slept


# ---------------------------------------------------------------- retries


@pytest.mark.parametrize(
    ("options", "calls"), [("", 4), ("--retry 0", 1), ("--retry 2", 3)]
)
def test_how_often_a_call_is_sent(
    run: Program, box: Sandbox, options: str, calls: int
) -> None:
    box.fault("user", "503", times=None)
    assert run("show", "user", *options.split()).status == 5
    assert len(box.calls) == calls
