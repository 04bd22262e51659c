"""A project on Celery 5.4, whose beats mark no message, and a stock beat that somebody has forgotten beside the leader.

What it doubles is seen from outside: in what the task wrote down.
"""

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.census import read_runs
from demo.processes import Process, Processes
from demo.services import Valkey
from demo.waiting import wait_until
from tests.hosts.project import LEGACY_BEAT, NEW_BEAT, READY, WORKER, Kind, Project
from tests.support.releases import directory_of

pytestmark = [pytest.mark.long, pytest.mark.acceptance, pytest.mark.timeout(300)]

TASK = "demo.tasks.note"


class Site:
    """The project, every process of it on Celery 5.4."""

    def __init__(self, processes: Processes, directory: Path, redis_url: str) -> None:
        self.project = Project(Kind("two_releases"), processes, directory, redis_url)
        self.project.env |= {
            "CODE_SCHEDULE": "tests.hosts.two_releases.schedule.busy",
            "PYTHONPATH": str(directory_of("celery[redis]==5.4.*", "kombu==5.4.*")),
        }
        self._old = Project(Kind("two_releases"), processes, directory, redis_url)
        self._old.env |= self.project.env | {"DJANGO_SETTINGS_MODULE": "tests.hosts.two_releases.old_settings"}
        self._of_its_own = directory / "schedule-of-the-stray-beat"

    def start(self, command: str, mark: str) -> Process:
        process = self.project.start(command)
        wait_until(lambda: mark in process.output, f"{command} is up", timeout_s=60)
        return process

    def start_stray_beat(self) -> Process:
        return self._old.start(f"celery -A tests.hosts.two_releases.old:app beat -s {self._of_its_own}")

    def cutover(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Exit code and JSON of a command."""
        process = self.project.start(" ".join(["python -m django cutover", *arguments, "--json"]))
        code = process.wait(90)
        return code, json.loads(process.output[process.output.index("{") :])

    def status(self) -> dict[str, Any]:
        return self.cutover("status")[1]

    def runs_without_a_slot(self) -> int:
        return sum(run.slot is None for run in read_runs(self.project.runs))

    def doubled_since(self, since: dt.datetime) -> list[object]:
        """Slots that have run more than once, and runs of no slot at all."""
        runs = [run for run in read_runs(self.project.runs) if run.at > since]
        return [slot for slot, count in Counter(run.slot for run in runs).items() if slot is None or count > 1]


@pytest.fixture
def site(processes: Processes, valkey: Valkey, tmp_path: Path) -> Iterator[Site]:
    made = Site(processes, tmp_path, valkey.url)
    made.project.manage("migrate", "--noinput", "--verbosity=0")
    yield made


def unmanaged(report: dict[str, Any]) -> dict[str, Any]:
    [check] = [check for check in report["checks"] if check["name"] == "unmanaged beats"]
    return check


def test_a_stray_beat_that_no_worker_can_hear_is_named_and_then_deduplicated_by_the_operators_word(site: Site) -> None:
    worker = site.start(WORKER, " ready.")
    legacy_beat = site.start(LEGACY_BEAT, READY)
    wait_until(lambda: read_runs(site.project.runs), "the leader sends", timeout_s=60)
    assert "cannot be heard for tasks demo.tasks.note: celery 5.4.0" in " ".join(site.status()["problems"])

    stray = site.start_stray_beat()
    wait_until(lambda: site.runs_without_a_slot() > 8, "it runs everything once more", timeout_s=60)
    [beat] = wait_until(lambda: site.status()["unmanaged_beats"], "it is suspected", timeout_s=60)
    assert "came when a slot was due" in beat["probably"]
    seen = site.status()
    assert not seen["healthy"]
    assert seen["unheard_tasks"] == [TASK]
    assert f"{stray.pid}@" in beat["origin"]
    code, report = site.cutover("phase1")
    assert (code, unmanaged(report)["ok"]) == (3, False)
    assert f"{stray.pid}@" in unmanaged(report)["detail"]

    assert site.cutover("phase1", "--only-beat-sends", TASK)[0] == 3, "it still sends"
    assert worker.stop() == 0, worker.output
    worker = site.start(WORKER, " ready.")
    since = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)  # what waited meanwhile has run by then
    until = since + dt.timedelta(seconds=6)
    wait_until(lambda: dt.datetime.now(dt.UTC) > until, "both have sent for a while")
    assert site.doubled_since(since) == []
    assert site.status()["deduplicated"] > 3

    for process in (stray, legacy_beat, worker):
        assert process.stop() == 0, process.output


def test_such_a_project_goes_through_all_phases_once_the_operator_has_said_who_sends_what(
    site: Site,
) -> None:
    processes = [site.start(WORKER, " ready."), site.start(LEGACY_BEAT, READY)]
    wait_until(lambda: read_runs(site.project.runs), "the leader sends", timeout_s=60)
    code, report = site.cutover("phase1")
    assert (code, unmanaged(report)["ok"]) == (0, True)
    assert unmanaged(report)["detail"].startswith("cannot be heard for tasks demo.tasks.note")
    assert site.cutover("phase2")[0] == 0
    processes.append(site.start(NEW_BEAT, READY))
    wait_until(lambda: any(each["side"] == "database" for each in site.status()["beats"]), "it stands by")
    code, report = site.cutover("phase3")
    assert code == 3
    assert "--called-by-hand" in unmanaged(report)["remedy"]
    code, report = site.cutover("phase3", "--called-by-hand", "all")
    assert (code, unmanaged(report)["detail"]) == (0, "none is heard; of demo.tasks.note, called by hand, none can be")
    assert site.cutover("phase4", "--slots", "3", "--wait", "60")[0] == 0
    assert site.status()["problems"] == []
    for process in processes:
        assert process.stop() == 0, process.output
