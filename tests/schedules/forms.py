"""Every form of entry in celery's periodic-task documentation, and those of the field; by the name in the docs' table.

``row``: columns of the row, ``schedule`` among them; ``overlay``: what is overlaid on it; ``refused``: the field.
"""

import datetime as dt
import zoneinfo
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from celery import Celery
from celery.beat import BeatLazyFunc
from celery.schedules import BaseSchedule, crontab, schedule, solar
from django.utils.translation import gettext_lazy
from django_celery_beat.clockedschedule import clocked
from django_celery_beat.tzcrontab import TzAwareCrontab
from kombu import Queue

from cutover.schedules.columns import ClockedValues, CrontabValues, IntervalValues, SolarValues

NOON = dt.datetime(2030, 1, 1, 12, tzinfo=dt.UTC)
APP = Celery("forms", set_as_current=False)


@dataclass(frozen=True)
class Form:
    """An entry, less its task, and what becomes of it."""

    entry: dict[str, Any]
    row: dict[str, Any] = field(default_factory=dict)
    overlay: tuple[str, ...] = ()
    refused: str = ""


def cron(minute: str = "*", hour: str = "*", dom: str = "*", month: str = "*", dow: str = "*", tz: str = "UTC") -> Any:
    """The columns of a crontab in the usual order."""
    return {"schedule": CrontabValues(minute, hour, dom, month, dow, tz)}


def every(number: int, period: str = "seconds") -> dict[str, Any]:
    """The columns of an interval."""
    return {"schedule": IntervalValues(number, period)}


def with_option(value: Any, name: str, **becomes: Any) -> Form:
    """An hourly entry with one option."""
    row = becomes.pop("row", {})
    return Form(
        {"schedule": 3600, "options": {name: value}}, row | every(3600) if "refused" not in becomes else {}, **becomes
    )


class BankHolidays(BaseSchedule):
    """A schedule of a project's own."""


FORMS: dict[str, Form] = {
    "number": Form({"schedule": 30.0, "args": (16, 16)}, every(30) | {"args": "[16, 16]"}),
    "sub-second number": Form({"schedule": 0.25}, every(250_000, "microseconds")),
    "timedelta": Form({"schedule": dt.timedelta(seconds=30)}, every(30)),
    "schedule": Form({"schedule": schedule(run_every=10)}, every(10)),
    "relative schedule": Form({"schedule": schedule(dt.timedelta(hours=1), relative=True)}, every(3600), ("relative",)),
    "relative entry": Form({"schedule": dt.timedelta(days=1), "relative": True}, every(86400), ("relative",)),
    "schedule with its own clock": Form({"schedule": schedule(60, nowfun=lambda: dt.datetime.now(dt.UTC))}, every(60)),
    "crontab()": Form({"schedule": crontab()}, cron()),
    "crontab(minute=0, hour=0)": Form({"schedule": crontab(minute=0, hour=0)}, cron("0", "0")),
    "crontab(minute=0, hour='*/3')": Form({"schedule": crontab(minute=0, hour="*/3")}, cron("0", "*/3")),
    "crontab(hour='0,3,6,9,12,15,18,21')": Form(
        {"schedule": crontab(minute=0, hour="0,3,6,9,12,15,18,21")}, cron("0", "0,3,6,9,12,15,18,21")
    ),
    "crontab(minute='*/15')": Form({"schedule": crontab(minute="*/15")}, cron("*/15")),
    "crontab(day_of_week='sunday')": Form({"schedule": crontab(day_of_week="sunday")}, cron(dow="0")),
    "crontab(minute='*', hour='*', day_of_week='sun')": Form(
        {"schedule": crontab(minute="*", hour="*", day_of_week="sun")}, cron(dow="sun")
    ),
    "crontab(hour='3,17,22', day_of_week='thu,fri')": Form(
        {"schedule": crontab(minute="*/10", hour="3,17,22", day_of_week="thu,fri")},
        cron("*/10", "3,17,22", dow="thu,fri"),
    ),
    "crontab(hour='*/2,*/3')": Form({"schedule": crontab(minute=0, hour="*/2,*/3")}, cron("0", "*/2,*/3")),
    "crontab(hour='*/5')": Form({"schedule": crontab(minute=0, hour="*/5")}, cron("0", "*/5")),
    "crontab(hour='*/3,8-17')": Form({"schedule": crontab(minute=0, hour="*/3,8-17")}, cron("0", "*/3,8-17")),
    "crontab(day_of_month='2')": Form({"schedule": crontab(0, 0, day_of_month="2")}, cron("0", "0", "2")),
    "crontab(day_of_month='2-30/2')": Form(
        {"schedule": crontab(0, 0, day_of_month="2-30/2")}, cron("0", "0", "2-30/2")
    ),
    "crontab(day_of_month='1-7,15-21')": Form(
        {"schedule": crontab(0, 0, day_of_month="1-7,15-21")}, cron("0", "0", "1-7,15-21")
    ),
    "crontab(month_of_year='*/3')": Form(
        {"schedule": crontab(0, 0, day_of_month="11", month_of_year="*/3")}, cron("0", "0", "11", "*/3")
    ),
    "crontab of sets": Form({"schedule": crontab(minute={0, 30}, hour=[8, 9])}, cron("0,30", "8,9")),
    "crontab of a wrapped range": Form({"schedule": crontab(minute=0, hour="22-2")}, cron("0", "0,1,2,22,23")),
    "crontab of celery's own spelling": Form(
        {"schedule": crontab(0, 8, day_of_week="monday")}, cron("0", "8", dow="1")
    ),
    "crontab with a time zone": Form(
        {"schedule": TzAwareCrontab(minute="0", hour="8", tz=zoneinfo.ZoneInfo("Europe/London"))},
        cron("0", "8", tz="Europe/London"),
    ),
    "crontab with its own clock": Form(
        {"schedule": crontab(minute=0, hour=8, nowfun=lambda: dt.datetime.now(dt.UTC))}, cron("0", "8")
    ),
    "crontab with another clock": Form(
        {"schedule": crontab(minute=0, nowfun=lambda: dt.datetime(2020, 1, 1, tzinfo=dt.UTC))}, refused="schedule"
    ),
    "solar": Form(
        {"schedule": solar("sunset", -37.81753, 144.96715)},
        {"schedule": SolarValues("sunset", "-37.817530", "144.967150")},
    ),
    "solar to more than six places": Form({"schedule": solar("sunset", 51.12345678, 0)}, refused="schedule"),
    "clocked": Form({"schedule": clocked(NOON)}, {"schedule": ClockedValues(NOON.isoformat()), "one_off": True}),
    "class of the project's own": Form({"schedule": BankHolidays()}, refused="schedule"),
    "subclass of crontab": Form({"schedule": type("Own", (crontab,), {})()}, refused="schedule"),
    "args": Form({"schedule": 60, "args": ("a", 1, None)}, every(60) | {"args": '["a", 1, null]'}),
    "kwargs": Form({"schedule": 60, "kwargs": {"a": [1]}}, every(60) | {"kwargs": '{"a": [1]}'}),
    "tuple within args": Form({"schedule": 60, "args": (("a",),)}, every(60) | {"args": '[["a"]]'}),
    "datetime within args": Form({"schedule": 60, "args": (NOON,)}, every(60)),
    "Decimal within args": Form({"schedule": 60, "args": (Decimal("1.5"),)}, every(60)),
    "set within args": Form({"schedule": 60, "args": ({1},)}, refused="args"),
    "object within args": Form({"schedule": 60, "args": (object(),)}, refused="args"),
    "lazy text within args": Form({"schedule": 60, "args": (gettext_lazy("Monday"),)}, refused="args"),
    "BeatLazyFunc": Form({"schedule": 60, "kwargs": {"at": BeatLazyFunc(dict)}}, refused="kwargs"),
    "options queue, exchange, routing_key": Form(
        {"schedule": 60, "options": {"queue": "q", "exchange": "e", "routing_key": "r"}},
        every(60) | {"queue": "q", "exchange": "e", "routing_key": "r"},
    ),
    "options queue, a Queue": with_option(Queue("q"), "queue", refused="options['queue']"),
    "options priority": with_option(5, "priority", row={"priority": 5}),
    "options headers": with_option({"a": 1}, "headers", row={"headers": '{"a": 1}'}),
    "options expires, whole seconds": with_option(600, "expires", row={"expire_seconds": 600}),
    "options expires, timedelta": with_option(dt.timedelta(hours=1), "expires", row={"expire_seconds": 3600}),
    "options expires, fraction of a second": with_option(1.5, "expires", overlay=("expires",)),
    "options expires, datetime": with_option(NOON, "expires", overlay=("expires",)),
    "options expires, date": with_option(NOON.date(), "expires", refused="options['expires']"),
    "options countdown": with_option(5, "countdown", overlay=("countdown",)),
    "options eta": with_option(NOON, "eta", overlay=("eta",)),
    "options time_limit, soft_time_limit": Form(
        {"schedule": 60, "options": {"time_limit": 9, "soft_time_limit": 8}},
        every(60),
        ("soft_time_limit", "time_limit"),
    ),
    "options serializer": with_option("json", "serializer", overlay=("serializer",)),
    "options compression": with_option("zlib", "compression", overlay=("compression",)),
    "options ignore_result": with_option(True, "ignore_result", overlay=("ignore_result",)),
    "options link": with_option(APP.signature("other.task"), "link", overlay=("link",)),
    "options link_error": with_option([APP.signature("other.task")], "link_error", overlay=("link_error",)),
    "options retry, retry_policy": Form(
        {"schedule": 60, "options": {"retry": True, "retry_policy": {"max_retries": 3}}},
        every(60),
        ("retry", "retry_policy"),
    ),
    "options shadow": with_option("shown.name", "shadow", overlay=("shadow",)),
    "options delivery_mode": with_option(1, "delivery_mode", overlay=("delivery_mode",)),
    "options of the project's own": with_option("x", "any_other", overlay=("any_other",)),
    "options producer, connection": with_option(object(), "producer", refused="options['producer']"),
}
