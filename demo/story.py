"""The story: a living site is cut over, goes back, and is cut over again."""

import datetime as dt
from pathlib import Path

from .census import per_slot
from .handover import read_switch
from .platform import Release
from .processes import Processes
from .schedule import EVERY_MINUTE, SELDOM
from .verdict import Evidence, Switch
from .waiting import wait_until
from .world import NEW, OLD, World

PROOF = 20
"""How many slots are to be sent under a new leader before its cutover is closed."""
SETTLED = dt.timedelta(seconds=6)
"""How old they are to be: phase 4 leaves aside what may still be under way."""


class Story:
    """Tells itself on the screen, step by step, and gathers the evidence."""

    def __init__(self, processes: Processes, directory: Path) -> None:
        self._page = directory.parent / "report.html"
        self._switches: list[Switch] = []
        self._world = World(processes, directory)

    def run(self) -> Evidence:
        """Play all of it. Raises StoryFailed, RuntimeError or TimeoutError at the first step that fails."""
        with self._world as world:
            world.prepare()
            new = self._cut_over(world.old, "after")
            self._live_on(EVERY_MINUTE)
            self._close(*SELDOM)
            old = self._roll_back(new)
            new = self._cut_over(old, "after-again")
            self._live_on("every-second-a")
            self._close(*SELDOM, EVERY_MINUTE)
            world.cutover("report", "--html", str(self._page))
            return world.end(new, self._switches)

    def _cut_over(self, old: Release, name: str) -> Release:
        self._world.step(f"The new release ({NEW}) starts beside the old one; its beat stands by")
        new = self._world.deploy(name, NEW)
        self._switch("phase3", "cutover")
        self._world.step("The platform retires the old release: SIGTERM to its containers")
        self._world.platform.retire(old)
        return new

    def _live_on(self, entry: str) -> None:
        self._world.step(f"The site lives on, until the new leader has sent {entry} and {PROOF} slots in all")
        switched_at, monitor = self._switches[-1].at, self._world.monitor

        def enough() -> bool:
            settled_at = dt.datetime.now(dt.UTC) - SETTLED
            slots = [slot for slot in per_slot(monitor.published) if switched_at < slot.due_at < settled_at]
            return len(slots) >= PROOF and any(slot.entry == entry for slot in slots)

        wait_until(enough, f"the new leader has sent {entry} and {PROOF} slots in all", timeout_s=75)
        self._world.say(f"{len(monitor.published)} slots sent since the story began")

    def _close(self, *waived: str) -> None:
        """What has not fallen due so soon is proved by nothing: an operator in a hurry waives it, by name."""
        self._world.cutover("phase4", *(f"--waive={name}" for name in waived))

    def _roll_back(self, new: Release) -> Release:
        self._world.step(f"Second thoughts: the old release ({OLD}) starts beside the new one")
        old = self._world.deploy("before-again", OLD)
        self._switch("rollback", "rollback")
        self._world.step("The platform retires the new release")
        self._world.platform.retire(new)
        return old

    def _switch(self, command: str, kind: str) -> None:
        self._world.cutover(command)
        switch = read_switch(kind, self._world.database)
        self._switches.append(switch)
        self._world.say(f"(by the database's own record: {switch.gap_ms:g} ms without a leader)")
