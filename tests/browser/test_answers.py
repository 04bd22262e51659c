"""What a person who has never seen the project reads from the page, during a cutover: by role and name, as a screen
reader has them.
"""

import datetime as dt
import re
from itertools import pairwise
from typing import Any

import pytest
from celery.schedules import crontab
from playwright.sync_api import Locator, Page, expect

from cutover import clock
from cutover.models import Cutover, Fence, Slot
from cutover.phases import phase2, phase3
from cutover.phases.report import Outcome
from cutover.types import RunOutcome, Side
from tests.browser import scene
from tests.browser.conftest import NARROW
from tests.browser.test_page import SITE, SOON_MS, Beats, Opens, Surroundings, played, tab_to  # noqa: F401 - a fixture

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("alias", ["default"], indirect=True),
    pytest.mark.django_db(transaction=True),
]


DJANGOS = ("RootWebArea", "main")
"""What takes the focus of a script, or of Django's own link past the navigation, and is not ours to name."""


def fact(page: Page, card: str, term: str) -> Locator:
    """What one of the cards at the top says of something."""
    of_card = page.get_by_role("group", name=card, exact=True)
    return of_card.locator("dt", has_text=re.compile(f"^{term}$")).locator("xpath=following-sibling::dd[1]")


def cell(page: Page, entry: str, column: str) -> Locator:
    """What the table of entries says of one of them."""
    table = page.get_by_role("table", name=re.compile("entries"))
    heads = table.get_by_role("columnheader").all_inner_texts()
    row = table.get_by_role("row").filter(has=page.get_by_role("rowheader", name=entry, exact=True))
    return row.locator("td, th").nth([head.casefold() for head in heads].index(column))


def instant(where: Locator) -> dt.datetime:
    """The instant that stands there."""
    return dt.datetime.fromisoformat(where.locator("time").get_attribute("datetime") or "")


def test_a_person_answers_from_the_page_alone_during_a_cutover(
    context: Surroundings, schedule: dict[str, dict[str, Any]], beat: Beats, open_page: Opens
) -> None:
    alias = context().alias
    schedule["daily-digest"] = {"task": "demo.tasks.note", "schedule": crontab(minute=0, hour=8), "args": ("d",)}
    Cutover.objects.using(alias).update(phase=1)
    assert phase2.run(context()).outcome is Outcome.DONE
    with beat(Side.CODE), beat(Side.DATABASE):
        page = open_page(SITE)
        expect(fact(page, "Leader", "side")).to_have_text("code")
        expect(fact(page, "Cutover", "last switch")).to_have_count(0)
        expect(fact(page, "In the last day", "run twice")).to_have_text("not known: a worker may lack the run guard")
        assert phase3.run(context()).outcome is Outcome.DONE
        Fence.objects.using(alias).update(guarded_since=clock.now())
        due_at = clock.now().replace(minute=0, second=0, microsecond=0)
        failed = scene.slot("hourly", due_at, Side.DATABASE, 2, outcome=RunOutcome.FAILED, error=scene.FAILURE)
        Slot.objects.using(alias).bulk_create([failed], update_conflicts=True, **scene.AGAIN)

        # Who leads?
        expect(fact(page, "Leader", "side")).to_have_text("database", timeout=SOON_MS)
        holder = context().lease.view().holder
        expect(page.get_by_role("group", name="Leader")).to_contain_text(":".join(holder.split(":")[:2]))
        # When was the switch?
        assert instant(fact(page, "Cutover", "last switch")) == Fence.objects.using(alias).get().switched_at
        # Did anything run twice?
        expect(fact(page, "In the last day", "run twice")).to_contain_text("none since", timeout=SOON_MS)
        expect(fact(page, "In the last day", "dropped")).to_have_text("0 further messages")
        # When does the daily digest run next?
        now = clock.now()
        eight = now.replace(hour=8, minute=0, second=0, microsecond=0)
        expected = eight if eight > now else eight + scene.DAY
        assert instant(cell(page, "daily-digest", "next due")) == expected
        # Why did that run fail?
        expect(cell(page, "hourly", "what is wrong")).to_contain_text(scene.FAILURE, timeout=SOON_MS)
        tab_to(page, "last hourly")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("hourly, due")
        expect(page.get_by_role("listitem").filter(has_text="Ended")).to_contain_text(scene.FAILURE)


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("viewport", [None, NARROW], ids=["wide", "narrow"])
def test_what_takes_the_focus_has_a_name_and_headings_go_down_step_by_step(
    open_page: Opens, viewport: dict[str, int] | None
) -> None:
    page = open_page(SITE, **({"viewport": viewport} if viewport else {}))
    for following in ("entry import-requests", "slot ", ""):
        nodes = tree(page)
        assert [node for node in nodes if node["focusable"] and not node["name"] and node["role"] not in DJANGOS] == []
        assert [node for node in nodes if node["role"] == "image" and not node["name"]] == []
        levels = [node["level"] for node in nodes if node["role"] == "heading"]
        assert levels.count(1) == 1
        assert [step for step in pairwise(levels) if step[1] > step[0] + 1] == []
        if following:
            with page.expect_navigation(wait_until="load"):
                page.click(f"[data-key^='{following}'] >> nth=0")


def tree(page: Page) -> list[dict[str, Any]]:
    """What a screen reader is given: each node's role and name."""
    found = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    return [
        {
            "role": node["role"]["value"],
            "name": node.get("name", {}).get("value", ""),
            **{one["name"]: one["value"].get("value") for one in node.get("properties", [])},
        }
        | {"focusable": any(one["name"] == "focusable" for one in node.get("properties", []))}
        for node in found
        if not node["ignored"]
    ]
