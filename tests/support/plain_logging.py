"""The host's settings in a project that has configured neither structlog nor logging: celery sets up the log."""

import structlog

from prayer_room_api.settings import *  # noqa: F403

structlog.reset_defaults()
LOGGING = {}
CELERY_WORKER_HIJACK_ROOT_LOGGER = True
