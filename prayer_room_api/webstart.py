"""gunicorn's configuration file, for what it has no option for: how the web process begins and how it ends."""

import errno
import os
import signal
import socket
import sys
import threading
import time
from functools import partial
from typing import Any

from django.conf import settings

TRIES = 5
"""How often, a second apart, as gunicorn itself tries: a process that is just ending may have the port still."""


def on_starting(server: Any) -> None:
    """End with 1, and one line instead of gunicorn's twelve, where this process cannot listen."""
    if server.cfg.reuse_port or {"GUNICORN_FD", "LISTEN_FDS"} & os.environ.keys():
        return  # it shares the port, or is handed the socket
    for address in server.cfg.address:
        if isinstance(address, tuple) and (error := _trouble(address[0], address[1])):
            host, port = address[:2]
            server.log.error(
                "Cannot listen at %s port %s: %s. Stop what listens there, or set PORT (or WEB_BIND) to what is free.",
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
    end, master, begun = signal.getsignal(signal.SIGTERM), os.getpid(), threading.Event()

    def terminate(number: int, frame: Any) -> None:
        if os.getpid() != master:
            os._exit(0)  # it has taken no request yet
        if not settings.WEB_DRAIN_S:
            end(number, frame)
        elif not begun.is_set():
            begun.set()
            threading.Timer(settings.WEB_DRAIN_S, end, (number, None)).start()

    signal.signal(signal.SIGTERM, terminate)
    # Python forgets what signals come in the middle of a fork; the kernel keeps those that are blocked.
    block = partial(signal.pthread_sigmask, signal.SIG_BLOCK, {signal.SIGTERM})
    unblock = partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=unblock)


def _trouble(host: str, port: int) -> str:
    for further in reversed(range(TRIES)):
        try:
            # Bound, as gunicorn will, and not listened at: no visitor is to come to this one.
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not further:
                return error.strerror or str(error)
            time.sleep(1)
        else:
            return ""
    raise AssertionError("the last try returns")
