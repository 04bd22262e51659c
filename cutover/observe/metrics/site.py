"""What Redis and the database say of the site, read at a scrape: by a thread of its own, in bounded time.

Who leads is asked each time. How each entry is takes its time where there are thousands: it is read at most a tenth of
the time, and a scrape that would have to wait for it gets what was read before. What gives no answer fails no scrape:
``cutover_up`` is 0 for it, and what it would have said is left out.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from django.db import connections

from cutover import clock
from cutover.errors import CutoverError, LeaseUnavailable, LedgerUnavailable
from cutover.events import Event, log
from cutover.foreign import text_of
from cutover.ledger.database import outages
from cutover.observe import overview
from cutover.observe.entries import EntryRecord
from cutover.phases.context import Context
from cutover.phases.evidence import leading
from cutover.phases.evidence.side import enabled_rows
from cutover.types import Side

WITHIN_S: Final = 8.0
"""How long a scrape waits: Prometheus gives it ten seconds by default."""
KEEP_S: Final = 5.0
"""How long what was read is good for; several servers may scrape one process."""
SLOW_S: Final = 1.0
"""What has taken longer is not waited for the next time."""
FORGET_S: Final = 300.0
"""What was read so long ago is told no more, as when the database has never answered since."""


class Server(StrEnum):
    """What is asked."""

    DATABASE = "database"
    REDIS = "redis"


@dataclass(frozen=True, slots=True)
class Overview:
    """What takes its time to read; ``unmanaged``: None where it could not be read."""

    began_s: float
    took_s: float
    side: Side
    entries: Sequence[EntryRecord]
    tasks: Mapping[str, str]
    stuck: Mapping[str, int]
    unmanaged: int | None

    def is_due(self, now_s: float, keep_s: float) -> bool:
        """Whether it is to be read again."""
        return now_s - self.began_s >= max(keep_s, 10 * self.took_s)


@dataclass(slots=True)
class Reading:
    """What was read so far. What nobody has said is None, or empty. ``up``: whether a server has answered."""

    began_s: float
    done: threading.Event = field(default_factory=threading.Event)
    up: dict[Server, bool] = field(default_factory=dict)
    side: Side | None = None
    epoch: int | None = None
    is_led: bool | None = None
    standbys: Mapping[Side, int] | None = None
    paused: Sequence[str] | None = None
    overview: Overview | None = None


class Readings:
    """Reads when asked. ``make``: makes the surroundings, once."""

    def __init__(self, make: Callable[[], Context], within_s: float = WITHIN_S, keep_s: float = KEEP_S) -> None:
        self._make, self._within_s, self._keep_s = make, within_s, keep_s
        self._context: Context | None = None
        self._lock, self._looking = threading.Lock(), threading.Lock()
        self._latest: Reading | None = None
        self._overview: Overview | None = None

    def latest(self) -> Reading:
        """What there is to know by now; a server that does not answer in time is down, and is not asked twice."""
        with self._lock:
            now_s, reading = clock.monotonic_s(), self._latest
            if reading is None or (reading.done.is_set() and now_s - reading.began_s >= self._keep_s):
                reading = self._latest = Reading(now_s)
                threading.Thread(target=self._read, args=(reading,), name="cutover-scrape", daemon=True).start()
        reading.done.wait(max(0.0, reading.began_s + self._within_s - clock.monotonic_s()))
        return reading

    def _read(self, reading: Reading) -> None:
        try:
            if self._context is None:
                self._context = self._make()
            for server, part in PARTS:
                reading.up[server] = False
                reading.up[server] = _answers(part, self._context, reading)
            if reading.up[Server.DATABASE]:
                self._look(self._context, reading)
        except CutoverError as exc:
            log(Event.METRICS_FAILED, reason=str(exc))
        finally:
            connections.close_all()  # this thread's own
            reading.done.set()

    def _look(self, context: Context, reading: Reading) -> None:
        """Have the overview in the reading, read again where that is due and nobody is at it."""
        now_s, before = clock.monotonic_s(), self._overview
        if before is not None and now_s - before.began_s < FORGET_S:
            reading.overview = before
            if before.took_s > SLOW_S:
                reading.done.set()
            if not before.is_due(now_s, self._keep_s):
                return
        if self._looking.acquire(blocking=False):
            try:
                fresh = Reading(now_s)
                has_answered = _answers(_take, context, fresh)
                self._overview = fresh.overview
                if not reading.done.is_set():
                    reading.overview, reading.up[Server.DATABASE] = fresh.overview, has_answered
            finally:
                self._looking.release()


def _answers(part: Callable[[Context, Reading], None], context: Context, reading: Reading) -> bool:
    """Whether the server that is asked has answered."""
    try:
        part(context, reading)
    except (LedgerUnavailable, LeaseUnavailable):
        return False
    except Exception as exc:  # of the project's own schedules and settings
        log(Event.METRICS_FAILED, reason=f"{type(exc).__name__}: {text_of(exc)}")
    return True


def _fence(context: Context, reading: Reading) -> None:
    fence = context.ledger.fence.read()
    reading.side, reading.epoch = fence.side, int(fence.epoch)
    reading.paused = [pause.entry for pause in context.ledger.pauses.in_effect(fence)]


def _lease(context: Context, reading: Reading) -> None:
    held = context.lease.view()
    warm = [beat for beat in context.beats() if beat.warm and (held is None or beat.holder != held.holder)]
    reading.standbys = {side: sum(beat.side is side for beat in warm) for side in Side}
    if reading.side is not None:
        if held is None or held.side is not reading.side or context.lease.is_connected(held.client_id) is False:
            reading.is_led = False
            return
        with suppress(LedgerUnavailable):  # it is Redis that is asked here
            reading.is_led = leading.epoch_of(context, held.holder) is not None


PARTS: Final = ((Server.DATABASE, _fence), (Server.REDIS, _lease))
"""What is asked each time, in this order."""


def _take(context: Context, reading: Reading) -> None:
    began_s, seen = clock.monotonic_s(), overview.take(context)
    if seen.entries is None:
        context.ledger.fence.read()  # raises where it is the database that has fallen silent meanwhile
        return
    side, beats = Side(seen.data["side"]), seen.data.get("unmanaged_beats")
    reading.overview = Overview(
        began_s=began_s,
        took_s=clock.monotonic_s() - began_s,
        side=side,
        entries=seen.entries,
        tasks=_tasks(context, side),
        stuck=_by_state(seen.data["stuck"]),
        unmanaged=None if beats is None else len(beats),
    )


def _by_state(stuck: Iterable[Mapping[str, Any]]) -> Mapping[str, int]:
    """How many are stuck in each state, those that were replayed among them."""
    found = Counter[str]()
    for one in stuck:
        found[one["state"]] += one["count"]
    return found


def _tasks(context: Context, side: Side) -> Mapping[str, str]:
    if side is Side.CODE:
        return {name: text_of(entry.task) for name, entry in context.entries.items()}
    with outages(context.alias):
        return dict(enabled_rows(context).values_list("name", "task"))
