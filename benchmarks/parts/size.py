"""A ledger of ten million slots, a week of them: is anything slower than on an empty one, and how long is it counted?

1,000 entries of which each is due every minute; 10,000 of every ten minutes. ``--scale 0.1`` makes a million of it.
Whatever judges the ledger finds it complete up to now, but for the gaps that are asked for.
"""

import datetime as dt
import re
import time
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.contenders import Contender
from benchmarks.figures import Goal, Row, ratio
from benchmarks.parts.burst import curve, rate_of
from benchmarks.rig import QUEUE, Rig, Wanted, execute, memory_mb, run, stopped_after, utc_now
from demo.processes import python
from demo.site import Site
from demo.waiting import wait_until
from tests.faults.books import Books

ENTRIES: Final = 1_000
MANY: Final = 10_000
WEEK: Final = dt.timedelta(days=7)
HOUR: Final = dt.timedelta(hours=1)
MINUTE: Final = dt.timedelta(minutes=1)
PHASES: Final = ("phase1 --no-code-beat", "phase2", "phase3 --force")
SINCE: Final = (
    ("cutover_fence", "switched_at"),
    ("cutover_fence", "guarded_since"),
    ("cutover_cutover", "switched_at"),
    ("cutover_entry", "eligible_since"),
    ("cutover_term", "started_at"),
)
"""What is put a week back with the switch."""
LATER: Final = {
    "claimed_at": (20, 200),
    "published_at": (30, 300),
    "run_started_at": (40, 900),
    "run_ended_at": (945, 50),
}
"""When a slot was claimed, and so on: after so many milliseconds at least, and up to how many more."""
SLOT: Final = {
    "entry": {
        "sqlite": "printf('entry-%05d', e)",
        "postgres": "'entry-' || lpad(e::text, 5, '0')",
        "mysql": "CONCAT('entry-', LPAD(e, 5, '0'))",
    },
    "due_at": "at",
    **{
        column: {
            "sqlite": f"strftime('%Y-%m-%d %H:%M:%f', at, printf('0.%03d seconds', {least} + (e*7 + m*13) % {more}))",
            "postgres": f"at + ({least} + (e * 7 + m * 13) % {more}) * interval '1 ms'",
            "mysql": f"at + INTERVAL ({least} + (e * 7 + m * 13) % {more}) * 1000 MICROSECOND",
        }
        for column, (least, more) in LATER.items()
    },
    "task_id": {
        "sqlite": "lower(hex(randomblob(16)))",
        "postgres": "gen_random_uuid()",
        "mysql": "REPLACE(UUID(), '-', '')",
    },
    "epoch": "1",
    "side": "'database'",
    "state": "'published'",
    "outcome": "'succeeded'",
    "run_by": "'1@0123456789abcdef0123456789abcdef01234567#1 host:1:0123abcd:5.7.0'",
    "run_attempt": "0",
    "deduplicated": "0",
    "resent": "0",
    "passed_over": "0",
    "reason": "''",
}
FROM: Final = {
    "sqlite": "WITH RECURSIVE es(e) AS (SELECT 0 UNION ALL SELECT e + 1 FROM es WHERE e < {entries} - 1),"
    " ms(m) AS (SELECT 1 UNION ALL SELECT m + 1 FROM ms WHERE m < {times}) SELECT {values} FROM"
    " (SELECT m, strftime('%Y-%m-%d %H:%M:00', '{since}', '+' || (m * {every}) || ' minutes') AS at FROM ms), es",
    "postgres": "SELECT {values} FROM generate_series(1, {times}) AS m, generate_series(0, {entries} - 1) AS e,"
    " LATERAL (SELECT '{since}+00'::timestamptz + m * {every} * interval '1 minute' AS at) AS instant",
    # Its sequences are as if they were tables.
    "mysql": "SELECT {values} FROM (SELECT seq AS m, TIMESTAMPADD(MINUTE, seq * {every}, '{since}') AS at"
    " FROM seq_1_to_{times}) AS instants STRAIGHT_JOIN (SELECT seq AS e FROM seq_0_to_{last}) AS es",
}
ANALYZE: Final = {"sqlite": "ANALYZE", "postgres": "VACUUM ANALYZE cutover_slot", "mysql": "ANALYZE TABLE cutover_slot"}
SAYS: Final = {"status": "Leader", "report": "Slots ", "phase4": "claimed, published and run once"}
"""What a command says that has come to its end."""
IN_PIECES: Final = 1_000_000
"""How many slots are written in one transaction."""


@dataclass(frozen=True)
class Look:
    """One look at a site whose beat owes a slot of each entry: seconds from its start to its first tick and to its
    first message, which is claimed by then; messages a second; and ``status --check`` while it leads."""

    boot_s: float
    first_s: float
    rate: float
    check_s: float


@dataclass(frozen=True)
class Ledger:
    """A site whose ``entries`` are all due every so many minutes."""

    rig: Rig
    who: Contender
    site: Site
    entries: int
    every: int

    @property
    def url(self) -> str:
        """That of its database."""
        return self.site.settings["DATABASE_URL"]

    @property
    def latest(self) -> dt.datetime:
        """The latest instant at which all were due, in UTC and naive, as statements name it."""
        now = utc_now().replace(second=0, microsecond=0, tzinfo=None)
        return now - dt.timedelta(minutes=now.minute % self.every)

    def execute(self, *statements: str) -> Any:
        """Run statements; the rows of the last."""
        return execute(self.url, *statements)


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
    _take_up(ledger)
    empty = [_look(ledger, is_empty=True) for _ in rig.times(1, full=3)]
    slots = _fill(ledger)
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


def _take_up(ledger: Ledger) -> None:
    """Have a leader see all entries, which the ledger does not know before."""
    beat = ledger.rig.beat(ledger.site, ledger.who)
    with stopped_after(beat):
        seen = "SELECT COUNT(*) FROM cutover_entry"
        wait_until(lambda: ledger.execute(seen)[0][0] == ledger.entries, "every entry is taken up", 120.0, poll_s=0.5)


def _look(ledger: Ledger, *, is_empty: bool = False) -> Look:
    if is_empty:
        since = ledger.latest - dt.timedelta(seconds=1)
        ledger.execute("DELETE FROM cutover_slot", f"UPDATE cutover_entry SET eligible_since = '{since}'")  # noqa: S608
    else:
        _complete(ledger, owed=1)
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


def _fill(ledger: Ledger) -> int:
    """A week of slots up to now, all sent and run; the switch before. How many they are."""
    since, times = ledger.latest - WEEK, WEEK // MINUTE // ledger.every
    ledger.execute("DELETE FROM cutover_slot")
    most = max(1, IN_PIECES // ledger.entries)
    for done in range(0, times, most):
        _write(ledger, since + done * ledger.every * MINUTE, min(most, times - done))
    ledger.execute(*[f"UPDATE {table} SET {column} = '{since}'" for table, column in SINCE])  # noqa: S608
    ledger.execute(ANALYZE[ledger.url.partition(":")[0]])
    return ledger.entries * times


def _complete(ledger: Ledger, owed: int = 0) -> None:
    """All slots of the last hour are sent and run, whatever was there, but for the ``owed`` latest of each entry."""
    since = ledger.latest - HOUR
    ledger.execute(f"DELETE FROM cutover_slot WHERE due_at > '{since}'")  # noqa: S608
    _write(ledger, since, HOUR // MINUTE // ledger.every - owed)


def _write(ledger: Ledger, since: dt.datetime, times: int) -> None:
    """Slots of all entries, of so many instants after that one."""
    engine = ledger.url.partition(":")[0]
    values = ", ".join(value if isinstance(value, str) else value[engine] for value in SLOT.values())
    given = {"entries": ledger.entries, "last": ledger.entries - 1, "every": ledger.every, "values": values}
    rows = FROM[engine].format(**given, since=since, times=times)
    ledger.execute(f"INSERT INTO cutover_slot ({', '.join(SLOT)}) {rows}")


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
    _complete(ledger)
    process = ledger.site.run(*python("-m", "benchmarks.prepare", what), timeout_s=600.0)
    found = re.search(r"took ([\d.]+)", process.output)
    assert found, process.output[-4000:]
    return float(found[1])


def _manage(ledger: Ledger, *command: str) -> tuple[float, float]:
    """Seconds and megabytes of a command, whatever it finds: what it reads is the same."""
    _complete(ledger)
    began, most_mb = time.perf_counter(), 0.0
    process = ledger.site.start(command[0], " ".join(python("manage.py", "cutover", *command)))
    while process.exit_code is None:
        most_mb = max(most_mb, memory_mb(process))
        time.sleep(0.02)
    took_s = time.perf_counter() - began
    assert SAYS[command[0]] in process.output, process.output[-4000:]
    return took_s, most_mb
