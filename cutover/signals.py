"""Django signals of what an operator wants to hear of, for receivers of the project's own. See docs/alerts.md.

Each is sent with ``send_robust`` by the process that made it true, after the commit that did, in a thread of its own:
a receiver may raise, wait or use the database, and neither beat nor worker nor command waits for it. ``sender`` is
None. NOT promised: that a receiver is called. A process that is killed takes what it had to tell along.
"""

from contextlib import suppress
from functools import partial
from typing import Any, Final

from django.dispatch import Signal

from cutover.background import BackgroundQueue
from cutover.events import Event
from cutover.foreign import text_of
from cutover.seldom import log_seldom


class _Signal(Signal):
    """Says of each kind of failure the first, then one a minute; where Django says every one."""

    def _log_robust_failure(self, receiver: Any, err: Exception) -> None:
        name = getattr(receiver, "__qualname__", type(receiver).__qualname__)
        kind, reason = type(err).__name__, f"{name}: {type(err).__name__}: {text_of(err)}"
        if log_seldom(Event.RECEIVER_FAILED, f"{name} {kind}", signal=NAMES[self], reason=reason):
            with suppress(AttributeError):
                super()._log_robust_failure(receiver, err)  # type: ignore[misc]  # Django's line has the traceback


leader_changed = _Signal()
"""A beat leads from now on. ``epoch`` (int), ``side`` ("code" or "database"), ``holder``, ``host``, ``pid`` (int),
``release``."""

slot_missed = _Signal()
"""A slot will not be sent. ``entry``, ``due_at`` (aware, UTC), ``epoch`` (int), ``reason``; ``passed_over`` (int): how
many older slots share this; ``later_is_sent`` (bool): whether a later slot of the entry is sent in its stead."""

run_deduplicated = _Signal()
"""A further message of a slot was dropped. ``entry``, ``due_at`` (aware, UTC), ``task``, ``task_id``, ``outcome``
("already_started" or "too_old")."""

run_failed = _Signal()
"""A slot's task has raised, and is not tried again. ``entry``, ``due_at`` (aware, UTC), ``task``, ``task_id``,
``attempt`` (int, from 0), ``error`` (what it raised, as text; empty where celery does not say)."""

phase_changed = _Signal()
"""A phase of the cutover, or its rollback, is done. ``phase`` ("phase1" ... "rollback"), ``number`` (int): how far the
cutover has come, 0 to 4; ``operator``."""

NAMES: Final[dict[Signal, str]] = {
    leader_changed: "leader_changed",
    slot_missed: "slot_missed",
    run_deduplicated: "run_deduplicated",
    run_failed: "run_failed",
    phase_changed: "phase_changed",
}
_background: Final = BackgroundQueue("cutover-signals", Event.RECEIVER_FAILED)


def send_in_background(signal: Signal, **values: Any) -> None:
    """Have the signal sent, if anybody is connected to it. Not public. Never raises, never waits."""
    if signal.receivers:
        _background.put(partial(signal.send_robust, sender=None, **values), signal=NAMES[signal])
