"""What is missed: slots that are not sent, each with the reason that the ledger keeps of it, and who is told."""

import datetime as dt
from typing import Final

from cutover import signals
from cutover.beats.agenda import Due
from cutover.beats.publisher import log_slot
from cutover.events import Event
from cutover.types import Missed, Slot, Term

PASSED_OVER: Final = "a later slot was sent in its stead"
UNSURE: Final = f"{PASSED_OVER}, unless the beat before had sent it: its record is up to three minutes old"
SUPERSEDED: Final = "superseded by a newer slot before it was published"
TOO_LATE: Final = "older than the catch-up window"
BEYOND: Final = "beyond CATCH_UP_MOST, the bound of what is caught up"
NO_ENTRY: Final = "side {} has no such entry"
WITHHELD: Final = "the project's own scheduler sent no message for it"


def missed_of(due: Due) -> list[Missed]:
    """The slots that are not sent, each with its reason; the oldest also counts those that have no record."""
    owed = due.owed
    stretches = ((None, owed.missed, owed.passed_over), (BEYOND, owed.beyond, owed.beyond_passed_over))
    return [
        Missed(Slot(at, due.name), reason or _why_missed(due, at), 0 if number else older)
        for reason, listed, older in stretches
        for number, at in enumerate(listed)
    ]


def _why_missed(due: Due, at: dt.datetime) -> str:
    if not due.owed.send:
        return TOO_LATE
    return UNSURE if due.unsure_until is not None and at <= due.unsure_until else PASSED_OVER


def announce_missed(missed: Missed, term: Term, *, later_is_sent: bool) -> None:
    """Log it, count it, and tell who wants to know."""
    slot, reason, passed_over = missed.slot, missed.reason, missed.passed_over
    log_slot(Event.SLOT_MISSED, slot, term.epoch, reason=reason, passed_over=passed_over)
    signals.tell(
        signals.slot_missed,
        entry=str(slot.entry),
        due_at=slot.due_at,
        epoch=int(term.epoch),
        reason=reason,
        passed_over=passed_over,
        later_is_sent=later_is_sent,
    )
