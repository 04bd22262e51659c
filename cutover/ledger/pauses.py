"""Pauses: what an operator has stopped, the whole site or single entries; rows that change under the fence alone.

Whoever claims reads them under its lock too. So from the commit of a pause on nothing of it is claimed, by a beat of
either side, whatever that beat believes; and so a switch of side changes no pause. Until when is judged by the
database's clock.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from django.db.models import F, Q, QuerySet

from cutover import models
from cutover.ledger.database import outages, transaction, tried_again
from cutover.ledger.fence import Fence, FenceView
from cutover.renames import NO_RENAMES, Renames
from cutover.types import EntryName, Missed

SITE: Final = EntryName("")
"""What is paused where it is no single entry."""
PAUSED: Final = "paused"
"""How the reason begins for which a slot is missed that a pause has kept back."""
GRACE: Final = dt.timedelta(seconds=30)
"""A slot that fell due so shortly before a pause, and was not sent, was kept back by it."""


@dataclass(frozen=True, slots=True)
class Pause:
    """One pause of ``entry``, ``SITE`` for all: who, from when until when (None: until it is ended), why, who ended it.

    ``until`` counts while ``ended_at`` is None. ``other_names``: those that the entry had before, or was given
    since; a slot keeps the name under which it fell due.
    """

    entry: EntryName
    paused_at: dt.datetime
    until: dt.datetime | None
    paused_by: str
    reason: str
    ended_at: dt.datetime | None = None
    ended_by: str = ""
    other_names: frozenset[EntryName] = frozenset()

    @property
    def end(self) -> dt.datetime | None:
        """When it ended, or will; None where nobody knows."""
        return self.ended_at or self.until

    def is_in_effect(self, now: dt.datetime) -> bool:
        """Whether it holds at ``now``, by the database's clock."""
        return self.ended_at is None and (self.until is None or now < self.until)

    def is_of(self, entry: EntryName) -> bool:
        """Whether it is one of that entry, by whatever name, or of all."""
        return self.entry in (SITE, entry) or entry in self.other_names

    def keeps_back(self, entry: EntryName, due_at: dt.datetime) -> bool:
        """Whether it is for this pause that a slot was not sent."""
        is_within = self.paused_at - GRACE <= due_at and (self.end is None or due_at < self.end)
        return is_within and self.is_of(entry)


@dataclass(frozen=True, slots=True)
class Paused:
    """The entries that are paused; ``SITE`` among them: all. ``other_names``: by which they were or are called, too."""

    names: frozenset[EntryName] = frozenset()
    other_names: frozenset[EntryName] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.names)

    def holds(self, entry: EntryName) -> bool:
        """Whether nothing of that entry is claimed or sent."""
        return bool(self.names) and (entry in self.names or SITE in self.names or entry in self.other_names)

    @property
    def is_all(self) -> bool:
        """Whether everything is."""
        return SITE in self.names


NOTHING_PAUSED: Final = Paused()


class Pauses:
    """The pauses in one database. Every method raises LedgerUnavailable.

    ``renames``: a pause is of an entry, by whichever of its names it was typed.
    """

    def __init__(self, alias: str, fence: Fence, renames: Renames = NO_RENAMES) -> None:
        self._alias, self._fence, self._renames = alias, fence, renames
        self._rows = models.Pause.objects.using(alias).order_by("paused_at", "pk")

    @tried_again
    def pause(self, entry: EntryName, length: dt.timedelta | None, by: str, reason: str) -> Pause:
        """Pause ``entry``, or all by ``SITE``, for ``length`` from now on (None: until resumed), in one commit.

        One that is paused already stays so, with what is given now as its end, its reason and whose it is.
        """
        with transaction(self._alias):
            now = self._fence.held().now
            self._close(now)
            told = {"until": now + length if length else None, "paused_by": by, "reason": reason}
            if not self._rows.filter(entry=entry, ended_at=None).update(**told):
                self._rows.create(entry=entry, paused_at=now, **told)
            self._count()
            return self._of(self._rows.get(entry=entry, ended_at=None))

    @tried_again
    def resume(self, entry: EntryName, by: str) -> Pause | None:
        """End that pause, in one commit; returns it as it was, None where there is none."""
        with transaction(self._alias):
            now = self._fence.held().now
            self._close(now)
            found = self._rows.filter(entry=entry, ended_at=None).first()
            self._rows.filter(entry=entry, ended_at=None).update(ended_at=now, ended_by=by)
            self._count()
        return None if found is None else self._of(found)

    def read_locked(self, fence: FenceView) -> Paused:
        """What is paused as of ``fence``, whose lock is held: nobody pauses or resumes before its transaction ends."""
        if not fence.pauses:
            return NOTHING_PAUSED
        # Locked, so that it is read as it is now, whatever snapshot the transaction has.
        found = [self._of(row) for row in self._rows.filter(ended_at=None).select_for_update()]
        if not all(pause.is_in_effect(fence.now) for pause in found):
            self._close(fence.now)
            self._count()
        return paused_by([pause for pause in found if pause.is_in_effect(fence.now)])

    def in_effect(self, fence: FenceView) -> list[Pause]:
        """Those in effect as of ``fence``, read without a lock: for people, and for a loop that spares itself claims.

        Costs no query where there are none.
        """
        if not fence.pauses:
            return []
        with outages(self._alias):
            found = [self._of(row) for row in self._rows.filter(ended_at=None)]
        return [pause for pause in found if pause.is_in_effect(fence.now)]

    def read(self) -> list[Pause]:
        """Those in effect now; the site's first."""
        return sorted(self.in_effect(self._fence.read()), key=lambda pause: pause.entry)

    def since(self, since: dt.datetime) -> list[Pause]:
        """Those that were in effect at ``since`` or later, the oldest first."""
        with outages(self._alias):
            found = [self._of(row) for row in self._rows.filter(Q(ended_at=None) | Q(ended_at__gt=since))]
        return [pause for pause in found if pause.end is None or pause.end > since]

    def explain(self, missed: Sequence[Missed]) -> list[Missed]:
        """``missed`` as it is, but for what a pause has kept back: that is named in the reason. At most one query."""
        if not missed:
            return []
        pauses = self.since(min(one.slot.due_at for one in missed))
        return [_explained(one, pauses) for one in missed]

    def _close(self, now: dt.datetime) -> None:
        """Record the end of those whose time is over; the fence is held."""
        self._rows.filter(ended_at=None, until__lte=now).update(ended_at=F("until"))

    def _count(self) -> None:
        """Have the fence say whether there is anything to read; it is held."""
        count = self._rows.filter(ended_at=None).count()
        models.Fence.objects.using(self._alias).update(pauses=count)

    def _of(self, row: models.Pause) -> Pause:
        given = row.paused_at, row.until, row.paused_by, row.reason, row.ended_at, row.ended_by
        entry = EntryName(row.entry)
        other_names = frozenset((*self._renames.since(entry), *self._renames.before(entry)))
        return Pause(entry, *given, other_names)


def paused_by(pauses: Sequence[Pause]) -> Paused:
    """What these pause."""
    others = frozenset[EntryName]().union(*(one.other_names for one in pauses))
    return Paused(frozenset(one.entry for one in pauses), others)


def but_paused(slots: QuerySet[models.Slot], paused: Paused) -> QuerySet[models.Slot]:
    """``slots`` without those of what is paused."""
    if paused.is_all:
        return slots.none()
    return slots.exclude(entry__in=paused.names | paused.other_names) if paused else slots


def _explained(missed: Missed, pauses: Iterable[Pause]) -> Missed:
    due_at, entry = missed.slot.due_at, missed.slot.entry
    for pause in pauses:
        if pause.keeps_back(entry, due_at):
            why = f" ({pause.reason})" if pause.reason else ""
            return replace(missed, reason=f"{PAUSED}{why}: {missed.reason}"[: models.REASON_LENGTH])
    return missed
