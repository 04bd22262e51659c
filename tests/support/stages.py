"""A site brought to where a page of the runbooks begins: its processes up, its cutover so far."""

from demo.platform import READY
from demo.waiting import wait_until
from tests.support.site import Site

PHASES_DONE = {
    "the beats run": (),
    "phase 1 is done": ("phase1",),
    "phase 2 is done": ("phase1", "phase2"),
    "phase 3 is done": ("phase1", "phase2", "phase3"),
}


def bring(site: Site, stage: str) -> None:
    """Start a worker and a beat of each side, and run the phases that are done at ``stage``.

    Raises KeyError for a stage that has no name here.
    """
    phases = PHASES_DONE[stage]
    processes = [site.prodserver(name) for name in ("worker", "legacy-beat", "beat")]
    for process, sign in zip(processes, (READY["worker"], READY["beat"], READY["beat"]), strict=True):
        wait_until(lambda p=process, s=sign: s in p.output, f"{process.name} is up")
    for phase in phases:
        command = site.cutover(phase)
        assert command.exit_code == 0, command.output
