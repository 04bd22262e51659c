"""Entries as people write them, at random: schedules of every kind, options and arguments; and what is done to rows."""

import datetime as dt
import operator
import random
import zoneinfo
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

from celery import Celery
from celery.schedules import ParseException, crontab, schedule, solar
from django_celery_beat.clockedschedule import clocked
from django_celery_beat.models import IntervalSchedule
from django_celery_beat.tzcrontab import TzAwareCrontab

from cutover.schedules.columns import CRONTAB_FIELDS, CrontabValues, IntervalValues
from cutover.schedules.convert import RowDraft

ZONES = [
    *("UTC", "Etc/UTC", "Europe/London", "Europe/Lisbon", "Europe/Dublin", "Europe/Berlin", "Europe/Paris"),
    *("Europe/Helsinki", "Europe/Moscow", "Europe/Istanbul", "Africa/Cairo", "Africa/Casablanca", "Africa/Lagos"),
    *("Africa/Johannesburg", "Asia/Dubai", "Asia/Tehran", "Asia/Kabul", "Asia/Karachi", "Asia/Kolkata"),
    *("Asia/Kathmandu", "Asia/Dhaka", "Asia/Shanghai", "Asia/Tokyo", "Asia/Jerusalem", "Asia/Beirut"),
    *("Australia/Sydney", "Australia/Lord_Howe", "Australia/Adelaide", "Australia/Perth", "Pacific/Auckland"),
    *("Pacific/Chatham", "Pacific/Apia", "America/New_York", "America/Chicago", "America/Los_Angeles"),
    *("America/St_Johns", "America/Sao_Paulo", "America/Santiago", "America/Havana", "Atlantic/Azores"),
]
TASKS = ("known", "limited", "routed", "unknown")
"""Of what ``project`` registers, and one that nobody does."""
_RANGES = {"minute": (0, 59), "hour": (0, 23), "day_of_month": (1, 31), "month_of_year": (1, 12), "day_of_week": (0, 6)}
_WEEKDAYS = ("mon-fri", "sunday", "sat,sun", "Monday", "fri-mon", "mon,wed-fri")
_TEXTS = ("", "daily", "Zoë, ½ €", "صلاة", "祈り🙏", 'quote " and \\', "line\nbreak\u2028", "nul\0", "null", "%s {}")
_SOLAR = ("sunrise", "sunset", "dawn_civil", "dusk_nautical", "solar_noon")
_LEAP_YEAR_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def project(zone: str) -> Celery:
    """An app with tasks that have options of their own."""
    app = Celery("generated", set_as_current=False)
    app.conf.timezone = zone
    app.conf.task_routes = {"routed": {"queue": "by-route", "priority": 2}}

    def run(*_: Any, **__: Any) -> None:
        raise AssertionError("a task is not run")

    app.task(name="known", shared=False)(run)
    app.task(name="limited", shared=False, time_limit=7, expires=90, ignore_result=True)(run)
    app.task(name="routed", shared=False)(run)
    return app


def entry(chance: random.Random, app: Celery) -> dict[str, Any]:
    """The fields of an entry, as in ``beat_schedule``."""
    return {
        "task": chance.choice(TASKS),
        "schedule": when(chance, app),
        "args": tuple(_value(chance) for _ in range(chance.randint(0, 2))),
        "kwargs": {chance.choice(("a", "b", "größe")): _value(chance) for _ in range(chance.randint(0, 2))},
        "options": options(chance, app),
    }


def when(chance: random.Random, app: Celery) -> Any:
    """A schedule of any kind, most often a crontab."""
    kind = chance.choices((cron, _interval, _relative, _solar, _clocked), (16, 4, 2, 1, 1))[0]
    return kind(chance, app)


def cron(chance: random.Random, app: Celery) -> crontab:
    """A crontab that comes round, its fields in every form that celery reads."""
    while True:
        fields = {
            "minute": chance.choice((0, "*", _field(chance, "minute"), _field(chance, "minute"))),
            "hour": chance.choice(("*", _field(chance, "hour"), _field(chance, "hour"))),
            "day_of_week": chance.choice(("*", "*", chance.choice(_WEEKDAYS), _field(chance, "day_of_week"))),
            "day_of_month": chance.choice(("*", "*", "*", _field(chance, "day_of_month"))),
            "month_of_year": chance.choice(("*", "*", "*", _field(chance, "month_of_year"))),
        }
        if chance.random() < 0.05:
            fields |= {"day_of_month": "29", "month_of_year": 2, "day_of_week": "*"}
        try:
            made = crontab(**fields, app=app)
        except (ParseException, ValueError):
            continue
        if not any(day <= _LEAP_YEAR_DAYS[m - 1] for m in made.month_of_year for day in made.day_of_month):
            continue  # the 31st of April
        if chance.random() < 0.1:
            return TzAwareCrontab(**fields, tz=zoneinfo.ZoneInfo(chance.choice(ZONES)), app=app)
        return made


def _field(chance: random.Random, name: str) -> Any:
    low, high = _RANGES[name]
    numbers = sorted({chance.randint(low, high) for _ in range(chance.randint(1, 4))})
    first, last, step = chance.randint(low, high), chance.randint(low, high), chance.randint(2, max(2, high // 2))
    return chance.choice(
        (
            numbers[0],
            str(numbers[0]),
            numbers,
            set(numbers),
            ",".join(map(str, numbers)),
            f"*/{step}",
            f"{min(first, last)}-{max(first, last)}",
            f"{max(first, last)}-{min(first, last)}",
            f"{min(first, last)}-{max(first, last)}/{step}",
            f"*/{step},{numbers[-1]}",
        )
    )


def _interval(chance: random.Random, _app: Celery) -> Any:
    seconds = chance.choice((0.001, 0.25, 1.5, 1, 30, 45.0, 60, 90, 3600, 5400, 86_400, 7 * 86_400, 1_234_567))
    return chance.choice((seconds, dt.timedelta(seconds=seconds), schedule(seconds)))


def _relative(chance: random.Random, _app: Celery) -> schedule:
    unit = chance.choice(("seconds", "minutes", "hours", "days"))
    return schedule(dt.timedelta(**{unit: chance.randint(1, 50)}), relative=True)


def _solar(chance: random.Random, app: Celery) -> solar:
    return solar(chance.choice(_SOLAR), round(chance.uniform(-60, 60), 6), round(chance.uniform(-180, 180), 6), app=app)


def _clocked(chance: random.Random, _app: Celery) -> clocked:
    return clocked(dt.datetime(2027, 6, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=chance.randint(0, 500_000)))


def options(chance: random.Random, app: Celery) -> dict[str, Any]:
    """Options of ``apply_async``, up to four of them."""
    at = dt.datetime(2028, 1, 1, 12, tzinfo=dt.UTC) + dt.timedelta(minutes=chance.randint(0, 9_999))
    kinds: dict[str, Callable[[], Any]] = {
        "queue": lambda: chance.choice(("a", "b", "", None)),
        "exchange": lambda: "an-exchange",
        "routing_key": lambda: chance.choice(("a.key", "größe")),
        "priority": lambda: chance.choice((0, 3, 9, None, 300)),
        "expires": lambda: chance.choice(
            (60, 0, 60.0, 1.5, dt.timedelta(minutes=1), at, at.replace(tzinfo=None), at.isoformat(), None, -5)
        ),
        "countdown": lambda: chance.choice((0, 5, 1.5)),
        "eta": lambda: chance.choice((at, at.replace(tzinfo=None))),
        "time_limit": lambda: chance.choice((9, 9.5, None)),
        "soft_time_limit": lambda: chance.choice((8, None)),
        "serializer": lambda: chance.choice(("json", "pickle", None)),
        "compression": lambda: chance.choice(("zlib", "bzip2", None)),
        "headers": lambda: chance.choice(({"tenant": "ü"}, {"n": 1, "deep": {"a": [1.5, None]}}, {}, None)),
        "ignore_result": lambda: chance.choice((True, False)),
        "link": lambda: chance.choice((app.signature("known"), [app.signature("other", args=(1,), immutable=True)])),
        "link_error": lambda: [app.signature("known", kwargs={"a": "ü"}, options={"queue": "errors"})],
        "shadow": lambda: "shown.name",
        "delivery_mode": lambda: chance.choice((1, 2)),
        "retry": lambda: False,
        "retry_policy": lambda: {"max_retries": 3, "interval_step": 0.2},
        "stamped_headers": lambda: ["tenant"],
        "group_id": lambda: "a-group",
    }
    return {name: kinds[name]() for name in chance.sample(sorted(kinds), chance.choice((0, 0, 1, 1, 2, 3, 4)))}


def _value(chance: random.Random, depth: int = 0) -> Any:
    simple = (
        *(None, True, False, 0, 1, -1, 2**53 + 1, 2**70, 0.1, 1.0, -0.0, 1e300, chance.choice(_TEXTS)),
        *(chance.choice(_TEXTS), chance.choice(_TEXTS), dt.datetime(2028, 2, 29, 23, 59, tzinfo=dt.UTC)),
        *(dt.date(2028, 2, 29), dt.time(8, 30), Decimal("1.50"), UUID(int=chance.randint(0, 2**100))),
    )
    if depth < 2 and chance.random() < 0.3:
        parts = [_value(chance, depth + 1) for _ in range(chance.randint(0, 3))]
        return chance.choice((parts, tuple(parts), dict(zip(("x", "ключ", ""), parts, strict=False))))
    return chance.choice(simple)


def edited(chance: random.Random, found: RowDraft) -> RowDraft:
    """What was imported, after somebody changed, respelt or lost something of it, or nothing."""
    if chance.random() < 0.3:
        return found
    if chance.random() < 0.1:
        return replace(found, options={}, relative=False)
    changed, values = found.row, found.row.schedule
    if chance.random() < 0.6:
        if isinstance(values, CrontabValues):
            values = _edited_crontab(chance, values)
        elif isinstance(values, IntervalValues):
            values = _edited_interval(chance, values)
        else:
            values = IntervalValues(1, IntervalSchedule.DAYS)
        return replace(found, row=replace(changed, schedule=values))
    edits: dict[str, tuple[Any, ...]] = {
        "task": TASKS,
        "args": ("[]", '["daily"]', "[1]", "[true]", "[1.0]", '[" "]'),
        "kwargs": ("{}", '{"a": null}', '{"a": 1}'),
        "headers": ("{}", '{"tenant": "u"}'),
        "queue": (None, "a", "c"),
        "exchange": (None, "another"),
        "routing_key": (None, "another.key"),
        "priority": (None, 3, 7),
        "expire_seconds": (None, 60, 61),
    }
    column = chance.choice(sorted(edits))
    return replace(found, row=replace(changed, **{column: chance.choice(edits[column])}))


def _edited_crontab(chance: random.Random, values: CrontabValues) -> Any:
    what = chance.choice(("timezone", "timezone", "timezone", "respelt", "kind", *CRONTAB_FIELDS))
    if what == "timezone":
        return replace(values, timezone=chance.choice(chance.choice((ZONES, _like(values.timezone)))))
    if what == "kind":
        return IntervalValues(chance.choice((60, 3600, 86_400)), IntervalSchedule.SECONDS)
    if what == "respelt":
        name = chance.choice(CRONTAB_FIELDS)
        numbers = getattr(crontab(**{name: getattr(values, name)}), name)
        return replace(values, **{name: ",".join(map(str, sorted(numbers)))})
    while True:
        spelt = _field(chance, what)
        spelt = spelt if isinstance(spelt, str | int) else ",".join(map(str, sorted(spelt)))
        changed = replace(values, **{what: str(spelt)})
        fields = {name: getattr(changed, name) for name in CRONTAB_FIELDS}
        try:
            made = crontab(**fields)
        except (ParseException, ValueError):
            continue
        if any(day <= _LEAP_YEAR_DAYS[m - 1] for m in made.month_of_year for day in made.day_of_month):
            return changed


@cache
def _like(zone: str) -> list[str]:
    """Zones that have the same time as this one in January or in July."""

    def winter_and_summer(name: str) -> list[dt.timedelta | None]:
        moments = (dt.datetime(2027, month, 15, tzinfo=dt.UTC) for month in (1, 7))
        return [at.astimezone(zoneinfo.ZoneInfo(name)).utcoffset() for at in moments]

    own = winter_and_summer(zone)
    return [name for name in ZONES if any(map(operator.eq, own, winter_and_summer(name)))]


def _edited_interval(chance: random.Random, values: IntervalValues) -> Any:
    if values.period == IntervalSchedule.SECONDS and chance.random() < 0.5:
        for period, length in ((IntervalSchedule.DAYS, 86_400), (IntervalSchedule.HOURS, 3600)):
            if values.every % length == 0:
                return IntervalValues(values.every // length, period)  # the same in another unit
    if chance.random() < 0.3:
        return CrontabValues("0", "*", "*", "*", "*", "UTC")
    return replace(values, every=values.every + 1)


def as_celery_is_to_send(given: dict[str, Any]) -> dict[str, Any]:
    """Options as our own beats publish them, where the stock one cannot.

    ``expires`` as a timedelta, which celery's words promise and its code refuses, in seconds; no None for headers, into
    which celery 5.7 writes.
    """
    found = given | {"headers": dict(given.get("headers") or {})}
    if isinstance(expires := given.get("expires"), dt.timedelta):
        found["expires"] = expires.total_seconds()
    return found
