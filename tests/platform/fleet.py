"""Containers on a platform: real processes, started, checked, signalled and killed by the platform's rules."""

import datetime as dt
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from honcho.environ import parse_procfile

from demo.processes import ROOT, Process
from demo.site import Site
from demo.waiting import wait_until

from .rules import Rules

MARKS = {
    "web": ("Booting worker",),
    "worker": (" ready.",),
    "beat": ("cutover.standby.started", "beat: Starting..."),
    "legacy-beat": ("cutover.standby.started",),
}
"""What each type prints once its check passes."""


@dataclass(frozen=True)
class Release:
    """A Procfile and what its environment adds."""

    name: str
    procfile: Path
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def commands(self) -> dict[str, str]:
        return parse_procfile((ROOT / self.procfile).read_text()).processes


@dataclass
class Container:
    """One process of one release."""

    kind: str
    release: Release
    process: Process

    def is_up(self) -> bool:
        if self.process.exit_code is not None:
            raise RuntimeError(f"{self.process.name} ended instead of starting:\n{self.process.output}")
        if "stock" in self.release.name and self.kind == "beat":
            return "beat: Starting..." in self.process.output
        return any(mark in self.process.output for mark in MARKS[self.kind])


@dataclass(frozen=True)
class Deploy:
    """One row of the table: which release came, and for how long containers of two ran side by side."""

    release: str
    began: dt.datetime
    overlap_s: float


class Fleet:
    """All containers of one site behind one door."""

    def __init__(self, site: Site, rules: Rules) -> None:
        self._site = site
        self._rules = rules
        self._door = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.containers: list[Container] = []
        self.deploys: list[Deploy] = []

    @property
    def address(self) -> tuple[str, int]:
        return self._door.getsockname()

    def close(self) -> None:
        self._door.close()

    def deploy(self, release: Release, order: Sequence[str] = ("worker", "web", "legacy-beat", "beat")) -> None:
        """Replace all that runs by ``release``; ``order`` counts where the platform rolls type by type."""
        self._run_release_phase(release)
        began, old = dt.datetime.now(dt.UTC), list(self.containers)
        started = time.monotonic()
        if self._rules.one_type_at_a_time:
            for kind in order:
                self._roll(release, kind)
        else:
            self._replace(release)
        overlap_s = time.monotonic() - started if old else 0.0
        self.deploys.append(Deploy(release.name, began, round(overlap_s, 1)))

    def deploy_half_way(self, release: Release) -> None:
        """A deploy whose check never passes: old and new side by side for a while, then the new ones are stopped."""
        began, started = dt.datetime.now(dt.UTC), time.monotonic()
        self._run_release_phase(release)
        new = [self._start(release, kind) for kind in self._kinds(release)]
        self._wait_until_up(new)
        self._pass_time(self._rules.lingers_s or 60)
        self._stop(new)
        overlap_s = round(time.monotonic() - started, 1)
        self.deploys.append(Deploy(f"{release.name} (failed)", began, overlap_s))

    def scale_to_zero(self, kind: str) -> None:
        """Stop the containers of one type."""
        self._stop([container for container in self.containers if container.kind == kind])

    def _replace(self, release: Release) -> None:
        old, new = list(self.containers), [self._start(release, kind) for kind in self._kinds(release)]
        self._wait_until_up(new)
        self._pass_time(self._rules.proves_s)
        if self._rules.warned:
            self._signal(old)
        if old:
            self._pass_time(self._rules.lingers_s)
        self._stop(old)

    def _roll(self, release: Release, kind: str) -> None:
        old = [container for container in self.containers if container.kind == kind]
        wanted = sum(each == kind for each in self._kinds(release))
        for number in range(max(wanted, len(old))):
            if number < wanted:
                new = [self._start(release, kind)]
                self._wait_until_up(new)
                self._pass_time(self._rules.proves_s)
            if number < len(old):
                self._stop([old[number]])

    def _kinds(self, release: Release) -> Iterator[str]:
        for kind in release.commands:
            if kind != "release":
                yield from [kind] * (self._rules.beats if kind == "beat" and "stock" not in release.name else 1)

    def _run_release_phase(self, release: Release) -> None:
        command = release.commands.get("release")
        if command:
            migration = self._site.start("release", command, **release.env)
            if migration.wait(60):
                raise RuntimeError(f"the release phase failed:\n{migration.output}")

    def _start(self, release: Release, kind: str) -> Container:
        command, door = release.commands[kind], self._door.fileno()
        env = {
            **self._site.env,
            **release.env,
            "CUTOVER_RELEASE": release.name,
            "WEB_BIND": f"fd://{door}",
            "GUNICORN_CMD_ARGS": "" if "prodserver" in release.commands["web"] else f"--bind fd://{door}",
        }
        process = self._site.processes.start(
            f"{release.name}-{kind}", command, env, fds=[door] if kind == "web" else []
        )
        container = Container(kind, release, process)
        self.containers.append(container)
        return container

    def _wait_until_up(self, containers: Sequence[Container]) -> None:
        for container in containers:
            wait_until(container.is_up, f"{container.process.name} is up (see {container.process.log})", timeout_s=60)

    def _signal(self, containers: Sequence[Container]) -> None:
        for container in containers:
            if container.process.exit_code is None:
                container.process.send(signal.SIGTERM)

    def _stop(self, containers: Sequence[Container]) -> None:
        """SIGTERM, as often as the platform sends it; SIGKILL when its time is over."""
        for _ in range(self._rules.signals):
            self._signal(containers)
            self._pass_time(1.0)
        kill_at = time.monotonic() + self._rules.kills_after_s
        for container in containers:
            try:
                container.process.wait(max(0.1, kill_at - time.monotonic()))
            except TimeoutError:
                container.process.kill()
            self.containers.remove(container)

    def _pass_time(self, seconds: float) -> None:
        until = time.monotonic() + self._rules.shortened(seconds)
        wait_until(lambda: time.monotonic() >= until, "the platform's own time has passed", seconds + 5, poll_s=0.02)
