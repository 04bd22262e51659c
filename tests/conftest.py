"""Real servers for tests that need them, started when first asked for; see README.md beside this file."""

import gc
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from django.conf import settings as django_settings
from django.db import connections
from django_celery_beat.models import CrontabSchedule, PeriodicTask
from pytest_django import DjangoDbBlocker

from demo.processes import Processes
from demo.services import Valkey
from tests.servers import PRODUCT, MariaDB, Postgres, running_mariadb, running_postgres
from tests.support.flush import quick_flush
from tests.support.forkserver import ForkedProcesses, ForkServer
from tests.support.migrated import made_once, migrate, migrated_on
from tests.support.selection import is_left_out, longest_first
from tests.support.site import Site

# On a busy machine an example takes longer than the usual fifth of a second.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")

SQLITE, POSTGRES, MARIADB = "sqlite", "postgres", "mariadb"
DATABASE_SERVERS = {POSTGRES, MARIADB}


def _on(name: str, *others: str) -> object:
    marks = pytest.mark.django_db(transaction=True, databases=["default", *others])
    shown = PRODUCT.name.lower() if name == MARIADB else name
    return pytest.param("default" if name == SQLITE else name, id=shown, marks=marks)


ALIASES = (_on(SQLITE), _on(POSTGRES, POSTGRES))
# Without a server the tests of it fail, each with the remedy, and no others: Django is told of no such database.
ALIAS_OF_MARIADB = _on(MARIADB, *[MARIADB] * PRODUCT.is_installed)
ON_MARIADB = {"DJANGO_SETTINGS_MODULE": "tests.support.mariadb_settings"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run all tests, and let those that watch a site watch longer")
    parser.addoption("--rest", action="store_true", help="run what is left out without --long, and nothing else")


def pytest_configure() -> None:
    """Take Ctrl-C even where a shell has started this in the background: what is started here inherits that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    """Say what the tests of MariaDB run on."""
    return f"in MariaDB's tests: {PRODUCT}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Iterator[None]:
    """Keep what collection makes, which lives as long as the run, from being looked through for garbage ever again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Divide the tests between the short run and the rest, and let every worker begin with long ones."""
    if not config.getoption("--long"):
        rest = {item for item in items if is_left_out(item)}
        wanted = {item for item in items if (item in rest) is config.getoption("--rest")}
        config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
        items[:] = [item for item in items if item in wanted]
    longest_first(items)


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether a running site is to be watched longer."""
    return request.config.getoption("--long") or request.config.getoption("--rest")


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """Starts the run's Django and Celery commands."""
    with ForkServer() as server:
        yield server


@pytest.fixture(scope="session")
def all_processes(tmp_path_factory: pytest.TempPathFactory, fork_server: ForkServer) -> Iterator[Processes]:
    """Keeps the servers of the whole run."""
    processes = ForkedProcesses(tmp_path_factory.mktemp("servers"), fork_server)
    with processes:
        yield processes
    assert processes.survivors() == []


@pytest.fixture
def processes(tmp_path: Path, fork_server: ForkServer) -> Iterator[Processes]:
    """Starts processes that end with the test, however it ends."""
    processes = ForkedProcesses(tmp_path / "logs", fork_server)
    with processes:
        yield processes
    assert processes.survivors() == []


@pytest.fixture(scope="session")
def valkey_server(all_processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """The server to which the settings point; take ``valkey`` instead, which is empty."""
    server = Valkey(all_processes, tmp_path_factory.mktemp("valkey"), django_settings.VALKEY_PORT)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def valkey(valkey_server: Valkey) -> Valkey:
    """The server to which the settings point, emptied."""
    with valkey_server.client() as client:
        client.flushall()
    return valkey_server


@pytest.fixture
def own_valkey(processes: Processes, tmp_path: Path) -> Valkey:
    """A server of the test's own, to be frozen, killed and started again."""
    server = Valkey(processes, tmp_path / "valkey")
    server.start()
    return server


@pytest.fixture(scope="session")
def postgres(all_processes: Processes) -> Iterator[Postgres]:
    """The PostgreSQL server."""
    with running_postgres(all_processes) as server:
        server.forgo_durability()
        yield server


@pytest.fixture(scope="session")
def mariadb(all_processes: Processes) -> Iterator[MariaDB]:
    """The MariaDB server."""
    with running_mariadb(all_processes, MariaDB) as server:
        yield server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give ``alias`` its databases; MariaDB too, or alone, where the module or the test is marked with that."""
    given = {mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")}
    if "alias" in metafunc.fixturenames and "alias" not in given:
        asked = metafunc.definition.get_closest_marker(MARIADB)
        others = [] if asked and asked.kwargs.get("alone") else ALIASES
        metafunc.parametrize("alias", [*others, *([ALIAS_OF_MARIADB] if asked else [])], indirect=True)


@pytest.fixture
def alias(request: pytest.FixtureRequest) -> str:
    """Runs a test on each database, with the alias of a real SQLite, of a real PostgreSQL database; commits count.

    Where ``pytest.mark.mariadb`` is set, with that of a real MariaDB database too.
    """
    if request.param == MARIADB:
        request.getfixturevalue("mariadb")
    # What the host's migration wrote is there for the first test of a run alone: the flush after that takes it away.
    for model in (PeriodicTask, CrontabSchedule):
        model.objects.using(request.param).all().delete()
    return request.param


@pytest.fixture(scope="session", autouse=True)
def quickly_flushed() -> Iterator[None]:
    """Empties the databases quickly after each test that commits."""
    with quick_flush():
        yield


@pytest.fixture(scope="session")
def django_db_modify_db_settings(request: pytest.FixtureRequest) -> None:
    """Start the servers that a test asks for, and say where they are."""
    asked_for = databases_asked_for(request)
    if POSTGRES in asked_for:
        connections.databases[POSTGRES]["HOST"] = str(request.getfixturevalue("postgres").directory)
    if MARIADB in asked_for:
        connections.databases[MARIADB]["HOST"] = str(request.getfixturevalue("mariadb").socket)


def databases_asked_for(request: pytest.FixtureRequest) -> set[str]:
    """The aliases that tests of this run name."""
    marks = (item.get_closest_marker("django_db") for item in request.session.items)
    return {name for mark in marks if mark for name in mark.kwargs.get("databases") or ()}


@pytest.fixture(scope="session")
def django_db_setup(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    django_test_environment: None,
    django_db_blocker: DjangoDbBlocker,
    django_db_modify_db_settings: None,
) -> Iterator[None]:
    """Have the tests' own databases be copies of migrated ones: Django would migrate each of them, in each worker."""
    names = {"default": tmp_path_factory.mktemp("default") / "db.sqlite3"}
    shutil.copy(request.getfixturevalue("migrated_sqlite"), names["default"])
    for alias in DATABASE_SERVERS & databases_asked_for(request):
        server: Postgres | MariaDB = request.getfixturevalue(alias)
        names[alias] = server.create_database(request.getfixturevalue(f"migrated_{alias}"))
    for alias, name in names.items():
        connections.databases[alias]["NAME"] = str(name)
    yield
    with django_db_blocker.unblock():
        connections.close_all()


@pytest.fixture(scope="session")
def migrated_sqlite(all_processes: Processes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy."""

    def make(file: Path) -> None:
        migrate(
            Site(all_processes, tmp_path_factory.mktemp("migrated"), django_settings.REDIS_URL, f"sqlite:///{file}")
        )

    return made_once(tmp_path_factory, "migrated.sqlite3", make)


@pytest.fixture(scope="session")
def migrated_postgres(all_processes: Processes, tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> str:
    """The name of a migrated database to copy."""
    return migrated_on(postgres, all_processes, tmp_path_factory)


@pytest.fixture(scope="session")
def migrated_mariadb(all_processes: Processes, tmp_path_factory: pytest.TempPathFactory, mariadb: MariaDB) -> str:
    """The name of a migrated database to copy."""
    return migrated_on(mariadb, all_processes, tmp_path_factory, ON_MARIADB)


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """The URL of a migrated SQLite database of the test's own."""
    return f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'db.sqlite3')}"


@pytest.fixture(params=[SQLITE, POSTGRES])
def database_url(request: pytest.FixtureRequest) -> str:
    """Runs a test twice, with the URL of a migrated SQLite and of a migrated PostgreSQL database of its own."""
    if request.param == SQLITE:
        return request.getfixturevalue("sqlite_url")
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(server.create_database(request.getfixturevalue("migrated_postgres")))


@pytest.fixture
def site(processes: Processes, valkey: Valkey, database_url: str, tmp_path: Path) -> Site:
    """A prayer room of the test's own, its processes and commands real; runs a test twice, on either database."""
    return Site(processes, tmp_path, valkey.url, database_url)


@pytest.fixture
def sqlite_site(processes: Processes, valkey: Valkey, sqlite_url: str, tmp_path: Path) -> Site:
    """As ``site``, on SQLite alone: where the database makes no difference."""
    return Site(processes, tmp_path, valkey.url, sqlite_url)


@pytest.fixture
def mariadb_site(processes: Processes, valkey: Valkey, mariadb: MariaDB, migrated_mariadb: str, tmp_path: Path) -> Site:
    """As ``site``, on MariaDB alone."""
    url = mariadb.url(mariadb.create_database(migrated_mariadb))
    return Site(processes, tmp_path, valkey.url, url, ON_MARIADB)
