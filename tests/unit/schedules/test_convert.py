"""What a code entry needs of a row: every form that a row can hold, and a reason for every one that it cannot."""

import datetime as dt
import enum
import json
import zoneinfo
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from celery import Celery
from celery.beat import BeatLazyFunc, ScheduleEntry
from celery.schedules import crontab, schedule, solar
from django.utils.translation import gettext_lazy
from django_celery_beat.clockedschedule import clocked
from django_celery_beat.tzcrontab import TzAwareCrontab
from hypothesis import given
from hypothesis import strategies as st
from kombu import Queue
from kombu.utils.json import loads

from cutover.schedules.columns import CRONTAB_FIELDS, ClockedValues, CrontabValues, IntervalValues, SolarValues, row_of
from cutover.schedules.convert import RowDraft, RowValues, convert
from cutover.schedules.fingerprint import fingerprint
from cutover.schedules.refusals import Refusal
from cutover.schedules.rows import record, recorded
from cutover.schedules.timetable import timetable
from cutover.schedules.values import restored
from tests.schedules.own import Daily

LONDON = zoneinfo.ZoneInfo("Europe/London")
ZONES = ["UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
RANGES = {"minute": (0, 59), "hour": (0, 23), "day_of_month": (1, 28), "month_of_year": (1, 12), "day_of_week": (0, 6)}


def entry(when: Any = 30, zone: str = "UTC", name: str = "an-entry", **fields: Any) -> ScheduleEntry:
    app = Celery("unit", set_as_current=False)
    app.conf.timezone = zone
    return ScheduleEntry(**{"name": name, "task": "a.task", "schedule": when, "app": app, **fields})


def whole(found: RowDraft | list[Refusal]) -> RowDraft:
    assert isinstance(found, RowDraft), found
    return found


def refusals_of(
    entry: ScheduleEntry, serializer: str = "json", converters: Mapping[str, str] | None = None
) -> list[Refusal]:
    found = convert(entry, serializer, converters or {})
    assert isinstance(found, list), found
    return found


def imported(entry: ScheduleEntry, serializer: str = "json") -> RowValues:
    return whole(convert(entry, serializer, {})).row


def field_forms(low: int, high: int) -> st.SearchStrategy[Any]:
    number = st.integers(low, high)
    spans = st.tuples(number, number).map(lambda ends: f"{ends[0]}-{ends[1]}")  # backwards too: celery wraps around
    steps = st.tuples(spans, st.integers(1, 10)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    stars = st.integers(1, high).map(lambda step: f"*/{step}")
    parts = st.one_of(number.map(str), spans, steps, stars)
    lists = st.lists(parts, min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), number, lists, st.sets(number, min_size=1), st.lists(number, min_size=1))


@given(
    fields=st.fixed_dictionaries({name: field_forms(*RANGES[name]) for name in CRONTAB_FIELDS}),
    zone=st.sampled_from(ZONES),
    start=st.integers(0, 3_000_000).map(
        lambda minutes: dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=minutes)
    ),
)
def test_a_crontab_in_any_form_fires_from_its_row_when_it_fires_from_code(
    fields: dict[str, Any], zone: str, start: dt.datetime
) -> None:
    code = entry(crontab(**fields), zone)
    values = imported(code)
    assert isinstance(values.schedule, CrontabValues)
    row = row_of(values.schedule).schedule
    assert values.schedule.timezone == zone
    assert fingerprint(row) == fingerprint(code.schedule)
    assert timetable(row).next_after(start) == timetable(code.schedule).next_after(start)


@given(st.fixed_dictionaries({name: field_forms(*RANGES[name]) for name in CRONTAB_FIELDS}))
def test_a_crontab_row_passes_the_checks_of_its_form_in_the_admin(fields: dict[str, Any]) -> None:
    row_of(imported(entry(crontab(**fields))).schedule).full_clean()


@given(st.one_of(st.integers(1, 2**31 - 1), st.timedeltas(dt.timedelta(microseconds=1), dt.timedelta(seconds=2147))))
def test_an_interval_is_carried_over_to_the_microsecond(every: int | dt.timedelta) -> None:
    values = imported(entry(every))
    assert isinstance(values.schedule, IntervalValues)
    exact = every if isinstance(every, dt.timedelta) else dt.timedelta(seconds=every)
    assert row_of(values.schedule).schedule.run_every == exact


@pytest.mark.parametrize(
    ("written", "row"),
    [
        (30, IntervalValues(30, "seconds")),
        (2.5, IntervalValues(2_500_000, "microseconds")),
        (dt.timedelta(hours=1), IntervalValues(3600, "seconds")),
        (schedule(dt.timedelta(minutes=5)), IntervalValues(300, "seconds")),
        (crontab(minute=0), CrontabValues("0", "*", "*", "*", "*", "UTC")),
        (crontab(hour="22-2", minute={30, 0}), CrontabValues("0,30", "0,1,2,22,23", "*", "*", "*", "UTC")),
        (crontab(0, 8, day_of_week="monday"), CrontabValues("0", "8", "*", "*", "1", "UTC")),
        (crontab(0, 8, day_of_week="mon-fri"), CrontabValues("0", "8", "*", "*", "mon-fri", "UTC")),
    ],
)
def test_a_schedule_is_spelt_as_it_was_written_where_a_row_admits_that(written: Any, row: object) -> None:
    assert imported(entry(written)).schedule == row


@given(st.decimals(-90, 90, places=6), st.decimals(-180, 180, places=6))
def test_a_solar_event_is_carried_over_to_six_places(latitude: Decimal, longitude: Decimal) -> None:
    code = entry(solar("sunset", float(latitude), float(longitude)))
    values = imported(code)
    assert isinstance(values.schedule, SolarValues)
    assert fingerprint(row_of(values.schedule).schedule) == fingerprint(code.schedule)


NAIVE = dt.datetime(2030, 1, 2, 3)  # noqa: DTZ001 - celery takes it for UTC


@pytest.mark.parametrize("at", [dt.datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=LONDON), NAIVE])
def test_a_clocked_entry_becomes_a_row_that_is_sent_once(at: dt.datetime) -> None:
    values = imported(entry(clocked(at)))
    exact = at.astimezone(dt.UTC) if at.tzinfo else at.replace(tzinfo=dt.UTC)
    assert (values.schedule, values.one_off) == (ClockedValues(exact.isoformat()), True)
    assert row_of(values.schedule).schedule.clocked_time == exact


def test_the_length_of_a_relative_interval_goes_into_the_row_and_that_it_is_relative_into_the_overlay() -> None:
    found = whole(convert(entry(schedule(dt.timedelta(hours=1), relative=True)), "json", {}))
    assert (found.row.schedule, found.relative) == (IntervalValues(3600, "seconds"), True)
    other = entry(3600, relative=True)
    assert whole(convert(other, "json", {})).relative


def once(answer: dt.datetime) -> Any:
    """A clock that breaks."""
    return iter([answer]).__next__


def clock_of(zone: str) -> Any:
    return lambda: dt.datetime.now(zoneinfo.ZoneInfo(zone))


@pytest.mark.parametrize("zone", ZONES)
def test_a_crontab_with_a_clock_of_its_own_fires_from_its_row_when_celery_fires_it(zone: str) -> None:
    code = entry(crontab(hour=8, minute=0, nowfun=clock_of(zone)), "Asia/Kathmandu")
    start = dt.datetime(2026, 3, 20, tzinfo=dt.UTC)
    celerys, delta, _ = code.schedule.remaining_delta(start.astimezone(zoneinfo.ZoneInfo(zone)))
    row = row_of(imported(code).schedule).schedule
    assert timetable(row).next_after(start) == timetable(code.schedule).next_after(start)
    assert timetable(row).next_after(start) == (celerys + delta).astimezone(dt.UTC)


def test_a_crontab_with_a_time_zone_of_its_own_keeps_it() -> None:
    code = entry(TzAwareCrontab(minute="0", hour="8", tz=zoneinfo.ZoneInfo("America/New_York")))
    assert imported(code).schedule == CrontabValues("0", "8", "*", "*", "*", "America/New_York")


@pytest.mark.parametrize(
    ("when", "said"),
    [
        (0, "no positive interval"),
        (-5, "no positive interval"),
        (dt.timedelta(hours=1, microseconds=1), "too long"),
        (solar("sunset", 51.12345678, -0.1), "six decimal places"),
        (crontab(nowfun=lambda: dt.datetime(2020, 1, 1, tzinfo=dt.UTC)), "from the time"),
        (crontab(nowfun=once(dt.datetime.now(dt.UTC))), "fails"),
        (schedule(3600, relative=True, nowfun=clock_of("Asia/Kathmandu")), "relative in another time zone"),
        (type("Odd", (crontab,), {})(), "Odd"),
        (type("Odd", (Daily,), {})(), "CONVERTERS"),
    ],
)
def test_a_schedule_that_no_row_holds_is_refused(when: Any, said: str) -> None:
    [refusal] = refusals_of(entry(when))
    assert (refusal.entry, refusal.field) == ("an-entry", "schedule")
    assert said in f"{refusal.reason}; {refusal.remedy}"
    assert refusal.remedy


class EveryDay(Daily):
    """A project's own schedule."""


def as_crontab(found: EveryDay) -> crontab:
    """The converter that the project registers for it."""
    return crontab(hour=0, minute=0)


def as_nothing(found: EveryDay) -> object:
    """A converter that is wrong."""
    return object()


def test_a_class_of_the_projects_own_is_carried_over_by_its_converter() -> None:
    mine = f"{__name__}.EveryDay"
    found = whole(convert(entry(EveryDay()), "json", {mine: f"{__name__}.as_crontab"}))
    assert found.row.schedule == CrontabValues("0", "0", "*", "*", "*", "UTC")
    for wrong, said in (("as_nothing", "which is no schedule"), ("missing", "is not converted")):
        [refusal] = refusals_of(entry(EveryDay()), converters={mine: f"{__name__}.{wrong}"})
        assert said in refusal.reason


def test_a_time_zone_without_a_name_is_refused() -> None:
    odd = entry(crontab(hour=8))
    odd.schedule.tz = dt.timezone(dt.timedelta(hours=2), "local")
    [refusal] = refusals_of(odd)
    assert "no named time zone" in refusal.reason


@pytest.mark.parametrize(
    ("options", "column", "value"),
    [
        ({"queue": "slow"}, "queue", "slow"),
        ({"queue": ""}, "queue", None),
        ({"exchange": "e"}, "exchange", "e"),
        ({"routing_key": "r"}, "routing_key", "r"),
        ({"priority": 0}, "priority", 0),
        ({"expires": 60}, "expire_seconds", 60),
        ({"expires": 60.0}, "expire_seconds", 60),
        ({"expires": dt.timedelta(hours=1)}, "expire_seconds", 3600),
        ({"headers": {"tenant": "a", "celery_beat_task": True}}, "headers", '{"tenant": "a"}'),
    ],
)
def test_an_option_that_a_row_has_a_column_for_is_carried_over(
    options: dict[str, Any], column: str, value: object
) -> None:
    found = whole(convert(entry(options=options), "json", {}))
    assert getattr(found.row, column) == value
    assert found.options == {}


NOON = dt.datetime(2030, 1, 1, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({"countdown": 5}, {}),
        ({"queue": None, "time_limit": None}, {}),
        ({"eta": NOON}, {}),
        ({"time_limit": 5, "soft_time_limit": 4.5}, {}),
        ({"serializer": "pickle", "compression": "zlib"}, {}),
        ({"ignore_result": False, "retry": True, "retry_policy": {"max_retries": 3}}, {}),
        ({"expires": NOON}, {}),
        ({"expires": NOON.isoformat()}, {}),
        ({"expires": 0}, {}),
        ({"expires": 1.5}, {}),
        ({"expires": dt.timedelta(milliseconds=1500)}, {"expires": 1.5}),
        ({"priority": 256}, {}),
        ({"priority": -1}, {}),
        ({"expire_seconds": 5}, {}),
        ({"queue": "x" * 201}, {}),
        ({"link": Celery("unit", set_as_current=False).signature("other.task", args=(1,))}, None),
        ({"link_error": [{"task": "other.task"}]}, {}),
    ],
)
def test_an_option_that_no_column_holds_goes_into_the_overlay(
    options: dict[str, Any], given: dict[str, Any] | None
) -> None:
    found = whole(convert(entry(options=options), "json", {}))
    kept = restored(json.loads(json.dumps(found.options, allow_nan=False)))
    assert found.row == replace(imported(entry()), headers="{}")
    if given is None:
        assert kept["link"] == json.loads(json.dumps(options["link"]))
    else:
        assert kept == (given or options)


@pytest.mark.parametrize(
    "options",
    [
        {"queue": Queue("slow")},
        {"expires": float("nan")},
        {"expires": float("inf")},
        {"expires": dt.date(2030, 1, 1)},
        {"headers": ["a"]},
        {"headers": {1: "a"}},
        {"headers": {"a": ("b",)}},
        {"countdown": BeatLazyFunc(dict)},
        {"producer": object()},
        {"shadow": "a\0b"},
        {"shadow": "\ud800"},
    ],
)
def test_an_option_that_can_not_even_be_kept_is_refused_by_name(options: dict[str, Any]) -> None:
    [refusal] = refusals_of(entry(options=options))
    assert refusal.field == f"options[{next(iter(options))!r}]"
    assert refusal.reason
    assert refusal.remedy


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("serializer", ["json", "pickle"])
@given(args=st.lists(JSON, max_size=3), kwargs=st.dictionaries(st.text(), JSON, max_size=3))
def test_arguments_that_json_gives_back_are_carried_over(
    serializer: str, args: list[Any], kwargs: dict[str, Any]
) -> None:
    found = convert(entry(args=tuple(args), kwargs=kwargs), serializer, {})
    if isinstance(found, list):  # kombu reads a text or mapping of its own notation as something else
        assert all("comes back" in refusal.reason or "no JSON" in refusal.reason for refusal in found)
    else:
        assert loads(found.row.args) == args
        assert loads(found.row.kwargs) == kwargs


class Level(enum.IntEnum):
    """A number that JSON makes a plain one."""

    HIGH = 1


AS_THE_WORKER_RECEIVES_IT = [
    ({"args": (("a", "b"),)}, '[["a", "b"]]'),
    ({"args": (Level.HIGH,)}, "[1]"),
    ({"args": ({1: "a"},)}, '[{"1": "a"}]'),
]


@pytest.mark.parametrize(("fields", "text"), AS_THE_WORKER_RECEIVES_IT)
def test_what_json_changes_on_the_wire_anyway_may_be_changed_by_the_row(fields: dict[str, Any], text: str) -> None:
    assert imported(entry(**fields)).args == text
    [refusal] = refusals_of(entry(**fields), "pickle")
    assert refusal.field == "args"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"args": "daily"}, "args"),
        ({"args": ({1, 2},)}, "args"),
        ({"args": (object(),)}, "args"),
        ({"args": (BeatLazyFunc(dict),)}, "args"),
        ({"args": (gettext_lazy("Monday"),)}, "args"),
        ({"kwargs": {"at": [BeatLazyFunc(dict)]}}, "kwargs"),
        ({"kwargs": {1: "a"}}, "kwargs"),
        ({"kwargs": ["a"]}, "kwargs"),
    ],
)
def test_arguments_that_json_does_not_give_back_are_refused(fields: dict[str, Any], field: str) -> None:
    [refusal] = refusals_of(entry(**fields))
    assert refusal.field == field


def test_an_instant_in_the_arguments_comes_back_as_an_instant() -> None:
    assert loads(imported(entry(args=(NOON,)), "pickle").args) == [NOON]


def test_every_reason_is_given_at_once() -> None:
    odd = entry(solar("sunset", 1.23456789, 1), args="x", options={"producer": object(), "queue": 5})
    assert _fields(refusals_of(odd)) == {"schedule", "args", "options['producer']", "options['queue']"}


@pytest.mark.parametrize("name", ["", "x" * 201, "nul\0"])
def test_a_name_that_no_row_holds_is_refused(name: str) -> None:
    assert _fields(refusals_of(entry(name=name))) == {"name"}


@pytest.mark.parametrize("when", [30, 0.5, crontab(hour=8), solar("sunset", 51.5, -0.1), clocked(NOON)])
def test_what_was_written_is_remembered_as_plain_data(when: Any) -> None:
    values = replace(imported(entry(when, args=("a",), options={"queue": "q"})), start_time=NOON)
    assert recorded(json.loads(json.dumps(record(values)))) == values


def _fields(refusals: Iterable[Refusal]) -> set[str]:
    return {refusal.field for refusal in refusals}
