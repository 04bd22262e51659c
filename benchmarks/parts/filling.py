"""A ledger with a week of slots, written past Django as if all of them had been sent and run."""

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.contenders import Contender
from benchmarks.rig import Rig, execute, stopped_after, utc_now
from demo.site import Site
from demo.waiting import wait_until

WEEK: Final = dt.timedelta(days=7)
HOUR: Final = dt.timedelta(hours=1)
MINUTE: Final = dt.timedelta(minutes=1)
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
SETTLE: Final = {"sqlite": ("PRAGMA wal_checkpoint(TRUNCATE)",), "postgres": ("CHECKPOINT",), "mysql": ()}
"""What brings to the disk what was written."""
UNSETTLED: Final = {
    "sqlite": "SELECT 0",
    "postgres": "SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'",
    "mysql": "SELECT count FROM information_schema.innodb_metrics WHERE name = 'trx_rseg_history_len'",
}
"""Whether the server is at work on what was written or deleted before, which nobody waits for."""
ON_DISK: Final = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
    "postgres": "SELECT pg_total_relation_size('cutover_slot')",
    "mysql": "SELECT data_length + index_length FROM information_schema.tables"
    " WHERE table_schema = DATABASE() AND table_name = 'cutover_slot'",
}
"""How many bytes the slots take with their indexes; on SQLite the whole file."""
IN_PIECES: Final = 1_000_000
"""How many slots are written in one transaction."""


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
    def engine(self) -> str:
        """What kind of database it is, as the URL calls it."""
        return self.url.partition(":")[0]

    @property
    def latest(self) -> dt.datetime:
        """The latest instant at which all were due, in UTC and naive, as statements name it."""
        now = utc_now().replace(second=0, microsecond=0, tzinfo=None)
        return now - dt.timedelta(minutes=now.minute % self.every)

    def execute(self, *statements: str) -> Any:
        """Run statements; the rows of the last."""
        return execute(self.url, *statements)


def take_up(ledger: Ledger) -> None:
    """Have a leader see all entries, which the ledger does not know before."""
    beat = ledger.rig.beat(ledger.site, ledger.who)
    with stopped_after(beat):
        seen = "SELECT COUNT(*) FROM cutover_entry"
        wait_until(lambda: ledger.execute(seen)[0][0] == ledger.entries, "every entry is taken up", 120.0, poll_s=0.5)


def fill(ledger: Ledger) -> int:
    """A week of slots up to now, all sent and run; the switch before. How many they are."""
    since, times = ledger.latest - WEEK, WEEK // MINUTE // ledger.every
    ledger.execute("DELETE FROM cutover_slot")
    most = max(1, IN_PIECES // ledger.entries)
    for done in range(0, times, most):
        _write(ledger, since + done * ledger.every * MINUTE, min(most, times - done))
    ledger.execute(*[f"UPDATE {table} SET {column} = '{since}'" for table, column in SINCE])  # noqa: S608 - ours
    ledger.execute(ANALYZE[ledger.engine])
    return ledger.entries * times


def complete(ledger: Ledger, owed: int = 0) -> None:
    """All slots of the last hour are sent and run, whatever was there, but for the ``owed`` latest of each entry."""
    since = ledger.latest - HOUR
    ledger.execute(f"DELETE FROM cutover_slot WHERE due_at > '{since}'")  # noqa: S608 - ours
    _write(ledger, since, HOUR // MINUTE // ledger.every - owed)


def empty(ledger: Ledger) -> None:
    """No slots, but one of each entry is owed."""
    since = ledger.latest - dt.timedelta(seconds=1)
    ledger.execute("DELETE FROM cutover_slot", f"UPDATE cutover_entry SET eligible_since = '{since}'")  # noqa: S608 - ours


def settle(ledger: Ledger) -> None:
    """Wait until the server has nothing left to do: no dirty journal, no vacuum or purge behind a measurement."""
    for statement in SETTLE[ledger.engine]:
        ledger.execute(statement)
    asked = UNSETTLED[ledger.engine]
    wait_until(lambda: not ledger.execute(asked)[0][0], "the server is done with what was written", 600.0, poll_s=0.5)


def disk_mb(ledger: Ledger) -> float:
    """How much its slots take on the disk, as far as the server has counted."""
    return float(ledger.execute(ON_DISK[ledger.engine])[0][0]) / 1e6


def _write(ledger: Ledger, since: dt.datetime, times: int) -> None:
    """Slots of all entries, of so many instants after that one."""
    engine = ledger.engine
    values = ", ".join(value if isinstance(value, str) else value[engine] for value in SLOT.values())
    given = {"entries": ledger.entries, "last": ledger.entries - 1, "every": ledger.every, "values": values}
    rows = FROM[engine].format(**given, since=since, times=times)
    ledger.execute(f"INSERT INTO cutover_slot ({', '.join(SLOT)}) {rows}")
