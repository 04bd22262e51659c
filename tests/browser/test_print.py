"""The page and the report on paper: dark on white; the page from the first sheet on, as wide as the sheet."""

import pytest
from playwright.sync_api import expect

from cutover.observe.report import compose
from demo.waiting import wait_until
from tests.browser import scene
from tests.browser.test_page import SITE, Opens, Surroundings, played  # noqa: F401 - a fixture

pytestmark = [
    pytest.mark.browser,
    pytest.mark.long,
    pytest.mark.parametrize("alias", ["default"], indirect=True),
    pytest.mark.django_db(transaction=True),
]

SHEET = {"width": 816, "height": 1056}
BRIGHT = """
() => [...document.querySelectorAll("#content *, body > header *, body > main *")]
    .filter((one) => one.checkVisibility() && [...one.childNodes].some((it) => it.nodeType === 3 && it.data.trim()))
    .filter((one) => {
        if (one.matches(".badge, .on, title, desc, defs *")) return false; // on a ground of their own, or not drawn
        const { color, fill } = getComputedStyle(one);
        const shown = one.closest("svg") ? fill : color;
        return Math.min(...shown.match(/[\\d.]+/g).slice(0, 3).map(Number)) > 128;
    })
    .map((one) => one.outerHTML.slice(0, 80))
"""
"""What is written in a colour that white paper does not show."""


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("page_of", ["", "entry/?name=heartbeat"])
def test_on_paper_all_is_dark_on_white_and_as_wide_as_the_sheet(open_page: Opens, page_of: str) -> None:
    page = open_page(f"{SITE}{page_of}", color_scheme="dark", viewport=SHEET)
    assert page.evaluate(BRIGHT), "so it is on a screen"
    page.emulate_media(media="print")
    for theme in ("dark", "light", "auto"):
        page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
        wait_until(lambda: page.evaluate(BRIGHT) == [], "all is dark: a link's colour takes a while to change")
    for unwanted in ("#nav-sidebar", "#header", ".breadcrumbs", ".cutover-pause", ".cutover-spans"):
        expect(page.locator(unwanted)).to_be_hidden()
    shown = page.locator(".cutover").bounding_box()
    assert shown
    assert shown["y"] < SHEET["height"] / 4
    assert shown["width"] > SHEET["width"] * 0.9


@pytest.mark.usefixtures("played")
def test_a_report_on_paper_is_dark_on_white(context: Surroundings, open_page: Opens) -> None:
    report = open_page(SITE).context.new_page()
    report.emulate_media(color_scheme="dark")
    report.set_content(compose.run(context(), since=scene.DAY).page())
    assert report.evaluate(BRIGHT), "so it is on a screen"
    report.emulate_media(media="print", color_scheme="dark")
    assert report.evaluate(BRIGHT) == []
    ground = "getComputedStyle(document.querySelector('.numbers li')).backgroundColor"
    assert report.evaluate(ground) == "rgb(244, 246, 248)"
