"""Who a worker process is to the others."""

import pytest

from cutover.workers import liveness, processes
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
    found = in_threads(*[liveness.this_worker] * 8)
    assert len(made) == len({id(each) for each in found}) == 1


MARK = "7@server#1 elsewhere/b/1:9:123:t:5.7.0:celery@"
CUT = "process 9 of celery@elsewhere has lost its connection to Redis"


@pytest.mark.parametrize(
    ("server", "connected", "said"),
    [("server", False, CUT), ("server", True, ""), ("server", None, ""), ("another", False, ""), ("", False, "")],
)
def test_a_process_elsewhere_is_gone_when_its_server_lists_its_connection_no_more(
    server: str, connected: bool | None, said: str
) -> None:
    assert liveness.seen_gone(MARK, server, lambda client_id: connected if client_id == 7 else None) == said


def test_a_process_of_this_host_is_gone_when_it_has_ended() -> None:
    name = processes.own_name()
    host, number, _ = name.rsplit(":", 2)
    ended = f"{host}:{number}:0"
    assert liveness.seen_gone(f"7@s#1 {name}", "s", lambda _: False) == "", "it lives, connected or not"
    said = liveness.seen_gone(f"7@s#1 {ended}:t:5.7.0:celery@", "", lambda _: None)
    assert said == f"process {number} of celery@{host.partition('/')[0]} has ended"


def test_without_a_connection_it_asks_for_one_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr("cutover.clock.monotonic_s", lambda: now_s)
    monkeypatch.setattr("cutover.workers.liveness.conf.load", lambda: (_ for _ in ()).throw(OSError("no route")))
    alone = liveness.Worker("host:1")
    assert (alone.sign(), alone.is_cut()) == ("0@#1 host:1", False)
    now_s += liveness.AGAIN_S
    assert alone.is_cut()


def test_no_mark_is_given_twice_where_a_connection_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its mark the ledger tells of which run an end is."""
    now_s = 100.0
    monkeypatch.setattr("cutover.clock.monotonic_s", lambda: now_s)
    monkeypatch.setattr("cutover.workers.liveness.conf.load", lambda: (_ for _ in ()).throw(OSError("no route")))
    monkeypatch.setattr(liveness, "_of_process", {})
    first = liveness.this_worker()
    marks = [first.sign(), first.sign()]
    now_s += liveness.AGAIN_S
    again = liveness.this_worker()
    assert again is not first
    marks += [again.sign(), again.sign()]
    assert len({*marks}) == len(marks)
