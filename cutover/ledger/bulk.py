"""Many rows in one statement, whatever their number: prepared once, executed for each, no signals and no ``save()``.

Django's own bulk writes are cut into hundreds of statements on SQLite, and ``bulk_update`` grows with the square.
"""

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.models import Model


def insert(alias: str, rows: Sequence[Model]) -> None:
    """Insert rows of one model; their keys are not read back."""
    if not rows:
        return
    meta, quote = rows[0]._meta, connections[alias].ops.quote_name
    fields = [f for f in meta.concrete_fields if not getattr(f, "db_returning", False)]
    columns, places = ", ".join(quote(f.column or "") for f in fields), ", ".join(["%s"] * len(fields))
    statement = f"INSERT INTO {quote(meta.db_table)} ({columns}) VALUES ({places})"  # noqa: S608 - names only
    _execute(alias, statement, fields, [[f.pre_save(row, True) for f in fields] for row in rows])


def insert_new(alias: str, rows: Sequence[Model], unique: Sequence[str]) -> None:
    """Insert the rows of one model whose ``unique`` fields no row has; of the others nothing is said or changed."""
    if not rows:
        return
    objects = type(rows[0])._default_manager.using(alias)
    if connections[alias].vendor == "mysql":
        # INSERT IGNORE would also cut off what is too long; and the shared lock that it takes on a row that is there
        # has two callers wait for each other as soon as both want to change it.
        objects.bulk_create(rows, update_conflicts=True, update_fields=unique[:1])
    else:
        objects.bulk_create(rows, ignore_conflicts=True)


def upsert(alias: str, row: Model, names: Sequence[str]) -> None:
    """Insert a row, or write its named fields where its key is there; one statement."""
    # MySQL takes no field to look for, and needs none.
    keys = None if connections[alias].vendor == "mysql" else [row._meta.pk.name]
    objects = type(row)._default_manager.using(alias)
    objects.bulk_create([row], update_conflicts=True, unique_fields=keys, update_fields=names)


def update(alias: str, rows: Sequence[Model], names: Sequence[str]) -> None:
    """Write the named fields of rows of one model."""
    if not rows:
        return
    meta, quote = rows[0]._meta, connections[alias].ops.quote_name
    fields: list[Any] = [meta.get_field(name) for name in names]
    sets = ", ".join(f"{quote(f.column)} = %s" for f in fields)
    statement = f"UPDATE {quote(meta.db_table)} SET {sets} WHERE {quote(meta.pk.column or '')} = %s"  # noqa: S608
    fields.append(meta.pk)
    _execute(alias, statement, fields, [[getattr(row, f.attname) for f in fields] for row in rows])


def _execute(alias: str, statement: str, fields: Sequence[Any], rows: list[list[Any]]) -> None:
    connection = connections[alias]
    stored = [[f.get_db_prep_save(value, connection) for f, value in zip(fields, row, strict=True)] for row in rows]
    with connection.cursor() as cursor:
        cursor.executemany(statement, stored)
