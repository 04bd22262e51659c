"""The run guard, for ``Celery(task_cls="cutover.guard.GuardedTask")``; made in ``workers.base_task``."""

from django.apps import apps

from cutover import conf
from cutover.workers import coverage  # noqa: F401 - importing has workers say at their start what is not guarded
from cutover.workers.base_task import GuardedTask

if apps.apps_ready:  # else celery makes the class before Django is set up: a worker finds out what is missing
    conf.require_apps_at_import()

__all__ = ["GuardedTask"]
