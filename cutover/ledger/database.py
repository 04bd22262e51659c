"""The one database that everything rests on, and how its silence is told: LedgerUnavailable, LedgerNotMigrated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, IntegrityError, InterfaceError, connections, transaction

from cutover import models
from cutover.errors import LedgerNotMigrated, LedgerUnavailable


class Database:
    """One database by its alias. An IntegrityError passes through: it is an answer, not silence."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One transaction; raises LedgerUnavailable when it cannot be begun, carried on or committed."""
        with self.asked(), transaction.atomic(using=self.alias):
            yield

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Statements without a transaction of their own; raises LedgerUnavailable when one gets no answer."""
        connection = connections[self.alias]
        try:
            yield
        except IntegrityError:
            raise
        except (DatabaseError, InterfaceError, models.Fence.DoesNotExist) as exc:
            raise self._unavailable(exc) from exc
        finally:
            if not connection.in_atomic_block and connection.errors_occurred:
                connection.close()

    def _unavailable(self, exc: Exception) -> LedgerUnavailable:
        connection = connections[self.alias]
        if not connection.in_atomic_block:
            connection.close()
            try:
                if models.Slot._meta.db_table not in connection.introspection.table_names() or isinstance(
                    exc, models.Fence.DoesNotExist
                ):
                    return LedgerNotMigrated("The database has no ledger yet: run `manage.py migrate`.")
            except (DatabaseError, InterfaceError):
                connection.close()
        return LedgerUnavailable(f"The database ({self.alias}) gives no answer: {str(exc).strip()}")
