"""What the tests of the lock rooms do again and again."""

import threading
import time
from collections.abc import Callable

from django.db import connections

from cutover import clock
from demo.processes import Process
from demo.waiting import wait_until

from .pulse import pulse


def timed(condition: Callable[[], object], description: str, timeout_s: float = 20) -> float:
    """Seconds until ``condition`` holds, without those in which the machine stood still."""
    began = clock.monotonic_s()
    with pulse() as absences:
        wait_until(condition, description, timeout_s, poll_s=0.001)
        took_s = clock.monotonic_s() - began
    return took_s - sum((end - start).total_seconds() for start, end in absences)


def give_time(seconds: float, description: str, unless: Callable[[], object] = lambda: False) -> None:
    """Let time pass in which something must not happen; ends early ``unless`` it does all the same."""
    until = clock.monotonic_s() + seconds
    wait_until(lambda: clock.monotonic_s() > until or unless(), description, seconds + 10, poll_s=0.002)


def wait_for_rest(worker: Process, rest_s: float = 0.5) -> None:
    """Return when a worker has said nothing for ``rest_s``.

    One that is told to end in the very moment in which a task ends waits for itself for three seconds.
    """
    wait_until(lambda: time.time() - worker.log.stat().st_mtime > rest_s, "the worker has come to rest")


def in_threads(*calls: Callable[[], object]) -> list[object]:
    """Run the calls at the same moment, each in a thread of its own; their results, or the first error raised."""
    results: list[object] = [None] * len(calls)
    errors: list[BaseException] = []
    together = threading.Barrier(len(calls))

    def run(index: int) -> None:
        try:
            together.wait()
            results[index] = calls[index]()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
