"""Every command, killed at any of its statements and typed again, comes to the state that an undisturbed one leaves."""

import datetime as dt
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from celery.schedules import crontab
from django.apps import apps
from django.db import models as fields
from django_celery_beat.models import PeriodicTask

from cutover import clock, models
from cutover.observe import status
from cutover.phases import pause, phase1, phase2, phase3, phase4, plan, replay, resume, rollback
from cutover.phases.context import Context
from cutover.phases.operations import snapshot
from cutover.phases.report import Check, Outcome, Report
from cutover.types import EntryName, Slot
from tests.integration.phases.test_proof import ALL, Site
from tests.integration.phases.test_switch import each_death, run_until_killed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

Surroundings = Callable[[], Context]
MINUTE, SECOND = dt.timedelta(minutes=1), dt.timedelta(seconds=1)
WELL = (Outcome.DONE, Outcome.ALREADY)


@pytest.fixture
def schedule() -> dict[str, dict[str, Any]]:
    yearly = crontab(0, 0, month_of_year=1, day_of_month=1)
    return {
        "minutely": {"task": "demo.tasks.note", "schedule": 60, "args": ("m",)},
        "yearly": {"task": "demo.tasks.note", "schedule": yearly, "args": ("y",)},
    }


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody leads, and nobody is waited for; a busy machine's broker answers late."""
    monkeypatch.setattr("cutover.phases.gates.broker.BROKER_TIMEOUT_S", 60.0)
    monkeypatch.setattr("cutover.phases.operations.switchover._wait_for_leader", lambda *_: None)
    monkeypatch.setattr("cutover.phases.replay._leader", lambda *_: Check("leader", True, "one leads"))
    monkeypatch.setattr("cutover.phases.replay.WITHIN", dt.timedelta(0))
    monkeypatch.setattr("cutover.phases.evidence.missed.PIECE", 10)


# --- where a command begins ------------------------------------------------------------------------------------------


def nothing_done(context: Surroundings) -> None:
    """Phase 0."""


def checked(context: Surroundings) -> None:
    """Phase 1 is done."""
    models.Cutover.objects.using(context().alias).update(phase=1)


def taken_by_others(context: Surroundings) -> None:
    """Phase 1 is done, and a row has an entry's name."""
    checked(context)
    assert phase2.run(context()).outcome is Outcome.DONE
    models.ImportedEntry.objects.using(context().alias).all().delete()
    PeriodicTask.objects.using(context().alias).filter(name="yearly").update(enabled=True, args='["other"]')


def imported(context: Surroundings) -> None:
    """Phase 2 is done."""
    checked(context)
    assert phase2.run(context()).outcome is Outcome.DONE


def prepared(context: Surroundings) -> None:
    """A phase 3 was killed before its switch."""
    imported(context)
    snapshot.keep(context())
    snapshot.enable(context())


def switched(context: Surroundings) -> None:
    """Phase 3 is done, half an hour ago, and every slot since, and some to come, were sent and run once."""
    site = Site(context)
    site.send(*ALL)
    rows = list(models.Slot.objects.using(site.alias).filter(entry="minutely"))
    for row in rows:  # whatever falls due while commands die
        row.pk, row.due_at = None, row.due_at + len(rows) * MINUTE
        row.task_id = Slot(row.due_at, EntryName(row.entry)).task_id("cutover")
    models.Slot.objects.using(site.alias).bulk_create(rows)


def edited(context: Surroundings) -> None:
    """Phase 3 is done, and rows were edited since."""
    imported(context)
    assert phase3.run(context(), force=True).outcome is Outcome.DONE
    PeriodicTask.objects.using(context().alias).filter(name="yearly").update(args='["other"]')
    PeriodicTask.objects.using(context().alias).filter(name="minutely").delete()


def missed(context: Surroundings) -> None:
    """Of thirty slots in a row, all missed, the newest five have rows."""
    switched(context)
    slots = models.Slot.objects.using(context().alias).filter(due_at__lt=clock.now()).order_by("due_at")
    pks = list(slots.values_list("pk", flat=True))
    slots.filter(pk__in=pks[1:-6]).delete()
    late = {"state": "missed", "reason": "a later slot was sent in its stead", "run_started_at": None}
    slots.filter(pk__in=pks[-6:-1]).update(**late, published_at=None)
    slots.filter(pk=pks[-6]).update(passed_over=len(pks) - 7)


def paused(context: Surroundings) -> None:
    """All is paused, and one entry."""
    for entry in ("", "minutely"):
        context().ledger.pauses.pause(EntryName(entry), None, "alice@host", "a restore")


# --- what is typed ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A command, where it begins, and how many statements it has at least."""

    begin: Callable[[Surroundings], None]
    run: Callable[[Context], Report]
    least: int


CASES = {
    "phase1": Case(nothing_done, partial(phase1.run, no_code_beat=True), 12),
    "phase1 that is told who sends": Case(imported, partial(phase1.run, called_by_hand=["all"]), 5),
    "phase2": Case(checked, phase2.run, 20),
    "phase2 that adopts": Case(taken_by_others, partial(phase2.run, adopt=True), 20),
    "phase3": Case(imported, partial(phase3.run, force=True), 30),
    "phase3 of rows that are prepared": Case(prepared, partial(phase3.run, force=True), 20),
    "phase4": Case(switched, partial(phase4.run, waive=["yearly"]), 15),
    "rollback of an import": Case(imported, rollback.run, 8),
    "rollback of rows that are prepared": Case(prepared, rollback.run, 12),
    "rollback of a switch": Case(switched, partial(rollback.run, force=True, because="one slot was missed"), 20),
    "rollback of edits too": Case(edited, partial(rollback.run, force=True, drop_edits=True), 20),
    "pause": Case(imported, partial(pause.run, reason="a restore"), 6),
    "pause for a while": Case(imported, partial(pause.run, entry="minutely", length=MINUTE), 6),
    "pause for another reason": Case(paused, partial(pause.run, reason="a move"), 6),
    "resume": Case(paused, resume.run, 5),
    "resume one entry": Case(paused, partial(resume.run, entry="minutely"), 5),
    "replay": Case(missed, replay.run, 15),
    "replay that is only looked at": Case(missed, partial(replay.run, dry_run=True), 5),
    "plan": Case(imported, plan.run, 10),
    "status": Case(missed, status.run, 10),
}
BRIEF = {"phase1", "phase2", "phase4", "rollback of rows that are prepared", "pause for a while", "resume", "replay"}
"""The others are killed in the long run alone; ``test_switch`` kills the switch and the way back beside real beats."""
VOLATILE = {
    *("id", "epoch", "switch_epoch", "holder", "process", "paused_by", "ended_by", "plan_hash", "revision", "key"),
    *("operator", "operator_process", "operator_seen_at"),  # a dead holder's mark stands in nobody's way
}
"""What differs from one time to the next: keys, terms, and who it was or is."""


# Who is killed while it reads closes no cursor; the server does that then.
@pytest.mark.filterwarnings("ignore:Exception ignored in. .function ServerCursorMixin")
@each_death
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] * (name not in BRIEF)) for name in CASES])
def test_killed_at_any_statement_and_typed_again(context: Surroundings, alias: str, name: str, step: int) -> None:
    case = CASES[name]
    case.begin(context)
    before = saved(alias)
    assert case.run(context()).outcome in WELL
    expected = picture(alias)
    for statements in itertools.count(1, step):
        restore(alias, before)
        killed = run_until_killed(context(), case.run, statements)
        again = case.run(context())
        assert again.outcome in WELL, (statements, again)
        assert picture(alias) == expected, f"killed after {statements} statements"
        if not killed:
            break
    assert statements > case.least
    print(f"{name}: killed {statements // step} times")


# --- the state ------------------------------------------------------------------------------------------


def tables() -> list[type[fields.Model]]:
    """Ours, and the rows of the schedule, in an order in which they can be written."""
    ours = [model for model in apps.get_app_config("cutover").get_models() if not model._meta.proxy]
    return [*(model for model in ours if model._meta.managed), PeriodicTask]


def saved(alias: str) -> dict[type[fields.Model], list[fields.Model]]:
    return {model: list(model._default_manager.using(alias).all()) for model in tables()}


def restore(alias: str, before: Mapping[type[fields.Model], list[fields.Model]]) -> None:
    for model in reversed(before):
        model._default_manager.using(alias).all().delete()
    for model, rows in before.items():
        model._default_manager.using(alias).bulk_create(rows)


def picture(alias: str) -> dict[str, Any]:
    """All rows but the journal's, whose steps are written again; of instants but a slot's own: whether there is one."""
    found: dict[str, Any] = {
        model._meta.label: sorted(repr(_told(row)) for row in model._default_manager.using(alias).all())
        for model in tables()
        if model is not models.Transition
    }
    finished = models.Transition.objects.using(alias).filter(step=models.FINISH).order_by("-pk").first()
    found["finished last"] = finished and finished.phase
    return found


def _told(row: fields.Model) -> dict[str, Any]:
    told = {}
    for field in row._meta.concrete_fields:
        value = getattr(row, field.attname)
        if field.name not in VOLATILE:
            is_instant = isinstance(value, dt.datetime) and field.name != "due_at"
            told[field.name] = "an instant" if is_instant else value
    return told
