"""Quiet windows: the longest stretches of time ahead in which nothing falls due. Pure."""

import datetime as dt
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from cutover.phases.wording import instant, span
from cutover.schedules.timetable import Timetable, interval
from cutover.types import Cursor

Window: TypeAlias = tuple[dt.datetime, dt.datetime]

AHEAD: Final = dt.timedelta(hours=24)
"""How far ahead they are searched for."""
SHORTEST: Final = dt.timedelta(minutes=1)
"""A shorter stretch is none."""

SETTLED: Final = dt.timedelta(seconds=6)
"""How long after the slot at the beginning of one is waited, so that it is sent; a second more than overdue takes."""


@dataclass(frozen=True, slots=True)
class SwitchTime:
    """When to switch, and the window in which that is."""

    at: dt.datetime
    window: Window

    def latest(self, needed: dt.timedelta) -> dt.datetime:
        """Until when a switch that may need so long can still begin: half of the window is left to it at most."""
        begin, end = self.window
        return end - min(needed, (end - begin) / 2)


def switch_time(found: Sequence[Window], since: dt.datetime) -> SwitchTime | None:
    """When to switch in the longest of the windows that were found ``since`` then; None where there is none. Pure."""
    if not found:
        return None
    begin, end = found[0]
    return SwitchTime(begin if begin == since else begin + SETTLED, (begin, end))


def data(found: Iterable[Window]) -> list[dict[str, Any]]:
    """For a program."""
    return [{"from": a.isoformat(), "to": b.isoformat(), "length_s": (b - a).total_seconds()} for a, b in found]


def lines(found: Iterable[Window]) -> list[str]:
    """For a person."""
    spans = [f"    {instant(a)} to {instant(b)} ({span(b - a)})" for a, b in found]
    if not spans:
        return [f"No minute of the next {span(AHEAD)} is quiet."]
    return [f"Quiet in the next {span(AHEAD)}, the longest first:", *spans]


def windows(
    entries: Iterable[tuple[str, Timetable, Cursor]], start: dt.datetime, end: dt.datetime, most: int = 3
) -> list[Window]:
    """The ``most`` longest stretches of ``[start, end]`` without a slot in them, longest first.

    ``entries``: fingerprint, timetable and cursor. Of those that fire alike one is read.
    """
    free: list[Window] = [(start, end)]
    for table, first in _distinct(entries, start):
        if (every := interval(table)) is not None and every < SHORTEST:
            return []
        due: dt.datetime | None = first
        index = 0
        while due is not None and due <= end:
            # The first stretch that ends after `due`; what lies before it is done.
            index = bisect_left(free, due, lo=index, key=lambda window: window[1])
            if index == len(free):
                break
            begin, until = free[index]
            if due <= begin:
                # The first slot after `begin`, without asking for every one in between.
                due = table.next_after(begin) if every is None else due + ((begin - due) // every + 1) * every
                continue
            free[index : index + 1] = [(a, b) for a, b in ((begin, due), (due, until)) if b - a >= SHORTEST]
            due = table.next_after(due)
    return sorted(free, key=lambda window: (window[0] - window[1], window[0]))[:most]


def _distinct(
    entries: Iterable[tuple[str, Timetable, Cursor]], start: dt.datetime
) -> list[tuple[Timetable, dt.datetime]]:
    """Each different timetable with its first slot from ``start`` on; the densest first, for they leave least."""
    found: dict[tuple[str, dt.timedelta | None], tuple[Timetable, dt.datetime | None, dt.timedelta]] = {}
    for name, table, cursor in entries:
        every = interval(table)
        phase = (cursor.origin - start) % every if every is not None else None
        if (name, phase) in found:
            continue
        if every is not None:
            found[name, phase] = table, start + (phase or every), every
        else:
            first = table.next_after(start)
            second = table.next_after(first) if first is not None else None
            step = second - first if first is not None and second is not None else dt.timedelta.max
            found[name, phase] = table, first, step
    return [(table, first) for table, first, _ in sorted(found.values(), key=lambda one: one[2]) if first is not None]
