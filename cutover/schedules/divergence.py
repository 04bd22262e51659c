"""Pure: when two schedules first differ, if they do.

Schedules with equal fingerprints fire alike by construction; so do crontabs of equal fields in two names of one zone.
Other crontabs are compared minute by minute as bits while no clock changes, and slot by slot around every instant at
which one does; whatever else there is, slot by slot.
"""

import calendar
import datetime as dt
from collections.abc import Iterator
from functools import cache
from itertools import count, islice, zip_longest
from typing import Final, TypeAlias

from celery.schedules import BaseSchedule, crontab, schedule, solar
from django_celery_beat.clockedschedule import clocked

from cutover.schedules.fingerprint import fields_of, fingerprint
from cutover.schedules.timetable import Timetable, each, timetable, zone_of

HORIZON: Final = dt.timedelta(days=400)
"""More than a year: every month, and both changes of a daylight-saving zone. The next leap day is compared too."""
AROUND: Final = dt.timedelta(hours=26)
"""How far from a change of clock slots are compared one by one."""
ENUMERATED: Final = 20_000
"""How many slots in a row are compared where neither side is understood; after them, those around changes of clock."""

Divergence: TypeAlias = tuple[dt.datetime | None, dt.datetime | None]
_Span: TypeAlias = tuple[dt.datetime, dt.datetime]

_MINUTE: Final = dt.timedelta(minutes=1)


def first_divergence(
    one: BaseSchedule, other: BaseSchedule, since: dt.datetime, horizon: dt.timedelta = HORIZON
) -> Divergence | None:
    """The first fire times in which the two differ; None when they do not up to ``since + horizon`` and on leap day.

    An interval and a calendar diverge at once, even where the two first instants happen to be the same.
    """
    left, right = timetable(one), timetable(other)
    intervals = [_is_interval(one), _is_interval(other)]
    if all(intervals):
        return None if one.run_every == other.run_every else _next(left, right, since)
    if fingerprint(one) == fingerprint(other):
        return None
    if any(intervals) and (_is_calendar(one) or _is_calendar(other)):
        # An interval counts from its last slot: it fires with a calendar by chance only.
        return _next(left, right, since)
    return next(filter(None, _compared(one, other, (since, since + horizon))), None)


@cache
def transitions(zone: dt.tzinfo, since: dt.datetime, end: dt.datetime) -> tuple[tuple[dt.datetime, dt.timedelta], ...]:
    """When the zone's offset from UTC changes within a span, to the second, and what it is from then on."""
    found = []
    at, offset = since, _offset(zone, since)
    while at < end:
        low, high = at, min(at + dt.timedelta(days=1), end)
        at = high
        if _offset(zone, high) != offset:
            while high - low > dt.timedelta(seconds=1):
                middle = low + (high - low) / 2
                low, high = (middle, high) if _offset(zone, middle) == offset else (low, middle)
            at, offset = high, _offset(zone, high)
            found.append((high.replace(microsecond=0), offset))
    return tuple(found)


def _compared(one: BaseSchedule, other: BaseSchedule, span: _Span) -> Iterator[Divergence | None]:
    """How they differ, if they do, within one part of the span after the other, and on leap day."""
    since, end = span
    left, right = timetable(one), timetable(other)
    zones = {zone_of(found) for found in (one, other) if isinstance(found, crontab)}
    changes = sorted(
        (max(since, at - AROUND), min(end, at + AROUND)) for zone in zones for at, _ in transitions(zone, since, end)
    )
    leap_day = _leap_day(since)
    if not (isinstance(one, crontab) and isinstance(other, crontab)):
        yield _walk(left, right, span, ENUMERATED)
        for part in [*changes, leap_day]:
            yield _walk(left, right, part)
        return
    rules = {(_offset(zone, since), transitions(zone, since, max(end, leap_day[1]))) for zone in zones}
    if fields_of(one) == fields_of(other) and len(rules) == 1:
        return
    at = since
    for start, stop in [*changes, (end, end)]:
        yield _bits_diverge(one, other, (at, start))
        yield _walk(left, right, (max(at, start), stop))
        at = max(at, stop)
    yield _bits_diverge(one, other, (max(end, leap_day[0]), leap_day[1]))


def _bits_diverge(one: crontab, other: crontab, span: _Span) -> Divergence | None:
    """By the first minute in ``(start, end]``, a span without a change of clock, that only one of them has."""
    start, end = span
    base = start.replace(second=0, microsecond=0) + _MINUTE
    minutes = max(0, (end - base) // _MINUTE + 1)
    apart = (_bits(one, base, minutes) ^ _bits(other, base, minutes)) & ((1 << minutes) - 1)
    if not apart:
        return None
    minute = base + _MINUTE * ((apart & -apart).bit_length() - 1)
    return _next(timetable(one), timetable(other), minute - dt.timedelta(microseconds=1))


def _bits(found: crontab, base: dt.datetime, minutes: int) -> int:
    """One bit for each minute from ``base`` on: whether the crontab fires in it."""
    local = (base + _offset(zone_of(found), base)).replace(tzinfo=None)
    within = local.hour * 60 + local.minute
    days = (within + minutes) // 1440 + 1
    day = sum(1 << (hour * 60 + minute) for hour in found.hour for minute in found.minute).to_bytes(180, "little")
    dates = (local.date() + dt.timedelta(days=n) for n in range(days))
    bits = b"".join(
        day
        if date.day in found.day_of_month
        and date.month in found.month_of_year
        and date.isoweekday() % 7 in found.day_of_week
        else bytes(180)
        for date in dates
    )
    return int.from_bytes(bits, "little") >> within


def _walk(left: Timetable, right: Timetable, span: _Span, most: int | None = None) -> Divergence | None:
    """Compare slot by slot within ``(start, end]``."""
    start, end = span
    pairs = zip_longest(each(left, left.next_after(start), end), each(right, right.next_after(start), end))
    return next(((one, other) for one, other in islice(pairs, most) if one != other), None)


def _next(left: Timetable, right: Timetable, after: dt.datetime) -> Divergence:
    return left.next_after(after), right.next_after(after)


def _leap_day(since: dt.datetime) -> _Span:
    """The next 29 February with the days around it; in UTC."""
    year = next(y for y in count(since.year) if calendar.isleap(y) and dt.datetime(y, 3, 2, tzinfo=dt.UTC) > since)
    return dt.datetime(year, 2, 28, tzinfo=dt.UTC), dt.datetime(year, 3, 2, tzinfo=dt.UTC)


def _offset(zone: dt.tzinfo, at: dt.datetime) -> dt.timedelta:
    return at.astimezone(zone).utcoffset() or dt.timedelta(0)


def _is_interval(found: BaseSchedule) -> bool:
    return isinstance(found, schedule) and not found.relative and type(found) is schedule


def _is_calendar(found: BaseSchedule) -> bool:
    return isinstance(found, crontab | solar | clocked) or (isinstance(found, schedule) and found.relative)
