"""Jobs in the background: whoever gives one never waits, and what goes wrong with them is said and bounded."""

import os
import threading
from typing import Any

import pytest

from cutover import background
from cutover.background import BackgroundQueue
from cutover.events import Event
from demo.waiting import wait_until

pytestmark = pytest.mark.usefixtures("queues_end", "said")


def new(most: int = 10) -> BackgroundQueue:
    return BackgroundQueue("tests-background", Event.RECEIVER_FAILED, most)


def test_jobs_are_run_in_their_order_by_another_thread() -> None:
    done: list[tuple[int, bool]] = []
    of_test = threading.current_thread()
    messenger = new()
    for number in range(5):
        assert messenger.put(lambda n=number: done.append((n, threading.current_thread() is not of_test)))
    assert messenger.drain(10)
    assert done == [(n, True) for n in range(5)]


def test_a_thread_that_ended_for_lack_of_jobs_is_followed_by_another() -> None:
    messenger, threads = new(), list[int]()
    for _ in range(2):
        messenger.put(lambda: threads.append(threading.get_ident()))
        assert messenger.drain(10)
        wait_until(lambda: "tests-background" not in {t.name for t in threading.enumerate()}, "its thread has ended")
    assert len(threads) == 2


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(1)])
def test_a_job_that_fails_is_said_and_ends_nothing(error: BaseException, said: list[Any]) -> None:
    def fail() -> None:
        raise error

    done: list[str] = []
    messenger = new()
    for _ in range(3):
        messenger.put(fail, signal="one")
    messenger.put(lambda: done.append("next"))
    assert messenger.drain(10)
    assert done == ["next"]
    kind = type(error).__name__
    assert said == [{"event": "cutover.receiver.failed", "signal": "one", "reason": f"{kind}: {error}", "unsaid": 0}]


def test_where_one_job_blocks_the_queue_is_bounded_and_whoever_gives_more_does_not_wait(
    said: list[Any],
) -> None:
    let_go, done = threading.Event(), list[int]()
    messenger = new(most=2)
    messenger.put(let_go.wait)
    wait_until(lambda: not messenger._jobs, "the first one is under way")
    taken = [messenger.put(lambda n=number: done.append(n)) for number in range(4)]
    assert not messenger.drain(0.01)
    assert taken == [True, True, False, False]
    assert [line["reason"][:23] for line in said] == ["dropped: 2 wait already"]
    let_go.set()
    assert messenger.drain(10)
    assert done == [0, 1]


def test_what_waits_already_is_not_put_once_more_and_what_is_under_way_is() -> None:
    let_go, begun = threading.Event(), list[int]()
    messenger = new()

    def job() -> None:
        begun.append(len(begun))
        let_go.wait(10)

    assert messenger.put_once(job)
    wait_until(lambda: begun, "it is under way")
    assert all(messenger.put_once(job) for _ in range(3))
    let_go.set()
    assert messenger.drain(10)
    assert len(begun) == 2


def test_a_process_that_was_forked_has_a_list_of_its_own() -> None:
    let_go, inside = threading.Event(), threading.Event()
    messenger = new()
    messenger.put(lambda: (inside.set(), let_go.wait()))
    inside.wait(10)
    read, write = os.pipe()
    if (child := os.fork()) == 0:  # the parent's thread holds a job, and is not here
        messenger.put(lambda: os.write(write, b"told"))
        os._exit(0 if messenger.drain(10) else 1)
    let_go.set()
    assert os.read(read, 10) == b"told"
    assert os.waitpid(child, 0)[1] == 0
    os.close(read)
    os.close(write)
    assert messenger.drain(10)


def test_at_the_end_all_are_waited_for_together() -> None:
    done: list[str] = []
    for name in ("a", "b"):
        new().put(lambda n=name: done.append(n))
    messengers = [new(), new()]
    for each, name in zip(messengers, ("c", "d"), strict=True):
        each.put(lambda n=name: done.append(n))
    background.drain_all()
    assert {"c", "d"} <= set(done)
