"""What was missed and can be had back: rows of the ledger, and slots that it has only counted, worked out again.

Of a long gap the latest slots have rows, and the oldest of these counts the others. Which those are the timetable says,
as long as the entry's schedule is the one that it was.
"""

import datetime as dt
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from django.db.models import Q

from cutover import models
from cutover.ledger.database import outages
from cutover.ledger.replays import Piece
from cutover.phases.context import Context
from cutover.phases.evidence import side as sides
from cutover.schedules.timetable import ENUMERATED, Timetable, each, interval, timetable
from cutover.types import EntryName, Side, SlotState

MARGIN: Final = dt.timedelta(minutes=1)
"""By how much a slot without a row is to be younger than the retention: the ledger is about to forget such slots."""
PIECE: Final = 500
"""How many slots are asked for in one commit, which holds the fence."""
MOST: Final = 100_000
"""How many slots one command asks for: each is worked out, and kept in memory."""
NO_ENTRY: Final = "the {} side has no such entry"
OTHER_SCHEDULE: Final = "they were only counted, and its schedule has changed since: which they were is not known"
TOO_OLD: Final = "they were only counted, and are older than RETENTION: whether they ran is not known any more"


@dataclass(frozen=True, slots=True)
class Gap:
    """Missed slots of one entry in a row, oldest first: ``unlisted``, then those with a row, by instant and key.

    ``older``: how many slots before the first of ``unlisted`` are not asked for; ``count``: what the row has counted.
    """

    entry: EntryName
    at: dt.datetime
    key: int
    unlisted: Sequence[dt.datetime] = ()
    count: int = 0
    older: int = 0
    is_listed: bool = True

    @property
    def instants(self) -> list[dt.datetime]:
        """Every slot of it that is asked for, oldest first."""
        return [*self.unlisted, *([self.at] if self.is_listed else [])]


@dataclass(frozen=True, slots=True)
class Refused:
    """Missed slots of an entry that cannot be had back, how many, and why."""

    entry: str
    slots: int
    reason: str


@dataclass(frozen=True, slots=True)
class Replayable:
    """What was chosen of what was missed; ``asked``: what of it was asked for before and waits for a leader.

    ``has_more``: there is more than one command asks for.
    """

    gaps: Sequence[Gap]
    refused: Sequence[Refused]
    asked: int = 0
    has_more: bool = False

    @property
    def slots(self) -> int:
        """How many slots can be had back."""
        return sum(len(gap.instants) for gap in self.gaps)

    def pieces(self) -> Iterator[list[Piece]]:
        """All of it in commits of bounded size, oldest first; each leaves the counts true, whatever follows."""
        piece: list[Piece] = []
        size = 0
        for gap in self.gaps:
            for one in _parts(gap):
                if size + len(one) > PIECE and piece:
                    yield piece
                    piece, size = [], 0
                piece.append(one)
                size += len(one)
        if piece:
            yield piece


def read(
    context: Context,
    side: Side,
    entry: EntryName | None = None,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
) -> Replayable:
    """What was missed of the entries of ``side``, or of one ``entry``, due from ``since`` to ``until``, both included.

    What was missed under a name that an entry had before (``RENAMED``) is had back under that, by what it became.
    Raises LedgerUnavailable, and as ``side.schedules``.
    """
    schedules = sides.schedules(context, side)
    now = context.ledger.fence.read_now()
    oldest = now - context.config.retention + MARGIN
    span = since or dt.datetime.min.replace(tzinfo=dt.UTC), until or now
    gaps, refused, asked, total = list[Gap](), Counter[tuple[str, str]](), 0, 0
    with outages(context.alias):
        eligible = dict(models.Entry.objects.using(context.alias).values_list("name", "eligible_since"))
        for row in _rows(context, entry, since, until, now):
            name, is_missed = EntryName(row.entry), row.state == SlotState.MISSED and row.run_started_at is None
            is_listed = is_missed and row.replay_asked_at is None and row.due_at <= span[1]
            asked += is_missed and row.replay_asked_at is not None
            gap = Gap(name, row.due_at, row.pk, count=row.passed_over, is_listed=is_listed)
            present = context.config.renames.present(name, schedules)
            if present is None:
                refused[name, NO_ENTRY.format(side)] += row.passed_over + is_listed
                continue
            if row.passed_over and (present not in eligible or row.due_at <= eligible[present]):
                refused[name, OTHER_SCHEDULE] += row.passed_over
            elif row.passed_over:
                counted = _counted(timetable(schedules[present]), row, _before(context, row, eligible[present]), oldest)
                refused[name, TOO_OLD] += counted.too_old
                gap = _chosen(gap, counted.instants, *span)
            if gap.instants:
                gaps.append(gap)
                total += len(gap.instants)
            if total >= MOST:
                break
    gaps.sort(key=lambda gap: gap.instants[0])
    named = [Refused(name, count, why) for (name, why), count in sorted(refused.items()) if count]
    return Replayable(gaps, named, asked, total >= MOST)


def _rows(
    context: Context,
    entry: EntryName | None,
    since: dt.datetime | None,
    until: dt.datetime | None,
    now: dt.datetime,
) -> Iterable[models.Slot]:
    """Rows of what was missed, and those that were replayed and still count others; oldest first, each by an index."""
    slots = models.Slot.objects.using(context.alias).filter(due_at__lte=now).order_by("due_at", "entry")
    slots = slots if entry is None else slots.filter(entry__in=[entry, *context.config.renames.before(entry)])
    slots = slots if since is None else slots.filter(due_at__gte=since)
    # What a row counts is older than itself.
    slots = slots if until is None else slots.filter(Q(due_at__lte=until) | Q(passed_over__gt=0))
    missed = slots.filter(state=SlotState.MISSED, run_started_at=None)
    counting = slots.filter(replay_asked_at__isnull=False, passed_over__gt=0).exclude(state=SlotState.MISSED)
    return heapq.merge(
        missed.iterator(chunk_size=2_000), counting.iterator(chunk_size=2_000), key=lambda row: (row.due_at, row.entry)
    )


def _chosen(gap: Gap, instants: Sequence[dt.datetime], since: dt.datetime, until: dt.datetime) -> Gap:
    """The gap with those of the slots that it has counted, which are ``instants``, that lie in the span."""
    unlisted = [at for at in instants if since <= at <= until]
    if not unlisted:
        return gap
    after = sum(1 for at in instants if at > unlisted[-1])
    return replace(gap, unlisted=unlisted, older=max(0, gap.count - len(unlisted) - after))


class _Counted(NamedTuple):
    """Slots that a row has counted, oldest first, and how many more are too old."""

    instants: Sequence[dt.datetime]
    too_old: int


def _counted(table: Timetable, row: models.Slot, begin: dt.datetime, oldest: dt.datetime) -> _Counted:
    """The slots before ``row`` that it counts, the latest of very many; without those older than ``oldest``."""
    if (step := interval(table)) is not None:
        young = min(row.passed_over, max(0, (row.due_at - oldest) // step))
        instants = [row.due_at - number * step for number in range(min(young, MOST), 0, -1)]
        return _Counted(instants, row.passed_over - young)
    found = [at for at in each(table, table.next_after(begin), row.due_at) if at < row.due_at]
    if row.passed_over < ENUMERATED // 2:  # of a very long gap the count is a bound
        found = found[-row.passed_over :]
    young_ones = [at for at in found if at >= oldest]
    return _Counted(young_ones, len(found) - len(young_ones))


def _before(context: Context, row: models.Slot, eligible_since: dt.datetime) -> dt.datetime:
    """From where the entry went on, in the gap that ends with ``row``."""
    earlier = models.Slot.objects.using(context.alias).filter(entry=row.entry, due_at__lt=row.due_at)
    last = earlier.order_by("-due_at").values_list("due_at", flat=True).first()
    return eligible_since if last is None else max(last, eligible_since)


def _parts(gap: Gap) -> Iterator[Piece]:
    """A gap in parts, oldest first: what each leaves is counted by the row, and before its own first slot."""
    count, older = gap.count, gap.older
    for start in range(0, len(gap.unlisted), PIECE):
        part = gap.unlisted[start : start + PIECE]
        yield Piece(gap.entry, (), gap.key, count, older, part)
        count, older = max(0, count - older - len(part)), 0
    if gap.is_listed:
        yield Piece(gap.entry, (gap.key,))


def by_entry(gaps: Sequence[Gap]) -> Mapping[EntryName, list[dt.datetime]]:
    """Every slot that is asked for, oldest first, of each entry."""
    found: dict[EntryName, list[dt.datetime]] = {}
    for gap in gaps:
        found.setdefault(gap.entry, []).extend(gap.instants)
    return {name: sorted(instants) for name, instants in found.items()}
