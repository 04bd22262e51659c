"""What the ledger knows of the schedule's entries: since when each is owed its slots."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Final

from django.db.models import Count, QuerySet

from cutover import clock, models
from cutover.ledger import bulk
from cutover.ledger.database import Database
from cutover.ledger.fence import Fence
from cutover.types import UNLIMITED, EntryName, Limits, Term

NONE: Final[Mapping[EntryName, dt.datetime]] = MappingProxyType({})
NO_LIMITS: Final[Mapping[EntryName, Limits]] = MappingProxyType({})
_FEW: Final = 100
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_CLOCKS_APART: Final = dt.timedelta(minutes=1)
"""How long before the last known change of an entry changes are read again: the hosts' clocks may differ."""


@dataclass(frozen=True, slots=True)
class _Known:
    """One entry as the ledger has it."""

    fingerprint: str
    eligible_since: dt.datetime
    active: bool = True
    not_before: dt.datetime | None = None
    not_after: dt.datetime | None = None

    @property
    def limits(self) -> Limits:
        """Its start and end."""
        return Limits(self.not_before, self.not_after)


@dataclass(frozen=True, slots=True)
class KnownEntry:
    """One entry as the ledger has it."""

    fingerprint: str
    eligible_since: dt.datetime
    limits: Limits = UNLIMITED
    is_active: bool = True


class Entries:
    """The entries in one database. Every method raises LedgerUnavailable."""

    def __init__(self, database: Database, fence: Fence) -> None:
        self._database = database
        self._alias = database.alias
        self._fence = fence
        self._known: dict[EntryName, _Known] = {}
        self._version = 0
        self._changes: dict[dt.datetime, int] = {}

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
        with self._database.transaction():
            if not self._fence.admits(term):
                return None
            self._learn()
            changes = dict(_entry_changes(self._known, fingerprints, limits, records, made, foreign, now))
            changed = [models.Entry(name=n, changed_at=now, **asdict(known)) for n, known in changes.items()]
            bulk.insert(self._alias, [entry for entry in changed if entry.name not in self._known])
            fields = ("fingerprint", "active", "eligible_since", "not_before", "not_after", "changed_at")
            bulk.update(self._alias, [entry for entry in changed if entry.name in self._known], fields)
        self._known.update(changes)
        self._version += bool(changes)
        return {name: self._known[name].eligible_since for name in fingerprints}

    def version(self) -> int:
        """A number that differs once something has changed in what the ledger knows of the entries."""
        with self._database.asked():
            self._learn()
        return self._version

    def eligible_alike(
        self, fingerprints: Mapping[EntryName, str], limits: Mapping[EntryName, Limits] = NO_LIMITS
    ) -> dict[EntryName, dt.datetime]:
        """Since when slots are owed to those entries that the ledger is known to have with this schedule and limits."""
        return {
            name: known.eligible_since
            for name, fingerprint in fingerprints.items()
            if (known := self._known.get(name)) is not None
            and known.active
            and known.fingerprint == fingerprint
            and known.limits == limits.get(name, UNLIMITED)
        }

    @property
    def known(self) -> Mapping[EntryName, KnownEntry]:
        """As last read."""
        return {n: KnownEntry(k.fingerprint, k.eligible_since, k.limits, k.active) for n, k in self._known.items()}

    def refresh(self, revision: int | None = None) -> int:
        """Read what has changed."""
        return self.version()

    def revise(
        self, term: Term, decide: Callable[[Mapping[EntryName, KnownEntry]], Mapping[EntryName, KnownEntry]]
    ) -> Mapping[EntryName, KnownEntry] | None:
        """Under the fence, in one commit."""
        now = clock.now()
        with self._database.transaction():
            if not self._fence.admits(term):
                return None
            self._learn()
            changes = {
                n: _Known(k.fingerprint, k.eligible_since, k.is_active, k.limits.not_before, k.limits.not_after)
                for n, k in decide(self.known).items()
            }
            changed = [models.Entry(name=n, changed_at=now, **asdict(known)) for n, known in changes.items()]
            bulk.insert(self._alias, [entry for entry in changed if entry.name not in self._known])
            fields = ("fingerprint", "active", "eligible_since", "not_before", "not_after", "changed_at")
            bulk.update(self._alias, [entry for entry in changed if entry.name in self._known], fields)
        self._known.update(changes)
        self._version += bool(changes)
        return self.known

    def _learn(self) -> None:
        """Read what has changed of the entries since the last time, so that taking office need not read them all."""
        rows = models.Entry.objects.using(self._alias)
        if self._known:
            self._read_changes(rows)
        if rows.count() != len(self._known):  # nothing is known yet, or some were deleted
            self._known, self._changes = {}, {}
            self._read_changes(rows)

    def _read_changes(self, rows: QuerySet[models.Entry]) -> None:
        # What one transaction wrote has one `changed_at`; those that are known in full need not be read again.
        since = max(self._changes, default=_EPOCH) - _CLOCKS_APART
        changes = dict(rows.filter(changed_at__gt=since).values_list("changed_at").annotate(Count("pk")).order_by())
        unknown = [at for at, count in changes.items() if self._changes.get(at) != count]
        columns = ("name", "fingerprint", "eligible_since", "active", "not_before", "not_after")
        if len(unknown) > _FEW:
            unread = rows.filter(changed_at__gt=since)
        else:
            unread = rows.filter(changed_at__in=unknown) if unknown else rows.none()
        for name, *rest in unread.values_list(*columns):
            known = _Known(*rest)
            if self._known.get(name) != known:
                self._known[EntryName(name)] = known
                self._version += 1
        self._changes = changes or self._changes

    def all_eligible_since(self) -> dict[EntryName, dt.datetime]:
        """Since when slots are owed to every entry that the ledger knows of."""
        with self._database.asked():
            rows = models.Entry.objects.using(self._alias).values_list("name", "eligible_since")
            return {EntryName(name): eligible_since for name, eligible_since in rows}


def _entry_changes(
    known: Mapping[EntryName, _Known],
    fingerprints: Mapping[EntryName, str],
    limits: Mapping[EntryName, Limits],
    records: Mapping[EntryName, dt.datetime],
    made: Mapping[EntryName, dt.datetime],
    foreign: Mapping[EntryName, dt.datetime],
    now: dt.datetime,
) -> Iterator[tuple[EntryName, _Known]]:
    """What the ledger is to know of the entries that are new, changed, there again, or gone."""
    for name, fingerprint in fingerprints.items():
        before, since = known.get(name), min(made.get(name, now), now)
        limit = limits.get(name, UNLIMITED)
        if before is None:
            yield name, _Known(fingerprint, min(records.get(name, since), now), **asdict(limit))
        elif before.fingerprint != fingerprint:
            yield name, _Known(fingerprint, since, **asdict(limit))
        elif not before.active:
            yield name, _Known(fingerprint, now, **asdict(limit))
        else:
            eligible_since = before.eligible_since if before.limits == limit else _once_moved(before, now)
            if eligible_since < (run_at := foreign.get(name, eligible_since)) <= now:
                eligible_since = run_at
            if (eligible_since, limit) != (before.eligible_since, before.limits):
                yield name, replace(before, eligible_since=eligible_since, **asdict(limit))
    for name, before in known.items():
        if before.active and name not in fingerprints:
            yield name, replace(before, active=False)


def _once_moved(before: _Known, now: dt.datetime) -> dt.datetime:
    """Since when an entry is owed its slots whose limits are others now: what lay outside the old ones it is not."""
    return before.limits.eligible_since(before.eligible_since) if before.limits.admit(now) else now
