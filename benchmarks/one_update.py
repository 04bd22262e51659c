"""The worker without the run guard, and a bare ``UPDATE`` of the slot's row before each task: no guard undercuts it.

By the database's driver alone, on a connection that celery does not close after each task, and committed before the
task: a run that is recorded only later is one that a crash doubles.
"""

import datetime as dt
import threading
from typing import Any, Final

from celery import Task
from celery.signals import task_prerun
from django.db import connections

from benchmarks.plain import app
from cutover import headers

__all__ = ["app"]
_UPDATE: Final = (
    "UPDATE cutover_slot SET run_started_at = CURRENT_TIMESTAMP"
    " WHERE entry = {0} AND due_at = {0} AND run_started_at IS NULL"
)
_own = threading.local()


@task_prerun.connect
def record(task: Task, **_: Any) -> None:
    """Mark the row of the slot that the message names."""
    if not hasattr(_own, "connection"):
        _own.connection = connections.create_connection("default")
        _own.connection.ensure_connection()
    connection = _own.connection
    cursor = connection.connection.cursor()
    due_at = dt.datetime.fromisoformat(task.request.get(headers.DUE_AT))
    statement = _UPDATE.format("?" if connection.vendor == "sqlite" else "%s")
    cursor.execute(statement, (task.request.get(headers.ENTRY), connection.ops.adapt_datetimefield_value(due_at)))
    if cursor.rowcount != 1:
        raise RuntimeError("the slot is not there to be marked, so that this is no floor")
    cursor.close()
