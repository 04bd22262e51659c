"""The periodic tasks. Their dotted paths stand in schedules on both sides: do not rename them.

They may run again at any time: ``digests`` mails nobody twice. So a worker that dies gives its task back
(``acks_late``), and an unreachable mail server is tried again with growing pauses.
"""

from datetime import datetime
from smtplib import SMTPException

from celery import shared_task
from django.utils import timezone

from . import digests

RETRIED = {
    "bind": True,
    "autoretry_for": (SMTPException, OSError),
    "retry_backoff": 5,
    "retry_backoff_max": 600,
    "max_retries": 8,
    "acks_late": True,
    "reject_on_worker_lost": True,
}


@shared_task(**RETRIED)
def send_moderator_digest(self) -> int:
    """Mail the moderators what came in since their last digest; return how many were mailed."""
    return digests.moderator_digest(_window(self, "hourly"))


@shared_task(**RETRIED)
def send_user_digest(self, period: str) -> int:
    """Mail the users of a ``daily`` or ``weekly`` digest; return how many were mailed.

    Raises:
        ValueError: ``period`` is neither.
    """
    return digests.user_digest(period, _window(self, period))


def _window(task, period: str) -> datetime:
    """The instant that names this run's digest, the same for each of its retries.

    A run that a schedule sent carries the instant it was due in its headers, and keeps them in a retry. A run
    without one (an older beat's, a person's) counts for the hour, day or week that it falls in.
    """
    due_at = (task.request.headers or {}).get("cutover_due_at")
    if due_at:
        return datetime.fromisoformat(due_at)
    return digests.period_start(timezone.now(), period)
