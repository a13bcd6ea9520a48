"""Cases of the commands about hosting; see cases.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cases import CHANGE, ONCE, Case

from market import Market, made_machines

MACHINES = "/api/v0/machines"
DEFJOB = {"price_gpu": 0.1, "price_inetu": 0.01, "price_inetd": 0.02, "image": "it"}
ALL = "verified=all&hosting_type=all&num_gpus=all"


def tomorrow(market: Market) -> dict[str, Any]:
    """Return when maintenance may start."""
    return {"start": int(market.now()) + 86400}


def volume(market: Market) -> dict[str, Any]:
    """Offer space for volumes on a machine."""
    market.machines[7104].terms |= {"listed": True, "volume_total_size": 9}
    return {}


def spare_machine(market: Market) -> dict[str, Any]:
    """Put the machine that nobody rents back if it has been deleted."""
    for machine in made_machines():
        if machine.hardware["machine_id"] == 7103:
            fresh = replace(machine, terms=dict(machine.terms))
            market.machines.setdefault(7103, fresh)
    return {}


CASES: dict[str, Case] = {
    "show machines": Case(
        "show machines", ("GET", f"{MACHINES}?owner=me", None), "machines"
    ),
    "show machine": Case(
        "show machine 7101", ("GET", f"{MACHINES}/7101?owner=me", None), "machine"
    ),
    "list machine": Case(
        "list machine 7101 --price_gpu 0.4",
        ("PUT", f"{MACHINES}/create_asks/", {"machine": 7101, "price_gpu": 0.4}),
        "list_machine",
        CHANGE,
    ),
    "unlist machine": Case(
        "unlist machine 7101",
        ("DELETE", f"{MACHINES}/7101/asks/", {}),
        "unlist_machine",
        CHANGE,
    ),
    "set min-bid": Case(
        "set min-bid 7101 --price 0.2",
        ("PUT", f"{MACHINES}/7101/minbid/", {"client_id": "me", "price": 0.2}),
        "min_bid",
        CHANGE,
    ),
    "set defjob": Case(
        "set defjob 7101 --price_gpu 0.1 --price_inetu 0.01 --price_inetd 0.02"
        " --image it",
        ("PUT", f"{MACHINES}/create_bids/", {"machine": 7101, **DEFJOB}),
        "set_defjob",
        CHANGE,
    ),
    "remove defjob": Case(
        "remove defjob 7101",
        ("DELETE", f"{MACHINES}/7101/defjob/", {}),
        "remove_defjob",
        CHANGE,
    ),
    "list volume": Case(
        "list volume 7101 --size 40",
        ("POST", "/api/v0/volumes/", {"machine": 7101, "size": 40, "price_disk": 0.1}),
        "list_volume",
        ONCE,
    ),
    "unlist volume": Case(
        "unlist volume 30007104",
        ("POST", "/api/v0/volumes/unlist", {"id": 30007104}),
        "unlist_volume",
        CHANGE,
        setup=volume,
    ),
    "show maints": Case(
        "show maints",
        ("GET", f"{MACHINES}?owner=me", None),
        "machines",
        after=("maintenances",),
    ),
    "schedule maint": Case(
        "schedule maint 7101 --sdate {start} --duration 2",
        (
            "PUT",
            f"{MACHINES}/7101/dnotify/",
            {
                "client_id": "me",
                "sdate": "{start}",
                "duration": 2,
                "maintenance_category": "not provided",
            },
        ),
        "schedule_maint",
        ONCE,
        setup=tomorrow,
    ),
    "cancel maint": Case(
        "cancel maint 7101",
        (
            "PUT",
            f"{MACHINES}/7101/cancel_maint/",
            {"client_id": "me", "machine_id": 7101},
        ),
        "cancel_maint",
        CHANGE,
    ),
    "cleanup machine": Case(
        "cleanup machine 7102",
        ("PUT", f"{MACHINES}/7102/cleanup/", {}),
        "cleanup_machine",
        CHANGE,
    ),
    "defrag machines": Case(
        "defrag machines 7101 7102",
        ("PUT", f"{MACHINES}/defrag_offers/", {"machine_ids": [7101, 7102]}),
        "defrag_machines",
        CHANGE,
    ),
    "delete machine": Case(
        "delete machine 7103 -y",
        ("POST", f"{MACHINES}/7103/force_delete/", {}),
        "delete_machine",
        ONCE,
        setup=spare_machine,
    ),
    "reports": Case(
        "reports 7102", ("GET", f"{MACHINES}/7102/reports/", None), "reports"
    ),
    "self-test machine": Case(
        "self-test machine 7101",
        ("GET", f"{MACHINES}/7101?owner=me", None),
        "machine",
        after=("search",),
    ),
    "show earnings": Case(
        "show earnings -s 2026-08-01 -e 2026-08-31 -m 7101",
        (
            "GET",
            "/api/v0/users/me/machine-earnings?owner=me&sday=20666&eday=20696&machid=7101",
            None,
        ),
        "earnings",
    ),
    "show gpu-metrics": Case(
        "show gpu-metrics",
        ("GET", f"/api/v0/metrics/gpu/current/?{ALL}", None),
        "gpu_metrics",
    ),
    "show gpu-trends": Case(
        "show gpu-trends RTX_4090",
        ("GET", f"/api/v0/metrics/gpu/history/?{ALL}&gpu_name=RTX+4090", None),
        "gpu_trends",
    ),
    "show gpu-locations": Case(
        "show gpu-locations",
        ("GET", "/api/v0/metrics/gpu/locations/", None),
        "gpu_locations",
    ),
}
