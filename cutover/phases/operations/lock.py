"""One operator at a time: the lock is one row, won by one conditional update.

A lock is taken over when the process that holds it is dead, as seen from the same host, or has not renewed it for
fifteen seconds. That compares the clocks of two hosts; phase 1 lets them differ by five seconds at most. A holder that
lost its lock stops before its next step.
"""

import datetime as dt
import getpass
import os
import socket
import threading
from contextlib import suppress
from typing import Final

from django.db import connections
from django.db.models import QuerySet

from cutover import clock
from cutover.errors import LedgerUnavailable, OperatorBusy
from cutover.ledger.database import outages
from cutover.models import Cutover
from cutover.phases.facts import operator_of
from cutover.workers import processes

RENEW_S: Final = 2.0
STALE_AFTER: Final = dt.timedelta(seconds=15)


class OperatorLock:
    """The hold of one command on the cutover, renewed by a thread of its own."""

    def __init__(self, alias: str, command: str) -> None:
        self._alias = alias
        try:
            user = getpass.getuser()
        except (KeyError, OSError):  # a container's user without a name
            user = str(os.getuid())
        self.operator = f"{user}@{socket.gethostname()}"
        since = f"{clock.now():%Y-%m-%d %H:%M:%S.%f} UTC"
        self._mark = f"{self.operator[:180]} with {command} since {since}"  # unique, and what another operator reads
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="cutover-operator", daemon=True)

    def acquire(self) -> None:
        """Win the lock and begin to renew it. Raises OperatorBusy, naming who holds it, or LedgerUnavailable."""
        rows = Cutover.objects.using(self._alias)
        with outages(self._alias):
            held, _ = rows.get_or_create(id=1)
            unseen = held.operator_seen_at is None or clock.now() - held.operator_seen_at > STALE_AFTER
            if held.operator and not unseen and not processes.has_ended(held.operator_process):
                raise OperatorBusy(f"{operator_of(held)} is at work; wait for it to end.")
            free = rows.filter(id=1, operator=held.operator, operator_seen_at=held.operator_seen_at)
            mine = {"operator": self._mark, "operator_process": processes.own_name(), "operator_seen_at": clock.now()}
            if not free.update(**mine):
                raise OperatorBusy(f"{operator_of(rows.get(id=1))} was first; wait for it to end.")
        self._thread.start()

    def check(self) -> None:
        """Raises OperatorBusy when another operator has taken over, LedgerUnavailable when that cannot be seen."""
        with outages(self._alias):
            row = Cutover.objects.using(self._alias).get(id=1)
        if row.operator != self._mark:
            raise OperatorBusy(f"The lock was taken over by {row.operator or 'nobody'}: this command has stopped.")

    def release(self) -> None:
        """Stop renewing and give the lock back; without the database it goes stale by itself."""
        self._stop.set()
        self._thread.join()
        with suppress(LedgerUnavailable), outages(self._alias):
            self._mine().update(operator="", operator_process="", operator_seen_at=None)

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_S):
            with suppress(LedgerUnavailable), outages(self._alias):  # the next turn may reach it again
                self._mine().update(operator_seen_at=clock.now())
        connections[self._alias].close()

    def _mine(self) -> QuerySet[Cutover]:
        return Cutover.objects.using(self._alias).filter(id=1, operator=self._mark)
