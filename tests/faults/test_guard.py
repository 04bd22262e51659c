"""The guard of a switch rolls back by itself, and the census finds nothing doubled and nothing that is not named."""

import datetime as dt

import pytest

from demo.processes import Process
from demo.waiting import wait_until

from .actions import freeze, thaw
from .scenarios import LEASE_S
from .stage import Stage
from .theatre import Theatre

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

CAST = ("code", "database", "worker")
"""The new side has one beat: nobody of it takes over."""
FROZEN_S = 2.5
"""Longer than some entries' intervals, shorter than the lease."""


@pytest.fixture
def stage(theatre: Theatre) -> Stage:
    """Phase 2 is done."""
    stage = theatre.standing("sqlite", LEASE_S, CAST)
    for phase in ("phase1", "phase2"):
        process = stage.site.cutover(phase)
        assert process.exit_code == 0, process.output
    return stage


def guarded(stage: Stage) -> Process:
    """A phase 3 that has switched and watches."""
    process = stage.site.start("guarded", "python manage.py cutover phase3 --guard 90s --guard-failures 0")
    wait_until(lambda: "watching the switch until" in process.output, "it watches", timeout_s=60)
    wait_until(lambda: stage.leader().kind == "database", "the new side leads", timeout_s=30)
    return process


def assert_rolled_back(stage: Stage, process: Process, since: dt.datetime) -> None:
    assert process.wait(timeout_s=120) == 1, process.output
    assert "The guard has rolled back, for every-" in process.output
    assert stage.books.fence()[1] == "code"
    steps = [step for (step,) in stage.books.query("SELECT step FROM cutover_transition ORDER BY id")]
    assert steps[-5:] == ["guard", "switch", "lead", "restore", "finish"]
    stage.heal()
    verdict = stage.verdict(since, dt.datetime.now(dt.UTC))
    print(verdict)
    assert not (verdict.doubled or verdict.lost or verdict.died or verdict.stale), verdict
    assert all(verdict.missed.values())


def test_a_slot_that_the_new_side_misses_brings_the_old_side_back(stage: Stage) -> None:
    since = dt.datetime.now(dt.UTC)
    process, leader = guarded(stage), stage.leader()
    frozen_until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=FROZEN_S)
    freeze(stage, leader)
    wait_until(lambda: dt.datetime.now(dt.UTC) > frozen_until, "slots were missed")
    thaw(stage, leader)
    assert_rolled_back(stage, process, since)


def test_a_leader_of_the_new_side_that_freezes_brings_the_old_side_back(stage: Stage) -> None:
    since = dt.datetime.now(dt.UTC)
    process = guarded(stage)
    freeze(stage, stage.leader())
    assert_rolled_back(stage, process, since)
