"""Waiting for a condition, with a name for what was waited for."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], description: str, timeout_s: float = 30.0, poll_s: float = 0.05) -> T:
    """Ask ``condition`` every ``poll_s`` and return its first true answer.

    Raises TimeoutError, saying ``description``, when there is none within ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {timeout_s:g} s in vain until {description}")
        time.sleep(poll_s)
    return answer
