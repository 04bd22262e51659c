"""Claims: slots that a leader may publish, published, or missed; the only way to a message is a claim in here.

Every claim is one transaction that holds the fence row and demands the claimant's own epoch. So at most one leader's
claims are admitted at any time, and the unique (entry, due_at) admits each slot once. No clock is part of that; but
what is not due yet by the database's clock is refused, however sure the leader is of its own. What is NOT promised
here: that a claimed slot was published (the sweep sees to that) or ran once (the run guard does).
"""

import datetime as dt
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Max, QuerySet

from cutover import models
from cutover.ledger import bulk
from cutover.ledger.cursors import superseded
from cutover.ledger.database import outages, transaction, tried_again
from cutover.ledger.fence import AHEAD, Fence
from cutover.ledger.pauses import Paused, Pauses
from cutover.types import Claim, EntryName, Epoch, Missed, Slot, SlotState, Term


@dataclass(frozen=True, slots=True)
class Unpublished:
    """A claim without confirmation. ``superseded``: by a newer slot of its entry; ``fault``: why it cannot be sent.

    ``is_replayed``: an operator has asked for it, after it had been missed.
    """

    slot: Slot
    epoch: Epoch
    superseded: bool
    fault: str
    is_replayed: bool = False


class Claims:
    """The claims in one database. Every method raises LedgerUnavailable."""

    def __init__(self, alias: str, fence: Fence, pauses: Pauses, namespace: str, retention: dt.timedelta) -> None:
        self._alias, self._fence, self._pauses = alias, fence, pauses
        self._slots = models.Slot.objects.using(alias)
        self._namespace, self._retention = namespace, retention

    @tried_again
    def claim(
        self,
        term: Term,
        slots: Sequence[Slot],
        missed: Sequence[Missed] = (),
        *,
        published: Collection[Slot] = (),
    ) -> dict[Slot, Claim]:
        """Claim ``slots`` and record ``missed`` ones, in one commit under the fence; at most one row a slot.

        The same commit confirms what was ``published``, whatever the fence says, as ``confirm`` does.

        When the fence does not admit ``term`` every outcome is FENCED and nothing is written. Where any slot of an
        entry is not due yet by the database's clock, all of that entry's are TOO_EARLY and none of them is written:
        which one is the latest, and which were missed, was decided by a clock that is ahead. Of an entry that is paused
        all are PAUSED, and none is written: they stay owed.
        """
        oldest = self._fence.now() - self._retention
        outcomes = {slot: Claim.TOO_OLD if slot.due_at < oldest else Claim.ALREADY_CLAIMED for slot in slots}
        late = {m.slot: self._missed(term, m) for m in missed}  # made before the fence is held
        wanted = [slot for slot in slots if outcomes[slot] is not Claim.TOO_OLD]
        with transaction(self._alias):
            fence = self._fence.held_for(term)
            self._confirm(published)
            if fence is None:
                return dict.fromkeys([*slots, *(m.slot for m in missed)], Claim.FENCED)
            latest, paused = fence.now + AHEAD, self._pauses.read_locked(fence)
            refused = {slot.entry: Claim.TOO_EARLY for slot in (*wanted, *late) if slot.due_at > latest}
            refused |= {slot.entry: Claim.PAUSED for slot in (*wanted, *late) if paused.holds(slot.entry)}
            if refused:
                outcomes |= {slot: refused[slot.entry] for slot in (*wanted, *late) if slot.entry in refused}
                wanted = [slot for slot in wanted if slot.entry not in refused]
                late = {slot: row for slot, row in late.items() if slot.entry not in refused}
            claimed = self._insert(term, wanted)
            if late:
                bulk.insert_new(self._alias, [*late.values()], models.SLOT_KEY)
        return outcomes | dict.fromkeys(claimed, Claim.CLAIMED)

    @tried_again
    def read_paused(self, term: Term) -> Paused | None:
        """What is paused, so that nothing of it may be published now, though it was claimed; None when fenced."""
        with transaction(self._alias):
            fence = self._fence.held_for(term)
            return None if fence is None else self._pauses.read_locked(fence)

    @tried_again
    def confirm(self, slots: Collection[Slot]) -> None:
        """Record that these claimed slots' messages were published. True whoever leads by now."""
        with outages(self._alias):
            self._confirm(slots)

    @tried_again
    def confirm_started(self) -> None:
        """Confirm claims whose run has started: their messages were published, whatever the publisher heard of it."""
        with outages(self._alias):
            rows = self._slots.filter(state=SlotState.CLAIMED, run_started_at__isnull=False)
            rows.update(state=SlotState.PUBLISHED, published_at=F("run_started_at"), reason="")

    def note_fault(self, slot: Slot, fault: str) -> None:
        """Write on a claim why its message cannot be sent, for people to see; it stays a claim."""
        with outages(self._alias):
            self._claimed(slot).update(reason=fault[: models.REASON_LENGTH])

    @tried_again
    def give_up(self, term: Term, reasons: Mapping[Slot, str]) -> bool:
        """Record claimed slots that will never be published, each with its reason; False when fenced.

        Those that were replayed may be asked for once more.
        """
        with transaction(self._alias):
            if not self._fence.admits(term):
                return False
            for slot, reason in reasons.items():
                unstarted = self._claimed(slot).filter(run_started_at=None)
                missed = {"state": SlotState.MISSED, "reason": reason[: models.REASON_LENGTH], "replay_asked_at": None}
                unstarted.update(**missed)
        return True

    def retract_early(self, term: Term) -> bool:
        """Take back what is recorded as missed and not due yet by the database's clock; False when fenced.

        A clock that was ahead has passed it over. Nothing of it runs twice: it was not published, and a message that is
        on its way all the same is of the same slot, which is started once. What was sent early stays, and counts.
        """
        early = self._slots.filter(state=SlotState.MISSED, run_started_at=None)
        with outages(self._alias):
            if not early.filter(due_at__gt=self._by_now()).exists():
                return True
        with transaction(self._alias):
            fence = self._fence.held_for(term)
            if fence is None:
                return False
            early.filter(due_at__gt=fence.now + AHEAD).delete()
        return True

    def unpublished(self) -> list[Unpublished]:
        """Claims without confirmation, oldest first."""
        with outages(self._alias):
            claims = self._slots.filter(state=SlotState.CLAIMED).order_by("due_at", "entry")
            if not claims.values_list("pk")[:1]:  # most often, and a new leader's first slots wait for it
                return []
            rows = list(claims.annotate(superseded=superseded(self._alias, self._by_now())))
        return [
            Unpublished(slot_of(r), Epoch(r.epoch), r.superseded, r.reason, is_replayed=r.replay_asked_at is not None)
            for r in rows
        ]

    def sent_since(self, since: Mapping[EntryName, dt.datetime]) -> set[EntryName]:
        """Of these entries, those of which a slot was published that was claimed at that instant or later."""
        with outages(self._alias):
            sent = self._slots.filter(entry__in=list(since), state=SlotState.PUBLISHED)
            found = list(sent.values_list("entry").annotate(Max("claimed_at")))
        return {EntryName(entry) for entry, claimed_at in found if claimed_at >= since[EntryName(entry)]}

    def _by_now(self) -> dt.datetime:
        """Until when slots may be due that are in the ledger rightly."""
        return self._fence.now() + AHEAD

    def _claimed(self, slot: Slot) -> QuerySet[models.Slot]:
        return self._slots.filter(entry=slot.entry, due_at=slot.due_at, state=SlotState.CLAIMED)

    def _confirm(self, slots: Collection[Slot]) -> None:
        if not slots:
            return
        ids = [slot.task_id(self._namespace) for slot in slots]
        rows = self._slots.filter(due_at__in={s.due_at for s in slots}, task_id__in=ids, state=SlotState.CLAIMED)
        rows.update(state=SlotState.PUBLISHED, published_at=self._fence.now(), reason="")

    def _insert(self, term: Term, slots: Sequence[Slot]) -> Collection[Slot]:
        """Insert a claim of each of ``slots`` that is not in the ledger; returns those.

        A worker, which records without the fence, may be first with one of them at any moment.
        """
        if not slots:
            return ()
        if not bulk.can_tell_new(self._alias):
            recorded = self._recorded(slots)
            fresh = [slot for slot in slots if slot not in recorded]
            bulk.insert_new(self._alias, [self._row(term, slot, SlotState.CLAIMED) for slot in fresh], models.SLOT_KEY)
            return self._recorded(fresh, state=SlotState.CLAIMED)
        by_id = {uuid.UUID(slot.task_id(self._namespace)): slot for slot in slots}
        varying: dict[str, Sequence[Any]] = {
            "entry": [slot.entry for slot in by_id.values()],
            "due_at": [slot.due_at for slot in by_id.values()],
            "task_id": list(by_id),
        }
        alike = self._row(term, slots[0], SlotState.CLAIMED)
        new = bulk.insert_alike(self._alias, alike, varying, models.SLOT_KEY, returning="task_id")
        return [by_id[task_id] for task_id in new]

    def _missed(self, term: Term, missed: Missed) -> models.Slot:
        row = self._row(term, missed.slot, SlotState.MISSED)
        row.reason, row.passed_over = missed.reason, missed.passed_over
        return row

    def _row(self, term: Term, slot: Slot, state: SlotState) -> models.Slot:
        return models.Slot(
            entry=slot.entry,
            due_at=slot.due_at,
            epoch=term.epoch,
            side=term.side,
            state=state,
            task_id=slot.task_id(self._namespace),
            claimed_at=self._fence.now(),
        )

    def _recorded(self, slots: Collection[Slot], **state: SlotState) -> set[Slot]:
        """Those of ``slots`` that are in the ledger; the fence is held, so nobody else claims any meanwhile."""
        rows = self._slots.filter(entry__in={s.entry for s in slots}, due_at__in={s.due_at for s in slots}, **state)
        found = {Slot(due_at, EntryName(entry)) for entry, due_at in rows.values_list("entry", "due_at")}
        return found.intersection(slots)


def slot_of(row: Any) -> Slot:
    """The slot of a row, or of whatever has its columns."""
    return Slot(row.due_at, EntryName(row.entry))
