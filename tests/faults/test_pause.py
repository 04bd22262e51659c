"""Pause and resume under load, with the broker's own record and the tasks' as evidence: 0 doubled, 0 unnamed."""

import datetime as dt
import signal
from collections import Counter
from itertools import pairwise

import pytest

from demo.census import per_slot, read_runs
from demo.processes import python
from demo.waiting import wait_until

from .scenarios import POSTGRES
from .schedule import CROWD, CROWD_EVERY
from .stage import Stage
from .theatre import Theatre
from .verdict import judge

PAUSES = 2
LEASE_S = 15.0
"""The usual one: this is about pauses, not about a machine that is too busy to renew a short one."""
HELD_S = 9.0
"""Longer than two of the crowd's steps: each pause has hundreds passed over."""


@pytest.mark.long
@pytest.mark.timeout(600)
def test_under_load_nothing_is_sent_between_pause_and_resume_and_every_slot_is_run_once_or_named(
    theatre: Theatre,
) -> None:
    with theatre.build(POSTGRES, LEASE_S, CODE_SCHEDULE="tests.faults.schedule.loaded") as stage:
        stage.engage("code", "code", "worker", "worker")
        wait_until(lambda: len(stage.published) > CROWD, "hundreds are sent", timeout_s=120)
        since = dt.datetime.now(dt.UTC)
        still = [_pause_and_resume(stage, dies=number == 1) for number in range(PAUSES)]
        sent = len(stage.published)
        wait_until(lambda: len(stage.published) > sent + CROWD, "hundreds are sent again", timeout_s=120)
        until = dt.datetime.now(dt.UTC)

        def is_settled() -> bool:
            return not (judge(stage.evidence(), since, until).lost or _unrun(stage, until))

        wait_until(is_settled, "every slot is sent and run, or named", timeout_s=240, poll_s=1)
        verdict = stage.verdict(since, until)
        handed = [message for message in stage.published for begin, end in still if begin < message.at < end]
        assert handed == []
        assert not (verdict.doubled or verdict.lost or verdict.stale or verdict.died), verdict
        assert max(per_slot(read_runs(stage.site.runs)).values()) == 1
        records = stage.books.records()
        reasons = Counter(record.reason.partition(":")[0] for record in records.values() if record.state == "missed")
        assert reasons["paused (a drill)"] >= PAUSES * CROWD / 2, reasons
        for entry in (f"one-of-many-{number}" for number in range(CROWD)):
            due = sorted(slot.due_at for slot in records if slot.entry == entry and slot.due_at <= until)
            assert {later - earlier for earlier, later in pairwise(due)} == {CROWD_EVERY}, entry
        print(f"{len(records)} slots, {len(stage.published)} messages, missed by reason: {dict(reasons)}; {verdict}")


def _pause_and_resume(stage: Stage, *, dies: bool) -> tuple[dt.datetime, dt.datetime]:
    """From when until when nothing may be sent. ``dies``: both the command, at first, and the leader meanwhile."""
    if dies:
        first = stage.site.start("pause", python("manage.py", "cutover", "pause", "--reason", "a drill"))
        first.send(signal.SIGKILL)
        first.wait()
    _typed(stage, "pause", "--reason", "a drill")
    begin = dt.datetime.now(dt.UTC)
    if dies:
        leader = stage.leader()
        leader.may_end = True
        leader.process.kill()
    end = begin + dt.timedelta(seconds=HELD_S)
    wait_until(lambda: dt.datetime.now(dt.UTC) > end, "the pause has lasted a while", timeout_s=30)
    end = dt.datetime.now(dt.UTC)
    _typed(stage, "resume")
    return begin, end


def _typed(stage: Stage, *command: str) -> None:
    process = stage.site.cutover(*command)
    assert process.exit_code == 0, process.output


def _unrun(stage: Stage, until: dt.datetime) -> bool:
    """Whether a slot that was published is still to be run."""
    runs = per_slot(read_runs(stage.site.runs))
    found = stage.books.records().items()
    return any(one.state != "missed" and slot not in runs for slot, one in found if slot.due_at < until)
