"""A slot's message goes through celery's own calls: once through ``apply_entry``, and one message a slot."""

import datetime as dt
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from celery.beat import ScheduleEntry, Scheduler, SchedulingError
from celery.result import EagerResult
from celery.schedules import schedule

from cutover import clock, models
from cutover.beats.agenda import Agenda
from cutover.beats.dispatcher import Dispatcher
from cutover.beats.missed import WITHHELD
from cutover.beats.outlet import Outlet
from cutover.beats.overrides import TooManyMessages, require_one_message
from cutover.beats.publisher import Publisher, send_twice_where_refused
from cutover.beats.resend import Resend
from cutover.guard import GuardedTask
from cutover.types import EntryName, Side, Slot
from tests.integration.beats.conftest import HOUR, BoundedScheduler, Broker, agenda_of, due, due_now, entry

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]


class Passing(BoundedScheduler):
    """Passes on to its outlet as the schedulers under the lease do."""

    _outlet: Outlet

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        return self._outlet.pass_on(super().apply_async, *args, **kwargs)


def outlet_of(broker: Broker, kind: type[Scheduler] = Passing) -> Outlet:
    scheduler = broker.scheduler = kind(broker.app, lazy=True)
    scheduler._outlet = Outlet(scheduler)
    return scheduler._outlet


def through(ledger: Any, broker: Broker, kind: type[Scheduler] = Passing) -> Dispatcher:
    """A dispatcher whose messages go through the calls of a scheduler of that kind."""
    outlet = outlet_of(broker, kind)
    connection = broker.scheduler.connection
    faults = (*connection.connection_errors, *connection.channel_errors)
    publisher = Publisher(ledger, send_twice_where_refused(outlet.send), "tests", lambda: None, faults)
    return Dispatcher(ledger, publisher, lambda: None)


@pytest.fixture
def check_ins(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Opens a check-in at each ``apply_entry``, in exactly Sentry's way: two positional arguments, ids in headers."""
    opened: list[str] = []
    stock = Scheduler.apply_entry

    def patched(*args: Any, **kwargs: Any) -> None:
        _, entry = args
        assert kwargs.keys() == {"producer"}
        opened.append(entry.name)
        headers = entry.options.pop("headers", {})
        entry.options["headers"] = {**headers, "check-in": f"{entry.name} {len(opened)}"}
        return stock(*args, **kwargs)

    monkeypatch.setattr(Scheduler, "apply_entry", patched)
    yield opened


def marks(broker: Broker) -> list[tuple[str, str | None]]:
    """Of each message: its entry, and the check-in that its run would end."""
    return [(m["headers"]["cutover_entry"], m["headers"].get("check-in")) for m in broker.messages()]


class Flaky(Passing):
    """Fails, in the given way, for the first calls."""

    failures: list[Exception | None] = []

    def apply_async(self, entry: ScheduleEntry, **options: Any) -> Any:
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        return super().apply_async(entry, **options)


def failing(*failures: Exception | None) -> type[Flaky]:
    return type("Failing", (Flaky,), {"failures": list(failures)})


def test_each_published_slot_is_announced_once_in_the_stock_form(ledger, broker, term, check_ins, caplog):
    caplog.set_level(logging.INFO, "celery.beat")
    agenda = due_now(broker, "a", "b")
    through(ledger, broker).send(term, agenda, due(agenda))
    assert sorted(check_ins) == ["a", "b"]
    assert len(marks(broker)) == 2
    said = [record.getMessage() for record in caplog.records if record.name == "celery.beat"]
    assert sorted(said) == [f"Scheduler: Sending due task {name} (demo.tasks.note)" for name in ("a", "b")]
    assert [d.entry.options for d in due(due_now(broker, "a"))] == [{}]


@pytest.mark.parametrize("error", [ConnectionResetError("gone"), ValueError("bad")], ids=["broker's", "own"])
def test_a_sweep_announces_nothing_again_and_its_message_ends_what_was_begun(ledger, broker, term, check_ins, error):
    agenda = due_now(broker, "a")
    sender = through(ledger, broker, failing(error, error))
    assert sender.send(term, agenda, due(agenda)).published == []
    assert sender.sweep(term, agenda).published == []
    assert [entry.name for entry in sender.sweep(term, agenda).published] == ["a"]
    assert check_ins == ["a"]
    assert marks(broker) == [("a", "a 1")]


def test_what_was_claimed_and_never_tried_is_announced_when_it_is_swept(ledger, broker, term, check_ins):
    agenda = due_now(broker, "a", "b", "c", "d")
    sender = through(ledger, broker, failing(None, ConnectionResetError("gone")))
    assert len(sender.send(term, agenda, due(agenda)).published) == 1
    assert len(check_ins) == 2
    assert len(sender.sweep(term, agenda).published) == 3
    assert sorted(check_ins) == ["a", "b", "c", "d"]
    assert sorted(mark.split()[0] for _, mark in marks(broker)) == ["a", "b", "c", "d"]


def test_nothing_is_announced_while_there_is_no_broker(ledger, own_broker, term, check_ins):
    own_broker.server.stop()
    agenda = due_now(own_broker, "a")
    sender = through(ledger, own_broker)
    assert sender.send(term, agenda, due(agenda)).published == []
    assert check_ins == []
    own_broker.server.start()
    sender.sweep(term, agenda)
    assert check_ins == ["a"]


def test_a_successor_announces_nothing_that_another_leader_may_have_announced(
    ledger, broker, term, check_ins, identity
):
    agenda = due_now(broker, "a")
    (one,) = due(agenda)
    ledger.claims.claim(term, [Slot(one.owed.send, one.name)])
    successor = ledger.fence.open_term(identity(), Side.CODE)
    assert through(ledger, broker).sweep(successor, agenda).published
    assert (check_ins, marks(broker)) == ([], [("a", None)])


def test_a_resend_announces_nothing_and_carries_what_the_first_message_carried(
    ledger, broker, term, check_ins, alias, monkeypatch
):
    agenda = due_now(broker, "a")
    sender = through(ledger, broker)
    sender.send(term, agenda, due(agenda))
    chore = Resend(ledger, sender, dt.timedelta(minutes=5))
    (slot,) = [Slot(row.due_at, EntryName(row.entry)) for row in models.Slot.objects.using(alias).all()]
    monkeypatch.setattr(chore, "_lost", lambda *_: [(agenda.entry(slot.entry), slot)])
    assert chore.run(term, replace(ledger.fence.read(), guarded_since=clock.now() - HOUR), agenda)
    assert check_ins == ["a"]
    assert marks(broker) == [("a", "a 1")] * 2


def test_a_message_that_cannot_be_sent_is_one_error_as_under_the_stock_scheduler(ledger, broker, term, rows, caplog):
    agenda = due_now(broker, "b")
    bad = ScheduleEntry(name="a", task="t", schedule=schedule(HOUR), args=(object(),), app=broker.app)
    agenda = agenda_of([bad, *[each.entry for each in due(agenda)]], clock.now() - 1.5 * HOUR)
    sender = through(ledger, broker)
    sender.send(term, agenda, due(agenda))
    sender.sweep(term, agenda)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [(record.name, record.getMessage()[:14]) for record in errors] == [("celery.beat", "Message Error:")]
    assert errors[0].exc_info is not None
    assert isinstance(errors[0].exc_info[1], SchedulingError)
    assert rows() == {"published": 1, "claimed": 1}


class Hidden(Passing):
    """Sends nothing of one entry."""

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        if entry.name != "a":
            super().apply_entry(entry, producer=producer)


class HiddenLater(Passing):
    """The same, at the other call."""

    def apply_async(self, entry: ScheduleEntry, **options: Any) -> Any:
        return super().apply_async(entry, **options) if entry.name != "a" else None


class Own(Passing):
    """Sends by itself, as projects do that know the stock way by heart."""

    def apply_async(self, entry: ScheduleEntry, producer: Any = None, advance: bool = True, **_: Any) -> Any:
        options = {**entry.options, "headers": {**entry.options["headers"], "own": "1"}}
        return self.app.send_task(entry.task, entry.args, entry.kwargs, producer=producer, **options)


class Late(Passing):
    """Fails once the message is sent."""

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        super().apply_entry(entry, producer=producer)
        raise RuntimeError("no metrics today")


class Stubborn(Passing):
    """Tries a second time where the first one failed."""

    fails = True

    def apply_async(self, entry: ScheduleEntry, **options: Any) -> Any:
        for _ in range(2):
            try:
                if self.fails:
                    self.fails = False
                    raise TimeoutError("slow")
                return super().apply_async(entry, **options)
            except TimeoutError:
                continue
        return None


@pytest.mark.parametrize("kind", [Hidden, HiddenLater])
def test_what_the_projects_scheduler_withholds_is_not_sent_later_either(ledger, broker, term, alias, kind, rows):
    require_one_message(kind)
    agenda = due_now(broker, "a", "b")
    sender = through(ledger, broker, kind)
    assert [entry.name for entry in sender.send(term, agenda, due(agenda)).published] == ["b"]
    sender.sweep(term, agenda)
    assert [entry for entry, _ in marks(broker)] == ["b"]
    assert rows() == {"published": 1, "missed": 1}
    assert models.Slot.objects.using(alias).get(entry="a").reason == WITHHELD
    assert list(due(agenda)) == []


class Queued(GuardedTask):
    """Is queued once, as with celery-singleton: while it is, whoever sends it gets the result of that message."""

    abstract = True
    answer: Callable[[Any], Any]

    def apply_async(self, *args: Any, **options: Any) -> Any:
        return self.answer(self)


class Answering(GuardedTask):
    """Is sent, and gives back what it likes."""

    abstract = True
    answer: Callable[[Any], Any]

    def apply_async(self, *args: Any, **options: Any) -> Any:
        return self.answer(super().apply_async(*args, **options))


def of_a_task(broker: Broker, base: type[GuardedTask], answer: Callable[[Any], Any]) -> Agenda:
    """Two entries that are due: ``a`` of a task with that base, and ``b`` of one like any other."""

    def run(label: str) -> None: ...

    broker.app.task(run, name="its.own", base=base, shared=False, answer=staticmethod(answer))
    entries = [entry(broker, name) for name in ("a", "b")]
    entries[0].task = "its.own"
    return agenda_of(entries, clock.now() - 1.5 * HOUR)


@pytest.mark.parametrize(
    "answer",
    [lambda task: task.AsyncResult("another"), lambda task: EagerResult(None, None, "REJECTED")],
    ids=["another message's result", "of no message"],
)
def test_what_a_task_refuses_to_queue_is_withheld(ledger, broker, term, alias, answer, rows):
    agenda = of_a_task(broker, Queued, answer)
    sender = through(ledger, broker)
    assert [entry.name for entry in sender.send(term, agenda, due(agenda)).published] == ["b"]
    sender.sweep(term, agenda)
    assert [entry for entry, _ in marks(broker)] == ["b"]
    assert rows() == {"published": 1, "missed": 1}
    assert models.Slot.objects.using(alias).get(entry="a").reason == WITHHELD


class AlreadyQueued(Exception):
    """As celery-once raises it: its text is how long the lock lasts."""


def test_a_task_that_raises_as_it_is_queued_is_tried_again_and_its_error_has_a_type(ledger, broker, term, alias, rows):
    def refuse(task: Any) -> None:
        raise AlreadyQueued(3595.5)

    agenda = of_a_task(broker, Queued, refuse)
    sender = through(ledger, broker)
    assert [entry.name for entry in sender.send(term, agenda, due(agenda)).published] == ["b"]
    assert rows() == {"published": 1, "claimed": 1}
    assert models.Slot.objects.using(alias).get(entry="a").reason.endswith("3595.5 (AlreadyQueued)")


@pytest.mark.parametrize("answer", [lambda result: result, lambda _: None], ids=["its result", "nothing"])
def test_a_task_that_is_sent_in_its_own_way_is_honoured(ledger, broker, term, answer, rows):
    agenda = of_a_task(broker, Answering, answer)
    assert len(through(ledger, broker).send(term, agenda, due(agenda)).published) == 2
    assert rows() == {"published": 2}
    assert len(marks(broker)) == 2


@pytest.mark.parametrize("kind", [Own, Late, Stubborn])
def test_a_scheduler_that_sends_in_its_own_way_is_honoured(ledger, broker, term, kind, rows):
    require_one_message(kind)
    agenda = due_now(broker, "a", "b")
    sender = through(ledger, broker, kind)
    assert len(sender.send(term, agenda, due(agenda)).published) == 2
    assert rows() == {"published": 2}
    assert set(broker.task_ids().values()) == {1}
    assert all((message["headers"].get("own") == "1") is (kind is Own) for message in broker.messages())


class Careless(Passing):
    """Keeps failures to itself."""

    def apply_async(self, entry: ScheduleEntry, **options: Any) -> Any:
        with suppress(Exception):
            return super().apply_async(entry, **options)


def test_a_scheduler_that_keeps_a_failure_to_itself_loses_no_slot(ledger, own_broker, term, rows):
    agenda = due_now(own_broker, "a")
    sender = through(ledger, own_broker, Careless)
    assert own_broker.scheduler.producer
    own_broker.server.stop()
    assert sender.send(term, agenda, due(agenda)).published == []
    assert rows() == {"claimed": 1}
    assert not sender.may_claim, "it is the broker that fails"
    own_broker.server.start()
    assert [entry.name for entry in sender.sweep(term, agenda).published] == ["a"]
    assert set(own_broker.task_ids().values()) == {1}


class Tenants(Passing):
    """As the mixin of a multi-tenant package."""

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        for _tenant in ("one", "two", "three"):
            try:
                self.apply_async(entry, producer=producer, advance=False)
            except Exception:
                logging.getLogger("tenants").exception("not sent")


class TenantsLater(Passing):
    def apply_async(self, entry: ScheduleEntry, **options: Any) -> Any:
        return [Passing.apply_async(self, entry, **options) for _tenant in ("one", "two", "three")]


class TenantsByStealth(Passing):
    """So that nothing can be read in the code."""

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        def each(_tenant: str) -> None:
            self.apply_async(entry, producer=producer, advance=False)

        list(map(each, ("one", "two", "three")))


@pytest.mark.parametrize("kind", [Tenants, TenantsLater])
def test_a_scheduler_that_sends_to_each_of_several_is_refused_by_name_at_start(kind):
    mixed = type("Mixed", (kind,), {"__module__": "shop.beat"})
    with pytest.raises(TooManyMessages, match=r"shop\.beat\.Mixed sends several messages for one entry"):
        require_one_message(mixed)


@pytest.mark.parametrize("kind", [Tenants, TenantsLater, TenantsByStealth])
def test_where_it_shows_only_when_it_happens_no_second_message_leaves(ledger, broker, term, kind, rows):
    agenda = due_now(broker, "a", "b")
    with pytest.raises(TooManyMessages, match=kind.__name__):
        through(ledger, broker, kind).send(term, agenda, due(agenda))
    assert len(broker.messages()) == 1
    assert rows() == {"published": 1, "claimed": 1}


@pytest.mark.parametrize("kind", [Passing, Hidden, Flaky, Stubborn, TenantsByStealth])
def test_other_schedulers_are_not_refused_at_start(kind: Callable[..., Any]):
    require_one_message(kind)
