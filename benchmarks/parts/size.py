"""A ledger of ten million slots, a week of them: is anything slower than on an empty one, and how long is it counted?

1,000 entries of which each is due every minute; 10,000 of every ten minutes. ``--scale 0.1`` makes a million of it.
"""

import datetime as dt
import re
import time
from dataclasses import dataclass
from typing import Final

from benchmarks.contenders import Contender
from benchmarks.figures import Goal, Row, ratio
from benchmarks.parts.burst import sent_between
from benchmarks.rig import Rig, Wanted, execute, memory_mb, run, stopped_after, utc_now
from demo.processes import python
from demo.site import Site
from demo.waiting import wait_until
from tests.faults.books import Books

ENTRIES: Final = 1_000
MANY: Final = 10_000
WEEK: Final = dt.timedelta(days=7)
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
    """One look at a site: seconds to the first tick, messages a second of a minute's burst, `status --check`."""

    boot_s: float
    rate: float
    check_s: float


def size_of(who: Contender, rig: Rig) -> list[Row]:
    """The part."""
    return [*_crowd(rig, who), *_many(rig, who)]


def _crowd(rig: Rig, who: Contender) -> list[Row]:
    entries = rig.scaled(ENTRIES)
    site = _switched(rig, who, "crowd", entries)
    empty = [_look(rig, site, who, entries) for _ in rig.times(1, full=3)]
    slots = _fill(site, entries, every=1)
    filled = [_look(rig, site, who, entries) for _ in rig.times(1, full=3)]
    number = f"{slots / 1e6:.3g} million slots"
    rows: list[Row] = []
    for what, field, unit, goal in (
        ("boot to first tick", "boot_s", "s", Goal(1.2)),
        (f"{entries:,} due at once", "rate", "/s", Goal(1 / 1.2, is_least=True)),
        ("status --check", "check_s", "s", Goal(1.2)),
    ):
        with_all = Row(f"{what}, {number}", who.name, tuple(getattr(look, field) for look in filled), unit)
        without = Row(what, "an empty ledger", tuple(getattr(look, field) for look in empty), unit)
        rows += [with_all, without, ratio(with_all, without, goal)]
    return rows + _counted(rig, site, who, f"{entries:,} entries, {number}")


def _many(rig: Rig, who: Contender) -> list[Row]:
    entries = rig.scaled(MANY)
    site = _switched(rig, who, "tens", entries)
    slots = _fill(site, entries, every=10)
    return _counted(rig, site, who, f"{entries:,} entries, {slots / 1e6:.3g} million slots")


def _counted(rig: Rig, site: Site, who: Contender, of: str) -> list[Row]:
    """What looks at a week, without and with gaps."""
    rows = [
        Row(f"status, {of}", who.name, tuple(_manage(site, "status")[0] for _ in rig.times(2, full=5)), "s", Goal(2)),
        Row(f"the page, {of}", who.name, tuple(_told(site, "page") for _ in rig.times(2, full=5)), "s", Goal(1)),
    ]
    report = [_manage(site, "report") for _ in rig.times(1, full=3)]
    proof = [_manage(site, "phase4", "--dry-run") for _ in rig.times(1, full=3)]
    # One slot of each entry, as after an outage.
    execute(site.settings["DATABASE_URL"], f"DELETE FROM cutover_slot WHERE due_at = '{_middle(site)}'")  # noqa: S608
    gaps = [_manage(site, "phase4", "--dry-run") for _ in rig.times(1, full=3)]
    # And one of each entry at some time of its own.
    away = ", ".join(map(str, _scattered(site)))
    execute(site.settings["DATABASE_URL"], f"DELETE FROM cutover_slot WHERE id IN ({away})")  # noqa: S608
    scattered = [_manage(site, "phase4", "--dry-run") for _ in rig.times(1, full=3)]
    for what, found, goal in (
        ("report of a week", report, Goal(10)),
        ("phase4", proof, Goal(15)),
        ("phase4, a gap in each entry", gaps, None),
        ("phase4, one more in each", scattered, None),
    ):
        rows.append(Row(f"{what}, {of}", who.name, tuple(took_s for took_s, _ in found), "s", goal))
        rows.append(Row(f"{what}, {of}, memory", who.name, tuple(most for _, most in found), "MB", Goal(200)))
    pruned = tuple(_told(site, "prune") for _ in rig.times(2, full=5))
    return [*rows, Row(f"500 slots forgotten, {of}", who.name, pruned, "s")]


def _switched(rig: Rig, who: Contender, shape: str, entries: int) -> Site:
    site = rig.site(who.engine, None, **Wanted(shape, entries).env, BENCH_IN_CODE="1")
    for phase in PHASES:
        run(site, python("manage.py", "cutover", *phase.split()))
    return site


def _look(rig: Rig, site: Site, who: Contender, entries: int) -> Look:
    began_at, books = utc_now(), Books(site.settings["DATABASE_URL"])
    with rig.valkey.client() as client:
        client.delete("celery")
    beat = rig.beat(site, who)
    with stopped_after(beat):
        ticked_at = wait_until(
            lambda: next((t.first_tick_at for t in books.terms() if t.started_at > began_at and t.first_tick_at), None),
            "the first tick",
            120.0,
        )
        with rig.valkey.client() as client:
            time.sleep(2.0)  # what was owed at once is sent
            client.delete("celery")
        rate = sent_between(rig, beat, entries)
        check_s = run(site, python("manage.py", "cutover", "status", "--check"))
    return Look((ticked_at - began_at).total_seconds(), rate, check_s)


def _fill(site: Site, entries: int, every: int) -> int:
    """A week of slots before now, all sent and run, one in so many minutes; the switch before. How many they are."""
    url = site.settings["DATABASE_URL"]
    engine = url.partition(":")[0]
    now = utc_now().replace(second=0, microsecond=0, tzinfo=None)
    since = now - WEEK - dt.timedelta(minutes=now.minute % every)
    values = ", ".join(value if isinstance(value, str) else value[engine] for value in SLOT.values())
    times = (WEEK - dt.timedelta(minutes=5)) // dt.timedelta(minutes=every)
    execute(url, "DELETE FROM cutover_slot")
    most = max(1, IN_PIECES // entries)
    for done in range(0, times, most):
        begin = since + dt.timedelta(minutes=done * every)
        given = {"entries": entries, "last": entries - 1, "every": every, "values": values, "since": begin}
        rows = FROM[engine].format(**given, times=min(most, times - done))
        execute(url, f"INSERT INTO cutover_slot ({', '.join(SLOT)}) {rows}")
    execute(url, *[f"UPDATE {table} SET {column} = '{since}'" for table, column in SINCE], ANALYZE[engine])  # noqa: S608
    return entries * times


def _middle(site: Site) -> str:
    """An instant in the middle of the week at which all were due."""
    url = site.settings["DATABASE_URL"]
    half = execute(url, "SELECT MAX(id) - COUNT(*) / 2 FROM (SELECT id FROM cutover_slot) AS slots")[0][0]
    found = execute(url, f"SELECT due_at FROM cutover_slot WHERE id >= {int(half)} ORDER BY id LIMIT 1")  # noqa: S608
    return str(found[0][0])


def _scattered(site: Site) -> list[int]:
    """The keys of slots that are as many as the entries, each of another one and of another time."""
    url = site.settings["DATABASE_URL"]
    [(least, most)] = execute(url, "SELECT MIN(id), MAX(id) FROM cutover_slot")
    entries = int(site.settings["BENCH_ENTRIES"])
    step = (most - least) // entries // entries * entries + 1
    return [least + step * number for number in range(1, entries - 1)]


def _told(site: Site, what: str) -> float:
    """How many seconds a process says that something took."""
    process = site.run(*python("-m", "benchmarks.prepare", what), timeout_s=600.0)
    found = re.search(r"took ([\d.]+)", process.output)
    assert found, process.output[-4000:]
    return float(found[1])


def _manage(site: Site, *command: str) -> tuple[float, float]:
    """Seconds and megabytes of a command, whatever it finds: what it reads is the same."""
    began, most_mb = time.perf_counter(), 0.0
    process = site.start(command[0], " ".join(python("manage.py", "cutover", *command)))
    while process.exit_code is None:
        most_mb = max(most_mb, memory_mb(process))
        time.sleep(0.02)
    took_s = time.perf_counter() - began
    assert SAYS[command[0]] in process.output, process.output[-4000:]
    return took_s, most_mb
