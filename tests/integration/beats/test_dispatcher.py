"""Claim, publish, confirm, sweep: a real broker gets the messages, a real ledger keeps the books."""

import datetime as dt
import itertools
from collections import Counter
from collections.abc import Iterator

import pytest
from celery.beat import ScheduleEntry, SchedulingError
from celery.schedules import schedule
from django.db import connections

from cutover import clock, models
from cutover.beats.agenda import Agenda, Due
from cutover.beats.backlog import AT_ONCE
from cutover.beats.backlog import EVERY as PAUSE
from cutover.beats.dispatcher import FIRST, ROWS, SWEEP_AGAIN
from cutover.beats.item import MISFIRE_GRACE
from cutover.beats.missed import BEYOND, PASSED_OVER, TOO_LATE, UNSURE
from cutover.beats.replay import Replay
from cutover.beats.sources import LastRun, ScheduledEntry
from cutover.conf import CatchUpRule
from cutover.errors import LedgerUnavailable
from cutover.ledger.replays import Piece
from cutover.phases.evidence.lateness import MISSED
from cutover.renames import Renames
from cutover.types import CatchUp, EntryName, Missed, Side, Slot
from demo.waiting import wait_until
from tests.integration.beats.conftest import (
    HOUR,
    MINUTE,
    RULE,
    Broker,
    agenda_of,
    dispatcher,
    due,
    due_now,
    entry,
    sending,
)

SECOND = dt.timedelta(seconds=1)
pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]


def test_what_is_due_is_published_once_and_confirmed(ledger, broker, term, rows):
    agenda = due_now(broker, "a", "b")
    sent = dispatcher(ledger, broker).send(term, agenda, due(agenda))
    assert (sorted(e.name for e in sent.published), sent.fenced) == (["a", "b"], False)
    assert rows() == {"published": 2}
    assert len(broker.messages()) == 2
    assert list(due(agenda)) == []


def test_a_message_names_its_slot_in_headers_and_task_id(ledger, broker, term):
    agenda = due_now(broker, "a", options={"headers": {"own": "1"}, "queue": "celery"})
    (one,) = due(agenda)
    dispatcher(ledger, broker).send(term, agenda, [one])
    (message,) = broker.messages()
    slot = Slot(one.owed.send, one.name)
    headers = message["headers"]
    assert headers["id"] == slot.task_id("tests")
    assert headers["cutover_entry"] == "a"
    assert dt.datetime.fromisoformat(headers["cutover_due_at"]) == slot.due_at
    assert headers["cutover_epoch"] == term.epoch
    assert headers["cutover_task"] == "demo.tasks.note"
    assert headers["own"] == "1"
    assert (headers["argsrepr"], headers["kwargsrepr"]) == ("['a']", "{}")
    assert one.entry.options == {"headers": {"own": "1"}, "queue": "celery"}, "the entry is as it was"


def test_a_message_that_cannot_be_sent_is_a_heartbeat_too(ledger, broker, term):
    """Or a leader with many such entries would lose its lease in the middle of them."""
    beats: list[int] = []
    agenda = due_now(broker, "a", "b", "c")

    def refuse(entry: ScheduleEntry) -> None:
        beats.clear()
        raise TypeError("its arguments do not serialise")

    sending(ledger, refuse, lambda: beats.append(1)).send(term, agenda, due(agenda))
    assert beats


def test_six_hundred_at_once_go_out_in_batches_and_each_once(ledger, broker, term, rows):
    beats: list[int] = []
    agenda = due_now(broker, *map(str, range(600)))
    sent = dispatcher(ledger, broker, lambda: beats.append(rows()["published"])).send(term, agenda, due(agenda))
    assert len(sent.published) == 600
    assert rows() == {"published": 600}
    assert set(broker.task_ids().values()) == {1}
    assert len(broker.messages()) == 600
    assert sum(Counter(beats).values()) == 1200, "at each entry, and at each message"


def test_no_commit_is_larger_than_what_a_database_takes_in_two_seconds(ledger, broker, term, rows, monkeypatch):
    sizes: list[int] = []
    claim = ledger.claims.claim
    monkeypatch.setattr(
        ledger.claims, "claim", lambda t, s, m, **k: sizes.append(len(s) + len(m)) or claim(t, s, m, **k)
    )
    minutely = [ScheduleEntry(name=f"{n}", task="t", schedule=schedule(MINUTE), app=broker.app) for n in range(25)]
    agenda = agenda_of(minutely, clock.now() - 90.5 * MINUTE)
    dispatcher(ledger, broker).send(term, agenda, due(agenda))
    assert rows() == {"missed": 25 * 89, "published": 25}
    assert (sum(sizes), max(sizes) <= ROWS, len(sizes)) == (25 * 90, True, 3)


def test_a_gap_is_recorded_and_its_latest_slot_sent(ledger, broker, term, rows, alias):
    agenda = agenda_of([entry(broker, "a")], clock.now() - 5.5 * HOUR)
    dispatcher(ledger, broker).send(term, agenda, due(agenda))
    assert rows() == {"missed": 4, "published": 1}
    assert len(broker.messages()) == 1
    reasons = models.Slot.objects.using(alias).filter(state="missed").values_list("reason", flat=True)
    assert set(reasons) == {"a later slot was sent in its stead"}


@pytest.mark.parametrize("has_run", [True, False], ids=["it has sent", "it was started a moment before"])
def test_of_what_a_stock_beat_may_have_sent_nobody_says_that_it_was_missed(
    ledger, broker, term, alias, caplog, has_run
):
    """Its record, from which the entry goes on, is up to three minutes old; that of its start, too."""
    ran_at = clock.now() - 5.5 * MINUTE
    one = ScheduleEntry(name="a", task="t", schedule=schedule(MINUTE), app=broker.app)
    agenda = Agenda()
    name, run = EntryName("a"), LastRun(ran_at, has_run=has_run)
    agenda.load({name: ScheduledEntry.of(one, RULE, last_run=run)}, ran_at)
    with caplog.at_level("WARNING", "cutover"):
        dispatcher(ledger, broker).send(term, agenda, due(agenda))
    slots = models.Slot.objects.using(alias).order_by("due_at")
    assert [slot.reason for slot in slots] == [*[UNSURE] * 4, ""], "four minutes after the record"
    assert slots.filter(MISSED).count() == 0
    [said] = [record.msg for record in caplog.records]
    assert (said["event"], said["slots"]) == ("cutover.slots.unsure", 4)


def test_what_a_stock_beat_would_have_written_down_by_then_was_missed(ledger, broker, term, alias):
    ran_at = clock.now() - 5.5 * HOUR
    agenda = Agenda()
    name, run = EntryName("a"), LastRun(ran_at, has_run=True)
    agenda.load({name: ScheduledEntry.of(entry(broker, "a"), RULE, last_run=run)}, ran_at)
    dispatcher(ledger, broker).send(term, agenda, due(agenda))
    slots = models.Slot.objects.using(alias).order_by("due_at")
    assert [slot.reason for slot in slots] == [UNSURE, *[PASSED_OVER] * 3, ""], (
        "the first may have been the last it sent"
    )
    assert slots.filter(MISSED).count() == 3


def test_a_gap_of_a_thousand_slots_is_counted_to_the_last_and_logged_in_one_line(ledger, broker, term, alias, caplog):
    one = ScheduleEntry(name="a", task="t", schedule=schedule(MINUTE), app=broker.app)
    agenda = agenda_of([one], clock.now() - 1_000.5 * MINUTE)
    with caplog.at_level("ERROR", "cutover"):
        dispatcher(ledger, broker).send(term, agenda, due(agenda))
    missed = models.Slot.objects.using(alias).filter(state="missed")
    assert missed.count() + sum(missed.values_list("passed_over", flat=True)) == 999
    oldest = missed.order_by("due_at").first()
    assert oldest.passed_over > 0
    [said] = [record.msg for record in caplog.records]
    assert (said["event"], said["entry"], said["slots"]) == ("cutover.slot.missed", "a", 999)
    assert said["passed_over"] == 999 - missed.count()
    assert [said["since"], said["due_at"]] == [at.due_at.isoformat() for at in (oldest, missed.latest("due_at"))]


def test_what_is_missed_of_several_entries_or_for_several_reasons_is_a_line_each(ledger, broker, term, caplog):
    agenda = due_now(broker, "a")
    some = [clock.now() - hours * HOUR for hours in (1, 2, 3)]
    ledger.claims.claim(term, [Slot(at, EntryName(name)) for at in some for name in ("gone", "left")])
    with caplog.at_level("ERROR", "cutover"):
        dispatcher(ledger, broker).sweep(term, agenda)
    told = {(record.msg["entry"], record.msg["slots"]) for record in caplog.records}
    assert len(told) == len(caplog.records)
    assert {name: sum(slots for one, slots in told if one == name) for name in ("gone", "left")} == {
        **{"gone": 3, "left": 3}
    }


def test_a_fenced_leader_publishes_nothing_and_moves_nothing_on(ledger, broker, term, rows, identity):
    agenda = due_now(broker, "a")
    ledger.fence.open_term(identity(), Side.CODE)
    sent = dispatcher(ledger, broker).send(term, agenda, due(agenda))
    assert (sent.published, sent.fenced) == ([], True)
    assert rows() == {}
    assert broker.messages() == []
    assert len(list(due(agenda))) == 1


def test_a_leader_that_is_fenced_between_two_batches_stops_there(ledger, broker, term, rows, identity):
    agenda = due_now(broker, *map(str, range(200)))
    calls = itertools.count(1)

    def publish(one: ScheduleEntry) -> None:
        broker.publish(one)
        if next(calls) == sum(FIRST):
            ledger.fence.open_term(identity(), Side.CODE)

    sent = sending(ledger, publish).send(term, agenda, due(agenda))
    assert sent.fenced
    assert len(sent.published) == len(broker.messages()) == rows()["published"] == sum(FIRST)


def test_a_leader_that_was_frozen_between_two_messages_sends_one_more_at_most(ledger, broker, term, rows, identity):
    """Its claims are for its successor's sweep; while nobody succeeds it, a pause stops it from nothing."""
    agenda = due_now(broker, *map(str, range(40)))
    now_s, calls, successor = [0.0], itertools.count(1), []

    def publish(one: ScheduleEntry) -> None:
        broker.publish(one)
        number = next(calls)
        if number in (3, 15):  # both in the middle of a chunk
            now_s[0] += 60
        if number == 15:
            successor.append(ledger.fence.open_term(identity(), Side.CODE))

    sent = sending(ledger, publish, monotonic_s=lambda: now_s[0]).send(term, agenda, due(agenda))
    assert sent.fenced
    assert len(sent.published) == len(broker.messages()) == 15
    assert rows() == {"published": 15, "claimed": 25}, "two chunks, and what is left of the third"
    sender = dispatcher(ledger, broker)
    assert len(sender.sweep(successor[0], agenda).published) == 25
    assert set(broker.task_ids().values()) == {1}
    assert len(list(due(agenda))) == 0


def test_the_first_message_leaves_before_the_rest_is_worked_out(ledger, broker, term):
    agenda, worked_out, at_first = due_now(broker, *map(str, range(40))), [], []

    def watched() -> Iterator[Due]:
        for one in due(agenda):
            worked_out.append(one)
            yield one

    def publish(one: ScheduleEntry) -> None:
        at_first.append(len(worked_out))
        broker.publish(one)

    assert len(sending(ledger, publish).send(term, agenda, watched()).published) == 40
    assert at_first[0] == FIRST[0]


def test_a_slot_that_was_claimed_before_is_not_published_and_its_entry_moves_on(ledger, broker, term, rows):
    agenda = due_now(broker, "a")
    (one,) = due(agenda)
    ledger.claims.claim(term, [Slot(one.owed.send, one.name)])
    sent = dispatcher(ledger, broker).send(term, agenda, [one])
    assert sent.published == []
    assert broker.messages() == []
    assert list(due(agenda)) == []


def test_without_a_broker_claims_stay_nothing_more_is_claimed_and_the_sweep_sends_each_once(
    ledger, own_broker, term, rows
):
    own_broker.server.stop()
    sender = dispatcher(ledger, own_broker)
    agenda = due_now(own_broker, *map(str, range(50)))
    sent = sender.send(term, agenda, due(agenda))
    assert (sent.published, sent.fenced) == ([], False)
    assert rows() == {"claimed": FIRST[0]}, "the second batch was not claimed"
    assert not sender.may_claim
    assert 0 < sender.sweep_in_s() <= 1

    wait_until(lambda: sender.sweep_in_s() == 0, "the sweep is due")
    assert sender.sweep(term, agenda).published == []
    assert rows() == {"claimed": FIRST[0]}
    assert 0 < sender.sweep_in_s() < SWEEP_AGAIN.most_s * 1.3

    own_broker.server.start()
    swept = sender.sweep(term, agenda)
    assert len(swept.published) == FIRST[0]
    assert sender.may_claim
    sender.send(term, agenda, due(agenda))
    assert rows() == {"published": 50}
    assert set(own_broker.task_ids().values()) == {1}
    assert len(own_broker.messages()) == 50


def test_a_broker_that_fails_in_the_middle_leaves_the_rest_claimed(ledger, broker, term, rows):
    failing = iter(range(7))

    def publish(one: ScheduleEntry) -> None:
        if next(failing, None) is None:
            raise ConnectionResetError("gone")
        broker.publish(one)

    sender = sending(ledger, publish)
    agenda = due_now(broker, *map(str, range(20)))
    assert len(sender.send(term, agenda, due(agenda)).published) == 7
    assert rows() == {"published": 7, "claimed": FIRST[0] - 7}
    assert len(broker.messages()) == 7


def test_the_next_leader_sweeps_what_the_last_one_claimed_under_the_same_task_id(ledger, broker, term, rows, identity):
    agenda = due_now(broker, "a")
    (one,) = due(agenda)
    slot = Slot(one.owed.send, one.name)
    ledger.claims.claim(term, [slot])  # and then the process is killed
    successor = ledger.fence.open_term(identity(), Side.CODE)
    sender = dispatcher(ledger, broker)
    sender.sweep_first()
    assert not sender.may_claim
    assert sender.sweep_in_s() == 0
    assert [e.name for e in sender.sweep(successor, agenda).published] == ["a"]
    assert broker.task_ids() == {slot.task_id("tests"): 1}
    assert rows() == {"published": 1}


def test_a_fenced_leader_sweeps_nothing(ledger, broker, term, rows, identity):
    agenda = due_now(broker, "a")
    (one,) = due(agenda)
    ledger.claims.claim(term, [Slot(one.owed.send, one.name)])
    ledger.fence.open_term(identity(), Side.CODE)
    assert dispatcher(ledger, broker).sweep(term, agenda).fenced
    assert broker.messages() == []
    assert rows() == {"claimed": 1}


def test_what_is_hopeless_is_given_up_with_its_reason_and_not_published(ledger, broker, term, alias):
    agenda = due_now(broker, "a")
    old, new = clock.now() - 2 * HOUR, clock.now() - HOUR
    ledger.claims.claim(term, [Slot(old, EntryName("a")), Slot(new, EntryName("a")), Slot(new, EntryName("gone"))])
    dispatcher(ledger, broker).sweep(term, agenda)
    assert dict(models.Slot.objects.using(alias).filter(state="missed").values_list("entry", "reason")) == {
        "a": "superseded by a newer slot before it was published",
        "gone": "side code has no such entry",
    }
    assert broker.task_ids() == {Slot(new, EntryName("a")).task_id("tests"): 1}


def every_second(broker: Broker, since: dt.datetime, most: int = 100) -> Agenda:
    """An agenda with one entry, of a second, whose every slot counts."""
    one = ScheduleEntry(name="a", task="demo.tasks.note", schedule=schedule(1), args=("a",), app=broker.app)
    agenda = Agenda()
    agenda.load({EntryName("a"): ScheduledEntry.of(one, CatchUpRule(CatchUp.ALL, HOUR, most))}, since)
    return agenda


def test_a_gap_of_an_entry_whose_every_slot_counts_is_sent_oldest_first_a_piece_at_a_time(ledger, broker, term, rows):
    now = clock.now()
    began = now - 70.5 * SECOND
    agenda, sender = every_second(broker, began), dispatcher(ledger, broker)
    first = sender.send(term, agenda, agenda.due(now, MISFIRE_GRACE))
    assert (len(first.published), len(first.past_slots)) == (0, AT_ONCE)
    assert sender.send(term, agenda, agenda.due(now, MISFIRE_GRACE)).past_slots == [], "no more of it at once"
    rest = sender.send(term, agenda, agenda.due(now + PAUSE, MISFIRE_GRACE))
    assert (len(rest.published), len(rest.past_slots)) == (1, 19), "the latest says where the entry stands"
    sent = [dt.datetime.fromisoformat(message["headers"]["cutover_due_at"]) for message in broker.messages()]
    assert sent == [began + number * SECOND for number in range(1, 71)]
    assert rows() == {"published": 70}


def test_what_is_beyond_the_bound_and_what_is_too_late_is_named_each_with_its_reason(ledger, broker, term, rows, alias):
    now = clock.now()
    agenda, sender = every_second(broker, now - HOUR - 200.5 * SECOND, most=20), dispatcher(ledger, broker)
    for _ in range(2):
        sender.send(term, agenda, agenda.due(now, MISFIRE_GRACE))
    missed = models.Slot.objects.using(alias).filter(state="missed")
    counts = Counter[str]()
    for reason, older in missed.values_list("reason", "passed_over"):
        counts[reason] += 1 + older
    assert counts == {TOO_LATE: 200, BEYOND: 3_580}
    assert rows() == {"missed": 200, "published": 20}


def test_a_sweep_gives_up_no_claim_of_an_entry_whose_every_slot_counts_but_what_is_beyond_its_bound(
    ledger, broker, term, alias
):
    agenda = every_second(broker, clock.now() - 10 * SECOND, most=3)
    claimed = [Slot(clock.now() - number * SECOND, EntryName("a")) for number in range(5, 0, -1)]
    ledger.claims.claim(term, claimed)
    dispatcher(ledger, broker).sweep(term, agenda)
    assert broker.task_ids() == {slot.task_id("tests"): 1 for slot in claimed[2:]}
    missed = models.Slot.objects.using(alias).filter(state="missed").order_by("due_at")
    assert list(missed.values_list("due_at", "reason")) == [(slot.due_at, BEYOND) for slot in claimed[:2]]


def test_a_sweep_publishes_what_was_replayed_however_old_and_superseded_it_is(ledger, broker, term, identity, rows):
    agenda = due_now(broker, "a")
    old, new = Slot(clock.now() - 50 * HOUR, EntryName("a")), Slot(clock.now() - HOUR, EntryName("a"))
    ledger.claims.claim(term, [], [Missed(old, "why"), Missed(new, "why")])
    key = models.Slot.objects.using(ledger.alias).get(due_at=old.due_at).pk
    ledger.replays.ask(Side.CODE, [Piece(EntryName("a"), [key])], clock.now())
    assert ledger.replays.claim(term, lambda name: True, 10).claimed == [old]  # and then the process is killed
    successor = ledger.fence.open_term(identity(), Side.CODE)
    swept = dispatcher(ledger, broker).sweep(successor, agenda)
    assert ([e.name for e, _ in swept.past_slots], swept.published) == (["a"], [])
    assert broker.task_ids() == {old.task_id("tests"): 1}
    assert rows() == {"published": 1, "missed": 1}


def test_what_was_asked_for_is_replayed_at_a_poll_through_the_way_of_every_message(ledger, broker, term, rows):
    agenda, noted = due_now(broker, "a"), []
    old = [Slot(clock.now() - hours * HOUR, EntryName(name)) for hours in (30, 40) for name in ("a", "gone")]
    ledger.claims.claim(term, [], [Missed(slot, "why") for slot in old])
    keys = list(models.Slot.objects.using(ledger.alias).values_list("pk", flat=True))
    ledger.replays.ask(Side.CODE, [Piece(EntryName("a"), keys)], clock.now())
    chore = Replay(ledger, dispatcher(ledger, broker), lambda entries, past_slots=(): noted.extend(past_slots))
    for _ in range(2):
        assert chore.run(term, ledger.fence.read(chore.asks), agenda)
    wanted = [old[2], old[0]]
    assert [message["headers"]["id"] for message in broker.messages()] == [slot.task_id("tests") for slot in wanted]
    assert [at for _, at in noted] == [slot.due_at for slot in wanted]
    assert rows() == {"published": 2, "missed": 2}
    ledger.fence.switch(Side.DATABASE)
    assert chore.run(term, ledger.fence.read(chore.asks), agenda), "nothing is asked for, so nobody is asked"


def test_an_entry_that_can_not_be_published_does_not_hold_up_the_others_for_ever(ledger, broker, term, rows):
    """Arguments that do not serialise: the entry's own fault, not the broker's."""
    agenda = due_now(broker, "b", "c")
    bad = ScheduleEntry(name="a", task="t", schedule=schedule(HOUR), args=(object(),), app=broker.app)
    agenda.load(
        {EntryName(e.name): ScheduledEntry.of(e, RULE) for e in (bad, *[d.entry for d in due(agenda)])},
        clock.now() - 1.5 * HOUR,
    )
    sender = dispatcher(ledger, broker)
    assert sorted(e.name for e in sender.send(term, agenda, due(agenda)).published) == ["b", "c"]
    assert sender.may_claim
    assert sender.sweep_in_s() > 1, "it is tried again, but not in haste"
    assert sender.sweep(term, agenda).published == []
    assert sender.may_claim
    assert rows() == {"published": 2, "claimed": 1}


def test_a_task_that_refuses_to_be_sent_holds_up_no_other(ledger, broker, term, rows):
    """By an error of the project's own, such as a task that is to run only once at a time raises."""

    class AlreadyQueued(Exception):
        pass

    def publish(one: ScheduleEntry) -> None:
        if one.name == "a":
            try:
                raise AlreadyQueued("it is queued")
            except AlreadyQueued as exc:
                raise SchedulingError("Couldn't apply scheduled task a") from exc
        broker.publish(one)

    agenda = due_now(broker, "a", "b", "c")
    sender = sending(ledger, publish)
    assert sorted(e.name for e in sender.send(term, agenda, due(agenda)).published) == ["b", "c"]
    assert sender.may_claim
    assert rows() == {"published": 2, "claimed": 1}


def test_what_the_brokers_client_names_is_the_brokers_doing(ledger, broker, term, rows):
    class OutOfMemory(Exception):
        pass

    def publish(one: ScheduleEntry) -> None:
        raise OutOfMemory

    agenda = due_now(broker, "a", "b")
    sender = sending(ledger, publish, faults=(OutOfMemory,))
    assert sender.send(term, agenda, due(agenda)).published == []
    assert not sender.may_claim


def rename(alias: str, old: str, new: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")


def test_a_confirmation_that_the_database_did_not_take_is_made_good_without_a_second_message(
    ledger, broker, term, rows, alias
):
    def publish_and_lose_the_database(one: ScheduleEntry) -> None:
        broker.publish(one)
        rename(alias, "cutover_slot", "cutover_slot_away")

    agenda = due_now(broker, "a")
    sender = sending(ledger, publish_and_lose_the_database)
    with pytest.raises(LedgerUnavailable):
        sender.send(term, agenda, due(agenda))
    connections[alias].close()
    rename(alias, "cutover_slot_away", "cutover_slot")
    sender.sweep_first()  # as the candidate does when it has lost the database
    assert sender.sweep(term, agenda).published == []
    sender.send(term, agenda, due(agenda))
    assert rows() == {"published": 1}
    assert len(broker.messages()) == 1


def test_what_was_claimed_under_an_old_name_is_swept_under_it_by_the_entry_that_it_became(
    ledger, broker, term, rows, identity
):
    one, new = Slot(clock.now() - HOUR / 2, EntryName("old")), EntryName("new")
    ledger.claims.claim(term, [one])
    agenda = Agenda(Renames({EntryName("old"): EntryName("between"), EntryName("between"): new}))
    agenda.load({new: ScheduledEntry.of(entry(broker, "new"), RULE)}, clock.now())
    successor = ledger.fence.open_term(identity(), Side.CODE)
    sender = dispatcher(ledger, broker)
    sender.sweep_first()
    assert [each.name for each in sender.sweep(successor, agenda).published] == ["new"]
    assert (rows(), broker.task_ids()) == ({"published": 1}, {one.task_id("tests"): 1})
