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

from cutover.beats.agenda import Agenda, Due
from cutover.beats.backlog import AT_ONCE
from cutover.beats.backlog import EVERY as PAUSE
from cutover.beats.item import MISFIRE_GRACE
from cutover.beats.sources import ScheduledEntry
from cutover.conf import CatchUpRule
from cutover.ledger.pauses import NOTHING_PAUSED, Paused
from cutover.schedules import timetable
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


def test_a_round_that_an_error_has_ended_takes_nothing_away():
    made = agenda({"a": schedule(MINUTE), "b": schedule(HOUR)})
    ended = made.due(NOON + HOUR, MISFIRE_GRACE)  # held by the error's traceback, for as long as somebody holds that
    assert next(ended).name == "a"
    assert made.next_at() == NOON + MINUTE
    again = made.due(NOON + HOUR, MISFIRE_GRACE)
    assert next(again).name == "a"
    ended.close()
    assert [due.name for due in again] == ["b"], "and what that round took is not handed out twice"
    assert list(sent(made, NOON + HOUR)) == ["a", "b"]


def test_only_recording_a_slot_moves_its_entry_on():
    made = agenda({"a": hourly(), "b": hourly()})
    made.record(EntryName("a"), NOON + HOUR)
    assert sent(made, NOON + HOUR) == {"b": NOON + HOUR}
    made.record(EntryName("b"), NOON + HOUR)
    assert sent(made, NOON + HOUR) == {}
    assert made.next_at() == NOON + 2 * HOUR


def test_what_is_recorded_while_it_is_read_moves_on_and_the_rest_stays():
    made = agenda(dict.fromkeys("abc", hourly()))
    reading = made.due(NOON + HOUR, MISFIRE_GRACE)
    first = next(reading)
    made.record(first.name, first.owed.send)
    second = next(reading)
    reading.close()
    assert sent(made, NOON + HOUR).keys() == {"a", "b", "c"} - {first.name} >= {second.name}
    assert made.next_at() == NOON + HOUR


def test_entries_of_one_crontab_that_stand_alike_are_worked_out_once(monkeypatch):
    asked, next_after = [], timetable._Crontab.next_after
    monkeypatch.setattr(timetable._Crontab, "next_after", lambda self, at: asked.append(at) or next_after(self, at))
    made = agenda({**{f"a{number}": hourly() for number in range(50)}, "b": crontab(minute=30, app=APP)})
    assert set(sent(made, NOON + HOUR).values()) == {NOON + HOUR, NOON + HOUR / 2}
    assert len(asked) < 20
    made.record(EntryName("a7"), NOON + HOUR)
    assert sent(made, NOON + 2 * HOUR)["a7"] == NOON + 2 * HOUR


def test_a_crontab_of_the_projects_own_kind_is_asked_itself():
    class Odd(crontab):
        """Fires later than its fields say."""

        def remaining_delta(self, *args, **kwargs):
            start, delta, now = super().remaining_delta(*args, **kwargs)
            return start, delta + 5 * MINUTE, now

    found = sent(agenda({"a": hourly(), "b": Odd(minute=0, app=APP)}), NOON + 2 * HOUR)
    assert found["a"] == NOON + 2 * HOUR != found.get("b")


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


def test_a_change_touches_what_has_changed_alone():
    made = agenda({"stays": schedule(2 * HOUR), "changes": hourly(), "goes": schedule(MINUTE)})
    made.record(EntryName("stays"), NOON + HOUR)
    made.record(EntryName("changes"), NOON + HOUR)
    stays = made.entry(EntryName("stays"))
    changed = scheduled({"changes": schedule(HOUR), "new": schedule(4 * HOUR)})
    assert made.change(changed, ["goes"], NOON + HOUR) == {"new"}
    assert made.scheduled.keys() == {"stays", "changes", "new"}
    assert made.entry(EntryName("stays")) is stays
    assert sent(made, NOON + 5 * HOUR) == {name: NOON + 5 * HOUR for name in ("stays", "changes", "new")}
    assert made.last_slots == {"stays": NOON + HOUR, "changes": NOON + HOUR}


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
    assert len(made._timers) <= 2 * len(made) + 100
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
    assert made.ended(NOON) == ({"a"} if is_over else set())
    made.forget_ended(["a"])
    assert made.ended(NOON) == set()


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


EVERY = CatchUpRule(CatchUp.ALL, 12 * HOUR, most=100)


def rounds(made: Agenda, now: dt.datetime, *, records: bool = True) -> list[list[tuple[str, dt.datetime | None]]]:
    """What one round after the other sends until nothing waits, each as soon as the agenda says."""
    found, end = [], now + MINUTE
    while (at := made.next_at()) is not None and at <= end:
        now = max(now, at)
        found.append([(due.name, due.owed.send) for due in _recorded(made, now, records=records)])
    return [each for each in found if each]


def _recorded(made: Agenda, now: dt.datetime, *, records: bool = True) -> list[Due]:
    due = []
    for each in made.due(now, MISFIRE_GRACE):
        due.append(each)
        if len(due) % 10 == 0 and records:  # a chunk is recorded before the next one is asked for
            for one in due[-10:]:
                made.record(one.name, one.goes_on_from)
    for one in due[len(due) // 10 * 10 :] if records else ():
        made.record(one.name, one.goes_on_from)
    return due


def test_of_an_entry_whose_every_slot_counts_each_is_sent_oldest_first():
    made = agenda({"a": schedule(MINUTE)}, rule=EVERY)
    [*first, last] = [slot for slots in rounds(made, NOON + 60 * MINUTE) for slot in slots]
    assert [*first, last] == [("a", NOON + number * MINUTE) for number in range(1, 62)]


def test_a_backlog_is_sent_fifty_at_once_and_what_is_due_now_goes_before_it():
    made = agenda({"often": schedule(SECOND)}, rule=EVERY)
    made.change(scheduled({"now": schedule(90 * SECOND)}), (), NOON)
    now = NOON + 90 * SECOND
    first = [due.name for due in _recorded(made, now)]
    assert first == ["now", *["often"] * AT_ONCE]
    assert [due.name for due in _recorded(made, now)] == [], "no more of it before a quarter of a second has passed"
    assert made.next_at() == now + PAUSE
    second = _recorded(made, now + PAUSE)
    assert [due.owed.send for due in second] == [NOON + number * SECOND for number in range(51, 91)]
    assert [due.owed.is_past_slot for due in second] == [True] * 39 + [False], "the latest says where it stands"


def test_backlogs_of_many_entries_share_what_may_be_sent_oldest_first():
    made = agenda({f"a{number}": schedule(MINUTE) for number in range(20)}, rule=EVERY)
    made.change(scheduled({"quick": schedule(SECOND)}, EVERY), (), NOON + 9 * MINUTE)
    sent = [slot for slots in rounds(made, NOON + 10 * MINUTE) for slot in slots]
    instants = [at for _, at in sent if at < NOON + 10 * MINUTE]  # the latest of each is not late
    assert instants == sorted(instants)
    assert len(sent) == len(set(sent)) >= 20 * 10 + 60


def test_a_backlog_that_waits_behind_an_older_one_is_held_back_by_a_pause_and_let_go_after_it():
    made = agenda({"old": schedule(SECOND)}, rule=EVERY)
    made.change(scheduled({"young": schedule(SECOND)}, EVERY), (), NOON + 60 * SECOND)
    now = NOON + 95 * SECOND
    assert {due.name for due in _recorded(made, now)} == {"old"}
    made.pause(Paused(frozenset({EntryName("young")})))
    for turn in range(1, 5):
        assert {due.name for due in _recorded(made, now + turn * PAUSE)} <= {"old"}
    made.pause(NOTHING_PAUSED)
    due = [each for turn in range(5, 8) for each in _recorded(made, now + turn * PAUSE) if each.name == "young"]
    assert [each.owed.send for each in due][:35] == [NOON + number * SECOND for number in range(61, 96)]


def test_an_entry_with_one_slot_due_waits_for_no_backlog():
    made = agenda({"a": schedule(MINUTE)}, rule=EVERY)
    assert sent(made, NOON + MINUTE) == {"a": NOON + MINUTE}
    made.record(EntryName("a"), NOON + MINUTE)
    assert sent(made, NOON + 2 * MINUTE) == {"a": NOON + 2 * MINUTE}


def test_what_is_missed_of_a_backlog_is_recorded_before_anything_is_sent():
    made, now = agenda({"a": schedule(HOUR)}, rule=CatchUpRule(CatchUp.ALL, 12 * HOUR, most=10)), NOON + 20 * HOUR
    for turn in range(3):  # a round that recorded nothing leaves nothing out
        [missed, *due] = made.due(now + turn * SECOND, MISFIRE_GRACE)
        assert missed.owed.send is None
        assert missed.owed.missed == tuple(NOON + hours * HOUR for hours in range(1, 8 + (turn > 0)))
        assert missed.owed.beyond[-1] == NOON + 10 * HOUR
        assert [each.owed.send for each in due] == [NOON + hours * HOUR for hours in range(11, 21)]
    made.record(missed.name, missed.goes_on_from)
    assert [each.owed.send for each in made.due(now + MINUTE, MISFIRE_GRACE)] == [each.owed.send for each in due]


def test_an_entry_that_falls_due_more_often_than_may_be_sent_is_sent_all_the_same():
    made, now, step = agenda({"a": schedule(SECOND / 1_000)}, rule=EVERY), NOON + MINUTE, PAUSE
    sent = {due.owed.send for turn in range(20) for due in _recorded(made, now + turn * step)}
    assert len(sent - {None}) == 20 * AT_ONCE


def test_a_backlog_that_nobody_records_stays_as_it_is():
    made = agenda({"a": schedule(SECOND)}, rule=EVERY)
    now = NOON + 30 * SECOND
    first = [due.owed.send for due in made.due(now, MISFIRE_GRACE)]
    assert len(first) == 30
    assert [due.owed.send for due in made.due(now + SECOND, MISFIRE_GRACE)] == first


def test_a_new_leader_goes_on_where_the_ledger_stands_in_the_middle_of_a_backlog():
    made = agenda({"a": schedule(SECOND)}, rule=EVERY)
    now = NOON + 60 * SECOND
    next(iter(made.due(now, MISFIRE_GRACE)))
    made.settle({EntryName("a"): NOON + 20 * SECOND}, {})
    assert next(made.due(now + SECOND, MISFIRE_GRACE)).owed.send == NOON + 21 * SECOND


def test_once_its_end_has_come_the_rest_of_a_backlog_is_missed():
    made = agenda({"a": schedule(MINUTE)}, Limits(None, NOON + 10 * MINUTE), rule=EVERY)
    assert len(list(made.due(NOON + 5 * MINUTE, MISFIRE_GRACE))) == 5
    [due] = made.due(NOON + 10 * MINUTE, MISFIRE_GRACE)
    assert (due.owed.send, len(due.owed.missed)) == (None, 9)


def test_what_waits_while_its_end_comes_is_sent_no_more():
    made = agenda({"a": schedule(SECOND)}, Limits(None, NOON + 2 * MINUTE), rule=EVERY)
    now = NOON + 2 * MINUTE - SECOND / 10
    assert len(_recorded(made, now)) == AT_ONCE + 1
    assert _recorded(made, now) == [], "the rest waits"
    [due] = _recorded(made, NOON + 2 * MINUTE + PAUSE) or _recorded(made, NOON + 2 * MINUTE + PAUSE)
    assert (due.owed.send, due.owed.missed[-1]) == (None, NOON + 2 * MINUTE - SECOND)


def test_a_slot_of_a_backlog_that_became_too_old_meanwhile_is_missed():
    made = agenda({"a": schedule(SECOND)}, rule=CatchUpRule(CatchUp.ALL, MINUTE))
    assert len(list(made.due(NOON + MINUTE, MISFIRE_GRACE))) == 50
    missed, *due = made.due(NOON + MINUTE + 5 * SECOND, MISFIRE_GRACE)
    assert (missed.owed.send, len(missed.owed.missed)) == (None, 4)
    assert due[0].owed.send == NOON + 5 * SECOND


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_each_slot_of_a_gap_is_sent_once_or_named_whoever_leads_and_whenever_it_ends(data):
    """Rounds at any time, of leaders that come and go, each of which knows what the ledger has and nothing else."""
    step = data.draw(st.sampled_from([SECOND / 5, SECOND, 7 * SECOND, MINUTE]))
    window, most = data.draw(st.integers(1, 400)) * step, data.draw(st.integers(1, 120))
    entries = scheduled({"a": schedule(step), "b": schedule(2 * step)}, CatchUpRule(CatchUp.ALL, window, most))
    ledger: dict[str, list[tuple[dt.datetime, str]]] = {"a": [], "b": []}
    counted = dict.fromkeys(ledger, 0)
    now, made = NOON, Agenda()
    made.load(entries, NOON)
    for _ in range(data.draw(st.integers(1, 6))):
        now += data.draw(st.integers(1, 300)) * step
        if data.draw(st.booleans()):  # another leader
            made = Agenda()
            made.load(entries, NOON)
            made.settle({EntryName(name): slots[-1][0] for name, slots in ledger.items() if slots}, {})
        for due in made.due(now, MISFIRE_GRACE):
            if data.draw(st.integers(0, 20)) == 0:  # killed
                break
            owed = due.owed
            counted[due.name] += owed.passed_over + owed.beyond_passed_over
            ledger[due.name] += [(at, "missed") for at in (*owed.missed, *owed.beyond)]
            ledger[due.name] += [(owed.send, "sent")] if owed.send else []
            made.record(due.name, due.goes_on_from)
    for number, (name, slots) in enumerate(ledger.items(), 1):
        instants = [at for at, _ in slots]
        assert instants == sorted(set(instants))
        assert all((at - NOON) % (number * step) == dt.timedelta(0) for at in instants)
        if instants:
            assert len(instants) + counted[name] == (instants[-1] - NOON) // (number * step)
