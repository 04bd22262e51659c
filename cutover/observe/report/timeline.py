"""The timeline: a lane an entry, its slots by side and fate, bands for terms, lines for steps of the cutover. Pure."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from django.utils.safestring import SafeString

from cutover.observe.course import Course
from cutover.observe.names import shortened
from cutover.observe.report.axes import LEFT, WIDTH, Times
from cutover.observe.report.expressions import Fate
from cutover.observe.report.figures import Cell, Figures
from cutover.observe.report.svg import Element, drawing, element, number, titled
from cutover.observe.slot import Claimant
from cutover.types import EntryName, Side

LANE: Final = 20.0
LEGEND: Final = 44.0
LEADERS: Final = 26.0
NAME_LENGTH: Final = 28
"""How much of an entry's name fits; the whole one is its title."""
LEAST: Final = 3.0
"""How wide a bucket with slots is drawn at least."""

Marks = dict[str, list[Cell]]

MARKS: Final = {
    "missed": ("missed", "M{l} {t}L{r} {b}M{l} {b}L{r} {t}"),
    "stuck": ("not sent, or not started", "M{l} {t}H{r}V{b}H{l}z"),
    "failed": ("run failed", "M{x} {t}L{r} {y}L{x} {b}L{l} {y}z"),
    "late": ("published late", "M{x} {t}L{r} {b}H{l}z"),
    "again": ("further message deduplicated", "M{l} {y}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0"),
    "unknown": ("without a recorded run", "M{l} {y}H{r}M{x} {t}V{b}"),
}
"""What stands out: how the legend calls it, and its shape, which tells it apart where colours do not."""
_OF_FATE: Final = {
    Fate.MISSED: "missed",
    Fate.UNSENT: "stuck",
    Fate.NOT_STARTED: "stuck",
    Fate.FAILED: "failed",
    Fate.NOT_RECORDED: "unknown",
}


def draw(figures: Figures, course: Course, zone: dt.tzinfo) -> SafeString:
    """The whole drawing."""
    times, lanes = Times(figures.period, zone), _lanes(figures)
    top = LEGEND + LEADERS + 20
    bottom = top + LANE * len(lanes)
    parts = [*_legend(), *times.drawn(LEGEND + 20, bottom), *_terms(course.terms, times, bottom)]
    for number_, (name, cells) in enumerate(lanes):
        parts += _lane(name, cells, times, top + LANE * number_)
    parts += _steps(course, times, bottom)
    described = (
        f"{len(lanes)} lanes, one for each entry; the upper half of a lane has the slots that the code side sent, the "
        f"lower half those of the database side, in steps of {figures.period.bucket_s} s. The tables have the same."
    )
    return drawing(WIDTH, bottom + 16, "timeline", "Timeline of the slots of each entry", described, parts)


def _lanes(figures: Figures) -> list[tuple[EntryName, Sequence[Cell]]]:
    of_entry = defaultdict[EntryName, list[Cell]](list)
    for cell in figures.cells:
        of_entry[cell.entry].append(cell)
    return [(one.entry, of_entry[one.entry]) for one in figures.entries if one.entry in of_entry]


def _legend() -> list[Element]:
    made, x, y = [], 0.0, 10.0
    blocks = {"code": "sent by the code side (upper half)", "database": "sent by the database side (lower half)"}
    for side, text in blocks.items():
        height = 0 if side == "code" else 6
        made.append(element("path", d=f"M{x + 2} {y - 6 + height}h16v6h-16z", class_=f"side {side}"))
        made.append(element("text", x=x + 24, y=y + 4, text=text))
        x += 275
    for kind, text in (("term", "term of a leader"), ("switch", "switch of side"), ("step", "phase done")):
        shape = f"M{x + 2} {y - 5}h16v10h-16z" if kind == "term" else f"M{x + 10} {y - 8}v16"
        made.append(element("path", d=shape, class_=f"{kind} code" if kind == "term" else kind))
        made.append(element("text", x=x + 24, y=y + 4, text=text))
        x += 145
    x, y = 0.0, 32.0
    for kind, (text, _) in MARKS.items():
        made.append(_mark(kind, [x + 10], y))
        made.append(element("text", x=x + 24, y=y + 4, text=text))
        x += 66 + 6.2 * len(text)
    return made


def _mark(kind: str, at: Iterable[float], y: float) -> Element:
    _, shape = MARKS[kind]
    drawn = (
        shape.format(x=number(x), l=number(x - 4), r=number(x + 4), y=number(y), t=number(y - 4), b=number(y + 4))
        for x in at
    )
    return element("path", d="".join(drawn), class_=f"mark {kind}")


def _terms(terms: Sequence[Claimant], times: Times, bottom: float) -> list[Element]:
    made = [element("text", x=0, y=LEGEND + LEADERS + 7, class_="label", text="leader (epoch)")]
    until_ = times.period.until
    starts = [*(term.started_at for term in terms), until_]
    for odd, (term, following) in enumerate(zip(terms, starts[1:], strict=True)):
        known_until = min(term.known_until(until_), max(following, term.started_at))
        begin, end = times.x(term.started_at), times.x(known_until)
        width, y = max(end - begin, 1.0), LEGEND + LEADERS - 4
        ended_at = term.told_end and term.told_end.astimezone(times.zone)
        seen_at = f"{term.seen_at.astimezone(times.zone):%d %b %H:%M:%S}"
        until = f"to {ended_at:%d %b %H:%M:%S}" if ended_at else f"on, last seen {seen_at}, with no end recorded"
        told = f"epoch {term.epoch}: {term.host}:{term.pid} led for the {term.side} side, release {term.release or '?'}"
        since = f"{term.started_at.astimezone(times.zone):%d %b %H:%M:%S}"
        why = f" ({term.end_in_words})" if term.end_reason else ""
        band = element("rect", x=begin, y=y, width=width, height=14.0, class_=f"term {term.side}")
        made.append(titled(band, f"{told}, from {since} {until}{why}"))
        if odd % 2:
            made.append(element("rect", x=begin, y=y + 14, width=width, height=bottom - y - 14, class_="band"))
        labels = f"{term.epoch} {term.side}", str(term.epoch)  # the side is not to be told by its colour alone
        if label := next((one for one in labels if width > 7 * len(one) + 8), ""):
            made.append(element("text", x=begin + 4, y=y + 11, class_="on", text=label))
    return made


def _lane(name: EntryName, cells: Sequence[Cell], times: Times, y: float) -> list[Element]:
    label = element("text", x=0, y=LANE / 2 + 4, class_="label", text=shortened(name, NAME_LENGTH - 1))
    made = [
        # Cut off at the drawing's beginning: how wide letters are nobody knows here.
        element("svg", titled(label, name), x=0, y=y, width=LEFT - 4, height=LANE, overflow="hidden"),
        element("path", d=f"M{LEFT:g} {y + LANE:g}H{WIDTH - 10:g}", class_="grid"),
    ]
    for side, top in ((Side.CODE, y + 2), (Side.DATABASE, y + LANE / 2)):
        own = [cell for cell in cells if cell.side is side]
        sent = sorted({cell.bucket for cell in own if cell.fate not in (Fate.MISSED, Fate.UNSENT)})
        if sent:
            block = element("path", d="".join(_blocks(sent, times, top, LANE / 2 - 2)), class_=f"side {side}")
            made.append(titled(block, f"{name}: {sum(cell.slots for cell in own):,} slots of the {side} side"))
    marks: Marks = defaultdict(list)
    for cell in cells:
        if kind := _OF_FATE.get(cell.fate):
            marks[kind].append(cell)
        if cell.late:
            marks["late"].append(cell)
        if cell.deduplicated:
            marks["again"].append(cell)
    for kind in reversed(MARKS):  # the worst on top
        if of_kind := marks.get(kind):
            buckets = sorted({cell.bucket for cell in of_kind})
            mark = _mark(kind, [times.left + (bucket + 0.5) * times.bucket for bucket in buckets], y + LANE / 2)
            made.append(titled(mark, f"{name}: {_counted(kind, of_kind)}, {_when(buckets, times)}"))
    return made


def _counted(kind: str, cells: Sequence[Cell]) -> str:
    field = {"late": "late", "again": "deduplicated"}.get(kind, "slots")
    return f"{sum(getattr(cell, field) for cell in cells):,} {MARKS[kind][0]}"


def _when(buckets: Sequence[int], times: Times) -> str:
    more = f" and {len(buckets) - 3} times more" if len(buckets) > 3 else ""
    return "from " + ", ".join(f"{times.start(bucket):%d %b %H:%M:%S} on" for bucket in buckets[:3]) + more


def _blocks(buckets: Sequence[int], times: Times, y: float, height: float) -> Iterable[str]:
    """Neighbours are drawn as one, so that what is dense takes few shapes."""
    for _, group in groupby(enumerate(buckets), lambda pair: pair[1] - pair[0]):
        run = [bucket for _, bucket in group]
        x, width = number(times.left + run[0] * times.bucket), number(max(len(run) * times.bucket, LEAST))
        yield f"M{x} {number(y)}h{width}v{number(height)}h-{width}z"


def _steps(course: Course, times: Times, bottom: float) -> list[Element]:
    made: list[Element] = []
    labels: list[tuple[float, list[str]]] = []
    for step in course.steps:
        x = times.x(step.at)
        if not labels or x > labels[-1][0] + max(50, 30 + 3 * len(_joined(labels[-1][1]))):
            labels.append((x, [step.phase]))
        elif step.phase not in labels[-1][1]:  # those that are close share a label, at the first of them
            labels[-1][1].append(step.phase)
        line = element(
            "path",
            d=f"M{number(x)} {LEGEND + LEADERS - 6:g}V{bottom:g}",
            class_="switch" if step.is_switch else "step",
        )
        said = step.phase if not step.is_switch else f"{step.phase}: {step.step}"
        made.append(titled(line, f"{said}, {step.at.astimezone(times.zone):%d %b %H:%M:%S}"))
    for x, phases in labels:
        text, room = _joined(phases), WIDTH - x
        anchor = "middle" if room > 3 * len(text) else "end"
        made.append(element("text", x=x, y=bottom + 12, class_="small", text=text, text_anchor=anchor))
    return made


def _joined(phases: Sequence[str]) -> str:
    return ", ".join([phases[0], *(one.removeprefix("phase") for one in phases[1:])])
