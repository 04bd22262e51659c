"""The cache is local memory; Redis holds the lock and nothing else."""

from tests.hosts.base import *  # noqa: F403
from tests.hosts.base import INSTALLED_APPS, REDIS_URL, VAR
from tests.hosts.schedule import beat_schedule

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "lock": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS_URL},
}
# A broker that is no Redis, and needs no server: messages are files.
FOLDERS = {name: str(VAR / "messages") for name in ("data_folder_in", "data_folder_out")}
(VAR / "messages").mkdir(exist_ok=True)
CELERY_BROKER_URL = "filesystem://"
CELERY_BROKER_TRANSPORT_OPTIONS = {**FOLDERS, "control_folder": str(VAR / "control")}

CELERY_BEAT_SCHEDULE = beat_schedule
INSTALLED_APPS = [*INSTALLED_APPS, "cutover"]
