"""Celery's schedule file: the old beat's own record of last runs, read and written without being held open.

Celery opens the file for as long as beat lives, and when a second process cannot open it takes it for corrupt and
deletes it. So a copy is read, and a new file is moved into place.
"""

import contextlib
import datetime as dt
import shelve
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from celery import Celery, __version__
from celery.beat import ScheduleEntry
from celery.utils.time import maybe_make_aware

from cutover.beats.sources import LastRun
from cutover.events import Event, log

SUFFIXES: Final = ("", ".db", ".dat", ".bak", ".dir")
"""What the dbm modules append to the name."""
PENDING: Final = "-wal"
"""What SQLite, the dbm of Python 3.13 and later, has not yet put into its file while that is open, or after a crash."""
TRIES: Final = 5
"""How often a copy is begun again because the beat wrote meanwhile; it does so every few minutes."""


def read(filename: str | None) -> dict[str, LastRun]:
    """What the file has of each entry (aware, UTC); empty when there is no such file or it cannot be read."""
    if not filename or not _files(filename):
        return {}
    try:
        with tempfile.TemporaryDirectory(dir=_scratch(filename)) as folder:
            _copy(filename, folder)
            # "w": for a copy of what SQLite holds open, and it is ours to write.
            with shelve.open(str(Path(folder) / Path(filename).name), flag="w") as store:  # noqa: S301 - beat's own file
                entries: Mapping[str, ScheduleEntry] = store.get("entries", {})
                return {
                    name: LastRun(maybe_make_aware(entry.last_run_at).astimezone(dt.UTC), bool(entry.total_run_count))
                    for name, entry in entries.items()
                }
    except Exception as exc:  # whatever a damaged pickle or dbm, or a full disk raises; the ledger is the record
        log(Event.ENTRY_FAILED, reason=f"the schedule file {filename} cannot be read: {exc}")
        return {}


def write(filename: str | None, entries: Mapping[str, ScheduleEntry], app: Celery) -> None:
    """Leave the last runs for a beat that knows no ledger; what prevents it is logged, not raised."""
    if not filename:
        return
    target = Path(filename)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            made = Path(folder) / target.name
            with shelve.open(str(made), flag="n") as store:  # noqa: S301 - beat's own file
                store.update(entries=dict(entries), __version__=__version__)
                store.update(tz=app.conf.timezone, utc_enabled=app.conf.enable_utc)
            Path(filename + PENDING).unlink(missing_ok=True)  # a crash left it; SQLite would put it into the new file
            for file in _files(str(made)):
                file.replace(target.parent / file.name)
    except Exception as exc:  # a full disk, or an entry that cannot be pickled; the ledger is the record
        log(Event.ENTRY_FAILED, reason=f"the schedule file {filename} cannot be written: {exc}")


def _scratch(filename: str) -> str:
    """Where a copy can be made: beside the file where the root file system is read-only, and the file's volume is not.

    A folder of that volume is no first choice: others may watch it, or keep it read-only.
    """
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return str(Path(filename).parent)


def _copy(filename: str, folder: str) -> None:
    """Copy the file, and what is pending of it, as it was at one moment."""
    for _ in range(TRIES):
        with contextlib.suppress(FileNotFoundError):  # the beat has closed it meanwhile
            before = _stamps(filename)
            for file in before:
                shutil.copy2(file, folder)
            if _stamps(filename) == before:
                return
        for copy in Path(folder).iterdir():
            copy.unlink()
    raise OSError(f"it is written to all the time ({TRIES} tries)")


def _stamps(filename: str) -> dict[Path, tuple[int, int]]:
    stats = {file: file.stat() for file in (*_files(filename), Path(filename + PENDING)) if file.exists()}
    return {file: (stat.st_mtime_ns, stat.st_size) for file, stat in stats.items()}


def _files(filename: str) -> list[Path]:
    return [Path(filename + suffix) for suffix in SUFFIXES if Path(filename + suffix).is_file()]
