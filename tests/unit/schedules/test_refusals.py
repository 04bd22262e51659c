"""What a beat under the lease cannot send as celery's own does is refused, by its name or its schedule."""

import datetime as dt
from typing import Any

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import BaseSchedule, crontab, schedule, solar
from django.utils.translation import gettext_lazy
from django_celery_beat.clockedschedule import clocked
from django_celery_beat.tzcrontab import TzAwareCrontab

from cutover.schedules.refusals import unsendable
from tests.schedules.own import ByTheWall, Contradictory, Daily, Jittered, Shown, Silent, Tomorrow, Weekdays

APP = Celery("refused", set_as_current=False)
AN_HOUR = schedule(3600, app=APP)


def refused(name: Any = "an-entry", when: BaseSchedule = AN_HOUR) -> list[tuple[str, str]]:
    found = unsendable(ScheduleEntry(name=name, task="a.task", schedule=when, app=APP))
    assert all(refusal.entry == str(name) and refusal.remedy for refusal in found)
    return [(refusal.field, refusal.reason) for refusal in found]


@pytest.mark.parametrize("name", ["a", "é" * 200])
def test_a_name_that_ledger_and_rows_hold_is_taken(name: str) -> None:
    assert refused(name) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("n" * 201, "201 characters"),
        (("a", 1), "no text"),
        (7, "no text"),
        (None, "no text"),
        ("", "no text"),
        (gettext_lazy("Daily"), "no text"),
        ("a\0b", "NUL"),
        ("\ud800", "surrogate"),
    ],
)
def test_a_name_that_is_no_text_or_too_long_is_refused(name: Any, said: str) -> None:
    [(field, reason)] = refused(name)
    assert field == "name"
    assert said in reason


@pytest.mark.parametrize("seconds", [0, -5])
def test_an_interval_of_no_length_is_refused(seconds: int) -> None:
    assert refused(when=schedule(seconds, app=APP)) == [("schedule", "is no positive interval")]


def yes(self: Any, last_run_at: dt.datetime) -> tuple[bool, float]:
    return True, 1.0


def with_own_is_due(found: Any) -> Any:
    """As a project patches one schedule object."""
    found.is_due = yes.__get__(found)
    return found


FOLLOWED = {
    "interval": AN_HOUR,
    "crontab": crontab(app=APP),
    "crontab of a row": TzAwareCrontab(app=APP),
    "solar": solar("sunset", 51.5, 0, app=APP),
    "clocked": clocked(dt.datetime(2030, 1, 1, tzinfo=dt.UTC), app=APP),
    "subclass that overrides nothing": type("Own", (crontab,), {})(app=APP),
    "subclass of a subclass": type("Own", (TzAwareCrontab,), {})(app=APP),
    "subclass that is shown otherwise, by a clock of its own that is right": Shown(minute="*/5", app=APP),
    "class of the project's own": Daily(app=APP),
}


@pytest.mark.parametrize("when", FOLLOWED.values(), ids=FOLLOWED)
def test_a_schedule_whose_slots_can_be_foretold_is_taken(when: BaseSchedule) -> None:
    assert refused(when=when) == []


NOT_FOLLOWED: dict[str, tuple[BaseSchedule, str]] = {
    "interval with its own is_due": (Weekdays(1, app=APP), "Weekdays, a schedule with its own is_due"),
    "crontab with its own estimate": (Jittered(app=APP), "its own remaining_estimate"),
    "row's crontab with its own is_due": (type("Own", (TzAwareCrontab,), {"is_due": yes})(app=APP), "its own is_due"),
    "solar with its own is_due": (type("Own", (solar,), {"is_due": yes})("sunset", 51.5, 0, app=APP), "its own is_due"),
    "patched object": (with_own_is_due(crontab(app=APP)), "its own is_due"),
    "class that contradicts itself": (Contradictory(app=APP), "contradict each other"),
    "class that goes by the wall clock": (ByTheWall(app=APP), "contradict each other"),
    "class that says nothing of the future": (Silent(app=APP), "does not say when it is due"),
    "crontab by another clock": (crontab(nowfun=lambda: dt.datetime(2020, 1, 1, tzinfo=dt.UTC)), "from the time"),
    "subclass by another clock": (Tomorrow(app=APP), "from the time"),
}


@pytest.mark.parametrize(("when", "said"), NOT_FOLLOWED.values(), ids=NOT_FOLLOWED)
def test_a_schedule_that_decides_by_itself_is_refused(when: BaseSchedule, said: str) -> None:
    [(field, reason)] = refused(when=when)
    assert field == "schedule"
    assert said in reason
