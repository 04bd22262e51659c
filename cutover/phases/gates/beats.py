"""Gates on the beats: one leads, one stands by, and none sends without the lease."""

from typing import Final

from cutover.election.lease import Presence
from cutover.ledger.database import outages
from cutover.models import ImportedEntry
from cutover.phases.context import Context
from cutover.phases.evidence import detection, unmanaged_beats
from cutover.phases.report import Check, gate
from cutover.phases.wording import inline, to_the_second
from cutover.plural import counted
from cutover.types import Side

START: Final = {
    Side.CODE: "start a beat with the scheduler cutover.schedulers:CodeScheduler, or `prodserver legacy-beat`",
    Side.DATABASE: "start a beat with `prodserver beat` (backend cutover.backends.DatabaseBeat)",
}


@gate("code beat")
def code_beat(context: Context, *, optional: bool = True) -> Check:
    """A beat of the code side runs under the lease, and leads. ``optional``: the command can go on without one."""
    beats = [beat for beat in context.beats() if beat.side is Side.CODE]
    held = context.lease.view()
    name, hint = "code beat", "; where nothing has ever sent the code schedule, add --no-code-beat" if optional else ""
    if not beats:
        return Check(name, False, "no beat of the code side runs under the lease", START[Side.CODE] + hint)
    listed = inline(map(_place, beats), ", ")
    if held is None or held.side is not Side.CODE:
        return Check(name, False, f"{listed} runs, but none leads", "wait a moment, then look at the beat's log")
    return Check(name, True, f"{listed}; {held.holder} leads")


def standby(context: Context, side: Side, *, optional: bool = True) -> Check:
    """A warm beat of ``side`` stands by. ``optional``: the command can go on without one."""

    @gate(name := f"{side} standby")
    def ask() -> Check:
        if found := context.warm_beats(side):
            return Check(name, True, inline(map(_place, found), ", "))
        remedy = f"{START[side]}; --force goes on without one" if optional else START[side]
        return Check(name, False, "no warm beat stands by", remedy)

    return ask()


@gate("code schedule")
def standbys_loaded(context: Context) -> Check:
    """No warm beat of the code side has fewer entries than were imported: its release has them no more."""
    name = "code schedule"
    with outages(context.alias):
        count = ImportedEntry.objects.using(context.alias).count()
    short = [f"{_place(beat)} has {beat.entries}" for beat in context.warm_beats(Side.CODE) if beat.entries < count]
    if not short:
        return Check(name, True, f"loaded; {counted(count, 'entry was', 'entries were')} imported")
    remedy = "deploy a release that still has the code schedule before you go back; --force goes on without"
    return Check(
        name,
        False,
        f"{inline(short, ', ')} of the {counted(count, 'entry that was', 'entries that were')} imported",
        remedy,
    )


@gate("unmanaged beats")
def no_unmanaged_beat(context: Context, *, is_asked_later: bool = False) -> Check:
    """No beat that sends without the lease may still be running, or could without being heard.

    ``is_asked_later``: that one could not be heard does not hold up this phase.
    """
    name = "unmanaged beats"
    if found := unmanaged_beats.alive(context):
        until = to_the_second(max(beat.silent_at for beat in found))
        ended = f"it counts as ended when nothing is heard until {until}, or at once with --stopped {found[0].origin}"
        remedy = f"stop it, or start it with a scheduler of cutover.schedulers; {ended}"
        if any(beat.probably for beat in found):
            remedy += f"; where it is no beat, {detection.REMEDY}"
        return Check(name, False, inline(map(_heard, found), ", "), remedy)
    unheard = detection.unheard(context)
    if unheard.tasks:
        later = "; phase 3 asks who sends them" if is_asked_later else ""
        return Check(name, is_asked_later, f"{unheard}{later}", "" if is_asked_later else detection.REMEDY)
    if not unheard.celery:
        return Check(name, True, "none is heard; whether one can be is not known, for no guarded worker has answered")
    besides = f"; of {inline(unheard.by_hand, ', ')}, called by hand, none can be" if unheard.by_hand else ""
    return Check(name, True, f"none is heard{besides}")


def _heard(beat: unmanaged_beats.Heard) -> str:
    said = f"probably: {beat.probably}; " if beat.probably else ""
    return f"{beat.origin} ({said}last heard {to_the_second(beat.last_heard_at)})"


def _place(beat: Presence) -> str:
    return f"{beat.host}:{beat.pid}"
