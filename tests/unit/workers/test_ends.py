"""Ends of runs on their way into the ledger: a few at a time, kept through an outage, and none lost unsaid."""

import datetime as dt
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from types import SimpleNamespace

import pytest
from billiard.exceptions import SoftTimeLimitExceeded

from cutover import background, seldom
from cutover.errors import LedgerUnavailable
from cutover.ledger.runs import RunEnd
from cutover.types import EntryName, RunOutcome, Slot
from cutover.workers import ends as room
from cutover.workers.ends import Ends
from tests.support.rooms import in_threads

DUE_AT = dt.datetime(2026, 11, 27, tzinfo=dt.UTC)
AWAY = LedgerUnavailable("no answer")


def end(number: int) -> RunEnd:
    return RunEnd(Slot(DUE_AT, EntryName(f"e{number}")), f"w{number}", RunOutcome.SUCCEEDED)


class Books:
    """A ledger that answers as it is told, one word for each statement; and all it was given."""

    def __init__(self) -> None:
        self.answers: list[Exception | None] = []
        self.recorded: list[list[RunEnd]] = []
        self.asked = 0

    def end(self, ends: Sequence[RunEnd]) -> None:
        self.asked += 1
        if self.answers and (wrong := self.answers.pop(0)) is not None:
            raise wrong
        self.recorded.append(list(ends))


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch) -> Books:
    made = Books()
    monkeypatch.setattr(room, "ledger", lambda: SimpleNamespace(runs=made))
    monkeypatch.setattr(room, "session", lambda is_patient: nullcontext())
    monkeypatch.setattr(seldom, "_kept", {})
    return made


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited, in no time."""
    waited: list[float] = []
    monkeypatch.setattr(room, "SYSTEM", SimpleNamespace(sleep=waited.append))
    return waited


@pytest.fixture
def ends(books: Books) -> Iterator[Ends]:
    made = Ends()
    yield made
    background.drain_all()


@pytest.fixture
def by_hand(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """The jobs that wait in the queue, of which the test runs one after the other."""
    jobs: list[Callable[[], object]] = []
    monkeypatch.setattr(ends._background, "put_once", lambda job: job in jobs or jobs.append(job) or True)
    return jobs


def work(jobs: list[Callable[[], object]]) -> None:
    """As the queue's thread does, until none waits."""
    while jobs:
        jobs.pop(0)()


def test_what_ends_while_one_waits_is_recorded_with_it(ends, books, by_hand, waits):
    for number in range(3):
        ends.record_soon(end(number))
    assert books.recorded == []
    assert len(by_hand) == 1
    work(by_hand)
    assert [[each.worker for each in some] for some in books.recorded] == [["w0", "w1", "w2"]]
    assert waits == [room.EVERY_S]
    ends.record_soon(end(3))
    assert len(by_hand) == 1, "the next one waits as the first did"


def test_what_ends_while_others_are_recorded_is_recorded_after_them(ends, books, by_hand, waits, monkeypatch):
    """The one that is at work has looked already."""
    given = books.end

    def meanwhile(some: Sequence[RunEnd]) -> None:
        monkeypatch.setattr(books, "end", given)
        ends.record_soon(end(1))
        given(some)

    monkeypatch.setattr(books, "end", meanwhile)
    ends.record_soon(end(0))
    work(by_hand)
    assert [[each.worker for each in some] for some in books.recorded] == [["w0"], ["w1"]]


def test_an_end_whose_process_was_interrupted_is_recorded_with_the_next(ends, books, by_hand, waits, monkeypatch):
    put = ends._background.put_once

    def interrupted(job: Callable[[], object]) -> bool:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(ends._background, "put_once", interrupted)
    with pytest.raises(SoftTimeLimitExceeded):
        ends.record_soon(end(0))
    monkeypatch.setattr(ends._background, "put_once", put)
    ends.record_soon(end(1))
    work(by_hand)
    assert [[each.worker for each in some] for some in books.recorded] == [["w0", "w1"]]


def test_threads_of_a_process_that_ends_record_each_end_once(ends, books, monkeypatch):
    """No thread can be started any more: each that has run a task records for itself."""
    monkeypatch.setattr(ends._background, "put_once", lambda job: False)
    given, number = books.end, 4
    for each in range(number - 1):
        ends._waiting.append(end(each))
    begun = threading.Barrier(2)

    def slowly(some: Sequence[RunEnd]) -> None:
        with suppress(threading.BrokenBarrierError):
            begun.wait(0.2)  # for a second one that would record the same
        given(some)

    monkeypatch.setattr(books, "end", slowly)
    in_threads(lambda: ends.record_soon(end(number - 1)), lambda: ends.record_soon(end(number)))
    assert sorted(each.worker for some in books.recorded for each in some) == [f"w{n}" for n in range(number + 1)]


def test_very_many_are_several_statements(ends, books, by_hand, waits):
    for number in range(2 * room.AT_ONCE + 1):
        ends.record_soon(end(number))
    work(by_hand)
    assert [len(some) for some in books.recorded] == [room.AT_ONCE, room.AT_ONCE, 1]
    assert [each.worker for some in books.recorded for each in some] == [f"w{n}" for n in range(2 * room.AT_ONCE + 1)]


def test_an_outage_is_said_once_and_outlasted(ends, books, by_hand, waits, caplog):
    books.answers = [AWAY, AWAY, None, AWAY]
    ends.record_soon(end(0))
    work(by_hand)
    assert [each.worker for some in books.recorded for each in some] == ["w0"]
    assert waits == [room.EVERY_S, room.AGAIN_S, room.AGAIN_S]
    assert caplog.text.count("cutover.database.lost") == 1
    ends.record_soon(end(1))
    work(by_hand)
    assert caplog.text.count("cutover.database.lost") == 2, "another outage"


def test_in_an_outage_the_oldest_are_given_up_and_that_is_said(ends, books, by_hand, waits, caplog, monkeypatch):
    monkeypatch.setattr(room, "MOST", 2)
    books.answers = [AWAY]
    for number in range(5):
        ends.record_soon(end(number))
    work(by_hand)
    assert [each.worker for some in books.recorded for each in some] == ["w3", "w4"]
    assert "the ends of 3 runs are not recorded: LedgerUnavailable: no answer" in caplog.text


def test_what_the_database_will_never_take_is_given_up_and_that_is_said(ends, books, by_hand, waits, caplog):
    books.answers = [ValueError("a value of another kind")]
    ends.record_soon(end(0))
    work(by_hand)
    assert (books.asked, books.recorded) == (1, [])
    assert "the ends of 1 runs are not recorded: ValueError: a value of another kind" in caplog.text
    ends.record_soon(end(1))
    work(by_hand)
    assert [each.worker for some in books.recorded for each in some] == ["w1"]


def test_a_process_that_ends_waits_for_them(ends, books):
    ends.record_soon(end(0))
    background.drain_all()
    assert [len(some) for some in books.recorded] == [1]


def test_one_that_can_start_no_thread_any_more_records_at_once(ends, books, monkeypatch):
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)
    for number in range(2):
        ends.record_soon(end(number))
    assert [[each.worker for each in some] for some in books.recorded] == [["w0"], ["w1"]]


def test_a_forked_process_has_none_of_its_parents(books, monkeypatch):
    monkeypatch.setattr(room.of_process._background, "put_once", lambda job: True)
    room.of_process.record_soon(end(0))
    try:
        child = os.fork()
        if not child:
            os._exit(len(room.of_process._waiting))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(room.of_process._waiting) == 1
    finally:
        room.of_process.reset()
