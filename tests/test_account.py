"""The account, its keys, its credit and its second factor: what each command sends and
says. Teams are in test_teams.py."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cases_account
import pytest

import vast
from cases import CHANGE, ONCE, READ, Case, fill
from conftest import Plan, Program, Ran, names, one_line, script_environment, sent
from market_account import CODES, account, expire_sessions, reshape, secret_text
from sandbox import KEY, Market, Row, Sandbox, json_reply, text_reply

OWN_KEY, CI_KEY = 90417, 90466
PERMISSIONS: Row = {
    "api": {
        "misc": {},
        "instance_read": {"api.instance.request_logs": {}},
        "team_read": {"api.team.members": {"constraints": {"id": {"lte": 9}}}},
    }
}
NO_KEY = {"VAST_API_KEY": None}


def mode(path: Path) -> int:
    """Return the permission bits of a file."""
    return os.stat(path).st_mode & 0o777


@pytest.fixture
def permissions(tmp_path: Path) -> str:
    """Return the name of a file of permissions."""
    file = tmp_path / "permissions.json"
    file.write_text(json.dumps(PERMISSIONS))
    return str(file)


# --- every command


def start(case: Case, market: Market) -> tuple[list[str], Any]:
    """Set the market up for a case; return the words, and the request."""
    values = case.setup(market) if case.setup else {}
    words = [str(fill(word, values)) for word in shlex.split(case.words)]
    return words, fill(case.request, values)


@pytest.mark.parametrize("command", cases_account.CASES)
def test_what_a_command_sends(command: str, run: Program, box: Sandbox) -> None:
    case = cases_account.CASES[command]
    words, request = start(case, box.market)
    ran = run(*words)
    assert (ran.status, ran.out == "") == (0, False), ran.err
    assert names(box) == [case.call] * bool(case.call) + list(case.after)
    if request:
        seen = box.calls[0]
        query = "&".join(f"{name}={quote(text)}" for name, text in seen.query.items())
        target = f"{seen.path}?{query}" if query else seen.path
        assert [seen.method, target, seen.body] == request
    assert box.violations == []


@pytest.mark.parametrize(
    "command", [name for name, case in cases_account.CASES.items() if case.request]
)
def test_every_answer_as_json(command: str, run: Program, box: Sandbox) -> None:
    """`--raw` prints one document; the key is never in it."""
    words, _ = start(cases_account.CASES[command], box.market)
    ran = run(*words, "--raw")
    assert ran.status == 0
    json.loads(ran.out)
    assert KEY not in ran.out + ran.err


@pytest.mark.parametrize(
    "command",
    [name for name, case in cases_account.CASES.items() if case.kind is ONCE],
)
@pytest.mark.parametrize("fault", ["502_after", "drop_after", "html", "array"])
def test_what_may_have_been_done_is_not_sent_again(
    command: str, fault: str, run: Program, box: Sandbox
) -> None:
    case = cases_account.CASES[command]
    words, _ = start(case, box.market)
    box.fault(case.call, fault)
    ran = run(*words)
    assert (ran.status, names(box)) == (6, [case.call])
    assert "may or may not" in one_line(ran)
    assert "run `vast.py show " in ran.err or "run `vast.py tfa status`" in ran.err


@pytest.mark.parametrize(
    "command",
    [name for name, case in cases_account.CASES.items() if case.kind is CHANGE],
)
def test_a_change_that_harms_nobody_twice_is_sent_again(
    command: str, run: Program, box: Sandbox
) -> None:
    case = cases_account.CASES[command]
    words, _ = start(case, box.market)
    box.fault(case.call, "503")
    assert run(*words).status == 0
    assert names(box) == [case.call] * 2


@pytest.mark.parametrize(
    "command",
    [
        name
        for name, case in cases_account.CASES.items()
        if case.kind is READ and case.request
    ],
)
@pytest.mark.parametrize(("fault", "status"), [("no_list", 1), ("500", 5), ("401", 4)])
def test_reads_that_fail(
    command: str, fault: str, status: int, run: Program, box: Sandbox
) -> None:
    case = cases_account.CASES[command]
    words, _ = start(case, box.market)
    box.fault(case.call, fault, times=None)
    ran = run(*words)
    assert ran.status == status
    one_line(ran)


# --- show user


USER: Row = {
    "id": 48213, "username": "lukasz", "email": "lukasz@example.org", "credit": 25,
    "balance": 12345.5, "balance_threshold": "7.5", "fullname": "Łukasz \x1b[1m",
    "user": "", "last4": "0042", "billed_verified": 312, "paid_expected": 0.125,
    "can_pay": True, "billaddress_line2": None, "api_key": "s3cr3t", "sid": "s3cr3t",
}  # fmt: skip
USER_TABLE = """\
Field              Value
balance            12345.50
balance_threshold  7.50
billed_verified    312
can_pay            true
credit             25.00
email              lukasz@example.org
fullname           Łukasz \\x1b[1m
id                 48213
last4              0042
paid_expected      0.125
username           lukasz
"""


def test_the_user(run: Program, box: Sandbox) -> None:
    box.fault("user", "body", body=USER)
    assert run("show", "user") == Ran(0, USER_TABLE, "")


def test_the_user_in_a_line_of_plain_numbers(run: Program, box: Sandbox) -> None:
    box.fault("user", "body", body=USER)
    out = "48213 lukasz@example.org 12345.50 25.00\n"
    assert run("show", "user", "-q") == Ran(0, out, "")


def test_the_user_as_json_is_as_sent(run: Program, box: Sandbox) -> None:
    box.fault("user", "body", body=USER)
    shown = json.loads(run("show", "user", "--raw").out)
    assert shown == {k: v for k, v in USER.items() if k not in ("api_key", "sid")}


def test_a_user_of_few_fields(run: Program, box: Sandbox) -> None:
    odd = {"id": 7, "credit": "much", "balance": None, "balance_threshold": True}
    box.fault("user", "body", times=2, body=odd)
    table = (
        "Field              Value\nbalance_threshold  true\ncredit             much\n"
    )
    assert run("show", "user").out == f"{table}id                 7\n"
    assert run("show", "user", "-q").out == "7 - - much\n"


# --- set api-key


NEW_KEY = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        pytest.param([NEW_KEY], "", id="argument"),
        pytest.param([f" {NEW_KEY}\n"], "", id="spaces around"),
        pytest.param(["-"], f"{NEW_KEY}\n", id="stdin"),
        pytest.param([], NEW_KEY, id="stdin without a newline"),
    ],
)
def test_the_key_is_saved(offline: Program, words: list[str], stdin: str) -> None:
    file = offline.home / ".vast_api_key"
    file.write_text("old")
    file.chmod(0o644)
    ran = offline("set", "api-key", *words, stdin=stdin)
    assert ran == Ran(0, f"API key saved to {file}\n", "")
    assert (file.read_text(), mode(file)) == (f"{NEW_KEY}\n", 0o600)
    assert [path.name for path in offline.home.iterdir()] == [".vast_api_key"]


def test_saving_a_key_ends_the_session(offline: Program) -> None:
    """Otherwise commands would go on as the account of the session."""
    (offline.home / ".vast_tfa_key").write_text("a-session\n")
    assert offline("set", "api-key", NEW_KEY).status == 0
    assert [path.name for path in offline.home.iterdir()] == [".vast_api_key"]


def test_a_dry_run_saves_no_key(offline: Program) -> None:
    ran = offline("set", "api-key", NEW_KEY, "--dry-run", "--raw")
    assert json.loads(ran.out) == {"path": str(offline.home / ".vast_api_key")}
    assert list(offline.home.iterdir()) == []


def test_a_key_in_the_environment_is_noted(offline: Program) -> None:
    ran = offline("set", "api-key", NEW_KEY, env={"VAST_API_KEY": "another"})
    assert ran.err == "vast.py: the environment's VAST_API_KEY overrides the file\n"


def test_checking_the_key_in_use(run: Program, box: Sandbox) -> None:
    assert run("set", "api-key", "--check") == Ran(
        0, "the API key works: account 48213\n", ""
    )
    assert names(box) == ["user"]
    assert list(run.home.iterdir()) == []


def test_checking_a_key_before_it_is_saved(run: Program, box: Sandbox) -> None:
    ran = run("set", "api-key", "wrong", "--check", env=NO_KEY)
    assert ran.status == 4
    assert "Invalid user key" in one_line(ran)
    assert list(run.home.iterdir()) == []
    ran = run("set", "api-key", "-", "--check", stdin=box.key, env=NO_KEY)
    assert (ran.status, names(box)) == (0, ["user", "user"])
    assert (run.home / ".vast_api_key").read_text() == f"{box.key}\n"


@pytest.mark.parametrize(
    ("words", "stdin", "msg"),
    [
        ([], "", "no API key was given"),
        (["-"], "\n", "no API key was given"),
        (["two words"], "", "an API key is one word of letters and digits"),
        (["schlüssel"], "", "an API key is one word of letters and digits"),
        (["two", "words"], "", "unexpected argument 'words'"),
    ],
)
def test_bad_keys(offline: Program, words: list[str], stdin: str, msg: str) -> None:
    ran = offline("set", "api-key", *words, stdin=stdin)
    assert ran.status == 2
    assert msg in one_line(ran)
    assert list(offline.home.iterdir()) == []


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_key_in_utf_16(errors: str, box: Sandbox, tmp_path: Path) -> None:
    encoding = {"PYTHONIOENCODING": f"utf-8:{errors}"}
    ran = subprocess.run(
        [vast.__file__, "set", "api-key", "-"],
        env={**script_environment(box, tmp_path), **encoding},
        input=NEW_KEY.encode("utf-16"),
        capture_output=True,
        timeout=30,
    )
    assert (ran.returncode, ran.stdout) == (2, b"")
    assert ran.stderr == b"vast.py: stdin is not UTF-8 text\n"


def on_terminal(box: Sandbox, home: Path, words: str, *keys: str) -> tuple[int, str]:
    """Run a command on a terminal of its own, type `keys` each time it asks something;
    return its status and all that the terminal showed."""
    import pty
    import select

    environ = {**script_environment(box, home), "VAST_API_KEY": box.key}
    child, terminal = pty.fork()
    if not child:  # pragma: no cover - another process
        os.execve(vast.__file__, [vast.__file__, *shlex.split(words)], environ)
    shown, left = b"", list(keys)
    while select.select([terminal], [], [], 30)[0]:
        try:
            chunk = os.read(terminal, 1024)
        except OSError:  # it has ended
            break
        shown += chunk
        if not chunk:
            break
        if left and shown.rstrip(b"\x1b[K").endswith((b": ", b"] ")):
            os.write(terminal, left.pop(0).encode())
    os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("words", ["set api-key", "set api-key -"])
def test_a_key_typed_on_a_terminal_is_not_shown(
    box: Sandbox, tmp_path: Path, words: str
) -> None:
    status, shown = on_terminal(box, tmp_path, words, f"{NEW_KEY}\n")
    assert status == 0
    assert shown.startswith("API key: \n")
    assert NEW_KEY not in shown
    assert (tmp_path / ".vast_api_key").read_text() == f"{NEW_KEY}\n"


def test_end_of_input_at_a_prompt(box: Sandbox, tmp_path: Path) -> None:
    status, shown = on_terminal(box, tmp_path, "set api-key", "\x04")
    assert status == 2
    assert shown.endswith("vast.py: no API key was given\n")
    assert "Traceback" not in shown


# --- lists of the account


ADDRESSES = """\
IP            First_seen        Location
203.0.113.9   2026-09-01_10:00  Český Krumlov, CZ
2001:db8::7   2026-09-02_10:00  \\x1b[31mBrno\\x07, CZ
198.51.100.4  -                 -
"""
OTHER_ADDRESSES = """\
IP            First_seen            Location
203.0.113.9   2026-09-01T10:00:00Z  -
2001:db8::7   2026-09-02T10:00:00Z  -
198.51.100.4  1970-01-01T00:00:00Z  -
"""
SEPTEMBER = 1_788_256_800  # 2026-09-01 10:00 UTC


@pytest.fixture
def dated(box: Sandbox) -> None:
    """Give what the account has done fixed dates."""
    state = account(box.market)
    for index, row in enumerate(state.addresses):
        row["first_seen"] = SEPTEMBER + index * 86400 if index < 2 else None
    for index, row in enumerate(state.audit_log):
        row["created_at"] = SEPTEMBER + index * 86400


@pytest.mark.usefixtures("dated")
def test_addresses(run: Program, box: Sandbox) -> None:
    assert run("show", "ipaddrs") == Ran(0, ADDRESSES, "")
    assert run("show", "ipaddrs", "-q").out.split()[0] == "203.0.113.9"
    account(box.market).addresses[2]["first_seen"] = 0
    reshape(box.market, "ipaddrs", "ip_address")
    assert run("show", "ipaddrs") == Ran(0, OTHER_ADDRESSES, "")
    assert run("show", "ipaddrs", "-q").out.split()[0] == "203.0.113.9"


def test_subaccounts(run: Program, box: Sandbox) -> None:
    for row in account(box.market).subaccounts:
        row["created_at"] = "2026-09-01T10:00:00Z"
    account(box.market).subaccounts[1]["deleted_at"] = SEPTEMBER
    reshape(box.market, "subaccounts", "users")
    assert run("show", "subaccounts").out == (
        "   ID  Name      Credit  Created               Deleted\n"
        "50001  sub50001    1.50  2026-09-01T10:00:00Z  -\n"
        "50002  sub50002    1.50  2026-09-01T10:00:00Z  2026-09-01_10:00\n"
    )
    shown = run("show", "subaccounts", "--raw").out
    assert "api_key" not in shown
    assert secret_text("sub50001") not in shown


def test_no_subaccounts_for_this_account(run: Program, box: Sandbox) -> None:
    account(box.market).may_have_subaccounts = False
    ran = run("show", "subaccounts")
    assert ran == Ran(1, "", "vast.py: Your account is not approved for subaccounts.\n")


AUDIT = """\
Date              IP              Key  Route                         Arguments
2026-09-01_10:00  203.0.113.9   90417  api.instance.create           \
{"disk": 10, "label": "a\\u001b[2Jb"}
2026-09-02_10:00  2001:db8::7   90417  api.commands.transfer_credit  {"amount": 5}
2026-09-03_10:00  203.0.113.9   90417  api.auth.apikeys              {"key": "********"}
2026-09-04_10:00  198.51.100.4  90417  api.users.login               -
"""


@pytest.mark.usefixtures("dated")
def test_audit_logs(run: Program) -> None:
    assert run("show", "audit-logs") == Ran(0, AUDIT, "")
    assert run("show", "audit-logs", "api_route=api.users.login", "-q").out == "90417\n"


LEAKS: list[Any] = [
    {"password": "s3cr3t"},
    {"outer": [{"tfa_code_token": "s3cr3t"}]},
    {"auth": {"user": "s3cr3t"}},
    {"env": {"HF_TOKEN": "s3cr3t"}},
    '{"api_key": "s3cr3t"}',
    "{'session_key': 's3cr3t'}",
    "https://me:s3cr3t@example.org/",
    {"image_login": "-u me -p s3cr3t"},
    [f"{'0123abcd' * 8}s3cr3t"],
]


@pytest.mark.parametrize("args", LEAKS, ids=str)
def test_no_secret_in_the_audit_log(args: Any, run: Program, box: Sandbox) -> None:
    account(box.market).audit_log[0]["args"] = args
    for option in ([], ["--raw"], ["--cols", "args"]):
        ran = run("show", "audit-logs", *option)
        assert ran.status == 0
        assert "s3cr3t" not in ran.out
        assert vast.MASK in ran.out


@pytest.mark.parametrize("args", [None, 7, "a label", {"id": 7, "disk": [1.5, True]}])
def test_what_is_no_secret_stays(args: Any, run: Program, box: Sandbox) -> None:
    account(box.market).audit_log[0]["args"] = args
    assert json.loads(run("show", "audit-logs", "--raw").out)[0]["args"] == args


# --- transfer credit


TRANSFER = "/api/v0/commands/transfer_credit/"


@pytest.mark.parametrize(
    "words",
    [
        "51702 25",
        "51702 --amount 25",
        "--amount 25 51702",
        "-a 25 -r 51702",
        "-r 51702 -a $25",
        "-r 51702 25",
        "--recipient=51702 --amount=25.00",
    ],
)
def test_who_gets_how_much(words: str, run: Program, box: Sandbox) -> None:
    """Accounts are numbers too: the order of the options must not matter."""
    ran = run("transfer", "credit", *words.split(), "-y")
    assert ran == Ran(0, "credit: $25 sent to 51702\n", "")
    body = {"sender": "me", "recipient": "51702", "amount": 25}
    assert sent(box) == [("PUT", TRANSFER, body)]
    assert account(box.market).transfers == [(51702, 25)]


@pytest.mark.parametrize(
    ("words", "msg"),
    [
        ("zoe@example.org AMOUNT", "invalid amount 'AMOUNT': must be a number of doll"),
        (
            "zoe@example.org 0",
            "invalid amount '0': must be a number of dollars, at lea",
        ),
        ("zoe@example.org -a -5", "invalid amount '-5': must be a number of dollars"),
        ("zoe@example.org nan", "invalid amount 'nan'"),
        ("zoe@example.org 1e400", "invalid amount '1e400'"),
        ("zoe@example.org -5", "unknown option '-5'"),
        ("zoe@example.org", "the following arguments are required: amount"),
        ("-a 25", "transfer credit: recipient is missing"),
        ("51702 25 -a 30", "unexpected argument '25'"),
    ],
)
def test_amounts_that_are_none(
    words: str, msg: str, run: Program, box: Sandbox
) -> None:
    ran = run("transfer", "credit", *words.split(), "-y")
    assert ran.status == 2
    assert msg in one_line(ran)
    assert box.calls == []


def test_credit_needs_yes_without_a_terminal(run: Program, box: Sandbox) -> None:
    ran = run("transfer", "credit", "51702", "25")
    msg = "vast.py: there is no terminal to confirm this on; use -y\n"
    assert (ran, box.calls) == (Ran(2, "", msg), [])
    assert run("transfer", "credit", "51702", "25", "--skip").status == 0


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 3), ("", 3)])
def test_credit_is_asked_about(
    answer: str, status: int, run: Program, box: Sandbox
) -> None:
    ran = run("transfer", "credit", "51702", "12.5", stdin=answer, terminal=True)
    question = "send $12.5 to 51702? This can't be undone. [y/N] "
    assert ran.err.startswith(question)
    assert (ran.status, len(box.calls)) == (status, int(status == 0))


def test_credit_in_doubt(run: Program, box: Sandbox) -> None:
    box.fault("transfer_credit", "drop_after", times=None)
    ran = run("transfer", "credit", "51702", "25", "-y")
    assert ran.status == 6
    assert one_line(ran).endswith(
        "; $25 may or may not have been sent to 51702;"
        " run `vast.py show invoices` before retrying\n"
    )
    assert account(box.market).transfers == [(51702, 25)]


def test_credit_to_nobody(run: Program) -> None:
    ran = run("transfer", "credit", "nobody@example.org", "25", "-y")
    assert ran == Ran(1, "", "vast.py: No such recipient\n")


# --- permissions


@pytest.mark.parametrize(
    ("given", "msg"),
    [
        ("{", "the permissions are not JSON: "),
        ("[]", "cannot read []: No such file or directory"),
        ("{}", "the permissions must be an object, as in "),
        ('{"read": true}', "unknown permission 'read'; known: api"),
        ('{"api": ["misc"]}', "'api' must be an object, as in "),
        (
            '{"api": {"instances_read": {}}}',
            "unknown permission 'instances_read'; did you mean 'instance_read'?; known:"
            " instance_read instance_write user_read user_write billing_read "
            "billing_write machine_read machine_write misc team_read team_write",
        ),
        ('{"api": {"misc": true}}', "'misc' must be an object, as in "),
        ('{"api": {"misc": {"a.b": []}}}', "'a.b' must be an object, as in "),
        (
            '{"api": {"misc": {"a.b": {"constraint": {}}}}}',
            "unknown permission 'constraint'; did you mean 'constraints'?",
        ),
        (
            '{"api": {"misc": {"a.b": {"constraints": {"id": 3}}}}}',
            "'id' must be an object, as in ",
        ),
        (
            '{"api": {"misc": {"a.b": {"constraints": {"id": {"lt": 3}}}}}}',
            "unknown permission 'lt'; did you mean 'lte'?; known: eq lte gte",
        ),
        ('{"api": {"misc": {}}, "more": {}}', "unknown permission 'more'"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        "create api-key --name ci --permission_file",
        "create team-role --name dev --permissions",
        "update team-role member --permissions",
    ],
)
def test_permissions_are_checked_before_anything_is_sent(
    command: str, given: str, msg: str, run: Program, box: Sandbox
) -> None:
    ran = run(*command.split(), given)
    assert ran.status == 2
    assert msg in one_line(ran)
    assert box.calls == []


def test_permissions_in_a_file(
    run: Program, box: Sandbox, permissions: str, tmp_path: Path
) -> None:
    create = ["create", "api-key", "--name"]
    assert run(*create, "ci", "--permission_file", permissions).status == 0
    assert box.calls[0].body == {"name": "ci", "permissions": PERMISSIONS}
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "deep").write_text('{"api":' * 100000)
    for file, msg in (("binary", "is not UTF-8 text"), ("deep", "are not JSON"),
                      ("", "Is a directory")):  # fmt: skip
        ran = run("create", "api-key", "--name", "x", "--permissions",
                  str(tmp_path / file))  # fmt: skip
        assert (ran.status, len(box.calls)) == (2, 1)
        assert msg in one_line(ran)


# --- API keys


def test_a_new_key_is_printed_once_and_works(
    run: Program, box: Sandbox, permissions: str
) -> None:
    create = ["create", "api-key", "--name", "ci", "--permission_file", permissions]
    ran = run(*create, "--key_params", '{"ip_whitelist": ["203.0.113.9"]}')
    key = account(box.market).api_keys[90501]
    note = "vast.py: save the key now; it is not shown again\n"
    assert ran == Ran(0, f"{key}\n", note)
    assert box.calls[0].body == {
        "name": "ci",
        "permissions": PERMISSIONS,
        "key_params": {"ip_whitelist": ["203.0.113.9"]},
    }
    assert run("show", "user", env={"VAST_API_KEY": key}).status == 0
    reshape(box.market, "api_keys", "with_key")
    for words in ("show api-keys", "show api-key 90501", "show api-keys --cols id,key"):
        for option in ([], ["--raw"]):
            shown = run(*words.split(), *option)
            assert shown.status == 0
            assert key not in shown.out
            assert box.key not in shown.out


def test_a_new_key_as_json(run: Program, box: Sandbox) -> None:
    """Scripts read `key`."""
    shown = json.loads(run("create", "api-key", "--name", "ci", "--raw").out)
    key = account(box.market).api_keys[90501]
    assert shown == {"id": 90501, "key": key, "permissions": False}
    assert box.calls[0].body == {"name": "ci"}


def test_a_dry_run_creates_no_key(run: Program, box: Sandbox) -> None:
    ran = run("create", "api-key", "--name", "ci", "--dry-run", "--raw")
    assert json.loads(ran.out)["body"] == {"name": "ci"}
    assert box.calls == []


@pytest.mark.parametrize(
    "answer", ["drop_after", "no_list", "bad_gateway", "not_json", "null"]
)
def test_a_key_that_nobody_has_seen(
    answer: str, run: Program, box: Sandbox, plan: Plan
) -> None:
    kind = "502_after" if answer == "bad_gateway" else answer
    plan("create_api_key", kind)
    ran = run("create", "api-key", "--name", "ci")
    assert ran.status == 6
    assert one_line(ran).endswith(
        "; API key 'ci' may or may not have been created (if so, delete it: nobody"
        " knows its text); run `vast.py show api-keys` before retrying\n"
    )
    assert names(box) == ["create_api_key"]


def test_no_permissions_for_a_key(run: Program, plan: Plan) -> None:
    refusal = {"success": False, "error": "missing_permissions", "msg": "Say which."}
    plan("create_api_key", json_reply(refusal, 400))
    assert run("create", "api-key", "--name", "ci").err == "vast.py: Say which.\n"


def test_a_long_name(run: Program, box: Sandbox) -> None:
    ran = run("create", "api-key", "--name", "x" * 256)
    assert "the name is too long: at most 255 characters" in one_line(ran)
    assert (ran.status, box.calls) == (2, [])


@pytest.fixture
def old_keys(box: Sandbox) -> None:
    """Give the keys fixed dates."""
    for row in box.market.stores["api_keys"].rows.values():
        row["created_at"] = SEPTEMBER


KEYS = """\
   ID  Name            Team           Created           Rights
90417  -               -              2026-09-01_10:00  all
90466  ci_\\x1b[1m名前  Bären_&_Söhne  2026-09-01_10:00  instance_read,misc
"""


@pytest.mark.usefixtures("old_keys")
def test_keys(run: Program, box: Sandbox) -> None:
    assert run("show", "api-keys") == Ran(0, KEYS, "")
    assert run("show", "api-key", "90417", "90466") == Ran(0, KEYS, "")
    assert run("show", "api-keys", "-q").out == "90417\n90466\n"
    row = json.loads(run("show", "api-key", "90466", "--raw").out)
    assert (row["id"], row["rights"]["api"]["misc"]) == (90466, {})
    reshape(box.market, "api_keys", "with_key")
    assert json.loads(run("show", "api-keys", "--raw").out)[0]["key"] == vast.MASK


@pytest.mark.parametrize(
    "answer",
    [
        {"apikeys": [{"id": 7, "rights": "read"}]},
        {"apikeys": {"id": 7, "rights": "read"}},
        {"id": 7, "rights": "read"},
    ],
)
def test_a_key_in_any_shape(answer: Row, run: Program, plan: Plan) -> None:
    plan("api_key", json_reply(answer))
    ran = run("show", "api-key", "7")
    assert ran.out.splitlines()[1].split() == ["7", "-", "-", "-", "read"]


def test_a_key_that_does_not_exist(run: Program) -> None:
    missing = Ran(1, "", "vast.py: API Key not found.\n")
    assert run("show", "api-key", "5") == missing
    assert run("delete", "api-key", "5") == missing


@pytest.mark.parametrize("shape", ["json_string", "text", "object"])
def test_deleting_a_key(shape: str, run: Program, box: Sandbox) -> None:
    reshape(box.market, "deleted_api_key", shape)
    out = f"API key {CI_KEY}: deleted\n"
    assert run("delete", "api-key", str(CI_KEY)) == Ran(0, out, "")
    assert sent(box) == [("DELETE", f"/api/v0/auth/apikeys/{CI_KEY}/", {})]


def test_the_answer_to_deleting_as_json(run: Program, box: Sandbox) -> None:
    ran = run("delete", "api-key", str(CI_KEY), "--raw")
    assert json.loads(ran.out) == {"msg": "Successfully Deleted API Key"}


IN_USE = (
    f"delete API key {OWN_KEY}? It is the one in use and stops working at once. [y/N] "
)
PERHAPS = f"delete API key {CI_KEY}? It may be the one in use. [y/N] "


def test_the_key_in_use_is_asked_about(run: Program, box: Sandbox) -> None:
    delete = ["delete", "api-key", str(OWN_KEY)]
    ran = run(*delete, stdin="n\n", terminal=True)
    assert (ran.status, ran.err.startswith(IN_USE)) == (3, True)
    assert names(box) == ["user", "api_keys"]
    ran = run(*delete, stdin="y\n", terminal=True)
    assert (ran.status, ran.err) == (0, IN_USE)
    assert run("show", "user").status == 4


def test_the_key_in_use_is_known_by_itself(run: Program, box: Sandbox) -> None:
    """Where rows show keys, that counts more than what the user's record says."""
    key = account(box.market).api_keys[CI_KEY] = "another-key"
    reshape(box.market, "api_keys", "with_key")
    delete = ["delete", "api-key", str(CI_KEY)]
    ran = run(*delete, stdin="n\n", terminal=True, env={"VAST_API_KEY": key})
    assert ran.status == 3
    assert "It is the one in use" in ran.err


def test_another_key_is_not_asked_about(run: Program) -> None:
    ran = run("delete", "api-key", str(CI_KEY), stdin="", terminal=True)
    assert (ran.status, ran.err) == (0, "")


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("user", json_reply({"id": 48213})),
        ("user", json_reply({"id": 48213, "key_id": None})),
        ("user", json_reply({"success": False, "msg": "no user_read"}, 403)),
        ("api_keys", json_reply({"apikeys": []})),
        ("api_keys", text_reply(403, "Forbidden")),
    ],
)
def test_a_key_of_which_nothing_is_known(
    call: str, answer: Any, run: Program, box: Sandbox, plan: Plan
) -> None:
    plan(call, answer)
    ran = run("delete", "api-key", str(CI_KEY), stdin="n\n", terminal=True)
    assert (ran.status, ran.err.startswith(PERHAPS)) == (3, True)
    assert "delete_api_key" not in names(box)


def test_yes_asks_nothing_about_a_key(run: Program, box: Sandbox) -> None:
    ran = run("delete", "api-key", str(OWN_KEY), "-y", terminal=True)
    assert (ran.status, names(box)) == (0, ["delete_api_key"])


def test_ctrl_c_while_it_is_looked_up(
    run: Program, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(vast.Transfer, "finish", interrupt)
    ran = run("delete", "api-key", str(OWN_KEY), terminal=True)
    assert (ran.status, ran.err) == (130, "vast.py: interrupted\n")


# --- second factor


def session_file(run: Program) -> Path:
    """Return where the session key is saved."""
    return run.home / ".vast_tfa_key"


def secret_file(run: Program) -> Path:
    """Return where the secret of a code is saved."""
    return run.home / ".vast_tfa_secret"


SENT = "vast.py: its secret is saved to ~/.vast_tfa_secret until you run tfa login\n"
SAVED = "session: saved to ~/.vast_tfa_key until it expires\n"


def challenge(box: Sandbox) -> str:
    """Return the secret of the code that was sent last."""
    return list(account(box.market).challenges)[-1]


METHODS = """\
 ID  Method  Phone         Primary  Locked            Label
301  totp    -             true     -                 phone \\x1b[1m app
302  sms     +4207*****42  false    2026-09-01_10:00  -
"""


def test_methods(run: Program, box: Sandbox) -> None:
    account(box.market).methods[1]["locked_until"] = SEPTEMBER
    note = "vast.py: two-factor authentication is on; backup codes left: 10\n"
    assert run("tfa", "status") == Ran(0, METHODS, note)
    assert run("tfa", "status", "-q").out == "301\n302\n"
    shown = json.loads(run("tfa", "status", "--raw").out)
    assert (shown["tfa_enabled"], len(shown["methods"])) == (True, 2)


def test_no_methods(run: Program, plan: Plan) -> None:
    plan("tfa_status", json_reply({"tfa_enabled": False, "methods": None}))
    ran = run("tfa", "status")
    assert (
        ran.err == "vast.py: two-factor authentication is off; backup codes left: -\n"
    )


@pytest.mark.parametrize(
    ("words", "done", "method"),
    [
        ("send-email", "code: sent by e-mail\n", "email"),
        ("send-sms", "code: sent by SMS\n", "sms"),
        ("send-sms -p +420601234567", "code: sent by SMS\n", "sms"),
    ],
)
def test_logging_in_with_a_code_that_was_sent(
    words: str, done: str, method: str, run: Program, box: Sandbox
) -> None:
    ran = run("tfa", *words.split())
    secret = challenge(box)
    assert ran == Ran(0, done, SENT)
    assert secret_file(run).read_text() == f"{method} {secret}\n"
    assert mode(secret_file(run)) == 0o600
    ran = run("tfa", "login", "-c", "-", stdin=f"{CODES[method]}\n", env=NO_KEY)
    assert ran.status == 4  # no key at all
    ran = run("tfa", "login", "-c", "-", stdin=f"{CODES[method]}\n")
    override = "vast.py: the environment's VAST_API_KEY overrides the session\n"
    assert ran == Ran(0, SAVED, override)
    body = {"tfa_method": method, "secret": secret, "code": CODES[method]}
    assert sent(box)[-1] == ("POST", "/api/v0/tfa/", body)
    session = next(iter(account(box.market).sessions))
    assert session_file(run).read_text() == f"{session}\n"
    assert mode(session_file(run)) == 0o600
    assert not secret_file(run).exists()
    assert run("show", "user", env=NO_KEY).status == 0
    assert box.calls[-1].headers["Authorization"] == f"Bearer {session}"


@pytest.mark.parametrize(
    "words", [["send-email"], ["send-sms"], ["login", "-t", "totp"]]
)
def test_secrets_of_the_second_factor_are_not_shown(
    words: list[str], run: Program, box: Sandbox
) -> None:
    for option in ([], ["--raw"]):
        account(box.market).challenges.clear()
        ran = run("tfa", *words, *option, stdin=CODES["totp"])
        secrets = [*account(box.market).challenges, *account(box.market).sessions]
        assert (ran.status, bool(secrets)) == (0, True)
        assert all(secret not in ran.out + ran.err for secret in secrets)


@pytest.mark.parametrize("shape", ["same_secret", "new_secret"])
def test_a_code_that_is_sent_again(shape: str, run: Program, box: Sandbox) -> None:
    reshape(box.market, "resent_sms", shape)
    assert run("tfa", "send-sms").status == 0
    first = challenge(box)
    again = run("tfa", "send-sms")
    assert (again.status, again.err) == (1, "vast.py: A code was sent; use resend.\n")
    ran = run("tfa", "resend-sms", "--phone-number", "+420601234567")
    assert ran == Ran(0, "code: sent by SMS again\n", SENT)
    assert box.calls[-1].body == {"secret": first, "phone_number": "+420601234567"}
    assert secret_file(run).read_text() == f"sms {challenge(box)}\n"
    assert (challenge(box) == first) is (shape == "same_secret")
    assert run("tfa", "login", "-c", CODES["sms"]).status == 0


def test_sent_again_without_another_secret(run: Program, plan: Plan) -> None:
    plan("tfa_resend", json_reply({"msg": "sent"}))
    assert run("tfa", "resend-sms", "-s", "abc").status == 0
    assert secret_file(run).read_text() == "sms abc\n"


def test_nothing_to_send_again(run: Program, box: Sandbox) -> None:
    ran = run("tfa", "resend-sms")
    msg = "vast.py: no code was sent; run: vast.py tfa send-sms\n"
    assert (ran, box.calls) == (Ran(2, "", msg), [])


@pytest.mark.parametrize(
    "words", ["", "-c 123456", "-t sms -c 123456", "--method-type=email -c 123456"]
)
def test_logging_in_without_a_code_sent(words: str, run: Program, box: Sandbox) -> None:
    if "sms" in words:  # the code that was sent by e-mail is not for this
        secret_file(run).write_text("email abc\n")
        secret_file(run).chmod(0o600)
    ran = run("tfa", "login", *words.split())
    hint = "run `vast.py tfa send-email` first, or use -t totp"
    msg = f"vast.py: no code was sent; {hint}\n"
    assert (ran, box.calls) == (Ran(2, "", msg), [])


@pytest.mark.parametrize(
    ("words", "body"),
    [
        ("-t totp -c 135790", {"tfa_method": "totp", "code": "135790"}),
        ("-id 301 -c 135790", {"tfa_method_id": 301, "code": "135790"}),
        ("-bc backup-03", {"backup_code": "backup-03"}),
        ("--backup-code -", {"backup_code": "backup-04"}),
    ],
)
def test_logging_in_otherwise(
    words: str, body: Row, run: Program, box: Sandbox
) -> None:
    assert run("tfa", "login", *words.split(), stdin="backup-04\n").status == 0
    assert box.calls[0].body == body


def test_a_method_by_its_id_gets_the_saved_secret(run: Program, box: Sandbox) -> None:
    run("tfa", "send-sms")
    secret = challenge(box)
    assert run("tfa", "login", "-id", "302", "-c", CODES["sms"]).status == 0
    body = {"tfa_method_id": 302, "secret": secret, "code": CODES["sms"]}
    assert box.calls[-1].body == body


def test_a_secret_of_ones_own(run: Program, box: Sandbox) -> None:
    run("tfa", "send-sms")
    secret = challenge(box)
    secret_file(run).write_text("email another\n")
    assert run("tfa", "login", "-s", secret, "-c", CODES["sms"]).status == 0
    assert box.calls[-1].body == {"secret": secret, "code": CODES["sms"]}


def test_a_dry_run_of_logging_in_shows_no_code(run: Program, box: Sandbox) -> None:
    words = ["tfa", "login", "-t", "sms", "-s", "s3cr3t", "-c", "246813", "--dry-run"]
    for option in ([], ["--raw"]):
        ran = run(*words, *option)
        assert ran.status == 0
        assert "246813" not in ran.out
        assert "s3cr3t" not in ran.out
    assert box.calls == []


def test_a_code_typed_on_a_terminal_is_not_shown(box: Sandbox, tmp_path: Path) -> None:
    status, shown = on_terminal(box, tmp_path, "tfa login -t totp", "135790\n")
    assert status == 0
    assert shown.startswith("code: \n")
    assert "135790" not in shown


def test_a_wrong_code(run: Program, box: Sandbox) -> None:
    ran = run("tfa", "login", "-t", "totp", "-c", "1")
    assert ran == Ran(1, "", "vast.py: Invalid code.\n")
    ran = run("tfa", "login", "-bc", "wrong")
    assert ran == Ran(1, "", "vast.py: Invalid backup code.\n")
    assert list(run.home.iterdir()) == []


def test_a_wrong_backup_code_does_not_end_the_session(
    run: Program, box: Sandbox
) -> None:
    login = ["tfa", "login", "-t", "totp", "-c", CODES["totp"]]
    assert run(*login).status == 0
    ran = run("tfa", "login", "-bc", "wrong", env=NO_KEY)
    assert (ran.status, session_file(run).exists()) == (1, True)


def test_a_locked_method_is_not_tried_again(run: Program, box: Sandbox) -> None:
    wrong = ["tfa", "login", "-t", "totp", "-c", "1"]
    for _ in range(4):
        assert run(*wrong).err == "vast.py: Invalid code.\n"
    ran = run(*wrong)
    locked = "vast.py: Too many wrong codes; this method is locked.\n"
    assert (ran, len(box.calls)) == (Ran(1, "", locked), 5)
    ran = run(*wrong, "--raw")
    assert json.loads(ran.err)["error"] == "tfa_locked"
    assert run.clock.slept == []


def test_too_many_messages_are_not_tried_again(run: Program, box: Sandbox) -> None:
    account(box.market).sms_limited = True
    ran = run("tfa", "send-sms")
    assert (ran.status, names(box)) == (1, ["tfa_sms"])
    assert ran.err == "vast.py: Too many messages; try later.\n"


@pytest.fixture
def logged_in(run: Program) -> Program:
    """Return what runs commands in a session, with an API key in its file."""
    assert run("set", "api-key", KEY).status == 0
    assert run("tfa", "login", "-t", "totp", "-c", CODES["totp"]).status == 0
    run.environ.pop("VAST_API_KEY")
    return run


EXPIRED = "vast.py: the session of `tfa login` has expired; using the API key\n"


@pytest.mark.parametrize("shape", ["msg", "auth_error"])
def test_an_expired_session_is_forgotten(
    shape: str, logged_in: Program, box: Sandbox
) -> None:
    reshape(box.market, "expired_session", shape)
    expire_sessions(box.market)
    box.calls.clear()
    ran = logged_in("show", "user", "-q")
    assert (ran.status, ran.err) == (0, EXPIRED)
    assert names(box) == ["user", "user"]
    assert box.calls[-1].headers["Authorization"] == f"Bearer {KEY}"
    assert not session_file(logged_in).exists()
    assert logged_in("show", "user", "-q").err == ""


def test_an_expired_session_without_a_key(logged_in: Program, box: Sandbox) -> None:
    (logged_in.home / ".vast_api_key").unlink()
    expire_sessions(box.market)
    ran = logged_in("show", "user")
    assert ran.status == 4
    assert ran.err.startswith(EXPIRED)
    assert "no API key" in ran.err


def test_a_key_of_another_kind_does_not_end_the_session(logged_in: Program) -> None:
    assert logged_in("show", "user", "--api-key", "wrong").status == 4
    assert session_file(logged_in).exists()


def test_what_needs_a_second_factor_says_how(run: Program, box: Sandbox) -> None:
    account(box.market).second_factor.add("create_api_key")
    create = ["create", "api-key", "--name", "ci"]
    ran = run(*create)
    assert ran == Ran(4, "", "vast.py: Two Factor Authentication is required for this"
                      " action; run: vast.py tfa login\n")  # fmt: skip
    assert run("tfa", "login", "-t", "totp", "-c", CODES["totp"]).status == 0
    assert run(*create, env=NO_KEY).status == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("tfa_email", "tfa send-email"),
        ("tfa_login", "tfa login -t totp -c 135790"),
    ],
)
def test_an_answer_without_its_secret(
    call: str, words: str, run: Program, box: Sandbox, plan: Plan
) -> None:
    plan(call, json_reply({"success": True}))
    ran = run(*words.split())
    assert (ran.status, names(box)) == (6, [call])
    assert "may or may not" in one_line(ran)
    assert list(run.home.iterdir()) == []


def test_a_session_key_that_cannot_be_one(run: Program, plan: Plan) -> None:
    """Saved, it would stop every command that follows."""
    plan("tfa_login", json_reply({"session_key": "two words"}))
    ran = run("tfa", "login", "-t", "totp", "-c", "135790")
    assert ran.status == 3
    assert "an API key is one word" in one_line(ran)
    assert list(run.home.iterdir()) == []


def test_a_secret_that_cannot_be_saved(run: Program) -> None:
    """Something was sent: this is no mistake on the command line."""
    ran = run("tfa", "send-email", env={"HOME": str(run.home / "missing")})
    assert ran.status == 3
    assert "cannot write " in one_line(ran)
    assert "code: sent by e-mail" in ran.err
