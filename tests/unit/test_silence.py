"""A command is not kept waiting by a database that says nothing."""

import itertools
import signal
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.test.utils import override_settings

from cutover.conf import Config
from cutover.errors import LedgerUnavailable
from cutover.management import silence
from cutover.observe import overview
from cutover.observe.headline import headline
from cutover.phases.context import Context


class Connection:
    """What the bound needs of a connection to a server."""

    vendor = "postgresql"

    def __init__(self) -> None:
        self.wrapper: Any = None
        self.is_closed = False

    def execute_wrapper(self, wrapper: Any) -> Any:
        self.wrapper = wrapper
        return override_settings()  # any context will do

    def connect(self) -> None:
        hang()

    def close(self) -> None:
        self.is_closed = True


def hang() -> None:
    threading.Event().wait(30)


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    found, before = Connection(), signal.getsignal(signal.SIGALRM)
    is_timed = signal.getitimer(signal.ITIMER_REAL)[0] > 0  # by pytest
    monkeypatch.setattr(silence, "connection_of", lambda alias: found)
    yield found
    assert "connect" not in vars(found)
    assert signal.getsignal(signal.SIGALRM) is before
    assert (signal.getitimer(signal.ITIMER_REAL)[0] > 0) is is_timed


@pytest.mark.parametrize("is_connected", [True, False])
def test_a_server_that_says_nothing_ends_the_question(connection: Connection, is_connected: bool) -> None:
    said = r"gives no answer: nothing has come for 0\.05 s"
    with pytest.raises(LedgerUnavailable, match=said), silence.bounded("default", within_s=0.05):
        connection.wrapper(hang) if is_connected else connection.connect()
    assert connection.is_closed


def test_each_statement_may_take_as_long_and_what_goes_on_between_any_time(connection: Connection) -> None:
    """As the imports of a large project do."""

    def left_s() -> float:
        return signal.getitimer(signal.ITIMER_REAL)[0]

    own = signal.setitimer(signal.ITIMER_REAL, 0)  # pytest's
    try:
        with silence.bounded("default", within_s=60):
            for _ in range(2):
                assert left_s() == 0
                assert connection.wrapper(left_s) > 50
    finally:
        signal.setitimer(signal.ITIMER_REAL, *own)
    assert not connection.is_closed


def test_what_runs_in_another_thread_is_left_alone(connection: Connection) -> None:
    def ask() -> None:
        with silence.bounded("default", within_s=0.001):
            done.append(connection.wrapper)

    done: list[Any] = []
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert done == [None]


def test_a_silent_database_is_asked_once_and_redis_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: Any) -> None:
        asked.append("database")
        raise LedgerUnavailable("The database (default) gives no answer: nothing has come for 10 s.")

    asked, passed = list[str](), itertools.count(step=5)
    monkeypatch.setattr(overview.clock, "monotonic_s", lambda: next(passed))
    context = Context(Config())
    for part in ("_cutover", "_pauses", "_slots", "_sending", "_without_row", "_entries", "_late", "_unmanaged"):
        monkeypatch.setattr(overview, part, silent)
    context.lease = SimpleNamespace(view=lambda: asked.append("redis"), beats=lambda: [], probe=lambda: None)
    seen = overview.take(context)
    assert asked == ["database", "redis"]
    assert headline(seen.data, seen.entries).verdict.startswith("Not healthy: The database (default) gives no answer")
