"""The project's base task: ``app = Celery("project", task_cls="cutover.guard.GuardedTask")`` is all there is to it.

Celery may make the class before Django's apps are loaded, and a project's ``celery.py`` may import it before there are
any settings: so nothing here imports a model. What does is imported when the first message can come.
"""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, Final

import celery
from celery.contrib.django.task import DjangoTask
from celery.result import EagerResult
from celery.signals import celeryd_init

from cutover import conf, headers
from cutover.errors import ConfigurationError
from cutover.workers.current import running

Tracer = Callable[..., Any]


class GuardedTask(DjangoTask):
    """The project's base task. A task class of the project's own derives from it to be guarded."""

    abstract = True
    Request = "cutover.workers.request:GuardedRequest"

    @property
    def run_guard(self) -> str | None:
        """What workers answer a preflight: guarded, by which celery, in which namespace.

        None where an override may keep it off, or the settings cannot be read.
        """
        try:
            namespace = conf.load().namespace
        except ConfigurationError:
            return None
        return None if override(self) else f"cutover celery={celery.__version__} namespace={namespace}"

    @property
    def __trace__(self) -> Tracer | None:
        """Celery's tracer for this task, with the guard around it; None until celery has made one."""
        return self.__dict__.get("__trace__")

    @__trace__.setter
    def __trace__(self, tracer: Tracer | None) -> None:
        self.__dict__["__trace__"] = tracer and partial(_guard().run_once, self, tracer)

    def apply(self, args: Any = None, kwargs: Any = None, *others: Any, **options: Any) -> EagerResult:
        """Run the task in this process, as celery does; with ``task_always_eager`` a beat's message comes here.

        A further message of a slot is IGNORED. Raises LedgerUnavailable where the ledger gives no answer.
        """
        apply = partial(super().apply, args, kwargs, *others, **options)
        request = {**(options.get("headers") or {}), "retries": options.get("retries")}
        task_id = options.get("task_id") or ""
        if request.get(headers.DUE_AT) is None:
            with running(task_id):  # it may be called within a slot's run, of which it is no part
                return apply()
        return _guard().apply_once(self, apply, args or (), kwargs or {}, request, task_id)


OWN: Final = ("run_guard", "__trace__", "Strategy")
"""What the guard is seen by, stands at, and is reached by. A task's hooks are no part of it."""


def override(task: GuardedTask) -> str:
    """What may keep the guard off a task, and where it stands; empty for nothing.

    By the order of its bases: one that stands beside the guard's may bring what celery's own class would give.
    """
    for name in OWN:
        kind = next(kind for kind in type(task).__mro__ if name in vars(kind))
        if kind not in (GuardedTask, celery.Task):
            is_option = "_decorated" in vars(kind)  # celery's mark of a class that a decorator made
            place = "the task's option " if is_option else f"{kind.__module__}.{kind.__qualname__}."
            return f"{place}{name} may keep the guard off"
    return ""


@celeryd_init.connect(weak=False, dispatch_uid="cutover.workers.base_task")  # type: ignore[untyped-decorator]
def _guard(**_: Any) -> ModuleType:
    """The run guard, whose models need Django's apps; a worker imports it before it forks.

    A worker whose project lacks such an app ends with one line.
    """
    conf.require_apps_at_import()
    from cutover.workers import run_guard

    return run_guard
