"""The imported rows as they are now, and what somebody has edited in them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django_celery_beat.models import PeriodicTask

from cutover.ledger.database import outages
from cutover.models import ImportedEntry
from cutover.schedules import rows
from cutover.schedules.convert import RowValues
from cutover.types import EntryName


@dataclass(frozen=True, slots=True)
class Edit:
    """One field of an imported row in which somebody has changed it: what it holds now, and what it held."""

    entry: EntryName
    field: str
    now: Any
    before: Any

    def __str__(self) -> str:
        return f"{self.entry}: {self.field} was {self.before!r}, is {self.now!r}"


@dataclass(frozen=True, slots=True)
class Present:
    """The imported entries, and the rows of their names that there are.

    ``renamed``: the rows that the snapshot knows by such a name, and that have one now which is not imported. Where
    another row has taken the old name since, that is the imported one: everything else goes by the name.
    """

    entries: list[ImportedEntry]
    rows: Mapping[EntryName, PeriodicTask]
    renamed: Mapping[EntryName, PeriodicTask]


def read(alias: str, imported: list[ImportedEntry] | None = None) -> Present:
    """These imported entries, or all, as they are now."""
    with outages(alias):
        entries = imported if imported is not None else list(ImportedEntry.objects.using(alias))
        named = rows.periodic_tasks(alias, {EntryName(entry.name) for entry in entries})
        keys = {entry.key_before: EntryName(entry.name) for entry in entries if entry.key_before is not None}
        lost = keys.keys() - {row.pk for row in named.values()}
        return Present(entries, named, {keys[pk]: row for pk, row in rows.periodic_tasks(alias, lost, by="pk").items()})


def present_names(alias: str) -> dict[EntryName, EntryName | None]:
    """By which name the row of each imported entry goes now, as ``read`` finds it; None where there is none.

    Of the rows no more is read than their names: ten thousand whole ones take as much memory as all of Django.
    """
    with outages(alias):
        named = dict(PeriodicTask.objects.using(alias).order_by().values_list("pk", "name"))
        keys = dict(ImportedEntry.objects.using(alias).order_by().values_list("name", "key_before"))
    standing = {*named.values()}

    def now(name: str, key: int | None) -> EntryName | None:
        if name in standing:
            return EntryName(name)
        renamed = named.get(key)
        return None if renamed is None or renamed in keys else EntryName(renamed)

    return {EntryName(name): now(name, key) for name, key in keys.items()}


def edits(present: Present, *, switched: bool = False) -> list[Edit]:
    """Every edit of an imported row: since its import, or once there is a snapshot since that.

    ``switched``: the database side has sent the rows, so that each one that is disabled was disabled by somebody.
    """
    found = []
    for entry in present.entries:
        name = EntryName(entry.name)
        renamed = present.renamed.get(name)
        row = present.rows.get(name, renamed)
        if row is None:
            found.append(Edit(name, "row", "deleted", "present"))
            continue
        if renamed is not None:
            found.append(Edit(name, "row", f"renamed to {renamed.name}", "present"))
        found += [Edit(name, field, *values) for field, values in rows.differing(expected(entry), row).items()]
        if switched and not row.enabled and not row.one_off:  # one that is sent once is disabled by that
            found.append(Edit(name, "enabled", False, True))
        if row.enabled and entry.enabled_before is None:
            found.append(Edit(name, "enabled", True, False))
    return found


def expected(entry: ImportedEntry) -> RowValues:
    """What the entry's row holds unless somebody has edited it."""
    return rows.recorded(entry.row_before if entry.row_before is not None else entry.row)
