"""After the switch the rows are the master: real beats on real rows, edited as people edit them."""

import datetime as dt
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.admin import site as admin_site
from django.contrib.auth.models import User
from django.contrib.messages.storage.fallback import FallbackStorage
from django.db.models import Model
from django.test import RequestFactory
from django_celery_beat.admin import PeriodicTaskAdmin
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from cutover import clock
from cutover.beats.candidate import POLL_EVERY_S
from cutover.beats.sources.watch import LOOK_EVERY_S
from cutover.models import Cutover, Entry, Slot
from cutover.phases import phase2, phase3
from cutover.phases.context import Context
from cutover.phases.report import Outcome
from cutover.types import Side
from demo.services import Valkey
from demo.waiting import wait_until
from tests.integration.phases.conftest import Beat

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

Surroundings = Callable[[], Context]
Beats = Callable[[Side], Beat]
FIVE_S = 5.0


@pytest.fixture
def switched(context: Surroundings, beat: Beats) -> Iterator[Context]:
    """The database side leads, with a real beat."""
    Cutover.objects.using(context().alias).update(phase=1)
    assert phase2.run(context()).outcome is Outcome.DONE
    with beat(Side.CODE), beat(Side.DATABASE):
        assert phase3.run(context()).outcome is Outcome.DONE
        yield context()


def slots(context: Context, name: str) -> list[dt.datetime]:
    found = Slot.objects.using(context.alias).filter(entry=name).exclude(state="missed")
    return list(found.order_by("due_at").values_list("due_at", flat=True))


def by_form(context: Context, name: str, **fields: Any) -> None:
    """As the admin's form saves it."""
    row = PeriodicTask.objects.using(context.alias).get(name=name)
    for field, value in fields.items():
        setattr(row, field, value)
    row.save(using=context.alias)


def by_update(context: Context, name: str, **fields: Any) -> None:
    """As a script does it, past ``save()``."""
    PeriodicTask.objects.using(context.alias).filter(name=name).update(**fields)


def by_action(context: Context, name: str, enabled: bool) -> None:
    """By the admin's action Enable or Disable."""
    _act(context, name, "enable_tasks" if enabled else "disable_tasks")


def by_toggle(context: Context, name: str, enabled: bool) -> None:
    """By the admin's action Toggle."""
    _act(context, name, "toggle_tasks")


def _act(context: Context, name: str, action: str) -> None:
    request = RequestFactory().post("/")
    request.user = User(username="root")
    request.session = {}  # type: ignore[assignment]
    request._messages = FallbackStorage(request)  # type: ignore[attr-defined]
    admin = PeriodicTaskAdmin(PeriodicTask, admin_site)
    getattr(admin, action)(request, PeriodicTask.objects.using(context.alias).filter(name=name))


@pytest.mark.parametrize("change", [by_form, by_update, by_action, by_toggle])
def test_a_toggle_takes_effect_in_five_seconds_and_sends_nothing_a_second_time(
    switched: Context, valkey: Valkey, change: Callable[..., None]
) -> None:
    wait_until(lambda: len(slots(switched, "ticking")) > 3, "it ticks")
    change(switched, "ticking", enabled=False)
    off = clock.now()
    wait_until(lambda: clock.now() - off > dt.timedelta(seconds=FIVE_S), "five seconds have passed", FIVE_S + 5)
    assert max(slots(switched, "ticking")) < off + dt.timedelta(seconds=FIVE_S)
    silent = slots(switched, "ticking")
    on = clock.now()
    change(switched, "ticking", enabled=True)
    wait_until(lambda: len(slots(switched, "ticking")) > len(silent), "it ticks again", FIVE_S)
    after = [at for at in slots(switched, "ticking") if at > silent[-1]]
    # Only a save says when it was. Anything else was after the beat's last look, for all it knows: one since is sent.
    told = 0 if change is by_form else 1
    assert sum(at <= on for at in after) <= told
    assert min(after) > on - told * dt.timedelta(seconds=LOOK_EVERY_S + POLL_EVERY_S)
    every = dt.timedelta(seconds=0.5)
    assert {(at - silent[0]) % every for at in after} <= {dt.timedelta(0)}
    assert_sent_once(switched, valkey)


@pytest.mark.parametrize("change", [by_form, by_update])
def test_an_edit_takes_effect_in_five_seconds(switched: Context, valkey: Valkey, change: Callable[..., None]) -> None:
    second = IntervalSchedule.objects.using(switched.alias).create(every=1, period="seconds")
    change(switched, "hourly", crontab=None, interval=second)
    edited = clock.now()
    wait_until(lambda: slots(switched, "hourly"), "the new schedule is followed", FIVE_S + 1)
    assert min(slots(switched, "hourly")) > edited - dt.timedelta(seconds=1)
    assert_sent_once(switched, valkey)


def assert_sent_once(context: Context, valkey: Valkey) -> None:
    """The beat goes on meanwhile: what was published by before is at the broker, and what is there is in the ledger."""
    slots_of = Slot.objects.using(context.alias).values_list("task_id", flat=True)
    published = {*map(str, slots_of.filter(state="published"))}
    with valkey.client() as client:
        sent = [json.loads(message)["headers"]["id"] for message in client.lrange("celery", 0, -1)]
    assert len(sent) == len({*sent})
    assert published <= {*sent} <= {*map(str, slots_of.all())}


@pytest.mark.parametrize("change", [by_form, by_update])
def test_enabling_a_row_of_days_ago_sends_nothing_at_once(switched: Context, change: Callable[..., None]) -> None:
    crontab = PeriodicTask.objects.using(switched.alias).get(name="yearly").crontab
    long_ago = clock.now() - dt.timedelta(days=400)
    row = PeriodicTask(name="old", task="demo.tasks.note", args='["old"]', crontab=crontab, enabled=False)
    row.save(using=switched.alias)
    by_update(switched, "old", date_changed=long_ago, last_run_at=long_ago)
    change(switched, "old", enabled=True)
    wait_until(lambda: _knows(switched, "old"), "the beat has read it", FIVE_S)
    ticks = len(slots(switched, "ticking"))
    wait_until(lambda: len(slots(switched, "ticking")) > ticks + 2, "the beat goes on")
    assert slots(switched, "old") == []


def _knows(context: Context, name: str) -> bool:
    return Entry.objects.using(context.alias).filter(name=name, active=True).exists()


def test_a_restart_of_a_beat_overwrites_nothing(context: Surroundings, switched: Context, beat: Beats) -> None:
    by_update(switched, "hourly", args='["edited"]', queue="edited", enabled=False)
    before = rows(switched)
    with beat(Side.DATABASE), beat(Side.CODE):
        assert rows(switched) == before
    assert rows(switched) == before


def rows(context: Context) -> list[dict[str, Any]]:
    kind: type[Model] = PeriodicTask
    columns = [f.attname for f in kind._meta.concrete_fields if f.attname not in ("last_run_at", "total_run_count")]
    return list(PeriodicTask.objects.using(context.alias).order_by("name").values(*columns))


def test_an_option_of_the_overlay_is_sent_until_the_task_is_another(
    context: Surroundings, beat: Beats, schedule: dict[str, dict[str, Any]], valkey: Valkey
) -> None:
    schedule["ticking"]["options"] = {"time_limit": 77, "queue": "kept"}
    Cutover.objects.using(context().alias).update(phase=1)
    assert phase2.run(context()).outcome is Outcome.DONE
    with beat(Side.CODE), beat(Side.DATABASE):
        assert phase3.run(context()).outcome is Outcome.DONE
        with valkey.client() as client:

            def limits(queue: str) -> set[int | None]:
                return {json.loads(m)["headers"]["timelimit"][0] for m in client.lrange(queue, 0, -1)}

            client.delete("kept")
            wait_until(lambda: client.llen("kept") > 2, "the database side sends")
            assert limits("kept") == {77}
            by_update(context(), "ticking", queue="edited")
            wait_until(lambda: client.llen("edited") > 1, "the edit is followed", FIVE_S + 1)
            assert limits("edited") == {77}
            by_update(context(), "ticking", task="demo.tasks.other", queue="other")
            wait_until(lambda: client.llen("other") > 1, "the edit is followed", FIVE_S + 1)
            assert limits("other") == {None}
