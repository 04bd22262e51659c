"""Under a pause nothing leaves: no claim, no sweep, no resend; and what it kept back is named when it has ended."""

import datetime as dt
import itertools
from collections.abc import Callable

import pytest
from celery.beat import ScheduleEntry

from cutover import clock, models
from cutover.beats.agenda import Agenda
from cutover.beats.backlog import AT_ONCE, EVERY
from cutover.beats.item import MISFIRE_GRACE
from cutover.beats.missed import BEYOND
from cutover.beats.pausing import Pausing
from cutover.beats.publisher import FRESH_S
from cutover.beats.replay import Replay
from cutover.beats.sources import ScheduledEntry
from cutover.ledger import Ledger
from cutover.ledger.pauses import SITE
from cutover.ledger.replays import Piece
from cutover.renames import Renames
from cutover.types import EntryName, Missed, Side, Slot, Term
from tests.integration.beats.conftest import HOUR, RULE, agenda_of, dispatcher, due, due_now, entry, sending
from tests.integration.beats.test_dispatcher import SECOND, every_second

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]

A = EntryName("a")


@pytest.fixture
def pause(ledger: Ledger) -> Callable[..., None]:
    def pause(name: EntryName = SITE, reason: str = "") -> None:
        ledger.pauses.pause(name, None, "alice@host", reason)

    return pause


@pytest.fixture
def poll(ledger: Ledger, term: Term) -> Callable[[Agenda], None]:
    """What a leader does at a poll."""
    return lambda agenda: Pausing(ledger).run(term, ledger.fence.read(), agenda) or None


def test_a_leader_that_knows_nothing_of_a_pause_is_refused_and_asks_no_more_until_it_has_ended(
    ledger, broker, term, rows, pause, poll, monkeypatch
):
    agenda = due_now(broker, *map(str, range(30)))
    pause()
    asked, claim = [], ledger.claims.claim
    monkeypatch.setattr(ledger.claims, "claim", lambda *given, **more: asked.append(1) or claim(*given, **more))
    sender = dispatcher(ledger, broker)
    for _ in range(3):
        sent = sender.send(term, agenda, due(agenda))
        assert (sent.published, sent.fenced) == ([], False)
    assert (rows(), broker.messages(), asked) == ({}, [], [1])
    assert agenda.next_at() is None, "it does not wake for what is paused"
    poll(agenda)
    assert list(due(agenda)) == []
    ledger.pauses.resume(SITE, "alice@host")
    poll(agenda)
    assert len(sender.send(term, agenda, due(agenda)).published) == 30
    assert rows() == {"published": 30}


def test_what_is_not_paused_goes_on_and_what_is_names_the_pause_when_it_is_passed_over(
    ledger, broker, term, pause, poll, alias
):
    agenda = agenda_of([entry(broker, name) for name in "ab"], clock.now() - 3.5 * HOUR)
    pause(A, "the report's tables move")
    poll(agenda)
    models.Pause.objects.using(alias).update(paused_at=clock.now() - 2 * HOUR)
    sender = dispatcher(ledger, broker)
    assert [one.name for one in sender.send(term, agenda, due(agenda)).published] == ["b"]
    ledger.pauses.resume(A, "alice@host")
    poll(agenda)
    assert [one.name for one in sender.send(term, agenda, due(agenda)).published] == ["a"], "the latest is caught up"
    missed = models.Slot.objects.using(alias).filter(state="missed").order_by("entry", "due_at")
    later = "a later slot was sent in its stead"
    paused = f"paused (the report's tables move): {later}"
    assert list(missed.values_list("entry", "reason")) == [("a", later), ("a", paused), ("b", later), ("b", later)]


def test_what_was_claimed_before_a_pause_is_not_published_under_it_and_is_swept_after_it(
    ledger, broker, term, rows, pause, poll
):
    """The pause comes between two messages of one claim: a moment later the leader asks the fence, and stops."""
    now_s, calls = [0.0], itertools.count(1)
    agenda = due_now(broker, *map(str, range(10)))

    def publish(one: ScheduleEntry) -> None:
        broker.publish(one)
        if next(calls) == 4:
            pause()
            now_s[0] += 2 * FRESH_S

    sender = sending(ledger, publish, monotonic_s=lambda: now_s[0])
    assert len(sender.send(term, agenda, due(agenda)).published) == 4
    assert rows() == {"published": 4, "claimed": 6}
    for _ in range(2):
        now_s[0] += 60
        assert sender.sweep_in_s() == 0.0
        assert sender.sweep(term, agenda).published == []
    assert (len(broker.messages()), rows()) == (4, {"published": 4, "claimed": 6})
    ledger.pauses.resume(SITE, "alice@host")
    now_s[0] += 60
    assert len(sender.sweep(term, agenda).published) == 6
    assert (set(broker.task_ids().values()), rows()) == ({1}, {"published": 10})
    assert sender.sweep_in_s() is None


def test_a_claim_that_a_pause_kept_back_and_that_a_newer_slot_supersedes_is_named_so(
    ledger, broker, term, pause, alias
):
    agenda = due_now(broker, "a")
    old, new = (Slot(clock.now() - hours * HOUR, A) for hours in (1.5, 0.5))
    ledger.claims.claim(term, [old])
    pause(SITE, "a restore")
    models.Pause.objects.using(alias).update(paused_at=old.due_at + dt.timedelta(seconds=1))
    ledger.pauses.resume(SITE, "alice@host")
    ledger.claims.claim(term, [new])
    sender = dispatcher(ledger, broker)
    sender.sweep_first()
    sender.sweep(term, agenda)
    row = models.Slot.objects.using(alias).get(due_at=old.due_at)
    assert row.state == "missed"
    assert row.reason.startswith("paused (a restore): superseded")


def test_a_schedule_that_is_loaded_anew_is_held_back_too(ledger, broker, term, pause, poll):
    agenda = due_now(broker, "a")
    pause()
    poll(agenda)
    assert list(due(agenda)) == []
    agenda.load(due_now(broker, "a", "b").scheduled, clock.now() - 1.5 * HOUR)
    assert list(due(agenda)) == []
    ledger.pauses.resume(SITE, "alice@host")
    poll(agenda)
    assert {one.name for one in due(agenda)} == {"a", "b"}


def instants(broker) -> list[dt.datetime]:
    return [dt.datetime.fromisoformat(message["headers"]["cutover_due_at"]) for message in broker.messages()]


@pytest.mark.parametrize("paused", [SITE, A])
def test_a_backlog_is_held_under_a_pause_and_worked_off_after_it_oldest_first(
    ledger, broker, term, rows, pause, poll, paused
):
    """One that is worked off, and that falls behind again under the pause."""
    now = clock.now()
    began = now - 70.5 * SECOND
    agenda, sender = every_second(broker, began), dispatcher(ledger, broker)
    assert len(sender.send(term, agenda, agenda.due(now, MISFIRE_GRACE)).past_slots) == AT_ONCE
    assert len(sender.send(term, agenda, agenda.due(now + EVERY, MISFIRE_GRACE)).past_slots) == 19
    later = now + 60 * SECOND
    pause(paused)
    poll(agenda)
    for _ in range(2):
        assert list(agenda.due(later, MISFIRE_GRACE)) == []
        assert agenda.next_at() is None, "it does not wake for what is paused"
    assert rows() == {"published": 70}
    ledger.pauses.resume(paused, "alice@host")
    poll(agenda)
    found = [one.owed.send for one in agenda.due(later, MISFIRE_GRACE)]
    assert found == [began + number * SECOND for number in range(71, 71 + AT_ONCE)]


@pytest.mark.parametrize("knows", [False, True])
def test_a_backlog_that_waits_for_its_turn_is_held_back_too_and_worked_off_after_the_pause(
    ledger, broker, term, rows, pause, poll, knows
):
    now = clock.now()
    began = now - 170.25 * SECOND
    agenda, sender = every_second(broker, began, most=200), dispatcher(ledger, broker)
    sender.send(term, agenda, agenda.due(now, MISFIRE_GRACE))
    pause(A)
    if knows:
        poll(agenda)
        assert list(agenda.due(now + EVERY, MISFIRE_GRACE)) == []
    for _ in range(2):
        assert sender.send(term, agenda, agenda.due(now + EVERY, MISFIRE_GRACE)).past_slots == []
    assert (rows(), agenda.next_at()) == ({"published": AT_ONCE}, None)
    ledger.pauses.resume(A, "alice@host")
    poll(agenda)
    for pieces in range(2, 5):
        sender.send(term, agenda, agenda.due(now + pieces * EVERY, MISFIRE_GRACE))
    assert instants(broker) == [began + number * SECOND for number in range(1, 171)]
    assert rows() == {"published": 170}


def test_of_a_backlog_nothing_is_passed_over_for_a_pause_but_what_is_beyond_its_bound_and_that_names_it(
    ledger, broker, term, pause, poll, alias
):
    now = clock.now()
    agenda, sender = every_second(broker, now - 40.25 * SECOND, most=20), dispatcher(ledger, broker)
    pause(A, "a restore")
    models.Pause.objects.using(alias).update(paused_at=now - 60 * SECOND)
    poll(agenda)
    assert list(agenda.due(now, MISFIRE_GRACE)) == []
    ledger.pauses.resume(A, "alice@host")
    poll(agenda)
    for pieces in range(3):
        sender.send(term, agenda, agenda.due(now + pieces * EVERY, MISFIRE_GRACE))
    assert len(broker.messages()) == 20
    missed = models.Slot.objects.using(alias).filter(state="missed")
    assert {*missed.values_list("reason", flat=True)} == {f"paused (a restore): {BEYOND}"}
    assert sum(1 + older for older in missed.values_list("passed_over", flat=True)) == 20


def test_what_was_asked_for_stays_so_under_a_pause_and_is_sent_after_it(ledger, broker, term, rows, pause, poll, alias):
    agenda = due_now(broker, "a", "b")
    old = [Slot(clock.now() - 30 * HOUR, EntryName(name)) for name in "ab"]
    ledger.claims.claim(term, [], [Missed(slot, "why") for slot in old])
    keys = list(models.Slot.objects.using(alias).values_list("pk", flat=True))
    ledger.replays.ask(Side.CODE, [Piece(A, keys)], clock.now())
    chore = Replay(ledger, dispatcher(ledger, broker), lambda entries, past_slots=(): None)
    pause()
    for knows in (False, True):  # the loop has not looked yet; it has
        if knows:
            poll(agenda)
        assert chore.run(term, ledger.fence.read(chore.asks), agenda)
        assert (rows(), ledger.replays.waiting()) == ({"missed": 2}, 2)
    pause(A)
    ledger.pauses.resume(SITE, "alice@host")
    poll(agenda)
    assert chore.run(term, ledger.fence.read(chore.asks), agenda)
    assert (rows(), ledger.replays.waiting()) == ({"missed": 1, "published": 1}, 1)
    ledger.pauses.resume(A, "alice@host")
    poll(agenda)
    assert chore.run(term, ledger.fence.read(chore.asks), agenda)
    assert (rows(), ledger.replays.waiting()) == ({"published": 2}, 0)
    assert broker.task_ids() == {slot.task_id("tests"): 1 for slot in old}


def test_a_claim_of_a_replay_that_a_pause_kept_back_is_swept_after_it_however_old(ledger, broker, term, rows, pause):
    agenda, old = due_now(broker, "a"), Slot(clock.now() - 30 * HOUR, A)
    ledger.claims.claim(term, [Slot(clock.now() - HOUR, A)], [Missed(old, "why")])
    ledger.claims.confirm([Slot(clock.now() - HOUR, A)])
    key = models.Slot.objects.using(ledger.alias).get(due_at=old.due_at).pk
    ledger.replays.ask(Side.CODE, [Piece(A, [key])], clock.now())
    assert ledger.replays.claim(term, lambda name: True, 10).claimed == [old]
    pause()
    sender = dispatcher(ledger, broker)
    sender.sweep_first()
    sender.sweep(term, agenda)
    assert (rows()["claimed"], broker.messages()) == (2, [])
    ledger.pauses.resume(SITE, "alice@host")
    sender.sweep(term, agenda)
    assert broker.task_ids()[old.task_id("tests")] == 1


@pytest.mark.parametrize("paused", ["old", "new"])
def test_a_pause_is_of_an_entry_by_whatever_name_its_slots_fell_due(alias, broker, term, rows, paused):
    ledger = Ledger(alias, "tests", 30 * 24 * HOUR, Renames({EntryName("old"): EntryName("new")}))
    one = Slot(clock.now() - HOUR / 2, EntryName("old"))
    ledger.claims.claim(term, [one])
    agenda = Agenda(Renames({EntryName("old"): EntryName("new")}))
    agenda.load({EntryName("new"): ScheduledEntry.of(entry(broker, "new"), RULE)}, clock.now() - 1.5 * HOUR)
    ledger.pauses.pause(EntryName(paused), None, "alice@host", "")
    sender = dispatcher(ledger, broker)
    sender.sweep_first()
    for _ in range(2):
        sender.sweep(term, agenda)
        sender.send(term, agenda, due(agenda))
    assert (rows(), broker.messages()) == ({"claimed": 1}, [])
    ledger.pauses.resume(EntryName(paused), "alice@host")
    Pausing(ledger).run(term, ledger.fence.read(), agenda)
    sender.sweep(term, agenda)
    sender.send(term, agenda, due(agenda))
    assert rows() == {"published": 2}


def test_every_slot_of_an_entry_counts_under_the_name_that_it_had_too(ledger, broker, term, rows, identity):
    agenda = every_second(broker, clock.now() - 10 * SECOND, most=3)
    renamed = Agenda(Renames({EntryName("old"): A}))
    renamed.load(agenda.scheduled, clock.now())
    claimed = [Slot(clock.now() - number * SECOND, EntryName("old")) for number in range(5, 0, -1)]
    ledger.claims.claim(term, claimed)
    dispatcher(ledger, broker).sweep(term, renamed)
    assert broker.task_ids() == {slot.task_id("tests"): 1 for slot in claimed[2:]}
