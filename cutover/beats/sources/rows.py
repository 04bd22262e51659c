"""The database side's schedule as it stands in the rows: read whole, and watched for every change.

A change that goes past ``save()`` leaves no trace in ``PeriodicTasks``; so the columns themselves are compared.
"""

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from celery import Celery
from celery.beat import ScheduleEntry
from django.db import connections
from django.db.models import F, QuerySet
from django_celery_beat.models import PeriodicTask, PeriodicTasks
from django_celery_beat.schedulers import ModelEntry

from cutover import clock, conf
from cutover.beats.sources import LastRun, Loaded, ScheduledEntry, catch_up_rule
from cutover.events import Event, log
from cutover.fields import instant, stored
from cutover.ledger import Ledger
from cutover.ledger.database import outages
from cutover.models import ImportedEntry
from cutover.schedules import columns, overlay
from cutover.schedules.rows import with_schedules
from cutover.schedules.timetable import interval
from cutover.types import EntryName, Limits

WATCHED: Final = (
    *("pk", "name", "task", "args", "kwargs", "queue", "exchange", "routing_key", "headers", "priority"),
    *("expires", "expire_seconds", "one_off", "start_time"),
    *("interval_id", "crontab_id", "solar_id", "clocked_id"),
)
"""Every column of a row that changes what is sent or when."""


LATE: Final = dt.timedelta(minutes=5)
"""How late a row that was saved may be seen: after a long transaction, or through a replica. (The stock scheduler reads
the rows that often.) One that was saved earlier, and comes now, has been enabled now, past ``save()``."""


@dataclass(frozen=True)
class Seen:
    """The rows as they were seen last: at which version and when, a digest of their columns, what was made of them."""

    version: str
    digest: int
    at: dt.datetime
    entries: Mapping[EntryName, ScheduledEntry]

    @cached_property
    def keys(self) -> Set[Any]:
        """The rows' primary keys."""
        return {entry.entry.model.pk for entry in self.entries.values()}


class RowSource:
    """The enabled rows. ``schedule`` has celery's entries by name, as loaded last."""

    _kind: type[ModelEntry] = ModelEntry

    def __init__(self, app: Celery, ledger: Ledger) -> None:
        self._app, self._ledger = app, ledger
        self._seen: Seen | None = None
        self.schedule: dict[str, ScheduleEntry] = {}

    def load(self, *, full: bool = True) -> Loaded | None:
        """See ``Source``. The version is ``PeriodicTasks.last_update`` in ISO 8601."""
        seen, now = self._seen, self._ledger.fence.now()
        with outages(PeriodicTask.objects.db):
            last_change = PeriodicTasks.last_change()
            version = last_change.isoformat() if last_change else ""
            if not full and seen is not None and version == seen.version:
                return None
            digest = self._digest()
            if seen is not None and (version, digest) == (seen.version, seen.digest):
                self._seen = replace(seen, at=now)
                return None
            rows = self._rows()
            runs = {EntryName(row.name): row.last_run_at for row in rows}  # before celery's entries fill in what is not
            found = entries(self._app, rows, self._kind)
            found = {name: _with_past(each, runs[name], seen, now) for name, each in found.items()}
        self._seen = Seen(version, digest, now, found)
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

    def end(self, names: Collection[EntryName]) -> Collection[EntryName]:
        """See ``Source``: a clocked row, and one whose end has come, is disabled, as the stock scheduler does.

        Not while a slot of it waits for the broker, for it would be given up; nor one that was changed since it was
        read.
        """
        now = self._ledger.fence.now()
        with outages(PeriodicTask.objects.db):
            waiting = {claim.slot.entry for claim in self._ledger.claims.unpublished()}
            done = [name for name in names if name not in waiting]
            rows = [self.schedule[name].model for name in done if name in self.schedule]
            for row in rows:
                has_expired = row.expires is not None and instant(row.expires) <= now
                if has_expired or (row.one_off and row.clocked_id):
                    self._disable(row, has_expired=has_expired)
        return done

    def _disable(self, row: PeriodicTask, *, has_expired: bool) -> None:
        as_read = {"pk": row.pk, "date_changed": row.date_changed, "expires": row.expires, "clocked_id": row.clocked_id}
        if row.clocked_id:
            as_read["clocked__clocked_time"] = row.clocked.clocked_time
        if not PeriodicTask.objects.filter(enabled=True, **as_read).update(enabled=False):
            return
        PeriodicTasks.update_changed()
        reason = "its end has come"
        if not has_expired:
            at = instant(row.clocked.clocked_time).isoformat()
            reason = f"its slot of {at}, or a later one, is in the ledger; to have it sent, give it another time"
        log(Event.ENTRY_ENDED, entry=row.name, reason=f"the row is disabled: {reason}")

    def recover(self) -> Collection[EntryName]:
        """See ``Source``: one-off rows that were sent, by us or by a stock scheduler, and are still enabled."""
        with outages(PeriodicTask.objects.db):
            once = {EntryName(row.name): row for row in PeriodicTask.objects.enabled().filter(one_off=True)}
            if not once:
                return ()
            sent = self._ledger.claims.sent_since({name: instant(row.date_changed) for name, row in once.items()})
            counted = {name for name, row in once.items() if row.total_run_count} - sent
            sent |= counted - self._ledger.cursors.latest_of(counted).keys()  # in the ledger, the count is of before
            return _end([once[name] for name in sent])

    def _rows(self) -> list[PeriodicTask]:
        """The enabled rows, with their schedules."""
        return with_schedules(PeriodicTask.objects.enabled())

    def _digest(self) -> int:
        """Of all that the schedule depends on."""
        return digest_of_rows()


def entries(
    app: Celery, rows: Iterable[PeriodicTask], kind: type[ModelEntry] = ModelEntry
) -> dict[EntryName, ScheduledEntry]:
    """The schedule that ``rows`` are, each an entry of ``kind``; one that cannot be read is logged and left out."""
    config, deadline_s = conf.load(), app.conf.beat_cron_starting_deadline
    reader = overlay.Reader(app, overlay.load(config.database), kind)
    found: dict[EntryName, ScheduledEntry] = {}
    for row in rows:
        name = EntryName(row.name)
        limits = Limits(row.start_time and instant(row.start_time), row.expires and instant(row.expires))
        try:
            rule = catch_up_rule(config, name, deadline_s)
            found[name] = ScheduledEntry.of(reader.entry(row), rule, limits)
        except Exception as exc:  # written past the model's own checks; the others must go on
            log(Event.ENTRY_FAILED, entry=name, reason=f"its row cannot be read: {exc}")
    return found


def _with_past(
    entry: ScheduledEntry, last_run_at: dt.datetime | None, seen: Seen | None, now: dt.datetime
) -> ScheduledEntry:
    """The entry with what its row, and what was seen before, tell of the time until now."""
    row = entry.entry.model
    saved_at = instant(row.date_changed)
    known = seen.entries.get(entry.name) if seen else None
    if known is not None and _mark(known) == _mark(entry):
        return replace(
            entry, exists_since=known.exists_since, changed_since=known.changed_since, last_run=known.last_run
        )
    unseen_at = seen.at if seen else None
    entry = replace(
        entry,
        exists_since=saved_at if saved_at > now - LATE else unseen_at,
        changed_since=max(saved_at, unseen_at) if unseen_at else None,
    )
    if seen is not None and (known is not None or row.pk not in seen.keys):
        return entry  # enabled, or edited, while this beat looked: what was sent of it before does not count
    # It was there when this beat began, or had another name until now: it goes on from what was sent of it.
    step, last_run = interval(entry.timetable), None
    if last_run_at is not None:
        last_run = LastRun(instant(last_run_at), has_run=True)
    elif step is not None and saved_at + step > now:
        last_run = LastRun(saved_at, has_run=False)  # never sent, and nothing has fallen due yet
    return replace(entry, last_run=last_run)


def _mark(entry: ScheduledEntry) -> tuple[str, Limits, dt.datetime]:
    return entry.fingerprint, entry.limits, entry.entry.model.date_changed


def imported(app: Celery) -> dict[EntryName, ScheduledEntry]:
    """The imported rows, enabled or not."""
    with outages(PeriodicTask.objects.db):
        names = set(ImportedEntry.objects.using(conf.load().database).values_list("name", flat=True))
        rows = [row for row in with_schedules(PeriodicTask.objects.all()) if row.name in names]
        return entries(app, rows)


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
