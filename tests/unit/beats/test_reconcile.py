"""Since when each entry is eligible, and what the ledger remembers: every case that was ever found, a line each."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import crontab, schedule
from django_celery_beat.clockedschedule import clocked

from cutover.beats.reconcile import Predecessor, reconcile
from cutover.beats.sources import LastRun, ScheduledEntry
from cutover.conf import CatchUpRule
from cutover.ledger.entries import KnownEntry
from cutover.schedules.timetable import timetable
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


def existing(since: dt.datetime) -> dict[str, Any]:
    return {"exists_since": since}


def changed(since: dt.datetime) -> dict[str, Any]:
    return {"exists_since": LONG_AGO, "changed_since": since}


def at(instant: dt.datetime) -> dict[str, Any]:
    """A clocked entry."""
    return {"timetable": timetable(clocked(instant)), "fingerprint": f"clocked {instant}"}


DAILY = {"timetable": timetable(schedule(DAY)), "fingerprint": "daily"}
"""An interval of a day."""
AT_EIGHT = {"timetable": timetable(crontab(minute=0, hour=8, app=APP)), "fingerprint": "at eight"}
EIGHT = NOW.replace(hour=8)
A_DAILY: dict[str, Any] = {"fingerprint": "daily"}
"""That interval as the ledger knows it."""
S = dt.timedelta(seconds=1)

# Name; what the ledger knows (None: nothing) and has as latest slot; the entry as it is loaded; eligible since then.
# fmt: off
CASES: list[tuple[str, dict[str, Any] | None, dt.datetime | None, dict[str, Any], dt.datetime]] = [
    # new
    ("new: what fell due before is not owed", None, None, {}, NOW),
    ("new, seen late: owed since it was saved", None, None, existing(NOW - HOUR), NOW - HOUR),
    ("new, saved by a clock that is ahead: owed from now", None, None, existing(NOW + HOUR), NOW),
    ("new, with a slot of its name: not owed from before that", None, NOW - HOUR, existing(NOW - DAY), NOW - HOUR),
    ("new, run by the old beat: goes on from its last run", None, None, ran(NOW - HOUR), NOW - HOUR),
    ("new, known to the old beat and never run: goes on from when that had it", None, None, had(NOW - HOUR), NOW - HOUR),
    ("new, run in the future by a clock that was wrong: owed from now", None, None, ran(NOW + DAY), NOW),
    ("new, a daily one that a stock beat has run: due in eight seconds", None, None, DAILY | ran(NOW - DAY + 8 * S), NOW - DAY + 8 * S),
    ("new, run by a stock beat and seen late: its last run is the record", None, None, ran(NOW - DAY) | existing(NOW - HOUR), NOW - DAY),
    # clocked
    ("clocked and to come: owed", None, None, at(NOW + HOUR), NOW),
    ("clocked at now, saved a moment later: owed", None, None, at(NOW - 2 * S) | existing(NOW - S), NOW - 2 * S - INSTANT),
    ("clocked long ago: owed, so that it is recorded as missed", None, None, at(NOW - 2 * DAY) | existing(NOW), NOW - 2 * DAY - INSTANT),
    ("clocked, committed or seen late: owed", None, None, at(NOW - HOUR) | existing(NOW - INSTANT), NOW - HOUR - INSTANT),
    ("clocked, sent by a stock beat: not owed again", None, None, at(NOW - HOUR) | ran(NOW - HOUR + S), NOW - HOUR + S),
    ("clocked, given another time: owed", {"fingerprint": "other"}, None, at(NOW - HOUR), NOW - HOUR - INSTANT),
    ("clocked, enabled after its time: owed, as a stock beat sends it", {"fingerprint": f"clocked {EIGHT}", "is_active": False}, None, at(EIGHT), EIGHT - INSTANT),
    ("clocked and known: nothing changes", {"fingerprint": f"clocked {EIGHT}"}, EIGHT, at(EIGHT), LONG_AGO),
    # a start that has come
    ("start of now, interval: the start is owed", None, None, DAILY | limited(NOW - S) | existing(NOW - S / 2), NOW - S - DAY),
    ("start at the instant: owed", None, None, DAILY | limited(NOW) | existing(NOW), NOW - DAY),
    ("start to come: it begins then", None, None, DAILY | limited(NOW + S) | existing(NOW), NOW),
    ("start of days ago, never sent: the latest slot is owed", None, None, DAILY | limited(NOW - 3 * DAY - HOUR), NOW - HOUR - DAY),
    ("start of now, crontab: that slot is owed", None, None, AT_EIGHT | limited(EIGHT), EIGHT - INSTANT),
    ("start of days ago, crontab: the latest slot is owed", None, None, AT_EIGHT | limited(NOW - 3 * DAY), EIGHT - INSTANT),
    ("start since which nothing fell due: owed since noticed", None, None, AT_EIGHT | limited(NOW - HOUR), NOW),
    ("start of days ago, run by a stock beat: goes on from its last run", None, None, DAILY | limited(NOW - 3 * DAY) | ran(NOW - HOUR), NOW - HOUR),
    ("start moved to now before it came: the start is owed", A_DAILY | limited(NOW + DAY), None, DAILY | limited(NOW - S), NOW - S - DAY),
    ("start moved to now, sent before: owed since noticed", A_DAILY | limited(NOW + DAY), NOW - DAY, DAILY | limited(NOW - S), NOW),
    ("back again with a start that has come: what fell due while it was gone is not owed", A_DAILY | {"is_active": False}, None, DAILY | limited(NOW - 3 * DAY), NOW),
    # known
    ("known: nothing changes", {}, NOW - HOUR, {}, LONG_AGO),
    ("known: a restart owes what fell due while nobody led", {}, None, {}, LONG_AGO),
    ("known, saved again with the same schedule: nothing changes", {}, NOW - HOUR, changed(NOW - S), LONG_AGO),
    ("known as eligible in the future, by a clock that was wrong: owed from now", {"eligible_since": NOW + DAY}, None, {}, NOW),
    # back again
    ("back again: what fell due while it was gone is not owed", {"is_active": False}, NOW - DAY, {}, NOW),
    ("back again, seen late: owed since it was saved", {"is_active": False}, NOW - DAY, changed(NOW - S), NOW - S),
    ("back again, saved by a clock that is ahead: owed from now", {"is_active": False}, NOW - DAY, changed(NOW + HOUR), NOW),
    ("back again, run by another beat: not owed either", {"is_active": False}, None, ran(NOW - HOUR), NOW),
    # changed
    ("changed: what its present schedule would have made due is not owed", {"fingerprint": "other"}, NOW - HOUR, {}, NOW),
    ("changed, seen late: owed since it was saved", {"fingerprint": "other"}, NOW - HOUR, changed(NOW - S), NOW - S),
    ("changed, and saved some time before that: not owed from before the change", {"fingerprint": "other"}, None, changed(NOW - S), NOW - S),
    ("changed while gone: not owed", {"fingerprint": "other", "is_active": False}, None, {}, NOW),
    ("changed, run by another beat: owed from now", {"fingerprint": "other"}, None, ran(NOW - HOUR), NOW),
    # moved limits
    ("start moved back while it had begun: nothing changes", limited(NOW - DAY), None, limited(NOW - 2 * DAY), NOW - DAY - INSTANT),
    ("start moved back before it began, never sent: its latest slot is owed", limited(NOW + DAY), None, limited(NOW - DAY), NOW - INSTANT),
    ("start moved on: nothing changes", {}, None, limited(NOW + DAY), LONG_AGO),
    ("start taken off while it had begun: not owed from before the old start", limited(NOW - DAY), None, {}, NOW - DAY - INSTANT),
    ("start taken off before it came: not owed from before now", limited(NOW + DAY), None, {}, NOW),
    ("end moved on before it came: nothing changes", limited(end=NOW + HOUR), None, limited(end=NOW + DAY), LONG_AGO),
    ("end moved on after it had come: not owed from before now", limited(end=NOW - HOUR), None, limited(end=NOW + DAY), NOW),
    ("end moved on after it had come, seen late: since it was saved", limited(end=NOW - HOUR), None, limited(end=NOW + DAY) | changed(NOW - S), NOW - S),
    ("end taken off after it had come: not owed from before now", limited(end=NOW - HOUR), None, {}, NOW),
    ("limits as they were: nothing changes", limited(NOW - DAY, NOW + DAY), None, limited(NOW - DAY, NOW + DAY), LONG_AGO),
    # run by another beat, between two of ours
    ("foreign run later than the latest slot: it was sent", {}, NOW - DAY, ran(NOW - HOUR), NOW - HOUR),
    ("foreign run, no slot yet: it was sent", {}, None, ran(NOW - HOUR), NOW - HOUR),
    ("foreign run that the ledger has: nothing changes", {}, NOW - HOUR, ran(NOW - HOUR), LONG_AGO),
    ("foreign run older than the latest slot: nothing changes", {}, NOW - HOUR, ran(NOW - DAY), LONG_AGO),
    ("foreign run from before it was eligible: nothing changes", {"eligible_since": NOW - HOUR}, None, ran(NOW - DAY), NOW - HOUR),
    ("foreign run in the future, by a clock that was wrong: nothing changes", {}, None, ran(NOW + HOUR), LONG_AGO),
    ("our own run, noted a little after its slot: nothing changes", {}, NOW - HOUR, ran(NOW - HOUR + S), LONG_AGO),
    ("our own run, noted late on a busy machine: nothing changes", {}, NOW - HOUR, ran(NOW - HOUR + 60 * S), LONG_AGO),
    ("our own run of an interval, noted late: nothing changes", A_DAILY, NOW - HOUR, DAILY | ran(NOW), LONG_AGO),
    ("a stock beat's run of an interval: it was sent", A_DAILY, NOW - DAY - HOUR, DAILY | ran(NOW - HOUR + S), NOW - HOUR + S),
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


OLD = KnownEntry("daily", LONG_AGO)
RENAMED: list[tuple[str, KnownEntry, dt.datetime | None, dict[str, Any], dt.datetime]] = [
    ("its cadence goes on from its latest slot", OLD, NOW - 5 * HOUR, DAILY, NOW - 5 * HOUR),
    ("never sent: its cadence begins where it did", OLD, None, DAILY, LONG_AGO),
    ("what was due and not sent yet is owed", OLD, NOW - 25 * HOUR, DAILY, NOW - 25 * HOUR),
    ("a crontab's latest slot is not owed again", replace(OLD, fingerprint="at eight"), EIGHT, AT_EIGHT, EIGHT),
    (
        "eligible late: no slot before that",
        replace(OLD, eligible_since=NOW - HOUR),
        NOW - 50 * HOUR,
        DAILY,
        NOW - 2 * HOUR,
    ),
    ("away for days: nothing of these, in step", replace(OLD, is_active=False), NOW - 50 * HOUR, DAILY, NOW - 2 * HOUR),
    (
        "with another schedule: from now on, in its step",
        OLD,
        NOW - 50 * HOUR,
        DAILY | {"fingerprint": "other"},
        NOW - 2 * HOUR,
    ),
    ("a row that another beat has sent since", OLD, NOW - 30 * HOUR, DAILY | ran(NOW - 6 * HOUR + S), NOW - 6 * HOUR),
]


@pytest.mark.parametrize(("old", "last", "entry", "since"), [each[1:] for each in RENAMED], ids=[e[0] for e in RENAMED])
def test_an_entry_under_another_name_goes_on_where_it_stood(old, last, entry, since):
    loaded, b = {A: replace(ENTRY, **entry)}, EntryName("b")
    changes = reconcile({b: old}, loaded, {}, NOW, {A: Predecessor(old, last)})
    assert changes[A] == KnownEntry(loaded[A].fingerprint, since)
    assert b not in changes or not changes[b].is_active
    assert reconcile({b: old} | changes, loaded, {}, NOW) == {}, "it is settled"


@pytest.mark.parametrize("where", [" at 0x7f0000000002", ""])
def test_an_own_schedule_without_a_text_goes_on_in_the_next_process(where: str) -> None:
    """Its text says where it lies in memory: by that it would be another one at each start, which is owed nothing."""
    entry = replace(ENTRY, fingerprint="site.Own <site.Own object at 0x7f0000000001>")
    known = KnownEntry(f"site.Own <site.Own object{where}>", LONG_AGO)
    after = {A: known} | reconcile({A: known}, {A: entry}, {A: NOW - 2 * HOUR}, NOW)
    assert after == {A: KnownEntry("site.Own <site.Own object>", LONG_AGO)}
