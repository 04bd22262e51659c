"""A thousand generated schedules in forty time zones: what parity does not report is alike, slot by slot."""

import datetime as dt
import random
import zoneinfo
from dataclasses import replace
from typing import Any

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import crontab

from cutover.beside import Beside
from cutover.carry import Carried, carry, restored
from cutover.firetimes import transitions
from cutover.kinds import CrontabValues, row_of
from cutover.parity import differences
from cutover.rows import record
from cutover.slots import fingerprint, timetable
from cutover.types import EntryName
from tests.unit.test_forms import as_row

ZONES = [
    *("UTC", "Etc/UTC", "Europe/London", "Europe/Lisbon", "Europe/Dublin", "Europe/Berlin", "Europe/Paris"),
    *("Europe/Helsinki", "Europe/Moscow", "Europe/Istanbul", "Africa/Cairo", "Africa/Casablanca", "Africa/Lagos"),
    *("Africa/Johannesburg", "Asia/Dubai", "Asia/Tehran", "Asia/Kabul", "Asia/Karachi", "Asia/Kolkata"),
    *("Asia/Kathmandu", "Asia/Dhaka", "Asia/Shanghai", "Asia/Tokyo", "Asia/Jerusalem", "Asia/Beirut"),
    *("Australia/Sydney", "Australia/Lord_Howe", "Australia/Adelaide", "Australia/Perth", "Pacific/Auckland"),
    *("Pacific/Chatham", "Pacific/Apia", "America/New_York", "America/Chicago", "America/Los_Angeles"),
    *("America/St_Johns", "America/Sao_Paulo", "America/Santiago", "America/Havana", "Atlantic/Azores"),
]
NAME = EntryName("generated")
YEAR = dt.datetime(2027, 1, 1, tzinfo=dt.UTC), dt.datetime(2028, 12, 1, tzinfo=dt.UTC)
DAYS = dt.timedelta(days=12)


def some(chance: random.Random, low: int, high: int, most: int) -> str:
    return ",".join(map(str, sorted({chance.randint(low, high) for _ in range(chance.randint(1, most))})))


def generate(chance: random.Random) -> dict[str, Any]:
    """An entry, at most two slots an hour."""
    fields = {
        "minute": some(chance, 0, 59, 2),
        "hour": chance.choice(["*", "*/2", some(chance, 0, 23, 3)]),
        "day_of_week": chance.choice(["*", "*", some(chance, 0, 6, 3), "mon-fri"]),
        "day_of_month": chance.choice(["*", "*", some(chance, 1, 31, 9)]),
        "month_of_year": chance.choice(["*", "*", "*/2", some(chance, 1, 12, 6)]),
    }
    options = {
        "queue": chance.choice([None, "a"]),
        "expires": chance.choice([None, 60, 1.5, dt.timedelta(minutes=1)]),
        "time_limit": chance.choice([None, 5]),
        "priority": chance.choice([None, 3]),
    }
    return {"schedule": crontab(**fields), "args": (chance.random(),), "options": options}


def edited(chance: random.Random, found: Carried) -> Carried:
    """The row after somebody changed something in it, or nothing."""
    schedule = found.row.schedule
    assert isinstance(schedule, CrontabValues)
    what = chance.choice(["nothing", "timezone", "timezone", "hour", "minute", "args", "queue"])
    if what == "timezone":
        return replace(found, row=replace(found.row, schedule=replace(schedule, timezone=chance.choice(ZONES))))
    if what == "hour":
        hours = some(chance, 0, 23, 3)
        return replace(found, row=replace(found.row, schedule=replace(schedule, hour=hours)))
    if what == "minute":
        return replace(found, row=replace(found.row, schedule=replace(schedule, minute=some(chance, 0, 59, 2))))
    if what == "args":
        return replace(found, row=replace(found.row, args="[]"))
    return replace(found, row=replace(found.row, queue="b")) if what == "queue" else found


def part(one: Any, other: Any, since: dt.datetime) -> bool:
    """Whether the two fire differently within some days, one slot after the other."""
    end, left, right = since + DAYS, since, since
    while min(left, right) <= end:
        left, right = timetable(one).next_after(left), timetable(other).next_after(right)
        if left != right:
            return min(left, right) <= end
    return False


@pytest.mark.parametrize("number", range(20))
def test_what_parity_does_not_report_is_alike(number: int) -> None:
    assert len(ZONES) == 40
    chance = random.Random(number)
    for zone in ZONES[number * 2 : number * 2 + 2]:
        app = Celery("generated", set_as_current=False)
        app.conf.timezone = zone
        changes = [at for at, _ in transitions(zoneinfo.ZoneInfo(zone), *YEAR)] or [YEAR[0]]
        for _ in range(25):
            since = chance.choice(changes) - dt.timedelta(days=chance.randint(0, 11))
            entry = ScheduleEntry(name=NAME, task="a.task", app=app, **generate(chance))
            found = carry(entry, "json", {})
            assert isinstance(found, Carried)
            row = edited(chance, found)
            kept = Beside(record(found.row), restored(found.options), found.relative, fingerprint(entry.schedule))
            told = differences(app, {NAME: entry}, {NAME: as_row(row)}, since, {NAME: kept}, horizon=DAYS)
            fields = {difference.field for difference in told}
            apart = part(entry.schedule, row_of(row.row.schedule).schedule, since)
            assert "fire time" in fields or not apart, (entry, row, since)
            assert bool(fields - {"fire time"}) == (
                (row.row.args, row.row.queue) != (found.row.args, found.row.queue)
            ), told
