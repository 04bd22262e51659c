"""A steady stream of visitors: every request on a connection of its own, every answer counted."""

import datetime as dt
import http.client
import itertools
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

PATH = "/api/requests/"
# What the platform's proxy tells the site: without it every request would be sent on to HTTPS.
HEADERS = {"X-Forwarded-Proto": "https", "Content-Type": "application/json"}
TIMEOUT_S = 30
"""For how long a visitor waits: as the first router to give up does, Heroku's."""
VISITORS = 24


@dataclass
class Tally:
    """What was asked and what came back."""

    total: int = 0
    failures: list[str] = field(default_factory=list)
    slowest_ms: float = 0.0


class Load:
    """Reads and hands in requests at ``rate`` a second while the ``with`` block runs, late answers or not."""

    def __init__(self, host: str, port: int, rate: float = 40.0, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._address = (host, port)
        self._interval_s = 1 / rate
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._clock = threading.Thread(target=self._run, name="load", daemon=True)
        self.tally = Tally()

    def __enter__(self) -> Self:
        self._clock.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more, and wait for the answers that are still owed."""
        self._stop.set()
        self._clock.join()

    def _run(self) -> None:
        due = time.monotonic()
        with ThreadPoolExecutor(VISITORS, thread_name_prefix="visitor") as visitors:
            for number in itertools.count():
                if self._stop.wait(max(0.0, due - time.monotonic())):
                    return
                visitors.submit(self._visit, number)
                due += self._interval_s

    def _visit(self, number: int) -> None:
        started = time.monotonic()
        try:
            failure = self._hand_in(number) if number % 4 == 0 else self._read()
        except TimeoutError:
            # On a machine that is too busy this says nothing of the site, and has to be told from a lost request.
            failure = f"no answer within {self._timeout_s:g} s; the machine's load is {os.getloadavg()[0]:.0f}"
        except (OSError, http.client.HTTPException) as error:
            failure = f"{type(error).__name__}: {error}"
        elapsed_ms = (time.monotonic() - started) * 1000
        with self._lock:
            self.tally.total += 1
            self.tally.slowest_ms = max(self.tally.slowest_ms, elapsed_ms)
            if failure:
                self.tally.failures.append(f"{dt.datetime.now(dt.UTC).isoformat()} {failure}")

    def _read(self) -> str | None:
        return self._ask("GET", None, expected=200)

    def _hand_in(self, number: int) -> str | None:
        body = json.dumps({"type": "prayer", "name": f"Visitor {number}", "content": f"Request {number}"})
        return self._ask("POST", body, expected=201)

    def _ask(self, method: str, body: str | None, expected: int) -> str | None:
        connection = http.client.HTTPConnection(*self._address, timeout=self._timeout_s)
        try:
            connection.request(method, PATH, body, HEADERS)
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
        return None if answer.status == expected else f"{method} answered {answer.status}"
