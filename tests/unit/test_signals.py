"""Signals: nothing is paid where nobody is connected, and no receiver harms whoever tells."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.dispatch import Signal

from cutover import signals

pytestmark = pytest.mark.usefixtures("queues_end", "said")


@pytest.fixture
def connect() -> Iterator[Callable[[Signal, Any], None]]:
    connected: list[tuple[Signal, Any]] = []

    def connect(signal: Signal, receiver: Any) -> None:
        signal.connect(receiver)
        connected.append((signal, receiver))

    yield connect
    for signal, receiver in connected:
        signal.disconnect(receiver)


def test_nobody_connected_costs_no_thread_and_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals._background, "put", lambda *_, **__: pytest.fail("nobody is connected"))
    for signal in signals.NAMES:
        signals.send_in_background(signal, entry="a")


def test_every_signal_has_its_name() -> None:
    assert {name: signal for name, signal in vars(signals).items() if isinstance(signal, Signal)} == {
        name: signal for signal, name in signals.NAMES.items()
    }


def test_a_receiver_gets_the_values_and_no_sender(connect: Callable[[Signal, Any], None]) -> None:
    got: list[dict[str, Any]] = []

    def receiver(sender: Any, **values: Any) -> None:
        got.append({"sender": sender, **values})

    connect(signals.slot_missed, receiver)
    signals.send_in_background(signals.slot_missed, entry="a", epoch=3)
    assert signals._background.drain(10)
    assert got == [{"sender": None, "signal": signals.slot_missed, "entry": "a", "epoch": 3}]


class Unnamed:
    """A receiver without a name of its own, which Django's own log cannot say."""

    def __call__(self, **_: Any) -> None:
        raise KeyError("epoch")


def test_receivers_that_raise_are_said_once_a_minute_and_the_others_are_called(
    connect: Callable[[Signal, Any], None], said: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    got: list[str] = []
    unnamed = Unnamed()

    def fail(**_: Any) -> None:
        raise RuntimeError("no")

    def receiver(entry: str, **_: Any) -> None:
        got.append(entry)

    for each in (fail, unnamed, receiver):
        connect(signals.run_failed, each)
    with caplog.at_level(logging.ERROR):
        for entry in ("a", "b", "c"):
            signals.send_in_background(signals.run_failed, entry=entry)
        assert signals._background.drain(10)
    assert got == ["a", "b", "c"]
    assert [(line["event"], line["signal"], line["reason"], line["unsaid"]) for line in said] == [
        ("cutover.receiver.failed", "run_failed", f"{fail.__qualname__}: RuntimeError: no", 0),
        ("cutover.receiver.failed", "run_failed", "Unnamed: KeyError: 'epoch'", 0),
    ]
    tracebacks = [record for record in caplog.records if record.name == "django.dispatch"]
    assert [record.exc_info is not None for record in tracebacks] == [True]
