"""``cutover report``: read, judge, and make of it a short summary, the page and the data."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from django.utils.timezone import get_default_timezone

from cutover import clock
from cutover.ledger.pauses import Pause
from cutover.observe import course
from cutover.observe.course import Course
from cutover.observe.report import counting, document, environment, verdict
from cutover.observe.report.delays import STEPS_MS, Delays
from cutover.observe.report.environment import Environment
from cutover.observe.report.expressions import RUNS, Fate
from cutover.observe.report.figures import EntryFigures, Figures
from cutover.observe.report.verdict import Basis, Verdict
from cutover.observe.status import SLOT
from cutover.phases import facts
from cutover.phases.context import Context
from cutover.phases.evidence.pauses import as_json, in_words
from cutover.phases.evidence.tally import Counting
from cutover.phases.report import Outcome, Report, plain
from cutover.phases.wording import SHOWN, instant, listed, span, to_the_second

NAME: Final = "report"
WEEK: Final = dt.timedelta(days=7)
GRACE: Final = dt.timedelta(seconds=5)
"""How old a slot must be to be in it: the message of a younger one may be under way."""
_TERM: Final = "epoch side host pid release started_at seen_at ended_at end_reason"
_ENTRY: Final = " ".join(["slots", *(field.name for field in fields(EntryFigures))])
_DELAYS: Final = " ".join(field.name for field in fields(Delays))


@dataclass(frozen=True, slots=True)
class Content:
    """What a report is made of; ``at``: when it was."""

    at: dt.datetime
    zone: dt.tzinfo
    figures: Figures
    course: Course
    basis: Basis
    verdict: Verdict
    environment: Environment
    pauses: Sequence[Pause]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodReport(Report):
    """A report, and what its page is made of."""

    content: Content

    def page(self) -> str:
        """One HTML document, which refers to nothing outside of it; ASCII, so that any stream takes it."""
        return document.page(self.content)


def run(context: Context, *, since: dt.timedelta = WEEK) -> PeriodReport:
    """Report what was due in the last ``since``, up to a few seconds ago.

    Raises LedgerUnavailable; for the code schedule of this process ConfigurationError or EntriesRefused.
    """
    state = facts.read(context)
    until = context.ledger.fence.now() - GRACE
    context.progress("counting slots")
    # A proof that begins later, with the switch, has less to count.
    is_all_proved = state.is_switched and (state.switched_at or until) <= until - since
    proof = Counting() if is_all_proved else None
    counted = counting.read(context, until - since, until, proof)
    basis = verdict.read(context, state, counted, proof)
    pauses = context.ledger.pauses.since(counted.period.since)
    course_ = course.during(context, counted.period.since, until)
    judged = verdict.judge(counted, basis, get_default_timezone())
    made = Content(
        clock.now(), get_default_timezone(), counted, course_, basis, judged, environment.read(context), pauses
    )
    return PeriodReport(NAME, Outcome.DONE, (), _lines(made), "", "", _data(made), content=made)


def _lines(made: Content) -> list[str]:
    over, counted, zone = made.figures.period, made.figures, made.zone
    having = sum(1 for one in counted.entries if one.slots)
    began, ended = (to_the_second(at, zone) for at in (over.since, over.until))
    shown = [
        made.verdict.sentence,
        f"Period    {began} to {ended} ({span(over.until - over.since)})",
        f"Slots     {counted.slots:,}, of {having:,} of {len(counted.entries):,} entries; {counted.of(*RUNS):,} run, "
        f"{counted.of(Fate.MISSED):,} missed, {counted.late:,} late, {counted.of(Fate.FAILED):,} failed, "
        f"{counted.deduplicated:,} further message{'s' * (counted.deduplicated != 1)} deduplicated",
        f"Leaders   terms: {made.course.terms_total}; finished steps of the cutover: {made.course.steps_total}",
    ]
    shown += [f"Paused    {in_words(pause)}{_ended(pause)}" for pause in made.pauses[:SHOWN]]
    for one in counted.listed:
        if one.slots and one.kind != "deduplicated":
            slots = [f"{life.entry} due {instant(life.due_at, zone)}" for life in one.slots[:3]]
            shown.append(f"{one.kind.capitalize():<9} {', '.join(slots)}" + (" ..." if one.total > 3 else ""))
    return [
        *shown,
        *(["Reservations:", *listed(made.verdict.reservations)] if made.verdict.reservations else []),
    ]


def _ended(pause: Pause) -> str:
    return f"; ended at {to_the_second(pause.ended_at)}" if pause.ended_at else ""


def _data(made: Content) -> dict[str, Any]:
    """As JSON; the keys are those of docs/public-api.md."""
    counted, over, basis = made.figures, made.figures.period, made.basis
    return {
        **plain(over, "asked_since since until"),
        "zone": str(made.zone),
        "verdict": made.verdict.sentence,
        "severity": made.verdict.severity.name.lower(),
        "reservations": [*made.verdict.reservations],
        **{name: getattr(counted, name) for name in ("slots", "late", "deduplicated")},
        "run": counted.of(*RUNS),
        "fates": {each.value: counted.of(each) for each in Fate},
        "entries": [{**plain(one, _ENTRY), "started": plain(one.started, _DELAYS)} for one in counted.entries],
        "over_time": [
            {
                "at": dt.datetime.fromtimestamp(over.begin + one.bucket * over.bucket_s, dt.UTC).isoformat(),
                "published": plain(one.published, _DELAYS),
                "started": plain(one.started, _DELAYS),
            }
            for one in counted.moments
        ],
        "histogram": {
            "steps_ms": [*STEPS_MS],
            "published": [*counted.published],
            "started": [*counted.started],
        },
        "listed": [
            {"kind": one.kind, "total": one.total, "slots": [plain(life, f"entry {SLOT}") for life in one.slots]}
            for one in counted.listed
        ],
        "proof": {
            "since": basis.proved_since.isoformat() if basis.proved_since else None,
            "found": basis.found,
            "findings": [plain(one, "entry due_at reason") for one in basis.findings],
            "unproven": [{"entry": name, "reason": why} for name, why in basis.not_proved],
        },
        "terms": [plain(one, _TERM) for one in made.course.terms],
        "steps": [plain(one, "at phase step operator") for one in made.course.steps],
        "pauses": as_json(made.pauses),
        "versions": {**made.environment.versions},
        "settings": {**made.environment.settings},
    }
