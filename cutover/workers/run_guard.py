"""The run guard: a worker runs each slot once, however often its message arrives.

``app = Celery("project", task_cls="cutover.guard.GuardedTask")`` is all there is to it. The guard stands around the
tracer that celery gives each task: a message that is dropped or deferred has stored no result, sent no signal and
called none of the task's hooks. A task that no entry sends pays a few look-ups in memory. NOT promised: that a run
that began also did its work; a task that dies half-way is the task's own concern.
"""

import random
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import takewhile
from typing import Any, Final

import celery
from billiard.einfo import ExceptionInfo
from celery.app.task import Context
from celery.app.trace import TraceInfo, trace_ok_t
from celery.contrib.django.task import DjangoTask
from celery.exceptions import Ignore, Reject
from celery.result import EagerResult
from celery.states import IGNORED, REJECTED
from django.db import connections

from cutover import headers
from cutover.errors import LedgerUnavailable
from cutover.events import Event, log
from cutover.workers.admission import Admission, Undecided, config, is_beats, watch
from cutover.workers.request import START_UNSAID, say_started

DEFER_S: Final = 5.0
"""After how long a deferred message is tried again (half as much to twice as much)."""
_in_hand: set[int] = set()
"""The requests that are being run, by identity: whoever wraps a task's tracer once more may give it to the task."""

Tracer = Callable[..., Any]


class GuardedTask(DjangoTask):
    """The project's base task. A task class of the project's own derives from it to be guarded."""

    abstract = True
    Request = "cutover.workers.request:GuardedRequest"

    @property
    def run_guard(self) -> str | None:
        """What workers answer a preflight: guarded, and by which celery; None where an override may keep it off."""
        return None if override(self) else f"cutover celery={celery.__version__}"

    @property
    def __trace__(self) -> Tracer | None:
        """Celery's tracer for this task, with the guard around it; None until celery has made one."""
        return self.__dict__.get("__trace__")

    @__trace__.setter
    def __trace__(self, tracer: Tracer | None) -> None:
        self.__dict__["__trace__"] = tracer and partial(_run_once, self, tracer)

    def apply(self, args: Any = None, kwargs: Any = None, *others: Any, **options: Any) -> EagerResult:
        """Run the task in this process, as celery does; with ``task_always_eager`` a beat's message comes here.

        A further message of a slot is IGNORED. Raises LedgerUnavailable where the ledger gives no answer.
        """
        request = {**(options.get("headers") or {}), "retries": options.get("retries")}
        if request.get(headers.DUE_AT) is not None:
            task_id = options.get("task_id") or ""
            if not Admission(self, task_id, args or (), kwargs or {}, request).decide():
                return EagerResult(task_id, None, IGNORED, name=self.name)
        return super().apply(args, kwargs, *others, **options)


OWN: Final = ("run_guard", "__trace__", "Strategy")
"""What the guard is seen by, stands at, and is reached by. A task's hooks are no part of it."""


def override(task: GuardedTask) -> str:
    """What may keep the guard off a task, and where it stands; empty for nothing."""
    for kind in takewhile(lambda kind: kind is not GuardedTask, type(task).__mro__):
        if found := [name for name in OWN if name in vars(kind)]:
            is_option = "_decorated" in vars(kind)  # celery's mark of a class that a decorator made
            place = "the task's option " if is_option else f"{kind.__module__}.{kind.__qualname__}."
            return f"{place}{found[0]} may keep the guard off"
    return ""


def _run_once(
    task: GuardedTask, tracer: Tracer, task_id: str, args: Any, kwargs: Any, request: dict[str, Any] | None = None
) -> Any:
    """Give a message to celery's tracer, unless it is a further one of its slot's, or is deferred."""
    request = {} if request is None else request
    given = task, task_id, args, kwargs, request
    if id(request) in _in_hand or not (is_beats(task.name, request) or _is_beats_by_word(*given)):
        return tracer(task_id, args, kwargs, request)
    is_start_unsaid = request.pop(START_UNSAID, False)
    admission = Admission(*given)
    context = partial(Context, request, args=args, kwargs=kwargs)
    if not _is_admitted(task, admission, context):
        return _ignored(task, context())
    if is_start_unsaid:
        with suppress(Exception):  # an event more or less
            say_started(task, task_id, request)
    _in_hand.add(id(request))
    try:
        outcome = tracer(task_id, args, kwargs, request)
    except Reject as exc:  # of a hook after the task: celery's main process settles it
        _end(admission, TraceInfo(REJECTED, exc))
        raise
    finally:
        _in_hand.discard(id(request))
    _end(admission, outcome[1])
    return outcome


def _is_beats_by_word(task: GuardedTask, task_id: str, args: Any, kwargs: Any, request: dict[str, Any]) -> bool:
    """Whether a message without slot or mark is a beat's, by the operator's word; else counted, if it is an entry's."""
    try:
        seen = watch(task.app)
        if seen is None:
            return False
        if seen.is_sent_by_beats_alone(task.name):
            return True
        is_own = request.get("retries") or request.get("parent_id")
        if is_own or not (request.get(headers.ROW) or seen.is_scheduled(task.name)):
            return False
        seen.count(Admission(task, task_id, args, kwargs, request).message())
    except Exception as exc:  # no task is to fail for the sake of a number
        log(Event.GUARD_FAILED, entry="", due_at="", reason=f"{type(exc).__name__}: {exc}")
    _close_database()
    return False


def _is_admitted(task: GuardedTask, admission: Admission, context: Callable[[], Context]) -> bool:
    """Whether the message runs here and now; False where it is dropped, or was sent again for later.

    Where it can be neither decided nor sent again it is held: the process has nothing better to do, and it is not lost.
    """
    is_held = False
    while True:
        try:
            if is_held:
                time.sleep(DEFER_S)
            return admission.decide()
        except (LedgerUnavailable, Undecided) as exc:
            reason = str(exc)
        except Exception as exc:
            reason = _failed(admission, exc)
        finally:
            _close_database()
        try:
            _defer(task, admission, context())
        except Exception as exc:
            _failed(admission, exc)
            is_held = True
        else:
            log(Event.RUN_DEFERRED, **admission.details, reason=reason)
            return False


def _defer(task: GuardedTask, admission: Admission, context: Context) -> None:
    """Send the same message again for later, with the same id and count of retries."""
    countdown = DEFER_S * random.uniform(0.5, 2.0)  # noqa: S311 - jitter, not secrecy
    given = context, context.args, context.kwargs
    # Below celery 5.7 a retry forgets the sender's word; without any, the class's own stands in the context.
    kept = {name: value for name, value in vars(context).items() if name == "ignore_result"}
    again = task.signature_from_request(*given, countdown=countdown, retries=context.retries, **kept)
    again.apply_async(headers={**(context.headers or {}), **admission.marks()})


def _end(admission: Admission, info: TraceInfo | None) -> None:
    """Record the end; what goes wrong here undoes nothing: the task has run, and its result is stored."""
    reject = getattr(info, "retval", None)
    try:
        admission.end(is_given_back=isinstance(reject, Reject) and bool(reject.requeue))
    except LedgerUnavailable as exc:
        log(Event.DATABASE_LOST, reason=f"the end of a run is not recorded: {exc}")
    except Exception as exc:
        _failed(admission, exc)
    finally:
        _close_database()


def _ignored(task: GuardedTask, context: Context) -> Any:
    """What celery's tracer returns of a task that raises Ignore: the message is acknowledged, and that is all."""
    try:
        raise Ignore
    except Ignore as exc:
        info = TraceInfo(IGNORED, exc)
        info.handle_ignore(task, context)
        return trace_ok_t(ExceptionInfo(internal=True), info, None, None)


def _failed(admission: Admission, exc: Exception) -> str:
    reason = f"{type(exc).__name__}: {exc}"
    log(Event.GUARD_FAILED, **admission.details, reason=reason)
    return reason


def _close_database() -> None:
    """Leave no connection behind that Django would close after a request; celery closes its own around the task."""
    with suppress(Exception):
        connections[config().database].close_if_unusable_or_obsolete()
