"""``PeriodicTask`` rows against what they should hold: read, compared, written; no decision is taken here.

Writes bypass ``save()`` and its signals: ``save()`` clears ``last_run_at`` of a disabled row, and touches
``PeriodicTasks`` at every row. The caller touches it once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask
from kombu.utils.json import loads

from cutover.carry import CrontabValues, IntervalValues, RowValues
from cutover.slots import fingerprint
from cutover.types import EntryName

_JSON_FIELDS: Final = ("args", "kwargs", "headers")
_PLAIN_FIELDS: Final = ("task", "queue", "exchange", "routing_key", "priority", "expire_seconds")
_UNSET: Final[Mapping[str, Any]] = {"start_time": None, "expires": None, "one_off": False}
_SCHEDULES: Final = ("crontab", "interval", "solar", "clocked")


def periodic_tasks(alias: str, names: Collection[str]) -> dict[EntryName, PeriodicTask]:
    """The rows of these names that there are, with their schedules."""
    query = PeriodicTask.objects.using(alias).select_related(*_SCHEDULES)
    return {EntryName(row.name): row for row in query if row.name in names}


def schedule_of(row: PeriodicTask) -> str:
    """The fingerprint of a row's schedule; ``none`` where it has none."""
    return fingerprint(row.schedule) if row.scheduler is not None else "none"


def differing(values: RowValues, row: PeriodicTask) -> dict[str, tuple[Any, Any]]:
    """Where ``row`` differs from ``values``: field to (held, wanted). Whether it is enabled does not count."""
    found: dict[str, tuple[Any, Any]] = {}
    for name in _PLAIN_FIELDS:
        held, wanted = getattr(row, name), getattr(values, name)
        if (None if held == "" else held) != wanted:
            found[name] = (held, wanted)
    for name in _JSON_FIELDS:
        if _loaded(getattr(row, name)) != _loaded(getattr(values, name)):
            found[name] = (getattr(row, name), getattr(values, name))
    wanted_schedule = fingerprint(schedule_model(values.schedule).schedule)
    if schedule_of(row) != wanted_schedule:
        found["schedule"] = (schedule_of(row), wanted_schedule)
    found |= {name: (getattr(row, name), unset) for name, unset in _UNSET.items() if getattr(row, name) != unset}
    return found


def record(values: RowValues) -> dict[str, Any]:
    """``values`` as plain data, for a JSON field."""
    return asdict(values)


def recorded(data: Mapping[str, Any]) -> RowValues:
    """What ``record`` was given."""
    columns = data["schedule"]
    kind = CrontabValues if "minute" in columns else IntervalValues
    return RowValues(**{**data, "schedule": kind(**columns)})


def create(alias: str, wanted: Iterable[RowValues], shelf: Schedules) -> None:
    """Create disabled rows."""
    fresh = [PeriodicTask(name=values.name, enabled=False, **_columns(values, shelf)) for values in wanted]
    PeriodicTask.objects.using(alias).bulk_create(fresh)


def overwrite(alias: str, values: RowValues, shelf: Schedules) -> None:
    """Give an existing row these values and disable it; the schedule kinds that it does not have are unset."""
    query = PeriodicTask.objects.using(alias).filter(name=values.name)
    query.update(enabled=False, **_UNSET, **_columns(values, shelf))


class Schedules:
    """The schedule rows of one database: the oldest of equal ones is used, a missing one is created."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._known: dict[CrontabValues | IntervalValues, CrontabSchedule | IntervalSchedule] = {}
        for crontab in CrontabSchedule.objects.using(alias).order_by("-pk"):
            columns = {name: getattr(crontab, name) for name in CrontabValues.__dataclass_fields__}
            self._known[CrontabValues(**{**columns, "timezone": str(crontab.timezone)})] = crontab
        for interval in IntervalSchedule.objects.using(alias).order_by("-pk"):
            self._known[IntervalValues(interval.every, interval.period)] = interval

    def row(self, values: CrontabValues | IntervalValues) -> CrontabSchedule | IntervalSchedule:
        """The saved schedule row that holds ``values``."""
        if values not in self._known:
            made = schedule_model(values)
            type(made).objects.using(self._alias).bulk_create([made])
            self._known[values] = made
        return self._known[values]


def schedule_model(values: CrontabValues | IntervalValues) -> CrontabSchedule | IntervalSchedule:
    """The schedule row that holds ``values``, not saved."""
    model = CrontabSchedule if isinstance(values, CrontabValues) else IntervalSchedule
    return model(**asdict(values))


def _columns(values: RowValues, shelf: Schedules) -> dict[str, Any]:
    columns = {name: getattr(values, name) for name in (*_PLAIN_FIELDS, *_JSON_FIELDS)}
    kind = "crontab" if isinstance(values.schedule, CrontabValues) else "interval"
    return columns | dict.fromkeys(_SCHEDULES) | {kind: shelf.row(values.schedule)}


def _loaded(text: str | None) -> Any:
    try:
        return (loads(text) if text else None) or None
    except ValueError:
        return text
