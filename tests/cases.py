"""One case for each command: how it is typed, and what it sends. The tests of what
holds for every command, and the fault matrix, take their parameters from here; a
command without a case fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from market import Market

READ, CHANGE, ONCE = "read", "change", "once"
SUBJECTS = "renting copying keys templates storage hosting billing account serverless"


class Case(NamedTuple):
    """A command line and the first request that it sends.

    `words` is shell-quoted, with {placeholders} that `setup` gives after it has put the
    market into the state that the command needs. `request` is method, path with query,
    and body (None: no body), with placeholders too; None: nothing is sent. `call` is
    the sandbox's name for it, `kind` whether it is a read, a change that may be
    repeated, or one that may not; `after` are the calls that follow when all is well.
    """

    words: str
    request: tuple[str, str, Any] | None = None
    call: str = ""
    kind: str = READ
    after: tuple[str, ...] = ()
    setup: Callable[[Market], dict[str, Any]] | None = None


def load() -> dict[str, Case]:
    """Return the cases of all subjects, from the modules cases_SUBJECT."""
    found: dict[str, Case] = {}
    for subject in SUBJECTS.split():
        found |= import_module(f"cases_{subject}").CASES
    return found


def fill(value: Any, names: Mapping[str, Any]) -> Any:
    """Return a value with its {placeholders} filled in; a text that is nothing but one
    becomes what the placeholder stands for, a number for example."""
    if isinstance(value, dict):
        return {key: fill(inner, names) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [fill(inner, names) for inner in value]
    if not isinstance(value, str):
        return value
    only = re.fullmatch(r"\{(\w+)\}", value)
    if only and only[1] in names:
        return names[only[1]]
    return re.sub(r"\{(\w+)\}", lambda match: str(names.get(match[1], match[0])), value)
