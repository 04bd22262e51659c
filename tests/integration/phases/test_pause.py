"""Pause and resume as an operator types them, with real beats: nothing is sent in between, and all commands say so."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from cutover import models
from cutover.election.lease import Lease
from cutover.errors import ConfigurationError, LeaseUnavailable
from cutover.observe import status
from cutover.observe.report import compose
from cutover.phases import pause, plan, probe, resume
from cutover.phases.context import Context
from cutover.phases.evidence import lateness
from cutover.phases.evidence.pauses import with_pauses
from cutover.phases.report import Outcome
from cutover.types import ProbeRole, Side
from demo.waiting import wait_until
from tests.integration.phases.conftest import Beat
from tests.support.rooms import give_time

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

Surroundings = Callable[[], Context]
Beats = Callable[[Side], Beat]


def claimed(alias: str) -> int:
    return models.Slot.objects.using(alias).exclude(state="missed").count()


def test_after_pause_returns_nothing_is_claimed_until_resume_and_what_it_kept_back_is_named(
    context: Surroundings, beat: Beats, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lateness, "OVERDUE", dt.timedelta(seconds=0.5))
    with beat(Side.CODE):
        wait_until(lambda: claimed(alias) > 2, "the entry is sent twice a second")
        report = pause.run(context(), reason="the database moves")
        assert (report.outcome, report.data["waiting"]) == (Outcome.DONE, 0)
        assert report.undo == "python manage.py cutover resume"
        before = claimed(alias)
        give_time(3.2, "it falls due six times", unless=lambda: claimed(alias) != before)
        assert claimed(alias) == before
        seen = status.run(context(), check=True)
        assert seen.outcome is Outcome.FAILED
        [problem] = seen.data["problems"]
        assert problem.startswith("everything is paused since")
        assert problem.endswith("(the database moves): nothing is sent")
        assert {one["findings"][0]["condition"] for one in seen.document()["entries"]} == {"paused"}
        assert any(line.startswith("Paused    everything is paused since") for line in seen.lines)
        leader = probe.run(context(), ProbeRole.LEADER)
        assert (leader.data["healthy"], leader.data["reason"].rpartition("; ")[2]) == (True, "everything is paused")
        assert pause.run(context()).outcome is Outcome.ALREADY
        assert resume.run(context()).outcome is Outcome.DONE
        wait_until(lambda: claimed(alias) > before + 2, "it is sent again")
        assert resume.run(context()).outcome is Outcome.ALREADY
    missed = models.Slot.objects.using(alias).filter(state="missed")
    assert missed.count() >= 5
    assert set(missed.values_list("reason", flat=True)) == {
        "paused (the database moves): a later slot was sent in its stead"
    }
    told = compose.run(context())
    assert [one["reason"] for one in told.data["pauses"]] == ["the database moves"]
    assert "the database moves" in told.page()


def test_one_entry_is_paused_for_a_time_and_all_commands_name_it(
    context: Surroundings, beat: Beats, alias: str
) -> None:
    with beat(Side.CODE):
        wait_until(lambda: claimed(alias), "the entry is sent")
        report = pause.run(context(), entry="ticking", length=dt.timedelta(seconds=4))
        assert report.undo == "python manage.py cutover resume --entry ticking"
        before = claimed(alias)
        seen = status.run(context(), check=True)
        assert seen.outcome is Outcome.DONE, "one entry that somebody has paused is no reason to wake anybody"
        assert [one["entry"] for one in seen.data["paused"]] == ["ticking"]
        planned = with_pauses(context(), plan.run(context()))
        assert [one["entry"] for one in planned.data["paused"]] == ["ticking"]
        assert "ticking is paused since" in planned.lines[-1]
        wait_until(lambda: claimed(alias) > before, "its time is over, and it is sent again by itself")
        row = models.Pause.objects.using(alias).get()
        slot = models.Slot.objects.using(alias).exclude(state="missed").order_by("-due_at").first()
        assert slot.claimed_at >= row.until


def test_what_there_is_not_cannot_be_paused_and_the_nearest_is_named(context: Surroundings, alias: str) -> None:
    for command in (pause.run, resume.run):
        with pytest.raises(ConfigurationError, match="There is no entry 'hourli'; did you mean 'hourly'"):
            command(context(), entry="hourli")
    assert not models.Pause.objects.using(alias).exists()


def test_without_redis_a_pause_is_committed_all_the_same(
    context: Surroundings, alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: Lease) -> None:
        raise LeaseUnavailable("Redis gives no answer")

    monkeypatch.setattr(Lease, "announce_schedule", away)
    assert pause.run(context(), length=dt.timedelta(hours=2)).outcome is Outcome.DONE
    again: Any = pause.run(context(), length=dt.timedelta(hours=3))
    assert again.outcome is Outcome.DONE, "it says another end"
    row = models.Pause.objects.using(alias).get()
    assert row.until - row.paused_at > dt.timedelta(hours=2, minutes=59)


def test_what_is_claimed_and_not_published_is_said_to_wait(context: Surroundings, alias: str) -> None:
    now = context().ledger.fence.read_now()
    given = {"epoch": 1, "side": "code", "state": "claimed", "claimed_at": now, "due_at": now}
    models.Slot.objects.using(alias).create(entry="hourly", task_id="0" * 32, **given)
    report = pause.run(context())
    assert report.data["waiting"] == 1
    assert "1 slot was claimed before and is not published" in "\n".join(report.lines)
