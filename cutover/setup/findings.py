"""What there is in this project, as far as it can be seen from here: app, Redis, database, processes."""

import importlib.metadata
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from celery import Celery, current_app
from django.conf import settings
from django.db import router
from django.utils.module_loading import import_string

from cutover import conf, web
from cutover.models import Slot
from cutover.schedules import project
from cutover.setup import commands, own, pins, releases, sources
from cutover.setup.commands import Kind, Process
from cutover.setup.sources import AppSource

FROM_ENVIRONMENT: Final = 'os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")'
OF_REDIS: Final = ("redis://", "rediss://")


class Project:
    """The project whose settings this process has; ``root`` is where its commands are typed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.where = sources.settings_file()
        self.package = settings.SETTINGS_MODULE.split(".")[0]
        found = sources.apps(self.where.file, self.where.module.__name__)
        current = current_app._get_current_object()  # before another is imported, which becomes that
        typed = self._typed()
        self.source = self._chosen(found, typed, current)
        self.loaded_app = "" if self.named_app or self.source else sources.loaded(self.where.root, typed or current)
        self.others = [one.path for one in found if one is not self.source] if not self.named_app else []

    def _chosen(self, found: list[AppSource], typed: Celery | None, current: Celery) -> AppSource | None:
        """The named app; else the one that the Procfile names, or that this process has as current; or the first."""
        if self.named_app:
            return next((one for one in found if one.path == self.named_app), None)
        is_wanted = (one for one in found if sources.imported(one.path) is (typed or current))
        return next(is_wanted, None if typed else next(iter(found), None))

    def _typed(self) -> Celery | None:
        """The app that the lines with a beat name, else any line; None where there are several."""
        lines = [line for line in self.lines if line.has_beat and line.app] or [line for line in self.lines if line.app]
        apps = [app for app in map(sources.typed, sorted({line.app for line in lines})) if app is not None]
        return apps[0] if apps and all(app is apps[0] for app in apps) else None

    # --- settings

    def given(self, name: str) -> dict[str, Any]:
        """A dictionary of the settings; empty where there is none."""
        found = getattr(settings, name, None)
        return dict(found) if isinstance(found, dict) else {}

    def is_list(self, name: str) -> bool:
        """Whether the setting is a plain list where it is written, and nothing that makes one."""
        owner = self.where.owner
        return not self.where.keeper and isinstance(getattr(owner or settings, name, None), list | tuple)

    def relative(self, file: Path) -> str:
        """The file as it is named where commands are typed."""
        return os.path.relpath(file.resolve(), self.root.resolve())

    @property
    def manage(self) -> tuple[str, ...]:
        """What Python is given: the ``manage.py`` by which this command was typed, else the one here, else Django."""
        typed = Path(sys.argv[0])
        if typed.suffix == ".py" and typed.name != "__main__.py" and typed.is_file():
            return (self.relative(typed),)
        return releases.MANAGE if (self.root / releases.MANAGE[0]).exists() else releases.OF_DJANGO

    # --- the Celery app

    @property
    def named_app(self) -> str:
        """``CUTOVER["APP"]``, where it is set already."""
        return str(self.given("CUTOVER").get("APP") or "")

    @property
    def app_path(self) -> str:
        """The dotted path of the app; of one that is to be made, where there is none."""
        found = self.source.path if self.source else self.loaded_app
        return self.named_app or found or f"{self.new_module}.app"

    @property
    def new_module(self) -> str:
        """The module of an app that is to be made, in the settings' package. Beside a lone `settings.py` there is none:
        a folder of that name would take its place, and a `celery.py` that of celery.
        """
        return f"{self.package}.celery" if (self.where.root / self.package).is_dir() else "celery_app"

    @property
    def has_app(self) -> bool:
        """Whether there is one."""
        return bool(self.named_app or self.source or self.loaded_app)

    @cached_property
    def app(self) -> Celery | None:
        """The app, where it can be imported."""
        return sources.imported(self.app_path) if self.has_app else None

    @property
    def app_reads_settings(self) -> bool:
        """Whether the app is configured by Django's settings; so will be one that is to be made."""
        source = self.app._config_source if self.app else settings
        return source is settings or source in ("django.conf:settings", "django.conf.settings")

    def celery_name(self, name: str) -> str:
        """One of celery's settings as Django's settings have it: under the app's namespace, or by its old name."""
        namespace = str(self.app.namespace or "").rstrip("_") if self.app else "CELERY"  # celery adds its own, once
        old = {"BROKER_URL": "BROKER_URL"}.get(name, f"CELERY{name}")
        return f"{namespace}_{name}" if namespace else old

    @cached_property
    def schedule(self) -> dict[str, Any]:
        """The code schedule as this process has it."""
        if self.app:
            with suppress(Exception):  # the project's own modules, and ours before all is there; `check` says what
                project.load_tasks(self.app)
        return dict(self.app.conf.beat_schedule or {}) if self.app else {}

    # --- servers

    def redis_alias(self) -> str | None:
        """The django-redis alias that the lease is to use: ``default`` before others; None where there is none."""
        from django_redis.cache import RedisCache

        def is_ours(cache: dict[str, Any]) -> bool:
            try:
                return issubclass(import_string(cache["BACKEND"]), RedisCache)
            except (ImportError, KeyError, TypeError):
                return False

        aliases = [alias for alias, cache in settings.CACHES.items() if is_ours(cache)]
        return "default" if "default" in aliases else next(iter(aliases), None)

    def redis_url(self) -> str:
        """An expression: a setting that holds a URL of Redis, else the environment's variable. Never the URL itself."""
        for name in ("REDIS_URL", self.celery_name("BROKER_URL")):
            if str(getattr(settings, name, "")).startswith(OF_REDIS) and self.where.spelt(name):
                return self.where.spelt(name)
        for alias, cache in settings.CACHES.items():
            if str(cache.get("LOCATION", "")).startswith(OF_REDIS) and self.where.spelt("CACHES"):
                return f'{self.where.spelt("CACHES")}["{alias}"]["LOCATION"]'
        return FROM_ENVIRONMENT

    def database(self) -> str:
        """The alias to which the routers send the ledger."""
        try:
            return router.db_for_write(Slot)
        except Exception:  # a router of the project's own
            return "default"

    def has_redis_broker(self) -> bool:
        """Whether messages go through Redis."""
        return not self.app or str(self.app.conf.broker_url or "").startswith(("redis", "sentinel"))

    # --- processes

    @cached_property
    def lines(self) -> list[Process]:
        """Those of the Procfile as they are there."""
        file = self.root / "Procfile"
        return commands.read(sources.text(file)) if file.exists() else []

    @cached_property
    def processes(self) -> list[Process]:
        """Those of the Procfile; where it has no worker or beat, or there is none, as the stock commands would be."""
        found = [self._of_another(line) or line for line in self.lines]
        kinds = {process.kind for process in found} | {Kind.BEAT for process in found if process.has_beat}
        app = ":".join(self.app_path.rsplit(".", 1))
        celery = f"{commands.beside(commands.interpreter_of(found), 'celery')} -A {app}"
        stock = {Kind.WORKER: f"{celery} worker -l INFO", Kind.BEAT: f"{celery} beat -l INFO"}
        if not found:
            stock = {Kind.WEB: f"gunicorn {shlex.quote(self._wsgi())}", **stock} if not self.is_asgi else stock
        names = {process.name for process in found}
        missing = [kind for kind in stock if kind not in kinds and kind.value not in names]
        return [*(commands.process(kind.value, stock[kind]) for kind in missing if kind is Kind.WEB), *found] + [
            commands.process(kind.value, stock[kind]) for kind in missing if kind is not Kind.WEB
        ]

    def _of_another(self, line: Process) -> Process | None:
        """A line of another app than ours, as one that stays as it is, with its beat as it sends today."""
        app = sources.typed(line.app) if self.app and line.app else None
        return None if app is None or app is self.app else commands.kept(line, str(app.conf.beat_scheduler))

    @cached_property
    def scheduler(self) -> str:
        """The scheduler by which its beat sends, as a command or the app names it."""
        named = [commands.scheduler_of(process) for process in self.processes if process.has_beat]
        return next(filter(None, named), str(self.app.conf.beat_scheduler) if self.app else "")

    @cached_property
    def own_scheduler(self) -> own.OwnScheduler | None:
        """That scheduler, where it is the project's own and knows no lease."""
        return own.of(own.class_of(self.scheduler), self.where.root) if self.scheduler else None

    @cached_property
    def rows_by(self) -> str:
        """The scheduler without the lease by which the rows are sent already, by its name; empty for none."""
        kind = own.class_of(self.scheduler) if self.scheduler else None
        if kind is None:  # such as django-celery-beat's, where that is to be installed yet
            if self.scheduler in ("django", commands.DATABASE_SCHEDULER):
                return commands.STOCK_OF_ROWS
            return self.scheduler if "django_celery_beat" in self.scheduler else ""
        if not own.sends_rows(kind):
            return ""
        is_named = not own.is_leased(kind) and self.scheduler != "django"  # django-celery-beat's own alias
        return self.scheduler if is_named else commands.STOCK_OF_ROWS

    @property
    def foreign_scheduler(self) -> str:
        """That scheduler, where it is neither a stock one nor the project's own nor under the lease; empty for none."""
        if not self.scheduler or self.rows_by or self.own_scheduler or self.scheduler.startswith("cutover."):
            return ""
        kind = own.class_of(self.scheduler)
        is_known = kind is not None and (own.is_leased(kind) or kind.__module__ == "celery.beat")
        return "" if is_known else self.scheduler

    @property
    def is_asgi(self) -> bool:
        """Whether the settings name an ASGI application and no other."""
        asgi, wsgi = (getattr(settings, f"{kind}_APPLICATION", None) for kind in ("ASGI", "WSGI"))
        return bool(asgi and not wsgi)

    def can_be_served(self, process: Process) -> bool:
        """Whether the backend would serve what this gunicorn serves."""
        served = process.served if ":" in process.served else f"{process.served}:application"
        return not process.strange and served == self._wsgi()

    def _wsgi(self) -> str:
        site = getattr(settings, "WSGI_APPLICATION", None)
        return ":".join(site.rsplit(".", 1)) if site else "django.core.wsgi:get_wsgi_application()"

    # --- what cannot be known

    def notes(self) -> Iterator[str]:
        """For comments: what a person has to look at."""
        if self.others:
            yield f"APP is to be the app whose beat sends; there are others, too: {', '.join(self.others)}."
        if self.foreign_scheduler:
            yield f"The beat is of {self.foreign_scheduler}. Beats under the lease send what the code or the rows have:"
            yield "of what it alone keeps (RedBeat's entries in Redis) they know nothing: bring that there first."
        given = self.given("CUTOVER")
        if self.app and not self.schedule and "CODE_SCHEDULE" not in given:
            yield "The app has no beat_schedule here. Where it is a mapping that only beat is given, let CUTOVER have"
            yield '"CODE_SCHEDULE": its dotted path.'
        celery = importlib.metadata.version("celery")
        if pins.version(celery) < pins.LEAST_MARKING_CELERY and "SENT_BY_BEAT_ALONE" not in given:
            tasks = sorted({str(entry.get("task")) for entry in self.schedule.values()})
            yield f'celery {celery} marks no message of a beat: let CUTOVER have "SENT_BY_BEAT_ALONE", a list of'
            yield f"those tasks that nothing but beat sends, of these: {', '.join(tasks) or '(none are seen here)'}."
        if not given and (others := self.where.others()):
            yield f"This is for {self.where.name}. There are also: {', '.join(others)}."
            yield "What all processes need goes into what they share: see docs/install.md."
        if self.has_app and not (self.root / "Procfile").exists() and not self.given("PRODUCTION_PROCESSES"):
            yield "There is no Procfile here, and units, compose files and scripts are not read: bring the options that"
            yield "yours have into ARGS, such as queues, concurrency and the beat's schedule file."
        if self.manage == releases.OF_DJANGO and not given:
            yield "There is no manage.py here: `python -m django` wants DJANGO_SETTINGS_MODULE in each process's"
            yield "environment, and the project where Python finds it (installed, or by PYTHONPATH)."
        if self.is_asgi and not self.given("CUTOVER") and not (self.root / "Procfile").exists():
            yield "The web process serves ASGI_APPLICATION: it keeps its command in every release."
        unread = [line.name for line in self.lines if line.kind is Kind.OTHER and line.name != releases.RELEASE]
        if unread and not any(line.has_beat for line in self.lines) and any(one.has_beat for one in self.processes):
            yield f"`beat` is added, for no line is seen to start one. Does one of these: {', '.join(unread)}?"
            yield "Then take `beat` out, for two that know no lease send everything twice; or have that line start"
            yield "celery, and type this again."
        for process in self.processes:
            if process.app and process.kind is Kind.OTHER:
                yield f"`{process.name}` is of another app, {process.app}, and keeps its command in every release."
            elif unseen := commands.unseen(process):
                kinds = " and a ".join(unseen)
                yield f"`{process.name}` seems to start a {kinds} in a way that is not understood: have it start celery"
                yield "alone, not in a shell's quotes or beside another command, and type this again."
            if process.kind is Kind.WEB and not self.can_be_served(process):
                why = process.strange or "it does not serve WSGI_APPLICATION"
                yield f"`{process.name}` keeps its command in every release ({why}); gunicorn.conf.py has its one line."
                if (worker := process.args.get("worker-class", "sync")) not in web.GRACEFUL_WORKERS:
                    yield f"{worker} may close kept connections at once when it ends: see docs/web.md."
            elif process.name == "web" and process.kind is Kind.OTHER and "prodserver" not in process.command:
                yield "`web` keeps its command in every release: it is no gunicorn, and ends in its own way."
            elif process.name == releases.RELEASE and self.database() not in ("default", *process.command.split()):
                yield f"Let `{process.name}` also run `{conf.migrate(self.database())}`: the ledger's tables go there."
        database = settings.DATABASES.get(self.database(), {})
        options = database.get("OPTIONS", {})
        if database.get("ENGINE", "").endswith("sqlite3") and options.get("transaction_mode") != "IMMEDIATE":
            yield "SQLite takes one writer at a time: let this database's OPTIONS have"
            yield '{"transaction_mode": "IMMEDIATE", "timeout": 20}.'
