"""The figures of a period, counted by the database.

Two statements, or two for each core, look at every slot of the period; all others read the entries and slots that are
shown, by an index.
"""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from django.db.models import Case, Q, QuerySet, SmallIntegerField, Value, When
from django.db.models.lookups import GreaterThan

from cutover import models
from cutover.ledger.database import outages
from cutover.observe.report import delays
from cutover.observe.report.delays import Delays
from cutover.observe.report.expressions import DURATION_MS, FATES, NUMBERS, PUBLISHED_MS, STARTED_MS, Fate, fate
from cutover.observe.report.figures import SHOWN, Cell, EntryFigures, Figures, Listed, Moment, Period, period
from cutover.observe.report.summing import Part, magnitudes, parts_of, summed
from cutover.observe.slot import Life, with_losses
from cutover.phases.context import Context
from cutover.phases.evidence.judging import PATIENCE
from cutover.phases.evidence.lateness import OVERDUE
from cutover.phases.evidence.side import delays_of
from cutover.phases.evidence.side import read as sending
from cutover.phases.evidence.tally import CHECKSUM, Counting, PartNumber, Tally
from cutover.schedules import overlay
from cutover.types import EntryName, RunOutcome, Side, SlotState

_LATE_MS: Final = OVERDUE // dt.timedelta(milliseconds=1)
_LATE: Final = f"COUNT(CASE WHEN published_ms > {_LATE_MS} THEN 1 END)"
_SIDES: Final = (*Side,)
_SIDE: Final = Case(When(side=_SIDES[0], then=Value(0)), default=Value(1), output_field=SmallIntegerField())
"""A number as well: what is text in a group is compared for each slot, and on SQLite handed on in memory of its own."""

Slots = QuerySet[models.Slot]


def read(context: Context, since: dt.datetime, until: dt.datetime, proof: Counting | None = None) -> Figures:
    """Count what was due in ``(since, until]``. Raises LedgerUnavailable, and as ``Context.entries``.

    ``proof``: is given what the proof of that time would count, at the same look.
    """
    fence = context.ledger.fence.read()
    with outages(context.alias):
        slots = models.Slot.objects.using(context.alias).order_by()
        waits = delays_of({name: one.options for name, one in overlay.load(context.alias).items()})
        if fence.side is Side.CODE:  # before phase 2 there are no overlays
            waits = {**waits, **sending(context, Side.CODE).delays}
        over = period(since, _known_since(context, since, until), until)
        slots = slots.filter(due_at__gt=since, due_at__lte=until)
        slots = slots.annotate(
            fate=fate(fence.now - PATIENCE, fence.guarded_since, waits), is_late=GreaterThan(PUBLISHED_MS, _LATE_MS)
        )
        known = models.Entry.objects.using(context.alias).filter(active=True).values_list("name", flat=True)
        parts = parts_of(slots, since)
        entries, tallies = _entries(slots, map(EntryName, known), parts, is_to_prove=proof is not None)
        if proof is not None:
            proof.since, proof.until, proof.tallies = since, until, tallies
        shown = [one.entry for one in entries[:SHOWN]]
        started_after = _started_after(slots, shown)
        entries = [replace(one, started=started_after.get(one.entry, one.started)) for one in entries]
        moments, published, started = _moments(slots, over, parts)
        listed = [_listed(context, slots, entries, kind) for kind in LISTS]
        return Figures(over, entries, _cells(slots, over, shown), moments, published, started, listed)


def _known_since(context: Context, since: dt.datetime, until: dt.datetime) -> dt.datetime:
    """``since``, or when the ledger begins to have all: an entry's latest slot and the latest terms stay longer."""
    config, terms = context.config, models.Term.objects.using(context.alias).order_by("started_at")
    began = [*terms.values_list("started_at", flat=True)[:1]]
    slots = models.Slot.objects.using(context.alias).order_by("due_at").values_list("due_at", "claimed_at")
    # A row's only slot may be sent however late it was seen.
    began += [max(due_at, claimed_at - config.catch_up_window) for due_at, claimed_at in slots[:1]]
    return min(until, max(since, until - config.retention, min(began, default=since)))


def _entries(
    slots: Slots, known: Iterable[EntryName], parts: Sequence[Part], *, is_to_prove: bool
) -> tuple[list[EntryFigures], dict[EntryName, Tally]]:
    """A row for each entry, fate and side. ``is_to_prove``: of each entry a tally, too.

    ``parts``: as ``parts_of`` has them. A row for each magnitude besides would be many times as many: of 10,000 entries
    more than a processor's caches hold.
    """
    of_entry: dict[EntryName, _Sums] = defaultdict(_Sums, {name: _Sums() for name in known})
    computed = slots.annotate(of_side=_SIDE, published_ms=PUBLISHED_MS, started_ms=STARTED_MS, took_ms=DURATION_MS)
    columns = computed.values(
        *("entry", "of_side", "fate", "passed_over", "deduplicated", "published_ms", "started_ms", "took_ms")
    )
    columns = columns.annotate(checksum=CHECKSUM) if is_to_prove else columns
    numbers = ("fate", "of_side")
    sums = ("COUNT(*)", _LATE, "SUM(passed_over)", "SUM(deduplicated)", "MAX(published_ms)")
    spans = ("COUNT(started_ms)", "MAX(started_ms)", "SUM(took_ms)", "COUNT(took_ms)", "MAX(took_ms)")
    checked = ("SUM(checksum)",) if is_to_prove else ()
    for (entry,), group, row in summed(columns, ("entry",), numbers, (*sums, *spans, *checked), parts):
        of_entry[entry].add(*group, *row)
    found = {name: one for name, one in of_entry.items() if is_to_prove and one.slots}
    tallies = {name: Tally(one.slots, int(one.checksum)) for name, one in found.items()}
    return sorted((one.figures(name) for name, one in of_entry.items()), key=_worst_first), tallies


@dataclass(slots=True)
class _Lateness:
    """How late slots are, as it is summed up."""

    sizes: dict[int, int] = field(default_factory=dict)
    longest_ms: float | None = None

    def add(self, size: int, slots: int, longest_ms: float | None) -> None:
        if longest_ms is not None:
            self.sizes[size] = self.sizes.get(size, 0) + slots
            self.longest_ms = _longer(self.longest_ms, longest_ms)

    def delays(self) -> Delays:
        return delays.delays(self.sizes, _whole(self.longest_ms))


@dataclass(slots=True)
class _Sums:
    """What the rows of one entry come to. A sum may be a decimal, as MariaDB has it, until it is told."""

    fates: dict[int, int] = field(default_factory=dict)
    sides: set[int] = field(default_factory=set)
    slots: int = 0
    late: int = 0
    passed_over: int = 0
    deduplicated: int = 0
    published_ms: float | None = None
    started: int = 0
    started_ms: float | None = None
    took_ms: float = 0
    ended: int = 0
    longest_ms: float | None = None
    checksum: int = 0

    def add(
        self,
        of: int,
        side: int,
        slots: int,
        late: int,
        passed_over: int,
        deduplicated: int,
        published_ms: float | None,
        started: int,
        started_ms: float | None,
        took_ms: float | None,
        ended: int,
        longest_ms: float | None,
        checksum: int = 0,
    ) -> None:
        self.slots += slots
        self.fates[of] = self.fates.get(of, 0) + slots
        self.sides.add(side)
        self.checksum += checksum
        self.passed_over += passed_over
        self.deduplicated += deduplicated
        self.late += late
        self.published_ms = _longer(self.published_ms, published_ms)
        self.started += started
        self.started_ms = _longer(self.started_ms, started_ms)
        self.took_ms, self.ended = self.took_ms + (took_ms or 0), self.ended + ended
        self.longest_ms = _longer(self.longest_ms, longest_ms)

    def figures(self, name: EntryName) -> EntryFigures:
        fates = {of: self.fates.get(number, 0) for of, number in reversed(NUMBERS.items())}
        fates[Fate.MISSED] += int(self.passed_over)
        return EntryFigures(
            entry=name,
            sides=sorted(_SIDES[number] for number in self.sides),
            fates=fates,
            late=self.late,
            deduplicated=int(self.deduplicated),
            passed_over=int(self.passed_over),
            published_longest_ms=_whole(self.published_ms),
            started=Delays(self.started, longest_ms=_whole(self.started_ms)),
            duration_mean_ms=round(int(self.took_ms) / self.ended) if self.ended else None,
            duration_longest_ms=_whole(self.longest_ms),
        )


def _longer(one_ms: float | None, other_ms: float | None) -> float | None:
    return max((length_ms for length_ms in (one_ms, other_ms) if length_ms is not None), default=None)


def _whole(length_ms: float | None) -> int | None:
    return None if length_ms is None else round(length_ms)


def _worst_first(one: EntryFigures) -> tuple[int | str, ...]:
    return (
        *(-one.fates[each] for each in Fate if each not in _WELL),
        -one.late,
        -one.deduplicated,
        not one.slots,
        one.entry,
    )


_WELL: Final = {Fate.SUCCEEDED, Fate.RUN, Fate.UNDER_WAY, Fate.RUNNING}


def _started_after(slots: Slots, shown: Sequence[EntryName]) -> dict[EntryName, Delays]:
    """How late the runs of these entries began, with percentiles."""
    if not shown:
        return {}
    columns = slots.filter(entry__in=shown).annotate(started_ms=STARTED_MS).values("entry", "started_ms")
    by_entry = defaultdict[EntryName, _Lateness](_Lateness)
    numbers = ("0", magnitudes(columns, "started_ms"))  # the first may not be null
    for (entry,), (_, size), (count, longest_ms) in summed(
        columns, ("entry",), numbers, ("COUNT(*)", "MAX(started_ms)")
    ):
        by_entry[EntryName(entry)].add(size, count, longest_ms)
    return {entry: one.delays() for entry, one in by_entry.items()}


def _moments(slots: Slots, over: Period, parts: Sequence[Part]) -> tuple[list[Moment], Sequence[int], Sequence[int]]:
    """A row for each bucket and pair of magnitudes."""
    computed = slots.annotate(bucket=_bucket(over), published_ms=PUBLISHED_MS, started_ms=STARTED_MS)
    columns = computed.values("bucket", "published_ms", "started_ms")
    by_bucket = defaultdict[int, tuple[_Lateness, _Lateness]](lambda: (_Lateness(), _Lateness()))
    whole: tuple[Counter[int], Counter[int]] = Counter(), Counter()
    numbers = ("bucket", magnitudes(columns, "published_ms"), magnitudes(columns, "started_ms"))
    spans = ("COUNT(*)", "MAX(published_ms)", "MAX(started_ms)")
    for _, (number, *sizes), (count, *longest) in summed(columns, (), numbers, spans, parts):
        for one, size, length_ms in zip(by_bucket[number], sizes, longest, strict=True):
            one.add(size, count, length_ms)
    for both in by_bucket.values():
        for all_, one in zip(whole, both, strict=True):
            all_.update(one.sizes)
    moments = [Moment(number, sent.delays(), run.delays()) for number, (sent, run) in sorted(by_bucket.items())]
    return moments, delays.histogram(whole[0]), delays.histogram(whole[1])


def _cells(slots: Slots, over: Period, shown: Sequence[EntryName]) -> list[Cell]:
    if not shown:
        return []
    computed = slots.filter(entry__in=shown).annotate(bucket=_bucket(over), of_side=_SIDE, published_ms=PUBLISHED_MS)
    columns = computed.values("entry", "bucket", "of_side", "fate", "passed_over", "deduplicated", "published_ms")
    numbers, sums = ("bucket", "fate", "of_side"), ("COUNT(*)", "SUM(passed_over)", _LATE, "SUM(deduplicated)")
    found = []
    for (entry,), (number, of, side), row in summed(columns, ("entry",), numbers, sums):
        count, passed_over, late, more = map(int, row)
        count += passed_over if FATES[of] is Fate.MISSED else 0
        found.append(Cell(EntryName(entry), number, _SIDES[side], FATES[of], count, late, more))
    return found


def _bucket(over: Period) -> PartNumber:
    return PartNumber("due_at", begin=over.begin, width=over.bucket_s)


_OF: Final[Mapping[str, tuple[Callable[[EntryFigures], int], Q]]] = {
    # By state too, for which there are indexes.
    "missed": (lambda one: one.fates[Fate.MISSED], Q(state=SlotState.MISSED, fate=NUMBERS[Fate.MISSED])),
    "unsent": (
        lambda one: one.fates[Fate.UNSENT] + one.fates[Fate.NOT_STARTED],
        Q(fate__in=[NUMBERS[Fate.UNSENT], NUMBERS[Fate.NOT_STARTED]])
        & (Q(state=SlotState.CLAIMED) | Q(state=SlotState.PUBLISHED, run_started_at=None)),
    ),
    "failed": (lambda one: one.fates[Fate.FAILED], Q(fate=NUMBERS[Fate.FAILED])),
    "lost": (lambda one: one.fates[Fate.RUNNING], Q(fate=NUMBERS[Fate.RUNNING])),
    "late": (lambda one: one.late, Q(is_late=True)),
    "deduplicated": (lambda one: one.deduplicated, Q(deduplicated__gt=0)),
}
_FEW: Final = 1_000
"""How many slots of a kind are found by their entries alone, and not by going through all slots from the latest on."""
LISTS: Final = tuple(_OF)
"""The kinds of slots that are listed; ``lost``: their process was gone before the run ended."""


def _listed(context: Context, slots: Slots, entries: Sequence[EntryFigures], kind: str) -> Listed:
    count, wanted = _OF[kind]
    having = sorted((one for one in entries if count(one)), key=count, reverse=True)
    total = sum(map(count, having))
    if not total:
        return Listed(kind, 0, ())
    chosen = having[:SHOWN]
    few = sum(map(count, chosen)) <= _FEW
    found = slots.filter(wanted, entry__in=[one.entry for one in chosen])
    if kind != "lost":
        return Listed(kind, total, with_losses(context, map(Life.of, _latest(found, SHOWN, few=few))))
    # Which of the runs that have not ended are lost nobody has recorded: the latest ones are asked after.
    lives = with_losses(context, map(Life.of, _latest(found, 10 * SHOWN, few=few)))
    lost = [one for one in lives if one.outcome is RunOutcome.LOST]
    return Listed(kind, len(lost), lost[:SHOWN])


def _latest(slots: Slots, most: int, *, few: bool) -> Iterable[models.Slot]:
    """The latest of some slots. ``few``: they are so few that to look for the latest first would be to look at all."""
    if not few:
        return slots.order_by("-due_at", "entry")[:most]
    return sorted(slots, key=lambda one: (-one.due_at.timestamp(), one.entry))[:most]
