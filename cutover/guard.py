"""The run guard, for ``Celery(task_cls="cutover.guard.GuardedTask")``; made in ``workers.run_guard``."""

from __future__ import annotations

from cutover.workers.run_guard import GuardedTask

__all__ = ["GuardedTask"]
