"""Pure: what a ``PeriodicTask`` row must hold to send what a code entry sends, and the overlay that it needs besides.

It does NOT approximate. An entry that cannot be imported whole is refused, field by field, with a remedy.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from celery.beat import ScheduleEntry
from celery.schedules import BaseSchedule, maybe_schedule
from celery.schedules import schedule as interval
from django.utils.module_loading import import_string
from django_celery_beat.models import PeriodicTask

from cutover.foreign import shown, text_of
from cutover.headers import ADDED_BY_BEATS
from cutover.schedules.columns import MOST, ClockedValues, Values, values_of
from cutover.schedules.refusals import Refusal, Unfit, require_foretold, require_text
from cutover.schedules.values import data_of, json_of
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
    options: Mapping[str, Any]
    relative: bool


def convert(entry: ScheduleEntry, serializer: str, converters: Mapping[str, str]) -> RowDraft | list[Refusal]:
    """The row that sends what ``entry`` sends, with its overlay; or every reason why there is none.

    ``serializer`` is the one that the entry's message is written with: where it is JSON, a value may come back from the
    row as what the worker receives anyway (a tuple as a list). ``converters``: ``CUTOVER['CONVERTERS']``.
    """
    name = EntryName(entry.name)
    values: dict[str, Any] = {"headers": "{}"}
    overlay: dict[str, Any] = {}
    refusals: list[Refusal] = []

    def fill(found: dict[str, Any], key: str, said: str, make: Callable[..., Any], *given: Any) -> None:
        try:
            found[key] = make(*given)
        except Unfit as unfit:
            refusals.append(Refusal(name, said, *unfit.args))
        except Exception as exc:  # an object of the project's own making, which is compared and put into JSON
            reason = f"cannot be kept ({type(exc).__name__}: {text_of(exc)})"
            refusals.append(Refusal(name, said, reason, "give it as what JSON can hold"))

    json_follows = serializer == "json"
    fill(values, "name", "name", _text, "name", entry.name)
    fill(values, "task", "task", _text, "task", entry.task)
    fill(values, "schedule", "schedule", _schedule, entry, converters)
    fill(values, "args", "args", json_of, (list, tuple), json_follows, entry.args or ())
    fill(values, "kwargs", "kwargs", json_of, (Mapping,), json_follows, entry.kwargs or {})
    for option, value in entry.options.items():
        said = f"options[{shown(option)}]"
        if not isinstance(option, str):
            refusals.append(Refusal(name, said, "has a name that is no text", "give names as keys"))
        elif value is None:
            if option != "headers":
                overlay[option] = None  # celery takes it for a word against the task's own default
        elif option == "headers":
            if isinstance(value, Mapping):
                value = {key: part for key, part in value.items() if key not in ADDED_BY_BEATS}
            fill(values, option, said, json_of, (Mapping,), False, value)
        elif held := _held(option, value):
            values |= held
        else:
            fill(overlay, option, said, _overlaid, option, value)
    if refusals:
        return refusals
    relative = isinstance(entry.schedule, interval) and entry.schedule.relative
    return RowDraft(RowValues(**values, one_off=isinstance(values["schedule"], ClockedValues)), overlay, relative)


def _schedule(entry: ScheduleEntry, converters: Mapping[str, str]) -> Values:
    found = entry.schedule
    kind = f"{type(found).__module__}.{type(found).__qualname__}"
    if kind not in converters:
        return values_of(found)
    require_foretold(found)  # a converted schedule is proved against what a beat sends by in code
    remedy = f"fix {converters[kind]}, named in CUTOVER['CONVERTERS']"
    try:
        made = import_string(converters[kind])(found)
    except Exception as exc:  # the project's own function
        raise Unfit(f"is not converted: {type(exc).__name__} {text_of(exc)}", remedy) from exc
    if not isinstance(made, int | float | dt.timedelta | BaseSchedule):
        raise Unfit(f"is converted into a {type(made).__name__}, which is no schedule", remedy)
    return values_of(maybe_schedule(made, app=entry.app))


def _text(column: str, value: Any) -> str:
    require_text(value, PeriodicTask._meta.get_field(column).max_length or 0)
    return str(value)


def _held(option: str, value: Any) -> dict[str, Any]:
    """The column that holds an option as it is, with its value there; empty where none does."""
    if option in ("queue", "exchange", "routing_key") and isinstance(value, str):
        with suppress(Unfit):
            return {option: None if value == "" else _text(option, value)}
    if option == "priority" and type(value) is int and 0 <= value <= 255:
        return {option: value}
    if option == "expires":
        seconds = value.total_seconds() if isinstance(value, dt.timedelta) else value
        is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if is_number and 1 <= seconds <= MOST and seconds == int(seconds):
            return {"expire_seconds": int(seconds)}
    return {}


def _overlaid(option: str, value: Any) -> Any:
    """An option that no column holds, as plain data."""
    if option == "expires" and isinstance(value, dt.timedelta):
        value = value.total_seconds()
    if option == "expires" and isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        raise Unfit("is a date, which celery itself cannot send", "give seconds, or a datetime")
    if option in ("queue", "exchange") and not isinstance(value, str):
        raise Unfit(f"is a {type(value).__name__}; a row holds its name only", "give the name as a string")
    return data_of(value)
