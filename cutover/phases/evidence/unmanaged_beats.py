"""Unmanaged beats, which send without the lease: which of those that were heard may still be running."""

import datetime as dt
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from cutover.ledger.database import outages
from cutover.models import UnmanagedBeat
from cutover.phases.context import Context
from cutover.phases.evidence import detection, side
from cutover.schedules import timetable
from cutover.schedules.refusals import EntriesRefused
from cutover.types import Side

LEAST: Final = dt.timedelta(minutes=2)
LATE: Final = dt.timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Heard:
    """An unmanaged beat, by the origin of its messages; ``silent_at``: when it may be taken to have ended.

    ``probably``: why it is taken for a beat, where its messages do not say so; else empty.
    """

    origin: str
    last_heard_at: dt.datetime
    silent_at: dt.datetime
    probably: str = ""


def alive(context: Context) -> list[Heard]:
    """Every unmanaged beat that was heard, if only probably, and has not been silent for long enough since.

    Long enough is two minutes, and a minute after its next slot, whose message may have to wait for a worker.
    """
    heard = dict(detection.probable(context))
    with outages(context.alias):
        for origin, at in UnmanagedBeat.objects.using(context.alias).values_list("origin", "last_heard_at"):
            heard[origin] = max(at, heard.get(origin, (at, ""))[0]), ""
    heard = {origin: seen for origin, seen in heard.items() if not (context.is_dry_run and origin in context.stopped)}
    if not heard:
        return []
    known = [*side.schedules(context, Side.DATABASE).values()]
    with suppress(EntriesRefused):  # the gate on the code schedule says so
        known += side.schedules(context, Side.CODE).values()
    found, tables = [], timetable.Timetables()
    for origin, (at, probably) in heard.items():
        next_at = min(filter(None, (_next_after(tables.of(schedule), at) for schedule in known)), default=at)
        found.append(Heard(origin, at, max(at + LEAST, next_at + LATE), probably))
    now = context.ledger.fence.read_now()
    return [beat for beat in found if beat.silent_at > now]


def _next_after(table: timetable.Timetable, instant: dt.datetime) -> dt.datetime | None:
    every = timetable.interval(table)
    return table.next_after(instant) if every is None else instant + every
