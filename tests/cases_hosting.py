"""Cases of the commands about hosting; see cases.py."""

from __future__ import annotations

from cases import CHANGE, Case

MACHINES = "/api/v0/machines"
DEFJOB = {"price_gpu": 0.1, "price_inetu": 0.01, "price_inetd": 0.02, "image": "it"}
CASES: dict[str, Case] = {
    "show machines": Case("show machines", ("GET", f"{MACHINES}?owner=me", None)),
    "list machine": Case(
        "list machine 7101 --price_gpu 0.4",
        ("PUT", f"{MACHINES}/create_asks/", {"machine": 7101, "price_gpu": 0.4}), "",
        CHANGE),
    "unlist machine": Case("unlist machine 7101",
                           ("DELETE", f"{MACHINES}/7101/asks/", {})),
    "set min-bid": Case("set min-bid 7101 --price 0.2",
        ("PUT", f"{MACHINES}/7101/minbid/", {"client_id": "me", "price": 0.2})),
    "set defjob": Case(
        "set defjob 7101 --price_gpu 0.1 --price_inetu 0.01 --price_inetd 0.02"
        " --image it",
        ("PUT", f"{MACHINES}/create_bids/", {"machine": 7101, **DEFJOB})),
    "remove defjob": Case("remove defjob 7101",
                          ("DELETE", f"{MACHINES}/7101/defjob/", {})),
}  # fmt: skip
