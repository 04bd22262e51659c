"""Where stages are built: each with a freshly migrated database; those that heal are used again."""

import contextlib
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from demo.processes import Processes
from demo.site import Site

from .scenarios import LEASE_S, MARIADB, POSTGRES
from .servers import BreakableMariaDB, BreakablePostgres, Database, breakable_mariadb, breakable_postgres
from .stage import Stage

NO_REDIS = "redis://127.0.0.1:1/0"


class Theatre:
    """Builds stages; when its ``with`` block ends, they are gone."""

    def __init__(self, processes: Processes, directory: Path, most: int = 2, migrated: Path | None = None) -> None:
        """``most``: so many stages stand at once; the processes of each work on even while it is not asked for.

        ``migrated``: an SQLite database to copy, where there is one already.
        """
        self._processes = processes
        self._directory = directory
        self._closing = contextlib.ExitStack()
        self._most = most
        self._standing: dict[tuple[object, ...], Stage] = {}
        self._templates: dict[Database, str] = {}
        self._built = 0
        if migrated:
            self._migrated_sqlite = migrated

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stage in list(self._standing.values()):
            self.give_up(stage)
        self._closing.close()

    def build(self, database: str = "sqlite", lease_s: float = LEASE_S, **settings: str) -> Stage:
        """A stage without a cast, to be entered by the caller."""
        self._built += 1
        directory = self._directory / f"stage-{self._built}"
        directory.mkdir(parents=True)
        server = {POSTGRES: lambda: self._postgres, MARIADB: lambda: self._mariadb}.get(database, lambda: None)()
        if server is not None:
            url = server.url(server.create_database(self._migrated(server)))
        else:
            url = f"sqlite:///{shutil.copy(self._migrated_sqlite, directory)}"
        return Stage(self._processes, directory, url, server, lease_s, **settings)

    def standing(self, database: str, lease_s: float, cast: tuple[str, ...]) -> Stage:
        """The stage with this cast, well and ready; the same one each time, until it is given up."""
        key = (database, lease_s, cast)
        if key not in self._standing:
            while len(self._standing) >= self._most:
                self.give_up(next(iter(self._standing.values())))
            with contextlib.ExitStack() as opening:
                stage = opening.enter_context(self.build(database, lease_s))
                stage.engage(*cast)
                stage.heal()
                stage.let_workers_be_known()
                self._standing[key] = stage
                opening.pop_all()
        return self._standing[key]

    def give_up(self, stage: Stage) -> None:
        """Close a stage that stands."""
        self._standing = {key: standing for key, standing in self._standing.items() if standing is not stage}
        stage.__exit__(None, None, None)

    @cached_property
    def _postgres(self) -> BreakablePostgres:
        return self._closing.enter_context(breakable_postgres(self._processes))

    @cached_property
    def _mariadb(self) -> BreakableMariaDB:
        return self._closing.enter_context(breakable_mariadb(self._processes))

    @cached_property
    def _migrated_sqlite(self) -> Path:
        file = self._directory / "migrated" / "db.sqlite3"
        self._migrate(f"sqlite:///{file}")
        return file

    def _migrated(self, server: Database) -> str:
        """The name of a migrated database of this server."""
        if server not in self._templates:
            self._templates[server] = name = server.create_database()
            self._migrate(server.url(name), server.settings)
        return self._templates[server]

    def _migrate(self, url: str, settings: Mapping[str, str] | None = None) -> None:
        site = Site(self._processes, self._directory / "migrated", NO_REDIS, url, settings)
        process = site.manage("migrate", "--noinput", "--verbosity=0")
        if process.exit_code:
            raise RuntimeError(f"the database cannot be migrated:\n{process.output}")
