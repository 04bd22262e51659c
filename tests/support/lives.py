"""A slot's life as tests tell it."""

import datetime as dt
import uuid
from typing import Any

from cutover.observe.slot import Life
from cutover.types import EntryName, RunOutcome, Side, SlotState

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
SECOND, MINUTE = dt.timedelta(seconds=1), dt.timedelta(minutes=1)


def life(**told: Any) -> Life:
    """A slot that was due a minute ago, sent at once, and has run well; but for what is told."""
    due_at = NOW - MINUTE
    well = {
        "entry": EntryName("a"),
        "due_at": due_at,
        "epoch": 1,
        "side": Side.CODE,
        "state": SlotState.PUBLISHED,
        "task_id": uuid.UUID(int=7),
        "claimed_at": due_at,
        "published_at": due_at,
        "started_at": due_at + SECOND,
        "ended_at": due_at + 3 * SECOND,
        "outcome": RunOutcome.SUCCEEDED,
        "run_by": "7@s#1 web-1/b/1:7:9:t:5.7.0:celery@",
    }
    return Life(**{**well, **told})
