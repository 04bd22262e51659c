"""``manage.py prodserver`` starts the host's processes, on django-prodserver 3.x and on 2.4.0, and they work."""

import importlib.metadata
import urllib.request
from pathlib import Path

import pytest

from demo.census import read_runs, wait_until_quiet
from demo.services import HOST, free_port
from demo.waiting import wait_until
from tests.support.releases import directory_of
from tests.support.site import Site

pytestmark = pytest.mark.acceptance

OLD = "2.4.0"
INSTALLED = importlib.metadata.version("django-prodserver")
SINCE_3 = not INSTALLED.startswith("2.")


@pytest.fixture(scope="session")
def old_prodserver() -> Path:
    """A directory that holds django-prodserver 2.4.0 and nothing else."""
    return directory_of(f"django-prodserver=={OLD}", alone=True)


@pytest.fixture(params=["installed", *[OLD] * (INSTALLED != OLD)])
def prodserver_site(request: pytest.FixtureRequest, sqlite_site: Site) -> Site:
    """A site on the installed django-prodserver and, where that is another one, on 2.4.0."""
    if request.param == OLD:
        sqlite_site.env["PYTHONPATH"] = str(request.getfixturevalue("old_prodserver"))
    return sqlite_site


def test_web_answers_and_ends_cleanly(prodserver_site: Site) -> None:
    port = free_port()
    web = prodserver_site.prodserver("web", WEB_BIND=f"{HOST}:{port}")

    def answer() -> int | None:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/healthz", timeout=2) as response:
                return response.status
        except OSError:
            return None

    assert wait_until(answer, "the site answers") == 200
    assert web.stop() == 0, web.output


def test_worker_and_code_beat_run_the_code_schedule(prodserver_site: Site) -> None:
    watch_runs(prodserver_site, "legacy-beat")
    assert {run.label for run in read_runs(prodserver_site.runs)} >= {"every-second-a", "every-two-seconds-a"}


def test_worker_and_database_beat_run_the_rows(prodserver_site: Site) -> None:
    assert prodserver_site.manage("shell", "-c", CUT_OVER_BY_HAND).exit_code == 0
    watch_runs(prodserver_site, "beat")
    assert {run.label for run in read_runs(prodserver_site.runs)} == {"from-a-row"}


@pytest.mark.skipif(not SINCE_3, reason="django-prodserver before 3 has no command `worker`")
def test_worker_command_of_3_runs_the_beat(sqlite_site: Site) -> None:
    beat = sqlite_site.start("beat", "python manage.py worker beat")
    wait_until(lambda: "cutover.standby.started" in beat.output, "the beat stands by")
    assert beat.stop() == 0, beat.output


def test_list_names_the_processes(prodserver_site: Site) -> None:
    listing = prodserver_site.manage("prodserver", "--list")
    assert listing.exit_code == 0
    assert {"web", "worker", "beat", "legacy-beat"} <= set(listing.output.split())


@pytest.mark.parametrize(
    ("process", "said"),
    [
        ("app-of-the-specification", "prayer_room_api"),
        ("app-in-celery-spelling", "prayer_room_api.celery:app"),
        ("app-missing", "is missing"),
        ("option-unknown", "did you mean 'concurrency'?"),
        ("value-refused", "is not one of 'DEBUG', 'INFO'"),
    ],
)
def test_a_wrong_setting_gives_one_line(prodserver_site: Site, process: str, said: str) -> None:
    prodserver_site.env["DJANGO_SETTINGS_MODULE"] = "tests.support.misconfigured"
    refused = prodserver_site.manage("prodserver", process)
    assert refused.exit_code not in (None, 0)
    assert "Traceback" not in refused.output
    complaint = [line for line in refused.output.splitlines() if line.startswith("CommandError: ")]
    assert len(complaint) == 1, refused.output
    assert said in complaint[0]


def watch_runs(site: Site, beat: str) -> None:
    """Let a beat and a worker run until three rounds of slots have, then have both end on SIGTERM, cleanly."""
    with site.monitor() as monitor:
        sender, worker = site.prodserver(beat), site.prodserver("worker")
        wait_until(lambda: len({run.slot.due_at for run in read_runs(site.runs)}) >= 3, "three rounds have run")
        assert sender.stop() == 0, sender.output
        wait_until_quiet(monitor, site.runs)
        assert worker.stop() == 0, worker.output


CUT_OVER_BY_HAND = """
import json
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from cutover.models import Fence
Fence.objects.update_or_create(id=1, defaults={"side": "database", "epoch": 1})
every_second = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.SECONDS)
PeriodicTask.objects.create(
    name="row", task="demo.tasks.note", interval=every_second, args=json.dumps(["from-a-row"])
)
"""
