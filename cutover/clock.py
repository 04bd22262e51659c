"""The only reader of the clocks: wall time for slots, monotonic time for waiting; safety rests on neither."""

from __future__ import annotations

import datetime as dt
import time


def now() -> dt.datetime:
    """The present instant, aware and in UTC."""
    return dt.datetime.now(dt.UTC)


def monotonic_s() -> float:
    """Seconds on a clock that never goes back; only differences mean anything."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Give up the processor for ``seconds`` (>= 0)."""
    time.sleep(seconds)
