"""The database as plain SQL shows it: what the ledger says of each slot, and who led when."""

import contextlib
import datetime as dt
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import psycopg
import pymysql

from demo.census import Slot

_SQLITE: Final = "sqlite:///"


@dataclass(frozen=True, slots=True)
class Record:
    """One row of the ledger."""

    slot: Slot
    state: str
    reason: str
    has_started: bool
    number: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Term:
    """One leadership."""

    epoch: int
    side: str
    pid: int
    started_at: dt.datetime
    first_tick_at: dt.datetime | None
    ended_at: dt.datetime | None
    end_reason: str


class Books:
    """Reads the database of one site by its URL."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    @property
    def file(self) -> Path | None:
        """Its file, where it is SQLite's."""
        return Path(self._url.removeprefix(_SQLITE)) if self._url.startswith(_SQLITE) else None

    def records(self) -> dict[Slot, Record]:
        """The whole ledger, by slot."""
        rows = self.query("SELECT entry, due_at, state, reason, run_started_at, id, epoch FROM cutover_slot")
        records = (
            Record(Slot(_instant(due_at), entry), state, reason, started is not None, number, epoch)
            for entry, due_at, state, reason, started, number, epoch in rows
        )
        return {record.slot: record for record in records}

    def terms(self) -> list[Term]:
        """Every leadership, oldest first."""
        rows = self.query(
            "SELECT epoch, side, pid, started_at, first_tick_at, ended_at, end_reason FROM cutover_term ORDER BY epoch"
        )
        return [Term(*row[:3], *map(_instant, row[3:6]), row[6]) for row in rows]

    def fence(self) -> tuple[int, str, dt.datetime | None]:
        """Epoch, active side, and since when that one is active."""
        ((epoch, side, switched_at),) = self.query("SELECT epoch, side, switched_at FROM cutover_fence")
        return epoch, side, _instant(switched_at)

    def query(self, statement: str) -> Sequence[tuple[Any, ...]]:
        """The rows of one statement."""
        if self.file is not None:
            with contextlib.closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=20)) as connection:
                return connection.execute(statement).fetchall()
        if self._url.startswith("mysql:"):
            parts = urlsplit(self._url)
            way = {"unix_socket": parse_qs(parts.query)["unix_socket"][0], "user": parts.username}
            with (
                contextlib.closing(pymysql.connect(**way, database=parts.path[1:])) as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute(statement)
                return cursor.fetchall()
        with psycopg.connect(self._url) as connection:
            return connection.execute(statement).fetchall()


def _instant(value: str | dt.datetime | None) -> dt.datetime | None:
    if value is None:
        return None
    found = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
    return found.replace(tzinfo=dt.UTC) if found.tzinfo is None else found.astimezone(dt.UTC)
