"""Claims: slots that a leader may publish, published, or missed; the only way to a message is a claim in here.

Every claim is one transaction that holds the fence row and demands the claimant's own epoch. So at most one leader's
claims are admitted at any time, and the unique (entry, due_at) admits each slot once. No clock is part of that; but
what is not due yet by the database's clock is refused, however sure the leader is of its own. What is NOT promised
here: that a claimed slot was published (the sweep sees to that) or ran once (the run guard does).
"""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import F, Max, QuerySet

from cutover import models
from cutover.ledger import bulk
from cutover.ledger.cursors import superseded
from cutover.ledger.database import outages, transaction, tried_again
from cutover.ledger.fence import AHEAD, Fence
from cutover.types import Claim, EntryName, Epoch, Missed, Slot, SlotState, Term


@dataclass(frozen=True, slots=True)
class Unpublished:
    """A claim without confirmation. ``superseded``: by a newer slot of its entry; ``fault``: why it cannot be sent."""

    slot: Slot
    epoch: Epoch
    superseded: bool
    fault: str


class Claims:
    """The claims in one database. Every method raises LedgerUnavailable."""

    def __init__(self, alias: str, fence: Fence, namespace: str, retention: dt.timedelta) -> None:
        self._alias, self._fence = alias, fence
        self._slots = models.Slot.objects.using(alias)
        self._namespace, self._retention = namespace, retention

    @tried_again
    def claim(self, term: Term, slots: Sequence[Slot], missed: Sequence[Missed] = ()) -> dict[Slot, Claim]:
        """Claim ``slots`` and record ``missed`` ones, in one commit under the fence; at most one row a slot.

        When the fence does not admit ``term`` every outcome is FENCED and nothing is written. Where any slot of an
        entry is not due yet by the database's clock, all of that entry's are TOO_EARLY and none of them is written:
        which one is the latest, and which were missed, was decided by a clock that is ahead.
        """
        oldest = self._fence.now() - self._retention
        outcomes = {slot: Claim.TOO_OLD if slot.due_at < oldest else Claim.ALREADY_CLAIMED for slot in slots}
        rows = {m.slot: self._row(term, m.slot, SlotState.MISSED, m.reason, m.passed_over) for m in missed}
        rows |= {s: self._row(term, s, SlotState.CLAIMED) for s in slots if outcomes[s] is not Claim.TOO_OLD}
        with transaction(self._alias):
            fence = self._fence.held_for(term)
            if fence is None:
                return dict.fromkeys([*slots, *(m.slot for m in missed)], Claim.FENCED)
            early = {slot.entry for slot in rows if slot.due_at > fence.now + AHEAD}
            outcomes |= {slot: Claim.TOO_EARLY for slot in rows if slot.entry in early}
            rows = {slot: row for slot, row in rows.items() if slot.entry not in early}
            recorded = self._recorded(rows)
            fresh = {slot: row for slot, row in rows.items() if slot not in recorded}
            # A worker, which records without the fence, may be first with one of them between the two statements.
            bulk.insert_new(self._alias, list(fresh.values()), models.SLOT_KEY)
            claimed = self._recorded(fresh, state=SlotState.CLAIMED)
        return outcomes | dict.fromkeys(claimed, Claim.CLAIMED)

    @tried_again
    def confirm(self, slots: Collection[Slot]) -> None:
        """Record that these claimed slots' messages were published. True whoever leads by now."""
        with outages(self._alias):
            ids = [s.task_id(self._namespace) for s in slots]
            rows = self._slots.filter(due_at__in={s.due_at for s in slots}, task_id__in=ids, state=SlotState.CLAIMED)
            rows.update(state=SlotState.PUBLISHED, published_at=self._fence.now(), reason="")

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
        """Record claimed slots that will never be published, each with its reason; False when fenced."""
        with transaction(self._alias):
            if not self._fence.admits(term):
                return False
            for slot, reason in reasons.items():
                unstarted = self._claimed(slot).filter(run_started_at=None)
                unstarted.update(state=SlotState.MISSED, reason=reason[: models.REASON_LENGTH])
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
            claims = self._slots.filter(state=SlotState.CLAIMED)
            claims = claims.annotate(superseded=superseded(self._alias, self._by_now()))
            rows = list(claims.order_by("due_at", "entry"))
        return [Unpublished(Slot(r.due_at, EntryName(r.entry)), Epoch(r.epoch), r.superseded, r.reason) for r in rows]

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

    def _row(self, term: Term, slot: Slot, state: SlotState, reason: str = "", passed_over: int = 0) -> models.Slot:
        return models.Slot(
            entry=slot.entry,
            due_at=slot.due_at,
            epoch=term.epoch,
            side=term.side,
            state=state,
            task_id=slot.task_id(self._namespace),
            claimed_at=self._fence.now(),
            reason=reason,
            passed_over=passed_over,
        )

    def _recorded(self, slots: Collection[Slot], **state: SlotState) -> set[Slot]:
        """Those of ``slots`` that are in the ledger; the fence is held, so nobody else claims any meanwhile."""
        rows = self._slots.filter(entry__in={s.entry for s in slots}, due_at__in={s.due_at for s in slots}, **state)
        found = {Slot(due_at, EntryName(entry)) for entry, due_at in rows.values_list("entry", "due_at")}
        return found.intersection(slots)
