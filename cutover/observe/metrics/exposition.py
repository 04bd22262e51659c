"""A port for Prometheus in a process that has none: a daemon thread, which waits until it may have the port.

What goes wrong here is logged, and neither beat nor worker ends by it.
"""

import threading
import time
from typing import Any, Final

from cutover.events import Event, log

RETRY_S: Final = 5.0
"""After how long a port that another process has is tried again."""


def expose(collector: Any, address: str, port: int) -> None:
    """Serve what ``collector`` collects, from now until the process ends."""
    threading.Thread(target=_serve, args=(collector, address, port), name="cutover-metrics", daemon=True).start()


def _serve(collector: Any, address: str, port: int) -> None:
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(collector)
    said = ""
    while True:
        try:
            start_http_server(port, address, registry)
            break
        except (OSError, UnicodeError) as exc:  # the second: of a name that can be none
            if (reason := str(exc)) != said:
                log(Event.METRICS_FAILED, port=port, reason=f"no metrics on {address}:{port}: {reason}")
            said = reason
        time.sleep(RETRY_S)
    log(Event.METRICS_EXPOSED, port=port)
