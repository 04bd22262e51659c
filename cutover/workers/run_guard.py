"""The run guard: a worker runs each slot once, however often its message arrives.

``app = Celery("project", task_cls="cutover.guard.GuardedTask")`` is all there is to it. ``Task.before_start`` is the
hook that can refuse a run; Celery swallows what signal handlers raise. A task that is no slot's pays two dictionary
look-ups. NOT promised: that a run that began also did its work; a task that dies half-way is the task's own affair.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from itertools import chain
from typing import Any, Final

from celery import Task
from celery.exceptions import Ignore

from cutover import clock, conf, headers
from cutover.errors import LedgerUnavailable
from cutover.events import Event, log
from cutover.ledger import Ledger
from cutover.types import EntryName, Epoch, Sender, Slot, Start
from cutover.workers import liveness, unmanaged

_LATEST_ATTEMPTS: Final = 20
"""Of many attempts the first and the latest are named: what is tried in the middle of an outage is not committed."""
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
        if request.get(headers.DUE_AT) is not None:
            _admit(self, iter([_slot(self)]), args, kwargs)
        elif request.get(headers.BEAT) or self.name in _config().sent_by_beat_alone:
            _admit_unmanaged(self, args, kwargs)
        super().before_start(task_id, args, kwargs)

    def after_return(self, *details: Any) -> None:
        """Record the end of a slot's run where its message may still come again."""
        if self.acks_late and self.request.get(headers.DUE_AT) is not None:
            try:
                # A retry runs in any process of the pool, or of another host.
                process = "" if self.request.retries else liveness.this().process
                _ledger().runs.end(_slot(self), process)
            except LedgerUnavailable as exc:
                log(Event.DATABASE_LOST, reason=f"the end of a run is not recorded: {exc}")
        super().after_return(*details)


def _slot(task: Task) -> Slot:
    return Slot(dt.datetime.fromisoformat(task.request.get(headers.DUE_AT)), EntryName(task.request.get(headers.ENTRY)))


def _admit(
    task: Task, slots: Iterator[Slot], args: tuple[Any, ...], kwargs: dict[str, Any], sender: Sender | None = None
) -> Slot:
    """The slot that this message may run: the first, or the next where ``sender`` has sent that one; raises Ignore."""
    slot = next(slots)
    if task.request.retries or task.request.called_directly:
        return slot  # a retry of a run that was admitted
    runs, mark = _ledger().runs, liveness.this().sign()
    attempts = (task.request.get(headers.ATTEMPT) or "").splitlines()
    epoch = Epoch(task.request.get(headers.EPOCH) or 0)
    try:
        outcome = runs.start(slot, epoch, mark, sender)
        while outcome is Start.ALREADY_STARTED and sender and runs.was_started_for(slot, sender.origin):
            if (before := next(slots, None)) is None:
                break
            slot = before
            outcome = runs.start(slot, epoch, mark, sender)
        if outcome is Start.STARTED:
            return slot
        if outcome is Start.ALREADY_STARTED and any(runs.resume(slot, mine, mark) for mine in attempts):
            return slot  # it was committed, but its answer never came: nothing ran then
        if outcome is Start.ALREADY_STARTED and task.acks_late and _is_redelivered(task):
            run = runs.read(slot)
            if not run.has_ended and (sender is None or run.sender == str(sender)):
                _resume(task, slot, run.worker, mark, args, kwargs)
                return slot
    except LedgerUnavailable as exc:
        if _config().run_without_database:
            return slot
        marks = [*attempts, mark]
        kept = "\n".join([*marks[:1], *marks[1:][-_LATEST_ATTEMPTS:]])
        raise _put_off(task, args, kwargs, _headers(slot) | {headers.ATTEMPT: kept}, str(exc)) from exc
    with suppress(LedgerUnavailable):  # it is known to have been started: dropped, counted or not
        runs.count_deduplicated(slot)
    log(Event.RUN_DEDUPLICATED, entry=slot.entry, due_at=slot.due_at.isoformat(), outcome=outcome.value)
    raise Ignore(f"slot {slot.entry} {slot.due_at.isoformat()} has been run")


def _resume(task: Task, slot: Slot, began_by: str, mark: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Take over the run of a worker that is gone; while that one may still be at it, put the message off."""
    if not liveness.this().is_gone(began_by):
        raise _put_off(task, args, kwargs, _headers(slot), "the worker that started it is still there")
    if not _ledger().runs.resume(slot, began_by, mark):
        raise _put_off(task, args, kwargs, _headers(slot), "another worker took it over")
    log(Event.RUN_RESUMED, entry=slot.entry, due_at=slot.due_at.isoformat())


def _headers(slot: Slot) -> dict[str, str]:
    """What makes a message one of that slot."""
    return {headers.ENTRY: slot.entry, headers.DUE_AT: slot.due_at.isoformat()}


def _put_off(
    task: Task, args: tuple[Any, ...], kwargs: dict[str, Any], marks: Mapping[str, str], reason: str
) -> Ignore:
    """Send the same message again for later, with the same id and count of retries; returns what to raise."""
    again = task.signature_from_request(
        task.request,
        args,
        kwargs,
        countdown=DEFER_S * random.uniform(0.5, 2.0),  # noqa: S311 - jitter, not secrecy
        retries=task.request.retries,
    )
    again.apply_async(headers={**(task.request.headers or {}), headers.REDELIVERED: _is_redelivered(task), **marks})
    what = {"entry": marks.get(headers.ENTRY, ""), "due_at": marks.get(headers.DUE_AT, "")}
    log(Event.RUN_DEFERRED, **what, reason=reason)
    return Ignore(f"{task.name} for slot {what['entry']} {what['due_at']} is tried again later: {reason}")


def _is_redelivered(task: Task) -> bool:
    delivery = task.request.delivery_info or {}
    return bool(delivery.get("redelivered") or task.request.get(headers.REDELIVERED))


def _admit_unmanaged(task: Task, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """A message of a beat that knows no lease, or of nobody else: find its slot, so that it runs once all the same."""
    request = task.request
    seen_at = request.get(headers.SEEN_AT)
    if request.retries or request.called_directly or (request.parent_id and not seen_at):
        return
    message = unmanaged.Message(
        Sender(request.get(headers.ORIGIN) or request.origin or "unknown", request.id),
        task.name,
        args,
        kwargs,
        bool(request.get(headers.BEAT)),
        request.get(headers.ROW) or "",
        dt.datetime.fromisoformat(seen_at) if seen_at else clock.now(),
    )
    try:
        slots = unmanaged.slots_of(message, task.app, _config(), _ledger())
        first = next(slots, None)
        _hear(message.sender.origin)
    except LedgerUnavailable as exc:
        if _config().run_without_database:
            return
        marks = {headers.SEEN_AT: message.seen_at.isoformat(), headers.ORIGIN: message.sender.origin}
        raise _put_off(task, args, kwargs, marks, str(exc)) from exc
    if first is not None:
        slot = _admit(task, chain([first], slots), args, kwargs, message.sender)
        # From here on it counts as a message of that slot: so do its retries, and its end is recorded.
        request.update(_headers(slot), headers={**(request.headers or {}), **_headers(slot)})


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
