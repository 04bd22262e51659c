"""Admission: whether a message in hand may run, by what the ledger knows of its slot; and what is recorded of its run.

A header is no identity, for tasks pass their own on. A slot's message is one of the slot's task, under the slot's task
id, that no task sent. A stock beat's becomes one when its slot is found, and from then on names itself in a header. A
retry of either is an attempt of its own, and each attempt runs once.
"""

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cache
from itertools import chain
from typing import Any, Final

from celery import Celery, Task
from django.dispatch import Signal

from cutover import clock, headers, logs, metrics, signals
from cutover.errors import ConfigurationError, LedgerUnavailable
from cutover.events import Event, log
from cutover.foreign import text_of
from cutover.ledger.runs import RunEnd
from cutover.seldom import log_seldom
from cutover.types import EntryName, Epoch, RunOutcome, Sender, Slot, Start
from cutover.workers import ends, liveness, reason, slotless, unmanaged
from cutover.workers.session import session
from cutover.workers.site import config, ledger

_LATEST_ATTEMPTS: Final = 20
"""Besides the first one: only those at an outage's edges can have been committed without an answer."""
HEARD_EVERY_S: Final = 10.0
"""An unmanaged beat is recorded at most this often by each worker process."""
_heard_at_s: dict[str, float] = {}

OF_ANOTHER: Final = (
    "was sent by a beat of another CUTOVER['NAMESPACE'] and runs without the run guard; give beats and workers the same"
)


class Undecided(Exception):
    """It cannot be said yet whether the message may run; says why."""


class Admission:
    """The admission of one message. ``request``: celery's, as the worker has it; a run of a slot is entered in it."""

    def __init__(self, task: Task, task_id: str, args: Any, kwargs: Any, request: dict[str, Any]) -> None:
        self._task, self._task_id = task, task_id
        self._args, self._kwargs = args, kwargs
        self._request = request
        self._slot: Slot | None = None
        self._admitted_s = 0.0
        self._mark, self._tried = "", (request.get(headers.ATTEMPT) or "").splitlines()
        delivery = request.get("delivery_info") or {}
        self._is_redelivered = bool(delivery.get("redelivered") or request.get(headers.REDELIVERED))
        self._received_at = clock.now()
        self._seen_at = request.get(headers.SEEN_AT) or self._received_at.isoformat()

    def logged(self) -> AbstractContextManager[None]:
        """Have what is logged within be of the slot's run; nothing where there is no slot."""
        if self._slot is None:
            return nullcontext()
        epoch = self._request.get(headers.EPOCH)
        return logs.of_slot(**self.details, epoch=epoch, slot=self._slot.task_id(config().namespace))

    @property
    def slot(self) -> Slot | None:
        """The slot that the message is of, once that is decided; None for none."""
        return self._slot

    @property
    def attempt(self) -> int:
        """How often the task was tried before."""
        return int(self._request.get("retries") or 0)

    @property
    def details(self) -> dict[str, str]:
        """The slot, for the log; empty strings while it is not known."""
        slot = self._slot
        return {"entry": slot.entry if slot else "", "due_at": slot.due_at.isoformat() if slot else ""}

    def decide(self) -> bool:
        """Whether the message runs; False for a further one of its slot.

        Raises Undecided, LedgerUnavailable, and whatever else goes wrong: nothing is known then.
        """
        try:
            runs = self._decide()
        except LedgerUnavailable:
            if not config().run_without_database:
                raise
            runs = True
        with suppress(Exception):  # the database was asked already; what is scheduled there is read once a minute
            if (scheduled := scheduled_tasks(self._task.app)) is not None:
                scheduled.refresh()
        if runs:
            self._admitted_s = clock.monotonic_s()
            if self._slot is not None and not self.attempt:
                metrics.worker.started(self._slot.due_at)
            for name in headers.OF_DEFERRED:  # they are of this message, not of what the task sends
                self._request.pop(name, None)
        return runs

    def marks(self) -> dict[str, Any]:
        """The headers by which a worker that gets the same message again knows what this one has found out."""
        known: dict[str, Any] = {headers.REDELIVERED: self._is_redelivered}
        if self._slot is None:
            return known | {headers.SEEN_AT: self._seen_at, headers.ORIGIN: self._origin}
        tried = [*self._tried, self._mark]
        attempts = "\n".join([*tried[:1], *tried[1:][-_LATEST_ATTEMPTS:]])
        return known | self._named(self._slot) | {headers.ATTEMPT: attempts}

    def message(self) -> unmanaged.Message:
        """What there is to see of a message without a slot."""
        return unmanaged.Message(
            Sender(self._origin, self._task_id),
            self._task.name,
            self._args,
            self._kwargs,
            self._request.get(headers.ROW) or "",
            dt.datetime.fromisoformat(self._seen_at),
        )

    def end(self, outcome: RunOutcome | None, why: Any, *, is_eager: bool, may_return: bool = False) -> None:
        """Record how the run has ended, and tell of a failure; ``why`` is celery's word for what the task raised.

        ``outcome`` None: it gave its message back to the broker. ``may_return``: whether that has it back is not known,
        where it was not acknowledged; if it has, it runs. Recorded when this returns where the run was
        ``is_eager``, or its message is still to be acknowledged: the end decides then whether a redelivered one runs.
        Else soon. Raises LedgerUnavailable.
        """
        if self._slot is None:
            return
        is_given_back = (outcome is None or may_return) and self._task.acks_late
        outcome = outcome or (RunOutcome.RETRIED if is_given_back else RunOutcome.FAILED)
        metrics.worker.ended(outcome, clock.monotonic_s() - self._admitted_s)
        is_well = outcome is RunOutcome.SUCCEEDED
        error = "" if is_well else reason.line(why, with_message=config().run_error_messages)
        end = RunEnd(self._slot, self._mark, outcome, error)
        try:
            if not (is_eager or self._task.acks_late):
                ends.of_process.record_soon(end)
                return
            with session():
                if is_given_back:
                    ledger().runs.give_back(self._slot, self._mark, error, outcome)
                else:
                    ledger().runs.end([end])
        finally:  # that it has failed is true, recorded or not
            if outcome is RunOutcome.FAILED:
                self._signal(signals.run_failed, attempt=self.attempt, error=error)

    def _signal(self, signal: Signal, **values: Any) -> None:
        """Have a signal sent that names the slot, if anybody is connected to it."""
        if self._slot is not None and signal.receivers:
            named = {"entry": str(self._slot.entry), "due_at": self._slot.due_at}
            signals.send_in_background(signal, **named, task=self._task.name, task_id=self._task_id, **values)

    @property
    def _origin(self) -> str:
        return str(self._request.get(headers.ORIGIN) or self._request.get("origin") or "unknown")

    def _decide(self) -> bool:
        if self._request.get(headers.DUE_AT) is not None:
            self._slot = self._own_slot()
            return self._slot is None or self._admit([self._slot])
        is_sent_by_task = self._request.get("parent_id") and not self._request.get(headers.SEEN_AT)
        return bool(self.attempt or is_sent_by_task) or self._admit_unmanaged()

    def _own_slot(self) -> Slot | None:
        """See ``own_slot``; says where a beat of another namespace has sent the message."""
        slot = named_slot(self._request)
        if slot is not None and not _is_identified(slot, self._task_id, self._request):
            if _is_slots(self._task_id) and not self._request.get("parent_id"):
                log_seldom(Event.GUARD_LOST, "namespace", tasks=1, reason=f"{slot.entry} {OF_ANOTHER}")
            return None
        return own_slot(self._task, self._task_id, self._request)

    def _admit(self, slots: Iterable[Slot], sender: Sender | None = None) -> bool:
        """Whether the message starts one of the slots: the first that no other message of ``sender`` has started."""
        runs, epoch = ledger().runs, Epoch(self._request.get(headers.EPOCH) or 0)
        if self._mark:
            self._tried.append(self._mark)
        self._mark = liveness.this_worker().sign(self._request.get("hostname") or "")

        def start(slot: Slot) -> Start:
            self._slot = slot  # also of an error: the log names it
            return runs.start(slot, epoch, self._mark, sender, self.attempt)

        slot, outcome = unmanaged.start_one(slots, sender, runs, start)
        self._slot, was_started = slot, outcome is Start.ALREADY_STARTED
        if outcome is Start.STARTED or (was_started and self._resume(slot, sender)):
            return True
        if outcome is Start.TOO_OLD and self.attempt:
            return True  # its run was admitted, and the ledger has forgotten it since
        with suppress(Exception):  # it is known to have been started: dropped, counted or not
            runs.count_deduplicated(slot)
        metrics.worker.deduplicated()
        log(Event.RUN_DEDUPLICATED, **self.details, outcome=outcome.value)
        self._signal(signals.run_deduplicated, outcome=outcome.value)
        return False

    def _admit_unmanaged(self) -> bool:
        """Find the slot of an unmanaged beat's message, so that it runs once all the same; anything else may run."""
        if not self._request.get(headers.SEEN_AT):  # by the ledger's clock: by one that is ahead it is another slot's
            self._seen_at = ledger().fence.read_and_correct(self._received_at).isoformat()
        message = self.message()
        slots = unmanaged.slots_of(message, self._task.app, config(), ledger())
        first = next(slots, None)
        if (now_s := clock.monotonic_s()) - _heard_at_s.get(self._origin, -HEARD_EVERY_S) >= HEARD_EVERY_S:
            ledger().runs.record_heard(self._origin)
            _heard_at_s[self._origin] = now_s
        if first is None:
            return True
        runs = self._admit(chain([first], slots), message.sender)
        # From here on it counts as a message of that slot: so do its retries, and its end is recorded.
        self._request.update(self._named(self._slot or first))
        return runs

    def _resume(self, slot: Slot, sender: Sender | None) -> bool:
        """Whether an attempt that was started before goes on here; Undecided while that cannot be said yet."""
        runs = ledger().runs
        if any(runs.resume(slot, mine, self._mark) for mine in self._tried):
            return True  # it was committed, but its answer never came: nothing ran then
        if not (self._task.acks_late and self._is_redelivered):
            return False
        run = runs.read(slot)
        if run.has_ended or run.attempt != self.attempt or (sender is not None and run.sender != str(sender)):
            return False
        if run.worker and not liveness.this_worker().is_gone(run.worker):
            raise Undecided("the worker that started it is still there")
        if not runs.resume(slot, run.worker, self._mark):
            raise Undecided("another worker has resumed it")
        log(Event.RUN_RESUMED, **self.details)
        return True

    def _named(self, slot: Slot) -> dict[str, str]:
        """The headers that name a slot; where the message is not a leader's, with the message that they are for."""
        named = {headers.ENTRY: slot.entry, headers.DUE_AT: slot.due_at.isoformat()}
        is_leaders = self._task_id == slot.task_id(config().namespace)
        return named if is_leaders else named | {headers.MESSAGE: self._task_id}


def named_slot(request: Mapping[str, Any]) -> Slot | None:
    """The slot that the headers name; None where they name none."""
    try:
        return Slot(dt.datetime.fromisoformat(request[headers.DUE_AT]), EntryName(request[headers.ENTRY]))
    except (LookupError, TypeError, ValueError):
        return None


def own_slot(task: Task, task_id: str, request: Mapping[str, Any]) -> Slot | None:
    """The slot that the headers name, where this is a message of it and not of something that has its headers."""
    slot = named_slot(request)
    if slot is None or not _is_identified(slot, task_id, request):
        return None
    # Of the very same id are what takes a task's place, and what somebody sends so.
    sent_by_task = request.get("parent_id") and not (request.get("retries") or headers.REDELIVERED in request)
    runs_it = task.app.tasks.get(request.get(headers.TASK) or task.name)
    is_another = sent_by_task or request.get("replaced_task_nesting") or runs_it is not task
    return None if is_another else slot


def _is_identified(slot: Slot, task_id: str, request: Mapping[str, Any]) -> bool:
    return task_id in (slot.task_id(config().namespace), request.get(headers.MESSAGE))


def _is_slots(task_id: str) -> bool:
    """Whether a message's id was made from a slot, in whatever namespace: celery's own are random."""
    try:
        return uuid.UUID(task_id).version == 5
    except ValueError:
        return False


def is_beats(task: str, request: Mapping[str, Any]) -> bool:
    """Whether a message, by its headers and its task's name, is a beat's, and concerns the run guard."""
    is_marked = request.get(headers.DUE_AT) is not None or request.get(headers.BEAT)
    return bool(is_marked or task in _sent_by_beat_alone())


@cache
def _sent_by_beat_alone() -> frozenset[str]:
    """The tasks that the settings list; none where they cannot be read: that is said, and stops no task."""
    try:
        return frozenset(config().sent_by_beat_alone)
    except Exception as exc:
        log(Event.GUARD_FAILED, entry="", due_at="", reason=f"{type(exc).__name__}: {text_of(exc)}")
        return frozenset()


@cache
def scheduled_tasks(app: Celery) -> slotless.ScheduledTasks | None:
    """What this process knows of the app's scheduled tasks; None where the settings cannot be read, which is said."""
    try:
        return slotless.ScheduledTasks(app, config(), ledger())
    except ConfigurationError:
        return None
