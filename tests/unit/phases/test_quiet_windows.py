"""Quiet windows: what a walk through every slot finds, found without walking through every slot."""

import datetime as dt
from itertools import pairwise
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab, schedule
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover.phases.evidence.quiet_windows import SETTLED, SHORTEST, data, lines, switch_time, windows
from cutover.schedules.due import next_due
from cutover.schedules.fingerprint import fingerprint
from cutover.schedules.timetable import timetable
from cutover.types import Cursor

APP = Celery("unit", set_as_current=False)
START = dt.datetime(2026, 3, 28, 12, 34, 56, tzinfo=dt.UTC)
END = START + dt.timedelta(hours=24)

crontabs = st.tuples(st.integers(0, 59), st.sampled_from(["*", "*/5", "3", "7,19"])).map(
    lambda fields: crontab(minute=fields[0], hour=fields[1], app=APP)
)
intervals = st.integers(20, 90_000).map(lambda seconds: schedule(seconds, app=APP))
standings = st.integers(0, 100_000).map(lambda ago: Cursor(START - dt.timedelta(seconds=ago), START))


def walked(
    entries: list[tuple[Any, Cursor]], start: dt.datetime = START, end: dt.datetime = END
) -> list[tuple[dt.datetime, dt.datetime]]:
    """Every slot of every entry, then what lies between."""
    marks = {start, end}
    for found, standing in entries:
        table = timetable(found)
        at = next_due(table, standing)
        while at is not None and at <= end:
            marks |= {at} if at >= start else set()
            at = table.next_after(at)
    ordered = sorted(marks)
    spans = [(a, b) for a, b in pairwise(ordered) if b - a >= SHORTEST]
    return sorted(spans, key=lambda span: (span[0] - span[1], span[0]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(crontabs | intervals, standings), max_size=6))
def test_the_longest_are_those_that_a_walk_finds(entries: list[tuple[Any, Cursor]]) -> None:
    given_ = [(fingerprint(found), timetable(found), standing) for found, standing in entries]
    assert windows(given_, START, END, 5) == walked(entries)[:5]


def test_nothing_due_is_one_long_window_of_a_whole_day() -> None:
    assert windows([], START, END, 3) == [(START, END)]
    assert data([(START, END)])[0]["length_s"] == 86_400
    assert lines([(START, END)])[1].endswith(" (24 h)")


@pytest.mark.parametrize("every", [dt.timedelta(0), dt.timedelta(microseconds=1), dt.timedelta(seconds=59)])
def test_an_entry_of_less_than_a_minute_leaves_none_and_is_not_walked_through(every: dt.timedelta) -> None:
    often = schedule(every, app=APP)
    assert windows([(fingerprint(often), timetable(often), Cursor(None, START))], START, END) == []


def test_no_window_is_said() -> None:
    assert lines([]) == ["No minute of the next 24 h is quiet."]


MINUTES = dt.timedelta(minutes=10)


def test_a_leap_waits_for_what_is_due_at_the_beginning_of_its_window_to_be_sent() -> None:
    begin, end = START + MINUTES, START + 2 * MINUTES
    found = switch_time([(begin, end), (START, START + dt.timedelta(minutes=2))], START)
    assert found is not None
    assert (found.at, found.window) == (begin + SETTLED, (begin, end))


def test_a_leap_in_a_window_that_has_begun_waits_for_nothing() -> None:
    found = switch_time([(START, END)], START)
    assert found is not None
    assert found.at == START
    assert switch_time([], START) is None


@pytest.mark.parametrize(("needed_s", "left_s"), [(10, 10), (3_600, 300)])
def test_a_leap_leaves_time_for_the_switch_to_end_within_the_window(needed_s: int, left_s: int) -> None:
    found = switch_time([(START, START + MINUTES)], START)
    assert found is not None
    assert START + MINUTES - found.latest(dt.timedelta(seconds=needed_s)) == dt.timedelta(seconds=left_s)
    assert found.latest(dt.timedelta(seconds=needed_s)) > START + SETTLED


@pytest.mark.parametrize("day", ["2026-03-28T23:00", "2026-10-24T22:00"])
def test_windows_of_a_night_in_which_the_clocks_are_changed_are_those_of_the_instants(day: str) -> None:
    """Hourly by the wall clock, which the window is no part of: celery's own fire times are."""
    berlin = Celery("berlin", set_as_current=False, timezone="Europe/Berlin")
    hourly = crontab(minute=0, app=berlin)
    start = dt.datetime.fromisoformat(f"{day}+00:00")
    given_ = [(fingerprint(hourly), timetable(hourly), Cursor(start, start))]
    found = windows(given_, start, start + dt.timedelta(hours=6), 1)
    assert found == walked([(hourly, Cursor(start, start))], start, start + dt.timedelta(hours=6))[:1]
    assert found[0][1] - found[0][0] == dt.timedelta(hours=1 if "03" in day[5:7] else 2)
