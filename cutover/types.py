"""The words of the protocol as types: sides, epochs, slots, and the outcomes that are values, not exceptions."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple, NewType

Epoch = NewType("Epoch", int)
"""Fencing token: rises with every leadership and with every switch of side. The first one is 1."""

EntryName = NewType("EntryName", str)
"""The name by which one schedule entry is known on both sides."""
NAME_LENGTH: Final = 200
"""The longest of them: that of django-celery-beat's ``PeriodicTask.name``."""

HolderId = NewType("HolderId", str)
"""Identity of one candidate: ``host:pid:random``. Never reused, not even by the same process."""


class Side(StrEnum):
    """Where a schedule lives: in code (the old way) or in django-celery-beat's rows (the new way)."""

    CODE = "code"
    DATABASE = "database"

    @property
    def other(self) -> Side:
        """The side that a switch from this one goes to."""
        return Side.DATABASE if self is Side.CODE else Side.CODE


class Fingerprints(NamedTuple):
    """What one entry means, as text: when it fires, and what it sends. Equal in processes that have the same entry."""

    schedule: str
    message: str


class Claim(StrEnum):
    """Outcome of claiming a slot. Losing is normal and is told apart by value."""

    CLAIMED = "claimed"
    ALREADY_CLAIMED = "already_claimed"
    FENCED = "fenced"
    TOO_OLD = "too_old"
    TOO_EARLY = "too_early"
    PAUSED = "paused"


class SlotState(StrEnum):
    """How far a slot has come: claimed, then published; or missed, with a reason."""

    CLAIMED = "claimed"
    PUBLISHED = "published"
    MISSED = "missed"


class SentBy(StrEnum):
    """What the operator has said of who sends a scheduled task without a slot: a beat without the lease, or people."""

    BEATS_ALONE = "beats_alone"
    HAND = "hand"


class Start(StrEnum):
    """Outcome of a worker's attempt to start a slot's run."""

    STARTED = "started"
    ALREADY_STARTED = "already_started"
    TOO_OLD = "too_old"


class RunOutcome(StrEnum):
    """What is known of a run that was started: ``LOST`` is found, never recorded; all else its worker said.

    RETRIED: it asked to be run once more, which the next attempt overwrites. A task that raises Ignore has succeeded.
    """

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRIED = "retried"
    LOST = "lost"


class ProbeRole(StrEnum):
    """What a probe asks of this host."""

    LEADER = "leader"
    STANDBY = "standby"
    WORKER = "worker"
    ANY = "any"


class CatchUp(StrEnum):
    """What a late leader does with what fell due while nobody led: sends the latest slot, none, or every one."""

    LATEST = "latest"
    NONE = "none"
    ALL = "all"


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """One nominal instant (aware, UTC) at which one entry was due."""

    due_at: dt.datetime
    entry: EntryName

    def task_id(self, namespace: str) -> str:
        """The id under which this slot's message is published, the same whoever publishes it and however often."""
        return _task_id(self, namespace)


@lru_cache(maxsize=1_000)
def _task_id(slot: Slot, namespace: str) -> str:
    """Asked for when a slot is claimed, published and confirmed."""
    due_at = slot.due_at.astimezone(dt.UTC).isoformat()
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"cutover:{namespace}:{slot.entry}:{due_at}"))


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where an entry stands: its latest slot in the ledger (None before the first), and since when it is eligible."""

    last: dt.datetime | None
    eligible_since: dt.datetime

    @property
    def origin(self) -> dt.datetime:
        """The instant from which an interval is counted, so that its cadence keeps its phase."""
        return self.last if self.last is not None else self.eligible_since


@dataclass(frozen=True, slots=True)
class Missed:
    """A slot that will not be sent, and why; ``passed_over``: how many older ones of its gap have no row."""

    slot: Slot
    reason: str
    passed_over: int = 0


@dataclass(frozen=True, slots=True)
class Sender:
    """A beat without the lease, by the origin of its messages, and the id of the message in question."""

    origin: str
    message: str

    def __str__(self) -> str:
        return f"{self.origin} {self.message}"


@dataclass(frozen=True, slots=True)
class Slotless:
    """Who sends a scheduled task without a slot; ``entry``: the one that sends such a message, empty for none or many.

    ``origin``: the sending process, as celery names it in the message.
    """

    task: str
    entry: str
    origin: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a candidate is: the holder id and what a person needs to find the process."""

    holder: HolderId
    host: str
    pid: int
    release: str


@dataclass(frozen=True, slots=True)
class Term:
    """One leadership: the epoch under which its claims are admitted, and whose it is."""

    epoch: Epoch
    side: Side
    holder: HolderId


@dataclass(frozen=True, slots=True)
class Limits:
    """From when on (inclusive) and until when (exclusive) an entry may be sent at all; None for no limit."""

    not_before: dt.datetime | None = None
    not_after: dt.datetime | None = None

    def admit(self, instant: dt.datetime) -> bool:
        """Whether the entry may be sent at ``instant``."""
        begun = self.not_before is None or self.not_before <= instant
        return begun and (self.not_after is None or instant < self.not_after)

    def eligible_since(self, instant: dt.datetime) -> dt.datetime:
        """``instant``, or just before ``not_before`` where that is later."""
        return instant if self.not_before is None else max(instant, self.not_before - dt.timedelta.resolution)


UNLIMITED: Final = Limits()
