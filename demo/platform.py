"""A platform that overlaps containers: a new release starts beside the old one, which is retired later."""

import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from honcho.environ import parse_procfile

from .processes import ROOT, STOP_TIMEOUT_S, Process, Processes
from .waiting import wait_until

TYPES = ("web", "worker", "beat")
READY = {
    "web": "Booting worker",
    "worker": " ready.",
    "beat": "cutover.standby.started",
}
"""What each type of container prints once it is up. A beat that stands by is up: it need not lead."""


class Release:
    """The containers of one release, and what starts each."""

    def __init__(self, name: str, start: Callable[[str], Process]) -> None:
        self.name = name
        self._start = start
        self.containers = {kind: start(kind) for kind in TYPES}

    def restart(self, kind: str) -> None:
        """Start a container again that has ended; does not wait for it."""
        self.containers[kind] = self._start(kind)

    def wait_until_up(self, timeout_s: float = 60.0) -> None:
        """Return when every container is up; RuntimeError with its output when one has ended instead."""
        for kind, container in self.containers.items():
            wait_until(
                lambda kind=kind, container=container: _is_up(kind, container),
                f"{container.name} is up (see {container.log})",
                timeout_s,
            )


class Platform:
    """Runs releases behind one address, which belongs to none of them and so survives each."""

    def __init__(self, processes: Processes, env: Mapping[str, str]) -> None:
        self._processes = processes
        self._env = env
        self._retiring: list[Process] = []
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)

    @property
    def address(self) -> tuple[str, int]:
        """Where the site is found, whichever release answers."""
        return self._socket.getsockname()

    def deploy(self, name: str, procfile: Path) -> Release:
        """Start the web, worker and beat of a Procfile beside whatever runs; do not wait for them."""
        commands = parse_procfile((ROOT / procfile).read_text()).processes
        door = self._socket.fileno()
        # Bare gunicorn and prodserver are told, each in its own way, to serve from the door they inherit.
        env = {
            **self._env,
            "CUTOVER_RELEASE": name,
            "WEB_BIND": f"fd://{door}",
            "GUNICORN_CMD_ARGS": "" if "prodserver" in commands["web"] else f"--bind fd://{door}",
        }

        def start(kind: str) -> Process:
            return self._processes.start(f"{name}-{kind}", commands[kind], env, fds=[door])

        return Release(name, start)

    def retire(self, release: Release, *kinds: str) -> None:
        """Send SIGTERM to containers of a release, by default to all, and do not wait for their end."""
        for kind in kinds or tuple(release.containers):
            container = release.containers.pop(kind)
            container.send(signal.SIGTERM)
            self._retiring.append(container)

    def wait_until_retired(self) -> None:
        """Return when all that was retired has ended; the obstinate get their SIGKILL."""
        while self._retiring:
            self._retiring.pop().stop(STOP_TIMEOUT_S)

    def close(self) -> None:
        """Close the address."""
        self._socket.close()


def _is_up(kind: str, container: Process) -> bool:
    if container.exit_code is not None:
        raise RuntimeError(
            f"{container.name} ended with {container.exit_code} instead of starting:\n{container.output}"
        )
    return READY[kind] in container.output
