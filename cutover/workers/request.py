"""A beat's message as the worker's main process has it: it says that a task has started once the run guard says so."""

from typing import Any, Final

from celery import Task
from celery.events.dispatcher import EventDispatcher
from celery.worker.request import Request

from cutover.workers.admission import is_beats

GROUP: Final = "task"
"""Celery's name for the events of tasks."""
START_UNSENT: Final = "cutover_start_unsent"
"""From the main process to the one that runs the task, in no message: that event is the latter's to send."""


class GuardedRequest(Request):
    """Leaves the event ``task-started`` to the process that admits the run; dropped messages then have none."""

    def __init__(self, message: Any, **options: Any) -> None:
        super().__init__(message, **options)
        if self.task.send_events and _sends(self.eventer) and is_beats(self.task.name, self.request_dict):
            self.request_dict[START_UNSENT] = True

    def send_event(self, type: str, **fields: Any) -> None:
        """Send what is not left to the process that admits the run."""
        if type != "task-started" or START_UNSENT not in self.request_dict:
            super().send_event(type, **fields)


def _sends(eventer: EventDispatcher | None) -> bool:
    """Whether the worker sends events of tasks: without ``-E`` it has a dispatcher all the same, for its heartbeats."""
    return eventer is not None and eventer.enabled and (not eventer.groups or GROUP in eventer.groups)


def send_started(task: Task, task_id: str, request: dict[str, Any]) -> None:
    """Send the event that was left to this process."""
    retry = {"retry": True, "retry_policy": task.app.conf.task_publish_retry_policy}
    with task.app.events.default_dispatcher(hostname=request.get("hostname")) as dispatcher:
        dispatcher.send("task-started", uuid=task_id, **retry)
