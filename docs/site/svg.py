"""What every drawing is made of: SVG as text, coloured by the classes of ``static/cutover.css`` in both schemes."""

from html import escape
from itertools import pairwise
from textwrap import wrap
from typing import Final

Point = tuple[float, float]

CHARACTER: Final = 7.1
"""The width of one, in the 13 px of a label."""
LINE: Final = 18
"""From one line of a label to the next."""
RADIUS: Final = 7


def width(text: str) -> float:
    """About how wide it is; rather too much than too little."""
    return CHARACTER * sum(1.3 if letter.isupper() else 1 for letter in text)


def broken(label: str, width: float) -> list[str]:
    """The label, broken so that no line of it is wider than ``width``."""
    return wrap(label, max(8, int(width / CHARACTER))) or [""]


def text(x: float, y: float, lines: list[str], kind: str) -> str:
    """Lines of text, the first one's baseline at ``y``."""
    rows = "".join(f'<tspan x="{x:g}" y="{y + LINE * row:g}">{escape(line)}</tspan>' for row, line in enumerate(lines))
    return f'<text class="{kind}">{rows}</text>'


def box(x: float, y: float, width: float, height: float, kind: str) -> str:
    """A box with round corners."""
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"/>'


def dot(x: float, y: float, radius: float, kind: str) -> str:
    """A dot, or a ring, by its kind."""
    return f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="{radius:g}"/>'


def line(points: list[Point], kind: str) -> str:
    """A line through the points, each of them straight above, below or beside the one before; its corners are round."""
    points = [points[0], *(after for before, after in pairwise(points) if after != before)]
    path = "M{:g} {:g}".format(*points[0])
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        (begin, end) = _short_of(corner, before), _short_of(corner, after)
        path += "L{:g} {:g}Q{:g} {:g} {:g} {:g}".format(*begin, *corner, *end)
    return f'<path class="{kind}" d="{path}L{points[-1][0]:g} {points[-1][1]:g}"/>'


def _short_of(corner: Point, other: Point) -> Point:
    """Where, on the way from ``other`` to ``corner``, the curve begins."""
    (x, y), (other_x, other_y) = corner, other
    length = abs(other_x - x) + abs(other_y - y)
    part = min(RADIUS, length / 2) / length
    return x + (other_x - x) * part, y + (other_y - y) * part


def head(x: float, y: float, kind: str, *, right: bool) -> str:
    """An arrow's head; its tip is at the point."""
    back = x + (-8 if right else 8)
    return f'<path class="head {kind}" d="M{x:g} {y:g}L{back:g} {y - 4.5:g}L{back:g} {y + 4.5:g}Z"/>'


def cross(x: float, y: float, kind: str) -> str:
    """What stands in the place of a head where a message is refused or lost."""
    return f'<path class="{kind}" d="M{x - 5:g} {y - 5:g}l10 10m0 -10l-10 10"/>'


def drawing(width: float, height: float, parts: list[str], title: str) -> str:
    """The whole. It gets narrower with its page, and never wider than it is."""
    return (
        f'<svg class="drawing" xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width:g} {height:g}" '
        f'style="max-width:{width:g}px"><title>{escape(title)}</title>{"".join(parts)}</svg>'
    )
