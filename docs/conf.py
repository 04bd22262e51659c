"""How Sphinx makes a site of the documents: `make docs`.

The source is the whole repository: runbooks and README stay where a forge shows them, and a link is right on both.
Nothing is fetched, neither when the site is built nor when it is read.
"""

import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import cutover  # noqa: E402 - from this checkout, not from an installed release

project = "cutover"
author = "The cutover authors"
project_copyright = author
version = release = cutover.__version__

extensions = ["myst_parser", "docs.site.mermaid"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "runbooks/*.md", "tests/README.md"]
# Whole folders, for else each file of them is looked at.
exclude_patterns = [
    ".*",
    "var",
    "staticfiles",
    "dist",
    "build",
    "cutover",
    "demo",
    "benchmarks",
    "deploy",
    "docs/_build",
]
source_suffix = {".md": "markdown"}
nitpicky = True

myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

CHAPTERS = {
    "docs/adr/README": ["0*"],
    "runbooks/README": [
        *("dokku", "heroku", "kubernetes", "systemd"),
        *("phase1", "phase2", "phase3", "phase4", "rollback", "what-if", "fine-print"),
    ],
}
"""What stands below these pages in the site's list. They are read on a forge, where a list of Sphinx is of no use."""

html_theme = "furo"
html_title = f"cutover {version}"
html_static_path = ["site/static"]
html_css_files = ["cutover.css"]
html_extra_path = ["site/root"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "default"
pygments_dark_style = "github-dark"


def add_chapters(app: Sphinx, page: str, source: list[str]) -> None:
    """Give a page of ``CHAPTERS`` the list that it has in the site alone."""
    if page in CHAPTERS:
        entries = "\n".join(CHAPTERS[page])
        source[0] += f"\n```{{toctree}}\n:hidden:\n:glob:\n\n{entries}\n```\n"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_chapters)
