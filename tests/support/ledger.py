"""The words of the ledger's tests: an entry's name, and a slot some time ago."""

import datetime as dt

from cutover import clock
from cutover.types import EntryName, Slot

SECOND = dt.timedelta(seconds=1)
DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
NOW = clock.now().replace(microsecond=0)


def name(text: str) -> EntryName:
    return EntryName(text)


def slot(entry: str = "a", ago: dt.timedelta = dt.timedelta(0)) -> Slot:
    return Slot(NOW - ago, name(entry))
