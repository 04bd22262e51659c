"""Sets of slots, compared unread: the database counts those of the ledger, and arithmetic those of a timetable.

Two sets of one entry are taken for the same where count and checksum agree: by chance that is so of one in hundreds of
millions of those that have as many slots.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BigIntegerField, Count, Func, QuerySet, Sum
from django.db.models.lookups import GreaterThan, LessThanOrEqual
from django.db.models.sql.compiler import SQLCompiler

from cutover import models
from cutover.fields import InstantField
from cutover.schedules.timetable import Timetable, interval
from cutover.types import EntryName

EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND: Final = dt.timedelta(seconds=1)
_INSTANT: Final = dt.timedelta.resolution
_POSTGRES_SECONDS: Final = "TSTZRANGE_SUBDIFF(%(expressions)s, 'epoch')"
"""Those since 1970, by what PostgreSQL measures ranges of instants with: DATE_PART takes several times as long."""
_MODULI: Final = (1073741783, 998244353, 1073741789)
"""What scatters microseconds: what is multiplied is within 64 bits, for SQL, and what comes of it within 30, as much as
Python has in one digit."""
_RESUMED: Final = dt.timedelta(minutes=30)
"""How far the beginning may move, as the retention's does, before all is counted again."""


class Tally(NamedTuple):
    """A set of slots: how many, and a checksum of their instants."""

    slots: int = 0
    checksum: int = 0

    def plus(self, other: "Tally") -> "Tally":
        """That of both sets, which have no slot in common."""
        return Tally(self.slots + other.slots, self.checksum + other.checksum)

    def minus(self, other: "Tally") -> "Tally":
        """That of what is left without the others."""
        return Tally(self.slots - other.slots, self.checksum - other.checksum)


def total(tallies: Iterable[Tally]) -> Tally:
    """That of all, no two of which have a slot in common."""
    return Tally(*map(sum, zip(Tally(), *tallies, strict=True)))


class Fires(NamedTuple):
    """The slots of a timetable up to some instant, and the first one after that."""

    tally: Tally
    following: dt.datetime | None


def fires(table: Timetable, first: dt.datetime | None, until: dt.datetime) -> Fires:
    """``first``, which is one of the timetable's, and all that follow up to and including ``until``."""
    if (every := interval(table)) is not None and first is not None and first <= until:
        count = (until - first) // every + 1
        begin, step = microseconds(first), every // _INSTANT
        checksum = sum([scattered(at) for at in range(begin, begin + count * step, step)])
        return Fires(Tally(count, checksum), first + count * every)
    slots = checksum = 0
    while first is not None and first <= until:
        slots += 1
        checksum += scattered(microseconds(first))
        first = table.next_after(first)
    return Fires(Tally(slots, checksum), first)


def tallies(slots: QuerySet[models.Slot]) -> dict[EntryName, Tally]:
    """Those of slots, by entry."""
    rows = slots.order_by().values_list("entry").annotate(slots=Count("*"), checksum=Sum(CHECKSUM))
    return {EntryName(entry): Tally(count, int(checksum)) for entry, count, checksum in rows}


def counted(slots: QuerySet[models.Slot], after: dt.datetime, until: dt.datetime) -> dict[EntryName, Tally]:
    """Those of ``slots`` that are due in ``(after, until]``, by entry; reads an index alone."""
    due_at = _All("due_at", output_field=InstantField())
    return tallies(slots.filter(GreaterThan(due_at, after), LessThanOrEqual(due_at, until)))


def counted_by_part(
    slots: QuerySet[models.Slot], entries: Collection[EntryName], parts: "Parts"
) -> Iterator[tuple[EntryName, int, Tally]]:
    """Those of ``entries`` that are due in each part that has any; reads an index alone."""
    number = PartNumber("due_at", begin=parts.begin_s, width=parts.width_s)
    found = slots.filter(entry__in=entries, due_at__gt=parts.since, due_at__lte=parts.until).order_by()
    # Not by a cursor of the server: PostgreSQL would count on one core.
    rows = found.values_list("entry", number).annotate(slots=Count("*"), checksum=Sum(CHECKSUM))
    for entry, part, count, checksum in rows:
        yield EntryName(entry), int(part), Tally(count, int(checksum))


class Parts(NamedTuple):
    """The time ``(since, until]``, in parts of ``width_s`` whole seconds, which are numbered from 0."""

    since: dt.datetime
    until: dt.datetime
    width_s: int

    @property
    def begin_s(self) -> int:
        """Where the first would begin, in seconds since 1970."""
        return (self.since - EPOCH) // _SECOND

    @property
    def number(self) -> int:
        """How many there are."""
        return ((self.until - EPOCH) // _SECOND - self.begin_s) // self.width_s + 1

    def after(self, part: int) -> dt.datetime:
        """After when a part's slots are due."""
        return max(self.since, self._begin(part) - _INSTANT)

    def end(self, part: int) -> dt.datetime:
        """Until when."""
        return min(self.until, self._begin(part + 1) - _INSTANT)

    def _begin(self, part: int) -> dt.datetime:
        return EPOCH + (self.begin_s + part * self.width_s) * _SECOND


@dataclass(slots=True)
class Counting:
    """What was counted so far, to go on from where the last look ended. Raises as the database does."""

    since: dt.datetime = EPOCH
    until: dt.datetime = EPOCH
    tallies: dict[EntryName, Tally] = field(default_factory=dict)

    def look(self, slots: QuerySet[models.Slot], since: dt.datetime, until: dt.datetime) -> dt.datetime:
        """Count up to ``until``; returns since when: ``since``, or a little before, where that was counted already."""
        if not self.since <= since < self.since + _RESUMED:
            self.since, self.until, self.tallies = since, since, {}
        if until > self.until:
            for name, more in counted(slots, self.until, until).items():
                self.tallies[name] = self.tallies.get(name, Tally()).plus(more)
            self.until = until
        return self.since


def microseconds(at: dt.datetime) -> int:
    """An instant in whole microseconds since 1970. Pure."""
    return (at - EPOCH) // _INSTANT


def scattered(at: int) -> int:
    """An instant in microseconds, as it is summed for a checksum. Pure."""
    one, other, whole = _MODULI
    return at % one * (at % other) % whole


class _All(Func):
    """An instant as it is. SQLite would go by the index of it, and from there to every row."""

    template = "%(expressions)s"
    arity = 1

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """See Django."""
        return self.as_sql(compiler, connection, template="+%(expressions)s", **context)


class _Since1970(Func):
    """A number that ``of`` makes of an instant's whole seconds or microseconds since 1970."""

    output_field = BigIntegerField()
    arity = 1
    of: str
    postgres = {
        "seconds": f"FLOOR({_POSTGRES_SECONDS})::bigint",
        "microseconds": f"({_POSTGRES_SECONDS} * 1000000)::bigint",
    }
    mysql = {
        unit: f"TIMESTAMPDIFF({unit[:-1].upper()}, '1970-01-01', %(expressions)s)"
        for unit in ("seconds", "microseconds")
    }
    # SQLite counts in milliseconds, to which it rounds up; and Django stores six digits, or none. What SUBSTR makes
    # takes memory, for which all threads that count wait for each other: so only where there is no doing without.
    sqlite = (
        "CASE WHEN %(expressions)s GLOB '*.999[5-9]*' THEN UNIXEPOCH(SUBSTR(%(expressions)s, 1, 19))"
        " ELSE UNIXEPOCH(%(expressions)s) END"
    )
    old_sqlite = "CAST(STRFTIME('%%%%s', SUBSTR(%(expressions)s, 1, 19)) AS INTEGER)"
    beyond_sqlite = (
        "CASE WHEN LENGTH(%(expressions)s) = 19 THEN 0 ELSE CAST(SUBSTR(%(expressions)s, 21) AS INTEGER) END"
    )

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """See Django."""
        return self._as(self.postgres, compiler, connection, context)

    def as_mysql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """See Django."""
        return self._as(self.mysql, compiler, connection, context)

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """See Django."""
        is_old = connection.Database.sqlite_version_info < (3, 38)  # type: ignore[attr-defined]
        seconds = self.old_sqlite if is_old else self.sqlite
        units = {"seconds": f"({seconds})", "microseconds": f"(({seconds}) * 1000000 + ({self.beyond_sqlite}))"}
        return self._as(units, compiler, connection, context)

    def _as(
        self, units: Mapping[str, str], compiler: SQLCompiler, connection: BaseDatabaseWrapper, context: Any
    ) -> Any:
        return self.as_sql(compiler, connection, template=self.of.format(**units), **context)


class _Scattered(_Since1970):
    """Microseconds as ``scattered`` has them."""

    of = "({{microseconds}} %%%% {} * ({{microseconds}} %%%% {}) %%%% {})".format(*_MODULI)

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """Of what has 64 bits it makes decimal sums, which take twice as long."""
        return self.as_sql(compiler, connection, template=f"{self.of.format(**self.postgres)}::int", **context)


class PartNumber(_Since1970):
    """Which part of ``width`` whole seconds an instant is in, counted from ``begin`` in seconds since 1970."""

    of = "(({seconds} - %(begin)s) / %(width)s)"

    def as_mysql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """There only ``DIV`` divides whole numbers."""
        template = f"(({self.mysql['seconds']} - %(begin)s) DIV %(width)s)"
        return self.as_sql(compiler, connection, template=template, **context)


CHECKSUM: Final = _Scattered("due_at")
"""What is summed for a tally."""
