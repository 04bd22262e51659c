"""The slots of one entry, newest first, a page at a time by key: never more of the ledger than is shown."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from cutover import models
from cutover.ledger.database import outages
from cutover.observe.slot import Life, with_losses
from cutover.phases.context import Context
from cutover.types import EntryName

PAGE = 20


@dataclass(frozen=True, slots=True)
class Page:
    """Some slots of one entry, newest first; ``before``: what to ask for the next page with, None for the last one."""

    slots: Sequence[Life]
    before: dt.datetime | None


def page(context: Context, entry: EntryName, before: dt.datetime | None = None, size: int = PAGE) -> Page:
    """At most ``size`` (>= 1) slots of ``entry`` that were due before ``before``, in one statement by an index.

    Those that it had under another name, by ``RENAMED``, are among them. Raises LedgerUnavailable. An entry that the
    ledger does not know has none.
    """
    names = [entry, *context.config.renames.before(entry)]
    slots = models.Slot.objects.using(context.alias)
    slots = slots.filter(entry__in=names) if len(names) > 1 else slots.filter(entry=entry)
    if before is not None:
        slots = slots.filter(due_at__lt=before)
    with outages(context.alias):
        rows = list(slots.order_by("-due_at")[: size + 1])
    lives = with_losses(context, map(Life.of, rows[:size]))
    return Page(lives, lives[-1].due_at if len(rows) > size else None)
