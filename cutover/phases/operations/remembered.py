"""What is remembered for the commands to come: the approved plan, beats that were stopped, workers that are guarded."""

from collections.abc import Iterable, Sequence

from cutover import clock
from cutover.errors import PhaseFailed
from cutover.ledger.database import outages
from cutover.models import Cutover, UnmanagedBeat
from cutover.phases.context import Context
from cutover.phases.report import Check


def plan_approved(context: Context, plan_hash: str) -> None:
    """The operator has approved this plan; empty for none."""
    with outages(context.alias):
        Cutover.objects.using(context.alias).filter(id=1).exclude(plan_hash=plan_hash).update(plan_hash=plan_hash)


def beats_stopped(context: Context, origins: Iterable[str]) -> None:
    """The operator has stopped these beats, until they are heard again. Raises PhaseFailed for one never heard."""
    with outages(context.alias):
        rows = UnmanagedBeat.objects.using(context.alias)
        for origin in origins:
            if not rows.filter(origin=origin).delete()[0]:
                known = ", ".join(rows.values_list("origin", flat=True)) or "none"
                raise PhaseFailed(f"No beat {origin!r} was heard without the lease; heard: {known}.")


def workers_guarded(context: Context, checks: Sequence[Check]) -> None:
    """All workers are guarded, if some have answered so: from now on what seems lost may be sent to them again."""
    if any(check.name == "workers" and check.ok and not check.assumed for check in checks):
        context.ledger.fence.set_guarded(clock.now())


def forget(context: Context) -> None:
    """After a rollback no plan is approved, and nothing is sent again until a gate has asked the workers."""
    context.ledger.fence.set_guarded(None)
    plan_approved(context, "")
