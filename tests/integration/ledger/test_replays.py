"""Replays: what was missed is asked for once, and claimed once, by whoever leads then."""

import pytest

from cutover import clock, models
from cutover.ledger.replays import Piece
from cutover.ledger.runs import RunEnd
from cutover.types import Claim, Missed, RunOutcome, Side, Start
from tests.support.ledger import HOUR, name, slot

pytestmark = [pytest.mark.integration, pytest.mark.mariadb, pytest.mark.usefixtures("nothing_left")]


@pytest.fixture
def term(ledger, identity):
    return ledger.fence.open_term(identity(), Side.CODE)


@pytest.fixture
def missed(ledger, term, alias):
    """Three missed slots of entry a, the oldest of which counts ten more, and a later one that was published."""
    records = [Missed(slot(ago=hours * HOUR), "why", 10 * (hours == 4)) for hours in (4, 3, 2)]
    ledger.claims.claim(term, [slot(ago=HOUR)], records)
    ledger.claims.confirm([slot(ago=HOUR)])
    return list(models.Slot.objects.using(alias).filter(state="missed").order_by("due_at"))


def knows(_):
    return True


def test_what_is_asked_for_is_claimed_once_oldest_first_under_the_leaders_epoch(ledger, missed, identity, alias):
    keys = [row.pk for row in missed]
    assert ledger.replays.ask(Side.CODE, [Piece(name("a"), keys)], clock.now()) == 3
    assert ledger.replays.ask(Side.CODE, [Piece(name("a"), keys)], clock.now()) == 0
    assert (ledger.replays.waiting(), ledger.fence.read({"asked": ledger.replays.asked}).answers) == (
        3,
        {"asked": True},
    )
    successor = ledger.fence.open_term(identity(), Side.CODE)
    assert ledger.replays.claim(successor, knows, 2).claimed == [slot(ago=4 * HOUR), slot(ago=3 * HOUR)]
    assert ledger.replays.claim(successor, knows, 2).claimed == [slot(ago=2 * HOUR)]
    assert ledger.replays.claim(successor, knows, 2).claimed == []
    claims = ledger.claims.unpublished()
    assert [(c.slot, c.epoch, c.is_replayed) for c in claims] == [
        (slot(ago=hours * HOUR), successor.epoch, True) for hours in (4, 3, 2)
    ]
    ledger.claims.confirm([c.slot for c in claims])
    assert not ledger.fence.read({"asked": ledger.replays.asked}).answers["asked"]
    assert ledger.replays.ask(Side.CODE, [Piece(name("a"), keys)], clock.now()) == 0


def test_a_leader_that_was_succeeded_claims_nothing(ledger, missed, term, identity):
    ledger.replays.ask(Side.CODE, [Piece(name("a"), [missed[0].pk])], clock.now())
    ledger.fence.open_term(identity(), Side.CODE)
    assert ledger.replays.claim(term, knows, 10) is None
    assert ledger.replays.waiting() == 1


def test_nothing_is_asked_for_of_a_side_that_is_not_active_any_more(ledger, missed):
    ledger.fence.switch(Side.DATABASE)
    assert ledger.replays.ask(Side.CODE, [Piece(name("a"), [missed[0].pk])], clock.now()) is None
    assert ledger.replays.waiting() == 0


def test_what_the_leader_does_not_know_stays_missed_and_may_be_asked_for_again(ledger, missed, term):
    piece = Piece(name("a"), [missed[0].pk])
    ledger.replays.ask(Side.CODE, [piece], clock.now())
    taken = ledger.replays.claim(term, lambda entry: False, 10)
    assert (taken.claimed, taken.unknown) == ([], [slot(ago=4 * HOUR)])
    assert ledger.replays.waiting() == 0
    assert ledger.replays.ask(Side.CODE, [piece], clock.now()) == 1


def test_what_is_given_up_may_be_asked_for_again(ledger, missed, term):
    piece = Piece(name("a"), [missed[0].pk])
    ledger.replays.ask(Side.CODE, [piece], clock.now())
    ledger.replays.claim(term, knows, 10)
    assert ledger.claims.give_up(term, {slot(ago=4 * HOUR): "withheld"})
    assert (ledger.replays.waiting(), ledger.replays.ask(Side.CODE, [piece], clock.now())) == (0, 1)


def test_what_a_worker_has_started_meanwhile_is_not_claimed(ledger, missed, term):
    """By the message of a leader that was frozen until now."""
    ledger.replays.ask(Side.CODE, [Piece(name("a"), [row.pk for row in missed])], clock.now())
    assert ledger.runs.start(slot(ago=3 * HOUR), term.epoch, "w") is Start.STARTED
    ledger.runs.end([RunEnd(slot(ago=3 * HOUR), "w", RunOutcome.SUCCEEDED)])
    assert ledger.replays.claim(term, knows, 10).claimed == [slot(ago=4 * HOUR), slot(ago=2 * HOUR)]
    assert ledger.replays.waiting() == 0


def test_slots_that_were_only_counted_become_rows_and_every_count_stays_true(ledger, missed, term, alias):
    rows = models.Slot.objects.using(alias)
    instants = [slot(ago=(4 + n) * HOUR).due_at for n in range(10, 0, -1)]
    piece = Piece(name("a"), (), missed[0].pk, 10, 4, instants[4:7])  # three of them, from the middle
    at = clock.now()
    assert ledger.replays.ask(Side.CODE, [piece], at) == 3
    assert ledger.replays.ask(Side.CODE, [piece], at) == 0, "somebody else has asked for the same"
    counts = dict(rows.filter(passed_over__gt=0).values_list("due_at", "passed_over"))
    assert counts == {missed[0].due_at: 3, instants[4]: 4}
    assert ledger.replays.progress(at) == (3, 0, 0)
    claimed = ledger.replays.claim(term, knows, 10).claimed
    assert [one.due_at for one in claimed] == instants[4:7]
    assert {str(row.task_id) for row in rows.filter(replay_asked_at=at)} == {s.task_id("tests") for s in claimed}
    assert ledger.claims.claim(term, claimed) == dict.fromkeys(claimed, Claim.ALREADY_CLAIMED)


def test_what_was_replayed_is_remembered_for_a_whole_retention_from_then_on(ledger, missed, term, alias):
    rows = models.Slot.objects.using(alias)
    old = clock.now() - 40 * 24 * HOUR
    rows.filter(state="missed").update(claimed_at=old)
    for row in missed:
        rows.filter(pk=row.pk).update(due_at=row.due_at - 40 * 24 * HOUR)
    rows.filter(pk=missed[0].pk).update(state="published", replay_asked_at=clock.now())
    ledger.retention.prune(100)
    assert set(rows.values_list("pk", flat=True)) & {row.pk for row in missed} == {missed[0].pk}
