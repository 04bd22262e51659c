"""The verdict sees what is missing, doubled or out of step."""

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest
from django.contrib.auth import authenticate

from demo import __main__ as ending
from demo import people, verdict
from demo.census import Handed, Run, Slot
from demo.load import Tally
from demo.verdict import Evidence, Switch, expected_slots, judge, judge_drill

NOON = dt.datetime(2026, 3, 2, 12, 0, 0, 250_000, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


@pytest.fixture
def evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evidence:
    """Ten flawless seconds of one entry, with a cutover and a rollback in them."""
    monkeypatch.setattr(verdict, "INTERVALS", {"every-second-a": SECOND})
    slots = [Slot(NOON + number * SECOND, "every-second-a") for number in range(10)]
    return Evidence(
        published=[handed(slot, late_ms=20) for slot in slots],
        runs=[ran(slot) for slot in slots],
        tally=Tally(total=400),
        switches=[
            Switch("cutover", NOON + 3 * SECOND, gap_ms=12.5),
            Switch("rollback", NOON + 6 * SECOND, gap_ms=8.0),
        ],
        until=NOON + 9 * SECOND,
        mails=tmp_path,
    )


def handed(slot: Slot, late_ms: float = 0.0) -> Handed:
    at = slot.due_at + dt.timedelta(milliseconds=late_ms)
    return Handed(at, "demo.tasks.note", str(slot), slot, redelivered=False)


def ran(slot: Slot) -> Run:
    return Run(slot.due_at, slot.entry, str(slot), slot)


def test_a_flawless_run_passes(evidence: Evidence) -> None:
    report = judge(evidence)
    assert report["passed"]
    assert (report["slots_expected"], report["slots_run"]) == (10, 10)
    assert (report["switch_gap_ms"], report["rollback_gap_ms"], report["max_late_ms"]) == (12.5, 8.0, 20.0)


def test_a_slot_that_did_not_run_is_missed(evidence: Evidence) -> None:
    report = judge(replace(evidence, runs=evidence.runs[:4] + evidence.runs[5:]))
    assert (report["missed"], report["passed"]) == (1, False)
    assert report["missed_slots"] == ["every-second-a 2026-03-02T12:00:04.250000+00:00"]


def test_a_slot_that_was_never_sent_is_missed_too(evidence: Evidence) -> None:
    silent = replace(evidence, published=evidence.published[:-1], runs=evidence.runs[:-1])
    assert judge(silent)["missed"] == 1


def test_a_slot_that_ran_twice_is_doubled(evidence: Evidence) -> None:
    report = judge(replace(evidence, runs=[*evidence.runs, evidence.runs[3]]))
    assert (report["doubled"], report["passed"]) == (1, False)


def test_a_slot_that_was_sent_twice_is_doubled_though_it_ran_once(evidence: Evidence) -> None:
    report = judge(replace(evidence, published=[*evidence.published, evidence.published[3]]))
    assert (report["doubled"], report["passed"]) == (1, False)


def test_a_cadence_that_starts_over_is_noticed(evidence: Evidence) -> None:
    stray = Slot(NOON + 4.4 * SECOND, "every-second-a")
    report = judge(replace(evidence, published=[*evidence.published, handed(stray)], runs=[*evidence.runs, ran(stray)]))
    assert (report["off_schedule"], report["passed"]) == (1, False)


def test_a_mail_that_came_twice_is_doubled(evidence: Evidence) -> None:
    for name in ("first", "second"):
        (evidence.mails / name).write_text("Subject: Your digest\nFrom: us\nTo: you@example.org\n\nHello\n")
    assert judge(evidence)["doubled"] == 1


def test_a_failed_request_fails_the_whole(evidence: Evidence) -> None:
    assert not judge(replace(evidence, tally=Tally(total=400, failures=["GET answered 502"])))["passed"]


def test_of_a_drill_what_the_ledger_names_is_excused_and_nothing_else_is(evidence: Evidence) -> None:
    lost = replace(evidence, published=evidence.published[:-1], runs=evidence.runs[:-1], switches=[])
    report = judge_drill(lost)
    assert (report["unnamed"], report["unnamed_slots"], report["passed"]) == (
        1,
        ["every-second-a 2026-03-02T12:00:09.250000+00:00"],
        False,
    )
    named = replace(lost, named={evidence.runs[-1].slot: "paused (a drill)"})
    report = judge_drill(named)
    assert (report["missed"], report["named"], report["unnamed"], report["passed"]) == (1, 1, 0, True)
    assert not judge(replace(named, switches=evidence.switches))["passed"], "the story misses nothing"
    assert not judge_drill(replace(named, named={evidence.runs[-1].slot: ""}))["passed"], "without a reason"


def test_of_a_drill_a_killed_beats_message_may_come_again_and_its_run_may_not(evidence: Evidence) -> None:
    again = replace(evidence, published=[*evidence.published, evidence.published[3]])
    assert judge_drill(again)["passed"]
    report = judge_drill(replace(evidence, runs=[*evidence.runs, evidence.runs[3]]))
    assert (report["run_twice"], report["passed"]) == (1, False)


def test_nothing_seen_proves_nothing(evidence: Evidence) -> None:
    assert not judge(replace(evidence, published=[], runs=[]))["passed"]
    assert not judge(replace(evidence, tally=Tally()))["passed"]
    assert not judge(replace(evidence, switches=evidence.switches[:1]))["passed"]


def test_calendar_entries_are_expected_by_the_clock_alone() -> None:
    monday = dt.datetime(2026, 3, 2, 7, 58, 30, tzinfo=dt.UTC)
    expected = expected_slots([Slot(monday, "every-second-a")], monday + dt.timedelta(minutes=2))
    due = {(slot.entry, slot.due_at.strftime("%H:%M")) for slot in expected if "second" not in slot.entry}
    assert due == {
        ("every-minute", "07:59"),
        ("every-minute", "08:00"),
        ("moderator-digest-hourly", "08:00"),
        ("user-digest-daily", "08:00"),
        ("user-digest-weekly", "08:00"),
    }


def test_a_minute_that_is_the_very_first_slot_is_expected() -> None:
    minute = Slot(NOON.replace(minute=3, microsecond=0), "every-minute")
    later = Slot(minute.due_at + 0.4 * SECOND, "every-second-a")
    assert [*expected_slots([later, minute], later.due_at)] == [later, minute]
    assert [*expected_slots([later], later.due_at)] == [later]


def test_the_end_of_the_demo_names_the_report_and_what_went_wrong() -> None:
    faults = {name: [] for name in ending.FAULTS} | {"failed_requests": [f"request {n}" for n in range(9)]}
    shown = ending._story_table({**dict.fromkeys(ending.SHOWN, 0), "passed": False, **faults}).splitlines()
    failed = shown.index("FAILED.")
    assert [line.strip() for line in shown[failed + 1 : failed + 4]] == ["request 0", "request 1", "request 2"]
    assert shown[-1] == f"The report, for a browser: {ending.PAGE}"


@pytest.mark.parametrize("password", [None, "given"])
@pytest.mark.django_db
def test_the_moderator_signs_in_with_the_password_that_the_demo_prints(
    password: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(people.PASSWORD_FROM, raising=False)
    if password is not None:
        monkeypatch.setenv(people.PASSWORD_FROM, password)
    people.move_in()
    assert (authenticate(username=people.MODERATOR, password="given") is not None) is (password is not None)
