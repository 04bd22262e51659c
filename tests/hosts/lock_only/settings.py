"""The cache is local memory; Redis holds the lock and nothing else."""

from tests.hosts.base import *  # noqa: F403
from tests.hosts.base import INSTALLED_APPS, REDIS_URL, VAR

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "lock": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS_URL},
}
# A broker that is no Redis, and needs no server: messages are files.
FOLDERS = {name: str(VAR / "messages") for name in ("data_folder_in", "data_folder_out")}
(VAR / "messages").mkdir(exist_ok=True)
CELERY_BROKER_URL = "filesystem://"
CELERY_BROKER_TRANSPORT_OPTIONS = {**FOLDERS, "control_folder": str(VAR / "control")}

# cutover
INSTALLED_APPS = [*INSTALLED_APPS, "django_celery_beat", "django_prodserver", "cutover"]
APP = "tests.hosts.lock_only.celery.app"
CELERY_BEAT_SCHEDULER = "cutover.schedulers:CodeScheduler"
CUTOVER = {"APP": APP, "CODE_SCHEDULE": "tests.hosts.schedule.beat_schedule", "REDIS_ALIAS": "lock"}
PRODUCTION_PROCESSES = {
    "worker": {"BACKEND": "cutover.backends.CeleryWorker", "APP": APP},
    "beat": {"BACKEND": "cutover.backends.DatabaseBeat", "APP": APP},
    "legacy-beat": {"BACKEND": "cutover.backends.CodeBeat", "APP": APP},
}
# end
