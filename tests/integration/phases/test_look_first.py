"""Look before the leap: a dry run asks every gate, names every step that is then taken, and does nothing at all."""

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pytest
import redis
from celery.schedules import schedule as celery_schedule
from django.apps import apps
from django_celery_beat.models import PeriodicTask

from cutover import clock
from cutover.errors import OperatorBusy, PhaseFailed
from cutover.models import Cutover, OperatorWord, Slot, Transition, UnmanagedBeat
from cutover.observe import status
from cutover.phases import facts, phase1, phase2, phase3, phase3_command, phase4, plan, rollback
from cutover.phases.context import Context
from cutover.phases.operations.journal import at_work
from cutover.phases.report import Outcome
from cutover.types import Side
from tests.integration.phases.conftest import Beat
from tests.integration.phases.test_proof import ALL, Site
from tests.integration.phases.test_switch import imported, run_until_killed  # noqa: F401 - a fixture

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

Surroundings = Callable[[], Context]
Beats = Callable[[Side], Beat]


def everything(context: Context) -> dict[str, Any]:
    """All rows of all tables, and every key of Redis but what a question leaves there for a moment.

    That is what kombu keeps of one to workers, and the preflight's own: whether Redis takes writes.
    """
    rows = {
        model._meta.label: list(model._base_manager.using(context.alias).order_by("pk").values_list())
        for model in apps.get_models()
        if model._meta.managed and not model._meta.proxy
    }
    way = context.redis.connection_pool.connection_kwargs
    with redis.Redis(host=way["host"], port=way["port"], db=way["db"]) as raw:
        passing = re.compile(rb"_kombu\.|.*pidbox|.*:probe$")
        keys = sorted(key for key in raw.keys("*") if not passing.match(key))
        return {**rows, **{repr(key): raw.dump(key) for key in keys}}


def steps_taken(context: Context, since: int) -> list[str]:
    taken = Transition.objects.using(context.alias).filter(pk__gt=since).order_by("pk")
    return list(taken.values_list("step", flat=True))


def last_step(context: Context) -> int:
    row = Transition.objects.using(context.alias).order_by("-pk").first()
    return row.pk if row else 0


@pytest.mark.usefixtures("imported")
def test_a_dry_run_leaves_database_and_redis_as_they_are(context: Surroundings) -> None:
    alias = context().alias
    heard = {"first_heard_at": clock.now(), "last_heard_at": clock.now()}
    UnmanagedBeat.objects.using(alias).create(origin="4@old", **heard)
    given = {"force": True, "plan": plan.run(context()).data["hash"], "only_beat_sends": ["all"], "stopped": ["4@old"]}
    before = everything(context())
    looked = phase3_command.run(context(), dry_run=True, guard_for=dt.timedelta(minutes=1), **given)
    assert everything(context()) == before
    assert looked.outcome is Outcome.DONE, looked
    assert "Nothing was changed (--dry-run)" in "\n".join(looked.lines)
    assert phase3.run(context(), **given).outcome is Outcome.DONE
    before = everything(context())
    assert rollback.run(context(), dry_run=True, force=True, drop_edits=True).outcome is Outcome.DONE
    assert phase3_command.run(context(), dry_run=True).outcome is Outcome.ALREADY
    assert everything(context()) == before


def test_a_dry_run_of_preflight_and_import_leaves_database_and_redis_as_they_are(
    context: Surroundings, schedule: dict[str, dict[str, Any]]
) -> None:
    alias, hour = context().alias, dt.timedelta(hours=1)
    before = everything(context())
    looked = phase1.run(context(), no_code_beat=True, only_beat_sends=["all"], dry_run=True)
    assert (looked.outcome, [one["step"] for one in looked.data["steps"]]) == (Outcome.DONE, ["finish"])
    assert looked.next_command.endswith(" phase1 --no-code-beat"), "without it the next line typed would be refused"
    refused = phase1.run(context(), dry_run=True)
    assert refused.next_command.endswith(" phase1")
    assert [check.name for check in refused.checks if not check.ok] == ["code beat"]
    assert phase2.run(context(), dry_run=True).next_command.endswith("phase1")
    assert everything(context()) == before
    Cutover.objects.using(alias).update(phase=1)
    schedule["relative"] = {"task": "demo.tasks.note", "schedule": celery_schedule(hour, relative=True), "args": ("r",)}
    schedule["hourly"]["options"] = {"time_limit": 600}
    before = everything(context())
    looked = phase2.run(context(), dry_run=True)
    assert everything(context()) == before
    assert (looked.outcome, [one["step"] for one in looked.data["steps"]]) == (Outcome.DONE, ["import", "finish"])
    assert sorted(looked.data["created"]) == ["hourly", "relative", "ticking", "yearly"]
    assert [check.detail for check in looked.checks if check.name == "parity"] == [
        "4 entries fire and send alike on both sides (400 days)"
    ]
    done = phase2.run(context())
    assert (done.outcome, done.data["created"]) == (Outcome.DONE, looked.data["created"])
    before = everything(context())
    assert phase2.run(context(), dry_run=True).data["unchanged"] == looked.data["created"]
    schedule["ticking"]["args"] = (object(),)
    refused = phase2.run(context(), dry_run=True)
    assert [(check.name, check.ok) for check in refused.checks] == [("ticking: args", False)]
    schedule["ticking"]["args"] = ("ticking",)
    PeriodicTask.objects.using(alias).filter(name="yearly").update(args='["other"]')
    assert phase2.run(context(), dry_run=True).outcome is Outcome.REFUSED
    assert phase2.run(context(), dry_run=True, adopt=True).data["adopted"] == ["yearly"]


def test_a_dry_run_of_the_proof_closes_nothing(context: Surroundings, schedule: dict[str, dict[str, Any]]) -> None:
    del schedule["ticking"], schedule["hourly"]
    schedule["minutely"] = {"task": "demo.tasks.note", "schedule": 60, "args": ("m",)}
    site = Site(context)
    site.send(*ALL)
    before = everything(context())
    assert phase4.run(context(), dry_run=True).outcome is Outcome.INCONCLUSIVE
    looked = phase4.run(context(), dry_run=True, waive=["yearly"])
    assert everything(context()) == before
    assert (looked.outcome, [one["step"] for one in looked.data["steps"]]) == (Outcome.DONE, ["waive", "finish"])
    assert not any("Phase 4 is done" in line for line in looked.lines)
    since = last_step(context())
    done = site.prove()
    assert (done.outcome, done.data["proven"]) == (Outcome.DONE, looked.data["proven"])
    assert steps_taken(context(), since) == ["waive", "finish"]
    assert any("Phase 4 is done: the cutover is closed." in line for line in done.lines)


@pytest.mark.usefixtures("imported")
def test_a_dry_run_refuses_what_the_run_would_refuse_and_does_nothing_either(context: Surroundings) -> None:
    before = everything(context())
    for run in (phase3_command.run, rollback.run):
        looked = run(context(), dry_run=True)
        assert looked.outcome in (Outcome.REFUSED, Outcome.DONE)
    assert [check.name for check in phase3_command.run(context(), dry_run=True).checks if not check.ok] == [
        "database standby"
    ]
    with pytest.raises(PhaseFailed, match="No beat '9@gone'"):
        phase3_command.run(context(), dry_run=True, stopped=["9@gone"])
    assert everything(context()) == before
    assert not OperatorWord.objects.using(context().alias).exists()
    with at_work(context().alias, "phase2"), pytest.raises(OperatorBusy, match="with phase2"):
        phase3_command.run(context(), dry_run=True)


@pytest.mark.usefixtures("imported")
def test_the_steps_that_are_named_are_those_then_taken(context: Surroundings, beat: Beats) -> None:
    with beat(Side.CODE), beat(Side.DATABASE):
        for run, options in ((phase3.run, {"guarded": dt.timedelta(seconds=1)}), (rollback.run, {"drop_edits": True})):
            looked = run(context(), dry_run=True, **options)
            assert looked.outcome is Outcome.DONE, looked
            since = last_step(context())
            assert run(context(), **options).outcome is Outcome.DONE
            assert [step["step"] for step in looked.data["steps"]] == steps_taken(context(), since)
            assert all(step["does"] for step in looked.data["steps"])


@pytest.mark.parametrize("statements", [26, 34, 42])
@pytest.mark.usefixtures("imported")
def test_of_a_switch_that_was_killed_those_that_are_left_are_named(
    context: Surroundings, beat: Beats, statements: int
) -> None:
    with beat(Side.CODE), beat(Side.DATABASE):
        assert run_until_killed(context(), phase3.run, statements)
        looked = phase3.run(context(), dry_run=True)
        since = last_step(context())
        phase3.run(context())
        assert [step["step"] for step in looked.data["steps"]] == steps_taken(context(), since)


def test_a_checked_plan_says_whether_something_is_left_to_do(
    context: Surroundings, schedule: dict[str, dict[str, Any]]
) -> None:
    def changes() -> dict[str, int]:
        return {one["phase"]: one["rows"] for one in plan.run(context()).data["changes"]}

    begun = plan.run(context(), check=True)
    assert (begun.outcome, begun.outcome.exit_code) == (Outcome.CHANGES, 2)
    assert changes() == {"phase1": 0, "phase2": 3, "phase3": 0, "phase4": 0}
    assert phase1.run(context(), no_code_beat=True).outcome is Outcome.DONE
    assert phase2.run(context()).outcome is Outcome.DONE
    assert changes() == {"phase3": 0, "phase4": 0}
    schedule["ticking"]["args"] = ("another",)
    assert changes() == {"phase2": 1, "phase3": 0, "phase4": 0}
    schedule["ticking"]["args"] = (object(),)
    refused = plan.run(context(), check=True)
    assert (refused.outcome, refused.outcome.exit_code) == (Outcome.FAILED, 1)
    assert plan.run(context()).outcome is Outcome.DONE
    schedule["ticking"]["args"] = ("ticking",)
    assert phase3.run(context(), force=True).outcome is Outcome.DONE
    assert changes() == {"phase4": 0}
    Cutover.objects.using(context().alias).update(phase=4)
    done = plan.run(context(), check=True)
    assert (done.outcome, done.outcome.exit_code, done.lines[-1]) == (Outcome.DONE, 0, "Nothing is left to do.")


@pytest.mark.parametrize(("hours", "said"), [(1, "1 h old"), (26, "26 h old, too old to count")])
@pytest.mark.usefixtures("imported")
def test_phase_3_proves_again_and_says_how_old_the_proof_before_is(
    context: Surroundings, hours: int, said: str
) -> None:
    row = Cutover.objects.using(context().alias)
    proved_at = row.get().parity_proved_at
    assert proved_at is not None
    assert abs(clock.now() - proved_at) < dt.timedelta(minutes=5)
    row.update(parity_proved_at=clock.now() - dt.timedelta(hours=hours))
    seen = status.run(context())
    assert abs(seen.data["parity_age_s"] - hours * 3600) < 300
    assert any(line.startswith("Parity    proved") for line in seen.lines)
    [parity] = [one for one in phase3.run(context(), dry_run=True, force=True).checks if one.name == "parity"]
    assert parity.detail.endswith(f"proved again now, the proof before is {said}")
    assert row.get().parity_proved_at < clock.now() - dt.timedelta(minutes=5), "a dry run proves for nobody else"
    phase3.run(context(), force=True)
    assert row.get().parity_proved_at > clock.now() - dt.timedelta(minutes=5)
    assert facts.read(context()).parity_proved_at is not None
    assert not Slot.objects.using(context().alias).exists()
