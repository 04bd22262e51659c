"""Who sends scheduled tasks without a slot, as workers count it, and what the operator has said of it."""

import datetime as dt
from collections.abc import Collection
from typing import Final

from django.db.models import F

from cutover import clock, models
from cutover.ledger.database import outages, transaction
from cutover.types import SentBy, Slotless

ORIGINS: Final = 50
"""How many origins of one task are kept, those seen last: every start of a web process is another one."""


class Senders:
    """The senders known to one database. Every method raises LedgerUnavailable."""

    def __init__(self, alias: str) -> None:
        self._rows = models.SlotlessSender.objects.using(alias)
        self._words = models.OperatorWord.objects.using(alias)
        self._alias = alias

    def last_seen_at(self, who: Slotless) -> dt.datetime | None:
        """When the latest message was counted; None for the first one."""
        with outages(self._alias):
            seen = self._rows.filter(task=who.task, entry=who.entry, origin=who.origin)
            return next(iter(seen.values_list("last_seen_at", flat=True)), None)

    def count(self, who: Slotless, messages: int, at_slots: int, seen_at: dt.datetime) -> None:
        """Count ``messages`` more, of which ``at_slots`` came when the entry was due."""
        key = {"task": who.task, "entry": who.entry, "origin": who.origin}
        more = {"messages": F("messages") + messages, "at_slots": F("at_slots") + at_slots, "last_seen_at": seen_at}
        with outages(self._alias):
            if self._rows.filter(**key).update(**more):
                return
            given = {"messages": messages, "at_slots": at_slots, "last_seen_at": seen_at, "first_seen_at": seen_at}
            self._rows.bulk_create([models.SlotlessSender(**key, **given)], ignore_conflicts=True)
            of_task = self._rows.filter(task=who.task).order_by("-last_seen_at")
            self._rows.filter(pk__in=list(of_task.values_list("pk", flat=True)[ORIGINS : 2 * ORIGINS])).delete()

    def read(self) -> list[models.SlotlessSender]:
        """All that was counted, the latest first."""
        with outages(self._alias):
            return list(self._rows.order_by("-last_seen_at", "task"))

    def forget(self, origin: str) -> bool:
        """Forget what was counted of an origin; whether there was any."""
        with outages(self._alias):
            return bool(self._rows.filter(origin=origin).delete()[0])

    def sent_by(self) -> dict[str, SentBy]:
        """Who sends which task without a slot, as the operator has said."""
        with outages(self._alias):
            return {task: SentBy(sent_by) for task, sent_by in self._words.values_list("task", "sent_by")}

    def set_sent_by(self, tasks: Collection[str], sent_by: SentBy) -> None:
        """Record who sends these tasks, as the operator says now; it takes the place of what was recorded before."""
        with transaction(self._alias):
            for task in tasks:
                self._words.update_or_create({"sent_by": sent_by, "said_at": clock.now()}, task=task)
