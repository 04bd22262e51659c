"""The run guard's own session with the database: celery closes every connection before and after each task.

To connect again costs more than the one statement that a run needs. Where the project keeps connections
(``CONN_MAX_AGE``), so does each thread of a worker that runs slots: one beside the tasks' own, no older than that says.
Elsewhere, and with Django's own pool, the guard uses the project's connection; what it has opened it closes as a
request would.
"""

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


class _Kept(threading.local):
    """What a thread keeps."""

    connection: BaseDatabaseWrapper | None = None
    used_at_s = 0.0


_kept = _Kept()


@contextmanager
def session() -> Iterator[None]:
    """Have what is asked within go over the guard's connection. Raises nothing: who asks says what is wrong."""
    theirs: BaseDatabaseWrapper | None = None
    with suppress(Exception):
        theirs = connections[config().database]
    if theirs is None or not _is_kept(theirs):
        was_open = theirs is not None and theirs.connection is not None
        try:
            yield
        finally:
            with suppress(Exception):
                if theirs is not None and not was_open:  # one that was may be amid its owner's transaction
                    theirs.close_if_unusable_or_obsolete()
        return
    own = _own(theirs)
    if clock.monotonic_s() - _kept.used_at_s < FRESH_S:
        own.health_check_done = True
    connections[theirs.alias] = own
    try:
        yield
    finally:
        connections[theirs.alias] = theirs
        with suppress(Exception):
            own.close_if_unusable_or_obsolete()
        _kept.used_at_s = clock.monotonic_s()


def _is_kept(theirs: BaseDatabaseWrapper) -> bool:
    settings = theirs.settings_dict
    return settings["CONN_MAX_AGE"] != 0 and not settings["OPTIONS"].get("pool") and not theirs.in_atomic_block


def _own(theirs: BaseDatabaseWrapper) -> Any:  # the stubs know no health check
    """This thread's connection to the database of ``theirs``."""
    own = _kept.connection
    if own is None or own.alias != theirs.alias:
        leave()
        own = _kept.connection = theirs.copy()
        own.settings_dict["CONN_HEALTH_CHECKS"] = True
    return own


def leave() -> None:
    """Close what this thread keeps."""
    own, _kept.connection = _kept.connection, None
    if own is not None:
        with suppress(Exception):
            own.close()
