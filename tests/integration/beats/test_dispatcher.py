"""Claim, publish, confirm, sweep: a real broker gets the messages, a real ledger keeps the books."""

import datetime as dt
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery, Task
from celery.beat import ScheduleEntry, Scheduler, SchedulingError
from celery.schedules import schedule
from django.db import connections

from cutover import clock, models
from cutover.beats.agenda import Agenda, Limits
from cutover.beats.dispatcher import CHUNK, RETRY_MOST_S, ROWS, Dispatcher
from cutover.beats.scheduler import Leased
from cutover.conf import CatchUpRule
from cutover.errors import LedgerUnavailable
from cutover.guard import GuardedTask
from cutover.ledger import Ledger
from cutover.types import CatchUp, EntryName, Identity, Side, Slot, Term
from demo.services import Valkey
from demo.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]

HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)
MISFIRE_GRACE = dt.timedelta(seconds=30)
RULE = CatchUpRule(CatchUp.LATEST, 12 * HOUR)


class BoundedScheduler(Scheduler):
    """Publishes as the guarded schedulers do."""

    _ensure_connected = Leased._ensure_connected


class Broker:
    """A celery app on a broker, and what that one was handed."""

    def __init__(self, server: Valkey) -> None:
        self.server = server
        self.app = Celery("of-dispatcher", broker=server.url, task_cls=GuardedTask, set_as_current=False)
        self.app.conf.update(
            broker_transport_options={"socket_connect_timeout": 1, "socket_timeout": 1},
            broker_connection_retry=False,
            task_publish_retry=False,
        )
        self.scheduler = BoundedScheduler(self.app, lazy=True)

    def publish(self, entry: ScheduleEntry) -> None:
        self.scheduler.apply_async(entry, producer=self.scheduler.producer, advance=False)

    def messages(self) -> list[dict[str, Any]]:
        """The messages in the queue, the first one first."""
        with self.server.client() as client:
            return [json.loads(raw) for raw in reversed(client.lrange("celery", 0, -1))]

    def task_ids(self) -> Counter[str]:
        return Counter(message["headers"]["id"] for message in self.messages())

    def close(self) -> None:
        self.scheduler.connection.release()
        self.app.close()
        self.app.pool.force_close_all()


@pytest.fixture
def broker(valkey: Valkey) -> Iterator[Broker]:
    broker = Broker(valkey)
    yield broker
    broker.close()


@pytest.fixture
def own_broker(own_valkey: Valkey) -> Iterator[Broker]:
    """A broker that the test may stop."""
    broker = Broker(own_valkey)
    yield broker
    broker.close()


@pytest.fixture
def term(ledger: Ledger, identity: Callable[..., Identity]) -> Term:
    term = ledger.fence.open_term(identity(), Side.CODE)
    assert term is not None
    return term


@pytest.fixture
def rows(ledger: Ledger, alias: str) -> Callable[[], Counter[str]]:
    """How many slots stand in each state."""
    return lambda: Counter(models.Slot.objects.using(alias).values_list("state", flat=True))


def entry(broker: Broker, name: str, **fields: Any) -> ScheduleEntry:
    return ScheduleEntry(
        name=name, task="demo.tasks.note", schedule=schedule(HOUR), args=(name,), app=broker.app, **fields
    )


def agenda_of(entries: list[ScheduleEntry], since: dt.datetime) -> Agenda:
    agenda = Agenda()
    agenda.load({EntryName(e.name): (e, RULE, Limits()) for e in entries}, since)
    return agenda


def due_now(broker: Broker, *names: str, **fields: Any) -> Agenda:
    """An agenda whose entries have each had one slot, half an hour ago."""
    return agenda_of([entry(broker, name, **fields) for name in names], clock.now() - 1.5 * HOUR)


def dispatcher(ledger: Ledger, broker: Broker, between: Callable[[], None] = lambda: None) -> Dispatcher:
    connection = broker.scheduler.connection
    faults = (*connection.connection_errors, *connection.channel_errors)
    return Dispatcher(ledger, broker.publish, "tests", between, faults)


def due(agenda: Agenda) -> Any:
    return agenda.due(clock.now(), MISFIRE_GRACE)


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
    assert headers["own"] == "1"
    assert (headers["argsrepr"], headers["kwargsrepr"]) == ("['a']", "{}")
    assert one.entry.options == {"headers": {"own": "1"}, "queue": "celery"}, "the entry is as it was"


def test_a_message_that_can_not_be_sent_is_vouched_for_too(ledger, broker, term):
    """Or a leader with many such entries would lose its office in the middle of them."""
    vouched: list[int] = []
    agenda = due_now(broker, "a", "b", "c")

    def refuse(entry: ScheduleEntry) -> None:
        vouched.clear()
        raise TypeError("its arguments do not serialise")

    Dispatcher(ledger, refuse, "tests", lambda: vouched.append(1)).send(term, agenda, due(agenda))
    assert vouched


def test_six_hundred_at_once_go_out_in_batches_and_each_once(ledger, broker, term, rows):
    vouched: list[int] = []
    agenda = due_now(broker, *map(str, range(600)))
    sent = dispatcher(ledger, broker, lambda: vouched.append(rows()["published"])).send(term, agenda, due(agenda))
    assert len(sent.published) == 600
    assert rows() == {"published": 600}
    assert set(broker.task_ids().values()) == {1}
    assert len(broker.messages()) == 600
    assert Counter(vouched) == {0: 600 + CHUNK, CHUNK: CHUNK, 2 * CHUNK: CHUNK}, "at each entry, and at each message"


def test_no_commit_is_larger_than_what_a_database_takes_in_two_seconds(ledger, broker, term, rows, monkeypatch):
    sizes: list[int] = []
    claim = ledger.claims.claim
    monkeypatch.setattr(ledger.claims, "claim", lambda t, s, m: sizes.append(len(s) + len(m)) or claim(t, s, m))
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


def test_a_gap_of_a_thousand_slots_is_counted_to_the_last(ledger, broker, term, alias):
    one = ScheduleEntry(name="a", task="t", schedule=schedule(MINUTE), app=broker.app)
    agenda = agenda_of([one], clock.now() - 1_000.5 * MINUTE)
    dispatcher(ledger, broker).send(term, agenda, due(agenda))
    missed = models.Slot.objects.using(alias).filter(state="missed")
    assert missed.count() + sum(missed.values_list("passed_over", flat=True)) == 999
    oldest = missed.order_by("due_at").first()
    assert oldest.passed_over > 0


def test_a_fenced_leader_publishes_nothing_and_moves_nothing_on(ledger, broker, term, rows, identity):
    agenda = due_now(broker, "a")
    ledger.fence.open_term(identity(), Side.CODE)
    sent = dispatcher(ledger, broker).send(term, agenda, due(agenda))
    assert (sent.published, sent.fenced) == ([], True)
    assert rows() == {}
    assert broker.messages() == []
    assert len(list(due(agenda))) == 1


def test_a_leader_that_is_fenced_between_two_batches_stops_there(ledger, broker, term, rows, identity):
    agenda = due_now(broker, *map(str, range(600)))
    calls = itertools.count(1)

    def between() -> None:
        if next(calls) == 600 + CHUNK:  # at each of 600 entries, and then at the last message of the first batch
            ledger.fence.open_term(identity(), Side.CODE)

    sent = dispatcher(ledger, broker, between).send(term, agenda, due(agenda))
    assert sent.fenced
    assert len(sent.published) == len(broker.messages()) == rows()["published"] == CHUNK


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
    agenda = due_now(own_broker, *map(str, range(CHUNK + 50)))
    sent = sender.send(term, agenda, due(agenda))
    assert (sent.published, sent.fenced) == ([], False)
    assert rows() == {"claimed": CHUNK}, "the second batch was not claimed"
    assert sender.is_blocked
    assert 0 < sender.sweep_in_s() <= 1

    wait_until(lambda: sender.sweep_in_s() == 0, "the sweep is due")
    assert sender.sweep(term, agenda).published == []
    assert rows() == {"claimed": CHUNK}
    assert 0 < sender.sweep_in_s() < RETRY_MOST_S * 1.3

    own_broker.server.start()
    swept = sender.sweep(term, agenda)
    assert len(swept.published) == CHUNK
    assert not sender.is_blocked
    sender.send(term, agenda, due(agenda))
    assert rows() == {"published": CHUNK + 50}
    assert set(own_broker.task_ids().values()) == {1}
    assert len(own_broker.messages()) == CHUNK + 50


def test_a_broker_that_fails_in_the_middle_leaves_the_rest_claimed(ledger, broker, term, rows):
    failing = iter(range(7))

    def publish(one: ScheduleEntry) -> None:
        if next(failing, None) is None:
            raise ConnectionResetError("gone")
        broker.publish(one)

    sender = Dispatcher(ledger, publish, "tests", lambda: None)
    agenda = due_now(broker, *map(str, range(20)))
    assert len(sender.send(term, agenda, due(agenda)).published) == 7
    assert rows() == {"published": 7, "claimed": 13}
    assert len(broker.messages()) == 7


def test_the_next_leader_sweeps_what_the_last_one_claimed_under_the_same_task_id(ledger, broker, term, rows, identity):
    agenda = due_now(broker, "a")
    (one,) = due(agenda)
    slot = Slot(one.owed.send, one.name)
    ledger.claims.claim(term, [slot])  # and then the process is killed
    successor = ledger.fence.open_term(identity(), Side.CODE)
    sender = dispatcher(ledger, broker)
    sender.sweep_soon()
    assert sender.is_blocked
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


def test_an_entry_that_can_not_be_published_does_not_hold_up_the_others_for_ever(ledger, broker, term, rows):
    """Arguments that do not serialise: the entry's own fault, not the broker's."""
    agenda = due_now(broker, "b", "c")
    bad = ScheduleEntry(name="a", task="t", schedule=schedule(HOUR), args=(object(),), app=broker.app)
    agenda.load(
        {EntryName(e.name): (e, RULE, Limits()) for e in (bad, *[d.entry for d in due(agenda)])},
        clock.now() - 1.5 * HOUR,
    )
    sender = dispatcher(ledger, broker)
    assert sorted(e.name for e in sender.send(term, agenda, due(agenda)).published) == ["b", "c"]
    assert not sender.is_blocked
    assert sender.sweep_in_s() > 1, "it is tried again, but not in haste"
    assert sender.sweep(term, agenda).published == []
    assert not sender.is_blocked
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
    sender = Dispatcher(ledger, publish, "tests", lambda: None)
    assert sorted(e.name for e in sender.send(term, agenda, due(agenda)).published) == ["b", "c"]
    assert not sender.is_blocked
    assert rows() == {"published": 2, "claimed": 1}


def test_what_the_brokers_client_names_is_the_brokers_doing(ledger, broker, term, rows):
    class OutOfMemory(Exception):
        pass

    def publish(one: ScheduleEntry) -> None:
        raise OutOfMemory

    agenda = due_now(broker, "a", "b")
    sender = Dispatcher(ledger, publish, "tests", lambda: None, (OutOfMemory,))
    assert sender.send(term, agenda, due(agenda)).published == []
    assert sender.is_blocked


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
    sender = Dispatcher(ledger, publish_and_lose_the_database, "tests", lambda: None)
    with pytest.raises(LedgerUnavailable):
        sender.send(term, agenda, due(agenda))
    connections[alias].close()
    rename(alias, "cutover_slot_away", "cutover_slot")
    sender.sweep_soon()  # as the candidate does when it has lost the database
    assert sender.sweep(term, agenda).published == []
    sender.send(term, agenda, due(agenda))
    assert rows() == {"published": 1}
    assert len(broker.messages()) == 1


# --- what seems to be lost on the way to a worker --------------------------------------------------------------------

AFTER = dt.timedelta(minutes=5)


@pytest.fixture
def lost(ledger: Ledger, broker: Broker, term: Term, alias: str) -> Agenda:
    """Entries a, b and c were published a while ago; b was started and c, published later, too; a was not."""
    agenda = due_now(broker, "a", "b", "c")
    dispatcher(ledger, broker).send(term, agenda, due(agenda))
    slots = models.Slot.objects.using(alias)
    for entry, age in ("a", 3 * AFTER), ("b", 4 * AFTER), ("c", 2 * AFTER):
        slots.filter(entry=entry).update(published_at=clock.now() - age)
    for found in slots.exclude(entry="a"):
        ledger.runs.start(Slot(found.due_at, EntryName(found.entry)), term.epoch, "1@s#1 h:1:a")
    earlier = Slot(clock.now() - 2 * HOUR, EntryName("a"))
    ledger.claims.claim(term, [earlier])
    ledger.claims.confirm([earlier])
    ledger.runs.start(earlier, term.epoch, "1@s#2 h:1:a")
    with broker.server.client() as client:
        client.flushall()
    return agenda


def resend(ledger: Ledger, broker: Broker, term: Term, agenda: Agenda, guarded: dt.timedelta = HOUR) -> list[str]:
    """Have it sent once more; returns the entries of the messages that the broker was handed."""
    assert dispatcher(ledger, broker).resend(term, agenda, clock.now() - guarded, AFTER)
    return [message["headers"]["cutover_entry"] for message in broker.messages()]


def test_what_later_messages_have_overtaken_is_sent_once_more_under_the_same_id(ledger, broker, term, lost, alias):
    assert resend(ledger, broker, term, lost) == ["a"]
    (message,) = broker.messages()
    row = models.Slot.objects.using(alias).get(entry="a", run_started_at=None)
    assert message["headers"]["id"] == str(row.task_id)
    assert (row.state, row.resent) == ("published", 1)


def test_it_is_sent_again_only_after_twice_the_time(ledger, broker, term, lost, alias):
    assert resend(ledger, broker, term, lost) == ["a"]
    slots = models.Slot.objects.using(alias).filter(entry="a", run_started_at=None)
    later = models.Slot.objects.using(alias).filter(entry="c")
    for age, times in ((1.5, 1), (2.5, 2)):
        slots.update(published_at=clock.now() - age * AFTER)
        later.update(published_at=clock.now())
        assert len(resend(ledger, broker, term, lost)) == times


def test_what_no_later_message_has_overtaken_may_be_waiting_for_a_worker(ledger, broker, term, lost, alias):
    models.Slot.objects.using(alias).exclude(entry="a").update(published_at=clock.now() - 5 * AFTER)
    assert resend(ledger, broker, term, lost) == []


def test_an_entry_of_which_no_run_was_ever_recorded_may_have_workers_without_the_guard(
    ledger, broker, term, lost, alias
):
    models.Slot.objects.using(alias).filter(entry="a", run_started_at__isnull=False).delete()
    assert resend(ledger, broker, term, lost) == []


def test_what_was_published_before_every_worker_was_guarded_is_left_alone(ledger, broker, term, lost):
    assert resend(ledger, broker, term, lost, guarded=2.5 * AFTER) == []


@pytest.mark.parametrize("option", [{"expires": 60}, {"countdown": 600}, {"expiration": 60}])
def test_a_message_that_may_rightly_not_be_started_is_left_alone(ledger, broker, term, lost, option):
    lost.entry("a").options.update(option)
    assert resend(ledger, broker, term, lost) == []


@pytest.mark.parametrize(
    ("options", "sent"),
    [({}, ["a"]), ({"expires": 60}, []), ({"rate_limit": "1/h"}, []), ({"base": Task}, [])],
    ids=["plain", "expires", "limited", "bare"],
)
def test_a_message_of_a_task_that_may_wait_or_lapse_or_is_not_guarded_is_left_alone(
    ledger, broker, term, lost, options, sent
):
    @broker.app.task(name=f"resent-{'-'.join(options)}", shared=False, **{"base": GuardedTask} | options)
    def noted(label: str) -> None: ...

    lost.entry("a").task = noted.name
    assert resend(ledger, broker, term, lost) == sent


def test_what_waits_for_a_worker_that_is_long_away_is_sent_once_more_in_chunks(ledger, broker, term, lost, alias):
    start = clock.now() - HOUR
    waiting = [Slot(start + n * dt.timedelta(seconds=1), EntryName("a")) for n in range(CHUNK + 20)]
    ledger.claims.claim(term, waiting)
    ledger.claims.confirm(waiting)
    models.Slot.objects.using(alias).filter(entry="a", run_started_at=None).update(published_at=clock.now() - 3 * AFTER)
    assert len(resend(ledger, broker, term, lost)) == CHUNK
    assert len(resend(ledger, broker, term, lost)) == CHUNK + 21


def test_only_what_may_still_be_sent_is_looked_for(ledger, broker, term, lost):
    now = clock.now()
    asked = ledger.unstarted(now - HOUR, now - AFTER, now - HOUR), ledger.unstarted(now - HOUR, now - AFTER, now)
    assert [[found.slot.entry for found in answer] for answer in asked] == [["a"], []]


def test_a_fenced_leader_sends_nothing_once_more(ledger, broker, term, lost, identity, alias):
    ledger.fence.open_term(identity(), Side.CODE)
    assert not dispatcher(ledger, broker).resend(term, lost, clock.now() - HOUR, AFTER)
    assert broker.messages() == []
    assert models.Slot.objects.using(alias).filter(resent__gt=0).count() == 0
