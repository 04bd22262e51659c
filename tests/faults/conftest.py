"""The theatre in which tests break things; see ``scenarios`` for what is played there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.forkserver import ForkedProcesses, ForkServer

from .theatre import Theatre


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="module")
def theatre(
    tmp_path_factory: pytest.TempPathFactory, fork_server: ForkServer, migrated_sqlite: Path
) -> Iterator[Theatre]:
    """Builds stages for the tests of a module; nothing of them is left at its end."""
    directory = tmp_path_factory.mktemp("theatre")
    processes = ForkedProcesses(directory / "logs", fork_server)
    with processes, Theatre(processes, directory, most=1, migrated=migrated_sqlite) as theatre:
        yield theatre
    assert processes.survivors() == []
