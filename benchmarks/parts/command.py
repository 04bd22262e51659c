"""What an operator waits for: `cutover status`, beside Django's own `check`."""

from benchmarks.contenders import SQLITE
from benchmarks.figures import Goal, Row, ratio
from benchmarks.rig import Rig, Wanted, run
from demo.processes import python


def command(rig: Rig) -> list[Row]:
    """The part."""
    site = rig.site(SQLITE, Wanted("seldom", 100))
    found: dict[str, list[float]] = {"check": [], "cutover status": []}
    for _ in rig.times(5, full=9):
        for name, values in found.items():
            values.append(run(site, python("manage.py", *name.split())))
    rows = {name: Row("manage.py", name, tuple(values), "s") for name, values in found.items()}
    return [*rows.values(), ratio(rows["cutover status"], rows["check"], Goal(1.3))]
