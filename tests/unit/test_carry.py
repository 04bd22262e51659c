"""What a code entry needs of a row: every form that a row can hold, and a reason for every one that it can not."""

import datetime as dt
import json
from collections.abc import Iterable
from typing import Any

import pytest
from celery import Celery
from celery.beat import BeatLazyFunc, ScheduleEntry
from celery.schedules import crontab, schedule, solar
from hypothesis import given
from hypothesis import strategies as st
from kombu import Queue
from kombu.utils.json import loads

from cutover.carry import CRONTAB_FIELDS, CrontabValues, IntervalValues, Refusal, RowValues, row_values
from cutover.rows import record, recorded, schedule_model
from cutover.slots import fingerprint, timetable

ZONES = ["UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
RANGES = {"minute": (0, 59), "hour": (0, 23), "day_of_month": (1, 28), "month_of_year": (1, 12), "day_of_week": (0, 6)}


def entry(when: Any = 30, zone: str = "UTC", name: str = "an-entry", **fields: Any) -> ScheduleEntry:
    app = Celery("unit", set_as_current=False)
    app.conf.timezone = zone
    return ScheduleEntry(**{"name": name, "task": "a.task", "schedule": when, "app": app, **fields})


def values_of(found: RowValues | list[Refusal]) -> RowValues:
    assert isinstance(found, RowValues), found
    return found


def refusals_of(found: RowValues | list[Refusal]) -> list[Refusal]:
    assert isinstance(found, list), found
    return found


def carried(entry: ScheduleEntry) -> RowValues:
    return values_of(row_values(entry, tuples_are_lists=True))


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
    values = carried(code)
    assert isinstance(values.schedule, CrontabValues)
    row = schedule_model(values.schedule).schedule
    assert values.schedule.timezone == zone
    assert fingerprint(row) == fingerprint(code.schedule)
    assert timetable(row).next_after(start) == timetable(code.schedule).next_after(start)


@given(st.fixed_dictionaries({name: field_forms(*RANGES[name]) for name in CRONTAB_FIELDS}))
def test_a_crontab_row_passes_the_checks_of_its_form_in_the_admin(fields: dict[str, Any]) -> None:
    schedule_model(carried(entry(crontab(**fields))).schedule).full_clean()


@given(st.one_of(st.integers(1, 2**31 - 1), st.timedeltas(dt.timedelta(microseconds=1), dt.timedelta(seconds=2147))))
def test_an_interval_is_carried_over_to_the_microsecond(every: int | dt.timedelta) -> None:
    values = carried(entry(every))
    assert isinstance(values.schedule, IntervalValues)
    exact = every if isinstance(every, dt.timedelta) else dt.timedelta(seconds=every)
    assert schedule_model(values.schedule).schedule.run_every == exact


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
    assert carried(entry(written)).schedule == row


@pytest.mark.parametrize(
    ("when", "said"),
    [
        (schedule(10, relative=True), "relative"),
        (0, "no positive interval"),
        (-5, "no positive interval"),
        (dt.timedelta(hours=1, microseconds=1), "too long"),
        (solar("sunset", 51.5, -0.1), "celery.schedules.solar"),
        (crontab(nowfun=lambda: dt.datetime.now(dt.UTC)), "nowfun"),
        (type("Odd", (crontab,), {})(), "Odd"),
    ],
)
def test_a_schedule_that_no_row_holds_is_refused(when: Any, said: str) -> None:
    [refusal] = refusals_of(row_values(entry(when), tuples_are_lists=True))
    assert (refusal.entry, refusal.field) == ("an-entry", "schedule")
    assert said in refusal.reason
    assert refusal.remedy


def test_a_time_zone_without_a_name_is_refused() -> None:
    odd = entry(crontab(hour=8))
    odd.schedule.tz = dt.timezone(dt.timedelta(hours=2), "local")
    [refusal] = refusals_of(row_values(odd, tuples_are_lists=True))
    assert "no named time zone" in refusal.reason


@pytest.mark.parametrize(
    ("options", "column", "value"),
    [
        ({"queue": "slow"}, "queue", "slow"),
        ({"queue": ""}, "queue", None),
        ({"queue": None}, "queue", None),
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
    assert getattr(carried(entry(options=options)), column) == value


@pytest.mark.parametrize(
    "options",
    [
        {"queue": Queue("slow")},
        {"queue": "x" * 201},
        {"priority": 256},
        {"priority": True},
        {"priority": "3"},
        {"expires": 0},
        {"expires": 1.5},
        {"expires": float("nan")},
        {"expires": float("inf")},
        {"expires": dt.datetime(2030, 1, 1, tzinfo=dt.UTC)},
        {"headers": ["a"]},
        {"headers": {1: "a"}},
        {"countdown": 5},
        {"expire_seconds": 5},
        {"time_limit": 5},
        {"link": "signature"},
    ],
)
def test_an_option_that_no_column_holds_is_refused_by_name(options: dict[str, Any]) -> None:
    [refusal] = refusals_of(row_values(entry(options=options), tuples_are_lists=True))
    assert refusal.field == f"options[{next(iter(options))!r}]"
    assert refusal.reason
    assert refusal.remedy


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(args=st.lists(JSON, max_size=3), kwargs=st.dictionaries(st.text(), JSON, max_size=3))
def test_arguments_that_json_gives_back_are_carried_over(args: list[Any], kwargs: dict[str, Any]) -> None:
    found = row_values(entry(args=tuple(args), kwargs=kwargs), tuples_are_lists=False)
    if isinstance(found, list):  # kombu reads a text or mapping of its own notation as something else
        assert all("comes back" in refusal.reason or "no JSON" in refusal.reason for refusal in found)
    else:
        assert loads(found.args) == args
        assert loads(found.kwargs) == kwargs


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"args": "daily"}, "args"),
        ({"args": ({1, 2},)}, "args"),
        ({"args": (object(),)}, "args"),
        ({"args": (float("nan"),)}, "args"),
        ({"args": (BeatLazyFunc(dict),)}, "args"),
        ({"kwargs": {"at": [BeatLazyFunc(dict)]}}, "kwargs"),
        ({"kwargs": {1: "a"}}, "kwargs"),
        ({"kwargs": ["a"]}, "kwargs"),
    ],
)
def test_arguments_that_json_does_not_give_back_are_refused(fields: dict[str, Any], field: str) -> None:
    [refusal] = refusals_of(row_values(entry(**fields), tuples_are_lists=True))
    assert refusal.field == field


def test_a_tuple_within_the_arguments_is_a_list_only_where_the_serializer_makes_it_one() -> None:
    nested = entry(args=(("a", "b"),))
    assert values_of(row_values(nested, tuples_are_lists=True)).args == '[["a", "b"]]'
    [refusal] = refusals_of(row_values(nested, tuples_are_lists=False))
    assert refusal.field == "args"


def test_every_reason_is_told_at_once() -> None:
    found = row_values(entry(solar("sunset", 1, 1), args="x", options={"eta": 1, "queue": 5}), tuples_are_lists=True)
    assert _fields(refusals_of(found)) == {"schedule", "args", "options['eta']", "options['queue']"}


@pytest.mark.parametrize("name", ["", "x" * 201, "nul\0"])
def test_a_name_that_no_row_holds_is_refused(name: str) -> None:
    assert _fields(refusals_of(row_values(entry(name=name), tuples_are_lists=True))) == {"name"}


@pytest.mark.parametrize("when", [30, 0.5, crontab(hour=8)])
def test_what_was_written_is_remembered_as_plain_data(when: Any) -> None:
    values = carried(entry(when, args=("a",), options={"queue": "q"}))
    assert recorded(json.loads(json.dumps(record(values)))) == values


def _fields(refusals: Iterable[Refusal]) -> set[str]:
    return {refusal.field for refusal in refusals}
