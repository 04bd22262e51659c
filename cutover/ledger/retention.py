"""What the ledger forgets once it is older than the retention: slots, terms, and the journal's transitions.

A newer slot of its entry is no reason to forget one, its age is: what is younger could be claimed again. Each entry's
latest slot stays however old it is, for its cadence is counted from there.
"""

import datetime as dt
from typing import Final

from django.db.models import Model, QuerySet

from cutover import clock, models
from cutover.ledger.cursors import superseded
from cutover.ledger.database import Database

_TERMS_KEPT: Final = 2
"""The latest terms stay: how long the last takeover took is read from them."""


class Retention:
    """The age of one ledger's rows. Every method raises LedgerUnavailable."""

    def __init__(self, database: Database, keep: dt.timedelta) -> None:
        self._database = database
        self._alias = database.alias
        self._keep = keep

    def prune(self, most: int) -> int:
        """Forget what is older than the retention, up to ``most`` rows a table; returns how many slots."""
        before = clock.now() - self._keep
        with self._database.transaction():
            self._prune_terms(before, most)
            self._prune_transitions(before, most)
            old = models.Slot.objects.using(self._alias).filter(due_at__lt=before)
            return _delete(old.filter(superseded(self._alias)).order_by("due_at"), most)

    def _prune_terms(self, before: dt.datetime, most: int) -> None:
        terms = models.Term.objects.using(self._alias).order_by("-epoch")
        kept = list(terms.values_list("pk", flat=True)[:_TERMS_KEPT])
        _delete(terms.filter(ended_at__lt=before, pk__lt=min(kept, default=0)).order_by("epoch"), most)

    def _prune_transitions(self, before: dt.datetime, most: int) -> None:
        """Of the journal: never an open step, nor anything from the last phase that was finished on."""
        steps = models.Transition.objects.using(self._alias).order_by("-pk")
        finished = steps.filter(step=models.FINISH, outcome="done").values_list("pk", flat=True)[:1]
        kept = next(iter(finished), 0)
        _delete(steps.filter(ended_at__lt=before, pk__lt=kept).order_by("pk"), most)


def _delete(rows: QuerySet[Model], most: int) -> int:
    """Delete the first ``most`` of ``rows``, by their keys: how many it takes is bounded, and so is the commit."""
    gone = list(rows.values_list("pk", flat=True)[:most])
    deleted, _ = rows.model._default_manager.using(rows.db).filter(pk__in=gone).delete()
    return deleted
