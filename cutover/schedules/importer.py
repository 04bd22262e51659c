"""The code schedule into ``PeriodicTask`` rows: all of them or none, and all disabled.

It does NOT write over what somebody else wrote into a row, unless it is to adopt it; and it never enables one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from celery import Celery
from celery.beat import ScheduleEntry
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from cutover.conf import Config
from cutover.ledger import bulk
from cutover.ledger.database import transaction
from cutover.models import ImportedEntry
from cutover.plural import counted
from cutover.schedules import namesakes, rows
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
    own = entry.options.get("serializer") or getattr(app.tasks.get(entry.task), "serializer", None)
    return str(own or app.conf.task_serializer)


def draft(
    app: Celery, config: Config, entries: Mapping[EntryName, ScheduleEntry]
) -> tuple[list[RowDraft], list[Refusal]]:
    """What ``entries`` become, and the refusals of those that cannot be imported."""
    found = [convert(entry, serializer_of(app, entry), config.converters) for entry in entries.values()]
    drafted = [one for one in found if isinstance(one, RowDraft)]
    refused = [refusal for one in found if not isinstance(one, RowDraft) for refusal in one]
    return drafted, refused + namesakes.refusals(config.database, [one.row.name for one in drafted])


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


@dataclass(frozen=True, slots=True)
class Work:
    """What an import comes to: ``done``, and what is written for that; ``drafted``: what each entry becomes."""

    done: Import
    drafted: list[RowDraft]
    fresh: list[RowValues] = field(default_factory=list)
    changed: list[tuple[PeriodicTask, RowValues]] = field(default_factory=list)
    remembered: list[ImportedEntry] = field(default_factory=list)
    corrected: list[ImportedEntry] = field(default_factory=list)


def work_out(
    app: Celery,
    config: Config,
    entries: Mapping[EntryName, ScheduleEntry],
    progress: Callable[[str], None] = lambda line: None,
    *,
    adopt: bool,
    locked: bool = False,
) -> Work:
    """What ``import_entries`` would do now; changes nothing.

    ``locked``: nobody else imports before the end of the transaction. Raises EntriesRefused, with all refusals.
    """
    alias = config.database
    progress(f"reading {counted(len(entries), 'entry')}")
    drafted, refusals = draft(app, config, entries)
    progress("comparing with the rows that there are")
    standing = rows.periodic_tasks(alias, entries.keys())
    known_ones = ImportedEntry.objects.using(alias)
    imported = {
        EntryName(known.name): known for known in (known_ones.select_for_update() if locked else known_ones.all())
    }
    for values in (one.row for one in drafted if not adopt and one.row.name in standing):
        refusals += objections(values, standing[values.name], imported.get(values.name))
    if refusals:
        raise EntriesRefused(refusals)
    work = Work(Import(forgotten=sorted(imported.keys() - {one.row.name for one in drafted})), drafted)
    for one in drafted:
        name = one.row.name
        _sort(work, one, fingerprint(entries[name].schedule), standing.get(name), imported.get(name))
    return work


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
    with transaction(alias):
        work = work_out(app, config, entries, progress, adopt=adopt, locked=True)
        done = work.done
        progress(f"writing {counted(done.changed, 'row')}")
        rows.write(alias, work.fresh, work.changed)
        bulk.insert(alias, work.remembered)
        bulk.update(alias, work.corrected, ("fingerprint", "row", "options", "relative"))
        ImportedEntry.objects.using(alias).filter(name__in=done.forgotten).delete()
        if done.changed or not PeriodicTasks.objects.using(alias).exists():
            PeriodicTasks.update_changed()
    return done


def _sort(work: Work, one: RowDraft, mark: str, row: PeriodicTask | None, known: ImportedEntry | None) -> None:
    """Add to ``work`` what becomes of one entry, whose ``row`` there is, and which an import has ``known``."""
    name, done = one.row.name, work.done
    facts = {"fingerprint": mark, "row": rows.record(one.row), "options": one.options, "relative": one.relative}
    is_as_known = known is not None and all(getattr(known, field) == value for field, value in facts.items())
    if row is None:
        done.created.append(name)
        work.fresh.append(one.row)
    elif row.enabled or rows.differing(one.row, row):
        (done.updated if not row.enabled and _is_ours(known, row) else done.adopted).append(name)
        work.changed.append((row, one.row))
    else:  # where anything else has changed it is the overlay
        (done.unchanged if known is None or is_as_known else done.updated).append(name)
    if known is None:
        work.remembered.append(ImportedEntry(name=name, created=row is None, **facts))
    elif not is_as_known:
        for field_, value in facts.items():
            setattr(known, field_, value)
        work.corrected.append(known)


def _is_ours(imported: ImportedEntry | None, row: PeriodicTask) -> bool:
    """Whether the row still holds what an import wrote: then only the code has moved on."""
    return imported is not None and not rows.differing(rows.recorded(imported.row), row)
