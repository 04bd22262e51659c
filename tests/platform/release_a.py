"""Settings of release A, before anybody heard of cutover: stock Celery, neither rows nor prodserver."""

from prayer_room_api.settings import *  # noqa: F403
from prayer_room_api.settings import INSTALLED_APPS

INSTALLED_APPS = [app for app in INSTALLED_APPS if app not in {"cutover", "django_celery_beat", "django_prodserver"}]
CELERY_BEAT_SCHEDULER = "celery.beat:PersistentScheduler"
del PRODUCTION_PROCESSES, CUTOVER  # noqa: F821
MIGRATION_MODULES = {"prayer_room_api": "tests.platform.release_a_migrations"}
