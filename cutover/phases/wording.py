"""How instants, spans of time, errors and long lists are put into words: the same in every message."""

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from kombu.exceptions import KombuError

from cutover.foreign import text_of
from cutover.moments import instant, to_the_second

_T = TypeVar("_T")

__all__ = ["SHOWN", "inline", "instant", "listed", "named", "one_line", "span", "to_the_second"]

SHOWN: Final = 20
"""How many findings of one kind are listed."""


def span(length: dt.timedelta) -> str:
    """A span of time in one or two units: ``90 s``, ``59 min``, ``25 h 30 min``, ``7 days``, ``2 days 5 h``."""
    seconds = length.total_seconds()
    hours, minutes = divmod(int(seconds // 60), 60)
    if seconds < 120:
        return f"{round(seconds, 1):g} s"
    if not hours:
        return f"{minutes} min"
    if hours >= 48:
        days, hours = divmod(hours, 24)
        return f"{days} days {hours} h" if hours else f"{days} days"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def listed(found: Sequence[_T], indent: str = "  ", of: str = "", say: Callable[[_T], object] = str) -> list[str]:
    """A line for each of the first findings, and how many more there are; ``of``: what they are, where kinds mix.

    ``say``: how one is put into words; asked for those that have a line alone, of what may be very many.
    """
    more = [f"and {len(found) - SHOWN} more {of}".rstrip()] if len(found) > SHOWN else []
    return [f"{indent}{one}" for one in [*map(say, found[:SHOWN]), *more]]


def inline(found: Iterable[object], separator: str = "; ") -> str:
    """The same list within a line."""
    return separator.join(listed(list(found), indent=""))


def one_line(error: BaseException) -> str:
    """An error's own text, which may take several lines, or the name of its type where it has none."""
    return " ".join(text_of(error).split()) or type(error).__name__


def named(error: BaseException) -> str:
    """An error in one line, with its type where that is none of a connection's: it may be a fault of the question."""
    text = one_line(error)
    return text if isinstance(error, OSError | KombuError) else f"{type(error).__name__}: {text}"
