"""Gates on the imported rows: they fire and send as the code does, and nobody has edited them unseen."""

from collections.abc import Sequence

from cutover import clock
from cutover.ledger.database import outages
from cutover.phases.context import Context
from cutover.phases.evidence import edits as evidence
from cutover.phases.evidence.edits import Present
from cutover.phases.report import Check, command
from cutover.phases.wording import inline
from cutover.plural import counted
from cutover.schedules import divergence, overlay, parity, rows
from cutover.schedules.convert import RowDraft
from cutover.schedules.fingerprint import fingerprint
from cutover.schedules.refusals import Refusal


def importable(refusals: Sequence[Refusal]) -> list[Check]:
    """What keeps an entry from being imported, a check each; none where nothing does."""
    return [Check(f"{one.entry}: {one.field}", False, one.reason, one.remedy) for one in refusals]


def same_parity(context: Context, *, accept_edits: bool = False) -> list[Check]:
    """The rows fire and send as the code does, and nobody has edited one since its import.

    An edited row that fires and sends alike is fine; ``accept_edits`` takes any other that is still there as it is.
    """
    present = evidence.read(context.alias)
    found, edits = differences(context, present), evidence.edits(present)
    differing = {difference.entry for difference in found}
    grave = {edit.entry for edit in edits if edit.entry in differing or edit.field in {"enabled", "row"}}
    taken = grave - {edit.entry for edit in edits if edit.field == "row"} if accept_edits else set()
    checks = []
    if edits:
        remedy = f"--accept-edits takes the rows as they are, `{command('phase2')} --adopt` puts the code's values back"
        what = "taken as they are (--accept-edits)" if grave else "they fire and send as the code does all the same"
        ok = grave == taken
        checks = [Check("edited rows", ok, f"{inline(edits)}; {what}" if ok else inline(edits), "" if ok else remedy)]
    return [*checks, _parity(context, [difference for difference in found if difference.entry not in taken])]


def parity_to_come(context: Context, drafted: Sequence[RowDraft]) -> Check:
    """The rows that an import would write fire and send as the code does; proved of rows in memory."""
    standing = {one.row.name: rows.unwritten(one.row) for one in drafted}
    overlays = {
        one.row.name: overlay.drafted(one, fingerprint(context.entries[one.row.name].schedule)) for one in drafted
    }
    return _parity(
        context,
        parity.differences(context.app, context.entries, standing, clock.now(), overlays, context.progress),
    )


def _parity(context: Context, apart: Sequence[parity.Difference]) -> Check:
    if apart:
        remedy = f"type `{command('phase2')}`, or fix the row"
        if broken := sorted({one.entry for one in apart if one.is_of_code}):
            remedy = f"fix {inline(broken, ', ')} in the code, which celery cannot send, and {remedy}"
        return Check("parity", False, inline(apart), remedy)
    fire = counted(len(context.entries), "entry fires and sends", "entries fire and send")
    alike = f"{fire} alike on both sides ({divergence.HORIZON.days} days)"
    return Check("parity", True, alike)


def differences(context: Context, present: Present) -> Sequence[parity.Difference]:
    """Every difference between the code schedule and the imported rows."""
    with outages(context.alias):
        kept = overlay.load(context.alias)
    return parity.differences(context.app, context.entries, present.rows, clock.now(), kept, context.progress)
