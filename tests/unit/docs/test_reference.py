"""What is generated in a page is what the code says: settings, events, checks, metrics, the command, dotted paths."""

import enum
from pathlib import Path

import pytest

from docs.site import reference

PAGES = sorted(reference.DOCS.glob("*.md"))
GENERATED = {
    name: page for page in PAGES for name in (found["name"] for found in reference.REGION.finditer(page.read_text()))
}


class Told(enum.Enum):
    FIRST = 1
    """What it means,
    on two lines.
    """
    SECOND = 2
    """See docs/events.md#events and a | b."""


class Untold(enum.Enum):
    FIRST = 1
    """What it means."""
    SECOND = 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_says_what_the_code_says(page: Path) -> None:
    assert page.read_text() == reference.written(page.read_text()), "type: make reference"


def test_all_that_can_be_generated_is_in_a_page_once() -> None:
    assert sorted(GENERATED) == sorted(reference.MAKERS)
    assert sum(len(reference.REGION.findall(page.read_text())) for page in PAGES) == len(reference.MAKERS)


@pytest.mark.parametrize("name", sorted(reference.MAKERS))
def test_what_is_there_is_written_again_from_the_code(name: str) -> None:
    text = GENERATED[name].read_text()
    [now] = [found["text"] for found in reference.REGION.finditer(text) if found["name"] == name]
    rows = now.splitlines()
    cut = "\n".join([*rows[:2], *(rows[2:] if name == "paths" else [])]).replace("The code side", "Another side") + "\n"
    assert cut != now
    assert reference.written(text.replace(now, cut)) == text


def test_a_name_says_below_it_what_it_means() -> None:
    assert reference.docstrings(Told) == {
        "FIRST": "What it means, on two lines.",
        "SECOND": "See docs/events.md#events and a | b.",
    }
    with pytest.raises(ValueError, match=r"say below Untold\.SECOND"):
        reference.docstrings(Untold)


def test_a_page_that_is_named_is_a_link() -> None:
    [*_, row] = reference.table("a", "b", rows=[("", "See docs/events.md#events and a | b.")]).splitlines()
    assert row == r"| | See [events](events.md#events) and a \| b. |"
