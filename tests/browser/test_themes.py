"""The page on an admin that looks otherwise: from right to left, or with a theme that has none of Django's colours."""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings as django_settings
from playwright.sync_api import Page
from pytest_django import Settings

from cutover.phases.context import Context
from tests.browser import scene

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("alias", ["default"], indirect=True),
    pytest.mark.django_db(transaction=True),
]
SITE = "/admin/cutover/overview/"
OUTSIDE = """() => {
    const around = document.querySelector(".cutover-timeline").getBoundingClientRect();
    const texts = [...document.querySelectorAll("#cutover-timeline svg text")];
    return texts.filter((one) => {
        const box = one.getBoundingClientRect();
        return box.left < around.left - 1 || box.right > around.right + 1;
    }).map((one) => one.textContent);
}"""


@pytest.fixture
def played(context: Callable[[], Context], schedule: dict[str, dict[str, Any]]) -> None:
    hourly = schedule["hourly"]
    schedule.clear()
    schedule |= dict.fromkeys((*scene.EVERY, *scene.CRONTABS), hourly)
    scene.play(context().alias)


def test_on_an_admin_from_right_to_left_the_page_is_from_left_to_right_as_its_language_is(
    played: None, open_page: Callable[..., Page], settings: Settings
) -> None:
    settings.LANGUAGE_CODE, settings.USE_I18N = "ar", True
    settings.MIDDLEWARE = [one for one in django_settings.MIDDLEWARE if "Locale" not in one]
    page = open_page(SITE, locale="ar")
    assert page.locator("html").get_attribute("dir") == "rtl"
    assert page.evaluate(OUTSIDE) == []
    assert page.locator("#cutover-timeline svg text.name").count() == len(scene.EVERY) + len(scene.CRONTABS)
    assert page.evaluate("getComputedStyle(document.querySelector('#cutover-verdict')).direction") == "ltr"


def test_shapes_lines_and_buttons_are_told_apart_without_djangos_colours(
    played: None, open_page: Callable[..., Page]
) -> None:
    page = open_page(SITE)
    page.evaluate(
        """() => { for (const one of document.querySelectorAll("link[href*='/admin/css/']")) one.remove() }"""
    )

    def style(selector: str, name: str) -> str:
        found: str = page.evaluate(f"getComputedStyle(document.querySelector('{selector}'))['{name}']")
        return found

    for hollow in ("#cutover-running", "#cutover-waiting", "#cutover-missed"):
        assert style(hollow, "fill") == "rgb(255, 255, 255)", f"{hollow} looks like a run that went well"
    for line in (".lane", ".phase", ".tick"):
        assert style(f"#cutover-timeline {line}", "stroke") != "none", line
    assert style(".cutover-card", "border-top-color") != style(".cutover-card", "background-color")
    page.evaluate("document.documentElement.className = 'dark'")
    assert style("#cutover-missed", "fill") == "rgb(18, 18, 18)", "what is behind light text is dark"


@pytest.mark.parametrize("theme", ["its style sheet", "Django's dark colours"])
def test_an_admin_that_is_always_light_has_the_colours_for_a_light_ground(
    played: None, open_page: Callable[..., Page], theme: str
) -> None:
    page = open_page(SITE, color_scheme="dark")
    colour = "getComputedStyle(document.querySelector('.cutover-side.is-database')).color"
    assert page.evaluate(colour) == "rgb(79, 209, 171)"
    sheets = "/admin/css/" if theme == "its style sheet" else "dark_mode.css"
    page.evaluate(
        "(sheets) => document.querySelectorAll(`link[href*='${sheets}']`).forEach((it) => it.remove())", sheets
    )
    page.evaluate("document.documentElement.removeAttribute('data-theme')")
    assert page.evaluate(colour) == "rgb(11, 125, 99)", "who reads it likes it dark, but the page is not"
    page.evaluate("document.documentElement.className = 'dark'")
    assert page.evaluate(colour) == "rgb(79, 209, 171)"


@pytest.mark.parametrize("width", [1024, 1100, 1280])
def test_what_is_wrong_is_on_the_screen_of_a_small_laptop(
    played: None, open_page: Callable[..., Page], width: int
) -> None:
    page = open_page(SITE, viewport={"width": width, "height": 800})
    beyond = "(it) => it.scrollWidth - it.clientWidth"
    assert page.locator("#cutover-entries-wide").evaluate(beyond) == 0, "the last column is beyond the edge"
