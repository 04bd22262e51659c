"""Many rows by one statement, whatever their number: prepared once, executed for each, no signals and no ``save()``.

Django's own bulk writes are cut into hundreds of statements on SQLite, and ``bulk_update`` grows with the square. Rows
are made a few hundred at a time, as they are sent: a database that ends the session of one who falls silent within a
transaction hears of all.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final

from django.db import connections
from django.db.models import Field, Model

_BATCH: Final = 200
"""How many rows Django puts into one statement: of very many it takes long to make, and nothing is sent meanwhile."""
_AT_ONCE: Final = 500
"""How many rows are made before they are sent."""


def insert(alias: str, rows: Iterable[Model]) -> None:
    """Insert rows of one model; their keys are not read back."""
    first, rows = _first(rows)
    if first is None:
        return
    meta, quote = first._meta, connections[alias].ops.quote_name
    fields = [f for f in meta.concrete_fields if not getattr(f, "db_returning", False)]
    columns, places = ", ".join(quote(f.column or "") for f in fields), ", ".join(["%s"] * len(fields))
    statement = f"INSERT INTO {quote(meta.db_table)} ({columns}) VALUES ({places})"  # noqa: S608 - names only
    _execute(alias, statement, fields, ([f.pre_save(row, True) for f in fields] for row in rows))


def insert_new(alias: str, rows: Sequence[Model], unique: Sequence[str]) -> None:
    """Insert the rows of one model whose ``unique`` fields no row has; of the others nothing is said or changed."""
    if not rows:
        return
    objects = type(rows[0])._default_manager.using(alias)
    if connections[alias].vendor == "mysql":
        # INSERT IGNORE would also cut off what is too long; and the shared lock that it takes on a row that is there
        # has two callers wait for each other as soon as both want to change it.
        objects.bulk_create(rows, _BATCH, update_conflicts=True, update_fields=unique[:1])
    else:
        objects.bulk_create(rows, _BATCH, ignore_conflicts=True)


def can_tell_new(alias: str) -> bool:
    """Whether ``insert_alike`` works there: MySQL and MariaDB cannot say which rows of a statement were new."""
    connection = connections[alias]
    return connection.vendor != "mysql" and connection.features.can_return_rows_from_bulk_insert


def insert_alike(
    alias: str, row: Model, varying: Mapping[str, Sequence[Any]], unique: Sequence[str], returning: str
) -> set[Any]:
    """As ``insert_new``, rows like ``row`` but for the ``varying`` fields; the new ones' values of ``returning``.

    That is a varying field without duplicates. One statement with a parameter for each field, however many rows.
    """
    connection = connections[alias]
    meta: Any = row._meta
    quote = connection.ops.quote_name
    fields = [meta.get_field(name) for name in varying]
    same = [f for f in meta.concrete_fields if f is not meta.pk and f not in fields]
    stored = {f.name: _stored(f, varying[f.name], alias) for f in fields}
    if connection.vendor == "postgresql":
        # Without its length, to which a cast would cut off what is too long.
        arrays = ", ".join(f"%s::{(f.db_type(connection) or '').partition('(')[0]}[]" for f in fields)
        chosen, source = ["*"], f"unnest({arrays})"
        given: list[Any] = [stored[f.name] for f in fields]
    else:
        chosen, source = [f"json_extract(value, '$[{number}]')" for number in range(len(fields))], "json_each(%s)"
        given = [json.dumps(list(zip(*stored.values(), strict=True)))]
    chosen += ["%s"] * len(same)
    columns = ", ".join(quote(f.column) for f in [*fields, *same])
    keys = ", ".join(quote(meta.get_field(name).column) for name in unique)
    statement = (
        f"INSERT INTO {quote(meta.db_table)} ({columns}) SELECT {', '.join(chosen)} FROM {source} WHERE true "  # noqa: S608
        f"ON CONFLICT ({keys}) DO NOTHING RETURNING {quote(meta.get_field(returning).column)}"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [*(f.get_db_prep_save(f.pre_save(row, True), connection) for f in same), *given])
        new = {value for (value,) in cursor.fetchall()}
    return {value for value, kept in zip(varying[returning], stored[returning], strict=True) if kept in new}


def upsert(alias: str, row: Model, names: Sequence[str]) -> None:
    """Insert a row, or write its named fields where its key is there; one statement."""
    # MySQL takes no field to look for, and needs none.
    keys = None if connections[alias].vendor == "mysql" else [row._meta.pk.name]
    objects = type(row)._default_manager.using(alias)
    objects.bulk_create([row], update_conflicts=True, unique_fields=keys, update_fields=names)


def update(alias: str, rows: Iterable[Model], names: Sequence[str]) -> None:
    """Write the named fields of rows of one model."""
    first, rows = _first(rows)
    if first is None:
        return
    meta, quote = first._meta, connections[alias].ops.quote_name
    fields: list[Any] = [meta.get_field(name) for name in names]
    sets = ", ".join(f"{quote(f.column)} = %s" for f in fields)
    statement = f"UPDATE {quote(meta.db_table)} SET {sets} WHERE {quote(meta.pk.column or '')} = %s"  # noqa: S608
    fields.append(meta.pk)
    _execute(alias, statement, fields, ([getattr(row, f.attname) for f in fields] for row in rows))


def _stored(field: "Field[Any, Any]", values: Sequence[Any], alias: str) -> list[Any]:
    """As the database is given them; many are alike."""
    connection, known = connections[alias], dict[Any, Any]()
    for value in values:
        if value not in known:
            known[value] = field.get_db_prep_save(value, connection)
    return [known[value] for value in values]


def _first(rows: Iterable[Model]) -> tuple[Model | None, Iterator[Model]]:
    """The first of them, None where there is none, and all of them."""
    left = iter(rows)
    first = next(left, None)
    return first, left if first is None else chain([first], left)


def _execute(alias: str, statement: str, fields: Sequence[Any], rows: Iterable[list[Any]]) -> None:
    connection = connections[alias]
    stored = ([f.get_db_prep_save(value, connection) for f, value in zip(fields, row, strict=True)] for row in rows)
    with connection.cursor() as cursor:
        # Lists, as PEP 249 has it: who watches a project's queries counts them, or reads them before they are sent.
        while made := [*islice(stored, _AT_ONCE)]:
            cursor.executemany(statement, made)
