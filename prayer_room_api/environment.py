"""The environment; a wrong value is one line that names its variable, and never the value, which may be a secret."""

import logging
import warnings
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import environ
from django.core.exceptions import ImproperlyConfigured

PORTS = range(65536)


class Environment(environ.Env):
    """``environ.Env``, whose errors are ImproperlyConfigured, as manage.py prints it."""

    def int(self, var: str, default: Any = environ.Env.NOTSET) -> int:
        return _read(super().int, var, default, "a whole number")

    def port(self, var: str, default: int) -> int:
        number = self.int(var, default)
        if number not in PORTS:
            raise _wrong(var, f"a port, from {PORTS.start} to {PORTS.stop - 1}")
        return number

    def zone(self, var: str, default: str) -> str:
        name = self.str(var, default)
        _read(lambda var, default: ZoneInfo(name), var, default, "a time zone, such as Europe/London")
        return name

    def level(self, var: str, default: str) -> str:
        name = self.str(var, default).upper()
        if name not in logging.getLevelNamesMapping():
            raise _wrong(var, "DEBUG, INFO, WARNING, ERROR or CRITICAL")
        return name

    def database(self, var: str, default: str) -> dict[str, Any]:
        what = "a URL such as postgres://user:password@host:5432/name"
        found = _read(self.db_url, var, default, what)
        if not found.get("ENGINE"):
            raise _wrong(var, what)
        return found

    def email(self, var: str, default: str) -> dict[str, Any]:
        return _read(self.email_url, var, default, "a URL such as smtp+tls://user:password@host:587")


def _read(reader: Callable[[str, Any], Any], var: str, default: Any, what: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # environ's own words about a strange URL hold the URL
            return reader(var, default)
    except Exception as error:  # whatever a parser raises at a strange value
        raise _wrong(var, what) from error


def _wrong(var: str, what: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"The environment variable {var} must be {what}.")
