"""Starts ``python`` and ``celery`` commands by a fork of an interpreter that has imported the packages already.

Four fifths of what a Django command costs is importing packages, and a test run starts hundreds of commands. What is
forked is a process like any other: a session, an environment, arguments and output of its own; of the project, its
settings and its tests nothing has been imported. The server is an interpreter without threads; each command has an
attendant, the process between the two, that waits for its end and writes the exit code into a pipe.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import shlex
import socket
import subprocess
import sys
import threading
import zoneinfo
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

from demo.processes import ROOT, Processes, Running, python

PACKAGES = (
    *("celery.bin.celery", "celery.app.task", "celery.concurrency.prefork", "celery.worker.consumer"),
    *("kombu.transport.redis", "redis", "django_redis.client.sharded", "structlog", "psycopg", "cron_descriptor"),
    *("django.core.management.commands.check", "django.db.migrations.executor", "django.conf.urls"),
    *("celery.beat", "crontab", "environ", "kombu.matcher", "kombu.pidbox", "whitenoise.base"),
    *("django.contrib.admin.templatetags.base", "django.db.backends.sqlite3.base", "django.template.defaulttags"),
)
"""What every command imports and what looks at no settings meanwhile."""
SHELL = frozenset("$`\"'\\*?;&|<>(){}~\n")


class ForkServer:
    """The server's owner; it runs while the ``with`` block does."""

    def __enter__(self) -> Self:
        ours, theirs = socket.socketpair()
        with theirs:
            # As a command starts: none of the caller's own settings, output at once.
            env = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONUNBUFFERED": "1"}
            command = python("-m", __name__, str(theirs.fileno()))
            self._server = subprocess.Popen(
                command, env=env, cwd=ROOT, pass_fds=[theirs.fileno()], start_new_session=True, stdin=subprocess.DEVNULL
            )
        self._channel = ours
        self._lock = threading.Lock()
        return self

    def __exit__(self, *raised: object) -> None:
        self._channel.close()
        self._server.wait()

    def start(
        self, words: Sequence[str], env: Mapping[str, str], output: BinaryIO, errors: BinaryIO | None = None
    ) -> "Forked | None":
        """Start a command, what it prints in these files; None where it is no command for this server."""
        arguments = _arguments(list(words), env)
        if arguments is None:
            return None
        reading, writing = os.pipe()
        request = json.dumps({"arguments": arguments, "env": dict(env)}).encode()
        files = [output.fileno(), (errors or output).fileno(), writing]
        try:
            with self._lock:
                socket.send_fds(self._channel, [len(request).to_bytes(4, "big")], files)
                self._channel.sendall(request)
        finally:
            os.close(writing)
        return Forked(words, reading)


class Forked(Running):
    """A forked command."""

    def __init__(self, words: Sequence[str], news: int) -> None:
        self._words = words
        self._news = os.fdopen(news, "rb")
        self.returncode: int | None = None
        self.pid = int(self._news.readline())

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._news], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self._words, timeout or 0)
            self.returncode = int(self._news.readline())
            self._news.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class ForkedProcesses(Processes):
    """Processes of which the server starts those that it can."""

    def __init__(self, logs: Path, server: ForkServer) -> None:
        super().__init__(logs)
        self._server = server

    def _run(
        self, line: str, env: Mapping[str, str], output: BinaryIO, errors: BinaryIO, fds: Sequence[int]
    ) -> Running:
        is_plain = not fds and not SHELL & set(line)
        forked = self._server.start(shlex.split(line), env, output, errors) if is_plain else None
        return forked or super()._run(line, env, output, errors, fds)


def _arguments(words: list[str], env: Mapping[str, str]) -> list[str] | None:
    """What comes after ``python``; None where another interpreter is meant, or one with options of its own."""
    folder = Path(sys.executable).parent
    if env.get("PATH", "").split(os.pathsep)[0] == str(folder):
        words = [str(folder / words[0]), *words[1:]]
    if any(name.startswith("PYTHON") and name != "PYTHONUNBUFFERED" for name in env):
        return None
    if words[0] == str(folder / "celery"):
        return ["-m", "celery", *words[1:]]
    if words[0] in (sys.executable, str(folder / "python")) and (words[1] == "-m" or words[1][0] != "-"):
        return words[1:]
    return None


def serve(channel: socket.socket) -> dict[str, Any] | None:
    """Fork as is asked for. Returns in each command what it is to be, in the server None at the end."""
    while True:
        head, (*fds,), _, _ = socket.recv_fds(channel, 4, 3)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not head:
            return None
        request = json.loads(channel.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))
        if not os.fork():
            channel.close()
            return attend(request, *fds)
        for fd in fds:
            os.close(fd)


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


def become(arguments: list[str], env: dict[str, str]) -> None:
    """Be the interpreter with these arguments."""
    os.environ.clear()
    os.environ.update(env)
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


def main() -> None:
    """Import, serve, and be a command."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    for package in PACKAGES:
        importlib.import_module(package)
    # A field of django-celery-beat's reads them all, a third of what a command costs; what is alive is not read again.
    zones = [zoneinfo.ZoneInfo(name) for name in zoneinfo.available_timezones()]
    gc.freeze()
    if command := serve(channel):
        become(**command)
    del zones


if __name__ == "__main__":
    main()
