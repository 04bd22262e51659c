"""Settings of release A, before anybody heard of cutover: stock Celery, neither rows nor prodserver."""

from prayer_room_api.settings import *  # noqa: F403
from prayer_room_api.settings import INSTALLED_APPS

# It had another admin then, which knew nothing of these apps.
OTHERS = {"django.contrib.admin": "django.contrib.admin.apps.SimpleAdminConfig"}
NOT_YET = {"cutover", "django_celery_beat", "django_prodserver"}
INSTALLED_APPS = [OTHERS.get(app, app) for app in INSTALLED_APPS if app not in NOT_YET]
CELERY_BEAT_SCHEDULER = "celery.beat:PersistentScheduler"
del PRODUCTION_PROCESSES, CUTOVER  # noqa: F821
MIGRATION_MODULES = {"prayer_room_api": "tests.platform.release_a_migrations"}
