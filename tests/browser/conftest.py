"""A browser, a page that a person has signed in to, and what no page may do: errors, and requests to elsewhere."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import override_settings
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from demo.processes import ROOT
from tests.integration.phases.conftest import beat, context, schedule  # noqa: F401 - fixtures

POLICED = ("script-src", "style-src", "img-src", "connect-src", "form-action")
CHROMIUM = Path("/usr/bin/chromium")
STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'"
)
PICTURES = ROOT / "var" / "pictures"
NARROW = {"width": 320, "height": 700}
WIDE = {"width": 1360, "height": 900}


def strict(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """A middleware: no script, no style but from files of the site."""

    def respond(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Content-Security-Policy"] = STRICT
        return response

    return respond


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's browser, without a window; for one module's tests, as no other test may run a loop while it is there."""
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing: apt install chromium", pytrace=False)
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # playwright's loop runs in the thread of the tests
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def strict_server(request: pytest.FixtureRequest) -> LiveServer:
    """Serves the site, with a strict policy of what a page may load."""
    middleware = ["tests.browser.conftest.strict", *django_settings.MIDDLEWARE]
    with override_settings(MIDDLEWARE=middleware, SECURE_SSL_REDIRECT=False):  # read as it starts
        return request.getfixturevalue("live_server")


@pytest.fixture
def served(strict_server: LiveServer, settings: Settings) -> str:
    """The address of the site."""
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False
    return strict_server.url


@pytest.fixture
def open_page(chromium: Browser, served: str) -> Iterator[Callable[..., Page]]:
    """Opens a page of the site for a person, who is superuser unless given.

    Nothing may go wrong on it that is ``watched``: no error in the console, no request to elsewhere.
    """
    wrong: list[str] = []
    contexts: list[BrowserContext] = []

    def open_(path: str, person: User | None = None, watched: bool = True, **options: Any) -> Page:
        around = chromium.new_context(base_url=served, viewport=options.pop("viewport", WIDE), **options)
        contexts.append(around)
        client = Client()
        client.force_login(person or User.objects.get_or_create(username="root", is_staff=True, is_superuser=True)[0])
        key = client.cookies[django_settings.SESSION_COOKIE_NAME].value
        around.add_cookies([{"name": django_settings.SESSION_COOKIE_NAME, "value": key, "url": served}])
        page = around.new_page()
        if watched:
            page.on("console", lambda it: it.type == "error" and wrong.append(f"{it.text} {it.location['url']}"))
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("request", lambda asked: urlsplit(asked.url).netloc in served or wrong.append(asked.url))
        page.goto(path)
        return page

    yield open_
    for around in contexts:
        around.close()
    assert [line for line in wrong if "/favicon.ico" not in line] == []


def picture(page: Page, name: str) -> None:
    """Keep what is seen, for a person to look at."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
