"""The run guard's own session: kept where the project keeps connections, and nobody else's is changed."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from django.db import connections
from django.db.transaction import atomic

from cutover.workers import session as room
from cutover.workers.session import session

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]


@pytest.fixture(autouse=True)
def a_workers(alias: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A thread of a worker whose project keeps connections for a minute, as it does from its first slot on."""
    monkeypatch.setattr(room, "config", lambda: SimpleNamespace(database=alias))
    monkeypatch.setattr(room, "_kept", room._Kept())
    monkeypatch.setitem(connections[alias].settings_dict, "CONN_MAX_AGE", 60)
    yield
    room._kept.close()


def long_ago() -> None:
    """Have what is kept be idle since long ago."""
    room._kept._free = [(own, used_at_s - 2 * room.FRESH_S) for own, used_at_s in room._kept._free]


def ask(alias: str, **options: bool) -> object:
    """Ask one thing of the database, as celery leaves it after a task; the driver's connection that was asked."""
    with session(**options), connections[alias].cursor() as cursor:
        cursor.execute("SELECT 1")
        asked = connections[alias].connection
    connections[alias].close()
    return asked


def test_celery_closes_the_projects_connection_and_not_the_guards(alias: str) -> None:
    theirs = connections[alias]
    theirs.ensure_connection()
    assert ask(alias) is ask(alias)
    assert connections[alias] is theirs
    assert theirs.connection is None


def test_a_process_that_a_task_forks_does_not_talk_over_the_connection_of_its_parent(alias: str) -> None:
    first = ask(alias)
    if (child := os.fork()) == 0:
        os._exit(0 if ask(alias) is not first else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ask(alias) is first


def test_one_that_was_just_used_is_not_asked_whether_it_lives(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ask(alias)
    looks: list[None] = []
    is_usable = type(connections[alias]).is_usable
    monkeypatch.setattr(type(connections[alias]), "is_usable", lambda self: looks.append(None) or is_usable(self))
    assert ask(alias) is first
    assert len(looks) == 0
    long_ago()
    assert ask(alias) is first
    assert len(looks) == 1


def test_a_task_that_runs_within_a_transaction_leaves_its_connection_open(alias: str) -> None:
    with atomic(using=alias), session():
        theirs = connections[alias].connection
    assert connections[alias].connection is theirs
    with atomic(using=alias):
        with session():
            pass
        assert connections[alias].connection is theirs, "nothing was lost of the transaction"


def test_one_that_has_died_while_idle_is_made_anew(alias: str) -> None:
    if connections[alias].vendor == "sqlite":
        pytest.skip("a file does not hang up")
    first = ask(alias)
    first.close()
    long_ago()
    assert ask(alias) is not first


def test_nothing_is_kept_where_the_project_keeps_nothing_itself(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections[alias].settings_dict, "CONN_MAX_AGE", 0)
    connections[alias].close()  # its age counts from when it was opened
    with session(), connections[alias].cursor() as cursor:
        cursor.execute("SELECT 1")
    assert room._kept.number == 0
    assert connections[alias].connection is None


@pytest.mark.parametrize(
    ("age", "options", "kept"), [(60, {}, True), (None, {}, True), (0, {}, False), (60, {"pool": True}, False)]
)
def test_what_the_project_says_of_its_connections_holds(
    age: int | None, options: dict[str, object], kept: bool
) -> None:
    settings = {"CONN_MAX_AGE": age, "OPTIONS": options}
    assert room._is_kept(SimpleNamespace(settings_dict=settings, in_atomic_block=False)) is kept


def test_within_a_transaction_it_is_the_transactions(alias: str) -> None:
    with atomic(using=alias), session():
        assert connections[alias].in_atomic_block


def in_another_thread(alias: str, **options: bool) -> object:
    """Ask one thing of the database there; the driver's connection that was asked."""

    def asked() -> object:
        found = ask(alias, **options)
        connections.close_all()
        return found

    with ThreadPoolExecutor(1) as other:
        return other.submit(asked).result(timeout=20)


def test_one_is_kept_for_whichever_thread_is_next(alias: str) -> None:
    kept = ask(alias)
    assert in_another_thread(alias) is kept
    assert ask(alias) is kept


def test_two_threads_have_two_at_once_and_the_patient_waits_for_one(alias: str) -> None:
    with ThreadPoolExecutor(1) as other:
        with session():
            connections[alias].ensure_connection()
            kept = connections[alias].connection
            waiting = other.submit(in_another_thread, alias, is_patient=True)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
        assert waiting.result(timeout=20) is kept
    with session():
        connections[alias].ensure_connection()
        assert in_another_thread(alias) is not connections[alias].connection
    assert room._kept.number == 2


def test_the_patient_opens_one_where_none_comes_back(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a time limit has interrupted the worker that had it."""
    monkeypatch.setattr(room, "PATIENCE_S", 0.05)
    with session():
        connections[alias].ensure_connection()
        assert in_another_thread(alias, is_patient=True) is not connections[alias].connection


def test_the_patient_opens_one_where_there_is_none(alias: str) -> None:
    assert in_another_thread(alias, is_patient=True) is ask(alias)
