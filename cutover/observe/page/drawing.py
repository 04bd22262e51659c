"""Where on a timeline everything stands: across in per cent of its width, down in pixels, both as text. Pure.

Per cent, so that a narrow screen gets the same drawing with letters of the same size.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cutover.observe.course import Course
from cutover.observe.lanes import Lane
from cutover.observe.names import shortened
from cutover.observe.page.words import query_of
from cutover.observe.rows import run_of
from cutover.observe.slot import Life
from cutover.plural import counted
from cutover.types import RunOutcome, Side, SlotState
from cutover.visible import visible

LANE: Final = 38
"""How high a lane is."""
TOP: Final = 20
AXIS: Final = 26
OF_SIDE: Final = {Side.CODE: -5, Side.DATABASE: 5}
"""How far below the line of its lane a mark of that side stands: colour alone does not tell who does not see it."""
EDGE: Final = 4
"""How high the edge of a term is: at the top for the code side, at the foot for the database side."""
SHAPES: Final = {
    RunOutcome.SUCCEEDED: "ok",
    RunOutcome.FAILED: "failed",
    RunOutcome.RETRIED: "retried",
    RunOutcome.RUNNING: "running",
    RunOutcome.LOST: "lost",
    None: "ok",
}
TICKS: Final = 4
NEAR: Final = 0.1
"""How near two phases may end, as a part of the width, and each have a label: a narrow screen has few letters."""
NAME: Final = 44
"""How many letters of a name are drawn: a narrow screen has no room for more."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One slot: where, in which shape and colour, and what it says."""

    x: str
    y: int
    shape: str
    side: str
    title: str
    query: str
    is_deduplicated: bool


@dataclass(frozen=True, slots=True)
class DrawnLane:
    """One entry: where its lane begins, its label and its line are.

    ``drawn_from``: where its first slot can be; empty from the left. ``short``: as much of its name as a narrow screen
    has room for.
    """

    name: str
    short: str
    top: int
    label_y: int
    y: int
    drawn_from: str
    marks: Sequence[Mark]
    told: str


@dataclass(frozen=True, slots=True)
class Band:
    """One term; ``edge_y``: where its edge is."""

    x: str
    width: str
    edge_y: int
    side: str
    title: str


@dataclass(frozen=True, slots=True)
class Line:
    """The end of a phase, or a tick of the axis. ``title``: the phase's own name, whatever label it shares."""

    x: str
    label: str
    anchor: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A timeline with everything in its place."""

    height: int
    foot: int
    lane_height: int
    title: str
    lanes: Sequence[DrawnLane]
    bands: Sequence[Band]
    phases: Sequence[Line]
    ticks: Sequence[Line]


def draw(lanes: Sequence[Lane], course: Course, since: dt.datetime, now: dt.datetime) -> Drawing:
    """The timeline from ``since`` to ``now``, in whose zone its axis is."""
    since = since.astimezone(dt.UTC)  # between two instants of one zone Python leaves out that clocks are changed
    span = now - since

    def across(at: dt.datetime) -> float:
        return min(1.0, max(0.0, (at - since) / span))

    foot, zone = TOP + LANE * len(lanes), f" {now:%Z}"
    drawn = []
    for number, lane in enumerate(lanes):
        top = TOP + LANE * number
        cut = percent(across(lane.since)) if lane.since > since else ""
        marks = [_mark(life, across(life.due_at), top + 26, now) for life in lane.slots]
        drawn.append(
            DrawnLane(lane.entry, shortened(lane.entry, NAME), top, top + 12, top + 26, cut, marks, _told(lane, cut))
        )
    return Drawing(
        height=foot + AXIS,
        foot=foot,
        lane_height=LANE,
        title=f"The slots of {counted(len(lanes), 'entry')} since {_clock(since, now, span)}",
        lanes=drawn,
        bands=_bands(course, since, now, across, {Side.CODE: 0, Side.DATABASE: foot - EDGE}),
        phases=_phases(
            [(one.phase, across(one.begun_at)) for one in course.steps if one.is_end_of_phase and one.begun_at > since]
        ),
        ticks=[
            Line(
                percent(part / TICKS),
                _clock(since + span * part / TICKS, now, span) + (zone if part == TICKS else ""),
                anchor,
            )
            for part, anchor in zip(range(TICKS + 1), ("start", *["middle"] * (TICKS - 1), "end"), strict=True)
        ],
    )


def percent(part: float) -> str:
    """A part of the width, as SVG has it whatever the language of the site; a mark at an end has room there."""
    return f"{1 + 98 * part:.2f}%"


def shape_of(life: Life) -> str:
    """The name of the shape that a slot is drawn in."""
    if life.started_at is not None:
        return SHAPES[life.outcome]
    return "missed" if life.state is SlotState.MISSED else "waiting"


def _phases(ends: Iterable[tuple[str, float]]) -> list[Line]:
    """A line for each; those that are near have one label, at the first of them: two would be drawn over each other."""
    lines: list[Line] = []
    first, at = 0, -1.0
    for phase, x in sorted(ends, key=lambda end: end[1]):
        name, anchor = phase.removeprefix("phase"), "end" if x > 0.5 else "start"
        if x - at < NEAR:
            lines[first] = replace(lines[first], label=f"{lines[first].label}, {name}")
            lines.append(Line(percent(x), "", anchor, name))
        else:
            first, at = len(lines), x
            lines.append(Line(percent(x), name, anchor, name))
    return lines


def _mark(life: Life, x: float, line_y: int, now: dt.datetime) -> Mark:
    twice = f", {counted(life.deduplicated, 'further message')} dropped" if life.deduplicated else ""
    at = life.due_at.astimezone(now.tzinfo)
    title = visible(f"{life.entry}, {at:%H:%M:%S}: {run_of(life, now)}, {life.side.value} side{twice}")
    y, shape = line_y + OF_SIDE[life.side], shape_of(life)
    return Mark(percent(x), y, shape, life.side.value, title, query_of(life), bool(life.deduplicated))


def _told(lane: Lane, cut: str) -> str:
    counts = Counter(f"{shape_of(life)} ({life.side.value})" for life in lane.slots)
    told = ", ".join(f"{count} {what}" for what, count in counts.most_common()) or "no slot"
    if twice := sum(1 for life in lane.slots if life.deduplicated):
        told += f"; further messages dropped of {twice}"
    return f"the latest {len(lane.slots)}: {told}" if cut else told


def _bands(
    course: Course,
    since: dt.datetime,
    now: dt.datetime,
    across: Callable[[dt.datetime], float],
    edges: Mapping[Side, int],
) -> list[Band]:
    bands, end, span = [], now, now - since
    for term in reversed(course.terms):  # one that did not say when it ended had by the start of the next
        ended_at = min(term.known_until(now), end)
        if end <= since:
            break
        left, right = across(term.started_at), across(ended_at)
        title = f"epoch {term.epoch}: {term.host}:{term.pid} led for the {term.side.value} side"
        if term.told_end is None and ended_at < end:
            title += f"; its last sign of life is of {_clock(ended_at, now, span)}, and no end is recorded"
        if ended_at > since:
            width = f"{98 * (right - left):.2f}%"
            bands.append(Band(percent(left), width, edges[term.side], term.side.value, title))
        end = term.started_at
    return bands


def _clock(at: dt.datetime, now: dt.datetime, span: dt.timedelta) -> str:
    local = at.astimezone(now.tzinfo)
    if span <= dt.timedelta(hours=1):
        return f"{local:%H:%M:%S}" if span < dt.timedelta(minutes=30) else f"{local:%H:%M}"
    return f"{local:%H:%M}" if span <= dt.timedelta(days=1) else f"{local:%a %d %H:%M}"
