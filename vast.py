#!/bin/sh
""":"; exec python3 -c 'import os, sys; __file__ = os.path.realpath(sys.argv[1])
import _signal; callable(_signal.getsignal(2)) and _signal.signal(2, 0); del sys.argv[0]
if sys.version_info < (3, 10): os.write(2, b"vast.py: needs Python 3.10+\n"); exit(2)
sys.path[0] = os.path.dirname(__file__); from importlib import machinery
try: run = machinery.SourceFileLoader(__name__, __file__).get_code(__name__)
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

import signal

if __name__ == "__main__":  # pragma: no cover - in a process of its own
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

# False at run time: importing `typing` would make every start a quarter slower.
TYPE_CHECKING = False
if TYPE_CHECKING:  # pragma: no cover - only mypy reads it
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
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
    """How a command ended; the docstring at the top says when."""

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
    None when there was none; `reply` is the response if it was JSON.
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


# With several ids, the first of these that occurred is the status of the whole.
GRAVEST = (
    ExitStatus.HUNG_UP,
    ExitStatus.TERMINATED,
    ExitStatus.INTERRUPTED,
    ExitStatus.UNKNOWN,
    ExitStatus.UNREACHABLE,
    ExitStatus.NO_KEY,
    ExitStatus.NOT_DONE,
    ExitStatus.USAGE,
    ExitStatus.REFUSED,
    ExitStatus.SUCCESS,
)


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
        # What it is called in queries and sort keys, besides its heading.
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
            values = [
                row.get(other) if value is None else value
                for row, value in zip(rows, values)
            ]
        return values


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
SECRET_NAME = re.compile(
    r"password|passwd|passphrase|(?<![a-z])(api|auth|access|private|secret)?"
    r"(keys?|tokens?|secrets?|pass|pwd|pats?|credentials?|logins?|auth|authorization)"
    r"(?![a-z])",
    re.IGNORECASE,
)
NUMBER = r"(?ai)[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
PASSWORD_URL = re.compile(r"://[^/\s@]*:[^/\s@]+@")


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
    """Return text, cut to so many columns with "…" at its end if it is wider."""
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
    text = format_number(value, format, scale) if format else None
    if text is not None:
        return text
    if value is None:
        return "-"
    if not isinstance(value, str):
        shown = without_credentials(value)
        value = json.dumps(shown, ensure_ascii=False, sort_keys=True)
    text = visible(value.strip(" ")) or "-"
    return text if last else text.replace(" ", "_")


def cells(column: Column, values: list[Any], last: bool) -> list[str]:
    """Return a column's values as cells. Plain numbers are formatted in one go, which
    saves 6 % of the time of 10,000 offers."""
    format, scale = column.format, column.scale
    if format and set(map(type, values)) <= {float, int, type(None)}:
        try:
            return [
                "-" if value is None else format % (value * scale) for value in values
            ]
        except (OverflowError, ValueError):
            pass
    return [cell(value, format, scale, last) for value in values]


def fit(
    columns: Sequence[Column], texts: list[list[str]], room: int
) -> tuple[list[int], list[int]]:
    """Return which columns fit into so many columns of a terminal, and their widths.

    Columns that are not essential go first, from right to left; then the last column
    of text is cut.
    """
    widths = [max(map(width, text), default=0) for text in texts]
    kept = list(range(len(columns)))
    for index in reversed(range(len(columns))):
        if sum(widths[i] + 2 for i in kept) - 2 <= room:
            break
        if not columns[index].essential:
            kept.remove(index)
    over = sum(widths[i] + 2 for i in kept) - 2 - room
    flexible = [i for i in kept if not columns[i].format]
    if over > 0 and flexible:
        widths[flexible[-1]] = max(widths[flexible[-1]] - over, 8)
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
        [column.heading] * heading
        + cells(column, column.values(rows, now), column is columns[-1])
        for column in columns
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
            raise UsageError(
                f"unknown column '{name}'{hint}; known: {' '.join(sorted(known))}"
            )
        picked.append(column)
    return picked


def bar(share: float, columns: int = 20) -> str:
    """Return a bar of block characters for a share from 0 to 1."""
    eighths = round(min(max(share, 0), 1) * columns * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def is_secret_variable(name: object, value: object) -> bool:
    """Return whether a variable's value may let others in, by its name or itself."""
    if not isinstance(name, str):
        return False
    words = re.sub("(?<=[a-z])(?=[A-Z])", " ", name)
    return bool(
        SECRET_NAME.search(words)
        or (isinstance(value, str) and PASSWORD_URL.search(value))
    )


def mask_variables(variables: object) -> object:
    """Return environment variables, an object or pairs, with secret values masked."""
    if isinstance(variables, dict):
        return {
            name: MASK if is_secret_variable(name, value) else value
            for name, value in variables.items()
        }
    if isinstance(variables, list):
        return [
            [pair[0], MASK]
            if isinstance(pair, list) and len(pair) == 2 and is_secret_variable(*pair)
            else pair
            for pair in variables
        ]
    return variables


def without_credentials(value: Any) -> Any:
    """Return a decoded value without what lets others in; the given one stays as it is.

    Credentials are left out; of environment variables, only the values are masked.
    """
    if type(value) is dict:
        if not value.keys().isdisjoint(CREDENTIALS):
            value = {k: inner for k, inner in value.items() if k not in CREDENTIALS}
        nested = {
            k: without_credentials(mask_variables(inner) if k in VARIABLES else inner)
            for k, inner in value.items()
            if type(inner) in NESTED
        }
        return value | nested if nested else value
    if type(value) is list:
        return [without_credentials(item) for item in value]
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
  VAST_API_KEY     the API key; --api-key overrides it, it overrides the key file
  VAST_URL         the address of the service; --url overrides it
                   ({SERVICE})
  HOME             the key file is ~/.vast_api_key
  XDG_CONFIG_HOME  without a key file of our own, that of the vendor's client is read:
                   ~/.config/vastai/vast_api_key
  COLUMNS          the width of tables on a terminal
  HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE
                   as in other programs"""

# Suffixes that a number may have, by the unit in which it is read.
SUFFIXES: dict[str, dict[str, float]] = {
    "0..1": {"%": 0.01},
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
        value = as_number(text.removesuffix(suffix))
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
        raise invalid("JSON object", text, 'must be such as \'{"NAME": "VALUE"}\'')
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


def start_date(text: str) -> int:
    """Parse a date, from its first second on, as unix seconds."""
    return parse_date(text)


def end_date(text: str) -> int:
    """Parse a date, up to its last second, as unix seconds."""
    return parse_date(text, last=True)


def format_time(seconds: object, format: str = "%Y-%m-%d %H:%M:%S %Z") -> str | None:
    """Return unix seconds as a date in the local zone, None if they are not a date."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return None
    try:
        return time.strftime(format, time.localtime(seconds))
    except (ValueError, OverflowError, OSError):
        return None


def at(field: str, format: str = "%Y-%m-%d_%H:%M") -> Callable[[Row, float], object]:
    """Return a column's source: a field of unix seconds as a local date."""
    return lambda row, now: format_time(row.get(field), format) or row.get(field)


class Environment:
    """What a run touches outside itself: variables, clock and streams, handed in so
    that tests need not wait. `now` and `monotonic` give seconds.

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
    ) -> None:
        self.stdout, self.stderr, self.stdin = stdout, stderr, stdin
        self.environ = environ
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
        """Write on stderr, in place of a progress line."""
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

    def can_ask(self) -> bool:
        """Return whether somebody sits at the terminal."""
        return bool(self.stdin and self.stdin.isatty())

    def prompt(self, question: str, secret: bool = False) -> str:
        """Ask on the terminal, wherever stdout and stderr go; return the answer."""
        if secret:
            from getpass import getpass

            self.write_error("")
            return getpass(visible(question))
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
            return self.stdin.readline().strip("\r\n") if self.stdin else ""
        except ValueError:
            raise UsageError("stdin is not UTF-8 text") from None

    def confirm(
        self, question: str, expected: str = "", required: bool = False
    ) -> None:
        """Ask whether to go ahead; without a terminal that is a yes, unless `required`.

        `expected` has to be typed in full in place of a yes. Raises NotDone.
        """
        if not self.can_ask():
            if required:
                raise UsageError("without a terminal to confirm on, this needs -y")
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
    raise NoKey(
        f"no API key; get one at {KEYS_PAGE} and save it with: {PROGRAM} set api-key"
    )


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


def write_file(path: str, content: bytes, mode: int = 0o666) -> None:
    """Write a file under a temporary name beside it, then move it into place: a full
    disk loses nothing, and a symlink planted there is replaced, not followed.

    `mode` is that of the file, less the umask. Raises UsageError.
    """
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, path)
        finally:
            if os.path.lexists(temporary):
                os.unlink(temporary)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", "file") from None


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
        raise UsageError(f"{question.rstrip(': ').lower()} is empty")
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
    no_such_machine nonexistent_key""".split()
)


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
        needs_key: bool = True,
    ) -> None:
        self.method, self.path, self.body, self.params = method, path, body, params
        self.read, self.once = read or method == "GET", once
        self.doubt, self.proof, self.exact = doubt, proof, exact
        self.secrets, self.serverless = frozenset(secrets), serverless
        self.needs_key = needs_key

    def endpoint(self) -> str:
        """Return what a rate limit counts: the method, and the path without its ids."""
        return self.method + re.sub(r"/\d+", "/N", self.path)

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
            msg = redact(innermost(error))
            raise UsageError(f"invalid address or proxy: {msg}")
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
            raise DryRun(call, self.url(call))
        if call.needs_key:
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
                if call.method == "DELETE" and refusal.slug in GONE:
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
            slug, msg = self.error_parts(body)
            if slug in ("tfa_locked", "recently_invited"):
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
            others = [key for key in call.proof.split("|") if key != "success"]
            proven = reply.get("success") is True or not call.proof
            if call.read or proven or any(reply.get(key) is not None for key in others):
                return reply
            raise Failure(BAD_REPLY, "the response does not say success", status)
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
        body, headers = None, {}
        if call.body is not None or not call.read:  # it notices when a change is sent
            body = Body(json.dumps(call.body or {}).encode())
            headers["Content-Type"] = "application/json"
        request = {
            "method": call.method,
            "url": base + call.path,
            "params": call.params,
            "headers": headers,
        }
        return Transfer(self.http, request, body).finish(self.env.monotonic)

    def fetch(self, url: str) -> tuple[int, str]:
        """Return status and text of a file that the service made, which lies on another
        host: no key is sent there, and nothing but https. Raises VastError, Failure."""
        own = self.base(Call("GET", "/"))
        local = own.startswith("http:") and url.startswith(own + "/")
        if not url.startswith("https://") and not local:
            msg = "the result lies at an address that is not https"
            raise VastError(msg, BAD_REPLY)
        http = http_session(url)
        http.auth = lambda request: request  # otherwise ~/.netrc would be asked
        request = {"method": "GET", "url": url}
        response, body = Transfer(http, request, None).finish(self.env.monotonic)
        return response.status_code, body.decode("utf-8", "replace")

    def authorize(self, request: PreparedRequest) -> PreparedRequest:
        """Put the key into a request's header."""
        if self.key:
            request.headers["Authorization"] = f"Bearer {self.key}"
        return request

    def error_parts(self, body: bytearray) -> tuple[str, str]:
        """Return the slug and the message of an error's body, whatever it looks like.

        The service may repeat the key: it is redacted before anything is cut.
        """
        text = redact(body.decode("utf-8", "replace"), self.key)
        try:
            reply = json.loads(text)
        except (ValueError, RecursionError):
            reply = None
        if isinstance(reply, str) and reply:
            return "", redact(reply, self.key)[:200]
        if not isinstance(reply, dict):
            return "", " ".join(re.sub("<[^>]*>", " ", text[:2000]).split())[:200]
        parts = (reply.get(key) for key in ("msg", "message", "detail", "error"))
        slug = str(reply.get("error") or "")
        msg = next((str(part) for part in parts if part), "no reason given")
        if slug and re.fullmatch(r"\w+", slug):
            msg = msg.removeprefix(f"{slug}:").strip() or msg
        msg = re.sub(r"^no_such_ask:?\s*", "", msg) or msg
        return redact(slug, self.key), redact(msg, self.key)

    def refusal(self, body: bytearray, status: int) -> VastError:
        """Return the error for a refusal, in the service's own words."""
        slug, msg = self.error_parts(body)
        msg = msg or f"the service refused (HTTP {status})"
        login = re.search("requires login|log in again|invalid user key", msg, re.I)
        if slug == "auth_error" or status == 401 or login:
            hint = f"get a key at {KEYS_PAGE} and save it with: {PROGRAM} set api-key"
            return NoKey(f"{msg} ({hint})", http=status)
        error = VastError(msg, slug, status)
        try:
            error.reply = json.loads(body)
        except (ValueError, RecursionError):
            pass
        return error

    def url(self, call: Call) -> str:
        """Return a call's whole URL."""
        from urllib.parse import urlencode

        query = "?" + urlencode(call.params) if call.params else ""
        return self.base(call) + call.path + query

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
    import gc

    gc.disable()  # rows make no cycles: saves a tenth of the time of 10,000 offers
    try:
        parse_float = Exact if exact else None
        return json.loads(
            body.decode(), parse_constant=no_number, parse_float=parse_float
        )
    finally:
        if len(body) > 1 << 20:  # otherwise there is little to walk over
            gc.freeze()
        gc.enable()


def no_number(text: str) -> NoReturn:
    """Refuse NaN and Infinity, which are not JSON."""
    raise ValueError(text)


def rows_of(reply: object, keys: str) -> list[Row]:
    """Return the rows of a response: under the first of the keys ("a|b") that it has,
    "" for a bare array. Null is none; a single object is one. Raises VastError."""
    for key in keys.split("|"):
        if isinstance(reply, list) and not key:
            rows: Any = reply
        elif isinstance(reply, dict) and key in reply:
            rows = reply[key]
        else:
            continue
        if rows is None:
            return []
        if isinstance(rows, dict):
            return [rows]
        if isinstance(rows, list) and set(map(type, rows)) <= {dict}:
            return rows
    what = keys.split("|")[0] or "rows"
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
    `stands_for` another, or for a positional, is replaced by that.
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
    ) -> None:
        self.many = next((m for m in ("...", "+", "*", "?") if names.endswith(m)), "")
        words = names.removesuffix(self.many).split()
        self.flags = [word for word in words if word.startswith("-")]
        self.long = next((flag for flag in words if flag.startswith("--")), words[-1])
        self.dest = self.long.strip("-").replace("-", "_")
        self.help, self.type, self.default = help, type, default
        self.wire = self.dest if wire is None else wire
        self.say, self.secret, self.stands_for = say, secret, stands_for
        self.required, self.append = required, append
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
    Arg("--cols", "only these columns, by heading or field: a,b,c", wire=""),
    Arg("--wide", "all columns, even if they do not fit the terminal", bool, wire=""),
    Arg("--no-header", "omit the header row", bool, wire=""),
)
LISTING_ARGS = (
    Arg("-q --quiet", "only the ids, one a line", bool, wire=""),
    *TABLE_ARGS,
)
YES_ARG = Arg("-y --yes", "do not ask", bool, wire="")
WAIT_ARGS = (
    Arg("--wait", "wait until it is done", bool, wire=""),
    Arg(
        "--timeout",
        "wait at most this many seconds (600)",
        number("time", "seconds", 0),
        default=600.0,
        wire="",
    ),
)
SCHEDULE_ARGS = (
    Arg(
        "--schedule",
        "do it HOURLY, DAILY or WEEKLY from now on, and not now",
        Choice("schedule", "HOURLY", "DAILY", "WEEKLY"),
        wire="",
    ),
    Arg(
        "--start_date",
        "first day of a schedule, UTC (today)",
        lambda text: parse_date(text, utc=True),
        wire="",
    ),
    Arg(
        "--end_date",
        "end of a schedule, UTC (after 7 days)",
        lambda text: parse_date(text, last=True, utc=True),
        wire="",
    ),
    Arg("--day", "day of a WEEKLY schedule: 0 (Sunday, the default) to 6", wire=""),
    Arg("--hour", "hour of a DAILY or WEEKLY schedule: 0 (default) to 23", wire=""),
)


class Values(dict):  # type: ignore[type-arg] # typing is not imported
    """The values that fill a template; what is missing shows as "-"."""

    def __missing__(self, name: str) -> str:
        return "-"


def fill_path(template: str, values: Mapping[str, Any]) -> str:
    """Return a path with its {names} replaced by escaped values."""
    from urllib.parse import quote

    return re.sub(
        r"\{(\w+)\}", lambda name: quote(str(values[name[1]]), safe=""), template
    )


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

    def __call__(self, client: Client, args: argparse.Namespace) -> Iterator[Shown]:
        """Do it, and yield what is to be shown."""
        raise NotImplementedError


class Listing(Kind):
    """A kind of command: fetches rows and shows columns of them.

    `request` is a GET ("GET /api/v0/ssh/{id}/"): declared arguments that the path does
    not name are its query. If the path names an `id` that takes several, there is one
    request for each. `rows` is the key that the rows stand under, see `rows_of`.
    `pages` is how many rows a page has at most, 0 for a list in one piece. `empty_on`
    are statuses that mean "none". `fetch` takes the place of a request. `where` filters
    the rows by a query. `after` adds notes. `key` is the field that `-q` prints.
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
            query = Arg("query*", "comparisons, as in: label=exp1 num_gpus>=2", wire="")
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
            return rows_of(client.send(call), self.rows)
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
        numbers = list(dict.fromkeys(args.id))
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
    question to ask first, or a function that returns one; `typed`: what must be typed
    to confirm; `required`: without a terminal -y is needed. `goal` waits until the
    change is complete. `schedule`: it can be put off to a schedule. `prepare` checks
    and completes the arguments before anything is sent. `note` is said at the end.
    `proof`: see Call.
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
        prepare: Callable[[Client, argparse.Namespace], None] | None = None,
        note: str = "",
        proof: str = "success",
        serverless: bool = False,
    ) -> None:
        self.method, _, self.path = request.partition(" ")
        self.done, self.body, self.once = done, body or {}, once
        self.subject = done.partition(":")[0]
        self.doubt = doubt or f"{self.subject} may or may not have been changed"
        self.look, self.ask, self.typed, self.required = look, ask, typed, required
        self.goal, self.schedule, self.prepare = goal, schedule, prepare
        self.note, self.proof, self.serverless = note, proof, serverless
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

    def confirm(self, client: Client, args: argparse.Namespace) -> None:
        """Ask before harm is done. Raises NotDone."""
        if not self.ask or args.yes or client.dry_run:
            return
        if not client.env.can_ask() and not self.required:
            return
        values = Values(vars(args), which=which(self.subject, args))
        question = self.ask if isinstance(self.ask, str) else self.ask(client, args)
        client.env.confirm(
            question.format_map(values) if self.ask is question else question,
            self.typed.format_map(values),
            self.required,
        )

    def __call__(self, client: Client, args: argparse.Namespace) -> Iterator[Shown]:
        if self.prepare:
            self.prepare(client, args)
        scheduled = bool(self.schedule and check_schedule(args))
        if not scheduled:
            self.confirm(client, args)
        done: list[Result] = []
        for shown in self.one_by_one(client, args, scheduled):
            if isinstance(shown, Result):
                done.append(shown)
            yield shown
        if done and self.note and not scheduled:
            client.env.note(self.note)
        if self.goal and args.wait and not scheduled:
            yield from self.wait(client, args, done)

    def one_by_one(
        self, client: Client, args: argparse.Namespace, scheduled: bool
    ) -> Iterator[Shown]:
        """Send the change for each id; what stops one need not stop the others."""
        typed = getattr(args, "id", None)
        numbers = list(dict.fromkeys(typed)) if isinstance(typed, list) else [typed]
        several = len(numbers) > 1
        for index, number in enumerate(numbers):
            args.id = number
            if several:
                subject = self.subject.format_map(Values(vars(args)))
                client.env.progress(f"{index + 1} of {len(numbers)}: {subject}")
            try:
                result = self.send(client, args, scheduled)
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

    def send(self, client: Client, args: argparse.Namespace, scheduled: bool) -> Result:
        """Send the change, or schedule it. Raises VastError."""
        call = self.call(args)
        if scheduled:
            return schedule_job(client, args, call, args.id)
        reply = client.send(call)
        values = Values(vars(args), reply=Values(reply))
        values["said"] = spoken(self.declared, args)
        text = self.done.format_map(values)
        if self.once:
            client.paid = text
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


def which(subject: str, args: argparse.Namespace) -> str:
    """Return what a question is about: "instance 5001", "instances 5001 5002"."""
    typed = getattr(args, "id", None)
    numbers = list(dict.fromkeys(typed)) if isinstance(typed, list) else [typed]
    values = Values(vars(args), id=" ".join(map(str, numbers)))
    plural = subject.replace(" {id}", "s {id}", 1) if len(numbers) > 1 else subject
    return plural.format_map(values)


def check_schedule(args: argparse.Namespace) -> str | None:
    """Return the frequency if a schedule was asked for. Raises UsageError."""
    frequency: str | None = args.schedule
    named = [name for name in ("start_date", "end_date", "day", "hour")
             if getattr(args, name) is not None]  # fmt: skip
    if frequency is None:
        if named:
            raise UsageError(f"--{named[0]} needs --schedule")
        return None
    if frequency == "HOURLY":
        args.day, args.hour = args.day or "*", args.hour or "*"
    if frequency == "DAILY":
        args.day = args.day or "*"
    args.day = schedule_part("day", args.day, 6)
    args.hour = schedule_part("hour", args.hour, 23)
    fixed = {"HOURLY": (None, None), "DAILY": (None, 0), "WEEKLY": (0, 0)}[frequency]
    for name, value, needed in zip(("day", "hour"), (args.day, args.hour), fixed):
        if (value is None) != (needed is None):
            rule = "takes no" if needed is None else "needs a fixed"
            raise UsageError(f"a {frequency} schedule {rule} --{name}")
    return frequency


def schedule_part(name: str, text: str | None, most: int) -> int | None:
    """Return the day or hour of a schedule, None for any. Raises UsageError."""
    if text == "*":
        return None
    value = as_int(text or "0")
    if value is None or not 0 <= value <= most:
        raise UsageError(f"invalid {name} '{text}': must be from 0 to {most}, or *")
    return value


def schedule_job(
    client: Client, args: argparse.Namespace, call: Call, instance: object
) -> Result:
    """Have the service send a call on a schedule, from its own machines.

    A job that exists for the same call (422) is replaced, after a question.
    """
    day = 86400
    start = args.start_date
    if start is None:
        start = int(client.env.now()) // day * day
    end = args.end_date if args.end_date is not None else start + 7 * day
    if start >= end:
        raise UsageError("the schedule ends before it starts")
    job = {
        "start_time": start,
        "end_time": end,
        "api_endpoint": call.path,
        "request_method": call.method,
        "request_body": {**(call.body or {}), "instance_id": instance},
        "day_of_the_week": args.day,
        "hour_of_the_day": args.hour,
        "frequency": args.schedule,
        "instance_id": instance,
    }
    doubt = f"the job may or may not exist; run `{PROGRAM} show scheduled-jobs` to see"
    path = "/api/v0/commands/schedule_job/"
    proof = "success|scheduled_job_id"
    try:
        reply = client.send(Call("POST", path, job, doubt=doubt, proof=proof))
    except VastError as error:
        known = error.reply.get("scheduled_job_id") if error.http == 422 and isinstance(
            error.reply, dict) else None  # fmt: skip
        if not isinstance(known, int):
            raise
        if not args.yes:
            client.env.confirm(f"replace scheduled job {known}?")
        path += f"{known}/"
        reply = client.send(Call("PUT", path, job, doubt=doubt, proof=proof))
        reply.setdefault("scheduled_job_id", known)
    when = describe_schedule(args.schedule, args.day, args.hour)
    until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(end))
    number = reply.get("scheduled_job_id", "-")
    done = f"instance {instance}: scheduled as job {number}, {when}, until {until}"
    return Result(reply, done)


DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split()


def describe_schedule(frequency: str, day: object, hour: object) -> str:
    """Return a schedule in words; its times are UTC."""
    words = str(frequency).lower()
    if isinstance(day, int) and 0 <= day < 7:
        words += f" on {DAYS[day]}"
    return words + (f" at {hour:02d}:00 UTC" if isinstance(hour, int) else "")


if TYPE_CHECKING:  # pragma: no cover - only mypy reads it
    Handler = Callable[[Client, argparse.Namespace], Iterable[Shown]]


class Command:
    """A command: everything that is particular to it.

    `run` is a kind of command, or a function of the client and the arguments that
    yields what is to be shown. `notes` returns more text for the end of its help.
    `pass_on`: words that look like options but are not the command's own are
    positional words. `reveals`: it exists to show a credential. `hidden`: it stands in
    no list of commands.
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
    ) -> None:
        self.name, self.help, self.run, self.own = name, help, run, args
        self.example, self.aliases, self.notes = example or name, aliases, notes
        self.pass_on, self.reveals, self.hidden = pass_on, reveals, hidden
        self.args = args
        if isinstance(run, Kind):
            self.args = (*args, *run.extra_args)
            run.name, run.declared = name, self.args


# --- offers ---------------------------------------------------------------------------

# The comparisons that a field can be in, by its kind.
EQUALITY, MEMBERSHIP = ("eq", "neq"), ("in", "notin")
ORDERED = (*EQUALITY, *MEMBERSHIP, "gt", "gte", "lt", "lte")
OPERATORS_OF = {
    "bool": EQUALITY,
    "text": (*EQUALITY, *MEMBERSHIP),
    "country": (*EQUALITY, *MEMBERSHIP),
    "int": ORDERED,
    "float": ORDERED,
    "version": ORDERED,
}


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
    Field("compute_cap", "int", "", "CUDA compute capability times 100: 750 is 7.5"),
    Field("cpu_arch", "text", "", "amd64 or arm64"),
    Field("cpu_cores", "int", "", "virtual CPUs of the machine"),
    Field("cpu_cores_effective", "float", "", "virtual CPUs that you get"),
    Field("cpu_ghz", "float", "GHz", "CPU clock rate"),
    Field("cpu_ram", "float", "GB", "main memory", "", 1000, 16000),
    Field("cuda_vers", "float", "", "highest CUDA version", "cuda_max_good"),
    Field("datacenter", "bool", "", "in a data center"),
    Field("direct_port_count", "int", "", "open ports of the machine"),
    Field("disk_bw", "float", "MB/s", "disk bandwidth"),
    Field("disk_space", "float", "GB", "disk space for rent"),
    Field("display_active", "bool", "", "has a display attached", "gpu_display_active"),
    Field("dlperf", "float", "", "deep learning performance score"),
    Field("dlperf_usd", "float", "per $/h", "that score by price",
          "dlperf_per_dphtotal"),
    Field("dph", "float", "$/h", "price of the whole offer", "dph_total"),
    Field("driver_version", "version", "", "NVIDIA driver, such as 535.86.05"),
    Field("duration", "float", "days", "longest rental", "", 86400),
    Field("external", "bool", "", "from another market (default: false)"),
    Field("flops_usd", "float", "TFLOPS/$/h", "speed by price", "flops_per_dphtotal"),
    Field("geolocation", "country", "", "country, two letters"),
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
    Field("min_bid", "float", "$/h", "lowest bid for an interruptible instance"),
    Field("mobo_name", "text", "", "mainboard model"),
    Field("num_gpus", "int", "", "number of GPUs"),
    Field("os_version", "float", "", "version of the machine's system"),
    Field("pci_gen", "float", "", "PCI Express generation"),
    Field("pcie_bw", "float", "GB/s", "bandwidth between CPU and GPU"),
    Field("reliability", "float", "0..1", "share of time that it is up", "", 1, 1),
    Field("rentable", "bool", "", "can be rented now (default: true)"),
    Field("rented", "bool", "", "you already rent on this machine"),
    Field("static_ip", "bool", "", "its IP address does not change"),
    Field("storage_cost", "float", "$/GB/month", "price of disk space"),
    Field("total_flops", "float", "TFLOPS", "speed of all GPUs"),
    Field("ubuntu_version", "float", "", "Ubuntu version"),
    Field("verification", "text", "", "verified, unverified or deverified"),
    Field("verified", "bool", "", "checked by Vast.ai (default: true)"),
    Field("vms_enabled", "bool", "", "offers virtual machines"),
)  # fmt: skip

# Numbers and texts of an offer that can be sorted by, but not searched by.
ROW_FIELDS = """score dph_base dph_total_adj discounted_dph_total discount_rate
    credit_discount_max disk_name cpu_name driver_vers start_date end_date gpu_lanes
    geolocode storage_total_cost vram_costperhour internet_up_cost_per_tb
    internet_down_cost_per_tb avail_vol_size avail_vol_dph reliability_mult""".split()

# What is searched for unless the query names the same field.
DEFAULT_FILTERS: dict[str, dict[str, Any]] = {
    "verified": {"eq": True},
    "external": {"eq": False},
    "rentable": {"eq": True},
}


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
        field = known.get(column.field)
        if field and column.heading not in known:
            factor = field.factor if column.scale == 1 else round(1 / column.scale, 9)
            known[column.heading] = Field(
                column.heading, field.kind, "", field.help, field.wire, factor
            )
    return known


WORD_OPERATORS = {
    name: name for name in ("eq", "neq", "gt", "gte", "lt", "lte", "in", "notin")
} | {"nin": "notin"}
OPERATORS = WORD_OPERATORS | {
    "=": "eq", "==": "eq", "!=": "neq",
    ">": "gt", ">=": "gte", "<": "lt", "<=": "lte",
}  # fmt: skip

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
                raise self.error(f"this {what} is never closed", token)
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
        field = self.fields.get(token.text) or self.fields.get(
            token.text.replace("-", "_")
        )
        if field:
            return field
        name = re.match(r"\w*", token.text)
        if name and self.fields.get(name[0]) and name[0] != token.text:
            hint = f"{name[0]}={token.text[name.end() + 1 :] or 'VALUE'}"
            raise self.error(f"'{token.text}' has no operator; write {hint}", token)
        hint = did_you_mean(token.text.lower(), self.fields)
        raise self.error(f"unknown field '{token.text}'{hint}", token)

    def operator(self, field: Field, index: int) -> Token:
        """Return the operator after the field at `index`. Raises QueryError."""
        name = self.tokens[index]
        if not self.operator_at(index + 1):
            raise self.error(
                f"'{name.text}' has no operator; if it had < or >, quote the query:"
                " the shell takes them for a redirection",
                name,
            )
        token = self.tokens[index + 1]
        operator = OPERATORS.get(re.sub(r"\s", "", token.text))
        if not operator:
            turned = token.text[::-1]
            hint = f"; did you mean '{turned}'?" if turned in OPERATORS else ""
            raise self.error(f"unknown operator '{token.text}'{hint}", token)
        if operator not in OPERATORS_OF[field.kind]:
            allowed = [sign for sign, name in OPERATORS.items()
                       if name in OPERATORS_OF[field.kind]
                       and (not sign.isalpha() or sign in MEMBERSHIP)]  # fmt: skip
            kind = "text" if field.kind == "country" else field.kind
            raise self.error(
                f"'{field.name}' is a {kind} field, which takes {' '.join(allowed)}",
                token,
            )
        return Token(operator, token.text, token.start, token.end)

    def compare(self, field: Field, operator: Token, values: list[Token]) -> None:
        """Add one comparison. Raises QueryError."""
        first, last = values[0], values[-1]
        text = self.text[first.start : last.end]
        words = " ".join(token.text for token in values)
        if first.kind == "word" and words.lower() == "any":
            if operator.kind != "eq":
                raise self.error("'any' is only for =", operator, last)
            self.filters.pop(field.wire, None)
            self.cleared.add(field.wire)
            return
        if first.kind == "operator":
            raise self.error(f"'{text}' is not a value", first)
        if len(values) > 1 and field.kind not in ("text", "country"):
            raise self.error(
                f"'{field.name}' takes one value; expected a comparison",
                values[1],
                last,
            )
        token = Token(first.kind, words, first.start, last.end)
        self.add(field, operator, self.value(field, operator, token), last)

    def add(self, field: Field, operator: Token, value: object, last: Token) -> None:
        """Add a comparison; another with the same operator must not differ."""
        tests = self.filters.setdefault(field.wire, {})
        if tests.get(operator.kind, value) != value:
            hint = {"eq": "; use in [A,B]", "neq": "; use notin [A,B]"}
            raise self.error(
                f"'{field.name} {operator.text}' is given twice"
                + hint.get(operator.kind, ""),
                operator,
                last,
            )
        tests[operator.kind] = value

    def value(self, field: Field, operator: Token, token: Token) -> object:
        """Return the value of a token, as the service takes it. Raises QueryError."""
        if operator.kind in MEMBERSHIP:
            if token.kind != "list":
                raise self.error(
                    f"'{operator.text}' needs a list, such as [{token.text}]", token
                )
            return self.elements(field, token)
        if token.kind == "list":
            raise self.error("a list needs in or notin", operator, token)
        if token.kind == "word" and token.text.lower() in ("none", "null"):
            if operator.kind not in EQUALITY:
                raise self.error(f"'{token.text}' is only for = and !=", token)
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
                raise self.error("quote the whole element, or nothing of it", element)
            values.append(self.scalar(field, element))
        return values

    def scalar(self, field: Field, token: Token) -> object:
        """Return a single value of the field's kind. Raises QueryError."""
        text = token.text[1:-1] if token.kind == "quoted" else token.text
        is_text = field.kind in ("text", "country")
        if is_text and (token.kind == "word" or field.wire == "gpu_name"):
            text = text.replace("_", " ").strip()
        if not text.strip():
            token.end = max(token.end, token.start + 1)
            raise self.error(f"this value of '{field.name}' is empty", token)
        if field.kind == "country":
            return self.country(field, text)
        if field.kind == "text":
            return text
        convert = CONVERT[field.kind]
        value = convert(text.strip(), field.unit)
        if value is None or abs(value * field.factor) == float("inf"):
            raise self.error(
                f"'{field.name}' is compared with {VALUES[field.kind]}, not '{text}'",
                token,
            )
        if field.kind in ("bool", "version"):
            return value
        if value > field.most:
            self.suspicious(field, value)
        scaled = value * field.factor
        return round(scaled) if field.factor > 1 else round(scaled, 12)

    def country(self, field: Field, text: str) -> str:
        """Return a country: two letters in upper case, anything else as typed."""
        if re.fullmatch("[A-Za-z]{2}", text):
            return text.upper()
        code = "a country code of two letters, such as US or DE"
        self.notes.append(f"{field.name} is {code}: '{text}' may match nothing")
        return text

    def suspicious(self, field: Field, value: float) -> None:
        """Note that a value is in another unit by mistake."""
        if field.unit == "0..1":
            unit, rule, guess = "", "is from 0 to 1", value / 100
        else:
            unit, rule, guess = f" {field.unit}", f"is in {field.unit}", value / 1000
        self.notes.append(
            f"{field.name} {rule}: no machine has {value:g}{unit}"
            f" (did you mean {guess:g}?)"
        )


def as_version(text: str) -> int | None:
    """Return a driver's version, three digits a part: 535.86.05 is 535086005."""
    if re.fullmatch("[0-9]{9}", text):
        return int(text)
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}", text):
        return None
    parts = [*text.split("."), "0", "0"][:3]
    return int("".join(part.zfill(3) for part in parts))


CONVERT: dict[str, Callable[[str, str], float | None]] = {
    "bool": lambda text, unit: BOOLEANS.get(text.lower()),
    "int": lambda text, unit: as_int(text),
    "float": parse_quantity,
    "version": lambda text, unit: as_version(text),
}
VALUES = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "version": "a version such as 535.86.05",
}

GRAMMAR = """\
query:       comparisons, all of which must hold: num_gpus>=4 dph<2
comparison:  FIELD OPERATOR VALUE
operators:   = != < <= > >= in notin (or: == eq neq lt lte gt gte nin 'not in')
value:       a word, a quoted text, or a [list] after in and notin;
             _ stands for a space: gpu_name=RTX_4090 or gpu_name="RTX 4090"
units:       the field's own; 98%, 24GB, 30d and $0.5 are understood
any:         FIELD=any lifts a default filter (verified=true external=false
             rentable=true; -n lifts all three)
Quote the query: the shell takes a bare < or > for a redirection."""


def parse_query(
    text: str,
    defaults: Mapping[str, dict[str, Any]],
    fields: Mapping[str, Field] | None = None,
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the filters of a query as the service takes them, and notes about it.

        query      = { comparison }         spaces, commas and newlines between them
        comparison = field operator value
        value      = quoted | "[" element { "," element } "]" | word { word }

    Units become the service's (GB to MB, days to seconds). A default counts unless
    the query names its field. Raises QueryError, which knows the position.
    """
    query = Query(text, fields or named_fields(FIELDS, OFFER_COLUMNS))
    query.parse()
    named = query.cleared | query.filters.keys()
    kept = {wire: test for wire, test in defaults.items() if wire not in named}
    return {**kept, **query.filters}, query.notes


def parse_order(
    text: str, fields: Mapping[str, Field] | None = None
) -> list[list[str]]:
    """Return sort keys as the service takes them: "dph, num_gpus-" is
    [["dph_total", "asc"], ["num_gpus", "desc"]]. Raises QueryError."""
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
        if not field and match["name"] not in ROW_FIELDS:
            hint = did_you_mean(match["name"], [*fields, *ROW_FIELDS])
            msg = f"unknown sort key '{match['name']}'{hint}"
            raise QueryError(msg, text, begin, begin + match.end("name"))
        down = match["sign"] == "-" or match["word"] == "desc"
        wire = field.wire if field else match["name"]
        order.append([wire, "desc" if down else "asc"])
    return order


def row_fields(rows: Sequence[Row], columns: Sequence[Column]) -> dict[str, Field]:
    """Return what rows can be filtered by: their own fields and the table's headings,
    in any case of letters; numbers in the units of searches."""
    numeric: dict[str, bool] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                numeric.setdefault(name, True)
            elif value is not None and not isinstance(value, bool):
                numeric[name] = False
    own = [Field(name, "float" if is_n else "text") for name, is_n in numeric.items()]
    known = named_fields(own)
    for field in FIELDS:
        if numeric.get(field.wire) or field.kind == "bool":
            known[field.name] = known[field.wire] = field
    for column in columns:
        kind = "float" if column.format else "text"
        factor = 1 / column.scale
        heading = Field(column.heading, kind, "", "", column.heading, factor)
        known.setdefault(column.heading, heading)
        known.setdefault(column.heading.lower(), heading)
        if column.field:
            known.setdefault(column.field, Field(column.field, kind))
    if "status" in known:
        known.setdefault("state", known["status"])
    return known


def matches(value: object, tests: Mapping[str, Any]) -> bool:
    """Return whether a row's value passes the tests; text matches in any case of
    letters, with _ for a space."""

    def same(other: object) -> bool:
        texts = (str(text).replace("_", " ").strip().lower() for text in (value, other))
        return value == other if None in (value, other) else len(set(texts)) == 1

    size = as_number(value) if isinstance(value, str) else value
    for operator, wanted in tests.items():
        if operator in ("eq", "in"):
            good = any(map(same, wanted if operator == "in" else [wanted]))
        elif operator in ("neq", "notin"):
            good = not any(map(same, wanted if operator == "notin" else [wanted]))
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
    filters, _ = parse_query(query, {}, row_fields(rows, columns))
    computed = {column.heading: column for column in columns}
    found = []
    for row in rows:
        values = {
            name: row[name]
            if name in row or name not in computed
            else computed[name].values([row], time.time())[0]
            for name in filters
            if name in row or name in computed
        }
        if all(matches(values.get(name), tests) for name, tests in filters.items()):
            found.append(row)
    return found


def video_memory(row: Row, now: float) -> object:
    """Return the MB of memory of all GPUs of an offer."""
    total, one, gpus = (row.get(k) for k in ("gpu_total_ram", "gpu_ram", "num_gpus"))
    if total is None and isinstance(one, (int, float)) and isinstance(gpus, int):
        return one * gpus
    return total


RELIABILITY = Column(
    "R", "reliability2|reliability", ".1f", "reliability, %", 100, essential=True
)
OFFER_COLUMNS = (
    Column("ID", "id", "d", "id, for create instance", essential=True),
    Column("CUDA", "cuda_max_good", ".1f", "highest CUDA version"),
    Column("N", "num_gpus", "dx", "number of GPUs", essential=True),
    Column("Model", "gpu_name", "", "GPU model", essential=True),
    Column("PCIE", "pcie_bw", ".1f", "bandwidth between CPU and GPU, GB/s"),
    Column("cpu_ghz", "cpu_ghz", ".1f", "CPU clock rate, GHz"),
    Column("vCPUs", "cpu_cores_effective", ".1f", "virtual CPUs that you get"),
    Column("RAM", "cpu_ram", ".1f", "main memory, GB", 1 / 1000),
    Column("VRAM", video_memory, ".1f", "memory of all GPUs, GB", 1 / 1000,
           essential=True, field="gpu_total_ram"),
    Column("Disk", "disk_space", ".0f", "disk space for rent, GB"),
    Column("$/hr", "dph_total", ".4f", "price of the whole offer", essential=True),
    Column("DLP", "dlperf", ".1f", "deep learning performance score"),
    Column("DLP/$", "dlperf_per_dphtotal", ".1f", "that score by $/hr"),
    Column("score", "score", ".1f", "the service's overall rating"),
    Column("NV_Driver", "driver_version", "", "NVIDIA driver version"),
    Column("Net_up", "inet_up", ".1f", "upload speed, Mbit/s"),
    Column("Net_down", "inet_down", ".1f", "download speed, Mbit/s"),
    RELIABILITY,
    Column("Max_Days", "duration", ".1f", "longest rental, days", 1 / 86400),
    Column("mach_id", "machine_id", "d", "id of the machine"),
    Column("status", "verification", "", "checked by Vast.ai or not"),
    Column("host_id", "host_id", "d", "id of the host"),
    Column("ports", "direct_port_count", "d", "open ports of the machine"),
    Column("country", "geolocation", "", "location", essential=True),
)  # fmt: skip


def fields_help() -> str:
    """Return the grammar of queries and the list of fields."""
    lines = [
        f"  {field.name:<20}{field.kind:<8}{field.unit:<12}{field.help}".rstrip()
        for field in FIELDS
    ]
    return f"{GRAMMAR}\n\nfields, with type and unit:\n" + "\n".join(lines)


def find_offers(client: Client, args: argparse.Namespace) -> list[Row]:
    """Return the offers that a query finds, in the order asked for."""
    defaults = {} if args.no_default else DEFAULT_FILTERS
    filters, notes = parse_query(" ".join(args.query), defaults)
    body: Row = {
        **filters,
        "order": parse_order(args.order),
        "type": args.type,
        "allocated_storage": args.storage,
    }
    if args.limit is not None:
        body["limit"] = args.limit
    if args.disable_bundling:
        body["disable_bundling"] = True
    for note in notes:
        client.env.note(note)
    call = Call("POST", "/api/v0/bundles/", body, read=True)
    rows = rows_of(client.send(call), "offers")
    if not rows:
        explain_nothing(client, args, filters)
    return rows


def explain_nothing(
    client: Client, args: argparse.Namespace, filters: Mapping[str, dict[str, Any]]
) -> None:
    """Note which filters were in force when a search found nothing, and which GPU names
    are near one that the service does not know."""
    defaults = [
        f"{wire}={str(test['eq']).lower()}"
        for wire, test in DEFAULT_FILTERS.items()
        if filters.get(wire) is test
    ]
    default = f"{' '.join(defaults)} (by default; -n lifts them)" if defaults else ""
    typed = " ".join([*args.query, default]).strip() or "none"
    client.env.note(f"nothing found; filters in force: {typed}")
    tests = filters.get("gpu_name", {})
    wanted = [tests["eq"]] if isinstance(tests.get("eq"), str) else tests.get("in", [])
    if not wanted:
        return
    try:
        call = Call("GET", "/api/v0/gpu_names/unique/", needs_key=False)
        reply = client.send(call)
        names = [str(name) for name in reply.get("gpu_names") or ()]
    except (VastError, AttributeError, TypeError):
        return
    for name in wanted:
        near = "" if name in names else similar(name, names)
        if near:
            client.env.note(f"there is no GPU '{name}'; did you mean {near}?")


def similar(name: str, names: Iterable[str]) -> str:
    """Return the names nearest to one, spelt as in a query, or ""."""
    import difflib

    def plain(text: str) -> str:
        return re.sub("[^a-z0-9]", "", text.lower())

    known = {plain(each): each for each in names}
    near = difflib.get_close_matches(plain(name), known, n=3, cutoff=0.75)
    return " or ".join(f"gpu_name={known[each].replace(' ', '_')}" for each in near)


def count_offers(client: Client, args: argparse.Namespace, rows: list[Row]) -> None:
    """Note on a terminal how many offers there are, and how to see more."""
    if rows and client.env.on_terminal() and not args.raw and not args.quiet:
        many = "1 offer" if len(rows) == 1 else f"{len(rows)} offers"
        default = args.limit is None and len(rows) >= 60
        more = " (the service's default; --limit N for more)" if default else ""
        client.env.note(many + more)


SEARCH_ARGS = (
    Arg("query*", "what the offers must have, see below", wire=""),
    Arg("-n --no-default", "without the default filters", bool),
    Arg("-o --order", "fields to sort by: dph, num_gpus- (score-)", default="score-"),
    Arg("--limit", "maximum number of offers", number("limit", least=1, whole=True)),
)
DISK_LEAST = 8  # GB
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
        Arg("--disable-bundling", "show identical offers one by one", bool),
        Arg("--storage", "GB of disk that the price includes (5)",
            number("disk size", "GB", 0), default=5.0),
        example="search offers 'num_gpus>=4 dph<2 gpu_name=RTX_4090' -o dph",
        aliases=["search instances"],
        notes=fields_help,
    ),
)  # fmt: skip


# --- instances ------------------------------------------------------------------------

HOST = r"[A-Za-z0-9][A-Za-z0-9.-]*|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*"


def as_address(host: object, port: object) -> tuple[str, int] | None:
    """Return a host and a port that can stand in a URL or a command, or None: strangers
    have written both."""
    name, digits = str(host or "").strip(), str(port)
    if re.fullmatch(HOST, name) and re.fullmatch("[0-9]{1,5}", digits):
        return (name, int(digits)) if 0 < int(digits) < 65536 else None
    return None


def direct_address(row: Row) -> tuple[str, int] | None:
    """Return the machine's own address of an instance's port 22."""
    ports = row.get("ports")
    entries = ports.get("22/tcp") if isinstance(ports, dict) else None
    if not isinstance(entries, list):
        return None
    usable = [entry for entry in entries if isinstance(entry, dict)]
    usable.sort(key=lambda entry: ":" in str(entry.get("HostIp")))  # IPv4 first
    host = row.get("public_ipaddr")
    found = (as_address(host, entry.get("HostPort")) for entry in usable)
    return next((address for address in found if address), None)


def ssh_address(row: Row) -> tuple[str, int, bool] | None:
    """Return where ssh reaches an instance: host, port, whether directly; None: nowhere
    yet.

    Source: the vendor's client, which adds one to the proxy's port for Jupyter.
    """
    direct = direct_address(row)
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
    Column("Status", "actual_status", "", "what it does", essential=True),
    Column("N", "num_gpus", "dx", "number of GPUs", essential=True),
    Column("Model", "gpu_name", "", "GPU model", essential=True),
    Column("Util%", "gpu_util", ".1f", "GPU utilization, %"),
    Column("vCPUs", "cpu_cores_effective", ".1f", "virtual CPUs that you get"),
    Column("RAM", "cpu_ram", ".1f", "main memory, GB", 1 / 1000),
    Column("Disk", "disk_space", ".0f", "disk space, GB"),
    Column("SSH_Addr", lambda row, now: (ssh_address(row) or [None])[0], "",
           "where ssh reaches it"),
    Column("SSH_Port", lambda row, now: (ssh_address(row) or [None, None])[1], "d",
           "port for ssh"),
    Column("$/hr", "dph_total", ".4f", "price with its disk", essential=True),
    Column("Image", "image_uuid", "", "the image that it runs"),
    Column("Net_up", "inet_up", ".1f", "upload speed, Mbit/s"),
    Column("Net_down", "inet_down", ".1f", "download speed, Mbit/s"),
    Column("R", "reliability2|reliability", ".1f", "reliability, %", 100),
    Column("Label", "label", "", "your name for it", essential=True),
    Column("Age_h", age, ".1f", "hours since it was created", 1 / 3600),
    Column("Up_min", "uptime_mins", ".0f", "minutes since it started"),
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
        raise VastError("there is no instance", "no_such_instance")
    known = " ".join(str(row.get("id")) for row in rows)
    raise UsageError(f"which instance? give an id: {known}", "several_instances")


def address_result(row: Row, scheme: str) -> Result:
    """Return the URL at which an instance is reached. Raises VastError."""
    found = ssh_address(row)
    if not found:
        status = row.get("actual_status") or "starting"
        msg = f"instance {row.get('id')} is not ready: it is {status}"
        raise VastError(f"{msg}, without an address yet", "not_ready")
    host, port, direct = found
    url = f"{scheme}://root@{f'[{host}]' if ':' in host else host}:{port}"
    value = {"id": row.get("id"), "host": host, "port": port, "user": "root"}
    return Result({**value, "url": url, "direct": direct}, url)


def url_of(scheme: str) -> Handler:
    """Return `ssh-url` or `scp-url`: an instance's address, never a made-up one."""

    def run(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
        yield address_result(the_instance(client, args.id), scheme)

    return run


# What an instance's `actual_status` is when a change is complete.
GOALS = {"running": ("running",), "stopped": ("stopped", "exited"), "gone": ()}
BROKEN = ("exited", "offline")
POLL = 2.0  # seconds between two looks at an instance: the service's threshold
STALE = 30.0  # seconds for which a row may show what was before a start

STILL_COSTS = {
    "running": "it costs money as long as it exists",
    "stopped": "until it has stopped it costs its full price",
    "gone": "until it is gone it costs money",
}


def observe(client: Client, number: int) -> tuple[str, str, Row | None]:
    """Return an instance's status, its status message and its row.

    What a proxy or a lost connection does says nothing of the instance: its status is
    "not known" then. Raises NoKey, Interrupted.
    """
    try:
        row = find_instance(client, number)
    except (NoKey, Interrupted, UsageError):
        raise
    except VastError as error:
        return "not known", f"({error})", {}
    if row is None:
        return "gone", "", None
    status = row.get("actual_status") or "starting"
    return str(status), str(row.get("status_msg") or "").strip(), row


def wait_until(client: Client, number: int, goal: str, deadline: float) -> Row | None:
    """Return the instance once it is running, stopped or gone (then None).

    Raises VastError when it broke, NotDone after the deadline, Interrupted; each says
    what goes on costing money, and how to look.
    """
    env, start = client.env, client.env.monotonic()
    costs = f"{STILL_COSTS[goal]}; to look: {PROGRAM} show instance {number}"
    first = before = ""
    try:
        while True:
            status, reason, row = observe(client, number)
            taken = env.monotonic() - start
            if status == goal or status in GOALS[goal]:
                env.note(f"instance {number} is {goal}")
                return row
            first = first or status
            news = status != first or taken >= STALE
            if goal == "running" and status in BROKEN and news:
                msg = f"instance {number} is {status}: {reason or 'no reason given'}"
                raise VastError(f"{msg}; {costs}", "not_ready")
            text = f"instance {number}: {status} {reason}".rstrip()
            env.progress(f"{text} ({taken:.0f} s)", milestone=text != before)
            if env.monotonic() + POLL > deadline:
                msg = f"instance {number} is not {goal} but {status}"
                raise NotDone(f"{msg} after {taken:.0f} s; {costs}", "timeout")
            before = text
            env.sleep(POLL)
    except (KeyboardInterrupt, Interrupted) as cause:
        msg = f"interrupted; instance {number} may not be {goal} yet; {costs}"
        raise Interrupted(msg, cause) from None


def waiting_for(goal: str) -> Callable[[Client, int, float], Row | None]:
    """Return the goal of a request: wait until an instance is running, …"""
    return lambda client, number, deadline: wait_until(client, number, goal, deadline)


def describe_instances(what: str) -> Callable[[Client, argparse.Namespace], str]:
    """Return what makes a question that names instances by id, label and GPU; `what`
    has {} for them."""

    def ask(client: Client, args: argparse.Namespace) -> str:
        names = []
        for number in dict.fromkeys(args.id):
            try:
                row = find_instance(client, number) or {}
            except VastError:
                row = {}
            more = [str(row[key]) for key in ("label", "gpu_name") if row.get(key)]
            names.append(f"{number} ({', '.join(more)})" if more else str(number))
        plural = "instances" if len(names) > 1 else "instance"
        return what.replace("{}", f"{plural} {', '.join(names)}")

    return ask


LABEL_MOST = 1024
ONSTART_MOST = 4096  # characters of a start-up script that the service takes
RENTAL_FLAGS = ("python_utf8", "lang_utf8", "force", "cancel_unavail")
ENV_FLAGS = {"--env": "-e", "--publish": "-p", "--volume": "-v", "--hostname": "-h"}
ENV_FLAGS |= {flag: flag for flag in ENV_FLAGS.values()}


def parse_environment(texts: Sequence[str]) -> dict[str, str]:
    """Return Docker's options in the texts of `--env`, as the service takes them.

    "-e A=b -p 80:80 -h name" is {"A": "b", "-p 80:80": "1", "-h": "name"}. Raises
    UsageError for whatever the service cannot carry.
    """
    import shlex

    try:
        words = shlex.split(" ".join(texts))
    except ValueError as error:
        raise UsageError(f"--env: {error}".lower()) from None
    found: dict[str, str] = {}
    while words:
        flag = ENV_FLAGS.get(words[0])
        if flag:
            del words[0]
        elif words[0][:2] in ENV_FLAGS:  # -p80:80
            flag, words[0] = words[0][:2], words[0][2:]
        elif words[0].startswith("-"):
            raise UsageError(f"--env cannot carry '{words[0]}', only -e -p -v -h")
        if not words:
            raise UsageError(f"--env: '{flag}' needs a value")
        value = words.pop(0)
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


def run_type(args: argparse.Namespace) -> str | None:
    """Return how to log in to the instance; None leaves it to the template."""
    if args.args is not None:
        return "args"
    jupyter = args.jupyter or args.jupyter_lab or args.jupyter_dir is not None
    if args.direct:
        direct = "ssh_direct ssh_proxy"
        return f"jupyter_direct {direct}" if jupyter else direct
    if jupyter:
        return "jupyter"
    return "ssh" if args.ssh or args.template_hash is None else None


def check_rental(args: argparse.Namespace) -> None:
    """Refuse options that exclude each other. Raises UsageError."""
    jupyter = args.jupyter or args.jupyter_lab or args.jupyter_dir is not None
    if not args.image and args.create_from is None and not args.template_hash:
        raise UsageError("an image is missing: give --image or --template_hash")
    if jupyter and args.args is not None:
        raise UsageError("--jupyter excludes --args")
    if args.onstart is not None and args.onstart_cmd is not None:
        raise UsageError("--onstart excludes --onstart-cmd")
    if args.create_volume is not None and args.link_volume is not None:
        raise UsageError("--create-volume excludes --link-volume")
    volume = args.create_volume or args.link_volume
    if bool(volume) != bool(args.mount_path):
        raise UsageError("a volume needs --mount-path, and --mount-path a volume")


def volume_info(args: argparse.Namespace) -> Row | None:
    """Return the volume to create or link with an instance, as the service takes it."""
    volume = args.create_volume or args.link_volume
    if not volume:
        return None
    info = {"mount_path": args.mount_path, "volume_id": volume}
    info["create_new"] = args.create_volume is not None
    if args.create_volume is not None:
        info |= {"size": args.volume_size, "name": args.volume_label}
    return {key: value for key, value in info.items() if value is not None}


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
        most = f"the service takes {ONSTART_MOST} characters"
        raise UsageError(f"the start-up script and the arguments are too long: {most}")
    disk = 10.0 if args.disk is None and args.template_hash is None else args.disk
    body: Row = {
        "client_id": "me",
        "image": args.image,
        "disk": disk,
        "label": args.label,
        "price": args.price,
        "onstart": onstart,
        "runtype": run_type(args),
        "jupyter_dir": args.jupyter_dir,
        "use_jupyter_lab": args.jupyter_lab or None,
        "args": args.args,
        "create_from": args.create_from,
        "extra": args.extra,
        "env": None if args.env is None else parse_environment(args.env),
        "image_login": args.login,
        "template_hash_id": args.template_hash,
        "user": args.user,
        "volume_info": volume_info(args),
    }
    body |= {flag: getattr(args, flag) or None for flag in RENTAL_FLAGS}
    return {key: value for key, value in body.items() if value is not None}


def as_price(value: object) -> float | None:
    """Return a price of a row, which may be text, or None."""
    price = as_number(value) if isinstance(value, str) else value
    if isinstance(price, bool) or not isinstance(price, (int, float)):
        return None
    return price if abs(price) < 1e9 else None


class Rental(Request):
    """A kind of command: rents offers, each once; from then on they cost money."""

    def __init__(self, **more: Any) -> None:
        super().__init__(
            "PUT /api/v0/asks/{id}/",
            "offer {id}: rented",
            once=True,
            doubt="offer {id} may or may not have been rented",
            look="show instances",
            goal=waiting_for("running"),
            proof="new_contract",
            **more,
        )

    def call(self, args: argparse.Namespace) -> Call:
        call = super().call(args)
        call.body = self.order
        call.secrets = frozenset(["image_login"])
        return call

    def __call__(self, client: Client, args: argparse.Namespace) -> Iterator[Shown]:
        self.order = rental(args)
        if args.args is not None and (args.ssh or args.direct):
            client.env.note("--ssh and --direct do nothing with --args")
        yield from super().__call__(client, args)

    def send(self, client: Client, args: argparse.Namespace, scheduled: bool) -> Result:
        """Rent one offer, if it costs no more than `--max-price`."""
        if args.max_price is not None:
            check_price(client, args)
        called = client.env.now()
        try:
            reply = client.send(self.call(args))
            number = reply.get("new_contract")
            if type(number) is not int:  # True is an int too
                doubt = self.call(args).in_doubt()
                raise OutcomeUnknown(f"the response names no instance{doubt}")
        except OutcomeUnknown as error:
            raise self.searched(client, args, error, called) from None
        kind = "on demand"
        if args.price is not None:
            kind = f"interruptible, at ${args.price:g}/h"
        client.paid = f"instance {number}: rented, and costs money"
        client.env.note(f"rented offer {args.id} {kind}")
        self.tell_price(client, number)
        return Result(reply, f"Created instance {number}")

    def searched(
        self, client: Client, args: argparse.Namespace, error: VastError, called: float
    ) -> VastError:
        """Return the error of a lost response with what can be found out about it."""
        named = re.search(r'"new_contract":\s*(\d{1,18})', str(error.reply or ""))
        if named:
            return OutcomeUnknown(f"{error}; the response names instance {named[1]}")
        if args.label is None:
            return error
        found = labelled_since(client, args.label, called)
        return OutcomeUnknown(f"{error}; {found}", http=error.http)

    def tell_price(self, client: Client, number: int) -> None:
        """Note what an instance costs; that it can't be read is no failure."""
        try:
            row = find_instance(client, number) or {}
        except Interrupted:
            raise
        except VastError as error:
            client.env.note(f"instance {number}: the price can't be read: {error}")
            return
        price, disk = as_price(row.get("dph_total")), as_price(row.get("disk_space"))
        if price is not None:
            cost = f"${price:.4g}/h (${price * 24:.2f}/day)"
            size = f" with {disk:g} GB of disk" if disk is not None else ""
            client.paid = f"instance {number}: rented, and costs {cost}"
            client.env.note(f"instance {number} costs {cost}{size}")

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
    """Refuse an offer that costs more than `--max-price` with this disk."""
    price = args.price
    if price is None:
        disk = args.disk if args.disk is not None else 10.0
        body = {"id": {"eq": args.id}, "type": "on-demand", "allocated_storage": disk}
        call = Call("POST", "/api/v0/bundles/", body, read=True)
        rows = rows_of(client.send(call), "offers")
        prices = [as_price(row.get("dph_total")) for row in rows[:1]]
        price = prices[0] if prices else None
        if price is None:
            raise VastError(f"offer {args.id} is not available", "no_such_ask")
    if price > args.max_price:
        msg = f"offer {args.id} costs ${price:.4f}/h, more than ${args.max_price:g}/h"
        raise VastError(f"{msg}; nothing was rented", "too_expensive")


def labelled_since(client: Client, label: str, called: float) -> str:
    """Return which instances with a label started since a call without a response."""
    try:
        rows = find_instances(client)
    except VastError as error:
        return f"looking for the label failed: {error}"
    slack = 60  # seconds that the clocks may differ
    found = []
    for row in rows:
        started = row.get("start_date")
        old = isinstance(started, (int, float)) and started < called - slack
        if row.get("label") == label and not old:
            found.append(str(row.get("id")))
    if not found:
        return f"no instance with label '{label}' has started since"
    what = f"{' '.join(found)} with label '{label}'"
    if len(found) > 1:
        return f"instances {what} have started since"
    return f"instance {what} has started since"


CONTINENTS = {
    "north_america": "US CA MX",
    "south_america": "AR BR CL CO PE UY",
    "europe": "AT BE BG CH CY CZ DE DK EE ES FI FR GB GR HR HU IE IS IT LT LU LV MD MT"
    " NL NO PL PT RO RS SE SI SK UA",
    "asia": "AE CN HK ID IL IN JP KR KZ MO MY PH QA SA SG TH TR TW VN",
    "oceania": "AU NZ",
    "africa": "EG KE MA NG ZA",
}


def launch_query(args: argparse.Namespace) -> str:
    """Return the query that `launch instance` searches with."""
    parts = [f"gpu_name={args.gpu_name}", f"num_gpus={args.num_gpus}"]
    if args.region:
        region = args.region.strip("[] ")
        codes = CONTINENTS.get(region.lower().replace(" ", "_"), "").split()
        parts.append(f"geolocation in [{','.join(codes) or region}]")
    return " ".join(parts)


class Launch(Rental):
    """A kind of command: searches, and rents the best offer it finds."""

    def __init__(self) -> None:
        super().__init__(ask=lambda client, args: f"rent {self.described()}?")

    def __call__(self, client: Client, args: argparse.Namespace) -> Iterator[Shown]:
        for arg in CREATE_ARGS:
            vars(args).setdefault(arg.dest, None)
        rental(args)  # refuses what is wrong before anything is sent
        search = argparse.Namespace(
            query=[launch_query(args)], no_default=False, order=args.order,
            type="on-demand", storage=args.disk, limit=args.limit,
            disable_bundling=False,
        )  # fmt: skip
        offers = [row for row in find_offers(client, search)
                  if isinstance(row.get("id"), int)]  # fmt: skip
        if not offers:
            raise VastError("no offer matches; nothing was rented", "not_found")
        self.offer, args.id = offers[0], offers[0]["id"]
        client.env.note(f"best offer: {self.described()}")
        yield from super().__call__(client, args)

    def described(self) -> str:
        """Return the best offer in words."""
        row = self.offer
        price = format_number(row.get("dph_total"), "$%.4f/h") or "at an unknown price"
        gpus = f"{row.get('num_gpus')}x {row.get('gpu_name')}"
        return f"offer {row['id']}, {gpus}, {row.get('geolocation')}, {price}"


# The arguments that `create instance` and `launch instance` share.
RENTAL_ARGS = (
    Arg("--label", "a name for the instance", at_most("label", LABEL_MOST)),
    Arg("--onstart", "a file whose text is run at every start", file_name),
    Arg("--onstart-cmd", "commands to run at every start"),
    Arg("--entrypoint", "what to run at the start if neither is given"),
    Arg("--ssh", "log in with ssh (the default)", bool),
    Arg("--direct", "connect to the machine directly, not through a proxy", bool),
    Arg("--jupyter", "start Jupyter", bool),
    Arg("--jupyter-dir", "the folder that Jupyter opens"),
    Arg("--jupyter-lab", "start JupyterLab", bool),
    Arg("--lang-utf8", "set the locale to C.UTF-8", bool),
    Arg("--python-utf8", "set Python's encoding to UTF-8", bool),
    Arg("--env", "'-e NAME=VALUE -p 80:80 -v a:b -h NAME'", append=True),
    Arg("--login", "registry login: '-u USER -p PASSWORD HOST'"),
    Arg("--template_hash", "a template, for what is not given here"),
    Arg("--cancel-unavail", "fail rather than wait for the machine", bool),
    Arg("--extra"),
    Arg("--max-price", "rent nothing that costs more, in $/hour with this disk",
        number("price", "$", above=0)),
    Arg("--args...", "all that follows is passed to the image's command"),
)  # fmt: skip
CREATE_ARGS = (
    Arg("--image", "the image to run; this or a template is required"),
    Arg("--disk", "GB of disk (10)", number("disk size", "GB", DISK_LEAST)),
    Arg("--price --bid_price", "rent interruptible, at this bid in $/hour",
        number("bid", "$", 0.001, 128)),
    Arg("--user", "the user to run the image as"),
    Arg("--create-from", "the id of an instance to copy", identifier),
    Arg("--force", "skip the checks of --create-from", bool),
    Arg("--create-volume", "the id of a volume offer: create a volume", identifier),
    Arg("--link-volume", "the id of a volume of yours: use it", identifier),
    Arg("--mount-path", "where the volume is mounted"),
    Arg("--volume-size", "GB of the new volume (15)",
        number("volume size", "GB", 1, whole=True)),
    Arg("--volume-label", "a name for the new volume"),
    *RENTAL_ARGS,
)  # fmt: skip
ONLY_ONE = (
    Arg("id?", "id of the instance; not needed when there is only one", identifier),
    Arg("--id", "same as an option", stands_for="id"),
)
INSTANCE_IDS = ids("one or more instance ids")
INSTANCE_ID = Arg("id", "id of the instance", identifier)
INSTANCE_PATH = "/api/v0/instances/{id}/"


def start_instances() -> Request:
    """Return what starts instances."""
    return Request(f"PUT {INSTANCE_PATH}", "instance {id}: starting",
        body={"state": "running"}, goal=waiting_for("running"),
        look="show instances")  # fmt: skip


def stop_instances() -> Request:
    """Return what stops instances."""
    return Request(f"PUT {INSTANCE_PATH}", "instance {id}: stopping",
        body={"state": "stopped"}, goal=waiting_for("stopped"), schedule=True,
        look="show instances",
        note="the disk of a stopped instance still costs money")  # fmt: skip


def destroy_instances() -> Request:
    """Return what destroys instances."""
    return Request(f"DELETE {INSTANCE_PATH}", "instance {id}: destroying",
        goal=waiting_for("gone"), schedule=True, look="show instances",
        ask=describe_instances("destroy {} and all data on its disk?"))  # fmt: skip


def reboot_instances() -> Request:
    """Return what reboots instances."""
    return Request("PUT /api/v0/instances/reboot/{id}/", "instance {id}: rebooting",
        goal=waiting_for("running"), schedule=True, look="show instances")  # fmt: skip


def recycle_instances() -> Request:
    """Return what recreates instances."""
    return Request("PUT /api/v0/instances/recycle/{id}/", "instance {id}: recycling",
        goal=waiting_for("running"), look="show instances",
        ask=describe_instances("recycle {}? The container's disk is wiped and the ssh"
                               " port changes."))  # fmt: skip


def needs_a_change(client: Client, args: argparse.Namespace) -> None:
    """Refuse an update that would change nothing. Raises UsageError."""
    options = ("image", "template_id", "template_hash_id", "args", "env", "onstart")
    if all(getattr(args, name) is None for name in options):
        raise UsageError("nothing to update; give an option, see --help")


def bid_words(client: Client, args: argparse.Namespace) -> None:
    """Put the new bid into words."""
    args.bid = "a winning bid" if args.price is None else f"${args.price:g}/h"


INSTANCE_COMMANDS = (
    Command("show instances", "list your instances",
        Listing("", INSTANCE_COLUMNS, fetch=find_instances, where=matching_rows),
        example="show instances 'label=exp1 status=running'",
    ),
    Command("show instance", "show instances by id",
        Listing("", INSTANCE_COLUMNS,
            fetch=lambda client, args: [the_instance(client, args.id)]),
        INSTANCE_IDS, example="show instance 5001",
    ),
    Command("ssh-url", "print the ssh address of an instance",
        url_of("ssh"), *ONLY_ONE, example="ssh-url 5001",
    ),
    Command("scp-url", "print the scp address of an instance",
        url_of("scp"), *ONLY_ONE, example="scp-url 5001",
    ),
    Command("create instance", "rent an offer; it costs money from then on",
        Rental(), Arg("id", "the id of the offer", identifier), *CREATE_ARGS,
        example="create instance 1234 --image pytorch/pytorch --disk 40 --label train",
    ),
    Command("create instances", "rent several offers",
        Rental(), ids("the ids of the offers"), *CREATE_ARGS,
        example="create instances 1234 1235 --image pytorch/pytorch --disk 40",
    ),
    Command("launch instance", "search, and rent the best offer found",
        Launch(),
        Arg("-g --gpu-name", "GPU model, such as RTX_4090", required=True),
        Arg("-n --num-gpus", "number of GPUs",
            number("number of GPUs", least=1, whole=True), required=True),
        Arg("-i --image", "the image to run; this or a template is required"),
        Arg("-r --region", "a continent such as North_America, or countries: US,CA"),
        Arg("-d --disk", "GB of disk (16)", number("disk size", "GB", DISK_LEAST),
            default=16.0),
        Arg("--limit", "number of offers to look at (3)",
            number("limit", least=1, whole=True), default=3),
        Arg("-o --order", "fields to sort by (score-)", default="score-"),
        *RENTAL_ARGS,
        example="launch instance -g RTX_4090 -n 1 -i pytorch/pytorch --max-price 0.5",
    ),
    Command("start instance", "start a stopped instance", start_instances(),
        INSTANCE_IDS, example="start instance 5001 --wait", aliases=["start instances"],
    ),
    Command("stop instance", "stop an instance; its disk stays, and costs",
        stop_instances(), INSTANCE_IDS, example="stop instance 5001",
        aliases=["stop instances"],
    ),
    Command("reboot instance", "restart an instance's container", reboot_instances(),
        INSTANCE_IDS, example="reboot instance 5001 --wait",
        aliases=["reboot instances"],
    ),
    Command("recycle instance", "recreate an instance's container from its image",
        recycle_instances(), INSTANCE_IDS, example="recycle instance 5001 --wait",
        aliases=["recycle instances"],
    ),
    Command("label instance", "name an instance",
        Request(f"PUT {INSTANCE_PATH}", "instance {id}: label '{label}'"),
        INSTANCE_ID,
        Arg("label", "its new name; '' for none", at_most("label", LABEL_MOST)),
        example="label instance 5001 training",
    ),
    Command("update instance", "change an instance's image, template or environment",
        Request("PUT /api/v0/instances/update_template/{id}/", "instance {id}: updated",
            prepare=needs_a_change, proof="success|updated_instance"),
        INSTANCE_ID,
        Arg("--image", "the image to run, after the next recycle"),
        Arg("--template_id", "the id of a template", identifier),
        Arg("--template_hash_id --template_hash", "the hash of a template"),
        Arg("--env", 'environment as JSON: \'{"NAME": "VALUE"}\'', json_object),
        Arg("--onstart", "commands to run at every start"),
        Arg("--args", "arguments of the image's command, as one text"),
        example="update instance 5001 --image pytorch/pytorch:latest",
    ),
    Command("prepay instance", "deposit credit, to run an instance at a discount",
        Request("PUT /api/v0/instances/prepay/{id}/",
            "instance {id}: reserved for {reply[timescale]} months at a discount of"
            " {reply[discount_rate]}",
            once=True, ask="deposit ${amount:.2f} for instance {id}?",
            proof="success|timescale"),
        INSTANCE_ID, Arg("amount", "dollars", number("amount", "$", above=0)),
        example="prepay instance 5001 50",
    ),
    Command("change bid", "change the bid for an interruptible instance",
        Request("PUT /api/v0/instances/bid_price/{id}/", "instance {id}: bid {bid}",
            body={"client_id": "me", "price": "{price}"}, prepare=bid_words,
            schedule=True, look="show instances"),
        INSTANCE_ID,
        Arg("--price", "$/hour; without it the service picks a winning bid",
            number("bid", "$", 0.001)),
        example="change bid 5001 --price 0.3",
    ),
    Command("destroy instance", "destroy an instance and all its data",
        destroy_instances(), INSTANCE_IDS, example="destroy instance 5001 -y",
        aliases=["destroy instances"],
    ),
)  # fmt: skip


# --- copying and logs -----------------------------------------------------------------

COPYING_COMMANDS: tuple[Command, ...] = ()


# --- SSH keys and environment variables -----------------------------------------------

KEY_COMMANDS: tuple[Command, ...] = ()


# --- templates ------------------------------------------------------------------------

TEMPLATE_COMMANDS: tuple[Command, ...] = ()


# --- storage --------------------------------------------------------------------------

STORAGE_COMMANDS: tuple[Command, ...] = ()


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
    Column("occup", "gpu_occupancy", "", "what each GPU does: D on demand, x free",
           essential=True),
    Column("reports", "num_reports", "d", "problems that renters reported"),
    Column("country", "geolocation", "", "location"),
)  # fmt: skip
PRICE = number("price", "$", least=0)


def check_listing(client: Client, args: argparse.Namespace) -> None:
    """Check the end of a listing, and say what it means. Raises UsageError."""
    env = client.env
    if args.end_date is not None and args.duration is not None:
        raise UsageError("--end_date excludes --duration")
    if args.end_date is not None:
        until = format_time(args.end_date)
        if args.end_date <= env.now():
            raise UsageError(f"the end date, {until}, is in the past")
        env.note(f"the listing ends on {until}")
    if (args.duration or "").isdecimal():
        env.note(f"--duration {args.duration} means seconds")


def until_date(seconds: int) -> str:
    """Return the end of a listing in words."""
    return f"until {format_time(seconds)}"


MACHINE_IDS = ids("one or more machine ids")
MACHINE_ID = Arg("id", "id of the machine", identifier, wire="machine")
JOB_ARGS = (
    Arg("--price_gpu", "$/hour per GPU", PRICE, say="${:.10g}/h per GPU"),
    Arg("--price_inetu", "$/GB uploaded", PRICE, say="${:.10g}/GB uploaded"),
    Arg("--price_inetd", "$/GB downloaded", PRICE, say="${:.10g}/GB downloaded"),
    Arg("--image", "the image to run", say="image {}"),
    Arg("--args...", "all that follows is passed to the image's command",
        say="arguments {}"),
)  # fmt: skip
LISTING_PRICES = (
    Arg("-g --price_gpu", "$/hour per GPU", PRICE, say="${:.10g}/h per GPU"),
    Arg("-s --price_disk", "$/GB/month of disk", PRICE,
        say="${:.10g}/GB/month of disk"),
    Arg("-u --price_inetu", "$/GB uploaded", PRICE, say="${:.10g}/GB uploaded"),
    Arg("-d --price_inetd", "$/GB downloaded", PRICE, say="${:.10g}/GB downloaded"),
    Arg("-m --min_chunk", "minimum number of GPUs to rent",
        number("number of GPUs", least=1, whole=True), say="at least {} GPUs"),
    Arg("-e --end_date", "until this date, its last second included", end_date,
        say=until_date),
    Arg("-b --price_min_bid", "$/hour per GPU, the lowest bid", PRICE,
        say="bids from ${:.10g}/h per GPU"),
    Arg("-r --discount_rate", "maximum discount, 0 to 1",
        number("discount", "0..1", 0, 1), wire="credit_discount_max",
        say="a discount of up to {}"),
    Arg("-l --duration", "30 days, 2 weeks, or seconds", duration, say="for {}"),
    Arg("-v --vol_size", "GB to rent out as volumes, or 0",
        number("size", "GB", 0, whole=True), say="volumes of {} GB"),
    Arg("-z --vol_price", "$/GB/month of volumes", PRICE,
        say="${:.10g}/GB/month of volume"),
)  # fmt: skip

HOSTING_COMMANDS = (
    Command("show machines", "list the machines that you rent out",
        Listing("GET /api/v0/machines?owner=me", MACHINE_COLUMNS, "machines",
            where=matching_rows),
    ),
    Command("list machine", "offer a machine for rent, or change its prices",
        Request("PUT /api/v0/machines/create_asks/", "machine {id}: listed {said}",
            body={"machine": "{id}"}, prepare=check_listing),
        MACHINE_IDS, *LISTING_PRICES,
        example="list machine 12345 --price_gpu 0.5 --end_date 2030-12-31",
        aliases=["list machines"],
    ),
    Command("unlist machine", "take a machine off the market",
        Request("DELETE /api/v0/machines/{id}/asks/", "machine {id}: unlisted"),
        MACHINE_IDS, example="unlist machine 12345",
    ),
    Command("set min-bid", "set the lowest bid for a machine",
        Request("PUT /api/v0/machines/{id}/minbid/",
            "machine {id}: bids from ${price:g}/h per GPU",
            body={"client_id": "me"}, look="show machines"),
        MACHINE_ID, Arg("--price", "$/hour per GPU", PRICE, required=True),
        example="set min-bid 12345 --price 0.25",
    ),
    Command("set defjob", "give a machine a job for idle times",
        Request("PUT /api/v0/machines/create_bids/", "machine {id}: default job {said}",
            body={"machine": "{id}"}, look="show machines"),
        MACHINE_ID, *JOB_ARGS,
        example="set defjob 12345 --price_gpu 0.1 --price_inetu 0.01 \\\n"
        "    --price_inetd 0.01 --image ubuntu --args sleep 1d",
    ),
    Command("remove defjob", "remove a machine's default job",
        Request("DELETE /api/v0/machines/{id}/defjob/",
            "machine {id}: default job removed", look="show machines"),
        MACHINE_ID, example="remove defjob 12345",
    ),
)  # fmt: skip


# --- billing --------------------------------------------------------------------------

# A row of any other type is a charge. The number is the sign that such a payment gets,
# whichever it was sent with: money that comes in lowers what is owed. Transfers and
# reservations go both ways, so they keep their own (0).
PAYMENTS = {
    "payment": -1, "credit": -1, "refund": 1, "payout": 1, "transfer": 0, "reserved": 0
}  # fmt: skip
SECTIONS = {"charges": ("Charges", True), "credits": ("Payments", False)}
LONGEST_TEXT = 2000  # characters; more than this would fill pages
LAST_SECOND = 253370764800  # 9999-01-01, near the end of the calendar

# What the standard Helvetica has beyond the encoding cp1252, in the order of the codes
# from 128 on that it gets in a second font; then what looks like one of its letters.
LATIN = (
    "ĀāĂăĄąĆćČčĎďĐđĒēĖėĘęĚěĞğĢģĪīĮįİıĶķĹĺĻļĽľŁłŃńŅņŇňŌōŐőŔŕŖŗŘřŚśŞşŤťŪūŮůŰűŲųŹźŻż"
    "ȘșȚțˇ˘˙˚˛˝Δμ⁄∂∑−√≠≤≥◊ﬁﬂ"
)
LOOKALIKES = str.maketrans("Ţţ∆‐‑", "ȚțΔ--")


def printable(value: object) -> str:
    """Return text as one line in NFC, with single blanks and no control characters."""
    text = "" if value is None else str(value)
    if len(text) > LONGEST_TEXT:
        text = text[:LONGEST_TEXT] + "…"
    if not (text.isascii() and text.isprintable()):
        from unicodedata import category, normalize

        text = "".join(
            char
            for char in normalize("NFC", text)
            if char.isspace() or category(char) not in ("Cc", "Cf", "Cs")
        )
    return " ".join(text.split())


def showable(text: str) -> str:
    """Return text with '?' for each character that Helvetica does not have."""
    if text.isascii():
        return text
    return "".join(
        char if char in LATIN else char.encode("cp1252", "replace").decode("cp1252")
        for char in text.translate(LOOKALIKES)
    )


def parse_number(value: object) -> Decimal | None:
    """Read a number or numeric text; None for anything else, and from 10^12 on."""
    import decimal  # whole: for each row `from decimal` would take five times as long

    try:
        found = decimal.Decimal(str(value))
    except decimal.InvalidOperation:
        return None
    small = found.is_finite() and (not found or found.adjusted() < 12)
    return found if small else None


def parse_amount(value: object, least: int = 2) -> Decimal | None:
    """Read a number with the decimals that were sent, but from least to four."""
    import decimal

    found = parse_number(value)
    if found is None:
        return None
    sent = -int(found.as_tuple().exponent)
    places = min(max(sent, least), 4)
    if places == sent:
        return found
    return found.quantize(decimal.Decimal(1).scaleb(-places), decimal.ROUND_HALF_UP)


def format_amount(value: Decimal | None, unknown: str = "-") -> str:
    """Return a figure as text."""
    return unknown if value is None else f"{value:,f}"


def local_date(when: int | None) -> str:
    """Return unix seconds as a local date like 2022-01-31, None as ''."""
    return "" if when is None else "%d-%02d-%02d" % time.localtime(when)[:3]


def row_time(value: object) -> int | None:
    """Read unix seconds, without their fraction."""
    found = parse_number(value)
    return int(found) if found is not None and 0 <= found < LAST_SECOND else None


def row_id(row: dict[str, object]) -> object:
    """Return the id of a row, which payments of the newer call keep further down."""
    found, more = row.get("id"), row.get("metadata")
    if found is None and isinstance(more, dict):
        found = more.get("invoice_id")
    return found


def row_item(row: dict[str, object], is_charge: bool) -> str:
    """Return the description, or what a row without one stands for."""
    text = printable(row.get("description"))
    if text or is_charge:
        return text or printable(row.get("source")) or "Charge"
    text = "Add Credit" if row.get("is_credit") is True else "Auto-Billing"
    card = printable(row.get("last4"))[-4:]
    return f"{text} (card ...{card})" if card else text


def row_detail(row: dict[str, object]) -> str:
    """Return what a row of the newer charges call is made up of, '' for any other."""
    items = row.get("items")
    parts = [x for x in items if isinstance(x, dict)] if isinstance(items, list) else []
    texts = (f"{part.get('type')} {part.get('description')}" for part in parts)
    return printable("; ".join(texts))


class Line:
    """One row as it is shown: a charge or a payment, in whichever shape it was sent.

    `since` and `when` are unix seconds, the same unless the row covers a period. An
    `amount` that cannot be read is None: it shows as '-' and is no part of any sum.
    """

    __slots__ = (
        "row", "id", "kind", "is_charge", "since", "when", "date", "item", "detail",
        "quantity", "rate", "amount",
    )  # fmt: skip

    def __init__(self, row: dict[str, object]) -> None:
        times = [row_time(row.get(key)) for key in ("timestamp", "start", "end")]
        known = [when for when in times if when is not None]
        amount = parse_amount(row.get("amount"))
        self.row = row
        self.id = row_id(row)
        self.kind = printable(row.get("type")).lower()
        self.is_charge = self.kind not in PAYMENTS
        self.since = min(known, default=0)
        self.when = max(known, default=None)
        self.date = local_date(self.when)
        self.item = row_item(row, self.is_charge)
        self.detail = row_detail(row)
        self.quantity = parse_amount(row.get("quantity"), least=0)
        self.rate = parse_amount(row.get("rate"))
        sign = PAYMENTS.get(self.kind, 0)
        self.amount = abs(amount) * sign if amount and sign else amount

    def within(self, start: int, end: int) -> bool:
        """Tell whether the row touches the range; undated rows do."""
        return self.when is None or (self.since <= end and self.when >= start)


def side(lines: Iterable[Line], is_charge: bool) -> list[Line]:
    """Return the charges, or the payments."""
    return [line for line in lines if line.is_charge is is_charge]


def lines_of(
    rows: Iterable[dict[str, object]], start: int, end: int, only: str = ""
) -> list[Line]:
    """Return what is to be shown of rows, by time, those without a time at the end.

    The range is unix seconds, both ends in it; `only` is 'charges', 'credits' or ''.
    Rows whose amount would show as zero are left out.
    """
    lines = [line for line in map(Line, rows) if line.amount != 0]
    if only:
        lines = side(lines, SECTIONS[only][1])
    lines = [line for line in lines if line.within(start, end)]
    return sorted(lines, key=lambda line: (line.when is None, line.when or 0))


def total(lines: Iterable[Line]) -> Decimal:
    """Return the exact sum of the amounts, as they are shown."""
    from decimal import Decimal

    return sum((x.amount for x in lines if x.amount is not None), Decimal("0.00"))


def current_charges(current: object) -> Decimal | None:
    """Return what is not billed yet, from an object, a number or null."""
    if isinstance(current, dict):
        current = current.get("total", current.get("charges"))
    return parse_amount(current)


def invoice_number(end: int) -> int:
    """Return the number of an invoice, which is that of the month its range ends in."""
    year, month = time.localtime(end)[:2]
    return year * 12 + month - 1


def invoice_file(number: int, start: int | None, end: int | None, only: str) -> str:
    """Return the file's name; None is an end of the range that was not asked for."""
    parts = ("invoice", str(number), local_date(start), local_date(end), only)
    return "_".join(part for part in parts if part) + ".pdf"


def bill_to(user: dict[str, object]) -> list[str]:
    """Return the lines of the customer's address that there are."""
    keys = ("line1", "line2", "city", "zip", "country")
    parts = (printable(user.get("billaddress_" + key)) for key in keys)
    first, second, city, code, country = parts
    name = printable(user.get("fullname") or user.get("username"))
    texts = (name, first, second, f"{city} {code}".strip(), country)
    return [text for text in texts if text]


def find_user(client: Client) -> Row:
    """Return the account's record, without credentials. Raises VastError."""
    reply = client.send(Call("GET", "/api/v0/users/current/", exact=True))
    if not isinstance(reply, dict) or "id" not in reply:
        raise VastError("the response is not a user", BAD_REPLY)
    user: Row = without_credentials(reply)
    return user


class Bills:
    """The lines of invoices in a range, and the charges that are not billed yet."""

    def __init__(self, client: Client, args: argparse.Namespace) -> None:
        if args.only_charges and args.only_credits:
            raise UsageError("--only_charges does not go with --only_credits")
        self.start, self.end = args.start_date or 0, args.end_date
        if self.end is None:
            self.end = int(client.env.now())
        if self.end < self.start:
            raise UsageError("the end date is before the start date")
        first = format_time(self.start) if args.start_date else "the beginning"
        self.period = f"{first} to {format_time(self.end)}"
        if not args.quiet:
            client.env.note(f"from {self.period}")
        self.only = "charges" * args.only_charges + "credits" * args.only_credits
        rows, self.current = billed(client, self.start, self.end)
        self.lines = lines_of(rows, self.start, self.end, self.only)


def billed(client: Client, start: int, end: int) -> tuple[list[Row], object]:
    """The rows of invoices and the current charges; where that call is retired, the
    rows of its two successors."""
    params = {"owner": "me", "sdate": f"{start}", "edate": f"{end}"}
    params["inc_charges"] = "true"
    try:
        call = Call("GET", "/api/v0/users/me/invoices", params=params, exact=True)
        reply = client.send(call)
        return rows_of(reply, "invoices"), reply.get("current")
    except VastError as error:
        if not is_gone(error):
            raise
    rows = []
    for path, column in (("/api/v1/invoices/", "when"), ("/api/v0/charges/", "day")):
        filters = json.dumps({column: {"gte": start, "lte": end}})
        params = {"select_filters": filters, "limit": "500"}
        rows += client.pages(Call("GET", path, params=params, exact=True), "results")[0]
    return rows, None


INVOICE_COLUMNS = (
    Column("ID", "id", "s", essential=True),
    Column("Date", "date", "", essential=True),
    Column("Type", "kind", "", essential=True),
    Column("Description", "item", "", essential=True),
    Column("Quantity", "quantity", "s", essential=True),
    Column("Rate", "rate", "s", essential=True),
    Column("Amount", "amount", "s", essential=True),
)


def invoice_cells(line: Line) -> Row:
    """What a line of an invoice shows in a table, and the fields of its row."""
    cells = {name: getattr(line, name) for name in ("id", "date", "kind", "item")}
    cells["item"] = line.row.get("description") or line.item  # escapes and all
    for name in ("quantity", "rate", "amount"):
        value = getattr(line, name)
        cells[name] = None if value is None else f"{value:f}"
    return {**line.row, **cells}


def show_invoices(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """`show invoices`: the rows, then on stderr their sums."""
    bills = Bills(client, args)
    rows = [line.row for line in bills.lines]
    value = {"invoices": rows, "current": bills.current}
    cells_of = [invoice_cells(line) for line in bills.lines]
    yield Table(cells_of, INVOICE_COLUMNS, value)
    if not args.quiet:
        for title, is_charge in SECTIONS.values():
            sum_of = total(side(bills.lines, is_charge))
            client.env.note(f"{title.lower()}: {format_amount(sum_of)} USD")
        client.env.note(
            f"not billed yet: {format_amount(current_charges(bills.current))} USD"
        )


BILLS_ARGS = (
    Arg("-s --start_date", "from this date on: 2026-02-03, 2026-02, ...", start_date),
    Arg("-e --end_date", "up to this date, its last second included", end_date),
    Arg("-c --only_charges", "no payments", bool),
    Arg("-p --only_credits", "only payments", bool),
)
BILLING_COMMANDS = (
    Command("show invoices", "list charges and payments", show_invoices,
        *BILLS_ARGS, *LISTING_ARGS,
        example="show invoices -s 2026-01 -e 2026-03",
    ),
)  # fmt: skip


# --- PDF invoice ----------------------------------------------------------------------


class Invoice:
    """What an invoice says; period is the range in words, date the day of issue."""

    def __init__(
        self,
        number: int,
        user: dict[str, object],
        period: str,
        date: str,
        lines: list[Line],
        current: object = None,
        only: str = "",
    ) -> None:
        self.number, self.period, self.date = number, printable(period), date
        self.bill_to = bill_to(user)
        self.lines = lines
        self.current = current_charges(current)
        self.sections = [SECTIONS[only]] if only else list(SECTIONS.values())

    def unshowable(self) -> list[str]:
        """Return the texts of which some character shows as '?'."""
        texts = [*self.bill_to, self.period]
        texts += (text for line in self.lines for text in (line.item, line.detail))
        return [
            text
            for text in dict.fromkeys(texts)
            if showable(text) != text.translate(LOOKALIKES)
        ]


# Measures are points, counted on an A4 page from its lower left corner.
WIDTH, HEIGHT, LEFT, RIGHT = 595, 842, 48, 547
TOP, BOTTOM = 786, 58  # of what stands between the margins of a page but the first
BODY, LEADING, PADDING, BLEED = 8.5, 10.2, 2.5, 6  # stripes bleed beyond their text
BAR_LEFT, BAR_ROOM = 100, 240

# Red, green and blue, from 0 to 1, as PDF has them.
INK, GREY, PALE = ".11 .13 .17", ".43 .46 .51", ".955 .965 .98"
RULE, ACCENT = ".8 .83 .87", ".1 .27 .55"

ISSUER = ("Vast.ai Inc.", "100 Van Ness Ave.", "San Francisco CA 94102")
TERMS = "Charged, do not pay"
HELVETICA = ("Helvetica", "Helvetica-Bold")

# Heading; the edge of its texts; their room; whether that is the right edge.
ITEM_COLUMNS = (
    ("Item", LEFT, 256, False), ("Date", 316, 52, False), ("Quantity", 428, 58, True),
    ("Rate", 484, 50, True), ("Amount", RIGHT, 58, True),
)  # fmt: skip
SUMS = (("", LEFT, 256, False), ("", RIGHT, 200, True))

if TYPE_CHECKING:  # pragma: no cover - only mypy reads it
    Place = tuple[str, int, int, bool]
    Box = tuple[float, float, float, float, str]  # x, y, width, height, colour
    Text = tuple[float, float, str, float, bool, str]  # x, y, text, size, bold, colour
    Page = tuple[list[Box], list[Text]]  # the boxes lie below the texts
    Widths = dict[str, int]  # of characters, in thousandths of the font size


class Sheets:
    """The pages of an invoice, filled from the top; y is how far down the last one."""

    def __init__(
        self, widths: tuple[Widths, Widths], on_page: Callable[[int], object]
    ) -> None:
        self.widths = widths  # regular, bold
        self.on_page = on_page
        self.pages: list[Page] = []
        self.turn()

    def turn(self) -> None:
        """Begin a page."""
        self.boxes: list[Box] = []
        self.texts: list[Text] = []
        self.pages.append((self.boxes, self.texts))
        self.y: float = TOP
        self.on_page(len(self.pages))

    def need(self, height: float) -> bool:
        """Begin a page if this one has less left; tell whether."""
        short = self.y - height < BOTTOM
        if short:
            self.turn()
        return short

    def text(
        self,
        x: float,
        text: str,
        room: float,
        right: bool = False,
        size: float = BODY,
        bold: bool = False,
        colour: str = INK,
    ) -> None:
        """Write one line with its left or right edge at x, smaller if too wide."""
        text = showable(text)
        width = sum(map(self.widths[bold].__getitem__, text)) * size / 1000
        if width > room:
            size, width = size * room / width, room
        if text:
            at = x - width if right else x
            self.texts.append((at, self.y, text, size, bold, colour))

    def wrap(self, text: str, room: float, most: int = LONGEST_TEXT) -> list[str]:
        """Break text of body size into most lines at most, at blanks where it can."""
        widths, room = self.widths[0], room * 1000 / BODY
        lines: list[str] = []
        text = showable(text)
        while sum(map(widths.__getitem__, text)) > room:
            fits, left = 0, room - widths[text[0]]
            while left >= 0:
                fits += 1
                left -= widths[text[fits]]
            if len(lines) == most - 1:
                return [*lines, text[: fits - 1] + "…"]
            cut = text.rfind(" ", 0, fits + 1)
            cut = cut if cut > 0 else fits
            lines.append(text[:cut])
            text = text[cut:].lstrip()
        return [*lines, text] if text else lines

    def cells(
        self,
        columns: Iterable[Place],
        texts: Iterable[str],
        size: float = BODY,
        bold: bool = False,
        colour: str = INK,
    ) -> None:
        """Write a row of a table."""
        for (_, x, room, right), text in zip(columns, texts):
            self.text(x, text, room, right, size, bold, colour)

    def paragraphs(
        self, x: float, texts: Iterable[str], room: float, most: int, colour: str = INK
    ) -> None:
        """Write texts below each other, each on most lines at most."""
        for text in texts:
            for line in self.wrap(text, room, most):
                self.text(x, line, room, colour=colour)
                self.y -= LEADING + 1

    def stripe(self, height: float, colour: str) -> None:
        """Fill the height below y, from margin to margin."""
        width = RIGHT - LEFT + 2 * BLEED
        self.boxes.append((LEFT - BLEED, self.y - height, width, height, colour))

    def headings(self, title: str, columns: Sequence[Place]) -> None:
        """Write the title of a table and the headings of its columns."""
        self.y -= 12
        self.text(LEFT, title, RIGHT - LEFT, size=11, bold=True)
        self.y -= 17
        self.cells(columns, [column[0] for column in columns], 7.5, True, GREY)
        self.y -= 5
        self.stripe(0.6, INK)
        self.y -= 1

    def sums(self, columns: Sequence[Place], texts: Iterable[str]) -> None:
        """Write a row of sums below a line."""
        self.stripe(0.6, INK)
        self.y -= 13
        self.cells(columns, texts, 9, True)
        self.y -= 22


def draw_panel(sheets: Sheets, invoice: Invoice) -> None:
    """Draw the range and the sums that the invoice is about."""
    parts = invoice.sections if len(invoice.sections) > 1 else []
    columns = [(title, x, 82, True) for (title, _), x in zip(parts, (320, 415))]
    sums = [format_amount(total(side(invoice.lines, is_charge))) for _, is_charge in parts]
    sheets.stripe(60, PALE)
    sheets.y -= 20
    sheets.text(LEFT + 4, "Range", 182, colour=GREY)
    sheets.cells(columns, [column[0] for column in columns], colour=GREY)
    sheets.text(RIGHT - 4, "Total (USD)", 115, True, colour=GREY)
    sheets.y -= 21
    low = sheets.y - 39
    sheets.cells(columns, sums, 11)
    sheets.text(RIGHT - 4, format_amount(total(invoice.lines)), 115, True, 17, True)
    period = invoice.period.replace(" to ", "\nto ", 1).split("\n")
    sheets.y += (len(period) - 1) * LEADING / 2
    sheets.paragraphs(LEFT + 4, period, 182, 1)
    sheets.y = low


def draw_head(sheets: Sheets, invoice: Invoice) -> None:
    """Draw what stands above the tables."""
    sheets.boxes.append((0, HEIGHT - 6, WIDTH, 6, ACCENT))
    sheets.y = HEIGHT - 72
    sheets.text(LEFT, "Invoice", 120, size=28, bold=True)
    sheets.text(LEFT + 112, str(invoice.number), 120, size=28, colour=GREY)
    sheets.text(RIGHT, ISSUER[0], 120, True, 15, True, ACCENT)
    lows = []
    for x, room, name, texts in (
        (LEFT, 130, "From", ISSUER), (190, 180, "Bill to", invoice.bill_to),
        (390, 60, "Date", [invoice.date]), (462, 85, "Terms", [TERMS]),
    ):  # fmt: skip
        sheets.y = HEIGHT - 108
        sheets.text(x, name, room, colour=GREY)
        sheets.y -= LEADING + 3
        sheets.paragraphs(x, texts, room, 3)
        lows.append(sheets.y)
    sheets.y = min(lows) - 8
    draw_panel(sheets, invoice)


def draw_table(sheets: Sheets, title: str, lines: list[Line]) -> None:
    """Draw a section: its rows in stripes, then its subtotal."""
    sheets.need(90)
    sheets.headings(title, ITEM_COLUMNS)
    room = ITEM_COLUMNS[0][2]
    for index, line in enumerate(lines):
        texts = [(text, INK) for text in sheets.wrap(line.item, room)]
        texts += [(text, GREY) for text in sheets.wrap(line.detail, room)]
        # Only very long rows go over to the next page; the subtotal follows a row.
        tail = 30 if line is lines[-1] else 0
        for place, (text, colour) in enumerate(texts):
            first, last = place == 0, place + 1 == len(texts)
            together = min(len(texts), 12) if first else 1
            if sheets.need(together * LEADING + 2 * PADDING + tail):
                sheets.headings(title + " (continued)", ITEM_COLUMNS)
            if index % 2:
                sheets.stripe(LEADING + PADDING * (first + last), PALE)
            sheets.y -= LEADING - 2.5 + PADDING * first
            sheets.texts.append((LEFT, sheets.y, text, BODY, False, colour))
            if first:
                quantity, rate = format_amount(line.quantity, ""), format_amount(line.rate, "")
                figures = (line.date or "-", quantity, rate, format_amount(line.amount))
                sheets.cells(ITEM_COLUMNS[1:], figures)
            sheets.y -= 2.5 + PADDING * last
    sheets.sums(SUMS, ("Total " + title.lower(), format_amount(total(lines))))


def draw_months(sheets: Sheets, invoice: Invoice) -> None:
    """Draw the sums of each month, with a bar as long as its charges."""

    def sums(lines: list[Line]) -> list[str]:
        return [format_amount(total(side(lines, part))) for _, part in invoice.sections]

    edges = (RIGHT - 97, RIGHT)[-len(invoice.sections) :]
    columns = [("Month", LEFT, 50, False)]
    columns += [(title, x, 92, True) for (title, _), x in zip(invoice.sections, edges)]
    months: dict[str, list[Line]] = {}
    for line in invoice.lines:
        months.setdefault(line.date[:7] or "No date", []).append(line)
    bars = {month: total(side(lines, True)) for month, lines in months.items()}
    longest = max(bars.values())
    sheets.need(min(140 + 17 * len(months), TOP - BOTTOM))
    sheets.headings("Summary by month", columns)
    for month, lines in months.items():
        if sheets.need(60):
            sheets.headings("Summary by month (continued)", columns)
        sheets.y -= 12
        sheets.cells(columns, (month, *sums(lines)))
        if bars[month] > 0:
            length = float(bars[month] / longest) * BAR_ROOM
            sheets.boxes.append((BAR_LEFT, sheets.y - 1.5, length, 8, ACCENT))
        sheets.y -= 5
    sheets.sums(columns, ("Total", *sums(invoice.lines)))


def draw_end(sheets: Sheets, invoice: Invoice) -> None:
    """Draw the grand total and the notes below it."""
    unread = sum(line.amount is None for line in invoice.lines)
    notes = [f"All amounts are in US dollars. {TERMS}."]
    if invoice.current is not None:
        notes.append(f"Charges not billed yet: {format_amount(invoice.current)}.")
    if unread:
        notes.append(f"Rows without a readable amount, in no sum: {unread}.")
    sheets.need(70)
    if not invoice.lines:
        names = " or ".join(title.lower() for title, _ in invoice.sections)
        sheets.y -= 20
        sheets.text(LEFT, f"No {names} in this range.", RIGHT - LEFT, size=11)
        sheets.y -= 30
    grand = format_amount(total(invoice.lines))
    sheets.sums(SUMS, ("Grand total (USD)", grand))
    sheets.paragraphs(LEFT, notes, RIGHT - LEFT, 1, GREY)


def draw_margins(sheets: Sheets, invoice: Invoice) -> None:
    """Write the foot of each page, and the head of each but the first."""
    for index, page in enumerate(sheets.pages, 1):
        sheets.boxes, sheets.texts = page
        if index > 1:
            sheets.y = HEIGHT - 38
            sheets.text(LEFT, f"Invoice {invoice.number}", 200, False, 9, True)
            sheets.text(RIGHT, ISSUER[0], 200, True, 9, True, ACCENT)
            sheets.y -= 8
            sheets.stripe(0.6, RULE)
        sheets.y = 46
        sheets.stripe(0.6, RULE)
        sheets.y = 32
        place = f"Page {index} of {len(sheets.pages)}"
        sheets.text(LEFT, ", ".join(ISSUER), 300, False, 7.5, colour=GREY)
        sheets.text(RIGHT, place, 100, True, 7.5, colour=GREY)


def draw(
    invoice: Invoice,
    widths: tuple[Widths, Widths],
    on_page: Callable[[int], object],
) -> list[Page]:
    """Lay an invoice out on pages; on_page hears how many there are so far."""
    sheets = Sheets(widths, on_page)
    draw_head(sheets, invoice)
    for title, is_charge in invoice.sections:
        lines = side(invoice.lines, is_charge)
        if lines:
            draw_table(sheets, title, lines)
    if invoice.lines:
        draw_months(sheets, invoice)
    draw_end(sheets, invoice)
    draw_margins(sheets, invoice)
    return sheets.pages


def encoded(text: str) -> list[tuple[str, str]]:
    """Split text into pairs of a font and its codes, as characters up to U+00FF."""
    if text.isascii():
        return [("F", text)]
    codes = {ord(char): 128 + index for index, char in enumerate(LATIN)}
    return [
        (
            ("L", run.translate(codes))
            if run[0] in LATIN
            else ("F", run.encode("cp1252").decode("latin-1"))
        )
        for run in re.findall(f"[{LATIN}]+|[^{LATIN}]+", text)
    ]


def operators(page: Page) -> bytes:
    """Return the PDF operators that draw a page."""
    boxes, texts = page
    out = ["%s rg %.2f %.2f %.2f %.2f re f" % (box[4], *box[:4]) for box in boxes]
    out.append("BT")
    state = None
    for x, y, text, size, bold, colour in texts:
        out.append("1 0 0 1 %.2f %.2f Tm" % (x, y))
        for font, codes in encoded(text):
            if state != (font, size, bold, colour):
                state = font, size, bold, colour
                out.append(f"/{font}{bold:d} {size:.2f} Tf {colour} rg")
            codes = codes.replace("\\", "\\\\").replace("(", "\\(")
            out.append("(%s) Tj" % codes.replace(")", "\\)"))
    out.append("ET")
    return "\n".join(out).encode("latin-1")


def font_widths(font: str) -> Widths:
    """Return the widths of all that a font can show."""
    from borb.pdf import Standard14Fonts

    # borb has these under other names; here are others as wide in either weight.
    twins = {"ƒ": "0", "¹": "(", "²": "(", "³": "(", "µ": "μ"}
    chars = bytes(range(32, 256)).decode("cp1252", "ignore") + LATIN
    # At size 1000, because borb rounds up to whole points.
    width = Standard14Fonts.get(font).get_width
    return {char: width(twins.get(char, char), font_size=1000) for char in chars}


def pdf_fonts() -> dict[str, object]:
    """Return the fonts: F0 and F1 (bold) in cp1252, L0 and L1 with LATIN."""
    from borb.pdf import Standard14Fonts
    from borb.pdf.font.adobe_glyph_list import AdobeGlyphList
    from borb.pdf.primitives import name

    names = AdobeGlyphList.ADOBE_CHARACTER_TO_CHARACTER_NAME
    latin = {"Type": name("Encoding"), "BaseEncoding": name("WinAnsiEncoding")}
    latin["Differences"] = [128, *(name(names[char]) for char in LATIN)]
    fonts = {}
    for index, font in enumerate(HELVETICA):
        fonts[f"F{index}"] = Standard14Fonts.get(font)
        fonts[f"L{index}"] = Standard14Fonts.get(font)
        fonts[f"L{index}"]["Encoding"] = latin
    return fonts


def pdf_facts(invoice: Invoice, created: datetime) -> dict[str, str]:
    """Return what the file says of itself; its producer stays borb, by its licence."""
    from borb.pdf.primitives import hexstr

    titles = " and ".join(title for title, _ in invoice.sections)
    facts = {
        "Title": f"Invoice {invoice.number}",
        "Author": ISSUER[0],
        "Subject": f"{titles}, {invoice.period}",
    }
    # In hexadecimal, because borb does not escape text and fails beyond Latin-1.
    for key, text in facts.items():
        facts[key] = hexstr(f"\ufeff{text}".encode("utf-16-be").hex())
    zone = created.astimezone().strftime("%z")
    date = created.astimezone().strftime("D:%Y%m%d%H%M%S") + f"{zone[:3]}'{zone[3:5]}'"
    return {**facts, "CreationDate": date, "ModDate": date}


def load_borb() -> None:
    """Import borb, and keep it to its task. Raises UsageError when it is not there."""
    try:
        from borb.pdf import UsageStatistics
    except ImportError:
        hint = "python3 -m pip install 'borb>=3.0.9,<4'"
        raise UsageError(f"the PDF needs borb, to be had by: {hint}", "borb") from None
    # Else borb reports over the network when Python ends, and takes over Ctrl-C.
    UsageStatistics.opt_out()


def invoice_pdf(
    invoice: Invoice, created: datetime, on_page: Callable[[int], object]
) -> tuple[bytes, int]:
    """Return an invoice as a PDF file, and the number of its pages."""
    load_borb()
    import hashlib
    import io

    from borb.pdf import PDF, Document, Page
    from borb.pdf.primitives import hexstr, name

    regular, bold = map(font_widths, HELVETICA)
    pages = draw(invoice, (regular, bold), on_page)
    document, digest = Document(), hashlib.sha256()
    for drawn in pages:
        page = Page()
        contents = page["Contents"]
        contents["DecodedBytes"] = operators(drawn)
        digest.update(contents["DecodedBytes"])
        # borb's writer takes time by the square of the number of values, so that
        # a page keeps no more than it must and inherits the rest.
        page.clear()
        page.update(Type=name("Page"), Contents=contents)
        document.append_page(page)
    trailer = document["Trailer"]
    trailer["ID"] = [hexstr(digest.hexdigest()[:32])] * 2
    trailer["Info"].update(pdf_facts(invoice, created))
    trailer["Root"]["Pages"].update(
        Resources={"Font": pdf_fonts()}, MediaBox=[0, 0, WIDTH, HEIGHT]
    )
    stream = io.BytesIO()
    PDF.write(what=document, where_to=stream)
    return stream.getvalue(), len(pages)


def generate_pdf(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """`generate pdf-invoices`: draws the invoice and says where it is."""
    from datetime import datetime

    if args.output == "-" and args.raw:
        raise UsageError("--raw does not go with --output -: there is one stdout")
    if not args.dry_run:
        load_borb()
    bills = Bills(client, args)
    world, number = client.env, invoice_number(bills.end)
    created = datetime.fromtimestamp(int(world.now())).astimezone()
    invoice = Invoice(
        number,
        find_user(client),
        bills.period,
        f"{created:%Y-%m-%d}",
        bills.lines,
        bills.current,
        bills.only,
    )
    for text in () if args.quiet else invoice.unshowable():
        world.note(f"letters that the PDF cannot show, '?' there: {text}")
    busy = len(bills.lines) > MANY_ROWS
    content, pages = invoice_pdf(
        invoice, created, lambda page: world.progress(f"page {page}") if busy else None
    )
    ends = args.start_date, args.end_date
    path = args.output or invoice_file(number, *ends, bills.only)
    sum_text = f"{total(bills.lines):f}"
    value = {"path": path, "pages": pages, "rows": len(bills.lines), "total": sum_text}
    if path == "-":
        yield content
    else:
        write_file(path, content)
        yield Result(value, path)


MANY_ROWS = 2000


PDF_COMMANDS = (
    Command("generate pdf-invoices", "draw charges and payments as a PDF",
        generate_pdf, *BILLS_ARGS,
        Arg("-q --quiet", "no notes on stderr", bool),
        Arg("-o --output", "the file to write; - is stdout", file_name),
        example="generate pdf-invoices -s 2026-01 -e 2026-03",
    ),
)  # fmt: skip


# --- account, keys and teams ----------------------------------------------------------


USER_COLUMNS = (
    Column("Field", "Field", essential=True),
    Column("Value", "Value", essential=True),
)


def show_user(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """Show the fields of the account that have a value."""
    user = find_user(client)
    # Whatever has a fraction there is dollars.
    shown = {
        name: format_amount(parse_amount(value)) if isinstance(value, float) else value
        for name, value in sorted(user.items())
    }
    if args.quiet:
        line = [user.get(name) for name in ("id", "email", "balance", "credit")]
        yield Result(user, " ".join(cell(value) for value in line))
        return
    rows = [
        {"Field": name, "Value": value}
        for name, value in shown.items()
        if value not in (None, "")
    ]
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
    if env.environ.get("VAST_API_KEY"):
        env.note("the environment's VAST_API_KEY overrides the file")
    done = "would be saved" if args.dry_run else "saved"
    yield Result({"path": path}, f"API key {done} to {path}")


ACCOUNT_COMMANDS = (
    Command("show user", "show your account", show_user,
        Arg("-q --quiet", "one line: id, e-mail, balance and credit", bool),
        *TABLE_ARGS,
    ),
    Command("set api-key", "save your API key", set_api_key,
        Arg("new_api_key?", "the key; without it, or with -, it is asked for or read"
            " from stdin"),
        Arg("--check", "ask the service whether the key works", bool),
        example="set api-key",
    ),
    Command("create account", "say how to get an API key", no_longer,
        Arg("ignored*", "any words"), pass_on=True,
    ),
    Command("login", "say how to get an API key", no_longer,
        Arg("ignored*", "any words"), pass_on=True,
    ),
)  # fmt: skip


# --- serverless -----------------------------------------------------------------------

SERVERLESS_COMMANDS: tuple[Command, ...] = ()


# --- parser, help and completion ------------------------------------------------------

SHELL_NAMES = Choice("shell", "bash", "zsh")


def completion(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """Print the script that completes the words after the program's name."""
    yield ""


GLOBAL_ARGS = (
    Arg("--url", "address of the service; or VAST_URL"),
    Arg("--raw", "print JSON", bool),
    Arg("--api-key", "the API key; ps shows it, VAST_API_KEY is safer"),
    Arg("--retry", "retries of a failed request (3)",
        number("number of retries", least=0, most=1000, whole=True), default=3),
    Arg("--dry-run", "print the first request for curl, send nothing", bool),
    Arg("-h --help", "show this help", bool),
)  # fmt: skip
VERSION_ARG = Arg("--version", "print the version", bool)


def show_help(client: Client, args: argparse.Namespace) -> Iterator[Shown]:
    """Show the main help, or that of a command or a topic."""
    yield help_text(args.command).rstrip("\n")


# The commands by who uses them, in the order of the main help.
GROUPS: dict[str, tuple[Command, ...]] = {
    "Renting": (*OFFER_COMMANDS, *INSTANCE_COMMANDS, *COPYING_COMMANDS, *KEY_COMMANDS),
    "Templates and storage": (*TEMPLATE_COMMANDS, *STORAGE_COMMANDS),
    "Hosting": HOSTING_COMMANDS,
    "Billing": (*BILLING_COMMANDS, *PDF_COMMANDS),
    "Account": ACCOUNT_COMMANDS,
    "Serverless": SERVERLESS_COMMANDS,
    "Program": (
        Command("completion", "print a script for completion in the shell", completion,
            Arg("shell", "bash or zsh", SHELL_NAMES), example="completion bash",
        ),
        Command("help", "show help on a command or a topic", show_help,
            Arg("command*", "a command, or a topic"), example="help query",
        ),
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
    if known in COMMAND_BY_NAME:
        hint = f"; did you mean '{known}'?"
    elif thing.isdecimal() and f"{verb} instance" in COMMAND_BY_NAME:
        hint = f"; did you mean '{verb} instance {thing}'?"
    else:
        near = difflib.get_close_matches(name, COMMAND_BY_NAME, n=1, cutoff=0.75)
        if not near:
            near = difflib.get_close_matches(verb, COMMAND_BY_NAME, n=1, cutoff=0.75)
        hint = f"; did you mean '{near[0]}'?" if near else f"; see {PROGRAM} help"
    return UsageError(f"unknown command '{' '.join(names)}'{hint}")


def usage_error(msg: str, command: Command | None) -> UsageError:
    """Return a UsageError that says which command and where to read on."""
    name = f"{command.name} " if command else ""
    where = f"{name.rstrip()}: " if command else ""
    return UsageError(f"{where}{msg}; see {PROGRAM} {name}--help")


def unknown_option(
    word: str, options: Mapping[str, Arg], command: Command | None, value: str = "VALUE"
) -> UsageError:
    """Return the error for a word that looks like an option and is none."""
    name, _, inline = word.partition("=")
    field = named_fields(FIELDS).get(name.strip("-").replace("-", "_"))
    if plain(name).strip("-") in ("json", "output-json"):
        hint = "; did you mean '--raw'?"
    elif f"-{plain(name)}" in options:
        hint = f"; did you mean '-{plain(name)}'?"
    elif field and command and command.name == "search offers":
        hint = f"; write it into the query: '{field.name}={inline or value}'"
    else:
        hint = did_you_mean(plain(name), options)
    return usage_error(f"unknown option '{word}'{hint}", command)


class Words:
    """The words after a command, respelt for argparse: options under their long name
    and glued to their value, the other words, and what is passed on as it stands."""

    def __init__(self, command: Command, words: list[str]) -> None:
        self.command = command
        self.args = (*command.args, *GLOBAL_ARGS)
        self.options = option_names((*self.args, VERSION_ARG))
        self.positionals = [arg for arg in command.args if not arg.flags]
        self.glued: list[str] = []
        self.others: list[str] = []
        self.rest: list[str] | None = None
        self.queue = words
        while self.queue:
            self.take(self.queue.pop(0))

    def take(self, word: str) -> None:
        """Respell one word, and the value behind it. Raises UsageError."""
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
            value = self.queue[0] if self.queue else "VALUE"
            raise unknown_option(word, self.options, self.command, value)
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
                self.others.append(value)
            else:
                self.glued.append(f"{arg.long}={LITERAL}{value}")
        return True

    def pass_on(self, words: list[str]) -> None:
        """Take what follows `--args`. Whoever adds --dry-run at the end of a line must
        not rent for real."""
        if words[:1] == ["--"]:
            words = words[1:]
        elif any(plain(word.partition("=")[0]) == "--dry-run" for word in words):
            raise usage_error(
                "--dry-run must stand before --args; to pass it on, write --args --",
                self.command,
            )
        self.rest, self.queue = words, []

    def parse(self) -> argparse.Namespace:
        """Return the typed arguments. Raises UsageError."""
        most = len(self.positionals)
        if any(arg.many in ("+", "*") for arg in self.positionals):
            most = len(self.others)
        if self.others[most:]:
            raise self.unexpected(self.others[most], " ".join(self.others[:most]))
        args = argparse.Namespace()
        others = [LITERAL + word for word in self.others]
        build_parser(self.command).parse_args([*self.glued, *others], namespace=args)
        for arg in self.command.args:
            if arg.many == "...":
                setattr(args, arg.dest, self.rest)
        return args

    def unexpected(self, word: str, before: str) -> UsageError:
        """Return the error for a positional too many."""
        typed = {option.partition("=")[0] for option in self.glued}
        required = [arg.long for arg in self.args if arg.required]
        needed = [name for name in required if name not in typed]
        hint = f"for example: {PROGRAM} {self.command.example}"
        if needed:
            hint = f"use: {PROGRAM} {self.command.name} {before} {needed[0]} {word}"
        return usage_error(f"unexpected argument '{word}'; {hint}", self.command)


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
    parser = Parser(
        prog=f"{PROGRAM} {command.name}",
        usage=" ".join([f"{PROGRAM} {command.name}", *needed, "[options]", *words]),
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


def usage_word(arg: Arg) -> str:
    """Return a positional as a usage line shows it."""
    name = arg.metavar
    many = {"+": f"{name} [{name} ...]", "*": f"[{name} ...]", "?": f"[{name}]",
            "...": f"[{name} ...]", "": name}  # fmt: skip
    return many[arg.many]


def command_list() -> str:
    """Return all commands with what they do, by who uses them."""
    lines = []
    for group, commands in GROUPS.items():
        lines.append(f"\n{group}:")
        lines += [f"  {c.name:<27} {c.help}" for c in commands if not c.hidden]
    return "\n".join(lines)


def main_help() -> str:
    """Return the help of the whole program."""
    options = [
        f"  {', '.join(arg.flags)} {'' if arg.is_flag else arg.metavar}".ljust(24)
        + arg.help
        for arg in (*GLOBAL_ARGS, VERSION_ARG)
    ]
    return f"""\
usage: {PROGRAM} COMMAND [options] [arguments]

Rent GPUs on Vast.ai, and rent yours out.

  {PROGRAM} search offers 'num_gpus>=4 dph<2' -o dph
  {PROGRAM} create instance 1234 --image pytorch/pytorch --disk 40 --wait
  {PROGRAM} ssh 5001
{command_list()}

Global options:
{chr(10).join(options)}

More: {PROGRAM} help COMMAND, {", ".join(f"help {topic}" for topic in TOPICS)}

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
    lines = []
    for command in COMMANDS:
        if isinstance(command.run, Listing):
            lines.append(f"{command.name}:")
            lines += [
                f"  {column.heading:<14}{column.help}" for column in command.run.columns
            ]
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
        raise UsageError(f"there is no help on '{name}'{near}")
    return build_parser(command).format_help()


def verb_help(verb: str) -> str:
    """Return the commands of a verb."""
    lines = [
        f"  {name:<27} {command.help}"
        for name, command in COMMAND_BY_NAME.items()
        if name.split()[0] == verb
    ]
    return f"commands starting with '{verb}':\n" + "\n".join(lines) + "\n"


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
        self.status = min(self.status, status, key=GRAVEST.index)

    def show(self, shown: Shown) -> None:
        """Show one thing that a command yields."""
        if isinstance(shown, Failed):
            self.fail(shown.error)
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
        found = [row[table.key] for row in table.rows if row.get(table.key) is not None]
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
            if dropped:
                hidden = f"{dropped} column{'s' * (dropped > 1)} hidden to fit"
                self.env.note(f"{hidden} {room} columns; --wide or --cols shows them")

    def fail(self, error: VastError) -> None:
        """Report an error on stderr; what has been paid is named, and no status may
        invite a retry."""
        paid = self.client.paid if self.client else ""
        if paid:
            named = paid.partition(":")[0] in str(error)
            msg = str(error) if named else f"{error}; {paid}"
            status = error.status
            error = NotDone(msg, error.slug, error.http)
            if GRAVEST.index(status) < GRAVEST.index(ExitStatus.UNREACHABLE):
                error.status = status
        self.worsen(error.status)
        if self.raw:
            self.env.write_error(json.dumps(error.as_json(), sort_keys=True) + "\n")
            return
        self.env.note(str(error))
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
    if call.needs_key:
        saved = next((p for p in key_files(env.environ) if os.path.isfile(p)), None)
        key = "$VAST_API_KEY"
        if saved and not env.environ.get("VAST_API_KEY"):
            path = saved.replace(home(env.environ), "~", 1)
            key = f"$(cat {path if path.startswith('~/') else quote(path)})"
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


REQUIREMENTS = {"dateutil": "python-dateutil", "requests": "requests", "borb": "borb"}


def missing_package(error: ImportError) -> UsageError:
    """Return the error for a package that is missing or broken, with the cure."""
    name = (error.name or "requests").partition(".")[0]
    package = REQUIREMENTS.get(name, name)
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
