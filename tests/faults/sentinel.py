"""A Valkey that a Sentinel watches, and a replica of it that lags."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from demo.processes import Processes
from demo.services import HOST
from demo.waiting import wait_until

from .servers import Server

SERVICE = "lease"


@dataclass(frozen=True)
class Guarded:
    """Primary, replica, and the Sentinel that watches both."""

    primary: Server
    replica: Server
    sentinel: Server

    @property
    def settings(self) -> dict[str, str]:
        return {"SENTINELS": f"{HOST}:{self.sentinel.port}", "SENTINEL_SERVICE": SERVICE}

    def fail_over(self) -> None:
        """Kill the primary; returns when the replica, which lags, has been made the primary."""
        self.primary.kill()
        self.replica.send(signal.SIGCONT)
        wait_until(lambda: self._primary_port() == self.replica.port, "the replica is the primary", poll_s=0.1)

    def _primary_port(self) -> int:
        with self.sentinel.client() as client:
            return int(client.execute_command("SENTINEL", "get-master-addr-by-name", SERVICE)[1])


@contextlib.contextmanager
def guarded(processes: Processes, directory: Path) -> Iterator[Guarded]:
    """Run them; the replica is frozen, so that it never sees what is written from here on."""
    primary = Server(processes, directory / "primary")
    replica = Server(processes, directory / "replica", replicaof=f"{HOST} {primary.port}")
    sentinel = Server(processes, directory / "sentinel")
    primary.start()
    replica.start()
    sentinel.start_as_sentinel(primary, SERVICE)
    with sentinel.client() as client:
        wait_until(lambda: client.execute_command("SENTINEL", "replicas", SERVICE), "the replica is known")
    replica.send(signal.SIGSTOP)
    try:
        yield Guarded(primary, replica, sentinel)
    finally:
        replica.send(signal.SIGCONT)
        for server in (sentinel, replica, primary):
            server.kill()
