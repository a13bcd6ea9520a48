"""A renter's further calls: instances, copies, volumes, templates, keys and such."""

from __future__ import annotations

from market import Call

CALLS: dict[str, Call] = {}
