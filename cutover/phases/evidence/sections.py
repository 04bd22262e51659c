"""Where the ledger of an entry is not what was due: the sections of time whose slots are to be read one by one.

The database counts the slots of such entries once more, in parts of about a hundred slots, those of many entries in one
statement. So what is read, and kept in memory, grows with what is amiss, and not with the ledger.
"""

import datetime as dt
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple, TypeAlias

from django.db.models import Q, QuerySet

from cutover import models
from cutover.phases.evidence.tally import Parts, Tally, counted_by_part, fires, total
from cutover.schedules.timetable import Timetable
from cutover.types import EntryName

Begun: TypeAlias = tuple[Tally, dt.datetime | None]
"""What is due in a part; and the first slot in it, or else after it."""
PER_PART: Final = 100
"""About how many slots a part has; twice as many at most are read without looking where they differ."""
_TALLIES: Final = 50_000
"""Of how many parts, of all entries of a statement, the tallies are in memory at once."""
_ENTRIES: Final = 500
"""How many entries one statement names."""
_FEW: Final = 20
"""In how many entries one outage is looked for without a suspicion."""
_RARE: Final = 10
"""One part in so many at most is suspected."""
_MOST: Final = 3
"""Once one part in so many is to be read, all from the first to the last are: in one go."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What was due of an entry: of ``table`` from ``first`` on until ``end``. ``around``: see ``merged``.

    ``fingerprint``: that of the schedule; ``expected``: the tally of all that; ``recorded``: that of the ledger, a
    moment ago.
    """

    table: Timetable
    fingerprint: str
    first: dt.datetime | None
    end: dt.datetime
    expected: Tally
    recorded: Tally
    around: bool = False

    @property
    def slots(self) -> int:
        """About how many there are."""
        return max(self.expected.slots, self.recorded.slots)

    @property
    def timetable(self) -> tuple[object, ...]:
        """What entries have in common of which the same is due."""
        return self.fingerprint, self.first, self.end


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
    slots: QuerySet[models.Slot], since: dt.datetime, until: dt.datetime, due: Mapping[EntryName, Counted]
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
        names.sort(key=lambda name: (*map(str, due[name].timetable), name))
        yield from _compared(slots, Parts(since, until, width), names, due)


def _compared(
    slots: QuerySet[models.Slot], parts: Parts, names: Sequence[EntryName], due: Mapping[EntryName, Counted]
) -> Iterator[tuple[EntryName, Differing]]:
    most = max(1, min(_ENTRIES, _TALLIES // parts.number))
    # What one outage has cost is absent of all at the same time: of a few entries first, to look for it in the others.
    suspected = set[int]()
    for some in (names[:_FEW], *(names[start : start + most] for start in range(_FEW, len(names), most))):
        rest = list(some)
        if suspected:
            found = dict(_compared_in(slots, parts, [name for name in some if not due[name].around], due, suspected))
            yield from found.items()
            rest = [name for name in some if name not in found]
        read = set[int]()
        for name, ranges, differing_ in _compared_in_all(slots, parts, rest, due):
            read.update(part for each in ranges for part in each)
            yield name, differing_
        if 2 * len(rest) > len(some):
            suspected = read if len(read) * _RARE <= parts.number else set()


def _compared_in_all(
    slots: QuerySet[models.Slot], parts: Parts, names: Sequence[EntryName], due: Mapping[EntryName, Counted]
) -> Iterator[tuple[EntryName, list[range], Differing]]:
    counted = _tallies(counted_by_part(slots, names, parts), names)
    for name, expected in _expected(names, due, parts):
        has = [counted[name].get(part, Tally()) for part in range(parts.number)]
        differs = [tally != of_part for tally, (of_part, _) in zip(has, expected, strict=True)]
        ranges = merged(differs, [tally.slots > 0 for tally in has], around=due[name].around)
        whole = total(has)
        read = sum(has[part].slots for each in ranges for part in each)
        yield name, ranges, Differing(_sections(ranges, expected, parts), whole, whole.slots - read)


def _compared_in(
    slots: QuerySet[models.Slot],
    parts: Parts,
    names: Sequence[EntryName],
    due: Mapping[EntryName, Counted],
    suspected: Collection[int],
) -> Iterator[tuple[EntryName, Differing]]:
    """Those of the entries that differ in ``suspected`` parts alone: what is beyond these is known by subtraction."""
    during = Q()
    for part in suspected:
        during |= Q(due_at__gt=parts.after(part), due_at__lte=parts.end(part))
    counted = _tallies(counted_by_part(slots.filter(during), names, parts), names)
    for name, expected in _expected(names, due, parts):
        has = {part: counted[name].get(part, Tally()) for part in suspected}
        recorded, wanted = due[name].recorded, due[name].expected
        beyond = recorded.minus(total(has.values()))
        if beyond == wanted.minus(total(expected[part][0] for part in suspected)):
            differs = [part in has and has[part] != expected[part][0] for part in range(parts.number)]
            has_slots = [part not in has or has[part].slots > 0 for part in range(parts.number)]
            ranges = merged(differs, has_slots, around=False)
            if all(part in has for each in ranges for part in each):
                read = sum(has[part].slots for each in ranges for part in each)
                yield name, Differing(_sections(ranges, expected, parts), recorded, recorded.slots - read)


def _tallies(
    counted: Iterable[tuple[EntryName, int, Tally]], names: Collection[EntryName]
) -> Mapping[EntryName, Mapping[int, Tally]]:
    found = {name: dict[int, Tally]() for name in names}
    for name, part, tally in counted:
        found[name][part] = tally
    return found


def _expected(
    names: Iterable[EntryName], due: Mapping[EntryName, Counted], parts: Parts
) -> Iterator[tuple[EntryName, Sequence[Begun]]]:
    for _, alike in groupby(names, key=lambda name: due[name].timetable):
        expected: Sequence[Begun] | None = None
        for name in alike:
            one = due[name]
            expected = expected or by_part(one.table, one.first, one.end, parts)
            yield name, expected


def _sections(ranges: Iterable[range], expected: Sequence[Begun], parts: Parts) -> list[Section]:
    return [Section(parts.after(each.start), parts.end(each.stop - 1), expected[each.start][1]) for each in ranges]


def is_within(sections: Sequence[Section], at: dt.datetime) -> bool:
    """Whether an instant is in one of the sections, which are in order. Pure."""
    number = bisect_left(sections, at, key=lambda section: section.until)
    return number < len(sections) and sections[number].after < at


def width_s(length: dt.timedelta, slots: int) -> int:
    """How wide the parts of an entry with so many slots are: a power of two, so that many have the same. Pure."""
    wanted = max(1, int(length.total_seconds()) * PER_PART // max(1, slots))
    return 1 << (wanted.bit_length() - 1)


def by_part(table: Timetable, first: dt.datetime | None, end: dt.datetime, parts: Parts) -> list[Begun]:
    """The slots of a timetable in each part, up to ``end``, and the first one in it or later. Pure."""
    found = list[Begun]()
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
