"""A schedule that is read while the database fails in between."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import schedule
from django.db import connections
from django.test.utils import CaptureQueriesContext

from cutover import clock
from cutover.beats.reconcile import reconcile
from cutover.beats.schedule import Schedule
from cutover.beats.sources import NOT_POLLED, Change, LastRun, Loaded, Polled, ScheduledEntry
from cutover.beats.sources.code import CodeSource
from cutover.conf import CatchUpRule, Config
from cutover.errors import LedgerUnavailable
from cutover.ledger import Ledger
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

    asks: Mapping[str, Any] = field(default_factory=dict)

    def load(self, *, full: bool = True, polled: Polled = NOT_POLLED) -> Loaded | None:
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


def test_how_many_entries_were_given_is_counted(ledger, hourly):
    """By that the beat knows when there is much that lives as long as itself."""
    name = EntryName("hourly")
    one, none, another = Change({name: hourly.entries[name]}, []), Change({}, [name]), Change({}, [])
    changes = [replace(hourly, change=change) for change in (None, one, none, another)]
    known = Schedule(Side.CODE, Changing([*changes, hourly]), ledger)
    counted = []
    for _ in changes:
        known.refresh()
        counted.append(known.loaded)
    known.refresh()
    assert [*counted, known.loaded] == [1, 2, 2, 2, 3]


def leave_in_the_future(alias: str, slot: Slot, state: str) -> None:
    common = {"epoch": 1, "side": "code", "state": state, "task_id": slot.task_id("tests"), "claimed_at": clock.now()}
    Record.objects.using(alias).create(entry=slot.entry, due_at=slot.due_at, **common)


def test_a_standby_settles_ahead_since_when_entries_are_eligible_and_no_other(ledger, identity, hourly):
    term = ledger.fence.open_term(identity(), Side.CODE)
    leader, standby = Schedule(Side.CODE, Changing([hourly]), ledger), Schedule(Side.CODE, Changing([hourly]), ledger)
    leader.refresh()
    assert leader.settle(term)
    standby.refresh()
    standby.settle_ahead(ledger.fence.read().schedule_revision)
    assert standby.agenda.next_at() == leader.agenda.next_at()


def test_what_a_standby_has_settled_ahead_costs_nothing_at_election(ledger, identity, hourly, alias):
    source = Changing([hourly])
    first, standby = Schedule(Side.CODE, Changing([hourly]), ledger), Schedule(Side.CODE, source, ledger)
    first.refresh()
    assert first.settle(ledger.fence.open_term(identity(), Side.CODE))
    standby.refresh()
    standby.settle_ahead(ledger.fence.read().schedule_revision)
    term = ledger.fence.open_term(identity(), Side.CODE)
    with CaptureQueriesContext(connections[alias]) as asked:
        assert standby.settle(term)
    assert not asked.captured_queries
    assert standby.agenda.next_at() == first.agenda.next_at()


def test_at_election_only_what_is_not_settled_is_looked_at(ledger, identity, hourly, monkeypatch):
    """Of many entries few are new; and the ledger has come to know others since the standby looked."""
    entry = hourly.entries[EntryName("hourly")]
    many = {name: replace(entry, name=name) for name in map(EntryName, ("a", "b", "c"))}
    first, late = Schedule(Side.CODE, Changing([Loaded("1", many)]), ledger), replace(entry, fingerprint="other")
    first.refresh()
    assert first.settle(ledger.fence.open_term(identity(), Side.CODE))
    standby = Schedule(Side.CODE, Changing([Loaded("2", {**many, **hourly.entries})]), Ledger(ledger.alias, "t", HOUR))
    standby.refresh()
    standby.settle_ahead(ledger.fence.read().schedule_revision)
    changing = Schedule(Side.CODE, Changing([Loaded("3", {**many, EntryName("b"): late})]), ledger)
    changing.refresh()
    assert changing.settle(ledger.fence.open_term(identity(), Side.CODE))
    looked_at = []
    monkeypatch.setattr(
        "cutover.beats.schedule.reconcile", lambda known, *rest: looked_at.append(set(known)) or reconcile(known, *rest)
    )
    assert standby.settle(standby._ledger.fence.open_term(identity(), Side.CODE))
    assert looked_at == [{"b"}]
    assert {n: (k.fingerprint, k.is_active) for n, k in standby._ledger.entries.known.items()} == {
        name: (entry.fingerprint, True) for name in ("a", "b", "c", "hourly")
    }


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


def test_a_name_on_the_way_that_the_schedule_has_still_is_whom_an_older_name_leads_to(ledger, identity, hourly):
    term = ledger.fence.open_term(identity(), Side.CODE)
    older, old, new = EntryName("older"), EntryName("hourly"), EntryName("digest")
    config, before = Config(renamed={older: old, old: new}), hourly.entries[old]
    first = Schedule(Side.CODE, Changing([Loaded("1", {older: before, old: before})]), ledger, config)
    first.refresh()
    assert first.settle(term)
    long_ago = clock.now() - 10 * HOUR
    ledger.entries.revise(term, lambda known: {older: replace(known[older], eligible_since=long_ago)})
    release = Schedule(Side.CODE, Changing([Loaded("2", {old: before, new: before})]), ledger, config)
    release.refresh()
    assert release.settle(term)
    assert ledger.entries.known[new].eligible_since > long_ago, "it is another entry than the one of the older name"


def test_a_renamed_entry_goes_on_where_it_stood_in_one_commit_and_once(ledger, identity, hourly):
    term = ledger.fence.open_term(identity(), Side.CODE)
    old, new = EntryName("hourly"), EntryName("digest")
    config = Config(renamed={EntryName("older"): old, old: new})
    first = Schedule(Side.CODE, Changing([hourly]), ledger, config)
    first.refresh()
    assert first.settle(term)
    long_ago = clock.now() - 10 * HOUR
    ledger.entries.revise(term, lambda known: {old: replace(known[old], eligible_since=long_ago)})
    last = Slot(clock.now() - 110 * MINUTE, old)
    ledger.claims.claim(term, [last])
    release = Schedule(Side.CODE, Changing([Loaded("2", {new: hourly.entries[old]})] * 2), ledger, config)
    for _ in range(2):
        release.refresh()
        release.settle_ahead(ledger.fence.read().schedule_revision)
        assert release.settle(term)
        assert release.agenda.next_at() == last.due_at + HOUR
    known = {name: (each.eligible_since, each.is_active) for name, each in ledger.entries.known.items()}
    assert known[new] == (last.due_at, True)
    assert not known[old][1]
    ledger.claims.claim(term, [Slot(last.due_at + HOUR, new)])
    back = Schedule(Side.CODE, Changing([hourly]), ledger, Config(renamed={new: old}))
    back.refresh()
    assert back.settle(term)
    assert ledger.entries.known[old].is_active
    assert back.agenda.next_at() == last.due_at + 2 * HOUR, "what was sent under the other name is not sent again"
