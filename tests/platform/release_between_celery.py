"""The Celery app of the release between A and B: B's own, with the schedule where a stock beat reads it."""

from prayer_room_api.celery import app
from tests.platform.schedule import beat_schedule

app.conf.beat_schedule = beat_schedule
