"""What the sweep does with each claim that was never confirmed: a line a case."""

import datetime as dt
from dataclasses import dataclass

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import schedule

from cutover.beats.agenda import Agenda
from cutover.beats.missed import BEYOND, NO_ENTRY, SUPERSEDED, TOO_LATE
from cutover.beats.sources import ScheduledEntry
from cutover.beats.sweep import decide
from cutover.conf import CatchUpRule
from cutover.ledger.claims import Unpublished
from cutover.renames import Renames
from cutover.types import CatchUp, EntryName, Epoch, HolderId, Side, Slot, Term

HOUR = dt.timedelta(hours=1)
APP = Celery("of-sweep", set_as_current=False)
NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
TERM = Term(Epoch(7), Side.CODE, HolderId("a:1:f"))
LATEST, EVERY, GONE = EntryName("latest"), EntryName("every"), EntryName("gone")
FEW = 2


@pytest.fixture
def agenda():
    """One entry whose latest slot counts, and one whose every slot does, the latest two."""
    rules = {LATEST: CatchUpRule(CatchUp.LATEST, 3 * HOUR), EVERY: CatchUpRule(CatchUp.ALL, 3 * HOUR, FEW)}
    made = Agenda(Renames({EntryName("old"): LATEST}))
    entries = {name: ScheduleEntry(name=name, task="t", schedule=schedule(HOUR), app=APP) for name in rules}
    made.load({name: ScheduledEntry.of(entries[name], rule) for name, rule in rules.items()}, NOW)
    return made


def claim(name, hours, *, epoch=6, superseded=False, fault="", replayed=False) -> Unpublished:
    return Unpublished(Slot(NOW - hours * HOUR, EntryName(name)), Epoch(epoch), superseded, fault, is_replayed=replayed)


@dataclass(frozen=True)
class Again:
    """Published again."""

    is_first: bool = False
    is_past_slot: bool = False


@pytest.mark.parametrize(
    ("of", "becomes"),
    [
        (claim(LATEST, 1), Again()),
        (claim(LATEST, 1, epoch=7), Again(is_first=True)),
        (claim(LATEST, 1, fault="no such queue"), Again()),
        (claim("old", 1), Again()),
        (claim(LATEST, 3), Again()),
        (claim(LATEST, 4), TOO_LATE),
        (claim(LATEST, 4, fault="no such queue"), f"{TOO_LATE}: no such queue"),
        (claim(LATEST, 4, replayed=True), Again(is_past_slot=True)),
        (claim(LATEST, 1, superseded=True), SUPERSEDED),
        (claim(LATEST, 4, superseded=True, fault="no such queue"), f"{SUPERSEDED}: no such queue"),
        (claim(LATEST, 1, superseded=True, replayed=True), Again(is_past_slot=True)),
        (claim(EVERY, 0), Again()),
        (claim(EVERY, 1), Again(is_past_slot=True)),
        (claim(EVERY, 1, superseded=True), Again(is_past_slot=True)),
        (claim(EVERY, 4, superseded=True), TOO_LATE),
        (claim(GONE, 1), NO_ENTRY.format(Side.CODE)),
        (claim(GONE, 1, replayed=True, superseded=True), NO_ENTRY.format(Side.CODE)),
        (claim(GONE, 1, superseded=True), SUPERSEDED),
    ],
)
def test_what_becomes_of_a_claim(agenda, of, becomes):
    found = decide([of], agenda, TERM, NOW)
    if isinstance(becomes, str):
        assert (found.again, found.given_up) == ([], {of.slot: becomes})
    else:
        [(message, epoch)] = found.again
        assert (found.given_up, message.slot, epoch) == ({}, of.slot, of.epoch)
        assert Again(message.is_first, message.is_past_slot) == becomes
    assert (of.slot in found.superseded) == str(becomes).startswith(SUPERSEDED)


def test_of_an_entry_whose_every_slot_counts_the_latest_so_many_claims_are_kept(agenda):
    claims = [claim(EVERY, hours, superseded=hours > 0.5) for hours in (2.5, 2, 1.5, 1, 0.5)]
    claims.insert(0, claim(EVERY, 2.75, replayed=True))
    found = decide(claims, agenda, TERM, NOW)
    assert [message.slot for message, _ in found.again] == [claims[0].slot, *(one.slot for one in claims[-FEW:])]
    assert set(found.given_up.values()) == {BEYOND}
    assert found.superseded == set()
