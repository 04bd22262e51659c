"""Which slot a log record is of: inside a guarded run the project's own records say so. See docs/alerts.md.

With standard logging by ``SlotFilter``, with structlog by its context variables or by ``add_slot``. Nothing is put
anywhere else, and nothing is left when the run is over.
"""

import logging
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from typing import Any, Final

import structlog

from cutover.headers import DUE_AT, ENTRY, EPOCH

SLOT: Final = "cutover_slot"
"""The slot's id, which is that of its message and its task: the same whoever publishes it, however often."""
OUTSIDE: Final[Mapping[str, Any]] = {ENTRY: "", DUE_AT: "", EPOCH: None, SLOT: ""}
_inside: ContextVar[Mapping[str, Any] | None] = ContextVar("cutover_slot", default=None)


class SlotFilter(logging.Filter):
    """Gives each record ``cutover_entry``, ``cutover_due_at``, ``cutover_epoch`` and ``cutover_slot``; keeps them all.

    For a handler. Outside a guarded run they are empty, and the epoch is None, so that a format may name them.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Put them on; a record that has them already, as from another process, keeps its own."""
        if not hasattr(record, SLOT):
            record.__dict__.update(_inside.get() or OUTSIDE)
        return True


def add_slot(_logger: Any, _method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog: the same keys, inside a guarded run alone. For set-ups that clear the context."""
    for name, value in (_inside.get() or {}).items():
        event_dict.setdefault(name, value)
    return event_dict


@contextmanager
def of_slot(entry: str, due_at: str, epoch: int | None, slot: str) -> Iterator[None]:
    """Have what is logged within be of this slot; what it was before is what it is after. Not public."""
    said = {ENTRY: entry, DUE_AT: due_at, EPOCH: epoch, SLOT: slot}
    before, bound = _inside.set(said), dict[str, Token[Any]]()
    if structlog.is_configured():
        with suppress(Exception):
            bound |= structlog.contextvars.bind_contextvars(**said)
    try:
        yield
    finally:
        with suppress(Exception):
            structlog.contextvars.reset_contextvars(**bound)
        try:
            _inside.reset(before)
        except ValueError:  # another context than at the beginning: a pool that goes on in one of its own
            _inside.set(None)
