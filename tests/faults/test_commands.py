"""The operator's command is killed at every step that it records; and it switches right at the instants of slots."""

import datetime as dt
import json
from pathlib import Path

import pytest

from demo.census import Slot
from demo.processes import Process, python
from demo.waiting import wait_until

from . import launch
from .scenarios import LEASE_S
from .stage import Stage
from .theatre import Theatre

CAST = ("code", "code", "database", "database", "worker")
MOST_STEPS = 12
KILLED = -9


@pytest.fixture
def prepared(theatre: Theatre) -> Stage:
    """A stage with both sides' beats, whose phase 2 is done."""
    stage = theatre.standing("sqlite", LEASE_S, CAST)
    for phase in ("phase1", "phase2"):
        process = stage.site.cutover(phase)
        assert process.exit_code == 0, process.output
    return stage


def test_a_command_killed_at_every_step_can_be_run_again(prepared: Stage) -> None:
    since = dt.datetime.now(dt.UTC)
    for command, side in (("phase3", "database"), ("rollback", "code")):
        killed = _run_until_it_ends_well(prepared, command)
        assert killed >= 3
        assert prepared.books.fence()[1] == side
    prepared.heal()
    verdict = prepared.verdict(since, dt.datetime.now(dt.UTC))
    assert not (verdict.doubled or verdict.omitted or verdict.lost), verdict


def test_a_switch_at_the_instant_of_a_slot_neither_loses_nor_doubles_it(prepared: Stage, tmp_path: Path) -> None:
    since = dt.datetime.now(dt.UTC)
    for command, offset_ms in (("phase3", -15), ("rollback", -5), ("phase3", 5), ("rollback", 15)):
        file = tmp_path / f"instant-{offset_ms}"
        process = _start(prepared, command, **{launch.SWITCH_AT: str(file)})
        wait_until(lambda process=process: launch.AT_THE_SWITCH in process.output, f"{command} is about to switch")
        instant = _slot_in(prepared, seconds=0.3) + dt.timedelta(milliseconds=offset_ms)
        draft = file.with_suffix(".draft")
        draft.write_text(str(instant.timestamp()))
        draft.rename(file)
        process.wait()
        assert process.exit_code == 0, process.output
        assert prepared.books.fence()[2] >= instant
    prepared.heal()
    verdict = prepared.verdict(since, dt.datetime.now(dt.UTC))
    diary = prepared.diary(since)
    print(diary)
    assert not (verdict.doubled or verdict.omitted or verdict.lost), verdict
    # Who has published a slot and, kept from the processor, not yet recorded it has its successor send it once more,
    # which says so; the run guard drops that.
    assert verdict.handed_twice <= _swept(diary), verdict


def _swept(diary: str) -> set[Slot]:
    """The slots that a leader has said it sends once more, for their publication was not recorded."""
    told = (json.loads(line.partition(": ")[2]) for line in diary.splitlines() if '"cutover.slot.swept"' in line)
    return {Slot(dt.datetime.fromisoformat(each["due_at"]), each["entry"]) for each in told}


def _run_until_it_ends_well(stage: Stage, command: str) -> int:
    """Kill it at its first recorded step, then at its second, and so on; returns how often it was killed."""
    for step in range(1, MOST_STEPS):
        process = _command(stage, command, **{launch.STEP: str(step)})
        if process.exit_code != KILLED:
            assert process.exit_code == 0, process.output
            return step - 1
    raise AssertionError(f"{command} has more than {MOST_STEPS} steps, or does not come to its end")


def _command(stage: Stage, name: str, **env: str) -> Process:
    process = _start(stage, name, **env)
    process.wait()
    return process


def _start(stage: Stage, name: str, **env: str) -> Process:
    return stage.site.start(name, python("-m", "tests.faults.launch", "manage.py", "cutover", name), **env)


def _slot_in(stage: Stage, seconds: float) -> dt.datetime:
    """The instant of a slot at least this far away."""
    last = max(message.slot for message in stage.published if message.slot and message.slot.entry == "every-900-ms")
    instant, soon = last.due_at, dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)
    while instant < soon:
        instant += dt.timedelta(milliseconds=900)
    return instant
