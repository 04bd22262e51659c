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
    assert differing(one, other, lambda: one) == {}


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_a_callback_is_the_same_as_a_signature_and_as_its_plain_data(app: Celery, serializer: str) -> None:
    link = app.signature("locked", args=("b",), immutable=True)
    one, other = (
        Builder(app).message(entry(app, options={"link": given, "serializer": serializer}))
        for given in (link, json.loads(json.dumps(link)))
    )
    assert one["embedded callbacks"][0]["args"] == ["b"]
    assert differing(one, other, lambda: one) == {}


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
    one, other = {"a": 1, "b": [1], "c": None}, {"a": True, "b": [1], "d": None}
    assert set(differing(one, other, lambda: one)) == {"a", "c", "d"}


NESTED = {"id": 1, "in": {"trace": 1, "list": [1, "x"], "all": True}}


@pytest.mark.parametrize(
    ("code", "row", "again", "apart"),
    [
        ({"h": 1}, {"h": 2}, {"h": 3}, set()),
        ({"h": 1}, {"h": 2}, {"h": 2}, set()),
        ({"h": 1}, {"h": 2}, {"h": 1}, {"h"}),
        ({"h": 1}, {}, {}, set()),
        ({"h": 1}, {}, {"h": 2}, set()),
        ({"h": 1}, {}, {"h": 1}, {"h"}),
        ({}, {"h": 1}, {"h": 2}, set()),
        ({}, {"h": 1}, {}, {"h"}),
        ({"h": NESTED}, {"h": {**NESTED, "id": 2}}, {"h": {**NESTED, "id": 3}}, set()),
        ({"h": NESTED}, {"h": {**NESTED, "more": 2}}, {"h": {**NESTED, "id": 3}}, {"h"}),
        ({"h": NESTED}, {"h": {"id": 2, "in": {**NESTED["in"], "list": [2, "x"]}}}, {"h": NESTED | {"id": 3}}, {"h"}),
        (
            {"h": NESTED},
            {"h": {"id": 1, "in": {**NESTED["in"], "trace": 2}}},
            {"h": NESTED | {"in": {"trace": 3}}},
            set(),
        ),
        ({"h": [1, "x"]}, {"h": [2, "x"]}, {"h": [3, "x"]}, set()),
        ({"h": [1, "x"]}, {"h": [2, "y"]}, {"h": [3, "x"]}, {"h"}),
    ],
)
def test_what_two_builds_of_one_entry_do_not_have_in_common_is_no_difference(
    code: dict[str, Any], row: dict[str, Any], again: dict[str, Any], apart: set[str]
) -> None:
    assert set(differing(code, row, lambda: again)) == apart
