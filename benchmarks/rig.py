"""The rig: real servers for a whole run, a fresh site for each measurement, and what the system counts of a process."""

import contextlib
import datetime as dt
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pymysql

from benchmarks import zones
from benchmarks.contenders import MARIADB, POSTGRES, Contender
from demo.census import Handed, Monitor
from demo.processes import ROOT, Process, Processes, python
from demo.services import HOST, Valkey
from demo.site import Site
from demo.waiting import wait_until
from tests.servers import MariaDB, Postgres, running_mariadb, running_postgres

QUEUE: Final = "celery"
PATIENCE_S: Final = 120.0


@dataclass(frozen=True)
class Wanted:
    """The schedule of a measurement: a shape of ``entries``, how many, and how often the pulse is due, if it is."""

    shape: str = "seldom"
    entries: int = 0
    pulse_ms: int = 0

    @property
    def env(self) -> dict[str, str]:
        return {
            "BENCH_SHAPE": self.shape,
            "BENCH_ENTRIES": str(self.entries),
            "BENCH_PULSE_MS": str(self.pulse_ms),
        }


class Rig:
    """Servers and processes of one run; nothing outlives its ``with`` block.

    ``full``: the long run. ``scale``: what numbers of entries are multiplied by, for trying the parts out. ``repeat``:
    how often each figure is measured, whatever the run.
    """

    def __init__(
        self, directory: Path, peers: Path, full: bool = False, scale: float = 1.0, repeat: int | None = None
    ) -> None:
        self.full, self._scale, self._repeat = full, scale, repeat
        self._directory, self._peers = directory, peers
        self._made: dict[tuple[str, Wanted | None], str] = {}
        self._numbers = iter(range(1, 1_000_000))
        self._postgres: Postgres | None = None
        self._mariadb: MariaDB | None = None

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening:
            self.processes = opening.enter_context(Processes(logs=self._directory / "logs"))
            self.valkey = Valkey(self.processes, self._directory / "valkey")
            self.valkey.start()
            opening.callback(self.valkey.stop)
            zones.write(self._directory / "zones")
            self._closing = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.__exit__(kind, error, trace)

    # --- how much ---------------------------------------------------------------------------------------------------

    def times(self, short: int, full: int = 5) -> range:
        """How often something is measured."""
        return range(self._repeat or (full if self.full else short))

    def scaled(self, entries: int) -> int:
        """So many entries; fewer where the parts are only tried out."""
        return max(10, int(entries * self._scale))

    # --- a site -----------------------------------------------------------------------------------------------------

    def site(self, engine: str, wanted: Wanted | None = None, **env: str) -> Site:
        """A fresh site; ``wanted``: with those rows, and the database side active. The broker is empty."""
        with self.valkey.client() as client:
            client.flushall()
        return self._site(self._copy(engine, wanted), **{**(wanted or Wanted()).env, **env})

    def site_for(self, who: Contender, wanted: Wanted, **env: str) -> Site:
        """A fresh site for one contender."""
        given = {"BENCH_CELERY": json.dumps(dict(who.celery)), "SINGLE_BEAT_REDIS_SERVER": self.valkey.url, **who.env}
        if who.in_code:
            given["BENCH_IN_CODE"] = "1"
        return self.site(who.engine, None if who.in_code else wanted, **{**given, **wanted.env, **env})

    def beat(self, site: Site, who: Contender, name: str = "beat", **env: str) -> Process:
        """Start one beat; each of a site has a schedule file of its own."""
        file = str(site.directory / f"{name}-schedule")
        return site.start(name, who.command, CELERY_BEAT_SCHEDULE_FILENAME=file, **env)

    def tape(self) -> Monitor:
        """A record of what the broker is handed while its ``with`` block runs."""
        return Monitor(HOST, self.valkey.port)

    def first_handed(self, tape: Monitor, after: int = 0) -> Handed:
        """The first message, or the first after so many."""
        wait_until(lambda: len(tape.handed) > after, "a message is at the broker", PATIENCE_S, poll_s=0.002)
        return tape.handed[after]

    def served_s(self) -> float:
        """The processor time that the databases' servers have had so far, whichever processes of theirs had it."""
        pids = [self._mariadb.process.pid] if self._mariadb else []
        if self._postgres:
            pids.append(int((self._postgres.directory / "postmaster.pid").read_text().split()[0]))
        # What one that ends meanwhile has had is its parent's by then, which is read after it.
        return sum(_busy_s(pid) + sum(psutil.Process(pid).cpu_times()[2:4]) for pid in pids)

    def statements(self, site: Site) -> "Statements":
        """A count of what the site's database, a PostgreSQL one, is asked while its ``with`` block runs."""
        assert self._postgres is not None
        return Statements(site.settings["DATABASE_URL"], self._postgres.directory / "log")

    def _site(self, url: str, **env: str) -> Site:
        settings = {
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
            "PYTHONPATH": f"{ROOT}:{self._peers}",
            "PYTHONTZPATH": str(self._directory / "zones"),
            **env,
        }
        return Site(self.processes, self._directory / f"site-{next(self._numbers)}", self.valkey.url, url, settings)

    def _copy(self, engine: str, wanted: Wanted | None) -> str:
        template = self._template(engine, wanted)
        if engine == POSTGRES:
            return self._server().url(self._server().create_database(template))
        if engine == MARIADB:
            return self._other_server().url(self._other_server().create_database(template))
        file = self._directory / f"{next(self._numbers)}.sqlite3"
        return f"sqlite:///{shutil.copy(template, file)}"

    def _template(self, engine: str, wanted: Wanted | None) -> str:
        """A database that is migrated and has the rows: a file, or a name on the server."""
        if (engine, wanted) not in self._made:
            if engine == POSTGRES:
                base = "template1" if wanted is None else self._template(engine, None)
                made = self._server().create_database(base)
                url = self._server().url(made)
            elif engine == MARIADB:
                made = self._other_server().create_database(wanted and self._template(engine, None))
                url = self._other_server().url(made)
            else:
                made = str(self._directory / f"{next(self._numbers)}.sqlite3")
                url = f"sqlite:///{made}"
                if wanted is not None:
                    shutil.copy(self._template(engine, None), made)
            site = self._site(url, **(wanted or Wanted()).env)
            if wanted is None:
                run(site, python("manage.py", "migrate", "--noinput", "--verbosity=0"))
            else:
                run(site, python("-m", "benchmarks.prepare", "rows"))
            self._made[engine, wanted] = made
        return self._made[engine, wanted]

    def _server(self) -> Postgres:
        if self._postgres is None:
            self._postgres = self._closing.enter_context(running_postgres(self.processes))
        return self._postgres

    def _other_server(self) -> MariaDB:
        if self._mariadb is None:
            self._mariadb = self._closing.enter_context(running_mariadb(self.processes, MariaDB))
        return self._mariadb


class Statements:
    """What one database of PostgreSQL is asked, by its own log; BEGIN, COMMIT and SET are not counted."""

    def __init__(self, url: str, log: Path) -> None:
        self._url, self._log = url, log

    def __enter__(self) -> Self:
        execute(self._url, "ALTER SYSTEM SET log_line_prefix = '%a|%d|'", "ALTER SYSTEM SET log_statement = 'all'")
        execute(self._url, "SELECT pg_reload_conf()")
        time.sleep(0.5)  # until every session has heard of it
        self._from = self._log.stat().st_size
        return self

    def __exit__(self, *_: object) -> None:
        self._to = self._log.stat().st_size
        execute(self._url, "ALTER SYSTEM RESET log_statement", "SELECT pg_reload_conf()")

    def of(self, application: str) -> int:
        """How many came from the process whose ``PGAPPNAME`` is this."""
        said = self._log.read_bytes()[self._from : self._to].decode(errors="replace").splitlines()
        asked = [line.partition("|LOG:")[2] for line in said if line.startswith(f"{application}|")]
        return sum(
            ":" in line and line.partition(":")[2].split()[0] not in {"BEGIN", "COMMIT", "SET"}
            for line in asked
            if "statement:" in line or "execute" in line
        )


# --- what is asked of anything -------------------------------------------------------------------------------------


def run(site: Site, command: list[str], timeout_s: float = 600.0) -> float:
    """Run a command of the site to its end; how long it took, in seconds. AssertionError when it fails."""
    began = time.perf_counter()
    process = site.run(*command, timeout_s=timeout_s)
    took_s = time.perf_counter() - began
    assert process.exit_code == 0, process.output[-4000:]
    return took_s


def execute(url: str, *statements: str) -> Any:
    """Run statements on a site's database, past Django; the rows of the last."""
    if url.startswith("sqlite:"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=20)) as connection:
            found = [connection.execute(statement).fetchall() for statement in statements]
            connection.commit()
            return found[-1]
    if url.startswith("mysql:"):
        at = urlsplit(url)
        reached = {"unix_socket": parse_qs(at.query)["unix_socket"][0], "user": at.username, "database": at.path[1:]}
        with contextlib.closing(pymysql.connect(**reached, autocommit=True)) as connection:
            for statement in statements:
                with connection.cursor() as cursor:
                    cursor.execute(statement)
                    last = cursor.fetchall()
            return last
    with psycopg.connect(url, autocommit=True) as connection:
        cursors = [connection.execute(statement) for statement in statements]
        return cursors[-1].fetchall() if cursors[-1].description else []


def busy_s(process: Process) -> float:
    """The processor time that a process and its children have had so far."""
    return _busy_s(process.pid)


def _busy_s(pid: int) -> float:
    root, had_s = psutil.Process(pid), 0.0
    for each in (*root.children(recursive=True), root):
        with contextlib.suppress(psutil.NoSuchProcess):
            had_s += sum(each.cpu_times()[:2])
    return had_s


def memory_mb(process: Process) -> float:
    """The most memory that a process has had so far."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def utc_now() -> dt.datetime:
    """Now."""
    return dt.datetime.now(dt.UTC)


@contextlib.contextmanager
def stopped_after(*processes: Process) -> Iterator[None]:
    """Stop the processes when the block ends."""
    try:
        yield
    finally:
        for process in processes:
            if process.exit_code is None:
                process.stop(timeout_s=5)
