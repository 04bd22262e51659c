"""What the tables are made of: instants in UTC whatever ``USE_TZ`` says, words of others, indexes of few rows."""

import datetime as dt
import re
from typing import Any, Final

from django.conf import settings
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta.resolution


class InstantField(models.DateTimeField):  # type: ignore[type-arg]  # no generic at run time
    """A ``DateTimeField`` (migrations know it as one) that takes and gives aware instants even without ``USE_TZ``.

    Then Django itself would store local wall time, in which one hour of the year is ambiguous: here SQLite and its like
    store UTC, and PostgreSQL, whose column is an instant anyway, is given one.
    """

    def deconstruct(self) -> Any:
        """As the field that it is to the database."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, kwargs

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        """See Django."""
        if not settings.USE_TZ and isinstance(value, dt.datetime):
            value = as_instant(value)
            if connection.vendor != "postgresql":
                value = value.replace(tzinfo=None)
        return super().get_db_prep_value(value, connection, prepared)

    def from_db_value(self, value: Any, _expression: Any, connection: BaseDatabaseWrapper) -> Any:
        """See Django."""
        if not isinstance(value, dt.datetime) or settings.USE_TZ or timezone.is_aware(value):
            return value
        return as_instant(value) if connection.vendor == "postgresql" else value.replace(tzinfo=dt.UTC)


class _Microseconds(InstantField):
    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        """See Django."""
        return (
            _EPOCH + value * _MICROSECOND
            if isinstance(value, int)
            else super().from_db_value(value, expression, connection)
        )


class Quickly(models.Func):
    """An instant, which PostgreSQL gives as a number: as an instant Django loads it in Python, 20 times as long."""

    output_field = _Microseconds()
    template = "%(expressions)s"
    arity = 1

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """See Django."""
        template = "(EXTRACT(EPOCH FROM %(expressions)s) * 1000000)::bigint"
        return self.as_sql(compiler, connection, template=template, **context)


_NOWHERE: Final = re.compile("[\0\ud800-\udfff]")
"""PostgreSQL takes no NUL, and no database half of a pair, as a terminal gives for what is no UTF-8."""
_LONG: Final = re.compile("[^\0-\uffff]")
"""Django 5.1 speaks UTF-8 of three bytes to MySQL and MariaDB, which has none of these, emoji among them."""


class _Said(models.Field):  # type: ignore[type-arg]  # no generic at run time
    """Keeps a character that a connection does not take from failing the commit: U+FFFD is stored in its place."""

    def deconstruct(self) -> Any:
        """As the field that it is to the database."""
        name, _, args, kwargs = super().deconstruct()
        return name, f"django.db.models.{self.get_internal_type()}", args, kwargs

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        """See Django."""
        if isinstance(value, str):
            value = _NOWHERE.sub("\ufffd", value)
            if connection.vendor == "mysql" and connection.get_connection_params().get("charset") != "utf8mb4":
                value = _LONG.sub("\ufffd", value)
        return super().get_db_prep_save(value, connection)


class SaidField(_Said, models.CharField):  # type: ignore[type-arg]  # no generic at run time
    """A ``CharField`` of words that are a person's, a broker's or an exception's (migrations know it as one)."""


class SaidTextField(_Said, models.TextField):  # type: ignore[type-arg]  # no generic at run time
    """A ``TextField`` of such words (migrations know it as one)."""


class _Now(models.Field):  # type: ignore[type-arg]  # no generic at run time
    """What ``DatabaseNow`` gives, aware. No ``DateTimeField``: Django takes such a value to be in a column's zone."""

    def from_db_value(self, value: Any, _expression: Any, connection: BaseDatabaseWrapper) -> dt.datetime:
        """See Django."""
        found = dt.datetime.fromisoformat(value) if isinstance(value, str) else value
        return as_instant(found) if connection.vendor == "postgresql" else found.replace(tzinfo=dt.UTC)


class DatabaseNow(models.Func):
    """The present instant by the database server's own clock, not by that of the process that asks."""

    function = "clock_timestamp"
    output_field = _Now()

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """In milliseconds. The server is this process, so it has this host's clock."""
        template = "STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', 'NOW')"
        return self.as_sql(compiler, connection, template=template, **context)

    def as_mysql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        """In UTC, as Django's columns are, whatever the session's time zone."""
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **context)


class PartialIndex(models.Index):
    """An index of the few rows that fit its condition (migrations know it as Django's).

    MySQL knows no conditions, of which Django warns. Its index begins with the condition's columns: see 0005_mysql.
    """

    def __init__(self, *, condition: models.Q, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows = condition

    def deconstruct(self) -> Any:
        """As the index that it is to the database."""
        _, args, kwargs = super().deconstruct()
        return "django.db.models.Index", args, {**kwargs, "condition": self.rows}

    def __eq__(self, other: object) -> bool:
        return self.deconstruct() == other.deconstruct() if isinstance(other, models.Index) else NotImplemented


def as_instant(value: dt.datetime) -> dt.datetime:
    """A value of another app's ``DateTimeField``, as an aware instant in UTC."""
    aware = value if timezone.is_aware(value) else value.replace(tzinfo=timezone.get_default_timezone())
    return aware.astimezone(dt.UTC)


def stored(value: dt.datetime) -> dt.datetime:
    """An aware instant, as another app's ``DateTimeField`` takes it: without ``USE_TZ`` that is local and naive."""
    return value if settings.USE_TZ else timezone.make_naive(value, timezone.get_default_timezone())
