"""Gates on the state of the cutover: its phase, its active side, and the plan that the operator approved."""

from cutover.phases.context import Context
from cutover.phases.evidence import import_preview
from cutover.phases.facts import State
from cutover.phases.report import Check, command
from cutover.schedules.refusals import EntriesRefused
from cutover.types import Side


def phase_done(state: State, needed: int) -> Check:
    """The phase before is done."""
    if state.phase >= needed:
        return Check("order", True, f"phase {state.phase} is done")
    following = command(f"phase{state.phase + 1}")
    return Check("order", False, f"phase {needed} is not done, phase {state.phase} is", f"type `{following}` first")


def active_side(state: State, side: Side) -> Check:
    """``side`` is the active one."""
    holds = state.side is side
    return Check("active side", holds, str(state.side), "" if holds else f"type `{command('status')}`")


def approved_plan(context: Context, state: State, given: str) -> list[Check]:
    """The plan still is the one whose hash was ``given``, now or to an earlier phase; no check if none ever was."""
    wanted = given or state.plan_hash
    if not wanted:
        return []
    try:
        present = import_preview.take(context).hash
    except EntriesRefused as exc:
        return [Check("plan", False, str(exc), "fix the code schedule")]
    if present != wanted:
        remedy = f"look at `{command('plan')}` and approve it: --plan {present}"
        return [Check("plan", False, f"the approved plan {wanted} no longer fits; it is {present} now", remedy)]
    return [Check("plan", True, f"{wanted} is what was approved")]
