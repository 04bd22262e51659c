"""Where an entry's ledger differs from what was due: the parts that are to be read, and no more than these."""

import datetime as dt
import random
from itertools import pairwise

import pytest
from celery.schedules import crontab, schedule

from cutover.phases.evidence.expected import Expected
from cutover.phases.evidence.sections import PER_PART, Section, merged, number_of, width_s
from cutover.phases.evidence.tally import Parts, Tally, fires, total
from cutover.schedules.timetable import timetable

BEGIN = dt.datetime(2026, 3, 1, 23, 58, 3, 123456, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@pytest.mark.parametrize(
    ("parts", "alone", "around"),
    [
        ("..........", "", ""),
        (".....x....", "5", "4-6"),
        ("....xx....", "4-5", "3-6"),
        ("....x.x...", "4 6", "3-7"),  # what lies between is beside both
        ("....x ....", "4-5", "3-6"),
        ("....x  x..", "4-7", "3-8"),
        (".... x....", "5", "3-6"),
        (".......x  ", "7-9", "6-9"),  # nothing follows: it reaches to the end
        (".........x", "9", "8-9"),
        ("x.........", "0", "0-1"),
        ("  x.......", "2", "0-3"),
        ("x........x", "0 9", "0-9"),  # more than a third, with those beside
        (".x.x.x.x..", "1-7", "0-8"),  # so many that all between are read
        ("xxxxxxxxxx", "0-9", "0-9"),
    ],
)
def test_read_are_the_parts_that_differ_with_the_empty_ones_behind_them(parts: str, alone: str, around: str) -> None:
    # "." agrees, "x" differs and has slots, " " agrees and is empty.
    differs, has_slots = [part == "x" for part in parts], [part != " " for part in parts]
    for is_around, wanted in ((False, alone), (True, around)):
        found = merged(differs, has_slots, around=is_around)
        said = [str(one.start) if len(one) == 1 else f"{one.start}-{one.stop - 1}" for one in found]
        assert " ".join(said) == wanted, is_around


def test_a_part_that_is_absent_as_a_whole_is_read_up_to_the_next_slot() -> None:
    assert merged([False, True, True, False], [True, False, False, True], around=False) == [range(1, 3)]
    assert merged([False, True, True, False], [True, False, False, True], around=True) == [range(4)]


@pytest.mark.parametrize(("slots", "days"), [(10_080, 7), (604_800, 7), (2_592_000, 30), (201, 7), (10_080, 0.001)])
def test_a_part_has_about_a_hundred_slots_and_at_least_a_second(slots: int, days: float) -> None:
    length = dt.timedelta(days=days)
    width = width_s(length, slots)
    of_part = slots * width / length.total_seconds()
    assert width == 1 or PER_PART / 2 < of_part <= PER_PART
    assert bin(width).count("1") == 1


@pytest.mark.parametrize("every", [schedule(60), schedule(7.3), crontab(minute="*/7")], ids=str)
def test_parts_are_without_gap_and_have_together_what_the_whole_has(every: schedule | crontab) -> None:
    table, parts = timetable(every), Parts(BEGIN, BEGIN + 9 * HOUR, 2_048)
    first, end = table.next_after(BEGIN), parts.until - HOUR
    edges = [(parts.after(part), parts.end(part)) for part in range(parts.number)]
    assert all(end == after for (_, end), (after, _) in pairwise(edges))
    expected = Expected(table, first, end)
    numbers = [some for some, _ in expected.split(parts)]
    whole = total(tally for _, tally in expected.split(parts))
    assert (len(numbers), whole, expected.tally(expected.all)) == (parts.number, fires(table, first, end).tally, whole)
    for (after, until), some in zip(edges, numbers, strict=True):
        assert all(after < expected.at(number) <= until for number in some)
        following = expected.following(after)
        assert following == (expected.at(some.start) if some.start < len(expected) else None)


@pytest.mark.parametrize("every", [schedule(60), schedule(0.3), crontab(minute="*/7")], ids=str)
def test_slots_in_a_row_are_known_by_their_tally_and_no_others_are(every: schedule | crontab) -> None:
    table = timetable(every)
    expected, chance = Expected(table, table.next_after(BEGIN), BEGIN + 3 * HOUR), random.Random(1)
    for _ in range(50):
        begin = chance.randrange(len(expected))
        row = range(begin, chance.randrange(begin, len(expected)) + 1)
        assert expected.in_a_row(expected.tally(row), expected.all) == row
        before, after = range(row.start), range(row.stop, len(expected))
        assert expected.in_a_row(expected.tally(row), before) is None
        if before and after:
            apart = expected.tally(before[-1:]).plus(expected.tally(after[:1]))
            assert expected.in_a_row(apart, expected.all) is None
    assert expected.in_a_row(Tally(), expected.all) is None
    assert expected.in_a_row(Tally(-1, 5), expected.all) is None
    assert Expected(table, None, BEGIN).in_a_row(Tally(1, 1), range(0)) is None


def test_an_instant_is_in_a_section_from_after_its_begin_until_its_end() -> None:
    sections = [Section(BEGIN, BEGIN + HOUR, None), Section(BEGIN + 2 * HOUR, BEGIN + 3 * HOUR, None)]
    inside = [number_of(sections, BEGIN + hours * HOUR) for hours in range(5)]
    assert (inside, number_of([], BEGIN)) == ([None, 0, None, 1, None], None)
