"""System checks: what is missing or contradictory in the project, said before anything starts. See docs/checks.md."""

from collections.abc import Iterator
from typing import Any, Final

from celery import Celery
from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import router

from cutover import conf
from cutover.conf import Config
from cutover.election import connection
from cutover.errors import ConfigurationError, LeaseUnavailable
from cutover.schedules import project

SCHEDULERS: Final = ("cutover.schedulers:CodeScheduler", "cutover.schedulers:DatabaseScheduler")


@register("cutover")
def check_settings(**_: Any) -> list[CheckMessage]:
    """All of them. E001, ``CUTOVER`` cannot be read, comes alone: the others ask what it says."""
    try:
        config = conf.load()
    except ConfigurationError as exc:
        return [_error("E001", str(exc), "See docs/settings.md.")]
    return [*_apps(), *_ledger(config), *_lease(config), *_celery(config)]


def _apps() -> Iterator[CheckMessage]:
    """E002, E003: the apps that this one works with."""
    if not apps.is_installed("django_celery_beat"):
        yield _error("E002", "django_celery_beat is not in INSTALLED_APPS.", "Add it: its rows are the database side.")
    if getattr(settings, "PRODUCTION_PROCESSES", None) and not apps.is_installed("django_prodserver"):
        hint = "Add it: `manage.py prodserver` is its command."
        yield _error("E003", "PRODUCTION_PROCESSES is set, but django_prodserver is not in INSTALLED_APPS.", hint)


def _ledger(config: Config) -> Iterator[CheckMessage]:
    """E004, E005: the ledger's database."""
    if config.database not in settings.DATABASES:
        hint = f"Name one of DATABASES: {', '.join(sorted(settings.DATABASES))}."
        yield _error("E004", f"CUTOVER['DATABASE'] = {config.database!r} is no database of DATABASES.", hint)
        return
    if not apps.is_installed("django_celery_beat"):
        return
    from django_celery_beat.models import PeriodicTask

    from cutover.models import Slot

    rows = router.db_for_write(PeriodicTask)
    if rows != config.database:
        hint = f"Set CUTOVER['DATABASE'] to {rows!r}, or route both apps to one database: a switch is one commit."
        yield _error("E005", f"The rows are in {rows!r}, the ledger is in {config.database!r}.", hint)
    elif not router.allow_migrate_model(config.database, Slot):
        hint = "Let the router admit the app label `cutover` there."
        yield _error("E005", f"DATABASE_ROUTERS keep the ledger's tables out of {config.database!r}.", hint)


def _lease(config: Config) -> Iterator[CheckMessage]:
    """E006: the Redis alias or URL."""
    try:
        connection.redis_client(config)
    except ConfigurationError as exc:
        hint = "Set CUTOVER['REDIS_URL'], or name a CACHES entry of django-redis in CUTOVER['REDIS_ALIAS']."
        yield _error("E006", str(exc), hint)
    except LeaseUnavailable:
        return  # a server that is away is no mistake in the settings


def _celery(config: Config) -> Iterator[CheckMessage]:
    """E007, E008, W001 to W004: the Celery app."""
    try:
        app = project.celery_app(config)
    except ConfigurationError as exc:
        hint = "Or import the app in the project's __init__.py, as Celery's own pages say."
        yield _error("E007", str(exc), hint)
        return
    yield from _schedule(app, config)
    if apps.is_installed("django_celery_beat"):  # else E002 says so, and what the guard imports is not there
        yield from _guard(app)
    scheduler = app.conf.beat_scheduler
    if not str(scheduler).startswith("cutover.") and not getattr(scheduler, "side", None):
        hint = f"Set it to {' or '.join(map(repr, SCHEDULERS))}: then `celery beat` and `worker -B` are safe too."
        message = f"The Celery app's beat_scheduler is {scheduler!r}: a beat started by it sends without the lease."
        yield Warning(message, hint=hint, id="cutover.W002")


def _schedule(app: Celery, config: Config) -> Iterator[CheckMessage]:
    try:
        schedule = project.code_schedule(app, config)
    except ConfigurationError as exc:
        yield _error("E008", str(exc), "See CODE_SCHEDULE in docs/settings.md.")
        return
    strange = sorted(name for name in config.entries if name not in schedule) if schedule else []
    if strange:
        message = f"CUTOVER['ENTRIES'] names {', '.join(map(repr, strange))}, no entry of the code schedule."
        yield Warning(message, hint="Right where it is the name of a row; else fix the name.", id="cutover.W003")


def _guard(app: Celery) -> Iterator[CheckMessage]:
    from cutover.workers import coverage
    from cutover.workers.run_guard import GuardedTask

    if not issubclass(app.Task, GuardedTask):
        hint = 'Celery("project", task_cls="cutover.guard.GuardedTask"), or derive the project\'s own base from it.'
        yield Warning("The Celery app's tasks run without the run guard.", hint=hint, id="cutover.W001")
    try:
        found = coverage.gaps(app) if project.load_tasks(app) else {}
    except Exception as exc:  # whatever the project's own modules raise
        message = f"Whether every task has the run guard cannot be seen: {exc}"
        yield Warning(message, hint="Let the Celery app's modules with tasks be imported.", id="cutover.W004")
        return
    if found:
        hint = f"{coverage.REMEDY[0].upper()}{coverage.REMEDY[1:]}."
        yield Warning(f"Tasks run without the run guard: {coverage.spelt(found)}.", hint=hint, id="cutover.W004")


def _error(number: str, message: str, hint: str) -> Error:
    return Error(message, hint=hint, id=f"cutover.{number}")
