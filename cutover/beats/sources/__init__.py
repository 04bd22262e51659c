"""Where a side's schedule comes from: what a source gives of each entry, and records of those that were sent."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeAlias

from celery.beat import ScheduleEntry
from celery.schedules import BaseSchedule
from django.db.models.expressions import Combinable

from cutover.conf import CatchUpRule, Config
from cutover.schedules.fingerprint import fingerprint
from cutover.schedules.timetable import Timetable, timetable
from cutover.types import UNLIMITED, EntryName, Limits


@dataclass(frozen=True, slots=True)
class LastRun:
    """What another beat has recorded of an entry: its last run, or, where it never ran, since when that beat had it.

    ``lags``: that beat may have sent since, and not have written it down.
    """

    at: dt.datetime
    has_run: bool
    lags: bool = True


Shared: TypeAlias = dict[int, tuple[BaseSchedule, str, Timetable]]
"""Schedules by their identity, each with its fingerprint and its timetable."""


@dataclass(frozen=True, slots=True)
class ScheduledEntry:
    """One entry of a side's schedule, with all that decides which slots it is owed.

    ``exists_since``: of an entry that is new, since when it may be there, however late it is noticed;
    ``changed_since``: of any other, since when it may be as it is. None where that is not known: then it is owed
    nothing from before it was noticed. ``last_run``: by another beat, which knows no ledger; None where there is no
    such record.
    """

    name: EntryName
    entry: ScheduleEntry
    timetable: Timetable
    fingerprint: str
    rule: CatchUpRule
    limits: Limits = UNLIMITED
    exists_since: dt.datetime | None = None
    changed_since: dt.datetime | None = None
    last_run: LastRun | None = None

    @classmethod
    def of(
        cls,
        entry: ScheduleEntry,
        rule: CatchUpRule,
        limits: Limits = UNLIMITED,
        last_run: LastRun | None = None,
        shared: Shared | None = None,
    ) -> ScheduledEntry:
        """The entry as celery has it. Raises whatever its schedule raises.

        ``shared``: what was made of schedules so far, where entries have the same one.
        """
        schedule, made = entry.schedule, None if shared is None else shared.get(id(entry.schedule))
        if made is None:
            made = schedule, fingerprint(schedule), timetable(schedule)
            if shared is not None:
                shared[id(schedule)] = made
        return cls(EntryName(entry.name), entry, made[2], made[1], rule, limits, last_run=last_run)


@dataclass(frozen=True, slots=True)
class Change:
    """In what a schedule differs from the one before: entries that are new or otherwise, names that are gone.

    Not ``is_last``: more has changed, which the next call gives.
    """

    changed: Mapping[EntryName, ScheduledEntry]
    gone: Collection[EntryName]
    is_last: bool = True


@dataclass(frozen=True, slots=True)
class Loaded:
    """A schedule as it was read: its version, and all its entries by name.

    ``change``: in what alone it differs from what was given before; None where all may. ``no_record``: why
    nothing is known of what was sent before the ledger, of an entry without a last run; empty where that needs no
    saying.
    """

    version: str
    entries: Mapping[EntryName, ScheduledEntry]
    no_record: str = ""
    change: Change | None = None


Polled: TypeAlias = Mapping[str, Any]
"""What a poll of the fence was told besides, by what it asked."""
NOT_POLLED: Final[Polled] = {}


PastSlots: TypeAlias = Sequence[tuple[ScheduleEntry, dt.datetime]]
"""Entries of which a past slot (of a backlog, or replayed) was sent, each with that slot's instant."""


class Source(Protocol):
    """One side's schedule. ``asks``: what a poll of the fence is to ask besides, so that ``load`` need not."""

    @property
    def asks(self) -> Mapping[str, Combinable]: ...

    def load(self, *, full: bool = True, polled: Polled = NOT_POLLED) -> Loaded | None:
        """The schedule, or None when it has not changed since the last call. Raises LedgerUnavailable.

        Not ``full``: a change that nobody announced may be left for the next call. ``polled``: what has just been
        answered of ``asks``; asked by itself where it was not.
        """

    def published(self, entries: Sequence[ScheduleEntry], past_slots: PastSlots = ()) -> Collection[EntryName]:
        """These entries were sent just now: keep their last run and run count true.

        ``past_slots``: entries of which a past slot was sent. Their last run is no later than that slot: taken for
        one of another beat it would end the backlog.

        Returns those that are not to be sent again. Raises LedgerUnavailable.
        """

    def end(self, names: Collection[EntryName]) -> Collection[EntryName]:
        """These entries will never fall due again: note that where people see it. Returns those that are dealt with.

        Raises LedgerUnavailable.
        """

    def recover(self) -> Collection[EntryName]:
        """Make up for a call of ``published`` that was lost: before a leader's first slot, and after an outage.

        Returns those that are not to be sent again. Raises LedgerUnavailable.
        """


def catch_up_rule(config: Config, name: str, deadline_s: float | None) -> CatchUpRule:
    """The catch-up rule of one entry, within celery's own ``beat_cron_starting_deadline`` where that is set."""
    own = config.catch_up_rule(EntryName(name))
    if deadline_s is None:
        return own
    return replace(own, window=min(own.window, dt.timedelta(seconds=deadline_s)))
