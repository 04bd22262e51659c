"""One platform, briefly: from A to C and back to B. ``make rehearse`` plays all of it on all platforms."""

from pathlib import Path

import pytest

from demo.processes import Processes
from tests.platform.__main__ import table
from tests.platform.rehearsal import Rehearsal
from tests.platform.rules import DOKKU, DOKKU_GUARDS_FIRST, Rules

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]


@pytest.mark.parametrize("rules", [DOKKU, DOKKU_GUARDS_FIRST], ids=lambda rules: rules.name)
def test_the_migration_by_releases_misses_and_doubles_nothing(
    rules: Rules, processes: Processes, tmp_path: Path, long: bool
) -> None:
    if rules.guards_first and not long:
        pytest.skip("--long plays the release between A and B too")
    result = Rehearsal(rules, processes, tmp_path, print).run(whole=False)
    assert result.passed, table([result])
    assert result.verdict.slots > 50
    assert result.requests > 200
