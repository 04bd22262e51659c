"""Backlogs: entries that are several slots behind, and of which every slot counts, wait here to be sent.

A bounded number of slots is sent at once, the oldest first, whosever they are: so that a backlog floods no broker, and
holds up nothing that falls due meanwhile. In memory; which slots these are the agenda knows.
"""

import datetime as dt
import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from cutover.beats.timers import Timer, Timers
from cutover.types import EntryName

AT_ONCE: Final = 50
EVERY: Final = dt.timedelta(milliseconds=250)
"""How many slots of backlogs are sent at once, those of all entries together, and how often: 200 a second.

So many take some 50 ms to publish: by so much they may delay what falls due meanwhile.
"""
_EVER: Final = dt.datetime.min.replace(tzinfo=dt.UTC)


class Backlogs:
    """Which entries have a backlog, and when the next of their slots may be sent.

    ``is_current``: whether a timer is its entry's present one. ``upcoming``: which slots of an entry are to be sent at
    an instant, oldest first; none where it has to be worked out again.
    """

    def __init__(
        self,
        is_current: Callable[[Timer], bool],
        upcoming: Callable[[EntryName, dt.datetime], Sequence[dt.datetime]],
    ) -> None:
        self._is_current, self._upcoming = is_current, upcoming
        self.waiting = Timers(is_current)
        """Of each entry with a backlog, at its oldest slot."""
        self._from = _EVER

    def next_at(self) -> dt.datetime | None:
        """When the next slot may be sent; None where no entry has a backlog."""
        return None if (first := self.waiting.first()) is None else max(first[0], self._from)

    def due(
        self, now: dt.datetime, begun: Iterable[Timer], taken: list[Timer]
    ) -> Iterator[tuple[EntryName, dt.datetime, bool]]:
        """The slots that may be sent at ``now``: the entry, the instant, and whether it is the entry's last one so far.

        ``begun``: further entries with a backlog, for this round. ``taken`` is given the timer of each entry that does
        not wait any more, which has to fall due again.
        """
        if self._from - now > EVERY:  # the clock was set back
            self._from = now
        if now < self._from:
            return
        under_way: list[tuple[dt.datetime, int, EntryName, Iterator[dt.datetime]]] = []

        def begin(timer: Timer) -> None:
            _, version, name = timer
            slots = iter(tuple(self._upcoming(name, now)))
            if (first := next(slots, None)) is not None:
                heapq.heappush(under_way, (first, version, name, slots))

        for timer in filter(self._is_current, begun):
            begin(timer)
        for _ in range(AT_ONCE):
            while (oldest := self.waiting.first()) is not None and (not under_way or oldest[:2] < under_way[0][:2]):
                taken.append(self.waiting.pop())
                begin(oldest)
            if not under_way:
                return
            self._from = now + EVERY
            at, version, name, slots = heapq.heappop(under_way)
            following = next(slots, None)
            if following is not None:
                heapq.heappush(under_way, (following, version, name, slots))
            yield name, at, following is None
