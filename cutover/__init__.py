"""Move a Django + Celery site's periodic tasks and processes in production: every slot once, and a way back."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cutover.workers.current import CurrentSlot

__all__ = ["__version__", "current_slot"]
__version__ = "0.1.0"


def current_slot() -> "CurrentSlot | None":
    """The slot that the run at hand is of; None outside a run, and in one that no entry's slot is run by.

    ``entry``, ``due_at`` (aware, UTC), ``previous_due_at`` (the entry's slot before, or None; read from the ledger
    when first asked for, and raises LedgerUnavailable) and ``attempt`` (0, and one more with each retry).
    """
    from cutover.workers import current  # celery is not imported for `cutover` alone

    return current.current_slot()
