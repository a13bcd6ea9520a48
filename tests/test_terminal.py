"""At a terminal: tables that fit its width, prompts without echo, the name that the
program was started with, and what new users type first; and plain English."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shlex
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from test_commands import rent

import vast
from conftest import Program, Ran, an_offer, complaint, script_environment
from sandbox import Sandbox

SCRIPT = vast.__file__
WIDTHS = (80, 120, 200)
PATIENCE = 30.0  # seconds until the program must have ended

# ---------------------------------------------------------------- tables

TABLES = {
    "offers": ("search offers", vast.OFFER_COLUMNS),
    "all offers": ("search offers -n --limit 300", vast.OFFER_COLUMNS),
    "instances": ("show instances", vast.INSTANCE_COLUMNS),
    "an instance": ("show instance 5001", vast.INSTANCE_COLUMNS),
    "machines": ("show machines", vast.MACHINE_COLUMNS),
    "invoices": ("show invoices", vast.INVOICE_COLUMNS),
    "the account": ("show user", vast.USER_COLUMNS),
}
LONG_LABEL = "a label of many words " * 20


@pytest.fixture
def full(run: Program, box: Sandbox) -> Program:
    """Return a market with two instances, one with a long label."""
    rent(box, 5001, label="exp1")
    rent(box, 5002, label=LONG_LABEL)
    return run


def at(program: Program, width: int, line: str) -> Ran:
    """Run a line at a terminal of this width."""
    return program(*shlex.split(line), terminal=True, env={"COLUMNS": str(width)})


def headings(text: str) -> list[str]:
    """Return the headings of a table."""
    return text.splitlines()[0].split()


def hidden(ran: Ran) -> int:
    """Return how many columns a note says were hidden."""
    note = r"^vast.py: (\d+) columns? hidden to fit the terminal; use --wide or --cols"
    found = re.findall(rf"{note} to see more$", ran.err, re.MULTILINE)
    assert len(found) == ran.err.count("hidden")
    return int(found[0]) if found else 0


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", TABLES)
def test_a_table_fits_the_terminal(full: Program, name: str, width: int) -> None:
    line, columns = TABLES[name]
    ran = at(full, width, line)
    assert ran.status == 0
    assert [text for text in ran.out.splitlines() if vast.width(text) > width] == []
    shown = headings(ran.out)
    assert shown == [each.heading for each in columns if each.heading in shown]
    assert {each.heading for each in columns if each.essential} <= set(shown)
    assert hidden(ran) == len(columns) - len(shown)


@pytest.mark.parametrize("name", TABLES)
def test_inessential_columns_go_from_right_to_left(full: Program, name: str) -> None:
    line, columns = TABLES[name]
    order = [each.heading for each in columns if not each.essential]
    for width in range(60, 240, 20):
        shown = headings(at(full, width, line).out)
        kept = [heading for heading in order if heading in shown]
        assert kept == order[: len(kept)]
        if len(kept) < len(order):  # there was no room for the next one
            column = next(each for each in columns if each.heading == order[len(kept)])
            wide = at(
                full, width, f"{line} --cols {','.join([*shown, column.heading])}"
            )
            assert max(map(vast.width, wide.out.splitlines())) > width


@pytest.mark.parametrize("name", TABLES)
def test_nothing_is_hidden_or_cut_in_a_pipe(full: Program, name: str) -> None:
    line, columns = TABLES[name]
    ran = full(*line.split(), env={"COLUMNS": "80"})
    assert headings(ran.out) == [column.heading for column in columns]
    assert "…" not in ran.out
    assert hidden(ran) == 0


@pytest.mark.parametrize("name", TABLES)
def test_wide_shows_what_a_pipe_shows(full: Program, name: str) -> None:
    line, columns = TABLES[name]
    names = ",".join(column.heading for column in columns)
    for option in ("--wide", f"--cols {shlex.quote(names)}"):
        ran = at(full, 80, f"{line} {option}")
        assert headings(ran.out) == [column.heading for column in columns]
        assert "…" not in ran.out
        assert hidden(ran) == 0


def test_offers_at_eighty_columns(run: Program) -> None:
    shown = headings(at(run, 80, "search offers").out)
    for heading in ("ID", "N", "Model", "VRAM", "$/hr", "R", "country"):
        assert heading in shown


def test_offers_at_a_terminal_that_is_wide_enough(run: Program) -> None:
    ran = at(run, 250, "search offers")
    assert headings(ran.out) == [column.heading for column in vast.OFFER_COLUMNS]
    assert hidden(ran) == 0


def test_a_long_label_is_cut_at_a_terminal_only(full: Program) -> None:
    (cut,) = [x for x in at(full, 80, "show instances").out.splitlines() if "5002" in x]
    assert cut.endswith("…")
    assert vast.width(cut) == 80
    label = LONG_LABEL.replace(" ", "_").strip("_")
    assert f" {label} " in full("show", "instances").out
    assert f" {label} " in at(full, 80, "show instances --wide").out


def test_a_description_is_cut_at_a_terminal_only(run: Program) -> None:
    shown = "show", "invoices", "--cols", "ID,Date,Description,Amount"
    narrow = at(run, 60, "show invoices").out.splitlines()
    whole = run(*shown).out.splitlines()
    assert len(narrow) == len(whole)
    assert sum("…" in line for line in narrow) > 10
    for short, long in zip(narrow, whole):
        assert short.split()[-1] == long.split()[-1]
        if "…" in short:
            assert long.startswith(short.partition("…")[0])


def test_the_columns_of_text_are_cut_from_right_to_left() -> None:
    columns = [vast.Column(name, name, essential=True) for name in "abc"]
    columns.append(vast.Column("d", "d", "d", essential=True))
    row = {"a": "a" * 20, "b": "b" * 20, "c": "c" * 20, "d": 10**19}
    by_room = {
        86: (20, 20, 20),
        80: (20, 20, 14),
        74: (20, 20, 8),
        70: (20, 16, 8),
        50: (8, 8, 8),
        10: (8, 8, 8),
    }
    for room, widths in by_room.items():
        text, hidden = vast.table_text([row], columns, 0, heading=False, room=room)
        *cells, number = text.split()
        assert tuple(map(len, cells)) == widths
        assert (number, hidden) == (str(10**19), 0)


@pytest.mark.parametrize("width", [1, 20, 40])
def test_a_terminal_too_narrow_for_what_is_essential(full: Program, width: int) -> None:
    ran = at(full, width, "show instances")
    essential = [each.heading for each in vast.INSTANCE_COLUMNS if each.essential]
    assert headings(ran.out) == essential
    assert hidden(ran) == len(vast.INSTANCE_COLUMNS) - len(essential)


def test_the_last_column_keeps_its_spaces(run: Program, box: Sandbox) -> None:
    box.market.user["fullname"] = "Ada  King Lovelace"
    for terminal in (False, True):
        out = run("show", "user", terminal=terminal).out
        assert re.search(r"^fullname +Ada  King Lovelace$", out, re.MULTILINE)
    rent(box, 5001, label="my best run")
    ran = run("show", "instances", "--cols", "Label,ID,label")
    assert ran.out == "Label          ID  Label\nmy_best_run  5001  my best run\n"


def test_no_rows_hide_no_columns(run: Program) -> None:
    ran = at(run, 80, "search offers num_gpus=99")
    assert headings(ran.out)[0] == "ID"
    assert "hidden" not in ran.err


@pytest.mark.parametrize("options", ["--raw", "-q"])
def test_only_tables_are_fitted(full: Program, options: str) -> None:
    ran = at(full, 20, f"show instances {options}")
    assert ran.err == ""
    assert "…" not in ran.out


# What follows `search offers` at a terminal -> the note about how many there are.
COUNTS = {
    "": "64 offers (the service's default; --limit N for more)",
    "--limit 64": "64 offers",
    "--limit 3": "3 offers",
    "--limit 1": "1 offer",
    "-q": None,
    "--raw": None,
}


@pytest.mark.parametrize("options", COUNTS)
def test_the_number_of_offers(run: Program, options: str) -> None:
    ran = at(run, 400, f"search offers {options}")
    assert ran.err == (f"vast.py: {COUNTS[options]}\n" if COUNTS[options] else "")
    assert run("search", "offers", *options.split()).err == ""


# ---------------------------------------------------------------- a real terminal


class Terminal:
    """The program in a process of its own at a terminal of its own."""

    def __init__(
        self, words: Sequence[str], env: dict[str, str], width: int = 80
    ) -> None:
        self.terminal, inner = pty.openpty()
        size = struct.pack("HHHH", 40, width, 0, 0)
        fcntl.ioctl(inner, termios.TIOCSWINSZ, size)
        self.inner = inner
        self.screen = ""
        self.process = subprocess.Popen(
            words, env=env, stdin=inner, stdout=inner, stderr=inner,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        )  # fmt: skip

    def read(self, until: str = "") -> str:
        """Return the screen once `until` stands on it, or the program has ended."""
        deadline = time.monotonic() + PATIENCE
        while not (until and until in self.screen):
            ended = self.process.poll() is not None
            if select.select([self.terminal], [], [], 0.05)[0]:
                text = os.read(self.terminal, 65536).decode()
                self.screen += text.replace("\r\n", "\n")
            elif ended and not until:
                break
            assert time.monotonic() < deadline, self.screen
        return self.screen

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self.terminal, text.encode())

    def close(self) -> int:
        """Wait for the program's end; return its status."""
        self.read()
        os.close(self.terminal)
        os.close(self.inner)
        return self.process.wait(PATIENCE)


@pytest.mark.parametrize("width", WIDTHS)
def test_offers_at_a_real_terminal(box: Sandbox, tmp_path: Path, width: int) -> None:
    words = [SCRIPT, "search", "offers", "--limit", "5"]
    terminal = Terminal(words, script_environment(box, tmp_path), width)
    screen = terminal.read()
    assert terminal.close() == 0
    table = [line for line in screen.splitlines() if not line.startswith("vast.py: ")]
    assert len(table) == 6
    assert 0.8 * width < max(map(vast.width, table)) <= width
    assert screen.endswith("vast.py: 5 offers\n")


def key_environment(box: Sandbox, home: Path) -> dict[str, str]:
    """Return an environment without a key."""
    return script_environment(box, home) | {"VAST_API_KEY": ""}


@pytest.mark.parametrize("words", [[], ["-"], ["--check"]])
def test_a_key_is_asked_for_without_echo(
    box: Sandbox, tmp_path: Path, words: list[str]
) -> None:
    line = [
        SCRIPT,
        "set",
        "api-key",
        *(["-", "--check"] if "--check" in words else words),
    ]
    terminal = Terminal(line, key_environment(box, tmp_path))
    assert terminal.read("API key: ") == "API key: "
    time.sleep(0.2)  # until the echo is off
    terminal.type(f"{box.key}\n")
    screen = terminal.read()
    assert terminal.close() == 0
    assert box.key not in screen
    file = tmp_path / ".vast_api_key"
    assert screen.endswith(f"API key saved to {file}\n")
    assert file.read_text() == f"{box.key}\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_empty_key_at_the_prompt(box: Sandbox, tmp_path: Path) -> None:
    terminal = Terminal([SCRIPT, "set", "api-key"], key_environment(box, tmp_path))
    terminal.read("API key: ")
    time.sleep(0.2)
    terminal.type("\n")
    screen = terminal.read()
    assert terminal.close() == 2
    assert screen.endswith("vast.py: no API key was given\n")
    assert not (tmp_path / ".vast_api_key").exists()


@pytest.mark.parametrize(("answer", "status"), [("n", 3), ("y", 0)])
def test_a_question_goes_to_the_terminal(
    box: Sandbox, tmp_path: Path, answer: str, status: int
) -> None:
    rent(box, 5001, label="exp1")
    gpu = box.market.own_rows()[0]["gpu_name"]
    line = (
        f"{shlex.quote(SCRIPT)} destroy instance 5001 >{tmp_path}/out 2>{tmp_path}/err"
    )
    terminal = Terminal(["sh", "-c", line], script_environment(box, tmp_path))
    question = f"destroy instance 5001 (exp1, {gpu}) and all data on its disk? [y/N] "
    assert terminal.read("[y/N] ") == question
    terminal.type(f"{answer}\n")
    assert terminal.close() == status
    assert box.market.destroyed == ([5001] if status == 0 else [])


# ---------------------------------------------------------------- its own name


@pytest.mark.parametrize("name", ["vast.py", "vast", "my-vast"])
@pytest.mark.parametrize("how", ["path", "folder", "whole"])
def test_the_name_that_it_was_started_with(
    box: Sandbox, tmp_path: Path, name: str, how: str
) -> None:
    link = tmp_path / name
    link.symlink_to(SCRIPT)
    typed = {"path": name, "folder": f"./{name}", "whole": str(link)}[how]
    env = script_environment(box, tmp_path)
    if how == "path":
        env["PATH"] = f"{tmp_path}{os.pathsep}{env['PATH']}"

    def err(*words: str, **more: str) -> str:
        line = shlex.join([typed, *words])
        ran = subprocess.run(
            ["sh", "-c", line], env={**env, **more}, cwd=tmp_path, capture_output=True
        )
        return ran.stderr.decode()

    assert err("frob") == f"{name}: unknown command 'frob'; see {typed} help\n"
    assert err("show", "user", VAST_API_KEY="").endswith(f": {typed} set api-key\n")
    assert err("show", "user", "--x").endswith(f"; see {typed} show user --help\n")
    assert err().startswith(f"usage: {typed} COMMAND ")


def test_the_name_as_a_module(box: Sandbox, tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, SCRIPT, "frob"],
        env=script_environment(box, tmp_path),
        capture_output=True,
    )
    told = f"vast.py: unknown command 'frob'; see {SCRIPT} help\n"
    assert (ran.returncode, ran.stderr.decode()) == (2, told)


# ---------------------------------------------------------------- first steps


def test_the_same_hint_for_every_missing_key(box: Sandbox, tmp_path: Path) -> None:
    program = Program(tmp_path, box)
    hint = (
        "get a key at https://cloud.vast.ai/manage-keys/ and save it with:"
        " vast.py set api-key"
    )
    for env in ({"VAST_API_KEY": ""}, {"VAST_API_KEY": "wrong"}):
        for line in (
            "show user", "show instances", "search offers", "ssh-url 7",
            "create instance 7 --image x", "destroy instance 7", "set api-key --check",
        ):  # fmt: skip
            error = complaint(program(*line.split(), env=env), 4)
            assert error.endswith(f"; {hint}")
            assert "wrong" not in error


def test_from_nothing_to_an_instance_and_back(box: Sandbox, tmp_path: Path) -> None:
    program = Program(tmp_path, box)
    program.environ["VAST_API_KEY"] = ""
    assert program("show", "user").status == 4
    assert program("set", "api-key", "-", stdin=box.key).status == 0
    assert program("set", "api-key", "--check").out.startswith("the API key works: ")
    query = "num_gpus=1 gpu_name=RTX_4090 R>95"
    offers = program("search", "offers", query, "-o", "$/hr", "-q").out.split()
    ran = program("create", "instance", offers[0], "--image", "pytorch/pytorch",
                  "--label", "exp1", "--wait")  # fmt: skip
    assert ran.status == 0
    created, url = ran.out.splitlines()
    assert re.fullmatch(r"ssh://root@\S+:\d+", url)
    number = created.removeprefix("Created instance ")
    found = program("show", "instances", "label=exp1 status=running", "-q").out.split()
    assert found == [number]
    assert program("ssh-url").out == f"{url}\n"
    assert program("stop", "instance", number, "--wait").status == 0
    destroyed = program("destroy", "instance", *found, "--wait")
    assert destroyed[:2] == (0, f"instance {number}: destroying\n")
    assert program("show", "instances", "-q") == (0, "", "")


# ---------------------------------------------------------------- plain English

# Wording that reads as if it were translated: none of it is ever printed.
TRANSLATED = """\
    in vain
    the person
    may be changed or not
    look before repeating
    started since with
    Started. instance
    until it is so
    several are taken too
    so many
    keep your API key
    kept in
    is kept
    give an instance back
    its data are lost
    take a machine's default job away
    the most that is
    takes back
    leave the heading out
    how often a failed call
    goes with:
    go with:
    is one word too many
    a value is missing behind
    ' is not on-demand
    is no id
    is no date
    here a comparison
    is said twice
    to mend it
    the service fails
    cannot show
    ? there
    1 GPUs
    1 months
    do not pay
    Without a word from you
    report a hole
    to be had
    said
    blank
    behind
    besides
    no_such_ask""".splitlines()
# Among them words that are fine within others.
UNWANTED = re.compile(
    r"(?<![\w-])("
    + "|".join(re.escape(each.strip()) for each in TRANSLATED)
    + r")(?!\w)",
    re.IGNORECASE,
)
LINES = """
    frob
    reboot
    create instance
    create instance abc --image x
    create instance 7
    create instance 7 --image x --disk 1
    create instance 7 --image x --jupyter --args x
    create instance 7 --image x --onstart a --onstart-cmd b
    create instance 7 --image x --env x
    create instance 7 --image x --env --x
    create instance 7 --image x --template_hash
    create instance 7 --image x --create-volume 5
    create instance 99 --image x
    create instance {offer} --image x
    create instance {offer} --image x --max-price 0.0001
    create instance {offer} --image x --label
    launch instance -g RTX_4090 -n 1 -i x
    launch instance -g RTX4090 -n 1 -i x
    show instances
    show instances labl=x
    show instances extra
    show instances --cols x
    show instances --json
    show instance 99
    start instance 99
    start instance 5001 --wait --timeout 0
    stop instance 5001 99
    label instance 5001 exp1 exp2
    label instance 5001 exp1
    change bid 5001
    change bid 5001 --price x
    recycle instance 5001
    destroy instance 5001 --schedule
    destroy instance 5001 --day 3
    destroy instance 5001 --schedule SOMETIMES
    ssh-url 99
    ssh-url
    scp-url
    search offers --type spot
    search offers --type
    search offers --limit 0
    search offers 4
    search offers num_gpus
    search offers num_gpus=
    search offers num_gpus=x
    search offers num_gpus=1 num_gpus=2
    search offers geolocation=Germany
    search offers reliability>98
    search offers gpu_ram>=24576
    search offers gpu_name=RTX4090
    search offers num_gpus=any num_gpus!=any
    search offers 'gpu_name="A'
    search offers 'num_gpus in [1'
    search offers 'num_gpus in []'
    search offers 'num_gpus in 4'
    search offers num_gpus=[4]
    search offers num_gpus>none
    search offers -o x
    search offers -o 'dph down'
    list machine 7101 --price_gpu 0.5 --min_chunk 2 --duration 30
    list machine 7101 --end_date 2026-13
    list machine 7101 --end_date 2020-01-01
    list machine 7101 --discount_rate 2
    unlist machine 7101
    unlist machine 99
    set min-bid 7101
    set min-bid 7101 0.5
    set min-bid 7101 --price 0.5
    set defjob 7101 --price_gpu 1 --price_inetu 1 --price_inetd 1 --image x
    remove defjob 7101
    show machines
    show invoices -s 2026-13
    show invoices -s 2027 -e 2026
    show invoices -c -p
    show invoices
    show user
    show user --url ftp://x
    show user --retry x
    show user extra
    set api-key 'a b'
    set api-key k --dry-run
    create account
    login
    completion fish
    help frob
""".strip().splitlines()


def test_what_is_printed_is_plain_english(run: Program, box: Sandbox) -> None:
    printed = {}
    for line in LINES:
        if not box.market.own_rows():
            rent(box, 5001)
        words = shlex.split(line.replace("{offer}", str(an_offer(box))))
        ran = run(*words, stdin="n\n")
        printed[line] = ran.err + (ran.out if ran.out.count("\n") < 5 else "")
    for fault in ("500", "drop_after", "not_json", "401", "429_text", "404"):
        offer = str(an_offer(box))
        for line in (f"create instance {offer} --image x --label exp1", "show user"):
            box.fault("create" if "create" in line else "user", fault, times=None)
            printed[f"{fault}: {line}"] = run(*line.split(), "--retry", "1").err
            box.faults.clear()
    topics = [*vast.COMMAND_BY_NAME, *vast.TOPICS, *vast.VERBS, ""]
    for topic in topics:
        printed[f"help {topic}"] = run("help", *topic.split()).out
    found = {
        line: match[0]
        for line, text in printed.items()
        if (match := UNWANTED.search(text))
    }
    assert found == {}, json.dumps(found, indent=1)


@pytest.mark.parametrize("error", ["500", "503"])
def test_a_server_error_is_plain_english(
    run: Program, box: Sandbox, error: str
) -> None:
    box.fault("user", error, times=None)
    assert complaint(run("show", "user"), 5) == f"server error (HTTP {error})"
