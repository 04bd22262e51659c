"""Visitors for Locust, which runs this file in an environment of its own: it imports nothing of the project.

Nobody tries again: a request without an answer counts as failed, whatever a browser or a proxy would have done with it.
Every request is a line of ``$VISITS``: what it was, when it began and ended (Unix time), and what went wrong.
"""

import json
import os
import random
import socket
import time
from pathlib import Path

import gevent
from locust import HttpUser, User, constant, events, task

PATH = "/api/requests/"
# What the platform's router tells the site: without it every request would be sent on to HTTPS.
HEADERS = {"X-Forwarded-Proto": "https"}
UPLOAD_S = (3.0, 6.0)
"""How long a slow client takes to send its body."""
PIECES = 30


class Reader(HttpUser):
    """Reads again and again on one connection, which it keeps; waits now and then until that may just be closing."""

    def wait_time(self) -> float:
        return random.choice((0.02, 0.1, 0.3, 1.0, 2.0))

    @task
    def read(self) -> None:
        self.client.get(PATH, headers=HEADERS, name="read")


class Writer(HttpUser):
    """Hands in a request every third of a second on one connection, which it keeps."""

    fixed_count = 3
    wait_time = constant(0.3)

    @task
    def write(self) -> None:
        self.client.post(PATH, json=body(), headers=HEADERS, name="write")


class SlowWriter(User):
    """Sends its body in small pieces, as from a bad line, on a connection of its own."""

    fixed_count = 3
    wait_time = constant(0.1)

    @task
    def write_slowly(self) -> None:
        started, clock, error = time.time(), time.perf_counter(), None
        try:
            self._hand_in()
        except (OSError, ValueError) as exc:
            error = exc
        events.request.fire(
            request_type="POST",
            name="slow write",
            response_time=(time.perf_counter() - clock) * 1000,
            response_length=0,
            exception=error,
            start_time=started,
            context={},
        )

    def _hand_in(self) -> None:
        host, port = self.host.removeprefix("http://").split(":")
        data = json.dumps({**body(), "content": "word " * 200}).encode()
        headers = {**HEADERS, "Host": host, "Content-Type": "application/json", "Content-Length": len(data)}
        head = [f"POST {PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        pause_s, size = random.uniform(*UPLOAD_S) / PIECES, len(data) // PIECES + 1
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            connection.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
            for start in range(0, len(data), size):
                gevent.sleep(pause_s)
                connection.sendall(data[start : start + size])
            answer = connection.recv(4096).split(b"\r\n", 1)[0].decode()
        if " 201 " not in f"{answer} ":
            raise ValueError(f"answered {answer!r}")


def body() -> dict[str, str]:
    return {"type": "prayer", "name": "Visitor", "content": "A request"}


@events.init.add_listener
def write_down(environment: object, **kwargs: object) -> None:
    """Keep every request, as exact as Locust has it; its own tables round."""
    visits = Path(os.environ["VISITS"]).open("a", buffering=1)  # noqa: SIM115 - until Locust ends

    @events.request.add_listener
    def note(name: str, response_time: float, start_time: float, exception: Exception | None, **more: object) -> None:
        visit = {
            "kind": name,
            "began": start_time,
            "ended": start_time + response_time / 1000,
            "failure": f"{type(exception).__name__}: {exception}" if exception else None,
        }
        visits.write(json.dumps(visit) + "\n")
