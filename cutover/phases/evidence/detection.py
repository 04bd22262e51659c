"""What workers can hear of a beat without the lease, and what they count of messages that could be one's.

From celery 5.7 on a beat marks its messages. Below that they are as people's own: what workers can tell apart then is
decided by the celery that the site runs, as its workers say, and by the operator's word.
"""

import datetime as dt
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from cutover import clock
from cutover.conf import near
from cutover.errors import PhaseFailed
from cutover.foreign import text_of
from cutover.ledger.database import outages
from cutover.models import Slot, SlotlessSender
from cutover.phases.context import Context
from cutover.phases.evidence.side import enabled_rows
from cutover.phases.wording import inline
from cutover.plural import counted
from cutover.schedules.refusals import EntriesRefused
from cutover.types import SentBy
from cutover.workers import processes

MARKS: Final = (5, 7)
"""From this celery on beats mark their messages."""
LATEST: Final = 200
"""How many of the latest slots are looked at for the workers that ran them."""
TOGETHER: Final = dt.timedelta(hours=1)
"""Of these, the runs of the last hour before the latest run: workers from before it may have gone since."""
LEAST_AT_SLOTS: Final = 3
"""An origin is a probable beat from so many messages at slots' instants on, and two thirds of all that it sent."""
ALIKE: Final = "several rows send it alike, and cannot be told apart"
OTHERS: Final = "all"
"""Instead of a task: every scheduled task of which nothing has been said."""


@dataclass(frozen=True, slots=True)
class Unheard:
    """What cannot be heard: the ``tasks`` whose sender nobody has named, and the workers' ``celery``, "" for unknown.

    ``by_hand``: the tasks that, by the operator's word, people send too; a beat that sends these is not heard either.
    """

    celery: str
    tasks: Sequence[str]
    by_hand: Sequence[str] = ()

    def __str__(self) -> str:
        marks = f"celery {self.celery}, which workers run, marks no beat's message"
        return f"cannot be heard for tasks {inline(self.tasks, ', ')}: {marks}"


REMEDY: Final = (
    "name the tasks that only a beat sends with --only-beat-sends TASK, and those that are called by hand with "
    f"--called-by-hand TASK ({OTHERS}: all others); or move to celery 5.7"
)


def unheard(context: Context) -> Unheard:
    """For which tasks a beat without the lease cannot be heard; none where the workers' celery is not known."""
    words, celery = sent_by(context), oldest_celery(context)
    is_deaf = bool(celery) and not _marks(celery)
    tasks = sorted(scheduled(context) - words.keys()) if is_deaf else []
    by_hand = sorted(task for task, sent_by in words.items() if sent_by is SentBy.HAND) if is_deaf else []
    return Unheard(celery, tasks, by_hand)


def oldest_celery(context: Context) -> str:
    """The oldest celery of those that workers have answered to this command, or that have run the latest slots."""
    found = context.celery_of_workers
    if not found:
        with outages(context.alias):
            latest = Slot.objects.using(context.alias).order_by("-due_at").values_list("run_started_at", "run_by")
            runs = [(at, processes.celery_of(run_by)) for at, run_by in latest[:LATEST] if at is not None]
        since = max((at for at, _ in runs), default=clock.now()) - TOGETHER
        found = {celery for at, celery in runs if celery and at >= since}
    return min(found, key=_numbers, default="")


def sent_by(context: Context) -> dict[str, SentBy]:
    """Who sends a task without a slot, as the setting and the operator say."""
    words = dict.fromkeys(context.config.sent_by_beat_alone, SentBy.BEATS_ALONE)
    return words | context.ledger.senders.sent_by() | context.sent_by


def scheduled(context: Context) -> set[str]:
    """The tasks of both sides' entries."""
    with outages(context.alias):
        tasks = set(enabled_rows(context).values_list("task", flat=True))
    with suppress(EntriesRefused):  # the gate on the code schedule says so
        tasks.update(text_of(entry.task) for entry in context.entries.values())
    return tasks


def named(context: Context, given: Sequence[str], besides: Sequence[str]) -> list[str]:
    """The tasks that the operator names; ``all``: those of which nothing was said, nor is ``besides``.

    Raises PhaseFailed for what is no scheduled task.
    """
    known = scheduled(context)
    for task in given:
        if task != OTHERS and task not in known:
            raise PhaseFailed(f"No entry sends a task {task!r}{near(task, known)}. Nothing was remembered of it.")
    others = known - sent_by(context).keys() - {*given, *besides} if OTHERS in given else set()
    return sorted({*given, *others} - {OTHERS})


def slotless(context: Context) -> list[SlotlessSender]:
    """What workers have counted of scheduled tasks without a slot, by task and origin; the latest first."""
    found: dict[tuple[str, str], SlotlessSender] = {}
    for row in context.ledger.senders.read():
        one = found.setdefault((row.task, row.origin), row)
        if one is not row:
            one.messages, one.at_slots = one.messages + row.messages, one.at_slots + row.at_slots
            one.first_seen_at = min(one.first_seen_at, row.first_seen_at)
    return list(found.values())


def alike(context: Context) -> set[str]:
    """The tasks that several rows send with the same arguments: of which row such a message is, nobody can tell."""
    with outages(context.alias):
        rows = Counter(enabled_rows(context).values_list("task", "args", "kwargs"))
    return {task for (task, _, _), count in rows.items() if count > 1}


def probable(context: Context) -> Mapping[str, tuple[dt.datetime, str]]:
    """The origins that send as a beat does, when slots are due: when last, and what they sent, in words.

    Tasks that are called by hand, as the operator says, do not count.
    """
    words, of_origin = sent_by(context), defaultdict(list)
    for row in slotless(context):
        if words.get(row.task) is not SentBy.HAND:
            of_origin[row.origin].append(row)
    found = {}
    for origin, rows in of_origin.items():
        messages, at_slots = sum(row.messages for row in rows), sum(row.at_slots for row in rows)
        if at_slots >= LEAST_AT_SLOTS and 3 * at_slots >= 2 * messages:
            what = (
                f"{at_slots} of its {counted(messages, 'message')} of {inline(sorted(row.task for row in rows), ', ')}"
            )
            found[origin] = max(row.last_seen_at for row in rows), f"{what} came when a slot was due"
    return found


def _marks(celery: str) -> bool:
    return _numbers(celery) >= MARKS


def _numbers(version: str) -> tuple[int, ...]:
    """The first two numbers of a version; none of what is no version."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
