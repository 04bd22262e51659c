"""What each side sends, by its own schedule."""

from collections.abc import Mapping
from contextlib import suppress

from celery.schedules import BaseSchedule
from django.db.models import QuerySet
from django_celery_beat.models import PeriodicTask

from cutover.fields import instant
from cutover.ledger.database import outages
from cutover.phases.context import Context
from cutover.schedules import overlay
from cutover.schedules.refusals import unsendable
from cutover.schedules.rows import with_schedules
from cutover.types import EntryName, Limits, Side


def enabled_rows(context: Context) -> QuerySet[PeriodicTask]:
    """The rows that the database side sends."""
    rows: QuerySet[PeriodicTask] = PeriodicTask.objects.using(context.alias).filter(enabled=True)
    return rows


def schedules(context: Context, side: Side) -> Mapping[EntryName, BaseSchedule]:
    """What ``side`` sends. Raises LedgerUnavailable; for the code side ConfigurationError or EntriesRefused too."""
    if side is Side.CODE:
        return {name: entry.schedule for name, entry in context.entries.items() if not unsendable(entry)}
    found = {}
    with outages(context.alias):
        reader = overlay.Reader(context.app, overlay.load(context.alias))
        for row in with_schedules(enabled_rows(context)):
            with suppress(Exception):  # a row that cannot be read is not sent: status names it
                found[EntryName(row.name)] = reader.schedule(row)
    return found


def limits(context: Context) -> dict[EntryName, Limits]:
    """From and until when enabled rows may be sent at all, where they have such limits."""
    limited = enabled_rows(context).exclude(start_time=None, expires=None)
    with outages(context.alias):
        return {
            EntryName(name): Limits(start and instant(start), end and instant(end))
            for name, start, end in limited.values_list("name", "start_time", "expires")
        }
