"""What a worker counts, in every process or thread that runs tasks; and its collector, for the main process.

The processes of a prefork pool leave their numbers in files (``PROMETHEUS_MULTIPROC_DIR``), as ``prometheus_client``
does it. A directory of our own is tidied: the numbers of processes that have ended are kept in one file.
"""

import datetime as dt
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from cutover import clock, metrics
from cutover.observe.metrics.catalogue import BUCKETS_S, METRICS
from cutover.types import RunOutcome

MOST_FILES: Final = 64
"""Above so many files those of ended processes are put together: a pool may have a process for each task."""
_TOGETHER: Final = "0"
"""What stands for the process's number in the name of the file that keeps them."""


class WorkerMeter(metrics.WorkerMeter):
    """The numbers of one process of a worker; ``registry`` has them where there are no others."""

    def __init__(self, registry: Any) -> None:
        from prometheus_client import Counter, Histogram

        def described(name: str) -> tuple[str, str, Any]:
            return name, METRICS[name].meaning, METRICS[name].labels

        buckets = {"buckets": BUCKETS_S, "registry": registry}
        duration = Histogram(*described("cutover_run_duration_seconds"), **buckets)
        ends = (RunOutcome.SUCCEEDED, RunOutcome.FAILED, RunOutcome.RETRIED)
        self._delay = Histogram(*described("cutover_run_delay_seconds"), **buckets)
        self._duration = {outcome: duration.labels(outcome.value) for outcome in ends}
        self._deduplicated = Counter(*described("cutover_runs_deduplicated_total"), registry=registry)

    def started(self, due_at: dt.datetime) -> None:
        """Observe the delay."""
        with suppress(Exception):  # a full disk
            self._delay.observe(max(0.0, (clock.now() - due_at).total_seconds()))

    def ended(self, outcome: RunOutcome, took_s: float) -> None:
        """Observe the duration."""
        with suppress(Exception):
            self._duration[outcome].observe(took_s)

    def deduplicated(self) -> None:
        """Count it."""
        with suppress(Exception):
            self._deduplicated.inc()


class Files:
    """Collects what the processes of one worker have left in ``directory``; ``own``: no other worker uses it."""

    def __init__(self, directory: Path, *, own: bool) -> None:
        self._directory, self._own = directory, own
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Any]:
        """The sums over all processes, those that have ended too."""
        from prometheus_client.multiprocess import MultiProcessCollector

        with self._lock:
            if self._own:
                self._put_together()
            return list(MultiProcessCollector(None, str(self._directory)).collect())  # type: ignore[no-untyped-call]

    def _put_together(self) -> None:
        """Add what ended processes have left to one file, and remove theirs."""
        from prometheus_client.mmap_dict import MmapedDict

        files = [*self._directory.glob("*.db")]
        if len(files) <= MOST_FILES:
            return
        for file in files:
            kind, _, process = file.stem.rpartition("_")
            if process == _TOGETHER or _is_alive(int(process)):
                continue
            kept = MmapedDict(str(file.with_name(f"{kind}_{_TOGETHER}.db")))  # type: ignore[no-untyped-call]
            for key, value, _, _ in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]
                kept.write_value(key, kept.read_value(key)[0] + value, 0.0)  # type: ignore[no-untyped-call]
            kept.close()  # type: ignore[no-untyped-call]
            file.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
