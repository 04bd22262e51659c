"""Where entries stand in the ledger, on real SQLite and real PostgreSQL."""

import pytest

from cutover.types import Missed
from tests.support.ledger import HOUR, name, slot

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]


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
