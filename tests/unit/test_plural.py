"""How many there are of something, as English has it."""

import re
from pathlib import Path

import pytest

from cutover.plural import counted

PACKAGE = Path(__file__).parents[2] / "cutover"
OURS = PACKAGE / "observe" / "report"
"""It has its own words for counts."""


@pytest.mark.parametrize(
    ("count", "words", "said"),
    [
        (0, ("slot",), "0 slots"),
        (1, ("slot",), "1 slot"),
        (2, ("slot",), "2 slots"),
        (1, ("entry",), "1 entry"),
        (1_200, ("entry",), "1,200 entries"),
        (1, ("entry is", "entries are"), "1 entry is"),
        (3, ("entry is", "entries are"), "3 entries are"),
        (1, ("is", "are"), "1 is"),
    ],
)
def test_nouns_and_verbs_go_by_the_number(count: int, words: tuple[str, ...], said: str) -> None:
    assert counted(count, *words) == said


def test_nothing_counts_in_the_plural_alone() -> None:
    """A number of things goes through ``counted``: of one entry nobody is told ``1 entries``."""
    plural = re.compile(r"\{[^{}A-Z][^{}]*\} (more |missed |further )?(entries|slots|messages|rows|beats|reasons)\b")
    found = [
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not path.is_relative_to(OURS)
        for line in path.read_text().splitlines()
        if plural.search(line)
    ]
    assert found == []
