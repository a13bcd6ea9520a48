"""Completion: what `vast.py complete` offers, and the scripts of `completion`, read and
used by the real shells.

Each shell sits at a terminal of its own, where a line and a TAB are typed.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import vast
from conftest import Program

# ---------------------------------------------------------------- the candidates

SHOWN = [command for command in vast.COMMANDS if not command.hidden]
NAMES = [name for command in SHOWN for name in (command.name, *command.aliases)]
VERBS = {name.split()[0] for name in NAMES}
COMMON = set("--api-key --dry-run --help --raw --retry --url -h".split())
RENTALS = {"bid", "interruptible", "on-demand", "reserved"}
FIELDS = {field.name for field in vast.FIELDS}
HEADINGS = {column.heading for column in vast.OFFER_COLUMNS}


def compared(*names: str) -> set[str]:
    """Return the starts of comparisons, offered once only one name is left."""
    return {name + sign for name in names for sign in ("=", "!=", ">=", "<=")}


def objects(verb: str) -> set[str]:
    """Return the words that follow a verb in the names of commands."""
    return {name.split()[1] for name in NAMES if name.startswith(f"{verb} ")}


def offered(program: Program, *words: str) -> dict[str, str]:
    """Return what is offered for the last of the words, with its help."""
    ran = program("complete", "--", *words)
    assert (ran.status, ran.err) == (0, "")
    pairs = [line.partition("\t") for line in ran.out.splitlines()]
    found = {word: help for word, _, help in pairs}
    assert len(found) == len(pairs)
    return found


# What is typed, the last word after the last space -> what is offered.
OFFERED: dict[str, set[str]] = {
    "": VERBS,
    "sea": {"search"},
    "s": {verb for verb in VERBS if verb[0] == "s"},
    "frob": set(),
    "frob x": set(),
    "-": COMMON | {"--version"},
    "--ver": {"--version"},
    "search ": objects("search"),
    "change ": {"bid"},
    "show inv": {"invoices", "invoices-v1"},
    "show inv x": set(),
    "set ": objects("set"),
    "search --u": {"--url"},
    "--raw show us": {"user"},
    "--retry 2 show us": {"user"},
    "--retry=2 show us": {"user"},
    "--api-key show search o": {"offers"},
    "--url http://[::1]:80 sea": {"search"},
    "--nothing show us": set(),
    "show --raw us": {"user"},
    "show user --ra": {"--raw"},
    "search offers --dis": {"--disable-bundling"},
    "search instances --lim": {"--limit"},
    "destroy instance 1 2 --y": {"--yes"},
    "list machine --price_g": {"--price_gpu"},
    "set min_bid 1 --p": {"--price"},
    "create instance 1 --ext": set(),
    "show user ": set(),
    "show user x": set(),
    "search offers --type ": RENTALS,
    "search offers -t res": {"reserved"},
    "search offers --type=int": {"--type=interruptible"},
    "search offers --type=": {f"--type={each}" for each in RENTALS},
    "search offers --type=x": set(),
    "list machine 1 -r ": set(),
    "create instance 1 --label ": set(),
    "search offers -o dph --st": {"--storage"},
    "search offers -b --st": {"--storage"},
    "help --retry=2 --ra": {"--raw"},
    "completion ": {"bash", "zsh"},
    "completion z": {"zsh"},
    "help e": {"environment", "execute", "exit-codes"},
    "help ge": {"generate", "get"},
    "help set m": {"min-bid"},
    "create instance 1 --args run --im": set(),
    # Names of fields and columns.
    "search offers ": FIELDS,
    "search offers gpu_n": compared("gpu_name"),
    "search offers num_gpus=2 gpu_n": compared("gpu_name"),
    "search offers gpu_max": {"gpu_max_power", "gpu_max_temp"},
    "search offers gpu_name=RTX": set(),
    "search offers -o ": FIELDS,
    "search offers --order=dlperf_": {"--order=dlperf_usd"},
    "search offers -o dph,dlperf_": {"dph,dlperf_usd"},
    "search offers --cols ": HEADINGS,
    "search offers --cols ID,Net_": {"ID,Net_up", "ID,Net_down"},
    "search offers --cols=ID,Mo": {"--cols=ID,Model"},
    "show machines --cols hos": {"hostname"},
    "show user --cols ": {"Field", "Value"},
    "show instances lab": compared("label"),
    "show machines gpu_": {"gpu_name", "gpu_occupancy"},
    # Files.
    "create instance 1 --onstart ": {"/"},
    "create instance 1 --onstart=sta": {"/"},
    "generate pdf-invoices -o x": {"/"},
    "create instance 1 --image sta": set(),
}


@pytest.mark.parametrize("typed", OFFERED)
def test_offered(offline: Program, typed: str) -> None:
    assert set(offered(offline, *typed.split(" "))) == OFFERED[typed]


# The same as bash hands them over, which splits words at = and at colons, and hands
# over the quote that a word begins with.
SPLIT: dict[tuple[str, ...], set[str]] = {
    ("search", "offers", "--type", "=", "int"): {"interruptible"},
    ("search", "offers", "--type", "="): RENTALS,
    ("--retry", "=", "2", "show", "us"): {"user"},
    ("--url", "http", ":", "//[", "::", "1]", ":", "80", "sea"): {"search"},
    ("search", "offers", "--cols", "=", "ID,Mo"): {"ID,Model"},
    ("search", "offers", "num_gpus", "=", "2", "gpu_n"): compared("gpu_name"),
    ("search", "offers", "num_gpus", "=", "2"): set(),
    ("search", "offers", "'num_gpus>=4 gpu_n"): compared("num_gpus>=4 gpu_name"),
    ("search", "offers", '"num_gpus>=4,gpu_n'): compared("num_gpus>=4,gpu_name"),
    ("search", "offers", "'"): FIELDS,
    ("generate", "pdf-invoices", "--output", "=", "sta"): {"/"},
    (): VERBS,
}


@pytest.mark.parametrize("words", SPLIT, ids=" ".join)
def test_offered_in_bash(offline: Program, words: tuple[str, ...]) -> None:
    assert set(offered(offline, *words)) == SPLIT[words]


@pytest.mark.parametrize("name", NAMES)
def test_options_of_every_command(offline: Program, name: str) -> None:
    command = vast.COMMAND_BY_NAME[name]
    own = {flag for arg in command.args if arg.help for flag in arg.flags}
    assert set(offered(offline, *name.split(), "-")) == own | COMMON


def test_what_is_offered_has_its_help(offline: Program) -> None:
    assert offered(offline, "show", "us") == {"user": "show your account"}
    assert offered(offline, "show", "user", "--ra") == {"--raw": "print JSON"}
    fields = offered(offline, "search", "offers", "gpu_n")
    assert set(fields.values()) == {"model, such as RTX_4090 or H100_SXM"}
    columns = offered(offline, "show", "machines", "--cols", "hos")
    assert all(columns.values())


def test_nothing_is_sent(run: Program) -> None:
    offered(run, "destroy", "instance", "5001", "")
    assert run.box
    assert not run.box.calls


# ---------------------------------------------------------------- the shells

TAB, SHOW_LINE = "\t", "\x07"
PATIENCE = 30.0  # seconds until a shell must have answered

# What each shell is started with, and what it reads first, in a file named as zsh has
# it: the script itself, then what writes the words found, a line each, and on ^G "="
# and the line as it stands, to the file descriptor @OUT@.
START = {
    "bash": ["bash", "--noprofile", "--rcfile", ".zshrc", "-i"],
    "zsh": ["zsh", "-i"],
}
PROBE = {
    "bash": """
        source ./script
        eval "$(declare -f _vast | sed '1s/_vast/_vast_itself/')"
        _vast() { _vast_itself "$@"; printf '%s\\n' "${COMPREPLY[@]}" >&@OUT@; }
        show_line() { echo "=$READLINE_LINE" >&@OUT@; READLINE_LINE=; }
        bind -x '"\\C-g": show_line'
        PROMPT_COMMAND='echo =ready >&@OUT@'
    """,
    "zsh": """
        source ./script
        compadd() {
            if (( ! ${@[(I)-[ADO]]} )); then
                local -a found
                builtin compadd -O found "$@"
                print -rl -- $found >&@OUT@
            fi
            builtin compadd "$@"
        }
        show_line() { print -r -- "=$BUFFER" >&@OUT@; BUFFER= }
        zle -N show_line
        bindkey '^G' show_line
        setopt no_auto_list
        precmd() { print "=ready" >&@OUT@ }
    """,
}


class Shell:
    """A shell at a terminal, in a home of its own, with the script read."""

    def __init__(self, name: str, home: Path) -> None:
        ran = Program(home)("completion", name)
        assert (ran.status, ran.err) == (0, "")
        assert len(ran.out.splitlines()) <= 12
        self.terminal, inner = pty.openpty()
        self.answers, answering = os.pipe()
        probe = PROBE[name].replace("@OUT@", str(answering))
        (home / "script").write_text(ran.out)
        (home / ".zshrc").write_text(probe)
        python = Path(sys.executable).parent
        path = os.pathsep.join([f"{home}/bin", str(python), os.environ["PATH"]])
        self.process = subprocess.Popen(
            START[name],
            cwd=home,
            env={"PATH": path, "HOME": str(home), "TERM": "dumb"},
            stdin=inner,
            stdout=inner,
            stderr=inner,
            pass_fds=[answering],
            start_new_session=True,
        )
        os.close(inner)
        os.close(answering)
        assert self.answer() == ([], "ready")

    def answer(self) -> tuple[list[str], str]:
        """Return the words that the shell found, and the line after them."""
        told, screen, until = b"", b"", time.monotonic() + PATIENCE
        while not re.search(rb"(^|\n)=.*\n\Z", told):
            ready, _, _ = select.select([self.answers, self.terminal], [], [], 1)
            if self.terminal in ready:
                screen += os.read(self.terminal, 65536)
            if self.answers in ready:
                told += os.read(self.answers, 65536)
            assert time.monotonic() < until, f"no answer: {screen!r}"
        *found, line = told.decode().splitlines()
        return sorted(set(filter(None, found))), line.removeprefix("=")

    def complete(self, typed: str) -> tuple[list[str], str]:
        """Return the words found for what is typed, and the line that it becomes."""
        os.write(self.terminal, f"{typed}{TAB}{SHOW_LINE}".encode())
        return self.answer()

    def close(self) -> None:
        """End the shell."""
        os.close(self.terminal)
        os.close(self.answers)
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module", params=START)
def shell(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shell]:
    """Return each of the shells, in a home with the program, a file and a folder."""
    if not shutil.which(request.param):
        pytest.skip(f"needs {request.param}")
    home = tmp_path_factory.mktemp(request.param)
    (home / "bin").mkdir()
    shutil.copy(vast.__file__, home / "bin" / "vast.py")
    (home / "bin" / "vast").symlink_to("vast.py")
    (home / "vast.py").symlink_to("bin/vast.py")
    (home / "start up.sh").touch()
    (home / "folder").mkdir()
    shell = Shell(request.param, home)
    yield shell
    shell.close()


FOUND: dict[str, tuple[str, set[str]]] = {
    "the verbs": ("vast.py ", VERBS),
    "a verb": ("vast.py sea", {"search"}),
    "no verb": ("vast.py frob", set()),
    "the program's options": ("vast.py -", COMMON | {"--version"}),
    "without its ending": ("vast sea", {"search"}),
    "in this folder": ("./vast.py sea", {"search"}),
    "from the home": ("~/bin/vast.py sea", {"search"}),
    "an object": ("vast.py show inv", {"invoices", "invoices-v1"}),
    "an address before the command": ("vast.py --url http://[::1]:80 sea", {"search"}),
    "an option within the command": ("vast.py show --raw us", {"user"}),
    "an option of the command": ("vast.py search offers --dis", {"--disable-bundling"}),
    "help is not shown": ("vast.py show user --help --ra", {"--raw"}),
    "the values of an option": ("vast.py search offers --type ", RENTALS),
    "a value after =": ("vast.py help --retry=2 --ra", {"--raw"}),
    "the topics of help": ("vast.py help e", {"environment", "execute", "exit-codes"}),
    "columns": ("vast.py search offers --cols ID,Net_", {"ID,Net_up", "ID,Net_down"}),
    "a field in a query": (
        "vast.py search offers 'num_gpus>=4 gpu_max_",
        {"num_gpus>=4 gpu_max_power", "num_gpus>=4 gpu_max_temp"},
    ),
    "what is behind --args": ("vast.py create instance 1 --args run --im", set()),
}  # fmt: skip


@pytest.mark.parametrize(("typed", "found"), FOUND.values(), ids=FOUND)
def test_words(shell: Shell, typed: str, found: set[str]) -> None:
    assert shell.complete(typed)[0] == sorted(found)


LINES = {
    "a verb": ("vast.py sea", "vast.py search "),
    "an object": ("vast.py search of", "vast.py search offers "),
    "an option": ("./vast.py show user --wi", "./vast.py show user --wide "),
    "what several share": ("vast.py --re", "vast.py --retry "),
    "a value": ("vast.py completion b", "vast.py completion bash "),
    "a value after =": (
        "vast.py search offers --type=res",
        "vast.py search offers --type=reserved ",
    ),
    "a field in a query": (
        "vast.py search offers 'num_gpus>=4 gpu_max",
        "vast.py search offers 'num_gpus>=4 gpu_max_",
    ),
    "the only field in a query": (
        "vast.py search offers 'num_gpus>=4 gpu_na",
        "vast.py search offers 'num_gpus>=4 gpu_name",
    ),
    "the only field without quotes": (
        "vast.py search offers num_gpus=4 gpu_na",
        "vast.py search offers num_gpus=4 gpu_name",
    ),
    "a column": (
        "vast.py show machines --cols ID,hos",
        "vast.py show machines --cols ID,hostname ",
    ),
    "a sort key": (
        "vast.py search offers -o dlperf_",
        "vast.py search offers -o dlperf_usd ",
    ),
    "a file": (
        "vast.py create instance 1 --onstart sta",
        r"vast.py create instance 1 --onstart start\ up.sh ",
    ),
    "a file after =": (
        "vast.py generate pdf-invoices --output=sta",
        r"vast.py generate pdf-invoices --output=start\ up.sh ",
    ),
    "a folder": (
        "vast.py generate pdf-invoices -o fol",
        "vast.py generate pdf-invoices -o folder/",
    ),
    "no file where none is meant": (
        "vast.py create instance 1 --image sta",
        "vast.py create instance 1 --image sta",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("typed", "line"), LINES.values(), ids=LINES)
def test_line(shell: Shell, typed: str, line: str) -> None:
    assert shell.complete(typed)[1] == line
