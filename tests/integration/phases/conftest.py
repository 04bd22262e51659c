"""A project before its cutover, in this process: real Redis, real databases, real schedulers in threads."""

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from celery.schedules import crontab
from django.db import connections
from django.db.models import Model
from django_celery_beat.models import PeriodicTask
from kombu import pools
from pytest_django import Settings

from cutover import clock, conf, models
from cutover.conf import LEAST_LEASE, LEAST_TAKEOVER_TIMEOUT
from cutover.models import Cutover, Fence
from cutover.phases.context import Context
from cutover.schedulers import CodeScheduler, DatabaseScheduler
from cutover.types import Side, Term
from demo.services import Valkey
from demo.waiting import wait_until
from prayer_room_api.celery import app as celery_app

import demo.tasks  # noqa: F401 isort: skip - its tasks are the schedule's

SCHEDULE: dict[str, dict[str, Any]] = {
    "ticking": {"task": "demo.tasks.note", "schedule": 0.5, "args": ("ticking",)},
    "hourly": {"task": "demo.tasks.note", "schedule": crontab(minute=0), "args": ("h",), "options": {"expires": 600}},
    "yearly": {"task": "demo.tasks.note", "schedule": crontab(0, 0, month_of_year=1, day_of_month=1), "args": ("y",)},
}


@pytest.fixture
def step(request: pytest.FixtureRequest, alias: str) -> int:
    """Every how many statements a command is killed; in the rest, which has both databases, fewer on each."""
    if not request.config.getoption("--rest"):
        return request.param
    return request.param * (2 if alias == "default" else 3)


class ToOneDatabase:
    """Sends the rows of django-celery-beat to the database that the test is about."""

    alias = "default"

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        return self.alias

    db_for_write = db_for_read


class Beat:
    """A real scheduler, ticking in a thread of its own until the ``with`` block ends."""

    def __init__(self, side: Side, folder: Path, context: Context) -> None:
        self._context = context
        self._side = side
        self._folder = folder
        self._stop = threading.Event()
        self._scheduler: CodeScheduler | DatabaseScheduler | None = None
        self._thread = threading.Thread(target=self._run, name=f"beat-{side}")

    def _run(self) -> None:
        kinds: dict[Side, Callable[..., CodeScheduler | DatabaseScheduler]] = {
            Side.CODE: lambda: CodeScheduler(app=celery_app, schedule_filename=str(self._folder / "schedule")),
            Side.DATABASE: lambda: DatabaseScheduler(app=celery_app),
        }
        scheduler = self._scheduler = kinds[self._side]()
        try:
            while not self._stop.is_set():
                scheduler.tick()
        except SystemExit:  # as at SIGTERM
            pass
        finally:
            scheduler.close()
            connections.close_all()

    def __enter__(self) -> Self:
        before = len(self._beats())
        self._thread.start()
        wait_until(lambda: len(self._beats()) > before, f"a warm beat of the {self._side} side")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it between two turns, as SIGTERM does, and at once: a turn waits for as long as two seconds."""
        self._stop.set()
        if self._scheduler is not None:
            self._scheduler._on_signal(signal.SIGTERM, None)
        self._thread.join()

    def _beats(self) -> list[str]:
        return [beat.holder for beat in self._context.lease.beats() if beat.side is self._side and beat.warm]


def led(alias: str, term: Term) -> Term:
    """``term`` as the fence knows it: one that somebody leads."""
    led_since = {"side": term.side, "holder": term.holder, "host": "host", "pid": 1, "started_at": clock.now()}
    models.Term.objects.using(alias).create(epoch=term.epoch, **led_since)
    return term


@pytest.fixture
def schedule() -> dict[str, dict[str, Any]]:
    """The code schedule, to be changed by the test."""
    return {name: dict(fields) for name, fields in SCHEDULE.items()}


@pytest.fixture
def context(
    alias: str,
    valkey: Valkey,
    settings: Settings,
    schedule: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[], Context]]:
    """Makes the surroundings of one command, on a project in phase 0."""
    monkeypatch.setattr(ToOneDatabase, "alias", alias)
    monkeypatch.setattr("demo.schedule.beat_schedule", schedule)
    monkeypatch.setattr("cutover.phases.gates.broker.WORKERS_TIMEOUT_S", 0.05)  # none is there to be waited for
    settings.DATABASE_ROUTERS = [ToOneDatabase()]
    settings.CUTOVER = {
        "APP": "prayer_room_api.celery.app",
        "CODE_SCHEDULE": "demo.schedule.beat_schedule",
        "DATABASE": alias,
        "LEASE": LEAST_LEASE,
        "TAKEOVER_TIMEOUT": LEAST_TAKEOVER_TIMEOUT,
    }
    Fence.objects.using(alias).get_or_create(id=1)
    Cutover.objects.using(alias).get_or_create(id=1)
    PeriodicTask.objects.using(alias).all().delete()  # those of a data migration, where no test has emptied the table
    yield lambda: Context(conf.load())
    celery_app.pool.force_close_all()
    pools.reset()
    celery_app._after_fork()  # the next command's own pools, as in a process of its own


@pytest.fixture
def beat(context: Callable[[], Context], tmp_path: Path) -> Callable[[Side], Beat]:
    """Makes a beat of a side; it runs while its ``with`` block does."""
    return lambda side: Beat(side, tmp_path, context())
