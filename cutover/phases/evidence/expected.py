"""The slots of a timetable that were due, numbered in order; and which of them are absent, worked out from a tally.

After an outage some in a row are absent of most entries, and then nothing has to be looked for in the ledger.
"""

import datetime as dt
from array import array
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import Final

from cutover.phases.evidence.tally import EPOCH, Parts, Tally, microseconds, scattered
from cutover.schedules.timetable import Timetable, each, interval

_MICROSECOND: Final = dt.timedelta.resolution


class Expected:
    """Those of ``table`` from ``first`` on until ``end``, numbered from 0; 16 bytes each."""

    def __init__(self, table: Timetable, first: dt.datetime | None, end: dt.datetime) -> None:
        self._instants = array("q", _microseconds(table, first, end))
        # What is summed of all slots before each.
        self._checksums = array("q", accumulate(map(scattered, self._instants), initial=0))
        # The latest answers alone: after one outage the entries of a timetable ask for the same.
        self._rows = dict[tuple[Tally, range], range | None]()
        self._parts = dict[Parts, list[tuple[range, Tally]]]()

    def __len__(self) -> int:
        return len(self._instants)

    @property
    def all(self) -> range:
        """The numbers of all."""
        return range(len(self))

    def at(self, number: int) -> dt.datetime:
        """When that one was due."""
        return EPOCH + self._instants[number] * _MICROSECOND

    def following(self, after: dt.datetime) -> dt.datetime | None:
        """The first that was due later, if any."""
        number = self._until(after)
        return self.at(number) if number < len(self) else None

    def tally(self, some: range) -> Tally:
        """That of some in a row."""
        return Tally(len(some), self._checksums[some.stop] - self._checksums[some.start])

    def split(self, parts: Parts) -> list[tuple[range, Tally]]:
        """Which of them are due in each part, and their tally."""
        if parts not in self._parts:
            ends = [self._until(parts.end(part)) for part in range(parts.number)]
            numbers = [range(begin, end) for begin, end in zip([0, *ends], ends, strict=False)]
            self._parts = {parts: [(some, self.tally(some)) for some in numbers]}
        return self._parts[parts]

    def in_a_row(self, tally: Tally, among: range) -> range | None:
        """Which in a row, among those, have that tally; None where none have, or where more than these have."""
        if (tally, among) not in self._rows:
            slots, checksum = tally
            begins = range(among.start, among.stop - slots + 1) if slots > 0 else range(0)
            sums = self._checksums
            found = [begin for begin in begins if sums[begin + slots] - sums[begin] == checksum]
            self._rows = {(tally, among): range(found[0], found[0] + slots) if len(found) == 1 else None}
        return self._rows[tally, among]

    def _until(self, at: dt.datetime) -> int:
        """How many were due by then."""
        return bisect_right(self._instants, microseconds(at))


def _microseconds(table: Timetable, first: dt.datetime | None, end: dt.datetime) -> Iterable[int]:
    """The instants, in microseconds since 1970."""
    if first is not None and (every := interval(table)) is not None:
        return range(microseconds(first), microseconds(end) + 1, every // _MICROSECOND)
    return map(microseconds, each(table, first, end))
