"""Tasks of which some have lost the run guard, and nothing in their own module says so."""

from typing import Any

from celery import Task, shared_task


def audit(task: Task, task_id: str, args: Any, kwargs: Any) -> None:
    """An option of a task's decorator."""


@shared_task(before_start=audit)
def pay() -> None:
    """Run without the guard."""


@shared_task(acks_late=True)
def ship() -> None:
    """Run with it."""
