"""A command that stays keeps a row for it: renewed by a thread while it is there, ended with an outcome."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from cutover.errors import LedgerUnavailable
from cutover.ledger.database import outages
from cutover.models import Attended, SwitchGuard
from cutover.phases.context import Context
from cutover.phases.evidence.waits_and_guards import INTERRUPTED
from cutover.phases.facts import read
from cutover.phases.operations.lock import operator_name
from cutover.phases.operations.renewal import renewed
from cutover.workers import processes

_Row = TypeVar("_Row", bound=Attended)


def begin(context: Context, kind: type[_Row], **fields: Any) -> _Row:
    """A row of this process, from now on by the database's clock."""
    now = context.ledger.fence.read_now()
    own = {"operator": operator_name(), "process": processes.own_name(), "began_at": now, "seen_at": now}
    with outages(context.alias):
        made: _Row = kind._default_manager.using(context.alias).create(**own, **fields)
    return made


def post_guard(context: Context, length: dt.timedelta) -> SwitchGuard:
    """A guard of the present switch, for ``length`` from now."""
    epoch = read(context).switch_epoch or 0
    return begin(context, SwitchGuard, switch_epoch=epoch, until=context.ledger.fence.now() + length)


def change(context: Context, row: _Row, **fields: Any) -> None:
    """Write these fields, here and in the database."""
    for name, value in fields.items():
        setattr(row, name, value)
    with outages(context.alias):
        type(row)._default_manager.using(context.alias).filter(pk=row.pk).update(**fields)


def end(context: Context, row: Attended, outcome: str, detail: str | None = None) -> None:
    """Record how it ended; the first end stays."""
    ended: dict[str, Any] = {"ended_at": context.ledger.fence.read_now(), "outcome": outcome}
    with outages(context.alias):
        left = type(row)._default_manager.using(context.alias).filter(pk=row.pk, ended_at=None)
        left.update(**ended, **({} if detail is None else {"detail": detail}))


@contextmanager
def attended(context: Context, row: Attended) -> Iterator[None]:
    """Renew the row meanwhile. What ends the command in any other way than by ``end`` is an interruption."""
    mine = type(row)._default_manager.using(context.alias).filter(pk=row.pk, ended_at=None)
    try:
        with renewed(mine, "seen_at", "cutover-attendance"):
            yield
    finally:
        with suppress(LedgerUnavailable):
            end(context, row, INTERRUPTED)
