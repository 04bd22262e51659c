"""The story: a living site is cut over, goes back, and is cut over again."""

import datetime as dt
import textwrap
import time
from contextlib import ExitStack
from pathlib import Path

from .census import Monitor, per_slot, read_runs, wait_until_quiet
from .handover import read_switch
from .load import Load
from .platform import Platform, Release
from .processes import Process, Processes
from .schedule import EVERY_MINUTE, SELDOM
from .services import HOST, Valkey
from .site import Site
from .verdict import Evidence, Switch
from .waiting import wait_until

OLD, NEW = Path("Procfile.before"), Path("Procfile")
PROOF = 20
"""How many slots are to be sent under a new leader before its cutover is closed."""
SETTLED = dt.timedelta(seconds=6)
"""How old they are to be: phase 4 leaves aside what may still be under way."""


class StoryFailed(Exception):
    """A step of the story did not go as told."""


class Story:
    """Tells itself on the screen, step by step, and gathers the evidence."""

    def __init__(self, processes: Processes, directory: Path) -> None:
        self._directory = directory
        self._started = time.monotonic()
        self._switches: list[Switch] = []
        self._valkey = Valkey(processes, directory / "valkey")
        self._site = Site(processes, directory, self._valkey.url)

    def run(self) -> Evidence:
        """Play all of it. Raises StoryFailed, RuntimeError or TimeoutError at the first step that fails."""
        with ExitStack() as stack:
            self._open_site(stack)
            platform = Platform(self._site.processes, self._site.env)
            stack.callback(platform.close)
            monitor = stack.enter_context(Monitor(HOST, self._valkey.port))
            old = self._start_old_world(platform)
            load = stack.enter_context(Load(*platform.address))
            self._prepare()
            new = self._cut_over(platform, old, "after")
            self._live_on(monitor, EVERY_MINUTE)
            self._close(*SELDOM)
            old = self._roll_back(platform, new)
            new = self._cut_over(platform, old, "after-again")
            self._live_on(monitor, "every-second-a")
            self._close(*SELDOM, EVERY_MINUTE)
            return self._end(platform, monitor, load, new)

    def _open_site(self, stack: ExitStack) -> None:
        self._step("A broker, a database, a few people")
        self._valkey.start()
        stack.callback(self._valkey.stop)
        self._expect(self._site.manage("migrate", "--noinput", "--verbosity=0"))
        self._expect(self._site.run("python", "-m", "demo.people"))

    def _start_old_world(self, platform: Platform) -> Release:
        self._step(f"The old world ({OLD}): bare gunicorn and celery, the schedule in code")
        old = platform.deploy("before", OLD)
        old.wait_until_up()
        self._say("web, worker and beat are up; 40 requests a second begin")
        return old

    def _prepare(self) -> None:
        for phase in ("plan", "phase1", "phase2"):
            self._cutover(phase)

    def _cut_over(self, platform: Platform, old: Release, name: str) -> Release:
        self._step(f"The new release ({NEW}) starts beside the old one; its beat stands by")
        new = platform.deploy(name, NEW)
        new.wait_until_up()
        self._switch("phase3", "cutover")
        self._step("The platform retires the old release: SIGTERM to its containers")
        platform.retire(old)
        return new

    def _live_on(self, monitor: Monitor, entry: str) -> None:
        self._step(f"The site lives on, until the new leader has sent {entry} and {PROOF} slots in all")
        switched_at = self._switches[-1].at

        def enough() -> bool:
            settled_at = dt.datetime.now(dt.UTC) - SETTLED
            slots = [slot for slot in per_slot(monitor.published) if switched_at < slot.due_at < settled_at]
            return len(slots) >= PROOF and any(slot.entry == entry for slot in slots)

        wait_until(enough, f"the new leader has sent {entry} and {PROOF} slots in all", timeout_s=75)
        self._say(f"{len(monitor.published)} slots sent since the story began")

    def _close(self, *waived: str) -> None:
        """What has not fallen due so soon is proved by nothing: an operator in a hurry waives it, by name."""
        self._cutover("phase4", *(f"--waive={name}" for name in waived))

    def _roll_back(self, platform: Platform, new: Release) -> Release:
        self._step(f"Second thoughts: the old release ({OLD}) starts beside the new one")
        old = platform.deploy("before-again", OLD)
        old.wait_until_up()
        self._switch("rollback", "rollback")
        self._step("The platform retires the new release")
        platform.retire(new)
        return old

    def _end(self, platform: Platform, monitor: Monitor, load: Load, new: Release) -> Evidence:
        self._step("Everything is stopped: beat, visitors, then the rest")
        # A slot that falls due in the last second may be left to the next beat, which never comes.
        until = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
        platform.retire(new, "beat")
        platform.wait_until_retired()
        load.stop()
        wait_until_quiet(monitor, self._site.runs)
        platform.retire(new)
        platform.wait_until_retired()
        return Evidence(
            published=monitor.published,
            runs=read_runs(self._site.runs),
            tally=load.tally,
            switches=self._switches,
            until=until,
            mails=self._site.mails,
        )

    def _switch(self, command: str, kind: str) -> None:
        self._cutover(command)
        switch = read_switch(kind, self._directory / "db.sqlite3")
        self._switches.append(switch)
        self._say(f"(by the database's own record: {switch.gap_ms:g} ms without a leader)")

    def _cutover(self, *arguments: str) -> None:
        self._step("python manage.py " + " ".join(("cutover", *arguments)))
        process = self._site.manage("cutover", *arguments)
        self._say(process.output)
        self._expect(process)

    def _expect(self, process: Process) -> None:
        if process.exit_code != 0:
            raise StoryFailed(f"{process.name} ended with {process.exit_code}; see {process.log}\n{process.output}")

    def _step(self, title: str) -> None:
        print(f"\n[{time.monotonic() - self._started:5.1f} s] {title}", flush=True)

    def _say(self, text: str) -> None:
        print(textwrap.indent(text.rstrip(), " " * 10), flush=True)
