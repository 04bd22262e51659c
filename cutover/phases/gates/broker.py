"""Gates on the broker, and on the workers that are asked through it."""

import contextlib
import operator
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final, TypeVar

from kombu.connection import Connection
from kombu.entity import Queue

from cutover.errors import CutoverError
from cutover.foreign import text_of
from cutover.phases.context import Context, in_time
from cutover.phases.evidence import detection
from cutover.phases.report import Check, gate
from cutover.phases.wording import inline, named, one_line
from cutover.plural import counted

_T = TypeVar("_T")

BROKER_TIMEOUT_S: Final = 5.0
WORKERS_TIMEOUT_S: Final = 2.0
_CELERY: Final = re.compile(r"\[.*\bcelery=([\w.]+)")
_NAMESPACE: Final = re.compile(r"\[.*\bnamespace=(\S+)\]")
"""What the run guard of a worker adds to its answer."""


@gate("broker")
def broker(context: Context) -> Check:
    """The broker is reached and refuses no queue."""
    queues = _queues(context)
    try:
        refused = _asked(context, lambda connection: _refused(connection, queues), BROKER_TIMEOUT_S)
    except Exception as exc:  # whatever the transport raises
        remedy = "start the broker, or fix the app's broker_url"
        return Check("broker", False, f"gives no answer: {named(exc)}", remedy)
    if refused:
        remedy = "declare the queue in task_queues with the arguments that it has, or delete it once it is empty"
        return Check("broker", False, refused, remedy)
    return Check("broker", True, "reached")


def _queues(context: Context) -> list[Queue]:
    """The queues to which messages of the code schedule go."""
    named = context.app.amqp.queues
    queues = [*named.values()]
    with contextlib.suppress(CutoverError, LookupError):  # the gates on the schedule say so
        given = (entry.options.get("queue") for entry in context.entries.values())
        wanted = {queue for queue in given if isinstance(queue, str | Queue)} - {*named}
        queues += [queue if isinstance(queue, Queue) else named[queue] for queue in wanted]
    return queues


def _refused(connection: Connection, queues: Sequence[Queue]) -> str:
    """What the broker has against the first queue, or exchange, that is there already with other arguments; or nothing.

    What is not there yet is left to whoever publishes first. Only AMQP compares arguments.
    """
    if connection.transport.driver_type != "amqp":
        return ""
    for queue in queues:
        for part, method in (("exchange", "exchange.declare"), ("queue", "queue_declare")):
            declare = operator.attrgetter(method)
            with contextlib.suppress(*connection.channel_errors):
                declare(queue(connection.channel()))(passive=True)
                try:
                    declare(queue(connection.channel()))(passive=False)
                except connection.channel_errors as exc:
                    return f"refuses the {part} of {queue.name!r}: {one_line(exc)}"
    return ""


@gate("workers")
def workers(context: Context) -> Check:
    """Those that answer know every task of the code schedule, and run none that is scheduled unguarded.

    Nor do they run any for another namespace.
    """

    def ask(connection: Connection) -> list[tuple[str, list[str]]]:
        # Not by `inspect`: of two workers of one name, an old one and its successor, it keeps one answer.
        asked = {"arguments": {"taskinfoitems": ("run_guard",)}, "reply": True, "timeout": WORKERS_TIMEOUT_S}
        replies = context.app.control.broadcast("registered", connection=connection, **asked)
        return [answer for reply in replies or () for answer in reply.items()]

    try:
        answers = _asked(context, ask, BROKER_TIMEOUT_S + WORKERS_TIMEOUT_S)
    except Exception as exc:  # whatever the transport raises
        return Check("workers", False, f"cannot be asked: {named(exc)}", "see the gate on the broker")
    context.celery_of_workers = {v for _, listed in answers for line in listed for v in _CELERY.findall(line)}
    wanted = {text_of(entry.task) for entry in context.entries.values()}
    told = [(worker, *line.partition(" ")[::2]) for worker, listed in answers for line in listed]
    sent = detection.scheduled(context)  # by rows that are enabled, too
    bare = sorted(f"{worker} runs {task}" for worker, task, said in told if task in sent and "run_guard=" not in said)
    if bare:
        remedy = "let the old release's workers end, or give their app task_cls='cutover.guard.GuardedTask'"
        return Check("workers", False, f"without the run guard: {inline(bare, ', ')}", remedy)
    own = context.config.namespace
    others = {v for _, listed in answers for line in listed for v in _NAMESPACE.findall(line)} - {own}
    if others:
        remedy = "give beats, workers and this command the same CUTOVER['NAMESPACE'], and restart them"
        detail = f"run under NAMESPACE {inline(sorted(others), ', ')}, not {own}: they would guard none of its slots"
        return Check("workers", False, detail, remedy)
    if not answers:
        return Check("workers", True, "none answers: nothing runs what is sent, as far as can be seen", assumed=True)
    # Celery's own tasks, which every worker has, are in no answer.
    if unknown := sorted(name for name in wanted - {task for _, task, _ in told} if not name.startswith("celery.")):
        remedy = "let the workers import its module, as this process does, and restart them; or start those that do"
        answer = counted(len(answers), "that answers", "that answer")
        detail = f"of {answer} none has {inline(unknown, ', ')}: who gets such a message drops it"
        return Check("workers", False, detail, remedy)
    return Check("workers", True, f"{counted(len(answers), 'answers', 'answer')}, all guarded")


def _asked(context: Context, question: Callable[[Connection], _T], timeout_s: float) -> _T:
    """What ``question`` makes of a connection to the broker; raises what it raises, and TimeoutError.

    The answer is there before the connection is closed: closing one to Redis that has waited can hang in kombu 5.4.
    """

    def ask(answer: Future[_T]) -> None:
        with context.app.connection_for_write(connect_timeout=BROKER_TIMEOUT_S) as connection:
            connection.ensure_connection(max_retries=0, timeout=BROKER_TIMEOUT_S)
            connection.default_channel  # noqa: B018 - some transports connect here only
            answer.set_result(question(connection))

    return in_time(ask, timeout_s)
