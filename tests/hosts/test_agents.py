"""Monitoring agents see of a project what they saw under the stock schedulers, and stand in the way of no phase."""

import datetime as dt
import json
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.beat import PersistentScheduler

from demo.census import read_runs
from demo.processes import Processes
from demo.services import Valkey
from demo.waiting import wait_until
from tests.hosts.project import LEGACY_BEAT, WORKER, Kind, Project
from tests.hosts.sentry.schedule import MINUTELY

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

CHATTY_BEAT = "celery -A tests.hosts.sentry.celery:app beat -l INFO"


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


class Watched:
    """What Sentry was told."""

    def __init__(self, project: Project, directory: Path) -> None:
        self.project, self._file = project, directory / "sentry.jsonl"

    def check_ins(self) -> dict[str, list[tuple[str, str]]]:
        """Of each check-in of an entry that Sentry watches: its monitor and what was said of it, in order."""
        said = self._said()
        return {key: told for key, told in said.items() if told[0][0] in (*MINUTELY, "broken")}

    def told_by_ours(self) -> set[str]:
        """The monitors of entries of seconds, which Sentry's integration leaves out."""
        return {told[0][0] for told in self._said().values()} - {*MINUTELY, "broken"}

    def _said(self) -> dict[str, list[tuple[str, str]]]:
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for line in lines(self._file):
            if line["type"] == "check_in":
                payload = line["payload"]
                found[payload["check_in_id"]].append((payload["monitor_slug"], payload["status"]))
        return found

    def opened(self) -> Counter[str]:
        """How many check-ins each monitor has."""
        return Counter(said[0][0] for said in self.check_ins().values())

    def errors(self) -> list[str]:
        """What was reported as an error."""
        events = [line["payload"] for line in lines(self._file) if line["type"] == "event"]
        said = [event["logentry"]["message"].split("\n")[0] for event in events if event["level"] == "error"]
        # Sentry imports RedBeat where it is installed, whose receiver of `beat_init` knows no other scheduler.
        return [text for text in said if not text.startswith("Signal handler")]

    def runs(self) -> Counter[str]:
        """How often each watched entry has run."""
        return Counter(
            run.slot.entry for run in read_runs(self.project.runs) if run.slot and run.slot.entry in MINUTELY
        )


@pytest.fixture
def sentry(processes: Processes, valkey: Valkey, tmp_path: Path) -> Watched:
    """A project with Sentry, whose entries of a minute fall due one after the other, the first at once."""
    project = Project(Kind("sentry"), processes, tmp_path, valkey.url)
    project.env["CODE_SCHEDULE"] = "tests.hosts.sentry.schedule.beat_schedule"
    app = Celery("stock", set_as_current=False)
    record = PersistentScheduler(app, schedule_filename=str(tmp_path / "celerybeat-schedule"), lazy=True)
    record.setup_schedule()
    for number, name in enumerate((*MINUTELY, "broken")):
        at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=52 - 3 * number)
        record.add(name=name, task="demo.tasks.note", schedule=60, last_run_at=at)
    record.close()
    project.manage("migrate", "--noinput", "--verbosity=0")
    return Watched(project, tmp_path)


def test_sentry_hears_one_check_in_of_each_slot_that_its_run_ends_and_phase_2_passes(
    sentry: Watched, valkey: Valkey
) -> None:
    """By its own integration; so those of ours, which are on too, are silent of these, and tell of the others."""
    project = sentry.project
    project.env["CHECK_INS"] = "1"
    beat = project.start(CHATTY_BEAT)
    wait_until(sentry.check_ins, "a check-in is opened")
    # Its message comes twice: as from a sweep whose first message had arrived after all.
    with valkey.client() as client:
        queued = wait_until(lambda: [m for m in client.lrange("celery", 0, -1) if b"minutely" in m], "it is queued")
        client.lpush("celery", queued[0])
    worker = project.start(WORKER)
    wait_until(lambda: len(sentry.runs()) >= 3, "watched entries have run")
    project.cutover("phase1")
    project.cutover("phase2")
    assert beat.stop() == 0, beat.output
    with suppress(TimeoutError):
        wait_until(lambda: sentry.runs() == sentry.opened(), "every slot that has a check-in has run")
    assert (client.llen("celery"), sentry.runs()) == (0, sentry.opened()), worker.output
    wait_until(lambda: all(len(said) == 2 for said in sentry.check_ins().values()), "all check-ins are ended")
    worker.stop()
    assert worker.output.count("cutover.run.deduplicated") == 1
    for said in sentry.check_ins().values():
        assert [status for _, status in said] == ["in_progress", "ok"]
    assert sentry.opened() == sentry.runs()
    assert sentry.told_by_ours()
    assert beat.output.count("Scheduler: Sending due task minutely-0 (demo.tasks.note)") == sentry.runs()["minutely-0"]
    assert sentry.errors() == []


def test_a_message_that_cannot_be_sent_is_one_error_and_its_sweeps_open_no_check_in(sentry: Watched) -> None:
    project = sentry.project
    project.env["BROKEN_ENTRY"] = "1"
    beat = project.start(LEGACY_BEAT)

    def broken() -> list[list[tuple[str, str]]]:
        return [said for said in sentry.check_ins().values() if said[0][0] == "broken"]

    wait_until(broken, "a check-in of the message that cannot be sent is opened", 60)
    wait_until(lambda: beat.output.count("cutover.slot.swept") >= 1, "it is tried again", 30)
    assert beat.stop() == 0, beat.output
    assert broken() == [[("broken", "in_progress")]]
    assert [error[:14] for error in sentry.errors()] == ["Message Error:"]


def test_opentelemetry_traces_each_slot_from_beat_to_worker_and_phase_2_passes(
    processes: Processes, valkey: Valkey, tmp_path: Path
) -> None:
    project = Project(Kind("opentelemetry"), processes, tmp_path, valkey.url)
    project.manage("migrate", "--noinput", "--verbosity=0")
    worker, beat = project.start(WORKER), project.start(LEGACY_BEAT)
    wait_until(lambda: len(read_runs(project.runs)) >= 3, "tasks have run")
    project.cutover("phase1")
    project.cutover("phase2")
    assert beat.stop() == 0, beat.output
    with valkey.client() as client:
        wait_until(lambda: not client.llen("celery"), "all messages are taken")
    worker.stop()
    spans = lines(tmp_path / "spans.jsonl")
    sent = {span["trace"] for span in spans if span["name"] == "apply_async/demo.tasks.note"}
    ran = Counter(span["trace"] for span in spans if span["name"] == "run/demo.tasks.note")
    assert len(read_runs(project.runs)) == sum(ran.values()) == len(ran) > 2
    assert set(ran) <= sent
