"""Gates on the broker, and on the workers that are asked through it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any, Final

from kombu.connection import Connection
from kombu.entity import Queue

from cutover import clock
from cutover.errors import CutoverError
from cutover.phases.context import Context
from cutover.phases.gates import SHOWN
from cutover.phases.report import Check

BROKER_TIMEOUT_S: Final = 5.0
WORKERS_TIMEOUT_S: Final = 2.0


def broker(context: Context) -> Check:
    """The broker is reached and refuses no queue. Bounded by a thread: a transport's limits do not cover every hang."""
    found: list[Check] = []
    queues = _queues(context)

    def ask() -> None:
        try:
            with context.app.connection_for_write(connect_timeout=BROKER_TIMEOUT_S) as connection:
                connection.ensure_connection(max_retries=0, timeout=BROKER_TIMEOUT_S)
                connection.default_channel  # noqa: B018 - some transports connect here only
                refused = _refused(connection, queues)
        except Exception as exc:  # whatever the transport raises
            found.append(_no_answer(str(exc) or type(exc).__name__))
        else:
            remedy = "declare the queue in task_queues with the arguments that it has, or delete it once it is empty"
            found.append(Check("broker", False, refused, remedy) if refused else Check("broker", True, "reached"))

    thread = threading.Thread(target=ask, name="cutover-broker-probe", daemon=True)
    thread.start()
    thread.join(BROKER_TIMEOUT_S)
    return found[0] if found else _no_answer(f"no answer within {BROKER_TIMEOUT_S:g} s")


def _no_answer(said: str) -> Check:
    said = " ".join(said.split())
    return Check("broker", False, f"gives no answer: {said}", "start the broker, or mend the app's broker_url")


def _queues(context: Context) -> list[Queue]:
    """The queues to which messages of the code schedule go."""
    named = context.app.amqp.queues
    queues = list(named.values())
    with contextlib.suppress(CutoverError, LookupError):  # told by the gates on the schedule
        wanted = {entry.options.get("queue") for entry in context.entries.values()} - {None, *named}
        queues += [queue if isinstance(queue, Queue) else named[queue] for queue in wanted]
    return queues


def _refused(connection: Connection, queues: Sequence[Queue]) -> str:
    """What the broker has against the first queue, or exchange, that is there already with other arguments; or nothing.

    What is not there yet is left to whoever publishes first. Only AMQP compares arguments.
    """
    if connection.transport.driver_type != "amqp":
        return ""
    for queue in queues:
        for part in ("exchange", "queue"):
            with contextlib.suppress(*connection.channel_errors):
                _declare(queue, part, connection.channel(), passive=True)
                try:
                    _declare(queue, part, connection.channel(), passive=False)
                except connection.channel_errors as exc:
                    return f"refuses the {part} of {queue.name!r}: {' '.join(str(exc).split())}"
    return ""


def _declare(queue: Queue, part: str, channel: Any, *, passive: bool) -> None:
    bound = queue(channel)
    if part == "queue":
        bound.queue_declare(passive=passive)
    else:
        bound.exchange.declare(passive=passive)


def workers(context: Context) -> Check:
    """No worker that answers runs a task of the code schedule without the run guard."""
    answers = _ask_workers(context)
    if isinstance(answers, str):
        return Check("workers", False, f"can not be asked: {answers}", "see the gate on the broker")
    wanted = {str(entry.task) for entry in context.entries.values()}
    bare = sorted(
        f"{worker} runs {task}"
        for worker, listed in answers
        for task, _, details in (line.partition(" ") for line in listed)
        if task in wanted and "run_guard=" not in details
    )
    if bare:
        remedy = "let the old release's workers end, or give their app task_cls='cutover.guard.GuardedTask'"
        return Check("workers", False, f"without the run guard: {', '.join(bare[:SHOWN])}", remedy)
    if not answers:
        return Check("workers", True, "none answers: nothing runs what is sent, as far as can be told", assumed=True)
    return Check("workers", True, f"{len(answers)} answer, all guarded")


def _ask_workers(context: Context) -> list[tuple[str, list[str]]] | str:
    """What each worker that answers has registered, or what went wrong.

    Bounded by a thread: kombu 5.4 can hang as it closes a connection to Redis on which it has waited for answers.
    """
    found: list[list[tuple[str, list[str]]] | str] = []

    def ask() -> None:
        try:
            with context.app.connection_for_write() as connection:
                # Not by `inspect`: of two workers of one name, an old one beside its successor, it keeps one answer.
                replies = context.app.control.broadcast(
                    "registered",
                    arguments={"taskinfoitems": ("run_guard",)},
                    connection=connection,
                    reply=True,
                    timeout=WORKERS_TIMEOUT_S,
                )
                found.append([answer for reply in replies or () for answer in reply.items()])
        except Exception as exc:  # whatever the transport raises
            found.append(str(exc) or type(exc).__name__)

    thread = threading.Thread(target=ask, name="cutover-workers-probe", daemon=True)
    thread.start()
    deadline_s = clock.monotonic_s() + WORKERS_TIMEOUT_S + BROKER_TIMEOUT_S
    while not found and thread.is_alive() and clock.monotonic_s() < deadline_s:
        thread.join(0.05)
    return found[0] if found else f"no answer within {WORKERS_TIMEOUT_S + BROKER_TIMEOUT_S:g} s"
