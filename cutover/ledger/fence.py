"""The fence: the one row that says which epoch and which side may claim, and the terms that were led under it.

Whoever claims holds this row's lock and demands its own epoch, so an old leader is refused however sure it is.
"""

import datetime as dt
from dataclasses import dataclass
from typing import Final

from django.db import connections
from django.db.models import F, Func, TextField, Value

from cutover import clock, models
from cutover.ledger.database import Database
from cutover.types import Epoch, Identity, Side, Term

_PATIENCE: Final = Func(
    Value("idle_in_transaction_session_timeout"),
    Value("2000"),
    Value(True),
    function="set_config",
    output_field=TextField(),
)
"""A holder of the fence that falls silent, frozen or cut off, loses it: PostgreSQL ends its session after 2 s."""


@dataclass(frozen=True, slots=True)
class FenceView:
    """The fence as it was read: epoch and active side, since when that side is active and all workers are guarded.

    ``schedule_revision`` rises with every change of what the ledger knows of entries.
    """

    epoch: Epoch
    side: Side
    switched_at: dt.datetime | None
    guarded_since: dt.datetime | None
    schedule_revision: int


class Fence:
    """The fence in one database. Every method raises LedgerUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._alias = database.alias

    def read(self) -> FenceView:
        """The fence, read without a lock: good for deciding whether to campaign, never for deciding what to send."""
        with self._database.asked():
            row = models.Fence.objects.using(self._alias).get()
        return _view(row)

    def admits(self, term: Term) -> bool:
        """Whether ``term`` may claim; holds the fence until the surrounding transaction ends."""
        return self.held_for(term) is not None

    def held_for(self, term: Term) -> FenceView | None:
        """The fence, held until the surrounding transaction ends; None when it does not admit ``term``."""
        fence = self._locked()
        return _view(fence) if _admits(fence, term) else None

    def raise_revision(self) -> int:
        """Give the schedule its next revision. The fence is held: what this revision changes is in the same commit."""
        fences = models.Fence.objects.using(self._alias)
        fences.update(schedule_revision=F("schedule_revision") + 1)
        revision: int = fences.values_list("schedule_revision", flat=True).get()
        return revision

    def open_term(self, who: Identity, side: Side) -> Term | None:
        """Raise the epoch and begin a leadership, in one commit; None when ``side`` is not the active one."""
        now = clock.now()
        with self._database.transaction():
            fence = self._locked()
            if fence.side != side:
                return None
            epoch = fence.epoch + 1
            models.Fence.objects.using(self._alias).update(epoch=epoch)
            models.Term.objects.using(self._alias).filter(ended_at=None).update(ended_at=now, end_reason="succeeded")
            models.Term.objects.using(self._alias).create(
                epoch=epoch,
                side=side,
                holder=who.holder,
                host=who.host,
                pid=who.pid,
                release=who.release,
                started_at=now,
            )
        return Term(Epoch(epoch), side, who.holder)

    def first_tick(self, term: Term) -> None:
        """Record that the leader of ``term`` has completed its first tick."""
        with self._database.asked():
            rows = models.Term.objects.using(self._alias).filter(epoch=term.epoch, first_tick_at=None)
            rows.update(first_tick_at=clock.now())

    def end_term(self, term: Term, reason: str) -> None:
        """Record why a leadership ended; the first reason stays."""
        with self._database.asked():
            rows = models.Term.objects.using(self._alias).filter(epoch=term.epoch, ended_at=None)
            rows.update(ended_at=clock.now(), end_reason=reason)

    def switch(self, to: Side) -> Epoch:
        """Make ``to`` the active side and raise the epoch, in one commit, which ends the other side's claims.

        Already there: changes nothing. Returns the epoch of the fence.
        """
        with self._database.transaction():
            fence = self._locked()
            if fence.side == to:
                return Epoch(fence.epoch)
            epoch = fence.epoch + 1
            now = clock.now()
            models.Fence.objects.using(self._alias).update(epoch=epoch, side=to, switched_at=now)
            models.Term.objects.using(self._alias).filter(ended_at=None).update(
                ended_at=now, end_reason=f"switched to {to}"
            )
        return Epoch(epoch)

    def set_guarded(self, since: dt.datetime | None) -> None:
        """Record since when every worker that answers has the run guard; None: that cannot be said."""
        with self._database.asked():
            models.Fence.objects.using(self._alias).update(guarded_since=since)

    def term_since(self, epoch: Epoch) -> models.Term | None:
        """The newest term whose epoch is at least ``epoch``; None when nobody has led since."""
        with self._database.asked():
            return models.Term.objects.using(self._alias).filter(epoch__gte=epoch).order_by("-epoch").first()

    def _locked(self) -> models.Fence:
        """The fence row, locked until the transaction ends."""
        fences = models.Fence.objects.using(self._alias)
        if not connections[self._alias].features.has_select_for_update:
            # SQLite locks the whole file at the first write; without one, two readers could both go on to write.
            fences.update(epoch=F("epoch"))
        elif connections[self._alias].vendor == "postgresql":
            fences = fences.annotate(patience=_PATIENCE)
        return fences.select_for_update().get()


def _admits(fence: models.Fence, term: Term) -> bool:
    return fence.epoch == term.epoch and fence.side == term.side


def _view(row: models.Fence) -> FenceView:
    return FenceView(Epoch(row.epoch), Side(row.side), row.switched_at, row.guarded_since, row.schedule_revision)
