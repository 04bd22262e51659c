"""What the run guard costs a task that is no slot's: ``python -m benchmarks.guard``.

Runs one task under celery's own base class and one under the guard, in turn, through the tracer that a worker uses.
"""

from __future__ import annotations

import logging
import os
import statistics
import time
from collections.abc import Callable
from typing import Final

from celery import Celery, Task
from celery.app.trace import build_tracer

ROUNDS: Final = 15
CALLS: Final = 2_000


def main() -> None:
    """Print microseconds a call, the median of the rounds."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    logging.disable()
    from cutover.workers.run_guard import GuardedTask

    app = Celery("benchmark", broker="memory://", set_as_current=False)
    plain, guarded = (_tracer(app, base) for base in (Task, GuardedTask))
    pairs = [(_microseconds(plain), _microseconds(guarded)) for _ in range(ROUNDS)]
    without, with_guard = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"one call through the worker's tracer, median of {ROUNDS} rounds of {CALLS}:")
    print(f"  celery's Task    {without:6.1f} us")
    print(f"  GuardedTask      {with_guard:6.1f} us   ({with_guard - without:+.1f} us)")


def _tracer(app: Celery, base: type) -> Callable[[], object]:
    def nothing() -> None:
        """Leave all the time to what surrounds a task."""

    task = app.task(base=base, name=f"benchmark.{base.__name__}", ignore_result=True)(nothing)
    task.__trace__ = build_tracer(task.name, task, app=app)  # as a worker does when it starts
    trace = task.__trace__
    request = {"id": "benchmark", "delivery_info": {}, "hostname": "benchmark"}
    return lambda: trace("benchmark", (), {}, request)


def _microseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - start) / CALLS * 1e6


if __name__ == "__main__":
    main()
