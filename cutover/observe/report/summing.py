"""Sums over what a query computes of each slot, by statements that compute it once a slot.

The ORM groups by expressions themselves. PostgreSQL takes one of a slot's instants to have as many values as there are
slots, so that it would sort all of them, instead of counting groups in memory, and with all its workers; and an
expression would be computed again for each sum of it.
"""

import datetime as dt
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, NamedTuple

from django.db import connections
from django.db.models import Min, QuerySet
from django.db.transaction import atomic

from cutover import models
from cutover.observe.report import scale

_APART: Final = {"postgresql": ("", " OFFSET '0'"), "sqlite": (" LIMIT -1 OFFSET 0", "")}
"""Keeps the planner from computing a column where it is used; of the first query, and of that around it.

PostgreSQL makes one step of the two, so that a row is handed on once. Quoted: it takes a number for something to be
computed, and does not give such a query to several workers. MariaDB and MySQL would store all rows for it.
"""
_IN_MEMORY: Final = {"postgresql": ("SET LOCAL enable_sort = off", "SET LOCAL work_mem = '64MB'")}
"""PostgreSQL expects many more groups than there are, and would sort all slots on the disk: twice the time."""
_IN_MEMORY_OF_MARIADB: Final = f"SET STATEMENT tmp_table_size = {256 << 20}, max_heap_table_size = {256 << 20} FOR "
"""At most, for one statement: a group takes it nearly 1 kB, for it has room for the longest name, and 10,000 entries
have some 150,000. With its usual 16 MB it would go on in a file, and take three times as long."""
_EACH: Final = 100
"""By what a number is multiplied to have another behind it."""
_NONE: Final = _EACH - 1
"""What is packed where a number is null."""
_MANY: Final = 200_000
"""From how many slots on more than one connection is worth its making."""
_MOST_AT_ONCE: Final = 8
"""On how many cores is counted at most: each has the groups of all entries in memory."""


class Part(NamedTuple):
    """The slots from one primary key up to and including another."""

    first: int
    last: int


def summed(
    columns: QuerySet[Any, Any],
    keys: Sequence[str],
    numbers: Sequence[str],
    sums: Sequence[str],
    parts: Sequence[Part] = (),
) -> Iterator[tuple[tuple[Any, ...], Sequence[int], tuple[Any, ...]]]:
    """Each group's ``keys``, ``numbers`` and ``sums``, all of which are SQL over the ``columns`` by their names.

    ``columns``: a query of ``values`` of slots, without an order. ``numbers``: none is negative; the first is never
    null, each other one is below 99, or null, which comes out as -1. ``parts``: as ``parts_of`` has them; a group comes
    once from each part that has it. Raises as the database does.
    """
    chosen = [columns.filter(pk__gte=part.first, pk__lte=part.last) for part in parts]
    statements = [_statement(part, keys, numbers, sums) for part in chosen or [columns]]
    at = len(keys)
    for row in _at_once(columns.db, statements) if parts else _rows(columns.db, *statements[0]):
        yield row[:at], _unpacked(int(row[at]), len(numbers)), row[at + 1 :]


def parts_of(slots: QuerySet[models.Slot], since: dt.datetime) -> Sequence[Part]:
    """Parts of ``slots``, which are due after ``since``, to be counted at once; none where one statement takes all.

    PostgreSQL divides a statement among its workers itself. The others give it one core: so that each core of this
    machine is given one. With SQLite they do the counting, and a server of MariaDB is seldom much smaller. By keys:
    for what is due on one day of a week MariaDB reads the whole table, rather than go by the index of instants.
    """
    if connections[slots.db].vendor == "postgresql":
        return ()
    every = models.Slot.objects.using(slots.db).values_list("pk", flat=True)
    first, last = every.order_by("pk").first(), every.order_by("-pk").first()
    if every.filter(due_at__lte=since).exists():
        first = slots.order_by().aggregate(first=Min("pk"))["first"]
    if first is None or last is None or last - first < _MANY:
        return ()
    cores = min(os.cpu_count() or 1, _MOST_AT_ONCE)
    cuts = [first + (last + 1 - first) * number // cores for number in range(cores + 1)]
    return [Part(one, other - 1) for one, other in pairwise(cuts)]


def _statement(
    columns: QuerySet[Any, Any], keys: Sequence[str], numbers: Sequence[str], sums: Sequence[str]
) -> tuple[str, Any]:
    query, params = columns.query.get_compiler(columns.db).as_sql()
    apart, packed_apart = _APART.get(connections[columns.db].vendor, ("", ""))
    packed, *others = numbers
    for number in others:
        packed = f"({packed}) * {_EACH} + COALESCE({number}, {_NONE})"
    # Packed apart too: PostgreSQL takes a column that is computed for one of 200 values, and groups by several of them,
    # or by an expression of several, for as many as the product.
    rows = f"SELECT slot.*, {packed} AS packed FROM ({query}{apart}) AS slot{packed_apart}"  # noqa: S608 - no input
    chosen, grouped = ", ".join((*keys, "packed", *sums)), ", ".join((*keys, "packed"))
    return f"SELECT {chosen} FROM ({rows}) AS slot GROUP BY {grouped}", params  # noqa: S608 - no input


def _rows(alias: str, statement: str, params: Any) -> Iterator[tuple[Any, ...]]:
    connection = connections[alias]
    settings = _IN_MEMORY.get(connection.vendor, ())
    if getattr(connection, "mysql_is_mariadb", False):
        statement = _IN_MEMORY_OF_MARIADB + statement
    # A transaction for the settings alone: where ``transaction_mode`` is IMMEDIATE it holds SQLite's write lock, and
    # nothing is claimed or run for as long as all slots are looked at.
    with atomic(using=alias) if settings else nullcontext(), connection.cursor() as cursor:
        for setting in settings:
            cursor.execute(setting)
        cursor.execute(statement, params)
        yield from cursor


def _at_once(alias: str, statements: Sequence[tuple[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """The rows of all statements, each of which has a connection of its own meanwhile."""

    def rows(statement: tuple[str, Any]) -> list[tuple[Any, ...]]:
        try:
            return list(_rows(alias, *statement))
        finally:
            connections.close_all()  # this thread's own

    with ThreadPoolExecutor(len(statements), "cutover-count") as threads:
        for found in threads.map(rows, statements):
            yield from found


@lru_cache
def _unpacked(packed: int, count: int) -> Sequence[int]:
    found = []
    for _ in range(count - 1):
        packed, number = divmod(packed, _EACH)
        found.append(-1 if number == _NONE else number)
    return packed, *reversed(found)


def magnitudes(columns: QuerySet[Any, Any], name: str) -> str:
    """The magnitude of a column, in SQL."""
    return scale.sql(connections[columns.db].vendor, name)
