"""The stage: broker, lease and database each on a server of its own, and a cast of real processes wired to them."""

import contextlib
import datetime as dt
import re
import signal
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from demo.census import Handed, Monitor, per_slot, read_runs
from demo.processes import Process, Processes
from demo.services import HOST
from demo.waiting import wait_until
from tests.support.pulse import away, pulse
from tests.support.site import Site

from . import launch
from .books import Books
from .member import Member, is_alive
from .scenarios import LEASE_S
from .servers import Database, Server
from .verdict import Evidence, Verdict, judge
from .wire import Wires

COMMANDS: Final = {
    "code": "manage.py prodserver legacy-beat",
    "database": "manage.py prodserver beat",
    "worker": "manage.py prodserver worker",
}
READY: Final = {"code": "cutover.standby.started", "database": "cutover.standby.started", "worker": " ready."}
SETTLED_S: Final = 20.0
STAMP: Final = re.compile(r'"timestamp": "([^"]+)"')


class Stage:
    """One site and its servers. ``heal`` puts all of it right again, so that the next fault finds it well."""

    def __init__(
        self,
        processes: Processes,
        directory: Path,
        database_url: str,
        server: Database | None = None,
        lease_s: float = LEASE_S,
        **settings: str,
    ) -> None:
        self.server = server
        self.broker = Server(processes, directory / "broker", keeps=True)
        self.lease_server = Server(processes, directory / "lease")
        self.books = Books(database_url)
        self.cast: dict[str, Member] = {}
        self._played: list[Process] = []
        self._processes = processes
        self._directory = directory
        self._database_url = database_url
        self._settings = {
            "DJANGO_SETTINGS_MODULE": "tests.support.fault_settings",
            "CUTOVER_LEASE": str(lease_s),
            "CUTOVER_RESEND_AFTER": "6",
            "VISIBILITY_TIMEOUT": "2",
            launch.DEFER_S: "0.5",
            "CODE_SCHEDULE": "tests.faults.schedule.watched",
            "CELERY_IMPORTS": "demo.tasks,tests.faults.tasks",
            **settings,
        }
        self._monitors: dict[int, Monitor] = {}
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening:
            self._wires = opening.enter_context(Wires())
            self._absences = opening.enter_context(pulse())
            self.broker.start()
            self.lease_server.start()
            self._closing = opening.pop_all()
        self.watch_broker()
        self.site = Site(
            self._processes,
            self._directory,
            self.lease_server.url,
            self._database_url,
            {"CELERY_BROKER_URL": self.broker.url, **self._settings},
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self.cast.values():
            member.process.send_to_group(signal.SIGCONT)
            member.process.send(signal.SIGTERM)
        for member in self.cast.values():
            member.process.stop()
        self._closing.close()
        for server in (self.broker, self.lease_server):
            server.kill()

    # --- the cast ---------------------------------------------------------------------------------------------------

    def engage(self, *kinds: str, **settings: str) -> None:
        """Start processes by kind: ``code``, ``database`` or ``worker``; returns when all are up.

        ``settings``: what their release sets otherwise than the site.
        """
        started = [self._start(self._new_member(kind, settings)) for kind in kinds]
        self._wait_until_up(started)

    def restart(self, members: Iterable[Member]) -> None:
        """Start again what has ended; returns when all are up."""
        self._wait_until_up([self._start(member) for member in members])

    def let_workers_be_known(self) -> None:
        """Phase 1, which finds that every worker is guarded: from then on lost messages are sent once more."""
        done = self.site.cutover("phase1")
        assert done.exit_code == 0, done.output

    def leader(self) -> Member:
        """The member that leads, by the newest term; waits for there to be one."""
        return wait_until(self._leader, "somebody leads", timeout_s=SETTLED_S, poll_s=0.02)

    def standby(self) -> Member:
        """A beat of the active side that does not lead."""
        leader = self.leader()
        return next(m for m in self.cast.values() if m.kind == leader.kind and m is not leader and is_alive(m))

    def _leader(self) -> Member | None:
        term = next(iter(reversed(self.books.terms())), None)
        if term is None or term.ended_at or not term.first_tick_at:
            return None
        return next((m for m in self.cast.values() if m.process.pid == term.pid and is_alive(m)), None)

    def _new_member(self, kind: str, settings: dict[str, str]) -> Member:
        name = f"{kind}-{sum(m.kind == kind for m in self.cast.values()) + 1}"
        wires = {
            "redis": self._wires.to_port(self.lease_server.port),
            "broker": self._wires.to_port(self.broker.port),
        }
        if self.server:
            wires["database"] = self._wires.to_socket(self.server.socket)
        directory = self._directory / name
        directory.mkdir(parents=True, exist_ok=True)
        self.cast[name] = Member(name, kind, wires, directory, settings=settings)
        return self.cast[name]

    def _start(self, member: Member) -> Member:
        ways = {name: f"{HOST}:{wire.port}" for name, wire in member.wires.items()}
        env = {
            **member.env,
            "CELERY_BROKER_URL": f"redis://{ways['broker']}/0",
            "REDIS_URL": f"redis://{ways['redis']}/0",
        }
        if self.server:
            name = urlsplit(self._database_url).path.removeprefix("/")
            env["DATABASE_URL"] = self.server.url_by(ways["database"], name)
        member.process = self.site.start(member.name, f"python -m tests.faults.launch {COMMANDS[member.kind]}", **env)
        member.may_end = False
        self._played.append(member.process)
        return member

    def _wait_until_up(self, members: list[Member]) -> None:
        for member in members:
            wait_until(lambda member=member: _is_up(member), f"{member.name} is up", SETTLED_S)

    # --- putting it right -------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Undo every fault and wait until one leads, the others stand by, and what is sent is run.

        AssertionError when a process has ended that nobody had end.
        """
        for member in self.cast.values():
            member.forget_orders()
            for wire in member.wires.values():
                wire.fix()
            member.process.send_to_group(signal.SIGCONT)
        self._heal_servers()
        ended = [m for m in self.cast.values() if not is_alive(m)]
        for member in ended:
            assert member.may_end, f"{member.name} ended by itself:\n{member.process.output[-4000:]}"
        self.restart(ended)
        healed_at = dt.datetime.now(dt.UTC)
        self.leader()
        wait_until(self._all_stand, "every beat has reported", timeout_s=SETTLED_S)
        wait_until(
            lambda: any(run.at > healed_at for run in read_runs(self.site.runs)), "tasks run", timeout_s=SETTLED_S
        )

    def _heal_servers(self) -> None:
        for server in (self.broker, self.lease_server):
            if not server.is_running:
                server.start()
            server.send(signal.SIGCONT)
            with server.client() as client:
                client.replicaof("no", "one")
                client.config_set("maxmemory", 0)
                client.config_set("maxmemory-policy", "noeviction")
        self.watch_broker()
        if self.server:
            self.server.set_read_only(False)

    def _all_stand(self) -> bool:
        with self.lease_server.client() as client:
            now_ms = client.time()[0] * 1000 + client.time()[1] // 1000
            seen = client.hgetall("{cutover:cutover}:beats")
        fresh = {holder.split(":")[1] for holder, told in seen.items() if now_ms - int(told.split()[0]) < 3_000}
        return all(str(m.process.pid) in fresh for m in self.cast.values() if m.kind != "worker")

    # --- evidence ---------------------------------------------------------------------------------------------------

    def watch_broker(self) -> None:
        """Listen to what the broker is handed; again, when it was restarted."""
        pid = self.broker.process.pid
        if pid not in self._monitors:
            self._monitors[pid] = self._closing.enter_context(Monitor(HOST, self.broker.port))

    @property
    def published(self) -> list[Handed]:
        """What the broker was handed in all of the stage's life, without redeliveries."""
        return [message for monitor in self._monitors.values() for message in monitor.published]

    def evidence(self) -> Evidence:
        return Evidence(self.published, read_runs(self.site.runs), self.books.records(), self._absences)

    def lasted(self, since: dt.datetime, until: dt.datetime) -> dt.timedelta:
        """The time in between, without that in which the machine stood still."""
        return until - since - away(self._absences, since, until)

    def verdict(self, since: dt.datetime, until: dt.datetime) -> Verdict:
        """Judge ``(since, until]`` once everything in it is run or accounted for, or time is up."""

        def settled() -> bool:
            found = judge(self.evidence(), since, until)
            return not found.lost and not found.died

        with contextlib.suppress(TimeoutError):
            wait_until(settled, "every slot is accounted for", timeout_s=SETTLED_S, poll_s=0.2)
        return judge(self.evidence(), since, until)

    def diary(self, since: dt.datetime) -> str:
        """What all processes have logged since then, in the order of time."""
        stamped = [
            (stamp[1], f"{process.name}: {line}")
            for process in self._played
            for line in process.output.splitlines()
            if (stamp := STAMP.search(line)) and stamp[1] >= since.isoformat()
        ]
        return "\n".join(line for _, line in sorted(stamped))

    def runs_of(self, entry: str) -> int:
        """How many slots of one entry have run."""
        return sum(slot.entry == entry for slot in per_slot(read_runs(self.site.runs)))


def _is_up(member: Member) -> bool:
    if not is_alive(member):
        raise RuntimeError(f"{member.name} ended instead of starting:\n{member.process.output}")
    return READY[member.kind] in member.process.output
