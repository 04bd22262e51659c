"""A ledger of ten million slots, a week of 1,000 entries a minute: is anything slower than on an empty one?"""

import datetime as dt
import time
from dataclasses import dataclass
from typing import Final

from benchmarks import contenders
from benchmarks.contenders import Contender
from benchmarks.figures import Goal, Row, ratio
from benchmarks.parts.burst import sent_between
from benchmarks.rig import Rig, Wanted, execute, memory_mb, run, stopped_after, utc_now
from demo.processes import python
from demo.site import Site
from demo.waiting import wait_until
from tests.faults.books import Books

ENTRIES: Final = 1_000
WEEK: Final = dt.timedelta(days=7)
MINUTES: Final = WEEK // dt.timedelta(minutes=1)
PHASES: Final = ("phase1 --no-code-beat", "phase2", "phase3 --force")
SINCE: Final = (
    ("cutover_fence", "switched_at"),
    ("cutover_cutover", "switched_at"),
    ("cutover_entry", "eligible_since"),
    ("cutover_term", "started_at"),
)
"""What is put a week back with the switch."""
SLOT: Final = {
    "entry": {"sqlite": "printf('entry-%05d', e)", "postgres": "'entry-' || lpad(e::text, 5, '0')"},
    "due_at": {"sqlite": "at", "postgres": "at"},
    "claimed_at": {"sqlite": "at", "postgres": "at"},
    "published_at": {"sqlite": "at", "postgres": "at"},
    "run_started_at": {"sqlite": "at", "postgres": "at"},
    "task_id": {"sqlite": "lower(hex(randomblob(16)))", "postgres": "gen_random_uuid()"},
    "epoch": "1",
    "side": "'database'",
    "state": "'published'",
    "run_by": "'1@0123456789abcdef0123456789abcdef01234567#1 host:1:0123abcd:5.7.0'",
    "run_attempt": "0",
    "deduplicated": "0",
    "resent": "0",
    "passed_over": "0",
    "reason": "''",
}
FROM: Final = {
    "sqlite": "WITH RECURSIVE es(e) AS (SELECT 0 UNION ALL SELECT e + 1 FROM es WHERE e < {entries} - 1),"
    " ms(m) AS (SELECT 1 UNION ALL SELECT m + 1 FROM ms WHERE m < {minutes}) SELECT {values} FROM"
    " (SELECT strftime('%Y-%m-%d %H:%M:00', '{since}', '+' || m || ' minutes') AS at FROM ms), es",
    "postgres": "SELECT {values} FROM generate_series(1, {minutes}) AS m, generate_series(0, {entries} - 1) AS e,"
    " LATERAL (SELECT '{since}+00'::timestamptz + m * interval '1 minute' AS at) AS instant",
}


@dataclass(frozen=True)
class Look:
    """One look at a site: seconds to the first tick, messages a second of a minute's burst, `status --check`."""

    boot_s: float
    rate: float
    check_s: float


def size(rig: Rig) -> list[Row]:
    """The part."""
    rows: list[Row] = []
    for who in (contenders.ROWS_POSTGRES, contenders.ROWS):
        rows += _one(rig, who)
    return rows


def _one(rig: Rig, who: Contender) -> list[Row]:
    entries = rig.scaled(ENTRIES)
    site = rig.site(who.engine, None, **Wanted("crowd", entries).env, BENCH_IN_CODE="1")
    for phase in PHASES:
        run(site, python("manage.py", "cutover", *phase.split()))
    empty = [_look(rig, site, who, entries) for _ in rig.times(1, full=3)]
    _fill(site, entries)
    filled = [_look(rig, site, who, entries) for _ in rig.times(1, full=3)]
    rows: list[Row] = []
    number = f"{entries * MINUTES / 1e6:.3g} million slots"
    for what, field, unit, goal in (
        ("boot to first tick", "boot_s", "s", Goal(1.2)),
        (f"{entries:,} due at once", "rate", "/s", Goal(1 / 1.2, is_least=True)),
        ("status --check", "check_s", "s", Goal(1.2)),
    ):
        with_all = Row(f"{what}, {number}", who.name, tuple(getattr(look, field) for look in filled), unit)
        without = Row(what, "an empty ledger", tuple(getattr(look, field) for look in empty), unit)
        rows += [with_all, without, ratio(with_all, without, goal)]
    took_s, most_mb = _phase4(site)
    rows.append(Row(f"phase4, {number}", who.name, (took_s,), "s", Goal(15)))
    rows.append(Row(f"phase4, {number}, memory", who.name, (most_mb,), "MB", Goal(200)))
    return rows


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


def _fill(site: Site, entries: int) -> None:
    """A week of slots before now, all sent and started; the switch a week ago."""
    url = site.settings["DATABASE_URL"]
    engine = "sqlite" if url.startswith("sqlite:") else "postgres"
    since = (utc_now() - WEEK).replace(second=0, microsecond=0, tzinfo=None)
    values = ", ".join(value if isinstance(value, str) else value[engine] for value in SLOT.values())
    rows = FROM[engine].format(entries=entries, minutes=MINUTES - 5, since=since, values=values)
    back = [f"UPDATE {table} SET {column} = '{since}'" for table, column in SINCE]  # noqa: S608
    execute(url, "DELETE FROM cutover_slot", f"INSERT INTO cutover_slot ({', '.join(SLOT)}) {rows}", *back)
    execute(url, "ANALYZE" if engine == "sqlite" else "VACUUM ANALYZE cutover_slot")


def _phase4(site: Site) -> tuple[float, float]:
    """Seconds and megabytes, whatever it finds: what it reads is the same."""
    began, most_mb = time.perf_counter(), 0.0
    process = site.start("phase4", " ".join(python("manage.py", "cutover", "phase4")))
    while process.exit_code is None:
        most_mb = max(most_mb, memory_mb(process))
        time.sleep(0.05)
    assert "reading the ledger" in process.output, process.output[-2000:]
    return time.perf_counter() - began, most_mb
