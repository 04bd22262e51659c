"""The standing connection by which others see that a worker process lives."""

import pytest
import redis

from cutover.election.connection import Link
from cutover.workers import liveness

pytestmark = pytest.mark.integration


def test_a_connection_that_was_dropped_without_a_word_is_noticed_after_a_while(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a firewall: the server lists it no more, and others take the process for gone in the midst of its run."""
    now_s = 100.0
    monkeypatch.setattr("cutover.clock.monotonic_s", lambda: now_s)
    monkeypatch.setattr(Link, "is_cut", lambda link: False)  # nothing is heard of it here
    worker = liveness.Worker("elsewhere:1")
    try:
        mark = worker.sign()
        now_s += liveness.AGAIN_S
        assert (worker.is_cut(), worker.is_gone(mark)) == (False, False)
        redis_client.client_kill_filter(_id=int(mark.partition("@")[0]))
        assert (worker.is_cut(), worker.is_gone(mark)) == (False, True), "it is not asked at each run"
        now_s += liveness.AGAIN_S
        assert worker.is_cut()
    finally:
        worker.leave()
