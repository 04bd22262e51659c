"""Names that are several entries in code, and one to the table of the rows: MySQL's usual collations know no case.

The ledger tells them apart, its tables are ours. That of the rows is not, so it is only said what would have to change.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Collection

from django.db import connections
from django_celery_beat.models import PeriodicTask

from cutover.ledger.database import outages
from cutover.schedules.refusals import Refusal
from cutover.types import EntryName


def refusals(alias: str, names: Collection[EntryName]) -> list[Refusal]:
    """Of these entries, those whose row would be another one's to the database. Raises LedgerUnavailable."""
    table = PeriodicTask._meta.db_table
    with outages(alias):
        collation = _collation(alias, table)
        if not collation or collation.endswith("_bin"):
            return []
        rows = PeriodicTask.objects.using(alias).values_list("name", flat=True)
        alike: dict[str, set[str]] = defaultdict(set)
        for name in {*names, *rows}:
            alike[_folded(name)].add(name)
    remedy = (
        f"rename one of them, or have the database tell them apart: ALTER TABLE {table} MODIFY name varchar(200) "
        f"CHARACTER SET utf8mb4 COLLATE {_of_the_ledger(alias)} NOT NULL"
    )
    return [
        Refusal(name, "name", f"is that of {other!r} to the rows' table, which knows no case ({collation})", remedy)
        for name in names
        for other in sorted(alike[_folded(name)] - {name})[:1]
    ]


def _collation(alias: str, table: str) -> str:
    """Of the rows' names; empty where the database compares texts as they are."""
    if connections[alias].vendor != "mysql":
        return ""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT collation_name FROM information_schema.columns "
            "WHERE table_schema = DATABASE() AND table_name = %s AND column_name = 'name'",
            [table],
        )
        found = cursor.fetchone()
    return found[0] if found else ""


def _of_the_ledger(alias: str) -> str:
    """The collation of the ledger's tables, which compares byte by byte."""
    is_mariadb = connections[alias].mysql_is_mariadb  # type: ignore[attr-defined]
    return "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"


def _folded(name: str) -> str:
    """What such a collation compares, or coarser: no case, no accents, no blanks at the end."""
    parts = unicodedata.normalize("NFKD", name.casefold())
    return "".join(each for each in parts if not unicodedata.combining(each)).rstrip()
