"""Cases of the commands about copying; see cases.py."""

from __future__ import annotations

from typing import Any

from cases import CHANGE, ONCE, Case
from market import Market
from market_renting import renting


def instance(market: Market) -> dict[str, Any]:
    """Rent 5001 and 5002, whose result files are there at once."""
    renting(market).misses = 0
    order = {"image": "example/image", "disk": 10.0, "runtype": "ssh"}
    for number in (5001, 5002):
        offers = market.offers.values()
        offer = next(o for o in offers if not (o.rental or o.odd))
        market.rent(offer, order, number, market.user["id"])
    return {}


def stopped(market: Market) -> dict[str, Any]:
    """Do the same, and stop 5001."""
    instance(market)
    market.rentals[5001].order = "stop"
    return {}


CASES: dict[str, Case] = {
    "logs": Case(
        "logs 5001 --tail 20 --daemon-logs",
        (
            "PUT",
            "/api/v0/instances/request_logs/5001/",
            {"tail": "20", "daemon_logs": "true"},
        ),
        call="request_logs",
        after=("result_file",),
        setup=instance,
    ),
    "execute": Case(
        "execute 5001 ls -l /workspace",
        ("PUT", "/api/v0/instances/command/5001/", {"command": "ls -l /workspace"}),
        call="execute",
        kind=CHANGE,
        after=("result_file",),
        setup=stopped,
    ),
    "ssh": Case(
        "ssh 5001",
        ("GET", "/api/v0/instances/5001/?owner=me", None),
        call="instance",
        setup=instance,
    ),
    "copy": Case(
        "copy C.5001:/workspace/ 5002:/data",
        (
            "PUT",
            "/api/v0/commands/copy_direct/",
            {
                "client_id": "me",
                "src_id": "C.5001",
                "src_path": "/workspace/",
                "dst_id": "5002",
                "dst_path": "/data",
            },
        ),
        call="copy",
        kind=CHANGE,
        setup=instance,
    ),
    "cancel copy": Case(
        "cancel copy 5002:/data",
        (
            "DELETE",
            "/api/v0/commands/copy_direct/",
            {"client_id": "me", "dst_id": 5002},
        ),
        call="cancel_copy",
        kind=CHANGE,
        setup=instance,
    ),
    "cancel sync": Case(
        "cancel sync 5001",
        ("DELETE", "/api/v0/commands/rclone/", {"client_id": "me", "dst_id": 5001}),
        call="cancel_sync",
        kind=CHANGE,
        setup=instance,
    ),
    "cloud copy": Case(
        "cloud copy --src /bucket --instance 5001 --connection 1001"
        " --transfer 'Cloud To Instance' --size-only --rclone-dry-run",
        (
            "POST",
            "/api/v0/commands/rclone/",
            {
                "src": "/bucket",
                "dst": "/workspace",
                "instance_id": "5001",
                "selected": "1001",
                "transfer": "Cloud To Instance",
                "flags": ["--size-only", "--dry-run"],
            },
        ),
        call="cloud_copy",
        kind=CHANGE,
        setup=instance,
    ),
    "show connections": Case(
        "show connections",
        ("GET", "/api/v0/users/cloud_integrations/", None),
        call="connections",
    ),
    "take snapshot": Case(
        "take snapshot 5001 --repo docker.io/me/app --docker_login_user me"
        " --docker_login_pass 'over the wire'",
        (
            "POST",
            "/api/v0/instances/take_snapshot/5001/",
            {
                "personal_repo": "docker.io/me/app",
                "docker_login_user": "me",
                "docker_login_pass": "over the wire",
                "container_registry": "docker.io",
                "pause": "true",
            },
        ),
        call="take_snapshot",
        kind=ONCE,
        setup=instance,
    ),
}
