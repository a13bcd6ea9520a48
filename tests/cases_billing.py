"""Cases of the commands about billing; see cases.py."""

from __future__ import annotations

from typing import Any

from cases import Case
from market import Market

OLD = "owner=me&sdate=0&edate=1790000000&inc_charges=true"
MAY = "%3A+1777593600%2C+%22lte%22%3A+1780271999%7D%7D"  # of 2026, whole


def rented(market: Market) -> dict[str, Any]:
    """Put an instance of the user's into the market."""
    offers = [offer for offer in market.offers.values() if offer.rental is None]
    order = {"image": "it", "disk": 10.0, "runtype": "ssh"}
    rental = market.rent(offers[0], order, next(market.ids), market.user["id"])
    return {"id": rental.id}


CASES: dict[str, Case] = {
    "show invoices": Case(
        "show invoices",
        ("GET", f"/api/v0/users/me/invoices?{OLD}", None),
        "invoices",
    ),
    "generate pdf-invoices": Case(
        "generate pdf-invoices",
        ("GET", f"/api/v0/users/me/invoices?{OLD}", None),
        "invoices",
        after=("user",),
    ),
    "show invoices-v1": Case(
        "show invoices-v1 -s 2026-05 -e 2026-05",
        (
            "GET",
            "/api/v1/invoices/?select_filters=%7B%22when%22%3A+%7B%22gte%22"
            f"{MAY}&latest_first=false&limit=100",
            None,
        ),
        "invoices_v1",
    ),
    "show charges": Case(
        "show charges -s 2026-05 -e 2026-05",
        (
            "GET",
            "/api/v0/charges/?select_filters=%7B%22day%22%3A+%7B%22gte%22"
            f"{MAY}&limit=500",
            None,
        ),
        "charges",
    ),
    "show deposit": Case(
        "show deposit {id}",
        ("GET", "/api/v0/instances/balance/{id}/?owner=me", None),
        "deposit",
        setup=rented,
    ),
}
