"""What README, tutorial and runbooks tell a reader to type does what they say."""

import sys
from pathlib import Path

import pytest

from demo.platform import READY
from demo.processes import ROOT, Process
from demo.waiting import wait_until
from tests.support.documents import Block, blocks
from tests.support.site import Site
from tests.support.stages import bring

pytestmark = pytest.mark.acceptance

DOCUMENTS = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{page}.md" for page in ("tutorial", "install", "report")),
    *sorted((ROOT / "runbooks").glob("*.md")),
]
BLOCKS = {document: list(blocks(document)) for document in DOCUMENTS}
SHORT = {"tutorial.md", "phase3.md", "rollback.md"}
RUN = [
    pytest.param(document, id=str(document.relative_to(ROOT)), marks=[pytest.mark.long] * (document.name not in SHORT))
    for document, found in BLOCKS.items()
    if not all(block.not_run for block in found)
]
NOT_RUN = [block for found in BLOCKS.values() for block in found if block.not_run]
SIGNS = {"make services": ["Ctrl-C stops it."], "honcho": list(READY.values()), "prodserver": [""]}
"""What a command that keeps running prints once it is up."""


@pytest.fixture
def readers_site(sqlite_site: Site) -> Site:
    """A site whose `make` uses the environment that runs the tests."""
    stamp = sqlite_site.directory / "installed"
    stamp.touch()
    sqlite_site.env["MAKEFLAGS"] = f"VENV={sys.prefix} STAMP={stamp}"
    return sqlite_site


@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", RUN)
def test_commands_work_in_their_order(document: Path, readers_site: Site) -> None:
    for block in BLOCKS[document]:
        if block.site:
            bring(readers_site, block.site)
        if not block.not_run:
            run(block, readers_site)


@pytest.mark.parametrize("block", NOT_RUN, ids=str)
def test_not_run(block: Block) -> None:
    """Lists what the other test leaves out, and why."""
    pytest.skip(f"{block} is not run: {block.not_run}")


def run(block: Block, site: Site) -> None:
    script = site.directory / f"{block.document.stem}-{block.line}.sh"
    script.write_text(f"set -euo pipefail\n{block.script}\n")
    if block.keeps_running:
        process = site.start(script.stem, f"bash {script}")
        signs = next(signs for command, signs in SIGNS.items() if command in block.script)
        wait_until(lambda: is_up(process, signs), f"{block} is up")
    else:
        process = site.run("bash", str(script))
        assert process.exit_code == block.exit_code, f"{block}:\n{block.script}\n{process.output}"


def is_up(process: Process, signs: list[str]) -> bool:
    assert process.exit_code is None, process.output
    return all(sign in process.output for sign in signs)
