"""The project's own scheduler, derived from celery's."""

from celery.beat import PersistentScheduler

from tests.hosts.base import VAR

MARK = VAR / "sent-by-the-own-scheduler"


class MarkingScheduler(PersistentScheduler):
    """Leaves a mark where it sends."""

    def apply_async(self, entry, producer=None, advance=True, **kwargs):
        MARK.touch()
        return super().apply_async(entry, producer=producer, advance=advance, **kwargs)
