"""A settings package, the admin, and a code schedule that stays where Celery has it."""

from .celery import app as celery_app

__all__ = ["celery_app"]
