"""Pictures of the page in states that are seldom, for a person to look at; and that none of them is too wide."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
from django_celery_beat.models import PeriodicTask
from playwright.sync_api import Page, expect
from pytest_django import Settings

from cutover import clock, models
from cutover.models import Cutover, Entry, Fence, Slot, SwitchGuard, Term, UnmanagedBeat
from cutover.types import HolderId, Identity, Side
from cutover.workers import processes
from tests.browser import scene
from tests.browser.conftest import PICTURES, WIDE, picture
from tests.browser.test_page import SITE, Beats, Opens, Surroundings, played  # noqa: F401 - a fixture

pytestmark = [
    pytest.mark.browser,
    pytest.mark.long,
    pytest.mark.parametrize("alias", ["default"], indirect=True),
    pytest.mark.django_db(transaction=True),
]

PHONE = {"width": 400, "height": 800}
STICKS_OUT = """[...document.querySelectorAll(".cutover-card")]
    .filter((card) => card.scrollWidth > card.clientWidth).map((card) => card.innerText)"""
LONG = "reports.tasks.accounting.rebuild_everything_for_every_tenant_and_currency_" * 2


@dataclass(frozen=True)
class Site:
    """What a state is made of."""

    context: Surroundings
    schedule: dict[str, dict[str, Any]]
    beat: Beats
    settings: Settings


Made = Callable[[Site], AbstractContextManager[Any]]


def guarded(site: Site) -> AbstractContextManager[Any]:
    now = clock.now()
    Fence.objects.update(switched_at=now - 20 * scene.MINUTE)
    stays = {"operator": "alice@vm", "process": processes.own_name(), "began_at": now - 20 * scene.MINUTE}
    SwitchGuard.objects.create(**stays, seen_at=now, switch_epoch=2, until=now + 40 * scene.MINUTE)
    return site.beat(Side.DATABASE)


def days_ago(site: Site) -> AbstractContextManager[Any]:
    """Its instants have their dates, which makes them long."""
    Fence.objects.update(switched_at=clock.now() - 2 * scene.DAY)
    return site.beat(Side.DATABASE)


def killed(site: Site) -> AbstractContextManager[Any]:
    """The leader's lease is there, and its connection is not."""
    site.settings.CUTOVER = {**site.settings.CUTOVER, "LEASE": scene.MINUTE}
    who = Identity(HolderId("vm:4711:dead"), "vm", 4711, "v42")
    site.context().lease.acquire(who, Side.DATABASE, client_id=999_999)
    led = {"holder": who.holder, "host": who.host, "pid": who.pid, "release": who.release}
    at = clock.now() - scene.MINUTE / 2
    Term.objects.create(epoch=3, side=Side.DATABASE, started_at=at, first_tick_at=at, seen_at=at, **led)
    Fence.objects.update(epoch=3)
    return nullcontext()


def unmanaged(site: Site) -> AbstractContextManager[Any]:
    now = clock.now()
    UnmanagedBeat.objects.create(origin="4711@old-web-1", first_heard_at=now - scene.DAY, last_heard_at=now)
    latest = Slot.objects.filter(entry="heartbeat").latest("due_at")
    latest.sender = "4711@old-web-1"
    latest.save()
    return site.beat(Side.DATABASE)


def empty(site: Site) -> AbstractContextManager[Any]:
    site.schedule.clear()
    for model in (PeriodicTask, Slot, Entry):
        model.objects.all().delete()
    return site.beat(Side.DATABASE)


def new(site: Site) -> AbstractContextManager[Any]:
    """Nothing was done so far."""
    for model in (PeriodicTask, Slot, Entry, Term, models.Transition):
        model.objects.all().delete()
    Fence.objects.update(epoch=0, side=Side.CODE, switched_at=None, guarded_since=None)
    Cutover.objects.update(phase=0, switched_at=None, switch_epoch=None)
    return nullcontext()


def three(site: Site) -> AbstractContextManager[Any]:
    few = ["heartbeat", "cleanup", "user-digest-daily"]
    for name in {*site.schedule} - {*few}:
        del site.schedule[name]
    for model, key in ((PeriodicTask, "name"), (Slot, "entry"), (Entry, "name")):
        model.objects.exclude(**{f"{key}__in": few}).delete()
    return site.beat(Side.DATABASE)


def long(site: Site) -> AbstractContextManager[Any]:
    site.schedule[LONG] = site.schedule.pop("import-requests")
    for model, key in ((PeriodicTask, "name"), (Slot, "entry"), (Entry, "name")):
        model.objects.filter(**{key: "import-requests"}).update(**{key: LONG})
    return site.beat(Side.DATABASE)


def without_redis(site: Site) -> AbstractContextManager[Any]:
    site.settings.CUTOVER = {**site.settings.CUTOVER, "REDIS_URL": "redis://127.0.0.1:1/0"}
    return nullcontext()


def misconfigured(site: Site) -> AbstractContextManager[Any]:
    site.settings.CUTOVER = {**site.settings.CUTOVER, "LEESE": 1}
    return nullcontext()


STATES: dict[str, tuple[Made, str]] = {
    "guarded": (guarded, "watches the switch until"),
    "days-ago": (days_ago, "Phase 3 is done"),
    "killed": (killed, "is dead or cut off"),
    "unmanaged": (unmanaged, "a beat without the lease was heard"),
    "empty": (empty, "Nothing to send"),
    "new": (new, "Nobody has led yet."),
    "three": (three, "3 of 3 entries"),
    "long": (long, LONG),
    "without-redis": (without_redis, "Not known: Redis was not read."),
    "misconfigured": (misconfigured, "LEESE"),
}


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("state", STATES)
def test_pictures_of_what_is_seldom(
    context: Surroundings,
    schedule: dict[str, dict[str, Any]],
    beat: Beats,
    open_page: Opens,
    settings: Settings,
    state: str,
) -> None:
    make, said = STATES[state]
    with make(Site(context, schedule, beat, settings)):
        page: Page = open_page(SITE)
        expect(page.locator("#cutover-shown")).to_contain_text(said)
        picture(page, f"state-{state}-wide")
        assert page.evaluate(STICKS_OUT) == []
        page.set_viewport_size(PHONE)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        picture(page, f"state-{state}-phone")
        if state == "long":
            page.set_viewport_size(WIDE)
            page.click("[data-key^='entry reports']")
            picture(page, "state-long-entry-wide")
            page.set_viewport_size(PHONE)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
            picture(page, "state-long-entry-phone")


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_of_what_is_old(beat: Beats, open_page: Opens, scheme: str) -> None:
    with beat(Side.DATABASE):
        page: Page = open_page(SITE, watched=False, color_scheme=scheme)
    page.route("**/overview/**", lambda route: route.fulfill(status=502))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_role("status")).to_contain_text("502")
    for width, size in (("wide", WIDE), ("phone", PHONE)):
        page.set_viewport_size(size)
        picture(page, f"old-{scheme}-{width}")
        page.evaluate("scrollTo(0, 700)")
        page.screenshot(path=PICTURES / f"old-{scheme}-{width}-scrolled.png")
