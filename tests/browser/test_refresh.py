"""What the page's own refresh does to who reads it, types on it or listens to it; and that what is old says so."""

import itertools
import re
from collections.abc import Callable

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import Page, Route, expect
from pytest_django import Settings

from cutover.ledger import pauses
from cutover.models import Slot, Transition
from cutover.phases.context import Context
from cutover.types import RunOutcome
from demo.waiting import wait_until
from tests.browser import scene
from tests.browser.conftest import NARROW, STRICT
from tests.browser.test_page import SITE, SOON_MS, Opens, Surroundings, played, tab_to  # noqa: F401 - a fixture

pytestmark = [
    pytest.mark.browser,
    pytest.mark.long,
    pytest.mark.parametrize("alias", ["default"], indirect=True),
    pytest.mark.django_db(transaction=True),
]

REFRESH = "document.dispatchEvent(new Event('visibilitychange'))"
"""As if the page's tab were shown again."""
LISTEN = """
() => {
    document.said = [];
    for (const one of document.querySelectorAll("[aria-live], [role=status], [role=alert], [role=log]"))
        new MutationObserver(() => document.said.push(one.textContent.trim().replace(/\\s+/g, " ")))
            .observe(one, { subtree: true, childList: true, characterData: true });
}
"""
"""Keeps what a screen reader says by itself: each change of a live region."""
HOLD = """
() => {
    document.held = document.activeElement;
    document.lost = 0;
    addEventListener("blur", () => document.lost++, true);
}
"""
IS_HELD = "document.held.isConnected && document.held === document.activeElement && document.lost === 0"
KEPT = {
    "a link": "[data-key='entry heartbeat']",
    "a link that was clicked": "#cutover-timeline a[data-key^='entry=heartbeat'] >> nth=-1",
    "the field": "#cutover-q",
    "the choice": "#cutover-kind",
    "what unfolds": "#cutover-timeline-table > summary",
    "what scrolls": "#cutover-terms",
    "a span": "[data-key='span 6h']",
    "the button": ".cutover-pause",
}


def fail(context: Context, entry: str, error: str) -> None:
    """Have the latest run of an entry fail: it is the worst from then on."""
    latest = Slot.objects.using(context.alias).filter(entry=entry).latest("due_at")
    latest.outcome, latest.error = RunOutcome.FAILED, error
    latest.save(using=context.alias)


def refreshed(page: Page, expected: str) -> None:
    """Have the page refresh itself, until it shows that."""
    page.evaluate(REFRESH)
    expect(page.locator("#cutover-shown")).to_contain_text(expected, timeout=SOON_MS)


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("place", KEPT)
def test_the_focus_and_what_was_typed_or_unfolded_stay(context: Surroundings, open_page: Opens, place: str) -> None:
    page = open_page(SITE)
    page.click("#cutover-timeline-table > summary")
    page.fill("#cutover-q", "heart")
    page.select_option("#cutover-kind", "ill")
    page.focus(KEPT[place])
    page.evaluate(HOLD)
    names = page.locator("#cutover-entries tbody th")
    before = names.all_inner_texts().index("heartbeat")
    fail(context(), "heartbeat", "no route to the host")
    refreshed(page, "no route to the host")
    assert names.all_inner_texts().index("heartbeat") < before, "its row is another one now"
    assert page.evaluate(IS_HELD)
    assert page.locator("#cutover-timeline-table[open]").count() == 1
    assert (page.input_value("#cutover-q"), page.input_value("#cutover-kind")) == ("heart", "ill")


@pytest.mark.usefixtures("played")
def test_where_what_had_the_focus_is_gone_one_goes_on_from_where_it_was(
    context: Surroundings, open_page: Opens
) -> None:
    page = open_page(f"{SITE}?kind=ill")
    page.focus("[data-key='entry import-requests']")
    Slot.objects.using(context().alias).filter(outcome=RunOutcome.FAILED).update(outcome=RunOutcome.SUCCEEDED)
    page.evaluate(REFRESH)
    expect(page.locator("[data-key='entry import-requests']")).to_have_count(0, timeout=SOON_MS)
    expect(page.locator("#cutover-entries-wide")).to_be_focused()


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("viewport", [{"width": 1360, "height": 500}, NARROW], ids=["wide", "narrow"])
def test_what_is_read_stays_where_it_is_while_more_comes_above_it(
    context: Surroundings, open_page: Opens, viewport: dict[str, int]
) -> None:
    page = open_page(SITE, viewport=viewport)
    read = page.locator("#cutover-terms")
    read.evaluate("(one) => { scrollTo(0, one.getBoundingClientRect().top + scrollY - 100); one.scrollLeft = 40; }")
    before, left = read.bounding_box(), read.evaluate("(one) => one.scrollLeft")
    fail(context(), "heartbeat", "no route to the host, " * 20)
    for entry in scene.EVERY:
        context().ledger.pauses.pause(entry, None, "alice", "a long reason " * 10)  # type: ignore[arg-type]
    refreshed(page, "no route to the host")
    after = read.bounding_box()
    assert before
    assert after
    assert abs(before["y"] - after["y"]) <= 2
    assert read.evaluate("(one) => one.scrollLeft") == left


@pytest.mark.usefixtures("played")
def test_what_is_selected_stays_so_and_keeps_nothing_from_being_shown(context: Surroundings, open_page: Opens) -> None:
    page = open_page(SITE)
    page.evaluate(
        "getSelection().selectAllChildren(document.querySelector('#cutover-entries tbody .cutover-text div'))"
    )
    said = page.evaluate("getSelection().toString()")
    fail(context(), "heartbeat", "no route to the host")
    refreshed(page, "no route to the host")
    assert said
    assert page.evaluate("getSelection().toString()") == said


@pytest.mark.usefixtures("played")
def test_the_verdict_alone_is_announced_and_only_when_it_changes(context: Surroundings, open_page: Opens) -> None:
    page = open_page(SITE)
    live = page.locator("[aria-live], [role=status], [role=alert]")
    assert live.evaluate_all("(all) => all.map((one) => one.id || one.getAttribute('role'))") == [
        "status",
        "cutover-verdict",
    ]
    page.evaluate(LISTEN)
    step = {"phase": "phase4", "step": "prove", "outcome": "failed", "operator": "bob@vm"}
    at = scene.clock.now()
    Transition.objects.using(context().alias).create(**step, begun_at=at, ended_at=at)
    refreshed(page, "bob@vm")
    assert page.evaluate("document.said") == []
    context().ledger.pauses.pause(pauses.SITE, None, "alice", "the mail server moves")
    refreshed(page, "nothing is sent")
    assert page.evaluate("document.said") == [page.locator("#cutover-verdict").inner_text()]


@pytest.mark.usefixtures("played")
def test_of_an_entry_what_is_wrong_is_announced(context: Surroundings, open_page: Opens) -> None:
    page = open_page(f"{SITE}entry/?name=heartbeat")
    page.evaluate(LISTEN)
    fail(context(), "heartbeat", "no route to the host")
    refreshed(page, "no route to the host")
    [said] = {*page.evaluate("document.said")}
    assert said == "What is wrong failing: the latest run failed on celery@vm: no route to the host"


def refuse(page: Page) -> None:
    page.route("**/overview/**", lambda route: route.fulfill(status=500, body="<h1>Server Error</h1>"))


def cut_off(page: Page) -> None:
    page.route("**/overview/**", lambda route: route.abort())


def sign_out(page: Page) -> None:
    Session.objects.all().delete()


def lead_away(page: Page) -> None:
    elsewhere = {"Location": "https://sign-in.invalid/authorize"}
    page.route("**/overview/**", lambda route: route.fulfill(status=302, headers=elsewhere))


def maintain(page: Page) -> None:
    page.route("**/overview/**", lambda route: route.fulfill(status=200, body="<h1>Back soon</h1>"))


def keep(page: Page) -> None:
    """Have a cache answer for the site, with what is shown already or with what it has kept besides."""
    old, new = [page.context.request.get(page.url).text() for _ in range(2)]
    answers = itertools.cycle([old, new])
    page.route("**/overview/**", lambda route: route.fulfill(body=next(answers), content_type="text/html"))
    for kept in (old, new):
        page.evaluate(REFRESH)
        [instant] = re.findall(r"As of <time datetime=\"(\S+)\"", kept)
        expect(page.locator("#cutover-as-of time")).to_have_attribute("datetime", instant, timeout=SOON_MS)


def set_clock_back(page: Page) -> None:
    page.click(".cutover-pause")
    expect(page.get_by_role("status")).to_have_text("")
    page.evaluate("(now) => { Date.now = () => now - 3_600_000; }", page.evaluate("Date.now()"))
    page.clock.run_for(1_500)


def keep_waiting(page: Page) -> None:
    hold(page)
    page.clock.run_for(27_500)


def pause(page: Page) -> None:
    page.click(".cutover-pause")
    page.clock.run_for(32_000)


def hold(page: Page) -> list[Route]:
    """Have the site answer nothing until the test says so; what it was asked."""
    held: list[Route] = []
    page.route("**/overview/**", lambda route: held.append(route))  # as itself it is no function of Python's
    page.evaluate(REFRESH)
    wait_until(lambda: page.evaluate("true") and held, "the site is asked")  # what comes is heard in each call
    return held


@pytest.mark.parametrize(
    ("befall", "why"),
    [
        (refuse, "the site answered 500. Trying again."),
        (cut_off, "the site does not answer. Trying again."),
        (sign_out, "you are signed out. Load the page again."),
        (lead_away, "you are signed out. Load the page again."),
        (maintain, "you may be signed out. Load the page again."),
        (keep, "the answer is one that a cache has kept. Trying again."),
        (set_clock_back, "it is paused."),
        (keep_waiting, "waiting for the site's answer."),
        (pause, "it is paused."),
    ],
)
@pytest.mark.usefixtures("played")
def test_what_is_old_says_so_and_since_when_and_looks_well_no_more(
    open_page: Opens, befall: Callable[[Page], None], why: str
) -> None:
    page = open_page(SITE, watched=False)
    page.clock.install()
    page.reload()
    frame, note = page.locator(".cutover"), page.get_by_role("status")
    well = page.locator(".cutover-state.is-well").first
    green = well.evaluate("(one) => getComputedStyle(one).color")
    page.clock.run_for(4_000)
    expect(note).to_have_text("")
    befall(page)
    page.evaluate(REFRESH)
    expect(note).to_have_text(re.compile(f": {re.escape(why)}$"), timeout=SOON_MS)
    as_of = page.locator("#cutover-as-of time").inner_text()  # it may have refreshed itself until then
    expect(note).to_have_text(f"What is shown is old, as of {as_of}: {why}")
    assert well.evaluate("(one) => getComputedStyle(one).color") != green
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(note).to_be_in_viewport()
    if befall in (refuse, cut_off, lead_away, maintain, keep):
        page.unroute_all()
        page.evaluate(REFRESH)
        expect(note).to_have_text("", timeout=SOON_MS)
        expect(frame).to_have_class("cutover")


@pytest.mark.usefixtures("played")
def test_a_page_that_its_script_does_not_reach_says_that_it_stays_as_it_is(open_page: Opens) -> None:
    page, hint = open_page(SITE, watched=False), "Reload the page to see what is newer."
    expect(page.get_by_text(hint)).to_be_hidden()
    page.route("**/refresh*.js", lambda route: route.abort())  # as a policy does, or files that were not collected
    page.reload()
    expect(page.get_by_text(hint)).to_be_visible()
    expect(page.locator(".cutover-pause")).to_be_hidden()


@pytest.mark.usefixtures("played")
def test_it_refreshes_itself_where_texts_have_to_be_trusted_before_they_are_parsed(
    context: Surroundings, open_page: Opens
) -> None:
    def demand(route: Route) -> None:
        answer = route.fetch()
        policy = {"content-security-policy": f"{STRICT}; require-trusted-types-for 'script'"}
        route.fulfill(response=answer, headers={**answer.headers, **policy})

    page = open_page(SITE)
    page.route("**/overview/**", demand)
    page.reload()
    fail(context(), "heartbeat", "no route to the host")
    refreshed(page, "no route to the host")


@pytest.mark.usefixtures("played")
def test_what_a_slow_site_has_answered_is_as_old_as_the_question(context: Surroundings, open_page: Opens) -> None:
    page = open_page(SITE)
    page.clock.install()
    page.reload()
    asked = hold(page)
    page.clock.run_for(20_000)
    fail(context(), "heartbeat", "no route to the host")
    asked[0].continue_()
    expect(page.locator("#cutover-shown")).to_contain_text("no route to the host", timeout=SOON_MS)
    expect(page.get_by_role("status")).to_have_text("")
    page.clock.run_for(12_000)
    as_of = page.locator("#cutover-as-of time").inner_text()
    said = rf"What is shown is old, as of {as_of}: the site takes 2\d s to answer\."  # and what the test took
    expect(page.get_by_role("status")).to_have_text(re.compile(said))
    assert len(asked) == 1, "and is not asked again so soon"


@pytest.mark.usefixtures("played")
def test_a_machine_that_slept_while_the_site_was_asked_asks_again_soon(open_page: Opens) -> None:
    page = open_page(SITE)
    page.clock.install()
    page.reload()
    asked = hold(page)
    page.clock.fast_forward("08:00:00")
    expect(page.get_by_role("status")).to_have_text(re.compile("Trying again"), timeout=SOON_MS)
    page.clock.run_for(121_000)
    wait_until(lambda: page.evaluate("true") and len(asked) > 1, "the site is asked again")


@pytest.mark.usefixtures("played")
def test_a_site_that_cannot_be_read_is_shown_as_that_and_then_again_as_it_is(
    open_page: Opens, settings: Settings
) -> None:
    page = open_page(SITE)
    page.evaluate("document.loadedOnce = true")
    whole = settings.CUTOVER
    settings.CUTOVER = {**whole, "LEESE": 1}
    refreshed(page, "LEESE")
    expect(page.locator("#cutover-headline")).to_have_count(0)
    settings.CUTOVER = whole
    refreshed(page, "nobody leads for the database side")
    expect(page.locator("#cutover-headline")).to_have_count(1)
    assert page.evaluate("document.loadedOnce")


@pytest.mark.usefixtures("played")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_where_the_focus_is_can_be_seen(open_page: Opens, scheme: str) -> None:
    page = open_page(SITE, color_scheme=scheme)
    tab_to(page, "span 5m")
    unseen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        if not page.evaluate("!!document.activeElement.closest('.cutover')"):
            break
        if not page.evaluate(
            "((it) => it.outlineStyle !== 'none' && parseFloat(it.outlineWidth) >= 1)"
            "(getComputedStyle(document.activeElement))"
        ):
            unseen.append(page.evaluate("document.activeElement.outerHTML.slice(0, 80)"))
    assert unseen == []
