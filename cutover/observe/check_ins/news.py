"""Pure: what there is to tell of a slot, by its row in the ledger and by what has been told of it."""

import datetime as dt
import uuid
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

from cutover.beats.missed import WITHHELD
from cutover.ledger.claims import slot_of
from cutover.types import RunOutcome, Slot, SlotState


class Word(StrEnum):
    """What is told."""

    START = "start"
    SUCCESS = "success"
    FAIL = "fail"
    MISSED = "missed"


@dataclass(frozen=True, slots=True)
class CheckIn:
    """One word about one slot; ``key``: the id of the slot's message, whoever tells it. ``at``: when it came true.

    ``took``: of an end, since the first start. ``reason``: of a missed slot. ``is_outdated``: the end of a later run
    of the entry has been told already.
    """

    word: Word
    slot: Slot
    key: uuid.UUID
    at: dt.datetime
    took: dt.timedelta | None = None
    reason: str = ""
    is_outdated: bool = False


class Told(IntEnum):
    """What has been told of a slot of which more may come."""

    NOTHING = 0
    MISSED = 1
    START = 2


class Row(NamedTuple):
    """A slot as the ledger has it; the fields are those of ``models.Slot``."""

    pk: int
    entry: str
    due_at: dt.datetime
    task_id: uuid.UUID
    state: str
    claimed_at: dt.datetime
    run_started_at: dt.datetime | None
    run_ended_at: dt.datetime | None
    outcome: str | None
    reason: str

    @property
    def is_missed(self) -> bool:
        """Whether it will not be sent, as far as is known."""
        return self.state == SlotState.MISSED and self.run_started_at is None


_ENDS: Final = {RunOutcome.SUCCEEDED.value: Word.SUCCESS, RunOutcome.FAILED.value: Word.FAIL}
"""A run that is tried again has not ended; one whose worker of an older release recorded no outcome tells nothing."""


def news(row: Row, told: Told, now: dt.datetime, *, later_is_sent: bool = False) -> tuple[list[CheckIn], Told | None]:
    """What is to be told, in its order, and what has been told then; None: no more will come of this slot.

    A slot is missed for whoever waits for it only if no later one of its entry is sent in its stead, and if it was not
    the project's own choice.
    """
    slot = slot_of(row)
    if row.is_missed:
        if later_is_sent or row.reason == WITHHELD:
            return [], None
        is_new = told is Told.NOTHING
        return [CheckIn(Word.MISSED, slot, row.task_id, now, reason=row.reason)] if is_new else [], Told.MISSED
    if row.outcome is None or row.run_started_at is None:
        return [], told
    found = []
    if told is not Told.START:
        found.append(CheckIn(Word.START, slot, row.task_id, row.run_started_at))
    word = _ENDS.get(row.outcome)
    if word is None or row.run_ended_at is None:
        return found, Told.START
    ended_at = max(row.run_started_at, row.run_ended_at)  # by the clocks of two workers, where it was tried again
    return [*found, CheckIn(word, slot, row.task_id, ended_at, ended_at - row.run_started_at)], None
