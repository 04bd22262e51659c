"""Mermaid's sequence diagrams, as far as the documents use them: who tells whom what, from top to bottom."""

import re
from typing import Final

from docs.site import svg

HEADER: Final = "sequenceDiagram"
PARTICIPANT: Final = re.compile(r"participant (\w+) as ([^:;#]+)")
NOTE: Final = re.compile(r"Note over (\w+)(?:,(\w+))?: ([^;#]+)")
MESSAGE: Final = re.compile(r"(\w+)(?P<arrow>--?(?:>>|x))(\w+): ([^;#]+)")
"""A semicolon or a hash in a text ends it for mermaid."""

COLUMN, HEAD_HEIGHT, GAP = 176, 42, 20


def draw(lines: list[str], title: str) -> str:
    """The diagram of these lines, the header left out, as SVG. ValueError for a line that it cannot draw."""
    columns: dict[str, float] = {}
    heads: list[str] = []
    parts: list[str] = []
    y = HEAD_HEIGHT + 2.0
    for line in filter(None, map(str.strip, lines)):
        if found := PARTICIPANT.fullmatch(line):
            x = columns[found[1]] = COLUMN * (len(columns) + 0.5)
            name = svg.broken(found[2], COLUMN - 30)
            heads.append(svg.box(x - COLUMN / 2 + 8, 1, COLUMN - 16, HEAD_HEIGHT, "box"))
            heads.append(svg.text(x, HEAD_HEIGHT / 2 + 6 - svg.LINE / 2 * (len(name) - 1), name, "name middle"))
        elif found := NOTE.fullmatch(line):
            left, right = sorted(_column(who, columns) for who in (found[1], found[2] or found[1]))
            drawn, y = _note(left, right, found[3], y)
            parts += drawn
        elif found := MESSAGE.fullmatch(line):
            drawn, y = _message(_column(found[1], columns), _column(found[3], columns), found["arrow"], found[4], y)
            parts += drawn
        else:
            raise ValueError(f"docs/site/sequences.py cannot draw this line: {line!r}")
    y += GAP
    lives = [svg.line([(x, HEAD_HEIGHT), (x, y - 2)], "life") for x in columns.values()]
    return svg.drawing(COLUMN * len(columns), y, [*lives, *heads, *parts], title)


def _column(who: str, columns: dict[str, float]) -> float:
    if who not in columns:
        raise ValueError(f"nobody is called {who!r}: name participants first.")
    return columns[who]


def _note(left: float, right: float, said: str, y: float) -> tuple[list[str], float]:
    width = right - left + COLUMN - 24
    lines = svg.broken(said, width - 20)
    height, top = svg.LINE * len(lines) + 10, y + GAP * 0.7
    middle = (left + right) / 2
    drawn = [
        svg.box(middle - width / 2, top, width, height, "note"),
        svg.text(middle, top + 18, lines, "label middle"),
    ]
    return drawn, top + height


def _message(source: float, target: float, arrow: str, said: str, y: float) -> tuple[list[str], float]:
    """One message, its words above its line; to oneself a loop, its words beside it."""
    kind = f"way{' dashed' if arrow.startswith('--') else ''}{' refused' if arrow.endswith('x') else ''}"
    if source == target:
        lines = svg.broken(said, COLUMN - 40)
        bottom = y + GAP + svg.LINE * max(1, len(lines) - 1)
        points = [(source, y + GAP), (source + 18, y + GAP), (source + 18, bottom), (source + 8, bottom)]
        drawn = [svg.line(points, kind), svg.head(source + 1, bottom, kind, right=False)]
        return [*drawn, svg.text(source + 26, y + GAP + 4, lines, "label")], bottom + 4
    lines = svg.broken(said, abs(target - source) - 24)
    row = y + GAP + svg.LINE * len(lines) - 4
    is_right = target > source
    tip = target - 1 if is_right else target + 1
    drawn = [svg.line([(source, row), (tip - (6 if is_right else -6), row)], kind)]
    drawn.append(svg.cross(tip, row, kind) if arrow.endswith("x") else svg.head(tip, row, kind, right=is_right))
    return [*drawn, svg.text((source + target) / 2, y + GAP + 6, lines, "label middle")], row
