"""Fingerprints: equal for what fires alike on both sides, different for what does not."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from celery.beat import ScheduleEntry
from celery.schedules import BaseSchedule, crontab, schedule, solar
from django_celery_beat.clockedschedule import clocked
from django_celery_beat.tzcrontab import TzAwareCrontab
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from cutover.schedules.fingerprint import fingerprint, fingerprints
from tests.unit.schedules.test_timetable import DAYS, SECOND, TIMES, ZONES, app, utc

NOON = utc("2026-05-05T12:00")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ZONES), st.fixed_dictionaries({**TIMES, **DAYS}))
@example("UTC", {"minute": "*", "hour": "*", "day_of_week": "*", "day_of_month": "30", "month_of_year": "2"})
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


class Own(BaseSchedule):
    """Has no text of its own: Python shows where it lies in memory."""


class Silent:
    def __repr__(self) -> str:
        raise RuntimeError("no text at all")


def entry(**fields):
    return ScheduleEntry(**{"name": "e", "task": "t", "schedule": schedule(60), "app": app("UTC"), **fields})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"args": (1, "a")}, {"args": [1, "a"]}),
        ({"kwargs": {"a": 1, "b": {2, 3}}}, {"kwargs": {"b": {3, 2}, "a": 1}}),
        ({"args": (object(),)}, {"args": (object(),)}),
        ({"args": (Silent(),)}, {"args": (Silent(),)}),
        ({"schedule": Own(app=app("UTC"))}, {"schedule": Own(app=app("UTC"))}),
        ({"options": {}}, {"options": None}),
    ],
    ids=["a tuple", "a set", "an object", "one without a text", "an own schedule", "no options"],
)
def test_one_entry_has_one_fingerprint_in_every_process(one, other):
    assert fingerprints(entry(**one)) == fingerprints(entry(**other))


@pytest.mark.parametrize(
    "fields",
    [
        {"task": "u"},
        {"args": (1,)},
        {"args": (True,)},
        {"kwargs": {"a": 1}},
        {"kwargs": {"a": "1"}},
        {"options": {"queue": "q"}},
        {"schedule": schedule(61)},
    ],
    ids=str,
)
def test_another_entry_has_another(fields):
    found = {fingerprints(entry()), fingerprints(entry(**fields)), fingerprints(entry(args=("x",)))}
    assert len(found) == 3


def test_what_a_message_holds_is_not_to_be_read_from_its_fingerprint():
    assert "secret" not in fingerprints(entry(args=("secret",), options={"headers": {"key": "secret"}})).message
