"""What a screen reader is given, on the page and in the report: axe's rules for WCAG 2 at level AA, and best practices.

What the admin around the page is to blame for is not held against it: only what is within it counts.
"""

import datetime as dt

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from cutover.observe.report import compose
from cutover.types import Side
from tests.browser import scene
from tests.browser.conftest import NARROW, WIDE
from tests.browser.test_page import SITE, Beats, Opens, Surroundings, played  # noqa: F401 - a fixture

pytestmark = [
    pytest.mark.browser,
    pytest.mark.long,
    pytest.mark.parametrize("alias", ["default"], indirect=True),
    pytest.mark.django_db(transaction=True),
]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def hold(page: Page, within: str, where: str) -> None:
    found = Axe().run(page, context=within, options={"runOnly": RULES}).response
    wrong = {each["id"]: [node["html"][:200] for node in each["nodes"]] for each in found["violations"]}
    assert wrong == {}, where
    assert len(found["passes"]) > 10, where


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_axe_finds_nothing_that_a_screen_reader_stumbles_over(
    context: Surroundings,
    played: dt.datetime,  # noqa: F811
    beat: Beats,
    open_page: Opens,
    viewport: dict[str, int],
) -> None:
    with beat(Side.DATABASE):
        page = open_page(SITE, watched=False, viewport=viewport)
        page.click("summary")
        page.evaluate("document.querySelector('.cutover').insertAdjacentHTML('beforeend', '<img src>')")
        with pytest.raises(AssertionError, match="image-alt"):
            hold(page, ".cutover", "a picture without words")
        page.reload()
        page.click("summary")
        for following in ("entry import-requests", "slot ", ""):
            hold(page, ".cutover", f"before {following}")
            if following:
                with page.expect_navigation(wait_until="load"):
                    page.click(f"[data-key^='{following}'] >> nth=0")
        report = page.context.new_page()
        report.set_content(compose.run(context(), since=scene.DAY).page())
        hold(report, "html", "report")
