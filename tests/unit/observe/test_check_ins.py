"""What is told of a slot, where it goes, and what it says: pure, or to a server of the test's own."""

import datetime as dt
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.beat import PersistentScheduler, ScheduleEntry, Scheduler
from celery.schedules import crontab, schedule, solar
from django_celery_beat.tzcrontab import TzAwareCrontab

from cutover import check_ins
from cutover.beats.missed import WITHHELD
from cutover.observe.check_ins import ping
from cutover.observe.check_ins.news import CheckIn, Row, Told, Word, news
from cutover.observe.check_ins.sentry import timing_of
from cutover.observe.check_ins.start import begin_beat
from cutover.schedulers import CodeScheduler, DatabaseScheduler
from cutover.types import EntryName, Slot
from demo.processes import ROOT
from tests.support.pings import Pings

DUE_AT = dt.datetime(2026, 11, 27, 6, tzinfo=dt.UTC)
NOW = DUE_AT + dt.timedelta(minutes=10)
SECOND = dt.timedelta(seconds=1)
KEY = uuid.uuid5(uuid.NAMESPACE_URL, "slot")
CLAIMED = Row(1, "daily", DUE_AT, KEY, "claimed", DUE_AT, None, None, None, "")
RUNNING = CLAIMED._replace(state="published", run_started_at=DUE_AT + SECOND, outcome="running")
MISSED = CLAIMED._replace(state="missed", reason="older than the catch-up window")
ENDED_AT = DUE_AT + 3 * SECOND
IN_HAND = CheckIn(Word.START, Slot(DUE_AT, EntryName("daily")), KEY, DUE_AT)


@pytest.mark.parametrize(
    ("row", "told", "words", "then"),
    [
        (CLAIMED, Told.NOTHING, "", Told.NOTHING),
        (CLAIMED._replace(state="published"), Told.NOTHING, "", Told.NOTHING),
        (RUNNING, Told.NOTHING, "start", Told.START),
        (RUNNING, Told.START, "", Told.START),
        (RUNNING._replace(run_ended_at=ENDED_AT, outcome="succeeded"), Told.START, "success", None),
        (RUNNING._replace(run_ended_at=ENDED_AT, outcome="succeeded"), Told.NOTHING, "start success", None),
        (RUNNING._replace(run_ended_at=ENDED_AT, outcome="failed"), Told.START, "fail", None),
        (RUNNING._replace(run_ended_at=ENDED_AT, outcome="retried"), Told.START, "", Told.START),
        (RUNNING._replace(run_ended_at=None, outcome="retried"), Told.START, "", Told.START),
        (RUNNING._replace(run_ended_at=ENDED_AT, outcome=None), Told.NOTHING, "", Told.NOTHING),
        (MISSED, Told.NOTHING, "missed", Told.MISSED),
        (MISSED, Told.MISSED, "", Told.MISSED),
        (MISSED._replace(reason=WITHHELD), Told.NOTHING, "", None),
        (RUNNING, Told.MISSED, "start", Told.START),
    ],
)
def test_a_word_is_told_once_and_a_retry_is_no_end(row: Row, told: Told, words: str, then: Told | None) -> None:
    found, told_now = news(row, told, NOW)
    assert ([one.word.value for one in found], told_now) == (words.split(), then)
    assert {(one.slot.entry, one.slot.due_at, one.key) for one in found} <= {("daily", DUE_AT, KEY)}


def test_a_slot_in_whose_stead_a_later_one_is_sent_is_no_alarm() -> None:
    assert news(MISSED, Told.NOTHING, NOW, later_is_sent=True) == ([], None)


def test_an_end_by_a_clock_that_is_behind_is_no_earlier_than_its_start() -> None:
    started, ended = news(RUNNING._replace(run_ended_at=DUE_AT, outcome="succeeded"), Told.NOTHING, NOW)[0]
    assert (started.at, ended.at, ended.took) == (RUNNING.run_started_at, RUNNING.run_started_at, dt.timedelta(0))


@pytest.mark.parametrize(
    ("given", "word", "url"),
    [
        ("https://hc.example/key/daily", Word.START, f"https://hc.example/key/daily/start?rid={KEY}"),
        ("https://hc.example/key/daily/", Word.SUCCESS, f"https://hc.example/key/daily?rid={KEY}"),
        ("https://hc.example/key/daily?create=1", Word.FAIL, f"https://hc.example/key/daily/fail?create=1&rid={KEY}"),
        ("http://hc.example:8000", Word.MISSED, f"http://hc.example:8000/fail?rid={KEY}"),
        ("http://hc.example#part", Word.SUCCESS, f"http://hc.example/?rid={KEY}"),
    ],
)
def test_a_ping_goes_where_the_convention_says(given: str, word: Word, url: str) -> None:
    assert ping.url_of(given, replace(IN_HAND, word=word)) == url


def test_what_a_ping_says_names_entry_and_instant() -> None:
    missed = replace(IN_HAND, word=Word.MISSED, reason="too late")
    assert ping.said(missed) == "daily, due 2026-11-27T06:00:00+00:00: missed: too late"
    ended = replace(IN_HAND, word=Word.SUCCESS, took=1.5 * SECOND)
    assert ping.said(ended) == "daily, due 2026-11-27T06:00:00+00:00: success after 1.500 s"


@pytest.fixture
def server() -> Iterator[Pings]:
    with Pings() as server:
        yield server


@pytest.fixture(autouse=True)
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited between two tries; in truth nobody waits."""
    slept: list[float] = []
    monkeypatch.setattr(ping.clock, "sleep", slept.append)
    monkeypatch.setattr(ping, "_away", set())
    return slept


def test_an_end_that_gets_no_answer_is_tried_again_and_a_start_is_not(server: Pings, waited: list[float]) -> None:
    server.answers = [503, 429, 200, 500]
    ping.ping(f"{server.url}/daily", replace(IN_HAND, word=Word.SUCCESS))
    with pytest.raises(OSError, match="HTTP Error 500"):
        ping.ping(f"{server.url}/daily", IN_HAND)
    assert [(each.slug, each.word) for each in server.heard] == [("daily", "")] * 3 + [("daily", "start")]
    assert waited == [1.0, 4.0]


def test_what_the_server_refuses_is_not_tried_again(server: Pings, waited: list[float]) -> None:
    server.answers = [404]
    with pytest.raises(OSError, match="HTTP Error 404"):
        ping.ping(f"{server.url}/daily", replace(IN_HAND, word=Word.FAIL))
    assert waited == []


def test_a_server_that_is_away_is_waited_for_once_until_it_is_back(server: Pings, waited: list[float]) -> None:
    fail = replace(IN_HAND, word=Word.FAIL)
    server.answers = [500] * 5
    for _ in range(2):
        with pytest.raises(OSError, match="HTTP Error 500"):
            ping.ping(f"{server.url}/daily", fail)
    assert waited == [1.0, 4.0, 15.0]
    ping.ping(f"{server.url}/daily", fail)
    server.answers = [500]
    ping.ping(f"{server.url}/daily", fail)
    assert len(waited) == 4


def test_an_error_says_nothing_of_the_url(waited: list[float]) -> None:
    with pytest.raises(OSError) as raised:
        ping.ping("http://127.0.0.1:1/secret-key", replace(IN_HAND, word=Word.FAIL))
    assert "secret" not in str(raised.value)


def test_nor_does_a_redirect_that_leads_nowhere(server: Pings) -> None:
    server.answers, server.location = [302], "gopher://elsewhere/secret-key"
    with pytest.raises(OSError) as raised:
        ping.ping(f"{server.url}/daily", replace(IN_HAND, word=Word.FAIL))
    assert str(raised.value) == "not taken: HTTP Error 302, a redirect that leads nowhere"


@pytest.mark.parametrize(
    ("entry", "slug"),
    [("daily-digest", "daily-digest"), ("Daily digest!", "daily-digest"), ("app.tasks.send_it", "apptaskssend_it")],
)
def test_a_slug_is_the_name_as_services_take_it(entry: str, slug: str) -> None:
    assert check_ins.slug_of(entry) == slug


def test_names_that_do_not_fit_keep_apart() -> None:
    names = ["täglich", "taglich", "日報", "週報", "x" * 80, "x" * 81, "!!!", "of no \ud800", "of no \ud801"]
    slugs = [check_ins.slug_of(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all(0 < len(slug) <= 50 and set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_") for slug in slugs)


APP = Celery("of-timing", set_as_current=False)


@pytest.mark.parametrize(
    ("given", "timing"),
    [
        (crontab(hour=6, minute="*/5"), {"schedule": {"type": "crontab", "value": "*/5 6 * * *"}, "timezone": "UTC"}),
        (
            TzAwareCrontab("0", "6", "mon-fri", tz=dt.UTC),
            {"schedule": {"type": "crontab", "value": "0 6 * * 1,2,3,4,5"}, "timezone": "UTC"},
        ),
        (crontab(minute={0, 30}), {"schedule": {"type": "crontab", "value": "0,30 * * * *"}, "timezone": "UTC"}),
        (crontab(minute=0, day_of_month=1, day_of_week=1), None),
        (schedule(90 * 60), {"schedule": {"type": "interval", "value": 90, "unit": "minute"}}),
        (schedule(7200), {"schedule": {"type": "interval", "value": 2, "unit": "hour"}}),
        (schedule(86_400), {"schedule": {"type": "interval", "value": 1, "unit": "day"}}),
        (schedule(90), None),
        (schedule(10), None),
        (solar("sunrise", 52, 13), None),
    ],
)
def test_sentry_is_told_when_an_entry_is_due_where_it_has_such_a_schedule(given: Any, timing: Any) -> None:
    assert timing_of(ScheduleEntry("e", "t", schedule=given, app=APP)) == timing


SENTRY = """
import datetime as dt, uuid
import sentry_sdk
from celery import Celery
from celery.beat import ScheduleEntry
from celery.schedules import crontab, solar
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.transport import Transport
from cutover.observe.check_ins.news import CheckIn, Word
from cutover.observe.check_ins.sentry import check_in_with_sentry, is_monitored
from cutover.types import EntryName, Slot

class Captured(Transport):
    def capture_envelope(self, envelope):
        for item in envelope.items:
            if item.type == "check_in":
                told = item.payload.json
                keys = ("monitor_slug", "status", "check_in_id", "duration", "monitor_config")
                print(*(told.get(key) for key in keys))

def tell(name, word, took=None, entry=None):
    slot = Slot(dt.datetime(2026, 11, 27, 6, tzinfo=dt.UTC), EntryName(name))
    check_in_with_sentry(CheckIn(word, slot, uuid.UUID(int=7), slot.due_at, took), name, {"max_runtime": 30}, entry)

try:
    tell("daily", Word.START)
except OSError as exc:
    print(exc)
monitoring = CeleryIntegration(monitor_beat_tasks=True, exclude_beat_tasks=["ours-.*"])
sentry_sdk.init(dsn="https://key@sentry.invalid/1", transport=Captured, integrations=[monitoring])
tell("daily", Word.START)
daily = ScheduleEntry("ours-daily", "t", schedule=crontab(0, 6), app=Celery("a", set_as_current=False))
tell("ours-daily", Word.START, entry=daily)
tell("ours-daily", Word.SUCCESS, dt.timedelta(seconds=1.5), daily)
tell("ours-daily", Word.FAIL)
tell("ours-daily", Word.MISSED)
app = Celery("b", set_as_current=False)
for name, given in (("often", 20.0), ("sun", solar("sunrise", 52, 13)), ("minutely", 60.0), ("nightly", crontab(0, 2))):
    print(name, is_monitored(name, given))
    tell(name, Word.SUCCESS, entry=ScheduleEntry(name, "t", schedule=given, app=app))
"""


def test_sentry_is_told_by_its_own_sdk_and_not_of_what_its_own_integration_tells() -> None:
    pytest.importorskip("sentry_sdk")
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    done = subprocess.run(
        [sys.executable, "-c", f"import django; django.setup()\n{SENTRY}"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
    )
    key = f"{7:032x}"
    config = {"schedule": {"type": "crontab", "value": "0 6 * * *"}, "timezone": "UTC", "max_runtime": 30}
    assert done.stdout.splitlines() == [
        "sentry_sdk.init() was not called in this process, the beat: call it in Django's settings",
        f"ours-daily in_progress {key} None {config}",
        f"ours-daily ok {key} 1.5 {config}",
        f"ours-daily error {key} None None",
        f"ours-daily error {key} None None",
        "often False",
        f"often ok {key} None None",
        "sun False",
        f"sun ok {key} None None",
        "minutely True",
        "nightly True",
    ], done.stderr


def test_a_beat_under_the_lease_has_the_chore_where_somebody_is_to_be_told(settings: Any) -> None:
    def chores(kind: type[Scheduler], **told: Any) -> int:
        settings.CUTOVER = told
        scheduler = kind(app=APP, lazy=True)
        begin_beat(SimpleNamespace(scheduler=scheduler))
        return len(getattr(scheduler, "more_chores", ()))

    everything = {"CHECK_INS": {"PING_URL": "https://hc.example/{slug}"}}
    assert chores(CodeScheduler, **everything) == chores(DatabaseScheduler, **everything) == 1
    assert chores(CodeScheduler) == chores(PersistentScheduler, **everything) == 0
    assert chores(CodeScheduler, CHECK_IN=None) == 0, "who needs the settings says what is wrong"
