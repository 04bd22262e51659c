"""Messages that are built after the one before: the same bytes as celery's own, and only where nobody is on the way."""

import datetime as dt
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery, Task, signals
from celery.beat import BeatLazyFunc, ScheduleEntry, Scheduler
from celery.schedules import schedule
from kombu.messaging import Producer

from cutover.beats import shortcut
from cutover.beats.dispatcher import Dispatcher
from cutover.beats.hooks import PublishPath
from cutover.beats.outlet import Outlet
from cutover.beats.publisher import Message, Publisher, send_twice_where_refused
from cutover.beats.scheduler import CodeScheduler
from cutover.beats.shortcut import KEPT_S, Shortcut
from cutover.ledger.pauses import NOTHING_PAUSED, Paused
from cutover.types import Claim, EntryName, Epoch, Side, Slot, Term
from tests.integration.beats.conftest import HOUR, Broker, due, due_now

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]

TERM = Term(Epoch(7), Side.CODE, "beat:1")
NOON = dt.datetime(2026, 5, 5, 12, tzinfo=dt.UTC)
QUEUES = ("celery", "other", "routed", "celery\x06\x163", "other\x06\x163")


@pytest.fixture
def beat(broker: Broker) -> Iterator[CodeScheduler]:
    """One of our schedulers on that broker, whose app has a task."""
    yield scheduler_on(broker)


def scheduler_on(broker: Broker) -> CodeScheduler:

    @broker.app.task(name="noted", shared=False)
    def note(*args: Any, **kwargs: Any) -> None: ...

    @broker.app.task(name="strict", shared=False)
    def strict(one: str) -> None: ...

    broker.app.conf.accept_content = ["json", "pickle", "yaml"]
    scheduler = CodeScheduler(app=broker.app, schedule_filename="unused", lazy=True)
    broker.scheduler = scheduler
    scheduler._outlet = Outlet(scheduler)
    return scheduler


class Asked:
    """A ledger that confirms nothing, whose fence admits everybody."""

    class claims:
        @staticmethod
        def read_paused(term: Term) -> Paused:
            return NOTHING_PAUSED

        @staticmethod
        def note_fault(slot: Slot, fault: str) -> None:
            """It stays a claim."""


def publisher(beat: CodeScheduler) -> Publisher:
    return Publisher(Asked, send_twice_where_refused(beat._outlet.send), "tests", lambda: None)  # type: ignore[arg-type]


def send(beat: CodeScheduler, *names: str, **fields: Any) -> None:
    fields = {"task": "noted", "args": ("one", 2), **fields}
    entries = [ScheduleEntry(name=name, schedule=schedule(HOUR), app=beat.app, **fields) for name in names]
    published = publisher(beat).publish([Message(e, Slot(NOON, EntryName(e.name)), True) for e in entries], TERM)
    assert len(published.entries) == len(names), published


def taken(broker: Broker) -> list[str]:
    """The messages in all queues as they stand there, but for the tag that is kombu's own, and emptied."""
    with broker.server.client() as client:
        found = [raw.decode() for queue in QUEUES for raw in reversed(client.lrange(queue, 0, -1))]
        client.delete(*QUEUES)
    return [re.sub(r'"delivery_tag": "[^"]*"', "", raw) for raw in found]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], int]:
    """Says of a call how many messages it sent that were built after others."""
    sent: list[Any] = []

    def publish(*given: Any) -> None:
        sent.append(given)
        shortcut.publish(*given)

    def since(call: Callable[[], Any]) -> int:
        before = len(sent)
        call()
        return len(sent) - before

    monkeypatch.setattr("cutover.beats.outlet.publish", publish)
    return since


ALIKE = (
    {},
    {"args": ()},
    {"args": ([1, {"deep": [{"deeper": ["deepest", {"no": "more"}]}]}, "ü'\"", "x" * 2_000, None, 1.5, True],)},
    {"args": (), "kwargs": {"own": {"a": 1}, "other": "b"}},
    {"task": "strict", "args": ("one",)},
    {"task": "not.registered.here"},
    {"options": {"queue": "other"}},
    {"options": {"queue": "other", "priority": 3}},
    {"options": {"priority": 3}},
    {"options": {"exchange": "", "routing_key": "routed"}},
    {"options": {"serializer": "pickle"}},
    {"options": {"serializer": "yaml", "compression": "zlib"}},
    {"options": {"ignore_result": True}},
    {"options": {"headers": {"own": "1", "nested": {"a": [1]}}}},
)
"""What is built after the message before."""
UNUSUAL = (
    {"options": {"countdown": 5}},
    {"options": {"expires": 60}},
    {"options": {"eta": NOON}},
    {"options": {"time_limit": 5, "soft_time_limit": 3}},
    {"options": {"link": {"task": "strict", "args": (), "kwargs": {}, "options": {}, "subtask_type": None}}},
    {"options": {"shadow": "another"}},
    {"options": {"headers": {"retries": 4}}},
    {"options": {"own_property": "1"}},
    {"args": (BeatLazyFunc(lambda: "now"),)},
)
"""What is not."""


def test_what_is_built_after_another_is_byte_for_byte_what_celery_builds(beat, broker, counted, monkeypatch):
    for fields in ALIKE:
        beat._outlet._shortcut = Shortcut(beat.app)
        assert counted(lambda fields=fields: send(beat, "a", "b", "c", **fields)) == 2, fields
        short = taken(broker)
        with monkeypatch.context() as patched:
            patched.setattr(PublishPath, "is_unhooked", lambda _: False)
            send(beat, "a", "b", "c", **fields)
        assert len(short) == 3
        assert short == taken(broker), fields


def test_what_is_unusual_goes_through_celerys_calls(beat, broker, counted):
    for fields in UNUSUAL:
        assert counted(lambda fields=fields: send(beat, "a", "b", **fields)) == 0, fields
        assert len(taken(broker)) == 2


def test_what_comes_between_two_messages_is_seen_at_the_second(beat, broker, counted, monkeypatch):
    """Agents and projects may step in at any time, in any of the ways in which they do."""
    seen: list[str] = []

    def wrapped(function: Any) -> Any:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            seen.append(function.__name__)
            return function(*args, **kwargs)

        return wrapper

    app, task = beat.app, beat.app.tasks["noted"]
    for owner, name in (
        *((Scheduler, "apply_entry"), (Scheduler, "apply_async")),
        *((Task, "apply_async"), (Celery, "send_task"), (Producer, "publish"), (Producer, "_publish")),
        *((app.amqp, "create_task_message"), (type(app.amqp.router), "route"), (app.amqp, "send_task_message")),
        *((beat, "apply_entry"), (beat, "apply_async"), (app, "send_task"), (task, "apply_async")),
    ):
        seen.clear()
        send(beat, "a", "b")
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, wrapped(getattr(owner, name)))
            built = counted(lambda: send(beat, "c"))
            assert (len(seen), built) == (1, 0), (owner, name)
    assert all("task" in raw for raw in taken(broker))


@pytest.mark.parametrize("signal", [signals.before_task_publish, signals.after_task_publish])
def test_a_receiver_of_a_signal_hears_of_each_message_and_may_change_it(beat, broker, counted, signal):
    heard: list[str] = []

    def receive(headers: dict[str, Any], **_: Any) -> None:
        heard.append(headers["cutover_entry"])
        headers["trace"] = "1"

    send(beat, "a", "b")
    signal.connect(receive)
    try:
        assert counted(lambda: send(beat, "c", "d")) == 0
    finally:
        signal.disconnect(receive)
    assert heard == ["c", "d"]
    assert sum('"trace": "1"' in raw for raw in taken(broker)) == 2 * (signal is signals.before_task_publish)


def test_a_router_that_may_look_at_arguments_is_asked_for_each_message(broker, counted):
    asked: list[str] = []

    def route(name: str, args: Any, *_: Any, **__: Any) -> dict[str, str]:
        asked.append(args[0])
        return {"queue": "other"}

    broker.app.conf.task_routes = (route,)
    assert counted(lambda: send(scheduler_on(broker), "a", "b")) == 0
    assert asked == ["one", "one"]


def test_a_changed_setting_counts_within_a_second(beat, broker):
    now = [0.0]
    beat._outlet._shortcut = Shortcut(beat.app, lambda: now[0])
    send(beat, "a", "b")
    beat.app.amqp.argsrepr_maxsize = 5
    now[0] += KEPT_S
    send(beat, "c")
    assert ["argsrepr\": \"['one', 2]" in raw for raw in taken(broker)] == [True, True, False]


def test_arguments_that_the_task_does_not_take_are_celerys_error(beat, caplog):
    send(beat, "a", "b", task="strict", args=("one",))
    with pytest.raises(AssertionError, match="own_fault=True"):
        send(beat, "c", task="strict", args=("one", "too many"))
    assert [record.funcName for record in caplog.records if record.levelno == logging.ERROR] == ["apply_entry"]


def test_a_broker_that_goes_away_is_the_error_that_it_is_under_celery_and_loses_no_slot(
    ledger, own_broker, term, rows, caplog, counted
):
    beat = scheduler_on(own_broker)
    beat._outlet._shortcut = Shortcut(beat.app, lambda: 0.0)
    own_broker.app.conf.task_publish_retry = True
    beat.app.conf.task_publish_retry_policy = {"max_retries": 1, "interval_start": 0}
    connection = beat.connection
    faults = (*connection.connection_errors, *connection.channel_errors)
    sender = Dispatcher(
        ledger,
        Publisher(ledger, send_twice_where_refused(beat._outlet.send), "tests", lambda: None, faults),
        lambda: None,
    )
    agenda = due_now(own_broker, "a", "b", "c")
    first, second, third = due(agenda)
    assert len(sender.send(term, agenda, [first, second]).published) == 2
    own_broker.server.stop()
    assert counted(lambda: sender.send(term, agenda, [third])) == 1, "it had set out the short way"
    assert rows() == {"published": 2, "claimed": 1}
    assert not sender.may_claim, "it is the broker that fails"
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [(record.name, record.getMessage()[:14]) for record in errors] == [("celery.beat", "Message Error:")]
    own_broker.server.start()
    assert [entry.name for entry in sender.sweep(term, agenda).published] == [third.name]
    assert set(own_broker.task_ids().values()) == {1}
    assert {outcome.value for outcome in ledger.claims.claim(term, [Slot(third.owed.send, third.name)]).values()} == {
        Claim.ALREADY_CLAIMED
    }
