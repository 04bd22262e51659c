"""An entry, and a slot, as one line of a table: the same words on a terminal and in a pipe."""

import datetime as dt
from collections.abc import Sequence
from typing import Final, NamedTuple

from cutover.observe.conditions import Severity
from cutover.observe.entries import EntryRecord
from cutover.observe.slot import Life
from cutover.observe.times import brief, relative, signed
from cutover.types import RunOutcome, SlotState
from cutover.visible import visible

HEADS: Final = ("entry", "last", "run", "next", "what is wrong, worker, delay")
HISTORY_HEADS: Final = ("due at", "side", "published", "started", "run", "worker, and what there is to know")
MARKS: Final = {Severity.PROBLEM: "!", Severity.NOTICE: "*", Severity.WELL: " "}
RUNS: Final[dict[RunOutcome | None, str]] = {
    RunOutcome.SUCCEEDED: "ok",
    RunOutcome.FAILED: "failed",
    RunOutcome.RETRIED: "to retry",
    RunOutcome.RUNNING: "running",
    RunOutcome.LOST: "lost",
    None: "started",
}
BEFORE_A_RUN: Final = {
    SlotState.CLAIMED: "unsent",
    SlotState.PUBLISHED: "not started",
    SlotState.MISSED: "missed",
}
SEVERITIES: Final = {
    RunOutcome.FAILED: Severity.PROBLEM,
    RunOutcome.LOST: Severity.PROBLEM,
    RunOutcome.RETRIED: Severity.NOTICE,
}


class Row(NamedTuple):
    """One line, without any colour."""

    severity: Severity
    cells: Sequence[str]


def row_of(record: EntryRecord, now: dt.datetime) -> Row:
    """One entry, under ``HEADS``. Pure."""
    last, words = record.last, [str(one) for one in record.findings]
    if last is not None:
        words += [last.worker, f"started {signed(last.run_delay)}" if last.run_delay is not None else ""]
    return Row(
        record.severity,
        (
            record.entry,
            relative(last.due_at, now) if last is not None else "never",
            run_of(last, now) if last is not None else "",
            relative(record.next_due, now) if record.next_due is not None else "",
            ", ".join(filter(None, words)),
        ),
    )


def run_of(life: Life, now: dt.datetime | None = None) -> str:
    """How far a slot has come, and how long its run took, or has taken until ``now``, in two or three words. Pure."""
    if life.started_at is None:
        return BEFORE_A_RUN[life.state]
    took = now - life.started_at if now and life.outcome is RunOutcome.RUNNING else life.duration
    return RUNS[life.outcome] + (f" {brief(took)}" if took is not None else "")


def history_row(life: Life, zone: dt.tzinfo) -> Row:
    """One slot, under ``HISTORY_HEADS``, its instant in ``zone``. Pure."""
    counts = {
        "further messages dropped": life.deduplicated,
        "times resent": life.resent,
        "slots before it passed over": life.passed_over,
    }
    words = [
        life.reason,
        life.worker,
        life.error,
        f"attempt {life.attempt + 1}" if life.attempt else "",
        *(f"{count} {what}" for what, count in counts.items() if count),
    ]
    is_missed = life.state is SlotState.MISSED
    of_run = SEVERITIES.get(life.outcome, Severity.WELL) if life.outcome else Severity.WELL
    delays = [signed(delay) if delay is not None else "" for delay in (life.publish_delay, life.run_delay)]
    due_at = f"{life.due_at.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"
    return Row(
        Severity.PROBLEM if is_missed else of_run,
        (due_at, life.side.value, *delays, run_of(life), ", ".join(filter(None, words))),
    )


def others(records: Sequence[EntryRecord]) -> str:
    """What is said of entries that have no line; empty for none. Pure."""
    ill = sum(1 for one in records if one.severity is not Severity.WELL)
    return f"and {len(records)} more, {f'{ill} of them not well' if ill else 'all well'}" if records else ""


def table(heads: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """The rows in columns, for a pipe; what is not well is marked. Pure."""
    whole = [(" ", *heads), *((MARKS[row.severity], *map(in_a_cell, row.cells)) for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*whole, strict=True)]
    return ["  ".join(map(_filled, line, widths)).rstrip() for line in whole]


def in_a_cell(text: str) -> str:
    """Text that stays in its line and its column. Pure."""
    return visible(text).replace("\t", " ")


def _width(cell: str) -> int:
    """How many columns of a terminal a cell takes: a character of Chinese takes two."""
    if cell.isascii():
        return len(cell)
    from rich.cells import cell_len  # only who has such names waits for rich

    return cell_len(cell)


def _filled(cell: str, width: int) -> str:
    return cell + " " * (width - _width(cell))
