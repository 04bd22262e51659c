"""The course of a site: its terms, each with whose it was, and the steps of its phases; the latest, or of a period."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from django.db.models import Q

from cutover import models
from cutover.ledger.database import outages
from cutover.observe.slot import Claimant
from cutover.phases.context import Context

TERMS: Final = 50
STEPS: Final = 100
MOST: Final = 200
"""How many terms, and steps, of a period are read: the latest."""
SWITCHES: Final = ("switch", "switch back")
"""The steps of the journal in which the side is switched."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a phase, by whom; ``ended_at`` is None for one that is under way, or was killed."""

    phase: str
    step: str
    outcome: str
    detail: str
    operator: str
    begun_at: dt.datetime
    ended_at: dt.datetime | None

    @classmethod
    def of(cls, row: models.Transition) -> Self:
        """The step of a row of the journal."""
        told = (row.phase, row.step, row.outcome, row.detail, row.operator)
        return cls(*told, row.begun_at, row.ended_at)

    @property
    def at(self) -> dt.datetime:
        """When it ended; before that, when it began."""
        return self.ended_at or self.begun_at

    @property
    def is_end_of_phase(self) -> bool:
        """Whether with it the phase was done."""
        return self.step == models.FINISH and self.outcome == "done"

    @property
    def is_switch(self) -> bool:
        """Whether it switched the side."""
        return self.step in SWITCHES


@dataclass(frozen=True, slots=True)
class Course:
    """Terms and steps, oldest first; of a period also how many there were, of which these are the latest."""

    terms: Sequence[Claimant]
    steps: Sequence[Step]
    terms_total: int = 0
    steps_total: int = 0


def latest(context: Context) -> Course:
    """The latest ``TERMS`` terms and ``STEPS`` steps. In two statements by keys. Raises LedgerUnavailable."""
    with outages(context.alias):
        terms = models.Term.objects.using(context.alias).order_by("-epoch")[:TERMS]
        steps = models.Transition.objects.using(context.alias).order_by("-pk")[:STEPS]
        return Course([Claimant.of(term) for term in reversed(terms)], [Step.of(step) for step in reversed(steps)])


def during(context: Context, since: dt.datetime, until: dt.datetime) -> Course:
    """The terms that were led at some time of ``(since, until]``, and the steps done then that switched or ended one.

    Of each at most ``MOST``. Raises LedgerUnavailable.
    """
    with outages(context.alias):
        terms = models.Term.objects.using(context.alias).filter(started_at__lte=until)
        terms = terms.filter(Q(ended_at__isnull=True) | Q(ended_at__gt=since)).order_by("-epoch")
        steps = models.Transition.objects.using(context.alias).filter(ended_at__gt=since, ended_at__lte=until)
        steps = steps.filter(step__in=[models.FINISH, *SWITCHES], outcome="done").order_by("-pk")
        return Course(
            [Claimant.of(term) for term in reversed(terms[:MOST])],
            [Step.of(step) for step in reversed(steps[:MOST])],
            terms.count(),
            steps.count(),
        )
