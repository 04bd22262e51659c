"""The facts that the phases decide by, as the database has them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from django_celery_beat.models import PeriodicTasks

from cutover.ledger.database import outages
from cutover.ledger.fence import FenceView
from cutover.models import Cutover, ImportedEntry
from cutover.phases.context import Context
from cutover.types import Side


@dataclass(frozen=True, slots=True)
class State:
    """How far the cutover has come."""

    phase: int
    fence: FenceView
    switched_at: dt.datetime | None
    switch_epoch: int | None
    snapshot: int

    @property
    def side(self) -> Side:
        """The active side."""
        return self.fence.side

    def in_words(self) -> str:
        """One line on where the cutover stands, and what to type to go on or back."""
        if self.side is Side.DATABASE and self.phase < 3:
            return "Phase 3 has switched and is not finished: run phase3 again, or rollback."
        if self.side is Side.CODE and self.phase >= 3:
            return "The rollback has switched back and is not finished: run rollback again."
        if self.side is Side.CODE and self.snapshot:
            return "Phase 3 has prepared the rows and not switched: run phase3 again, or rollback."
        return f"Phase {self.phase} is done; the {self.side} side is active."


def read(context: Context) -> State:
    """The present state. Raises LedgerUnavailable or LedgerNotMigrated."""
    fence = context.ledger.fence.read()
    with outages(context.alias):
        row, _ = Cutover.objects.using(context.alias).get_or_create(id=1)
        return State(
            phase=row.phase,
            fence=fence,
            switched_at=row.switched_at,
            switch_epoch=row.switch_epoch,
            snapshot=ImportedEntry.objects.using(context.alias).filter(enabled_before__isnull=False).count(),
        )


def schedule_version(context: Context) -> dt.datetime | None:
    """When the rows were last changed, as the beats read it; None when that was never recorded."""
    with outages(context.alias):
        found: dt.datetime | None = (
            PeriodicTasks.objects.using(context.alias).values_list("last_update", flat=True).first()
        )
    return found
