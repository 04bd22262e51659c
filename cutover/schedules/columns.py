"""Pure: a celery schedule as the columns of django-celery-beat's schedule rows, exactly or not at all, and back."""

import datetime as dt
import decimal
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

from celery.schedules import crontab, schedule, solar
from celery.utils.time import maybe_make_aware
from django.core.exceptions import ValidationError
from django.db.models import Field, Model
from django_celery_beat.clockedschedule import clocked
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, SolarSchedule
from django_celery_beat.tzcrontab import TzAwareCrontab

from cutover.fields import as_instant, stored
from cutover.schedules.refusals import Unfit, require_foretold
from cutover.schedules.timetable import zone_of

MOST: Final = 2**31 - 1
"""The greatest number that a row's integer columns hold."""
CRONTAB_FIELDS: Final = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
_DEGREE: Final = decimal.Decimal("0.000001")


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
class SolarValues:
    """The columns of a ``SolarSchedule``; degrees in decimal notation, six places."""

    event: str
    latitude: str
    longitude: str


@dataclass(frozen=True, slots=True)
class ClockedValues:
    """The column of a ``ClockedSchedule``: ISO 8601, UTC."""

    clocked_time: str


Values: TypeAlias = CrontabValues | IntervalValues | SolarValues | ClockedValues

MODELS: Final[Mapping[type[Values], tuple[str, type[Model]]]] = {
    CrontabValues: ("crontab", CrontabSchedule),
    IntervalValues: ("interval", IntervalSchedule),
    SolarValues: ("solar", SolarSchedule),
    ClockedValues: ("clocked", ClockedSchedule),
}
"""For each kind: the column of ``PeriodicTask`` that refers to it, and its model."""


def values_of(found: Any) -> Values:
    """The columns that hold ``found`` exactly; of a relative interval, its length. Raises Unfit."""
    require_foretold(found)
    kind = type(found)
    if kind not in (crontab, TzAwareCrontab, schedule, solar, clocked):
        raise Unfit(
            f"is a {kind.__module__}.{kind.__qualname__}, which no row holds",
            "name a converter for it in CUTOVER['CONVERTERS'], or write it as a crontab, a timedelta or seconds",
        )
    if isinstance(found, crontab):
        spelt = {field: _cron_field(field, found) for field in CRONTAB_FIELDS}
        return CrontabValues(**spelt, timezone=_zone_name(zone_of(found)))
    if isinstance(found, solar):
        return SolarValues(found.event, _degrees("latitude", found.lat), _degrees("longitude", found.lon))
    if isinstance(found, clocked):
        return ClockedValues(maybe_make_aware(found.clocked_time).astimezone(dt.UTC).isoformat())
    return _interval(found)


def values_of_row(row: Model) -> Values:
    """The columns of a schedule row, as ``values_of`` spells them."""
    kind = next(kind for kind, (_, model) in MODELS.items() if isinstance(row, model))
    return kind(**{name: _SPELT.get(name, _AS_IT_IS)[0](getattr(row, name)) for name in kind.__dataclass_fields__})


def row_of(values: Values) -> Any:
    """The schedule row that holds ``values``, not saved."""
    _, model = MODELS[type(values)]
    return model(**{name: _SPELT.get(name, _AS_IT_IS)[1](value) for name, value in asdict(values).items()})


def recorded(columns: Mapping[str, Any]) -> Values:
    """The values that ``dataclasses.asdict`` made ``columns`` of."""
    kind = next(kind for kind in MODELS if kind.__dataclass_fields__.keys() == columns.keys())
    return kind(**columns)


def _cron_field(field: str, found: crontab) -> str:
    """The field as it was written where a row (and its form in the admin) admits that, else its numbers."""
    written = getattr(found, f"_orig_{field}")
    if isinstance(written, str) and _is_admitted(field, written):
        return written
    return ",".join(str(int(number)) for number in sorted(getattr(found, field)))


@lru_cache(maxsize=4096)
def _is_admitted(field: str, written: str) -> bool:
    column: Field[Any, Any] = CrontabSchedule._meta.get_field(field)
    try:
        column.run_validators(written)
    except ValidationError:
        return False  # celery reads more than the admin does
    return True


@lru_cache(maxsize=512)
def _zone_name(tz: dt.tzinfo) -> str:
    name = str(tz)
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise Unfit(f"fires in {name!r}, which is no named time zone", "name one in the app's `timezone`") from exc
    return name


def _six_places(value: decimal.Decimal) -> str:
    return str(decimal.Decimal(value).quantize(_DEGREE) + 0)  # + 0: no negative zero


def _degrees(field: str, value: Any) -> str:
    exact = decimal.Decimal(str(value))
    if exact != exact.quantize(_DEGREE):
        raise Unfit(f"has a {field} of {value}, and a row holds six decimal places", "round it: they are 11 cm")
    return _six_places(exact)


def _interval(found: schedule) -> IntervalValues:
    microseconds = found.run_every // dt.timedelta(microseconds=1)
    seconds, rest = divmod(microseconds, 1_000_000)
    if rest == 0 and seconds <= MOST:
        return IntervalValues(seconds, IntervalSchedule.SECONDS)
    if microseconds <= MOST:
        return IntervalValues(microseconds, IntervalSchedule.MICROSECONDS)
    raise Unfit(f"of {found.run_every} is too long for a row to hold it exactly", "round it to whole seconds")


_AS_IT_IS: Final[tuple[Callable[[Any], Any], Callable[[Any], Any]]] = (lambda value: value, lambda value: value)
_SPELT: Final[Mapping[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]]] = {
    "timezone": (str, zoneinfo.ZoneInfo),
    "latitude": (_six_places, decimal.Decimal),
    "longitude": (_six_places, decimal.Decimal),
    "clocked_time": (lambda at: as_instant(at).isoformat(), lambda text: stored(dt.datetime.fromisoformat(text))),
}
"""How a column's value is spelt, and how it is read again, where it is no text or number of itself."""
