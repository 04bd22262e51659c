"""Whether a worker process still lives, as other workers see it: Redis lists its connection for that long.

A process that is slow, stopped or swapped out keeps its connection; one that was killed loses it within milliseconds.
A process whose connection was cut signs its next run by a new one.
"""

import itertools
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import celery

from cutover import clock, conf
from cutover.election.connection import Link, redis_client
from cutover.election.lease import Lease
from cutover.errors import LeaseUnavailable
from cutover.events import Event, log
from cutover.foreign import text_of
from cutover.models import RUN_BY_LENGTH
from cutover.workers import processes

AGAIN_S: Final = 30.0
"""After how long a process asks again: for a connection to Redis where it had none, else whether it is still listed."""


class Worker:
    """One worker process and its standing connection; ``process``, its name, stays when that is made again.

    So do ``runs``, the numbers of its runs: where Redis cannot be reached nothing else tells one mark from another.
    """

    def __init__(self, name: str, runs: Iterator[int] | None = None) -> None:
        self.process, self.runs = name, itertools.count(1) if runs is None else runs
        self._link: Link | None = None
        self._lease: Lease | None = None
        self._server, self._client_id = "", 0
        try:
            self._connect()
        except Exception as exc:  # whatever a project's connection raises: the process still runs each slot once
            reason = f"{type(exc).__name__}: {text_of(exc)}; no other worker can resume what this process runs"
            log(Event.REDIS_LOST, reason=reason)
        self._again_at_s = clock.monotonic_s() + AGAIN_S

    def _connect(self) -> None:
        config = conf.load()
        # Nobody speaks on this channel: it is subscribed to so that the server does not take it for idle.
        self._link = Link(redis_client(config), f"{{cutover:{config.namespace}}}:workers")
        self._server = str(self._link.commands.info("server")["run_id"])
        self._lease = Lease(self._link.commands, config.namespace, config.lease)
        self._client_id = self._link.client_id
        self._link.check(self._lease.listed(self._client_id))

    def sign(self, node: str = "") -> str:
        """A mark for one run, never given twice: its connection, server and process, and the worker by celery."""
        mark = f"{self._client_id}@{self._server}#{next(self.runs)} {processes.with_node(self.process, node)}"
        return mark[:RUN_BY_LENGTH]

    def is_cut(self) -> bool:
        """Whether the standing connection was closed, or could not be made a while ago; others then misjudge it.

        What forgets it on its way tells nobody, so the server is asked too; not at each run, which would wait for that.
        """
        now_s = clock.monotonic_s()
        if self._link is None or self._lease is None or not self._client_id:
            return now_s >= self._again_at_s
        try:
            if self._link.is_cut():
                return True
            if now_s >= self._again_at_s:
                self._again_at_s = now_s + AGAIN_S
                with suppress(LeaseUnavailable):  # then nobody else is told of it either
                    self._link.check(self._lease.listed(self._client_id))
            return False
        except Exception:  # one that cannot be asked is of no use to others either
            return True

    def leave(self) -> None:
        """Close the standing connection."""
        if self._link is not None:
            with suppress(Exception):
                self._link.close()

    def is_gone(self, mark: str) -> bool:
        """Whether the process of ``mark`` is seen to have ended; False where that cannot be seen."""
        is_connected = self._lease.is_connected if self._lease is not None else lambda _: None
        return bool(seen_gone(mark, self._server, is_connected))


def seen_gone(mark: str, server: str, is_connected: Callable[[int], bool | None]) -> str:
    """By what the process of ``mark`` is seen to have ended, from here or by ``server``'s list of connections.

    Empty for one that goes on, or of which that cannot be seen.
    """
    connection, _, name = mark.partition(" ")
    client_id, _, its_server = connection.partition("#")[0].partition("@")
    process = f"process {processes.number(name)} of {processes.shown(mark)}"
    if (ended := processes.has_ended(name)) is not None:
        return f"{process} has ended" if ended else ""
    if not server or its_server != server or client_id == "0":
        return ""  # a connection's number means nothing to another server, or to the same one restarted
    with suppress(LeaseUnavailable):
        return f"{process} has lost its connection to Redis" if is_connected(int(client_id)) is False else ""
    return ""


_of_process: dict[int, Worker] = {}
_one_at_a_time = threading.Lock()


def this_worker() -> Worker:
    """This process. A forked child is another worker than its parent."""
    pid = os.getpid()
    with _one_at_a_time:  # of a pool of threads: they are one worker
        known = _of_process.get(pid)
        if known is None:
            _of_process[pid] = Worker(f"{processes.own_name()}:{secrets.token_hex(4)}:{celery.__version__}")
        elif known.is_cut():
            known.leave()
            _of_process[pid] = Worker(known.process, known.runs)
        return _of_process[pid]
