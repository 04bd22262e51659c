"""The demonstration's instruments: the broker's record, the load, and the warden that cleans up."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from demo.census import Monitor
from demo.load import Load
from demo.processes import ROOT, Processes, python
from demo.services import HOST, Valkey
from demo.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def monitor(valkey: Valkey) -> Iterator[Monitor]:
    with Monitor(HOST, valkey.port) as monitor:
        yield monitor


def test_monitor_reads_task_messages_and_nothing_else(valkey: Valkey, monitor: Monitor) -> None:
    headers = {
        "task": "a.task",
        "id": "7",
        "cutover_entry": 'a "quoted" é',
        "cutover_due_at": "2026-03-02T12:00:00+00:00",
    }
    with valkey.client() as client:
        client.lpush("notes", "no JSON at all", "[1, 2]")
        client.lpush("celery", json.dumps({"body": "\\\n", "headers": headers}, ensure_ascii=False))
        client.rpush("celery", json.dumps({"headers": {**headers, "redelivered": True}}))
        client.lpush("celery", json.dumps({"headers": {"task": "other", "id": "8"}}))
    wait_until(lambda: len(monitor.handed) == 3, "three messages are seen", timeout_s=5)
    first, again, other = monitor.handed
    assert first.slot.entry == 'a "quoted" é'
    assert first.slot.due_at.isoformat() == "2026-03-02T12:00:00+00:00"
    assert again.redelivered
    assert other.slot is None
    assert monitor.published == [first, other]


def test_load_counts_what_is_refused_and_what_is_dropped() -> None:
    with answering([b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n", b""]) as port, Load(HOST, port) as load:
        wait_until(lambda: load.tally.total >= 4, "four requests were answered or not", timeout_s=10)
    assert len(load.tally.failures) == load.tally.total


def test_a_visitor_who_gives_up_is_told_from_a_request_that_is_lost() -> None:
    with socket.create_server((HOST, 0)) as silent, Load(*silent.getsockname(), timeout_s=0.05) as load:
        wait_until(lambda: load.tally.total >= 2, "two visitors gave up", timeout_s=10)
        load.stop()
    assert len(load.tally.failures) == load.tally.total
    assert all("no answer within 0.05 s; the machine's load is " in failure for failure in load.tally.failures)


def test_processes_end_with_the_block(tmp_path: Path) -> None:
    processes = Processes(logs=tmp_path)
    with pytest.raises(KeyError), processes:
        family = processes.start("family", python("-c", FAMILY), os.environ)
        wait_until(lambda: "child" in family.output, "the child is up")
        raise KeyError
    assert processes.survivors() == []
    assert not psutil.pid_exists(int(family.output.split()[-1])) or zombie(int(family.output.split()[-1]))


def test_processes_end_with_their_owner_however_it_is_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen(python("-c", OWNER, str(tmp_path)), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with owner:
        pid = int(owner.stdout.readline())
        owner.send_signal(signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(pid) or zombie(pid), "the owner's process is gone", timeout_s=15)


def zombie(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


@contextlib.contextmanager
def answering(answers: list[bytes]) -> Iterator[int]:
    """A server that gives each connection the next of ``answers``, and none after that; yields its port."""
    server = socket.create_server((HOST, 0))

    def serve() -> None:
        for answer in (*answers, *[b""] * 1000):
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


FAMILY = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print("child", child.pid, flush=True)
child.wait()
"""
OWNER = """
import os, pathlib, signal, sys
from demo.processes import Processes, python
with Processes(pathlib.Path(sys.argv[1])) as processes:
    print(processes.start("sleeper", python("-c", "import signal; signal.pause()"), os.environ).pid, flush=True)
    signal.pause()
"""
