"""A shadow run: a real standby computes what it would send, real claims of the code side are what it must come to."""

import datetime as dt
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from celery.beat import ScheduleEntry
from celery.schedules import crontab, schedule
from django_celery_beat.models import PeriodicTask

from cutover.beats.agenda import Agenda
from cutover.beats.missed import PASSED_OVER, SUPERSEDED
from cutover.beats.shadow import Shadow
from cutover.beats.sources import ScheduledEntry
from cutover.conf import CatchUpRule
from cutover.ledger.cursors import Cursors
from cutover.ledger.pauses import SITE
from cutover.models import Cutover, Entry, ShadowRun, ShadowSlot, Slot
from cutover.phases import facts, phase2
from cutover.phases.context import Context
from cutover.phases.evidence.comparison import compare
from cutover.phases.report import Outcome
from cutover.schedules.importer import Import
from cutover.types import CatchUp, EntryName, HolderId, Side
from demo.services import Valkey
from demo.waiting import wait_until
from tests.integration.phases.conftest import Beat
from tests.support.rooms import give_time

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

Surroundings = Callable[[], Context]
Beats = Callable[[Side], Beat]
WATCHED = dt.timedelta(seconds=4)


@pytest.fixture(autouse=True)
def begun(context: Surroundings, schedule: dict[str, dict[str, Any]]) -> None:
    """Phase 1 is done; of three entries two fall due while the test watches."""
    Cutover.objects.using(context().alias).update(phase=1)
    schedule["relative"] = {
        "task": "demo.tasks.note",
        "args": ("r",),
        "schedule": 1,
        "relative": True,
        "options": {"time_limit": 9},
    }


def test_both_sides_come_to_the_same_slots_and_nothing_is_sent_or_written(
    context: Surroundings, beat: Beats, valkey: Valkey
) -> None:
    with beat(Side.CODE), beat(Side.DATABASE):
        report = phase2.run(context(), shadow=WATCHED)
    assert report.outcome is Outcome.DONE, report
    found = report.data["shadow"]
    assert 9 <= found["alike"] <= 13
    assert (found["missing"], found["extra"], found["late"]) == ([], [], [])
    assert found["unproven"] == ["hourly", "yearly"]
    tasks = PeriodicTask.objects.using(context().alias)
    assert set(tasks.values_list("enabled", "last_run_at", "total_run_count")) == {(False, None, 0)}
    assert set(Slot.objects.using(context().alias).values_list("side", flat=True)) == {"code"}
    run = ShadowRun.objects.using(context().alias).get()
    assert run.ended_at is not None
    claimed = Slot.objects.using(context().alias).exclude(state="missed").count()  # where the machine stood still
    with valkey.client() as client:
        assert client.llen("celery") == claimed


def test_a_shadow_run_in_which_nothing_fell_due_proves_nothing(
    context: Surroundings, beat: Beats, schedule: dict[str, dict[str, Any]]
) -> None:
    del schedule["ticking"], schedule["relative"], schedule["hourly"]
    with beat(Side.CODE), beat(Side.DATABASE):
        report = phase2.run(context(), shadow=dt.timedelta(seconds=1))
    assert (report.outcome, report.outcome.exit_code) == (Outcome.INCONCLUSIVE, 3)
    assert report.data["shadow"]["unproven"] == ["yearly"]
    assert facts.read(context()).phase == 1


def test_what_a_pause_keeps_back_speaks_neither_for_a_shadow_run_nor_against_it(
    context: Surroundings, beat: Beats
) -> None:
    pauses = context().ledger.pauses
    with beat(Side.CODE), beat(Side.DATABASE):
        pauses.pause(SITE, None, "alice@host", "a restore")
        report = phase2.run(context(), shadow=WATCHED)
        found = report.data["shadow"]
        assert (report.outcome, found["alike"], found["extra"]) == (Outcome.INCONCLUSIVE, 0, []), report
        assert found["paused"] >= 9
        assert found["unproven"] == ["hourly", "relative", "ticking", "yearly"]
        assert "all that fell due was paused. Type `python manage.py cutover resume` first" in report.lines[-1]
        assert facts.read(context()).phase == 1
        pauses.pause(EntryName("relative"), None, "alice@host", "")
        pauses.resume(SITE, "alice@host")
        report = phase2.run(context(), shadow=WATCHED)
    found = report.data["shadow"]
    assert (report.outcome, found["extra"], found["unproven"]) == (Outcome.DONE, [], ["hourly", "relative", "yearly"])
    assert found["paused"] >= 3
    assert "Unproven, for nothing of theirs was sent, paused:" in report.lines


def test_a_standby_that_would_send_something_else_fails_the_phase(
    context: Surroundings, beat: Beats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cutover.phases.phase2.imported.same_parity", lambda context: [])
    assert phase2.run(context()).outcome is Outcome.DONE
    alias = context().alias
    minutely = type(PeriodicTask.objects.using(alias).get(name="hourly").crontab).objects.using(alias)
    other = minutely.create(minute="1", hour="1")
    PeriodicTask.objects.using(alias).filter(name="ticking").update(interval=None, crontab=other)
    monkeypatch.setattr("cutover.phases.phase2.import_entries", lambda *_, **__: Import())
    with beat(Side.CODE), beat(Side.DATABASE):
        report = phase2.run(context(), shadow=WATCHED)
    assert report.outcome is Outcome.FAILED
    assert {slot["entry"] for slot in report.data["shadow"]["missing"]} == {"ticking"}
    assert report.data["shadow"]["extra"] == []
    assert facts.read(context()).phase == 1
    assert "the code side claimed, the standby would not have sent" in "\n".join(report.lines)


def test_slots_that_are_extra_or_late_are_listed(context: Surroundings, beat: Beats) -> None:
    assert phase2.run(context()).outcome is Outcome.DONE
    alias, now = context().alias, dt.datetime.now(dt.UTC)
    run = ShadowRun.objects.using(alias).create(asked_at=now, seconds=10, began_at=now)
    second = dt.timedelta(seconds=1)
    for entry, due_at, seen_at in [
        ("ticking", now + second, now + 1.5 * second),
        ("hourly", now + second, now + 2.1 * second),
        ("yearly", now + second, now + second),
    ]:
        ShadowSlot.objects.using(alias).create(run=run, entry=entry, due_at=due_at, seen_at=seen_at)
        if entry != "yearly":
            Slot.objects.using(alias).create(
                entry=entry, due_at=due_at, epoch=1, side="code", state="published", task_id="0" * 32, claimed_at=now
            )
    found = compare(context(), run, now, now + 10 * second)
    assert (found.alike, found.missing) == (2, [])
    assert found.extra == [("yearly", now + second)]
    assert found.late == [("hourly", now + second)]
    assert found.unproven == ["relative"]
    assert found.differing


def test_a_slot_that_the_code_side_passed_over_is_in_its_schedule_all_the_same(context: Surroundings) -> None:
    alias, now = context().alias, dt.datetime.now(dt.UTC)
    assert phase2.run(context()).outcome is Outcome.DONE
    run = ShadowRun.objects.using(alias).create(asked_at=now, seconds=10, began_at=now)
    second = dt.timedelta(seconds=1)
    reasons = (PASSED_OVER, "older than the catch-up window", f"{SUPERSEDED}: queued already", PASSED_OVER)
    for n, reason in enumerate(reasons, 1):
        told = {"epoch": 1, "side": "code", "state": "missed", "reason": reason, "task_id": "0" * 32}
        Slot.objects.using(alias).create(entry="ticking", due_at=now + n * second, claimed_at=now, **told)
        if n < 4:
            ShadowSlot.objects.using(alias).create(
                run=run, entry="ticking", due_at=now + n * second, seen_at=now + n * second
            )
    found = compare(context(), run, now, now + 10 * second)
    assert (found.alike, found.missing, found.extra) == (2, [], [("ticking", now + 2 * second)])


def test_of_several_slots_seen_at_once_only_the_last_can_be_late(context: Surroundings) -> None:
    """It is the one that the standby would have sent."""
    alias, now = context().alias, dt.datetime.now(dt.UTC)
    assert phase2.run(context()).outcome is Outcome.DONE
    run = ShadowRun.objects.using(alias).create(asked_at=now, seconds=10, began_at=now)
    second = dt.timedelta(seconds=1)
    for entry, seen_after in (("ticking", 2.4), ("hourly", 3.2)):
        for n in (1, 2):
            told = {"epoch": 1, "side": "code", "state": "published", "task_id": "0" * 32}
            Slot.objects.using(alias).create(entry=entry, due_at=now + n * second, claimed_at=now, **told)
            ShadowSlot.objects.using(alias).create(
                run=run, entry=entry, due_at=now + n * second, seen_at=now + seen_after * second
            )
    found = compare(context(), run, now, now + 10 * second)
    assert (found.alike, found.late) == (4, [("hourly", now + 2 * second)])


def test_a_slot_that_the_standby_passes_over_is_recorded_too(context: Surroundings) -> None:
    """A standby that a busy machine held up for two of its slots has the same schedule as one that was not."""
    alias, app = context().alias, context().app
    asked_at = dt.datetime.now(dt.UTC)
    ShadowRun.objects.using(alias).create(asked_at=asked_at, seconds=60)
    often = ScheduleEntry(name="often", task="demo.tasks.note", schedule=schedule(dt.timedelta(seconds=0.1)), app=app)
    entries = {EntryName("often"): ScheduledEntry.of(often, CatchUpRule(CatchUp.LATEST, WATCHED))}
    shadow = Shadow(alias, HolderId("a:1:b"), lambda: entries)
    assert shadow.turn({"shadow_is_wished": True}) is not None
    give_time(0.5, "some of its slots have fallen due")
    shadow.turn(None)
    seen = sorted(ShadowSlot.objects.using(alias).values_list("due_at", flat=True))
    assert len(seen) >= 4
    assert {after - before for before, after in itertools.pairwise(seen)} == {dt.timedelta(seconds=0.1)}


def test_a_slot_that_is_claimed_as_the_run_begins_is_rehearsed_too(
    context: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    alias, app = context().alias, context().app
    asked_at, every, read = dt.datetime.now(dt.UTC), dt.timedelta(seconds=0.3), Cursors.read
    ShadowRun.objects.using(alias).create(asked_at=asked_at, seconds=60)
    Entry.objects.using(alias).create(name="often", fingerprint="f", eligible_since=asked_at)

    def claimed_first(cursors: Cursors, *args: Any, **named: Any) -> Any:
        of_code = {"epoch": 1, "side": "code", "state": "published", "task_id": "0" * 32}
        Slot.objects.using(alias).create(entry="often", due_at=asked_at + every, claimed_at=asked_at, **of_code)
        return read(cursors, *args, **named)

    monkeypatch.setattr(Cursors, "read", claimed_first)
    often = ScheduleEntry(name="often", task="demo.tasks.note", schedule=schedule(every), app=app)
    entries = {EntryName("often"): ScheduledEntry.of(often, CatchUpRule(CatchUp.LATEST, WATCHED))}
    shadow = Shadow(alias, HolderId("a:1:b"), lambda: entries)
    assert shadow.turn({"shadow_is_wished": True}) is not None
    seen = ShadowSlot.objects.using(alias).order_by("due_at").values_list("due_at", flat=True)
    wait_until(lambda: shadow.turn(None) is None or len(seen.all()), "it has recorded a slot")
    assert seen.first() == asked_at + every


def test_a_run_that_another_one_replaces_in_the_middle_of_a_write_ends_quietly(context: Surroundings) -> None:
    """Or the beat that rehearses would end with it."""
    alias, app = context().alias, context().app
    ShadowRun.objects.using(alias).create(asked_at=dt.datetime.now(dt.UTC), seconds=60)
    often = ScheduleEntry(name="often", task="demo.tasks.note", schedule=schedule(dt.timedelta(seconds=0.1)), app=app)
    entries = {EntryName("often"): ScheduledEntry.of(often, CatchUpRule(CatchUp.LATEST, WATCHED))}
    shadow = Shadow(alias, HolderId("a:1:b"), lambda: entries)
    assert shadow.turn({"shadow_is_wished": True}) is not None
    wait_until(lambda: shadow.turn(None) is None or ShadowSlot.objects.using(alias).count(), "it records")
    ShadowRun.objects.using(alias).all().delete()
    wait_until(lambda: shadow.turn(None) is None, "it has ended")
    assert not ShadowSlot.objects.using(alias).exists()


@pytest.mark.parametrize("side", [Side.CODE, Side.DATABASE])
def test_a_shadow_run_needs_a_leader_of_the_code_side_and_a_standby(
    context: Surroundings, beat: Beats, side: Side
) -> None:
    with beat(side):
        report = phase2.run(context(), shadow=WATCHED)
    assert report.outcome is Outcome.REFUSED
    wanted = "database standby" if side is Side.CODE else "code beat"
    [failed] = [check for check in report.checks if not check.ok]
    assert failed.name == wanted
    assert "--" not in failed.remedy, "phase 2 has no option to go on without"
    assert not PeriodicTask.objects.using(context().alias).exists()


@pytest.mark.timeout(300)
def test_crontabs_are_rehearsed_too(context: Surroundings, schedule: dict[str, dict[str, Any]], beat: Beats) -> None:
    schedule["minutely"] = {"task": "demo.tasks.note", "args": ("m",), "schedule": crontab()}
    with beat(Side.CODE), beat(Side.DATABASE):
        left = 60 - dt.datetime.now(dt.UTC).second
        left += 60 if left < 15 else 0  # a busy machine takes its time over the import
        report = phase2.run(context(), shadow=dt.timedelta(seconds=left + 3))
    assert report.outcome is Outcome.DONE, report
    assert "minutely" not in report.data["shadow"]["unproven"]


def test_of_two_standbys_exactly_one_rehearses(
    context: Surroundings, beat: Beats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one sees the wish too and leaves it alone, though both are woken at the same moment."""
    rehearsals = []

    class Counted(Agenda):
        def __init__(self) -> None:
            super().__init__()
            rehearsals.append(self)

    monkeypatch.setattr("cutover.beats.shadow.Agenda", Counted)
    with beat(Side.CODE), beat(Side.DATABASE), beat(Side.DATABASE):
        lines: list[str] = []
        site = context()
        site.progress = lines.append
        report = phase2.run(site, shadow=WATCHED)
        standbys = {b.holder for b in site.lease.beats() if b.side is Side.DATABASE}
    assert len(standbys) == 2
    assert report.outcome is Outcome.DONE, report
    found = report.data["shadow"]
    assert 9 <= found["alike"] <= 13
    assert (found["missing"], found["extra"], found["late"]) == ([], [], [])
    run = ShadowRun.objects.using(site.alias).get()
    assert run.holder in standbys
    assert lines.count(f"shadow run: {run.holder.rpartition(':')[0]} rehearses") == 1
    assert len([agenda for agenda in rehearsals if len(agenda)]) == 1
