"""How the program starts: the shell's way in, its bytecode, the packages that it needs
and those that lie beside it, older Pythons, and Ctrl-C before it is up."""

from __future__ import annotations

import glob
import importlib.util
import json
import marshal
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import vast
from conftest import script_environment
from sandbox import Sandbox

VERSION = f"vast.py {vast.__version__}\n"


def start(
    words: list[str], environ: dict[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run words in a folder."""
    return subprocess.run(
        words, env=environ, cwd=folder, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a copy of vast.py in it, which never ran."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    shutil.copy(vast.__file__, folder / "vast.py")
    return folder


@pytest.fixture(scope="module")
def ran_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a copy of vast.py, and the bytecode of its first run."""
    folder = tmp_path_factory.mktemp("ran once")
    shutil.copy(vast.__file__, folder / "vast.py")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    assert start(["./vast.py", "--version"], {"PATH": path}, folder).stdout == VERSION
    assert len(bytecode(folder)) == 1
    return folder


@pytest.fixture
def used(ran_once: Path, tmp_path: Path) -> Path:
    """Return a folder with a copy of vast.py whose bytecode is there: it starts soon,
    where the test is not about its first start."""
    return shutil.copytree(ran_once, tmp_path / "a folder")


@pytest.fixture
def environ(box: Sandbox, tmp_path: Path) -> dict[str, str]:
    """Return the environment of a program of its own."""
    return script_environment(box, tmp_path)


def bytecode(folder: Path) -> list[Path]:
    """Return the files of bytecode below a folder."""
    return sorted(folder.rglob("*.pyc"))


# --- bytecode

# How people may have put it somewhere: the copy's name, and what is typed.
WAYS = {
    "its own name": ("vast.py", "./vast.py"),
    "another name": ("my vast", "./my vast"),
    "no name ending": ("vast", "./vast"),
    "a link": ("vast.py", "bin/rent"),
    "on PATH": ("vast.py", "rent"),
    "its whole path": ("vast.py", "{folder}/vast.py"),
}


@pytest.mark.parametrize(("name", "typed"), WAYS.values(), ids=WAYS)
def test_its_bytecode_is_kept(
    environ: dict[str, str], tmp_path: Path, name: str, typed: str
) -> None:
    folder = tmp_path / "a folder"
    (folder / "bin").mkdir(parents=True)
    shutil.copy(vast.__file__, folder / name)
    (folder / "bin" / "rent").symlink_to(folder / name)
    environ["PATH"] = f"{folder}/bin{os.pathsep}{environ['PATH']}"
    environ["PYTHONVERBOSE"] = "1"
    # --dry-run imports shlex, whose bytecode must not be kept there.
    words = ["label", "instance", "7", 'it\'s "$HOME" *\n', "--dry-run"]
    runs = [
        start([typed.format(folder=folder), *words], environ, folder) for _ in range(2)
    ]
    assert runs[0].stdout == runs[1].stdout
    assert shlex.quote(json.dumps({"label": words[3]})) in runs[1].stdout
    (kept,) = bytecode(tmp_path)
    assert kept.parent == folder / "__pycache__"
    read = f"# code object from '{kept}'"
    assert [read in ran.stderr for ran in runs] == [False, True]


def test_no_bytecode_is_written_when_nobody_wants_it(
    environ: dict[str, str], tmp_path: Path, folder: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    environ["PYTHONDONTWRITEBYTECODE"] = "1"
    environ["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    ran = start(["./vast.py", "--version"], environ, folder)
    assert (ran.stdout, ran.stderr) == (VERSION, "")
    assert sorted(tmp_path.rglob("*")) == before


def test_bytecode_goes_where_python_is_told(
    environ: dict[str, str], tmp_path: Path, folder: Path
) -> None:
    environ["PYTHONPYCACHEPREFIX"] = str(tmp_path / "cache")
    for _ in range(2):
        assert start(["./vast.py", "--version"], environ, folder).stdout == VERSION
    (kept,) = (path for path in bytecode(tmp_path) if path.name.startswith("vast."))
    assert kept.is_relative_to(tmp_path / "cache")


@pytest.mark.parametrize("home", ["~", "nonexistent", "", None, "/nonexistent"])
def test_no_folder_appears_in_the_current_one(
    home: str | None, environ: dict[str, str], tmp_path: Path, folder: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        environ.pop(name, None)
        if home is not None:
            environ[name] = home
    ran = start([f"{folder}/vast.py", "--version"], environ, here)
    assert (ran.stdout, ran.stderr) == (VERSION, "")
    assert list(here.iterdir()) == []


def damaged(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what a full disk or somebody else may have made of bytecode."""
    for length in (0, 1, 4, 8, 15, 16, 17, 20, 1000, len(good) // 2, len(good) - 1):
        yield f"{length} bytes", good[:length]
    yield "no code", good[:16] + marshal.dumps(None)
    yield "garbage", good[:16] + bytes(range(256)) * 9
    yield "zeros", good[:16] + bytes(10_000)
    yield "another magic", b"\0\0\0\0" + good[4:]
    yield "another time", good[:8] + b"\0\0\0\0" + good[12:]


def test_damaged_bytecode_is_the_same_as_none(
    environ: dict[str, str], folder: Path
) -> None:
    assert start(["./vast.py", "--version"], environ, folder).returncode == 0
    (kept,) = bytecode(folder)
    for what, content in damaged(kept.read_bytes()):
        kept.write_bytes(content)
        ran = start(["./vast.py", "--version"], environ, folder)
        assert (ran.stdout, ran.stderr, ran.returncode) == (VERSION, "", 0), what


@pytest.mark.parametrize("what", ["a folder", "a file"])
def test_bytecode_that_cannot_be_written(
    what: str, environ: dict[str, str], folder: Path
) -> None:
    assert start(["./vast.py", "--version"], environ, folder).returncode == 0
    (kept,) = bytecode(folder)
    if what == "a folder":
        kept.unlink()
        kept.mkdir()
    else:
        shutil.rmtree(kept.parent)
        kept.parent.write_text("in the way")
    ran = start(["./vast.py", "--version"], environ, folder)
    assert (ran.stdout, ran.stderr, ran.returncode) == (VERSION, "", 0)


def test_a_change_is_noticed(environ: dict[str, str], folder: Path) -> None:
    """By time or by size, as Python itself does with its modules."""
    path = folder / "vast.py"
    assert start(["./vast.py", "--version"], environ, folder).stdout == VERSION
    source = path.read_text()
    path.write_text(source.replace(f'"{vast.__version__}"', '"9.9.90"'))
    assert start(["./vast.py", "--version"], environ, folder).stdout != VERSION


def test_the_same_time_and_size_is_the_same_file(
    environ: dict[str, str], folder: Path
) -> None:
    """So it is for all modules of Python; `touch` is what helps."""
    path = folder / "vast.py"
    assert start(["./vast.py", "--version"], environ, folder).stdout == VERSION
    info = path.stat()
    digits = vast.__version__.translate(str.maketrans("0123456789", "9876543210"))
    path.write_text(path.read_text().replace(f'"{vast.__version__}"', f'"{digits}"'))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert start(["./vast.py", "--version"], environ, folder).stdout == VERSION
    path.touch()
    os.utime(path, (info.st_atime, info.st_mtime + 9))
    ran = start(["./vast.py", "--version"], environ, folder)
    assert ran.stdout == f"vast.py {digits}\n"


def test_no_module_of_the_current_folder_is_imported(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """Not the first of all either."""
    modules = "_signal argparse enum importlib json os re requests signal sys".split()
    for name in modules:
        (tmp_path / f"{name}.py").write_text("print('not this one')\n")
    words = [vast.__file__, "search", "offers", "--limit", "1", "-q"]
    ran = start(words, environ, tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.strip().isdecimal()


@pytest.mark.parametrize("words", ["--version", "--help", "show", "help query"])
def test_a_start_imports_little(
    words: str, environ: dict[str, str], tmp_path: Path
) -> None:
    """What takes as long as all the rest together is imported where it is used."""
    environ["PYTHONPROFILEIMPORTTIME"] = "1"
    ran = start([vast.__file__, *words.split()], environ, tmp_path)
    imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
    assert {"argparse", "json", "re"} <= imported
    slow = "dataclasses difflib inspect requests shutil signal ssl subprocess typing"
    assert not imported & set(slow.split())


# --- the name it was started with


@pytest.mark.parametrize(
    ("typed", "name"),
    [("./vast.py", "./vast.py"), ("bin/rent", "bin/rent"), ("rent", "rent")],
)
def test_it_calls_itself_what_it_was_called(
    typed: str, name: str, environ: dict[str, str], used: Path
) -> None:
    (used / "bin").mkdir()
    (used / "bin" / "rent").symlink_to(used / "vast.py")
    environ["PATH"] = f"{used}/bin{os.pathsep}{environ['PATH']}"
    del environ["VAST_API_KEY"]
    ran = start([typed, "show", "user"], environ, used)
    assert ran.returncode == 4
    assert ran.stderr.startswith(f"{os.path.basename(name)}: no API key; ")
    assert ran.stderr.endswith(f": {name} set api-key\n")
    usage = start([typed, "show", "user", "--help"], environ, used).stdout
    assert usage.startswith(f"usage: {name} show user ")


# --- packages


def bare_python(tmp_path: Path, *packages: str) -> str:
    """Return a folder for PATH whose python3 has these packages and no others."""
    site = tmp_path / "site"
    site.mkdir()
    for package in packages:
        found = importlib.util.find_spec(package)
        assert found
        assert found.origin
        origin = Path(found.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (site / source.name).symlink_to(source)
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python3"
    python.write_text(
        f"#!/bin/sh\nPYTHONPATH={shlex.quote(str(site))} exec {sys.executable} -S"
        ' "$@"\n'
    )
    python.chmod(0o755)
    return str(python.parent)


REQUESTS = "requests urllib3 certifi idna charset_normalizer".split()


@pytest.mark.parametrize("words", ["show user", "search offers", "create instance 1"])
def test_without_requests_one_line_helps(
    words: str, environ: dict[str, str], tmp_path: Path, used: Path
) -> None:
    environ["PATH"] = f"{bare_python(tmp_path)}{os.pathsep}{environ['PATH']}"
    more = ["--image", "it"] * words.startswith("create")
    ran = start(["./vast.py", *words.split(), *more], environ, used)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "vast.py: the Python package requests is missing; run: python3 -m pip install"
        " requests\n"
    )


@pytest.mark.parametrize(
    ("packages", "missing"),
    [
        ([], "requests"),
        (REQUESTS[:1], "urllib3"),
        (REQUESTS, "python-dateutil"),
    ],
    ids=["none", "half", "no dateutil"],
)
def test_which_package_is_missing(
    packages: list[str],
    missing: str,
    environ: dict[str, str],
    tmp_path: Path,
    used: Path,
) -> None:
    environ["PATH"] = f"{bare_python(tmp_path, *packages)}{os.pathsep}{environ['PATH']}"
    words = [
        "./vast.py",
        "show",
        "user" if missing != "python-dateutil" else "invoices",
    ]
    words += ["-s", "2026-01"] * (missing == "python-dateutil")
    ran = start([*words, "--raw"], environ, used)
    assert (ran.returncode, ran.stdout) == (2, "")
    error = json.loads(ran.stderr)
    assert error["error"] == "package"
    assert error["msg"].endswith(f"python3 -m pip install {missing}")


def test_a_package_that_is_broken(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "requests.py").write_text("from json import no_such_name\n")
    environ["PYTHONPATH"] = str(tmp_path)
    ran = start([sys.executable, vast.__file__, "show", "user"], environ, tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("vast.py: the Python package ")
    assert "is broken: cannot import name 'no_such_name'" in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    ["--version", "--help", "help query", "show user --help", "login",
     "create account", "set api-key k", "search offers gpu_ram=24 --dry-run",
     "start instance 5 --dry-run", "completion bash"],
)  # fmt: skip
def test_what_needs_no_package(
    words: str, environ: dict[str, str], tmp_path: Path, used: Path
) -> None:
    environ["PATH"] = f"{bare_python(tmp_path)}{os.pathsep}{environ['PATH']}"
    ran = start(["./vast.py", *words.split()], environ, used)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout


@pytest.mark.parametrize("typed", ["./vast.py", "bin/vast", "python3 vast.py"])
def test_the_packages_beside_it_come_first(
    typed: str, environ: dict[str, str], used: Path
) -> None:
    """In the archive for bare hosts, whatever the host has installed."""
    (used / "lib").mkdir()
    (used / "bin").mkdir()
    (used / "bin" / "vast").symlink_to(used / "vast.py")
    (used / "lib" / "requests.py").write_text("raise SystemExit('the one of lib')\n")
    ran = start([*typed.split(), "show", "user"], environ, used)
    assert (ran.returncode, ran.stderr) == (1, "the one of lib\n")


# --- older Pythons


def pythons(minor: int) -> list[str]:
    """Return where a version of Python is found: on PATH, or kept by pyenv."""
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    kept = sorted(glob.glob(f"{root}/versions/3.{minor}.*/bin/python3"))
    found = shutil.which(f"python3.{minor}")
    works = [
        path
        for path in (*kept, found)
        if path
        and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0
    ]
    return works[:1]


def python(minor: int) -> str:
    """Return a Python of that version; skip the test where there is none."""
    found = pythons(minor)
    if not found:
        pytest.skip(f"needs Python 3.{minor}")
    return found[0]


@pytest.mark.parametrize("minor", [6, 7, 8, 9])
def test_an_old_python_says_so_in_one_line(
    minor: int, environ: dict[str, str], tmp_path: Path, folder: Path
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "python3").symlink_to(python(minor))
    environ["PATH"] = f"{tmp_path}/old{os.pathsep}{os.defpath}"
    words = ["show", "user", "--raw"]
    ran = start(["./vast.py", *words], environ, folder)
    expected = (2, "", "vast.py: needs Python 3.10+\n")
    assert (ran.returncode, ran.stdout, ran.stderr) == expected
    if minor > 6:  # which cannot even read the file
        ran = start(["python3", "vast.py", *words], environ, folder)
        assert (ran.returncode, ran.stdout, ran.stderr) == expected


@pytest.mark.parametrize("minor", [10, 11, 12, 13, 14])
def test_a_newer_python_runs_it(
    minor: int, environ: dict[str, str], tmp_path: Path, folder: Path
) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "python3").symlink_to(python(minor))
    environ["PATH"] = f"{tmp_path}/new{os.pathsep}{os.defpath}"
    for _ in range(2):
        ran = start(["./vast.py", "help", "query"], environ, folder)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert "gpu_name" in ran.stdout
    assert len(bytecode(folder)) == 1


@pytest.mark.parametrize("level", ["1", "2"])
def test_without_docstrings_the_help_is_the_same(
    level: str, environ: dict[str, str], folder: Path
) -> None:
    """As with python -O and -OO."""
    words = ["./vast.py", "help", "exit-codes"]
    whole = start(words, environ, folder)
    environ["PYTHONOPTIMIZE"] = level
    assert start(words, environ, folder).stdout == whole.stdout
    assert "Ctrl-C" in whole.stdout
    main = ["./vast.py", "help"]
    bare = start(main, environ, folder).stdout
    del environ["PYTHONOPTIMIZE"]
    assert start(main, environ, folder).stdout == bare


# --- Ctrl-C before it is up

# Stops where the event is, so that a signal meets it there.
HALT = """\
import sys, time
def hook(event, args):
    name = args[1] if event == "compile" else args[0] if event == "import" else ""
    if (event, str(name).rpartition("/")[2]) == {halt!r}:
        open({ready!r}, "w").close()
        time.sleep(20)
sys.addaudithook(hook)
"""


@pytest.mark.parametrize("typed", ["./vast.py", "python3 vast.py"])
@pytest.mark.parametrize(
    "halt", [("compile", "vast.py"), ("import", "argparse"), ("import", "json")]
)
def test_ctrl_c_while_it_starts(
    typed: str,
    halt: tuple[str, str],
    environ: dict[str, str],
    tmp_path: Path,
    folder: Path,
) -> None:
    """It ends by the signal, and says nothing."""
    if halt[0] == "compile" and typed != "./vast.py":
        pytest.skip("Python itself compiles it")
    ready = tmp_path / "ready"
    (tmp_path / "site").mkdir()
    hook = HALT.format(halt=halt, ready=str(ready))
    (tmp_path / "site" / "sitecustomize.py").write_text(hook)
    environ["PYTHONPATH"] = str(tmp_path / "site")
    with subprocess.Popen(
        [*typed.split(), "--version"],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    ) as process:
        while not ready.exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (-signal.SIGINT, b"", b"")


def test_in_the_background_ctrl_c_is_ignored(
    box: Sandbox, environ: dict[str, str], used: Path
) -> None:
    box.fault("machines", "slow", seconds=0.5)
    with subprocess.Popen(
        ["./vast.py", "show", "machines", "-q"],
        cwd=used,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN) and None,
    ) as process:
        while not box.calls:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")


def test_ctrl_c_twice_shows_no_traceback(
    box: Sandbox, environ: dict[str, str], used: Path
) -> None:
    """The second one ends the program wherever it is."""
    box.fault("machines", "slow", seconds=50)
    with subprocess.Popen(
        ["./vast.py", "show", "machines"],
        cwd=used,
        env=environ,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    ) as process:
        while not box.calls:
            time.sleep(0.01)
        for _ in range(50):
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode in (130, -signal.SIGINT)
    assert b"Traceback" not in err
