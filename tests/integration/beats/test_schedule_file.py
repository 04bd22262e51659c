"""Celery's schedule file: what the stock beat wrote is read, what we write the stock beat reads."""

import datetime as dt
import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.beat import PersistentScheduler, ScheduleEntry
from celery.schedules import crontab, schedule

from cutover.beats import schedule_file

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("nothing_left")]

NOON = dt.datetime(2026, 5, 5, 12, 0, 7, 123456, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
SCHEDULE: dict[str, Any] = {
    "daily": {"task": "t", "schedule": crontab(minute=0, hour=8)},
    "often": {"task": "t", "schedule": 30.0},
}


@pytest.fixture(params=["UTC", "Europe/London"])
def app(request: pytest.FixtureRequest) -> Celery:
    return Celery(
        "of-schedule-file",
        set_as_current=False,
        config_source={"timezone": request.param, "beat_schedule": SCHEDULE, "result_expires": None},
    )


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "celerybeat-schedule")


@pytest.fixture
def stock(app: Celery, file: str) -> Callable[[], PersistentScheduler]:
    """Opens the file with celery's own scheduler."""
    return lambda: PersistentScheduler(app, schedule_filename=file)


def entries(app: Celery, **runs: dt.datetime) -> dict[str, ScheduleEntry]:
    return {
        name: ScheduleEntry(name=name, last_run_at=runs[name], app=app, total_run_count=3, **SCHEDULE[name])
        for name in SCHEDULE
    }


def instants(file: str) -> dict[str, dt.datetime]:
    """The last runs in the file, whatever made them."""
    return {name: last.at for name, last in schedule_file.read(file).items()}


def test_what_the_stock_beat_wrote_is_read_to_the_microsecond_in_utc(stock, file):
    beat = stock()
    beat.schedule["daily"].last_run_at = NOON
    beat.schedule["often"].last_run_at = NOON - HOUR
    beat.close()
    assert instants(file) == {"daily": NOON, "often": NOON - HOUR}
    assert all(at.tzinfo is dt.UTC for at in instants(file).values())


def test_what_never_ran_is_told_apart_by_its_count(stock, file):
    beat = stock()
    beat.schedule["daily"] = next(beat.schedule["daily"])
    beat.close()
    assert set(schedule_file.read(file)) == {"daily", "often"}
    assert {name for name, last in schedule_file.read(file).items() if last.has_run} == {"daily"}


def test_the_file_is_read_while_the_stock_beat_holds_it_open_and_left_as_it_is(stock, file):
    beat = stock()
    beat.schedule["daily"].last_run_at = NOON
    beat.sync()
    before = {path: path.read_bytes() for path in Path(file).parent.iterdir()}
    assert instants(file)["daily"] == NOON
    assert {path: path.read_bytes() for path in Path(file).parent.iterdir()} == before
    beat.sync()
    beat.close()


def test_a_beat_that_writes_while_the_file_is_copied_has_it_copied_again(stock, file, monkeypatch):
    beat = stock()
    beat.sync()
    copy, copied = shutil.copy2, []

    def copying(source: Path, folder: str) -> None:
        copy(source, folder)
        if not copied:
            beat.schedule["daily"].last_run_at = NOON
            beat.sync()
        copied.append(source.name)

    monkeypatch.setattr(shutil, "copy2", copying)
    assert instants(file)["daily"] == NOON
    beat.close()
    assert copied.count(Path(file).name) in {0, 2}  # some dbm modules append to the name


def test_what_a_killed_beat_left_pending_does_not_spoil_what_we_write(app, tmp_path):
    held, left = tmp_path / "held", tmp_path / "left"
    held.mkdir()
    beat = PersistentScheduler(app, schedule_filename=str(held / "schedule"))
    beat.schedule["daily"].last_run_at = NOON - HOUR
    beat.sync()
    shutil.copytree(held, left)  # as a kill leaves it
    beat.close()
    schedule_file.write(str(left / "schedule"), entries(app, daily=NOON, often=NOON), app)
    assert instants(str(left / "schedule"))["daily"] == NOON
    after = PersistentScheduler(app, schedule_filename=str(left / "schedule"))
    assert after.schedule["daily"].last_run_at.astimezone(dt.UTC) == NOON
    after.close()


def test_the_stock_beat_goes_on_from_what_we_wrote(app, stock, file):
    schedule_file.write(file, entries(app, daily=NOON, often=NOON - HOUR), app)
    beat = stock()
    assert {n: e.last_run_at.astimezone(dt.UTC) for n, e in beat.schedule.items()} == {
        "daily": NOON,
        "often": NOON - HOUR,
    }
    assert {e.total_run_count for e in beat.schedule.values()} == {3}
    beat.close()


def test_what_we_wrote_we_read(app, file):
    schedule_file.write(file, entries(app, daily=NOON, often=NOON - HOUR), app)
    assert instants(file) == {"daily": NOON, "often": NOON - HOUR}


def test_writing_replaces_the_old_file_and_leaves_no_other_beside_it(app, stock, file):
    stock().close()
    before = {path.name for path in Path(file).parent.iterdir()}
    for hour in range(3):
        schedule_file.write(file, entries(app, daily=NOON + hour * HOUR, often=NOON), app)
    assert instants(file)["daily"] == NOON + 2 * HOUR
    assert {path.name for path in Path(file).parent.iterdir()} == before


@pytest.mark.parametrize("filename", [None, "", "/no/such/folder/file"])
def test_without_a_file_nothing_is_known(filename):
    assert schedule_file.read(filename) == {}


@pytest.mark.parametrize("content", [b"", b"no database at all", os.urandom(4_096)])
def test_a_damaged_file_is_told_and_not_raised_and_not_deleted(file, caplog, content):
    Path(file).write_bytes(content)
    assert schedule_file.read(file) == {}
    assert Path(file).read_bytes() == content


def test_a_folder_that_can_not_be_written_is_told_and_not_raised(app, caplog):
    schedule_file.write("/proc/celerybeat-schedule", entries(app, daily=NOON, often=NOON), app)
    assert "cannot be written" in caplog.text
    schedule_file.write(None, {}, app)


def test_on_a_read_only_root_the_volume_of_the_file_is_enough(app, file, monkeypatch):
    def none_usable() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_get_default_tempdir", none_usable)
    schedule_file.write(file, entries(app, daily=NOON, often=NOON), app)
    before = set(Path(file).parent.iterdir())
    assert instants(file) == {"daily": NOON, "often": NOON}
    assert set(Path(file).parent.iterdir()) == before


def test_nowhere_to_copy_the_file_to_is_told_and_not_raised(app, file, caplog, monkeypatch):
    schedule_file.write(file, entries(app, daily=NOON, often=NOON), app)
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")
    assert schedule_file.read(file) == {}
    assert "cannot be read" in caplog.text


def test_an_entry_that_can_not_be_pickled_is_told_and_not_raised(app, file, caplog):
    schedule_file.write(file, entries(app, daily=NOON, often=NOON), app)
    odd = ScheduleEntry(name="odd", task="t", schedule=schedule(30, nowfun=lambda: NOON), app=app)
    schedule_file.write(file, {"odd": odd}, app)
    assert "cannot be written" in caplog.text
    assert instants(file) == {"daily": NOON, "often": NOON}, "the old file stays"
