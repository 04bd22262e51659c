"""The switchover: the switch of side, and the wait for its leader; the same in both directions."""

import datetime as dt
from dataclasses import dataclass

from django.db import transaction

from cutover import clock
from cutover.errors import LeaseUnavailable, PhaseFailed
from cutover.events import Event, log
from cutover.ledger.database import outages
from cutover.models import Cutover, Term
from cutover.phases.context import Context
from cutover.phases.evidence.presence import first_led_at, has_loaded, leader_since
from cutover.phases.facts import read, schedule_version
from cutover.phases.operations.journal import Journal
from cutover.phases.wording import span
from cutover.types import Side


@dataclass(frozen=True, slots=True)
class Lead:
    """The new side's leadership: its term, and how long nobody led before it."""

    term: Term
    gap: dt.timedelta

    def in_words(self) -> str:
        """Who leads, and the gap."""
        term = self.term
        return (
            f"{term.host}:{term.pid} leads for the {term.side} side under epoch {term.epoch}; "
            f"time without a leader: {self.gap_ms} ms."
        )

    @property
    def gap_ms(self) -> int:
        """The gap in whole milliseconds; 0 where the two hosts' clocks would make it negative."""
        return max(0, self.gap // dt.timedelta(milliseconds=1))


def switch(context: Context, to: Side, *, is_back: bool = False) -> None:
    """Make ``to`` the active side, in one commit with the record of it; then announce it in Redis.

    From that commit on the other side's claims are refused. Redis only hurries the beats: they see it by themselves.
    ``is_back``: from a switch that found no leader; then phase 4 proves on from phase 3's own one.
    """
    with outages(context.alias), transaction.atomic(using=context.alias):
        before = context.ledger.fence.read().side
        epoch = context.ledger.fence.switch(to)
        if before is not to:
            record = Cutover.objects.using(context.alias).filter(id=1)
            record.update(switch_epoch=epoch)
            if to is Side.DATABASE and not is_back:
                record.update(switched_at=context.ledger.fence.read().switched_at)
    if before is not to:
        log(Event.SIDE_SWITCHED, side=to.value, epoch=int(epoch))
    try:
        context.lease.switch(to)
    except LeaseUnavailable as exc:
        context.progress(f"{exc} The beats will see the switch by themselves.")


def switch_over(context: Context, journal: Journal, phase: str, to: Side, *, alone: bool) -> Lead | None:
    """Switch to a side and wait until it leads; None when nobody leads yet, which only ``alone`` allows.

    Raises PhaseFailed, with the other side active again, when nobody leads within the takeover timeout.
    """
    with journal.step(phase, "switch"):
        switch(context, to)
    try:
        with journal.step(phase, "lead"):
            lead = wait_for_leader(context, to)
            if lead is None and not alone:
                raise PhaseFailed(f"no beat of the {to} side led in time")
    except PhaseFailed as exc:
        with journal.step(phase, "switch back"):
            switch(context, to.other, is_back=True)
        raise PhaseFailed(
            f"No beat of the {to} side led within {span(context.config.takeover_timeout)}. "
            f"The {to.other} side is active again. Look at the log of the {to}-side beat."
        ) from exc
    return lead


def wait_until_loaded(context: Context) -> bool:
    """Whether a warm beat of the database side has loaded the rows as they are now, within the takeover timeout."""
    wanted = schedule_version(context)
    context.lease.announce_schedule()
    within = context.config.takeover_timeout
    return bool(context.wait_for(lambda: has_loaded(context, wanted) or None, within, "a beat to load the rows"))


def wait_for_leader(context: Context, side: Side) -> Lead | None:
    """The leader of ``side`` that came with the present switch and has completed a tick; None within the timeout."""
    state = read(context)
    epoch, within = state.switch_epoch or 0, context.config.takeover_timeout
    term = context.wait_for(lambda: leader_since(context, epoch, side), within, f"a leader of the {side} side")
    if term is None:
        return None
    switched_at = state.fence.switched_at or clock.now()
    return Lead(term, (first_led_at(context, epoch, side) or switched_at) - switched_at)
