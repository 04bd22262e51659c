"""The switchover: the switch of side, and the wait for its leader; the same in both directions."""

import datetime as dt
from dataclasses import dataclass

from django.db.models import Subquery
from django_celery_beat.models import PeriodicTasks

from cutover.errors import LeaseUnavailable, NobodyLed, PhaseFailed
from cutover.events import Event, log
from cutover.ledger.database import outages, silence_bounded
from cutover.models import Cutover, Fence, Term
from cutover.phases.context import Context
from cutover.phases.facts import read
from cutover.phases.operations.journal import Journal
from cutover.phases.wording import span
from cutover.types import Epoch, Side


@dataclass(frozen=True, slots=True)
class Lead:
    """The new side's leadership: its term, and how long nobody led before it; 0 where the clocks would make it less."""

    term: Term
    gap_ms: int

    def in_words(self) -> str:
        """Who leads, and the gap."""
        who = f"{self.term.host}:{self.term.pid} leads for the {self.term.side} side under epoch {self.term.epoch}"
        return f"{who}; time without a leader: {self.gap_ms} ms."


def switch(context: Context, journal: Journal, to: Side, *, is_back: bool = False) -> None:
    """Make ``to`` the active side, in one commit with the record of it; then announce it in Redis.

    From that commit on the other side's claims are refused. Redis only hurries the beats: they see it by themselves.
    ``is_back``: from a switch that found no leader; phase 3's own switch stays the one that phase 4 proves from.
    """
    with silence_bounded(context.alias), journal.commit():
        before = context.ledger.fence.read().side
        epoch = context.ledger.fence.switch(to)
        if before is not to:
            at = Fence.objects.using(context.alias).values("switched_at")
            phase3s = {"switched_at": Subquery(at)} if to is Side.DATABASE and not is_back else {}
            Cutover.objects.using(context.alias).filter(id=1).update(switch_epoch=epoch, **phase3s)
    if before is not to:
        log(Event.SIDE_SWITCHED, side=to.value, epoch=int(epoch))
    try:
        context.lease.switch(to)
    except LeaseUnavailable as exc:
        context.progress(f"{exc} The beats will see the switch by themselves.")


def switch_over(context: Context, journal: Journal, phase: str, to: Side, *, alone: bool) -> Lead | None:
    """Switch to a side and wait until it leads; None when nobody leads yet, which only ``alone`` allows.

    Raises NobodyLed, with the other side active again, when nobody leads within the takeover timeout.
    """

    def led() -> Lead | None:
        lead = _wait_for_leader(context, to)
        if lead is None and not alone:
            raise NobodyLed(f"no beat of the {to} side led in time")
        return lead

    in_one_commit = f"make the {to} side the active one, in one commit: from then on claims of the other are refused"
    journal.take(phase, "switch", lambda: switch(context, journal, to), in_one_commit)
    within = span(context.config.takeover_timeout)
    try:
        return journal.take(
            phase, "lead", led, f"wait up to {within} for a beat of the {to} side to lead, else go back"
        )
    except NobodyLed as exc:
        back = f"make the {to.other} side the active one again"
        journal.take(phase, "switch back", lambda: switch(context, journal, to.other, is_back=True), back)
        raise NobodyLed(
            f"No beat of the {to} side led within {within}. "
            f"The {to.other} side is active again. Look at the log of the {to}-side beat."
        ) from exc


def wait_until_loaded(context: Context) -> None:
    """Return once a warm beat has the rows of now. Raises PhaseFailed when none has within the takeover timeout."""
    with outages(context.alias):
        wanted = PeriodicTasks.objects.using(context.alias).values_list("last_update", flat=True).get()

    def loaded() -> bool | None:
        versions = [beat.schedule_version for beat in context.warm_beats(Side.DATABASE)]
        return any(known and dt.datetime.fromisoformat(known) >= wanted for known in versions) or None

    why = "no beat of the database side has loaded the rows in time"
    try:
        context.lease.announce_schedule()
        if context.wait_for(loaded, context.config.takeover_timeout, "a beat to load the rows"):
            return
    except LeaseUnavailable as exc:
        why = str(exc).rstrip(".")
    raise PhaseFailed(f"Not switched: {why}. The code side is active.")


def _wait_for_leader(context: Context, side: Side) -> Lead | None:
    """The leader of ``side`` that came with the present switch and has completed a tick; None within the timeout."""
    state = read(context)
    epoch = state.switch_epoch or 0

    def leading() -> Term | None:
        term = context.ledger.fence.term_since(Epoch(epoch))
        leads = term is not None and term.side == side and term.first_tick_at is not None and term.ended_at is None
        return term if leads else None

    term = context.wait_for(leading, context.config.takeover_timeout, f"a leader of the {side} side")
    if term is None:
        return None
    with outages(context.alias):  # the first one's tick ended the gap, even if another leads by now
        ticked = Term.objects.using(context.alias).filter(epoch__gt=epoch, side=side.value, first_tick_at__isnull=False)
        led_at: dt.datetime = ticked.order_by("epoch")[0].first_tick_at
    gap = led_at - (state.fence.switched_at or led_at)
    return Lead(term, max(0, gap // dt.timedelta(milliseconds=1)))
