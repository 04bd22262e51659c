"""Both sides compared: alike is alike in whatever spelling, and every difference is named."""

import datetime as dt
from collections.abc import Callable
from itertools import count
from random import random
from typing import Any

import pytest
from celery import Celery, Task
from celery.beat import ScheduleEntry
from celery.schedules import crontab, schedule
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cutover.schedules.divergence import first_divergence
from cutover.schedules.parity import differences
from cutover.schedules.timetable import timetable
from cutover.types import EntryName

SINCE = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
NAME = EntryName("digest")
LONDON = "Europe/London"


def app_in(zone: str) -> Celery:
    app = Celery("unit", set_as_current=False)
    app.conf.timezone = zone
    return app


def code(app: Celery, when: Any = None, **fields: Any) -> ScheduleEntry:
    when = crontab(minute=0, hour=8) if when is None else when
    return ScheduleEntry(name=NAME, task="a.task", schedule=when, app=app, **fields)


def row(zone: str = "UTC", **fields: Any) -> PeriodicTask:
    if not fields.keys() & {"crontab", "interval", "clocked"}:
        fields["crontab"] = CrontabSchedule(minute="0", hour="8", timezone=zone)
    return PeriodicTask(**{"name": NAME, "task": "a.task", "enabled": False, "date_changed": SINCE, **fields})


def compare(entry: ScheduleEntry, task: PeriodicTask) -> dict[str, tuple[Any, Any]]:
    found = differences(entry.app, {NAME: entry}, {NAME: task}, SINCE)
    return {difference.field: (difference.code, difference.row) for difference in found}


@pytest.mark.parametrize(
    ("written", "task"),
    [
        ({}, {}),
        ({"args": ("daily",)}, {"args": '["daily"]'}),
        ({"kwargs": {"a": 1}}, {"kwargs": '{"a": 1}'}),
        ({"options": {"queue": "q", "priority": 3}}, {"queue": "q", "priority": 3}),
        ({"options": {"queue": ""}}, {"queue": None}),
        ({"options": {"expires": dt.timedelta(minutes=1)}}, {"expire_seconds": 60}),
        ({"options": {"headers": {"tenant": "a"}}}, {"headers": '{"tenant": "a"}'}),
        ({"when": 3600}, {"interval": IntervalSchedule(every=1, period="hours")}),
        ({"when": crontab(0, "*/6")}, {"crontab": CrontabSchedule(minute="00", hour="0,6,12,18", timezone="UTC")}),
        ({}, {"crontab": CrontabSchedule(minute="0", hour="8", timezone="Etc/UTC")}),
    ],
)
def test_what_is_alike_in_another_spelling_is_no_difference(written: dict[str, Any], task: dict[str, Any]) -> None:
    assert compare(code(app_in("UTC"), **written), row(**task)) == {}


@pytest.mark.parametrize(
    ("written", "task", "field"),
    [
        ({}, {"task": "b.task"}, "task"),
        ({"args": ("daily",)}, {}, "args"),
        ({}, {"kwargs": '{"a": 1}'}, "kwargs"),
        ({"options": {"queue": "q"}}, {}, "option queue"),
        ({"options": {"expires": 60}}, {"expire_seconds": 61}, "header expires"),
        ({"options": {"countdown": 60}}, {}, "header eta"),
        ({"options": {"headers": {"tenant": "a"}}}, {}, "header tenant"),
        ({"when": 3600}, {"interval": IntervalSchedule(every=61, period="minutes")}, "fire time"),
        ({"when": 1_234_567}, {"interval": IntervalSchedule(every=1_234_568, period="seconds")}, "fire time"),
        (
            {"when": schedule(10, relative=True)},
            {"interval": IntervalSchedule(every=10, period="seconds")},
            "fire time",
        ),
        ({"when": 3600}, {"crontab": CrontabSchedule(minute="0", timezone="UTC")}, "fire time"),
        ({"when": crontab(0, 0, day_of_month=29, month_of_year=2)}, {}, "fire time"),
        ({}, {"start_time": SINCE}, "start_time"),
        ({}, {"expires": SINCE}, "expires"),
        ({}, {"one_off": True}, "one_off"),
        ({}, {"clocked": ClockedSchedule(clocked_time=SINCE), "one_off": True}, "fire time"),
        ({}, {"args": "[daily"}, "entry"),
        ({}, {"args": '"daily"'}, "entry"),
        ({}, {"kwargs": "[1]"}, "entry"),
        ({}, {"headers": "[]"}, "entry"),
        ({}, {"crontab": CrontabSchedule(minute="sometimes")}, "entry"),
        ({}, {"crontab": None}, "entry"),
    ],
)
def test_a_difference_is_named(written: dict[str, Any], task: dict[str, Any], field: str) -> None:
    assert field in compare(code(app_in("UTC"), **written), row(**task))


def test_a_row_in_utc_is_no_row_in_london_once_summer_comes() -> None:
    apart = compare(code(app_in(LONDON)), row("UTC"))
    assert apart == {
        "fire time": (
            "2026-03-29 08:00:00+01:00 Europe/London = 2026-03-29 07:00:00+00:00 UTC",
            "2026-03-29 09:00:00+01:00 Europe/London = 2026-03-29 08:00:00+00:00 UTC",
        )
    }
    assert compare(code(app_in(LONDON)), row(LONDON)) == {}


def stamping(monkeypatch: pytest.MonkeyPatch, stamp: Callable[[], Any]) -> None:
    """Wrap celery's calls, as monitoring agents and projects do: a header at the top, and one within."""

    def wrapped(call: Any) -> Any:
        def stamped(*args: Any, headers: dict[str, Any] | None = None, **options: Any) -> Any:
            marked = {**(headers or {}), "x-mark": stamp()}
            return call(*args, headers={**marked, "headers": marked}, **options)

        return stamped

    monkeypatch.setattr(Task, "apply_async", wrapped(Task.apply_async))
    monkeypatch.setattr(Celery, "send_task", wrapped(Celery.send_task))


@pytest.mark.parametrize("task", ["a.task", "celery.backend_cleanup"], ids=["unknown here", "known here"])
@pytest.mark.parametrize("every", [1, 2, 3], ids=["a trace id", "a coarse clock", "a coarser clock"])
def test_what_a_wrapper_stamps_on_each_message_is_no_difference(
    monkeypatch: pytest.MonkeyPatch, task: str, every: int
) -> None:
    builds = count()
    stamping(monkeypatch, lambda: next(builds) // every)
    app = app_in("UTC")
    entry = ScheduleEntry(name=NAME, task=task, schedule=crontab(0, 8), app=app, options={"queue": "q"})
    for _ in range(every):
        assert compare(entry, row(task=task, queue="q")) == {}
        assert compare(entry, row(task=task, queue="other")).keys() == {"option queue"}


def test_what_a_wrapper_makes_of_the_entry_itself_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    call = Celery.send_task

    def routed(app: Celery, name: str, args: Any, *rest: Any, **options: Any) -> Any:
        return call(app, name, args, *rest, **{**options, "headers": {"first": args[0], "id": random()}})

    monkeypatch.setattr(Celery, "send_task", routed)
    assert compare(code(app_in("UTC"), args=("a",)), row(args='["a"]')) == {}
    assert compare(code(app_in("UTC"), args=("a",)), row(args='["b"]')).keys() == {"args", "header first"}


def test_an_entry_that_one_side_lacks_is_a_difference() -> None:
    app = app_in("UTC")
    [missing] = differences(app, {NAME: code(app)}, {}, SINCE)
    [present] = differences(app, {}, {NAME: row()}, SINCE)
    assert (missing.code, missing.row, present.code, present.row) == ("present", "missing", "missing", "present")


@settings(max_examples=30, deadline=None)
@example(one=(0, 0), other=(0, 1), zones=("UTC", LONDON), since=SINCE + dt.timedelta(days=29))
@given(
    one=st.tuples(st.integers(0, 59), st.integers(0, 23)),
    other=st.tuples(st.integers(0, 59), st.integers(0, 23)),
    zones=st.tuples(*[st.sampled_from(["UTC", "Etc/UTC", LONDON, "Europe/Lisbon", "America/New_York"])] * 2),
    since=st.integers(0, 730).map(lambda days: SINCE + dt.timedelta(days=days)),
)
def test_the_first_divergence_is_what_enumerating_both_finds(
    one: tuple[int, int], other: tuple[int, int], zones: tuple[str, str], since: dt.datetime
) -> None:
    left, right = (
        code(app_in(zone), crontab(minute, hour)).schedule
        for zone, (minute, hour) in zip(zones, (one, other), strict=True)
    )
    expected, days = None, dt.timedelta(days=60)
    at = [since, since]
    while expected is None:
        at = [timetable(left).next_after(at[0]), timetable(right).next_after(at[1])]
        if min(at) > since + days:
            break
        expected = tuple(at) if at[0] != at[1] else None
    found = first_divergence(left, right, since, days)
    if expected is None:  # leap day is looked at besides, when clocks may be changed by then
        assert found is None or min(filter(None, found)) > since + days
    else:
        assert found is not None
        assert found == expected or None in found
