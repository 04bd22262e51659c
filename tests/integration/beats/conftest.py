"""What the tests of sending share: a real broker, a term, entries that are due, and a dispatcher between them."""

import datetime as dt
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from celery import Celery
from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import schedule

from cutover import clock, models
from cutover.beats.agenda import Agenda
from cutover.beats.dispatcher import Dispatcher
from cutover.beats.item import MISFIRE_GRACE
from cutover.beats.publisher import Publisher
from cutover.beats.scheduler import Leased
from cutover.beats.sources import ScheduledEntry
from cutover.clock import SYSTEM
from cutover.conf import CatchUpRule
from cutover.guard import GuardedTask
from cutover.ledger import Ledger
from cutover.types import CatchUp, EntryName, Identity, Side, Term
from demo.services import Valkey

HOUR = dt.timedelta(hours=1)
MINUTE = dt.timedelta(minutes=1)
RULE = CatchUpRule(CatchUp.LATEST, 12 * HOUR)


class BoundedScheduler(Scheduler):
    """Publishes as the guarded schedulers do."""

    _ensure_connected = Leased._ensure_connected


class Broker:
    """A celery app on a broker, and what that one was handed."""

    def __init__(self, server: Valkey) -> None:
        self.server = server
        self.app = Celery("of-dispatcher", broker=server.url, task_cls=GuardedTask, set_as_current=False)
        self.app.conf.update(
            broker_transport_options={"socket_connect_timeout": 1, "socket_timeout": 1},
            broker_connection_retry=False,
            task_publish_retry=False,
        )
        self.scheduler = BoundedScheduler(self.app, lazy=True)

    def publish(self, entry: ScheduleEntry) -> None:
        self.scheduler.apply_async(entry, producer=self.scheduler.producer, advance=False)

    def messages(self) -> list[dict[str, Any]]:
        """The messages in the queue, the first one first."""
        with self.server.client() as client:
            return [json.loads(raw) for raw in reversed(client.lrange("celery", 0, -1))]

    def task_ids(self) -> Counter[str]:
        return Counter(message["headers"]["id"] for message in self.messages())

    def close(self) -> None:
        self.scheduler.connection.release()
        self.app.close()
        self.app.pool.force_close_all()


@pytest.fixture
def broker(valkey: Valkey) -> Iterator[Broker]:
    broker = Broker(valkey)
    yield broker
    broker.close()


@pytest.fixture
def own_broker(own_valkey: Valkey) -> Iterator[Broker]:
    """A broker that the test may stop."""
    broker = Broker(own_valkey)
    yield broker
    broker.close()


@pytest.fixture
def term(ledger: Ledger, identity: Callable[..., Identity]) -> Term:
    term = ledger.fence.open_term(identity(), Side.CODE)
    assert term is not None
    return term


@pytest.fixture
def rows(ledger: Ledger, alias: str) -> Callable[[], Counter[str]]:
    """How many slots stand in each state."""
    return lambda: Counter(models.Slot.objects.using(alias).values_list("state", flat=True))


def entry(broker: Broker, name: str, **fields: Any) -> ScheduleEntry:
    return ScheduleEntry(
        name=name, task="demo.tasks.note", schedule=schedule(HOUR), args=(name,), app=broker.app, **fields
    )


def agenda_of(entries: list[ScheduleEntry], since: dt.datetime) -> Agenda:
    agenda = Agenda()
    agenda.load({EntryName(e.name): ScheduledEntry.of(e, RULE) for e in entries}, since)
    return agenda


def due_now(broker: Broker, *names: str, **fields: Any) -> Agenda:
    """An agenda whose entries have each had one slot, half an hour ago."""
    return agenda_of([entry(broker, name, **fields) for name in names], clock.now() - 1.5 * HOUR)


def dispatcher(ledger: Ledger, broker: Broker, heartbeat: Callable[[], None] = lambda: None) -> Dispatcher:
    connection = broker.scheduler.connection
    return sending(ledger, broker.publish, heartbeat, (*connection.connection_errors, *connection.channel_errors))


def sending(
    ledger: Ledger,
    send: Callable[[ScheduleEntry], None],
    heartbeat: Callable[[], None] = lambda: None,
    faults: tuple[type[BaseException], ...] = (),
    monotonic_s: Callable[[], float] = clock.monotonic_s,
) -> Dispatcher:
    def sent(message: ScheduleEntry, *, first: bool) -> bool:
        send(message)
        return True

    publisher = Publisher(ledger, sent, "tests", heartbeat, faults, monotonic_s)
    return Dispatcher(ledger, publisher, heartbeat, replace(SYSTEM, monotonic_s=monotonic_s))


def due(agenda: Agenda) -> Any:
    return agenda.due(clock.now(), MISFIRE_GRACE)
