"""The page of a report: drawings, and tables whose cells are text; what is no HTML yet is escaped on its way there."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from django.template import Context, Engine
from django.utils.safestring import SafeString, mark_safe

import cutover
from cutover.observe.conditions import Severity
from cutover.observe.report import charts, timeline
from cutover.observe.report.expressions import RUNS, Fate
from cutover.observe.report.figures import SHOWN, EntryFigures, Listed
from cutover.observe.rows import run_of
from cutover.observe.slot import Life
from cutover.observe.times import brief
from cutover.phases.evidence.lateness import OVERDUE
from cutover.phases.wording import span
from cutover.visible import visible

if TYPE_CHECKING:
    from cutover.observe.report.compose import Content

TEMPLATES: Final = Path(cutover.__file__).parent / "templates"


class Table(NamedTuple):
    """Rows of text under their heads; ``numbers``: which columns are right-aligned, as ``title`` says what of."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    @property
    def body(self) -> SafeString:
        """Its rows as HTML."""
        return _body(self.rows)


_TITLES: Final = {
    "missed": "Missed",
    "unsent": "Not sent, or not started",
    "failed": "Runs that failed",
    "lost": "Runs that were lost with their worker",
    "late": "Published late",
    "deduplicated": "Further messages, deduplicated",
}
_WHY: Final[dict[str, Mapping[str, Callable[[Life], str]]]] = {
    "missed": {
        "reason": lambda life: life.reason + (f" (and {life.passed_over} older ones)" if life.passed_over else "")
    },
    "unsent": {"reason": lambda life: life.reason or "look at the broker, and at the workers"},
    "failed": {"worker": lambda life: life.worker, "error": lambda life: life.error},
    "lost": {"worker": lambda life: life.worker, "known by": lambda life: life.error},
    "late": {"published after": lambda life: _span(life.publish_delay)},
    "deduplicated": {"further messages": lambda life: f"{life.deduplicated:,}"},
}
"""What else there is to know of a slot of each kind, by the head of its column."""
_SEVERITIES: Final = {Severity.WELL: "Well", Severity.NOTICE: "Notice", Severity.PROBLEM: "Problem"}
HEADS: Final = (
    "entry", "side", "slots", "run", "missed", "not sent or started", "failed", "late", "further messages",
    "started p50", "p95", "longest", "run, mean", "longest run",
)  # fmt: skip


def page(made: "Content") -> str:
    """One HTML document. Pure."""
    engine = Engine(dirs=[str(TEMPLATES)])
    counted, over, zone = made.figures, made.figures.period, made.zone
    shown, others = counted.entries[:SHOWN], counted.entries[SHOWN:]
    ill = sum(1 for one in others if not one.is_well)
    given = {
        "sentence": visible(made.verdict.sentence),
        "reservations": [*map(visible, made.verdict.reservations)],
        "severity": _SEVERITIES[made.verdict.severity],
        "period": f"{_at(over.since, zone)} to {_at(over.until, zone)} ({span(over.until - over.since)})",
        "asked": span(over.until - over.asked_since),
        "zone": zone,
        "at": _at(made.at, zone),
        "version": cutover.__version__,
        "numbers": _numbers(made),
        "timeline": timeline.draw(counted, made.course, zone) if counted.cells else "",
        "bucket": span(dt.timedelta(seconds=over.bucket_s)),
        "over_time": charts.over_time(counted, zone) if counted.moments else "",
        "histogram": charts.histogram(counted) if counted.moments else "",
        "lists": [*(_listed(one, zone) for one in counted.listed), *_proof(made)],
        "heads": HEADS,
        "shown": len(shown),
        "entries": _body(map(_entry, shown)),
        "others": len(others),
        "others_body": _body(map(_entry, others)),
        "others_slots": f"{sum(one.slots for one in others):,}",
        "others_ill": f"{ill:,} of them with something to look at" if ill else "all well",
        "course": _course(made),
        "environment": [
            Table("Versions", ("what", "version"), [*made.environment.versions.items()]),
            Table("Settings", ("name", "value"), [*made.environment.settings.items()], "Passwords are left out."),
        ],
        "late_after": span(OVERDUE),
    }
    text = engine.get_template("cutover/report.html").render(Context(given, use_l10n=False))
    return text.encode("ascii", "xmlcharrefreplace").decode()


def _body(rows: Iterable[Sequence[str]]) -> SafeString:
    """Rows as HTML, each under its first cell. By a template those of ten thousand entries take a second."""
    between = "\0"  # so that the cells of a row, all but the first of them numbers and sides, are escaped together
    made = (
        f'<tr><th scope="row">{escape(head)}</th>'
        f"<td>{escape(between.join(cells)).replace(between, '</td><td>')}</td></tr>\n"
        for head, *cells in rows
    )
    return mark_safe("".join(made))  # noqa: S308 - escaped above


def _numbers(made: "Content") -> list[tuple[str, str, str]]:
    """What is told first: how many, of what, and whether that is well."""
    counted = made.figures
    told = (
        (counted.slots, "slots were due", ""),
        (counted.of(*RUNS), "were run", ""),
        (counted.of(Fate.MISSED), "missed", "problem"),
        (counted.of(Fate.UNSENT, Fate.NOT_STARTED), "not sent or not started", "problem"),
        (counted.of(Fate.FAILED), "runs failed", "problem"),
        (counted.late, "published late", "notice"),
        (counted.deduplicated, "further messages deduplicated", ""),
        (made.course.terms_total, "terms of leaders", ""),
    )
    return [(f"{count:,}", what, kind if count else "") for count, what, kind in told]


def _entry(one: EntryFigures) -> Sequence[str]:
    late, counts = one.started, one.fates

    def of(*fates: Fate) -> str:
        return f"{sum(counts.get(each, 0) for each in fates):,}"

    return (
        one.entry,
        ", ".join(one.sides) or "-",
        f"{one.slots:,}",
        of(*RUNS),
        of(Fate.MISSED),
        of(Fate.UNSENT, Fate.NOT_STARTED),
        of(Fate.FAILED),
        f"{one.late:,}",
        f"{one.deduplicated:,}",
        *map(_ms, (late.p50_ms, late.p95_ms, late.longest_ms, one.duration_mean_ms, one.duration_longest_ms)),
    )


def _listed(one: Listed, zone: dt.tzinfo) -> Table:
    more = _WHY[one.kind]
    rows = [
        (
            *(life.entry, _at(life.due_at, zone), life.side, run_of(life), _span(life.run_delay), str(life.epoch)),
            *(told(life) for told in more.values()),
        )
        for life in one.slots
    ]
    messages = one.kind == "deduplicated" and one.total
    count = f"{one.total:,} message{'s' * (one.total != 1)}" if messages else f"{one.total:,}" if one.total else "none"
    count += " that is known" if one.kind == "lost" and not one.total else ""
    note = f"The latest {len(rows)} are listed." if len(rows) < one.total and not messages else ""
    heads = ("entry", "due at", "side", "run", "started after", "epoch", *more)
    return Table(f"{_TITLES[one.kind]}: {count}", heads, rows, note)


def _proof(made: "Content") -> Iterable[Table]:
    """What phase 4's proof names, and what was run without a slot."""
    basis, zone = made.basis, made.zone
    if basis.found is not None:
        rows = [(one.entry, _at(one.due_at, zone), one.reason) for one in basis.findings]
        note = f"The first {len(rows)} are listed." if len(rows) < basis.found else ""
        yield Table(f"Named by phase 4's proof: {basis.found:,}", ("entry", "due at", "what"), rows, note)
    if basis.not_proved:
        title = f"Entries of which this period proves nothing: {len(basis.not_proved):,}"
        yield Table(title, ("entry", "why"), basis.not_proved[:SHOWN], _first(basis.not_proved))
    if basis.slotless:
        rows_ = [
            (row.task, row.origin, f"{row.messages:,}", f"{row.at_slots:,}", _at(row.last_seen_at, zone))
            for row in basis.slotless[:SHOWN]
        ]
        heads = ("task", "sent by", "messages", "when a slot was due", "latest")
        yield Table(f"Run besides, without a slot: {len(basis.slotless):,}", heads, rows_, _first(basis.slotless))


def _first(rows: Sequence[object]) -> str:
    return f"The first {SHOWN} are listed." if len(rows) > SHOWN else ""


def _course(made: "Content") -> list[Table]:
    told, zone = made.course, made.zone
    steps = [(_at(one.at, zone), one.phase, one.step, one.operator) for one in told.steps]
    terms = [
        (
            str(one.epoch),
            one.side,
            f"{one.host}:{one.pid}",
            one.release or "not told",
            _at(one.started_at, zone),
            _at(one.told_end, zone) if one.told_end else f"last seen {_at(one.seen_at, zone)}, no end is recorded",
            one.end_in_words,
        )
        for one in told.terms
    ]
    pauses = [
        (
            one.entry or "everything",
            _at(one.paused_at, zone),
            _at(one.end, zone) if one.end else "not ended",
            one.paused_by,
            one.reason,
        )
        for one in made.pauses
    ]
    paused = [Table(f"Pauses: {len(pauses):,}", ("what", "from", "to", "by", "reason"), pauses[-SHOWN:])]
    heads = ("epoch", "side", "leader", "release", "from", "to", "ended by")
    return [
        Table(
            f"Steps of the cutover: {told.steps_total:,}",
            ("at", "phase", "step", "operator"),
            steps,
            _latest(steps, told.steps_total),
        ),
        Table(f"Terms: {told.terms_total:,}", heads, terms, _latest(terms, told.terms_total)),
        *(paused if pauses else []),
    ]


def _latest(rows: Sequence[object], total: int) -> str:
    return f"The latest {len(rows)} are listed." if len(rows) < total else ""


def _at(at: dt.datetime, zone: dt.tzinfo) -> str:
    local = at.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S} {local.isoformat()[-6:]}"


def _span(length: dt.timedelta | None) -> str:
    return brief(length) if length is not None else "-"


def _ms(length_ms: int | None) -> str:
    return brief(dt.timedelta(milliseconds=length_ms)).replace(".0 s", " s") if length_ms is not None else "-"
