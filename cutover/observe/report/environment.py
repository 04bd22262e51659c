"""What a report was made in: versions, and the settings that matter. Never a secret: of a URL its place alone."""

import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from importlib import metadata
from typing import Any, Final

import redis
from django.conf import settings
from django.db import connections

import cutover
from cutover.conf import Config
from cutover.errors import CutoverError
from cutover.ledger.database import outages
from cutover.phases.context import Context

PACKAGES: Final = ("Django", "celery", "kombu", "redis", "django-celery-beat", "django-prodserver")
NOT_SHOWN: Final = {"redis_url", "converters", "entries", "check_ins"}
"""Settings that may hold a secret, or are as long as the schedule."""
OF_CELERY: Final = ("timezone", "enable_utc", "beat_scheduler", "task_default_queue", "task_acks_late")
UNKNOWN: Final = "not known"


@dataclass(frozen=True, slots=True)
class Environment:
    """By name, each as text; what gave no answer is ``not known``. Versions are those of the process of the command."""

    versions: Mapping[str, str]
    settings: Mapping[str, str]


def read(context: Context) -> Environment:
    """Never raises for a server that is away."""
    versions = {"cutover": cutover.__version__, "Python": platform.python_version()}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    versions |= {"database server": _database(context), "Redis server": _redis(context)}
    config, app = context.config, context.app
    found = {f"CUTOVER[{f.name.upper()!r}]": _shown(config, f.name) for f in fields(Config) if f.name not in NOT_SHOWN}
    found["CUTOVER['REDIS_URL']"] = place(config.redis_url)
    found |= {f"celery {name}": str(app.conf.get(name)) for name in OF_CELERY}
    urls = app.conf.broker_url or ""
    found["celery broker_url"] = "; ".join(map(place, urls.split(";") if isinstance(urls, str) else map(str, urls)))
    found["TIME_ZONE"], found["USE_TZ"] = str(settings.TIME_ZONE), str(settings.USE_TZ)
    return Environment(versions, found)


def place(url: str) -> str:
    """Where a URL leads, without who asks, with what password and options; whatever characters these have. Pure."""
    scheme, separator, rest = url.strip().partition("://")
    if not separator:
        return url if url.replace(".", "").isalnum() else ""
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0].partition('#')[0]}"


def _shown(config: Config, name: str) -> str:
    value: Any = getattr(config, name)
    return ", ".join(sorted(value)) if isinstance(value, frozenset) else str(value)


def _database(context: Context) -> str:
    with suppress(CutoverError), outages(context.alias):
        connection = connections[context.alias]
        connection.ensure_connection()
        is_mariadb = getattr(connection, "mysql_is_mariadb", False) if connection.vendor == "mysql" else False
        version = ".".join(map(str, connection.get_database_version()))
        return f"{'MariaDB' if is_mariadb else connection.display_name} {version}"
    return UNKNOWN


def _redis(context: Context) -> str:
    with suppress(CutoverError, redis.RedisError, OSError):
        info = context.redis.info("server")
        if "valkey_version" in info:
            return f"Valkey {info['valkey_version']}"
        return f"Redis {info['redis_version']}"
    return UNKNOWN
