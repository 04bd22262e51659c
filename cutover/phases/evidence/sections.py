"""Where the ledger of an entry is not what was due: the sections of time whose slots are to be read one by one.

Which slots in a row are absent follows from the tallies, those of the whole or else those of parts of about a hundred
slots, which the database counts for many entries in one statement. Where it does not follow, parts are read. So what is
read, and kept in memory, grows with what is amiss, and not with the ledger.
"""

import datetime as dt
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from django.db.models import Q, QuerySet

from cutover import models
from cutover.phases.evidence.dues import Due
from cutover.phases.evidence.expected import Expected
from cutover.phases.evidence.tally import Parts, Tally, counted_by_part, total
from cutover.types import EntryName

PER_PART: Final = 100
"""About how many slots a part has; so many are read without looking where they differ."""
_TALLIES: Final = 50_000
"""Of how many parts, of all entries of a statement, the tallies are in memory at once."""
_ENTRIES: Final = 500
"""How many entries one statement names."""
_MOST: Final = 3
"""Once one part in so many is to be read, all from the first to the last are: in one go."""
_INSTANT: Final = dt.timedelta.resolution


@dataclass(frozen=True, slots=True)
class Counted:
    """What was due of an entry in ``(begin, end]``, and what the ledger has.

    ``expected``, ``recorded``: the tallies of both; ``whole``: that of the ledger from before and after that, too.
    ``around``: see ``merged``.
    """

    due: Due
    begin: dt.datetime
    end: dt.datetime
    expected: Tally
    recorded: Tally
    whole: Tally
    around: bool = False

    @property
    def slots(self) -> int:
        """About how many there are."""
        return max(self.expected.slots, self.whole.slots)

    @property
    def timetable(self) -> tuple[object, ...]:
        """What entries have in common of which the same is due."""
        return self.due.fingerprint, self.due.first, self.end


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
    slots: QuerySet[models.Slot], since: dt.datetime, until: dt.datetime, counted: Mapping[EntryName, Counted]
) -> Iterator[tuple[EntryName, Differing]]:
    """Look for each entry in ``(since, until]``."""
    wide, expected = dict[int, list[EntryName]](), _by_timetable(counted)
    # Those of one timetable one after the other.
    for name in sorted(counted, key=lambda name: (*map(str, counted[name].timetable), name)):
        one, was_due = counted[name], expected(name)
        row = was_due.in_a_row(one.expected.minus(one.recorded), was_due.all)
        if row is not None:
            yield name, _beside([row], was_due, one, until, one.whole)
        elif one.slots <= PER_PART:
            yield name, Differing([Section(since, until, one.due.first)], one.whole, 0)
        else:
            wide.setdefault(width_s(until - since, one.slots), []).append(name)
    for width, names in sorted(wide.items()):
        parts = Parts(since, until, width)
        most = max(1, min(_ENTRIES, _TALLIES // parts.number))
        for start in range(0, len(names), most):
            yield from _compared(slots, parts, names[start : start + most], counted, expected)


def _compared(
    slots: QuerySet[models.Slot],
    parts: Parts,
    names: Sequence[EntryName],
    counted: Mapping[EntryName, Counted],
    expected: Callable[[EntryName], Expected],
) -> Iterator[tuple[EntryName, Differing]]:
    """Those of the entries, part by part."""
    recorded = {name: dict[int, Tally]() for name in names}
    for name, part, tally in counted_by_part(slots, names, parts):
        recorded[name][part] = tally
    for name in names:
        one, was_due, has = counted[name], expected(name), recorded[name]
        whole, split = total(has.values()), was_due.split(parts)
        absent = [tally.minus(has[part]) if part in has else tally for part, (_, tally) in enumerate(split)]
        differs = [any(of_part) and parts.end(part) > one.begin for part, of_part in enumerate(absent)]
        rows = [was_due.in_a_row(absent[part], split[part][0]) for part, is_other in enumerate(differs) if is_other]
        found = [row for row in rows if row is not None]
        if len(found) == len(rows):
            yield name, _beside(found, was_due, one, parts.until, whole)
            continue
        ranges = merged(differs, [part in has for part in range(parts.number)], around=one.around)
        read = sum(has[part].slots for each in ranges for part in each if part in has)
        yield name, Differing([_section(each, parts, was_due) for each in ranges], whole, whole.slots - read)


def _by_timetable(counted: Mapping[EntryName, Counted]) -> Callable[[EntryName], Expected]:
    """What was due of each entry; kept is that of the timetable that was asked for last, for of all it is too much."""
    latest = dict[tuple[object, ...], Expected]()

    def expected(name: EntryName) -> Expected:
        one = counted[name]
        if one.timetable not in latest:
            latest.clear()
            latest[one.timetable] = Expected(one.due.table, one.due.first, one.end)
        return latest[one.timetable]

    return expected


def _section(each: range, parts: Parts, expected: Expected) -> Section:
    after = parts.after(each.start)
    return Section(after, parts.end(each.stop - 1), expected.following(after))


def _beside(rows: Sequence[range], expected: Expected, one: Counted, until: dt.datetime, whole: Tally) -> Differing:
    """The sections of slots that are absent, in rows and in order, each with the one before and after these.

    For how it is judged that a slot is absent depends on the slots beside it.
    """
    found = list[range]()
    for row in rows:
        begin, end = max(row.start - 1, 0), min(row.stop + 1, len(expected))
        if found and begin < found[-1].stop:
            begin = found.pop().start
        found.append(range(begin, end))
    sections = list[Section]()
    for each in found:
        first = expected.at(each.start)
        last = expected.at(each.stop - 1) if each.stop < len(expected) else until if one.end == until else one.end
        sections.append(Section(first - _INSTANT, last, first))
    return Differing(sections, whole, whole.slots - sum(map(len, found)) + sum(map(len, rows)))


def within(sections: Iterable[tuple[EntryName, dt.datetime, dt.datetime]]) -> Q:
    """The slots of each of those entries that are due after the one instant, and until the other."""
    alike = dict[tuple[dt.datetime, dt.datetime], list[EntryName]]()
    for name, after, until in sections:
        alike.setdefault((after, until), []).append(name)
    found = Q()
    for (after, until), names in alike.items():
        found |= Q(entry__in=names, due_at__gt=after, due_at__lte=until)
    return found


def number_of(sections: Sequence[Section], at: dt.datetime) -> int | None:
    """Which of the sections, which are in order, an instant is in; None for none of them. Pure."""
    number = bisect_left(sections, at, key=lambda section: section.until)
    return number if number < len(sections) and sections[number].after < at else None


def width_s(length: dt.timedelta, slots: int) -> int:
    """How wide the parts of an entry with so many slots are: a power of two, so that many have the same. Pure."""
    wanted = max(1, int(length.total_seconds()) * PER_PART // max(1, slots))
    return 1 << (wanted.bit_length() - 1)


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
