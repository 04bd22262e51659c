"""The host's own settings, on servers that the test run starts itself and on no others.

What the caller's environment says of Redis and the database does not count here: tests empty both.
"""

import json
import os

import tests.support.mysql_driver  # noqa: F401
from demo.services import HOST, free_port

os.environ.setdefault("SECRET_KEY", "a-key-for-test-runs-only-of-more-than-fifty-characters-in-all")
# Known before the server runs: whoever needs Redis asks for the fixture `valkey`, which starts it there.
VALKEY_PORT = free_port()
os.environ["REDIS_URL"] = f"redis://{HOST}:{VALKEY_PORT}/0"
os.environ.pop("CELERY_BROKER_URL", None)
os.environ.pop("DATABASE_URL", None)

from prayer_room_api.settings import *  # noqa: E402, F403
from prayer_room_api.settings import DATABASES  # noqa: E402

# The fixture `django_db_setup` names the databases. SQLite's is a file, not memory: threads are to meet at its locks as
# processes do. The fixtures `postgres` and `mariadb` start the servers and say where they are.
DATABASES["postgres"] = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": "postgres",
    # Some sites have the server bind parameters, and prepare statements: it takes less then.
    "OPTIONS": json.loads(os.environ.get("POSTGRES_OPTIONS", "{}")),
    "USER": "postgres",
    "HOST": "",
}
DATABASES["mariadb"] = {
    "ENGINE": "django.db.backends.mysql",
    "NAME": "mariadb",
    "USER": "root",
    "HOST": "",
}
# People log in here by the hundred; how slowly a password is hashed is Django's.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
