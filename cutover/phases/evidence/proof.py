"""What the ledger proves since the switch: each slot that was due was claimed, published and run, once.

Once is the table's own doing (unique slot, one conditional start); found is what is absent, stuck, missed or too much.
The database counts; read are the slots that are not as they should be, by indexes of those alone, and those of sections
of an entry's time in which they are not the ones that were due.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Final

from cutover import models
from cutover.ledger.database import outages
from cutover.phases.context import Context
from cutover.phases.evidence import edits, sections, sent, side
from cutover.phases.evidence.dues import Due, due_of
from cutover.phases.evidence.findings import Evidence, Why
from cutover.phases.evidence.judging import Slots, judge_beyond, judge_section, read_slots
from cutover.phases.evidence.sections import Counted, Section
from cutover.phases.evidence.tally import Counting, Fires, Tally, counted, fires
from cutover.schedules import overlay
from cutover.schedules.fingerprint import fingerprint
from cutover.schedules.timetable import Timetables
from cutover.types import UNLIMITED, Cursor, EntryName, Side

_TOGETHER: Final = 200
"""How many entries' sections are read by one statement."""


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
        known, differing = dict[tuple[object, ...], Fires](), dict[EntryName, Due]()
        for name, schedule in sorted(sending.schedules.items()):
            entry, limit, mark = entries.get(name), sending.limits.get(name, UNLIMITED), fingerprint(schedule)
            if entry is None or (entry.fingerprint, entry.limits) != (mark, limit):
                evidence.unproven[name] = Why.NOT_READ
                continue
            last = before.get(name)
            if entry.eligible_since > since:
                last = context.ledger.cursors.latest_of([name], min(entry.eligible_since, until)).get(name)
            owed = due_of(tables.of(schedule), mark, Cursor(last, entry.eligible_since), limit, since)
            if not _is_as_due(evidence, name, owed, known, counting, slots):
                differing[name] = owed
                if context.config.catch_up_rule(name).sends_every:
                    evidence.every.add(name)
        read = _read_where_they_differ(evidence, differing, known, counting, slots)
        judge_beyond(evidence, slots, read)
    for findings in (evidence.failures, evidence.pending):
        findings.kept.sort(key=lambda found: (found.entry, found.due_at))
    for name in evidence.kept_back:
        if not evidence.proven[name]:
            evidence.unproven.setdefault(name, Why.PAUSED)
    _expect(context, evidence, set(sending.schedules))
    return evidence


def _is_as_due(
    evidence: Evidence,
    name: EntryName,
    owed: Due,
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
    differing: Mapping[EntryName, Due],
    known: Mapping[tuple[object, ...], Fires],
    counting: Counting,
    slots: Slots,
) -> Mapping[EntryName, Sequence[Section]]:
    """Judge every slot of those entries' sections; of all others note how many there are. Returns the sections."""
    evidence.proven.update({name: tally.slots for name, tally in counting.tallies.items()})
    due, read = dict[EntryName, Counted](), dict[EntryName, Sequence[Section]]()
    together = dict[tuple[dt.datetime, dt.datetime], dict[EntryName, Section]]()
    for name, owed in differing.items():
        end = owed.end(evidence.until)
        expected, recorded = known[owed.fingerprint, owed.first, end].tally, counting.tallies.get(name, Tally())
        # How it is judged that one is absent may depend on the slots beside it.
        around = bool(evidence.pauses) or name in evidence.every
        due[name] = Counted(owed.table, owed.fingerprint, owed.first, end, expected, recorded, around)
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
            rows = groupby(read_slots(of_section), key=lambda slot: EntryName(slot.entry))
            absent = set(some)
            for name, each in rows:
                absent.remove(name)
                judge_section(evidence, name, differing[name], by_name[name], each)
            for name in sorted(absent):
                judge_section(evidence, name, differing[name], by_name[name], ())
    return read
