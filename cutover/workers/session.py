"""The run guard's own session with the database: celery closes every connection before and after each task.

To connect again costs more than the one statement that a run needs. Where the project keeps connections
(``CONN_MAX_AGE``), so does a worker process that runs slots: as many as runs are admitted in one moment, beside the
tasks' own, none older than that says. Elsewhere, and with Django's own pool, the guard uses the project's connection;
what it has opened it closes as a request would.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from cutover import clock
from cutover.workers.site import config

FRESH_S: Final = 1.0
"""A connection that has been idle for longer is asked whether it lives, before it is used."""
PATIENCE_S: Final = 2.0
"""How long the patient wait: one that a worker was interrupted with does not come back."""


class _Kept:
    """Connections that are kept from one run to the next, for whichever thread or greenlet that is in."""

    def __init__(self) -> None:
        self._parents: list[Any] = []
        self._begin()

    def _begin(self) -> None:
        self._free: list[tuple[Any, float]] = []
        """And when each was used last. The latest is used next: so few are, however many were needed once."""
        self._turn = threading.Condition()
        self.number = 0

    def leave_to_parent(self) -> None:
        """In a process that was forked: use none of them, and have none collected, by which a driver may end it."""
        self._parents.append(self._free)
        self._begin()

    @contextmanager
    def one(self, theirs: BaseDatabaseWrapper, *, is_patient: bool) -> Iterator[None]:
        """Put one in the place of this thread's own; a patient user opens none where others have some in hand."""
        own = self._taken(theirs, is_patient)
        connections[theirs.alias] = own
        try:
            yield
        finally:
            connections[theirs.alias] = theirs
            with suppress(Exception):
                own.close_if_unusable_or_obsolete()
            with self._turn:
                self._free.append((own, clock.monotonic_s()))
                self._turn.notify()

    def _taken(self, theirs: BaseDatabaseWrapper, is_patient: bool) -> Any:  # the stubs know no health check
        with self._turn:
            self._turn.wait_for(lambda: self._free or not (is_patient and self.number), PATIENCE_S)
            if self._free:
                own, used_at_s = self._free.pop()
                own.health_check_done = clock.monotonic_s() - used_at_s < FRESH_S
                return own
            self.number += 1
        own = theirs.copy()
        own.settings_dict["CONN_HEALTH_CHECKS"] = True
        own.inc_thread_sharing()  # one thread at a time, but not always the same
        return own

    def close(self) -> None:
        """Close all that nobody uses."""
        with self._turn:
            for own, _ in self._free:
                with suppress(Exception):
                    own.close()
            self.number -= len(self._free)
            self._free.clear()


_kept = _Kept()
os.register_at_fork(after_in_child=lambda: _kept.leave_to_parent())


@contextmanager
def session(*, is_patient: bool = False) -> Iterator[None]:
    """Have what is asked within go over the guard's connection. Raises nothing: who asks says what is wrong.

    ``is_patient``: it may wait until a run's admission is over, rather than open another connection.
    """
    theirs: BaseDatabaseWrapper | None = None
    with suppress(Exception):
        theirs = connections[config().database]
    if theirs is not None and _is_kept(theirs):
        with _kept.one(theirs, is_patient=is_patient):
            yield
        return
    was_open = theirs is not None and theirs.connection is not None
    try:
        yield
    finally:
        with suppress(Exception):
            if theirs is not None and not was_open:  # one that was may be amid its owner's transaction
                theirs.close_if_unusable_or_obsolete()


def _is_kept(theirs: BaseDatabaseWrapper) -> bool:
    settings = theirs.settings_dict
    return settings["CONN_MAX_AGE"] != 0 and not settings["OPTIONS"].get("pool") and not theirs.in_atomic_block
