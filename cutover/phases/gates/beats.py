"""Gates on the beats: one leads, one stands by, and none sends without the lease."""

from typing import Final

from cutover.election.lease import Presence
from cutover.errors import LeaseUnavailable
from cutover.ledger.database import outages
from cutover.models import ImportedEntry
from cutover.phases.context import Context
from cutover.phases.evidence import silence
from cutover.phases.evidence.presence import warm_beats
from cutover.phases.report import Check, gate, unanswered
from cutover.phases.wording import inline, instant
from cutover.types import Side

START: Final = {
    Side.CODE: "start a beat with the scheduler cutover.schedulers:CodeScheduler, or `prodserver legacy-beat`",
    Side.DATABASE: "start one with `prodserver beat` (backend cutover.backends.DatabaseBeat)",
}


@gate("code beat")
def code_beat(context: Context, *, optional: bool = True) -> Check:
    """A beat of the code side runs under the lease, and leads. ``optional``: the command can go on without one."""
    name = "code beat"
    beats = [beat for beat in context.lease.beats() if beat.side is Side.CODE]
    held = context.lease.view()
    if not beats:
        remedy = START[Side.CODE]
        if optional:
            remedy += "; where nothing has ever sent the code schedule, add --no-code-beat"
        return Check(name, False, "no beat of the code side runs under the lease", remedy)
    listed = inline(map(_place, beats), ", ")
    if held is None or held.side is not Side.CODE:
        return Check(name, False, f"{listed} runs, but none leads", "wait a moment, then look at the beat's log")
    return Check(name, True, f"{listed}; {held.holder} leads")


def standby(context: Context, side: Side, *, optional: bool = True) -> Check:
    """A warm beat of ``side`` stands by. ``optional``: the command can go on without one."""
    name = f"{side} standby"
    try:
        found = warm_beats(context, side)
    except LeaseUnavailable as exc:
        return unanswered(name, exc)
    if not found:
        remedy = f"{START[side]}; --force goes on without one" if optional else START[side]
        return Check(name, False, "no warm beat stands by", remedy)
    return Check(name, True, inline(map(_place, found), ", "))


@gate("code schedule")
def standbys_loaded(context: Context) -> Check:
    """No warm beat of the code side has fewer entries than were imported: its release has them no more."""
    name = "code schedule"
    with outages(context.alias):
        count = ImportedEntry.objects.using(context.alias).count()
    short = [f"{_place(beat)} has {beat.entries}" for beat in warm_beats(context, Side.CODE) if beat.entries < count]
    if not short:
        return Check(name, True, f"loaded; {count} entries were imported")
    remedy = "deploy a release that still has the code schedule before you go back; --force goes on without"
    return Check(name, False, f"{inline(short, ', ')} of the {count} entries that were imported", remedy)


@gate("unmanaged beats")
def no_unmanaged_beat(context: Context) -> Check:
    """No beat that sends without the lease may still be running."""
    name, found = "unmanaged beats", silence.alive(context)
    if not found:
        return Check(name, True, "none is heard")
    heard = [f"{beat.origin} (last heard {instant(beat.last_heard_at.replace(microsecond=0))})" for beat in found]
    silent_at = max(beat.silent_at for beat in found).replace(microsecond=0)
    return Check(
        name,
        False,
        inline(heard, ", "),
        "stop it, or start it with a scheduler of cutover.schedulers; it counts as ended when nothing is heard until "
        f"{instant(silent_at)}, or at once with --stopped {found[0].origin}",
    )


def _place(beat: Presence) -> str:
    return f"{beat.host}:{beat.pid}"
