"""The code schedule's entries, as celery's own beat would make them."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab, schedule

from cutover.conf import Config
from cutover.schedules import project
from cutover.schedules.refusals import EntriesRefused

NOW = dt.datetime(2026, 11, 28, tzinfo=dt.UTC)
OWN = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)


class Late(schedule):
    """A schedule by whose clock it is long ago."""

    def now(self) -> dt.datetime:
        return OWN


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[None]]:
    """Once for each time that an app is asked what time it is."""
    times = list[None]()
    monkeypatch.setattr(Celery, "now", lambda app: times.append(None) or NOW)
    yield times


def entries_of(schedules: dict[str, Any]) -> Any:
    app = Celery("timed", set_as_current=False)
    app.conf.result_expires = None
    app.conf.beat_schedule = {name: {"task": "t", "schedule": every} for name, every in schedules.items()}
    return project.code_entries(app, Config())


def test_the_app_is_asked_once_what_time_it_is_however_many_entries_there_are(asked: list[None]) -> None:
    kinds = (crontab(minute="*/10"), schedule(dt.timedelta(hours=1)), 30.0, 30, dt.timedelta(minutes=5))
    entries = entries_of({f"{number} {kind}": kind for kind in kinds for number in range(10)})
    assert {entry.last_run_at for entry in entries.values()} == {NOW}
    assert (len(entries), len(asked)) == (50, 1)


def test_a_schedule_with_a_clock_of_its_own_is_asked_itself(asked: list[None]) -> None:
    entries = entries_of({"function": crontab(nowfun=lambda: OWN), "method": Late(dt.timedelta(hours=1))})
    assert {entry.last_run_at for entry in entries.values()} == {OWN}


def test_an_entry_whose_own_clock_fails_is_refused() -> None:
    def broken() -> dt.datetime:
        raise RuntimeError("no clock")

    with pytest.raises(EntriesRefused, match="no clock"):
        entries_of({"broken": crontab(nowfun=broken)})
