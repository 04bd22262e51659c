"""Pruning: a leader's chore of forgetting what is older than the retention, a bounded piece at a time."""

import datetime as dt
from typing import Final

from cutover import clock
from cutover.beats.agenda import Agenda
from cutover.events import Event, log
from cutover.ledger import Ledger
from cutover.ledger.fence import NO_QUESTIONS, FenceView
from cutover.types import Term

EVERY: Final = dt.timedelta(hours=1)
MOST: Final = 500
"""How many slots are forgotten at once: what falls due meanwhile waits for that."""
GO_ON_AFTER: Final = dt.timedelta(seconds=2)
"""When to go on where there was more to forget: twenty million a day, and seven entries a second make 600,000."""


class Pruning:
    """Keeps the time of the next piece."""

    asks = NO_QUESTIONS

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._due_at_s = clock.monotonic_s() + EVERY.total_seconds()

    def run(self, term: Term, fence: FenceView, agenda: Agenda) -> bool:
        """Forget a piece, if it is time to; no fence is asked, for what is old is old under every leader."""
        now_s = clock.monotonic_s()
        if now_s < self._due_at_s:
            return True
        pruned = self._ledger.retention.prune(MOST)
        if pruned:
            log(Event.LEDGER_PRUNED, slots=pruned)
        self._due_at_s = now_s + (GO_ON_AFTER if pruned >= MOST else EVERY).total_seconds()
        return True
