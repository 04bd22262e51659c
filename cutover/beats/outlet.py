"""The way out of a beat: celery's own calls, which a slot's message goes through, and what came of it.

The first message of a slot goes through ``Scheduler.apply_entry(entry, producer=...)``, in exactly that form: there
monitoring agents open a check-in or a span, and celery logs it. A sweep or a resend goes through ``apply_async`` alone,
as no second check-in is to be opened, with what was put on the first message: that ends the check-in. A project's
scheduler that overrides either is called, and a task that overrides the latter; what they may NOT do is send more than
one message for a slot. Where nobody wraps or overrides anything on that path, most first messages are sent as the one
before: see ``shortcut``.
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol

from celery.beat import ScheduleEntry, Scheduler, SchedulingError
from celery.beat import logger as beats_logger
from kombu.messaging import Producer

from cutover import headers
from cutover.beats.hooks import PublishPath
from cutover.beats.overrides import TooManyMessages
from cutover.beats.shortcut import Listening, Pattern, Shortcut, kind_of, publish
from cutover.events import Event, log
from cutover.foreign import text_of

KEPT: Final = 5_000
"""Of how many slots it is known what was put on their messages; a further message of an older one goes without."""


class Send(Protocol):
    """Sends a slot's message; False where the project's own code chose to send none. Raises what celery does."""

    def __call__(self, message: ScheduleEntry, *, first: bool) -> bool:
        """``first``: no other leader can have sent one for the slot, so ``apply_entry`` may be called for it."""


@dataclass(slots=True)
class Attempt:
    """What has come of the message ``task_id`` so far. ``refused``: a second one was about to follow it."""

    task_id: str
    is_sent: bool = False
    refused: bool = False
    error: Exception | None = None


class Outlet:
    """One scheduler's way out. It watches the scheduler's ``apply_async``, whose errors ``apply_entry`` only logs."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._apply_async = scheduler.apply_async
        self._attempt: Attempt | None = None
        self._put_on: dict[str, dict[str, Any]] = {}
        watched = self._watched
        self._path = PublishPath(scheduler, watched=None if "apply_async" in vars(scheduler) else watched)
        self._shortcut = Shortcut(scheduler.app)
        scheduler.apply_async = watched

    def send(self, message: ScheduleEntry, *, first: bool) -> bool:
        """See ``Send``. Raises TooManyMessages, after which this beat must not go on."""
        scheduler, task_id, given = self._scheduler, message.options["task_id"], message.options["headers"]
        producer = scheduler.producer  # without a broker this raises, and nothing has been announced
        own, put_on = dict(given), self._put_on.get(task_id)
        kind = kind_of(message) if first and put_on is None and self._path.is_unhooked() else None
        listening: Listening | None = None
        if kind is not None:
            is_known, pattern = self._shortcut.pattern(kind)
            if pattern is not None and is_known and self._send_alike(message, pattern, producer):
                return True
            if not is_known:
                producer = listening = Listening(producer)
        given.update(put_on or {})
        attempt = self._attempt = Attempt(task_id)
        try:
            if first and put_on is None:
                scheduler.apply_entry(message, producer=producer)
            else:
                scheduler.apply_async(message, producer=producer, advance=False)
        except Exception as exc:
            attempt.error = attempt.error or exc
            if attempt.is_sent and not attempt.refused:
                log(Event.ENTRY_FAILED, entry=message.name, reason=f"after its message was sent: {text_of(exc)}")
        finally:
            self._attempt = None
        now = message.options.get("headers") or {}
        self._keep(task_id, {name: now[name] for name in now.keys() - own.keys()}, attempt)
        if listening is not None and attempt.is_sent:
            self._shortcut.learn(kind, message, own, listening)
        if attempt.refused:
            raise TooManyMessages(type(scheduler))
        if attempt.error is not None and not attempt.is_sent:
            _raise_again(attempt.error)
        return attempt.is_sent

    def pass_on(self, apply_async: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call celery's own ``apply_async``. Raises TooManyMessages where the slot's message has been sent."""
        attempt = self._attempt
        if attempt is None:
            return apply_async(*args, **kwargs)  # no slot's
        if attempt.is_sent:
            attempt.refused = True
            raise TooManyMessages(type(self._scheduler))
        try:
            result = apply_async(*args, **kwargs)
        except Exception as exc:
            attempt.error = exc  # an override around may keep it to itself
            raise
        attempt.is_sent = result is None or _is_of(result, attempt)
        return result

    def _send_alike(self, message: ScheduleEntry, pattern: Pattern, producer: Producer) -> bool:
        """Send it by its pattern, and log what celery's ``apply_entry`` does; False where it has to go the public way.

        Raises as ``Scheduler.apply_async`` does.
        """
        try:
            built = pattern.build(message)
        except Exception:  # celery is to say so
            built = None
        if built is None:
            return False
        task_id = message.options["task_id"]
        beats_logger.info("Scheduler: Sending due task %s (%s)", message.name, message.task)
        self._scheduler._tasks_since_sync += 1
        try:
            try:
                publish(producer, *built)
            except Exception as exc:
                raise SchedulingError(f"Couldn't apply scheduled task {message.name}: {text_of(exc)}")  # noqa: B904 - as celery
        except SchedulingError as exc:
            beats_logger.error("Message Error: %s\n%s", exc, traceback.format_stack(), exc_info=True)
            self._keep(task_id, {}, Attempt(task_id))
            raise
        beats_logger.debug("%s sent. id->%s", message.task, task_id)
        return True

    def _watched(self, *args: Any, **kwargs: Any) -> Any:
        attempt = self._attempt
        try:
            result = self._apply_async(*args, **kwargs)
        except Exception as exc:
            if attempt is not None:
                attempt.error = exc
            raise
        if attempt is not None and _is_of(result, attempt):
            attempt.is_sent = True  # an override has sent it in its own way
        return result

    def _keep(self, task_id: str, put_on: dict[str, Any], attempt: Attempt) -> None:
        """Keep what was put on a message, and that it was announced as long as it is not sent."""
        put_on.pop(headers.BEAT, None)
        if attempt.is_sent and not put_on:
            self._put_on.pop(task_id, None)
            return
        self._put_on[task_id] = put_on
        if len(self._put_on) > KEPT:
            del self._put_on[next(iter(self._put_on))]


def _is_of(result: Any, attempt: Attempt) -> bool:
    """Whether what a call gave back is the result of the slot's own message.

    A task that refuses to be queued twice gives that of the message that is under way already, or one of no message.
    """
    return str(getattr(result, "id", None)) == attempt.task_id


def _raise_again(error: Exception) -> NoReturn:
    """Raise it with the context that it has, by which faults are told apart; an ``except`` around would replace it."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context
