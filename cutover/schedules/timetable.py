"""Pure: the instants at which a celery schedule is due, by arithmetic over celery's own schedule objects.

The fields mean what celery means by them. An interval's slots are whole multiples from its last slot, so that its
cadence never drifts and never starts over; a crontab's, solar's or clocked entry's slots are those of the calendar.
"""

import copy
import datetime as dt
from collections import deque
from collections.abc import Iterator
from functools import cache
from typing import Final, Protocol

from celery import schedules
from django_celery_beat.clockedschedule import clocked

from cutover.errors import ScheduleFailed
from cutover.foreign import text_of

_INSTANT: Final = dt.timedelta.resolution
_MINUTE: Final = dt.timedelta(minutes=1)
_DAY: Final = dt.timedelta(days=1)
ENUMERATED: Final = 10_000
"""How many slots of one gap are gone through one by one."""


class Timetable(Protocol):
    """The instants at which one schedule is due, as a function of where it stands. All instants are aware and UTC."""

    def next_after(self, instant: dt.datetime) -> dt.datetime | None:
        """The first instant strictly after ``instant``, counted from it for an interval; None when there is none."""

    def latest(self, after: dt.datetime, until: dt.datetime) -> dt.datetime | None:
        """The last instant in ``(after, until]``, or None."""


class _Interval:
    def __init__(self, every: dt.timedelta) -> None:
        self.every = max(every, dt.timedelta(microseconds=1))

    def next_after(self, instant: dt.datetime) -> dt.datetime:
        return instant + self.every

    def latest(self, after: dt.datetime, until: dt.datetime) -> dt.datetime | None:
        whole = (until - after) // self.every
        return after + whole * self.every if whole > 0 else None


class _Crontab:
    def __init__(self, schedule: schedules.crontab) -> None:
        # As it is: celery's own way of copying reads all fields again, and leaves the app behind.
        self._schedule = object.__new__(type(schedule))
        vars(self._schedule).update(vars(schedule))
        self._zone = zone_of(schedule)
        self._answered: tuple[dt.datetime, dt.datetime, dt.datetime] | None = None
        """From when until when which answer holds."""

    def next_after(self, instant: dt.datetime) -> dt.datetime:
        # Many entries on one schedule are asked for one after the other, each from an instant of its own.
        if self._answered is None or not self._answered[0] <= instant < self._answered[1]:
            found = self._next_after(instant)
            # What falls due after a change of the clocks celery may see from before it alone.
            is_even = self._offset(found) == self._offset(found - _DAY)
            self._answered = instant, found if is_even else instant + _INSTANT, found
        return self._answered[2]

    def _offset(self, instant: dt.datetime) -> dt.timedelta | None:
        return instant.astimezone(self._zone).utcoffset()

    def _next_after(self, instant: dt.datetime) -> dt.datetime:
        local = instant.astimezone(self._zone)
        # Celery 5.4 leaves out the rest of an hour that is not of today: so today is the day in question.
        self._schedule.now = lambda: local
        while True:
            start, delta, _ = self._schedule.remaining_delta(local)
            # Wall-clock arithmetic, then UTC: the same instant whatever `instant` it is sought from.
            local = start + delta
            found: dt.datetime = local.astimezone(dt.UTC)
            if found > instant:
                return found
            # `instant` is in an hour that is put back, and the arithmetic in its first round, which has all its slots.

    def latest(self, after: dt.datetime, until: dt.datetime) -> dt.datetime | None:
        # Back off from `until` in doubling steps: an hourly entry is found in six steps, a yearly one in nineteen.
        step = _MINUTE
        while (first := self.next_after(max(after, until - step))) > until:
            if until - step <= after:
                return None
            step *= 2
        return _last(self, first, until)


class _Calendar:
    """Any other celery schedule: asked what remains, with its clock held at the instant in question."""

    def __init__(self, schedule: schedules.BaseSchedule) -> None:
        self._schedule = copy.copy(schedule)
        self._schedule.app = schedule.app  # celery's own schedules leave it behind, and the time zone with it

    def next_after(self, instant: dt.datetime) -> dt.datetime | None:
        found = self._after(instant)
        if isinstance(self._schedule, schedules.solar) and found - instant < _MINUTE:
            # Sought from the event itself ephem may give the same one again, off by a fraction of a second; no event
            # recurs within an hour.
            found = self._after(instant + 60 * _MINUTE)
        return found if found > instant else None

    def _after(self, start: dt.datetime) -> dt.datetime:
        # In the schedule's own zone: there a relative interval is rounded.
        now = start.astimezone(self._schedule.tz)
        self._schedule.nowfun = lambda: now
        try:
            found: dt.datetime = start + self._schedule.remaining_estimate(now)
        except Exception as exc:  # the project's own method
            kind, why = type(self._schedule), f"{type(exc).__name__}: {text_of(exc)}"
            asked = f"{start:%Y-%m-%d %H:%M:%S} UTC"
            said = f"A schedule of {kind.__module__}.{kind.__qualname__} does not say what follows on {asked} ({why})."
            raise ScheduleFailed(said) from exc
        return found

    def latest(self, after: dt.datetime, until: dt.datetime) -> dt.datetime | None:
        first = self.next_after(after)
        if first is None or first > until:
            return None
        if isinstance(self._schedule, schedules.schedule) and (following := self.next_after(first)) is not None:
            # Rounded as it is, it goes on in steps; a long gap has too many of them to be walked through.
            step = following - first
            first += max(0, (until - first) // step - ENUMERATED) * step
        return _last(self, first, until)


class _Once:
    def __init__(self, at: dt.datetime) -> None:
        self.at = at.astimezone(dt.UTC)

    def next_after(self, instant: dt.datetime) -> dt.datetime | None:
        return self.at if self.at > instant else None

    def latest(self, after: dt.datetime, until: dt.datetime) -> dt.datetime | None:
        return self.at if after < self.at <= until else None


def timetable(schedule: schedules.BaseSchedule) -> Timetable:
    """The timetable of a celery or django-celery-beat schedule object; a class unknown here is asked by its own API."""
    if isinstance(schedule, schedules.crontab):
        return _Crontab(schedule)
    if isinstance(schedule, schedules.schedule) and not schedule.relative:
        return _Interval(schedule.run_every)
    if isinstance(schedule, clocked):
        return _Once(schedule.clocked_time)
    return _Calendar(schedule)


def is_endless(schedule: schedules.BaseSchedule) -> bool:
    """Whether it is an interval of no length, or of less: what has it falls due without end."""
    every = schedule.run_every if isinstance(schedule, schedules.schedule) else None
    return isinstance(every, dt.timedelta) and every <= dt.timedelta(0)


class Timetables:
    """The timetables of many entries, each made once: entries on one schedule share its object, as rows do."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[schedules.BaseSchedule, Timetable]] = {}  # kept, so that no other has its identity

    def of(self, schedule: schedules.BaseSchedule) -> Timetable:
        """As ``timetable``, whatever that raises."""
        if (made := self._made.get(id(schedule))) is None:
            made = self._made[id(schedule)] = schedule, timetable(schedule)
        return made[1]


def interval(table: Timetable) -> dt.timedelta | None:
    """The step of a plain interval; None for every other timetable."""
    return table.every if isinstance(table, _Interval) else None


def is_of_calendar(table: Timetable) -> bool:
    """Whether slots are those of the calendar alone, from wherever they are sought."""
    return isinstance(table, _Crontab)


def once(table: Timetable) -> dt.datetime | None:
    """The one slot of a clocked entry; None for every other timetable."""
    return table.at if isinstance(table, _Once) else None


def each(table: Timetable, first: dt.datetime | None, until: dt.datetime) -> Iterator[dt.datetime]:
    """Every instant from ``first`` on, which is one, up to and including ``until``."""
    while first is not None and first <= until:
        yield first
        first = table.next_after(first)


def zone_of(schedule: schedules.crontab) -> dt.tzinfo:
    """The zone in which the fields are read: the schedule's, else the app's."""
    zone: dt.tzinfo | None = None
    if schedule.nowfun is not None and _its_now_decides():
        zone = schedule.maybe_make_aware(schedule.now()).tzinfo
    return schedule.tz if zone is None else zone


@cache
def _its_now_decides() -> bool:
    """Whether this celery reads a crontab's fields in the zone of what its ``nowfun`` gives: up to some release."""
    elsewhere = dt.timezone(dt.timedelta(hours=1))
    now = dt.datetime(2000, 1, 1, tzinfo=elsewhere)
    # Not asked of the schedule itself: of one that never fires, some release of celery raises RuntimeError.
    every_minute = schedules.crontab(nowfun=lambda: now)
    every_minute.tz = dt.UTC
    return every_minute.remaining_delta(now)[0].tzinfo is elsewhere


def _last(table: Timetable, first: dt.datetime, until: dt.datetime) -> dt.datetime:
    return deque(each(table, first, until), maxlen=1).pop()
