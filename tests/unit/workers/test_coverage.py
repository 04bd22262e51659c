"""An override that keeps the guard off is found, whatever form it has; one that calls it is not."""

import functools
import logging
from collections.abc import Callable
from typing import Any

import celery
import pytest
from celery import Celery, Task
from celery.signals import worker_ready

from cutover import guard
from cutover.guard import GuardedTask
from cutover.workers import coverage


def nothing() -> None: ...


def audited(self: Task, task_id: str, args: Any, kwargs: Any) -> None:
    """An option of a decorator that does not go on."""


def going_on(self: Task, task_id: str, args: Any, kwargs: Any) -> None:
    super(type(self), self).before_start(task_id, args, kwargs)


def naming_the_base(self: Task, task_id: str, args: Any, kwargs: Any) -> None:
    GuardedTask.before_start(self, task_id, args, kwargs)


def naming_celerys(self: Task, task_id: str, args: Any, kwargs: Any) -> None:
    Task.before_start(self, task_id, args, kwargs)


def naming_by_module(self: Task, task_id: str, args: Any, kwargs: Any) -> None:
    guard.GuardedTask.before_start(self, task_id, args, kwargs)


def passing_over(self: Task, task_id: str, args: Any, kwargs: Any) -> None:
    super(GuardedTask, self).before_start(task_id, args, kwargs)


def by_name(self: Task, *details: Any) -> None:
    getattr(super(type(self), self), "before" + "_start")(*details)


def of_another(self: Task, *details: Any) -> None:
    self.audit.before_start(*details)


def logged(hook: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(hook)
    def wrapper(*details: Any) -> None:
        hook(*details)

    return wrapper


def replaced(hook: Callable[..., None]) -> Callable[..., None]:
    """A decorator that says that it wraps, and does not."""

    @functools.wraps(hook)
    def wrapper(*details: Any) -> None: ...

    return wrapper


class Proxy:
    """As wrapt makes them."""

    def __init__(self, wrapped: Callable[..., None]) -> None:
        self.__wrapped__ = wrapped

    def __call__(self, *details: Any) -> None:
        self.__wrapped__(*details)


class Called:
    def __call__(self, *details: Any) -> None: ...


class Consumer:
    """What a worker sends the signal of."""

    def __init__(self, app: Celery) -> None:
        self.app = app


class Silent(GuardedTask):
    before_start = audited


class Calling(GuardedTask):
    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        super().before_start(task_id, args, kwargs)


class Explicit(GuardedTask):
    def before_start(self, *details: Any) -> None:
        super(Explicit, self).before_start(*details)  # noqa: UP008 - the form in question


class Within(GuardedTask):
    def before_start(self, *details: Any) -> None:
        def admit() -> None:
            super(Within, self).before_start(*details)

        admit()


class Decorated(GuardedTask):
    @logged
    def before_start(self, *details: Any) -> None:
        super().before_start(*details)


class Replaced(GuardedTask):
    @replaced
    def before_start(self, *details: Any) -> None:
        super().before_start(*details)


class Static(GuardedTask):
    @staticmethod
    def before_start(*details: Any) -> None: ...


class SilentMixin:
    def before_start(self, *details: Any) -> None: ...


class CallingMixin:
    def before_start(self, *details: Any) -> None:
        super().before_start(*details)


class Mixed(SilentMixin, GuardedTask): ...


class MixedBefore(CallingMixin, SilentMixin, GuardedTask): ...


class MixedWell(CallingMixin, GuardedTask): ...


class MixedAfter(GuardedTask, SilentMixin): ...


class BelowSilent(Silent):
    def before_start(self, *details: Any) -> None:
        super().before_start(*details)


class Ending(GuardedTask):
    def after_return(self, *details: Any) -> None: ...


class EndingWell(GuardedTask):
    def after_return(self, *details: Any) -> None:
        super().after_return(*details)


class Unsaid(GuardedTask):
    run_guard = None


class Claiming(Silent):
    run_guard = "cutover"


@pytest.fixture
def app() -> Celery:
    return Celery("site", task_cls="cutover.guard.GuardedTask", set_as_current=False)


HERE = __name__
LOST = [
    ({"base": Task}, "the base celery.app.task.Task is no GuardedTask"),
    ({"base": Silent}, f"{HERE}.Silent.before_start does not call super().before_start()"),
    ({"base": Static}, f"{HERE}.Static.before_start does not call super().before_start()"),
    ({"base": Mixed}, f"{HERE}.SilentMixin.before_start does not call super().before_start()"),
    ({"base": MixedBefore}, f"{HERE}.SilentMixin.before_start does not call super().before_start()"),
    ({"base": BelowSilent}, f"{HERE}.Silent.before_start does not call super().before_start()"),
    ({"base": Replaced}, f"whether {HERE}.Replaced.before_start calls super().before_start() cannot be seen"),
    ({"before_start": audited}, f"{HERE}.audited, the task's option before_start, does not call"),
    ({"before_start": of_another}, f"{HERE}.of_another, the task's option before_start, does not call"),
    ({"before_start": naming_celerys}, f"{HERE}.naming_celerys, the task's option before_start, does not call"),
    ({"before_start": functools.partial(audited, 1)}, f"{HERE}.audited, the task's option before_start, does not call"),
    ({"before_start": lambda *details: None}, ".<lambda>, the task's option before_start, does not call"),
    ({"before_start": None}, "the task's option before_start, does not call"),
    ({"before_start": Called()}, "Called, the task's option before_start, calls super().before_start() cannot be seen"),
    ({"before_start": print}, "builtins.print, the task's option before_start, calls super().before_start() cannot be"),
    (
        {"before_start": passing_over},
        "passing_over, the task's option before_start, calls super().before_start()",
    ),
    ({"before_start": by_name}, "by_name, the task's option before_start, calls super().before_start() cannot be seen"),
    ({"base": Ending, "acks_late": True}, f"{HERE}.Ending.after_return does not call super().after_return()"),
    ({"after_return": audited, "acks_late": True}, "the task's option after_return, does not call"),
    ({"base": Unsaid}, f"{HERE}.Unsaid.run_guard hides from others that the task is guarded"),
    ({"base": Claiming}, f"{HERE}.Claiming.run_guard hides"),
    ({"run_guard": None}, "the task's option run_guard, hides"),
]
KEPT = [
    {},
    {"base": GuardedTask},
    {"base": Calling},
    {"base": Explicit},
    {"base": Within},
    {"base": Decorated},
    {"base": MixedWell},
    {"base": MixedAfter},
    {"base": Ending},
    {"base": EndingWell, "acks_late": True},
    {"before_start": going_on},
    {"before_start": naming_the_base},
    {"before_start": naming_by_module},
    {"before_start": logged(going_on)},
    {"before_start": Proxy(going_on)},
    {"before_start": functools.partial(going_on, None)},
    {"before_start": functools.partial(audited, GuardedTask.before_start)},
]


def spelt(options: dict[str, Any]) -> str:
    return "-".join(f"{name}={getattr(value, '__name__', value)!s:.40}" for name, value in options.items())


@pytest.mark.parametrize(("options", "said"), LOST, ids=lambda value: spelt(value) if isinstance(value, dict) else "")
def test_an_override_that_keeps_the_guard_off_is_named(app: Celery, options: dict[str, Any], said: str) -> None:
    task = app.task(name="pay", shared=False, **options)(nothing)
    assert said in coverage.gap(app.tasks["pay"])
    assert [names for reason, names in coverage.gaps(app).items() if said in reason] == [["pay"]]
    if "run_guard" not in said:
        assert not getattr(task, "run_guard", None), "workers do not claim it"


@pytest.mark.parametrize("options", KEPT, ids=spelt)
def test_an_override_that_calls_the_guard_is_none(app: Celery, options: dict[str, Any]) -> None:
    task = app.task(name="pay", shared=False, **options)(nothing)
    assert (coverage.gaps(app), task.run_guard) == ({}, f"cutover celery={celery.__version__}")


def test_what_annotations_and_instances_override_is_seen_too(app: Celery) -> None:
    app.conf.task_annotations = {"annotated": {"before_start": audited}, "around": {"@before_start": logged}}
    for name in ("annotated", "around", "instance"):
        app.task(name=name, shared=False)(nothing)
    app.tasks["instance"].before_start = lambda *details: None
    found = {name: reason for reason, names in coverage.gaps(app).items() for name in names}
    assert sorted(found) == ["annotated", "instance"]
    assert found["instance"] == "before_start, set on the task itself, does not call super().before_start()"


def test_without_a_guarded_base_only_tasks_that_look_guarded_are_listed(app: Celery) -> None:
    bare = Celery("bare", set_as_current=False)
    bare.task(name="plain", shared=False)(nothing)
    bare.task(name="silent", shared=False, base=Silent)(nothing)
    assert list(coverage.gaps(bare).values()) == [["silent"]]
    assert sorted(name for names in coverage.gaps(bare, ["plain", "silent"]).values() for name in names) == [
        "plain",
        "silent",
    ]


def test_a_worker_logs_once_what_it_runs_without_the_guard(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    consumer = Consumer(app)
    with caplog.at_level(logging.DEBUG, "cutover"):
        worker_ready.send(sender=consumer)
        assert caplog.records == []
        for number in range(9):
            app.task(name=f"pay-{number}", shared=False, base=Silent)(nothing)
        worker_ready.send(sender=consumer)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    said = record.getMessage()
    assert "cutover.guard.lost" in said
    assert "pay-0, pay-1, pay-2, pay-3, pay-4 and 4 more: " in said
    assert coverage.REMEDY in said
