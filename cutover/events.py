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
from structlog.stdlib import LoggerFactory

from cutover.foreign import text_of

LOGGER: Final = "cutover"
_standard: Final = logging.getLogger(LOGGER)
_structured: Final = structlog.stdlib.get_logger(LOGGER)
_METHODS: Final = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error"}
"""The one way to log at a level that every wrapper class of structlog has."""


class Event(Enum):
    """An event's name and level."""

    LEASE_ACQUIRED = ("cutover.lease.acquired", logging.INFO)
    """The lease was free, or the other side's. Keys: `holder`, `side`."""
    LEASE_RENEWED = ("cutover.lease.renewed", logging.DEBUG)
    """Steady state. Keys: `holder`."""
    LEASE_RESTORED = ("cutover.lease.restored", logging.WARNING)
    """Redis had lost the lease; it is held again. Keys: `holder`."""
    LEASE_RELEASED = ("cutover.lease.released", logging.INFO)
    """Given back: a stop, a switch, or no database. Keys: `holder`, `side`."""
    LEASE_LOST = ("cutover.lease.lost", logging.WARNING)
    """Another beat holds it, or this one's loop has given no heartbeat for one lease; this beat steps down. Keys:
    `holder`, `side`, `reason`.
    """
    LEASE_TAKEN_OVER = ("cutover.lease.taken_over", logging.WARNING)
    """The leader's connection is gone: it is dead, and this beat takes its lease. Keys: `holder`, `side`."""
    REDIS_LOST = ("cutover.redis.lost", logging.WARNING)
    """No answer; a leader goes on under its epoch, standbys wait. Keys: `holder`, `reason`."""
    REDIS_FOUND = ("cutover.redis.found", logging.INFO)
    """Redis answers again. Keys: `holder`."""
    DATABASE_LOST = ("cutover.database.lost", logging.WARNING)
    """Nothing is sent until it is back; a leader releases its lease. From a worker: the ends of its runs wait to be
    recorded, or that of a task with `acks_late` is not. Keys: `holder` (not from a worker), `reason`.
    """
    DATABASE_FOUND = ("cutover.database.found", logging.INFO)
    """What fell due is caught up. Keys: `holder`, `elapsed_ms`."""
    TERM_STARTED = ("cutover.term.started", logging.INFO)
    """A leadership begins. Keys: `epoch`, `holder`, `side`."""
    TERM_REFUSED = ("cutover.term.refused", logging.INFO)
    """The lease was acquired, but the side is not the active one. Keys: `holder`, `side`, `reason`."""
    TERM_ENDED = ("cutover.term.ended", logging.INFO)
    """A leadership ends: stopped, fenced, or the lease is another's. Keys: `epoch`, `holder`, `side`, `reason`."""
    STANDBY_STARTED = ("cutover.standby.started", logging.INFO)
    """What this standby waits for. Keys: `holder`, `side`, `reason`."""
    BEAT_STALLED = ("cutover.beat.stalled", logging.WARNING)
    """The loop has given no heartbeat for one lease; if this beat leads, it steps down. Keys: `holder`,
    `elapsed_ms`.
    """
    CLOCK_CORRECTED = ("cutover.clock.corrected", logging.WARNING)
    """This host's clock is more than a second from the database's; slots go by the database's from now on. Let NTP
    set the clocks. Keys: `reason`.
    """
    SCHEDULE_LOADED = ("cutover.schedule.loaded", logging.INFO)
    """The schedule was read, at the start or after a change. Keys: `side`, `entries`, `version`."""
    ENTRY_ENDED = ("cutover.entry.ended", logging.INFO)
    """A row that will never fall due again is disabled: its end has come, or the slot of a clocked one is settled.
    Keys: `entry`, `reason`.
    """
    ENTRIES_BEGUN = ("cutover.entries.begun", logging.WARNING)
    """These entries of the code side are new to the ledger, and celery's schedule file was not found, or has no run
    of them: nothing that fell due before is owed, and an interval starts its cadence now. Keys: `side`, `entries`
    (how many), `reason`.
    """
    ENTRY_RENAMED = ("cutover.entry.renamed", logging.INFO)
    """It goes on from where it stood under its name before, by `RENAMED`, see
    docs/schedules.md#an-entry-under-another-name. Keys: `entry`, `reason`.
    """
    ENTRY_FAILED = ("cutover.entry.failed", logging.ERROR)
    """One entry's schedule, or the schedule file, cannot be used; or the project's own scheduler class failed after a
    message was sent. Keys: `entry` (not for the file), `reason`.
    """
    SLOT_CLAIMED = ("cutover.slot.claimed", logging.DEBUG)
    """Steady state. Keys: `entry`, `due_at`, `epoch`, `outcome`."""
    SLOT_ALREADY_CLAIMED = ("cutover.slot.already_claimed", logging.DEBUG)
    """A lost race; normal. Keys: `entry`, `due_at`, `epoch`, `outcome`."""
    SLOT_PUBLISHED = ("cutover.slot.published", logging.DEBUG)
    """Steady state. Keys: `entry`, `due_at`, `epoch`."""
    SLOT_PUBLISH_FAILED = ("cutover.slot.publish_failed", logging.WARNING)
    """The broker did not take it; it stays claimed and is swept. Keys: `entry`, `due_at`, `epoch`, `reason`."""
    SLOT_WITHHELD = ("cutover.slot.withheld", logging.INFO)
    """The project's own scheduler class, or the task's own `apply_async`, sent no message for it; the ledger has it as
    missed. Keys: `entry`, `due_at`, `epoch`, `reason`.
    """
    SLOT_SWEPT = ("cutover.slot.swept", logging.WARNING)
    """Claimed and never confirmed: published again, under the same task id. Keys: `entry`, `due_at`, `epoch`."""
    SLOT_RESENT = ("cutover.slot.resent", logging.WARNING)
    """Published, started by no worker for `RESEND_AFTER`: published again, under the same task id. Keys: `entry`,
    `due_at`, `epoch`.
    """
    SLOT_REPLAYED = ("cutover.slot.replayed", logging.INFO)
    """It had been missed, and an operator has asked for it: claimed, to be published. Keys: `entry`, `due_at`,
    `epoch`.
    """
    SLOT_MISSED = ("cutover.slot.missed", logging.ERROR)
    """It will not be sent; the ledger has the reason. One line for all slots of an entry that are missed at once for
    the same reason. Keys: `entry`, `due_at` (of the latest), `since` (the first of those that have a row), `slots` (how
    many), `epoch`, `reason`, `passed_over` (how many of them are older, and have no row).
    """
    SLOTS_UNSURE = ("cutover.slots.unsure", logging.WARNING)
    """An entry's first leader under the lease goes on from a stock beat's record, which is up to three minutes old:
    whether that beat had sent the slots since then is not known. The ledger has them as missed, with this reason; they
    are not counted as missed. Keys: `entry`, `due_at` (the latest of them), `epoch`, `slots` (how many), `reason`.
    """
    SLOT_FENCED = ("cutover.slot.fenced", logging.ERROR)
    """This leader had been replaced without noticing: its claim was refused, or what it had claimed is left to its
    successor. Keys: `entry`, `due_at`, `epoch`, `outcome`.
    """
    SLOT_TOO_EARLY = ("cutover.slot.too_early", logging.WARNING)
    """This beat's clock is ahead of the database's: refused, and claimed when its time has come by that one. Keys:
    `entry`, `due_at`, `epoch`, `outcome`.
    """
    SLOT_PAUSED = ("cutover.slot.paused", logging.DEBUG)
    """Its entry, or everything, is paused: refused, and still owed. Keys: `entry`, `due_at`, `epoch`, `outcome`."""
    SLOT_TOO_OLD = ("cutover.slot.too_old", logging.ERROR)
    """Older than the retention: refused. Keys: `entry`, `due_at`, `epoch`, `outcome`."""
    SENDING_PAUSED = ("cutover.sending.paused", logging.WARNING)
    """The leader has seen a pause (docs/pause.md); `entry` is empty where it is of everything, `until` where it has no
    end. Keys: `epoch`, `entry`, `until`, `reason`.
    """
    SENDING_RESUMED = ("cutover.sending.resumed", logging.INFO)
    """The leader has seen that it has ended. Keys: `epoch`, `entry`, `reason`."""
    RUN_DEDUPLICATED = ("cutover.run.deduplicated", logging.WARNING)
    """A further message of a slot that has been run; dropped. Keys: `entry`, `due_at`, `outcome`."""
    RUN_RESUMED = ("cutover.run.resumed", logging.WARNING)
    """The worker that began the run is gone; this one takes it over. Keys: `entry`, `due_at`."""
    RUN_DEFERRED = ("cutover.run.deferred", logging.WARNING)
    """Delivered again some seconds later: the database gives no answer (of an unmanaged beat's message the slot is
    then not known yet, and empty), or the worker that began the run may still be at it; after a
    `cutover.guard.failed` as seldom as that one. Keys: `entry`, `due_at`, `reason`, `unsaid` (then).
    """
    GUARD_FAILED = ("cutover.guard.failed", logging.ERROR)
    """Something unexpected went wrong in the run guard: a message that cannot be decided is deferred (or held, where
    it cannot be sent again either), a run whose end cannot be recorded stays as it is; please report it. Of each kind
    of error the first is logged, then one a minute. Keys: `entry`, `due_at` (empty where no slot is known), `reason`,
    `unsaid` (how many of the kind were not logged before it).
    """
    GUARD_LOST = ("cutover.guard.lost", logging.ERROR)
    """A worker has started and runs tasks without the run guard: a `base` that has none, or an override of it, see
    W004 in docs/checks.md; or, at most once a minute, a worker gets messages of a beat of another `NAMESPACE`, whose
    slots it cannot guard. Keys: `tasks` (how many), `reason`, `unsaid` (how many such messages were not logged before
    it).
    """
    REPLAY_ASKED = ("cutover.replay.asked", logging.INFO)
    """A command has asked the leader for slots that were missed. Keys: `side`, `slots` (how many)."""
    SIDE_SWITCHED = ("cutover.side.switched", logging.INFO)
    """The commit that fences the other side. Keys: `side`, `epoch`."""
    PHASE_STARTED = ("cutover.phase.started", logging.INFO)
    """A command begins. Keys: `phase`."""
    PHASE_COMPLETED = ("cutover.phase.completed", logging.INFO)
    """A phase is done. Keys: `phase`."""
    PHASE_REFUSED = ("cutover.phase.refused", logging.WARNING)
    """A gate does not hold. Keys: `phase`, `reason`."""
    PHASE_FAILED = ("cutover.phase.failed", logging.ERROR)
    """Begun, and undone. Keys: `phase`, `reason`."""
    LEDGER_PRUNED = ("cutover.ledger.pruned", logging.DEBUG)
    """Slots older than the retention were deleted. Keys: `slots`."""
    RECEIVER_FAILED = ("cutover.receiver.failed", logging.ERROR)
    """A receiver of one of our signals (docs/alerts.md) has raised; or the receivers are so slow that a signal was not
    sent. The first of each kind, then one a minute. Keys: `signal`, `reason`, `unsaid` (how many of the kind were not
    logged before it).
    """
    CHECK_IN_FAILED = ("cutover.check_in.failed", logging.WARNING)
    """A check-in (docs/alerts.md) could not be delivered: no answer, a refusal, Sentry is not set up, or too many
    wait. The first of each kind, then one a minute. Keys: `entry`, `due_at` (empty where none is known), `reason`,
    `unsaid` (how many of the kind were not logged before it).
    """
    METRICS_EXPOSED = ("cutover.metrics.exposed", logging.INFO)
    """Metrics (docs/metrics.md) are served from now on. Keys: `port`."""
    METRICS_FAILED = ("cutover.metrics.failed", logging.WARNING)
    """They are not, or not all: a port that is taken, a page whose part cannot be read; beat, worker and web go on.
    Keys: `port` (not of the web's page), `reason`.
    """


def is_heard(event: Event) -> bool:
    """Whether anybody may be listening; what asks this spares itself the details of what nobody hears."""
    level = event.value[1]
    if not structlog.is_configured() or isinstance(structlog.get_config()["logger_factory"], LoggerFactory):
        return _standard.isEnabledFor(level)
    return level >= _standard.level  # structlog does not ask standard logging


def log(event: Event, **details: Any) -> None:
    """Log ``event`` with details: epoch, holder, side, entry, due_at, phase, outcome, reason, elapsed_ms.

    Through structlog where the project has configured it by now, else as a readable line through standard logging,
    whose record has the details too. Never raises: a line that cannot be logged ends no beat and no run.
    """
    name, level = event.value
    try:
        if not is_heard(event):
            return
        if not structlog.is_configured():  # its defaults print every level to stdout
            line, values = _line(name, details)
            _standard.log(level, line, *values, extra={"cutover": {"event": name, **details}}, stacklevel=2)
        else:
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
    text = text_of(value)
    return text if text.isprintable() and text and not set(text) & set(" =\"'") else repr(text)
