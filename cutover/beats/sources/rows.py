"""The database side's schedule as it stands in the rows: read whole, and watched for every change.

A change that goes past ``save()`` leaves no trace in ``PeriodicTasks``; so the columns themselves are compared.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from celery import Celery
from celery.beat import ScheduleEntry
from django.db import connections
from django.db.models import F, QuerySet
from django_celery_beat.models import PeriodicTask, PeriodicTasks
from django_celery_beat.schedulers import ModelEntry

from cutover import clock, conf
from cutover.beats.sources import Loaded, ScheduledEntry, catch_up_rule
from cutover.events import Event, log
from cutover.fields import instant, stored
from cutover.ledger import Ledger
from cutover.ledger.database import outages
from cutover.models import ImportedEntry
from cutover.schedules import columns, overlay
from cutover.schedules.rows import with_schedules
from cutover.types import EntryName, Limits

WATCHED: Final = (
    *("pk", "name", "task", "args", "kwargs", "queue", "exchange", "routing_key", "headers", "priority"),
    *("expires", "expire_seconds", "one_off", "start_time"),
    *("interval_id", "crontab_id", "solar_id", "clocked_id"),
)
"""Every column of a row that changes what is sent or when."""


@dataclass(frozen=True, slots=True)
class Clocked:
    """A clocked row: its time, when it was saved, and since when it may exist as it does."""

    clocked_time: dt.datetime
    saved_at: dt.datetime
    since: dt.datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """The rows as they were seen last: at which version and when, the digest of their columns, the clocked ones."""

    version: str
    digest: int
    at: dt.datetime
    clocked: Mapping[EntryName, Clocked] = field(default_factory=dict)


class RowSource:
    """The enabled rows. ``schedule`` has celery's entries by name, as loaded last."""

    _kind: type[ModelEntry] = ModelEntry

    def __init__(self, app: Celery, ledger: Ledger) -> None:
        self._app, self._ledger = app, ledger
        self._seen: Seen | None = None
        self.schedule: dict[str, ScheduleEntry] = {}

    def load(self, *, full: bool = True) -> Loaded | None:
        """See ``Source``. The version is ``PeriodicTasks.last_update`` in ISO 8601."""
        seen, now = self._seen, clock.now()
        with outages(PeriodicTask.objects.db):
            last_change = PeriodicTasks.last_change()
            version = last_change.isoformat() if last_change else ""
            if not full and seen is not None and version == seen.version:
                return None
            digest = self._digest()
            if seen is not None and (version, digest) == (seen.version, seen.digest):
                self._seen = Seen(version, digest, now, seen.clocked)
                return None
            rows = self._rows()
            now_seen = Seen(version, digest, now, clocked(rows, seen))
            found = entries(self._app, rows, now_seen.clocked, self._kind)
        self._seen = now_seen
        self.schedule = {name: each.entry for name, each in found.items()}
        return Loaded(version, found)

    def published(self, entries: Sequence[ScheduleEntry]) -> Collection[EntryName]:
        """See ``Source``; a one-off row is disabled once it was sent, as the stock scheduler does.

        A row that was disabled meanwhile is left alone: a person, or a rollback, has said what its last run is.
        """
        if not entries:
            return ()
        with outages(PeriodicTask.objects.db):
            sent = PeriodicTask.objects.filter(pk__in=[e.model.pk for e in entries], enabled=True)
            sent.update(last_run_at=stored(clock.now()), total_run_count=F("total_run_count") + 1)
            return _end([e.model for e in entries if e.model.one_off])

    def recover(self) -> Collection[EntryName]:
        """See ``Source``: one-off rows that were sent, and are still enabled."""
        with outages(PeriodicTask.objects.db):
            once = {EntryName(row.name): row for row in PeriodicTask.objects.enabled().filter(one_off=True)}
            since = {name: instant(row.date_changed) for name, row in once.items()}
            return _end([once[name] for name in self._ledger.claims.sent_since(since)]) if since else ()

    def _rows(self) -> list[PeriodicTask]:
        """The enabled rows, with their schedules."""
        return with_schedules(PeriodicTask.objects.enabled())

    def _digest(self) -> int:
        """Of all that the schedule depends on."""
        return digest_of_rows()


def entries(
    app: Celery,
    rows: Iterable[PeriodicTask],
    clocked: Mapping[EntryName, Clocked],
    kind: type[ModelEntry] = ModelEntry,
) -> dict[EntryName, ScheduledEntry]:
    """The schedule that ``rows`` are, each an entry of ``kind``; one that cannot be read is logged and left out."""
    config, deadline_s = conf.load(), app.conf.beat_cron_starting_deadline
    reader = overlay.Reader(app, overlay.load(config.database), kind)
    found: dict[EntryName, ScheduledEntry] = {}
    for row in rows:
        name = EntryName(row.name)
        limits = Limits(row.start_time and instant(row.start_time), row.expires and instant(row.expires))
        since = clocked[name].since if name in clocked else None
        try:
            rule = catch_up_rule(config, name, deadline_s)
            found[name] = ScheduledEntry.of(reader.entry(row), rule, limits, since)
        except Exception as exc:  # written past the model's own checks; the others must go on
            log(Event.ENTRY_FAILED, entry=name, reason=f"its row cannot be read: {exc}")
    return found


def clocked(rows: Iterable[PeriodicTask], seen: Seen | None) -> dict[EntryName, Clocked]:
    """The clocked ones of ``rows``. Each counts as existing since its save or our previous poll, whichever is later:

    ``date_changed`` may be older than what was changed last, where that went past ``save()``.
    """
    found = {}
    for row in rows:
        if row.clocked_id:
            name, saved_at = EntryName(row.name), instant(row.date_changed)
            now = Clocked(instant(row.clocked.clocked_time), saved_at, max(saved_at, seen.at if seen else saved_at))
            known = seen.clocked.get(name) if seen else None
            stays = known is not None and (known.clocked_time, known.saved_at) == (now.clocked_time, now.saved_at)
            found[name] = known if known is not None and stays else now
    return found


def imported(app: Celery) -> dict[EntryName, ScheduledEntry]:
    """The imported rows, enabled or not."""
    with outages(PeriodicTask.objects.db):
        names = set(ImportedEntry.objects.using(conf.load().database).values_list("name", flat=True))
        rows = [row for row in with_schedules(PeriodicTask.objects.all()) if row.name in names]
        return entries(app, rows, {})


def digest_of_rows() -> int:
    """Of all that the database side sends by: enabled rows, and schedules. Columns as the database gives them."""
    enabled = PeriodicTask.objects.enabled().order_by("pk").values_list(*WATCHED)
    schedules: Iterable[QuerySet[PeriodicTask]] = (
        model._default_manager.order_by("pk").values_list() for _, model in columns.MODELS.values()
    )
    found = 0
    for query in (enabled, *schedules):
        sql, parameters = query.query.sql_with_params()
        with connections[query.db].cursor() as cursor:
            cursor.execute(sql, parameters)
            found = hash((found, tuple(cursor.fetchall())))
    return found


def _end(once: Sequence[PeriodicTask]) -> Collection[EntryName]:
    """Disable rows that are sent once and were; returns their names."""
    if once:
        standing = PeriodicTask.objects.filter(pk__in=[row.pk for row in once], enabled=True)
        # Also when it was changed: the admin's "enable" does not say so, and `recover` must not end it again.
        standing.update(enabled=False, total_run_count=0, date_changed=stored(clock.now()))
        PeriodicTasks.update_changed()
    return [EntryName(row.name) for row in once]
