"""The fence: the one row that says which epoch and which side may claim, and the terms that were led under it.

Whoever claims holds this row's lock and demands its own epoch, so an old leader is refused however sure it is.
"""

import datetime as dt
from dataclasses import asdict, dataclass
from typing import Any, Final

from django.db import connections
from django.db.models import F, Func, OuterRef, QuerySet, Subquery, TextField, Value

from cutover import clock, models
from cutover.ledger.database import outages, transaction
from cutover.types import Epoch, Identity, Side, Term

_PATIENCE: Final = Func(
    *(Value("idle_in_transaction_session_timeout"), Value("2000"), Value(True)),
    function="set_config",
    output_field=TextField(),
)
"""A holder of the fence that falls silent, frozen or cut off, loses it: PostgreSQL ends its session after 2 s."""

_HOLDER: Final = Subquery(models.Term.objects.filter(epoch=OuterRef("epoch")).values("holder")[:1])
"""Whose term the fence's epoch is. By its number alone an epoch from before a flush or a restored backup, which start
the count again, could be taken for a later leader's.
"""


@dataclass(frozen=True, slots=True)
class FenceView:
    """The fence as it was read; the fields are those of ``models.Fence``."""

    epoch: Epoch
    side: Side
    switched_at: dt.datetime | None
    guarded_since: dt.datetime | None
    schedule_revision: int


class Fence:
    """The fence in one database. Every method raises LedgerUnavailable."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._fences, self._terms = models.Fence.objects.using(alias), models.Term.objects.using(alias)

    def read(self) -> FenceView:
        """The fence, read without a lock: good for deciding whether to campaign, never for deciding what to send."""
        with outages(self._alias):
            return _view(self._fences.get())

    def admits(self, term: Term) -> bool:
        """Whether ``term`` may claim; holds the fence until the surrounding transaction ends."""
        return self.held_for(term) is not None

    def held_for(self, term: Term) -> FenceView | None:
        """The fence, held until the surrounding transaction ends; None when it does not admit ``term``."""
        row = self._lock(self._fences.annotate(holder=_HOLDER))
        return _view(row) if (row.epoch, row.side, row.holder) == (term.epoch, term.side, term.holder) else None

    def open_term(self, who: Identity, side: Side) -> Term | None:
        """Raise the epoch and begin a leadership, in one commit; None when ``side`` is not the active one."""
        with transaction(self._alias):
            fence = self._locked()
            if fence.side != side:
                return None
            epoch = self._raise_epoch(fence, "succeeded")
            self._terms.create(epoch=epoch, side=side, started_at=clock.now(), **asdict(who))
        return Term(epoch, side, who.holder)

    def first_tick(self, term: Term) -> None:
        """Record that the leader of ``term`` has completed its first tick."""
        with outages(self._alias):
            self._terms.filter(epoch=term.epoch, first_tick_at=None).update(first_tick_at=clock.now())

    def end_term(self, term: Term, reason: str) -> None:
        """Record why a leadership ended; the first reason stays."""
        with outages(self._alias):
            self._terms.filter(epoch=term.epoch, ended_at=None).update(ended_at=clock.now(), end_reason=reason)

    def switch(self, to: Side) -> Epoch:
        """Make ``to`` the active side and raise the epoch, in one commit, which ends the other side's claims.

        Already there: changes nothing. Returns the epoch of the fence.
        """
        with transaction(self._alias):
            fence = self._locked()
            if fence.side == to:
                return fence.epoch
            return self._raise_epoch(fence, f"switched to {to}", side=to, switched_at=clock.now())

    def set_guarded(self, since: dt.datetime | None) -> None:
        """Record since when every worker that answers has the run guard; None: that cannot be said."""
        with outages(self._alias):
            self._fences.update(guarded_since=since)

    def term_since(self, epoch: Epoch) -> models.Term | None:
        """The newest term whose epoch is at least ``epoch``; None when nobody has led since."""
        with outages(self._alias):
            return self._terms.filter(epoch__gte=epoch).order_by("-epoch").first()

    def _raise_epoch(self, fence: FenceView, reason: str, **changes: Any) -> Epoch:
        """End the term that was led under ``fence``, which is held, and what else changes with it."""
        epoch = Epoch(fence.epoch + 1)
        self._fences.update(epoch=epoch, **changes)
        self._terms.filter(ended_at=None).update(ended_at=clock.now(), end_reason=reason)
        return epoch

    def _locked(self) -> FenceView:
        """The fence, locked until the transaction ends."""
        return _view(self._lock(self._fences.all()))

    def _lock(self, fences: QuerySet[Any]) -> Any:
        """The fence row as ``fences`` has it, locked until the transaction ends."""
        if not connections[self._alias].features.has_select_for_update:
            # SQLite locks the whole file at the first write; without one, two readers could both go on to write.
            self._fences.update(epoch=F("epoch"))
        elif connections[self._alias].vendor == "postgresql":
            fences = fences.annotate(patience=_PATIENCE)
        return fences.select_for_update().get()


def _view(row: models.Fence) -> FenceView:
    return FenceView(Epoch(row.epoch), Side(row.side), row.switched_at, row.guarded_since, row.schedule_revision)
