"""Health probes, answered ahead of every other middleware.

A platform asks by the container's address and over plain HTTP. Behind ``ALLOWED_HOSTS`` and the redirect to
HTTPS it would be refused, and the deploy with it.
"""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

import structlog
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse

from .celery import app

TIMEOUT_S = 2.0

log = structlog.get_logger(__name__)


class ProbeMiddleware:
    """Answers ``/healthz`` and ``/readyz``; lets everything else pass."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.probes = {"/healthz": healthz, "/readyz": readyz}

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.probes.get(request.path_info, self.get_response)(request)


def healthz(request: HttpRequest) -> JsonResponse:
    """200: this process serves requests. Asks nobody else, so a fault elsewhere never restarts it."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """200 where database and broker answer, else 503 with a reason for each; within two ``TIMEOUT_S``.

    The reasons name an error's type only: its text may hold a URL.
    """
    reasons = {name: reason for name, check in CHECKS.items() if (reason := _reason(name, check))}
    if reasons:
        return JsonResponse({"status": "unavailable", "reasons": reasons}, status=503)
    return JsonResponse({"status": "ok"})


def _database() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    finally:
        # This thread's own connection: no other thread would close it.
        connection.close()


def _broker() -> None:
    with app.connection_for_write(connect_timeout=TIMEOUT_S) as broker:
        broker.ensure_connection(max_retries=1, interval_start=0, timeout=TIMEOUT_S)


CHECKS = {"database": _database, "broker": _broker}


def _reason(name: str, check: Callable[[], None]) -> str | None:
    """Run a check in a thread: a server that is frozen, not gone, answers no driver's timeout reliably."""
    outcome: SimpleQueue[str | None] = SimpleQueue()

    def run() -> None:
        try:
            check()
        except Exception as error:
            log.warning("probe.failed", check=name, exc_info=True)
            outcome.put(f"unreachable ({type(error).__name__})")
        else:
            outcome.put(None)

    threading.Thread(target=run, name=f"probe-{name}", daemon=True).start()
    try:
        return outcome.get(timeout=TIMEOUT_S)
    except Empty:
        return f"no answer within {TIMEOUT_S:g} s"
