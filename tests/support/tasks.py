"""Tasks that end when a test lets them, and such as are tried again; each try leaves a line."""

from pathlib import Path

from celery import Task, shared_task

from cutover import current_slot
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


@shared_task
def fails() -> None:
    """Fail."""
    raise LookupError("no such thing")


@shared_task(bind=True)
def child(self: Task, label: str) -> None:
    """Write down that the run has begun."""
    write_run(self, label)


@shared_task(bind=True)
def passes_its_headers_on(self: Task, label: str) -> None:
    """Send seven tasks with the headers of its own message, at last itself, and put another one in its place."""
    write_run(self, label)
    if self.request.get("parent_id") is None:
        for number in range(6):
            child.apply_async((f"{label}-{number}",), headers=self.request.headers)
        self.apply_async((f"{label}-6",), headers=self.request.headers)
        self.replace(child.si(f"{label}-instead").set(headers=self.request.headers))


@shared_task(bind=True, max_retries=1)
def names_its_slot(self: Task, label: str) -> None:
    """Write down the slot that the run is told; the first attempt sends one with its headers, and is tried again."""
    slot = current_slot()
    said = f"{slot.entry} {slot.due_at:%H:%M} {slot.attempt} {slot.previous_due_at}" if slot else "none"
    write_run(self, f"{label} {said}")
    if slot and not slot.attempt:
        names_its_slot.apply_async((f"{label}-child",), headers=self.request.headers)
        raise self.retry(countdown=0)


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
