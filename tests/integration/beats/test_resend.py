"""What seems to be lost on the way to a worker is sent once more, and what may rightly wait is not."""

import datetime as dt
from dataclasses import replace

import pytest
from celery import Task

from cutover import clock, models
from cutover.beats.agenda import Agenda
from cutover.beats.dispatcher import CHUNK
from cutover.beats.resend import Resend, unstarted
from cutover.guard import GuardedTask
from cutover.ledger import Ledger
from cutover.ledger.fence import FenceView
from cutover.ledger.pauses import SITE
from cutover.types import EntryName, Side, Slot, Term
from tests.integration.beats.conftest import HOUR, Broker, dispatcher, due, due_now

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]

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


def chore(ledger: Ledger, broker: Broker) -> Resend:
    return Resend(ledger, dispatcher(ledger, broker), AFTER)


def fence(ledger: Ledger, guarded_since: dt.datetime | None) -> FenceView:
    return replace(ledger.fence.read(), guarded_since=guarded_since)


def resend(ledger: Ledger, broker: Broker, term: Term, agenda: Agenda, guarded: dt.timedelta = HOUR) -> list[str]:
    """Have it sent once more; returns the entries of the messages that the broker was handed."""
    assert chore(ledger, broker).run(term, fence(ledger, clock.now() - guarded), agenda)
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
    asked = unstarted(ledger, now - HOUR, now - AFTER, now - HOUR), unstarted(ledger, now - HOUR, now - AFTER, now)
    assert [[found.slot.entry for found in answer] for answer in asked] == [["a"], []]


def test_a_fenced_leader_sends_nothing_once_more(ledger, broker, term, lost, identity, alias):
    ledger.fence.open_term(identity(), Side.CODE)
    assert not chore(ledger, broker).run(term, fence(ledger, clock.now() - HOUR), lost)
    assert broker.messages() == []
    assert models.Slot.objects.using(alias).filter(resent__gt=0).count() == 0


def test_what_is_paused_is_not_sent_once_more_and_does_not_count_as_sent(ledger, broker, term, lost, alias):
    ledger.pauses.pause(SITE, None, "alice@host", "")
    assert resend(ledger, broker, term, lost) == []
    assert not models.Slot.objects.using(alias).filter(resent__gt=0).exists()
    ledger.pauses.resume(SITE, "alice@host")
    assert resend(ledger, broker, term, lost) != []


def test_before_every_worker_is_guarded_nothing_is_looked_for(ledger, broker, term, lost):
    assert chore(ledger, broker).run(term, fence(ledger, None), lost)
    assert broker.messages() == []


def test_it_is_looked_for_four_times_in_the_time_that_a_message_may_wait(ledger, broker, term, lost):
    looking = chore(ledger, broker)
    assert looking.run(term, fence(ledger, None), lost), "not counted as a look"
    view = fence(ledger, clock.now() - HOUR)
    assert looking.run(term, view, lost)
    assert len(broker.messages()) == 1
    with broker.server.client() as client:
        client.flushall()
    models.Slot.objects.using(ledger.alias).filter(run_started_at=None).update(published_at=clock.now() - 30 * AFTER)
    assert looking.run(term, view, lost)
    assert broker.messages() == [], "it is not yet time to look again"


def test_while_the_broker_takes_nothing_nothing_is_sent_once_more_and_none_counts_as_sent(
    ledger, broker, term, lost, alias
):
    sending = dispatcher(ledger, broker)
    looking, view = Resend(ledger, sending, AFTER), fence(ledger, clock.now() - HOUR)
    sending.sweep_first()
    assert looking.run(term, view, lost)
    assert not models.Slot.objects.using(alias).filter(resent__gt=0).exists()
    sending.sweep(term, lost)
    assert looking.run(term, view, lost), "it looks as soon as the broker is back"
    assert [message["headers"]["cutover_entry"] for message in broker.messages()] == ["a"]


def test_what_was_replayed_counts_as_young_from_then_on(ledger, broker, term, lost, alias):
    """Of a slot as old as that nothing is sent once more: somebody who wants it now has asked for it."""
    row = models.Slot.objects.using(alias).filter(entry="a", run_started_at=None)
    row.update(due_at=clock.now() - 50 * HOUR)
    assert resend(ledger, broker, term, lost) == []
    row.update(replay_asked_at=clock.now() - HOUR)
    assert resend(ledger, broker, term, lost) == ["a"]
