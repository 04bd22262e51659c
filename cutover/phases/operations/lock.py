"""One operator at a time: the lock is one row, won by one conditional update.

A lock is taken over when the process that holds it is dead, as seen from the same host, or has not renewed it for
fifteen seconds, by the database's clock. A holder that lost its lock stops before its next step, and commits nothing
that was under way.
"""

import datetime as dt
import getpass
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from cutover import clock
from cutover.errors import LedgerUnavailable, OperatorBusy
from cutover.ledger.database import outages
from cutover.ledger.fence import Fence
from cutover.models import Cutover
from cutover.phases.facts import operator_of
from cutover.phases.operations.renewal import renewed
from cutover.phases.wording import to_the_second
from cutover.workers import processes

STALE_AFTER: Final = dt.timedelta(seconds=15)


def operator_name() -> str:
    """This operator, as ``user@host``."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container's user without a name
        return f"{os.getuid()}@{socket.gethostname()}"


def require_free(alias: str) -> None:
    """Raise OperatorBusy, naming who it is, while another operator holds the cutover. Changes nothing."""
    with outages(alias):
        known = Cutover.objects.using(alias).filter(id=1).first()
    if known is not None:
        _refuse_a_second(known, Fence(alias).read_now())


@contextmanager
def held(alias: str, command: str) -> Iterator[Callable[[], None]]:
    """Hold the cutover, renewed by a thread; without the database to give it back to it goes stale by itself.

    Raises OperatorBusy, naming who else holds it. Gives a check that does so once another operator has taken over; in a
    transaction it keeps others from that until the commit. Both raise LedgerUnavailable when that cannot be seen.
    """
    rows = Cutover.objects.using(alias).filter(id=1)
    # Unique, and what another operator reads.
    mark = f"{operator_name()[:180]} with {command} since {to_the_second(clock.now())}"
    mine = rows.filter(operator=mark)
    fence = Fence(alias)

    def check() -> None:
        with outages(alias):
            if mine.update(operator_seen_at=fence.read_now()):
                return
            operator = rows.get().operator
        raise OperatorBusy(f"The lock was taken over by {operator or 'nobody'}: this command has stopped.")

    with outages(alias):
        known, _ = Cutover.objects.using(alias).get_or_create(id=1)
        _refuse_a_second(known, now := fence.read_now())
        free = rows.filter(operator=known.operator, operator_seen_at=known.operator_seen_at)
        if not free.update(operator=mark, operator_process=processes.own_name(), operator_seen_at=now):
            raise OperatorBusy(f"{operator_of(rows.get())} was first; wait for it to end.")
    try:
        with renewed(mine, "operator_seen_at", "cutover-operator"):
            yield check
    finally:
        with suppress(LedgerUnavailable), outages(alias):
            mine.update(operator="", operator_process="", operator_seen_at=None)


def _refuse_a_second(known: Cutover, now: dt.datetime) -> None:
    # One of the future was written by a clock that was ahead, and says nothing: it must not keep others out for hours.
    is_stale = known.operator_seen_at is None or abs(now - known.operator_seen_at) > STALE_AFTER
    if known.operator and not is_stale and not processes.has_ended(known.operator_process):
        raise OperatorBusy(f"{operator_of(known)} is at work; wait for it to end.")
