"""The plan that the operator approved, by its hash: phases refuse when it no longer fits."""

from __future__ import annotations

from cutover.ledger.database import outages
from cutover.models import Cutover
from cutover.phases.context import Context
from cutover.phases.evidence import survey
from cutover.phases.report import Check, command
from cutover.schedules.refusals import EntriesRefused


def checks(context: Context, given: str) -> list[Check]:
    """The plan still is the one whose hash was ``given``, now or to an earlier phase; nothing if none ever was.

    A hash that fits is remembered for the phases to come.
    """
    with outages(context.alias):
        kept = Cutover.objects.using(context.alias).values_list("plan_hash", flat=True).get(id=1)
    wanted = given or kept
    if not wanted:
        return []
    try:
        present = survey.take(context).hash
    except EntriesRefused as exc:
        return [Check("plan", False, str(exc), "fix the code schedule")]
    if present != wanted:
        remedy = f"look at `{command('plan')}` and approve it: --plan {present}"
        return [Check("plan", False, f"the approved plan {wanted} no longer fits; it is {present} now", remedy)]
    if wanted != kept:
        with outages(context.alias):
            Cutover.objects.using(context.alias).filter(id=1).update(plan_hash=wanted)
    return [Check("plan", True, f"{wanted} is what was approved")]


def forget(context: Context) -> None:
    """After a rollback nothing is approved."""
    with outages(context.alias):
        Cutover.objects.using(context.alias).filter(id=1).exclude(plan_hash="").update(plan_hash="")
