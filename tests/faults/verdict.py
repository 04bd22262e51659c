"""The verdict on one watch: every slot run once, and where one was not, the ledger and the silence say why."""

import datetime as dt
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from demo.census import Handed, Run, Slot, per_slot
from tests.support.pulse import Absence, away

from .books import Record
from .schedule import INTERVALS, MINUTELY

MINUTE = dt.timedelta(minutes=1)
TOLERANCE = dt.timedelta(milliseconds=100)
"""Between a slot's instant and the broker's stamp lie the claim and the publication."""


@dataclass(frozen=True)
class Evidence:
    """What was seen from outside in all of a stage's life, and what the ledger says of it."""

    handed: Sequence[Handed]
    runs: Sequence[Run]
    ledger: Mapping[Slot, Record]
    absences: list[Absence] = field(default_factory=list)
    """When the machine stood still."""


@dataclass
class Verdict:
    """What a watch came to.

    ``longest_wait``: how long a due slot waited for a leader to settle it, at most, while the machine ran. ``away``:
    how long it did not.
    """

    expected: set[Slot] = field(default_factory=set)
    run_once: set[Slot] = field(default_factory=set)
    doubled: set[Slot] = field(default_factory=set)
    handed_twice: set[Slot] = field(default_factory=set)
    missed: dict[Slot, str] = field(default_factory=dict)
    unable: set[Slot] = field(default_factory=set)
    too_soon: set[Slot] = field(default_factory=set)
    lost: set[Slot] = field(default_factory=set)
    died: set[Slot] = field(default_factory=set)
    stale: set[Slot] = field(default_factory=set)
    longest_wait: dt.timedelta = dt.timedelta(0)
    away: dt.timedelta = dt.timedelta(0)

    @property
    def omitted(self) -> set[Slot]:
        """What was missed although the machine ran."""
        return self.missed.keys() - self.unable

    def __str__(self) -> str:
        counts = {name: len(value) for name, value in vars(self).items() if hasattr(value, "__len__")}
        told = [f"{count} {name}" for name, count in counts.items()]
        return ", ".join([*told, f"longest wait {self.longest_wait}", f"machine away {self.away}"])


def judge(evidence: Evidence, since: dt.datetime, until: dt.datetime) -> Verdict:
    """Judge the slots in ``(since, until]``.

    ``handed_twice``: but for those before whose second message the machine stood still, so that whoever had published
    the first could not record it. ``missed``: not run, and named in the ledger with a reason. ``unable``: those of them
    whose next slot fell due while the machine stood still, which no leader can help. ``too_soon``: missed although its
    entry was served before the next slot fell due, so no gap explains it. ``died``: started by a worker and never
    written, a task's own affair if that worker was killed. ``lost``: none of all that. ``stale``: recorded by a leader
    after its successor had recorded something. No scenario allows these two.
    """
    handed, run = per_slot(evidence.handed), per_slot(evidence.runs)
    known = handed.keys() | evidence.ledger.keys()
    verdict = Verdict(expected={slot for slot in expected_slots(known, until) if slot.due_at > since})
    seen = {slot for slot in handed.keys() | run.keys() if since < slot.due_at <= until}
    strange = {slot for slot in seen if slot not in verdict.expected and slot.entry in {*INTERVALS, MINUTELY}}
    verdict.doubled = {slot for slot in seen if run.get(slot, 0) > 1} | strange  # off the cadence: one slot too many
    verdict.handed_twice = {slot for slot in _handed_twice(evidence) if slot in seen}
    verdict.run_once = {slot for slot in verdict.expected if run.get(slot) == 1}
    verdict.stale = {slot for slot in _stale(evidence.ledger) if since < slot.due_at <= until}
    verdict.away = away(evidence.absences, since, until)
    settled = _settled(verdict.expected, evidence.handed)
    for slot in sorted(verdict.expected):
        at = settled.get(slot)
        absent = away(evidence.absences, slot.due_at, at or until)
        waited = (at or until) - slot.due_at - absent
        verdict.longest_wait = max(verdict.longest_wait, waited)
        record = evidence.ledger.get(slot)
        if run.get(slot):
            continue
        if record and record.state == "missed" and record.reason:
            verdict.missed[slot] = record.reason
            if absent and waited < INTERVALS.get(slot.entry, MINUTE):
                verdict.unable.add(slot)
            if at and slot.entry in INTERVALS and at < slot.due_at + INTERVALS[slot.entry] - TOLERANCE:
                verdict.too_soon.add(slot)
        elif record and record.has_started:
            verdict.died.add(slot)
        else:
            verdict.lost.add(slot)
    return verdict


def expected_slots(seen: Collection[Slot], until: dt.datetime) -> Iterator[Slot]:
    """Every slot up to ``until``: the minutes by the calendar, and all intervals from the one instant of their start.

    That instant is an interval before the first slot ever ``seen``; the first leader counts all of them from there.
    """
    starts = [slot.due_at - INTERVALS[slot.entry] for slot in seen if slot.entry in INTERVALS]
    if not starts:
        return
    start = min(starts)
    for entry, every in INTERVALS.items():
        yield from (Slot(start + n * every, entry) for n in range(1, (until - start) // every + 1))
    minute = start.replace(second=0, microsecond=0) + MINUTE
    while minute <= until:
        yield Slot(minute, MINUTELY)
        minute += MINUTE


def _stale(ledger: Mapping[Slot, Record]) -> Iterator[Slot]:
    """What was recorded under an old epoch after a newer one; the beats' records, not the workers'."""
    newest = 0
    for record in sorted(ledger.values(), key=lambda record: record.number):
        if record.reason.startswith(("sent without", "recorded by")):
            continue
        if record.epoch < newest:
            yield record.slot
        newest = max(newest, record.epoch)


def _handed_twice(evidence: Evidence) -> Iterator[Slot]:
    """What had another message, though the machine ran from its instant until that one."""
    first: set[Slot] = set()
    for message in evidence.handed:
        if message.slot in first and not away(evidence.absences, message.slot.due_at, message.at):
            yield message.slot
        if message.slot:
            first.add(message.slot)


def _settled(expected: set[Slot], handed: Sequence[Handed]) -> dict[Slot, dt.datetime]:
    """When each slot, or the first later one of its entry, was handed to the broker."""
    first: dict[Slot, dt.datetime] = {}
    for message in handed:
        if message.slot:
            first.setdefault(message.slot, message.at)
    settled: dict[Slot, dt.datetime] = {}
    latest: dict[str, dt.datetime] = {}
    for slot in sorted(expected | first.keys(), reverse=True):
        if slot in first:
            latest[slot.entry] = min(first[slot], latest.get(slot.entry, first[slot]))
        if slot.entry in latest:
            settled[slot] = latest[slot.entry]
    return settled
