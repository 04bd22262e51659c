"""The run guard, for ``Celery(task_cls="cutover.guard.GuardedTask")``; made in ``workers.run_guard``."""

from cutover.workers import coverage  # noqa: F401 - importing has workers say at their start what is not guarded
from cutover.workers.run_guard import GuardedTask

__all__ = ["GuardedTask"]
