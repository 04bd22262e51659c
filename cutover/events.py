"""The only caller of structlog. Every event that cutover logs is here, by name and level.

Names read ``cutover.<noun>.<past verb>``. Steady state and lost races are debug, transitions info, lost leases and
outages warning, fenced and missed slots error. Never a payload, a URL's password or a task's arguments.
"""

import logging
from enum import Enum
from typing import Any

import structlog

_log = structlog.stdlib.get_logger("cutover")


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
    SCHEDULE_LOADED = ("cutover.schedule.loaded", logging.INFO)
    ENTRIES_BEGUN = ("cutover.entries.begun", logging.WARNING)
    ENTRY_FAILED = ("cutover.entry.failed", logging.ERROR)
    SLOT_CLAIMED = ("cutover.slot.claimed", logging.DEBUG)
    SLOT_ALREADY_CLAIMED = ("cutover.slot.already_claimed", logging.DEBUG)
    SLOT_PUBLISHED = ("cutover.slot.published", logging.DEBUG)
    SLOT_PUBLISH_FAILED = ("cutover.slot.publish_failed", logging.WARNING)
    SLOT_SWEPT = ("cutover.slot.swept", logging.WARNING)
    SLOT_RESENT = ("cutover.slot.resent", logging.WARNING)
    SLOT_MISSED = ("cutover.slot.missed", logging.ERROR)
    SLOT_FENCED = ("cutover.slot.fenced", logging.ERROR)
    SLOT_TOO_OLD = ("cutover.slot.too_old", logging.ERROR)
    RUN_DEDUPLICATED = ("cutover.run.deduplicated", logging.WARNING)
    RUN_RESUMED = ("cutover.run.resumed", logging.WARNING)
    RUN_DEFERRED = ("cutover.run.deferred", logging.WARNING)
    GUARD_LOST = ("cutover.guard.lost", logging.ERROR)
    SIDE_SWITCHED = ("cutover.side.switched", logging.INFO)
    PHASE_STARTED = ("cutover.phase.started", logging.INFO)
    PHASE_COMPLETED = ("cutover.phase.completed", logging.INFO)
    PHASE_REFUSED = ("cutover.phase.refused", logging.WARNING)
    PHASE_FAILED = ("cutover.phase.failed", logging.ERROR)
    LEDGER_PRUNED = ("cutover.ledger.pruned", logging.INFO)


def log(event: Event, **details: Any) -> None:
    """Log ``event`` with details: epoch, holder, side, entry, due_at, phase, outcome, reason, elapsed_ms"""
    name, level = event.value
    _log.log(level, name, **details)
