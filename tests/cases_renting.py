"""Cases of the commands about renting; see cases.py."""

from __future__ import annotations

from typing import Any

from cases import CHANGE, ONCE, Case
from market import Market

INSTANCE = "/api/v0/instances/{id}/"
LIST = (
    "/api/v1/instances/?limit=25&select_filters=%7B%7D"
    "&order_by=%5B%7B%22col%22%3A%22id%22%2C%22dir%22%3A%22asc%22%7D%5D"
)
DEFAULTS = {"verified": {"eq": True}, "external": {"eq": False}, "rentable": {"eq": True}}
SEARCH = {
    **DEFAULTS, "order": [["score", "desc"]], "type": "on-demand",
    "allocated_storage": 5.0,
}
RENTAL = {"client_id": "me", "image": "example/image", "disk": 10.0, "runtype": "ssh"}


def offer(market: Market) -> dict[str, Any]:
    """Return an offer that is free."""
    offers = market.offers.values()
    free = [o.row["id"] for o in offers if not (o.rental or o.odd)]
    return {"offer": free[0], "other": free[1]}


def instance(market: Market) -> dict[str, Any]:
    """Rent an offer; return the id of the instance."""
    order = {"image": "example/image", "disk": 10.0, "runtype": "ssh"}
    found = market.offers[offer(market)["offer"]]
    return {"id": market.rent(found, order, next(market.ids), market.user["id"]).id}


def change(verb: str, state: str) -> Case:
    return Case(f"{verb} instance {{id}}", ("PUT", INSTANCE, {"state": state}), "manage",
                CHANGE, setup=instance)


CASES: dict[str, Case] = {
    "search offers": Case(
        "search offers num_gpus=2",
        ("POST", "/api/v0/bundles/", {**SEARCH, "num_gpus": {"eq": 2}}), "search",
    ),
    "show instances": Case("show instances", ("GET", LIST, None), "instances"),
    "show instance": Case(
        "show instance {id}", ("GET", INSTANCE + "?owner=me", None), "instance",
        setup=instance,
    ),
    "ssh-url": Case("ssh-url {id}", ("GET", INSTANCE + "?owner=me", None), "instance",
                    setup=instance),
    "scp-url": Case("scp-url", ("GET", LIST, None), "instances", setup=instance),
    "create instance": Case(
        "create instance {offer} --image example/image",
        ("PUT", "/api/v0/asks/{offer}/", RENTAL), "rent", ONCE, setup=offer),
    "create instances": Case(
        "create instances {offer} {other} --image example/image",
        ("PUT", "/api/v0/asks/{offer}/", RENTAL), "rent", ONCE, setup=offer),
    "launch instance": Case(
        "launch instance -g RTX_4090 -n 1 -i example/image",
        ("POST", "/api/v0/bundles/", {
            **SEARCH, "gpu_name": {"eq": "RTX 4090"}, "num_gpus": {"eq": 1},
            "allocated_storage": 16.0, "limit": 3}),
        "search"),
    "start instance": change("start", "running"),
    "stop instance": change("stop", "stopped"),
    "reboot instance": Case(
        "reboot instance {id}", ("PUT", "/api/v0/instances/reboot/{id}/", {}), "reboot",
        CHANGE, setup=instance),
    "recycle instance": Case(
        "recycle instance {id}", ("PUT", "/api/v0/instances/recycle/{id}/", {}),
        "recycle", CHANGE, setup=instance),
    "label instance": Case(
        "label instance {id} exp1", ("PUT", INSTANCE, {"label": "exp1"}), "manage",
        CHANGE, setup=instance),
    "update instance": Case(
        "update instance {id} --image example/other",
        ("PUT", "/api/v0/instances/update_template/{id}/", {"image": "example/other"}),
        "update", CHANGE, setup=instance),
    "prepay instance": Case(
        "prepay instance {id} 5", ("PUT", "/api/v0/instances/prepay/{id}/", {"amount": 5}),
        "prepay", ONCE, setup=instance),
    "change bid": Case(
        "change bid {id}",
        ("PUT", "/api/v0/instances/bid_price/{id}/", {"client_id": "me", "price": None}),
        "bid", CHANGE, setup=instance),
    "destroy instance": Case(
        "destroy instance {id}", ("DELETE", INSTANCE, {}), "destroy", CHANGE,
        setup=instance),
}  # fmt: skip
