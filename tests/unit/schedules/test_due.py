"""What is owed: of the slots that fell due, which is sent, and which are missed or passed over."""

from celery.schedules import crontab, schedule
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover.schedules.due import LISTED, owed
from cutover.schedules.timetable import timetable
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
