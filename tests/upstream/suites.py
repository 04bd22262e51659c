"""The suites of other projects that our schedulers are held to, and how ours take the stock ones' place there."""

from collections.abc import Callable
from dataclasses import dataclass

import django


@dataclass(frozen=True)
class Suite:
    """Tests within the source archive of a distribution, and what puts our schedulers in the place of its own."""

    distribution: str
    tests: str
    substitute: Callable[[], None]


def _in_celery() -> None:
    django.setup()
    from celery import beat

    from cutover.schedulers import CodeScheduler

    beat.Scheduler = beat.PersistentScheduler = CodeScheduler


def _in_django_celery_beat() -> None:
    from django_celery_beat import schedulers

    from cutover.schedulers import DatabaseScheduler

    schedulers.DatabaseScheduler = DatabaseScheduler


SUITES = (
    Suite("celery", "t/unit/app/test_beat.py", _in_celery),
    Suite("django-celery-beat", "t/unit", _in_django_celery_beat),
)
