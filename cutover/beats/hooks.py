"""Whether anybody but celery has hooked into a message's path from a scheduler to the broker.

Monitoring agents wrap celery's calls, projects override them, receivers change what is about to be published. Whoever
sends past those calls has to ask here first, at every message: a wrapper may be put on at any time. What is not
certainly celery's own counts as somebody's.
"""

from types import FunctionType, ModuleType
from typing import Any, Final

import celery.app.amqp
import celery.app.base
import celery.app.routes
import celery.app.task
import celery.beat
import kombu.messaging
from celery import signals
from celery.backends.base import Backend
from celery.beat import Scheduler
from kombu.messaging import Producer

_SIGNALS: Final = (signals.before_task_publish, signals.after_task_publish, signals.task_sent)
_OURS: Final = "cutover.beats.scheduler"

Step = tuple[Any, str, Any]
"""Who has a function, its name, and the function that is celery's own."""


class PublishPath:
    """A scheduler's path to the broker, but for what belongs to a task alone. ``watched``: its own ``apply_async``."""

    def __init__(self, scheduler: Scheduler, watched: Any) -> None:
        self._scheduler, self._watched = scheduler, watched
        self._steps: tuple[Step, ...] = ()

    def is_unhooked(self) -> bool:
        """Whether a message meets celery's own functions alone, and no receiver of a signal."""
        for signal in _SIGNALS:
            if signal.receivers:
                return False
        own = vars(self._scheduler)
        if own.get("apply_async") is not self._watched or "apply_entry" in own or "send_task" in own:
            return False
        if "send_task" in vars(self._scheduler.app):
            return False
        for holder, name, function in self._steps:
            if getattr(holder, name) is not function:
                return False
        return bool(self._steps) or self._survey()

    def _survey(self) -> bool:
        """Look at all of it once; what was found is then held against what is there at each message."""
        kind, app = type(self._scheduler), self._scheduler.app
        if not _is_plain(kind) or type(app) is not celery.app.base.Celery:
            return False
        amqp, producer = app.amqp, self._scheduler.producer
        if type(amqp) is not celery.app.amqp.AMQP or type(amqp.router) is not celery.app.routes.Router:
            return False
        if type(producer) is not Producer or "publish" in vars(producer):
            return False
        if any(type(route) is not celery.app.routes.MapRoute for route in amqp.routes):
            return False  # one that may look at arguments
        steps: list[tuple[Any, str, ModuleType]] = [
            (kind, "apply_entry", celery.beat),
            (Scheduler, "apply_async", celery.beat),
            (Scheduler, "send_task", celery.beat),
            (type(app), "send_task", celery.app.base),
            (amqp, "send_task_message", celery.app.amqp),
            (amqp, "create_task_message", celery.app.amqp),
            (type(amqp.router), "route", celery.app.routes),
            (Producer, "publish", kombu.messaging),
            (Producer, "_publish", kombu.messaging),
        ]
        if not all(is_of(getattr(holder, name), module) for holder, name, module in steps):
            return False
        theirs = [(holder, name) for holder, name, _ in steps]
        for holder, name in (*theirs, (app, "amqp"), (kind, "apply_async"), (kind, "should_sync")):
            self._steps += ((holder, name, getattr(holder, name)),)
        return True


def is_unhooked_task(task: Any) -> bool:
    """Whether nothing of the task's own is asked about each of its messages."""
    kind = type(task)
    return (
        is_of(kind.apply_async, celery.app.task)
        and is_of(kind.shadow_name, celery.app.task)
        and not {"apply_async", "shadow_name"} & vars(task).keys()
        and not getattr(task, "__v2_compat__", False)
        and getattr(task, "_dump_pydantic_arguments", None) is None
    )


def ignores_sends(backend: Any) -> bool:
    """Whether a result backend does nothing when a task is sent."""
    return type(backend).on_task_call is Backend.on_task_call


def is_of(function: Any, module: ModuleType) -> bool:
    """Whether a function is written in ``module``; one that has been wrapped is written elsewhere."""
    function = getattr(function, "__func__", function)
    return type(function) is FunctionType and function.__code__.co_filename == module.__file__


def _is_plain(kind: type[Scheduler]) -> bool:
    """Whether a scheduler is ours, or overrides nothing that a message passes through."""
    owners = {name: [k.__module__ for k in kind.__mro__ if name in vars(k)] for name in ("apply_async", "should_sync")}
    return all(modules == [_OURS, "celery.beat"] for modules in owners.values())
