"""One answer or one argument that no part of the program was made for: never more than
a line on stderr, and never a traceback."""

from __future__ import annotations

import io
import json
from pathlib import Path
from random import Random
from typing import Any

import fuzz
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

import vast
from conftest import Plan, Program, Stream, create, names, one_line, rent
from sandbox import Reply, Sandbox, json_reply
from sandbox import Stream as Wire

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
USER = b'{"id": 1, "balance": 1.5}'


# --- the wire


def chunked(size: bytes) -> bytes:
    """Return an answer whose first chunk says that it has such a size."""
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    return head + size + b"\r\n" + USER + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "size",
    [b"-5", b"-1", b"-ffffffffffffffff", b"", b"x", b"0x19", b"1_9", b"f" * 400,
     b"19;" + b"e" * 70000, b" 19", b"+19", b"\xff"],
    ids=lambda size: repr(size[:20]),
)  # fmt: skip
def test_a_chunk_of_an_odd_size(
    size: bytes, box: Sandbox, run: Program, plan: Plan
) -> None:
    plan("user", Wire([chunked(size)]), last=True)
    ran = run("show", "user", "-q")
    assert ran.status in (0, 5)
    assert ran.status == 0 or one_line(ran)
    plan("create", Wire([chunked(size)]))
    ran = run(*create(box))
    assert ran.status == 6
    assert names(box).count("create") == 1


@pytest.mark.parametrize(
    "cookie",
    [b"a=b; Max-Age", b"a=b; Max-Age=x", b"a=b; Expires=" + b"9" * 30, b"", b"=",
     b"a=b; Domain", b"a=b; Max-Age=" + b"9" * 400, b"\xff=\xfe", b";;;",
     b"a=b; Port; Version"],
    ids=lambda cookie: repr(cookie[:20]),
)  # fmt: skip
@pytest.mark.parametrize("name", [b"Set-Cookie", b"set-cookie", b"Set-Cookie2"])
@pytest.mark.filterwarnings("error")  # Python's cookies print their tracebacks as such
def test_a_cookie(
    name: bytes, cookie: bytes, box: Sandbox, run: Program, plan: Plan
) -> None:
    """Cookies are of no use here, and none is sent back."""
    length = b"Content-Length: %d\r\n\r\n" % len(USER)
    wire = HEAD + name + b": " + cookie + b"\r\n" + length + USER
    body = b'{"success": true, "new_contract": 5001}'
    offer = wire.replace(
        length + USER, b"Content-Length: %d\r\n\r\n" % len(body) + body
    )
    plan("user", Wire([wire]))
    plan("create", Wire([offer]))
    assert run("show", "user", "-q").out == "1 - 1.50 -\n"
    ran = run(*create(box))
    assert (ran.status, ran.out) == (0, "Created instance 5001\n")
    assert not any("cookie" in map(str.lower, seen.headers) for seen in box.calls)


@pytest.mark.parametrize(
    "after",
    ["Mon, 01 Jan 99999999999999 00:00:00 GMT", "9" * 400, "-" + "9" * 400, "1e999",
     "Mon, 01 Jan 0000 00:00:00 GMT", "Mon, 99 Foo 2026 99:99:99 +9999", ",", "0",
     "Mon, 01 Jan 2026 00:00:00 +" + "9" * 20, "Mon", "a,b,c,d,e,f", "١٢", "nan",
     "inf", " "],
)  # fmt: skip
@pytest.mark.parametrize("header", ["Retry-After", "X-RateLimit-Reset"])
def test_a_time_to_wait_that_is_none(
    header: str, after: str, run: Program, plan: Plan
) -> None:
    line = f"{header}: {after}".encode().decode("latin-1")
    body = "Content-Length: 0\r\n\r\n"
    answer = f"HTTP/1.1 429 Too Many Requests\r\n{line}\r\n{body}".encode("latin-1")
    plan("machines", Wire([answer]), None)
    ran = run("show", "machines")
    assert ran.status in (0, 5)
    assert ran.status == 0 or "too many requests" in one_line(ran)


@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n")))
def test_any_time_to_wait(after: str) -> None:
    response = requests.Response()
    response.headers.update({"Retry-After": after, "X-RateLimit-Reset": after})
    wait, _ = vast.waiting_time(response, "", 1.8e9)
    assert wait == wait  # a number


# --- values


@pytest.mark.parametrize(
    "token", ["\ud800", "a\nb", "\x00", 5, 1.5, True, {}, {"a": 1}, [[]], "\u202e"]
)
def test_a_page_token_that_is_none(token: object, run: Program, plan: Plan) -> None:
    page = {"success": True, "instances": [{"id": 1}], "next_token": token}
    plan("instances", json_reply(page), last=True)
    ran = run("show", "instances", "-q")
    assert ran.status == (1 if token else 0)
    assert token in ({}, [[]]) or one_line(ran) if token else True


HUGE = 10**4000
ODD_NUMBERS = [
    10**400, HUGE, -HUGE, 1e308, -1e308, 5e-324, 10**18, "1" * 5000, "9" * 400, "1e999",
    "nan", "-inf", "Infinity", "0x10", "१२", "1_000", True, [], {}, [HUGE], {"a": HUGE},
    "", " ", "-", "\ud800", "\x00", None, float(2**53),
]  # fmt: skip


@pytest.mark.parametrize("value", ODD_NUMBERS, ids=lambda value: repr(value)[:12])
@pytest.mark.parametrize(
    ("command", "call", "key"),
    [
        ("search offers", "search", "offers"),
        ("show instances", "instances", "instances"),
        ("show machines", "machines", "machines"),
    ],
)
def test_any_value_in_every_column(
    command: str,
    call: str,
    key: str,
    value: object,
    run: Program,
    plan: Plan,
) -> None:
    """Each field of a row at once, among rows of ordinary ones."""
    listing = vast.COMMAND_BY_NAME[command].run
    assert isinstance(listing, vast.Listing)
    fields = {name for column in listing.columns for name in column.field.split("|")}
    fields |= set("id start_date end_date gpu_ram gpu_totalram gpu_total_ram ports"
                  " ssh_host ssh_port public_ipaddr image_runtype".split())  # fmt: skip
    odd = dict.fromkeys(fields, value)
    body = json.dumps({key: [odd, {"id": 7}, odd]}).encode()
    plan(call, Reply(200, body), last=True)
    ran = run(*command.split(), "--raw")
    assert (ran.status, len(json.loads(ran.out))) == (0, 3), ran.err
    for terminal in (False, True):
        ran = run(*command.split(), terminal=terminal)
        assert (ran.status, ran.out.count("\n")) == (0, 4), ran.err
        assert ran.out.replace("\n", "").isprintable()
    assert run(*command.split(), "-q").status == 0


def test_memory_of_many_and_huge_gpus(run: Program, plan: Plan) -> None:
    """The product of two numbers may be longer than Python prints."""
    row = {"id": 1, "gpu_ram": HUGE, "num_gpus": HUGE, "gpu_total_ram": None}
    plan("search", Reply(200, json.dumps({"offers": [row, {"id": 2}]}).encode()))
    ran = run("search", "offers", "--cols", "ID,N,VRAM")
    assert ran.status == 0, ran.err
    assert len(ran.out.splitlines()) == 3


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
FORMATS = [".1f", ".4f", "d", "dx", ".0f", ""]


@given(ANY, st.sampled_from(FORMATS), st.sampled_from([1, 100, 1 / 1000, 1 / 86400]))
def test_any_value_is_a_cell(value: Any, format: str, scale: float) -> None:
    shown = vast.cell(value, format and f"%{format}", scale)
    assert shown
    assert " " not in shown
    assert shown.isprintable()


@given(ANY, ANY)
def test_any_row_has_an_age_and_an_address(first: Any, second: Any) -> None:
    row = {"start_date": first, "gpu_ram": first, "num_gpus": second, "ports": first}
    row |= {"ssh_host": first, "ssh_port": second, "image_runtype": second}
    for column in (*vast.INSTANCE_COLUMNS, *vast.OFFER_COLUMNS):
        column.values([row], 1.8e9)


# --- arguments

DIGITS = "9" * 5000
BAD_ARGUMENTS = {
    "list machine 7101 -g 1 --end_date {digits}": 2,
    "list machine 7101 -g 1 --duration {digits}": 2,
    "list machine 7101 -g {digits}": 2,
    "list machine {digits} -g 1": 2,
    "list machine 7101 -m {digits}": 2,
    "show invoices -s 10:99999999999999999999999999999999": 2,
    "show invoices -s {digits}": 2,
    "show invoices -e -{digits}": 2,
    "show invoices -s 2026-01-01T00:00:00+99999999999999": 2,
    "show invoices -s 0x10": 2,
    "search offers num_gpus={digits}": 2,
    "search offers gpu_ram={digits}": 2,
    "search offers gpu_ram=1e{digits}": 2,
    "search offers driver_version={digits}": 2,
    "search offers --limit {digits}": 2,
    "search offers --storage {digits}": 2,
    "search offers --storage nan": 2,
    "search offers --retry {digits}": 2,
    "create instance {digits} --image it": 2,
    "create instance 1 --image it --price {digits}": 2,
    "create instance 1 --image it --disk {digits}": 2,
    "create instance 1 --image it --max-price 1e400": 2,
    "start instance 5 --wait --timeout {digits}": 2,
    "change bid 5 --price {digits}": 2,
    "update instance 5 --env {deep}": 2,
    "update instance 5 --env {digits}": 2,
    "prepay instance 5 {digits}": 2,
    "stop instance 5 --schedule DAILY --hour {digits}": 2,
    "stop instance 5 --schedule DAILY --start_date {digits}": 2,
}


@pytest.mark.parametrize(
    ("line", "status"), BAD_ARGUMENTS.items(), ids=[line[:50] for line in BAD_ARGUMENTS]
)
def test_an_argument_that_is_too_much(
    line: str, status: int, box: Sandbox, run: Program
) -> None:
    words = [word.format(digits=DIGITS, deep='{"a":' * 9999) for word in line.split()]
    ran = run(*words)
    assert ran.status == status, ran.err
    if status:
        assert box.calls == []
        assert len(ran.err.splitlines()) in (1, 3)  # a query has its caret
        assert "lambda" not in ran.err
        assert "invalid" in ran.err or "compared with" in ran.err


def test_what_is_too_long_is_shown_in_part(offline: Program) -> None:
    ran = offline("list", "machine", "7101", "--duration", DIGITS)
    assert len(one_line(ran)) < 300
    assert "invalid duration '999" in ran.err


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
@pytest.mark.parametrize("text", ["ключ", "schlüssel", "key"])
def test_another_encoding_on_stdin(
    encoding: str, text: str, tmp_path: Path, offline: Program
) -> None:
    """As a text editor may have saved the key."""
    content = text.encode(encoding, "replace") + b"\n"
    stdin = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")
    err = Stream()
    env = vast.Environment(Stream(), err, stdin, {"HOME": str(tmp_path)})
    status = vast.main(["set", "api-key", "-"], env)
    ascii_only = encoding == "latin-1" and text != "schlüssel"
    assert status == (0 if ascii_only else 2)
    assert status == 0 or err.text().count("\n") == 1
    assert text not in err.text().replace("an API key", "")


def test_an_answer_at_the_terminal_in_another_encoding(
    box: Sandbox, tmp_path: Path, run: Program
) -> None:
    number = rent(box)
    stdin = Stream(terminal=True)
    buffer = stdin.detach()
    buffer.write(b"\xff\xfe\n")
    buffer.seek(0)  # type: ignore[attr-defined]
    terminal = Stream(terminal=True)
    odd = io.TextIOWrapper(buffer, encoding="utf-8")
    odd.isatty = terminal.isatty  # type: ignore[method-assign]
    env = vast.Environment(Stream(), Stream(), odd, run.environ)
    assert vast.main(["destroy", "instance", str(number)], env) == 2
    assert box.market.destroyed == []


# --- the thread that carries a request


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError(), MemoryError(), SystemExit(3), KeyError("x"), RecursionError(),
     UnicodeError("odd"), AssertionError("odd"), StopIteration(), LookupError()],
    ids=repr,
)  # fmt: skip
@pytest.mark.filterwarnings("error")  # threads print what they do not hand over
def test_every_exception_is_handed_over(
    error: BaseException, box: Sandbox, run: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a library raises there ends as one line, and a change is in doubt."""

    def broken(*args: object, **more: object) -> None:
        raise error

    words = create(box)
    monkeypatch.setattr(requests.Response, "iter_content", broken)
    ran = run("show", "user")
    assert ran.status == 5
    assert one_line(ran)
    ran = run(*words)
    assert ran.status == 6
    assert one_line(ran)


# --- numbers that a shell reads


def test_show_user_q_is_for_awk(box: Sandbox, run: Program) -> None:
    box.market.user |= {"balance": 12345.5, "credit": -9876543.25}
    user = box.market.user
    ran = run("show", "user", "-q")
    assert ran.out == f"{user['id']} {user['email']} 12345.50 -9876543.25\n"
    assert [float(word) for word in ran.out.split()[2:]] == [12345.5, -9876543.25]


@pytest.mark.parametrize("value", [HUGE, "a b", None, [], {"a": "\x1b"}, True, 1e-7])
def test_show_user_q_is_one_line_of_four_words(
    value: object, run: Program, plan: Plan
) -> None:
    user = {"id": 1, "email": value, "balance": value, "credit": value}
    plan("user", Reply(200, json.dumps(user).encode()))
    ran = run("show", "user", "-q")
    assert (ran.status, len(ran.out.split()), ran.out.count("\n")) == (0, 4, 1)


def test_a_short_fuzz() -> None:
    """Two hundred runs of commands whose answers are changed on the way."""
    assert fuzz.fuzz_answers(200, Random(1)) == 0
