"""The ledger: the slots that were claimed, published, missed; the only way to a message is a claim in here.

Every claim is one transaction that holds the fence row and demands the claimant's own epoch. So at most one leader's
claims are admitted at any time, and the unique (entry, due_at) admits each slot once. No clock is part of that. What
is NOT promised here: that a claimed slot was published (the sweep sees to that) or ran once (the run guard does).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django.db import IntegrityError
from django.db.models import Exists, F, Max, OuterRef, QuerySet

from cutover import clock, models
from cutover.errors import LedgerUnavailable
from cutover.ledger.database import Database
from cutover.ledger.entries import Entries
from cutover.ledger.fence import Fence
from cutover.ledger.runs import Runs
from cutover.types import Claim, Cursor, EntryName, Epoch, Missed, Slot, SlotState, Term

_OVERLAP: Final = 1_000
"""How many slots before the last known one are read again: transactions may commit out of the order of their keys."""
_CLAIM_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Unpublished:
    """A claim without confirmation; ``superseded`` when a newer slot of the same entry stands in the ledger.

    ``fault``: why its message cannot be sent, where that is the entry's own doing.
    """

    slot: Slot
    epoch: Epoch
    superseded: bool
    fault: str


@dataclass(frozen=True, slots=True)
class Unstarted:
    """A published slot whose run has not started; ``resent`` times its message was sent once more."""

    slot: Slot
    published_at: dt.datetime
    resent: int


class Ledger:
    """The ledger in one database, with its fence, entries and runs.

    Every method raises LedgerUnavailable (or LedgerNotMigrated) when the database gives no answer.
    """

    def __init__(self, alias: str, namespace: str, retention: dt.timedelta) -> None:
        self._database = Database(alias)
        self._alias = alias
        self._namespace = namespace
        self._retention = retention
        self.fence = Fence(self._database)
        self.entries = Entries(self._database, self.fence)
        self.runs = Runs(self._database, self.fence, namespace, retention)

    def claim(self, term: Term, slots: Sequence[Slot], missed: Sequence[Missed] = ()) -> dict[Slot, Claim]:
        """Claim ``slots`` and record ``missed`` ones, in one commit under the fence; one row comes of each slot.

        When the fence does not admit ``term`` every outcome is FENCED and nothing is written.
        """
        oldest = clock.now() - self._retention
        outcomes = {slot: Claim.TOO_OLD for slot in slots if slot.due_at < oldest}
        wanted = [slot for slot in slots if slot not in outcomes]
        for attempt in range(_CLAIM_TRIES):
            rows = [self._row(term, slot, SlotState.CLAIMED) for slot in wanted]
            rows += [self._row(term, m.slot, SlotState.MISSED, m.reason, m.passed_over) for m in missed]
            try:
                with self._database.transaction():
                    if not self.fence.admits(term):
                        return dict.fromkeys([*slots, *(m.slot for m in missed)], Claim.FENCED)
                    taken = self._insert(rows)
                break
            except IntegrityError as exc:
                # A worker recorded one of these slots in between, without the fence; see it and go round.
                if attempt == _CLAIM_TRIES - 1:
                    raise LedgerUnavailable("The same slots are being recorded again and again; trying later.") from exc
        outcomes.update({s: Claim.ALREADY_CLAIMED if s in taken else Claim.CLAIMED for s in wanted})
        return outcomes

    def confirm(self, slots: Iterable[Slot]) -> None:
        """Record that these claimed slots' messages were handed to the broker. True whoever leads by now."""
        wanted = list(slots)
        if not wanted:
            return
        with self._database.asked():
            rows = models.Slot.objects.using(self._alias).filter(
                due_at__in={s.due_at for s in wanted},
                task_id__in=[s.task_id(self._namespace) for s in wanted],
                state=SlotState.CLAIMED,
            )
            rows.update(state=SlotState.PUBLISHED, published_at=clock.now(), reason="")

    def confirm_started(self) -> None:
        """Confirm claims whose run has started: their messages were handed over, whatever the publisher was told."""
        with self._database.asked():
            rows = models.Slot.objects.using(self._alias).filter(state=SlotState.CLAIMED, run_started_at__isnull=False)
            rows.update(state=SlotState.PUBLISHED, published_at=F("run_started_at"), reason="")

    def note_fault(self, slot: Slot, fault: str) -> None:
        """Write on a claim why its message cannot be sent, for people to see; it stays a claim."""
        with self._database.asked():
            self._slot_rows(slot).filter(state=SlotState.CLAIMED).update(reason=fault[: models.REASON_LENGTH])

    def give_up(self, term: Term, reasons: Mapping[Slot, str]) -> bool:
        """Record claimed slots that will never be published, each with its reason; False when fenced."""
        with self._database.transaction():
            if not self.fence.admits(term):
                return False
            for slot, reason in reasons.items():
                claims = self._slot_rows(slot).filter(state=SlotState.CLAIMED)
                claims.update(state=SlotState.MISSED, reason=reason[: models.REASON_LENGTH])
        return True

    def unpublished(self) -> list[Unpublished]:
        """Claims without confirmation, oldest first."""
        with self._database.asked():
            claims = models.Slot.objects.using(self._alias).filter(state=SlotState.CLAIMED)
            rows = list(claims.annotate(superseded=self._newer()).order_by("due_at", "entry"))
        return [Unpublished(Slot(r.due_at, EntryName(r.entry)), Epoch(r.epoch), r.superseded, r.reason) for r in rows]

    def unstarted(self, since: dt.datetime, until: dt.datetime, due_after: dt.datetime) -> list[Unstarted]:
        """Slots due after ``due_after``, published in ``(since, until)``, whose messages seem to be lost; oldest first.

        No worker has started them, though one has started a slot that was published later; and a run of the same entry
        has been recorded since ``since``, so its workers have the run guard. ``due_after`` bounds what is read: one old
        slot that nobody ever started would have all that came after it read, at every look.
        """
        slots = models.Slot.objects.using(self._alias).filter(published_at__gt=since)
        started = slots.filter(run_started_at__isnull=False)
        with self._database.asked():
            waiting = slots.filter(
                state=SlotState.PUBLISHED, run_started_at=None, published_at__lt=until, due_at__gt=due_after
            )
            found = list(waiting.order_by("due_at", "entry"))
            if not found:
                return []
            later = started.filter(due_at__gte=found[0].due_at).aggregate(at=Max("published_at"))["at"] or since
            overtaken = [row for row in found if row.published_at < later]
            guarded = {name for name in {row.entry for row in overtaken} if started.filter(entry=name).exists()}
        return [
            Unstarted(Slot(row.due_at, EntryName(row.entry)), row.published_at, row.resent)
            for row in overtaken
            if row.entry in guarded
        ]

    def resend(self, term: Term, slots: Iterable[Slot]) -> bool:
        """Record that these published slots' messages are to be sent once more; False when fenced."""
        with self._database.transaction():
            if not self.fence.admits(term):
                return False
            for slot in slots:
                rows = self._slot_rows(slot).filter(run_started_at=None)
                rows.update(resent=F("resent") + 1, published_at=clock.now())
        return True

    def last_slots(
        self, since_id: int = 0, wholly: Collection[EntryName] = ()
    ) -> tuple[dict[EntryName, dt.datetime], int]:
        """Each entry's latest slot among those recorded after ``since_id``, and the id to go on from.

        ``wholly``: entries of which older slots count too. From 0 on the whole ledger is read, some seconds where it
        holds ten million slots.
        """
        rows = models.Slot.objects.using(self._alias).order_by()
        recent = rows.filter(pk__gt=since_id - _OVERLAP) if since_id else rows
        with self._database.asked():
            found = list(recent.values_list("entry").annotate(Max("due_at"), Max("pk")))
            last = {EntryName(entry): due_at for entry, due_at, _ in found}
            if since_id and wholly:
                last.update(rows.filter(entry__in=wholly).values_list("entry").annotate(Max("due_at")))
        return last, max((pk for _, _, pk in found), default=since_id)

    def last_slot(self, entry: EntryName) -> dt.datetime | None:
        """The entry's latest slot; None before the first."""
        with self._database.asked():
            rows = models.Slot.objects.using(self._alias).filter(entry=entry)
            return rows.values_list("due_at", flat=True).order_by("-due_at").first()

    def sent_since(self, since: Mapping[EntryName, dt.datetime]) -> set[EntryName]:
        """Of these entries, those of which a slot was published that was claimed at that instant or later."""
        with self._database.asked():
            sent = models.Slot.objects.using(self._alias).filter(entry__in=list(since), state=SlotState.PUBLISHED)
            found = list(sent.order_by().values_list("entry").annotate(Max("claimed_at")))
        return {EntryName(entry) for entry, claimed_at in found if claimed_at >= since[EntryName(entry)]}

    def standings(self) -> dict[EntryName, Cursor]:
        """Where every entry stands that the ledger knows of."""
        last, _ = self.last_slots()
        return {name: Cursor(last.get(name), owed) for name, owed in self.entries.all_eligible_since().items()}

    def prune(self, most: int) -> int:
        """Forget up to ``most`` slots older than the retention, but never an entry's latest; returns how many."""
        with self._database.transaction():
            old = models.Slot.objects.using(self._alias).filter(due_at__lt=clock.now() - self._retention)
            gone = list(old.filter(self._newer()).order_by("due_at").values_list("pk", flat=True)[:most])
            deleted, _ = models.Slot.objects.using(self._alias).filter(pk__in=gone).delete()
        return deleted

    def _newer(self) -> Exists:
        """Whether a newer slot of the same entry stands in the ledger: one look into the index for each row."""
        slots = models.Slot.objects.using(self._alias)
        return Exists(slots.filter(entry=OuterRef("entry"), due_at__gt=OuterRef("due_at")))

    def _slot_rows(self, slot: Slot) -> QuerySet[models.Slot]:
        return models.Slot.objects.using(self._alias).filter(entry=slot.entry, due_at=slot.due_at)

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

    def _insert(self, rows: Sequence[models.Slot]) -> set[Slot]:
        """Insert the rows whose slots are not there yet; returns the slots that were. The fence is held."""
        if not rows:
            return set()
        there = models.Slot.objects.using(self._alias).filter(
            entry__in={r.entry for r in rows}, due_at__in={r.due_at for r in rows}
        )
        taken = {Slot(due_at, EntryName(entry)) for entry, due_at in there.values_list("entry", "due_at")}
        fresh = [r for r in rows if Slot(r.due_at, EntryName(r.entry)) not in taken]
        models.Slot.objects.using(self._alias).bulk_create(fresh)
        return taken
