"""Messages of scheduled tasks that name no slot, and no beat: who sends them, and whether when a slot is due.

Below celery 5.7 a beat's message looks like a ``.delay()``, whatever the worker's own celery. What can be seen is how
often an origin sends a task, and when. Any other task pays one look-up in a set. What is scheduled is the worker's own
code schedule, and what the database has: it is read at most once a minute, and by a process that asks it anyway.
NOT promised: that every such message is counted; none is held up, or fails, for the sake of a number.
"""

import datetime as dt
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from celery import Celery, schedules
from celery.schedules import BaseSchedule
from django_celery_beat.models import PeriodicTask

from cutover import clock
from cutover.conf import Config
from cutover.errors import LedgerUnavailable
from cutover.ledger import Ledger
from cutover.ledger.database import outages
from cutover.schedules import project, timetable
from cutover.types import SentBy, Slotless
from cutover.workers import unmanaged

REFRESH_S: Final = 60.0
"""How soon a worker process hears of a row or the operator's word; and asks again where the database gave no answer."""
COUNT_EVERY_S: Final = 0.5
"""A process writes at most this often for one task of one origin; messages in between are counted with the next."""
MOST_KNOWN: Final = 1_000
"""How many senders a process knows before it forgets them."""
NEAR: Final = dt.timedelta(seconds=5)
"""How long after a slot's instant a beat's message may come to a worker that has nothing else to do."""


class ScheduledTasks:
    """What one worker process knows of scheduled tasks, and counts of their messages."""

    def __init__(self, app: Celery, config: Config, ledger: Ledger) -> None:
        self._app, self._config, self._ledger = app, config, ledger
        self._in_code: dict[str, dict[str, Mapping[str, Any]]] = {project.CLEANUP: {}}
        with suppress(Exception):  # gates and checks say what is wrong with a schedule; no task is to fail for it
            for name, entry in project.code_schedule(app, config).items():
                self._in_code.setdefault(entry["task"], {})[name] = entry
        self._in_rows: dict[str, dict[str, Mapping[str, Any]]] = {}
        self._scheduled, self._beats_alone = frozenset(self._in_code), config.sent_by_beat_alone
        self._refresh_at_s = 0.0
        self._waiting: dict[Slotless, int] = {}
        self._count_at_s: dict[Slotless, float] = {}

    def is_scheduled(self, task: str) -> bool:
        """Whether an entry sends the task, as far as this process has read."""
        return task in self._scheduled

    def is_sent_by_beats_alone(self, task: str) -> bool:
        """Whether a message of the task without a slot is an unmanaged beat's, for nobody else sends it."""
        if task in self._scheduled:
            self.refresh()
        return task in self._beats_alone

    def refresh(self) -> None:
        """Read what is scheduled in the database, and the operator's words; again after a minute."""
        if clock.monotonic_s() < self._refresh_at_s:
            return
        self._refresh_at_s = clock.monotonic_s() + REFRESH_S
        self._in_rows.clear()
        with suppress(LedgerUnavailable), outages(self._config.database):
            rows = PeriodicTask.objects.using(self._config.database).filter(enabled=True)
            self._scheduled = frozenset(self._in_code).union(rows.values_list("task", flat=True).distinct())
            said = self._ledger.senders.sent_by().items()
            named = {task for task, sent_by in said if sent_by is SentBy.BEATS_ALONE}
            self._beats_alone = self._config.sent_by_beat_alone | named

    def count(self, message: unmanaged.Message) -> None:
        """Count a scheduled task's message that neither names a slot nor is marked as a beat's."""
        names = [message.row] if message.row else self._names(message)
        who = Slotless(message.task, names[0] if len(names) == 1 else "", message.sender.origin)
        if len(self._waiting) > MOST_KNOWN:
            self._waiting.clear()  # of origins that are long gone
            self._count_at_s.clear()
        self._waiting[who] = self._waiting.get(who, 0) + 1
        now_s = clock.monotonic_s()
        if now_s < self._count_at_s.get(who, 0.0):
            return
        self._count_at_s[who] = now_s + REFRESH_S  # where the database, or a project's own schedule, fails
        with suppress(Exception):  # no task is to fail for the sake of a number
            self._write(who, message)
            self._waiting[who], self._count_at_s[who] = 0, now_s + COUNT_EVERY_S

    def _write(self, who: Slotless, message: unmanaged.Message) -> None:
        # What is judged by the ledger's clock goes by it here too.
        message = replace(message, seen_at=self._ledger.fence.read_and_correct(message.seen_at))
        before = self._ledger.senders.last_seen_at(who)
        entries = unmanaged.entries_of(message, self._app, self._config)
        slots = max((slots_at(schedule, message.seen_at, before) for _, schedule in entries), default=0)
        waiting = self._waiting[who]
        self._ledger.senders.count(who, waiting, waiting if waiting <= slots else 0, message.seen_at)

    def _names(self, message: unmanaged.Message) -> list[str]:
        """The entries that send such a message; of a retired code schedule, the rows, as read in the last minute."""
        if found := _senders(self._in_code.get(message.task, {}), message):
            return found
        with suppress(Exception):  # as in `count`
            if message.task not in self._in_rows:
                self._in_rows[message.task] = unmanaged.row_entries(self._config, message.task)
        return _senders(self._in_rows.get(message.task, {}), message)


def _senders(entries: Mapping[str, Mapping[str, Any]], message: unmanaged.Message) -> list[str]:
    return [name for name, entry in entries.items() if unmanaged.sends(entry, message)]


def slots_at(schedule: BaseSchedule, seen_at: dt.datetime, before: dt.datetime | None) -> int:
    """How many messages a beat may have sent by ``seen_at``, since ``before``; 0 where it is no slot's instant. Pure.

    An interval's slots are as far from the message ``before`` as beats are; a crontab's are where the clock says.
    """
    if isinstance(schedule, schedules.schedule):
        every: dt.timedelta = schedule.run_every
        steps = round((seen_at - before) / every) if before and every else 0
        off = abs(seen_at - (before or seen_at) - steps * every)
        return steps if off <= min(unmanaged.EARLY, every / 10) else 0
    due_at = unmanaged.latest(timetable.timetable(schedule), seen_at + unmanaged.EARLY)
    return int(due_at is not None and seen_at - due_at <= NEAR)
