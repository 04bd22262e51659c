"""What the ledger shows since a switch, for a guard: the proof of phase 4, failing runs, a leader that falls silent."""

import datetime as dt
from dataclasses import dataclass
from typing import Final

from cutover import models
from cutover.conf import POLL_EVERY, Config
from cutover.ledger.database import outages
from cutover.ledger.fence import SEEN_EVERY_S
from cutover.phases.context import Context
from cutover.phases.evidence.findings import Evidence, Why
from cutover.phases.evidence.proof import gather
from cutover.phases.evidence.tally import Counting
from cutover.phases.wording import span
from cutover.plural import counted
from cutover.types import Epoch, RunOutcome, Side

GRACE: Final = dt.timedelta(seconds=5)
"""How old a slot must be to be judged: the message of a younger one may be under way."""
LEAST_SLOTS: Final = 10
"""With fewer proven slots a watch says too little."""


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What was found so far: ``wrong``, empty for nothing, and what it rests on.

    ``unread``: entries whose rows the leader has not read yet, so that nothing can be said of them.
    """

    wrong: str
    proven: int
    pending: int
    unread: int
    failed_runs: int


def look(context: Context, since: dt.datetime, until: dt.datetime, failures: int, counting: Counting) -> Aftermath:
    """Judge the slots in ``(since, until]``, the runs and the leader since then.

    ``failures``: how many runs may fail. ``counting``: what an earlier look has counted. Raises LedgerUnavailable.
    """
    evidence = gather(context, since, until, counting)
    with outages(context.alias):
        runs = models.Slot.objects.using(context.alias).filter(due_at__gt=since, outcome=RunOutcome.FAILED)
        failed = list(runs.order_by("due_at").values_list("entry", flat=True)[: 10 * (failures + 1)])
        count = len(failed) if len(failed) <= failures else runs.count()
    unread = sum(why is Why.NOT_READ for why in evidence.unproven.values())
    wrong = _of_slots(evidence) or _silent(context, since) or _of_runs(failed, count, failures)
    return Aftermath(wrong, sum(evidence.proven.values()), len(evidence.pending), unread, count)


def most_silence(config: Config) -> dt.timedelta:
    """How long a side may be without a sign of life of its leader: a lease, and the time between two signs."""
    return config.lease + dt.timedelta(seconds=SEEN_EVERY_S) + 2 * POLL_EVERY


def _of_slots(evidence: Evidence) -> str:
    if not evidence.failures:
        return ""
    more = f" (and {len(evidence.failures) - 1} more)" if len(evidence.failures) > 1 else ""
    return f"{evidence.failures[0]}{more}"


def _silent(context: Context, since: dt.datetime) -> str:
    term = context.ledger.fence.term_since(Epoch(0))
    leads = term is not None and term.side == Side.DATABASE
    signs = [term.started_at, term.first_tick_at, term.seen_at] if term is not None and leads else []
    last = max([since, *filter(None, signs)])
    silence = context.ledger.fence.now() - last
    if silence <= most_silence(context.config):
        return ""
    who = f"the leader {term.host}:{term.pid}" if term is not None and leads else "every beat of the database side"
    return f"{who} has been silent for {span(silence)}"


def _of_runs(failed: list[str], count: int, most: int) -> str:
    if count <= most:
        return ""
    names = ", ".join(sorted({*failed})[:5])
    return f"{counted(count, 'run has', 'runs have')} failed since the switch, where {most} may: {names}"
