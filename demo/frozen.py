"""Freezing a process as a platform does that pauses a container, and never within a write to SQLite.

Who is frozen within one keeps the file's lock, and nobody writes until it is thawed: SQLite's limit, and documented.
"""

import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from .processes import Process
from .waiting import wait_until

WRITE_S: Final = 0.5
"""A write takes less."""


def freeze(process: Process, database: Path | None) -> None:
    """Stop a process and its children by SIGSTOP. ``database``: SQLite's file, if they write to one."""

    def is_frozen() -> bool:
        process.send_to_group(signal.SIGSTOP)
        if database is None or is_writable(database):
            return True
        thaw(process)
        return False

    wait_until(is_frozen, f"{process.name} is frozen outside of a write")


def thaw(process: Process) -> None:
    """Have them go on."""
    process.send_to_group(signal.SIGCONT)


def is_writable(database: Path, timeout_s: float = WRITE_S) -> bool:
    """Whether nobody keeps others from writing to SQLite's file for as long as that."""
    with closing(sqlite3.connect(database, timeout=timeout_s)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as exc:
            if "locked" not in str(exc):
                raise
            return False
        return True
