"""Where entries stand in the ledger, on real SQLite and real PostgreSQL."""

import datetime as dt
from collections.abc import Callable

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from cutover import models
from cutover.ledger import Ledger
from cutover.types import Cursor, Missed
from tests.support.ledger import CROWD, DAY, HOUR, NOW, give_past, name, settle, slot
from tests.support.plans import assert_by_index, plans

pytestmark = [pytest.mark.integration, pytest.mark.mariadb, pytest.mark.usefixtures("nothing_left")]


def test_the_latest_slot_counts_whatever_became_of_it(ledger, lead):
    term = lead()
    newest = slot("a")
    ledger.claims.claim(term, [slot("a", HOUR), slot("b")], [Missed(newest, "late")])
    assert ledger.cursors.latest_of([name("a"), name("b"), name("z")]) == {
        name("a"): newest.due_at,
        name("b"): slot("b").due_at,
    }
    assert ledger.cursors.latest_of([]) == {}


def test_the_latest_rows_have_all_that_slots_have(ledger, lead, alias):
    term, at = lead(), NOW - HOUR + dt.timedelta(microseconds=123_457)
    ledger.claims.claim(term, [slot("a", DAY), slot("a", HOUR), slot("b", HOUR)])
    settle(ledger, term, {name("a"): "f", name("b"): "f", name("never"): "f"})
    slots = models.Slot.objects.using(alias)
    slots.filter(entry="a").update(published_at=at, run_started_at=at, outcome="failed", error="no", sender="7@host x")
    cursors, latest = ledger.cursors.latest_rows(NOW, lambda row: row)
    eligible = dict(models.Entry.objects.using(alias).values_list("name", "eligible_since"))
    assert cursors == {
        "a": Cursor(slot("a", HOUR).due_at, eligible["a"]),
        "b": Cursor(slot("b", HOUR).due_at, eligible["b"]),
        "never": Cursor(None, eligible["never"]),
    }
    for entry in ("a", "b"):
        row = latest[name(entry)]
        assert row._asdict() == slots.filter(entry=entry).order_by("-due_at").values().first()
        assert row.claimed_at.tzinfo is dt.UTC
    assert latest.keys() == {"a", "b"}


def test_the_rows_before_an_instant_are_those_of_each_entry_newest_first(ledger, lead):
    term = lead()
    crowd = [f"e{number}" for number in range(250)]
    ledger.claims.claim(term, [slot(one, ago * HOUR) for one in crowd for ago in (1, 2, 3)])
    until = {name(one): slot(one, HOUR).due_at for one in crowd} | {name("never"): NOW}
    for most in (1, 2, 5):
        found = ledger.cursors.rows_before(until, lambda row: row, most)
        wanted = [slot("e7", ago * HOUR).due_at for ago in (2, 3)][:most]
        assert {tuple(row.due_at for row in found[name(one)]) for one in crowd} == {tuple(wanted)}
        assert {row.entry for rows in found.values() for row in rows} == set(crowd)
        assert found[name("never")] == []
    assert ledger.cursors.rows_before({}, lambda row: row, 1) == {}


def test_only_what_is_new_is_read_again_and_nothing_is_lost(ledger, lead):
    term = lead()
    for some in range(0, 1_500, 100):
        ledger.claims.claim(term, [slot(f"e{some + i}", HOUR) for i in range(100)])
    before, seen = ledger.cursors.follow(0)
    assert before == {}
    newer = slot("e3")
    ledger.claims.claim(term, [newer])
    last, now_seen = ledger.cursors.follow(seen)
    assert last[name("e3")] == newer.due_at
    assert len(last) < 1_100
    assert now_seen == seen + 1
    assert ledger.cursors.follow(now_seen)[1] == now_seen


def test_the_first_slot_that_is_ever_recorded_is_followed_by_a_successor(ledger, lead, alias):
    """Who looked before it was; and where there is no slot nothing is looked up, however many entries there are."""
    with CaptureQueriesContext(connections[alias]) as asked:
        last, key = ledger.cursors.follow(0, wholly={name(f"e{number}") for number in range(450)})
    assert (last, len(asked)) == ({}, 1)
    ledger.claims.claim(lead(), [slot("a", HOUR)])
    assert ledger.cursors.follow(key, overlap=0)[0] == {name("a"): slot("a", HOUR).due_at}


def test_what_is_committed_out_of_the_order_of_its_keys_is_followed_all_the_same(ledger, lead, alias):
    """A worker's record takes its key early and is committed late: a reader has gone past it meanwhile."""
    ledger.claims.claim(lead(), [slot("a", HOUR), slot("late", HOUR), slot("b", HOUR)])
    late = models.Slot.objects.using(alias).get(entry="late")
    models.Slot.objects.using(alias).filter(pk=late.pk).delete()
    last, seen = ledger.cursors.follow(0, wholly={name("a"), name("late")})
    assert last == {name("a"): slot("a", HOUR).due_at}
    late.save(using=alias, force_insert=True)  # under the key that it had
    assert late.pk < seen
    assert ledger.cursors.follow(seen)[0][name("late")] == late.due_at


def test_an_entry_that_is_new_to_the_reader_is_read_wholly(ledger, lead):
    term = lead()
    ledger.claims.claim(term, [slot("old", HOUR), slot("older", 2 * HOUR)])
    for some in range(0, 1_500, 100):
        ledger.claims.claim(term, [slot(f"e{some + i}", HOUR) for i in range(100)])
    _, seen = ledger.cursors.follow(0)
    newest = slot("older")
    ledger.claims.claim(term, [newest])
    assert "old" not in ledger.cursors.follow(seen)[0]
    last, now_seen = ledger.cursors.follow(seen, wholly={name("old"), name("older")})
    assert (last[name("old")], last[name("older")]) == (slot("old", HOUR).due_at, newest.due_at)
    assert now_seen == seen + 1


def test_a_cursor_is_the_latest_slot_and_since_when_its_entry_is_eligible(ledger, lead):
    term = lead()
    owed = settle(ledger, term, {name(n): "f" for n in ("a", "b", "gone")})
    settle(ledger, term, {name(n): "f" for n in ("a", "b")})
    ledger.claims.claim(term, [slot("a"), slot("a", HOUR), slot("gone"), slot("unknown")])
    assert ledger.cursors.read() == {
        name("a"): Cursor(slot("a").due_at, owed[name("a")]),
        name("b"): Cursor(None, owed[name("b")]),
    }
    assert ledger.cursors.read(until=NOW - HOUR)[name("a")].last == slot("a", HOUR).due_at
    assert ledger.cursors.read(until=NOW - DAY)[name("a")].last is None


@pytest.fixture
def past(ledger, alias) -> Ledger:
    """A ledger of 100,000 slots."""
    give_past(alias)
    return ledger


def test_no_cursor_is_read_by_a_scan_of_the_slots_however_many_there_are(past, alias):
    """Each look-up reads one slot, and a poll the overlap; on the servers the rows that were read are counted."""
    known = [name(f"e{i}") for i in range(CROWD)]
    unknown, newest = [name(f"u{i}") for i in range(450)], past.cursors.follow(0)[1]
    # MariaDB gets to a slot of an hour ago by the entry's later ones, and here they are all later.
    as_of = CROWD * (20 if connections[alias].vendor == "mysql" else 1)
    reads: dict[str, tuple[Callable[[], object], int]] = {
        "read": (past.cursors.read, CROWD),
        "as of": (lambda: past.cursors.read(NOW - HOUR), as_of),
        "latest of one": (lambda: past.cursors.latest_of(known[7:8]), 1),
        "latest of few": (lambda: past.cursors.latest_of(known[:150]), 150),
        "outcomes before": (lambda: past.cursors.outcomes_before(NOW, known), 2 * CROWD),
        "rows before": (lambda: past.cursors.rows_before(dict.fromkeys(known[:150], NOW), lambda row: row, 2), 300),
        "latest of all": (lambda: past.cursors.latest_of([*known, *unknown]), CROWD),
        "begin": (lambda: past.cursors.follow(0, wholly=known), CROWD),
        "poll": (lambda: past.cursors.follow(newest), 1_100),
    }
    for read, most in reads.values():
        with plans(alias) as found:
            read()
        assert_by_index(found, most)
    models.Entry.objects.using(alias).all().delete()
    for read, most in (reads["latest of all"], reads["begin"]):  # as on a beat's very first start
        with plans(alias) as found:
            assert read()
        assert_by_index(found, most)


def test_many_entries_are_looked_up_in_few_statements(past, alias):
    known = [name(f"e{i}") for i in range(CROWD)]
    with CaptureQueriesContext(connections[alias]) as asked:
        assert set(past.cursors.latest_of(known)) == set(known)
    assert len(asked) == 1
    models.Entry.objects.using(alias).all().delete()
    with CaptureQueriesContext(connections[alias]) as asked:
        assert past.cursors.latest_of(known) == dict.fromkeys(known, NOW)
    assert len(asked) == 1 + CROWD / 200
