"""The command's own clock decides nothing: what it judges goes by the database's, however wrong this host's is."""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace

import pytest
from pytest import MonkeyPatch

from cutover import clock, models
from cutover.errors import OperatorBusy
from cutover.models import Cutover, Entry, Fence
from cutover.phases import phase4, plan, probe
from cutover.phases.context import Context
from cutover.phases.evidence import lateness, proof, unmanaged_beats
from cutover.phases.evidence.unstarted import Patience
from cutover.phases.operations import remembered
from cutover.phases.operations.journal import at_work
from cutover.phases.report import Check
from cutover.schedules.fingerprint import fingerprint
from cutover.types import EntryName, Epoch, HolderId, Side, Slot, Term
from tests.integration.phases.conftest import led

pytestmark = pytest.mark.integration

Surroundings = Callable[[], Context]
HOUR, MINUTE, SECOND = dt.timedelta(hours=1), dt.timedelta(minutes=1), dt.timedelta(seconds=1)
TRUE = clock.now


@pytest.fixture(params=[2 * HOUR, -2 * HOUR], ids=["ahead", "behind"])
def off(request: pytest.FixtureRequest, context: Surroundings, monkeypatch: MonkeyPatch) -> Context:
    """Surroundings of a command whose host's clock is two hours off; the ledger has a slot of a moment ago."""
    true = context()
    term = led(true.alias, Term(Epoch(1), Side.CODE, HolderId("h")))
    Fence.objects.using(true.alias).update(epoch=1)
    true.ledger.claims.claim(term, [Slot(TRUE() - SECOND, EntryName("ticking"))])
    monkeypatch.setattr(clock, "now", lambda: TRUE() + request.param)
    return context()


def test_a_slot_of_a_moment_ago_is_awaited_and_no_failure(off: Context) -> None:
    found = proof.gather(off, TRUE() - MINUTE, TRUE())
    assert [(each.entry, each.reason) for each in found.pending] == [("ticking", "claimed, not published")]
    assert not found.failures


def test_an_old_claim_is_a_failure(off: Context) -> None:
    models.Slot.objects.using(off.alias).update(claimed_at=TRUE() - 2 * MINUTE)
    found = proof.gather(off, TRUE() - MINUTE, TRUE())
    assert [each.reason for each in found.failures] == ["claimed, not published"]
    assert not found.pending


@pytest.mark.parametrize(("old", "stuck"), [(SECOND, 0), (MINUTE, 1)])
def test_what_the_broker_has_not_taken_for_seconds_is_stuck(off: Context, old: dt.timedelta, stuck: int) -> None:
    models.Slot.objects.using(off.alias).update(claimed_at=TRUE() - old)
    assert probe._stuck(off) == stuck
    patience = Patience.of(off, off.ledger.fence.read(), {})
    assert len(lateness.stuck(off, (), patience)) == stuck


@pytest.mark.parametrize(("ago", "late"), [(SECOND, []), (MINUTE, [EntryName("ticking")])])
def test_what_is_due_for_seconds_is_overdue(off: Context, ago: dt.timedelta, late: list[EntryName]) -> None:
    mark = fingerprint(off.entries[EntryName("ticking")].schedule)
    Entry.objects.using(off.alias).create(name="ticking", fingerprint=mark, eligible_since=TRUE() - HOUR)
    models.Slot.objects.using(off.alias).update(due_at=TRUE() - ago)
    assert [name for name, _ in lateness.overdue(off, Side.CODE)] == late


def test_workers_are_guarded_since_now(off: Context) -> None:
    remembered.workers_guarded(off, [Check("workers", True, "")])
    since = off.ledger.fence.read().guarded_since
    assert since is not None
    assert abs(since - TRUE()) < MINUTE


def test_a_plan_counts_the_slots_that_are_in_the_ledger_and_what_comes_next(off: Context) -> None:
    Cutover.objects.using(off.alias).update(phase=1)
    schedule = off.entries[EntryName("hourly")].schedule
    Entry.objects.using(off.alias).create(
        name="hourly", fingerprint=fingerprint(schedule), eligible_since=TRUE() - 3 * HOUR
    )
    last = TRUE().replace(minute=0, second=0, microsecond=0)
    models.Slot.objects.using(off.alias).update(entry="hourly", due_at=last)
    found = {each["name"]: each["next_due_at"] for each in plan.run(off).data["entries"]}
    assert found["hourly"] == (last + HOUR).isoformat()
    assert dt.datetime.fromisoformat(found["yearly"]) > TRUE()
    assert found["ticking"] is None, "no beat under the lease has sent it: from when it counts is not known"


def test_phase_4_reads_up_to_now_and_says_how_long_it_is_until_the_next(off: Context) -> None:
    state = replace(phase4.read(off), switched_at=TRUE() - HOUR)
    evidence = phase4._gather(off, state)
    assert abs(evidence.until + phase4.GRACE - TRUE()) < MINUTE
    assert phase4._in(off, TRUE() + 2 * HOUR - SECOND).endswith("in 1 h 59 min")


def test_a_beat_without_the_lease_that_was_heard_a_moment_ago_is_there_and_one_of_long_ago_is_not(off: Context) -> None:
    heard = models.UnmanagedBeat.objects.using(off.alias)
    heard.create(origin="just now", first_heard_at=TRUE(), last_heard_at=TRUE())
    heard.create(origin="long ago", first_heard_at=TRUE() - 4 * HOUR, last_heard_at=TRUE() - 90 * MINUTE)
    off.entries.pop(EntryName("yearly"))
    assert [beat.origin for beat in unmanaged_beats.alive(off)] == ["just now"]


def test_a_worker_notes_by_the_database_when_it_heard_a_beat_without_the_lease(off: Context) -> None:
    off.ledger.runs.record_heard("elsewhere")
    assert abs(models.UnmanagedBeat.objects.using(off.alias).get().last_heard_at - TRUE()) < MINUTE


def test_a_command_at_work_elsewhere_is_not_taken_for_dead_and_leaves_no_lock_for_hours(off: Context) -> None:
    row = Cutover.objects.using(off.alias)
    with at_work(off.alias, "phase3"):
        assert abs(row.get().operator_seen_at - TRUE()) < MINUTE
        row.update(operator_process="elsewhere:7:1", operator_seen_at=TRUE())
        with pytest.raises(OperatorBusy), at_work(off.alias, "rollback"):
            pass
        row.update(operator_process="elsewhere:7:1", operator_seen_at=TRUE() + HOUR)  # by an older release
        with at_work(off.alias, "rollback"):
            pass
