"""What the web process exposes of the site: from real servers, and while they are away."""

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from cutover import clock, conf
from cutover.conf import ANSWER_TIMEOUT
from cutover.ledger.runs import RunEnd
from cutover.models import Entry, Fence, Slot, UnmanagedBeat
from cutover.observe import overview
from cutover.observe.metrics import site, views
from cutover.observe.metrics.samples import Site
from cutover.observe.metrics.site import Reading, Readings, Server
from cutover.phases.context import Context
from cutover.types import EntryName, Epoch, HolderId, Identity, Missed, RunOutcome, Side, SlotState, Term
from cutover.types import Slot as SlotName
from demo.waiting import wait_until
from tests.integration.phases.conftest import Beat, led
from tests.support.scrape import Samples, collected, of, parsed

pytestmark = [pytest.mark.integration, pytest.mark.urls("tests.support.metrics_urls")]

Surroundings = Callable[[], Context]
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def scrape(context: Surroundings, settings: Settings, nothing_left: None) -> Iterator[Callable[[], Samples]]:
    """Asks the page, each time again."""
    settings.SECURE_SSL_REDIRECT = False

    def asked() -> Samples:
        views._registry.cache_clear()
        answer = Client().get("/metrics")
        assert (answer.status_code, answer["Content-Type"].split(";")[0]) == (200, "text/plain")
        return parsed(answer.content.decode())

    yield asked
    views._registry.cache_clear()


@pytest.fixture
def ran(context: Surroundings) -> dt.datetime:
    """``hourly`` was missed two hours ago and has failed in the last; when it was due then."""
    own, due_at = context(), clock.now().replace(minute=0, second=0, microsecond=0)
    Entry.objects.using(own.alias).create(name="hourly", fingerprint="f", eligible_since=due_at - 24 * HOUR)
    term = led(own.alias, Term(own.ledger.fence.read().epoch, Side.CODE, HolderId("host:1:x")))
    missed = Missed(SlotName(due_at - 2 * HOUR, EntryName("hourly")), "older than the catch-up window")
    one = SlotName(due_at, EntryName("hourly"))
    own.ledger.claims.claim(term, [one], [missed])
    own.ledger.claims.confirm([one])
    own.ledger.runs.start(one, Epoch(1), "w")
    own.ledger.runs.end([RunEnd(one, "w", RunOutcome.FAILED)])
    return due_at


def test_the_page_says_who_leads_and_how_each_entry_is(
    context: Surroundings, beat: Callable[[Side], Beat], scrape: Callable[[], Samples], ran: dt.datetime
) -> None:
    alias = context().alias
    with beat(Side.CODE), beat(Side.DATABASE):
        told = wait_until(lambda: scrape() if scrape().get(("cutover_led", "code")) else None, "the code side is led")
    assert of(told, "cutover_up") == {("database",): 1, ("redis",): 1}
    assert of(told, "cutover_standbys") == {("code",): 0, ("database",): 1}
    assert told["cutover_epoch",] == context().ledger.fence.read().epoch
    assert (told["cutover_entries",], told["cutover_unmanaged_beats",]) == (3, 0)
    assert told["cutover_entry_info", "hourly", "code", "demo.tasks.note"] == 1
    assert told["cutover_entry_next_due_timestamp_seconds", "hourly"] == (ran + HOUR).timestamp()
    started = Slot.objects.using(alias).get(entry="hourly", due_at=ran).run_started_at
    assert started is not None
    assert told["cutover_entry_last_run_timestamp_seconds", "hourly"] == pytest.approx(started.timestamp(), abs=1e-3)
    assert {("failing", "hourly"), ("missed_earlier", "hourly")} <= of(told, "cutover_entry_condition").keys()


def test_no_cache_keeps_what_it_was(context: Surroundings, scrape: Callable[[], Samples], settings: Settings) -> None:
    ours, alias = "django.middleware.cache", context().alias
    settings.CACHES = {**settings.CACHES, "pages": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    settings.CACHE_MIDDLEWARE_ALIAS = "pages"
    settings.MIDDLEWARE = [f"{ours}.UpdateCacheMiddleware", f"{ours}.FetchFromCacheMiddleware"]
    before = scrape()["cutover_epoch",]
    Fence.objects.using(alias).update(epoch=before + 1)
    assert scrape()["cutover_epoch",] == before + 1


def test_a_site_that_nobody_leads_and_an_unmanaged_beat_are_told(
    context: Surroundings, scrape: Callable[[], Samples]
) -> None:
    now = clock.now()
    UnmanagedBeat.objects.using(context().alias).create(origin="7@old", first_heard_at=now, last_heard_at=now)
    told = scrape()
    assert (told["cutover_led", "code"], told["cutover_unmanaged_beats",]) == (0, 1)


def test_a_lease_of_a_beat_that_leads_nothing_here_is_no_leader(
    context: Surroundings, scrape: Callable[[], Samples]
) -> None:
    own = context()
    theirs = Identity(HolderId("theirs:1:x"), "theirs", 1, "")
    with closing(own.redis) as connected:
        assert own.lease.acquire(theirs, Side.CODE, int(connected.client_id())) is None
        assert scrape()["cutover_led", "code"] == 0
        led(own.alias, Term(own.ledger.fence.read().epoch, Side.CODE, theirs.holder))
        assert own.lease.acquire(theirs, Side.CODE, int(connected.client_id())) is None
        assert scrape()["cutover_led", "code"] == 1


def test_an_entry_that_cannot_be_sent_is_told_as_status_tells_it(
    context: Surroundings, scrape: Callable[[], Samples], ran: dt.datetime
) -> None:
    Slot.objects.using(context().alias).filter(due_at=ran).update(state=SlotState.CLAIMED, reason="no such queue")
    assert ("unsendable", "hourly") in of(scrape(), "cutover_entry_condition")


def test_a_database_that_is_away_fails_no_scrape(
    context: Surroundings, scrape: Callable[[], Samples], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(type(connections[context().alias]), "connect", refuse)
    told = scrape()
    assert of(told, "cutover_up") == {("database",): 0, ("redis",): 1}
    assert {key[0] for key in told} == {"cutover_up", "cutover_standbys"}, "the rest is not known"


def test_redis_that_is_away_fails_no_scrape_either(
    context: Surroundings, scrape: Callable[[], Samples], settings: Settings
) -> None:
    settings.CUTOVER = {**settings.CUTOVER, "REDIS_URL": "redis://127.0.0.1:1/0"}
    told = scrape()
    assert of(told, "cutover_up") == {("database",): 1, ("redis",): 0}
    assert not of(told, "cutover_led")
    assert told["cutover_entries",] == 3


def test_a_server_that_says_nothing_is_down_in_time_and_asked_once(
    context: Surroundings, monkeypatch: pytest.MonkeyPatch, nothing_left: None
) -> None:
    asked, answers = list[int](), threading.Event()

    def silent(_context: Context, _reading: Reading) -> None:
        asked.append(1)
        answers.wait(ANSWER_TIMEOUT.total_seconds())

    monkeypatch.setattr(site, "PARTS", ((Server.DATABASE, silent), *site.PARTS[1:]))
    collector = Site(Readings(context, within_s=0.05, keep_s=0), 10)
    assert [collected(collector) for _ in range(2)] == [{("cutover_up", "database"): 0}] * 2
    assert asked == [1]
    answers.set()
    wait_until(lambda: collected(collector).get(("cutover_up", "redis")), "it is asked again once it has answered")


def test_what_takes_its_time_to_read_is_not_waited_for_again(
    context: Surroundings, monkeypatch: pytest.MonkeyPatch, nothing_left: None
) -> None:
    take, begun, goes_on = overview.take, list[int](), threading.Event()
    goes_on.set()

    def slow(surroundings: Context) -> overview.Seen:
        begun.append(1)
        goes_on.wait()
        return take(surroundings)

    monkeypatch.setattr(overview, "take", slow)
    monkeypatch.setattr(site, "SLOW_S", 0.0)
    monkeypatch.setattr(site.Overview, "is_due", lambda *_: True)
    collector = Site(Readings(context, keep_s=0), 10)
    first = collected(collector)
    assert first["cutover_entries",] == 3
    goes_on.clear()
    assert [collected(collector) for _ in range(3)] == [first] * 3, "as it was read before"
    wait_until(lambda: len(begun) == 2, "it is read again, and by one alone")
    goes_on.set()


def test_more_entries_take_no_more_statements(
    context: Surroundings, ran: dt.datetime, schedule: dict[str, dict[str, Any]]
) -> None:
    def statements() -> int:
        surroundings, reading = context(), Reading(0)
        with CaptureQueriesContext(connections[surroundings.alias]) as asked:
            site._take(surroundings, reading)
        assert reading.overview is not None
        assert len(reading.overview.entries) == len(schedule)
        return len(asked)

    few, alias = statements(), context().alias
    schedule |= {f"e{n}": dict(schedule["hourly"]) for n in range(200)}
    Entry.objects.using(alias).bulk_create(Entry(name=f"e{n}", fingerprint="f", eligible_since=ran) for n in range(200))
    assert statements() == few <= 50


def test_wrong_settings_and_a_schedule_that_raises_fail_no_scrape(
    context: Surroundings, scrape: Callable[[], Samples], settings: Settings
) -> None:
    settings.CUTOVER = {**settings.CUTOVER, "CODE_SCHEDULE": "no.such.schedule"}
    told = scrape()
    assert of(told, "cutover_up") == {("database",): 1, ("redis",): 1}
    assert not of(told, "cutover_entries")
    assert conf.load().metrics_entries == 200
    settings.CUTOVER = {"LEESE": 1}
    assert scrape() == {}
