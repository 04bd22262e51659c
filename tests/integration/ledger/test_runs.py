"""Which message of a slot runs, on real SQLite and real PostgreSQL."""

import sys

import pytest
from django import VERSION
from django.db import connections
from django.test.utils import CaptureQueriesContext

from cutover import models
from cutover.ledger.runs import RunEnd
from cutover.types import Claim, Epoch, RunOutcome, Sender, Start
from tests.support.ledger import DAY, HOUR, name, slot
from tests.support.rooms import in_threads

pytestmark = [pytest.mark.integration, pytest.mark.mariadb, pytest.mark.usefixtures("nothing_left")]


def test_of_twenty_workers_one_starts_the_run(ledger, lead):
    term, one = lead(), slot()
    ledger.claims.claim(term, [one])
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


def test_what_runs_after_its_claim_was_given_up_was_not_missed(ledger, lead, rows):
    """A leader frozen between claim and message, given up by its successor, and thawed."""
    one = slot()
    ledger.claims.claim(lead(), [one])
    assert ledger.claims.give_up(lead(), {one: "superseded"})
    assert ledger.runs.start(one, Epoch(1), "w") is Start.STARTED
    row = rows()["a", one.due_at]
    assert (row.state, row.published_at, row.run_by) == ("published", row.run_started_at, "w")


def test_the_life_of_a_slot_in_a_project_that_keeps_naive_times(settings, ledger, lead, rows, alias):
    connections[alias].close()
    settings.TIME_ZONE, settings.USE_TZ = "America/New_York", False
    term = lead()
    one, late, unclaimed = slot(), slot(ago=HOUR), slot("b")
    ledger.claims.claim(term, [one, late])
    assert [found.slot for found in ledger.claims.unpublished()] == [late, one]
    assert ledger.claims.give_up(term, {late: "superseded"})
    ledger.claims.confirm([one])
    for each in (one, late):
        assert ledger.runs.start(each, term.epoch, "w") is Start.STARTED
        ledger.runs.end([RunEnd(each, "w", RunOutcome.SUCCEEDED)])
    assert ledger.runs.start(unclaimed, term.epoch, "w", Sender("stock", "m")) is Start.STARTED
    assert ledger.runs.resume(unclaimed, "w", "v")
    ledger.runs.record_heard("stock")
    ledger.claims.confirm_started()
    assert {key: row.state for key, row in rows().items()} == dict.fromkeys(
        [("a", one.due_at), ("a", late.due_at), ("b", unclaimed.due_at)], "published"
    )
    assert ledger.cursors.latest_of([name("a"), name("b")]) == {name("a"): one.due_at, name("b"): unclaimed.due_at}
    connections[alias].close()


def test_a_claim_that_runs_is_not_given_up(ledger, lead, rows):
    one, term = slot(), lead()
    ledger.claims.claim(term, [one])
    ledger.runs.start(one, term.epoch, "w")
    assert ledger.claims.give_up(term, {one: "superseded"})
    ledger.claims.confirm_started()
    assert rows()["a", one.due_at].state == "published"


def test_a_run_before_the_confirmation_counts_as_a_run_and_the_slot_is_confirmed_later(ledger, lead, rows):
    one = slot()
    ledger.claims.claim(lead(), [one])
    assert ledger.runs.start(one, Epoch(1), "w") is Start.STARTED
    ledger.claims.confirm([one])
    row = rows()["a", one.due_at]
    assert (row.state, row.run_by) == ("published", "w")


def test_a_claim_of_a_slot_that_a_worker_recorded_is_lost(ledger, lead):
    one = slot()
    ledger.runs.start(one, Epoch(1), "w")
    assert ledger.claims.claim(lead(), [one]) == {one: Claim.ALREADY_CLAIMED}


def test_a_message_older_than_the_retention_does_not_run(ledger, rows):
    assert ledger.runs.start(slot("a", 31 * DAY), Epoch(1), "w") is Start.TOO_OLD
    assert rows() == {}


def test_a_run_is_handed_over_once(ledger, lead):
    one = slot()
    ledger.claims.claim(lead(), [one])
    ledger.runs.start(one, Epoch(1), "dead")
    outcomes = in_threads(*[lambda i=i: ledger.runs.resume(one, "dead", f"w{i}") for i in range(8)])
    assert outcomes.count(True) == 1
    assert ledger.runs.read(one).worker == f"w{outcomes.index(True)}"
    assert ledger.runs.resume(one, "dead", "late") is False


def test_a_run_that_has_ended_since_it_was_read_is_not_handed_over(ledger, lead):
    one = slot()
    ledger.claims.claim(lead(), [one])
    ledger.runs.start(one, Epoch(1), "w")
    read = ledger.runs.read(one)
    ledger.runs.end([RunEnd(one, "w", RunOutcome.SUCCEEDED)])
    assert not read.has_ended
    assert ledger.runs.resume(one, read.worker, "other") is False


def test_how_a_run_ended_is_its_latest_attempts_word(ledger, lead, rows, alias):
    one = slot()
    ledger.claims.claim(lead(), [one])

    def told():
        row = rows()["a", one.due_at]
        return row.outcome, row.error, row.run_ended_at is not None

    assert told() == (None, None, False)
    ledger.runs.start(one, Epoch(1), "first")
    assert told() == ("running", None, False)
    ledger.runs.end([RunEnd(one, "first", RunOutcome.RETRIED, "OSError: away")])
    assert told() == ("retried", "OSError: away", True)
    ledger.runs.start(one, Epoch(1), "second", attempt=1)
    assert told() == ("running", None, False)
    ledger.runs.end([RunEnd(one, "first", RunOutcome.RETRIED, "OSError: away")])
    assert told() == ("running", None, False)
    ledger.runs.give_back(one, "second", "busy")
    assert told() == ("retried", "busy", False)
    assert ledger.runs.resume(one, "", "third")
    assert told() == ("running", None, False)
    ledger.runs.end([RunEnd(one, "third", RunOutcome.FAILED, "LookupError: \N{MUSICAL SYMBOL G CLEF}")])
    clef = "\N{REPLACEMENT CHARACTER}" if alias == "mariadb" and VERSION < (5, 2) else "\N{MUSICAL SYMBOL G CLEF}"
    assert told() == ("failed", f"LookupError: {clef}", True)


@pytest.mark.parametrize(("outcome", "error"), [(RunOutcome.SUCCEEDED, ""), (RunOutcome.FAILED, "LookupError: none")])
def test_a_run_is_two_statements_its_start_and_its_end_with_how_and_why(ledger, lead, alias, outcome, error):
    one = slot()
    ledger.claims.claim(lead(), [one])
    with CaptureQueriesContext(connections[alias]) as asked:
        ledger.runs.start(one, Epoch(1), "w")
        ledger.runs.end([RunEnd(one, "w", outcome, error)])
    assert [query["sql"].split()[0] for query in asked] == ["UPDATE", "UPDATE"]


def test_the_end_of_a_run_is_recorded_by_its_own_worker_alone(ledger, lead):
    one = slot()
    ledger.claims.claim(lead(), [one])
    ledger.runs.start(one, Epoch(1), "w")
    ledger.runs.end([RunEnd(one, "other", RunOutcome.SUCCEEDED)])
    assert not ledger.runs.read(one).has_ended
    ledger.runs.end([RunEnd(one, "w", RunOutcome.SUCCEEDED)])
    assert ledger.runs.read(one).has_ended
    assert ledger.runs.read(slot("z")).worker == ""


def test_ends_of_many_runs_are_one_statement_and_each_is_its_own_runs(ledger, lead, rows, alias):
    slots = [slot("a"), slot("b"), slot("a", ago=HOUR), slot("c")]
    ledger.claims.claim(lead(), slots)
    outcomes = [RunOutcome.SUCCEEDED, RunOutcome.FAILED, RunOutcome.RETRIED, RunOutcome.SUCCEEDED]
    ends = []
    for number, (one, outcome) in enumerate(zip(slots, outcomes, strict=True)):
        ledger.runs.start(one, Epoch(1), f"w{number}")
        error = "" if outcome is RunOutcome.SUCCEEDED else f"LookupError: {number}"
        ends.append(RunEnd(one, f"w{number}", outcome, error))
    ledger.runs.start(slots[2], Epoch(1), "later", None, 1)
    with CaptureQueriesContext(connections[alias]) as asked:
        ledger.runs.end(ends)
    assert [query["sql"].split()[0] for query in asked] == ["UPDATE"]
    told = {at: (row.outcome, row.error, row.run_ended_at) for at, row in rows().items()}
    at = [(one.entry, one.due_at) for one in slots]
    assert told == {
        at[0]: ("succeeded", None, ends[0].ended_at),
        at[1]: ("failed", "LookupError: 1", ends[1].ended_at),
        at[2]: ("running", None, None),
        at[3]: ("succeeded", None, ends[3].ended_at),
    }
    ledger.runs.end([])


def test_of_twenty_workers_one_starts_each_attempt_and_none_an_earlier_one(ledger, lead, rows):
    one, term = slot(), lead()
    ledger.claims.claim(term, [one])
    assert ledger.runs.start(one, term.epoch, "w") is Start.STARTED
    began_at = rows()["a", one.due_at].run_started_at
    ledger.runs.end([RunEnd(one, "w", RunOutcome.SUCCEEDED)])
    for attempt in (1, 3):
        calls = [lambda i=i, n=attempt: ledger.runs.start(one, term.epoch, f"{n}-{i}", None, n) for i in range(20)]
        outcomes = in_threads(*calls)
        assert outcomes.count(Start.STARTED) == 1
        read = ledger.runs.read(one)
        assert (read.attempt, read.worker, read.has_ended) == (attempt, f"{attempt}-{outcomes.index('started')}", False)
    for attempt in range(4):
        assert ledger.runs.start(one, term.epoch, "late", None, attempt) is Start.ALREADY_STARTED
    ledger.runs.end([RunEnd(one, "w", RunOutcome.SUCCEEDED)])
    assert not ledger.runs.read(one).has_ended, "that was an earlier attempt's"
    assert rows()["a", one.due_at].run_started_at == began_at


def test_a_retry_of_a_slot_that_the_ledger_does_not_know_is_recorded_once(ledger, rows):
    one = slot()
    outcomes = in_threads(*[lambda i=i: ledger.runs.start(one, Epoch(5), f"w{i}", None, 2) for i in range(8)])
    assert outcomes.count(Start.STARTED) == 1
    assert rows()["a", one.due_at].run_attempt == 2


def test_a_run_that_was_given_back_is_taken_up_once(ledger, lead):
    one = slot()
    ledger.claims.claim(lead(), [one])
    ledger.runs.start(one, Epoch(1), "w")
    ledger.runs.give_back(one, "other")
    assert ledger.runs.read(one).worker == "w"
    ledger.runs.give_back(one, "w")
    assert ledger.runs.start(one, Epoch(1), "v") is Start.ALREADY_STARTED
    outcomes = in_threads(*[lambda i=i: ledger.runs.resume(one, "", f"w{i}") for i in range(8)])
    assert outcomes.count(True) == 1


def test_every_suppressed_message_is_counted(ledger, lead, rows):
    one = slot()
    ledger.claims.claim(lead(), [one])
    in_threads(*[lambda: ledger.runs.count_deduplicated(one)] * 8)
    assert rows()["a", one.due_at].deduplicated == 8


def test_an_unguarded_beat_is_remembered_once_with_first_and_last(ledger, alias):
    in_threads(*[lambda: ledger.runs.record_heard("1@h")] * 5)
    first = models.UnmanagedBeat.objects.using(alias).get()
    ledger.runs.record_heard("1@h")
    again = models.UnmanagedBeat.objects.using(alias).get()
    assert again.first_heard_at == first.first_heard_at
    assert again.last_heard_at > first.last_heard_at


def test_a_start_is_worked_out_once_and_not_for_each_message(ledger, lead):
    """Django works such a statement out in some 3,000 calls, ten times what it takes to run it."""
    term, some = lead(), [slot(), slot("b")]
    ledger.claims.claim(term, some)
    ledger.runs.start(some[0], term.epoch, "w")
    calls = 0

    def count(_frame: object, event: str, _of: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        outcome = ledger.runs.start(some[1], term.epoch, "w")
    finally:
        sys.setprofile(None)
    assert outcome is Start.STARTED
    assert calls < 500
