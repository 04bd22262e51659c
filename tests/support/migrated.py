"""Databases that are migrated once a run, by whichever worker needs one first, and copied by all."""

import fcntl
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from demo.processes import Processes
from tests.servers import MariaDB, Postgres
from tests.support.site import Site


def migrated_on(
    server: Postgres | MariaDB,
    processes: Processes,
    tmp_path_factory: pytest.TempPathFactory,
    settings: Mapping[str, str] | None = None,
) -> str:
    """Make a migrated database, from what the first worker dumped of its own."""
    name = server.create_database()
    is_migrated = False

    def make(file: Path) -> None:
        nonlocal is_migrated
        directory = tmp_path_factory.mktemp("migrated")
        migrate(Site(processes, directory, django_settings.REDIS_URL, server.url(name), settings))
        file.write_bytes(server.dump(name))
        is_migrated = True

    dump = made_once(tmp_path_factory, f"migrated-{type(server).__name__}.sql", make)
    if not is_migrated:
        server.load(name, dump.read_bytes())
    return name


def migrate(site: Site) -> None:
    migration = site.manage("migrate", "--noinput", "--verbosity=0")
    assert migration.exit_code == 0, migration.output


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The file of this name that one worker of the run makes and all of them read."""
    directory = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        directory = directory.parent
    file = directory / name
    with (directory / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            unfinished = file.with_stem(f"{file.stem}-unfinished")
            make(unfinished)
            unfinished.rename(file)
    return file
