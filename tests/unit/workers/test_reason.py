"""Why a run did not succeed, in one line: without a server."""

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest
from billiard.einfo import ExceptionInfo
from celery.exceptions import MaxRetriesExceededError, Reject, Retry

from cutover import clock
from cutover.models import ERROR_LENGTH
from cutover.workers import reason


class Fault(Exception):
    """As a project's own."""


class Speechless(Fault):
    """Fails to say what it is."""

    def __str__(self) -> str:
        raise RuntimeError


class NotPickled(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.second = second


HERE = __name__
MANY = "Can't retry a.task[id] args:(secret,) kwargs:{}"


def caught(exc: Exception) -> ExceptionInfo:
    try:
        raise exc
    except Exception:
        return ExceptionInfo()


CASES: list[tuple[Any, str, str]] = [
    (LookupError("no such thing"), "LookupError", "no such thing"),
    (LookupError(), "LookupError", ""),
    (Fault("x"), f"{HERE}.Fault", "x"),
    (Fault("\n  first \nDETAIL: Key (email)=(a@b.c)"), f"{HERE}.Fault", "first"),
    (Fault("a\0b\ud800c\x1b[31m"), f"{HERE}.Fault", "a b c [31m"),
    (Fault("redis://user:pa@ss@host:1/0 is away"), f"{HERE}.Fault", "redis://host:1/0 is away"),
    (Speechless(), f"{HERE}.Speechless", ""),
    (caught(Fault("x")), f"{HERE}.Fault", "x"),
    (Retry("again"), "celery.exceptions.Retry", "again"),
    (Retry(when=3), "celery.exceptions.Retry", "Retry in 3s"),
    (Retry(exc=Fault("x"), when=3), f"{HERE}.Fault", "x"),
    (Retry(exc=NotPickled("a", "b")), f"{HERE}.NotPickled", "NotPickled('a')"),
    (Reject("broken"), "celery.exceptions.Reject", "broken"),
    (Reject(Fault("x")), f"{HERE}.Fault", "x"),
    (MaxRetriesExceededError(MANY), "celery.exceptions.MaxRetriesExceededError", ""),
]


@pytest.mark.parametrize(("why", "kind", "message"), CASES)
def test_it_has_the_type_and_the_first_line_of_the_message(why: Any, kind: str, message: str) -> None:
    assert reason.line(why, with_message=True) == (f"{kind}: {message}" if message else kind)
    assert reason.line(why, with_message=False) == kind


def test_it_is_short() -> None:
    whole = reason.line(Fault("x" * 10_000_000), with_message=True)
    assert (len(whole), whole[-3:]) == (ERROR_LENGTH, "xxx")


@pytest.mark.parametrize("why", [None, 7, "a result"])
def test_what_is_no_exception_is_no_reason(why: Any) -> None:
    assert reason.line(why, with_message=True) == ""


NOW = dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC)
SOON, LATER = ((NOW + dt.timedelta(seconds=seconds)).isoformat() for seconds in (30, 90))


@pytest.mark.parametrize(
    ("options", "is_in_vain"),
    [
        ({"countdown": 60, "expires": SOON}, True),
        ({"countdown": 60, "expires": LATER}, False),
        ({"countdown": 60, "expires": 30}, True),
        ({"eta": LATER, "expires": dt.datetime.fromisoformat(SOON)}, True),
        ({"eta": SOON, "countdown": None, "expires": LATER}, False),
        ({"countdown": 60, "expires": None}, False),
        ({"countdown": 60, "expires": "some time"}, False),
        ({"countdown": 1e18, "expires": SOON}, False),
        ({"eta": dt.datetime(2026, 11, 29, 13), "expires": SOON}, False),  # noqa: DTZ001 - as a project may have it
        ({}, False),
    ],
)
def test_a_retry_is_in_vain_where_it_expires_before_it_is_due(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], is_in_vain: bool
) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    assert reason.is_in_vain(Retry(sig=SimpleNamespace(options=options))) is is_in_vain
    assert not reason.is_in_vain(Retry("of a task's own"))
