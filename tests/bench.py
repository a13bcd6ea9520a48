"""How fast vast.py is, each figure beside a floor measured in the same run: what Python
itself, a bare script, or borb's own tables take for the same work.

    python tests/bench.py              all of it, about seven minutes
    python tests/bench.py raw PDF      only what has one of these words in its name
    python tests/bench.py --cpu        processor time, where the machine is busy

Exits 1 when an aim is missed by over 15 %. It takes a quiet machine, 3 GB of memory and
the packages of requirements.txt. The service is a process of its own that sends bytes
prepared beforehand, so that it is not what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

Row = dict[str, Any]

SCRIPT = str(Path(__file__).resolve().parent.parent / "vast.py")
TOLERANCE = 1.15  # times an aim: up to there it may be noise
QUICK, OFTEN = 0.5, 5  # what takes fewer seconds is noisier: run it so often a round
INFORMAL = 3  # rounds of what has no aim


# --- 1 -- what is measured -----------------------------------------------------------


class Command(NamedTuple):
    """What is run, how many rows the service answers with, and the exit status that is
    right."""

    name: str
    words: tuple[str, ...]
    rows: int = 0
    status: int = 0


class Measurement(NamedTuple):
    """A line of the table: `ours` may take `aim` times as long as the floor, and so
    many MB; None is no aim. `scale` is how often the floor's work is done in ours."""

    name: str
    ours: Command
    floor: Command
    aim: float | None = None
    memory: int | None = None
    scale: int = 1


def vast(words: str, rows: int = 0, status: int = 0) -> Command:
    """vast.py as people type it, with these words."""
    return Command(f"{rows:,} rows", (SCRIPT, *words.split()), rows, status)


def bare(name: str, code: str, rows: int = 0) -> Command:
    """A program in Python."""
    return Command(name, (sys.executable, "-c", code), rows)


CALL = """\
import os, requests
url = os.environ["VAST_URL"]
headers = {"Authorization": "Bearer " + os.environ["VAST_API_KEY"]}
"""
SEARCH = """\
rows = requests.post(url + "/api/v0/bundles/", json={}, headers=headers).json()
"""
PAGES = """\
session, rows, token = requests.Session(), [], ""
while token is not None:
    query = {"limit": 25, "after_token": token}
    answer = session.get(url + "/api/v1/instances/", params=query, headers=headers)
    page = answer.json()
    rows += page["instances"]
    token = page["next_token"]
"""
TABLES = """\
from borb.pdf import (PDF, Chunk, Document, FixedColumnWidthTable, Page,
                      SingleColumnLayout, UsageStatistics)
UsageStatistics.opt_out()
answer = requests.get(url + "/api/v0/users/me/invoices", headers=headers)
rows, document = answer.json()["invoices"], Document()
for start in range(0, len(rows), 40):
    page, some = Page(), rows[start : start + 40]
    document.append_page(page)
    table = FixedColumnWidthTable(len(some), 5, column_widths=[6, 2, 2, 2, 2])
    for row in some:
        for name in ("description", "timestamp", "quantity", "rate", "amount"):
            text = str(row.get(name))[:40].encode("latin-1", "replace")
            table.append_layout_element(Chunk(text.decode("latin-1"), font_size=8))
    SingleColumnLayout(page).append_layout_element(table)
PDF.write(what=document, where_to="tables.pdf")
"""

IMPORTS = bare("imports of argparse, json, re", "import argparse, json, re")
# Python compiles a script anew at every start: what ./vast.py saves by not being one.
AS_SCRIPT = Command("script", (sys.executable, SCRIPT, "--help"))
BORB = bare("imports of borb, requests", "import borb.pdf, requests")


def search(rows: int) -> Command:
    """A bare script that searches."""
    return bare("bare script", CALL + SEARCH, rows)


def tables(rows: int) -> Command:
    """A bare script that makes a PDF with borb's tables."""
    return bare("borb's tables", CALL + TABLES, rows)


OFFERS, RAW, PDF = "search offers", "search offers --raw", "generate pdf-invoices"
SMALL, LARGE, HUGE = 64, 10_000, 100_000  # offers

MEASUREMENTS = (
    Measurement("--help", vast("--help"), IMPORTS, 1.4),
    Measurement("--version", vast("--version"), IMPORTS, 1.4),
    Measurement("search offers --help", vast("search offers --help"), IMPORTS, 2),
    Measurement("misspelt command", vast("serch offers", status=2), IMPORTS, 2),
    Measurement("set api-key", vast("set api-key 5a4d0c7e"), IMPORTS, 2),
    Measurement("completion bash", vast("completion bash"), IMPORTS, 2),
    Measurement("python vast.py --help", AS_SCRIPT, IMPORTS),
    Measurement("offers, 64 rows", vast(OFFERS, SMALL), search(SMALL), 1.2),
    Measurement("offers --raw, 64 rows", vast(RAW, SMALL), search(SMALL), 1.2),
    Measurement("instances, 200 rows in 8 pages", vast("show instances", 200),
        bare("bare script", CALL + PAGES, 200), 1.3),
    Measurement("offers, 10,000 rows", vast(OFFERS, LARGE), search(LARGE), 1.35, 200),
    Measurement("offers --raw, 10,000 rows", vast(RAW, LARGE), search(LARGE), 1.9, 250),
    # Growth is to be linear, although new memory gets dearer: a bare script takes about
    # 12 times as long for 10 times the rows.
    Measurement("offers, 100,000 rows", vast(OFFERS, HUGE), search(HUGE), 1.35),
    Measurement("offers --raw, 100,000 rows", vast(RAW, HUGE), search(HUGE), 1.9),
    Measurement("offers, 10 times the rows", vast(OFFERS, HUGE), vast(OFFERS, LARGE), 1,
        scale=10),
    Measurement("offers --raw, 10 times the rows", vast(RAW, HUGE), vast(RAW, LARGE), 1,
        scale=10),
    Measurement("bare script, 10 times the rows", search(HUGE), search(LARGE),
        scale=10),
    Measurement("PDF, 1,000 rows", vast(PDF, 1000), BORB, 2),
    Measurement("PDF, 5,000 rows", vast(PDF, 5000), BORB, 3, 100),
    Measurement("PDF, 50,000 rows", vast(PDF, 50_000), vast(PDF, 5000), scale=10),
    Measurement("PDF, 50 rows", vast(PDF, 50), tables(50)),
    Measurement("PDF, 1,000 rows again", vast(PDF, 1000), tables(1000)),
    Measurement("PDF, 5,000 rows again", vast(PDF, 5000), tables(5000)),
)  # fmt: skip


# --- 2 -- the service ----------------------------------------------------------------

PAGE = 25  # instances
PATHS = {
    "/api/v0/bundles/": "offers",
    "/api/v1/instances/": "instances",
    "/api/v0/users/me/invoices": "invoices",
    "/api/v0/users/current/": "user",
}


@cache
def models() -> dict[str, Any]:
    """What the sandbox answers, so that there can be more like each."""
    from urllib.request import Request, urlopen

    from sandbox import Sandbox

    with Sandbox() as box:

        def ask(method: str, path: str, body: object = None) -> Any:
            data = None if body is None else json.dumps(body).encode()
            headers = {"Authorization": f"Bearer {box.key}"}
            request = Request(box.url + path, data, headers, method=method)
            with urlopen(request) as answer:
                return json.load(answer)

        query = {"limit": 1000, "rentable": {"eq": True}}
        offers = ask("POST", "/api/v0/bundles/", query)["offers"]
        for offer in offers[:PAGE]:
            ask("PUT", f"/api/v0/asks/{offer['id']}/", {"image": "ubuntu", "disk": 10})
        period = "owner=me&inc_charges=true&sdate=0"
        return {
            "offers": offers,
            "instances": ask("GET", f"/api/v1/instances/?limit={PAGE}")["instances"],
            "invoices": ask("GET", f"/api/v0/users/me/invoices?{period}")["invoices"],
            "user": ask("GET", "/api/v0/users/current/"),
        }


def many(rows: Sequence[Row], indices: range) -> str:
    """Return a JSON array with a row for each index, all alike but for their ids.

    Compact: 100,000 offers are near the most that vast.py takes in one answer.
    """
    texts = [json.dumps({**row, "id": "ID"}, separators=(",", ":")) for row in rows]
    numbered = (
        texts[index % len(texts)].replace('"ID"', str(10_000_000 + index), 1)
        for index in indices
    )
    return f"[{','.join(numbered)}]"


@cache
def answer(path: str, rows: int, start: int) -> bytes:
    """The whole answer to a call; `start` is where its page starts."""
    key = PATHS[path]
    if key == "user":
        body = json.dumps(models()[key]).encode()
    else:
        end = min(rows, start + PAGE) if key == "instances" else rows
        array = many(models()[key], range(start, end))
        token = json.dumps(str(end) if end < rows else None)
        body = f'{{"success":true,"next_token":{token},"{key}":{array}}}'.encode()
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:"
    return f"{head} {len(body)}\r\n\r\n".encode() + body


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection; the key says how many rows to send."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        rows = int(self.headers["Authorization"].removeprefix("Bearer "))
        url = urlsplit(self.path)
        start = int(parse_qs(url.query).get("after_token", ["0"])[0])
        self.wfile.write(answer(url.path, rows, start))

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def serve() -> None:
    """Be the service: print the port, answer until killed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


@contextmanager
def service() -> Iterator[str]:
    """The address of a service that runs in a process of its own."""
    words = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


# --- 3 -- measuring ------------------------------------------------------------------


class Run(NamedTuple):
    """What one run took: seconds by the clock and of the processor, and MB at most."""

    wall: float
    cpu: float
    memory: float


def measure(command: Command, url: str, folder: str) -> Run:
    """Run a command, its output into a pipe.

    Linux counts the memory of the process that starts another as the other's, so that
    this one stays small, and 20 MB is the least that can be seen.
    """
    environ = {"HOME": folder, "VAST_URL": url, "VAST_API_KEY": str(command.rows)}
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"
    words = command.words
    with tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=errors, cwd=folder, env=environ
        )
        assert process.stdout
        with process.stdout:
            while os.read(process.stdout.fileno(), 1 << 16):
                pass
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != command.status:
            errors.seek(0)
            talk = errors.read().decode(errors="replace")
            sys.exit(f"{words}: exit status {process.returncode}\n{talk}")
    cpu = usage.ru_utime + usage.ru_stime
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(wall, cpu, usage.ru_maxrss * unit / 1e6)


def measured(
    measurements: Sequence[Measurement], rounds: int, url: str
) -> dict[Command, list[Run]]:
    """The runs of each command, interleaved, after one that does not count."""
    wanted: dict[Command, int] = {}
    for each in measurements:
        for command in (each.floor, each.ours):
            least = rounds if each.aim else min(rounds, INFORMAL)
            wanted[command] = max(least, wanted.get(command, 0))
    runs: dict[Command, list[Run]] = {command: [] for command in wanted}
    with tempfile.TemporaryDirectory() as folder:
        first = {command: measure(command, url, folder) for command in wanted}
        for turn in range(rounds * OFTEN):
            if sys.stderr.isatty():
                done = f"\rround {turn // OFTEN + 1} of {rounds} "
                print(done, end="", file=sys.stderr, flush=True)
            for command, least in wanted.items():
                every = 1 if first[command].wall < QUICK else OFTEN
                if turn % every == 0 and turn < least * OFTEN:
                    runs[command].append(measure(command, url, folder))
    return runs


def median(values: Sequence[float]) -> float:
    """The middle value (`statistics` would take the memory that `measure` saves)."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return (ordered[middle] + ordered[~middle]) / 2


class Result(NamedTuple):
    """A measurement's figures: seconds and MB."""

    what: str
    ours: float
    floor: float
    floor_is: str
    ratio: float
    aim: float | None
    memory: float
    memory_aim: int | None
    missed: bool


def result(each: Measurement, runs: dict[Command, list[Run]], cpu: bool) -> Result:
    """The medians of a measurement's runs, and their ratio."""
    ours, floor = (
        median([run.cpu if cpu else run.wall for run in runs[command]])
        for command in (each.ours, each.floor)
    )
    floor *= each.scale
    memory = max(run.memory for run in runs[each.ours])
    missed = any(
        aim is not None and value > aim * TOLERANCE
        for value, aim in ((ours / floor, each.aim), (memory, each.memory))
    )
    times = f"{each.scale} x " * (each.scale > 1)
    return Result(
        each.name, ours, floor, times + each.floor.name, ours / floor, each.aim, memory,
        each.memory, missed,
    )  # fmt: skip


# --- 4 -- the command line -----------------------------------------------------------


def machine() -> str:
    """What it was measured on."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python}, {platform.system()}, {os.cpu_count()} x {model}"


def table(results: Sequence[Result]) -> str:
    """The results for people."""
    heads = ["what", "ours", "floor", "", "ratio", "aim", "MB", "aim", ""]
    lines = [heads]
    for each in results:
        lines.append([
            each.what, f"{each.ours * 1000:.0f} ms", f"{each.floor * 1000:.0f} ms",
            each.floor_is, f"{each.ratio:.2f}", f"{each.aim or '-'}",
            f"{each.memory:.0f}", f"{each.memory_aim or '-'}",
            "MISSED" if each.missed else "",
        ])  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*lines)]
    texts = {"what", ""}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if head in texts else cell.rjust(width)
            for cell, width, head in zip(line, widths, heads)
        ).rstrip()
        for line in lines
    )


def main() -> int:
    """Measure, print, and say whether the aims are met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("words", nargs="*", help="measure only what has one of these")
    parser.add_argument("--runs", type=int, default=9, help="of each command (9)")
    parser.add_argument("--cpu", action="store_true", help="compare processor time")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_intermixed_args()
    if args.serve:
        serve()
    chosen = [
        each
        for each in MEASUREMENTS
        if not args.words or any(word in each.name for word in args.words)
    ]
    with service() as url:
        runs = measured(chosen, args.runs, url)
    results = [result(each, runs, args.cpu) for each in chosen]
    figures = {"machine": machine(), "results": [each._asdict() for each in results]}
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=2) + "\n")
    print(f"\n{table(results)}\n\n{machine()}")
    return int(any(each.missed for each in results))


if __name__ == "__main__":
    sys.exit(main())
