"""A bound on the silence of the database, for a command whose answer somebody waits for.

A server that is frozen, or cut off without a word, ends no statement and no attempt to connect, and no driver bounds
both by itself. NOT bounded: SQLite, which is a file; and a driver in C that keeps a signal to itself, as mysqlclient.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

from cutover.errors import ConfigurationError, LedgerUnavailable
from cutover.ledger.database import connection_of

WITHIN_S: Final = 10.0
"""How long one statement, or an attempt to connect, takes at most: far longer than any of a status does."""


@contextmanager
def bounded(alias: str, within_s: float = WITHIN_S) -> Iterator[None]:
    """Raise LedgerUnavailable in the midst of what is asked, where the database is silent for so long (in seconds).

    What goes on between two statements, such as the imports of a large project, may take any time.
    """
    connection: Any = None
    with suppress(ConfigurationError):  # whoever asks says what is wrong with it
        connection = connection_of(alias)
    is_main = threading.current_thread() is threading.main_thread()
    if connection is None or connection.vendor == "sqlite" or not is_main:
        yield
        return
    is_silent = False

    def ring(number: int, frame: object) -> None:
        nonlocal is_silent
        is_silent = True
        raise LedgerUnavailable(f"The database ({alias}) gives no answer: nothing has come for {within_s:g} s.")

    def heard(ask: Callable[..., Any], *given: Any) -> Any:
        before, timer = signal.signal(signal.SIGALRM, ring), signal.setitimer(signal.ITIMER_REAL, within_s)
        try:
            return ask(*given)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            signal.setitimer(signal.ITIMER_REAL, *timer)  # somebody else's, as a test's own bound

    connection.connect = partial(heard, connection.connect)  # no wrapper of Django's is asked before that
    try:
        with connection.execute_wrapper(heard):
            yield
    finally:
        del connection.connect
        if is_silent:
            with suppress(Exception):  # what a driver says of a statement that was left in its midst
                connection.close()
