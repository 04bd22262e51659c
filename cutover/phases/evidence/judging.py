"""Slots judged one by one: each is proven, under way, kept back by a pause, or not as it should be."""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from django.db.models import QuerySet, Sum

from cutover import models
from cutover.beats.missed import WITHHELD
from cutover.fields import as_instant
from cutover.ledger import quick
from cutover.ledger.pauses import PAUSED, Pause
from cutover.phases.evidence.dues import Due
from cutover.phases.evidence.findings import Evidence, Finding
from cutover.phases.evidence.lateness import OVERDUE
from cutover.phases.evidence.sections import Section, number_of
from cutover.types import EntryName, SlotState

PATIENCE: Final = dt.timedelta(minutes=1)
"""How long a slot may stay claimed, or published and ready to run, before that it is not run counts against it."""
KEPT_BACK: Final = "is paused, or was until a moment ago"
WAITS: Final = "waits for its turn in the backlog of its entry"
_READ: Final = "entry due_at epoch state claimed_at published_at run_started_at passed_over reason"

Slots: TypeAlias = QuerySet[models.Slot]


def judge_section(evidence: Evidence, name: EntryName, owed: Due, section: Section, slots: Iterable[Any]) -> None:
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


def judge_beyond(evidence: Evidence, slots: Slots, read: Mapping[EntryName, Sequence[Section]]) -> None:
    """Judge the slots of all entries but those in sections that were ``read``."""
    waiting = slots.filter(state=SlotState.PUBLISHED, run_started_at=None)
    for odd in (slots.filter(state=SlotState.MISSED), slots.filter(state=SlotState.CLAIMED), waiting):
        for slot in read_slots(odd.order_by("due_at")):
            name = EntryName(slot.entry)
            if number_of(read.get(name, ()), slot.due_at) is None:
                evidence.proven[name] -= 1
                _judge(evidence, name, slot)
    doubled = slots.filter(deduplicated__gt=0).order_by()
    evidence.deduplicated += doubled.aggregate(all=Sum("deduplicated"))["all"] or 0


def read_slots(slots: Slots) -> Iterator[Any]:
    """What is judged by, row for row: a million of them are never in memory together."""
    return quick.rows(slots, _READ.split(), chunk_size=2_000)


def _judge(evidence: Evidence, name: EntryName, slot: Any) -> None:
    if _is_kept_back(slot):
        evidence.kept_back[name] += 1
    elif slot.state == SlotState.MISSED and slot.reason == WITHHELD:
        evidence.withheld[name] += 1
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
