"""The code schedule's entries, as celery's own beat would make them."""

import datetime as dt
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from celery import Celery
from celery.schedules import crontab, schedule
from django.urls import clear_url_caches
from pytest_django import Settings

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


def entries_of(schedules: dict[str, Any], read: Callable[[Celery, Config], Any] = project.code_entries) -> Any:
    app = Celery("timed", set_as_current=False)
    app.conf.result_expires = None
    app.conf.beat_schedule = {name: {"task": "t", "schedule": every} for name, every in schedules.items()}
    return read(app, Config())


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

    for read in (project.code_entries, project.code_names):
        with pytest.raises(EntriesRefused, match="no clock"):
            entries_of({"broken": crontab(nowfun=broken)}, read)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("of \ud800", r"of \ud800: name has half a surrogate pair; give it as valid text"),
        ("of \0", r"of \x00: name has a NUL character; take it out"),
        (7, "7: name is 7, no text; give it as a string"),
    ],
)
def test_a_name_by_which_no_database_and_no_page_can_be_asked_is_refused_and_written_out(name: Any, said: str) -> None:
    for read in (project.code_entries, project.code_names):
        with pytest.raises(EntriesRefused) as refused:
            entries_of({"well": 30.0, name: 30.0}, read)
        assert str(refused.value) == f"1 entry cannot be imported: {said}"


def test_the_names_are_those_of_the_entries() -> None:
    assert entries_of({"a": 30.0, "b": crontab()}, project.code_names) == {"a", "b"}


def test_tasks_that_the_urls_alone_import_are_known_as_they_are_to_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    app = Celery("viewed", set_as_current=False)
    monkeypatch.setitem(sys.modules, "viewed", site := ModuleType("viewed"))
    site.app = app  # type: ignore[attr-defined]
    lines = "from viewed import app", "@app.task(name='in a view')", "def work(): ...", "urlpatterns = []"
    (tmp_path / "viewed_urls.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    settings.ROOT_URLCONF = "viewed_urls"
    try:
        project.load_tasks(app)
    finally:
        clear_url_caches()
        sys.modules.pop("viewed_urls", None)
    assert "in a view" in app.tasks
