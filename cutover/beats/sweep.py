"""Pure: what becomes of claims that were never confirmed: each is published again, or given up, and why."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from cutover.beats.agenda import Agenda
from cutover.beats.item import MISFIRE_GRACE
from cutover.beats.missed import BEYOND, NO_ENTRY, SUPERSEDED, TOO_LATE
from cutover.beats.publisher import Message
from cutover.beats.sources import ScheduledEntry
from cutover.ledger.claims import Unpublished
from cutover.types import Epoch, Slot, Term


@dataclass(slots=True)
class Decision:
    """``again``: what is published again, with the epoch of its claim. ``given_up``: the other slots, each with why.

    ``superseded``: those of them in whose stead a later one was sent.
    """

    again: list[tuple[Message, Epoch]] = field(default_factory=list)
    given_up: dict[Slot, str] = field(default_factory=dict)
    superseded: set[Slot] = field(default_factory=set)


def decide(claims: Sequence[Unpublished], agenda: Agenda, term: Term, now: dt.datetime) -> Decision:
    """What becomes of each of ``claims``, oldest first.

    Given up: a claim that a newer slot of its entry supersedes, one older than its catch-up window, and one whose entry
    this side does not have. What is replayed is given up for the last reason alone; of an entry whose every slot counts
    none is superseded, but the latest so many alone are kept.
    """
    found, later = Decision(), Counter(claim.slot.entry for claim in claims)
    for claim in claims:
        slot, scheduled = claim.slot, agenda.find(claim.slot.entry)
        later[slot.entry] -= 1
        reason = _why_given_up(claim, scheduled, later[slot.entry], now)
        if reason == SUPERSEDED:
            found.superseded.add(slot)
        if reason:
            found.given_up[slot] = f"{reason}: {claim.fault}" if claim.fault else reason
        elif scheduled is None:
            found.given_up[slot] = NO_ENTRY.format(term.side)
        else:
            is_late_one_of_many = scheduled.rule.sends_every and now - slot.due_at > MISFIRE_GRACE
            message = Message(
                scheduled.entry,
                slot,
                # Of what another leader claimed nobody knows whether it was announced: it is not done again.
                is_first=claim.epoch == term.epoch,
                is_past_slot=claim.is_replayed or is_late_one_of_many,
            )
            found.again.append((message, claim.epoch))
    return found


def _why_given_up(claim: Unpublished, scheduled: ScheduledEntry | None, later: int, now: dt.datetime) -> str:
    """Why it would be wrong to send it now, if it can be sent; ``later``: how many later claims of the entry wait."""
    sends_every = scheduled is not None and scheduled.rule.sends_every
    if claim.is_replayed:
        return ""
    if claim.superseded and not sends_every:
        return SUPERSEDED
    if scheduled is None:
        return ""
    if now - claim.slot.due_at > scheduled.rule.window:
        return TOO_LATE
    return BEYOND if sends_every and later >= scheduled.rule.most else ""
