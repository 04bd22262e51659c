"""Who a worker process is to the others."""

import pytest

from cutover.workers import liveness
from demo.waiting import wait_until
from tests.support.rooms import in_threads


def test_all_threads_of_a_process_are_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Slow(liveness.Worker):
        def __init__(self, name: str) -> None:
            made.append(name)
            moments = iter(range(5))
            wait_until(lambda: next(moments, None) is None, "the connection is made")

        def is_cut(self) -> bool:
            return False

    monkeypatch.setattr(liveness, "_of_process", {})
    monkeypatch.setattr(liveness, "Worker", Slow)
    found = in_threads(*[liveness.this] * 8)
    assert len(made) == len({id(each) for each in found}) == 1


def test_without_a_connection_it_asks_for_one_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr("cutover.clock.monotonic_s", lambda: now_s)
    monkeypatch.setattr("cutover.workers.liveness.conf.load", lambda: (_ for _ in ()).throw(OSError("no route")))
    alone = liveness.Worker("host:1")
    assert (alone.sign(), alone.is_cut()) == ("0@#1 host:1", False)
    now_s += liveness.AGAIN_S
    assert alone.is_cut()
