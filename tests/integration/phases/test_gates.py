"""The preflight: each gate holds on a sound project, and says what to do on one that is not."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from celery import Task
from django.db import ProgrammingError, connections
from django.db.migrations.recorder import MigrationRecorder
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from pytest_django import Settings

from cutover import clock
from cutover.errors import PhaseFailed
from cutover.models import Cutover, Slot, UnmanagedBeat
from cutover.observe import status
from cutover.phases import phase1, phase2, phase3, plan
from cutover.phases.context import Context
from cutover.phases.evidence import unmanaged_beats
from cutover.phases.gates import beats as beat_gates
from cutover.phases.gates import broker, installation, servers
from cutover.phases.operations import remembered
from cutover.phases.report import Outcome
from cutover.types import Side
from demo.waiting import wait_until
from prayer_room_api.celery import app as celery_app
from tests.integration.phases.conftest import Beat
from tests.schedules.own import NeverDue, Silent

pytestmark = pytest.mark.integration

Surroundings = Callable[[], Context]
Beats = Callable[[Side], Beat]


@pytest.mark.parametrize(
    "gate",
    [
        servers.migrations,
        servers.database,
        servers.lease_store,
        servers.clocks,
        broker.broker,
        installation.versions,
        installation.processes,
        installation.tasks,
        broker.workers,
        installation.code_schedule,
        beat_gates.no_unmanaged_beat,
    ],
)
def test_a_sound_project_passes(context: Surroundings, gate: Callable[[Context], Any]) -> None:
    check = gate(context())
    assert check.ok, check


def test_a_database_that_is_newer_than_the_code_is_named(context: Surroundings) -> None:
    recorder = MigrationRecorder(connections[context().alias])
    # Of an earlier number the code may have dropped one: squashed.
    recorder.record_applied("cutover", "0000_squashed")
    recorder.record_applied("cutover", "9998_of_the_next_release")
    try:
        check = servers.migrations(context())
    finally:
        recorder.record_unapplied("cutover", "0000_squashed")
        recorder.record_unapplied("cutover", "9998_of_the_next_release")
    assert not check.ok
    assert check.detail == "the database is newer than this code: cutover.9998_of_the_next_release"


def test_rows_and_ledger_belong_in_one_database(context: Surroundings, alias: str, settings: Settings) -> None:
    settings.DATABASE_ROUTERS = []
    check = servers.database(context())
    assert check.ok == (alias == "default")
    assert check.ok or "'default'" in check.detail


def test_a_user_of_the_database_who_may_only_read_is_not_told_to_start_it(context: Surroundings) -> None:
    alias = context().alias

    def refuse(execute: Any, sql: str, *given: Any) -> Any:
        if sql.startswith("UPDATE"):
            raise ProgrammingError("permission denied for table cutover_cutover")
        return execute(sql, *given)

    with connections[alias].execute_wrapper(refuse):
        check = servers.database(context())
    assert not check.ok
    assert "refuses: permission denied" in check.detail
    assert check.remedy.startswith("look at the rights of DATABASES' user")


def test_a_beat_without_the_lease_is_named_for_two_minutes(
    context: Surroundings, schedule: dict[str, dict[str, Any]]
) -> None:
    now = clock.now()
    beats = UnmanagedBeat.objects.using(context().alias)
    beats.create(origin="7@old-web", first_heard_at=now, last_heard_at=now)
    beats.create(origin="8@gone", first_heard_at=now, last_heard_at=now - dt.timedelta(minutes=3))
    check = beat_gates.no_unmanaged_beat(context())
    assert not check.ok
    assert "7@old-web" in check.detail
    assert "8@gone" not in check.detail


def test_a_beat_that_sends_seldom_is_silent_only_when_it_would_have_sent_again(
    context: Surroundings, schedule: dict[str, dict[str, Any]]
) -> None:
    for name in list(schedule):
        del schedule[name]
    schedule["hourly"] = {"task": "demo.tasks.note", "schedule": dt.timedelta(hours=1)}
    beats = UnmanagedBeat.objects.using(context().alias)
    for origin, minutes in ("7@old-web", 59), ("8@gone", 62):
        heard_at = clock.now() - dt.timedelta(minutes=minutes)
        beats.create(origin=origin, first_heard_at=heard_at, last_heard_at=heard_at)
    assert [beat.origin for beat in unmanaged_beats.alive(context())] == ["7@old-web"]


def test_the_operator_may_say_that_a_beat_is_stopped(context: Surroundings) -> None:
    now = clock.now()
    UnmanagedBeat.objects.using(context().alias).create(origin="7@old-web", first_heard_at=now, last_heard_at=now)
    with pytest.raises(PhaseFailed, match=r"No beat '7@web' was heard.*7@old-web"):
        remembered.beats_stopped(context(), ["7@web"])
    remembered.beats_stopped(context(), ["7@old-web"])
    assert beat_gates.no_unmanaged_beat(context()).ok


def test_a_task_that_nobody_registers_is_named(context: Surroundings, schedule: dict[str, dict[str, Any]]) -> None:
    schedule["hourly"]["task"] = "demo.tasks.nothing"
    check = installation.tasks(context())
    assert not check.ok
    assert "not registered: demo.tasks.nothing" in check.detail


def test_a_task_that_no_worker_has_is_named_though_this_process_has_it(
    context: Surroundings, schedule: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule["hourly"]["task"] = "demo.tasks.other"
    schedule["yearly"]["task"] = "celery.backend_cleanup"  # every worker has it, and none says so
    guarded = f"[run_guard=cutover celery=5.7.0 namespace={context().config.namespace}]"
    first, second = ("celery@a", [f"demo.tasks.note {guarded}"]), ("celery@b", [f"demo.tasks.other {guarded}"])
    monkeypatch.setattr(broker, "_asked", lambda *_: [first, second])
    assert broker.workers(context()).detail == "2 answer, all guarded"
    monkeypatch.setattr(broker, "_asked", lambda *_: [first, first])
    check = broker.workers(context())
    assert not check.ok
    assert check.detail == "of 2 that answer none has demo.tasks.other: who gets such a message drops it"
    assert "import its module" in check.remedy


def test_workers_of_another_namespace_are_refused(
    context: Surroundings, schedule: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = schedule["hourly"]["task"]

    def answers(namespace: str) -> Any:
        return [(f"celery@{namespace}", [f"{task} [run_guard=cutover celery=5.7.0 namespace={namespace}]"])]

    own = context().config.namespace
    monkeypatch.setattr(broker, "_asked", lambda *_: answers(own))
    assert broker.workers(context()).ok
    monkeypatch.setattr(broker, "_asked", lambda *_: answers(own) + answers("elsewhere"))
    check = broker.workers(context())
    assert not check.ok
    assert check.detail == f"run under NAMESPACE elsewhere, not {own}: they would guard none of its slots"


def enabled_row(alias: str, task: str) -> None:
    interval = IntervalSchedule.objects.using(alias).create(every=1, period="hours")
    PeriodicTask.objects.using(alias).create(name="by hand", task=task, interval=interval)


def test_a_workers_run_of_a_rows_task_without_the_guard_is_named(
    context: Surroundings, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = f"[run_guard=cutover celery=5.7.0 namespace={context().config.namespace}]"
    told = [("celery@a", [f"{entry.task} {guarded}" for entry in context().entries.values()] + ["bare"])]
    monkeypatch.setattr(broker, "_asked", lambda *_: told)
    assert broker.workers(context()).ok, "nobody sends it"
    enabled_row(alias, "bare")
    assert broker.workers(context()).detail == "without the run guard: celery@a runs bare"


def test_a_rows_task_that_this_project_does_not_register_is_said(context: Surroundings, alias: str) -> None:
    enabled_row(alias, "another.projects")
    check = installation.tasks(context())
    assert (check.ok, check.assumed) == (True, True)
    assert check.detail.endswith("whether those of enabled rows alone are guarded is not known here: another.projects")


@pytest.mark.parametrize("options", [{"base": Task}, {"run_guard": None}], ids=["base", "override"])
@pytest.mark.parametrize("is_row", [False, True], ids=["code", "row"])
def test_a_task_without_the_run_guard_is_named(
    context: Surroundings, schedule: dict[str, dict[str, Any]], options: dict[str, Any], is_row: bool, alias: str
) -> None:
    if is_row:
        enabled_row(alias, "bare")
    else:
        schedule["hourly"]["task"] = "bare"

    @celery_app.task(name="bare", shared=False, **options)
    def bare() -> None: ...

    try:
        check = installation.tasks(context())
    finally:
        del celery_app.tasks["bare"]
    assert not check.ok
    assert "without the run guard: bare" in check.detail


@pytest.mark.parametrize(
    ("process", "said"),
    [
        ({"BACKEND": "no.such.Backend"}, "no.such"),
        ({"APP": "prayer_room_api.celery.app"}, "has no 'BACKEND'"),
        ({"BACKEND": "cutover.backends.CeleryWorker", "APP": "prayer_room_api"}, "dotted path"),
    ],
)
def test_a_process_that_cannot_be_imported_is_named(
    context: Surroundings, settings: Settings, process: dict[str, str], said: str
) -> None:
    settings.PRODUCTION_PROCESSES = {"worker": process}
    check = installation.processes(context())
    assert not check.ok
    assert "worker" in check.detail
    assert said in check.detail


def test_an_empty_code_schedule_is_no_schedule(context: Surroundings, schedule: dict[str, dict[str, Any]]) -> None:
    schedule.clear()
    for optional in (False, True):
        check = installation.code_schedule(context(), optional=optional)
        assert (check.ok, "--no-code-beat" in check.remedy) == (False, False), "a forgotten CODE_SCHEDULE, too"


def test_a_site_of_rows_alone_goes_through_its_phases_without_a_code_schedule(
    context: Surroundings, schedule: dict[str, dict[str, Any]], beat: Beats
) -> None:
    schedule.clear()
    seconds = IntervalSchedule.objects.using(context().alias).create(every=1, period="seconds")
    PeriodicTask.objects.using(context().alias).create(name="row", task="demo.tasks.note", interval=seconds)
    check = installation.code_schedule(context())
    assert (check.ok, check.remedy.endswith("the 1 enabled row is to be sent, add --no-code-beat")) == (False, True)
    assert installation.code_schedule(context(), optional=True).ok
    Cutover.objects.using(context().alias).update(phase=1)
    assert phase2.run(context()).outcome is Outcome.DONE
    with beat(Side.DATABASE):
        wait_until(lambda: context().warm_beats(Side.DATABASE), "it stands by")
        assert phase3.run(context()).outcome is Outcome.DONE
        wait_until(lambda: Slot.objects.using(context().alias).filter(entry="row").exists(), "the row is sent")


@pytest.mark.parametrize(
    ("name", "when", "said"),
    [
        ("n" * 201, 60, "name has 201 characters"),
        (("a", 1), 60, "name is ('a', 1), no text"),
        (7, 60, "name is 7, no text"),
        ("own", NeverDue(0.2), "its own is_due"),
        ("silent", Silent(), "does not say when it is due"),
    ],
    ids=["long", "tuple", "number", "own is_due", "silent"],
)
def test_an_entry_that_a_beat_would_leave_out_is_refused_by_phase_1_named_by_plan_and_not_sent(
    context: Surroundings, schedule: dict[Any, dict[str, Any]], beat: Beats, name: Any, when: Any, said: str
) -> None:
    schedule[name] = {"task": "demo.tasks.note", "schedule": when}
    gate = installation.code_schedule(context())
    assert not gate.ok
    assert f"{name}: " in gate.detail
    assert said in gate.detail
    planned = plan.run(context())
    assert [f"{check.name} {check.detail}" for check in planned.checks if said in f"{check.name} {check.detail}"]
    slots = Slot.objects.using(context().alias)
    with beat(Side.CODE):
        wait_until(lambda: slots.filter(entry="ticking").count() > 2, "the others are sent")
        seen = status.run(context()).data
    assert not slots.exclude(entry__in=["ticking", "hourly"]).exists(), "it is not sent as something else"
    assert any(said in problem for problem in seen["problems"])


def test_a_code_schedule_whose_setting_is_wrong_is_a_finding_of_its_gate(
    context: Surroundings, settings: Settings
) -> None:
    settings.CUTOVER = {**settings.CUTOVER, "CODE_SCHEDULE": "demo.schedule.no_such_schedule"}
    report = phase1.run(context())
    assert report.outcome is Outcome.REFUSED
    [check] = [check for check in report.checks if check.name == "code schedule"]
    assert (check.ok, check.remedy) == (False, "fix the setting")
    assert "CODE_SCHEDULE" in check.detail
