"""A process of a worker's pool does not wait for its worker's count for longer than a platform lets it live."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from billiard import pool
from celery.signals import celeryd_init

from cutover.workers import shutdown

LOOKS = "GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT"


class Waiting(pool.Worker):
    """A process of a pool whose worker counts nothing; it only notes for how long it would sleep."""

    def __init__(self) -> None:
        self.on_ready_counter = SimpleNamespace(value=0)


@pytest.fixture
def slept_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(pool, "time", SimpleNamespace(sleep=slept.append))
    return slept


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    looks = getattr(pool, LOOKS)
    yield
    setattr(pool, LOOKS, looks)


def test_it_waits_as_long_as_is_said_once_a_worker_begins(slept_s):
    celeryd_init.send(sender="celery@here", instance=None, conf=SimpleNamespace(), options={})
    assert not Waiting()._ensure_messages_consumed(completed=1)
    assert sum(slept_s) == pytest.approx(shutdown.LONGEST_S)


def test_who_waits_for_less_already_is_left_alone(slept_s, monkeypatch):
    monkeypatch.setattr(pool, LOOKS, 2)
    shutdown.shorten()
    assert not Waiting()._ensure_messages_consumed(completed=1)
    assert len(slept_s) == 2


def test_a_billiard_that_does_not_wait_is_left_alone(monkeypatch):
    monkeypatch.delattr(pool, LOOKS)
    shutdown.shorten()
    assert not hasattr(pool, LOOKS)
    monkeypatch.undo()
