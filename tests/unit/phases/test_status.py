"""What was seen of a site, judged and put into lines: without a server."""

from typing import Any

import pytest

from cutover.phases.evidence.hearing import REMEDY
from cutover.phases.status import lines, problems
from cutover.phases.wording import SHOWN

AT = "2026-01-02T03:04:05+00:00"


def seen(**parts: Any) -> dict[str, Any]:
    """A healthy site, but for these parts; a part that is None could not be read."""
    healthy = {
        "not_read": [],
        "phase": 3,
        "side": "database",
        "epoch": 7,
        "switched_at": AT,
        "summary": "Phase 3 is done; the database side is active.",
        "operator": None,
        "term": {
            "epoch": 7,
            "side": "database",
            "holder": "web:1:x",
            "started_at": AT,
            "first_tick_at": AT,
            "seen_at": AT,
            "ended_at": None,
            "end_reason": "",
        },
        "last_gap_ms": 9,
        "last_gap_since": "end",
        "lease": {"holder": "web:1:x", "side": "database", "remaining_s": 14.0, "connected": True},
        "beats": [
            {
                "holder": "web:1:x",
                "side": "database",
                "host": "web",
                "pid": 1,
                "release": "b",
                "role": "leader",
                "warm": True,
                "entries": 3,
                "seen_ago_s": 0.5,
            }
        ],
        "standbys": 0,
        "slots": [],
        "missed": [],
        "unpublished": 0,
        "deduplicated": 2,
        "unsendable": {},
        "unknown_tasks": {},
        "overdue": [],
        "stuck": [],
        "early": None,
        "unmanaged_beats": [],
        "slotless": [],
        "unheard_tasks": [],
        "celery_of_workers": "5.7.0",
    }
    return {key: value for key, value in {**healthy, **parts}.items() if value is not None or key in ("operator",)}


def test_a_healthy_site_has_no_problem_and_a_line_for_each_part() -> None:
    assert problems(seen()) == []
    assert lines(seen()) == [
        "Cutover   Phase 3 is done; the database side is active. Epoch 7.",
        f"Switched  {AT}",
        f"Term      epoch 7, database, web:1:x, since {AT}, last sign of life {AT}",
        "Last gap  9 ms without a leader before this term",
        "Leader    web:1:x (database)",
        "Beat      database leader web:1, release b, 3 entries, seen 0.5 s ago",
        "Counts    0 claimed and not published; in the last day 0 missed, 2 further messages deduplicated",
    ]


LEASE = seen()["lease"]
STUCK = {"count": 2, "entry": "daily", "due_at": AT}


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ({"not_read": ["Redis gives no answer"], "lease": None}, "Redis gives no answer"),
        ({"lease": {}}, "nobody leads for the database side"),
        ({"lease": {**LEASE, "side": "code"}}, "nobody leads for the database side"),
        (
            {"lease": {**LEASE, "connected": False}},
            "the leader web:1:x is dead or cut off: its connection to Redis is gone",
        ),
        ({"overdue": [{"entry": "daily", "due_at": AT}]}, f"daily is overdue since {AT}"),
        ({"unsendable": {"daily": "its row has no schedule"}}, "daily is not sent: its row has no schedule"),
        (
            {"stuck": [{**STUCK, "state": "claimed"}]},
            f"2 claimed slots are not published, the oldest daily of {AT}: look at the broker",
        ),
        (
            {"stuck": [{**STUCK, "state": "published"}]},
            f"2 published slots are started by no worker, the oldest daily of {AT}: look at the workers",
        ),
        (
            {"unmanaged_beats": [{"origin": "7@old", "last_heard_at": AT, "silent_at": AT, "probably": ""}]},
            "a beat without the lease was heard: 7@old",
        ),
        (
            {"unmanaged_beats": [{"origin": "7@old", "last_heard_at": AT, "silent_at": AT, "probably": "3 of its 4"}]},
            "probably a beat without the lease: 7@old, 3 of its 4",
        ),
        (
            {"unheard_tasks": ["a.task"], "celery_of_workers": "5.4.0"},
            "a beat without the lease cannot be heard for tasks a.task: celery 5.4.0, which workers run, marks no "
            f"beat's message; {REMEDY}: python manage.py cutover phase1 takes that",
        ),
    ],
)
def test_each_fault_is_a_problem_of_one_line(part: dict[str, Any], problem: str) -> None:
    found = seen(**part)
    if part.get("lease") == {}:
        found["lease"] = None
    assert problems(found) == [problem]


def test_what_could_not_be_read_is_no_problem_of_its_own() -> None:
    """Where Redis gives no answer nobody knows whether somebody leads."""
    assert problems({"not_read": ["The database gives no answer"]}) == ["The database gives no answer"]
    assert lines({"not_read": ["The database gives no answer"]}) == []


def test_of_many_entries_that_are_not_sent_the_first_are_named_and_the_others_counted() -> None:
    found = problems(seen(unsendable={f"entry-{n}": "why" for n in range(SHOWN + 4)}))
    assert len(found) == SHOWN + 1
    assert found[-1] == "and 4 more"


def test_a_connection_that_cannot_be_seen_is_no_problem() -> None:
    found = seen()
    found["lease"] = {**LEASE, "connected": None}
    assert problems(found) == []


def test_a_leader_whose_connection_is_gone_is_not_said_to_lead() -> None:
    found = lines(seen(lease={**LEASE, "connected": False}))
    assert "Leader    nobody; the lease is that of web:1:x (database), which is gone, for 14.0 s more" in found


def test_a_gap_whose_beginning_nobody_has_told_is_said_to_be_a_bound() -> None:
    found = lines(seen(last_gap_since="last sign of life"))
    assert (
        "Last gap  9 ms without a leader before this term, at most: since the last sign of life of the one before"
        in found
    )
