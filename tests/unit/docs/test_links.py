"""A link in a document leads to a file of the repository, or to a heading of it."""

import re
from collections.abc import Iterator
from pathlib import Path

from demo.processes import ROOT

DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted(path for folder in ("docs", "runbooks", "tests", ".github") for path in (ROOT / folder).rglob("*.md")),
]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
OUTSIDE = re.compile(r"[a-z]+:")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def links() -> Iterator[tuple[Path, str]]:
    for document in DOCUMENTS:
        for match in LINK.finditer(document.read_text()):
            if not OUTSIDE.match(match["target"]):
                yield document, match["target"]


def anchors(document: Path) -> set[str]:
    """The headings as a forge names them."""
    plain = (re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading) for heading in HEADING.findall(document.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in plain}


def test_links_lead_somewhere() -> None:
    lost = [f"{document.relative_to(ROOT)}: {target}" for document, target in links() if not _exists(document, target)]
    assert lost == []


def _exists(document: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    found = (document.parent / path).resolve() if path else document
    return found.exists() and (not anchor or anchor in anchors(found))
