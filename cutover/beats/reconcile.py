"""Pure: what the ledger is to remember of a schedule's entries, and since when each is eligible.

Every case that was ever found is a line of one table, in ``tests/unit/beats/test_reconcile.py``.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from cutover.beats.sources import ScheduledEntry
from cutover.ledger.entries import KnownEntry
from cutover.schedules.fingerprint import lasting
from cutover.schedules.timetable import interval, once
from cutover.types import EntryName

_INSTANT: Final = dt.timedelta.resolution
NOTED_WITHIN: Final = dt.timedelta(minutes=1)
"""How much later than its slot a run of ours is noted at most; a run that is later is of another slot."""


@dataclass(frozen=True, slots=True)
class Predecessor:
    """An entry under the name that it had before: what the ledger knows of it, and its latest slot."""

    known: KnownEntry
    last: dt.datetime | None


NO_PREDECESSORS: Final[Mapping[EntryName, Predecessor]] = {}


def reconcile(
    known: Mapping[EntryName, KnownEntry],
    loaded: Mapping[EntryName, ScheduledEntry],
    last_slots: Mapping[EntryName, dt.datetime],
    now: dt.datetime,
    predecessors: Mapping[EntryName, Predecessor] = NO_PREDECESSORS,
) -> dict[EntryName, KnownEntry]:
    """The entries whose record in the ledger changes, each with its new record; all others stay as ``known``.

    ``loaded``: the whole schedule of the active side. ``last_slots``: each entry's latest slot in the ledger. Since
    when an entry is eligible: it is owed nothing that fell due at or before that instant. ``predecessors``:
    those of entries that are new under their present name; these go on from there.
    """
    changes = {
        name: after
        for name, entry in loaded.items()
        if (after := _remembered(known.get(name), entry, last_slots.get(name), predecessors.get(name), now))
        != known.get(name)
    }
    gone = {name: replace(k, is_active=False) for name, k in known.items() if k.is_active and name not in loaded}
    return changes | gone


def _remembered(
    before: KnownEntry | None,
    entry: ScheduledEntry,
    last_slot: dt.datetime | None,
    predecessor: Predecessor | None,
    now: dt.datetime,
) -> KnownEntry:
    if predecessor is None:
        since = _eligible_since(before, entry, last_slot, now)
    else:
        last = predecessor.last
        since = _goes_on(entry, last, _eligible_since(predecessor.known, entry, last, now))
    return KnownEntry(lasting(entry.fingerprint), since, entry.limits)


def _goes_on(entry: ScheduledEntry, last: dt.datetime | None, since: dt.datetime) -> dt.datetime:
    """The instant of its cadence, by its slot ``last`` under another name, up to which nothing is owed since ``since``.

    Without a slot of its own an entry's cadence is counted from there.
    """
    if last is None:
        return since
    settled = entry.timetable.latest(last, since)
    return last if settled is None else settled


def _eligible_since(
    before: KnownEntry | None, entry: ScheduledEntry, last_slot: dt.datetime | None, now: dt.datetime
) -> dt.datetime:
    run = entry.last_run
    if before is None:
        if run is not None and run.has_run:  # sent by a beat that knows no ledger: it goes on from there
            return min(run.at, now)
        since = run.at if run is not None else _noticed(entry, entry.exists_since, last_slot, now)
        return _begun(entry, min(since, now), now)
    if not before.is_active or lasting(before.fingerprint) != lasting(entry.fingerprint):
        # Back again, or another schedule: what fell due meanwhile, or would have by the present one, is not owed.
        return _noticed(entry, entry.changed_since, last_slot, now)
    since = before.eligible_since
    if before.limits != entry.limits:
        since = _limits_moved(before, entry, last_slot, now)
    since = min(since, now)  # one that is ahead was noted by a clock that was
    if run is not None and run.has_run and run.at <= now and _is_anothers(run.at, entry, last_slot or since):
        return max(run.at, since)  # another beat sent it, between two slots of ours
    return since


def _noticed(
    entry: ScheduledEntry, since: dt.datetime | None, last_slot: dt.datetime | None, now: dt.datetime
) -> dt.datetime:
    """Since when an entry is eligible that is new, changed or back again: since it may be so, where that is known.

    A clocked one is owed its slot in any case, however late it was saved or seen: it is sent, or recorded as missed.
    """
    if (at := once(entry.timetable)) is not None:
        return min(at - _INSTANT, now)
    return now if since is None else min(max(filter(None, (since, last_slot))), now)


def _begun(entry: ScheduledEntry, since: dt.datetime, now: dt.datetime) -> dt.datetime:
    """``since``, or, of an entry that was never sent and whose start has come, just before its latest slot.

    The stock scheduler sends such a row at once, however long ago its start was. An interval's slots count from there:
    a whole step before the latest one is on the cadence that began with the start.
    """
    start, step = entry.limits.not_before, interval(entry.timetable)
    if start is None or start > now:
        return since
    latest = entry.timetable.latest(start - (step or _INSTANT), now)
    return since if latest is None else min(since, latest - (step or _INSTANT))


def _limits_moved(
    before: KnownEntry, entry: ScheduledEntry, last_slot: dt.datetime | None, now: dt.datetime
) -> dt.datetime:
    """What lay outside the old limits is not owed once they are moved; otherwise moving them changes nothing."""
    if before.limits.admit(now):
        return before.limits.eligible_since(before.eligible_since)
    noticed = _noticed(entry, entry.changed_since, last_slot, now)
    return _begun(entry, noticed, now) if last_slot is None else noticed


def _is_anothers(ran_at: dt.datetime, entry: ScheduledEntry, after: dt.datetime) -> bool:
    """Whether a run is of a slot later than ``after``, which another beat has sent then; else it is that slot's own.

    A row's last run is noted when its slot has been sent, which is later: as much as a busy leader or broker takes.
    """
    return ran_at - after > NOTED_WITHIN and entry.timetable.latest(after, ran_at) is not None
