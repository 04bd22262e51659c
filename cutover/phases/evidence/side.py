"""What each side sends, by its own schedule."""

import datetime as dt
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from celery.schedules import BaseSchedule
from django.db.models import QuerySet
from django_celery_beat.models import PeriodicTask

from cutover.foreign import text_of
from cutover.ledger.database import outages
from cutover.phases.context import Context
from cutover.phases.evidence.unstarted import Delays
from cutover.schedules import overlay, rows
from cutover.schedules.messages import DELAYS
from cutover.schedules.refusals import unsendable
from cutover.types import EntryName, Limits, Side

_SCHEDULES: Final = ("interval_id", "crontab_id", "solar_id", "clocked_id")
_OF_ITSELF: Final = ("name", "task", "args", "kwargs", "headers", "start_time", "expires")
READ: Final = [
    field.attname for field in PeriodicTask._meta.concrete_fields if field.attname in (*_OF_ITSELF, *_SCHEDULES)
]
"""What is read of a row."""
_schedules_of: Final = attrgetter(*_SCHEDULES)


@dataclass(frozen=True, slots=True)
class Sending:
    """What one side sends, read once: the schedule of each entry; its start and end, where its row has them.

    ``unsendable``: the entries that cannot be sent as they are, and why; those of rows have a schedule all the same,
    where it can be read. ``tasks``: of all of them. ``delays``: of the entries whose messages are to be started later.
    """

    side: Side
    schedules: Mapping[EntryName, BaseSchedule]
    limits: Mapping[EntryName, Limits]
    unsendable: Mapping[EntryName, str]
    tasks: Mapping[EntryName, str]
    delays: Delays


def enabled_rows(context: Context) -> QuerySet[PeriodicTask]:
    """The rows that the database side sends, in the ledger's database, where the phases find both in one transaction.

    A beat reads them where they are written, by ``schedules.rows.enabled_rows``: without a phase they may be elsewhere.
    """
    found: QuerySet[PeriodicTask] = PeriodicTask.objects.using(context.alias).filter(enabled=True)
    return found


def read(context: Context, side: Side, only: EntryName | None = None) -> Sending:
    """What ``side`` sends; of rows ``only`` one, if asked for: those of code are in memory.

    Raises LedgerUnavailable; for the code side ConfigurationError or EntriesRefused too.
    """
    return _of_code(context) if side is Side.CODE else _of_rows(context, only)


def _of_code(context: Context) -> Sending:
    refused = {name: why for name, entry in context.entries.items() if (why := unsendable(entry))}
    return Sending(
        side=Side.CODE,
        schedules={name: entry.schedule for name, entry in context.entries.items() if name not in refused},
        limits={},
        unsendable={name: f"it is left out: {' | '.join(map(str, why))}" for name, why in refused.items()},
        tasks={name: text_of(entry.task) for name, entry in context.entries.items()},
        delays=delays_of({name: entry.options for name, entry in context.entries.items()}),
    )


def _of_rows(context: Context, only: EntryName | None) -> Sending:
    with outages(context.alias):
        overlays = overlay.load(context.alias, only)
        wanted = enabled_rows(context) if only is None else enabled_rows(context).filter(name=only)
        enabled = list(wanted.order_by("name").values_list(*READ, named=True))

    def of(row: Any) -> Any:
        """What has the same schedule: rows on one, but for those that have an overlay."""
        return row.name if row.name in overlays else _schedules_of(row)

    # Ten thousand models take longer to make than their rows to read: one for each schedule will do.
    apart = {of(row): row for row in enabled}
    with outages(context.alias):
        models = [PeriodicTask.from_db(context.alias, READ, row) for row in apart.values()]
        shared = rows.with_schedules(models, context.alias)
    reader, schedules, broken = overlay.Reader(context.app, overlays), dict[Any, BaseSchedule](), dict[Any, str]()
    for key, model in zip(apart, shared, strict=True):
        try:
            schedules[key] = reader.schedule(model)
        except Exception as exc:  # written past the model's own checks
            has_one = any(getattr(model, column) is not None for column in _SCHEDULES)
            broken[key] = f"its row's schedule cannot be read: {text_of(exc)}" if has_one else "its row has no schedule"
    found, unfit = dict[EntryName, BaseSchedule](), dict[EntryName, str]()
    for row in enabled:
        name, key = EntryName(row.name), of(row)
        if key in broken:
            unfit[name] = broken[key]
            continue
        found[name] = schedules[key]
        if why := rows.unreadable(row):
            unfit[name] = f"its row cannot be sent: {why}"
    return Sending(
        side=Side.DATABASE,
        schedules=found,
        limits={EntryName(row.name): rows.limits_of(row) for row in enabled if row.start_time or row.expires},
        unsendable=unfit,
        tasks={EntryName(row.name): row.task for row in enabled},
        delays=delays_of({name: one.options for name, one in overlays.items()}),
    )


def delays_of(options: Mapping[EntryName, Mapping[str, Any]]) -> Delays:
    """How long the messages of entries wait that are to; celery takes an ``eta`` before a ``countdown``."""
    return {name: _delay(its) for name, its in options.items() if its.keys() & DELAYS}


def _delay(options: Mapping[str, Any]) -> dt.timedelta | None:
    with suppress(TypeError, ValueError, OverflowError):  # what celery makes of it the leader says
        if options.get("eta") is None:
            return dt.timedelta(seconds=float(options.get("countdown") or 0))
    return None


def schedules(context: Context, side: Side) -> Mapping[EntryName, BaseSchedule]:
    """The schedules that ``side`` sends by. Raises as ``read``."""
    return read(context, side).schedules


def names(context: Context, side: Side) -> set[EntryName]:
    """The entries of ``side``, also those that cannot be sent as they are. Raises as ``read``."""
    found = read(context, side)
    return {*found.schedules, *found.unsendable}
