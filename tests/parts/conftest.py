"""What the tests of production's parts share."""

from collections.abc import Callable

import pytest

from tests.parts.journey import travel
from tests.support.site import Site

Journey = Callable[[Site], None]


@pytest.fixture
def journey(long: bool) -> Journey:
    """The whole cutover and back, half a minute of it; skips the test unless ``--long`` is given."""
    if not long:
        pytest.skip("--long goes through the whole cutover on this part (`make rehearse`)")
    return travel
