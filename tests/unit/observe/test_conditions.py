"""What is wrong with an entry, a line a case, and which of two entries is the worse: without a server."""

import datetime as dt
from typing import Any

import pytest

from cutover.observe.conditions import Condition, Facts, Finding, Severity, judge
from cutover.observe.entries import EntryRecord, worst_first
from cutover.types import EntryName, RunOutcome, Side, SlotState
from tests.support.lives import MINUTE, NOW, SECOND, life

WAITING = {"published_at": NOW - 3 * MINUTE, "outcome": None, "started_at": None, "ended_at": None}


CASES: list[tuple[dict[str, Any], list[Condition]]] = [
    ({}, []),
    ({"last": None}, []),
    ({"next_due": NOW - 4 * SECOND}, []),
    ({"next_due": NOW - 6 * SECOND}, [Condition.OVERDUE]),
    ({"next_due": NOW - 6 * SECOND, "is_unsettled": True}, []),
    ({"next_due": NOW - 6 * SECOND, "backlog": 7}, [Condition.CATCHING_UP]),
    ({"next_due": NOW - 6 * SECOND, "paused": "everything is paused"}, [Condition.PAUSED]),
    ({"last": life(state=SlotState.CLAIMED), "paused": "a is paused"}, [Condition.PAUSED]),
    ({"next_due": NOW - 6 * SECOND, "backlog": 7, "paused": "a is paused"}, [Condition.PAUSED]),
    ({"last": None, "is_seen": False}, [Condition.UNSEEN]),
    ({"unsent": "its row has no schedule", "is_seen": False}, [Condition.UNSENDABLE]),
    ({"is_without_row": True, "is_seen": False}, [Condition.WITHOUT_ROW]),
    ({"unsent": "its row has no schedule"}, [Condition.UNSENDABLE]),
    ({"is_without_row": True}, [Condition.WITHOUT_ROW]),
    ({"unknown_task": "no.such"}, [Condition.UNKNOWN_TASK]),
    ({"last": life(state=SlotState.MISSED), "missed": 1}, [Condition.MISSED]),
    ({"missed": 1}, [Condition.MISSED_EARLIER]),
    ({"deduplicated": 2}, [Condition.DEDUPLICATED]),
    ({"future": 2}, [Condition.FUTURE]),
    ({"last": life(sender="7@old m")}, [Condition.UNMANAGED]),
    ({"last": life(state=SlotState.CLAIMED)}, [Condition.UNSENT]),
    ({"last": life(state=SlotState.CLAIMED, claimed_at=NOW - SECOND)}, []),
    ({"last": life(state=SlotState.CLAIMED), "unsent": "why"}, [Condition.UNSENDABLE]),
    ({"last": life(**WAITING)}, []),
    ({"last": life(**WAITING), "is_not_run": True}, [Condition.NOT_RUN]),
    ({"last": life(**WAITING), "is_not_run": True, "guarded_since": None}, [Condition.NOT_RUN]),
    ({"last": life(**WAITING), "guarded_since": None}, []),
    ({"last": life(**WAITING), "guarded_since": NOW - MINUTE}, [Condition.UNRECORDED]),
    ({"last": life(), "guarded_since": NOW}, []),
    ({"last": life(outcome=RunOutcome.FAILED)}, [Condition.FAILING]),
    ({"last": life(outcome=RunOutcome.LOST)}, [Condition.LOST]),
    ({"last": life(outcome=RunOutcome.RETRIED)}, [Condition.RETRYING]),
    ({"last": life(outcome=RunOutcome.RUNNING, ended_at=None)}, []),
    ({"last": life(outcome=None, ended_at=None)}, []),
    ({"last": life(**WAITING), "ended": life(outcome=RunOutcome.FAILED)}, [Condition.FAILING]),
    ({"last": life(**WAITING), "ended": life(outcome=RunOutcome.SUCCEEDED)}, []),
    (
        {"last": life(outcome=RunOutcome.RUNNING, ended_at=None), "ended": life(outcome=RunOutcome.LOST)},
        [Condition.LOST],
    ),
    (
        {"last": life(outcome=RunOutcome.FAILED), "missed": 3, "next_due": NOW - MINUTE},
        [Condition.OVERDUE, Condition.FAILING, Condition.MISSED_EARLIER],
    ),
]


@pytest.mark.parametrize(("told", "expected"), CASES)
def test_each_condition_is_found_where_it_holds_and_nowhere_else(told: dict[str, Any], expected: list[Condition]):
    found = judge(Facts(**{"now": NOW, "last": life(), "guarded_since": NOW - 60 * MINUTE, **told}))
    assert [one.condition for one in found] == expected


def test_every_condition_has_a_case():
    assert {condition for _, found in CASES for condition in found} == set(Condition)


def test_a_finding_says_what_it_is_and_of_whom():
    (failing,) = judge(Facts(NOW, life(outcome=RunOutcome.FAILED)))
    assert str(failing) == "failing: the latest run failed on celery@web-1"
    (lost,) = judge(Facts(NOW, life(outcome=RunOutcome.LOST, error="process 7 of celery@web-1 has ended")))
    known = "process 7 of celery@web-1 has ended"
    assert lost.detail == f"its process on celery@web-1 was gone before the run ended: {known}"
    assert str(Finding(Condition.MISSED_EARLIER)) == "missed earlier"


def test_what_was_not_run_is_not_said_for_certain_where_no_worker_was_asked():
    (asked,) = judge(Facts(NOW, life(**WAITING), is_not_run=True, guarded_since=NOW - 60 * MINUTE))
    assert str(asked) == "not run: published and started by no worker: look at the workers"
    (unasked,) = judge(Facts(NOW, life(**WAITING), is_not_run=True))
    assert str(unasked) == (
        "not run: published and no run is recorded: look at the workers, one without the run guard records none"
    )


def test_the_worst_is_first_then_what_is_due_next_then_by_name():
    def record(name: str, due_in: dt.timedelta | None, *conditions: Condition) -> EntryRecord:
        next_due = due_in and NOW + due_in
        return EntryRecord(EntryName(name), Side.CODE, None, next_due, tuple(map(Finding, conditions)))

    expected = [
        record("overdue", MINUTE, Condition.OVERDUE),
        record("failing too", SECOND, Condition.FAILING, Condition.DEDUPLICATED),
        record("failing", MINUTE, Condition.FAILING),
        record("noticed", SECOND, Condition.MISSED_EARLIER),
        record("soon", SECOND),
        record("later, a", MINUTE),
        record("later, b", MINUTE),
        record("never", None),
    ]
    assert sorted(reversed(expected), key=worst_first) == expected
    assert [one.severity for one in expected[2:5]] == [Severity.PROBLEM, Severity.NOTICE, Severity.WELL]


def test_every_problem_is_worse_than_every_notice():
    severities = [condition.severity for condition in Condition]
    assert severities == sorted(severities, reverse=True)


def test_a_life_tells_its_delays_and_its_worker():
    told = life()
    assert (told.publish_delay, told.run_delay, told.duration) == (dt.timedelta(0), SECOND, 2 * SECOND)
    assert told.worker == "celery@web-1"
    unknown = life(published_at=None, started_at=None, ended_at=None, run_by="")
    assert (unknown.publish_delay, unknown.run_delay, unknown.duration, unknown.worker) == (None, None, None, "")
