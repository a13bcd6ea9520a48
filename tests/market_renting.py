"""The calls about instances, copies, schedules, volumes, templates, keys and variables."""

from __future__ import annotations

from market import Call

CALLS: dict[str, Call] = {}
