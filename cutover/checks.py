"""System checks: what is missing or contradictory in the project, said before anything starts. See docs/checks.md."""

import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

from celery import Celery
from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import connections, router
from django.utils.module_loading import import_string

from cutover import conf
from cutover.check_ids import CheckId
from cutover.conf import Config
from cutover.election import connection
from cutover.errors import ConfigurationError, CutoverError, LeaseUnavailable
from cutover.foreign import text_of
from cutover.schedules import project
from cutover.types import EntryName, Side

SCHEDULERS: Final = ("cutover.schedulers:CodeScheduler", "cutover.schedulers:DatabaseScheduler")
BACKENDS: Final = tuple(f"cutover.backends.{name}" for name in ("CeleryWorker", "CodeBeat", "DatabaseBeat"))
VENDORS: Final = ("postgresql", "sqlite", "mysql")
"""How Django calls the databases whose locks the fence knows; MariaDB is ``mysql``."""


@register("cutover")
def check_settings(**_: Any) -> list[CheckMessage]:
    """All of them. E001, ``CUTOVER`` cannot be read, comes alone: the others ask what it says."""
    try:
        config = conf.load()
    except ConfigurationError as exc:
        return [_error(CheckId.E001, str(exc), "See docs/settings.md.")]
    said = [*_apps(), *_ledger(config), *_lease(config), *_celery(config)]
    # Celery has these run before it imports tasks, and shows nobody what they say. What the others import may register
    # tasks, as in a worker; processes need all of celery's commands.
    return said if project.is_loading() else [*said, *_processes()]


@register("cutover", Tags.database)
def check_rows(databases: Collection[str] | None = None, **_: Any) -> list[CheckMessage]:
    """W010: what the code has and no row sends. Asked where Django asks the database: ``migrate``, ``--database``."""
    try:
        config = conf.load()
        if config.database not in (databases or ()) or not apps.is_installed("django_celery_beat"):
            return []
        from cutover.phases.context import Context
        from cutover.phases.evidence import sent

        context = Context(config)
        is_switched = context.ledger.fence.read().side is Side.DATABASE
        names = sent.without_row(context, declared=False) if is_switched else []
    except CutoverError:
        return []  # the other checks, `migrate` and `cutover status` say what is wrong
    if not names:
        return []
    message = f"Entries of the code schedule have no row, and the rows are what is sent: {', '.join(names)}."
    hint = "Add a row of that name in the admin (periodic tasks), or take the entry out of the code."
    return [Warning(message, hint=hint, id=CheckId.W010)]


@register("cutover", Tags.database)
def check_tables(databases: Collection[str] | None = None, **_: Any) -> list[CheckMessage]:
    """E012: a storage engine that cannot fence. Asked where Django asks the database."""
    try:
        config = conf.load()
        if config.database not in (databases or ()):
            return []
        from cutover.ledger.database import without_transactions

        tables = without_transactions(config.database)
    except CutoverError:
        return []  # the other checks, `migrate` and `cutover status` say what is wrong
    if not tables:
        return []
    message = f"Tables have a storage engine without transactions, so that nothing is fenced: {', '.join(tables)}."
    return [_error(CheckId.E012, message, f"ALTER TABLE {tables[0]} ENGINE=InnoDB; and so for each of them.")]


def _apps() -> Iterator[CheckMessage]:
    """E002, E003: the apps that this one works with."""
    if not apps.is_installed("django_celery_beat"):
        yield _error(
            CheckId.E002, "django_celery_beat is not in INSTALLED_APPS.", "Add it: its rows are the database side."
        )
    if getattr(settings, "PRODUCTION_PROCESSES", None) and not apps.is_installed("django_prodserver"):
        hint = "Add it: `manage.py prodserver` is its command."
        yield _error(CheckId.E003, "PRODUCTION_PROCESSES is set, but django_prodserver is not in INSTALLED_APPS.", hint)


def _ledger(config: Config) -> Iterator[CheckMessage]:
    """E004, E005, E011: the ledger's database."""
    if config.database not in settings.DATABASES:
        hint = f"Name one of DATABASES: {', '.join(sorted(settings.DATABASES))}."
        yield _error(CheckId.E004, f"CUTOVER['DATABASE'] = {config.database!r} is no database of DATABASES.", hint)
        return
    try:
        vendor, engine = connections[config.database].vendor, settings.DATABASES[config.database].get("ENGINE")
    except ImproperlyConfigured as exc:
        yield _error(CheckId.E004, f"DATABASES[{config.database!r}] cannot be used: {exc}", "Fix its ENGINE.")
        return
    if not connections[config.database].settings_dict["AUTOCOMMIT"]:
        hint = "Take it out: what is sent is decided by commits."
        yield _error(CheckId.E004, conf.NO_COMMITS.format(config.database), hint)
    if vendor not in VENDORS:
        hint = "Keep rows and ledger in PostgreSQL, SQLite, MySQL or MariaDB: see docs/support.md."
        message = f"DATABASES[{config.database!r}] has the engine {engine!r}: how it locks is not known to the fence."
        yield _error(CheckId.E011, message, hint)
    if not apps.is_installed("django_celery_beat"):
        return
    from django_celery_beat.models import PeriodicTask

    from cutover.models import Slot

    rows = router.db_for_write(PeriodicTask)
    if rows != config.database:
        hint = f"Set CUTOVER['DATABASE'] to {rows!r}, or route both apps to one database: a switch is one commit."
        yield _error(CheckId.E005, f"The rows are in {rows!r}, the ledger is in {config.database!r}.", hint)
    elif not router.allow_migrate_model(config.database, Slot):
        hint = "Let the router admit the app label `cutover` there."
        yield _error(CheckId.E005, f"DATABASE_ROUTERS keep the ledger's tables out of {config.database!r}.", hint)


def _lease(config: Config) -> Iterator[CheckMessage]:
    """E006: the Redis alias or URL."""
    try:
        connection.redis_client(config)
    except ConfigurationError as exc:
        hint = "Set CUTOVER['REDIS_URL'], or name a CACHES entry of django-redis in CUTOVER['REDIS_ALIAS']."
        yield _error(CheckId.E006, str(exc), hint)
    except LeaseUnavailable:
        return  # a server that is away is no mistake in the settings


def _celery(config: Config) -> Iterator[CheckMessage]:
    """E007, E008, W001 to W004: the Celery app."""
    try:
        app = project.celery_app(config)
    except ConfigurationError as exc:
        hint = "Or import the app in the project's __init__.py, as Celery's own pages say."
        yield _error(CheckId.E007, str(exc), hint)
        return
    yield from _schedule(app, config)
    if apps.is_installed("django_celery_beat"):  # else E002 says so, and what the guard imports is not there
        yield from _guard(app)
        yield from _scheduler(app)


def _scheduler(app: Celery) -> Iterator[CheckMessage]:
    """W002: what a bare ``celery beat`` would run, found as celery finds it."""
    from cutover.beats.scheduler import Leased

    named = app.conf.beat_scheduler
    hint = f"Set it to {' or '.join(map(repr, SCHEDULERS))}: then `celery beat` and `worker -B` are safe too."
    said = f"The Celery app's beat_scheduler is {named!r}"
    try:
        found = project.scheduler_class(named)
    except Exception as exc:  # whatever the project's own module raises
        yield Warning(f"{said}, which cannot be imported: {text_of(exc)}", hint=hint, id=CheckId.W002)
        return
    if not (isinstance(found, type) and issubclass(found, Leased)):
        yield Warning(f"{said}: a beat started by it sends without the lease.", hint=hint, id=CheckId.W002)


def _processes() -> Iterator[CheckMessage]:
    """E009, E010, W005: what ``manage.py prodserver`` is to start."""
    processes = getattr(settings, "PRODUCTION_PROCESSES", None) or {}
    if not isinstance(processes, Mapping):
        message = f"PRODUCTION_PROCESSES must be a dictionary of processes, not {type(processes).__name__}."
        yield _error(
            CheckId.E009, message, "Map each process's name to a dictionary, as django-prodserver's pages say."
        )
        return
    found: list[tuple[set[str], Any]] = []
    for name, process in processes.items():
        setting = f"PRODUCTION_PROCESSES[{name!r}]"
        path = process.get("BACKEND") if isinstance(process, Mapping) else None
        if not isinstance(path, str):
            yield _error(CheckId.E009, f"{setting} has no 'BACKEND'.", f"Give it one, such as {BACKENDS[0]!r}.")
            continue
        try:
            with warnings.catch_warnings(
                action="ignore"
            ):  # of a path that is going, which is django-prodserver's to say
                backend = import_string(path)
        except ImportError as exc:
            if _leads_nowhere(path, exc):
                hint = f"Fix it{conf.near(path, BACKENDS) or '; a backend is the dotted path of a class.'}"
                yield _error(CheckId.E009, f"{setting}['BACKEND'] = {path!r} cannot be imported: {exc}.", hint)
            continue  # else the server of a process is not installed here, where that is not started
        kinds = backend.__mro__ if isinstance(backend, type) else ()
        found.append(({kind.__name__ for kind in kinds}, process.get("ARGS")))
        if "CeleryProcess" in found[-1][0] and apps.is_installed("django_celery_beat"):
            try:
                backend(**process)
            except CommandError as exc:
                yield _error(CheckId.E010, str(exc), "`prodserver` refuses to start it: fix the setting.")
    if any("CeleryWorker" in names for names, _ in found) and not any(_is_beat(*each) for each in found):
        message = "PRODUCTION_PROCESSES has a Celery worker and no beat: nothing sends the periodic tasks."
        hint = f"Add one with the backend {BACKENDS[1]!r} or {BACKENDS[2]!r}. Right where another command starts beat."
        yield Warning(message, hint=hint, id=CheckId.W005)


def _leads_nowhere(path: str, exc: ImportError) -> bool:
    """Whether a dotted path names what does not exist, and not a module that needs one which is not installed."""
    if isinstance(exc, ModuleNotFoundError):
        return f"{path}.".startswith(f"{exc.name}.")
    return isinstance(exc.__cause__, AttributeError | ValueError)


def _is_beat(names: set[str], args: Any) -> bool:
    """Whether a backend of these classes' names, ours or django-prodserver's, runs a beat; ``-B`` is one, too."""
    embedded = isinstance(args, Mapping) and args.get("beat", False) is not False
    return embedded or any(name.endswith("Beat") for name in names)


def _schedule(app: Celery, config: Config) -> Iterator[CheckMessage]:
    with suppress(Exception):  # W004 says what they raise
        project.load_tasks(app)  # modules with tasks add entries, and handlers of `on_after_finalize`
    try:
        schedule = project.code_schedule(app, config)
    except ConfigurationError as exc:
        yield _error(CheckId.E008, str(exc), "See CODE_SCHEDULE in docs/settings.md.")
        return
    strange = sorted(name for name in config.entries if name not in schedule) if schedule else []
    if strange:
        named = ", ".join(f"{name!r}{conf.near(str(name), [*map(text_of, schedule)])}" for name in strange)
        message = f"CUTOVER['ENTRIES'] names what is no entry of the code schedule: {named}."
        yield Warning(message, hint="Right where it is the name of a row; else fix the name.", id=CheckId.W003)
    yield from _renamed(schedule, config)
    given: Mapping[Any, Any] = schedule  # the project's own: anything may stand in it
    due = {name: entry.get("schedule") if isinstance(entry, Mapping) else None for name, entry in given.items()}
    yield from _check_ins({text_of(name): each for name, each in due.items()}, config)


def _check_ins(schedules: Mapping[str, Any], config: Config) -> Iterator[CheckMessage]:
    """W011, W012: what would be told as one, and what Sentry's own integration tells already."""
    told = {name: where for name in schedules if (where := config.check_ins_of(EntryName(name)))}
    by_place: dict[str, list[str]] = {}
    for name, where in told.items():
        for place in filter(None, (where.ping_url, where.slug if where.sentry is not None else "")):
            by_place.setdefault(place, []).append(name)
    if twins := sorted({", ".join(map(repr, sorted(found))) for found in by_place.values() if len(found) > 1}):
        message = f"Entries share one ping URL, or one monitor of Sentry: {'; '.join(twins)}."
        hint = "Rename one, or give it a PING_URL of its own, or None, in CUTOVER['ENTRIES'][...]['CHECK_INS']."
        yield Warning(message, hint=hint, id=CheckId.W011)
    if any(where.sentry is not None for where in told.values()):
        from cutover.observe.check_ins.sentry import is_monitored

        ours = [name for name, where in told.items() if where.sentry is not None]
        if twice := sorted(name for name in ours if is_monitored(name, schedules[name])):
            named = ", ".join(map(repr, twice))
            message = f"Sentry's own integration (monitor_beat_tasks) checks in for {named}, and so ours does not."
            hint = "Turn off either that or CUTOVER['CHECK_INS']['SENTRY'], which tells of missed slots, too."
            yield Warning(message, hint=hint, id=CheckId.W012)


def _renamed(schedule: Collection[str], config: Config) -> Iterator[CheckMessage]:
    """W013: what was renamed to what there is not, and what has its old name still."""
    if unknown := sorted(new for new in config.renamed.values() if new not in schedule) if schedule else []:
        message = f"CUTOVER['RENAMED'] gives the names {', '.join(map(repr, unknown))}, which no entry of the code has."
        yield Warning(message, hint="Right where it is the name of a row; else fix the name.", id=CheckId.W013)
    if there := sorted(old for old in config.renamed if old in schedule):
        message = f"CUTOVER['RENAMED'] has the old names {', '.join(map(repr, there))}, and the code has them still."
        hint = "Rename the entry in the code too; what stays beside its new name is another entry."
        yield Warning(message, hint=hint, id=CheckId.W013)


def _guard(app: Celery) -> Iterator[CheckMessage]:
    from cutover.workers import coverage
    from cutover.workers.base_task import GuardedTask

    if not issubclass(app.Task, GuardedTask):
        hint = 'Celery("project", task_cls="cutover.guard.GuardedTask"), or derive the project\'s own base from it.'
        yield Warning("The Celery app's tasks run without the run guard.", hint=hint, id=CheckId.W001)
    try:
        project.load_tasks(app)
        found = coverage.gaps(app)
    except Exception as exc:  # whatever the project's own modules raise
        message = f"Whether every task has the run guard cannot be seen: {text_of(exc)}"
        yield Warning(message, hint="Let the Celery app's modules with tasks be imported.", id=CheckId.W004)
        return
    if found:
        hint = f"{coverage.REMEDY[0].upper()}{coverage.REMEDY[1:]}."
        yield Warning(f"Tasks run without the run guard: {coverage.spelt(found)}.", hint=hint, id=CheckId.W004)


def _error(found: CheckId, message: str, hint: str) -> Error:
    return Error(message, hint=hint, id=found)
