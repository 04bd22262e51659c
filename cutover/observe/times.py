"""Instants and spans of time as a person wants them on a screen: short, and from now."""

import datetime as dt
from typing import Final

_UNITS: Final = ((86_400, 2 * 86_400, "d"), (3_600, 2 * 3_600, "h"), (60, 120, "min"))
"""The seconds of a unit, and from how many on it is used."""


def brief(length: dt.timedelta) -> str:
    """A span of time in one unit: ``240 ms``, ``1.3 s``, ``35 s``, ``12 min``, ``5 h``, ``9 d``."""
    seconds = length.total_seconds()
    size, sign = abs(seconds), "-" if seconds < 0 else ""
    for unit, least, name in _UNITS:
        if size >= least:
            return f"{sign}{int(size // unit)} {name}"
    if size < 0.9995:
        return f"{sign}{round(size * 1000)} ms"
    return f"{sign}{size:.1f} s" if size < 9.95 else f"{sign}{round(size)} s"


def signed(length: dt.timedelta) -> str:
    """The same with its sign, as a delay has one: ``+40 ms``, or ``-90 s`` of what came before its time."""
    return f"{'+' if length >= dt.timedelta(0) else ''}{brief(length)}"


def relative(at: dt.datetime, now: dt.datetime) -> str:
    """An instant from now: ``now``, ``3 s ago``, ``in 12 min``."""
    away = at - now
    whole = dt.timedelta(seconds=round(abs(away.total_seconds())))
    if not whole:
        return "now"
    said = brief(whole).replace(".0 s", " s")
    return f"in {said}" if away > dt.timedelta(0) else f"{said} ago"
