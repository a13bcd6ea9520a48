"""Cases of the commands about account; see cases.py."""

from __future__ import annotations

from cases import Case

CASES: dict[str, Case] = {
    "show user": Case("show user", ("GET", "/api/v0/users/current/", None)),
    "set api-key": Case("set api-key s3cr3t"),
    "create account": Case("create account"),
    "login": Case("login"),
    "completion": Case("completion bash"),
    "help": Case("help"),
}
