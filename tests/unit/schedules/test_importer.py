"""The code schedule as celery's own beat would have it, however the project wrote it down."""

from dataclasses import replace
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab
from pytest_django import Settings

from cutover import conf
from cutover.schedules.importer import draft
from cutover.schedules.project import code_entries


@pytest.fixture
def app() -> Celery:
    """As in celery's page on periodic tasks, with a result backend that cleans up after itself."""
    app = Celery("unit", set_as_current=False, backend="redis://127.0.0.1:1/0")

    @app.task(name="unit.say", shared=False)
    def say(word: str, loud: bool = False) -> None:
        raise AssertionError("the task is not run")

    @app.on_after_configure.connect(weak=False)
    def early(sender: Celery, **_: Any) -> None:
        sender.add_periodic_task(10.0, say.s("hello"), name="add every 10")
        sender.add_periodic_task(30.0, say.s("world", loud=True), expires=10)

    @app.on_after_finalize.connect(weak=False)
    def late(sender: Celery, **_: Any) -> None:
        mondays = crontab(hour=7, minute=30, day_of_week=1)
        sender.add_periodic_task(mondays, say.s("Happy Mondays!").set(queue="q", time_limit=3))

    return app


def test_what_add_periodic_task_added_is_imported(app: Celery, settings: Settings) -> None:
    settings.CUTOVER = {}
    config = replace(conf.load(), code_schedule="")
    drafted, refusals = draft(app, config, code_entries(app, config))
    assert refusals == []
    rows = {one.row.name: (one.row.args, one.row.kwargs, one.row.expire_seconds, one.row.queue) for one in drafted}
    assert rows == {
        "add every 10": ('["hello"]', "{}", None, None),
        "unit.say('world', loud=True)": ('["world"]', '{"loud": true}', 10, None),
        "unit.say('Happy Mondays!')": ('["Happy Mondays!"]', "{}", None, "q"),
    }
    assert [dict(one.options) for one in drafted if one.options] == [{"time_limit": 3}]
