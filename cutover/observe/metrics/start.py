"""A beat or a worker that begins counts and exposes, if ``METRICS_PORT`` names a port for it. By celery's signals."""

import atexit
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from celery import signals

from cutover import conf, metrics
from cutover.errors import ConfigurationError
from cutover.events import Event, log
from cutover.observe.metrics.catalogue import Place
from cutover.observe.metrics.exposition import expose

DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Where the processes of a worker leave their numbers, as ``prometheus_client`` is told."""
_collectors: dict[Place, Any] = {}
"""What is to be exposed once the worker is ready."""


def connect() -> None:
    """Have celery say when there is something to do."""
    for signal, receiver in (
        (signals.beat_init, begin_beat),
        (signals.worker_init, begin_worker),
        (signals.worker_ready, expose_worker),
        (signals.worker_process_init, begin_process),
        (signals.worker_process_shutdown, end_process),
    ):
        signal.connect(receiver, weak=False, dispatch_uid=f"cutover.metrics.{receiver.__name__}")


def begin_beat(sender: Any, **_: Any) -> None:
    """Count and expose, unless it is an unmanaged beat, which knows nothing of what there is to count."""
    if (port := _port(Place.BEAT)) is None:
        return
    from cutover.beats.scheduler import Leased
    from cutover.observe.metrics.beat import BeatMeter

    if isinstance(sender.scheduler, Leased):
        metrics.beat = meter = BeatMeter(sender.scheduler.side)
        expose(meter, conf.load().metrics_address, port)


def begin_worker(sender: Any, **_: Any) -> None:
    """Count, in the main process and in those that it forks; a prefork pool's have a directory in common."""
    if (port := _port(Place.WORKER)) is None:
        return
    from celery.concurrency import get_implementation
    from celery.concurrency.prefork import TaskPool

    is_own, is_in_use = False, "prometheus_client" in sys.modules
    if not os.environ.get(DIRECTORY) and not is_in_use:
        os.environ.pop(DIRECTORY, None)  # empty, it is where the worker runs, and nobody adds up what is left there
    if issubclass(get_implementation(sender.pool_cls), TaskPool) and not os.environ.get(DIRECTORY):
        if is_in_use:  # it has decided where to keep numbers
            remedy = f"set {DIRECTORY} to an empty directory, as prometheus_client is in use"
            reason = f"no metrics of this worker: {remedy}, by the project or a package such as Flower"
            log(Event.METRICS_FAILED, port=port, reason=reason)
            return
        os.environ[DIRECTORY] = _own_directory()
        is_own = True
    from prometheus_client import CollectorRegistry

    from cutover.observe.metrics.worker import Files, WorkerMeter

    registry = CollectorRegistry()
    directory = os.environ.get(DIRECTORY)
    try:
        metrics.worker = WorkerMeter(registry)
    except OSError as exc:
        log(Event.METRICS_FAILED, port=port, reason=f"no metrics of this worker: {DIRECTORY} cannot be used: {exc}")
        return
    _collectors[Place.WORKER] = Files(Path(directory), own=is_own) if directory else registry


def expose_worker(**_: Any) -> None:
    """Expose what all processes of this worker count."""
    collector, port = _collectors.get(Place.WORKER), _port(Place.WORKER)
    if collector is not None and port is not None:
        expose(collector, conf.load().metrics_address, port)


def begin_process(**_: Any) -> None:
    """Count in a process of the pool that has inherited nothing, as one that is spawned."""
    if type(metrics.worker) is metrics.WorkerMeter and os.environ.get(DIRECTORY) and _port(Place.WORKER) is not None:
        from cutover.observe.metrics.worker import WorkerMeter

        with suppress(OSError):  # the main process has said so
            metrics.worker = WorkerMeter(None)


def end_process(pid: int, **_: Any) -> None:
    """Mark what a process of the pool has left as that of a dead one."""
    if type(metrics.worker) is not metrics.WorkerMeter and os.environ.get(DIRECTORY):
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _port(place: Place) -> int | None:
    with suppress(ConfigurationError):  # whoever needs the settings says what is wrong with them
        return conf.load().metrics_port.get(place)
    return None


def _own_directory() -> str:
    directory, owner = tempfile.mkdtemp(prefix="cutover-metrics-"), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(directory, ignore_errors=True)

    atexit.register(remove)
    return directory
