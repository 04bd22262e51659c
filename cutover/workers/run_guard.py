"""The run guard: a worker runs each slot once, however often its message arrives.

The guard stands around the tracer that celery gives each task: a message that is dropped or deferred has stored no
result, sent no signal and called none of the task's hooks. A task that no entry sends pays a few look-ups in memory.
NOT promised: that a run that began also did its work; a task that dies half-way is the task's own concern.
"""

import random
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from billiard import current_process
from billiard.einfo import ExceptionInfo
from celery.app.task import Context, Task
from celery.app.trace import TraceInfo, trace_ok_t
from celery.exceptions import Ignore, Reject, Retry
from celery.result import EagerResult
from celery.states import FAILURE, IGNORED, RETRY, SUCCESS

from cutover import headers
from cutover.errors import LedgerUnavailable
from cutover.events import Event, log
from cutover.foreign import text_of
from cutover.seldom import log_seldom
from cutover.types import RunOutcome
from cutover.workers import reason
from cutover.workers.admission import Admission, Undecided, is_beats, scheduled_tasks
from cutover.workers.current import running
from cutover.workers.request import START_UNSENT, send_started
from cutover.workers.session import session

DEFER_S: Final = 5.0
"""After how long a deferred message is tried again (half as much to twice as much)."""
_in_hand: set[int] = set()
"""The requests that are being run, by identity: whoever wraps a task's tracer once more may give it to the task."""

_MAIN: Final = "MainProcess"
"""Billiard's name for a process that is not one of a pool's."""

OUTCOMES: Final = {
    SUCCESS: RunOutcome.SUCCEEDED,
    IGNORED: RunOutcome.SUCCEEDED,
    RETRY: RunOutcome.RETRIED,
}
"""What the states in which celery leaves a task are in the ledger; every other one is a failure."""

Tracer = Callable[..., Any]


def run_once(
    task: Task, tracer: Tracer, task_id: str, args: Any, kwargs: Any, request: dict[str, Any] | None = None
) -> Any:
    """Give a message to celery's tracer, unless it is a further one of its slot's, or is deferred."""
    request = {} if request is None else request
    given = task, task_id, args, kwargs, request
    if id(request) in _in_hand or not (is_beats(task.name, request) or _count_unless_beats(*given)):
        return tracer(task_id, args, kwargs, request)
    is_start_unsent = request.pop(START_UNSENT, False)
    admission = Admission(*given)
    context = partial(Context, request, args=args, kwargs=kwargs)
    if not _admit(task, admission, context):
        return _ignored(task, context())
    if is_start_unsent:
        with suppress(Exception):  # an event more or less
            send_started(task, task_id, request)
    with admission.logged():
        return _run(admission, tracer, task_id, args, kwargs, request)


def _run(admission: Admission, tracer: Tracer, task_id: str, args: Any, kwargs: Any, request: dict[str, Any]) -> Any:
    """Have celery's tracer run what was admitted, and record how that ended."""
    _in_hand.add(id(request))
    try:
        with running(task_id, admission.slot, admission.attempt):
            outcome = tracer(task_id, args, kwargs, request)
    except BaseException as exc:
        _end_raised(admission, exc)
        raise
    finally:
        _in_hand.discard(id(request))
    result, info = outcome[:2]
    if info is not None:
        _end(admission, info.state, info.retval)
    else:  # celery's own failure, as to store the result, has none
        _end(admission, FAILURE if isinstance(result, ExceptionInfo) else SUCCESS, result)
    return outcome


def _end_raised(admission: Admission, exc: BaseException) -> None:
    """Record the end of a run where celery's tracer has raised, for whoever called it to settle.

    So it does where a hook or the result backend fails, and with what is no ``Exception``: ``sys.exit()``, a time limit
    among greenlets. In a pool of processes ``sys.exit()`` is the end of the process, which is seen. Others go on, and
    celery may not acknowledge the message: then it comes again.
    """
    is_mains = current_process().name == _MAIN
    if not is_mains and isinstance(exc, SystemExit | KeyboardInterrupt):
        return
    is_time_limit = any(kind.__name__ == "Timeout" for kind in type(exc).__mro__)  # gevent's, eventlet's
    _end(admission, FAILURE, exc, may_return=is_mains and not (isinstance(exc, Exception) or is_time_limit))


def apply_once(
    task: Task, apply: Callable[..., EagerResult], args: Any, kwargs: Any, request: dict[str, Any], task_id: str
) -> EagerResult:
    """Run a slot's message in this process by celery's ``apply``; a further one of the slot is IGNORED.

    Raises LedgerUnavailable where the ledger gives no answer.
    """
    admission = Admission(task, task_id, args, kwargs, request)
    if not admission.decide():
        return EagerResult(task_id, None, IGNORED, name=task.name)
    try:
        with admission.logged(), running(task_id, admission.slot, admission.attempt):
            result = apply()
    except BaseException as exc:
        _end(admission, FAILURE, exc, is_eager=True)
        raise
    _end(admission, result.state, result.result, is_eager=True)
    return result


def _count_unless_beats(task: Task, task_id: str, args: Any, kwargs: Any, request: dict[str, Any]) -> bool:
    """Count a message without slot or mark, if its task is an entry's.

    Not where by the operator's word it is a beat's: then True.
    """
    try:
        scheduled = scheduled_tasks(task.app)
        if scheduled is None:
            return False
        if scheduled.is_sent_by_beats_alone(task.name):
            return True
        is_own = request.get("retries") or request.get("parent_id")
        if is_own or not (request.get(headers.ROW) or scheduled.is_scheduled(task.name)):
            return False
        with session():
            scheduled.count(Admission(task, task_id, args, kwargs, request).message())
    except Exception as exc:  # no task is to fail for the sake of a number
        _log_failed(exc, entry="", due_at="")
    return False


def _admit(task: Task, admission: Admission, context: Callable[[], Context]) -> bool:
    """True where the message is to run here and now; False where it is dropped, or was sent again for later.

    Where it can be neither decided nor sent again it is held: the process has nothing better to do, and it is not lost.
    """
    is_held = False
    while True:
        try:
            if is_held:
                time.sleep(DEFER_S)
            with session():
                return admission.decide()
        except (LedgerUnavailable, Undecided) as exc:
            kind, said = "", str(exc)
        except Exception as exc:
            kind, said = type(exc).__name__, _log_failed(exc, **admission.details)
        try:
            _defer(task, admission, context())
        except Exception as exc:
            _log_failed(exc, **admission.details)
            is_held = True
        else:
            if kind:  # of every message, for as long as it lasts
                log_seldom(Event.RUN_DEFERRED, kind, **admission.details, reason=said)
            else:
                log(Event.RUN_DEFERRED, **admission.details, reason=said)
            return False


def _defer(task: Task, admission: Admission, context: Context) -> None:
    """Send the same message again for later, with the same id and count of retries."""
    countdown = DEFER_S * random.uniform(0.5, 2.0)  # noqa: S311 - jitter, not secrecy
    given = context, context.args, context.kwargs
    # Below celery 5.7 a retry forgets the sender's word; without any, the class's own stands in the context.
    kept = {name: value for name, value in vars(context).items() if name == "ignore_result"}
    again = task.signature_from_request(*given, countdown=countdown, retries=context.retries, **kept)
    again.apply_async(headers={**(context.headers or {}), **admission.marks()})


def _end(
    admission: Admission, state: str, why: Any = None, *, is_eager: bool = False, may_return: bool = False
) -> None:
    """Record the end; what goes wrong here undoes nothing: the task has run, and its result is stored.

    ``may_return``: the message may come again, and is to be run then.
    """
    is_given_back = isinstance(why, Reject) and bool(why.requeue)
    try:
        outcome = None if is_given_back else OUTCOMES.get(state, RunOutcome.FAILED)
        if isinstance(why, Retry) and reason.is_in_vain(why):
            outcome = RunOutcome.FAILED
        admission.end(outcome, why, is_eager=is_eager, may_return=may_return)
    except LedgerUnavailable as exc:
        log(Event.DATABASE_LOST, reason=f"the end of a run is not recorded: {exc}")
    except Exception as exc:
        _log_failed(exc, **admission.details)


def _ignored(task: Task, context: Context) -> Any:
    """What celery's tracer returns of a task that raises Ignore: the message is acknowledged, and that is all."""
    try:
        raise Ignore
    except Ignore as exc:
        info = TraceInfo(IGNORED, exc)
        info.handle_ignore(task, context)
        return trace_ok_t(ExceptionInfo(internal=True), info, None, None)


def _log_failed(exc: Exception, **details: str) -> str:
    kind = type(exc).__name__
    log_seldom(Event.GUARD_FAILED, kind, **details, reason=f"{kind}: {text_of(exc)}")
    return f"{kind}: {text_of(exc)}"
