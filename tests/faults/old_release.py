"""The old release: its code schedule where Celery has it, sent by stock beat. Named in ``CELERY_IMPORTS``."""

from celery import current_app

from .schedule import watched

current_app.conf.beat_schedule = watched
