"""``PeriodicTask`` rows against what they should hold: read, compared, written; no decision is taken here.

Writes bypass ``save()`` and its signals: ``save()`` clears ``last_run_at`` of a disabled row, and touches
``PeriodicTasks`` at every row. The caller touches it once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any, Final

from django.db.models import QuerySet
from django_celery_beat.models import PeriodicTask
from kombu.utils.json import loads

from cutover import clock
from cutover.fields import instant, stored
from cutover.ledger import bulk
from cutover.schedules import columns
from cutover.schedules.columns import Values
from cutover.schedules.convert import RowValues
from cutover.schedules.fingerprint import fingerprint
from cutover.types import EntryName

_JSON_KINDS: Final = {"args": (list, "list"), "kwargs": (dict, "object"), "headers": (dict, "object")}
JSON_FIELDS: Final = tuple(_JSON_KINDS)
_PLAIN_FIELDS: Final = (
    *("task", "queue", "exchange", "routing_key", "priority", "expire_seconds"),
    *("start_time", "expires", "one_off"),
)
_INSTANTS: Final = ("start_time", "expires")
_KINDS: Final = tuple(column for column, _ in columns.MODELS.values())
_WRITTEN: Final = (*_PLAIN_FIELDS, *JSON_FIELDS, *_KINDS, "enabled", "date_changed")
_FEW: Final = 500
"""Up to how many names or keys are asked for one by one; more are picked from all rows."""


def periodic_tasks(alias: str, names: Collection[str]) -> dict[EntryName, PeriodicTask]:
    """The rows of these names that there are, with their schedules."""
    return {EntryName(row.name): row for row in _chosen(alias, "name", names)}


def of_keys(alias: str, keys: Collection[int]) -> list[PeriodicTask]:
    """The rows of these primary keys that there are, with their schedules."""
    return _chosen(alias, "pk", keys)


def _chosen(alias: str, column: str, values: Collection[Any]) -> list[PeriodicTask]:
    query = PeriodicTask.objects.using(alias)
    if len(values) <= _FEW:
        query = query.filter(**{f"{column}__in": values})
    return [row for row in with_schedules(query) if getattr(row, column) in values]


def with_schedules(query: QuerySet[PeriodicTask]) -> list[PeriodicTask]:
    """The rows of ``query``; those on the same schedule share one object of it."""
    found = list(query)
    for column, model in columns.MODELS.values():
        keys = {getattr(row, f"{column}_id") for row in found} - {None}
        if not keys:
            continue
        schedules = model._default_manager.using(query.db)
        shared = {one.pk: one for one in (schedules.filter(pk__in=keys) if len(keys) <= _FEW else schedules.all())}
        for row in found:
            if (key := getattr(row, f"{column}_id")) in shared:
                setattr(row, column, shared[key])
    return found


def schedule_of(row: PeriodicTask) -> str:
    """The fingerprint of a row's schedule; ``none`` where it has none, and why where it cannot be read."""
    if row.scheduler is None:
        return "none"
    try:
        return fingerprint(row.schedule)
    except Exception as exc:  # written past the model's own checks
        return f"unreadable ({exc})"


def unreadable(row: PeriodicTask) -> str:
    """Which JSON columns of the row do not hold what a message is made of, in words; empty where all do."""
    return ", ".join(
        f"{column} is no JSON {noun}"
        for column, (kind, noun) in _JSON_KINDS.items()
        if not _holds(getattr(row, column), kind)
    )


def same_schedule(values: Values, row: PeriodicTask) -> bool:
    """Whether the row's schedule fires as ``values`` do."""
    if row.scheduler is not None and columns.values_of_row(row.scheduler) == values:
        return True
    return schedule_of(row) == fingerprint(columns.row_of(values).schedule)


def differing(values: RowValues, row: PeriodicTask) -> dict[str, tuple[Any, Any]]:
    """Where ``row`` differs from ``values``: field to (held, wanted). Whether it is enabled does not count."""
    found: dict[str, tuple[Any, Any]] = {}
    for name in _PLAIN_FIELDS:
        held, wanted = _held(row, name), getattr(values, name)
        if held != wanted:
            found[name] = (held, wanted)
    for name in JSON_FIELDS:
        held, wanted = getattr(row, name), getattr(values, name)
        if held != wanted and _loaded(held) != _loaded(wanted):
            found[name] = (held, wanted)
    if not same_schedule(values.schedule, row):
        found["schedule"] = (schedule_of(row), fingerprint(columns.row_of(values.schedule).schedule))
    return found


def values_of(row: PeriodicTask) -> RowValues:
    """What the row holds; raises AttributeError for a row without a schedule."""
    plain = {name: _held(row, name) for name in _PLAIN_FIELDS}
    plain |= {name: getattr(row, name) or ("[]" if name == "args" else "{}") for name in JSON_FIELDS}
    return RowValues(name=EntryName(row.name), schedule=columns.values_of_row(row.scheduler), **plain)


def record(values: RowValues) -> dict[str, Any]:
    """``values`` as plain data, for a JSON field."""
    plain = {column.name: getattr(values, column.name) for column in fields(values)} | {
        name: at.isoformat() if (at := getattr(values, name)) is not None else None for name in _INSTANTS
    }
    return plain | {"schedule": asdict(values.schedule)}


def recorded(data: Mapping[str, Any]) -> RowValues:
    """What ``record`` was given."""
    instants = {name: dt.datetime.fromisoformat(data[name]) if data[name] else None for name in _INSTANTS}
    return RowValues(**{**data, **instants, "schedule": columns.recorded(data["schedule"])})


def create(alias: str, wanted: Iterable[RowValues], schedules: ScheduleRows) -> None:
    """Create disabled rows."""
    fresh = []
    for values in wanted:
        row = PeriodicTask(name=values.name)
        _fill(row, values, schedules)
        fresh.append(row)
    bulk.insert(alias, fresh)


def overwrite(alias: str, wanted: Iterable[tuple[PeriodicTask, RowValues]], schedules: ScheduleRows) -> None:
    """Give existing rows these values and disable them; the schedule kinds that they do not have are unset."""
    changed = []
    for row, values in wanted:
        _fill(row, values, schedules)
        row.date_changed = stored(clock.now())
        changed.append(row)
    bulk.update(alias, changed, _WRITTEN)


class ScheduleRows:
    """The schedule rows of one database: the oldest of equal ones is used, missing ones are created."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._known: dict[Values, Any] = {}
        for _, model in columns.MODELS.values():
            for row in model._default_manager.using(alias).order_by("-pk"):
                self._known[columns.values_of_row(row)] = row

    def provide(self, wanted: Iterable[Values]) -> None:
        """Create what is missing, in one go for each kind."""
        missing = {values: columns.row_of(values) for values in wanted if values not in self._known}
        for _, model in columns.MODELS.values():
            fresh = {values: row for values, row in missing.items() if isinstance(row, model)}
            model._default_manager.using(self._alias).bulk_create(fresh.values())
            self._known.update(fresh)

    def row(self, values: Values) -> Any:
        """The saved schedule row that holds ``values``; it is there, or was provided."""
        return self._known[values]


def _fill(row: PeriodicTask, values: RowValues, schedules: ScheduleRows) -> None:
    for name in (*_PLAIN_FIELDS, *JSON_FIELDS):
        value = getattr(values, name)
        setattr(row, name, stored(value) if isinstance(value, dt.datetime) else value)
    row.enabled = False
    column, _ = columns.MODELS[type(values.schedule)]
    for kind in _KINDS:
        setattr(row, kind, schedules.row(values.schedule) if kind == column else None)


def _held(row: PeriodicTask, name: str) -> Any:
    """One column; an empty text is none, an instant is aware."""
    value = getattr(row, name)
    if isinstance(value, dt.datetime):
        return instant(value)
    return None if value == "" else value


def _holds(text: str | None, kind: type) -> bool:
    try:
        return not text or isinstance(loads(text), kind)
    except ValueError:
        return False


def _loaded(text: str | None) -> Any:
    try:
        return (loads(text) if text else None) or None
    except ValueError:
        return text
