"""Between the user and the service: waiting and trying again, answers that are slow,
big or led astray, the key and its file, streams that fail, and what strangers write."""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import re
import select
import socket
import socketserver
import ssl
import stat
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

import sandbox
import vast
from conftest import (
    Clock,
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

SCRIPT = vast.__file__
LATER = 1_790_000_000  # when a Clock starts
NOBODY = "http://127.0.0.1:1"
BUSY = "API requests too frequent: endpoint"


def limited(text: str = "", *headers: str) -> Reply:
    """A 429."""
    return text_reply(429, f"{BUSY} {text}", *headers)


# --- trying again, and waiting


def test_waits_grow_and_differ(run: Program, plan: Plan) -> None:
    plan("machines", "503", last=True)
    for _ in range(2):
        run("show", "machines")
    first, second = run.clock.slept[:3], run.clock.slept[3:]
    for index, waited in enumerate(first):
        assert 2**index / 2 <= waited <= 2**index
    assert len(first) == len(second) == 3
    assert first != second


@pytest.mark.parametrize("count", [0, 1, 3, 12])
def test_retry(count: int, box: Sandbox, run: Program, plan: Plan) -> None:
    """No wait of our own making is over a minute, however often it is."""
    plan("machines", "503", last=True)
    assert run("show", "machines", "--retry", str(count)).status == 5
    assert len(box.calls) == count + 1
    assert max(run.clock.slept, default=0) <= 60


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (limited("threshold=4.5"), 4.5),
        (json_reply({"detail": f"{BUSY} threshold=4.5"}, 429), 4.5),
        (json_reply({"success": False, "error": "threshold=5"}, 429), 5),
        (limited("threshold=2", "Retry-After: 7"), 7),
        (limited("threshold=9", "Retry-After: 7"), 9),
        (limited("", "Retry-After: 60"), 60),
        (limited("", "Retry-After: Mon, 21 Sep 2026 14:13:40 GMT"), 20),
        (limited("", f"X-RateLimit-Reset: {LATER + 30}"), 30),
        (limited("", "X-RateLimit-Reset: 30"), 30),
    ],
    ids=lambda value: (
        " ".join([value.body.decode(), *value.headers])
        if isinstance(value, Reply)
        else None
    ),
)
def test_a_limit_is_waited_for(
    answer: Reply, wait: float, run: Program, plan: Plan
) -> None:
    plan("machines", answer)
    assert run("show", "machines").status == 0
    assert run.clock.slept == [wait]


@pytest.mark.parametrize(
    "header",
    [
        "Retry-After: soon",
        "Retry-After: -5",
        "Retry-After: nan",
        "Retry-After: Sat, 01 Jan 0001 00:00:00 -0000",
        "X-RateLimit-Reset: never",
        f"X-RateLimit-Reset: {LATER - 30}",
    ],
)
def test_a_limit_without_sense(header: str, run: Program, plan: Plan) -> None:
    plan("machines", limited("", header))
    assert run("show", "machines").status == 0
    assert [0.5 <= wait <= 1 for wait in run.clock.slept] == [True]


QUOTA = '{"success": false, "error": "search_quota_exceeded", "msg": "no more"}'


@pytest.mark.parametrize(
    ("answer", "when"),
    [
        (limited("threshold=61"), "in 61 s"),
        (limited("", "Retry-After: 3600"), "in 3600 s"),
        (limited("", "Retry-After: Mon, 21 Sep 2026 15:13:20 GMT"), "in 3600 s"),
        (limited("", f"X-RateLimit-Reset: {LATER + 7200}"), "in 7200 s"),
        (limited("threshold=1" + "0" * 400), "in 100000000 s"),
        (text_reply(429, QUOTA), "later"),
        (text_reply(429, QUOTA, "X-RateLimit-Reset: 7200"), "in 7200 s"),
    ],
    ids="threshold retry-after date reset endless quota quota-reset".split(),
)
def test_a_long_wait_is_left_to_the_user(
    answer: Reply, when: str, box: Sandbox, run: Program, plan: Plan
) -> None:
    plan("search", answer, last=True)
    ran = run("search", "offers")
    assert (ran.status, len(box.calls), run.clock.slept) == (5, 1, [])
    assert one_line(ran).endswith(f"; retry {when}\n")


def test_a_short_quota_is_not_waited_for(
    box: Sandbox, run: Program, plan: Plan
) -> None:
    plan("search", text_reply(429, QUOTA, "X-RateLimit-Reset: 30"), last=True)
    assert run("search", "offers").status == 5
    assert (len(box.calls), run.clock.slept) == (1, [])


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("destroy instance {}", "destroy"),
        ("unlist machine 7101", "unlist_machine"),
        ("remove defjob 7101", "remove_defjob"),
    ],
)
@pytest.mark.parametrize("first", ["drop_after", "502_after", "cut_after"])
def test_a_repeated_delete_that_finds_nothing_is_done(
    words: str, call: str, first: str, box: Sandbox, run: Program, plan: Plan
) -> None:
    plan(call, first, "404")
    ran = run(*words.format(rent(box)).split())
    assert (ran.status, names(box)) == (0, [call, call])
    assert ran.out


def close(box: Sandbox) -> Callable[[float], None]:
    """A way to sleep in which the service goes away."""

    def sleep(seconds: float) -> None:
        box.close()

    return sleep


@pytest.mark.parametrize(
    "then",
    "429_text 429_quota 500 501 not_json 403 401 refused redirect gone".split(),
)
def test_a_lost_answer_stays_in_doubt(
    then: str, box: Sandbox, run: Program, plan: Plan
) -> None:
    """Whatever comes of the next tries, the first may have been carried out."""
    plan("manage", "drop_after", *[then] * (then in FAULTS), last=True)
    sleep = close(box) if then == "gone" else None
    ran = run("stop", "instance", str(rent(box)), sleep=sleep)
    assert ran.status == 6
    assert "before retrying" in one_line(ran)


@pytest.mark.parametrize("last", ["drop_after", "502_after", "cut_after", "not_json"])
def test_a_rental_is_sent_again_only_before_the_doubt(
    last: str, box: Sandbox, run: Program, plan: Plan
) -> None:
    words = create(box)
    plan("create", "429_text", "429_json", last)
    ran = run(*words)
    assert (ran.status, names(box)) == (6, ["create"] * 3)
    assert len(box.market.rented) == 1
    assert f"offer {words[2]} may or may not have been rented" in one_line(ran)
    assert "before retrying" in ran.err


@pytest.mark.parametrize(
    "number", [None, "5001", 5001.5, True, [5001], {"id": 1}], ids=repr
)
def test_a_rental_without_an_id_is_in_doubt(
    number: object, box: Sandbox, run: Program, plan: Plan
) -> None:
    plan("create", json_reply({"success": True, "new_contract": number}))
    ran = run(*create(box))
    assert (ran.status, len(box.calls)) == (6, 1)
    assert "before retrying" in one_line(ran)


@pytest.mark.parametrize(
    ("fault", "look", "message"),
    [
        ("drop_after", None, "instance {} with label 'mine' has started since"),
        ("502_after", "503", "instance {} with label 'mine' has started since"),
        ("drop_before", None, "no instance with label 'mine' has started since"),
        ("not_json", "bad_rows", "looking for the label failed: the response has no"),
    ],
)
def test_a_lost_rental_is_looked_for_by_its_label(
    fault: str,
    look: str | None,
    message: str,
    box: Sandbox,
    run: Program,
    plan: Plan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those with another label, or of before, are not meant."""
    monkeypatch.setattr(run.clock, "now", time.time)
    rent(box, label="mine", start_date=time.time() - 3600)
    rent(box, label="other")
    plan("create", fault)
    plan("instances", look)
    ran = run(*create(box), "--label", "mine")
    assert ran.status == 6
    assert names(box)[:2] == ["create", "instances"]
    assert names(box).count("create") == 1
    new = [number for _, number in box.market.rented]
    assert message.format(*new) in one_line(ran)


def test_a_lost_rental_without_a_label_is_not_looked_for(
    box: Sandbox, run: Program, plan: Plan
) -> None:
    plan("create", "drop_after")
    assert run(*create(box)).status == 6
    assert names(box) == ["create"]


@pytest.mark.parametrize(
    ("verb", "threshold"),
    [("start instance", 1), ("stop instance", 1), ("destroy instance", 3)],
)
def test_several_ids_keep_the_pace(verb: str, threshold: int, tmp_path: Path) -> None:
    """One call too early tells how much time there must be between two."""
    clock = Clock()
    with Sandbox(limits=True, clock=clock.now) as box:
        run = Program(tmp_path, box)
        run.clock = clock
        ids = [str(rent(box)) for _ in range(6)]
        ran = run(*verb.split(), *ids)
        assert (ran.status, len(box.calls)) == (0, len(ids) + 1)
    assert sum(clock.slept) == (len(ids) - 1) * threshold


@pytest.mark.parametrize(
    ("answers", "status", "sent"),
    [
        ((None, None, None), 0, 3),
        (("404", None, "refused"), 1, 3),
        (("not_json", "404", None), 6, 3),
        ((None, "401", None), 4, 2),
        ((None, "429_quota", None), 5, 2),
        (("403", "401", None), 4, 2),
        (("not_json", "429_quota", None), 6, 2),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_the_worst_of_several_ids_counts(
    answers: tuple[str | None, ...],
    status: int,
    sent: int,
    box: Sandbox,
    run: Program,
    plan: Plan,
) -> None:
    plan("manage", *answers)
    ids = [rent(box) for _ in answers]
    ran = run("stop", "instance", *map(str, ids), "--raw")
    assert (ran.status, len(box.calls)) == (status, sent)
    reply = json.loads(ran.out)
    assert [row["id"] for row in reply] == ids[:sent]
    well = [row.get("success") is True for row in reply]
    assert well == [answer is None for answer in answers[:sent]]


@pytest.mark.parametrize("tokens", ["aa", "aba", [1], [True], [["a"]]], ids=str)
def test_pages_that_do_not_end(
    tokens: Sequence[object], box: Sandbox, run: Program, plan: Plan
) -> None:
    page = {"success": True, "instances": [{"id": 1}]}
    plan("instances", *[json_reply({**page, "next_token": token}) for token in tokens])
    ran = run("show", "instances")
    assert (ran.status, len(box.calls)) == (1, len(tokens))
    assert "do not end" in one_line(ran)


def test_the_retired_list_of_instances(box: Sandbox, run: Program) -> None:
    ids = [rent(box) for _ in range(3)]
    before = run("show", "instances", "--raw")
    box.market.retired = {"instances"}
    box.clear()
    after = run("show", "instances", "--raw")
    assert names(box) == ["instances", "instances_v0"]
    assert [row["id"] for row in json.loads(after.out)] == ids
    assert json.loads(before.out)[0].keys() == json.loads(after.out)[0].keys()
    box.market.retired = {"instances", "instances_v0"}
    assert run("show", "instances").status == 1


def test_the_retired_list_of_invoices(box: Sandbox, run: Program) -> None:
    before = json.loads(run("show", "invoices", "--raw").out)["invoices"]
    box.market.retired = {"invoices"}
    after = json.loads(run("show", "invoices", "--raw").out)["invoices"]
    assert len(after) == len(before) > 30
    assert {"invoices_v1", "charges"} < set(names(box))
    box.market.retired = {"invoices", "charges"}
    assert run("show", "invoices").status == 1


@pytest.mark.parametrize("command", ["show instances", "show invoices -q"])
def test_a_bad_key_is_no_retired_call(
    command: str, box: Sandbox, run: Program, plan: Plan
) -> None:
    plan("*", "404_auth", last=True)
    assert run(*command.split()).status == 4
    assert len(box.calls) == 1


def test_half_an_invoice_is_none(run: Program, plan: Plan, tmp_path: Path) -> None:
    """The rows are there, but not whom the bill is for."""
    plan("user", "500", last=True)
    ran = run("generate", "pdf-invoices", "-q", "-o", str(tmp_path / "invoice.pdf"))
    assert ran.status == 5
    assert one_line(ran)
    assert list(tmp_path.iterdir()) == []


def test_what_is_rented_is_said_before_it_is_waited_for(
    box: Sandbox, run: Program, plan: Plan
) -> None:
    plan("instance", "500", last=True)
    ran = run(*create(box), "--wait")
    assert (ran.status, ran.out) == (3, "Created instance 5001\n")


# --- slow, big and broken answers


def streamed(*pieces: bytes, pause: float = 0.01) -> Stream:
    """The answer whose body comes in pieces."""
    head = sandbox.wire(Reply(200, b""), length=sum(map(len, pieces)))
    return Stream([head, *pieces], pause)


NO_MACHINES = b'{"success": true, "machines": []'
SPACES = b" " * 64 * 1024
DRIPS = {
    "body": streamed(NO_MACHINES, *[b" "] * 1000, b"}"),
    "headers": Stream([b"HTTP/1.1 200 OK\r\nX-Slow: ", *[b"z"] * 1000], 0.01),
    "status": Stream([b"HTTP/1.1 ", *[b"2"] * 1000], 0.01),
    "redirect": Stream(
        [sandbox.wire(text_reply(302, "", "Location: /"), 1000), *[b" "] * 1000], 0.01
    ),
}


@pytest.fixture
def brisk(run: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real time, and a fifth of a second for less than 100 kB a second."""
    monkeypatch.setattr(run.clock, "now", time.time)
    monkeypatch.setattr(vast, "TOTAL_TIMEOUT", 0.2)
    monkeypatch.setattr(vast, "SLOWEST", 10**5)


@pytest.mark.usefixtures("brisk")
def test_slow_but_steady_goes_through(run: Program, plan: Plan) -> None:
    start = time.monotonic()
    plan("machines", streamed(NO_MACHINES, *[SPACES] * 40, b"}"))
    ran = run("show", "machines", "--raw")
    assert (ran.status, ran.out) == (0, "[]\n")
    assert time.monotonic() - start > 2 * vast.TOTAL_TIMEOUT


@pytest.mark.usefixtures("brisk")
@pytest.mark.parametrize("drip", DRIPS)
@pytest.mark.parametrize(
    ("words", "call", "status"),
    [("show machines", "machines", 5), ("unlist machine 7101", "unlist_machine", 6)],
)
def test_drips_are_given_up(
    words: str,
    call: str,
    status: int,
    drip: str,
    box: Sandbox,
    run: Program,
    plan: Plan,
) -> None:
    plan(call, DRIPS[drip])
    ran = run(*words.split())
    assert (ran.status, len(box.calls)) == (status, 1)
    assert re.search(r"no response within \d+ s", one_line(ran))


def zipped(body: bytes) -> Reply:
    """The answer as a gzip file."""
    return Reply(200, gzip.compress(body), headers=("Content-Encoding: gzip",))


@pytest.mark.parametrize("wrap", [lambda body: Reply(200, body), zipped])
@pytest.mark.parametrize(("more", "status"), [(0, 0), (1, 1)])
def test_the_largest_body(
    wrap: Callable[[bytes], Reply],
    more: int,
    status: int,
    run: Program,
    plan: Plan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vast, "LARGEST", 10**6)
    plan("machines", wrap(NO_MACHINES + b"}".rjust(10**6 + more - len(NO_MACHINES))))
    ran = run("show", "machines")
    assert ran.status == status
    assert ("the response is over" in ran.err) is (status == 1)


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"", 5),
        (b"All is well\r\n\r\n", 5),
        (b"HTTP/1.1 OK\r\n\r\n", 5),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n", 5),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 10**5 + b"\r\n\r\n", 5),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 5),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", 5),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nno zip", 1),
        (b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe\r\n\r\n", 1),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n", 1),
        (b"HTTP/1.1 302 Found\r\n\r\n", 1),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", 1),
    ],
    ids="""nothing no-http no-status many-headers long-header bad-chunk too-short no-zip
    bad-location bad-host no-location not-modified""".split(),
)
def test_broken_wires(
    wire: bytes, status: int, box: Sandbox, run: Program, plan: Plan
) -> None:
    plan("machines", Stream([wire]), last=True)
    ran = run("show", "machines")
    assert (ran.status, len(box.calls)) == (status, 4 if status == 5 else 1)
    assert one_line(ran)


def test_the_body_of_a_redirect_is_not_read_to_its_end(
    run: Program, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vast, "LARGEST", 10**6)
    head = sandbox.wire(text_reply(302, "", "Location: /"), 10**9)
    left = iter([head, *[SPACES] * 1000])
    plan("machines", Stream(left))
    assert run("show", "machines").status == 1
    assert len(list(left)) > 500


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("away", [False, True], ids=["here", "elsewhere"])
@pytest.mark.parametrize("command", ["show machines", "unlist machine 7101"])
def test_redirects_are_not_followed(
    code: int, away: bool, command: str, box: Sandbox, run: Program, plan: Plan
) -> None:
    """A write would turn into a read, and the key would go to another host."""
    with Sandbox(box.market) as other:
        target = f"{other.url if away else ''}/api/v0/users/current/"
        plan("*", text_reply(code, "", f"Location: {target}"))
        ran = run(*command.split())
        assert (ran.status, len(box.calls), other.connections) == (1, 1, 0)
        assert f"redirects to {target}" in one_line(ran)


# --- where the service is


@pytest.mark.parametrize("by", ["option", "environment"])
@pytest.mark.parametrize(
    "url",
    """http://example.org http://192.168.1.5:8080 http://127.0.0.1.example.org
    http://localhost.example.org http://0.0.0.0 http://[::2] http://127.1
    http://example.org#@127.0.0.1 http://127.0.0.1@example.org ftp://127.0.0.1
    file:///etc/passwd 127.0.0.1 localhost:8080 https:// https:///api https://
    https://example.org:port https://example.org:99999 https://example.org/other
    https://example.org?a=b https://me:secret@example.org https://[::1""".split()
    + ["https://exa mple.org", "https://example.org\nX: y", "https://a\x00.org"],
)
def test_bad_addresses(by: str, url: str, offline: Program) -> None:
    words = ["show", "user", *["--url", url] * (by == "option")]
    ran = offline(*words, env={"VAST_URL": url, "VAST_API_KEY": KEY})
    assert ran.status == 2
    assert one_line(ran)
    assert offline.clock.slept == []


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://vast.ai/api/v0", "https://vast.ai"),
        ("https://console.vast.ai/api/v1/", "https://console.vast.ai"),
        ("https://example.org:8443/", "https://example.org:8443"),
        ("http://localhost:1", "http://localhost:1"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_good_addresses(url: str, base: str, offline: Program) -> None:
    ran = offline("show", "user", "--dry-run", "--raw", "--url", url)
    assert json.loads(ran.out)["url"] == f"{base}/api/v0/users/current/"


def test_no_proxy_sees_what_stays_on_this_machine(
    box: Sandbox, run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Sandbox(box.market) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert run("show", "user").status == 0
        assert (box.connections, proxy.connections) == (1, 0)


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A market that is reached by https, as the real one is."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    box = Sandbox()
    box.server.socket = context.wrap_socket(box.server.socket, server_side=True)
    box.url = box.url.replace("http:", "https:")
    with box:
        yield box


class Tunnel(socketserver.StreamRequestHandler):
    """Carries a connection on to where it wants, and notes all that it sees of it."""

    seen = bytearray()

    def handle(self) -> None:
        self.seen.extend(self.rfile.readline())
        while self.rfile.readline().strip():
            pass
        host, port = self.seen.split()[1].decode().split(":")
        with socket.create_connection((host, int(port))) as there:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            self.carry(self.connection, there)

    def carry(self, *ends: socket.socket) -> None:
        """Passes on what comes from either end, until one of them closes."""
        while True:
            for end in select.select(ends, (), ())[0]:
                piece = end.recv(65536)
                if not piece:
                    return
                self.seen.extend(piece)
                ends[end is ends[0]].sendall(piece)


@pytest.fixture(params=["direct", "proxy"])
def seen_on_the_way(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[bytearray]:
    """What a proxy sees of all that goes by https; nothing when there is none."""
    Tunnel.seen.clear()
    if request.param == "direct":
        yield Tunnel.seen
        return
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Tunnel) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        monkeypatch.setenv(
            "https_proxy", f"http://127.0.0.1:{server.server_address[1]}"
        )
        yield Tunnel.seen
        assert len(Tunnel.seen) > 1000
        server.shutdown()


@pytest.mark.parametrize("fault", "drop_before drop_after cut_after 502_after".split())
def test_a_rental_by_https(
    fault: str, secure: Sandbox, seen_on_the_way: bytearray, tmp_path: Path
) -> None:
    """Through a proxy too, what may have been carried out is sent once."""
    secure.fault("create", fault)
    ran = Program(tmp_path, secure)(*create(secure))
    assert (ran.status, names(secure)) == (6, ["create"])
    assert len(secure.market.rented) == (fault != "drop_before")
    assert KEY.encode() not in seen_on_the_way


def test_whoever_has_no_good_certificate_is_told_nothing(
    secure: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    ran = Program(tmp_path, secure)(*create(secure))
    assert (ran.status, secure.calls) == (5, [])
    assert "certificate verify failed" in one_line(ran)


RENT_ELSEWHERE = "create instance 1 --image it --url https://service.invalid".split()


def test_a_proxy_that_lets_nobody_through(
    box: Sandbox, run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No connection was made, so that nothing is in doubt."""
    monkeypatch.setenv("https_proxy", box.url)
    ran = run(*RENT_ELSEWHERE)
    assert (ran.status, box.connections, box.calls) == (5, 4, [])
    assert one_line(ran)


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError("timed out"),
        socket.gaierror(-2, "Name or service not known"),
        OSError(101, "Network is unreachable"),
        ConnectionRefusedError(111, "Connection refused"),
    ],
    ids=repr,
)
def test_without_a_connection_nothing_is_in_doubt(
    error: OSError, offline: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even a rental, which is tried again."""
    limits = []

    def connect(address: object, timeout: float, *args: object, **more: object) -> None:
        limits.append(timeout)
        raise error

    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    ran = offline(*RENT_ELSEWHERE, env={"VAST_API_KEY": KEY})
    assert (ran.status, limits) == (5, [10] * 4)
    assert "cannot reach https://service.invalid: " in one_line(ran)


def test_nothing_else_is_connected_to(box: Sandbox, tmp_path: Path) -> None:
    """Not even by borb, which counts its users."""
    log = tmp_path / "log"
    (tmp_path / "sitecustomize.py").write_text(
        f"""
import sys

def note(event, args):
    if event.startswith("socket.") and event != "socket.__new__":
        with open({str(log)!r}, "a") as file:
            print(event, *args[1:] if event == "socket.connect" else args, file=file)

sys.addaudithook(note)
"""
    )
    environ = {**script_environment(box, tmp_path), "PYTHONPATH": str(tmp_path)}
    for words in ("search offers", "generate pdf-invoices -o it.pdf"):
        line = [sys.executable, SCRIPT, *words.split()]
        ran = subprocess.run(line, env=environ, cwd=tmp_path, capture_output=True)
        assert ran.returncode == 0
    port = int(box.url.rpartition(":")[2])
    lines = log.read_text().splitlines()
    asked = [line for line in lines if not line.startswith("socket.bind ")]
    assert set(asked) == {
        f"socket.getaddrinfo 127.0.0.1 {port} 0 1 0",
        f"socket.connect ('127.0.0.1', {port})",
    }


# --- the key

SOURCES = ("option", "VAST_API_KEY", "file", "vendor's file", "XDG file")


def key_from(source: str, key: str, run: Program) -> tuple[list[str], dict[str, Any]]:
    """Puts a key where a source has it; the words and the environment for that."""
    places = {
        "file": ".vast_api_key",
        "vendor's file": ".config/vastai/vast_api_key",
        "XDG file": "xdg/vastai/vast_api_key",
    }
    environ: dict[str, Any] = {"VAST_API_KEY": None}
    if source in places:
        path = run.home / places[source]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(key)
        path.chmod(0o600)
    if source == "XDG file":
        environ["XDG_CONFIG_HOME"] = str(run.home / "xdg")
    if source == "VAST_API_KEY":
        environ["VAST_API_KEY"] = key
    return ["--api-key", key] if source == "option" else [], environ


@pytest.mark.parametrize("source", SOURCES)
def test_where_the_key_comes_from(source: str, box: Sandbox, run: Program) -> None:
    words, environ = key_from(source, f"{KEY}\n", run)
    ran = run("show", "user", *words, env=environ)
    assert (ran.status, ran.err) == (0, "")
    assert box.calls[0].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(("first", "second"), list(itertools.pairwise(SOURCES[:4])))
def test_which_key_goes_first(
    first: str, second: str, box: Sandbox, run: Program
) -> None:
    words, environ = key_from(second, "the-second", run)
    more, other = key_from(first, KEY, run)
    environ["VAST_API_KEY"] = environ["VAST_API_KEY"] or other["VAST_API_KEY"]
    assert run("show", "user", *words, *more, env=environ).status == 0


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    "key",
    ["a b", "secret\nX-Other: 1", "ключ", "sécret", "secret\x00", "se\x7fcret", "a\tb"],
    ids=repr,
)
def test_a_key_that_is_none(source: str, key: str, offline: Program) -> None:
    words, environ = key_from(source, key, offline)
    ran = offline("show", "user", *words, env={**environ, "VAST_URL": NOBODY})
    in_file = source not in ("option", "VAST_API_KEY")
    assert ran.status == (4 if in_file else 2)
    assert key not in one_line(ran)
    assert "secret" not in ran.err
    assert ("vast_api_key: an API key is" in ran.err) is in_file


@pytest.mark.parametrize("content", [None, "", " \n"], ids=repr)
def test_no_key(content: str | None, box: Sandbox, run: Program) -> None:
    if content is not None:
        key_from("file", content, run)
    ran = run("show", "user", env={"VAST_API_KEY": None})
    assert (ran.status, box.connections) == (4, 0)
    assert "set api-key" in one_line(ran)


@pytest.mark.parametrize("content", [b"\xff\xfe", None], ids=["no text", "a folder"])
def test_a_key_file_that_cannot_be_read(
    content: bytes | None, box: Sandbox, run: Program
) -> None:
    path = run.home / ".vast_api_key"
    path.mkdir() if content is None else path.write_bytes(content)
    ran = run("show", "user", env={"VAST_API_KEY": None})
    assert (ran.status, box.connections) == (4, 0)
    assert str(path) in one_line(ran)


def test_netrc_does_not_replace_the_key(
    secure: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password other\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert requests.get(secure.url).request.headers["Authorization"].startswith("Basic")
    assert Program(tmp_path, secure)("show", "user").status == 0
    assert secure.calls[-1].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("command", ["show user", "search offers", "start instance 5"])
def test_a_dry_run_does_not_show_the_key(
    source: str, command: str, box: Sandbox, run: Program
) -> None:
    words, environ = key_from(source, KEY, run)
    for more in ([], ["--raw"]):
        ran = run(*command.split(), *words, *more, "--dry-run", env=environ)
        assert (ran.status, box.connections) == (0, 0)
        assert KEY not in ran.out + ran.err


ECHO = f"your key {KEY} is odd"


@pytest.mark.parametrize("more", ["", "--raw"])
@pytest.mark.parametrize(
    "answer",
    [
        json_reply({"success": False, "error": ECHO, "msg": ECHO}),
        json_reply({"success": False, "error": ECHO, "detail": ECHO}, 400),
        json_reply({"error": "auth_error", "msg": ECHO}, 401),
        text_reply(403, ECHO),
        text_reply(404, f"<html><p>{ECHO}</p></html>"),
        text_reply(429, ECHO, "Retry-After: 100"),
        text_reply(503, ECHO),
        text_reply(302, "", f"Location: https://example.org/?api_key={KEY}"),
    ],
    ids="success-false 400 401 text html 429 503 redirect".split(),
)
def test_the_service_repeats_the_key(
    answer: Reply, more: str, run: Program, plan: Plan
) -> None:
    plan("user", answer, last=True)
    ran = run("show", "user", *more.split())
    assert ran.status
    assert ran.err
    assert KEY not in ran.out + ran.err


@pytest.mark.parametrize("source", SOURCES)
def test_a_report_of_a_crash_does_not_show_the_key(
    source: str, run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one that shows the variables, but for the words that were typed."""

    def crash(body: bytes, exact: bool) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(vast, "decode", crash)
    words, environ = key_from(source, KEY, run)
    with pytest.raises(ZeroDivisionError) as caught:
        run("show", "machines", *words, env=environ)
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    ours = [frame for frame in frames if frame.f_code.co_filename == SCRIPT]
    assert len(ours) > 3
    for frame in ours:
        for name, value in frame.f_locals.items():
            typed = isinstance(value, (list, argparse.Namespace))
            assert typed or KEY not in repr(value), name
    assert KEY not in "".join(traceback.format_exception(caught.value))


# --- the key's file


@pytest.fixture
def key_file(run: Program) -> Path:
    """Return where `set api-key` saves the key."""
    return run.home / ".vast_api_key"


def mode(path: Path) -> int:
    """The permissions of a file, without following a link."""
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
def test_only_the_user_reads_the_key(
    umask: int, key_file: Path, run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the first byte on, whatever the umask."""
    modes = []
    opened = os.open

    def spy(path: Any, *args: Any, **kwargs: Any) -> int:
        descriptor = opened(path, *args, **kwargs)
        if str(path).startswith(str(run.home)):
            modes.append((mode(Path(path)), os.fstat(descriptor).st_size))
        return descriptor

    monkeypatch.setattr(os, "open", spy)
    before = os.umask(umask)
    try:
        ran = run("set", "api-key", KEY, env={"VAST_API_KEY": None})
    finally:
        os.umask(before)
    assert (ran.status, ran.err, KEY in ran.out) == (0, "", False)
    assert modes == [(0o600, 0)]
    assert mode(key_file) == 0o600
    assert key_file.read_text() == f"{KEY}\n"
    assert list(run.home.iterdir()) == [key_file]


@pytest.mark.parametrize("was", [0o644, 0o640, 0o666, 0o777], ids=oct)
def test_a_wide_mode_is_told_and_fixed(was: int, key_file: Path, run: Program) -> None:
    key_file.write_text(KEY)
    key_file.chmod(was)
    ran = run("show", "user", env={"VAST_API_KEY": None})
    assert ran.status == 0
    fix = f"to fix this: chmod 600 {key_file}"
    assert ran.err == f"vast.py: others can read the API key in {key_file}; {fix}\n"
    assert run("set", "api-key", KEY).status == 0
    assert mode(key_file) == 0o600
    assert run("show", "user", env={"VAST_API_KEY": None}).err == ""


def test_a_key_file_of_another_user_is_told(
    key_file: Path, run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_file.write_text(KEY)
    key_file.chmod(0o600)
    info = list(key_file.stat())
    info[stat.ST_UID] = 4711
    monkeypatch.setattr(os, "fstat", lambda descriptor: os.stat_result(info))
    ran = run("show", "user", env={"VAST_API_KEY": None})
    assert ran.status == 0
    assert "others can read the API key" in ran.err


@pytest.mark.parametrize("exists", [True, False], ids=["to a file", "to nowhere"])
def test_a_planted_link_is_replaced(exists: bool, key_file: Path, run: Program) -> None:
    victim = run.home / "victim"
    if exists:
        victim.write_text("precious")
    key_file.symlink_to(victim)
    assert run("set", "api-key", KEY).status == 0
    assert (key_file.is_symlink(), key_file.read_text()) == (False, f"{KEY}\n")
    assert victim.exists() is exists
    assert not exists or victim.read_text() == "precious"


@pytest.mark.parametrize(
    ("step", "number"),
    [("open", 13), ("fsync", 28), ("fsync", 5), ("replace", 30)],
    ids=["no permission", "full disk", "broken disk", "read-only"],
)
def test_a_write_that_fails_leaves_all_as_it_was(
    step: str,
    number: int,
    key_file: Path,
    run: Program,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key_file.write_text("the-old-key\n")

    def fail(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, step, fail)
    ran = run("set", "api-key", KEY)
    assert ran.status == 2
    assert one_line(ran) == f"vast.py: cannot write {key_file}: {os.strerror(number)}\n"
    assert key_file.read_text() == "the-old-key\n"
    assert list(run.home.iterdir()) == [key_file]


@pytest.mark.parametrize("kind", ["missing", "a file"])
def test_a_home_that_is_none(kind: str, run: Program) -> None:
    home = run.home / "home"
    if kind == "a file":
        home.touch()
    ran = run("set", "api-key", KEY, env={"HOME": str(home)})
    assert ran.status == 2
    assert f"cannot write {home}/.vast_api_key: " in one_line(ran)


@pytest.mark.parametrize(
    ("stdin", "status"),
    [
        (f"{KEY}\n", 0),
        (KEY, 0),
        (f"  {KEY}\r\nmore\n", 0),
        ("", 2),
        ("\n", 2),
        ("a b", 2),
    ],
    ids=repr,
)
def test_the_key_from_stdin(
    stdin: str, status: int, key_file: Path, run: Program
) -> None:
    ran = run("set", "api-key", "-", stdin=stdin, env={"VAST_API_KEY": None})
    assert ran.status == status
    assert key_file.exists() is (status == 0)
    assert status or key_file.read_text() == f"{KEY}\n"


def test_the_environment_overrides_the_file(key_file: Path, run: Program) -> None:
    ran = run("set", "api-key", "another-key")
    assert ran.status == 0
    assert ran.err == "vast.py: the environment's VAST_API_KEY overrides the file\n"
    assert key_file.read_text() == "another-key\n"


def test_a_dry_run_saves_no_key(key_file: Path, run: Program) -> None:
    assert run("set", "api-key", KEY, "--dry-run").status == 0
    assert not key_file.exists()


# --- streams and signals


def script(
    box: Sandbox, home: Path, redirection: str, *words: str
) -> subprocess.CompletedProcess[str]:
    """Runs vast.py as a shell does, with a redirection."""
    line = ["sh", "-c", f'exec "$0" "$@" {redirection}', SCRIPT]
    environ = script_environment(box, home)
    return subprocess.run([*line, *words], env=environ, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("redirection", "status", "stream"),
    [
        (">/dev/full", 1, "err"),
        (">&-", 1, "err"),
        ("2>/dev/full", 0, "out"),
        ("2>&-", 0, "out"),
    ],
)
def test_the_id_of_a_rental_is_not_lost(
    redirection: str, status: int, stream: str, box: Sandbox, tmp_path: Path
) -> None:
    ran = script(box, tmp_path, redirection, *create(box))
    assert ran.returncode == status
    streams = {"out": ran.stdout, "err": ran.stderr}
    assert "Created instance 5001\n" in streams[stream]
    assert ("Created" in ran.stdout) is (stream == "out")
    assert "Traceback" not in ran.stderr


def test_a_list_that_cannot_be_written(box: Sandbox, tmp_path: Path) -> None:
    ran = script(box, tmp_path, "<&- >&- 2>&-", "search", "offers", "--raw")
    assert ran.returncode == 1
    assert len(box.calls) == 1


@pytest.mark.parametrize("words", [["search", "offers"], ["help"]])
def test_a_closed_pipe_ends_quietly(
    words: list[str], box: Sandbox, tmp_path: Path
) -> None:
    line = [SCRIPT, *words]
    reading, writing = os.pipe()
    os.close(reading)
    environ = script_environment(box, tmp_path)
    ran = subprocess.run(line, env=environ, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_nobody_is_asked_on_a_closed_stdin(box: Sandbox, tmp_path: Path) -> None:
    number = rent(box)
    ran = script(box, tmp_path, "<&-", "destroy", "instance", str(number))
    assert (ran.returncode, ran.stdout) == (0, f"instance {number}: destroying\n")
    assert script(box, tmp_path, "<&-", "set", "api-key", "-").returncode == 2


# --- what strangers write

HOSTILE = "a\x1b[31mb\x9bc\u202ed\u2066e\r\nf\x00g\x85h\u2028i\x7fj\udc80k"
ESCAPED = r"a\x1b[31mb\x9bc\u202ed\u2066e\r\nf\x00g\x85h\u2028i\x7fj\udc80k"
NO_HTTP = str.maketrans("", "", "\r\n\x00\udc80")
ROW = dict.fromkeys(
    """label status_msg image_uuid gpu_name actual_status ssh_host public_ipaddr
    geolocation hostname driver_version verification gpu_occupancy""".split(),
    HOSTILE,
)


@pytest.fixture
def hostile(box: Sandbox) -> str:
    """A market all of whose texts are hostile; gives the id of an instance."""
    market = box.market
    for offer in market.offers.values():
        offer.odd = ROW
    for machine in market.machines.values():
        machine.hostname = HOSTILE
        odd = {"driver_version": HOSTILE, "public_ipaddr": HOSTILE}
        machine.hardware = {**machine.hardware, **odd}
    market.user |= {"fullname": HOSTILE, "email": HOSTILE, HOSTILE: HOSTILE}
    for row in market.invoices:
        row |= {"description": HOSTILE, "last4": HOSTILE}
    offer = next(offer for offer in market.offers.values() if offer.rental is None)
    order = {"image": HOSTILE, "disk": 10.0, "runtype": "ssh", "label": HOSTILE}
    rental = market.rent(offer, order, next(market.ids), market.user["id"])
    rental.odd = ROW
    return str(rental.id)


def check_harmless(text: str, ascii_only: bool = False) -> None:
    """Nothing but what is seen, in whole lines."""
    assert all(char.isprintable() or char == "\n" for char in text)
    assert text == "" or text.endswith("\n")
    assert not ascii_only or text.isascii()


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ("search offers -n --limit 9", 10),
        ("search offers -n --limit 9 --cols geolocation,hostname", 10),
        ("show instances", 2),
        ("show instances --cols label,status_msg,image_uuid", 2),
        ("show machines", 5),
        ("show machines --cols hostname,driver_version", 5),
        ("show user", None),
        ("show user -q", 1),
        ("show invoices", None),
        ("show invoices --cols description,last4", None),
    ],
)
@pytest.mark.usefixtures("hostile")
def test_tables_show_no_control_characters(
    words: str, lines: int | None, run: Program
) -> None:
    ran = run(*words.split())
    assert ran.status == 0
    check_harmless(ran.out)
    check_harmless(ran.err)
    assert ESCAPED in ran.out
    assert lines is None or ran.out.count("\n") == lines
    # The last column keeps its spaces.
    heading, *others = (len(line.split()) for line in ran.out.splitlines())
    assert heading <= min(others, default=heading)
    raw = run(*words.split(), "--raw")
    check_harmless(raw.out, ascii_only=True)
    assert "-q" in words or HOSTILE in find_texts(json.loads(raw.out))


def find_texts(value: object) -> Iterator[str]:
    """All the texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from find_texts(item)


@pytest.mark.parametrize("more", ["", "--raw"])
@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("ssh-url {}", None),
        ("start instance {} --wait --timeout 9", None),
        ("start instance {}", json_reply({"success": False, "msg": HOSTILE})),
        ("start instance {}", json_reply({"error": HOSTILE, "detail": HOSTILE}, 400)),
        ("start instance {}", json_reply({"error": "auth_error", "msg": HOSTILE}, 401)),
        ("start instance {}", text_reply(400, HOSTILE.translate(NO_HTTP))),
        ("start instance {}", text_reply(429, HOSTILE.translate(NO_HTTP))),
        (
            "start instance {}",
            text_reply(302, "", f"Location: {HOSTILE.translate(NO_HTTP)}"),
        ),
    ],
    ids="address wait success-false slug auth text busy redirect".split(),
)
def test_messages_show_no_control_characters(
    words: str, answer: Reply | None, more: str, hostile: str, run: Program, plan: Plan
) -> None:
    plan("manage", answer, last=True)
    for terminal in (False, True):
        ran = run(*words.format(hostile).split(), *more.split(), terminal=terminal)
        assert ran.status
        check_harmless(ran.out, ascii_only=bool(more))
        check_harmless(ran.err.replace("\r\x1b[K", "\n"))
        assert terminal or len(ran.err.splitlines()) <= 3


TEXTS = (
    "-x|--raw|../../etc/passwd|%s%n%(id)s|{}|{0.__class__}|$(id)|`id`|a  b|';--|\"|\\|="
    "|Łódź 東京|@file|*"
).split("|")


@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_only_texts(text: str, box: Sandbox, run: Program) -> None:
    offer = an_offer(box)
    options = [f"--{name}={text}" for name in ("image", "label", "onstart-cmd")]
    ran = run("create", "instance", str(offer), *options, "--args", text, text)
    assert (ran.status, ran.out) == (0, "Created instance 5001\n")
    sent = [box.calls[0].body[key] for key in ("image", "label", "onstart", "args")]
    assert sent == [text, text, text, [text, text]]
    ran = run("label", "instance", "5001", "--", text)
    assert (ran.status, ran.out) == (0, f"instance 5001: label '{text}'\n")
    assert box.calls[-1].body == {"label": text}
    row = json.loads(run("show", "instances", "--raw").out)[0]
    assert (row["image_uuid"], row["label"]) == (text, text)


def test_two_dashes_are_a_label_too(box: Sandbox, run: Program) -> None:
    assert run("label", "instance", str(rent(box)), "--", "--").status == 0
    assert box.calls[-1].body == {"label": "--"}


# --- onstart files


def onstart(run: Program, box: Sandbox, path: Path | str) -> Ran:
    """Rents an offer with a start-up script."""
    return run(*create(box), "--onstart", str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read {}: No such file or directory"),
        ("folder", "cannot read {}: Is a directory"),
        (b"\xff\xfe#\x00", "{} is not UTF-8 text"),
        (b"#" * 4097, "too long"),
        (b"#" * 10**7, "too long"),
        ("ü".encode() * 4097, "too long"),
    ],
    ids=["missing", "unreadable", "no text", "long", "huge", "long umlauts"],
)
def test_an_onstart_file_that_cannot_be_sent(
    content: bytes | str | None,
    message: str,
    box: Sandbox,
    run: Program,
    tmp_path: Path,
) -> None:
    path = tmp_path / "onstart"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()
    ran = onstart(run, box, path)
    assert (ran.status, box.connections) == (2, 0)
    assert message.format(path) in one_line(ran)


def test_an_endless_onstart_file(box: Sandbox, run: Program) -> None:
    assert onstart(run, box, "/dev/zero").status == 2
    assert box.connections == 0


@pytest.mark.parametrize("text", ["#!/bin/sh\necho %s {}\n", "", "ü" * 4096])
def test_an_onstart_file_is_sent_as_it_is(
    text: str, box: Sandbox, run: Program, tmp_path: Path
) -> None:
    path = tmp_path / "onstart"
    path.write_text(text, encoding="utf-8")
    assert onstart(run, box, path).status == 0
    assert box.calls[0].body["onstart"] == text
