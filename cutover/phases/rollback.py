"""The way back, from every phase: the code side sends again, the rows are as they were."""

from typing import Final

from cutover.models import FINISH
from cutover.phases.context import Context
from cutover.phases.evidence import edits, sent
from cutover.phases.facts import State, read
from cutover.phases.gates import beats
from cutover.phases.operations import remembered, snapshot, switchover
from cutover.phases.operations.journal import DryRun, Journal, at_work, newest_step, noted
from cutover.phases.report import Check, Outcome, Report, all_hold, command, dry_run_report
from cutover.phases.wording import inline, listed
from cutover.types import Side

NAME = "rollback"
RESTORE: Final = "restore"
GUARD: Final = "guard"
"""The step under which the journal has why a guard wanted the rollback."""
NOT_SENT: Final = "enabled and no entry of the code, so nobody sends them once the code side leads ({}): {}"


def run(
    context: Context, *, force: bool = False, drop_edits: bool = False, dry_run: bool = False, because: str = ""
) -> Report:
    """Go back by the switch if there was one, else by the import: the rows stay, disabled.

    ``force`` goes on where no beat of the code side stands by, or one that lacks imported entries. ``drop_edits`` also
    undoes what people have edited in the rows since phase 3; they are shown and kept otherwise. ``dry_run``: ask every
    gate, go through every step, and do nothing. ``because``: why a guard wants it, for the journal. Raises
    NobodyLed, with the database side active again, when none leads in time.
    """
    context.is_dry_run = dry_run
    state = read(context)
    if not state.is_begun and (state.phase == 0 or newest_step(context.alias) == (NAME, FINISH)):
        lines = ["Rolled back already: the code side is active, no row is enabled by the cutover. Nothing was changed."]
        if why := noted(context.alias, NAME, GUARD, state.switched_at):
            lines.append(f"It was rolled back by its guard, for {why}")
        return Report(NAME, Outcome.ALREADY, (), lines, command(f"phase{state.phase + 1}"))
    with at_work(context.alias, NAME, dry_run=dry_run) as journal:
        report = _back(context, journal, read(context), force=force, drop_edits=drop_edits, because=because)
    if isinstance(journal, DryRun) and report.outcome is Outcome.DONE:
        return dry_run_report(NAME, report.checks, journal.steps)
    return report


def _back(context: Context, journal: Journal, state: State, *, force: bool, drop_edits: bool, because: str) -> Report:
    if state.side is Side.DATABASE or state.phase >= 3:
        return _switch_back(context, journal, state, force=force, drop_edits=drop_edits, because=because)
    # Also when it was killed after its last step but one: else it would go on to before phase 1.
    if state.snapshot or newest_step(context.alias) == (NAME, RESTORE):
        edited = _restore(context, journal, drop_edits=drop_edits, switched=False)
        journal.finish(NAME, state.phase)
        whole = "The rows that an unfinished phase 3 had enabled are as before. The code side was active all the time."
        return Report(NAME, Outcome.DONE, (), [whole, *edited], command("phase3"))
    remembered.forget(context)
    journal.finish(NAME, 0)
    lines = ["Rolled back to before phase 1. Imported rows stay, disabled; the code side was active all the time."]
    return Report(NAME, Outcome.DONE, (), lines, command("phase1"))


def _switch_back(
    context: Context, journal: Journal, state: State, *, force: bool, drop_edits: bool, because: str
) -> Report:
    standby = beats.standby(context, Side.CODE)
    checks = []
    if state.side is Side.DATABASE:
        checks = [standby, beats.standbys_loaded(context)] if standby.ok else [standby]
        if force:
            without = "forced: what no beat of the code side has is not sent"
            checks = [c if c.ok else Check(c.name, True, f"{c.detail}; {without}") for c in checks]
    if not all_hold(checks):
        return journal.refused(NAME, checks)
    if alone := sent.without_entry(context):
        checks.append(Check("other rows", True, NOT_SENT.format(len(alone), inline(alone, ", "))))
    if state.side is Side.CODE and not state.snapshot:
        # Killed after its last step but one: the rows cannot send any more, so there is nothing to switch back to.
        remembered.forget(context)
        journal.finish(NAME, 2)
        lines = ["An unfinished rollback was finished: the code side is active, the rows are as before phase 3."]
        return Report(NAME, Outcome.DONE, (), lines, command("status"), command("phase3"), {"gap_ms": None})
    if because:
        journal.note(NAME, GUARD, because)
    lead = switchover.switch_over(context, journal, NAME, Side.CODE, alone=force and not standby.ok)
    edited = _restore(context, journal, drop_edits=drop_edits, switched=True)
    journal.finish(NAME, 2)
    led = lead.in_words() if lead else "Forced: nobody leads. Start a beat of the code side now."
    lines = ["Rolled back: the code side sends, the rows are as they were before phase 3.", *edited, led]
    data = {"gap_ms": lead.gap_ms if lead else None}
    return Report(NAME, Outcome.DONE, checks, lines, command("status"), command("phase3"), data)


def _restore(context: Context, journal: Journal, *, drop_edits: bool, switched: bool) -> list[str]:
    """Put the rows back; returns what to say about edits since phase 3."""
    remembered.forget(context)
    present = edits.read(context.alias)
    found = edits.edits(present, switched=switched)
    as_before = "put back `enabled` and the last run of each imported row" + (
        ", and what was edited" if drop_edits else ""
    )
    journal.take(NAME, RESTORE, lambda: snapshot.restore(context, drop_edits=drop_edits), as_before, in_commit=True)
    if not found:
        return []
    heading = "Edited since phase 3, and kept: the code side sends as the code says, phase3 will ask about them."
    if drop_edits:
        heading = "Edited since phase 3, and put back (--drop-edits):"
    names = [row.name for name, row in present.renamed.items() if name in present.rows or not drop_edits]
    stay = [f"Left under a new name and disabled, for the cutover goes by the old one: {', '.join(names)}."]
    return [heading, *listed(found), *(stay if names else [])]
