"""Pure: what a ``PeriodicTask`` row must hold to send what a code entry sends; or why no row can.

It does NOT approximate. An entry that a row can not hold whole is refused, field by field, with a remedy.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from celery.beat import BeatLazyFunc, ScheduleEntry
from celery.schedules import crontab, schedule
from django.core.exceptions import ValidationError
from django.db.models import Field
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask
from django_celery_beat.tzcrontab import TzAwareCrontab
from kombu.utils.json import dumps, loads

from cutover.types import EntryName

MOST: Final = 2**31 - 1
"""The greatest number that a row's integer columns hold."""

CRONTAB_FIELDS: Final = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
OWN_HEADERS: Final = frozenset({"periodic_task_name", "celery_beat_task"})
"""Headers that the beats themselves add to a message."""

_MICROSECOND: Final = dt.timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one field of one entry can not be carried over, and what to do about it."""

    entry: EntryName
    field: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.entry}: {self.field} {self.reason}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class CrontabValues:
    """The columns of a ``CrontabSchedule``."""

    minute: str
    hour: str
    day_of_month: str
    month_of_year: str
    day_of_week: str
    timezone: str


@dataclass(frozen=True, slots=True)
class IntervalValues:
    """The columns of an ``IntervalSchedule``."""

    every: int
    period: str


@dataclass(frozen=True, slots=True)
class RowValues:
    """All that the import writes into one row; ``args``, ``kwargs`` and ``headers`` are JSON."""

    name: EntryName
    task: str
    schedule: CrontabValues | IntervalValues
    args: str
    kwargs: str
    headers: str
    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    priority: int | None = None
    expire_seconds: int | None = None


class _Unfit(Exception):
    """One field's reason and remedy."""


def row_values(entry: ScheduleEntry, tuples_are_lists: bool) -> RowValues | list[Refusal]:
    """The row that sends what ``entry`` sends, or every reason why there is none.

    ``tuples_are_lists`` says that the app's serializer (JSON) turns a tuple within the arguments into a list anyway.
    """
    name = EntryName(entry.name)
    values: dict[str, Any] = {"headers": "{}"}
    refusals: list[Refusal] = []

    def fill(column: str, said: str, convert: Callable[[Any], Any], value: Any) -> None:
        try:
            values[column] = convert(value)
        except _Unfit as unfit:
            reason, remedy = unfit.args
            refusals.append(Refusal(name, said, reason, remedy))

    fill("name", "name", partial(_text, "name"), entry.name)
    fill("task", "task", partial(_text, "task"), entry.task)
    fill("schedule", "schedule", _schedule, entry.schedule)
    fill("args", "args", partial(_json, (list, tuple), tuples_are_lists), entry.args or ())
    fill("kwargs", "kwargs", partial(_json, (Mapping,), tuples_are_lists), entry.kwargs or {})
    for option, value in entry.options.items():
        if value is None:
            continue
        said = f"options[{option!r}]"
        if option in _OPTIONS:
            column, convert = _OPTIONS[option]
            fill(column, said, convert, value)
        else:
            remedy = _ELSEWHERE.get(option, "set it on the task, or drop it")
            refusals.append(Refusal(name, said, "has no column in a row", remedy))
    return refusals or RowValues(**values)


def _schedule(found: Any) -> CrontabValues | IntervalValues:
    if getattr(found, "nowfun", None) is not None and not isinstance(found, TzAwareCrontab):
        raise _Unfit("has a clock of its own (nowfun)", "give the schedule no nowfun")
    if type(found) in (crontab, TzAwareCrontab):
        spelt = {field: _cron_field(field, found) for field in CRONTAB_FIELDS}
        return CrontabValues(**spelt, timezone=_timezone(found.tz))
    if type(found) is schedule:
        return _interval(found)
    kind = f"{type(found).__module__}.{type(found).__qualname__}"
    raise _Unfit(f"is a {kind}, which no row holds", "write it as a crontab, a timedelta or a number of seconds")


def _cron_field(field: str, found: crontab) -> str:
    """The field as it was written where a row (and its form in the admin) admits that, else its numbers."""
    written = getattr(found, f"_orig_{field}")
    if isinstance(written, str):
        try:
            _column(CrontabSchedule, field).run_validators(written)
        except ValidationError:
            pass  # celery reads more than the admin does
        else:
            return written
    return ",".join(str(int(number)) for number in sorted(getattr(found, field)))


def _timezone(tz: dt.tzinfo) -> str:
    name = str(tz)
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise _Unfit(f"fires in {name!r}, which is no named time zone", "name one in the app's `timezone`") from exc
    return name


def _interval(found: schedule) -> IntervalValues:
    if found.relative:
        raise _Unfit("is relative, which no row holds", "write it as a crontab")
    microseconds = found.run_every // _MICROSECOND
    if microseconds < 1:
        raise _Unfit("is no positive interval", "give it at least a microsecond")
    seconds, rest = divmod(microseconds, 1_000_000)
    if rest == 0 and seconds <= MOST:
        return IntervalValues(seconds, IntervalSchedule.SECONDS)
    if microseconds <= MOST:
        return IntervalValues(microseconds, IntervalSchedule.MICROSECONDS)
    raise _Unfit(f"of {found.run_every} is too long for a row to hold it exactly", "round it to whole seconds")


def _text(field: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _Unfit(f"is {value!r}, no text", "give it as a string")
    most = _column(PeriodicTask, field).max_length or 0
    if len(value) > most:
        raise _Unfit(f"has {len(value)} characters; a row holds {most}", "shorten it")
    if "\0" in value:
        raise _Unfit("has a NUL character", "take it out")
    return value


def _option_text(option: str, value: Any) -> str | None:
    if value == "":
        return None
    if not isinstance(value, str):
        raise _Unfit(f"is a {type(value).__name__}; a row holds its name only", "give the name as a string")
    return _text(option, value)


def _priority(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 255:
        raise _Unfit(f"is {value!r}", "give a whole number from 0 to 255")
    return value


def _expires(value: Any) -> int:
    remedy = "give whole seconds, at least one"
    seconds = value.total_seconds() if isinstance(value, dt.timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise _Unfit(f"is a {type(value).__name__}", remedy)
    if not 1 <= seconds <= MOST or seconds != int(seconds):
        raise _Unfit(f"is {value}", remedy)
    return int(seconds)


def _headers(value: Any) -> str:
    if isinstance(value, Mapping):
        value = {key: item for key, item in value.items() if key not in OWN_HEADERS}
    return _json((Mapping,), False, value)


def _json(kinds: tuple[type, ...], tuples_are_lists: bool, value: Any) -> str:
    if not any(isinstance(value, kind) for kind in kinds):
        raise _Unfit(f"is a {type(value).__name__}", f"give a {kinds[0].__name__.lower()}")
    plain: Any = dict(value) if isinstance(value, Mapping) else list(value)
    if any(isinstance(part, BeatLazyFunc) for part in _parts(plain)):
        raise _Unfit("is computed anew at each send (BeatLazyFunc)", "let the task compute it")
    same = "let JSON give back what went in: text keys, and no sets, tuples or objects"
    try:
        text = dumps(plain)
        back = loads(text)
    except (TypeError, ValueError) as exc:
        raise _Unfit(f"is no JSON ({exc})", same) from exc
    if back != (_listed(plain) if tuples_are_lists else plain):
        raise _Unfit("comes back from JSON as something else", same)
    return str(text)


def _parts(value: Any) -> Iterable[Any]:
    yield value
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for part in value:
        yield from _parts(part)


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _listed(part) for key, part in value.items()}
    return [_listed(part) for part in value] if isinstance(value, list | tuple) else value


def _column(model: type[Any], name: str) -> Field[Any, Any]:
    column: Field[Any, Any] = model._meta.get_field(name)
    return column


_OPTIONS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "queue": ("queue", partial(_option_text, "queue")),
    "exchange": ("exchange", partial(_option_text, "exchange")),
    "routing_key": ("routing_key", partial(_option_text, "routing_key")),
    "priority": ("priority", _priority),
    "expires": ("expire_seconds", _expires),
    "headers": ("headers", _headers),
}
"""The options of a code entry that a row has a column for: its name, and what makes its value."""

_ELSEWHERE: Final = {
    "expire_seconds": "celery's own word is 'expires'",
    "countdown": "let the task wait, or move the schedule",
    "eta": "let the task wait, or move the schedule",
}
