"""Figures: what was measured, its median and spread, the goal and whether it was reached. Pure arithmetic and text."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

REACHED: Final = {True: "reached", False: "MISSED", None: ""}


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure is to be: at most ``limit``, or at least; of the median, or with ``worst`` of every value."""

    limit: float
    is_least: bool = False
    worst: bool = False

    def is_reached(self, values: Sequence[float]) -> bool:
        """Whether the values keep it."""
        farthest = min if self.is_least else max
        value = farthest(values) if self.worst else statistics.median(values)
        return value >= self.limit if self.is_least else value <= self.limit

    def __str__(self) -> str:
        word = "at least" if self.is_least else "at most"
        return f"{'each ' if self.worst else ''}{word} {shown(self.limit)}"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing measured, as often as ``values`` says; none where it came to no end. ``of``: whose figure it is."""

    what: str
    of: str
    values: tuple[float, ...]
    unit: str
    goal: Goal | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """The middle value. StatisticsError where there is none."""
        return statistics.median(self.values)

    @property
    def is_reached(self) -> bool | None:
        """Whether the goal is; None without one. A figure that came to no end has missed it."""
        if self.goal is None:
            return None
        return bool(self.values) and self.goal.is_reached(self.values)

    def cells(self) -> tuple[str, ...]:
        """The row as a table shows it."""
        median = f"{shown(self.median)} {self.unit}".strip() if self.values else "-"
        spread = f"{shown(min(self.values))} to {shown(max(self.values))}" if len(self.values) > 1 else ""
        goal = str(self.goal or "")
        return (self.what, self.of, median, spread, goal, REACHED[self.is_reached], self.note)

    def as_json(self) -> dict[str, Any]:
        """The row for ``results.json``, with whether its goal is reached."""
        return asdict(self) | {"reached": self.is_reached}

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """The row that ``as_json`` has made that of."""
        own = {name: value for name, value in given.items() if name != "reached"}
        goal = Goal(**own["goal"]) if own["goal"] else None
        return cls(**{**own, "values": tuple(own["values"]), "goal": goal})


HEADINGS: Final = ("what", "of", "median", "spread", "goal", "", "")


def ratio(row: Row, to: Row, goal: Goal | None = None) -> Row:
    """How many times ``to`` a row is, median to median; with no value where either has none."""
    values = (row.median / to.median,) if row.values and to.values and to.median else ()
    return Row(f"{row.what}, against {to.of}", row.of, values, "x", goal)


def percentile(values: Iterable[float], share: float) -> float:
    """The value below which ``share`` (0 to 1) of all lie; the nearest one that there is."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def shown(value: float) -> str:
    """A number with three significant digits, and thousands apart."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def as_text(rows: Sequence[Row]) -> str:
    """A table for a terminal."""
    table = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(cells[column]) for cells in table) for column in range(len(HEADINGS))]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in table
    )


def as_markdown(rows: Sequence[Row]) -> str:
    """The same table for a page."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
