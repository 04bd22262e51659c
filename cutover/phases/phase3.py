"""Phase 3, the switch from code to database without a gap.

Every step is recorded before it is taken, decides by what the database says, and does nothing where it was done
before: the command may be killed anywhere and run again. ``phase3_command`` is the command around it, with all its
options.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from cutover.errors import PhaseFailed
from cutover.phases.context import Context
from cutover.phases.evidence import detection
from cutover.phases.facts import State, read
from cutover.phases.gates import beats, broker, imported, installation, progress
from cutover.phases.operations import attended, remembered, snapshot, switchover
from cutover.phases.operations.journal import DryRun, Journal, at_work
from cutover.phases.report import Check, Outcome, Report, all_hold, already, command, dry_run_report, refused
from cutover.phases.wording import span
from cutover.types import Side

NAME = "phase3"
PROOF_HOLDS: Final = dt.timedelta(days=1)
"""For how long phase 2's proof of parity is good for anything. Phase 3 proves again however young it is."""


def run(
    context: Context,
    *,
    force: bool = False,
    accept_edits: bool = False,
    plan: str = "",
    stopped: Sequence[str] = (),
    only_beat_sends: Sequence[str] = (),
    called_by_hand: Sequence[str] = (),
    dry_run: bool = False,
    hold: Callable[[], Check] | None = None,
    guarded: dt.timedelta | None = None,
) -> Report:
    """Switch. ``force`` goes on where no beat of the database side stands by: then nothing is sent until one starts.

    ``accept_edits`` takes rows as they are that somebody has edited since their import. ``plan`` is the hash of the
    plan that the operator approved; without it the one that phase 2 was given holds. ``stopped``: origins of
    unmanaged beats that the operator has ended. ``only_beat_sends``, ``called_by_hand``: of which tasks the operator
    says so, where workers cannot hear a beat. ``dry_run``: ask every gate, go through every step, and do nothing.
    ``hold``: the last gate of a switch, which may wait for its moment. ``guarded``: for how long the switch is watched
    afterwards. Raises PhaseFailed, with everything put back, when no beat of the new side has loaded the rows or leads
    in time.
    """
    context.is_dry_run = dry_run
    unchanged = remembered.senders_named(context, only_beat_sends, called_by_hand)
    state = read(context)
    if state.is_switched:
        return already(NAME, state.phase, state.following, what=unchanged)
    if state.phase >= 3:
        unfinished = Check("order", False, state.in_words(), command("rollback"))
        return refused(NAME, [unfinished], next_command=command("rollback"))
    with at_work(context.alias, NAME, dry_run=dry_run) as journal:
        state = read(context)
        remembered.beats_stopped(context, stopped)
        checks = _checks(context, state, plan, force=force, accept_edits=accept_edits)
        if guarded is not None and not force and all_hold(checks):
            checks.append(beats.standby(context, Side.CODE, optional=False))
        if hold is not None and state.side is Side.CODE and all_hold(checks):
            checks.append(hold())
        if not all_hold(checks):
            wanted = command(f"phase{min(state.phase, 2) + 1}")
            return journal.refused(NAME, checks, [state.in_words()] if state.is_begun else [], wanted)
        remembered.workers_guarded(context, checks)
        alone = force and not beats.standby(context, Side.DATABASE).ok
        lead = _switch(context, journal, state, alone=alone)
        if guarded is not None:
            watch = f"watch the ledger for {span(guarded)} after the last step, and roll back if it goes wrong"
            journal.take(NAME, "guard", lambda: attended.post_guard(context, guarded), watch)
        journal.finish(NAME, 3)
    lines = ["An unfinished phase 3 went on where it had ended."] if state.is_begun else []
    if isinstance(journal, DryRun):
        return dry_run_report(NAME, checks, journal.steps, [state.in_words()] if state.is_begun else [])
    data: dict[str, Any] = {"gap_ms": None}
    if lead is None:
        lines += ["Phase 3 is done, forced: the database side is active and nobody leads. Start `prodserver beat` now."]
    else:
        data = {"gap_ms": lead.gap_ms, "epoch": lead.term.epoch, "leader": lead.term.holder}
        lines += ["Phase 3 is done: the rows send.", lead.in_words()]
    return Report(NAME, Outcome.DONE, checks, lines, command("phase4"), command("rollback"), data)


def _checks(context: Context, state: State, plan: str, *, force: bool, accept_edits: bool) -> list[Check]:
    checks = [progress.phase_done(state, 2)]
    if state.side is Side.DATABASE or not all_hold(checks):
        return checks  # switched already: what is left is to see that the new side leads
    checks.append(progress.active_side(state, Side.CODE))
    context.progress("comparing fire times and messages")
    approved = progress.approved_plan(context, state, plan)
    if plan and all_hold(approved):
        remembered.plan_approved(context, plan)
    proved = imported.same_parity(context, accept_edits=accept_edits)
    checks += [*approved, *(_with_age(context, state, check) for check in proved)]
    if all_hold(proved):
        remembered.parity_proved(context)
    checks.append(installation.sent_schedule(context))
    # There was a rollback since phase 1, no worker answered then, or none has run a slot since.
    if state.fence.guarded_since is None or not detection.oldest_celery(context):
        checks.append(broker.workers(context))
    checks.append(beats.no_unmanaged_beat(context))
    standby = beats.standby(context, Side.DATABASE)
    if force and not standby.ok:
        forced = f"{standby.detail}; forced: nothing is sent until one starts"
        standby = Check(standby.name, True, forced)
    return [*checks, standby]


def _with_age(context: Context, state: State, check: Check) -> Check:
    """The gate on parity, and how old the proof before is that this one takes the place of."""
    if check.name != "parity" or not check.ok:
        return check
    before = "when it was proved before is not known"
    if state.parity_proved_at is not None:
        age = max(dt.timedelta(0), context.ledger.fence.now() - state.parity_proved_at)
        before = f"the proof before is {span(age)} old" + (", too old to count" if age > PROOF_HOLDS else "")
    return replace(check, detail=f"{check.detail}; proved again now, {before}")


def _switch(context: Context, journal: Journal, state: State, *, alone: bool) -> switchover.Lead | None:
    try:
        if state.side is Side.CODE:
            remember = "remember how each imported row is, for the way back"
            journal.take(NAME, "snapshot", lambda: snapshot.keep(context), remember, in_commit=True)
            enable = "enable every imported row; nothing fires by that, for their side does not lead"
            journal.take(NAME, "enable", lambda: snapshot.enable(context), enable, in_commit=True)
            if not alone:
                load = f"wait up to {span(context.config.takeover_timeout)} for a beat to load them"
                journal.take(NAME, "loaded", lambda: switchover.wait_until_loaded(context), load)
        return switchover.switch_over(context, journal, NAME, Side.DATABASE, alone=alone)
    except PhaseFailed as exc:
        back = "put the imported rows back"
        journal.take(NAME, "restore", lambda: snapshot.restore(context, drop_edits=False), back, in_commit=True)
        raise PhaseFailed(f"{exc} The rows are as before.") from exc
