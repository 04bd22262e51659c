"""Ends of runs on their way into the ledger: those of messages that were acknowledged before they ran.

Such an end decides nothing, it is there to be looked at; and a statement of its own, with its commit, costs a busy
worker as much as the start, which cannot wait. So the ends of a few hundredths of a second are one statement. While the
database gives no answer they are kept. NOT promised: the end of a run whose process is killed in that time; it counts
as lost with its worker.
"""

import os
import threading
from collections import deque
from itertools import islice
from typing import Final

from cutover.background import BackgroundQueue
from cutover.clock import SYSTEM
from cutover.errors import LedgerUnavailable
from cutover.events import Event, log
from cutover.foreign import text_of
from cutover.ledger.runs import RunEnd
from cutover.seldom import log_seldom
from cutover.workers.session import session
from cutover.workers.site import ledger

EVERY_S: Final = 0.05
"""How long an end waits for others."""
AGAIN_S: Final = 1.0
"""After how long a database that gave no answer is asked again."""
MOST: Final = 1_000
"""How many are kept while it gives none; after that the oldest are given up, which is said."""
AT_ONCE: Final = 100
"""How many are one statement."""


class Ends:
    """The ends that a process has to record."""

    def __init__(self) -> None:
        self._background = BackgroundQueue("cutover-ends", Event.GUARD_FAILED)
        self.reset()

    def reset(self) -> None:
        """Forget all: in a process that was forked they are its parent's."""
        self._waiting: deque[RunEnd] = deque()
        self._turn, self._recording = threading.Lock(), threading.Lock()
        self._is_answered = True

    def record_soon(self, end: RunEnd) -> None:
        """Have it recorded after ``EVERY_S``; at once where the process is ending. Never raises."""
        with self._turn:
            self._waiting.append(end)
        # One that has begun may have looked already; whatever interrupts the worker here, the next end has it recorded.
        if not self._background.put_once(self._work):
            self._record()

    def _work(self) -> None:
        SYSTEM.sleep(EVERY_S if self._is_answered else AGAIN_S)
        self._record()
        if self._waiting:
            self._background.put_once(self._work)

    def _record(self) -> None:
        with self._recording:  # where a process ends its threads come here, each for itself
            self._record_oldest()

    def _record_oldest(self) -> None:
        with self._turn:
            ends = list(islice(self._waiting, AT_ONCE))
        if not ends:
            return
        try:
            with session(is_patient=True):
                ledger().runs.end(ends)
        except LedgerUnavailable as exc:
            if self._is_answered:
                log(Event.DATABASE_LOST, reason=f"ends of runs wait for it to be recorded: {exc}")
            self._is_answered = False
            self._give_up(len(self._waiting) - MOST, exc)
        except Exception as exc:
            self._give_up(len(ends), exc)
        else:
            self._is_answered = True
            self._forget(len(ends))

    def _give_up(self, number: int, why: Exception) -> None:
        if number > 0:
            self._forget(number)
            reason = f"the ends of {number} runs are not recorded: {type(why).__name__}: {text_of(why)}"
            log_seldom(Event.GUARD_FAILED, "ends", entry="", due_at="", reason=reason)

    def _forget(self, number: int) -> None:
        with self._turn:
            for _ in range(number):
                self._waiting.popleft()


of_process: Final = Ends()
os.register_at_fork(after_in_child=of_process.reset)
