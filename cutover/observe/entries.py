"""The entries of the active side, a record each, worst first: last slot, its run, next due, and what is wrong.

An index look-up an entry and a bounded number of statements, however many slots the ledger has.
"""

import datetime as dt
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from celery.schedules import BaseSchedule
from django.db.models import Count, QuerySet, Sum, Value
from django.db.models.functions import Coalesce

from cutover import models
from cutover.ledger.database import outages
from cutover.ledger.fence import AHEAD
from cutover.ledger.pauses import Pause
from cutover.observe.conditions import RANK, Condition, Facts, Finding, Severity, judge
from cutover.observe.slot import Life, with_losses
from cutover.phases.context import Context
from cutover.phases.evidence import unstarted
from cutover.phases.evidence.lateness import MISSED, backlog, is_catching_up, next_slot, unsettled
from cutover.phases.evidence.pauses import in_words
from cutover.phases.evidence.side import Sending
from cutover.phases.evidence.unstarted import Patience
from cutover.schedules.timetable import Timetables
from cutover.types import UNLIMITED, Cursor, EntryName, Limits, RunOutcome, Side, SlotState

DAY = dt.timedelta(days=1)
_ENDED: Final = (RunOutcome.SUCCEEDED, RunOutcome.FAILED, RunOutcome.LOST)
NEVER: Final = dt.datetime.max.replace(tzinfo=dt.UTC)
_MANY: Final = 1_000
"""Of so many entries whose slot before was not run either, no worker may record runs: no older ones are looked at."""
_LOOKED_BACK: Final = (1, 10, 100)
"""How many slots of an entry are looked at for the latest run that has ended: most often that of the one before.

What waits for longer than a minute is wrong by itself: in that time an entry of a second has sixty.
"""
_MOST_ROWS: Final = 10_000
"""How many slots are read at most to look back once more: half a second's work."""
WITH_PASSED_OVER: Final = Count("pk") + Coalesce(Sum("passed_over"), 0)
"""How many slots were missed by their rows: those that were passed over before them have none."""


class EntryRecord(NamedTuple):
    """One entry of the active side. ``last``: its latest slot; ``next_due``: its first one after that, None for none.

    Both may be None: an entry that was never sent, one that has no further slot, or that no leader has seen yet.
    ``findings``: the worst first.
    """

    entry: EntryName
    side: Side
    last: Life | None = None
    next_due: dt.datetime | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def severity(self) -> Severity:
        """That of the worst finding."""
        return self.findings[0].condition.severity if self.findings else Severity.WELL

    def has(self, condition: Condition) -> bool:
        """Whether that is wrong with it."""
        return condition in [one.condition for one in self.findings]


@dataclass(frozen=True, slots=True)
class Known:
    """What was found out of entries elsewhere: why some cannot be sent, which have no row, whose task is unknown.

    ``deduplicated``: further messages in the last day. ``pauses``: those in effect.
    """

    unsendable: Mapping[str, str] = field(default_factory=dict)
    without_row: Collection[str] = ()
    unknown_tasks: Mapping[str, str] = field(default_factory=dict)
    deduplicated: Mapping[str, int] = field(default_factory=Counter)
    pauses: Sequence[Pause] = ()


def read(context: Context, sending: Sending, known: Known, only: EntryName | None = None) -> list[EntryRecord]:
    """Every entry of the side that is ``sending``, worst first; or ``only`` one. Raises LedgerUnavailable."""
    tables, limits, unread = Timetables(), sending.limits, unsettled(context, sending.limits)
    fence = context.ledger.fence.read()
    by_now = fence.now + AHEAD
    cursors, latest = context.ledger.cursors.latest_rows(by_now, Life.of, only)
    every = models.Slot.objects.using(context.alias).order_by()
    slots = every if only is None else every.filter(entry=only)
    with outages(context.alias):
        # Few, and in the order of an index: SQLite would go through that of all slots to group them, and once it was
        # analyzed to find them too.
        future = Counter(slots.filter(due_at__gt=by_now).order_by("due_at").values_list("entry", flat=True))
        missed = _missed(slots.filter(MISSED, due_at__gt=fence.now - DAY, due_at__lte=by_now))
    lives = {life.entry: life for life in with_losses(context, latest.values())}
    not_run = _not_run(context, lives, Patience.of(context, fence, sending.delays))
    claimed_at = [life.claimed_at for life in lives.values() if _is_every(context, life)]
    if only is not None and claimed_at:  # others may be worked off before it
        with outages(context.alias):
            claimed_at += every.order_by("-pk").values_list("claimed_at", flat=True)[:1]
    is_progress = is_catching_up(claimed_at, fence.now)
    to_end = [one for entry, one in lives.items() if _is_to_end(one) and entry not in not_run]
    ended = _ended_before(context, to_end, by_now)
    records = []
    names = {*sending.schedules, *known.unsendable, *known.without_row}
    for name in names if only is None else names & {only}:
        entry = EntryName(name)
        cursor = cursors.get(entry)
        schedule = sending.schedules.get(entry)
        due_at = _next(tables, schedule, cursor, limits.get(entry, UNLIMITED))
        has_backlog = is_progress and schedule is not None and entry not in unread
        facts = Facts(
            now=fence.now,
            last=lives.get(entry),
            next_due=due_at,
            unsent=known.unsendable.get(name, ""),
            is_without_row=name in known.without_row,
            unknown_task=known.unknown_tasks.get(name, ""),
            future=future.get(name, 0),
            missed=missed.get(name, 0),
            deduplicated=known.deduplicated.get(name, 0),
            is_unsettled=entry in unread,
            backlog=backlog(context, entry, tables.of(schedule), due_at, fence.now) if has_backlog else 0,
            is_not_run=name in not_run,
            guarded_since=fence.guarded_since,
            is_seen=cursor is not None,
            ended=ended.get(entry),
            paused=next((in_words(one) for one in known.pauses if one.is_of(entry)), ""),
        )
        records.append(EntryRecord(entry, sending.side, facts.last, due_at, judge(facts)))
    return sorted(records, key=worst_first)


def worst_first(record: EntryRecord) -> tuple[int, dt.datetime, str]:
    """The key by which records are sorted: the worst, of equals the one that is due next, then by name."""
    rank = RANK[record.findings[0].condition] if record.findings else len(RANK)
    return rank, record.next_due or NEVER, record.entry


def _next(
    tables: Timetables, schedule: BaseSchedule | None, cursor: Cursor | None, limits: Limits
) -> dt.datetime | None:
    """The next slot; None too for a schedule of the project's own that raises: the leader logs what it does."""
    with suppress(Exception):
        if schedule is not None and cursor is not None:
            return next_slot(tables.of(schedule), cursor, limits)
    return None


def _missed(slots: QuerySet[models.Slot]) -> dict[str, int]:
    # By an expression: for a column SQLite, once it was analyzed, goes through the slots of every entry in turn.
    return dict(slots.values_list(Coalesce("entry", Value(""))).annotate(of=WITH_PASSED_OVER))


def _not_run(context: Context, lives: Mapping[EntryName, Life], patience: Patience) -> set[EntryName]:
    waiting = {entry: life.published_at for entry, life in lives.items() if life.is_waiting and life.published_at}
    found = {entry for entry, published_at in waiting.items() if patience.is_over(entry, published_at)}
    young = [entry for entry, published_at in waiting.items() if published_at >= patience.until(entry)]
    return found | unstarted.behind(context, patience, young)


def _ended_before(context: Context, lives: Sequence[Life], by_now: dt.datetime) -> dict[EntryName, Life]:
    """The latest slot before each of these whose run has ended, where it was not well: nor is the entry in between."""
    found, left = dict[EntryName, Life](), {life.entry: life.due_at for life in lives}
    if left:  # nearly all are well: to read their slots as well would take as long as those of all entries
        outcomes = context.ledger.cursors.outcomes_before(by_now, left)
        well = {None, RunOutcome.SUCCEEDED} if len(left) > _MANY else {RunOutcome.SUCCEEDED}
        left = {entry: due_at for entry, due_at in left.items() if outcomes.get(entry) not in well}
    for most in _LOOKED_BACK:
        if left and len(left) * most <= max(_MOST_ROWS, len(lives)):
            rows = context.ledger.cursors.rows_before(left, Life.of, most)
            for life in with_losses(context, (one for slots in rows.values() for one in slots)):
                if life.outcome in _ENDED:
                    found.setdefault(life.entry, life)
            left = {entry: due_at for entry, due_at in left.items() if entry not in found and len(rows[entry]) == most}
    return found


def _is_to_end(life: Life) -> bool:
    return life.outcome is RunOutcome.RUNNING or (life.started_at is None and life.state is not SlotState.MISSED)


def _is_every(context: Context, life: Life) -> bool:
    return context.config.catch_up_rule(EntryName(life.entry)).sends_every
