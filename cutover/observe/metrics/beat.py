"""What a beat counts: plain numbers in memory, made into samples when somebody asks for them.

Only the loop writes them, and what a scrape reads in between is right a moment later.
"""

import datetime as dt
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Final

from cutover import clock, metrics
from cutover.events import Event
from cutover.observe.metrics.catalogue import BUCKETS_S, family
from cutover.types import Epoch, Side, Slot

OUTCOMES: Final = {event: event.value[0].removeprefix("cutover.slot.") for event in Event if "SLOT_" in event.name}
"""The label of each event of a slot."""


class BeatMeter(metrics.BeatMeter):
    """The numbers of one beat of ``side``, and their collector."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self._epoch: Epoch | None = None
        self._is_leading = False
        self._turned_at: dt.datetime | None = None
        self._slots = Counter[Event]()
        self._missed = Counter[str]()
        self._delays = [0] * (len(BUCKETS_S) + 1)
        self._delayed_s = 0.0

    def turned(self, epoch: Epoch | None) -> None:
        """Set leader, epoch and last turn."""
        self._is_leading, self._epoch = epoch is not None, epoch or self._epoch
        self._turned_at = clock.now()

    def slot(self, event: Event, slot: Slot, passed_over: int = 0) -> None:
        """Count it; the entry too of one that is missed, the delay of one that is published."""
        self._slots[event] += 1 + passed_over
        if event is Event.SLOT_PUBLISHED:
            delay_s = max(0.0, (clock.now() - slot.due_at).total_seconds())
            self._delays[bisect_left(BUCKETS_S, delay_s)] += 1
            self._delayed_s += delay_s
        elif event is Event.SLOT_MISSED:
            self._missed[slot.entry] += 1 + passed_over

    def collect(self) -> Iterator[Any]:
        """The samples."""
        leader = family("cutover_leader")
        leader.add_metric([self._side.value], float(self._is_leading))
        yield leader
        if self._epoch is not None:
            epoch = family("cutover_epoch")
            epoch.add_metric([], self._epoch)
            yield epoch
        if self._turned_at is not None:
            turned = family("cutover_last_turn_timestamp_seconds")
            turned.add_metric([], self._turned_at.timestamp())
            yield turned
        slots = family("cutover_slots_total")
        for event, outcome in OUTCOMES.items():
            slots.add_metric([outcome], self._slots[event])
        yield slots
        missed = family("cutover_slots_missed_total")
        for entry, count in self._missed.copy().items():
            missed.add_metric([entry], count)
        yield missed
        bounds = [*map(str, BUCKETS_S), "+Inf"]
        delay = family("cutover_slot_delay_seconds")
        delay.add_metric([], list(zip(bounds, accumulate(self._delays), strict=True)), self._delayed_s)
        yield delay
