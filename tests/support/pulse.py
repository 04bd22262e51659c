"""The machine's pulse: when the whole machine stood still, so that no test lays that at the project's door."""

import datetime as dt
import threading
import time
from types import TracebackType
from typing import Final, Self

BEAT_S: Final = 0.01
NOTED: Final = dt.timedelta(milliseconds=100)
"""A beat that comes later than this was kept from the processor; so, then, were all others."""

Absence = tuple[dt.datetime, dt.datetime]


class Pulse:
    """Beats in a thread of its own while its ``with`` block runs, and keeps every absence, from and until when."""

    def __init__(self) -> None:
        self.absences: list[Absence] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        due_s = time.monotonic() + BEAT_S
        while not self._ending.wait(BEAT_S):
            late = dt.timedelta(seconds=time.monotonic() - due_s)
            if late > NOTED:
                now = dt.datetime.now(dt.UTC)
                self.absences.append((now - late, now))
            due_s = time.monotonic() + BEAT_S


def away(absences: list[Absence], since: dt.datetime, until: dt.datetime) -> dt.timedelta:
    """How much of the time from ``since`` to ``until`` the machine was absent."""
    shares = (min(until, end) - max(since, start) for start, end in absences)
    return sum((share for share in shares if share > dt.timedelta(0)), dt.timedelta(0))
