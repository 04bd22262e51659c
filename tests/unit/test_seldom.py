"""What goes wrong with every message is no flood of lines."""

import pytest

from cutover import clock, seldom
from cutover.events import Event


def test_of_each_kind_the_first_is_logged_and_then_one_a_minute_with_a_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[tuple[Event, object, object]] = []
    monkeypatch.setattr(seldom, "_kept", {})
    monkeypatch.setattr(seldom, "log", lambda event, **details: said.append((event, details["at"], details["unsaid"])))
    for second in range(181):
        monkeypatch.setattr(clock, "monotonic_s", lambda now_s=float(second): now_s)
        seldom.log_seldom(Event.GUARD_FAILED, "TypeError", at=second)
    seldom.log_seldom(Event.GUARD_FAILED, "KeyError", at="another kind")
    seldom.log_seldom(Event.RUN_DEFERRED, "TypeError", at="another event")
    assert said == [
        (Event.GUARD_FAILED, 0, 0),
        (Event.GUARD_FAILED, 60, 59),
        (Event.GUARD_FAILED, 120, 59),
        (Event.GUARD_FAILED, 180, 59),
        (Event.GUARD_FAILED, "another kind", 0),
        (Event.RUN_DEFERRED, "another event", 0),
    ]
