"""Completion: the scripts of `completion`, read and used by the real shells.

Each shell sits at a terminal of its own, where a line and a TAB are typed.
"""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import vast
from conftest import Program

TAB, SHOW_LINE = "\t", "\x07"
PATIENCE = 20.0  # seconds until a shell must have answered

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
    """A shell at a terminal, in a folder of its own, with the script read."""

    def __init__(self, name: str, home: Path) -> None:
        ran = Program(home)("completion", name)
        assert (ran.status, ran.err) == (0, "")
        self.terminal, inner = pty.openpty()
        self.answers, answering = os.pipe()
        probe = PROBE[name].replace("@OUT@", str(answering))
        (home / "script").write_text(ran.out)
        (home / ".zshrc").write_text(probe)
        self.process = subprocess.Popen(
            START[name],
            cwd=home,
            env={"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "dumb"},
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
        """The words that the shell found, and the line behind them."""
        said, screen, until = b"", b"", time.monotonic() + PATIENCE
        while not (b"=" in said and said.endswith(b"\n")):
            ready, _, _ = select.select([self.answers, self.terminal], [], [], 1)
            if self.terminal in ready:
                screen += os.read(self.terminal, 65536)
            if self.answers in ready:
                said += os.read(self.answers, 65536)
            assert time.monotonic() < until, f"no answer: {screen!r}"
        *found, line = said.decode().splitlines()
        return sorted(set(filter(None, found))), line.removeprefix("=")

    def complete(self, typed: str) -> tuple[list[str], str]:
        """The words found for what is typed, and the line that it becomes."""
        os.write(self.terminal, f"{typed}{TAB}{SHOW_LINE}".encode())
        return self.answer()

    def close(self) -> None:
        """Ends the shell."""
        os.close(self.terminal)
        os.close(self.answers)
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module", params=START)
def shell(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shell]:
    """Each of the shells, in a folder with a file and a folder."""
    home = tmp_path_factory.mktemp(request.param)
    (home / "start it.sh").touch()
    (home / "folder").mkdir()
    shell = Shell(request.param, home)
    yield shell
    shell.close()


NAMES = [name for command in vast.COMMANDS for name in (command.name, *command.aliases)]
VERBS = sorted({name.split()[0] for name in NAMES})
COMMON = "--api-key --dry-run --help --raw --retry --url -h".split()
RENTALS = ["bid", "interruptible", "on-demand", "reserved"]

FOUND = {
    "the verbs": ("vast.py ", VERBS),
    "a verb": ("vast.py sea", ["search"]),
    "verbs that start alike": ("vast.py s", [it for it in VERBS if it[0] == "s"]),
    "no verb": ("vast.py frob", []),
    "the program's options": ("vast.py -", sorted([*COMMON, "--version"])),
    "an option of the program": ("vast.py --ver", ["--version"]),
    "in this folder": ("./vast.py sea", ["search"]),
    "by a path": ("/opt/vast/vast.py sea", ["search"]),
    "from the home": ("~/bin/vast.py sea", ["search"]),
    "the objects of a verb": ("vast.py search ", ["instances", "offers"]),
    "the only object": ("vast.py change ", ["bid"]),
    "an object": ("vast.py show inv", ["invoices"]),
    "objects that start alike": ("vast.py set ", ["api-key", "defjob", "min-bid"]),
    "options behind a verb": ("vast.py search --u", ["--url"]),
    "an option before the command": ("vast.py --raw show us", ["user"]),
    "a value before the command": ("vast.py --retry 2 show us", ["user"]),
    "a value like a command": ("vast.py --api-key show search o", ["offers"]),
    "an address before the command": ("vast.py --url http://[::1]:80 sea", ["search"]),
    "an option within the command": ("vast.py show --raw us", ["user"]),
    "an option of the command": ("vast.py search offers --dis", ["--disable-bundling"]),
    "an option of its alias": ("vast.py search instances --lim", ["--limit"]),
    "an option behind arguments": ("vast.py destroy instance 1 2 --y", ["--yes"]),
    "an option with an underscore": ("vast.py list machine --price_g", ["--price_gpu"]),
    "a command with an underscore": ("vast.py set min_bid 1 --p", ["--price"]),
    "an option that is not shown": ("vast.py create instance 1 --ext", []),
    "options where no word can be": (
        "vast.py show user ",
        sorted([*COMMON, "--cols", "--no-header", "--quiet", "-q"]),
    ),
    "the values of an option": ("vast.py search offers --type ", RENTALS),
    "a value of an option": ("vast.py search offers -t res", ["reserved"]),
    "a value behind =": ("vast.py search offers --type=int", ["interruptible"]),
    "the values behind =": ("vast.py search offers --type=", RENTALS),
    "a short option of two commands": ("vast.py list machine 1 -r ", []),
    "a value that can be anything": ("vast.py search offers --order ", []),
    "an option behind a value": ("vast.py search offers -o dph --st", ["--storage"]),
    "an option behind = and a value": ("vast.py help --retry=2 --ra", ["--raw"]),
    "the argument's values": ("vast.py completion ", ["bash", "zsh"]),
    "an argument's value": ("vast.py completion z", ["zsh"]),
    "the topics of help": ("vast.py help e", ["environment", "exit-codes"]),
    "the commands of help": ("vast.py help ge", ["generate"]),
    "the objects in help": ("vast.py help set m", ["min-bid"]),
    "what is behind --args": ("vast.py create instance 1 --args run --im", []),
}  # fmt: skip


@pytest.mark.parametrize(("typed", "found"), FOUND.values(), ids=FOUND)
def test_words(shell: Shell, typed: str, found: list[str]) -> None:
    assert shell.complete(typed)[0] == found


@pytest.mark.parametrize("name", NAMES)
def test_options_of_every_command(shell: Shell, name: str) -> None:
    command = vast.COMMAND_BY_NAME[name]
    own = [it for it in command.arguments() if it.help != "-"]
    options = {option for it in own for option in it.names}
    found, _ = shell.complete(f"vast.py {name} -")
    assert found == sorted(options | set(COMMON))


LINES = {
    "a verb": ("vast.py sea", "vast.py search "),
    "an object": ("vast.py search of", "vast.py search offers "),
    "an option": ("./vast.py show user --qu", "./vast.py show user --quiet "),
    "what several share": ("vast.py --re", "vast.py --retry "),
    "a value": ("vast.py completion b", "vast.py completion bash "),
    "a value behind =": (
        "vast.py search offers --type=res",
        "vast.py search offers --type=reserved ",
    ),
    "a file": (
        "vast.py create instance 1 --onstart sta",
        r"vast.py create instance 1 --onstart start\ it.sh ",
    ),
    "a file behind =": (
        "vast.py generate pdf-invoices --output=sta",
        r"vast.py generate pdf-invoices --output=start\ it.sh ",
    ),
    "a folder": (
        "vast.py generate pdf-invoices -o fol",
        "vast.py generate pdf-invoices -o folder/",
    ),
    "no file where none is meant": (
        "vast.py create instance 1 --image sta",
        "vast.py create instance 1 --image sta",
    ),
}


@pytest.mark.parametrize(("typed", "line"), LINES.values(), ids=LINES)
def test_line(shell: Shell, typed: str, line: str) -> None:
    assert shell.complete(typed)[1] == line
