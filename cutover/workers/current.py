"""The slot of the run at hand, for the task itself to ask: no guess from the clock which instant a run is about.

The run guard says it, for it has decided whose message this is. It is kept in a context variable, so that each
process, thread and greenlet has its own, and what a task awaits or calls has the task's. Where no guard stands, the
message is asked.
"""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import celery

from cutover import headers
from cutover.types import EntryName, Slot


@dataclass(frozen=True)
class CurrentSlot:
    """The slot that a run is of: ``entry``, ``due_at`` (aware, UTC), and ``attempt``: how often it was tried before."""

    entry: str
    due_at: dt.datetime
    attempt: int = 0

    @cached_property
    def previous_due_at(self) -> dt.datetime | None:
        """The entry's slot before this one as the ledger has it, whatever became of it; None where it has none.

        One look-up in the database when it is first read. Raises LedgerUnavailable.
        """
        # What needs the models is imported once a run asks: `import cutover` is for every module of a project.
        from cutover.workers.session import session
        from cutover.workers.site import config, ledger

        entry = EntryName(self.entry)
        names = [entry, *config().renames.before(entry)]
        with session():
            found = ledger().cursors.latest_of(names, self.due_at - dt.timedelta.resolution)
        return max(found.values(), default=None)


class _Run(NamedTuple):
    """What the guard has let run here; ``slot`` is None where it is of none."""

    task_id: str
    slot: CurrentSlot | None


_run: Final = ContextVar[_Run | None]("cutover_run", default=None)


@contextmanager
def running(task_id: str, slot: Slot | None = None, attempt: int = 0) -> Iterator[None]:
    """What is called within belongs to an attempt of ``slot``'s run; None: to one of no slot."""
    token = _run.set(_Run(task_id, CurrentSlot(slot.entry, slot.due_at, attempt) if slot else None))
    try:
        yield
    finally:
        _run.reset(token)


def current_slot() -> CurrentSlot | None:
    """See ``cutover.current_slot``."""
    run, task = _run.get(), celery.current_task._get_current_object()
    request = task.request if task is not None else None
    # Celery's own record ends at the thread, and has another one for a task that is called as a function.
    if run is not None and (request is None or request.called_directly or request.id == run.task_id):
        return run.slot
    return _by_message(task, request) if request is not None else None


def _by_message(task: Any, request: Any) -> CurrentSlot | None:
    """As the message says it, where no guard has: in a task without one, or one that runs eagerly in another's run."""
    given = {**(request.headers or {}), **vars(request)}
    if given.get(headers.DUE_AT) is None:
        return None
    from cutover.workers.admission import own_slot

    slot = own_slot(task, request.id or "", given)
    return CurrentSlot(slot.entry, slot.due_at, int(request.retries or 0)) if slot else None
