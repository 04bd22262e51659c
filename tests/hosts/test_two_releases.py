"""An old release on Celery 5.4 beside a new one on the installed Celery, on one broker; then the whole cutover.

Below 5.7 nothing in a stock beat's message says that a beat sent it. So either the setting names the tasks that a beat
alone sends, and workers that know slots come first; or one beat follows the other in a quiet window.
"""

import contextlib
import datetime as dt
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.census import Monitor, read_runs
from demo.processes import Process, Processes
from demo.services import HOST, Valkey
from demo.waiting import wait_until
from tests.hosts.project import LEGACY_BEAT, NEW_BEAT, READY, WORKER, Kind, Project
from tests.hosts.two_releases.schedule import BUSY, CALM
from tests.platform.verdict import judge
from tests.support.pulse import Absence, pulse
from tests.support.releases import directory_of
from tests.support.site import has_standby

pytestmark = [pytest.mark.long, pytest.mark.acceptance, pytest.mark.timeout(240)]

OLD_WORKER = "celery -A tests.hosts.two_releases.old:app worker -n old@%h -l INFO"
OLD_BEAT = "celery -A tests.hosts.two_releases.old:app beat -l INFO"
OVERLAP_S = 6.0


class Pair:
    """Both releases of one site: one database, one broker, one schedule file."""

    def __init__(self, processes: Processes, directory: Path, valkey: Valkey, schedule: str, **env: str) -> None:
        self.new = Project(Kind("two_releases"), processes, directory, valkey.url)
        self.new.env |= {"CODE_SCHEDULE": f"tests.hosts.two_releases.schedule.{schedule}", **env}
        self.old = Project(Kind("two_releases"), processes, directory, valkey.url)
        self.old.env |= self.new.env | {
            "DJANGO_SETTINGS_MODULE": "tests.hosts.two_releases.old_settings",
            "PYTHONPATH": str(directory_of("celery[redis]==5.4.*", "kombu==5.4.*")),
        }
        self._database = directory / "default.sqlite3"

    def start_old(self) -> tuple[Process, Process]:
        """Worker and beat of the old release; returns when tasks run."""
        self.old.manage("migrate", "--noinput", "--verbosity=0")
        worker, beat = self.old.start(OLD_WORKER), self.old.start(OLD_BEAT)
        wait_until(lambda: read_runs(self.old.runs), "the old release runs its schedule")
        assert "v5.4." in worker.output
        assert "v5.4." in beat.output
        return worker, beat

    def start_new(self, command: str, mark: str) -> Process:
        process = self.new.start(command)
        wait_until(lambda: mark in process.output, f"{command} is up")
        return process

    def heard(self) -> int:
        """How many beats without a lease the new release's workers have heard."""
        with contextlib.closing(sqlite3.connect(self._database, timeout=20)) as connection:
            return connection.execute("SELECT count(*) FROM cutover_unmanagedbeat").fetchone()[0]

    def forget_the_old_beat(self) -> None:
        """Two minutes pass until a beat that was heard, or suspected, is taken to be gone; not here."""
        with contextlib.closing(sqlite3.connect(self._database, timeout=20)) as connection, connection:
            connection.execute("UPDATE cutover_unmanagedbeat SET last_heard_at = '2000-01-01 00:00:00'")
            connection.execute("UPDATE cutover_slotlesssender SET last_seen_at = '2000-01-01 00:00:00'")

    def cut_over_and_back(self) -> Process:
        """Phase 1 to 4 and rollback; the beat of the database side, which then stands by."""
        for phase in ("phase1", "phase2"):
            self.new.cutover(phase)
        beat = self.start_new(NEW_BEAT, READY)
        wait_until(lambda: has_standby(self.new.cutover("status")), "it stands by")
        self.new.cutover("phase3")
        self.new.cutover("phase4", "--slots", "3", "--wait", "40")
        self.new.cutover("rollback")
        return beat

    def wait_for_runs(self, per_entry: int) -> None:
        """Return when every entry has run so many times more."""
        before = self._runs()
        wait_until(
            lambda: all(count >= before[label] + per_entry for label, count in self._runs().items()),
            f"every entry has run {per_entry} times more",
            timeout_s=30,
        )

    def _runs(self) -> Counter[str]:
        return Counter(run.label for run in read_runs(self.new.runs))


@pytest.fixture
def monitor(valkey: Valkey) -> Iterator[Monitor]:
    with Monitor(HOST, valkey.port) as monitor:
        yield monitor


@pytest.fixture
def absences() -> Iterator[list[Absence]]:
    with pulse() as absences:
        yield absences


def test_both_beats_send_for_a_while_where_the_setting_names_what_a_beat_alone_sends(
    processes: Processes, valkey: Valkey, tmp_path: Path, monitor: Monitor, absences: list[Absence]
) -> None:
    pair = Pair(processes, tmp_path, valkey, "busy", SENT_BY_BEAT_ALONE="demo.tasks.note")
    old_worker, old_beat = pair.start_old()
    began = dt.datetime.now(dt.UTC)
    pair.new.manage("migrate", "--noinput", "--verbosity=0")
    worker = pair.start_new(WORKER, " ready.")
    assert old_worker.stop() == 0, old_worker.output
    legacy_beat = pair.start_new(LEGACY_BEAT, READY)
    new_is_there = dt.datetime.now(dt.UTC)
    both = new_is_there + dt.timedelta(seconds=OVERLAP_S)
    wait_until(lambda: dt.datetime.now(dt.UTC) > both, "both have sent for a while")
    assert old_beat.stop() == 0, old_beat.output
    assert pair.heard() == 1
    pair.forget_the_old_beat()
    beat = pair.cut_over_and_back()
    pair.wait_for_runs(2)
    ended = dt.datetime.now(dt.UTC)
    for process in (beat, legacy_beat, worker):
        assert process.stop() == 0, process.output
    runs = read_runs(pair.new.runs)
    handed = [message.at for message in monitor.published if message.slot is None and message.at > new_is_there]
    assert handed, "the old beat's messages came beside the new one's"
    since, until = dict.fromkeys(BUSY, began), dict.fromkeys(BUSY, ended)
    verdict = judge(BUSY, monitor.published, runs, since, until, absences)
    assert (verdict.missed, verdict.doubled) == ([], [])


def test_one_beat_follows_the_other_in_a_quiet_window_and_back_again(
    processes: Processes, valkey: Valkey, tmp_path: Path, monitor: Monitor, absences: list[Absence]
) -> None:
    pair = Pair(processes, tmp_path, valkey, "calm")
    old_worker, old_beat = pair.start_old()
    began = dt.datetime.now(dt.UTC)
    pair.new.manage("migrate", "--noinput", "--verbosity=0")
    worker = pair.start_new(WORKER, " ready.")
    pair.wait_for_runs(1)
    assert old_beat.stop() == 0, old_beat.output
    legacy_beat = pair.start_new(LEGACY_BEAT, READY)
    pair.wait_for_runs(2)
    assert old_worker.stop() == 0, old_worker.output
    pair.forget_the_old_beat()
    beat = pair.cut_over_and_back()
    old_worker = pair.old.start(OLD_WORKER)
    wait_until(lambda: " ready." in old_worker.output, "the old release's worker is up again")
    pair.wait_for_runs(1)
    for process in (beat, legacy_beat):
        assert process.stop() == 0, process.output
    old_beat = pair.old.start(OLD_BEAT)
    pair.wait_for_runs(1)
    assert worker.stop() == 0, worker.output
    pair.wait_for_runs(1)
    ended = dt.datetime.now(dt.UTC)
    for process in (old_beat, old_worker):
        assert process.stop() == 0, process.output
    runs = read_runs(pair.new.runs)
    since, until = dict.fromkeys(CALM, began), dict.fromkeys(CALM, ended)
    verdict = judge(CALM, monitor.published, runs, since, until, absences)
    assert (verdict.missed, verdict.doubled) == ([], [])
    assert Counter(m.task_id for m in monitor.published) == Counter(run.task_id for run in runs)
