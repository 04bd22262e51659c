"""What the ledger forgets, and when, on real SQLite and real PostgreSQL."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import transaction

from cutover import models
from cutover.types import Claim, Slot, Start
from tests.support.ledger import DAY, slot

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]


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
