"""The words of the protocol."""

import datetime as dt
import uuid
from zoneinfo import ZoneInfo

from cutover.types import EntryName, Side, Slot

NOON = dt.datetime(2026, 5, 5, 12, tzinfo=dt.UTC)


def slot(entry: str = "a", due_at: dt.datetime = NOON) -> Slot:
    return Slot(due_at, EntryName(entry))


def test_a_slots_task_id_is_the_same_whoever_asks():
    assert slot().task_id("n") == slot().task_id("n")
    assert uuid.UUID(slot().task_id("n")).version == 5


def test_a_slots_task_id_is_that_of_every_release_and_must_never_change():
    assert slot().task_id("cutover") == "b64db3ad-a8e9-5c3d-ad72-59b507965506"


def test_another_entry_instant_or_namespace_has_another_task_id():
    ids = [
        slot().task_id("n"),
        slot().task_id("m"),
        slot("b").task_id("n"),
        slot(due_at=NOON + dt.timedelta(microseconds=1)).task_id("n"),
    ]
    assert len(set(ids)) == 4


def test_a_slot_is_its_instant_in_whatever_zone_that_is_written():
    assert slot() == slot(due_at=NOON.astimezone(ZoneInfo("Asia/Kathmandu")))


def test_a_slot_has_one_task_id_in_whatever_zone_its_instant_is_written():
    assert slot().task_id("n") == slot(due_at=NOON.astimezone(ZoneInfo("Asia/Kathmandu"))).task_id("n")


def test_slots_are_in_the_order_of_their_instants():
    assert sorted([slot("a", NOON + dt.timedelta(1)), slot("z")])[0] == slot("z")


def test_a_side_goes_over_to_the_other_and_back():
    assert Side.CODE.other is Side.DATABASE
    assert Side.DATABASE.other is Side.CODE
