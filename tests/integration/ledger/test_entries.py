"""Since when entries are owed their slots, on real SQLite and real PostgreSQL."""

import datetime as dt

import pytest

from cutover import clock, models
from cutover.ledger.claims import Ledger
from cutover.types import Side
from tests.support.ledger import DAY, HOUR, name

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]


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
