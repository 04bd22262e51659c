"""What the ledger proves since the switch: each slot that was due was claimed, published and run, once.

Once is the table's own doing (unique slot, one conditional start); found is what is absent, stuck, missed or too much.
"""

import datetime as dt
import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from cutover import clock, models
from cutover.fields import instant
from cutover.ledger.database import outages
from cutover.phases.context import Context
from cutover.phases.evidence import edits, sent, side
from cutover.phases.wording import instant as in_words
from cutover.schedules import overlay
from cutover.schedules.due import next_due, within
from cutover.schedules.fingerprint import fingerprint
from cutover.schedules.timetable import Timetable, timetable
from cutover.types import UNLIMITED, Cursor, EntryName, Limits, Side, SlotState

PATIENCE: Final = dt.timedelta(minutes=1)
"""How long a slot may stay claimed, or published and ready to run, before that it is not run counts against it."""


Slots = Mapping[dt.datetime, models.Slot]


@dataclass(frozen=True, slots=True)
class Finding:
    """One slot, and what is wrong with it or still awaited."""

    entry: EntryName
    due_at: dt.datetime
    reason: str

    def __str__(self) -> str:
        return f"{self.entry} due {in_words(self.due_at)}: {self.reason}"


class Why(StrEnum):
    """Why nothing is proved of an entry."""

    NOTHING_DUE = "nothing of it has fallen due since the switch"
    NOT_READ = "its row was changed a moment ago, and is read by the leader soon"
    NO_ROW = "it has no row: nothing sends it"
    DISABLED = "its row is disabled: nothing sends it"


@dataclass(slots=True)
class Evidence:
    """All findings after ``since``, up to ``until``. ``options``: each entry's overlay.

    ``proven``: how many slots of each entry are. ``unproven``: of the entries of which nothing is, why. ``upcoming``:
    timetable and next slot of each that falls due again. ``moved``: the entries that the cutover moves, of which each
    is to be proved; others have rows that it did not bring in.
    """

    since: dt.datetime
    until: dt.datetime
    options: Mapping[EntryName, Mapping[str, Any]]
    moved: set[EntryName] = field(default_factory=set)
    others: set[EntryName] = field(default_factory=set)
    proven: Counter[EntryName] = field(default_factory=Counter)
    deduplicated: int = 0
    failures: list[Finding] = field(default_factory=list)
    pending: list[Finding] = field(default_factory=list)
    unproven: dict[EntryName, Why] = field(default_factory=dict)
    upcoming: dict[EntryName, tuple[Timetable, dt.datetime]] = field(default_factory=dict)

    def due_by(self, count: int) -> dt.datetime | None:
        """When ``count`` (>= 1) more slots will have fallen due; None when that is never."""
        ahead = heapq.merge(*(_slots(table, at) for table, at in self.upcoming.values()))
        return next(itertools.islice(ahead, count - 1, None), None)

    def next_due(self, entry: EntryName) -> dt.datetime | None:
        """When that entry falls due next; None where it does not."""
        return self.upcoming[entry][1] if entry in self.upcoming else None

    def to_prove(self) -> dict[EntryName, Why]:
        """The entries that the cutover moves and of which nothing is proved, and why; by name."""
        return {name: self.unproven[name] for name in sorted(self.moved & self.unproven.keys())}


def gather(context: Context, since: dt.datetime, until: dt.datetime) -> Evidence:
    """Compare the schedule of the database side with the ledger, over ``(since, until]``.

    Raises LedgerUnavailable; for the code schedule of this process ConfigurationError or EntriesRefused.
    """
    with outages(context.alias):
        rows, limits, kept = side.schedules(context, Side.DATABASE), side.limits(context), overlay.load(context.alias)
        entries = {EntryName(e.name): e for e in models.Entry.objects.using(context.alias).filter(active=True)}
        slots = models.Slot.objects.using(context.alias)
        before = {name: cursor.last for name, cursor in context.ledger.cursors.read(since).items()}
        found: dict[EntryName, dict[dt.datetime, models.Slot]] = defaultdict(dict)
        for slot in slots.filter(due_at__gt=since, due_at__lte=until).order_by("due_at").iterator():
            found[EntryName(slot.entry)][slot.due_at] = slot
    evidence = Evidence(since, until, {name: each.options for name, each in kept.items()})
    for name in sorted(rows.keys() | found.keys()):
        schedule, entry, limit = rows.get(name), entries.get(name), limits.get(name) or UNLIMITED
        if schedule is None or entry is None or (entry.fingerprint, entry.limits) != (fingerprint(schedule), limit):
            if schedule is not None:
                evidence.unproven[name] = Why.NOT_READ
            for slot in found[name].values():
                _judge(evidence, name, slot)
            continue
        earlier = [at for at in found[name] if at <= max(since, entry.eligible_since)]
        last = max([*earlier, *filter(None, [before.get(name)])], default=None)
        table = timetable(schedule)
        # The cadence is counted as the leader counts it; what counts is what is owed since the switch.
        cursor = within(limit, Cursor(last, entry.eligible_since), table)
        cursor = Cursor(cursor.origin, max(since, cursor.eligible_since))
        _prove(evidence, name, table, cursor, limit, found[name])
    _expect(context, evidence, set(rows))
    return evidence


def _expect(context: Context, evidence: Evidence, sent_now: set[EntryName]) -> None:
    """Which entries are to be proved: those that were imported, by the name that their row has now; those of code too.

    One whose row was ended or disabled after it had been proved has nothing left to prove.
    """
    present = edits.read(context.alias)
    for entry in present.entries:
        name = EntryName(entry.name)
        row = present.rows.get(name, present.renamed.get(name))
        name = EntryName(row.name) if row is not None else name
        evidence.moved.add(name)
        if name not in sent_now and not evidence.proven[name]:
            evidence.unproven[name] = Why.DISABLED if row is not None else Why.NO_ROW
    for name in sent.without_row(context, declared=True):
        evidence.moved.add(name)
        evidence.unproven[name] = Why.NO_ROW
    evidence.others = sent_now - evidence.moved
    for name in [name for name, why in evidence.unproven.items() if why is Why.NOTHING_DUE]:
        if evidence.proven[name] and name not in evidence.upcoming:
            del evidence.unproven[name]


def _prove(evidence: Evidence, name: EntryName, table: Timetable, cursor: Cursor, limit: Limits, found: Slots) -> None:
    expected = set()
    for due_at in _slots(table, next_due(table, cursor)):
        if limit.not_after is not None and due_at >= limit.not_after:
            break
        if due_at > evidence.until:
            evidence.upcoming[name] = (table, due_at)
            break
        expected.add(due_at)
        if (slot := found.get(due_at)) is None:
            evidence.failures.append(Finding(name, due_at, "was never claimed"))
        else:
            _judge(evidence, name, slot)
    if not expected:
        evidence.unproven[name] = Why.NOTHING_DUE
    for due_at, slot in found.items():
        # Of a schedule or an end that it had before: what became of it counts all the same.
        if due_at <= cursor.eligible_since or not limit.admit(due_at):
            _judge(evidence, name, slot)
        elif due_at not in expected:
            said = f"is no slot of the entry's schedule; {slot.reason or f'claimed under epoch {slot.epoch}'}"
            evidence.failures.append(Finding(name, due_at, said))


def _slots(table: Timetable, due_at: dt.datetime | None) -> Iterator[dt.datetime]:
    """That slot and every one that follows."""
    while due_at is not None:
        yield due_at
        due_at = table.next_after(due_at)


def _judge(evidence: Evidence, name: EntryName, slot: models.Slot) -> None:
    evidence.deduplicated += slot.deduplicated
    if slot.state == SlotState.MISSED:
        more = f" (and {slot.passed_over} older ones)" if slot.passed_over else ""
        evidence.failures.append(Finding(name, slot.due_at, f"was missed: {slot.reason}{more}"))
    elif slot.run_started_at is not None and slot.published_at is not None:
        evidence.proven[name] += 1
    else:
        said = "published, its run not started" if slot.published_at else "claimed, not published"
        overdue = clock.now() - _ready_at(slot, evidence.options.get(name, {})) > PATIENCE
        (evidence.failures if overdue else evidence.pending).append(Finding(name, slot.due_at, said))


def _ready_at(slot: models.Slot, options: Mapping[str, Any]) -> dt.datetime:
    """When a worker may start the slot's message at the earliest; of one not published yet, when it was claimed."""
    claimed_at: dt.datetime = slot.claimed_at
    if slot.published_at is None:
        return claimed_at
    eta = options.get("eta")
    waited: dt.datetime = slot.published_at + dt.timedelta(seconds=options.get("countdown") or 0)
    return max(waited, instant(eta)) if isinstance(eta, dt.datetime) else waited
