"""Celery beat's schedulers under the lease, for ``beat_scheduler`` and ``--scheduler``; made in ``beats.scheduler``."""

from cutover.beats.scheduler import CodeScheduler, DatabaseScheduler

__all__ = ["CodeScheduler", "DatabaseScheduler"]
