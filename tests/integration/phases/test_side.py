"""What the rows send, as it is read for every look at a site: whole, and with little made of it."""

import datetime as dt
from collections.abc import Callable

import pytest
from django.db.models.signals import post_init
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from cutover.phases.context import Context
from cutover.phases.evidence import side
from cutover.schedules.rows import with_schedules
from cutover.types import Limits, Side

pytestmark = [pytest.mark.integration, pytest.mark.mariadb]

Surroundings = Callable[[], Context]
START = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


def test_every_row_is_read_and_a_model_is_made_for_each_schedule_alone(context: Surroundings) -> None:
    site = context()
    rows = PeriodicTask.objects.using(site.alias)
    hourly, daily, broken = (
        CrontabSchedule.objects.using(site.alias).create(minute=minute, hour=hour, timezone="UTC")
        for minute, hour in (("0", "*"), ("30", "8"), ("sixty", "*"))
    )
    often = IntervalSchedule.objects.using(site.alias).create(every=30, period="seconds")
    never = IntervalSchedule.objects.using(site.alias).create(every=0, period="seconds")
    kinds = {"hourly": {"crontab": hourly}, "daily": {"crontab": daily}, "often": {"interval": often}}
    odd = [
        PeriodicTask(name="bare", task="t"),  # written past the model's own checks
        PeriodicTask(name="broken", task="t", crontab=broken),
        PeriodicTask(name="endless", task="t", interval=never),
        PeriodicTask(name="no list", task="t", crontab=hourly, args="{}"),
        PeriodicTask(name="later", task="other", crontab=hourly, start_time=START),
        PeriodicTask(name="off", task="t", crontab=hourly, enabled=False),
    ]
    well = [PeriodicTask(name=f"{kind} {n}", task="t", **on) for kind, on in kinds.items() for n in range(20)]
    rows.bulk_create([*odd, *well])
    sent = [row for row in with_schedules(rows.filter(enabled=True)) if row.name not in ("bare", "broken", "endless")]
    made = list[PeriodicTask]()

    def note(instance: PeriodicTask, **_: object) -> None:
        made.append(instance)

    post_init.connect(note, sender=PeriodicTask)
    try:
        found = side.read(site, Side.DATABASE)
    finally:
        post_init.disconnect(note, sender=PeriodicTask)
    assert found.schedules == {row.name: row.schedule for row in sent}
    assert found.tasks == {row.name: row.task for row in rows.filter(enabled=True)}
    assert found.limits == {"later": Limits(START, None)}
    assert found.unsendable.keys() == {"bare", "broken", "endless", "no list"}
    assert found.unsendable["bare"] == "its row has no schedule"
    assert found.unsendable["broken"].startswith("its row's schedule cannot be read: ")
    assert found.unsendable["endless"] == "its row's schedule cannot be read: it is no positive interval"
    assert found.unsendable["no list"] == "its row cannot be sent: args is no JSON list"
    assert len(made) == len(kinds) + len(("bare", "broken", "endless"))
