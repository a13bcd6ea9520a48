#!/usr/bin/env python3
"""The soak: 2,000 commands in a row against a service that fails one call in ten.

    python3 tests/soak.py [--commands N] [--seed N]

Somebody rents instances, waits for them, uses them and destroys them, while every fault
of the sandbox strikes at random (but the same with the same seed). After each command
the sandbox's ledger is held against what the exit status said; after status 6 somebody
looks, as the message says, and must find what was rented; after a wait that failed, the
message must name what was rented. Waiting takes no time. Prints its figures; exit
status 1 when anything was lost, double or other than the program said.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from random import Random

import conftest  # which says where vast.py is
import vast
from sandbox import FAULTS, Answer, Rental, Sandbox

SHARE = 0.1  # of the calls go wrong
MOST = 30  # instances at a time
BOOT = 9.0  # seconds until an instance is up
WAIT = ["--wait", "--timeout", "60"]
# What the client waits for in real time, in seconds, and the bytes that it takes.
LIMITS = {
    "READ_TIMEOUT": 0.3, "TOTAL_TIMEOUT": 0.8, "SLOWEST": 10**9, "LARGEST": 10**6
}  # fmt: skip

# What can be done with an instance, and how to see that it was; the last of the words
# is what was wanted.
WORK: tuple[tuple[str, Callable[[Rental, str], bool]], ...] = (
    ("start instance {}", lambda rental, _: rental.order != "stop"),
    ("stop instance {}", lambda rental, _: rental.order == "stop"),
    ("label instance {} {label}", lambda rental, want: rental.row["label"] == want),
    ("change bid {} --price {price}", lambda r, bid: r.row["min_bid"] == float(bid)),
)
CAN_WAIT = ("start", "stop")


class PassingClock(conftest.Clock):
    """The real time, in which sleeping takes none. Without it no drip would ever take
    too long."""

    def now(self) -> float:
        return time.time() + sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept[:] = [sum(self.slept) + seconds]


class Unreliable(Sandbox):
    """A sandbox in which faults strike at random; `served` lists the calls, each with
    the fault that struck it or None."""

    def __init__(self, dice: Random) -> None:
        super().__init__()
        self.dice = dice
        self.served: list[tuple[str, str | None]] = []

    def take(self, method: str, target: str, headers: Message, raw: bytes) -> Answer:
        kind = None
        if self.dice.random() < SHARE:
            # A repeated DELETE that meets a 404 counts as done: let that be true.
            kinds = [fault for fault in FAULTS if (method, fault) != ("DELETE", "404")]
            kind = self.dice.choice(kinds)
            self.fault("*", kind, seconds=5)
        answer = super().take(method, target, headers, raw)
        self.served.append((self.calls[-1].name, kind))
        return answer


class Soak:
    """A user at work, and the auditor who compares the user's books with the service's.
    `known` are the instances that the user knows of."""

    def __init__(self, box: Unreliable, home: Path, dice: Random) -> None:
        self.box, self.market, self.dice = box, box.market, dice
        self.program = conftest.Program(home, box)
        self.program.clock = PassingClock()
        self.market.run_on(self.program.clock.now, BOOT)
        self.known: set[int] = set()
        self.statuses: Counter[int] = Counter()
        self.creates: Counter[int] = Counter()
        self.waits: Counter[int] = Counter()  # of `create --wait`
        self.found = 0  # instances that only looking brought to light
        self.wrong: list[str] = []

    def run(self, *words: object) -> conftest.Ran:
        """Run a command, and check what holds for each."""
        ran = self.program(*map(str, words))
        self.statuses[ran.status] += 1
        self.check(ran.status in (0, 1, 3, 4, 5, 6), "no such status", words, ran)
        self.check(ran.status == 0 or bool(ran.err), "silent", words, ran)
        self.check("Traceback" not in ran.err, "a traceback", words, ran)
        return ran

    def check(self, good: bool, what: str, *about: object) -> None:
        """Note a discrepancy unless all is good."""
        if not good:
            self.wrong.append(f"{what}: {' '.join(map(str, about))}")

    def alive(self) -> dict[int, Rental]:
        """Return the user's instances, as the service knows them."""
        rentals, user = self.market.rentals, self.market.user["id"]
        return {number: r for number, r in rentals.items() if r.owner == user}

    def look(self) -> None:
        """List the instances until that works. No list may be wrong."""
        ran = self.run("show", "instances", "-q")
        while ran.status:
            ran = self.run("show", "instances", "-q")
        listed = set(map(int, ran.out.split()))
        self.check(listed == set(self.alive()), "the list is wrong", ran)
        self.known = listed

    def rental(self) -> tuple[list[str], bool]:
        """Return words that rent an offer, and whether they name a label."""
        free = [o.row for o in self.market.offers.values() if not (o.rental or o.odd)]
        row = self.dice.choice(free)
        words = ["create", "instance", str(row["id"]), "--image", "it"]
        if self.dice.random() < 0.2:
            sought = next(row for row in free if row["verified"])
            gpu = ["-g", sought["gpu_name"].replace(" ", "_")]
            count = ["-n", str(sought["num_gpus"])]
            words = ["launch", "instance", *gpu, *count, "-i", "it"]
        label = self.dice.random() < 0.5
        words += [f"--label=job-{len(self.box.served)}"] * label
        words += ["--max-price", "1000"] * self.dice.randrange(2)
        words += WAIT * self.dice.randrange(2)
        return words, label

    def create(self) -> None:
        """Rent an offer, with a label or without, and wait for it or not."""
        words, label = self.rental()
        rented, served = len(self.market.rented), len(self.box.served)
        ran = self.run(*words)
        (self.waits if "--wait" in words else self.creates)[ran.status] += 1
        new = [number for _, number in self.market.rented[rented:]]
        calls = self.box.served[served:]
        doubtful = [c for c in calls if c[0] == "create" and "429" not in str(c[1])]
        self.check(len(new) <= 1 and len(doubtful) <= 1, "double", ran, new, calls)
        created = "".join(f"Created instance {number}\n" for number in new)
        last = ran.err.splitlines()[-1] if ran.err else ""
        if ran.status == 0:
            shown = ran.out if "--wait" not in words else ran.out.partition("ssh://")[0]
            self.check(shown == created and len(new) == 1, "said wrongly", ran, new)
            self.known.update(new)
        elif ran.status == 3:
            named = len(new) == 1 and ran.out == created and str(new[0]) in last
            self.check(named and "cost" in last, "not said that it costs", ran, new)
            self.known.update(new)
        elif ran.status == 6:
            named = "failed" in ran.err or all(str(number) in ran.err for number in new)
            self.check(named or not label, "not found by its label", ran, new)
            known = set(self.known)
            self.look()
            self.check(self.known == known | set(new), "not found", new, ran)
            self.found += len(new)
        else:
            self.check(not new, "lost", new, ran)

    def destroy(self) -> None:
        """Destroy one instance, or a few at a time, and wait for it or not."""
        few = min(len(self.known), self.dice.choice((1, 1, 1, 2, 3)))
        ids = self.dice.sample(sorted(self.known), few)
        wait = WAIT * (self.dice.random() < 0.3)
        ran = self.run("destroy", "instance", *ids, *wait)
        left = set(ids) & set(self.alive())
        if ran.status == 0:
            self.check(not left, "not destroyed", ids, left)
            self.known.difference_update(ids)
            return
        if ran.status != 6 and len(ids) == 1 and not wait:
            self.check(bool(left), "destroyed all the same", ids, ran)
        if ran.status == 3 and len(ids) == 1:
            self.check(not left, "not even asked to", ids, ran)
        self.look()

    def change(self) -> None:
        """Start, stop, label an instance, or bid for it."""
        number = self.dice.choice(sorted(self.known))
        count = len(self.box.served)
        price = count / 4096 + 0.001
        text, is_done = self.dice.choice(WORK)
        words = text.format(number, label=f"it-{count}", price=price).split()
        wanted = words[-1]
        wait = WAIT * (words[0] in CAN_WAIT and self.dice.random() < 0.3)
        was_done = is_done(self.alive()[number], wanted)
        ran = self.run(*words, *wait)
        done = is_done(self.alive()[number], wanted)
        right = done if ran.status in (0, 3) else ran.status == 6 or done == was_done
        # A key that is refused while waiting says nothing of what was done before.
        right = right or (bool(wait) and ran.status == 4)
        self.check(right, "done or not, other than it said", words, ran)

    def step(self) -> None:
        """Do one thing or another."""
        work = [self.look, self.change, self.change, self.destroy, self.destroy]
        if len(self.known) < MOST:
            work += [self.create] * 4
        self.dice.choice(work if self.known else [self.create])()

    def finish(self) -> None:
        """Destroy everything. Then the books must be even."""
        while self.known:
            self.destroy()
        self.check(not self.alive(), "left over", set(self.alive()))
        rented = sorted(number for _, number in self.market.rented)
        even = rented == sorted(self.market.destroyed)
        self.check(even, "the ledger is not even", rented)

    def figures(self) -> str:
        """Return what happened, for people."""
        struck = [kind for _, kind in self.box.served if kind]
        return f"""\
{self.statuses.total()} commands, {len(self.box.served)} calls; {len(struck)} of them \
were struck by {len(set(struck))} kinds of fault
exit statuses: {counted(self.statuses)}
of {self.creates.total()} rentals without --wait: {counted(self.creates)}
of {self.waits.total()} rentals with --wait: {counted(self.waits)}
instances: {len(self.market.rented)} rented, {len(self.market.destroyed)} destroyed; \
{self.found} were found by looking after status 6
discrepancies: {len(self.wrong)}"""


def counted(statuses: Counter[int]) -> str:
    """Return how often each status came."""
    return ", ".join(f"{status}: {statuses[status]}" for status in sorted(statuses))


def soak(commands: int, seed: int) -> Soak:
    """Run that many commands and a few more, until everything is destroyed."""
    before = {name: getattr(vast, name) for name in LIMITS}
    vars(vast).update(LIMITS)
    try:
        box = Unreliable(Random(seed))
        with tempfile.TemporaryDirectory() as home, box:
            work = Soak(box, Path(home), Random(seed + 1))
            while work.statuses.total() < commands:
                work.step()
            work.finish()
            return work
    finally:
        vars(vast).update(before)


def main(argv: list[str]) -> int:
    """Run the soak and say how it went."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--commands", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=2026)
    args = parser.parse_args(argv)
    work = soak(args.commands, args.seed)
    print(work.figures())
    for line in work.wrong:
        print(line, file=sys.stderr)
    return 1 if work.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
