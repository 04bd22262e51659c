"""One operator at a time: the lock is one row, won by one conditional update.

A lock is taken over when the process that holds it is dead, as seen from the same host, or has not renewed it for
fifteen seconds. That compares the clocks of two hosts; phase 1 lets them differ by five seconds at most. A holder that
lost its lock stops before its next step, and commits nothing that was under way.
"""

import datetime as dt
import getpass
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from django.db import connections

from cutover import clock
from cutover.errors import LedgerUnavailable, OperatorBusy
from cutover.ledger.database import outages
from cutover.models import Cutover
from cutover.phases.facts import operator_of
from cutover.workers import processes

RENEW_S: Final = 2.0
STALE_AFTER: Final = dt.timedelta(seconds=15)


def operator_name() -> str:
    """This operator, as ``user@host``."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container's user without a name
        return f"{os.getuid()}@{socket.gethostname()}"


@contextmanager
def held(alias: str, command: str) -> Iterator[Callable[[], None]]:
    """Hold the cutover, renewed by a thread; without the database to give it back to it goes stale by itself.

    Raises OperatorBusy, naming who else holds it. Gives a check that does so once another operator has taken over; in a
    transaction it keeps others from that until the commit. Both raise LedgerUnavailable when that cannot be seen.
    """
    rows = Cutover.objects.using(alias).filter(id=1)
    since = f"{clock.now():%Y-%m-%d %H:%M:%S.%f} UTC"
    mark = f"{operator_name()[:180]} with {command} since {since}"  # unique, and what another operator reads
    mine = rows.filter(operator=mark)
    stopped = threading.Event()

    def check() -> None:
        with outages(alias):
            if mine.update(operator_seen_at=clock.now()):
                return
            operator = rows.get().operator
        raise OperatorBusy(f"The lock was taken over by {operator or 'nobody'}: this command has stopped.")

    def renew() -> None:
        while not stopped.wait(RENEW_S):
            with suppress(LedgerUnavailable), outages(alias):  # the next turn may reach it again
                mine.update(operator_seen_at=clock.now())
        connections[alias].close()

    with outages(alias):
        known, _ = Cutover.objects.using(alias).get_or_create(id=1)
        is_stale = known.operator_seen_at is None or clock.now() - known.operator_seen_at > STALE_AFTER
        if known.operator and not is_stale and not processes.has_ended(known.operator_process):
            raise OperatorBusy(f"{operator_of(known)} is at work; wait for it to end.")
        free = rows.filter(operator=known.operator, operator_seen_at=known.operator_seen_at)
        if not free.update(operator=mark, operator_process=processes.own_name(), operator_seen_at=clock.now()):
            raise OperatorBusy(f"{operator_of(rows.get())} was first; wait for it to end.")
    thread = threading.Thread(target=renew, name="cutover-operator", daemon=True)
    thread.start()
    try:
        yield check
    finally:
        stopped.set()
        thread.join()
        with suppress(LedgerUnavailable), outages(alias):
            mine.update(operator="", operator_process="", operator_seen_at=None)
