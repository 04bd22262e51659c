"""Cursors: where entries stand, each by a look-up of its latest slot in the index; never a scan of the slots."""

import datetime as dt
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Protocol, TypeVar

from django.db import connections
from django.db.models import F, Max, OuterRef, QuerySet, Subquery
from django.db.models.lookups import GreaterThan

from cutover import models
from cutover.fields import Quickly
from cutover.ledger import quick
from cutover.ledger.database import outages
from cutover.types import UNLIMITED, Cursor, EntryName, Limits

OVERLAP: Final = 1_000
"""How many slots before the last known one are read again: transactions may commit out of the order of their keys."""
_NONE_YET: Final = -1
"""The key to follow from where no slot was recorded so far; then there is nothing to look up either."""
_BATCH: Final = 200
"""How many look-ups one statement makes; SQLite takes 500 at most."""
_ROWS: Final = 2_000
"""How many rows are read by their keys at once."""
_COLUMNS: Final = [field.attname for field in models.Slot._meta.concrete_fields]
_LATEST: Final = (
    "SELECT * FROM (SELECT id, entry, due_at FROM cutover_slot WHERE entry = %s{} ORDER BY due_at DESC LIMIT {}) "
    "AS latest"
)
"""One look-up: grouping would read all slots of all entries."""
LATEST_FIRST: Final = ("-entry", "-due_at")
"""The order of an entry's slots where another table names the entry: asked for less than the index, MySQL sorts all."""
_UNTIL: Final = " AND due_at <= %s"
_BEFORE: Final = " AND due_at < %s"


class _HasDue(Protocol):
    @property
    def due_at(self) -> dt.datetime: ...


_Due = TypeVar("_Due", bound=_HasDue)


class Cursors:
    """The cursors in one database. Every method raises LedgerUnavailable."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._slots = models.Slot.objects.using(alias)

    @property
    def newest(self) -> Subquery:
        """The key of the slot that was recorded last, None for none, to be asked for with something else."""
        return Subquery(self._slots.order_by("-pk").values("pk")[:1])

    def read(self, until: dt.datetime | None = None) -> dict[EntryName, Cursor]:
        """Where every entry stands that the ledger knows as active; ``until``: as of the slots due by then."""
        due = self._slots if until is None else self._slots.filter(due_at__lte=until)
        with outages(self._alias):
            rows = list(self._known(due).filter(active=True).values_list("name", "last", "eligible_since"))
        return {EntryName(name): Cursor(last, eligible_since) for name, last, eligible_since in rows}

    def of(self, entry: EntryName) -> tuple[Cursor, Limits] | None:
        """Where one entry stands, and within which limits; None where it has no slot and is not active either.

        The latest slot of one that is not active is also what it would go on from.
        """
        last = self.latest_of([entry]).get(entry)
        with outages(self._alias):
            known = models.Entry.objects.using(self._alias).filter(name=entry, active=True).first()
        if known is not None:
            return Cursor(last, known.eligible_since), known.limits
        return None if last is None else (Cursor(last, last), UNLIMITED)

    def latest_rows(
        self, until: dt.datetime, make: Callable[[Any], _Due], only: EntryName | None = None
    ) -> tuple[dict[EntryName, Cursor], dict[EntryName, _Due]]:
        """Where every active entry stands as of the slots due by ``until``, and the latest slot of each that has one.

        ``make`` is given that as it is read, what a ``Slot`` has, by the same names, and no more: what is made of it is
        kept alone. ``only``: of one entry.
        """
        due = self._slots.filter(due_at__lte=until, entry=OuterRef("name")).order_by(*LATEST_FIRST)
        entries = models.Entry.objects.using(self._alias).filter(active=True).order_by()
        entries = entries if only is None else entries.filter(name=only)
        found, made = [], dict[int, _Due]()
        with outages(self._alias):
            keyed = entries.annotate(key=Subquery(due.values("pk")[:1]))
            found = list(keyed.values_list("name", Quickly("eligible_since"), "key"))
            keys = [key for *_, key in found if key is not None]
            for start in range(0, len(keys), _ROWS):
                some = quick.of_keys(self._slots.order_by(), keys[start : start + _ROWS])
                made |= {row.id: make(row) for row in quick.rows(some, _COLUMNS)}
        cursors, latest = dict[EntryName, Cursor](), dict[EntryName, _Due]()
        for name, eligible_since, key in found:
            if (last := made.get(key)) is not None:
                latest[EntryName(name)] = last
            cursors[EntryName(name)] = Cursor(last.due_at if last is not None else None, eligible_since)
        return cursors, latest

    def latest_of(
        self, entries: Collection[EntryName], until: dt.datetime | None = None
    ) -> dict[EntryName, dt.datetime]:
        """The latest slot of each of these entries that has any, whether the ledger knows the entry or not.

        ``until``: of the slots due by then alone.
        """
        wanted = set(entries)
        slots = self._slots if until is None else self._slots.filter(due_at__lte=until)
        found: dict[EntryName, dt.datetime | None] = {}
        with outages(self._alias):
            if len(wanted) > _BATCH:
                found = {EntryName(n): last for n, last in self._known(slots).values_list("name", "last")}
        found.update(self.latest_until(dict.fromkeys(wanted - found.keys(), until)))
        return {name: last for name, last in found.items() if last is not None and name in wanted}

    def latest_until(self, until: Mapping[EntryName, dt.datetime | None]) -> dict[EntryName, dt.datetime]:
        """The latest slot of each of these entries that was due by an instant of its own, where there is any.

        None: of all slots.
        """
        found, column = dict[EntryName, dt.datetime](), models.Slot._meta.get_field("due_at")
        wanted = list(until.items())
        with outages(self._alias):
            for start in range(0, len(wanted), _BATCH):
                statements, given = [], list[Any]()
                for name, at in wanted[start : start + _BATCH]:
                    statements.append(_LATEST.format("" if at is None else _UNTIL, 1))
                    bound = [] if at is None else [column.get_db_prep_value(at, connections[self._alias])]
                    given += [name, *bound]
                rows = self._slots.raw(" UNION ALL ".join(statements), given)
                found.update({EntryName(row.entry): row.due_at for row in rows})
        return found

    def outcomes_before(self, until: dt.datetime, entries: Collection[EntryName]) -> dict[EntryName, str | None]:
        """How the run of the slot before the latest that is due by ``until`` has ended, of the active ones of these."""
        due = self._slots.filter(due_at__lte=until, entry=OuterRef("name")).order_by(*LATEST_FIRST)
        known = models.Entry.objects.using(self._alias).filter(active=True).order_by()
        known = known.filter(name__in=entries) if len(entries) <= _BATCH else known
        with outages(self._alias):
            rows = list(known.annotate(outcome=Subquery(due.values("outcome")[1:2])).values_list("name", "outcome"))
        return {EntryName(name): outcome for name, outcome in rows}

    def rows_before(
        self, until: Mapping[EntryName, dt.datetime], make: Callable[[Any], _Due], most: int
    ) -> dict[EntryName, list[_Due]]:
        """Of each of these entries the latest slots, at most ``most`` (>= 1), that were due before its instant.

        Newest first. ``make``: as for ``latest_rows``.
        """
        column, wanted = models.Slot._meta.get_field("due_at"), list(until.items())
        found: dict[EntryName, list[_Due]] = {entry: [] for entry in until}
        with outages(self._alias):
            for start in range(0, len(wanted), _BATCH):
                some = wanted[start : start + _BATCH]
                given = [(name, column.get_db_prep_value(at, connections[self._alias])) for name, at in some]
                statement = " UNION ALL ".join([_LATEST.format(_BEFORE, most)] * len(some))
                keys = [row.pk for row in self._slots.raw(statement, [value for pair in given for value in pair])]
                for row in quick.rows(quick.of_keys(self._slots.order_by(), keys), _COLUMNS) if keys else ():
                    found[EntryName(row.entry)].append(make(row))
        for rows in found.values():
            rows.sort(key=lambda row: row.due_at, reverse=True)
        return found

    def follow(
        self,
        key: int,
        wholly: Collection[EntryName] = (),
        until: dt.datetime | None = None,
        *,
        overlap: int = OVERLAP,
    ) -> tuple[dict[EntryName, dt.datetime], int]:
        """The latest slot of each entry among those recorded after ``key``, and the key to follow from next time.

        ``wholly``: entries of which older slots count too. From ``key`` 0 these alone are read. ``until``: slots that
        are due later, which a clock that was ahead has left, do not count. ``overlap``: how many slots before ``key``
        are read again; 0 finds all that leaders have claimed, who do it one after the other.
        """
        slots, last = self._slots, dict[EntryName, dt.datetime]()
        with outages(self._alias):
            if not key:
                key = slots.aggregate(newest=Max("pk"))["newest"] or _NONE_YET
                if key == _NONE_YET:
                    return last, key
            else:
                # Not grouped by the database: SQLite would walk through the index of all slots to do that.
                recent = slots.filter(pk__gt=key - overlap).order_by("pk")
                for pk, entry, due_at in recent.values_list("pk", "entry", "due_at"):
                    name, key = EntryName(entry), max(key, pk)
                    if until is None or due_at <= until:
                        last[name] = max(due_at, last.get(name, due_at))
                if overlap and not last:  # the table was emptied, and counts its keys from the start again
                    key = min(key, slots.aggregate(newest=Max("pk"))["newest"] or 1)
        # After the key was read: what is recorded in between is in both.
        return last | self.latest_of(wholly, until), key

    def _known(self, slots: QuerySet[models.Slot]) -> QuerySet[Any]:
        latest = slots.filter(entry=OuterRef("name")).order_by(*LATEST_FIRST).values("due_at")[:1]
        return models.Entry.objects.using(self._alias).order_by().annotate(last=Subquery(latest))


def superseded(alias: str, until: dt.datetime) -> GreaterThan:
    """Whether a newer slot of the same entry, due by ``until``, is in the ledger: one look-up in the index a row."""
    # Not "exists a newer one": MariaDB would look for that among all slots of the entry.
    slots = models.Slot.objects.using(alias).filter(entry=OuterRef("entry"), due_at__lte=until)
    return GreaterThan(Subquery(slots.order_by(*LATEST_FIRST).values("due_at")[:1]), F("due_at"))
