"""What a standby costs: Redis commands as they pass on its wire, processor time as the system counts it.

What a process costs that sleeps most of the time is the machine's doing for the most part, whose caches have forgotten
it whenever it wakes: one and the same standby took 0.5 and 1.5% of a processor within an hour. So it is held against
what a process takes beside it that sends two commands a second and does nothing else: 1.7 to 2.9 times that.
"""

import contextlib
import datetime as dt
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from demo.waiting import wait_until

from .theatre import Theatre

pytestmark = pytest.mark.figures

MEASURED = dt.timedelta(seconds=15)
BARE = """
import sys, time, redis
client = redis.Redis(port=int(sys.argv[1]))
while True:
    client.ping()
    print(flush=True)
    time.sleep(0.5)
"""
"""The bare process; it sleeps for its rhythm, and nobody waits for that."""


def test_a_standby_costs_next_to_nothing(theatre: Theatre) -> None:
    stage = theatre.standing("sqlite", 15.0, ("code", "code", "worker"))
    stage.heal()
    standby = stage.standby()
    wire = standby.wires["redis"]
    with two_commands_a_second(stage.lease_server.port) as bare:
        began = dt.datetime.now(dt.UTC)
        requests, busy_s, bare_s = wire.requests, had_s(standby.process.pid), had_s(bare)
        wait_until(lambda: dt.datetime.now(dt.UTC) - began > MEASURED, "the measured time is over")
        elapsed_s = (dt.datetime.now(dt.UTC) - began).total_seconds()
        commands = (wire.requests - requests) / elapsed_s
        busy = (had_s(standby.process.pid) - busy_s) / elapsed_s
        bare_busy = (had_s(bare) - bare_s) / elapsed_s
    print(f"a standby: {commands:.2f} Redis commands a second, {busy:.2%} of a core, a bare client {bare_busy:.2%}")
    assert stage.standby() is standby
    assert 0 < commands <= 2
    assert 0 < busy <= 5 * bare_busy


@contextlib.contextmanager
def two_commands_a_second(port: int) -> Iterator[int]:
    """A process that sends Redis two commands a second and does nothing else, and has begun to."""
    bare = subprocess.Popen([sys.executable, "-c", BARE, str(port)], stdout=subprocess.PIPE)
    try:
        assert bare.stdout is not None
        bare.stdout.readline()
        yield bare.pid
    finally:
        bare.kill()
        bare.communicate()


def had_s(pid: int) -> float:
    """The processor time that a process has had, to the nanosecond where the system tells it."""
    threads = [thread / "schedstat" for thread in Path(f"/proc/{pid}/task").glob("*")]
    if threads and all(thread.exists() for thread in threads):
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
    return sum(psutil.Process(pid).cpu_times()[:2])
