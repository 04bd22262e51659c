"""Gates on beats, schedule and state: conditions that hold or not, each with what to do where it does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cutover import clock
from cutover.errors import LeaseUnavailable
from cutover.ledger.database import outages
from cutover.models import ImportedEntry
from cutover.phases.context import Context
from cutover.phases.evidence import silence
from cutover.phases.facts import State
from cutover.phases.operations import snapshot
from cutover.phases.operations.switchover import standbys
from cutover.phases.report import Check, command
from cutover.schedules import divergence, overlay, parity
from cutover.schedules.refusals import EntriesRefused
from cutover.types import EntryName, Side

START: Final = {
    Side.CODE: "start a beat with the scheduler cutover.schedulers:CodeScheduler, or `prodserver legacy-beat`",
    Side.DATABASE: "start one with `prodserver beat` (backend cutover.backends.DatabaseBeat)",
}
SHOWN: Final = 20
"""How many findings of one kind are spelt out."""


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


def code_beat(context: Context, optional: bool = True) -> Check:
    """A beat of the code side runs under the lease, and leads. ``optional``: the command can go on without one."""
    name = "code beat"
    try:
        beats = [beat for beat in context.lease.beats() if beat.side is Side.CODE]
        held = context.lease.view()
    except LeaseUnavailable as exc:
        return Check(name, False, str(exc), "see the gate on Redis")
    remedy = START[Side.CODE]
    if optional:
        remedy += "; where nothing has ever sent the code schedule, add --no-code-beat"
    if not beats:
        return Check(name, False, "no beat of the code side runs under the lease", remedy)
    listed = ", ".join(f"{beat.host}:{beat.pid}" for beat in beats)
    if held is None or held.side is not Side.CODE:
        return Check(name, False, f"{listed} runs, but none leads", "wait a moment, then look at the beat's log")
    return Check(name, True, f"{listed}; {held.holder} leads")


def standby(context: Context, side: Side, optional: bool = True) -> Check:
    """A warm beat of ``side`` stands by. ``optional``: the command can go on without one."""
    name = f"{side} standby"
    try:
        found = standbys(context, side)
    except LeaseUnavailable as exc:
        return Check(name, False, str(exc), "see that Redis can be reached")
    if not found:
        remedy = f"{START[side]}; --force goes on without one" if optional else START[side]
        return Check(name, False, "no warm beat stands by", remedy)
    return Check(name, True, ", ".join(f"{beat.host}:{beat.pid}" for beat in found))


def standbys_loaded(context: Context) -> Check:
    """No warm beat of the code side has fewer entries than were carried over: its release has them no more.

    Raises LeaseUnavailable.
    """
    with outages(context.alias):
        count = ImportedEntry.objects.using(context.alias).count()
    short = [beat for beat in standbys(context, Side.CODE) if beat.entries < count]
    if not short:
        return Check("code schedule", True, f"loaded; {count} entries were carried over")
    named = ", ".join(f"{beat.host}:{beat.pid} has {beat.entries}" for beat in short[:SHOWN])
    return Check(
        "code schedule",
        False,
        f"{named} of the {count} entries that were carried over",
        "deploy a release that still has the code schedule before you go back; --force goes on without",
    )


def no_unmanaged_beat(context: Context) -> Check:
    """No beat that sends without the lease may still be running."""
    name, found = "unmanaged beats", silence.alive(context)
    if not found:
        return Check(name, True, "none is heard")
    named = ", ".join(f"{beat.origin} (last heard {beat.last_heard_at:%H:%M:%S} UTC)" for beat in found)
    silent_at = max(beat.silent_at for beat in found)
    return Check(
        name,
        False,
        named,
        "stop it, or start it with a scheduler of cutover.schedulers; it counts as ended when nothing is heard until "
        f"{silent_at:%Y-%m-%d %H:%M:%S} UTC, or at once with --stopped {found[0].origin}",
    )


def schedule_readable(context: Context) -> Check:
    """The code schedule can be read."""
    try:
        count = len(context.entries)
    except EntriesRefused as exc:
        return Check("code schedule", False, "; ".join(map(str, exc.refusals[:SHOWN])), "fix the code schedule")
    remedy = "set CUTOVER['CODE_SCHEDULE'] to the dotted path of the retired schedule"
    return Check("code schedule", bool(count), f"{count} entries", "" if count else remedy)


def same_parity(context: Context, accept_edits: bool = False) -> list[Check]:
    """The rows fire and send as the code does, and nobody has edited one since its import.

    An edited row that fires and sends alike is only told of; ``accept_edits`` takes every other one as it is, if it is
    still there.
    """
    present = snapshot.read(context)
    found = _differences(context, present)
    edits = snapshot.edits(present)
    apart = {difference.entry for difference in found}
    grave = [edit for edit in edits if edit.entry in apart or edit.field in {"enabled", "row"}]
    taken = {edit.entry for edit in grave} if accept_edits else set()
    taken -= {edit.entry for edit in grave if edit.field == "row"}
    checks = [] if not edits else [_edited(edits, {edit.entry for edit in grave}, taken)]
    return [*checks, _parity(context, [difference for difference in found if difference.entry not in taken])]


def _edited(edits: Sequence[snapshot.Edit], grave: set[EntryName], taken: set[EntryName]) -> Check:
    name, said = "edited rows", _shown(edits)
    if not grave:
        return Check(name, True, f"{said}; they fire and send as the code does all the same")
    if grave == taken:
        return Check(name, True, f"{said}; taken as they are (--accept-edits)")
    remedy = f"--accept-edits takes the rows as they are, `{command('phase2')} --adopt` puts the code's values back"
    return Check(name, False, said, remedy)


def _parity(context: Context, found: Sequence[parity.Difference]) -> Check:
    if found:
        return Check("parity", False, _shown(found), f"type `{command('phase2')}`, or fix the row")
    days = divergence.HORIZON.days
    return Check("parity", True, f"{len(context.entries)} entries fire and send alike on both sides ({days} days)")


def _shown(found: Sequence[object]) -> str:
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "; ".join(map(str, found[:SHOWN])) + more


def differences(context: Context) -> Sequence[parity.Difference]:
    """Every difference between the code schedule and the carried rows."""
    return _differences(context, snapshot.read(context))


def _differences(context: Context, present: snapshot.Present) -> Sequence[parity.Difference]:
    with outages(context.alias):
        kept = overlay.load(context.alias)
    return parity.differences(context.app, context.entries, present.rows, clock.now(), kept, context.progress)
