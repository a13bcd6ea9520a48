"""Cases of the commands about the account, its keys and teams, and of those that send
nothing; see cases.py."""

from __future__ import annotations

from typing import Any

from cases import CHANGE, ONCE, Case
from market import Market
from market_account import (
    MEMBER,
    account,
    furnish_stores,
    owner_of,
    secret_text,
    tfa_methods,
)

V0 = "/api/v0"
KEYS, TEAM, TFA = f"{V0}/auth/apikeys/", f"{V0}/team/", f"{V0}/tfa/"
ALLOWED: dict[str, Any] = {"api": {"misc": {}}}


def fresh(market: Market) -> dict[str, Any]:
    """Put team, roles, keys and second factor into the state they begin in."""
    state, user = account(market), market.user
    furnish_stores(market)
    state.team = {"team_id": 900, "team_name": "Bären & Söhne", "credit": 20.0}
    zoe = {"id": MEMBER, "username": "zoe", "email": "zoe@example.org", "fullname": ""}
    state.members = {user["id"]: owner_of(user), MEMBER: {**zoe, "roles": ["member"]}}
    state.methods = tfa_methods(user["id"], market.now())
    state.deleted_keys.clear()
    state.challenges.clear()
    state.invited.clear()
    state.other_teams.clear()
    user["credit"] = 118.75
    return {"permissions": '{"api": {"misc": {}}}'}


def code_sent(market: Market) -> dict[str, Any]:
    """Return the secret of a code that was sent by SMS."""
    fresh(market)
    secret = secret_text("a code")
    account(market).challenges[secret] = "sms", market.now()
    return {"secret": secret}


CASES: dict[str, Case] = {
    "show user": Case("show user", ("GET", f"{V0}/users/current/", None), "user"),
    "set api-key": Case("set api-key s3cr3t"),
    "create account": Case("create account"),
    "login": Case("login"),
    "completion": Case("completion bash"),
    "help": Case("help show user"),
    "show ipaddrs": Case(
        "show ipaddrs", ("GET", f"{V0}/users/me/ipaddrs?owner=me", None), "ipaddrs"
    ),
    "show subaccounts": Case(
        "show subaccounts", ("GET", f"{V0}/subaccounts?owner=me", None), "subaccounts"
    ),
    "show audit-logs": Case(
        "show audit-logs", ("GET", f"{V0}/audit_logs/", None), "audit_logs"
    ),
    "transfer credit": Case(
        "transfer credit zoe@example.org 1.5 -y",
        (
            "PUT",
            f"{V0}/commands/transfer_credit/",
            {"sender": "me", "recipient": "zoe@example.org", "amount": 1.5},
        ),
        "transfer_credit",
        ONCE,
        setup=fresh,
    ),
    "create api-key": Case(
        "create api-key --name ci --permissions '{permissions}'",
        ("POST", KEYS, {"name": "ci", "permissions": ALLOWED}),
        "create_api_key",
        ONCE,
        setup=fresh,
    ),
    "show api-keys": Case("show api-keys", ("GET", KEYS, None), "api_keys"),
    "show api-key": Case(
        "show api-key 90466", ("GET", f"{KEYS}90466/", None), "api_key", setup=fresh
    ),
    "delete api-key": Case(
        "delete api-key 90466",
        ("DELETE", f"{KEYS}90466/", {}),
        "delete_api_key",
        ONCE,
        setup=fresh,
    ),
    "show team-roles": Case(
        "show team-roles",
        ("GET", f"{TEAM}roles-full/", None),
        "team_roles",
        setup=fresh,
    ),
    "show team-role": Case(
        "show team-role member",
        ("GET", f"{TEAM}roles/member/", None),
        "team_role",
        setup=fresh,
    ),
    "create team-role": Case(
        "create team-role --name dev --permissions '{permissions}'",
        ("POST", f"{TEAM}roles/", {"name": "dev", "permissions": ALLOWED}),
        "create_team_role",
        ONCE,
        setup=fresh,
    ),
    "update team-role": Case(
        "update team-role member --name ops",
        ("GET", f"{TEAM}roles-full/", None),
        "team_roles",
        after=("update_team_role",),
        setup=fresh,
    ),
    "remove team-role": Case(
        "remove team-role member",
        ("DELETE", f"{TEAM}roles/member/", {}),
        "remove_team_role",
        CHANGE,
        setup=fresh,
    ),
    "invite member": Case(
        "invite member --email bob@example.org --role member",
        ("POST", f"{TEAM}invite/?email=bob%40example.org&role=member", {}),
        "invite_member",
        ONCE,
        setup=fresh,
    ),
    "show members": Case(
        "show members", ("GET", f"{TEAM}members/", None), "team_members", setup=fresh
    ),
    "remove member": Case(
        f"remove member {MEMBER}",
        ("DELETE", f"{TEAM}members/{MEMBER}/", {}),
        "remove_member",
        CHANGE,
        setup=fresh,
    ),
    "create team": Case(
        "create team --team-name research --transfer-credit 5",
        ("POST", TEAM, {"team_name": "research", "transfer_credit": 5}),
        "create_team",
        ONCE,
        setup=fresh,
    ),
    "destroy team": Case(
        "destroy team -y", ("DELETE", TEAM, {}), "destroy_team", ONCE, setup=fresh
    ),
    "tfa status": Case("tfa status", ("GET", f"{TFA}status/", None), "tfa_status"),
    "tfa send-email": Case(
        "tfa send-email", ("POST", f"{TFA}email/", {}), "tfa_email", ONCE
    ),
    "tfa send-sms": Case(
        "tfa send-sms", ("POST", f"{TFA}sms/", {}), "tfa_sms", ONCE, setup=fresh
    ),
    "tfa resend-sms": Case(
        "tfa resend-sms -s {secret}",
        ("POST", f"{TFA}sms/resend/", {"secret": "{secret}"}),
        "tfa_resend",
        ONCE,
        setup=code_sent,
    ),
    "tfa login": Case(
        "tfa login -t totp -c 135790",
        ("POST", TFA, {"tfa_method": "totp", "code": "135790"}),
        "tfa_login",
        ONCE,
        setup=fresh,
    ),
}
