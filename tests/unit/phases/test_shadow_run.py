"""Whether the standby of a shadow run still lives, by its reports alone, with time passed in."""

import datetime as dt
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from cutover import clock
from cutover.conf import LEAST_LEASE
from cutover.election.campaign import COUNTS_FOR, REPORT_EVERY_S
from cutover.phases.operations import shadow_run
from cutover.types import HolderId

HOLDER = HolderId("host:1:abc")


class Site:
    """A standby that has reported every ``REPORT_EVERY_S`` from second 0 on, until ``killed_at_s``."""

    def __init__(self, killed_at_s: float) -> None:
        self.now_s, self._killed_at_s = 0.1, killed_at_s
        self.lease, self.config = self, SimpleNamespace(lease=LEAST_LEASE)

    def beats(self) -> list[Any]:
        alive_s = min(self.now_s, self._killed_at_s)
        ago_s = self.now_s - alive_s // REPORT_EVERY_S * REPORT_EVERY_S
        seen = SimpleNamespace(holder=HOLDER, seen_ago=dt.timedelta(seconds=ago_s))
        return [seen] if ago_s < COUNTS_FOR * REPORT_EVERY_S else []

    def wait_for(self, ask: Callable[[], bool | None], within: dt.timedelta, _what: str, every_s: float) -> bool | None:
        until_s = self.now_s + within.total_seconds()
        while (answer := ask()) is None and self.now_s < until_s:
            self.now_s += every_s
        return answer


@pytest.mark.parametrize(("killed_at_s", "is_alive"), [(float("inf"), True), (5.0, True), (1.0, False)])
def test_a_standby_lives_that_reports_again_however_short_the_lease(
    monkeypatch: pytest.MonkeyPatch, killed_at_s: float, is_alive: bool
) -> None:
    site = Site(killed_at_s)
    monkeypatch.setattr(clock, "monotonic_s", lambda: site.now_s)
    assert shadow_run._is_alive(site, HOLDER) is is_alive  # type: ignore[arg-type]
