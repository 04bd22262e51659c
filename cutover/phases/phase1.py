"""Phase 1, preflight: every condition that the cutover rests on, and the code side under the lease."""

from collections.abc import Sequence
from dataclasses import replace

from cutover.phases.context import Context
from cutover.phases.facts import State, read
from cutover.phases.gates import beats, broker, installation, servers
from cutover.phases.operations import remembered
from cutover.phases.operations.journal import DryRun, at_work, rolled_back_since
from cutover.phases.report import Check, Outcome, Report, all_hold, already, command, dry_run_report, refused

NAME = "phase1"


def run(
    context: Context,
    *,
    no_code_beat: bool = False,
    stopped: Sequence[str] = (),
    only_beat_sends: Sequence[str] = (),
    called_by_hand: Sequence[str] = (),
    dry_run: bool = False,
) -> Report:
    """Check everything; record phase 1 as done when all of it holds. After a rollback everything is checked again.

    ``no_code_beat`` is for a project where nothing has sent the code schedule so far: no such beat is asked for.
    ``stopped``: origins of unmanaged beats that the operator has ended. ``only_beat_sends``, ``called_by_hand``: of
    which tasks the operator says so; that is remembered in every phase, also by one that is done already.
    ``dry_run``: check everything, and record nothing.
    """
    context.is_dry_run = dry_run
    again = command(f"{NAME} --no-code-beat" if no_code_beat else NAME)
    first = [servers.migrations(context)]
    if all_hold(first):
        first.append(servers.database(context))
    if not all_hold(first):
        return refused(NAME, first, next_command=again)
    unchanged = remembered.senders_named(context, only_beat_sends, called_by_hand)
    state = read(context)
    if not _is_due(context, state):
        if state.fence.guarded_since:
            return already(NAME, state.phase, state.following, what=unchanged)
        return _ask_workers_again(context, state)
    with at_work(context.alias, NAME, dry_run=dry_run) as journal:
        state = read(context)
        if not _is_due(context, state):  # somebody else was faster
            return already(NAME, state.phase, state.following)
        remembered.beats_stopped(context, stopped)
        checks = [*first, *_checks(context, no_code_beat=no_code_beat)]
        if not all_hold(checks):
            return journal.refused(NAME, checks, next_command=again)
        journal.finish(NAME, phase := max(1, state.phase))
        # Last, for phase 0 has no way back; where it is not reached phase 3 makes up for it.
        remembered.workers_guarded(context, checks)
    if isinstance(journal, DryRun):
        return replace(dry_run_report(NAME, checks, journal.steps), next_command=again)
    lines = ["Phase 1 is done: the code side sends under the lease."]
    if no_code_beat:
        lines = ["Phase 1 is done. No beat of the code side was asked for: so far nothing sends the code schedule."]
    if phase > 1:
        lines += [f"It was checked again after the rollback, and phase {phase} is done still."]
    data = {"no_code_beat": no_code_beat}
    return Report(NAME, Outcome.DONE, checks, lines, command(f"phase{phase + 1}"), command("rollback"), data)


def _is_due(context: Context, state: State) -> bool:
    """Whether there is anything to check: what held before a rollback may hold no more after it."""
    return state.phase < 1 or (not state.is_begun and rolled_back_since(context.alias, NAME))


def _checks(context: Context, *, no_code_beat: bool) -> list[Check]:
    checks = [servers.lease_store(context), servers.clocks(context)]
    context.progress(f"asking the broker, up to {broker.BROKER_TIMEOUT_S:g} s")
    reached, readable = broker.broker(context), installation.code_schedule(context, optional=no_code_beat)
    checks += [reached, installation.versions(context), installation.processes(context), readable]
    if readable.ok:
        checks.append(installation.tasks(context))
        if reached.ok:
            checks.append(broker.workers(context))
    checks.append(beats.no_unmanaged_beat(context, is_asked_later=True))
    if no_code_beat:
        checks.append(Check("code beat", True, "not asked for (--no-code-beat): nothing sends the code schedule"))
    else:
        checks.append(beats.code_beat(context))
    return [*checks, installation.sent_schedule(context)] if readable.ok and checks[-1].ok else checks


def _ask_workers_again(context: Context, state: State) -> Report:
    """After a rollback workers of the release before may have come back, and gone again; or none has answered yet."""
    check = broker.workers(context)
    if not check.ok:
        return refused(NAME, [check])
    if check.assumed:
        return already(NAME, state.phase, state.following)
    with at_work(context.alias, NAME, dry_run=context.is_dry_run):
        remembered.workers_guarded(context, [check])
    what = "nothing was changed" if context.is_dry_run else "nothing else was changed"
    return already(NAME, state.phase, state.following, [check], f"The workers were asked again; {what}.")
