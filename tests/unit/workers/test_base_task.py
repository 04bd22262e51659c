"""The project's base task can be made when celery's own commands make it: before Django, or its settings, are there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo.processes import ROOT

SETTINGS = """
SECRET_KEY = "of-a-test"
INSTALLED_APPS = ["django.contrib.contenttypes", "django_celery_beat", "cutover", "site_of_ours"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
CELERY_BROKER_URL = "memory://"
CUTOVER = {"APP": "site_of_ours.celery.app", "REDIS_URL": "redis://localhost"}
"""
FIRST_STEPS = """
import os
from celery import Celery
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_of_ours.settings")
app = Celery("site_of_ours", task_cls=BASE)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

@app.on_after_configure.connect
def setup_periodic_tasks(sender, **kwargs):
    from site_of_ours.tasks import greet
    sender.add_periodic_task(1.0, greet.s("hello"), name="greet")
"""
"""Celery's own pages have it so. The handler runs before Django's apps are loaded, and what it raises is swallowed."""
TASKS = "from celery import shared_task\n@shared_task\ndef greet(word):\n    return word\n"
AS_CELERY_LOADS = """
from celery.app.utils import find_app
app = find_app("site_of_ours")
app.loader.import_default_modules()
print(app.tasks["site_of_ours.tasks.greet"].run_guard, list(app.conf.beat_schedule))
"""
NAMED = 'BASE = "cutover.guard.GuardedTask"'
DERIVED = "from cutover.guard import GuardedTask\nclass BASE(GuardedTask):\n    pass"


def celery_loads(directory: Path, before: str, settings: str) -> subprocess.CompletedProcess[str]:
    project = directory / "site_of_ours"
    project.mkdir()
    (project / "__init__.py").write_text("from .celery import app as celery_app\n")
    (project / "celery.py").write_text(f"{before}\n{FIRST_STEPS}")
    (project / "settings.py").write_text(settings)
    (project / "tasks.py").write_text(TASKS)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{directory}:{ROOT}"}
    return subprocess.run([sys.executable, "-c", AS_CELERY_LOADS], env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("before", [NAMED, DERIVED], ids=["named", "derived"])
def test_tasks_and_entries_are_there_where_celery_configures_its_app_before_django_is_set_up(
    tmp_path: Path, before: str
) -> None:
    done = celery_loads(tmp_path, before, SETTINGS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cutover celery=")
    assert "['greet']" in done.stdout
