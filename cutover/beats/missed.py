"""What is missed: slots that are not sent, each with the reason that the ledger keeps of it, and who is told."""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from cutover import metrics, signals
from cutover.beats.agenda import Due
from cutover.events import Event, log
from cutover.types import EntryName, Missed, Slot, Term

PASSED_OVER: Final = "a later slot was sent in its stead"
UNSURE: Final = f"{PASSED_OVER}, unless the beat before had sent it: its record is up to three minutes old"
SUPERSEDED: Final = "superseded by a newer slot before it was published"
TOO_LATE: Final = "older than the catch-up window"
BEYOND: Final = "beyond CATCH_UP_MOST, the bound of what is caught up"
NO_ENTRY: Final = "side {} has no such entry"
WITHHELD: Final = "the project's own scheduler, or the task's own apply_async, sent no message under its id"


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


def announce_missed(found: Sequence[Missed], term: Term, later_is_sent: Callable[[Slot], bool]) -> None:
    """Count each and send its signal; log it, an outage in one line an entry, however short its interval."""
    alike = defaultdict[tuple[EntryName, str], list[Missed]](list)
    for missed in found:
        slot, reason, passed_over = missed.slot, missed.reason, missed.passed_over
        alike[slot.entry, reason].append(missed)
        metrics.beat.slot(Event.SLOT_MISSED, slot, passed_over)
        signals.send_in_background(
            signals.slot_missed,
            entry=str(slot.entry),
            due_at=slot.due_at,
            epoch=int(term.epoch),
            reason=reason,
            passed_over=passed_over,
            later_is_sent=later_is_sent(slot),
        )
    for (entry, reason), records in alike.items():
        ats = [one.slot.due_at for one in records]
        without_row = sum(one.passed_over for one in records)
        log(
            Event.SLOT_MISSED,
            entry=entry,
            due_at=max(ats).isoformat(),
            since=min(ats).isoformat(),
            slots=len(records) + without_row,
            epoch=term.epoch,
            reason=reason,
            passed_over=without_row,
        )
