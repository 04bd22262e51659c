"""The message that an entry would hand to the broker, built by celery's own code and stopped just before it leaves.

It is built by a copy of the app, so that whatever else this process sends goes its way. Nothing is sent, no signal is
raised, no result backend is asked, and a task's own ``apply_async`` is not called: it may take locks. Time stands still
in the copy, so that two messages built one after the other can be compared.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, Final, TypeVar

from celery import Celery, Task
from celery.beat import BeatLazyFunc, ScheduleEntry
from celery.result import denied_join_result
from kombu import serialization

from cutover import clock, headers
from cutover.foreign import text_of
from cutover.schedules.values import alike, listed

_T = TypeVar("_T")
DELAYS: Final = frozenset({"countdown", "eta"})
"""Options by which a worker is to wait before it starts a message."""
WAITS: Final = DELAYS | {"expires", "expiration"}
"""Options by which a message waits, or lapses; the last one is the broker's own (AMQP)."""
_TASK_ID: Final = "00000000-0000-0000-0000-000000000000"
_NONE: Final = object()
"""What a message has of a field that it lacks."""


class Unsendable(Exception):
    """Celery cannot build the message; says why."""


class Builder:
    """Builds messages as one app does."""

    def __init__(self, app: Celery) -> None:
        self._taken: list[tuple[str, Any, dict[str, Any]]] = []
        self._tasks: dict[str, Task] = {}
        app.finalize()  # or the copy would do it too, and register every task a second time
        now = clock.now().astimezone(app.timezone)
        self._app = _copied(app, now=lambda: now, _conf=_NeverEager(app.conf))
        amqp = self._app.__dict__["amqp"] = _copied(app.amqp, app=self._app, send_task_message=self._take)
        amqp.__dict__["create_task_message"] = {1: amqp.as_task_v1, 2: amqp.as_task_v2}[app.conf.task_protocol]

    def message(self, entry: ScheduleEntry) -> dict[str, Any]:
        """What the entry would hand to the broker, field by field. Raises Unsendable."""
        options = {**entry.options, "headers": dict(entry.options.get("headers") or {}), "task_id": _TASK_ID}
        if isinstance(expires := options.get("expires"), dt.timedelta):
            options["expires"] = expires.total_seconds()  # celery says that it takes "seconds in the future" so, too
        args, kwargs = list(entry.args or ()), dict(entry.kwargs or {})
        if any(isinstance(value, BeatLazyFunc) for value in (*args, *kwargs.values())):
            raise Unsendable("its arguments are computed again at each send (BeatLazyFunc)")
        self._taken.clear()
        try:
            with denied_join_result():  # keeps the result backends from subscribing
                if entry.task in self._app.tasks:
                    Task.apply_async(self._task(entry.task), args, kwargs, producer=_PRODUCER, **options)
                else:
                    self._app.send_task(entry.task, args, kwargs, producer=_PRODUCER, **options)
            [(name, message, rest)] = self._taken
            return _fields(self._app, name, message, rest)
        except Exception as exc:  # whatever celery, a router or a serializer raises
            raise Unsendable(f"{type(exc).__name__}: {text_of(exc)}") from exc

    def _task(self, name: str) -> Task:
        """A copy of the task that belongs to the copied app."""
        if name not in self._tasks:
            task = self._app.tasks[name]
            kind = type(type(task).__name__, (type(task),), {"_app": self._app, "__module__": type(task).__module__})
            self._tasks[name] = _copied(task, kind)
        return self._tasks[name]

    def _take(self, _producer: Any, name: str, message: Any, **rest: Any) -> None:
        self._taken.append((name, message, rest))


def differing(
    code: Mapping[str, Any], row: Mapping[str, Any], again: Callable[[], Mapping[str, Any]]
) -> dict[str, tuple[Any, Any]]:
    """Where two messages differ: field to both values. ``again`` builds the first of them once more, if need be.

    What wraps celery's own calls may add a trace id or the time: what two builds of one entry do not have in common is
    no difference. The second build is made after ``row``, so a clock that moved on in between has moved on for it too.
    """
    apart = [key for key in sorted(code.keys() | row.keys()) if not _are_alike(code, row, key)]
    rebuilt = again() if apart else {}
    steady = [key for key in apart if _differ(code.get(key, _NONE), row.get(key, _NONE), rebuilt.get(key, _NONE))]
    return {key: (code.get(key), row.get(key)) for key in steady}


def _are_alike(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> bool:
    return alike(one.get(key, _NONE), other.get(key, _NONE))


def _differ(code: Any, row: Any, again: Any) -> bool:
    """Whether ``row`` differs from ``code`` where that does not differ from itself, built again."""
    if alike(code, row):
        return False
    values = (code, row, again)
    if all(isinstance(value, Mapping) for value in values):
        keys = {key for value in values for key in value}
        return any(_differ(*(value.get(key, _NONE) for value in values)) for key in keys)
    if all(isinstance(value, list | tuple) for value in values) and len({len(value) for value in values}) == 1:
        return any(map(_differ, *values))
    return alike(code, again)


class _NeverEager:
    """The app's settings, ``task_always_eager`` aside: with it celery would run the task."""

    task_always_eager = False

    def __init__(self, conf: Any) -> None:
        self._conf = conf

    def __getattr__(self, name: str) -> Any:
        value = self.__dict__[name] = getattr(self._conf, name)
        return value

    def __getitem__(self, name: str) -> Any:
        return self._conf[name]


_PRODUCER: Final = SimpleNamespace(connection=SimpleNamespace(_reraise_as_library_errors=nullcontext))


def _fields(app: Celery, name: str, message: Any, rest: dict[str, Any]) -> dict[str, Any]:
    message_headers, properties, body, _ = message
    serializer = rest.get("serializer") or app.conf.task_serializer
    content_type, encoding, payload = serialization.dumps(body, serializer)
    received = serialization.loads(payload, content_type, encoding, accept={content_type})
    fields: dict[str, Any] = {"task": name}
    if isinstance(received, list | tuple) and len(received) == 3:
        args, kwargs, embed = received
        # A serializer that keeps signatures gives the worker what it makes of their plain data itself.
        fields |= {"args": args, "kwargs": kwargs} | {f"embedded {key}": listed(value) for key, value in embed.items()}
    else:
        fields["body"] = received
    own = {**message_headers, **(rest.pop("headers", None) or {})}
    # These two show the arguments to a person; the arguments themselves are compared.
    shown = ("argsrepr", "kwargsrepr")
    fields |= {f"header {key}": value for key, value in _own(own).items() if key not in shown}
    fields |= {f"property {key}": value for key, value in properties.items()}
    if (seconds := rest.get("expiration")) is not None:
        rest["expiration"] = float(seconds)
    return fields | {f"option {key}": value for key, value in rest.items()}


def _own(given: Any) -> Any:
    """Headers without those that beats add; at every depth, as monitoring agents nest them."""
    if not isinstance(given, Mapping):
        return given
    added = headers.ADDED_BY_BEATS | headers.SLOT
    return {key: _own(value) for key, value in given.items() if key not in added}


def _copied(thing: _T, kind: type | None = None, **changed: Any) -> _T:
    """A shallow copy with some attributes changed, without the constructor and whatever else it would set off."""
    made: _T = object.__new__(kind or type(thing))
    made.__dict__.update(vars(thing), **changed)
    return made
