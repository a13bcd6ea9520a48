"""Cases of the commands about renting; see cases.py."""

from __future__ import annotations

from typing import Any

from cases import CHANGE, ONCE, Case
from market import Market

V0 = "/api/v0"
INSTANCE = V0 + "/instances/{id}/"
LIST = (
    "/api/v1/instances/?limit=25&select_filters=%7B%7D"
    "&order_by=%5B%7B%22col%22%3A%22id%22%2C%22dir%22%3A%22asc%22%7D%5D"
)
SEARCH = {
    "verified": {"eq": True}, "external": {"eq": False}, "rentable": {"eq": True},
    "order": [["score", "desc"]], "type": "on-demand", "allocated_storage": 5.0,
}  # fmt: skip
RENTAL = {"client_id": "me", "image": "example/image", "disk": 10.0, "runtype": "ssh"}


def offers(market: Market) -> dict[str, Any]:
    """Return two offers that are free; the user has no instance."""
    user = market.user["id"]
    for rental in [r for r in market.rentals.values() if r.owner == user]:
        rental.offer.rental = None
        del market.rentals[rental.id]
    free = [o for o in market.offers.values() if not (o.rental or o.odd)]
    return {"offer": free[-1].row["id"], "other": free[-2].row["id"]}


def instance(market: Market) -> dict[str, Any]:
    """Return two offers that are free, and the user's only instance."""
    found = offers(market)
    number = next(market.ids)
    order = {"image": "example/image", "disk": 10.0, "runtype": "ssh"}
    taken = next(o for o in market.offers.values() if not (o.rental or o.odd))
    market.rent(taken, order, number, market.user["id"])
    return {**found, "id": number}


CASES: dict[str, Case] = {
    "search offers": Case(
        "search offers num_gpus=2",
        ("POST", V0 + "/bundles/", {**SEARCH, "num_gpus": {"eq": 2}}),
        "search",
    ),
    "show instances": Case(
        "show instances", ("GET", LIST, None), "instances", setup=instance
    ),
    "show instance": Case(
        "show instance {id}",
        ("GET", INSTANCE + "?owner=me", None),
        "instance",
        setup=instance,
    ),
    "ssh-url": Case(
        "ssh-url {id}",
        ("GET", INSTANCE + "?owner=me", None),
        "instance",
        setup=instance,
    ),
    "scp-url": Case("scp-url", ("GET", LIST, None), "instances", setup=instance),
    "create instance": Case(
        "create instance {offer} --image example/image",
        ("PUT", V0 + "/asks/{offer}/", RENTAL),
        "create",
        ONCE,
        after=("instance",),
        setup=offers,
    ),
    "create instances": Case(
        "create instances {offer} {other} --image example/image",
        ("PUT", V0 + "/asks/{offer}/", RENTAL),
        "create",
        ONCE,
        after=("instance", "create", "instance"),
        setup=offers,
    ),
    "launch instance": Case(
        "launch instance -g RTX_4090 -n 1 -i example/image",
        ("POST", V0 + "/bundles/", {
            **SEARCH, "gpu_name": {"eq": "RTX 4090"}, "num_gpus": {"eq": 1},
            "allocated_storage": 16.0, "limit": 3,
        }),
        "search",
        after=("create", "instance"),
    ),
    "start instance": Case(
        "start instance {id}",
        ("PUT", INSTANCE, {"state": "running"}),
        "manage",
        CHANGE,
        setup=instance,
    ),
    "stop instance": Case(
        "stop instance {id}",
        ("PUT", INSTANCE, {"state": "stopped"}),
        "manage",
        CHANGE,
        setup=instance,
    ),
    "reboot instance": Case(
        "reboot instance {id}",
        ("PUT", V0 + "/instances/reboot/{id}/", {}),
        "reboot",
        CHANGE,
        setup=instance,
    ),
    "recycle instance": Case(
        "recycle instance {id}",
        ("PUT", V0 + "/instances/recycle/{id}/", {}),
        "recycle",
        CHANGE,
        setup=instance,
    ),
    "label instance": Case(
        "label instance {id} exp1",
        ("PUT", INSTANCE, {"label": "exp1"}),
        "manage",
        CHANGE,
        setup=instance,
    ),
    "update instance": Case(
        "update instance {id} --image example/other",
        ("PUT", V0 + "/instances/update_template/{id}/", {"image": "example/other"}),
        "update_instance",
        CHANGE,
        setup=instance,
    ),
    "prepay instance": Case(
        "prepay instance {id} 5",
        ("PUT", V0 + "/instances/prepay/{id}/", {"amount": 5}),
        "prepay",
        ONCE,
        setup=instance,
    ),
    "change bid": Case(
        "change bid {id} --price 1",
        ("PUT", V0 + "/instances/bid_price/{id}/", {"client_id": "me", "price": 1}),
        "bid",
        CHANGE,
        setup=instance,
    ),
    "destroy instance": Case(
        "destroy instance {id}",
        ("DELETE", INSTANCE, {}),
        "destroy",
        CHANGE,
        setup=instance,
    ),
}  # fmt: skip
