"""Phase 4: the ledger's proof that every slot since the switch was sent and run once; then the cutover is closed."""

from __future__ import annotations

import datetime as dt

from cutover import clock
from cutover.phases.context import Context
from cutover.phases.evidence.proof import Evidence, gather
from cutover.phases.facts import State, read
from cutover.phases.gates import conditions
from cutover.phases.gates.conditions import SHOWN
from cutover.phases.operations.journal import at_work
from cutover.phases.report import Outcome, Report, all_hold, command, refused
from cutover.types import Side

NAME = "phase4"
LEAST_SLOTS = 10
GRACE = dt.timedelta(seconds=5)
"""How young a slot may be before it is looked at: its message may be under way."""
_PRUNED = dt.timedelta(hours=1)
_LOOK_EVERY_S = 1.0


def run(
    context: Context, slots: int = LEAST_SLOTS, grace: dt.timedelta = GRACE, wait: dt.timedelta = dt.timedelta(0)
) -> Report:
    """Prove and close. Fewer than ``slots`` (>= 1) proven slots are no proof: then the outcome is inconclusive.

    ``wait``: for how long to look again while it is. Nothing is held meanwhile: a rollback need not wait for a proof.
    """
    if wait:
        context.wait_for(lambda: _conclusive(context, slots, grace), wait, "enough slots", _LOOK_EVERY_S)
    state = read(context)
    if state.phase >= 4:
        lines = ["Phase 4 is done already: the cutover is closed. Nothing was changed."]
        return Report(NAME, Outcome.ALREADY, (), lines, command("status"), command("rollback"))
    with at_work(context.alias, NAME) as journal:
        state = read(context)
        checks = [conditions.phase_done(state, 3)]
        if all_hold(checks):
            checks.append(conditions.active_side(state, Side.DATABASE))
        if not all_hold(checks):
            journal.refused(NAME, "; ".join(check.detail for check in checks if not check.ok))
            return refused(NAME, checks, next_command=command(f"phase{min(state.phase, 2) + 1}"))
        context.progress("reading the ledger")
        report = _look(context, state, slots, grace)
        if report.outcome is Outcome.DONE:
            journal.finish(NAME, 4)
        else:
            journal.refused(NAME, report.outcome.value)
    return report


def _conclusive(context: Context, slots: int, grace: dt.timedelta) -> bool | None:
    """True once a look would tell more than that it is too early; else None."""
    state = read(context)
    if state.phase != 3 or state.side is not Side.DATABASE:
        return True
    return _look(context, state, slots, grace).outcome is not Outcome.INCONCLUSIVE or None


def _look(context: Context, state: State, slots: int, grace: dt.timedelta) -> Report:
    return _verdict(context, gather(context, _since(context, state), clock.now() - grace), slots)


def _since(context: Context, state: State) -> dt.datetime:
    """The switch; or, when that is longer ago, what the ledger surely still remembers."""
    remembered = clock.now() - context.config.retention + _PRUNED
    return max(state.switched_at or remembered, remembered)


def _verdict(context: Context, evidence: Evidence, slots: int) -> Report:
    lines = [
        f"{evidence.proven} slots of {evidence.entries} entries were claimed, published and run once; "
        f"{evidence.doubles} further messages were deduplicated."
    ]
    if evidence.unproven:
        lines += ["Not yet proven, for nothing of theirs fell due since the switch:"]
        lines += [f"  {_next_due(context, evidence, name)}" for name in evidence.unproven[:SHOWN]]
    if evidence.failures:
        lines += [f"{len(evidence.failures)} slots were not sent and run once:"]
        lines += [f"  {finding}" for finding in evidence.failures[:SHOWN]]
        return Report(NAME, Outcome.FAILED, (), lines, command("status"), command("rollback"), _data(evidence))
    short = slots - evidence.proven
    if evidence.pending or short > 0:
        lines += [f"  {finding}" for finding in evidence.pending[:SHOWN]]
        lines += [_wait(context, evidence, slots, short)]
        return Report(NAME, Outcome.INCONCLUSIVE, (), lines, command(NAME), command("rollback"), _data(evidence))
    lines += [
        "Phase 4 is done: the cutover is closed.",
        "The retired code schedule, CUTOVER['CODE_SCHEDULE'] and the process `legacy-beat` may now be removed; "
        "with them goes the way back by rollback.",
    ]
    return Report(NAME, Outcome.DONE, (), lines, command("status"), command("rollback"), _data(evidence))


def _wait(context: Context, evidence: Evidence, slots: int, short: int) -> str:
    if short <= 0:
        return "Inconclusive: the slots above are under way. Run phase4 again in a minute."
    at = evidence.due_by(max(1, short - len(evidence.pending)))
    if at is None:
        return f"Inconclusive: {slots} slots are asked for and no more will fall due. Ask for fewer with --slots."
    wait = max(dt.timedelta(0), at - clock.now())
    return (
        f"Inconclusive: {slots} slots are asked for, {short} are missing. The last of them is due at "
        f"{_local(context, at)}, in {_in_words(wait)}. Run phase4 again then, or ask for fewer with --slots."
    )


def _next_due(context: Context, evidence: Evidence, name: str) -> str:
    found = evidence.upcoming.get(name)  # type: ignore[call-overload]
    return f"{name}, next due at {_local(context, found[1])}" if found else f"{name}, read again by the leader soon"


def _local(context: Context, at: dt.datetime) -> str:
    return f"{at.astimezone(context.app.timezone):%Y-%m-%d %H:%M:%S %Z}"


def _in_words(span: dt.timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    if minutes < 2:
        return f"{span.total_seconds():.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _data(evidence: Evidence) -> dict[str, object]:
    return {
        "proven": evidence.proven,
        "entries": evidence.entries,
        "deduplicated": evidence.doubles,
        "failures": [_finding(f) for f in evidence.failures],
        "pending": [_finding(f) for f in evidence.pending],
        "unproven": list(evidence.unproven),
    }


def _finding(finding: object) -> dict[str, str]:
    entry, due_at, reason = (getattr(finding, name) for name in ("entry", "due_at", "reason"))
    return {"entry": entry, "due_at": due_at.isoformat(), "reason": reason}
