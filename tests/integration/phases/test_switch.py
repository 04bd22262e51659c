"""There and back: the switch, its failure, and a command that is killed at any of its statements and run again."""

import datetime as dt
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from cutover import clock
from cutover.errors import PhaseFailed
from cutover.models import Cutover, ImportedEntry, QuietWait, SwitchGuard, Transition
from cutover.phases import facts, phase1, phase2, phase3, rollback
from cutover.phases.context import Context
from cutover.phases.report import Outcome, Report
from cutover.types import Side
from cutover.workers.processes import own_name
from tests.integration.phases.conftest import Beat

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

Surroundings = Callable[[], Context]
Beats = Callable[[Side], Beat]

LAST_RUN = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


@pytest.fixture
def imported(context: Surroundings) -> None:
    """Phase 2 is done; one imported row has a last run, one foreign row is enabled."""
    Cutover.objects.using(context().alias).update(phase=1)
    assert phase2.run(context()).outcome is Outcome.DONE
    tasks = PeriodicTask.objects.using(context().alias)
    tasks.filter(name="yearly").update(last_run_at=LAST_RUN)
    other = tasks.get(name="yearly").crontab
    tasks.create(name="not-ours", task="demo.tasks.note", crontab=other, enabled=False)


def rows(context: Context) -> dict[str, tuple[bool, dt.datetime | None]]:
    tasks = PeriodicTask.objects.using(context.alias)
    return {name: rest for name, *rest in tasks.values_list("name", "enabled", "last_run_at")}


def assert_switched(context: Context, report: Report) -> None:
    assert report.outcome is Outcome.DONE, report
    now = facts.read(context)
    assert (now.phase, now.side, now.snapshot) == (3, Side.DATABASE, 3)
    assert {name for name, (enabled, _) in rows(context).items() if enabled} == {"hourly", "ticking", "yearly"}
    kept = ImportedEntry.objects.using(context.alias)
    assert set(kept.values_list("name", "enabled_before", "last_run_at_before")) == {
        ("hourly", False, None),
        ("ticking", False, None),
        ("yearly", False, LAST_RUN),
    }


def assert_back(context: Context, report: Report, before: dict[str, Any]) -> None:
    assert report.outcome is Outcome.DONE, report
    now = facts.read(context)
    assert (now.phase, now.side, now.snapshot) == (2, Side.CODE, 0)
    assert rows(context) == before


@pytest.mark.usefixtures("imported")
def test_there_and_back(context: Surroundings, beat: Beats) -> None:
    before = rows(context())
    with beat(Side.CODE), beat(Side.DATABASE):
        there = phase3.run(context())
        assert_switched(context(), there)
        context().ledger.fence.set_guarded(clock.now())
        assert 0 <= there.data["gap_ms"] < 5000
        again = phase3.run(context())
        assert again.outcome is Outcome.ALREADY
        touched = PeriodicTasks.last_change()
        back = rollback.run(context())
        assert_back(context(), back, before)
        assert context().ledger.fence.read().guarded_since is None, "workers without the guard may come back"
        assert PeriodicTasks.last_change() > touched
        assert rollback.run(context()).outcome is Outcome.ALREADY
        assert facts.read(context()).phase == 2
    steps = [(t.phase, t.step) for t in Transition.objects.using(context().alias).order_by("id")][2:]
    assert steps == [
        *(("phase3", step) for step in ("snapshot", "enable", "loaded", "switch", "lead", "finish")),
        *(("rollback", step) for step in ("switch", "lead", "restore", "finish")),
    ]
    assert set(Transition.objects.using(context().alias).values_list("outcome", flat=True)) == {"done"}


@pytest.mark.usefixtures("imported")
def test_nobody_stands_by_there_so_the_switch_is_refused(context: Surroundings, beat: Beats) -> None:
    before = rows(context())
    with beat(Side.CODE):
        report = phase3.run(context())
    assert report.outcome is Outcome.REFUSED
    assert [check.name for check in report.checks if not check.ok] == ["database standby"]
    assert rows(context()) == before
    assert facts.read(context()).side is Side.CODE


@pytest.mark.usefixtures("imported")
def test_nobody_stands_by_there_and_it_is_forced(context: Surroundings, beat: Beats) -> None:
    before = rows(context())
    assert_switched(context(), phase3.run(context(), force=True))
    refused = rollback.run(context())
    assert refused.outcome is Outcome.REFUSED
    assert facts.read(context()).side is Side.DATABASE
    assert_back(context(), rollback.run(context(), force=True), before)


@pytest.mark.usefixtures("imported")
def test_there_is_no_way_back_to_a_release_that_has_the_code_schedule_no_more(
    context: Surroundings, beat: Beats, schedule: dict[str, dict[str, Any]]
) -> None:
    before = rows(context())
    assert_switched(context(), phase3.run(context(), force=True))
    kept = dict(schedule)
    for name in list(schedule)[1:]:
        del schedule[name]
    with beat(Side.DATABASE):
        with beat(Side.CODE):
            report = rollback.run(context())
            assert report.outcome is Outcome.REFUSED
            [check] = [check for check in report.checks if not check.ok]
            assert (check.name, "has 1 of the 3 entries" in check.detail) == ("code schedule", True)
            schedule.update(kept)
            with beat(Side.CODE):
                assert rollback.run(context()).outcome is Outcome.REFUSED, "the one without them might lead"
        assert facts.read(context()).side is Side.DATABASE
        with beat(Side.CODE):
            assert_back(context(), rollback.run(context()), before)


@pytest.mark.usefixtures("imported")
def test_a_row_that_was_edited_since_its_import_stops_the_switch(context: Surroundings, beat: Beats) -> None:
    PeriodicTask.objects.using(context().alias).filter(name="hourly").update(args='["other"]')
    with beat(Side.DATABASE):
        report = phase3.run(context())
    assert report.outcome is Outcome.REFUSED
    [parity] = [check for check in report.checks if check.name == "parity"]
    assert "hourly: args" in parity.detail
    assert not any(enabled for enabled, _ in rows(context()).values())


@pytest.mark.usefixtures("imported")
def test_a_side_that_does_not_take_over_in_time_is_left_again(context: Surroundings, beat: Beats) -> None:
    before = rows(context())
    gone = beat(Side.DATABASE).__enter__()

    def stop_before_the_switch(context: Context) -> None:
        gone.__exit__(None, None, None)

    with beat(Side.CODE):
        with _when("switch", stop_before_the_switch, context()), pytest.raises(PhaseFailed) as failed:
            phase3.run(context())
        assert "\n" not in str(failed.value)
        assert "code side is active again" in str(failed.value)
    now = facts.read(context())
    assert (now.phase, now.side, now.snapshot) == (2, Side.CODE, 0)
    assert rows(context()) == before


@contextmanager
def _when(step: str, act: Callable[[Context], None], context: Context) -> Iterator[None]:
    """Act when a step is being recorded, on the connection that records it."""

    def wrapper(execute: Any, sql: str, params: Any, many: bool, wrapped: Any) -> Any:
        if "INSERT" in sql and "cutover_transition" in sql and step in (params or ()):
            act(context)
        return execute(sql, params, many, wrapped)

    with connections[context.alias].execute_wrapper(wrapper):
        yield


class Killed(BaseException):
    """The process is gone: nothing that it would still have done is done."""


class Death:
    """Lets ``statements`` statements through and then none; the connection is rolled back, as at a process's end."""

    def __init__(self, alias: str, statements: int) -> None:
        self._alias = alias
        self._left = statements
        self.happened = False

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, wrapped: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            self.happened = True
            raise Killed
        return execute(sql, params, many, wrapped)


ENDED = f"{own_name()}0"
"""The name of a process of this number that began at another time."""


def run_until_killed(context: Context, run: Callable[[Context], Report], statements: int) -> bool:
    """Whether ``run`` was killed after so many statements; False when it had come to its end by then."""
    death = Death(context.alias, statements)
    try:
        with connections[context.alias].execute_wrapper(death):
            run(context)
    except Killed:
        pass
    connections[context.alias].close()
    if "redis" in vars(context):
        context.redis.connection_pool.disconnect()  # the end of a process closes that too
    if death.happened:
        _forget_the_dead(context.alias)
    return death.happened


each_death = pytest.mark.parametrize("step", [10, pytest.param(1, marks=pytest.mark.long)], indirect=True)
"""After how many statements more to kill again."""


def _forget_the_dead(alias: str) -> None:
    """What a killed process holds or stays for names a process that is no more; here it was this one."""
    Cutover.objects.using(alias).exclude(operator="").update(operator_process=ENDED)
    for kind in (QuietWait, SwitchGuard):
        kind.objects.using(alias).filter(ended_at=None).update(process=ENDED)


@each_death
@pytest.mark.usefixtures("imported")
def test_killed_at_any_statement_the_switch_and_the_way_back_are_completed_by_running_again(
    context: Surroundings, beat: Beats, step: int
) -> None:
    before = rows(context())
    with beat(Side.CODE), beat(Side.DATABASE):
        for statements in itertools.count(1, step):
            killed = run_until_killed(context(), phase3.run, statements)
            report = phase3.run(context())
            if not killed:
                break
            if report.outcome is not Outcome.ALREADY:  # killed after its last step, giving its lock back
                assert_switched(context(), report)
            assert_back(context(), rollback.run(context()), before)
        assert statements > 30
        for statements in itertools.count(1, step):
            killed = run_until_killed(context(), rollback.run, statements)
            report = rollback.run(context())
            if not killed:
                break
            if report.outcome is not Outcome.ALREADY:
                assert_back(context(), report, before)
            assert facts.read(context()).side is Side.CODE
            assert rows(context()) == before
            assert_switched(context(), phase3.run(context()))
        assert statements > 20


@each_death
@pytest.mark.usefixtures("imported")
def test_killed_at_any_statement_the_switch_can_be_rolled_back_at_once(
    context: Surroundings, beat: Beats, step: int
) -> None:
    before = rows(context())
    with beat(Side.CODE), beat(Side.DATABASE):
        for statements in itertools.count(min(2, step), step):
            if not run_until_killed(context(), phase3.run, statements):
                break
            rollback.run(context())
            assert rows(context()) == before
            assert facts.read(context()).side is Side.CODE
            Cutover.objects.using(context().alias).update(phase=2)
            Transition.objects.using(context().alias).all().delete()


@pytest.mark.usefixtures("imported")
def test_a_forced_rollback_that_was_killed_at_its_last_step_is_finished_and_not_undone(
    context: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nobody there to lead it would else switch to rows that are disabled by now."""
    before = rows(context())
    assert_switched(context(), phase3.run(context(), force=True))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            "cutover.phases.operations.journal.Journal.finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        rollback.run(context(), force=True)
    assert facts.read(context()).in_words().startswith("The rollback has switched back and is not finished")
    assert_back(context(), rollback.run(context()), before)
    assert rollback.run(context()).outcome is Outcome.ALREADY


def test_phases_out_of_order_name_the_command_to_type(context: Surroundings) -> None:
    for run, wanted in ((phase2.run, "phase1"), (phase3.run, "phase1")):
        report = run(context())
        assert report.outcome is Outcome.REFUSED
        assert report.next_command == f"python manage.py cutover {wanted}"
        assert Transition.objects.using(context().alias).filter(outcome="done").count() == 0


def test_preflight_with_and_without_a_beat_of_the_code_side(context: Surroundings, beat: Beats) -> None:
    report = phase1.run(context())
    assert [check.name for check in report.checks if not check.ok] == ["code beat"]
    with beat(Side.CODE):
        assert phase1.run(context()).outcome is Outcome.DONE
    assert phase1.run(context()).outcome is Outcome.ALREADY
    assert rollback.run(context()).outcome is Outcome.DONE
    assert facts.read(context()).phase == 0
    assert rollback.run(context()).outcome is Outcome.ALREADY
    assert phase1.run(context(), no_code_beat=True).outcome is Outcome.DONE


@pytest.mark.usefixtures("imported")
def test_after_a_rollback_the_preflight_is_made_again(context: Surroundings, beat: Beats) -> None:
    """The release that is back may not hold what held for the one before."""
    assert_switched(context(), phase3.run(context(), force=True))
    assert phase1.run(context()).outcome is Outcome.ALREADY
    assert rollback.run(context(), force=True).outcome is Outcome.DONE
    refused = phase1.run(context())
    assert refused.outcome is Outcome.REFUSED
    assert [check.name for check in refused.checks if not check.ok] == ["code beat"]
    with beat(Side.CODE):
        again = phase1.run(context())
        assert again.outcome is Outcome.DONE
        assert again.next_command.endswith("phase3")
        assert facts.read(context()).phase == 2
        assert phase1.run(context()).outcome is Outcome.ALREADY
