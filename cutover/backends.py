"""django-prodserver backends: gunicorn, a Celery worker, and a beat for each side; for 2.4.0 and 3.x alike.

On 3.x ``server`` and ``prodserver`` run one kind of backend and ``worker`` another; those for Celery are of both kinds.
"""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, NoReturn

import click
from celery.bin.beat import beat as beat_command
from celery.bin.celery import celery as celery_command
from celery.bin.worker import worker as worker_command
from django.conf import settings
from django.core.management.base import CommandError
from django_prodserver.backends import base

from cutover import conf, web
from cutover.errors import ConfigurationError
from cutover.schedules import project

GREENLETS: Final = ("--pool=gevent", "--pool=eventlet")
"""For these celery's command replaces parts of Python's library, which has to come before anything else is imported."""

ASGI_WORKERS: Final = {"UvicornWorker", "ASGIWorker"}
"""The classes of uvicorn's workers and of gunicorn's own ``asgi``, or what they derive from."""

_KINDS = dict.fromkeys((base.BaseServerBackend, getattr(base, "BaseWorkerBackend", base.BaseServerBackend)))


class CeleryProcess(*_KINDS):  # type: ignore[misc]
    """A Celery command as a prodserver process.

    ``APP`` is the dotted path of the Celery app. ``ARGS`` are the command's own long options without the dashes:
    True or None for a flag, False to leave it out, a list to repeat it. Anything else: CommandError, one line.
    """

    command: ClassVar[click.Command]
    fixed: ClassVar[Mapping[str, str]] = {}

    def __init__(self, **process: Any) -> None:
        self.setting = _setting(process)
        try:
            conf.require_apps()
            project.import_app(process.get("APP", ""), f"{self.setting}['APP']")
            self.database = conf.load().database
        except ConfigurationError as exc:
            raise CommandError(str(exc)) from exc
        self.app_path = ":".join(process["APP"].rsplit(".", 1))  # as celery spells it
        self.args = self._options(process.get("ARGS", {}))

    def start_server(self, *args: str) -> None:
        """Run the command in this process until it ends; its exit code is kept, its usage errors are one line.

        With a pool of greenlets celery's own command takes this process's place, under the same process id.
        """
        # Not `app.start`, which loses the exit code of a worker that failed; and by name, for else celery takes the app
        # from the environment's APP, where a platform may keep a word of its own.
        line = ["--app", self.app_path, str(self.command.name), *args]
        from cutover.ledger.database import connection_of  # its models need the app installed; a web process does not

        try:
            connection_of(self.database)
            if not set(GREENLETS).isdisjoint(args):
                _become_celery(line)
            code = celery_command.main(args=line, prog_name="celery", standalone_mode=False)
        except ConfigurationError as exc:
            raise CommandError(str(exc)) from exc
        except click.ClickException as exc:
            raise CommandError(f"celery {self.command.name}: {exc.format_message()}", returncode=exc.exit_code) from exc
        except click.exceptions.Abort:
            code = 1
        if code:
            raise SystemExit(code)

    def prep_server_args(self) -> list[str]:
        """The command line after the command's name."""
        return self.args

    def _options(self, args: Any) -> list[str]:
        setting = f"{self.setting}['ARGS']"
        if not isinstance(args, Mapping):
            raise CommandError(f"{setting} must be a dictionary of celery options, such as {{'loglevel': 'info'}}.")
        known = {o.lstrip("-"): p for p in self.command.params for o in (*p.opts, *p.secondary_opts) if o[:2] == "--"}
        rendered: list[str] = []
        for name, value in {**self.fixed, **args}.items():
            if name not in known:
                near = conf.near(str(name), known)
                raise CommandError(
                    f"{setting} has {name!r}, but celery {self.command.name} has no option --{name}{near}."
                )
            if name in self.fixed and not _derives(given := args.get(name, value), self.fixed[name]):
                whose = f"{type(self).__name__} runs under the lease with {self.fixed[name]!r}"
                remedy = f"name a class that derives from it, or leave {name!r} out"
                raise CommandError(f"{setting} has {name!r}: {given!r}, but {whose}; {remedy}.")
            rendered += _render(setting, name, value, is_flag=getattr(known[name], "is_flag", False))
        return rendered


def _become_celery(line: list[str]) -> NoReturn:
    """Have celery's command take this process's place, with what ``manage.py`` could import."""
    paths = filter(None, (sys.path[0], os.environ.get("PYTHONPATH")))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    command = [sys.executable, "-m", "celery", *line]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    os.execve(sys.executable, command, env)  # noqa: S606 - no shell is wanted


class CeleryWorker(CeleryProcess):
    """``celery worker``."""

    command = worker_command


class CodeBeat(CeleryProcess):
    """``celery beat`` on the code schedule, under the lease."""

    command = beat_command
    fixed: ClassVar[Mapping[str, str]] = {"scheduler": "cutover.schedulers:CodeScheduler"}


class DatabaseBeat(CeleryProcess):
    """``celery beat`` on django-celery-beat's rows, under the lease."""

    command = beat_command
    fixed: ClassVar[Mapping[str, str]] = {"scheduler": "cutover.schedulers:DatabaseScheduler"}


def _derives(given: Any, ours: str) -> bool:
    """Whether a scheduler is ours, or one of the project's own that derives from it; found as celery finds it."""
    if given == ours:
        return True
    try:
        found = project.scheduler_class(given)
    except Exception:  # whatever the project's own module raises
        return False
    return isinstance(found, type) and issubclass(found, project.scheduler_class(ours))


def _setting(process: Mapping[str, Any]) -> str:
    """How a process is named in the settings, which do not tell its backend."""
    configured = getattr(settings, "PRODUCTION_PROCESSES", {}).items()
    name = next((repr(name) for name, each in configured if each == process), "...")
    return f"PRODUCTION_PROCESSES[{name}]"


class Gunicorn(base.BaseServerBackend):
    """gunicorn, begun and ended so that a release loses no request: see ``cutover.web``.

    ``ARGS`` are gunicorn's own long options without the dashes: True or None for a flag, False to leave it out, a list
    to repeat it. They, the environment and a gunicorn.conf.py go before what is set here; a hook of theirs runs, too.
    gunicorn is not installed: CommandError.
    """

    def __init__(self, **process: Any) -> None:
        given = process.get("ARGS", {})
        if not isinstance(given, Mapping):
            raise CommandError("ARGS must be a dictionary of gunicorn options, such as {'bind': '0.0.0.0:8000'}.")
        self.args = [option for name, value in given.items() for option in _option(name, value)]

    def start_server(self, *args: str) -> None:
        """Serve ``WSGI_APPLICATION`` in this process until it ends."""
        try:
            from gunicorn.app.wsgiapp import WSGIApplication
        except ImportError as exc:
            least = ".".join(map(str, web.LEAST_GUNICORN))
            raise CommandError(f'gunicorn is not installed ({exc}): pip install "gunicorn>={least}"') from exc
        site = settings.WSGI_APPLICATION
        served = ":".join(site.rsplit(".", 1)) if site else "django.core.wsgi:get_wsgi_application()"

        class Site(WSGIApplication):  # type: ignore[misc]
            def init(self, parser: Any, opts: Any, _: Any) -> dict[str, Any]:
                super().init(parser, opts, [served])
                return {name: getattr(web, name) for name in web.__all__}

            def load_config(self) -> None:
                # Again at each SIGHUP; and whatever else reads the command line finds it as it was typed.
                typed, sys.argv = sys.argv, [sys.argv[0], *args]
                try:
                    super().load_config()
                finally:
                    sys.argv = typed
                for hook, ours in (("on_starting", _begin), ("when_ready", web.when_ready)):
                    self.cfg.set(hook, _both(ours, getattr(self.cfg, hook), getattr(web, hook)))

        Site("%(prog)s [OPTIONS]", prog=f"{sys.argv[0]} prodserver").run()

    def prep_server_args(self) -> list[str]:
        """The command line."""
        return self.args


def _begin(server: Any) -> None:
    """As ``web.on_starting``; end with 1 where the worker class serves ASGI: each request would be answered 500."""
    worker = server.cfg.worker_class
    serves_wsgi = getattr(worker, "CONFIG_KWARGS", {}).get("interface") == "wsgi"  # as uvicorn's can be told to
    if not serves_wsgi and not ASGI_WORKERS.isdisjoint(kind.__name__ for kind in worker.__mro__):
        server.log.error(
            "The worker class %s serves ASGI, and cutover.backends.Gunicorn serves WSGI_APPLICATION. Take sync or "
            "gthread (worker-class), or leave this process its own command. See docs/web.md.",
            server.cfg.worker_class_str,
        )
        sys.exit(1)
    web.on_starting(server)


def _both(
    ours: Callable[[Any], None], theirs: Callable[[Any], None], known: Callable[[Any], None]
) -> Callable[[Any], None]:
    """A hook of gunicorn that runs the project's own, where it has one beside the one ``known``, and ours."""
    if theirs is known:
        return ours

    def hook(server: Any) -> None:
        theirs(server)
        ours(server)

    return hook


def _option(name: str, value: Any) -> list[str]:
    if value is False:
        return []
    if value is None or value is True:
        return [f"--{name}"]
    return [f"--{name}={each}" for each in (value if isinstance(value, list | tuple) else [value])]


def _render(setting: str, name: str, value: Any, *, is_flag: bool) -> list[str]:
    if is_flag:
        if value is not None and not isinstance(value, bool):
            raise CommandError(f"{setting} has {name!r}: {value!r}, but --{name} takes no value: use True or False.")
        return [] if value is False else [f"--{name}"]
    if value is None or isinstance(value, bool):
        raise CommandError(f"{setting} has {name!r}: {value!r}, but --{name} takes a value.")
    values = value if isinstance(value, list | tuple) else [value]
    return [f"--{name}={v}" for v in values]
