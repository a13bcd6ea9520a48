"""Teams, their roles and members: what each command sends and says. That of every
command is in test_account.py."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from conftest import Plan, Program, Ran, names, one_line, sent
from market_account import MEMBER, TEAM_OWNER, account, reshape
from sandbox import Row, Sandbox, json_reply

TEAM = "/api/v0/team/"
ODD_NAME = "dev/ops 100% 名前"  # that of role 4
DEV: Row = {"api": {"instance_read": {}}}
REQUIRED = "vast.py: there is no terminal to confirm this on; use -y\n"


def role_names(box: Sandbox) -> list[str]:
    """Return the names of the roles that exist."""
    return [row["name"] for row in box.market.stores["team_roles"].all()]


# --- roles


ROLES = """\
ID  Name               Permissions
 3  member             instance_read,instance_write,misc
 4  dev/ops_100%_名前  instance_read
"""


@pytest.mark.parametrize("shape", ["object", "array"])
def test_roles(shape: str, run: Program, box: Sandbox) -> None:
    del box.market.stores["team_roles"].rows[2]
    reshape(box.market, "role_permissions", shape)
    assert run("show", "team-roles") == Ran(0, ROLES, "")
    assert run("show", "team-roles", "-q").out == "3\n4\n"
    assert [
        row["id"] for row in json.loads(run("show", "team-roles", "--raw").out)
    ] == [
        3,
        4,
    ]


@pytest.mark.parametrize(
    ("word", "calls"),
    [
        (ODD_NAME, ["team_role"]),
        ("4", ["team_roles", "team_role"]),
        ("owner", ["team_role"]),
    ],
)
def test_a_role_by_name_or_id(
    word: str, calls: list[str], run: Program, box: Sandbox
) -> None:
    name = "owner" if word == "owner" else ODD_NAME
    row = json.loads(run("show", "team-role", word, "--raw").out)
    assert row["name"] == name
    assert names(box) == calls
    assert box.calls[-1].path == f"{TEAM}roles/{quote(name, safe='')}/"
    assert run("show", "team-role", word).out.splitlines()[0].split() == [
        "ID",
        "Name",
        "Permissions",
    ]
    assert run("show", "team-role", word, "-q").out == f"{row['id']}\n"


def test_a_name_that_is_a_number(run: Program, box: Sandbox) -> None:
    """A name is more than an id."""
    box.market.stores["team_roles"].create({"name": "4", "permissions": DEV})
    assert json.loads(run("show", "team-role", "4", "--raw").out)["id"] == 5


@pytest.mark.parametrize(
    "words",
    ["show team-role 44", "remove team-role 44", "update team-role 44 --name x",
     "invite member --email bob@example.org --role 44"],
)  # fmt: skip
def test_no_role_of_that_id(words: str, run: Program, box: Sandbox) -> None:
    ran = run(*words.split())
    assert ran == Ran(1, "", "vast.py: there is no role '44'\n")
    assert names(box) == ["team_roles"]


def test_a_role_that_does_not_exist(run: Program) -> None:
    ran = run("show", "team-role", "membre")
    assert ran == Ran(1, "", "vast.py: There is no role membre\n")
    ran = run("update", "team-role", "membre", "--name", "x")
    msg = "vast.py: there is no role 'membre'; did you mean 'member'?\n"
    assert ran == Ran(1, "", msg)


@pytest.mark.parametrize("word", ["", ".", ".."])
@pytest.mark.parametrize("command", ["show", "remove"])
def test_a_name_that_would_be_another_path(
    command: str, word: str, run: Program, box: Sandbox
) -> None:
    """DELETE /api/v0/team/roles/../ would destroy the team."""
    ran = run(command, "team-role", word)
    assert ran.status == 2
    assert f"'{word}' is not a name" in one_line(ran)
    assert box.calls == []


def test_a_new_role(run: Program, box: Sandbox) -> None:
    create = ["create", "team-role", "--name", "dev", "--permissions", json.dumps(DEV)]
    assert run(*create) == Ran(0, "role 'dev': created\n", "")
    assert sent(box) == [("POST", f"{TEAM}roles/", {"name": "dev", "permissions": DEV})]
    assert json.loads(run(*create[:3], "ops", *create[4:], "--raw").out) == {
        "msg": "success"
    }


@pytest.mark.parametrize("words", ["--name dev", "--permissions x"])
def test_a_new_role_needs_both(words: str, run: Program, box: Sandbox) -> None:
    ran = run("create", "team-role", *words.split())
    assert (ran.status, box.calls) == (2, [])


@pytest.mark.parametrize("word", ["member", "3"])
@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["--name", "ops"], {"name": "ops", "permissions": None}),
        (["--permissions", json.dumps(DEV)], {"name": "member", "permissions": DEV}),
        (
            ["--name", "ops", "--permissions", json.dumps(DEV)],
            {"name": "ops", "permissions": DEV},
        ),
    ],
)
def test_what_is_not_given_stays(
    word: str, words: list[str], body: Row, run: Program, box: Sandbox
) -> None:
    """The service wants name and permissions, and the id."""
    before = box.market.stores["team_roles"].get(3)["permissions"]
    ran = run("update", "team-role", word, *words)
    assert ran == Ran(0, "role 3: updated\n", "")
    assert names(box) == ["team_roles", "update_team_role"]
    permissions = body["permissions"] or before
    assert sent(box)[1] == (
        "PUT",
        f"{TEAM}roles/3/",
        {**body, "permissions": permissions},
    )


def test_permissions_that_are_not_shown_whole(run: Program, box: Sandbox) -> None:
    """From an array of categories, limits would get lost."""
    reshape(box.market, "role_permissions", "array")
    ran = run("update", "team-role", "member", "--name", "ops")
    msg = "vast.py: give --permissions: those of role 3 are hidden\n"
    assert (ran, names(box)) == (Ran(1, "", msg), ["team_roles"])
    words = ["--name", "ops", "--permissions", json.dumps(DEV)]
    assert run("update", "team-role", "member", *words).status == 0


@pytest.mark.parametrize("fault", ["502_after", "drop_after"])
def test_an_update_is_sent_again(fault: str, run: Program, box: Sandbox) -> None:
    box.fault("update_team_role", fault)
    assert run("update", "team-role", "member", "--name", "ops").status == 0
    assert names(box) == ["team_roles", "update_team_role", "update_team_role"]


@pytest.mark.parametrize("word", [ODD_NAME, "4"])
def test_removing_a_role(word: str, run: Program, box: Sandbox) -> None:
    ran = run("remove", "team-role", word)
    assert ran == Ran(0, f"role '{ODD_NAME}': removed\n", "")
    assert sent(box)[-1] == ("DELETE", f"{TEAM}roles/{quote(ODD_NAME, safe='')}/", {})
    assert ODD_NAME not in role_names(box)


def test_removing_a_role_is_asked_about(run: Program, box: Sandbox) -> None:
    remove = ["remove", "team-role", "3"]
    ran = run(*remove, stdin="n\n", terminal=True)
    question = "remove role 'member'? Its members lose its permissions. [y/N] "
    assert (ran.status, ran.err.startswith(question)) == (3, True)
    assert names(box) == ["team_roles"]
    assert run(*remove, "-y", terminal=True).err == ""


def test_a_role_removed_by_a_request_whose_answer_was_lost(
    run: Program, box: Sandbox
) -> None:
    box.fault("remove_team_role", "502_after")
    assert run("remove", "team-role", "member").status == 0
    assert names(box) == ["remove_team_role"] * 2


def test_the_owner_stays(run: Program) -> None:
    msg = "vast.py: The owner role cannot be changed or removed.\n"
    assert run("remove", "team-role", "owner") == Ran(1, "", msg)


# --- members


MEMBERS = f"""\
   ID  E-mail              Name                  Roles
48213  lukasz@example.org  Łukasz_Müller-Dvořák  owner
51702  zoe@example.org     Zoë\\x1b[0m            member,{ODD_NAME}
"""


@pytest.mark.parametrize("shape", ["list", "members"])
def test_members(shape: str, run: Program, box: Sandbox) -> None:
    reshape(box.market, "team_members", shape)
    assert run("show", "members") == Ran(0, MEMBERS, "")
    assert run("show", "members", "-q").out == f"{TEAM_OWNER}\n{MEMBER}\n"
    shown = json.loads(run("show", "members", "--raw").out)
    assert [row["id"] for row in shown] == [TEAM_OWNER, MEMBER]


@pytest.mark.parametrize(
    "row", [{}, {"roles": None}, {"roles": "x"}, {"roles": [None]}]
)
def test_members_of_any_shape(row: Row, run: Program, plan: Plan) -> None:
    plan("team_members", json_reply([{"id": 1, **row}]))
    ran = run("show", "members")
    assert ran.out.splitlines()[1].split()[:3] == ["1", "-", "-"]


@pytest.mark.parametrize(
    ("role", "name"), [("member", "member"), ("4", ODD_NAME), (ODD_NAME, ODD_NAME)]
)
def test_inviting(role: str, name: str, run: Program, box: Sandbox) -> None:
    address = "bob+ci&role=owner@example.org"
    ran = run("invite", "member", "--email", address, "--role", role)
    assert ran == Ran(0, f"{address}: invited as {name}\n", "")
    seen = box.calls[-1]
    assert (seen.method, seen.path, seen.body) == ("POST", f"{TEAM}invite/", {})
    assert seen.query == {"email": address, "role": name}


def test_inviting_too_often_is_not_tried_again(run: Program, box: Sandbox) -> None:
    invite = ["invite", "member", "--email", "bob@example.org", "--role", "member"]
    assert run(*invite).status == 0
    ran = run(*invite)
    assert ran.status == 1
    assert "invitation already sent to bob@example.org only " in one_line(ran)
    assert (len(box.calls), run.clock.slept) == (2, [])


def test_a_rate_limit_on_invitations_is_waited_for(run: Program, box: Sandbox) -> None:
    box.fault("invite_member", "429_text")
    invite = ["invite", "member", "--email", "bob@example.org", "--role", "member"]
    assert run(*invite).status == 0
    assert len(box.calls) == 2


@pytest.mark.parametrize("words", ["--email bob@example.org", "--role member", ""])
def test_an_invitation_needs_both(words: str, run: Program, box: Sandbox) -> None:
    """The vendor's client invites the address "null"."""
    ran = run("invite", "member", *words.split())
    assert (ran.status, box.calls) == (2, [])
    assert "required" in one_line(ran)


@pytest.mark.parametrize(
    ("email", "role", "msg"),
    [
        ("lukasz@example.org", "member", "User cannot be invited to their own team."),
        ("zoe@example.org", "member", "User is already a member of this team."),
        ("bob@example.org", "boss", "There is no role 'boss'"),
        ("bob", "member", "email is missing, or no address"),
    ],
)
def test_invitations_that_are_refused(
    email: str, role: str, msg: str, run: Program
) -> None:
    ran = run("invite", "member", "--email", email, "--role", role)
    assert ran == Ran(1, "", f"vast.py: {msg}\n")


def test_removing_a_member(run: Program, box: Sandbox) -> None:
    ran = run("remove", "member", str(MEMBER))
    assert ran == Ran(0, f"member {MEMBER}: removed\n", "")
    assert sent(box) == [("DELETE", f"{TEAM}members/{MEMBER}/", {})]
    ran = run("remove", "member", str(MEMBER))
    assert ran == Ran(1, "", "vast.py: User is not a member of this team.\n")


def test_a_failure_with_status_200(run: Program, plan: Plan) -> None:
    failure = {"status": "failure", "message": "not today"}
    plan("remove_member", json_reply(failure))
    ran = run("remove", "member", str(MEMBER))
    assert ran == Ran(1, "", "vast.py: not today\n")


def test_removing_a_member_is_asked_about(run: Program, box: Sandbox) -> None:
    ran = run("remove", "member", str(MEMBER), stdin="\n", terminal=True)
    question = f"remove member {MEMBER} with all access and API keys? [y/N] "
    assert (ran.status, ran.err.startswith(question)) == (3, True)
    assert box.calls == []


@pytest.mark.parametrize("word", ["zoe", "0", "-3", "1.5"])
def test_members_have_numbers(word: str, run: Program, box: Sandbox) -> None:
    ran = run("remove", "member", word)
    assert (ran.status, box.calls) == (2, [])


# --- teams


NEED_KEY = (
    "vast.py: commands about a team need one of its API keys; if this one is still only"
    " yours, create one at https://cloud.vast.ai/manage-keys/\n"
)


def test_a_new_team(run: Program, box: Sandbox) -> None:
    ran = run("create", "team", "--team-name", "R&D", terminal=True)
    assert ran == Ran(0, "team 'R&D': created\n", NEED_KEY)
    assert sent(box) == [("POST", TEAM, {"team_name": "R&D"})]


def test_a_new_team_with_credit_is_asked_about(run: Program, box: Sandbox) -> None:
    create = ["create", "team", "--team-name", "R&D", "--transfer-credit", "5.50"]
    question = "move $5.5 to team 'R&D'? [y/N] "
    ran = run(*create, stdin="no\n", terminal=True)
    assert (ran.status, ran.err.startswith(question), box.calls) == (3, True, [])
    ran = run(*create, stdin="yes\n", terminal=True)
    assert (ran.status, ran.err) == (0, f"{question}{NEED_KEY}")
    assert box.calls[0].body == {"team_name": "R&D", "transfer_credit": 5.5}
    assert run(*create[:3], "Ops", *create[4:]).status == 0  # for scripts


@pytest.mark.parametrize("amount", ["-1", "nan", "much"])
def test_credit_that_is_none(amount: str, run: Program, box: Sandbox) -> None:
    ran = run("create", "team", "--team-name", "x", "--transfer-credit", amount)
    assert (ran.status, box.calls) == (2, [])
    assert "invalid amount" in one_line(ran)


def test_a_team_in_doubt(run: Program, box: Sandbox) -> None:
    box.fault("create_team", "502_after", times=None)
    ran = run("create", "team", "--team-name", "x", "--transfer-credit", "5")
    assert (ran.status, names(box)) == (6, ["create_team"])
    assert one_line(ran).endswith(
        "; team 'x' may or may not have been changed;"
        " run `vast.py show api-keys` before retrying\n"
    )


def test_destroying_a_team_needs_yes_without_a_terminal(
    run: Program, box: Sandbox
) -> None:
    assert run("destroy", "team") == Ran(2, "", REQUIRED)
    assert box.calls == []
    out = "team: destroyed, its credit returns to the owner\n"
    assert run("destroy", "team", "-y") == Ran(0, out, "")
    assert sent(box) == [("DELETE", TEAM, {})]
    assert account(box.market).team is None


@pytest.fixture
def team_key(box: Sandbox) -> None:
    """Make the key in use one of the team, as the list of keys shows it."""
    key = box.market.stores["api_keys"].get(box.market.user["key_id"])
    key |= {"team_id": 900, "team_name": "Bären & Söhne "}


@pytest.mark.usefixtures("team_key")
@pytest.mark.parametrize(
    ("answer", "status"),
    [("Bären & Söhne\n", 0), ("y\n", 3), ("bären & söhne\n", 3), ("", 3)],
)
def test_the_name_of_the_team_is_typed_again(
    answer: str, status: int, run: Program, box: Sandbox
) -> None:
    ran = run("destroy", "team", stdin=answer, terminal=True)
    question = (
        "destroy team 'Bären & Söhne' and all its API keys, roles and members?"
        " type Bären & Söhne to confirm: "
    )
    assert (ran.status, ran.err.startswith(question)) == (status, True)
    assert ("destroy_team" in names(box)) is (status == 0)


@pytest.mark.parametrize(("answer", "status"), [("destroy team\n", 0), ("y\n", 3)])
@pytest.mark.parametrize("name", [None, "", "a\x1b[1mb", 7])
def test_a_team_whose_name_cannot_be_typed(
    name: Any, answer: str, status: int, run: Program, box: Sandbox
) -> None:
    key = box.market.stores["api_keys"].get(box.market.user["key_id"])
    key["team_name"] = name
    if name == 7:
        answer = answer.replace("destroy team", "7")
    ran = run("destroy", "team", stdin=answer, terminal=True)
    word = "7" if name == 7 else "destroy team"
    assert f" type {word} to confirm: " in ran.err
    assert ran.status == status
    assert "\x1b[1m" not in ran.err


def test_only_the_owner_destroys_a_team(run: Program, box: Sandbox) -> None:
    account(box.market).is_team_owner = False
    ran = run("destroy", "team", "-y")
    assert ran == Ran(1, "", "vast.py: Only the Team's Owner may delete the team\n")


def test_a_dry_run_destroys_nothing(run: Program, box: Sandbox) -> None:
    ran = run("destroy", "team", "--dry-run", "--raw", terminal=True)
    assert json.loads(ran.out)["method"] == "DELETE"
    assert box.calls == []


@pytest.mark.parametrize(
    "words", ["show members", "show team-roles", "show team-role member"]
)
def test_a_key_of_no_team(words: str, run: Program, box: Sandbox) -> None:
    account(box.market).team = None
    ran = run(*words.split())
    assert ran == Ran(1, "", "vast.py: Team metadata not found\n")
