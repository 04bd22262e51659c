"""Pure: what a ``PeriodicTask`` row must hold to send what a code entry sends, and the overlay that it needs besides.

It does NOT approximate. An entry that cannot be imported whole is refused, field by field, with a remedy.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from celery.beat import ScheduleEntry
from celery.schedules import BaseSchedule, maybe_schedule
from celery.schedules import schedule as interval
from django.utils.module_loading import import_string
from django_celery_beat.clockedschedule import clocked
from django_celery_beat.models import PeriodicTask

from cutover import headers
from cutover.schedules.columns import MOST, Values, values_of
from cutover.schedules.refusals import Refusal, Unfit
from cutover.schedules.values import data_of, json_of, require_storable
from cutover.types import EntryName


@dataclass(frozen=True, slots=True)
class RowValues:
    """All that the import writes into one row; ``args``, ``kwargs`` and ``headers`` are JSON."""

    name: EntryName
    task: str
    schedule: Values
    args: str
    kwargs: str
    headers: str
    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    priority: int | None = None
    expire_seconds: int | None = None
    one_off: bool = False
    start_time: dt.datetime | None = None
    expires: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class RowDraft:
    """What one entry becomes: its row, and the overlay on it, as plain data for a JSON column."""

    row: RowValues
    options: Mapping[str, Any] = field(default_factory=dict)
    relative: bool = False


def convert(entry: ScheduleEntry, serializer: str, converters: Mapping[str, str]) -> RowDraft | list[Refusal]:
    """The row that sends what ``entry`` sends, with its overlay; or every reason why there is none.

    ``serializer`` is the one that the entry's message is written with: where it is JSON, a value may come back from the
    row as what the worker receives anyway (a tuple as a list). ``converters``: ``CUTOVER['CONVERTERS']``.
    """
    name = EntryName(entry.name)
    values: dict[str, Any] = {"headers": "{}"}
    overlay: dict[str, Any] = {}
    refusals: list[Refusal] = []

    def fill(found: dict[str, Any], key: str, said: str, make: Callable[[Any], Any], value: Any) -> None:
        try:
            found[key] = make(value)
        except Unfit as unfit:
            reason, remedy = unfit.args
            refusals.append(Refusal(name, said, reason, remedy))

    json_follows = serializer == "json"
    fill(values, "name", "name", partial(_text, "name"), entry.name)
    fill(values, "task", "task", partial(_text, "task"), entry.task)
    fill(values, "schedule", "schedule", partial(_schedule, entry, converters), entry.schedule)
    fill(values, "args", "args", partial(json_of, (list, tuple), json_follows), entry.args or ())
    fill(values, "kwargs", "kwargs", partial(json_of, (Mapping,), json_follows), entry.kwargs or {})
    for option, value in entry.options.items():
        said = f"options[{option!r}]"
        if value is None:
            if option != "headers":
                overlay[option] = None  # celery takes it for a word against the task's own default
        elif option == "headers":
            fill(values, option, said, _headers, value)
        elif option in _COLUMNS and _fits(option, value):
            column, make = _COLUMNS[option]
            values[column] = make(value)
        else:
            fill(overlay, option, said, partial(_overlaid, option), value)
    if refusals:
        return refusals
    once = isinstance(entry.schedule, clocked) or "clocked_time" in values["schedule"].__dataclass_fields__
    relative = isinstance(entry.schedule, interval) and entry.schedule.relative
    return RowDraft(RowValues(**values, one_off=once), overlay, relative)


def _schedule(entry: ScheduleEntry, converters: Mapping[str, str], found: Any) -> Values:
    kind = f"{type(found).__module__}.{type(found).__qualname__}"
    if kind not in converters:
        return values_of(found)
    remedy = f"fix {converters[kind]}, named in CUTOVER['CONVERTERS']"
    try:
        made = import_string(converters[kind])(found)
    except Exception as exc:  # the project's own function
        raise Unfit(f"is not converted: {type(exc).__name__} {exc}", remedy) from exc
    if not isinstance(made, int | float | dt.timedelta | BaseSchedule):
        raise Unfit(f"is converted into a {type(made).__name__}, which is no schedule", remedy)
    return values_of(maybe_schedule(made, app=entry.app))


def _text(column: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise Unfit(f"is {value!r}, no text", "give it as a string")
    most = PeriodicTask._meta.get_field(column).max_length or 0
    if len(value) > most:
        raise Unfit(f"has {len(value)} characters; a row holds {most}", "shorten it")
    require_storable(value)
    return value


def _option_text(option: str, value: Any) -> str | None:
    if value == "":
        return None
    return _text(option, value)


def _priority(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= 255:
        raise Unfit(f"is {value!r}", "give a whole number from 0 to 255")
    return value


def _expire_seconds(value: Any) -> int:
    seconds = value.total_seconds() if isinstance(value, dt.timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise Unfit(f"is a {type(value).__name__}", "give seconds")
    if not 1 <= seconds <= MOST or seconds != int(seconds):
        raise Unfit(f"is {value}", "give whole seconds")
    return int(seconds)


def _headers(value: Any) -> str:
    if isinstance(value, Mapping):
        value = {key: item for key, item in value.items() if key not in headers.ADDED_BY_BEATS}
    return json_of((Mapping,), False, value)


def _fits(option: str, value: Any) -> bool:
    try:
        _COLUMNS[option][1](value)
    except Unfit:
        return False
    return True


def _overlaid(option: str, value: Any) -> Any:
    """An option that no column holds, as plain data."""
    if option == "expires":
        value = _expires(value)
    if option in ("queue", "exchange") and not isinstance(value, str):
        raise Unfit(f"is a {type(value).__name__}; a row holds its name only", "give the name as a string")
    return data_of(value)


def _expires(value: Any) -> Any:
    """A message's expiry, as celery takes it: seconds, an instant, or its ISO 8601 text."""
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        raise Unfit("is a date, which celery itself cannot send", "give seconds, or a datetime")
    return value


_COLUMNS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "queue": ("queue", partial(_option_text, "queue")),
    "exchange": ("exchange", partial(_option_text, "exchange")),
    "routing_key": ("routing_key", partial(_option_text, "routing_key")),
    "priority": ("priority", _priority),
    "expires": ("expire_seconds", _expire_seconds),
}
"""The options of a code entry that a row has a column for: its name, and what makes its value."""
