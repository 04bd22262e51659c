"""A beat's start: with settings by which it could never send it ends at once, with one line.

What can be fixed while it waits is waited for: servers that are away, tables that are not there yet.
"""

from contextlib import suppress
from typing import Any

from celery import Celery
from celery.utils.imports import load_extension_class_names
from kombu.utils.imports import symbol_by_name

from cutover import conf
from cutover.election.connection import redis_client
from cutover.errors import ConfigurationError, LeaseUnavailable
from cutover.ledger.database import connection_of
from cutover.schedules import project
from cutover.types import Side


def require_settings(app: Celery, side: Side) -> None:
    """Raises ConfigurationError for settings with which no beat of ``side`` can ever send."""
    config = conf.load()
    connection_of(config.database)
    with suppress(LeaseUnavailable):
        redis_client(config)
    if side is Side.CODE:
        project.code_schedule(app, config)


def require_embedded(instance: Any, options: dict[str, Any], **_: Any) -> None:
    """End a worker whose embedded beat (``-B``) could never send: it would run on without one. For ``celeryd_init``."""
    if not options.get("beat"):
        return
    named = options.get("scheduler") or instance.app.conf.beat_scheduler
    try:
        kind = symbol_by_name(named, aliases=dict(load_extension_class_names("celery.beat_schedulers")))
        getattr(kind, "require_startable", lambda app: None)(instance.app)
    except ConfigurationError as exc:
        raise SystemExit(str(exc)) from exc
    except Exception:  # whatever the project's own module raises, in beat's own process too, where celery says so
        return
