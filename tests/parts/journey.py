"""The whole cutover and the way back, on whatever servers a site has been given; every slot is run once."""

import datetime as dt

from demo.census import Slot, per_slot, read_runs
from demo.schedule import SELDOM
from demo.verdict import expected_slots
from demo.waiting import wait_until
from tests.support.site import Site, has_standby

SETTLES = dt.timedelta(seconds=2)


def travel(site: Site) -> None:
    """From phase 1 to 4 and back, with real processes; AssertionError where a slot was missed or doubled."""
    processes = [site.prodserver(name) for name in ("worker", "legacy-beat")]
    wait_until(lambda: read_runs(site.runs), "the code schedule is run", timeout_s=60)
    processes.append(site.prodserver("beat"))
    wait_until(lambda: has_standby(site.cutover("status").output), "a standby is up", timeout_s=60)
    proof = ["phase4", "--wait", "75", *(f"--waive={name}" for name in SELDOM)]
    for phase in (["phase1"], ["phase2"], ["phase3"], proof, ["rollback"]):
        command = site.cutover(*phase)
        assert command.exit_code == 0, f"{phase}:\n{command.output}"
    until = dt.datetime.now(dt.UTC)
    wait_until(lambda: _latest(site) > until + SETTLES, "the code side goes on")
    for process in reversed(processes):
        assert process.stop() == 0, process.output
    runs = per_slot(read_runs(site.runs))
    assert {slot: count for slot, count in runs.items() if count > 1} == {}
    missed: list[Slot] = [slot for slot in expected_slots(runs, until) if slot not in runs]
    assert missed == []


def _latest(site: Site) -> dt.datetime:
    return max(
        (run.slot.due_at for run in read_runs(site.runs) if run.slot), default=dt.datetime.min.replace(tzinfo=dt.UTC)
    )
