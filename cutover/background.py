"""Jobs in the background, for whoever must not wait: one thread of a process, and a bounded queue.

A job that raises or blocks costs whoever gave it nothing: that is said in the log, and so is each that is not taken
since the queue is full. NOT promised: that a job is run. A process that is killed takes its queue along, and one that
ends waits for it only so long.
"""

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from weakref import WeakSet

from django.db import connections

from cutover import clock
from cutover.events import Event
from cutover.foreign import text_of
from cutover.seldom import log_seldom

MOST: Final = 1_000
"""How many jobs wait at most."""
IDLE_S = 5.0
"""How long the thread stays that has nothing to do."""
AT_THE_END_S: Final = 3.0
"""How long a process that ends waits for what is in the queues: platforms give it ten seconds and more."""

Job = Callable[[], object]
_queues: WeakSet["BackgroundQueue"] = WeakSet()


class BackgroundQueue:
    """One queue of jobs. ``said``: the event by which what was not done is logged, once a minute of each kind."""

    def __init__(self, name: str, said: Event, most: int = MOST) -> None:
        self._name, self._said, self._most = name, said, most
        self.reset()
        _queues.add(self)

    def reset(self) -> None:
        """Forget all: in a process that was forked, the queue and its thread are the parent's."""
        self._jobs: deque[tuple[Job, dict[str, str]]] = deque()
        self._turn = threading.Condition()
        self._is_there, self._is_out = False, False

    def put(self, job: Job, **details: str) -> bool:
        """Have it run soon by the queue's own thread; False where it is not taken. Never raises, never waits.

        ``details``: what to log of it if it is not done.
        """
        return self._put(job, details)

    def put_once(self, job: Job) -> bool:
        """As ``put``, but not where it waits already: one that is under way may have begun too early."""
        return self._put(job, {}, once=True)

    def _put(self, job: Job, details: dict[str, str], *, once: bool = False) -> bool:
        try:
            with self._turn:
                is_waiting = once and any(one == job for one, _ in self._jobs)
                if is_waiting or len(self._jobs) < self._most:
                    if not is_waiting:
                        self._jobs.append((job, details))
                    if not self._is_there:
                        threading.Thread(target=self._work, name=self._name, daemon=True).start()
                        self._is_there = True
                    self._turn.notify_all()
                    return True
            reason = f"{self._most} wait already: what they are for is too slow, or away"
        except RuntimeError as exc:  # no thread can be started: the process ends
            self._jobs.clear()
            reason = str(exc)
        log_seldom(self._said, "not taken", **details, reason=f"dropped: {reason}")
        return False

    def drain(self, within_s: float) -> bool:
        """Wait until the queue is empty, at most so long (>= 0, in seconds); whether it is."""
        until_s = clock.monotonic_s() + within_s
        with self._turn:
            while self._jobs or self._is_out:
                left_s = until_s - clock.monotonic_s()
                if left_s <= 0:
                    return False
                self._turn.wait(left_s)
        return True

    def _work(self) -> None:
        while True:
            with self._turn:
                if not self._turn.wait_for(lambda: self._jobs, IDLE_S):
                    self._is_there = False
                    return
                (job, details), self._is_out = self._jobs.popleft(), True
                is_last = not self._jobs
            try:
                job()
            except BaseException as exc:  # one that ended the thread would end all that is told
                kind = type(exc).__name__
                log_seldom(self._said, kind, **details, reason=f"{kind}: {text_of(exc)}")
            finally:
                if is_last:
                    with suppress(Exception):  # this thread's, which a receiver may have opened
                        connections.close_all()
                with self._turn:
                    self._is_out = False
                    self._turn.notify_all()


def drain_all(within_s: float = AT_THE_END_S) -> None:
    """Wait, together at most so long, until every queue is empty."""
    until_s = clock.monotonic_s() + within_s
    for queue in list(_queues):
        queue.drain(max(0.0, until_s - clock.monotonic_s()))


def _reset_all() -> None:
    for queue in list(_queues):
        queue.reset()


atexit.register(drain_all)
os.register_at_fork(after_in_child=_reset_all)
