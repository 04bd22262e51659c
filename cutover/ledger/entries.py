"""What the ledger knows of the schedule's entries: since when each is owed its slots.

It has a revision, an integer on the fence's row, raised in the commit that changes what is known; each entry has that
of its last change. So whoever polls the fence knows whether there is anything to read, and reads what changed alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from cutover import clock, models
from cutover.ledger import bulk
from cutover.ledger.database import Database
from cutover.ledger.fence import Fence
from cutover.types import UNLIMITED, EntryName, Limits, Term

NONE: Final[Mapping[EntryName, dt.datetime]] = MappingProxyType({})
NO_LIMITS: Final[Mapping[EntryName, Limits]] = MappingProxyType({})
_UNREAD: Final = -1
"""The revision of one who has read nothing yet."""
_WRITTEN: Final = ("fingerprint", "active", "eligible_since", "not_before", "not_after", "revision")


@dataclass(frozen=True, slots=True)
class KnownEntry:
    """One entry as the ledger has it: what its schedule means, since when it is owed its slots, and within what.

    One that is not active is not in the schedule that was settled last.
    """

    fingerprint: str
    eligible_since: dt.datetime
    limits: Limits = UNLIMITED
    is_active: bool = True


Known = Mapping[EntryName, KnownEntry]


class Entries:
    """The entries in one database. Every method raises LedgerUnavailable."""

    def __init__(self, database: Database, fence: Fence) -> None:
        self._database = database
        self._alias = database.alias
        self._fence = fence
        self._known: Known = {}
        self._revision = _UNREAD

    @property
    def known(self) -> Known:
        """Every entry as it was read last."""
        return self._known

    def refresh(self, revision: int | None = None) -> int:
        """Read what has changed since the last time; returns the revision that is known then.

        ``revision``: the fence's, where that has just been read; costs no query when it is the known one.
        """
        with self._database.asked():
            self._read(self._fence.read().schedule_revision if revision is None else revision)
        return self._revision

    def revise(self, term: Term, decide: Callable[[Known], Known]) -> Known | None:
        """Change what is known, in one commit under the fence; returns everything known afterwards, None when fenced.

        ``decide`` is given everything known and returns the entries that are to be known otherwise.
        """
        with self._database.transaction():
            fence = self._fence.held_for(term)
            if fence is None:
                return None
            self._read(fence.schedule_revision)
            before, revision = self._known, self._revision
            changes = {name: known for name, known in decide(before).items() if before.get(name) != known}
            if changes:
                revision = self._fence.raise_revision()
                rows = [_row(name, known, revision) for name, known in changes.items()]
                bulk.insert(self._alias, [row for row in rows if row.name not in before])
                bulk.update(self._alias, [row for row in rows if row.name in before], _WRITTEN)
        # Only what was committed is known.
        self._known, self._revision = {**before, **changes}, revision
        return self._known

    def eligible_since(
        self,
        term: Term,
        fingerprints: Mapping[EntryName, str],
        records: Mapping[EntryName, dt.datetime],
        made: Mapping[EntryName, dt.datetime] = NONE,
        foreign: Mapping[EntryName, dt.datetime] = NONE,
        limits: Mapping[EntryName, Limits] = NO_LIMITS,
    ) -> dict[EntryName, dt.datetime] | None:
        """Since when slots are owed to each entry of the schedule; remembers entries that are new, changed or gone.

        An entry that is new, is there again, or has another schedule than before is owed nothing from before now; a new
        one starts from its own old record in ``records`` where it has one, and one that falls due once is owed since it
        was ``made``. One that stays is owed nothing up to a last run by another beat (``foreign``), nor what lay
        outside its ``limits`` before they were moved. None when fenced.
        """
        now = clock.now()
        known = self.revise(
            term, lambda before: dict(_entry_changes(before, fingerprints, limits, records, made, foreign, now))
        )
        return None if known is None else {name: known[name].eligible_since for name in fingerprints}

    def eligible_alike(
        self, fingerprints: Mapping[EntryName, str], limits: Mapping[EntryName, Limits] = NO_LIMITS
    ) -> dict[EntryName, dt.datetime]:
        """Since when slots are owed to those entries that the ledger is known to have with this schedule and limits."""
        return {
            name: known.eligible_since
            for name, fingerprint in fingerprints.items()
            if (known := self._known.get(name)) is not None
            and known.is_active
            and known.fingerprint == fingerprint
            and known.limits == limits.get(name, UNLIMITED)
        }

    def _read(self, revision: int) -> None:
        """Bring what is known to ``revision``; one that went back is that of a restored backup: all is read again."""
        if revision == self._revision:
            return
        is_behind = revision > self._revision != _UNREAD
        rows = models.Entry.objects.using(self._alias).order_by()
        changed = rows.filter(revision__gt=self._revision) if is_behind else rows
        columns = ("name", "fingerprint", "eligible_since", "active", "not_before", "not_after")
        found = {
            EntryName(name): KnownEntry(fingerprint, eligible_since, Limits(*limits), active)
            for name, fingerprint, eligible_since, active, *limits in changed.values_list(*columns)
        }
        self._known, self._revision = {**(self._known if is_behind else {}), **found}, revision


def _row(name: EntryName, known: KnownEntry, revision: int) -> models.Entry:
    return models.Entry(
        name=name,
        fingerprint=known.fingerprint,
        active=known.is_active,
        eligible_since=known.eligible_since,
        not_before=known.limits.not_before,
        not_after=known.limits.not_after,
        revision=revision,
    )


def _entry_changes(
    known: Known,
    fingerprints: Mapping[EntryName, str],
    limits: Mapping[EntryName, Limits],
    records: Mapping[EntryName, dt.datetime],
    made: Mapping[EntryName, dt.datetime],
    foreign: Mapping[EntryName, dt.datetime],
    now: dt.datetime,
) -> Iterator[tuple[EntryName, KnownEntry]]:
    """What the ledger is to know of the entries that are new, changed, there again, or gone."""
    for name, fingerprint in fingerprints.items():
        before, since = known.get(name), min(made.get(name, now), now)
        limit = limits.get(name, UNLIMITED)
        if before is None:
            yield name, KnownEntry(fingerprint, min(records.get(name, since), now), limit)
        elif before.fingerprint != fingerprint:
            yield name, KnownEntry(fingerprint, since, limit)
        elif not before.is_active:
            yield name, KnownEntry(fingerprint, now, limit)
        else:
            eligible_since = before.eligible_since if before.limits == limit else _once_moved(before, now)
            if eligible_since < (run_at := foreign.get(name, eligible_since)) <= now:
                eligible_since = run_at
            if (eligible_since, limit) != (before.eligible_since, before.limits):
                yield name, replace(before, eligible_since=eligible_since, limits=limit)
    for name, before in known.items():
        if before.is_active and name not in fingerprints:
            yield name, replace(before, is_active=False)


def _once_moved(before: KnownEntry, now: dt.datetime) -> dt.datetime:
    """Since when an entry is owed its slots whose limits are others now: what lay outside the old ones it is not."""
    return before.limits.eligible_since(before.eligible_since) if before.limits.admit(now) else now
