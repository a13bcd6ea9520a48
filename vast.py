#!/bin/sh
""":"; exec python3 -c 'import os, sys; __file__ = os.path.realpath(sys.argv[1])
import _signal; callable(_signal.getsignal(2)) and _signal.signal(2, 0); del sys.argv[0]
if sys.version_info < (3, 10): os.write(2, b"vast.py: needs Python 3.10+\n"); exit(2)
sys.path[0] = os.path.dirname(__file__); import argparse
try: run = type(argparse.__loader__)(__name__, __file__).get_code(__name__)
except (EOFError, ImportError, TypeError, ValueError): run = open(__file__, "rb").read()
exec(run)' "$0" "$@"  # Python keeps bytecode of modules only: as one, it starts faster

vast.py: rent GPUs on Vast.ai, and rent yours out, from the command line.

Sections, from top to bottom; each names only what stands above it:

    foundations    errors and exit statuses, rendering, settings, client,
                   kinds of command
    subjects       offers, instances, copying and logs, SSH keys and environment
                   variables, templates, storage, hosting, billing, PDF invoice,
                   account, keys and teams, serverless
    command line   parser, help and completion, output

A subject holds its columns, its functions and its commands' entries, side by side;
`grep '^ *Command(' vast.py` lists all commands.

Exit statuses:

    0    success; an empty list is success
    1    the service refused, or there is no such object, or it is not ready
    2    the command line or the query is wrong; nothing was sent
    3    timed out (--wait), or you declined
    4    no API key, or the service does not accept it
    5    the service can't be reached, or keeps failing; retrying is safe
    6    outcome unknown: a change was sent and no answer came; check before
         retrying
    130  Ctrl-C (and 129, 143: SIGHUP, SIGTERM)
"""

# /// script
# requires-python = ">=3.10"
# dependencies = [
#     "requests>=2.31,<3",
#     "python-dateutil>=2.8.2,<5",
#     "borb>=3.0.9,<4",
# ]
# ///

from __future__ import annotations

# `signal` itself makes enums of this module's numbers: half a millisecond.
import _signal as signal  # type: ignore[import-not-found]
import gc

if __name__ == "__main__":  # pragma: no cover - in a process of its own
    gc.disable()  # `decode` enables it: starting makes nothing to collect
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `program` can report it

import sys

# For `python3 vast.py`, which skips the first lines.
if sys.version_info < (3, 10):  # pragma: no cover - in a process of its own
    sys.stderr.write("vast.py: needs Python 3.10+\n")
    sys.exit(2)

import argparse
import json
import os
import re
import time
from enum import IntEnum
from functools import partial

# False at run time: importing `typing` would make every start a quarter slower.
TYPE_CHECKING = False
if TYPE_CHECKING:  # pragma: no cover - only mypy reads it
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from decimal import Decimal
    from typing import Any, NoReturn, TextIO

    from requests import PreparedRequest, Response
    from requests import Session as HttpSession

    Row = dict[str, Any]

__version__ = "2.0.0"

# The archive for bare hosts carries the packages in lib/, beside this file.
LIB = os.path.join(os.path.dirname(os.path.realpath(__file__)), "lib")
if os.path.isdir(LIB):  # pragma: no cover - in a process of its own
    sys.path.insert(0, LIB)

PROGRAM = "vast.py"  # the name it was started with, see `program`


# --- errors and exit statuses ---------------------------------------------------------


class ExitStatus(IntEnum):
    """How a command ended; the docstring at the top says when.

    With several ids the highest counts.
    """

    SUCCESS = 0
    REFUSED = 1
    USAGE = 2
    NOT_DONE = 3
    NO_KEY = 4
    UNREACHABLE = 5
    UNKNOWN = 6
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143


class VastError(Exception):
    """The service refused; subclasses are whatever else ends a command with one line.

    `slug` names the kind of error for `--raw`; `http` is the status of the response,
    None when there was none; `reply` is the response, decoded if it was JSON.
    """

    status = ExitStatus.REFUSED
    slug = "refused"
    reply: object = None

    def __init__(self, msg: str, slug: str = "", http: int | None = None) -> None:
        super().__init__(msg)
        self.slug = slug or self.slug
        self.http = http

    def as_json(self) -> Row:
        """Return {"error": slug, "msg": text, "status": HTTP status or None}."""
        return {"error": self.slug, "msg": str(self), "status": self.http}


class UsageError(VastError):
    """The command line or the query is wrong; nothing was sent."""

    status = ExitStatus.USAGE
    slug = "usage"


class QueryError(UsageError):
    """A query is wrong between two positions of its text."""

    slug = "query"

    def __init__(self, msg: str, query: str, start: int, end: int) -> None:
        super().__init__(msg)
        self.query, self.start, self.end = query, start, end


class NotDone(VastError):
    """Timed out, declined, or failed after something had been paid."""

    status = ExitStatus.NOT_DONE
    slug = "not_done"


class NoKey(VastError):
    """There is no API key, or the service does not accept it."""

    status = ExitStatus.NO_KEY
    slug = "auth_error"


class Unreachable(VastError):
    """No response; nothing was changed, so retrying is safe."""

    status = ExitStatus.UNREACHABLE
    slug = "unreachable"


class OutcomeUnknown(VastError):
    """A change was sent, and whether it was carried out is not known."""

    status = ExitStatus.UNKNOWN
    slug = "outcome_unknown"


class Interrupted(VastError):
    """Ctrl-C, or another signal to stop."""

    status = ExitStatus.INTERRUPTED
    slug = "interrupted"

    def __init__(self, msg: str, cause: BaseException | None = None) -> None:
        super().__init__(msg)
        self.status = getattr(cause, "status", ExitStatus.INTERRUPTED)


class Signalled(KeyboardInterrupt):
    """Ctrl-C, SIGTERM or SIGHUP, which stop a command."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = ExitStatus(128 + number)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the nearest of the known words, or ""."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


# --- rendering ------------------------------------------------------------------------


class Column:
    """A column of a table: `value * scale` in the printf format `format` ("" is text).

    `source` is a field, several ("a|b": the first that is not null), or a function of
    the row and of the time now in unix seconds. On a narrow terminal, columns that are
    not `essential` are dropped.
    """

    def __init__(
        self,
        heading: str,
        source: str | Callable[[Row, float], object],
        format: str = "",
        help: str = "",
        scale: float = 1,
        essential: bool = False,
        field: str = "",
    ) -> None:
        self.heading, self.source, self.help = heading, source, help
        self.format, self.scale = format and "%" + format, scale
        self.essential = essential
        # Its name in queries and sort keys, in addition to its heading.
        own = source.partition("|")[0] if isinstance(source, str) else ""
        self.field = field or own

    def values(self, rows: Sequence[Row], now: float) -> list[Any]:
        """Return the column's value in each of the rows."""
        if not isinstance(self.source, str):
            compute = self.source
            return [compute(row, now) for row in rows]
        name, *others = self.source.split("|")
        values = [row.get(name) for row in rows]
        if name in VARIABLES:
            values = list(map(mask_variables, values))
        for other in others:
            pairs = zip(rows, values)
            values = [row.get(other) if v is None else v for row, v in pairs]
        return values

    def cells(self, rows: Sequence[Row], now: float, last: bool) -> list[str]:
        """Return the column's cells, see `cell`."""
        values = self.values(rows, now)
        return [cell(value, self.format, self.scale, last) for value in values]


class Table:
    """Rows to show; `value` is what `--raw` prints instead of the rows themselves.

    `key` is the field that `-q` prints. `several`: with `--raw`, each row is a document
    of its own beside the errors of other ids.
    """

    def __init__(
        self,
        rows: list[Row],
        columns: Sequence[Column],
        value: object = None,
        key: str = "id",
        several: bool = False,
    ) -> None:
        self.rows, self.columns, self.key, self.several = rows, columns, key, several
        self.value = rows if value is None else value


class Result:
    """What a command did: `text` for people, `value` for `--raw`.

    `of` is the id that it is about when the command was given several.
    """

    def __init__(self, value: Any, text: str = "", of: object = None) -> None:
        self.value, self.text, self.of = value, text, of


class Failed:
    """One of several ids failed; `result` is what had been done with it before."""

    def __init__(
        self, of: object, error: VastError, result: Result | None = None
    ) -> None:
        self.of, self.error, self.result = of, error, result


if TYPE_CHECKING:  # pragma: no cover - only mypy reads it
    # What a command yields: text is a line of stdout, bytes are its whole content.
    Shown = Table | Result | Failed | str | bytes


# Names under which the service sends what would let others in.
CREDENTIALS = frozenset(
    """api_key instance_api_key jupyter_token token access_token auth_token sid
    session_id session_key password secret client_secret tfa_secret image_login
    docker_login_pass authorization_token private_key ssh_private_key new_api_key
    result_url temp_download_url""".split()
)
MASK = "********"
VARIABLES = ("env", "extra_env")  # fields that hold environment variables
NESTED = frozenset((dict, list))
SECRET_NAME = (
    r"(?i)password|passwd|passphrase|(?<![a-z])(api|auth|access|private|secret)?"
    r"(keys?|tokens?|secrets?|pass|pwd|pats?|credentials?|logins?|auth|authorization)"
    r"(?![a-z])"
)
NUMBER = r"(?ai)[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
PASSWORD_URL = r"://[^/\s@]*:[^/\s@]+@"


def visible(text: str) -> str:
    """Return text without control characters: each becomes its escape, as in \\x1b."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


def width(text: str) -> int:
    """Return how many columns of a terminal printable text takes."""
    if text.isascii():
        return len(text)
    from unicodedata import category, east_asian_width

    return sum(
        0 if category(char) in ("Mn", "Me") else 1 + (east_asian_width(char) in "WF")
        for char in text
    )


def shorten(text: str, columns: int) -> str:
    """Return text, cut to a number of columns with "…" at its end if it is wider."""
    if width(text) <= columns:
        return text
    while text and width(text) > columns - 1:
        text = text[:-1]
    return text + "…"


def caret(error: QueryError) -> str:
    """Return the two lines that show where in its query an error is."""
    query = "".join(char if char.isprintable() else " " for char in error.query)
    before = " " * width(query[: error.start])
    under = "^" * (width(query[error.start : error.end]) or 1)
    return f"  {query}\n  {before}{under}"


def as_int(text: str) -> int | None:
    """Return a whole number, or None."""
    return int(text) if re.fullmatch("[+-]?[0-9]{1,18}", text) else None


def as_number(text: str) -> float | None:
    """Return a finite number, an int where it is whole, or None."""
    if as_int(text) is not None:
        return as_int(text)
    value = float(text) if re.fullmatch(NUMBER, text) else float("nan")
    return value if abs(value) < float("inf") else None


def format_number(value: object, format: str, scale: float = 1) -> str | None:
    """Return a number of any size as text, None for whatever is not a number."""
    if isinstance(value, str):
        value = as_number(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return format % (value * scale)
    except (OverflowError, ValueError):  # infinite, or too large for a float
        pass
    try:
        return str(value)
    except ValueError:  # over 4,300 digits
        return "inf" if value > 0 else "-inf"


def cell(value: object, format: str = "", scale: float = 1, last: bool = False) -> str:
    """Return one value of a row as a cell: no control characters, never empty, and no
    spaces unless it stands in the last column."""
    text = format_number(value, format, scale) if format not in ("", "%s") else None
    if text is not None:
        return text
    if value is None:
        return "-"
    if not isinstance(value, str):
        shown = without_credentials(value)
        value = json.dumps(shown, ensure_ascii=False, sort_keys=True)
    text = visible(value.strip(" ")) or "-"
    return text if last else text.replace(" ", "_")


def fit(
    columns: Sequence[Column], texts: list[list[str]], room: int
) -> tuple[list[int], list[int]]:
    """Return which columns fit a terminal `room` columns wide, and their widths.

    Columns that are not essential go first, from right to left; then columns of text
    are cut, from right to left too.
    """
    widths = [max(map(width, text), default=0) for text in texts]
    kept = list(range(len(columns)))
    for index in reversed(range(len(columns))):
        if sum(widths[i] + 2 for i in kept) - 2 <= room:
            break
        if not columns[index].essential and len(kept) > 1:
            kept.remove(index)
    over = sum(widths[i] + 2 for i in kept) - 2 - room
    for index in reversed(kept):
        spare = 0 if columns[index].format else widths[index] - 8
        cut = max(min(over, spare), 0)
        widths[index] -= cut
        over -= cut
    return kept, widths


def table_text(
    rows: Sequence[Row],
    columns: Sequence[Column],
    now: float,
    heading: bool = True,
    room: int | None = None,
) -> tuple[str, int]:
    """Return rows as lines of cells, two spaces apart, and how many columns were
    dropped to fit into `room` columns of a terminal (None: any number)."""
    texts = [
        [column.heading] * heading + column.cells(rows, now, index == len(columns) - 1)
        for index, column in enumerate(columns)
    ]
    if room is None:
        kept = list(range(len(columns)))
    else:
        kept, limits = fit(columns, texts, room)
    padded = []
    for index in kept:
        text = texts[index]
        if room is not None:
            text = [shorten(cell, limits[index]) for cell in text]
        if columns[index].format or index != kept[-1]:
            widths = list(map(len if "".join(text).isascii() else width, text))
            most = max(widths, default=0)
            pad = str.rjust if columns[index].format else str.ljust
            text = [pad(cell, most - w + len(cell)) for cell, w in zip(text, widths)]
        padded.append(text)
    lines = map("  ".join, zip(*padded))
    return "".join(line.rstrip(" ") + "\n" for line in lines), len(columns) - len(kept)


def pick_columns(
    names: str, columns: Sequence[Column], rows: Sequence[Row]
) -> list[Column]:
    """Return the columns that `--cols` names, by heading or field, in its order.

    Raises UsageError.
    """
    known = {column.field: column for column in reversed(columns) if column.field}
    known |= {column.heading: column for column in columns}
    for row in rows:
        for name in filter(str.isidentifier, row.keys() - known.keys() - CREDENTIALS):
            known[name] = Column(name, name, essential=True)
    picked = []
    for name in names.split(","):
        column = known.get(name.strip())
        if not column:
            hint = did_you_mean(name, known)
            names = " ".join(sorted(known))
            raise UsageError(f"unknown column '{name}'{hint} (known: {names})")
        picked.append(column)
    return picked


def bar(share: float, columns: int = 20) -> str:
    """Return a bar of block characters for a share from 0 to 1."""
    eighths = round(min(max(share, 0), 1) * columns * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def masked(name: object, value: object) -> object:
    """Return a variable's value, masked if its name or the value says that it may let
    others in."""
    words = re.sub("(?<=[a-z])(?=[A-Z])", " ", str(name))
    is_url = isinstance(value, str) and re.search(PASSWORD_URL, value)
    return MASK if is_url or re.search(SECRET_NAME, words) else value


def mask_variables(variables: object) -> object:
    """Return environment variables, an object, pairs or Docker's options as a template
    has them, with secret values masked."""
    if isinstance(variables, str):
        return mask_options(variables)
    if isinstance(variables, dict):
        return {name: masked(name, value) for name, value in variables.items()}
    if isinstance(variables, list):
        return [
            [pair[0], masked(*pair)]
            if isinstance(pair, list) and len(pair) == 2
            else pair
            for pair in variables
        ]
    return variables


def mask_options(text: str) -> str:
    """Return "-e TOKEN=abc -p 80:80" with secret values masked."""
    import shlex

    try:
        words = shlex.split(text)
    except ValueError:
        return MASK
    pairs = [word.partition("=") for word in words]
    shown = [
        name + equals + str(masked(name, value)) if equals else name
        for name, equals, value in pairs
    ]
    return text if shown == words else shlex.join(shown)


def without_credentials(value: Any) -> Any:
    """Return a decoded value without what lets others in; the given one stays as it is.

    Credentials are left out; of environment variables, only the values are masked.
    """
    if type(value) is dict:
        if not value.keys().isdisjoint(CREDENTIALS):
            value = {k: inner for k, inner in value.items() if k not in CREDENTIALS}
        for name in VARIABLES:
            if name in value:
                value = {**value, name: mask_variables(value[name])}
        nested = [k for k, inner in value.items() if type(inner) in NESTED]
        kept = {k: without_credentials(value[k]) for k in nested}
        changed = {k: inner for k, inner in kept.items() if inner is not value[k]}
        return value | changed if changed else value
    if type(value) is list:
        items = [without_credentials(item) for item in value]
        same = all(new is old for new, old in zip(items, value))
        return value if same else items
    return value


def encode(value: object, indent: int | None = None) -> str:
    """Return JSON text; a number beyond floats, such as 1e400, stays one."""
    try:  # the encoder sorts: sorted copies of 10,000 offers took 14 % longer
        return json.dumps(value, allow_nan=False, sort_keys=True, indent=indent)
    except ValueError:
        text = json.dumps(value, sort_keys=True, indent=indent)
        strings = r'("(?:[^"\\]|\\.)*")|Infinity'
        return re.sub(strings, lambda match: match[1] or "1e999", text)


def json_text(value: object, indent: bool) -> str:
    """Return one JSON document, keys sorted, ASCII only.

    Indented for people; otherwise each row of an array stands on a line of its own.
    """
    if indent:
        return encode(value, 2)
    if isinstance(value, dict):
        pairs = (f"{encode(k)}: {json_text(value[k], False)}" for k in sorted(value))
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        lines = ",\n".join(map(encode, value))
        return f"[\n{lines}\n]"
    return encode(value)


# --- settings -------------------------------------------------------------------------

SERVICE = "https://console.vast.ai"
SERVERLESS = "https://run.vast.ai"  # a few calls of serverless endpoints go there
KEYS_PAGE = "https://cloud.vast.ai/manage-keys/"
CA_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

ENVIRONMENT_HELP = f"""\
  VAST_API_KEY     API key; overrides the key file, --api-key overrides both
  VAST_URL         address of the service; --url overrides it
                   (default: {SERVICE})
  HOME             where the key file is: ~/.vast_api_key
  XDG_CONFIG_HOME  where the vendor's client saves its key, which is read if
                   there is no ~/.vast_api_key (default: ~/.config)
  COLUMNS          width of tables on a terminal
  HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE
                   as in other programs"""

# Suffixes that a number may have, by the unit in which it is read.
SUFFIXES: dict[str, dict[str, float]] = {
    "0..1": {"%": 0.01},
    "%": {"%": 1},
    "GB": {"mb": 0.001, "gib": 1, "gb": 1, "tb": 1000},
    "seconds": {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800},
    "hours": {"h": 1, "d": 24},
    "days": {"h": 1 / 24, "d": 1, "w": 7},
}


def parse_quantity(text: str, unit: str = "") -> float | None:
    """Return a number in a unit, or None: "24GB", "98%", "30d" and "$0.5" are numbers
    where the unit is GB, 0..1, days or begins with $."""
    text = text.strip().lower()
    if unit.startswith("$"):
        text = text.removeprefix("$")
    for suffix, factor in SUFFIXES.get(unit, {}).items():
        value = as_number(text.removesuffix(suffix).rstrip())
        if text.endswith(suffix) and value is not None:
            return round(value * factor, 12)
    return as_number(text)


def invalid(noun: str, text: str, rule: str) -> argparse.ArgumentTypeError:
    """Return the error for an argument whose value breaks a rule."""
    return argparse.ArgumentTypeError(f"invalid {noun} '{shorten(text, 60)}': {rule}")


def identifier(text: str) -> int:
    """Parse an id of the service: a whole number from 1 on."""
    if not re.fullmatch("[0-9]{1,18}", text) or not int(text):
        raise invalid("id", text, "must be a whole number")
    return int(text)


def volume_id(text: str) -> int:
    """Parse the id of a volume: 9, or V.9 as the service writes it."""
    return identifier(re.sub("^[vV][.]", "", text))


def number(
    noun: str,
    unit: str = "",
    least: float = float("-inf"),
    most: float = float("inf"),
    above: float = float("-inf"),
    whole: bool = False,
) -> Callable[[str], Any]:
    """Return a type of argument: a finite number in `unit` between its limits."""
    rule = "must be a whole number" if whole else "must be a number"
    if unit and unit != "0..1":
        rule += " of dollars" if unit == "$" else f" of {unit}"
    if most < float("inf"):
        rule += f" from {least:g} to {most:g}"
    elif least > float("-inf"):
        rule += f", at least {least:g}"
    elif above > float("-inf"):
        rule += f" above {above:g}"

    def convert(text: str) -> float:
        value = parse_quantity(text, unit)
        if value is not None and whole:
            value = int(value) if value == int(value) else None
        if value is None or not least <= value <= most or value <= above:
            raise invalid(noun, text, rule)
        return value

    return convert


class Choice:
    """A type of argument: one of a few words, each of which stands for itself, or for
    what an alias ("interruptible=bid") has behind its "="."""

    def __init__(self, noun: str, *words: str) -> None:
        self.noun = noun
        pairs = [word.partition("=") for word in words]
        self.values = {word: value or word for word, _, value in pairs}

    def __call__(self, text: str) -> str:
        word = text.replace("_", "-")
        for known, value in self.values.items():
            if word.lower() == known.lower():
                return value
        raise argparse.ArgumentTypeError(
            f"invalid {self.noun} '{text}'; choose from {', '.join(self.values)}"
        )


def file_name(text: str) -> str:
    """Parse the name of a file; completion offers files for this type."""
    return text


def json_object(text: str) -> Row:
    """Parse a JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise invalid("JSON object", text, 'use one such as \'{"NAME": "VALUE"}\'')
    return value


def at_most(noun: str, length: int) -> Callable[[str], str]:
    """Return a type of argument: text of at most `length` characters."""

    def convert(text: str) -> str:
        if len(text) > length:
            msg = f"the {noun} is too long: at most {length} characters"
            raise argparse.ArgumentTypeError(msg)
        return text

    return convert


def duration(text: str) -> str:
    """Parse how long a listing lasts: "30 days" as the service takes it, or seconds."""
    match = re.fullmatch(r"(?i)(\d{1,6})\s*(d|day|w|week|month|year)s?", text.strip())
    if match and int(match[1]):
        units = {"d": "day", "w": "week"}
        unit = units.get(match[2].lower(), match[2].lower())
        return f"{int(match[1])} {unit}s"
    if not re.fullmatch("[0-9]{1,12}", text) or not int(text):
        rule = "use 30 days, 2 weeks, 6 months, 1 year, or seconds"
        raise invalid("duration", text, rule)
    return text


def parse_date(text: str, last: bool = False, utc: bool = False) -> int:
    """Return a date as unix seconds, in the local zone (or UTC) unless it names one.

    Nine digits or more are unix seconds already. Missing parts are their last if
    `last`, otherwise their first: "2022-02" ends with February's last second, or
    starts with its first. Raises argparse.ArgumentTypeError.
    """
    import warnings
    from datetime import datetime, timezone

    if re.fullmatch(r"[0-9]{9,11}(\.[0-9]*)?", text):
        return int(float(text))
    from dateutil.parser import parse

    error = invalid("date", text, "use YYYY-MM-DD")
    if len(text) > 40 or re.search(r"\d{15}", text):
        raise error
    zone = timezone.utc if utc else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a zone that dateutil does not know
            first = parse(text, default=datetime(2000, 1, 1, tzinfo=zone))
            end = parse(text, default=datetime(2004, 12, 31, 23, 59, 59, tzinfo=zone))
            seconds = int((end if last else first).timestamp())
    except (ValueError, ArithmeticError, OSError, TypeError, Warning):
        raise error from None
    if first.year != end.year:
        raise invalid("date", text, "the year is missing; use YYYY-MM-DD")
    return seconds


# Types of argument: the first or the last second of a date, local or in UTC.
start_date, end_date = parse_date, partial(parse_date, last=True)
utc_start, utc_end = partial(parse_date, utc=True), partial(end_date, utc=True)


def format_time(
    seconds: object, format: str = "%Y-%m-%d %H:%M:%S %Z", utc: bool = False
) -> str | None:
    """Return unix seconds as a date in the local zone (or UTC), None if they are not a
    date."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return None
    try:
        parts = time.gmtime(seconds) if utc else time.localtime(seconds)
        return time.strftime(format, parts)
    except (ValueError, OverflowError, OSError):
        return None


def at(
    field: str, format: str = "%Y-%m-%d_%H:%M", utc: bool = False
) -> Callable[[Row, float], object]:
    """Return a column's source: a field of unix seconds as a local date, or in UTC."""
    return lambda row, now: format_time(row.get(field), format, utc) or row.get(field)


class Environment:
    """What a run touches outside itself: variables, clock and streams, handed in so
    that tests need not wait. `now` and `monotonic` give seconds; `execute` replaces
    this program with another.

    Notes and progress go to stderr, questions to the terminal.
    """

    def __init__(
        self,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        stdin: TextIO | None = None,
        environ: Mapping[str, str] = os.environ,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        execute: Callable[[str, list[str]], object] = os.execvp,
    ) -> None:
        self.stdout, self.stderr, self.stdin = stdout, stderr, stdin
        self.environ, self.execute = environ, execute
        self.now, self.monotonic, self.sleep = now, monotonic, sleep
        self.rewriting = False  # whether a progress line stands on the terminal

    def on_terminal(self) -> bool:
        """Return whether results are shown on a terminal."""
        return bool(self.stdout and self.stdout.isatty())

    def columns(self) -> int | None:
        """Return the width of the terminal that shows the results, None without one."""
        if not self.stdout or not self.stdout.isatty():
            return None
        wanted = as_int(self.environ.get("COLUMNS", ""))
        if wanted and wanted > 0:
            return wanted
        try:
            return os.get_terminal_size(self.stdout.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def write_error(self, text: str) -> None:
        """Write to stderr; a progress line there is overwritten."""
        try:
            if self.stderr:
                clear = "\r\x1b[K" if self.rewriting else ""
                print(f"{clear}{text}", end="", file=self.stderr, flush=True)
        except OSError:  # nobody reads it
            self.stderr = discard(self.stderr)
        self.rewriting = False

    def note(self, text: str) -> None:
        """Print a line on stderr."""
        self.write_error(f"{os.path.basename(PROGRAM)}: {visible(text)}\n")

    def progress(self, text: str, milestone: bool = False) -> None:
        """Show on a terminal what goes on, in a line that the next one overwrites;
        elsewhere print only milestones."""
        if self.stderr and self.stderr.isatty():
            self.write_error(shorten(visible(text), 79))
            self.rewriting = True
        elif milestone:
            self.note(text)

    def become(self, words: list[str]) -> None:
        """Replace this program with another. Raises UsageError."""
        self.write_error("")
        try:
            self.execute(words[0], words)
        except OSError as error:
            reason = f"cannot run {words[0]}: {error.strerror}"
            raise UsageError(reason, "program") from None

    def can_ask(self) -> bool:
        """Return whether somebody sits at the terminal."""
        return bool(self.stdin and self.stdin.isatty())

    def prompt(self, question: str, secret: bool = False) -> str:
        """Ask on the terminal, wherever stdout and stderr go; return the answer."""
        if secret:
            from getpass import getpass

            self.write_error("")
            try:
                return getpass(visible(question))
            except EOFError:  # Ctrl-D
                return ""
        try:
            with open("/dev/tty", "w", encoding="utf-8") as terminal:
                if not self.stderr or not self.stderr.isatty():
                    print(visible(question), end="", file=terminal, flush=True)
                    return self.read_line()
        except OSError:  # no terminal of its own
            pass
        self.write_error(visible(question))
        return self.read_line()

    def read_line(self) -> str:
        """Return a line of stdin without its end. Raises UsageError."""
        try:
            line = self.stdin.readline() if self.stdin else ""
            line.encode()  # in some locales, other bytes become surrogates
        except ValueError:
            raise UsageError("stdin is not UTF-8 text") from None
        return line.strip("\r\n")

    def confirm(
        self, question: str, expected: str = "", required: bool = False
    ) -> None:
        """Ask whether to go ahead; without a terminal that is a yes, unless `required`.

        `expected` has to be typed in full instead of a yes. Raises NotDone.
        """
        if not self.can_ask():
            if required:
                raise UsageError("there is no terminal to confirm this on; use -y")
            return
        hint = f"type {expected} to confirm:" if expected else "[y/N]"
        answer = self.prompt(f"{question} {hint} ").strip()
        good = (expected,) if expected else ("y", "yes")
        if (answer if expected else answer.lower()) not in good:
            raise NotDone("nothing was changed", "declined")


def discard(stream: TextIO | None) -> TextIO:
    """Return a stream to nowhere; Python's own flush of `stream` goes there too."""
    nowhere = open(os.devnull, "w", encoding="utf-8")
    try:
        if stream:
            os.dup2(nowhere.fileno(), stream.fileno())
    except OSError:  # not a file of the system's, as in tests
        pass
    return nowhere


def base_url(text: str) -> str:
    """Return an address without a path such as /api/v0. Raises UsageError."""
    from ipaddress import ip_address
    from urllib.parse import urlsplit

    try:
        url = urlsplit(re.sub(r"(/api(/v\d+)?)?/*$", "", text.strip()))
        host, more = url.hostname or "", url.path or url.query or url.fragment
        good = not more and url.port != 0 and url.scheme in ("http", "https")
        if ":" in host or re.fullmatch(r"[0-9.]+", host):
            loopback = ip_address(host).is_loopback
        else:
            loopback = host == "localhost"
            label = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
            good = good and bool(re.fullmatch(rf"{label}(\.{label})*\.?", host))
    except ValueError:  # a port that is not a number, or a bad IP address
        good = loopback = False
    if not good or "@" in text:
        raise UsageError(f"invalid address '{text}'; use one such as {SERVICE}")
    if url.scheme == "http" and not loopback:
        raise UsageError(f"'{text}' would send the API key unencrypted; use https")
    return f"{url.scheme}://{url.netloc}"


def home(environ: Mapping[str, str]) -> str:
    """Return the user's home directory."""
    return environ.get("HOME") or os.path.expanduser("~")


def expand_home(path: str, environ: Mapping[str, str]) -> str:
    """Return the path of a file with ~ replaced, where the shell left that to us."""
    return home(environ) + path[1:] if re.match("~(/|$)", path) else path


def key_files(environ: Mapping[str, str]) -> list[str]:
    """Return where the API key may be saved: our file, then the vendor's client's."""
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(home(environ), ".config")
    return [
        os.path.join(home(environ), ".vast_api_key"),
        os.path.join(config, "vastai", "vast_api_key"),
    ]


def session_file(environ: Mapping[str, str]) -> str:
    """Return where `tfa login` saves its session key."""
    return os.path.join(home(environ), ".vast_tfa_key")


def check_key(key: str) -> str:
    """Return a key without spaces around it. Raises UsageError."""
    key = key.strip()
    if not re.fullmatch("[!-~]+", key):
        raise UsageError("an API key is one word of letters and digits", "bad_key")
    return key


def key_hint() -> str:
    """Return how to get a key, and how to save it so that nobody else sees it."""
    return f"get a key at {KEYS_PAGE} and save it with: {PROGRAM} set api-key"


def find_key(given: str | None, env: Environment) -> str:
    """Return the API key, from the first of: `--api-key`, VAST_API_KEY, a session of
    `tfa login`, the key files. Raises NoKey."""
    key = given or env.environ.get("VAST_API_KEY")
    if key:
        return check_key(key)
    for path in (session_file(env.environ), *key_files(env.environ)):
        key = read_key_file(path, env)
        if key:
            try:
                return check_key(key)
            except UsageError as error:
                raise NoKey(f"{path}: {error}", "bad_key") from None
    raise NoKey(f"no API key; {key_hint()}")


def read_key_file(path: str, env: Environment) -> str:
    """Return the text of a key file, "" without one; note when others can read it."""
    from stat import S_ISREG

    try:
        # A FIFO without a writer must not be waited for.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8") as file:
            info = os.fstat(file.fileno())
            if not S_ISREG(info.st_mode):
                raise NoKey(f"cannot read the API key in {path}: not a regular file")
            text = file.read(4096).strip()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise NoKey(f"cannot read the API key in {path}: {reason}") from None
    if info.st_mode & 0o077 or info.st_uid not in (os.getuid(), 0):
        fix = f"to fix this: chmod 600 {path}"
        env.note(f"others can read the API key in {path}; {fix}")
    return text


def write_file(path: str, content: bytes, mode: int | None = None) -> None:
    """Write a file; raise UsageError when that fails.

    A regular file is replaced as a whole and keeps its mode; a link to one stays.
    Devices, pipes and the like are written into. `mode` is for secrets: the file gets
    it, less the umask, and even a link is replaced, since someone may have planted it.
    """
    try:
        if mode is not None:
            replace_file(path, content, mode)
            return
        try:
            # The system is asked first: it lets nobody write into what is read-only, or
            # by way of another user's link in a folder like /tmp.
            opened = os.open(path, os.O_WRONLY)
        except FileNotFoundError:  # nothing, or a link to nothing, which is replaced
            replace_file(path, content, 0o666)
            return
        with open(opened, "wb") as file:
            info, target = os.fstat(opened), os.path.realpath(path)
            if os.path.isfile(target) and os.path.samestat(info, os.stat(target)):
                replace_file(target, content, info.st_mode & 0o777, exactly=True)
            else:
                file.write(content)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", "file") from None


def replace_file(path: str, content: bytes, mode: int, exactly: bool = False) -> None:
    """Write a file under a temporary name beside it, then rename it: a full disk loses
    nothing. The umask counts unless `exactly`."""
    temporary = f"{path}.{os.getpid()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with open(descriptor, "wb") as file:
            if exactly:
                os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)


def read_text(path: str, most: int = 1 << 20) -> str:
    """Return the text of a file, up to `most` characters. Raises UsageError."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(most)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "file") from None
    except ValueError:
        raise UsageError(f"{path} is not UTF-8 text", "file") from None


def secret_value(text: str, env: Environment, question: str) -> str:
    """Return a secret: `text` itself, or for "-" a line of stdin, for which a prompt
    without echo asks on a terminal. Raises UsageError when it is empty."""
    if text == "-":
        prompt = env.can_ask()
        text = env.prompt(question, secret=True) if prompt else env.read_line()
    if not text:
        raise UsageError(f"no {question.rstrip(': ')} was given")
    return text


# --- client ---------------------------------------------------------------------------

CONNECT_TIMEOUT = 10.0  # seconds until a connection stands
READ_TIMEOUT = 60.0  # seconds without a byte
TOTAL_TIMEOUT = 120.0  # seconds in all, for responses slower than SLOWEST
SLOWEST = 10_000  # bytes a second
LARGEST = 256 * 1024 * 1024  # bytes of a body
CHUNK = 64 * 1024  # bytes read at a time; with 16 KB, 10,000 offers take 3 % longer
LONGEST_WAIT = 60.0  # seconds that a rate limit may make the user wait
MOST_PAGES, MOST_ROWS = 2000, 1_000_000  # of one list

NEVER = float("inf")  # seconds to wait where another try is of no use

# Why a request got no usable response. After the first two it was surely not carried
# out, so that anything may be sent again; after the next two, only what does no harm
# twice.
NOT_CARRIED_OUT = ("unreachable", "rate_limited")
PASSING = (*NOT_CARRIED_OUT, "no_answer", "server_error")
BAD_REPLY = "bad_reply"
PASSING_STATUSES = (500, 502, 503, 504)

# The slugs by which the service says that an object does not exist (any more).
GONE = frozenset(
    """not_found no_such_instance no_such_volume no_such_ask no_ssh_key no_such_ssh_key
    no_such_machine no_such_workergroup nonexistent_key""".split()
)


# Those of a 429 that is not about the rate of requests: another try is of no use.
REFUSED_429 = ("tfa_locked", "sms_rate_limited")


class Call:
    """A request to the service: method, path, body and query parameters.

    `once`: never sent again when the outcome is unknown. `doubt` is what to say then.
    `proof` names the keys of which one has to be in the response to a change, "" for
    any response at all. `exact`: fractions remember their text, for sums of money.
    `secrets` names the keys of the body whose values `--dry-run` masks. `serverless`:
    it goes to the host of serverless endpoints.
    """

    def __init__(
        self,
        method: str,
        path: str,
        body: Row | None = None,
        params: Mapping[str, str] | None = None,
        *,
        read: bool = False,
        once: bool = False,
        doubt: str = "",
        proof: str = "success",
        exact: bool = False,
        secrets: Iterable[str] = (),
        serverless: bool = False,
    ) -> None:
        self.method, self.path, self.body, self.params = method, path, body, params
        self.read, self.once = read or method == "GET", once
        self.doubt, self.proof, self.exact = doubt, proof, exact
        self.secrets, self.serverless = frozenset(secrets), serverless

    def endpoint(self) -> str:
        """Return what a rate limit counts: the method, and the path without its ids."""
        return self.method + re.sub(r"/\d+", "/N", self.path.partition("?")[0])

    def in_doubt(self) -> str:
        """Return what to add to an error when a change may have been carried out."""
        if self.read:
            return ""
        default = "it may or may not have been carried out; check before retrying"
        return f"; {self.doubt or default}"


class DryRun(Exception):
    """`--dry-run`: the request that would have been sent, and to which URL."""

    def __init__(self, call: Call, url: str) -> None:
        super().__init__(url)
        self.call, self.url = call, url


class Failure(Exception):
    """A request got no usable response: the kind (one of PASSING, or BAD_REPLY), the
    least number of seconds to wait before another try, and what the response was."""

    def __init__(
        self,
        kind: str,
        msg: str,
        http: int | None = None,
        wait: float = 0,
        text: str = "",
    ) -> None:
        super().__init__(msg)
        self.kind, self.http, self.wait, self.text = kind, http, wait, text


class Exact(float):
    """A number of a JSON text that remembers how it was written, for exact sums."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Exact:
        value = super().__new__(cls, text)
        value.text = text
        return value

    def __str__(self) -> str:
        return self.text


class Body:
    """The body of a request, which notices when the connection begins to send it.

    Headers go first and need a connection, a proxy's tunnel and TLS: until then,
    nothing can have been carried out, whatever went wrong.
    """

    def __init__(self, content: bytes) -> None:
        self.content, self.sent = content, False

    def __len__(self) -> int:
        return len(self.content)

    def __iter__(self) -> Iterator[bytes]:
        self.sent = True
        yield self.content


class Transfer:
    """A request on its way. A thread of its own carries it, so that a response that
    trickles in can be given up, and Ctrl-C ends it at once.

    As a context manager it keeps whatever ended the request for the main thread.
    """

    def __init__(self, http: HttpSession, request: Row, body: Body | None) -> None:
        self.http, self.request, self.body = http, request, body
        self.received = bytearray()
        self.answered = False  # whether the headers of a response have come
        self.response: Response | None = None
        self.error: BaseException | None = None

    def __enter__(self) -> None:
        """Begin; there is nothing to prepare."""

    def __exit__(
        self, kind: object, error: BaseException | None, trace: object
    ) -> bool:
        self.error = error
        return True

    def run(self) -> None:
        """Send the request and collect the response."""
        with self:
            timeout = (CONNECT_TIMEOUT, READ_TIMEOUT)
            request = {**self.request, "data": self.body, "timeout": timeout}
            with self.http.request(
                stream=True, allow_redirects=False, **request
            ) as response:
                self.answered = True
                response.raw.enforce_content_length = True  # urllib3 1 would not notice
                for chunk in response.iter_content(CHUNK):
                    self.received += chunk
                    if len(self.received) > LARGEST:
                        msg = f"the response is over {LARGEST >> 20} MB"
                        raise Failure(BAD_REPLY, msg)
                self.response = response

    def finish(self, monotonic: Callable[[], float]) -> tuple[Response, bytearray]:
        """Wait for the response, as long as it comes fast enough. Raises Failure, or
        UsageError where the address makes no request possible."""
        from threading import Thread

        start = monotonic()
        thread = Thread(target=self.run, daemon=True)
        thread.start()
        thread.join(TOTAL_TIMEOUT)
        while thread.is_alive():
            taken = monotonic() - start
            if len(self.received) + CHUNK < taken * SLOWEST:
                msg = f"no response within {taken:.0f} s"
                raise Failure("no_answer", msg, wait=NEVER)
            thread.join(min(1, TOTAL_TIMEOUT))
        if self.response is None:
            self.fail(self.error or OSError("the connection failed"))
        return self.response, self.received

    def fail(self, error: BaseException) -> NoReturn:
        """Raise the Failure or UsageError that ended the request."""
        from requests.exceptions import ContentDecodingError

        if isinstance(error, Failure):
            raise error
        if isinstance(error, ContentDecodingError):
            raise Failure(BAD_REPLY, "the response is not compressed as it says")
        if self.answered or (self.body is not None and self.body.sent):
            raise Failure("no_answer", innermost(error))
        if isinstance(error, ValueError):  # requests' InvalidURL and its like
            raise UsageError(f"invalid address or proxy: {redact(innermost(error))}")
        raise Failure("unreachable", innermost(error))


def innermost(error: BaseException) -> str:
    """Return the message of the error that an error of requests wraps."""
    chain: list[BaseException] = [error]
    for link in chain:
        inner = [*getattr(link, "args", ()), getattr(link, "reason", None)]
        chain += [each for each in inner if isinstance(each, BaseException)]
    msg = str(getattr(chain[-1], "strerror", None) or chain[-1])
    msg = re.sub(r"^.*?object at 0x\w+>: |^\w*Connection\(host=.*?\): ", "", msg)
    return msg or type(chain[-1]).__name__


def redact(text: str, *secrets: str) -> str:
    """Return text without the given secrets, nor users and passwords in URLs."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "(your key)")
    return re.sub(r"://[^/\s@]*@", "://(redacted)@", text)


def waiting_time(response: Response, text: str, now: float) -> tuple[float, float]:
    """Return the seconds until a request that met a rate limit may be sent again, and
    the endpoint's threshold: the least time between two requests, 0 if unknown."""
    from email.utils import parsedate_to_datetime

    match = re.search(r"threshold\s*[=:]\s*(\d{1,9}(?:\.\d{1,9})?)", text)
    threshold = float(match[1]) if match else 0.0
    waits = [threshold]
    after = response.headers.get("Retry-After", "")
    reset = as_number(response.headers.get("X-RateLimit-Reset", ""))
    if as_number(after) is not None:
        waits.append(float(after))
    elif after:
        try:
            waits.append(parsedate_to_datetime(after).timestamp() - now)
        except (ValueError, OverflowError, TypeError, OSError):
            pass
    if reset is not None:  # a date in unix seconds, or seconds from now
        waits.append(reset - now if reset > 1e9 else reset)
    if "search_quota_exceeded" in text:  # that of a day
        waits.append(NEVER if reset is None else LONGEST_WAIT + 1)
    return max(waits), threshold


class Client:
    """The service: `send` takes a call and returns the decoded response.

    One connection serves all its calls. The key travels in a header, set by an `auth`
    function: anything else would let ~/.netrc replace it. `paid` says what has been
    rented, created or paid in this run, as in "instance 5001: rented"; from then on no
    error may invite a retry.
    """

    def __init__(self, args: argparse.Namespace, env: Environment) -> None:
        self.given_url = args.url or env.environ.get("VAST_URL") or ""
        self.retry, self.dry_run, self.env = args.retry, args.dry_run, env
        self.given_key, self.key = args.api_key, ""
        self.paid = ""
        self.http: HttpSession | None = None
        self.pace: dict[str, float] = {}  # endpoint -> least seconds between calls
        self.last: dict[str, float] = {}  # endpoint -> when it was called last

    def base(self, call: Call) -> str:
        """Return the address that a call goes to; a given one is for all of them."""
        default = SERVERLESS if call.serverless else SERVICE
        return base_url(self.given_url or default)

    def send(self, call: Call) -> Any:
        """Return the response to a call: an object whose `success` is not false, or for
        calls that have others, any JSON value.

        Sends it again, up to `--retry` times, when that does no harm. Raises VastError.
        """
        base = self.base(call)
        if self.dry_run:
            from urllib.parse import urlencode

            query = urlencode(call.params or {})
            mark = "&" if "?" in call.path else "?"
            raise DryRun(call, base + call.path + (mark + query if query else ""))
        self.key = self.key or find_key(self.given_key, self.env)
        for name in CA_BUNDLES:
            path = self.env.environ.get(name)
            if path and not os.path.exists(path):
                raise UsageError(f"{name}: there is no file {path}")
        try:
            return self.persist(call, base)
        except KeyboardInterrupt as cause:
            raise Interrupted(f"interrupted{call.in_doubt()}", cause) from None
        except NoKey:
            if not self.end_session():
                raise
            return self.send(call)

    def end_session(self) -> bool:
        """Forget the session of `tfa login` if its key was the one refused."""
        path = session_file(self.env.environ)
        try:
            with open(path, encoding="utf-8") as file:
                if self.key != file.read().strip():
                    return False
            os.unlink(path)
        except (OSError, ValueError):
            return False
        self.env.note("the session of `tfa login` has expired; using the API key")
        self.key = ""
        return True

    def persist(self, call: Call, base: str) -> Any:
        """Send a call until it succeeds, is refused, or is not worth another try."""
        from random import uniform

        again = NOT_CARRIED_OUT if call.once else PASSING
        unsure = False  # whether an earlier try may have been carried out
        tries = 0
        while True:
            try:
                return self.attempt(call, base)
            except VastError as refusal:
                if not unsure or call.read:
                    raise
                gone = refusal.slug in GONE or "not found for user" in str(refusal)
                if call.method == "DELETE" and gone:
                    return {"success": True}  # the earlier try was carried out
                unknown = OutcomeUnknown(f"{refusal}{call.in_doubt()}")
                unknown.http, unknown.reply = refusal.http, refusal.reply
                raise unknown from None
            except Failure as failure:
                wait = max(failure.wait, min(2**tries, 32) * uniform(0.5, 1))
                unsure = unsure or failure.kind not in NOT_CARRIED_OUT
                tries += 1
                hopeless = failure.kind not in again or wait > LONGEST_WAIT
                if hopeless or tries > self.retry:
                    raise self.give_up(call, base, failure, unsure, wait) from None
                msg = redact(str(failure), self.key)
                self.env.progress(f"{msg}; retrying in {wait:.1f} s")
                self.env.sleep(wait)

    def give_up(
        self, call: Call, base: str, failure: Failure, unsure: bool, wait: float
    ) -> VastError:
        """Return the error that a failure ends as; `unsure`: the change may be made."""
        msg = redact(str(failure), self.key)
        if failure.kind == "unreachable":
            msg = f"cannot reach {base}: {msg}"
        if failure.kind == "rate_limited":
            when = "later" if wait == NEVER else f"in {wait:.0f} s"
            msg = f"too many requests: {msg}; retry {when}"
        if unsure and not call.read:
            error = OutcomeUnknown(msg + call.in_doubt(), http=failure.http)
            error.reply = failure.text
            return error
        kind = VastError if failure.kind == BAD_REPLY else Unreachable
        return kind(msg, failure.kind, failure.http)

    def attempt(self, call: Call, base: str) -> Any:
        """Send a call once. Raises Failure, or the VastError of a refusal."""
        response, body = self.transfer(call, base)
        status = response.status_code
        if status == 429:
            slug, msg, _ = self.error_parts(body)
            if slug in REFUSED_429 or "already sent" in msg:
                raise VastError(msg, slug, status)
            text = body.decode("utf-8", "replace")
            wait, threshold = waiting_time(response, text, self.env.now())
            self.pace[call.endpoint()] = threshold
            raise Failure("rate_limited", msg, status, wait)
        if status >= 500:
            wait = 0 if status in PASSING_STATUSES else NEVER
            raise Failure("server_error", f"server error (HTTP {status})", status, wait)
        if 300 <= status < 400:
            # Not followed: a write would turn into a read.
            target = redact(response.headers.get("Location", "nowhere"), self.key)
            msg = f"the service redirects to {target}; set its address with --url"
            raise VastError(msg, "redirect", status)
        if status >= 400:
            raise self.refusal(body, status)
        return self.accepted(call, status, body)

    def accepted(self, call: Call, status: int, body: bytearray) -> Any:
        """Return the value that a 2xx response holds. Raises Failure, VastError."""
        try:
            reply = decode(body, call.exact)
        except (ValueError, RecursionError):
            if not call.proof and status != 204 and body.strip()[:1] not in b"<{[":
                return {"msg": redact(body.decode("utf-8", "replace"), self.key)}
            text = body[:10_000].decode("utf-8", "replace")
            msg = "the response is not JSON"
            raise Failure(BAD_REPLY, msg, status, text=text) from None
        if isinstance(reply, dict):
            if reply.get("success") is False or reply.get("status") == "failure":
                raise self.refusal(body, status)
            found = {key for key in call.proof.split("|") if reply.get(key) is not None}
            if reply.get("success") is not True:
                found.discard("success")
            if call.read or not call.proof or found:
                return reply
            raise Failure(BAD_REPLY, "the response does not confirm success", status)
        if call.read and isinstance(reply, list):
            return reply
        if not call.proof and isinstance(reply, str):
            return {"msg": reply}
        raise Failure(BAD_REPLY, "the response is not a JSON object", status)

    def transfer(self, call: Call, base: str) -> tuple[Response, bytearray]:
        """Send a request, at the endpoint's pace once that is known."""
        if self.http is None:
            self.http = http_session(base)
            self.http.auth = self.authorize
        endpoint = call.endpoint()
        if endpoint in self.pace:
            early = self.last[endpoint] + self.pace[endpoint] - self.env.monotonic()
            if early > 0:
                self.env.sleep(early)
        self.last[endpoint] = self.env.monotonic()
        request: Row = {"method": call.method, "url": base + call.path}
        request["params"], body = call.params, None
        if call.body is not None or not call.read:  # it notices when a change is sent
            body = Body(json.dumps(call.body or {}).encode())
            request["headers"] = {"Content-Type": "application/json"}
        return Transfer(self.http, request, body).finish(self.env.monotonic)

    def fetch(self, url: str) -> tuple[int, str]:
        """Return status and text of a file that the service made, which lies on another
        host: no key is sent there, and nothing but https. Bytes that are not UTF-8 are
        surrogates. Raises VastError, Failure."""
        own = self.base(Call("GET", "/"))
        local = own.startswith("http:") and url.startswith(own + "/")
        if not url.startswith("https://") and not local:
            msg = "the result lies at an address that is not https"
            raise VastError(msg, BAD_REPLY)
        http = http_session(url)
        http.auth = lambda request: request  # otherwise ~/.netrc would be asked
        request = {"method": "GET", "url": url}
        response, body = Transfer(http, request, None).finish(self.env.monotonic)
        return response.status_code, body.decode("utf-8", "surrogateescape")

    def authorize(self, request: PreparedRequest) -> PreparedRequest:
        """Put the key into a request's header."""
        if self.key:
            request.headers["Authorization"] = f"Bearer {self.key}"
        return request

    def error_parts(self, body: bytearray) -> tuple[str, str, object]:
        """Return the slug and the message of an error's body, whatever it looks like,
        and the body itself if it was JSON.

        The service may repeat the key: it is redacted before anything is cut.
        """
        text = redact(body.decode("utf-8", "replace"), self.key)
        try:
            reply = json.loads(text)
        except (ValueError, RecursionError):
            reply = None
        if isinstance(reply, str):
            text = redact(reply, self.key)
        if not isinstance(reply, dict):
            plain = re.sub("<[^>]*>", " ", text[:2000])
            return "", " ".join(plain.split())[:200], reply
        names = ("msg", "message", "error_msg", "detail", "error")
        parts = (reply.get(key) for key in names)
        slug = str(reply.get("error") or "")
        msg = next((str(part) for part in parts if part), "no reason given")
        if slug and re.fullmatch(r"\w+", slug):
            msg = msg.removeprefix(f"{slug}:").strip() or msg
        msg = re.sub(r"^no_such_ask:?\s*", "", msg) or msg
        return redact(slug, self.key), redact(msg, self.key), reply

    def refusal(self, body: bytearray, status: int) -> VastError:
        """Return the error for a refusal, in the service's own words."""
        slug, msg, reply = self.error_parts(body)
        msg = msg or f"the service refused (HTTP {status})"
        login = re.search("requires login|log in again|invalid user key", msg, re.I)
        denied = status == 401 and slug != "invalid_backup_code"
        if slug == "auth_error" or denied or login:
            two_factor = "two factor" in msg.lower()
            hint = f"run: {PROGRAM} tfa login" if two_factor else key_hint()
            return NoKey(f"{msg.rstrip('.')}; {hint}", http=status)
        error = VastError(msg, slug, status)
        error.reply = reply
        return error

    def pages(
        self, call: Call, rows_key: str, limit: int | None = None, size: int = 0
    ) -> tuple[list[Row], Row]:
        """Return the rows of a list that comes in pages, at most `limit`, and its last
        page. `size` is how many rows a page may have. Raises VastError."""
        rows: list[Row] = []
        tokens: list[str] = []
        params = dict(call.params or {})
        while True:
            if size:
                wanted = size if limit is None else min(size, limit - len(rows))
                params["limit"] = str(wanted)
            page = Call("GET", call.path, params=params, exact=call.exact)
            reply = self.send(page)
            rows += rows_of(reply, rows_key)
            token = reply.get("next_token") if isinstance(reply, dict) else None
            if not token or (limit is not None and len(rows) >= limit):
                return rows[:limit], reply if isinstance(reply, dict) else {}
            fresh = isinstance(token, str) and token.isprintable()
            endless = len(tokens) >= MOST_PAGES or len(rows) > MOST_ROWS
            if not fresh or token in tokens or endless:
                raise VastError("the pages of the response do not end", BAD_REPLY)
            tokens.append(token)
            params["after_token"] = token


def http_session(base: str) -> HttpSession:
    """Return an HTTP session that ignores cookies, and 103 Early Hints."""
    from http.client import HTTPResponse

    from requests import Session
    from urllib3.connection import HTTPConnection

    class FinalResponse(HTTPResponse):
        def begin(self) -> None:
            super().begin()
            while 100 < self.status < 200:  # more is to come
                self.headers = self.msg = None  # type: ignore[assignment]
                super().begin()
            del self.headers["Set-Cookie"]

    HTTPConnection.response_class = FinalResponse
    http = Session()
    # Otherwise requests reads and parses redirects that nobody follows.
    vars(http)["get_redirect_target"] = lambda response: None
    http.headers["User-Agent"] = f"vast.py/{__version__}"
    # A proxy must not see what goes unencrypted to this machine itself.
    http.trust_env = base.startswith("https:")
    return http


def decode(body: bytearray, exact: bool) -> object:
    """Return decoded JSON; `exact`: numbers remember their text. Raises ValueError."""
    gc.disable()  # rows make no cycles: saves a tenth of the time of 10,000 offers
    try:
        floats = Exact if exact else None
        return json.loads(body.decode(), parse_constant=no_number, parse_float=floats)
    finally:
        if len(body) > 1 << 20:  # otherwise there is little to walk over
            gc.freeze()
        gc.enable()


def no_number(text: str) -> NoReturn:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError(text)


def rows_of(reply: object, keys: str) -> list[Row]:
    """Return the rows of a response: under the first of the keys ("a|b") that it has,
    "" for a bare array or row with an id, "{field}" for a bare row with that field.
    Null is none; an object is one. Raises VastError."""
    whole = isinstance(reply, list) or (isinstance(reply, dict) and "id" in reply)
    for key in keys.split("|"):
        if whole and not key:
            rows: Any = reply
        elif isinstance(reply, dict) and key in reply:
            rows = reply[key]
        elif isinstance(reply, dict) and key[:1] == "{" and key[1:-1] in reply:
            rows = reply
        else:
            continue
        if rows is None:
            return []
        if isinstance(rows, dict):
            return [rows]
        if isinstance(rows, list) and set(map(type, rows)) <= {dict}:
            return rows
    what = keys.split("|")[0].strip("{}") or "rows"
    raise VastError(f"the response has no list of {what}", BAD_REPLY)


def is_gone(error: VastError) -> bool:
    """Return whether a request was answered that there is no such object or call."""
    return error.http in (404, 410) and not isinstance(error, NoKey)


# --- kinds of command -----------------------------------------------------------------

# In front of a word it keeps argparse from taking it for an option or for its own "--";
# no word of a command line can contain it.
LITERAL = "\0"


class Arg:
    """An argument of a command: a positional, or an option if its names have dashes.

    A positional takes several words if its name ends in + or *, may be missing if it
    ends in ?, and takes all the words that follow if it ends in "..." (so does an
    option). `type` converts the text; bool is a flag. In the body of a request it is
    called `wire` ("": it is not sent), by default its own name. `say` are the words for
    it in what is reported afterwards, or a function that returns them. An option that
    `stands_for` another, or for a positional, is replaced by that. `suggest` are words
    for completion, with their help.
    """

    def __init__(
        self,
        names: str,
        help: str = "",
        type: Callable[[str], Any] = str,
        *,
        default: Any = None,
        wire: str | None = None,
        say: str | Callable[[Any], str] = "",
        required: bool = False,
        append: bool = False,
        secret: bool = False,
        stands_for: str = "",
        suggest: Mapping[str, str] | None = None,
    ) -> None:
        self.many = next((m for m in ("...", "+", "*", "?") if names.endswith(m)), "")
        words = names.removesuffix(self.many).split()
        self.flags = [word for word in words if word.startswith("-")]
        self.long = next((flag for flag in words if flag.startswith("--")), words[-1])
        self.dest = self.long.strip("-").replace("-", "_")
        self.help, self.type, self.default = help, type, default
        self.wire = self.dest if wire is None else wire
        self.say, self.secret, self.stands_for = say, secret, stands_for
        self.required, self.append, self.suggest = required, append, suggest or {}
        self.is_flag = type is bool or stands_for.startswith("--")
        self.metavar = self.dest.upper() if self.flags else self.dest

    def add_to(self, parser: argparse._ActionsContainer) -> None:
        """Declare it to argparse."""
        convert = self.type
        more: Row = {"help": self.help.replace("%", "%%")}
        if not self.help:
            more["help"] = argparse.SUPPRESS
        if self.is_flag:
            more["action"] = "store_true"
        else:
            more["type"] = lambda text: convert(text.removeprefix(LITERAL))
            more["default"] = self.default
            if self.append:
                more["action"] = "append"
        if self.flags:
            if not self.is_flag:
                more |= {"metavar": self.metavar, "required": self.required}
            parser.add_argument(*self.flags, dest=self.dest, **more)
            return
        if self.many:
            more["nargs"] = "*" if self.many == "..." else self.many
        parser.add_argument(self.dest, metavar=self.metavar, **more)


def ids(help: str = "one or more ids") -> Arg:
    """Return the argument for one or more ids, called `id`."""
    return Arg("id+", help, identifier)


TABLE_ARGS = (
    Arg("--cols", "columns to show: a,b,c; see help columns", wire=""),
    Arg("--wide", "show all columns, even if they do not fit", bool, wire=""),
    Arg("--no-header", "omit the header row", bool, wire=""),
)
LISTING_ARGS = (
    Arg("-q --quiet", "print only the ids, one per line", bool, wire=""),
    *TABLE_ARGS,
)
SECONDS = number("time", "seconds", 0)
LIMIT = number("limit", least=1, whole=True)
GPUS = number("number of GPUs", least=1, whole=True)
YES_ARG = Arg("-y --yes", "do not ask for confirmation", bool, wire="")
WAIT_ARGS = (
    Arg("--wait", "wait until the change is complete", bool, wire=""),
    Arg("--timeout", "give up waiting after this many seconds (default: 600)", SECONDS,
        default=600.0, wire=""),
)  # fmt: skip
# The day and the hour of a schedule that names none; "*" is any, and can't be changed.
SCHEDULES = {"HOURLY": ("*", "*"), "DAILY": ("*", "0"), "WEEKLY": ("0", "0")}
SCHEDULE_ARGS = (
    Arg("--schedule", "do it HOURLY, DAILY or WEEKLY from now on, and not now",
        Choice("schedule", *SCHEDULES), wire=""),
    Arg("--start_date", "first day of a schedule, UTC (today)", utc_start, wire=""),
    Arg("--end_date", "end of a schedule, UTC (after 7 days)", utc_end, wire=""),
    Arg("--day", "day of a WEEKLY schedule: 0 (Sunday, the default) to 6", wire=""),
    Arg("--hour", "hour of a DAILY or WEEKLY schedule: 0 (default) to 23", wire=""),
)  # fmt: skip


class Values(dict):  # type: ignore[type-arg] # typing is not imported
    """The values that fill a template; what is missing shows as "-"."""

    def __missing__(self, name: str) -> str:
        return "-"


def fill_path(template: str, values: Mapping[str, Any]) -> str:
    """Return a path with its {names} replaced by escaped values. Raises UsageError."""
    from urllib.parse import quote

    def fill(match: re.Match[str]) -> str:
        text = str(values[match[1]])
        if text in ("", ".", ".."):  # would make it another path
            raise UsageError(f"'{text}' is not a name that the service can have")
        return quote(text, safe="")

    return re.sub(r"\{(\w+)\}", fill, template)


def names_in(template: str) -> set[str]:
    """Return the {names} of a template."""
    return set(re.findall(r"\{(\w+)", template))


def given(declared: Iterable[Arg], args: argparse.Namespace) -> Row:
    """Return the arguments that were given and are sent, by their names on the wire."""
    found = {}
    for arg in declared:
        value = getattr(args, arg.dest, None)
        if arg.wire and not arg.stands_for and value is not None and value is not False:
            found[arg.wire] = value
    return found


def no_change() -> UsageError:
    """Return the error for an update that would change nothing."""
    return UsageError("nothing to update; give an option, see --help")


def ids_of(args: argparse.Namespace) -> list[Any]:
    """Return the ids that were given, each once; [None] for a command without any."""
    typed = getattr(args, "id", None)
    return list(dict.fromkeys(typed)) if isinstance(typed, list) else [typed]


def spoken(declared: Iterable[Arg], args: argparse.Namespace) -> str:
    """Return what was given in words for people, "" for nothing."""
    values = [(arg.say, getattr(args, arg.dest, None)) for arg in declared if arg.say]
    return ", ".join(
        say.format(value) if isinstance(say, str) else say(value)
        for say, value in values
        if value is not None
    )


class Kind:
    """A kind of command; `Command` tells it the name and the arguments."""

    extra_args: tuple[Arg, ...] = ()
    name = ""
    declared: tuple[Arg, ...] = ()


class Listing(Kind):
    """A kind of command: fetches rows and shows columns of them.

    `request` is a GET ("GET /api/v0/ssh/{id}/"): declared arguments that the path does
    not name are its query. If the path names an `id` that takes several, there is one
    request for each. `rows` is the key that the rows stand under, see `rows_of`.
    `pages` is how many rows a page has at most, 0 for a list in one piece. `empty_on`
    are statuses that mean "none". `fetch` is called instead of a request. `where`
    filters the rows by a query. `after` adds notes. `key` is the field that `-q`
    prints.
    """

    def __init__(
        self,
        request: str,
        columns: Sequence[Column],
        rows: str = "",
        *,
        fetch: Callable[[Client, argparse.Namespace], list[Row]] | None = None,
        pages: int = 0,
        empty_on: Sequence[int] = (),
        where: Callable[[list[Row], str, Sequence[Column]], list[Row]] | None = None,
        after: Callable[[Client, argparse.Namespace, list[Row]], None] | None = None,
        key: str = "id",
    ) -> None:
        self.method, _, self.path = request.partition(" ")
        self.columns, self.rows, self.key = columns, rows, key
        self.fetch, self.pages, self.empty_on = fetch, pages, empty_on
        self.where, self.after = where, after
        self.extra_args = LISTING_ARGS
        if where:
            query = Arg(
                "query*",
                "comparisons, as in: label=exp1 num_gpus>=2",
                wire="",
                suggest={each.field or each.heading: each.help for each in columns},
            )
            self.extra_args = (query, *LISTING_ARGS)

    def call(self, args: argparse.Namespace) -> Call:
        """Return the request for what `args` names."""
        inside = names_in(self.path)
        others = [arg for arg in self.declared if arg.dest not in inside]
        params = {name: str(value) for name, value in given(others, args).items()}
        path = fill_path(self.path, vars(args))
        return Call(self.method, path, params=params or None)

    def fetched(self, client: Client, args: argparse.Namespace) -> list[Row]:
        """Return the rows. Raises VastError."""
        if self.fetch:
            return self.fetch(client, args)
        call = self.call(args)
        try:
            if self.pages:
                limit = getattr(args, "limit", None)
                return client.pages(call, self.rows, limit, self.pages)[0]
            reply = client.send(call)
            if isinstance(reply, dict) and reply.get("truncated"):
                client.env.note("the service shows only a part of this list")
            return rows_of(reply, self.rows)
        except VastError as error:
            if error.http in self.empty_on and not isinstance(error, NoKey):
                return []
            raise

    def __call__(self, client: Client, args: argparse.Namespace) -> Iterator[Shown]:
        if isinstance(getattr(args, "id", None), list):
            yield from self.one_by_one(client, args)
            return
        rows = self.fetched(client, args)
        if self.where and args.query:
            rows = self.where(rows, " ".join(args.query), self.columns)
        yield Table(rows, self.columns, key=self.key)
        if self.after:
            self.after(client, args, rows)

    def one_by_one(self, client: Client, args: argparse.Namespace) -> Iterator[Shown]:
        """Fetch the row of each id; with `--raw`, that of a single id stands alone."""
        rows: list[Row] = []
        numbers = ids_of(args)
        several = len(numbers) > 1
        for number in numbers:
            args.id = number
            try:
                found = self.fetched(client, args)
                if not found:
                    what = self.name.split()[-1]
                    raise VastError(f"there is no {what} {number}", "not_found")
                rows += found
            except VastError as error:
                if not several or isinstance(error, (UsageError, Interrupted)):
                    raise
                yield Failed(number, error)
                if isinstance(error, (NoKey, Unreachable)):
                    break
        value = None if several or len(rows) != 1 else rows[0]
        yield Table(rows, self.columns, value, self.key, several)


class Request(Kind):
    """A kind of command: sends a change, once for each id, and says what was done.

    `request` is method and path ("DELETE /api/v0/ssh/{id}/"), `done` the sentence for
    people; both name arguments in braces, `done` also {reply[key]} and {said}, the
    words of what was given. Arguments that the path does not name make up the body,
    beside the constants in `body`, of which "{name}" is the value of an argument.

    `once`: it is never sent again when the outcome is unknown. `doubt` is what may have
    happened then, and `look` the command that shows whether it has. `ask` is a
    question to ask first, or a function that returns one, "" for none; `typed`: what
    must be typed to confirm; `required`: without a terminal -y is needed. `goal` waits
    until the change is complete. `schedule`: it can be put off to a schedule. `prepare`
    checks and completes the arguments before anything is sent, `after` does something
    with each response. `note` is said at the end. `proof`: see Call. `update`: without
    any option there is nothing to change. `made` finds the id of what was created in
    the response; it becomes `args.new`, and {new} in `done`.
    """

    def __init__(
        self,
        request: str,
        done: str,
        *,
        body: Row | None = None,
        once: bool = False,
        doubt: str = "",
        look: str = "",
        ask: str | Callable[[Client, argparse.Namespace], str] = "",
        typed: str = "",
        required: bool = False,
        goal: Callable[[Client, int, float], Row | None] | None = None,
        schedule: bool = False,
        prepare: Callable[[Client, argparse.Namespace], object] | None = None,
        after: Callable[[Client, argparse.Namespace, Row], None] | None = None,
        note: str = "",
        proof: str = "success",
        serverless: bool = False,
        update: bool = False,
        made: Callable[[Row], object] | None = None,
    ) -> None:
        self.method, _, self.path = request.partition(" ")
        self.done, self.body, self.once = done, body or {}, once
        self.subject = done.partition(":")[0]
        self.doubt = doubt or f"{self.subject} may or may not have been changed"
        self.look, self.ask, self.typed, self.required = look, ask, typed, required
        self.goal, self.schedule = goal, schedule
        self.prepare, self.after = prepare, after
        self.note, self.proof, self.serverless = note, proof, serverless
        self.update, self.made = update, made
        self.extra_args = (
            *((YES_ARG,) if ask or schedule else ()),
            *(WAIT_ARGS if goal else ()),
            *(SCHEDULE_ARGS if schedule else ()),
        )

    def looking(self) -> str:
        """Return the command that shows whether a change was made."""
        return self.look or f"show {self.name.split()[-1].removesuffix('s')}s"

    def call(self, args: argparse.Namespace) -> Call:
        """Return the request for what `args` names, of several ids for one."""
        values = Values(vars(args))
        inside = names_in(self.path)
        constants = {
            name: values[value[1:-1]] if re.fullmatch(r"\{\w+\}", str(value)) else value
            for name, value in self.body.items()
        }
        others = [arg for arg in self.declared if arg.dest not in inside]
        own = given([arg for arg in others if arg.dest != "id"], args)
        if self.update and not own:
            raise no_change()
        look = f"run `{PROGRAM} {self.looking().format_map(values)}` before retrying"
        return Call(
            self.method,
            fill_path(self.path, values),
            {**constants, **own},
            once=self.once,
            doubt=f"{self.doubt.format_map(values)}; {look}",
            proof=self.proof,
            secrets=[arg.wire for arg in others if arg.secret],
            serverless=self.serverless,
        )

    def confirm(self, client: Client, args: argparse.Namespace, when: str) -> None:
        """Ask before harm is done, `when` it is scheduled for. Raises NotDone."""
        if not self.ask or args.yes or client.dry_run:
            return
        if not client.env.can_ask():  # before anything is looked up for the question
            client.env.confirm("", required=self.required)
            return
        # A function may also complete the arguments, which `typed` names.
        question = self.ask if isinstance(self.ask, str) else self.ask(client, args)
        numbers = ids_of(args)
        plural = self.subject.replace(" {id}", "s {id}", 1)
        subject = plural if len(numbers) > 1 else self.subject
        values = Values(vars(args), id=" ".join(map(str, numbers)))
        values["which"] = subject.format_map(values)
        values["said"] = spoken(self.declared, args)
        if isinstance(self.ask, str):
            question = question.format_map(values)
        if question:
            question = f"{when}: {question}" if when else question
            typed = self.typed.format_map(values)
            client.env.confirm(question, typed, self.required)

    def __call__(self, client: Client, args: argparse.Namespace) -> Iterator[Shown]:
        if self.prepare:
            self.prepare(client, args)
        when = check_schedule(client, args) if self.schedule else ""
        self.confirm(client, args, when)
        scheduled = bool(when)
        done: list[Result] = []
        for shown in self.one_by_one(client, args):
            if isinstance(shown, Result):
                done.append(shown)
            yield shown
        if done and self.note and not scheduled:
            client.env.note(self.note)
        if self.goal and args.wait and not scheduled:
            yield from self.wait(client, args, done)

    def one_by_one(self, client: Client, args: argparse.Namespace) -> Iterator[Shown]:
        """Send the change for each id; what stops one need not stop the others."""
        numbers = ids_of(args)
        several = len(numbers) > 1
        for index, number in enumerate(numbers):
            args.id = number
            if several:
                subject = self.subject.format_map(Values(vars(args)))
                client.env.progress(f"{index + 1} of {len(numbers)}: {subject}")
            try:
                result = self.send(client, args)
            except VastError as error:
                if not several or isinstance(error, UsageError):
                    raise
                yield Failed(number, error)
                final = isinstance(error, (NoKey, Unreachable, Interrupted))
                if final or (self.once and isinstance(error, OutcomeUnknown)):
                    left = " ".join(map(str, numbers[index + 1 :]))
                    if left:
                        client.env.note(f"not tried: {left}")
                    return
            else:
                result.of = number if several else None
                yield result

    def send(self, client: Client, args: argparse.Namespace) -> Result:
        """Send the change, or schedule it. Raises VastError."""
        call = self.call(args)
        if self.schedule and args.schedule is not None:
            return schedule_job(client, args, call, args.id)
        reply = client.send(call)
        values = Values(vars(args), reply=Values(reply))
        if self.made:
            args.new = values["new"] = self.made(reply)
            if type(args.new) is not int:  # True is an int too
                raise OutcomeUnknown(f"the response gives no id{call.in_doubt()}")
        values["said"] = spoken(self.declared, args)
        text = self.done.format_map(values)
        if self.once:
            client.paid = text
        if self.after:
            self.after(client, args, reply)
        return Result(reply, text)

    def wait(
        self, client: Client, args: argparse.Namespace, done: list[Result]
    ) -> Iterator[Shown]:
        """Wait until each of the changes is complete."""
        deadline = client.env.monotonic() + args.timeout
        assert self.goal
        for result in done:
            number = args.id if result.of is None else result.of
            try:
                row = self.goal(client, int(str(number)), deadline)
            except VastError as error:
                if result.of is None or isinstance(error, Interrupted):
                    raise
                yield Failed(number, error, result)
            else:
                result.value["instance"] = row


DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split()
DAY = 86400  # seconds
SCHEDULE_KEYS = ("day_of_the_week", "hour_of_the_day", "min_of_the_hour")


def check_schedule(client: Client, args: argparse.Namespace) -> str:
    """Return a schedule in words, "" if none was asked for; `args.job` becomes what the
    service is to know of it. Raises UsageError."""
    if args.schedule is None:
        for name in ("start_date", "end_date", "day", "hour"):
            if getattr(args, name) is not None:
                raise UsageError(f"--{name} needs --schedule")
        return ""
    if getattr(args, "wait", False):
        raise UsageError("--schedule excludes --wait: nothing is done now")
    now = int(client.env.now())
    today = now // DAY * DAY
    start = today if args.start_date is None else args.start_date
    end = max(start, today) + 7 * DAY if args.end_date is None else args.end_date
    if end <= max(start, now):
        problem = "is over already" if end > start else "ends before it starts"
        raise UsageError(f"the schedule {problem}; change --start_date or --end_date")
    day, hour = SCHEDULES[args.schedule]
    args.job = {
        "start_time": start,
        "end_time": end,
        "day_of_the_week": schedule_part(args, "day", 6, day),
        "hour_of_the_day": schedule_part(args, "hour", 23, hour),
        "frequency": args.schedule,
    }
    return describe_schedule(args.job)


def schedule_part(
    args: argparse.Namespace, name: str, most: int, default: str
) -> int | None:
    """Return the day or hour of a schedule, None for any. Raises UsageError."""
    text = getattr(args, name) or default
    value = as_int(text)
    if text != "*" and (value is None or not 0 <= value <= most):
        raise UsageError(f"invalid {name} '{text}': must be from 0 to {most}, or *")
    if (text == "*") != (default == "*"):
        rule = "takes no" if default == "*" else "needs a number as its"
        raise UsageError(f"--schedule {args.schedule} {rule} --{name}")
    return value


def schedule_job(
    client: Client, args: argparse.Namespace, call: Call, instance: object
) -> Result:
    """Have the service send a call on a schedule, from its own machines.

    A job that exists for the same call (422) is replaced, after a question.
    """
    job = {
        **args.job,
        "api_endpoint": call.path,
        "request_method": call.method,
        "request_body": {**(call.body or {}), "instance_id": instance},
        "instance_id": instance,
    }
    doubt = f"the job may or may not exist; run `{PROGRAM} show scheduled-jobs` to see"
    path = "/api/v0/commands/schedule_job/"
    proof = "success|scheduled_job_id"
    try:
        reply = client.send(Call("POST", path, job, doubt=doubt, proof=proof))
    except VastError as error:
        body = error.reply if isinstance(error.reply, dict) else {}
        known = as_int(str(body.get("scheduled_job_id")))
        if error.http != 422 or known is None:
            raise
        if not args.yes:
            client.env.confirm(f"instance {instance}: replace scheduled job {known}?")
        path += f"{known}/"
        reply = client.send(Call("PUT", path, job, doubt=doubt, proof=proof))
        reply.setdefault("scheduled_job_id", known)
    words = describe_schedule(job)
    done = f"scheduled as job {reply.get('scheduled_job_id', '-')}, {words}"
    for word, name in (("from", "start_time"), ("until", "end_time")):
        done += f" {word} {format_time(job[name], '%Y-%m-%d %H:%M', utc=True)}"
    return Result(reply, f"instance {instance}: {done} UTC")


def describe_schedule(job: Row) -> str:
    """Return when a job runs, in words: "weekly on Sunday at 05:00 UTC"."""
    words = str(job.get("frequency") or "-").lower()
    day, hour, minute = (job.get(name) for name in SCHEDULE_KEYS)
    if isinstance(day, int) and 0 <= day < 7:
        words += f" on {DAYS[day]}"
    past = f"{minute:02d}" if isinstance(minute, int) else "00"
    if isinstance(hour, int):
        return f"{words} at {hour:02d}:{past} UTC"
    return f"{words} at minute {past}"


if TYPE_CHECKING:  # pragma: no cover - only mypy reads it
    Handler = Callable[[Client, argparse.Namespace], Iterable[Shown]]


class Command:
    """A command: everything that is particular to it.

    `run` is a kind of command, or a function of the client and the arguments that
    yields what is to be shown. `notes` returns more text for the end of its help.
    `pass_on`: words that look like options but are not the command's own are
    positional words. `reveals`: it exists to show a credential. `hidden`: it stands in
    no list of commands. `columns` are those of the table that a function shows.
    """

    def __init__(
        self,
        name: str,
        help: str,
        run: Handler,
        *args: Arg,
        example: str = "",
        aliases: Sequence[str] = (),
        notes: Callable[[], str] = str,
        pass_on: bool = False,
        reveals: bool = False,
        hidden: bool = False,
        columns: Sequence[Column] = (),
    ) -> None:
        self.name, self.help, self.run, self.own = name, help, run, args
        self.example, self.aliases, self.notes = example or name, aliases, notes
        self.pass_on, self.reveals, self.hidden = pass_on, reveals, hidden
        self.args = args
        self.columns = run.columns if isinstance(run, Listing) else columns
        if isinstance(run, Kind):
            self.args = (*args, *run.extra_args)
            run.name, run.declared = name, self.args


# --- offers ---------------------------------------------------------------------------

# The operators of the kinds of field that do not take them all.
KIND_SIGNS = {"bool": "= == !=", "text": "= == != in notin"}
KIND_SIGNS["country"] = KIND_SIGNS["text"]


class Field:
    """A field of a query: people type `name` in `unit`; the service gets `wire`, the
    number times `factor`. No value is over `most`: more was meant in another unit."""

    def __init__(
        self,
        name: str,
        kind: str,
        unit: str = "",
        help: str = "",
        wire: str = "",
        factor: float = 1,
        most: float = float("inf"),
    ) -> None:
        self.name, self.kind, self.unit, self.help = name, kind, unit, help
        self.wire, self.factor, self.most = wire or name, factor, most


# Source: the vendor's description of the search and of its rows.
FIELDS = (
    Field("bw_nvlink", "float", "GB/s", "NVLink bandwidth"),
    Field("cluster_id", "int", "", "id of the machine's cluster"),
    Field("compute_cap", "int", "", "CUDA compute capability: 750 is 7.5"),
    Field("cpu_arch", "text", "", "amd64 or arm64"),
    Field("cpu_cores", "int", "", "vCPUs of the machine"),
    Field("cpu_cores_effective", "float", "", "vCPUs that you get"),
    Field("cpu_ghz", "float", "GHz", "CPU clock rate"),
    Field("cpu_ram", "float", "GB", "main memory that you get", "", 1000, 16000),
    Field("cuda_vers", "float", "", "highest CUDA version supported", "cuda_max_good"),
    Field("datacenter", "bool", "", "in a data center"),
    Field("direct_port_count", "int", "", "open ports of the machine"),
    Field("disk_bw", "float", "MB/s", "disk bandwidth"),
    Field("disk_space", "float", "GB", "disk space available"),
    Field("display_active", "bool", "", "has a display attached", "gpu_display_active"),
    Field("dlperf", "float", "", "deep learning performance score"),
    Field("dlperf_usd", "float", "per $/h", "dlperf per $/h", "dlperf_per_dphtotal"),
    Field("dph", "float", "$/h", "price of the offer", "dph_total"),
    Field("driver_version", "version", "", "NVIDIA driver, such as 535.86.05"),
    Field("duration", "float", "days", "maximum rental duration", "", 86400),
    Field("external", "bool", "", "from another market (default: false)"),
    Field("flops_usd", "float", "TFLOPS/$/h", "speed per $/h", "flops_per_dphtotal"),
    Field("geolocation", "country", "", "two-letter country code"),
    Field("gpu_arch", "text", "", "nvidia or amd"),
    Field("gpu_frac", "float", "0..1", "share of the machine's GPUs"),
    Field("gpu_max_power", "float", "W", "power limit of a GPU"),
    Field("gpu_max_temp", "float", "°C", "temperature limit of a GPU"),
    Field("gpu_mem_bw", "float", "GB/s", "GPU memory bandwidth"),
    Field("gpu_name", "text", "", "model, such as RTX_4090 or H100_SXM"),
    Field("gpu_ram", "float", "GB", "memory of one GPU", "", 1000, 1000),
    Field("gpu_total_ram", "float", "GB", "memory of all GPUs", "", 1000, 16000),
    Field("has_avx", "bool", "", "the CPU supports AVX"),
    Field("host_id", "int", "", "id of the host"),
    Field("hosting_type", "int", "", "0: private host, 1: data center"),
    Field("id", "int", "", "id of the offer"),
    Field("inet_down", "float", "Mbit/s", "download speed"),
    Field("inet_down_cost", "float", "$/GB", "price of downloads"),
    Field("inet_up", "float", "Mbit/s", "upload speed"),
    Field("inet_up_cost", "float", "$/GB", "price of uploads"),
    Field("machine_id", "int", "", "id of the machine"),
    Field("min_bid", "float", "$/h", "lowest bid (interruptible)"),
    Field("mobo_name", "text", "", "motherboard model"),
    Field("num_gpus", "int", "", "number of GPUs"),
    Field("os_version", "float", "", "operating system version"),
    Field("pci_gen", "float", "", "PCI Express generation"),
    Field("pcie_bw", "float", "GB/s", "bandwidth between CPU and GPU"),
    Field("reliability", "float", "0..1", "share of time that it is up", "", 1, 1),
    Field("rentable", "bool", "", "can be rented now (default: true)"),
    Field("rented", "bool", "", "you already rent on this machine"),
    Field("static_ip", "bool", "", "has a static IP address"),
    Field("storage_cost", "float", "$/GB/month", "price of disk space"),
    Field("total_flops", "float", "TFLOPS", "speed of all GPUs"),
    Field("ubuntu_version", "float", "", "Ubuntu version"),
    Field("verification", "text", "", "verified, unverified or deverified"),
    Field("verified", "bool", "", "verified by Vast.ai (default: true)"),
    Field("vms_enabled", "bool", "", "supports virtual machines"),
)  # fmt: skip

# Numbers and texts of an offer that can be sorted by, but not searched by.
ROW_FIELDS = """score dph_base dph_total_adj discounted_dph_total discount_rate
    credit_discount_max disk_name cpu_name driver_vers start_date end_date gpu_lanes
    geolocode storage_total_cost vram_costperhour internet_up_cost_per_tb
    internet_down_cost_per_tb avail_vol_size avail_vol_dph reliability_mult""".split()

# What is searched for unless the query names the same field.
DEFAULT_FILTERS: dict[str, dict[str, Any]] = {
    "verified": {"eq": True}, "external": {"eq": False}, "rentable": {"eq": True},
}  # fmt: skip


def named_fields(
    fields: Iterable[Field], columns: Iterable[Column] = ()
) -> dict[str, Field]:
    """Return fields by each name that people may type: their own, the service's, and
    the headings of columns, which take a value as the column shows it."""
    own = list(fields)
    known = {field.wire: field for field in own} | {field.name: field for field in own}
    if "reliability" in known:
        known["reliability2"] = known["reliability"]
    for column in columns:
        field = known.get(column.field or column.heading)
        if field:
            shown = as_shown(field, column)
            known.setdefault(column.heading, shown)
            known.setdefault(column.heading.lower(), shown)
    return known


def as_shown(field: Field, column: Column) -> Field:
    """Return a field under a column's heading, in the unit that the column shows."""
    factor = round(1 / column.scale, 9)
    same = factor == field.factor
    unit = field.unit if same else "%" if column.scale == 100 else ""
    most = field.most if same else float("inf")
    return Field(column.heading, field.kind, unit, field.help, field.wire, factor, most)


WORDS = "eq neq gt gte lt lte in notin".split()
WORD_OPERATORS = dict(zip(WORDS, WORDS)) | {"nin": "notin"}
OPERATORS = {
    "=": "eq", "==": "eq", "!=": "neq",
    ">": "gt", ">=": "gte", "<": "lt", "<=": "lte",
} | WORD_OPERATORS  # fmt: skip

TOKEN = r"""(?x)(?P<space> (?: [\s,] | \\+ (?: n? (?=\s|$) ) )+ )
      | (?P<quoted> "[^"]*" | '[^']*' )
      | (?P<list> \[ (?: "[^"]*" | '[^']*' | [^\]"'] )* \] )
      | (?P<operator> [<>=!]+ | not\s+in (?=[\s\[]) )
      | (?P<word> [^\s,<>=!\[\]"'\\]+ )
      | (?P<unclosed> ["'\[] )
      | (?P<stray> . )"""
ELEMENT = r"""\s*("[^"]*"|'[^']*'|(?:[^,]*[^,\s])?)\s*(?:,|$)"""
SORT_KEY = r"(?P<name>[\w$%/]+)(?:\s*(?P<sign>[+-])|\s+(?P<word>asc|desc))?"
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class Token:
    """A part of a query and its position in it."""

    __slots__ = ("kind", "text", "start", "end")

    def __init__(self, kind: str, text: str, start: int, end: int) -> None:
        self.kind, self.text, self.start, self.end = kind, text, start, end


class Query:
    """The parse of one query: `filters` as the service takes them, the wire names that
    `any` has cleared, and notes for people."""

    def __init__(self, text: str, fields: Mapping[str, Field]) -> None:
        self.text, self.fields = text, fields
        self.tokens = self.tokenize()
        self.filters: dict[str, dict[str, Any]] = {}
        self.cleared: set[str] = set()
        self.notes: list[str] = []

    def error(self, msg: str, first: Token, last: Token | None = None) -> QueryError:
        """Return a QueryError about the tokens from `first` to `last`."""
        return QueryError(msg, self.text, first.start, (last or first).end)

    def tokenize(self) -> list[Token]:
        """Return the text as tokens, without the spaces. Raises QueryError."""
        tokens = []
        for match in re.finditer(TOKEN, self.text):
            token = Token(match.lastgroup or "", match[0], *match.span())
            if token.kind == "unclosed":
                token.end = len(self.text)
                what = "bracket" if token.text == "[" else "quote"
                raise self.error(f"unclosed {what}", token)
            if token.kind == "stray":
                raise self.error(f"unexpected '{token.text}'", token)
            if token.kind != "space":
                tokens.append(token)
        return tokens

    def operator_at(self, index: int) -> bool:
        """Return whether the token at `index` is an operator, a sign or a word."""
        if index >= len(self.tokens):
            return False
        token = self.tokens[index]
        return token.kind == "operator" or token.text in WORD_OPERATORS

    def comparison_at(self, index: int) -> bool:
        """Return whether a comparison starts at `index`, so that a value ends before.

        Model names have words such as `GT` in them: a word is an operator only after a
        known field or before a list.
        """
        token = self.tokens[index]
        if not re.match("[A-Za-z_($]", token.text) or not self.operator_at(index + 1):
            return False
        after = self.tokens[index + 2 : index + 3]
        return (
            self.tokens[index + 1].kind == "operator"
            or token.text in self.fields
            or bool(after and after[0].kind == "list")
        )

    def parse(self) -> None:
        """Read all the comparisons into `filters`, `cleared` and `notes`."""
        index = 0
        while index < len(self.tokens):
            name, end = self.tokens[index], index + 3
            field = self.field(name)
            operator = self.operator(field, index)
            if end > len(self.tokens) or self.comparison_at(index + 2):
                raise self.error(f"'{field.name}' needs a value", name, operator)
            first = self.tokens[index + 2]
            while first.kind == "word" and self.continues(end):
                end += 1
            self.compare(field, operator, self.tokens[index + 2 : end])
            index = end

    def continues(self, index: int) -> bool:
        """Return whether the token at `index` is one more word of a value."""
        return (
            index < len(self.tokens)
            and self.tokens[index].kind == "word"
            and self.tokens[index].text not in self.fields
            and not self.comparison_at(index)
        )

    def field(self, token: Token) -> Field:
        """Return the field that a token names. Raises QueryError."""
        if token.kind != "word":
            raise self.error("expected a comparison such as num_gpus>=4", token)
        for name in (token.text, token.text.replace("-", "_")):
            if name in self.fields:
                return self.fields[name]
        name, _, value = token.text.partition(":")
        if name in self.fields:
            hint = f"{name}={value or 'VALUE'}"
            raise self.error(f"'{token.text}' has no operator; write {hint}", token)
        hint = did_you_mean(token.text.lower(), self.fields)
        raise self.error(f"unknown field '{token.text}'{hint}", token)

    def operator(self, field: Field, index: int) -> Token:
        """Return the operator after the field at `index`. Raises QueryError."""
        name = self.tokens[index]
        if not self.operator_at(index + 1):
            msg = f"'{name.text}' has no operator; if it had < or >, quote the query:"
            raise self.error(f"{msg} the shell treats them as redirections", name)
        token = self.tokens[index + 1]
        operator = OPERATORS.get(re.sub(r"\s", "", token.text))
        if not operator:
            raise self.error(f"unknown operator '{token.text}'", token)
        signs = KIND_SIGNS.get(field.kind, "")
        if signs and operator not in [OPERATORS[sign] for sign in signs.split()]:
            kind = "text" if field.kind == "country" else field.kind
            msg = f"'{field.name}' is a {kind} field, which takes {signs}"
            raise self.error(msg, token)
        return Token(operator, token.text, token.start, token.end)

    def compare(self, field: Field, operator: Token, values: list[Token]) -> None:
        """Add one comparison. Raises QueryError."""
        first, last = values[0], values[-1]
        text = self.text[first.start : last.end]
        words = " ".join(token.text for token in values)
        if first.kind == "word" and words.lower() == "any":
            if operator.kind != "eq":
                raise self.error("'any' works only with =", operator, last)
            self.filters.pop(field.wire, None)
            self.cleared.add(field.wire)
            return
        if first.kind == "operator":
            raise self.error(f"'{text}' is not a value", first)
        if len(values) > 1 and field.kind not in ("text", "country"):
            msg = f"'{field.name}' takes one value; expected a comparison"
            raise self.error(msg, values[1], last)
        token = Token(first.kind, words, first.start, last.end)
        self.add(field, operator, self.value(field, operator, token), last)

    def add(self, field: Field, operator: Token, value: object, last: Token) -> None:
        """Add a comparison; another with the same operator must not differ."""
        tests = self.filters.setdefault(field.wire, {})
        if tests.get(operator.kind, value) != value:
            hints = {"eq": "; use in [A,B]", "neq": "; use notin [A,B]"}
            msg = f"'{field.name} {operator.text}' is given twice"
            raise self.error(msg + hints.get(operator.kind, ""), operator, last)
        tests[operator.kind] = value

    def value(self, field: Field, operator: Token, token: Token) -> object:
        """Return the value of a token, as the service takes it. Raises QueryError."""
        if operator.kind in ("in", "notin"):
            if token.kind != "list":
                msg = f"'{operator.text}' needs a list, such as [{token.text}]"
                raise self.error(msg, token)
            return self.elements(field, token)
        if token.kind == "list":
            raise self.error("a list works only with in or notin", operator, token)
        if token.kind == "word" and token.text.lower() in ("none", "null"):
            if operator.kind not in ("eq", "neq"):
                raise self.error(f"'{token.text}' works only with = and !=", token)
            return None
        return self.scalar(field, token)

    def elements(self, field: Field, token: Token) -> list[object]:
        """Return the elements of a list, converted one by one. Raises QueryError."""
        start, inner = token.start + 1, token.text[1:-1]
        if not inner.strip():
            raise self.error("the list is empty", token)
        values = []
        for match in re.finditer(ELEMENT, inner):
            if match.start() == len(inner) and not inner.endswith(","):
                break
            kind = "quoted" if re.fullmatch("\"[^\"]*\"|'[^']*'", match[1]) else "word"
            element = Token(kind, match[1], *(start + at for at in match.span(1)))
            if kind == "word" and re.search("[\"'\\[]", match[1]):
                raise self.error("quote the whole element, or none of it", element)
            values.append(self.scalar(field, element))
        return values

    def scalar(self, field: Field, token: Token) -> object:
        """Return a single value of the field's kind. Raises QueryError."""
        text = token.text[1:-1] if token.kind == "quoted" else token.text
        is_text = field.kind in ("text", "country")
        spaced = token.kind == "word" and field.unit != "as typed"
        if is_text and (spaced or field.wire == "gpu_name"):
            text = text.replace("_", " ").strip()
        if not text.strip():
            token.end = max(token.end, token.start + 1)
            raise self.error(f"empty value for '{field.name}'", token)
        if field.kind == "country":
            return self.country(field, text)
        if field.kind == "text":
            return text
        convert, rule = CONVERT[field.kind]
        value = convert(text.strip(), field.unit)
        if value is None or abs(value * field.factor) == float("inf"):
            msg = f"invalid {field.name} '{shorten(text, 60)}': must be {rule}"
            raise self.error(msg, token)
        if value > field.most:
            self.suspicious(field, value)
        if field.factor == 1:
            return value
        scaled = value * field.factor
        return round(scaled) if field.factor > 1 else round(scaled, 12)

    def country(self, field: Field, text: str) -> str:
        """Return a country: two letters in upper case, anything else as typed."""
        if re.fullmatch("[A-Za-z]{2}", text):
            return text.upper()
        code = "a two-letter country code such as US or DE"
        self.notes.append(f"{field.name} takes {code}; '{text}' may match nothing")
        return text

    def suspicious(self, field: Field, value: float) -> None:
        """Note that a value is in another unit by mistake."""
        unit, rule, guess = f" {field.unit}", f"is in {field.unit}", value / 1000
        if field.unit == "0..1":
            unit, rule, guess = "", "is from 0 to 1", value / 100
        note = f"{field.name} {rule}: no machine has {value:g}{unit}"
        self.notes.append(f"{note} (did you mean {guess:g}?)")


def as_version(text: str) -> int | None:
    """Return a driver's version, three digits a part: 535.86.05 is 535086005."""
    if re.fullmatch("[0-9]{9}", text):
        return int(text)
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}", text):
        return None
    parts = [*text.split("."), "0", "0"][:3]
    return int("".join(part.zfill(3) for part in parts))


def as_date(text: str) -> int | None:
    """Return the first second of a date, or None."""
    try:
        return parse_date(text)
    except argparse.ArgumentTypeError:
        return None


# What reads a value, by the kind of its field, from text and a unit; what it must be.
CONVERT: dict[str, tuple[Callable[[str, str], float | None], str]] = {
    "bool": (lambda text, unit: BOOLEANS.get(text.lower()), "true or false"),
    "date": (lambda text, unit: as_date(text), "a date such as 01/31/2026"),
    "int": (lambda text, unit: as_int(text), "a whole number"),
    "float": (parse_quantity, "a number"),
    "version": (lambda text, unit: as_version(text), "a version such as 535.86.05"),
}

GRAMMAR = """\
query:       comparisons, all of which must hold: num_gpus>=4 dph<2
comparison:  FIELD OPERATOR VALUE
operators:   = != < <= > >= in notin (or: == eq neq lt lte gt gte nin 'not in')
value:       a word, a quoted text, or a [list] after in and notin;
             _ stands for a space: gpu_name=RTX_4090 or gpu_name="RTX 4090"
units:       as listed below; 98%, 24GB, 30d and $0.5 work too
headings:    a column's heading works like its field, in the unit shown: R>99
any:         FIELD=any lifts a default filter (verified=true external=false
             rentable=true; -n lifts all three)
Quote the query: the shell treats a bare < or > as a redirection."""


def parse_query(
    text: str,
    defaults: Mapping[str, dict[str, Any]],
    fields: Mapping[str, Field] | None = None,
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the filters of a query (see GRAMMAR) in the service's units, and notes
    about it. A default counts unless the query names its field. Raises QueryError."""
    query = Query(text, fields or named_fields(FIELDS, OFFER_COLUMNS))
    query.parse()
    named = query.cleared | query.filters.keys()
    kept = {wire: test for wire, test in defaults.items() if wire not in named}
    return {**kept, **query.filters}, query.notes


def parse_order(
    text: str,
    fields: Mapping[str, Field] | None = None,
    others: Sequence[str] = ROW_FIELDS,
) -> list[list[str]]:
    """Return sort keys as the service takes them: "dph, num_gpus-" is
    [["dph_total", "asc"], ["num_gpus", "desc"]]. `others` are keys that are no fields
    of queries. Raises QueryError."""
    fields = fields or named_fields(FIELDS, OFFER_COLUMNS)
    order, start = [], 0
    for part in text.split(","):
        key, begin = part.strip(), start + len(part) - len(part.lstrip())
        start += len(part) + 1
        end = max(begin + len(key), begin + 1)
        match = re.fullmatch(SORT_KEY, key)
        if not match:
            msg = f"invalid sort key '{key}'; use dph, dph+, dph-, dph asc or dph desc"
            raise QueryError(msg, text, begin, end)
        field = fields.get(match["name"])
        if not field and match["name"] not in others:
            hint = did_you_mean(match["name"], [*fields, *others])
            msg = f"unknown sort key '{match['name']}'{hint}"
            raise QueryError(msg, text, begin, begin + match.end("name"))
        down = match["sign"] == "-" or match["word"] == "desc"
        wire = field.wire if field else match["name"]
        order.append([wire, "desc" if down else "asc"])
    return order


def row_fields(rows: Sequence[Row], columns: Sequence[Column]) -> dict[str, Field]:
    """Return what rows can be filtered by: their own fields and the table's headings;
    numbers in the units of searches."""
    types: dict[str, set[type]] = {}
    for row in rows:
        for name, value in row.items():
            types.setdefault(name, set()).add(type(value))
    own = {name: Field(name, kind_of(found)) for name, found in types.items()}
    for column in columns:
        name = column.field or column.heading
        if name not in own or (column.format and own[name].kind == "text"):
            own[name] = Field(name, "float" if column.format else "text")
    alike = {("float", "float"), ("float", "int"), ("text", "country")}
    for field in FIELDS:
        kinds = (own[field.wire].kind, field.kind) if field.wire in own else ("", "")
        if kinds in alike or kinds[1] == "bool":
            own[field.name] = field
    known = named_fields(own.values(), columns)
    for name, other in (("state", "status"), ("reliability", "reliability2")):
        if other in known:
            known.setdefault(name, known[other])
    return known


def kind_of(types: set[type]) -> str:
    """Return the kind of a field whose values have these types."""
    types = types - {type(None)}
    if types == {bool}:
        return "bool"
    return "float" if types and types <= {int, float} else "text"


def matches(value: object, tests: Mapping[str, Any]) -> bool:
    """Return whether a row's value passes the tests; text matches as it is written,
    with _ for a space."""

    def same(other: object) -> bool:
        if other is None or value in (None, other):
            return (None if value == "" else value) == other
        texts = (str(each).replace("_", " ").strip() for each in (value, other))
        return len(set(texts)) == 1

    size = as_number(value) if isinstance(value, str) else value
    for operator, wanted in tests.items():
        if operator in ("eq", "neq"):
            good = same(wanted) == (operator == "eq")
        elif operator in ("in", "notin"):
            good = any(map(same, wanted)) == (operator == "in")
        elif not isinstance(size, (int, float)):
            good = False
        else:
            good = {"gt": size > wanted, "gte": size >= wanted,
                    "lt": size < wanted, "lte": size <= wanted}[operator]  # fmt: skip
        if not good:
            return False
    return True


def matching_rows(rows: list[Row], query: str, columns: Sequence[Column]) -> list[Row]:
    """Return the rows that pass a query, decided here. Raises QueryError."""
    if not rows:  # their fields are not known
        return rows
    fields = row_fields(rows, columns)
    filters, _ = parse_query(query, {}, fields)
    computed = {column.field or column.heading: column for column in columns}

    def value(row: Row, name: str) -> object:
        value = row.get(name)
        if value is None and name in computed:
            value = computed[name].values([row], time.time())[0]
        if fields[name].kind == "country" and isinstance(value, str):
            return value.rpartition(", ")[2]  # of "Oregon, US"
        return value

    for name, tests in filters.items():
        rows = [row for row in rows if matches(value(row, name), tests)]
    return rows


def video_memory(row: Row, now: float) -> object:
    """Return the MB of memory of all GPUs of an offer."""
    total, one, gpus = (row.get(k) for k in ("gpu_total_ram", "gpu_ram", "num_gpus"))
    if total is None and isinstance(one, (int, float)) and isinstance(gpus, int):
        return one * gpus if abs(gpus) < 1e6 else None  # more is no number of GPUs
    return total


RELIABILITY = Column(
    "R", "reliability2|reliability", ".1f", "share of time that it is up, %", 100, True
)
OFFER_COLUMNS = (
    Column("ID", "id", "d", "id of the offer, for create instance", essential=True),
    Column("CUDA", "cuda_max_good", ".1f", "highest CUDA version supported"),
    Column("N", "num_gpus", "dx", "number of GPUs", essential=True),
    Column("Model", "gpu_name", "", "GPU model", essential=True),
    Column("PCIE", "pcie_bw", ".1f", "bandwidth between CPU and GPU, GB/s"),
    Column("cpu_ghz", "cpu_ghz", ".1f", "CPU clock rate, GHz"),
    Column("vCPUs", "cpu_cores_effective", ".1f", "vCPUs that you get"),
    Column("RAM", "cpu_ram", ".1f", "main memory that you get, GB", 1 / 1000),
    Column("VRAM", video_memory, ".1f", "memory of all GPUs, GB", 1 / 1000,
           essential=True, field="gpu_total_ram"),
    Column("Disk", "disk_space", ".0f", "disk space available, GB"),
    Column("$/hr", "dph_total", ".4f", "price of the offer, $/hour", essential=True),
    Column("DLP", "dlperf", ".1f", "deep learning performance score"),
    Column("DLP/$", "dlperf_per_dphtotal", ".1f", "the same per $/hour"),
    Column("score", "score", ".1f", "the service's overall rating"),
    Column("NV_Driver", "driver_version", "", "NVIDIA driver version"),
    Column("Net_up", "inet_up", ".1f", "upload speed, Mbit/s"),
    Column("Net_down", "inet_down", ".1f", "download speed, Mbit/s"),
    RELIABILITY,
    Column("Max_Days", "duration", ".1f", "maximum rental duration, days", 1 / 86400),
    Column("mach_id", "machine_id", "d", "id of the machine"),
    Column("status", "verification", "", "verified, unverified or deverified"),
    Column("host_id", "host_id", "d", "id of the host"),
    Column("ports", "direct_port_count", "d", "open ports of the machine"),
    Column("country", "geolocation", "", "region and country", essential=True),
)  # fmt: skip


def field_list(fields: Iterable[Field]) -> str:
    """Return what can be searched by, one field a line."""
    text = "fields, with type and unit:"
    for field in fields:
        line = f"  {field.name:<19} {field.kind:<8}{field.unit:<12}{field.help}"
        text += "\n" + line.rstrip()
    return text


def fields_help() -> str:
    """Return the grammar of queries and the list of fields."""
    return f"{GRAMMAR}\n\n{field_list(FIELDS)}"


def find_offers(client: Client, args: argparse.Namespace) -> list[Row]:
    """Return the offers that a query finds, in the order asked for."""
    more = {"type": args.type}
    if args.disable_bundling:
        more["disable_bundling"] = True
    return search_market(client, args, "/api/v0/bundles/", more)


def search_market(
    client: Client,
    args: argparse.Namespace,
    path: str,
    more: Row,
    defaults: Mapping[str, dict[str, Any]] = DEFAULT_FILTERS,
    fields: Mapping[str, Field] | None = None,
    others: Sequence[str] = ROW_FIELDS,
) -> list[Row]:
    """Return what a query finds, in the order asked for. `more` is sent besides; for
    the others see `parse_query` and `parse_order`."""
    assumed = {} if args.no_default else defaults
    filters, notes = parse_query(" ".join(args.query), assumed, fields)
    order = parse_order(args.order, fields, others)
    body = {**filters, "order": order, **more, "allocated_storage": args.storage}
    if args.limit is not None:
        body["limit"] = args.limit
    for note in notes:
        client.env.note(note)
    rows = rows_of(client.send(Call("POST", path, body, read=True)), "offers")
    if not rows:
        explain_nothing(client, args, body, defaults)
    return rows


def explain_nothing(
    client: Client,
    args: argparse.Namespace,
    filters: Mapping[str, dict[str, Any]],
    defaults: Mapping[str, dict[str, Any]],
) -> None:
    """Note which filters were in force when a search found nothing, and which GPU names
    are near one that the service does not know."""
    signs = {"eq": "=", "gte": ">="}
    assumed = [
        f"{wire}{signs[operator]}{str(value).lower()}"
        for wire, test in defaults.items()
        for operator, value in test.items()
        if filters.get(wire) is test
    ]
    default = f"{' '.join(assumed)} (by default; -n lifts them)" if assumed else ""
    typed = " ".join([*args.query, default]).strip() or "none"
    client.env.note(f"nothing found; filters in force: {typed}")
    tests = filters.get("gpu_name", {})
    wanted = [tests["eq"]] if isinstance(tests.get("eq"), str) else tests.get("in", [])
    if not wanted:
        return
    try:
        reply = client.send(Call("GET", "/api/v0/gpu_names/unique/"))
        names = [str(name) for name in reply.get("gpu_names") or ()]
    except (VastError, AttributeError, TypeError):
        return
    for name in wanted:
        near = "" if name in names else similar(name, names)
        if near:
            client.env.note(f"unknown GPU '{name}'; did you mean {near}?")


def similar(name: str, names: Iterable[str]) -> str:
    """Return the names most like one, spelt as in a query, or ""."""
    import difflib

    def letters(text: str) -> str:
        return re.sub("[^a-z0-9]", "", text.lower())

    known, typed = {letters(each): each for each in names}, letters(name)
    near = [each for each in known if typed and (typed in each or each in typed)][:3]
    near = near or difflib.get_close_matches(typed, known, n=3)
    return " or ".join(f"gpu_name={known[each].replace(' ', '_')}" for each in near)


def count_offers(client: Client, args: argparse.Namespace, rows: list[Row]) -> None:
    """Note on a terminal how many offers there are, and how to see more."""
    if rows and client.env.on_terminal() and not args.raw and not args.quiet:
        many = "1 offer" if len(rows) == 1 else f"{len(rows)} offers"
        default = args.limit is None and len(rows) >= 60
        more = " (the service's default; --limit N for more)" if default else ""
        client.env.note(many + more)


FIELD_NAMES = {field.name: field.help for field in FIELDS}
SEARCH_ARGS = (
    Arg("query*", "comparisons, see below", wire="", suggest=FIELD_NAMES),
    Arg("-n --no-default", "do not apply the default filters", bool),
    Arg("-o --order", "fields to sort by: dph, num_gpus- (default: score-)",
        default="score-", suggest=FIELD_NAMES),
    Arg("--limit", "maximum number of offers", LIMIT),
)  # fmt: skip
DISK_SIZE = number("disk size", "GB", 8)
RENTAL_TYPES = Choice("type", "on-demand", "bid", "interruptible=bid", "reserved")

OFFER_COMMANDS = (
    Command("search offers", "find offers to rent",
        Listing("", OFFER_COLUMNS, fetch=find_offers, after=count_offers),
        *SEARCH_ARGS,
        Arg("-t --type", "on-demand, bid (or interruptible) or reserved", RENTAL_TYPES,
            default="on-demand"),
        Arg("-i --interruptible", "same as -t interruptible", stands_for="--type=bid"),
        Arg("-b --bid", "same as -t bid", stands_for="--type=bid"),
        Arg("-d --on-demand", "same as -t on-demand", stands_for="--type=on-demand"),
        Arg("-r --reserved", "same as -t reserved", stands_for="--type=reserved"),
        Arg("--disable-bundling", "do not group identical offers", bool),
        Arg("--storage", "GB of disk included in the price (default: 5)",
            number("disk size", "GB", 0), default=5.0),
        example="search offers 'num_gpus>=4 dph<2 gpu_name=RTX_4090' -o dph",
        aliases=["search instances"], notes=fields_help),
)  # fmt: skip


# --- instances ------------------------------------------------------------------------


def as_address(host: object, port: object) -> tuple[str, int] | None:
    """Return a stranger's host and port if they can stand in a URL or a command."""
    name, digits = str(host or "").strip(), str(port)
    pattern = r"[A-Za-z0-9][A-Za-z0-9.-]*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*"
    if re.fullmatch(pattern, name) and re.fullmatch("[0-9]{1,5}", digits):
        return (name, int(digits)) if 0 < int(digits) < 65536 else None
    return None


def ssh_address(row: Row) -> tuple[str, int, bool] | None:
    """Return where ssh reaches an instance: host, port, whether directly; or None.

    Source: the vendor's client, which adds one to the proxy's port for Jupyter.
    """
    ports = row.get("ports")
    entries = ports.get("22/tcp") if isinstance(ports, dict) else None
    listed = entries if isinstance(entries, list) else []
    usable = [entry for entry in listed if isinstance(entry, dict)]
    usable.sort(key=lambda entry: ":" in str(entry.get("HostIp")))  # IPv4 first
    for entry in usable:
        direct = as_address(row.get("public_ipaddr"), entry.get("HostPort"))
        if direct:
            return (*direct, True)
    proxy = as_address(row.get("ssh_host"), row.get("ssh_port"))
    if proxy and "jupyter" in str(row.get("image_runtype")):
        proxy = as_address(proxy[0], proxy[1] + 1)
    return (*proxy, False) if proxy else None


def age(row: Row, now: float) -> object:
    """Return the seconds since an instance started; anything else as it is."""
    date = row.get("start_date")
    if isinstance(date, bool) or not isinstance(date, (int, float)):
        return date
    return now - date if abs(date) < 1e15 else date


INSTANCE_COLUMNS = (
    Column("ID", "id", "d", "id of the instance", essential=True),
    Column("Machine", "machine_id", "d", "id of the machine"),
    Column("Status", "actual_status", "", "state, such as running", essential=True),
    *pick_columns("N,Model", OFFER_COLUMNS, ()),
    Column("Util%", "gpu_util", ".1f", "GPU utilization, %"),
    *pick_columns("vCPUs,RAM", OFFER_COLUMNS, ()),
    Column("Disk", "disk_space", ".0f", "disk space, GB"),
    Column("SSH_Addr", lambda row, now: (ssh_address(row) or [None])[0], "",
           "address for ssh"),
    Column("SSH_Port", lambda row, now: (ssh_address(row) or [0, None])[1], "d",
           "port for ssh"),
    Column("$/hr", "dph_total", ".4f", "price with its disk, $/hour", essential=True),
    Column("Image", "image_uuid", "", "image that it runs"),
    *pick_columns("Net_up,Net_down", OFFER_COLUMNS, ()),
    Column("R", RELIABILITY.source, ".1f", RELIABILITY.help, 100),
    Column("Label", "label", "", "label that you gave it", essential=True),
    Column("Age_h", age, ".1f", "time since it was created, hours", 1 / 3600),
    Column("Up_min", "uptime_mins", ".0f", "time since it last started, minutes"),
)  # fmt: skip


def find_instances(client: Client, args: argparse.Namespace | None = None) -> list[Row]:
    """Return all instances of the account; older services have no pages."""
    params = {"select_filters": "{}", "order_by": '[{"col":"id","dir":"asc"}]'}
    try:
        call = Call("GET", "/api/v1/instances/", params={"limit": "25", **params})
        return client.pages(call, "instances", size=25)[0]
    except VastError as error:
        if not is_gone(error):
            raise
    call = Call("GET", "/api/v0/instances", params={"owner": "me"})
    return rows_of(client.send(call), "instances")


def find_instance(client: Client, number: int) -> Row | None:
    """Return one instance, or None when the service says that it does not exist."""
    path = f"/api/v0/instances/{number}/"
    try:
        reply = client.send(Call("GET", path, params={"owner": "me"}))
    except VastError as error:
        if error.slug in GONE:
            return None
        raise
    row = reply.get("instances", "missing") if isinstance(reply, dict) else "missing"
    if row is not None and not isinstance(row, dict):
        raise VastError("the response has no instance in it", BAD_REPLY)
    return row


def the_instance(client: Client, number: int | None) -> Row:
    """Return the instance of that id, or the only one there is. Raises VastError."""
    if number is not None:
        row = find_instance(client, number)
        if row is None:
            raise VastError(f"there is no instance {number}", "no_such_instance")
        return {"id": number, **row}
    rows = find_instances(client)
    if len(rows) == 1:
        return rows[0]
    if not rows:
        raise VastError("you have no instances", "no_such_instance")
    known = " ".join(str(row.get("id")) for row in rows)
    raise UsageError(f"several instances; give an id: {known}", "several_instances")


def address_result(row: Row, scheme: str) -> Result:
    """Return the URL at which an instance is reached. Raises VastError."""
    found = ssh_address(row)
    if not found:
        status = row.get("actual_status") or "starting"
        msg = f"instance {row.get('id')} is not ready: it is {status}"
        raise VastError(f"{msg} and has no address yet", "not_ready")
    host, port, direct = found
    url = f"{scheme}://root@{f'[{host}]' if ':' in host else host}:{port}"
    value = {"id": row.get("id"), "host": host, "port": port, "user": "root"}
    return Result({**value, "url": url, "direct": direct}, url)


# What `actual_status` is when a goal is reached, and what is paid until then.
GOALS: dict[str, tuple[Sequence[str], str]] = {
    "running": (["running"], "it costs money as long as it exists"),
    "stopped": (["stopped", "exited"], "it costs its full price until it has stopped"),
    "gone": ([], "it costs money until it is gone"),
}
BROKEN = ("exited", "offline")
POLL = 2.0  # seconds between two looks at an instance: the service's threshold
STALE = 30.0  # seconds for which a row may show what was before a start


def observe(
    client: Client, number: int, deadline: float, words: Callable[[str, str], str]
) -> Iterator[tuple[str, str, Row | None, float]]:
    """Yield an instance's status, status message and row, and the seconds since the
    first look, until the deadline; show the first two, in `words`, as progress.

    What a proxy or a lost connection does says nothing of the instance: its status is
    "not known" then. Raises NoKey, Interrupted.
    """
    env, start, before = client.env, client.env.monotonic(), ""
    while True:
        try:
            row = find_instance(client, number)
            known = {"actual_status": "gone"} if row is None else row
            status = str(known.get("actual_status") or "starting")
            message = str(known.get("status_msg") or "").strip()
        except (NoKey, Interrupted, UsageError):
            raise
        except VastError as error:
            status, message, row = "not known", f"({error})", {}
        taken = env.monotonic() - start
        yield status, message, row, taken
        text = f"instance {number}: {words(status, message)}".rstrip()
        env.progress(f"{text} ({taken:.0f} s)", milestone=text != before)
        if env.monotonic() + POLL > deadline:
            return
        before = text
        env.sleep(POLL)


def wait_until(client: Client, number: int, goal: str, deadline: float) -> Row | None:
    """Return the instance once it is running, stopped or gone (then None).

    Raises VastError when it broke, NotDone after the deadline, Interrupted; each says
    what still costs money, and how to check.
    """
    reached, costs = GOALS[goal]
    costs += f"; to check: {PROGRAM} show instance {number}"
    first = ""
    try:
        looks = observe(client, number, deadline, "{} {}".format)
        for status, reason, row, taken in looks:
            if status == goal or status in reached:
                client.env.note(f"instance {number} is {goal}")
                return row
            first = first or status
            news = status != first or taken >= STALE
            if status == "gone" and goal == "stopped":
                raise VastError(f"instance {number} is gone", "no_such_instance")
            if goal != "gone" and status in BROKEN and news:
                msg = f"instance {number} is {status}: {reason or 'no reason given'}"
                raise VastError(f"{msg}; {costs}", "not_ready")
    except (KeyboardInterrupt, Interrupted) as cause:
        msg = f"interrupted; instance {number} may not be {goal} yet; {costs}"
        raise Interrupted(msg, cause) from None
    msg = f"instance {number} is not {goal} after {taken:.0f} s (status: {status})"
    raise NotDone(f"{msg}; {costs}", "timeout")


def waiting_for(goal: str) -> Callable[[Client, int, float], Row | None]:
    """Return the goal of a request: wait until an instance is running, …"""
    return lambda client, number, deadline: wait_until(client, number, goal, deadline)


def known_as(name: object, *details: object) -> str:
    """Return a name with what is known of it in parentheses."""
    known = ", ".join(str(detail) for detail in details if detail)
    return f"{name} ({known})" if known else str(name)


def describe_instances(client: Client, args: argparse.Namespace) -> str:
    """Return the instances to change, with label and GPU where these can be read."""
    names = []
    for number in dict.fromkeys(args.id):
        try:
            row = find_instance(client, number) or {}
        except VastError:
            row = {}
        names.append(known_as(number, row.get("label"), row.get("gpu_name")))
    return f"instance{'s' * (len(names) > 1)} {', '.join(names)}"


LABEL = at_most("label", 1024)
ONSTART_MOST = 4096  # characters of a start-up script that the service takes
ONE_VARIABLE = r"""(?s)[A-Za-z_]\w*=(?!.*\s-)[^='"\\]*"""  # NAME=some words


def parse_environment(texts: Sequence[str]) -> dict[str, str]:
    """Return Docker's options in the texts of `--env`, as the service takes them.

    "-e A=b -p 80:80 -h name" is {"A": "b", "-p 80:80": "1", "-h": "name"}. Raises
    UsageError for whatever the service cannot carry.
    """
    import shlex

    words: list[str] = []
    try:
        for text in map(str.strip, texts):
            alone = re.fullmatch(ONE_VARIABLE, text)
            words += [text] if alone else shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--env: {error}".lower()) from None
    found: dict[str, str] = {}
    while words:
        flag, value = "-e", words.pop(0)
        if value.startswith("-"):
            flag, value = value[:2], value[2:]  # -p80:80
            if flag not in ("-e", "-p", "-v", "-h"):
                raise UsageError(f"--env takes only -e -p -v -h, not '{flag}{value}'")
            if not value and not words:
                raise UsageError(f"--env: '{flag}' needs a value")
            value = value or words.pop(0)
        name, equals, content = value.partition("=")
        if flag in ("-p", "-v"):
            found[f"{flag} {value}"] = "1"
        elif flag == "-h":
            found["-h"] = value
        elif name and equals:
            found[name] = content
        else:
            raise UsageError(f"--env: '{value}' is not of the form NAME=VALUE")
    return found


def wants_jupyter(args: argparse.Namespace) -> bool:
    """Return whether an option asks for Jupyter."""
    return args.jupyter or args.jupyter_lab or args.jupyter_dir is not None


def run_type(args: argparse.Namespace) -> str | None:
    """Return how to log in to the instance; None leaves it to the template."""
    if args.args is not None:
        return "args"
    if args.direct:
        direct = "ssh_direct ssh_proxy"
        return f"jupyter_direct {direct}" if wants_jupyter(args) else direct
    if wants_jupyter(args):
        return "jupyter"
    return "ssh" if args.ssh or args.template_hash is None else None


def check_rental(args: argparse.Namespace) -> None:
    """Refuse options that exclude each other. Raises UsageError."""
    if not args.image and args.create_from is None and not args.template_hash:
        raise UsageError("no image; give --image or --template_hash")
    if wants_jupyter(args) and args.args is not None:
        raise UsageError("--jupyter and --args cannot be used together")
    if args.onstart is not None and args.onstart_cmd is not None:
        raise UsageError("--onstart and --onstart-cmd cannot be used together")
    if args.create_volume is not None and args.link_volume is not None:
        msg = "--create-volume and --link-volume cannot be used together"
        raise UsageError(msg)
    if args.max_price is not None and args.template_hash and args.disk is None:
        raise UsageError("--max-price needs --disk: the template's disk is not known")
    volume = args.create_volume or args.link_volume
    if bool(volume) != bool(args.mount_path):
        raise UsageError("a volume needs --mount-path, and --mount-path needs a volume")


def rental(args: argparse.Namespace) -> Row:
    """Return the body of `create instance`: only what was given, and what is always
    sent. Raises UsageError."""
    check_rental(args)
    onstart = args.onstart_cmd
    if args.onstart is not None:
        onstart = read_text(args.onstart, ONSTART_MOST + 1)
    if onstart is None:
        onstart = args.entrypoint
    if len(onstart or "") + sum(map(len, args.args or ())) > ONSTART_MOST:
        most = f"at most {ONSTART_MOST} characters"
        raise UsageError(f"the start-up script and the arguments are too long: {most}")
    body = {
        "client_id": "me",
        "disk": 10.0 if args.template_hash is None else None,
        "onstart": onstart,
        "runtype": run_type(args),
        "env": None if args.env is None else parse_environment(args.env),
        **given((*IMAGE_ARGS, *RENTAL_ARGS), args),
    }
    new = args.create_volume is not None
    if new or args.link_volume is not None:
        volume_args = (*VOLUME_ARGS, *(NEW_VOLUME_ARGS if new else ()))
        body["volume_info"] = {**given(volume_args, args), "create_new": new}
    return {key: value for key, value in body.items() if value is not None}


def as_price(value: object) -> float | None:
    """Return a price of a row, which may be text, or None."""
    price = as_number(str(value))
    return price if price is not None and abs(price) < 1e9 else None


class Rental(Request):
    """A kind of command: rents offers, each once; from then on they cost money."""

    def __init__(self, **more: Any) -> None:
        doubt = "offer {id} may or may not have been rented"
        super().__init__("PUT /api/v0/asks/{id}/", "offer {id}: rented", once=True,
            doubt=doubt, look="show instances", goal=waiting_for("running"),
            proof="new_contract", made=lambda reply: reply["new_contract"], **more,
        )  # fmt: skip

    def call(self, args: argparse.Namespace) -> Call:
        call = super().call(args)
        call.body = args.rental
        return call

    def __call__(self, client: Client, args: argparse.Namespace) -> Iterator[Shown]:
        for arg in CREATE_ARGS:  # `launch instance` does not have them all
            vars(args).setdefault(arg.dest, None)
        args.rental = rental(args)
        if args.args is not None and (args.ssh or args.direct):
            client.env.note("--ssh and --direct have no effect with --args")
        yield from super().__call__(client, args)

    def send(self, client: Client, args: argparse.Namespace) -> Result:
        """Rent one offer, if it costs no more than `--max-price`."""
        if args.max_price is not None:
            check_price(client, args)
        called = client.env.now()
        try:
            result = super().send(client, args)
        except OutcomeUnknown as error:
            raise look_for_rental(client, args.label, error, called) from None
        kind = "on demand"
        if args.price is not None:
            kind = f"interruptible, at ${args.price:g}/h"
        client.paid = f"instance {args.new}: rented, and costs money"
        client.env.note(f"rented offer {args.id} {kind}")
        tell_price(client, args.new)
        result.text = f"Created instance {args.new}"
        return result

    def wait(
        self, client: Client, args: argparse.Namespace, done: list[Result]
    ) -> Iterator[Shown]:
        deadline = client.env.monotonic() + args.timeout
        for result in done:
            number = result.value["new_contract"]
            if args.raw:
                client.env.note(result.text)
            try:
                row = wait_until(client, number, "running", deadline)
                result.value["instance"] = row
                yield address_result({"id": number, **(row or {})}, "ssh").text
            except VastError as error:
                if result.of is None or isinstance(error, Interrupted):
                    raise
                yield Failed(result.of, error, result)


def check_price(client: Client, args: argparse.Namespace) -> None:
    """Refuse an offer that costs more than `--max-price` with this disk, on demand or
    at the bid."""
    disk = 10.0 if args.disk is None else args.disk
    kind = "on-demand" if args.price is None else "bid"
    body = {"id": {"eq": args.id}, "type": kind, "allocated_storage": disk}
    call = Call("POST", "/api/v0/bundles/", body, read=True)
    row: Row = next(iter(rows_of(client.send(call), "offers")), {})
    price = as_price(row.get("dph_total"))
    if price is None:
        raise VastError(f"offer {args.id} is not available", "no_such_ask")
    if args.price is not None:
        price = args.price + (as_price(row.get("storage_total_cost")) or 0)
    if price > args.max_price:
        msg = f"offer {args.id} costs ${price:.4f}/h, more than ${args.max_price:g}/h"
        raise VastError(f"{msg}; nothing was rented", "too_expensive")


def tell_price(client: Client, number: int) -> None:
    """Note what an instance costs; that it can't be read is no failure."""
    try:
        row = find_instance(client, number) or {}
    except Interrupted:
        raise
    except VastError as error:
        client.env.note(f"cannot read the price of instance {number}: {error}")
        return
    price, disk = as_price(row.get("dph_total")), as_price(row.get("disk_space"))
    if price is not None:
        cost = f"${price:.4g}/h (${price * 24:.2f}/day)"
        size = f" with {disk:g} GB of disk" if disk is not None else ""
        client.paid = f"instance {number}: rented, and costs {cost}"
        client.env.note(f"instance {number} costs {cost}{size}")


def look_for_rental(
    client: Client, label: str | None, error: VastError, called: float
) -> VastError:
    """Return the error of a lost response with what can be found out about it: the id
    in what came, or which instances with the label have started since the call."""
    named = re.search(r'"new_contract":\s*(\d{1,18})', str(error.reply or ""))
    if named:
        return OutcomeUnknown(f"{error}; the response names instance {named[1]}")
    if label is None:
        return error
    try:
        rows = find_instances(client)
    except VastError as problem:
        found = f"looking for the label failed: {problem}"
        return OutcomeUnknown(f"{error}; {found}", http=error.http)
    numbers = []
    for row in rows:
        started = row.get("start_date")
        # The clocks may differ by a minute.
        old = isinstance(started, (int, float)) and started < called - 60
        if row.get("label") == label and not old:
            numbers.append(str(row.get("id")))
    several = len(numbers) > 1
    what = f"instance{'s' * several} {' '.join(numbers)}" if numbers else "no instance"
    found = f"{what} with label '{label}' {'have' if several else 'has'} started since"
    return OutcomeUnknown(f"{error}; {found}", http=error.http)


CONTINENTS = {
    "north_america": "US CA MX",
    "south_america": "AR BR CL CO PE UY",
    "europe": "AT BE BG CH CY CZ DE DK EE ES FI FR GB GR HR HU IE IS IT LT LU LV MD MT"
    " NL NO PL PT RO RS SE SI SK UA",
    "asia": "AE CN HK ID IL IN JP KR KZ MO MY PH QA SA SG TH TR TW VN",
    "oceania": "AU NZ",
    "africa": "EG KE MA NG ZA",
}


def find_best_offer(client: Client, args: argparse.Namespace) -> None:
    """Search for the offer that `launch instance` rents; put it into words."""
    args.query = [f"gpu_name={args.gpu_name}", f"num_gpus={args.num_gpus}"]
    if args.region:
        region = args.region.strip("[] ")
        codes = CONTINENTS.get(region.lower().replace(" ", "_"), "").split()
        args.query.append(f"geolocation in [{','.join(codes) or region}]")
    args.type, args.storage = "on-demand", args.disk
    args.no_default = args.disable_bundling = False
    found = find_offers(client, args)
    row = next((row for row in found if isinstance(row.get("id"), int)), None)
    if row is None:
        raise VastError("no matching offer; nothing was rented", "not_found")
    price = format_number(row.get("dph_total"), "$%.4f/h") or "at an unknown price"
    gpus = f"{row.get('num_gpus')}x {row.get('gpu_name')}"
    args.id = row["id"]
    args.offer = f"offer {args.id}, {gpus}, {row.get('geolocation')}, {price}"
    client.env.note(f"best offer: {args.offer}")


# The arguments that `create instance` and `launch instance` share.
RENTAL_ARGS = (
    Arg("--label", "label for the instance", LABEL),
    Arg("--onstart", "script file to run at every start", file_name, wire=""),
    Arg("--onstart-cmd", "commands to run at every start", wire=""),
    Arg("--entrypoint", "the same, if neither of them is given", wire=""),
    Arg("--ssh", "log in with ssh (default)", bool, wire=""),
    Arg("--direct", "connect to the machine directly, not through a proxy", bool,
        wire=""),
    Arg("--jupyter", "start Jupyter", bool, wire=""),
    Arg("--jupyter-dir", "folder to open in Jupyter"),
    Arg("--jupyter-lab", "start JupyterLab", bool, wire="use_jupyter_lab"),
    Arg("--lang-utf8", "set the locale to C.UTF-8", bool),
    Arg("--python-utf8", "set Python's encoding to UTF-8", bool),
    Arg("--env", "'-e NAME=VALUE -p 80:80 -v a:b -h NAME', as for Docker", append=True,
        wire=""),
    Arg("--login", "registry login: '-u USER -p PASSWORD HOST'", wire="image_login",
        secret=True),
    Arg("--template_hash", "template to use for what is not given here",
        wire="template_hash_id"),
    Arg("--cancel-unavail", "fail if the machine is not available now", bool),
    Arg("--extra"),
    Arg("--max-price", "refuse to pay more, $/hour including the disk",
        number("price", "$", above=0), wire=""),
    Arg("--args...", "pass all that follows to the image's command"),
)  # fmt: skip
IMAGE_ARGS = (
    Arg("--image", "image to run; this or a template is required"),
    Arg("--disk", "GB of disk (default: 10)", DISK_SIZE),
    Arg("--price --bid_price", "rent interruptible, at this bid in $/hour",
        number("bid", "$", 0.001, 128)),
    Arg("--user", "user to run the image as"),
    Arg("--create-from", "id of an instance to copy", identifier),
    Arg("--force", "skip the checks of --create-from", bool),
)  # fmt: skip
VOLUME_ARGS = (
    Arg("--create-volume", "id of a volume offer; creates a volume", identifier,
        wire="volume_id"),
    Arg("--link-volume", "id of one of your volumes; attaches it", volume_id,
        wire="volume_id"),
    Arg("--mount-path", "where to mount the volume"),
)  # fmt: skip
NEW_VOLUME_ARGS = (
    Arg("--volume-size", "GB of the new volume (default: 15)",
        number("volume size", "GB", 1, whole=True), wire="size"),
    Arg("--volume-label", "name for the new volume", wire="name"),
)  # fmt: skip
CREATE_ARGS = (*IMAGE_ARGS, *VOLUME_ARGS, *NEW_VOLUME_ARGS, *RENTAL_ARGS)
ONLY_ONE = (
    Arg("id?", "id of the instance; optional if you have only one", identifier),
    Arg("--id", "the same, as an option", stands_for="id"),
)
INSTANCE_IDS = ids("one or more instance ids")
INSTANCE_ID = Arg("id", "id of the instance", identifier)
INSTANCE_PATH = "/api/v0/instances/{id}/"


def bid_words(client: Client, args: argparse.Namespace) -> None:
    """Put the new bid into words."""
    args.bid = "chosen by the service" if args.price is None else f"${args.price:g}/h"


INSTANCE_COMMANDS = (
    Command("show instances", "list your instances",
        Listing("", INSTANCE_COLUMNS, fetch=find_instances, where=matching_rows),
        example="show instances 'label=exp1 status=running'"),
    Command("show instance", "show instances by id",
        Listing("", INSTANCE_COLUMNS,
            fetch=lambda client, args: [the_instance(client, args.id)]),
        INSTANCE_IDS, example="show instance 5001"),
    Command("ssh-url", "print the ssh URL of an instance",
        lambda client, args: [address_result(the_instance(client, args.id), "ssh")],
        *ONLY_ONE, example="ssh-url 5001"),
    Command("scp-url", "print the scp URL of an instance",
        lambda client, args: [address_result(the_instance(client, args.id), "scp")],
        *ONLY_ONE, example="scp-url 5001"),
    Command("create instance", "rent an offer; it costs money from then on",
        Rental(), Arg("id", "id of the offer", identifier), *CREATE_ARGS,
        example="create instance 1234 --image pytorch/pytorch --disk 40 --label train"),
    Command("create instances", "rent several offers",
        Rental(), ids("ids of the offers"), *CREATE_ARGS,
        example="create instances 1234 1235 --image pytorch/pytorch --disk 40"),
    Command("launch instance", "search, and rent the best offer",
        Rental(prepare=find_best_offer, ask="rent {offer}?"),
        Arg("-g --gpu-name", "GPU model, such as RTX_4090", required=True),
        Arg("-n --num-gpus", "number of GPUs", GPUS, required=True),
        Arg("-i --image", "image to run; this or a template is required"),
        Arg("-r --region", "continent, such as North_America, or countries: US,CA"),
        Arg("-d --disk", "GB of disk (default: 16)", DISK_SIZE, default=16.0),
        Arg("--limit", "number of offers to look at (default: 3)", LIMIT, default=3),
        Arg("-o --order", "fields to sort by (default: score-)", default="score-"),
        *RENTAL_ARGS,
        example="launch instance -g RTX_4090 -n 1 -i pytorch/pytorch --max-price 0.5"),
    Command("start instance", "start a stopped instance",
        Request(f"PUT {INSTANCE_PATH}", "instance {id}: starting",
            body={"state": "running"}, goal=waiting_for("running")),
        INSTANCE_IDS, example="start instance 5001 --wait", aliases=["start instances"],
    ),
    Command("stop instance", "stop an instance; its disk still costs money",
        Request(f"PUT {INSTANCE_PATH}", "instance {id}: stopping",
            body={"state": "stopped"}, goal=waiting_for("stopped"), schedule=True,
            note="the disk of a stopped instance still costs money"),
        INSTANCE_IDS, example="stop instance 5001", aliases=["stop instances"]),
    Command("reboot instance", "restart an instance's container",
        Request("PUT /api/v0/instances/reboot/{id}/", "instance {id}: rebooting",
            goal=waiting_for("running"), schedule=True),
        INSTANCE_IDS, example="reboot instance 5001 --wait",
        aliases=["reboot instances"]),
    Command("recycle instance", "recreate an instance's container from its image",
        Request("PUT /api/v0/instances/recycle/{id}/", "instance {id}: recycling",
            goal=waiting_for("running"),
            ask=lambda client, args: f"recycle {describe_instances(client, args)}?"
            " The container's disk is wiped and the ssh port changes."),
        INSTANCE_IDS, example="recycle instance 5001 --wait",
        aliases=["recycle instances"]),
    Command("label instance", "set the label of an instance",
        Request(f"PUT {INSTANCE_PATH}", "instance {id}: label '{label}'"),
        INSTANCE_ID,
        Arg("label", "new label; '' removes it", LABEL),
        example="label instance 5001 training"),
    Command("update instance", "change the image, template or environment",
        Request("PUT /api/v0/instances/update_template/{id}/", "instance {id}: updated",
            update=True, proof="success|updated_instance"),
        INSTANCE_ID,
        Arg("--image", "image to run from the next recycle on"),
        Arg("--template_id", "id of a template", identifier),
        Arg("--template_hash_id --template_hash", "hash of a template"),
        Arg("--env", 'environment as JSON: \'{"NAME": "VALUE"}\'', json_object),
        Arg("--onstart", "commands to run at every start"),
        Arg("--args", "arguments of the image's command, as one string"),
        example="update instance 5001 --image pytorch/pytorch:latest"),
    Command("prepay instance", "deposit credit for an instance, for a discount",
        Request("PUT /api/v0/instances/prepay/{id}/",
            "instance {id}: reserved for {reply[timescale]} months at a discount of"
            " {reply[discount_rate]}",
            once=True, ask="deposit ${amount:.2f} for instance {id}?",
            proof="success|timescale"),
        INSTANCE_ID, Arg("amount", "dollars", number("amount", "$", above=0)),
        example="prepay instance 5001 50"),
    Command("change bid", "change the bid for an interruptible instance",
        Request("PUT /api/v0/instances/bid_price/{id}/", "instance {id}: bid {bid}",
            body={"client_id": "me", "price": "{price}"}, prepare=bid_words,
            schedule=True, look="show instances"),
        INSTANCE_ID,
        Arg("--price", "$/hour; without it the service picks a winning bid",
            number("bid", "$", 0.001)),
        example="change bid 5001 --price 0.3"),
    Command("destroy instance", "destroy an instance and all its data",
        Request(f"DELETE {INSTANCE_PATH}", "instance {id}: destroying",
            goal=waiting_for("gone"), schedule=True,
            ask=lambda client, args: f"destroy {describe_instances(client, args)}"
            " and all data on its disk?"),
        INSTANCE_IDS, example="destroy instance 5001 -y", aliases=["destroy instances"],
    ),
)  # fmt: skip


# --- copying and logs -----------------------------------------------------------------


def fetch_result(client: Client, reply: object, timeout: float) -> str:
    """Return the text of the file that a response names, once it is there. Raises
    VastError when it is not after `timeout` seconds."""
    if not isinstance(reply, dict):
        raise VastError("the response names no result", BAD_REPLY)
    url = str(reply.get("result_url") or reply.get("temp_download_url"))
    env, start, pause = client.env, client.env.monotonic(), 0.3
    while True:
        env.sleep(pause)
        try:
            status, text = client.fetch(url)
        except Failure:  # as good as not there yet
            status = 0
        if status == 200:
            return text
        taken = env.monotonic() - start
        if taken + pause > timeout:
            told = f"the service says: {reply.get('msg') or 'nothing'}"
            raise VastError(f"no result after {taken:.0f} s; {told}", "timeout")
        if taken > 1:
            env.progress(f"waiting for the result ({taken:.0f} s)")
        pause = min(pause * 1.5, POLL)


def as_output(text: str, env: Environment) -> bytes:
    """Return strangers' text for stdout: as it is, but on a terminal without control
    characters other than tabs."""
    if env.on_terminal():
        lines = [line.rstrip("\r").split("\t") for line in text.split("\n")]
        text = "\n".join("\t".join(map(visible, parts)) for parts in lines)
    return text.encode("utf-8", "surrogateescape")


def show_result(client: Client, args: argparse.Namespace, reply: Row) -> Shown:
    """Return what shows the text that a response only names."""
    text = fetch_result(client, reply, args.timeout)
    return Result({**reply, "text": text}) if args.raw else as_output(text, client.env)


def show_log(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """Show the end of an instance's log, and what is added to it if asked to."""
    if args.follow and args.raw:
        raise UsageError("--follow excludes --raw")
    path = f"/api/v0/instances/request_logs/{args.id}/"
    call = Call("PUT", path, given(LOG_ARGS, args), read=True)
    if args.follow:
        read = lambda reply: fetch_result(client, reply, args.timeout)  # noqa: E731
        yield from follow_log(client, call, "1000", read)
    else:
        yield show_result(client, args, client.send(call))


def follow_log(
    client: Client, call: Call, tail: object, read: Callable[[Any], str]
) -> Iterator[Shown]:
    """Show what is added to a log, until Ctrl-C or until nobody reads it. `read` finds
    it in a response; from the second one on, `tail` lines are asked for."""
    env, stdout, known = client.env, client.env.stdout, ""
    try:
        while env.stdout is stdout:  # another one: the pipe was closed
            text = read(client.send(call))
            added = text_after(known, text)
            if known and added and added == text:
                env.note("the log does not go on where it ended; lines may be missing")
            if added:
                known = text
                yield as_output(added, env)
            call.body = {**(call.body or {}), "tail": tail}
            env.sleep(POLL)
    except (KeyboardInterrupt, Interrupted) as cause:
        raise Interrupted("", cause) from None


def text_after(known: str, text: str) -> str:
    """Return what the end of a log has beyond what is known of it: all of it when they
    share nothing. An older one, which may come again, has nothing."""
    if text in known:
        return ""
    if known in text:
        return text[text.find(known) + len(known) :]
    for line in re.finditer("(?m)^", known):
        start = line.start()
        likely = text.startswith(known[start : start + 64])  # whole copies take time
        if likely and text.startswith(known[start:]):
            return text[len(known) - start :]
    return text


def ask_first(client: Client, args: argparse.Namespace, question: str) -> None:
    """Ask before harm is done, unless -y was given. Raises NotDone."""
    if not args.yes and not client.dry_run:
        client.env.confirm(question)


EXECUTE = Request(
    "PUT /api/v0/instances/command/{id}/", "instance {id}: command sent",
    body={"command": "{command}"}, schedule=True, proof="success|result_url",
    doubt="the command may or may not have run on instance {id}", look="show instances",
)  # fmt: skip


def execute(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """Have the service run a command on the disk of a stopped instance."""
    from shlex import quote

    command = args.command = " ".join(args.command)
    verb = command.partition(" ")[0].strip()
    hint = "the service runs only ls, rm and du, on the disk of a stopped instance;"
    hint += f" otherwise: {PROGRAM} ssh {args.id} {quote(command)}"
    if verb not in ("ls", "rm", "du"):
        raise UsageError(hint)
    if len(command) > 512:
        raise UsageError("the command is too long: at most 512 characters")
    if verb == "rm" and args.schedule is None:
        ask_first(client, args, f"run '{command}' on instance {args.id}?")
    try:
        [result] = EXECUTE(client, args)
    except VastError as error:
        if error.http == 400:
            raise VastError(f"{error} ({hint})", error.slug, 400) from None
        raise
    assert isinstance(result, Result)
    yield result if args.schedule else show_result(client, args, result.value)


def ssh(client: Client, args: argparse.Namespace) -> Iterable[Shown]:
    """Replace this program with ssh."""
    found = address_result(the_instance(client, args.id), "ssh").value
    target = ["-p", str(found["port"]), f"root@{found['host']}"]
    client.env.become(["ssh", *target, *(args.command or ())])
    return ()


def copy_side(text: str) -> tuple[str | int | None, str]:
    """Parse one side of a copy: its id for the service, None for this machine, and the
    path. A number alone is a whole instance."""
    if re.fullmatch("[0-9]{1,18}", text):
        return int(text), "/"
    name, colon, path = text.partition(":")
    if not colon or "/" in name:
        name, path = "local", text
    known = r"local|((C|V|vast)\.)?[0-9]{1,18}|(drive|s3|b2|dropbox|hf)(\.[0-9]{1,18})?"
    if not re.fullmatch(known, name) or not path or path.startswith(":"):
        rule = f"use ID:/path for an instance, local:{text} for this machine"
        raise invalid("address", text, rule)
    return (None if name == "local" else name), path


def instance_of(side: tuple[str | int | None, str]) -> int | None:
    """Return the id of the instance that one side of a copy is, None for others."""
    number = re.fullmatch(r"(?:C\.)?([0-9]+)", str(side[0]))
    return int(number[1]) if number else None


def check_copy(args: argparse.Namespace, here: bool) -> None:
    """Refuse what can't be copied; `here`: with this machine. Raises UsageError."""
    more, into = args.rsync_args or [], args.dst_path.rstrip("/")
    if more and not more[0].startswith("-"):
        raise UsageError(f"unexpected argument '{more[0]}'; write ID:/path")
    if str(args.dst_id).startswith("vast."):
        raise UsageError("nothing can be copied into a backup")
    if args.id is None and (here or args.wait):
        raise UsageError("one side must be an instance, written as ID:/path")
    if not here and (more or args.identity or args.exclude or args.delete):
        raise UsageError("options for rsync are only for copies with this machine")
    vital = instance_of(args.dst) and into in ("", "/root")
    if vital and not here and not args.whole:
        raise UsageError(f"copying into {args.dst_path} breaks ssh; name a directory")


def copy(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """Copy between two sides, of which this machine may be one."""
    args.src_id, args.src_path = args.src
    args.dst_id, args.dst_path = args.dst
    args.id = instance_of(args.dst) or instance_of(args.src)
    args.whole = type(args.src_id) is type(args.dst_id) is int
    here = args.src_id is None or args.dst_id is None
    check_copy(args, here)
    if args.whole:
        question = f"replace the whole disk of {args.dst_id} by that of {args.src_id}?"
        ask_first(client, args, question)
    if args.delete:
        question = f"delete in {args.dst_path} what {args.src_path} does not have?"
        ask_first(client, args, question)
    if here:
        yield from copy_with_rsync(client, args)
        return
    yield from REMOTE_COPY(client, args)
    if not args.wait:
        client.env.note("the service goes on copying; --wait follows it to its end")


def copy_with_rsync(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """Replace this program with rsync, run with the options that the vendor's client
    gives it; the other end is the host's own ssh server."""
    from shutil import which as find_program

    up, env = args.src_id is None, client.env
    near, far = (args.src_path, args.dst) if up else (args.dst_path, args.src)
    end = "dst" if up else "src"
    call = REMOTE_COPY.call(args)
    call.path = "/api/v0/commands/rsync/"
    reply = client.send(call)
    address = as_address(reply.get(f"{end}_addr"), reply.get(f"{end}_port"))
    if not address:
        raise VastError("the response has no address to copy with", BAD_REPLY)
    for name in ("rsync", "ssh"):
        if not find_program(name, path=env.environ.get("PATH")):
            raise UsageError(f"{name} is not installed; copying needs it", "program")
    near = os.path.join(".", expand_home(near, env.environ))  # never an option
    if not up:
        try:
            os.makedirs(os.path.dirname(near), exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot create {near}: {error.strerror}") from None
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    remote = f"vastai_kaalia@{host}::{far[0]}/{far[1]}"
    if args.raw:
        yield json_text(without_credentials(reply), env.on_terminal())
    # rsync itself splits what is behind -e.
    key = "-i '" + args.identity.replace("'", "''") + "' " if args.identity else ""
    shell = f"ssh {key}-p {address[1]} -o StrictHostKeyChecking=no"
    words = ["rsync", "-arz", *(["-q"] if args.raw else ["-v", "--progress"])]
    words += ["-e", shell, *(f"--exclude={pattern}" for pattern in args.exclude or ())]
    words += [*["--delete"] * args.delete, *(args.rsync_args or ())]
    env.become([*words, *([near, remote] if up else [remote, near])])


def copy_ended(client: Client, number: int, deadline: float) -> Row | None:
    """Return the instance once its status message tells the end of a copy; for a while
    it may be that of before. Raises VastError when the copy failed, NotDone."""
    ended = r"(?i)\b(done|complete|completed|finished|copied)\b|\b100 ?%"
    failed = "(?i)error|fail|denied|refused|abort|cancel"
    looks = observe(client, number, deadline, lambda status, message: message or status)
    first = ""
    for status, message, row, taken in looks:
        text = f"instance {number}: {message or status}"
        first = first or text
        news = text != first or taken >= STALE
        if status == "gone" or (row and news and re.search(failed, message)):
            raise VastError(text, "copy_failed")
        if row and news and re.search(ended, message):
            client.env.note(text)
            return row
    stop = f"to stop it: {PROGRAM} cancel copy {number}"
    raise NotDone(f"no end after {taken:.0f} s; {text}; {stop}", "timeout")


REMOTE_COPY = Request(
    "PUT /api/v0/commands/copy_direct/", "copy to {dst_id}:{dst_path}: started",
    body={"client_id": "me", "src_id": "{src_id}", "dst_id": "{dst_id}",
          "src_path": "{src_path}", "dst_path": "{dst_path}"},
    goal=copy_ended, look="show instances",
)  # fmt: skip


def copy_target(text: str) -> int:
    """Parse the id of an instance, which may have a path as in `copy`."""
    return identifier(re.sub(r"^C\.|:.+", "", text))


def repository(text: str) -> str:
    """Parse the name of a repository of images; the service adds a tag of its own."""
    if not re.fullmatch(r"[\w-]*[.:][\w.:-]*(/[\w.-]+)+", text):
        raise invalid("repository", text, "use docker.io/USER/NAME, without a tag")
    return text


def read_password(client: Client, args: argparse.Namespace) -> None:
    """Read the registry's password: given, in the environment, or asked for."""
    known = client.env.environ.get("DOCKER_LOGIN_PASS") or "-"
    value = args.docker_login_pass or known
    args.docker_login_pass = secret_value(value, client.env, "Registry password: ")


CONNECTION_COLUMNS = (
    Column("ID", "id", "d", "id, for cloud copy", essential=True),
    Column("Type", "cloud_type", "", "the kind of cloud", essential=True),
    Column("Name", "name", "", "your name for it", essential=True),
)
LINES = number("number of lines", least=1, whole=True)
LOG_ARGS = (
    Arg("--tail", "number of lines (1000)", lambda text: str(LINES(text))),
    Arg("--filter", "only lines that match this grep pattern"),
    Arg("--daemon-logs", "the log of the host's daemon, not the container's",
        stands_for="--daemon=true"),
    Arg("--daemon", wire="daemon_logs"),
)  # fmt: skip
RESULT_TIMEOUT = Arg("--timeout", "wait at most this many seconds for the result (60)",
    SECONDS, default=60.0, wire="")  # fmt: skip

COPYING_COMMANDS = (
    Command("logs", "show the end of an instance's log", show_log,
        INSTANCE_ID, *LOG_ARGS,
        Arg("-f --follow", "show new lines as they come, until Ctrl-C", bool),
        RESULT_TIMEOUT, example="logs 5001 --tail 100 --follow"),
    Command("execute", "run ls, rm or du on a stopped instance's disk", execute,
        INSTANCE_ID, Arg("command+", "the command, best in quotes"),
        RESULT_TIMEOUT, *EXECUTE.extra_args,
        example="execute 5001 'ls -l /root'", pass_on=True),
    Command("ssh", "log in to an instance, or run a command there", ssh, INSTANCE_ID,
        Arg("command...", "a command, after any options for ssh: -i KEY, -L …"),
        example="ssh 5001 -L 8080:localhost:8080 nvidia-smi", pass_on=True,
        notes=lambda: "The exit status is that of ssh, which is the command's."),
    Command("copy", "copy files from or to an instance", copy,
        Arg("src", "ID:/path, or a local path; V.ID:/path, s3.ID:/path", copy_side),
        Arg("dst", "the same; an ID alone is a whole VM", copy_side),
        Arg("rsync_args...", "what follows -- is passed on to rsync"),
        Arg("-i --identity", "file of the private SSH key", file_name),
        Arg("--exclude", "leave out files that match; may be repeated", append=True),
        Arg("--delete", "delete files in DST that SRC does not have", bool),
        YES_ARG, *REMOTE_COPY.extra_args,
        example="copy 5001:/workspace/results/ ./results/",
        notes=lambda: "With this machine, rsync copies, and its exit status counts.\n"
        "A directory is copied into DST; with / at the end of SRC, its contents are.\n"
        "If it asks for a password, your SSH key is missing there: see attach ssh."),
    Command("cancel copy", "stop a copy to an instance",
        Request("DELETE /api/v0/commands/copy_direct/", "instance {id}: copy canceled",
            body={"client_id": "me", "dst_id": "{id}"}, look="show instances"),
        Arg("id", "the instance", copy_target), example="cancel copy 5001"),
    Command("cancel sync", "stop a cloud copy",
        Request("DELETE /api/v0/commands/rclone/", "instance {id}: cloud copy canceled",
            body={"client_id": "me", "dst_id": "{id}"}, look="show instances"),
        Arg("id", "the instance", copy_target), example="cancel sync 5001"),
    Command("cloud copy", "copy between an instance and a cloud",
        Request("POST /api/v0/commands/rclone/",
            "instance {instance}: cloud copy started",
            prepare=lambda client, args: setattr(args, "id", int(args.instance)),
            note="the instance's status message shows the progress",
            schedule=True, look="show instance {instance}"),
        Arg("--src", "path to copy from", required=True),
        Arg("--dst", "path to copy to (/workspace)", default="/workspace"),
        Arg("--instance", "id of the instance", lambda text: str(copy_target(text)),
            wire="instance_id", required=True),
        Arg("--connection", "id of the connection, see show connections",
            lambda text: str(identifier(text)), wire="selected", required=True),
        Arg("--transfer", "Instance to Cloud, or Cloud To Instance", required=True,
            type=Choice("transfer", "Instance to Cloud", "Cloud To Instance")),
        Arg("--flags", append=True),
        Arg("--rclone-dry-run", "only say what would be done",
            stands_for="--flags=--dry-run"),
        Arg("--size-only", "compare sizes only", stands_for="--flags=--size-only"),
        Arg("--ignore-existing", "skip files that exist in DST",
            stands_for="--flags=--ignore-existing"),
        Arg("--update", "skip files newer in DST", stands_for="--flags=--update"),
        Arg("--delete-excluded", "delete files in DST that are left out",
            stands_for="--flags=--delete-excluded"),
        example="cloud copy --src /bucket --dst /workspace --instance 5001 \\\n"
        "    --connection 1001 --transfer 'Cloud To Instance'"),
    Command("show connections", "list your connections to clouds",
        Listing("GET /api/v0/users/cloud_integrations/", CONNECTION_COLUMNS)),
    Command("take snapshot", "push an instance's container to a registry",
        Request("POST /api/v0/instances/take_snapshot/{id}/",
            "instance {id}: snapshot started; {reply[msg]}", once=True,
            doubt="a snapshot of instance {id} may or may not have been started",
            look="show instance {id}", prepare=read_password),
        INSTANCE_ID,
        Arg("--repo", "the repository, with the registry's host and without a tag",
            repository, wire="personal_repo", required=True),
        Arg("--docker_login_user", "your name at the registry", required=True),
        Arg("--docker_login_pass", "the password; DOCKER_LOGIN_PASS or - is safer",
            secret=True),
        Arg("--container_registry", "the registry (docker.io)", default="docker.io"),
        Arg("--pause", "true or false: pause the container meanwhile (true)",
            Choice("answer", "true", "false"), default="true"),
        example="take snapshot 5001 --repo docker.io/me/app --docker_login_user me"),
)  # fmt: skip


# --- SSH keys and environment variables -----------------------------------------------


def read_key(client: Client, args: argparse.Namespace) -> None:
    """Read the public key that is given as itself, as its file's name, or as - for
    stdin; without one, at a terminal, that in ~/.ssh. Raises UsageError, NotDone."""
    env, text = client.env, args.ssh_key
    if text == "-" or (text is None and not env.can_ask()):
        text = env.read_line()
    if text is None:
        names = ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub")
        paths = [os.path.join(home(env.environ), ".ssh", name) for name in names]
        text = next(filter(os.path.isfile, paths), "")
        if not text:
            raise UsageError("you have no SSH key; create one with: ssh-keygen")
        ask_first(client, args, f"add {text} to your account?")
    path = expand_home(text, env.environ)
    text = (read_text(path) if os.path.isfile(path) else text).strip()
    if "PRIVATE KEY" in text or text.startswith("PuTTY-User-Key-File"):
        raise UsageError("that is a private key; give the public one, in a .pub file")
    kinds = r"(ssh-(rsa|dss|ed25519)|ecdsa-sha2-[\w-]+|sk-(ssh|ecdsa)-[\w@.-]+)"
    if not re.fullmatch(kinds + r"[ \t]+[A-Za-z0-9+/]{16,}={0,3}([ \t].*)?", text):
        word = shorten(path, 120)
        raise UsageError(f"'{word}' is neither a public SSH key nor a file with one")
    args.ssh_key = text


def without_data(key: str) -> str:
    """Return the type and the comment of a public key."""
    return re.sub(r"\s+\S{16,}", "", key, count=1)


def read_key_or_id(client: Client, args: argparse.Namespace) -> None:
    """Do the same; a number is the id of one of the account's keys."""
    if args.ssh_key.isdecimal():
        rows = SSH_KEYS.fetched(client, args)
        found = [row for row in rows if str(row.get("id")) == args.ssh_key]
        if not found:
            raise VastError(f"there is no SSH key {args.ssh_key}", "no_ssh_key")
        args.ssh_key = str(found[0].get("key"))
    read_key(client, args)


class KeyChange(Request):
    """A kind of command: changes SSH keys, where two refusals mean something else."""

    def send(self, client: Client, args: argparse.Namespace) -> Result:
        try:
            return super().send(client, args)
        except VastError as error:
            if "already associated" in str(error):
                done = f"instance {args.id}: SSH key already attached"
                return Result({"success": True, "msg": str(error)}, done)
            if error.slug != "no_ssh_key" or "/ssh/{id}/" not in self.path:
                raise
            msg = f"there is no SSH key {args.id}"
            raise VastError(msg, error.slug, error.http) from None


def key_words(row: Row) -> list[str]:
    """Return type, data and comment of a row's public key, "" for what is missing."""
    key = str(row.get("key") or row.get("public_key") or "")
    return [*key.split(None, 2), "", "", ""][:3]


SSH_KEY_COLUMNS = (
    Column("ID", "id", "d", "id of the key", essential=True),
    Column("Type", lambda row, now: key_words(row)[0], "", "kind of key"),
    Column("End", lambda row, now: key_words(row)[1][-12:], "",
           "its last characters, to tell keys apart", essential=True),
    Column("Created", "created_at", "", "when it was added"),
    Column("Comment", lambda row, now: key_words(row)[2], "",
           "what follows the key", essential=True),
)  # fmt: skip
SSH_KEYS = Listing("GET /api/v0/ssh/", SSH_KEY_COLUMNS, empty_on=(404,))


def find_instance_keys(client: Client, args: argparse.Namespace) -> list[Row]:
    """Return the keys of an instance, which come as JSON text."""
    reply = client.send(Call("GET", f"/api/v0/instances/{args.id}/ssh/"))
    try:
        reply = {"ssh_keys": json.loads(reply["ssh_keys"])}
    except (ValueError, LookupError, TypeError):  # not text
        pass
    return rows_of(reply, "ssh_keys")


def find_variables(client: Client, args: argparse.Namespace) -> list[Row]:
    """Return the account's variables, their values masked unless asked for."""
    reply = client.send(Call("GET", "/api/v0/secrets/"))
    return [
        {"key": name, "value": value if args.show_values else "*****"}
        for secrets in rows_of(reply, "secrets")
        for name, value in sorted(secrets.items())
    ]


def variable_name(text: str) -> str:
    """Parse the name of a variable; the service has them in capitals."""
    if not re.fullmatch(r"(?a)[A-Za-z_]\w*", text):
        raise invalid("name", text, "must be letters, digits and _")
    return text.upper()


def read_value(client: Client, args: argparse.Namespace) -> None:
    """Read the value of a variable that is not on the command line."""
    value = "-" if args.value is None else args.value
    args.value = secret_value(value, client.env, "Value: ")


KEY_HELP = "a public key, the name of its .pub file, or - for stdin"
VARIABLE = Arg("name", "name of the variable", variable_name, wire="key")
VARIABLE_ARGS = (
    VARIABLE,
    Arg("value?", "its value; without it, or with -, a prompt or stdin", secret=True),
    Arg("--value", "same as an option", stands_for="value"),
)
VARIABLE_COLUMNS = (
    Column("Name", "key", "", "name of the variable", essential=True),
    Column("Value", "value", "", "its value, masked without -s", essential=True),
)

# Secrets may start with dashes, as private keys do, and an error about an unknown
# option would show them: hence `pass_on`.
KEY_COMMANDS = (
    Command("show ssh-keys", "list the SSH keys of your account", SSH_KEYS),
    Command("create ssh-key", "add an SSH key to your account",
        KeyChange("POST /api/v0/ssh/", "SSH key {said}: added to your account",
            doubt="the SSH key may or may not have been added", prepare=read_key,
            once=True, proof="success|key"),
        Arg("ssh_key?", f"{KEY_HELP}; without it, stdin or the key in ~/.ssh",
            say=without_data),
        Arg("--ssh-key", "same as an option", stands_for="ssh_key"), YES_ARG,
        example="create ssh-key ~/.ssh/id_ed25519.pub", pass_on=True),
    Command("update ssh-key", "replace an SSH key of your account",
        KeyChange("PUT /api/v0/ssh/{id}/", "SSH key {id}: replaced by {said}",
            body={"id": "{id}"}, prepare=read_key, proof="success|key"),
        Arg("id", "id of the key", identifier),
        Arg("ssh_key", KEY_HELP, say=without_data),
        example="update ssh-key 211 ~/.ssh/id_ed25519.pub", pass_on=True),
    Command("delete ssh-key", "remove SSH keys from your account",
        KeyChange("DELETE /api/v0/ssh/{id}/", "SSH key {id}: deleted",
            ask="delete {which} from your account?"),
        ids("one or more ids of keys"), example="delete ssh-key 211"),
    Command("attach ssh", "let an SSH key log in to an instance",
        KeyChange("POST /api/v0/instances/{id}/ssh/",
            "instance {id}: SSH key {said} attached", prepare=read_key_or_id,
            look="show instance-ssh-keys {id}"),
        INSTANCE_ID,
        Arg("ssh_key", f"{KEY_HELP}; or the id of a key of your account",
            say=without_data),
        example="attach ssh 5001 ~/.ssh/id_ed25519.pub", pass_on=True),
    Command("detach ssh", "remove an SSH key from an instance",
        Request("DELETE /api/v0/instances/{id}/ssh/{key}/",
            "instance {id}: SSH key {key} detached",
            look="show instance-ssh-keys {id}"),
        INSTANCE_ID, Arg("key", "id of the key", identifier),
        example="detach ssh 5001 211"),
    Command("show instance-ssh-keys", "list the SSH keys of an instance",
        Listing("", SSH_KEY_COLUMNS, fetch=find_instance_keys), INSTANCE_ID,
        example="show instance-ssh-keys 5001"),
    Command("show env-vars", "list the variables that your instances get",
        Listing("", VARIABLE_COLUMNS, fetch=find_variables, key="key"),
        Arg("-s --show-values", "show the values", bool)),
    Command("create env-var", "add a variable for new instances",
        Request("POST /api/v0/secrets/", "variable {name}: created",
            prepare=read_value),
        *VARIABLE_ARGS, example="create env-var HF_TOKEN -", pass_on=True),
    Command("update env-var", "change the value of a variable",
        Request("PUT /api/v0/secrets/", "variable {name}: updated",
            prepare=read_value),
        *VARIABLE_ARGS, example="update env-var HF_TOKEN -", pass_on=True),
    Command("delete env-var", "delete a variable",
        Request("DELETE /api/v0/secrets/", "variable {name}: deleted",
            ask="delete variable {name}?"),
        VARIABLE, example="delete env-var HF_TOKEN"),
)  # fmt: skip


# --- templates ------------------------------------------------------------------------

TEMPLATE_FIELDS = [
    Field(name, kind, {"text": "as typed", "float": "GB"}.get(kind, ""))
    for kind, names in {
        "int": "id creator_id count_created",
        "date": "created_at recent_create_date",
        "float": "recommended_disk_space",
        "text": "hash_id name image tag default_tag docker_login_repo",
        "bool": "private recommended use_ssh ssh_direct jup_direct",
    }.items()
    for name in names.split()
]
TEMPLATE_COLUMNS = (
    Column("ID", "id", "d", "id of the template", essential=True),
    Column("Hash", "hash_id", "", "its hash, for create instance", essential=True),
    Column("Image", "image", "", "the image that it runs"),
    Column("Tag", "tag", "", "tag of the image"),
    Column("Disk", "recommended_disk_space", ".0f", "disk space, GB"),
    Column("Used", "count_created", "d", "instances made from it"),
    Column("Private", "private", "", "only yours"),
    Column("Name", "name", "", "its name", essential=True),
)
BENCHMARK_COLUMNS = (
    Column("Machine", "machine_id", "d", "id of the machine", essential=True),
    *pick_columns("N,Model", OFFER_COLUMNS, ()),
    Column("Value", "value|score", ".2f", "what was measured", essential=True),
    Column("Type", "type|name", "", "unit of the value", essential=True),
    Column("$/hr", "dph_base", ".4f", "price without disk"),
    Column("Date", at("last_update"), "", "when it was measured"),
    Column("Template", "template_id", "d", "id of the template"),
    Column("Image", "image|model", "", "the image that it ran"),
)


def select_templates(client: Client, filters: Row) -> list[Row]:
    """Return the templates that pass filters, the user's own and public ones."""
    params = {"select_cols": '["*"]', "select_filters": json.dumps(filters)}
    reply = client.send(Call("GET", "/api/v0/template/", params=params))
    return rows_of(reply, "templates")


def find_templates(client: Client, args: argparse.Namespace) -> list[Row]:
    """Return the templates that a query finds. Words in front of its comparisons are
    looked for here: the service can't."""
    query = Query(" ".join(args.query), named_fields(TEMPLATE_FIELDS))
    words = []
    while query.tokens and not query.comparison_at(0):
        words.append(query.tokens.pop(0).text.strip("'\"").lower())
    query.parse()
    found = []
    for row in select_templates(client, query.filters):
        text = f"{row.get('name')} {row.get('image')}".lower()
        found += [row] if all(word in text for word in words) else []
    return found


def the_template(client: Client, args: argparse.Namespace) -> Row:
    """Return the template that an id or a hash names. Raises VastError."""
    number = as_int(args.id)
    key, value = ("id", number) if number else ("hash_id", args.id)
    rows = select_templates(client, {key: {"eq": value}})
    if not rows:
        raise VastError(f"there is no template {args.id}", "not_found")
    args.id, args.title = rows[0].get("id"), rows[0].get("name")
    if not isinstance(args.id, int):
        raise VastError("the response has no template in it", BAD_REPLY)
    return rows[0]


def docker_options(texts: Sequence[str]) -> str:
    """Return the texts of `--env` as Docker's options. Raises UsageError."""
    from shlex import quote

    words = []
    for name, value in parse_environment(texts).items():
        flag, _, option = name.partition(" ")
        if flag not in ("-h", "-p", "-v"):
            flag, option = "-e", f"{name}={value}"
        words.append(f"{flag} {quote(option or value)}")
    return " ".join(words)


def registry_login(text: str, env: Environment) -> Row:
    """Return the keys of a template for "-u USER HOST". The password is in the
    environment or, with "-p -", on stdin. Raises UsageError."""
    match = re.fullmatch(r"(?:-u +(\S+) +)?(?:-p +(\S+) +)?([^-\s]\S*)", text.strip())
    if not match:
        raise UsageError("--login must be such as '-u USER docker.io'")
    if match[2] not in (None, "-"):
        hint = "set DOCKER_LOGIN_PASS, or write -p - and type it on stdin"
        raise UsageError(f"--login: ps would show the password; {hint}")
    secret = env.environ.get("DOCKER_LOGIN_PASS")
    if match[2]:
        secret = secret_value("-", env, "Registry password: ")
    login = {"repo": match[3], "user": match[1], "pass": secret}
    return {f"docker_login_{key}": value for key, value in login.items() if value}


def login_mode(args: argparse.Namespace, now: Row) -> Row:
    """Return how to log in to instances, if options name it; `now` is the template."""
    jupyter = wants_jupyter(args)
    if not (jupyter or args.ssh or args.direct):
        return {}
    jupyter = jupyter or (now.get("runtype") == "jupyter" and not args.ssh)
    direct = args.direct or bool(now.get("ssh_direct") or now.get("jup_direct"))
    mode = {"runtype": "jupyter" if jupyter else "ssh", "use_ssh": True}
    return {**mode, "ssh_direct": direct, "jup_direct": direct and jupyter}


def template_changes(client: Client, args: argparse.Namespace) -> Row:
    """Return the keys of a template that options name. Raises UsageError."""
    changes = given((TEMPLATE_NAME, *TEMPLATE_ARGS), args)
    if args.env is not None:
        changes["env"] = docker_options(args.env)
    if args.login is not None:
        changes |= registry_login(args.login, client.env)
    if args.search_params is not None:
        defaults = {} if args.no_default else DEFAULT_FILTERS
        changes["extra_filters"], notes = parse_query(args.search_params, defaults)
        for note in notes:
            client.env.note(note)
    for flag, key in ((args.hide_readme, "readme_visible"), (args.public, "private")):
        changes |= {key: False} if flag else {}
    return changes


def send_template(client: Client, call: Call, done: str) -> Result:
    """Send a template; return its hash, and note its id. Raises VastError."""
    call.proof, call.secrets = "template", frozenset(["docker_login_pass"])
    look = f"run `{PROGRAM} search templates private=true` before retrying"
    call.doubt = f"the template may or may not have been {done}; {look}"
    reply = client.send(call)
    row = reply.get("template")
    if not isinstance(row, dict) or not isinstance(row.get("hash_id"), str):
        raise OutcomeUnknown(f"the response names no template{call.in_doubt()}")
    existing = "existing" in str(reply.get("msg")).lower()
    client.env.note(f"template {row.get('id')}: {'unchanged' if existing else done}")
    return Result(reply, row["hash_id"])


def create_template(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """Create a template; the service reuses an equal one."""
    changes = {**template_changes(client, args), **login_mode(args, {})}
    if not changes.get("name") or not changes.get("image"):
        raise UsageError("a template needs a name and an image; give --name, --image")
    call = Call("POST", "/api/v0/template/", {"private": True, **changes})
    yield send_template(client, call, "created")


# What a template consists of: the service forgets what an update does not send.
TEMPLATE_KEYS = """id hash_id name image tag href repo env onstart runtype jupyter_dir
    args_str docker_login_repo docker_login_user docker_login_pass desc readme private
    readme_visible ssh_direct jup_direct use_ssh use_jupyter_lab extra_filters
    recommended_disk_space volume_info""".split()


def update_template(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """Change what options name of a template, and send the rest as it was."""
    changes = template_changes(client, args)
    if not changes and not login_mode(args, {}):
        raise no_change()
    row = the_template(client, args)
    now = {key: row[key] for key in TEMPLATE_KEYS if row.get(key) is not None}
    body = {**now, **changes, **login_mode(args, row)}
    if "docker_login_user" in body and "docker_login_pass" not in body:
        client.env.note("the registry password can't be read; give --login again")
    yield send_template(client, Call("PUT", "/api/v1/template/", body), "updated")


TEMPLATE = Arg("id", "its hash or its id")
TEMPLATE_NAME = Arg("--name", "its name")
TEMPLATE_ARGS = (
    Arg("--image", "the image to run"),
    Arg("--image_tag", "tag of the image", wire="tag"),
    Arg("--href", "address of the image's page"),
    Arg("--repo", "the image's repository, such as library/ubuntu"),
    Arg("--onstart-cmd", "commands to run at every start", wire="onstart"),
    Arg("--args_str", "arguments of the image's command, as one text"),
    Arg("--disk_space --disk", "GB of disk", number("disk size", "GB", above=0),
        wire="recommended_disk_space"),
    Arg("--desc", "description, in one line"),
    Arg("--readme", "description, in Markdown"),
    Arg("--jupyter-dir", "the folder that Jupyter opens"),
    Arg("--jupyter-lab", "start JupyterLab", bool, wire="use_jupyter_lab"),
)  # fmt: skip
TEMPLATE_OPTIONS = (
    *TEMPLATE_ARGS,
    *(arg for arg in RENTAL_ARGS if arg.dest in ("ssh", "direct", "jupyter", "env")),
    Arg("--login", "registry login: '-u USER HOST', password in DOCKER_LOGIN_PASS"),
    Arg("--search_params", "a query that offers have to match"),
    Arg("-n --no-default", "that query without the default filters", bool),
    Arg("--hide-readme", "do not show the description", bool),
    Arg("--public", "let everybody find and use it", bool),
)

TEMPLATE_COMMANDS = (
    Command("search templates", "find templates, yours and public ones",
        Listing("", TEMPLATE_COLUMNS, fetch=find_templates, key="hash_id"),
        Arg("query*", "words of name or image, then comparisons"),
        example="search templates pytorch 'recommended=true count_created>100'",
        notes=lambda: field_list(TEMPLATE_FIELDS)),
    Command("create template", "save a template for instances; print its hash",
        create_template, Arg("name?", "its name"),
        Arg("--name", "same as an option", stands_for="name"), *TEMPLATE_OPTIONS,
        example="create template --name train --image pytorch/pytorch --ssh --direct"),
    Command("update template", "change a template of yours; print its new hash",
        update_template, TEMPLATE, TEMPLATE_NAME, *TEMPLATE_OPTIONS,
        example="update template 5915f1dc1ce881defb572015eb9d8178 --disk_space 40"),
    Command("delete template", "delete a template of yours",
        Request("DELETE /api/v0/template/", "template {id}: deleted",
            body={"template_id": "{id}"}, look="search templates id={id}",
            prepare=the_template,
            ask=lambda client, args: f"delete template {args.id} ({args.title})?"),
        TEMPLATE,
        Arg("--template-id --hash-id", "same as an option", stands_for="id"),
        example="delete template 330005"),
    Command("search benchmarks", "see how fast machines ran a template",
        Listing("GET /api/v0/benchmarks", BENCHMARK_COLUMNS, "benchmarks|", pages=200,
            where=matching_rows),
        example="search benchmarks 'gpu_name=RTX_4090 value>100'"),
)  # fmt: skip


# --- storage --------------------------------------------------------------------------

VOLUME_FIELDS = [field for field in FIELDS if field.name in """cpu_arch cuda_vers
    datacenter disk_bw disk_space driver_version duration external geolocation gpu_arch
    has_avx host_id id inet_down inet_up machine_id pci_gen pcie_bw reliability
    storage_cost static_ip total_flops ubuntu_version verified""".split()]  # fmt: skip
VOLUME_ORDER = "score cpu_ghz disk_name storage_total_cost start_date end_date".split()
VOLUME_FILTERS: dict[str, dict[str, Any]] = {
    "verified": {"eq": True}, "external": {"eq": False}, "disk_space": {"gte": 1},
}  # fmt: skip
VOLUME_OFFER_COLUMNS = (
    Column("ID", "id", "d", "id, for create volume", essential=True),
    Column("Disk", "disk_space", ".0f", "space for rent, GB", essential=True),
    Column("$/GB/mo", "storage_cost", ".4f", "price of a GB a month", essential=True),
    Column("Disk_MB/s", "disk_bw", ".0f", "disk bandwidth, MB/s"),
    Column("Disk_Name", "disk_name", "", "model of the disk"),
    *pick_columns("CUDA,cpu_ghz,NV_Driver,Net_up,Net_down,R,Max_Days,mach_id,status,"
                  "host_id,country", OFFER_COLUMNS, ()),
)  # fmt: skip
VOLUME_COLUMNS = (
    Column("ID", "id", "d", "id of the volume", essential=True),
    Column("Name", "label", "", "your name for it", essential=True),
    Column("Disk", "disk_space", ".0f", "size, GB", essential=True),
    Column("Status", "status", "", "available: ready for use", essential=True),
    Column("$/hr", "storage_total_cost", ".5f", "price", essential=True),
    Column("Age_h", age, ".1f", "hours since it was created", 1 / 3600),
    *pick_columns("Disk_Name,NV_Driver,Net_up,Net_down,R,mach_id,host_id,country",
                  (*OFFER_COLUMNS, *VOLUME_OFFER_COLUMNS), ()),
    Column("Instances", "instances", "", "the instances that use it", essential=True),
)  # fmt: skip
BACKUP_COLUMNS = (
    Column("ID", "id", "d", "id of the backup", essential=True),
    Column("Instance", "contract_id", "d", "id of the instance", essential=True),
    Column("Type", "type", "", "kind of backup"),
    Column("Machine", "machine_id", "d", "id of the machine"),
    Column("Status", "status", "", "pending, success or error", essential=True),
    Column("Created", at("created_at"), "", "when it was made"),
    Column("Info", "info", "", "what the service says about it"),
)
BACKUP_FILE_COLUMNS = (
    Column("MB", "size", ".1f", "size, MB", 1e-6, essential=True),
    Column("Name", "name", "", "path in the backup", essential=True),
    Column("URL", "url", "", "where it is; a token is needed to fetch it"),
)
JOB_COLUMNS = (
    Column("ID", "id", "d", "id of the job", essential=True),
    Column("Instance", "instance_id", "d", "id of the instance", essential=True),
    Column("When", lambda row, now: describe_schedule(row), "", "when it is sent",
           essential=True),
    Column("Start_UTC", at("start_time", utc=True), "", "not before"),
    Column("End_UTC", at("end_time", utc=True), "", "not after"),
    Column("Method", "request_method", "", "DELETE destroys", essential=True),
    Column("Endpoint", "api_endpoint", "", "what is sent", essential=True),
)  # fmt: skip


def find_volume_offers(client: Client, args: argparse.Namespace) -> list[Row]:
    """Return the offers of space for volumes that a query finds."""
    fields = named_fields(VOLUME_FIELDS, VOLUME_OFFER_COLUMNS)
    path = "/api/v0/volumes/search/"
    return search_market(client, args, path, {}, VOLUME_FILTERS, fields, VOLUME_ORDER)


def describe_volumes(client: Client, numbers: Iterable[int]) -> str:
    """Return volumes with name, size and price, as far as these can be read."""
    try:
        call = Call("GET", "/api/v0/volumes?owner=me&type=all_volume")
        rows = rows_of(client.send(call), "volumes")
    except VastError:
        rows = []
    texts = []
    for number in numbers:
        row: Row = next((row for row in rows if row.get("id") == number), {})
        size = format_number(row.get("disk_space"), "%.0f GB")
        price = format_number(row.get("storage_total_cost"), "$%.4g/h")
        texts.append(known_as(f"volume {number}", row.get("label"), size, price))
    return ", ".join(texts)


def tell_volume(client: Client, args: argparse.Namespace, reply: Row) -> None:
    """Note what a new volume costs."""
    client.paid = f"volume {args.new}: rented, and costs money"
    client.env.note(f"rented {describe_volumes(client, [args.new])}")


VolumeRental = partial(Request, done="volume {new}: created", once=True,
    doubt="a volume may or may not have been created", look="show volumes",
    proof="volume_name", after=tell_volume,
    made=lambda reply: as_int(str(reply["volume_name"]).removeprefix("V.")),
)  # fmt: skip


def volume_name(text: str) -> str:
    """Parse the name of a volume."""
    if not re.fullmatch("[A-Za-z0-9_]{1,64}", text):
        raise invalid("name", text, "must be up to 64 letters, digits and _")
    return text


def change(name: str, format: str = "%.4f", scale: float = 1) -> Callable[..., object]:
    """Return the source of a column that shows an old and a new price."""

    def show(row: Row, now: float) -> object:
        prices = [row.get(f"old_{name}"), row.get(f"new_{name}")]
        texts = [format_number(price, format, scale) for price in prices]
        return "->".join(text for text in texts if text) or None

    return show


GPU_PRICE = change("gpu_costpersec", scale=3600)
DISK_PRICE = change("disk_ram_costpersec", scale=30 * DAY)
INCREASE_COLUMNS = (
    Column("ID", "pending_price_increase_id", "d", "id of the price increase"),
    Column("Instance", "contract_id", "d", "id of the instance", essential=True),
    Column("$/GPU/hr", GPU_PRICE, "", "price of a GPU", essential=True),
    Column("$/GB/mo", DISK_PRICE, "", "price of a GB of disk", essential=True),
    Column("Up_$/GB", change("bwu_cost"), "", "price of uploads"),
    Column("Down_$/GB", change("bwd_cost"), "", "price of downloads"),
    Column("Fee%", change("platform_fee", "%.2f", 100), "", "the platform's share"),
    Column("End_UTC", at("contract_end_date", utc=True), "", "end at the old price"),
    Column("New_End_UTC", at("ask_end_date", utc=True), "", "end at the new price"),
    Column("Host", "host_id", "d", "id of the host"),
)
INCREASES = "/api/v0/instances/pending-price-increases/"


class PriceAnswer(Request):
    """A kind of command: accepts or rejects the price increases of instances."""

    def __init__(self, verb: str) -> None:
        path = f"/api/v0/instances/{verb}-price-increase/"
        done = f"instance {{id}}: price increase {verb}ed"
        super().__init__(
            f"PUT {path}", done, look="show pending-price-increases",
            prepare=self.read, ask=lambda client, args: f"{verb} {args.prices}?",
        )  # fmt: skip

    def read(self, client: Client, args: argparse.Namespace) -> None:
        """Find what is pending, by instance, and put it into words."""
        rows = rows_of(client.send(Call("GET", INCREASES)), "pending_price_increases")
        args.pending = {row["contract_id"]: row for row in rows
                        if isinstance(row.get("contract_id"), int)}  # fmt: skip
        args.prices = ", ".join(
            f"{GPU_PRICE(row, 0)} $/h per GPU and {DISK_PRICE(row, 0)} $/GB/month of"
            f" disk for instance {number}"
            for number, row in args.pending.items() if number in args.id
        )  # fmt: skip
        args.yes = args.yes or not args.prices  # there is nothing to ask about

    def call(self, args: argparse.Namespace) -> Call:
        call, key = super().call(args), "pending_price_increase_id"
        if args.id not in args.pending:
            msg = f"instance {args.id} has no pending price increase"
            raise VastError(msg, "no_pending_price_increase")
        call.body = {key: args.pending[args.id].get(key)}
        return call


VOLUME_SIZE = number("size", "GB", 1, whole=True)
STORAGE_COMMANDS = (
    Command("search volumes", "find space for volumes to rent",
        Listing("", VOLUME_OFFER_COLUMNS, fetch=find_volume_offers, after=count_offers),
        *SEARCH_ARGS,
        Arg("--storage", "GB that the price is for (1)", number("size", "GB", 0),
            default=1.0),
        example="search volumes 'disk_space>200 geolocation=US' -o storage_cost",
        notes=lambda: field_list(VOLUME_FIELDS)),
    Command("show volumes", "list your volumes",
        Listing("GET /api/v0/volumes?owner=me&type={type}", VOLUME_COLUMNS, "volumes",
            where=matching_rows),
        Arg("-t --type", "all (the default), local or network",
            Choice("type", "all=all_volume", "local=local_volume",
                "network=network_volume"), default="all")),
    Command("create volume", "rent space for a volume; it costs money",
        VolumeRental("PUT /api/v0/volumes/"),
        Arg("offer", "id of an offer from search volumes", identifier, wire="id"),
        Arg("-s --size", "GB (15)", VOLUME_SIZE, default=15),
        Arg("-n --name --label", "a name for it", volume_name),
        example="create volume 1234 --size 100 --name models"),
    Command("clone volume", "copy a volume to space that this rents",
        VolumeRental("POST /api/v0/volumes/copy/"),
        Arg("volume", "id of the volume", volume_id, wire="src_id"),
        Arg("offer", "id of an offer from search volumes", identifier, wire="dst_id"),
        Arg("-s --size", "GB (that of the volume)", VOLUME_SIZE),
        Arg("-d --disable-compression", "copy without compression", bool),
        example="clone volume 70001 1234"),
    Command("delete volume", "delete a volume and all its data",
        Request("DELETE /api/v0/volumes/?id={id}", "volume {id}: deleted",
            ask=lambda client, args: "delete"
            f" {describe_volumes(client, dict.fromkeys(args.id))} with all data?"),
        Arg("id+", "one or more volume ids", volume_id), example="delete volume 70001"),
    Command("show instance-backups", "list the backups of your instances",
        Listing("GET /api/v0/instance_backups/", BACKUP_COLUMNS, "backups"),
        Arg("--contract-id", "only those of this instance", identifier)),
    Command("show instance-backup-files", "list the files of a backup",
        Listing("GET /api/v0/instance_backups/{id}/download/", BACKUP_FILE_COLUMNS,
            "files", key="name"),
        Arg("id", "id of the backup", identifier),
        example="show instance-backup-files 301"),
    Command("show scheduled-jobs", "list the jobs that --schedule has made",
        Listing("GET /api/v0/commands/schedule_job/", JOB_COLUMNS, "results|")),
    Command("delete scheduled-job", "delete scheduled jobs",
        Request("DELETE /api/v0/commands/schedule_job/{id}/",
            "scheduled job {id}: deleted"),
        ids("one or more job ids"), example="delete scheduled-job 8101"),
    Command("show pending-price-increases", "list price increases that hosts ask for",
        Listing(f"GET {INCREASES}", INCREASE_COLUMNS, "pending_price_increases",
            key="contract_id")),
    Command("accept price-increase", "keep instances at a higher price",
        PriceAnswer("accept"), INSTANCE_IDS, example="accept price-increase 5001"),
    Command("reject price-increase", "let instances end with their contract",
        PriceAnswer("reject"), INSTANCE_IDS, example="reject price-increase 5001"),
)  # fmt: skip


# --- hosting --------------------------------------------------------------------------

MACHINE_COLUMNS = (
    Column("ID", "id", "d", "id of the machine", essential=True),
    Column("N", "num_gpus", "dx", "number of GPUs", essential=True),
    Column("Model", "gpu_name", "", "GPU model", essential=True),
    Column("Disk", "disk_space", ".0f", "disk space, GB"),
    Column("hostname", "hostname", "", "its own name"),
    Column("driver", "driver_version", "", "NVIDIA driver version"),
    RELIABILITY,
    Column("status", "verification", "", "checked by Vast.ai or not"),
    Column("IP", "public_ipaddr", "", "public IP address"),
    Column("listed", "listed", "", "offered for rent", essential=True),
    Column("gpu_$/h", "listed_gpu_cost", ".4f", "price per GPU", essential=True),
    Column("bid_$/h", "min_bid_price", ".4f", "lowest bid per GPU"),
    Column("up_$/GB", "listed_inet_up_cost", ".4f", "price of uploads"),
    Column("down_$/GB", "listed_inet_down_cost", ".4f", "price of downloads"),
    Column("occup", "gpu_occupancy", "", "GPUs: D on demand, x free", essential=True),
    Column("reports", "num_reports", "d", "problems that renters reported"),
    Column("country", "geolocation", "", "location"),
)
MACHINES = Listing(
    "GET /api/v0/machines?owner=me", MACHINE_COLUMNS, "machines", where=matching_rows
)
REPORT_COLUMNS = (
    Column("Created", "created_at", "", "when it was reported", essential=True),
    Column("Problem", "problem", "", "kind of problem", essential=True),
    Column("Message", "message", "", "what the renter wrote", essential=True),
)
WITH_OFFSET = "%Y-%m-%d_%H:%M%z"
MAINT_COLUMNS = (
    Column("Machine", "machine_id", "d", "id of the machine", essential=True),
    Column("Start", at("start_time", WITH_OFFSET), "", "local time", essential=True),
    Column("End", at("end_time", WITH_OFFSET), "", "local time", essential=True),
    Column("Hours", "duration_hours", "g", "how long it takes"),
    Column("Category", "maintenance_category", "", "what is worked on"),
)
PRICE = number("price", "$", least=0)


def price(names: str, unit: str, required: bool = False) -> Arg:
    """Return the argument for a price in dollars per `unit`."""
    say = "${:.10g}/" + unit.replace("hour", "h")
    return Arg(names, f"$/{unit}", PRICE, say=say, required=required)


def singular(text: str) -> str:
    """Return text with "1 GPU" for "1 GPUs"."""
    return re.sub(r"(?<![\d.])1 (\w+)s\b", r"1 \1", text)


MACHINE_IDS = ids("one or more machine ids")
MACHINE_ID = Arg("id", "id of the machine", identifier)
LISTING_PRICES = (
    price("-g --price_gpu", "hour per GPU"),
    price("-s --price_disk", "GB/month of disk"),
    price("-u --price_inetu", "GB uploaded"),
    price("-d --price_inetd", "GB downloaded"),
    price("-z --vol_price", "GB/month of volume"),
)
END_DATE = Arg("-e --end_date", "until this date, its last second included", end_date,
    say=lambda seconds: f"until {format_time(seconds)}")  # fmt: skip
LISTING_TERMS = (
    Arg("-b --price_min_bid", "$/hour per GPU, the lowest bid", PRICE,
        say="with bids from ${:.10g}/h per GPU"),
    Arg("-r --discount_rate", "maximum discount, 0 to 1", wire="credit_discount_max",
        type=number("discount", "0..1", 0, 1), say="with a discount of up to {}"),
    Arg("-m --min_chunk", "minimum number of GPUs to rent", GPUS,
        say="with at least {} GPUs per rental"),
    Arg("-v --vol_size", "GB to rent out as volumes, or 0",
        number("size", "GB", 0, whole=True), say="with {} GB for volumes"),
    END_DATE,
    Arg("-l --duration", "30 days, 2 weeks, or seconds", duration,
        say=lambda text: f"for {text} seconds" if text.isdecimal() else f"for {text}"),
)  # fmt: skip


def check_listing(client: Client, args: argparse.Namespace) -> None:
    """Check a listing and put its terms into words. Raises UsageError."""
    if args.end_date is not None:
        if getattr(args, "duration", None):
            raise UsageError("--end_date excludes --duration")
        if args.end_date <= client.env.now():
            until = format_time(args.end_date)
            raise UsageError(f"the end date, {until}, is in the past")
    prices = spoken(LISTING_PRICES, args)
    words = [f"at {prices}" if prices else "", singular(spoken(LISTING_TERMS, args))]
    args.terms = ", ".join(filter(None, words)) or "at the prices it had"


def the_machine(client: Client, number: int) -> Row:
    """Return the row of one of your machines. Raises VastError."""
    call = Call("GET", f"/api/v0/machines/{number}", params={"owner": "me"})
    rows = rows_of(client.send(call), "|machines")
    if not rows:
        raise VastError(f"there is no machine {number}", "not_found")
    return rows[0]


def ask_to_delete(client: Client, args: argparse.Namespace) -> str:
    """Return the question before a machine is deleted."""
    machine = "machine {id} ({hostname}, {num_gpus}x {gpu_name})"
    machine = machine.format_map(Values(the_machine(client, args.id)))
    return f"delete {machine}, its offers and your jobs on it, for good?"


def find_maints(client: Client, args: argparse.Namespace) -> list[Row]:
    """Return the maintenance windows of some machines, or of all that you have."""
    numbers = args.ids
    if numbers is None:
        numbers = [row["id"] for row in MACHINES.fetched(client, args) if row.get("id")]
    if not numbers:
        return []
    params = {"owner": "me", "machine_ids": json.dumps(numbers)}
    call = Call("GET", "/api/v0/machines/maintenances", params=params)
    return rows_of(client.send(call), "")


def check_window(client: Client, args: argparse.Namespace) -> None:
    """Check when maintenance starts. Raises UsageError."""
    if not 0 < args.sdate - client.env.now() < 365 * DAY:
        rule = "must be in the future, within a year"
        raise UsageError(f"the start, {format_time(args.sdate)}, {rule}")


def utc_day(row: Row, now: float) -> object:
    """Return the day of a row of earnings, which are counted from 1970 on."""
    day = row.get("day", "all")
    if isinstance(day, int):
        return format_time(day * DAY, "%Y-%m-%d", utc=True) or day
    return day


EARNED = {"gpu_earn": "total_gpu", "sto_earn": "total_stor",
          "bwu_earn": "total_bwu", "bwd_earn": "total_bwd"}  # fmt: skip
EARNINGS = ("summary", "current", "per_day", "per_machine")  # the rest names people
EARNING_COLUMNS = (
    Column("Day", utc_day, "", "UTC day, or all", essential=True),
    Column("Machine", lambda row, now: row.get("machine_id", "all"), "",
           "id of the machine, or all", essential=True),
    Column("GPU_$", "gpu_earn", ".4f", "earned with GPUs"),
    Column("disk_$", "sto_earn", ".4f", "earned with storage"),
    Column("up_$", "bwu_earn", ".4f", "earned with uploads"),
    Column("down_$", "bwd_earn", ".4f", "earned with downloads"),
    Column("total_$", lambda row, now: sum(as_price(row.get(x)) or 0 for x in EARNED),
           ".4f", "earned in all", essential=True),
)  # fmt: skip


class Earnings(Listing):
    """A kind of command: shows what machines earned in whole UTC days, by default the
    last 30; `--raw` is the response without names and addresses."""

    def __call__(self, client: Client, args: argparse.Namespace) -> Iterator[Shown]:
        today = int(client.env.now()) // DAY
        if args.end_date is None:
            args.end_date = today
        if args.start_date is None:
            args.start_date = args.end_date - 29
        if args.start_date > min(today, args.end_date):
            raise UsageError("the start date is after the end date or in the future")
        reply = client.send(self.call(args))
        rows = [*rows_of(reply, "per_day"), *rows_of(reply, "per_machine")]
        kept = {name: reply.get(name) for name in EARNINGS}
        sums = kept["summary"] if isinstance(kept["summary"], dict) else {}
        rows.append({own: sums.get(name) for own, name in EARNED.items()})
        yield Table(rows, self.columns, kept, "machine_id")
        current = kept["current"] if isinstance(kept["current"], dict) else {}
        fee = format_number(current.get("service_fee"), "$%.2f")
        if fee and not args.quiet:
            client.env.note(f"service fee: {fee}")


METRIC_COLUMNS = (
    Column("Model", "gpu_name", "", "GPU model", essential=True),
    Column("Total", "total", "d", "how many there are", essential=True),
    Column("Free", "available", "d", "how many are free", essential=True),
    Column("Used%", "usage", ".1f", "rented, %", essential=True),
    Column("p10_$/h", "price_p10", ".4f", "price per GPU that a tenth is below"),
    Column("median_$/h", "price_median", ".4f", "median price per GPU", essential=True),
    Column("p90_$/h", "price_p90", ".4f", "price per GPU that a tenth is above"),
    Column("DLP", "dlperf", ".1f", "deep learning performance score"),
    Column("DLP/$", "dlperf_per_dollar", ".1f", "that score by $/h"),
    Column("TFLOPS", "tflops", ".1f", "computing power"),
    Column("TFLOPS/$", "tflops_per_dollar", ".1f", "computing power by $/h"),
)
LOCATION_COLUMNS = (
    Column("Model", "gpu_name", "", "GPU model", essential=True),
    Column("N", "num_gpus", "dx", "number of GPUs", essential=True),
    Column("rented", "rented", "", "rented or not", essential=True),
    Column("verified", "verified", "", "checked by Vast.ai or not"),
    Column("datacenter", "datacenter", "", "in a data center or not"),
    Column("country", "country_code", "", "two letters", essential=True),
    Column("city", "city", "", "city", essential=True),
)
TREND_COLUMNS = (
    Column("Model", "gpu_name", "", "GPU model", essential=True),
    Column("of", "of", "", "median price of the free or of the rented ones"),
    Column("first_$/h", "first", ".4f", "price at the start", essential=True),
    Column("last_$/h", "last", ".4f", "price at the end", essential=True),
    Column("low_$/h", "low", ".4f", "lowest price", essential=True),
    Column("high_$/h", "high", ".4f", "highest price", essential=True),
    Column("trend", "trend", "", "prices from start to end", essential=True),
)
HOSTS_ONLY = "market metrics are for hosts: use the key of an account with a machine"
BLOCKS = "▁▂▃▄▅▆▇█"
POINTS = 16  # of a trend: it fits 80 columns


class Market(Listing):
    """A kind of command: lists figures of the market, which only hosts may see."""

    def fetched(self, client: Client, args: argparse.Namespace) -> list[Row]:
        try:
            reply = client.send(self.call(args))
        except NoKey as error:
            if error.http == 401:
                reason = str(error).partition(";")[0]
                error.args = (f"{reason}; {HOSTS_ONLY}",)
            raise
        if isinstance(reply, dict) and reply.get("needs_machine"):
            raise VastError(HOSTS_ONLY, "needs_machine")
        return rows_of(reply, self.rows)


def trend(prices: list[float], blocks: bool) -> str:
    """Return prices as a chart of block characters, or as numbers with commas."""
    step = (len(prices) - 1) / (POINTS - 1)
    if step > 1:
        prices = [prices[round(point * step)] for point in range(POINTS)]
    if not blocks:
        return ",".join(f"{price:.4g}" for price in prices)
    low, spread = min(prices), max(prices) - min(prices) or 1
    return "".join(BLOCKS[round((price - low) / spread * 7)] for price in prices)


def price_summary(pricing: object, blocks: bool) -> Row:
    """Return how the median prices went: of free GPUs, otherwise of rented ones. Each
    of the arrays may be missing, and each of their numbers."""
    for what, name in (("free", "avail_median"), ("rented", "rented_median")):
        values = pricing.get(name) if isinstance(pricing, dict) else None
        found = map(as_price, values if isinstance(values, list) else [])
        prices = [price for price in found if price is not None]
        if prices:
            ends = {"first": prices[0], "last": prices[-1]}
            ends |= {"low": min(prices), "high": max(prices)}
            return {"of": what, **ends, "trend": trend(prices, blocks)}
    return {}


class Trends(Market):
    """A kind of command: lists the figures of each GPU model over time; for the table,
    with a summary."""

    def fetched(self, client: Client, args: argparse.Namespace) -> list[Row]:
        rows = []
        for models in super().fetched(client, args):
            for name, series in models.items():
                row = {"gpu_name": name, **(series if isinstance(series, dict) else {})}
                if not args.raw:
                    row |= price_summary(row.get("pricing"), client.env.on_terminal())
                rows.append(row)
        return rows


REQUIREMENT_COLUMNS = (
    Column("Requirement", "requirement", "", "what is required", essential=True),
    Column("Value", "value", ".10g", "what the machine has", essential=True),
    Column("Limit", "limit", "", "what it must have", essential=True),
    Column("Result", "result", "", "pass or fail", essential=True),
)


def check_requirements(client: Client, args: argparse.Namespace) -> list[Row]:
    """Return what the service's self-test requires, and whether the machine has it."""
    machine = the_machine(client, args.id)
    # The service's own test would rent the largest offer.
    body: Row = {"machine_id": {"eq": args.id}, "order": [["dlperf", "desc"]]}
    call = Call("POST", "/api/v0/bundles/", {**body, "type": "on-demand"}, read=True)
    for offer in rows_of(client.send(call), "offers")[:1]:
        machine |= {name: value for name, value in offer.items() if value is not None}
    gpus = as_price(machine.get("num_gpus")) or 1
    memory = as_price(video_memory(machine, 0)) or 0
    speed = min(max(500 * memory / 1024 / 192, 100), 500)
    limits = (
        ("CUDA", "cuda_max_good", ">=", 11.8),
        ("reliability", "reliability2|reliability", ">", 0.9),
        ("direct_ports", "direct_port_count", ">=", 3 * gpus),
        ("PCIe_GB/s", "pcie_bw", ">", 2.85),
        ("upload_Mbit/s", "inet_up", ">=", speed),
        ("download_Mbit/s", "inet_down", ">=", speed),
        ("VRAM_MiB_per_GPU", "gpu_ram", ">", 7 * 1024),
        ("RAM_MiB", "cpu_ram", ">=", min(0.95 * memory, 2_000_000)),
        ("CPU_cores", "cpu_cores", ">=", 2 * gpus),
    )
    rows = []
    for name, field, operator, limit in limits:
        value = as_price(Column("", field).values([machine], 0)[0])
        result = "pass" if matches(value, {OPERATORS[operator]: limit}) else "fail"
        needed = f"{operator}{round(limit, 2):.10g}"
        row = {"requirement": name, "value": value, "limit": needed, "result": result}
        rows.append(row)
    return rows


def judge(client: Client, args: argparse.Namespace, rows: list[Row]) -> None:
    """Say what the results mean. Raises VastError when a requirement is not met."""
    client.env.note("these are the free checks; nothing was rented")
    missed = [row["requirement"] for row in rows if row["result"] == "fail"]
    if missed and not args.ignore_requirements:
        msg = f"machine {args.id} does not meet: {', '.join(missed)}"
        raise VastError(msg, "requirements")


METRIC_ARGS = (
    Arg("--verified", "true, false or all (all)",
        Choice("value", "true=yes", "false=no", "all"), default="all"),
    Arg("--datacenter", "true, false or all (all)",
        Choice("value", "true=secure_cloud", "false=community", "all"), default="all",
        wire="hosting_type"),
    Arg("--num_gpus", "GPUs of the machine: 1, 2, 4, 8, other or all (all)",
        Choice("number of GPUs", "1", "2", "4", "8", "other", "all"), default="all"),
)  # fmt: skip
HOSTING_COMMANDS = (
    Command("show machines", "list the machines that you rent out", MACHINES),
    Command("show machine", "show machines by id",
        Listing("GET /api/v0/machines/{id}?owner=me", MACHINE_COLUMNS, "|machines",
            empty_on=(404,)),
        MACHINE_IDS, example="show machine 12345"),
    Command("list machine", "offer a machine for rent, or change its prices",
        Request("PUT /api/v0/machines/create_asks/", "machine {id}: listed {terms}",
            body={"machine": "{id}"}, prepare=check_listing),
        MACHINE_IDS, *LISTING_PRICES, *LISTING_TERMS,
        example="list machine 12345 --price_gpu 0.5 --end_date 2030-12-31",
        aliases=["list machines"]),
    Command("unlist machine", "take a machine off the market",
        Request("DELETE /api/v0/machines/{id}/asks/", "machine {id}: unlisted"),
        MACHINE_IDS, example="unlist machine 12345"),
    Command("set min-bid", "set the lowest bid for a machine",
        Request("PUT /api/v0/machines/{id}/minbid/", "machine {id}: bids from {said}",
            body={"client_id": "me"}, look="show machines"),
        MACHINE_ID, price("--price", "hour per GPU", required=True),
        example="set min-bid 12345 --price 0.25"),
    Command("set defjob", "give a machine a job for idle times",
        Request("PUT /api/v0/machines/create_bids/",
            "machine {id}: default job at {said}",
            body={"machine": "{id}"}, look="show machines"),
        MACHINE_ID,
        price("--price_gpu", "hour per GPU"), price("--price_inetu", "GB uploaded"),
        price("--price_inetd", "GB downloaded"),
        Arg("--image", "the image to run", say="image {}"),
        Arg("--args...", "all that follows is passed to the image's command",
            say=lambda words: f"arguments {' '.join(words) or 'none'}"),
        example="set defjob 12345 --price_gpu 0.1 --price_inetu 0.01 \\\n"
        "    --price_inetd 0.01 --image ubuntu --args sleep 1d"),
    Command("remove defjob", "remove a machine's default job",
        Request("DELETE /api/v0/machines/{id}/defjob/",
            "machine {id}: default job removed", look="show machines"),
        MACHINE_ID, example="remove defjob 12345"),
    Command("list volume", "offer space on a machine for volumes",
        Request("POST /api/v0/volumes/", "machine {id}: listed {size:.10g} GB {said}",
            body={"machine": "{id}"}, once=True, proof="", prepare=check_listing,
            look="search volumes machine_id={id}"),
        MACHINE_IDS,
        Arg("-s --size", "GB of space (15)", number("size", "GB", 1), default=15),
        Arg("-p --price_disk", "$/GB/month (0.1)", PRICE, default=0.1,
            say="for volumes at ${:.10g}/GB/month"),
        END_DATE, example="list volume 12345 --size 100", aliases=["list volumes"]),
    Command("unlist volume", "take space for volumes off the market",
        Request("POST /api/v0/volumes/unlist", "volume offer {id}: unlisted",
            body={"id": "{id}"}, look="search volumes"),
        ids("one or more ids of volume offers"), example="unlist volume 30012345"),
    Command("show maints", "list the announced maintenance of your machines",
        Listing("", MAINT_COLUMNS, fetch=find_maints, key="machine_id"),
        Arg("-i --ids", "only of these machines: 12345,12346",
            lambda text: [identifier(part.strip()) for part in text.split(",")]),
        example="show maints --ids 12345,12346"),
    Command("schedule maint", "announce maintenance to a machine's renters",
        Request("PUT /api/v0/machines/{id}/dnotify/",
            "machine {id}: maintenance {said}",
            body={"client_id": "me"}, once=True, prepare=check_window,
            ask="notify the renters of machine {id} of maintenance {said}?"),
        MACHINE_ID,
        Arg("--sdate", "start, local time: '2030-06-15 14:00', or unix seconds",
            start_date, required=True,
            say=lambda date: f"from {format_time(date, '%Y-%m-%d %H:%M %z')}"),
        Arg("--duration", "hours", number("duration", "hours", 1, whole=True),
            required=True, say=lambda hours: singular(f"for {hours} hours")),
        Arg("--maintenance_category", "power, internet, disk, gpu, software or other",
            Choice("category", "power", "internet", "disk", "gpu", "software", "other",
                "not provided"), default="not provided"),
        example="schedule maint 12345 --sdate '2030-06-15 14:00' --duration 2"),
    Command("cancel maint", "cancel all maintenance announced for a machine",
        Request("PUT /api/v0/machines/{id}/cancel_maint/",
            "machine {id}: maintenance cancelled",
            body={"client_id": "me", "machine_id": "{id}"},
            ask="cancel all maintenance of machine {id} and notify its renters?",
            note="maintenance that Vast.ai itself announced stays"),
        MACHINE_ID, example="cancel maint 12345"),
    Command("cleanup machine", "delete renters' expired storage from a machine",
        Request("PUT /api/v0/machines/{id}/cleanup/",
            "machine {id}: expired contracts deleted: {reply[num_deleted]}",
            ask="delete renters' expired storage, which still earns, on machine {id}?"),
        MACHINE_ID, example="cleanup machine 12345"),
    Command("defrag machines", "regroup free GPUs into larger offers",
        Request("PUT /api/v0/machines/defrag_offers/", "machines {said}: defragmented",
            doubt="the offers may or may not have been regrouped", proof=""),
        Arg("machine_ids+", "one or more machine ids", identifier,
            say=lambda numbers: " ".join(map(str, numbers))),
        example="defrag machines 12345 12346",
        aliases=["defrag machine", "defragment machine", "defragment machines"]),
    Command("delete machine", "delete a machine, its offers and your jobs on it",
        Request("POST /api/v0/machines/{id}/force_delete/", "machine {id}: deleted",
            once=True, ask=ask_to_delete, typed="{id}", required=True,
            doubt="machine {id} may or may not have been deleted"),
        MACHINE_ID, example="delete machine 12345"),
    Command("reports", "list what renters reported about a machine",
        Listing("GET /api/v0/machines/{id}/reports/", REPORT_COLUMNS),
        MACHINE_ID, example="reports 12345"),
    Command("self-test machine", "check a machine for the self-test; rents nothing",
        Listing("", REQUIREMENT_COLUMNS, fetch=check_requirements, after=judge,
            key="requirement"),
        MACHINE_ID,
        Arg("--ignore-requirements", "exit with 0 even if one is not met", bool),
        example="self-test machine 12345"),
    Command("show earnings", "show what your machines earned by day and machine",
        Earnings("GET /api/v0/users/me/machine-earnings?owner=me", EARNING_COLUMNS),
        Arg("-s --start_date", "first day, UTC: 2026-02-03, 2026-02 (29 days ago)",
            lambda text: utc_start(text) // DAY, wire="sday"),
        Arg("-e --end_date", "last day, UTC (today)",
            lambda text: utc_end(text) // DAY, wire="eday"),
        Arg("-m --machine_id", "only of this machine", identifier, wire="machid"),
        example="show earnings -s 2026-01 -e 2026-03"),
    Command("show gpu-metrics", "show supply, demand and prices of GPU models",
        Market("GET /api/v0/metrics/gpu/current/", METRIC_COLUMNS, "gpus",
            key="gpu_name", where=matching_rows),
        *METRIC_ARGS, aliases=["metrics gpu"]),
    Command("show gpu-trends", "show how the prices of GPU models changed",
        Trends("GET /api/v0/metrics/gpu/history/", TREND_COLUMNS, "gpus",
            key="gpu_name"),
        Arg("-s --start", "from this date on (a day ago)", start_date),
        Arg("-e --end", "up to this date (now)", end_date),
        Arg("--step", "seconds between two points", number("step", "seconds", 60)),
        *METRIC_ARGS,
        Arg("name?", "GPU models such as RTX_4090,RTX_3090, or all",
            lambda names: names.replace("_", " "), wire="gpu_name"),
        example="show gpu-trends RTX_4090", aliases=["metrics gpu-trends"]),
    Command("show gpu-locations", "show where machines are",
        Market("GET /api/v0/metrics/gpu/locations/", LOCATION_COLUMNS, "locations",
            key="gpu_name", where=matching_rows),
        example="show gpu-locations 'gpu_name=RTX_4090 rented=false'",
        aliases=["metrics gpu-locations"]),
)  # fmt: skip


# --- billing --------------------------------------------------------------------------

# A row of any other type is a charge. The number is the sign that such a payment gets,
# whichever it was sent with: money that comes in lowers what is owed. Transfers and
# reservations go both ways, so they keep their own (0).
PAYMENTS = {
    "payment": -1, "credit": -1, "refund": 1, "payout": 1, "transfer": 0, "reserved": 0
}  # fmt: skip
SECTIONS = {"charges": "Charges", "credits": "Payments"}  # as `only` names them
LAST_SECOND = 253370764800  # 9999-01-01, near the end of the calendar
DATE = "%Y-%m-%d"


def one_line(value: object, longest: int = 600) -> str:
    """Return text on one line, control characters as escapes; "" for no text. "…"
    stands for what is longer, which would not fit on a page."""
    text = str(value) if isinstance(value, (str, int, float)) else ""
    if not text.isascii():
        from unicodedata import normalize

        text = normalize("NFC", text)
    text = visible(" ".join(text.split()))
    return text if len(text) <= longest else text[:longest] + "…"


def parse_amount(value: object, fewest: int = 2) -> Decimal | None:
    """Return a number, which may be text, with the decimals that were sent, at least
    `fewest` and at most four; None for anything else, and from 10^12 on."""
    import decimal  # whole: for each row `from decimal` would take five times as long

    try:
        number = decimal.Decimal(str(value))
        if not -(10**12) < number < 10**12:
            return None
    except decimal.InvalidOperation:  # not a number, or NaN
        return None
    decimals = min(max(-int(number.as_tuple().exponent), fewest), 4)
    unit = decimal.Decimal(1).scaleb(-decimals)
    return number.quantize(unit, decimal.ROUND_HALF_UP) + 0  # there is no -0.00


def format_amount(value: Decimal | None, unknown: str = "-") -> str:
    """Return an amount as text such as 1,234.50."""
    return unknown if value is None else f"{value:,f}"


def format_cents(value: Decimal) -> tuple[str, str]:
    """Return a sum in cents as text, and ", rounded" unless that is the exact sum."""
    from decimal import ROUND_HALF_UP, Decimal

    cents = value.quantize(Decimal("0.01"), ROUND_HALF_UP)
    return format_amount(cents + 0), "" if cents == value else ", rounded"


def with_metadata(row: Row) -> Row:
    """Return a row with the fields of its metadata beside its own."""
    more = row.get("metadata")
    return {**more, **row} if isinstance(more, dict) else row


def items_of(row: Row) -> list[Row]:
    """Return the rows that a row of the newer calls is made up of."""
    items = row.get("items")
    return [x for x in items if isinstance(x, dict)] if isinstance(items, list) else []


def row_item(row: Row, is_charge: bool) -> str:
    """Return the description, or what a row without one stands for."""
    text = one_line(row.get("description"))
    if text or is_charge:
        return text or one_line(row.get("source")) or "Charge"
    text = "Add Credit" if row.get("is_credit") is True else "Auto-Billing"
    card = one_line(row.get("last4"))[-4:]
    return f"{text} (card ...{card})" if card else text


def row_detail(row: Row) -> str:
    """Return what a row of the newer charges call is made up of, "" for any other."""
    pairs = [(item.get("type"), item.get("description")) for item in items_of(row)]
    texts = (" ".join(map(one_line, pair)).strip() for pair in pairs)
    return one_line("; ".join(filter(None, texts)))


class Line:
    """A row as it is shown: a charge or a payment, in whichever shape it was sent.

    `since` and `when` are unix seconds, the same unless the row covers a period; `when`
    is None without a date. An `amount` that can't be read is None: it shows as "-" and
    is no part of any sum. `is_zero`: exactly 0 was sent.
    """

    def __init__(self, row: Row) -> None:
        times = [as_number(str(row.get(key))) for key in ("timestamp", "start", "end")]
        known = [int(x) for x in times if x is not None and 0 <= x < LAST_SECOND]
        fields = with_metadata(row)
        amount = parse_amount(row.get("amount"))
        self.row = row
        self.id = fields.get("invoice_id") if row.get("id") is None else row["id"]
        self.kind = one_line(row.get("type")).lower()
        self.section = "credits" if self.kind in PAYMENTS else "charges"
        self.since = min(known, default=0)
        self.when = max(known, default=None)
        self.date = format_time(self.when, DATE) or ""
        self.item = row_item(row, self.section == "charges")
        self.detail = row_detail(row)
        self.quantity = parse_amount(row.get("quantity"), fewest=0)
        self.rate = parse_amount(row.get("rate"))
        sign = PAYMENTS.get(self.kind, 0)
        self.amount = abs(amount) * sign if amount and sign else amount
        self.is_zero = amount == 0 and as_number(str(row.get("amount")).strip()) == 0

    def within(self, start: int, end: int) -> bool:
        """Return whether the row touches a range; one without a date does not."""
        return self.when is not None and self.since <= end and self.when >= start


def in_section(lines: Iterable[Line], section: str) -> list[Line]:
    """Return the lines of a section, "charges" or "credits"."""
    return [line for line in lines if line.section == section]


def total(lines: Iterable[Line]) -> Decimal:
    """Return the exact sum of the amounts, as they are shown."""
    from decimal import Decimal

    return sum((x.amount for x in lines if x.amount is not None), Decimal("0.00"))


def check_range(start: int | None, end: int, now: int) -> None:
    """Raise UsageError if nothing can be in a range of dates."""
    if start is not None and start > now:
        raise UsageError("the start date is in the future")
    if end < (start or 0):
        raise UsageError("the end date is before the start date")


class Statement:
    """The charges and payments of a range of dates: unix seconds, both ends in it.

    `start` or `end` is None where the range is open; `only` is "charges", "credits" or
    "". `lines` are the rows in the range by date, those without a date at the end;
    `shown` is without the amounts of 0. `undated` rows were left out for want of a
    date. `current` is what isn't billed yet, as it was sent. Raises UsageError.
    """

    def __init__(
        self, start: int | None, end: int | None, now: int, only: str = ""
    ) -> None:
        self.has_range = start is not None or end is not None
        self.now, self.start, self.end = now, start or 0, now if end is None else end
        check_range(start, self.end, now)
        first = "the beginning" if start is None else format_time(start)
        self.period = f"{first} to {format_time(self.end)}"
        self.reaches_today = self.end >= now
        self.only, self.sections = only, [only] if only else list(SECTIONS)

    def fill(self, rows: Iterable[Row], current: object = None) -> None:
        """Take in what the service sent."""
        lines = [line for line in map(Line, rows) if line.section in self.sections]
        undated = [line for line in lines if line.when is None]
        dated = [line for line in lines if line.within(self.start, self.end)]
        self.lines = sorted(dated, key=lambda line: line.when or 0)
        self.undated = len(undated) if self.has_range else 0
        if not self.has_range:
            self.lines += undated
        self.shown = [line for line in self.lines if not line.is_zero]
        self.current = current

    def subtotals(self, lines: list[Line]) -> list[str]:
        """Return the sums of lines as text, one for each section."""
        parts = [in_section(lines, section) for section in self.sections]
        return [format_amount(total(part)) for part in parts]

    def not_billed(self) -> Decimal | None:
        """Return the charges not billed yet, sent as an object or a number."""
        current = self.current
        if isinstance(current, dict):
            current = current.get("total", current.get("charges"))
        return parse_amount(current)


def fetch_statement(client: Client, args: argparse.Namespace) -> Statement:
    """Return the charges and payments that the arguments are about."""
    if args.only_charges and args.only_credits:
        raise UsageError("--only_charges excludes --only_credits")
    only = "charges" if args.only_charges else ""
    if args.only_credits:
        only = "credits"
    now = int(client.env.now())
    statement = Statement(args.start_date, args.end_date, now, only)
    if not args.quiet:
        client.env.note(f"from {statement.period}")
    statement.fill(*fetch_rows(client, statement.start, statement.end))
    if statement.undated and not args.quiet:
        rows = "1 row" if statement.undated == 1 else f"{statement.undated} rows"
        client.env.note(f"{rows} without a date left out")
    return statement


def fetch_rows(client: Client, start: int, end: int) -> tuple[list[Row], object]:
    """Return the rows of a range, and the charges not billed yet as they were sent.

    Where the service has retired that call, the rows come from the newer ones.
    """
    params = {"owner": "me", "sdate": f"{start}", "edate": f"{end}"}
    params["inc_charges"] = "true"
    try:
        call = Call("GET", "/api/v0/users/me/invoices", params=params, exact=True)
        reply = client.send(call)
        return rows_of(reply, "invoices"), reply.get("current")
    except VastError as error:
        if not is_gone(error):
            raise
    parts = (newer_rows(client, section, start, end)[0] for section in NEWER_CALLS)
    return [row for part in parts for row in part], None


# The newer calls: path, the fields of dates and of types, and the rows of a page.
NEWER_CALLS = {
    "invoices": ("/api/v1/invoices/", "when", "service", 100),
    "charges": ("/api/v0/charges/", "day", "type", 500),
}


def newer_rows(
    client: Client,
    section: str,
    start: int,
    end: int,
    types: Sequence[str] = (),
    limit: int | None = None,
    **params: str,
) -> tuple[list[Row], Row]:
    """Return the invoices or charges of a range, and the last page of the response."""
    path, dates, kinds, size = NEWER_CALLS[section]
    filters: Row = {dates: {"gte": start, "lte": end}}
    if types:
        filters[kinds] = {"in": types}
    params = {"select_filters": json.dumps(filters), **params}
    call = Call("GET", path, params=params, exact=True)
    return client.pages(call, "results", limit, size)


INVOICE_COLUMNS = (
    Column("ID", "id", "s", "id of the invoice", essential=True),
    Column("Date", "date", "", "day in the local time zone", essential=True),
    Column("Type", "kind", "", "charge, payment, credit, refund, …"),
    Column("Description", "item", "", "what was charged or paid", essential=True),
    Column("Quantity", "quantity", "s", "hours or GB, as described"),
    Column("Rate", "rate", "s", "price of one of them, $"),
    Column("Amount", "amount", "s", "$; payments are below zero", essential=True),
)


def invoice_cells(line: Line) -> Row:
    """Return what a line shows in a table, and the fields of its row."""
    cells: Row = {name: getattr(line, name) for name in ("id", "date", "kind", "item")}
    for name in ("quantity", "rate", "amount"):
        value = getattr(line, name)
        cells[name] = None if value is None else f"{value:f}"
    cells["item"] = line.row.get("description") or line.item  # whole
    return {**line.row, **cells}


def show_invoices(client: Client, args: argparse.Namespace) -> Iterator[Table]:
    """List charges and payments, then their sums on stderr.

    `--raw` shows all rows of the range as they were sent, those of nothing too.
    """
    statement = fetch_statement(client, args)
    rows = [line.row for line in statement.lines]
    value = {"invoices": rows, "current": statement.current}
    lines = statement.lines if args.raw else statement.shown
    yield Table([invoice_cells(line) for line in lines], INVOICE_COLUMNS, value)
    if args.quiet:
        return
    subtotals = statement.subtotals(statement.shown)
    for section, subtotal in zip(statement.sections, subtotals):
        client.env.note(f"{SECTIONS[section].lower()}: {subtotal} USD")
    cents, rounded = format_cents(total(statement.shown))
    client.env.note(f"total: {cents} USD{rounded}")
    if statement.reaches_today:
        not_billed = statement.not_billed()
        amount = "unknown" if not_billed is None else f"{not_billed:,f} USD"
        client.env.note(f"charges not billed yet: {amount}")


def find_user(client: Client) -> Row:
    """Return the account's record, without credentials. Raises VastError."""
    reply = client.send(Call("GET", "/api/v0/users/current/", exact=True))
    if not isinstance(reply, dict) or "id" not in reply:
        raise VastError("the response has no user in it", BAD_REPLY)
    user: Row = without_credentials(reply)
    return user


def utc_range(client: Client, args: argparse.Namespace, days: int) -> tuple[int, int]:
    """Return the first and the last second that are asked for, by default of the last
    `days` days; one date alone will do. Raises UsageError."""
    now = int(client.env.now())
    end = now if args.end_date is None else args.end_date
    start = args.start_date
    if start is None:
        start = (end // DAY - days) * DAY
    check_range(start, end, now)
    if not args.quiet:
        first, last = (format_time(x, "%Y-%m-%d %H:%M", utc=True) for x in (start, end))
        client.env.note(f"from {first} to {last} UTC")
    return start, end


NEWER_COLUMNS = (
    Column("ID", "id|invoice_id", "s", "id of the invoice", essential=True),
    Column("Type", "type", "", "credit, transfer, …; instance, volume, serverless"),
    Column("Start", at("start", DATE, utc=True), "", "UTC", essential=True),
    Column("End", at("end", DATE, utc=True), "", "UTC; of an invoice: paid"),
    Column("$(-_is_paid_in)", "amount", ".3f", "dollars", essential=True),
    Column("Source", "source", "", "contract, or how it was paid", essential=True),
    Column("Endpoint", "endpoint_id", "", "id of the endpoint"),
    Column("Workergroup", "workergroup_id", "", "id of the workergroup"),
    Column("Label", "label", "", "label of the instance"),
    Column("Description", "description", "", "what it is", essential=True),
)
OTHER_COLUMNS = {"invoices": ("Endpoint", "Workergroup", "Label"), "charges": ("ID",)}


def with_items(rows: list[Row], depth: int = 0) -> Iterator[Row]:
    """Yield rows, each with the rows that it is made up of below it, indented."""
    for row in rows:
        text = "· " * depth + str(row.get("description") or "")
        yield {**with_metadata(row), "description": text}
        yield from with_items(items_of(row), depth + 1)


def show_newer_invoices(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """List invoices or charges as the service's newer calls send them."""
    charges = args.charges or args.charge_type
    if charges and (args.invoices or args.invoice_type):
        raise UsageError("choose either invoices (-i, -it) or charges (-c, -ct)")
    start, end = utc_range(client, args, 7)
    params = {"latest_first": json.dumps(args.latest_first)}
    if args.next_token:
        params["after_token"] = args.next_token
    section, types = "invoices", args.invoice_type
    if charges:
        section, types = "charges", args.charge_type
        params["format"] = args.format
    rows, last = newer_rows(client, section, start, end, types, args.limit, **params)
    nested = args.verbose or args.format == "tree"
    shown = with_items(rows) if nested else map(with_metadata, rows)
    value = {**last, "results": rows, "count": len(rows)}
    others = OTHER_COLUMNS[section]
    columns = [each for each in NEWER_COLUMNS if each.heading not in others]
    key = "source" if charges else "id|invoice_id"
    yield Table(list(shown), columns, value, key)
    if last.get("next_token") and not args.quiet:
        client.env.note(f"for more: --next-token {last['next_token']}")


# Which field charges are summed up by; over days they are spread.
GROUPINGS = {
    "instance": "source", "label": "label", "day": "day", "template": "template_id"
}  # fmt: skip
SUM_COLUMNS = (
    Column("By", "by", "", "instance, label, day or template", essential=True),
    Column("$", "amount", ".2f", "dollars charged", essential=True),
    Column("Share%", "share", ".1f", "share of the total, %", 100, essential=True),
    Column("Bar", "bar", "", "the sum beside the highest", essential=True),
)


def daily(row: Row, amount: Decimal, start: int, end: int) -> dict[str, Decimal]:
    """Return an amount spread evenly over the days of a range that a charge covers."""
    since, until = (as_number(str(row.get(key))) for key in ("start", "end"))
    first = start if since is None else min(max(int(since), start), end)
    last = end if until is None else max(min(int(until), end), first)
    whole = last - first + 1
    parts = {}
    for day in range(first // DAY * DAY, last + 1, DAY):
        seconds = min(last + 1, day + DAY) - max(first, day)
        parts[f"{format_time(day, DATE, utc=True)}"] = amount * seconds / whole
    return parts


def charges_by(client: Client, by: str, start: int, end: int) -> dict[str, Decimal]:
    """Return sums of charges, the highest first, or of days in their order."""
    from decimal import Decimal

    sums: dict[str, Decimal] = {}
    for row in newer_rows(client, "charges", start, end)[0]:
        amount = parse_amount(row.get("amount")) or Decimal(0)
        group = cell(with_metadata(row).get(GROUPINGS[by]), last=True)
        parts = daily(row, amount, start, end) if by == "day" else {group: amount}
        for name, part in parts.items():
            sums[name] = sums.get(name, Decimal(0)) + part
    if by == "day":
        return dict(sorted(sums.items()))
    return dict(sorted(sums.items(), key=lambda item: item[1], reverse=True))


def show_charges(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """Show sums of charges, on a terminal with bars, then the total on stderr."""
    from decimal import Decimal

    sums = charges_by(client, args.by, *utc_range(client, args, 30))
    whole, most = sum(sums.values(), Decimal(0)), max(sums.values(), default=0)
    rows: list[Row] = [
        {"by": name, "amount": float(part), "share": float(part / (whole or 1))}
        for name, part in sums.items()
    ]
    bars = [{**row, "bar": bar(row["amount"] / float(most or 1))} for row in rows]
    columns = (Column(args.by.title(), "by", essential=True), *SUM_COLUMNS[1:])
    shown = columns if client.env.on_terminal() else columns[:-1]
    yield Table(bars, shown, rows, "by")
    if not args.quiet:
        cents, rounded = format_cents(whole)
        client.env.note(f"total: {cents} USD{rounded}")


DEPOSIT_COLUMNS = (
    Column("Deposit_$", "refundable_deposit", ".2f", "refundable", essential=True),
    Column("Discount_$", "total_discount", ".2f", "discount so far", essential=True),
    Column("Months", "discount_months", "", "length of the discount", essential=True),
)
BILLS_ARGS = (
    Arg("-s --start_date", "from this date on: 2026-02-03, 2026-02, ...", start_date),
    Arg("-e --end_date", "up to this date, its last second included", end_date),
    Arg("-c --only_charges", "no payments", bool),
    Arg("-p --only_credits", "only payments", bool),
)
UTC_RANGE = (
    Arg("-s --start-date", "first day in UTC, or unix seconds", utc_start),
    Arg("-e --end-date", "last day in UTC, included, or unix seconds", utc_end),
)
INVOICE_TYPES = Choice("invoice type", "transfers=transfer", "stripe=stripe_payments",
    "bitpay", "coinbase", "crypto.com", "reserved=instance_prepay",
    "payout-paypal=paypal_manual", "payout-wise=wise_manual")  # fmt: skip
CHARGE_TYPES = Choice("charge type", "instance", "volume", "serverless", "i=instance",
    "v=volume", "s=serverless")  # fmt: skip
BILLING_COMMANDS = (
    Command("show invoices", "list charges and payments", show_invoices,
        *BILLS_ARGS, *LISTING_ARGS,
        example="show invoices -s 2026-01 -e 2026-03", columns=INVOICE_COLUMNS),
    Command("show invoices-v1", "list invoices or charges with their metadata",
        show_newer_invoices,
        Arg("-i --invoices", "invoices and payments (the default)", bool),
        Arg("-c --charges", "charges", bool),
        Arg("-it --invoice-type", "only these: transfers, stripe, …; may be repeated",
            INVOICE_TYPES, append=True),
        Arg("-ct --charge-type", "only instance, volume or serverless", CHARGE_TYPES,
            append=True),
        *UTC_RANGE,
        Arg("-l --limit", "maximum number of rows (default: all)", LIMIT),
        Arg("-t --next-token", "continue after the page that had this token"),
        Arg("--latest-first", "the latest rows first", bool),
        Arg("-v --verbose", "show the items of each row", bool),
        Arg("-f --format", "table, or tree: serverless charges by endpoint",
            Choice("format", "table", "tree"), default="table"),
        *LISTING_ARGS, columns=NEWER_COLUMNS,
        example="show invoices-v1 --charges -s 2026-05 -e 2026-05"),
    Command("show charges", "sum up charges, to see what costs the most", show_charges,
        Arg("--by", "instance (the default), label, template, or day: spread evenly",
            Choice("grouping", *GROUPINGS), default="instance"),
        *UTC_RANGE, *LISTING_ARGS, columns=SUM_COLUMNS,
        example="show charges -s 2026-05 -e 2026-05 --by label"),
    Command("show deposit", "show the deposit of a reserved instance",
        Listing("GET /api/v0/instances/balance/{id}/?owner=me", DEPOSIT_COLUMNS,
            "{refundable_deposit}", key="refundable_deposit"),
        INSTANCE_ID, example="show deposit 5001"),
)  # fmt: skip


# --- PDF invoice ----------------------------------------------------------------------

# Measures are points, counted from the lower left corner of an A4 page.
WIDTH, HEIGHT, LEFT, RIGHT = 595, 842, 48, 547
TOP, BOTTOM = 792, 66  # what rows may fill; sums may stand a little lower
LEADING, BELOW = 10.6, 4.6  # from line to line; below the last line of a row
BAR_LEFT, BAR_ROOM = 100, 240

# Red, green and blue from 0 to 1; then size, index of the font (1 is bold), colour.
INK, GREY, PALE = b".11 .13 .17", b".43 .46 .51", b".955 .965 .98"
RULE, ACCENT = b".8 .83 .87", b".1 .27 .55"
TEXT = b"BT /F%d %.2f Tf %s rg %.2f %.2f Td (%s) Tj ET"
BODY, FAINT, FIGURE = (8.5, 0, INK), (8, 0, GREY), (11, 0, INK)
HEADING, STRONG, TITLE = (7.5, 1, GREY), (9, 1, INK), (11, 1, INK)

STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
ISSUER = ("Vast.ai Inc.", "100 Van Ness Ave.", "San Francisco CA 94102")
TERMS = ("Already charged,", "no payment due")

# Columns: heading, x, room. A text stands to the right of x, or to its left where the
# room is negative.
EDGES = (("", LEFT, RIGHT - LEFT), ("", RIGHT, -200))
PARTIES = (
    ("From", LEFT, 130), ("Bill to", 190, 180), ("Date", 390, 60), ("Terms", 462, 85)
)  # fmt: skip
ITEM_COLUMNS = (
    ("Item", LEFT, 256), ("Date", 316, 52), ("Quantity", 428, -58), ("Rate", 484, -50),
    ("Amount", RIGHT, -58),
)  # fmt: skip

# Characters whose width borb does not know, and others that are as wide and, but for
# the last four, look the same; then the glyphs that borb knows by a wrong name.
AS_WIDE = str.maketrans("Ţţ∆µ‐‑ƒ¹²³", "ȚțΔμ--0(((")
GLYPHS = {
    "ƒ": "florin", "¹": "onesuperior", "²": "twosuperior", "³": "threesuperior",
    "«": "guillemotleft", "»": "guillemotright",
}  # fmt: skip

if TYPE_CHECKING:  # pragma: no cover - only mypy reads it
    Style = tuple[float, int, bytes]
    Columns = Sequence[tuple[str, int, int]]
    # The text of the first cell, text below it, the other cells, what a bar stands for.
    Rows = list[tuple[str, str, list[str], Decimal | int]]


def bill_to(user: Row) -> list[str]:
    """Return the lines of the customer's address that there are."""
    keys = ("line1", "line2", "city", "zip", "country")
    parts = [one_line(user.get(f"billaddress_{key}"), 100) for key in keys]
    name = one_line(user.get("fullname") or user.get("username"), 100)
    lines = (name, *parts[:2], " ".join(parts[2:4]).strip(), parts[4])
    return [line for line in lines if line]


class Invoice:
    """A statement drawn as an invoice, on pages that are lists of PDF operators; `y` is
    how far down the last one is filled. Characters that are `lacking` show as "?"."""

    def __init__(self, statement: Statement, user: Row) -> None:
        self.statement, self.lines = statement, statement.shown
        year, month = time.localtime(statement.end)[:2]
        self.number = year * 12 + month - 1
        self.titles = [SECTIONS[section] for section in statement.sections]
        self.cents, self.rounded = format_cents(total(self.lines))
        self.address = bill_to(user)
        texts = [line.item + line.detail for line in self.lines]
        self.load_fonts("".join([*self.address, *texts]))
        self.page: list[bytes] = []
        self.pages, self.y = [self.page], float(HEIGHT)
        self.head()
        self.tables()
        self.end()
        self.margins()

    def load_fonts(self, text: str) -> None:
        """Make one encoding for both fonts: ASCII, then what else a text has and
        Helvetica too, as far as 256 codes go."""
        import codecs

        from borb.pdf import Standard14Fonts
        from borb.pdf.font.adobe_glyph_list import AdobeGlyphList
        from borb.pdf.primitives import name

        fonts = [Standard14Fonts.get(x) for x in ("Helvetica", "Helvetica-Bold")]
        used = sorted({char for char in text if char > "\x7f"})
        known = [x for x in used if fonts[0].get_width(x.translate(AS_WIDE))][:128]
        self.lacking = "".join(char for char in used if char not in known)
        self.chars = "".join([*map(chr, range(128)), *known])
        charmap = codecs.charmap_build(self.chars)
        self.encode: Callable[[str], bytes]
        self.encode = lambda text: codecs.charmap_encode(text, "replace", charmap)[0]
        names = AdobeGlyphList.ADOBE_CHARACTER_TO_CHARACTER_NAME
        glyphs = [GLYPHS.get(x) or names[x.translate(AS_WIDE)] for x in known]
        self.widths = []
        for font in fonts:
            chars = self.chars.translate(AS_WIDE)
            # borb rounds up to whole points, hence this size.
            self.widths.append([font.get_width(char, font_size=1000) for char in chars])
            font["Encoding"] = {"BaseEncoding": name("WinAnsiEncoding")}
            font["Encoding"]["Differences"] = [128, *map(name, glyphs)]
        self.fonts = dict(zip(("F0", "F1"), fonts))

    def wrap(self, text: str, room: float) -> list[str]:
        """Break a text of BODY into lines, at spaces where it can be."""
        from bisect import bisect
        from itertools import accumulate

        lines = []
        while text:
            widths = map(self.widths[0].__getitem__, self.encode(text))
            fits = bisect([*accumulate(widths)], room * 1000 / BODY[0])
            space = f"{text} ".rfind(" ", 0, fits + 1)
            cut = space if space > 0 else fits
            lines.append(text[:cut])
            text = text[cut:].lstrip()
        return lines

    def need(self, height: float) -> bool:
        """Begin a page if the last one has less left; tell whether."""
        if self.y - height >= BOTTOM:
            return False
        self.page, self.y = [], float(TOP)
        self.pages.append(self.page)
        return True

    def box(self, down: float, height: float, colour: bytes, *ends: float) -> None:
        """Fill a box whose top is that far below y, by default as wide as tables."""
        left, right = ends or (LEFT - 6, RIGHT + 6)
        box = (colour, left, self.y - down - height, right - left, height)
        self.page.append(b"%s rg %.2f %.2f %.2f %.2f re f" % box)

    def write(self, down: float, style: Style, columns: Columns, *texts: str) -> None:
        """Go down and write texts, by default the headings, in columns. Further lines
        of a text stand below; what is too wide gets smaller."""
        self.y -= down
        size, font, colour = style
        for (_, x, room), text in zip(columns, texts or [x[0] for x in columns]):
            for index, line in enumerate(text.splitlines()):
                codes = self.encode(line)
                width = sum(map(self.widths[font].__getitem__, codes)) * size / 1000
                scale = min(1, abs(room) / width)
                left = x if room > 0 else x - width * scale
                for special in (b"\\", b"(", b")"):
                    codes = codes.replace(special, b"\\" + special)
                y = self.y - index * LEADING
                self.page.append(TEXT % (font, size * scale, colour, left, y, codes))

    def table(self, title: str, columns: Columns, rows: Rows, *sums: str) -> None:
        """Draw headings, rows, each on one page, and sums; nothing without rows."""
        room, most = columns[0][2], max((row[3] for row in rows), default=0)
        for index, (first, below, others, charged) in enumerate(rows):
            lines, more = self.wrap(first, room), self.wrap(below, room)
            height = (len(lines) + len(more)) * LEADING + BELOW
            if self.need(height if index else height + 70) or not index:
                self.write(18, TITLE, EDGES, title + (" (continued)" if index else ""))
                self.write(17, HEADING, columns)
                self.box(5, 0.6, INK)
                self.y -= 6
            if index % 2:
                self.box(0, height, PALE)
            if charged > 0:
                length = BAR_ROOM * float(charged / most)
                self.box(3.7, 8, ACCENT, BAR_LEFT, BAR_LEFT + length)
            bottom = self.y - height
            self.write(LEADING, BODY, columns, "\n".join(lines), *others)
            self.write(LEADING * len(lines), FAINT, columns, "\n".join(more))
            self.y = bottom
        if rows:  # a single sum may be as long as it likes
            self.sums(columns if len(sums) > 2 else EDGES, *sums)

    def sums(self, columns: Columns, *texts: str) -> None:
        """Draw a row of sums below a rule."""
        self.box(0, 0.6, INK)
        self.write(13, STRONG, columns, *texts)
        self.y -= 16

    def head(self) -> None:
        """Draw who bills whom, then the range and the sums that it is about."""
        self.box(0, 6, ACCENT, 0, WIDTH)
        self.write(72, (28, 1, INK), EDGES, "Invoice")
        self.write(0, (28, 0, GREY), [("", LEFT + 112, 120)], f"{self.number}")
        self.write(0, (15, 1, ACCENT), EDGES[1:], ISSUER[0])
        address = [part for line in self.address for part in self.wrap(line, 180)]
        parties = (ISSUER, address, [f"{format_time(self.statement.now, DATE)}"], TERMS)
        self.write(36, FAINT, PARTIES)
        self.write(LEADING + 2, BODY, PARTIES, *map("\n".join, parties))
        self.y -= LEADING * max(map(len, parties)) + 8
        heading = f"Total (USD{self.rounded})"
        columns = [("Range", LEFT + 4, 182), (heading, RIGHT - 4, -115)]
        if len(self.titles) > 1:
            columns += [(title, x, -82) for title, x in zip(self.titles, (320, 415))]
        self.box(0, 60, PALE)
        self.write(20, FAINT, columns)
        self.write(21, (17, 1, INK), columns[1:], self.cents)
        self.write(0, FIGURE, columns[2:], *self.statement.subtotals(self.lines))
        period = self.statement.period.replace(" to ", "\nto ")
        self.write(-LEADING / 2, BODY, columns, period)
        self.y -= 38

    def tables(self) -> None:
        """Draw the lines of each section, then the sums of each month."""
        rows: Rows
        for section, title in zip(self.statement.sections, self.titles):
            lines, rows = in_section(self.lines, section), []
            for line in lines:
                numbers = [format_amount(x, "") for x in (line.quantity, line.rate)]
                others = [line.date or "-", *numbers, format_amount(line.amount)]
                rows.append((line.item, line.detail, others, 0))
            sums = [f"Total {title.lower()}", format_amount(total(lines))]
            self.table(title, ITEM_COLUMNS, rows, *sums)
        months: dict[str, list[Line]] = {}
        for line in self.lines:
            months.setdefault(line.date[:7] or "No date", []).append(line)
        rows = [
            (month, "", self.statement.subtotals(x), total(in_section(x, "charges")))
            for month, x in months.items()
        ]
        edges = (RIGHT - 97, RIGHT)[-len(self.titles) :]
        columns = [("Month", LEFT, 50)]
        columns += [(title, x, -92) for title, x in zip(self.titles, edges)]
        # On one page with the grand total, if it fits on one.
        self.need(min(140 + 17 * len(rows), TOP - BOTTOM))
        sums = ["Total", *self.statement.subtotals(self.lines)]
        self.table("Summary by month", columns, rows, *sums)

    def end(self) -> None:
        """Draw the grand total and the notes below it."""
        self.need(70)
        if not self.lines:
            titles = " or ".join(self.titles).lower()
            self.write(20, FIGURE, EDGES, f"No {titles} in this range.")
            self.y -= 30
        self.sums(EDGES, f"Grand total (USD{self.rounded})", self.cents)
        notes = [f"All amounts are in US dollars. {' '.join(TERMS)}."]
        not_billed = self.statement.not_billed()
        if self.statement.reaches_today and not_billed is not None:
            notes.append(f"Charges not billed yet: {not_billed:,f}.")
        unread = sum(line.amount is None for line in self.lines)
        if unread:
            notes.append(f"Rows without a readable amount, in no sum: {unread}.")
        self.write(LEADING, FAINT, EDGES, "\n".join(notes))

    def margins(self) -> None:
        """Draw the foot of each page, and the head of each but the first."""
        for number, page in enumerate(self.pages, 1):
            self.page, self.y = page, HEIGHT - 38.0
            if number > 1:
                self.write(0, STRONG, EDGES, f"Invoice {self.number}")
                self.write(0, (9, 1, ACCENT), EDGES[1:], ISSUER[0])
                self.box(8, 0.6, RULE)
            self.y = 46
            self.box(0, 0.6, RULE)
            ends = (", ".join(ISSUER), f"Page {number} of {len(self.pages)}")
            self.write(14, FAINT, EDGES, *ends)

    def as_file(self) -> bytes:
        """Return the invoice as a PDF file."""
        import hashlib
        import io

        from borb.pdf import PDF, Document, Page
        from borb.pdf.primitives import hexstr, name, stream

        document, digest = Document(), hashlib.sha256()
        for operators in self.pages:
            page, content = Page(), b"\n".join(operators)
            # borb's writer takes time by the square of the number of values, so that
            # a page keeps no more than it must and inherits the rest.
            page.clear()
            page.update(Type=name("Page"), Contents=stream({"DecodedBytes": content}))
            document.append_page(page)
            digest.update(content)
        trailer = document["Trailer"]
        trailer["ID"] = [hexstr(digest.hexdigest()[:32])] * 2
        date = time.strftime("D:%Y%m%d%H%M%SZ", time.gmtime(self.statement.now))
        trailer["Info"].update(
            Title=f"Invoice {self.number}", Author=ISSUER[0],
            Subject=" and ".join(self.titles), CreationDate=date, ModDate=date,
        )  # fmt: skip
        pages = trailer["Root"]["Pages"]
        pages.update(Resources={"Font": self.fonts}, MediaBox=[0, 0, WIDTH, HEIGHT])
        file = io.BytesIO()
        PDF.write(what=document, where_to=file)
        return file.getvalue()


def load_borb() -> None:
    """Import borb, and keep it to its task. Raises UsageError without it."""
    try:
        from borb.pdf import UsageStatistics
    except ImportError:
        msg = "the PDF needs borb; run: python3 -m pip install 'borb>=3.0.9,<4'"
        raise UsageError(msg, "borb") from None
    # Else borb reports over the network when Python ends, and takes over Ctrl-C.
    UsageStatistics.opt_out()


def generate_pdf(client: Client, args: argparse.Namespace) -> Iterator[Result | bytes]:
    """Draw an invoice; tell where it is, or yield the file if it is for stdout."""
    to_stdout = args.output in STDOUT
    if args.raw and to_stdout:
        raise UsageError("--raw excludes --output -: there is one stdout")
    if not args.dry_run:
        load_borb()
    statement, env = fetch_statement(client, args), client.env
    user = find_user(client)
    if len(statement.shown) > 2000:  # long enough to be noticed
        env.progress(f"drawing {len(statement.shown)} rows")
    invoice = Invoice(statement, user)
    if invoice.lacking and not args.quiet:
        env.note(f"characters the PDF font lacks, shown as '?': {invoice.lacking}")
    if to_stdout:
        yield invoice.as_file()
        return
    dates = [format_time(x, DATE) for x in (args.start_date, args.end_date)]
    parts = filter(None, ("invoice", str(invoice.number), *dates, statement.only))
    path = args.output or "_".join(parts) + ".pdf"
    write_file(path, invoice.as_file())
    value = {"path": path, "pages": len(invoice.pages), "rows": len(invoice.lines)}
    yield Result({**value, "total": f"{total(invoice.lines):f}"}, path)


PDF_COMMANDS = (
    Command("generate pdf-invoices", "draw charges and payments as a PDF",
        generate_pdf, *BILLS_ARGS,
        Arg("-q --quiet", "no notes on stderr", bool),
        Arg("-o --output", "the file to write; - is stdout", file_name),
        example="generate pdf-invoices -s 2026-01 -e 2026-03"),
)  # fmt: skip


# --- account, keys and teams ----------------------------------------------------------

API_KEYS, TEAM, TFA = "/api/v0/auth/apikeys/", "/api/v0/team/", "/api/v0/tfa/"
SECRET_FILE = "~/.vast_tfa_secret"  # from the sending of a code until `tfa login`
MONEY = ("balance", "balance_threshold", "credit")
USER_COLUMNS = (
    Column("Field", "Field", "", "name of the field", essential=True),
    Column("Value", "Value", "", "its value; amounts in dollars", essential=True),
)


def show_user(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """Show the fields of the account that have a value."""
    user, shown = find_user(client), {}
    for name, value in sorted(user.items()):
        # Whatever has a fraction there is dollars.
        if name in MONEY or isinstance(value, float):
            amount = parse_amount(value)
            value = value if amount is None else f"{amount:f}"
        if value not in (None, ""):
            shown[name] = value
    if args.quiet:
        line = [cell(shown.get(name)) for name in ("id", "email", "balance", "credit")]
        yield Result(user, " ".join(line))
        return
    rows = [{"Field": name, "Value": value} for name, value in shown.items()]
    yield Table(rows, USER_COLUMNS, value=user)


def no_longer(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """Say what to do instead of `create account` and `login`."""
    yield (
        "This is no longer done on the command line. Create an API key at\n"
        f"    {KEYS_PAGE}\n"
        "(once https://vast.ai/console/cli) and save it with:\n"
        f"    {PROGRAM} set api-key"
    )


def set_api_key(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """Save the API key in a file of the user's own, or check whether it works."""
    env = client.env
    if args.check and args.new_api_key is None:
        user = find_user(client)
        yield Result(user, f"the API key works: account {user['id']}")
        return
    key = check_key(secret_value(args.new_api_key or "-", env, "API key: "))
    path = key_files(env.environ)[0]
    if args.check:
        client.given_key = key
        find_user(client)
    if not args.dry_run:
        write_file(path, f"{key}\n".encode(), mode=0o600)
        if os.path.exists(session_file(env.environ)):  # it would override the file
            os.unlink(session_file(env.environ))
    if env.environ.get("VAST_API_KEY"):
        env.note("the environment's VAST_API_KEY overrides the file")
    done = "would be saved" if args.dry_run else "saved"
    yield Result({"path": path}, f"API key {done} to {path}")


def joined(field: str, row: Row, now: float) -> object:
    """Return the names in a field, a list or {"api": {…}}, as one text."""
    value = row.get(field)
    if isinstance(value, dict):
        value = value.get("api", value)
    names = value if isinstance(value, (dict, list)) else [value]
    return ",".join(str(name) for name in names if name is not None)


ADDRESS_COLUMNS = (
    Column("IP", "ip|ip_address", "", "IP address", essential=True),
    Column("First_seen", lambda row, now: at("first_seen")(row, now)
           or row.get("timestamp"), "", "when you first called from it"),
    Column("Location", "first_location", "", "where it was then"),
)  # fmt: skip
SUBACCOUNT_COLUMNS = (
    Column("ID", "id", "d", "id of the account", essential=True),
    Column("Name", "username", "", "user name"),
    Column("Credit", "credit", ".2f", "credit in dollars"),
    Column("Created", at("created_at"), "", "when it was created"),
    Column("Deleted", at("deleted_at"), "", "when it was deleted"),
)
AUDIT_COLUMNS = (
    Column("Date", at("created_at"), "", "when it was", essential=True),
    Column("IP", "ip_address", "", "IP address it came from", essential=True),
    Column("Key", "api_key_id", "d", "id of the API key", essential=True),
    Column("Route", "api_route", "", "what was called", essential=True),
    Column("Arguments", "args", "", "with what, secrets masked", essential=True),
)


def mask_secrets(value: Any, name: str = "") -> Any:
    """Return a decoded value with whatever lets others in masked, by its name or, as
    arguments may be JSON in a text, by what it mentions."""
    if isinstance(value, dict):
        return {key: mask_secrets(value[key], f"{name} {key}") for key in value}
    if isinstance(value, list):
        return [mask_secrets(inner, name) for inner in value]
    text = str(value)
    found = re.search("[0-9a-f]{64}", text) or masked(text, text) == MASK
    return MASK if found else masked(name, value)


def find_audit_logs(client: Client, args: argparse.Namespace) -> list[Row]:
    """Return what was done with the account's keys."""
    rows = rows_of(client.send(Call("GET", "/api/v0/audit_logs/")), "")
    return [{**row, "args": mask_secrets(row.get("args"))} for row in rows]


KEY_COLUMNS = (
    Column("ID", "id", "d", "id of the API key", essential=True),
    Column("Name", "name", "", "its name", essential=True),
    Column("Team", "team_name|team_id", "", "the team that it is for"),
    Column("Created", at("created_at"), "", "when it was created"),
    Column("Rights", partial(joined, "rights"), "", "what it may do", essential=True),
)


def find_api_keys(client: Client, args: argparse.Namespace) -> list[Row]:
    """Return the rows of API keys, or of the one with an id, without the keys."""
    path = f"{API_KEYS}{args.id}/" if "id" in args else API_KEYS
    rows = rows_of(client.send(Call("GET", path)), "apikeys|{id}")
    return [{**row, "key": MASK} if "key" in row else row for row in rows]


# The names in permissions, from the outside in; None: any. Source: the vendor's guide.
PERMISSION_NAMES = (
    ["api"],
    """instance_read instance_write user_read user_write billing_read billing_write
    machine_read machine_write misc team_read team_write""".split(),
    None, ["constraints"], None, ["eq", "lte", "gte"],
)  # fmt: skip


def permissions(text: str) -> Row:
    """Read permissions from a file, or from JSON itself. Raises UsageError."""
    try:
        value = json.loads(text if text.lstrip()[:1] == "{" else read_text(text))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"the permissions are not JSON: {error}") from None
    check_permissions("the permissions", value, PERMISSION_NAMES)
    return {"api": value["api"]}


def check_permissions(name: str, value: Any, levels: Sequence[Any]) -> None:
    """Check a part of permissions and all that is in it. Raises UsageError."""
    if not levels:
        return
    if not isinstance(value, dict) or (levels is PERMISSION_NAMES and not value):
        form = '{"api": {CATEGORY: {ROUTE: {"constraints": {PARAMETER: {"eq": 1}}}}}}'
        raise UsageError(f"{name} must be an object, as in {form}")
    for inner in value:
        if levels[0] and inner not in levels[0]:
            hint = f"{did_you_mean(inner, levels[0])}; known: {' '.join(levels[0])}"
            raise UsageError(f"unknown permission '{inner}'{hint}")
        check_permissions(f"'{inner}'", value[inner], levels[1:])


def key_in_use(client: Client) -> Row:
    """Return the row of the API key in use, {} when the service doesn't show it."""
    try:
        number = find_user(client).get("key_id", "")
        rows = rows_of(client.send(Call("GET", API_KEYS)), "apikeys")
    except (UsageError, Interrupted):
        raise
    except VastError:
        return {}
    used = [row for row in rows if row.get("key") == client.key]
    return (used or [row for row in rows if row.get("id") == number] or [{}])[0]


def ask_about_key(client: Client, args: argparse.Namespace) -> str:
    """Return the question before the key in use is deleted, none for any other."""
    used = key_in_use(client).get("id")
    if used == args.id:
        return f"delete API key {used}? It is the one in use and stops working at once."
    return "" if used else f"delete API key {args.id}? It may be the one in use."


def ask_about_team(client: Client, args: argparse.Namespace) -> str:
    """Return the question before a team is destroyed. What has to be typed is its name,
    if the service shows to which team the API key belongs."""
    name = str(key_in_use(client).get("team_name") or "").strip()
    args.team = name if name.isprintable() and name else "destroy team"
    team = f"team '{name}'" if name else "the team of this API key"
    return f"destroy {team} and all its API keys, roles and members?"


ROLE_COLUMNS = (
    Column("ID", "id", "d", "id of the role", essential=True),
    Column("Name", "name", "", "its name", essential=True),
    Column("Permissions", partial(joined, "permissions"), "", "what it allows",
           essential=True),
)  # fmt: skip
ROLES = Listing(f"GET {TEAM}roles-full/", ROLE_COLUMNS)
MEMBER_COLUMNS = (
    Column("ID", "id", "d", "id of the user", essential=True),
    Column("E-mail", "email", "", "e-mail address", essential=True),
    Column("Name", "fullname", "", "full name"),
    Column("Roles", partial(joined, "roles"), "", "roles in the team", essential=True),
)


def find_role(client: Client, args: argparse.Namespace) -> Row:
    """Return the role that is named, by its name or id. Raises VastError."""
    rows = ROLES.fetched(client, args)
    rows = [row for row in rows if isinstance(row.get("id"), int) and row.get("name")]
    known = {str(row[field]): row for field in ("id", "name") for row in reversed(rows)}
    if args.role in known:
        return known[args.role]
    hint = did_you_mean(args.role, [str(row["name"]) for row in rows])
    raise VastError(f"there is no role '{args.role}'{hint}", "not_found")


def name_role(client: Client, args: argparse.Namespace) -> None:
    """Replace the id of a role with its name. Raises VastError."""
    if args.role.isdecimal():
        args.role = str(find_role(client, args)["name"])


def show_role(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """Show a role."""
    name_role(client, args)
    path = fill_path(f"{TEAM}roles/{{role}}/", vars(args))
    row = rows_of(client.send(Call("GET", path)), "{name}")[0]
    yield Table([row], ROLE_COLUMNS, value=row)


def complete_role(client: Client, args: argparse.Namespace) -> None:
    """Replace a role's name with its id, and complete the arguments: the service wants
    name and permissions. Raises VastError."""
    row = find_role(client, args)
    args.role, args.name = row["id"], args.name or row["name"]
    args.permissions = args.permissions or row.get("permissions")
    if not isinstance(args.permissions, dict):
        raise VastError(f"give --permissions: those of role {args.role} are hidden")


TFA_COLUMNS = (
    Column("ID", "id", "d", "id of the method", essential=True),
    Column("Method", "method", "", "sms or totp", essential=True),
    Column("Phone", "phone_number", "", "phone number, in part"),
    Column("Primary", "is_primary", "", "used by default"),
    Column("Locked", at("locked_until"), "", "locked until then"),
    Column("Label", "label", "", "your name for it"),
)


def tfa_status(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """Show the methods of two-factor authentication."""
    reply = client.send(Call("GET", f"{TFA}status/"))
    yield Table(rows_of(reply, "methods"), TFA_COLUMNS, value=reply)
    state = "on" if reply.get("tfa_enabled") else "off"
    left = cell(reply.get("backup_codes_remaining"))
    client.env.note(f"two-factor authentication is {state}; backup codes left: {left}")


def saved_secret(env: Environment) -> tuple[str, str]:
    """Return the method and the secret of the last code that was sent, or "" twice."""
    path = expand_home(SECRET_FILE, env.environ)
    method, _, secret = read_key_file(path, env).partition(" ")
    return method, secret


def save_secret(client: Client, args: argparse.Namespace, reply: Row) -> None:
    """Save the secret of a code that was sent, and how it was sent."""
    method = "sms" if "phone_number" in args else "email"
    secret = str(reply.get("secret") or getattr(args, "secret", ""))
    if not re.fullmatch("[!-~]+", secret):
        raise OutcomeUnknown("a code was sent, but the response has no secret for it")
    path = expand_home(SECRET_FILE, client.env.environ)
    write_file(path, f"{method} {secret}\n".encode(), mode=0o600)


def same_secret(client: Client, args: argparse.Namespace) -> None:
    """Find the secret of the code that is to be sent again. Raises UsageError."""
    args.secret = args.secret or saved_secret(client.env)[1]
    if not args.secret:
        raise UsageError(f"no code was sent; run: {PROGRAM} tfa send-sms")


def ask_for_code(client: Client, args: argparse.Namespace) -> None:
    """Complete what `tfa login` sends: the code, and the saved secret if that belongs
    to it. Raises UsageError."""
    name = "code" if args.backup_code is None else "backup_code"
    method, secret = saved_secret(client.env)
    if name == "code" and not args.secret and args.method_type in (None, method):
        args.secret = secret or None
        if secret and args.method_id is None:
            args.method_type = method
    sent = args.secret or args.method_id or args.method_type == "totp"
    if name == "code" and not sent:
        first = f"run `{PROGRAM} tfa send-email` first, or use -t totp"
        raise UsageError(f"no code was sent; {first}")
    question = f"{name.replace('_', ' ')}: "
    setattr(args, name, secret_value(vars(args)[name] or "-", client.env, question))


def save_session(client: Client, args: argparse.Namespace, reply: Row) -> None:
    """Save the key of a session; forget the secret that it was opened with."""
    env, key = client.env, check_key(str(reply["session_key"]))
    write_file(session_file(env.environ), f"{key}\n".encode(), mode=0o600)
    secret = expand_home(SECRET_FILE, env.environ)
    if os.path.exists(secret):
        os.unlink(secret)
    if env.environ.get("VAST_API_KEY"):
        env.note("the environment's VAST_API_KEY overrides the session")


ROLE = Arg("role", "the role, by name or id", wire="")
ALLOWED = 'what is allowed: a file of JSON, or JSON such as {"api": {"misc": {}}}'
PHONE = Arg("-p --phone-number", "where to send it, such as +420601234567")
SECRET = Arg("-s --secret", "secret of the code, by default the saved one", secret=True)
CodeRequest = partial(Request, once=True, after=save_secret, look="tfa status",
    note=f"its secret is saved to {SECRET_FILE} until you run tfa login")  # fmt: skip

ACCOUNT_COMMANDS = (
    Command("show user", "show your account", show_user,
        Arg("-q --quiet", "one line: id, e-mail, balance, credit", bool), *TABLE_ARGS,
        columns=USER_COLUMNS),
    Command("set api-key", "save your API key", set_api_key,
        Arg("new_api_key?", "the key; if missing or -, read from stdin or asked for"),
        Arg("--check", "ask the service whether the key works", bool)),
    Command("create account", "say how to get an API key", no_longer,
        Arg("ignored*", "any words"), pass_on=True),
    Command("login", "say how to get an API key", no_longer,
        Arg("ignored*", "any words"), pass_on=True),
    Command("show ipaddrs", "list the IP addresses that you called from",
        Listing("GET /api/v0/users/me/ipaddrs?owner=me", ADDRESS_COLUMNS, "results",
            key="ip|ip_address")),
    Command("show subaccounts", "list the accounts below yours",
        Listing("GET /api/v0/subaccounts?owner=me", SUBACCOUNT_COLUMNS, "users")),
    Command("show audit-logs", "list what was done with your API keys",
        Listing("", AUDIT_COLUMNS, fetch=find_audit_logs, where=matching_rows,
            key="api_key_id")),
    Command("transfer credit", "send credit to another account, for good",
        Request("PUT /api/v0/commands/transfer_credit/",
            "credit: ${amount:.10g} sent to {recipient}", body={"sender": "me"},
            doubt="${amount:.10g} may or may not have been sent to {recipient}",
            ask="send ${amount:.10g} to {recipient}? This can't be undone.",
            once=True, required=True, look="show invoices"),
        Arg("recipient", "e-mail address or id of the account"),
        Arg("amount", "dollars", number("amount", "$", least=0.01)),
        Arg("-r --recipient", "same as an option", stands_for="recipient"),
        Arg("-a --amount", "same as an option", stands_for="amount"),
        Arg("--skip", stands_for="--yes"), example="transfer credit me@example.org 25"),
    Command("create api-key", "create an API key, and print it this once",
        Request(f"POST {API_KEYS}", "{reply[key]}", once=True, proof="key",
            doubt="API key '{name}' may or may not have been created (if so, delete it:"
            " nobody knows its text)", note="save the key now; it is not shown again"),
        Arg("--name", "its name", at_most("name", 255), required=True),
        Arg("--permission_file --permissions", f"{ALLOWED}; without it, everything",
            permissions, wire="permissions"),
        Arg("--key_params", 'more, such as {"ip_whitelist": ["1.2.3.4"]}', json_object),
        reveals=True,
        example="create api-key --name ci --permission_file permissions.json"),
    Command("show api-keys", "list your API keys, without their text",
        Listing("", KEY_COLUMNS, fetch=find_api_keys)),
    Command("show api-key", "show API keys by id, without their text",
        Listing("", KEY_COLUMNS, fetch=find_api_keys), ids(),
        example="show api-key 90417"),
    Command("delete api-key", "delete an API key; it stops working at once",
        Request(f"DELETE {API_KEYS}{{id}}/", "API key {id}: deleted", once=True,
            ask=ask_about_key, proof=""),
        Arg("id", "id of the key", identifier), example="delete api-key 90417"),
    Command("show team-roles", "list the roles of your team", ROLES),
    Command("show team-role", "show a role", show_role, ROLE, *LISTING_ARGS,
        columns=ROLE_COLUMNS, example="show team-role member"),
    Command("create team-role", "create a role for members of your team",
        Request(f"POST {TEAM}roles/", "role '{name}': created", once=True, proof="msg"),
        Arg("--name", "its name", required=True),
        Arg("--permissions", ALLOWED, permissions, required=True),
        example="create team-role --name dev --permissions permissions.json"),
    Command("update team-role", "change a role's name or permissions",
        Request(f"PUT {TEAM}roles/{{role}}/", "role {role}: updated", proof="",
            prepare=complete_role),
        ROLE, Arg("--name", "its new name"), Arg("--permissions", ALLOWED, permissions),
        example="update team-role dev --name ops"),
    Command("remove team-role", "remove a role from your team",
        Request(f"DELETE {TEAM}roles/{{role}}/", "role '{role}': removed",
            prepare=name_role, proof="status",
            ask="remove role '{role}'? Its members lose its permissions."),
        ROLE, example="remove team-role dev"),
    Command("invite member", "invite somebody to your team by e-mail",
        Request(f"POST {TEAM}invite/?email={{email}}&role={{role}}",
            "{email}: invited as {role}", once=True, prepare=name_role,
            doubt="{email} may or may not have been invited"),
        Arg("--email", "e-mail address", required=True),
        Arg("--role", "the role, by name or id", required=True),
        example="invite member --email me@example.org --role member"),
    Command("show members", "list the members of your team",
        Listing(f"GET {TEAM}members/", MEMBER_COLUMNS, "members|")),
    Command("remove member", "remove somebody from your team",
        Request(f"DELETE {TEAM}members/{{id}}/", "member {id}: removed", proof="status",
            ask="remove member {id} with all access and API keys?"),
        Arg("id", "id of the user", identifier), example="remove member 51702"),
    Command("create team", "create a team, which you own",
        Request(f"POST {TEAM}", "team '{team_name}': created", once=True,
            ask=lambda client, args: args.transfer_credit and
                f"move ${args.transfer_credit:.10g} to team '{args.team_name}'?",
            look="show api-keys",
            note="commands about a team need one of its API keys; if this one is still"
            f" only yours, create one at {KEYS_PAGE}"),
        Arg("--team-name", "its name", required=True),
        Arg("--transfer-credit", "dollars to move to it", number("amount", "$", 0)),
        example="create team --team-name research"),
    Command("destroy team", "destroy the team that the API key belongs to",
        Request(f"DELETE {TEAM}", "team: destroyed, its credit returns to the owner",
            once=True, ask=ask_about_team, typed="{team}", required=True,
            look="show members")),
    Command("tfa status", "show your methods of two-factor authentication", tfa_status,
        *LISTING_ARGS, columns=TFA_COLUMNS),
    Command("tfa send-email", "have a code for tfa login sent by e-mail",
        CodeRequest(f"POST {TFA}email/", "code: sent by e-mail", proof="secret")),
    Command("tfa send-sms", "have a code for tfa login sent by SMS",
        CodeRequest(f"POST {TFA}sms/", "code: sent by SMS", proof="secret"), PHONE),
    Command("tfa resend-sms", "have a code sent by SMS again",
        CodeRequest(f"POST {TFA}sms/resend/", "code: sent by SMS again",
            proof="secret|msg", prepare=same_secret), SECRET, PHONE),
    Command("tfa login", "open a session, for what needs a second factor",
        Request(f"POST {TFA}", "session: saved to ~/.vast_tfa_key until it expires",
            once=True, proof="session_key", prepare=ask_for_code, after=save_session,
            look="tfa status"),
        Arg("-c --code", "the code; if missing or -, it is asked for", secret=True),
        Arg("-bc --backup-code", "a backup code instead, or -", secret=True),
        Arg("-t --method-type", "email, sms or totp; by default as the code was sent",
            Choice("method", "email", "sms", "totp"), wire="tfa_method"),
        Arg("-id --method-id", "id, see tfa status", identifier, wire="tfa_method_id"),
        SECRET),
)  # fmt: skip


# --- serverless -----------------------------------------------------------------------

ENDPOINT_COLUMNS = (
    Column("ID", "id", "d", "id of the endpoint", essential=True),
    Column("Name", "endpoint_name", "", "name of the endpoint", essential=True),
    Column("State", "endpoint_state", "", "active, suspended, stopped", essential=True),
    Column("Cold", "cold_workers", "d", "workers kept when there is no load"),
    Column("Max", "max_workers", "d", "highest number of workers"),
    Column("Load", "min_load", ".1f", "load per second that workers run for anyway"),
    Column("Util%", "target_util", ".0f", "share of the capacity to use, %", 100),
)
WORKERGROUP_COLUMNS = (
    Column("ID", "id", "d", "id of the workergroup", essential=True),
    Column("Endpoint", "endpoint_id", "d", "id of its endpoint", essential=True),
    Column("Name", "endpoint_name", "", "name of its endpoint", essential=True),
    Column("GPU_GB", "gpu_ram", ".1f", "GPU memory that a worker needs, GB"),
    Column("Template", "template_hash|template_id", "", "what its workers run"),
    Column("Search", "search_params|search_query", "", "offers to rent workers from"),
)
WORKER_COLUMNS = (
    Column("ID", "id", "d", "id of the worker", essential=True),
    Column("Status", "status", "", "loading, idle and so on", essential=True),
    Column("GPU", "gpu_name", "", "GPU model", essential=True),
    Column("Perf", "measured_perf|perf", ".1f", "load per second that it can take"),
    Column("Load", "cur_load", ".1f", "load per second that it has", essential=True),
    Column("Queue", "reqs_working", "d", "requests that it works on", essential=True),
    Column("URL", "url", "", "where it takes requests"),
)
DEPLOYMENT_COLUMNS = (
    Column("ID", "id", "d", "id of the deployment", essential=True),
    Column("Name", "name", "", "name of the deployment", essential=True),
    Column("Tag", "tag", "", "tag of the deployment", essential=True),
    Column("Endpoint", "endpoint_id", "d", "id of its endpoint", essential=True),
    Column("State", "endpoint_state", "", "state of its endpoint"),
    Column("Workers", "worker_count", "d", "number of workers"),
    Column("Image", "image", "", "the image that its workers run"),
)
VERSION_COLUMNS = (
    Column("ID", "id", "d", "id of the version", essential=True),
    Column("Created", at("created_at"), "", "when it was created", essential=True),
    Column("Hash", "file_hash", "", "hash of its code"),
)


class Jobs(Listing):
    """A kind of command: lists what holds variables of the user's, as Docker's options
    in a text; from the first value on, the text is masked."""

    def fetched(self, client: Client, args: argparse.Namespace) -> list[Row]:
        """Return the rows; that there are none may come as an error."""
        try:
            rows = super().fetched(client, args)
        except VastError as error:
            if error.http in (200, 400) and re.match(r"(?i)no \w+ .*found", str(error)):
                return []
            raise
        for row in rows:
            for name in filter(row.get, ("env", "launch_args")):
                row[name] = re.sub("(?s)([={[]|login).*", rf"\1{MASK}", str(row[name]))
        return rows


LOAD = number("load", least=0)
WORKERS = number("number of workers", least=0, whole=True)
ENDPOINT_ARGS = (
    Arg("--endpoint_name", "name of the endpoint"),
    Arg("--min_load", "minimum load to keep capacity for (initially 0)", LOAD),
    Arg("--min_cold_load", "minimum load to keep cold capacity for (0)", LOAD),
    Arg("--target_util", "target utilization, 0 to 1 (initially 0.9)",
        number("share", "0..1", 0, 1)),
    Arg("--cold_mult", "cold capacity, as a multiple of the load (2.5)", LOAD),
    Arg("--cold_workers", "minimum number of cold workers (initially 5)", WORKERS),
    Arg("--max_workers", "maximum number of workers (initially 20)", WORKERS),
    Arg("--max_queue_time", "maximum seconds that a request may queue", SECONDS),
    Arg("--target_queue_time", "target for the seconds that a request queues", SECONDS),
    Arg("--inactivity_timeout", "seconds without load before scaling to zero; below 0:"
        " never", number("time", "seconds")),
)  # fmt: skip
STATE_ARG = Arg("--endpoint_state", "active, suspended or stopped",
                Choice("state", "active", "suspended", "stopped"))  # fmt: skip
WORKER_FILTERS = "verified=true rentable=true rented=false"
WORKERGROUP_ARGS = (
    Arg("--endpoint_id", "id of its endpoint", identifier),
    Arg("--endpoint_name", "name of its endpoint"),
    Arg("--template_hash", "hash of the template that its workers run"),
    Arg("--template_id", "id of that template", identifier),
    Arg("--search_params", "the offers to rent workers from, see help query"),
    Arg("-n --no_default", f"without the default {WORKER_FILTERS}", bool, wire=""),
    Arg("--launch_args", "more options of create instance, as one text"),
    Arg("--gpu_ram", "GB of GPU memory that a worker needs", number("size", "GB", 0)),
)  # fmt: skip
SIGNS = {"eq": "=", "neq": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=",
         "in": " in ", "notin": " notin "}  # fmt: skip


def new_job(reply: Row) -> object:
    """Return the id of the endpoint or workergroup that was created."""
    return reply.get("result", reply.get("id"))


def search_value(value: Any, factor: float) -> str:
    """Return a value of a filter as a query has it, in the unit that people type."""
    if isinstance(value, list):
        return f"[{','.join(search_value(one, factor) for one in value)}]"
    if isinstance(value, str):
        return value.replace(" ", "_")
    return f"{value / factor:.12g}" if value and factor != 1 else json.dumps(value)


def check_workergroup(client: Client, args: argparse.Namespace) -> None:
    """Check the options, and write the search as the vendor's client does, which the
    service reads. An update without one leaves the saved one. Raises UsageError."""
    updating = hasattr(args, "id")
    if not updating and args.endpoint_id is None and args.endpoint_name is None:
        raise UsageError("which endpoint? give --endpoint_id or --endpoint_name")
    if args.search_params is None and (updating or args.no_default):
        return
    defaults = {} if args.no_default else parse_query(WORKER_FILTERS, {})[0]
    filters, notes = parse_query(args.search_params or "", defaults)
    known = {field.wire: field for field in FIELDS}
    args.search_params = " ".join(
        known[wire].name + SIGNS[operator] + search_value(value, known[wire].factor)
        for wire, tests in filters.items()
        for operator, value in tests.items()
    )
    for note in notes:
        client.env.note(note)


def run_call(args: argparse.Namespace, path: str) -> Call:
    """Return a call of the serverless host that reads something."""
    body = {"id": args.id, **given(JOB_LOG_ARGS, args)}
    return Call("POST", path, body, read=True, proof="", serverless=True)


def checked(reply: Any) -> Any:
    """Return a response of the serverless host, which reports errors with a status of
    200, as text or under `error_msg`. Raises VastError."""
    error = isinstance(reply, dict) and (reply.get("error_msg") or reply.get("msg"))
    if error:
        raise VastError(re.sub(r"^[a-z]+_\w+: ", "", str(error)))
    return reply


def find_workers(client: Client, args: argparse.Namespace) -> list[Row]:
    """Return the workers of an endpoint."""
    reply = client.send(run_call(args, "/get_endpoint_workers/"))
    return rows_of(checked(reply), "workers|")


LEVELS = ("info0", "info1", "trace", "debug", "logs")


def log_text(reply: Any, level: int) -> str:
    """Return one level of a log, or all of a log without levels, in whole lines."""
    if not isinstance(reply, dict) or checked(reply).keys().isdisjoint(LEVELS):
        raise VastError("the response has no log", BAD_REPLY)
    text = str(reply.get("logs") or reply.get(LEVELS[level]) or "").rstrip("\n")
    return text.encode("utf-8", "backslashreplace").decode() + "\n" * bool(text)


def job_log(path: str, client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """Show the log of an endpoint or workergroup."""
    if args.follow and args.raw:
        raise UsageError("--follow excludes --raw")
    call = run_call(args, path)
    if args.follow:
        yield from follow_log(client, call, 1000, lambda r: log_text(r, args.level))
        return
    reply = client.send(call)
    text = log_text(reply, args.level)
    yield Result(reply) if args.raw else as_output(text, client.env)


def delete_deployment(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """Delete a deployment by its id, or those of a name: with one tag, or with any."""
    body = given(NAME_AND_TAG, args)
    good = body.get("name") and "" not in body.values() if args.id is None else not body
    if not good:
        raise UsageError("give an id, or --name NAME with or without --tag TAG")
    path, what = f"/api/v0/deployment/{args.id}/", f"deployment {args.id}"
    if body:
        tags = f"tag {args.tag}" if args.tag else "all its tags"
        path, what = "/api/v0/deployments/", f"deployment {args.name}, {tags}"
    ask_first(client, args, f"delete {what}?")
    look = f"run `{PROGRAM} show deployments` before retrying"
    doubt = f"{what} may or may not have been deleted; {look}"
    reply = client.send(Call("DELETE", path, body, doubt=doubt))
    yield Result(reply, f"{what}: deleted")


ENDPOINTS, WORKERGROUPS = "/api/v0/endptjobs/", "/api/v0/autojobs/"
NEW_JOB = {"client_id": "me", "autoscaler_instance": "prod"}
STILL_THERE = "instances of workers may live on and cost money; see show instances"
JOB_ID = Arg("id", "its id", identifier)
SAME_ID = Arg("--id", stands_for="id")
NAME_AND_TAG = (
    Arg("--name", "name of the deployments to delete"),
    Arg("--tag", "tag of the one to delete; without it all tags of the name go"),
)
JOB_LOG_ARGS = (
    Arg("--tail", "only the last lines, this many", LINES),
    Arg("--level", "which of the logs, 0 to 3 (1)",
        number("level", least=0, most=3, whole=True), default=1, wire=""),
    Arg("-f --follow", "show new lines as they come, until Ctrl-C", bool, wire=""),
)  # fmt: skip

SERVERLESS_COMMANDS = (
    Command("show endpoints", "list your serverless endpoints",
        Jobs(f"GET {ENDPOINTS}", ENDPOINT_COLUMNS, "results", where=matching_rows)),
    Command("create endpoint", "create an endpoint; its workers cost money",
        # The documents disagree on the service's own least load (0, 1 or 10), which
        # decides what an idle endpoint costs: so that of the vendor's client is sent.
        Request(f"POST {ENDPOINTS}", "endpoint {new}: created", once=True, made=new_job,
            body={**NEW_JOB, "min_load": 0, "min_cold_load": 0},
            doubt="the endpoint may or may not have been created"),
        *ENDPOINT_ARGS,
        example="create endpoint --endpoint_name llm --cold_workers 0 --max_workers 4"),
    Command("update endpoint", "change an endpoint: only what is given",
        Request(f"PUT {ENDPOINTS}{{id}}/", "endpoint {id}: updated",
            body={**NEW_JOB, "endptjob_id": "{id}"}, update=True),
        JOB_ID, SAME_ID, *ENDPOINT_ARGS, STATE_ARG,
        example="update endpoint 701 --endpoint_state stopped"),
    Command("delete endpoint", "delete an endpoint and its workergroups",
        Request(f"DELETE {ENDPOINTS}{{id}}/", "endpoint {id}: deleted",
            body={"client_id": "me", "endptjob_id": "{id}"}, note=STILL_THERE,
            ask="delete {which}, workergroups included?"),
        ids(), example="delete endpoint 701"),
    Command("show workergroups", "list the workergroups of your endpoints",
        Jobs(f"GET {WORKERGROUPS}", WORKERGROUP_COLUMNS, "results",
            where=matching_rows),
        Arg("--full", type=bool, wire=""), example="show workergroups endpoint_id=701"),
    Command("create workergroup", "rent workers for an endpoint; they cost money",
        Request(f"POST {WORKERGROUPS}", "workergroup {new}: created", once=True,
            body=NEW_JOB, prepare=check_workergroup, made=new_job,
            doubt="the workergroup may or may not have been created"),
        *WORKERGROUP_ARGS,
        example="create workergroup --endpoint_id 701 --template_hash HASH \\\n"
        "    --search_params 'gpu_name=RTX_4090 reliability>0.98' --gpu_ram 24"),
    Command("update workergroup", "change a workergroup: only what is given",
        Request(f"PUT {WORKERGROUPS}{{id}}/", "workergroup {id}: updated",
            body={"client_id": "me", "autojob_id": "{id}"}, update=True,
            prepare=check_workergroup),
        JOB_ID, SAME_ID, *WORKERGROUP_ARGS,
        example="update workergroup 801 --gpu_ram 48"),
    Command("delete workergroup", "delete a workergroup; look for its instances then",
        Request(f"DELETE {WORKERGROUPS}{{id}}/", "workergroup {id}: deleted",
            body={"client_id": "me", "autojob_id": "{id}"}, note=STILL_THERE,
            ask="delete {which}?"),
        ids(), example="delete workergroup 801"),
    Command("get endpt-workers", "list the workers of an endpoint",
        Listing("", WORKER_COLUMNS, fetch=find_workers),
        JOB_ID, example="get endpt-workers 701"),
    Command("get endpt-logs", "show the log of an endpoint",
        partial(job_log, "/get_endpoint_logs/"), JOB_ID, *JOB_LOG_ARGS,
        example="get endpt-logs 701 --tail 100 --follow"),
    Command("get wrkgrp-logs", "show the log of a workergroup",
        partial(job_log, "/get_autogroup_logs/"), JOB_ID, *JOB_LOG_ARGS,
        example="get wrkgrp-logs 801 --level 0"),
    Command("update workers", "replace a workergroup's workers one by one",
        Request("POST /update_workers/", "workergroup {id}: {said}",
            body={"workergroup_id": "{id}"}, once=True,
            look="get wrkgrp-logs {id}", serverless=True),
        JOB_ID, Arg("--cancel", "stop replacing them", bool, wire="cancel_update",
            say=lambda yes: "update cancelled" if yes else "updating its workers"),
        example="update workers 801"),
    Command("show deployments", "list your deployments",
        Jobs("GET /api/v0/deployments", DEPLOYMENT_COLUMNS, "deployments",
            where=matching_rows)),
    Command("show deployment", "show deployments by id",
        Jobs("GET /api/v0/deployment/{id}/", DEPLOYMENT_COLUMNS, "deployment"),
        ids(), example="show deployment 644"),
    Command("show deployment-versions", "list the versions of a deployment",
        Listing("GET /api/v0/deployment/{id}/versions/", VERSION_COLUMNS, "versions"),
        JOB_ID, example="show deployment-versions 644"),
    Command("start deployment", "start a deployment's workers; they cost money",
        Request("POST /api/v0/deployment/{id}/start/",
            "deployment {id}: {reply[endpoint_state]}"),
        ids(), example="start deployment 644"),
    Command("stop deployment", "stop a deployment's workers",
        Request("POST /api/v0/deployment/{id}/stop/",
            "deployment {id}: {reply[endpoint_state]}"),
        ids(), example="stop deployment 644"),
    Command("delete deployment", "delete a deployment, by id or by name and tag",
        delete_deployment, Arg("id?", "id of the deployment", identifier),
        *NAME_AND_TAG, YES_ARG, example="delete deployment --name square --tag beta"),
)  # fmt: skip


# --- parser, help and completion ------------------------------------------------------

# Both call `vast.py complete` with the words up to the cursor. Each line of its output
# is a candidate and, after a tab, its help; "/" stands for the names of files.
SHELLS = {
    "bash": """\
# Completion for bash. To use it: source <(vast.py completion bash)
_vast() {
    local word help
    COMPREPLY=()
    while IFS=$'\\t' read -r word help; do COMPREPLY+=("$word"); done < <(
        "${1/#\\~/$HOME}" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    [ "${COMPREPLY[*]}" != / ] || { COMPREPLY=(); compopt -o default; }
}
complete -F _vast vast.py vast""",
    "zsh": """\
# Completion for zsh. To use it: source <(vast.py completion zsh)
_vast() {
    local -a typed=("${(@)words[2,CURRENT]}") lines
    lines=("${(@f)$(${~words[1]} complete -- "${(@)typed}" 2>/dev/null)}")
    [[ "$lines" == / ]] && { compset -P '*='; _files; return }
    lines=("${(@)lines//:/\\:}")
    lines=("${(@)lines/$'\\t'/:}")
    [[ -z "$lines" ]] || _describe vast.py lines
}
(( $+functions[compdef] )) || { autoload -U compinit && compinit }
compdef _vast vast.py vast""",
}


def complete(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """Print what the last of the words can be completed to."""
    *words, typed = args.words or [""]
    # bash splits words at = and at colons.
    before = re.sub("\0(=|:+)(\0|$)", r"\1", "\0".join(words))
    typed = typed.lstrip("'\"").removeprefix("=")
    for word, help in candidates(before.split("\0") if words else [], typed).items():
        if word.startswith(typed) or word == "/":
            yield f"{word}\t{help}".rstrip().encode() + b"\n"


def candidates(words: list[str], typed: str) -> Mapping[str, str]:
    """Return what can stand after the words, with its help; `typed` is its start."""
    try:
        command, others, name = find_command(words)
    except UsageError:
        return {}
    declared = (*command.args, *GLOBAL_ARGS) if command else (*GLOBAL_ARGS, VERSION_ARG)
    options = option_names(declared)
    before, pending = unfinished(others, options)
    if pending:
        return values_of(pending, command, typed)
    option, equals, value = typed.partition("=")
    if equals and plain(option) in options:
        values = values_of(options[plain(option)], command, value)
        return {w if w == "/" else f"{option}={w}": help for w, help in values.items()}
    if typed.startswith("-"):
        return {flag: arg.help for arg in declared if arg.help for flag in arg.flags}
    if command is None:
        return next_words(name)
    if command.name == "help":
        topics = {} if before else dict.fromkeys(TOPICS, "")
        return {**next_words(" ".join(before)), **topics}
    positionals = [arg for arg in command.args if not arg.flags]
    if not positionals:
        return {}
    index = min(len(before), len(positionals) - 1)
    return values_of(positionals[index], command, typed)


def unfinished(
    words: list[str], options: Mapping[str, Arg]
) -> tuple[list[str], Arg | None]:
    """Return the positional words among some, and the option whose value is next."""
    positionals = []
    pending: Arg | None = None
    for word in words:
        name, _, value = word.partition("=")
        arg = options.get(plain(name))
        if pending:
            pending = None
        elif arg is None:
            positionals.append(word)
        elif arg.many == "...":
            return positionals, arg
        elif not arg.is_flag and not value:
            pending = arg
    return positionals, pending


def next_words(before: str) -> dict[str, str]:
    """Return the words that follow others in the names of commands."""
    found = {}
    start = f"{before} ".lstrip()
    for name, command in COMMAND_BY_NAME.items():
        word, _, more = name.removeprefix(start).partition(" ")
        if name.startswith(start) and not command.hidden:
            found[word] = "" if more else command.help
    return found


def values_of(arg: Arg, command: Command | None, typed: str) -> Mapping[str, str]:
    """Return the values that an argument can have, if they are known; of a list or a
    query, for its last part."""
    if arg.type is file_name:
        return {"/": ""}
    if isinstance(arg.type, Choice):
        return dict.fromkeys(arg.type.values, "")
    names = arg.suggest
    if arg.dest == "cols" and command:
        names = {column.heading: column.help for column in command.columns}
    start = typed[: max(typed.rfind(" "), typed.rfind(",")) + 1]
    found = {start + name: help for name, help in names.items()}
    only = [word for word in found if word.startswith(typed)]
    if arg.dest == "query" and len(only) == 1:  # the shell must not end the word there
        return {only[0] + sign: found[only[0]] for sign in ("=", "!=", ">=", "<=")}
    return found


GLOBAL_ARGS = (
    Arg("--url", "address of the service; or set VAST_URL"),
    Arg("--raw", "print JSON", bool),
    Arg("--api-key", "API key; ps shows it, VAST_API_KEY is safer"),
    Arg("--retry", "retries of a failed request (default: 3)",
        number("number of retries", least=0, most=1000, whole=True), default=3),
    Arg("--dry-run", "print the first request as a curl command, send nothing", bool),
    Arg("-h --help", "show this help", bool),
)  # fmt: skip
VERSION_ARG = Arg("--version", "print the version", bool)


# The commands by who uses them, in the order of the main help.
GROUPS: dict[str, tuple[Command, ...]] = {
    "Renting": (*OFFER_COMMANDS, *INSTANCE_COMMANDS, *COPYING_COMMANDS, *KEY_COMMANDS),
    "Templates and storage": (*TEMPLATE_COMMANDS, *STORAGE_COMMANDS),
    "Hosting": HOSTING_COMMANDS,
    "Billing": (*BILLING_COMMANDS, *PDF_COMMANDS),
    "Account": ACCOUNT_COMMANDS,
    "Serverless": SERVERLESS_COMMANDS,
    "Program": (
        Command("completion", "print a shell completion script",
            lambda client, args: [SHELLS[args.shell]],
            Arg("shell", "bash or zsh", Choice("shell", *SHELLS)),
            example="completion bash"),
        Command("complete", "print what can follow, for shell completion", complete,
            Arg("words...", "the words up to the cursor"), pass_on=True, hidden=True),
        Command("help", "show help for a command or topic",
            lambda client, args: [help_text(args.command).rstrip("\n")],
            Arg("command*", "a command or topic"), example="help query"),
    ),
}  # fmt: skip
COMMANDS = [command for commands in GROUPS.values() for command in commands]

# What people type that has another name here.
OTHER_NAMES = {
    "exec": "ssh", "show logs": "logs", "show templates": "search templates",
    "set ssh-key": "create ssh-key", "destroy volume": "delete volume",
    "create bid": "change bid", "copy-from": "copy", "copy-put": "copy",
    "search volume": "search volumes", "show offers": "search offers",
    "show instances-v1": "show instances", "show key": "show api-keys",
    "list instances": "show instances", "list offers": "search offers",
    "delete instance": "destroy instance", "remove instance": "destroy instance",
}  # fmt: skip


def plain(name: str) -> str:
    """Return the name of an option or a command with dashes for underscores."""
    return name.replace("_", "-")


COMMAND_BY_NAME = {
    plain(name): command
    for command in COMMANDS
    for name in (command.name, *command.aliases)
}
VERBS = {name.split()[0] for name in COMMAND_BY_NAME}


def option_names(args: Iterable[Arg]) -> dict[str, Arg]:
    """Return the options among arguments, by each of their names."""
    return {plain(flag): arg for arg in args for flag in arg.flags}


def names_option(word: str, options: Mapping[str, Arg]) -> bool:
    """Return whether a word is one of the options."""
    return word.startswith("-") and plain(word.partition("=")[0]) in options


def find_command(words: list[str]) -> tuple[Command | None, list[str], str]:
    """Return the command that words name, the words without its name, and the name as
    typed. None when the words are no more than a verb. Raises UsageError."""
    options = option_names([*GLOBAL_ARGS, VERSION_ARG])
    names: list[str] = []
    others: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word.startswith("-"):
            others.append(word)
            arg = options.get(plain(word.partition("=")[0]))
            if arg is None:
                raise unknown_option(word, options, None)
            if not arg.is_flag and "=" not in word and queue:
                others.append(queue.pop(0))
            continue
        names.append(word)
        name = plain(" ".join(names))
        if name in COMMAND_BY_NAME:
            return COMMAND_BY_NAME[name], [*others, *queue], name
        if len(names) == 2 or name not in VERBS:
            raise unknown_command(names, queue)
    return None, others, plain(" ".join(names))


def unknown_command(names: list[str], others: list[str]) -> UsageError:
    """Return the error for words that name no command, with a suggestion."""
    import difflib

    name = plain(" ".join([*names, *others[: 2 - len(names)]]))
    verb, _, thing = plain(" ".join(names)).partition(" ")
    known = OTHER_NAMES.get(name) or OTHER_NAMES.get(verb)
    objects = [each.name for each in COMMANDS if each.name.startswith(f"{verb} ")]
    if f"{verb} instance" in objects:
        objects = [f"{verb} instance"]
    near: list[str] = []
    if known in COMMAND_BY_NAME:
        near = [known]
    elif thing.isdecimal() and len(objects) == 1:
        near = [f"{objects[0]} {thing}"]
    elif difflib.get_close_matches(verb, VERBS):
        near = difflib.get_close_matches(name, COMMAND_BY_NAME, n=1, cutoff=0.75)
        near += difflib.get_close_matches(verb, COMMAND_BY_NAME, n=1, cutoff=0.75)
    hint = f"; did you mean '{near[0]}'?" if near else f"; see {PROGRAM} help"
    return UsageError(f"unknown command '{' '.join(names)}'{hint}")


def usage_error(msg: str, command: Command | None) -> UsageError:
    """Return a UsageError that says which command and where to read on."""
    if not msg.endswith("?"):
        msg += f"; see {PROGRAM} {command.name + ' ' if command else ''}--help"
    return UsageError(f"{command.name}: {msg}" if command else msg)


def unknown_option(
    word: str, options: Mapping[str, Arg], command: Command | None
) -> UsageError:
    """Return the error for a word that looks like an option and is none."""
    name, _, value = word.partition("=")
    field = name.strip("-").replace("-", "_")
    args = command.args if command else ()
    if plain(name).strip("-") in ("json", "output-json"):
        hint = "; did you mean '--raw'?"
    elif f"-{plain(name)}" in options:
        hint = f"; did you mean '-{plain(name)}'?"
    elif any(arg.dest == "query" and field in arg.suggest for arg in args):
        hint = f"; put it in the query: '{field}={value or 'VALUE'}'"
    else:
        hint = did_you_mean(plain(name), options)
    return usage_error(f"unknown option '{word}'{hint}", command)


class Words:
    """The words after a command, respelt for argparse: options under their long name
    and glued to their value, the other words, and what is passed on as it stands."""

    def __init__(self, command: Command, words: list[str]) -> None:
        self.command = command
        self.options = option_names((*command.args, *GLOBAL_ARGS, VERSION_ARG))
        self.positionals = [arg for arg in command.args if not arg.flags]
        self.glued: list[str] = []
        self.others: list[str] = []
        self.named: dict[str, str] = {}  # positionals that were given as options
        self.rest: list[str] | None = None
        self.queue = words
        while self.queue:
            self.take(self.queue.pop(0))

    def take(self, word: str) -> None:
        """Respell one word, and the value that follows it. Raises UsageError."""
        tail = self.positionals[-1] if self.positionals else None
        verbatim = tail is not None and tail.many == "..."
        if word == "--":
            if verbatim:
                self.rest, self.queue = self.queue, []
            self.others += self.queue
            self.queue = []
        elif word.startswith("-") and word != "-" and self.option(word):
            pass
        elif verbatim and len(self.others) >= len(self.positionals) - 1:
            self.rest, self.queue = [word, *self.queue], []
        elif word.startswith("-") and word != "-" and not self.command.pass_on:
            raise unknown_option(word, self.options, self.command)
        else:
            self.others.append(word)

    def option(self, word: str) -> bool:
        """Take an option and its value, if the word is one of the command's."""
        name, equals, value = word.partition("=")
        arg = self.options.get(plain(name))
        short = re.match("-[^-].", word) and f"-{name}" not in self.options
        if arg is None and short:  # -odph is -o dph, and -qb is -q -b
            arg = self.options.get(word[:2])
            name, equals, value = word[:2], "=", word[2:]
            if arg and arg.is_flag:
                self.queue.insert(0, f"-{value}")
                equals = ""
        if arg is None:
            return False
        if arg.many == "...":
            self.pass_on([value] * bool(equals) + self.queue)
        elif arg.is_flag:
            if equals:
                raise usage_error(f"{name} takes no value", self.command)
            self.glued.append(arg.stands_for or arg.long)
        else:
            if not equals:
                if not self.queue or names_option(self.queue[0], self.options):
                    raise usage_error(f"{name} needs a value", self.command)
                value = self.queue.pop(0)
            if arg.stands_for:
                self.named[arg.stands_for] = value
            else:
                self.glued.append(f"{arg.long}={LITERAL}{value}")
        return True

    def pass_on(self, words: list[str]) -> None:
        """Take what follows `--args`. Whoever adds --dry-run at the end of a line must
        not rent for real."""
        if words[:1] == ["--"]:
            words = words[1:]
        elif any(plain(word.partition("=")[0]) == "--dry-run" for word in words):
            msg = "put --dry-run before --args; to pass it on, write --args --"
            raise usage_error(msg, self.command)
        self.rest, self.queue = words, []

    def parse(self) -> argparse.Namespace:
        """Return the typed arguments. Raises UsageError."""
        for index, positional in enumerate(self.positionals):
            if positional.dest in self.named:
                if len(self.others) < index:
                    missing = self.positionals[len(self.others)].dest
                    raise usage_error(f"{missing} is missing", self.command)
                self.others.insert(index, self.named[positional.dest])
        most = len(self.positionals)
        if any(arg.many in ("+", "*") for arg in self.positionals):
            most = len(self.others)
        if self.others[most:]:
            msg = f"unexpected argument '{self.others[most]}'; example: {PROGRAM}"
            raise usage_error(f"{msg} {self.command.example}", self.command)
        others = [LITERAL + word for word in self.others]
        args = build_parser(self.command).parse_args([*self.glued, *others])
        for arg in self.command.args:
            if arg.many == "...":
                setattr(args, arg.dest, self.rest)
        return args


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """argparse's help, 80 columns wide and the same in every Python."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=80)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Return the names once, then the value: argparse repeats it before 3.13."""
        if not action.option_strings:
            return super()._format_action_invocation(action)
        value = f" {action.metavar}" if action.nargs != 0 else ""
        return ", ".join(action.option_strings) + value


class Parser(argparse.ArgumentParser):
    """argparse's parser, whose errors are ours."""

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError instead of ending the program."""
        message = message.removeprefix("argument ")
        message = re.sub(r"^[^:]*: (?=invalid |the )", "", message)
        raise UsageError(f"{message}; see {self.prog} --help")


def build_parser(command: Command) -> Parser:
    """Return the parser of one command."""
    needed = [f"{arg.long} {arg.metavar}" for arg in command.args if arg.required]
    words = [usage_word(arg) for arg in command.args if not arg.flags]
    start = f"{PROGRAM} {command.name}"
    parser = Parser(
        prog=start,
        usage=wrapped([start, *needed, "[options]", *words]),
        description=f"{command.help[0].upper()}{command.help[1:]}.",
        epilog=f"example:\n  {PROGRAM} {command.example}\n\n{command.notes()}".rstrip(),
        formatter_class=HelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    for arg in command.args:
        arg.add_to(parser)
    common = parser.add_argument_group("global options")
    for arg in GLOBAL_ARGS:
        arg.add_to(common)
    return parser


def wrapped(words: Sequence[str]) -> str:
    """Return the words of a usage line, on several lines if they need them."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) > 70:
            lines.append(" " * 10)
        lines[-1] += f" {word}"
    return "\n".join(lines)


def usage_word(arg: Arg) -> str:
    """Return a positional as a usage line shows it."""
    name = arg.metavar
    if arg.many == "+":
        return f"{name} [{name} ...]"
    several = " ..." if arg.many in ("*", "...") else ""
    return f"[{name}{several}]" if arg.many else name


def command_list() -> str:
    """Return all commands with what they do, by who uses them."""
    lines = []
    for group, commands in GROUPS.items():
        lines.append(f"\n{group}:")
        lines += [f"  {c.name:<28} {c.help}" for c in commands if not c.hidden]
    return "\n".join(lines)


def main_help() -> str:
    """Return the help of the whole program."""
    options = []
    for arg in (*GLOBAL_ARGS, VERSION_ARG):
        names = f"{', '.join(arg.flags)} {'' if arg.is_flag else arg.metavar}"
        options.append(f"  {names:<22}{arg.help}")
    return f"""\
usage: {PROGRAM} COMMAND [options] [arguments]

Rent GPUs on Vast.ai, and rent yours out.

  {PROGRAM} search offers 'num_gpus>=4 dph<2' -o dph
  {PROGRAM} create instance 1234 --image pytorch/pytorch --disk 40 --wait
  {PROGRAM} ssh 5001
{command_list()}

Global options:
{chr(10).join(options)}

More help:
  {PROGRAM} help COMMAND
  {PROGRAM} help TOPIC, one of: {", ".join(TOPICS)}

Exit statuses:
{exit_statuses()}
"""


def exit_statuses() -> str:
    """Return the exit statuses, as the docstring at the top has them."""
    text = __doc__
    if text is None:  # python -OO
        with open(__file__, encoding="utf-8") as file:
            text = file.read().split('"""')[1]
    return text.partition("\n\nExit statuses:\n\n")[2].rstrip()


def columns_help() -> str:
    """Return what the headings of all tables mean."""
    tables: dict[tuple[Column, ...], list[str]] = {}
    for command in COMMANDS:
        if command.columns:
            tables.setdefault(tuple(command.columns), []).append(command.name)
    lines = ["--cols takes headings and --raw's fields; queries and -o headings too."]
    for columns, names in tables.items():
        lines.append(f"\n{', '.join(names)}:")
        lines += [f"  {column.heading:<14}{column.help}" for column in columns]
    return "\n".join(lines)


TOPICS: dict[str, Callable[[], str]] = {
    "exit-codes": exit_statuses,
    "environment": lambda: ENVIRONMENT_HELP,
    "query": fields_help,
    "columns": columns_help,
}


def help_text(words: list[str]) -> str:
    """Return the text that `help` shows for its words. Raises UsageError."""
    name = plain(" ".join(words))
    if not words:
        return main_help()
    if name in TOPICS:
        return TOPICS[name]() + "\n"
    if name in VERBS and name not in COMMAND_BY_NAME:
        return verb_help(name)
    command = COMMAND_BY_NAME.get(name)
    if command is None:
        near = did_you_mean(name, [*COMMAND_BY_NAME, *TOPICS])
        raise UsageError(f"no help for '{name}'{near}")
    return build_parser(command).format_help()


def verb_help(verb: str) -> str:
    """Return the commands of a verb, without their other names."""
    text = f"commands starting with '{verb}':\n"
    for name, command in COMMAND_BY_NAME.items():
        alias = name != command.name and command.name.startswith(f"{verb} ")
        if name.startswith(f"{verb} ") and not alias:
            text += f"  {name:<28} {command.help}\n"
    return text


# --- output ---------------------------------------------------------------------------


class Output:
    """Shows on stdout what a command yields: as it comes, or with `--raw` as one JSON
    document at its end; and remembers the exit status."""

    def __init__(self, env: Environment, raw: bool) -> None:
        self.env, self.raw = env, raw
        self.args: argparse.Namespace | None = None
        self.client: Client | None = None
        self.status = ExitStatus.SUCCESS
        self.documents: list[Result] = []
        self.reveal = False  # whether the command exists to show a credential

    def worsen(self, status: ExitStatus) -> None:
        """Remember a status if it is graver than those before."""
        self.status = max(self.status, status)

    def show(self, shown: Shown) -> None:
        """Show one thing that a command yields."""
        if isinstance(shown, Failed):
            self.fail(shown.error, shown.of)
            if shown.result:
                shown.result.value.update(shown.error.as_json())
            elif self.raw:
                self.documents.append(Result(shown.error.as_json(), of=shown.of))
        elif isinstance(shown, bytes):
            self.write(shown)
        elif isinstance(shown, Table):
            self.table(shown)
        elif isinstance(shown, Result) and self.raw:
            self.documents.append(shown)
        else:
            text = shown.text if isinstance(shown, Result) else shown
            if not self.raw or not self.documents:
                self.write("".join(visible(line) + "\n" for line in text.split("\n")))

    def table(self, table: Table) -> None:
        """Show rows: as a table, as JSON, or only their ids."""
        args = self.args
        assert args is not None
        quiet = getattr(args, "quiet", False)
        keys = Column("", table.key).values(table.rows, 0)
        found = [value for value in keys if value is not None]
        if self.raw and table.several and not quiet:
            self.documents += [Result(row, of=row.get(table.key)) for row in table.rows]
        elif self.raw:
            self.documents.append(Result(found if quiet else table.value))
        elif quiet:
            self.write("".join(cell(number) + "\n" for number in found))
        else:
            columns = table.columns
            if args.cols is not None:
                columns = pick_columns(args.cols, columns, table.rows)
            room = None if args.wide or args.cols else self.env.columns()
            heading = not args.no_header
            text, dropped = table_text(
                table.rows, columns, self.env.now(), heading, room
            )
            self.write(text)
            if dropped and table.rows:
                hidden = f"{dropped} column{'s' * (dropped > 1)} hidden to fit"
                more = "use --wide or --cols to see more"
                self.env.note(f"{hidden} the terminal; {more}")

    def fail(self, error: VastError, of: object = None) -> None:
        """Report an error on stderr, `of` the id that it is about; what has been paid
        is named, and no status may invite a retry."""
        paid = self.client.paid if self.client else ""
        if paid:
            named = paid.partition(":")[0] in str(error)
            msg = str(error) if named else f"{error}; {paid}"
            status = error.status
            error = NotDone(msg, error.slug, error.http)
            if status > ExitStatus.UNREACHABLE:
                error.status = status
        self.worsen(error.status)
        if not str(error):  # Ctrl-C, where that is the way to end a command
            self.env.write_error("")
            return
        if self.raw:
            self.env.write_error(json.dumps(error.as_json(), sort_keys=True) + "\n")
            return
        unnamed = of is not None and str(of) not in str(error)
        self.env.note(f"{of}: {error}" if unnamed else str(error))
        if isinstance(error, QueryError):
            self.env.write_error(f"{caret(error)}\n")

    def finish(self) -> None:
        """Write the JSON document."""
        documents, self.documents = self.documents, []
        if not documents:
            return
        value = documents[0].value
        if documents[0].of is not None:
            value = [{"id": each.of, **each.value} for each in documents]
        if not self.reveal:
            value = without_credentials(value)
        self.write(json_text(value, self.env.on_terminal()) + "\n")

    def write(self, content: str | bytes) -> None:
        """Write to stdout, where a closed pipe is no error.

        What can't be written, as on a full disk, goes to stderr: no id of a rented
        instance is lost."""
        if self.env.rewriting:
            self.env.write_error("")
        stdout = self.env.stdout
        try:
            if stdout is None:
                raise OSError("stdout is closed")
            if isinstance(content, bytes):
                stdout.buffer.write(content)
            else:
                print(content, end="", file=stdout)
            stdout.flush()
        except BrokenPipeError:
            self.env.stdout = discard(stdout)
        except OSError as error:
            self.env.stdout = discard(stdout)
            self.worsen(ExitStatus.REFUSED)
            text = content if isinstance(content, str) else ""
            self.env.note(f"cannot write to stdout: {error.strerror or error}")
            self.env.write_error(text[:2000])


def curl(dry: DryRun, env: Environment) -> str:
    """Return the shell command that sends a request, as it would be sent.

    The key is left to the environment, or to its file when that is where it is.
    """
    from shlex import quote

    call = dry.call
    parts = ["curl", "-sS", "-X", call.method, quote(dry.url)]
    paths = (session_file(env.environ), *key_files(env.environ))
    saved = next(filter(os.path.isfile, paths), "")
    key = "$VAST_API_KEY"
    if saved and not env.environ.get("VAST_API_KEY"):
        inside = saved.removeprefix(f"{home(env.environ)}/")
        key = f"$(cat {'~/' * (inside != saved)}{quote(inside)})"
    parts += ["-H", f'"Authorization: Bearer {key}"']
    if call.body is not None:
        parts += ["-H", "'Content-Type: application/json'"]
        parts += ["-d", quote(json.dumps(masked_body(call)))]
    return " ".join(parts)


def masked_body(call: Call) -> Row:
    """Return a request's body with its secrets masked."""
    body = dict(call.body or {})
    body |= dict.fromkeys(call.secrets & body.keys(), MASK)
    if "env" in body:
        body["env"] = mask_variables(body["env"])
    return body


def run(words: list[str], env: Environment, output: Output) -> None:
    """Run the command that the words name and show what it yields."""
    command, others, name = find_command(words)
    if command is None:
        text = verb_help(name) if name else main_help()
        if "--version" in others:
            return output.write(f"vast.py {__version__}\n")
        if "--help" in others or "-h" in others:
            return output.write(text)
        env.write_error(text)
        return output.worsen(ExitStatus.USAGE)
    respelt = Words(command, others)
    if "--version" in respelt.glued:
        return output.write(f"vast.py {__version__}\n")
    if "--help" in respelt.glued:
        return output.write(help_text([command.name]))
    args = output.args = respelt.parse()
    output.raw, output.reveal = args.raw, command.reveals
    if respelt.rest and not command.pass_on:
        own = [word for word in respelt.rest if names_option(word, respelt.options)]
        if own:
            env.note(f"passed on to the command: {' '.join(own)}")
    client = output.client = Client(args, env)
    try:
        for shown in command.run(client, args):
            output.show(shown)
    except DryRun as dry:
        body = dry.call.body and masked_body(dry.call)
        value = {"method": dry.call.method, "url": dry.url, "body": body}
        output.reveal = True
        output.show(Result(value, curl(dry, env)))


def main(argv: Sequence[str] | None = None, env: Environment | None = None) -> int:
    """Run one command line; return the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    env = env or Environment(sys.stdout, sys.stderr, sys.stdin)
    output = Output(env, raw="--raw" in words)
    try:
        try:
            run(words, env, output)
        finally:
            output.finish()
    except VastError as error:
        output.fail(error)
    except ImportError as error:
        output.fail(missing_package(error))
    except RecursionError:
        output.fail(VastError("the response is nested too deeply", BAD_REPLY))
    except KeyboardInterrupt as cause:
        output.fail(Interrupted("interrupted", cause))
    return int(output.status)


def missing_package(error: ImportError) -> UsageError:
    """Return the error for a package that is missing or broken, with the cure."""
    name = (error.name or "requests").partition(".")[0]
    package = "python-dateutil" if name == "dateutil" else name
    missing = isinstance(error, ModuleNotFoundError)
    what = "is missing" if missing else f"is broken: {error}"
    hint = f"python3 -m pip install {package}"
    return UsageError(f"the Python package {package} {what}; run: {hint}", "package")


def stop(number: int, frame: object) -> NoReturn:
    """Handle a signal to stop; the next one ends the program at once."""
    signal.signal(number, lambda number, frame: os._exit(128 + number))
    raise Signalled(number)


def program() -> NoReturn:
    """Run the command line of this process and end it."""
    global PROGRAM
    folder, name = os.path.split(sys.argv[0])
    PROGRAM = name if folder in os.get_exec_path() else sys.argv[0]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, stop)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # none: it is closed
        if reconfigure:
            reconfigure(errors="backslashreplace")
    sys.exit(main())


if __name__ == "__main__":  # pragma: no cover - in a process of its own
    program()
