"""Replays: slots that were missed, and that an operator wants sent after all; asked for, then claimed by a leader.

Nobody but a leader sends: whoever asks marks the slots, in a commit that holds the fence; the leader turns the marks
into claims, under its own epoch. From then on they are like any other claim, but for the sweep, which gives none up for
its age. A slot that is not missed is never marked, so asking twice sends nothing twice. What is paused stays marked.
"""

import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from django.db.models import Exists, QuerySet
from django.db.models.expressions import Combinable

from cutover import models
from cutover.ledger import bulk
from cutover.ledger.claims import slot_of
from cutover.ledger.database import outages, transaction, tried_again
from cutover.ledger.fence import Fence
from cutover.ledger.pauses import NOTHING_PAUSED, Paused, Pauses, but_paused
from cutover.types import EntryName, Side, Slot, SlotState, Term

_KEYS: Final = 500
"""How many keys one statement names; SQLite takes some hundreds."""
_LONG_AGO: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Piece:
    """Slots of one entry that are to be asked for in one commit.

    ``keys``: of rows that are missed. ``unlisted``: instants of a gap, oldest first, that have no row but are counted
    with the row ``counted_by``, which counts ``count`` by now; ``older`` of them come before the first of these.
    """

    entry: EntryName
    keys: Sequence[int] = ()
    counted_by: int | None = None
    count: int = 0
    older: int = 0
    unlisted: Sequence[dt.datetime] = field(default=())

    def __len__(self) -> int:
        return len(self.keys) + len(self.unlisted)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a leader has claimed of what was asked for, and what it cannot send, since its side has no such entry."""

    claimed: Sequence[Slot] = ()
    unknown: Sequence[Slot] = ()


class Progress(NamedTuple):
    """Of slots that were asked for: how many wait for a leader, how many for the end of a pause; and were claimed."""

    waiting: int
    paused: int
    sent: int


class Replays:
    """The replays in one database. Every method raises LedgerUnavailable."""

    def __init__(self, alias: str, fence: Fence, pauses: Pauses, namespace: str) -> None:
        self._alias, self._fence, self._pauses, self._namespace = alias, fence, pauses, namespace
        self._slots = models.Slot.objects.using(alias)
        # By the column of their own index: all slots are due later than that.
        by_index = {"replay_asked_at__isnull": False, "due_at__gt": _LONG_AGO}
        rows = self._slots.filter(state=SlotState.MISSED, run_started_at=None, **by_index)
        self._waiting = rows.order_by("due_at", "entry")

    @property
    def asked(self) -> Combinable:
        """Whether anything was asked for that no leader has claimed, to be asked for with something else."""
        return Exists(self._waiting)

    def waiting(self) -> int:
        """How many slots were asked for that no leader has claimed."""
        with outages(self._alias):
            return self._waiting.count()

    def progress(self, asked_at: dt.datetime, paused: Paused = NOTHING_PAUSED) -> Progress:
        """How far the slots have come that were asked for at that instant."""
        with outages(self._alias):
            asked = self._slots.filter(replay_asked_at=asked_at)
            waiting = asked.filter(state=SlotState.MISSED)
            free = but_paused(waiting, paused).count() if paused else waiting.count()
            sent = asked.exclude(state=SlotState.MISSED).count()
            return Progress(free, waiting.count() - free if paused else 0, sent)

    @tried_again
    def ask(self, side: Side, pieces: Sequence[Piece], asked_at: dt.datetime) -> int | None:
        """Ask for these slots, in one commit under the fence; returns how many were not asked for before.

        None, and nothing is written, where ``side`` is not the active one (any more). A piece whose count is another
        by now, since somebody else has asked for the same, is left out.
        """
        with transaction(self._alias):
            fence = self._fence.held()
            if fence.side is not side:
                return None
            return sum(self._ask(piece, asked_at, fence.now) for piece in pieces)

    @tried_again
    def claim(self, term: Term, knows: Callable[[EntryName], bool], most: int) -> Taken | None:
        """Claim what was asked for, the oldest slots first, up to ``most``, in one commit; None when fenced.

        Of entries that are not known the wish is dropped: they stay missed, for the reason that they have. What is
        paused is left as it is, and waits for the end of the pause.
        """
        with transaction(self._alias):
            if (fence := self._fence.held_for(term)) is None:
                return None
            waiting = but_paused(self._waiting, self._pauses.read_locked(fence))
            found = {row.pk: row for row in waiting.only("pk", "entry", "due_at", "state")[:most]}
            unknown = [key for key, row in found.items() if not knows(EntryName(row.entry))]
            self._rows(unknown).update(replay_asked_at=None)
            wanted = self._rows([key for key in found if key not in unknown])
            claim = {"epoch": term.epoch, "side": term.side, "claimed_at": self._fence.now(), "reason": ""}
            # A worker, which does not ask the fence, may start a run meanwhile: by the message of a frozen leader.
            wanted.filter(state=SlotState.MISSED, run_started_at=None).update(state=SlotState.CLAIMED, **claim)
            claimed = wanted.filter(state=SlotState.CLAIMED, epoch=term.epoch).order_by("due_at", "entry")
            return Taken([slot_of(row) for row in claimed], [slot_of(found[key]) for key in unknown])

    def _ask(self, piece: Piece, asked_at: dt.datetime, now: dt.datetime) -> int:
        asked = 0
        missed = {"state": SlotState.MISSED, "replay_asked_at": None}
        for start in range(0, len(piece.keys), _KEYS):
            asked += self._rows(piece.keys[start : start + _KEYS]).filter(**missed).update(replay_asked_at=asked_at)
        if piece.counted_by is None:
            return asked
        counting = self._rows([piece.counted_by])
        left = max(0, piece.count - piece.older - len(piece.unlisted))
        if not counting.filter(passed_over=piece.count).update(passed_over=left):
            return asked
        row = counting.get()
        there = self._slots.filter(entry=piece.entry, due_at__gte=piece.unlisted[0], due_at__lte=piece.unlisted[-1])
        known = set(there.values_list("due_at", flat=True))
        fresh = [at for at in piece.unlisted if at not in known]
        bulk.insert(self._alias, [self._row(row, at, asked_at, now) for at in fresh])
        if piece.older:
            oldest = self._slots.filter(entry=piece.entry, due_at=piece.unlisted[0])
            oldest.update(passed_over=piece.older)
        return asked + len(fresh)

    def _row(self, like: models.Slot, due_at: dt.datetime, asked_at: dt.datetime, now: dt.datetime) -> models.Slot:
        """A row for a slot that was counted with another one: missed as that was, and asked for."""
        return models.Slot(
            entry=like.entry,
            due_at=due_at,
            epoch=like.epoch,
            side=like.side,
            state=SlotState.MISSED,
            task_id=uuid.UUID(Slot(due_at, EntryName(like.entry)).task_id(self._namespace)),
            claimed_at=now,
            reason=like.reason,
            replay_asked_at=asked_at,
        )

    def _rows(self, keys: Sequence[int]) -> QuerySet[models.Slot]:
        return self._slots.filter(pk__in=keys)
