"""The prayer room: requests for prayer and praise, moderated and sent round by e-mail."""

from .celery import app as celery_app

__all__ = ["celery_app"]
