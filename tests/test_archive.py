"""make-archive.sh: what the archive contains, that a commit always gives the same
bytes, how the output is written, and that a host with a bare Python can use it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from email import message_from_bytes
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from pypdf import PdfReader

from conftest import HERE, Ran, script_environment
from sandbox import Sandbox

TOP = HERE.parent
DOCUMENTS = ("LICENSE", "README.md", "requirements.txt", "vast.py")
REAL = {name: (TOP / name).read_text() for name in (*DOCUMENTS, "make-archive.sh")}
COMMIT_TIME = 1_790_000_000

PACKAGE = re.compile(r"([a-z0-9-]+)==([0-9.]+) --hash=sha256:[0-9a-f]{64}\n?")
VERSIONS = dict(PACKAGE.findall(REAL["make-archive.sh"]))
MODULES = "certifi charset_normalizer dateutil idna requests six.py urllib3"
# dateutil requires tzdata, but reads it only for time zones by name.
LEFT_OUT = {"tzdata"}

# A small commit, always the same, whose script packs only one little package.
SMALL = {
    "LICENSE": "Do what you like. $Id$ $Format:%H$\n",
    "README.md": "# vast\n\n![a\npicture](a.png)\n\nOne ![more](b.png) in a line.\n",
    "requirements.txt": "six\n",
    "vast.py": "#!/usr/bin/env python3\nimport six\n",
    "make-archive.sh": PACKAGE.sub(
        lambda match: match[0] * (match[1] == "six"), REAL["make-archive.sh"]
    ),
}
SMALL_ENTRIES = """
vast
vast/LICENSE
vast/README.md
vast/lib
vast/lib/six-1.17.0.dist-info
vast/lib/six-1.17.0.dist-info/LICENSE
vast/lib/six-1.17.0.dist-info/METADATA
vast/lib/six-1.17.0.dist-info/WHEEL
vast/lib/six-1.17.0.dist-info/top_level.txt
vast/lib/six.py
vast/requirements.txt
vast/vast.py
"""

PROGRAMS = ("bash", "git", "gzip", "realpath", "sed", "sha256sum", "tar")
GNU = ("sed", "tar")

Build = Callable[..., Ran]


def lacking() -> list[str]:
    """Return what make-archive.sh requires and this machine doesn't have."""
    names = [name for name in PROGRAMS if not shutil.which(name)]
    for name in set(GNU).difference(names):
        version = subprocess.run([name, "--version"], capture_output=True, text=True)
        if f"(GNU {name})" not in version.stdout:
            names.append(f"GNU {name}")
    return names + ["pip"] * (find_spec("pip") is None)


LACKING = lacking()
pytestmark = pytest.mark.skipif(
    bool(LACKING), reason=f"make-archive.sh requires {', '.join(LACKING)}"
)


def execute(*words: str | Path, cwd: Path, **environ: str) -> Ran:
    """Run a program in a session of its own, with this Python as python3."""
    author = {"NAME": "A", "EMAIL": "a@example.org", "DATE": f"@{COMMIT_TIME} +0100"}
    ran = subprocess.run(
        words,
        cwd=cwd,
        env={
            **{k: text for k, text in os.environ.items() if not k.startswith("GIT_")},
            **{f"GIT_AUTHOR_{key}": text for key, text in author.items()},
            **{f"GIT_COMMITTER_{key}": text for key, text in author.items()},
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
    """Make a repository with one commit of these files, all of them executable."""
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    line = "git init -q && git add . && git commit -q -m All"
    assert execute("sh", "-c", line, cwd=folder) == (0, "", "")
    return folder


def path_with(folder: Path, name: str, script: str) -> str:
    """Return a PATH on which a shell script comes first under this name."""
    folder.mkdir()
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def once(path: Path, make: Callable[[], Ran]) -> Path:
    """Return the path, made by the first of the test processes that needs it."""
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
def offline(shared: Path) -> dict[str, str]:
    """The environment for building without the network, which is used only once."""
    wheels = shared / "wheels"
    pip = f"{sys.executable} -m pip download -q --no-deps --dest {wheels}"
    pure = "--only-binary :all: --platform any --abi none --python-version 3.10"
    pins = [f"{name}=={version}" for name, version in VERSIONS.items()]
    once(wheels, lambda: execute(*pip.split(), *pure.split(), *pins, cwd=shared))
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}


@pytest.fixture(scope="session")
def build(offline: dict[str, str]) -> Build:
    """Runs the script of a repository."""

    def run(repository: Path, *words: str, **environ: str) -> Ran:
        script = repository / "make-archive.sh"
        return execute(script, *words, cwd=repository, **{**offline, **environ})

    return run


@pytest.fixture(scope="session")
def quick(
    offline: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The environment for building SMALL where nothing depends on pip: the wheel is
    copied, which takes a fraction of the time."""
    download = (
        "while [ $1 != --dest ]; do shift; done; "
        f'mkdir "$2" && exec cp {offline["PIP_FIND_LINKS"]}/six-*.whl "$2"'
    )
    script = f'case "$*" in *" pip download "*) {download} ;; esac'
    script += f'\nexec "{sys.executable}" "$@"'
    folder = tmp_path_factory.mktemp("quick") / "bin"
    return {**offline, "PATH": path_with(folder, "python3", script)}


@pytest.fixture(scope="session")
def quick_build(build: Build, quick: dict[str, str]) -> Build:
    """Runs the script of a repository of SMALL where nothing depends on pip."""
    return partial(build, **quick)


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
        return build(folder, "--with-pdf", "--output", "../pdf.tar.gz")

    return once(shared / "pdf.tar.gz", make)


@pytest.fixture(scope="session")
def expected(shared: Path, build: Build) -> bytes:
    """The archive of SMALL, built where nothing interferes."""

    def make() -> Ran:
        return build(repository(shared / "plain", SMALL), "--output", "../small.tar.gz")

    return once(shared / "small.tar.gz", make).read_bytes()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The repository of SMALL."""
    return repository(tmp_path / "small", SMALL)


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """The PATH of a machine whose python3 has no packages at all."""
    return path_with(tmp_path / "bare", "python3", f'exec "{sys.executable}" -SE "$@"')


@cache
def entries(archive: Path) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """Return what is in an archive, by name, with the contents of files."""
    with tarfile.open(archive) as tar:
        opened = [(entry, tar.extractfile(entry)) for entry in tar]
        return {
            entry.name: (entry, file.read() if file else b"") for entry, file in opened
        }


def text_of(archive: Path, name: str) -> str:
    """Return the text of a file in the folder of an archive."""
    return entries(archive)[f"vast/{name}"][1].decode()


def sum_line(archive: bytes, name: str = "-") -> str:
    """Return the line that sha256sum prints."""
    return f"{hashlib.sha256(archive).hexdigest()}  {name}\n"


def left(folder: Path) -> set[str]:
    """Return what is in the folder of a repository and wasn't committed."""
    return {path.name for path in folder.iterdir()} - {".git", *SMALL}


# What it contains.


def test_it_contains_the_program_its_documents_and_the_packages(archive: Path) -> None:
    paths = [PurePosixPath(name).parts for name in entries(archive)]
    infos = {
        f"{name.replace('-', '_')}-{version}.dist-info"
        for name, version in VERSIONS.items()
        if name != "borb"
    }
    assert {path[0] for path in paths} == {"vast"}
    assert {path[1] for path in paths if path[1:]} == {*DOCUMENTS, "lib"}
    assert {path[2] for path in paths if path[2:]} == {*MODULES.split(), *infos}


def test_it_contains_the_licence_of_each_package(pdf_archive: Path) -> None:
    packages, licensed = set(), set()
    for name, (entry, _) in entries(pdf_archive).items():
        info, _, path = name.partition(".dist-info/")
        packages |= {info} if path else set()
        if PurePosixPath(path).name.startswith("LICENSE"):
            assert entry.size > 500, name
            licensed.add(info)
    assert licensed == packages
    assert len(licensed) == len(VERSIONS)


def test_it_contains_nothing_compiled_and_no_tests(pdf_archive: Path) -> None:
    left_out = {"tests", "__pycache__", "bin", "emscripten", "RECORD"}
    compiled = {".dll", ".dylib", ".exe", ".pyc", ".pyd", ".so", ".whl"}
    for path in map(PurePosixPath, entries(pdf_archive)):
        assert path.suffix not in compiled
        assert not left_out & {*path.parts}


def test_every_entry_is_plain_and_in_order(archive: Path) -> None:
    names = list(entries(archive))
    assert names == sorted(names, key=lambda name: PurePosixPath(name).parts)
    for name, (entry, _) in entries(archive).items():
        owner = (entry.uid, entry.gid, entry.uname, entry.gname)
        assert (owner, entry.mtime) == ((0, 0, "", ""), COMMIT_TIME), name
        assert entry.isdir() or entry.isfile(), name
        executable = entry.isdir() or name == "vast/vast.py"
        assert entry.mode == (0o755 if executable else 0o644), name


def test_gzip_records_neither_a_name_nor_a_time(archive: Path) -> None:
    assert archive.read_bytes()[:8] == b"\x1f\x8b\x08" + bytes(5)


def test_it_is_small_as_documented(archive: Path, pdf_archive: Path) -> None:
    size, pdf_size = (path.stat().st_size for path in (archive, pdf_archive))
    assert size < 650_000
    assert pdf_size < 3_350_000
    sizes = f"({pdf_size / 1e6:.1f} MB instead of {size / 1e6:.1f})"
    assert sizes in REAL["make-archive.sh"]
    assert f"`vast.tar.gz` ({size / 1e6:.1f} MB)" in REAL["README.md"]


def test_its_documents_are_as_committed_but_for_pictures(archive: Path) -> None:
    for name in {*DOCUMENTS} - {"README.md"}:
        assert text_of(archive, name) == REAL[name]
    readme = text_of(archive, "README.md")
    assert readme.splitlines()[0] == REAL["README.md"].splitlines()[0]
    assert not re.search(r"!\[|<img", readme)


def test_a_small_commit_is_packed_exactly(small: Path, build: Build) -> None:
    assert build(small).status == 0
    archive = small / "vast.tar.gz"
    assert list(entries(archive)) == SMALL_ENTRIES.split()
    assert text_of(archive, "README.md") == "# vast\n\nOne  in a line.\n"
    for name in ("LICENSE", "requirements.txt", "vast.py"):
        assert text_of(archive, name) == SMALL[name]


# The list of packages.


def test_the_packages_match_our_ranges_and_each_other(pdf_archive: Path) -> None:
    needs = [line for line in REAL["requirements.txt"].splitlines() if line[0] != "#"]
    packed = set()
    for name, (_, content) in entries(pdf_archive).items():
        if name.endswith(".dist-info/METADATA"):
            fields = message_from_bytes(content)
            packed.add((canonicalize_name(fields["Name"]), fields["Version"]))
            needs += fields.get_all("Requires-Dist", [])
            pythons = SpecifierSet(fields["Requires-Python"])
            assert all(f"3.{minor}.0" in pythons for minor in range(10, 15)), name
    assert packed == set(VERSIONS.items())
    for need in map(Requirement, needs):
        if not need.marker or need.marker.evaluate({"python_version": "3.10"}):
            name = canonicalize_name(need.name)
            assert name in LEFT_OUT or VERSIONS[name] in need.specifier, need


def test_the_program_needs_nothing_that_is_left_out() -> None:
    imports = re.findall(
        r"(?:from|import) (?:dateutil|tzdata|zoneinfo)\b.*", REAL["vast.py"]
    )
    assert imports == ["from dateutil.parser import parse"]


# The same bytes.


def test_it_is_the_same_when_built_again_elsewhere(
    archive: Path, tmp_path: Path, build: Build
) -> None:
    other = repository(tmp_path / "other", REAL)
    ran = build(other, "--output", "another name", TZ="Asia/Tokyo", LC_ALL="C.UTF-8")
    assert (other / "another name").read_bytes() == archive.read_bytes()
    assert ran == (0, sum_line(archive.read_bytes(), "another name"), "")


CONVERSIONS = "* text eol=crlf ident export-subst filter=shout\nLICENSE export-ignore\n"


def gitconfig(small: Path) -> dict[str, str]:
    """Configure git to convert everything that it checks out or archives."""
    attributes = small.with_name("attributes")
    attributes.write_text(CONVERSIONS)
    config = small.with_name("gitconfig")
    config.write_text(
        f"[core]\nautocrlf = true\nattributesFile = {attributes}\n"
        '[filter "shout"]\nsmudge = tr a-z A-Z\n[tar]\numask = 077\n'
    )
    return {"GIT_CONFIG_GLOBAL": str(config)}


def info_attributes(small: Path) -> dict[str, str]:
    """Give this clone attributes of its own."""
    (small / ".git/info").mkdir(exist_ok=True)
    (small / ".git/info/attributes").write_text(CONVERSIONS)
    return {}


def replaced_commit(small: Path) -> dict[str, str]:
    """Make git show another commit in place of HEAD."""
    line = "git commit -q --amend -m New && git replace $OLD HEAD && git reset -q $OLD"
    old = execute("git", "rev-parse", "HEAD", cwd=small).out.strip()
    later = {"GIT_COMMITTER_DATE": "@1800000000 +0000", "OLD": old}
    assert execute("sh", "-c", line, cwd=small, **later).status == 0
    return {}


def other_repository(small: Path) -> dict[str, str]:
    """Set the variables that a hook sets, for another repository."""
    other = repository(small.with_name("other"), {**SMALL, "LICENSE": "Other.\n"})
    return {
        "GIT_DIR": str(other / ".git"),
        "GIT_WORK_TREE": str(other),
        "GIT_INDEX_FILE": str(other / ".git/index"),
        "GIT_OBJECT_DIRECTORY": str(other / ".git/objects"),
        "GIT_COMMON_DIR": str(other / ".git"),
        "GIT_PREFIX": "elsewhere/",
    }


def foreign_modules(small: Path) -> dict[str, str]:
    """Put modules with the names of those that the script runs into its way."""
    for name in ("pip", "zipfile"):
        (small / name).mkdir()
        (small / name / "__init__.py").write_text("raise SystemExit('imported')\n")
    return {"PYTHONPATH": str(small)}


def pip_settings(small: Path) -> dict[str, str]:
    """Configure pip to fetch other packages, and to talk about it."""
    folder = small.parent
    (folder / "constraints.txt").write_text("six==1.16.0\n")
    (folder / "more.txt").write_text(f"idna=={VERSIONS['idna']}\n")
    (folder / "pip.conf").write_text(
        f"[global]\nconstraint = {folder}/constraints.txt\n"
        f"[download]\nrequirement = {folder}/more.txt\nno-binary = :all:\n"
    )
    return {"PIP_CONFIG_FILE": f"{folder}/pip.conf", "PIP_NO_BINARY": "six"}


def tool_settings(small: Path) -> dict[str, str]:
    """Set what tar, gzip and Python read, and let new folders inherit their group."""
    temporary = small.with_name("temporary")
    temporary.mkdir()
    temporary.chmod(0o2777)
    return {
        "GZIP": "-1",
        "POSIXLY_CORRECT": "1",
        "PYTHONHOME": "/nonexistent",
        "TAR_OPTIONS": "--owner=7 --exclude=*.py",
        "TMPDIR": str(temporary),
    }


OF_GIT = [gitconfig, info_attributes, replaced_commit, other_repository]
OF_ALL = [foreign_modules, pip_settings, tool_settings]


@pytest.mark.parametrize("prepare", [*OF_GIT, *OF_ALL])
def test_it_is_the_same_whatever_surrounds_it(
    prepare: Callable[[Path], dict[str, str]],
    small: Path,
    offline: dict[str, str],
    quick: dict[str, str],
    expected: bytes,
) -> None:
    environ = {**(quick if prepare in OF_GIT else offline), **prepare(small)}
    line = "umask 077 && ./make-archive.sh"
    ran = execute("sh", "-c", line, cwd=small, **environ)
    assert ran.status == 0, ran.err
    assert ran.out == sum_line(expected, "vast.tar.gz")
    assert (small / "vast.tar.gz").read_bytes() == expected


def test_pip_prints_nothing_to_stdout(
    small: Path, build: Build, expected: bytes
) -> None:
    ran = build(small, PIP_VERBOSE="3")
    assert (ran.status, ran.out) == (0, sum_line(expected, "vast.tar.gz"))


def test_source_date_epoch_is_the_time_of_all(small: Path, quick_build: Build) -> None:
    quick_build(small, SOURCE_DATE_EPOCH="86400")
    packed = entries(small / "vast.tar.gz").values()
    assert {entry.mtime for entry, _ in packed} == {86400}


def test_the_commit_is_built_and_changes_are_named(
    small: Path, quick_build: Build, expected: bytes
) -> None:
    for name in ("LICENSE", "vast.py", "vast.log"):
        (small / name).write_text("draft\n")
    assert quick_build(small) == (
        0,
        sum_line(expected, "vast.tar.gz"),
        "make-archive.sh: building HEAD; uncommitted changes in LICENSE, vast.py\n",
    )


# The output.


def test_sha256sum_checks_the_line(small: Path, quick_build: Build) -> None:
    (small / "sum").write_text(quick_build(small, "--output=-two\nlines").out)
    checked = execute("sha256sum", "--check", "--quiet", "sum", cwd=small)
    assert checked == (0, "", "")


def test_a_file_is_replaced_and_its_mode_stays(
    small: Path, quick_build: Build, expected: bytes
) -> None:
    output = small / "vast.tar.gz"
    output.write_text("the last one")
    output.chmod(0o640)
    with output.open() as reader:
        assert quick_build(small).status == 0
        assert reader.read() == "the last one"
    assert output.read_bytes() == expected
    assert stat.S_IMODE(output.stat().st_mode) == 0o640


def test_a_new_file_has_the_mode_of_the_umask(
    small: Path, quick: dict[str, str]
) -> None:
    line = "umask 027 && ./make-archive.sh"
    assert execute("sh", "-c", line, cwd=small, **quick).status == 0
    assert stat.S_IMODE((small / "vast.tar.gz").stat().st_mode) == 0o640


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_to_a_file_is_followed(
    exists: bool, small: Path, quick_build: Build, expected: bytes
) -> None:
    target = small.with_name("target")
    if exists:
        target.write_text("the last one")
    (small / "link").symlink_to("../target")
    ran = quick_build(small, "--output", "link")
    assert ran == (0, sum_line(expected, "link"), "")
    assert os.readlink(small / "link") == "../target"
    assert target.read_bytes() == expected
    assert left(small) == {"link"}


def copy_device(name: str, folder: Path) -> Path:
    """Make another /dev/NAME, so that a failure does not cost the machine its own."""
    device = folder / name
    try:
        os.mknod(device, stat.S_IFCHR | 0o666, os.stat(f"/dev/{name}").st_rdev)
        device.open("wb").close()
    except (FileNotFoundError, PermissionError):
        pytest.skip("only root can make a device here")
    return device


def test_a_device_is_written_to(
    small: Path, quick_build: Build, expected: bytes
) -> None:
    null = copy_device("null", small)
    assert quick_build(small, "--output", "null") == (0, sum_line(expected), "")
    assert stat.S_ISCHR(null.lstat().st_mode)
    assert left(small) == {"null"}


def test_a_link_to_a_device_is_written_to(
    small: Path, quick_build: Build, expected: bytes
) -> None:
    null = copy_device("null", small.parent)
    (small / "link").symlink_to("../null")
    assert quick_build(small, "--output", "link") == (0, sum_line(expected), "")
    assert os.readlink(small / "link") == "../null"
    assert stat.S_ISCHR(null.lstat().st_mode)
    assert left(small) == {"link"}


def test_a_fifo_is_written_to(small: Path, quick_build: Build, expected: bytes) -> None:
    os.mkfifo(small / "fifo")
    reader = os.open(small / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    try:
        ran = quick_build(small, "--output", "fifo")
        assert os.read(reader, 1 << 16) == expected
    finally:
        os.close(reader)
    assert ran == (0, sum_line(expected), "")
    assert left(small) == {"fifo"}


def test_a_process_substitution_is_written_to(
    small: Path, quick: dict[str, str], expected: bytes
) -> None:
    line = (
        "exec 9> >(cat >got); ./make-archive.sh --output /dev/fd/9; exec 9>&-; wait $!"
    )
    ran = execute("bash", "-c", line, cwd=small, **quick)
    assert ran == (0, sum_line(expected), "")
    assert (small / "got").read_bytes() == expected


@pytest.mark.parametrize(
    "output", ["- >>got", "link >>got", "/dev/fd/1 >>got", "link | cat >>got"]
)
def test_stdout_gets_the_archive_alone(
    output: str, small: Path, quick: dict[str, str], expected: bytes
) -> None:
    # Not /dev/stdout itself, which a failure as root would cost the machine.
    (small / "link").symlink_to("/dev/stdout")
    (small / "got").write_text("before")
    line = f"./make-archive.sh --output {output}"
    ran = execute("sh", "-c", line, cwd=small, **quick)
    assert ran == (0, "", sum_line(expected))
    assert (small / "got").read_bytes() == b"before" + expected
    assert left(small) == {"got", "link"}


def test_a_path_below_an_open_directory_is_not_an_open_file(
    small: Path, quick: dict[str, str], expected: bytes
) -> None:
    (small / "1").write_text("before")
    line = "./make-archive.sh --output /dev/fd/7/1 7<."
    ran = execute("bash", "-c", line, cwd=small, **quick)
    assert ran == (0, sum_line(expected, "/dev/fd/7/1"), "")
    assert (small / "1").read_bytes() == expected


def test_an_open_file_is_appended_to(
    small: Path, quick: dict[str, str], expected: bytes
) -> None:
    (small / "got").write_text("before")
    line = "./make-archive.sh --output /dev/fd/3 3>>got"
    ran = execute("sh", "-c", line, cwd=small, **quick)
    assert ran == (0, sum_line(expected), "")
    assert (small / "got").read_bytes() == b"before" + expected


def test_a_closed_pipe_ends_quietly(small: Path, quick: dict[str, str]) -> None:
    line = "{ ./make-archive.sh --output -; echo $? >&2; } | true"
    ran = execute("sh", "-c", line, cwd=small, TMPDIR=str(small), **quick)
    assert ran == (0, "", "141\n")
    assert left(small) == set()


@pytest.mark.parametrize("options", ["- >../full", "link"])
def test_a_full_device_is_an_error(
    options: str, small: Path, quick: dict[str, str]
) -> None:
    copy_device("full", small.parent)
    (small / "link").symlink_to("../full")
    line = f"./make-archive.sh --output {options}"
    ran = execute("sh", "-c", line, cwd=small, TMPDIR=str(small), **quick)
    assert (ran.status, ran.out) == (1, "")
    assert re.fullmatch(r"c\w+: .*No space left on device\n", ran.err)
    assert left(small) == {"link"}


# What can go wrong.

NO_WHEEL = "sed -i '/^six==/s/.\\{64\\}$/'$(printf %064d 0)/ make-archive.sh; "
NO_NAME = "option --output requires a file name (see --help)"
WRONG = {
    "unknown option": (
        "./make-archive.sh --pdf",
        2,
        "unknown argument: --pdf (see --help)",
    ),
    "argument": (
        "./make-archive.sh a.tar.gz",
        2,
        "unknown argument: a.tar.gz (see --help)",
    ),
    "output without a name": ("./make-archive.sh --output", 2, NO_NAME),
    "output with an empty name": ("./make-archive.sh --output=", 2, NO_NAME),
    "output is a directory": ("./make-archive.sh --output=.", 1, ". is a directory"),
    "output in no directory": (
        "./make-archive.sh --output a/b",
        1,
        "cannot write to a/b: No such file or directory",
    ),
    "output where no file can be made": (
        "./make-archive.sh --output /proc/a",
        1,
        "cannot write to /proc: No such file or directory",
    ),
    "output is closed": (
        "./make-archive.sh --output /dev/fd/7",
        1,
        "cannot write to /dev/fd/7",
    ),
    "output is a loop of links": (
        "ln -s a ../b; ln -s b ../a; ./make-archive.sh --output ../a",
        1,
        "cannot write to ../a: Too many levels of symbolic links",
    ),
    "time is not a number": (
        "SOURCE_DATE_EPOCH=now ./make-archive.sh",
        1,
        "SOURCE_DATE_EPOCH is not a number of seconds",
    ),
    "no commit": (
        "rm -rf .git; ./make-archive.sh",
        1,
        "cannot find a commit to build from",
    ),
    "file not committed": (
        "git rm -q LICENSE; git commit -q -m Less; ./make-archive.sh",
        1,
        "LICENSE is not committed",
    ),
    "no pip": ("PATH=$BARE ./make-archive.sh", 1, "python3 with pip is required"),
    "no such wheel": (
        f"{NO_WHEEL} ./make-archive.sh",
        1,
        "pip could not download the packages",
    ),
}


@pytest.mark.parametrize(("line", "status", "message"), WRONG.values(), ids=WRONG)
def test_a_failure_leaves_nothing_behind(
    line: str, status: int, message: str, small: Path, bare: str
) -> None:
    # `work` and `output`, as the script has variables of these names too.
    same = {"TMPDIR": str(small), "work": str(small), "output": str(small)}
    environ = {**same, "PIP_NO_INDEX": "1", "BARE": bare}
    ran = execute("sh", "-c", line, cwd=small, **environ)
    assert (ran.status, ran.out) == (status, "")
    assert ran.err.splitlines()[-1] == f"make-archive.sh: {message}"
    assert left(small) == set()


FAILING = {
    "python3": ("pip could not download the packages", "*' download '*"),
    "gzip": ("could not pack the archive", "*-9*"),
    "tar": ("could not pack the archive", "*--create*"),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_failure_leaves_the_last_archive(
    name: str, small: Path, tmp_path: Path, build: Build
) -> None:
    (small / "vast.tar.gz").write_text("the last one")
    message, arguments = FAILING[name]
    real = sys.executable if name == "python3" else shutil.which(name)
    fail = f'case "$*" in {arguments}) echo half; exit 3 ;; esac'
    path = path_with(tmp_path / "path", name, f'{fail}\nexec "{real}" "$@"')
    ran = build(small, PATH=path, TMPDIR=str(small))
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.splitlines()[-1] == f"make-archive.sh: {message}"
    assert left(small) == {"vast.tar.gz"}
    assert (small / "vast.tar.gz").read_text() == "the last one"


@pytest.mark.parametrize("name", sorted({*PROGRAMS} - {"bash"}))
def test_a_missing_program_is_named(name: str, small: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for other in {*PROGRAMS, "cat", "chmod", "dirname", "mkdir", "rm"} - {name}:
        (programs / other).symlink_to(str(shutil.which(other)))
    (programs / "python3").symlink_to(sys.executable)
    ran = execute("./make-archive.sh", cwd=small, PATH=str(programs))
    required = f"{name} (GNU {name})" if name in GNU else name
    assert ran == (1, "", f"make-archive.sh: {required} is required\n")


@pytest.mark.parametrize(
    ("name", "version"), [("tar", "bsdtar 3.7.2"), ("sed", "This is not GNU sed")]
)
def test_another_program_of_the_name_is_refused(
    name: str, version: str, small: Path, tmp_path: Path
) -> None:
    path = path_with(tmp_path / "path", name, f"echo {version}")
    ran = execute("./make-archive.sh", cwd=small, PATH=path)
    assert ran == (1, "", f"make-archive.sh: {name} (GNU {name}) is required\n")


# As from a terminal, which signals all processes, or from `kill`, which signals one.
TARGETS = {"all": "0", "the script": "$PPID"}
SIGNALS = {"HUP": 129, "INT": 130, "TERM": 143}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize(("name", "status"), SIGNALS.items())
def test_a_signal_during_the_download_leaves_nothing_behind(
    name: str, status: int, target: str, small: Path, tmp_path: Path, build: Build
) -> None:
    (small / "vast.tar.gz").write_text("the last one")
    signal = f'case "$*" in *download*) kill -s {name} {target}; exec sleep 20 ;; esac'
    script = f'{signal}\nexec "{sys.executable}" "$@"'
    path = path_with(tmp_path / "path", "python3", script)
    start = time.monotonic()
    ran = build(small, PATH=path, TMPDIR=str(small))
    assert time.monotonic() - start < 15, "waited for the download"
    assert ran == (status, "", "")
    assert left(small) == {"vast.tar.gz"}
    assert (small / "vast.tar.gz").read_text() == "the last one"


def test_a_signal_while_nobody_reads_leaves_nothing_behind(
    small: Path, tmp_path: Path, build: Build
) -> None:
    os.mkfifo(small / "fifo")
    script = f'kill -s TERM $PPID\nexec {shutil.which("cp")} "$@"'
    path = path_with(tmp_path / "path", "cp", script)
    path = f"{Path(sys.executable).parent}{os.pathsep}{path}"
    ran = build(small, "--output", "fifo", PATH=path, TMPDIR=str(small))
    assert ran == (143, "", "")
    assert left(small) == {"fifo"}


def test_help_is_the_head_of_the_script(small: Path) -> None:
    ran = execute("./make-archive.sh", "--help", cwd=small)
    assert (ran.status, ran.err) == (0, "")
    assert "./make-archive.sh [--with-pdf] [--output FILE]\n" in ran.out
    assert ran.out.endswith("gzip, GNU tar, GNU sed and GNU coreutils.\n")


# On a host.


class Host:
    """A machine with a bare Python, and a folder in which an archive was unpacked."""

    def __init__(self, box: Sandbox, folder: Path, path: str) -> None:
        self.folder = folder
        self.environ = {**script_environment(box, folder), "PATH": path}

    def __call__(self, line: str) -> Ran:
        """Run a line of a shell."""
        return execute("sh", "-c", line, cwd=self.folder, **self.environ)


def unpack(archive: Path, folder: Path) -> Ran:
    """Unpack an archive into a new folder."""
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
    terms = "$0.5/h per GPU, until 2030-12-31 23:59:59 UTC"
    assert ran.out == f"machine 7103: listed at {terms}\n"
    assert host("vast/vast.py search offers machine_id=7103 -q").out != ""


DATES = {
    "Jan 5 2026 10:00": "from 2026-01-05 10:00:00 CET to ",
    "2026-07-05 10:00 CEST": "from 2026-07-05 10:00:00 CEST to ",
    "2026-01-05T10:00Z": "from 2026-01-05 11:00:00 CET to ",
    "2026-01-05 10:00 +0530": "from 2026-01-05 05:30:00 CET to ",
    "2026-01-05 10:00 Asia/Tokyo": "invalid date '2026-01-05 10:00 Asia/Tokyo'",
}


@pytest.mark.parametrize(("date", "message"), DATES.items())
def test_dates_need_no_tzdata(date: str, message: str, host: Host) -> None:
    host.environ["TZ"] = "CET-1CEST,M3.5.0,M10.5.0/3"
    ran = host(f"vast/vast.py show invoices --dry-run -s '{date}'")
    assert ran.err.startswith(f"vast.py: {message}")


WAYS = {
    "from its parent": "vast/vast.py",
    "from elsewhere": 'cd / && "$HOME/vast/vast.py"',
    "through a link": "ln -s vast/vast.py link && ./link",
    "from a read-only folder": "cp -a vast ro && chmod -R a-w ro && ro/vast.py",
    "as an argument of Python": "python3 -B vast/vast.py",
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_it_runs(way: str, host: Host) -> None:
    ran = host(f"{way} show machines --raw")
    assert (ran.status, ran.err) == (0, "")
    assert [row["id"] for row in json.loads(ran.out)] == [7101, 7102, 7103, 7104]


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
