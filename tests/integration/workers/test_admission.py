"""The run guard around celery's own tracer, message by message, on real SQLite and real PostgreSQL.

What runs is what a task wrote down; results are those that a backend was handed, one after the other.
"""

import asyncio
import datetime as dt
import socket
import types
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import greenlet
import pytest
from celery import Celery, Task
from celery.app.trace import trace_task
from celery.backends.base import BaseBackend
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.schedules import crontab
from celery.signals import task_postrun, task_prerun
from django.db import connections

from cutover import background, clock, current_slot, headers, models, seldom, signals
from cutover.errors import LedgerUnavailable
from cutover.guard import GuardedTask
from cutover.ledger.cursors import Cursors
from cutover.ledger.runs import Runs
from cutover.types import EntryName, Slot
from cutover.workers import admission, ends, liveness, processes, run_guard
from cutover.workers.site import config
from cutover.workers.site import ledger as own_ledger
from tests.integration.conftest import NAMESPACE

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left", "valkey")]

GONE, THERE = (lambda mark: True), (lambda mark: False)


class History(BaseBackend):
    """A result backend that keeps every state that it is handed; none takes another's place."""

    def __init__(self, app: Celery) -> None:
        super().__init__(app)
        self.states: list[str] = []

    def store_result(self, task_id: str, result: Any, state: str, **details: Any) -> None:
        self.states.append(state)


class Site:
    """An app whose messages are delivered by hand."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.app = Celery("guarded", broker="memory://", task_cls=GuardedTask, set_as_current=False)
        self.app.conf.task_track_started = True
        self.ran: list[str] = []
        self.hooks: list[str] = []
        self.history = History(self.app)

    def task(self, body: Callable[..., Any] = lambda task: None, **options: Any) -> Task:
        """A task that writes down each run, and then does as ``body``."""

        def run(task: Task) -> Any:
            self.ran.append(task.request.id)
            return body(task)

        task = self.app.task(name=f"task-{len(self.app.tasks)}", bind=True, shared=False, **options)(run)
        task.backend = self.history
        return self.app.tasks[task.name]

    def deliver(self, task: Task, slot: Slot, task_id: str | None = None, **request: Any) -> Any:
        """Give a worker's tracer a message with the slot's headers; whatever is not said is as a beat sends it."""
        task_id = task_id or slot.task_id(NAMESPACE)
        redelivered = request.pop("redelivered", False)
        named = {headers.ENTRY: slot.entry, headers.DUE_AT: slot.due_at.isoformat(), headers.EPOCH: 1}
        delivery = {"exchange": "", "routing_key": "celery", "redelivered": redelivered}
        given = {"id": task_id, "delivery_info": delivery, "retries": 0} | named | request
        trace = task.__trace__ or partial(trace_task, task, app=self.app)  # which makes it, as a worker does at start
        return trace(task_id, (), {}, given)

    def messages(self) -> list[dict[str, Any]]:
        """What waits in the broker, as a worker would have it; taken out of there."""
        found = []
        with self.app.connection() as connection, connection.SimpleQueue("celery") as queue:
            while queue.qsize():
                message = queue.get(block=False)
                message.ack()
                found.append({**message.headers, "delivery_info": message.delivery_info, "embed": message.payload[2]})
        return found

    def deliver_deferred(self, task: Task) -> None:
        """Give it the one message that waits in the broker."""
        (message,) = self.messages()
        trace_task(task, message["id"], (), {}, message, app=self.app)

    @property
    def row(self) -> models.Slot:
        """The only slot of the ledger, once the ends of runs are recorded."""
        background.drain_all()
        return models.Slot.objects.using(self.alias).get()


@pytest.fixture
def site(alias: str, ledger: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    settings.CUTOVER = {"DATABASE": alias, "NAMESPACE": NAMESPACE}
    cached = (config, own_ledger, admission._sent_by_beat_alone)
    for each in cached:
        each.cache_clear()
    monkeypatch.setattr(liveness, "_of_process", {})
    monkeypatch.setattr(seldom, "_kept", {})
    monkeypatch.setattr(run_guard, "DEFER_S", 0.01)
    monkeypatch.setattr(background, "IDLE_S", 0.01)
    for wait in ("EVERY_S", "AGAIN_S"):
        monkeypatch.setattr(ends, wait, 0.01)
    made = Site(alias)
    yield made
    ends.of_process.reset()
    made.app.close()
    liveness.this_worker().leave()
    for each in cached:
        each.cache_clear()


@pytest.fixture
def slot() -> Slot:
    return Slot(clock.now().replace(microsecond=0), EntryName("a"))


def failing(task: Task) -> None:
    raise LookupError("no such thing")


def after(exc: BaseException) -> Callable[..., Any]:
    """A start of a run that is committed, and whose caller is told otherwise."""
    start = Runs.start

    def committed(self: Runs, *arguments: Any) -> Any:
        start(self, *arguments)
        raise exc

    return committed


def of_a_pool() -> types.SimpleNamespace:
    """As billiard has a process of a pool of processes."""
    return types.SimpleNamespace(name="ForkPoolWorker-1")


def instead(exc: BaseException) -> Callable[..., Any]:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise exc

    return fail


@pytest.mark.parametrize(("body", "states"), [(lambda task: None, "SUCCESS"), (failing, "FAILURE")])
def test_a_dropped_message_leaves_results_signals_and_hooks_as_they_were(site, slot, body, states):
    heard: list[str] = []

    def hear(signal: Any, **_: Any) -> None:
        heard.append(signal.name or "")

    def hook(task: Task, *details: Any) -> None:
        site.hooks.append("called")

    task = site.task(body, before_start=hook, after_return=hook)
    for signal in (task_prerun, task_postrun):
        signal.connect(hear, sender=task)
    site.deliver(task, slot)
    before = (list(site.history.states), list(heard), list(site.hooks))
    assert (before[0], len(before[1]), len(before[2])) == (["STARTED", states], 2, 2)
    _, info, *_ = site.deliver(task, slot)
    assert info.state == "IGNORED", "its message is acknowledged"
    assert (site.history.states, heard, site.hooks) == before
    assert len(site.ran) == 1
    assert site.row.deduplicated == 1


def test_what_a_task_overrides_without_super_is_guarded_all_the_same(site, slot):
    class Silent(GuardedTask):
        def before_start(self, *details: Any) -> None: ...

        def after_return(self, *details: Any) -> None: ...

    task = site.task(base=Silent, acks_late=True)
    for _ in range(2):
        site.deliver(task, slot)
    assert len(site.ran) == 1
    assert site.row.run_ended_at is not None


def test_what_a_task_sends_with_its_own_headers_is_no_message_of_its_slot(site, slot):
    task, child = site.task(), site.task()
    site.deliver(task, slot)
    for number in range(7):
        site.deliver(child if number % 2 else task, slot, f"child-{number}", parent_id=site.ran[0])
    site.deliver(child, slot, "published later, by no task")
    site.deliver(child, slot, cutover_task=task.name)
    assert len(site.ran) == 10
    assert site.row.deduplicated == 0
    site.app.tasks["another name of it"] = task
    site.deliver(task, slot, cutover_task="another name of it")
    assert len(site.ran) == 10
    assert site.row.deduplicated == 1


@pytest.mark.parametrize("off", [dt.timedelta(hours=2), dt.timedelta(hours=-2)], ids=["ahead", "behind"])
def test_a_worker_whose_clock_is_wrong_finds_the_slot_of_an_unmanaged_beats_message_all_the_same(
    site, monkeypatch, off
):
    """Otherwise both that beat's message and the leader's would run, each for another slot."""
    task, now = site.task(), clock.now
    site.app.conf.beat_schedule = {"a": {"task": task.name, "schedule": crontab()}}
    monkeypatch.setattr(clock, "now", lambda: now() + off)
    trace_task(task, "stock", (), {}, {"id": "stock", headers.BEAT: True, "origin": "1@stock"}, app=site.app)
    assert site.ran == ["stock"]
    assert abs(site.row.due_at - now()) < dt.timedelta(minutes=2)


def test_a_task_that_replaces_itself_and_passes_its_headers_on_runs_the_replacement(site, slot):
    task = site.task()
    site.deliver(task, slot)
    site.deliver(task, slot, parent_id=site.ran[0], replaced_task_nesting=1)
    site.deliver(task, slot, parent_id=site.ran[0], replaced_task_nesting=1, retries=1)
    assert len(site.ran) == 3
    assert site.row.run_attempt == 0


@pytest.mark.parametrize("named", [{headers.DUE_AT: "soon"}, {headers.DUE_AT: 12}, {headers.ENTRY: None}])
def test_headers_that_name_no_slot_stop_no_task(site, slot, named):
    task = site.task()
    for _ in range(2):
        site.deliver(task, slot, **named)
    assert len(site.ran) == 2


@pytest.mark.parametrize("acks_late", [False, True])
def test_each_retry_runs_once_however_often_its_message_comes(site, slot, acks_late):
    task = site.task(acks_late=acks_late)
    for retries in (0, 1, 1, 2, 1, 0, 2):
        site.deliver(
            task, slot, retries=retries, redelivered=True, parent_id=slot.task_id(NAMESPACE) if retries else None
        )
    assert len(site.ran) == 3
    row = site.row
    assert (row.run_attempt, row.deduplicated) == (2, 4)
    assert row.run_ended_at is not None


def test_a_retry_of_a_stock_beats_message_is_an_attempt_of_the_slot_that_was_found(site):
    def retried(task: Task) -> None:
        if not task.request.retries:
            raise task.retry(countdown=0)

    task, child = site.task(retried), site.task()
    site.app.conf.beat_schedule = {"a": {"task": task.name, "schedule": 3600.0}}
    trace_task(task, "stock", (), {}, {"id": "stock", headers.BEAT: True, "origin": "1@stock"}, app=site.app)
    assert site.row.sender == "1@stock stock"
    (message,) = site.messages()
    assert message["retries"] == 1
    for _ in range(2):
        trace_task(task, "stock", (), {}, dict(message), app=site.app)
    assert site.ran == ["stock", "stock"]
    assert (site.row.run_attempt, site.row.deduplicated) == (1, 1)
    site.deliver(child, Slot(site.row.due_at, EntryName("a")), "child", **{headers.MESSAGE: "stock"})
    assert site.ran[2:] == ["child"]


def test_the_guard_leaves_no_connection_behind(site, slot, monkeypatch):
    connection, seen = connections[site.alias], []
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 0)
    connection.close()
    task = site.task(lambda task: seen.append(connection.connection), acks_late=True)
    for _ in range(2):
        site.deliver(task, slot)
        seen.append(connection.connection)
    assert seen == [None, None, None], "as the task begins, as it has ended, and where a message is dropped"


def retried_once(task: Task) -> None:
    if not task.request.retries:
        raise task.retry(countdown=0)


def retried_after_an_error(task: Task) -> None:
    if not task.request.retries:
        raise task.retry(countdown=0, exc=ConnectionResetError("by peer"))


@pytest.mark.parametrize("acks_late", [False, True])
@pytest.mark.parametrize(
    ("body", "outcome", "error"),
    [
        (lambda task: None, "succeeded", None),
        (failing, "failed", "LookupError: no such thing"),
        (instead(Ignore()), "succeeded", None),
        (instead(Reject("broken")), "failed", "celery.exceptions.Reject: broken"),
        (retried_once, "retried", "celery.exceptions.Retry: Retry in 0s"),
        (retried_after_an_error, "retried", "ConnectionResetError: by peer"),
    ],
)
def test_the_ledger_has_when_how_and_why_each_run_ended(site, slot, body, outcome, error, acks_late):
    task = site.task(body, acks_late=acks_late)
    site.deliver(task, slot, hostname=f"celery@{socket.gethostname()}")
    row = site.row
    assert (row.outcome, row.error) == (outcome, error)
    assert row.run_started_at <= row.run_ended_at
    assert processes.shown(row.run_by) == f"celery@{socket.gethostname()}"
    if outcome == "retried":
        site.deliver_deferred(task)
        assert (site.row.outcome, site.row.run_attempt, site.row.error) == ("succeeded", 1, None)


@pytest.mark.parametrize(("expires_s", "outcome"), [(30, "failed"), (90, "retried")])
def test_a_retry_that_expires_before_it_is_due_is_none(site, slot, expires_s, outcome):
    def later(task: Task) -> None:
        raise task.retry(countdown=60, exc=ConnectionResetError("by peer"))

    expires_at = clock.now() + dt.timedelta(seconds=expires_s)
    site.deliver(site.task(later), slot, expires=expires_at.isoformat())
    assert (site.row.outcome, site.row.error) == (outcome, "ConnectionResetError: by peer")
    assert len(site.messages()) == 1, "sent all the same"


def test_the_end_that_decides_of_a_redelivered_message_is_recorded_before_the_first_is_acknowledged(
    site, slot, monkeypatch
):
    monkeypatch.setattr(ends.Ends, "record_soon", instead(AssertionError("nobody waits for it")))
    late = site.task(acks_late=True)
    site.deliver(late, slot)
    assert site.row.outcome == "succeeded"
    site.deliver(late, slot, redelivered=True)
    assert len(site.ran) == 1


def test_a_failure_of_celerys_own_says_why_too(site, slot, monkeypatch):
    task = site.task()
    monkeypatch.setattr(site.history, "mark_as_done", instead(OSError("the disk is full")))
    with pytest.warns(RuntimeWarning, match="the disk is full"):
        site.deliver(task, slot)
    assert (site.row.outcome, site.row.error) == ("failed", "OSError: the disk is full")


class Timeout(BaseException):
    """As gevent's and eventlet's."""


@pytest.mark.parametrize("acks_late", [False, True])
@pytest.mark.parametrize(
    ("exc", "may_return"),
    [(SystemExit(3), True), (asyncio.CancelledError(), True), (Timeout("2 seconds"), False)],
)
def test_a_run_has_failed_that_raised_what_celery_lets_through_where_the_process_goes_on(
    site, slot, exc, may_return, acks_late
):
    task = site.task(lambda task: None if len(site.ran) > 1 else instead(exc)(), acks_late=acks_late)
    with pytest.raises(type(exc)):
        site.deliver(task, slot)
    assert site.row.outcome == "failed"
    assert site.row.run_ended_at is not None
    assert type(exc).__name__ in site.row.error
    site.deliver(task, slot)
    assert len(site.ran) == 1, "another message of the slot is no redelivery"
    for _ in range(2):
        site.deliver(task, slot, redelivered=True)
    runs_again = acks_late and may_return
    assert len(site.ran) == (2 if runs_again else 1), "a message that was not acknowledged runs again, once"
    assert site.row.outcome == ("succeeded" if runs_again else "failed")


def test_a_process_of_a_pool_that_goes_on_says_how_a_run_ended(site, slot, monkeypatch):
    monkeypatch.setattr(run_guard, "current_process", of_a_pool)
    task = site.task(instead(asyncio.CancelledError()), acks_late=True)
    with pytest.raises(asyncio.CancelledError):
        site.deliver(task, slot)
    assert (site.row.outcome, site.row.error) == ("failed", "asyncio.exceptions.CancelledError")


@pytest.mark.parametrize("acks_late", [False, True])
def test_a_hook_that_fails_as_it_is_told_of_a_failure_leaves_no_run_without_an_end(site, slot, acks_late):
    failed: list[str] = []

    def receiver(error: str, **_: Any) -> None:
        failed.append(error)

    signals.run_failed.connect(receiver)
    task = site.task(failing, acks_late=acks_late, on_failure=instead(OSError("no channel to tell it to")))
    with pytest.warns(RuntimeWarning, match="no channel"):
        site.deliver(task, slot)
    assert (site.row.outcome, site.row.error) == ("failed", "OSError: no channel to tell it to")
    signals.run_failed.disconnect(receiver)
    assert failed == ["OSError: no channel to tell it to"]


def test_messages_of_errors_are_left_out_where_the_settings_say_so(site, slot, settings):
    settings.CUTOVER["RUN_ERROR_MESSAGES"] = False
    site.deliver(site.task(failing), slot)
    assert (site.row.outcome, site.row.error) == ("failed", "LookupError")


def test_a_retry_runs_though_the_ledger_has_forgotten_its_slot(site, slot):
    task = site.task()
    old = Slot(slot.due_at - dt.timedelta(days=31), slot.entry)
    site.deliver(task, old, retries=1)
    site.deliver(task, old)
    assert len(site.ran) == 1, "a first message that old does not"


@pytest.mark.parametrize("retries", [0, 1])
def test_an_attempt_is_resumed_once_its_worker_is_gone_and_only_the_latest_one(site, slot, monkeypatch, retries):
    def killed(task: Task) -> None:
        if len(site.ran) == 1:
            raise SystemExit

    task = site.task(killed, acks_late=True)
    monkeypatch.setattr(run_guard, "current_process", of_a_pool)
    with pytest.raises(SystemExit):
        site.deliver(task, slot, retries=retries)
    assert site.row.outcome == "running", "how it ended is said by nobody: its process ends"
    monkeypatch.setattr(liveness.this_worker(), "is_gone", GONE)
    if retries:
        site.deliver(task, slot, redelivered=True)
        assert len(site.ran) == 1, "an earlier attempt is over"
    for _ in range(2):
        site.deliver(task, slot, retries=retries, redelivered=True)
    assert len(site.ran) == 2


def test_a_message_that_a_hook_gives_back_to_the_broker_runs_again(site, slot, monkeypatch):
    task = site.task(acks_late=True)
    monkeypatch.setattr(liveness.this_worker(), "is_gone", THERE)
    task.__trace__ = instead(Reject("as celery's tracer passes it on", requeue=True))
    with pytest.raises(Reject):
        site.deliver(task, slot)
    task.__trace__ = None
    for _ in range(2):
        site.deliver(task, slot, redelivered=True)
    assert len(site.ran) == 1


def test_a_message_that_a_task_gives_back_to_the_broker_runs_again(site, slot, monkeypatch):
    def refuse(task: Task) -> None:
        if len(site.ran) < 3:
            raise Reject("not now", requeue=True)

    task = site.task(refuse, acks_late=True)
    monkeypatch.setattr(liveness.this_worker(), "is_gone", THERE)
    site.deliver(task, slot)
    site.deliver(task, slot)
    assert len(site.ran) == 1, "another message of the slot is no redelivery"
    for _ in range(3):
        site.deliver(task, slot, redelivered=True)
    assert len(site.ran) == 3


@pytest.mark.parametrize(
    ("place", "name", "fault"),
    [
        (Runs, "start", instead(RuntimeError("a fault of ours"))),
        (Runs, "start", after(RuntimeError("a fault of ours"))),
        (Runs, "start", after(LedgerUnavailable("no answer"))),
        (admission.Admission, "_own_slot", instead(RuntimeError("a fault of ours"))),
        (liveness, "this_worker", instead(TypeError("an argument of another connection"))),
        (Runs, "start", after(SoftTimeLimitExceeded())),
    ],
    ids=["start", "start-committed", "database-committed", "identity", "liveness", "time-limit"],
)
def test_a_message_that_cannot_be_decided_is_neither_lost_nor_run_twice(site, slot, monkeypatch, place, name, fault):
    task = site.task()
    with monkeypatch.context() as patched:
        patched.setattr(place, name, fault)
        site.deliver(task, slot, custom="a header")
    assert (site.ran, site.history.states) == ([], [])
    site.deliver_deferred(task)
    assert site.ran == [slot.task_id(NAMESPACE)]
    site.deliver(task, slot)
    assert len(site.ran) == 1
    assert site.history.states == ["STARTED", "SUCCESS"]


def test_a_message_that_can_neither_be_decided_nor_sent_again_is_held(site, slot, monkeypatch):
    task = site.task()
    start, starts = Runs.start, iter([after(RuntimeError("a fault")), instead(LedgerUnavailable("no answer"))])
    monkeypatch.setattr(Runs, "start", lambda *arguments: next(starts, start)(*arguments))
    monkeypatch.setattr(site.app, "send_task", instead(OSError("no broker")))
    site.deliver(task, slot)
    assert site.ran == [slot.task_id(NAMESPACE)]
    assert site.history.states == ["STARTED", "SUCCESS"]


@pytest.mark.parametrize("name", ["end", "count_deduplicated"])
def test_what_cannot_be_recorded_of_a_run_undoes_nothing(site, slot, monkeypatch, name):
    task = site.task(acks_late=True)
    monkeypatch.setattr(Runs, name, instead(RuntimeError("a fault of ours")))
    for _ in range(2):
        site.deliver(task, slot)
    assert len(site.ran) == 1
    assert site.history.states == ["STARTED", "SUCCESS"]


def test_settings_that_cannot_be_read_stop_no_task_that_is_no_slots(site, slot, settings, caplog):
    task = site.task()
    settings.CUTOVER = {"NAMESPAC": "typo"}
    config.cache_clear()
    for number in range(2):
        trace_task(task, f"by-hand-{number}", (), {}, {"id": f"by-hand-{number}"}, app=site.app)
    assert site.ran == ["by-hand-0", "by-hand-1"]
    assert caplog.text.count("cutover.guard.failed") == 1
    site.deliver(task, slot)
    assert len(site.ran) == 2
    settings.CUTOVER = {"NAMESPACE": NAMESPACE, "DATABASE": site.alias}
    site.deliver_deferred(task)
    assert len(site.ran) == 3


def test_an_error_that_every_message_meets_is_logged_once_and_not_for_each(site, slot, monkeypatch, caplog):
    task = site.task()
    monkeypatch.setattr(Runs, "start", instead(RuntimeError("a fault of ours")))
    for _ in range(3):
        site.deliver(task, slot)
    assert (len(site.messages()), site.ran) == (3, [])
    for event in ("cutover.guard.failed", "cutover.run.deferred"):
        assert caplog.text.count(event) == 1


def test_a_message_of_a_beat_in_another_namespace_is_named_as_unguarded(site, slot, caplog):
    task = site.task()
    for _ in range(2):
        site.deliver(task, slot, slot.task_id("elsewhere"))
    assert len(site.ran) == 2
    assert caplog.text.count("cutover.guard.lost") == 1
    assert "sent by a beat of another CUTOVER['NAMESPACE']" in caplog.text
    caplog.clear()
    site.deliver(task, slot, parent_id="a task that passes its headers on", task_id="child")
    assert "cutover.guard.lost" not in caplog.text


@pytest.mark.parametrize("ignored", [True, False, None])
def test_a_deferred_message_is_the_same_but_for_what_the_guard_adds(site, slot, monkeypatch, ignored):
    task, link = site.task(ignore_result=True), site.task()
    slot_named = {"retries": 2, "shadow": "a name", "timelimit": [20, 10], "custom": "a header"}
    asked = {} if ignored is None else {"ignore_result": ignored}
    monkeypatch.setattr(Runs, "start", instead(LedgerUnavailable("no answer")))
    site.deliver(task, slot, callbacks=[link.si()], **slot_named, **asked)
    (message,) = site.messages()
    assert {name: message[name] for name in slot_named} == slot_named
    assert (message["id"], message["ignore_result"]) == (slot.task_id(NAMESPACE), ignored is None or ignored)
    added = {headers.REDELIVERED, headers.ATTEMPT}
    assert {name for name in message if name.startswith("cutover_")} == {
        headers.ENTRY,
        headers.DUE_AT,
        headers.EPOCH,
    } | added
    assert message["embed"]["callbacks"][0]["task"] == link.name


def test_what_is_said_of_a_deferred_message_is_not_passed_on_by_its_task(site, slot, monkeypatch):
    seen: list[dict[str, Any]] = []
    task = site.task(lambda task: seen.append(task.request.headers))
    with monkeypatch.context() as patched:
        patched.setattr(Runs, "start", instead(LedgerUnavailable("no answer")))
        site.deliver(task, slot, custom="a header")
    site.deliver_deferred(task)
    (carried,) = seen
    assert carried["custom"] == "a header"
    assert carried[headers.ENTRY] == slot.entry
    assert not headers.OF_DEFERRED & set(carried)


def test_a_tracer_that_somebody_wraps_once_more_runs_the_task(site, slot):
    task = site.task()
    trace_task(task, "by-hand", (), {}, {"id": "by-hand"}, app=site.app)
    guarded = task.__trace__
    task.__trace__ = lambda *arguments: guarded(*arguments)
    for _ in range(2):
        site.deliver(task, slot)
    assert site.ran == ["by-hand", slot.task_id(NAMESPACE)]


def test_a_task_that_runs_in_the_beat_itself_runs_each_slot_once(site, slot, monkeypatch):
    def retried(task: Task) -> None:
        if not task.request.retries:
            raise task.retry(countdown=0)

    site.app.conf.task_always_eager = True
    task = site.task(retried)
    named = {headers.ENTRY: slot.entry, headers.DUE_AT: slot.due_at.isoformat(), headers.EPOCH: 1}
    message = {"task_id": slot.task_id(NAMESPACE), "headers": named}
    with monkeypatch.context() as patched:
        patched.setattr(Runs, "start", instead(LedgerUnavailable("no answer")))
        with pytest.raises(LedgerUnavailable):
            task.apply_async((), {}, **message)
    assert site.ran == []
    found = [task.apply_async((), {}, **message).state for _ in range(2)]
    assert found == ["SUCCESS", "IGNORED"]
    assert len(site.ran) == 2, "the run and its retry"
    assert (site.row.run_attempt, site.row.deduplicated, site.row.outcome) == (1, 1, "succeeded")
    task.apply_async((), {}, headers=named)
    assert len(site.ran) == 4, "headers alone are no identity"


class Asked:
    """What tasks are told when they ask for their slot, in the order in which they do."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def __call__(self, *_: Any) -> None:
        self.told.append(current_slot())

    @property
    def instants(self) -> list[tuple[dt.datetime, int] | None]:
        """The instant and the attempt that each was told; None for none."""
        return [found and (found.due_at, found.attempt) for found in self.told]


def test_a_run_is_told_its_slot_and_the_one_before_for_one_statement_if_it_asks_for_that(site, slot, monkeypatch):
    look_up, looked_up = Cursors.latest_of, []

    def counted(self, entries, until):
        looked_up.append(entries)
        return look_up(self, entries, until)

    monkeypatch.setattr(Cursors, "latest_of", counted)
    asked = Asked()
    task = site.task(asked)
    earlier = Slot(slot.due_at - dt.timedelta(hours=1), slot.entry)
    site.deliver(task, earlier)
    asked()
    site.deliver(task, slot)
    first, outside, second = asked.told
    assert outside is None, "what comes after a run is in none"
    assert (second.entry, second.due_at, second.attempt) == ("a", slot.due_at, 0)
    assert looked_up == []
    assert [second.previous_due_at for _ in range(3)] == [earlier.due_at] * 3
    assert looked_up == [["a"]]
    assert first.previous_due_at is None


def test_the_slot_before_is_the_ledgers_whatever_became_of_it(site, slot):
    asked = Asked()
    for hours, entry, state in (
        (1, "a", "missed"),
        (2, "a", "published"),
        (0.5, "b", "published"),
        (-1, "a", "missed"),
    ):
        at = Slot(slot.due_at - dt.timedelta(hours=hours), EntryName(entry))
        given = {"epoch": 1, "side": "code", "state": state, "task_id": at.task_id(NAMESPACE), "claimed_at": at.due_at}
        models.Slot.objects.using(site.alias).create(entry=entry, due_at=at.due_at, **given)
    site.deliver(site.task(asked), slot)
    assert asked.told[0].previous_due_at == slot.due_at - dt.timedelta(hours=1)


def test_the_slot_before_may_have_been_one_of_the_entrys_old_name(site, slot, settings):
    settings.CUTOVER = {**settings.CUTOVER, "RENAMED": {"older": "old", "old": "a"}}
    config.cache_clear()
    asked = Asked()
    for hours, entry in ((2, "older"), (1, "old")):
        site.deliver(site.task(), Slot(slot.due_at - dt.timedelta(hours=hours), EntryName(entry)))
    site.deliver(site.task(asked), slot)
    assert asked.told[0].previous_due_at == slot.due_at - dt.timedelta(hours=1)


def test_each_attempt_is_told_its_number_and_so_is_the_retry_of_an_unmanaged_beats_message(site, slot):
    asked = Asked()
    task = site.task(asked)
    site.deliver(task, slot)
    site.deliver(task, slot, retries=1, parent_id=slot.task_id(NAMESPACE))
    site.deliver(task, slot, "a stock beat's own", **{headers.MESSAGE: "a stock beat's own"}, retries=2)
    assert asked.instants == [(slot.due_at, 0), (slot.due_at, 1), (slot.due_at, 2)]


def test_what_a_run_sends_or_calls_eagerly_has_no_slot_and_what_it_calls_as_a_function_has(site, slot):
    asked = Asked()
    child, unguarded = site.task(asked), site.task(asked, base=Task)
    named = {headers.ENTRY: slot.entry, headers.DUE_AT: slot.due_at.isoformat(), headers.EPOCH: 1}

    def parent(task: Task) -> None:
        asked()
        child()
        child.apply()
        unguarded.apply()
        for one in (child, unguarded):
            one.apply(headers=named)
        asked()

    site.deliver(site.task(parent), slot)
    site.deliver(child, slot, "the child of a run", parent_id=slot.task_id(NAMESPACE))
    own = (slot.due_at, 0)
    assert asked.instants == [own, own, None, None, None, None, own, None]


def test_a_task_without_the_guard_is_told_the_slot_that_its_message_names(site, slot):
    asked = Asked()
    task = site.task(asked, base=Task)
    site.deliver(task, slot, retries=1)
    site.deliver(task, slot, "the child of a run", parent_id=slot.task_id(NAMESPACE))
    site.deliver(task, slot, **{headers.DUE_AT: None})
    assert asked.instants == [(slot.due_at, 1), None, None]


def test_a_beats_message_that_runs_in_the_beat_itself_has_its_slot_and_so_has_its_retry(site, slot):
    asked = Asked()

    def retried(task: Task) -> None:
        asked()
        if not task.request.retries:
            raise task.retry(countdown=0)

    site.app.conf.task_always_eager = True
    named = {headers.ENTRY: slot.entry, headers.DUE_AT: slot.due_at.isoformat(), headers.EPOCH: 1}
    site.task(retried).apply_async((), {}, task_id=slot.task_id(NAMESPACE), headers=named)
    assert asked.instants == [(slot.due_at, 0), (slot.due_at, 1)]


def test_runs_in_greenlets_and_what_they_await_have_each_its_own_slot(site, slot):
    """As gevent and eventlet have it: two runs in one thread, which take turns."""
    asked = Asked()

    async def ask() -> None:
        asked(await asyncio.to_thread(asked))

    def in_turns(task: Task) -> None:
        asked()
        greenlet.getcurrent().parent.switch()
        asyncio.run(ask())

    other = Slot(slot.due_at, EntryName("b"))
    task = site.task(in_turns)
    runs = [greenlet.greenlet(partial(site.deliver, task, each)) for each in (slot, other)]
    for run in runs + runs:
        run.switch()
    assert [found.entry for found in asked.told] == ["a", "b", "a", "a", "b", "b"]
