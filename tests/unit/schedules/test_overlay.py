"""Row and overlay together: what was imported counts until a person makes it something else."""

from typing import Any

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import crontab, schedule
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask
from pytest_django import Settings

from cutover import conf
from cutover.errors import ConfigurationError
from cutover.schedules.convert import RowDraft, convert
from cutover.schedules.fingerprint import fingerprint
from cutover.schedules.overlay import Overlay, Reader
from cutover.schedules.rows import record
from cutover.schedules.timetable import timetable
from cutover.schedules.values import restored
from cutover.types import EntryName
from tests.schedules.own import Daily
from tests.unit.schedules.test_forms import as_row

NAME = EntryName("form")
APP = Celery("unit", set_as_current=False)


class Nightly(Daily):
    """A project's own."""

    def __repr__(self) -> str:
        return "nightly"


def converted(found: Nightly) -> crontab:
    """Its converter."""
    return crontab(minute=0, hour=0)


CONVERTERS = {f"{__name__}.Nightly": f"{__name__}.converted"}


def imported(when: Any = 60, **fields: Any) -> tuple[ScheduleEntry, PeriodicTask, Reader]:
    entry = ScheduleEntry(name=NAME, task="a.task", schedule=when, app=APP, **fields)
    found = convert(entry, "json", CONVERTERS)
    assert isinstance(found, RowDraft)
    kept = Overlay(record(found.row), restored(found.options), found.relative, fingerprint(entry.schedule))
    return entry, as_row(found), Reader(APP, {NAME: kept})


def test_options_are_sent_as_long_as_the_task_is_the_same_and_the_row_goes_before_them() -> None:
    _, row, reader = imported(options={"time_limit": 5, "priority": 999, "expires": 1.5})
    assert {"time_limit": 5, "priority": 999, "expires": 1.5}.items() <= reader.entry(row).options.items()
    row.priority, row.expire_seconds = 3, 60
    assert {"time_limit": 5, "priority": 3, "expires": 60}.items() <= reader.entry(row).options.items()
    row.task = "b.task"
    assert "time_limit" not in reader.entry(row).options


def test_an_interval_is_relative_as_long_as_it_is_the_same() -> None:
    entry, row, reader = imported(schedule(3600, relative=True))
    assert fingerprint(reader.entry(row).schedule) == fingerprint(entry.schedule)
    row.interval = IntervalSchedule(every=60, period="minutes")
    assert reader.entry(row).schedule.relative
    row.interval = IntervalSchedule(every=61, period="minutes")
    assert not reader.entry(row).schedule.relative


def test_a_converted_schedule_counts_as_the_codes_own_until_it_is_edited_or_to_be_proved() -> None:
    entry, row, reader = imported(Nightly())
    sent = reader.entry(row)
    assert fingerprint(sent.schedule) == fingerprint(entry.schedule)
    assert timetable(sent.schedule).next_after(sent.last_run_at).hour == 0
    assert fingerprint(reader.entry(row, as_proved=False).schedule) == "crontab 0 0 * * * UTC"
    row.crontab = CrontabSchedule(minute="1", hour="0", timezone="UTC")
    assert fingerprint(reader.entry(row).schedule) == "crontab 1 0 * * * UTC"


def test_rows_on_one_schedule_share_it_and_are_not_written() -> None:
    reader = Reader(APP)
    shared = IntervalSchedule(pk=1, every=1, period="hours")
    one, other = (PeriodicTask(name=name, task="a", interval=shared) for name in "ab")
    assert reader.schedule(one) is reader.schedule(other)
    entry = reader.entry(one)
    assert entry.model is one


@pytest.mark.parametrize("wrong", ["a.b", {"a.b": 1}, {1: "a.b"}, [("a", "b")]])
def test_converters_that_are_no_dotted_names_are_an_error_of_the_settings(settings: Settings, wrong: Any) -> None:
    settings.CUTOVER = {"CONVERTERS": wrong}
    with pytest.raises(ConfigurationError, match="CONVERTERS"):
        conf.load()
