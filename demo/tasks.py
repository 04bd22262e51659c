"""Tasks that leave a trace outside of everything they are to prove: a line in a file for every run."""

import datetime as dt
import json
import os

from celery import Task, shared_task
from celery.signals import task_success

RUNS_FILE = "DEMO_RUNS_FILE"
"""The environment variable that names the file."""


@shared_task(bind=True)
def note(self: Task, label: str) -> None:
    """Write down that ``label`` ran."""
    write_run(self, label)


@task_success.connect
def note_success(sender: Task, **_: object) -> None:
    """Write down, for the prayer room's own tasks, that one ran to its end."""
    if sender.name != note.name:
        write_run(sender, sender.name)


def write_run(task: Task, label: str) -> None:
    """Append one run of ``task``; whole lines, whatever the number of processes."""
    request = task.request
    row = {
        "at": dt.datetime.now(dt.UTC).isoformat(),
        "label": label,
        "task_id": request.id,
        "entry": request.get("cutover_entry"),
        "due_at": request.get("cutover_due_at"),
    }
    file = os.open(os.environ[RUNS_FILE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, json.dumps(row).encode() + b"\n")
    finally:
        os.close(file)
