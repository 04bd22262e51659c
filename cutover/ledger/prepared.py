"""A query that is asked again and again: its SQL is made once, which takes longer than the database's answer."""

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.models import QuerySet

from cutover.ledger import quick


class Prepared:
    """These ``columns`` of the query's rows, in the order of its SQL: the table's own first, then annotations.

    Values in the query stay what they are now. Methods raise as the database does.
    """

    def __init__(self, query: QuerySet[Any], columns: Sequence[str]) -> None:
        listed = query.values_list(*columns)
        self._compiler = listed.query.get_compiler(using=query.db)
        self._statement = self._compiler.as_sql()
        self._alias, self._missing = query.db, query.model.DoesNotExist
        self._make = quick.kind(columns)._make

    def first(self) -> Any:
        """The first row as it is now, with the columns as attributes; the model's DoesNotExist where there is none."""
        with connections[self._alias].cursor() as cursor:
            cursor.execute(*self._statement)
            for row in self._compiler.results_iter([cursor.fetchall()]):
                return self._make(row)
        raise self._missing
