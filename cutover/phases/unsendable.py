"""Which entries of the active side can not be sent as they stand, and why; what is stuck is asked of celery itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Final

from celery.beat import ScheduleEntry
from django_celery_beat.models import PeriodicTask

from cutover import beside, models, rows
from cutover.messages import Builder, Unsendable
from cutover.phases.context import Context
from cutover.phases.state import outages
from cutover.types import EntryName, Side, SlotState

_ASKED: Final = 100
"""Of how many stuck entries celery is asked; in an outage of the broker all are stuck, and none is at fault."""


def unsendable(context: Context, side: Side) -> dict[EntryName, str]:
    """Why, by entry: rows that can not be read, and what is claimed and celery can not send.

    Raises LedgerUnavailable; for the code side ConfigurationError or EntriesRefused too.
    """
    with outages(context.alias):
        stuck = _stuck(context)
        if side is Side.CODE:
            return dict(_refused(context, [context.entries[n] for n in stuck if n in context.entries]))
        enabled = rows.with_schedules(PeriodicTask.objects.using(context.alias).filter(enabled=True))
        reader = beside.Reader(context.app, beside.load(context.alias))
    found: dict[EntryName, str] = {}
    entries = []
    for row in enabled:
        name = EntryName(row.name)
        if row.scheduler is None:
            found[name] = "its row has no schedule"
            continue
        try:
            reader.schedule(row)
        except Exception as exc:  # written past the model's own checks
            found[name] = f"its row's schedule can not be read: {exc}"
            continue
        if why := rows.unreadable(row):
            found[name] = f"its row can not be sent: {why}"
        elif name in stuck:
            entries.append(reader.entry(row))
    return found | dict(_refused(context, entries))


def unknown_tasks(context: Context, side: Side) -> dict[EntryName, str]:
    """The task of every enabled row that this project does not register: its workers drop such messages."""
    if side is Side.CODE:
        return {}  # a gate of phase 1
    with suppress(ImportError):
        context.app.loader.import_default_modules()
    with outages(context.alias):
        enabled = PeriodicTask.objects.using(context.alias).filter(enabled=True).order_by("name")
        named = list(enabled.exclude(task__in=list(context.app.tasks.keys())).values_list("name", "task"))
    return {EntryName(name): task for name, task in named}


def _stuck(context: Context) -> set[EntryName]:
    """The entries that have a claim which is not published."""
    claims = models.Slot.objects.using(context.alias).filter(state=SlotState.CLAIMED)
    return {EntryName(name) for name in claims.values_list("entry", flat=True).distinct().order_by()}


def _refused(context: Context, entries: Iterable[ScheduleEntry]) -> Iterator[tuple[EntryName, str]]:
    """Those of ``entries`` that celery can not send, and what it says."""
    builder = None
    for entry in islice(entries, _ASKED):
        builder = builder or Builder(context.app)
        try:
            builder.message(entry)
        except Unsendable as exc:
            yield EntryName(entry.name), f"celery can not send it: {exc}"
