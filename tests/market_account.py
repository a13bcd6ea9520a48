"""The calls about hosting, billing, accounts, keys, teams and serverless endpoints."""

from __future__ import annotations

from market import Call

CALLS: dict[str, Call] = {}
