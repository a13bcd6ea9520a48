"""Invoices and charges of the newer calls: what is asked for, shown and summed up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conftest import Program
from sandbox import Sandbox

EVER = ("-s", "2020-01-01")


@pytest.fixture(autouse=True)
def now(run: Program, box: Sandbox) -> None:
    """The program's clock shows the market's time."""
    run.clock.time = box.market.now()


def filters(box: Sandbox) -> Any:
    """Return the filters of the last request."""
    return json.loads(box.calls[-1].query["select_filters"])


def test_a_script_of_the_vendors_client_reads_the_same_fields(run: Program) -> None:
    ran = run("show", "invoices-v1", "--charges", *EVER, "--raw", "-q")
    assert ran.status == 0
    ids = json.loads(ran.out)
    ran = run("show", "invoices-v1", "--charges", *EVER, "--raw")
    document = json.loads(ran.out)
    assert document["count"] == len(document["results"]) == document["total"]
    assert len(ids) <= len(document["results"])
    assert {"type", "source", "amount", "items"} <= document["results"][0].keys()


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["-ct", "i"], {"type": {"in": ["instance"]}}),
        (["-ct", "volume", "-ct", "s"], {"type": {"in": ["volume", "serverless"]}}),
    ],
)
def test_types_of_charges(
    run: Program, box: Sandbox, options: list[str], wanted: Any
) -> None:
    assert run("show", "invoices-v1", "-c", *EVER, *options).status == 0
    assert filters(box).items() >= wanted.items()


def test_types_of_invoices(run: Program, box: Sandbox) -> None:
    ran = run("show", "invoices-v1", "-it", "stripe", "-it", "payout_paypal", *EVER)
    assert ran.status == 0
    assert filters(box)["service"] == {"in": ["stripe_payments", "paypal_manual"]}
    assert "$(-_is_paid_in)" in ran.out


def test_dates(run: Program, box: Sandbox) -> None:
    """The whole of the last day is in the range; one date alone will do."""
    assert (
        run("show", "invoices-v1", "-s", "2026-05-01", "-e", "2026-05-02").status == 0
    )
    assert filters(box)["when"] == {"gte": 1777593600, "lte": 1777766399}
    assert run("show", "invoices-v1", "-e", "2026-05-09").status == 0
    when = filters(box)["when"]
    assert when["lte"] - when["gte"] == 8 * 86400 - 1
    for words, why in (
        (["-s", "2099"], "the start date is in the future"),
        (["-s", "2026-03", "-e", "2026-02"], "the end date is before the start date"),
        (["-i", "-c"], "choose either invoices (-i, -it) or charges (-c, -ct)"),
        (["-it", "stripe", "-ct", "i"], "choose either invoices (-i, -it) or charges"),
    ):
        count = len(box.calls)
        ran = run("show", "invoices-v1", *words)
        assert (ran.status, len(box.calls)) == (2, count)
        assert why in ran.err


def test_a_limit_counts_over_pages_and_a_token_goes_on(
    run: Program, box: Sandbox
) -> None:
    first = json.loads(run("show", "invoices-v1", *EVER, "-l", "2", "--raw").out)
    assert [len(first["results"]), box.calls[-1].query["limit"]] == [2, "2"]
    words = ["-l", "1", "-t", first["next_token"], "--latest-first", "--raw"]
    ran = run("show", "invoices-v1", *EVER, *words)
    assert box.calls[-1].query["after_token"] == first["next_token"]
    assert box.calls[-1].query["latest_first"] == "true"
    assert ran.status in (0, 1)


def test_a_tree_shows_what_rows_are_made_up_of(run: Program, box: Sandbox) -> None:
    ran = run("show", "invoices-v1", "-c", "-f", "tree", *EVER, "-l", "2")
    assert box.calls[-1].query["format"] == "tree"
    assert "· " in ran.out
    assert "· " in run("show", "invoices-v1", "-c", "-v", *EVER, "-l", "2").out
    assert "· " not in run("show", "invoices-v1", "-c", *EVER, "-l", "2").out


def charged(run: Program) -> list[dict[str, Any]]:
    """Return all charges as sent."""
    ran = run("show", "invoices-v1", "-c", *EVER, "--raw")
    rows: list[dict[str, Any]] = json.loads(ran.out)["results"]
    return rows


@pytest.mark.parametrize("by", ["instance", "label", "template"])
def test_sums_of_charges(run: Program, by: str) -> None:
    rows = charged(run)
    groups: dict[str, float] = {}
    for row in rows:
        keys = {"instance": row["source"], "label": row["metadata"].get("label"),
                "template": row["metadata"].get("template_id")}  # fmt: skip
        name = "-" if keys[by] is None else str(keys[by])
        groups[name] = groups.get(name, 0) + float(row["amount"])
    shown = json.loads(run("show", "charges", "--by", by, *EVER, "--raw").out)
    amounts = [row["amount"] for row in shown]
    assert amounts == sorted(amounts, reverse=True)
    assert sum(row["share"] for row in shown) == pytest.approx(1)
    expected = sorted(groups.values(), reverse=True)
    assert amounts == pytest.approx(expected, abs=0.01 * len(rows))


def test_charges_by_day_are_asked_for_day_by_day(run: Program, box: Sandbox) -> None:
    ran = run("show", "charges", "--by", "day", "-s", "2026-05-01", "-e", "2026-05-03")
    days = [json.loads(call.query["select_filters"])["day"] for call in box.calls]
    assert [day["gte"] for day in days] == [1777593600 + n * 86400 for n in range(3)]
    assert {day["lte"] - day["gte"] for day in days} == {86399}
    assert ran.status == 0
    month = run("show", "charges", "--by", "day", "-s", "2026-08", "-e", "2026-08")
    dates = [line.split()[0] for line in month.out.splitlines()[1:]]
    assert dates == sorted(dates)


def test_bars_stand_on_a_terminal_only(run: Program) -> None:
    ran = run("show", "charges", *EVER, terminal=True, env={"COLUMNS": "80"})
    assert "█" * 20 in ran.out
    plain = run("show", "charges", *EVER)
    assert "█" not in plain.out
    assert "total: " in plain.err
    assert run("show", "charges", *EVER, "-q").err == ""


def test_no_charges(run: Program, box: Sandbox) -> None:
    box.fault("charges", "body", body={"success": True, "results": None})
    ran = run("show", "charges")
    assert (ran.status, ran.out) == (0, "Instance  $  Share%\n")
    assert ran.err.endswith("vast.py: total: 0.00 USD\n")


def test_the_deposit_of_an_instance_that_is_gone(run: Program) -> None:
    assert run("show", "deposit", "77").status == 1
