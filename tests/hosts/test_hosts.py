"""Projects that differ as real ones do: with what ``init`` prints, each goes through phase 1 to 4 and back."""

import datetime as dt
from collections import Counter
from pathlib import Path

import pytest

from demo.census import Slot, per_slot, read_runs
from demo.processes import Process, Processes
from demo.services import Valkey
from demo.waiting import wait_until
from tests.hosts.pasting import is_needed
from tests.hosts.project import KINDS, Kind, Newcomer, Project
from tests.hosts.schedule import INTERVALS

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

MOST_LINES = 20
IN_SHORT = {"naive"}
"""The project that `make test` takes through everything; `--long` takes all."""
ASKED_IN_SHORT = {"classy", "elsewhere", "lock_only", "embedded", "url_only"}
"""Those whose answer from `init` differs most from the others'."""

SAID = {
    "url_only": ['JOBS_BEAT_SCHEDULER = "cutover.schedulers:CodeScheduler"', '"REDIS_URL": REDIS_URL}'],
    "lock_only": ['"REDIS_ALIAS": "lock"}'],
    "routed": ['"DATABASE": "background"}'],
    "elsewhere": ['"APP": "tests.hosts.elsewhere.background.app.queue"'],
    "embedded": ['"beat": True', '"scheduler": "cutover.schedulers:DatabaseScheduler"}'],
}
"""What `init` has to see of a project."""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_project_goes_through_all_phases_and_back(
    kind: Kind, processes: Processes, valkey: Valkey, tmp_path: Path, long: bool
) -> None:
    if not long and kind.name not in IN_SHORT:
        pytest.skip("--long takes this project through the phases too")
    project = Newcomer(kind, processes, tmp_path, valkey.url)
    project.put_in()
    for database in kind.databases:
        project.manage("migrate", "--noinput", "--verbosity=0", f"--database={database}")
    old = [project.start(command) for command in kind.before]
    wait_until(lambda: read_runs(project.runs), "the code schedule is run")
    for phase in ("phase1", "phase2"):
        project.cutover(phase)
    new = [project.start(command) for command in kind.after]
    wait_until(lambda: "database standby" in project.cutover("status"), "a beat of the database side stands by")
    project.cutover("phase3")
    project.cutover("phase4", "--slots", "3", "--wait", "40", "--waive", "daily")
    project.cutover("rollback")
    until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)
    wait_until(lambda: _latest(project) > until, "the code side goes on")
    _stop([*new, *old])
    _each_once(project)


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


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_what_init_prints_is_short_and_pasted_passes_the_checks(
    kind: Kind, processes: Processes, valkey: Valkey, tmp_path: Path, long: bool
) -> None:
    if not long and kind.name not in ASKED_IN_SHORT:
        pytest.skip("--long asks for this project too")
    project = Newcomer(kind, processes, tmp_path, valkey.url)
    added = {piece["file"].rpartition("/")[2]: piece for piece in project.put_in()}
    python = [piece for name, piece in added.items() if name.endswith(".py") and name != "gunicorn.conf.py"]
    assert len(list(filter(is_needed, "".join(piece["text"] for piece in python).splitlines()))) <= MOST_LINES
    for line in SAID.get(kind.name, []):
        assert line in "".join(piece["text"] for piece in python)
    assert "no issues (0 silenced)" in project.manage("check")
    assert project.asked() == [], "and then there is nothing to be added"
    for process in ("worker", "beat", "legacy-beat"):
        assert process in added["Procfile.both-sides"]["text"] or kind.name == "embedded"
