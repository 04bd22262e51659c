"""The one database that everything rests on, and how its outages are raised: LedgerUnavailable, LedgerNotMigrated.

An IntegrityError and a DataError are answers, about what was asked; they are raised as they are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.apps import apps
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    ProgrammingError,
    connections,
    router,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper

from cutover import models
from cutover.errors import LedgerNotMigrated, LedgerUnavailable

_APPS: Final = ("cutover", "django_celery_beat")
"""Whose tables are asked."""
_REFUSALS: Final = (ProgrammingError, InternalError, NotSupportedError)
"""What a database that is there says of a statement: no right to it, no such column, a server that only reads."""
_SQLITE_ERROR: Final = 1
"""SQLite's code for a statement that it cannot run; Django has no type for that."""


class Database:
    """One database by its alias."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One transaction; raises LedgerUnavailable when it cannot be begun, continued or committed."""
        with self.asked(), transaction.atomic(using=self.alias):
            yield

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Statements without a transaction of their own; raises LedgerUnavailable when one gets no answer."""
        with outages(self.alias):
            yield


@contextmanager
def outages(alias: str) -> Iterator[None]:
    """Raise LedgerUnavailable for a database that gives no answer or refuses, LedgerNotMigrated where tables miss.

    The connection is closed then, unless a transaction is open on it; the next statement opens another.
    """
    connection = connections[alias]
    try:
        yield
    except (IntegrityError, DataError):
        raise
    except models.Fence.DoesNotExist as exc:
        raise _not_migrated() from exc
    except (DatabaseError, InterfaceError) as exc:
        if not connection.in_atomic_block:
            connection.close()
            if _lacks_tables(connection):
                raise _not_migrated() from exc
        said = " ".join(str(exc).split()) or type(exc).__name__
        raise LedgerUnavailable(f"The database ({alias}) {_did(exc)}: {said}") from exc
    finally:
        if not connection.in_atomic_block and connection.errors_occurred:
            connection.close()


def _did(exc: Exception) -> str:
    code = getattr(exc.__cause__, "sqlite_errorcode", None)
    return "refuses" if isinstance(exc, _REFUSALS) or code == _SQLITE_ERROR else "gives no answer"


def _lacks_tables(connection: BaseDatabaseWrapper) -> bool:
    kept = [
        model._meta.db_table
        for config in apps.get_app_configs()
        if config.label in _APPS
        for model in config.get_models()
        if router.allow_migrate_model(connection.alias, model)
    ]
    try:
        return not set(kept) <= set(connection.introspection.table_names())
    except (DatabaseError, InterfaceError):
        connection.close()
        return False


def _not_migrated() -> LedgerNotMigrated:
    return LedgerNotMigrated("The database has no ledger yet: run `manage.py migrate`.")
