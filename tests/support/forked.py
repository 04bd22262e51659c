"""The server behind ``forkserver``: imports packages, then forks commands, which return from ``serve`` as such.

Of the project, its settings and its tests nothing is imported, but for ``manage.py cutover``: the first one in an
environment has a site prepared, a fork that has set up Django there and forks this command and those that follow. A
site that needs more than memory for that, an open file, a thread or a line of output, is no site to fork from.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import socket
import sys
import tempfile
import threading
import zoneinfo
from pathlib import Path
from typing import Any

from demo.processes import ROOT

PACKAGES = (
    *("celery.bin.celery", "celery.app.task", "celery.concurrency.prefork", "celery.worker.consumer"),
    *("kombu.transport.redis", "redis", "django_redis.client.sharded", "structlog", "psycopg", "cron_descriptor"),
    *("django.core.management.commands.check", "django.db.migrations.executor", "django.conf.urls"),
    *("celery.beat", "crontab", "environ", "kombu.matcher", "kombu.pidbox", "whitenoise.base"),
    *("django.contrib.admin.templatetags.base", "django.db.backends.sqlite3.base", "django.template.defaulttags"),
    *("requests", "docutils.parsers.rst.roles", "docutils.languages.en", "django.contrib.admindocs.utils"),
    *("django.contrib.postgres.fields", "django.db.backends.postgresql.base", "django.views.debug"),
    *("django.contrib.auth.hashers", "django.contrib.auth.password_validation", "django.contrib.auth.checks"),
    *("django.contrib.sessions.middleware", "django.contrib.messages.middleware", "django.middleware.security"),
    *("django.contrib.staticfiles.storage", "django.core.management.commands.migrate", "django_redis.cache"),
    *("celery.fixups.django", "celery.loaders.app", "celery.app.amqp", "celery.backends.redis", "celery.app.control"),
    *("celery.apps.worker", "celery.apps.beat", "celery.worker.strategy", "smtplib", "urllib.request"),
)
"""What every command imports and what looks at no settings meanwhile; what is not installed is passed over."""
SETTINGS = "prayer_room_api.settings"
"""What ``manage.py`` takes where the environment names no other."""
PREPARED = ["manage.py", "cutover"]
KEPT_SITES = 3


class Sites:
    """The prepared sites, by their environment; the last few are kept."""

    def __init__(self) -> None:
        self._channels: dict[str, socket.socket | None] = {}

    def known(self, env: dict[str, str]) -> bool:
        """Whether one was prepared, be it in vain."""
        return json.dumps(env) in self._channels

    def add(self, env: dict[str, str], channel: socket.socket) -> None:
        """Wait until a new one is prepared."""
        while len(self._channels) >= KEPT_SITES:
            self._close(self._channels.pop(next(iter(self._channels))))
        self._channels[json.dumps(env)] = channel if channel.recv(1) else None

    def take(self, env: dict[str, str], head: bytes, body: bytes, fds: list[int]) -> bool:
        """Hand a request on; False where there is no site to fork from."""
        if (channel := self._channels[json.dumps(env)]) is None:
            return False
        socket.send_fds(channel, [head], fds)
        channel.sendall(body)
        return True

    def forget(self) -> None:
        """They are another process's."""
        for channel in self._channels.values():
            self._close(channel)

    @staticmethod
    def _close(channel: socket.socket | None) -> None:
        if channel is not None:
            channel.close()


def serve(channel: socket.socket, *, prepares: bool = True) -> dict[str, Any] | None:
    """Fork as is asked for. Returns in each command what it is to be, in the server None at the end."""
    sites = Sites()
    while True:
        head, fds, _, _ = socket.recv_fds(channel, 4, 3)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not head:
            return None
        body = channel.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
        request = json.loads(body)
        env = request["env"]
        is_prepared = prepares and request["cwd"] == str(ROOT) and request["arguments"][:2] == PREPARED
        if is_prepared and not sites.known(env):
            ours, theirs = socket.socketpair()
            if not os.fork():
                for other in (channel, ours):
                    other.close()
                sites.forget()
                return serve_site(theirs, env, fds)
            theirs.close()
            sites.add(env, ours)
        if not (is_prepared and sites.take(env, head, body, fds)) and not os.fork():
            channel.close()
            sites.forget()
            return attend(request, *fds)
        for fd in fds:
            os.close(fd)


def serve_site(channel: socket.socket, env: dict[str, str], fds: list[int]) -> dict[str, Any] | None:
    """Set up Django in this environment, say that it is done, and serve; else end."""
    for fd in fds:
        os.close(fd)
    sys.argv = list(PREPARED)
    os.environ.clear()
    os.environ.update({"DJANGO_SETTINGS_MODULE": SETTINGS, **env})
    with tempfile.TemporaryFile() as said:
        usual = os.dup(1), os.dup(2)
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        before = set(Path("/dev/fd").iterdir())
        try:
            import django

            django.setup()
            importlib.import_module("cutover.management.commands.cutover")
            importlib.import_module(django.conf.settings.ROOT_URLCONF)
        except BaseException:  # the command itself will say it
            os._exit(1)
        is_more_than_memory = set(Path("/dev/fd").iterdir()) != before or threading.active_count() > 1
        if is_more_than_memory or os.fstat(said.fileno()).st_size:
            os._exit(1)
        for fd, number in zip(usual, (1, 2), strict=True):
            os.dup2(fd, number)
            os.close(fd)
    gc.freeze()
    channel.sendall(b".")
    return serve(channel, prepares=False)


def attend(request: dict[str, Any], output: int, errors: int, news: int) -> dict[str, Any]:
    """Returns in the command alone; its attendant ends here."""
    ready, go = os.pipe()
    if pid := os.fork():
        os.write(news, b"%d\n" % pid)
        os.write(go, b".")
        _, status = os.waitpid(pid, 0)
        os.write(news, b"%d\n" % os.waitstatus_to_exitcode(status))
        os._exit(0)
    os.setsid()
    os.read(ready, 1)  # from here on it can be signalled by its id
    os.dup2(output, 1)
    os.dup2(errors, 2)
    for fd in (output, errors, news, ready, go):
        os.close(fd)
    return request


def become(arguments: list[str], env: dict[str, str], cwd: str) -> None:
    """Be the interpreter with these arguments."""
    os.environ.clear()
    os.environ.update(env)
    if cwd != str(ROOT):
        os.chdir(cwd)
        # Of the project nothing was imported but this module, `demo` and `tests`, whose folders are looked for again.
        sys.path[:1] = [cwd, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


def end_at_once(status: object) -> None:
    """End as the interpreter does after ``SystemExit(status)``, but for freeing what the end of the process frees."""
    if status is not None and not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
    threading._shutdown()  # waits for the threads
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.exit(status)  # the interpreter knows what to say of it
    os._exit((status or 0) & 0xFF)


def main() -> None:
    """Import, serve, and be a command."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    for package in PACKAGES:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(package)
    # A field of django-celery-beat's reads them all, a third of what a command costs; what is alive is not read again.
    zones = [zoneinfo.ZoneInfo(name) for name in zoneinfo.available_timezones()]
    gc.freeze()
    if command := serve(channel):
        status: object = None
        try:
            become(**command)
        except SystemExit as ended:
            status = ended.code
        end_at_once(status)
    del zones
    os._exit(0)


if __name__ == "__main__":
    main()
