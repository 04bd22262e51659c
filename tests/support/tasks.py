"""Tasks that end when a test lets them, and such as are tried again; each try leaves a line."""

from pathlib import Path

from celery import Task, shared_task

from cutover.workers import run_guard
from demo.tasks import write_run
from demo.waiting import wait_until

# What is put off comes back sooner: a test waits for it.
run_guard.DEFER_S = 0.5  # type: ignore[misc]


@shared_task(bind=True, acks_late=True)
def until_told(self: Task, label: str, file: str) -> None:
    """Write down that the run has begun, and end once ``file`` exists; its message is acknowledged at the end."""
    write_run(self, label)
    wait_until(Path(file).exists, f"{file} exists", timeout_s=60)


@shared_task(bind=True, acks_late=True)
def at_once(self: Task, label: str) -> None:
    """Write down that the run has begun; its message is acknowledged at the end."""
    write_run(self, label)


LATE_SCHEDULE = {"late": {"task": at_once.name, "schedule": 3600.0, "args": ("late",)}}
"""A code schedule whose messages are acknowledged late."""


@shared_task(bind=True, max_retries=2)
def at_the_third_try(self: Task, label: str) -> None:
    """Write down every try, and succeed at the third."""
    _try(self, label)


@shared_task(bind=True, acks_late=True, max_retries=2)
def late_at_the_third_try(self: Task, label: str) -> None:
    """The same, of which each message is acknowledged at the end of its try."""
    _try(self, label)


def _try(task: Task, label: str) -> None:
    write_run(task, f"{label}-{task.request.retries}")
    if task.request.retries < 2:
        raise task.retry(countdown=0)
