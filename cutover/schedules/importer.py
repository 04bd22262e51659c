"""The code schedule into ``PeriodicTask`` rows: all of them or none, and all disabled.

It does NOT write over what somebody else wrote into a row, unless it is to adopt it; and it never enables one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from celery import Celery
from celery.beat import ScheduleEntry
from django.db import transaction
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from cutover.conf import Config
from cutover.ledger import bulk
from cutover.models import ImportedEntry
from cutover.schedules import rows
from cutover.schedules.convert import RowDraft, RowValues, convert
from cutover.schedules.fingerprint import fingerprint
from cutover.schedules.refusals import EntriesRefused, Refusal
from cutover.types import EntryName


@dataclass(frozen=True, slots=True)
class Import:
    """What an import did, by entry name. ``forgotten`` are no longer in code: their rows stay, disabled."""

    created: list[EntryName] = field(default_factory=list)
    updated: list[EntryName] = field(default_factory=list)
    adopted: list[EntryName] = field(default_factory=list)
    unchanged: list[EntryName] = field(default_factory=list)
    forgotten: list[EntryName] = field(default_factory=list)

    @property
    def changed(self) -> int:
        """How many rows were written."""
        return len(self.created) + len(self.updated) + len(self.adopted)


def serializer_of(app: Celery, entry: ScheduleEntry) -> str:
    """The serializer that the entry's message is written with."""
    task = app.tasks.get(entry.task)
    own = entry.options.get("serializer") or getattr(task, "serializer", None)
    return str(own or app.conf.task_serializer)


def draft(
    app: Celery, config: Config, entries: Mapping[EntryName, ScheduleEntry]
) -> tuple[list[RowDraft], list[Refusal]]:
    """What ``entries`` become, and the refusals of those that cannot be imported."""
    drafted: list[RowDraft] = []
    refusals: list[Refusal] = []
    for entry in entries.values():
        found = convert(entry, serializer_of(app, entry), config.converters)
        if isinstance(found, RowDraft):
            drafted.append(found)
        else:
            refusals += found
    return drafted, refusals


def objections(values: RowValues, row: PeriodicTask, imported: ImportedEntry | None) -> list[Refusal]:
    """Why this row is not to be written over: somebody else's hand is in it, or it would be sent already."""
    found = []
    if not _is_ours(imported, row):
        remedy = "make the row equal, rename the entry, or take the row over with --adopt"
        for name, (held, wanted) in rows.differing(values, row).items():
            found.append(Refusal(values.name, name, f"is {held!r} in the row of this name, {wanted!r} in code", remedy))
    if row.enabled:
        remedy = "disable the row, or take it over with --adopt"
        found.append(Refusal(values.name, "enabled", "is set: the database side would send it already", remedy))
    return found


def import_entries(
    app: Celery,
    config: Config,
    entries: Mapping[EntryName, ScheduleEntry],
    progress: Callable[[str], None] = lambda line: None,
    *,
    adopt: bool,
) -> Import:
    """Write the rows in one transaction, and remember each as imported.

    ``adopt`` allows to take over rows of the same name that differ or are enabled: they get the code's values and are
    disabled. Raises EntriesRefused, with all refusals and before anything is written.
    """
    alias = config.database
    progress(f"reading {len(entries)} entries")
    drafted, refusals = draft(app, config, entries)
    with transaction.atomic(using=alias):
        progress("comparing with the rows that there are")
        standing = rows.periodic_tasks(alias, entries.keys())
        imported = {EntryName(known.name): known for known in ImportedEntry.objects.using(alias).select_for_update()}
        if not adopt:
            for one in drafted:
                if (row := standing.get(one.row.name)) is not None:
                    refusals += objections(one.row, row, imported.get(one.row.name))
        if refusals:
            raise EntriesRefused(refusals)
        done = _sort(drafted, standing, imported)
        progress(f"writing {done.changed} rows")
        _write(alias, drafted, standing, done)
        _remember(alias, drafted, imported, done, entries)
        if done.changed or not PeriodicTasks.objects.using(alias).exists():
            PeriodicTasks.update_changed()
    return done


def _is_ours(imported: ImportedEntry | None, row: PeriodicTask) -> bool:
    """Whether the row still holds what an import wrote: then only the code has moved on."""
    return imported is not None and not rows.differing(rows.recorded(imported.row), row)


def _sort(
    drafted: list[RowDraft], standing: Mapping[EntryName, PeriodicTask], imported: Mapping[EntryName, ImportedEntry]
) -> Import:
    done = Import()
    for values in (one.row for one in drafted):
        row = standing.get(values.name)
        if row is None:
            done.created.append(values.name)
        elif not row.enabled and not rows.differing(values, row):
            done.unchanged.append(values.name)
        elif not row.enabled and _is_ours(imported.get(values.name), row):
            done.updated.append(values.name)
        else:
            done.adopted.append(values.name)
    done.forgotten.extend(sorted(imported.keys() - {one.row.name for one in drafted}))
    return done


def _write(alias: str, drafted: list[RowDraft], standing: Mapping[EntryName, PeriodicTask], done: Import) -> None:
    created, overwritten = set(done.created), {*done.updated, *done.adopted}
    fresh = [one.row for one in drafted if one.row.name in created]
    changed = [(standing[one.row.name], one.row) for one in drafted if one.row.name in overwritten]
    if not fresh and not changed:
        return
    schedules = rows.ScheduleRows(alias)
    schedules.provide(values.schedule for values in [*fresh, *(values for _, values in changed)])
    rows.create(alias, fresh, schedules)
    rows.overwrite(alias, changed, schedules)


def _remember(
    alias: str,
    drafted: list[RowDraft],
    imported: Mapping[EntryName, ImportedEntry],
    done: Import,
    entries: Mapping[EntryName, ScheduleEntry],
) -> None:
    created = set(done.created)
    fresh, changed = [], []
    for one in drafted:
        name = one.row.name
        present = {
            "fingerprint": fingerprint(entries[name].schedule),
            "row": rows.record(one.row),
            "options": one.options,
            "relative": one.relative,
        }
        known = imported.get(name)
        if known is None:
            fresh.append(ImportedEntry(name=name, created=name in created, **present))
        elif any(getattr(known, field) != value for field, value in present.items()):
            for field, value in present.items():
                setattr(known, field, value)
            changed.append(known)
    moved = {known.name for known in changed} & set(done.unchanged)  # the overlay has changed, not the row
    done.unchanged[:] = [name for name in done.unchanged if name not in moved]
    done.updated.extend(one.row.name for one in drafted if one.row.name in moved)
    bulk.insert(alias, fresh)
    bulk.update(alias, changed, ("fingerprint", "row", "options", "relative"))
    ImportedEntry.objects.using(alias).filter(name__in=done.forgotten).delete()
