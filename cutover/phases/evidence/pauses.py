"""What is paused, as every command says it: in lines for people, and as JSON."""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from cutover.errors import CutoverError
from cutover.ledger.pauses import SITE, Pause
from cutover.phases.context import Context
from cutover.phases.report import Report, command, plain
from cutover.phases.wording import SHOWN, to_the_second
from cutover.plural import counted

PAUSE: Final = "entry paused_at until paused_by reason ended_at ended_by"


def with_pauses(context: Context, report: Report) -> Report:
    """``report``, which also says what is paused; as it is where that cannot be read, for it says why itself."""
    with suppress(CutoverError):
        found = context.ledger.pauses.read()
        return dataclasses.replace(
            report, lines=[*report.lines, *lines(found)], data={"paused": as_json(found), **report.data}
        )
    return report


def as_json(pauses: Iterable[Pause]) -> list[dict[str, Any]]:
    """The keys of docs/public-api.md; ``entry`` is empty where all is paused."""
    return [plain(pause, PAUSE) for pause in pauses]


def lines(pauses: Sequence[Pause]) -> list[str]:
    """A line for each of the first ones."""
    more = [f"Paused    and {counted(len(pauses) - SHOWN, 'more entry')}"] if len(pauses) > SHOWN else []
    return [*(f"Paused    {in_words(pause)}; `{resume(pause.entry)}`" for pause in pauses[:SHOWN]), *more]


def in_words(pause: Pause) -> str:
    """What is paused, since when, by whom, until when, and why."""
    what = "everything" if pause.entry == SITE else pause.entry
    until = f", until {_instant(pause.until)}" if pause.until else ""
    why = f" ({pause.reason})" if pause.reason else ""
    return f"{what} is paused since {_instant(pause.paused_at)} by {pause.paused_by}{until}{why}"


def resume(entry: str) -> str:
    """The command that ends a pause."""
    return command("resume" if entry == SITE else f"resume --entry {entry}")


def _instant(at: dt.datetime) -> str:
    return to_the_second(at)
