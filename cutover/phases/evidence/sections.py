"""Where the ledger of an entry is not what was due: the sections of time whose slots are to be read one by one.

The database counts the slots of such entries once more, in parts of about a hundred slots, those of many entries in one
statement. So what is read, and kept in memory, grows with what is amiss, and not with the ledger.
"""

import datetime as dt
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

from django.db.models import QuerySet

from cutover import models
from cutover.phases.evidence.tally import Parts, Tally, counted_by_part, fires
from cutover.schedules.timetable import Timetable
from cutover.types import EntryName

PER_PART: Final = 100
"""About how many slots a part has; twice as many at most are read without looking where they differ."""
_TALLIES: Final = 50_000
"""Of how many parts, of all entries of a statement, the tallies are in memory at once."""
_ENTRIES: Final = 500
"""How many entries one statement names."""
_MOST: Final = 3
"""Once one part in so many is to be read, all from the first to the last are: in one go."""


@dataclass(frozen=True, slots=True)
class Due:
    """What was due of an entry: of ``table`` from ``first`` on until ``end``. ``around``: see ``merged``.

    ``fingerprint``: that of the schedule; ``slots``: about how many there are, or were recorded.
    """

    table: Timetable
    fingerprint: str
    first: dt.datetime | None
    end: dt.datetime
    slots: int
    around: bool = False


class Section(NamedTuple):
    """The time ``(after, until]``; ``first``: the first slot of the timetable after that began, if any."""

    after: dt.datetime
    until: dt.datetime
    first: dt.datetime | None


class Differing(NamedTuple):
    """The sections of an entry, in order, and how many slots the ledger has: in all, and beyond the sections."""

    sections: Sequence[Section]
    tally: Tally
    beyond: int


def differing(
    slots: QuerySet[models.Slot], since: dt.datetime, until: dt.datetime, due: Mapping[EntryName, Due]
) -> Iterator[tuple[EntryName, Differing | None]]:
    """Look for each entry in ``(since, until]``; None for one of so few slots that all are to be read."""
    wide = dict[int, list[EntryName]]()
    for name, one in due.items():
        if one.slots <= 2 * PER_PART:
            yield name, None
        else:
            wide.setdefault(width_s(until - since, one.slots), []).append(name)
    for width, names in sorted(wide.items()):
        # Those of one timetable one after the other: its slots are counted once.
        names.sort(key=lambda name: (due[name].fingerprint, str(due[name].first), str(due[name].end), name))
        parts = Parts(since, until, width)
        size = max(1, min(_ENTRIES, _TALLIES // parts.number))
        for start in range(0, len(names), size):
            yield from _compared(slots, parts, names[start : start + size], due)


def _compared(
    slots: QuerySet[models.Slot], parts: Parts, names: Sequence[EntryName], due: Mapping[EntryName, Due]
) -> Iterator[tuple[EntryName, Differing]]:
    found = {name: dict[int, Tally]() for name in names}
    for name, part, tally in counted_by_part(slots, names, parts):
        found[name][part] = tally
    for (_, first, end), alike in groupby(
        names, key=lambda name: (due[name].fingerprint, due[name].first, due[name].end)
    ):
        expected: list[tuple[Tally, dt.datetime | None]] | None = None
        for name in alike:
            expected = expected or by_part(due[name].table, first, end, parts)
            has = [found[name].get(part, Tally()) for part in range(parts.number)]
            ranges = merged(
                [tally != of_part for tally, (of_part, _) in zip(has, expected, strict=True)],
                [tally.slots > 0 for tally in has],
                around=due[name].around,
            )
            sections = [
                Section(parts.after(each.start), parts.end(each.stop - 1), expected[each.start][1]) for each in ranges
            ]
            whole = Tally(*map(sum, zip(*has, strict=True)))
            yield name, Differing(sections, whole, whole.slots - sum(has[n].slots for each in ranges for n in each))


def is_within(sections: Sequence[Section], at: dt.datetime) -> bool:
    """Whether an instant is in one of the sections, which are in order. Pure."""
    number = bisect_left(sections, at, key=lambda section: section.until)
    return number < len(sections) and sections[number].after < at


def width_s(length: dt.timedelta, slots: int) -> int:
    """How wide the parts of an entry with so many slots are: a power of two, so that many have the same. Pure."""
    wanted = max(1, int(length.total_seconds()) * PER_PART // max(1, slots))
    return 1 << (wanted.bit_length() - 1)


def by_part(
    table: Timetable, first: dt.datetime | None, end: dt.datetime, parts: Parts
) -> list[tuple[Tally, dt.datetime | None]]:
    """The slots of a timetable in each part, up to ``end``, and the first one in it or later. Pure."""
    found = list[tuple[Tally, dt.datetime | None]]()
    for part in range(parts.number):
        begins_with = first
        tally, first = fires(table, first, min(end, parts.end(part)))
        found.append((tally, begins_with))
    return found


def merged(differs: Sequence[bool], has_slots: Sequence[bool], *, around: bool) -> list[range]:
    """The ranges of parts that are to be read: those that differ, with the empty ones behind them. Pure.

    So after one that does not reach to the end there are more slots. ``around``: with the nearest part before and after
    that has slots, for how it is judged that one is absent depends on the slots beside it.
    """
    found, number = list[range](), 0
    while number < len(differs):
        if not differs[number]:
            number += 1
            continue
        begin = end = number
        while end < len(differs) and (differs[end] or not has_slots[end]):
            end += 1
        if around:
            end = min(end + 1, len(differs))
            begin = next((part for part in reversed(range(begin)) if has_slots[part]), 0)
        if found and begin < found[-1].stop:
            begin = min(begin, found.pop().start)
        found.append(range(begin, end))
        number = end
    if _MOST * sum(map(len, found)) > len(differs):
        return [range(found[0].start, found[-1].stop)]
    return found
