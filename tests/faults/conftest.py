"""The theatre in which tests break things; see ``scenarios`` for what is played there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.processes import Processes

from .theatre import Theatre


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    """Builds stages for all tests here; nothing of them is left at the end."""
    directory = tmp_path_factory.mktemp("theatre")
    processes = Processes(logs=directory / "logs")
    with processes, Theatre(processes, directory) as theatre:
        yield theatre
    assert processes.survivors() == []
