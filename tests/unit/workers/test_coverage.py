"""Whatever a task overrides of its hooks, its messages pass the guard; what keeps the guard off is named."""

import logging
from typing import Any

import celery
import pytest
from celery import Celery, Task
from celery.app.trace import trace_task
from celery.contrib.django.task import DjangoTask
from celery.signals import worker_ready

from cutover import headers
from cutover.guard import GuardedTask
from cutover.workers import coverage, run_guard


def nothing() -> None: ...


def silent(*details: Any) -> None:
    """An override that does not go on."""


class Consumer:
    """What a worker sends the signal of."""

    def __init__(self, app: Celery) -> None:
        self.app = app


class Silent(GuardedTask):
    before_start = after_return = silent


class SilentMixin:
    before_start = after_return = silent


class Mixed(SilentMixin, GuardedTask): ...


class Calling(GuardedTask):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(*args, **kwargs)


class Django(DjangoTask):
    """A base of the project's own, made for celery's."""

    before_start = silent


class DjangosToo(Django, GuardedTask): ...


class Unsaid(GuardedTask):
    run_guard = None


class Claiming(Silent):
    run_guard = "cutover"


class Batches(Task):
    """As celery-batches has it: messages are collected, and none goes through the task's tracer."""

    Strategy = "batches:strategy"


class InBatches(Batches, GuardedTask): ...


class BesideBatches(GuardedTask, Batches): ...


class Bare(GuardedTask):
    __trace__ = None


@pytest.fixture
def app() -> Celery:
    return Celery("site", task_cls="cutover.guard.GuardedTask", set_as_current=False)


HERE = __name__
LOST = [
    ({"base": Task}, "the base celery.app.task.Task is no GuardedTask"),
    ({"base": Django}, f"the base {HERE}.Django is no GuardedTask"),
    ({"base": Unsaid}, f"{HERE}.Unsaid.run_guard may keep the guard off"),
    ({"base": Claiming}, f"{HERE}.Claiming.run_guard may"),
    ({"base": Bare}, f"{HERE}.Bare.__trace__ may"),
    ({"base": InBatches}, f"{HERE}.Batches.Strategy may"),
    ({"base": BesideBatches}, f"{HERE}.Batches.Strategy may"),
    ({"run_guard": None}, "the task's option run_guard may"),
]


def test_the_apps_own_base_is_named_as_its_author_wrote_it() -> None:
    site = Celery("site", task_cls=Django, set_as_current=False)
    site.task(name="pay", shared=False)(nothing)
    assert coverage.gap(site.tasks["pay"]) == f"the base {HERE}.Django is no GuardedTask"


KEPT: list[dict[str, Any]] = [
    {},
    {"base": GuardedTask},
    {"base": Silent, "acks_late": True},
    {"base": Mixed},
    {"base": Calling},
    {"base": DjangosToo},
    {"before_start": silent},
    {"before_start": print},
    {"after_return": silent, "acks_late": True},
]


def spelt(options: dict[str, Any]) -> str:
    return "-".join(f"{name}={getattr(value, '__name__', value)!s:.40}" for name, value in options.items())


@pytest.mark.parametrize(("options", "said"), LOST, ids=lambda value: spelt(value) if isinstance(value, dict) else "")
def test_what_keeps_the_guard_off_is_named(app: Celery, options: dict[str, Any], said: str) -> None:
    task = app.task(name="pay", shared=False, **options)(nothing)
    assert said in coverage.gap(app.tasks["pay"])
    if "run_guard" not in said:
        assert not getattr(task, "run_guard", None), "workers do not claim it"
    assert [names for reason, names in coverage.gaps(app).items() if said in reason] == [["pay"]]


@pytest.mark.parametrize("options", KEPT, ids=spelt)
def test_whatever_a_task_overrides_of_its_hooks_its_messages_pass_the_guard(
    app: Celery, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    ran: list[str] = []

    @app.task(name="pay", shared=False, **options)
    def pay() -> None:
        ran.append("pay")

    app.conf.task_annotations = {"pay": {"on_success": silent}}
    task = app.tasks["pay"]
    assert (coverage.gaps(app), task.run_guard) == ({}, f"cutover celery={celery.__version__} namespace=cutover")
    monkeypatch.setattr(run_guard.Admission, "decide", lambda admission: False)
    _, info, *_ = trace_task(task, "id", (), {}, {"id": "id", headers.DUE_AT: "now"}, app=app)
    assert (ran, info.state) == ([], "IGNORED")


def test_the_base_takes_nothing_away_from_celerys_django_task() -> None:
    assert issubclass(GuardedTask, DjangoTask)
    hooks = {"before_start", "after_return", "on_success", "on_failure", "on_retry", "__call__", "apply_async"}
    assert not hooks & set(vars(GuardedTask)), "they are the project's"


def test_without_a_guarded_base_only_tasks_that_look_guarded_are_listed(app: Celery) -> None:
    bare = Celery("bare", set_as_current=False)
    bare.task(name="plain", shared=False)(nothing)
    bare.task(name="unsaid", shared=False, base=Unsaid)(nothing)
    assert list(coverage.gaps(bare).values()) == [["unsaid"]]
    assert sorted(name for names in coverage.gaps(bare, ["plain", "unsaid"]).values() for name in names) == [
        "plain",
        "unsaid",
    ]


def test_a_worker_logs_once_what_it_runs_without_the_guard(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    consumer = Consumer(app)
    with caplog.at_level(logging.DEBUG, "cutover"):
        worker_ready.send(sender=consumer)
        assert caplog.records == []
        for number in range(9):
            app.task(name=f"pay-{number}", shared=False, base=Django)(nothing)
        worker_ready.send(sender=consumer)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    said = record.getMessage()
    assert "cutover.guard.lost" in said
    assert "pay-0, pay-1, pay-2, pay-3, pay-4 and 4 more: " in said
    assert coverage.REMEDY in said
