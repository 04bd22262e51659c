"""The code schedule into ``PeriodicTask`` rows: all of them or none, and all disabled.

It does NOT write over what somebody else wrote into a row, unless told to adopt it; and it never enables one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import crontab
from django.db import transaction
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from cutover import project, rows
from cutover.carry import Refusal, RowValues, row_values
from cutover.conf import Config
from cutover.errors import ConfigurationError, EntryRefused
from cutover.models import CarriedEntry
from cutover.slots import fingerprint
from cutover.types import EntryName

CLEANUP: Final = "celery.backend_cleanup"
"""The entry that celery's beat adds by itself where results expire and the backend does not see to it."""


class EntriesRefused(EntryRefused):
    """Some entries can not be carried over whole; ``refusals`` has every reason, nothing was written."""

    def __init__(self, refusals: list[Refusal]) -> None:
        count = len({refusal.entry for refusal in refusals})
        noun = "entry" if count == 1 else "entries"
        super().__init__(f"{count} {noun} can not be carried over: " + " | ".join(map(str, refusals)))
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

    Raises ConfigurationError when a module with tasks can not be imported, EntriesRefused for entries that celery
    itself can not read.
    """
    try:
        app.loader.import_default_modules()
    except ImportError as exc:
        raise ConfigurationError(f"A module with tasks can not be imported: {exc}.") from exc
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
        except (TypeError, ValueError) as exc:
            refusals.append(Refusal(EntryName(str(name)), "entry", f"is not what celery reads ({exc})", "mend it"))
        else:
            entries[EntryName(name)] = entry
    if refusals:
        raise EntriesRefused(refusals)
    return entries


def draft(app: Celery, entries: Mapping[EntryName, ScheduleEntry]) -> tuple[list[RowValues], list[Refusal]]:
    """The rows for ``entries``, and the refusals of those that can have none."""
    drafted: list[RowValues] = []
    refusals: list[Refusal] = []
    for entry in entries.values():
        found = row_values(entry, tuples_are_lists=app.conf.task_serializer == "json")
        if isinstance(found, RowValues):
            drafted.append(found)
        else:
            refusals += found
    return drafted, refusals


def objections(values: RowValues, row: PeriodicTask, carried: CarriedEntry | None) -> list[Refusal]:
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


def import_entries(app: Celery, config: Config, entries: Mapping[EntryName, ScheduleEntry], adopt: bool) -> Import:
    """Write the rows in one transaction, and remember each as carried.

    ``adopt`` allows to take over rows of the same name that differ or are enabled: they get the code's values and are
    disabled. Raises EntriesRefused, with all refusals and before anything is written.
    """
    alias = config.database
    drafted, refusals = draft(app, entries)
    with transaction.atomic(using=alias):
        standing = rows.periodic_tasks(alias, entries.keys())
        carried = {EntryName(kept.name): kept for kept in CarriedEntry.objects.using(alias).select_for_update()}
        if not adopt:
            for values in drafted:
                if values.name in standing:
                    refusals += objections(values, standing[values.name], carried.get(values.name))
        if refusals:
            raise EntriesRefused(refusals)
        done = _sort(drafted, standing, carried)
        _write(alias, drafted, done)
        _remember(alias, drafted, carried, done, entries)
        if done.changed or not PeriodicTasks.objects.using(alias).exists():
            PeriodicTasks.update_changed()
    return done


def _is_ours(carried: CarriedEntry | None, row: PeriodicTask) -> bool:
    """Whether the row still holds what an import wrote: then only the code has moved on."""
    return carried is not None and not rows.differing(rows.recorded(carried.row), row)


def _sort(
    drafted: list[RowValues], standing: Mapping[EntryName, PeriodicTask], carried: Mapping[EntryName, CarriedEntry]
) -> Import:
    done = Import()
    for values in drafted:
        row = standing.get(values.name)
        if row is None:
            done.created.append(values.name)
        elif not row.enabled and not rows.differing(values, row):
            done.unchanged.append(values.name)
        elif not row.enabled and _is_ours(carried.get(values.name), row):
            done.updated.append(values.name)
        else:
            done.adopted.append(values.name)
    done.forgotten.extend(sorted(carried.keys() - {values.name for values in drafted}))
    return done


def _write(alias: str, drafted: list[RowValues], done: Import) -> None:
    shelf = rows.Schedules(alias)
    created = set(done.created)
    overwritten = {*done.updated, *done.adopted}
    rows.create(alias, [values for values in drafted if values.name in created], shelf)
    for values in drafted:
        if values.name in overwritten:
            rows.overwrite(alias, values, shelf)


def _remember(
    alias: str,
    drafted: list[RowValues],
    carried: Mapping[EntryName, CarriedEntry],
    done: Import,
    entries: Mapping[EntryName, ScheduleEntry],
) -> None:
    created = set(done.created)
    fresh = []
    for values in drafted:
        kept = carried.get(values.name)
        present = {"fingerprint": fingerprint(entries[values.name].schedule), "row": rows.record(values)}
        if kept is None:
            fresh.append(CarriedEntry(name=values.name, created=values.name in created, **present))
        elif (kept.fingerprint, kept.row) != (present["fingerprint"], present["row"]):
            CarriedEntry.objects.using(alias).filter(name=values.name).update(**present)
    CarriedEntry.objects.using(alias).bulk_create(fresh)
    CarriedEntry.objects.using(alias).filter(name__in=done.forgotten).delete()
