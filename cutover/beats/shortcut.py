"""The short way: a message like one that celery has just built is built after that one, not from the ground up.

For every message celery works out again what is the same for all of a task and its options: the route, the queue, the
retry policy, two thirds of the headers. Here the first message of a kind goes through celery's public calls and is
listened to where celery hands it to kombu; those that follow within a second are the same but for what is their own. A
pattern that does not give back the very message that it was taken from is not used, and whatever is unusual, or
computed at each send, goes the public way. Nobody may have hooked into the path: see ``hooks``.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from celery import Celery
from celery.beat import BeatLazyFunc, ScheduleEntry
from celery.utils.saferepr import saferepr
from kombu.messaging import Producer

from cutover import clock, headers
from cutover.beats.hooks import ignores_sends, is_unhooked_task

KEPT_S: Final = 1.0
"""How long a pattern is used: as late is it noticed that a setting, a route or a task's own option has changed."""
_KINDS: Final = 1_000
"""How many patterns are kept."""
_PLAIN: Final = frozenset(
    {"queue", "exchange", "routing_key", "priority", "serializer", "compression", "ignore_result"}
)
"""Options that mean the same for each message. All others go the public way: times, links, stamps, properties."""
_OWN: Final = frozenset({"headers", "task_id"})
_VALUES: Final = frozenset({str, int, bool, type(None)})

Kind = Hashable


class Listening:
    """A producer that hands on what it is given, and keeps it."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self.heard: list[tuple[Any, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def publish(self, body: Any, **options: Any) -> Any:
        """See kombu. Kept is what was given, before kombu adds to it."""
        self.heard.append((body, {**options, "headers": dict(options.get("headers") or {})}))
        return self._producer.publish(body, **options)


@dataclass(frozen=True, slots=True)
class Pattern:
    """What the messages of one kind have in common. ``options``: kombu's; ``added``: headers that the beat adds."""

    app: Celery
    task: Any
    options: dict[str, Any]
    common: dict[str, Any]
    added: dict[str, Any]
    embedded: Any
    sizes: tuple[int, int, int]

    def build(self, message: ScheduleEntry) -> tuple[Any, dict[str, Any]] | None:
        """Body and options for kombu's ``publish``; None where this message is not like the others after all.

        Raises TypeError for arguments that the task does not take, as celery does.
        """
        own, task_id = message.options["headers"], message.options["task_id"]
        task = self.app.tasks.get(message.task)
        if task is not self.task or not own.keys().isdisjoint(self.common):
            return None
        if task is not None and not is_unhooked_task(task):
            return None
        args, kwargs = list(message.args or ()), dict(message.kwargs or {})
        if any(isinstance(value, BeatLazyFunc) for value in args) or any(
            isinstance(value, BeatLazyFunc) for value in kwargs.values()
        ):
            return None
        if task is not None and task.typing:
            task.__header__(*args, **kwargs)
        args = args or ()  # type: ignore[assignment] # as celery has it, which a pickle shows
        args_size, kwargs_size, levels = self.sizes
        given = {
            **self.common,
            "id": task_id,
            "root_id": task_id,
            "argsrepr": saferepr(args, args_size, maxlevels=levels),
            "kwargsrepr": saferepr(kwargs, kwargs_size, maxlevels=levels),
            **own,
            **self.added,
        }
        return (args, kwargs, self.embedded), {**self.options, "headers": given, "correlation_id": task_id}


class Shortcut:
    """The patterns of one app's messages."""

    def __init__(self, app: Celery, monotonic_s: Callable[[], float] = clock.monotonic_s) -> None:
        self._app, self._monotonic_s = app, monotonic_s
        self._patterns: dict[Kind, tuple[float, Pattern | None]] = {}

    def pattern(self, kind: Kind) -> tuple[bool, Pattern | None]:
        """Whether it is known what becomes of messages of that kind, and their pattern, if they have one."""
        until_s, pattern = self._patterns.get(kind, (0.0, None))
        return until_s > self._monotonic_s(), pattern

    def learn(self, kind: Kind, message: ScheduleEntry, own: Mapping[str, Any], listening: Listening) -> None:
        """Take the pattern of a message that went the public way. ``own``: the headers that it set out with."""
        if len(self._patterns) >= _KINDS:
            self._patterns.clear()
        self._patterns[kind] = self._monotonic_s() + KEPT_S, self._taken_from(message, own, listening)

    def _taken_from(self, message: ScheduleEntry, own: Mapping[str, Any], listening: Listening) -> Pattern | None:
        try:
            [(body, options)] = listening.heard
            task, given, (_, _, embedded) = self._app.tasks.get(message.task), options["headers"], body
            if not given["ignore_result"] and not ignores_sends(self._app.backend):
                return None
            common = {name: value for name, value in given.items() if name not in message.options["headers"]}
            added = {name: value for name, value in given.items() if name not in own and name not in common}
            ids = [name for name, value in (*common.items(), *options.items()) if value == message.options["task_id"]]
            amqp = self._app.amqp
            sizes = amqp.argsrepr_maxsize, amqp.kwargsrepr_maxsize, self._app.conf.get("task_repr_maxlevels", 3)
            found = Pattern(self._app, task, options, common, added, embedded, sizes)
            before = object.__new__(type(message))
            before.__dict__.update(vars(message), options={**message.options, "headers": dict(own)})
            again = found.build(before)
        except Exception:  # another protocol, an event besides, no message at all: the public way knows
            return None
        is_alike = (
            again is not None
            and again == (body, options)
            and list(again[1]["headers"]) == list(given)
            and ids == ["id", "root_id", "correlation_id"]
            and added.keys() <= {headers.BEAT}
            and given["eta"] is given["expires"] is options.get("expiration") is None
        )
        return found if is_alike else None


def kind_of(message: ScheduleEntry) -> Kind:
    """What messages with one pattern have in common; None for one that is unusual."""
    options = message.options
    plain = options.keys() - _OWN
    if not plain <= _PLAIN:
        return None
    kind = [(name, value, type(value)) for name, value in options.items() if name in plain]
    return (message.task, *kind) if all(each[2] in _VALUES for each in kind) else None


def publish(producer: Producer, body: Any, options: dict[str, Any]) -> None:
    """Publish as celery does: on a connection where all is declared plainly, and as told when that fails."""
    connection, entities = producer.connection, options.get("declare") or ()
    with connection._reraise_as_library_errors():
        if options.get("retry") and all(hash(each) in connection.declared_entities for each in entities):
            faults = (*connection.recoverable_connection_errors, *connection.recoverable_channel_errors)
            try:
                plainly = {**options, "headers": dict(options["headers"]), "retry": False, "declare": None}
                producer.publish(body, **plainly)
            except faults:
                pass
            else:
                return
        producer.publish(body, **{**options, "declare": list(entities)})
