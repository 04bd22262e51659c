"""The data migration: three disabled rows that phase 2 finds as it would have made them; and the way back."""

import importlib
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.db import connection
from django_celery_beat.models import CrontabSchedule, PeriodicTask, PeriodicTasks
from pytest_django import Settings

from cutover import conf
from cutover.schedules import rows
from cutover.schedules.importer import draft, objections
from cutover.schedules.project import code_entries
from prayer_room_api.celery import app
from prayer_room_api.schedule import beat_schedule

migration = importlib.import_module("prayer_room_api.migrations.0002_periodic_tasks")
NAMES = sorted(beat_schedule)
EDITOR = SimpleNamespace(connection=connection)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_there(db: None) -> None:
    PeriodicTask.objects.all().delete()
    CrontabSchedule.objects.all().delete()
    PeriodicTasks.objects.all().delete()


def migrate() -> None:
    migration.create(apps, EDITOR)


def back() -> None:
    migration.remove(apps, EDITOR)


@pytest.fixture(params=["UTC", "Europe/London"])
def zone(request: pytest.FixtureRequest, settings: Settings) -> Iterator[str]:
    """The app's time zone."""
    before = app.conf.timezone
    settings.CELERY_TIMEZONE = request.param
    set_zone(request.param)
    yield request.param
    set_zone(before)


def set_zone(name: str) -> None:
    app.conf.timezone = name
    for holder, cached in [(app, "timezone"), *((entry["schedule"], "tz") for entry in beat_schedule.values())]:
        holder.__dict__.pop(cached, None)


def test_phase_2_finds_the_rows_as_it_would_have_made_them(zone: str, settings: Settings) -> None:
    settings.CUTOVER = {**django_settings.CUTOVER, "CODE_SCHEDULE": "prayer_room_api.schedule.beat_schedule"}
    migrate()
    standing = rows.periodic_tasks("default", NAMES)
    entries = code_entries(app, conf.load())
    drafted, refusals = draft(app, conf.load(), entries)
    assert (sorted(entries), refusals) == (NAMES, [])
    for one in drafted:
        assert rows.differing(one.row, standing[one.row.name]) == {}
        assert objections(one.row, standing[one.row.name], None) == []
    assert {row.crontab.timezone.key for row in standing.values()} == {zone}


def test_the_rows_are_disabled_and_beats_are_told() -> None:
    migrate()
    assert sorted(PeriodicTask.objects.values_list("name", "enabled")) == [(name, False) for name in NAMES]
    told = PeriodicTasks.last_change()
    assert told is not None
    back()
    assert PeriodicTasks.last_change() > told
    assert not PeriodicTask.objects.exists()


def test_equal_crontabs_that_stand_twice_are_borne() -> None:
    for _ in range(2):
        CrontabSchedule.objects.create(minute="0", hour="8", timezone="UTC")
    migrate()
    assert CrontabSchedule.objects.count() == 4


def test_a_row_that_was_there_is_not_written_over() -> None:
    own = CrontabSchedule.objects.create(minute="30")
    PeriodicTask.objects.create(name="user-digest-daily", task="own.task", crontab=own)
    migrate()
    assert PeriodicTask.objects.get(name="user-digest-daily").task == "own.task"


@pytest.mark.parametrize(
    "edit", [{"enabled": True}, {"args": '["weekly"]'}, {"queue": "slow"}, {"description": "ours"}, {"one_off": True}]
)
def test_what_an_admin_changed_is_left_alone_on_the_way_back(edit: dict[str, object]) -> None:
    migrate()
    PeriodicTask.objects.filter(name="user-digest-daily").update(**edit)
    back()
    assert list(PeriodicTask.objects.values_list("name", flat=True)) == ["user-digest-daily"]


def test_there_back_and_there_again() -> None:
    migrate()
    back()
    migrate()
    migrate()
    assert PeriodicTask.objects.count() == len(NAMES)
    assert CrontabSchedule.objects.count() == len(NAMES)
