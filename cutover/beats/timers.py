"""Timers: when each entry is looked at next, the earliest first.

An entry whose state changes is given a new timer, under a new version. The old one stays in the heap, where finding it
would cost more than leaving it, and is passed over when it comes up.
"""

import datetime as dt
import heapq
from collections.abc import Callable
from typing import TypeAlias

from cutover.types import EntryName

Timer: TypeAlias = tuple[dt.datetime, int, EntryName]
"""When an entry is looked at, its version as of then, and its name: only the timer of the present version counts.

A plain tuple, which the garbage collector leaves alone: with a class of its own a large schedule takes twice as long
to load.
"""


class Timers:
    """Timers by time. ``is_current``: whether one is its entry's present one."""

    def __init__(self, is_current: Callable[[Timer], bool]) -> None:
        self._is_current = is_current
        self._heap: list[Timer] = []

    def __len__(self) -> int:
        """How many there are, outdated ones among them."""
        return len(self._heap)

    def add(self, timer: Timer) -> None:
        """One more."""
        heapq.heappush(self._heap, timer)

    def first(self) -> Timer | None:
        """The earliest that counts; None where none does."""
        while self._heap and not self._is_current(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None

    def pop(self) -> Timer:
        """Take out the earliest, which ``first`` has given."""
        return heapq.heappop(self._heap)

    def take(self, is_wanted: Callable[[EntryName], bool]) -> list[Timer]:
        """Take out those of these entries."""
        taken = [timer for timer in self._heap if is_wanted(timer[2])]
        if taken:
            self._replace([timer for timer in self._heap if not is_wanted(timer[2])])
        return taken

    def clear(self) -> None:
        """Take out all."""
        self._heap = []

    def tidy(self) -> None:
        """Take out those that do not count."""
        self._replace(list(filter(self._is_current, self._heap)))

    def _replace(self, timers: list[Timer]) -> None:
        heapq.heapify(timers)
        self._heap = timers
