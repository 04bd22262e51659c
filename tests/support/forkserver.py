"""Starts ``python`` and ``celery`` commands by a fork of an interpreter that has imported the packages already.

Nine tenths of what a Django command costs is importing packages and the project, and a test run starts hundreds of
commands. What is forked is a process like any other: a session, an environment, arguments and output of its own. The
server is ``forked``, an interpreter without threads; each command has an attendant, the process between the two, that
waits for its end and writes the exit code into a pipe.
"""

import contextlib
import json
import os
import select
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Self

from demo.processes import ROOT, Processes, Running, python

SHELL = frozenset("$`\"'\\*?;&|<>(){}~\n")


class ForkServer:
    """The server's owner; it runs while the ``with`` block does."""

    def __enter__(self) -> Self:
        ours, theirs = socket.socketpair()
        with theirs:
            # As a command starts: none of the caller's own settings, output at once.
            env = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONUNBUFFERED": "1"}
            command = python("-m", "tests.support.forked", str(theirs.fileno()))
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
        self,
        words: Sequence[str],
        env: Mapping[str, str],
        output: BinaryIO,
        errors: BinaryIO | None = None,
        cwd: Path = ROOT,
    ) -> "Forked | None":
        """Start a command in ``cwd``, what it prints in these files; None where it is no command for this server.

        ``PYTHONPATH`` is a copy's of the project where ``cwd`` is; elsewhere it may bring other packages.
        """
        arguments = _arguments(list(words), env, is_copy=cwd != ROOT)
        if arguments is None:
            return None
        reading, writing = os.pipe()
        request = json.dumps({"arguments": arguments, "env": dict(env), "cwd": str(cwd)}).encode()
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
            with contextlib.suppress(ProcessLookupError):  # it has ended since
                os.kill(self.pid, number)


class ForkedProcesses(Processes):
    """Processes of which the server starts those that it can."""

    def __init__(self, logs: Path, server: ForkServer) -> None:
        super().__init__(logs)
        self._server = server

    def _run(
        self, line: str, env: Mapping[str, str], output: BinaryIO, errors: BinaryIO, fds: Sequence[int], cwd: Path
    ) -> Running:
        is_plain = not fds and not SHELL & set(line)
        forked = self._server.start(shlex.split(line), env, output, errors, cwd) if is_plain else None
        return forked or super()._run(line, env, output, errors, fds, cwd)


def _arguments(words: list[str], env: Mapping[str, str], *, is_copy: bool) -> list[str] | None:
    """What comes after ``python``; None where another interpreter is meant, or one with options of its own."""
    folder = Path(sys.executable).parent
    if env.get("PATH", "").split(os.pathsep)[0] == str(folder):
        words = [str(folder / words[0]), *words[1:]]
    known = {"PYTHONUNBUFFERED", *(["PYTHONPATH"] if is_copy else [])}
    if any(name.startswith("PYTHON") and name not in known for name in env):
        return None
    if words[0] == str(folder / "celery"):
        return ["-m", "celery", *words[1:]]
    if words[0] in (sys.executable, str(folder / "python")) and (words[1] == "-m" or words[1][0] != "-"):
        return words[1:]
    return None
