"""Class-based settings (django-classy-settings), the Celery app imported by the project."""

from .celery import app as celery_app

__all__ = ["celery_app"]
