"""What is typed for a time or a number, as argparse's types; each raises ArgumentTypeError for what is none."""

import datetime as dt
import re
from argparse import ArgumentTypeError
from contextlib import suppress

from django.utils.timezone import get_default_timezone

from cutover import clock


def duration(text: str, most: int = 7, examples: str = "to a week, such as 90s, 15m or 2h") -> dt.timedelta:
    """A length: a whole number and its unit, seconds without one; from 1 s to ``most`` days."""
    found = re.fullmatch(r"(\d+)([smhd]?)", text, re.ASCII)
    seconds = int(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]] if found else 0
    if not 1 <= seconds <= most * 86_400:
        raise ArgumentTypeError(f"{text!r} is no time from 1s {examples}")
    return dt.timedelta(seconds=seconds)


def period(text: str) -> dt.timedelta:
    """A length of up to a year."""
    return duration(text, 366, "to a year, such as 12h or 7d")


def ago(text: str) -> dt.timedelta:
    """A length back from now; what has no unit is refused: a report of some seconds would look well."""
    if text.isdecimal():
        raise ArgumentTypeError(f"{text!r} has no unit: write {text}d for days, or {text}h for hours")
    return period(text)


def moment(text: str) -> dt.datetime:
    """An instant: some time ago, or ISO 8601, in the project's time zone where it names none."""
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        with suppress(ArgumentTypeError):
            return clock.now() - ago(text)
        said = "such as 12h or 7d, and no instant, such as 2026-11-26T10:00 or 2026-11-26T10:00+00:00"
        raise ArgumentTypeError(f"{text!r} is no time ago, {said}") from None
    return (at if at.tzinfo else at.replace(tzinfo=get_default_timezone())).astimezone(dt.UTC)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not re.fullmatch(r"0*[1-9]\d*", text, re.ASCII):
        raise ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)
