"""How gunicorn begins and ends so that a release loses no request.

``from cutover.web import *`` in its configuration is for a bare ``gunicorn``; ``cutover.backends.Gunicorn`` does the
same under prodserver. What each part is for stands in docs/web.md. Nothing here needs Django: gunicorn reads its
configuration before it loads the site.
"""

import errno
import os
import signal
import socket
import sys
import threading
import time
from functools import partial
from typing import Any, Final

__all__ = ["graceful_timeout", "keepalive", "on_starting", "when_ready"]

keepalive: Final = 100
"""Seconds. Longer than any router keeps an idle connection (Heroku 90): the side that sends is to close it."""
graceful_timeout: Final = 23
"""Seconds for the requests under way. With the drain less than the 30 after which platforms kill."""

DRAIN_VARIABLE: Final = "WEB_DRAIN_S"
DRAIN_S: Final = 2.0
"""For how long requests are taken after SIGTERM, where the environment does not say: routers send some meanwhile."""
LEAST_GUNICORN: Final = (27, 0, 1)
"""Earlier ones close kept connections at SIGTERM, while a request may be on its way."""
GRACEFUL_WORKERS: Final = ("sync", "gthread")
"""Those of gunicorn that lose no request at the end: one keeps no connection, the other answers what still comes."""
TRIES: Final = 5
"""How often, a second apart, as gunicorn itself tries: a process that is just ending may have the port still."""


def on_starting(server: Any) -> None:
    """End with 1, and one line instead of gunicorn's twelve, where this process cannot listen or be drained."""
    try:
        drain_s()
    except ValueError as exc:
        server.log.error("%s", exc)
        sys.exit(1)
    _warn_of_an_old_gunicorn(server)
    _warn_of_another_worker(server)
    if server.cfg.reuse_port or {"GUNICORN_FD", "LISTEN_FDS"} & os.environ.keys():
        return  # it shares the port, or is handed the socket
    for address in server.cfg.address:
        if isinstance(address, tuple) and (error := _trouble(address[0], address[1])):
            host, port = address[:2]
            server.log.error(
                "Cannot listen at %s port %s: %s. Stop what listens there, or bind to what is free (PORT, or --bind).",
                host,
                port,
                error,
            )
            sys.exit(1)


def when_ready(server: Any) -> None:
    """Take SIGTERM from gunicorn, to let it take effect ``WEB_DRAIN_S`` later, and in every process.

    Some routers send requests on to an old process for a while. And in the milliseconds between its fork and handlers
    of its own a worker does not hear the signal: the master would wait all of its graceful timeout for it.
    """
    end: Any = signal.getsignal(signal.SIGTERM)
    master, begun, drain = os.getpid(), threading.Event(), drain_s()

    def terminate(number: int, frame: Any) -> None:
        if os.getpid() != master:
            os._exit(0)  # it has taken no request yet
        if not drain:
            end(number, frame)
        elif not begun.is_set():
            begun.set()
            threading.Timer(drain, end, (number, None)).start()

    signal.signal(signal.SIGTERM, terminate)
    # Python forgets what signals come in the middle of a fork; the kernel keeps those that are blocked.
    block = partial(signal.pthread_sigmask, signal.SIG_BLOCK, {signal.SIGTERM})
    unblock = partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=unblock)


def drain_s() -> float:
    """Seconds (>= 0) of ``WEB_DRAIN_S``. Raises ValueError, which names the variable."""
    given = os.environ.get(DRAIN_VARIABLE, "")
    try:
        drain = float(given or DRAIN_S)
    except ValueError:
        drain = -1.0
    if not 0 <= drain < threading.TIMEOUT_MAX:
        raise ValueError(f"The environment variable {DRAIN_VARIABLE} must be a number of seconds, 0 or more.")
    return drain


def _warn_of_an_old_gunicorn(server: Any) -> None:
    from gunicorn import __version__, version_info

    if tuple(version_info) < LEAST_GUNICORN:
        least = ".".join(map(str, LEAST_GUNICORN))
        server.log.warning(
            "gunicorn %s closes kept connections at SIGTERM: a release loses requests. Install %s or later.",
            __version__,
            least,
        )


def _warn_of_another_worker(server: Any) -> None:
    if (worker := server.cfg.worker_class_str) not in GRACEFUL_WORKERS:
        server.log.warning(
            "The worker class %s may close kept connections at once when it ends: a release may lose requests that are "
            "on their way. See docs/web.md.",
            worker,
        )


def _trouble(host: str, port: int) -> str:
    for further in reversed(range(TRIES)):
        try:
            # Bound, as gunicorn will, and not listened at: no visitor is to come to this one.
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except (OverflowError, UnicodeError) as error:  # a port above 65535; a name that can be none
            return str(error)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not further:
                return error.strerror or str(error)
            time.sleep(1)
        else:
            return ""
    raise AssertionError("the last try returns")
