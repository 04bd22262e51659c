"""Takes the documents' picture of the report from that of `make demo`: its upper part, as a browser shows it."""

import sys
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

CHROMIUM: Final = "/usr/bin/chromium"
WIDTH: Final = 1100
NEXT: Final = "How late, how often"
"""The heading before which the picture ends."""


def take(report: Path, picture: Path) -> None:
    """Write the picture of that report."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        page.goto(report.absolute().as_uri())
        height = page.get_by_role("heading", name=NEXT).evaluate("(one) => one.getBoundingClientRect().top - 20")
        page.screenshot(path=picture, clip={"x": 0, "y": 0, "width": WIDTH, "height": height}, full_page=True)
        browser.close()


if __name__ == "__main__":
    take(*map(Path, sys.argv[1:3]))
