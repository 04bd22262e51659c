"""Instants as an operator types them. Pure."""

import datetime as dt
import re

from cutover.errors import ConfigurationError
from cutover.phases.wording import span, to_the_second

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def instant_by(text: str, now: dt.datetime, zone: dt.tzinfo, most: dt.timedelta) -> dt.datetime:
    """The instant, aware and in UTC, that ``text`` means: ``02:30``, the next one; ``2026-03-29T02:30``; or ``90m``.

    A time of day is that of ``zone``: where the clocks are put back and show it twice, the next of both; one that they
    leave out is as much later as they are put forward. Raises ConfigurationError for anything else, for an instant that
    is past, and for one more than ``most`` ahead.
    """
    found = _found(text.strip(), now, zone)
    if found is None:
        raise ConfigurationError(f"{text!r} is no time: type one such as 02:30, 2026-03-29T02:30 or 90m.")
    if not now < found <= now + most:
        bound = f"between now, {to_the_second(now, zone)}, and {span(most)} from now"
        raise ConfigurationError(f"{text!r} is {to_the_second(found, zone)}: it has to be {bound}.")
    return found


def _found(text: str, now: dt.datetime, zone: dt.tzinfo) -> dt.datetime | None:
    if ahead := re.fullmatch(r"(\d{1,7})([smhd])", text, re.ASCII):
        return now + dt.timedelta(seconds=int(ahead[1]) * _SECONDS[ahead[2]])
    try:
        if re.fullmatch(r"\d{1,2}:\d\d(:\d\d)?", text, re.ASCII):
            time = dt.time.fromisoformat(text.rjust(5, "0") if text.count(":") == 1 else text.rjust(8, "0"))
            today = now.astimezone(zone).date()
            days = (today, today + dt.timedelta(days=1))
            return min(at for day in days for at in _instants(dt.datetime.combine(day, time), zone) if at > now)
        told = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    if told.tzinfo is not None:
        return told.astimezone(dt.UTC)
    both = _instants(told, zone)
    return next((at for at in both if at > now), both[-1])


def _instants(wall: dt.datetime, zone: dt.tzinfo) -> list[dt.datetime]:
    """When the clocks of ``zone`` show ``wall``: once, twice; or, where they leave it out, that much later."""
    both = [wall.replace(tzinfo=zone, fold=fold).astimezone(dt.UTC) for fold in (0, 1)]
    shown = sorted({at for at in both if at.astimezone(zone).replace(tzinfo=None) == wall})
    return shown or [max(both)]
