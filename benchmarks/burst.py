"""``make bench-burst``: 5,000 entries fall due at one instant; how fast does each scheduler hand them to the broker?

Each runs alone, as a real process, on a Valkey and an SQLite database of its own, in the same run of this program. The
time is taken at the broker, from the first message to the last. Exit code 1 when a leased one is slower than RedBeat.
"""

import datetime as dt
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from demo.processes import Processes
from demo.services import Valkey
from demo.waiting import wait_until
from tests.support.site import Site

ENTRIES = 5_000
START_BY = 20
"""The second of a minute until when a beat is started: it has the rest of it to load its schedule."""
PATIENCE_S = 180.0


@dataclass(frozen=True)
class Contender:
    """A scheduler; ``rows``: it sends the rows, not the schedule in code. ``leased``: it is one of ours."""

    name: str
    scheduler: str
    rows: bool = False
    leased: bool = False
    env: dict[str, str] = field(default_factory=dict)


IN_CONF = {"BENCH_INSTALL": "1", "CELERY_IMPORTS": "demo.tasks,benchmarks.burst_schedule"}
CONTENDERS = (
    Contender("stock, in code", "celery.beat:PersistentScheduler", env=IN_CONF),
    Contender("stock, rows", "django_celery_beat.schedulers:DatabaseScheduler", rows=True),
    Contender("RedBeat, in code", "redbeat.RedBeatScheduler", env=IN_CONF),
    Contender("leased, in code", "cutover.schedulers:CodeScheduler", leased=True),
    Contender("leased, rows", "cutover.schedulers:DatabaseScheduler", rows=True, leased=True),
)


def measure(contender: Contender, directory: Path, migrated: Path, entries: int) -> float:
    """Messages a second."""
    with Processes(logs=directory / "logs") as processes:
        valkey = Valkey(processes, directory / "valkey")
        valkey.start()
        site = _site(processes, directory / "site", valkey, Path(shutil.copy(migrated, directory)), entries)
        if contender.rows:
            for command in (["phase1", "--no-code-beat"], ["phase2"], ["phase3", "--force"]):
                done = site.cutover(*command)
                assert done.exit_code == 0, done.output
        wait_until(lambda: dt.datetime.now(dt.UTC).second <= START_BY, "a minute begins", timeout_s=61)
        environment = {"REDBEAT_REDIS_URL": valkey.url, **contender.env}
        beat = site.start("beat", f"celery -A prayer_room_api beat -S {contender.scheduler}", **environment)
        with valkey.client() as client:
            wait_until(lambda: client.llen("celery"), "the first message", PATIENCE_S, poll_s=0.002)
            first = dt.datetime.now(dt.UTC)
            wait_until(lambda: client.llen("celery") >= entries, "the last message", PATIENCE_S, poll_s=0.002)
            took = dt.datetime.now(dt.UTC) - first
        beat.stop()
        valkey.stop()
    return entries / took.total_seconds()


def _site(processes: Processes, directory: Path, valkey: Valkey, database: Path, entries: int) -> Site:
    settings = {
        "CODE_SCHEDULE": "benchmarks.burst_schedule.beat_schedule",
        "BENCH_ENTRIES": str(entries),
        "CELERY_IMPORTS": "demo.tasks",
    }
    return Site(processes, directory, valkey.url, f"sqlite:///{database}", settings)


def _migrate(directory: Path) -> Path:
    with Processes(logs=directory / "logs") as processes:
        valkey = Valkey(processes, directory / "valkey")
        valkey.start()
        file = directory / "db.sqlite3"
        done = _site(processes, directory / "site", valkey, file, 1).manage("migrate", "--noinput", "--verbosity=0")
        assert done.exit_code == 0, done.output
        valkey.stop()
    return file


def main() -> int:
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES
    rates: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        migrated = _migrate(Path(folder) / "migrated")
        print(f"{entries} entries due at one instant, messages a second at the broker:", flush=True)
        for number, contender in enumerate(CONTENDERS):
            rates[contender.name] = measure(contender, Path(folder) / str(number), migrated, entries)
            print(f"  {contender.name:<18} {rates[contender.name]:>6.0f}", flush=True)
    slower = [c.name for c in CONTENDERS if c.leased and rates[c.name] < rates["RedBeat, in code"]]
    print(f"slower than RedBeat: {', '.join(slower)}" if slower else "no leased one is slower than RedBeat")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
