"""Quiet windows: what a walk through every slot finds, found without walking through every slot."""

import datetime as dt
from itertools import pairwise
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab, schedule
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover.phases.evidence.quiet_windows import SHORTEST, data, lines, windows
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


def walked(entries: list[tuple[Any, Cursor]]) -> list[tuple[dt.datetime, dt.datetime]]:
    """Every slot of every entry, then what lies between."""
    marks = {START, END}
    for found, standing in entries:
        table = timetable(found)
        at = next_due(table, standing)
        while at is not None and at <= END:
            marks |= {at} if at >= START else set()
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
    assert lines([(START, END)], dt.UTC)[1].endswith(" (24 h)")


@pytest.mark.parametrize("every", [dt.timedelta(0), dt.timedelta(microseconds=1), dt.timedelta(seconds=59)])
def test_an_entry_of_less_than_a_minute_leaves_none_and_is_not_walked_through(every: dt.timedelta) -> None:
    often = schedule(every, app=APP)
    assert windows([(fingerprint(often), timetable(often), Cursor(None, START))], START, END) == []


def test_no_window_is_said() -> None:
    assert lines([], dt.UTC) == ["No minute of the next 24 h is quiet."]
