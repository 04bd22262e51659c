"""The page in the admin, as a person sees it: live during a switch, by keyboard, narrow, and cut off."""

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from cutover.models import Cutover
from cutover.observe.report import compose
from cutover.phases import phase2, phase3
from cutover.phases.context import Context
from cutover.phases.report import Outcome
from cutover.types import Side
from tests.browser import scene
from tests.browser.conftest import NARROW, PICTURES, WIDE, picture
from tests.integration.phases.conftest import Beat

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("alias", ["default"], indirect=True),
    pytest.mark.django_db(transaction=True),
]

Surroundings = Callable[[], Context]
Beats = Callable[[Side], Beat]
Opens = Callable[..., Page]
SITE = "/admin/cutover/overview/"
SOON_MS = 30_000


@pytest.fixture
def played(context: Surroundings, schedule: dict[str, dict[str, Any]]) -> dt.datetime:
    """A site an hour after its switch."""
    hourly = schedule["hourly"]
    schedule.clear()
    schedule |= dict.fromkeys((*scene.EVERY, *scene.CRONTABS), hourly)
    return scene.play(context().alias)


def test_a_switch_is_seen_without_loading_the_page_again(context: Surroundings, beat: Beats, open_page: Opens) -> None:
    Cutover.objects.using(context().alias).update(phase=1)
    assert phase2.run(context()).outcome is Outcome.DONE
    with beat(Side.CODE), beat(Side.DATABASE):
        page = open_page(f"{SITE}?span=5m")
        headline, marks = page.locator("#cutover-headline"), page.locator("#cutover-timeline .mark.is-database")
        expect(headline).to_contain_text("the code side is active")
        expect(marks).to_have_count(0)
        page.evaluate("document.loadedOnce = true")
        page.click("summary")
        page.focus("[data-key='entry hourly']")
        assert phase3.run(context()).outcome is Outcome.DONE
        expect(headline).to_contain_text("the database side is active", timeout=SOON_MS)
        expect(page.locator("#cutover-verdict")).to_contain_text("leads for the database side", timeout=SOON_MS)
        expect(page.locator("#cutover-terms tbody tr").first).to_contain_text("database")
        expect(page.locator("#cutover-steps")).to_contain_text("phase3")
        expect(marks.first).to_be_visible(timeout=SOON_MS)
        expect(page.locator("[data-key='entry hourly']")).to_be_focused()
        assert page.locator("#cutover-timeline details[open]").count() == 1
        assert page.evaluate("document.loadedOnce")


def test_by_keyboard_to_a_slots_life_on_a_narrow_screen(played: dt.datetime, open_page: Opens) -> None:
    page = open_page(SITE, viewport=NARROW)
    for key in ("entry import-requests", f"slot {played.isoformat()}"):
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
        tab_to(page, key)
        with page.expect_navigation():
            page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    expect(page.get_by_role("main")).to_contain_text("Ended: failed, took 1.3 s")
    events = page.get_by_role("listitem").filter(has=page.locator("strong"))
    assert [text.split()[0] for text in events.all_inner_texts()] == ["Due", "Claimed", "Published", "Started", "Ended"]


def tab_to(page: Page, key: str) -> None:
    """Press Tab until the link of that key has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.key") == key:
            return
    pytest.fail(f"the keyboard does not reach {key!r}")


def test_it_says_when_it_could_not_refresh(played: dt.datetime, open_page: Opens) -> None:
    page = open_page(SITE, watched=False)
    trouble, pause = page.get_by_role("status"), page.locator(".cutover-pause")
    for block, said in (
        (lambda: page.route("**/overview/**", lambda route: route.abort()), "the site does not answer"),
        (lambda: page.route("**/overview/**", lambda route: route.fulfill(status=502)), "the site answered 502"),
        (page.context.clear_cookies, "you are signed out"),
    ):
        block()
        pause.click()
        expect(pause).to_have_text("Go on")
        pause.click()
        expect(trouble).to_contain_text(said)
        page.unroute_all()
    assert page.locator("#cutover-verdict").inner_text(), "what was seen stays"


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_for_a_person_to_look_at(
    context: Surroundings, played: dt.datetime, beat: Beats, open_page: Opens, scheme: str
) -> None:
    """The light one's upper part is docs/pictures/page.png, which the README shows: `make pictures`."""
    with beat(Side.DATABASE), beat(Side.DATABASE):
        page = open_page(SITE, color_scheme=scheme)
        expect(page.locator("#cutover-verdict")).to_contain_text("Look at 2 of 7 entries")
        page.screenshot(
            path=PICTURES / f"readme-{scheme}.png", clip={"x": 0, "y": 0, **WIDE, "height": 975}, full_page=True
        )
        for place, following in (("site", "entry import-requests"), ("entry", "slot "), ("slot", "")):
            for width, size in (("wide", WIDE), ("narrow", NARROW)):
                page.set_viewport_size(size)
                picture(page, f"{place}-{scheme}-{width}")
            if following:
                page.click(f"[data-key^='{following}'] >> nth=0")
        report = page.context.new_page()
        report.emulate_media(color_scheme=scheme)
        report.set_content(compose.run(context(), since=scene.DAY).page())
        for width, size in (("wide", WIDE), ("narrow", NARROW)):
            report.set_viewport_size(size)
            assert report.evaluate("document.documentElement.scrollWidth") <= size["width"]
            picture(report, f"report-{scheme}-{width}")
