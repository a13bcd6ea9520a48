"""The README: its generated parts are as the program and the sandbox make them, and
its examples run."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

import vast
from conftest import Program, needs, script_environment
from readme import README, generated
from sandbox import Sandbox

TEXT = README.read_text()
# Indented lines that start a program of ours.
EXAMPLES = re.findall(r"^    (\./vast\.py (?:.*\\\n)*.*)$", TEXT, re.MULTILINE)
PIPED = [line for line in EXAMPLES if " | jq " in line]
TYPED = [line for line in EXAMPLES if " | " not in line]


def test_its_generated_parts_are_up_to_date() -> None:
    assert generated(TEXT) == TEXT, "run: python tests/readme.py"


def test_two_commands_near_the_top_do_all_the_set_up() -> None:
    top = TEXT.partition("\n## ")[0]
    commands = re.findall(r"^    (.*)$", top, re.MULTILINE)
    assert [command.rpartition(" && ")[0] for command in commands] == [
        "python3 -m venv .venv && .venv/bin/pip install -q -r requirements.txt",
        "python3 -m venv .venv && .venv/bin/pip install -q -r tests/requirements.txt",
    ]
    assert [command.rpartition(" && ")[2] for command in commands] == [
        ".venv/bin/python tests/sandbox.py ./vast.py search offers 'num_gpus>=4'",
        ".venv/bin/python -m pytest tests",
    ]


def test_there_are_three_examples_with_jq() -> None:
    assert len(PIPED) == 3


@needs("jq")
@pytest.mark.parametrize("line", PIPED)
def test_jq_example(line: str, box: Sandbox, tmp_path: Path) -> None:
    Program(tmp_path, box)(
        "create", "instance", str(cheapest(box, tmp_path)), "--image", "ubuntu"
    )
    ran = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=README.parent,
        env=script_environment(box, tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    json.loads(ran.stdout)


def cheapest(box: Sandbox, home: Path) -> int:
    """The id of the cheapest offer."""
    ran = Program(home, box)("search", "offers", "-o", "dph", "--limit", "1", "-q")
    return int(ran.out)


@pytest.mark.parametrize("line", sorted(set(TYPED)))
def test_example_is_understood(line: str, run: Program) -> None:
    """Examples have made-up ids, so that a refusal is as good as an answer; what must
    not be is a line that the program does not understand."""
    words = shlex.split(line.replace("\\\n", ""))
    ran = run("--dry-run", *words[1:], stdin="a-key")
    assert ran.status == vast.ExitStatus.SUCCESS, ran.err
