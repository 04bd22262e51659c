"""The plan: what it shows of entries and rows, and its hash, to which the operator's approval is held."""

from collections.abc import Callable
from typing import Any

import pytest
from celery.schedules import crontab
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from cutover import clock
from cutover.models import Cutover, Entry
from cutover.phases import phase2, phase3, plan, rollback
from cutover.phases.context import Context
from cutover.phases.report import Outcome
from cutover.types import Side
from tests.integration.phases.conftest import Beat

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

Surroundings = Callable[[], Context]
Beats = Callable[[Side], Beat]
Schedule = dict[str, dict[str, Any]]


@pytest.fixture(autouse=True)
def begun(context: Surroundings) -> None:
    """Phase 1 is done."""
    Cutover.objects.using(context().alias).update(phase=1)


def entry(context: Context, name: str) -> dict[str, Any]:
    [found] = [one for one in plan.run(context).data["entries"] if one["name"] == name]
    return found


def test_a_plan_shows_field_by_field_what_it_finds(context: Surroundings, schedule: Schedule) -> None:
    schedule["hourly"]["options"] = {"time_limit": 5, "queue": "slow"}
    weekly = IntervalSchedule.objects.using(context().alias).create(every=7, period="days")
    PeriodicTask.objects.using(context().alias).create(name="hourly", task="other.task", interval=weekly, queue="fast")
    found = entry(context(), "hourly")
    assert {one["field"]: (one["row"], one["code"]) for one in found["differences"]} == {
        "task": ("other.task", "demo.tasks.note"),
        "queue": ("fast", "slow"),
        "args": ("[]", '["h"]'),
        "schedule": ("every 604800s", "crontab 0 * * * * UTC"),
    }
    assert found["overlay"] == ["time_limit"]
    assert {one["field"] for one in found["refusals"]} == {"task", "queue", "args", "schedule", "enabled"}
    assert (found["row"], entry(context(), "ticking")["row"]) == ("refused", "create")


def test_a_plan_shows_what_fires_next_from_which_side_and_what_else_is_enabled(
    context: Surroundings, schedule: Schedule
) -> None:
    del schedule["ticking"]
    days = IntervalSchedule.objects.using(context().alias).create(every=1, period="days")
    PeriodicTask.objects.using(context().alias).create(name="own", task="demo.tasks.note", interval=days)
    report = plan.run(context())
    assert [(one["entry"], one["side"]) for one in report.data["next_slots"]] == [
        ("hourly", "code"),
        ("yearly", "code"),
    ]
    assert [one["name"] for one in report.data["other_rows"]] == ["own"]
    assert "1 row is enabled that the code has no entry for" in "\n".join(report.lines)
    assert [window["length_s"] // 60 for window in report.data["quiet_windows"]] == [60, 60, 60]


def test_no_minute_is_quiet_where_something_falls_due_in_each(context: Surroundings) -> None:
    report = plan.run(context())
    assert report.data["quiet_windows"] == []
    assert "No minute of the next 24 h is quiet." in report.lines


def test_a_day_in_which_nothing_falls_due_is_quiet_for_all_of_it(context: Surroundings, schedule: Schedule) -> None:
    del schedule["ticking"], schedule["hourly"]
    report = plan.run(context())
    assert [window["length_s"] for window in report.data["quiet_windows"]] == [86_400]
    assert [line.rpartition("(")[2] for line in report.lines if " to " in line and line.endswith(")")] == ["24 h)"]


def hash_of(context: Context) -> str:
    return plan.run(context).data["hash"]


def test_the_approved_plan_holds_through_phase_2_and_3(context: Surroundings, beat: Beats) -> None:
    approved = hash_of(context())
    refused = phase2.run(context(), plan="0" * 16)
    assert refused.outcome is Outcome.REFUSED
    assert f"--plan {approved}" in refused.checks[0].remedy
    assert phase2.run(context(), plan=approved).outcome is Outcome.DONE
    assert hash_of(context()) == approved
    with beat(Side.CODE), beat(Side.DATABASE):
        assert phase3.run(context(), plan=approved).outcome is Outcome.DONE
        assert rollback.run(context()).outcome is Outcome.DONE
    assert Cutover.objects.using(context().alias).get().plan_hash == ""


def change_the_code(context: Context, schedule: Schedule) -> None:
    schedule["hourly"]["schedule"] = crontab(minute=1)


def change_an_option_of_the_overlay(context: Context, schedule: Schedule) -> None:
    schedule["hourly"]["options"] = {"expires": 600, "time_limit": 5}


def edit_a_row(context: Context, schedule: Schedule) -> None:
    PeriodicTask.objects.using(context.alias).filter(name="hourly").update(queue="slow")


def enable_a_row(context: Context, schedule: Schedule) -> None:
    PeriodicTask.objects.using(context.alias).filter(name="hourly").update(enabled=True)


def enable_another_row(context: Context, schedule: Schedule) -> None:
    days = IntervalSchedule.objects.using(context.alias).create(every=1, period="days")
    PeriodicTask.objects.using(context.alias).create(name="own", task="demo.tasks.note", interval=days)


@pytest.mark.parametrize(
    "change",
    [change_the_code, change_an_option_of_the_overlay, edit_a_row, enable_a_row, enable_another_row],
)
def test_phase_3_refuses_once_the_approved_plan_no_longer_fits(
    context: Surroundings, schedule: Schedule, change: Callable[[Context, Schedule], None]
) -> None:
    assert phase2.run(context(), plan=hash_of(context())).outcome is Outcome.DONE
    change(context(), schedule)
    report = phase3.run(context(), accept_edits=True)
    assert "plan" in [check.name for check in report.checks if not check.ok]
    again = phase3.run(context(), accept_edits=True, plan=hash_of(context()))
    assert "plan" not in [check.name for check in again.checks if not check.ok]


def test_when_an_interval_falls_due_that_no_beat_under_the_lease_has_sent_is_not_known(
    context: Surroundings, schedule: Schedule
) -> None:
    """A stock beat has its own clock for it; a window that the plan names may hold its slots."""
    schedule["ticking"]["schedule"] = 6 * 3600.0
    report = plan.run(context())
    assert entry(context(), "ticking")["next_due_at"] is None
    assert "ticking" not in [one["entry"] for one in report.data["next_slots"]]
    assert any("next due not known, for no beat under the lease has sent it yet" in line for line in report.lines)
    assert "When these intervals fall due is not known, so a window may hold slots of theirs: ticking." in report.lines
    Entry.objects.using(context().alias).create(name="ticking", fingerprint="f", eligible_since=clock.now())
    assert entry(context(), "ticking")["next_due_at"] is not None
