"""Cases of the commands about billing; see cases.py."""

from __future__ import annotations

from cases import Case

CASES: dict[str, Case] = {}
