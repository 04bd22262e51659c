"""The verdict: what should have run, computed again from the calendar, against what did."""

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .census import Handed, Run, Slot, per_slot
from .load import Tally
from .schedule import COUNTED, COUNTED_EVERY, EVERY_MINUTE, INTERVALS

MINUTE = dt.timedelta(minutes=1)
AROUND_A_SWITCH = dt.timedelta(seconds=10)


@dataclass(frozen=True)
class Switch:
    """One change of side: when the old leader was fenced, and how long nobody led after that."""

    kind: str
    at: dt.datetime
    gap_ms: float


@dataclass(frozen=True)
class Evidence:
    """What was seen from outside. ``until``: the instant up to which every slot had to be sent.

    ``named``: what the ledger says was missed, with its reason; it excuses a drill, and not the story.
    """

    published: Sequence[Handed]
    runs: Sequence[Run]
    tally: Tally
    switches: Sequence[Switch]
    until: dt.datetime
    mails: Path
    named: Mapping[Slot, str] = field(default_factory=dict)


def judge(evidence: Evidence) -> dict[str, object]:
    """The report of the story; ``passed`` is its last word: nothing is missed, there and back."""
    report = count(evidence)
    forward_and_back = {switch.kind == "rollback" for switch in evidence.switches} == {True, False}
    return report | {"passed": _is_well(report, "missed", "doubled") and forward_and_back}


def judge_drill(evidence: Evidence) -> dict[str, object]:
    """The report of a drill; ``passed`` is its last word: what did not run the ledger names, with a reason.

    A beat that is killed may have sent a message without confirming it: it is sent again, and run once all the same.
    """
    report = count(evidence)
    return report | {"passed": _is_well(report, "unnamed", "run_twice")}


def _is_well(report: dict[str, object], *wrong: str) -> bool:
    # Zero of nothing proves nothing.
    never = (*wrong, "off_schedule", "without_slot", "requests_failed")
    return not any(report[count] for count in never) and bool(report["everything_seen"])


def count(evidence: Evidence) -> dict[str, object]:
    """What fell due, what of it ran and how often, what is named, and how the visitors fared."""
    handed, run = per_slot(evidence.published), per_slot(evidence.runs)
    expected = set(expected_slots(handed, evidence.until))
    missed = sorted(slot for slot in expected if not run.get(slot))
    unnamed = [slot for slot in missed if not evidence.named.get(slot)]
    doubled = sorted({slot for counts in (handed, run) for slot, count in counts.items() if count > 1})
    strange = sorted(slot for slot in handed if slot.due_at <= evidence.until and slot not in expected)
    mails = list(_mails(evidence.mails))
    mails_doubled = [mail for mail, count in Counter(mails).items() if count > 1]
    latest = _latest(evidence.published, evidence.switches)
    rollbacks = [switch for switch in evidence.switches if switch.kind == "rollback"]
    forward = [switch for switch in evidence.switches if switch.kind != "rollback"]
    return {
        "slots_expected": len(expected),
        "slots_run": len(expected & run.keys()),
        "missed": len(missed),
        "named": len(missed) - len(unnamed),
        "unnamed": len(unnamed),
        "doubled": len(doubled) + len(mails_doubled),
        "run_twice": sum(count > 1 for count in run.values()) + len(mails_doubled),
        "off_schedule": len(strange),
        "without_slot": sum(message.slot is None for message in evidence.published),
        "requests_total": evidence.tally.total,
        "requests_failed": len(evidence.tally.failures),
        "request_slowest_ms": round(evidence.tally.slowest_ms, 1),
        "switch_gap_ms": max((switch.gap_ms for switch in forward), default=None),
        "rollback_gap_ms": max((switch.gap_ms for switch in rollbacks), default=None),
        "max_late_ms": _ms(latest.late) if latest else None,
        "max_late_slot": _listed([latest.slot])[0] if latest else None,
        "mails": len(mails),
        "switches": [
            {"kind": switch.kind, "at": switch.at.isoformat(), "gap_ms": switch.gap_ms} for switch in evidence.switches
        ],
        "missed_slots": _listed(missed),
        "doubled_slots": _listed(doubled) + [f"mail {mail}" for mail in mails_doubled],
        "off_schedule_slots": _listed(strange),
        "failed_requests": evidence.tally.failures,
        "unnamed_slots": _listed(unnamed),
        "everything_seen": {slot.entry for slot in handed} >= INTERVALS.keys() and bool(evidence.tally.total),
    }


def expected_slots(handed: Iterable[Slot], until: dt.datetime) -> Iterator[Slot]:
    """Every slot up to ``until``: of an interval by the first one seen, of all others by the calendar."""
    seen = sorted(handed)
    for entry, every in (INTERVALS | {COUNTED: COUNTED_EVERY}).items():
        due_at = next((slot.due_at for slot in seen if slot.entry == entry), None)
        while due_at and due_at <= until:
            yield Slot(due_at, entry)
            due_at += every
    if not seen:
        return
    minute = seen[0].due_at.replace(second=0, microsecond=0)
    if minute < seen[0].due_at:
        minute += MINUTE
    while minute <= until:
        yield from (Slot(minute, entry) for entry in _entries_due(minute))
        minute += MINUTE


def _entries_due(minute: dt.datetime) -> Iterator[str]:
    yield EVERY_MINUTE
    if minute.minute == 0:
        yield "moderator-digest-hourly"
        if minute.hour == 8:
            yield "user-digest-daily"
            if minute.weekday() == 0:
                yield "user-digest-weekly"


def _latest(published: Iterable[Handed], switches: Iterable[Switch]) -> Handed | None:
    """The message that the broker got latest, of all that were due around a switch."""
    around = [
        message
        for message in published
        if message.slot and any(abs(message.slot.due_at - switch.at) <= AROUND_A_SWITCH for switch in switches)
    ]
    return max(around, key=lambda message: message.late, default=None)


def _mails(directory: Path) -> Iterator[str]:
    """Recipient and subject of every mail on disk; no two digests of one hour share both."""
    for file in sorted(directory.glob("*")):
        text = file.read_text(errors="replace")
        to, subject = (
            [line for line in text.splitlines() if line.startswith(header)] for header in ("To: ", "Subject: ")
        )
        yield from (f"{line} {about}" for line, about in zip(to, subject, strict=True))


def _listed(slots: Iterable[Slot]) -> list[str]:
    return [f"{slot.entry} {slot.due_at.isoformat()}" for slot in slots]


def _ms(span: dt.timedelta) -> float:
    return round(span / dt.timedelta(milliseconds=1), 1)
