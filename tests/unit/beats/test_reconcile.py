"""Since when each entry is eligible, and what the ledger remembers: every case that was ever found, a line each."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import crontab

from cutover.beats.reconcile import reconcile
from cutover.beats.sources import LastRun, ScheduledEntry
from cutover.conf import CatchUpRule
from cutover.ledger.entries import KnownEntry
from cutover.types import CatchUp, EntryName, Limits

NOW = dt.datetime(2026, 5, 5, 12, tzinfo=dt.UTC)
HOUR, DAY, INSTANT = dt.timedelta(hours=1), dt.timedelta(days=1), dt.timedelta(microseconds=1)
LONG_AGO = NOW - 10 * DAY
APP = Celery("of-reconcile", set_as_current=False)
RULE = CatchUpRule(CatchUp.LATEST, 12 * HOUR)
A = EntryName("a")

ENTRY = ScheduledEntry.of(ScheduleEntry(name="a", task="t", schedule=crontab(app=APP), app=APP), RULE)
KNOWN = KnownEntry(ENTRY.fingerprint, LONG_AGO)


def ran(at: dt.datetime) -> dict[str, Any]:
    return {"last_run": LastRun(at, has_run=True)}


def had(at: dt.datetime) -> dict[str, Any]:
    return {"last_run": LastRun(at, has_run=False)}


def limited(start: dt.datetime | None = None, end: dt.datetime | None = None) -> dict[str, Any]:
    return {"limits": Limits(start, end)}


# Name; what the ledger knows (None: nothing) and has as latest slot; the entry as it is loaded; eligible since then.
# fmt: off
CASES: list[tuple[str, dict[str, Any] | None, dt.datetime | None, dict[str, Any], dt.datetime]] = [
    # new
    ("new: what fell due before is not owed", None, None, {}, NOW),
    ("new, run by the old beat: goes on from its last run", None, None, ran(NOW - HOUR), NOW - HOUR),
    ("new, known to the old beat and never run: goes on from when that had it", None, None, had(NOW - HOUR), NOW - HOUR),
    ("new, run in the future by a clock that was wrong: owed from now", None, None, ran(NOW + DAY), NOW),
    ("new and clocked: owed since it was saved, however late it is noticed", None, None, {"exists_since": NOW - DAY}, NOW - DAY),
    ("new and clocked, committed late: since the poll that did not find it", None, None, {"exists_since": NOW - INSTANT}, NOW - INSTANT),
    ("new and clocked, saved by a clock that is ahead: owed from now", None, None, {"exists_since": NOW + HOUR}, NOW),
    ("new and clocked, its slot in the ledger already: not owed again", None, NOW - HOUR, {"exists_since": NOW - DAY}, NOW - HOUR),
    # known
    ("known: nothing changes", {}, NOW - HOUR, {}, LONG_AGO),
    ("known: a restart owes what fell due while nobody led", {}, None, {}, LONG_AGO),
    # back again
    ("back again: what fell due while it was gone is not owed", {"is_active": False}, NOW - DAY, {}, NOW),
    ("back again, run by another beat: not owed either", {"is_active": False}, None, ran(NOW - HOUR), NOW),
    ("back again and clocked: a person enabled it now", {"is_active": False}, None, {"exists_since": NOW - DAY}, NOW),
    # changed
    ("changed: what its present schedule would have made due is not owed", {"fingerprint": "other"}, NOW - HOUR, {}, NOW),
    ("changed while gone: not owed", {"fingerprint": "other", "is_active": False}, None, {}, NOW),
    ("changed, run by another beat: owed from now", {"fingerprint": "other"}, None, ran(NOW - HOUR), NOW),
    ("clocked, given another time: owed since that was saved", {"fingerprint": "other"}, None, {"exists_since": NOW - HOUR}, NOW - HOUR),
    # moved limits
    ("start moved back while it had begun: nothing changes", limited(NOW - DAY), None, limited(NOW - 2 * DAY), NOW - DAY - INSTANT),
    ("start moved back before it began: not owed from before now", limited(NOW + DAY), None, limited(NOW - DAY), NOW),
    ("start moved on: nothing changes", {}, None, limited(NOW + DAY), LONG_AGO),
    ("start taken off while it had begun: not owed from before the old start", limited(NOW - DAY), None, {}, NOW - DAY - INSTANT),
    ("end moved on before it came: nothing changes", limited(end=NOW + HOUR), None, limited(end=NOW + DAY), LONG_AGO),
    ("end moved on after it had come: not owed from before now", limited(end=NOW - HOUR), None, limited(end=NOW + DAY), NOW),
    ("end taken off after it had come: not owed from before now", limited(end=NOW - HOUR), None, {}, NOW),
    ("limits as they were: nothing changes", limited(NOW - DAY, NOW + DAY), None, limited(NOW - DAY, NOW + DAY), LONG_AGO),
    # run by another beat, between two of ours
    ("foreign run later than the latest slot: it was sent", {}, NOW - DAY, ran(NOW - HOUR), NOW - HOUR),
    ("foreign run, no slot yet: it was sent", {}, None, ran(NOW - HOUR), NOW - HOUR),
    ("foreign run that the ledger has: nothing changes", {}, NOW - HOUR, ran(NOW - HOUR), LONG_AGO),
    ("foreign run older than the latest slot: nothing changes", {}, NOW - HOUR, ran(NOW - DAY), LONG_AGO),
    ("foreign run from before it was eligible: nothing changes", {"eligible_since": NOW - HOUR}, None, ran(NOW - DAY), NOW - HOUR),
    ("foreign run in the future, by a clock that was wrong: nothing changes", {}, None, ran(NOW + HOUR), LONG_AGO),
    ("had by another beat and never run: nothing changes", {}, None, had(NOW - HOUR), LONG_AGO),
    ("foreign run and limits moved: the later one counts", limited(NOW - DAY), None, ran(NOW - HOUR) | limited(NOW - 2 * DAY), NOW - HOUR),
]
# fmt: on


@pytest.mark.parametrize(("before", "last_slot", "loaded", "since"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_since_when_an_entry_is_eligible(before, last_slot, loaded, since):
    known = {} if before is None else {A: replace(KNOWN, **before)}
    entry = replace(ENTRY, **loaded)
    changes = reconcile(known, {A: entry}, {A: last_slot} if last_slot else {}, NOW)
    after = (known | changes)[A]
    assert after == KnownEntry(entry.fingerprint, since, entry.limits)
    assert reconcile(known | changes, {A: entry}, {A: last_slot} if last_slot else {}, NOW) == {}, "it is settled"


def test_only_what_changes_is_written():
    known = {A: KNOWN, EntryName("b"): KNOWN}
    loaded = {A: ENTRY, EntryName("b"): replace(ENTRY, name=EntryName("b"), fingerprint="other")}
    assert set(reconcile(known, loaded, {}, NOW)) == {"b"}


def test_what_is_gone_is_remembered_as_gone_and_once():
    known = {A: KNOWN}
    gone = reconcile(known, {}, {A: NOW}, NOW)
    assert gone == {A: replace(KNOWN, is_active=False)}
    assert reconcile(gone, {}, {A: NOW}, NOW) == {}
