"""The database side's schedule as it stands in the rows: read whole once, and from then on where they have changed.

A change that goes past ``save()`` leaves no trace in ``PeriodicTasks``; so the rows themselves are watched.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_
from typing import Any, Final

from celery import Celery
from celery.beat import ScheduleEntry
from django.db.models import Model, Q, QuerySet, Subquery
from django.db.models.expressions import Combinable
from django_celery_beat.models import PeriodicTask, PeriodicTasks
from django_celery_beat.schedulers import ModelEntry

from cutover import conf
from cutover.beats.sources import (
    NOT_POLLED,
    Change,
    Loaded,
    PastSlots,
    Polled,
    ScheduledEntry,
    Shared,
    catch_up_rule,
    upkeep,
)
from cutover.beats.sources.past import Seen, with_past
from cutover.beats.sources.watch import SCHEDULES, WATCHED, Block, Watch
from cutover.events import Event, log
from cutover.foreign import text_of
from cutover.ledger import Ledger
from cutover.ledger.database import outages
from cutover.models import ImportedEntry
from cutover.schedules import overlay
from cutover.schedules.rows import enabled_rows, limits_of, rows_database, with_schedules
from cutover.types import CatchUp, EntryName

PIECE: Final = 16
"""How many blocks of rows are read at once: where everybody's rows have changed, what is due is sent in between."""
_ANNOUNCED: Final = "announced"
_COLUMNS: Final = (*WATCHED, "date_changed")


class RowSource:
    """The enabled rows. ``schedule`` has celery's entries by name, as loaded last."""

    _kind: type[ModelEntry] = ModelEntry

    def __init__(self, app: Celery, ledger: Ledger) -> None:
        self._app, self._ledger = app, ledger
        self._seen: Seen | None = None
        self._watch = Watch()
        self._announced = ""
        self.schedule: dict[str, ScheduleEntry] = {}
        self._once: set[str] = set()  # those that are disabled once they were sent: a new leader asks for them first

    @property
    def asks(self) -> dict[str, Combinable]:
        """See ``Source``: for ``PeriodicTasks.last_change``, where that is in the ledger's database."""
        if rows_database() != self._ledger.alias:
            return {}
        return {_ANNOUNCED: Subquery(_changes().values("last_update")[:1])}

    def load(self, *, full: bool = True, polled: Polled = NOT_POLLED) -> Loaded | None:
        """See ``Source``. The version is ``PeriodicTasks.last_update`` in ISO 8601."""
        seen, now = self._seen, self._ledger.fence.now()
        with outages(rows_database()):
            version = version_of(polled)
            if seen is None:
                self._watch.look(now, whole=True)
                self._watch.take_over(list(self._watch.differing))
                return self._load_all(version, now)
            if version != self._announced:
                self._watch.look(now, whole=True)
                self._announced = version
            elif full:
                self._watch.look(now, whole=False)
            loaded = self._load_changes(seen, now)
        return loaded

    def _load_all(self, version: str, now: dt.datetime) -> Loaded:
        overlays = overlay.load(conf.load().database)
        found = self._entries(self._rows(), overlays, self._seen, now)
        self._announced, self._seen = version, Seen(version, now, found, overlays)
        self._show({name: each.entry for name, each in found.items()})
        return Loaded(version, found)

    def _load_changes(self, seen: Seen, now: dt.datetime) -> Loaded | None:
        """A piece of what is to be read again; the version that was announced comes with the last one."""
        self._spread(seen)
        blocks = sorted(self._watch.differing)[:PIECE]
        if not blocks and self._announced == seen.version:
            self._seen = replace(seen, at=self._watch.looked_at)
            return None
        overlays = overlay.load(conf.load().database)
        if any(overlays.get(n) != seen.overlays.get(n) for n in overlays.keys() | seen.overlays if n in seen.entries):
            self._watch.take_over(list(self._watch.differing))
            return self._load_all(self._announced, now)
        self._watch.take_over(blocks)
        before, rows = seen.of(blocks), self._rows(blocks)
        edited = [row for row in rows if row.pk not in before or _state(before[row.pk].entry.model) != _state(row)]
        changed = self._entries(edited, overlays, seen, now)
        left = before.keys() - {row.pk for row in rows} | {row.pk for row in edited}
        gone = {each.name for key, each in before.items() if key in left} - changed.keys()
        is_last = not self._watch.differing
        if blocks and is_last and not changed and not gone and self._announced == seen.version:
            self._seen = replace(seen, at=self._watch.looked_at)
            return None
        entries = {name: each for name, each in seen.entries.items() if name not in gone} | changed
        at, version = (self._watch.looked_at, self._announced) if is_last else (seen.at, seen.version)
        self._seen = Seen(version, at, entries, overlays)
        for name in gone:
            self.schedule.pop(name, None)
        shown: dict[str, ScheduleEntry] = {name: each.entry for name, each in changed.items()}
        self.schedule |= shown
        self._once = (self._once - gone - shown.keys()) | _once(shown)
        return Loaded(version, entries, change=Change(changed, gone, is_last))

    def _show(self, entries: dict[str, ScheduleEntry]) -> None:
        self.schedule, self._once = entries, _once(entries)

    def _spread(self, seen: Seen) -> None:
        """Rows whose schedule was edited, which is a row of its own, are to be read again."""
        for block in [block for block in self._watch.differing if block.table]:
            column, model = SCHEDULES[block.table - 1]
            self._watch.take_over([block])
            known = {}
            for each in seen.entries.values():
                key = getattr(each.entry.model, f"{column}_id")
                if key is not None and Block.of(key, block.table) == block:
                    known[key] = getattr(each.entry.model, column)
            found = {one.pk: one for one in model._default_manager.using(rows_database()).filter(pk__range=block.keys)}
            edited = [k for k in known.keys() | found if _fields(known.get(k)) != _fields(found.get(k))]
            keys = enabled_rows().filter(**{f"{column}__in": edited}).values_list("pk", flat=True)
            self._watch.doubt({Block.of(key) for key in keys})

    def published(self, entries: Sequence[ScheduleEntry], past_slots: PastSlots = ()) -> Collection[EntryName]:
        """See ``Source``."""
        late = [(entry.model, at) for entry, at in past_slots]
        return upkeep.published([entry.model for entry in entries], late, self._ledger.fence.now())

    def end(self, names: Collection[EntryName]) -> Collection[EntryName]:
        """See ``Source``."""
        return upkeep.end(self._ledger, {name: getattr(self.schedule.get(name), "model", None) for name in names})

    def recover(self) -> Collection[EntryName]:
        """See ``Source``."""
        return upkeep.recover(self._ledger) if self._once else ()

    def _rows(self, blocks: Sequence[Block] | None = None) -> list[PeriodicTask]:
        """The enabled rows, of these blocks alone where some are given, with their schedules."""
        rows = enabled_rows()
        if blocks is None:
            return with_schedules(rows)
        keys = [Q(pk__range=block.keys) for block in blocks]
        return with_schedules(rows.filter(reduce(or_, keys))) if keys else []

    def _entries(
        self, rows: Sequence[PeriodicTask], overlays: overlay.Overlays, seen: Seen | None, now: dt.datetime
    ) -> dict[EntryName, ScheduledEntry]:
        runs = {EntryName(row.name): row.last_run_at for row in rows}  # before celery's entries fill in what is not
        found = entries(self._app, rows, self._kind, overlays)
        return {name: with_past(each, runs[name], seen, now) for name, each in found.items()}


def version_of(polled: Polled) -> str:
    """The latest change that was announced, in ISO 8601; empty for none."""
    at = polled[_ANNOUNCED] if _ANNOUNCED in polled else _changes().values_list("last_update", flat=True).first()
    return at.isoformat() if at else ""


def _changes() -> QuerySet[PeriodicTasks]:
    found: QuerySet[PeriodicTasks] = PeriodicTasks.objects.using(rows_database()).filter(ident=1)
    return found


def _once(entries: Mapping[str, ScheduleEntry]) -> set[str]:
    """Those that are rows which are disabled once they were sent; what a project shows need be no row's."""
    return {name for name, entry in entries.items() if getattr(getattr(entry, "model", None), "one_off", False)}


def _state(row: PeriodicTask) -> tuple[Any, ...]:
    """All that is watched of a row, and its schedule."""
    schedules = (_fields(row._state.fields_cache.get(column)) for column, _ in SCHEDULES)
    return (*(getattr(row, column) for column in _COLUMNS), *schedules)


def _fields(row: Model | None) -> list[Any] | None:
    return None if row is None else [getattr(row, field.attname) for field in row._meta.concrete_fields]


def entries(
    app: Celery,
    rows: Iterable[PeriodicTask],
    kind: type[ModelEntry] = ModelEntry,
    overlays: overlay.Overlays | None = None,
) -> dict[EntryName, ScheduledEntry]:
    """The schedule that ``rows`` are, each an entry of ``kind``; one that cannot be read is logged and left out."""
    config, deadline_s = conf.load(), app.conf.beat_cron_starting_deadline
    reader = overlay.Reader(app, overlay.load(config.database) if overlays is None else overlays, kind)
    found: dict[EntryName, ScheduledEntry] = {}
    shared: Shared = {}
    for row in rows:
        name = EntryName(row.name)
        try:
            rule = catch_up_rule(config, name, deadline_s)
            if row.one_off and rule.sends_every:  # it is sent once, whatever has fallen due
                rule = replace(rule, policy=CatchUp.LATEST)
            found[name] = ScheduledEntry.of(reader.entry(row), rule, limits_of(row), shared=shared)
        except Exception as exc:  # written past the model's own checks; the others must go on
            log(Event.ENTRY_FAILED, entry=name, reason=f"its row cannot be read: {text_of(exc)}")
    return found


def imported(app: Celery) -> dict[EntryName, ScheduledEntry]:
    """The imported rows, enabled or not."""
    with outages(rows_database()):
        names = set(ImportedEntry.objects.using(conf.load().database).values_list("name", flat=True))
        rows = [row for row in with_schedules(PeriodicTask.objects.using(rows_database()).all()) if row.name in names]
        return entries(app, rows)
