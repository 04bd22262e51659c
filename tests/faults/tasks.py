"""Tasks for the faults: one takes its time and has the broker keep its message until then, others do not succeed."""

import datetime as dt
import os
import time
from pathlib import Path

from celery import Task, shared_task

from demo.tasks import write_run

MAY_END = "FAULTS_MAY_END_FILE"
"""The environment variable that names a file: the slow task ends when it is there."""
BEGUN, ENDED, FAILED, RETRIED = "begun", "ended", "failed", "retried"
PATIENCE = dt.timedelta(seconds=60)


@shared_task(bind=True, acks_late=True)
def note_slowly(self: Task) -> None:
    """Write down the beginning, wait to be allowed to end, write down the end."""
    write_run(self, BEGUN)
    deadline = time.monotonic() + PATIENCE.total_seconds()
    while not Path(os.environ[MAY_END]).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    write_run(self, ENDED)


@shared_task(bind=True)
def note_and_fail_at_times(self: Task, label: str) -> None:
    """Write down how it goes: of two slots of this entry, one second apart, one fails."""
    fails = bool(int(dt.datetime.fromisoformat(self.request.get("cutover_due_at")).timestamp()) % 2)
    write_run(self, FAILED if fails else label)
    if fails:
        raise ConnectionError(f"the calendar did not answer\n{label} is not for the eyes of everybody")


@shared_task(bind=True)
def note_and_ask_again(self: Task, label: str) -> None:
    """Write down that it ran, and ask for a retry that no test lives to see."""
    write_run(self, RETRIED)
    raise self.retry(exc=TimeoutError("the mail server is busy"), countdown=3600)


@shared_task(bind=True, acks_late=True)
def note_late(self: Task) -> None:
    """Write down beginning and end, with some time in between."""
    write_run(self, BEGUN)
    time.sleep(0.5)  # the work: no test waits by it
    write_run(self, ENDED)
