"""The machine's pulse: when the whole machine stood still, so that no test lays that at the project's door."""

import contextlib
import datetime as dt
import threading
import time
from collections.abc import Iterator
from typing import Final

BEAT_S: Final = 0.01
NOTED: Final = dt.timedelta(milliseconds=100)
"""A beat that comes later than this was kept from the processor; so, then, were all others."""

Absence = tuple[dt.datetime, dt.datetime]


@contextlib.contextmanager
def pulse() -> Iterator[list[Absence]]:
    """Beat in a thread of its own; the list that it gives grows by every absence, from and until when."""
    absences: list[Absence] = []
    ending = threading.Event()
    thread = threading.Thread(target=_beat, args=(absences, ending), name="pulse", daemon=True)
    thread.start()
    try:
        yield absences
    finally:
        ending.set()
        thread.join()


def away(absences: list[Absence], since: dt.datetime, until: dt.datetime) -> dt.timedelta:
    """How much of the time from ``since`` to ``until`` the machine was absent."""
    shares = (min(until, end) - max(since, start) for start, end in absences)
    return sum((share for share in shares if share > dt.timedelta(0)), dt.timedelta(0))


def _beat(absences: list[Absence], ending: threading.Event) -> None:
    due_s = time.monotonic() + BEAT_S
    while not ending.wait(BEAT_S):
        late = dt.timedelta(seconds=time.monotonic() - due_s)
        if late > NOTED:
            now = dt.datetime.now(dt.UTC)
            absences.append((now - late, now))
        due_s = time.monotonic() + BEAT_S
