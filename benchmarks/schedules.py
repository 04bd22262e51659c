"""``make bench-schedules``: a whole cutover of a large schedule, there and back, on SQLite and on PostgreSQL.

Prints a figure and its limit for each; exit code 1 when one is missed. ``python -m benchmarks.schedules 1000`` takes
another number of entries.
"""

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.processes import Processes
from demo.services import Valkey
from demo.waiting import wait_until
from tests.servers import running_postgres
from tests.support.site import Site

ENTRIES = 10_000
FEW = 10
READY_S = 60.0


@dataclass(frozen=True)
class Figure:
    """One thing measured."""

    database: str
    name: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def holds(self) -> bool:
        return self.limit is None or self.value <= self.limit

    def __str__(self) -> str:
        limit = "" if self.limit is None else f"  (at most {self.limit:g} {self.unit})"
        mark = "" if self.holds else "  MISSED"
        return f"{self.database:<10} {self.name:<36} {self.value:>9.2f} {self.unit}{limit}{mark}"


def measure(site: Site, database: str, entries: int) -> list[Figure]:
    """Cut over and back once."""
    figures: list[Figure] = []

    def command(name: str, *arguments: str) -> tuple[dict[str, Any], dict[str, Any]]:
        process = site.run(
            sys.executable, "-m", "benchmarks.counted", "cutover", name, "--json", *arguments, timeout_s=300
        )
        documents = [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]
        document, counted = documents[-2:]
        assert process.exit_code == 0, document
        return document, counted

    def add(name: str, value: float, unit: str, limit: float | None = None) -> None:
        figures.append(Figure(database, f"{name}, {entries} entries", value, unit, limit))
        print(figures[-1], flush=True)

    def ready(side: str) -> None:
        wait_until(
            lambda: any(beat["side"] == side and beat["warm"] for beat in site.status().get("beats", [])),
            f"a warm beat of the {side} side",
            READY_S,
        )

    migrated = site.manage("migrate", "--noinput", "--verbosity=0")
    assert migrated.exit_code == 0, migrated.output
    site.prodserver("legacy-beat")
    ready("code")
    site.prodserver("beat")
    ready("database")
    command("phase1")
    add("plan", command("plan")[1]["seconds"], "s", 10)
    _, counted = command("phase2")
    add("phase2", counted["seconds"], "s", 20)
    add("phase2", counted["statements"], "statements", 100)
    again, counted = command("phase2")
    assert not again["created"] and not again["updated"], again
    add("phase2 again, 0 rows changed", counted["seconds"], "s")
    document, counted = command("phase3")
    add("phase3", counted["seconds"], "s")
    add("phase3, gap", document["gap_ms"], "ms", 250)
    document, counted = command("rollback")
    add("rollback", counted["seconds"], "s", 20)
    add("rollback", counted["statements"], "statements", 100)
    add("rollback, gap", document["gap_ms"], "ms", 250)
    return figures


def bench(database: str, url: str, directory: Path, entries: int) -> list[Figure]:
    """One database and one number of entries, on a site and a Valkey of its own."""
    with Processes(logs=directory / "logs") as processes:
        valkey = Valkey(processes, directory / "valkey")
        valkey.start()
        settings = {
            "CODE_SCHEDULE": "benchmarks.large_schedule.beat_schedule",
            "BENCH_ENTRIES": str(entries),
            "DATABASE_URL": url,
        }
        site = Site(processes, directory / "site", valkey.url, settings=settings)
        try:
            return measure(site, database, entries)
        finally:
            valkey.stop()


def main() -> int:
    entries = int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        for count in (FEW, entries):
            file = directory / f"{count}.sqlite3"
            figures += bench("SQLite", f"sqlite:///{file}", directory / f"sqlite-{count}", count)
        with Processes(logs=directory / "logs") as processes, running_postgres(processes) as server:
            for count in (FEW, entries):
                url = server.url(server.create_database())
                figures += bench("PostgreSQL", url, directory / f"postgres-{count}", count)
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
