"""The world that is played in: a living site of real processes with visitors, told of on the screen step by step."""

import datetime as dt
import secrets
import textwrap
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from .census import Monitor, read_runs, wait_until_quiet
from .handover import read_missed
from .load import Load
from .people import MODERATOR, PASSWORD_FROM
from .platform import Platform, Release
from .processes import Process, Processes
from .services import HOST, Valkey
from .site import Site
from .verdict import Evidence, Switch
from .waiting import wait_until

OLD, NEW = Path("Procfile.before"), Path("Procfile")
PAGE = "/admin/cutover/overview/"


class StoryFailed(Exception):
    """A step did not go as told."""


class World:
    """The old world, from the first visitor on; when the ``with`` block ends, it is gone.

    Raises StoryFailed, RuntimeError or TimeoutError at the first step that fails.
    """

    def __init__(self, processes: Processes, directory: Path, **settings: str) -> None:
        self.database = directory / "db.sqlite3"
        self._started = time.monotonic()
        self._valkey = Valkey(processes, directory / "valkey")
        self._password = secrets.token_urlsafe(9)
        # Over plain HTTP, for a browser on this machine: the platform listens on the loopback interface alone.
        by_hand = {"SECURE_SSL_REDIRECT": "0", PASSWORD_FROM: self._password}
        self.site = Site(processes, directory, self._valkey.url, settings=settings | by_hand)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._open_site(stack)
            self.platform = Platform(self.site.processes, self.site.env)
            stack.callback(self.platform.close)
            self.monitor = stack.enter_context(Monitor(HOST, self._valkey.port))
            self.old = self._start_old_world()
            self.load = stack.enter_context(Load(*self.platform.address))
            self._closing = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def _open_site(self, stack: ExitStack) -> None:
        self.step("A broker, a database, a few people")
        self._valkey.start()
        stack.callback(self._valkey.stop)
        self.expect(self.site.manage("migrate", "--noinput", "--verbosity=0"))
        self.expect(self.site.run("python", "-m", "demo.people"))

    def _start_old_world(self) -> Release:
        self.step(f"The old world ({OLD}): bare gunicorn and celery, the schedule in code")
        old = self.deploy("before", OLD)
        self.say("web, worker and beat are up; 40 requests a second begin")
        host, port = self.platform.address
        self.say(f"Look at it while it runs: http://{host}:{port}{PAGE}")
        self.say(f"Sign in as {MODERATOR} with the password {self._password}")
        return old

    def deploy(self, name: str, procfile: Path) -> Release:
        """Start a release beside what runs; returns when it is up."""
        release = self.platform.deploy(name, procfile)
        release.wait_until_up()
        return release

    def prepare(self) -> None:
        """Look, check, import."""
        for phase in ("plan", "phase1", "phase2"):
            self.cutover(phase)

    def cutover(self, *arguments: str) -> Process:
        """Type a command, which has to succeed."""
        self.step("python manage.py " + " ".join(("cutover", *arguments)))
        process = self.site.manage("cutover", *arguments)
        self.say(process.output)
        return self.expect(process)

    def expect(self, process: Process, code: int = 0) -> Process:
        """The process, which has ended as it should."""
        if process.exit_code != code:
            raise StoryFailed(f"{process.name} ended with {process.exit_code}; see {process.log}\n{process.output}")
        return process

    def require(self, holds: object, what: str) -> None:
        """Raise StoryFailed, saying ``what``, where it does not hold."""
        if not holds:
            raise StoryFailed(f"It does not hold that {what}.")

    def last(self, time_: dt.timedelta, what: str) -> None:
        """Let so much time pass."""
        until = dt.datetime.now(dt.UTC) + time_
        wait_until(lambda: dt.datetime.now(dt.UTC) > until, what, timeout_s=time_.total_seconds() + 30)

    def end(self, last: Release, switches: list[Switch]) -> Evidence:
        """Stop everything, the beat first, and give what was seen from outside."""
        self.step("Everything is stopped: beat, visitors, then the rest")
        # A slot that falls due in the last second may be left to the next beat, which never comes.
        until = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
        self.platform.retire(last, "beat")
        self.platform.wait_until_retired()
        self.load.stop()
        wait_until_quiet(self.monitor, self.site.runs)
        self.platform.retire(last)
        self.platform.wait_until_retired()
        return Evidence(
            published=self.monitor.published,
            runs=read_runs(self.site.runs),
            tally=self.load.tally,
            switches=switches,
            until=until,
            mails=self.site.mails,
            named=read_missed(self.database),
        )

    def step(self, title: str) -> None:
        print(f"\n[{time.monotonic() - self._started:5.1f} s] {title}", flush=True)

    def say(self, text: str) -> None:
        print(textwrap.indent(text.rstrip(), " " * 10), flush=True)
