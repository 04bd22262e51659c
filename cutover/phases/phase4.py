"""Phase 4: the ledger's proof that every slot since the switch was sent and run once; then the cutover is closed."""

import datetime as dt
from collections.abc import Sequence

from cutover import clock
from cutover.phases.context import Context
from cutover.phases.evidence import hearing
from cutover.phases.evidence.proof import Evidence, gather
from cutover.phases.facts import State, read
from cutover.phases.gates import beats, progress
from cutover.phases.operations import remembered
from cutover.phases.operations.journal import at_work
from cutover.phases.report import Outcome, Report, all_hold, command, plain
from cutover.phases.wording import instant, listed, span
from cutover.types import Side

NAME = "phase4"
LEAST_SLOTS = 10
GRACE = dt.timedelta(seconds=5)
"""How old a slot must be to be judged: the message of a younger one may be under way."""


def run(
    context: Context,
    *,
    slots: int = LEAST_SLOTS,
    wait: dt.timedelta = dt.timedelta(0),
    only_beat_sends: Sequence[str] = (),
    called_by_hand: Sequence[str] = (),
) -> Report:
    """Prove and close. Fewer than ``slots`` (>= 1) proven slots are no proof: then the outcome is inconclusive.

    So it is while a beat without the lease may be running, or could without being heard: it would run all once more.
    ``wait``: for how long to try again while slots are too few. Nothing is held meanwhile: a rollback need not wait for
    a proof. ``only_beat_sends``, ``called_by_hand``: of which tasks the operator says so.
    """
    unchanged = remembered.senders_named(context, only_beat_sends, called_by_hand)
    if wait:
        context.wait_for(lambda: _conclusive(context, slots), wait, "enough slots", every_s=1.0)
    state = read(context)
    if state.phase >= 4:
        lines = [f"Phase 4 is done already: the cutover is closed. {unchanged}"]
        return Report(NAME, Outcome.ALREADY, (), lines, command("status"), command("rollback"))
    with at_work(context.alias, NAME) as journal:
        state = read(context)
        checks = [progress.phase_done(state, 3)]
        if all_hold(checks):
            checks.append(progress.active_side(state, Side.DATABASE))
        if not all_hold(checks):
            return journal.refused(NAME, checks, next_command=command(f"phase{min(state.phase, 2) + 1}"))
        context.progress("reading the ledger")
        report = _prove(context, state, slots)
        if report.outcome is Outcome.DONE:
            journal.finish(NAME, 4)
        else:
            journal.not_done(NAME, report.outcome.value)
    return report


def _conclusive(context: Context, slots: int) -> bool | None:
    """True once the proof would say more than that it is too early; else None."""
    state = read(context)
    over = state.phase != 3 or state.side is not Side.DATABASE
    return over or _prove(context, state, slots).outcome is not Outcome.INCONCLUSIVE or None


def _prove(context: Context, state: State, slots: int) -> Report:
    # Since the switch; or, when that is longer ago, as far back as the ledger surely still remembers.
    known = clock.now() - context.config.retention + dt.timedelta(hours=1)
    evidence = gather(context, since := max(state.switched_at or known, known), clock.now() - GRACE)
    lines = [
        f"{evidence.proven} slots of {evidence.entries} entries were claimed, published and run once; "
        f"{evidence.deduplicated} further messages were deduplicated."
    ]
    if evidence.unproven:
        lines += ["Not yet proven, for nothing of theirs fell due since the switch:"]
        zone = context.app.timezone
        ahead = {name: f"next due at {instant(at, zone)}" for name, (_, at) in evidence.upcoming.items()}
        lines += listed([f"{name}, {ahead.get(name, 'read again by the leader soon')}" for name in evidence.unproven])
    lines += _slotless(context, since)
    short, alone = slots - evidence.proven, beats.no_unmanaged_beat(context)
    outcome, following = Outcome.DONE, "status"
    if evidence.failures:
        outcome = Outcome.FAILED
        lines += [f"{len(evidence.failures)} slots were not sent and run once:", *listed(evidence.failures)]
    elif evidence.pending or short > 0:
        outcome, following = Outcome.INCONCLUSIVE, NAME
        lines += [*listed(evidence.pending), _wait(context, evidence, slots, short)]
    elif not alone.ok:
        outcome, following = Outcome.INCONCLUSIVE, NAME
        lines += ["Inconclusive: a beat without the lease may send besides, see above."]
    else:
        lines += [
            "Phase 4 is done: the cutover is closed.",
            "The retired code schedule, CUTOVER['CODE_SCHEDULE'] and the process `legacy-beat` may now be removed; "
            "with them goes the way back by rollback.",
        ]
    data = plain(evidence, "proven entries deduplicated unproven")
    for kind in ("failures", "pending"):
        data[kind] = [plain(finding, "entry due_at reason") for finding in getattr(evidence, kind)]
    return Report(NAME, outcome, [alone], lines, command(following), command("rollback"), data)


def _slotless(context: Context, since: dt.datetime) -> list[str]:
    """What workers have run of scheduled tasks, besides the slots that are proven here."""
    found = [row for row in hearing.slotless(context) if row.last_seen_at > since]
    said = [f"{row.task} from {row.origin}: {row.messages}, the latest {instant(row.last_seen_at)}" for row in found]
    return ["Run besides, for these messages named no slot:", *listed(said)] if said else []


def _wait(context: Context, evidence: Evidence, slots: int, short: int) -> str:
    if short <= 0:
        return "Inconclusive: the slots above are under way. Run phase4 again in a minute."
    at = evidence.due_by(max(1, short - len(evidence.pending)))
    if at is None:
        return f"Inconclusive: {slots} slots are asked for and no more will fall due. Ask for fewer with --slots."
    wait = max(dt.timedelta(0), at - clock.now())
    return (
        f"Inconclusive: {slots} slots are asked for, {short} are missing. The last of them is due at "
        f"{instant(at, context.app.timezone)}, in {span(wait)}. Run phase4 again then, or ask for fewer with --slots."
    )
