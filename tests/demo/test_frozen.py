"""Freezing does not depend on luck: who holds SQLite's lock is let go on until it has written."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from demo.frozen import freeze, is_writable, thaw
from demo.processes import Processes, python
from demo.waiting import wait_until

pytestmark = pytest.mark.integration
WRITING = """
import signal, sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("writing", flush=True)
while time.process_time() < 0.5:  # of which it has none while it is frozen
    pass
connection.execute("COMMIT")
print("written", flush=True)
signal.pause()
"""


def test_a_process_is_frozen_outside_of_its_write(processes: Processes, tmp_path: Path) -> None:
    database = tmp_path / "db.sqlite3"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE notes (id INTEGER)")
    assert is_writable(database)
    process = processes.start("writing", python("-c", WRITING, str(database)), env=dict(os.environ))
    wait_until(lambda: "writing" in process.output, "it writes")
    assert not is_writable(database, timeout_s=0.1)
    freeze(process, database)
    assert "written" in process.output
    assert is_writable(database, timeout_s=0.1)
    thaw(process)
