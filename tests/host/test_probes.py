"""The health probes."""

import threading
import time

import pytest

from prayer_room_api import probes


@pytest.fixture
def broker(monkeypatch):
    """Point the readiness probe's broker somewhere."""

    connect = probes.app.connection_for_write

    def point(url: str) -> None:
        monkeypatch.setattr(probes.app, "connection_for_write", lambda **options: connect(url, **options))

    return point


def test_the_process_is_up_without_asking_anyone(client, broker):
    broker("redis://127.0.0.1:1/0")

    # No database fixture: a query would fail this test.
    answer = client.get("/healthz")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}


def test_probes_mind_neither_the_host_name_nor_https(client, settings):
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["prayer.example.org"]

    assert client.get("/healthz", headers={"Host": "10.1.2.3:8000"}).status_code == 200
    assert client.get("/admin/", headers={"Host": "prayer.example.org"}).status_code == 301


@pytest.mark.django_db(transaction=True)
def test_ready_when_database_and_broker_answer(client, broker):
    broker("memory://")

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("url", ["redis://user:secret@127.0.0.1:1/0", "amqp://user:secret@127.0.0.1:1//"])
def test_a_broker_that_is_away_is_the_reason(client, broker, url):
    broker(url)

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json() == {
        "status": "unavailable",
        "reasons": {"broker": "unreachable (OperationalError)"},
    }


def test_a_database_that_is_away_is_the_reason(client, broker, monkeypatch):
    def refuse() -> None:
        raise ConnectionRefusedError

    broker("memory://")
    monkeypatch.setitem(probes.CHECKS, "database", refuse)

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["reasons"] == {"database": "unreachable (ConnectionRefusedError)"}


def test_a_frozen_server_does_not_freeze_the_probe(client, broker, monkeypatch):
    thaw = threading.Event()
    broker("memory://")
    monkeypatch.setattr(probes, "TIMEOUT_S", 0.1)
    monkeypatch.setitem(probes.CHECKS, "database", lambda: thaw.wait(10))

    began = time.monotonic()
    answer = client.get("/readyz")
    elapsed = time.monotonic() - began
    thaw.set()

    assert answer.json()["reasons"] == {"database": "no answer within 0.1 s"}
    assert elapsed < 5
