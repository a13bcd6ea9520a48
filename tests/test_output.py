"""What is written where nobody reads, nothing fits, or somebody pressed Ctrl-C: in this
process, what test_client.py does to the program itself."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

import vast
from conftest import Plan, Program, Ran, Stream
from sandbox import Reply, Sandbox


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


# --- questions


@pytest.mark.parametrize("err", [None, Stream()], ids=["no stderr", "a file"])
def test_a_question_goes_to_the_terminal(
    err: Stream | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not where stderr goes, when that is elsewhere."""
    terminal = tmp_path / "tty"
    opened = open

    def redirected(path: Any, *args: Any, **more: Any) -> Any:
        return opened(terminal if path == "/dev/tty" else path, *args, **more)

    monkeypatch.setattr("builtins.open", redirected)
    env = vast.Environment(Stream(), err, Stream("y\n", terminal=True))
    env.confirm("really?")
    assert terminal.read_text() == "really? [y/N] "
    assert err is None or err.text() == ""
    with pytest.raises(vast.NotDone):
        env.confirm("really?")


@pytest.mark.parametrize("text", ["-", "typed"])
def test_a_secret_is_asked_for_without_an_echo(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def getpass(prompt: str) -> str:
        asked.append(prompt)
        return "s3cret"

    monkeypatch.setattr("getpass.getpass", getpass)
    env = vast.Environment(Stream(), Stream(), Stream("", terminal=True))
    secret = vast.secret_value(text, env, "API key: ")
    assert (secret, asked) == (
        ("s3cret", ["API key: "]) if text == "-" else ("typed", [])
    )


def test_no_secret_on_stdin() -> None:
    env = vast.Environment(Stream(), Stream(), Stream(""))
    with pytest.raises(vast.UsageError, match=r"^no API key was given$"):
        vast.secret_value("-", env, "API key: ")


# --- what ends a run


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ModuleNotFoundError("no", name="dateutil.parser"),
         "the Python package python-dateutil is missing; run: python3 -m pip install"
         " python-dateutil"),
        (ImportError("odd", name="urllib3"),
         "the Python package urllib3 is broken: odd; run: python3 -m pip install"
         " urllib3"),
    ],
    ids=["missing", "broken"],
)  # fmt: skip
def test_a_package_that_cannot_be_imported(
    error: ImportError, says: str, run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(base: str) -> NoReturn:
        raise error

    monkeypatch.setattr(vast, "http_session", broken)
    assert run("show", "user") == Ran(2, "", f"vast.py: {says}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_once(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one ends the program wherever it is."""
    handlers: dict[int, Any] = {}
    ended: list[int] = []
    monkeypatch.setattr("vast.signal.signal", handlers.__setitem__)
    monkeypatch.setattr(os, "_exit", ended.append)
    with pytest.raises(vast.Signalled) as caught:
        vast.stop(number, None)
    assert caught.value.status == 128 + number
    handlers[number](number, None)
    assert ended == [128 + number]


def test_a_deep_document_is_a_line(run: Program, plan: Plan) -> None:
    deep = b"[" * 900 + b"]" * 900
    plan("user", Reply(200, b'{"id": 1, "odd": %s}' % deep), last=True)
    for more in ([], ["--raw"], ["-q"]):
        ran = run("show", "user", *more)
        assert ran.status in (0, 1)
        assert ran.status == 0 or "nested too deeply" in ran.err


def test_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    out = Stream()
    output = vast.Output(vast.Environment(out, Stream()), raw=False)
    output.show(b"\x1b\x00 as it is")
    assert out.text() == "\x1b\x00 as it is"
    full = Bad(errno.ENOSPC)
    err = Stream()
    output = vast.Output(vast.Environment(full, err), raw=False)
    output.show("lost")
    assert output.status == vast.ExitStatus.REFUSED
    assert err.text().endswith("lost\n")


@pytest.mark.parametrize("words", [["--version"], ["show", "user", "--version"]])
def test_the_version(words: list[str], offline: Program) -> None:
    assert offline(*words) == Ran(0, f"vast.py {vast.__version__}\n", "")
