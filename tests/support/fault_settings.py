"""The host's settings, with what the faults change by environment: times, catching up, Sentinel, Redis redelivery."""

from prayer_room_api.settings import *  # noqa: F403
from prayer_room_api.settings import CACHES, CELERY_BROKER_TRANSPORT_OPTIONS, CUTOVER, DATABASES, env

if DATABASES["default"]["ENGINE"].endswith("mysql"):
    import tests.support.mysql_driver  # noqa: F401

CUTOVER["LEASE"] = env.float("CUTOVER_LEASE", 15.0)
CUTOVER["TAKEOVER_TIMEOUT"] = env.float("CUTOVER_TAKEOVER_TIMEOUT", 10.0)
CUTOVER["CATCH_UP"] = env.str("CUTOVER_CATCH_UP", "latest")
CUTOVER["CATCH_UP_MOST"] = env.int("CUTOVER_CATCH_UP_MOST", 100)
CUTOVER["RENAMED"] = env.dict("CUTOVER_RENAMED", default={})
CUTOVER["RESEND_AFTER"] = env.float("CUTOVER_RESEND_AFTER", 300.0)
# A worker that is killed with messages in hand: after how long the broker gives them to another.
CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"] = env.float("VISIBILITY_TIMEOUT", 3600.0)

if sentinels := env.list("SENTINELS", default=[]):
    DJANGO_REDIS_CONNECTION_FACTORY = "django_redis.pool.SentinelConnectionFactory"
    CACHES["default"] = {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"redis://{env.str('SENTINEL_SERVICE')}/0",
        "OPTIONS": {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "SENTINELS": [(host, int(port)) for host, port in (each.split(":") for each in sentinels)],
        },
    }
    # The factory is one for all aliases; this one goes to the broker's server, which no Sentinel watches.
    CACHES["throttle"] = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}

if ping_url := env.str("CHECK_INS_PING_URL", default=""):
    CUTOVER["CHECK_INS"] = {"PING_URL": ping_url}
    CUTOVER["ENTRIES"] = {"hourly-and-punctual": {"CATCH_UP_WINDOW": 2.0}}
