"""Cases of the commands about templates; see cases.py."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from cases import CHANGE, Case
from market import Market
from market_renting import made_templates

TEMPLATE = "/api/v0/template/"


def selecting(**filters: Any) -> str:
    """Return the path that selects templates."""
    query = {"select_cols": '["*"]', "select_filters": json.dumps(filters)}
    return f"{TEMPLATE}?{urlencode(query)}"


def with_template(market: Market) -> dict[str, Any]:
    """Give the user their template again, whatever became of it."""
    market.stores["templates"].rows[330005] = made_templates(market.now())[-1]
    return {}


# The market has the templates 330001 to 330005; the last is the user's.
CASES: dict[str, Case] = {
    "search templates": Case(
        "search templates training 'private=true count_created>5'",
        ("GET", selecting(private={"eq": True}, count_created={"gt": 5}), None),
        "templates",
    ),
    "create template": Case(
        "create template --name train --image example/train --env '-e MODE=fast'",
        ("POST", TEMPLATE, {
            "name": "train", "image": "example/train", "env": "-e MODE=fast",
            "private": True,
        }),
        "create_template",
        CHANGE,
    ),
    "update template": Case(
        "update template 330005 --disk_space 64",
        ("GET", selecting(id={"eq": 330005}), None),
        "templates",
        after=("update_template",),
        setup=with_template,
    ),
    "delete template": Case(
        "delete template 330005",
        ("GET", selecting(id={"eq": 330005}), None),
        "templates",
        after=("delete_template",),
        setup=with_template,
    ),
    "search benchmarks": Case(
        "search benchmarks num_gpus=1",
        ("GET", "/api/v0/benchmarks?limit=200", None),
        "benchmarks",
        after=("benchmarks",),
    ),
}  # fmt: skip
