"""Where beats and workers say what there is to count. Nobody counts until ``observe.metrics`` is told to.

A meter never raises, and no call of it costs more than a few steps in memory: they stand in the way of every slot.
"""

import datetime as dt

from cutover.events import Event
from cutover.types import Epoch, RunOutcome, Slot


class BeatMeter:
    """Counts nothing of a beat."""

    def turned(self, epoch: Epoch | None) -> None:
        """The loop has turned; ``epoch``: that of the term in which this beat leads, None for a standby."""

    def slot(self, event: Event, slot: Slot, passed_over: int = 0) -> None:
        """Something has become of a slot; ``passed_over``: how many older ones share that."""


class WorkerMeter:
    """Counts nothing of a worker."""

    def started(self, due_at: dt.datetime) -> None:
        """The first attempt of a slot's run is admitted."""

    def ended(self, outcome: RunOutcome, took_s: float) -> None:
        """An attempt has ended, so many seconds after it was admitted."""

    def deduplicated(self) -> None:
        """A further message of a slot is dropped."""


beat, worker = BeatMeter(), WorkerMeter()
"""This process's own; a worker with a beat in it has both."""
