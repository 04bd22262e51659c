"""Mermaid's state diagrams, as far as the documents use them, drawn so that no label covers another.

States stand in one column, in the order in which they are first named. What leads out of a state is listed below it;
its line goes to the lane of the state that it leads to, and all lines of a lane arrive as one arrow.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from docs.site import svg

HEADER: Final = "stateDiagram-v2"
IGNORED: Final = "direction TB"
STEP: Final = re.compile(r"(?P<source>\[\*\]|\w+) --> (?P<target>\[\*\]|\w+)(?:: (?P<label>[^:;#{}\"`]+))?")
"""A colon, a semicolon or a hash in a label ends it for mermaid, or starts something else."""
OUTSIDE: Final = "[*]"

TOP, BOX, BOX_HEIGHT, ROW, BETWEEN = 34, 138, 28, 21, 14
STEM, LABEL, LABEL_WIDTH = 14, 34, 470
LANES, LANE, KINDS = LABEL + LABEL_WIDTH + 22, 15, 5


@dataclass
class Step:
    """One way out of a state, and the row on which its line begins."""

    target: str
    lines: list[str]
    y: float = 0

    @property
    def end(self) -> float:
        """Where the label ends, and the line begins."""
        return LABEL + svg.width(self.lines[-1]) + 4


@dataclass
class State:
    """One state, its ways out, and where its box is."""

    name: str
    steps: list[Step] = field(default_factory=list)
    y: float = 0
    is_end: bool = False

    @property
    def arrival(self) -> float:
        """The row on which arrows come in."""
        return self.y + BOX_HEIGHT / 2


def draw(lines: list[str], title: str) -> str:
    """The diagram of these lines, the header left out, as SVG. ValueError for a line that it cannot draw."""
    states = _read(lines)
    height = _place(states)
    lanes = _lanes(states)
    parts = [svg.dot(STEM, 8, 6, "begin"), svg.line([(STEM, 8), (STEM, TOP)], "way")]
    for state in states.values():
        parts += _drawn(state)
    for target, lane in lanes.items():
        x, kind = LANES + lane * LANE, f"way lane-{lane % KINDS}"
        arrival = states[target].arrival
        for step in _into(target, states):
            parts.append(svg.line([(step.end, step.y), (x, step.y), (x, arrival), (BOX + 6, arrival)], kind))
        parts.append(svg.head(BOX + 1, arrival, f"lane-{lane % KINDS}", right=False))
    return svg.drawing(LANES + LANE * (max(lanes.values(), default=0) + 1), height, parts, title)


def _read(lines: list[str]) -> dict[str, State]:
    states: dict[str, State] = {}
    for line in map(str.strip, lines):
        if line in ("", IGNORED):
            continue
        if not (found := STEP.fullmatch(line)):
            raise ValueError(f"docs/site/states.py cannot draw this line: {line!r}")
        source, target, label = found.groups()
        for name in (source, target):
            if name != OUTSIDE:
                states.setdefault(name, State(name))
        if target == OUTSIDE:
            states[source].is_end = True
        elif source != OUTSIDE:
            states[source].steps.append(Step(target, svg.broken(label or "", LABEL_WIDTH)))
    return states


def _place(states: dict[str, State]) -> float:
    """Give every state and step its place; the height of all."""
    y = float(TOP)
    for state in states.values():
        state.y = y
        y += BOX_HEIGHT + 4
        for step in state.steps:
            step.y = y + ROW / 2 + svg.LINE * (len(step.lines) - 1)
            y = step.y + ROW / 2
        y += BETWEEN
    return y


def _into(target: str, states: dict[str, State]) -> list[Step]:
    return [step for state in states.values() for step in state.steps if step.target == target != state.name]


def _lanes(states: dict[str, State]) -> dict[str, int]:
    """The lane of each state that something leads to; short ways are inside, and none covers another."""
    spans = {}
    for name, state in states.items():
        if rows := [step.y for step in _into(name, states)]:
            spans[name] = (min(*rows, state.arrival), max(*rows, state.arrival))
    lanes: dict[str, int] = {}
    for name, (low, high) in sorted(spans.items(), key=lambda item: item[1][1] - item[1][0]):
        taken = {lane for other, lane in lanes.items() if spans[other][0] <= high and low <= spans[other][1]}
        lanes[name] = next(lane for lane in range(len(spans)) if lane not in taken)
    return lanes


def _drawn(state: State) -> list[str]:
    """The box, and the list of ways out."""
    parts = [svg.box(1, state.y, BOX, BOX_HEIGHT, "box")]
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", state.name)
    parts.append(svg.text(12, state.y + 19, [name], "name"))
    if state.is_end:
        parts += [svg.dot(BOX - 14, state.arrival, 6, "ring"), svg.dot(BOX - 14, state.arrival, 3, "begin")]
    for step in state.steps:
        first = step.y - svg.LINE * (len(step.lines) - 1)
        parts.append(svg.line([(STEM, state.y + BOX_HEIGHT), (STEM, first), (LABEL - 6, first)], "stem"))
        parts.append(svg.text(LABEL, first + 4, step.lines, "label"))
        if step.target == state.name:
            parts.append(svg.text(step.end + 4, step.y + 4, ["↺"], "again"))
    return parts
