"""SSH keys and variables: where keys and values come from, what is refused, what is
shown. What holds for all commands is tested with their cases."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cases_keys import KEY, attached, instance

from conftest import Plan, Program, Ran, names, needs, one_line
from market_renting import renting
from sandbox import Sandbox, json_reply

DATA = "AAAAC3NzaC1lZDI1NTE5AAAAIOtherMadeUpKey00000000000000000000"
PRIVATE = (
    "-----BEGIN OPENSSH PRIVATE KEY-----\n"
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ==\n"
    "-----END OPENSSH PRIVATE KEY-----\n"
)
TYPES = [
    "ssh-ed25519",
    "ssh-rsa",
    "ssh-dss",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
]


@pytest.fixture(autouse=True)
def _instance(box: Sandbox) -> None:
    """Rent 5001, which has no key yet."""
    instance(box.market)
    renting(box.market).attached[5001] = {}


@pytest.fixture
def public(run: Program) -> Path:
    """Return a file with a public key, in the home."""
    (run.home / ".ssh").mkdir()
    path = run.home / ".ssh" / "id_rsa.pub"
    path.write_text(f"ssh-rsa {DATA} me@pc\n")
    return path


def sent_keys(box: Sandbox) -> list[str]:
    """Return the keys that came in."""
    bodies = [seen.body for seen in box.calls if isinstance(seen.body, dict)]
    return [body["ssh_key"] for body in bodies if "ssh_key" in body]


# What precedes the key, what follows it on stdout.
WITH_KEY = {
    "create ssh-key": "SSH key {}: added to your account",
    "update ssh-key 212": "SSH key 212: replaced by {}",
    "attach ssh 5001": "instance 5001: SSH key {} attached",
}

# ---------------------------------------------------------------- the key


@pytest.mark.parametrize("line", WITH_KEY)
@pytest.mark.parametrize("type", TYPES)
def test_every_type_of_key(run: Program, box: Sandbox, line: str, type: str) -> None:
    ran = run(*line.split(), f" {type} {DATA} me at home\n")
    done = WITH_KEY[line].format(f"{type} me at home")
    assert ran == Ran(0, f"{done}\n", "")
    assert sent_keys(box) == [f"{type} {DATA} me at home"]


@pytest.mark.parametrize("line", WITH_KEY)
@pytest.mark.parametrize("typed", ["{home}/.ssh/id_rsa.pub", "~/.ssh/id_rsa.pub", "-"])
def test_a_key_in_a_file_or_on_stdin(
    run: Program, box: Sandbox, public: Path, line: str, typed: str
) -> None:
    typed = typed.format(home=run.home)
    ran = run(*line.split(), typed, stdin=public.read_text())
    done = WITH_KEY[line].format("ssh-rsa me@pc")
    assert ran == Ran(0, f"{done}\n", "")
    assert sent_keys(box) == [f"ssh-rsa {DATA} me@pc"]


@pytest.mark.parametrize("line", WITH_KEY)
@pytest.mark.parametrize("way", ["word", "file", "stdin"])
@pytest.mark.parametrize("text", [PRIVATE, "PuTTY-User-Key-File-3: ssh-ed25519\n"])
def test_a_private_key_is_never_sent(
    run: Program, box: Sandbox, line: str, way: str, text: str
) -> None:
    path = run.home / "id_rsa"
    path.write_text(text)
    typed = {"word": text, "file": str(path), "stdin": "-"}[way]
    ran = run(*line.split(), typed, stdin=text)
    assert (ran.status, box.calls) == (2, [])
    assert one_line(ran) == (
        "vast.py: that is a private key; give the public one, in a .pub file\n"
    )


@pytest.mark.parametrize("line", WITH_KEY)
@pytest.mark.parametrize(
    "typed",
    ["", "hello", "/no/such/file.pub", "ssh-rsa", "ssh-rsa short", f"rsa {DATA}",
     f"ssh-rsa {DATA}\nssh-rsa {DATA}", "~", "{home}"],
)  # fmt: skip
def test_whatever_else_is_no_key(
    run: Program, box: Sandbox, line: str, typed: str
) -> None:
    ran = run(*line.split(), typed.format(home=run.home))
    assert (ran.status, box.calls) == (2, [])
    assert "is neither a public SSH key nor a file with one" in one_line(ran)


def test_a_file_of_something_else(run: Program, box: Sandbox) -> None:
    path = run.home / "x.pub"
    path.write_bytes(b"\xff\xfe")
    ran = run("create", "ssh-key", str(path))
    assert (ran.status, one_line(ran)) == (2, f"vast.py: {path} is not UTF-8 text\n")
    path.write_text("hello")
    ran = run("create", "ssh-key", str(path))
    assert one_line(ran).startswith(f"vast.py: '{path}' is neither")
    assert box.calls == []


@needs("ssh-keygen")
def test_a_key_of_ssh_keygen(run: Program, box: Sandbox) -> None:
    program = shutil.which("ssh-keygen") or ""
    path = run.home / "key"
    words = [program, "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(words, check=True)
    assert run("create", "ssh-key", str(path)).status == 2
    assert run("create", "ssh-key", f"{path}.pub").status == 0
    assert sent_keys(box) == [Path(f"{path}.pub").read_text().strip()]


# ---------------------------------------------------------------- create ssh-key


def test_the_key_comes_from_stdin(run: Program, box: Sandbox, public: Path) -> None:
    ran = run("create", "ssh-key", "-y", stdin=f"{KEY}\n")
    assert (ran.status, sent_keys(box)) == (0, [KEY])


def test_the_key_may_be_an_option(run: Program, box: Sandbox) -> None:
    ran = run("create", "ssh-key", "--ssh-key", KEY, "--raw")
    assert (ran.status, sent_keys(box)) == (0, [KEY])
    assert json.loads(ran.out)["key"]["public_key"] == KEY


@pytest.mark.parametrize(
    ("words", "answer", "status"),
    [([], "y\n", 0), ([], "\n", 3), (["-y"], "", 0), (["--dry-run"], "", 0)],
)
def test_ones_own_key_is_offered(
    run: Program, box: Sandbox, public: Path, words: list[str], answer: str, status: int
) -> None:
    ran = run("create", "ssh-key", *words, terminal=True, stdin=answer)
    assert ran.status == status
    asked = f"add {public} to your account? [y/N]" in ran.err
    assert asked == (not words)
    sent = status == 0 and words != ["--dry-run"]
    assert sent_keys(box) == [f"ssh-rsa {DATA} me@pc"] * sent


def test_the_best_of_ones_own_keys_is_offered(
    run: Program, box: Sandbox, public: Path
) -> None:
    public.with_name("id_ed25519.pub").write_text(KEY)
    public.with_name("id_ed25519").write_text(PRIVATE)
    assert run("create", "ssh-key", "-y", terminal=True).status == 0
    assert sent_keys(box) == [KEY]


def test_no_key_is_made_up(run: Program, box: Sandbox) -> None:
    ran = run("create", "ssh-key", terminal=True)
    error = "vast.py: you have no SSH key; create one with: ssh-keygen\n"
    assert (ran.status, one_line(ran)) == (2, error)
    assert run("create", "ssh-key").status == 2  # nothing on stdin
    assert (list(run.home.iterdir()), box.calls) == ([], [])


def test_a_key_is_added_once(run: Program, box: Sandbox) -> None:
    box.fault("create_ssh_key", "502", times=None)
    ran = run("create", "ssh-key", KEY)
    assert (ran.status, names(box)) == (6, ["create_ssh_key"])
    assert one_line(ran).endswith(
        "; the SSH key may or may not have been added; run `vast.py show ssh-keys`"
        " before retrying\n"
    )


# ---------------------------------------------------------------- the account's keys


def test_the_accounts_keys(run: Program) -> None:
    assert run("show", "ssh-keys").out.splitlines() == [
        " ID  Type         End           Created                   Comment",
        "211  ssh-ed25519  orTheSandbox  2025-11-03T09:12:44.105Z  me@pc",
        "212  ssh-rsa      ADAQABAAABAQ  -                        "
        " älter\\x1b[1m@lab\\u202e",
    ]
    assert run("show", "ssh-keys", "-q").out == "211\n212\n"
    rows = json.loads(run("show", "ssh-keys", "--raw").out)
    assert rows[0]["key"].startswith("ssh-ed25519 AAAA")


def test_no_keys_are_no_error(run: Program, box: Sandbox) -> None:
    box.market.stores["ssh_keys"].rows.clear()
    ran = run("show", "ssh-keys")
    assert ran == Ran(0, "ID  Type  End  Created  Comment\n", "")
    assert run("show", "ssh-keys", "--raw").out == "[]\n"


@pytest.mark.parametrize("key", [None, "", 5, "ssh-rsa", {"a": "b"}])
def test_odd_keys_are_shown(run: Program, plan: Plan, key: Any) -> None:
    plan("ssh_keys", json_reply([{"id": None, "key": key}]))
    ran = run("show", "ssh-keys")
    assert (ran.status, ran.err) == (0, "")
    assert len(ran.out.splitlines()) == 2


def test_deleting_keys(run: Program, box: Sandbox) -> None:
    ran = run("delete", "ssh-key", "211", "999")
    assert ran == Ran(1, "SSH key 211: deleted\n", "vast.py: there is no SSH key 999\n")
    ran = run("update", "ssh-key", "999", KEY)
    assert (ran.status, one_line(ran)) == (1, "vast.py: there is no SSH key 999\n")


def test_deleting_asks(run: Program, box: Sandbox) -> None:
    ran = run("delete", "ssh-key", "211", "212", terminal=True, stdin="n\n")
    assert (ran.status, box.calls) == (3, [])
    assert "delete SSH keys 211 212 from your account? [y/N]" in ran.err
    assert run("delete", "ssh-key", "211", "-y", terminal=True).status == 0


# ---------------------------------------------------------------- keys of instances


def test_a_key_of_the_account_is_attached_by_its_id(run: Program, box: Sandbox) -> None:
    ran = run("attach", "ssh", "5001", "211", "--raw")
    assert (ran.status, names(box)) == (0, ["ssh_keys", "attach_ssh"])
    assert json.loads(ran.out)["msg"] == "SSH key attached successfully"
    assert sent_keys(box) == [box.market.user["ssh_key"]]


def test_an_id_of_no_key(run: Program, box: Sandbox) -> None:
    ran = run("attach", "ssh", "5001", "570124")
    assert (ran.status, one_line(ran)) == (1, "vast.py: there is no SSH key 570124\n")
    box.market.stores["ssh_keys"].rows.clear()
    assert run("attach", "ssh", "5001", "211").status == 1
    assert names(box) == ["ssh_keys", "ssh_keys"]


def test_a_key_that_is_attached_already(run: Program, box: Sandbox) -> None:
    attached(box.market)
    ran = run("attach", "ssh", "5001", KEY)
    assert ran == Ran(0, "instance 5001: SSH key already attached\n", "")
    document = json.loads(run("attach", "ssh", "5001", KEY, "--raw").out)
    assert document["success"] is True


def test_a_lost_response_may_have_attached_the_key(run: Program, box: Sandbox) -> None:
    box.fault("attach_ssh", "drop_after")
    ran = run("attach", "ssh", "5001", KEY)
    assert (ran.status, ran.out) == (0, "instance 5001: SSH key already attached\n")


def test_refusals_to_attach_are_about_the_key(
    run: Program, box: Sandbox, plan: Plan
) -> None:
    error = {"error": "no_ssh_key", "msg": "Team SSH keys are not supported."}
    plan("attach_ssh", json_reply(error, 400))
    ran = run("attach", "ssh", "5001", KEY)
    error_line = "vast.py: Team SSH keys are not supported.\n"
    assert (ran.status, one_line(ran)) == (1, error_line)


def test_the_keys_of_an_instance(run: Program, box: Sandbox) -> None:
    assert run("show", "instance-ssh-keys", "5001", "--raw").out == "[]\n"
    attached(box.market)
    assert run("show", "instance-ssh-keys", "5001").out.splitlines() == [
        " ID  Type         End           Created  Comment",
        "301  ssh-ed25519  eCases000000  -        me at home",
    ]
    rows = json.loads(run("show", "instance-ssh-keys", "5001", "--raw").out)
    assert rows == [{"id": 301, "name": "me at home", "public_key": KEY}]
    assert run("show", "instance-ssh-keys", "9").status == 1


@pytest.mark.parametrize(
    ("keys", "status"),
    [([], 0), (None, 0), ("null", 0), ("[]", 0), ([{"id": 1}], 0), ("[", 1), ("5", 1),
     (5, 1), ("[1]", 1)],
)  # fmt: skip
def test_keys_as_text_or_not(run: Program, plan: Plan, keys: Any, status: int) -> None:
    plan("instance_ssh_keys", json_reply({"success": True, "ssh_keys": keys}))
    assert run("show", "instance-ssh-keys", "5001").status == status


def test_detaching_a_key(run: Program, box: Sandbox) -> None:
    attached(box.market)
    ran = run("detach", "ssh", "5001", "301")
    assert ran == Ran(0, "instance 5001: SSH key 301 detached\n", "")
    ran = run("detach", "ssh", "5001", "301")
    assert (ran.status, one_line(ran)) == (1, "vast.py: SSH key not found.\n")
    assert run("detach", "ssh", "5001", KEY).status == 2


# ---------------------------------------------------------------- variables


def test_values_are_masked(run: Program, box: Sandbox) -> None:
    secret = "hf_MadeUpForTheSandbox"
    ran = run("show", "env-vars")
    assert ran == Ran(0, "Name      Value\nHF_TOKEN  *****\n", "")
    ran = run("show", "env-vars", "--raw")
    assert json.loads(ran.out) == [{"key": "HF_TOKEN", "value": "*****"}]
    assert run("show", "env-vars", "-s").out == f"Name      Value\nHF_TOKEN  {secret}\n"
    ran = run("show", "env-vars", "--show-values", "--raw")
    assert json.loads(ran.out) == [{"key": "HF_TOKEN", "value": secret}]
    assert run("show", "env-vars", "-q").out == "HF_TOKEN\n"


@pytest.mark.parametrize(
    ("secrets", "status"),
    [({}, 0), (None, 0), ([], 0), ({"A\x1b": 5}, 0), ("x", 1), ([1, 2], 1)],
)
def test_odd_variables(run: Program, plan: Plan, secrets: Any, status: int) -> None:
    plan("env_vars", json_reply({"success": True, "secrets": secrets}))
    ran = run("show", "env-vars", "-s")
    assert ran.status == status
    assert "\x1b" not in ran.out


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        (["-----BEGIN value"], ""),
        (["-"], "-----BEGIN value\n"),
        ([], "-----BEGIN value\n"),
        (["--value", "-----BEGIN value"], ""),
        (["--value=-"], "-----BEGIN value\n"),
    ],
)
@pytest.mark.parametrize(("verb", "name"), [("create", "foo"), ("update", "hf_token")])
def test_where_a_value_comes_from(
    run: Program, box: Sandbox, verb: str, name: str, words: list[str], stdin: str
) -> None:
    box.fault(f"{verb}_env_var", "body", body={"success": True})
    ran = run(verb, "env-var", name, *words, stdin=stdin)
    assert ran == Ran(0, f"variable {name.upper()}: {verb}d\n", "")
    assert box.calls[0].body == {"key": name.upper(), "value": "-----BEGIN value"}


def test_a_value_is_asked_for_without_echo(
    run: Program, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getpass", lambda question: f"for-{question[:5]}")
    assert run("create", "env-var", "FOO", terminal=True).status == 0
    assert box.calls[0].body["value"] == "for-Value"


def test_values_are_not_shown(run: Program, box: Sandbox) -> None:
    ran = run("create", "env-var", "FOO", "hunter2", "--dry-run")
    assert '{"key": "FOO", "value": "********"}' in ran.out
    ran = run("create", "env-var", "FOO", "hunter2", "--dry-run", "--raw")
    assert "hunter2" not in ran.out
    assert box.calls == []


@pytest.mark.parametrize(
    "words",
    [
        ["FOO", ""],
        ["FOO"],
        ["A=b"],
        ["1A", "x"],
        ["A-B", "x"],
        ["Ä", "x"],
        ["", "x"],
        [],
    ],
)
def test_a_variable_has_a_name_and_a_value(
    run: Program, box: Sandbox, words: list[str]
) -> None:
    ran = run("create", "env-var", *words)
    assert (ran.status, box.calls) == (2, [])
    assert one_line(ran)


def test_the_services_refusals(run: Program, box: Sandbox) -> None:
    ran = run("create", "env-var", "HF_TOKEN", "x")
    assert (ran.status, one_line(ran)) == (1, "vast.py: variable HF_TOKEN exists\n")
    ran = run("create", "env-var", "B2_S3_ENDPOINT", "https://example.com")
    assert (ran.status, one_line(ran)) == (1, "vast.py: Invalid characters in input.\n")
    ran = run("delete", "env-var", "foo")
    assert (ran.status, one_line(ran)) == (1, "vast.py: there is no variable FOO\n")


def test_deleting_a_variable_asks(run: Program, box: Sandbox) -> None:
    ran = run("delete", "env-var", "hf_token", terminal=True, stdin="n\n")
    assert (ran.status, box.calls) == (3, [])
    assert "delete variable HF_TOKEN? [y/N]" in ran.err
    ran = run("delete", "env-var", "hf_token", terminal=True, stdin="y\n")
    assert ran.out.endswith("variable HF_TOKEN: deleted\n")
    assert box.market.stores["env_vars"].rows == {}
