"""What the tests of the lock rooms share: a lease on real Redis, a ledger on real databases, and nothing left."""

import datetime as dt
import secrets
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
import redis
from django.db import connections

from cutover.conf import Config
from cutover.election import connection as connections_of_cutover
from cutover.ledger import Ledger
from cutover.models import Cutover, Fence
from cutover.types import HolderId, Identity
from cutover.workers import session
from demo.services import Valkey
from demo.waiting import wait_until
from tests.support.site import Site

NAMESPACE = "tests"
RETENTION = dt.timedelta(days=30)


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Fails a test that leaves a thread behind; closes what this thread, a worker's for a while, keeps."""
    before = set(threading.enumerate())
    yield
    session._kept.close()
    wait_until(lambda: set(threading.enumerate()) <= before, "every thread of the test has ended", timeout_s=10)


def new_identity(name: str = "beat") -> Identity:
    """A candidate that nobody has seen before."""
    return Identity(HolderId(f"{name}:{secrets.token_hex(4)}"), socket.gethostname(), 4711, "r1")


@pytest.fixture
def identity() -> Callable[..., Identity]:
    """Makes candidates."""
    return new_identity


@pytest.fixture
def redis_client(valkey: Valkey) -> Iterator[redis.Redis]:
    """The client that cutover makes of the settings' alias, on the emptied server."""
    with connections_of_cutover.redis_client(Config()) as client:
        yield client
        client.connection_pool.disconnect()


@pytest.fixture
def ledger(alias: str) -> Iterator[Ledger]:
    """An empty ledger, as migrations leave it, on either database."""
    Fence.objects.using(alias).update_or_create(id=1, defaults={"epoch": 0, "side": "code", "switched_at": None})
    Cutover.objects.using(alias).get_or_create(id=1)
    yield Ledger(alias, NAMESPACE, RETENTION)
    assert not connections[alias].in_atomic_block


@pytest.fixture
def room(sqlite_site: Site) -> Site:
    """A site of the test's own, its processes real."""
    return sqlite_site
