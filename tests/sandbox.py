#!/usr/bin/env python3
"""A stand-in for the Vast.ai service: a little market on 127.0.0.1.

    python3 tests/sandbox.py COMMAND [ARGS...]   run a command against a fresh market
    python3 tests/sandbox.py bash                a shell in which vast.py talks to it
    python3 tests/sandbox.py                     stay up, and print how to get there

The command finds the service through VAST_URL and VAST_API_KEY and has a HOME of its
own; the exit status is the command's (128 + n when signal n ended it). Hosts, machines,
offers and bills are made up, and the same every time but for their dates, which count
from now. Tests use the class Sandbox, which can also switch on faults and rate limits.

What the service knows and does stands in market.py, market_renting.py and
market_account.py. Sections here: 1 all calls, 2 faults, 3 the server, 4 the command
line.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import re
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import market_account
import market_renting
from market import (
    BARE,
    BROKEN_IMAGE,
    DAY,
    GET,
    GONE,
    KEY,
    KEYED,
    TEMPLATE,
    TOKEN,
    Answer,
    Ask,
    Call,
    Market,
    Refused,
    Rental,
    Reply,
    Row,
    Stream,
    error_reply,
    json_reply,
    match_path,
    overlaid,
    parse_json,
    require,
    text_reply,
    wire,
)
from market import CALLS as FIRST_CALLS

# What tests import from here, wherever it is defined.
__all__ = [
    "BROKEN_IMAGE",
    "CALLS",
    "DAY",
    "FAULTS",
    "KEY",
    "TEMPLATE",
    "Answer",
    "Market",
    "Rental",
    "Reply",
    "Row",
    "Sandbox",
    "Stream",
    "json_reply",
    "text_reply",
    "wire",
]

# ---------------------------------------------------------------- 1 all calls

CALLS = {**FIRST_CALLS, **market_renting.CALLS, **market_account.CALLS}


def find_call(method: str, path: str) -> tuple[str, int, tuple[str, ...]]:
    """Return a call's name and what its path says; paths count to the last slash."""
    for name, call in CALLS.items():
        found = match_path(call, path) if call.method == method else None
        if found:
            return name, *found
    return "", 0, ()


class Limiter:
    """Counts the calls that were taken, and says when one comes too soon."""

    def __init__(self) -> None:
        self.taken = {name: deque[float](maxlen=c.burst) for name, c in CALLS.items()}
        self.barred = dict.fromkeys(CALLS, -math.inf)

    def too_soon(self, name: str, now: float) -> bool:
        """Tell whether a call at the time `now` is refused."""
        call, taken = CALLS[name], self.taken[name]
        if now < self.barred[name]:
            return True
        full = len(taken) == call.burst
        if full and now - taken[0] < call.burst * call.threshold:
            self.barred[name] = now + call.penalty
            return True
        taken.append(now)
        return False


# ---------------------------------------------------------------- 2 faults


class Trouble(NamedTuple):
    """What a fault has to work with: the call, its true answer, and the options."""

    call: Call
    reply: Reply
    seconds: float
    body: Any


def too_often(call: Call) -> str:
    """Return the text of a 429; a second where no threshold is documented."""
    return f"API requests too frequent: endpoint threshold={call.threshold or 1.0}"


def quota(t: Trouble) -> Reply:
    """Return a 429 for the rest of the day, which ends at a unix time."""
    reset = f"X-RateLimit-Reset: {int(time.time() + t.seconds)}"
    return error_reply(429, "search_quota_exceeded", "no searches are left", reset)


def cut(t: Trouble) -> Stream:
    """Return an answer that ends before its announced length."""
    half = t.reply._replace(body=t.reply.body[: len(t.reply.body) // 2])
    return Stream([wire(half, len(t.reply.body))])


def endless(head: bytes, piece: bytes, pause: float) -> Stream:
    """Return an answer that goes on in pieces until the client goes away."""
    return Stream(itertools.chain([head], itertools.repeat(piece)), pause)


def decoded(raw: bytes) -> Any:
    """Return the JSON value of a body, None when there is none."""
    try:
        return json.loads(raw)
    except ValueError:
        return None


def with_vital(t: Trouble, value: Any) -> Reply:
    """Return the true answer with another value, or GONE, under its vital key.

    Where the whole answer is vital, the value is the answer, or an object without rows.
    """
    if not t.call.vital:
        return json_reply({"success": True} if value is GONE else value)
    true = decoded(t.reply.body)
    return json_reply(
        overlaid(true if isinstance(true, dict) else {}, {t.call.vital: value})
    )


def with_odd(t: Trouble, value: bytes) -> Reply:
    """Return the true answer with one more value at its end."""
    body = t.reply.body
    if body.endswith(b"}"):
        body = body[:-1] + b', "odd": ' + value + b"}"
    elif body.endswith(b"]"):
        body = body[:-1] + (b", " if len(body) > 2 else b"") + value + b"]"
    else:
        body += value
    return t.reply._replace(body=body)


def any_body(t: Trouble) -> Reply:
    """Return the body that the test gave, as bytes or as a JSON value."""
    return Reply(200, t.body) if isinstance(t.body, bytes) else json_reply(t.body)


BAD_GATEWAY = text_reply(502, "<html>\r\n<title>502 Bad Gateway</title>\r\n</html>\r\n")
DRIP_HEAD = b"HTTP/1.1 200 OK\r\nX-Slow: "
ELSEWHERE = "Location: http://127.0.0.2:9/"
BIG_HEAD = wire(Reply(200, b"{"), length=10**6)
HUGE_HEAD = wire(Reply(200, b"{"), length=300 * 10**6)
BLANKS = b" " * 65536
BAD_KEY = "auth_error", "Invalid user key"
TWO_FACTORS = "Two Factor Authentication is required"
RETIRED = "deprecated_endpoint", "this call is retired"

# Of each kind: whether the market's work is done first, and what is answered.
FAULTS: dict[str, tuple[bool, Callable[[Trouble], Answer]]] = {
    # Too busy, or behind a broken proxy.
    "429_text": (False, lambda t: text_reply(429, too_often(t.call))),
    "429_detail": (False, lambda t: json_reply({"detail": too_often(t.call)}, 429)),
    "429_json": (
        False,
        lambda t: error_reply(429, "rate_limit_exceeded", too_often(t.call)),
    ),
    "429_retry_after": (
        False,
        lambda t: text_reply(429, too_often(t.call), f"Retry-After: {t.seconds:g}"),
    ),
    "429_quota": (False, quota),
    "500": (False, lambda t: text_reply(500, "Internal Server Error")),
    "501": (False, lambda t: text_reply(501, "Not Implemented")),
    "502": (False, lambda t: BAD_GATEWAY),
    "503": (False, lambda t: text_reply(503, "Service Unavailable")),
    "504": (False, lambda t: text_reply(504, "Gateway Time-out")),
    # The caller cannot tell whether the work was done.
    "502_after": (True, lambda t: BAD_GATEWAY),
    "drop_before": (False, lambda t: Stream(())),
    "drop_after": (True, lambda t: Stream(())),
    "cut": (False, cut),
    "cut_after": (True, cut),
    # Slow, or without an end.
    "slow": (True, lambda t: t.reply._replace(delay=t.seconds)),
    "drip_headers": (True, lambda t: endless(DRIP_HEAD, b"z", t.seconds)),
    "drip_body": (True, lambda t: endless(BIG_HEAD, b" ", t.seconds)),
    "huge": (True, lambda t: endless(HUGE_HEAD, BLANKS, 0.0)),
    # Answers in a shape that nobody expects.
    "not_json": (True, lambda t: Reply(200, b"All is well!")),
    "empty": (True, lambda t: Reply(200, b"")),
    "array": (True, lambda t: Reply(200, b"[]")),
    "string": (True, lambda t: Reply(200, b'"x"')),
    "number": (True, lambda t: Reply(200, b"7")),
    "null": (True, lambda t: Reply(200, b"null")),
    "deep": (True, lambda t: Reply(200, b"[" * 100000 + b"]" * 100000)),
    "nan": (True, lambda t: with_odd(t, b"NaN")),
    "bad_encoding": (True, lambda t: with_odd(t, b'"\xff\xfe"')),
    "no_list": (True, lambda t: with_vital(t, GONE)),
    "bad_list": (True, lambda t: with_vital(t, "some text")),
    "bad_rows": (True, lambda t: with_vital(t, [1, 2, 3])),
    "html": (True, lambda t: text_reply(200, "<html><body>Log in</body></html>")),
    "204": (True, lambda t: text_reply(204, "")),
    "body": (True, any_body),
    # Redirections and refusals.
    "redirect": (False, lambda t: text_reply(302, "", "Location: /api/v0/moved/")),
    "redirect_away": (False, lambda t: text_reply(307, "", ELSEWHERE)),
    "401": (False, lambda t: error_reply(401, *BAD_KEY)),
    "401_2fa": (False, lambda t: error_reply(401, "auth_error", TWO_FACTORS)),
    "403": (False, lambda t: text_reply(403, "Forbidden")),
    "404": (False, lambda t: error_reply(404, "not_found", "there is no such thing")),
    "404_auth": (False, lambda t: error_reply(404, *BAD_KEY)),
    "410": (False, lambda t: error_reply(410, *RETIRED)),
    "refused": (False, lambda t: error_reply(200, "not_today", "the sandbox refuses")),
}


@dataclass
class Armed:
    """A fault that waits for calls: it lets `after` of them pass, then hits `times`."""

    name: str
    kind: str
    times: float
    after: int
    seconds: float
    body: Any

    def hits(self, name: str) -> bool:
        """Count a call; tell whether the fault hits it."""
        if self.name not in (name, "*") or self.times < 1:
            return False
        if self.after:
            self.after -= 1
            return False
        self.times -= 1
        return True


# ---------------------------------------------------------------- 3 the server


class Seen(NamedTuple):
    """A request as it came in; `name` is empty when the service has no such call."""

    name: str
    method: str
    path: str
    query: dict[str, str]
    headers: Message
    body: Any
    raw: bytes


class Sandbox:
    """The service on a free port of 127.0.0.1, for as long as the context lasts.

    `calls` are the requests so far, and `violations` says which of them sent the key,
    or a cookie, where it must not go.
    """

    def __init__(
        self,
        market: Market | None = None,
        *,
        limits: bool = False,
        boot: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.market = market or Market()
        self.market.run_on(clock, boot)
        self.limiter = Limiter() if limits else None
        self.key = KEY
        self.lock = threading.Lock()
        self.clear()
        self.server = Server(self)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.market.url = self.url

    def __enter__(self) -> Sandbox:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.server.open):
            with contextlib.suppress(OSError):  # it went away by itself
                connection.shutdown(socket.SHUT_RDWR)

    def clear(self) -> None:
        """Disarm the faults, and forget the requests and connections so far."""
        self.faults: list[Armed] = []
        self.calls: list[Seen] = []
        self.violations: list[str] = []
        self.connections = 0

    def fault(
        self,
        name: str,
        kind: str,
        *,
        times: int | None = 1,
        after: int = 0,
        seconds: float = 1.0,
        body: Any = None,
    ) -> None:
        """Have calls of a name ("*": any) go wrong; `times` None means for ever."""
        if kind not in FAULTS or name not in {"*", *CALLS}:
            raise ValueError(f"no fault {kind!r} of {name!r}")
        many = math.inf if times is None else times
        self.faults.append(Armed(name, kind, many, after, seconds, body))

    def take(self, method: str, target: str, headers: Message, raw: bytes) -> Answer:
        """Record a request, do what it asks for, and answer; or let a fault do so."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        name, ident, words = find_call(method, parts.path)
        seen = Seen(name, method, parts.path, query, headers, decoded(raw), raw)
        with self.lock:
            self.calls.append(seen)
            if not name:
                return text_reply(404, "Not Found")
            armed = next((fault for fault in self.faults if fault.hits(name)), None)
            if armed is None:
                return self.answer(seen, ident, words)
            work_is_done, play = FAULTS[armed.kind]
            nothing = json_reply({"success": True})
            reply = self.answer(seen, ident, words) if work_is_done else nothing
            return play(Trouble(CALLS[name], reply, armed.seconds, armed.body))

    def answer(self, seen: Seen, ident: int, words: tuple[str, ...]) -> Reply:
        """Do the work and return the answer; for `ident` and `words` see Ask."""
        call = CALLS[seen.name]
        stopped = self.turned_away(seen, call)
        if stopped:
            return stopped
        try:
            owned = not call.owned or seen.query.get("owner") == "me"
            require(owned, "owner=me is missing")
            require(seen.method != GET or not seen.raw, "a GET has no body")
            body = {} if seen.method == GET else parse_json(seen.raw, dict, "the body")
            headers = {name.lower(): text for name, text in seen.headers.items()}
            ask = Ask(self.market, ident, seen.query, body, words, headers)
            value = call.work(ask)
        except Refused as error:
            return error.reply
        return value if isinstance(value, Reply) else json_reply(value)

    def leaks(self, seen: Seen, access: str) -> bool:
        """Tell whether a request brings credentials that it must not bring."""
        banned = {"cookie"} if access == TOKEN else {"cookie", "authorization"}
        told = " ".join([seen.path, *seen.query.values(), *seen.headers.values()])
        return self.key in told or any(name.lower() in banned for name in seen.headers)

    def turned_away(self, seen: Seen, call: Call) -> Reply | None:
        """Return the answer when the key is wrong, the call retired or too early."""
        name, market, given = seen.name, self.market, seen.headers.get("Authorization")
        if call.access in (TOKEN, BARE) and self.leaks(seen, call.access):
            self.violations.append(f"{seen.method} {seen.path}: credentials were sent")
            return text_reply(400, "Only one auth mechanism allowed")
        body = seen.body if isinstance(seen.body, dict) else {}
        for where, given_there in (("query", seen.query), ("body", body)):
            if "api_key" in given_there:
                where = f"{seen.method} {seen.path}: the key in the {where}"
                self.violations.append(where)
                return error_reply(400, "invalid_args", "the key belongs in the header")
        if call.access == KEYED and given is None:
            return error_reply(403, "auth_error", "This action requires login.")
        if call.access == KEYED:
            stopped = market_account.locked_out(market, name, given or "", self.key)
            if stopped:
                return stopped
        if name in market.retired and name == "instances":
            return text_reply(404, "Not Found")
        if name in market.retired:
            return error_reply(410, *RETIRED)
        if self.limiter and self.limiter.too_soon(name, market.clock()):
            return text_reply(429, too_often(call))
        return None


class Handler(BaseHTTPRequestHandler):
    """Reads the requests of one connection and writes the answers."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def exchange(self) -> None:
        """Answer one request."""
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.server.box.take(self.command, self.path, self.headers, raw)
        if isinstance(answer, Reply):
            if not self.server.stopped.wait(answer.delay):
                self.wfile.write(wire(answer))
            return
        self.close_connection = True
        for piece in answer.pieces:
            self.wfile.write(piece)
            if self.server.stopped.wait(answer.pause):
                return

    do_GET = do_PUT = do_POST = do_DELETE = exchange

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Server(socketserver.ThreadingTCPServer):
    """Accepts the connections, and knows which of them are open."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, box: Sandbox) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.box = box
        self.stopped = threading.Event()
        self.closed = threading.Event()
        self.open: set[socket.socket] = set()

    def serve_forever(self, poll_interval: float = 0.0) -> None:
        """Accept connections until the shutdown, which need not wait for a poll."""
        while not self.stopped.is_set():
            self.handle_request()
        self.closed.set()

    def shutdown(self) -> None:
        """Accept no more connections; return as soon as that is so."""
        if not self.stopped.is_set():
            self.stopped.set()
            # It waits for a connection: here is one.
            socket.create_connection(("127.0.0.1", self.server_address[1])).close()
            self.closed.wait()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Tell whether a connection is of any use."""
        return not self.stopped.is_set()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Count a connection, and answer its requests in a thread."""
        self.box.connections += 1
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, and forget it."""
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a client goes away; that is its right."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


# ---------------------------------------------------------------- 4 the command line


def environment(box: Sandbox, home: str) -> dict[str, str]:
    """Return the environment in which a command finds the sandbox and an empty HOME."""
    dropped = re.compile("XDG_CONFIG_HOME|(https?|all|no)_proxy", re.IGNORECASE)
    kept = {k: v for k, v in os.environ.items() if not dropped.fullmatch(k)}
    # Not the real path of the interpreter: in a virtual environment it is a link.
    here = os.path.dirname(os.path.abspath(sys.executable))
    path = os.pathsep.join([here, os.environ.get("PATH", os.defpath)])
    return {**kept, "HOME": home, "PATH": path, **exports(box)}


def exports(box: Sandbox) -> dict[str, str]:
    """Return the variables that point vast.py at the sandbox."""
    return {"VAST_URL": box.url, "VAST_API_KEY": box.key}


def run(command: Sequence[str], box: Sandbox) -> int:
    """Run a command in a home of its own; return its exit status."""
    # Ctrl-C is for the command. Unlike SIG_IGN, a handler is not inherited by it.
    before = signal.signal(signal.SIGINT, lambda signum, frame: None)
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
            status = subprocess.run(command, env=environment(box, home)).returncode
    except OSError as error:
        print(f"sandbox.py: {command[0]}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    finally:
        signal.signal(signal.SIGINT, before)
    return 128 - status if status < 0 else status


def main(argv: Sequence[str]) -> int:
    """Run the command; without one, stay up until Ctrl-C."""
    with Sandbox() as box:
        if argv:
            return run(argv, box)
        with contextlib.suppress(KeyboardInterrupt):
            for name, value in exports(box).items():
                print(f"export {name}={value}", flush=True)
            threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
