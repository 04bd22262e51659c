"""One slot's whole life: claimed by whom, published, started by which worker, ended how; a record that knows no screen.

What nobody recorded is None: a slot that is not published yet, a run that has not ended, or whose worker's release did
not say how.
"""

import datetime as dt
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple, Self

import redis

from cutover import models
from cutover.errors import CutoverError
from cutover.ledger.database import outages
from cutover.ledger.fence import SUCCEEDED
from cutover.phases.context import Context
from cutover.types import EntryName, RunOutcome, Side, SlotState
from cutover.types import Slot as SlotName
from cutover.workers import liveness, processes

SILENT: Final = dt.timedelta(seconds=30)
"""How long ago the last sign of life of a leader is, of which there is one in ten seconds, that is taken for gone."""
_UNWELL: Final = (RunOutcome.FAILED, RunOutcome.RETRIED)
"""A worker of an older release records how a run ended, and leaves the reason of an attempt before as it was."""


# An enum takes five times as long to find its member.
_side, _state, _outcome = cache(Side), cache(SlotState), cache(RunOutcome)


class Life(NamedTuple):  # made for each of very many entries: a frozen dataclass takes three times as long
    """One slot as the ledger has it. ``run_by``: the mark of its run; ``sender``: who sent it without the lease.

    ``error``: why its run failed or asked for a retry, or by what its worker is seen to be gone; empty otherwise.
    """

    entry: EntryName
    due_at: dt.datetime
    epoch: int
    side: Side
    state: SlotState
    task_id: uuid.UUID
    claimed_at: dt.datetime
    published_at: dt.datetime | None = None
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    outcome: RunOutcome | None = None
    error: str = ""
    run_by: str = ""
    attempt: int = 0
    sender: str = ""
    deduplicated: int = 0
    resent: int = 0
    passed_over: int = 0
    reason: str = ""

    @classmethod
    def of(cls, row: Any) -> Self:
        """The life that a row of the ledger tells: a ``Slot``, or what has the same of one."""
        return cls(
            entry=EntryName(row.entry),
            due_at=row.due_at,
            epoch=row.epoch,
            side=_side(row.side),
            state=_state(row.state),
            task_id=row.task_id,
            claimed_at=row.claimed_at,
            published_at=row.published_at,
            started_at=row.run_started_at,
            ended_at=row.run_ended_at,
            outcome=_outcome(row.outcome) if row.outcome else None,
            error=(row.error or "") if row.outcome in _UNWELL else "",
            run_by=row.run_by,
            attempt=row.run_attempt,
            sender=row.sender or "",
            deduplicated=row.deduplicated,
            resent=row.resent,
            passed_over=row.passed_over,
            reason=row.reason,
        )

    @property
    def is_waiting(self) -> bool:
        """Whether it was published, and no run of it is recorded."""
        return self.started_at is None and self.state is SlotState.PUBLISHED

    @property
    def worker(self) -> str:
        """The worker of its latest attempt by celery's name; empty where none has it."""
        return processes.shown(self.run_by)

    @property
    def publish_delay(self) -> dt.timedelta | None:
        """From due to published; negative where clocks differ."""
        return self.published_at - self.due_at if self.published_at else None

    @property
    def run_delay(self) -> dt.timedelta | None:
        """From due to started."""
        return self.started_at - self.due_at if self.started_at else None

    @property
    def duration(self) -> dt.timedelta | None:
        """From the first attempt's start to the last one's end."""
        return self.ended_at - self.started_at if self.ended_at and self.started_at else None


@dataclass(frozen=True, slots=True)
class Claimant:
    """The term under which a slot was claimed: whose, from when to when; ``seen_at``: its last sign of life."""

    epoch: int
    side: Side
    host: str
    pid: int
    release: str
    started_at: dt.datetime
    ended_at: dt.datetime | None
    end_reason: str
    seen_at: dt.datetime

    @classmethod
    def of(cls, row: models.Term) -> Self:
        """The term of a row of the ledger."""
        told = (row.host, row.pid, row.release, row.started_at, row.ended_at, row.end_reason)
        signs = (row.started_at, row.first_tick_at, row.seen_at, None if row.end_reason == SUCCEEDED else row.ended_at)
        return cls(row.epoch, Side(row.side), *told, max(at for at in signs if at is not None))

    @property
    def told_end(self) -> dt.datetime | None:
        """When its leader said that it ended; None for one that did not, also where a successor has ended the term."""
        return None if self.end_reason == SUCCEEDED else self.ended_at

    @property
    def end_in_words(self) -> str:
        """Why it ended; empty where nobody has said so yet."""
        return "did not say, and another took over" if self.end_reason == SUCCEEDED else self.end_reason

    def known_until(self, now: dt.datetime) -> dt.datetime:
        """Until when it is known to have lasted: a leader that was killed says no end, and leaves its last sign."""
        return now if self.ended_at is None and now - self.seen_at <= SILENT else self.told_end or self.seen_at


@dataclass(frozen=True, slots=True)
class Whole:
    """A slot's life, and whose term it was claimed in; None for one that no leader claimed, or a term forgotten."""

    life: Life
    claimant: Claimant | None


def read(context: Context, slot: SlotName) -> Whole | None:
    """One slot, in two statements by keys; None where the ledger has none of it. Raises LedgerUnavailable."""
    with outages(context.alias):
        rows = models.Slot.objects.using(context.alias).filter(entry=slot.entry, due_at=slot.due_at)
        lives = with_losses(context, [Life.of(row) for row in rows])
        if not lives:
            return None
        term = models.Term.objects.using(context.alias).filter(epoch=lives[0].epoch).first()
    return Whole(lives[0], Claimant.of(term) if term else None)


def with_losses(context: Context, lives: Iterable[Life]) -> list[Life]:
    """The same, where runs whose worker is seen to be gone are ``LOST``; each worker is asked after once.

    One that cannot be seen, as where Redis gives no answer, is taken to run: a loss is never guessed.
    """
    found = list(lives)
    if RunOutcome.RUNNING not in {life.outcome for life in found}:
        return found
    server, is_connected = "", cache(lambda client_id: context.lease.is_connected(client_id))
    with suppress(CutoverError, redis.RedisError, OSError):
        server = str(context.redis.info("server")["run_id"])

    def lost(life: Life) -> Life:
        is_running = life.outcome is RunOutcome.RUNNING and life.run_by
        gone = liveness.seen_gone(life.run_by, server, is_connected) if is_running else ""
        return life._replace(outcome=RunOutcome.LOST, error=gone) if gone else life

    return [lost(life) for life in found]
