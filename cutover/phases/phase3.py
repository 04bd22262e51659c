"""Phase 3, the switch from code to database without a gap.

Every step is recorded before it is taken, decides by what the database says, and does nothing where it was done
before: the command may be killed anywhere and run again.
"""

from collections.abc import Sequence
from typing import Any

from cutover.errors import PhaseFailed
from cutover.phases.context import Context
from cutover.phases.evidence import hearing
from cutover.phases.facts import State, read
from cutover.phases.gates import beats, broker, imported, installation, progress
from cutover.phases.operations import remembered, snapshot, switchover
from cutover.phases.operations.journal import Journal, at_work
from cutover.phases.report import Check, Outcome, Report, all_hold, already, command, refused
from cutover.types import Side

NAME = "phase3"


def run(
    context: Context,
    *,
    force: bool = False,
    accept_edits: bool = False,
    plan: str = "",
    stopped: Sequence[str] = (),
    only_beat_sends: Sequence[str] = (),
    called_by_hand: Sequence[str] = (),
) -> Report:
    """Switch. ``force`` goes on where no beat of the database side stands by: then nothing is sent until one starts.

    ``accept_edits`` takes rows as they are that somebody has edited since their import. ``plan`` is the hash of the
    plan that the operator approved; without it the one that phase 2 was given holds. ``stopped``: origins of
    unmanaged beats that the operator has ended. ``only_beat_sends``, ``called_by_hand``: of which tasks the operator
    says so, where workers cannot hear a beat. Raises PhaseFailed, with everything put back, when no beat of the new
    side has loaded the rows or leads in time.
    """
    unchanged = remembered.senders_named(context, only_beat_sends, called_by_hand)
    state = read(context)
    if state.is_switched:
        return already(NAME, state.phase, what=unchanged)
    if state.phase >= 3:
        unfinished = Check("order", False, state.in_words(), command("rollback"))
        return refused(NAME, [unfinished], next_command=command("rollback"))
    with at_work(context.alias, NAME) as journal:
        state = read(context)
        remembered.beats_stopped(context, stopped)
        checks = _checks(context, state, plan, force=force, accept_edits=accept_edits)
        if not all_hold(checks):
            wanted = command(f"phase{min(state.phase, 2) + 1}")
            return journal.refused(NAME, checks, [state.in_words()] if state.is_begun else [], wanted)
        remembered.workers_guarded(context, checks)
        alone = force and not beats.standby(context, Side.DATABASE).ok
        lead = _switch(context, journal, state, alone=alone)
        journal.finish(NAME, 3)
    lines = ["An unfinished phase 3 went on where it had ended."] if state.is_begun else []
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
    checks += [*approved, *imported.same_parity(context, accept_edits=accept_edits)]
    checks.append(installation.sent_schedule(context))
    # There was a rollback since phase 1, no worker answered then, or none has run a slot since.
    if state.fence.guarded_since is None or not hearing.oldest_celery(context):
        checks.append(broker.workers(context))
    checks.append(beats.no_unmanaged_beat(context))
    standby = beats.standby(context, Side.DATABASE)
    if force and not standby.ok:
        forced = f"{standby.detail}; forced: nothing is sent until one starts"
        standby = Check(standby.name, True, forced)
    return [*checks, standby]


def _switch(context: Context, journal: Journal, state: State, *, alone: bool) -> switchover.Lead | None:
    try:
        if state.side is Side.CODE:
            with journal.step(NAME, "snapshot"), journal.commit():
                snapshot.keep(context)
            with journal.step(NAME, "enable"), journal.commit():
                snapshot.enable(context)
            if not alone:
                with journal.step(NAME, "loaded"):
                    switchover.wait_until_loaded(context)
        return switchover.switch_over(context, journal, NAME, Side.DATABASE, alone=alone)
    except PhaseFailed as exc:
        with journal.step(NAME, "restore"), journal.commit():
            snapshot.restore(context, drop_edits=False)
        raise PhaseFailed(f"{exc} The rows are as before.") from exc
