"""Phase 2: the code schedule becomes disabled rows, and they are proved to fire and send alike."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from cutover.ledger.database import outages
from cutover.models import Cutover
from cutover.phases.context import Context
from cutover.phases.facts import read
from cutover.phases.gates import beats, imported, installation, progress
from cutover.phases.operations import remembered
from cutover.phases.operations.journal import DryRun, Journal, at_work
from cutover.phases.operations.shadow_run import rehearse
from cutover.phases.report import Check, Outcome, Report, all_hold, already, command, dry_run_report, refused
from cutover.phases.wording import span
from cutover.plural import counted
from cutover.schedules.importer import Import, import_entries, work_out
from cutover.schedules.refusals import EntriesRefused
from cutover.types import Side

NAME = "phase2"


def run(
    context: Context,
    *,
    adopt: bool = False,
    plan: str = "",
    shadow: dt.timedelta | None = None,
    dry_run: bool = False,
) -> Report:
    """Import and prove. Run again it imports what has changed in code since, up to the switch.

    ``adopt`` takes over rows of the same names that differ or are enabled. ``plan`` is the hash of the plan that the
    operator approved. ``shadow``: for so long, let a standby of the database side compute what it would send, and
    compare that with what the code side claims. ``dry_run``: ask every gate, prove of rows in memory what would be
    proved of those that are written, and do nothing.
    """
    context.is_dry_run = dry_run
    state = read(context)
    if state.is_switched:
        return already(NAME, state.phase, state.following)
    with at_work(context.alias, NAME, dry_run=dry_run) as journal:
        state = read(context)
        checks = [progress.phase_done(state, 1)]
        if not all_hold(checks):
            return journal.refused(NAME, checks, next_command=command(state.following))
        if state.is_begun:
            checks.append(Check("rows", False, state.in_words(), command("rollback")))
            return journal.refused(NAME, checks, next_command=command(state.following))
        checks = progress.approved_plan(context, state, plan)
        if plan and all_hold(checks):
            remembered.plan_approved(context, plan)
        if shadow is not None:
            checks.append(beats.code_beat(context, optional=False))
            checks.append(beats.standby(context, Side.DATABASE, optional=False))
        checks.append(sent := installation.sent_schedule(context))
        if not all_hold(checks):
            return journal.refused(NAME, checks)
        try:
            if isinstance(journal, DryRun):
                return _look(context, journal, checks, shadow, adopt=adopt)
            return _import(context, journal, state.phase, shadow, sent, adopt=adopt)
        except EntriesRefused as exc:
            lines = [f"{counted(len(exc.refusals), 'reason')} why the schedule cannot be imported whole."]
            return refused(NAME, imported.importable(exc.refusals), lines)


def _look(
    context: Context, journal: DryRun, checks: Sequence[Check], shadow: dt.timedelta | None, *, adopt: bool
) -> Report:
    work = work_out(context.app, context.config, context.entries, context.progress, adopt=adopt)
    context.progress("comparing fire times and messages")
    checks = [*checks, imported.parity_to_come(context, work.drafted)]
    if not all_hold(checks):
        return refused(NAME, checks)
    journal.take(NAME, "import", lambda: None, _in_words(work.done))
    if shadow is not None:
        watch = f"have a standby compute for {span(shadow)} what it would send, and compare"
        journal.take(NAME, "shadow", lambda: None, watch)
    journal.finish(NAME, 2)
    would = dry_run_report(NAME, checks, journal.steps)
    return replace(would, data={**would.data, **_data(work.done)})


def _in_words(done: Import) -> str:
    """How many rows became, or would become, what."""
    if not done.changed:
        alike = counted(len(done.unchanged), "is as the code has it", "are as the code has them")
        return f"0 rows changed; {alike}, disabled."
    changed = f"{counted(len(done.created), 'row')} created, {len(done.updated)} updated, {len(done.adopted)} adopted"
    return f"{changed}, {len(done.unchanged)} unchanged; all disabled."


def _data(done: Import) -> dict[str, Any]:
    data = asdict(done)
    data["no_longer_in_code"] = data.pop("forgotten")
    return data


def _import(
    context: Context, journal: Journal, phase: int, shadow: dt.timedelta | None, sent: Check, *, adopt: bool
) -> Report:
    with journal.step(NAME, "import"), journal.commit():
        done = import_entries(context.app, context.config, context.entries, adopt=adopt, progress=context.progress)
    context.progress("comparing fire times and messages")
    proved = [sent, *imported.same_parity(context)]
    lines = [_in_words(done)]
    if done.forgotten:
        lines.append(f"No longer in code, their rows left disabled: {', '.join(done.forgotten)}.")
    data = _data(done)
    report = partial(Report, NAME, checks=proved, undo=command("rollback"), data=data)
    if not all_hold(proved):
        return replace(journal.refused(NAME, proved), lines=lines, undo=command("rollback"), data=data)
    remembered.parity_proved(context)
    if shadow is not None:
        with journal.step(NAME, "shadow"):
            seen = rehearse(context, shadow)
        lines += seen.lines()
        data["shadow"] = seen.data()
        if seen.differing:
            with journal.step(NAME, "reopen"), outages(context.alias):
                Cutover.objects.using(context.alias).filter(id=1).update(phase=1)
            return report(Outcome.FAILED, lines=lines, next_command=command(NAME))
        if not seen.alike:
            journal.not_done(NAME, Outcome.INCONCLUSIVE.value)
            why = "nothing fell due while it was watched. Take a longer time, or go on without it."
            if seen.paused:
                why = f"all that fell due was paused. Type `{command('resume')}` first, or go on without it."
            lines.append(f"Inconclusive: {why}")
            return report(Outcome.INCONCLUSIVE, lines=lines, next_command=command(NAME))
    if phase == 2 and not done.changed and not done.forgotten:
        return report(Outcome.ALREADY, lines=["Phase 2 is done already.", *lines], next_command=command("phase3"))
    journal.finish(NAME, 2)
    return report(Outcome.DONE, lines=lines, next_command=command("phase3"))
