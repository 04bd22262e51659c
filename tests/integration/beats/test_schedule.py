"""A schedule that is read while the database fails in between."""

import datetime as dt
from dataclasses import dataclass, field, replace

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import schedule

from cutover import clock
from cutover.beats.schedule import Schedule
from cutover.beats.sources import LastRun, Loaded, ScheduledEntry
from cutover.beats.sources.code import CodeSource
from cutover.conf import CatchUpRule
from cutover.errors import LedgerUnavailable
from cutover.models import Slot as Record
from cutover.types import CatchUp, EntryName, Side, Slot

pytestmark = pytest.mark.integration

HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)
RULE = CatchUpRule(CatchUp.LATEST, HOUR)


@dataclass
class Changing:
    """A source that gives one schedule after another."""

    schedules: list[Loaded] = field(default_factory=list)

    def load(self, *, full: bool = True) -> Loaded | None:
        return self.schedules.pop(0) if self.schedules else None


@pytest.fixture
def hourly():
    app = Celery("site", set_as_current=False)
    entry = ScheduleEntry(name="hourly", task="a.task", schedule=schedule(HOUR, app=app), app=app)
    yield Loaded("1", {EntryName("hourly"): ScheduledEntry.of(entry, RULE)})
    app.close()


def test_what_the_database_did_not_say_of_new_entries_is_asked_again(ledger, identity, hourly, monkeypatch):
    term = ledger.fence.open_term(identity(), Side.CODE)
    last = Slot(clock.now() - 20 * MINUTE, EntryName("hourly"))
    ledger.claims.claim(term, [last])
    for some in range(0, 1_200, 200):
        ledger.claims.claim(term, [Slot(clock.now(), EntryName(f"other {some + i}")) for i in range(200)])
    source = Changing()
    known = Schedule(Side.CODE, source, ledger)
    known.refresh()
    source.schedules = [hourly]
    with monkeypatch.context() as patch:
        patch.setattr(ledger.cursors, "follow", lambda *_, **__: (_ for _ in ()).throw(LedgerUnavailable("away")))
        with pytest.raises(LedgerUnavailable):
            known.refresh()
    known.refresh()
    assert known.agenda.next_at() == last.due_at + HOUR


def test_a_slot_of_the_future_keeps_an_entry_back_neither_at_the_start_nor_later(ledger, identity, hourly, alias):
    """As a clock leaves it that was ahead, be it a beat's or the database's own."""
    term = ledger.fence.open_term(identity(), Side.CODE)
    now = clock.now()
    last, passed_over, sent = (Slot(now + minutes * MINUTE, EntryName("hourly")) for minutes in (-20, 40, 100))
    ledger.claims.claim(term, [last])
    known = Schedule(Side.CODE, Changing([hourly]), ledger)
    known.refresh()
    assert known.settle(term)
    leave_in_the_future(alias, passed_over, "missed")
    leave_in_the_future(alias, sent, "published")
    known.refresh()
    fresh = Schedule(Side.CODE, Changing([hourly]), ledger)
    fresh.refresh()
    assert known.agenda.next_at() == fresh.agenda.next_at() == passed_over.due_at
    known.agenda.record(EntryName("hourly"), sent.due_at)  # as if the database's clock had been where that is
    loads = known.loads
    known.refresh()
    assert known.agenda.next_at() == passed_over.due_at
    assert known.loads > loads, "the leader settles again"
    assert known.settle(term)
    assert set(Record.objects.using(alias).values_list("due_at", flat=True)) == {last.due_at, sent.due_at}


def leave_in_the_future(alias: str, slot: Slot, state: str) -> None:
    common = {"epoch": 1, "side": "code", "state": state, "task_id": slot.task_id("tests"), "claimed_at": clock.now()}
    Record.objects.using(alias).create(entry=slot.entry, due_at=slot.due_at, **common)


def test_a_standby_foresees_since_when_entries_are_eligible_and_no_other(ledger, identity, hourly):
    term = ledger.fence.open_term(identity(), Side.CODE)
    leader, standby = Schedule(Side.CODE, Changing([hourly]), ledger), Schedule(Side.CODE, Changing([hourly]), ledger)
    leader.refresh()
    assert leader.settle(term)
    standby.refresh()
    standby.foresee(ledger.fence.read().schedule_revision)
    assert standby.agenda.next_at() == leader.agenda.next_at()


def test_a_fenced_leader_settles_nothing(ledger, identity, hourly):
    old = ledger.fence.open_term(identity(), Side.CODE)
    ledger.fence.open_term(identity(), Side.CODE)
    known = Schedule(Side.CODE, Changing([hourly]), ledger)
    known.refresh()
    assert not known.settle(old)
    assert not ledger.entries.known


def test_a_leader_says_once_that_it_found_no_record_from_before(ledger, identity, hourly, tmp_path, caplog):
    """Without celery's schedule file nothing is owed: an operator who meant to bring it has to hear of it."""
    file = str(tmp_path / "celerybeat-schedule")
    term, entry = ledger.fence.open_term(identity(), Side.CODE), hourly.entries[EntryName("hourly")].entry
    for times in (1, 1):  # the second leader finds the entry in the ledger
        first = Schedule(Side.CODE, CodeSource(entry.app, {"hourly": entry}, file), ledger)
        first.refresh()
        assert first.settle(term)
        assert caplog.text.count("cutover.entries.begun") == times
    assert f"celery's schedule file, {file}, was not found, or holds nothing: nothing that fell due before is owed" in (
        caplog.text
    )


def test_an_entry_whose_last_run_is_known_goes_on_from_there_and_nothing_is_said(ledger, identity, hourly, caplog):
    term, name = ledger.fence.open_term(identity(), Side.CODE), EntryName("hourly")
    known = replace(hourly.entries[name], last_run=LastRun(clock.now() - MINUTE, has_run=True))
    schedule = Schedule(Side.CODE, Changing([Loaded("1", {name: known}, "no file")]), ledger)
    schedule.refresh()
    assert schedule.settle(term)
    assert "cutover.entries.begun" not in caplog.text
