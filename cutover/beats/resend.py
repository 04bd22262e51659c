"""Resend: what was published and no worker has started is sent once more, for a killed worker may have taken it along.

A worker that is killed can take a message with it that it has not acknowledged. The run guard makes it safe to send
another. All of it is here: what seems lost, the record, and when to look. See docs/adr/0010.
"""

from __future__ import annotations

import datetime as dt

from celery.beat import ScheduleEntry

from cutover import clock
from cutover.beats.agenda import Agenda
from cutover.beats.dispatcher import CHUNK, Dispatcher
from cutover.events import Event, log
from cutover.ledger.claims import Ledger
from cutover.ledger.fence import FenceView
from cutover.schedules.messages import WAITS
from cutover.types import Slot, Term


class Resend:
    """A leader's chore, four times in ``after``, which is how long a message may wait for a worker."""

    def __init__(self, ledger: Ledger, dispatcher: Dispatcher, after: dt.timedelta) -> None:
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._after = after
        self._due_at_s = 0.0

    def run(self, term: Term, fence: FenceView, agenda: Agenda) -> bool:
        """Send once more what seems lost, if it is time to look and all workers are guarded; False when fenced."""
        now_s = clock.monotonic_s()
        if fence.guarded_since is None or now_s < self._due_at_s:
            return True
        self._due_at_s = now_s + self._after.total_seconds() / 4
        lost = self._lost(agenda, fence.guarded_since)
        if not lost:
            return True
        if not self._ledger.resend(term, [slot for _, slot in lost]):
            return False
        for _, slot in lost:
            log(Event.SLOT_RESENT, entry=slot.entry, due_at=slot.due_at.isoformat(), epoch=term.epoch)
        self._dispatcher.publish(lost, term.epoch)
        return True

    def _lost(self, agenda: Agenda, guarded_since: dt.datetime) -> list[tuple[ScheduleEntry, Slot]]:
        """What no worker has started for ``after``, and then for twice as long each time.

        Left alone: an entry whose messages expire or are to wait, one whose task has no run guard (any more), one that
        this side does not have, and a slot older than its catch-up window. At most a chunk is sent at one look: what
        waits for a worker that is long away is no flood.
        """
        now = clock.now()
        return [
            (entry, found.slot)
            for found in self._ledger.unstarted(guarded_since, now - self._after, now - agenda.longest_window())
            if (entry := agenda.entry(found.slot.entry)) is not None
            and not _may_wait(entry)
            and not _is_bare(entry)
            and now - found.slot.due_at <= agenda.window(found.slot.entry)
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
