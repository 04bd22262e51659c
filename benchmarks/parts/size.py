"""A ledger of ten million slots, a week of them: is anything slower than on an empty one, and how long is it counted?

1,000 entries of which each is due every minute; 10,000 of every ten minutes. ``--scale 0.1`` makes a million of it.
Whatever judges the ledger finds it complete up to now, but for the gaps that are asked for.

The empty ledger is that of a second site beside, on the same server and with the same entries. The two are looked at in
turn, and each look waits until the server is done with what was written for it: a vacuum of ten million slots, or the
purge of those of an hour (five processor seconds on MariaDB), would else be taken for the beat's work. What a beat does
not find on an empty ledger is a latest slot of each entry: to look these up, in an index that no cache holds whole,
belongs to what is measured, and so do the pages of it that a claim and its confirmation touch. Where a machine has
other work, the processor time tells more than the clock.
"""

import datetime as dt
import re
import resource
import time
from dataclasses import dataclass
from typing import Final

from benchmarks.contenders import Contender
from benchmarks.figures import Goal, Row, ratio
from benchmarks.parts.burst import curve, rate_of
from benchmarks.parts.filling import HOUR, MINUTE, WEEK, Ledger, complete, disk_mb, empty, fill, settle, take_up
from benchmarks.rig import Rig, Wanted, busy_s, memory_mb, run, stopped_after, utc_now
from demo.processes import python
from demo.waiting import wait_until
from tests.faults.books import Books

ENTRIES: Final = 1_000
MANY: Final = 10_000
PHASES: Final = ("phase1 --no-code-beat", "phase2", "phase3 --force")
PART_H: Final = 39
"""As many slots as a week has of ten million in thirty days, for which they are kept by default."""
ROOM: Final = 2 * MINUTE
"""How long one look takes at most."""
SAYS: Final = {
    "check": "no issues",
    "status": "Leader",
    "report": "Slots ",
    "phase4": "claimed, published and run once",
}
"""What a command says that has come to its end."""


@dataclass(frozen=True)
class Look:
    """One look at a site whose beat owes a slot of each entry: seconds from its start to its first tick and to its
    first message, which is claimed by then; messages a second; and ``status --check`` while it leads.

    ``boot_busy_s`` and ``check_busy_s``: the processor time of that, with the database server's."""

    boot_s: float
    boot_busy_s: float
    first_s: float
    rate: float
    check_s: float
    check_busy_s: float


def size_of(who: Contender, rig: Rig) -> list[Row]:
    """The part."""
    return [
        *_measured(rig, who, "crowd", rig.scaled(ENTRIES), every=1),
        *_measured(rig, who, "tens", rig.scaled(MANY), every=10),
    ]


def _measured(rig: Rig, who: Contender, shape: str, entries: int, every: int) -> list[Row]:
    without, filled = (_site(rig, who, shape, entries, every) for _ in range(2))
    slots = fill(filled)
    number = f"{slots / 1e6:.3g} million slots"
    disk = Row(f"disk of a million slots, {entries:,} entries", who.name, (_disk_mb(filled, without, slots),), "MB")
    looks: dict[bool, list[Look]] = {True: [], False: []}
    for number_of_pair in rig.times(3):
        for is_empty in (True, False) if number_of_pair % 2 else (False, True):
            looks[is_empty].append(_look(without if is_empty else filled, is_empty=is_empty))
    rows = list[Row]()
    for what, field, unit, goal in (
        ("boot to first tick", "boot_s", "s", Goal(1.2)),
        ("boot to first tick, processor time", "boot_busy_s", "s", Goal(1.2)),
        ("boot to first message", "first_s", "s", Goal(1.2)),
        (f"{entries:,} due at once", "rate", "/s", Goal(1 / 1.2, is_least=True)),
        ("status --check", "check_s", "s", Goal(1.2)),
        ("status --check, processor time", "check_busy_s", "s", Goal(1.2)),
    ):
        with_all = Row(f"{what}, {number}", who.name, tuple(getattr(look, field) for look in looks[False]), unit)
        of_empty = f"{entries:,} entries, an empty ledger"
        of_none = Row(what, of_empty, tuple(getattr(look, field) for look in looks[True]), unit)
        rows += [with_all, of_none, ratio(with_all, of_none, goal)]
    return [*rows, disk, *_counted(filled, f"{entries:,} entries, {number}")]


def _site(rig: Rig, who: Contender, shape: str, entries: int, every: int) -> Ledger:
    site = rig.site(who.engine, None, **Wanted(shape, entries).env, BENCH_IN_CODE="1")
    for phase in PHASES:
        run(site, python("manage.py", "cutover", *phase.split()))
    ledger = Ledger(rig, who, site, entries, every)
    take_up(ledger)
    return ledger


def _disk_mb(filled: Ledger, without: Ledger, slots: int) -> float:
    """Of a million slots."""
    return (disk_mb(filled) - disk_mb(without)) / slots * 1e6


def _counted(ledger: Ledger, of: str) -> list[Row]:
    """What looks at a week, without and with gaps."""
    rig, who = ledger.rig, ledger.who

    def proved() -> list[tuple[float, float]]:
        return [_manage(ledger, "phase4", "--dry-run") for _ in rig.times(1, full=3)]

    rows = [*_seen(ledger, f"{of}, the old schedule in code too"), *_seen(ledger, of, BENCH_IN_CODE="")]
    proof = proved()
    # One slot of each entry, as after an outage.
    ledger.execute(f"DELETE FROM cutover_slot WHERE due_at = '{_middle(ledger)}'")  # noqa: S608
    gaps = proved()
    # And one of each entry at some time of its own.
    away = ", ".join(map(str, _scattered(ledger)))
    ledger.execute(f"DELETE FROM cutover_slot WHERE id IN ({away})")  # noqa: S608
    scattered = proved()
    for what, found, goal, most_mb in (
        ("phase4", proof, Goal(15), 200),
        ("phase4, a gap in each entry", gaps, None, 200),
        ("phase4, one more in each", scattered, None, 200),
    ):
        rows.append(Row(f"{what}, {of}", who.name, tuple(took_s for took_s, _ in found), "s", goal))
        rows.append(Row(f"{what}, {of}, memory", who.name, tuple(most for _, most in found), "MB", Goal(most_mb)))
    pruned = tuple(_told(ledger, "prune") for _ in rig.times(2, full=5))
    return [*rows, Row(f"500 slots forgotten, {of}", who.name, pruned, "s")]


def _seen(ledger: Ledger, of: str, **env: str) -> list[Row]:
    """What an operator looks at, and what any command takes on that site before it does anything."""
    times = ledger.rig.times
    files = [f"--{kind}={ledger.site.directory / f'report.{kind}'}" for kind in ("html", "json")]
    reports = [_manage(ledger, "report", *files, **env) for _ in times(1, full=3)]
    parts = [_manage(ledger, "report", f"--since={PART_H}h", *files, **env)[0] for _ in times(1, full=3)]
    found = (
        ("manage.py check", [_timed(ledger, "check", **env)[0] for _ in times(2, full=5)], "s", None),
        ("status", [_manage(ledger, "status", **env)[0] for _ in times(2, full=5)], "s", Goal(2)),
        ("the page", [_told(ledger, "page", **env) for _ in times(2, full=5)], "s", Goal(1)),
        ("report of a week", [took_s for took_s, _ in reports], "s", Goal(10)),
        ("report of a week, memory", [most_mb for _, most_mb in reports], "MB", Goal(250)),
        (f"report of {PART_H} hours", parts, "s", Goal(10)),
    )
    return [Row(f"{what}, {of}", ledger.who.name, tuple(samples), unit, goal) for what, samples, unit, goal in found]


def _look(ledger: Ledger, *, is_empty: bool) -> Look:
    _wait_for_room(ledger)
    if is_empty:
        empty(ledger)
    else:
        complete(ledger, owed=1)
    # Else what the look before has sent would not be owed again.
    ledger.execute("UPDATE django_celery_beat_periodictask SET last_run_at = NULL")
    settle(ledger)
    with ledger.rig.valkey.client() as client:
        client.flushall()  # what the beat of the other site has left too
    served_s, began_at, books = ledger.rig.served_s, utc_now(), Books(ledger.url)
    before_s = served_s()
    beat = ledger.rig.beat(ledger.site, ledger.who)
    with stopped_after(beat):
        first, last = curve(ledger.rig, beat, ledger.entries)
        ticked_at = wait_until(
            lambda: next((t.first_tick_at for t in books.terms() if t.started_at > began_at and t.first_tick_at), None),
            "the first tick",
            120.0,
        )
        booted_s = served_s()
        boot_busy_s = booted_s - before_s + busy_s(beat)
        ended_s = _ended_s()
        check_s = run(ledger.site, python("manage.py", "cutover", "status", "--check"))
        check_busy_s = served_s() - booted_s + _ended_s() - ended_s
    boot_s, first_s = (ticked_at - began_at).total_seconds(), first[0] - began_at.timestamp()
    return Look(boot_s, boot_busy_s, first_s, rate_of(first, last), check_s, check_busy_s)


def _ended_s() -> float:
    """The processor time that the processes have had which this one has started and seen the end of."""
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def _wait_for_room(ledger: Ledger) -> None:
    """Wait for the next instant at which all are due, where that would come into the middle of a look."""
    latest, most = ledger.latest, min(ledger.every * MINUTE / 4, ROOM)
    if latest + ledger.every * MINUTE - utc_now().replace(tzinfo=None) < most:
        wait_until(lambda: ledger.latest > latest, "all are due once more", 2 * most.total_seconds(), poll_s=0.5)


def _middle(ledger: Ledger) -> dt.datetime:
    """An instant in the middle of the week at which all were due."""
    return ledger.latest - WEEK // MINUTE // ledger.every // 2 * ledger.every * MINUTE


def _scattered(ledger: Ledger) -> list[int]:
    """The keys of slots that are as many as the entries, each of another one and of another time."""
    older = f"due_at < '{ledger.latest - HOUR}'"
    [(least, most)] = ledger.execute(f"SELECT MIN(id), MAX(id) FROM cutover_slot WHERE {older}")  # noqa: S608
    step = (most - least) // ledger.entries // ledger.entries * ledger.entries + 1
    return [least + step * number for number in range(1, ledger.entries - 1)]


def _told(ledger: Ledger, what: str, **env: str) -> float:
    """How many seconds a process says that something took."""
    complete(ledger)
    process = ledger.site.start(what, " ".join(python("-m", "benchmarks.prepare", what)), **env)
    process.wait(600.0)
    found = re.search(r"took ([\d.]+)", process.output)
    assert found, process.output[-4000:]
    return float(found[1])


def _manage(ledger: Ledger, *command: str, **env: str) -> tuple[float, float]:
    """Seconds and megabytes of a command of ours, whatever it finds: what it reads is the same."""
    return _timed(ledger, "cutover", *command, **env)


def _timed(ledger: Ledger, *command: str, **env: str) -> tuple[float, float]:
    """Seconds and megabytes of a command."""
    complete(ledger)
    began, most_mb = time.perf_counter(), 0.0
    process = ledger.site.start(command[0], " ".join(python("manage.py", *command)), **env)
    while process.exit_code is None:
        most_mb = max(most_mb, memory_mb(process))
        time.sleep(0.02)
    took_s = time.perf_counter() - began
    said = next(SAYS[word] for word in command if word in SAYS)
    assert said in process.output, process.output[-4000:]
    return took_s, most_mb
