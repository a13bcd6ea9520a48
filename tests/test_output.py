"""What is written where nobody reads, nothing fits, or somebody pressed Ctrl-C: in this
process, what test_client.py does to the program itself."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

import pytest

import vast
from conftest import Program, Ran, Stream
from sandbox import Sandbox


class Bad(Stream):
    """A stream in which nothing can be written."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> NoReturn:
        raise OSError(self.number, os.strerror(self.number))


def version(out: Stream | None, err: Stream | None) -> int:
    """The status of `--version` with these streams."""
    return vast.main(["--version"], vast.Environment(out, err, environ={}))


@pytest.mark.parametrize(
    ("out", "says"),
    [
        (None, "stdout is closed"),
        (Bad(errno.ENOSPC), "No space left on device"),
    ],
    ids=["closed", "full"],
)
def test_what_cannot_be_written_is_said_on_stderr(
    out: Stream | None, says: str
) -> None:
    err = Stream()
    assert version(out, err) == vast.ExitStatus.REFUSED
    message = f"vast.py: cannot write to stdout: {says}\nvast.py {vast.__version__}\n"
    assert err.text() == message


def test_json_that_cannot_be_written_is_whole_on_stderr(tmp_path: Path) -> None:
    err, words = Stream(), ["set", "api-key", "k", "--dry-run", "--raw"]
    env = vast.Environment(Bad(errno.ENOSPC), err, environ={"HOME": str(tmp_path)})
    assert vast.main(words, env) == vast.ExitStatus.REFUSED
    path = json.dumps(str(tmp_path / ".vast_api_key"))
    assert err.text().endswith(f'device\n{{"path": {path}}}\n')


def test_a_closed_pipe_is_no_error() -> None:
    err = Stream()
    assert version(Bad(errno.EPIPE), err) == vast.ExitStatus.SUCCESS
    assert err.text() == ""


def test_a_file_takes_the_place_of_a_broken_one(tmp_path: Path) -> None:
    with open(tmp_path / "out", "w", encoding="utf-8") as stream:
        vast.discard(stream).close()
        stream.write("lost")
    assert (tmp_path / "out").read_text() == ""


@pytest.mark.parametrize("err", [None, Bad(errno.ENOSPC)], ids=["closed", "full"])
def test_talk_that_nobody_can_hear_changes_nothing(err: Stream | None) -> None:
    env = vast.Environment(Stream(), err, environ={})
    assert vast.main(["no", "such"], env) == vast.ExitStatus.USAGE
    assert vast.main(["--version"], env) == vast.ExitStatus.SUCCESS


@pytest.mark.parametrize(
    ("words", "doubt"),
    [
        ("show machines", ""),
        (
            "start instance 5",
            "; instance 5 may or may not have been changed;"
            " run `vast.py show instances` before retrying",
        ),
    ],
    ids=["a read", "a change"],
)
def test_ctrl_c_while_waiting(
    run: Program, box: Sandbox, words: str, doubt: str
) -> None:
    def pressed(seconds: float) -> NoReturn:
        raise KeyboardInterrupt

    box.fault("*", "429_text")
    ran = run(*words.split(), sleep=pressed)
    assert ran == Ran(130, "", f"vast.py: interrupted{doubt}\n")


def test_ctrl_c_before_anything_is_sent(
    offline: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*words: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(vast, "find_command", pressed)
    assert offline("help") == Ran(130, "", "vast.py: interrupted\n")


def test_without_streams_nothing_is_said_and_nobody_asked() -> None:
    env = vast.Environment()
    env.note("a note")
    env.progress("some progress")
    env.confirm("really?")
    assert (env.read_line(), env.columns()) == ("", None)


def test_the_program_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["vast.py", "--version"])
    with pytest.raises(SystemExit, match=r"^0$"):
        vast.program()
    assert capsys.readouterr() == (f"vast.py {vast.__version__}\n", "")
