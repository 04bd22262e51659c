"""Fingerprints: equal for what fires alike on both sides, different for what does not."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from celery.schedules import crontab, schedule, solar
from django_celery_beat.clockedschedule import clocked
from django_celery_beat.tzcrontab import TzAwareCrontab
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cutover.schedules.fingerprint import fingerprint
from tests.unit.schedules.test_timetable import DAYS, SECOND, TIMES, ZONES, app, utc

NOON = utc("2026-05-05T12:00")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ZONES), st.fixed_dictionaries({**TIMES, **DAYS}))
def test_a_code_crontab_and_its_row_have_one_fingerprint(zone, fields):
    try:
        code = crontab(**fields, app=app(zone))
    except ValueError:
        assume(False)
    row = TzAwareCrontab(
        **{name: ",".join(map(str, sorted(getattr(code, name)))) for name in fields},
        tz=ZoneInfo(zone),
        app=app("America/New_York"),
    )
    assert fingerprint(code) == fingerprint(row)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (crontab(minute=0, app=app("UTC")), crontab(minute=0, app=app("Europe/London"))),
        (crontab(minute=0, app=app("UTC")), crontab(minute=1, app=app("UTC"))),
        (crontab(day_of_week=1, app=app("UTC")), crontab(day_of_month=1, app=app("UTC"))),
        (schedule(1_234_567), schedule(1_234_568)),
        (schedule(0.1), schedule(0.100001)),
        (schedule(60), schedule(60, relative=True)),
        (clocked(NOON), clocked(NOON + SECOND)),
        (solar("sunrise", 1, 2), solar("sunset", 1, 2)),
        (solar("sunrise", 1, 2), solar("sunrise", 1, 2.5)),
    ],
    ids=str,
)
def test_schedules_that_fire_differently_have_different_fingerprints(one, other):
    assert fingerprint(one) != fingerprint(other)


def test_an_interval_means_the_same_as_seconds_and_as_timedelta():
    assert fingerprint(schedule(90.0)) == fingerprint(schedule(dt.timedelta(minutes=1, seconds=30))) == "every 90s"
