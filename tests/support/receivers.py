"""Receivers of cutover's own signals, for a while."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.dispatch import Signal

from cutover import background, signals
from demo.processes import ROOT


def documented(signal: str) -> list[str]:
    """The values of a signal, in the order of the page."""
    page = (ROOT / "docs" / "alerts.md").read_text()
    [values] = re.findall(rf"^\| `{signal}` \|[^|]*\|[^|]*\|([^|]*)\|$", page, re.MULTILINE)
    return re.findall(r"`([^`]+)`", re.sub(r"\([^)]*\)", "", values))


@contextmanager
def heard(signal: Signal) -> Iterator[list[dict[str, Any]]]:
    """What the signal says within the block, complete at its end; then the queue's thread ends soon.

    AssertionError where its values are not those that ``docs/alerts.md`` has.
    """
    said: list[dict[str, Any]] = []

    def receiver(sender: None, signal: Signal, **values: Any) -> None:
        said.append(values)

    idle_s, background.IDLE_S = background.IDLE_S, 0.05
    signal.connect(receiver)
    try:
        yield said
        assert signals._background.drain(10)
        assert all([*values] == documented(signals.NAMES[signal]) for values in said)
    finally:
        signal.disconnect(receiver)
        background.IDLE_S = idle_s
