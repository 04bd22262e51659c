"""Who is at work on the cutover, and which step of which phase was begun and ended how.

One operator at a time: the lock is one row, won by one conditional update. A lock is taken over when the process that
holds it is dead, as seen from the same host, or has not been heard of for fifteen seconds. That compares the clocks of
two hosts; phase 1 lets them differ by five seconds at most. A holder that lost its lock stops before its next step.
"""

from __future__ import annotations

import datetime as dt
import getpass
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import DatabaseError, InterfaceError, connections, transaction

from cutover import clock
from cutover.errors import CutoverError, EntryRefused, LeaseUnavailable, LedgerUnavailable, OperatorBusy, PhaseFailed
from cutover.events import Event, log
from cutover.ledger.database import outages
from cutover.models import FINISH, Cutover, Transition
from cutover.workers import processes

HEARTBEAT_S: Final = 2.0
STALE_AFTER: Final = dt.timedelta(seconds=15)


class Journal:
    """One command's hold on the cutover, and its record. Made by ``at_work``."""

    def __init__(self, alias: str, command: str) -> None:
        self._alias = alias
        self._process = processes.own_name()
        self.operator = f"{_user()}@{socket.gethostname()}"
        since = f"{clock.now():%Y-%m-%d %H:%M:%S.%f} UTC"
        self._mark = f"{self.operator[:180]} with {command} since {since}"  # unique, and what the other one is told
        self.begun = False
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="cutover-operator", daemon=True)

    @contextmanager
    def step(self, phase: str, name: str) -> Iterator[None]:
        """Record a step before it is taken, and its outcome after: done, failed or refused.

        Raises OperatorBusy when another operator has taken over in between.
        """
        self._check()
        self.begun = True
        with outages(self._alias):
            row = Transition.objects.using(self._alias).create(
                phase=phase, step=name, operator=self.operator, begun_at=clock.now()
            )
        try:
            yield
        except BaseException as exc:
            # Also for Ctrl-C: an operator's next command must find what was begun.
            self._close(row, exc)
            raise
        with outages(self._alias):
            _end(self._alias, row.pk, "done", "")

    def finish(self, phase: str, number: int) -> None:
        """Record that the cutover has come to ``number``: the last step of every phase, in one commit."""
        self._check()
        with outages(self._alias), transaction.atomic(using=self._alias):
            self._record(phase, FINISH, "done")
            Cutover.objects.using(self._alias).filter(id=1).update(phase=number)
        log(Event.PHASE_COMPLETED, phase=phase)

    def refused(self, phase: str, detail: str) -> None:
        """Record that a phase's gates did not hold."""
        log(Event.PHASE_REFUSED, phase=phase, reason=detail)
        with outages(self._alias):
            self._record(phase, "gates", "refused", detail)

    def _record(self, phase: str, step: str, outcome: str, detail: str = "") -> None:
        now = clock.now()
        Transition.objects.using(self._alias).create(
            phase=phase, step=step, outcome=outcome, detail=detail, operator=self.operator, begun_at=now, ended_at=now
        )

    def _close(self, row: Transition, exc: BaseException) -> None:
        outcome = "refused" if isinstance(exc, EntryRefused) else "failed"
        detail = str(exc) if isinstance(exc, CutoverError) else f"{type(exc).__name__} {exc}".strip()
        try:
            _end(self._alias, row.pk, outcome, detail)
        except (DatabaseError, InterfaceError):
            connections[self._alias].close()  # the step stays "begun"; what ended it is raised

    def _check(self) -> None:
        with outages(self._alias):
            row = Cutover.objects.using(self._alias).get(id=1)
        if self._lost.is_set() or row.operator != self._mark:
            raise OperatorBusy(f"The lock was taken over by {row.operator or 'nobody'}: this command has stopped.")

    def _acquire(self) -> None:
        with outages(self._alias):
            Cutover.objects.using(self._alias).get_or_create(id=1)
            held = Cutover.objects.using(self._alias).get(id=1)
            if held.operator and not self._is_gone(held):
                raise OperatorBusy(f"{at_work_now(held)} is at work; wait for it to end.")
            free = Cutover.objects.using(self._alias).filter(
                id=1, operator=held.operator, operator_seen_at=held.operator_seen_at
            )
            won = free.update(
                operator=self._mark,
                operator_process=self._process,
                operator_seen_at=clock.now(),
            )
            if not won:
                held = Cutover.objects.using(self._alias).get(id=1)
                raise OperatorBusy(f"{at_work_now(held)} was first; wait for it to end.")

    def _is_gone(self, held: Cutover) -> bool:
        if held.operator_seen_at is None or clock.now() - held.operator_seen_at > STALE_AFTER:
            return True
        return processes.has_ended(held.operator_process) is True

    def _keep(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            try:
                mine = Cutover.objects.using(self._alias).filter(id=1, operator=self._mark)
                if not mine.update(operator_seen_at=clock.now()):
                    self._lost.set()
                    break
            except (DatabaseError, InterfaceError):
                connections[self._alias].close()  # the next beat may find it again
        connections[self._alias].close()

    def _release(self) -> None:
        self._stop.set()
        self._thread.join()
        mine = Cutover.objects.using(self._alias).filter(id=1, operator=self._mark)
        try:
            mine.update(operator="", operator_process="", operator_seen_at=None)
        except (DatabaseError, InterfaceError):
            connections[self._alias].close()  # the lock goes stale by itself


@contextmanager
def at_work(alias: str, command: str) -> Iterator[Journal]:
    """Hold the cutover for one command.

    Raises OperatorBusy, naming who else holds it. An outage after the first step was begun becomes PhaseFailed.
    """
    journal = Journal(alias, command)
    journal._acquire()
    log(Event.PHASE_STARTED, phase=command)
    try:
        journal._thread.start()
        yield journal
    except PhaseFailed as exc:
        log(Event.PHASE_FAILED, phase=command, reason=str(exc))
        raise
    except (LeaseUnavailable, LedgerUnavailable) as exc:
        log(Event.PHASE_FAILED, phase=command, reason=str(exc))
        if not journal.begun:
            raise
        raise PhaseFailed(f"{exc} This happened on the way: run {command} again once that is fixed.") from exc
    finally:
        journal._release()


def at_work_now(row: Cutover) -> str:
    """Whose command is at work, with its process number; empty for nobody's."""
    return f"{row.operator} (pid {processes.number(row.operator_process)})" if row.operator else ""


def last_finished(alias: str) -> str:
    """The phase whose last step was the newest of all; empty when a phase has been begun since, or none has been."""
    with outages(alias):
        row = Transition.objects.using(alias).exclude(outcome="refused").order_by("-pk").first()
    return row.phase if row is not None and row.step == FINISH and row.outcome == "done" else ""


def _end(alias: str, pk: int, outcome: str, detail: str) -> None:
    Transition.objects.using(alias).filter(pk=pk).update(outcome=outcome, detail=detail, ended_at=clock.now())


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())
