"""Sums over what a query computes of each slot, in one statement that computes it once a slot.

The ORM groups by expressions themselves. PostgreSQL takes one of a slot's instants to have as many values as there are
slots, so that it would sort all of them, instead of counting groups in memory, and with all its workers; and an
expression would be computed again for each sum of it.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, Final

from django.db import connections
from django.db.models import QuerySet
from django.db.transaction import atomic

from cutover.observe.report import scale

_APART: Final = {"postgresql": (" OFFSET '0'", " OFFSET '0'"), "sqlite": (" LIMIT -1 OFFSET 0", "")}
"""Keeps the planner from computing a column where it is used; of the first query, and of that around it.

Quoted: PostgreSQL takes a number for something to be computed, and does not give such a query to several workers.
MariaDB and MySQL would store all rows for it.
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


def summed(
    columns: QuerySet[Any, Any], keys: Sequence[str], numbers: Sequence[str], sums: Sequence[str]
) -> Iterator[tuple[tuple[Any, ...], Sequence[int], tuple[Any, ...]]]:
    """Each group's ``keys``, ``numbers`` and ``sums``, all of which are SQL over the ``columns`` by their names.

    ``columns``: a query of ``values``, without an order. ``numbers``: none is negative; the first is never null, each
    other one is below 99, or null, which comes out as -1. Raises as the database does.
    """
    query, params = columns.query.get_compiler(columns.db).as_sql()
    apart, packed_apart = _APART.get(connections[columns.db].vendor, ("", ""))
    packed, *others = numbers
    for number in others:
        packed = f"({packed}) * {_EACH} + COALESCE({number}, {_NONE})"
    # Packed apart too: PostgreSQL takes a column that is computed for one of 200 values, and groups by several of them,
    # or by an expression of several, for as many as the product.
    rows = f"SELECT slot.*, {packed} AS packed FROM ({query}{apart}) AS slot{packed_apart}"  # noqa: S608 - no input
    chosen, grouped = ", ".join((*keys, "packed", *sums)), ", ".join((*keys, "packed"))
    statement = f"SELECT {chosen} FROM ({rows}) AS slot GROUP BY {grouped}"  # noqa: S608 - as above
    connection = connections[columns.db]
    settings = _IN_MEMORY.get(connection.vendor, ())
    if getattr(connection, "mysql_is_mariadb", False):
        statement = _IN_MEMORY_OF_MARIADB + statement
    # A transaction for the settings alone: where ``transaction_mode`` is IMMEDIATE it holds SQLite's write lock, and
    # nothing is claimed or run for as long as all slots are looked at.
    with atomic(using=columns.db) if settings else nullcontext(), connection.cursor() as cursor:
        for setting in settings:
            cursor.execute(setting)
        cursor.execute(statement, params)
        at = len(keys)
        for row in cursor:
            yield row[:at], _unpacked(int(row[at]), len(numbers)), row[at + 1 :]


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
