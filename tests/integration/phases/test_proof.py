"""Phase 4 passes on whole evidence alone: it fails on one slot that is absent, missed or stuck, and waits for more."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from celery.schedules import crontab
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from pytest_django import Settings

from cutover import clock
from cutover.beats.missed import WITHHELD
from cutover.errors import PhaseFailed
from cutover.models import Cutover, Declaration, Entry, Fence, ImportedEntry, Slot, Transition
from cutover.observe import overview
from cutover.phases import facts, phase2, phase3, phase4, rollback
from cutover.phases.context import Context
from cutover.phases.evidence import judging
from cutover.phases.operations import snapshot
from cutover.phases.report import Check, Outcome, Report
from cutover.schedules.fingerprint import fingerprint
from cutover.types import EntryName, Epoch, HolderId, Missed, Side, Slotless, Term
from cutover.types import Slot as SlotName
from tests.integration.phases.conftest import led

pytestmark = pytest.mark.integration

Surroundings = Callable[[], Context]
MINUTES = 30


@pytest.fixture
def schedule() -> dict[str, dict[str, Any]]:
    return {
        "minutely": {"task": "demo.tasks.note", "schedule": 60, "args": ("m",)},
        "yearly": {
            "task": "demo.tasks.note",
            "schedule": crontab(0, 0, month_of_year=1, day_of_month=1),
            "args": ("y",),
        },
    }


class Site:
    """A project that switched half an hour ago, one slot of ``minutely`` due in each minute since."""

    def __init__(self, context: Surroundings) -> None:
        self.context = context
        self.alias = context().alias
        self.ledger = context().ledger
        self.switched_at = clock.now().replace(microsecond=0) - dt.timedelta(minutes=MINUTES)
        self.term = led(self.alias, Term(Epoch(7), Side.DATABASE, HolderId("host:1:x")))
        Cutover.objects.using(self.alias).update(phase=1)
        assert phase2.run(context()).outcome is Outcome.DONE
        snapshot.keep(context())
        snapshot.enable(context())
        Fence.objects.using(self.alias).update(epoch=7, side=Side.DATABASE, switched_at=self.switched_at)
        Cutover.objects.using(self.alias).update(phase=3, switch_epoch=6, switched_at=self.switched_at)
        for row in PeriodicTask.objects.using(self.alias):
            Entry.objects.using(self.alias).create(
                name=row.name,
                fingerprint=fingerprint(row.schedule),
                eligible_since=self.switched_at - dt.timedelta(seconds=90),
            )

    def slot(self, minute: int) -> SlotName:
        """The slot that falls due half a minute into a minute since the switch; before it for a negative one."""
        return SlotName(self.switched_at + dt.timedelta(minutes=minute, seconds=30), EntryName("minutely"))

    def send(self, *minutes: int, confirm: bool = True, run: bool = True) -> None:
        """Claim, publish and run slots, as far as that is wanted."""
        slots = [self.slot(minute) for minute in minutes]
        self.ledger.claims.claim(self.term, slots)
        if confirm:
            self.ledger.claims.confirm(slots)
        if run:
            for slot in slots:
                self.ledger.runs.start(slot, self.term.epoch, "a-worker")

    def age(self, minute: int) -> None:
        """Let the record of a slot be as old as the slot itself."""
        row = Slot.objects.using(self.alias).filter(due_at=self.slot(minute).due_at)
        row.update(claimed_at=self.slot(minute).due_at)
        row.exclude(published_at=None).update(published_at=self.slot(minute).due_at)

    def prove(self, **options: Any) -> Report:
        """Phase 4; what falls due once a year is waived."""
        return phase4.run(self.context(), **{"waive": ["yearly"], **options})


@pytest.fixture
def site(context: Surroundings) -> Site:
    return Site(context)


def findings(report: Report, kind: str) -> list[tuple[str, str]]:
    return [(found["due_at"], found["reason"]) for found in report.data[kind]]


ALL = range(MINUTES)


def test_whole_evidence_proves_nothing_while_a_beat_may_send_besides_that_nobody_can_hear(site: Site) -> None:
    site.send(*ALL)
    Slot.objects.using(site.alias).update(run_by="1@server#1 host/boot/1:7:123:abcd:5.4.0")
    report = site.prove()
    assert report.outcome is Outcome.INCONCLUSIVE
    assert "cannot be heard for tasks demo.tasks.note" in report.checks[0].detail
    assert facts.read(site.context()).phase == 3
    site.ledger.senders.count(Slotless("demo.tasks.note", "minutely", "gen7@web"), 4, 1, clock.now())
    report = site.prove(called_by_hand=["demo.tasks.note"])
    assert report.outcome is Outcome.DONE
    [line] = [line for line in report.lines if line.startswith("  demo.tasks.note from gen7@web: 4, the latest")]
    assert "told apart" not in line
    row = PeriodicTask.objects.using(site.alias).get(name="minutely")
    row.pk, row.name = None, "another"
    row.save(using=site.alias)
    [line] = [line for line in phase4._slotless(site.context(), site.switched_at) if "gen7@web" in line]
    assert line.endswith("several rows send it alike, and cannot be told apart")
    assert [one["sent_alike"] for one in overview.take(site.context()).data["slotless"]] == [True]


def test_whole_evidence_closes_the_cutover(site: Site) -> None:
    site.send(*ALL)
    report = site.prove()
    assert report.outcome is Outcome.DONE
    assert (report.data["proven"], report.data["failures"], report.data["unproven"]) == (MINUTES, [], [])
    assert any("legacy-beat" in line for line in report.lines)
    assert facts.read(site.context()).phase == 4
    assert site.prove().outcome is Outcome.ALREADY
    assert phase3.run(site.context()).outcome is Outcome.ALREADY


def test_many_slots_of_one_entry_prove_no_other(site: Site) -> None:
    site.send(*ALL)
    report = site.prove(waive=[])
    assert (report.outcome, report.outcome.exit_code) == (Outcome.INCONCLUSIVE, 3)
    assert facts.read(site.context()).phase == 3
    assert (report.data["proven"], report.data["entries_moved"], report.data["entries_proven"]) == (MINUTES, 2, 1)
    assert report.data["unproven"] == ["yearly"]
    assert "Of the 2 entries that were moved 1 is proven, 1 is not." in report.lines
    assert any("yearly: nothing of it has fallen due since the switch; next due at" in line for line in report.lines)
    assert report.lines[-1].endswith("python manage.py cutover phase4 --waive yearly")


def test_what_is_waived_by_name_is_recorded_and_said_again(site: Site) -> None:
    site.send(*ALL)
    report = site.prove(waive=["yearly", "minutely"])
    assert (report.outcome, report.data["waived"]) == (Outcome.DONE, ["yearly"]), "what is proved needs no waiver"
    assert Transition.objects.using(site.alias).get(step="waive").detail == "yearly"
    again = site.prove(waive=[])
    assert again.outcome is Outcome.ALREADY
    assert "Closed without a proof of what was waived by name: yearly." in again.lines


def test_a_name_that_is_no_entry_waives_nothing(site: Site) -> None:
    site.send(*ALL)
    report = site.prove(waive=["yaerly"])
    assert report.outcome is Outcome.REFUSED
    [check] = report.checks
    assert check.detail == "no entry is named 'yaerly'; did you mean 'yearly'?"
    assert facts.read(site.context()).phase == 3


def test_no_waiver_helps_a_slot_that_was_missed(site: Site) -> None:
    site.send(*[minute for minute in ALL if minute != 7])
    assert site.prove(waive=["yearly", "minutely"]).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"enabled": False}, "its row is disabled: nothing sends it"),
        ({"name": "annually"}, "nothing of it has fallen due since the switch"),
        (None, "it has no row: nothing sends it"),
    ],
    ids=["disabled", "renamed", "deleted"],
)
def test_an_entry_whose_row_was_changed_is_to_be_proved_all_the_same(
    site: Site, change: dict[str, Any] | None, why: str
) -> None:
    site.send(*ALL)
    row = PeriodicTask.objects.using(site.alias).filter(name="yearly")
    if change is None:
        row.delete()
    else:
        row.update(**change)
    name = (change or {}).get("name", "yearly")
    Entry.objects.using(site.alias).filter(name="yearly").update(name=name)
    report = site.prove(waive=[])
    assert (report.outcome, report.data["unproven"]) == (Outcome.INCONCLUSIVE, [name])
    assert any(f"{name}: {why}" in line for line in report.lines)
    assert site.prove(waive=[name]).outcome is Outcome.DONE


def test_what_only_the_beat_sent_before_the_switch_is_named(site: Site, schedule: dict[str, dict[str, Any]]) -> None:
    site.send(*ALL)
    said = {"nightly": ["every 86400s", ""]}
    Declaration.objects.using(site.alias).create(side="code", holder="h", declared_at=site.switched_at, entries=said)
    schedule["added"] = {"task": "demo.tasks.note", "schedule": 60}
    report = site.prove()
    assert (report.outcome, report.data["unproven"]) == (Outcome.INCONCLUSIVE, ["added", "nightly"])
    assert any("nightly: it has no row: nothing sends it" in line for line in report.lines)


def test_there_is_no_waiting_for_what_falls_due_later_than_that(site: Site) -> None:
    site.send(*ALL)
    context, waited = site.context(), []
    context.progress = lambda line: waited.append(line) if line.startswith("waiting") else None
    report = phase4.run(context, wait=dt.timedelta(minutes=2))
    assert (report.outcome, waited) == (Outcome.INCONCLUSIVE, [])


def test_the_cadence_is_that_of_the_last_slot_before_the_switch(site: Site) -> None:
    earlier = SlotName(site.switched_at - dt.timedelta(seconds=10), EntryName("minutely"))
    site.ledger.claims.claim(site.term, [earlier])
    site.send(*ALL)
    report = site.prove()
    assert report.outcome is Outcome.FAILED
    assert {reason.partition(";")[0] for _, reason in findings(report, "failures")} == {
        "was never claimed",
        "is no slot of the entry's schedule",
    }


def test_one_slot_that_was_never_claimed_is_named(site: Site) -> None:
    site.send(*[minute for minute in ALL if minute != 7])
    report = site.prove()
    assert report.outcome is Outcome.FAILED
    assert findings(report, "failures") == [(site.slot(7).due_at.isoformat(), "was never claimed")]
    assert any("minutely" in line and "never claimed" in line for line in report.lines)
    assert facts.read(site.context()).phase == 3


def test_a_missed_slot_is_named_with_its_reason(site: Site) -> None:
    site.send(*[minute for minute in ALL if minute != 7])
    site.ledger.claims.claim(site.term, [], [Missed(site.slot(7), "older than the catch-up window", passed_over=2)])
    [(_, reason)] = findings(site.prove(), "failures")
    assert reason == "was missed: older than the catch-up window (and 2 older ones)"


def test_what_the_projects_own_code_withheld_is_no_failure_and_proves_nothing(site: Site) -> None:
    site.send(*[minute for minute in ALL if minute != 7])
    site.ledger.claims.claim(site.term, [], [Missed(site.slot(7), WITHHELD)])
    report = site.prove()
    assert (report.outcome, report.data["proven"], report.data["failures"]) == (Outcome.DONE, len(ALL) - 1, [])
    assert "Not sent, for the project's own scheduler or task chose to send nothing: minutely 1." in report.lines


def test_an_entry_of_which_all_was_withheld_is_not_proved(site: Site) -> None:
    site.ledger.claims.claim(site.term, [], [Missed(site.slot(minute), WITHHELD) for minute in ALL])
    report = site.prove()
    assert (report.outcome, report.data["unproven"]) == (Outcome.INCONCLUSIVE, ["minutely"])
    assert any("the project's own scheduler or task sent no message" in line for line in report.lines)


@pytest.mark.parametrize(
    ("confirm", "said"), [(False, "claimed, not published"), (True, "published, its run not started")]
)
def test_a_stuck_slot_fails_and_a_young_one_is_waited_for(site: Site, confirm: bool, said: str) -> None:
    site.send(*[minute for minute in ALL if minute != 7])
    site.send(7, confirm=confirm, run=False)
    young = site.prove()
    assert young.outcome is Outcome.INCONCLUSIVE
    assert findings(young, "pending") == [(site.slot(7).due_at.isoformat(), said)]
    site.age(7)
    old = site.prove()
    assert old.outcome is Outcome.FAILED
    assert findings(old, "failures") == [(site.slot(7).due_at.isoformat(), said)]


def test_too_little_evidence_is_inconclusive_and_says_how_long_to_wait(site: Site) -> None:
    site.send(*ALL)
    report = site.prove(slots=MINUTES + 3)
    assert report.outcome is Outcome.INCONCLUSIVE
    assert report.outcome.exit_code == 3
    due_at = site.slot(MINUTES + 2).due_at
    assert any(f"due at {due_at:%Y-%m-%d %H:%M:%S} UTC, in " in line for line in report.lines)
    assert facts.read(site.context()).phase == 3
    assert site.prove(slots=MINUTES).outcome is Outcome.DONE


def test_a_rollback_does_not_have_to_wait_for_a_proof(site: Site) -> None:
    site.send(*ALL)
    proving, went_back = site.context(), []

    def meanwhile(line: str) -> None:
        if line.startswith("waiting for enough slots"):
            went_back.append(rollback.run(site.context(), force=True).outcome)

    proving.progress = meanwhile
    report = phase4.run(proving, slots=MINUTES + 3, wait=dt.timedelta(minutes=1), waive=["yearly"])
    assert went_back == [Outcome.DONE]
    assert report.outcome is Outcome.REFUSED
    assert facts.read(site.context()).phase == 2


def test_deduplicated_messages_are_counted_and_are_no_failure(site: Site) -> None:
    site.send(*ALL)
    site.ledger.runs.count_deduplicated(site.slot(3))
    report = site.prove()
    assert (report.outcome, report.data["deduplicated"]) == (Outcome.DONE, 1)


def test_a_row_that_was_edited_is_proved_from_its_edit_on(site: Site) -> None:
    half_hourly = IntervalSchedule.objects.using(site.alias).create(every=120, period="seconds")
    tasks = PeriodicTask.objects.using(site.alias).filter(name="minutely")
    tasks.update(interval=half_hourly)
    site.send(*range(10))
    assert "minutely" in site.prove(slots=99).data["unproven"]
    Entry.objects.using(site.alias).filter(name="minutely").update(
        fingerprint=fingerprint(tasks.get().schedule), eligible_since=site.slot(9).due_at + dt.timedelta(seconds=1)
    )
    site.send(*range(11, MINUTES, 2))
    report = site.prove(slots=1)
    assert (report.outcome, report.data["proven"]) == (Outcome.DONE, 20)


@pytest.mark.parametrize("fields", [{}, {"fingerprint": "not read yet"}], ids=["read", "not read yet"])
def test_what_was_missed_before_a_row_was_edited_stays_missed(site: Site, fields: dict[str, str]) -> None:
    site.send(*[minute for minute in ALL if minute != 7])
    site.ledger.claims.claim(site.term, [], [Missed(site.slot(7), "older than the catch-up window")])
    Entry.objects.using(site.alias).filter(name="minutely").update(eligible_since=site.slot(10).due_at, **fields)
    report = site.prove()
    assert report.outcome is Outcome.FAILED
    assert [due_at for due_at, _ in findings(report, "failures")] == [site.slot(7).due_at.isoformat()]


@pytest.mark.parametrize(
    ("limit", "due"),
    [
        ({"start_time": dt.timedelta(days=2)}, ()),
        ({"expires": dt.timedelta(days=-2)}, ()),
        ({"start_time": dt.timedelta(minutes=-10)}, range(-10, 0)),
        ({"expires": dt.timedelta(minutes=-20)}, range(-MINUTES, -20)),
    ],
    ids=["not yet", "no more", "since a while", "until a while ago"],
)
def test_outside_its_own_limits_a_row_is_owed_nothing(site: Site, limit: dict[str, dt.timedelta], due: Any) -> None:
    site.send(*ALL)
    now = site.switched_at + dt.timedelta(minutes=MINUTES)
    limits = {name: now + span for name, span in limit.items()}
    minutely = IntervalSchedule.objects.using(site.alias).create(every=60, period="seconds")
    row = PeriodicTask.objects.using(site.alias).create(name="limited", task="t", interval=minutely, **limits)
    Entry.objects.using(site.alias).create(
        name="limited",
        fingerprint=fingerprint(row.schedule),
        not_before=limits.get("start_time"),
        not_after=limits.get("expires"),
        eligible_since=site.switched_at,
    )
    offset = dt.timedelta(minutes=0 if "start_time" in limit else 1)
    slots = [SlotName(now + dt.timedelta(minutes=minute) + offset, EntryName("limited")) for minute in due]
    slots = [slot for slot in slots if slot.due_at < limits.get("expires", now)]
    site.ledger.claims.claim(site.term, slots)
    site.ledger.claims.confirm(slots)
    for slot in slots:
        site.ledger.runs.start(slot, site.term.epoch, "a-worker")
    report = site.prove()
    assert (report.outcome, report.data["failures"]) == (Outcome.DONE, [])
    assert report.data["proven"] == MINUTES + len(slots)


def test_what_was_sent_before_an_end_was_set_into_the_past_counts_all_the_same(site: Site) -> None:
    site.send(*ALL)
    ended = site.slot(10).due_at
    PeriodicTask.objects.using(site.alias).filter(name="minutely").update(expires=ended)
    for noticed in (False, True):
        if noticed:
            Entry.objects.using(site.alias).filter(name="minutely").update(not_after=ended)
        report = site.prove(slots=MINUTES + 1)
        assert (report.outcome, report.data["failures"]) == (Outcome.INCONCLUSIVE, [])
        assert report.data["proven"] == MINUTES


def test_an_end_that_is_far_away_hides_nothing_that_was_never_claimed(site: Site) -> None:
    site.send(*[minute for minute in ALL if minute != 7])
    end = clock.now().replace(microsecond=0) + dt.timedelta(days=300)
    PeriodicTask.objects.using(site.alias).filter(name="minutely").update(expires=end)
    Entry.objects.using(site.alias).filter(name="minutely").update(not_after=end)
    report = site.prove()
    assert report.outcome is Outcome.FAILED
    assert findings(report, "failures") == [(site.slot(7).due_at.isoformat(), "was never claimed")]


def test_a_message_that_is_to_wait_is_not_missed_while_it_does(site: Site) -> None:
    ImportedEntry.objects.using(site.alias).filter(name="minutely").update(options={"countdown": 600})
    site.send(*range(MINUTES - 8))
    site.send(*range(MINUTES - 8, MINUTES), run=False)
    for minute in ALL:
        site.age(minute)
    report = site.prove()
    assert (report.outcome, report.data["failures"]) == (Outcome.INCONCLUSIVE, [])
    assert len(report.data["pending"]) == 8
    Slot.objects.using(site.alias).filter(due_at=site.slot(7).due_at).update(run_started_at=None)
    assert [due_at for due_at, _ in findings(site.prove(), "failures")] == [site.slot(7).due_at.isoformat()]


def test_a_claim_that_was_never_published_is_not_one_of_a_message_that_waits(site: Site) -> None:
    ImportedEntry.objects.using(site.alias).filter(name="minutely").update(options={"countdown": 86_400})
    site.send(*ALL)
    slot = site.slot(MINUTES - 3)
    Slot.objects.using(site.alias).filter(due_at=slot.due_at).update(
        state="claimed", published_at=None, run_started_at=None, claimed_at=slot.due_at
    )
    failed = dict(findings(site.prove(), "failures"))
    assert failed[slot.due_at.isoformat()] == "claimed, not published"


@pytest.mark.parametrize("phase", [3, 2], ids=["phase 3 is done", "phase 3 was killed after its switch"])
def test_a_rollback_that_finds_no_leader_forgets_nothing_of_what_was_missed(
    site: Site, monkeypatch: pytest.MonkeyPatch, phase: int
) -> None:
    Cutover.objects.using(site.alias).update(phase=phase)
    site.send(*[minute for minute in ALL if minute != 7])
    site.ledger.claims.claim(site.term, [], [Missed(site.slot(7), "older than the catch-up window")])
    for gate in ("standby", "standbys_loaded"):  # one that stood by a moment ago, and does not take over
        monkeypatch.setattr(f"cutover.phases.rollback.beats.{gate}", lambda *_: Check("code standby", True, "it is up"))
    context = site.context()
    context.config = replace(context.config, takeover_timeout=dt.timedelta(seconds=0.2))
    with pytest.raises(PhaseFailed, match="database side is active again"):
        rollback.run(context)
    assert facts.read(site.context()).side is Side.DATABASE
    assert facts.read(site.context()).switched_at == site.switched_at
    Cutover.objects.using(site.alias).update(phase=3)
    report = site.prove()
    assert report.outcome is Outcome.FAILED
    assert [due_at for due_at, _ in findings(report, "failures")] == [site.slot(7).due_at.isoformat()]


def test_a_row_that_was_disabled_is_owed_nothing(site: Site) -> None:
    site.send(*range(20))
    PeriodicTask.objects.using(site.alias).filter(name="minutely").update(enabled=False)
    assert site.prove().outcome is Outcome.DONE


def test_a_closed_cutover_whose_rollback_was_killed_after_its_switch_is_closed_no_more(site: Site) -> None:
    Cutover.objects.using(site.alias).update(phase=4)
    Fence.objects.using(site.alias).update(side=Side.CODE)
    report = site.prove()
    assert report.outcome is Outcome.REFUSED
    assert report.next_command == phase2.run(site.context()).next_command == "python manage.py cutover rollback"


def test_before_the_switch_there_is_nothing_to_prove(site: Site) -> None:
    assert rollback.run(site.context(), force=True).outcome is Outcome.DONE
    report = site.prove()
    assert report.outcome is Outcome.REFUSED
    assert report.next_command.endswith("phase3")


def test_slots_that_are_as_they_should_be_are_counted_and_not_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(judging, "_judge", lambda evidence, name, slot, **_: read.append(slot.due_at))
    site.send(*ALL)
    site.send(5, confirm=False, run=False)
    Slot.objects.using(site.alias).filter(due_at=site.slot(5).due_at).update(run_started_at=None)
    assert (site.prove().data["proven"], read) == (MINUTES - 1, [site.slot(5).due_at])


def test_slots_that_were_put_off_are_found_though_as_many_are_there(site: Site) -> None:
    site.send(*ALL)
    for minute, seconds in ((4, 1), (5, -1)):
        row = Slot.objects.using(site.alias).filter(due_at=site.slot(minute).due_at)
        row.update(due_at=site.slot(minute).due_at + dt.timedelta(seconds=seconds))
    said = [reason.partition(";")[0] for _, reason in findings(site.prove(), "failures")]
    absent, stray = "was never claimed", "is no slot of the entry's schedule"
    assert said == [absent, stray, stray, absent]


def test_of_very_many_findings_the_first_are_kept(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutover.phases.evidence.findings.KEPT", 3)
    report = site.prove()
    assert len(report.data["failures"]) == 3
    assert f"{MINUTES} slots were not sent and run once:" in report.lines
    assert f"  and {MINUTES - 20} more" in report.lines


def test_a_backlog_that_is_being_worked_off_is_pending_and_no_failure(site: Site, settings: Settings) -> None:
    site.send(*range(10))
    settings.CUTOVER = {**settings.CUTOVER, "CATCH_UP": "all"}
    report = site.prove()
    assert report.outcome is Outcome.INCONCLUSIVE
    assert {reason for _, reason in findings(report, "pending")} == {judging.WAITS}
    site.age(9)
    report = site.prove()
    assert report.outcome is Outcome.FAILED
    assert {reason for _, reason in findings(report, "failures")} == {"was never claimed"}
