"""Faults at random for as long as you like, and a table of what they did.

python -m tests.faults.soak --minutes 20 [--seed 4711]
"""

import argparse
import datetime as dt
import random
import secrets
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from demo.processes import Processes, interrupt_on_termination

from . import actions
from .play import play
from .scenarios import LEASE_S, SCENARIOS, Scenario
from .stage import Stage
from .theatre import Theatre
from .verdict import Verdict

CAST = ("code", "code", "database", "database", "worker")
SWITCHING = 0.3
"""How often the side is switched before a scenario is played: both are to be broken."""


@dataclass
class Tally:
    """What one kind of fault came to."""

    played: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    longest_wait: dt.timedelta = dt.timedelta(0)

    def add(self, verdict: Verdict) -> None:
        self.played += 1
        self.counts.update({name: len(value) for name, value in vars(verdict).items() if hasattr(value, "__len__")})
        self.reasons.update(verdict.missed.values())
        self.longest_wait = max(self.longest_wait, verdict.longest_wait)


def soak(theatre: Theatre, until: dt.datetime, chance: random.Random) -> dict[Scenario, Tally]:
    """Play scenarios by chance, at moments by chance, on stages that live on; at least one."""
    tallies: dict[Scenario, Tally] = {}
    while not tallies or dt.datetime.now(dt.UTC) < until:
        scenario = chance.choice(SCENARIOS)
        stage = theatre.standing(scenario.database, LEASE_S, CAST)
        if chance.random() < SWITCHING:
            switch(stage)
        began = dt.datetime.now(dt.UTC)
        try:
            verdict = play(stage, scenario, chance)
        except BaseException:
            print(f"{scenario.name}, and what its processes logged:\n{stage.diary(since=began)}", flush=True)
            raise
        tallies.setdefault(scenario, Tally()).add(verdict)
        print(f"{dt.datetime.now(dt.UTC):%H:%M:%S} {scenario.name}: {verdict}", flush=True)
    return tallies


def switch(stage: Stage) -> None:
    """To the other side, as an operator does it."""
    _, side, _ = stage.books.fence()
    for command in ("phase1", "phase2", "phase3") if side == "code" else ("rollback", "phase1"):
        actions.run(stage, command)


def objections(tallies: dict[Scenario, Tally]) -> list[str]:
    """What neither the ledger nor the scenario explains; empty when all is well."""
    found = []
    for scenario, tally in tallies.items():
        forbidden = {
            "doubled": True,
            "lost": True,
            "stale": True,
            "missed": not scenario.may_miss,
            "too_soon": not scenario.may_skip,
            "died": tally.counts["died"] > scenario.may_die * tally.played,
        }
        found += [
            f"{scenario.name}: {tally.counts[n]} {n}" for n, is_so in forbidden.items() if is_so and tally.counts[n]
        ]
    return found


def table(tallies: dict[Scenario, Tally]) -> str:
    """One line for each kind of fault, and their sum."""
    columns = ("expected", "run_once", "doubled", "missed", "lost", "died")
    lines = [f"{'fault':<36}{'times':>6}" + "".join(f"{name:>10}" for name in columns) + f"{'waited':>9}"]
    total = Tally()
    for scenario, tally in sorted(tallies.items(), key=lambda pair: pair[0].name):
        lines.append(_line(scenario.name, tally, columns))
        total.played += tally.played
        total.counts += tally.counts
        total.reasons += tally.reasons
        total.longest_wait = max(total.longest_wait, tally.longest_wait)
    lines.append(_line("all", total, columns))
    lines += [f"missed, by the ledger: {count} because {reason}" for reason, count in total.reasons.most_common()]
    return "\n".join(lines)


def _line(name: str, tally: Tally, columns: tuple[str, ...]) -> str:
    counts = "".join(f"{tally.counts[column]:>10}" for column in columns)
    return f"{name:<36}{tally.played:>6}{counts}{tally.longest_wait.total_seconds():>8.2f}s"


def main() -> int:
    """Exit code 0 when nothing was doubled and every missed slot is explained."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0, help="how long (20)")
    parser.add_argument("--seed", type=int, default=None, help="to repeat a run (by chance)")
    options = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    interrupt_on_termination()
    until = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=options.minutes)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        with Processes(logs=directory / "logs") as processes, Theatre(processes, directory) as theatre:
            tallies = soak(theatre, until, random.Random(seed))
    print(table(tallies))
    found = objections(tallies)
    print(f"seed {seed}: " + ("; ".join(found) or "every slot once, every miss explained"))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
