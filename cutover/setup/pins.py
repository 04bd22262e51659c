"""Pure: the requirements that bring cutover and leave the project's Django and celery where they are."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from cutover import __version__
from cutover.web import LEAST_GUNICORN

LEAST_MARKING_CELERY: Final = (5, 7)
"""From which celery on a beat marks its messages."""


def version(text: str) -> tuple[int, ...]:
    """The numbers that a version begins with."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else ()


def requirements(installed: Mapping[str, str], *, redis_broker: bool, gunicorn: bool) -> Iterator[str]:
    """Lines for a requirements file. ``installed``: the versions of this environment, by distribution name."""
    django, celery = version(installed["Django"]), version(installed["celery"])
    extra = "[redis]" if redis_broker else ""
    why = "; the extra knows which redis-py this celery takes" if redis_broker else ""
    yield f"django-cutover~={__version__}"
    yield f"Django~={django[0]}.{django[1]}.0  # as it is here"
    yield f"celery{extra}~={celery[0]}.{celery[1]}.0  # as it is here{why}"
    if redis_broker and celery < (5, 5):  # later ones bound kombu themselves
        yield "kombu~=5.4.0  # this celery takes redis-py below 6, which the newest kombu refuses"
    if django < (5, 2):
        yield "django-redis<7  # 7 wants Django 5.2"
    if django >= (6, 1):
        yield "# django-celery-beat 2.9 wants Django below 6.1: there is none for this Django"
    if gunicorn:
        yield f"gunicorn>={'.'.join(map(str, LEAST_GUNICORN))}  # earlier ones lose requests at SIGTERM"
