"""Many rows in one statement, whatever their number: prepared once, executed for each, no signals and no ``save()``.

Django's own bulk writes are cut into hundreds of statements on SQLite, and ``bulk_update`` grows with the square.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.models import Field, Model


def insert(alias: str, rows: Sequence[Model]) -> None:
    """Insert rows of one model; their keys are not read back."""
    if not rows:
        return
    model = type(rows[0])
    fields = [f for f in model._meta.concrete_fields if not getattr(f, "db_returning", False)]
    quote = connections[alias].ops.quote_name
    columns, places = ", ".join(quote(f.column or "") for f in fields), ", ".join(["%s"] * len(fields))
    statement = f"INSERT INTO {quote(model._meta.db_table)} ({columns}) VALUES ({places})"  # noqa: S608 - names only
    _execute(alias, statement, [[_stored(alias, f, f.pre_save(row, True)) for f in fields] for row in rows])


def update(alias: str, rows: Sequence[Model], names: Sequence[str]) -> None:
    """Write the named fields of rows of one model."""
    if not rows:
        return
    model = type(rows[0])
    fields: list[Field[Any, Any]] = [model._meta.get_field(name) for name in names]  # type: ignore[misc]
    key = model._meta.pk
    quote = connections[alias].ops.quote_name
    sets = ", ".join(f"{quote(f.column or '')} = %s" for f in fields)
    statement = f"UPDATE {quote(model._meta.db_table)} SET {sets} WHERE {quote(key.column or '')} = %s"  # noqa: S608
    wanted = [*fields, key]
    _execute(alias, statement, [[_stored(alias, f, getattr(row, f.attname)) for f in wanted] for row in rows])


def _stored(alias: str, field: Field[Any, Any], value: Any) -> Any:
    return field.get_db_prep_save(value, connections[alias])


def _execute(alias: str, statement: str, values: list[list[Any]]) -> None:
    with connections[alias].cursor() as cursor:
        cursor.executemany(statement, values)
