"""What must stay secret: the API key in whatever the service repeats, passwords in what
is sent and shown, variables of instances, proxies, and the key's file."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vast
from conftest import Plan, Program, create, one_line, rent, script_environment
from sandbox import KEY, Reply, Sandbox, json_reply, text_reply

ECHO = f"your key {KEY} is odd"


def starts(key: str, text: str) -> bool:
    """Tell whether a text has the key in it, or at least its first eight letters."""
    return key[:8] in text


# --- what the service repeats


@pytest.mark.parametrize("more", ["", "--raw"])
@pytest.mark.parametrize("command", ["show user", "create"])
@pytest.mark.parametrize(
    "make",
    [
        lambda text: text_reply(429, text),
        lambda text: json_reply({"detail": text}, 429),
        lambda text: text_reply(429, f"{text} threshold=1"),
        lambda text: text_reply(400, text),
        lambda text: json_reply(text, 400),
        lambda text: json_reply({"msg": [text]}, 400),
        lambda text: json_reply({"msg": {"key": text}}, 400),
        lambda text: json_reply({"error": text}, 401),
        lambda text: text_reply(404, f"<html><p>{text}</p></html>"),
        lambda text: text_reply(200, text),
        lambda text: json_reply({"success": False, "msg": text}),
        lambda text: json_reply({"status": "failure", "message": text}),
        lambda text: text_reply(302, "", f"Location: https://e.org/?k={text}"),
    ],
    ids="""429 429-detail 429-threshold 400 400-text 400-list 400-object 401 html 200
    success-false failure redirect""".split(),
)
def test_the_key_is_never_repeated(
    make: Callable[[str], Reply],
    command: str,
    more: str,
    box: Sandbox,
    run: Program,
    plan: Plan,
) -> None:
    """Not on the terminal's progress line either, nor a part of it where a text is cut
    off behind it."""
    words = create(box) if command == "create" else command.split()
    for before in (0, 130, 180, 195, 1980):
        plan("*", make(f"{'x' * before} {ECHO}"), last=True)
        ran = run(*words, *more.split(), terminal=True)
        assert ran.status
        assert ran.err
        assert not starts(KEY, ran.out + ran.err)
        box.clear()


def test_the_key_spelt_in_json_escapes(run: Program, plan: Plan) -> None:
    spelt = "".join(f"\\u{ord(char):04x}" for char in KEY)
    for name in ("msg", "error", "detail"):
        plan("user", Reply(400, f'{{"{name}": "your key {spelt}"}}'.encode()))
        ran = run("show", "user")
        assert ran.status == 1
        assert not starts(KEY, ran.err)


def test_the_key_in_a_zipped_answer(run: Program, plan: Plan) -> None:
    headers = ("Content-Encoding: gzip",)
    plan("user", Reply(400, gzip.compress(ECHO.encode()), headers=headers))
    assert not starts(KEY, one_line(run("show", "user")))


# --- passwords that are sent

LOGINS = [
    "-u me -p s3cret docker.io",
    "-u me -ps3cret docker.io",
    "-u me --password s3cret",
    "-u me --password=s3cret",
    "-u me -p 'very s3cret' docker.io",
    '-u me -p "very s3cret" docker.io',
    "-u me -p very\\ s3cret",
    "me:s3cret@docker.io",
    "s3cret",
]


@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize("terminal", [False, True])
def test_a_dry_run_masks_the_login(
    login: str, terminal: bool, box: Sandbox, run: Program
) -> None:
    """It prints the body as it would be sent, but for what is secret in it."""
    words = (*create(box), "--login", login, "--dry-run")
    ran = run(*words, terminal=terminal)
    assert (ran.status, box.calls) == (0, [])
    assert "s3cret" not in ran.out + ran.err
    assert "image_login" in ran.out
    raw = json.loads(run(*words, "--raw").out)
    assert raw["body"]["image_login"] == "********"
    assert "s3cret" not in json.dumps(raw)
    assert run(*words[:-1]).status == 0
    assert box.calls[0].body["image_login"] == login


def test_a_dry_run_masks_variables(box: Sandbox, run: Program) -> None:
    env = "-e HF_TOKEN=s3cret -e MONKEY=chimp -e DB=postgres://me:s3cret@db/x -p 80:80"
    ran = run(*create(box), "--env", env, "--dry-run", "--raw")
    assert json.loads(ran.out)["body"]["env"] == {
        "HF_TOKEN": "********",
        "MONKEY": "chimp",
        "DB": "********",
        "-p 80:80": "1",
    }


@pytest.mark.parametrize(
    ("place", "key"),
    [("environment", "$VAST_API_KEY"), ("file", "$(cat ~/.vast_api_key)")],
)
def test_a_dry_run_prints_a_command_that_works(
    place: str, key: str, box: Sandbox, tmp_path: Path
) -> None:
    environ = script_environment(box, tmp_path)
    if place == "file":
        (tmp_path / ".vast_api_key").write_text(f"{KEY}\n")
        (tmp_path / ".vast_api_key").chmod(0o600)
        del environ["VAST_API_KEY"]
    line = [sys.executable, vast.__file__, *create(box), "--label", "it's", "--dry-run"]
    ran = subprocess.run(line, env=environ, capture_output=True, text=True)
    assert f'"Authorization: Bearer {key}"' in ran.stdout
    assert KEY not in ran.stdout
    # What a shell makes of it is what would have been sent.
    shown = "; printf '%s\\n' \"$@\""
    script = ran.stdout.strip().replace("curl ", "set -- ", 1) + shown
    sh = subprocess.run(["sh", "-c", script], env=environ, capture_output=True)
    assert f"Authorization: Bearer {KEY}".encode() in sh.stdout
    assert json.loads(shlex.split(ran.stdout)[-1])["label"] == "it's"


# --- variables of instances

SECRET_VARIABLES = """HF_TOKEN GITHUB_PAT OPENAI_API_KEY AWS_SECRET_ACCESS_KEY DB_PASS
DB_PASSWORD PGPASSWORD MYSQL_PWD PASSWD PASSPHRASE WANDB_APIKEY SSH_KEY KEY KEYS
GOOGLE_APPLICATION_CREDENTIALS REGISTRY_LOGIN AUTH BASIC_AUTH JWT_AUTHORIZATION secret
api-key githubToken TOKEN2 Key.Id""".split()
PLAIN_VARIABLES = """MONKEY KEYBOARD TOKENIZERS_PARALLELISM AUTHOR PATH PASSENGER HOME
DONKEY_COUNT COMPASS PATTERN BYPASS SPATIAL LOGINSHELL MODEL""".split()
URLS = {
    "DATABASE_URL": "postgres://me:s3cret@db.example.org/x",
    "REDIS": "redis://:s3cret@localhost:6379",
    "MIRRORS": "http://a.org https://me:s3cret@b.org",
}


def in_row(run: Program, number: int) -> dict[str, str]:
    """Return the variables of an instance as --raw shows them."""
    (row,) = json.loads(run("show", "instances", "--raw").out)
    assert json.loads(run("show", "instance", str(number), "--raw").out)["id"] == number
    return dict(row["extra_env"])


def test_variables_are_masked_not_dropped(box: Sandbox, run: Program) -> None:
    values = dict.fromkeys([*SECRET_VARIABLES, *URLS], "********")
    values |= dict.fromkeys(PLAIN_VARIABLES, "v")
    values |= {"PLAIN_URL": "https://example.org/a@b:c"}
    sent = dict.fromkeys(SECRET_VARIABLES, "s3cret") | URLS
    pairs = [[name, sent.get(name, value)] for name, value in values.items()]
    number = rent(box, extra_env=pairs)
    assert in_row(run, number) == values
    shown = run("show", "instances", "--cols", "extra_env").out
    assert "s3cret" not in shown
    assert "MONKEY" in shown


@pytest.mark.parametrize("name", ["env", "extra_env"])
def test_variables_as_an_object_are_masked(name: str) -> None:
    row = {name: {"A_KEY": "s3cret", "MONKEY": "v", "-p 80:80": "1"}}
    shown = vast.without_credentials({"rows": [row]})
    assert shown == {"rows": [{name: {"A_KEY": "********", "MONKEY": "v",
                                      "-p 80:80": "1"}}]}  # fmt: skip
    assert row[name]["A_KEY"] == "s3cret"


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=9,
)


@given(ANY)
def test_variables_of_any_shape(variables: Any) -> None:
    """Nothing that a service may send there raises an error."""
    vast.without_credentials({"extra_env": variables, "env": [variables]})


# --- proxies


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    "proxy",
    [
        "http://me:s3cret@127.0.0.1:port",
        "http://me:s3cret@127.0.0.1:99999",
        "http://me:s3cret@127.0.0.1:-1",
        "me:s3cret@127.0.0.1:port",
        "//me:s3cret@127.0.0.1:port",
        "http://me:s3cret@[::1",
        "http://me:s3cret@",
        "http://me:s3cret@127.0.0.1:1",
        "socks5://me:s3cret@127.0.0.1:1",
        "ftp://me:s3cret@127.0.0.1:1",
        "http://me@there:s3cret@127.0.0.1:port",
        "http://ключ:s3cret@127.0.0.1:1",
        "http://me:s3cretключ@127.0.0.1:1",
        "http://me:s3cret ё@127.0.0.1:1",
    ],
)
def test_a_bad_proxy(
    name: str, proxy: str, offline: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its password is not shown; nothing was sent, and a rental is in no doubt."""
    monkeypatch.setenv(name, proxy)
    words = ["--url", "https://service.invalid", "--image", "it"]
    for command in ("show user", "create instance 1"):
        more = words[: 4 if "create" in command else 2]
        ran = offline(*command.split(), *more, env={"VAST_API_KEY": KEY})
        assert ran.status in (2, 5), ran.err
        assert "s3cret" not in one_line(ran)
        assert "@" not in ran.err or "(redacted)@" in ran.err


# --- addresses


@pytest.mark.parametrize(
    "host",
    """127.999.999.999 127.0.0.256 127.0.0.0.1 127.1 127 0 0.0.0.0 127.0.0.1.org
    127.0.0.01 2130706433 0x7f.1 017700000001 [::ffff:10.0.0.1] localhost.org
    localhost.localdomain 128.0.0.1 126.255.255.255""".split(),
)
def test_what_is_not_this_machine_gets_no_key_in_the_clear(
    host: str, offline: Program
) -> None:
    ran = offline("show", "user", "--url", f"http://{host}", env={"VAST_API_KEY": KEY})
    assert (ran.status, offline.clock.slept) == (2, [])
    assert one_line(ran)


# --- the key's file


@pytest.mark.parametrize("file", [".vast_api_key", ".config/vastai/vast_api_key"])
@pytest.mark.parametrize("key", ["two words", "ключ", "a\x00b", "x\nX-Other: 1"])
def test_a_malformed_key_in_a_file_names_the_file(
    file: str, key: str, box: Sandbox, run: Program
) -> None:
    path = run.home / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(key)
    path.chmod(0o600)
    ran = run("show", "user", env={"VAST_API_KEY": None})
    assert (ran.status, box.connections) == (4, 0)
    assert str(path) in one_line(ran)
    assert key not in ran.err
    raw = run("show", "user", "--raw", env={"VAST_API_KEY": None})
    assert json.loads(raw.err)["error"] == "bad_key"


@pytest.mark.parametrize("file", [".vast_api_key", ".config/vastai/vast_api_key"])
def test_a_fifo_is_not_waited_for(file: str, box: Sandbox, run: Program) -> None:
    path = run.home / file
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path, 0o600)
    ran = run("show", "user", env={"VAST_API_KEY": None})
    assert (ran.status, box.connections) == (4, 0)
    assert f"{path}: not a regular file" in one_line(ran)


def test_a_device_as_the_key_file(box: Sandbox, run: Program) -> None:
    (run.home / ".vast_api_key").symlink_to("/dev/zero")
    ran = run("show", "user", env={"VAST_API_KEY": None})
    assert (ran.status, box.connections) == (4, 0)
    assert "not a regular file" in one_line(ran)


def test_a_huge_key_file(box: Sandbox, run: Program) -> None:
    path = run.home / ".vast_api_key"
    path.write_text("x" * 10**7)
    path.chmod(0o600)
    ran = run("show", "user", env={"VAST_API_KEY": None})
    assert ran.status == 4
    assert len(one_line(ran)) < 1000


def test_credentials_are_known_by_name() -> None:
    """What the vendor's descriptions call a credential is one here."""
    assert {
        "api_key",
        "instance_api_key",
        "jupyter_token",
        "image_login",
        "sid",
        "docker_login_pass",
        "session_key",
        "client_secret",
    } <= vast.CREDENTIALS
    assert not [name for name in vast.CREDENTIALS if not re.fullmatch(r"\w+", name)]
