"""Sentinel fails over to a replica that never saw the lease: every slot is run once all the same."""

import datetime as dt
from pathlib import Path

from demo.processes import Processes
from demo.waiting import wait_until

from .sentinel import guarded
from .theatre import Theatre

AFTER = dt.timedelta(seconds=4)


def test_a_failover_to_a_lagging_replica_doubles_nothing(
    theatre: Theatre, processes: Processes, tmp_path: Path
) -> None:
    with guarded(processes, tmp_path) as servers, theatre.build(**servers.settings) as stage:
        stage.engage("code", "code", "worker")
        leader = stage.leader()
        wait_until(lambda: stage.runs_of("every-900-ms") > 1, "slots are run")
        since = dt.datetime.now(dt.UTC)
        servers.fail_over()
        failed_over = dt.datetime.now(dt.UTC)
        wait_until(lambda: dt.datetime.now(dt.UTC) > failed_over + AFTER, "the new primary has served for a while")
        verdict = stage.verdict(since, dt.datetime.now(dt.UTC))
        leader.may_end = True
        leader.process.kill()
        assert stage.leader() is not leader, "the new primary elects as the old one did"
    assert not (verdict.doubled or verdict.lost or verdict.too_soon), verdict
    assert verdict.longest_wait < dt.timedelta(seconds=4), verdict
