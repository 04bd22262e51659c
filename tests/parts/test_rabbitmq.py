"""RabbitMQ takes the messages, Valkey holds the lock and nothing else."""

from pathlib import Path

import pytest

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
