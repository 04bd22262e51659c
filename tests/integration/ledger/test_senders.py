"""Who sends scheduled tasks without a slot, on real databases."""

import datetime as dt

import pytest

from cutover import clock, models
from cutover.ledger.senders import ORIGINS
from cutover.types import SentBy, Slotless

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]

WEB = Slotless("a.task", "an-entry", "gen7@web")


def test_messages_are_counted_by_task_entry_and_origin(ledger):
    first, second = clock.now() - dt.timedelta(seconds=9), clock.now()
    assert ledger.senders.last_seen_at(WEB) is None
    ledger.senders.count(WEB, 1, 0, first)
    ledger.senders.count(WEB, 3, 2, second)
    ledger.senders.count(Slotless("a.task", "another", WEB.origin), 1, 0, first)
    assert ledger.senders.last_seen_at(WEB) == second
    found = [(r.entry, r.messages, r.at_slots, r.first_seen_at, r.last_seen_at) for r in ledger.senders.read()]
    assert found == [("an-entry", 4, 2, first, second), ("another", 1, 0, first, first)]
    assert ledger.senders.forget(WEB.origin)
    assert not ledger.senders.forget(WEB.origin)


def test_of_a_task_whose_origins_are_ever_new_the_latest_are_kept(ledger, alias):
    now = clock.now()
    ledger.senders.count(Slotless("b.task", "", "gen1@web"), 1, 0, now - dt.timedelta(days=1))
    for number in range(ORIGINS + 3):
        ledger.senders.count(Slotless("a.task", "", f"gen{number}@web"), 1, 0, now + dt.timedelta(seconds=number))
    kept = models.SlotlessSender.objects.using(alias).values_list("task", "origin")
    assert sorted(kept) == sorted([*(("a.task", f"gen{n + 3}@web") for n in range(ORIGINS)), ("b.task", "gen1@web")])


def test_who_was_seen_before_the_retention_is_forgotten(ledger, alias):
    ledger.senders.count(WEB, 1, 0, clock.now() - dt.timedelta(days=31))
    ledger.senders.count(Slotless("a.task", "", "gen8@web"), 1, 0, clock.now() - dt.timedelta(days=29))
    ledger.retention.prune(100)
    assert [row.origin for row in ledger.senders.read()] == ["gen8@web"]


def test_the_operators_last_word_on_a_task_counts(ledger):
    ledger.senders.set_sent_by(["a", "b"], SentBy.HAND)
    ledger.senders.set_sent_by(["b"], SentBy.BEATS_ALONE)
    assert ledger.senders.sent_by() == {"a": SentBy.HAND, "b": SentBy.BEATS_ALONE}
