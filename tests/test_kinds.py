"""The two kinds of command, on commands that exist only here: what a listing and a
request can do, so that the tests of each subject need not repeat it."""

from __future__ import annotations

import json
from typing import Any

import pytest

import vast
from conftest import Plan, Program, Ran, names, one_line
from sandbox import Reply, Sandbox, json_reply, text_reply
from vast import Arg, Column, Command, Listing, Request, ids

COLUMNS = (
    Column("ID", "id", "d", "the id", essential=True),
    Column("Name", "name", "", "the name"),
)
KEYS = "/api/v0/ssh/"  # any call will do: the answers are the tests' own


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the commands of a test after it."""
    monkeypatch.setattr(vast, "COMMAND_BY_NAME", dict(vast.COMMAND_BY_NAME))


def make(name: str, kind: vast.Listing | vast.Request, *args: Arg, **more: Any) -> None:
    """Make a command of a kind."""
    vast.COMMAND_BY_NAME[name] = Command(name, "try something", kind, *args, **more)


def body(box: Sandbox) -> Any:
    """Return the body of the last request."""
    return box.calls[-1].body


DRY = ("--dry-run", "--raw")

# --- listings


@pytest.mark.parametrize(
    ("answer", "rows", "shown"),
    [
        ({"things": [{"id": 1, "name": "a b"}, {"id": 2}]}, "things", "1 a_b 2 -"),
        ({"things": None}, "things", ""),
        ({"things": []}, "things", ""),
        ({"things": {"id": 3}}, "things", "3 -"),
        ({"others": [{"id": 4}]}, "things|others", "4 -"),
        ([{"id": 5, "name": None}], "", "5 -"),
        ([], "|things", ""),
        ({"things": [{"id": 6}]}, "|things", "6 -"),
        ({"id": 7}, "things|", "7 -"),
        ({}, "things", None),
        ({"things": "text"}, "things", None),
        ({"things": [1]}, "things", None),
        ({"things": [{}, None]}, "things", None),
        ([[]], "", None),
    ],
)
def test_where_rows_stand(
    answer: object, rows: str, shown: str | None, run: Program, plan: Plan
) -> None:
    make("show things", Listing(f"GET {KEYS}", COLUMNS, rows))
    plan("ssh_keys", json_reply(answer), last=True)
    ran = run("show", "things", "--no-header")
    assert ran.status == (1 if shown is None else 0)
    if shown is None:
        assert "the response has no list of" in one_line(ran)
    else:
        assert " ".join(ran.out.replace("a b", "a_b").split()) == shown
        raw = json.loads(run("show", "things", "--raw").out)
        assert [row["id"] for row in raw] == [
            int(w) for w in shown.split() if w.isdigit()
        ]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (json_reply({"error": "not_found"}, 404), 0),
        (text_reply(404, "Not Found"), 0),
        (json_reply({"error": "auth_error"}, 404), 4),
        (json_reply({"error": "not_found"}, 410), 1),
        (json_reply({"error": "no"}, 400), 1),
    ],
)
def test_a_status_that_means_none(
    answer: Reply, status: int, run: Program, plan: Plan
) -> None:
    make("show things", Listing(f"GET {KEYS}", COLUMNS, "", empty_on=(404,)))
    plan("ssh_keys", answer)
    ran = run("show", "things", "-q")
    assert (ran.status, ran.out) == (status, "")


@pytest.mark.parametrize(
    ("limit", "sent", "count"),
    [
        (None, [2, 2, 2], 5),
        (5, [2, 2, 1], 5),
        (4, [2, 2], 4),
        (3, [2, 1], 3),
        (1, [1], 1),
    ],
)
def test_pages_and_a_limit(
    limit: int | None,
    sent: list[int],
    count: int,
    box: Sandbox,
    run: Program,
    plan: Plan,
) -> None:
    limit_arg = Arg("--limit", "at most", vast.number("limit", whole=True), wire="")
    make("show things", Listing(f"GET {KEYS}", COLUMNS, "things", pages=2), limit_arg)
    pages = [
        {"things": [{"id": 1}, {"id": 2}], "next_token": "a"},
        {"things": [{"id": 3}, {"id": 4}], "next_token": "b"},
        {"things": [{"id": 5}], "next_token": None},
    ]
    plan("ssh_keys", *map(json_reply, pages))
    ran = run("show", "things", "-q", *["--limit", str(limit)] * (limit is not None))
    assert ran.out.split() == [str(number + 1) for number in range(count)]
    assert [int(seen.query["limit"]) for seen in box.calls] == sent
    assert [seen.query.get("after_token") for seen in box.calls] == [None, "a", "b"][
        : len(sent)
    ]


def test_arguments_of_a_listing_are_its_query(
    box: Sandbox, run: Program, plan: Plan
) -> None:
    make(
        "show things",
        Listing("GET /api/v0/instances/{thing}/ssh/", COLUMNS, ""),
        Arg("thing", "which", vast.identifier),
        Arg("--kind", "what kind", wire="type"),
        Arg("--all", "all of them", bool),
        Arg("--quietly", "never sent", bool, wire=""),
    )
    plan("instance_ssh_keys", json_reply([]), last=True)
    assert (
        run("show", "things", "5", "--kind", "a b&c", "--all", "--quietly").status == 0
    )
    assert box.calls[-1].path == "/api/v0/instances/5/ssh/"
    assert box.calls[-1].query == {"type": "a b&c", "all": "True"}
    assert run("show", "things", "5").status == 0
    assert box.calls[-1].query == {}


def test_a_path_with_a_query_of_its_own(offline: Program) -> None:
    made = Listing(f"GET {KEYS}?owner=me", COLUMNS)
    make("show things", made, Arg("--since", wire="day"))
    url = json.loads(offline("show", "things", "--since", "a&b", *DRY).out)["url"]
    assert url.endswith(f"{KEYS}?owner=me&day=a%26b")
    url = json.loads(offline("show", "things", *DRY).out)["url"]
    assert url.endswith(f"{KEYS}?owner=me")


def test_a_path_is_escaped(offline: Program) -> None:
    make("show thing", Listing("GET /api/v0/things/{name}/", COLUMNS, ""), Arg("name"))
    ran = offline("show", "thing", "a/b ?#ü", "--dry-run", "--raw")
    assert json.loads(ran.out)["url"].endswith("/api/v0/things/a%2Fb%20%3F%23%C3%BC/")


def test_a_listing_of_ids(box: Sandbox, run: Program, plan: Plan) -> None:
    """One request each; what can't be shown does not hide the others."""
    path = "GET /api/v0/instances/{id}/ssh/"
    make("show thing", Listing(path, COLUMNS, "things"), ids())
    plan("instance_ssh_keys", json_reply({"things": {"id": 1}}), "404",
         json_reply({"things": []}), json_reply({"things": {"id": 4}}))  # fmt: skip
    ran = run("show", "thing", "1", "2", "3", "4", "1", "--no-header")
    assert (ran.status, ran.out) == (1, "1  -\n4  -\n")
    assert "there is no such thing" in ran.err
    assert "there is no thing 3" in ran.err
    assert len(box.calls) == 4
    plan("instance_ssh_keys", json_reply({"things": {"id": 1}}), "401")
    ran = run("show", "thing", "1", "2", "3", "--raw")
    assert ran.status == 4
    assert [row["id"] for row in json.loads(ran.out)] == [2, 1]
    plan("instance_ssh_keys", json_reply({"things": {"id": 1}}))
    assert json.loads(run("show", "thing", "1", "--raw").out) == {"id": 1}


def test_a_listing_with_a_query_and_something_after(run: Program, plan: Plan) -> None:
    def after(client: vast.Client, args: Any, rows: list[vast.Row]) -> None:
        client.env.note(f"{len(rows)} in all")

    listing = Listing(f"GET {KEYS}", COLUMNS, "", where=vast.matching_rows, after=after)
    make("show things", listing)
    rows = [{"id": 1, "name": "Alpha Beta"}, {"id": 2, "name": None}]
    plan("ssh_keys", json_reply(rows), last=True)
    ran = run("show", "things", "name=Alpha_Beta", "-q")
    assert ran == Ran(0, "1\n", "vast.py: 1 in all\n")
    assert run("show", "things", "ID>1", "-q").out == "2\n"
    assert run("show", "things", "nmae=x").status == 2


# --- requests

PUT = "PUT /api/v0/instances/{id}/"


def test_what_a_request_sends(box: Sandbox, run: Program, plan: Plan) -> None:
    make(
        "set thing",
        Request(
            PUT,
            "thing {id}: {said}; {size}, {reply[word]} {reply[nothing]}",
            body={"fixed": 1, "copy": "{size}", "who": "me"},
        ),
        Arg("id", "which", vast.identifier),
        Arg("--size", "GB", vast.number("size", "GB"), say="{} GB"),
        Arg("--new-name", "a name", wire="name", say="called {}"),
        Arg("--flag", "a flag", bool),
        Arg("--secret", "not shown", secret=True),
        Arg("--local", "not sent", wire=""),
    )
    answer = json_reply({"success": True, "word": "hello"})
    plan("manage", answer, last=True)
    words = ["--size", "5", "--new-name", "x", "--flag", "--local", "y"]
    ran = run("set", "thing", "7", *words)
    assert ran == Ran(0, "thing 7: 5 GB, called x; 5, hello -\n", "")
    assert body(box) == {
        "fixed": 1, "copy": 5, "who": "me", "size": 5, "name": "x", "flag": True
    }  # fmt: skip
    assert run("set", "thing", "7").out == "thing 7: ; None, hello -\n"
    assert body(box) == {"fixed": 1, "copy": None, "who": "me"}
    ran = run("set", "thing", "7", "--secret", "hush", "--dry-run")
    assert "hush" not in ran.out
    assert "********" in ran.out
    assert json.loads(run("set", "thing", "7", "--raw").out) == {
        "success": True, "word": "hello"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "status", "shown"),
    [
        (json_reply({"success": True}), 0, "done"),
        (json_reply({}), 0, "done"),
        (json_reply("a text"), 0, "done"),
        (text_reply(200, "a text"), 0, "done"),
        (text_reply(200, "<html>Log in</html>"), 6, None),
        (Reply(200, b"{broken"), 6, None),
        (Reply(200, b"[]"), 6, None),
        (text_reply(204, ""), 6, None),
        (json_reply({"success": False, "msg": "no"}), 1, None),
        (json_reply({"status": "failure", "msg": "no"}), 1, None),
    ],
)
def test_a_request_that_takes_any_answer(
    answer: Reply, status: int, shown: str | None, run: Program, plan: Plan
) -> None:
    """Some calls answer with a text. A page or an empty answer is not one."""
    make("set thing", Request(PUT, "done", proof=""), Arg("id"))
    plan("manage", answer)
    ran = run("set", "thing", "7")
    assert (ran.status, ran.out.strip() or None) == (status, shown)


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ({"key": 5}, 0),
        ({"success": True}, 0),
        ({"key": None}, 6),
        ({"success": 1}, 6),
        ({"other": 1}, 6),
    ],
)
def test_what_proves_that_it_was_done(
    reply: vast.Row, status: int, run: Program, plan: Plan
) -> None:
    make("set thing", Request(PUT, "done", proof="success|key"), Arg("id"))
    plan("manage", json_reply(reply))
    ran = run("set", "thing", "7")
    assert ran.status == status
    assert status == 0 or "run `vast.py show things` before retrying" in one_line(ran)


ASKED = {
    "": ("no", 3), "n\n": ("no", 3), "y\n": ("yes", 0), "Yes \n": ("yes", 0),
    "maybe\n": ("no", 3),
}  # fmt: skip


@pytest.mark.parametrize("stdin", ASKED)
def test_a_question(stdin: str, box: Sandbox, run: Program, plan: Plan) -> None:
    make("set thing", Request(PUT, "thing {id}: done", ask="lose {which}?"), ids())
    plan("manage", json_reply({"success": True}), last=True)
    ran = run("set", "thing", "5", "6", stdin=stdin, terminal=True)
    assert ran.status == ASKED[stdin][1]
    assert "lose thing 5 6?" in ran.err.replace("things", "thing")
    assert len(box.calls) == (2 if ran.status == 0 else 0)
    for more in (["-y"], ["--yes"]):
        assert run("set", "thing", "5", *more, terminal=True).status == 0
    ran = run("set", "thing", "5", "--dry-run", terminal=True)
    assert (ran.status, "lose" in ran.err) == (0, False)
    ran = run("set", "thing", "5")  # no terminal: go ahead
    assert (ran.status, ran.err) == (0, "")


def test_a_question_whose_answer_is_typed_in_full(
    box: Sandbox, run: Program, plan: Plan
) -> None:
    request = Request(
        PUT, "thing {id}: gone", ask="lose it?", typed="{id}", required=True
    )
    make("set thing", request, Arg("id", "which", vast.identifier))
    plan("manage", json_reply({"success": True}), last=True)
    for answer in ("y\n", "yes\n", "8\n", "\n"):
        ran = run("set", "thing", "7", stdin=answer, terminal=True)
        assert ran.status == 3
        assert "type 7 to confirm" in ran.err
    ran = run("set", "thing", "7")
    assert (ran.status, box.calls) == (2, [])
    assert "use -y" in one_line(ran)
    assert run("set", "thing", "7", stdin="7\n", terminal=True).status == 0
    assert run("set", "thing", "7", "-y").status == 0


def test_what_is_done_once_stops_in_doubt(
    box: Sandbox, run: Program, plan: Plan
) -> None:
    """The next ids are not tried: who knows what came of the first."""
    request = Request(PUT, "thing {id}: paid", once=True, look="show user")
    make("set thing", request, ids())
    plan("manage", json_reply({"success": True}), "drop_after")
    ran = run("set", "thing", "5", "6", "7", "8")
    assert (ran.status, ran.out) == (6, "thing 5: paid\n")
    assert names(box) == ["manage", "manage"]
    doubt = "thing 6 may or may not have been changed; run `vast.py show user`"
    assert doubt in ran.err
    assert ran.err.endswith("vast.py: not tried: 7 8\n")
    plan("manage", json_reply({"success": True}), "401")
    ran = run("set", "thing", "5", "6")
    assert ran.status == 3  # something was paid: never 4
    assert "thing 5: paid" in ran.err


def test_a_goal_that_one_of_several_misses(run: Program, plan: Plan) -> None:
    def goal(client: vast.Client, number: int, deadline: float) -> vast.Row | None:
        if number == 6:
            raise vast.NotDone(f"thing {number} is late", "timeout")
        return {"id": number}

    make("set thing", Request(PUT, "thing {id}: set", goal=goal, note="noted"), ids())
    plan("manage", json_reply({"success": True}), last=True)
    ran = run("set", "thing", "5", "6", "--wait")
    assert (ran.status, ran.out) == (3, "thing 5: set\nthing 6: set\n")
    assert ran.err.endswith("vast.py: noted\nvast.py: thing 6 is late\n")
    raw = run("set", "thing", "5", "6", "--wait", "--raw")
    assert json.loads(raw.out) == [
        {"id": 5, "success": True, "instance": {"id": 5}},
        {"id": 6, "success": True, "error": "timeout", "msg": "thing 6 is late",
         "status": None},
    ]  # fmt: skip
    assert run("set", "thing", "6", "--wait").status == 3
    assert run("set", "thing", "6").status == 0


def test_a_request_to_the_other_host(offline: Program) -> None:
    request = Request("POST /get_logs/", "done", serverless=True, body={"id": "{id}"})
    make("set thing", request, Arg("id", "which", vast.identifier))
    ran = offline("set", "thing", "7", "--dry-run", "--raw")
    assert json.loads(ran.out) == {
        "method": "POST", "url": "https://run.vast.ai/get_logs/", "body": {"id": 7}
    }  # fmt: skip
    url = ["--url", "https://example.org"]
    ran = offline("set", "thing", "7", "--dry-run", "--raw", *url)
    assert json.loads(ran.out)["url"] == "https://example.org/get_logs/"
