"""watcher.sh on a terminal of its own: what it draws, and how it stops."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pypdf import PdfReader

from conftest import HERE, script_environment
from sandbox import Sandbox

TOP = HERE.parent
WATCHING = "watcher.sh: watching ./*.py; press Ctrl-C to stop\n"
CHANGED = "watcher.sh: source changed; redrawing the PDF in 1 second\n"
FAILED = "watcher.sh: drawing failed; still watching\n"
STOPPED = "watcher.sh: stopped\n"
PATIENCE = 30  # seconds until a silent terminal is a failure


class Watcher:
    """watcher.sh in the foreground of a terminal, beside a copy of vast.py."""

    def __init__(self, folder: Path, environ: dict[str, str], *words: str) -> None:
        self.folder = folder
        self.terminal, other = pty.openpty()
        self.process = subprocess.Popen(
            ["setsid", "--ctty", "./watcher.sh", *words],
            cwd=folder,
            env=environ,
            stdin=other,
            stdout=other,
            stderr=other,
        )
        os.close(other)

    def until(self, last: str) -> str:
        """Return what it prints from now on, up to and including a text."""
        text = ""
        while not text.endswith(last):
            ready, _, _ = select.select([self.terminal], [], [], PATIENCE)
            assert ready, f"silent after {text!r}"
            text += os.read(self.terminal, 1).decode("latin-1").replace("\r", "")
        return text

    def touch(self) -> None:
        """Change a source file."""
        os.utime(self.folder / "vast.py")

    def programs(self) -> set[str]:
        """Return the programs that are still running in its session."""
        listing = ["ps", "-o", "comm=", "-g", str(self.process.pid)]
        lines = subprocess.run(listing, capture_output=True, text=True).stdout
        return {line for line in lines.splitlines() if "<defunct>" not in line}

    def until_watching(self) -> None:
        """Wait until `watch` is running."""
        deadline = time.monotonic() + PATIENCE
        while "watch" not in self.programs():
            assert time.monotonic() < deadline

    def hang_up(self) -> None:
        """Close the terminal."""
        os.close(self.terminal)
        self.terminal = os.open(os.devnull, os.O_RDONLY)

    def status(self) -> int:
        """Return its exit status, once `watch` has stopped with it."""
        status = self.process.wait(PATIENCE)
        assert "watch" not in self.programs()
        return status


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the two scripts, and a `sleep` that only logs its argument."""
    for name in ("vast.py", "watcher.sh"):
        shutil.copy2(TOP / name, tmp_path)
    programs = tmp_path / "programs"
    programs.mkdir()
    sleep = programs / "sleep"
    sleep.write_text(f'#!/bin/sh\necho "$@" >>"{tmp_path}/slept"\n')
    sleep.chmod(0o755)
    return tmp_path


@pytest.fixture
def watcher(folder: Path, box: Sandbox) -> Iterator[Watcher]:
    """One that draws into a folder that doesn't exist yet."""
    for program in ("ps", "setsid", "watch"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    environ = script_environment(box, folder)
    environ["PATH"] = f"{folder / 'programs'}{os.pathsep}{environ['PATH']}"
    watcher = Watcher(folder, environ, "-q", "-c", "-o", "new folder/invoice.pdf")
    assert watcher.until(WATCHING) == WATCHING
    yield watcher
    if watcher.process.poll() is None:
        os.killpg(watcher.process.pid, signal.SIGKILL)
        watcher.process.wait()
    os.close(watcher.terminal)


def test_a_touch_draws_the_pdf_and_ctrl_c_stops_it(watcher: Watcher) -> None:
    watcher.touch()
    assert watcher.until(FAILED).startswith(f"{CHANGED}vast.py: ")

    pdf = watcher.folder / "new folder/invoice.pdf"
    pdf.parent.mkdir()
    watcher.touch()
    assert watcher.until(".pdf\n") == f"{CHANGED}new folder/invoice.pdf\n"
    assert "Invoice" in PdfReader(pdf).pages[0].extract_text()
    assert (watcher.folder / "slept").read_text() == "1\n" * 2

    os.write(watcher.terminal, b"\x03")
    assert watcher.until(STOPPED).removeprefix("^C") == STOPPED
    assert watcher.status() == 130


@pytest.mark.parametrize(
    ("name", "status"), [("SIGHUP", 129), ("SIGINT", 130), ("SIGTERM", 143)]
)
def test_a_signal_to_the_script_alone_stops_all(
    watcher: Watcher, name: str, status: int
) -> None:
    watcher.until_watching()
    watcher.process.send_signal(signal.Signals[name])
    assert watcher.until(STOPPED) == STOPPED
    assert watcher.status() == status


def test_closing_the_terminal_stops_it(watcher: Watcher) -> None:
    watcher.until_watching()
    watcher.hang_up()
    assert watcher.status() == 129


def test_without_watch_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "bash").symlink_to(str(shutil.which("bash")))
    ran = subprocess.run(
        [TOP / "watcher.sh"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (
        1,
        "",
        "watcher.sh: watch is required: apt-get install procps\n",
    )
