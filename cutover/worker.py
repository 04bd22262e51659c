"""A worker process, as other workers can tell it: Redis lists its connection for as long as it lives.

A process that is slow, stopped or swapped out keeps its connection; one that was killed loses it within milliseconds.
"""

from __future__ import annotations

import os
import secrets
import socket
from functools import cache

import redis

from cutover import conf
from cutover.connections import redis_client
from cutover.errors import CutoverError, LeaseUnavailable
from cutover.lease import Lease


class Worker:
    """One worker process and its standing connection.

    ``mark`` names it for others: connection and server, then host, process and a random part.
    """

    def __init__(self) -> None:
        self._lease: Lease | None = None
        self._server, client_id = "", 0
        try:
            config = conf.load()
            connection = redis_client(config).client()
            client_id = int(connection.client_id())
            self._server = str(connection.info("server")["run_id"])
            self._lease = Lease(connection, config.namespace, config.lease)
        except (redis.RedisError, OSError, CutoverError):
            client_id = 0  # without Redis nobody can take this process's runs over; it still runs each slot once
        self._host = socket.gethostname()
        self.mark = f"{client_id}@{self._server} {self._host}:{os.getpid()}:{secrets.token_hex(4)}"

    def is_gone(self, mark: str) -> bool:
        """Whether the process of ``mark`` is seen to have ended; False where that can not be seen.

        A connection's number means nothing to another server, or to the same one restarted.
        """
        connection, _, process = mark.partition(" ")
        client_id, _, server = connection.partition("@")
        host, pid, *_ = [*process.split(":"), "", ""]
        if host == self._host and pid.isdigit() and not _is_running(int(pid)):
            return True
        if self._lease is None or server != self._server or client_id == "0":
            return False
        try:
            return self._lease.is_connected(int(client_id)) is False
        except LeaseUnavailable:
            return False


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@cache
def _of_process(_pid: int) -> Worker:
    return Worker()


def this() -> Worker:
    """This process. A forked child is another worker than its parent."""
    return _of_process(os.getpid())
