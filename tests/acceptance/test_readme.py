"""What the README and the runbooks tell a reader to type does what they say."""

from pathlib import Path

import pytest

from demo.platform import READY
from demo.processes import ROOT, Process
from demo.waiting import wait_until
from tests.support.documents import Block, blocks
from tests.support.site import Site

pytestmark = pytest.mark.acceptance

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "runbooks").glob("*.md"))]
BLOCKS = {document: list(blocks(document)) for document in DOCUMENTS if document.exists()}
NOT_RUN = [block for found in BLOCKS.values() for block in found if block.not_run]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", BLOCKS, ids=lambda document: document.name)
def test_commands_work_in_their_order(document: Path, sqlite_site: Site) -> None:
    for block in BLOCKS[document]:
        if not block.not_run:
            run(block, sqlite_site)


@pytest.mark.parametrize("block", NOT_RUN, ids=str)
def test_not_run(block: Block) -> None:
    """Lists what the other test leaves out, and why."""
    pytest.skip(f"not run: {block.not_run}")


def run(block: Block, site: Site) -> None:
    script = site.directory / f"{block.document.stem}-{block.line}.sh"
    script.write_text(f"set -euo pipefail\n{block.script}\n")
    if block.keeps_running:
        process = site.start(script.stem, f"bash {script}")
        wait_until(lambda: is_up(process), f"{block} is up")
    else:
        process = site.run("bash", str(script))
        assert process.exit_code == block.exit_code, f"{block}:\n{block.script}\n{process.output}"


def is_up(process: Process) -> bool:
    assert process.exit_code is None, process.output
    return any(word in process.output for word in READY.values())
