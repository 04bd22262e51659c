"""What the ledger forgets once it is older than the retention: slots, terms, pauses, senders, and what commands did.

Only age counts, not that a newer slot exists: a young one that was forgotten could be claimed again. Each entry's
latest slot stays however old it is, for its cadence is counted from there.
"""

import datetime as dt

from django.db.models import Max, Model, Q, QuerySet

from cutover import models
from cutover.ledger.cursors import superseded
from cutover.ledger.database import transaction, tried_again
from cutover.ledger.fence import Fence
from cutover.types import SlotState


class Retention:
    """The age of one ledger's rows. Every method raises LedgerUnavailable."""

    def __init__(self, alias: str, fence: Fence, keep: dt.timedelta) -> None:
        self._alias, self._fence, self._keep = alias, fence, keep

    @tried_again
    def prune(self, most: int) -> int:
        """Forget what is older than the retention, up to ``most`` rows a table; returns how many slots.

        By the database's clock: one that is ahead would forget what may be claimed again.
        """
        self._fence.read()
        now = self._fence.now()
        before, is_superseded = now - self._keep, superseded(self._alias, until=now)
        slots = models.Slot.objects.using(self._alias).filter(is_superseded, due_at__lt=before)
        # What was replayed is remembered from then on: until its message has come, and long after.
        slots = slots.filter(Q(replay_asked_at=None) | Q(replay_asked_at__lt=before))
        # What is still to be sent, after a pause of months at that, ends with a word.
        slots = slots.exclude(Q(state=SlotState.CLAIMED) | Q(state=SlotState.MISSED, replay_asked_at__isnull=False))
        terms, steps = models.Term.objects.using(self._alias), models.Transition.objects.using(self._alias)
        with transaction(self._alias):
            # The latest two terms stay: how long the last takeover took is read from them.
            oldest_kept = min(terms.order_by("-epoch").values_list("pk", flat=True)[:2], default=0)
            _delete(terms.filter(ended_at__lt=before, pk__lt=oldest_kept).order_by("epoch"), most)
            # Of the journal: never an open step, nor anything from the last phase that was finished on.
            last_finish = steps.filter(step=models.FINISH, outcome="done").aggregate(pk=Max("pk"))["pk"] or 0
            _delete(steps.filter(ended_at__lt=before, pk__lt=last_finish).order_by("pk"), most)
            # Of commands that stayed: those that have ended, or not been there, for so long. What the latest guard came
            # to is said of the present switch.
            waits, guards = models.QuietWait.objects.using(self._alias), models.SwitchGuard.objects.using(self._alias)
            latest_guard = guards.aggregate(pk=Max("pk"))["pk"] or 0
            _delete(waits.filter(seen_at__lt=before), most)
            _delete(guards.filter(seen_at__lt=before, pk__lt=latest_guard), most)
            _delete(models.Pause.objects.using(self._alias).filter(ended_at__lt=before), most)
            _delete(models.SlotlessSender.objects.using(self._alias).filter(last_seen_at__lt=before), most)
            return _delete(slots.order_by("due_at"), most)


def _delete(rows: QuerySet[Model], most: int) -> int:
    """Delete the first ``most`` of ``rows``, by their keys: how many it takes is bounded, and so is the commit."""
    gone = list(rows.values_list("pk", flat=True)[:most])
    deleted, _ = rows.model._default_manager.using(rows.db).filter(pk__in=gone).delete()
    return deleted
