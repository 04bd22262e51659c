"""The only reader of the clocks: wall time for slots, monotonic time for waiting; safety rests on neither."""

import datetime as dt
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


def now() -> dt.datetime:
    """The present instant, aware and in UTC."""
    return dt.datetime.now(dt.UTC)


monotonic_s = time.monotonic
"""Seconds on a clock that never goes back; only differences mean anything."""
sleep = time.sleep
"""Give up the processor for so many seconds (>= 0)."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Time and chance, as a state machine is given them; ``jitter``: a number from 0 to 1, to spread retries."""

    now: Callable[[], dt.datetime] = lambda: now()
    monotonic_s: Callable[[], float] = lambda: monotonic_s()
    sleep: Callable[[float], None] = lambda seconds: sleep(seconds)
    jitter: Callable[[], float] = random.random


SYSTEM: Final = Clock()
