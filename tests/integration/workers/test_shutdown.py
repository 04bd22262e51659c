"""A worker that is told to end in the midst of its work ends, and gives back what it has not begun."""

import pytest
from celery import Celery

from cutover import clock
from demo.census import read_runs
from demo.processes import Process
from demo.waiting import wait_until
from tests.support.site import Site

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]

ENDINGS, SENT_EACH = 4, 400
SOON_S = 20.0
"""Less than after which Heroku kills; more than a busy machine takes."""


def test_workers_that_end_under_load_end_soon_and_lose_nothing(room: Site):
    """Celery's own takes more than half a minute in one of two such endings."""

    def send(labels: set[str]) -> None:
        with Celery("sender", broker=room.env["REDIS_URL"], set_as_current=False) as app:
            for label in labels:
                app.send_task("demo.tasks.note", (label,))

    def ran() -> set[str]:
        return {run.label for run in read_runs(room.runs)}

    def start() -> Process:
        command = "celery -A prayer_room_api worker -l INFO -c 2 --without-gossip --without-mingle"
        return room.start("worker", command, CELERY_IMPORTS="demo.tasks")

    sent, took_s = set[str](), []
    for ending in range(ENDINGS):
        labels = {f"{ending}-{number}" for number in range(SENT_EACH)}
        send(labels)
        sent |= labels
        before, worker = len(ran()), start()
        wait_until(lambda before=before: len(ran()) > before + 5, "some have run")
        began = clock.monotonic_s()
        assert worker.stop(timeout_s=60) == 0, worker.output
        took_s.append(clock.monotonic_s() - began)
    worker = start()
    wait_until(lambda: ran() >= sent, "all has run")
    worker.stop()
    assert max(took_s) < SOON_S, took_s
