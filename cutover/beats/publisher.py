"""The publisher: hands claimed slots' messages to the broker, and confirms them.

An answer of the fence is good for a moment: a leader that was frozen between two messages asks it again before the next
one. NOT promised: that none leaves after it was fenced, for it may be frozen between that answer and the message. A
message goes its way through celery's own scheduler. What the broker does not take stays claimed, and is swept later.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import redis
from celery.beat import ScheduleEntry, SchedulingError
from kombu.exceptions import ChannelError, OperationalError, SerializationError

from cutover import clock, headers, metrics
from cutover.beats.outlet import Send
from cutover.beats.overrides import TooManyMessages
from cutover.events import Event, is_heard, log
from cutover.foreign import text_of
from cutover.ledger import Ledger
from cutover.ledger.pauses import NOTHING_PAUSED
from cutover.types import Claim, Epoch, Slot, Term

BROKERS_FAULTS: Final[tuple[type[BaseException], ...]] = (OperationalError, OSError)
"""What any broker's client raises; every other error is an entry's own fault."""
OWN_FAULTS: Final = (TypeError, ValueError, LookupError, AttributeError, SerializationError)
"""An entry's own fault even where a client names them: arguments that do not serialise, a queue that is not there."""

FRESH_S: Final = 0.25
"""How long an answer of the fence is good for: far shorter than any lease, longer than a chunk takes."""
NEVER_S: Final = float("-inf")


class Message(NamedTuple):
    """What is to be sent for a slot; ``is_first``: no other leader can have tried before.

    ``is_past_slot``: it is of a backlog, or replayed; its being sent is no sign of where its entry stands now.
    """

    entry: ScheduleEntry
    slot: Slot
    is_first: bool
    is_past_slot: bool = False


@dataclass(slots=True)
class Published:
    """What came of some messages: the entries that were published, and whose fault it was that others were not.

    ``past_slots``: entries of which a past slot was published, with its instant; they are not among ``entries``.
    ``withheld``: slots for which the project's own scheduler, or task, chose to send nothing. ``paused``: some are, and
    their claims wait. ``fenced``: the rest was not tried, since another leads by now; its claims are for that one to
    sweep.
    """

    entries: list[ScheduleEntry] = field(default_factory=list)
    withheld: list[Slot] = field(default_factory=list)
    brokers_fault: bool = False
    own_fault: bool = False
    paused: bool = False
    fenced: bool = False
    past_slots: list[tuple[ScheduleEntry, dt.datetime]] = field(default_factory=list)


class Publisher:
    """Publishes for one beat. ``heartbeat`` is called at every message. ``faults``: errors that are the broker's doing.

    ``unconfirmed``: what was published, for whoever confirms it to clear. Methods raise LedgerUnavailable, and
    TooManyMessages.
    """

    def __init__(
        self,
        ledger: Ledger,
        send: Send,
        namespace: str,
        heartbeat: Callable[[], None],
        faults: tuple[type[BaseException], ...] = (),
        monotonic_s: Callable[[], float] = clock.monotonic_s,
    ) -> None:
        self._ledger, self._send = ledger, send
        self._namespace, self._heartbeat = namespace, heartbeat
        self._brokers_faults = (*BROKERS_FAULTS, *faults)
        self._monotonic_s = monotonic_s
        self.unconfirmed: list[Slot] = []

    def publish(self, messages: Sequence[Message], term: Term, asked_s: float = NEVER_S) -> Published:
        """Publish, and confirm nothing yet. ``asked_s``: when the fence was asked last, on the monotonic clock.

        When the broker takes nothing the rest is not tried; an own fault holds up no other.
        """
        published, epoch, paused = Published(), term.epoch, NOTHING_PAUSED
        for number, (entry, slot, is_first, is_past_slot) in enumerate(messages):
            if (now_s := self._monotonic_s()) - asked_s > FRESH_S:
                if (found := self._ledger.claims.read_paused(term)) is None:
                    published.fenced = True
                    for message in messages[number:]:
                        log_slot(Event.SLOT_FENCED, message.slot, epoch, outcome=Claim.FENCED.value)
                    break
                asked_s, paused = now_s, found
            if paused.holds(slot.entry):
                published.paused = True
                continue
            try:
                is_sent = self._send(self._message(entry, slot, epoch), first=is_first)
            except TooManyMessages:
                self.unconfirmed.append(slot)  # one of them is on its way
                self.confirm()
                raise
            except Exception as exc:  # whatever the broker's client raises: the claim stands and is swept
                published.brokers_fault |= self._not_published(slot, epoch, exc)
                published.own_fault |= not published.brokers_fault
                if published.brokers_fault:
                    break
                continue
            finally:
                self._heartbeat()
            if not is_sent:
                published.withheld.append(slot)
                continue
            self.unconfirmed.append(slot)
            if is_past_slot:
                published.past_slots.append((entry, slot.due_at))
            else:
                published.entries.append(entry)
            log_slot(Event.SLOT_PUBLISHED, slot, epoch)
        return published

    def confirm(self) -> None:
        """Confirm what was published; what the database does not take now is confirmed later, not published again."""
        if self.unconfirmed:
            self._ledger.claims.confirm(self.unconfirmed)
            self.unconfirmed.clear()

    def _not_published(self, slot: Slot, epoch: Epoch, exc: Exception) -> bool:
        """Log it, and note an entry's own fault on its claim; whether it is the broker's fault."""
        said = _in_words(exc)
        log_slot(Event.SLOT_PUBLISH_FAILED, slot, epoch, reason=said)
        if self._is_brokers_fault(exc):
            return True
        self._ledger.claims.note_fault(slot, said)
        return False

    def _is_brokers_fault(self, exc: BaseException) -> bool:
        while isinstance(exc, SchedulingError) and (inner := exc.__cause__ or exc.__context__):
            exc = inner  # what celery's own error was raised for
        return isinstance(exc, self._brokers_faults) and not isinstance(exc, OWN_FAULTS)

    def _message(self, entry: ScheduleEntry, slot: Slot, epoch: Epoch) -> ScheduleEntry:
        """The entry as it is sent for one slot: under the slot's task id, with headers that name the slot."""
        message = object.__new__(type(entry))  # a row's entry cannot be copied: its constructor takes other arguments
        message.__dict__.update(vars(entry))
        named = {
            **(entry.options.get("headers") or {}),
            headers.ENTRY: slot.entry,
            headers.DUE_AT: slot.due_at.isoformat(),
            headers.EPOCH: int(epoch),
            headers.TASK: entry.task,
        }
        message.options = {**entry.options, "task_id": slot.task_id(self._namespace), "headers": named}
        return message


def _in_words(exc: BaseException) -> str:
    """The error's text; celery's own repeats that of what it was raised for, which may say little without its type."""
    cause = (exc.__cause__ or exc.__context__) if isinstance(exc, SchedulingError) else None
    return text_of(exc) if cause is None else f"{text_of(exc)} ({type(cause).__qualname__})"


def log_slot(event: Event, slot: Slot, epoch: Epoch, **details: Any) -> None:
    metrics.beat.slot(event, slot, details.get("passed_over", 0))
    if is_heard(event):
        log(event, entry=slot.entry, due_at=slot.due_at.isoformat(), epoch=epoch, **details)


def send_twice_where_refused(send: Send) -> Send:
    """``send``, tried once more where the broker refuses this very message; LookupError where it does so again.

    AMQP closes the channel for such a message, and where no confirmation is asked for (`confirm_publish`) only the next
    message hears of it: so what was refused is tried once more, on a new channel.
    """

    def sent(message: ScheduleEntry, *, first: bool) -> bool:
        try:
            return send(message, first=first)
        except SchedulingError as exc:
            if _refusal(exc) is None:
                raise
            try:
                return send(message, first=False)
            except SchedulingError as again:
                if (refusal := _refusal(again)) is None:
                    raise
                raise LookupError(f"the broker refuses it: {refusal}") from again

    return sent


def _refusal(exc: SchedulingError) -> BaseException | None:
    """The broker's answer, where it has answered and refuses this very message; None for every other failure.

    Redis does so where the queue's key is not a list, or is none of those that this user may write.
    """
    cause = exc.__context__
    answer = cause if cause is None or isinstance(cause, ChannelError) else cause.__cause__
    is_refused = isinstance(answer, (ChannelError, redis.exceptions.NoPermissionError)) or (
        isinstance(answer, redis.ResponseError) and "WRONGTYPE" in str(answer)
    )
    return answer if is_refused else None
