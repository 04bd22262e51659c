"""What the project's own subclass of the database scheduler shows of the rows: its overrides decide, as under stock's.

Stock's ``all_as_schedule`` makes an ``Entry`` of each of ``enabled_models``, which are those of ``enabled_models_qs``,
which are a ``Model``'s; ``Changes`` says when to ask again. A subclass that overrides one of these is
asked at each poll, for all: what it makes of the rows nobody else can know.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from celery.beat import ScheduleEntry
from django.db import connections
from django.db.models import QuerySet
from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler

from cutover import conf
from cutover.beats.sources import NOT_POLLED, Loaded, PastSlots, Polled, ScheduledEntry, catch_up_rule
from cutover.beats.sources.rows import RowSource, entries, version_of
from cutover.beats.sources.watch import WATCHED, Block
from cutover.errors import LedgerUnavailable
from cutover.events import Event, log
from cutover.foreign import shown, text_of
from cutover.ledger import Ledger
from cutover.ledger.database import outages
from cutover.schedules import columns
from cutover.schedules.fingerprint import fingerprint
from cutover.schedules.rows import enabled_rows, rows_database, with_schedules
from cutover.types import EntryName

HOOKS: Final = ("enabled_models", "enabled_models_qs", "all_as_schedule", "Model", "Changes")


class ShownRows(RowSource):
    """The rows as ``scheduler`` shows them; ``ours``: the class whose own hooks show every enabled row."""

    def __init__(self, scheduler: DatabaseScheduler, ours: type[DatabaseScheduler], ledger: Ledger) -> None:
        super().__init__(scheduler.app, ledger)
        self._scheduler, self._kind = scheduler, scheduler.Entry
        kind = type(scheduler)
        self._overridden = {hook for hook in HOOKS if getattr(kind, hook) is not getattr(ours, hook)}
        self._ahead: Loaded | None = None
        self._read: Mapping[EntryName, ScheduledEntry] = {}
        self._shown_as = 0

    def read_ahead(self) -> None:
        """Read the schedule before the first turn, which is then given it. Raises LedgerUnavailable."""
        if not self.schedule:
            self._ahead = self.load()

    def load(self, *, full: bool = True, polled: Polled = NOT_POLLED) -> Loaded | None:
        """See ``Source``."""
        loaded = self._load_anew(full) if self._overridden else super().load(full=full, polled=polled)
        ahead, self._ahead = self._ahead, None
        if ahead is not None and loaded is not None:
            loaded = replace(loaded, change=None)
        if loaded is None:
            return ahead
        if "all_as_schedule" not in self._overridden:
            return loaded
        try:
            with outages(rows_database()):
                shown = self._as_finished(loaded.entries)
        except LedgerUnavailable:
            self._seen = None  # the next call reads it all again
            raise
        self._show({name: each.entry for name, each in shown.items()})
        return Loaded(loaded.version, shown)

    def published(self, entries: Sequence[ScheduleEntry], past_slots: PastSlots = ()) -> Collection[EntryName]:
        """See ``Source``; an entry that is no row's has nothing to be kept true."""
        of_rows = [entry for entry in entries if getattr(entry, "model", None) is not None]
        return super().published(of_rows, [(e, at) for e, at in past_slots if getattr(e, "model", None) is not None])

    def end(self, names: Collection[EntryName]) -> Collection[EntryName]:
        """See ``Source``; an entry that is no row's has nothing to be disabled."""
        of_rows = {name for name in names if getattr(self.schedule.get(name), "model", None) is not None}
        return {*super().end(of_rows), *(set(names) - of_rows)}

    def read(self) -> dict[str, ScheduleEntry]:
        """The entries of all rows that the scheduler shows, for its ``all_as_schedule``. Raises LedgerUnavailable."""
        found = self._read
        if not found:
            with outages(rows_database()):
                found = entries(self._app, self._rows(), self._kind)
        return {name: each.entry for name, each in found.items()}

    def _load_anew(self, full: bool) -> Loaded | None:
        """All of it wherever anything has changed, as far as the scheduler's own hooks show."""
        seen, now = self._seen, self._ledger.fence.now()
        with outages(rows_database()):
            version = version_of(NOT_POLLED)
            if not full and seen is not None and version == seen.version:
                return None
            digest = self._digest()
            if seen is not None and (version, digest) == (seen.version, self._shown_as):
                self._seen = replace(seen, at=now)
                return None
            loaded, self._shown_as = self._load_all(version, now), digest
        return loaded

    def _rows(self, blocks: Sequence[Block] | None = None) -> list[PeriodicTask]:
        if not self._overridden:
            return super()._rows(blocks)
        own = "enabled_models" in self._overridden
        return with_schedules(self._scheduler.enabled_models() if own else self._scheduler.enabled_models_qs())

    def _digest(self) -> int:
        found = digest_of_rows()
        shown = [tuple(getattr(row, column) for column in WATCHED) for row in self._scheduler.enabled_models()]
        parts: list[Any] = [found, tuple(shown), self._scheduler.Changes.last_change()]
        if "all_as_schedule" in self._overridden:
            given = self._scheduler.all_as_schedule()
            parts.append(repr(sorted((name, _meaning(entry)) for name, entry in given.items())))
        return hash(tuple(parts))

    def _as_finished(self, read: Mapping[EntryName, ScheduledEntry]) -> dict[EntryName, ScheduledEntry]:
        """What the scheduler's own ``all_as_schedule`` makes of the rows' entries."""
        self._read = read
        try:
            finished = self._scheduler.all_as_schedule()
        finally:
            self._read = {}
        shown: dict[EntryName, ScheduledEntry] = {}
        for name, entry in finished.items():
            try:
                shown[EntryName(name)] = self._shown(read.get(EntryName(name)), entry)
            except Exception as exc:  # a schedule of the project's own making; the others must go on
                log(Event.ENTRY_FAILED, entry=name, reason=f"it is left out: {text_of(exc)}")
        return shown

    def _shown(self, read: ScheduledEntry | None, entry: ScheduleEntry) -> ScheduledEntry:
        if read is not None and read.entry is entry:
            return read
        config, deadline_s = conf.load(), self._app.conf.beat_cron_starting_deadline
        made = ScheduledEntry.of(entry, catch_up_rule(config, entry.name, deadline_s))
        if read is None:
            return made
        return replace(read, entry=entry, timetable=made.timetable, fingerprint=made.fingerprint)


def digest_of_rows() -> int:
    """Of all that the database side sends by: enabled rows, and schedules. Columns as the database gives them."""
    enabled = enabled_rows().order_by("pk").values_list(*WATCHED)
    schedules: Iterable[QuerySet[PeriodicTask]] = (
        model._default_manager.using(rows_database()).order_by("pk").values_list()
        for _, model in columns.MODELS.values()
    )
    found = 0
    for query in (enabled, *schedules):
        sql, parameters = query.query.get_compiler(using=query.db).as_sql()  # Django's own way asks the default one
        with connections[query.db].cursor() as cursor:
            cursor.execute(sql, parameters)
            found = hash((found, tuple(cursor.fetchall())))
    return found


def _meaning(entry: ScheduleEntry) -> tuple[Any, ...]:
    return text_of(entry.task), *map(shown, (entry.args, entry.kwargs, entry.options)), fingerprint(entry.schedule)
