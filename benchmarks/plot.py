"""Figures as bars, in SVG: one bar a contender, a line for the goal, readable on white and on black."""

from collections.abc import Sequence
from html import escape
from typing import Final

from benchmarks.figures import Row, shown

WIDTH: Final = 720
LABEL: Final = 250
LINE: Final = 24
HEAD: Final = 34
OURS, OTHER, INK, GOAL = "#2a7ab0", "#9aa5ad", "#6b7680", "#c8553d"


def bars(title: str, rows: Sequence[Row]) -> str:
    """An SVG document of rows of one unit; those without a value are left out."""
    rows = [row for row in rows if row.values]
    most = max((max(row.values) for row in rows), default=1.0) or 1.0
    goals = {row.goal.limit for row in rows if row.goal}
    scale = (WIDTH - LABEL - 90) / most
    unit = rows[0].unit if rows else ""
    parts = [_text(0, 18, f"{title} ({unit})" if unit else title, "start", "bold")]
    for number, row in enumerate(rows):
        y = HEAD + number * LINE
        colour = OURS if row.of.startswith("cutover") else OTHER
        low, high = (LABEL + scale * value for value in (min(row.values), max(row.values)))
        width = max(1.0, scale * row.median)
        parts += [
            _text(LABEL - 8, y + 15, row.of, "end"),
            f'<rect x="{LABEL}" y="{y + 4}" width="{width:.1f}" height="{LINE - 8}" fill="{colour}"/>',
            f'<path d="M{low:.1f} {y + 12}H{high:.1f}" stroke="{INK}"/>',
            _text(max(LABEL + width, high) + 6, y + 15, shown(row.median), "start"),
        ]
    bottom = HEAD + len(rows) * LINE
    for limit in goals:
        if limit <= most:
            x = LABEL + scale * limit
            parts.append(f'<path d="M{x:.1f} {HEAD}V{bottom}" stroke="{GOAL}" stroke-dasharray="4 3"/>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom + 8}" role="img"'
    return "\n".join([f'{head} font-family="sans-serif" font-size="13">', *parts, "</svg>", ""])


def _text(x: float, y: float, words: str, anchor: str, weight: str = "normal") -> str:
    place = f'x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text {place} fill="{INK}">{escape(words)}</text>'
