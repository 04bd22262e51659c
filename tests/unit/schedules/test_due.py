"""What is owed: of the slots that fell due, which is sent, and which are missed or passed over."""

import pytest
from celery.schedules import crontab, schedule
from django_celery_beat.clockedschedule import clocked
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover.schedules.due import LISTED, NO_SLOTS, backlog, owed
from cutover.schedules.timetable import interval, timetable
from cutover.types import CatchUp, Cursor
from tests.unit.schedules.test_timetable import DAY, FAR, HOUR, MINUTE, SECOND, app, utc, walk

HOURLY = timetable(crontab(minute=0, app=app("UTC")))
NOON = utc("2026-05-05T12:00")


def test_nothing_is_owed_before_the_first_slot():
    assert owed(HOURLY, Cursor(None, NOON), NOON + 59 * MINUTE, CatchUp.LATEST, FAR, MINUTE).send is None
    assert owed(HOURLY, Cursor(None, NOON), NOON + HOUR, CatchUp.LATEST, FAR, MINUTE).send == NOON + HOUR


def test_nothing_is_owed_from_before_it_was_owed():
    standing = Cursor(NOON - 10 * HOUR, eligible_since=NOON)
    assert owed(HOURLY, standing, NOON + MINUTE, CatchUp.LATEST, FAR, MINUTE) == owed(
        HOURLY, Cursor(None, NOON), NOON + MINUTE, CatchUp.LATEST, FAR, MINUTE
    )
    assert owed(HOURLY, standing, NOON + HOUR, CatchUp.LATEST, FAR, MINUTE).missed == ()


def test_the_latest_of_many_is_sent_and_each_of_the_others_is_missed():
    found = owed(HOURLY, Cursor(NOON, NOON), NOON + 3 * HOUR + MINUTE, CatchUp.LATEST, 12 * HOUR, MINUTE)
    assert found.send == NOON + 3 * HOUR
    assert found.missed == (NOON + HOUR, NOON + 2 * HOUR)
    assert found.passed_over == 0


def test_a_slot_as_old_as_the_window_is_sent_and_an_older_one_is_missed():
    daily = timetable(crontab(minute=0, hour=12, app=app("UTC")))
    standing = Cursor(NOON - DAY, NOON - DAY)
    assert owed(daily, standing, NOON + 12 * HOUR, CatchUp.LATEST, 12 * HOUR, MINUTE).send == NOON
    late = owed(daily, standing, NOON + 12 * HOUR + SECOND, CatchUp.LATEST, 12 * HOUR, MINUTE)
    assert (late.send, late.missed) == (None, (NOON,))


def test_without_catching_up_a_slot_in_time_is_sent_and_a_late_one_is_missed():
    standing = Cursor(NOON, NOON)
    assert owed(HOURLY, standing, NOON + HOUR + MINUTE, CatchUp.NONE, FAR, MINUTE).send == NOON + HOUR
    late = owed(HOURLY, standing, NOON + HOUR + MINUTE + SECOND, CatchUp.NONE, FAR, MINUTE)
    assert (late.send, late.missed) == (None, (NOON + HOUR,))


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 400), st.sampled_from(list(CatchUp)), st.integers(0, 400), st.integers(0, 30))
def test_every_slot_of_a_gap_is_sent_missed_or_counted(gap, policy, window, misfire_grace):
    table = timetable(schedule(MINUTE))
    now = NOON + gap * MINUTE + 30 * SECOND
    found = owed(table, Cursor(NOON, NOON), now, policy, window * MINUTE, misfire_grace * SECOND)
    fell_due = set(walk(table, NOON, now))
    named = {*found.missed, *([found.send] if found.send else [])}
    assert named <= fell_due
    assert len(named) + found.passed_over == len(fell_due)
    assert len(found.missed) <= LISTED
    assert found.send in {None, max(fell_due, default=None)}


def test_a_gap_of_years_takes_no_time():
    found = owed(timetable(schedule(SECOND)), Cursor(NOON, NOON), NOON + 900 * DAY, CatchUp.LATEST, DAY, MINUTE)
    assert found.send == NOON + 900 * DAY
    assert len(found.missed) == LISTED


def test_of_an_entry_whose_every_slot_counts_all_in_the_window_are_sent_oldest_first():
    found = backlog(HOURLY, Cursor(NOON, NOON), NOON + 3 * HOUR + MINUTE, 12 * HOUR, 100)
    assert found.send == (NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR)
    assert (found.late, found.beyond) == (NO_SLOTS, NO_SLOTS)


def test_what_is_older_than_the_window_is_too_late_and_the_oldest_of_the_rest_are_beyond_the_bound():
    found = backlog(HOURLY, Cursor(NOON, NOON), NOON + 20 * HOUR, 12 * HOUR, 10)
    assert found.late.listed == tuple(NOON + hours * HOUR for hours in range(1, 8))
    assert found.beyond.listed == tuple(NOON + hours * HOUR for hours in (8, 9, 10))
    assert found.send == tuple(NOON + hours * HOUR for hours in range(11, 21))


def test_where_all_is_too_late_nothing_is_sent():
    found = backlog(HOURLY, Cursor(NOON, NOON), NOON + 5 * HOUR + MINUTE, 0 * HOUR, 10)
    assert (found.send, len(found.late.listed)) == ((), 5)


@pytest.mark.parametrize(
    "schedule_",
    [
        schedule(SECOND / 10),
        schedule(7 * SECOND),
        schedule(90 * SECOND, relative=True, app=app("UTC")),
        crontab(minute="*/2", app=app("Europe/London")),
        crontab(minute="30", hour="*", app=app("Europe/London")),
        clocked(utc("2026-10-25T01:15")),
    ],
    ids=str,
)
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 8_000), st.integers(0, 9_000), st.integers(1, 200))
def test_every_slot_of_a_gap_is_to_be_sent_or_is_named_or_counted(schedule_, gap, window, most):
    """Across the night in which London's clocks are put back."""
    table, begin = timetable(schedule_), utc("2026-10-24T23:30")
    unit = min(SECOND, (interval(table) or SECOND) / 2)
    now, window = begin + gap * unit, window * unit
    found = backlog(table, Cursor(begin, begin), now, window, most)
    fell_due = list(walk(table, begin, now))
    young = [at for at in fell_due if now - at <= window]
    assert list(found.send) == young[-most:]
    for part, all_of_it in ((found.late, fell_due[: len(fell_due) - len(young)]), (found.beyond, young[:-most])):
        assert list(part.listed) == all_of_it[-LISTED:]
        assert part.older == len(all_of_it) - len(part.listed)


def test_of_a_gap_too_long_to_be_walked_through_the_latest_slots_are_named():
    for one in (schedule(SECOND), crontab(app=app("UTC"))):
        table = timetable(one)
        found = owed(table, Cursor(NOON, NOON), NOON + 20 * DAY, CatchUp.LATEST, DAY, MINUTE)
        step = SECOND if table is not None and interval(table) else MINUTE
        assert found.missed == tuple(found.send - number * step for number in range(LISTED, 0, -1))
        assert found.passed_over >= 9_000


def test_a_backlog_of_months_takes_no_time():
    found = backlog(timetable(schedule(SECOND / 10)), Cursor(NOON, NOON), NOON + 90 * DAY, DAY, 100)
    assert (len(found.send), found.send[-1]) == (100, NOON + 90 * DAY)
    assert found.late.older + LISTED == 89 * DAY // (SECOND / 10) - 1
    assert found.beyond.older + LISTED + 100 == DAY // (SECOND / 10) + 1
