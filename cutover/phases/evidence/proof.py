"""What the ledger proves since the switch: each slot that was due was claimed, published and run, once.

Once is the table's own doing (unique slot, one conditional start); found is what is absent, stuck, missed or too much.
The database counts; read are the slots that are not as they should be, by indexes of those alone, and those of sections
of an entry's time in which they are not the ones that were due.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, Final

from cutover import models
from cutover.ledger.database import outages
from cutover.phases.context import Context
from cutover.phases.evidence import dues, edits, sections, sent, side
from cutover.phases.evidence.dues import Due
from cutover.phases.evidence.findings import Evidence, Why
from cutover.phases.evidence.judging import Slots, judge_beyond, judge_section, read_slots
from cutover.phases.evidence.sections import Counted, Section
from cutover.phases.evidence.tally import Counting, Fires, Tally, fires, tallies
from cutover.schedules import overlay
from cutover.types import EntryName, Side

_TOGETHER: Final = 200
"""The sections of how many entries are read, or counted, by one statement."""


def gather(context: Context, since: dt.datetime, until: dt.datetime, counting: Counting | None = None) -> Evidence:
    """Compare the schedule of the database side with the ledger, over ``(since, until]``.

    ``counting``: what an earlier look has counted, to go on from. Raises LedgerUnavailable; for the code schedule of
    this process ConfigurationError or EntriesRefused.
    """
    counting, slots = counting or Counting(), models.Slot.objects.using(context.alias)
    with outages(context.alias):
        sending, kept = side.read(context, Side.DATABASE), overlay.load(context.alias)
        since = counting.look(slots, since, until)
        judged_at = context.ledger.fence.read_now()
        evidence = Evidence(since, until, judged_at, {name: each.options for name, each in kept.items()})
        evidence.pauses = context.ledger.pauses.since(since)
        due = dues.read(context, sending, since, until)
        evidence.unproven.update({name: Why.NOT_READ for name, one in due.items() if one is None})
        counted = _counted(evidence, {name: one for name, one in due.items() if one is not None}, counting, slots)
        differing = {name: one for name, one in counted.items() if one.recorded != one.expected}
        evidence.every.update(name for name in differing if context.config.catch_up_rule(name).sends_every)
        for name in differing:
            if name in evidence.every or any(pause.is_of(name) for pause in evidence.pauses):
                differing[name] = replace(differing[name], around=True)
        read = _read_where_they_differ(evidence, differing, counting, slots)
        judge_beyond(evidence, slots.filter(due_at__gt=since, due_at__lte=until), read)
    for findings in (evidence.failures, evidence.pending):
        findings.kept.sort(key=lambda found: (found.entry, found.due_at))
    for of_entries, why in ((evidence.kept_back, Why.PAUSED), (evidence.withheld, Why.WITHHELD)):
        for name in of_entries:
            if not evidence.proven[name]:
                evidence.unproven.setdefault(name, why)
    _expect(context, evidence, set(sending.schedules))
    return evidence


def _counted(
    evidence: Evidence, due: Mapping[EntryName, Due], counting: Counting, slots: Slots
) -> dict[EntryName, Counted]:
    """What each entry was owed, and what the ledger has; noted are the next ones, and where there were none.

    What timetables have in common is gone through once.
    """
    known, counted = dict[tuple[object, ...], Fires](), dict[EntryName, Counted]()
    for name, one in due.items():
        end = one.end(evidence.until)
        shared = (one.fingerprint, one.first, end)
        expected = known.get(shared) or fires(one.table, one.first, end)
        known[shared] = expected
        if expected.following is not None and evidence.until < expected.following <= one.end(expected.following):
            evidence.upcoming[name] = (one.table, expected.following)
        if not expected.tally.slots:
            evidence.unproven[name] = Why.NOTHING_DUE
        begin = one.limit.eligible_since(one.after)  # what lies before a start is not owed, but judged
        whole = counting.tallies.get(name, Tally())
        counted[name] = Counted(one, begin, end, expected.tally, whole, whole)
    time = evidence.since, evidence.until
    shorter = [name for name, one in counted.items() if (one.begin, one.end) != time]
    for some in (shorter[start : start + _TOGETHER] for start in range(0, len(shorter), _TOGETHER)):
        of_those = sections.within((name, counted[name].begin, counted[name].end) for name in some)
        recorded = tallies(slots.filter(of_those))
        counted.update({name: replace(counted[name], recorded=recorded.get(name, Tally())) for name in some})
    return counted


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
    evidence: Evidence, differing: Mapping[EntryName, Counted], counting: Counting, slots: Slots
) -> Mapping[EntryName, Sequence[Section]]:
    """Judge every slot of those entries' sections; of all others note how many there are. Returns the sections."""
    evidence.proven.update({name: tally.slots for name, tally in counting.tallies.items()})
    read = dict[EntryName, Sequence[Section]]()
    for name, found in sections.differing(slots, evidence.since, evidence.until, differing):
        read[name] = found.sections
        counting.tallies[name] = found.tally  # it may have changed: a slot may have been recorded late
        evidence.proven[name] = found.beyond
    # Those of the same time one after the other: of one outage a statement says once when it was.
    wanted = [(section, name) for name, each in read.items() for section in each]
    wanted.sort(key=lambda pair: (*pair[0][:2], pair[1]))
    for start in range(0, len(wanted), _TOGETHER):
        some = dict[EntryName, list[Section]]()
        for section, name in wanted[start : start + _TOGETHER]:
            some.setdefault(name, []).append(section)
        _judge_sections(evidence, differing, some, slots)
    return read


def _judge_sections(
    evidence: Evidence,
    differing: Mapping[EntryName, Counted],
    wanted: Mapping[EntryName, Sequence[Section]],
    slots: Slots,
) -> None:
    """Judge every slot of these sections, which are in order, read by one statement."""
    of_those = sections.within((name, each.after, each.until) for name, some in wanted.items() for each in some)

    def section_of(slot: Any) -> tuple[EntryName, int | None]:
        name = EntryName(slot.entry)
        return name, sections.number_of(wanted[name], slot.due_at)

    left: dict[tuple[EntryName, int | None], Section] = {
        (name, number): section for name, some in wanted.items() for number, section in enumerate(some)
    }
    rows = read_slots(slots.filter(of_those).order_by("entry", "due_at"))
    for (name, number), some in groupby(rows, section_of):
        judge_section(evidence, name, differing[name].due, left.pop((name, number)), some)
    for (name, _), section in left.items():
        judge_section(evidence, name, differing[name].due, section, ())
