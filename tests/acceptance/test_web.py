"""gunicorn as the package has it begin and end, bare and under prodserver; under load in tests/platform/test_web.py."""

import http.client
import json
import signal
import sys
import time
from pathlib import Path

import pytest

from cutover import web
from demo.processes import Process, Processes
from demo.services import HOST, free_port
from demo.waiting import wait_until

pytestmark = pytest.mark.acceptance

SITE = """
from django.http import HttpResponse
from django.urls import path
SECRET_KEY = "a-key-for-test-runs-only"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = __name__
WSGI_APPLICATION = "served.application"
INSTALLED_APPS = ["django_prodserver"]
urlpatterns = [path("", lambda request: HttpResponse("served"))]
PRODUCTION_PROCESSES = {"web": {"BACKEND": "cutover.backends.Gunicorn", "ARGS": {"bind": BIND, "threads": 4}}}
CUTOVER = {}
"""
SERVED = "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n"
ONE_LINE = "from cutover.web import *\n"
OF_THE_PROJECT = """
keepalive = 7
def when_ready(server):
    server.log.info("the project is ready, kept for %s s", server.cfg.keepalive)
"""
OWN_WORKER = """
import served
from gunicorn.workers.gthread import ThreadWorker
served.Worker = type("Worker", (ThreadWorker,), {})
"""
BARE = "gunicorn served:application --threads 4 --bind {bind}"
UNDER_PRODSERVER = f"{sys.executable} -m django prodserver web"
FORKED = """
import json, os, signal, time
from cutover import web
heard = []
signal.signal(signal.SIGTERM, lambda number, frame: heard.append(time.monotonic()))
web.when_ready(None)
worker = os.fork()
if not worker:  # in the instant before it has handlers of its own
    time.sleep(10)
    os._exit(1)
os.kill(worker, signal.SIGTERM)
status = os.waitpid(worker, 0)[1]
by_the_worker = len(heard)
began = time.monotonic()
for again in range(2):
    os.kill(os.getpid(), signal.SIGTERM)
while not heard:
    time.sleep(0.01)
print(json.dumps([status == 0, by_the_worker, heard[0] - began]))
"""


class Web:
    """A site of a few lines in a directory of its own, and its one web process."""

    def __init__(self, processes: Processes, directory: Path) -> None:
        self._processes, self._directory = processes, directory
        self.bind = f"{HOST}:{free_port()}"
        (directory / "served_settings.py").write_text(SITE.replace("BIND", repr(self.bind)))
        (directory / "served.py").write_text(SERVED)

    def start(self, command: str, config: str = "", **env: str) -> Process:
        (self._directory / "gunicorn.conf.py").write_text(config)
        env = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONPATH": f"{self._directory}:{Path(web.__file__).parents[1]}",
            "DJANGO_SETTINGS_MODULE": "served_settings",
            **env,
        }
        script = f"cd {self._directory} && exec {command.format(bind=self.bind)}"
        return self._processes.start("web", ["bash", "-c", script], env)

    def answer(self) -> int | None:
        """Of a new connection."""
        connection = http.client.HTTPConnection(self.bind, timeout=10)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()


@pytest.fixture
def site(processes: Processes, tmp_path: Path) -> Web:
    return Web(processes, tmp_path)


@pytest.mark.parametrize(
    ("command", "config"), [(BARE, ONE_LINE), (UNDER_PRODSERVER, "")], ids=["one line", "the backend"]
)
def test_what_a_router_sends_right_after_sigterm_is_answered(site: Web, command: str, config: str) -> None:
    process = site.start(command, config, WEB_DRAIN_S="4")
    wait_until(lambda: site.answer() == 200, "the site answers")
    process.send(signal.SIGTERM)
    began = time.monotonic()
    assert [site.answer() for _ in range(5)] == [200] * 5
    assert process.wait() == 0, process.output
    assert time.monotonic() - began >= 3, "it has drained"


def test_the_backend_leaves_the_projects_own_configuration_in_force(site: Web) -> None:
    process = site.start(UNDER_PRODSERVER, OF_THE_PROJECT)
    wait_until(lambda: site.answer() == 200, "the site answers")
    assert "the project is ready, kept for 7 s" in process.output
    process.send(signal.SIGHUP)
    wait_until(lambda: process.output.count("Booting worker") == 2, "it has been reloaded")
    assert wait_until(site.answer, "it listens where it did") == 200
    process.send(signal.SIGTERM)
    assert site.answer() == 200, "the project's hook takes nothing away"
    assert process.wait() == 0, process.output


@pytest.mark.parametrize("command", [BARE, UNDER_PRODSERVER], ids=["one line", "the backend"])
@pytest.mark.parametrize("value", ["soon", "-1", "nan"])
def test_a_wrong_drain_is_one_line(site: Web, command: str, value: str) -> None:
    process = site.start(command, ONE_LINE, WEB_DRAIN_S=value)
    assert process.wait() == 1
    assert "Traceback" not in process.output
    assert len([line for line in process.output.splitlines() if "WEB_DRAIN_S must be a number of seconds" in line]) == 1


@pytest.mark.parametrize(("kind", "is_known"), [("gthread", True), ("served.Worker", False)])
def test_of_a_worker_that_is_not_gunicorns_own_it_is_said_that_its_end_is_not_known(
    site: Web, kind: str, is_known: bool
) -> None:
    process = site.start(f"{BARE} --worker-class {kind}", f"{ONE_LINE}{OWN_WORKER}")
    wait_until(lambda: site.answer() == 200, "the site answers")
    said = "The worker class served.Worker may close kept connections at once when it ends"
    assert (said in process.output) is not is_known


def test_a_worker_class_of_asgi_is_refused_where_it_would_answer_each_request_with_an_error(site: Web) -> None:
    process = site.start(UNDER_PRODSERVER, GUNICORN_CMD_ARGS="--worker-class asgi")
    assert process.wait() == 1
    assert "Traceback" not in process.output
    assert "The worker class asgi serves ASGI, and cutover.backends.Gunicorn serves WSGI_APPLICATION." in process.output


@pytest.mark.parametrize("drain_s", [0, 1])
def test_a_new_worker_ends_at_once_and_the_master_after_its_time(site: Web, drain_s: int) -> None:
    process = site.start(f"{sys.executable} -c '{FORKED}'", WEB_DRAIN_S=str(drain_s))
    assert process.wait() == 0, process.output
    ended, heard_by_the_worker, after_s = json.loads(process.output)
    assert (ended, heard_by_the_worker) == (True, 0)
    assert drain_s <= after_s < drain_s + 5


def test_a_connection_is_kept_longer_than_a_router_keeps_it() -> None:
    assert web.keepalive > 90, "Heroku's router: 90 s"


def test_requests_get_less_time_to_end_than_platforms_give() -> None:
    assert web.DRAIN_S + web.graceful_timeout < 30, "Dokku's and Heroku's SIGKILL"
