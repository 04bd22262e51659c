"""The host's settings with results that are kept, and that say when a task has started."""

from prayer_room_api.settings import *  # noqa: F403
from prayer_room_api.settings import CELERY_BROKER_URL

CELERY_TASK_TRACK_STARTED = True
CELERY_RESULT_BACKEND = CELERY_BROKER_URL
CELERY_TASK_IGNORE_RESULT = False
