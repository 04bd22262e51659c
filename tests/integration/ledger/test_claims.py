"""Claims and publications, on real SQLite and real PostgreSQL: what is admitted, by whom, and how often."""

import threading

import pytest
from django.db import connections

from cutover import clock, models
from cutover.beats.resend import unstarted
from cutover.errors import LedgerUnavailable
from cutover.ledger.database import transaction
from cutover.ledger.fence import AHEAD
from cutover.types import Claim, Missed, Sender, Side, Slot, SlotState, Start, Term
from tests.support.ledger import DAY, HOUR, NOW, SECOND, give_past, name, slot
from tests.support.plans import assert_by_index, plans
from tests.support.rooms import in_threads, timed

pytestmark = [pytest.mark.integration, pytest.mark.mariadb, pytest.mark.usefixtures("nothing_left")]


def test_a_slot_is_claimed_once(ledger, lead, rows):
    term, one = lead(), slot()
    assert ledger.claims.claim(term, [one]) == {one: Claim.CLAIMED}
    assert ledger.claims.claim(term, [one, slot("b")]) == {one: Claim.ALREADY_CLAIMED, slot("b"): Claim.CLAIMED}
    row = rows()["a", one.due_at]
    assert (row.state, row.epoch, row.side, str(row.task_id)) == ("claimed", 1, "code", one.task_id("tests"))


def test_a_later_term_does_not_claim_again_what_an_earlier_one_claimed(ledger, lead):
    one = slot()
    ledger.claims.claim(lead(), [one])
    assert ledger.claims.claim(lead(), [one]) == {one: Claim.ALREADY_CLAIMED}


def test_a_leader_that_was_succeeded_claims_nothing(ledger, lead, rows):
    old, _ = lead(), lead()
    assert ledger.claims.claim(old, [slot()], [Missed(slot("b"), "late")]) == dict.fromkeys(
        [slot(), slot("b")], Claim.FENCED
    )
    assert ledger.claims.claim(old, [], [Missed(slot("b"), "late")]) == {slot("b"): Claim.FENCED}
    assert rows() == {}


def test_a_leader_that_was_switched_away_claims_nothing(ledger, lead, rows):
    old = lead()
    ledger.fence.switch(Side.DATABASE)
    assert ledger.claims.claim(old, [slot()]) == {slot(): Claim.FENCED}
    ledger.fence.switch(Side.CODE)
    assert ledger.claims.claim(old, [slot()]) == {slot(): Claim.FENCED}, "a switch there and back does not readmit it"
    assert rows() == {}


def test_a_term_of_the_right_epoch_and_the_wrong_side_claims_nothing(ledger, lead, rows):
    term = lead()
    forged = Term(term.epoch, Side.DATABASE, term.holder)
    assert ledger.claims.claim(forged, [slot()]) == {slot(): Claim.FENCED}
    assert rows() == {}


def test_a_slot_older_than_the_retention_is_too_old_and_never_new(ledger, lead, rows):
    old, young = slot("a", 30 * DAY + SECOND), slot("a", 30 * DAY - HOUR)
    assert ledger.claims.claim(lead(), [old, young]) == {old: Claim.TOO_OLD, young: Claim.CLAIMED}
    assert list(rows()) == [("a", young.due_at)]


def test_what_is_not_due_by_the_databases_clock_is_too_early_and_nothing_of_its_entry_is_written(ledger, lead, rows):
    """A leader whose clock is two hours ahead takes the slot of now for one that a later one has passed over."""
    ahead, passed_over = slot("a", -2 * HOUR), slot("a")
    nearly, due = Slot(clock.now() + AHEAD / 2, name("b")), slot("c")
    outcomes = ledger.claims.claim(lead(), [ahead, nearly, due], [Missed(passed_over, "a later slot was sent")])
    assert outcomes == {
        **dict.fromkeys([ahead, passed_over], Claim.TOO_EARLY),
        **dict.fromkeys([nearly, due], Claim.CLAIMED),
    }
    assert {entry for entry, _ in rows()} == {"b", "c"}


def test_what_was_passed_over_before_its_time_is_taken_back_and_what_was_sent_stays(ledger, lead, rows, alias):
    term, missed, sent, past = lead(), slot("a", -HOUR), slot("a", -2 * HOUR), slot("a", HOUR)
    ledger.claims.claim(term, [past], [Missed(slot("b"), "late")])
    for early, state in (missed, SlotState.MISSED), (sent, SlotState.PUBLISHED):
        ledger.claims.claim(term, [Slot(past.due_at, name("made"))])
        models.Slot.objects.using(alias).filter(entry="made").update(
            entry=early.entry, due_at=early.due_at, state=state, task_id=early.task_id("tests")
        )
    assert ledger.claims.retract_early(term)
    assert set(rows()) == {("a", past.due_at), ("a", sent.due_at), ("b", slot("b").due_at)}
    assert [one.superseded for one in ledger.claims.unpublished()] == [False], "a slot of the future supersedes nothing"
    models.Slot.objects.using(alias).filter(entry="b").update(due_at=missed.due_at)
    lead()
    assert not ledger.claims.retract_early(term), "fenced"


def test_missed_slots_are_recorded_with_their_reason_and_count(ledger, lead, rows):
    late, one = slot("a", HOUR), slot()
    ledger.claims.claim(lead(), [one], [Missed(late, "older than the catch-up window", passed_over=7)])
    row = rows()["a", late.due_at]
    assert (row.state, row.reason, row.passed_over) == ("missed", "older than the catch-up window", 7)
    assert rows()["a", one.due_at].state == "claimed"


def test_a_slot_that_was_sent_is_not_turned_into_a_missed_one(ledger, lead, rows):
    term, one = lead(), slot()
    ledger.claims.claim(term, [one])
    ledger.claims.confirm([one])
    ledger.claims.claim(term, [], [Missed(one, "late")])
    assert rows()["a", one.due_at].state == "published"


def test_as_many_slots_as_a_beat_claims_at_once_are_claimed_in_one_commit(ledger, lead, rows):
    many = [slot(str(i)) for i in range(200)]
    missed = [Missed(slot(str(i), HOUR), "late") for i in range(200)]
    assert set(ledger.claims.claim(lead(), many, missed).values()) == {Claim.CLAIMED}
    assert len(rows()) == 400


def test_claiming_nothing_still_asks_the_fence(ledger, lead):
    old = lead()
    assert ledger.claims.claim(old, []) == {}
    lead()
    assert ledger.claims.claim(old, []) == {}


def test_under_fire_each_slot_is_claimed_exactly_once(ledger, lead, rows):
    """Leaders of the same epoch, which only a forged lease could make, all at once: the unique slot decides."""
    term, wanted = lead(), [slot(str(i)) for i in range(60)]
    outcomes = in_threads(*[lambda: ledger.claims.claim(term, wanted)] * 6)
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
                if ledger.claims.claim(term, [one])[one] is Claim.CLAIMED:
                    claimed.append((one, term.epoch))

    in_threads(*[usurp] * 4)
    assert len(claimed) == len({one for one, _ in claimed}) == len(rows())
    assert {(r.entry, r.epoch) for r in rows().values()} == {(one.entry, epoch) for one, epoch in claimed}


def test_runs_recorded_during_the_claim_cost_it_no_slot_and_double_none(ledger, lead, rows):
    """A worker records without the fence: a claim that meets it loses that slot and no other."""
    term, wanted = lead(), [slot(str(i)) for i in range(30)]
    workers = [lambda i=i: [ledger.runs.start(one, term.epoch, f"w{i}") for one in wanted] for i in range(3)]
    outcome, *runs = in_threads(lambda: ledger.claims.claim(term, wanted), *workers)
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
            with pytest.raises(LedgerUnavailable), transaction(ledger.alias):
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
    ledger.claims.claim(lead(), [one, other])
    ledger.claims.confirm([one])
    assert [stuck.slot for stuck in ledger.claims.unpublished()] == [other]
    assert rows()["a", one.due_at].published_at is not None
    ledger.claims.confirm([])


def test_a_leader_that_was_fenced_meanwhile_still_confirms_what_it_sent(ledger, lead, rows):
    one = slot()
    ledger.claims.claim(lead(), [one])
    lead()
    ledger.claims.confirm([one])
    assert rows()["a", one.due_at].state == "published"


def test_a_claim_confirms_what_was_published_before_it_whatever_the_fence_says(ledger, lead, rows):
    old = lead()
    first, second, third = slot("a"), slot("b"), slot("c")
    ledger.claims.claim(old, [first])
    assert ledger.claims.claim(old, [second], published=[first]) == {second: Claim.CLAIMED}
    lead()
    assert ledger.claims.claim(old, [third], published=[second]) == {third: Claim.FENCED}
    assert {key[0]: row.state for key, row in rows().items()} == {"a": "published", "b": "published"}


def test_confirming_touches_no_other_entry_of_the_same_instant(ledger, lead, rows):
    one, other = slot("a"), slot("b")
    ledger.claims.claim(lead(), [one, other])
    ledger.claims.confirm([one])
    assert rows()["b", other.due_at].state == "claimed"


def test_confirming_does_not_bring_back_what_was_given_up(ledger, lead, rows):
    term, one = lead(), slot()
    ledger.claims.claim(term, [one])
    assert ledger.claims.give_up(term, {one: "no such entry"})
    ledger.claims.confirm([one])
    assert (rows()["a", one.due_at].state, rows()["a", one.due_at].reason) == ("missed", "no such entry")


def test_who_is_fenced_gives_nothing_up(ledger, lead, rows):
    old, one = lead(), slot()
    ledger.claims.claim(old, [one])
    lead()
    assert ledger.claims.give_up(old, {one: "no such entry"}) is False
    assert rows()["a", one.due_at].state == "claimed"


def test_what_was_published_is_not_given_up(ledger, lead, rows):
    term, one = lead(), slot()
    ledger.claims.claim(term, [one])
    ledger.claims.confirm([one])
    assert ledger.claims.give_up(term, {one: "no such entry"})
    assert rows()["a", one.due_at].state == "published"


def test_a_claim_whose_run_has_started_was_published_whatever_its_publisher_was_told(ledger, lead):
    term = lead()
    started, stuck = slot("a"), slot("b")
    ledger.claims.claim(term, [started, stuck])
    ledger.runs.start(started, term.epoch, "w")
    ledger.claims.confirm_started()
    assert [found.slot for found in ledger.claims.unpublished()] == [stuck]


def test_unpublished_claims_come_oldest_first_and_say_what_supersedes_them(ledger, lead):
    term = lead()
    old, middle, new, other = slot("a", 2 * HOUR), slot("a", HOUR), slot("a"), slot("b", 3 * HOUR)
    ledger.claims.claim(term, [new, old, other])
    ledger.claims.claim(term, [], [Missed(middle, "late")])
    found = ledger.claims.unpublished()
    assert [(stuck.slot, stuck.superseded) for stuck in found] == [(other, False), (old, True), (new, False)]
    assert {stuck.epoch for stuck in found} == {term.epoch}


def test_states_of_slots_are_those_of_the_types(ledger):
    assert {value for value, _ in models.Slot._meta.get_field("state").choices} == {s.value for s in SlotState}


def test_the_claim_loses_a_slot_that_a_worker_records_in_its_midst_and_no_other(ledger, lead, alias, rows):
    """Between what the claim reads and what it writes, when nothing but the unique slot can tell."""
    if connections[alias].vendor == "sqlite":
        pytest.skip("SQLite lets nobody write meanwhile")
    term, wanted, recorded = lead(), [slot(str(i)) for i in range(3)], []

    def record(execute, sql, params, many, context):
        if sql.startswith("INSERT") and "cutover_slot" in sql and not recorded:
            one = wanted[len(recorded)]
            recorded.append(one)
            in_threads(lambda: ledger.runs.start(one, term.epoch, "w"))
        return execute(sql, params, many, context)

    with connections[alias].execute_wrapper(record):
        outcome = ledger.claims.claim(term, wanted, [Missed(slot("late", HOUR), "late")])
    first, second, third = wanted
    assert recorded == [first]
    assert outcome == {first: Claim.ALREADY_CLAIMED, second: Claim.CLAIMED, third: Claim.CLAIMED}
    assert {key[0]: row.state for key, row in rows().items()} == {
        **{"0": "published", "1": "claimed", "2": "claimed", "late": "missed"}
    }


def test_what_is_rare_is_found_by_an_index_of_its_own(ledger, lead, alias):
    """The partial indexes, with the values that Django binds; on PostgreSQL the rows that were read are counted."""
    term = lead()
    give_past(alias)
    long_ago, sender = NOW - DAY, Sender("7@host", "m35")
    reads = {
        "unpublished": lambda: len(ledger.claims.unpublished()) == 10,
        "started by": lambda: ledger.runs.started_by(sender, [name("e35")]) == slot("e35"),
        "read": lambda: ledger.runs.read(slot("e35")).sender == str(sender),
        "claim": lambda: ledger.claims.claim(term, [slot("e35")]) == {slot("e35"): Claim.ALREADY_CLAIMED},
        "term": lambda: ledger.fence.term_since(term.epoch).epoch == term.epoch,
    }
    for read in reads.values():
        with plans(alias) as found:
            assert read()
        assert all(not plan.scans and (plan.rows or 0) <= 30 for plan in found), found
    with plans(alias) as found:
        assert unstarted(ledger, long_ago, clock.now(), long_ago) == []
    assert_by_index(found[:1], 10)


def test_claims_come_in_the_order_of_their_index(ledger, alias):
    give_past(alias)
    with plans(alias) as found:
        ledger.claims.unpublished()
    for plan in found:
        assert "cutover_slot_unpublished" in plan.lines
        assert "Sort" not in plan.lines
        assert "TEMP B-TREE" not in plan.lines
        assert "filesort" not in plan.lines
    assert len(found) == 2, "whether there are any, and which"
