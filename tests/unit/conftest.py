"""What tests of jobs in the background share, whose threads are to end and whose log is read."""

import threading
from collections.abc import Iterator

import pytest

from cutover import background, seldom
from demo.waiting import wait_until


@pytest.fixture
def queues_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Background queues are soon idle; fails a test that leaves a thread behind."""
    monkeypatch.setattr(background, "IDLE_S", 0.05)
    before = set(threading.enumerate())
    yield
    wait_until(lambda: set(threading.enumerate()) <= before, "the queue's thread has ended", timeout_s=10)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What is logged, by its keys."""
    said: list[dict[str, object]] = []
    monkeypatch.setattr(seldom, "_kept", {})
    monkeypatch.setattr(seldom, "log", lambda event, **details: said.append({"event": event.value[0], **details}))
    return said
