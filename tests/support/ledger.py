"""The words of the ledger's tests: an entry's name, a slot some time ago, and a ledger with a long past."""

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import replace

from django.db import connections

from cutover import clock, models
from cutover.ledger import Ledger
from cutover.ledger.entries import KnownEntry
from cutover.types import EntryName, Side, Slot, SlotState, Term

SECOND = dt.timedelta(seconds=1)
DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
NOW = clock.now().replace(microsecond=0)
CROWD, PAST = 1_000, 100
"""How many entries a long past has, and how many slots each."""
PAST_OF = {
    "sqlite": ("datetime(%s, '-' || (i / 1000) || ' minutes')", "lower(hex(randomblob(16)))", "'e' || (i %% 1000)"),
    "postgresql": ("%s::timestamptz - i / 1000 * interval '1 min'", "md5(i::text)::uuid", "'e' || (i %% 1000)"),
    "mysql": ("TIMESTAMPADD(MINUTE, -(i DIV 1000), %s)", "LPAD(HEX(i), 32, '0')", "CONCAT('e', i %% 1000)"),
}
"""How each database says, of the slot i: when it was due, an id for it, and its entry."""


def name(text: str) -> EntryName:
    return EntryName(text)


def slot(entry: str = "a", ago: dt.timedelta = dt.timedelta(0)) -> Slot:
    return Slot(NOW - ago, name(entry))


def new_slot(alias: str, entry: str, due_at: dt.datetime, **fields: object) -> models.Slot:
    """A slot as it is in the ledger: published by the code side, unless ``fields`` say otherwise."""
    told = {"epoch": 1, "side": Side.CODE, "state": SlotState.PUBLISHED, "task_id": uuid.uuid4(), "claimed_at": due_at}
    return models.Slot.objects.using(alias).create(entry=entry, due_at=due_at, **{**told, **fields})


def give_past(alias: str) -> None:
    """100,000 slots of 1,000 entries ``e0`` to ``e999``, one a minute each, the last one now; 20,000 in slow MariaDB.

    Of the last ones ten are claimed, ten published and not started, ten missed, and ten were sent without the lease.
    """
    vendor = connections[alias].vendor
    ago, uuid, entry = PAST_OF[vendor]
    now = f"{NOW:%Y-%m-%d %H:%M:%S}" + ("+00" if vendor == "postgresql" else "")
    state = "CASE WHEN i < 10 THEN 'claimed' WHEN i BETWEEN 20 AND 29 THEN 'missed' ELSE 'published' END"
    ran_at = f"CASE WHEN i < 30 THEN NULL ELSE {ago} END"
    sender = "CASE WHEN i BETWEEN 30 AND 39 THEN REPLACE('7@host mi', 'i', {}) END".format(
        "CAST(i AS CHAR)" if vendor == "mysql" else "CAST(i AS TEXT)"
    )
    with connections[alias].cursor() as cursor:
        if vendor == "mysql":
            limit = "max_recursive_iterations" if connections[alias].mysql_is_mariadb else "cte_max_recursion_depth"
            cursor.execute(f"SET {limit} = 100000")
        cursor.execute(
            "INSERT INTO cutover_slot (entry, due_at, epoch, side, state, task_id, claimed_at, published_at, "
            "run_started_at, run_by, sender, deduplicated, resent, passed_over, reason) "
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %s) "
            f"SELECT {entry}, {ago}, 1, 'code', {state}, {uuid}, {ago}, {ago}, {ran_at}, 'w', {sender}, "
            "0, 0, 0, '' FROM n ORDER BY i DESC",
            [CROWD * (PAST // 5 if vendor == "mysql" else PAST) - 1, *[now] * 4],
        )
    entries = [models.Entry(name=f"e{i}", fingerprint="f", eligible_since=NOW - DAY) for i in range(CROWD)]
    models.Entry.objects.using(alias).bulk_create(entries)
    _analyze(alias)


def _analyze(alias: str) -> None:
    """Let the database know how many slots there are, as servers do by themselves; vacuumed, too, where that counts."""
    with connections[alias].cursor() as cursor:
        if connections[alias].vendor != "sqlite":
            # What a test before has deleted would count in PostgreSQL's plans.
            look = "ANALYZE TABLE" if connections[alias].vendor == "mysql" else "VACUUM ANALYZE"
            cursor.execute(f"{look} cutover_slot, cutover_entry")
            return
        cursor.execute("ANALYZE")
        # As of when no slot was of the few that an index holds alone: then nothing is known of that index.
        partial = (
            "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'cutover_slot' AND sql LIKE '%WHERE%'"
        )
        cursor.execute(f"DELETE FROM sqlite_stat1 WHERE idx IN ({partial})")
        cursor.execute("ANALYZE sqlite_schema")


def settle(ledger: Ledger, term: Term, fingerprints: Mapping[EntryName, str]) -> dict[EntryName, dt.datetime] | None:
    """Let the ledger know these entries and no others, new and changed ones as eligible since now; None when fenced."""

    def decide(known: Mapping[EntryName, KnownEntry]) -> dict[EntryName, KnownEntry]:
        changed = {
            n: KnownEntry(fingerprint, clock.now())
            for n, fingerprint in fingerprints.items()
            if n not in known or (known[n].fingerprint, known[n].is_active) != (fingerprint, True)
        }
        return changed | {n: replace(k, is_active=False) for n, k in known.items() if n not in fingerprints}

    known = ledger.entries.revise(term, decide)
    return None if known is None else {n: known[n].eligible_since for n in fingerprints}
