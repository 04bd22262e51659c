"""The ledger's promises, on real SQLite and real PostgreSQL: what is admitted, by whom, and how often."""

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from django.db import connections, transaction

from cutover import clock, models
from cutover.errors import LedgerNotMigrated, LedgerUnavailable
from cutover.ledger.claims import Ledger
from cutover.types import Claim, EntryName, Epoch, Identity, Missed, Sender, Side, Slot, SlotState, Start, Term
from tests.support.rooms import in_threads, timed

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]

SECOND = dt.timedelta(seconds=1)
DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
NOW = clock.now().replace(microsecond=0)


def name(text: str) -> EntryName:
    return EntryName(text)


def slot(entry: str = "a", ago: dt.timedelta = dt.timedelta(0)) -> Slot:
    return Slot(NOW - ago, name(entry))


@pytest.fixture
def lead(ledger: Ledger, identity: Callable[..., Identity]) -> Callable[..., Term]:
    """Opens a term, as a candidate does that has won the lease."""

    def lead(side: Side = Side.CODE) -> Term:
        term = ledger.fence.open_term(identity(), side)
        assert term is not None
        return term

    return lead


@pytest.fixture
def rows(ledger: Ledger, alias: str) -> Callable[[], dict[tuple[str, dt.datetime], models.Slot]]:
    """The slots as they stand in the database."""
    return lambda: {(r.entry, r.due_at): r for r in models.Slot.objects.using(alias)}


# --- the fence --------------------------------------------------------------------------------------------------------


def test_each_leadership_raises_the_epoch_and_ends_the_one_before(ledger, lead, alias):
    first, second = lead(), lead()
    assert (first.epoch, second.epoch) == (1, 2)
    assert ledger.fence.read().epoch == 2
    ended = models.Term.objects.using(alias).get(epoch=1)
    assert (ended.end_reason, ended.ended_at is None) == ("succeeded", False)
    assert models.Term.objects.using(alias).get(epoch=2).ended_at is None


def test_the_other_side_opens_no_term(ledger, identity):
    assert ledger.fence.open_term(identity(), Side.DATABASE) is None
    assert ledger.fence.read().epoch == 0


def test_a_switch_raises_the_epoch_once_however_often_it_is_asked_for(ledger, lead, alias):
    lead()
    assert [ledger.fence.switch(Side.DATABASE) for _ in range(3)] == [2, 2, 2]
    assert ledger.fence.read().side is Side.DATABASE
    assert ledger.fence.read().switched_at is not None
    assert models.Term.objects.using(alias).get(epoch=1).end_reason == "switched to database"


def test_the_newest_term_since_an_epoch_is_found(ledger, lead):
    lead()
    epoch = ledger.fence.switch(Side.DATABASE)
    assert ledger.fence.term_since(epoch) is None
    term = lead(Side.DATABASE)
    assert ledger.fence.term_since(epoch).epoch == term.epoch == 3


def test_the_first_tick_and_the_first_reason_of_an_end_stay(ledger, lead, alias):
    term = lead()
    ledger.fence.first_tick(term)
    seen = models.Term.objects.using(alias).get().first_tick_at
    ledger.fence.first_tick(term)
    for reason in ("fenced", "stopped"):
        ledger.fence.end_term(term, reason)
    row = models.Term.objects.using(alias).get()
    assert (row.first_tick_at, row.end_reason) == (seen, "fenced")


def test_terms_opened_at_the_same_moment_get_epochs_of_their_own(ledger, identity):
    terms = in_threads(*[lambda: ledger.fence.open_term(identity(), Side.CODE)] * 8)
    assert sorted(term.epoch for term in terms) == list(range(1, 9))


# --- claims -----------------------------------------------------------------------------------------------------------


def test_a_slot_is_claimed_once(ledger, lead, rows):
    term, one = lead(), slot()
    assert ledger.claim(term, [one]) == {one: Claim.CLAIMED}
    assert ledger.claim(term, [one, slot("b")]) == {one: Claim.ALREADY_CLAIMED, slot("b"): Claim.CLAIMED}
    row = rows()["a", one.due_at]
    assert (row.state, row.epoch, row.side, str(row.task_id)) == ("claimed", 1, "code", one.task_id("tests"))


def test_a_later_term_does_not_claim_again_what_an_earlier_one_claimed(ledger, lead):
    one = slot()
    ledger.claim(lead(), [one])
    assert ledger.claim(lead(), [one]) == {one: Claim.ALREADY_CLAIMED}


def test_a_leader_that_was_succeeded_claims_nothing(ledger, lead, rows):
    old, _ = lead(), lead()
    assert ledger.claim(old, [slot()], [Missed(slot("b"), "late")]) == dict.fromkeys([slot(), slot("b")], Claim.FENCED)
    assert ledger.claim(old, [], [Missed(slot("b"), "late")]) == {slot("b"): Claim.FENCED}
    assert rows() == {}


def test_a_leader_that_was_switched_away_claims_nothing(ledger, lead, rows):
    old = lead()
    ledger.fence.switch(Side.DATABASE)
    assert ledger.claim(old, [slot()]) == {slot(): Claim.FENCED}
    ledger.fence.switch(Side.CODE)
    assert ledger.claim(old, [slot()]) == {slot(): Claim.FENCED}, "a switch there and back does not readmit it"
    assert rows() == {}


def test_a_term_of_the_right_epoch_and_the_wrong_side_claims_nothing(ledger, lead, rows):
    term = lead()
    forged = Term(term.epoch, Side.DATABASE, term.holder)
    assert ledger.claim(forged, [slot()]) == {slot(): Claim.FENCED}
    assert rows() == {}


def test_a_slot_older_than_the_retention_is_too_old_and_never_new(ledger, lead, rows):
    old, young = slot("a", 30 * DAY + SECOND), slot("a", 30 * DAY - HOUR)
    assert ledger.claim(lead(), [old, young]) == {old: Claim.TOO_OLD, young: Claim.CLAIMED}
    assert list(rows()) == [("a", young.due_at)]


def test_missed_slots_are_recorded_with_their_reason_and_count(ledger, lead, rows):
    late, one = slot("a", HOUR), slot()
    ledger.claim(lead(), [one], [Missed(late, "older than the catch-up window", passed_over=7)])
    row = rows()["a", late.due_at]
    assert (row.state, row.reason, row.passed_over) == ("missed", "older than the catch-up window", 7)
    assert rows()["a", one.due_at].state == "claimed"


def test_a_slot_that_was_sent_is_not_turned_into_a_missed_one(ledger, lead, rows):
    term, one = lead(), slot()
    ledger.claim(term, [one])
    ledger.confirm([one])
    ledger.claim(term, [], [Missed(one, "late")])
    assert rows()["a", one.due_at].state == "published"


def test_a_thousand_slots_are_claimed_in_one_commit(ledger, lead, rows):
    many = [slot(str(i)) for i in range(1_000)]
    missed = [Missed(slot(str(i), HOUR), "late") for i in range(1_000)]
    assert set(ledger.claim(lead(), many, missed).values()) == {Claim.CLAIMED}
    assert len(rows()) == 2_000


def test_claiming_nothing_still_asks_the_fence(ledger, lead):
    old = lead()
    assert ledger.claim(old, []) == {}
    lead()
    assert ledger.claim(old, []) == {}


def test_under_fire_each_slot_is_claimed_exactly_once(ledger, lead, rows):
    """Leaders of the same epoch, which only a forged lease could make, all at once: the unique slot decides."""
    term, wanted = lead(), [slot(str(i)) for i in range(60)]
    outcomes = in_threads(*[lambda: ledger.claim(term, wanted)] * 6)
    for one in wanted:
        assert [outcome[one] for outcome in outcomes].count(Claim.CLAIMED) == 1
    assert len(rows()) == 60


def test_leaders_that_fence_one_another_never_both_claim_a_slot(ledger, identity, rows):
    """Every thread leads, claims, is succeeded and claims on; the books agree with what each believes."""
    wanted, claimed = [slot(str(i)) for i in range(40)], []

    def usurp() -> None:
        for i in range(0, 40, 4):
            term = ledger.fence.open_term(identity(), Side.CODE)
            for one in wanted[i : i + 4] + wanted[:i]:
                if ledger.claim(term, [one])[one] is Claim.CLAIMED:
                    claimed.append((one, term.epoch))

    in_threads(*[usurp] * 4)
    assert len(claimed) == len({one for one, _ in claimed}) == len(rows())
    assert {(r.entry, r.epoch) for r in rows().values()} == {(one.entry, epoch) for one, epoch in claimed}


def test_runs_recorded_during_the_claim_cost_it_no_slot_and_double_none(ledger, lead, rows):
    """A worker records without the fence. A claim that meets it again and again gives up for now and comes back."""
    term, wanted = lead(), [slot(str(i)) for i in range(30)]

    def claim() -> dict[Slot, Claim]:
        while True:
            with suppress(LedgerUnavailable):
                return ledger.claim(term, wanted)

    workers = [lambda i=i: [ledger.runs.start(one, term.epoch, f"w{i}") for one in wanted] for i in range(3)]
    outcome, *runs = in_threads(claim, *workers)
    assert set(outcome.values()) <= {Claim.CLAIMED, Claim.ALREADY_CLAIMED}
    assert len(rows()) == 30
    for started in zip(*runs, strict=True):
        assert started.count(Start.STARTED) == 1


def test_a_leader_frozen_in_the_middle_of_a_claim_does_not_stop_its_successor(ledger, lead, identity, alias):
    if connections[alias].vendor == "sqlite":
        pytest.skip("SQLite's lock is the file's; its busy time-out bounds the wait")
    term = lead()
    locked, thaw = threading.Event(), threading.Event()

    def freeze() -> None:
        try:
            with pytest.raises(LedgerUnavailable), ledger._database.transaction():
                assert ledger.fence.admits(term)
                locked.set()
                thaw.wait(60)
                ledger.fence.admits(term)
        finally:
            connections.close_all()

    frozen = threading.Thread(target=freeze)
    frozen.start()
    assert locked.wait(10)
    try:
        assert timed(lambda: ledger.fence.open_term(identity(), Side.CODE), "the successor leads", 60) < 12
    finally:
        thaw.set()
        frozen.join()


# --- publication ------------------------------------------------------------------------------------------------------


def test_a_confirmed_slot_is_published_and_no_longer_swept(ledger, lead, rows):
    one, other = slot("a"), slot("b")
    ledger.claim(lead(), [one, other])
    ledger.confirm([one])
    assert [stuck.slot for stuck in ledger.unpublished()] == [other]
    assert rows()["a", one.due_at].published_at is not None
    ledger.confirm([])


def test_a_leader_that_was_fenced_meanwhile_still_confirms_what_it_sent(ledger, lead, rows):
    one = slot()
    ledger.claim(lead(), [one])
    lead()
    ledger.confirm([one])
    assert rows()["a", one.due_at].state == "published"


def test_confirming_touches_no_other_entry_of_the_same_instant(ledger, lead, rows):
    one, other = slot("a"), slot("b")
    ledger.claim(lead(), [one, other])
    ledger.confirm([one])
    assert rows()["b", other.due_at].state == "claimed"


def test_confirming_does_not_bring_back_what_was_given_up(ledger, lead, rows):
    term, one = lead(), slot()
    ledger.claim(term, [one])
    assert ledger.give_up(term, {one: "no such entry"})
    ledger.confirm([one])
    assert (rows()["a", one.due_at].state, rows()["a", one.due_at].reason) == ("missed", "no such entry")


def test_who_is_fenced_gives_nothing_up(ledger, lead, rows):
    old, one = lead(), slot()
    ledger.claim(old, [one])
    lead()
    assert ledger.give_up(old, {one: "no such entry"}) is False
    assert rows()["a", one.due_at].state == "claimed"


def test_what_was_published_is_not_given_up(ledger, lead, rows):
    term, one = lead(), slot()
    ledger.claim(term, [one])
    ledger.confirm([one])
    assert ledger.give_up(term, {one: "no such entry"})
    assert rows()["a", one.due_at].state == "published"


def test_a_claim_whose_run_has_started_was_published_whatever_its_publisher_was_told(ledger, lead):
    term = lead()
    started, stuck = slot("a"), slot("b")
    ledger.claim(term, [started, stuck])
    ledger.runs.start(started, term.epoch, "w")
    ledger.confirm_started()
    assert [found.slot for found in ledger.unpublished()] == [stuck]


def test_unpublished_claims_come_oldest_first_and_say_what_supersedes_them(ledger, lead):
    term = lead()
    old, middle, new, other = slot("a", 2 * HOUR), slot("a", HOUR), slot("a"), slot("b", 3 * HOUR)
    ledger.claim(term, [new, old, other])
    ledger.claim(term, [], [Missed(middle, "late")])
    found = ledger.unpublished()
    assert [(stuck.slot, stuck.superseded) for stuck in found] == [(other, False), (old, True), (new, False)]
    assert {stuck.epoch for stuck in found} == {term.epoch}


# --- where entries stand ----------------------------------------------------------------------------------------------


def test_a_new_entry_is_owed_from_now_or_from_its_old_record(ledger, lead):
    before, record = clock.now(), clock.now() - 5 * HOUR
    found = ledger.entries.eligible_since(lead(), {name("a"): "f", name("b"): "f"}, {name("b"): record})
    assert before <= found[name("a")] <= clock.now()
    assert found[name("b")] == record


def test_an_old_record_from_the_future_is_not_believed(ledger, lead):
    found = ledger.entries.eligible_since(lead(), {name("a"): "f"}, {name("a"): clock.now() + DAY})
    assert found[name("a")] <= clock.now()


def test_what_another_beat_has_sent_between_two_of_ours_is_not_owed(ledger, lead):
    """The way from release B back to A, and to B again: A's beat leaves its last runs in the schedule file alone."""
    term, entries = lead(), dict.fromkeys([name("a"), name("b")], "f")
    first = ledger.entries.eligible_since(term, entries, {})
    record = clock.now()
    found = ledger.entries.eligible_since(lead(), entries, {}, foreign={name("a"): record})
    assert found == {name("a"): record, name("b"): first[name("b")]}
    older = {name("a"): first[name("a")]}
    assert ledger.entries.eligible_since(lead(), entries, older, foreign=older) == found, "an older one says nothing"
    later = {name("b"): clock.now()}
    assert ledger.entries.eligible_since(lead(), entries, later) == found, "nor does the start of one that never ran"


def test_what_falls_due_once_is_owed_since_it_was_made(ledger, lead):
    made = {name("a"): clock.now() - HOUR}
    assert ledger.entries.eligible_since(lead(), {name("a"): "f"}, {}, made) == made
    later = {name("a"): clock.now() - dt.timedelta(seconds=1)}
    assert ledger.entries.eligible_since(lead(), {name("a"): "g"}, {}, later) == later, "and was given another time"
    before = clock.now()
    assert ledger.entries.eligible_since(lead(), {}, {}, {}) == {}
    assert ledger.entries.eligible_since(lead(), {name("a"): "g"}, {}, later)[name("a")] >= before, (
        "not while it was off"
    )


def test_an_entry_that_stays_keeps_what_it_is_owed_across_terms_and_switches(ledger, lead):
    entries = {name("a"): "f"}
    first = ledger.entries.eligible_since(lead(), entries, {})
    assert ledger.entries.eligible_since(lead(), entries, {name("a"): clock.now() - DAY}) == first
    ledger.fence.switch(Side.DATABASE)
    assert ledger.entries.eligible_since(lead(Side.DATABASE), entries, {}) == first


def test_an_entry_with_a_new_schedule_is_owed_nothing_from_before(ledger, lead):
    term = lead()
    first = ledger.entries.eligible_since(term, {name("a"): "f", name("b"): "f"}, {})
    second = ledger.entries.eligible_since(term, {name("a"): "g", name("b"): "f"}, {})
    assert second[name("a")] > first[name("a")]
    assert second[name("b")] == first[name("b")]


def test_an_entry_that_was_away_is_owed_nothing_from_before_its_return(ledger, lead):
    term, entries = lead(), {name("a"): "f", name("b"): "f"}
    first = ledger.entries.eligible_since(term, entries, {})
    assert set(ledger.entries.eligible_since(term, {name("b"): "f"}, {})) == {name("b")}
    third = ledger.entries.eligible_since(term, entries, {name("a"): clock.now() - DAY})
    assert third[name("a")] > first[name("a")]
    assert third[name("b")] == first[name("b")]


def test_who_is_fenced_learns_nothing_and_changes_nothing(ledger, lead, alias):
    old, _ = lead(), lead()
    assert ledger.entries.eligible_since(old, {name("a"): "f"}, {}) is None
    assert not models.Entry.objects.using(alias).exists()


def test_two_thousand_entries_are_settled_at_once(ledger, lead):
    term, entries = lead(), {name(f"e{i}"): "f" for i in range(2_000)}
    first = ledger.entries.eligible_since(term, entries, {})
    assert ledger.entries.eligible_since(term, entries, {}) == first
    assert all(at > first[n] for n, at in ledger.entries.eligible_since(term, dict.fromkeys(entries, "g"), {}).items())


def test_a_standby_reads_what_is_new_of_the_entries_and_not_all_of_them_again(ledger, lead, alias):
    term, standby = lead(), Ledger(alias, "tests", DAY)
    ledger.entries.eligible_since(term, dict.fromkeys([name("a"), name("b")], "f"), {})
    before, known = standby.entries.version(), standby.entries._known
    ledger.entries.eligible_since(term, dict.fromkeys([name("a"), name("b"), name("c")], "f"), {})
    assert standby.entries.version() > before
    assert (standby.entries._known is known, set(known)) == (True, {name("a"), name("b"), name("c")})
    models.Entry.objects.using(alias).filter(name="a").delete()
    standby.entries.version()
    assert set(standby.entries._known) == {name("b"), name("c")}


def test_the_latest_slot_counts_whatever_became_of_it(ledger, lead):
    term = lead()
    newest = slot("a")
    ledger.claim(term, [slot("a", HOUR), slot("b")], [Missed(newest, "late")])
    last, _ = ledger.last_slots()
    assert last == {name("a"): newest.due_at, name("b"): slot("b").due_at}
    assert ledger.last_slot(name("a")) == newest.due_at
    assert ledger.last_slot(name("z")) is None


def test_only_what_is_new_is_read_again_and_nothing_is_lost(ledger, lead):
    term = lead()
    assert ledger.last_slots() == ({}, 0)
    ledger.claim(term, [slot(f"e{i}", HOUR) for i in range(1_500)])
    _, seen = ledger.last_slots()
    newer = slot("e3")
    ledger.claim(term, [newer])
    last, now_seen = ledger.last_slots(seen)
    assert last[name("e3")] == newer.due_at
    assert len(last) < 1_100
    assert now_seen == seen + 1
    assert ledger.last_slots(now_seen)[1] == now_seen


def test_an_entry_that_is_new_to_the_reader_is_read_wholly(ledger, lead):
    term = lead()
    ledger.claim(term, [slot("old", HOUR), slot("older", 2 * HOUR)])
    ledger.claim(term, [slot(f"e{i}", HOUR) for i in range(1_500)])
    _, seen = ledger.last_slots()
    newest = slot("older")
    ledger.claim(term, [newest])
    assert "old" not in ledger.last_slots(seen)[0]
    last, now_seen = ledger.last_slots(seen, wholly={name("old"), name("older")})
    assert (last[name("old")], last[name("older")]) == (slot("old", HOUR).due_at, newest.due_at)
    assert now_seen == seen + 1


def test_standings_join_both(ledger, lead):
    term = lead()
    owed = ledger.entries.eligible_since(term, {name("a"): "f", name("b"): "f"}, {})
    ledger.claim(term, [slot("a")])
    standings = ledger.standings()
    assert (standings[name("a")].last, standings[name("b")].last) == (slot("a").due_at, None)
    assert standings[name("a")].eligible_since == owed[name("a")]


# --- runs -------------------------------------------------------------------------------------------------------------


def test_of_twenty_workers_one_starts_the_run(ledger, lead):
    term, one = lead(), slot()
    ledger.claim(term, [one])
    outcomes = in_threads(*[lambda i=i: ledger.runs.start(one, term.epoch, f"w{i}") for i in range(20)])
    assert outcomes.count(Start.STARTED) == 1
    assert outcomes.count(Start.ALREADY_STARTED) == 19
    assert ledger.runs.read(one).worker == f"w{outcomes.index(Start.STARTED)}"


def test_of_twenty_workers_one_starts_the_run_of_a_slot_that_nobody_claimed(ledger, rows):
    one = slot()
    stock = Sender("stock", "a-message")
    outcomes = in_threads(*[lambda i=i: ledger.runs.start(one, Epoch(5), f"w{i}", stock) for i in range(20)])
    assert outcomes.count(Start.STARTED) == 1
    assert outcomes.count(Start.ALREADY_STARTED) == 19
    (row,) = rows().values()
    assert (row.state, row.reason, row.epoch) == ("published", "sent without the lease by stock", 5)


def test_a_run_before_the_confirmation_counts_as_a_run_and_the_slot_is_confirmed_later(ledger, lead, rows):
    one = slot()
    ledger.claim(lead(), [one])
    assert ledger.runs.start(one, Epoch(1), "w") is Start.STARTED
    ledger.confirm([one])
    row = rows()["a", one.due_at]
    assert (row.state, row.run_by) == ("published", "w")


def test_a_claim_of_a_slot_that_a_worker_recorded_is_lost(ledger, lead):
    one = slot()
    ledger.runs.start(one, Epoch(1), "w")
    assert ledger.claim(lead(), [one]) == {one: Claim.ALREADY_CLAIMED}


def test_a_message_older_than_the_retention_does_not_run(ledger, rows):
    assert ledger.runs.start(slot("a", 31 * DAY), Epoch(1), "w") is Start.TOO_OLD
    assert rows() == {}


def test_a_run_is_handed_over_once(ledger, lead):
    one = slot()
    ledger.claim(lead(), [one])
    ledger.runs.start(one, Epoch(1), "dead")
    outcomes = in_threads(*[lambda i=i: ledger.runs.resume(one, "dead", f"w{i}") for i in range(8)])
    assert outcomes.count(True) == 1
    assert ledger.runs.read(one).worker == f"w{outcomes.index(True)}"
    assert ledger.runs.resume(one, "dead", "late") is False


def test_a_run_that_has_ended_since_it_was_read_is_not_handed_over(ledger, lead):
    one = slot()
    ledger.claim(lead(), [one])
    ledger.runs.start(one, Epoch(1), "w")
    read = ledger.runs.read(one)
    ledger.runs.end(one, "w")
    assert not read.has_ended
    assert ledger.runs.resume(one, read.worker, "other") is False


def test_the_end_of_a_run_is_recorded_by_its_own_worker_alone(ledger, lead):
    one = slot()
    ledger.claim(lead(), [one])
    ledger.runs.start(one, Epoch(1), "w")
    ledger.runs.end(one, "other")
    assert not ledger.runs.read(one).has_ended
    ledger.runs.end(one, "w")
    assert ledger.runs.read(one).has_ended
    assert ledger.runs.read(slot("z")).worker == ""


def test_every_suppressed_message_is_counted(ledger, lead, rows):
    one = slot()
    ledger.claim(lead(), [one])
    in_threads(*[lambda: ledger.runs.count_deduplicated(one)] * 8)
    assert rows()["a", one.due_at].deduplicated == 8


def test_an_unguarded_beat_is_remembered_once_with_first_and_last(ledger, alias):
    in_threads(*[lambda: ledger.runs.heard("1@h")] * 5)
    first = models.UnmanagedBeat.objects.using(alias).get()
    ledger.runs.heard("1@h")
    again = models.UnmanagedBeat.objects.using(alias).get()
    assert again.first_heard_at == first.first_heard_at
    assert again.last_heard_at > first.last_heard_at


# --- keeping ----------------------------------------------------------------------------------------------------------


def test_pruning_forgets_what_is_old_and_keeps_each_entrys_latest(ledger, lead, alias, rows):
    term = lead()
    kept = [slot("a"), slot("dormant", 20 * DAY), slot("a", 29 * DAY)]
    ledger.claim(term, [*kept, *[slot("a", DAY * i) for i in range(20, 25)]])
    with aged(alias, 15 * DAY):
        pass
    # After fifteen more days: `a` has slots of 15 and of 35 to 44 days, `dormant` its only one, of 35.
    assert ledger.prune(most=2) == 2
    assert ledger.prune(most=100) == 4
    assert ledger.prune(most=100) == 0
    assert {entry for entry, _ in rows()} == {"a", "dormant"}
    assert len(rows()) == 2


@contextmanager
def aged(alias: str, by: dt.timedelta) -> Iterator[None]:
    """As if ``by`` had passed: every slot is older by that much."""
    with transaction.atomic(using=alias):
        for row in models.Slot.objects.using(alias):
            models.Slot.objects.using(alias).filter(pk=row.pk).update(due_at=row.due_at - by)
    yield


def test_what_was_pruned_can_not_be_claimed_again(ledger, lead, alias):
    term, old = lead(), slot("a", 25 * DAY)
    ledger.claim(term, [old, slot("a", DAY)])
    with aged(alias, 10 * DAY):
        assert ledger.prune(10) == 1
    forgotten = Slot(old.due_at - 10 * DAY, old.entry)
    assert ledger.claim(term, [forgotten]) == {forgotten: Claim.TOO_OLD}
    assert ledger.runs.start(forgotten, term.epoch, "w") is Start.TOO_OLD


# --- no ledger, no database -------------------------------------------------------------------------------------------

METHODS = {
    "fence": lambda ledger, term: ledger.fence.read(),
    "open_term": lambda ledger, term: ledger.fence.open_term(Identity("h", "h", 1, ""), Side.CODE),
    "switch": lambda ledger, term: ledger.fence.switch(Side.DATABASE),
    "term_since": lambda ledger, term: ledger.fence.term_since(Epoch(1)),
    "end_term": lambda ledger, term: ledger.fence.end_term(term, "r"),
    "first_tick": lambda ledger, term: ledger.fence.first_tick(term),
    "claim": lambda ledger, term: ledger.claim(term, [slot()]),
    "confirm": lambda ledger, term: ledger.confirm([slot()]),
    "give_up": lambda ledger, term: ledger.give_up(term, {slot(): "r"}),
    "unpublished": lambda ledger, term: ledger.unpublished(),
    "last_slots": lambda ledger, term: ledger.last_slots(),
    "eligible_since": lambda ledger, term: ledger.entries.eligible_since(term, {name("a"): "f"}, {}),
    "standings": lambda ledger, term: ledger.standings(),
    "start_run": lambda ledger, term: ledger.runs.start(slot(), Epoch(1), "w"),
    "run": lambda ledger, term: ledger.runs.read(slot()),
    "resume_run": lambda ledger, term: ledger.runs.resume(slot(), "d", "w"),
    "end_run": lambda ledger, term: ledger.runs.end(slot(), "w"),
    "deduplicated": lambda ledger, term: ledger.runs.count_deduplicated(slot()),
    "heard": lambda ledger, term: ledger.runs.heard("o"),
    "prune": lambda ledger, term: ledger.prune(1),
}
TABLES = [m._meta.db_table for m in (models.Slot, models.Fence, models.Term, models.Entry, models.UnmanagedBeat)]


@contextmanager
def without_tables(alias: str) -> Iterator[None]:
    """As before ``migrate``: the tables bear other names meanwhile."""
    with connections[alias].cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
    connections[alias].close()
    try:
        yield
    finally:
        connections[alias].close()
        with connections[alias].cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"ALTER TABLE {table}_away RENAME TO {table}")


def test_before_the_migration_every_method_says_what_to_do_and_afterwards_works(ledger, lead, alias):
    term = lead()
    with without_tables(alias):
        for method in METHODS.values():
            with pytest.raises(LedgerNotMigrated, match=r"^The database has no ledger yet: run `manage.py migrate`\.$"):
                method(ledger, term)
    assert ledger.claim(term, [slot()]) == {slot(): Claim.CLAIMED}


def test_a_fence_row_that_is_missing_is_a_migration_that_is_missing(ledger, alias):
    models.Fence.objects.using(alias).all().delete()
    for method in (ledger.fence.read, lambda: ledger.fence.switch(Side.DATABASE)):
        with pytest.raises(LedgerNotMigrated):
            method()


@contextmanager
def database_away(alias: str) -> Iterator[None]:
    """The server takes no connection: its address is wrong meanwhile."""
    connection = connections[alias]
    right = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(NAME="/no/such/folder/db" if connection.vendor == "sqlite" else "no_such_database")
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(right)


@pytest.mark.parametrize("method", METHODS)
def test_without_a_database_every_method_says_so_in_one_line_and_recovers(ledger, lead, alias, method):
    term = lead()
    with database_away(alias), pytest.raises(LedgerUnavailable) as told:
        METHODS[method](ledger, term)
    assert type(told.value) is LedgerUnavailable
    assert str(told.value).startswith(f"The database ({alias}) gives no answer: ")
    assert "\n" not in str(told.value)
    assert ledger.claim(term, [slot()]) == {slot(): Claim.CLAIMED}


def test_a_connection_that_the_server_has_cut_is_replaced_by_the_next_call(ledger, lead, alias):
    if connections[alias].vendor == "sqlite":
        pytest.skip("a file has no connection to cut")
    term = lead()
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]

    def cut() -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])

    in_threads(cut)
    with pytest.raises(LedgerUnavailable):
        ledger.claim(term, [slot()])
    assert ledger.claim(term, [slot()]) == {slot(): Claim.CLAIMED}


def test_states_of_slots_are_those_of_the_types(ledger):
    assert {value for value, _ in models.Slot._meta.get_field("state").choices} == {s.value for s in SlotState}
