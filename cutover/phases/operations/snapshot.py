"""The carried rows around a switch: how they stood is kept, they are enabled, they are put back.

Each function is one transaction, does nothing where it was done before, and touches no other row. Rows are written in
bulk: ``save()`` clears the last run of a disabled row, and runs the signals of every single one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from cutover.fields import instant, stored
from cutover.ledger import bulk
from cutover.ledger.database import outages
from cutover.models import ImportedEntry
from cutover.phases.context import Context
from cutover.schedules import rows
from cutover.schedules.convert import RowValues
from cutover.types import EntryName

SNAPSHOT: Final = ("key_before", "enabled_before", "last_run_at_before", "row_before")
"""How a row stood before the switch: the columns of ``ImportedEntry`` that are null as long as there was none."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One field of a carried row in which somebody has changed it: what it holds now, and what it held."""

    entry: EntryName
    field: str
    now: Any
    before: Any

    def __str__(self) -> str:
        return f"{self.entry}: {self.field} was {self.before!r}, is {self.now!r}"


@dataclass(frozen=True, slots=True)
class Present:
    """The carried entries, and the rows of their names that there are.

    ``renamed``: the rows that the snapshot knows by such a name, and that have one now which is not carried. Where
    another row has taken the old name since, that is the carried one: everything else goes by the name.
    """

    entries: list[ImportedEntry]
    rows: Mapping[EntryName, PeriodicTask]
    renamed: Mapping[EntryName, PeriodicTask]


def read(context: Context) -> Present:
    """What is carried, as it is now."""
    with outages(context.alias):
        return _present(context.alias, list(ImportedEntry.objects.using(context.alias)))


def _present(alias: str, entries: list[ImportedEntry]) -> Present:
    named = rows.periodic_tasks(alias, {EntryName(entry.name) for entry in entries})
    keys = {entry.key_before: EntryName(entry.name) for entry in entries if entry.key_before is not None}
    lost = keys.keys() - {row.pk for row in named.values()}
    return Present(entries, named, {keys[row.pk]: row for row in rows.of_keys(alias, lost)})


def edits(present: Present, switched: bool = False) -> list[Edit]:
    """Every edit of a carried row: since its import, or once there is a snapshot since that.

    ``switched``: the database side has sent the rows, so that each one that is disabled was disabled by somebody.
    """
    return [edit for entry in present.entries for edit in _edits(entry, present, switched)]


def _edits(entry: ImportedEntry, present: Present, switched: bool) -> list[Edit]:
    name = EntryName(entry.name)
    renamed = present.renamed.get(name)
    row = present.rows.get(name, renamed)
    if row is None:
        return [Edit(name, "row", "deleted", "present")]
    found = [Edit(name, "row", f"renamed to {renamed.name}", "present")] if renamed is not None else []
    found += [Edit(name, field, *values) for field, values in rows.differing(_expected(entry), row).items()]
    if switched and not row.enabled and not row.one_off:  # one that is sent once is disabled by that
        found.append(Edit(name, "enabled", False, True))
    if row.enabled and entry.enabled_before is None:
        found.append(Edit(name, "enabled", True, False))
    return found


def _expected(entry: ImportedEntry) -> RowValues:
    return rows.recorded(entry.row_before if entry.row_before is not None else entry.row)


def keep_snapshot(context: Context) -> int:
    """Remember every carried row that has no snapshot yet, with its ``enabled`` and last run; returns how many.

    One that is there stays: it is from before the first attempt, and the rows have been changed since.
    """
    with outages(context.alias), transaction.atomic(using=context.alias):
        bare = list(ImportedEntry.objects.using(context.alias).filter(enabled_before__isnull=True).select_for_update())
        standing = rows.periodic_tasks(context.alias, {entry.name for entry in bare})
        for entry in bare:
            row = standing.get(EntryName(entry.name))
            entry.key_before = row.pk if row is not None else None
            entry.enabled_before = row.enabled if row is not None else False
            entry.last_run_at_before = instant(row.last_run_at) if row is not None and row.last_run_at else None
            if row is not None and rows.differing(rows.recorded(entry.row), row):
                entry.row_before = rows.record(rows.values_of(row))
        bulk.update(context.alias, bare, SNAPSHOT)
    return len(bare)


def enable(context: Context) -> int:
    """Enable every carried row and touch ``PeriodicTasks``; returns how many were not enabled yet.

    Nothing fires by this: the database side does not lead, and its ledger says where each entry stands.
    """
    with outages(context.alias), transaction.atomic(using=context.alias):
        names = ImportedEntry.objects.using(context.alias).values_list("name", flat=True)
        disabled = PeriodicTask.objects.using(context.alias).filter(name__in=names, enabled=False)
        changed = disabled.update(enabled=True)
        if changed or not PeriodicTasks.objects.using(context.alias).exists():
            PeriodicTasks.update_changed()
    return int(changed)


def restore(context: Context, drop_edits: bool = False) -> int:
    """Put every carried row back as the snapshot has it, and forget the snapshot; returns how many rows there were.

    That is its ``enabled`` and last run; with ``drop_edits`` also every field that was edited since, a name that is not
    taken, and a deleted row. A row that keeps another name is disabled, however it stood: the next phase 3 enables the
    row of the carried name, and two would send one job.
    """
    with outages(context.alias), transaction.atomic(using=context.alias):
        query = ImportedEntry.objects.using(context.alias).filter(enabled_before__isnull=False).select_for_update()
        kept = {EntryName(entry.name): entry for entry in query}
        if not kept:
            return 0
        present = _present(context.alias, list(kept.values()))
        if drop_edits:
            _drop_edits(context.alias, kept, present)
            present = _present(context.alias, present.entries)
        standing = [*present.rows.items(), *present.renamed.items()]
        for name, row in standing:
            last = kept[name].last_run_at_before
            row.enabled = kept[name].enabled_before and row.name == name
            row.last_run_at = stored(last) if last else None
        bulk.update(context.alias, [row for _, row in standing], ("enabled", "last_run_at"))
        ImportedEntry.objects.using(context.alias).update(**dict.fromkeys(SNAPSHOT))
        PeriodicTasks.update_changed()
    return len(standing)


def _drop_edits(alias: str, kept: Mapping[EntryName, ImportedEntry], present: Present) -> None:
    back = {name: row for name, row in present.renamed.items() if name not in present.rows}
    for name, row in back.items():
        row.name = name
    bulk.update(alias, list(back.values()), ("name",))
    standing = {**present.rows, **back}
    wanted = {name: _expected(entry) for name, entry in kept.items()}
    edited = [(row, wanted[name]) for name, row in standing.items() if rows.differing(wanted[name], row)]
    deleted = [wanted[name] for name in kept if name not in standing]
    shelf = rows.ScheduleRows(alias)
    shelf.provide(values.schedule for values in [*deleted, *(values for _, values in edited)])
    rows.create(alias, deleted, shelf)
    rows.overwrite(alias, edited, shelf)
