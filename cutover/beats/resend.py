"""Resend: what was published and no worker has started is sent once more, for a killed worker may have taken it along.

A worker that is killed can take a message with it that it has not acknowledged. The run guard makes it safe to send
another. All of it is here: what seems lost, the record, and when to look. See docs/adr/0010.
"""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from celery.beat import ScheduleEntry
from django.db.models import F, Max

from cutover import clock, models
from cutover.beats.agenda import Agenda
from cutover.beats.dispatcher import CHUNK, Dispatcher
from cutover.beats.publisher import Message, log_slot
from cutover.events import Event
from cutover.ledger import Ledger
from cutover.ledger.claims import slot_of
from cutover.ledger.database import outages, transaction
from cutover.ledger.fence import NO_QUESTIONS, FenceView
from cutover.schedules.messages import WAITS
from cutover.types import Slot, SlotState, Term


@dataclass(frozen=True, slots=True)
class Unstarted:
    """A published slot whose run has not started; ``resent`` times its message was sent once more.

    ``asked_at``: when its replay was asked for; of one that was never missed when it was due.
    """

    slot: Slot
    published_at: dt.datetime
    resent: int
    asked_at: dt.datetime


class Resend:
    """A leader's chore, four times in ``after``, which is how long a message may wait for a worker."""

    asks = NO_QUESTIONS

    def __init__(self, ledger: Ledger, dispatcher: Dispatcher, after: dt.timedelta) -> None:
        self._ledger, self._dispatcher, self._after = ledger, dispatcher, after
        self._due_at_s = 0.0

    def run(self, term: Term, fence: FenceView, agenda: Agenda) -> bool:
        """Send once more what seems lost, if it is time to look and all workers are guarded; False when fenced.

        Not while the broker takes nothing: each time that is recorded doubles the wait for the next.
        """
        now_s = clock.monotonic_s()
        if fence.guarded_since is None or now_s < self._due_at_s or not self._dispatcher.may_claim:
            return True
        self._due_at_s = now_s + self._after.total_seconds() / 4
        lost = self._lost(agenda, fence.guarded_since)
        if not lost:
            return True
        recorded = _record(self._ledger, term, [slot for _, slot in lost])
        if recorded is None:
            return False
        lost = [(entry, slot) for entry, slot in lost if slot in recorded]
        for _, slot in lost:
            log_slot(Event.SLOT_RESENT, slot, term.epoch)
        return not self._dispatcher.publish([Message(entry, slot, is_first=False) for entry, slot in lost], term).fenced

    def _lost(self, agenda: Agenda, guarded_since: dt.datetime) -> list[tuple[ScheduleEntry, Slot]]:
        """What no worker has started for ``after``, and then for twice as long each time.

        Left alone: an entry whose messages expire or are to wait, one whose task has no run guard (any more), one that
        this side does not have, and a slot older than its catch-up window (counted from its replay, if it had one). At
        most a chunk is sent at one look: what waits for a worker that is long away is no flood.
        """
        now = self._ledger.fence.now()
        return [
            (scheduled.entry, found.slot)
            for found in unstarted(self._ledger, guarded_since, now - self._after, now - agenda.longest_window())
            if (scheduled := agenda.find(found.slot.entry)) is not None
            and not _may_wait(scheduled.entry)
            and not _is_bare(scheduled.entry)
            and now - max(found.slot.due_at, found.asked_at) <= scheduled.rule.window
            and now - found.published_at >= self._after * 2**found.resent
        ][:CHUNK]


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


def unstarted(ledger: Ledger, since: dt.datetime, until: dt.datetime, due_after: dt.datetime) -> list[Unstarted]:
    """Slots due after ``due_after``, published in ``(since, until)``, whose messages seem to be lost; oldest first.

    No worker has started them, though one has started a slot that was published later; and a run of the same entry
    has been recorded since ``since``, so its workers have the run guard. ``due_after`` bounds what is read: one old
    slot that nobody ever started would have all that came after it read, at every poll.
    """
    slots = models.Slot.objects.using(ledger.alias).filter(published_at__gt=since)
    started = slots.filter(run_started_at__isnull=False)
    with outages(ledger.alias):
        waiting = slots.filter(state=SlotState.PUBLISHED, run_started_at=None, published_at__lt=until)
        found = list(waiting.filter(due_at__gt=due_after).order_by("due_at", "entry"))
        replayed = waiting.filter(due_at__lte=due_after, replay_asked_at__gt=due_after)
        found += replayed.order_by("due_at", "entry")
        if not found:
            return []
        first = min(row.replay_asked_at or row.due_at for row in found)
        later = started.filter(due_at__gte=first).aggregate(at=Max("published_at"))["at"] or since
        overtaken = [row for row in found if row.published_at < later]
        guarded = {name for name in {row.entry for row in overtaken} if started.filter(entry=name).exists()}
    return [
        Unstarted(slot_of(row), row.published_at, row.resent, row.replay_asked_at or row.due_at)
        for row in overtaken
        if row.entry in guarded
    ]


def _record(ledger: Ledger, term: Term, slots: Iterable[Slot]) -> set[Slot] | None:
    """Record that these published slots' messages are to be sent once more, but for paused ones; None when fenced."""
    rows = models.Slot.objects.using(ledger.alias).filter(run_started_at=None)
    with transaction(ledger.alias):
        fence = ledger.fence.held_for(term)
        if fence is None:
            return None
        paused = ledger.pauses.read_locked(fence)
        recorded = {slot for slot in slots if not paused.holds(slot.entry)}
        for slot in recorded:
            again = rows.filter(entry=slot.entry, due_at=slot.due_at)
            again.update(resent=F("resent") + 1, published_at=ledger.fence.now())
    return recorded
