"""Status and history drawn by rich, for a terminal of some width and height. Imported for that alone."""

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from django.utils.timezone import get_default_timezone
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cutover.observe.conditions import Severity
from cutover.observe.entries import EntryRecord
from cutover.observe.rows import HEADS, HISTORY_HEADS, Row, history_row, in_a_cell, others, row_of
from cutover.observe.status import History, Status
from cutover.phases.report import Report

STYLES: Final = {Severity.PROBLEM: "bold red", Severity.NOTICE: "yellow", Severity.WELL: "green"}
MARKS: Final = {
    Severity.PROBLEM: "\N{BALLOT X}",
    Severity.NOTICE: "\N{BULLET}",
    Severity.WELL: "\N{CHECK MARK}",
}
LEAST_WIDTH: Final = 12
"""How much of an entry's name, and of what is wrong, is shown, however narrow the terminal is."""
LEFT_OUT: Final = ("side", "next", "published", "started", "last", "run")
"""The columns that a narrow terminal has no room for, in this order."""
LEAST_ROWS: Final = 5
"""How many entries are shown, however low the terminal is."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which entries are wanted: those whose name has ``text``, or only those with something wrong."""

    text: str = ""
    is_wrong_only: bool = False

    def admits(self, record: EntryRecord) -> bool:
        """Whether the entry is wanted."""
        is_named = self.text.casefold() in record.entry.casefold()
        return is_named and not (self.is_wrong_only and record.severity is Severity.WELL)

    def __str__(self) -> str:
        wanted = [f"named *{self.text}*" if self.text else "", "with something wrong" if self.is_wrong_only else ""]
        return " and ".join(filter(None, wanted))


def draw(report: Report, width: int, height: int, wanted: Filter | None = None, foot: str = "") -> str:
    """The report in at most ``height`` lines, where that is enough for its head and ``LEAST_ROWS`` entries.

    With a ``foot``, as on a screen of its own that nobody can scroll back, in no more than that: the verdict stays.
    """
    wanted = wanted or Filter()
    size = (width, max(1, height))  # with both rich asks for no other, whatever terminal this is
    console = Console(
        file=io.StringIO(), force_terminal=True, width=size[0], height=size[1], highlight=False, legacy_windows=False
    )
    if isinstance(report, History):
        zone = get_default_timezone()
        fitting = max(LEAST_ROWS, height - 3 - bool(foot))
        rows = [history_row(life, zone) for life in report.slots[:fitting]]
        whole: list[RenderableType] = [Text(in_a_cell(report.title), "bold"), _table(HISTORY_HEADS, rows, width)]
    elif isinstance(report, Status):
        whole = _status(report, console.options, height - foot.count("\n") - 2, wanted)
    else:
        whole = [Text(in_a_cell(line)) for line in report.lines]
    console.print(Group(*whole, *([Text(foot, "dim")] if foot else [])))
    drawn: str = console.file.getvalue()  # type: ignore[attr-defined]
    lines = drawn.rstrip("\n").split("\n")
    if foot and len(lines) > height:
        lines = [*lines[: max(1, height - 1)], lines[-1]][:height]
    return "\n".join(lines)


def _status(report: Status, options: ConsoleOptions, height: int, wanted: Filter) -> list[RenderableType]:
    first = report.headline
    head: list[RenderableType] = [Text(in_a_cell(first.verdict), STYLES[first.severity])]
    # The first one stands in the verdict.
    head += [Text(in_a_cell(f"Problem   {problem}"), "red") for problem in first.problems[1:]]
    head += [_labelled(line) for line in report.around]
    chosen = [one for one in report.entries if wanted.admits(one)]
    taken = sum(len(list(_console(options).render_lines(one, pad=False))) for one in head)
    fitting = max(LEAST_ROWS, height - taken - 3)
    rows = [row_of(one, report.at) for one in chosen[:fitting]]
    foot = [
        others(chosen[fitting:]),
        f"only entries {wanted}: {len(chosen)} of {len(report.entries)}" if str(wanted) else "",
    ]
    tail = [Text(line, "dim") for line in foot if line]
    return [*head, Text(""), _table(HEADS, rows, options.max_width), *tail]


def _console(options: ConsoleOptions) -> Console:
    return Console(file=io.StringIO(), width=options.max_width, height=options.max_height, highlight=False)


def _labelled(line: str) -> Text:
    line = in_a_cell(line)
    label, value = line[:10], line[10:]
    return Text.assemble((label, "dim"), value)


def _table(heads: Sequence[str], rows: Sequence[Row], width: int) -> Table:
    """A line a row, at whatever width: what does not fit is cut off in the first column, and in the last.

    On a narrow terminal columns between these are left out, whole: the mark, a name and what is wrong stay.
    """
    lines = [(row.severity, [*map(in_a_cell, row.cells)]) for row in rows]
    columns = {column[0]: column for column in zip(heads, *(cells for _, cells in lines), strict=True)}
    first_head, *_, last_head = heads
    widths = {head: max(map(cell_len, column)) for head, column in columns.items()}
    widths[first_head] = min(widths[first_head], max(LEAST_WIDTH, width // 3))
    widths[last_head] = LEAST_WIDTH
    for head in LEFT_OUT:
        if _taken(widths.values()) > width:
            widths.pop(head, None)
    widths[first_head] = max(1, min(widths[first_head], width - _taken(widths.values()) + widths[first_head]))
    widths[last_head] = max(1, width - _taken(widths.values()) + LEAST_WIDTH)
    grid = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    grid.add_column("", width=1, no_wrap=True)
    for head, wide in widths.items():
        grid.add_column(head, width=wide, no_wrap=True, overflow="ellipsis")
    for number, (severity, _) in enumerate(lines, start=1):
        style = STYLES[severity] if severity is not Severity.WELL else ""
        first, *between, last = (columns[head][number] for head in widths)
        grid.add_row(
            Text(MARKS[severity], STYLES[severity]), Text(first, style), *map(Text, between), Text(last, style)
        )
    return grid


def _taken(widths: Collection[int]) -> int:
    """How wide a line is: a mark, and columns with a space between each two."""
    return 1 + len(widths) + sum(widths)
