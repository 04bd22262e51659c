"""The rehearsal's verdict: what is missed and doubled is said, a stock beat's own lateness is not."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from demo.census import Handed, Run, Slot

from .verdict import Verdict, judge

BEGAN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
ENTRY = "every-second"
OLD, NEW = "1@old", "2@new"
SEEN = dt.timedelta(seconds=0.1)
"""How long a message waits for a worker."""


def at(second: float) -> dt.datetime:
    return BEGAN + dt.timedelta(seconds=second)


def stock(second: float, origin: str = OLD) -> Handed:
    return Handed(at(second), "note", f"{origin}-{second}", None, False, origin=origin, args=f"('{ENTRY}',)")


def ours(second: float) -> Handed:
    slot = Slot(at(second), ENTRY)
    return Handed(at(second), "note", f"slot-{second}", slot, False, origin=NEW, args=f"('{ENTRY}',)")


def verdict(
    handed: list[Handed], dropped: frozenset[float] = frozenset(), found: Mapping[float, float] = MappingProxyType({})
) -> Verdict:
    """``found``: by a stock beat's message, the slot that the run guard has found for it."""
    lost = {at(second) for second in dropped}
    slots = {at(second): Slot(at(due), ENTRY) for second, due in found.items()}
    runs = [
        Run(each.at + SEEN, ENTRY, each.task_id, slots.get(each.at, each.slot))
        for each in handed
        if each.at not in lost
    ]
    last = max(each.at for each in handed)
    return judge(
        {ENTRY: dt.timedelta(seconds=1)}, handed, runs, {ENTRY: BEGAN}, {ENTRY: last + dt.timedelta(seconds=3)}, []
    )


def test_one_stock_beat_s_own_lateness_is_its_own() -> None:
    found = verdict([stock(8.0), stock(9.9), stock(10.02), stock(12.06)])
    assert (found.missed, found.doubled, found.slots) == ([], [], 4)


def test_a_leader_s_message_that_a_late_stock_beat_s_has_taken_the_slot_of_is_not_missed() -> None:
    found = verdict([stock(8.0), ours(9.6), stock(10.05)], dropped=frozenset({9.6}))
    assert (found.missed, found.doubled) == ([], [])


def test_a_leader_s_message_that_did_not_run_is_missed() -> None:
    assert len(verdict([stock(8.0), ours(9), stock(10.05)], dropped=frozenset({9})).missed) == 1


def test_a_stock_beat_s_message_that_did_not_run_is_missed() -> None:
    found = verdict([stock(8.0), stock(9.0), stock(10.0)], dropped=frozenset({9.0}))
    assert len(found.missed) == 1


def test_two_beats_double_and_leave_gaps() -> None:
    assert len(verdict([stock(8.0), stock(8.1, NEW), stock(9.1, NEW)]).doubled) == 1
    assert len(verdict([stock(8.0), stock(10.0, NEW)]).missed) == 1
    assert len(verdict([stock(8.0), ours(10)]).missed) == 1
    assert len(verdict([ours(8), ours(10)]).missed) == 1


def test_what_a_beat_sends_twice_beside_the_ledger_s_is_doubled() -> None:
    found = verdict([stock(8.0), ours(8), ours(9)])
    assert len(found.doubled) == 1


def test_a_stock_beat_s_message_that_was_matched_to_the_slot_after_the_leader_s_is_of_that_one() -> None:
    handed = [ours(7), ours(8), stock(8.2), ours(10)]
    assert (len(verdict(handed).missed), len(verdict(handed).doubled)) == (1, 1)
    found = verdict(handed, found={8.2: 9.0})
    assert (found.missed, found.doubled) == ([], [])


def test_two_runs_of_one_slot_are_doubled_wherever_their_messages_lie() -> None:
    assert len(verdict([ours(8), stock(8.3), ours(9)], found={8.3: 9.0}).doubled) == 1


def test_a_slot_too_far_from_its_message_is_not_believed() -> None:
    found = verdict([ours(8), stock(8.1), ours(9), ours(10)], found={8.1: 11.0})
    assert len(found.doubled) == 1


def test_what_a_worker_without_the_guard_gave_back_after_its_run_and_nothing_else_may_run_again() -> None:
    handed = [stock(8.0), stock(9.0), ours(10)]
    again = replace(handed[1], at=at(9.5), redelivered=True)
    runs = [Run(each.at + SEEN, ENTRY, each.task_id, Slot(each.at, ENTRY)) for each in handed]
    twice = [*runs, replace(runs[1], at=at(9.6))]

    def found(handed: list[Handed], runs: list[Run], ended_unguarded: set[str]) -> tuple[int, list[str]]:
        since, until = {ENTRY: BEGAN}, {ENTRY: at(13)}
        judged = judge({ENTRY: dt.timedelta(seconds=1)}, handed, runs, since, until, [], ended_unguarded)
        assert not judged.missed
        return len(judged.doubled), judged.run_unguarded

    given_back = [*handed, again]
    assert found(given_back, twice, {again.task_id}) == (0, [again.task_id])
    assert found(given_back, runs, {again.task_id}) == (0, [])  # the next worker's guard dropped it
    assert found(given_back, twice, set())[0]  # it first ran in a worker that has the guard
    assert found(handed, twice, {again.task_id})[0]  # nobody gave it back
    assert found(given_back, [*twice, replace(runs[1], at=at(9.7))], {again.task_id})[0]  # nor a third time
