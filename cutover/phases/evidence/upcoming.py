"""What falls due next on a side: by the timetables of what it sends, from where the ledger stands."""

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cutover.phases.context import Context
from cutover.phases.evidence import quiet_windows, side
from cutover.phases.evidence.quiet_windows import Window
from cutover.schedules.due import next_due
from cutover.schedules.fingerprint import fingerprint
from cutover.schedules.timetable import Timetable, interval, timetable
from cutover.types import Cursor, EntryName, Side


@dataclass(frozen=True, slots=True)
class Upcoming:
    """Fingerprint, timetable and cursor of each entry that a side sends.

    ``unknown``: the intervals of which the ledger knows nothing yet; they are due by the clock of a beat of which it
    knows nothing either, or once a beat under the lease has begun with them.
    """

    entries: Mapping[EntryName, tuple[str, Timetable, Cursor]]
    unknown: Collection[EntryName] = ()

    def next_slots(self) -> dict[EntryName, dt.datetime]:
        """The next slot of each entry that has one, and of which it is known; may lie in the past."""
        known = ((name, one) for name, one in self.entries.items() if name not in self.unknown)
        found = {name: next_due(table, cursor) for name, (_, table, cursor) in known}
        return {name: at for name, at in found.items() if at is not None}

    def quiet(self, since: dt.datetime, until: dt.datetime) -> list[Window]:
        """The longest windows in between in which nothing falls due, longest first."""
        return quiet_windows.windows(self.entries.values(), since, until)


def read(context: Context, of: Side, now: dt.datetime) -> Upcoming:
    """What ``of`` sends, as of ``now``. Raises as ``side.schedules``."""
    stands = context.ledger.cursors.read(until=now)
    shared: dict[str, Timetable] = {}  # equal schedules have one timetable
    entries: dict[EntryName, tuple[str, Timetable, Cursor]] = {}
    for name, schedule in side.schedules(context, of).items():
        mark = fingerprint(schedule)
        table = shared.get(mark) or shared.setdefault(mark, timetable(schedule))
        entries[name] = mark, table, stands.get(name, Cursor(None, now))
    unknown = {name for name, (_, table, _) in entries.items() if name not in stands and interval(table) is not None}
    return Upcoming(entries, unknown)
