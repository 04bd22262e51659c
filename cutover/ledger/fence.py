"""The fence: the one row that says which epoch and which side may claim, and the terms that were led under it.

Whoever claims holds this row's lock and demands its own epoch, so an old leader is refused however sure it is. With
the row comes the time by the database's clock, the one that all beats share: slots go by it where their own is wrong.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, TypeAlias

from django.db import connections
from django.db.models import Func, OuterRef, QuerySet, Subquery, TextField, Value
from django.db.models.expressions import Combinable

from cutover import clock, models
from cutover.events import Event, log
from cutover.fields import DatabaseNow
from cutover.ledger.database import outages, transaction
from cutover.ledger.prepared import Prepared
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

_COLUMNS: Final = ("epoch", "side", "switched_at", "guarded_since", "schedule_revision", "pauses", "now")
"""What ``FenceView`` is made of; the fence's own columns come first, as Django has them in the SQL."""

AHEAD: Final = dt.timedelta(seconds=1)
"""How far ahead of the database's clock a slot is still claimed, and how far apart two clocks are still taken as equal.

A slot is claimed at the very moment at which it is due by the beat's clock, and clocks that NTP keeps are milliseconds
apart: without this every other claim would be refused and tried again. What is so early keeps back no other for long.
"""
Questions: TypeAlias = Mapping[str, Combinable]
"""What else the statement is to answer that reads the fence, by name: a poll costs one statement, whatever it asks."""
NO_QUESTIONS: Final[Questions] = {}
SEEN_EVERY_S: Final = 10.0
"""How often a leader's sign of life is written: it is a commit, and only says how long nobody has led at most."""
SUCCEEDED: Final = "succeeded"
"""Why a term ended whose leader did not say so itself: it was killed, frozen or cut off before."""


@dataclass(frozen=True, slots=True)
class FenceView:
    """The fence as it was read; the fields are those of ``models.Fence``.

    ``now``: then, by the database's clock. ``pauses``: how many have no end yet, counted in the fence's own row so that
    whoever has read it knows, with no query more, whether there are any to read: most often there are none.
    ``answers``: those to the ``Questions`` that were asked with it, by name.
    """

    epoch: Epoch
    side: Side
    switched_at: dt.datetime | None
    guarded_since: dt.datetime | None
    schedule_revision: int
    now: dt.datetime = field(compare=False)
    pauses: int = 0
    answers: Mapping[str, Any] = field(default_factory=dict, compare=False)


class Fence:
    """The fence in one database. Every method raises LedgerUnavailable."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._fences = models.Fence.objects.using(alias).annotate(now=DatabaseNow())
        self._terms = models.Term.objects.using(alias)
        self._ahead = dt.timedelta(0)
        self._seen: tuple[Term, float] | None = None
        self._asked: tuple[Questions, Prepared] | None = None
        self.schedule_revision: int | None = None
        """As it was read last, with or without a lock."""

    def now(self) -> dt.datetime:
        """The present instant: by this host's clock, put right by the database's as it was read last."""
        return clock.now() - self._ahead

    def read_now(self) -> dt.datetime:
        """The present instant, put right by the database's clock, read for it: for callers that do not poll."""
        self.read()
        return self.now()

    def read_and_correct(self, at: dt.datetime) -> dt.datetime:
        """An instant of this host's clock, put right by the database's, read for it."""
        self.read()
        return at - self._ahead

    def read(self, questions: Questions = NO_QUESTIONS) -> FenceView:
        """The fence, read without a lock: good for deciding whether to campaign, never for deciding what to send.

        ``questions``: what else the one statement is to answer; whoever asks the same again and again gives the same
        object.
        """
        with outages(self._alias):
            asked = self._asked
            if asked is None or asked[0] is not questions:
                prepared = Prepared(self._fences.annotate(**questions), [*_COLUMNS, *questions])
                asked = self._asked = questions, prepared
            row = self._corrected_by(asked[1].first)
            return replace(_view(row), answers={name: getattr(row, name) for name in questions})

    def admits(self, term: Term) -> bool:
        """Whether ``term`` may claim; holds the fence until the surrounding transaction ends."""
        return self.held_for(term) is not None

    def held(self) -> FenceView:
        """The fence, held until the surrounding transaction ends: for what leads nobody, such as an operator's wish."""
        return _view(self._lock(self._fences.all()))

    def held_for(self, term: Term) -> FenceView | None:
        """The fence, held until the surrounding transaction ends; None when it does not admit ``term``."""
        row = self._lock(self._fences.annotate(holder=_HOLDER))
        return _view(row) if (row.epoch, row.side, row.holder) == (term.epoch, term.side, term.holder) else None

    def open_term(self, who: Identity, side: Side) -> Term | None:
        """Raise the epoch and begin a leadership, in one commit; None when ``side`` is not the active one."""
        with transaction(self._alias):
            fence = self.held()
            if fence.side != side:
                return None
            epoch = self._raise_epoch(fence, SUCCEEDED)
            self._terms.create(epoch=epoch, side=side, started_at=self.now(), **asdict(who))
        return Term(epoch, side, who.holder)

    def record_first_tick(self, term: Term) -> None:
        """Record that the leader of ``term`` has completed its first tick."""
        with outages(self._alias):
            self._row(term).filter(first_tick_at=None).update(first_tick_at=self.now())

    def record_seen(self, term: Term) -> None:
        """Record that the leader of ``term`` is alive, every ten seconds; nothing where the term has ended."""
        now_s = clock.monotonic_s()
        if self._seen is not None and self._seen[0] == term and now_s < self._seen[1] + SEEN_EVERY_S:
            return
        with outages(self._alias):
            self._row(term).filter(ended_at=None).update(seen_at=self.now())
        self._seen = term, now_s

    def end_term(self, term: Term, reason: str) -> None:
        """Record why a leadership ended; the first reason stays."""
        with outages(self._alias):
            self._row(term).filter(ended_at=None).update(ended_at=self.now(), end_reason=reason)

    def switch(self, to: Side) -> Epoch:
        """Make ``to`` the active side and raise the epoch, in one commit, which ends the other side's claims.

        Already there: changes nothing. Returns the epoch of the fence.
        """
        with transaction(self._alias):
            fence = self.held()
            if fence.side == to:
                return fence.epoch
            return self._raise_epoch(fence, f"switched to {to}", side=to, switched_at=self.now())

    def set_guarded(self, since: dt.datetime | None) -> None:
        """Record since when every worker that answers has the run guard; None: that cannot be said."""
        with outages(self._alias):
            self._fences.update(guarded_since=since)

    def term_since(self, epoch: Epoch) -> models.Term | None:
        """The newest term whose epoch is at least ``epoch``; None when nobody has led since."""
        with outages(self._alias):
            return self._terms.filter(epoch__gte=epoch).order_by("-epoch").first()

    def _row(self, term: Term) -> QuerySet[models.Term]:
        """The row of ``term``: of its leader, too, for the reason that ``_HOLDER`` has."""
        return self._terms.filter(epoch=term.epoch, holder=term.holder)

    def _raise_epoch(self, fence: FenceView, reason: str, **changes: Any) -> Epoch:
        """End the term that was led under ``fence``, which is held, and what else changes with it."""
        epoch = Epoch(fence.epoch + 1)
        self._fences.update(epoch=epoch, **changes)
        self._terms.filter(ended_at=None).update(ended_at=self.now(), end_reason=reason)
        return epoch

    def _lock(self, fences: QuerySet[Any]) -> Any:
        """The fence row as ``fences`` has it, locked until the transaction ends."""
        if connections[self._alias].vendor == "postgresql":
            fences = fences.annotate(patience=_PATIENCE)
        return self._corrected_by(fences.select_for_update().get)

    def _corrected_by(self, get: Callable[[], Any]) -> Any:
        """The fence row as ``get`` reads it; the clock is put right by the database's, which comes with it."""
        before = clock.now()
        row = get()
        self.schedule_revision = row.schedule_revision
        self._correct(before - row.now, clock.now() - row.now)
        return row

    def _correct(self, least: dt.timedelta, most: dt.timedelta) -> None:
        """This host's clock is between ``least`` and ``most`` ahead of the database's, which was read in between."""
        ahead = least if least > AHEAD else most if most < -AHEAD else dt.timedelta(0)
        if ahead and not self._ahead:
            reason = f"this host's clock is {ahead.total_seconds():+.1f} s from the database's, by which slots go now"
            log(Event.CLOCK_CORRECTED, reason=reason)
        self._ahead = ahead


def _view(row: Any) -> FenceView:
    epoch, side = Epoch(row.epoch), Side(row.side)
    return FenceView(epoch, side, row.switched_at, row.guarded_since, row.schedule_revision, row.now, row.pauses)
