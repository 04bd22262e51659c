"""Gates on the imported rows: they fire and send as the code does, and nobody has edited them unseen."""

from collections.abc import Collection, Sequence

from cutover import clock
from cutover.ledger.database import outages
from cutover.phases.context import Context
from cutover.phases.evidence import edits as evidence
from cutover.phases.evidence.edits import Edit, Present
from cutover.phases.report import Check, command
from cutover.phases.wording import inline
from cutover.schedules import divergence, overlay, parity
from cutover.schedules.refusals import Refusal
from cutover.types import EntryName


def importable(refusals: Sequence[Refusal]) -> list[Check]:
    """What keeps an entry from being imported, a check each; none where nothing does."""
    return [Check(f"{one.entry}: {one.field}", False, one.reason, one.remedy) for one in refusals]


def same_parity(context: Context, *, accept_edits: bool = False) -> list[Check]:
    """The rows fire and send as the code does, and nobody has edited one since its import.

    An edited row that fires and sends alike holds nothing back; ``accept_edits`` takes every other one as it is, if it
    is still there.
    """
    present = evidence.read(context)
    found = differences(context, present)
    edits = evidence.edits(present)
    differing = {difference.entry for difference in found}
    grave = [edit for edit in edits if edit.entry in differing or edit.field in {"enabled", "row"}]
    taken = {edit.entry for edit in grave} if accept_edits else set()
    taken -= {edit.entry for edit in grave if edit.field == "row"}
    checks = [_edited(edits, {edit.entry for edit in grave}, taken)] if edits else []
    return [*checks, _parity(context, [difference for difference in found if difference.entry not in taken])]


def _edited(edits: Sequence[Edit], grave: Collection[EntryName], taken: Collection[EntryName]) -> Check:
    name, listed = "edited rows", inline(edits)
    if not grave:
        return Check(name, True, f"{listed}; they fire and send as the code does all the same")
    if grave == taken:
        return Check(name, True, f"{listed}; taken as they are (--accept-edits)")
    remedy = f"--accept-edits takes the rows as they are, `{command('phase2')} --adopt` puts the code's values back"
    return Check(name, False, listed, remedy)


def _parity(context: Context, found: Sequence[parity.Difference]) -> Check:
    if found:
        return Check("parity", False, inline(found), f"type `{command('phase2')}`, or fix the row")
    days = divergence.HORIZON.days
    return Check("parity", True, f"{len(context.entries)} entries fire and send alike on both sides ({days} days)")


def differences(context: Context, present: Present) -> Sequence[parity.Difference]:
    """Every difference between the code schedule and the imported rows."""
    with outages(context.alias):
        kept = overlay.load(context.alias)
    return parity.differences(context.app, context.entries, present.rows, clock.now(), kept, context.progress)
