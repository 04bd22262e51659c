"""What a proof finds: slots that are not as they should be, how many are, and of which entries nothing is proved."""

import datetime as dt
import heapq
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, overload

from cutover.ledger.pauses import Pause
from cutover.phases.wording import instant
from cutover.schedules.timetable import Timetable
from cutover.types import EntryName

KEPT: Final = 1_000
"""How many findings of a kind are kept, with their reasons; of the others it is known how many there are."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One slot, and what is wrong with it or still awaited."""

    entry: EntryName
    due_at: dt.datetime
    reason: str

    def __str__(self) -> str:
        return f"{self.entry} due {instant(self.due_at)}: {self.reason}"


class Findings(Sequence[Finding]):
    """All findings of a kind, by their number; the first ones themselves."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self._number = 0

    def add(self, found: Finding) -> None:
        """One more."""
        self._number += 1
        if len(self.kept) < KEPT:
            self.kept.append(found)

    def __len__(self) -> int:
        return self._number

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> list[Finding]: ...
    def __getitem__(self, index: int | slice) -> Finding | list[Finding]:
        return self.kept[index]


class Why(StrEnum):
    """Why nothing is proved of an entry."""

    NOTHING_DUE = "nothing of it has fallen due since the switch"
    NOT_READ = "its row was changed a moment ago, and is read by the leader soon"
    NO_ROW = "it has no row: nothing sends it"
    DISABLED = "its row is disabled: nothing sends it"
    PAUSED = "all of it that fell due since the switch was kept back by a pause"
    WITHHELD = "of all that fell due since the switch the project's own scheduler or task sent no message"


@dataclass(slots=True)
class Evidence:
    """All findings after ``since``, up to ``until``, as of ``judged_at``. ``options``: each entry's overlay.

    ``proven``: how many slots of each entry are. ``unproven``: of the entries of which nothing is, why. ``upcoming``:
    timetable and next slot of each that falls due again. ``moved``: the entries that the cutover moves, of which each
    is to be proved; others have rows that it did not bring in. ``every``: those whose every slot counts.
    ``pauses``: those since then, the oldest first; ``kept_back``: how many slots of each entry are missed for one that
    was, ``withheld``: for which the project's own code chose to send nothing. Both are somebody's wish, and prove
    nothing.
    """

    since: dt.datetime
    until: dt.datetime
    judged_at: dt.datetime
    options: Mapping[EntryName, Mapping[str, Any]]
    moved: set[EntryName] = field(default_factory=set)
    others: set[EntryName] = field(default_factory=set)
    every: set[EntryName] = field(default_factory=set)
    proven: Counter[EntryName] = field(default_factory=Counter)
    deduplicated: int = 0
    failures: Findings = field(default_factory=Findings)
    pending: Findings = field(default_factory=Findings)
    unproven: dict[EntryName, Why] = field(default_factory=dict)
    upcoming: dict[EntryName, tuple[Timetable, dt.datetime]] = field(default_factory=dict)
    pauses: Sequence[Pause] = ()
    kept_back: Counter[EntryName] = field(default_factory=Counter)
    withheld: Counter[EntryName] = field(default_factory=Counter)

    def due_by(self, count: int) -> dt.datetime | None:
        """When ``count`` (>= 1) more slots will have fallen due; None when that is never."""
        ahead = heapq.merge(*(_slots(table, at) for table, at in self.upcoming.values()))
        return next(itertools.islice(ahead, count - 1, None), None)

    def next_due(self, entry: EntryName) -> dt.datetime | None:
        """When that entry falls due next; None where it does not."""
        return self.upcoming[entry][1] if entry in self.upcoming else None

    def to_prove(self) -> dict[EntryName, Why]:
        """The entries that the cutover moves and of which nothing is proved, and why; by name."""
        return {name: self.unproven[name] for name in sorted(self.moved & self.unproven.keys())}


def _slots(table: Timetable, due_at: dt.datetime | None) -> Iterator[dt.datetime]:
    """That slot and every one that follows."""
    while due_at is not None:
        yield due_at
        due_at = table.next_after(due_at)
