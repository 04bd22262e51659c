"""What tests of couriers share, whose threads are to end and whose log is read."""

import threading
from collections.abc import Iterator

import pytest

from cutover import courier, seldom
from demo.waiting import wait_until


@pytest.fixture
def couriers_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Couriers are soon idle; fails a test that leaves a thread behind."""
    monkeypatch.setattr(courier, "IDLE_S", 0.05)
    before = set(threading.enumerate())
    yield
    wait_until(lambda: set(threading.enumerate()) <= before, "the courier's thread has ended", timeout_s=10)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What is logged, by its keys."""
    said: list[dict[str, object]] = []
    monkeypatch.setattr(seldom, "_kept", {})
    monkeypatch.setattr(seldom, "log", lambda event, **details: said.append({"event": event.value[0], **details}))
    return said
