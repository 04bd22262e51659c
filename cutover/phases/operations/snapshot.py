"""The imported rows around a switch: how they were is kept, they are enabled, they are put back.

Each function is one transaction, does nothing where it was done before, and touches no other row. Rows are written in
bulk: ``save()`` clears the last run of a disabled row, and runs the signals of every single one.
"""

from collections.abc import Mapping
from typing import Final

from django_celery_beat.models import PeriodicTask, PeriodicTasks

from cutover import clock
from cutover.fields import as_instant, stored
from cutover.ledger import bulk
from cutover.ledger.database import transaction
from cutover.models import ImportedEntry
from cutover.phases.context import Context
from cutover.phases.evidence import edits
from cutover.schedules import rows
from cutover.types import EntryName

SNAPSHOT: Final = ("key_before", "enabled_before", "last_run_at_before", "row_before")
"""How a row was before the switch: the columns of ``ImportedEntry`` that are null as long as there was none."""
_KEYS: Final = 500
"""How many rows one statement enables."""


def keep(context: Context) -> None:
    """Remember how the imported rows are; a snapshot that is there stays: it is from before the first attempt."""
    with transaction(context.alias):
        bare = list(ImportedEntry.objects.using(context.alias).filter(enabled_before__isnull=True).select_for_update())
        present = rows.periodic_tasks(context.alias, {entry.name for entry in bare})
        for entry in bare:
            row = present.get(EntryName(entry.name))
            entry.key_before = row.pk if row is not None else None
            entry.enabled_before = row.enabled if row is not None else False
            entry.last_run_at_before = as_instant(row.last_run_at) if row is not None and row.last_run_at else None
            if row is not None and rows.differing(rows.recorded(entry.row), row):
                entry.row_before = rows.record(rows.values_of(row))
        bulk.update(context.alias, bare, SNAPSHOT)


def enable(context: Context) -> None:
    """Enable every imported row and touch ``PeriodicTasks``.

    Nothing fires by this: the database side does not lead, and the ledger has the cursor of each entry.
    """
    with transaction(context.alias):
        imported = {*ImportedEntry.objects.using(context.alias).values_list("name", flat=True)}
        disabled = PeriodicTask.objects.using(context.alias).filter(enabled=False)
        # Not in one statement: MySQL and MariaDB compare no two columns of different binary collations.
        keys = [key for key, name in disabled.values_list("pk", "name") if name in imported]
        # Also when: what fell due while the row was disabled is not owed, though it was saved a moment before.
        now = stored(clock.now())
        for start in range(0, len(keys), _KEYS):
            disabled.filter(pk__in=keys[start : start + _KEYS]).update(enabled=True, date_changed=now)
        if keys or not PeriodicTasks.objects.using(context.alias).exists():
            PeriodicTasks.update_changed()


def restore(context: Context, *, drop_edits: bool) -> None:
    """Put back each imported row's ``enabled`` and last run as the snapshot has them, and forget the snapshot.

    With ``drop_edits`` also every field that was edited since, a name that is not taken, and a deleted row. A row that
    keeps another name is disabled, however it was: the next phase 3 enables the row of the imported name, and two would
    send one job.
    """
    with transaction(context.alias):
        query = ImportedEntry.objects.using(context.alias).filter(enabled_before__isnull=False).select_for_update()
        kept = {EntryName(entry.name): entry for entry in query}
        if not kept:
            return
        present = edits.read(context.alias, list(kept.values()))
        if drop_edits:
            _drop_edits(context.alias, kept, present)
            present = edits.read(context.alias, present.entries)
        found = [*present.rows.items(), *present.renamed.items()]
        for name, row in found:
            last = kept[name].last_run_at_before
            row.enabled = kept[name].enabled_before and row.name == name
            row.last_run_at = stored(last) if last else None
        bulk.update(context.alias, [row for _, row in found], ("enabled", "last_run_at"))
        ImportedEntry.objects.using(context.alias).update(**dict.fromkeys(SNAPSHOT))
        PeriodicTasks.update_changed()


def _drop_edits(alias: str, kept: Mapping[EntryName, ImportedEntry], present: edits.Present) -> None:
    there = {**present.renamed, **present.rows}
    back = [row for name, row in there.items() if row.name != name]
    for name, row in there.items():
        row.name = name
    bulk.update(alias, back, ("name",))
    wanted = {name: edits.expected(entry) for name, entry in kept.items()}
    edited = [(row, wanted[name]) for name, row in there.items() if rows.differing(wanted[name], row)]
    deleted = [wanted[name] for name in kept if name not in there]
    rows.write(alias, deleted, edited)
