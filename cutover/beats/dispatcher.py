"""The dispatcher: claim, publish, confirm, in this order, for many slots at once; and the sweep of what got stuck."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from celery.beat import ScheduleEntry, SchedulingError
from kombu.exceptions import OperationalError, SerializationError

from cutover import clock, headers
from cutover.beats.agenda import Agenda, Due
from cutover.events import Event, log
from cutover.ledger.claims import Ledger
from cutover.types import Claim, Epoch, Missed, Slot, Term

CHUNK: Final = 200
"""How many slots are claimed in one commit: enough to make its cost small, few enough to stand down soon."""
ROWS: Final = 1_000
"""How many rows one commit writes, missed slots among them: the fence is held meanwhile, and PostgreSQL wants news."""
RETRY_FIRST_S: Final = 0.5
RETRY_MOST_S: Final = 10.0
PASSED_OVER: Final = "a later slot was sent in its stead"
SUPERSEDED: Final = "superseded by a newer slot before it was published"

BROKERS_FAULTS: Final[tuple[type[BaseException], ...]] = (OperationalError, OSError)
"""What any broker's client raises. All that it does not name is an entry's own fault, ..."""
OWN_FAULTS: Final = (TypeError, ValueError, LookupError, AttributeError, SerializationError)
"""... and so are these, though some clients name them: arguments that do not serialise, a queue that is not there."""

DELAYS: Final = frozenset({"countdown", "eta"})
"""Options by which a worker is to wait before it starts a message."""
WAITS: Final = DELAYS | {"expires", "expiration"}
"""Options by which a message waits, or lapses; the last one is the broker's own (AMQP)."""

Publish = Callable[[ScheduleEntry], None]
"""Hands one entry's message to the broker; raises whatever the broker's client raises."""


@dataclass(slots=True)
class Sent:
    """What came of one round: entries published, and whether the fence refused it."""

    published: list[ScheduleEntry] = field(default_factory=list)
    fenced: bool = False


class Dispatcher:
    """Sends slots for one leader at a time. Methods raise LedgerUnavailable; a broker's failure is kept and retried."""

    def __init__(
        self,
        ledger: Ledger,
        publish: Publish,
        namespace: str,
        between: Callable[[], None],
        faults: tuple[type[BaseException], ...] = (),
    ) -> None:
        """``between`` is called at every entry and message. ``faults``: errors that are the broker's doing."""
        self._ledger = ledger
        self._publish = publish
        self._namespace = namespace
        self._between = between
        self._brokers_faults = (*BROKERS_FAULTS, *faults)
        self._retry_s = RETRY_FIRST_S
        self._sweep_at: float | None = None
        self._is_blocked = False
        self._unconfirmed: list[Slot] = []

    def send(self, term: Term, agenda: Agenda, due: Iterable[Due]) -> Sent:
        """Claim, publish and confirm all that is due, and record what is missed; agenda entries move on."""
        sent = Sent()
        for chunk in _chunks(self._vouched(due)):
            self._send_chunk(term, agenda, chunk, sent)
            if sent.fenced or self.is_blocked:
                break
        return sent

    def _vouched(self, due: Iterable[Due]) -> Sequence[Due]:
        """All that is due. To tell what was missed in a long gap takes its time; that is not standing still."""
        wanted = []
        for each in due:
            wanted.append(each)
            self._between()
        return wanted

    @property
    def is_blocked(self) -> bool:
        """Whether something is to be swept first: while the broker takes nothing, nothing more is claimed."""
        return self._is_blocked

    def sweep_soon(self) -> None:
        """Look for stuck claims at the next opportunity: a leadership has begun."""
        self._sweep_at, self._is_blocked, self._retry_s = clock.monotonic_s(), True, RETRY_FIRST_S

    def sweep_in_s(self) -> float | None:
        """Seconds until the next sweep (0 when it is due); None when nothing is known to be stuck."""
        return None if self._sweep_at is None else max(0.0, self._sweep_at - clock.monotonic_s())

    def sweep(self, term: Term, agenda: Agenda) -> Sent:
        """Publish again what was claimed and never confirmed, under the same task ids.

        Given up, with the reason in the ledger: a claim that a newer slot of its entry supersedes, one older than its
        catch-up window, and one whose entry this side does not have.
        """
        sent = Sent()
        self._confirm([])
        self._ledger.confirm_started()
        self._sweep_at, self._is_blocked = None, False
        hopeless: dict[Slot, str] = {}
        stuck: list[tuple[ScheduleEntry, Slot, Epoch]] = []
        for claim in self._ledger.unpublished():
            entry = agenda.entry(claim.slot.entry)
            if claim.superseded:
                hopeless[claim.slot] = _because(SUPERSEDED, claim.fault)
            elif entry is None:
                hopeless[claim.slot] = f"side {term.side} has no such entry"
            elif clock.now() - claim.slot.due_at > agenda.window(claim.slot.entry):
                hopeless[claim.slot] = _because("older than the catch-up window", claim.fault)
            else:
                stuck.append((entry, claim.slot, claim.epoch))
        if (hopeless or stuck) and not self._ledger.give_up(term, hopeless):
            sent.fenced = True
            return sent
        for slot, reason in hopeless.items():
            log(
                Event.SLOT_MISSED,
                entry=slot.entry,
                due_at=slot.due_at.isoformat(),
                epoch=term.epoch,
                reason=reason,
            )
        for _, slot, epoch in stuck:
            log(Event.SLOT_SWEPT, entry=slot.entry, due_at=slot.due_at.isoformat(), epoch=epoch)
        self._hand_over([(entry, slot) for entry, slot, _ in stuck], term.epoch, sent)
        return sent

    def resend(self, term: Term, agenda: Agenda, guarded_since: dt.datetime, after: dt.timedelta) -> bool:
        """Publish once more what no worker has started for ``after``, then for twice as long; False when fenced.

        A worker that is killed can take a message with it that it has not acknowledged to anybody's books: the run
        guard makes it safe to send another. Left alone: an entry whose messages expire or are to wait, one whose task
        has no run guard (any more), one that this side does not have, and a slot older than its catch-up window. At
        most a chunk is sent at one look: what waits for a worker that is long away is no flood.
        """
        now = clock.now()
        lost = [
            (entry, found.slot)
            for found in self._ledger.unstarted(guarded_since, now - after, now - agenda.longest_window())
            if (entry := agenda.entry(found.slot.entry)) is not None
            and not _may_wait(entry)
            and not _is_bare(entry)
            and now - found.slot.due_at <= agenda.window(found.slot.entry)
            and now - found.published_at >= after * 2**found.resent
        ][:CHUNK]
        if not lost:
            return True
        if not self._ledger.resend(term, [slot for _, slot in lost]):
            return False
        for _, slot in lost:
            log(Event.SLOT_RESENT, entry=slot.entry, due_at=slot.due_at.isoformat(), epoch=term.epoch)
        self._hand_over(lost, term.epoch, Sent())
        return True

    def _send_chunk(self, term: Term, agenda: Agenda, due: Sequence[Due], sent: Sent) -> None:
        slots = {Slot(d.owed.send, d.name): d.entry for d in due if d.owed.send is not None}
        missed = [m for d in due for m in _missed(d)]
        for slot, outcome in self._ledger.claim(term, list(slots), missed).items():
            _tell_claim(slot, outcome, term.epoch)
            if outcome is Claim.FENCED:
                sent.fenced = True
            elif outcome is not Claim.CLAIMED:
                del slots[slot]
        if sent.fenced:
            return
        for record in missed:
            _tell_missed(record, term.epoch)
        self._hand_over([(entry, slot) for slot, entry in slots.items()], term.epoch, sent)
        for d in due:
            settled = d.owed.send or max(d.owed.missed, default=None)
            if settled is not None:
                agenda.record(d.name, settled)

    def _hand_over(self, messages: Sequence[tuple[ScheduleEntry, Slot]], epoch: Epoch, sent: Sent) -> None:
        """Publish and confirm; what is not taken stays claimed for the next sweep.

        When that is the broker's doing the rest is not tried; an entry that cannot be published at all holds up no
        other one.
        """
        published: list[Slot] = []
        try:
            for entry, slot in messages:
                try:
                    self._publish(self._message(entry, slot, epoch))
                except Exception as exc:  # whatever the broker's client raises: the claim stands and is swept
                    self._not_published(slot, epoch, exc)
                    if self._is_blocked:
                        break
                    continue
                finally:
                    self._between()
                published.append(slot)
                sent.published.append(entry)
                log(Event.SLOT_PUBLISHED, entry=slot.entry, due_at=slot.due_at.isoformat(), epoch=epoch)
        finally:
            self._confirm(published)
        if published and not self._is_blocked:
            self._retry_s = RETRY_FIRST_S

    def _confirm(self, published: Sequence[Slot]) -> None:
        """Confirm what was published; what the database does not take now is confirmed later, not published again."""
        self._unconfirmed += published
        self._ledger.confirm(self._unconfirmed)
        self._unconfirmed.clear()

    def _not_published(self, slot: Slot, epoch: Epoch, exc: Exception) -> None:
        log(
            Event.SLOT_PUBLISH_FAILED,
            entry=slot.entry,
            due_at=slot.due_at.isoformat(),
            epoch=epoch,
            reason=str(exc),
        )
        wait_s, is_brokers_fault = RETRY_MOST_S, self._is_brokers_fault(exc)
        if is_brokers_fault:
            self._is_blocked = True
            wait_s, self._retry_s = self._retry_s, min(2 * self._retry_s, RETRY_MOST_S)
        at = clock.monotonic_s() + wait_s * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        # An entry that fails more often than that must not put the sweep off for ever.
        self._sweep_at = at if self._sweep_at is None or self._is_blocked else min(self._sweep_at, at)
        if not is_brokers_fault:
            self._ledger.note_fault(slot, str(exc))

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
        }
        message.options = {**entry.options, "task_id": slot.task_id(self._namespace), "headers": named}
        return message


def _chunks(wanted: Sequence[Due]) -> Iterator[Sequence[Due]]:
    chunk: list[Due] = []
    rows = 0
    for due in wanted:
        needs = len(due.owed.missed) + (due.owed.send is not None)
        if chunk and (len(chunk) >= CHUNK or rows + needs > ROWS):
            yield chunk
            chunk, rows = [], 0
        chunk.append(due)
        rows += needs
    if chunk:
        yield chunk


def _may_wait(entry: ScheduleEntry) -> bool:
    """Whether a worker may rightly not start the entry's message yet, or never."""
    task = entry.app.tasks.get(entry.task)
    if getattr(task, "expires", None) is not None or getattr(task, "rate_limit", None) is not None:
        return True
    return bool(entry.options.keys() & WAITS)


def _is_bare(entry: ScheduleEntry) -> bool:
    """Whether the entry's task is known here, and has no run guard: nothing would drop a further message."""
    task = entry.app.tasks.get(entry.task)
    return task is not None and not getattr(task, "run_guard", None)


def _because(reason: str, fault: str) -> str:
    return f"{reason}: {fault}" if fault else reason


def _missed(due: Due) -> list[Missed]:
    reason = PASSED_OVER if due.owed.send else "older than the catch-up window"
    passed_over = [due.owed.passed_over] + [0] * len(due.owed.missed)
    return [Missed(Slot(at, due.name), reason, older) for at, older in zip(due.owed.missed, passed_over, strict=False)]


def _tell_claim(slot: Slot, outcome: Claim, epoch: Epoch) -> None:
    event = {
        Claim.CLAIMED: Event.SLOT_CLAIMED,
        Claim.ALREADY_CLAIMED: Event.SLOT_ALREADY_CLAIMED,
        Claim.FENCED: Event.SLOT_FENCED,
        Claim.TOO_OLD: Event.SLOT_TOO_OLD,
    }[outcome]
    log(event, entry=slot.entry, due_at=slot.due_at.isoformat(), epoch=epoch, outcome=outcome.value)


def _tell_missed(record: Missed, epoch: Epoch) -> None:
    slot = record.slot
    log(
        Event.SLOT_MISSED,
        entry=slot.entry,
        due_at=slot.due_at.isoformat(),
        epoch=epoch,
        reason=record.reason,
        passed_over=record.passed_over,
    )
