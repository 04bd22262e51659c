"""Entries whose every slot counts, and slots that are had back: each runs once, and none is left unnamed."""

import datetime as dt
import json
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from demo.census import Slot, per_slot, read_runs
from demo.waiting import wait_until

from . import launch
from .actions import kill
from .member import Member, is_alive, is_frozen
from .schedule import COUNTED
from .stage import Stage
from .theatre import Theatre

GAP = dt.timedelta(seconds=11)
"""More than fifty slots of one entry."""
SLOW_MACHINE = "3000"
"""As many slots as fall due while processes start and die on a busy machine."""
COUNTING = {"CODE_SCHEDULE": "tests.faults.schedule.counted"}
PATIENCE_S = 60.0

pytestmark = pytest.mark.timeout(400)


@pytest.mark.parametrize("side", ["code", pytest.param("database", marks=pytest.mark.long)])
def test_a_gap_of_fifty_slots_is_caught_up_though_leaders_die_in_its_middle(theatre: Theatre, side: str) -> None:
    """The first leader dies between claim and publication, the second between publication and confirmation."""
    with theatre.build(**COUNTING, CUTOVER_CATCH_UP="all", CUTOVER_CATCH_UP_MOST=SLOW_MACHINE) as stage:
        stage.engage(*[side] * 2 if side == "code" else ["code", "database", "database"], "worker")
        if side == "database":
            for phase in ("phase1", "phase2", "phase3"):
                done = stage.site.cutover(phase)
                assert done.exit_code == 0, done.output
        beats = [member for member in stage.cast.values() if member.kind == side]
        begun = _has_run(stage)
        _go_without(stage, beats)
        _start_to_die(stage, beats[0], "claimed")
        _start_to_die(stage, beats[1], "published")
        stage.restart(beats)
        until = dt.datetime.now(dt.UTC)
        _require_each_once(stage, begun, until)
        assert "missed" not in {record.state for record in stage.books.records().values()}


@pytest.mark.long
def test_a_switch_and_a_rollback_in_the_middle_of_a_backlog_lose_and_double_nothing(
    theatre: Theatre, tmp_path: Path
) -> None:
    """The old side's leader freezes half-way through, just before the switch, and is thawed when all is sent."""
    with theatre.build(**COUNTING, CUTOVER_CATCH_UP="all", CUTOVER_CATCH_UP_MOST=SLOW_MACHINE) as stage:
        stage.engage("code", "database", "worker")
        for phase in ("phase1", "phase2"):
            done = stage.site.cutover(phase)
            assert done.exit_code == 0, done.output
        begun = _has_run(stage)
        for leader, command in ((stage.cast["code-1"], "phase3"), (stage.cast["database-1"], "rollback")):
            file = tmp_path / command
            switch = stage.site.start(
                command, f"python -m tests.faults.launch manage.py cutover {command}", **{launch.SWITCH_AT: str(file)}
            )
            wait_until(lambda switch=switch: launch.AT_THE_SWITCH in switch.output, f"{command} is about to switch")
            _go_without(stage, [leader])
            gap = dt.datetime.now(dt.UTC)
            leader.order("published", "stop")
            stage._start(leader)
            wait_until(lambda leader=leader: is_frozen(leader), f"{leader.name} freezes in its backlog", PATIENCE_S)
            left = _expected(begun, gap) - per_slot(stage.published).keys()
            assert left, "it has sent all of it already"
            draft = file.with_suffix(".draft")
            draft.write_text("0")  # at once
            draft.rename(file)
            assert switch.wait(PATIENCE_S) == 0, switch.output
            wait_until(lambda left=left: left <= per_slot(stage.published).keys(), "the backlog is sent", PATIENCE_S)
            leader.process.send_to_group(signal.SIGCONT)
            print(f"{command}: {len(left)} slots of the backlog were still to be sent")
        until = dt.datetime.now(dt.UTC)
        _require_each_once(stage, begun, until)
        assert "missed" not in {record.state for record in stage.books.records().values()}


def test_what_was_missed_in_an_outage_is_had_back_though_the_leader_dies_over_it(theatre: Theatre) -> None:
    with theatre.build(**COUNTING) as stage:
        stage.engage("code", "code", "worker")
        begun = _has_run(stage)
        _go_without(stage, [stage.cast["code-1"], stage.cast["code-2"]])
        stage.restart([stage.cast["code-1"], stage.cast["code-2"]])
        leader = stage.leader()
        missed = wait_until(lambda: _missed(stage), "what was missed is named", PATIENCE_S)
        assert len(missed) >= 50
        assert _replay(stage, "--dry-run")["slots"] >= len(missed)
        assert len(_missed(stage)) >= len(missed), "nothing is changed by that"
        leader.may_end = True
        leader.order("replayed", "kill")
        assert _replay(stage)["slots"] >= len(missed)
        wait_until(lambda: not is_alive(leader), "the leader has died between a replay's claim and its publication")
        stage.restart([leader])
        until = dt.datetime.now(dt.UTC)
        due = _expected(begun, until)

        def is_had_back() -> bool:  # a leader of late may still be passing over what fell due before
            nothing_left = _replay(stage, "--until", until.isoformat())["slots"] == 0
            return nothing_left and due <= per_slot(read_runs(stage.site.runs)).keys()

        wait_until(is_had_back, "all is had back", PATIENCE_S)
        _require_each_once(stage, begun, until)
        assert not {slot for slot in _missed(stage) if slot.due_at <= until}


def _go_without(stage: Stage, beats: Sequence[Member]) -> None:
    for member in beats:
        kill(stage, member)
    over = dt.datetime.now(dt.UTC) + GAP
    wait_until(lambda: dt.datetime.now(dt.UTC) > over, "nobody has led for a while", GAP.total_seconds() + PATIENCE_S)


def _start_to_die(stage: Stage, member: Member, point: str) -> None:
    member.order(point, "kill")
    stage._start(member)
    member.may_end = True
    wait_until(lambda: not is_alive(member), f"{member.name} has died when {point}", PATIENCE_S)


def _has_run(stage: Stage) -> dict[str, dt.datetime]:
    """The first slot of each entry, once all have run."""
    wait_until(lambda: all(stage.runs_of(entry) for entry in COUNTED), "every entry has run", PATIENCE_S)
    return {entry: min(s.due_at for s in stage.books.records() if s.entry == entry) for entry in COUNTED}


def _missed(stage: Stage) -> set[Slot]:
    return {slot for slot, record in stage.books.records().items() if record.state == "missed"}


def _replay(stage: Stage, *options: str) -> dict[str, int]:
    done = stage.site.cutover("replay", "--missed", "--json", *options)
    assert done.exit_code == 0, done.output
    found: dict[str, int] = json.loads(done.output[done.output.index("{") :])
    return found


def _require_each_once(stage: Stage, begun: dict[str, dt.datetime], until: dt.datetime) -> None:
    """Every slot since an entry's first one has run, and none of all has run twice."""
    expected = _expected(begun, until)
    wait_until(lambda: expected <= per_slot(read_runs(stage.site.runs)).keys(), "every slot has run", PATIENCE_S)
    runs = per_slot(read_runs(stage.site.runs))
    assert {slot: times for slot, times in runs.items() if times != 1} == {}
    strange = {slot for slot in runs if (slot.due_at - begun[slot.entry]) % COUNTED[slot.entry]}
    assert strange == set(), "off the cadence"
    print(f"{len(expected)} slots fell due, each has run once; {len(stage.published)} messages")


def _expected(begun: dict[str, dt.datetime], until: dt.datetime) -> set[Slot]:
    return {
        Slot(first + number * COUNTED[entry], entry)
        for entry, first in begun.items()
        for number in range((until - first) // COUNTED[entry] + 1)
    }
