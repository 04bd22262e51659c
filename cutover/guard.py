"""The run guard: a worker runs each slot once, however often its message arrives.

``app = Celery("project", task_cls="cutover.guard.GuardedTask")`` is all there is to it. ``Task.before_start`` is the
hook that can refuse a run; Celery swallows what signal handlers raise. A task that is no slot's pays two dictionary
look-ups. NOT promised: that a run that began also did its work; a task that dies half-way is the task's own affair.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final

from celery import Task
from celery.exceptions import Ignore

from cutover import clock, conf, unguarded, worker
from cutover.dispatcher import HEADER_DUE_AT, HEADER_ENTRY, HEADER_EPOCH
from cutover.errors import LedgerUnavailable
from cutover.events import Event, tell
from cutover.ledger import Ledger
from cutover.types import EntryName, Epoch, Sender, Slot, Start

HEADER_REDELIVERED: Final = "cutover_redelivered"
"""Carried by a message that was put off: what the broker knew of the first one is lost otherwise."""
HEADER_ATTEMPT: Final = "cutover_attempt"
"""Carried by a message that was put off: the marks of runs that did not begin, though the ledger may have one of them.

One a line, the first and the latest ones: what is tried in the middle of an outage is not committed.
"""
_LATEST_ATTEMPTS: Final = 20
DEFER_S: Final = 5.0
"""After how long a message that was put off is tried again (half as much to twice as much)."""
HEARD_EVERY_S: Final = 10.0
"""A beat without the lease is recorded at most this often by each worker process."""


class GuardedTask(Task):
    """The project's base task. A task class of the project's own derives from it to be guarded."""

    abstract = True
    run_guard = "cutover"
    """By this workers tell a preflight that asks them that they are guarded."""

    def before_start(self, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Let the run begin, or raise Ignore: the message is acknowledged, the task does not run."""
        request = self.request
        if request.get(HEADER_DUE_AT) is not None:
            _admit(self, _slot(self), args, kwargs)
        elif request.get(unguarded.HEADER_BEAT) or self.name in _config().sent_by_beat_alone:
            _admit_unguarded(self, args, kwargs)
        super().before_start(task_id, args, kwargs)

    def after_return(self, *details: Any) -> None:
        """Record the end of a slot's run where its message may still come again."""
        if self.acks_late and self.request.get(HEADER_DUE_AT) is not None:
            try:
                _ledger().runs.end(_slot(self), worker.this().process)
            except LedgerUnavailable as exc:
                tell(Event.DATABASE_LOST, reason=f"the end of a run is not recorded: {exc}")
        super().after_return(*details)


def _slot(task: Task) -> Slot:
    return Slot(dt.datetime.fromisoformat(task.request.get(HEADER_DUE_AT)), EntryName(task.request.get(HEADER_ENTRY)))


def _admit(
    task: Task,
    slot: Slot,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    sender: Sender | None = None,
    instead: Iterable[Slot] = (),
) -> None:
    """Return if this message may run its slot; raise Ignore otherwise.

    ``instead``: slots that are meant when ``sender``, a beat without the lease, has sent ``slot`` already.
    """
    if task.request.retries or task.request.called_directly:
        return  # a retry of a run that was admitted
    ledger, mark = _ledger(), worker.this().sign()
    attempts = (task.request.get(HEADER_ATTEMPT) or "").splitlines()
    try:
        epoch = Epoch(task.request.get(HEADER_EPOCH) or 0)
        outcome = ledger.runs.start(slot, epoch, mark, sender)
        if outcome is Start.STARTED:
            return
        if outcome is Start.ALREADY_STARTED and any(ledger.runs.resume(slot, mine, mark) for mine in attempts):
            return  # it was committed, but its answer never came: nothing ran then
        if outcome is Start.ALREADY_STARTED and sender is not None:
            taken = slot
            for other in instead:
                if not ledger.runs.was_sent_by(taken, sender.origin):
                    break
                if ledger.runs.start(other, epoch, mark, sender) is Start.STARTED:
                    return
                taken = other
        if outcome is Start.ALREADY_STARTED and task.acks_late and _is_redelivered(task):
            run = ledger.runs.read(slot)
            if not run.has_ended:
                _resume(task, slot, run.worker, mark, args, kwargs)
                return
    except LedgerUnavailable as exc:
        if _config().run_without_database:
            return
        raise _put_off(task, slot, args, kwargs, str(exc), [*attempts, mark]) from exc
    with suppress(LedgerUnavailable):  # it is known to have been started: dropped, counted or not
        ledger.runs.count_suppressed(slot)
    tell(Event.RUN_SUPPRESSED, entry=slot.entry, due_at=slot.due_at.isoformat(), outcome=outcome.value)
    raise Ignore(f"slot {slot.entry} {slot.due_at.isoformat()} has been run")


def _resume(task: Task, slot: Slot, began_by: str, mark: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Take over the run of a worker that is gone; while that one may still be at it, put the message off."""
    if not worker.this().is_gone(began_by):
        raise _put_off(task, slot, args, kwargs, "the worker that started it is still there")
    if not _ledger().runs.resume(slot, began_by, mark):
        raise _put_off(task, slot, args, kwargs, "another worker took it over")
    tell(Event.RUN_RESUMED, entry=slot.entry, due_at=slot.due_at.isoformat())


def _put_off(
    task: Task, slot: Slot, args: tuple[Any, ...], kwargs: dict[str, Any], reason: str, attempts: Sequence[str] = ()
) -> Ignore:
    """Send the same message again for later, with the same id and count of retries; returns what to raise."""
    again = task.signature_from_request(
        task.request,
        args,
        kwargs,
        countdown=DEFER_S * random.uniform(0.5, 2.0),  # noqa: S311 - jitter, not secrecy
        retries=task.request.retries,
    )
    headers = {
        **(task.request.headers or {}),
        HEADER_ENTRY: slot.entry,  # of a message that came without: later another slot would be inferred
        HEADER_DUE_AT: slot.due_at.isoformat(),
        HEADER_REDELIVERED: _is_redelivered(task),
        HEADER_ATTEMPT: "\n".join([*attempts[:1], *attempts[1:][-_LATEST_ATTEMPTS:]]),
    }
    again.apply_async(headers=headers)
    tell(Event.RUN_DEFERRED, entry=slot.entry, due_at=slot.due_at.isoformat(), reason=reason)
    return Ignore(f"slot {slot.entry} {slot.due_at.isoformat()} is tried again later: {reason}")


def _is_redelivered(task: Task) -> bool:
    delivery = task.request.delivery_info or {}
    return bool(delivery.get("redelivered") or task.request.get(HEADER_REDELIVERED))


def _admit_unguarded(task: Task, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """A message of a beat that knows no lease, or of nobody else: find its slot, so that it runs once all the same."""
    request = task.request
    if request.retries or request.called_directly or request.parent_id:
        return
    message = unguarded.Message(
        request.id,
        task.name,
        args,
        kwargs,
        bool(request.get(unguarded.HEADER_BEAT)),
        request.get(unguarded.HEADER_ROW) or "",
        _is_redelivered(task),
    )
    sender = Sender(request.origin or "unknown", request.id)
    try:
        meant = unguarded.slots_of(message, task.app, _config(), _ledger())
        slot = next(meant, None)
        _hear(sender.origin)
    except LedgerUnavailable:
        return  # a beat that knows no lease promises no slot
    if slot is not None:
        _admit(task, slot, args, kwargs, sender, meant)


_heard_at_s: dict[str, float] = {}


def _hear(origin: str) -> None:
    """Remember that a beat without the lease was heard."""
    now_s = clock.monotonic_s()
    if now_s - _heard_at_s.get(origin, -HEARD_EVERY_S) >= HEARD_EVERY_S:
        _ledger().runs.heard(origin)
        _heard_at_s[origin] = now_s


@cache
def _config() -> conf.Config:
    return conf.load()


@cache
def _ledger() -> Ledger:
    return Ledger(_config().database, _config().namespace, _config().retention)
