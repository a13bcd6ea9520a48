"""The commands about templates and benchmarks."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any
from urllib.parse import urlencode

import pytest
from cases_storage import CASES as STORAGE_CASES
from cases_templates import CASES as TEMPLATE_CASES

import vast
from conftest import Program, Ran, complaint, names
from sandbox import Row, Sandbox

TEMPLATES = "/api/v0/template/"
OWN = 330005  # the only template of the user's
CASES = {**TEMPLATE_CASES, **STORAGE_CASES}


def stored(box: Sandbox, number: int = OWN) -> Row:
    """A template as the service has it."""
    row: Row = box.market.stores["templates"].rows[number]
    return row


def selected(box: Sandbox) -> Any:
    """The filters of the last search for templates."""
    return json.loads(box.calls[-1].query["select_filters"])


# --- what every command here keeps


@pytest.mark.parametrize("name", CASES)
def test_request(name: str, box: Sandbox, run: Program) -> None:
    """The first request, as `--dry-run` has it, and as it comes in; all ends well."""
    case = CASES[name]
    values = case.setup(box.market) if case.setup else {}
    words = shlex.split(case.words.format(**values))
    assert case.request is not None
    method, path, body = case.request
    ran = run(*words, "--dry-run", "--raw")
    assert (ran.status, ran.err, box.calls) == (0, "", [])
    wanted = {"method": method, "url": box.url + path, "body": body}
    assert json.loads(ran.out) == wanted

    ran = run(*words)
    assert ran.status == 0, ran.err
    assert ran.out
    first = box.calls[0]
    query = "?" + urlencode(first.query) if first.query else ""
    assert (first.method, first.path + query, first.body) == (method, path, body)
    assert names(box) == [case.call, *case.after]


@pytest.mark.parametrize("name", CASES)
def test_raw(name: str, box: Sandbox, run: Program) -> None:
    """One JSON document; the credentials of templates and backups are in none."""
    case = CASES[name]
    values = case.setup(box.market) if case.setup else {}
    ran = run(*shlex.split(case.words.format(**values)), "--raw")
    assert ran.status == 0
    json.loads(ran.out)
    for secret in ("dckr_pat_MadeUp", "docker_login_pass", "authorization_token"):
        assert secret not in ran.out + ran.err


@pytest.mark.parametrize("name", CASES)
def test_help(name: str, offline: Program) -> None:
    ran = offline(*name.split(), "--help")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith(f"usage: vast.py {name}")


# --- search templates


def found(ran: Ran) -> list[int]:
    """The ids of the templates that a search shows."""
    assert ran.status == 0, ran.err
    return [row["id"] for row in json.loads(ran.out)]


def test_table(box: Sandbox, run: Program) -> None:
    hashes = {number: stored(box, number)["hash_id"] for number in (330004, OWN)}
    assert run("search", "templates", "id>330003").out == (
        "    ID  Hash                              Image         Tag  Disk  Used"
        "  Private  Name\n"
        f"330004  {hashes[330004]}  debian        -       -  1025  -        bare\n"
        f"330005  {hashes[OWN]}  lukasz/train  v3     48   820  true     my training\n"
    )


def test_quiet_is_what_a_rental_takes(box: Sandbox, run: Program) -> None:
    assert run("search", "templates", "my", "-q").out == stored(box)["hash_id"] + "\n"


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", [330001, 330002, 330003, 330004, OWN]),
        ("notebook", [330001]),
        ("NOTEBOOK", [330001]),
        ("Notebook 12", [330001]),
        ("train lukasz", [OWN]),
        ("'\"my training\"'", [OWN]),
        ("'\"training my\"'", []),
        ("lukasz/train", [OWN]),
        ("cuda12", []),  # the tag is neither name nor image
        ("my private=true", [OWN]),
        ("my private=false", []),
        ("'private = true'", [OWN]),
        ("'name=my training'", [OWN]),
        ("name=bare", [330004]),
        ("'count_created>2000 use_ssh=true'", [330001, 330002]),
        ("'id in [330004,330005]'", [330004, OWN]),
        ("'recommended_disk_space>=48GB'", [330002, OWN]),
        ("'creator_id=48213'", [OWN]),
    ],
)
def test_search(query: str, ids: list[int], box: Sandbox, run: Program) -> None:
    ran = run("search", "templates", *shlex.split(query), "--raw")
    assert found(ran) == ids


@pytest.mark.parametrize(
    ("query", "filters"),
    [
        ("pytorch", {}),
        ("name=my_template", {"name": {"eq": "my_template"}}),
        ("image=org/some_image", {"image": {"eq": "org/some_image"}}),
        ("hash_id=5915f1dc1ce881defb572015eb9d8178",
         {"hash_id": {"eq": "5915f1dc1ce881defb572015eb9d8178"}}),
        ("created_at>01/31/2026", {"created_at": {"gt": 1769817600}}),
        ("created_at>=2026-01-31", {"created_at": {"gte": 1769817600}}),
        ("recent_create_date<1769817600", {"recent_create_date": {"lt": 1769817600}}),
        ("tag!=v3", {"tag": {"neq": "v3"}}),
        ("default_tag=none", {"default_tag": {"eq": None}}),
        ("recommended=true", {"recommended": {"eq": True}}),
    ],
)  # fmt: skip
def test_filters(query: str, filters: Row, box: Sandbox, run: Program) -> None:
    """The service gets a filter for each field it has, texts as they were typed."""
    assert run("search", "templates", query).status == 0
    assert selected(box) == filters


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("nmae=x", "unknown field 'nmae'; did you mean 'name'?"),
        ("count_created>many", "invalid count_created 'many': must be a whole number"),
        (
            "created_at>soon",
            "invalid created_at 'soon': must be a date such as 01/31/2026",
        ),
        ("private=maybe", "invalid private 'maybe': must be true or false"),
        ("private>true", "'private' is a bool field, which takes = == !="),
        ("private=true pearl", "'private' takes one value"),
        ("name=", "'name' needs a value"),
    ],
)
def test_bad_query(query: str, words: str, box: Sandbox, run: Program) -> None:
    ran = run("search", "templates", query)
    assert (ran.status, ran.out, box.calls) == (2, "", [])
    assert ran.err.startswith(f"vast.py: {words}")
    assert "^" in ran.err


def test_strangers_text(run: Program) -> None:
    out = run("search", "templates", "stranger/x").out
    assert out.replace("\n", "").isprintable()
    assert r"\x1b]0;pwn\x07" in out


def test_secrets_of_templates_are_masked(box: Sandbox, run: Program) -> None:
    stored(box)["env"] = "-e HF_TOKEN=hf_s3cret -e MODE=fast -e 'API_KEY=a b' -p 80:80"
    ran = run("search", "templates", "my", "--raw")
    assert "hf_s3cret" not in ran.out
    assert json.loads(ran.out)[0]["env"] == (
        "-e 'HF_TOKEN=********' -e MODE=fast -e 'API_KEY=********' -p 80:80"
    )


@pytest.mark.parametrize("env", ["-e MODE=fast  -p 80:80", "", None, 5, ["a"]])
def test_other_environments_stay(env: object, box: Sandbox, run: Program) -> None:
    stored(box)["env"] = env
    row = json.loads(run("search", "templates", "my", "--raw").out)[0]
    assert row["env"] == env


def test_an_environment_that_is_no_shell_text_is_masked(
    box: Sandbox, run: Program
) -> None:
    stored(box)["env"] = "-e TOKEN='abc"
    assert json.loads(run("search", "templates", "my", "--raw").out)[0]["env"] == (
        "********"
    )


# --- create template

NEW = ("create", "template", "--name", "train", "--image", "example/train")
PLAIN = {"name": "train", "image": "example/train", "private": True}


@pytest.mark.parametrize(
    ("words", "more"),
    [
        ("", {}),
        ("--image_tag v3", {"tag": "v3"}),
        ("--image-tag v3", {"tag": "v3"}),
        ("--href https://example.org --repo library/x",
         {"href": "https://example.org", "repo": "library/x"}),
        ("--onstart-cmd 'bash /start.sh'", {"onstart": "bash /start.sh"}),
        ("--args_str '--port 80'", {"args_str": "--port 80"}),
        ("--disk_space 40", {"recommended_disk_space": 40}),
        ("--disk 30GB", {"recommended_disk_space": 30}),
        ("--desc short --readme '# Long'", {"desc": "short", "readme": "# Long"}),
        ("--hide-readme", {"readme_visible": False}),
        ("--public", {"private": False}),
        ("--ssh", {"runtype": "ssh", "use_ssh": True, "ssh_direct": False,
                   "jup_direct": False}),
        ("--ssh --direct", {"runtype": "ssh", "use_ssh": True, "ssh_direct": True,
                            "jup_direct": False}),
        ("--direct", {"runtype": "ssh", "use_ssh": True, "ssh_direct": True,
                      "jup_direct": False}),
        ("--jupyter --direct", {"runtype": "jupyter", "use_ssh": True,
                                "ssh_direct": True, "jup_direct": True}),
        ("--jupyter-lab", {"runtype": "jupyter", "use_ssh": True, "ssh_direct": False,
                           "jup_direct": False, "use_jupyter_lab": True}),
        ("--jupyter-dir /work", {"runtype": "jupyter", "use_ssh": True,
                                 "ssh_direct": False, "jup_direct": False,
                                 "jupyter_dir": "/work"}),
        ("--search_params 'gpu_ram>=24 num_gpus=1'",
         {"extra_filters": {**vast.DEFAULT_FILTERS, "gpu_ram": {"gte": 24000},
                            "num_gpus": {"eq": 1}}}),
        ("--search_params gpu_name=RTX_4090 -n",
         {"extra_filters": {"gpu_name": {"eq": "RTX 4090"}}}),
        ("--env '-e A=b -p 80:80'", {"env": "-e A=b -p 80:80"}),
        ("--env A=b --env 'TITLE=one two' --env=-p80:80",
         {"env": "-e A=b -e 'TITLE=one two' -p 80:80"}),
        ("--env '-h box -v V.9:/mnt -e E='", {"env": "-h box -v V.9:/mnt -e E="}),
        ("--env '-v \"/a b:/c\"'", {"env": "-v '/a b:/c'"}),
        ("--env ''", {"env": ""}),
        ("--login docker.io", {"docker_login_repo": "docker.io"}),
        ("--login '-u bob docker.io'",
         {"docker_login_repo": "docker.io", "docker_login_user": "bob"}),
    ],
)  # fmt: skip
def test_create(words: str, more: Row, box: Sandbox, run: Program) -> None:
    ran = run(*NEW, *shlex.split(words))
    row = stored(box, 330006)
    assert ran == (0, row["hash_id"] + "\n", "vast.py: template 330006: created\n")
    assert [seen.body for seen in box.calls] == [{**PLAIN, **more}]


def test_lines_that_people_typed(box: Sandbox, run: Program) -> None:
    portal = "localhost:5901:5901:/:VNC Desktop|localhost:1111:11111:/:Portal"
    ran = run(
        "create", "template", "my-pearl-5090", "--image", "mannyj37/dfl-desktop:latest",
        "--env", "PROVISIONING_SCRIPT=https://example.org/x.sh",
        "--env", f"PORTAL_CONFIG={portal}", "--disk", "200",
    )  # fmt: skip
    assert ran.status == 0, ran.err
    assert box.calls[0].body == {
        "name": "my-pearl-5090", "image": "mannyj37/dfl-desktop:latest",
        "env": "-e PROVISIONING_SCRIPT=https://example.org/x.sh"
        f" -e 'PORTAL_CONFIG={portal}'",
        "recommended_disk_space": 200, "private": True,
    }  # fmt: skip


def test_an_equal_template_is_reused(box: Sandbox, run: Program) -> None:
    first, second = run(*NEW), run(*NEW)
    assert second == (0, first.out, "vast.py: template 330006: unchanged\n")


@pytest.mark.parametrize(
    ("words", "msg"),
    [
        ("", "a template needs a name and an image; give --name, --image"),
        ("--name x", "a template needs a name and an image; give --name, --image"),
        ("--image x", "a template needs a name and an image; give --name, --image"),
        ("a b --image x", "create template: unexpected argument 'b'; example:"
         " vast.py create template --name train --image pytorch/pytorch --ssh"
         " --direct; see vast.py create template --help"),
        ("x --image y --env --gpus=all", "--env takes only -e -p -v -h, not"
         " '--gpus=all'"),
        ("x --image y --env 'A=1 -p'", "--env: '-p' needs a value"),
        ("x --image y --env NAME", "--env: 'NAME' is not of the form NAME=VALUE"),
        ("x --image y --login '-u b'", "--login must be such as '-u USER docker.io'"),
        ("x --image y --login ''", "--login must be such as '-u USER docker.io'"),
        ("x --image y --disk 0", "invalid disk size '0': must be a number of GB above"
         " 0; see vast.py create template --help"),
    ],
)  # fmt: skip
def test_bad_template(words: str, msg: str, box: Sandbox, run: Program) -> None:
    assert complaint(run("create", "template", *shlex.split(words)), 2) == msg
    assert box.calls == []


def test_bad_search_params(box: Sandbox, run: Program) -> None:
    ran = run(*NEW, "--search_params", "gpu_nme=x")
    assert ran.err.startswith("vast.py: unknown field 'gpu_nme'; did you mean")
    assert (ran.status, ran.out, box.calls) == (2, "", [])


def test_a_suspicious_search_is_noted(run: Program) -> None:
    ran = run(*NEW, "--search_params", "gpu_ram>=24576")
    assert ran.status == 0
    assert "gpu_ram is in GB: no machine has 24576 GB" in ran.err


# --- the registry's password

LOGIN = {"docker_login_repo": "docker.io", "docker_login_user": "bob"}


def test_password_in_the_environment(box: Sandbox, run: Program) -> None:
    env = {"DOCKER_LOGIN_PASS": "dckr_pat_x"}
    ran = run(*NEW, "--login", "-u bob docker.io", env=env)
    assert ran.status == 0
    assert box.calls[0].body == {**PLAIN, **LOGIN, "docker_login_pass": "dckr_pat_x"}
    assert "dckr_pat_x" not in ran.out + ran.err


def test_password_on_stdin(box: Sandbox, run: Program) -> None:
    env = {"DOCKER_LOGIN_PASS": "another"}
    login = ("--login", "-u bob -p - docker.io")
    assert run(*NEW, *login, stdin="dckr_pat_x\n", env=env).status == 0
    assert box.calls[0].body == {**PLAIN, **LOGIN, "docker_login_pass": "dckr_pat_x"}


def test_no_password_on_stdin(box: Sandbox, run: Program) -> None:
    ran = run(*NEW, "--login", "-u bob -p - docker.io")
    assert complaint(ran, 2) == "no Registry password was given"
    assert box.calls == []


def test_password_on_the_command_line(box: Sandbox, run: Program) -> None:
    ran = run(*NEW, "--login", "-u almamoha -p dckr_pat_x docker.io")
    msg = complaint(ran, 2)
    assert msg.startswith("--login: ps would show the password; set DOCKER_LOGIN_PASS")
    assert "dckr_pat_x" not in msg
    assert box.calls == []


def test_dry_run_masks(box: Sandbox, run: Program) -> None:
    ran = run(
        *NEW, "--login", "-u bob docker.io", "--env", "-e HF_TOKEN=hf_s3cret",
        "--dry-run", env={"DOCKER_LOGIN_PASS": "dckr_pat_x"},
    )  # fmt: skip
    assert (ran.status, ran.err, box.calls) == (0, "", [])
    assert '"docker_login_pass": "********"' in ran.out
    assert "dckr_pat_x" not in ran.out
    assert "hf_s3cret" not in ran.out


# --- answers that are odd


@pytest.mark.parametrize(
    "reply",
    [
        {"success": True},
        {"success": True, "template": None},
        {"success": True, "template": "yes"},
        {"success": True, "template": {"id": 5}},
        {"success": True, "template": {"id": 5, "hash_id": 7}},
    ],
)
@pytest.mark.parametrize("verb", ["create", "update"])
def test_no_template_in_the_response(
    verb: str, reply: Row, box: Sandbox, run: Program
) -> None:
    box.fault(f"{verb}_template", "body", body=reply)
    words = NEW if verb == "create" else ("update", "template", str(OWN), "--disk", "9")
    msg = complaint(run(*words), 6)
    assert re.match("the response (names no template|does not confirm success);", msg)


def test_the_service_says_what_is_wrong(run: Program) -> None:
    ran = run("create", "template", "x", "--image", "y", "--args_str", "'")
    assert complaint(ran, 1) == "env or args_str: No closing quotation"


# --- update template


def body_of(row: Row) -> Row:
    """What of a template is sent back."""
    return {key: row[key] for key in vast.TEMPLATE_KEYS if row.get(key) is not None}


@pytest.mark.parametrize("by", ["id", "hash_id"])
def test_update_loses_nothing(by: str, box: Sandbox, run: Program) -> None:
    before = dict(stored(box))
    ran = run("update", "template", str(before[by]), "--name", "better")
    after = stored(box)
    assert ran == (0, after["hash_id"] + "\n", "vast.py: template 330005: updated\n")
    assert after["hash_id"] != before["hash_id"]
    assert {**before, "name": "better", "hash_id": after["hash_id"]} == after
    read, put = box.calls
    assert json.loads(read.query["select_filters"]) == {by: {"eq": before[by]}}
    assert (put.method, put.path) == ("PUT", "/api/v1/template/")
    assert put.body == {**body_of(before), "name": "better"}
    assert put.body["docker_login_pass"] == "dckr_pat_MadeUp"


@pytest.mark.parametrize(
    ("words", "more"),
    [
        ("--disk 40", {"recommended_disk_space": 40}),
        ("--env '-p 8888:8888'", {"env": "-p 8888:8888"}),
        ("--public", {"private": False}),
        ("--image_tag v4 --desc new", {"tag": "v4", "desc": "new"}),
        ("--search_params num_gpus=2 -n", {"extra_filters": {"num_gpus": {"eq": 2}}}),
        ("--ssh", {}),
        ("--direct", {}),
        ("--jupyter", {"runtype": "jupyter", "jup_direct": True}),
        ("--login docker.io", {}),
        ("--onstart-cmd ''", {"onstart": ""}),
    ],
)
def test_update(words: str, more: Row, box: Sandbox, run: Program) -> None:
    """How to log in stays direct, whatever else it becomes."""
    before = dict(stored(box))
    ran = run("update", "template", str(OWN), *shlex.split(words))
    assert ran.status == 0, ran.err
    after = {**stored(box), "hash_id": None}
    # What was never set is either null or false.
    wanted = {**before, **more, "hash_id": None}
    assert {k: v or None for k, v in after.items() if v != ""} == {
        k: v or None for k, v in wanted.items() if v != ""
    }


def test_a_jupyter_template_stays_one(box: Sandbox, run: Program) -> None:
    stored(box).update(runtype="jupyter", ssh_direct=False, jup_direct=False)
    assert run("update", "template", str(OWN), "--direct").status == 0
    row = stored(box)
    assert (row["runtype"], row["ssh_direct"], row["jup_direct"]) == (
        "jupyter", True, True,
    )  # fmt: skip
    assert run("update", "template", str(OWN), "--ssh").status == 0
    assert (stored(box)["runtype"], stored(box)["jup_direct"]) == ("ssh", False)


def test_a_password_that_cannot_be_read(box: Sandbox, run: Program) -> None:
    stored(box)["docker_login_pass"] = None
    ran = run("update", "template", str(OWN), "--disk", "9")
    assert ran.status == 0
    assert ran.err.startswith(
        "vast.py: the registry password can't be read; give --login again\n"
    )
    env = {"DOCKER_LOGIN_PASS": "new"}
    ran = run("update", "template", str(OWN), "--login", "-u bob docker.io", env=env)
    assert ran.err == "vast.py: template 330005: updated\n"
    assert stored(box)["docker_login_pass"] == "new"


@pytest.mark.parametrize("words", [(), ("-n",), ("--login", "x"), ("--env", "x")])
def test_a_bad_update_sends_nothing(
    words: tuple[str, ...], box: Sandbox, run: Program
) -> None:
    if words == ("--login", "x"):
        words = ("--login", "-p x docker.io")
    complaint(run("update", "template", str(OWN), *words), 2)
    assert box.calls == []


def test_update_without_a_change(run: Program) -> None:
    msg = complaint(run("update", "template", str(OWN)), 2)
    assert msg == "nothing to update; give an option, see --help"


@pytest.mark.parametrize("verb", ["update", "delete"])
@pytest.mark.parametrize("name", ["1", "0" * 32, "nonsense"])
def test_no_such_template(verb: str, name: str, box: Sandbox, run: Program) -> None:
    more = ["--disk", "9"] * (verb == "update")
    msg = complaint(run(verb, "template", name, *more), 1)
    assert msg == f"there is no template {name}"
    assert names(box) == ["templates"]


def test_templates_of_others(run: Program) -> None:
    msg = complaint(run("update", "template", "330001", "--disk", "9"), 1)
    assert msg == "Template not found"


def test_a_lost_update_is_in_doubt(box: Sandbox, run: Program) -> None:
    """The second try is refused because the first has changed the hash."""
    box.fault("update_template", "drop_after")
    msg = complaint(run("update", "template", str(OWN), "--disk", "9"), 6)
    assert "the template may or may not have been updated; run `vast.py search" in msg
    assert stored(box)["recommended_disk_space"] == 9


# --- delete template


@pytest.mark.parametrize(
    "words", ["{id}", "{hash_id}", "--template-id {id}", "--hash-id {hash_id}",
              "--template_id={id}"]
)  # fmt: skip
def test_delete(words: str, box: Sandbox, run: Program) -> None:
    ran = run("delete", "template", *words.format(**stored(box)).split())
    assert ran == (0, "template 330005: deleted\n", "")
    assert OWN not in box.market.stores["templates"].rows
    assert (box.calls[1].method, box.calls[1].body) == ("DELETE", {"template_id": OWN})


@pytest.mark.parametrize(("answer", "gone"), [("y", True), ("n", False), ("", False)])
def test_delete_asks(answer: str, gone: bool, box: Sandbox, run: Program) -> None:
    ran = run("delete", "template", str(OWN), terminal=True, stdin=answer + "\n")
    assert ran.err.startswith("delete template 330005 (my training)? [y/N] ")
    assert ran.status == (0 if gone else 3)
    assert (OWN not in box.market.stores["templates"].rows) is gone
    if not gone:
        assert ran.err.endswith("vast.py: nothing was changed\n")


def test_delete_with_yes(box: Sandbox, run: Program) -> None:
    ran = run("delete", "template", str(OWN), "-y", terminal=True)
    assert ran == (0, "template 330005: deleted\n", "")


def test_delete_without_a_name(run: Program) -> None:
    msg = complaint(run("delete", "template"), 2)
    assert msg.startswith("the following arguments are required: id;")


# --- search benchmarks


def test_benchmarks_of_all_pages(box: Sandbox, run: Program) -> None:
    rows = json.loads(run("search", "benchmarks", "--raw").out)
    assert len(rows) == 230
    assert [seen.query for seen in box.calls] == [
        {"limit": "200"},
        {"limit": "200", "after_token": "MjAw"},
    ]


def test_benchmarks_table(box: Sandbox, run: Program) -> None:
    store = box.market.stores["benchmarks"]
    store.rows = {500008: {**store.rows[500008], "last_update": 1790000000.5}}
    machine, gpu = (store.rows[500008][key] for key in ("machine_id", "gpu_name"))
    out = run("search", "benchmarks").out.splitlines()
    assert (
        out[0].split() == "Machine N Model Value Type $/hr Date Template Image".split()
    )
    cells = out[1].split()
    assert cells[0] == str(machine)
    assert cells[2:4] == [gpu.replace(" ", "_"), "-"]
    assert cells[6:] == ["2026-09-21_14:13", "330002", "example/serve:2.4"]


@pytest.mark.parametrize(
    ("query", "good"),
    [
        ("gpu_name=RTX_4090", lambda row: row["gpu_name"] == "RTX 4090"),
        ("value>1000", lambda row: (row["value"] or 0) > 1000),
        ("num_gpus=8 type=tokens/s",
         lambda row: (row["num_gpus"], row["type"]) == (8, "tokens/s")),
    ],
)  # fmt: skip
def test_benchmarks_query(query: str, good: Any, box: Sandbox, run: Program) -> None:
    rows = json.loads(run("search", "benchmarks", query, "--raw").out)
    stored_rows = box.market.stores["benchmarks"].all()
    assert [row["id"] for row in rows] == [r["id"] for r in stored_rows if good(r)]
    assert rows


def test_benchmarks_of_an_older_service(box: Sandbox, run: Program) -> None:
    """A bare array, with other names for some fields."""
    old = {"id": 7, "machine_id": 20047, "model": "llama", "name": "tokens", "score": 9}
    box.fault("benchmarks", "body", body=[old])
    out = run("search", "benchmarks").out.splitlines()[1]
    assert out.split() == ["20047", "-", "-", "9.00", "tokens", "-", "-", "-", "llama"]


# --- from a template to an instance and back


@pytest.fixture
def free(box: Sandbox) -> str:
    """An offer that can be rented."""
    offers = box.market.offers.items()
    return str(next(number for number, o in offers if not (o.rental or o.odd)))


def test_the_life_of_a_template(box: Sandbox, run: Program, free: str) -> None:
    """Made, found, used, updated without loss, and deleted."""
    made = run(
        "create", "template", "--name", "serving llama", "--image", "example/serve",
        "--image_tag", "2.4", "--disk_space", "64", "--ssh", "--direct",
        "--env", "-e MODE=fast -p 8000:8000", "--onstart-cmd", "serve &",
    )  # fmt: skip
    first = made.out.strip()
    assert run("search", "templates", "llama", "-q").out == first + "\n"

    ran = run("create", "instance", free, "--template_hash", first)
    assert (ran.status, ran.out) == (0, "Created instance 5001\n")
    row = json.loads(run("show", "instance", "5001", "--raw").out)
    assert row["template_hash_id"] == first
    assert row["image_uuid"] == "example/serve:2.4"
    assert row["disk_space"] == 64
    assert ["MODE", "fast"] in row["extra_env"]

    updated = run("update", "template", first, "--disk", "80").out.strip()
    (found,) = json.loads(run("search", "templates", "llama", "--raw").out)
    assert (found["hash_id"], found["recommended_disk_space"]) == (updated, 80)
    assert found["onstart"] == "serve &"
    assert found["env"] == "-e MODE=fast -p 8000:8000"
    assert found["ssh_direct"] is True

    assert run("delete", "template", updated).status == 0
    assert json.loads(run("search", "templates", "llama", "--raw").out) == []


def test_templates_reply(box: Sandbox, run: Program) -> None:
    """Null for a list is an empty one; an object without it is no list."""
    box.fault("templates", "body", body={"success": True, "templates": None})
    assert run("search", "templates", "--raw").out == "[]\n"
    box.fault("templates", "body", body={"success": True})
    msg = complaint(run("search", "templates"), 1)
    assert msg == "the response has no list of templates"
