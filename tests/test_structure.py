"""What the design says of vast.py itself: its sections, its style, and what a run of it
imports, builds and opens."""

from __future__ import annotations

import argparse
import ast
import json
import re
import shlex
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from symtable import SymbolTable, symtable
from typing import Any

import pytest
from test_commands import rent

import vast
from conftest import Program, script_environment
from sandbox import Sandbox

SOURCE = Path(vast.__file__).read_text(encoding="utf-8")
LINES = SOURCE.splitlines()
TREE = ast.parse(SOURCE)
REQUIREMENTS = Path(vast.__file__).with_name("requirements.txt")

BANNER = re.compile(r"# --- (\d+) -- ([\w ]+?) -+")
TITLES = {
    1: "errors and exit statuses",
    2: "fields and columns",
    3: "query grammar",
    4: "rendering",
    5: "settings",
    6: "client",
    7: "invoices",
    8: "commands",
    9: "command line",
}


# The banners: number of the line, of the section, and its title.
BANNERS = [
    (at, int(match[1]), match[2])
    for at, match in enumerate(map(BANNER.fullmatch, LINES), 1)
    if match
]


def section(line: int) -> int:
    """The section that a line is in; 0 is what stands before the first banner."""
    return max((number for at, number, _ in BANNERS if at <= line), default=0)


# ---------------------------------------------------------------- sections


def test_the_sections_stand_in_order() -> None:
    assert {number: title for _, number, title in BANNERS} == TITLES
    assert [number for _, number, _ in BANNERS] == sorted(TITLES)


def test_there_are_no_other_banners() -> None:
    drawn = [at for at, line in enumerate(LINES, 1) if re.search("[-=#*~_]{5}", line)]
    comments = [at for at in drawn if LINES[at - 1].lstrip().startswith("#")]
    assert comments == [at for at, _, _ in BANNERS]


def test_the_docstring_lists_the_sections() -> None:
    listed = re.findall(r"^    (\d)  (\w+(?: \w+)*)", vast.__doc__ or "", re.MULTILINE)
    assert {int(number): title for number, title in listed} == TITLES


def tables(table: SymbolTable) -> Iterator[SymbolTable]:
    """A symbol table and all that are nested in it."""
    yield table
    for child in table.get_children():
        yield from tables(child)


class Statement:
    """A statement of the module: its section, and the names of the module that it
    gives a meaning and that it uses, in annotations too."""

    def __init__(self, node: ast.stmt) -> None:
        self.node, self.section = node, section(node.lineno)
        first = min([node.lineno, *(it.lineno for it in decorators(node))])
        # Without the file's own `from __future__`, which would hide the annotations.
        text = "\n".join(LINES[first - 1 : node.end_lineno])
        top, *nested = tables(symtable(text, "vast.py", "exec"))
        symbols = top.get_symbols()
        self.makes = {it.get_name() for it in symbols if it.is_assigned()}
        self.makes |= {it.get_name() for it in symbols if it.is_imported()}
        self.uses = {it.get_name() for it in symbols if it.is_referenced()}
        for table in nested:
            self.uses |= {
                it.get_name()
                for it in table.get_symbols()
                if it.is_global() and it.is_referenced()
            }


def decorators(node: ast.stmt) -> list[ast.expr]:
    """The decorators of a statement."""
    return list(getattr(node, "decorator_list", []))


STATEMENTS = [Statement(node) for node in TREE.body]
HOME = {name: it.section for it in reversed(STATEMENTS) for name in it.makes}


def test_a_section_names_only_what_stands_above_it() -> None:
    below = {
        f"section {it.section}, line {it.node.lineno}: {name} of section {HOME[name]}"
        for it in STATEMENTS
        for name in it.uses
        if HOME.get(name, 0) > it.section
    }
    assert below == set()


def test_what_another_section_uses_has_a_docstring() -> None:
    used = {
        name for it in STATEMENTS for name in it.uses if it.section != HOME.get(name)
    }
    bare = [
        it.node.name
        for it in STATEMENTS
        if isinstance(it.node, (ast.FunctionDef, ast.ClassDef))
        and it.node.name in used
        and not ast.get_docstring(it.node)
    ]
    assert bare == []


# ---------------------------------------------------------------- who names what


def running(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below a node that a run can reach: not those for mypy only."""
    for child in ast.iter_child_nodes(node):
        test = child.test if isinstance(child, ast.If) else None
        if not (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"):
            yield child
            yield from running(child)


def docstrings() -> set[int]:
    """The ids of the nodes that are docstrings."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    owners = [node for node in ast.walk(TREE) if isinstance(node, kinds)]
    firsts = [owner.body[0] for owner in owners if ast.get_docstring(owner)]
    return {id(node.value) for node in firsts if isinstance(node, ast.Expr)}


def imported(node: ast.AST) -> set[str]:
    """The packages that a node imports."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]}
    return set()


def sections_that_import(package: str) -> set[int]:
    """The sections in which a run imports a package."""
    nodes = (node for node in running(TREE) if package in imported(node))
    return {section(node.lineno) for node in nodes if isinstance(node, ast.stmt)}


@pytest.mark.parametrize(
    ("package", "number"),
    [("requests", 6), ("urllib3", 6), ("borb", 7), ("dateutil", 5)],
)
def test_which_section_imports_what(package: str, number: int) -> None:
    assert sections_that_import(package) == {number}


def sections_that_name(*names: str) -> set[int]:
    """The sections in which one of the names stands, such as print or sys.argv."""
    kinds = (ast.Name, ast.Attribute)
    nodes = (node for node in running(TREE) if isinstance(node, kinds))
    return {section(node.lineno) for node in nodes if ast.unparse(node) in names}


@pytest.mark.parametrize(
    ("names", "number"),
    [
        (["print"], 9),
        (["sys.argv"], 9),
        (["sys.exit"], 9),
        (["sys.stdout", "sys.stderr", "sys.stdin"], 9),
        (["os.environ", "os.getenv"], 5),
        (["os.path.expanduser"], 5),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_which_section_names_what(names: list[str], number: int) -> None:
    assert sections_that_name(*names) == {number}


def test_which_section_names_the_home() -> None:
    notes = docstrings()
    texts = (node for node in running(TREE) if isinstance(node, ast.Constant))
    assert {
        section(node.lineno)
        for node in texts
        if isinstance(node.value, str) and "~" in node.value and id(node) not in notes
    } == {5}


def test_grep_prints_the_commands() -> None:
    found = re.findall(r'^    Command\("([^"]+)", ', SOURCE, re.MULTILINE)
    assert found == [command.name for command in vast.COMMANDS]


# ---------------------------------------------------------------- style


def test_lines_are_short() -> None:
    assert [at for at, line in enumerate(LINES, 1) if len(line) > 88] == []


def test_functions_are_short() -> None:
    sizes = {
        node.name: (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(TREE)
        if isinstance(node, ast.FunctionDef)
    }
    assert {name: size for name, size in sizes.items() if size > 50} == {}
    assert statistics.median(sizes.values()) <= 12


def test_no_except_is_bare_or_broad() -> None:
    handlers = [node for node in ast.walk(TREE) if isinstance(node, ast.ExceptHandler)]
    broad = (None, "Exception", "BaseException")
    caught = [(it.lineno, it.type and ast.unparse(it.type)) for it in handlers]
    assert [line for line, kind in caught if kind in broad] == []


def test_what_is_not_covered_has_a_reason() -> None:
    pragmas = [line for line in LINES if "pragma: no cover" in line]
    assert [line for line in pragmas if not re.search("no cover - .{8}", line)] == []


def test_the_inline_metadata_are_the_requirements() -> None:
    block = re.search(r"^# /// script\n((?:# .*\n)+)# ///$", SOURCE, re.MULTILINE)
    assert block
    metadata = re.sub("^# ", "", block[1], flags=re.MULTILINE)
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    required = [line for line in lines if line and not line.startswith("#")]
    assert re.findall(r'^    "(.*)",$', metadata, re.MULTILINE) == required
    assert 'requires-python = ">=3.10"\n' in metadata


# ---------------------------------------------------------------- what a run imports

# Loads what the module needs anyway and then, counting, the modules in the first
# argument; the rest is run as a command line. Its last line on stderr is the count.
COUNT = """\
import importlib, json, sys
import argparse, enum, functools, os, re, time
before = {*sys.modules, "vast", "__future__"}
modules, *words = sys.argv[1:]
for name in modules.split():
    importlib.import_module(name)
if words:
    import vast
    vast.main(words)
print("\\n", json.dumps(sorted({*sys.modules} - before)), file=sys.stderr)
"""


def modules(environment: dict[str, str], *arguments: str) -> set[str]:
    """The modules that COUNT finds."""
    ran = subprocess.run(
        [sys.executable, "-c", COUNT, *arguments],
        env={**environment, "PYTHONPATH": str(Path(vast.__file__).parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(ran.stderr.splitlines()[-1])
    assert isinstance(found, list)
    return set(found)


MESSAGES = "errno locale"  # by which argparse looks for a translation of its messages
# A command line -> what it imports besides what every start does.
IMPORTS = {
    "--help": "",
    "--version": "",
    "serch offers": "difflib",
    "search offers --help": f"{MESSAGES} textwrap",
    "search offers gpu_nme=1": f"{MESSAGES} difflib",
    "set api-key k": MESSAGES,
    "create account": MESSAGES,
    "completion bash": f"{MESSAGES} shlex",
    "search offers num_gpus=2 --dry-run": f"{MESSAGES} shlex urllib.parse",
}


@pytest.mark.parametrize("line", IMPORTS)
def test_what_is_imported_before_a_request(
    box: Sandbox, tmp_path: Path, line: str
) -> None:
    environment = script_environment(box, tmp_path)
    expected = modules(environment, IMPORTS[line])
    assert modules(environment, "", *line.split()) == expected
    assert not {"typing", "dataclasses", "inspect"} & expected


# A command line -> which of the three packages it imports.
PACKAGES = {
    "search offers": {"requests"},
    "show instances": {"requests"},
    "unlist machine 7101": {"requests"},
    "show invoices": {"requests"},
    "show invoices -s 2026-01": {"requests", "dateutil"},
    "list machine 7101 -e 2099-01-01": {"requests", "dateutil"},
    "list machine 7101 -e 4070908800": {"requests"},
    "generate pdf-invoices -o {home}/x.pdf": {"requests", "borb"},
}


@pytest.mark.parametrize("line", PACKAGES)
def test_which_packages_are_imported(box: Sandbox, tmp_path: Path, line: str) -> None:
    words = line.format(home=tmp_path).split()
    found = modules(script_environment(box, tmp_path), "", *words)
    assert found & {"requests", "dateutil", "borb"} == PACKAGES[line]


# ---------------------------------------------------------------- parsers, connections


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("", 0),
        ("--help", 0),
        ("--version", 0),
        ("help query", 1),
        ("show", 0),
        ("serch offers", 0),
        ("search offers --help", 1),
        ("search offers", 1),
        ("destroy instance 1 2 3", 1),
    ],
)
def test_how_many_parsers_are_built(
    run: Program, monkeypatch: pytest.MonkeyPatch, line: str, count: int
) -> None:
    built, build = [], argparse.ArgumentParser.__init__

    def counted(parser: argparse.ArgumentParser, **settings: Any) -> None:
        built.append(parser)
        build(parser, **settings)

    monkeypatch.setattr(argparse.ArgumentParser, "__init__", counted)
    run(*line.split())
    assert len(built) == count


# A command line -> how many requests it sends.
REQUESTS = {
    "show instances": 3,
    "stop instance 5001 5002 5003": 3,
    "start instance 5001 5002 --wait": 4,
    "destroy instance 5001 9 5002": 3,
    "show invoices": 3,
    "generate pdf-invoices -o {home}/x.pdf": 4,
}


@pytest.mark.parametrize("line", REQUESTS)
def test_one_connection_is_enough(run: Program, box: Sandbox, line: str) -> None:
    for number in range(5001, 5061):
        rent(box, number)
    box.market.retired.add("invoices")
    run(*line.format(home=run.home).split())
    assert (len(box.calls), box.connections) == (REQUESTS[line], 1)


# ---------------------------------------------------------------- the shell's way in

NOT_BESIDE = {"PYTHONDONTWRITEBYTECODE": "1"}
# How a person may have put it somewhere: the copy's name, what is typed in its folder,
# what the environment says, and from there to where the bytecode lies.
WAYS: dict[str, tuple[str, str, dict[str, str], str]] = {
    "its own name": ("vast.py", "./vast.py", {}, "a folder/__pycache__"),
    "another name": ("my vast", "./my vast", {}, "a folder/__pycache__"),
    "no name ending": ("vast", "./vast", {}, "a folder/__pycache__"),
    "a link": ("vast.py", "bin/rent", {}, "a folder/__pycache__"),
    "not beside it": ("vast.py", "./vast.py", NOT_BESIDE, ".cache/vast.py{folder}"),
    "a cache of one's own": (
        "vast.py",
        "./vast.py",
        NOT_BESIDE | {"XDG_CACHE_HOME": "{home}/my cache"},
        "my cache/vast.py{folder}",
    ),
}


@pytest.mark.parametrize(("name", "typed", "env", "kept"), WAYS.values(), ids=WAYS)
def test_its_bytecode_is_kept(
    box: Sandbox,
    tmp_path: Path,
    name: str,
    typed: str,
    env: dict[str, str],
    kept: str,
) -> None:
    folder = tmp_path / "a folder"
    (folder / "bin").mkdir(parents=True)
    shutil.copy(vast.__file__, folder / name)
    (folder / "bin" / "rent").symlink_to(folder / name)
    environment = {**script_environment(box, tmp_path), "PYTHONVERBOSE": "1"}
    environment |= {name: text.format(home=tmp_path) for name, text in env.items()}
    # --dry-run imports shlex, whose bytecode must not be kept there.
    words = [typed, "label", "instance", "7", 'it\'s "$HOME" *\n', "--dry-run"]
    runs = [
        subprocess.run(
            words, cwd=folder, env=environment, capture_output=True, text=True
        )
        for _ in range(2)
    ]
    assert runs[0].stdout == runs[1].stdout
    assert shlex.quote(json.dumps({"label": words[4]})) in runs[1].stdout
    (bytecode,) = tmp_path.rglob("*.pyc")
    assert bytecode.parent == tmp_path / kept.format(folder=folder)
    read = f"# code object from '{bytecode}'"
    assert [read in ran.stderr for ran in runs] == [False, True]


def test_no_module_of_the_current_folder_is_imported(
    box: Sandbox, tmp_path: Path
) -> None:
    for name in ("argparse", "importlib", "os", "re", "requests", "sys"):
        (tmp_path / f"{name}.py").write_text("print('not this one')\n")
    ran = subprocess.run(
        [vast.__file__, "search", "offers", "--limit", "1", "-q"],
        cwd=tmp_path,
        env=script_environment(box, tmp_path),
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.strip().isdecimal()
