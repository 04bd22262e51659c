"""What the Procfiles start, and the tasks that the schedules name."""

import shlex
from pathlib import Path

import pytest
from django.conf import settings
from django.utils.module_loading import import_string

from prayer_room_api.celery import app
from prayer_room_api.schedule import beat_schedule

ROOT = Path(__file__).resolve().parents[2]


def procfile(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines)


def test_each_process_of_the_procfile_is_configured():
    commands = procfile("Procfile")

    assert commands.pop("release") == "python manage.py migrate --noinput"
    for name, command in commands.items():
        assert shlex.split(command) == ["python", "manage.py", "prodserver", name]
        assert name in settings.PRODUCTION_PROCESSES


def test_both_procfiles_start_the_same_processes():
    assert procfile("Procfile").keys() == procfile("Procfile.before").keys()


@pytest.mark.parametrize("name", settings.PRODUCTION_PROCESSES)
def test_each_backend_and_app_can_be_imported(name):
    process = settings.PRODUCTION_PROCESSES[name]

    assert hasattr(import_string(process["BACKEND"]), "start_server")
    if "APP" in process:
        assert import_string(process["APP"]) is app


def test_a_worker_does_not_grow_with_the_node():
    assert settings.PRODUCTION_PROCESSES["worker"]["ARGS"]["concurrency"] == 2


def test_a_connection_is_kept_longer_than_a_router_keeps_it():
    assert int(settings.PRODUCTION_PROCESSES["web"]["ARGS"]["keep-alive"]) > 90, "Heroku's router: 90 s"


def test_each_scheduled_task_is_discovered():
    app.loader.import_default_modules()

    assert {entry["task"] for entry in beat_schedule.values()} <= set(app.tasks)


def test_the_celery_app_brings_no_schedule_of_its_own():
    assert not app.conf.beat_schedule
    assert app.conf.result_expires is None
