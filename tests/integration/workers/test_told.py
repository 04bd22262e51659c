"""What a run tells: signals of its failure and of what was dropped, and its slot in every record of the log."""

# ruff: noqa: F811 - fixtures of another module

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from celery import Task
from celery.exceptions import Ignore, Reject

from cutover import headers, logs, models, signals
from cutover.errors import LedgerUnavailable
from cutover.ledger.runs import Runs
from cutover.types import Slot
from tests.integration.conftest import NAMESPACE
from tests.integration.workers.test_admission import Site, failing, instead, site, slot  # noqa: F401 - fixtures
from tests.support.receivers import heard

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left", "valkey")]


class Kept(logging.Handler):
    """Keeps of each record what the filter puts on it."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(logs.SlotFilter())
        self.records: list[tuple[str, str, Any, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(tuple(vars(record)[name] for name in logs.OUTSIDE))


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler, logger = Kept(), logging.getLogger("the-projects-own")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def speak(task: Task) -> None:
    logging.getLogger("the-projects-own").warning("within %s", structlog.contextvars.get_contextvars())


def retried(task: Task) -> None:
    raise task.retry(countdown=60)


def rejected(task: Task) -> None:
    raise Reject


def ignored(task: Task) -> None:
    raise Ignore


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        (failing, ["LookupError: no such thing"]),
        (retried, []),
        (ignored, []),
        (lambda task: None, []),
    ],
)
def test_a_failure_is_told_and_neither_a_retry_nor_a_success(
    site: Site, slot: Slot, body: Callable[..., Any], errors: list[str]
) -> None:
    task = site.task(body)
    with heard(signals.run_failed) as told:
        site.deliver(task, slot)
    site.messages()  # the broker is one for all tests
    named = {"entry": "a", "due_at": slot.due_at, "task": task.name, "task_id": slot.task_id(NAMESPACE)}
    assert told == [{**named, "attempt": 0, "error": error} for error in errors]
    if errors:
        assert site.row.outcome == "failed"


def test_a_failure_is_told_though_the_ledger_cannot_be_told(
    site: Site, slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runs, "end", instead(LedgerUnavailable("no answer")))
    with heard(signals.run_failed) as told:
        site.deliver(site.task(failing), slot)
    assert [one["error"] for one in told] == ["LookupError: no such thing"]


def test_a_task_that_is_no_slots_tells_nothing(site: Site, slot: Slot) -> None:
    task = site.task(failing)
    with heard(signals.run_failed) as told:
        site.deliver(task, slot, task_id="by hand")
    assert told == []


def test_a_further_message_is_told_with_its_task(site: Site, slot: Slot) -> None:
    task = site.task()
    with heard(signals.run_deduplicated) as told:
        for _ in range(2):
            site.deliver(task, slot)
    named = {"entry": "a", "due_at": slot.due_at, "task": task.name, "task_id": slot.task_id(NAMESPACE)}
    assert told == [{**named, "outcome": "already_started"}]


def test_inside_a_run_records_say_the_slot_and_after_it_nothing_does(site: Site, slot: Slot, kept: Kept) -> None:
    said = (slot.entry, slot.due_at.isoformat(), 1, slot.task_id(NAMESPACE))

    def speak_and_fail(task: Task) -> None:
        speak(task)
        raise LookupError

    for body in (speak, speak_and_fail):
        task = site.task(body)
        site.deliver(task, slot)
        speak(task)
        models.Slot.objects.using(site.alias).all().delete()
    assert kept.records == [said, ("", "", None, "")] * 2
    assert structlog.contextvars.get_contextvars() == {}


def test_an_eager_run_says_the_slot_and_after_it_nothing_does(site: Site, slot: Slot, kept: Kept) -> None:
    site.app.conf.task_always_eager = True
    named = {headers.ENTRY: slot.entry, headers.DUE_AT: slot.due_at.isoformat(), headers.EPOCH: 7}
    task = site.task(speak)
    task.apply_async((), {}, task_id=slot.task_id(NAMESPACE), headers=named)
    task.apply_async()
    assert kept.records == [
        (slot.entry, slot.due_at.isoformat(), 7, slot.task_id(NAMESPACE)),
        ("", "", None, ""),
    ]


def test_a_task_of_no_slot_has_none_in_its_records(site: Site, slot: Slot, kept: Kept) -> None:
    site.deliver(site.task(speak), slot, task_id="by hand")
    assert kept.records == [("", "", None, "")]
