"""The agenda: which entries of a schedule are due, and when the next one will be; in memory, ordered by time.

Leaders and standbys keep it alike, so that a standby that takes over begins at once, however many entries there are.
Nothing leaves it for being read: an entry moves on only when its slot is recorded.
"""

import datetime as dt
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Final

from celery.beat import ScheduleEntry

from cutover.beats.backlog import Backlogs
from cutover.beats.item import (
    MISFIRE_GRACE,
    Item,
    cached,
    in_common,
    is_every_slot_due,
    next_of_backlog,
    owed_now,
    unsure_until,
)
from cutover.beats.sources import ScheduledEntry
from cutover.beats.timers import Timer, Timers
from cutover.events import Event, log
from cutover.foreign import text_of
from cutover.ledger.pauses import NOTHING_PAUSED, Paused
from cutover.renames import NO_RENAMES, Renames
from cutover.schedules.due import Backlog, Owed, next_due, within
from cutover.schedules.timetable import once
from cutover.types import Cursor, EntryName

_ASK_AGAIN: Final = dt.timedelta(minutes=1)
"""When a schedule that failed to answer is asked again."""
_A_MOMENT: Final = dt.timedelta(seconds=1)
"""When an entry is asked again that was taken for due after it had failed, and is not due."""
_EVER: Final = dt.datetime.min.replace(tzinfo=dt.UTC)
_SLACK: Final = 100
"""How many outdated timers a small agenda may keep."""


@dataclass(frozen=True, slots=True)
class Due:
    """An entry with slots due: what to send, and what to record as missed.

    ``unsure_until``: of what is missed up to then nobody knows whether the beat before has sent it; None: it was not.
    """

    name: EntryName
    entry: ScheduleEntry
    owed: Owed
    unsure_until: dt.datetime | None = None

    @property
    def goes_on_from(self) -> dt.datetime | None:
        """The slot from which the entry goes on once this is recorded; None where there is none."""
        return self.owed.send or max((*self.owed.missed, *self.owed.beyond), default=None)


class Agenda:
    """The schedule of one side, with each entry's cursor."""

    def __init__(self, renames: Renames = NO_RENAMES) -> None:
        self._renames = renames
        self._items: dict[EntryName, Item] = {}
        self._timers = Timers(self._is_current)
        self._taken: list[Timer] = []
        self._held: list[Timer] = []
        self._backlogs = Backlogs(self._is_current, self._upcoming)
        self.paused: Paused = NOTHING_PAUSED
        """Of which entries nothing is due, as far as is known here."""
        self._versions = count(1)
        self._latest_cursor = _EVER
        self._ended: dict[EntryName, dt.datetime] = {}
        self._next: dict[Hashable, dt.datetime | None] = {}

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
        """Celery's entry of that name, or that was of that name; None when the schedule has none."""
        found = self.find(name)
        return found.entry if found else None

    def find(self, name: EntryName) -> ScheduledEntry | None:
        """The record of the entry of that name, or that was of that name; None when the schedule has none."""
        present = self._renames.present(name, self._items)
        return None if present is None else self._items[present].scheduled

    def longest_window(self) -> dt.timedelta:
        """How old a slot of any entry may be to be still sent; nothing where the schedule is empty."""
        return max((item.scheduled.rule.window for item in self._items.values()), default=dt.timedelta(0))

    def load(self, loaded: Mapping[EntryName, ScheduledEntry], now: dt.datetime) -> Set[EntryName]:
        """Replace the schedule. Entries that stay keep their cursor; new ones are eligible since ``now`` until settled.

        Returns the names of the new ones.
        """
        self._timers.clear()
        self._held.clear()
        self._backlogs.waiting.clear()
        return self.change(loaded, self._items.keys() - loaded.keys(), now)

    def change(
        self, changed: Mapping[EntryName, ScheduledEntry], gone: Iterable[EntryName], now: dt.datetime
    ) -> Set[EntryName]:
        """As ``load``, of a schedule that is as it was but for ``changed`` entries, and without those that are gone."""
        self.drop(gone)
        new = changed.keys() - self._items.keys()
        for name, scheduled in changed.items():
            old = self._items.get(name)
            self._items[name] = Item(scheduled, old.cursor if old else Cursor(None, now))
            self._enter(name)
        self._latest_cursor = max(self._latest_cursor, now)
        return new

    def settle(self, last: Mapping[EntryName, dt.datetime], eligible_since: Mapping[EntryName, dt.datetime]) -> None:
        """Take over what the ledger knows: each entry's latest slot, and since when it is eligible."""
        for name in last.keys() | eligible_since.keys():
            item = self._items.get(name)
            if item is None or (name not in last and eligible_since[name] == item.cursor.eligible_since):
                continue
            latest = max(filter(None, (item.cursor.last, last.get(name))), default=None)
            cursor = Cursor(latest, eligible_since.get(name, item.cursor.eligible_since))
            if cursor != item.cursor:
                if cursor.eligible_since != item.cursor.eligible_since:
                    item.upcoming.clear()
                item.cursor = cursor
                self._latest_cursor = max(self._latest_cursor, cursor.origin, cursor.eligible_since)
                self._enter(name)

    def ahead(self, now: dt.datetime) -> Set[EntryName]:
        """The entries whose cursor is ahead of ``now``, none of which would be due before that has passed."""
        if self._latest_cursor <= now:
            return frozenset()
        return {n for n, item in self._items.items() if max(item.cursor.origin, item.cursor.eligible_since) > now}

    def set_back(self, names: Iterable[EntryName], now: dt.datetime) -> None:
        """Forget these entries' latest slots: which one that is by ``now`` the ledger is to say."""
        for name in names:
            item = self._items[name]
            item.cursor = Cursor(None, min(item.cursor.eligible_since, now))
            item.upcoming.clear()
            self._enter(name)
        self._latest_cursor = now

    def record(self, name: EntryName, due_at: dt.datetime) -> None:
        """The slot at ``due_at`` is in the ledger: go on from it."""
        self.settle({name: due_at}, {})

    def due_again_from(self, name: EntryName, now: dt.datetime) -> dt.datetime | None:
        """Where an entry stands that is due (again) at ``now``; None for one that is not."""
        item = self._items.get(name)
        return None if item is None or item.next_at is None or item.next_at > now else item.cursor.origin

    def drop(self, names: Iterable[EntryName]) -> None:
        """Leave these entries out until a schedule is loaded that has them."""
        for name in names:
            self._items.pop(name, None)
            self._ended.pop(name, None)

    def pause(self, paused: Paused) -> None:
        """Hold back from ``due`` what is paused, and let all else go that was held back; nothing is forgotten."""
        self.paused = paused
        held, self._held = [*self._held, *self._backlogs.waiting.take(paused.holds)], []
        for timer in filter(self._is_current, held):
            name = timer[2]
            if paused.holds(name):
                self._held.append(timer)
            else:
                self._items[name].upcoming.clear()  # how many are caught up at most counts from now on
                self._timers.add(timer)

    def ended(self, now: dt.datetime) -> Set[EntryName]:
        """The entries that will never fall due again: their one slot is settled, or no slot comes before their end.

        None is named again after ``forget_ended``, until something about it changes.
        """
        return {name for name, since in self._ended.items() if since <= now}

    def forget_ended(self, names: Iterable[EntryName]) -> None:
        """Leave these entries out of ``ended``: somebody has dealt with them."""
        for name in names:
            self._ended.pop(name, None)

    def due(self, now: dt.datetime, misfire_grace: dt.timedelta) -> Iterator[Due]:
        """Every entry with slots due at ``now``, longest due first, but for what is paused.

        ``misfire_grace``: see ``due.owed``.
        Each is worked out when it is asked for, so that the first may be sent before the last is known; what has been
        recorded meanwhile moves on. Last come slots of backlogs, the oldest first, as many as may be sent by now.
        """
        self._put_back()  # what a round took that an error has ended
        taken = self._taken
        alike: dict[Hashable, Owed] = {}
        alike_behind: dict[Hashable, Backlog] = {}
        begun: list[Timer] = []
        try:
            while (timer := self._timers.first()) is not None and timer[0] <= now:
                _, version, name = self._timers.pop()
                if self.paused.holds(name):
                    self._held.append(timer)
                    continue
                item = self._items[name]
                try:
                    if is_every := is_every_slot_due(item, now):
                        found = next_of_backlog(item, now, alike_behind)
                    else:
                        found = cached(alike, in_common(item), partial(owed_now, item, now, misfire_grace))
                except Exception as exc:  # as in `load`
                    log(Event.ENTRY_FAILED, entry=name, reason=f"its slots are not known: {text_of(exc)}")
                    taken.append((now + _ASK_AGAIN, version, name))
                    continue
                if is_every and item.upcoming and found.send is None:  # what is missed is recorded with what is sent
                    begun.append(timer)
                elif is_every and len(item.upcoming) > 1:
                    self._backlogs.waiting.add((item.upcoming[0], version, name))
                    continue
                if found.send is None and not (found.missed or found.beyond):
                    # It failed to say when it is due, and says now: not yet.
                    taken.append((now + _A_MOMENT, version, name))
                    continue
                taken.append(timer)
                yield Due(name, item.scheduled.entry, found, unsure_until(item, found))
            for name, at, is_last in self._backlogs.due(now, begun, taken):
                is_past_slot = not is_last or now - at > MISFIRE_GRACE
                if (entry := self.entry(name)) is not None:  # it may have left the schedule meanwhile
                    yield Due(name, entry, Owed(at, is_past_slot=is_past_slot))
        finally:
            if taken is self._taken:
                self._put_back()

    def _is_current(self, timer: Timer) -> bool:
        """Whether it is its entry's present one."""
        _, version, name = timer
        return (item := self._items.get(name)) is not None and item.version == version

    def _upcoming(self, name: EntryName, now: dt.datetime) -> Sequence[dt.datetime]:
        """The slots of a backlog that are to be sent; none where its end has come, or the first is too old by now."""
        item = self._items[name]
        is_good = (
            is_every_slot_due(item, now) and item.upcoming and now - item.upcoming[0] <= item.scheduled.rule.window
        )
        return item.upcoming if is_good else ()

    def _put_back(self) -> None:
        """Have what was taken to be read, and was not recorded, fall due again."""
        taken, self._taken = self._taken, []
        for timer in filter(self._is_current, taken):
            self._timers.add(timer)

    def next_at(self) -> dt.datetime | None:
        """When the next entry falls due (perhaps in the past); None when none will."""
        self._put_back()
        first = self._timers.first()
        return min(filter(None, (first and first[0], self._backlogs.next_at())), default=None)

    def _enter(self, name: EntryName) -> None:
        item = self._items[name]
        item.version = next(self._versions)
        while item.upcoming and item.cursor.last is not None and item.upcoming[0] <= item.cursor.last:
            item.upcoming.popleft()
        table, limits = item.scheduled.timetable, item.scheduled.limits
        cursor = within(limits, item.cursor, table)
        try:
            due_at = cached(self._next, in_common(item), lambda: next_due(table, cursor))
        except Exception:  # logged by `due`, which then asks again
            due_at = cursor.origin
        self._ended.pop(name, None)
        item.next_at = None
        if due_at is not None and once(table) is not None and limits.not_before is not None:
            due_at = max(due_at, limits.not_before)  # as the stock scheduler sends it
        if due_at is None or (limits.not_after is not None and due_at >= limits.not_after):
            self._ended[name] = _EVER if due_at is None or limits.not_after is None else limits.not_after
            return
        item.next_at = due_at
        self._timers.add((due_at, item.version, name))
        if len(self._timers) > 2 * len(self._items) + _SLACK:  # a standby only ever adds to them
            self._timers.tidy()
            self._backlogs.waiting.tidy()
