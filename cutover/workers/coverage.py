"""Which tasks run without the guard though their app has it, and why: for a check, a gate, and the worker's log."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from celery import Celery, Task
from celery.signals import worker_ready

from cutover.events import Event, log
from cutover.workers.base_task import OWN, GuardedTask, override

SHOWN: Final = 5
"""How many tasks without the guard are named for each reason."""
REMEDY: Final = f"derive a task's own base from cutover.guard.GuardedTask, and leave its {' and '.join(OWN)} alone"


def gap(task: Task) -> str:
    """Why a task's runs are not guarded, or cannot be seen to be; empty when they are."""
    if not isinstance(task, GuardedTask):
        # As its author wrote it: celery makes a class of its own of each function, and of the app's `task_cls`.
        base = next(kind for kind in type(task).__mro__ if "_decorated" not in vars(kind) and kind is not task.app.Task)
        return f"the base {base.__module__}.{base.__qualname__} is no GuardedTask"
    return override(task)


def gaps(app: Celery, names: Collection[str] | None = None) -> dict[str, list[str]]:
    """The tasks that are not guarded, by the reason: of ``names``, else all that their app's base should guard."""
    is_guarded = issubclass(app.Task, GuardedTask)
    found: dict[str, list[str]] = {}
    for name in sorted(app.tasks, key=lambda name: (name.startswith("celery."), name)):
        task = app.tasks[name]
        wanted = name in names if names is not None else is_guarded or isinstance(task, GuardedTask)
        if wanted and (reason := gap(task)):
            found.setdefault(reason, []).append(name)
    return found


def spelt(found: Mapping[str, Collection[str]]) -> str:
    """Those tasks and reasons in one line; of many tasks the first ones."""
    said = []
    for reason, names in found.items():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        said.append(f"{', '.join(sorted(names)[:SHOWN])}{more}: {reason}")
    return "; ".join(said)


@worker_ready.connect(weak=False, dispatch_uid="cutover.workers.coverage")  # type: ignore[untyped-decorator]
def _log_gaps(sender: Any, **_: Any) -> None:
    """Logged by each worker as it starts, for ``prodserver`` skips system checks."""
    if found := gaps(sender.app):
        log(Event.GUARD_LOST, tasks=sum(map(len, found.values())), reason=f"{spelt(found)}; {REMEDY}")
