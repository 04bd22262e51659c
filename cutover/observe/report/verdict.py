"""The verdict of a report in one sentence, and what it rests on: what cannot be known is said, never taken as well."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cutover.errors import CutoverError
from cutover.ledger.database import outages
from cutover.ledger.pauses import SITE, Pause
from cutover.models import SlotlessSender, Term
from cutover.observe.conditions import Severity
from cutover.observe.report.expressions import RUNS, Fate
from cutover.observe.report.figures import Figures
from cutover.observe.slot import Claimant
from cutover.phases.context import Context
from cutover.phases.evidence import detection, proof
from cutover.phases.evidence.findings import Finding, Why
from cutover.phases.evidence.tally import Counting
from cutover.phases.facts import State
from cutover.phases.gates import beats
from cutover.phases.report import Check
from cutover.phases.wording import one_line, span, to_the_second
from cutover.types import EntryName

PROVED: Final = 50
"""How many findings of the proof are listed."""
UNLED: Final = dt.timedelta(minutes=1)
"""For how long nobody leads before it is said: a handover, also one from a leader that was killed, is shorter."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What a verdict rests on besides what was counted.

    ``findings``: the first slots that phase 4's proof, over the part of the period since ``proved_since``, says were
    not sent and run once; ``found``: how many there are, None where there is no such proof, and ``unproved`` says why.
    ``not_proved``: the entries of which it proves nothing, and why. ``slotless``: what was run besides.
    ``pauses``: those in effect, the site's first. ``led_until``: when a leader was seen last, where none leads.
    """

    state: State
    retention: dt.timedelta
    unmanaged: Check
    proved_since: dt.datetime | None = None
    found: int | None = None
    findings: Sequence[Finding] = ()
    unproved: str = ""
    not_proved: Sequence[tuple[EntryName, Why]] = ()
    slotless: Sequence[SlotlessSender] = ()
    pauses: Sequence[Pause] = ()
    led_until: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """``sentence``; ``reservations``: a line for each thing that this installation cannot see, or has not."""

    sentence: str
    severity: Severity
    reservations: Sequence[str]


def read(context: Context, state: State, figures: Figures, counting: Counting | None = None) -> Basis:
    """Gather it. Raises LedgerUnavailable; why there is no proof is said in it.

    ``counting``: what the proof would count, where that was done already.
    """
    over, pauses = figures.period, context.ledger.pauses.read()
    basis = Basis(state, context.config.retention, beats.no_unmanaged_beat(context), pauses=pauses)
    with outages(context.alias):
        slotless = [row for row in detection.slotless(context) if row.last_seen_at > over.since]
        last = Term.objects.using(context.alias).order_by("epoch").last()
    led_until = Claimant.of(last).known_until(over.until) if last else over.until
    basis = replace(basis, slotless=slotless, led_until=led_until if over.until - led_until > UNLED else None)
    if not state.is_switched:
        return replace(basis, unproved="the code side is active, and its schedule may be another in each process")
    since = max(over.since, state.switched_at or over.since)
    try:
        is_counted = counting is not None and counting.since == since
        found = proof.gather(context, since, over.until, counting if is_counted else None)
    except CutoverError as exc:
        return replace(basis, unproved=one_line(exc).rstrip("."))
    proved = replace(basis, proved_since=since, found=len(found.failures), findings=found.failures[:PROVED])
    return replace(proved, not_proved=sorted(found.unproven.items()))


def judge(figures: Figures, basis: Basis, zone: dt.tzinfo = dt.UTC) -> Verdict:
    """What is to be said, with instants in ``zone``. Pure."""
    wrong = _told(_WRONG, figures)
    counted = figures.of(Fate.MISSED, Fate.UNSENT, Fate.NOT_STARTED) - figures.passed_over
    more = basis.found - counted if basis.found else 0
    if more > 0:
        wrong.append(f"{more:,} more that phase 4's proof names, such as {basis.findings[0]}")
    besides = _told(_BESIDES, figures)
    if unsent := [name for name, why in basis.not_proved if why is Why.NO_ROW]:
        besides.insert(0, f"{_many(len(unsent), 'entry', 'entries')} of code without a row, never sent")
    if basis.pauses:
        besides.append(_paused(basis.pauses))
    if basis.led_until:
        besides.append(f"nobody has led since {to_the_second(basis.led_until, zone)}")
    told, unknown = f"; {', '.join(besides)}" if besides else "", list(_reservations(figures, basis, zone))
    entries = sum(1 for one in figures.entries if one.slots)
    ran = figures.of(*RUNS)
    as_far = ", as far as can be known (see the reservations)" if unknown else ""
    is_ill = unsent or figures.of(Fate.FAILED) or _lost(figures) or basis.led_until
    at_least = Severity.PROBLEM if is_ill else Severity.NOTICE  # what is not known makes nothing better
    if not figures.slots and not wrong:
        return Verdict(f"Inconclusive: the ledger has no slot of this period{told}.", at_least, unknown)
    if wrong:
        whole = f"Not every slot was sent and run once: of {_many(figures.slots, 'slot')}"
        sentence = f"{whole} {', '.join(wrong)}{told}."
        return Verdict(sentence, Severity.PROBLEM, unknown)
    if not basis.unmanaged.ok:
        sentence = (
            f"Inconclusive: a beat without the lease may have sent besides the {ran:,} slots that were run{told}."
        )
        return Verdict(sentence, Severity.PROBLEM, unknown)
    if not ran:
        return Verdict(f"Inconclusive: no slot of this period was run{told}.", at_least, unknown)
    if figures.of(Fate.NOT_RECORDED):
        sentence = f"Inconclusive: {ran:,} of {figures.slots:,} slots were sent and run once{told}."
        return Verdict(sentence, at_least, unknown)
    of_all = f"{_many(ran, 'slot')} of {_many(entries, 'entry', 'entries')}"
    sentence = f"Sent and run once{as_far}: each of {of_all}{told}."
    return Verdict(sentence, at_least if is_ill or figures.late or basis.pauses else Severity.WELL, unknown)


def _paused(pauses: Sequence[Pause]) -> str:
    return f"{'everything is' if pauses[0].entry == SITE else _many(len(pauses), 'entry is', 'entries are')} paused"


def _lost(figures: Figures) -> int:
    return sum(one.total for one in figures.listed if one.kind == "lost")


_Counts = Sequence[tuple[str, str, Callable[[Figures], int]]]
_WRONG: Final[_Counts] = (
    ("", "missed", lambda f: f.of(Fate.MISSED)),
    ("", "claimed and not published", lambda f: f.of(Fate.UNSENT)),
    ("", "published and not started", lambda f: f.of(Fate.NOT_STARTED)),
)
_BESIDES: Final[_Counts] = (
    ("run", "failed", lambda f: f.of(Fate.FAILED)),
    ("run", "lost with the worker", _lost),
    ("run", "to be tried again", lambda f: f.of(Fate.RETRIED)),
    ("slot", "published late", lambda f: f.late),
    ("further message", "deduplicated", lambda f: f.deduplicated),
    ("slot", "under way", lambda f: f.of(Fate.UNDER_WAY)),
    ("slot", "without a recorded run", lambda f: f.of(Fate.NOT_RECORDED)),
)


def _told(counts: _Counts, figures: Figures) -> list[str]:
    found = ((noun, said, count_of(figures)) for noun, said, count_of in counts)
    return [f"{_many(count, noun) if noun else format(count, ',')} {said}" for noun, said, count in found if count]


def _many(count: int, noun: str, nouns: str = "") -> str:
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def _reservations(figures: Figures, basis: Basis, zone: dt.tzinfo) -> Sequence[str]:
    over, said = figures.period, []

    def at(exact: dt.datetime) -> str:
        return to_the_second(exact, zone)

    if over.asked_since < over.since:
        kept = f"it forgets what is older than {span(basis.retention)}"
        said.append(f"The ledger begins at {at(over.since)}: of the time before nothing is known ({kept}).")
    if basis.unproved:
        said.append(f"Whether slots are absent from the ledger was not looked for: {basis.unproved}.")
    elif basis.proved_since is not None and basis.proved_since > over.since:
        since = at(basis.proved_since)
        said.append(f"Slots that are absent from the ledger were looked for since the switch alone, at {since}.")
    guarded = basis.state.fence.guarded_since
    if guarded is None or guarded > over.since:
        since = f"before {at(guarded)}" if guarded else "at any time of it"
        said.append(f"It is not known that every worker had the run guard {since}: one without may run a slot twice.")
    if count := figures.of(Fate.RUN):
        said.append(f"How {_many(count, 'run')} ended is not known: the workers' release did not say.")
    if count := figures.of(Fate.RUNNING):
        said.append(f"Of {_many(count, 'run')} no end is recorded so far.")
    alone = basis.unmanaged
    if not alone.ok or "not known" in alone.detail or "none can be" in alone.detail:
        said.append(f"Of beats without the lease: {alone.detail}.")
    if basis.slotless:
        count = sum(row.messages for row in basis.slotless)
        said.append(f"{_many(count, 'message')} of scheduled tasks named no slot, and were run besides.")
    if basis.led_until:
        said.append(f"What fell due since {at(basis.led_until)}, when a leader was seen last, is not among the slots.")
    if basis.pauses:
        what, since = _paused(basis.pauses).capitalize(), at(min(one.paused_at for one in basis.pauses))
        said.append(f"{what}: what has been kept back since {since} is not among the slots.")
    if basis.not_proved:
        said.append(
            f"Of {_many(len(basis.not_proved), 'entry', 'entries')} this period proves nothing (each is named)."
        )
    return said
