"""What few runs meet: programs that cannot start, prompts that end, and the like."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from typing import Any

import pytest
from test_commands import rent

import vast
from conftest import Program, Stream
from sandbox import Sandbox


def environment(**more: Any) -> vast.Environment:
    """Return an environment that writes into memory."""
    return vast.Environment(Stream(), Stream(), Stream(), {}, **more)


def test_a_program_that_cannot_be_started_is_a_usage_error() -> None:
    def execute(name: str, words: Sequence[str]) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    env = environment()
    env.execute = execute
    with pytest.raises(vast.UsageError, match="cannot run ssh: No such file"):
        env.become(["ssh", "-V"])


def test_the_end_of_input_at_a_secret_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(question: str) -> str:
        raise EOFError

    monkeypatch.setattr(getpass, "getpass", end)
    assert environment().prompt("API key: ", secret=True) == ""


def test_the_statuses_are_in_the_help_without_docstrings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = vast.exit_statuses()
    monkeypatch.setattr(vast, "__doc__", None)
    assert vast.exit_statuses() == expected


def test_variables_of_another_shape_stay_as_they_are() -> None:
    assert vast.mask_variables(7) == 7


@pytest.mark.parametrize(
    ("known", "text", "added"),
    [("a", "b", "b"), ("a\n", "a\nb\n", "b\n"), ("a\nb\n", "b\nc\n", "c\n")],
)
def test_what_is_new_in_a_log(known: str, text: str, added: str) -> None:
    assert vast.text_after(known, text) == added


def test_a_question_is_put_even_if_nothing_is_known(run: Program, box: Sandbox) -> None:
    rent(box)
    box.fault("instance", "403", times=None)
    ran = run("destroy", "instance", "5001", terminal=True, stdin="n\n")
    assert ran.status == 3
    assert "destroy instance 5001 and all data on its disk? [y/N]" in ran.err


@pytest.mark.parametrize("secret", [None, "", "\ud800", "two words"])
def test_a_code_without_a_secret(run: Program, box: Sandbox, secret: object) -> None:
    box.fault("tfa_email", "body", body={"success": True, "secret": secret})
    ran = run("tfa", "send-email")
    assert ran.status == 6
    assert ran.err.count("\n") == 1
    assert not (run.home / ".vast_tfa_secret").exists()


@pytest.mark.parametrize("gpus", [10**400, -(10**400)])
def test_more_gpus_than_there_are(run: Program, box: Sandbox, gpus: int) -> None:
    offer = {"id": 1, "gpu_ram": 1.5, "num_gpus": gpus}
    box.fault("search", "body", body={"offers": [offer]})
    ran = run("search", "offers", "--cols", "ID,VRAM")
    assert (ran.status, ran.out) == (0, "ID  VRAM\n 1  -\n".replace("  -", "     -"))


@pytest.mark.parametrize("number", [None, "7", [{}]])
def test_a_template_without_an_id(run: Program, box: Sandbox, number: object) -> None:
    body = {"success": True, "templates": [{"id": number, "name": "x"}]}
    box.fault("templates", "body", body=body)
    ran = run("delete", "template", "x", "-y")
    assert (ran.status, ran.out) == (1, "")
    assert [call.name for call in box.calls] == ["templates"]


@pytest.mark.parametrize(("sign", "text"), [(1, "inf"), (-1, "-inf")])
def test_a_number_that_python_does_not_print(sign: int, text: str) -> None:
    assert vast.format_number(sign * 10**5000, "%.1f") == text
