"""``make bench-web``: `prodserver web` under load through releases. What is counted is what the visitors got.

    python -m benchmarks.web --locust PATH [--router door|nginx] [--seconds 30] [--releases 3] [--set WEB_KEEP_ALIVE=2]

A release is what a platform makes of it: the new process starts beside the old one, the router turns to it, the old one
gets SIGTERM. ``door`` is one listening socket that all processes inherit, as in the demonstration; ``nginx`` is a proxy
(where it is installed) that keeps connections to the process open and is told of the new one by a reload, like Dokku's.
At every release the database is kept busy for some seconds, so that writes are under way when SIGTERM comes, beside the
uploads of slow clients. Exit code 1: a request failed.
"""

import argparse
import contextlib
import datetime as dt
import json
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.routers import BufferingNginx, Door, Nginx, Router
from demo.processes import Process, Processes, interrupt_on_termination
from demo.services import Valkey
from demo.site import Site
from demo.waiting import wait_until

USERS = 22
SLOW_S = 1.0
"""What took longer is slow."""


@dataclass(frozen=True)
class Visit:
    """One request, as the visitor saw it."""

    kind: str
    began: float
    ended: float
    failure: str | None

    @property
    def took_s(self) -> float:
        return self.ended - self.began


@dataclass(frozen=True)
class Retired:
    """One process that got its SIGTERM."""

    at: float
    took_s: float
    answered: int
    """How many requests it answered after the signal; evidence is its own log."""
    slow: int


def measure(
    router: Router, site: Site, locust: str, seconds: float, releases: int, busy_s: float
) -> tuple[list[Visit], list[Retired]]:
    """Load the site for so long, with so many releases evenly spread."""
    visits, told = site.directory / "visits.jsonl", []
    current = router.start(site, 0)
    router.turn_to(current)
    host, port = router.address
    command = [locust, "-f", "benchmarks/visitors.py", "--headless", "--only-summary", "--exit-code-on-error", "0"]
    command += ["-u", str(USERS), "-r", str(USERS), "-t", f"{seconds:g}s", "-s", "30", "-H", f"http://{host}:{port}"]
    load = site.processes.start("locust", command, {**site.env, "VISITS": str(visits)})
    began = time.monotonic()
    for number in range(1, releases + 1):
        due = began + seconds * number / (releases + 1)
        wait_until(lambda due=due: time.monotonic() >= due, "the next release is due", seconds, poll_s=0.02)
        new = router.start(site, number)
        router.turn_to(new)
        told.append((current, _tell_to_end(current, site.directory / "db.sqlite3", busy_s)))
        current = new
    if load.wait(seconds + 60):
        raise RuntimeError(f"locust ended with {load.exit_code}:\n{load.output}")
    retired = [_retired(process, at) for process, at in told]
    current.stop()
    return [Visit(**json.loads(line)) for line in visits.read_text().splitlines()], retired


def report(router: str, visits: Sequence[Visit], retired: Sequence[Retired]) -> str:
    """The table, and every failure."""
    lasted_s = max(visit.ended for visit in visits) - min(visit.began for visit in visits)
    lines = [f"router: {router}; {len(retired)} releases in {lasted_s:.0f} s"]
    lines.append(f"{'':<12} {'requests':>8} {'failed':>6} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}")
    for kind in ("read", "write", "slow write", None):
        some = [visit for visit in visits if kind in (None, visit.kind)]
        times = sorted(visit.took_s * 1000 for visit in some)
        failed = sum(visit.failure is not None for visit in some)
        figures = " ".join(f"{_share(times, share):>8.0f}" for share in (0.5, 0.99, 1.0))
        lines.append(f"{kind or 'all':<12} {len(some):>8} {failed:>6} {figures}")
    for number, each in enumerate(retired, 1):
        under_way = [visit for visit in visits if visit.began < each.at < visit.ended]
        slow = [visit for visit in under_way if visit.took_s > SLOW_S]
        lines.append(
            f"release {number}: at SIGTERM {len(under_way)} under way, {len(slow)} of them slow; "
            f"{sum(visit.failure is not None for visit in under_way)} failed; the old process answered "
            f"{each.answered} more, {each.slow} of them slow, and ended after {each.took_s:.1f} s"
        )
    for visit in visits:
        if visit.failure:
            nearest = min((each.at for each in retired), key=lambda at: abs(visit.ended - at))
            lines.append(f"    {visit.kind}, {visit.ended - nearest:+.2f} s from the nearest SIGTERM: {visit.failure}")
    return "\n".join(lines)


def _tell_to_end(process: Process, database: Path, busy_s: float) -> float:
    """SIGTERM while writes wait for the database, which goes on a while later; returns when it was sent (Unix time)."""
    with contextlib.closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        _pass_time(busy_s / 3)
        at = time.time()
        process.send(signal.SIGTERM)
        _pass_time(busy_s)
        connection.execute("COMMIT")
    return at


def _retired(process: Process, at: float) -> Retired:
    """What a process did after its SIGTERM, as its log has it."""
    if code := process.wait():
        raise RuntimeError(f"{process.name} ended with {code}:\n{process.output}")
    events = list(_events(process))
    after = [event for event in events if event["event"] == "http.request" and event["at"] > at]
    slow = sum(event["elapsed_ms"] > SLOW_S * 1000 for event in after)
    return Retired(at, events[-1]["at"] - at, len(after), slow)


def _pass_time(seconds: float) -> None:
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= until, "time has passed", seconds + 5, poll_s=0.01)


def _events(process: Process) -> Iterator[dict[str, Any]]:
    for line in process.output.splitlines():
        if line.startswith("{"):
            event = json.loads(line)
            yield {**event, "at": dt.datetime.fromisoformat(event["timestamp"]).timestamp()}


def _share(times: Sequence[float], share: float) -> float:
    return times[min(len(times) - 1, int(share * len(times)))]


def main() -> int:
    interrupt_on_termination()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.web")
    parser.add_argument("--locust", required=True, help="the program locust, in an environment of its own")
    parser.add_argument("--router", choices=["door", "nginx", "nginx-buffering"], default="door")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--releases", type=int, default=3)
    parser.add_argument("--busy", type=float, default=3.0, help="how long no write is taken from a SIGTERM on")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the site")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Processes(logs=Path(folder) / "logs") as processes:
        valkey = Valkey(processes, Path(folder) / "valkey")
        valkey.start()
        settings = dict(each.split("=", 1) for each in arguments.set)
        site = Site(processes, Path(folder) / "site", valkey.url, settings=settings)
        if (migration := site.manage("migrate", "--noinput", "--verbosity=0")).exit_code:
            raise RuntimeError(migration.output)
        routers: dict[str, Router] = {
            "door": Door(),
            "nginx": Nginx(processes, Path(folder) / "nginx"),
            "nginx-buffering": BufferingNginx(processes, Path(folder) / "nginx"),
        }
        with routers[arguments.router] as router:
            visits, retired = measure(
                router, site, arguments.locust, arguments.seconds, arguments.releases, arguments.busy
            )
        valkey.stop()
    print(report(arguments.router, visits, retired))
    if not all(each.slow for each in retired):
        print("no slow request was left to an old process: nothing is shown")
        return 1
    return 1 if any(visit.failure for visit in visits) else 0


if __name__ == "__main__":
    sys.exit(main())
