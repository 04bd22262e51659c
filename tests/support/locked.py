"""A transaction of somebody else's that is open meanwhile, in a thread and over a connection of its own."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from django.db import connections


@contextmanager
def locked_by_another(
    transaction: AbstractContextManager[object], write: Callable[[], object] = lambda: None, for_s: float = 60.0
) -> Iterator[None]:
    """``write`` was called within ``transaction``, which ends after ``for_s`` at most, or with the block."""
    written, ends = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction:
            write()
            written.set()
            ends.wait(for_s)
        connections.close_all()

    other = threading.Thread(target=hold)
    other.start()
    try:
        assert written.wait(10)
        yield
    finally:
        ends.set()
        other.join()
