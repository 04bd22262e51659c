"""The benchmarks' harness measures a real beat, and leaves nothing behind."""

from pathlib import Path

import pytest

from benchmarks import contenders
from benchmarks.parts.burst import measure
from benchmarks.rig import Rig

pytestmark = pytest.mark.integration


@pytest.mark.long
def test_a_burst_of_fifty_slots_is_measured_at_the_broker(tmp_path: Path) -> None:
    with Rig(tmp_path, peers=tmp_path, scale=0.01) as rig:
        found = measure(rig, contenders.CODE, enough=50)
    assert found.rate >= 0  # 0 where one look saw all fifty at once
    assert abs(found.first_ms) <= 30_000
    assert rig.processes.survivors() == []
