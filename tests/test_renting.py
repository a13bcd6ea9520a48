"""The newer commands of a renter: several rentals, a price limit, `launch instance`,
volumes, and what can be done with an instance besides starting and stopping."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest

from conftest import Plan, Program, an_offer, create, names, one_line, rent
from sandbox import Row, Sandbox, json_reply

LAUNCH = ["launch", "instance", "-g", "RTX_4090", "-n", "1", "-i", "it"]


def free(box: Sandbox, count: int) -> list[str]:
    """Return the ids of offers."""
    offers = [o for o in box.market.offers.values() if not (o.rental or o.odd)]
    return [str(offer.row["id"]) for offer in offers[:count]]


def sent(box: Sandbox, name: str) -> list[Any]:
    """Return the bodies of the calls of a name."""
    return [seen.body for seen in box.calls if seen.name == name]


# --- create instances


def test_several_offers(box: Sandbox, run: Program) -> None:
    offers = free(box, 3)
    ran = run("create", "instances", *offers, "--image", "it", "--label", "x")
    created = [f"Created instance {number}" for number in (5001, 5002, 5003)]
    assert (ran.status, ran.out.splitlines()) == (0, created)
    assert names(box) == ["create", "instance"] * 3
    order = {"client_id": "me", "image": "it", "disk": 10.0, "runtype": "ssh"}
    assert sent(box, "create") == [order | {"label": "x"}] * 3
    assert [str(offer) for offer, _ in box.market.rented] == offers


def test_several_offers_as_json(box: Sandbox, run: Program) -> None:
    offers = free(box, 2)
    ran = run("create", "instances", *offers, "--image", "it", "--raw", "--wait")
    rows = json.loads(ran.out)
    assert [row["id"] for row in rows] == list(map(int, offers))
    assert [row["new_contract"] for row in rows] == [5001, 5002]
    assert [row["instance"]["actual_status"] for row in rows] == ["running"] * 2
    assert "instance_api_key" not in rows[0]


def test_one_of_several_offers_is_taken(box: Sandbox, run: Program) -> None:
    first, other = free(box, 2)
    ran = run("create", "instances", first, "1", other, "--image", "it")
    assert ran.status == 3  # something is rented: not 1, after which all is tried again
    assert ran.out == "Created instance 5001\nCreated instance 5002\n"
    assert names(box).count("create") == 3


def test_one_of_several_does_not_come_up(
    box: Sandbox, run: Program, plan: Plan
) -> None:
    loading = json_reply({"instances": {"id": 1, "actual_status": "loading"}})
    running = json_reply(
        {"instances": {"actual_status": "running", "ssh_host": "a.org", "ssh_port": 22}}
    )
    plan("instance", None, None, running, loading, last=True)
    words = ["create", "instances", *free(box, 2), "--image", "it", "--wait"]
    ran = run(*words, "--timeout", "10")
    assert ran.status == 3
    assert ran.out.endswith("ssh://root@a.org:22\n")
    assert "instance 5002 is not running after 10 s (status: loading)" in ran.err


# --- a limit to the price


@pytest.mark.parametrize(("limit", "status"), [("9", 0), ("0.0001", 1), ("1000", 0)])
@pytest.mark.parametrize("disk", [None, "40"])
def test_a_limit_to_the_price(
    limit: str, status: int, disk: str | None, box: Sandbox, run: Program
) -> None:
    """What counts is the price with the disk, looked up at once."""
    more = ["--disk", disk] if disk else []
    ran = run(*create(box), "--max-price", limit, *more)
    assert ran.status == status
    (search,) = sent(box, "search")
    assert search["allocated_storage"] == float(disk or 10)
    assert search["id"] == {"eq": an_offer(box) if status else box.market.rented[0][0]}
    if status:
        assert "more than $0.0001/h; nothing was rented" in one_line(ran)
        assert box.market.rented == []


def test_a_limit_to_a_bid(box: Sandbox, run: Program) -> None:
    """To the bid comes the disk."""
    words = *create(box), "--price", "0.5", "--disk", "1000", "--max-price"
    ran = run(*words, "0.5")
    assert (ran.status, names(box), box.market.rented) == (1, ["search"], [])
    assert (box.calls[0].body["type"], box.calls[0].body["allocated_storage"]) == (
        "bid", 1000,
    )  # fmt: skip
    match = re.search(r"costs \$(\S+)/h, more than \$0.5/h; nothing", one_line(ran))
    assert match
    assert float(match[1]) > 0.5
    ran = run(*words, str(float(match[1]) + 0.0001))
    assert (ran.status, names(box)[1:3]) == (0, ["search", "create"])
    assert "interruptible, at $0.5/h" in ran.err


@pytest.mark.parametrize("price", [None, "?", [], True, 1e300])
def test_a_price_that_is_none(
    price: object, box: Sandbox, run: Program, plan: Plan
) -> None:
    plan("search", json_reply({"offers": [{"id": 1, "dph_total": price}]}))
    ran = run(*create(box), "--max-price", "5")
    assert (ran.status, box.market.rented) == (1, [])
    assert "is not available" in one_line(ran)


def test_an_offer_that_is_gone_has_no_price(box: Sandbox, run: Program) -> None:
    ran = run("create", "instance", "1", "--image", "it", "--max-price", "5")
    assert (ran.status, names(box)) == (1, ["search"])


# --- launch instance

REGIONS = {
    "US,CA": {"in": ["US", "CA"]},
    "[de, FR]": {"in": ["DE", "FR"]},
    "North_America": {"in": ["US", "CA", "MX"]},
    "north america": {"in": ["US", "CA", "MX"]},
    "Oceania": {"in": ["AU", "NZ"]},
}


@pytest.mark.parametrize("region", REGIONS)
def test_where_to_launch(region: str, box: Sandbox, run: Program) -> None:
    run(*LAUNCH, "-r", region)
    (search,) = sent(box, "search")
    assert search["geolocation"] == REGIONS[region]
    assert search["gpu_name"] == {"eq": "RTX 4090"}
    assert search["num_gpus"] == {"eq": 1}
    assert (search["limit"], search["allocated_storage"]) == (3, 16.0)


def test_the_best_offer_is_rented(box: Sandbox, run: Program) -> None:
    search = ["search", "offers", "gpu_name=RTX_4090 num_gpus=1", "-o", "dph"]
    cheapest = json.loads(run(*search, "--storage", "20", "--raw").out)[0]
    box.clear()
    ran = run(*LAUNCH, "-o", "dph", "-d", "20", "--label", "x", "--wait")
    assert ran.status == 0
    assert box.market.rented == [(cheapest["id"], 5001)]
    assert sent(box, "create")[0]["disk"] == 20.0
    assert f"best offer: offer {cheapest['id']}, 1x RTX 4090, " in ran.err
    assert ran.out.startswith("Created instance 5001\nssh://root@")


@pytest.mark.parametrize(("answer", "count"), [("y", 1), ("n", 0), ("", 0)])
def test_launching_asks(answer: str, count: int, box: Sandbox, run: Program) -> None:
    ran = run(*LAUNCH, stdin=f"{answer}\n", terminal=True)
    assert (ran.status, len(box.market.rented)) == (0 if count else 3, count)
    assert "rent offer 2" in ran.err
    assert "RTX 4090" in ran.err
    run(*LAUNCH, "-y", terminal=True)
    assert len(box.market.rented) == count + 1


@pytest.mark.parametrize(
    ("offers", "says"),
    [([], "no matching offer"), ([{"id": "x"}], "no matching"), ([{}], "no matching")],
)
def test_nothing_to_launch(
    offers: list[Row], says: str, box: Sandbox, run: Program, plan: Plan
) -> None:
    plan("search", json_reply({"offers": offers}))
    ran = run(*LAUNCH)
    assert (ran.status, sent(box, "create")) == (1, [])
    assert says in ran.err.splitlines()[-1]


def test_an_offer_of_odd_values_is_described(
    box: Sandbox, run: Program, plan: Plan
) -> None:
    row = {"id": an_offer(box), "dph_total": None, "gpu_name": "\x1b[31m"}
    plan("search", json_reply({"offers": [row]}))
    ran = run(*LAUNCH)
    assert ran.status == 0
    assert r"Nonex \x1b[31m, None, at an unknown price" in ran.err


@pytest.mark.parametrize(
    "words",
    ["launch instance", "launch instance -g A", "launch instance -g A -n 0 -i it",
     "launch instance -g A -n 1", "launch instance -g A -n 1 -i it --price 1",
     "launch instance -g A -n 1 -i it -d 1",
     "launch instance -g A -n 1 -i it --onstart /nowhere",
     "launch instance -g A -n 1 -i it --jupyter --args x"],
)  # fmt: skip
def test_a_wrong_launch_sends_nothing(words: str, box: Sandbox, run: Program) -> None:
    ran = run(*words.split())
    assert (ran.status, box.calls) == (2, [])
    assert one_line(ran)


def test_a_launch_under_a_price(box: Sandbox, run: Program) -> None:
    ran = run(*LAUNCH, "--max-price", "0.01")
    assert (ran.status, names(box)) == (1, ["search", "search"])
    assert "nothing was rented" in ran.err


# --- volumes and templates


@pytest.mark.parametrize(
    ("options", "info"),
    [
        ("--create-volume 30 --mount-path /data",
         {"mount_path": "/data", "volume_id": 30, "create_new": True}),
        ("--create-volume 30 --mount-path /data --volume-size 20 --volume-label models",
         {"mount_path": "/data", "volume_id": 30, "create_new": True, "size": 20,
          "name": "models"}),
        ("--link-volume 7 --mount-path /mnt",
         {"mount_path": "/mnt", "volume_id": 7, "create_new": False}),
    ],
)  # fmt: skip
def test_a_volume_with_an_instance(
    options: str, info: Row, box: Sandbox, run: Program, plan: Plan
) -> None:
    plan("create", json_reply({"success": True, "new_contract": 5}))
    assert run(*create(box), *options.split()).status == 0
    assert sent(box, "create")[0]["volume_info"] == info


@pytest.mark.parametrize(
    "options",
    ["--create-volume 30", "--mount-path /data", "--link-volume 7 --create-volume 8"
     " --mount-path /x", "--create-volume 30 --mount-path /d --volume-size 1.5"],
)  # fmt: skip
def test_half_a_volume(options: str, box: Sandbox, run: Program) -> None:
    ran = run(*create(box), *shlex.split(options))
    assert (ran.status, box.calls) == (2, [])
    assert "volume" in one_line(ran)


def test_a_template_decides_what_is_not_given(
    box: Sandbox, run: Program, plan: Plan
) -> None:
    plan("create", json_reply({"success": True, "new_contract": 5}))
    words = ["create", "instance", str(an_offer(box)), "--template_hash", "abc"]
    assert run(*words).status == 0
    expected = {"client_id": "me", "template_hash_id": "abc"}
    assert sent(box, "create") == [expected]


# --- what can be done with an instance


@pytest.mark.parametrize(
    ("words", "call", "body", "says"),
    [
        ("reboot instance {}", "reboot", {}, "instance {}: rebooting"),
        ("recycle instance {}", "recycle", {}, "instance {}: recycling"),
        ("update instance {} --image a/b", "update_instance", {"image": "a/b"},
         "instance {}: updated"),
        ("update instance {} --env '{{\"A\": \"b\"}}' --args 'x y'", "update_instance",
         {"env": {"A": "b"}, "args": "x y"}, "instance {}: updated"),
        ("change bid {}", "bid", {"client_id": "me", "price": None},
         "instance {}: bid chosen by the service"),
        ("change bid {} --price 0.25", "bid", {"client_id": "me", "price": 0.25},
         "instance {}: bid $0.25/h"),
        ("label instance {} ''", "manage", {"label": ""}, "instance {}: label ''"),
    ],
)  # fmt: skip
def test_a_change_of_an_instance(
    words: str, call: str, body: Row, says: str, box: Sandbox, run: Program, plan: Plan
) -> None:
    number = rent(box)
    if call == "bid":
        plan("bid", json_reply({"success": True}))
    ran = run(*shlex.split(words.format(number)))
    assert (ran.status, ran.out) == (0, f"{says.format(number)}\n"), ran.err
    assert [(seen.name, seen.body) for seen in box.calls] == [(call, body)]


@pytest.mark.parametrize("verb", ["reboot", "recycle"])
def test_waiting_for_a_reboot(verb: str, box: Sandbox, run: Program) -> None:
    number = rent(box)
    box.market.run_on(run.clock.now, 20)
    ran = run(verb, "instance", str(number), "--wait", "-y")
    assert (ran.status, sum(run.clock.slept)) == (0, 20)
    assert f"instance {number} is running" in ran.err


def test_recycling_asks(box: Sandbox, run: Program) -> None:
    number = rent(box, label="x")
    ran = run("recycle", "instance", str(number), stdin="n\n", terminal=True)
    assert (ran.status, "recycle" in names(box)) == (3, False)
    assert f"recycle instance {number} (x, " in ran.err
    assert "disk is wiped" in ran.err


def test_an_update_of_nothing(box: Sandbox, run: Program) -> None:
    ran = run("update", "instance", "5")
    assert (ran.status, box.calls) == (2, [])
    assert "nothing to update" in one_line(ran)


@pytest.mark.parametrize("text", ["[]", "x", "1", '"a"', "{", "null"])
def test_an_environment_that_is_no_object(
    text: str, box: Sandbox, run: Program
) -> None:
    ran = run("update", "instance", "5", "--env", text)
    assert (ran.status, box.calls) == (2, [])
    assert "invalid JSON object" in one_line(ran)


def test_a_deposit(box: Sandbox, run: Program) -> None:
    number = rent(box)
    credit = box.market.user["credit"]
    ran = run("prepay", "instance", str(number), "50", stdin="n\n", terminal=True)
    assert (ran.status, box.market.user["credit"]) == (3, credit)
    assert f"deposit $50.00 for instance {number}? [y/N]" in ran.err
    ran = run("prepay", "instance", str(number), "50")
    assert ran.status == 0
    assert ran.out.startswith(f"instance {number}: reserved for ")
    assert box.market.user["credit"] == credit - 50
    assert run("prepay", "instance", str(number), "5000").status == 1


@pytest.mark.parametrize("amount", ["0", "0.0", "x", "1e999"])
def test_a_deposit_of_nothing(amount: str, box: Sandbox, run: Program) -> None:
    ran = run("prepay", "instance", "5", amount)
    assert (ran.status, box.calls) == (2, [])
    assert "must be a number of dollars above 0" in one_line(ran)


def test_two_instances_with_the_label_of_a_lost_rental(
    box: Sandbox, run: Program, plan: Plan
) -> None:
    plan("create", "drop_before")
    numbers = [rent(box, label="x", start_date=None) for _ in range(2)]
    ran = run(*create(box), "--label", "x")
    assert ran.status == 6
    listed = " ".join(map(str, numbers))
    assert f"instances {listed} with label 'x' have started since" in one_line(ran)


def test_the_most_to_pay_needs_the_disk_that_is_paid_for(
    run: Program, box: Sandbox
) -> None:
    """A template's disk is not known here, and it is part of the price."""
    words = "--template_hash", "0" * 32, "--max-price", "5"
    ran = run("create", "instance", str(an_offer(box)), *words)
    assert (ran.status, box.calls) == (2, [])
    assert "--max-price needs --disk" in ran.err
