"""After the switch a row is edited into something that celery cannot send: what becomes of it, and of the others."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from cutover import clock
from cutover.models import Cutover, Slot
from cutover.observe import status
from cutover.phases import phase2, phase3, probe, rollback
from cutover.phases.context import Context
from cutover.phases.report import Outcome
from cutover.types import ProbeRole, Side
from demo.waiting import wait_until
from prayer_room_api.celery import app as celery_app
from tests.integration.phases.conftest import Beat
from tests.integration.phases.test_master import by_form, by_update

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

Surroundings = Callable[[], Context]
Beats = Callable[[Side], Beat]

EDITS: dict[str, tuple[dict[str, Any], str]] = {
    "an argument missing": ({"args": "[]"}, "missing 1 required positional argument"),
    "an argument too many": ({"args": '["a", "b"]'}, "positional argument"),
    "an unknown keyword": ({"kwargs": '{"loud": true}'}, "unexpected keyword argument 'loud'"),
    "no list": ({"args": '"edited"'}, "args is no JSON list"),
    "no object": ({"kwargs": "[1]"}, "kwargs is no JSON object"),
    "no JSON": ({"args": "[edited"}, "args is no JSON list"),
    "headers of no kind": ({"headers": "[1]"}, "headers is no JSON object"),
    "a queue that is not there": ({"queue": "nowhere"}, "nowhere"),
}


@pytest.fixture
def switched(
    context: Surroundings, beat: Beats, schedule: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Context]:
    """The database side leads; of the entries that tick all but one are to be edited. Naming a queue makes none."""
    for name in EDITS:
        schedule[name] = {"task": "demo.tasks.note", "schedule": 1, "args": (name,)}
    monkeypatch.setattr(celery_app.amqp.queues, "create_missing", False)
    Cutover.objects.using(context().alias).update(phase=1)
    assert phase2.run(context()).outcome is Outcome.DONE
    with beat(Side.CODE), beat(Side.DATABASE):
        assert phase3.run(context()).outcome is Outcome.DONE
        yield context()


def published(context: Context, *names: str) -> list[dt.datetime]:
    slots = Slot.objects.using(context.alias).filter(entry__in=names, state="published", side="database")
    return list(slots.order_by("due_at").values_list("due_at", flat=True))


def problems(context: Context) -> dict[str, str]:
    """What status says of the entries that are not sent, by entry."""
    report = status.run(Context(context.config), check=True)
    found = dict(said.split(" is not sent: ") for said in report.data["problems"] if " is not sent: " in said)
    assert report.outcome is Outcome.FAILED or not found
    return found


def all_are_stuck(context: Context, edited_at: dt.datetime) -> bool:
    """Whether of each edited row a slot has been claimed for some time, and is not published."""
    ago = clock.now() - dt.timedelta(seconds=1)
    claims = Slot.objects.using(context.alias).filter(state="claimed", claimed_at__lt=ago, due_at__gt=edited_at)
    return EDITS.keys() <= set(claims.values_list("entry", flat=True))


def test_edits_that_cannot_be_sent_are_named_and_the_next_slot_after_they_are_fixed_goes_out(
    switched: Context,
) -> None:
    rows = {row.name: row for row in PeriodicTask.objects.using(switched.alias).filter(name__in=EDITS)}
    before = {name: {field: getattr(rows[name], field) for field in fields} for name, (fields, _) in EDITS.items()}
    for name, (fields, _) in EDITS.items():
        (by_update if "JSON" in name else by_form)(switched, name, **fields)
    edited_at = clock.now()
    wait_until(lambda: all_are_stuck(switched, edited_at), "the beat has read the edits", 20)
    found = problems(switched)
    assert found.keys() == EDITS.keys()
    assert {name for name, (_, said) in EDITS.items() if said not in found[name]} == set(), found
    for name, (_, said) in EDITS.items():
        missed = Slot.objects.using(switched.alias).filter(entry=name, state="missed", due_at__gt=edited_at)
        wait_until(lambda m=missed, s=said: m.filter(reason__contains=s).exists(), f"{name} is missed, and why", 20)
    silent, ticks = published(switched, *EDITS), len(published(switched, "ticking"))
    wait_until(lambda: len(published(switched, "ticking")) > ticks + 5, "the others go on")
    assert published(switched, *EDITS) == silent
    enabled = PeriodicTask.objects.using(switched.alias).filter(name__in=EDITS, enabled=True)
    assert enabled.count() == len(EDITS), "no beat writes into the rows"
    for name, fields in before.items():
        by_update(switched, name, **fields)
    fixed_at = clock.now()
    for name in EDITS:
        wait_until(
            lambda name=name: max(published(switched, name), default=edited_at) > fixed_at, f"{name} is sent again", 10
        )
    claimed = Slot.objects.using(switched.alias).filter(entry__in=EDITS, state="claimed", due_at__lt=fixed_at)
    wait_until(lambda: not claimed.exists(), "each slot is published or missed", 20)
    wait_until(lambda: problems(switched) == {}, "status is content again")


def test_a_task_that_nobody_registers_is_sent_as_celery_sends_it_and_told(switched: Context) -> None:
    by_form(switched, "ticking", task="demo.tasks.gone")
    edited_at = clock.now()
    wait_until(lambda: max(published(switched, "ticking"), default=edited_at) > edited_at, "it is sent all the same")
    report = status.run(Context(switched.config), check=True)
    assert report.data["unknown_tasks"] == {"ticking": "demo.tasks.gone"}
    assert "ticking names the task demo.tasks.gone, which this project does not register" in "\n".join(report.lines)


def test_a_schedule_that_cannot_be_read_is_named_and_breaks_no_command_and_no_probe(
    switched: Context, beat: Beats
) -> None:
    broken = CrontabSchedule.objects.using(switched.alias).create()
    CrontabSchedule.objects.using(switched.alias).filter(pk=broken.pk).update(minute="sometimes")
    by_update(switched, "no list", interval=None, crontab=broken)
    wait_until(lambda: "schedule cannot be read" in problems(switched).get("no list", ""), "status names it", 10)
    ticks = len(published(switched, "ticking"))
    wait_until(lambda: len(published(switched, "ticking")) > ticks + 2, "the others go on")
    assert probe.run(Context(switched.config), ProbeRole.LEADER).outcome is Outcome.DONE
    report = rollback.run(Context(switched.config), drop_edits=True)
    assert report.outcome is Outcome.DONE, report
    assert PeriodicTask.objects.using(switched.alias).get(name="no list").crontab is None
