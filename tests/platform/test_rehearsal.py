"""One platform, briefly: from A to C and back to B. ``make rehearse`` plays all of it on all platforms."""

from pathlib import Path

import pytest

from demo.processes import Processes
from tests.platform.__main__ import table
from tests.platform.rehearsal import Rehearsal
from tests.platform.rules import DOKKU, DOKKU_GUARDS_FIRST, Rules

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    "rules", [pytest.param(DOKKU, id="dokku"), pytest.param(DOKKU_GUARDS_FIRST, id="guards", marks=pytest.mark.long)]
)
def test_the_migration_by_releases_misses_and_doubles_nothing(
    rules: Rules, processes: Processes, tmp_path: Path
) -> None:
    result = Rehearsal(rules, processes, tmp_path, print).run(whole=False)
    assert result.passed, table([result])
    assert result.verdict.slots > 50
    assert result.requests > 200
