"""What the database counts of a ledger is what arithmetic counts of the timetable, and nothing else is."""

import datetime as dt
import uuid

import pytest
from celery.schedules import crontab, schedule

from cutover.models import Slot
from cutover.phases.evidence.tally import Counting, Parts, Tally, counted, counted_by_part, fires
from cutover.schedules.timetable import timetable
from tests.support.ledger import give_past, name
from tests.support.plans import plans

pytestmark = [pytest.mark.integration, pytest.mark.mariadb, pytest.mark.usefixtures("nothing_left")]

BEGIN = dt.datetime(2026, 3, 1, 23, 58, 3, 123456, tzinfo=dt.UTC)
END = BEGIN + dt.timedelta(hours=2)
SECOND = dt.timedelta(seconds=1)
TABLES = {
    "minutely": timetable(schedule(60)),
    "between seconds": timetable(schedule(7.3)),
    "past the end of seconds": timetable(schedule(6.9997)),
    "crontab": timetable(crontab(minute="*/7")),
}
MILLISECOND = dt.timedelta(milliseconds=1)
MOVES = (
    (SECOND, -SECOND),
    (MILLISECOND, -MILLISECOND),
    (dt.timedelta(minutes=1), dt.timedelta(minutes=1)),
    (dt.timedelta(microseconds=1),),
)


def record(alias: str, entry: str, slots: list[dt.datetime]) -> None:
    given = {"epoch": 1, "side": "database", "state": "published", "claimed_at": BEGIN}
    rows = [Slot(entry=entry, due_at=due_at, task_id=uuid.uuid4(), **given) for due_at in slots]
    Slot.objects.using(alias).bulk_create(rows)


def test_the_same_slots_have_the_same_tally_and_others_another(ledger, alias):
    slots = Slot.objects.using(alias)
    for entry, table in TABLES.items():
        first = table.next_after(BEGIN)
        due = [first]
        while (following := table.next_after(due[-1])) <= END:
            due.append(following)
        record(alias, entry, due)
        expected = fires(table, first, END)
        assert (expected.tally.slots, expected.following) == (len(due), following)
        assert counted(slots, BEGIN, END)[name(entry)] == expected.tally
        for moves in MOVES:
            moved = [at + by for at, by in zip(due[5:], (*moves, *[0 * SECOND] * len(due)), strict=False)]
            slots.filter(entry=entry).delete()
            record(alias, entry, sorted({*due[:5], *moved}))
            assert counted(slots, BEGIN, END)[name(entry)] != expected.tally


def test_what_was_counted_is_not_counted_again(ledger, alias):
    slots, counting = Slot.objects.using(alias), Counting()
    due = [BEGIN + minute * dt.timedelta(minutes=1) for minute in range(1, 61)]
    record(alias, "e", due[:20] + due[21:30])
    assert counting.look(slots, BEGIN, due[29]) == BEGIN
    record(alias, "e", [due[20], *due[30:]])
    assert counting.look(slots, BEGIN + SECOND, due[59]) == BEGIN
    assert counting.tallies[name("e")].slots == 59
    later = BEGIN + dt.timedelta(hours=1)
    assert (counting.look(slots, later, END), counting.tallies.get(name("e"), Tally()).slots) == (later, 0)


@pytest.mark.parametrize("width_s", [1, 64, 4_096, 1 << 20])
def test_counted_in_parts_each_slot_is_in_the_one_that_has_its_time(ledger, alias, width_s):
    parts = Parts(BEGIN, END, width_s)
    # Each part that has a slot is counted alone: of seven thousand parts every seventh would be thousands of queries.
    some = range(0, parts.number, 7 if width_s > 1 else 101)
    edges = {at for part in some for at in (parts.after(part), parts.end(part))}
    due = sorted({at for edge in edges for at in (edge, edge + dt.timedelta(microseconds=1)) if BEGIN < at <= END})
    record(alias, "e", [BEGIN, *due, END + dt.timedelta(microseconds=1)])
    record(alias, "not asked for", due)
    found = {part: tally for _, part, tally in counted_by_part(Slot.objects.using(alias), [name("e")], parts)}
    expected = {
        part: counted(Slot.objects.using(alias).filter(entry="e"), parts.after(part), parts.end(part))
        for part in {*found, 0, parts.number - 1}
    }
    assert found == {part: tallies[name("e")] for part, tallies in expected.items() if tallies}
    assert sum(tally.slots for tally in found.values()) == len(due)
    assert (parts.after(0), parts.end(parts.number - 1)) == (BEGIN, END)


def test_a_count_of_all_reads_no_more_than_an_index(past, alias):
    with plans(alias) as found:
        counted(Slot.objects.using(alias), BEGIN, END)
    assert all("COVERING INDEX" in plan.lines or alias != "default" for plan in found)


@pytest.fixture
def past(ledger, alias):
    """A ledger of 100,000 slots."""
    give_past(alias)
