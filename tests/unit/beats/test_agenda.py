"""Which entries are due, and when the next one will be; nothing but time in between."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest
from celery import Celery, schedules
from celery.beat import ScheduleEntry
from celery.schedules import crontab, schedule
from django_celery_beat.clockedschedule import clocked
from hypothesis import given, settings
from hypothesis import strategies as st

from cutover.beats.agenda import MISFIRE_GRACE, Agenda
from cutover.beats.sources import ScheduledEntry
from cutover.conf import CatchUpRule
from cutover.types import CatchUp, EntryName, Limits

NOON = dt.datetime(2026, 5, 5, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
MINUTE = dt.timedelta(minutes=1)
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)
RULE = CatchUpRule(CatchUp.LATEST, 12 * HOUR)
ALWAYS = Limits()
APP = Celery("of-agenda", set_as_current=False)


def scheduled(
    entries: Mapping[str, Any], rule: CatchUpRule = RULE, limits: Limits = ALWAYS
) -> dict[EntryName, ScheduledEntry]:
    return {
        EntryName(name): ScheduledEntry.of(ScheduleEntry(name=name, task="t", schedule=when, app=APP), rule, limits)
        for name, when in entries.items()
    }


def hourly() -> crontab:
    return crontab(minute=0, app=APP)


def agenda(
    entries: Mapping[str, Any], limits: Limits = ALWAYS, rule: CatchUpRule = RULE, now: dt.datetime = NOON
) -> Agenda:
    made = Agenda()
    made.load(scheduled(entries, rule, limits), now)
    return made


def sent(made: Agenda, now: dt.datetime) -> dict[str, dt.datetime | None]:
    return {due.name: due.owed.send for due in made.due(now, MISFIRE_GRACE)}


def test_an_entry_is_due_at_its_slot_and_not_before():
    made = agenda({"a": hourly()})
    assert made.next_at() == NOON + HOUR
    assert sent(made, NOON + HOUR - SECOND) == {}
    assert sent(made, NOON + HOUR) == {"a": NOON + HOUR}


def test_the_longest_due_comes_first():
    made = agenda({"b": schedule(3 * MINUTE), "c": schedule(2 * MINUTE), "a": schedule(5 * MINUTE)})
    assert list(sent(made, NOON + HOUR)) == ["c", "b", "a"]


def test_reading_what_is_due_takes_nothing_away():
    made = agenda({"a": hourly(), "b": schedule(MINUTE)})
    first = sent(made, NOON + HOUR)
    assert next(iter(made.due(NOON + HOUR, MISFIRE_GRACE))).name == "b"  # given up after one
    assert sent(made, NOON + HOUR) == first


def test_only_recording_a_slot_moves_its_entry_on():
    made = agenda({"a": hourly(), "b": hourly()})
    made.record(EntryName("a"), NOON + HOUR)
    assert sent(made, NOON + HOUR) == {"b": NOON + HOUR}
    made.record(EntryName("b"), NOON + HOUR)
    assert sent(made, NOON + HOUR) == {}
    assert made.next_at() == NOON + 2 * HOUR


def test_an_older_slot_does_not_take_an_entry_back():
    made = agenda({"a": hourly()})
    made.record(EntryName("a"), NOON + 3 * HOUR)
    made.record(EntryName("a"), NOON + HOUR)
    assert made.next_at() == NOON + 4 * HOUR


def test_what_the_ledger_knows_counts_from_then_on():
    made = agenda({"a": schedule(HOUR)})
    made.settle({EntryName("a"): NOON - 50 * MINUTE}, {EntryName("a"): NOON - DAY})
    assert made.next_at() == NOON + 10 * MINUTE
    made.settle({}, {EntryName("a"): NOON + 30 * MINUTE})
    assert made.next_at() == NOON + 70 * MINUTE


def test_the_ledgers_word_on_entries_of_the_other_side_is_ignored():
    made = agenda({"a": hourly()})
    made.settle({EntryName("z"): NOON}, {EntryName("z"): NOON})
    assert len(made) == 1
    assert made.entry(EntryName("z")) is None


def test_a_schedule_that_is_loaded_again_keeps_the_cursors_of_entries_that_stay():
    made = agenda({"a": schedule(HOUR), "gone": hourly()})
    made.record(EntryName("a"), NOON - 10 * MINUTE)
    made.load(scheduled(dict.fromkeys(("a", "new"), schedule(HOUR))), NOON + 5 * MINUTE)
    assert len(made) == 2
    assert made.entry(EntryName("gone")) is None
    assert sent(made, NOON + 50 * MINUTE) == {"a": NOON + 50 * MINUTE}
    assert sent(made, NOON + 65 * MINUTE) == {"a": NOON + 50 * MINUTE, "new": NOON + 65 * MINUTE}


def test_a_missed_slot_is_due_too_so_that_it_is_recorded():
    made = agenda({"a": crontab(minute=0, hour=13, app=APP)}, rule=CatchUpRule(CatchUp.LATEST, HOUR))
    (due,) = made.due(NOON + 5 * HOUR, MISFIRE_GRACE)
    assert (due.owed.send, due.owed.missed) == (None, (NOON + HOUR,))


# --- from when on, until when -----------------------------------------------------------------------------------------


def test_nothing_is_sent_before_the_start_and_the_start_itself_counts():
    made = agenda({"a": hourly()}, Limits(not_before=NOON + 3 * HOUR))
    assert made.next_at() == NOON + 3 * HOUR


def test_an_interval_that_never_ran_begins_exactly_at_its_start():
    made = agenda({"a": schedule(7 * MINUTE)}, Limits(not_before=NOON + 100 * MINUTE))
    assert made.next_at() == NOON + 100 * MINUTE
    made.record(EntryName("a"), NOON + 100 * MINUTE)
    assert made.next_at() == NOON + 107 * MINUTE


def test_an_interval_that_ran_keeps_its_phase_across_its_start():
    made = agenda({"a": schedule(HOUR)}, Limits(not_before=NOON + 100 * MINUTE))
    made.record(EntryName("a"), NOON + 10 * MINUTE)
    assert made.next_at() == NOON + 130 * MINUTE


def test_an_expired_entry_is_never_due():
    made = agenda({"a": hourly()}, Limits(not_after=NOON))
    assert made.next_at() is None
    assert sent(made, NOON + DAY) == {}


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 300), st.integers(0, 900))
def test_no_slot_at_or_after_the_expiry_is_sent_and_none_is_sent_once_it_has_passed(expiry, late):
    until, now = NOON + expiry * MINUTE, NOON + late * MINUTE
    made = agenda({"a": schedule(20 * MINUTE)}, Limits(not_after=until))
    for due in made.due(now, MISFIRE_GRACE):
        assert all(at < until for at in due.owed.missed)
        assert due.owed.send is None or due.owed.send <= now < until


def test_what_fell_due_before_the_expiry_and_was_not_sent_in_time_is_missed():
    made = agenda({"a": hourly()}, Limits(not_after=NOON + 90 * MINUTE))
    (due,) = made.due(NOON + 2 * HOUR, MISFIRE_GRACE)
    assert (due.owed.send, due.owed.missed) == (None, (NOON + HOUR,))
    made.record(due.name, NOON + HOUR)
    assert made.next_at() is None


def test_a_clocked_entry_is_due_once():
    made = agenda({"a": clocked(NOON + HOUR)})
    assert sent(made, NOON + 2 * HOUR) == {"a": NOON + HOUR}
    made.record(EntryName("a"), NOON + HOUR)
    assert made.next_at() is None


# --- one bad entry ----------------------------------------------------------------------------------------------------


class Unanswering(schedules.BaseSchedule):
    """Fails when it is asked."""

    def remaining_estimate(self, last_run_at: dt.datetime) -> dt.timedelta:
        raise RuntimeError("no answer")


class Moody(schedules.BaseSchedule):
    """Answers when it is loaded and fails when it is due."""

    asked = 0

    def remaining_estimate(self, last_run_at: dt.datetime) -> dt.timedelta:
        type(self).asked += 1
        if type(self).asked > 1:
            raise RuntimeError("not today")
        return HOUR


class Late(schedules.BaseSchedule):
    """Fails when it is loaded and answers from then on."""

    asked = 0

    def remaining_estimate(self, last_run_at: dt.datetime) -> dt.timedelta:
        type(self).asked += 1
        if type(self).asked == 1:
            raise RuntimeError("not yet")
        return HOUR


def test_a_schedule_that_failed_once_is_not_asked_without_a_pause():
    Late.asked = 0
    made = agenda({"late": Late(app=APP)})
    assert sent(made, NOON) == {}
    assert made.next_at() == NOON + SECOND
    assert sent(made, NOON + HOUR) == {"late": NOON + HOUR}


@pytest.mark.parametrize("bad", [Unanswering, Moody])
def test_a_schedule_that_fails_does_not_stop_the_others(bad):
    Moody.asked = 0
    made = agenda({"bad": bad(app=APP), "good": hourly()})
    assert sent(made, NOON + 2 * HOUR)["good"] == NOON + 2 * HOUR
    made.record(EntryName("good"), NOON + 2 * HOUR)
    assert sent(made, NOON + 3 * HOUR)["good"] == NOON + 3 * HOUR


def test_a_schedule_that_fails_is_asked_again_in_a_minute():
    Moody.asked = 0
    made = agenda({"moody": Moody(app=APP)})
    assert made.next_at() == NOON + HOUR
    assert sent(made, NOON + HOUR) == {}
    assert made.next_at() == NOON + HOUR + MINUTE
    Moody.asked = -100
    assert sent(made, NOON + HOUR + MINUTE) != {}


# --- in the large -----------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=12), st.lists(st.integers(1, 99), min_size=1, max_size=12))
def test_walking_through_time_sends_each_slot_once_and_leaves_none_out(intervals, steps):
    made = agenda({str(i): schedule(n * SECOND) for i, n in enumerate(intervals)})
    now, seen = NOON, {str(i): [] for i in range(len(intervals))}
    for step in steps:
        now += step * SECOND
        for due in list(made.due(now, MISFIRE_GRACE)):
            slots = [*due.owed.missed, due.owed.send]
            seen[due.name] += slots
            made.record(due.name, slots[-1])
    for i, n in enumerate(intervals):
        whole = (now - NOON) // (n * SECOND)
        assert seen[str(i)] == [NOON + k * n * SECOND for k in range(1, whole + 1)]


def test_five_thousand_entries_are_loaded_settled_and_moved_on_without_comparing_all_to_all():
    made = agenda({str(i): schedule(HOUR) for i in range(5_000)})
    for _ in range(3):
        due = list(made.due(NOON + HOUR, MISFIRE_GRACE))
    assert len(due) == 5_000
    for one in due:
        made.record(one.name, NOON + HOUR)
    assert list(made.due(NOON + HOUR, MISFIRE_GRACE)) == []
    assert made.next_at() == NOON + 2 * HOUR


def test_a_standby_that_follows_others_for_long_keeps_no_more_than_it_needs():
    made = agenda({str(n): hourly() for n in range(50)})
    for hour in range(1, 201):
        made.settle({EntryName(str(n)): NOON + hour * HOUR for n in range(50)}, {})
    assert len(made._heap) <= 2 * len(made) + 100
    assert made.next_at() == NOON + 201 * HOUR
    assert set(sent(made, NOON + 201 * HOUR)) == {str(n) for n in range(50)}


def test_what_is_dropped_is_due_no_more_until_a_schedule_has_it_again():
    made = agenda({"a": hourly(), "b": hourly()})
    made.drop([EntryName("a"), EntryName("unknown")])
    assert (set(sent(made, NOON + HOUR)), len(made)) == ({"b"}, 1)
    new = made.load(scheduled({"a": hourly()}), NOON)
    assert new == {"a"}
    assert set(sent(made, NOON + HOUR)) == {"a"}


@pytest.mark.parametrize(
    ("when", "limits", "last", "is_over"),
    [
        (clocked(NOON - HOUR, app=APP), ALWAYS, NOON - HOUR, True),
        (clocked(NOON - HOUR, app=APP), ALWAYS, None, False),
        (clocked(NOON + HOUR, app=APP), ALWAYS, None, False),
        (hourly(), Limits(None, NOON), NOON - HOUR, True),
        (hourly(), Limits(None, NOON), NOON - 2 * HOUR, False),
        (hourly(), Limits(None, NOON + MINUTE), NOON, False),
        (hourly(), ALWAYS, NOON, False),
    ],
    ids=["clocked, settled", "clocked, owed", "clocked, to come", "ended", "ended, a slot owed", "to end", "no end"],
)
def test_what_will_never_fall_due_again_is_over_until_it_is_dealt_with(when, limits, last, is_over):
    made = agenda({"a": when}, limits, now=NOON - 3 * HOUR)
    if last is not None:
        made.settle({EntryName("a"): last}, {})
    assert made.over(NOON) == ({"a"} if is_over else set())
    made.pass_by(["a"])
    assert made.over(NOON) == set()


def test_a_clocked_entry_is_due_at_its_start_where_that_is_later():
    made = agenda({"a": clocked(NOON - MINUTE, app=APP)}, Limits(NOON + HOUR), now=NOON - HOUR)
    assert made.next_at() == NOON + HOUR
    assert sent(made, NOON) == {}
    assert sent(made, NOON + HOUR) == {"a": NOON - MINUTE}


def test_a_cursor_that_is_ahead_is_named_and_set_back_and_no_other():
    made = agenda({"a": hourly(), "b": hourly()})
    assert made.ahead(NOON) == set()
    made.settle({EntryName("a"): NOON + 2 * HOUR, EntryName("b"): NOON}, {})
    assert made.ahead(NOON) == {"a"}
    made.set_back(made.ahead(NOON), NOON)
    assert made.ahead(NOON) == set()
    assert sent(made, NOON + HOUR) == {"a": NOON + HOUR, "b": NOON + HOUR}
