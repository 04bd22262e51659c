"""Many rows of the ledger at once, to be read only: Django takes far longer, for rows of a model and for instants."""

from collections import namedtuple
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from django.db.models import F, QuerySet

from cutover.fields import InstantField, Quickly


def rows(query: QuerySet[Any], columns: Sequence[str], *, chunk_size: int | None = None) -> Iterator[Any]:
    """These ``columns`` of each row, as attributes of their names. Raises as the database does.

    ``chunk_size``: how many are in memory at once; None for all.
    """
    instants = {field.attname for field in query.model._meta.concrete_fields if isinstance(field, InstantField)}
    found = query.values_list(*[Quickly(name) if name in instants else F(name) for name in columns])
    return map(kind(columns)._make, found if chunk_size is None else found.iterator(chunk_size=chunk_size))


def of_keys(query: QuerySet[Any], keys: Iterable[int]) -> QuerySet[Any]:
    """Those with these keys, at least one, which are written out: psycopg looks for each parameter in Python."""
    meta = query.model._meta
    listed = f"{meta.db_table}.{meta.pk.column} IN ({', '.join(str(int(key)) for key in keys)})"
    return query.extra(where=[listed])  # noqa: S610 - numbers; a filter MariaDB would compare with true, without index


def kind(columns: Sequence[str]) -> Any:
    """The tuple that has these columns as attributes."""
    return _kind(tuple(columns))


@cache
def _kind(columns: tuple[str, ...]) -> Any:
    return namedtuple("Row", columns)
