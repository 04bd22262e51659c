"""Pausing: a leader's chore of knowing what is paused, so that it does not ask for claims that would be refused.

Nothing rests on it: each claim, and each look at the fence between two messages, reads the pauses for itself.
"""

from cutover.beats.agenda import Agenda
from cutover.events import Event, log
from cutover.ledger import Ledger
from cutover.ledger.fence import NO_QUESTIONS, FenceView
from cutover.ledger.pauses import SITE, paused_by
from cutover.types import Term


class Pausing:
    """Has the agenda hold back what is paused, and let go what is no more."""

    asks = NO_QUESTIONS

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def run(self, term: Term, fence: FenceView, agenda: Agenda) -> bool:
        """Look at what is paused by ``fence``; costs no query where nothing is."""
        look(self._ledger, term, fence, agenda)
        return True


def look(ledger: Ledger, term: Term, fence: FenceView, agenda: Agenda) -> None:
    """Tell ``agenda`` what is paused by ``fence``, and log what has changed. Raises LedgerUnavailable."""
    found, before = ledger.pauses.in_effect(fence), agenda.paused
    agenda.pause(paused_by(found))
    for pause in found:
        if pause.entry not in before.names:
            until = pause.until.isoformat() if pause.until else ""
            log(Event.SENDING_PAUSED, epoch=term.epoch, entry=pause.entry, until=until, reason=pause.reason)
    for entry in sorted(before.names - agenda.paused.names):
        what = "all that is not paused by itself" if entry == SITE else entry
        log(Event.SENDING_RESUMED, epoch=term.epoch, entry=entry, reason=f"{what} is sent again; catch-up decides what")
