"""System checks: each mistake of a project has its own id and a hint, and is documented."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from celery import Celery, Task
from celery.signals import import_modules
from django.apps import apps
from django.core.checks import CheckMessage
from django.db import connections
from django.utils.module_loading import import_string
from pytest_django import Settings

from cutover import checks
from cutover.check_ids import CheckId
from cutover.observe.check_ins import sentry
from cutover.schedulers import DatabaseScheduler
from cutover.schedules import project
from demo.processes import ROOT

APP = "prayer_room_api.celery.app"
CELERY_BACKENDS = "django_prodserver.backends" + (
    ".workers.celery" if find_spec("django_prodserver.backends.workers") else ".celery"
)
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
    check = "import django; django.setup(); import cutover.admin; django.core.management.call_command('check')"
    command = [sys.executable, "-c", f"import django.core.management; {check}"]
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert "(cutover.E002) django_celery_beat is not in INSTALLED_APPS." in ended.stderr


def test_a_cache_that_is_no_redis_is_said_to_have_another_backend(settings: Settings) -> None:
    settings.CACHES = {**settings.CACHES, "default": LOCMEM}
    settings.CUTOVER = {"APP": APP}
    [message] = found().values()
    assert "or CUTOVER['REDIS_URL'] be set: it has another one" in str(message)


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


def test_a_misspelt_entry_is_named_with_the_one_that_it_looks_like(settings: Settings) -> None:
    schedule = "prayer_room_api.schedule.beat_schedule"
    name = next(iter(import_string(schedule)))
    settings.CUTOVER = {"APP": APP, "CODE_SCHEDULE": schedule, "ENTRIES": {f"{name}s": {"CHECK_INS": None}}}
    assert f"{name + 's'!r}; did you mean {name!r}?" in found()["W003"].msg


def test_entries_that_are_added_once_the_app_is_finalized_are_entries_of_the_code(
    guarded: Celery, settings: Settings
) -> None:
    guarded.conf.beat_schedule = {"there": {"task": "t", "schedule": 60.0}}

    @guarded.on_after_finalize.connect(weak=False)
    def late(sender: Celery, **_: Any) -> None:
        sender.add_periodic_task(60.0, sender.signature("t"), name="late")

    settings.CUTOVER = {"ENTRIES": {"late": {"CATCH_UP": "none"}}, "RENAMED": {"early": "late"}}
    assert not {"W003", "W013"} & found().keys()


def test_entries_that_would_be_told_as_one_are_named(guarded: Celery, settings: Settings) -> None:
    every = {"task": "t", "schedule": 60.0}
    guarded.conf.beat_schedule = dict.fromkeys(["daily digest", "daily-digest", "other"], every)
    settings.CUTOVER = {"CHECK_INS": {"PING_URL": "https://hc.example/{slug}", "SENTRY": True}}
    assert found()["W011"].msg == (
        "Entries share one ping URL, or one monitor of Sentry: 'daily digest', 'daily-digest'."
    )
    settings.CUTOVER["ENTRIES"] = {"daily digest": {"CHECK_INS": None}}
    assert "W011" not in found()


def test_what_was_renamed_to_what_there_is_not_and_what_has_its_old_name_still_is_named(
    guarded: Celery, settings: Settings
) -> None:
    guarded.conf.beat_schedule = {name: {"task": "t", "schedule": 60.0} for name in ("there", "new")}
    settings.CUTOVER = {"RENAMED": {"old": "new"}}
    assert "W013" not in found()
    settings.CUTOVER = {"RENAMED": {"old": "nowhere"}}
    assert "'nowhere', which no entry of the code has" in found()["W013"].msg
    settings.CUTOVER = {"RENAMED": {"there": "new"}}
    assert "'there', and the code has them still" in found()["W013"].msg


def test_what_sentrys_own_integration_tells_is_named(
    guarded: Celery, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded.conf.beat_schedule = {name: {"task": "t", "schedule": 60.0} for name in ("hourly", "often")}
    settings.CUTOVER = {"CHECK_INS": {"SENTRY": True}}
    assert "W012" not in found()
    monkeypatch.setattr(sentry, "is_monitored", lambda entry, given: (entry, given) == ("hourly", 60.0))
    assert "'hourly', and so ours does not" in found()["W012"].msg


@pytest.mark.parametrize("routing", [ElsewhereRouter, ShutRouter])
def test_ledger_and_rows_have_to_be_in_one_database(settings: Settings, routing: type) -> None:
    settings.DATABASE_ROUTERS = [routing()]
    assert list(found()) == ["E005"]


def test_an_app_without_guard_and_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "celery_app", lambda config: Celery("bare", set_as_current=False))
    assert list(found()) == ["W001", "W002"]


def test_a_task_that_has_lost_the_guard_is_named_with_what_keeps_it_off(guarded: Celery) -> None:
    guarded.task(name="pay", shared=False, run_guard=None)(nothing)
    guarded.task(name="wait", shared=False, before_start=print)(nothing)
    guarded.task(name="ship", shared=False, base=Task)(nothing)
    message = found()["W004"].msg
    assert "pay: the task's option run_guard may keep the guard off" in message
    assert "wait" not in message
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


def test_processes_are_not_looked_at_for_celery_which_shows_nobody_what_is_found(
    guarded: Celery, settings: Settings
) -> None:
    settings.PRODUCTION_PROCESSES, seen = {"web": {}}, list[dict[str, CheckMessage]]()

    def look(**_: Any) -> None:
        seen.append(found())

    import_modules.connect(look, sender=guarded)
    project.load_tasks(guarded)
    assert seen == [{}]
    assert list(found()) == ["E009"]


class OwnScheduler(DatabaseScheduler):
    """A project's own scheduler, made of one of ours."""


OWN = f"{__name__}:OwnScheduler"


@pytest.mark.parametrize("scheduler", [*checks.SCHEDULERS, checks.SCHEDULERS[1].replace(":", "."), OWN, OwnScheduler])
def test_schedulers_of_ours_and_what_is_made_of_them_are_under_the_lease(guarded: Celery, scheduler: Any) -> None:
    sys.modules[__name__] = sys.modules.get(__name__) or ModuleType(__name__)
    guarded.conf.beat_scheduler = scheduler
    assert found() == {}


@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        ("celery.beat:PersistentScheduler", "a beat started by it sends without the lease"),
        ("django", "a beat started by it sends without the lease"),
        ("django_celery_beat.schedulers:DatabaseScheduler", "a beat started by it sends without the lease"),
        ("cutover.schedulers:CodeSheduler", "which cannot be imported: "),
        ("no.such.module:Scheduler", "which cannot be imported: No module named 'no'"),
    ],
)
def test_a_scheduler_without_the_lease_is_named(guarded: Celery, scheduler: str, said: str) -> None:
    guarded.conf.beat_scheduler = scheduler
    assert list(found()) == ["W002"]
    assert said in found()["W002"].msg


BEAT = {"BACKEND": "cutover.backends.DatabaseBeat", "APP": APP}
WORKER = {"BACKEND": "cutover.backends.CeleryWorker", "APP": APP}


@pytest.mark.parametrize(
    ("processes", "number", "said"),
    [
        (["beat"], "E009", "PRODUCTION_PROCESSES must be a dictionary of processes, not list."),
        ({"beat": "cutover.backends.CodeBeat"}, "E009", "PRODUCTION_PROCESSES['beat'] has no 'BACKEND'."),
        ({"beat": {"APP": APP}}, "E009", "PRODUCTION_PROCESSES['beat'] has no 'BACKEND'."),
        ({"beat": {"BACKEND": "cutover.backends.DatabaseBaet"}}, "E009", "'cutover.backends.DatabaseBaet' cannot"),
        ({"beat": {"BACKEND": "cutover.backend.DatabaseBeat"}}, "E009", "No module named 'cutover.backend'"),
        ({"web": {"BACKEND": "GunicornServer"}}, "E009", "PRODUCTION_PROCESSES['web']['BACKEND'] = 'GunicornServer'"),
        ({"beat": {**BEAT, "APP": "prayer_room_api"}}, "E010", "PRODUCTION_PROCESSES['beat']['APP'] must be"),
        ({"beat": {**BEAT, "ARGS": {"logevel": 1}}}, "E010", "PRODUCTION_PROCESSES['beat']['ARGS'] has 'logevel'"),
        ({"worker": WORKER}, "W005", "nothing sends the periodic tasks"),
        ({"worker": {**WORKER, "ARGS": {"beat": False}}}, "W005", "nothing sends the periodic tasks"),
    ],
    ids=str,
)
def test_a_process_that_prodserver_could_not_start(settings: Settings, processes: Any, number: str, said: str) -> None:
    settings.PRODUCTION_PROCESSES = processes
    assert list(found()) == [number]
    assert said in found()[number].msg


def test_a_misspelt_backend_is_answered_with_the_nearest(settings: Settings) -> None:
    settings.PRODUCTION_PROCESSES = {"beat": {**BEAT, "BACKEND": "cutover.backends.DatabaseBaet"}}
    assert "did you mean 'cutover.backends.DatabaseBeat'?" in (found()["E009"].hint or "")


@pytest.mark.parametrize(
    "processes",
    [
        {"worker": WORKER, "beat": BEAT},
        {"worker": {**WORKER, "ARGS": {"beat": True}}},
        {"worker": WORKER, "beat": {"BACKEND": f"{CELERY_BACKENDS}.CeleryBeat", "APP": APP}},
        {"web": {"BACKEND": "tests.support.uninstalled.Server"}},
    ],
    ids=["beat", "embedded beat", "stock beat", "a server that is not installed where the checks run"],
)
def test_processes_with_nothing_to_fix(settings: Settings, processes: Any) -> None:
    settings.PRODUCTION_PROCESSES = processes
    assert found() == {}


@pytest.mark.parametrize(("vendor", "numbers"), [("oracle", ["E011"]), ("mysql", []), ("postgresql", [])])
def test_a_database_that_the_fence_does_not_know(
    monkeypatch: pytest.MonkeyPatch, vendor: str, numbers: list[str]
) -> None:
    monkeypatch.setattr(connections["default"], "vendor", vendor)
    assert list(found()) == numbers


def test_a_database_engine_that_does_not_exist(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.databases, "typo", {"ENGINE": "django.db.backends.postgres"})
    settings.CUTOVER = {"APP": APP, "DATABASE": "typo"}
    assert list(found()) == ["E004"]


def test_a_database_that_commits_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections["default"].settings_dict, "AUTOCOMMIT", False)
    settings.CUTOVER = {"APP": APP}
    assert list(found()) == ["E004"]


def test_with_nothing_but_the_app_itself_installed_every_message_is_ours(tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text('SECRET_KEY = "x"\nINSTALLED_APPS = ["cutover"]\n')
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "bare", "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}

    def typed(*line: str) -> tuple[int, list[str]]:
        command = [sys.executable, "-m", "django", *line]
        ended = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        return ended.returncode, ended.stderr.splitlines()

    code, lines = typed("check")
    assert code == 1
    ids = re.findall(r"^\?: \(cutover\.(\w+)\)", "\n".join(lines), re.MULTILINE)
    assert ids == ["E002", "E006", "E007", "E011"]
    said = "cutover: django_celery_beat is not in INSTALLED_APPS: add it, for its rows are the database side."
    for phase in ("plan", "phase1", "status"):
        assert typed("cutover", phase) == (2, [said])


def test_each_id_is_given_by_a_check() -> None:
    """That each is documented is held by ``tests/unit/docs/test_reference.py``."""
    source = (ROOT / "cutover" / "checks.py").read_text()
    assert set(re.findall(r"CheckId\.(\w+)", source)) == {each.name for each in CheckId}
    assert all(each == f"cutover.{each.name}" for each in CheckId)
