"""make-archive.sh: what is in the archive, that its bytes are always the same, and that
a host with a bare Python can use it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from email import message_from_bytes
from functools import cache
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from pypdf import PdfReader

from conftest import HERE, Ran, script_environment
from sandbox import Sandbox

TOP = HERE.parent
PAPERS = ("LICENSE", "README.md", "requirements.txt", "vast.py")
REAL = {it: (TOP / it).read_text() for it in (*PAPERS, "make-archive.sh")}
COMMIT_TIME = 1_790_000_000

PACKAGE = re.compile(r"^([a-z0-9-]+) +([0-9.]+) +[0-9a-f]{64}\n", re.MULTILINE)
VERSIONS = dict(PACKAGE.findall(REAL["make-archive.sh"]))
MODULES = "certifi charset_normalizer dateutil idna requests six.py tzdata urllib3"

# A commit that is always the same, with a script that adds only one little package.
SMALL = {
    "LICENSE": "Do what you like.\n",
    "README.md": "# vast\n\n![a\npicture](a.png)\n\nOne ![more](b.png) in a line.\n",
    "requirements.txt": "six\n",
    "vast.py": "#!/usr/bin/env python3\nimport six\n",
    "make-archive.sh": PACKAGE.sub(
        lambda it: it[0] * (it[1] == "six"), REAL["make-archive.sh"]
    ),
}
# On every machine and Python; another version of six in the list makes another sum.
SMALL_SHA256 = "07ff34c9798b91fa080d771fbf690049d4baafdfd973fff884a73e5e84c4a7f9"

Build = Callable[..., Ran]


def execute(*words: str | Path, cwd: Path, **environ: str) -> Ran:
    """Runs a program to its end, in a session of its own; its python3 is this one."""
    who = {"NAME": "A", "EMAIL": "a@example.org", "DATE": f"@{COMMIT_TIME} +0100"}
    ran = subprocess.run(
        words,
        cwd=cwd,
        env={
            **{k: text for k, text in os.environ.items() if not k.startswith("GIT_")},
            **{f"GIT_AUTHOR_{key}": text for key, text in who.items()},
            **{f"GIT_COMMITTER_{key}": text for key, text in who.items()},
            "GIT_CONFIG_GLOBAL": os.devnull,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            **environ,
        },
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    return Ran(ran.returncode, ran.stdout, ran.stderr)


def repository(folder: Path, texts: dict[str, str]) -> Path:
    """Makes a repository with one commit of these files, all with the run bit."""
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    line = "git init -q && git add . && git commit -q -m All"
    assert execute("sh", "-c", line, cwd=folder) == (0, "", "")
    return folder


def path_with(folder: Path, python3: str) -> str:
    """A PATH on which a shell script comes first as python3."""
    folder.mkdir()
    (folder / "python3").write_text(f"#!/bin/sh\n{python3}\n")
    (folder / "python3").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def once(path: Path, make: Callable[[], Ran]) -> Path:
    """The path, made by the first of the test processes that wants it."""
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            ran = make()
            assert ran.status == 0, ran.err
    return path


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all test processes of this run have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def build(shared: Path) -> Build:
    """Runs the script of a repository, for which the network is needed only once."""
    wheels = shared / "wheels"
    pip = f"{sys.executable} -m pip download -q --no-deps --dest {wheels}"
    pure = "--only-binary :all: --platform any --abi none --python-version 3.10"
    pins = [f"{name}=={version}" for name, version in VERSIONS.items()]
    once(wheels, lambda: execute(*pip.split(), *pure.split(), *pins, cwd=shared))
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}

    def run(repository: Path, *words: str, **environ: str) -> Ran:
        script = repository / "make-archive.sh"
        return execute(script, *words, cwd=repository, **offline, **environ)

    return run


@pytest.fixture(scope="session")
def archive(shared: Path, build: Build) -> Path:
    """The archive of the files as they are now."""

    def make() -> Ran:
        return build(repository(shared / "real", REAL), "--output", "../vast.tar.gz")

    return once(shared / "vast.tar.gz", make)


@pytest.fixture(scope="session")
def pdf_archive(shared: Path, build: Build) -> Path:
    """The same with the packages for the PDF."""

    def make() -> Ran:
        folder = repository(shared / "real-pdf", REAL)
        ran = build(folder, "--with-pdf", "--output", "../pdf.tar.gz")
        (shared / "pdf.err").write_text(ran.err)
        return ran

    return once(shared / "pdf.tar.gz", make)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The repository of SMALL."""
    return repository(tmp_path / "small", SMALL)


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """The PATH of a machine whose python3 has no packages at all."""
    return path_with(tmp_path / "bare", f'exec "{sys.executable}" -S -E "$@"')


@cache
def entries(archive: Path) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """What is in an archive, by name, with the contents of files."""
    with tarfile.open(archive) as tar:
        opened = [(entry, tar.extractfile(entry)) for entry in tar]
        return {entry.name: (entry, it.read() if it else b"") for entry, it in opened}


def text_of(archive: Path, name: str) -> str:
    """The text of a file in the folder of an archive."""
    return entries(archive)[f"vast/{name}"][1].decode()


# What is in it.


def test_it_holds_the_program_its_papers_and_the_packages(archive: Path) -> None:
    paths = [PurePosixPath(name).parts for name in entries(archive)]
    infos = {
        f"{name.replace('-', '_')}-{version}.dist-info"
        for name, version in VERSIONS.items()
        if name != "borb"
    }
    assert {path[0] for path in paths} == {"vast"}
    assert {path[1] for path in paths if path[1:]} == {*PAPERS, "lib"}
    assert {path[2] for path in paths if path[2:]} == {*MODULES.split(), *infos}
    assert {it[2] for it in paths if it[3:] and it[-1].startswith("LICENSE")} == infos


def test_it_holds_nothing_compiled_and_no_tests(pdf_archive: Path) -> None:
    compiled = {".dll", ".dylib", ".exe", ".pyc", ".pyd", ".so", ".whl"}
    for path in map(PurePosixPath, entries(pdf_archive)):
        assert path.suffix not in compiled
        assert "tests" not in path.parts


def test_every_entry_is_plain_and_in_order(archive: Path) -> None:
    assert list(entries(archive)) == sorted(entries(archive))
    for name, (entry, _) in entries(archive).items():
        owner = (entry.uid, entry.gid, entry.uname, entry.gname)
        assert (owner, entry.mtime) == ((0, 0, "", ""), COMMIT_TIME), name
        assert entry.isdir() or entry.isfile(), name
        run = entry.isdir() or name == "vast/vast.py"
        assert entry.mode == (0o755 if run else 0o644), name


def test_it_is_under_2_mb(archive: Path) -> None:
    assert archive.stat().st_size < 2_000_000


def test_its_papers_are_as_committed_but_for_pictures(archive: Path) -> None:
    for name in {*PAPERS} - {"README.md"}:
        assert text_of(archive, name) == REAL[name]
    readme = text_of(archive, "README.md")
    assert readme.splitlines()[0] == REAL["README.md"].splitlines()[0]
    assert not re.search(r"!\[|<img", readme)


# The list of packages.


def test_the_packages_suit_our_ranges_and_each_other(pdf_archive: Path) -> None:
    needs = [line for line in REAL["requirements.txt"].splitlines() if line[0] != "#"]
    held = set()
    for name, (_, content) in entries(pdf_archive).items():
        if name.endswith(".dist-info/METADATA"):
            fields = message_from_bytes(content)
            held.add((canonicalize_name(fields["Name"]), fields["Version"]))
            needs += fields.get_all("Requires-Dist", [])
            pythons = SpecifierSet(fields["Requires-Python"])
            assert all(f"3.{minor}.0" in pythons for minor in range(10, 15)), name
    assert held == set(VERSIONS.items())
    for need in map(Requirement, needs):
        if not need.marker or need.marker.evaluate({"python_version": "3.10"}):
            assert VERSIONS[canonicalize_name(need.name)] in need.specifier, need


def test_with_pdf_says_what_is_not_pure_python(pdf_archive: Path) -> None:
    assert pdf_archive.with_name("pdf.err").read_text() == (
        "make-archive.sh: left out of what borb needs, not pure Python: nothing\n"
    )


# The same bytes.


def test_it_is_the_same_when_built_again_elsewhere(
    archive: Path, tmp_path: Path, build: Build
) -> None:
    crlf = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.autocrlf"}
    environ = {**crlf, "GIT_CONFIG_VALUE_0": "true", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    other = repository(tmp_path / "other", REAL)
    ran = build(other, "--output", "another name", **environ)
    again = (other / "another name").read_bytes()
    assert again == archive.read_bytes()
    assert ran == (0, f"{hashlib.sha256(again).hexdigest()}  another name\n", "")


def test_a_known_commit_has_a_known_sum(small: Path, build: Build) -> None:
    ran = build(small)
    assert ran == (0, f"{SMALL_SHA256}  vast.tar.gz\n", "")
    (small / "sum").write_text(ran.out)
    checked = execute("sha256sum", "--check", "sum", cwd=small)
    assert checked == (0, "vast.tar.gz: OK\n", "")
    readme = text_of(small / "vast.tar.gz", "README.md")
    assert readme == "# vast\n\nOne  in a line.\n"


def test_source_date_epoch_is_the_time_of_all(small: Path, build: Build) -> None:
    build(small, SOURCE_DATE_EPOCH="86400")
    held = entries(small / "vast.tar.gz").values()
    assert {entry.mtime for entry, _ in held} == {86400}


def test_the_commit_is_built_and_changes_are_named(small: Path, build: Build) -> None:
    for name in ("LICENSE", "vast.py", "vast.log"):
        (small / name).write_text("draft\n")
    ran = build(small)
    assert ran == (
        0,
        f"{SMALL_SHA256}  vast.tar.gz\n",
        "make-archive.sh: the commit is built; changed since: LICENSE, vast.py\n",
    )


# What can go wrong.

NO_WHEEL = "sed -i '/^six /s/.\\{64\\}$/'$(printf %064d 0)/ make-archive.sh; "
WRONG = {
    "unknown option": ("./make-archive.sh --pdf", 2, "no such option: --pdf"),
    "output without a file": ("./make-archive.sh --output", 2, "--output needs a file"),
    "output is a folder": ("./make-archive.sh --output=.", 1, ". is a folder"),
    "output in no folder": ("./make-archive.sh --output a/b", 1, "mktemp: "),
    "time is no number": ("SOURCE_DATE_EPOCH=now ./make-archive.sh", 1, "is no time"),
    "no commit": ("rm -rf .git; ./make-archive.sh", 1, "no commit to build from"),
    "file not committed": (
        "git rm -q LICENSE; git commit -q -m Less; ./make-archive.sh",
        128,
        "'LICENSE' did not match any files",
    ),
    "no pip": ("PATH=$BARE ./make-archive.sh", 1, "python3 with pip is needed"),
    "no such wheel": (f"{NO_WHEEL} ./make-archive.sh", 1, "could not get the packages"),
}


def left(folder: Path) -> set[str]:
    """What is in the folder of a repository and was not committed."""
    return {path.name for path in folder.iterdir()} - {".git", *SMALL}


@pytest.mark.parametrize(("line", "status", "said"), WRONG.values(), ids=WRONG)
def test_a_failure_leaves_nothing_behind(
    line: str, status: int, said: str, small: Path, bare: str
) -> None:
    # `work` and `output`, as the script has variables of these names too.
    same = {"TMPDIR": str(small), "work": str(small), "output": str(small)}
    environ = {**same, "PIP_NO_INDEX": "1", "BARE": bare}
    ran = execute("sh", "-c", line, cwd=small, **environ)
    assert (ran.status, ran.out) == (status, "")
    assert said in ran.err.splitlines()[-1]
    assert left(small) == set()


@pytest.mark.parametrize("name", ["HUP", "INT", "TERM"])
def test_an_interruption_leaves_nothing_behind(
    name: str, small: Path, tmp_path: Path, build: Build
) -> None:
    """The signal comes to all, as from a terminal, while pip is at work."""
    (small / "vast.tar.gz").write_text("the last one")
    signal = f'case "$*" in *download*) kill -s {name} 0 ;; esac'
    path = path_with(tmp_path / "path", f'{signal}\nexec "{sys.executable}" "$@"')
    ran = build(small, PATH=path, TMPDIR=str(small))
    assert (ran.status, ran.out) == (130, "")
    assert left(small) == {"vast.tar.gz"}
    assert (small / "vast.tar.gz").read_text() == "the last one"


def test_help_is_the_head_of_the_script(small: Path) -> None:
    ran = execute("./make-archive.sh", "--help", cwd=small)
    assert (ran.status, ran.err) == (0, "")
    assert "./make-archive.sh [--with-pdf] [--output FILE]\n" in ran.out
    assert ran.out.endswith("as `sha256sum --check` reads it.\n")


# On a host.


class Host:
    """A machine with a bare Python, and a folder in which an archive was unpacked."""

    def __init__(self, box: Sandbox, folder: Path, path: str) -> None:
        self.folder = folder
        self.environ = {**script_environment(box, folder), "PATH": path}

    def __call__(self, line: str) -> Ran:
        """Runs a line of a shell."""
        return execute("sh", "-c", line, cwd=self.folder, **self.environ)


def unpack(archive: Path, folder: Path) -> Ran:
    """Unpacks an archive into a new folder."""
    folder.mkdir()
    return execute("tar", "xzf", archive, cwd=folder)


@pytest.fixture
def host(box: Sandbox, shared: Path, archive: Path, bare: str) -> Host:
    """A host with the archive."""
    folder = shared / "a host"
    return Host(box, once(folder, lambda: unpack(archive, folder)), bare)


def test_it_searches_shows_and_lists(host: Host) -> None:
    assert host("vast/vast.py search offers machine_id=7103 -q").out == ""
    ran = host("vast/vast.py list machine 7103 --price_gpu 0.5 --end_date 2030-12-31")
    said = "$0.5/h per GPU, until 2030-12-31 23:59:59 UTC."
    assert ran.out == f"machine 7103 is listed: {said}\n"
    assert host("vast/vast.py search offers machine_id=7103 -q").out != ""


WAYS = {
    "as it stands": "vast/vast.py",
    "from elsewhere": 'cd / && "$HOME/vast/vast.py"',
    "through a link": "ln -s vast/vast.py link && ./link",
    "from a read-only folder": "cp -a vast ro && chmod -R a-w ro && ro/vast.py",
    "by name of the Python": "python3 -B vast/vast.py",
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_it_runs(way: str, host: Host) -> None:
    ran = host(f"{way} show machines --raw | jq -c 'map(.id)'")
    assert ran == (0, "[7101,7102,7103,7104]\n", "")


def test_the_pdf_needs_borb_and_says_so(host: Host) -> None:
    ran = host("vast/vast.py generate pdf-invoices -q")
    line = "python3 -m pip install 'borb>=3.0.9,<4'"
    assert ran == (2, "", f"vast.py: the PDF needs borb; run: {line}\n")


def test_with_pdf_it_draws(
    box: Sandbox, tmp_path: Path, pdf_archive: Path, bare: str
) -> None:
    folder = tmp_path / "host"
    unpack(pdf_archive, folder)
    ran = Host(box, folder, bare)("vast/vast.py generate pdf-invoices -q -o a.pdf")
    assert ran == (0, "a.pdf\n", "")
    assert "Invoice" in PdfReader(folder / "a.pdf").pages[0].extract_text()
