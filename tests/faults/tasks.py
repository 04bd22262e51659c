"""A task for the faults: it takes its time, and the broker keeps its message until it is done."""

import datetime as dt
import os
import time
from pathlib import Path

from celery import Task, shared_task

from demo.tasks import write_run

MAY_END = "FAULTS_MAY_END_FILE"
"""The environment variable that names a file: the slow task ends when it is there."""
BEGUN, ENDED = "begun", "ended"
PATIENCE = dt.timedelta(seconds=60)


@shared_task(bind=True, acks_late=True)
def note_slowly(self: Task) -> None:
    """Write down the beginning, wait to be allowed to end, write down the end."""
    write_run(self, BEGUN)
    deadline = time.monotonic() + PATIENCE.total_seconds()
    while not Path(os.environ[MAY_END]).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    write_run(self, ENDED)
