"""Each drill plays to its end in the world of ``make demo``; the census finds nothing doubled and nothing unnamed."""

from pathlib import Path

import pytest

from demo.drills import DRILLS
from demo.processes import Processes
from demo.verdict import judge_drill
from demo.world import World

pytestmark = [pytest.mark.long, pytest.mark.acceptance, pytest.mark.timeout(480)]


@pytest.mark.parametrize("name", DRILLS)
def test_a_drill(name: str, tmp_path: Path) -> None:
    drill = DRILLS[name]
    with Processes(logs=tmp_path / "logs") as processes:
        with World(processes, tmp_path, **drill.settings) as world:
            report = judge_drill(world.end(drill.play(world), switches=[]))
        print({key: count for key, count in report.items() if isinstance(count, int)})
        assert report["passed"], report
    assert processes.survivors() == []
