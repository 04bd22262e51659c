"""The only caller of logging and structlog. Every event that cutover logs is here, by name and level.

Names read ``cutover.<noun>.<past verb>``. Steady state and lost races are debug, transitions info, lost leases and
outages warning, fenced and missed slots error. Never a payload, a URL's password or a task's arguments.
"""

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from typing import Any, Final

import structlog

LOGGER: Final = "cutover"
_standard: Final = logging.getLogger(LOGGER)
_structured: Final = structlog.stdlib.get_logger(LOGGER)
_METHODS: Final = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error"}
"""The one way to log at a level that every wrapper class of structlog has."""


class Event(Enum):
    """An event's name and level."""

    LEASE_ACQUIRED = ("cutover.lease.acquired", logging.INFO)
    LEASE_RENEWED = ("cutover.lease.renewed", logging.DEBUG)
    LEASE_RESTORED = ("cutover.lease.restored", logging.WARNING)
    LEASE_RELEASED = ("cutover.lease.released", logging.INFO)
    LEASE_LOST = ("cutover.lease.lost", logging.WARNING)
    LEASE_TAKEN_OVER = ("cutover.lease.taken_over", logging.WARNING)
    REDIS_LOST = ("cutover.redis.lost", logging.WARNING)
    REDIS_FOUND = ("cutover.redis.found", logging.INFO)
    DATABASE_LOST = ("cutover.database.lost", logging.WARNING)
    DATABASE_FOUND = ("cutover.database.found", logging.INFO)
    TERM_STARTED = ("cutover.term.started", logging.INFO)
    TERM_REFUSED = ("cutover.term.refused", logging.INFO)
    TERM_ENDED = ("cutover.term.ended", logging.INFO)
    STANDBY_STARTED = ("cutover.standby.started", logging.INFO)
    BEAT_STALLED = ("cutover.beat.stalled", logging.WARNING)
    CLOCK_CORRECTED = ("cutover.clock.corrected", logging.WARNING)
    SCHEDULE_LOADED = ("cutover.schedule.loaded", logging.INFO)
    ENTRY_ENDED = ("cutover.entry.ended", logging.INFO)
    ENTRIES_BEGUN = ("cutover.entries.begun", logging.WARNING)
    ENTRY_FAILED = ("cutover.entry.failed", logging.ERROR)
    SLOT_CLAIMED = ("cutover.slot.claimed", logging.DEBUG)
    SLOT_ALREADY_CLAIMED = ("cutover.slot.already_claimed", logging.DEBUG)
    SLOT_PUBLISHED = ("cutover.slot.published", logging.DEBUG)
    SLOT_PUBLISH_FAILED = ("cutover.slot.publish_failed", logging.WARNING)
    SLOT_WITHHELD = ("cutover.slot.withheld", logging.INFO)
    SLOT_SWEPT = ("cutover.slot.swept", logging.WARNING)
    SLOT_RESENT = ("cutover.slot.resent", logging.WARNING)
    SLOT_MISSED = ("cutover.slot.missed", logging.ERROR)
    SLOT_FENCED = ("cutover.slot.fenced", logging.ERROR)
    SLOT_TOO_EARLY = ("cutover.slot.too_early", logging.WARNING)
    SLOT_TOO_OLD = ("cutover.slot.too_old", logging.ERROR)
    RUN_DEDUPLICATED = ("cutover.run.deduplicated", logging.WARNING)
    RUN_RESUMED = ("cutover.run.resumed", logging.WARNING)
    RUN_DEFERRED = ("cutover.run.deferred", logging.WARNING)
    GUARD_FAILED = ("cutover.guard.failed", logging.ERROR)
    GUARD_LOST = ("cutover.guard.lost", logging.ERROR)
    SIDE_SWITCHED = ("cutover.side.switched", logging.INFO)
    PHASE_STARTED = ("cutover.phase.started", logging.INFO)
    PHASE_COMPLETED = ("cutover.phase.completed", logging.INFO)
    PHASE_REFUSED = ("cutover.phase.refused", logging.WARNING)
    PHASE_FAILED = ("cutover.phase.failed", logging.ERROR)
    LEDGER_PRUNED = ("cutover.ledger.pruned", logging.DEBUG)


def log(event: Event, **details: Any) -> None:
    """Log ``event`` with details: epoch, holder, side, entry, due_at, phase, outcome, reason, elapsed_ms.

    Through structlog where the project has configured it by now, else as a readable line through standard logging,
    whose record has the details too. Never raises: a line that cannot be logged ends no beat and no run.
    """
    name, level = event.value
    try:
        if not structlog.is_configured():  # its defaults print every level to stdout
            line, values = _line(name, details)
            _standard.log(level, line, *values, extra={"cutover": {"event": name, **details}}, stacklevel=2)
        elif level >= _standard.level:  # also where structlog does not ask standard logging
            getattr(_structured, _METHODS[level])(name, **details)
    except Exception as exc:  # whatever the project's handlers, filters and processors raise
        with suppress(Exception):  # a process without a stderr, or one that nobody reads
            line, values = _line(name, details)
            if (stderr := sys.__stderr__) is not None:
                print(line % values, f"(not logged: {exc!r})", file=stderr, flush=True)


def _line(name: str, details: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """``event key=value ...``, as a format that is the same for every event of a kind, and its values."""
    return " ".join([name, *(f"{key}=%s" for key in details)]), tuple(_spelt(value) for value in details.values())


def _spelt(value: Any) -> str:
    """As it is, or quoted where it would not be seen as one word of one line."""
    text = str(value)
    return text if text.isprintable() and text and not set(text) & set(" =\"'") else repr(text)
