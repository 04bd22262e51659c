"""The facts that the phases decide by, as the database has them; and its outages, told as our own errors."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import DatabaseError, InterfaceError, connections
from django_celery_beat.models import PeriodicTask, PeriodicTasks

from cutover.errors import LedgerNotMigrated, LedgerUnavailable
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


@contextmanager
def outages(alias: str) -> Iterator[None]:
    """Tell a database that gives no answer, or has no tables yet, by our own errors."""
    connection = connections[alias]
    try:
        yield
    except (DatabaseError, InterfaceError) as exc:
        if connection.in_atomic_block:
            raise
        connection.close()
        raise _outage(alias, exc) from exc


def _outage(alias: str, exc: Exception) -> LedgerUnavailable:
    try:
        tables = connections[alias].introspection.table_names()
        if {Cutover._meta.db_table, PeriodicTask._meta.db_table} - set(tables):
            return LedgerNotMigrated("The database has no ledger yet: run `manage.py migrate`.")
    except (DatabaseError, InterfaceError):
        connections[alias].close()
    said = " ".join(str(exc).split()) or type(exc).__name__
    return LedgerUnavailable(f"The database ({alias}) gives no answer: {said}")
