"""The code schedule into ``PeriodicTask`` rows: all of them or none, and all disabled.

It does NOT write over what somebody else wrote into a row, unless told to adopt it; and it never enables one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import crontab
from django.db import transaction
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from cutover.conf import Config
from cutover.errors import ConfigurationError, EntryRefused
from cutover.ledger import bulk
from cutover.models import ImportedEntry
from cutover.schedules import project, rows
from cutover.schedules.convert import Carried, Refusal, RowValues, carry
from cutover.schedules.timetable import fingerprint
from cutover.types import EntryName

CLEANUP: Final = "celery.backend_cleanup"
"""The entry that celery's beat adds by itself where results expire and the backend does not see to it."""


class EntriesRefused(EntryRefused):
    """Some entries cannot be carried over whole; ``refusals`` has every reason, nothing was written."""

    def __init__(self, refusals: list[Refusal]) -> None:
        count = len({refusal.entry for refusal in refusals})
        noun = "entry" if count == 1 else "entries"
        super().__init__(f"{count} {noun} cannot be carried over: " + " | ".join(map(str, refusals)))
        self.refusals = refusals


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


def code_entries(app: Celery, config: Config) -> dict[EntryName, ScheduleEntry]:
    """The effective code schedule, by name: what celery's own beat would send.

    Raises ConfigurationError when a module with tasks cannot be imported, EntriesRefused for entries that celery
    itself cannot read.
    """
    try:
        app.loader.import_default_modules()
    except ImportError as exc:
        raise ConfigurationError(f"A module with tasks cannot be imported: {exc}.") from exc
    app.finalize()
    raw: dict[str, Any] = dict(project.code_schedule(app, config))
    if app.conf.result_expires and not app.backend.supports_autoexpire and CLEANUP not in raw:
        raw[CLEANUP] = {"task": CLEANUP, "schedule": crontab("0", "4", "*"), "options": {"expires": 12 * 3600}}
    entries: dict[EntryName, ScheduleEntry] = {}
    refusals: list[Refusal] = []
    for name, fields in raw.items():
        try:
            entry = ScheduleEntry(**{**dict(fields), "name": name, "app": app})
            entry.options = dict(entry.options)
        except Exception as exc:  # a schedule's own clock may raise anything
            refusals.append(Refusal(EntryName(str(name)), "entry", f"is not what celery reads ({exc})", "fix it"))
        else:
            entries[EntryName(name)] = entry
    if refusals:
        raise EntriesRefused(refusals)
    return entries


def serializer_of(app: Celery, entry: ScheduleEntry) -> str:
    """The serializer that the entry's message is written with."""
    task = app.tasks.get(entry.task)
    own = entry.options.get("serializer") or getattr(task, "serializer", None)
    return str(own or app.conf.task_serializer)


def draft(
    app: Celery, config: Config, entries: Mapping[EntryName, ScheduleEntry]
) -> tuple[list[Carried], list[Refusal]]:
    """What ``entries`` become, and the refusals of those that cannot be carried over."""
    drafted: list[Carried] = []
    refusals: list[Refusal] = []
    for entry in entries.values():
        found = carry(entry, serializer_of(app, entry), config.converters)
        if isinstance(found, Carried):
            drafted.append(found)
        else:
            refusals += found
    return drafted, refusals


def objections(values: RowValues, row: PeriodicTask, carried: ImportedEntry | None) -> list[Refusal]:
    """Why this row is not to be written over: somebody else's hand is in it, or it would be sent already."""
    found = []
    if not _is_ours(carried, row):
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
    *,
    adopt: bool,
    progress: Callable[[str], None] = lambda line: None,
) -> Import:
    """Write the rows in one transaction, and remember each as carried.

    ``adopt`` allows to take over rows of the same name that differ or are enabled: they get the code's values and are
    disabled. Raises EntriesRefused, with all refusals and before anything is written.
    """
    alias = config.database
    progress(f"reading {len(entries)} entries")
    drafted, refusals = draft(app, config, entries)
    with transaction.atomic(using=alias):
        progress("comparing with the rows that there are")
        standing = rows.periodic_tasks(alias, entries.keys())
        carried = {EntryName(kept.name): kept for kept in ImportedEntry.objects.using(alias).select_for_update()}
        if not adopt:
            for one in drafted:
                if (row := standing.get(one.row.name)) is not None:
                    refusals += objections(one.row, row, carried.get(one.row.name))
        if refusals:
            raise EntriesRefused(refusals)
        done = _sort(drafted, standing, carried)
        progress(f"writing {done.changed} rows")
        _write(alias, drafted, standing, done)
        _remember(alias, drafted, carried, done, entries)
        if done.changed or not PeriodicTasks.objects.using(alias).exists():
            PeriodicTasks.update_changed()
    return done


def _is_ours(carried: ImportedEntry | None, row: PeriodicTask) -> bool:
    """Whether the row still holds what an import wrote: then only the code has moved on."""
    return carried is not None and not rows.differing(rows.recorded(carried.row), row)


def _sort(
    drafted: list[Carried], standing: Mapping[EntryName, PeriodicTask], carried: Mapping[EntryName, ImportedEntry]
) -> Import:
    done = Import()
    for values in (one.row for one in drafted):
        row = standing.get(values.name)
        if row is None:
            done.created.append(values.name)
        elif not row.enabled and not rows.differing(values, row):
            done.unchanged.append(values.name)
        elif not row.enabled and _is_ours(carried.get(values.name), row):
            done.updated.append(values.name)
        else:
            done.adopted.append(values.name)
    done.forgotten.extend(sorted(carried.keys() - {one.row.name for one in drafted}))
    return done


def _write(alias: str, drafted: list[Carried], standing: Mapping[EntryName, PeriodicTask], done: Import) -> None:
    created, overwritten = set(done.created), {*done.updated, *done.adopted}
    fresh = [one.row for one in drafted if one.row.name in created]
    changed = [(standing[one.row.name], one.row) for one in drafted if one.row.name in overwritten]
    if not fresh and not changed:
        return
    shelf = rows.Schedules(alias)
    shelf.provide(values.schedule for values in [*fresh, *(values for _, values in changed)])
    rows.create(alias, fresh, shelf)
    rows.overwrite(alias, changed, shelf)


def _remember(
    alias: str,
    drafted: list[Carried],
    carried: Mapping[EntryName, ImportedEntry],
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
        kept = carried.get(name)
        if kept is None:
            fresh.append(ImportedEntry(name=name, created=name in created, **present))
        elif any(getattr(kept, field) != value for field, value in present.items()):
            for field, value in present.items():
                setattr(kept, field, value)
            changed.append(kept)
    moved = {kept.name for kept in changed} & set(done.unchanged)  # what is beside the row has changed, not the row
    done.unchanged[:] = [name for name in done.unchanged if name not in moved]
    done.updated.extend(one.row.name for one in drafted if one.row.name in moved)
    bulk.insert(alias, fresh)
    bulk.update(alias, changed, ("fingerprint", "row", "options", "relative"))
    ImportedEntry.objects.using(alias).filter(name__in=done.forgotten).delete()
