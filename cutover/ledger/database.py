"""The one database that everything rests on, and how its outages are raised: LedgerUnavailable, LedgerNotMigrated.

An IntegrityError and a DataError are answers, about what was asked; they are raised as they are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django import db
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.connection import ConnectionDoesNotExist

from cutover import models
from cutover.errors import ConfigurationError, LedgerNotMigrated, LedgerUnavailable

_NOT_MIGRATED: Final = "The database has no ledger yet: run `manage.py migrate`."
_REFUSALS: Final = (db.ProgrammingError, db.InternalError, db.NotSupportedError)
"""What a database that is there says of a statement: no right to it, no such column, a server that only reads."""
_SQLITE_ERROR: Final = 1
"""SQLite's code for a statement that it cannot run; Django has no type for that."""


@contextmanager
def transaction(alias: str) -> Iterator[None]:
    """One transaction; raises as ``outages`` does, also when it cannot be begun or committed."""
    with outages(alias), db.transaction.atomic(using=alias):
        yield


@contextmanager
def outages(alias: str) -> Iterator[None]:
    """Raise LedgerUnavailable for a database that gives no answer or refuses, LedgerNotMigrated where tables miss.

    The connection is closed then, unless a transaction is open on it; the next statement opens another. Raises
    ConfigurationError for settings with which there can be no connection.
    """
    connection = connection_of(alias)
    try:
        yield
    except ImproperlyConfigured as exc:  # such as a database without a name
        raise _unusable(alias, exc) from exc
    except (db.IntegrityError, db.DataError):
        raise
    except models.Fence.DoesNotExist as exc:
        raise LedgerNotMigrated(_NOT_MIGRATED) from exc
    except db.Error as exc:
        if not connection.in_atomic_block:
            connection.close()
            if _lacks_tables(connection):
                raise LedgerNotMigrated(_NOT_MIGRATED) from exc
        code = getattr(exc.__cause__, "sqlite_errorcode", None)
        did = "refuses" if isinstance(exc, _REFUSALS) or code == _SQLITE_ERROR else "gives no answer"
        said = " ".join(str(exc).split()) or type(exc).__name__
        raise LedgerUnavailable(f"The database ({alias}) {did}: {said}") from exc
    finally:
        if not connection.in_atomic_block and connection.errors_occurred:
            connection.close()


def connection_of(alias: str) -> BaseDatabaseWrapper:
    """This thread's connection. Raises ConfigurationError where ``DATABASES`` has no such alias, or a wrong engine."""
    try:
        return db.connections[alias]
    except (ConnectionDoesNotExist, ImproperlyConfigured) as exc:
        raise _unusable(alias, exc) from exc


def _unusable(alias: str, exc: Exception) -> ConfigurationError:
    said = " ".join(str(exc).split()).removesuffix(".")
    return ConfigurationError(f"DATABASES[{alias!r}], which CUTOVER['DATABASE'] names, cannot be used: {said}.")


def _lacks_tables(connection: BaseDatabaseWrapper) -> bool:
    asked = [app for app in apps.get_app_configs() if app.label in ("cutover", "django_celery_beat")]
    kept = {m._meta.db_table for app in asked for m in db.router.get_migratable_models(app, connection.alias)}
    try:
        return not kept <= set(connection.introspection.table_names())
    except db.Error:
        connection.close()
        return False
