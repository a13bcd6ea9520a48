"""Cases of the commands about SSH keys and variables; see cases.py."""

from __future__ import annotations

from typing import Any

from cases import CHANGE, ONCE, Case
from market import Market

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKeyOfTheCases000000 me at home"


def instance(market: Market) -> dict[str, Any]:
    """Rent 5001."""
    offer = next(o for o in market.offers.values() if not (o.rental or o.odd))
    order = {"image": "example/image", "disk": 10.0, "runtype": "ssh"}
    market.rent(offer, order, 5001, market.user["id"])
    return {}


def attached(market: Market) -> dict[str, Any]:
    """Rent 5001, to which key 301 is attached."""
    instance(market)
    market.state["renting"].attached[5001] = {301: KEY}
    return {}


def added(market: Market) -> dict[str, Any]:
    """Add a key to the account."""
    return {"key": market.stores["ssh_keys"].add({"key": KEY})["id"]}


CASES: dict[str, Case] = {
    "show ssh-keys": Case(
        "show ssh-keys", ("GET", "/api/v0/ssh/", None), call="ssh_keys"
    ),
    "create ssh-key": Case(
        f"create ssh-key '{KEY}'",
        ("POST", "/api/v0/ssh/", {"ssh_key": KEY}),
        call="create_ssh_key",
        kind=ONCE,
    ),
    "update ssh-key": Case(
        f"update ssh-key 211 '{KEY}'",
        ("PUT", "/api/v0/ssh/211/", {"id": 211, "ssh_key": KEY}),
        call="update_ssh_key",
        kind=CHANGE,
    ),
    "delete ssh-key": Case(
        "delete ssh-key {key}",
        ("DELETE", "/api/v0/ssh/{key}/", {}),
        call="delete_ssh_key",
        kind=CHANGE,
        setup=added,
    ),
    "attach ssh": Case(
        f"attach ssh 5001 '{KEY}'",
        ("POST", "/api/v0/instances/5001/ssh/", {"ssh_key": KEY}),
        call="attach_ssh",
        kind=CHANGE,
        setup=instance,
    ),
    "detach ssh": Case(
        "detach ssh 5001 301",
        ("DELETE", "/api/v0/instances/5001/ssh/301/", {}),
        call="detach_ssh",
        kind=CHANGE,
        setup=attached,
    ),
    "show instance-ssh-keys": Case(
        "show instance-ssh-keys 5001",
        ("GET", "/api/v0/instances/5001/ssh/", None),
        call="instance_ssh_keys",
        setup=attached,
    ),
    "show env-vars": Case(
        "show env-vars", ("GET", "/api/v0/secrets/", None), call="env_vars"
    ),
    "create env-var": Case(
        "create env-var wandb_project universal-simulator",
        (
            "POST",
            "/api/v0/secrets/",
            {"key": "WANDB_PROJECT", "value": "universal-simulator"},
        ),
        call="create_env_var",
        kind=CHANGE,
    ),
    "update env-var": Case(
        "update env-var HF_TOKEN --value new",
        ("PUT", "/api/v0/secrets/", {"key": "HF_TOKEN", "value": "new"}),
        call="update_env_var",
        kind=CHANGE,
    ),
    "delete env-var": Case(
        "delete env-var HF_TOKEN",
        ("DELETE", "/api/v0/secrets/", {"key": "HF_TOKEN"}),
        call="delete_env_var",
        kind=CHANGE,
    ),
}
