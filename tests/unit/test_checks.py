"""System checks: each mistake of a project has its own id and a hint, and is documented."""

import os
import re
import subprocess
import sys
from typing import Any

import pytest
from celery import Celery, Task
from celery.signals import import_modules
from django.apps import apps
from django.core.checks import CheckMessage
from pytest_django import Settings

from cutover import checks
from cutover.schedules import project
from demo.processes import ROOT

APP = "prayer_room_api.celery.app"
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}


class ElsewhereRouter:
    """Sends django-celery-beat's rows to another database than the ledger's."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "postgres" if model._meta.app_label == "django_celery_beat" else None


class ShutRouter:
    """Lets no table of ours in."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "cutover" else None


def nothing() -> None: ...


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Celery:
    app = Celery("guarded", task_cls="cutover.guard.GuardedTask", set_as_current=False)
    app.conf.beat_scheduler = checks.SCHEDULERS[0]
    monkeypatch.setattr(project, "celery_app", lambda config: app)
    return app


def found() -> dict[str, CheckMessage]:
    messages = checks.check_settings()
    assert all(message.hint for message in messages)
    return {message.id.removeprefix("cutover."): message for message in messages}


def test_the_host_itself_has_nothing_to_fix() -> None:
    assert found() == {}


@pytest.mark.parametrize(("app", "number"), [("django_celery_beat", "E002"), ("django_prodserver", "E003")])
def test_an_app_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, app: str, number: str) -> None:
    installed = apps.is_installed
    monkeypatch.setattr(apps, "is_installed", lambda name: name != app and installed(name))
    assert list(found()) == [number]


def test_a_process_without_celerys_rows_says_so_instead_of_failing_to_import_them() -> None:
    env = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.support.without_celery_beat"}
    command = [sys.executable, "manage.py", "check"]
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert "(cutover.E002) django_celery_beat is not in INSTALLED_APPS." in ended.stderr


@pytest.mark.parametrize(
    ("values", "number"),
    [
        ({"LAESE": 1}, "E001"),
        ({"DATABASE": "nowhere"}, "E004"),
        ({"REDIS_ALIAS": "nowhere"}, "E006"),
        ({"REDIS_ALIAS": "memory"}, "E006"),
        ({"REDIS_URL": "http://somewhere"}, "E006"),
        ({"REDIS_URL": "redis://somewhere", "REDIS_ALIAS": "default"}, "E001"),
        ({"APP": "prayer_room_api.celery:app"}, "E007"),
        ({"APP": "prayer_room_api.schedule.beat_schedule"}, "E007"),
        ({"CODE_SCHEDULE": "prayer_room_api.schedule.nothing"}, "E008"),
        ({"CODE_SCHEDULE": "prayer_room_api.celery.app"}, "E008"),
        (
            {"CODE_SCHEDULE": "prayer_room_api.schedule.beat_schedule", "ENTRIES": {"dayly": {"CATCH_UP": "none"}}},
            "W003",
        ),
    ],
    ids=str,
)
def test_a_setting_that_leads_nowhere(settings: Settings, values: dict[str, Any], number: str) -> None:
    settings.CACHES = {**settings.CACHES, "memory": LOCMEM}
    settings.CUTOVER = {"APP": APP, **values}
    assert list(found()) == [number]


@pytest.mark.parametrize("routing", [ElsewhereRouter, ShutRouter])
def test_ledger_and_rows_have_to_be_in_one_database(settings: Settings, routing: type) -> None:
    settings.DATABASE_ROUTERS = [routing()]
    assert list(found()) == ["E005"]


def test_an_app_without_guard_and_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "celery_app", lambda config: Celery("bare", set_as_current=False))
    assert list(found()) == ["W001", "W002"]


def test_a_task_that_has_lost_the_guard_is_named_with_what_keeps_it_off(guarded: Celery) -> None:
    guarded.task(name="pay", shared=False, before_start=print)(nothing)
    guarded.task(name="ship", shared=False, base=Task)(nothing)
    message = found()["W004"].msg
    assert "pay: whether builtins.print, the task's option before_start, calls super().before_start()" in message
    assert "ship: the base celery.app.task.Task is no GuardedTask" in message


def test_tasks_that_cannot_be_imported_are_not_said_to_be_guarded(guarded: Celery) -> None:
    guarded.conf.imports = ["no.such.module"]
    assert "cannot be seen: A module with tasks cannot be imported" in found()["W004"].msg


def test_tasks_are_loaded_once_though_celery_runs_the_checks_as_it_loads_them(guarded: Celery) -> None:
    times = 0

    def check_settings(**_: Any) -> None:
        nonlocal times
        times += 1
        assert checks.check_settings() == []

    import_modules.connect(check_settings, sender=guarded)
    assert found() == {}
    assert times == 1


@pytest.mark.parametrize("scheduler", checks.SCHEDULERS)
def test_both_schedulers_of_ours_are_under_the_lease(guarded: Celery, scheduler: str) -> None:
    guarded.conf.beat_scheduler = scheduler
    assert found() == {}


def test_each_check_is_documented_and_no_other() -> None:
    source = (ROOT / "cutover" / "checks.py").read_text()
    given = set(re.findall(r'"(?:cutover\.)?([EW]\d{3})"', source))
    documented = set(re.findall(r"^\| `cutover\.([EW]\d{3})`", (ROOT / "docs" / "checks.md").read_text(), re.MULTILINE))
    assert given == documented
