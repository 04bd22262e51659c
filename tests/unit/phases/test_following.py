"""What to type next, from wherever the cutover has come to."""

import pytest

from cutover.phases.facts import following
from cutover.types import Side


@pytest.mark.parametrize(
    ("phase", "side", "wanted"),
    [
        (0, Side.CODE, "phase1"),
        (2, Side.CODE, "phase3"),
        (2, Side.DATABASE, "phase3"),  # switched, and killed before it was done
        (3, Side.DATABASE, "phase4"),
        (4, Side.DATABASE, "status"),
        (3, Side.CODE, "rollback"),  # switched back, and killed before the rows were as before
        (4, Side.CODE, "rollback"),
    ],
)
def test_each_state_has_its_next_command(phase: int, side: Side, wanted: str) -> None:
    assert following(phase, side) == wanted
