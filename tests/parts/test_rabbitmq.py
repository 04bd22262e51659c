"""RabbitMQ takes the messages, Valkey holds the lock and nothing else."""

import datetime as dt
from itertools import pairwise
from pathlib import Path

import pytest

from demo.census import read_runs
from demo.processes import Processes
from demo.services import Valkey
from demo.waiting import wait_until
from tests.parts import rabbitmq
from tests.parts.conftest import Journey
from tests.support.site import Site

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


def test_the_whole_cutover_with_rabbitmq_as_broker(
    journey: Journey, sqlite_site: Site, processes: Processes, tmp_path: Path
) -> None:
    with rabbitmq.running(processes, tmp_path / "rabbitmq") as url:
        sqlite_site.env["CELERY_BROKER_URL"] = url
        journey(sqlite_site)
        worker = sqlite_site.prodserver("worker")
        probe = ("status", "--check", "--role", "worker")
        wait_until(lambda: sqlite_site.cutover(*probe).exit_code == 0, "the worker answers its probe")
        assert worker.stop() == 0, worker.output


def test_wrong_credentials_are_one_clear_line(
    sqlite_site: Site, processes: Processes, valkey: Valkey, tmp_path: Path
) -> None:
    with rabbitmq.running(processes, tmp_path / "rabbitmq") as url:
        sqlite_site.env["CELERY_BROKER_URL"] = url.replace("guest:guest", "guest:wrong")
        command = sqlite_site.cutover("phase1")
    assert command.exit_code == 3
    [line] = [line for line in command.output.splitlines() if " broker: " in line]
    assert "ACCESS_REFUSED" in line
    assert "wrong" not in command.output


ROWS = """
from cutover.models import Fence
from django_celery_beat.models import IntervalSchedule, PeriodicTask
Fence.objects.update_or_create(id=1, defaults={"epoch": 0, "side": "database"})
every = IntervalSchedule.objects.create(every=1, period="seconds")
for name, where in (("bad", {"exchange": "nowhere", "routing_key": "k"}), ("good", {}), ("zealous", {})):
    PeriodicTask.objects.create(name=name, task="demo.tasks.note", args=f'["{name}"]', interval=every, **where)
"""
MENDED = """
from django_celery_beat.models import PeriodicTask
PeriodicTask.objects.filter(name="bad").update(exchange=None, routing_key=None)
"""


def test_a_row_that_the_broker_refuses_holds_up_no_other(
    sqlite_site: Site, processes: Processes, tmp_path: Path
) -> None:
    """AMQP closes the channel over an exchange that is not there; the next message goes by a new one."""
    with rabbitmq.running(processes, tmp_path / "rabbitmq") as url:
        sqlite_site.env["CELERY_BROKER_URL"] = url
        assert sqlite_site.manage("shell", "-c", ROWS).exit_code == 0
        worker, beat = sqlite_site.prodserver("worker"), sqlite_site.prodserver("beat")

        def ran(label: str) -> list[dt.datetime]:
            return [run.slot.due_at for run in read_runs(sqlite_site.runs) if run.slot and run.label == label]

        wait_until(lambda: min(len(ran("good")), len(ran("zealous"))) > 12, "the others are run", timeout_s=60)
        for name in ("good", "zealous"):
            assert {b - a for a, b in pairwise(sorted(ran(name)))} == {dt.timedelta(seconds=1)}
        assert ran("bad") == []
        said = sqlite_site.cutover("status", "--check").output
        assert "claimed slots are not published, the oldest bad" in said
        assert "the broker refuses it: Basic.publish: (404) NOT_FOUND" in beat.output
        assert sqlite_site.manage("shell", "-c", MENDED).exit_code == 0
        wait_until(lambda: ran("bad"), "the mended row is run", timeout_s=20)
        for process in (beat, worker):
            assert process.stop() == 0, process.output
