"""A turn's work done within celery's own ``tick``, for monitoring agents that wrap it."""

from collections.abc import Callable
from typing import Any

from celery.beat import Scheduler


class InStockTick(Scheduler):  # type: ignore[misc]
    """A scheduler that can do other work within the stock ``tick``; mixed in before a stock one."""

    _heap: list[Any] | None
    _work: Callable[[], float] | None = None
    _answer = 0.0

    def within_tick(self, work: Callable[[], float]) -> float:
        """Call ``work`` within the stock ``tick``, and return its answer."""
        self._work, self._heap = work, []  # an empty heap leaves nothing for the stock tick to do
        super().tick()
        return self._answer

    def schedules_equal(self, *schedules: Any, **__: Any) -> bool:
        """Where the stock tick compares all entries, the work is done instead."""
        if self._work is None:
            return bool(super().schedules_equal(*schedules))
        work, self._work = self._work, None
        self._answer = work()
        return True
