"""For a worker's imports: the first start of a run is committed, and its answer never comes; some later ones fail."""

import os
from typing import Any

from cutover.errors import LedgerUnavailable
from cutover.ledger.runs import Runs
from cutover.types import Start
from cutover.workers import run_guard

run_guard.DEFER_S = 0.5
_start, _told = Runs.start, os.environ["FORGETFUL_ONCE"]
_later = int(os.environ.get("FORGETFUL_LATER", "0"))
"""How many starts after that one do not reach the database."""


def start(self: Runs, *arguments: Any) -> Start:
    """Commit, then fail; then fail some times more; all of it once for all processes of the worker."""
    if _is_first(_told):
        _start(self, *arguments)
        raise LedgerUnavailable("the connection was cut before the answer came")
    if any(_is_first(f"{_told}-{number}") for number in range(_later)):
        raise LedgerUnavailable("the database is away")
    return _start(self, *arguments)


def _is_first(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


Runs.start = start
