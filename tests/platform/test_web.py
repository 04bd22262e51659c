"""A release under load, briefly: `make bench-web` measures it with a load tool."""

import http.client
import json
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from demo.load import HEADERS, PATH, Load
from demo.processes import Process
from demo.services import HOST
from demo.waiting import wait_until
from tests.support.site import Site

pytestmark = pytest.mark.acceptance

KEPT = 6
BODY = json.dumps({"type": "prayer", "name": "A slow one", "content": "word " * 40}).encode()


@pytest.fixture
def door() -> Iterator[socket.socket]:
    """The address that outlives each release; processes inherit it."""
    with socket.create_server((HOST, 0), backlog=128) as listening:
        yield listening


def start(site: Site, name: str, door: socket.socket) -> Process:
    env = {**site.env, "WEB_BIND": f"fd://{door.fileno()}"}
    return site.processes.start(name, "python manage.py prodserver web", env, fds=[door.fileno()])


def answer(connection: http.client.HTTPConnection) -> bool:
    """Read once on a connection that is open; whether it stays so."""
    connection.request("GET", PATH, headers=HEADERS)
    response = connection.getresponse()
    assert response.status == 200
    response.read()
    return not response.will_close


def ask_until_told(connection: http.client.HTTPConnection) -> None:
    """Read until an answer says that the connection ends: a worker hears of that a moment after its master."""
    wait_until(lambda: not answer(connection), "the connection is said to end", poll_s=0.01)


def test_what_is_under_way_at_sigterm_is_answered_by_the_old_process(sqlite_site: Site, door: socket.socket) -> None:
    old = start(sqlite_site, "old", door)
    kept = [http.client.HTTPConnection(*door.getsockname(), timeout=20) for _ in range(KEPT)]
    try:
        assert all(answer(connection) for connection in kept), "each connection is kept open"
        slow = http.client.HTTPConnection(*door.getsockname(), timeout=20)
        kept.append(slow)
        slow.putrequest("POST", PATH)
        for name, value in {**HEADERS, "Content-Length": str(len(BODY))}.items():
            slow.putheader(name, value)
        slow.endheaders(BODY[:10])
        new = start(sqlite_site, "new", door)
        wait_until(lambda: new.output.count("Booting worker") == 2, "the new release is up")

        old.send(signal.SIGTERM)
        wait_until(lambda: "Handling signal: term" in old.output, "the old process has heard of its end")
        with ThreadPoolExecutor(KEPT) as visitors:
            list(visitors.map(ask_until_told, kept[:KEPT]))
        slow.send(BODY[10:])
        assert slow.getresponse().status == 201
        assert old.wait() == 0, old.output
        assert new.stop() == 0, new.output
    finally:
        for connection in kept:
            connection.close()


def activate(site: Site, name: str, door: socket.socket) -> Process:
    """Start the process as systemd does for a service that has a socket unit: the listening socket is its file 3."""
    script = 'exec env LISTEN_FDS=1 LISTEN_PID=$$ python manage.py prodserver web 3<&"$0"'
    return site.processes.start(name, ["bash", "-c", script, str(door.fileno())], site.env, fds=[door.fileno()])


def test_a_restart_under_a_socket_unit_refuses_nobody(sqlite_site: Site, door: socket.socket) -> None:
    old = activate(sqlite_site, "old", door)
    wait_until(lambda: old.output.count("Booting worker") == 2, "the old process is up")

    with Load(*door.getsockname(), timeout_s=60) as visitors:  # a busy machine starts the new one slowly
        wait_until(lambda: visitors.tally.total > 20, "visitors are served")
        assert old.stop() == 0, old.output
        while_nobody_was_there = visitors.tally.total
        new = activate(sqlite_site, "new", door)
        wait_until(lambda: visitors.tally.total > while_nobody_was_there + 40, "visitors are served again")
    assert not visitors.tally.failures
    assert new.stop() == 0, new.output
