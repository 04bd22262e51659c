"""What the ledger says of a period, as records: by entry, by time, and the slots that stand out."""

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from cutover.observe.report.delays import Delays
from cutover.observe.report.expressions import Fate
from cutover.observe.slot import Life
from cutover.types import EntryName, Side

SHOWN: Final = 50
"""How many entries have a lane and a row, and how many slots of a kind are listed; the others are counted."""
_BUCKETS: Final = 240
_WIDTHS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400)


@dataclass(frozen=True, slots=True)
class Period:
    """What was asked for, from ``asked_since`` on; ``since``: what of that the ledger has; in buckets of ``bucket_s``.

    ``begin``: where the first bucket does, in seconds since 1970.
    """

    asked_since: dt.datetime
    since: dt.datetime
    until: dt.datetime
    begin: int
    bucket_s: int

    @property
    def buckets(self) -> int:
        """How many there are."""
        return (int(self.until.timestamp()) - self.begin) // self.bucket_s + 1

    def place(self, at: dt.datetime) -> float:
        """Where an instant is, in buckets from the first one's beginning."""
        return (at.timestamp() - self.begin) / self.bucket_s


def period(asked_since: dt.datetime, since: dt.datetime, until: dt.datetime) -> Period:
    """The period with buckets of a round width, few enough to draw. Pure."""
    length_s = (until - since).total_seconds()
    width = next((width for width in _WIDTHS_S if length_s <= width * (_BUCKETS - 1)), -(-int(length_s) // _BUCKETS))
    return Period(asked_since, since, until, int(since.timestamp()) // width * width, width)


@dataclass(frozen=True, slots=True)
class EntryFigures:
    """One entry: how many slots of each fate, on which sides, how late its runs began and how long they took.

    ``passed_over``: how many of the missed ones have no row of their own, as the oldest of their gap counts them.
    ``late``: published later than status calls overdue. ``started``: with percentiles of the first ``SHOWN`` entries
    alone. A duration is from the first attempt's start to the last one's
    end; None where no end is recorded.
    """

    entry: EntryName
    sides: Sequence[Side] = ()
    fates: Mapping[Fate, int] = field(default_factory=dict)
    passed_over: int = 0
    late: int = 0
    deduplicated: int = 0
    published_longest_ms: int | None = None
    started: Delays = field(default_factory=Delays)
    duration_mean_ms: int | None = None
    duration_longest_ms: int | None = None

    @property
    def slots(self) -> int:
        """How many it has in the period."""
        return sum(self.fates.values())

    @property
    def is_well(self) -> bool:
        """Whether nothing of it needs a look."""
        return not any(map(self.fates.get, (Fate.MISSED, Fate.UNSENT, Fate.NOT_STARTED, Fate.FAILED))) and not self.late


@dataclass(frozen=True, slots=True)
class Cell:
    """The slots of one entry in one bucket that one side has sent and that have one fate."""

    entry: EntryName
    bucket: int
    side: Side
    fate: Fate
    slots: int
    late: int
    deduplicated: int


@dataclass(frozen=True, slots=True)
class Moment:
    """All slots of one bucket."""

    bucket: int
    published: Delays
    started: Delays


@dataclass(frozen=True, slots=True)
class Listed:
    """The slots of one kind: how many there are, and the latest of them, of the entries that have most."""

    kind: str
    total: int
    slots: Sequence[Life]


@dataclass(frozen=True)
class Figures:
    """Everything that was counted. ``entries``: the worst first; ``cells``: of the first ``SHOWN`` of them."""

    period: Period
    entries: Sequence[EntryFigures]
    cells: Sequence[Cell]
    moments: Sequence[Moment]
    published: Sequence[int]
    started: Sequence[int]
    listed: Sequence[Listed]

    def of(self, *fates: Fate) -> int:
        """How many slots have one of those fates."""
        return sum(self._fates[each] for each in fates)

    @cached_property
    def _fates(self) -> Counter[Fate]:
        found = Counter[Fate]()
        for one in self.entries:
            found.update(one.fates)
        return found

    @property
    def slots(self) -> int:
        """How many there are."""
        return sum(one.slots for one in self.entries)

    @property
    def passed_over(self) -> int:
        """How many of the missed ones have no row."""
        return sum(one.passed_over for one in self.entries)

    @property
    def late(self) -> int:
        """How many were published late."""
        return sum(one.late for one in self.entries)

    @property
    def deduplicated(self) -> int:
        """How many further messages were dropped."""
        return sum(one.deduplicated for one in self.entries)
