"""Claims: slots that a leader may publish, published, or missed; the only way to a message is a claim in here.

Every claim is one transaction that holds the fence row and demands the claimant's own epoch. So at most one leader's
claims are admitted at any time, and the unique (entry, due_at) admits each slot once. No clock is part of that. What
is NOT promised here: that a claimed slot was published (the sweep sees to that) or ran once (the run guard does).
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db import IntegrityError
from django.db.models import F, Max, QuerySet

from cutover import clock, models
from cutover.ledger.cursors import superseded
from cutover.ledger.database import Database
from cutover.ledger.fence import Fence
from cutover.types import Claim, EntryName, Epoch, Missed, Slot, SlotState, Term


@dataclass(frozen=True, slots=True)
class Unpublished:
    """A claim without confirmation; ``superseded`` when a newer slot of the same entry stands in the ledger.

    ``fault``: why its message cannot be sent, where that is the entry's own doing.
    """

    slot: Slot
    epoch: Epoch
    superseded: bool
    fault: str


class Claims:
    """The claims in one database. Every method raises LedgerUnavailable."""

    def __init__(self, database: Database, fence: Fence, namespace: str, retention: dt.timedelta) -> None:
        self._database = database
        self._fence = fence
        self._namespace = namespace
        self._retention = retention

    def claim(self, term: Term, slots: Sequence[Slot], missed: Sequence[Missed] = ()) -> dict[Slot, Claim]:
        """Claim ``slots`` and record ``missed`` ones, in one commit under the fence; one row comes of each slot.

        When the fence does not admit ``term`` every outcome is FENCED and nothing is written.
        """
        oldest = clock.now() - self._retention
        outcomes = {slot: Claim.TOO_OLD for slot in slots if slot.due_at < oldest}
        wanted = [slot for slot in slots if slot not in outcomes]
        rows = [self._row(term, slot, SlotState.CLAIMED) for slot in wanted]
        rows += [self._row(term, m.slot, SlotState.MISSED, m.reason, m.passed_over) for m in missed]
        try:
            taken = self._record(term, rows)
        except IntegrityError:
            # A worker, which records without the fence, was first with one of them between the two statements.
            taken = self._record(term, rows, contested=True)
        if taken is None:
            return dict.fromkeys([*slots, *(m.slot for m in missed)], Claim.FENCED)
        outcomes.update({s: Claim.ALREADY_CLAIMED if s in taken else Claim.CLAIMED for s in wanted})
        return outcomes

    def confirm(self, slots: Iterable[Slot]) -> None:
        """Record that these claimed slots' messages were published. True whoever leads by now."""
        wanted = list(slots)
        if not wanted:
            return
        with self._database.asked():
            rows = self._slots().filter(
                due_at__in={s.due_at for s in wanted},
                task_id__in=[s.task_id(self._namespace) for s in wanted],
                state=SlotState.CLAIMED,
            )
            rows.update(state=SlotState.PUBLISHED, published_at=clock.now(), reason="")

    def confirm_started(self) -> None:
        """Confirm claims whose run has started: their messages were published, whatever the publisher heard of it."""
        with self._database.asked():
            rows = self._slots().filter(state=SlotState.CLAIMED, run_started_at__isnull=False)
            rows.update(state=SlotState.PUBLISHED, published_at=F("run_started_at"), reason="")

    def note_fault(self, slot: Slot, fault: str) -> None:
        """Write on a claim why its message cannot be sent, for people to see; it stays a claim."""
        with self._database.asked():
            self._claimed(slot).update(reason=fault[: models.REASON_LENGTH])

    def give_up(self, term: Term, reasons: Mapping[Slot, str]) -> bool:
        """Record claimed slots that will never be published, each with its reason; False when fenced."""
        with self._database.transaction():
            if not self._fence.admits(term):
                return False
            for slot, reason in reasons.items():
                self._claimed(slot).update(state=SlotState.MISSED, reason=reason[: models.REASON_LENGTH])
        return True

    def unpublished(self) -> list[Unpublished]:
        """Claims without confirmation, oldest first."""
        with self._database.asked():
            claims = self._slots().filter(state=SlotState.CLAIMED)
            rows = list(claims.annotate(superseded=superseded(claims.db)).order_by("due_at", "entry"))
        return [Unpublished(Slot(r.due_at, EntryName(r.entry)), Epoch(r.epoch), r.superseded, r.reason) for r in rows]

    def sent_since(self, since: Mapping[EntryName, dt.datetime]) -> set[EntryName]:
        """Of these entries, those of which a slot was published that was claimed at that instant or later."""
        with self._database.asked():
            sent = self._slots().filter(entry__in=list(since), state=SlotState.PUBLISHED)
            found = list(sent.values_list("entry").annotate(Max("claimed_at")))
        return {EntryName(entry) for entry, claimed_at in found if claimed_at >= since[EntryName(entry)]}

    def _slots(self) -> QuerySet[models.Slot]:
        return models.Slot.objects.using(self._database.alias)

    def _claimed(self, slot: Slot) -> QuerySet[models.Slot]:
        return self._slots().filter(entry=slot.entry, due_at=slot.due_at, state=SlotState.CLAIMED)

    def _row(self, term: Term, slot: Slot, state: SlotState, reason: str = "", passed_over: int = 0) -> models.Slot:
        return models.Slot(
            entry=slot.entry,
            due_at=slot.due_at,
            epoch=term.epoch,
            side=term.side,
            state=state,
            task_id=slot.task_id(self._namespace),
            claimed_at=clock.now(),
            reason=reason,
            passed_over=passed_over,
        )

    def _record(self, term: Term, rows: Sequence[models.Slot], *, contested: bool = False) -> set[Slot] | None:
        """One commit under the fence; returns the slots of ``rows`` that were recorded before, or None when fenced."""
        with self._database.transaction():
            return self._insert(rows, contested=contested) if self._fence.admits(term) else None

    def _insert(self, rows: Sequence[models.Slot], *, contested: bool) -> set[Slot]:
        """Insert the rows whose slots are not there yet; returns the slots that were. The fence is held.

        ``contested``: a row that meets another one is left out, in place of an IntegrityError for all of them.
        """
        taken = self._there(rows)
        fresh = [row for row in rows if _slot(row) not in taken]
        self._slots().bulk_create(fresh, ignore_conflicts=contested)
        # Nobody but the holder of the fence claims, and a worker records what is published.
        return taken | self._there(fresh, state=SlotState.PUBLISHED) if contested else taken

    def _there(self, rows: Sequence[models.Slot], **state: SlotState) -> set[Slot]:
        if not rows:
            return set()
        there = self._slots().filter(entry__in={r.entry for r in rows}, due_at__in={r.due_at for r in rows}, **state)
        return {Slot(due_at, EntryName(entry)) for entry, due_at in there.values_list("entry", "due_at")}


def _slot(row: models.Slot) -> Slot:
    return Slot(row.due_at, EntryName(row.entry))
