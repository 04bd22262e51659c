"""A frozen leader, thawed when another leads, does no harm; ``make freeze`` does this a hundred times.

In ``scenarios`` the leader is frozen at the same seams once more, and on the other database.
"""

from .freeze import freeze_often, table
from .theatre import Theatre


def test_a_thawed_leader_runs_nothing_twice(theatre: Theatre) -> None:
    tries = list(freeze_often(theatre, 1))
    assert all(each.is_well for each in tries), table(tries)
