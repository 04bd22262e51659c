"""Settings as classes, one for each environment."""

from cbs import BaseSettings, env

from tests.hosts import base
from tests.hosts.schedule import beat_schedule


class Settings(BaseSettings):
    """Everywhere."""

    SECRET_KEY = base.SECRET_KEY
    ROOT_URLCONF = base.ROOT_URLCONF
    DEFAULT_AUTO_FIELD = base.DEFAULT_AUTO_FIELD
    USE_TZ = True
    TIME_ZONE = env("Europe/London")
    DATABASES = base.DATABASES
    CACHES = base.CACHES
    CELERY_BROKER_URL = base.REDIS_URL
    CELERY_IMPORTS = base.CELERY_IMPORTS
    CELERY_TASK_IGNORE_RESULT = True
    CELERY_RESULT_EXPIRES = None
    CELERY_WORKER_CONCURRENCY = 1
    CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
    CELERY_BEAT_SCHEDULE_FILENAME = base.CELERY_BEAT_SCHEDULE_FILENAME

    def CELERY_TIMEZONE(self) -> str:
        return self.TIME_ZONE

    CELERY_BEAT_SCHEDULE = beat_schedule
    INSTALLED_APPS = [*base.INSTALLED_APPS, "cutover"]


__getattr__, __dir__ = BaseSettings.use()
