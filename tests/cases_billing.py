"""Cases of the commands about billing; see cases.py."""

from __future__ import annotations

from cases import Case

BILLS = ("GET", "/api/v0/users/me/invoices?owner=me&sdate=0&edate=1790000000&inc_charges=true", None)
CASES: dict[str, Case] = {
    "show invoices": Case("show invoices", BILLS),
    "generate pdf-invoices": Case("generate pdf-invoices", BILLS),
}
