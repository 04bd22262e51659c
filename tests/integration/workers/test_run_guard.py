"""The run guard in real worker processes: what they wrote down is the evidence, and what the database says."""

import datetime as dt
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from celery import Celery

from cutover import clock
from cutover.types import EntryName, Slot
from demo.census import read_runs
from demo.processes import Process
from demo.waiting import wait_until
from tests.support.rooms import give_time, wait_for_rest
from tests.support.site import Site

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]

DEFERRED_AT_MOST_S = 20.0


class Books:
    """The site's database, read and disturbed from outside."""

    def __init__(self, site: Site) -> None:
        self._path = site.env["DATABASE_URL"].removeprefix("sqlite:///")

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self._path, timeout=20)) as connection:
            found = connection.execute(statement).fetchall()
            connection.commit()
        return found

    def deduplicated(self, entry: str) -> int:
        return sum(row[0] for row in self.ask(f"SELECT deduplicated FROM cutover_slot WHERE entry = '{entry}'"))


@pytest.fixture
def books(room: Site) -> Books:
    return Books(room)


@pytest.fixture
def worker(room: Site) -> Callable[..., Process]:
    """Starts workers of two processes each."""

    def start(*options: str, **env: str) -> Process:
        process = room.start(
            "worker",
            " ".join(["celery -A prayer_room_api worker -l INFO -c 2 --without-gossip --without-mingle", *options]),
            **{"CELERY_IMPORTS": "demo.tasks,tests.support.tasks"} | env,
        )
        wait_until(lambda: " ready." in process.output, "the worker is ready")
        return process

    return start


@pytest.fixture
def send(room: Site) -> Iterator[Callable[..., None]]:
    """Sends a task as a beat does; without a slot as anybody may."""
    app = Celery("sender", broker=room.env["REDIS_URL"], set_as_current=False)

    def send(task: str, *args: str, slot: Slot | None = None, task_id: str | None = None, **headers: Any) -> None:
        if slot:
            headers |= {"cutover_entry": slot.entry, "cutover_due_at": slot.due_at.isoformat(), "cutover_epoch": 1}
            task_id = slot.task_id("cutover")
        retries = headers.pop("retries", 0)
        app.send_task(task, args, task_id=task_id, headers=headers, retries=retries, connection=connection)

    with app.connection_for_write() as connection:
        yield send
    app.close()


def slot(entry: str) -> Slot:
    return Slot(dt.datetime.now(dt.UTC).replace(microsecond=0), EntryName(entry))


def labels(site: Site) -> Counter[str]:
    """What the tasks wrote down; without what the demonstration adds when one has ended."""
    return Counter(run.label for run in read_runs(site.runs) if not run.label.startswith("tests."))


def stop(process: Process) -> int:
    """Stop a worker, once it has come to rest; its exit code."""
    wait_for_rest(process)
    return process.stop()


def test_the_second_message_of_a_slot_is_dropped_and_counted_and_what_belongs_to_no_slot_runs(
    room, books, worker, send
):
    process = worker()
    one = slot("a")
    for _ in range(4):
        send("demo.tasks.note", "of-a-slot", slot=one)
        send("demo.tasks.note", "by-hand")
    wait_until(lambda: labels(room)["by-hand"] == 4 and books.deduplicated("a") == 3, "all is settled")
    assert labels(room) == {"of-a-slot": 1, "by-hand": 4}
    assert books.ask("SELECT entry, state FROM cutover_slot") == [("a", "published")]
    assert stop(process) == 0, process.output


def test_messages_of_an_unmanaged_beat_that_waited_are_matched_to_different_slots(room, books, worker, send):
    """No beat sends a slot twice: further messages that workers see at one moment are of the slots before."""
    process = worker()
    send("demo.tasks.note", "every-second-a", celery_beat_task=True)
    wait_until(lambda: labels(room)["every-second-a"] == 1, "the first has run")
    ((first,),) = books.ask("SELECT due_at FROM cutover_slot")
    fourth_at = dt.datetime.fromisoformat(first).replace(tzinfo=dt.UTC) + dt.timedelta(seconds=3)
    wait_until(lambda: clock.now() > fourth_at, "three more have fallen due")
    send("demo.tasks.note", "every-second-a", celery_beat_task=True, task_id="returned", cutover_redelivered=True)
    for _ in range(2):
        send("demo.tasks.note", "every-second-a", celery_beat_task=True)
    wait_until(lambda: labels(room)["every-second-a"] == 4, "all have run")
    found = books.ask("SELECT due_at, deduplicated FROM cutover_slot WHERE entry = 'every-second-a' ORDER BY due_at")
    due = [dt.datetime.fromisoformat(due_at) for due_at, _ in found]
    assert [after - before for before, after in pairwise(due)] == [dt.timedelta(seconds=1)] * 3
    assert [deduplicated for _, deduplicated in found] == [0, 0, 0, 0]
    send("demo.tasks.note", "every-second-a", celery_beat_task=True, task_id="returned", cutover_redelivered=True)
    wait_until(lambda: books.deduplicated("every-second-a") == 1, "one that was started and comes again is dropped")
    assert stop(process) == 0, process.output
    assert labels(room) == {"every-second-a": 4}


def test_what_names_no_slot_and_is_no_beats_for_certain_runs_and_is_counted_by_who_sends_it(room, books, worker, send):
    process = worker()
    for number in range(3):
        send("demo.tasks.note", "every-two-seconds-a")
        wait_until(lambda sent=number + 1: labels(room)["every-two-seconds-a"] == sent, "it has run")
        give_time(0.6, "it may be written again")
    send("demo.tasks.note", "by-hand")
    send("tests.support.tasks.at_once", "of no entry")
    send("demo.tasks.note", "of-a-slot", slot=slot("a"))
    wait_until(lambda: {"by-hand", "of no entry", "of-a-slot"} <= labels(room).keys(), "all have run")
    counted = "SELECT task, entry, messages, origin LIKE 'gen%@%' FROM cutover_slotlesssender ORDER BY entry"
    expected = [("demo.tasks.note", "", 1, 1), ("demo.tasks.note", "every-two-seconds-a", 3, 1)]
    wait_until(lambda: books.ask(counted) == expected, "all are counted, but for the task that no entry sends")
    assert books.ask("SELECT entry FROM cutover_slot") == [("a",)]
    assert books.ask("SELECT * FROM cutover_unmanagedbeat") == []
    assert stop(process) == 0, process.output


def test_by_the_operators_word_what_names_no_slot_is_an_unmanaged_beats(room, books, worker, send):
    books.ask("INSERT INTO cutover_operatorword VALUES ('demo.tasks.note', 'beats_alone', '2026-01-01 00:00:00')")
    process = worker()
    send("demo.tasks.note", "every-second-a", task_id="delivered twice")
    wait_until(lambda: labels(room)["every-second-a"], "it has run")
    send("demo.tasks.note", "every-second-a", task_id="delivered twice", cutover_redelivered=True)
    wait_until(lambda: books.deduplicated("every-second-a") == 1, "the second one is dropped")
    assert labels(room) == {"every-second-a": 1}
    assert len(books.ask("SELECT * FROM cutover_unmanagedbeat")) == 1
    assert books.ask("SELECT * FROM cutover_slotlesssender") == []
    assert stop(process) == 0, process.output


def test_every_retry_of_an_admitted_run_runs_and_a_second_message_meanwhile_does_not(room, books, worker, send):
    process = worker()
    one = slot("a")
    for _ in range(2):
        send("tests.support.tasks.at_the_third_try", "try", slot=one)
    wait_until(lambda: labels(room)["try-2"] and books.deduplicated("a"), "the third try was made")
    assert labels(room) == {"try-0": 1, "try-1": 1, "try-2": 1}
    assert {run.slot.due_at for run in read_runs(room.runs)} == {one.due_at}
    assert stop(process) == 0, process.output


def test_each_attempt_runs_once_and_what_a_task_sends_with_its_headers_is_no_message_of_its_slot(
    room, books, worker, send
):
    process = worker()
    one, other = slot("a"), slot("b")
    send("tests.support.tasks.at_the_third_try", "try", slot=one)
    send("tests.support.tasks.passes_its_headers_on", "run", slot=other)
    sent = {"run": 1, "run-instead": 1, **{f"run-{number}": 1 for number in range(7)}}
    expected = {"try-0": 1, "try-1": 1, "try-2": 1, **sent}
    wait_until(lambda: labels(room) >= Counter(expected), "each try was made, and what was sent has run")
    for retries in (1, 2):
        send("tests.support.tasks.at_the_third_try", "try", slot=one, retries=retries)
    send("tests.support.tasks.passes_its_headers_on", "run", slot=other)
    wait_until(lambda: books.deduplicated("a") == 2 and books.deduplicated("b") == 1, "those were dropped")
    assert labels(room) == expected
    assert books.ask("SELECT run_attempt FROM cutover_slot WHERE entry = 'a'") == [(2,)]
    assert stop(process) == 0, process.output


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_run_is_told_its_slot_in_every_pool_and_what_it_sends_with_its_headers_is_told_none(
    room, books, worker, send, pool
):
    process = worker(f"-P {pool}")
    due_at = dt.datetime(2026, 11, 27, 6, tzinfo=dt.UTC)
    slots = [Slot(due_at + dt.timedelta(hours=hours), EntryName(entry)) for hours in range(2) for entry in "ab"]
    for one in slots:
        send("tests.support.tasks.names_its_slot", one.entry, slot=one)
        wait_until(lambda one=one: sum(labels(room).values()) == 3 * (slots.index(one) + 1), "it has run, and again")
    told = {"a 06:00 %d None", "b 06:00 %d None", f"a 07:00 %d {due_at}", f"b 07:00 %d {due_at}"}
    runs = {f"{each[0]} {each % attempt}" for each in told for attempt in range(2)}
    assert labels(room) == {**dict.fromkeys(runs, 1), "a-child none": 2, "b-child none": 2}
    assert stop(process) == 0, process.output


def test_a_dropped_message_leaves_the_result_and_says_of_no_task_that_it_has_started(room, books, worker, send):
    process = worker("-E", DJANGO_SETTINGS_MODULE="tests.support.tracked")
    one, seen, url = slot("a"), [], room.env["REDIS_URL"]
    with Celery("watching", broker=url, backend=url, set_as_current=False) as app, app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": seen.append})
        with receiver.consumer_context(wakeup=False) as (watched, *_):

            def heard(task_id: str, *kinds: str) -> bool:
                """Whether these are the events of a task, in any order: two processes send them."""
                with suppress(TimeoutError):
                    watched.drain_events(timeout=0.05)
                return Counter(e["type"] for e in seen if e.get("uuid") == task_id) == Counter(kinds)

            wait_until(lambda: heard("") and seen, "the worker is heard")
            ran = ("task-received", "task-started", "task-failed")
            failed = one.task_id("cutover")
            send("tests.support.tasks.fails", slot=one)
            wait_until(lambda: heard(failed, *ran), "it has failed")
            send("tests.support.tasks.fails", slot=one)
            wait_until(lambda: books.deduplicated("a") == 1, "the other was dropped")
            send("demo.tasks.note", "by-hand", task_id="by-hand")
            wait_until(lambda: heard("by-hand", *ran[:2], "task-succeeded"), "a further task has run")
            assert heard(failed, "task-received", *ran)
            assert len({event["hostname"] for event in seen}) == 1, "they are all of one worker"
        result = app.AsyncResult(failed)
        assert (result.state, str(result.result)) == ("FAILURE", "no such thing")
        result.forget()
    assert stop(process) == 0, process.output


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_without_task_events_sends_none_of_a_slots_run_either(room, books, worker, send, pool):
    process = worker(f"-P {pool}")
    with Celery("watching", broker=room.env["REDIS_URL"], set_as_current=False) as app, app.connection() as connection:
        seen = []
        receiver = app.events.Receiver(connection, handlers={"*": seen.append})
        with receiver.consumer_context(wakeup=False) as (watched, *_):

            def heard(after=0):
                with suppress(TimeoutError):
                    watched.drain_events(timeout=0.05)
                return len(seen) > after

            wait_until(heard, "the worker is heard: it sends heartbeats all the same")
            send("demo.tasks.note", "run", slot=slot("a"))
            wait_until(lambda: labels(room)["run"] == 1, "it has run")
            wait_until(partial(heard, len(seen)), "the worker is heard again")
    assert {event["type"] for event in seen} == {"worker-heartbeat"}
    assert stop(process) == 0, process.output


def test_the_end_of_a_run_is_recorded_whichever_process_its_last_try_ran_in(room, books, worker, send):
    process = worker()
    for number in range(6):
        send("tests.support.tasks.late_at_the_third_try", "try", slot=slot(f"a{number}"))
    wait_until(lambda: labels(room)["try-2"] == 6, "each has had its third try")
    ended = "SELECT count(*) FROM cutover_slot WHERE run_ended_at IS NOT NULL"
    wait_until(lambda: books.ask(ended) == [(6,)], "each end is recorded: nobody takes such a run over")
    assert stop(process) == 0, process.output


@pytest.mark.parametrize("options", ["-P prefork --max-tasks-per-child 1", "-P prefork", "-P threads", "-P solo"])
def test_the_end_of_a_run_is_recorded_though_its_process_ends_after_it(room, books, worker, send, options):
    process = worker(options)
    for number in range(4):
        send("demo.tasks.note", "run", slot=slot(f"a{number}"))
    wait_until(lambda: labels(room)["run"] == 4, "each has run")
    assert stop(process) == 0, process.output
    assert books.ask("SELECT outcome, count(*) FROM cutover_slot GROUP BY outcome") == [("succeeded", 4)]


def test_a_redelivered_message_runs_once_the_worker_that_began_is_gone(room, books, worker, send, tmp_path):
    first = worker(DJANGO_SETTINGS_MODULE="tests.support.impatient")
    told = tmp_path / "told"
    send("tests.support.tasks.until_told", "late", str(told), slot=slot("a"))
    wait_until(lambda: labels(room)["late"] == 1, "the run has begun")
    first.kill()
    give_time(1.2, "the broker gives the message to another one")
    second = worker(DJANGO_SETTINGS_MODULE="tests.support.impatient")
    wait_until(lambda: labels(room)["late"] == 2, "the run was resumed")
    assert "cutover.run.resumed" in second.output
    told.touch()
    wait_until(lambda: books.ask("SELECT 1 FROM cutover_slot WHERE run_ended_at IS NOT NULL"), "the run has ended")
    assert stop(second) == 0, second.output
    assert labels(room) == {"late": 2}
    assert books.deduplicated("a") == 0


def test_a_redelivered_message_waits_while_the_worker_that_began_is_still_there(room, books, worker, send, tmp_path):
    first = worker()
    told = tmp_path / "told"
    send("tests.support.tasks.until_told", "late", str(told), slot=slot("a"))
    wait_until(lambda: labels(room)["late"] == 1, "the run has begun")
    give_time(1.2, "the broker gives the message to another one")
    second = worker(DJANGO_SETTINGS_MODULE="tests.support.impatient")
    wait_until(lambda: "cutover.run.deferred" in second.output, "the other worker has deferred it")
    told.touch()
    wait_until(lambda: books.deduplicated("a"), "it was dropped in the end", DEFERRED_AT_MOST_S)
    assert labels(room) == {"late": 1}
    assert [stop(process) for process in (first, second)] == [0, 0], first.output + second.output


def test_a_redelivered_message_of_a_task_that_acknowledges_early_is_dropped(room, books, worker, send):
    one = slot("a")
    first = worker()
    send("demo.tasks.note", "early", slot=one)
    wait_until(lambda: labels(room)["early"] == 1, "it has run")
    assert stop(first) == 0, first.output
    second = worker()
    with Celery("sender", broker=room.env["REDIS_URL"], set_as_current=False) as app:
        headers = {
            "cutover_entry": one.entry,
            "cutover_due_at": one.due_at.isoformat(),
            "cutover_epoch": 1,
            "cutover_redelivered": True,  # as the broker says it of a message that it delivers again
        }
        app.send_task("demo.tasks.note", ("early",), task_id=one.task_id("cutover"), headers=headers)
    wait_until(lambda: books.deduplicated("a") or labels(room)["early"] > 1, "it was dropped or run")
    assert labels(room) == {"early": 1}
    assert stop(second) == 0, second.output


def test_without_a_database_a_message_is_deferred_and_runs_once_later(room, books, worker, send):
    process = worker()
    books.ask("ALTER TABLE cutover_slot RENAME TO cutover_slot_away")
    send("demo.tasks.note", "of-a-slot", slot=slot("a"))
    send("demo.tasks.note", "by-hand")
    wait_until(lambda: "cutover.run.deferred" in process.output and labels(room)["by-hand"], "it was deferred")
    assert labels(room) == {"by-hand": 1}
    books.ask("ALTER TABLE cutover_slot_away RENAME TO cutover_slot")
    wait_until(lambda: labels(room)["of-a-slot"], "it has run", DEFERRED_AT_MOST_S)
    assert labels(room) == {"by-hand": 1, "of-a-slot": 1}
    assert stop(process) == 0, process.output


def test_without_a_database_a_message_of_an_unmanaged_beat_is_deferred_and_keeps_its_slot(room, books, worker, send):
    process = worker()
    books.ask("ALTER TABLE cutover_slot RENAME TO cutover_slot_away")
    sent_at = clock.now()
    send("demo.tasks.note", "every-second-a", celery_beat_task=True)
    wait_until(lambda: process.output.count("cutover.run.deferred") > 2, "it was deferred, again and again")
    assert labels(room) == {}
    books.ask("ALTER TABLE cutover_slot_away RENAME TO cutover_slot")
    wait_until(lambda: labels(room)["every-second-a"], "it has run", DEFERRED_AT_MOST_S)
    ((due_at, sender),) = books.ask("SELECT due_at, sender FROM cutover_slot")
    assert abs(dt.datetime.fromisoformat(due_at).replace(tzinfo=dt.UTC) - sent_at) < dt.timedelta(seconds=1)
    assert sender.startswith("gen"), "it is still the sender's that sent it first"
    assert stop(process) == 0, process.output
    assert labels(room) == {"every-second-a": 1}


def test_the_end_of_a_run_for_an_unmanaged_beat_is_known_so_that_nobody_resumes_it(room, books, worker, send):
    process = worker(CODE_SCHEDULE="tests.support.tasks.LATE_SCHEDULE")
    send("tests.support.tasks.at_once", "late", celery_beat_task=True, task_id="lost its acknowledgement")
    wait_until(lambda: books.ask("SELECT 1 FROM cutover_slot WHERE run_ended_at IS NOT NULL"), "its end is recorded")
    send(
        "tests.support.tasks.at_once",
        "late",
        celery_beat_task=True,
        task_id="lost its acknowledgement",
        cutover_redelivered=True,
    )
    wait_until(lambda: books.deduplicated("late") == 1, "it is dropped when it comes again")
    assert stop(process) == 0, process.output
    assert labels(room) == {"late": 1}
    assert "cutover.run.deferred" not in process.output


@pytest.mark.parametrize("later", [0, 2])
def test_a_start_that_was_committed_without_an_answer_is_taken_up_again(room, books, worker, send, tmp_path, later):
    process = worker(
        CELERY_IMPORTS="demo.tasks,tests.support.forgetful",
        FORGETFUL_ONCE=str(tmp_path / "forgotten"),
        FORGETFUL_LATER=str(later),
    )
    one = slot("a")
    send("demo.tasks.note", "of-a-slot", slot=one)
    wait_until(lambda: labels(room)["of-a-slot"], "it has run", DEFERRED_AT_MOST_S)
    deferred = process.output.count("cutover.run.deferred")
    assert deferred == 1 + later, "the ledger had it as started, and it had not"
    send("demo.tasks.note", "of-a-slot", slot=one)
    wait_until(lambda: books.deduplicated("a") == 1, "a further message is dropped")
    assert labels(room) == {"of-a-slot": 1}
    assert stop(process) == 0, process.output


def test_a_worker_whose_standing_connection_was_cut_is_another_worker_from_its_next_run(
    room, books, worker, send, valkey
):
    process = worker()
    send("demo.tasks.note", "first", slot=slot("a"))
    wait_until(lambda: labels(room)["first"], "the first has run")
    with valkey.client() as client:
        cut = [c["id"] for c in client.client_list() if c["sub"] == "1" and c["cmd"] == "subscribe"]
        marked = books.ask("SELECT run_by FROM cutover_slot")[0][0].partition("@")[0]
        assert marked in cut, "the connection of the mark is one that a server does not close for being idle"
        client.client_kill_filter(_id=marked)
        for number in range(6):
            send("demo.tasks.note", "again", slot=slot(f"b{number}"))
        wait_until(lambda: labels(room)["again"] == 6, "the others have run")
        alive = {c["id"] for c in client.client_list()}
        marks = {row[0].partition("@")[0] for row in books.ask("SELECT run_by FROM cutover_slot WHERE entry <> 'a'")}
    assert marks <= alive
    assert stop(process) == 0, process.output


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_that_is_stopped_lets_receivers_hear_what_has_failed(room, books, worker, send, tmp_path, pool):
    heard = tmp_path / "heard"
    process = worker("-P", pool, CELERY_IMPORTS="demo.tasks,tests.support.told", HEARD_FILE=str(heard))
    send("tests.support.told.fails", slot=slot("a"))
    wait_until(lambda: books.ask("SELECT outcome FROM cutover_slot") == [("failed",)], "it has failed")
    process.stop()
    assert heard.exists(), process.output
    assert heard.read_text() == "a LookupError: no such thing\n"
