"""What goes wrong again and again is logged when it begins, and then once a minute with how often."""

from typing import Any, Final

from cutover import clock
from cutover.events import Event, log

EVERY_S: Final = 60.0
"""How long the same kind is not logged again."""
_kept: dict[tuple[Event, str], tuple[float, int]] = {}
"""Of each kind: when it was logged, and how often it has not been since."""


def log_seldom(event: Event, kind: str, **details: Any) -> bool:
    """Log the first of a kind, and at most one in ``EVERY_S`` after it, with how many were ``unsaid`` before.

    Returns whether this one was.
    """
    now_s = clock.monotonic_s()
    said_at_s, unsaid = _kept.get((event, kind), (now_s - EVERY_S, 0))
    if now_s - said_at_s < EVERY_S:
        _kept[event, kind] = said_at_s, unsaid + 1
        return False
    _kept[event, kind] = now_s, 0
    log(event, **details, unsaid=unsaid)
    return True
