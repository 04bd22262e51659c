"""The host's settings on a broker that gives an unacknowledged message to another worker after a second."""

from prayer_room_api.settings import *  # noqa: F403
from prayer_room_api.settings import CELERY_BROKER_TRANSPORT_OPTIONS

CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"] = 1
