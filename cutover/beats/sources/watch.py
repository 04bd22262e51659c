"""Which of the database side's rows have changed: the database works it out, and its answer is small at any size.

Rows are taken in blocks of 256 primary keys. Of each block the database makes one mark of all that the schedule depends
on: enabled rows, and the four tables of schedules. Where the mark is another one, the block is to be read again.

What no mark shows: last runs and run counts, which do not decide what is sent; an edit that was undone before the next
look, past ``save()``, which moves ``date_changed``; and contents that happen to have the same mark, one edit in 2^32 on
MySQL and MariaDB, in 2^64 elsewhere. PostgreSQL's ``xmin`` and SQLite's counters say that nobody has written anything,
an undone edit included, and then no marks are asked for. Nothing is put on the tables, and no clock is relied on.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from django.db import connections
from django.db.models import (
    Aggregate,
    BigIntegerField,
    CharField,
    Count,
    F,
    Func,
    Model,
    QuerySet,
    Sum,
    TextField,
    Value,
)
from django_celery_beat.models import PeriodicTask

from cutover import clock
from cutover.schedules import columns
from cutover.schedules.rows import rows_database

WATCHED: Final = (
    *("id", "name", "task", "args", "kwargs", "queue", "exchange", "routing_key", "headers", "priority"),
    *("expires", "expire_seconds", "one_off", "start_time"),
    *("interval_id", "crontab_id", "solar_id", "clocked_id"),
)
"""Every column of a row that changes what is sent or when."""
SCHEDULES: Final = tuple(columns.MODELS.values())
"""The tables of schedules: the column of ``PeriodicTask`` that refers to each, and its model."""
BLOCK_BITS: Final = 8
LOOK_EVERY_S: Final = 3.5
"""How often there is a look where no change was announced: with polls of two seconds, at every other one of them."""
ROWS_A_LOOK: Final = 34_000
"""Of about how many rows such a look is, so that it is short; all of 100,000 have had theirs within 12 s."""


class Block(NamedTuple):
    """256 primary keys of one table: 0 for the periodic tasks, then those of ``SCHEDULES``, counted from 1."""

    table: int
    number: int

    @classmethod
    def of(cls, key: int, table: int = 0) -> "Block":
        """The block in which that primary key is."""
        return cls(table, key >> BLOCK_BITS)

    @property
    def keys(self) -> tuple[int, int]:
        """The first and the last primary key."""
        return self.number << BLOCK_BITS, ((self.number + 1) << BLOCK_BITS) - 1


Mark = tuple[int, Any]
"""Of a block: how many rows it has, and what was made of them."""


class Watch:
    """The marks of all blocks as they were taken over last; ``differing``: the blocks that have another one now.

    Methods raise what Django's database raises.
    """

    def __init__(self) -> None:
        self._marks: dict[Block, Mark] = {}
        self.differing: dict[Block, Mark | None] = {}
        self._parts: list[dt.datetime] = []  # as of when each part of the rows is as the marks say
        self._unlooked: set[int] = set()  # the parts that somebody may have written to since
        self._written: tuple[Any, ...] | None = None
        self._next_at_s = 0.0
        self._statements: dict[tuple[str, int, int], tuple[str, Any]] = {}

    @property
    def looked_at(self) -> dt.datetime:
        """When all rows were as the marks, and ``differing``, say. Not before the first look, which is a whole one."""
        return min(self._parts)

    def look(self, now: dt.datetime, *, whole: bool) -> None:
        """Look at all rows; not ``whole``: now and then at a part of them, so that all have had theirs in seconds."""
        now_s = clock.monotonic_s()
        if not whole and now_s < self._next_at_s:
            return
        self._next_at_s = now_s + LOOK_EVERY_S
        alias = rows_database()
        written = _written(alias)
        if written is None or written != self._written:
            self._written, self._unlooked = written, set(range(len(self._parts)))
        if whole:
            self._compare(alias, 1, 0)
            self._parts, self._unlooked = [now] * self._wanted_parts(), set()
            return
        if self._unlooked:
            part = min(self._unlooked, key=self._parts.__getitem__)
            self._compare(alias, len(self._parts), part)
            self._unlooked.discard(part)
        self._parts = [at if part in self._unlooked else now for part, at in enumerate(self._parts)]
        if (wanted := self._wanted_parts()) != len(self._parts):
            self._parts, self._unlooked = [self.looked_at] * wanted, set(range(wanted))

    def take_over(self, blocks: Iterable[Block]) -> None:
        """These blocks are read after this: what was found of them is what they are compared with from now on."""
        for block in blocks:
            if block not in self.differing:
                continue
            if (mark := self.differing.pop(block)) is None:
                self._marks.pop(block, None)
            else:
                self._marks[block] = mark

    def doubt(self, blocks: Iterable[Block]) -> None:
        """These blocks are to be read again, whatever their marks say."""
        for block in blocks:
            if (mark := self._marks.pop(block, None)) is not None:
                self.differing[block] = mark

    def _wanted_parts(self) -> int:
        found = {**self._marks, **self.differing}
        rows = sum(mark[0] for block, mark in found.items() if mark is not None and block.table == 0)
        return max(1, -(-rows // ROWS_A_LOOK))

    def _compare(self, alias: str, parts: int, part: int) -> None:
        key = (alias, parts, part)
        if key not in self._statements:
            self._statements[key] = _marks(alias, parts, part)
        with connections[alias].cursor() as cursor:
            cursor.execute(*self._statements[key])
            rows = cursor.fetchall()
        found = {Block(table, int(number)): (count, _short(mark)) for table, number, count, mark in rows if count}
        known = {block for block in self._marks.keys() | self.differing.keys() if block.number % parts == part}
        for block in known | found.keys():
            if found.get(block) == self._marks.get(block):
                self.differing.pop(block, None)
            else:
                self.differing[block] = found.get(block)


def _written(alias: str) -> tuple[Any, ...] | None:
    """What is another one once anybody has written any row; None where the database has nothing such."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":  # counted for one connection: its own writes, and all others'
            cursor.execute("SELECT data_version, total_changes() FROM pragma_data_version")
            return connection.connection, *cursor.fetchone()
        if connection.vendor == "postgresql":  # the transaction that has written each row as it is now
            cursor.execute(_VERSIONS)
            return tuple(cursor.fetchall())
    return None


_VERSIONS: Final = " UNION ALL ".join(
    f"SELECT COUNT(*), SUM(HASHINT8EXTENDED(xmin::text::bigint, id)) FROM {model._meta.db_table}"  # noqa: S608
    for model in (PeriodicTask, *(model for _, model in SCHEDULES))
)


class _Mark(Aggregate):
    output_field = TextField()


def _marks(alias: str, parts: int, part: int) -> tuple[str, Any]:
    """SQL for the marks of all blocks, or of those of one of ``parts``, which are numbered from 0."""
    tables: list[tuple[type[Model], Sequence[str]]] = [(PeriodicTask, (*WATCHED, "date_changed"))]
    tables += [(model, [field.attname for field in model._meta.concrete_fields]) for _, model in SCHEDULES]
    if connections[alias].vendor == "sqlite":
        return " UNION ALL ".join(_by_ranges(number, *each, parts, part) for number, each in enumerate(tables)), None
    first, *others = (_of_table(alias, number, *each, parts, part) for number, each in enumerate(tables))
    sql: tuple[str, Any] = first.union(*others, all=True).query.get_compiler(using=alias).as_sql()
    return sql


_BY_RANGES: Final = """
SELECT * FROM (
  WITH RECURSIVE block(number) AS (
    SELECT MIN(id) >> {bits} FROM {table}
    UNION ALL
    SELECT (SELECT MIN(id) >> {bits} FROM {table} WHERE id > (number << {bits}) + {last})
    FROM block WHERE number IS NOT NULL
  )
  SELECT {number}, number, (SELECT COUNT(*) {rows}), (SELECT CAST(GROUP_CONCAT(JSON_ARRAY({columns})) AS BLOB) {rows})
  FROM block WHERE number IS NOT NULL AND number % {parts} = {part}
)
"""
"""To group rows by block SQLite sorts them with all their columns; asked for each block's range of keys it does not."""


def _by_ranges(number: int, model: type[Model], names: Sequence[str], parts: int, part: int) -> str:
    """SQL for SQLite. A block that has rows, and no enabled ones, is there too, with none."""
    # SQLite keeps anything anywhere, bytes in a column of text too, and makes no JSON of them.
    texts = {field.attname for field in model._meta.concrete_fields if isinstance(field, CharField | TextField)}
    columns = ", ".join(f"CAST({name} AS TEXT)" if name in texts else name for name in names)
    table, last = model._meta.db_table, (1 << BLOCK_BITS) - 1
    which = "enabled" if model is PeriodicTask else "TRUE"
    first = f"(number << {BLOCK_BITS})"
    rows = f"FROM {table} WHERE {which} AND id BETWEEN {first} AND {first} + {last}"
    bounds = {"bits": BLOCK_BITS, "last": last, "parts": parts, "part": part}
    return _BY_RANGES.format(number=number, table=table, rows=rows, columns=columns, **bounds)


def _of_table(
    alias: str, number: int, model: type[Model], names: Sequence[str], parts: int, part: int
) -> QuerySet[Any, Any]:
    rows: QuerySet[Any] = model._default_manager.using(alias).order_by()
    if model is PeriodicTask:
        rows = rows.filter(enabled=True)
    rows = rows.annotate(table=Value(number), block=F("pk").bitrightshift(BLOCK_BITS))
    if parts > 1:
        rows = rows.annotate(part=F("block") % parts).filter(part=part)
    mark = _mark_of(connections[alias].vendor, names)
    found: QuerySet[Any, Any] = rows.values_list("table", "block").annotate(count=Count("pk"), mark=mark)
    return found


def _mark_of(vendor: str, names: Sequence[str]) -> Aggregate:
    """One value made of these columns of all rows of a block, the first of which is the primary key."""
    if vendor == "postgresql":
        return _Mark(*names, template="SUM(HASHTEXTEXTENDED(ROW(%(expressions)s)::text, 0))")
    quoted = [Func(F(name), function="QUOTE", output_field=TextField()) for name in names]
    said = Func(Value(","), *quoted, function="CONCAT_WS", output_field=TextField())
    # Weighed by the key: of two rows in which the same letter changes alike, the checksums' bits would cancel out.
    of_row, of_key = (Func(each, function="CRC32", output_field=BigIntegerField()) for each in (said, F(names[0])))
    return Sum(of_row * of_key)


def _short(mark: Any) -> Any:
    return hash(mark) if isinstance(mark, bytes) else mark
