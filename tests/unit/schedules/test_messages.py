"""Messages are built as celery builds them, and building one does nothing else."""

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, Task, signals
from celery.beat import BeatLazyFunc, ScheduleEntry

from cutover.schedules.messages import Builder, Unsendable, differing

NOON = dt.datetime(2030, 1, 1, 12, tzinfo=dt.UTC)


class Once(Task):
    """As a library that takes a lock at each send."""

    abstract = True

    def apply_async(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a task's own apply_async is not called")


@pytest.fixture
def app() -> Celery:
    app = Celery("unit", set_as_current=False, broker="redis://127.0.0.1:1/0", backend="redis://127.0.0.1:1/0")

    @app.task(name="locked", base=Once, shared=False, time_limit=7)
    def locked(label: str) -> None:
        raise AssertionError("the task is not run")

    return app


@pytest.fixture(autouse=True)
def heard() -> Iterator[list[str]]:
    """Fails the test when a signal is raised."""
    found: list[str] = []

    def hear(sender: str, **_: Any) -> None:
        found.append(sender)

    signals.before_task_publish.connect(hear)
    yield found
    signals.before_task_publish.disconnect(hear)
    assert found == []


def entry(app: Celery, task: str = "locked", **fields: Any) -> ScheduleEntry:
    return ScheduleEntry(**{"name": "e", "task": task, "schedule": 60, "args": ("a",), "app": app, **fields})


def test_a_message_has_what_the_broker_would_be_handed(app: Celery) -> None:
    options = {
        "queue": "q",
        "expires": NOON,
        "countdown": 5,
        "time_limit": 9,
        "headers": {"x": 1, "celery_beat_task": 1},
    }
    found = Builder(app).message(entry(app, options=options))
    assert found["args"] == ["a"]
    assert found["header expires"] == NOON.isoformat()
    assert found["header timelimit"] == [9, None]
    assert found["header eta"] is not None
    assert found["option queue"].name == "q"
    assert Builder(app).message(entry(app))["header timelimit"] == [7, None]
    assert found["header x"] == 1
    assert "header celery_beat_task" not in found


@pytest.mark.parametrize("eager", [True, False])
def test_nothing_is_run_sent_or_changed(app: Celery, eager: bool) -> None:
    app.conf.task_always_eager = eager
    for task in ("locked", "unknown"):
        Builder(app).message(entry(app, task))
    assert app.conf.task_always_eager is eager
    assert app.now.__func__ is Celery.now
    assert app.amqp.app is app
    assert app.tasks["locked"].app is app
    assert "send_task_message" not in vars(app.amqp)


def test_two_messages_of_one_entry_are_equal_however_late_the_second(app: Celery) -> None:
    builder = Builder(app)
    one, other = (builder.message(entry(app, options={"countdown": 5, "expires": 60})) for _ in range(2))
    assert differing(one, other) == {}


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_a_callback_is_the_same_as_a_signature_and_as_its_plain_data(app: Celery, serializer: str) -> None:
    link = app.signature("locked", args=("b",), immutable=True)
    one, other = (
        Builder(app).message(entry(app, options={"link": given, "serializer": serializer}))
        for given in (link, json.loads(json.dumps(link)))
    )
    assert one["embedded callbacks"][0]["args"] == ["b"]
    assert differing(one, other) == {}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"args": ()}, "missing 1 required positional argument"),
        ({"args": (object(),)}, "not JSON serializable"),
        ({"args": (BeatLazyFunc(dict),)}, "computed again"),
        ({"options": {"expires": NOON.date()}}, "TypeError"),
    ],
)
def test_what_celery_cannot_send_is_said(app: Celery, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(Unsendable, match=said):
        Builder(app).message(entry(app, **fields))


def test_a_difference_in_type_is_one() -> None:
    assert set(differing({"a": 1, "b": [1], "c": None}, {"a": True, "b": [1], "d": None})) == {"a", "c", "d"}
