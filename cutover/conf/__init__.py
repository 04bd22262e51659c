"""The only reader of Django's settings: ``CUTOVER = {...}``, checked as a whole before anything starts."""

import os
from dataclasses import fields

import click
from django.apps import apps
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS

from cutover.conf.config import CatchUpRule, Config
from cutover.conf.validation import (
    ANSWER_TIMEOUT,
    LEAST_LEASE,
    LEAST_RESEND_AFTER,
    LEAST_TAKEOVER_TIMEOUT,
    POLL_EVERY,
    checked,
    near,
    require_consistent,
)
from cutover.errors import ConfigurationError

__all__ = [
    "ANSWER_TIMEOUT",
    "LEAST_LEASE",
    "LEAST_RESEND_AFTER",
    "LEAST_TAKEOVER_TIMEOUT",
    "NO_COMMITS",
    "POLL_EVERY",
    "RELEASE_VARIABLES",
    "CatchUpRule",
    "Config",
    "load",
    "migrate",
    "near",
    "require_apps",
    "require_apps_at_import",
]

NO_COMMITS = (
    "DATABASES[{!r}]['AUTOCOMMIT'] is off, so that no claim is ever committed: take it out, or let CUTOVER['DATABASE'] "
    "and the rows use another alias."
)
RELEASE_VARIABLES = ("CUTOVER_RELEASE", "GIT_REV", "HEROKU_SLUG_COMMIT", "SOURCE_VERSION")
"""Where the release label is looked for when ``RELEASE`` is not set: ours, Dokku's, Heroku's two."""
_RELEASE_LENGTH = 100
"""How much of a release label the ledger keeps."""


def load() -> Config:
    """Read ``settings.CUTOVER``.

    Raises ConfigurationError for an unknown name, a value of the wrong type, or durations that contradict each other.
    """
    values = checked("CUTOVER", getattr(settings, "CUTOVER", {}), {f.name.upper() for f in fields(Config)})
    if values.get("REDIS_URL") and "REDIS_ALIAS" in values:
        raise ConfigurationError("CUTOVER has both REDIS_ALIAS and REDIS_URL: leave out one, the lease has one Redis.")
    release = values.pop("RELEASE", next((os.environ[v] for v in RELEASE_VARIABLES if os.environ.get(v)), ""))
    config = Config(**{name.lower(): value for name, value in values.items()}, release=release[:_RELEASE_LENGTH])
    require_consistent(config)
    return config


def require_apps() -> None:
    """Raise ConfigurationError while an app is not installed whose tables ours refer to."""
    for app, holds in (("cutover", "the ledger"), ("django_celery_beat", "the database side")):
        if not apps.is_installed(app):
            raise ConfigurationError(f"{app} is not in INSTALLED_APPS: add it, for its rows are {holds}.")


def require_apps_at_import() -> None:
    """As ``require_apps``; a process that celery's own command started ends with that line, not with a traceback."""
    try:
        require_apps()
    except ConfigurationError as exc:
        if click.get_current_context(silent=True) is None:
            raise
        raise SystemExit(str(exc)) from exc


def migrate(alias: str, manage: str = "manage.py", python: str = "python") -> str:
    """The command that makes the tables in this database: without its alias Django makes those of the default one."""
    return f"{python} {manage} migrate" + (f" --database {alias}" if alias != DEFAULT_DB_ALIAS else "")
