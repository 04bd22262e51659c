"""What the ledger proves since the switch: each slot that was due was claimed, published and run, once.

Once is the table's own doing (unique slot, one conditional start); found is what is absent, stuck, missed or too much.
The database counts; read are the slots that are not as they should be, by indexes of those alone, and those of sections
of an entry's time in which they are not the ones that were due.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, TypeAlias

from django.db.models import QuerySet, Sum

from cutover import models
from cutover.fields import as_instant
from cutover.ledger.database import outages
from cutover.ledger.pauses import PAUSED, Pause
from cutover.phases.context import Context
from cutover.phases.evidence import edits, sections, sent, side
from cutover.phases.evidence.findings import Evidence, Finding, Why
from cutover.phases.evidence.lateness import OVERDUE
from cutover.phases.evidence.sections import Due, Section, is_within
from cutover.phases.evidence.tally import Counting, Fires, Tally, counted, fires
from cutover.schedules import overlay
from cutover.schedules.due import next_due, within
from cutover.schedules.fingerprint import fingerprint
from cutover.schedules.timetable import Timetable, Timetables
from cutover.types import UNLIMITED, Cursor, EntryName, Limits, Side, SlotState

PATIENCE: Final = dt.timedelta(minutes=1)
"""How long a slot may stay claimed, or published and ready to run, before that it is not run counts against it."""
_TOGETHER: Final = 200
"""How many entries' sections are read by one statement."""
KEPT_BACK: Final = "is paused, or was until a moment ago"
WAITS: Final = "waits for its turn in the backlog of its entry"
_READ: Final = "entry due_at epoch state claimed_at published_at run_started_at passed_over reason"

Slots: TypeAlias = QuerySet[models.Slot]


def gather(context: Context, since: dt.datetime, until: dt.datetime, counting: Counting | None = None) -> Evidence:
    """Compare the schedule of the database side with the ledger, over ``(since, until]``.

    ``counting``: what an earlier look has counted, to go on from. Raises LedgerUnavailable; for the code schedule of
    this process ConfigurationError or EntriesRefused.
    """
    counting, slots = counting or Counting(), models.Slot.objects.using(context.alias)
    with outages(context.alias):
        sending, kept, tables = side.read(context, Side.DATABASE), overlay.load(context.alias), Timetables()
        entries = {EntryName(e.name): e for e in models.Entry.objects.using(context.alias).filter(active=True)}
        since = counting.look(slots, since, until)
        slots = slots.filter(due_at__gt=since, due_at__lte=until)
        before = {name: cursor.last for name, cursor in context.ledger.cursors.read(since).items()}
        judged_at = context.ledger.fence.read_now()
        evidence = Evidence(since, until, judged_at, {name: each.options for name, each in kept.items()})
        evidence.pauses = context.ledger.pauses.since(since)
        known, differing = dict[tuple[object, ...], Fires](), dict[EntryName, _Owed]()
        for name, schedule in sorted(sending.schedules.items()):
            entry, limit, mark = entries.get(name), sending.limits.get(name, UNLIMITED), fingerprint(schedule)
            if entry is None or (entry.fingerprint, entry.limits) != (mark, limit):
                evidence.unproven[name] = Why.NOT_READ
                continue
            last = before.get(name)
            if entry.eligible_since > since:
                last = context.ledger.cursors.latest_of([name], min(entry.eligible_since, until)).get(name)
            owed = _owed(tables.of(schedule), mark, Cursor(last, entry.eligible_since), limit, since)
            if not _is_as_due(evidence, name, owed, known, counting, slots):
                differing[name] = owed
                if context.config.catch_up_rule(name).sends_every:
                    evidence.every.add(name)
        read = _read_where_they_differ(evidence, differing, known, counting, slots)
        _judge_together(evidence, slots, read)
    for findings in (evidence.failures, evidence.pending):
        findings.kept.sort(key=lambda found: (found.entry, found.due_at))
    for name in evidence.kept_back:
        if not evidence.proven[name]:
            evidence.unproven.setdefault(name, Why.PAUSED)
    _expect(context, evidence, set(sending.schedules))
    return evidence


@dataclass(frozen=True, slots=True)
class _Owed:
    """What an entry is owed: the slots of ``table`` from ``first`` on, after ``after`` and within ``limit``."""

    table: Timetable
    first: dt.datetime | None
    after: dt.datetime
    limit: Limits
    fingerprint: str

    def end(self, until: dt.datetime) -> dt.datetime:
        """The latest instant up to ``until`` at which it may be owed a slot."""
        return until if self.limit.not_after is None else min(until, self.limit.not_after - dt.timedelta.resolution)


def _owed(table: Timetable, mark: str, cursor: Cursor, limit: Limits, since: dt.datetime) -> _Owed:
    # The cadence is counted as the leader counts it; what counts is what is owed since the switch.
    cursor = within(limit, cursor, table)
    cursor = Cursor(cursor.origin, max(since, cursor.eligible_since))
    return _Owed(table, next_due(table, cursor), cursor.eligible_since, limit, mark)


def _is_as_due(
    evidence: Evidence,
    name: EntryName,
    owed: _Owed,
    known: dict[tuple[object, ...], Fires],
    counting: Counting,
    slots: Slots,
) -> bool:
    """Whether the ledger has exactly the entry's owed slots; notes the next one, and where there is none.

    ``known``: the fire times of timetables that were gone through for other entries.
    """
    end, first = owed.end(evidence.until), owed.first
    shared = (owed.fingerprint, first, end)
    expected = known.get(shared) or fires(owed.table, first, end)
    known[shared] = expected
    if expected.following is not None and evidence.until < expected.following <= owed.end(expected.following):
        evidence.upcoming[name] = (owed.table, expected.following)
    if not expected.tally.slots:
        evidence.unproven[name] = Why.NOTHING_DUE
    begin = owed.limit.eligible_since(owed.after)  # what lies before a start is not owed, but judged
    if (begin, end) == (evidence.since, evidence.until):
        return counting.tallies.get(name, Tally()) == expected.tally
    return counted(slots.filter(entry=name), begin, end).get(name, Tally()) == expected.tally


def _expect(context: Context, evidence: Evidence, sent_now: set[EntryName]) -> None:
    """Which entries are to be proved: those that were imported, by the name that their row has now; those of code too.

    One whose row was ended or disabled after it had been proved has nothing left to prove.
    """
    for imported, present in edits.present_names(context.alias).items():
        name = present or imported
        evidence.moved.add(name)
        if name not in sent_now and not evidence.proven[name]:
            evidence.unproven[name] = Why.DISABLED if present is not None else Why.NO_ROW
    for name in sent.without_row(context, declared=True):
        evidence.moved.add(name)
        evidence.unproven[name] = Why.NO_ROW
    evidence.others = sent_now - evidence.moved
    for name in [name for name, why in evidence.unproven.items() if why is Why.NOTHING_DUE]:
        if evidence.proven[name] and name not in evidence.upcoming:
            del evidence.unproven[name]


def _read_where_they_differ(
    evidence: Evidence,
    differing: Mapping[EntryName, _Owed],
    known: Mapping[tuple[object, ...], Fires],
    counting: Counting,
    slots: Slots,
) -> Mapping[EntryName, Sequence[Section]]:
    """Judge every slot of those entries' sections; of all others note how many there are. Returns the sections."""
    evidence.proven.update({name: tally.slots for name, tally in counting.tallies.items()})
    due, read = dict[EntryName, Due](), dict[EntryName, Sequence[Section]]()
    together = dict[tuple[dt.datetime, dt.datetime], dict[EntryName, Section]]()
    for name, owed in differing.items():
        end = owed.end(evidence.until)
        expected, recorded = known[owed.fingerprint, owed.first, end].tally, counting.tallies.get(name, Tally())
        # How it is judged that one is absent may depend on the slots beside it.
        around = bool(evidence.pauses) or name in evidence.every
        due[name] = Due(owed.table, owed.fingerprint, owed.first, end, expected, recorded, around)
    for name, found in sections.differing(slots, evidence.since, evidence.until, due):
        whole = Section(evidence.since, evidence.until, differing[name].first)
        read[name] = [whole] if found is None else found.sections
        if found is not None:
            counting.tallies[name] = found.tally  # it may have changed: a slot may have been recorded late
        evidence.proven[name] = found.beyond if found is not None else 0
        for section in read[name]:
            together.setdefault(section[:2], {})[name] = section
    for (after, until), by_name in together.items():
        names = sorted(by_name)
        for some in (names[start : start + _TOGETHER] for start in range(0, len(names), _TOGETHER)):
            of_section = slots.filter(entry__in=some, due_at__gt=after, due_at__lte=until).order_by("entry", "due_at")
            rows = groupby(_read(of_section), key=lambda slot: EntryName(slot.entry))
            absent = set(some)
            for name, each in rows:
                absent.remove(name)
                _prove(evidence, name, differing[name], by_name[name], each)
            for name in sorted(absent):
                _prove(evidence, name, differing[name], by_name[name], ())
    return read


def _prove(evidence: Evidence, name: EntryName, owed: _Owed, section: Section, slots: Iterable[Any]) -> None:
    """Judge every slot of a section, and find what is absent, and what is not of the entry's schedule."""
    end, due_at = min(owed.end(evidence.until), section.until), section.first
    claimed_at: dt.datetime | None = None

    def absent(before: dt.datetime, *, waits: bool = False, is_counted: bool = False) -> None:
        nonlocal due_at
        found, said = (evidence.pending, WAITS) if waits else (evidence.failures, "was never claimed")
        while due_at is not None and due_at <= end and due_at < before:
            if (pause := _keeping(evidence, name, due_at)) is None or not (_holds(evidence, pause) or is_counted):
                found.add(Finding(name, due_at, said))
            elif is_counted:
                evidence.kept_back[name] += 1
            else:
                evidence.pending.add(Finding(name, due_at, KEPT_BACK))
            due_at = owed.table.next_after(due_at)

    for slot in slots:
        claimed_at = slot.claimed_at
        absent(slot.due_at, is_counted=_is_kept_back(slot) and bool(slot.passed_over))
        if slot.due_at == due_at:
            _judge(evidence, name, slot)
            due_at = owed.table.next_after(due_at)
        elif slot.due_at <= owed.after or not owed.limit.admit(slot.due_at):
            # Of a schedule or an end that it had before: what became of it counts all the same.
            _judge(evidence, name, slot)
        else:
            said = f"is no slot of the entry's schedule; {slot.reason or f'claimed under epoch {slot.epoch}'}"
            evidence.failures.add(Finding(name, slot.due_at, said))
    is_last = section.until == evidence.until and name in evidence.every
    has_backlog = is_last and claimed_at is not None and evidence.judged_at - claimed_at < OVERDUE
    absent(end + dt.timedelta.resolution, waits=has_backlog)


def _judge_together(evidence: Evidence, slots: Slots, read: Mapping[EntryName, Sequence[Section]]) -> None:
    """Judge the slots of all entries but those in sections that were ``read``."""
    waiting = slots.filter(state=SlotState.PUBLISHED, run_started_at=None)
    for odd in (slots.filter(state=SlotState.MISSED), slots.filter(state=SlotState.CLAIMED), waiting):
        for slot in _read(odd.order_by("due_at")):
            name = EntryName(slot.entry)
            if name not in read or not is_within(read[name], slot.due_at):
                evidence.proven[name] -= 1
                _judge(evidence, name, slot)
    doubled = slots.filter(deduplicated__gt=0).order_by()
    evidence.deduplicated += doubled.aggregate(all=Sum("deduplicated"))["all"] or 0


def _read(slots: Slots) -> Iterator[Any]:
    """What is judged by, row for row: a million of them are never in memory together."""
    return slots.values_list(*_READ.split(), named=True).iterator(chunk_size=2_000)


def _judge(evidence: Evidence, name: EntryName, slot: Any) -> None:
    if _is_kept_back(slot):
        evidence.kept_back[name] += 1
    elif slot.state == SlotState.MISSED:
        more = f" (and {slot.passed_over} older ones)" if slot.passed_over else ""
        evidence.failures.add(Finding(name, slot.due_at, f"was missed: {slot.reason}{more}"))
    elif slot.run_started_at is not None and slot.published_at is not None:
        evidence.proven[name] += 1
    elif slot.published_at is None and any(one.is_of(name) and _holds(evidence, one) for one in evidence.pauses):
        evidence.pending.add(Finding(name, slot.due_at, KEPT_BACK))
    else:
        said = "published, its run not started" if slot.published_at else "claimed, not published"
        overdue = evidence.judged_at - _ready_at(slot, evidence.options.get(name, {})) > PATIENCE
        (evidence.failures if overdue else evidence.pending).add(Finding(name, slot.due_at, said))


def _is_kept_back(slot: Any) -> bool:
    """Whether it was missed, or passed over with others before it, for a pause."""
    return bool(slot.state == SlotState.MISSED and slot.reason.startswith(PAUSED))


def _keeping(evidence: Evidence, name: EntryName, due_at: dt.datetime) -> Pause | None:
    """The latest pause that keeps, or has kept, that slot back."""
    return next((one for one in reversed(evidence.pauses) if one.keeps_back(name, due_at)), None)


def _holds(evidence: Evidence, pause: Pause) -> bool:
    """Whether it is in effect, or has ended so shortly before that what it has kept back is being sent."""
    return pause.end is None or evidence.judged_at - pause.end < PATIENCE


def _ready_at(slot: Any, options: Mapping[str, Any]) -> dt.datetime:
    """When a worker may start the slot's message at the earliest; of one not published yet, when it was claimed."""
    claimed_at: dt.datetime = slot.claimed_at
    if slot.published_at is None:
        return claimed_at
    eta = options.get("eta")
    waited: dt.datetime = slot.published_at + dt.timedelta(seconds=options.get("countdown") or 0)
    return max(waited, as_instant(eta)) if isinstance(eta, dt.datetime) else waited
