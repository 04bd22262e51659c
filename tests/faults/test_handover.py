"""Figures: how long nobody leads when the leader is told to stop, dies, or is cut off."""

import datetime as dt
import signal
import statistics

import pytest

from demo.waiting import wait_until

from .books import Term
from .scenarios import LEASE_S as SHORT_LEASE_S
from .schedule import CROWD, INTERVALS
from .stage import Stage
from .theatre import Theatre

pytestmark = pytest.mark.figures

LEASE_S = 15.0
TRIES = 4
MILLISECOND = dt.timedelta(milliseconds=1)


def test_stopping_the_leader_leaves_nobody_leading_for_milliseconds(theatre: Theatre) -> None:
    stage = theatre.standing("sqlite", LEASE_S, ("code", "code", "worker"))
    since = dt.datetime.now(dt.UTC)
    # Swept across the instant of a slot: the leader is told to stop just before, at, and just after it.
    gaps = [_gap_of_a_stop(stage, offset_ms) for offset_ms in range(-30, -30 + 20 * TRIES, 20)]
    verdict = stage.verdict(since, dt.datetime.now(dt.UTC))
    print("milliseconds without a leader:", [round(gap / MILLISECOND, 1) for gap in gaps])
    assert not (verdict.doubled or verdict.omitted or verdict.lost or verdict.handed_twice), verdict
    # The goal is 20 ms, which `make bench` measures: this only guards, on machines that are busy too.
    assert statistics.median(gaps) <= 150 * MILLISECOND
    assert max(gaps) <= 250 * MILLISECOND


def test_killing_the_leader_costs_no_lease(theatre: Theatre) -> None:
    stage = theatre.standing("sqlite", LEASE_S, ("code", "code", "worker"))
    gaps = []
    for _ in range(2):
        leader = stage.leader()
        leader.may_end = True
        killed_at = dt.datetime.now(dt.UTC)
        leader.process.kill()
        gaps.append(stage.lasted(killed_at, _first_tick_after(stage, killed_at)))
        stage.heal()
    print("milliseconds without a leader:", [round(gap / MILLISECOND) for gap in gaps])
    assert max(gaps) <= dt.timedelta(seconds=1.5)


def test_a_leader_behind_a_black_hole_is_succeeded_within_its_lease(theatre: Theatre) -> None:
    stage = theatre.standing("postgres", SHORT_LEASE_S, ("code", "code", "worker"))
    leader = stage.leader()
    cut_at = dt.datetime.now(dt.UTC)
    for wire in leader.wires.values():
        wire.hold()
    gap = stage.lasted(cut_at, _first_tick_after(stage, cut_at))
    stage.heal()
    print("milliseconds without a leader:", round(gap / MILLISECOND))
    assert gap <= dt.timedelta(seconds=SHORT_LEASE_S + 1)


def test_a_stop_in_the_middle_of_a_tick_loses_and_doubles_nothing(theatre: Theatre) -> None:
    with theatre.build(lease_s=LEASE_S, CODE_SCHEDULE="tests.faults.schedule.crowd") as stage:
        stage.engage("code", "code", "worker")
        wait_until(lambda: len(stage.published) >= CROWD, "the first tick is sent", poll_s=0.005)
        wait_until(lambda: len(stage.published) >= CROWD + 150, "the second tick is half-way", poll_s=0.001)
        leader = stage.leader()
        leader.process.send(signal.SIGTERM)
        assert leader.process.wait() == 0, leader.process.output
        slots = _slots_run_of_ticks(stage, 2)
    assert len(slots) == len(set(slots)) == 2 * CROWD


def _slots_run_of_ticks(stage: Stage, ticks: int) -> list[object]:
    def found() -> list[object]:
        runs = [run.slot for run in stage.evidence().runs]
        instants = sorted({slot.due_at for slot in runs})[:ticks]
        return [slot for slot in runs if slot.due_at in instants]

    wait_until(lambda: len(found()) >= ticks * CROWD, "the ticks have run")
    return found()


def _gap_of_a_stop(stage: Stage, offset_ms: int) -> dt.timedelta:
    leader = stage.leader()
    leader.may_end = True
    moment = _next_slot(stage) + offset_ms * MILLISECOND
    wait_until(lambda: dt.datetime.now(dt.UTC) >= moment, "the moment has come", poll_s=0.001)
    stopped_at = dt.datetime.now(dt.UTC)
    leader.process.send(signal.SIGTERM)
    _first_tick_after(stage, stopped_at)
    old, new = stage.books.terms()[-2:]
    assert leader.process.wait() == 0, leader.process.output
    stage.restart([leader])
    return stage.lasted(min(old.ended_at, new.started_at), new.first_tick_at)


def _next_slot(stage: Stage) -> dt.datetime:
    """The instant of a slot that is about half a second away."""
    slot = max(message.slot for message in stage.published if message.slot and message.slot.entry in INTERVALS)
    due_at, soon = slot.due_at, dt.datetime.now(dt.UTC) + 300 * MILLISECOND
    while due_at < soon:
        due_at += INTERVALS[slot.entry]
    return due_at


def _first_tick_after(stage: Stage, instant: dt.datetime) -> dt.datetime:
    def ticked() -> Term | None:
        return next((t for t in stage.books.terms() if t.started_at > instant and t.first_tick_at), None)

    return wait_until(ticked, "a new leader has ticked", poll_s=0.02).first_tick_at
