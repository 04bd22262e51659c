"""What the ledger forgets, and when, on real SQLite and real PostgreSQL."""

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from django.db import transaction

from cutover import clock, models
from cutover.ledger import Ledger
from cutover.types import Claim, Missed, Slot, Start, Term
from tests.support.ledger import DAY, give_past, slot
from tests.support.plans import assert_by_index, plans

pytestmark = [pytest.mark.integration, pytest.mark.mariadb, pytest.mark.usefixtures("nothing_left")]


def test_pruning_forgets_what_is_old_and_keeps_each_entrys_latest(ledger, lead, alias, rows):
    term = lead()
    kept = [slot("a"), slot("dormant", 20 * DAY), slot("a", 29 * DAY)]
    publish(ledger, term, [*kept, *[slot("a", DAY * i) for i in range(20, 25)]])
    with aged(alias, 15 * DAY):
        pass
    # After fifteen more days: `a` has slots of 15 and of 35 to 44 days, `dormant` its only one, of 35.
    assert ledger.retention.prune(most=2) == 2
    assert ledger.retention.prune(most=100) == 4
    assert ledger.retention.prune(most=100) == 0
    assert {entry for entry, _ in rows()} == {"a", "dormant"}
    assert len(rows()) == 2


def test_a_clock_that_is_ahead_forgets_nothing_that_is_young(ledger, lead, rows, monkeypatch):
    ledger.claims.claim(lead(), [slot("a"), slot("a", DAY)])
    true = clock.now
    monkeypatch.setattr(clock, "now", lambda: true() + 60 * DAY)
    assert ledger.retention.prune(most=100) == 0
    assert len(rows()) == 2


def publish(ledger: Ledger, term: Term, slots: Sequence[Slot]) -> None:
    ledger.claims.claim(term, slots)
    ledger.claims.confirm(slots)


@contextmanager
def aged(alias: str, by: dt.timedelta) -> Iterator[None]:
    """As if ``by`` had passed: every slot is older by that much."""
    with transaction.atomic(using=alias):
        for row in models.Slot.objects.using(alias):
            models.Slot.objects.using(alias).filter(pk=row.pk).update(due_at=row.due_at - by)
    yield


def test_what_was_pruned_can_not_be_claimed_again(ledger, lead, alias):
    term, old = lead(), slot("a", 25 * DAY)
    publish(ledger, term, [old, slot("a", DAY)])
    with aged(alias, 10 * DAY):
        assert ledger.retention.prune(10) == 1
    forgotten = Slot(old.due_at - 10 * DAY, old.entry)
    assert ledger.claims.claim(term, [forgotten]) == {forgotten: Claim.TOO_OLD}
    assert ledger.runs.start(forgotten, term.epoch, "w") is Start.TOO_OLD


def test_terms_that_ended_long_ago_are_forgotten_and_never_the_latest_two(ledger, lead, alias):
    for _ in range(6):
        lead()
    terms = models.Term.objects.using(alias)
    terms.filter(ended_at__isnull=False).update(ended_at=clock.now() - 31 * DAY)
    terms.filter(epoch=2).update(ended_at=clock.now() - 29 * DAY)
    ledger.retention.prune(most=1)
    assert set(terms.values_list("epoch", flat=True)) == {2, 3, 4, 5, 6}
    ledger.retention.prune(most=100)
    assert set(terms.values_list("epoch", flat=True)) == {2, 5, 6}
    terms.update(ended_at=clock.now() - 31 * DAY)  # nobody has led for a month
    ledger.retention.prune(most=100)
    assert set(terms.values_list("epoch", flat=True)) == {5, 6}


def test_the_journal_keeps_what_is_open_and_the_phase_that_was_finished_last(ledger, alias):
    steps, old = models.Transition.objects.using(alias), clock.now() - 31 * DAY

    def step(name: str, outcome: str = "done", ended_at: dt.datetime | None = old) -> int:
        return steps.create(
            phase="phase2", step=name, outcome=outcome, operator="o", begun_at=old, ended_at=ended_at
        ).pk

    gone = [step("import"), step("gates", "refused"), step(models.FINISH)]
    open_, young, finish = step("import", "begun", None), step("import", ended_at=clock.now()), step(models.FINISH)
    later = [step("gates", "refused"), step("import", "failed")]
    ledger.retention.prune(most=2)
    assert set(steps.values_list("pk", flat=True)) == {gone[2], open_, young, finish, *later}
    for _ in range(2):
        ledger.retention.prune(most=100)
        assert set(steps.values_list("pk", flat=True)) == {open_, young, finish, *later}


def test_before_any_phase_was_finished_the_journal_keeps_everything(ledger, alias):
    old, steps = clock.now() - 31 * DAY, models.Transition.objects.using(alias)
    steps.create(phase="phase1", step="gates", outcome="refused", operator="o", begun_at=old, ended_at=old)
    ledger.retention.prune(most=100)
    assert steps.count() == 1


def test_commands_that_stayed_are_forgotten_ended_or_killed_but_for_who_is_there_and_the_latest_guard(ledger, alias):
    old, now = clock.now() - 31 * DAY, clock.now()
    waits, guards = models.QuietWait.objects.using(alias), models.SwitchGuard.objects.using(alias)

    def stay(rows, began_at: dt.datetime, seen_at: dt.datetime, *, ended: bool = True, **fields) -> int:
        told = {"operator": "o", "process": "p", "ended_at": seen_at if ended else None, "until": began_at}
        return rows.create(began_at=began_at, seen_at=seen_at, **told, **fields).pk

    for _ in range(2):
        stay(waits, old, old)
        stay(guards, old, old, switch_epoch=1)
    stay(waits, old, old, ended=False)  # killed, and never heard of again
    stay(guards, old, old, ended=False, switch_epoch=1)
    kept_waits = {stay(waits, old, now), stay(waits, old, now, ended=False)}
    kept_guards = {stay(guards, old, now, switch_epoch=2), stay(guards, old, old, switch_epoch=3)}
    ledger.retention.prune(most=1)
    assert (waits.count(), guards.count()) == (4, 4)
    ledger.retention.prune(most=100)
    assert set(waits.values_list("pk", flat=True)) == kept_waits
    assert set(guards.values_list("pk", flat=True)) == kept_guards


def test_what_is_old_is_found_by_index(ledger, alias):
    give_past(alias)
    with plans(alias) as found:
        assert ledger.retention.prune(most=100) == 0
    assert_by_index(found, 100)


def test_what_is_still_to_be_sent_is_not_forgotten_however_old(ledger, lead, alias, rows):
    """A claim and a replay that a pause keeps back."""
    term, claimed, replayed, newest = lead(), slot("a", 3 * DAY), slot("a", 2 * DAY), slot("a", DAY)
    ledger.claims.claim(term, [claimed, newest], [Missed(replayed, "why")])
    models.Slot.objects.using(alias).filter(state="missed").update(replay_asked_at=clock.now() - 31 * DAY)
    with aged(alias, 31 * DAY):
        assert ledger.retention.prune(100) == 0
    assert len(rows()) == 3
