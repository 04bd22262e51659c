"""The leader is frozen past its lease and thawed, at each seam of the protocol, many times: nothing is run twice.

python -m tests.faults.freeze --tries 100
"""

import argparse
import datetime as dt
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from demo.processes import Processes, interrupt_on_termination
from demo.waiting import wait_until

from . import actions
from .scenarios import LEASE_S
from .stage import Stage
from .theatre import Theatre
from .verdict import Verdict

POINTS = ("due", "claimed", "published")
"""In the middle of a tick, between claim and publish, between publish and confirm."""
CAST = ("code", "code", "worker")


@dataclass(frozen=True)
class Try:
    """One freezing, and what it came to."""

    point: str
    taken_over: bool
    verdict: Verdict

    @property
    def is_well(self) -> bool:
        found = self.verdict
        return (
            self.taken_over
            and bool(found.run_once)
            and not (found.doubled or found.lost or found.too_soon or found.stale)
        )


def freeze(stage: Stage, point: str) -> Try:
    """Freeze the leader at ``point``, let another lead, thaw it, and judge."""
    since = dt.datetime.now(dt.UTC)
    leader = stage.leader()
    actions.freeze_at(stage, leader, point)
    epoch = stage.books.terms()[-1].epoch
    wait_until(lambda: stage.books.terms()[-1].epoch > epoch, "another leads", timeout_s=LEASE_S + 10)
    successor = stage.leader()
    first_tick_at = stage.books.terms()[-1].first_tick_at
    wait_until(lambda: any(m.at > first_tick_at for m in stage.published), "the other one sends")
    actions.thaw(stage, leader)
    stage.heal()
    return Try(point, successor is not leader, stage.verdict(since, dt.datetime.now(dt.UTC)))


def freeze_often(theatre: Theatre, tries: int) -> Iterator[Try]:
    """As many tries at each point, on one stage."""
    stage = theatre.standing("sqlite", LEASE_S, CAST)
    for number in range(tries * len(POINTS)):
        yield freeze(stage, POINTS[number % len(POINTS)])


def table(tries: Iterable[Try]) -> str:
    """One line for each point."""
    lines = [f"{'frozen when':<12}{'tries':>7}{'well':>7}{'slots':>8}{'once':>8}{'doubled':>9}{'coalesced':>11}"]
    listed = list(tries)
    for point in POINTS:
        found = [each for each in listed if each.point == point]
        verdicts = [each.verdict for each in found]
        lines.append(
            f"{point:<12}{len(found):>7}{sum(each.is_well for each in found):>7}"
            f"{sum(len(v.expected) for v in verdicts):>8}{sum(len(v.run_once) for v in verdicts):>8}"
            f"{sum(len(v.doubled) for v in verdicts):>9}{sum(len(v.missed) for v in verdicts):>11}"
        )
    return "\n".join(lines)


def main() -> int:
    """Exit code 0 when all went well."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tries", type=int, default=100, help="at each freezing point (100)")
    options = parser.parse_args()
    interrupt_on_termination()
    done: list[Try] = []
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        with Processes(logs=directory / "logs") as processes, Theatre(processes, directory) as theatre:
            for each in freeze_often(theatre, options.tries):
                done.append(each)
                print(f"{len(done):>4} {each.point}: {each.verdict}", flush=True)
    print(table(done))
    return 0 if all(each.is_well for each in done) else 1


if __name__ == "__main__":
    sys.exit(main())
