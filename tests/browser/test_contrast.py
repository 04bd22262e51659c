"""What is written and drawn, on the page and in the report, stands out from what is behind it: WCAG 2's level AA."""

import datetime as dt

import pytest
from playwright.sync_api import Page, expect

from cutover.observe.report import compose
from cutover.types import Side
from tests.browser import scene
from tests.browser.test_page import SITE, Beats, Opens, Surroundings, played  # noqa: F401 - a fixture

pytestmark = [
    pytest.mark.browser,
    pytest.mark.long,
    pytest.mark.parametrize("alias", ["default"], indirect=True),
    pytest.mark.django_db(transaction=True),
]

TEXT, SHAPE = 4.5, 3.0
DRAWN = "[class*=mark], .edge, .phase, .side, .term, .line, .bar, .switch, .step"
"""The shapes that say something; a grid, and a ground behind shapes, do not."""
CONTRASTS = """
(drawn) => {
    const parts = (text) => [...text.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
    const light = (colour) => {
        const [red, green, blue] = colour.slice(0, 3).map((one) => {
            const part = one / 255;
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const apart = (one, other) => {
        const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const behind = (one) => {
        const colour = parts(getComputedStyle(one).backgroundColor);
        return colour[3] === 0 && one.parentElement ? behind(one.parentElement) : colour;
    };
    const laid = (one) => {
        const { fill, opacity } = getComputedStyle(one), top = parts(fill), ground = behind(one.closest("svg"));
        const part = Number(opacity) * top[3];
        return [0, 1, 2].map((n) => top[n] * part + ground[n] * (1 - part));
    };
    const shown = [...document.querySelectorAll(".cutover *, body > header *, body > main *")]
        .filter((one) => one.checkVisibility() && !one.closest("option, defs"));
    const isIn = (one) => one.closest("svg");
    const hasText = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const named = (one) => `${one.tagName}.${one.getAttribute("class") ?? ""}`;
    const text = shown.filter((one) => hasText(one) && !isIn(one))
        .map((one) => [named(one), apart(parts(getComputedStyle(one).color), behind(one))]);
    const grounds = (one) => {
        const all = [...isIn(one).querySelectorAll(one.matches(".on") ? ".term" : ".band")].map(laid);
        return one.matches(".on") ? all : [behind(isIn(one)), ...all];
    };
    const letters = shown.filter((one) => isIn(one) && one.tagName === "text").map((one) => {
        const colour = parts(getComputedStyle(one).fill);
        return [named(one), Math.min(...grounds(one).map((it) => apart(colour, it)))];
    });
    const shapes = shown.filter((one) => isIn(one) && one.matches(drawn)).map((one) => {
        const style = getComputedStyle(one);
        const colours = [style.fill, style.strokeWidth === "0px" ? "none" : style.stroke].filter((it) => it !== "none");
        return [named(one), Math.min(...grounds(one).map((it) =>
            Math.max(...colours.map((colour) => apart(parts(colour), it)))))];
    });
    return { text, letters, shapes };
}
"""


def hold(page: Page, where: str) -> None:
    found = page.evaluate(CONTRASTS, DRAWN)
    least = {kind: min(all_, key=lambda one: one[1], default=None) for kind, all_ in found.items()}
    print(where, least)
    for kind, all_ in found.items():
        asked = SHAPE if kind == "shapes" else TEXT
        assert [one for one in all_ if one[1] < asked] == [], (where, kind)
    assert found["text"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_written_and_drawn_stands_out(
    context: Surroundings,
    played: dt.datetime,  # noqa: F811
    beat: Beats,
    open_page: Opens,
    scheme: str,
) -> None:
    with beat(Side.DATABASE):
        page = open_page(SITE, watched=False, color_scheme=scheme)
        page.click("summary")
        for following in ("entry import-requests", "slot ", ""):
            hold(page, f"{scheme}, before {following}")
            if following:
                with page.expect_navigation(wait_until="load"):
                    page.click(f"[data-key^='{following}'] >> nth=0")
        page.goto(SITE)
        page.route("**/overview/**", lambda route: route.fulfill(status=502))
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.get_by_role("status")).to_contain_text("502")
        hold(page, f"{scheme}, old")
        report = page.context.new_page()
        report.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        report.set_content(compose.run(context(), since=scene.DAY).page())
        hold(report, f"{scheme}, report")
        for table in report.get_by_role("table").all():
            assert table.locator("caption").count() == 1
            assert table.get_by_role("rowheader").count() == table.locator("tbody tr").count()
