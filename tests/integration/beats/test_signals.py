"""Signals from where things come true: after the commit, with their values, and whatever receivers do."""

import datetime as dt
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cutover import background, clock, models, signals
from cutover.beats.agenda import Agenda
from cutover.beats.missed import BEYOND
from cutover.beats.sources import ScheduledEntry
from cutover.conf import CatchUpRule
from cutover.ledger import Ledger
from cutover.phases.operations.journal import at_work
from cutover.types import CatchUp, EntryName, Slot
from tests.integration.beats.conftest import HOUR, agenda_of, dispatcher, due, due_now, entry
from tests.support.receivers import heard

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]


def test_what_is_passed_over_is_told_once_it_is_in_the_ledger(ledger: Ledger, broker: Any, term: Any) -> None:
    states: list[str] = []

    def read(entry: str, due_at: dt.datetime, **_: Any) -> None:
        states.append(models.Slot.objects.using(ledger.alias).get(entry=entry, due_at=due_at).state)

    agenda = agenda_of([entry(broker, "a")], clock.now() - 3.5 * HOUR)
    signals.slot_missed.connect(read)
    try:
        with heard(signals.slot_missed) as told:
            dispatcher(ledger, broker).send(term, agenda, due(agenda))
    finally:
        signals.slot_missed.disconnect(read)
    assert states == ["missed"] * 2, "as another connection sees it"
    assert [(one["entry"], one["epoch"], one["passed_over"], one["later_is_sent"]) for one in told] == [
        ("a", term.epoch, 0, True)
    ] * 2
    assert all(one["due_at"].utcoffset() == dt.timedelta(0) for one in told)
    assert {one["reason"] for one in told} == {"a later slot was sent in its stead"}
    assert {*told[0]} == {"entry", "due_at", "epoch", "reason", "passed_over", "later_is_sent"}


def test_of_what_is_given_up_it_is_told_whether_a_later_one_is_sent(ledger: Ledger, broker: Any, term: Any) -> None:
    agenda = due_now(broker, "a")
    old, new = clock.now() - 2 * HOUR, clock.now() - HOUR
    ledger.claims.claim(term, [Slot(old, EntryName("a")), Slot(new, EntryName("a")), Slot(new, EntryName("gone"))])
    with heard(signals.slot_missed) as told:
        dispatcher(ledger, broker).sweep(term, agenda)
    assert {(one["entry"], one["due_at"], one["later_is_sent"]) for one in told} == {
        ("a", old, True),
        ("gone", new, False),
    }


def test_what_is_beyond_the_bound_of_a_backlog_has_no_later_one_in_its_stead(
    ledger: Ledger, broker: Any, term: Any
) -> None:
    agenda, rule = Agenda(), CatchUpRule(CatchUp.ALL, 12 * HOUR, 2)
    agenda.load({EntryName("a"): ScheduledEntry.of(entry(broker, "a"), rule)}, clock.now() - 4.5 * HOUR)
    with heard(signals.slot_missed) as told:
        sent = dispatcher(ledger, broker).send(term, agenda, due(agenda))
    assert len(sent.published) + len(sent.past_slots) == 2
    assert [(one["reason"], one["later_is_sent"]) for one in told] == [(BEYOND, False)] * 2


def test_a_fenced_leader_tells_nothing(ledger: Ledger, broker: Any, term: Any, identity: Callable[..., Any]) -> None:
    agenda = agenda_of([entry(broker, "a")], clock.now() - 3.5 * HOUR)
    ledger.fence.open_term(identity(), term.side)
    with heard(signals.slot_missed) as told:
        assert dispatcher(ledger, broker).send(term, agenda, due(agenda)).fenced
    assert told == []


def test_while_a_receiver_blocks_the_leader_sends_on(
    ledger: Ledger, broker: Any, term: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "IDLE_S", 0.05)
    let_go = threading.Event()

    def block(**_: Any) -> None:
        let_go.wait()

    signals.slot_missed.connect(block)
    try:
        for name in ("a", "b", "c"):
            agenda = agenda_of([entry(broker, name)], clock.now() - 5.5 * HOUR)
            dispatcher(ledger, broker).send(term, agenda, due(agenda))
        assert rows() == {"missed": 12, "published": 3}
    finally:
        signals.slot_missed.disconnect(block)
        let_go.set()
    assert signals._background.drain(10)


def test_a_phase_that_is_done_is_told_with_how_far_the_cutover_has_come(ledger: Ledger) -> None:
    numbers: list[int] = []

    def read(**_: Any) -> None:
        numbers.append(models.Cutover.objects.using(ledger.alias).get().phase)

    signals.phase_changed.connect(read)
    try:
        with heard(signals.phase_changed) as told, at_work(ledger.alias, "phase2") as journal:
            journal.not_done("phase2", "a gate")
            journal.finish("phase2", 2)
    finally:
        signals.phase_changed.disconnect(read)
    assert told == [{"phase": "phase2", "number": 2, "operator": journal.operator}]
    assert numbers == [2]
