"""RabbitMQ takes the messages, Valkey holds the lock and nothing else; the ledger is in SQLite, and in PostgreSQL."""

import contextlib
import datetime as dt
import json
import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Exchange, Queue

from demo.census import per_slot, read_runs
from demo.processes import Process, Processes
from demo.services import Valkey
from demo.waiting import wait_until
from tests.parts import rabbitmq
from tests.parts.conftest import Journey
from tests.support.site import Site

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


def test_the_whole_cutover_with_rabbitmq_as_broker(
    journey: Journey, site: Site, processes: Processes, tmp_path: Path
) -> None:
    with rabbitmq.running(processes, tmp_path / "rabbitmq") as url:
        site.env["CELERY_BROKER_URL"] = url
        journey(site)
        worker = site.prodserver("worker")
        probe = ("status", "--check", "--role", "worker")
        wait_until(lambda: site.cutover(*probe).exit_code == 0, "the worker answers its probe")
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


@pytest.mark.long
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
        assert "Problem: bad is not sent: " in said
        assert "NOT_FOUND" in said
        assert "the broker refuses it: Basic.publish: (404) NOT_FOUND" in beat.output
        assert sqlite_site.manage("shell", "-c", MENDED).exit_code == 0
        wait_until(lambda: ran("bad"), "the fixed row is run", timeout_s=20)
        for process in (beat, worker):
            assert process.stop() == 0, process.output


@pytest.mark.long
def test_a_queue_that_the_broker_refuses_is_one_clear_line_and_nothing_is_lost(
    sqlite_site: Site, processes: Processes, valkey: Valkey, tmp_path: Path
) -> None:
    site = sqlite_site
    with rabbitmq.running(processes, tmp_path / "rabbitmq") as url:
        site.env["CELERY_BROKER_URL"] = url
        with Connection(url) as connection:
            other = {"x-max-length": 1000}  # as somebody has made it: the app declares none
            queue = Queue("celery", Exchange("celery"), routing_key="celery", queue_arguments=other)
            queue(connection.default_channel).declare()
            beat, refused = site.prodserver("legacy-beat"), site.prodserver("worker")
            assert refused.wait() == 1, refused.output
            assert "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'celery'" in refused.output

            wait_until(lambda: failures(beat), "the beat has been refused")
            phase = site.cutover("phase1")
            assert phase.exit_code == 3
            [at] = [i for i, line in enumerate(phase.output.splitlines()) if " broker: " in line]
            line, remedy = phase.output.splitlines()[at : at + 2]
            assert "refuses the queue of 'celery': Queue.declare: (406) PRECONDITION_FAILED" in line
            assert "declare the queue in task_queues with the arguments that it has" in remedy
            wait_until(
                lambda: any(
                    "is not sent: " in said and "PRECONDITION_FAILED" in said for said in site.status()["problems"]
                ),
                "status says it",
            )

            queue(connection.channel()).delete()
            worker = site.prodserver("worker")
            wait_until(lambda: len(read_runs(site.runs)) > 20, "the slots are run now", timeout_s=40)
            assert beat.exit_code is None
            assert all("PRECONDITION_FAILED" in failure["reason"] for failure in failures(beat))
            assert beat.stop() == 0, beat.output
            wait_until(lambda: published(site) <= ran(site), "all that was published is run")
            assert worker.stop() == 0, worker.output
    assert {slot: count for slot, count in per_slot(read_runs(site.runs)).items() if count > 1} == {}


def failures(beat: Process) -> list[dict[str, Any]]:
    """What the beat says of messages that the broker did not take."""
    lines = [line for line in beat.output.splitlines() if "cutover.slot.publish_failed" in line]
    return [json.loads(line) for line in lines]


def published(site: Site) -> set[tuple[str, dt.datetime]]:
    """The slots whose message the broker has been handed, as the ledger has them."""
    with contextlib.closing(sqlite3.connect(site.directory / "db.sqlite3")) as connection:
        rows = connection.execute("SELECT entry, due_at FROM cutover_slot WHERE state = 'published'")
        return {(entry, dt.datetime.fromisoformat(due_at).replace(tzinfo=dt.UTC)) for entry, due_at in rows}


def ran(site: Site) -> set[tuple[str, dt.datetime]]:
    return {(run.slot.entry, run.slot.due_at) for run in read_runs(site.runs) if run.slot}
