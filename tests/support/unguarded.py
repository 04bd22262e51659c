"""Tasks of which one has no run guard, and others override what they like and have it."""

from typing import Any

from celery import Task, shared_task


def audit(task: Task, task_id: str, args: Any, kwargs: Any) -> None:
    """An option of a task's decorator."""


@shared_task(base=Task)
def pay() -> None:
    """Run without the guard."""


@shared_task(acks_late=True, before_start=audit)
def ship() -> None:
    """Run with it."""
