"""Entries, slots, terms and steps as a page shows them: words, instants in a time zone, and queries of links. Pure."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlencode

from cutover.observe.conditions import Severity
from cutover.observe.course import Step
from cutover.observe.entries import EntryRecord
from cutover.observe.rows import SEVERITIES, run_of
from cutover.observe.slot import Claimant, Life
from cutover.observe.times import brief, relative, signed
from cutover.plural import counted
from cutover.types import RunOutcome, SlotState

WORDS: Final = {Severity.PROBLEM: "problem", Severity.NOTICE: "notice", Severity.WELL: "well"}
_UNKNOWN: Final = "nobody recorded it"


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant: for a machine, in the zone of the site in full, without its date if that is today's, from now."""

    iso: str
    full: str
    shown: str
    away: str

    @classmethod
    def of(cls, at: dt.datetime | None, now: dt.datetime) -> Self | None:
        """An instant in the zone of ``now``; None for None."""
        if at is None:
            return None
        local = at.astimezone(now.tzinfo)
        full = f"{local:%Y-%m-%d %H:%M:%S %Z}"
        shown = f"{local:%H:%M:%S %Z}" if local.date() == now.date() else full
        return cls(at.astimezone(dt.UTC).isoformat(), full, shown, relative(at, now))


@dataclass(frozen=True, slots=True)
class EntryLine:
    """One entry; ``query``: what its own page is asked for with."""

    name: str
    query: str
    word: str
    last: Moment | None
    last_query: str
    run: str
    worker: str
    delay: str
    next: Moment | None
    findings: Sequence[str]

    @classmethod
    def of(cls, record: EntryRecord, now: dt.datetime) -> Self:
        """What a record says."""
        last = record.last
        return cls(
            name=record.entry,
            query=urlencode({"name": record.entry}),
            word=WORDS[record.severity],
            last=Moment.of(last.due_at, now) if last else None,
            last_query=query_of(last) if last else "",
            run=run_of(last, now) if last else "",
            worker=last.worker if last else "",
            delay=_signed(last.run_delay) if last else "",
            next=Moment.of(record.next_due, now),
            findings=[str(one) for one in record.findings],
        )


@dataclass(frozen=True, slots=True)
class SlotLine:
    """One slot among those of its entry."""

    query: str
    due: Moment | None
    side: str
    word: str
    run: str
    publish_delay: str
    run_delay: str
    worker: str
    error: str
    notes: Sequence[str]

    @classmethod
    def of(cls, life: Life, now: dt.datetime) -> Self:
        """What a life says."""
        return cls(
            query=query_of(life),
            due=Moment.of(life.due_at, now),
            side=life.side.value,
            word=word_of(life),
            run=run_of(life, now),
            publish_delay=_signed(life.publish_delay),
            run_delay=_signed(life.run_delay),
            worker=life.worker,
            error=life.error,
            notes=notes_of(life),
        )


@dataclass(frozen=True, slots=True)
class Event:
    """One event in the life of a slot; ``at`` is None where it has no instant, or nobody recorded it."""

    name: str
    at: Moment | None
    said: str
    word: str = WORDS[Severity.WELL]
    error: str = ""


def word_of(life: Life) -> str:
    """How a slot is: well, notice or problem."""
    if life.state is SlotState.MISSED and life.started_at is None:
        return WORDS[Severity.PROBLEM]
    return WORDS[max(_of_run(life), Severity.NOTICE if life.deduplicated or life.sender else Severity.WELL)]


def query_of(life: Life) -> str:
    """What a slot's own page is asked for with."""
    return urlencode({"entry": life.entry, "due": life.due_at.astimezone(dt.UTC).isoformat()})


def notes_of(life: Life) -> list[str]:
    """What else there is to know of a slot."""
    notes = [
        life.reason,
        f"sent without the lease by {life.sender}" if life.sender else "",
        f"attempt {life.attempt + 1}" if life.attempt else "",
        f"further messages dropped: {life.deduplicated}" if life.deduplicated else "",
        f"resent: {life.resent}" if life.resent else "",
        f"earlier slots passed over: {life.passed_over}" if life.passed_over else "",
    ]
    return [note for note in notes if note]


def events_of(life: Life, claimant: Claimant | None, now: dt.datetime) -> list[Event]:
    """A slot's whole life, in the order in which it goes."""
    by = f"by {claimant.host}:{claimant.pid} ({claimant.side.value} side)" if claimant else "its term is forgotten"
    release = f", release {claimant.release}" if claimant and claimant.release else ""
    claim = f"{by}{release}, under epoch {life.epoch}" if life.epoch else "by no leader: a worker recorded it"
    events = [Event("Due", Moment.of(life.due_at, now), life.entry)]
    if life.state is SlotState.MISSED:
        events.append(Event("Missed", Moment.of(life.claimed_at, now), f"{life.reason}; recorded {claim}", "problem"))
    else:
        events += [
            Event("Claimed", Moment.of(life.claimed_at, now), claim),
            Event("Published", Moment.of(life.published_at, now), _after(life.publish_delay) or _not_published(life)),
        ]
    if life.resent:
        events.append(Event("Resent", None, f"{life.resent} times, as no worker had started it", "notice"))
    started = f"on {life.worker}, {_after(life.run_delay)}" if life.started_at else "by no worker so far"
    attempt = f", attempt {life.attempt + 1}" if life.attempt else ""
    if life.started_at or life.state is not SlotState.MISSED:
        events.append(Event("Started", Moment.of(life.started_at, now), started + attempt))
    if life.deduplicated:
        were = ("further message of this slot was", "further messages of this slot were")
        said = f"{counted(life.deduplicated, *were)} dropped: it ran once"
        events.append(Event("Deduplicated", None, said, "notice"))
    if life.started_at:
        outcome = life.outcome.value if life.outcome else _UNKNOWN
        took = f", took {brief(life.duration)}" if life.duration is not None else ""
        said = f"{_OUTCOMES.get(outcome, outcome)}{took}"
        events.append(Event("Ended", Moment.of(life.ended_at, now), said, WORDS[_of_run(life)], life.error))
    return events


_OUTCOMES: Final = {
    RunOutcome.RUNNING.value: "not yet: it is running",
    RunOutcome.LOST.value: "lost: its process was gone before the run ended",
    RunOutcome.RETRIED.value: "it asked for a retry",
}


def _of_run(life: Life) -> Severity:
    return SEVERITIES.get(life.outcome, Severity.WELL) if life.outcome else Severity.WELL


def _not_published(life: Life) -> str:
    return _UNKNOWN if life.started_at else "not yet: look at the broker"


def _after(delay: dt.timedelta | None) -> str:
    if delay is None:
        return ""
    is_early = delay < dt.timedelta(0)
    return f"{brief(abs(delay))} {'before' if is_early else 'after'} it was due"


def _signed(delay: dt.timedelta | None) -> str:
    return signed(delay) if delay is not None else ""


_WITHOUT_END: Final = {
    True: "leads",
    False: "did not say: killed or cut off",
    None: "not known: Redis was not read",
}


@dataclass(frozen=True, slots=True)
class TermLine:
    """One term; ``ended``: when, or when it was seen last, with ``is_seen_last``; ``end``: how."""

    epoch: int
    side: str
    who: str
    release: str
    started: Moment | None
    ended: Moment | None
    is_seen_last: bool
    end: str

    @classmethod
    def of(cls, term: Claimant, now: dt.datetime, *, leads: bool | None) -> Self:
        """What a term says; ``leads``: whether its leader is seen to, None where that is not known."""
        without_end = _WITHOUT_END[leads]
        return cls(
            term.epoch,
            term.side.value,
            f"{term.host}:{term.pid}",
            term.release,
            Moment.of(term.started_at, now),
            None if leads else Moment.of(term.told_end or term.seen_at, now),
            term.told_end is None and not leads,
            term.end_in_words or ("ended" if term.ended_at else without_end),
        )


@dataclass(frozen=True, slots=True)
class StepLine:
    """One step of a phase."""

    phase: str
    step: str
    outcome: str
    detail: str
    operator: str
    begun: Moment | None

    @classmethod
    def of(cls, step: Step, now: dt.datetime) -> Self:
        """What a step says."""
        told = step.phase, step.step.replace("_", " "), step.outcome, step.detail, step.operator
        return cls(*told, Moment.of(step.begun_at, now))
