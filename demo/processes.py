"""Real processes, each in a group of its own, none of which outlives the ``with`` block that started it."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

import psutil
from honcho.process import Popen

from .waiting import wait_until
from .warden import Warden

ROOT = Path(__file__).resolve().parent.parent
INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOP_TIMEOUT_S = 30.0
"""How long a platform waits between its SIGTERM and its SIGKILL; Dokku's default."""


class Running(Protocol):
    """A process that was started: as much of ``subprocess.Popen`` as is used here."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, number: int) -> None: ...


class Process:
    """One running command, its output in a file.

    Once it and its children are known to be gone nothing is signalled any more: the id may be another's by then.
    """

    def __init__(self, name: str, running: Running, log: Path) -> None:
        self.name = name
        self.log = log
        self._gone = False
        self._popen = running

    @property
    def pid(self) -> int:
        """Of the command; at the same time the id of its process group."""
        return self._popen.pid

    @property
    def output(self) -> str:
        """All that the command has printed so far."""
        return self.log.read_text(errors="replace")

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._popen.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the command alone, as a platform does to the container's first process."""
        self._popen.send_signal(number)

    def send_to_group(self, number: signal.Signals) -> None:
        """Send a signal to the command and all of its children."""
        if not self._gone:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def wait(self, timeout_s: float | None = STOP_TIMEOUT_S) -> int:
        """Return the exit code; TimeoutError when there is none in time. None: wait for ever."""
        try:
            code = self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{self.name} ({self.pid}) did not end within {timeout_s:g} s") from error
        self.is_gone()
        return code

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """SIGTERM, SIGKILL to the whole group after ``timeout_s``; returns the exit code."""
        self.send(signal.SIGTERM)
        self.send_to_group(signal.SIGCONT)  # a frozen one does not hear the first
        try:
            return self.wait(timeout_s)
        except TimeoutError:
            return self.kill()

    def kill(self) -> int:
        """SIGKILL to the whole group; returns the exit code."""
        self.send_to_group(signal.SIGKILL)
        return self.wait()

    def is_gone(self) -> bool:
        """Whether neither the command nor any child in its group is alive."""
        self._gone = self._gone or (self.exit_code is not None and not any(_living_members(self.pid)))
        return self._gone


class Processes:
    """Starts processes; when its ``with`` block ends, in whatever way, so do they."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._started: list[Process] = []
        self._watched: list[Process] = []

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._warden = Warden()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _interruptions_held():
            self._forget_the_gone()
            for process in reversed(self._watched):
                process.send_to_group(signal.SIGCONT)
                process.send_to_group(signal.SIGTERM)
            for process in reversed(self._watched):
                self._end(process)
            self._forget_the_gone()
            self._warden.close()

    def start(
        self,
        name: str,
        command: str | Sequence[str],
        env: Mapping[str, str],
        fds: Sequence[int] = (),
        errors: BinaryIO | None = None,
        cwd: Path = ROOT,
    ) -> Process:
        """Start a command line, or a list of arguments, in ``cwd``; it inherits ``fds``. Its log is named after it.

        With ``errors``, what it writes to stderr goes into that file, and not into the log.
        """
        line = command if isinstance(command, str) else shlex.join(command)
        with _interruptions_held():
            log = self._log(name)
            with log.open("wb") as output:
                process = Process(name, self._run(line, env, output, errors or output, fds, cwd), log)
            self._warden.watch(process.pid)
            self._started.append(process)
            self._watched.append(process)
            self._forget_the_gone()
        return process

    def adopt(self, group: int) -> None:
        """Have a process group ended that someone else started and stops, should this process be killed."""
        self._warden.watch(group)

    def release(self, group: int) -> None:
        """Undo ``adopt``: the group has ended."""
        self._warden.forget(group)

    def survivors(self) -> list[Process]:
        """What is still alive of all that was ever started."""
        return [process for process in self._started if not process.is_gone()]

    def _run(
        self, line: str, env: Mapping[str, str], output: BinaryIO, errors: BinaryIO, fds: Sequence[int], cwd: Path
    ) -> Running:
        # exec: what gets the platform's signal is the command, not a shell in front of it.
        return Popen(f"exec {line}", env=env, cwd=cwd, stdout=output, stderr=errors, pass_fds=fds)

    def _forget_the_gone(self) -> None:
        for process in [process for process in self._watched if process.is_gone()]:
            self._warden.forget(process.pid)
            self._watched.remove(process)

    def _log(self, name: str) -> Path:
        number = sum(process.name == name for process in self._started) + 1
        return self._logs / (f"{name}.log" if number == 1 else f"{name}-{number}.log")

    def _end(self, process: Process) -> None:
        # The whole group: a shell ends at once, and what it ran, such as honcho, still has children of its own to end.
        with contextlib.suppress(TimeoutError):
            wait_until(process.is_gone, f"{process.name} and its group have ended", timeout_s=10)
        process.send_to_group(signal.SIGKILL)
        process.wait()
        wait_until(process.is_gone, f"no process of {process.name} is left")


def python(*arguments: str) -> list[str]:
    """A command line for the interpreter that runs this one."""
    return [sys.executable, *arguments]


def interrupt_on_termination() -> None:
    """Make SIGTERM and SIGHUP end the program as Ctrl-C does: through its ``with`` blocks."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in INTERRUPTIONS:
        signal.signal(number, interrupt)


@contextlib.contextmanager
def _interruptions_held() -> Iterator[None]:
    """Hold back Ctrl-C and its like: between a start and its note, and while cleaning up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    # Handlers of our own, not SIG_IGN or a mask: a child would inherit those.
    previous = {number: signal.signal(number, lambda number, frame: held.append(number)) for number in INTERRUPTIONS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    for number in held[:1]:
        signal.raise_signal(number)


def _living_members(group: int) -> Iterator[psutil.Process]:
    for candidate in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(candidate.pid) == group and candidate.status() != psutil.STATUS_ZOMBIE:
                yield candidate
