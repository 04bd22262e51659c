"""A real worker says as it starts what it runs without the guard, and does not claim that it is guarded."""

import celery
import pytest
from celery import Celery

from demo.waiting import wait_until
from tests.support.site import Site

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]


def test_a_worker_names_the_task_that_has_lost_the_guard_and_does_not_claim_it(room: Site) -> None:
    process = room.start(
        "worker",
        "celery -A prayer_room_api worker -l INFO -c 1 --without-gossip --without-mingle",
        CELERY_IMPORTS="tests.support.unguarded",
    )
    wait_until(lambda: "cutover.guard.lost" in process.output, "the worker has named it")
    wait_until(lambda: " ready." in process.output, "the worker is ready")
    (said,) = [line for line in process.output.splitlines() if "cutover.guard.lost" in line]
    assert "tests.support.unguarded.pay: the base celery.app.task.Task is no GuardedTask" in said
    assert "ship" not in said
    with Celery("asking", broker=room.env["REDIS_URL"], set_as_current=False) as app:
        (answer,) = app.control.broadcast("registered", {"taskinfoitems": ["run_guard"]}, reply=True, timeout=3.0)
    (registered,) = answer.values()
    ours = [line.removeprefix("tests.support.unguarded.") for line in registered if "unguarded" in line]
    assert ours == ["pay", f"ship [run_guard=cutover celery={celery.__version__} namespace=cutover]"]
    assert process.stop() == 0, process.output
