"""When a message without a slot comes as a beat's would."""

import datetime as dt

import pytest
from celery import Celery
from celery.app.trace import trace_task
from celery.schedules import crontab, schedule

from cutover.guard import GuardedTask
from cutover.workers.slotless import ScheduledTasks, slots_at

NOON = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
MINUTE = dt.timedelta(minutes=1)
APP = Celery("site", set_as_current=False, broker="memory://")


@pytest.mark.parametrize(
    ("after", "slots"),
    [
        (10 * SECOND, 1),
        (30.4 * SECOND, 3),
        (9.2 * SECOND, 1),
        (8 * SECOND, 0),
        (12 * SECOND, 0),
        (0 * SECOND, 0),
        (0.5 * SECOND, 0),
    ],
)
def test_an_interval_counts_from_the_message_before(after: dt.timedelta, slots: int) -> None:
    assert slots_at(schedule(10 * SECOND, app=APP), NOON + after, NOON) == slots


def test_the_first_message_of_an_interval_says_nothing() -> None:
    assert slots_at(schedule(10 * SECOND, app=APP), NOON, None) == 0


def test_a_short_interval_leaves_little_room() -> None:
    assert slots_at(schedule(SECOND, app=APP), NOON + 1.05 * SECOND, NOON) == 1
    assert slots_at(schedule(SECOND, app=APP), NOON + 1.2 * SECOND, NOON) == 0


@pytest.mark.parametrize(
    ("after", "slots"), [(0.01 * SECOND, 1), (-0.5 * SECOND, 1), (4 * SECOND, 1), (6 * SECOND, 0), (-2 * SECOND, 0)]
)
def test_a_crontab_counts_by_the_clock(after: dt.timedelta, slots: int) -> None:
    assert slots_at(crontab(hour=12, minute=0, app=APP), NOON + after, None) == slots


def test_a_task_that_no_entry_sends_costs_no_look_into_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(ScheduledTasks, "refresh", lambda scheduled: asked.append("refresh"))
    monkeypatch.setattr(ScheduledTasks, "count", lambda scheduled, message: asked.append("count"))

    @APP.task(name="a.task", base=GuardedTask, shared=False)
    def task() -> None: ...

    _, info, *_ = trace_task(APP.tasks["a.task"], "1", (), {}, {"id": "1", "origin": "gen1@web"}, app=APP)
    assert (info, asked) == (None, [])
