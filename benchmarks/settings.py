"""The prayer room's settings, and what the harness sets beside them, by environment."""

import json
import os

import tests.support.mysql_driver  # noqa: F401
from benchmarks import entries
from prayer_room_api.settings import *  # noqa: F403
from prayer_room_api.settings import DATABASES, REDIS_URL

DATABASES["default"]["CONN_MAX_AGE"] = json.loads(os.environ.get("BENCH_CONN_MAX_AGE", "60"))

CELERY_IMPORTS = ["benchmarks.tasks"]
CELERY_TIMEZONE = os.environ.get("BENCH_ZONE", "UTC")
CELERY_REDBEAT_REDIS_URL = REDIS_URL
CELERY_REDBEAT_REDIS_OPTIONS = {}
vars().update({f"CELERY_{name}": value for name, value in json.loads(os.environ.get("BENCH_CELERY", "{}")).items()})
if os.environ.get("BENCH_IN_CODE"):
    CELERY_BEAT_SCHEDULE = entries.from_environment()

CUTOVER = {"APP": "prayer_room_api.celery.app", "LEASE": float(os.environ.get("BENCH_LEASE", "15"))}
