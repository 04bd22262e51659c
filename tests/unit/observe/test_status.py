"""What was seen of a site, judged and put into lines: without a server."""

import datetime as dt
from typing import Any

import pytest
from rich.cells import cell_len

from cutover.observe import status
from cutover.observe.conditions import Condition, Finding, Severity
from cutover.observe.entries import EntryRecord
from cutover.observe.headline import headline, problems
from cutover.observe.notes import notes
from cutover.observe.rows import Row, others, table
from cutover.phases.evidence.detection import REMEDY
from cutover.phases.wording import SHOWN
from cutover.types import EntryName, Side

AT = "2026-01-02T03:04:05+00:00"
SHOWN_AT = "2026-01-02 03:04:05 UTC"
NOW = dt.datetime.fromisoformat(AT) + dt.timedelta(hours=3)


def lines(data: dict[str, Any]) -> list[str]:
    return status.lines(data, headline(data, []), NOW)


def seen(**parts: Any) -> dict[str, Any]:
    """A healthy site, but for these parts; a part that is None could not be read."""
    healthy = {
        "not_read": [],
        "phase": 3,
        "side": "database",
        "epoch": 7,
        "switched_at": AT,
        "guarded_since": AT,
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
        "lease": {"holder": "web:1:x", "side": "database", "remaining_s": 14.0, "connected": True, "epoch": 1},
        "beats": [
            {
                "holder": "web:1:x",
                "side": "database",
                "host": "web",
                "pid": 1,
                "release": "b",
                "celery": "5.7.0",
                "role": "leader",
                "warm": True,
                "entries": 3,
                "seen_ago_s": 0.5,
            }
        ],
        "standbys": 0,
        "slots": [],
        "missed": [],
        "missed_total": 0,
        "unpublished": 0,
        "deduplicated": 2,
        "unsendable": {},
        "unknown_tasks": {},
        "overdue": [],
        "stuck": [],
        "clock_ahead_s": 0.0,
        "early": None,
        "unmanaged_beats": [],
        "slotless": [],
        "unheard_tasks": [],
        "celery_of_workers": "5.7.0",
    }
    may_be_none = ("operator", "guarded_since")
    return {key: value for key, value in {**healthy, **parts}.items() if value is not None or key in may_be_none}


def test_a_healthy_site_has_no_problem_and_a_line_for_each_part() -> None:
    assert problems(seen()) == []
    assert lines(seen()) == [
        "Leader    web:1 (database), release b, celery 5.7.0, since 3 h ago; lease for 14.0 s more",
        "Cutover   Phase 3 is done; the database side is active. Epoch 7.",
        "Switched  3 h ago (2026-01-02 03:04:05 UTC)",
        "Last gap  9 ms without a leader before this term",
        "Counts    0 claimed and not published; in the last day 0 missed, 2 further messages deduplicated",
    ]


@pytest.mark.parametrize("ahead_s", [5.0, -5.0])
def test_clocks_that_phase_1_admits_are_no_problem(ahead_s: float) -> None:
    assert problems(seen(clock_ahead_s=ahead_s)) == []


LEASE = seen()["lease"]
START = "start a beat with `prodserver beat` (backend cutover.backends.DatabaseBeat)"
STUCK = {"count": 2, "entry": "daily", "due_at": AT}


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ({"not_read": ["Redis gives no answer"], "lease": None}, "Redis gives no answer"),
        (
            {"clock_ahead_s": 18_000.0},
            "the database's clock, by which slots are sent, is 5 h ahead of this host's and Redis's: "
            "everything is sent too early; let NTP set the clocks",
        ),
        (
            {"clock_ahead_s": -5.1},
            "the database's clock, by which slots are sent, is 5.1 s behind this host's and Redis's: "
            "everything is sent too late; let NTP set the clocks",
        ),
        ({"lease": {}}, f"nobody leads for the database side: {START}"),
        ({"lease": {**LEASE, "side": "code"}}, f"nobody leads for the database side: {START}"),
        (
            {"lease": {}, "beats": [{**seen()["beats"][0], "role": "standby"}]},
            "nobody leads for the database side: web:1 stands by for it; if it does not lead in a moment, look at its "
            "log",
        ),
        (
            {"lease": {**LEASE, "connected": False}},
            f"the leader web:1:x is dead or cut off: its connection to Redis is gone; {START}",
        ),
        ({"overdue": [{"entry": "daily", "due_at": AT}]}, f"daily is overdue since {SHOWN_AT}"),
        ({"unsendable": {"daily": "its row has no schedule"}}, "daily is not sent: its row has no schedule"),
        (
            {"stuck": [{**STUCK, "state": "claimed"}]},
            f"2 claimed slots are not published, the oldest of daily, due {SHOWN_AT}: look at the broker",
        ),
        (
            {"stuck": [{**STUCK, "state": "published"}]},
            f"2 published slots are started by no worker, the oldest of daily, due {SHOWN_AT}: look at the workers, "
            "and in their log for cutover.guard.failed and cutover.run.deferred",
        ),
        (
            {"stuck": [{**STUCK, "state": "published"}], "guarded_since": None},
            f"2 published slots have no recorded run, the oldest of daily, due {SHOWN_AT}: look at the workers; one "
            "without the run guard records no run: python manage.py cutover phase1 asks them",
        ),
        (
            {"stuck": [{**STUCK, "count": 1, "state": "claimed"}]},
            f"1 claimed slot is not published, the oldest of daily, due {SHOWN_AT}: look at the broker",
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


@pytest.mark.parametrize("unread", ["deduplicated unpublished", "term last_gap_ms last_gap_since"])
def test_of_a_part_that_could_be_read_in_part_alone_the_rest_is_shown(unread: str) -> None:
    """The database may be gone between two statements of one part."""
    found = lines(seen(**dict.fromkeys(unread.split())))
    assert any(line.startswith("Leader") for line in found)
    assert any(line.startswith("Counts") for line in found) is ("term" in unread)


@pytest.mark.parametrize(
    ("part", "rest"),
    [
        ({"unsendable": {f"entry-{n}": "why" for n in range(SHOWN + 4)}}, "and 4 more are not sent"),
        ({"without_row": [f"entry-{n}" for n in range(SHOWN + 4)]}, "and 4 more have no row"),
        ({"overdue": [{"entry": f"entry-{n}", "due_at": AT} for n in range(10_000)]}, "and 9980 more are overdue"),
    ],
)
def test_of_many_entries_the_first_are_named_and_the_others_counted(part: dict[str, Any], rest: str) -> None:
    found = problems(seen(**part))
    assert len(found) == SHOWN + 1
    assert found[-1] == rest


def test_a_connection_that_cannot_be_seen_is_no_problem() -> None:
    found = seen()
    found["lease"] = {**LEASE, "connected": None}
    assert problems(found) == []


def test_a_leader_whose_connection_is_gone_is_not_said_to_lead() -> None:
    found = lines(seen(lease={**LEASE, "connected": False}))
    assert "Leader    nobody; the lease of the database side is a dead beat's, for 14.0 s more" in found


def test_the_lease_of_another_site_has_no_leader_here() -> None:
    found = lines(seen(lease={**LEASE, "epoch": None}))
    [line] = [line for line in found if line.startswith("Leader")]
    assert line.startswith(f"Leader    nobody; {LEASE['holder']} holds the lease and has no term in this database;")
    assert line.endswith("NAMESPACE'] on this Redis, for 14.0 s more")


def test_a_gap_whose_beginning_nobody_has_told_is_said_to_be_a_bound() -> None:
    found = lines(seen(last_gap_since="last sign of life"))
    assert (
        "Last gap  9 ms without a leader before this term, at most: since the last sign of life of the one before"
        in found
    )


def test_page_and_status_have_the_same_notes_of_what_goes_on_besides() -> None:
    one = {"task": "a.task", "origin": "7@web", "messages": 1, "at_slots": 0, "last_seen_at": AT, "sent_alike": False}
    pause = dict.fromkeys(("until", "ended_at"), None) | {"entry": "daily", "paused_at": AT, "paused_by": "me"}
    data = seen(
        parity_age_s=90,
        guard={"said": "the switch is watched"},
        quiet_wait={"said": "somebody waits"},
        paused=[pause | {"reason": "", "ended_by": ""}],
        replay={"waiting": 1},
        unknown_tasks={f"entry-{n}": "no.such" for n in range(SHOWN + 2)},
        slotless=[one],
    )
    found = notes(data, NOW)
    labels = ["Parity", "Waits", "Guard", "Paused", "Replay", *["Unknown"] * (SHOWN + 1), "No slot"]
    assert [label for label, _ in found] == labels
    said = dict(found)
    assert said["Replay"].startswith("1 missed slot was asked for and waits: the leader sends it, what is paused once")
    assert said["Unknown"] == "the tasks of 2 more entries"
    assert said["No slot"].startswith("a.task from 7@web: 1 message, 0 of them when a slot was due")
    assert {f"{label:<10}{text}" for label, text in found} <= set(lines(data))


FAILING = EntryRecord(EntryName("daily"), Side.DATABASE, findings=(Finding(Condition.FAILING, "on celery@web"),))
WELL = EntryRecord(EntryName("hourly"), Side.DATABASE)


@pytest.mark.parametrize(
    ("part", "entries", "verdict", "severity"),
    [
        ({}, [WELL], "Healthy: web:1 leads for the database side, and nothing is overdue.", Severity.WELL),
        ({"beats": []}, [WELL], "Healthy: web:1:x leads for the database side, and nothing is overdue.", Severity.WELL),
        ({}, [], "Nothing to send: web:1 leads for the database side, and that has no entry.", Severity.NOTICE),
        (
            {"guarded_since": None},
            [WELL],
            "Healthy as far as is known: web:1 leads for the database side, and nothing is overdue to be sent; whether "
            "workers run it is not known until a phase has asked them.",
            Severity.WELL,
        ),
        (
            {},
            [FAILING, WELL],
            "Look at 1 of 2 entries, first at daily (failing: on celery@web); web:1 leads for the database side.",
            Severity.PROBLEM,
        ),
        (
            {"overdue": [{"entry": "daily", "due_at": AT}], "unsendable": {"a": "why"}},
            [FAILING],
            f"Not healthy: daily is overdue since {SHOWN_AT} (and 1 more)",
            Severity.PROBLEM,
        ),
    ],
)
def test_the_verdict_is_one_sentence(
    part: dict[str, Any], entries: list[EntryRecord], verdict: str, severity: Severity
):
    first = headline(seen(**part), entries)
    assert (first.verdict, first.severity) == (verdict, severity)


def test_rows_that_cannot_be_told_apart_are_named_where_a_message_without_a_slot_may_be_of_either() -> None:
    one = {"task": "a.task", "origin": "7@web", "messages": 3, "at_slots": 2, "last_seen_at": AT, "sent_alike": False}
    said = (
        "No slot   a.task from 7@web: 3 messages, 2 of them when a slot was due, the latest 3 h ago "
        "(2026-01-02 03:04:05 UTC)"
    )
    assert said in lines(seen(slotless=[one]))
    told_apart = "; several rows send it alike, and cannot be told apart"
    assert f"{said}{told_apart}" in lines(seen(slotless=[{**one, "sent_alike": True}]))


def test_what_is_not_shown_is_counted() -> None:
    assert others([]) == ""
    assert others([WELL, WELL]) == "and 2 more, all well"
    assert others([FAILING, WELL]) == "and 2 more, 1 of them not well"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("claenup", "; did you mean 'cleanup'?"),
        (
            "DIGEST",
            "; did you mean 'tenant-0-digest' or 'tenant-1-digest' or 'tenant-2-digest', or one of 9 more?",
        ),
        ("xyz", ""),
    ],
)
def test_a_name_that_no_entry_has_is_answered_with_those_near_to_it(typed: str, said: str) -> None:
    known = ["user-digest-daily", "user-digest-weekly", *(f"tenant-{n}-digest" for n in range(10)), "cleanup"]
    assert status._near(typed, known) == said


def test_columns_stand_below_each_other_whatever_is_written_in_them() -> None:
    names = ["digest", "每日摘要", "résumé", "e\u0301te\u0301"]
    lines = table(("entry", "last"), [Row(Severity.WELL, (name, "1 s ago")) for name in names])
    assert {cell_len(line.partition("1 s ago")[0]) for line in lines[1:]} == {2 + 1 + 8 + 2}
