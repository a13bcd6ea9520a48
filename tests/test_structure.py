"""What the design says of vast.py itself: its sections, its style, and what a run of it
imports, builds and opens."""

from __future__ import annotations

import argparse
import ast
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from symtable import SymbolTable, symtable
from typing import Any

import pytest

import vast
from conftest import Program, rent, script_environment
from sandbox import Sandbox

SOURCE = Path(vast.__file__).read_text(encoding="utf-8")
LINES = SOURCE.splitlines()
TREE = ast.parse(SOURCE)
REQUIREMENTS = Path(vast.__file__).with_name("requirements.txt")
README = Path(vast.__file__).with_name("README.md").read_text(encoding="utf-8")

BANNER = re.compile(r"# --- ([\w, ]+?) -+")
# The banners: number of the line, and the title of the section.
BANNERS = [
    (at, match[1]) for at, match in enumerate(map(BANNER.fullmatch, LINES), 1) if match
]
TITLES = [title for _, title in BANNERS]


def section(line: int) -> str:
    """Return the section of a line; "" is what stands before the first banner."""
    return next((title for at, title in reversed(BANNERS) if at <= line), "")


# --- sections


def listed_sections() -> str:
    """Return what the module's docstring lists as sections, in one line."""
    _, _, text = (vast.__doc__ or "").partition("only what stands above it:\n\n")
    lines = text.partition("\n\n")[0].splitlines()
    groups = "".join(
        (", " if line[4:15].strip() else " ") + line[19:].strip() for line in lines
    )
    return groups.removeprefix(", ")


def test_the_docstring_lists_the_sections_in_their_order() -> None:
    assert listed_sections() == ", ".join(TITLES)
    assert len(TITLES) == len(set(TITLES)) > 15


def test_there_are_no_other_banners() -> None:
    drawn = [at for at, line in enumerate(LINES, 1) if re.search("[-=#*~_]{5}", line)]
    comments = [at for at in drawn if LINES[at - 1].lstrip().startswith("#")]
    assert comments == [at for at, _ in BANNERS]


def test_every_banner_is_as_wide_as_a_line_may_be() -> None:
    assert {len(LINES[at - 1]) for at, _ in BANNERS} == {88}


def tables(table: SymbolTable) -> Iterator[SymbolTable]:
    """Yield a symbol table and all that are nested in it."""
    yield table
    for child in table.get_children():
        yield from tables(child)


class Statement:
    """A statement of the module: its section, and the names of the module that it
    gives a meaning and that it uses, in annotations too."""

    def __init__(self, node: ast.stmt) -> None:
        self.node, self.section = node, section(node.lineno)
        first = min([node.lineno, *(each.lineno for each in decorators(node))])
        # Without the file's own `from __future__`, which would hide the annotations.
        text = "\n".join(LINES[first - 1 : node.end_lineno])
        top, *nested = tables(symtable(text, "vast.py", "exec"))
        symbols = top.get_symbols()
        self.makes = {each.get_name() for each in symbols if each.is_assigned()}
        self.makes |= {each.get_name() for each in symbols if each.is_imported()}
        self.uses = {each.get_name() for each in symbols if each.is_referenced()}
        for table in nested:
            self.uses |= {
                each.get_name()
                for each in table.get_symbols()
                if each.is_global() and each.is_referenced()
            }


def decorators(node: ast.stmt) -> list[ast.expr]:
    """Return the decorators of a statement."""
    return list(getattr(node, "decorator_list", []))


STATEMENTS = [Statement(node) for node in TREE.body]
HOME = {name: each.section for each in reversed(STATEMENTS) for name in each.makes}


def test_a_section_names_only_what_stands_above_it() -> None:
    order = ["", *TITLES]
    below = {
        f"{each.section}, line {each.node.lineno}: {name} of {HOME[name]}"
        for each in STATEMENTS
        for name in each.uses
        if order.index(HOME.get(name, "")) > order.index(each.section)
    }
    assert below == set()


def test_what_another_section_uses_has_a_docstring() -> None:
    used = {
        name
        for each in STATEMENTS
        for name in each.uses
        if each.section != HOME.get(name)
    }
    bare = [
        each.node.name
        for each in STATEMENTS
        if isinstance(each.node, (ast.FunctionDef, ast.ClassDef))
        and each.node.name in used
        and not ast.get_docstring(each.node)
    ]
    assert bare == []


def test_a_command_stands_with_its_columns_and_functions() -> None:
    """An entry names its own subject, the foundations, and little else."""
    foundations = TITLES[: TITLES.index("offers")]
    elsewhere: dict[str, set[str]] = {}
    for each in STATEMENTS:
        if any(name.endswith("_COMMANDS") for name in each.makes):
            homes = {name: HOME[name] for name in each.uses if name in HOME}
            for name, home in homes.items():
                if home not in ("", each.section, *foundations):
                    elsewhere.setdefault(home, set()).add(name)
    # The query of offers serves the other searches too.
    assert sum(map(len, elsewhere.values())) < 25, elsewhere


# --- who names what


def running(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below a node that a run can reach: not those for mypy only."""
    for child in ast.iter_child_nodes(node):
        test = child.test if isinstance(child, ast.If) else None
        if not (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"):
            yield child
            yield from running(child)


def imported(node: ast.AST) -> set[str]:
    """Return the packages that a node imports."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]}
    return set()


def sections_that_import(package: str) -> set[str]:
    """Return the sections in which a run imports a package."""
    nodes = (node for node in running(TREE) if package in imported(node))
    return {section(node.lineno) for node in nodes if isinstance(node, ast.stmt)}


@pytest.mark.parametrize(
    ("package", "title"),
    [
        ("requests", "client"),
        ("urllib3", "client"),
        ("borb", "PDF invoice"),
        ("dateutil", "settings"),
    ],
)
def test_which_section_imports_what(package: str, title: str) -> None:
    assert sections_that_import(package) == {title}


@cache
def sections_by_name() -> dict[str, set[str]]:
    """Return the sections in which each name stands, such as sys.argv."""
    found: dict[str, set[str]] = {}
    for node in running(TREE):
        if isinstance(node, (ast.Name, ast.Attribute)):
            found.setdefault(ast.unparse(node), set()).add(section(node.lineno))
    return found


def sections_that_name(*names: str) -> set[str]:
    """Return the sections in which one of the names stands."""
    return set().union(*(sections_by_name().get(name, ()) for name in names))


@pytest.mark.parametrize(
    ("names", "titles"),
    [
        (["print"], {"settings", "output"}),
        (["sys.argv"], {"output"}),
        (["sys.exit"], {"", "output"}),
        (["sys.stdout", "sys.stderr", "sys.stdin"], {"", "output"}),
        (["os.environ", "os.getenv"], {"settings"}),
        (["os.path.expanduser"], {"settings"}),
        (["time.sleep", "time.monotonic"], {"settings"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_which_section_names_what(names: list[str], titles: set[str]) -> None:
    """A run touches the outside through its Environment only."""
    assert sections_that_name(*names) == titles


# --- commands


def test_grep_prints_the_commands() -> None:
    found = re.findall(r'^ *Command\("([^"]+)",', SOURCE, re.MULTILINE)
    assert len(re.findall(r"^ *Command\(", SOURCE, re.MULTILINE)) == len(found)
    assert sorted(found) == sorted(command.name for command in vast.COMMANDS)


def test_every_command_is_in_one_group() -> None:
    known = [command.name for command in vast.COMMANDS]
    assert len(known) == len(set(known))
    aliases = [name for command in vast.COMMANDS for name in command.aliases]
    assert not set(aliases) & set(known)
    assert len(aliases) == len(set(aliases))


REQUESTS_TO_CHECK = {
    command.name: command.run
    for command in vast.COMMANDS
    if isinstance(command.run, vast.Request)
}


@pytest.mark.parametrize("name", REQUESTS_TO_CHECK)
def test_where_to_look_after_a_change_is_a_command(name: str) -> None:
    """`vast.py show THINGS`, which messages name, is something that can be run."""
    looking = REQUESTS_TO_CHECK[name].looking()
    words = looking.split()
    typed = " ".join(words[:2]) if words[0] in vast.VERBS else words[0]
    known = {"", typed} & {"", *vast.COMMAND_BY_NAME, *vast.VERBS}
    assert typed in known, looking


def test_requests_name_only_arguments_that_they_have() -> None:
    """A {name} of a path, a sentence or a body that no argument fills shows as "-"."""
    missing = []
    for command in vast.COMMANDS:
        if isinstance(command.run, (vast.Request, vast.Listing)):
            run = command.run
            templates = [run.path]
            if isinstance(run, vast.Request):
                strings = [text for text in run.body.values() if isinstance(text, str)]
                templates += [run.done, run.doubt, run.typed, *strings]
                templates += [run.ask] if isinstance(run.ask, str) else []
            known = {arg.dest for arg in command.args} | {"reply", "said", "which"}
            known |= {"new"} if getattr(run, "made", None) else set()
            # What `prepare` or a search of its own completes.
            completed = {
                "change bid": {"bid"},
                "launch instance": {"id", "offer"},
                "list machine": {"terms"},
                "destroy team": {"team"},
            }
            known |= completed.get(command.name, set())
            for template in templates:
                unknown = vast.names_in(template) - known
                missing += [(command.name, name) for name in unknown]
    assert missing == []


# --- style


def test_the_first_lines_are_few() -> None:
    """Of what stands before the docstring's own text, a reader sees eight lines."""
    assert LINES.index("vast.py: rent GPUs on Vast.ai, and rent yours out, from the"
                       " command line.") <= 9  # fmt: skip


def test_lines_are_short() -> None:
    assert [at for at, line in enumerate(LINES, 1) if len(line) > 88] == []


def test_functions_are_short() -> None:
    sizes = {
        node.name: (node.end_lineno or 0) - node.lineno + 1
        for node in ast.walk(TREE)
        if isinstance(node, ast.FunctionDef)
        # A signature and its docstring are read, not followed.
    }
    assert {name: size for name, size in sizes.items() if size > 50} == {}
    assert statistics.median(sizes.values()) <= 11


def test_no_except_is_bare_or_broad() -> None:
    handlers = [node for node in ast.walk(TREE) if isinstance(node, ast.ExceptHandler)]
    broad = {"Exception", "BaseException"}
    caught = [
        (each.lineno, {ast.unparse(name) for name in ast.walk(each.type)
                       if isinstance(name, ast.Name)} if each.type else broad)
        for each in handlers
    ]  # fmt: skip
    assert [line for line, kinds in caught if kinds & broad] == []


def test_the_syntax_is_that_of_python_3_7() -> None:
    """Older Pythons can say that they are too old, where they can read the file."""
    ast.parse(SOURCE, feature_version=(3, 7))


def test_docstrings_are_in_the_imperative() -> None:
    """A function's docstring starts with a verb: "Return", not "Returns" or "The"."""
    odd = []
    for node in ast.walk(TREE):
        if isinstance(node, ast.FunctionDef):
            first = (ast.get_docstring(node) or "Return").split()[0]
            if re.match("(?!Pass)[A-Z][a-z]+s$|The$|An?$|Whether$|[a-z]", first):
                odd.append((node.lineno, first))
    assert odd == []


# What reads as translated, and what it was replaced by: in vast.py and the README.
TRANSLATED = """
in vain
the person said no
may be changed or not
look before repeating
started since with the label
Started. instance
until it is so
several are taken too
so many offers
keep your API key
is kept in
give an instance back
its data are lost
job away
that is taken off
takes back
leave the heading out
is sent again
goes with:
one word too many
is missing behind
is no id
is no date
here a comparison must start
is said twice
to mend it
the service fails
that the PDF cannot show
GPUs at least
do not pay
Without a word from you
report a hole
to be had
the person
come back in
is no UTF-8
""".strip().splitlines()


def found_in(text: str) -> list[str]:
    """Return which of those wordings a text has, wherever its lines break."""
    patterns = {
        words: r"[\s\"]+".join(map(re.escape, words.split())) for words in TRANSLATED
    }
    return [
        words
        for words, pattern in patterns.items()
        if re.search(pattern, text, re.IGNORECASE)
    ]


def test_nothing_reads_as_translated() -> None:
    assert found_in(SOURCE) == []


def test_nothing_in_the_readme_reads_as_translated() -> None:
    assert found_in(README) == []


@pytest.mark.parametrize("name", ["it", "place", "said"])
def test_names_are_technical_english(name: str) -> None:
    """No variable, argument or function has a name that means too much."""
    bound = [
        node.lineno
        for node in ast.walk(TREE)
        if (isinstance(node, ast.Name) and node.id == name
            and isinstance(node.ctx, ast.Store))
        or (isinstance(node, ast.arg) and node.arg == name)
        or (isinstance(node, ast.FunctionDef) and node.name == name)
    ]  # fmt: skip
    assert [line if isinstance(line, int) else 0 for line in bound] == []


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


# --- what a run imports

# Loads what the module needs anyway and then, counting, the modules in the first
# argument; the rest is run as a command line. Its last line on stderr is the count.
COUNT = """\
import importlib, json, sys
import argparse, enum, functools, gc, json, os, re, signal, time
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
    """Return the modules that COUNT finds."""
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
    "completion bash": MESSAGES,
    "search offers num_gpus=2 --dry-run": f"{MESSAGES} ipaddress shlex urllib.parse",
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


# --- parsers, connections


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
    for _ in range(60):
        rent(box)
    box.market.retired.add("invoices")
    run(*line.format(home=run.home).split())
    assert (len(box.calls), box.connections) == (REQUESTS[line], 1)
