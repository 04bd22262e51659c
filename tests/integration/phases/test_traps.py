"""Three traps of the stock scheduler. Each test is run on that one too, where it is expected to fail."""

import datetime as dt
import json
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

import pytest
from django.db import connections
from django_celery_beat.models import CrontabSchedule, PeriodicTask, PeriodicTasks
from django_celery_beat.schedulers import DatabaseScheduler as StockScheduler

from cutover import clock
from cutover.models import Entry, Fence
from cutover.phases.context import Context
from cutover.schedules.fingerprint import fingerprint
from cutover.types import Side
from demo.services import Valkey
from demo.waiting import wait_until
from prayer_room_api.celery import app as celery_app
from tests.integration.phases.conftest import Beat

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)


class StockBeat:
    """The stock scheduler, ticking in a thread of its own until the ``with`` block ends."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._ticked = threading.Event()

    def _run(self) -> None:
        scheduler = StockScheduler(app=celery_app)
        try:
            while not self._stop.is_set():
                scheduler.tick()
                self._ticked.set()
                self._stop.wait(0.05)
        finally:
            scheduler.close()
            connections.close_all()

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(self._ticked.is_set, "the stock beat has ticked")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()


Start = Callable[[], AbstractContextManager[Any]]
STOCK = pytest.param("stock", marks=pytest.mark.xfail(reason="the stock scheduler walks into it", strict=True))


@pytest.fixture(params=["ours", STOCK])
def start(request: pytest.FixtureRequest, context: Callable[[], Context], beat: Callable[[Side], Beat]) -> Start:
    """Starts a beat of the database side, which is the active one: ours, and the stock one."""
    Fence.objects.using(context().alias).update(side="database")
    return (lambda: beat(Side.DATABASE)) if request.param == "ours" else StockBeat


def row(context: Context, hour: str, **fields: Any) -> PeriodicTask:
    """A row with a crontab in UTC."""
    crontab = CrontabSchedule.objects.using(context.alias).create(minute="0", hour=hour, timezone="UTC")
    given = {"name": "digest", "task": "demo.tasks.note", "args": '["digest"]', "crontab": crontab, **fields}
    return PeriodicTask.objects.using(context.alias).create(**given)


def sent(valkey: Valkey) -> list[str]:
    with valkey.client() as client:
        return [json.loads(message)["headers"]["periodic_task_name"] for message in client.lrange("celery", 0, -1)]


def test_enabling_a_row_of_days_ago_does_not_send_it_at_once(
    context: Callable[[], Context], start: Start, valkey: Valkey
) -> None:
    later = (clock.now() + 6 * HOUR).hour
    row(context(), f"*/24,{later}", enabled=False)
    tasks = PeriodicTask.objects.using(context().alias)
    tasks.update(date_changed=clock.now() - 3 * DAY)
    tasks.update(enabled=True)
    PeriodicTasks.update_changed()
    with start():
        until = clock.now() + dt.timedelta(seconds=2)
        wait_until(lambda: clock.now() > until or sent(valkey), "it had time to send")
    assert sent(valkey) == []


def test_a_start_does_not_write_the_code_schedule_over_what_a_person_edited(
    context: Callable[[], Context], start: Start, request: pytest.FixtureRequest
) -> None:
    in_code = {"digest": {"task": "demo.tasks.note", "schedule": 3600, "args": ("code",)}}
    celery_app.conf.beat_schedule = in_code
    request.addfinalizer(lambda: setattr(celery_app.conf, "beat_schedule", {}))
    row(context(), "8", args='["edited"]', queue="edited")
    with start():
        pass
    found = PeriodicTask.objects.using(context().alias).get(name="digest")
    assert (found.args, found.queue, found.interval) == ('["edited"]', "edited", None)


def test_a_slot_that_was_missed_by_more_than_three_hours_is_caught_up(
    context: Callable[[], Context], start: Start, valkey: Valkey
) -> None:
    due = clock.now() - 4 * HOUR
    due -= HOUR if due.hour == 4 else dt.timedelta(0)  # the stock scheduler makes an exception of 4 o'clock
    made = row(context(), str(due.hour))
    PeriodicTask.objects.using(context().alias).update(last_run_at=clock.now() - DAY, date_changed=clock.now() - DAY)
    Entry.objects.using(context().alias).create(
        name="digest",
        fingerprint=fingerprint(made.schedule),
        eligible_since=clock.now() - DAY + HOUR,
    )
    with start():
        until = clock.now() + dt.timedelta(seconds=5)
        wait_until(lambda: clock.now() > until or sent(valkey), "it had time to send")
    assert sent(valkey) == ["digest"]
