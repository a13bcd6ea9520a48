"""Writes the generated parts of the README again: the reference of commands, the exit
statuses, and what the tours' commands answer in the sandbox.

    python tests/readme.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import vast  # noqa: E402
from sandbox import Sandbox  # noqa: E402

README = HERE.parent / "README.md"
TOUR = re.compile(r"```console\n(.*?)```", re.DOTALL)


def reference() -> str:
    """The commands with their arguments, a table a command."""
    return "\n".join(map(command_reference, vast.COMMANDS))


def command_reference(command: vast.Command) -> str:
    """What the table says of one command."""
    also = "".join(f" (also `{name}`)" for name in command.aliases)
    lines = [f"### `{command.name}`{also}", "", f"{command.help}", ""]
    shown = [it for it in command.arguments() if it.help != "-"]
    if shown:
        lines += ["| argument | |", "|---|---|"]
    for argument in shown:
        names = ", ".join(f"`{name}`" for name in argument.names)
        value = argument.value.rstrip("+*?")
        joined = f"{names} `{value}`" if names and value else names or f"`{value}`"
        lines.append(f"| {joined} | {argument.help.replace('|', chr(92) + '|')} |")
    return "\n".join([*lines, "", f"    ./vast.py {command.example}", ""])


def statuses() -> str:
    """The exit statuses as the program's docstring has them, as a table."""
    found = re.findall(r"^ +(\d+) +(.+)$", vast.statuses_help(), re.MULTILINE)
    rows = [f"| {number} | {text} |" for number, text in found]
    return "\n".join(["| status | when |", "|--:|---|", *rows])


def tours(text: str) -> str:
    """The text with the answers of its tours as the sandbox gives them now."""
    with Sandbox() as box, tempfile.TemporaryDirectory() as home:
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": home,
            "VAST_URL": box.url,
            "VAST_API_KEY": box.key,
            "TZ": "UTC",
        }

        def answered(match: re.Match[str]) -> str:
            commands = re.findall(r"^\$ (.*)$", match[1], re.MULTILINE)
            blocks = [f"$ {it}\n{answer(it, environment)}" for it in commands]
            return f"```console\n{''.join(blocks)}```"

        return TOUR.sub(answered, text)


def answer(command: str, environment: dict[str, str]) -> str:
    """What a command line says on stdout and stderr."""
    ran = subprocess.run(
        ["bash", "-c", f"exec 2>&1; {command}"],
        cwd=README.parent,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return ran.stdout


def between(text: str, mark: str, content: str) -> str:
    """The text with new content between a mark and the end that follows it."""
    pattern = rf"(<!-- {mark} -->\n).*?(<!-- end -->)"
    return re.sub(
        pattern, lambda it: f"{it[1]}{content}\n{it[2]}", text, flags=re.DOTALL
    )


def generated(text: str) -> str:
    """The README's text with all its generated parts made anew."""
    text = between(text, "statuses", statuses())
    return tours(between(text, "reference", reference()))


if __name__ == "__main__":
    README.write_text(generated(README.read_text()))
