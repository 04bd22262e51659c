"""Phase 2: the code schedule becomes disabled rows, and they are proved to fire and send alike."""

import datetime as dt
from dataclasses import asdict, replace
from functools import partial

from cutover.ledger.database import outages
from cutover.models import Cutover
from cutover.phases.context import Context
from cutover.phases.facts import read
from cutover.phases.gates import beats, imported, installation, progress
from cutover.phases.operations import remembered
from cutover.phases.operations.journal import Journal, at_work
from cutover.phases.operations.rehearsal import rehearse
from cutover.phases.report import Check, Outcome, Report, all_hold, already, command, refused
from cutover.schedules.importer import import_entries
from cutover.schedules.refusals import EntriesRefused
from cutover.types import Side

NAME = "phase2"


def run(context: Context, *, adopt: bool = False, plan: str = "", shadow: dt.timedelta | None = None) -> Report:
    """Import and prove. Run again it imports what has changed in code since, up to the switch.

    ``adopt`` takes over rows of the same names that differ or are enabled. ``plan`` is the hash of the plan that the
    operator approved. ``shadow``: for so long, let a standby of the database side compute what it would send, and
    compare that with what the code side claims.
    """
    state = read(context)
    if state.is_switched:
        return already(NAME, state.phase)
    with at_work(context.alias, NAME) as journal:
        state = read(context)
        checks = [progress.phase_done(state, 1)]
        if not all_hold(checks):
            return journal.refused(NAME, checks, next_command=command(f"phase{state.phase + 1}"))
        if state.is_begun:
            return journal.refused(NAME, [*checks, Check("rows", False, state.in_words(), command("rollback"))])
        checks = progress.approved_plan(context, state, plan)
        if plan and all_hold(checks):
            remembered.plan_approved(context, plan)
        if shadow is not None:
            checks.append(beats.code_beat(context, optional=False))
            checks.append(beats.standby(context, Side.DATABASE, optional=False))
        checks.append(sent := installation.sent_schedule(context))
        if not all_hold(checks):
            return journal.refused(NAME, checks)
        return _import(context, journal, state.phase, shadow, sent, adopt=adopt)


def _import(
    context: Context, journal: Journal, phase: int, shadow: dt.timedelta | None, sent: Check, *, adopt: bool
) -> Report:
    try:
        with journal.step(NAME, "import"), journal.commit():
            done = import_entries(context.app, context.config, context.entries, adopt=adopt, progress=context.progress)
    except EntriesRefused as exc:
        lines = [f"{len(exc.refusals)} reasons why the schedule cannot be imported whole."]
        return refused(NAME, imported.importable(exc.refusals), lines)
    context.progress("comparing fire times and messages")
    proved = [sent, *imported.same_parity(context)]
    lines = [f"0 rows changed; {len(done.unchanged)} are as the code has them, disabled."]
    if done.changed:
        changed = f"{len(done.created)} rows created, {len(done.updated)} updated, {len(done.adopted)} adopted"
        lines = [f"{changed}, {len(done.unchanged)} unchanged; all disabled."]
    if done.forgotten:
        lines.append(f"No longer in code, their rows left disabled: {', '.join(done.forgotten)}.")
    data = asdict(done)
    data["no_longer_in_code"] = data.pop("forgotten")
    report = partial(Report, NAME, checks=proved, undo=command("rollback"), data=data)
    if not all_hold(proved):
        return replace(journal.refused(NAME, proved), lines=lines, undo=command("rollback"), data=data)
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
            lines.append(
                "Inconclusive: nothing fell due while it was watched. Take a longer time, or go on without it."
            )
            return report(Outcome.INCONCLUSIVE, lines=lines, next_command=command(NAME))
    if phase == 2 and not done.changed and not done.forgotten:
        return report(Outcome.ALREADY, lines=["Phase 2 is done already.", *lines], next_command=command("phase3"))
    journal.finish(NAME, 2)
    return report(Outcome.DONE, lines=lines, next_command=command("phase3"))
