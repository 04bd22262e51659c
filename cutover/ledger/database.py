"""The one database that everything rests on, and how its outages are raised: LedgerUnavailable, LedgerNotMigrated.

An IntegrityError and a DataError are answers, about what was asked; they are raised as they are.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from django import db
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.connection import ConnectionDoesNotExist

from cutover import models
from cutover.backoff import Backoff
from cutover.clock import SYSTEM
from cutover.conf import NO_COMMITS, migrate
from cutover.errors import (
    ConfigurationError,
    LedgerBusy,
    LedgerContended,
    LedgerNotMigrated,
    LedgerRefused,
    LedgerUnavailable,
)

_NOT_MIGRATED: Final = "The database has no ledger yet: run `{}`."
_REFUSALS: Final = (db.ProgrammingError, db.InternalError, db.NotSupportedError)
"""What a database that is there says of a statement: no right to it, no such column, a server that only reads."""
_SQLITE_REFUSALS: Final = frozenset({1, 8, 13})
"""SQLite's codes for a statement that it cannot run, a file that it may only read, a full disk: Django has no type."""
_FULL: Final = frozenset({1021, 1114, "53100"})
"""A full disk, or table: codes of MySQL and MariaDB, an SQLSTATE of PostgreSQL. Their drivers take it for an outage."""
_MYSQL_REFUSALS: Final = frozenset({1054, 1142, 1143, 1223, 1227, 1290, 1792, 1836, 3989})
"""MySQL's and MariaDB's codes for the like, most of which their drivers take for outages.

The other operational errors are outages for us too: no connection (1040, 1049, 1053, 1927, 2002 to 2013, 4031).
"""
_CONTENDED: Final = frozenset({1020, 1213, "40001", "40P01"})
"""A deadlock, or a row that has changed meanwhile: codes of MySQL and MariaDB, SQLSTATEs of PostgreSQL."""
_BUSY: Final = frozenset({1205, "55P03"})
"""Somebody else has held a lock for longer than this session waits; SQLite says so by the code that follows."""
_SQLITE_BUSY: Final = 5
_TRIES: Final = 10
"""Of twenty that start the same run at once on a laden MariaDB, one was in the way of others five times."""
_BETWEEN_TRIES: Final = Backoff(first_s=0.01, most_s=0.1)
"""Twenty that begin again in the same instant would be in each other's way once more."""
_WRITE_LOCK: Final = f"UPDATE {models.Fence._meta.db_table} SET epoch = epoch WHERE 1 = 0"  # noqa: S608
"""Writes no row, and has SQLite lock other writers out."""
SILENCE_S: Final = 3
"""How long whoever is within a transaction may say nothing, frozen or cut off, before the server ends its session."""
_GIVES_UP: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""libpq's options by which a connection that the network has forgotten is an error after some ten seconds.

Without them the kernel waits for a quarter of an hour for what was sent to arrive, and for two hours for an answer.
"""


P = ParamSpec("P")
T = TypeVar("T")


def tried_again(write: Callable[P, T]) -> Callable[P, T]:
    """Have a method that is one transaction begin again where another transaction was in its way, a few times.

    InnoDB locks what is between the rows too, so that a claim and the workers' records get there by chance.
    """

    @wraps(write)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        backoff = _BETWEEN_TRIES
        for _ in range(_TRIES - 1):
            with suppress(LedgerContended):
                return write(*args, **kwargs)
            backoff = backoff.failed()
            SYSTEM.sleep(backoff.wait_s(SYSTEM.jitter()))
        return write(*args, **kwargs)

    return wrapper


@contextmanager
def transaction(alias: str) -> Iterator[None]:
    """One transaction that writes; raises as ``outages`` does, also when it cannot be begun or committed.

    A process that falls silent within it loses it, and the locks with it: MySQL and MariaDB end its session after
    ``SILENCE_S``; PostgreSQL does so where the fence is held. On SQLite it has the file's one write lock from its
    beginning: who has read first is refused the lock at once, without a wait, when another writer is there.
    """
    connection = connection_of(alias)
    takes_lock = connection.vendor == "sqlite" and not connection.in_atomic_block
    with outages(alias), silence_bounded(alias), db.transaction.atomic(using=alias):
        if takes_lock:
            with connection.cursor() as cursor:
                cursor.execute(_WRITE_LOCK)
        yield


@contextmanager
def silence_bounded(alias: str) -> Iterator[None]:
    """Have MySQL and MariaDB bound the silence within the transaction that follows; the session is left as it was.

    They have no bound that lasts as long as a transaction, as PostgreSQL has, and MySQL has none for transactions at
    all: so it is the time for which any session may be silent. Raises as ``outages`` does.
    """
    connection = db.connections[alias]
    if connection.vendor != "mysql" or connection.in_atomic_block:
        yield
        return
    with outages(alias), connection.cursor() as cursor:
        cursor.execute(f"SET @cutover_wait_timeout = @@SESSION.wait_timeout, SESSION wait_timeout = {SILENCE_S}")
    session = connection.connection
    try:
        yield
    finally:
        if session is not None and connection.connection is session:
            try:
                with connection.cursor() as cursor:
                    cursor.execute("SET SESSION wait_timeout = @cutover_wait_timeout")
            except db.Error:  # the session has ended: after the commit, or with the error that is under way
                connection.close()


@contextmanager
def outages(alias: str) -> Iterator[None]:
    """Raise LedgerUnavailable for a database that gives no answer, or one of its kinds for an answer that is a refusal.

    These are LedgerRefused; LedgerNotMigrated where tables are missing; LedgerContended where another transaction was
    in the way, LedgerBusy where one kept a lock for too long. The connection is closed then, unless a transaction is
    open on it; the next statement opens another. ConfigurationError for settings with which there can be no connection.
    """
    connection = connection_of(alias)
    try:
        yield
    except ImproperlyConfigured as exc:  # such as a database without a name
        raise _unusable(alias, exc) from exc
    except (db.IntegrityError, db.DataError):
        raise
    except models.Fence.DoesNotExist as exc:
        raise LedgerNotMigrated(_NOT_MIGRATED.format(migrate(alias))) from exc
    except db.Error as exc:
        if not connection.in_atomic_block:
            connection.close()
            if _lacks_tables(connection):
                raise LedgerNotMigrated(_NOT_MIGRATED.format(migrate(alias))) from exc
        said = " ".join(str(exc).split()) or type(exc).__name__
        if not connection.in_atomic_block and _codes(exc) & _CONTENDED:
            raise LedgerContended(f"The database ({alias}) has given others the right of way: {said}") from exc
        if _codes(exc) & _BUSY or _sqlite_code(exc) == _SQLITE_BUSY:
            raise LedgerBusy(f"The database ({alias}) is kept locked by somebody else: {said}") from exc
        if _is_refusal(exc):
            raise LedgerRefused(f"The database ({alias}) refuses: {said}") from exc
        raise LedgerUnavailable(f"The database ({alias}) gives no answer: {said}") from exc
    finally:
        if not connection.in_atomic_block and connection.errors_occurred:
            connection.close()


def connection_of(alias: str) -> BaseDatabaseWrapper:
    """This thread's connection.

    Raises ConfigurationError where ``DATABASES`` has no such alias, a wrong engine, or commits nothing by itself.
    """
    try:
        connection = db.connections[alias]
    except (ConnectionDoesNotExist, ImproperlyConfigured) as exc:
        raise _unusable(alias, exc) from exc
    if not connection.settings_dict["AUTOCOMMIT"]:
        raise ConfigurationError(NO_COMMITS.format(alias))
    return connection


def keep(alias: str) -> None:
    """Have this process keep its connections, as one does that has no requests, and notice when one is silently gone.

    What the project's own OPTIONS say goes before. Django's own pool keeps connections by itself, and takes no age.
    """
    connection = db.connections[alias]
    settings = connection.settings_dict
    options = settings.get("OPTIONS", {})
    if not options.get("pool"):
        settings["CONN_MAX_AGE"] = None
        if connection.vendor == "postgresql":
            settings["OPTIONS"] = {**_GIVES_UP, **options}


def _unusable(alias: str, exc: Exception) -> ConfigurationError:
    said = " ".join(str(exc).split()).removesuffix(".")
    return ConfigurationError(f"DATABASES[{alias!r}], which CUTOVER['DATABASE'] names, cannot be used: {said}.")


def _is_refusal(exc: db.Error) -> bool:
    """Whether a database that is there has refused a statement."""
    if isinstance(exc, _REFUSALS) or _sqlite_code(exc) in _SQLITE_REFUSALS:
        return True
    return bool(_codes(exc) & (_MYSQL_REFUSALS | _FULL))


def _sqlite_code(exc: db.Error) -> int:
    """SQLite's primary code; 0 where there is none, as with another database, and below Python 3.11."""
    return getattr(exc.__cause__, "sqlite_errorcode", 0) & 0xFF


def _codes(exc: db.Error) -> set[object]:
    """By what the database's own manual knows the error: a number of MySQL and MariaDB, an SQLSTATE of PostgreSQL."""
    return {code for code in (*exc.args[:1], getattr(exc.__cause__, "sqlstate", None)) if isinstance(code, int | str)}


def without_transactions(alias: str) -> list[str]:
    """The tables of ledger and rows whose storage engine has no transactions, and so fences nothing.

    Only MySQL and MariaDB have such engines, MyISAM and Aria. Raises as ``outages``.
    """
    connection = connection_of(alias)
    if connection.vendor != "mysql":
        return []
    with outages(alias), connection.cursor() as cursor:
        cursor.execute(
            "SELECT t.table_name FROM information_schema.tables t LEFT JOIN information_schema.engines e "
            "ON e.engine = t.engine WHERE t.table_schema = DATABASE() AND COALESCE(e.transactions, 'NO') <> 'YES'"
        )
        return sorted(_tables(alias) & {str(name) for (name,) in cursor.fetchall()})


def _tables(alias: str) -> set[str]:
    asked = [app for app in apps.get_app_configs() if app.label in ("cutover", "django_celery_beat")]
    return {m._meta.db_table for app in asked for m in db.router.get_migratable_models(app, alias)}


def _lacks_tables(connection: BaseDatabaseWrapper) -> bool:
    try:
        return not _tables(connection.alias) <= set(connection.introspection.table_names())
    except db.Error:
        connection.close()
        return False
