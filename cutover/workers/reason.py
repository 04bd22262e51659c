"""Why a run did not succeed, in one bounded line: the exception's type and the first line of its message.

Never a traceback, and nothing that celery puts into a message of its own about the task's arguments. A message may
still hold what the task put into it: ``CUTOVER["RUN_ERROR_MESSAGES"]`` leaves all of them out.
"""

import datetime as dt
import re
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from celery.exceptions import MaxRetriesExceededError, Reject, Retry
from celery.utils.serialization import UnpickleableExceptionWrapper

from cutover import clock
from cutover.models import ERROR_LENGTH

_READ: Final = 4_000
"""How much of a message is looked at: it may be a whole page."""
_USER_OF_A_URL: Final = re.compile(r"(?<=://)\S*@")


def line(why: Any, *, with_message: bool) -> str:
    """What stopped a run, in at most ``ERROR_LENGTH`` printable characters; empty where ``why`` is no exception.

    Of a retry or a rejection it is the exception that the task gave for it, where it gave one.
    """
    exc = _cause(why)
    if not isinstance(exc, BaseException):
        return ""
    kind, message = _kind(exc), _message(exc) if with_message else ""
    return (f"{kind}: {message}" if message else kind)[:ERROR_LENGTH]


def is_in_vain(retry: Retry) -> bool:
    """Whether the retry that a task asks for expires before it is due, as its message does: workers drop it then."""
    options, now = dict(getattr(retry.sig, "options", None) or {}), clock.now()
    due_at = _instant(options.get("eta") or options.get("countdown") or 0, now)
    expires_at = _instant(options.get("expires"), now)
    return due_at is not None and expires_at is not None and due_at > expires_at


def _instant(given: Any, now: dt.datetime) -> dt.datetime | None:
    """What celery takes for an instant: seconds from now on, or a time; None where it is none, or not known of when."""
    with suppress(ValueError, TypeError, OverflowError):
        if isinstance(given, int | float):
            return now + dt.timedelta(seconds=given)
        found = dt.datetime.fromisoformat(given) if isinstance(given, str) else given
        return found if isinstance(found, dt.datetime) and found.tzinfo else None
    return None


def _cause(why: Any) -> Any:
    """The exception within celery's own of what the tracer of a task gives."""
    inner = {ExceptionInfo: "exception", ExceptionWithTraceback: "exc", Retry: "exc", Reject: "reason"}
    for kind, name in inner.items():
        if isinstance(why, kind) and isinstance(found := getattr(why, name), BaseException):
            why = found
    return why


def _kind(exc: BaseException) -> str:
    if isinstance(exc, UnpickleableExceptionWrapper):
        return f"{exc.exc_module}.{exc.exc_cls_name}"
    kind = type(exc)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _message(exc: BaseException) -> str:
    if isinstance(exc, MaxRetriesExceededError):
        return ""  # it has the task's arguments
    text = ""
    with suppress(Exception):  # a project's own may fail to say it
        text = str(exc.reason if isinstance(exc, Reject) else exc)
    first = next(islice(text[:_READ].strip().splitlines(), 1), "")
    # For a line that people read: what moves a terminal's cursor is no part of it.
    return _USER_OF_A_URL.sub("", "".join(each if each.isprintable() else " " for each in first)).strip()
