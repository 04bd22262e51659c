"""What is wrong with an entry: each condition, how bad it is, and the one pure function that finds them."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

from cutover.observe.slot import Life
from cutover.phases.evidence.lateness import OVERDUE
from cutover.plural import counted
from cutover.types import RunOutcome, SlotState


class Severity(IntEnum):
    """How soon somebody should look: a problem now, a notice some time, well not at all."""

    WELL = 0
    NOTICE = 1
    PROBLEM = 2


class Condition(StrEnum):
    """What is wrong with an entry, worst first."""

    UNSENDABLE = "unsendable"
    WITHOUT_ROW = "without_row"
    OVERDUE = "overdue"
    UNSENT = "unsent"
    MISSED = "missed"
    NOT_RUN = "not_run"
    LOST = "lost"
    FAILING = "failing"
    UNKNOWN_TASK = "unknown_task"
    FUTURE = "future"
    UNMANAGED = "unmanaged"
    PAUSED = "paused"
    CATCHING_UP = "catching_up"
    UNSEEN = "unseen"
    UNRECORDED = "unrecorded"
    RETRYING = "retrying"
    MISSED_EARLIER = "missed_earlier"
    DEDUPLICATED = "deduplicated"

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return Severity.NOTICE if self in _NOTICES else Severity.PROBLEM


_NOTICES: Final = {
    Condition.PAUSED,
    Condition.CATCHING_UP,
    Condition.UNSEEN,
    Condition.UNRECORDED,
    Condition.RETRYING,
    Condition.MISSED_EARLIER,
    Condition.DEDUPLICATED,
}
RANK: Final = {condition: rank for rank, condition in enumerate(Condition)}
"""The worst has 0."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One condition of an entry, and what there is to say of it in words; empty where the condition says it all."""

    condition: Condition
    detail: str = ""

    def __str__(self) -> str:
        name = self.condition.replace("_", " ")
        return f"{name}: {self.detail}" if self.detail else name


class Facts(NamedTuple):  # made for each of very many entries: a frozen dataclass takes three times as long
    """What is known of one entry. ``next_due``: its first slot after ``last``; None for none.

    ``unsent``: why it cannot be sent as it is. ``unknown_task``: the task that no worker of this project knows.
    ``future``: how many slots it has ahead of the database's clock. ``missed``, ``deduplicated``: in the last day.
    ``backlog``: of an entry whose every slot counts and whose backlog is being worked off, how many slots wait.
    ``is_not_run``: its latest slot that workers had the time to start is started by none. ``guarded_since``: from when
    on every worker is known to record its runs; None where none was asked.
    ``paused``: what keeps it back, in words. ``is_seen``: whether a leader has taken it up, so that slots are owed.
    ``is_unsettled``: its start or end is one that no leader has read yet.
    ``ended``: the latest slot before ``last`` whose run has ended; asked for while that of ``last`` has not.
    """

    now: dt.datetime
    last: Life | None = None
    next_due: dt.datetime | None = None
    unsent: str = ""
    is_without_row: bool = False
    unknown_task: str = ""
    future: int = 0
    missed: int = 0
    deduplicated: int = 0
    is_unsettled: bool = False
    backlog: int = 0
    is_not_run: bool = False
    guarded_since: dt.datetime | None = None
    paused: str = ""
    is_seen: bool = True
    ended: Life | None = None


def judge(facts: Facts) -> tuple[Finding, ...]:
    """Everything that is wrong, worst first. Pure."""
    return tuple(sorted(_found(facts), key=lambda one: RANK[one.condition]))


_OF_OUTCOME: Final = {
    RunOutcome.LOST: Condition.LOST,
    RunOutcome.FAILED: Condition.FAILING,
    RunOutcome.RETRIED: Condition.RETRYING,
}
NOT_RUN: Final = "published and started by no worker: look at the workers"
NOT_RECORDED: Final = "published and no run is recorded: look at the workers, one without the run guard records none"
_OF_A_RUN: Final = {
    Condition.LOST: "its process on {} was gone before the run ended",
    Condition.FAILING: "the latest run failed on {}",
    Condition.RETRYING: "the latest run asked for a retry on {}",
}


def _found(facts: Facts) -> Iterator[Finding]:
    last, now = facts.last, facts.now
    if facts.unsent:
        yield Finding(Condition.UNSENDABLE, facts.unsent)
    if facts.is_without_row:
        yield Finding(Condition.WITHOUT_ROW, "it is in the code and has no row: nothing sends it")
    if facts.unknown_task:
        yield Finding(Condition.UNKNOWN_TASK, f"this project does not register {facts.unknown_task}: workers drop it")
    if not (facts.is_seen or facts.unsent or facts.is_without_row):
        yield Finding(Condition.UNSEEN, "no leader has taken it up so far: when it is due is not known")
    if facts.paused:
        yield Finding(Condition.PAUSED, facts.paused)
    elif facts.backlog:
        yield Finding(Condition.CATCHING_UP, f"{counted(facts.backlog, 'slot')} to go, oldest first")
    elif facts.next_due is not None and not facts.is_unsettled and facts.next_due < now - OVERDUE:
        yield Finding(Condition.OVERDUE)
    if last is not None:
        yield from _of_last(facts, last)
    is_last_missed = last is not None and last.state is SlotState.MISSED
    if facts.missed and not is_last_missed:
        yield Finding(Condition.MISSED_EARLIER, f"{facts.missed} in the last day")
    if facts.deduplicated:
        yield Finding(
            Condition.DEDUPLICATED, f"{counted(facts.deduplicated, 'further message')} in the last day, run once"
        )
    if facts.future:
        yield Finding(Condition.FUTURE, f"{counted(facts.future, 'slot')} ahead of the database's clock")


def _of_last(facts: Facts, last: Life) -> Iterator[Finding]:
    if last.state is SlotState.MISSED:
        yield Finding(Condition.MISSED, last.reason)
    if last.state is SlotState.CLAIMED and last.claimed_at < facts.now - OVERDUE and not (facts.unsent or facts.paused):
        yield Finding(Condition.UNSENT, "claimed and not published: look at the broker")
    if last.sender:
        yield Finding(Condition.UNMANAGED, f"sent without the lease by {last.sender.partition(' ')[0]}")
    if facts.is_not_run:
        yield Finding(Condition.NOT_RUN, NOT_RUN if facts.guarded_since else NOT_RECORDED)
    elif last.is_waiting and last.published_at and facts.guarded_since and last.published_at <= facts.guarded_since:
        yield Finding(Condition.UNRECORDED, "published before the workers were asked, and no run is recorded")
    ran = facts.ended or last  # one that has begun again, or is about to, is not well before it has ended so
    condition = _OF_OUTCOME.get(ran.outcome) if ran.outcome else None
    if condition is not None:
        said = _OF_A_RUN[condition].format(ran.worker or "a worker")
        said = said.replace("the latest run", "the latest run that has ended") if ran is not last else said
        yield Finding(condition, f"{said}: {ran.error}" if ran.error else said)
