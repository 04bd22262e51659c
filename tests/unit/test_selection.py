"""The order of the tests names tests that there are."""

import pytest

from demo.processes import ROOT
from tests.support.selection import LONGEST


@pytest.mark.parametrize("prefix", LONGEST)
def test_each_of_the_longest_is_there(prefix: str) -> None:
    path, _, name = prefix.partition("::")
    assert f"def {name}" in (ROOT / path).read_text()
