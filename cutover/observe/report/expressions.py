"""What the database computes of slots: spans in milliseconds, and each slot's fate."""

import datetime as dt
from enum import StrEnum
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Case, FloatField, Func, Q, SmallIntegerField, Value, When
from django.db.models.sql.compiler import SQLCompiler

from cutover.phases.evidence.lateness import MISSED
from cutover.phases.evidence.unstarted import Delays
from cutover.types import EntryName, RunOutcome, SlotState


class Fate(StrEnum):
    """What has become of a slot, the worst first.

    NOT_STARTED: published, and started by no worker for too long. NOT_RECORDED: published while some worker had no run
    guard, so that its run is not known; or of a stock beat's time, which may have sent it. RUN: started by a worker
    whose release did not say how it ended.
    """

    MISSED = "missed"
    UNSENT = "unsent"
    NOT_STARTED = "not_started"
    FAILED = "failed"
    RETRIED = "retried"
    NOT_RECORDED = "not_recorded"
    RUNNING = "running"
    UNDER_WAY = "under_way"
    RUN = "run"
    SUCCEEDED = "succeeded"


RUNS: Final = {Fate.FAILED, Fate.RETRIED, Fate.RUNNING, Fate.RUN, Fate.SUCCEEDED}
"""Those of slots that a worker has started."""
FATES: Final = (*reversed(Fate),)
"""By the number that the database knows them by: it would compare texts for longer than all else takes."""
NUMBERS: Final = {of: number for number, of in enumerate(FATES)}


def fate(patient_until: dt.datetime, guarded_since: dt.datetime | None, delays: Delays) -> Case:
    """The number of each slot's fate.

    What was sent after ``patient_until``, or so much longer ago as its entry's messages wait by ``delays``, is under
    way, not stuck. ``guarded_since``: from when on what is published is known to be recorded by its run; None for
    never.
    """
    is_waiting = Q(state=SlotState.PUBLISHED, published_at__lte=patient_until)
    is_recorded = Q(published_at__gt=guarded_since) if guarded_since else Q(pk__in=[])
    alike: dict[dt.timedelta | None, list[EntryName]] = {}
    for name, delay in delays.items():
        alike.setdefault(delay, []).append(name)
    is_to_wait = Q()
    for delay, names in alike.items():
        since = {} if delay is None else {"published_at__gt": patient_until - delay}
        is_to_wait |= Q(entry__in=names, **since)
    recorded = (RunOutcome.SUCCEEDED, RunOutcome.FAILED, RunOutcome.RETRIED, RunOutcome.RUNNING)
    whens = [
        (MISSED, Fate.MISSED),
        *[(Q(outcome=outcome), Fate(outcome.value)) for outcome in recorded],
        (Q(run_started_at__isnull=False), Fate.RUN),
        (Q(state=SlotState.CLAIMED, claimed_at__lte=patient_until), Fate.UNSENT),
        (Q(state=SlotState.MISSED) | is_waiting & ~is_recorded, Fate.NOT_RECORDED),
        (is_waiting & ~is_to_wait, Fate.NOT_STARTED),
    ]
    cases = [When(condition, then=Value(NUMBERS[of])) for condition, of in whens]
    return Case(*cases, default=Value(NUMBERS[Fate.UNDER_WAY]), output_field=SmallIntegerField())


class Milliseconds(Func):
    """From the second instant to the first; negative where the first is earlier, null where there is none.

    With what is beyond whole ones, but for SQLite, whose instants have noise there: a number that is neither rounded
    nor whole, nor a decimal one, takes a database the least time to compute and to sum.
    """

    output_field = FloatField()
    arity = 2
    on = {
        "postgresql": "TSTZRANGE_SUBDIFF(%(expressions)s) * 1000",
        "mysql": "-TIMESTAMPDIFF(MICROSECOND, %(expressions)s) * 1e-3",
        "sqlite": "CAST(ROUND((JULIANDAY(%(expressions)s)) * 86400000) AS INTEGER)",
    }
    joined_by = {"sqlite": ") - JULIANDAY("}

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, *args: Any, **context: Any) -> Any:
        """See Django."""
        vendor = connection.vendor
        context = {"template": self.on[vendor], "arg_joiner": self.joined_by.get(vendor, ", "), **context}
        return super().as_sql(compiler, connection, *args, **context)


PUBLISHED_MS: Final = Milliseconds("published_at", "due_at")
STARTED_MS: Final = Milliseconds("run_started_at", "due_at")
DURATION_MS: Final = Milliseconds("run_ended_at", "run_started_at")
