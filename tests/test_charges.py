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


def test_charges_by_day_are_spread_over_the_days_of_each(
    run: Program, box: Sandbox
) -> None:
    day, first = 86400, 1777593600  # 2026-05-01
    rows = [
        {"start": first + day / 2, "end": first + 2.5 * day - 1, "amount": 8},
        {"start": first - 9 * day, "end": first + day - 1, "amount": "0.5"},
        {"start": first + day, "end": first + 99 * day, "amount": 3.0},
        {"start": first + 2 * day, "end": None, "amount": 2, "source": "instance-7"},
        {"start": None, "end": "x", "amount": 0.75},
        {"start": first + 3 * day, "end": first, "amount": None},
    ]
    box.fault("charges", "body", times=None, body={"success": True, "results": rows})
    words = ["show", "charges", "--by", "day", "-s", "2026-05-01", "-e", "2026-05-03"]
    shown = json.loads(run(*words, "--raw").out)
    assert [row["by"] for row in shown] == ["2026-05-01", "2026-05-02", "2026-05-03"]
    assert [row["amount"] for row in shown] == pytest.approx([2.75, 5.75, 5.75])
    assert sum(row["share"] for row in shown) == pytest.approx(1)
    assert run(*words).err.endswith("total: 14.25 USD\n")
    assert len(box.calls) == 2


def test_what_last_month_cost_by_label(run: Program) -> None:
    ran = run("show", "charges", "-s", "2026-10", "-e", "2026-11", "--by", "label")
    first, *lines = ran.out.splitlines()
    assert first.split() == ["Label", "$", "Share%"]
    assert {"train", "data", "größe\\x1b[1m_名前"} <= {x.split()[0] for x in lines}
    amounts = [float(line.split()[1]) for line in lines]
    assert amounts == sorted(amounts, reverse=True)
    total = f"{sum(amounts):.2f}"
    assert float(ran.err.split()[-3]) == pytest.approx(float(total), abs=0.05)


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


def test_where_the_rows_go_on_is_noted(run: Program, box: Sandbox) -> None:
    ran = run("show", "invoices-v1", "-c", *EVER, "-l", "2")
    token = ran.err.split()[-1]
    assert ran.err.endswith(f"vast.py: for more: --next-token {token}\n")
    more = run("show", "invoices-v1", "-c", *EVER, "-l", "2", "-t", token, "-q")
    both = run("show", "invoices-v1", "-c", *EVER, "-l", "4", "-q")
    assert both.out.splitlines()[2:] == more.out.splitlines()
    assert (both.err, len(more.out.splitlines())) == ("", 2)


def test_columns_are_those_of_the_list(run: Program) -> None:
    for option, start in (
        ("-i", "ID Type Start End $(-_is_paid_in) Source Description"),
        ("-c", "Type Start End $(-_is_paid_in) Source Endpoint Workergroup Label"),
    ):
        heading = run("show", "invoices-v1", option, *EVER).out.splitlines()[0]
        assert " ".join(heading.split()).startswith(start)


def test_the_ids_of_invoices(run: Program) -> None:
    shown = run("show", "invoices-v1", *EVER, "-q").out.splitlines()
    rows = json.loads(run("show", "invoices-v1", *EVER, "--raw").out)["results"]
    assert shown == [str(row["metadata"]["invoice_id"]) for row in rows]


def test_a_deposit(run: Program, box: Sandbox) -> None:
    body = {"refundable_deposit": 100.0, "total_discount": 10, "discount_months": 3}
    box.fault("deposit", "body", times=3, body={"success": True, **body})
    lines = run("show", "deposit", "5001").out.splitlines()
    assert [line.split() for line in lines] == [
        ["Deposit_$", "Discount_$", "Months"],
        ["100.00", "10.00", "3"],
    ]
    assert json.loads(run("show", "deposit", "5001", "--raw").out) == [
        {"success": True, **body}
    ]
    assert run("show", "deposit", "5001", "-q").out == "100.0\n"


def test_the_deposit_of_an_instance_that_is_gone(run: Program) -> None:
    assert run("show", "deposit", "77").status == 1
