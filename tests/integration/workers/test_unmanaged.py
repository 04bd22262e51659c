"""Which slot a message of an unmanaged beat is of, on real databases; the clock is the test's."""

import datetime as dt
import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import crontab, maybe_schedule, schedule
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from cutover import clock
from cutover.beats.schedule import Schedule
from cutover.beats.sources import NOT_POLLED, LastRun, Loaded, Polled, ScheduledEntry
from cutover.conf import CatchUpRule, Config
from cutover.ledger.entries import KnownEntry
from cutover.schedules import timetable
from cutover.types import CatchUp, Claim, EntryName, Epoch, Limits, Sender, Side, Slot, Start
from cutover.workers import slotless, unmanaged

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]

MINUTE = dt.timedelta(minutes=1)
SECOND = dt.timedelta(seconds=1)
NOON = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
ENTRY = EntryName("an-entry")
ROUNDED = schedule(dt.timedelta(minutes=90), relative=True)
OLD = EntryName("its-old-name")
RENAMED = {EntryName("its-older-name"): OLD, OLD: ENTRY}
RULE = CatchUpRule(CatchUp.LATEST, dt.timedelta(hours=12))


class Recorded:
    """A source: the schedule of an app, whose entry a stock beat ran at an instant."""

    asks: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, app: Celery, ran_at: dt.datetime) -> None:
        every = maybe_schedule(app.conf.beat_schedule[ENTRY]["schedule"], app=app)
        entry = ScheduleEntry(name=ENTRY, task="a.task", schedule=every, app=app)
        scheduled = ScheduledEntry.of(entry, RULE, last_run=LastRun(ran_at, has_run=True))
        self._loaded: Loaded | None = Loaded("1", {ENTRY: scheduled})

    def load(self, *, full: bool = True, polled: Polled = NOT_POLLED) -> Loaded | None:
        loaded, self._loaded = self._loaded, None
        return loaded


@pytest.fixture(params=[crontab(), MINUTE], ids=["crontab", "interval"])
def app(request):
    made = Celery("site", set_as_current=False)
    made.conf.beat_schedule = {ENTRY: {"task": "a.task", "schedule": request.param}}
    yield made
    made.close()


@pytest.fixture
def see(app, ledger, monkeypatch):
    """A worker sees a message of that id at an instant; returns the slot that it started, or None."""
    marks = itertools.count(1)

    def see(message: str, at: dt.datetime, origin: str = "beat") -> Slot | None:
        monkeypatch.setattr(clock, "now", lambda: at)
        sender = Sender(origin, message)
        sent = unmanaged.Message(sender, "a.task", (), {}, "", at)
        slots = unmanaged.slots_of(sent, app, Config(database=ledger.alias, renamed=RENAMED), ledger)
        slot, outcome = unmanaged.start_one(
            slots,
            sender,
            ledger.runs,
            lambda slot: ledger.runs.start(slot, Epoch(0), f"a worker, run {next(marks)}", sender),
        )
        return slot if outcome is Start.STARTED else None

    return see


def test_messages_that_waited_are_matched_to_different_slots(see):
    assert see("first", NOON) == Slot(NOON, ENTRY)
    late = NOON + 3 * MINUTE + SECOND
    found = [see(f"waited {i}", late) for i in range(3)]
    assert found == [Slot(NOON + n * MINUTE, ENTRY) for n in (3, 2, 1)]
    assert see("of another beat", late, origin="another") is None


def test_a_message_that_a_worker_gave_back_unstarted_takes_the_slot_that_it_was_sent_for(see):
    see("first", NOON)
    see("third", NOON + 2 * MINUTE)
    assert see("second", NOON + 2 * MINUTE + SECOND) == Slot(NOON + MINUTE, ENTRY)


def test_a_slot_that_the_leader_had_claimed_is_one_of_the_beats_own_once_its_message_has_started_it(
    see, ledger, identity
):
    term = ledger.fence.open_term(identity(), Side.CODE)
    ledger.claims.claim(term, [Slot(NOON + 2 * MINUTE, ENTRY)])
    late = NOON + 2 * MINUTE + SECOND
    assert [see(f"waited {i}", late) for i in range(2)] == [Slot(NOON + n * MINUTE, ENTRY) for n in (2, 1)]


@pytest.mark.parametrize("app", [MINUTE], indirect=True, ids=["interval"])
@pytest.mark.parametrize("late_s", [[40] * 14 + [25, 25], [25] * 2 + [50] * 14 + [25, 25]], ids=["later", "drifted"])
def test_a_cadence_halfway_between_two_slots_has_a_slot_for_each_message(see, ledger, identity, late_s):
    """The nearest slot would be one and the same for two messages; and those before it are all taken."""
    term = ledger.fence.open_term(identity(), Side.CODE)
    ledger.claims.claim(term, [Slot(NOON, ENTRY)])
    assert ledger.runs.start(Slot(NOON, ENTRY), Epoch(1), "a leader's run") is Start.STARTED
    found = [see(f"message {n}", NOON + n * MINUTE + late * SECOND) for n, late in enumerate(late_s, 1)]
    assert None not in found
    assert len(set(found)) == len(found)


@pytest.fixture
def settle(app, ledger, identity):
    """A leader settles the entry of ``app``, which a stock beat ran at an instant; returns its schedule."""

    def settle(ran_at: dt.datetime, meanwhile: Callable[[], object] = lambda: None) -> Schedule:
        known = Schedule(Side.CODE, Recorded(app, ran_at), ledger)
        known.refresh()
        meanwhile()
        assert known.settle(ledger.fence.open_term(identity(), Side.CODE))
        return known

    return settle


@pytest.mark.parametrize("app", [MINUTE, ROUNDED], indirect=True, ids=["interval", "relative"])
def test_the_first_message_is_of_the_slot_that_the_leader_counts_from_the_old_beats_record(see, settle):
    due_at = settle(NOON + 7 * SECOND).agenda.next_at()
    assert see("first", due_at + 0.03 * SECOND) == Slot(due_at, ENTRY)


@pytest.mark.parametrize("app", [MINUTE], indirect=True, ids=["interval"])
def test_a_cadence_that_a_worker_begins_as_a_leader_settles_is_the_leaders_too(see, settle):
    begun = NOON + 0.03 * SECOND
    known = settle(NOON - MINUTE, meanwhile=lambda: see("first", begun))
    assert known.agenda.next_at() == begun + MINUTE


@pytest.mark.parametrize("app", [MINUTE], indirect=True, ids=["interval"])
def test_a_worker_begins_no_cadence_that_a_leader_has_just_begun(see, settle, ledger, monkeypatch):
    of = ledger.cursors.of

    def not_known_yet(entry):
        monkeypatch.setattr(ledger.cursors, "of", of)
        assert of(entry) is None
        settle(NOON - MINUTE)

    monkeypatch.setattr(ledger.cursors, "of", not_known_yet)
    assert see("first", NOON + 0.03 * SECOND) == Slot(NOON, ENTRY)
    assert [*ledger.cursors.latest_of([ENTRY]).values()] == [NOON]


def test_a_message_that_was_started_and_comes_again_takes_no_other_slot(see):
    see("first", NOON)
    see("second", NOON + MINUTE)
    assert see("first", NOON + 2 * MINUTE) is None
    assert see("third", NOON + 2 * MINUTE + SECOND) == Slot(NOON + 2 * MINUTE, ENTRY)


@pytest.mark.parametrize("app", [MINUTE], indirect=True, ids=["retired"])
def test_of_a_code_schedule_that_is_retired_the_row_is_found(see, app, alias):
    every = IntervalSchedule.objects.using(alias).create(every=1, period="minutes")
    for name, args, enabled in ((ENTRY, "[]", True), ("other", '["x"]', True), ("disabled", "[]", False)):
        PeriodicTask(name=name, task="a.task", args=args, enabled=enabled, interval=every).save(using=alias)
    app.conf.beat_schedule = {}
    assert see("first", NOON) == Slot(NOON, ENTRY)
    assert see("second", NOON + MINUTE) == Slot(NOON + MINUTE, ENTRY)


@pytest.mark.parametrize("app", [MINUTE], indirect=True, ids=["retired"])
def test_of_a_code_schedule_that_is_retired_messages_without_a_slot_are_counted_by_row_where_it_can_be_told(
    app, ledger, alias
):
    """Counted together, the messages of two rows would come at no row's instants, and their beat would not be seen."""
    app.conf.beat_schedule = {}
    every = IntervalSchedule.objects.using(alias).create(every=1, period="minutes")
    for name, args in (("one", '["x"]'), ("two", '["y"]'), ("three", '["z"]'), ("like three", '["z"]')):
        PeriodicTask(name=name, task="a.task", args=args, interval=every).save(using=alias)
    scheduled = slotless.ScheduledTasks(app, Config(database=alias), ledger)
    scheduled.refresh()
    for minute, (args, after) in itertools.product(range(3), (("x", 0), ("y", 20), ("z", 40))):
        at = NOON + minute * MINUTE + after * SECOND
        scheduled.count(unmanaged.Message(Sender("beat", f"{args}{minute}"), "a.task", (args,), {}, "", at))
        scheduled._count_at_s.clear()
    counted = {row.entry: (row.messages, row.at_slots) for row in ledger.senders.read()}
    assert counted == {"one": (3, 2), "two": (3, 2), "": (3, 2)}


@pytest.mark.parametrize("app", [MINUTE], indirect=True, ids=["ahead"])
def test_a_worker_whose_clock_is_ahead_counts_messages_without_a_slot_by_the_databases(app, ledger, monkeypatch):
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + 120 * MINUTE)
    scheduled = slotless.ScheduledTasks(app, Config(database=ledger.alias), ledger)
    scheduled.count(unmanaged.Message(Sender("beat", "one"), "a.task", (), {}, "", clock.now()))
    (row,) = ledger.senders.read()
    assert abs(row.last_seen_at - now()) < MINUTE


@pytest.mark.parametrize("app", [schedule(5 * MINUTE, relative=True)], indirect=True, ids=["relative"])
def test_a_relative_interval_keeps_its_steps_and_is_found_at_once(see, ledger, identity):
    term = ledger.fence.open_term(identity(), Side.CODE)
    ledger.claims.claim(term, [Slot(NOON, ENTRY)])
    began_s = clock.monotonic_s()
    assert see("first", NOON + 5 * MINUTE + SECOND) == Slot(NOON + 5 * MINUTE, ENTRY)
    assert clock.monotonic_s() - began_s < 1


@pytest.mark.parametrize("late", [dt.timedelta(milliseconds=40), dt.timedelta(milliseconds=-40)], ids=["late", "early"])
@pytest.mark.parametrize(
    "app",
    [schedule(every, relative=True) for every in (10 * SECOND, MINUTE, 60 * MINUTE)],
    indirect=True,
    ids=["seconds", "minute", "hour"],
)
def test_a_relative_interval_begins_at_the_whole_second_or_minute_from_which_the_leader_goes_on(see, ledger, app, late):
    """A first slot some milliseconds off would have every later message run besides the leader's slot."""
    table = timetable.timetable(app.conf.beat_schedule[ENTRY]["schedule"])
    first = see("first", NOON + late)
    assert first == Slot(NOON, ENTRY)
    second = table.next_after(first.due_at)
    assert see("second", second + late) == Slot(second, ENTRY)


@pytest.mark.parametrize("app", [schedule(90 * MINUTE, relative=True)], indirect=True, ids=["ninety minutes"])
def test_a_relative_interval_of_no_whole_unit_goes_on_in_the_steps_that_it_is_rounded_to(see, ledger, identity):
    """Celery rounds the end down: 90 minutes after noon, rounded, is one o'clock, and then two."""
    term = ledger.fence.open_term(identity(), Side.CODE)
    ledger.claims.claim(term, [Slot(NOON, ENTRY)])
    assert see("first", NOON + 60 * MINUTE + SECOND) == Slot(NOON + 60 * MINUTE, ENTRY)
    assert see("second", NOON + 120 * MINUTE + SECOND) == Slot(NOON + 120 * MINUTE, ENTRY)
    assert ledger.claims.claim(term, [Slot(NOON + 120 * MINUTE, ENTRY)]) == {
        Slot(NOON + 120 * MINUTE, ENTRY): Claim.ALREADY_CLAIMED
    }


@pytest.mark.parametrize("app", [MINUTE], indirect=True, ids=["interval"])
def test_an_interval_with_a_start_is_counted_from_there_as_the_leader_counts(see, ledger, identity):
    begins = NOON + 20 * SECOND
    term = ledger.fence.open_term(identity(), Side.CODE)
    ledger.entries.revise(term, lambda known: {ENTRY: KnownEntry("", NOON, Limits(not_before=begins))})
    assert see("first", begins + 0.03 * SECOND) == Slot(begins, ENTRY)
    assert see("second", begins + MINUTE) == Slot(begins + MINUTE, ENTRY)


@pytest.fixture
def renamed(ledger, identity):
    """A leader of the release before has sent the slot of an instant under the entry's old name."""

    def renamed(due_at: dt.datetime) -> None:
        term = ledger.fence.open_term(identity(), Side.CODE)
        old = KnownEntry("", due_at - MINUTE)
        ledger.entries.revise(term, lambda known: {OLD: old})
        ledger.claims.claim(term, [Slot(due_at, OLD)])
        assert ledger.runs.start(Slot(due_at, OLD), term.epoch, "a run of the leader's") is Start.STARTED

    return renamed


@pytest.mark.parametrize("is_settled", [False, True], ids=["not settled yet", "settled"])
def test_what_a_leader_has_sent_under_the_old_name_runs_once(see, renamed, ledger, identity, is_settled):
    renamed(NOON)
    if is_settled:
        term = ledger.fence.open_term(identity(), Side.CODE)
        ledger.entries.revise(
            term, lambda known: {ENTRY: KnownEntry("", NOON), OLD: replace(known[OLD], is_active=False)}
        )
    assert see("first", NOON + SECOND) is None
    name = ENTRY if is_settled else OLD
    assert see("second", NOON + MINUTE + SECOND) == Slot(NOON + MINUTE, name)
    assert see("third", NOON + 2 * MINUTE + SECOND) == Slot(NOON + 2 * MINUTE, name)
    assert see("second", NOON + 2 * MINUTE + SECOND) is None, "it comes again"


def test_a_message_without_the_lease_keeps_the_slot_that_it_has_started_under_the_old_name(
    see, renamed, ledger, identity
):
    renamed(NOON)
    assert see("first", NOON + MINUTE + SECOND) == Slot(NOON + MINUTE, OLD)
    term = ledger.fence.open_term(identity(), Side.CODE)
    ledger.entries.revise(term, lambda known: {ENTRY: KnownEntry("", NOON + MINUTE)})
    assert see("first", NOON + 2 * MINUTE) is None
    assert see("second", NOON + 2 * MINUTE + SECOND) == Slot(NOON + 2 * MINUTE, ENTRY)


def test_where_the_ledger_knows_no_name_of_it_the_newest_counts(see):
    assert see("first", NOON) == Slot(NOON, ENTRY)
    assert see("second", NOON + MINUTE) == Slot(NOON + MINUTE, ENTRY)
