"""What the rows that were seen before tell of an entry: since when it is there, and as it is, and its last run."""

import datetime as dt
from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from cutover.beats.sources import LastRun, ScheduledEntry
from cutover.beats.sources.watch import Block
from cutover.fields import as_instant
from cutover.schedules import overlay
from cutover.schedules.timetable import interval
from cutover.types import EntryName, Limits

LATE: Final = dt.timedelta(minutes=5)
"""How late a row that was saved may be seen: after a long transaction, or through a replica. (The stock scheduler reads
the rows that often.) One that was saved earlier, and comes now, has been enabled now, past ``save()``."""


@dataclass(frozen=True)
class Seen:
    """The rows as they were seen last: at which version and when, what was made of them, the overlays on them."""

    version: str
    at: dt.datetime
    entries: Mapping[EntryName, ScheduledEntry]
    overlays: overlay.Overlays

    @cached_property
    def keys(self) -> Set[Any]:
        """The rows' primary keys."""
        return {entry.entry.model.pk for entry in self.entries.values()}

    def of(self, blocks: Collection[Block]) -> dict[int, ScheduledEntry]:
        """The entries of the rows in these blocks, by primary key."""
        found = ((entry.entry.model.pk, entry) for entry in self.entries.values())
        return {key: entry for key, entry in found if Block.of(key) in blocks}


def with_past(
    entry: ScheduledEntry, last_run_at: dt.datetime | None, seen: Seen | None, now: dt.datetime
) -> ScheduledEntry:
    """The entry with what its row, and what was seen before, tell of the time until now."""
    row = entry.entry.model
    saved_at = as_instant(row.date_changed)
    known = seen.entries.get(entry.name) if seen else None
    if known is not None and _mark(known) == _mark(entry):
        return replace(
            entry, exists_since=known.exists_since, changed_since=known.changed_since, last_run=known.last_run
        )
    unseen_at = seen.at if seen else None
    last_run = None
    # Enabled, or edited, while this beat looked: what was sent of it before does not count. But where it was there when
    # this beat began, or had another name until now, it goes on from what was sent of it.
    if seen is None or (known is None and row.pk in seen.keys):
        step = interval(entry.timetable)
        if last_run_at is not None:
            last_run = LastRun(as_instant(last_run_at), has_run=True)
        elif step is not None and saved_at + step > now:
            last_run = LastRun(saved_at, has_run=False, lags=False)  # never sent, and nothing has fallen due yet
    return replace(
        entry,
        exists_since=saved_at if saved_at > now - LATE else unseen_at,
        changed_since=max(saved_at, unseen_at) if unseen_at else None,
        last_run=last_run,
    )


def _mark(entry: ScheduledEntry) -> tuple[str, Limits, dt.datetime]:
    return entry.fingerprint, entry.limits, entry.entry.model.date_changed
