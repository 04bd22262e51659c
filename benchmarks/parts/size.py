"""A ledger of ten million slots, a week of them: is anything slower than on an empty one, and how long is it counted?

1,000 entries of which each is due every minute; 10,000 of every ten minutes. ``--scale 0.1`` makes a million of it.
Whatever judges the ledger finds it complete up to now, but for the gaps that are asked for.
"""

import datetime as dt
import re
import time
from dataclasses import dataclass
from typing import Final

from benchmarks.contenders import Contender
from benchmarks.figures import Goal, Row, ratio
from benchmarks.parts.burst import curve, rate_of
from benchmarks.parts.filling import HOUR, MINUTE, WEEK, Ledger, complete, fill, take_up
from benchmarks.rig import QUEUE, Rig, Wanted, memory_mb, run, stopped_after, utc_now
from demo.processes import python
from demo.waiting import wait_until
from tests.faults.books import Books

ENTRIES: Final = 1_000
MANY: Final = 10_000
PHASES: Final = ("phase1 --no-code-beat", "phase2", "phase3 --force")
SAYS: Final = {"status": "Leader", "report": "Slots ", "phase4": "claimed, published and run once"}
"""What a command says that has come to its end."""


@dataclass(frozen=True)
class Look:
    """One look at a site whose beat owes a slot of each entry: seconds from its start to its first tick and to its
    first message, which is claimed by then; messages a second; and ``status --check`` while it leads."""

    boot_s: float
    first_s: float
    rate: float
    check_s: float


def size_of(who: Contender, rig: Rig) -> list[Row]:
    """The part."""
    return [
        *_measured(rig, who, "crowd", rig.scaled(ENTRIES), every=1),
        *_measured(rig, who, "tens", rig.scaled(MANY), every=10),
    ]


def _measured(rig: Rig, who: Contender, shape: str, entries: int, every: int) -> list[Row]:
    site = rig.site(who.engine, None, **Wanted(shape, entries).env, BENCH_IN_CODE="1")
    for phase in PHASES:
        run(site, python("manage.py", "cutover", *phase.split()))
    ledger = Ledger(rig, who, site, entries, every)
    take_up(ledger)
    empty = [_look(ledger, is_empty=True) for _ in rig.times(1, full=3)]
    slots = fill(ledger)
    filled = [_look(ledger) for _ in rig.times(1, full=3)]
    number, rows = f"{slots / 1e6:.3g} million slots", list[Row]()
    for what, field, unit, goal in (
        ("boot to first tick", "boot_s", "s", Goal(1.2)),
        ("boot to first message", "first_s", "s", Goal(1.2)),
        (f"{entries:,} due at once", "rate", "/s", Goal(1 / 1.2, is_least=True)),
        ("status --check", "check_s", "s", Goal(1.2)),
    ):
        with_all = Row(f"{what}, {number}", who.name, tuple(getattr(look, field) for look in filled), unit)
        of_empty = f"{entries:,} entries, an empty ledger"
        without = Row(what, of_empty, tuple(getattr(look, field) for look in empty), unit)
        rows += [with_all, without, ratio(with_all, without, goal)]
    return rows + _counted(ledger, f"{entries:,} entries, {number}")


def _counted(ledger: Ledger, of: str) -> list[Row]:
    """What looks at a week, without and with gaps."""
    rig, who = ledger.rig, ledger.who
    files = [f"--{kind}={ledger.site.directory / f'report.{kind}'}" for kind in ("html", "json")]

    def proved() -> list[tuple[float, float]]:
        return [_manage(ledger, "phase4", "--dry-run") for _ in rig.times(1, full=3)]

    rows = [
        Row(f"status, {of}", who.name, tuple(_manage(ledger, "status")[0] for _ in rig.times(2, full=5)), "s", Goal(2)),
        Row(f"the page, {of}", who.name, tuple(_told(ledger, "page") for _ in rig.times(2, full=5)), "s", Goal(1)),
    ]
    report, proof = [_manage(ledger, "report", *files) for _ in rig.times(1, full=3)], proved()
    # One slot of each entry, as after an outage.
    ledger.execute(f"DELETE FROM cutover_slot WHERE due_at = '{_middle(ledger)}'")  # noqa: S608
    gaps = proved()
    # And one of each entry at some time of its own.
    away = ", ".join(map(str, _scattered(ledger)))
    ledger.execute(f"DELETE FROM cutover_slot WHERE id IN ({away})")  # noqa: S608
    scattered = proved()
    for what, found, goal, most_mb in (
        ("report of a week", report, Goal(10), 250),
        ("phase4", proof, Goal(15), 200),
        ("phase4, a gap in each entry", gaps, None, 200),
        ("phase4, one more in each", scattered, None, 200),
    ):
        rows.append(Row(f"{what}, {of}", who.name, tuple(took_s for took_s, _ in found), "s", goal))
        rows.append(Row(f"{what}, {of}, memory", who.name, tuple(most for _, most in found), "MB", Goal(most_mb)))
    pruned = tuple(_told(ledger, "prune") for _ in rig.times(2, full=5))
    return [*rows, Row(f"500 slots forgotten, {of}", who.name, pruned, "s")]


def _look(ledger: Ledger, *, is_empty: bool = False) -> Look:
    if is_empty:
        since = ledger.latest - dt.timedelta(seconds=1)
        ledger.execute("DELETE FROM cutover_slot", f"UPDATE cutover_entry SET eligible_since = '{since}'")  # noqa: S608
    else:
        complete(ledger, owed=1)
    # Else what the look before has sent would not be owed again.
    ledger.execute("UPDATE django_celery_beat_periodictask SET last_run_at = NULL")
    with ledger.rig.valkey.client() as client:
        client.delete(QUEUE)
    began_at, books = utc_now(), Books(ledger.url)
    beat = ledger.rig.beat(ledger.site, ledger.who)
    with stopped_after(beat):
        first, last = curve(ledger.rig, beat, ledger.entries)
        ticked_at = wait_until(
            lambda: next((t.first_tick_at for t in books.terms() if t.started_at > began_at and t.first_tick_at), None),
            "the first tick",
            120.0,
        )
        check_s = run(ledger.site, python("manage.py", "cutover", "status", "--check"))
    boot_s = (ticked_at - began_at).total_seconds()
    return Look(boot_s, first[0] - began_at.timestamp(), rate_of(first, last), check_s)


def _middle(ledger: Ledger) -> dt.datetime:
    """An instant in the middle of the week at which all were due."""
    return ledger.latest - WEEK // MINUTE // ledger.every // 2 * ledger.every * MINUTE


def _scattered(ledger: Ledger) -> list[int]:
    """The keys of slots that are as many as the entries, each of another one and of another time."""
    older = f"due_at < '{ledger.latest - HOUR}'"
    [(least, most)] = ledger.execute(f"SELECT MIN(id), MAX(id) FROM cutover_slot WHERE {older}")  # noqa: S608
    step = (most - least) // ledger.entries // ledger.entries * ledger.entries + 1
    return [least + step * number for number in range(1, ledger.entries - 1)]


def _told(ledger: Ledger, what: str) -> float:
    """How many seconds a process says that something took."""
    complete(ledger)
    process = ledger.site.run(*python("-m", "benchmarks.prepare", what), timeout_s=600.0)
    found = re.search(r"took ([\d.]+)", process.output)
    assert found, process.output[-4000:]
    return float(found[1])


def _manage(ledger: Ledger, *command: str) -> tuple[float, float]:
    """Seconds and megabytes of a command, whatever it finds: what it reads is the same."""
    complete(ledger)
    began, most_mb = time.perf_counter(), 0.0
    process = ledger.site.start(command[0], " ".join(python("manage.py", "cutover", *command)))
    while process.exit_code is None:
        most_mb = max(most_mb, memory_mb(process))
        time.sleep(0.02)
    took_s = time.perf_counter() - began
    assert SAYS[command[0]] in process.output, process.output[-4000:]
    return took_s, most_mb
