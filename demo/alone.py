"""A directory for one run at a time: a lock that the system takes back from whoever dies."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from os import getpid
from pathlib import Path

TAKEN = 3
"""The exit code of whoever finds the directory taken, as of a gate that refuses."""


class TakenError(Exception):
    """Another process has the directory; says which, and what to do."""


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Have ``directory`` for this process until the block ends, or the process does. Raises TakenError.

    The lock is on a file beside it, which stays: two who made and removed it could both have it.
    """
    file = directory.with_name(f"{directory.name}.lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+") as lock:  # not inherited by what is started, which may outlive this process
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = lock.read().strip() or "?"
            raise TakenError(
                f"process {pid} runs in {directory} already: wait until it has ended, end it (kill {pid}), "
                "or use another clone"
            ) from None
        lock.truncate(0)
        lock.write(f"{getpid()}\n")
        lock.flush()
        yield
