"""Celery beat's schedulers under the lease, for ``beat_scheduler`` and ``--scheduler``; made in ``beats.scheduler``."""

from cutover import conf

conf.require_apps_at_import()

from cutover.beats.scheduler import CodeScheduler, DatabaseScheduler  # noqa: E402 - its models need the apps

__all__ = ["CodeScheduler", "DatabaseScheduler"]
