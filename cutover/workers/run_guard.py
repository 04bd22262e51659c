"""The run guard: a worker runs each slot once, however often its message arrives.

``app = Celery("project", task_cls="cutover.guard.GuardedTask")`` is all there is to it. ``Task.before_start`` is the
hook that can refuse a run; Celery swallows what signal handlers raise. A task that no entry sends pays a few
look-ups in memory. NOT promised: that a run that began also did its work; a task that dies half-way is its own concern.
"""

import datetime as dt
import random
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from itertools import chain
from typing import Any, Final

import celery
from celery import Celery, Task
from celery.exceptions import Ignore

from cutover import clock, conf, headers
from cutover.errors import LedgerUnavailable
from cutover.events import Event, log
from cutover.ledger import Ledger
from cutover.types import EntryName, Epoch, Sender, Slot, Start
from cutover.workers import hooks, liveness, slotless, unmanaged

_LATEST_ATTEMPTS: Final = 20
"""Besides the first one: only those at an outage's edges can have been committed without an answer."""
DEFER_S: Final = 5.0
"""After how long a deferred message is tried again (half as much to twice as much)."""
HEARD_EVERY_S: Final = 10.0
"""An unmanaged beat is recorded at most this often by each worker process."""
_heard_at_s: dict[str, float] = {}


class GuardedTask(Task):
    """The project's base task. A task class of the project's own derives from it to be guarded."""

    abstract = True

    @property
    def run_guard(self) -> str | None:
        """What workers answer a preflight: guarded, and by which celery; None where an override keeps it off."""
        return None if lost(self) else f"cutover celery={celery.__version__}"

    def before_start(self, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Let the run begin, or raise Ignore: the message is acknowledged, the task does not run."""
        request = self.request
        if request.retries or request.called_directly:
            pass  # a retry of a run that was admitted, or a call without any message
        elif request.get(headers.DUE_AT) is not None:
            _Delivery(self, args, kwargs).admit([_slot(self)])
            _watch(self.app).refresh()
        elif request.get(headers.BEAT):
            _Delivery(self, args, kwargs).admit_unmanaged()
        elif not request.is_eager:
            _admit_slotless(self, args, kwargs)
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


def lost(task: GuardedTask) -> str:
    """Why the guard does not run for a task, or cannot be seen to: an override of its hooks; empty when it runs."""
    names = ("before_start", "after_return") if task.acks_late else ("before_start",)
    return next(filter(None, (hooks.lost(task, GuardedTask, name) for name in names)), "")


class _Delivery:
    """One message, as it comes to a task that is about to run. Whatever refuses it raises Ignore."""

    def __init__(self, task: GuardedTask, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._task = task
        self._args = args
        self._kwargs = kwargs
        self._request = task.request
        self._runs = _ledger().runs
        delivery = self._request.delivery_info or {}
        self._is_redelivered = bool(delivery.get("redelivered") or self._request.get(headers.REDELIVERED))
        self._attempts: list[str] = (self._request.get(headers.ATTEMPT) or "").splitlines()

    def admit(self, slots: Iterable[Slot], sender: Sender | None = None) -> Slot:
        """The slot that the message may run: the first that no other message of ``sender`` has started."""
        epoch, mark = Epoch(self._request.get(headers.EPOCH) or 0), liveness.this().sign()
        try:
            for slot in slots:
                outcome = self._runs.start(slot, epoch, mark, sender)
                was_started = outcome is Start.ALREADY_STARTED
                if not (was_started and sender and self._runs.was_started_for(slot, sender.origin)):
                    break
            if outcome is Start.STARTED or (was_started and self._resume(slot, mark, sender)):
                return slot
        except LedgerUnavailable as exc:
            if _config().run_without_database:
                return slot
            marks = [*self._attempts, mark]
            attempts = "\n".join([*marks[:1], *marks[1:][-_LATEST_ATTEMPTS:]])
            raise self._defer(_headers(slot) | {headers.ATTEMPT: attempts}, str(exc)) from exc
        with suppress(LedgerUnavailable):  # it is known to have been started: dropped, counted or not
            self._runs.count_deduplicated(slot)
        log(Event.RUN_DEDUPLICATED, entry=slot.entry, due_at=slot.due_at.isoformat(), outcome=outcome.value)
        raise Ignore(f"slot {slot.entry} {slot.due_at.isoformat()} has been run")

    def admit_unmanaged(self) -> None:
        """Find the slot of an unmanaged beat's message, so that it runs once all the same; anything else may run."""
        request = self._request
        if request.parent_id and not request.get(headers.SEEN_AT):
            return
        message = self.message()
        origin = message.sender.origin
        try:
            slots = unmanaged.slots_of(message, self._task.app, _config(), _ledger())
            first = next(slots, None)
            if (now_s := clock.monotonic_s()) - _heard_at_s.get(origin, -HEARD_EVERY_S) >= HEARD_EVERY_S:
                self._runs.heard(origin)
                _heard_at_s[origin] = now_s
        except LedgerUnavailable as exc:
            if _config().run_without_database:
                return
            marks = {headers.SEEN_AT: message.seen_at.isoformat(), headers.ORIGIN: origin}
            raise self._defer(marks, str(exc)) from exc
        if first is not None:
            slot = self.admit(chain([first], slots), message.sender)
            # From here on it counts as a message of that slot: so do its retries, and its end is recorded.
            request.update(_headers(slot), headers={**(request.headers or {}), **_headers(slot)})

    def message(self) -> unmanaged.Message:
        """What there is to see of a message without a slot."""
        request, seen_at = self._request, self._request.get(headers.SEEN_AT)
        origin = request.get(headers.ORIGIN) or request.origin or "unknown"
        return unmanaged.Message(
            Sender(origin, request.id),
            self._task.name,
            self._args,
            self._kwargs,
            request.get(headers.ROW) or "",
            dt.datetime.fromisoformat(seen_at) if seen_at else clock.now(),
        )

    def _resume(self, slot: Slot, mark: str, sender: Sender | None) -> bool:
        """Whether a run that was started before goes on here; deferred while that cannot be said yet."""
        if any(self._runs.resume(slot, mine, mark) for mine in self._attempts):
            return True  # it was committed, but its answer never came: nothing ran then
        if not (self._task.acks_late and self._is_redelivered):
            return False
        run = self._runs.read(slot)
        if run.has_ended or (sender is not None and run.sender != str(sender)):
            return False
        if not liveness.this().is_gone(run.worker):
            raise self._defer(_headers(slot), "the worker that started it is still there")
        if not self._runs.resume(slot, run.worker, mark):
            raise self._defer(_headers(slot), "another worker has resumed it")
        log(Event.RUN_RESUMED, entry=slot.entry, due_at=slot.due_at.isoformat())
        return True

    def _defer(self, marks: Mapping[str, str], reason: str) -> Ignore:
        """Send the same message again for later, with the same id and count of retries; returns what to raise."""
        request = self._request
        countdown = DEFER_S * random.uniform(0.5, 2.0)  # noqa: S311 - jitter, not secrecy
        given = request, self._args, self._kwargs
        again = self._task.signature_from_request(*given, countdown=countdown, retries=request.retries)
        again.apply_async(headers={**(request.headers or {}), headers.REDELIVERED: self._is_redelivered, **marks})
        entry, due_at = marks.get(headers.ENTRY, ""), marks.get(headers.DUE_AT, "")
        log(Event.RUN_DEFERRED, entry=entry, due_at=due_at, reason=reason)
        return Ignore(f"{self._task.name} for slot {entry} {due_at} is tried again later: {reason}")


def _admit_slotless(task: Task, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Neither a slot's message nor marked as a beat's: a beat's all the same if nobody else sends it; else counted."""
    request, watch = task.request, _watch(task.app)
    if watch.is_sent_by_beats_alone(task.name):
        _Delivery(task, args, kwargs).admit_unmanaged()
    elif not request.parent_id and (request.get(headers.ROW) or watch.is_scheduled(task.name)):
        watch.count(_Delivery(task, args, kwargs).message())


def _slot(task: Task) -> Slot:
    return Slot(dt.datetime.fromisoformat(task.request.get(headers.DUE_AT)), EntryName(task.request.get(headers.ENTRY)))


def _headers(slot: Slot) -> dict[str, str]:
    return {headers.ENTRY: slot.entry, headers.DUE_AT: slot.due_at.isoformat()}


@cache
def _config() -> conf.Config:
    return conf.load()


@cache
def _watch(app: Celery) -> slotless.Watch:
    return slotless.Watch(app, _config(), _ledger())


@cache
def _ledger() -> Ledger:
    return Ledger(_config().database, _config().namespace, _config().retention)
