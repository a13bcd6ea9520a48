"""Cases of the commands about storage, schedules and prices; see cases.py."""

from __future__ import annotations

from typing import Any

from cases import CHANGE, ONCE, Case
from market import Market
from market_renting import add_volume, renting

V0 = "/api/v0"
JOBS = V0 + "/commands/schedule_job/"
INCREASES = V0 + "/instances/pending-price-increases/"
SPACE = 30020171  # the offer of space on the machine 20171


def with_volume(market: Market) -> dict[str, Any]:
    """Give the user one volume."""
    store = market.stores["volumes"]
    store.rows.clear()
    store.next_id = 70001
    add_volume(market, market.machines[20171], 20, "models")
    return {}


def with_job(market: Market) -> dict[str, Any]:
    """Give the user one scheduled job."""
    store = market.stores["scheduled_jobs"]
    store.rows.clear()
    store.add({
        "id": 8101, "instance_id": 5001, "frequency": "DAILY", "day_of_the_week": None,
        "hour_of_the_day": 5, "min_of_the_hour": 0, "start_time": 1790000000,
        "end_time": 1790604800, "api_endpoint": V0 + "/instances/5001/",
        "request_method": "DELETE", "request_body": {"instance_id": 5001},
    })  # fmt: skip
    return {}


def with_increase(market: Market) -> dict[str, Any]:
    """Give the user an instance, whose host asks for more."""
    market.stores["price_increases"].rows.clear()
    offer = next(o for o in market.offers.values() if not (o.rental or o.odd))
    order = {"image": "example/image", "disk": 10.0, "runtype": "ssh"}
    number = market.rent(offer, order, next(market.ids), market.user["id"]).id
    renting(market).add_price_increase(number)
    return {"id": number}


CASES: dict[str, Case] = {
    "search volumes": Case(
        "search volumes 'disk_space>200 cuda_vers>=12' -o storage_cost",
        ("POST", V0 + "/volumes/search/", {
            "verified": {"eq": True}, "external": {"eq": False},
            "disk_space": {"gt": 200}, "cuda_max_good": {"gte": 12},
            "order": [["storage_cost", "asc"]], "allocated_storage": 1.0,
        }),
        "search_volumes",
    ),
    "show volumes": Case(
        "show volumes",
        ("GET", V0 + "/volumes?owner=me&type=all_volume", None),
        "volumes",
        setup=with_volume,
    ),
    "create volume": Case(
        f"create volume {SPACE} -s 20 -n models",
        ("PUT", V0 + "/volumes/", {"id": SPACE, "size": 20, "name": "models"}),
        "create_volume",
        ONCE,
        after=("volumes",),
        setup=with_volume,
    ),
    "clone volume": Case(
        f"clone volume V.70001 {SPACE}",
        ("POST", V0 + "/volumes/copy/", {"src_id": 70001, "dst_id": SPACE}),
        "clone_volume",
        ONCE,
        after=("volumes",),
        setup=with_volume,
    ),
    "delete volume": Case(
        "delete volume V.70001",
        ("DELETE", V0 + "/volumes/?id=70001", {}),
        "delete_volume",
        CHANGE,
        setup=with_volume,
    ),
    "show instance-backups": Case(
        "show instance-backups --contract-id 3077",
        ("GET", V0 + "/instance_backups/?contract_id=3077", None),
        "instance_backups",
    ),
    "show instance-backup-files": Case(
        "show instance-backup-files 301",
        ("GET", V0 + "/instance_backups/301/download/", None),
        "backup_files",
    ),
    "show scheduled-jobs": Case(
        "show scheduled-jobs", ("GET", JOBS, None), "scheduled_jobs", setup=with_job
    ),
    "delete scheduled-job": Case(
        "delete scheduled-job 8101",
        ("DELETE", JOBS + "8101/", {}),
        "delete_scheduled_job",
        CHANGE,
        setup=with_job,
    ),
    "show pending-price-increases": Case(
        "show pending-price-increases",
        ("GET", INCREASES, None),
        "price_increases",
        setup=with_increase,
    ),
    "accept price-increase": Case(
        "accept price-increase {id}",
        ("GET", INCREASES, None),
        "price_increases",
        after=("accept_price_increase",),
        setup=with_increase,
    ),
    "reject price-increase": Case(
        "reject price-increase {id}",
        ("GET", INCREASES, None),
        "price_increases",
        after=("reject_price_increase",),
        setup=with_increase,
    ),
}  # fmt: skip
