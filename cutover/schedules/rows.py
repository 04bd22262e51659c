"""``PeriodicTask`` rows against what they should hold: read, compared, written; no decision is taken here.

Writes bypass ``save()`` and its signals: ``save()`` clears ``last_run_at`` of a disabled row, and touches
``PeriodicTasks`` at every row. The caller touches it once.
"""

import datetime as dt
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any, Final

from django.db import router
from django.db.models import Model, QuerySet
from django_celery_beat.models import PeriodicTask
from kombu.utils.json import loads

from cutover import clock
from cutover.fields import as_instant, stored
from cutover.foreign import text_of
from cutover.ledger import bulk
from cutover.schedules import columns
from cutover.schedules.columns import Values
from cutover.schedules.convert import RowValues
from cutover.schedules.fingerprint import fingerprint
from cutover.types import EntryName, Limits

_JSON_KINDS: Final = {"args": (list, "list"), "kwargs": (dict, "object"), "headers": (dict, "object")}
_EMPTY: Final = {"args": "[]", "kwargs": "{}", "headers": "{}"}
_PLAIN: Final = tuple(one.name for one in fields(RowValues) if one.name not in ("name", "schedule", *_JSON_KINDS))
_decode: Final = json.JSONDecoder().decode
_INSTANTS: Final = ("start_time", "expires")
_SOME: Final = 5_000
"""Up to how many schedules are asked for by their keys; more are picked from all of them."""
_FEW: Final = 500
"""Up to how many names or keys are asked for one by one; more are picked from all rows."""


def rows_database() -> str:
    """The database that has the rows: where they are written. A replica that a router reads from is behind it."""
    alias: str = router.db_for_write(PeriodicTask)
    return alias


def enabled_rows() -> QuerySet[PeriodicTask]:
    """The rows that are sent, read where they are written."""
    found: QuerySet[PeriodicTask] = PeriodicTask.objects.using(rows_database()).filter(enabled=True)
    return found


def limits_of(row: PeriodicTask) -> Limits:
    """From when until when the row may be sent: its start and its end, where it has them."""
    return Limits(row.start_time and as_instant(row.start_time), row.expires and as_instant(row.expires))


def periodic_tasks(alias: str, values: Collection[Any], by: str = "name") -> dict[Any, PeriodicTask]:
    """The rows of these names, or values of another unique column, that there are, with their schedules."""
    query = PeriodicTask.objects.using(alias)
    if len(values) <= _FEW:
        query = query.filter(**{f"{by}__in": values})
    return {getattr(row, by): row for row in with_schedules(query) if getattr(row, by) in values}


def with_schedules(query: QuerySet[PeriodicTask] | list[PeriodicTask], alias: str | None = None) -> list[PeriodicTask]:
    """The rows of ``query``; those on the same schedule share one object of it.

    Or these rows: then ``alias`` is the database that has the schedules, where that is not the one of all rows.
    """
    if isinstance(query, QuerySet):
        found, alias = list(query.prefetch_related(None)), query.db  # its manager would have them read as well
    else:
        found, alias = query, alias or rows_database()
    for column, model in columns.MODELS.values():
        attribute = f"{column}_id"
        keys = {getattr(row, attribute) for row in found} - {None}
        if not keys:
            continue
        schedules = model._default_manager.using(alias)
        shared = schedules.in_bulk(keys) if len(keys) <= _SOME else {one.pk: one for one in schedules.all()}
        for row in found:
            if (key := getattr(row, attribute)) in shared:
                row._state.fields_cache[column] = shared[key]
    return found


def schedule_of(row: PeriodicTask) -> str:
    """The fingerprint of a row's schedule; ``none`` where it has none, and why where it cannot be read."""
    if row.scheduler is None:
        return "none"
    try:
        return fingerprint(row.schedule)
    except Exception as exc:  # written past the model's own checks
        return f"unreadable ({text_of(exc)})"


def unreadable(row: Any) -> str:
    """Which JSON columns of a row do not hold what a message is made of, in words; empty where all do."""
    found = [
        f"{column} is no JSON {noun}"
        for column, (kind, noun) in _JSON_KINDS.items()
        if (text := getattr(row, column)) and text != _EMPTY[column] and not isinstance(_outermost(text), kind)
    ]
    return ", ".join(found)


def same_schedule(values: Values, row: PeriodicTask) -> bool:
    """Whether the row's schedule fires as ``values`` do."""
    if row.scheduler is not None and columns.values_of_row(row.scheduler) == values:
        return True
    return schedule_of(row) == fingerprint(columns.row_of(values).schedule)


def differing(values: RowValues, row: PeriodicTask) -> dict[str, tuple[Any, Any]]:
    """Where ``row`` differs from ``values``: field to (held, wanted). Whether it is enabled does not count."""
    plain = {name: (_held(row, name), getattr(values, name)) for name in _PLAIN}
    found = {name: (held, wanted) for name, (held, wanted) in plain.items() if held != wanted}
    for name in _JSON_KINDS:
        held, wanted = getattr(row, name), getattr(values, name)
        if held != wanted and (_loaded(held) or None) != (_loaded(wanted) or None):
            found[name] = (held, wanted)
    if not same_schedule(values.schedule, row):
        found["schedule"] = (schedule_of(row), fingerprint(columns.row_of(values.schedule).schedule))
    return found


def values_of(row: PeriodicTask) -> RowValues:
    """What the row holds; raises AttributeError for a row without a schedule."""
    plain = {name: _held(row, name) for name in _PLAIN}
    plain |= {name: getattr(row, name) or ("[]" if name == "args" else "{}") for name in _JSON_KINDS}
    return RowValues(name=EntryName(row.name), schedule=columns.values_of_row(row.scheduler), **plain)


def record(values: RowValues) -> dict[str, Any]:
    """``values`` as plain data, for a JSON field."""
    plain = asdict(values)
    return plain | {name: plain[name] and plain[name].isoformat() for name in _INSTANTS}


def recorded(data: Mapping[str, Any]) -> RowValues:
    """What ``record`` was given."""
    instants = {name: data[name] and dt.datetime.fromisoformat(data[name]) for name in _INSTANTS}
    return RowValues(**{**data, **instants, "schedule": columns.recorded(data["schedule"])})


def write(alias: str, fresh: Iterable[RowValues], changed: Iterable[tuple[PeriodicTask, RowValues]]) -> None:
    """Create rows, give existing ones these values, and disable all. Of equal schedule rows the oldest is used."""
    created, overwritten = [(PeriodicTask(name=values.name), values) for values in fresh], list(changed)
    wanted = [*created, *overwritten]
    if not wanted:
        return
    schedules: dict[Values, Any] = {}
    for kind, (_, model) in columns.MODELS.items():
        standing = _standing(alias, model)
        needed = {values.schedule for _, values in wanted if isinstance(values.schedule, kind)}
        if missing := needed - standing.keys():
            model._default_manager.using(alias).bulk_create(columns.row_of(values) for values in missing)
            standing = _standing(alias, model)  # read again: MySQL does not say which keys it has given
        schedules |= standing
    for row, values in wanted:
        _fill(row, values, schedules[values.schedule])
    bulk.insert(alias, [row for row, _ in created])
    names = [*_PLAIN, *_JSON_KINDS, *(column for column, _ in columns.MODELS.values()), "enabled", "date_changed"]
    bulk.update(alias, [row for row, _ in overwritten], names)


def unwritten(values: RowValues) -> PeriodicTask:
    """The row that ``write`` would create, in memory alone."""
    row = PeriodicTask(name=values.name)
    _fill(row, values, columns.row_of(values.schedule))
    return row


def _standing(alias: str, model: type[Model]) -> dict[Values, Any]:
    """The schedule rows that there are; of equal ones the oldest."""
    return {columns.values_of_row(row): row for row in model._default_manager.using(alias).order_by("-pk")}


def _fill(row: PeriodicTask, values: RowValues, schedule: Any) -> None:
    for name in (*_PLAIN, *_JSON_KINDS):
        value = getattr(values, name)
        setattr(row, name, stored(value) if isinstance(value, dt.datetime) else value)
    for kind, (column, _) in columns.MODELS.items():
        setattr(row, column, schedule if isinstance(values.schedule, kind) else None)
    row.enabled, row.date_changed = False, stored(clock.now())


def _held(row: PeriodicTask, name: str) -> Any:
    """One column; an empty text is none, an instant is aware."""
    value = getattr(row, name)
    if isinstance(value, dt.datetime):
        return as_instant(value)
    return None if value == "" else value


def _outermost(text: str) -> Any:
    """What the text is as a whole. kombu's reader is slow, and makes something else only of what names its type."""
    if "__type__" in text:
        return _loaded(text)
    try:
        return _decode(text)
    except ValueError:
        return text


def _loaded(text: str | None) -> Any:
    try:
        return loads(text) if text else None
    except ValueError:
        return text
