"""What is sent is known from the beat that sends it: the process of a command may have another schedule."""

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pytest
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from cutover import clock
from cutover.election.lease import Details
from cutover.models import Cutover, Declaration, Fence, Term
from cutover.phases import phase1, phase2, phase3, plan
from cutover.phases.context import Context
from cutover.phases.evidence import sent
from cutover.phases.gates import installation
from cutover.phases.report import Outcome
from cutover.types import HolderId, Identity, Side
from demo.waiting import wait_until
from tests.integration.phases.conftest import Beat
from tests.support.site import Site

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

Surroundings = Callable[[], Context]
Beats = Callable[[Side], Beat]
Schedule = dict[str, dict[str, Any]]


def sent_schedule(output: str) -> str:
    """What a command says under the gate of that name."""
    [found] = re.findall(r"^[✓✗] sent schedule: (.*)", output, re.MULTILINE)
    return found


def test_a_schedule_that_only_the_beats_process_has_stops_every_phase(sqlite_site: Site) -> None:
    site = sqlite_site
    site.env["CODE_SCHEDULE"] = "tests.support.by_process.beat_schedule"
    site.prodserver("legacy-beat")
    site.prodserver("worker")
    wait_until(lambda: site.status().get("lease"), "the beat leads", poll_s=0.5)
    refused = site.cutover("phase1")
    assert refused.exit_code == 3, refused.output
    assert re.findall(r"^✗ ([^:]+):", refused.output, re.MULTILINE) == ["sent schedule"]
    said = sent_schedule(refused.output)
    assert said == sent_schedule(site.cutover("plan").output)
    assert said.partition(" (by ")[0] == (
        "another-message: task, arguments or options are others in the beat than in this process; "
        "another-time: schedule is every 7200s in the beat, every 3600s in this process; "
        "only-others (every 7200s) is in the schedule of this process and is not sent by the beat; "
        "only-the-beat (every 7200s) is sent by the beat and is not in the schedule of this process"
    )


@pytest.mark.parametrize("run", [phase2.run, phase3.run])
def test_each_phase_asks_the_beat_again(context: Surroundings, beat: Beats, schedule: Schedule, run: Any) -> None:
    Cutover.objects.using(context().alias).update(phase=1)
    with beat(Side.CODE):
        if run is phase3.run:
            assert phase2.run(context()).outcome is Outcome.DONE
        assert installation.sent_schedule(context()).ok
        del schedule["hourly"]  # this process reads it again, the beat has it for as long as it lives
        report = run(context())
    assert report.outcome is Outcome.REFUSED
    [check] = [check for check in report.checks if check.name == "sent schedule"]
    assert check.detail.startswith("hourly (crontab 0 * * * * UTC) is sent by the beat")


def test_a_standby_that_would_send_something_else_is_named(
    context: Surroundings, beat: Beats, schedule: Schedule
) -> None:
    with beat(Side.CODE):
        assert installation.sent_schedule(context()).ok
        hourly = schedule.pop("hourly")
        with beat(Side.CODE):
            schedule["hourly"] = hourly
            check = installation.sent_schedule(context())
            assert not check.ok
            assert check.detail.endswith("would send another schedule than this process reads, should it lead")
        assert installation.sent_schedule(context()).ok


def test_what_no_beat_has_said_is_not_known(context: Surroundings) -> None:
    check = installation.sent_schedule(context())
    assert (check.ok, check.assumed) == (True, True)
    assert "not known" in check.detail


def test_a_leader_that_says_nothing_is_not_taken_for_one_that_sends_the_same(context: Surroundings, alias: str) -> None:
    Fence.objects.using(alias).update(epoch=4)
    Term.objects.using(alias).create(epoch=4, holder="web:1:x", side="code", host="web", pid=1, started_at=clock.now())
    said = {name: list(marks) for name, marks in sent.here(context()).items()}
    Declaration.objects.using(alias).create(side="code", holder="web:0:w", declared_at=clock.now(), entries=said)
    check = installation.sent_schedule(context(), patient=False)
    assert (check.ok, check.detail) == (False, "the beat web:1:x has not said what it sends")
    Declaration.objects.using(alias).update(holder="web:1:x")
    assert installation.sent_schedule(context()).ok
    Term.objects.using(alias).update(ended_at=clock.now())
    Declaration.objects.using(alias).update(entries={**said, "gone": ["every 60s", ""]})
    check = installation.sent_schedule(context())
    assert not check.ok, "where nobody leads the last word counts"
    assert check.detail.startswith("gone (every 60s) is sent by the beat")


def test_a_beat_that_is_about_to_lead_is_waited_for(context: Surroundings, alias: str) -> None:
    """What the ledger knows of an election comes a moment after the lease, and before that a beat is warm."""
    surroundings = context()
    beat = Identity(HolderId("web:1:x"), host="web", pid=1, release="")
    said = Details(
        side=Side.CODE, host="web", pid=1, release="", role="standby", warm=True, schedule_version="", entries=3,
        client_id=int(surroundings.redis.client_id()),
    )  # fmt: skip

    def judged() -> tuple[bool, bool]:
        check = installation.sent_schedule(surroundings, patient=False)
        return check.ok, "has not said what it sends" in check.detail

    assert judged() == (True, False), "there is no beat"
    surroundings.lease.report(beat, said, dt.timedelta(seconds=60))
    assert judged() == (False, True), "it is warm, and nobody leads"
    surroundings.lease.leave(beat.holder)
    assert judged() == (True, False)
    surroundings.lease.acquire(beat, Side.CODE, said.client_id)
    assert judged() == (False, True), "it has the lease, and the ledger knows of no term"
    Fence.objects.using(alias).update(side="database")
    assert judged() == (True, False), "it will not lead: the other side is active"


def test_a_beat_says_it_again_when_it_leads_again(context: Surroundings, beat: Beats, alias: str) -> None:
    declarations = Declaration.objects.using(alias)
    with beat(Side.CODE), beat(Side.CODE):
        first = wait_until(lambda: declarations.first(), "the leader has declared")
        declarations.update(entries={}, declared_at=clock.now() - dt.timedelta(days=1))
        Fence.objects.using(alias).update(epoch=first and 99)
        wait_until(lambda: declarations.get().entries, "the next leader has declared")


def test_a_row_of_another_name_or_a_disabled_one_is_a_row(context: Surroundings, schedule: Schedule) -> None:
    Cutover.objects.using(context().alias).update(phase=1)
    assert phase2.run(context()).outcome is Outcome.DONE
    assert sent.without_row(context(), declared=True) == []
    schedule["added"] = {"task": "demo.tasks.note", "schedule": 60}
    assert sent.without_row(context(), declared=True) == ["added"]
    minutes = IntervalSchedule.objects.using(context().alias).create(every=1, period="minutes")
    PeriodicTask.objects.using(context().alias).create(name="added", task="t", interval=minutes, enabled=False)
    assert sent.without_row(context(), declared=True) == []
    alias = context().alias
    Declaration.objects.using(alias).create(
        side="code", holder="h", declared_at=clock.now(), entries={"beats-own": ["every 60s", ""]}
    )
    assert sent.without_row(context(), declared=True) == ["beats-own"]
    assert sent.without_row(context(), declared=False) == []


def test_no_beat_asked_for_is_no_reason_to_refuse(context: Surroundings) -> None:
    report = phase1.run(context(), no_code_beat=True)
    assert report.outcome is Outcome.DONE, report
    assert [check.ok for check in plan.run(context()).checks] == [True]
