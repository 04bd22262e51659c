"""The database side's schedule as it stands in the rows: read whole, and watched for every change.

A change that goes past ``save()`` leaves no trace in ``PeriodicTasks``; so the columns themselves are looked at.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from celery import Celery
from django.db import connections
from django.db.models import QuerySet
from django_celery_beat.models import PeriodicTask

from cutover import conf
from cutover.beats.candidate import Entries
from cutover.conf import CatchUpRule, Config
from cutover.events import Event, log
from cutover.fields import instant
from cutover.ledger.database import Database
from cutover.models import ImportedEntry
from cutover.schedules import columns, overlay
from cutover.schedules.rows import with_schedules
from cutover.types import EntryName, Limits

_WATCHED: Final = (
    *("pk", "name", "task", "args", "kwargs", "queue", "exchange", "routing_key", "headers", "priority"),
    *("expires", "expire_seconds", "one_off", "start_time"),
    *("interval_id", "crontab_id", "solar_id", "clocked_id"),
)
"""Every column of a row that changes what is sent or when."""


def entries(app: Celery, query: QuerySet[PeriodicTask]) -> Entries:
    """The rows of ``query`` as the candidate takes them; one that cannot be read is told of and left out."""
    config, deadline_s = conf.load(), app.conf.beat_cron_starting_deadline
    reader = overlay.Reader(app, overlay.load(config.database))
    found: Entries = {}
    for row in with_schedules(query):
        name = EntryName(row.name)
        try:
            entry = reader.entry(row)
        except Exception as exc:  # written past the model's own checks; the others must go on
            log(Event.ENTRY_FAILED, entry=name, reason=f"its row cannot be read: {exc}")
            continue
        limits = Limits(_instant(row.start_time), _instant(row.expires))
        found[name] = (entry, rule(config, name, deadline_s), limits)
    return found


@dataclass(frozen=True, slots=True)
class Clocked:
    """A clocked row: its time, when it was saved, and since when it may stand as it does."""

    clocked_time: dt.datetime
    saved_at: dt.datetime
    since: dt.datetime


def clocked(
    rows: Iterable[PeriodicTask], before: Mapping[EntryName, Clocked], looked_at: dt.datetime | None
) -> dict[EntryName, Clocked]:
    """The clocked ones of ``rows``: each stands since it was saved, but not since before the look that did not find it.

    One that was enabled past ``save()``, or whose time was moved itself, tells when it was saved before that.
    """
    found = {}
    for row in rows:
        if row.clocked_id:
            name, saved_at = EntryName(row.name), instant(row.date_changed)
            now = Clocked(instant(row.clocked.clocked_time), saved_at, max(saved_at, looked_at or saved_at))
            known = before.get(name)
            stays = known is not None and (known.clocked_time, known.saved_at) == (now.clocked_time, now.saved_at)
            found[name] = known if known is not None and stays else now
    return found


def carried(app: Celery) -> Entries:
    """The carried rows, enabled or not."""
    with Database(PeriodicTask.objects.db).asked():
        names = set(ImportedEntry.objects.using(conf.load().database).values_list("name", flat=True))
        found = entries(app, PeriodicTask.objects.all())
    return {name: entry for name, entry in found.items() if name in names}


def digest() -> int:
    """Of all that the database side sends by: enabled rows, and schedules. Columns as the database gives them."""
    enabled = PeriodicTask.objects.enabled().order_by("pk").values_list(*_WATCHED)
    schedules = (model._default_manager.order_by("pk").values_list() for _, model in columns.MODELS.values())
    found = 0
    for query in (enabled, *schedules):
        sql, parameters = query.query.sql_with_params()
        with connections[query.db].cursor() as cursor:
            cursor.execute(sql, parameters)
            found = hash((found, tuple(cursor.fetchall())))
    return found


def rule(config: Config, name: str, deadline_s: float | None) -> CatchUpRule:
    """The catch-up rule of one entry, within celery's own ``beat_cron_starting_deadline`` where that is set."""
    own = config.catch_up_rule(EntryName(name))
    if deadline_s is None:
        return own
    return CatchUpRule(own.policy, min(own.window, dt.timedelta(seconds=deadline_s)))


def _instant(value: dt.datetime | None) -> dt.datetime | None:
    return instant(value) if value is not None else None
