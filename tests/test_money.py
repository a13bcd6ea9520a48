"""What must not cost money twice, or unnoticed: renting and what follows it, requests
whose outcome is unknown, signals, and the questions before harm."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import pty
import re
import select
import signal
import socket
import socketserver
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme

import sandbox
import vast
from conftest import (
    Plan,
    Program,
    Ran,
    an_offer,
    create,
    names,
    one_line,
    rent,
    script_environment,
)
from sandbox import FAULTS, KEY, Reply, Sandbox, Stream, json_reply, text_reply

NO_INSTANCE = json_reply({"instances": None})
PAGE = text_reply(404, "<html><title>404 Not Found</title></html>")
RETIRED = json_reply({"success": False, "error": "deprecated_endpoint"}, 410)
NOT_FOUND = json_reply({"success": False, "error": "not_found", "msg": "none"}, 404)
NO_SUCH = json_reply({"success": False, "error": "no_such_instance", "msg": "no"}, 404)


def last_line(ran: Ran) -> str:
    """Return the last line on stderr."""
    return ran.err.splitlines()[-1]


# --- after renting: waiting, and looking up the price


@pytest.mark.parametrize(
    "glitch",
    [NO_INSTANCE, PAGE, RETIRED, "500", "501", "429_text", "429_quota", "drop_before",
     "drop_after", "cut", "not_json", "array", "no_list", "bad_list", "redirect",
     "403", "refused"],
    ids=str,
)  # fmt: skip
def test_a_glitch_while_waiting_ends_nothing(
    glitch: str | Reply, box: Sandbox, run: Program, plan: Plan
) -> None:
    """What a proxy or a lost connection does says nothing of the instance."""
    plan("instance", None, *[glitch] * 9)  # the first is asked for the price
    ran = run(*create(box), "--wait", "--retry", "0")
    assert ran.status == 0, ran.err
    assert ran.out.startswith("Created instance 5001\nssh://root@")
    assert names(box) == ["create", *["instance"] * 11]
    assert len(box.market.rented) == 1


@pytest.mark.parametrize("more", [(), ("--raw",)], ids=["", "raw"])
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (NO_INSTANCE, "(status: gone)"),
        (PAGE, "(status: not known)"),
        ("500", "(status: not known)"),
        ("not_json", "(status: not known)"),
        ("401", "Invalid user key"),
        ("401_2fa", "Two Factor Authentication"),
        ("404_auth", "Invalid user key"),
    ],
    ids=str,
)
def test_waiting_that_fails_says_what_was_rented(
    fault: str | Reply,
    says: str,
    more: tuple[str, ...],
    box: Sandbox,
    run: Program,
    plan: Plan,
) -> None:
    """Never 4 or 5, after which a script would rent another one."""
    plan("instance", None, fault, last=True)
    ran = run(*create(box), "--wait", "--timeout", "9", *more)
    assert ran.status == 3
    assert says in last_line(ran)
    assert "instance 5001" in last_line(ran)
    assert "cost" in last_line(ran)
    assert re.search(r"instance 5001 costs \$[\d.]+/h \(\$[\d.]+/day\)", ran.err)
    if more:
        assert json.loads(ran.out)["new_contract"] == 5001
        assert json.loads(last_line(ran)).keys() == {"error", "msg", "status"}
    else:
        assert ran.out == "Created instance 5001\n"


@pytest.mark.parametrize("fault", ["500", "401", "not_json", "drop_after", NO_INSTANCE])
def test_a_price_that_cannot_be_read_is_no_failure(
    fault: str | Reply, box: Sandbox, run: Program, plan: Plan
) -> None:
    plan("instance", fault, last=True)
    ran = run(*create(box))
    assert (ran.status, ran.out) == (0, "Created instance 5001\n")


def test_the_price_is_said(box: Sandbox, run: Program) -> None:
    ran = run(*create(box))
    row = box.market.own_rows()[0]
    cost = f"${row['dph_total']:.4g}/h (${row['dph_total'] * 24:.2f}/day)"
    assert f"instance 5001 costs {cost} with 10 GB of disk\n" in ran.err


def test_a_broken_instance_is_still_paid_for(box: Sandbox, run: Program) -> None:
    words = "create", "instance", str(an_offer(box)), "--image", sandbox.BROKEN_IMAGE
    ran = run(*words, "--wait")
    assert (ran.status, ran.out) == (3, "Created instance 5001\n")
    assert "instance 5001 is exited: pull access denied" in last_line(ran)
    assert "costs money" in last_line(ran)


def test_several_rentals_of_which_the_last_fails(
    box: Sandbox, run: Program, plan: Plan
) -> None:
    """What the first costs is not forgotten because the key is refused then."""
    plan("create", None, "401")
    offers = [str(offer) for offer in free_offers(box, 3)]
    ran = run("create", "instances", *offers, "--image", "it")
    assert (ran.status, ran.out) == (3, "Created instance 5001\n")
    assert "instance 5001: rented" in ran.err
    assert f"not tried: {offers[2]}\n" in ran.err
    assert len(box.market.rented) == 1


def free_offers(box: Sandbox, count: int) -> list[int]:
    """Return the ids of offers on as many machines."""
    offers = [o for o in box.market.offers.values() if not (o.rental or o.odd)]
    return [offer.row["id"] for offer in offers[:count]]


@pytest.mark.parametrize("pressed", [KeyboardInterrupt, vast.Signalled], ids=str)
@pytest.mark.parametrize("when", ["price", "waiting"])
def test_ctrl_c_after_renting_says_what_was_rented(
    when: str,
    pressed: Callable[[int], BaseException],
    box: Sandbox,
    run: Program,
    plan: Plan,
) -> None:
    def sleep(seconds: float) -> None:
        raise pressed(15)

    # Only what is sent again, or is not running yet, sleeps.
    plan("instance", *[None] * (when == "waiting"), "429_text", last=True)
    ran = run(*create(box), "--wait", sleep=sleep)
    assert ran.status == (130 if pressed is KeyboardInterrupt else 143)
    assert "interrupted" in last_line(ran)
    assert "instance 5001" in last_line(ran)
    assert "cost" in last_line(ran)


@pytest.mark.parametrize("depth", [500, 5000, 100_000])
@pytest.mark.parametrize("more", [(), ("--raw",), ("--wait",)], ids=" ".join)
def test_an_answer_nested_too_deeply_still_names_the_instance(
    depth: int, more: tuple[str, ...], box: Sandbox, run: Program, plan: Plan
) -> None:
    body = b'{"success": true, "new_contract": 5001, "odd": %s}'
    plan("create", Reply(200, body % (b"[" * depth + b"]" * depth)))
    ran = run(*create(box), *more)
    # Carried out; or unknown, with an id; or it can't be shown.
    assert ran.status in (0, 3, 6)
    assert "5001" in ran.out + ran.err
    assert names(box).count("create") == 1
    assert ran.status == 0 or "5001" in last_line(ran)


def test_a_row_nested_too_deeply_still_names_the_instance(
    box: Sandbox, run: Program, plan: Plan
) -> None:
    """With --raw the row that is waited for is a part of the document."""
    deep: Any = "x"
    for _ in range(700):
        deep = [deep]
    row = {"id": 5001, "actual_status": "running", "odd": deep, "dph_total": 0.5}
    plan("instance", json_reply({"instances": row}), last=True)
    ran = run(*create(box), "--wait", "--raw")
    assert ran.status in (0, 3)
    assert "5001" in ran.out + last_line(ran)


# --- a change whose outcome is unknown


@pytest.mark.parametrize("first", ["drop_after", "502_after", "cut_after", "500"])
@pytest.mark.parametrize(
    ("then", "status"),
    [
        (NOT_FOUND, 0),
        (NO_SUCH, 0),
        (PAGE, 6),
        (RETIRED, 6),
        (text_reply(404, "Not Found"), 6),
        (json_reply({"detail": "Not Found"}, 404), 6),
        (json_reply({"success": False, "error": "invalid_args"}, 404), 6),
        (json_reply({"success": False, "error": "auth_error"}, 404), 6),
        (json_reply({"success": False, "error": "not_today"}), 6),
    ],
    ids="not_found no_such page retired text detail other auth refused".split(),
)
def test_which_404_proves_that_it_was_destroyed(
    first: str, then: Reply, status: int, box: Sandbox, run: Program, plan: Plan
) -> None:
    number = rent(box)
    plan("destroy", first, then)
    ran = run("destroy", "instance", str(number))
    assert (ran.status, names(box)) == (status, ["destroy"] * 2)
    if status:
        assert f"instance {number} may or may not have been changed" in one_line(ran)
    else:
        assert ran.out == f"instance {number}: destroying\n"


@pytest.mark.parametrize("then", [NOT_FOUND, NO_SUCH])
def test_a_404_at_once_is_a_refusal(
    then: Reply, box: Sandbox, run: Program, plan: Plan
) -> None:
    """Nothing was destroyed: it may be a typing error."""
    plan("destroy", then)
    assert run("destroy", "instance", "1").status == 1


@pytest.mark.parametrize("glitch", [PAGE, RETIRED, "500", "not_json", "no_list"])
def test_waiting_until_it_is_gone(
    glitch: str | Reply, box: Sandbox, run: Program, plan: Plan
) -> None:
    """A proxy's page is no proof that an instance is gone."""
    number = str(rent(box))
    plan("instance", *[glitch] * 3)
    ran = run("destroy", "instance", number, "--wait", "--retry", "0")
    assert (ran.status, ran.out) == (0, f"instance {number}: destroying\n")
    assert names(box) == ["destroy", *["instance"] * 4]
    number = str(rent(box))
    plan("instance", glitch, last=True)
    ran = run("destroy", "instance", number, "--wait", "--timeout", "9")
    assert ran.status == 3
    assert "it costs money until it is gone" in last_line(ran)


@pytest.mark.parametrize("answer", [NOT_FOUND, NO_SUCH, NO_INSTANCE])
def test_what_proves_that_an_instance_is_gone(
    answer: Reply, box: Sandbox, run: Program, plan: Plan
) -> None:
    plan("instance", answer)
    assert run("destroy", "instance", str(rent(box)), "--wait").status == 0
    assert names(box) == ["destroy", "instance"]


LIES = {
    "tunnel": b"Tunnel connection failed: 503 Service Unavailable\r\n\r\n",
    "tunnel status": b"HTTP/1.1 Tunnel connection failed: 503\r\n\r\n",
    "connect": b"[Errno 111] Connection refused\r\n\r\n",
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize(
    ("words", "call", "status", "sent"),
    [
        ("create instance {offer} --image it", "create", 6, 1),
        ("stop instance {id}", "manage", 6, 4),
        ("destroy instance {id}", "destroy", 6, 4),
        ("show instances", "instances", 5, 4),
    ],
)
def test_the_text_of_an_error_proves_nothing(
    lie: str,
    words: str,
    call: str,
    status: int,
    sent: int,
    box: Sandbox,
    run: Program,
    plan: Plan,
) -> None:
    """Whoever answers may write into the status line whatever they want."""
    plan(call, Stream([LIES[lie]]), last=True)
    ran = run(*words.format(id=rent(box), offer=an_offer(box)).split())
    assert (ran.status, names(box).count(call)) == (status, sent)


def test_a_change_without_a_body_is_in_doubt_too(box: Sandbox, run: Program) -> None:
    """A function that sends a DELETE without a body gets the same care."""
    box.fault("destroy", "drop_after", times=None)
    args = vast.Words(vast.COMMAND_BY_NAME["show user"], []).parse()
    environ = {"VAST_URL": box.url, "VAST_API_KEY": KEY}
    clock = run.clock
    env = vast.Environment(environ=environ, sleep=clock.sleep)
    with pytest.raises(vast.OutcomeUnknown):
        vast.Client(args, env).send(vast.Call("DELETE", "/api/v0/instances/5001/"))
    assert [seen.body for seen in box.calls] == [{}] * 4


# --- before anything is sent

RENT = "create instance 1 --image it".split()
Serve = Callable[[Callable[[socket.socket], None]], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return what opens a port at which a function deals with each connection."""
    servers = []

    def start(deal: Callable[[socket.socket], None]) -> int:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                deal(self.request)

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        servers.append(server)
        return int(server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def hang_up(connection: socket.socket) -> None:
    """Close a connection at once."""


def reset(connection: socket.socket) -> None:
    """Reset a connection once something has come."""
    connection.recv(1)
    linger = b"\1\0\0\0\0\0\0\0"
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.close()


def say(text: bytes) -> Callable[[socket.socket], None]:
    """Return what answers the first bytes with a text."""

    def deal(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(text)

    return deal


def wait(connection: socket.socket) -> None:
    """Say nothing until the other side goes away."""
    while connection.recv(65536):
        pass


PEERS = {
    "hangs up": hang_up,
    "resets": reset,
    "speaks no TLS": say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    "alerts": say(b"\x15\x03\x01\x00\x02\x02\x28"),
    "is silent": wait,
}


@pytest.fixture(scope="module")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a file of one certificate, read in no time, for tests that get to none."""
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return str(path)


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("way", ["direct", "proxy"])
@pytest.mark.parametrize("words", [RENT, ["stop", "instance", "1"], ["show", "user"]])
def test_without_tls_nothing_was_sent(
    peer: str,
    way: str,
    words: list[str],
    serve: Serve,
    offline: Program,
    one_authority: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No proxy's tunnel, no handshake: nothing is in doubt, and all may be retried."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", one_authority)
    monkeypatch.setattr(vast, "CONNECT_TIMEOUT", 0.05)
    monkeypatch.setattr(vast, "READ_TIMEOUT", 0.05)
    met: list[int] = []

    def deal(connection: socket.socket) -> None:
        met.append(1)
        PEERS[peer](connection)

    port = serve(deal)
    url = f"https://127.0.0.1:{port}"
    if way == "proxy":
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        url = "https://service.invalid"
    ran = offline(*words, "--url", url, env={"VAST_API_KEY": KEY})
    assert (ran.status, len(met)) == (5, 4), ran.err
    assert f"cannot reach {url}: " in one_line(ran)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\n\r\nno TLS either",
        b"\xff\xfe" * 100,
    ],
)
def test_a_proxy_that_refuses_is_no_doubt(
    answer: bytes, serve: Serve, offline: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = serve(say(answer))
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
    url = "https://service.invalid"
    ran = offline(*RENT, "--url", url, env={"VAST_API_KEY": KEY})
    assert ran.status == 5, ran.err
    assert one_line(ran)


@pytest.mark.parametrize("name", vast.CA_BUNDLES)
@pytest.mark.parametrize(
    ("content", "status"),
    [(None, 2), ("", 5), ("no certificate", 5), ("folder", 5)],
    ids=["missing", "empty", "garbage", "folder"],
)
def test_certificates_that_cannot_be_read(
    name: str,
    content: str | None,
    status: int,
    serve: Serve,
    offline: Program,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = offline.home / "bundle"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_text(content)
    monkeypatch.setenv(name, str(path))
    url = f"https://127.0.0.1:{serve(hang_up)}"
    environ = {"VAST_API_KEY": KEY, name: str(path)}
    ran = offline(*RENT, "--url", url, env=environ)
    assert ran.status == status, ran.err
    assert one_line(ran)
    assert status == 5 or f"{name}: there is no file {path}" in ran.err


@pytest.mark.parametrize(
    "url",
    [
        "https://a..b",
        "https://.a",
        "https://-a",
        f"https://{'a' * 64}.org",
        "https://ü",
    ],
)
def test_an_address_that_no_host_can_have(url: str, offline: Program) -> None:
    ran = offline(*RENT, "--url", url, env={"VAST_API_KEY": KEY})
    assert (ran.status, offline.clock.slept) == (2, [])
    assert "invalid address" in one_line(ran)


def test_a_name_that_is_too_long_for_the_network(offline: Program) -> None:
    url = "https://" + "a" * 63 + ".b" * 100
    ran = offline(*RENT, "--url", url, env={"VAST_API_KEY": KEY})
    assert ran.status in (2, 5)
    assert one_line(ran)


# --- answers in parts

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"


@pytest.mark.parametrize("first", [HINTS, HINTS * 9, PROCESSING + HINTS], ids=len)
def test_early_hints_are_not_the_answer(
    first: bytes, box: Sandbox, run: Program, plan: Plan
) -> None:
    final = sandbox.wire(json_reply({"success": True, "new_contract": 77}))
    plan("create", Stream([first + final]))
    ran = run(*create(box))
    assert (ran.status, ran.out) == (0, "Created instance 77\n")
    machines = sandbox.wire(json_reply({"machines": []}))
    plan("machines", Stream([first, machines], 0.01))
    assert run("show", "machines", "-q").status == 0
    box.clear()
    plan("create", Stream([first]))
    assert run(*create(box)).status == 6
    assert names(box) == ["create"]


def test_hints_without_end(
    box: Sandbox, run: Program, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run.clock, "now", time.time)
    monkeypatch.setattr(vast, "TOTAL_TIMEOUT", 0.2)
    monkeypatch.setattr(vast, "SLOWEST", 10**6)
    plan("create", Stream(itertools.repeat(HINTS), 0.01), last=True)
    assert run(*create(box)).status == 6


@pytest.mark.parametrize("limit", ["MOST_PAGES", "MOST_ROWS"])
def test_fresh_pages_end_some_time(
    limit: str, box: Sandbox, run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = map(str, itertools.count())

    def page(trouble: sandbox.Trouble) -> Reply:
        return json_reply({"instances": [{"id": 1}], "next_token": next(tokens)})

    monkeypatch.setitem(FAULTS, "endless", (False, page))
    monkeypatch.setattr(vast, limit, 5)
    box.fault("instances", "endless", times=None)
    ran = run("show", "instances")
    assert (ran.status, len(box.calls)) == (1, 6)
    assert "the pages of the response do not end" in one_line(ran)


def test_the_limits_of_pages_let_the_whole_market_through() -> None:
    assert vast.MOST_PAGES * 25 >= 20_000
    assert vast.MOST_ROWS >= 100_000


# --- signals


def start(box: Sandbox, home: Path, *words: str) -> subprocess.Popen[str]:
    """Start the program."""
    return subprocess.Popen(
        [vast.__file__, *words],
        env=script_environment(box, home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background has Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )


def stop(process: subprocess.Popen[str], number: int, sure: Callable[[], bool]) -> Ran:
    """Send a signal once something is sure; return how the program ended."""
    with process:
        while not sure() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.1)  # on to the wait
        process.send_signal(number)
        begin = time.monotonic()
        out, err = process.communicate(timeout=30)
        assert time.monotonic() - begin < 10
    assert "Traceback" not in err
    return Ran(process.returncode, out, err)


RENTED = "interrupted; offer {offer} may or may not have been rented; run"
CHANGED = "interrupted; instance 1 may or may not have been changed; run"


@pytest.mark.parametrize(
    ("number", "fault", "words", "says"),
    [
        (signal.SIGINT, "drip_headers", "create instance {offer} --image it", RENTED),
        (signal.SIGINT, "slow", "create instance {offer} --image it --raw", RENTED),
        (signal.SIGINT, "slow", "destroy instance 1 2 3", CHANGED),
        (signal.SIGINT, "429_retry_after", "show machines --raw", "interrupted"),
        (signal.SIGTERM, "slow", "create instance {offer} --image it", RENTED),
        (signal.SIGTERM, "slow", "show machines", "interrupted"),
        (signal.SIGHUP, "drip_body", "create instance {offer} --image it", RENTED),
        (signal.SIGHUP, "slow", "stop instance 1", CHANGED),
    ],
    ids="int-drip int-rental int-several int-wait term-rental term-read hup-rental"
    " hup-change".split(),
)
def test_a_signal_says_what_may_have_been_done(
    number: int, fault: str, words: str, says: str, box: Sandbox, tmp_path: Path
) -> None:
    """At once, in one line, with the status 128 + signal."""
    box.fault("*", fault, seconds=50, times=None)
    offer = an_offer(box)
    process = start(box, tmp_path, *words.format(offer=offer).split())
    ran = stop(process, number, lambda: bool(box.calls))
    assert (ran.status, ran.out, len(box.calls)) == (128 + number, "", 1)
    assert says.format(offer=offer) in ran.err.splitlines()[0]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_while_waiting_says_what_costs(
    number: int, status: int, box: Sandbox, tmp_path: Path
) -> None:
    box.market.run_on(time.monotonic, 1000)  # it does not start so soon
    process = start(box, tmp_path, *create(box), "--wait")
    ran = stop(process, number, lambda: len(box.calls) > 2)
    assert (ran.status, ran.out) == (status, "Created instance 5001\n")
    assert "instance 5001 may not be running yet; it costs money" in last_line(ran)


def test_a_signal_that_is_ignored_stays_so(box: Sandbox, tmp_path: Path) -> None:
    """As under nohup."""
    box.fault("machines", "slow", seconds=0.5)
    words = ["nohup", vast.__file__, "show", "machines", "-q"]
    with subprocess.Popen(
        words,
        env=script_environment(box, tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        while not box.calls:
            time.sleep(0.01)
        process.send_signal(signal.SIGHUP)
        process.communicate()
    assert process.returncode == 0


# --- what is refused, and asked, before anything is sent


@pytest.mark.parametrize(
    "words",
    [
        "create instance 1 --image it --args sleep 1d --dry-run",
        "create instance 1 --image it --args --dry-run",
        "create instance 1 --image it --args=sleep --dry-run",
        "create instance 1 --image it --args x --dry_run",
        "create instance 1 --image it --args x --dry-run=yes",
        "launch instance -g RTX_4090 -n 1 -i it --args x --dry-run",
        "create instances 1 2 --image it --args x --dry-run",
        "set defjob 7101 --price_gpu 1 --price_inetu 1 --price_inetd 1 --image it"
        " --args x --dry-run",
    ],
)
def test_a_dry_run_behind_args_is_refused(
    words: str, box: Sandbox, run: Program
) -> None:
    ran = run(*words.split())
    assert (ran.status, box.calls, box.market.rented) == (2, [], [])
    assert "put --dry-run before --args" in one_line(ran)


def test_a_dry_run_can_be_passed_on(box: Sandbox, run: Program) -> None:
    ran = run(*create(box), "--args", "--", "tool", "--dry-run")
    assert ran.status == 0
    assert box.calls[0].body["args"] == ["tool", "--dry-run"]
    ran = run(*create(box), "--dry-run", "--args", "tool")
    assert (ran.status, len(box.market.rented)) == (0, 1)


@pytest.mark.parametrize("disk", ["1", "7.99", "0", "-8"])
def test_too_little_disk_is_refused(disk: str, box: Sandbox, run: Program) -> None:
    ran = run(*create(box), "--disk", disk)
    assert (ran.status, box.calls) == (2, [])
    assert "disk size" in one_line(ran)
    assert "at least 8" in ran.err


DESTROY = "destroy instance {id}"


def ask_at_terminal(
    box: Sandbox, home: Path, answer: str, words: Sequence[str], **streams: Any
) -> tuple[int, str]:
    """Run the program with the terminal as its stdin; return its exit status and what
    stood on the terminal once the answer was given."""
    terminal, other = pty.openpty()
    with subprocess.Popen(
        [vast.__file__, *words],
        env=script_environment(box, home),
        stdin=other,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        **{"stdout": other, "stderr": other} | streams,
    ) as process:
        os.close(other)
        shown = read_until(terminal, "] ")
        os.write(terminal, f"{answer}\n".encode())
        process.wait(30)
    shown += read_until(terminal, "\0")
    os.close(terminal)
    return process.returncode, shown.replace("\r\n", "\n")


def read_until(terminal: int, end: str) -> str:
    """Return what comes from a terminal, up to a text or until nothing comes."""
    shown = ""
    while end not in shown and select.select([terminal], [], [], 10)[0]:
        try:
            shown += os.read(terminal, 4096).decode()
        except OSError:  # the other side is closed
            break
    return shown


@pytest.mark.parametrize(
    ("redirected", "answer", "status"),
    [("", "n", 3), ("", "YES", 0), ("stderr", "", 3), ("stderr", "y", 0),
     ("stdout", "n", 3), ("stdout stderr", "n", 3), ("stdout stderr", "y", 0)],
)  # fmt: skip
def test_a_question_at_the_terminal(
    redirected: str, answer: str, status: int, box: Sandbox, tmp_path: Path
) -> None:
    """It goes to the terminal, wherever the streams go."""
    number = rent(box, label="precious")
    with open(tmp_path / "log", "w+b") as log:
        streams = dict.fromkeys(redirected.split(), log)
        words = DESTROY.format(id=number).split()
        ended, shown = ask_at_terminal(box, tmp_path, answer, words, **streams)
        log.seek(0)
        logged = log.read().decode()
    assert ended == status
    question = f"destroy instance {number} (precious, "
    assert question in shown
    assert question not in logged
    assert (number in box.market.destroyed) is (status == 0)


def test_a_question_without_a_terminal_of_its_own(
    box: Sandbox, run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_terminal(path: str, *args: object, **more: object) -> None:
        raise OSError(6, "No such device or address")

    number = rent(box)
    monkeypatch.setattr("builtins.open", no_terminal)
    ran = run(*DESTROY.format(id=number).split(), stdin="n\n", terminal=True)
    assert ran.status == 3
    assert f"destroy instance {number} " in ran.err


# --- waiting for a start or a stop


def show(plan: Plan, number: int, *statuses: str) -> None:
    """Have the row of an instance show these statuses; the last of them stays."""
    rows = [{"id": number, "actual_status": status} for status in statuses]
    plan("instance", *[json_reply({"instances": row}) for row in rows], last=True)


def test_a_status_from_before_the_start_is_no_news(
    box: Sandbox, run: Program, plan: Plan
) -> None:
    """A row that still says exited for 20 s is not a failed start."""
    number = rent(box)
    show(plan, number, *["exited"] * 10, "loading", "running")
    ran = run("start", "instance", str(number), "--wait")
    assert (ran.status, sum(run.clock.slept)) == (0, 22)


@pytest.mark.parametrize(
    ("statuses", "least", "most"),
    [
        (["exited"], vast.STALE, vast.STALE + 2),  # 30 s long no news
        (["loading", "exited"], 2, 2),  # it was started, and broke
        (["offline"], vast.STALE, vast.STALE + 2),
    ],
)
def test_a_start_that_failed(
    statuses: list[str],
    least: float,
    most: float,
    box: Sandbox,
    run: Program,
    plan: Plan,
) -> None:
    number = rent(box)
    show(plan, number, *statuses)
    ran = run("start", "instance", str(number), "--wait")
    assert ran.status == 1
    assert least <= sum(run.clock.slept) <= most
    assert f"instance {number} is {statuses[-1]}: " in last_line(ran)


@pytest.mark.parametrize(
    ("verb", "status", "costs"),
    [
        ("start", "loading", "it costs money as long as it exists"),
        ("stop", "running", "it costs its full price until it has stopped"),
        ("destroy", "running", "it costs money until it is gone"),
        ("reboot", "rebooting", "it costs money as long as it exists"),
        ("recycle", "loading", "it costs money as long as it exists"),
    ],
)
def test_after_a_timeout_it_says_what_costs_and_where_to_look(
    verb: str, status: str, costs: str, box: Sandbox, run: Program, plan: Plan
) -> None:
    """Whoever stopped or started an instance is not told to destroy it."""
    number = rent(box)
    show(plan, number, status)
    ran = run(verb, "instance", str(number), "--wait", "--timeout", "10")
    assert ran.status == 3
    look = f"to check: vast.py show instance {number}"
    assert last_line(ran).endswith(f"after 10 s (status: {status}); {costs}; {look}")
    assert verb == "destroy" or "destroy" not in ran.err


# --- the lost answer to a rental


@pytest.mark.parametrize("label", [(), ("--label", "x")], ids=["", "label"])
def test_a_lost_rental_names_the_command_that_shows_it(
    label: tuple[str, ...], box: Sandbox, run: Program, plan: Plan
) -> None:
    plan("create", "drop_after")
    ran = run(*create(box), *label)
    assert ran.status == 6
    assert "run `vast.py show instances` before retrying" in one_line(ran)


@pytest.mark.parametrize("redirection", [">/dev/full", ">&-"])
@pytest.mark.parametrize("more", [(), ("--wait",), ("--raw",)], ids=" ".join)
def test_an_id_that_cannot_be_written_is_said(
    redirection: str, more: tuple[str, ...], box: Sandbox, tmp_path: Path
) -> None:
    line = ["sh", "-c", f'exec "$0" "$@" {redirection}', vast.__file__]
    ran = subprocess.run(
        [*line, *create(box), *more],
        env=script_environment(box, tmp_path),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    assert "5001" in ran.stderr
    assert "Traceback" not in ran.stderr
