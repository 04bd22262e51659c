"""What a standby costs: Redis commands as they pass on its wire, processor time as the system counts it."""

import datetime as dt

import psutil
import pytest

from demo.waiting import wait_until

from .theatre import Theatre

pytestmark = pytest.mark.figures

MEASURED = dt.timedelta(seconds=10)


def test_a_standby_costs_next_to_nothing(theatre: Theatre) -> None:
    stage = theatre.standing("sqlite", 15.0, ("code", "code", "worker"))
    stage.heal()
    standby = stage.standby()
    process, wire = psutil.Process(standby.process.pid), standby.wires["redis"]
    began = dt.datetime.now(dt.UTC)
    requests_before, busy_before = wire.requests, sum(process.cpu_times()[:2])
    wait_until(lambda: dt.datetime.now(dt.UTC) - began > MEASURED, "the measured time is over")
    elapsed_s = (dt.datetime.now(dt.UTC) - began).total_seconds()
    commands = (wire.requests - requests_before) / elapsed_s
    busy = (sum(process.cpu_times()[:2]) - busy_before) / elapsed_s
    print(f"a standby: {commands:.2f} Redis commands a second, {busy:.2%} of one processor")
    assert stage.standby() is standby
    assert 0 < commands <= 2
    assert busy <= 0.01
