"""The agenda: which entries of a schedule are due, and when the next one will be; in memory, ordered by time.

Leaders and standbys keep it alike, so that a standby that takes over begins at once, however many entries there are.
Nothing leaves it for being read: an entry moves on only when its slot is recorded.
"""

import datetime as dt
import heapq
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import count
from typing import Final

from celery.beat import ScheduleEntry

from cutover.beats.sources import ScheduledEntry
from cutover.events import Event, log
from cutover.schedules.due import Owed, next_due, owed, within
from cutover.schedules.timetable import once
from cutover.types import CatchUp, Cursor, EntryName

MISFIRE_GRACE: Final = dt.timedelta(seconds=30)
"""Without catch-up, a slot this late is still sent: a busy leader is late, it has not been away."""
_INSTANT: Final = dt.timedelta(microseconds=1)
_ASK_AGAIN: Final = dt.timedelta(minutes=1)
"""When a schedule that failed to answer is asked again."""
_A_MOMENT: Final = dt.timedelta(seconds=1)
"""When an entry is asked again that was taken for due after it had failed, and is not due."""
_EVER: Final = dt.datetime.min.replace(tzinfo=dt.UTC)
_SLACK: Final = 100
"""How many outdated events a small agenda may keep."""


@dataclass(slots=True)
class _Item:
    """An entry and its cursor; of its events in the heap only that of the present ``version`` counts."""

    scheduled: ScheduledEntry
    cursor: Cursor
    version: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """An entry with slots due: what to send, and what to record as missed."""

    name: EntryName
    entry: ScheduleEntry
    owed: Owed

    @property
    def settled(self) -> dt.datetime | None:
        """The slot from which the entry goes on once this is recorded; None where there is none."""
        return self.owed.send or max(self.owed.missed, default=None)


class Agenda:
    """The schedule of one side, with each entry's cursor."""

    def __init__(self) -> None:
        self._items: dict[EntryName, _Item] = {}
        self._heap: list[tuple[dt.datetime, int, EntryName]] = []
        self._versions = count(1)
        self._newest = _EVER
        self._over: dict[EntryName, dt.datetime] = {}

    def __len__(self) -> int:
        return len(self._items)

    @property
    def scheduled(self) -> dict[EntryName, ScheduledEntry]:
        """The whole schedule."""
        return {name: item.scheduled for name, item in self._items.items()}

    @property
    def last_slots(self) -> dict[EntryName, dt.datetime]:
        """The latest slot of each entry that has one."""
        return {name: last for name, item in self._items.items() if (last := item.cursor.last) is not None}

    def entry(self, name: EntryName) -> ScheduleEntry | None:
        """The entry of that name; None when the schedule has none."""
        item = self._items.get(name)
        return item.scheduled.entry if item else None

    def window(self, name: EntryName) -> dt.timedelta:
        """How old a slot of that entry may be to be still sent; KeyError when the schedule has none."""
        return self._items[name].scheduled.rule.window

    def longest_window(self) -> dt.timedelta:
        """How old a slot of any entry may be to be still sent; nothing where the schedule is empty."""
        return max((item.scheduled.rule.window for item in self._items.values()), default=dt.timedelta(0))

    def load(self, loaded: Mapping[EntryName, ScheduledEntry], now: dt.datetime) -> Set[EntryName]:
        """Replace the schedule. Entries that stay keep their cursor; new ones are eligible since ``now`` until settled.

        Returns the names of the new ones.
        """
        before, self._items, self._heap = self._items, {}, []
        self._over.clear()
        for name, scheduled in loaded.items():
            old = before.get(name)
            self._items[name] = _Item(scheduled, old.cursor if old else Cursor(None, now))
            self._enter(name)
        self._newest = max(self._newest, now)
        return self._items.keys() - before.keys()

    def settle(self, last: Mapping[EntryName, dt.datetime], eligible_since: Mapping[EntryName, dt.datetime]) -> None:
        """Take over what the ledger knows: each entry's latest slot, and since when it is eligible."""
        for name in last.keys() | eligible_since.keys():
            item = self._items.get(name)
            if item is None or (name not in last and eligible_since[name] == item.cursor.eligible_since):
                continue
            latest = max(filter(None, (item.cursor.last, last.get(name))), default=None)
            cursor = Cursor(latest, eligible_since.get(name, item.cursor.eligible_since))
            if cursor != item.cursor:
                item.cursor = cursor
                self._newest = max(self._newest, cursor.origin, cursor.eligible_since)
                self._enter(name)

    def ahead(self, now: dt.datetime) -> Set[EntryName]:
        """The entries whose cursor is ahead of ``now``, none of which would be due before that has passed."""
        if self._newest <= now:
            return frozenset()
        return {n for n, item in self._items.items() if max(item.cursor.origin, item.cursor.eligible_since) > now}

    def set_back(self, names: Iterable[EntryName], now: dt.datetime) -> None:
        """Forget these entries' latest slots: which one that is by ``now`` the ledger is to say."""
        for name in names:
            item = self._items[name]
            item.cursor = Cursor(None, min(item.cursor.eligible_since, now))
            self._enter(name)
        self._newest = now

    def record(self, name: EntryName, due_at: dt.datetime) -> None:
        """The slot at ``due_at`` is in the ledger: go on from it."""
        self.settle({name: due_at}, {})

    def drop(self, names: Iterable[EntryName]) -> None:
        """Leave these entries out until a schedule is loaded that has them."""
        for name in names:
            self._items.pop(name, None)
            self._over.pop(name, None)

    def over(self, now: dt.datetime) -> Set[EntryName]:
        """The entries that will never fall due again: their one slot is settled, or their end has come and no slot is.

        What ``pass_by`` was told of is not named again, until something about it changes.
        """
        return {name for name, since in self._over.items() if since <= now}

    def pass_by(self, names: Iterable[EntryName]) -> None:
        """Somebody has dealt with these entries, which are over."""
        for name in names:
            self._over.pop(name, None)

    def due(self, now: dt.datetime, misfire_grace: dt.timedelta) -> Iterator[Due]:
        """Every entry with slots due at ``now``, longest due first. See ``due.owed`` for ``misfire_grace``."""
        taken: list[tuple[dt.datetime, int, EntryName]] = []
        try:
            while self._heap and self._heap[0][0] <= now:
                event = heapq.heappop(self._heap)
                item = self._items.get(event[2])
                if item is None or item.version != event[1]:
                    continue
                try:
                    found = _owed(item, now, misfire_grace)
                except Exception as exc:  # as in `load`
                    log(Event.ENTRY_FAILED, entry=event[2], reason=f"its slots are not known: {exc}")
                    taken.append((now + _ASK_AGAIN, *event[1:]))
                    continue
                if found.send is None and not found.missed:  # it failed to say when it is due, and says now: not yet
                    taken.append((now + _A_MOMENT, *event[1:]))
                    continue
                taken.append(event)
                yield Due(event[2], item.scheduled.entry, found)
        finally:
            for event in taken:
                heapq.heappush(self._heap, event)

    def next_at(self) -> dt.datetime | None:
        """When the next entry falls due (perhaps in the past); None when none will."""
        while self._heap:
            due_at, version, name = self._heap[0]
            item = self._items.get(name)
            if item is not None and item.version == version:
                return due_at
            heapq.heappop(self._heap)
        return None

    def _enter(self, name: EntryName) -> None:
        item = self._items[name]
        item.version = next(self._versions)
        table, limits = item.scheduled.timetable, item.scheduled.limits
        cursor = within(limits, item.cursor, table)
        try:
            due_at = next_due(table, cursor)
        except Exception:  # logged by `due`, which then asks again
            due_at = cursor.origin
        self._over.pop(name, None)
        if due_at is not None and once(table) is not None and limits.not_before is not None:
            due_at = max(due_at, limits.not_before)  # as the stock scheduler sends it
        if due_at is None or (limits.not_after is not None and due_at >= limits.not_after):
            self._over[name] = _EVER if due_at is None or limits.not_after is None else limits.not_after
            return
        heapq.heappush(self._heap, (due_at, item.version, name))
        if len(self._heap) > 2 * len(self._items) + _SLACK:
            self._tidy()

    def _tidy(self) -> None:
        """Forget outdated events: a standby only ever adds to them."""
        self._heap = [event for event in self._heap if (i := self._items.get(event[2])) and i.version == event[1]]
        heapq.heapify(self._heap)


def _owed(item: _Item, now: dt.datetime, misfire_grace: dt.timedelta) -> Owed:
    table, rule, end = item.scheduled.timetable, item.scheduled.rule, item.scheduled.limits.not_after
    cursor = within(item.scheduled.limits, item.cursor, table)
    if end is None or now < end:
        return owed(table, cursor, now, rule.policy, rule.window, misfire_grace)
    # It may be sent no more: what fell due before its end and was not sent then is missed, however young.
    return owed(table, cursor, end - _INSTANT, CatchUp.NONE, rule.window, -_INSTANT)
