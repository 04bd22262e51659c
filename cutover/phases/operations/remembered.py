"""What is remembered for the commands to come: an approved plan, stopped beats, tasks' senders, guarded workers.

A dry run remembers nothing: what its operator says holds for that command alone.
"""

from collections.abc import Iterable, Sequence

from cutover.errors import PhaseFailed
from cutover.ledger.database import outages
from cutover.models import Cutover, UnmanagedBeat
from cutover.phases.context import Context
from cutover.phases.evidence import detection
from cutover.phases.report import Check
from cutover.types import SentBy


def plan_approved(context: Context, plan_hash: str) -> None:
    """The operator has approved this plan; empty for none."""
    if context.is_dry_run:
        return
    with outages(context.alias):
        Cutover.objects.using(context.alias).filter(id=1).exclude(plan_hash=plan_hash).update(plan_hash=plan_hash)


def beats_stopped(context: Context, origins: Iterable[str]) -> None:
    """The operator has stopped these beats, until they are heard again. Raises PhaseFailed for one never heard."""
    with outages(context.alias):
        rows, senders = UnmanagedBeat.objects.using(context.alias), context.ledger.senders
        for origin in origins:
            heard = rows.filter(origin=origin)
            if not heard.exists() and all(row.origin != origin for row in senders.read()):
                known = ", ".join([*rows.values_list("origin", flat=True), *detection.probable(context)]) or "none"
                raise PhaseFailed(f"No beat {origin!r} was heard without the lease; heard: {known}.")
            context.stopped.add(origin)
            if not context.is_dry_run:
                heard.delete()
                senders.forget(origin)


def senders_named(context: Context, only_beat_sends: Sequence[str], called_by_hand: Sequence[str]) -> str:
    """The operator says of these tasks who sends them without a slot. Raises PhaseFailed for no scheduled task.

    Returns what a phase that is done already says of its changes.
    """
    if not only_beat_sends and not called_by_hand:
        return "Nothing was changed."
    beats = detection.named(context, only_beat_sends, called_by_hand)
    hand = detection.named(context, called_by_hand, only_beat_sends)
    if both := set(beats) & set(hand):
        raise PhaseFailed(f"Named for both, so nothing was remembered: {', '.join(sorted(both))}.")
    if context.is_dry_run:
        context.sent_by |= dict.fromkeys(beats, SentBy.BEATS_ALONE) | dict.fromkeys(hand, SentBy.HAND)
        return "Nothing was changed."
    context.ledger.senders.set_sent_by(beats, SentBy.BEATS_ALONE)
    context.ledger.senders.set_sent_by(hand, SentBy.HAND)
    return "Who sends the tasks is remembered; nothing else was changed."


def parity_proved(context: Context) -> None:
    """It is proved as of now that rows and code fire and send alike."""
    if context.is_dry_run:
        return
    now = context.ledger.fence.read_now()
    with outages(context.alias):
        Cutover.objects.using(context.alias).filter(id=1).update(parity_proved_at=now)


def workers_guarded(context: Context, checks: Sequence[Check]) -> None:
    """All workers are guarded, if some have answered so: from now on what seems lost may be sent to them again."""
    if not context.is_dry_run and any(check.name == "workers" and check.ok and not check.assumed for check in checks):
        context.ledger.fence.set_guarded(context.ledger.fence.read_now())


def forget(context: Context) -> None:
    """After a rollback no plan is approved, and nothing is sent again until a gate has asked the workers."""
    if context.is_dry_run:
        return
    context.ledger.fence.set_guarded(None)
    plan_approved(context, "")
