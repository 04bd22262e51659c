"""Somebody who has read nothing but the README, in a project that `django-admin startproject` has just made."""

import re
import sys
import urllib.request
from pathlib import Path

import pytest

from demo.processes import ROOT, Process, Processes
from demo.services import HOST, Valkey, free_port
from demo.waiting import wait_until
from tests.hosts.pasting import paste, pieces

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

PYTHON = re.compile(r"^```python\n# settings.py\n(.*?)\n# celery.py\n(.*?)\n```", re.MULTILINE | re.DOTALL)
SCHEDULE = 'CELERY_BEAT_SCHEDULE = {"often": {"task": "celery.backend_cleanup", "schedule": 1}}\n'
PLAIN_APP = """
import os
from celery import Celery
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
app = Celery("mysite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""


class Clean:
    """The project, and nothing else in its environment but where Redis is."""

    def __init__(self, processes: Processes, directory: Path, valkey: Valkey) -> None:
        self._processes, self.root = processes, directory / "clean"
        self.root.mkdir()
        self.port = free_port()
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "REDIS_URL": valkey.url,
            "PORT": str(self.port),
        }
        self.run("django-admin startproject mysite .")
        self.settings = self.root / "mysite" / "settings.py"
        text = self.settings.read_text()
        self.settings.write_text(text.replace("INSTALLED_APPS = [", 'INSTALLED_APPS = [\n    "cutover",'))

    def start(self, command: str) -> Process:
        return self._processes.start(command.split()[-1], command, self.env, cwd=self.root)

    def run(self, command: str) -> str:
        process = self.start(command)
        assert process.wait(60) == 0, f"{command}:\n{process.output}"
        return process.output

    def manage(self, command: str) -> str:
        return self.run(f"python manage.py {command}")

    def procfile(self, name: str) -> dict[str, str]:
        return dict(line.split(": ", 1) for line in (self.root / name).read_text().splitlines())


@pytest.fixture
def clean(processes: Processes, tmp_path: Path, valkey: Valkey) -> Clean:
    return Clean(processes, tmp_path, valkey)


@pytest.mark.parametrize("as_far_as", ["phase 3", pytest.param("phase 4 and back", marks=pytest.mark.long)])
def test_what_init_says_of_an_empty_project_is_all_that_it_needs(clean: Clean, as_far_as: str) -> None:
    before = {path.name for path in clean.root.iterdir()}
    told = pieces(clean.manage("cutover init --json"))
    assert {path.name for path in clean.root.iterdir()} == before, "without --write nothing is made"
    clean.manage("cutover init --write")
    again = pieces(clean.manage("cutover init --json"))
    assert {piece["how"] for piece in again} == {"append"}, "what is left to be pasted is said again"
    for piece in told:
        if piece["how"] == "append":
            paste(clean.root, piece)
        else:
            assert (clean.root / piece["file"]).read_text() == piece["text"]
    with clean.settings.open("a") as file:
        file.write(SCHEDULE)
    assert "no issues" in clean.manage("check")
    clean.run(clean.procfile("Procfile.code-side")["release"])

    old = [clean.start(clean.procfile("Procfile.code-side")[name]) for name in ("web", "worker", "beat")]
    wait_until(lambda: "cutover.term.started" in old[2].output, "the old command's beat leads")
    wait_until(lambda: "succeeded" in old[1].output, "a task has run")
    clean.manage("cutover phase1")
    clean.manage("cutover phase2")
    assert answer(clean) == 200
    assert old[0].stop() == 0, old[0].output

    new = [clean.start(clean.procfile("Procfile.both-sides")[name]) for name in ("web", "beat")]
    wait_until(lambda: "cutover.standby.started" in new[1].output, "the new beat stands by")
    clean.manage("cutover phase3")
    assert answer(clean) == 200
    if as_far_as != "phase 3":
        assert "Phase 4 is done" in clean.manage("cutover phase4 --slots 2 --wait 40 --waive celery.backend_cleanup")
        clean.manage("cutover rollback")
        assert '"side": "code"' in clean.manage("cutover status --json")
    for process in (*new, *old[1:]):
        assert process.stop() == 0, process.output


def test_what_the_readme_says_pasted_passes_the_checks(clean: Clean) -> None:
    [(settings, celery)] = PYTHON.findall((ROOT / "README.md").read_text().replace("your_project", "mysite"))
    with clean.settings.open("a") as file:
        file.write(f'import os\nCELERY_BROKER_URL = os.environ["REDIS_URL"]\n{settings}\n')
    (clean.root / "mysite" / "celery.py").write_text(PLAIN_APP.replace('app = Celery("mysite")', celery))
    assert "no issues" in clean.manage("check")
    clean.manage("migrate --noinput")
    beat = clean.start("python manage.py prodserver legacy-beat")
    wait_until(lambda: '"role": "leader"' in clean.manage("cutover status --json"), "a beat leads")
    assert beat.stop() == 0, beat.output


def answer(clean: Clean) -> int | None:
    def asked() -> int | None:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{clean.port}/", timeout=5) as response:
                return response.status
        except OSError:
            return None

    return wait_until(asked, "the site answers")
