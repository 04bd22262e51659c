"""What the tests of production's parts share."""

from collections.abc import Callable

import pytest

from tests.parts.journey import travel
from tests.support.site import Site

Journey = Callable[[Site], None]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave journeys to the long run."""
    for item in items:
        if "journey" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.long)


@pytest.fixture
def journey() -> Journey:
    """The whole cutover and back, half a minute of it."""
    return travel
