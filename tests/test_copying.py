"""Logs, commands, ssh, and copies of every kind: what is particular to each. What holds
for all commands is tested with their cases."""

from __future__ import annotations

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
from cases_copying import instance, stopped

import vast
from conftest import (
    Plan,
    Program,
    Ran,
    Stream,
    names,
    needs,
    one_line,
    script_environment,
)
from market_renting import FIRST_LOG, Renting, renting
from sandbox import Reply, Sandbox, json_reply

HINT = (
    "the service runs only ls, rm and du, on the disk of a stopped instance; otherwise:"
    " vast.py ssh 5001 "
)


@pytest.fixture
def state(box: Sandbox) -> Renting:
    """Return what the sandbox remembers, after two instances have been rented."""
    instance(box.market)
    return renting(box.market)


@pytest.fixture
def tools(run: Program, tmp_path: Path) -> Path:
    """Return a folder with an rsync and an ssh that say how they were called, and end
    with 7; it is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("rsync", "ssh"):
        (folder / name).write_text(
            '#!/bin/sh\nprintf "%s\\n" "${0##*/}" "$@"\nexit 7\n', encoding="utf-8"
        )
        (folder / name).chmod(0o755)
    run.environ["PATH"] = str(folder)
    return folder


def bodies(box: Sandbox, name: str) -> list[Any]:
    """Return the bodies of the calls of a name."""
    return [seen.body for seen in box.calls if seen.name == name]


def log_of(state: Renting, *lines: str) -> None:
    """Put other lines into the log of 5001; a request adds one more."""
    state.logs[5001] = list(lines)


# ---------------------------------------------------------------- logs

LOG_BODIES: dict[str, dict[str, str]] = {
    "": {},
    "--tail 5": {"tail": "5"},
    "--tail=20000 --daemon-logs": {"tail": "20000", "daemon_logs": "true"},
    "--daemon_logs": {"daemon_logs": "true"},
    "--filter 'step [0-9]'": {"filter": "step [0-9]"},
}


@pytest.mark.parametrize("line", LOG_BODIES)
def test_what_logs_sends(run: Program, box: Sandbox, state: Renting, line: str) -> None:
    assert run("logs", "5001", *shlex.split(line)).status == 0
    assert bodies(box, "request_logs") == [LOG_BODIES[line]]


def test_in_a_pipe_a_log_is_as_it_is(run: Program, state: Renting) -> None:
    ran = run("logs", "5001")
    whole = [*FIRST_LOG, "step 7: loss 1.2857"]
    assert ran == Ran(0, "".join(line + "\n" for line in whole), "")


def test_on_a_terminal_a_log_has_no_control_characters(
    run: Program, state: Renting
) -> None:
    log_of(state, "\x1b[1mred\x1b[0m\tone\r", " 10%\r 55%\r", "\x9b2J \u202e")
    ran = run("logs", "5001", terminal=True)
    assert ran.out.splitlines() == [
        r"\x1b[1mred\x1b[0m" + "\tone",
        r" 10%\r 55%",
        r"\x9b2J \u202e",
        "step 3: loss 3.0000",
    ]


def test_bytes_that_are_not_text_are_passed_on(
    run: Program, box: Sandbox, state: Renting, plan: Plan
) -> None:
    plan("result_file", Reply(200, b"\xff\xfe \xc3\xa4\n"))
    out = Stream()
    env = vast.Environment(out, Stream(), Stream(), run.environ, sleep=lambda s: None)
    assert vast.main(["logs", "5001"], env) == 0
    assert out.buffer.getvalue() == b"\xff\xfe \xc3\xa4\n"  # type: ignore[attr-defined]


def test_raw_is_one_document_without_the_address(run: Program, state: Renting) -> None:
    ran = run("logs", "5001", "--tail", "1", "--raw")
    assert (ran.status, ran.err) == (0, "")
    assert json.loads(ran.out) == {
        "msg": "Log request sent.",
        "success": True,
        "text": "step 7: loss 1.2857\n",
    }


def test_a_slow_result_is_waited_for(
    run: Program, box: Sandbox, state: Renting
) -> None:
    state.misses, state.miss_status = 6, 403
    ran = run("logs", "5001", "--tail", "1")
    assert (ran.status, ran.out) == (0, "step 7: loss 1.2857\n")
    pauses = run.clock.slept
    assert pauses[:2] == [0.3, pytest.approx(0.45)]
    assert max(pauses) == pauses[-1] == 2.0
    assert names(box) == ["request_logs", *["result_file"] * 7]
    assert box.violations == []


def test_progress_is_shown_on_a_terminal(run: Program, state: Renting) -> None:
    state.misses = 6
    ran = run("logs", "5001", "--tail", "1", terminal=True)
    assert "waiting for the result (2 s)" in ran.err
    assert ran.err.endswith("\r\x1b[K")


@pytest.mark.parametrize("fault", ["drop_before", "503", "huge", "redirect_away"])
def test_trouble_with_the_file_is_not_there_yet(
    run: Program, box: Sandbox, state: Renting, fault: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(vast, "LARGEST", 1 << 20)
    box.fault("result_file", fault, times=2)
    assert run("logs", "5001", "--tail", "1").out == "step 7: loss 1.2857\n"


def test_a_result_that_never_comes(run: Program, state: Renting) -> None:
    state.misses = 10**9
    ran = run("logs", "5001", "--timeout", "20")
    assert ran.status == 1
    error = r"vast\.py: no result after (\d+) s; the service says: Log request sent\.\n"
    waited = re.fullmatch(error, one_line(ran))
    assert waited
    assert sum(run.clock.slept) == pytest.approx(int(waited[1]), abs=0.5)
    assert 18 < sum(run.clock.slept) <= 20


def test_by_default_a_minute_is_waited(run: Program, state: Renting) -> None:
    state.misses = 10**9
    assert run("logs", "5001").status == 1
    assert 57 < sum(run.clock.slept) <= 60


def test_with_no_time_there_is_one_look(
    run: Program, box: Sandbox, state: Renting
) -> None:
    state.misses = 0
    assert run("logs", "5001", "--timeout", "0").status == 0
    state.misses = 1
    assert run("logs", "5001", "--timeout", "0").status == 1
    assert names(box).count("result_file") == 2


@pytest.mark.parametrize(
    "reply",
    [
        {"result_url": "http://192.0.2.1/x.log"},
        {"result_url": "ftp://192.0.2.1/x.log"},
        {"result_url": 5},
        {"result_url": None},
        {},
    ],
)
def test_only_an_https_address_is_fetched(
    run: Program, box: Sandbox, state: Renting, plan: Plan, reply: dict[str, Any]
) -> None:
    plan("request_logs", json_reply({"success": True, "msg": "sent", **reply}))
    ran = run("logs", "5001")
    assert ran.status == 1
    assert "not https" in one_line(ran)
    assert names(box) == ["request_logs"]


def test_a_response_that_is_a_list_names_no_file(
    run: Program, box: Sandbox, state: Renting
) -> None:
    box.fault("request_logs", "array")
    ran = run("logs", "5001")
    assert (ran.status, one_line(ran)) == (
        1,
        "vast.py: the response names no result\n",
    )


def test_the_other_name_of_the_address(
    run: Program, box: Sandbox, state: Renting, plan: Plan
) -> None:
    address = state.publish("log", 5001, "hello\n")
    plan("request_logs", json_reply({"success": True, "temp_download_url": address}))
    assert run("logs", "5001").out == "hello\n"
    plan("request_logs", json_reply({"success": True, "temp_download_url": address}))
    assert address not in run("logs", "5001", "--raw").out


LOG_ERRORS = {
    "logs": "the following arguments are required: id; see vast.py logs --help",
    "logs 5001 --tail": "logs: --tail needs a value; see vast.py logs --help",
    "logs 5001 --tail x": "invalid number of lines 'x': must be a whole number, at"
    " least 1; see vast.py logs --help",
    "logs 5001 --tail 0": "invalid number of lines '0': must be a whole number, at"
    " least 1; see vast.py logs --help",
    "logs ##": "invalid id '##': must be a whole number; see vast.py logs --help",
    "logs 5001 get": "logs: unexpected argument 'get'; example: vast.py logs 5001"
    " --tail 100 --follow; see vast.py logs --help",
    "logs 5001 --follow --raw": "--follow excludes --raw",
    "show logs 5001": "unknown command 'show logs'; did you mean 'logs'?",
}


@pytest.mark.parametrize("line", LOG_ERRORS)
def test_mistakes_in_logs(run: Program, box: Sandbox, line: str) -> None:
    ran = run(*line.split())
    error = ran.err
    if "--raw" in line:
        error = f"vast.py: {json.loads(error)['msg']}\n"
    assert (ran.status, error) == (2, f"vast.py: {LOG_ERRORS[line]}\n")
    assert box.calls == []


def test_the_log_of_nothing(run: Program) -> None:
    ran = run("logs", "9")
    assert (ran.status, one_line(ran)) == (1, "vast.py: Invalid instance id.\n")


# ---------------------------------------------------------------- logs --follow


def until(rounds: int, then: Callable[[int], object] = int) -> Callable[[float], None]:
    """Return a sleep that is interrupted in the round after the last; `then` is called
    between two rounds with the number of the one before."""
    passed = iter(range(1, rounds + 1))

    def sleep(seconds: float) -> None:
        if seconds != vast.POLL:
            return
        number = next(passed)
        if number == rounds:
            raise KeyboardInterrupt
        then(number)

    return sleep


def test_only_what_is_new_is_shown_until_ctrl_c(
    run: Program, box: Sandbox, state: Renting
) -> None:
    log_of(state, "a", "a", "b")
    ran = run("logs", "5001", "-f", sleep=until(4))
    steps = "".join(f"step {n}: loss {9 / n:.4f}\n" for n in (3, 4, 5, 6))
    assert ran == Ran(130, "a\na\nb\n" + steps, "")
    assert len(bodies(box, "request_logs")) == 4


def test_ctrl_c_during_a_request_is_quiet_too(
    run: Program, box: Sandbox, state: Renting, monkeypatch: Any
) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(vast.Client, "persist", interrupt)
    assert run("logs", "5001", "--follow") == Ran(130, "", "")


def test_following_the_last_lines(run: Program, box: Sandbox, state: Renting) -> None:
    ran = run("logs", "5001", "-f", "--tail", "1", "--filter", "s", sleep=until(3))
    steps = "".join(f"step {n}: loss {9 / n:.4f}\n" for n in (7, 8, 9))
    assert ran == Ran(130, steps, "")
    assert bodies(box, "request_logs") == [
        {"tail": "1", "filter": "s"},
        *[{"tail": "1000", "filter": "s"}] * 2,
    ]


def test_an_old_result_shows_nothing_twice(
    run: Program, box: Sandbox, state: Renting
) -> None:
    """The service may leave every result at the same address."""
    state.same_address, state.misses = True, 2
    log_of(state, "a")
    first = run("logs", "5001", "-f", sleep=until(1)).out
    assert first == "a\nstep 1: loss 9.0000\n"
    ran = run("logs", "5001", "-f", sleep=until(4))
    lines = ran.out.splitlines()
    assert lines == sorted(set(lines), key=lines.index)
    assert lines[-1] == "step 4: loss 2.2500"
    assert ran.err == ""


def test_a_log_that_starts_again_is_noted(run: Program, state: Renting) -> None:
    log_of(state, "a", "b")
    ran = run("logs", "5001", "-f", sleep=until(2, lambda _: log_of(state, "c")))
    assert ran.out == "a\nb\nstep 2: loss 4.5000\nc\nstep 1: loss 9.0000\n"
    assert ran.err == (
        "vast.py: the log does not go on where it ended; lines may be missing\n"
    )


def test_following_ends_with_an_error(
    run: Program, box: Sandbox, state: Renting
) -> None:
    def destroy(number: int) -> None:
        del box.market.rentals[5001]

    ran = run("logs", "5001", "-f", "--tail", "1", sleep=until(9, destroy))
    assert (ran.status, ran.err) == (1, "vast.py: Invalid instance id.\n")


def test_following_ends_when_nobody_reads(run: Program, state: Renting) -> None:
    class Pipe(Stream):
        def flush(self) -> None:
            if self.buffer.tell() > 200:  # type: ignore[attr-defined]
                raise BrokenPipeError
            super().flush()

    out, err = Pipe(), Stream()
    env = vast.Environment(out, err, Stream(), run.environ, sleep=until(99))
    assert vast.main(["logs", "5001", "-f", "--tail", "1"], env) == 0
    assert err.text() == ""


AFTER = {
    ("", ""): "",
    ("", "a\n"): "a\n",
    ("a\n", "a\n"): "",
    ("a\nb\n", "a\nb\nc\n"): "c\n",
    ("a\nb\n", "b\nc\n"): "c\n",
    ("a\nb\n", "a\n"): "",
    ("b\n", "a\nb\nc\n"): "c\n",
    ("x\n" * 5, "x\n" * 7): "x\n" * 2,
    ("10%", "10%\r55%"): "\r55%",
    ("a\n10%", "10%\r55%\nb\n"): "\r55%\nb\n",
    ("a\nb\n", "c\nd\n"): "c\nd\n",
}


@pytest.mark.parametrize(("known", "text"), AFTER)
def test_what_a_log_has_beyond_an_earlier_one(known: str, text: str) -> None:
    assert vast.text_after(known, text) == AFTER[known, text]


def test_a_long_log_is_compared_quickly() -> None:
    lines = [f"{n % 7} {'x' * 90} {n}\n" for n in range(20_000)]
    assert vast.text_after("".join(lines), "".join(lines[19_000:]) + "new\n") == "new\n"
    assert vast.text_after("".join(lines), "other\n") == "other\n"


# ---------------------------------------------------------------- execute


@pytest.mark.parametrize(
    ("words", "command", "out"),
    [
        (["ls", "/workspace"], "ls /workspace", "\x1b[31mred\x1b[0m.txt\n"),
        (["ls -l /root"], "ls -l /root", "-rw-r--r-- 1 root root 571 .bashrc\n"),
        (["du", "-s", "/root", "--max-depth=1"], None, "/merged/root\n"),
        (["--", "du", "-h", "/root"], "du -h /root", "/merged/root\n"),
    ],
)
def test_a_command_on_a_stopped_instance(
    run: Program, box: Sandbox, words: list[str], command: str | None, out: str
) -> None:
    stopped(box.market)
    ran = run("execute", "5001", *words)
    assert (ran.status, ran.err) == (0, "")
    assert out in ran.out
    assert bodies(box, "execute") == [{"command": command or " ".join(words)}]


def test_on_a_terminal_tabs_stay(run: Program, box: Sandbox) -> None:
    stopped(box.market)
    ran = run("execute", "5001", "du /root; ls"[:8], terminal=True)
    assert ran.out.startswith("1\t/var/lib/docker/")


def test_raw_has_the_text_of_a_command(run: Program, box: Sandbox) -> None:
    stopped(box.market)
    document = json.loads(run("execute", "5001", "ls /root", "--raw").out)
    assert document["text"] == ".bashrc\n"
    assert "result_url" not in document


def test_a_running_instance_refuses(run: Program, box: Sandbox, state: Renting) -> None:
    ran = run("execute", "5001", "ls", "-l")
    assert ran.status == 1
    assert one_line(ran) == f"vast.py: Invalid command given. ({HINT}'ls -l')\n"


OTHER_COMMANDS = [
    ["echo hello"],
    ["cat /app/x.json 2>/dev/null || echo '[]'"],
    ["git", "clone", "https://example.com/x.git", "--branch", "dev"],
    ["nvidia-smi -l 2"],
    ["lsof"],
    [""],
]


@pytest.mark.parametrize("words", OTHER_COMMANDS)
def test_other_commands_belong_to_ssh(
    run: Program, box: Sandbox, words: list[str]
) -> None:
    ran = run("execute", "5001", *words)
    assert ran.status == 2
    assert one_line(ran) == f"vast.py: {HINT}{shlex.quote(' '.join(words))}\n"
    assert box.calls == []


def test_a_command_may_be_too_long(run: Program, box: Sandbox, state: Renting) -> None:
    assert run("execute", "5001", "ls /" + "x" * 508).status == 1  # it is running
    ran = run("execute", "5001", "ls /" + "x" * 509)
    assert (ran.status, names(box)) == (2, ["execute"])
    assert "at most 512 characters" in one_line(ran)


def test_removing_asks(run: Program, box: Sandbox) -> None:
    stopped(box.market)
    words = ["execute", "5001", "rm -r /workspace"]
    ran = run(*words, terminal=True, stdin="n\n")
    assert (ran.status, box.calls) == (3, [])
    assert "run 'rm -r /workspace' on instance 5001? [y/N]" in ran.err
    assert run(*words, terminal=True, stdin="y\n").status == 0
    assert run(*words, "-y", terminal=True).status == 0
    assert run("execute", "5001", "ls", "/", terminal=True).status == 0


def test_global_options_may_stand_behind_a_command(run: Program, box: Sandbox) -> None:
    ran = run("execute", "5001", "rm", "-rf", "/x", "--dry-run", terminal=True)
    assert (ran.status, box.calls) == (0, [])
    assert '{"command": "rm -rf /x"}' in ran.out


def test_a_scheduled_command(run: Program, box: Sandbox, state: Renting) -> None:
    ran = run("execute", "5001", "du /", "--schedule", "DAILY", "--hour", "4")
    assert ran.status == 0
    assert "instance 5001: scheduled as job 8101" in ran.out
    (job,) = bodies(box, "schedule_job")
    assert job["api_endpoint"] == "/api/v0/instances/command/5001/"
    assert job["request_body"] == {"command": "du /", "instance_id": 5001}
    assert names(box) == ["schedule_job"]


# ---------------------------------------------------------------- ssh


SSH = {
    "": [],
    "nvidia-smi": ["nvidia-smi"],
    "-i key -L 8080:localhost:8080 nvidia-smi": None,
    "-v -- ls": ["-v", "--", "ls"],
    "-- bash -c 'a b' --raw": ["bash", "-c", "a b", "--raw"],
    "--retry 1 ls -h --dry-run": ["ls", "-h", "--dry-run"],
}


@pytest.mark.parametrize("line", SSH)
def test_what_ssh_is_called_with(
    run: Program, box: Sandbox, state: Renting, line: str
) -> None:
    words = shlex.split(line)
    expected = SSH[line]
    assert run("ssh", "5001", *words) == Ran(0, "", "")
    row = box.market.rentals[5001].row
    target = ["ssh", "-p", str(row["ssh_port"]), f"root@{row['ssh_host']}"]
    assert run.executed == [target + (words if expected is None else expected)]
    assert names(box) == ["instance"]


@pytest.mark.parametrize(
    ("odd", "port", "host"),
    [
        ({"image_runtype": "jupyter"}, "10043", "ssh1.vast.ai"),
        (
            {
                "public_ipaddr": "2001:db8::7\n",
                "ports": {"22/tcp": [{"HostIp": "::", "HostPort": "41022"}]},
            },
            "41022",
            "2001:db8::7",
        ),
        ({"public_ipaddr": "-oX", "ssh_host": "ok.example"}, "10042", "ok.example"),
    ],
)
def test_where_ssh_goes(
    run: Program, box: Sandbox, state: Renting, odd: Any, port: str, host: str
) -> None:
    address = {"ssh_host": "ssh1.vast.ai", "ssh_port": 10042}
    box.market.rentals[5001].odd = {**address, **odd}
    assert run("ssh", "5001").status == 0
    assert run.executed == [["ssh", "-p", port, f"root@{host}"]]


@pytest.mark.parametrize(
    "odd",
    [
        {"ssh_host": None},
        {"ssh_host": "-oProxyCommand=reboot"},
        {"ssh_host": "x y"},
        {"ssh_host": "x;reboot"},
        {"ssh_port": "22 -oProxyCommand=reboot"},
        {"ssh_port": 0},
    ],
)
def test_no_made_up_or_hostile_address(
    run: Program, box: Sandbox, state: Renting, odd: Any
) -> None:
    box.market.rentals[5001].odd = odd
    ran = run("ssh", "5001", "ls")
    assert (ran.status, run.executed) == (1, [])
    assert "instance 5001 is not ready" in one_line(ran)


def test_ssh_to_nothing(run: Program, box: Sandbox) -> None:
    ran = run("ssh", "9")
    assert (ran.status, one_line(ran)) == (1, "vast.py: there is no instance 9\n")
    assert run("ssh", "25993535.").status == 2
    assert run("ssh", "-i", "key", "5001").status == 2
    assert run("ssh").status == 2
    assert names(box) == ["instance"]


def test_ssh_asks_the_service_first(run: Program, box: Sandbox) -> None:
    ran = run("ssh", "5001", "--dry-run", "ls")
    assert ran.out.startswith("curl -sS -X GET ")
    assert "/api/v0/instances/5001/?owner=me" in ran.out
    assert (run.executed, box.calls) == ([], [])


def script(
    box: Sandbox, home: Path, path: str, *words: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run vast.py in a process of its own, with another PATH."""
    return subprocess.run(
        [sys.executable, vast.__file__, *words],
        env={**script_environment(box, home), "PATH": path},
        input=stdin,
        capture_output=True,
        text=True,
        cwd=home,
    )


def test_ssh_takes_the_place_of_the_process(
    box: Sandbox, state: Renting, tools: Path, tmp_path: Path
) -> None:
    (tools / "ssh").write_text('#!/bin/sh\necho "$3"\nread x; echo "$x"\nexit 9\n')
    ran = script(box, tmp_path, str(tools), "ssh", "5001", "cat", stdin="hello\n")
    host = box.market.rentals[5001].row["ssh_host"]
    assert (ran.returncode, ran.stdout, ran.stderr) == (9, f"root@{host}\nhello\n", "")


def test_ssh_may_be_missing(box: Sandbox, state: Renting, tmp_path: Path) -> None:
    ran = script(box, tmp_path, "/nowhere", "ssh", "5001")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.endswith("vast.py: cannot run ssh: No such file or directory\n")
    assert ran.stderr.count("\n") == 1


# ---------------------------------------------------------------- copy: with rsync

COMMON = ["-arz", "-v", "--progress", "-e"]
SHELL = "ssh -p 5300 -o StrictHostKeyChecking=no"


def host(box: Sandbox) -> str:
    """Return the address of the machine of 5001."""
    return str(box.market.rentals[5001].row["public_ipaddr"]).strip()


# What follows `copy` -> the sides that the service gets, and rsync's.
WITH_RSYNC: dict[str, tuple[tuple[Any, str, Any, str], tuple[str, str]]] = {
    "5001:/w/out/ ./out/": (
        ("5001", "/w/out/", None, "./out/"),
        ("{far}5001//w/out/", "././out/"),
    ),
    "C.5001:/w/done.json .": (
        ("C.5001", "/w/done.json", None, "."),
        ("{far}C.5001//w/done.json", "./."),
    ),
    "5001:w/x local:{home}/a/b/c.csv": (
        ("5001", "w/x", None, "{home}/a/b/c.csv"),
        ("{far}5001/w/x", "{home}/a/b/c.csv"),
    ),
    "local:~/data C.5001:/w/": (
        (None, "~/data", "C.5001", "/w/"),
        ("{home}/data", "{far}C.5001//w/"),
    ),
    "./a:b 5001:/root": (
        (None, "./a:b", "5001", "/root"),
        ("././a:b", "{far}5001//root"),
    ),
    "local:-e=x 5001:/w": (
        (None, "-e=x", "5001", "/w"),
        ("./-e=x", "{far}5001//w"),
    ),
    "local:a:b 5001:/w:x": (
        (None, "a:b", "5001", "/w:x"),
        ("./a:b", "{far}5001//w:x"),
    ),
    "5001 {home}/vm": (
        (5001, "/", None, "{home}/vm"),
        ("{far}5001//", "{home}/vm"),
    ),
}


@pytest.mark.parametrize("line", WITH_RSYNC)
def test_copies_with_this_machine(
    run: Program,
    box: Sandbox,
    state: Renting,
    tools: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    sides, paths = WITH_RSYNC[line]

    def filled(text: Any) -> Any:
        far = f"vastai_kaalia@{host(box)}::"
        return text.format(home=tmp_path, far=far) if isinstance(text, str) else text

    assert run("copy", *filled(line).split()) == Ran(0, "", "")
    keys = ("src_id", "src_path", "dst_id", "dst_path")
    body = dict(zip(keys, map(filled, sides)))
    assert bodies(box, "rsync") == [{"client_id": "me", **body}]
    assert run.executed == [["rsync", *COMMON, SHELL, *map(filled, paths)]]


def test_options_of_rsync(
    run: Program, box: Sandbox, state: Renting, tools: Path
) -> None:
    ran = run(
        "copy", "-i", "it's my key", "--exclude", "*.o", "x", "--exclude=-y",
        "5001:/w", "-y", "--delete", "--", "--bwlimit=9", "--dry-run",
    )  # fmt: skip
    assert ran.status == 0
    (words,) = run.executed
    shell = f"ssh -i 'it''s my key' {SHELL[4:]}"
    assert words == [
        "rsync", *COMMON, shell, "--exclude=*.o", "--exclude=-y", "--delete",
        "--bwlimit=9", "--dry-run", "./x", f"vastai_kaalia@{host(box)}::5001//w",
    ]  # fmt: skip


def test_unknown_options_behind_the_sides_are_rsyncs(
    run: Program, state: Renting, tools: Path
) -> None:
    assert run("copy", "x", "5001:/w", "--bwlimit", "9").status == 0
    assert run.executed[0][6:8] == ["--bwlimit", "9"]
    assert run("copy", "--bwlimit=9", "x", "5001:/w").status == 2


def test_raw_leaves_stdout_to_one_document(
    run: Program, box: Sandbox, state: Renting, tools: Path
) -> None:
    ran = run("copy", "x", "5001:/w", "--raw")
    assert json.loads(ran.out) == {
        "dst_addr": host(box),
        "dst_port": 5300,
        "success": True,
    }
    assert run.executed[0][1:3] == ["-arz", "-q"]


def test_a_download_makes_the_folders_it_needs(
    run: Program, state: Renting, tools: Path, tmp_path: Path
) -> None:
    assert run("copy", "5001:/w/", f"{tmp_path}/a/b/").status == 0
    assert run("copy", "5001:/x.csv", f"{tmp_path}/c/d/x.csv").status == 0
    assert run("copy", f"{tmp_path}/e/f/", "5001:/w").status == 0
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert made - {"bin", "bin/ssh", "bin/rsync"} == {"a", "a/b", "c", "c/d"}


def test_a_folder_may_be_impossible(
    run: Program, state: Renting, tools: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    ran = run("copy", "5001:/w", f"{tmp_path}/file/x/")
    assert (ran.status, run.executed) == (2, [])
    error = one_line(ran)
    assert error.startswith(f"vast.py: cannot create {tmp_path}/file/x/: ")


@pytest.mark.parametrize(
    ("odd", "url"),
    [
        ({"src_addr": "2001:db8::1"}, "vastai_kaalia@[2001:db8::1]::5001//w"),
        ({"src_addr": " 192.0.2.1\n"}, "vastai_kaalia@192.0.2.1::5001//w"),
        ({"src_addr": "-e reboot"}, None),
        ({"src_addr": "x;reboot"}, None),
        ({"src_addr": None}, None),
        ({"src_port": "5300 -oProxyCommand=reboot"}, None),
        ({"src_port": 70000}, None),
    ],
)
def test_the_services_address_is_checked(
    run: Program,
    state: Renting,
    tools: Path,
    plan: Plan,
    odd: dict[str, Any],
    url: str | None,
) -> None:
    good = {"success": True, "src_addr": "192.0.2.9", "src_port": 5300}
    plan("rsync", json_reply({**good, **odd}))
    ran = run("copy", "5001:/w", ".")
    if url:
        assert (ran.status, run.executed[0][-2]) == (0, url)
        return
    assert (ran.status, run.executed) == (1, [])
    assert one_line(ran) == "vast.py: the response has no address to copy with\n"


@pytest.mark.parametrize("missing", ["rsync", "ssh"])
def test_rsync_and_ssh_are_needed(
    run: Program, state: Renting, tools: Path, missing: str
) -> None:
    (tools / missing).unlink()
    ran = run("copy", "x", "5001:/w")
    assert (ran.status, run.executed) == (2, [])
    error = f"vast.py: {missing} is not installed; copying needs it\n"
    assert one_line(ran) == error


@pytest.mark.parametrize(
    ("words", "question"),
    [
        (["x", "5001:/w", "--delete"], "delete in /w what x does not have? [y/N]"),
        (["5001", "5002"], "replace the whole disk of 5002 by that of 5001? [y/N]"),
    ],
)
def test_what_destroys_asks(
    run: Program,
    box: Sandbox,
    state: Renting,
    tools: Path,
    words: list[str],
    question: str,
) -> None:
    ran = run("copy", *words, terminal=True, stdin="\n")
    assert (ran.status, box.calls) == (3, [])
    assert question in ran.err
    assert run("copy", *words, terminal=True, stdin="yes\n").status == 0
    assert run("copy", *words, "-y", terminal=True).status == 0
    assert run("copy", *words).status == 0
    assert run("copy", *words, "--dry-run", terminal=True).status == 0


DAEMON = """\
#!/bin/sh
# An ssh that leads to an rsync daemon on this machine, whoever it is told to call.
exec rsync --server --daemon --config={folder}/rsyncd.conf .
"""
CONFIG = """\
uid = {uid}
gid = {gid}
use chroot = no
[5001]
path = {folder}/far
read only = no
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Path:
    """Return a folder that is the disk of 5001 for a real rsync."""
    ids = {"uid": os.getuid(), "gid": os.getgid()}
    config = CONFIG.format(folder=tmp_path, **ids)
    (tmp_path / "rsyncd.conf").write_text(config)
    (tmp_path / "ssh").write_text(DAEMON.format(folder=tmp_path))
    (tmp_path / "ssh").chmod(0o755)
    (tmp_path / "far").mkdir()
    return tmp_path / "far"


@needs("rsync")
def test_a_real_rsync_copies(
    box: Sandbox, state: Renting, daemon: Path, tmp_path: Path
) -> None:
    path = f"{tmp_path}:{os.environ['PATH']}"
    (tmp_path / "near dir").mkdir()
    (tmp_path / "near dir" / "a.txt").write_text("hello")
    (tmp_path / "near dir" / "a.o").write_text("no")
    words = ["copy", "near dir/", "5001:/deep", "--exclude", "*.o"]
    ran = script(box, tmp_path, path, *words)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "a.txt" in ran.stdout
    assert [path.name for path in (daemon / "deep").iterdir()] == ["a.txt"]
    ran = script(box, tmp_path, path, "copy", "5001:/deep/a.txt", "new/b/c.txt")
    assert ran.returncode == 0
    assert (tmp_path / "new/b/c.txt").read_text() == "hello"


@needs("rsync")
@pytest.mark.parametrize("raw", [(), ("--raw",)])
def test_a_failed_transfer_is_never_success(
    box: Sandbox, state: Renting, daemon: Path, tmp_path: Path, raw: tuple[str, ...]
) -> None:
    path = f"{tmp_path}:{os.environ['PATH']}"
    ran = script(box, tmp_path, path, "copy", "5001:/nothing", "x", *raw)
    assert ran.returncode == 23
    assert "No such file or directory" in ran.stderr
    if raw:
        assert json.loads(ran.stdout)["success"] is True


# ---------------------------------------------------------------- copy: refusals

REFUSED = {
    "a b": "one side must be an instance, written as ID:/path",
    "local:a ./b": "one side must be an instance, written as ID:/path",
    "V.9:/x .": "one side must be an instance, written as ID:/path",
    "x s3.101:/y": "one side must be an instance, written as ID:/path",
    "V.9:/x s3.1002:/y --wait": "one side must be an instance, written as ID:/path",
    "5001:/x vast.301:/y": "nothing can be copied into a backup",
    "5001:/x 5002:/": "copying into / breaks ssh; name a directory",
    "5001:/x C.5002:/root/": "copying into /root/ breaks ssh; name a directory",
    "V.9:/x 5002": "copying into / breaks ssh; name a directory",
    "5001 structure.py /root/structure.py": "unexpected argument"
    " '/root/structure.py'; write ID:/path",
    "5001 train.sh :/workspace/train.sh": "unexpected argument"
    " ':/workspace/train.sh'; write ID:/path",
    "5001:/x 5002:/y --delete": "options for rsync are only for copies with this"
    " machine",
    "5001:/x 5002:/y -- -n": "options for rsync are only for copies with this machine",
    "5001:/x 5002:/y -i key": "options for rsync are only for copies with this machine",
}
BAD_SIDES = ["C:\\x", "C:/x", "5001:", "local:", ":/x", "5001::/x", "foo:/x", "",
             "root@192.0.2.1:/x", "V.x:/y", "5001.:/x", "<ID>:/x", "dropbox.x:/y",
             "vast:/x", "C.:/x"]  # fmt: skip


@pytest.mark.parametrize("line", REFUSED)
def test_what_cannot_be_copied(run: Program, box: Sandbox, line: str) -> None:
    ran = run("copy", *line.split())
    assert (ran.status, one_line(ran)) == (2, f"vast.py: {REFUSED[line]}\n")
    assert (run.executed, box.calls) == ([], [])


@pytest.mark.parametrize("side", BAD_SIDES)
def test_what_is_no_address(run: Program, box: Sandbox, side: str) -> None:
    ran = run("copy", side, "5001:/w")
    assert ran.status == 2
    assert one_line(ran) == (
        f"vast.py: invalid address '{side}': use ID:/path for an instance,"
        f" local:{side} for this machine; see vast.py copy --help\n"
    )
    assert run("copy", "5001:/w", side).status == 2
    assert box.calls == []


# ---------------------------------------------------------------- copy: elsewhere

ELSEWHERE: dict[str, tuple[Any, str, Any, str]] = {
    "5001:/w/ 5002:/w/": ("5001", "/w/", "5002", "/w/"),
    "C.5001:/w C.5002:/w": ("C.5001", "/w", "C.5002", "/w"),
    "drive:/x 5001:/data": ("drive", "/x", "5001", "/data"),
    "s3.1002:bucket/x 5001:/data": ("s3.1002", "bucket/x", "5001", "/data"),
    "5001:/data s3.1002:/": ("5001", "/data", "s3.1002", "/"),
    "vast.301:/upper/x 5001:/data": ("vast.301", "/upper/x", "5001", "/data"),
    "5001 5002": (5001, "/", 5002, "/"),
}


@pytest.mark.parametrize("line", ELSEWHERE)
def test_copies_between_remote_sides(
    run: Program, box: Sandbox, state: Renting, line: str
) -> None:
    ran = run("copy", *line.split())
    sides = ELSEWHERE[line]
    keys = ("src_id", "src_path", "dst_id", "dst_path")
    assert bodies(box, "copy") == [{"client_id": "me", **dict(zip(keys, sides))}]
    assert ran == Ran(
        0,
        f"copy to {sides[2]}:{sides[3]}: started\n",
        "vast.py: the service goes on copying; --wait follows it to its end\n",
    )


def says(box: Sandbox, number: int, *messages: str | None) -> None:
    """Have an instance's status message be each of these in turn, the last for ever."""
    told = list(messages)
    box.market.messages[number] = lambda: told.pop(0) if len(told) > 1 else told[0]


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the sandbox from telling of a copy by itself."""
    monkeypatch.setattr("market_renting.start_copy", lambda *args: None)


def test_waiting_for_the_end_of_a_copy(
    run: Program, box: Sandbox, state: Renting, quiet: None
) -> None:
    says(box, 5002, "success, it is up", "copying: 5 bytes, 10%", "copy finished: 9")
    ran = run("copy", "5001:/w", "5002:/w", "--wait")
    assert (ran.status, ran.out) == (0, "copy to 5002:/w: started\n")
    assert ran.err.splitlines() == [
        "vast.py: instance 5002: success, it is up (0 s)",
        "vast.py: instance 5002: copying: 5 bytes, 10% (2 s)",
        "vast.py: instance 5002: copy finished: 9",
    ]


def test_the_sandbox_copies_to_the_end(
    run: Program, box: Sandbox, state: Renting
) -> None:
    box.market.run_on(run.clock.now, 0.0)
    ran = run("copy", "5001:/workspace", "5002:/w", "--wait", "--raw")
    assert ran.status == 0
    assert json.loads(ran.out)["instance"]["id"] == 5002
    assert "/w/workspace/train.py" in state.disk(5002)


def test_waiting_for_a_copy_to_a_cloud_looks_at_its_source(
    run: Program, box: Sandbox, state: Renting, quiet: None
) -> None:
    says(box, 5001, None, "100%")
    assert run("copy", "5001:/w", "s3.1002:/x", "--wait").status == 0


def test_an_old_message_is_not_the_end(
    run: Program, box: Sandbox, state: Renting, quiet: None
) -> None:
    says(box, 5002, "copy finished: 1", "copy finished: 1", "copying", "copied")
    ran = run("copy", "5001:/w", "5002:/w", "--wait")
    assert (ran.status, sum(run.clock.slept)) == (0, 6.0)
    says(box, 5002, "copy finished: 1")  # as before, so the same once more
    assert run("copy", "5001:/w", "5002:/w", "--wait").status == 0
    assert sum(run.clock.slept) == 36.0


def test_a_copy_may_fail(
    run: Program, box: Sandbox, state: Renting, quiet: None
) -> None:
    says(box, 5002, None, "copy failed: no space left")
    ran = run("copy", "5001:/w", "5002:/w", "--wait")
    assert ran.status == 1
    assert ran.err.endswith("vast.py: instance 5002: copy failed: no space left\n")


def test_the_target_of_a_copy_may_go(
    run: Program, box: Sandbox, state: Renting
) -> None:
    def destroy(seconds: float) -> None:
        box.market.rentals.pop(5002, None)

    ran = run("copy", "5001:/w", "5002:/w", "--wait", sleep=destroy)
    assert ran.status == 1
    assert ran.err.endswith("vast.py: instance 5002: gone\n")


def test_a_copy_may_take_longer_than_the_patience(
    run: Program, box: Sandbox, state: Renting, quiet: None
) -> None:
    says(box, 5002, "copying: 3%")
    ran = run("copy", "5001:/w", "5002:/w", "--wait", "--timeout", "10")
    assert ran.status == 3
    assert ran.err.endswith(
        "vast.py: no end after 10 s; instance 5002: copying: 3%; to stop it: vast.py"
        " cancel copy 5002\n"
    )


def test_a_lost_connection_says_nothing_of_a_copy(
    run: Program, box: Sandbox, state: Renting, quiet: None
) -> None:
    says(box, 5002, None, "copying", "done")
    box.fault("instance", "401_2fa", after=1)
    assert run("copy", "5001:/w", "5002:/w", "--wait").status == 4
    says(box, 5002, None, "copying", "done")
    box.fault("instance", "not_json", after=1)
    assert run("copy", "5001:/w", "5002:/w", "--wait").status == 0


def test_ctrl_c_ends_only_the_waiting(
    run: Program, box: Sandbox, state: Renting, quiet: None
) -> None:
    says(box, 5002, "copying")
    ran = run("copy", "5001:/w", "5002:/w", "--wait", sleep=until(2))
    assert (ran.status, ran.out) == (130, "copy to 5002:/w: started\n")
    assert names(box).count("cancel_copy") == 0


# ---------------------------------------------------------------- the other copies


@pytest.mark.parametrize("typed", ["5002", "C.5002", "5002:/w", "C.5002:/w"])
@pytest.mark.parametrize("what", ["copy", "sync"])
def test_canceling(
    run: Program, box: Sandbox, state: Renting, what: str, typed: str
) -> None:
    ran = run("cancel", what, typed)
    done = {"copy": "copy", "sync": "cloud copy"}[what]
    assert ran == Ran(0, f"instance 5002: {done} canceled\n", "")
    assert box.calls[0].body == {"client_id": "me", "dst_id": 5002}


@pytest.mark.parametrize("typed", ["DST_INSTANCE_ID", "V.9:/x", "0", "local:x", "5:"])
def test_what_cannot_be_canceled(run: Program, box: Sandbox, typed: str) -> None:
    ran = run("cancel", "copy", typed)
    assert (ran.status, box.calls) == (2, [])
    assert re.search("invalid id '(DST_INSTANCE_ID|V.9|0|local|5:)'", one_line(ran))


CLOUD = "--src /b --instance C.5001 --connection 1002 --transfer"


@pytest.mark.parametrize(
    ("more", "given"),
    [
        (["Instance To Cloud"], {"transfer": "Instance to Cloud"}),
        (["cloud to instance"], {"transfer": "Cloud To Instance"}),
        (
            ["Cloud To Instance", "--dst", "/d", "--update", "--delete-excluded"],
            {"dst": "/d", "flags": ["--update", "--delete-excluded"]},
        ),
        (["Cloud To Instance", "--ignore_existing"], {"flags": ["--ignore-existing"]}),
    ],
)
def test_copies_with_a_cloud(
    run: Program, box: Sandbox, state: Renting, more: list[str], given: dict[str, Any]
) -> None:
    ran = run("cloud", "copy", *CLOUD.split(), *more)
    assert ran == Ran(
        0,
        "instance 5001: cloud copy started\n",
        "vast.py: the instance's status message shows the progress\n",
    )
    common = {"src": "/b", "dst": "/workspace", "instance_id": "5001",
              "selected": "1002", "transfer": "Cloud To Instance"}  # fmt: skip
    assert bodies(box, "cloud_copy") == [{**common, **given}]


def test_our_dry_run_is_not_rclones(run: Program, box: Sandbox) -> None:
    ran = run("cloud", "copy", *CLOUD.split(), "Cloud To Instance", "--dry-run")
    assert (ran.status, box.calls) == (0, [])
    assert "flags" not in ran.out


@pytest.mark.parametrize("missing", ["src", "instance", "connection", "transfer"])
def test_a_cloud_copy_needs_its_options(
    run: Program, box: Sandbox, missing: str
) -> None:
    given = {"src": "/b", "instance": "5001", "connection": "1",
             "transfer": "Cloud To Instance"}  # fmt: skip
    del given[missing]
    ran = run("cloud", "copy", *(f"--{name}={text}" for name, text in given.items()))
    assert (ran.status, box.calls) == (2, [])
    assert f"required: --{missing}; see vast.py cloud copy" in one_line(ran)


def test_a_transfer_is_one_of_two(run: Program) -> None:
    ran = run("cloud", "copy", *CLOUD.split(), "upload")
    assert "choose from Instance to Cloud, Cloud To Instance" in one_line(ran)


def test_a_scheduled_cloud_copy(run: Program, box: Sandbox, state: Renting) -> None:
    words = [*CLOUD.split(), "Cloud To Instance", "--schedule", "WEEKLY"]
    assert run("cloud", "copy", *words).status == 0
    (job,) = bodies(box, "schedule_job")
    assert job["instance_id"] == job["request_body"]["instance_id"] == 5001
    assert (job["api_endpoint"], job["request_method"]) == (
        "/api/v0/commands/rclone/",
        "POST",
    )
    assert names(box) == ["schedule_job"]


def test_connections(run: Program) -> None:
    assert run("show", "connections").out.splitlines() == [
        "  ID  Type   Name",
        "1001  drive  drïve of the lab",
        "1002  s3     models\\x1b[1m",
        "1003  s3     -",
    ]
    assert run("show", "connections", "-q").out == "1001\n1002\n1003\n"


# ---------------------------------------------------------------- take snapshot

SNAPSHOT = "take snapshot 5001 --repo docker.io/me/app --docker_login_user me".split()
PASSWORD = "docker_login_pass"


@pytest.mark.parametrize(
    ("words", "stdin", "variable"),
    [
        ([], "secret\n", None),
        (["--docker-login-pass", "-"], "secret\n", "other"),
        (["--docker_login_pass=secret"], "", "other"),
        ([], "", "secret"),
    ],
)
def test_where_a_registrys_password_comes_from(
    run: Program,
    box: Sandbox,
    state: Renting,
    words: list[str],
    stdin: str,
    variable: str | None,
) -> None:
    env = {"DOCKER_LOGIN_PASS": variable}
    ran = run(*SNAPSHOT, *words, stdin=stdin, env=env)
    assert ran.status == 0
    assert ran.out.startswith("instance 5001: snapshot started; Snapshot docker.io/me/")
    (body,) = bodies(box, "take_snapshot")
    assert body[PASSWORD] == "secret"
    assert "id" not in body
    assert "secret" not in ran.out + ran.err


def test_a_password_is_asked_for_without_echo(
    run: Program, box: Sandbox, state: Renting, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def answer(question: str) -> str:
        asked.append(question)
        return "secret"

    monkeypatch.setattr("getpass.getpass", answer)
    assert run(*SNAPSHOT, terminal=True).status == 0
    assert asked == ["Registry password: "]
    assert bodies(box, "take_snapshot")[0][PASSWORD] == "secret"


def test_a_password_is_needed_and_never_shown(run: Program, box: Sandbox) -> None:
    ran = run(*SNAPSHOT)
    error = "vast.py: no Registry password was given\n"
    assert (ran.status, one_line(ran)) == (2, error)
    ran = run(*SNAPSHOT, "--docker_login_pass", "secret", "--dry-run")
    assert ran.status == 0
    assert f'"{PASSWORD}": "********"' in ran.out
    assert box.calls == []


@pytest.mark.parametrize(
    "repo",
    ["me/app", "docker.io/me/app:1", "docker.io", "docker.io/me/app@sha256:00", "-"],
)
def test_a_repository_has_a_host_and_no_tag(
    run: Program, box: Sandbox, repo: str
) -> None:
    words = ["--repo", repo, "--docker_login_user", "me"]
    ran = run("take", "snapshot", "5001", *words)
    assert (ran.status, box.calls) == (2, [])
    assert "use docker.io/USER/NAME, without a tag" in one_line(ran)


def test_a_registry_may_have_a_port(run: Program, box: Sandbox, state: Renting) -> None:
    words = ["--repo", "localhost:5000/app", "--docker_login_user", "me"]
    more = ["--docker_login_pass", "x", "--pause", "FALSE"]
    assert run("take", "snapshot", "5001", *words, *more).status == 0
    assert bodies(box, "take_snapshot")[0]["pause"] == "false"


@pytest.mark.parametrize("words", [["--repo", "docker.io/me/app"], []])
def test_a_snapshot_needs_its_options(
    run: Program, box: Sandbox, words: list[str]
) -> None:
    ran = run("take", "snapshot", "5001", *words)
    assert (ran.status, box.calls) == (2, [])
    assert "--docker_login_user" in one_line(ran)


def test_a_snapshot_is_taken_once(run: Program, box: Sandbox, state: Renting) -> None:
    box.fault("take_snapshot", "502", times=None)
    ran = run(*SNAPSHOT, "--docker_login_pass", "secret")
    assert (ran.status, names(box)) == (6, ["take_snapshot"])
    assert "a snapshot of instance 5001 may or may not have been started" in ran.err
