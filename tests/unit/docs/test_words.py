"""What docs/words.md says is not said here is not said: in no document, and in no module of the package."""

import re
from pathlib import Path

from demo.processes import ROOT
from tests.unit.docs.test_links import DOCUMENTS

WORDS = ROOT / "docs" / "words.md"
AS_IT_WAS = {WORDS, ROOT / "CHANGELOG.md"}
"""The page itself, and the one that names what has been renamed."""
NOT_SAID = re.findall(r"`([^`]+)`", "".join(re.findall(r"^\|.*\|.*\|([^|]*)\|$", WORDS.read_text(), re.MULTILINE)))
MODULES = sorted((ROOT / "cutover").rglob("*.py"))


def said(word: str, text: str) -> list[int]:
    """The numbers of the lines that say it, in whatever case and inflexion, in prose or within a name."""
    forms = r"[\s_]+".join(rf"{part}(?:s|es|d|ed|ing)?" for part in word.replace("_", " ").split())
    found = re.compile(rf"(?<![a-z]){forms}(?![a-z])", re.IGNORECASE)
    return [text[: match.start()].count("\n") + 1 for match in found.finditer(text)]


def test_the_page_lists_words_that_are_not_said() -> None:
    assert {"office", "vouch", "carry", "hand over"} <= set(NOT_SAID)


def test_no_document_says_one() -> None:
    assert found_in([path for path in DOCUMENTS if path not in AS_IT_WAS]) == []


def test_no_module_says_one() -> None:
    assert found_in(MODULES) == []


def found_in(paths: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}: {word}"
        for path in paths
        for word in NOT_SAID
        for line in said(word, path.read_text())
    ]
