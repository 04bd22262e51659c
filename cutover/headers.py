"""The message headers that cutover writes and reads; each name stands here alone."""

from typing import Final

ENTRY: Final = "cutover_entry"
DUE_AT: Final = "cutover_due_at"
EPOCH: Final = "cutover_epoch"
TASK: Final = "cutover_task"
"""A leader's message names its slot, the epoch under which that was claimed, and the task that is to run for it."""

SLOT: Final = frozenset({ENTRY, DUE_AT, EPOCH, TASK})

MESSAGE: Final = "cutover_message"
"""On an unmanaged beat's message whose slot was found: its own id. What has these headers under another id, has them
from a task that passed its own on."""

REDELIVERED: Final = "cutover_redelivered"
"""On a deferred message: what the broker knew of the first one is lost otherwise."""
ATTEMPT: Final = "cutover_attempt"
"""On a deferred message: the marks of starts that got no answer, though the ledger may have one of them, one a line."""
SEEN_AT: Final = "cutover_seen_at"
"""On a message that was deferred before its slot was known: when a worker saw it first."""
ORIGIN: Final = "cutover_origin"
"""On such a message: who sent the first one."""

OF_DEFERRED: Final = frozenset({REDELIVERED, ATTEMPT, SEEN_AT, ORIGIN})
"""What is said of one deferred message, and of nothing else: a run and what it sends have none of these."""

BEAT: Final = "celery_beat_task"
"""How celery 5.7 and later mark every message that a beat sends."""
ROW: Final = "periodic_task_name"
"""How django-celery-beat names the row; its admin's "run selected tasks" sets this one too, but not the other."""

ADDED_BY_BEATS: Final = frozenset({ROW, BEAT})
"""Headers that the beats themselves add to a message."""
