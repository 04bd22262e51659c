"""What celery itself says and does, with nothing of ours in it: when a schedule is due, and what the broker gets."""

import base64
import datetime as dt
import json
import random
import zoneinfo
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from celery import Celery
from celery.beat import ScheduleEntry, Scheduler, SchedulingError
from celery.schedules import BaseSchedule
from kombu import serialization
from kombu.compression import decompress
from kombu.transport import memory

Fires = tuple[dt.datetime, dt.datetime]

DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)
SECOND = dt.timedelta(seconds=1)
_FOLLOWED = 5
"""How many fires in a row are compared from now and then an instant on."""
_JUDGED = 30
"""One instant in so many has both schedules judged just before, at and after its next fire."""
NOT_COMPARED = {
    *("id", "root_id", "correlation_id", "delivery_tag", "argsrepr", "kwargsrepr"),
    *("periodic_task_name", "celery_beat_task"),
}
"""What is another one at each send, is there to be read by people, or is the beat's own."""


def next_fire(schedule: BaseSchedule, last: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    """When celery fires next what it fired at ``last``."""
    return last + remaining(schedule, last, last, zone)


def remaining(schedule: BaseSchedule, last: dt.datetime, now: dt.datetime, zone: dt.tzinfo) -> dt.timedelta:
    """How long it is at ``now`` until celery fires what it fired at ``last``; ``zone`` is the app's."""
    with _standing_at(schedule, now):
        found: dt.timedelta = schedule.remaining_estimate(last.astimezone(zone))
    return found


def is_due(schedule: BaseSchedule, last: dt.datetime, now: dt.datetime, zone: dt.tzinfo) -> bool:
    """Whether celery's beat sends at ``now`` what it sent at ``last``."""
    with _standing_at(schedule, now):
        due, _ = schedule.is_due(last.astimezone(zone))
    return bool(due)


@contextmanager
def _standing_at(schedule: BaseSchedule, now: dt.datetime) -> Iterator[None]:
    """A schedule at another time than the present."""
    local = now.astimezone(schedule.tz)
    schedule.now = lambda: local
    try:
        yield
    finally:
        del schedule.now


@cache
def changes(zone: str, year: int) -> tuple[dt.datetime, ...]:
    """Every hour of a year at which the zone's offset differs from that of the hour before; no day has two of them."""
    tz = zoneinfo.ZoneInfo(zone)
    days = (dt.datetime(year, 1, 1, tzinfo=dt.UTC) + n * DAY for n in range(366))
    return tuple(hour for day in days if _differs(tz, day, DAY) for hour in _hours(day) if _differs(tz, hour, -HOUR))


def _differs(tz: dt.tzinfo, moment: dt.datetime, by: dt.timedelta) -> bool:
    return moment.astimezone(tz).utcoffset() != (moment + by).astimezone(tz).utcoffset()


def _hours(day: dt.datetime) -> Iterator[dt.datetime]:
    """Those after its first instant, to the first one of the next."""
    return (day + n * HOUR for n in range(1, 25))


def instants(
    chance: random.Random, zones: set[str], since: dt.datetime, days: int, leap_day: dt.datetime
) -> list[dt.datetime]:
    """At least one instant of every day, and several before and after every change of clock and on leap day."""
    end = since + days * DAY
    found = [since, *(since + (n + chance.random()) * DAY for n in range(days))]
    moments = {c for zone in zones for year in range(since.year, end.year + 1) for c in changes(zone, year)}
    for moment in moments:
        for hours in (-25, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 2, 24):
            instant = moment + hours * HOUR + chance.choice((0, 0, 1, -1)) * chance.random() * HOUR / 2
            if since <= instant < end:
                found.append(instant)
    found += [leap_day + hours * HOUR for hours in (-14, -1, 0, 7.3, 12, 23.98, 24, 30)]
    return sorted(found)


def divergence(
    one: BaseSchedule, other: BaseSchedule, sampled: list[dt.datetime], spans: list[Fires], zone: dt.tzinfo
) -> Fires | None:
    """The first two fire times within one of ``spans`` that are counted from one instant and differ.

    ``sampled`` are the instants, in order.
    """
    reached = sampled[0]
    for number, instant in enumerate(sampled):
        if instant < reached:
            continue  # neither fires before `reached`: that is what was compared
        reached = instant
        for _ in range(_FOLLOWED if number % 5 == 0 else 1):
            found = next_fire(one, reached, zone), next_fire(other, reached, zone)
            if found[0] != found[1] and any(start <= min(found) <= end for start, end in spans):
                return found
            if number % _JUDGED == 0 and found[0] == found[1] and found[0] - reached > 2 * SECOND:
                for now in (found[0] - SECOND, found[0], found[0] + 3 * SECOND):
                    assert is_due(one, reached, now, zone) == is_due(other, reached, now, zone) == (now >= found[0])
            reached = max(reached, min(found))
    return None


class _Channel(memory.Channel):
    """Keeps what is published, and delivers it to nobody."""

    published: list[tuple[dict[str, Any], str, str]] = []

    def basic_publish(self, message: dict[str, Any], exchange: str, routing_key: str, **_: Any) -> None:
        self.published.append((message, exchange, routing_key))


class Transport(memory.Transport):
    """Kombu's own transport in memory, watched."""

    Channel = _Channel


class Wire:
    """An app that publishes in earnest, at a moment that stands still."""

    def __init__(self, app: Celery, now: dt.datetime) -> None:
        self._beat = Scheduler(app, lazy=True)
        app.conf.broker_url = "memory://"
        app.conf.broker_transport = Transport
        app.now = lambda: now.astimezone(app.timezone)

    def send(self, entry: ScheduleEntry) -> dict[str, Any] | str:
        """What the broker gets of the entry when celery's beat sends it; or why it gets nothing."""
        _Channel.published.clear()
        try:
            self._beat.apply_async(entry, advance=False)
        except SchedulingError as exc:
            return f"{exc}"
        [(message, exchange, routing_key)] = _Channel.published
        return {"exchange": exchange, "routing_key": routing_key, **_read(message)}


def _read(message: dict[str, Any]) -> dict[str, Any]:
    headers, properties = message["headers"], message["properties"]
    body = message["body"]
    if properties.pop("body_encoding", None) == "base64":
        body = base64.b64decode(body)
    if "compression" in headers:
        body = decompress(body, headers["compression"])
    kind = message["content-type"]
    told = serialization.loads(body, kind, message["content-encoding"], accept={kind})
    plain = {f"header {key}": value for key, value in headers.items() if key not in NOT_COMPARED}
    plain |= {f"property {key}": value for key, value in properties.items() if key not in NOT_COMPARED}
    args, kwargs, callbacks = told
    # As text, so that 1, 1.0 and True are three things; a signature is to the worker what its plain dict is.
    return {"body": repr((args, kwargs)), "callbacks": json.dumps(callbacks), "content-type": kind} | {
        key: repr(value) for key, value in plain.items()
    }
