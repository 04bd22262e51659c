"""Lanes: the slots of some entries between two instants, a lane an entry; records that know no drawing."""

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final

from django.db.models import OuterRef, Q, Subquery

from cutover import models
from cutover.ledger.cursors import LATEST_FIRST
from cutover.ledger.database import outages
from cutover.observe.slot import Life, with_losses
from cutover.phases.context import Context
from cutover.types import EntryName

IN_A_LANE: Final = 100
"""How many slots a lane has at most, the latest ones: an entry of a second shall not hide that of an hour."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One entry's slots, oldest first; ``since``: from when on all of them are here."""

    entry: EntryName
    since: dt.datetime
    slots: Sequence[Life]


def read(
    context: Context, entries: Sequence[EntryName], since: dt.datetime, until: dt.datetime, most: int = IN_A_LANE
) -> list[Lane]:
    """A lane for each of ``entries`` (some dozens), with at most ``most`` slots that were due in that time.

    Two statements, an index look-up an entry. Raises LedgerUnavailable.
    """
    if not entries:
        return []
    due = Q(due_at__gt=since, due_at__lte=until)
    slots = models.Slot.objects.using(context.alias).order_by()
    of_one = slots.filter(due, entry=OuterRef("name")).order_by(*LATEST_FIRST).values("due_at")
    known = models.Entry.objects.using(context.alias).order_by().filter(name__in=entries)
    with outages(context.alias):
        cut = dict(known.annotate(oldest=Subquery(of_one[most - 1 : most])).values_list("name", "oldest"))
        begins = {entry: cut.get(entry) or since for entry in entries}
        wanted = reduce(or_, (Q(entry=entry, due_at__gte=begin) for entry, begin in begins.items()))
        rows = list(slots.filter(due & wanted))
    found = defaultdict[EntryName, list[Life]](list)
    for life in sorted(with_losses(context, map(Life.of, rows)), key=lambda one: one.due_at):
        found[life.entry].append(life)
    return [Lane(entry, begins[entry], found[entry]) for entry in entries]
