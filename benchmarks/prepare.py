"""``python -m benchmarks.prepare rows``: what a measurement finds before it starts, made in the site's own process.

``rows``: the schedule as django-celery-beat's rows, the database side active. ``messages N``, ``slots N``: so many
messages of the task that does nothing, in the queue; those of slots as a leader sends them, published in the ledger.
``page``, ``prune``: prints how many seconds the page in the admin takes; how many a leader does to forget 500 slots.
"""

import datetime as dt
import json
import sys
import time
from typing import Any

import django


def rows() -> None:
    """The schedule as rows."""
    from celery.schedules import crontab
    from django.conf import settings
    from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask, PeriodicTasks

    from benchmarks import entries
    from cutover.models import Fence

    known: dict[Any, dict[str, Any]] = {}

    def column(every: Any) -> dict[str, Any]:
        if isinstance(every, dt.timedelta):
            microseconds = every // dt.timedelta(microseconds=1)
            return {"interval": IntervalSchedule.objects.create(every=microseconds, period="microseconds")}
        assert isinstance(every, crontab)
        fields = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
        values = {name: str(getattr(every, f"_orig_{name}")) for name in fields}
        return {"crontab": CrontabSchedule.objects.create(**values, timezone=settings.CELERY_TIMEZONE)}

    tasks = []
    for name, entry in entries.from_environment().items():
        every = entry["schedule"]
        key = every if isinstance(every, dt.timedelta) else repr(every)
        known[key] = known.get(key) or column(every)
        tasks.append(PeriodicTask(name=name, task=entry["task"], args=json.dumps(entry["args"]), **known[key]))
    PeriodicTask.objects.bulk_create(tasks, batch_size=500)
    PeriodicTasks.update_changed()
    Fence.objects.update(side="database")


def messages(number: int) -> None:
    """Messages without slots."""
    from benchmarks.tasks import nothing
    from prayer_room_api.celery import app

    with app.producer_or_acquire() as producer:
        for _ in range(number):
            nothing.apply_async(("",), producer=producer)


def slots(number: int) -> None:
    """Messages of slots that a leader has claimed and published; one entry a second, as many instants."""
    from benchmarks.tasks import nothing
    from cutover import conf, headers
    from cutover.models import Slot as Row
    from cutover.types import EntryName, Slot
    from prayer_room_api.celery import app

    namespace, now = conf.load().namespace, dt.datetime.now(dt.UTC).replace(microsecond=0)
    first = now - dt.timedelta(seconds=number)
    made = [Slot(first + dt.timedelta(seconds=each), EntryName("entry")) for each in range(number)]
    known = {"epoch": 1, "side": "database", "state": "published", "claimed_at": now, "published_at": now}
    keyed = [{"entry": slot.entry, "due_at": slot.due_at, "task_id": slot.task_id(namespace)} for slot in made]
    Row.objects.bulk_create([Row(**known, **each) for each in keyed], batch_size=500)
    with app.producer_or_acquire() as producer:
        for slot in made:
            named = {headers.ENTRY: slot.entry, headers.DUE_AT: slot.due_at.isoformat(), headers.EPOCH: 1}
            given = {**named, headers.TASK: nothing.name}
            nothing.apply_async(("",), task_id=slot.task_id(namespace), headers=given, producer=producer)


def page() -> None:
    """The page as a browser gets it, the second time: the first one imports."""
    from django.contrib.auth import get_user_model
    from django.test import Client
    from django.urls import reverse

    client = Client()
    client.force_login(get_user_model().objects.get_or_create(username="bench", is_staff=True, is_superuser=True)[0])
    for _ in range(2):
        began = time.perf_counter()
        answer = client.get(reverse("admin:cutover_overview_changelist"), secure=True, headers={"host": "localhost"})
        took_s = time.perf_counter() - began
        assert answer.status_code == 200, answer.content[:2000]
    print(f"took {took_s:.3f}")


def prune() -> None:
    """Twice as many as are forgotten at once are older than the retention."""
    from cutover import conf
    from cutover.beats.pruning import MOST
    from cutover.ledger import Ledger
    from cutover.models import Slot

    oldest_kept = Slot.objects.order_by("due_at")[2 * MOST].due_at
    ledger = Ledger("default", conf.load().namespace, dt.datetime.now(dt.UTC) - oldest_kept)
    began = time.perf_counter()
    assert ledger.retention.prune(MOST) == MOST
    print(f"took {time.perf_counter() - began:.3f}")


if __name__ == "__main__":
    django.setup()
    kind, *numbers = sys.argv[1:]
    {"rows": rows, "messages": messages, "slots": slots, "page": page, "prune": prune}[kind](*map(int, numbers))
