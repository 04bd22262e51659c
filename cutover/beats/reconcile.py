"""Pure: what the ledger is to remember of a schedule's entries, and since when each is eligible.

Every case that was ever found is a line of one table, in ``tests/unit/beats/test_reconcile.py``.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace

from cutover.beats.sources import ScheduledEntry
from cutover.ledger.entries import KnownEntry
from cutover.types import EntryName


def reconcile(
    known: Mapping[EntryName, KnownEntry],
    loaded: Mapping[EntryName, ScheduledEntry],
    last_slots: Mapping[EntryName, dt.datetime],
    now: dt.datetime,
) -> dict[EntryName, KnownEntry]:
    """The entries whose record in the ledger changes, each with its new record; all others stay as ``known``.

    ``loaded``: the whole schedule of the active side. ``last_slots``: each entry's latest slot in the ledger. Since
    when an entry is eligible: it is owed nothing that fell due at or before that instant.
    """
    changes = {
        name: after
        for name, entry in loaded.items()
        if (after := _remembered(known.get(name), entry, last_slots.get(name), now)) != known.get(name)
    }
    gone = {name: replace(k, is_active=False) for name, k in known.items() if k.is_active and name not in loaded}
    return changes | gone


def _remembered(
    before: KnownEntry | None, entry: ScheduledEntry, last_slot: dt.datetime | None, now: dt.datetime
) -> KnownEntry:
    return KnownEntry(entry.fingerprint, _eligible_since(before, entry, last_slot, now), entry.limits)


def _eligible_since(
    before: KnownEntry | None, entry: ScheduledEntry, last_slot: dt.datetime | None, now: dt.datetime
) -> dt.datetime:
    noticed = _noticed(entry, last_slot, now)
    if before is None:  # new: it goes on from another beat's own record, else it begins now
        return min(entry.last_run.at if entry.last_run is not None else noticed, now)
    if before.fingerprint != entry.fingerprint:  # another schedule: what the old one would have made due is not owed
        return noticed
    if not before.is_active:  # back again: what fell due while it was gone is not owed
        return now
    since = before.eligible_since if before.limits == entry.limits else _limits_moved(before, now)
    since = min(since, now)  # one that is ahead was noted by a clock that was
    run = entry.last_run
    if run is not None and run.has_run and since < run.at <= now and (last_slot is None or last_slot < run.at):
        return run.at  # another beat sent it, between two slots of ours
    return since


def _noticed(entry: ScheduledEntry, last_slot: dt.datetime | None, now: dt.datetime) -> dt.datetime:
    """Since when an entry is eligible that is noticed now: one that falls due once, since it exists."""
    if entry.exists_since is None:
        return now
    return min(max(filter(None, (entry.exists_since, last_slot))), now)


def _limits_moved(before: KnownEntry, now: dt.datetime) -> dt.datetime:
    """What lay outside the old limits is not owed once they are moved; otherwise moving them changes nothing."""
    return before.limits.eligible_since(before.eligible_since) if before.limits.admit(now) else now
