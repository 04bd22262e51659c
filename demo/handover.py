"""The time without a leader, and what the ledger names, read from the database's rows and by no code of the site."""

import datetime as dt
import sqlite3
from contextlib import closing
from pathlib import Path

from .census import Slot
from .verdict import Switch


def read_switch(kind: str, database: Path) -> Switch:
    """The latest switch of side, and how long until a leader of the new side had sent what was due."""
    # Read before the next switch: the fence keeps the latest instant only.
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        side, switched_at = connection.execute("SELECT side, switched_at FROM cutover_fence").fetchone()
        first_tick_at = connection.execute(
            "SELECT min(first_tick_at) FROM cutover_term WHERE side = ? AND started_at >= ?",
            (side, switched_at),
        ).fetchone()[0]
    if first_tick_at is None:
        raise RuntimeError(f"nobody of the side {side} has led since {switched_at}")
    at = _instant(switched_at)
    return Switch(kind, at, gap_ms=round((_instant(first_tick_at) - at) / dt.timedelta(milliseconds=1), 1))


def read_missed(database: Path) -> dict[Slot, str]:
    """The slots that the ledger names as missed, each with its reason."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20)) as connection:
        rows = connection.execute("SELECT entry, due_at, reason FROM cutover_slot WHERE state = 'missed'").fetchall()
    return {Slot(_instant(due_at), entry): reason for entry, due_at, reason in rows}


def _instant(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)
