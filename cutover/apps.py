"""Django's view of the app."""

from typing import Any

from celery.signals import celeryd_init, worker_process_shutdown
from django.apps import AppConfig
from django.db.models.signals import post_migrate

from cutover.background import drain_all


class CutoverConfig(AppConfig):
    """Registers the models, the system checks, and what makes the single rows."""

    name = "cutover"
    verbose_name = "Cutover"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register checks, rows to be made after ``migrate``, what workers and ``-B`` require, metrics, check-ins."""
        from cutover import checks  # noqa: F401 - importing registers
        from cutover.beats import start
        from cutover.ledger.single_rows import make_missing
        from cutover.observe.check_ins import start as check_ins
        from cutover.observe.metrics.start import connect
        from cutover.workers import shutdown

        post_migrate.connect(make_missing, sender=self, dispatch_uid="cutover.single_rows")
        celeryd_init.connect(start.require_embedded, weak=False, dispatch_uid="cutover.beats.start")
        celeryd_init.connect(shutdown.shorten, weak=False, dispatch_uid="cutover.workers.shutdown")
        connect()
        check_ins.connect()
        worker_process_shutdown.connect(_end_process, weak=False, dispatch_uid="cutover.background")


def _end_process(**_: Any) -> None:
    """A process of a prefork pool ends, in which nothing else is called then."""
    drain_all()
