"""Sets of slots, compared unread: the database counts those of the ledger, and arithmetic those of a timetable.

Two sets of one entry are taken for the same where count and checksums agree: by chance that is so of one in millions
of those that also have as many slots and the same sum of instants.
"""

import datetime as dt
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

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND: Final = dt.timedelta(seconds=1)
_MIX: Final = "({0} * 1103515245 % 33554393 * ({0} % 4093))"
"""Scatters seconds; stays within 64 bits for sixty million slots of one entry, and until 2230."""
_RESUMED: Final = dt.timedelta(minutes=30)
"""How far the beginning may move, as the retention's does, before all is counted again."""


class Tally(NamedTuple):
    """A set of slots: how many, and checksums of their seconds and of what is beyond these."""

    slots: int = 0
    seconds: int = 0
    microseconds: int = 0

    def plus(self, other: "Tally") -> "Tally":
        """That of both sets, which have no slot in common."""
        return Tally(*(mine + its for mine, its in zip(self, other, strict=True)))


class Fires(NamedTuple):
    """The slots of a timetable up to some instant, and the first one after that."""

    tally: Tally
    following: dt.datetime | None


def fires(table: Timetable, first: dt.datetime | None, until: dt.datetime) -> Fires:
    """``first``, which is one of the timetable's, and all that follow up to and including ``until``."""
    if (every := interval(table)) is not None and first is not None and first <= until and not every % _SECOND:
        count = (until - first) // every + 1
        begin, step = (first - _EPOCH) // _SECOND, every // _SECOND
        seconds = sum([_mixed(second) for second in range(begin, begin + count * step, step)])
        return Fires(Tally(count, seconds, count * first.microsecond), first + count * every)
    slots = seconds = microseconds = 0
    while first is not None and first <= until:
        slots += 1
        seconds += _mixed((first - _EPOCH) // _SECOND)
        microseconds += first.microsecond
        first = table.next_after(first)
    return Fires(Tally(slots, seconds, microseconds), first)


def counted(
    slots: QuerySet[models.Slot], after: dt.datetime, until: dt.datetime, before: dt.datetime | None = None
) -> dict[EntryName, Tally]:
    """Those of ``slots`` that are due in ``(after, until]`` and before ``before``, by entry; reads an index alone."""
    due_at = _All("due_at", output_field=InstantField())
    bounds = [GreaterThan(due_at, after), LessThanOrEqual(due_at, until)]
    found = slots.filter(*bounds, **({} if before is None else {"due_at__lt": before})).order_by()
    rows = found.values_list("entry").annotate(
        slots=Count("*"), seconds=Sum(_Seconds("due_at")), microseconds=Sum(_Microseconds("due_at"))
    )
    return {EntryName(entry): Tally(*map(int, sums)) for entry, *sums in rows}


@dataclass(slots=True)
class Counting:
    """What was counted so far, to go on from where the last look ended. Raises as the database does."""

    since: dt.datetime = _EPOCH
    until: dt.datetime = _EPOCH
    tallies: dict[EntryName, Tally] = field(default_factory=dict)

    def look(self, slots: QuerySet[models.Slot], since: dt.datetime, until: dt.datetime) -> dt.datetime:
        """Count up to ``until``; returns since when: ``since``, or a little before, where that was counted already."""
        if not self.since <= since < self.since + _RESUMED:
            self.since, self.until, self.tallies = since, since, {}
        for name, more in counted(slots, self.until, until).items():
            self.tallies[name] = self.tallies.get(name, Tally()).plus(more)
        self.until = max(until, self.until)
        return self.since

    def again(self, slots: QuerySet[models.Slot], name: EntryName) -> Tally:
        """Count one entry again: a slot may have been recorded late."""
        self.tallies[name] = counted(slots.filter(entry=name), self.since, self.until).get(name, Tally())
        return self.tallies[name]


def _mixed(second: int) -> int:
    return second * 1103515245 % 33554393 * (second % 4093)


class _All(Func):
    """An instant as it is. SQLite would go by the index of it, and from there to every row."""

    template = "%(expressions)s"
    arity = 1

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """See Django."""
        return self.as_sql(compiler, connection, template="+%(expressions)s", **context)


class _Seconds(Func):
    """The whole seconds of an instant, scattered."""

    output_field = BigIntegerField()
    arity = 1
    of_postgres = "FLOOR(DATE_PART('epoch', %(expressions)s))::bigint"
    of_mysql = "TIMESTAMPDIFF(SECOND, '1970-01-01', %(expressions)s)"
    of_sqlite = "UNIXEPOCH(%(expressions)s)"
    of_old_sqlite = "CAST(STRFTIME('%%%%s', %(expressions)s) AS INTEGER)"

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """See Django."""
        return self._as(self.of_postgres, compiler, connection, context)

    def as_mysql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """See Django."""
        return self._as(self.of_mysql, compiler, connection, context)

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """See Django."""
        is_old = connection.Database.sqlite_version_info < (3, 38)  # type: ignore[attr-defined]
        return self._as(self.of_old_sqlite if is_old else self.of_sqlite, compiler, connection, context)

    def _as(self, seconds: str, compiler: SQLCompiler, connection: BaseDatabaseWrapper, context: Any) -> Any:
        return self.as_sql(compiler, connection, template=_MIX.replace("%", "%%%%").format(seconds), **context)


class _Microseconds(Func):
    """What an instant has beyond its whole seconds."""

    output_field = BigIntegerField()
    template = "MICROSECOND(%(expressions)s)"
    arity = 1

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """See Django."""
        template = "(DATE_PART('epoch', %(expressions)s) * 1000000)::bigint %%%% 1000000"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """Django stores six digits, or none."""
        return self.as_sql(compiler, connection, template="CAST(SUBSTR(%(expressions)s, 21) AS INTEGER)", **context)
