"""The agenda: which entries of a schedule are due, and when the next one will be; in memory, ordered by time.

It is kept by leaders and standbys alike, so that a standby that takes over begins at once, however many entries there
are. Nothing leaves it for being read: an entry moves on only when its slot is recorded.
"""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import count
from typing import Final

from celery.beat import ScheduleEntry

from cutover.conf import CatchUpRule
from cutover.events import Event, log
from cutover.models import NAME_LENGTH
from cutover.schedules import timetable
from cutover.schedules.due import Owed, next_due, owed
from cutover.schedules.fingerprint import fingerprint as fingerprint_of
from cutover.schedules.timetable import Timetable
from cutover.types import UNLIMITED, CatchUp, Cursor, EntryName, Limits

_INSTANT: Final = dt.timedelta(microseconds=1)
_ASK_AGAIN: Final = dt.timedelta(minutes=1)
"""When a schedule that failed to answer is asked again."""
_A_MOMENT: Final = dt.timedelta(seconds=1)
"""When one is asked that failed to answer before, and answers now that nothing is due yet."""
_SLACK: Final = 100
"""How many events of earlier turns a small agenda may keep."""


@dataclass(slots=True)
class _Item:
    entry: ScheduleEntry
    fingerprint: str
    table: Timetable
    rule: CatchUpRule
    limits: Limits
    standing: Cursor
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """An entry with slots due: what to send, and what to record as missed."""

    name: EntryName
    entry: ScheduleEntry
    owed: Owed


class Agenda:
    """The schedule of one side, with each entry's standing."""

    def __init__(self) -> None:
        self._items: dict[EntryName, _Item] = {}
        self._heap: list[tuple[dt.datetime, int, EntryName]] = []
        self._turns = count(1)

    def __len__(self) -> int:
        return len(self._items)

    def entry(self, name: EntryName) -> ScheduleEntry | None:
        """The entry of that name; None when the schedule has none."""
        item = self._items.get(name)
        return item.entry if item else None

    def window(self, name: EntryName) -> dt.timedelta:
        """How old a slot of that entry may be to be still sent; KeyError when the schedule has none."""
        return self._items[name].rule.window

    def longest_window(self) -> dt.timedelta:
        """How old a slot of any entry may be to be still sent; nothing where the schedule is empty."""
        return max((item.rule.window for item in self._items.values()), default=dt.timedelta(0))

    def fingerprints(self) -> dict[EntryName, str]:
        """What each entry's schedule means, as the ledger remembers it."""
        return {name: item.fingerprint for name, item in self._items.items()}

    def limits(self) -> dict[EntryName, Limits]:
        """The limits of each entry that has any."""
        return {name: item.limits for name, item in self._items.items() if item.limits != UNLIMITED}

    def load(
        self, entries: Mapping[EntryName, tuple[ScheduleEntry, CatchUpRule, Limits]], now: dt.datetime
    ) -> Set[EntryName]:
        """Replace the schedule. Entries that stay keep their standing; new ones stand at ``now`` until settled.

        Returns the names of the new ones.
        """
        before, self._items, self._heap = self._items, {}, []
        for name, (entry, rule, limits) in entries.items():
            old = before.get(name)
            standing = old.standing if old else Cursor(None, now)
            try:
                if len(name) > NAME_LENGTH:
                    raise ValueError(f"its name is longer than {NAME_LENGTH} characters")
                fingerprint = fingerprint_of(entry.schedule)
                table = timetable.timetable(entry.schedule)
            except Exception as exc:  # a schedule of the project's own making; the others must go on
                log(Event.ENTRY_FAILED, entry=name, reason=f"it is left out: {exc}")
                continue
            self._items[name] = _Item(entry, fingerprint, table, rule, limits, standing)
            self._enter(name)
        return self._items.keys() - before.keys()

    def settle(self, last: Mapping[EntryName, dt.datetime], eligible_since: Mapping[EntryName, dt.datetime]) -> None:
        """Take over what the ledger knows: each entry's latest slot, and since when slots are owed to it."""
        for name in last.keys() | eligible_since.keys():
            item = self._items.get(name)
            if item is None or (name not in last and eligible_since[name] == item.standing.eligible_since):
                continue
            latest = max(filter(None, (item.standing.last, last.get(name))), default=None)
            standing = Cursor(latest, eligible_since.get(name, item.standing.eligible_since))
            if standing != item.standing:
                item.standing = standing
                self._enter(name)

    def unknown(self, runs: Mapping[EntryName, dt.datetime]) -> dict[EntryName, dt.datetime]:
        """Those of these last runs that are later than the latest slot of their entry."""
        return {
            name: at
            for name, at in runs.items()
            if (item := self._items.get(name)) and (item.standing.last is None or at > item.standing.last)
        }

    def since_last(self, instants: Mapping[EntryName, dt.datetime]) -> dict[EntryName, dt.datetime]:
        """These instants, or the latest slot of their entry where that is later."""
        found = {}
        for name, at in instants.items():
            item = self._items.get(name)
            found[name] = max(at, item.standing.last) if item and item.standing.last else at
        return found

    def record(self, name: EntryName, due_at: dt.datetime) -> None:
        """The slot at ``due_at`` is in the ledger: go on from it."""
        self.settle({name: due_at}, {})

    def drop(self, names: Iterable[EntryName]) -> None:
        """Leave these entries out until a schedule is loaded that has them."""
        for name in names:
            self._items.pop(name, None)

    def due(self, now: dt.datetime, misfire_grace: dt.timedelta) -> Iterator[Due]:
        """Every entry with slots due at ``now``, longest due first. See ``slots.owed`` for ``misfire_grace``."""
        taken: list[tuple[dt.datetime, int, EntryName]] = []
        try:
            while self._heap and self._heap[0][0] <= now:
                event = heapq.heappop(self._heap)
                item = self._items.get(event[2])
                if item is None or item.turn != event[1]:
                    continue
                try:
                    found = _owed(item, now, misfire_grace)
                except Exception as exc:  # as in `load`
                    log(Event.ENTRY_FAILED, entry=event[2], reason=f"its slots cannot be told: {exc}")
                    taken.append((now + _ASK_AGAIN, *event[1:]))
                    continue
                if found.send is None and not found.missed:  # it failed to say when it is due, and says now: not yet
                    taken.append((now + _A_MOMENT, *event[1:]))
                    continue
                taken.append(event)
                yield Due(event[2], item.entry, found)
        finally:
            for event in taken:
                heapq.heappush(self._heap, event)

    def next_at(self) -> dt.datetime | None:
        """When the next entry falls due (perhaps in the past); None when none will."""
        while self._heap:
            due_at, turn, name = self._heap[0]
            item = self._items.get(name)
            if item is not None and item.turn == turn:
                return due_at
            heapq.heappop(self._heap)
        return None

    def _enter(self, name: EntryName) -> None:
        item = self._items[name]
        item.turn = next(self._turns)
        standing = within(item.limits, item.standing, item.table)
        try:
            due_at = next_due(item.table, standing)
        except Exception:  # told by `due`, which then asks again
            due_at = standing.origin
        if due_at is None or (item.limits.not_after is not None and due_at >= item.limits.not_after):
            return
        heapq.heappush(self._heap, (due_at, item.turn, name))
        if len(self._heap) > 2 * len(self._items) + _SLACK:
            self._tidy()

    def _tidy(self) -> None:
        """Forget the events of earlier turns: a standby only ever adds to them."""
        self._heap = [event for event in self._heap if (i := self._items.get(event[2])) and i.turn == event[1]]
        heapq.heapify(self._heap)


def _owed(item: _Item, now: dt.datetime, misfire_grace: dt.timedelta) -> Owed:
    standing = within(item.limits, item.standing, item.table)
    rule, end = item.rule, item.limits.not_after
    if end is None or now < end:
        return owed(item.table, standing, now, rule.policy, rule.window, misfire_grace)
    # It may be sent no more: what fell due before its end and was not sent then is missed, however young.
    return owed(item.table, standing, end - _INSTANT, CatchUp.NONE, rule.window, -_INSTANT)


def within(limits: Limits, standing: Cursor, table: Timetable) -> Cursor:
    """Where an entry stands within its limits.

    Nothing is owed from before ``not_before``; an interval that never ran begins exactly then.
    """
    if limits.not_before is None or standing.eligible_since >= limits.not_before:
        return standing
    eligible_since = limits.eligible_since(standing.eligible_since)
    if standing.last is None and (step := timetable.interval(table)) is not None:
        return Cursor(limits.not_before - step, eligible_since)
    return Cursor(standing.last, eligible_since)
