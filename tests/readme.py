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
    """Return the commands, one a line, by the groups of the main help."""
    rows = ["| command | what it does |", "|---|---|"]
    for group, commands in vast.GROUPS.items():
        rows.append(f"| **{group}** | |")
        rows += [f"| {named(c)} | {c.help} |" for c in commands if not c.hidden]
    return "\n".join(rows)


def named(command: vast.Command) -> str:
    """Return a command's name, and its other names."""
    others = "".join(f", `{name}`" for name in command.aliases)
    return f"`{command.name}`{others}"


def statuses() -> str:
    """The exit statuses as the program's docstring has them, as a table."""
    text = re.sub(r"\n {9}", " ", vast.exit_statuses())  # lines that go on
    found = re.findall(r"^ +(\d+) +(.+)$", text, re.MULTILINE)
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
